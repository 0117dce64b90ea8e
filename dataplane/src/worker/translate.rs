//! The entries of a walk that translate: which packets the chains of type nat see, and the rewriting.

use super::walk::Walk;
use crate::conntrack::{Direction, FlowIndex, PacketCt, TrackerWorker};
use crate::drop_reason::DropReason;
use crate::gateway::Complaint;
use crate::nat::apply::{Applied, apply, end, is_translated};
use crate::nat::decide::{decide_nothing, is_decided};
use crate::nat::{Endpoint, Side, Translator};
use crate::program::key::reads;
use crate::program::lanes::lanes;
use crate::program::{Hook, RuleRef};

/// The side that a hook translates.
fn side(hook: Hook) -> Side {
    match hook {
        Hook::Input | Hook::Postrouting => Side::Source,
        _ => Side::Destination,
    }
}

/// What a side of a flow's packets is written from, without making a tuple of the rest.
#[inline]
fn end_for(tracker: &TrackerWorker, flow: FlowIndex, direction: Direction, side: Side) -> Endpoint {
    let (address, port) = tracker.end_of(flow, direction.turned(), side == Side::Source);
    Endpoint { address, port }
}

impl Walk<'_, '_> {
    /// The chains of type nat of a hook begin.
    pub(super) fn begin_deciding(&mut self, hook: Hook, alive: u64) {
        let mut there = self.at(hook, alive);
        if hook == Hook::Postrouting {
            self.refresh(there);
            self.hold_unsolicited(there);
            there &= !self.run.vm.packets.ended;
        }
        self.deciding = Some((side(hook), there));
    }

    /// Lanes that have come to a hook.
    fn at(&self, hook: Hook, alive: u64) -> u64 {
        if hook == Hook::Input {
            alive & self.desk.local
        } else {
            alive
        }
    }

    /// Of those for which a hook decides, the lanes for which it has not yet.
    pub(super) fn undecided(&self, side: Side, among: u64) -> u64 {
        let Some(tracker) = self.run.tracker.as_deref() else {
            return 0;
        };
        let among = among & tracker.begun_lanes();
        let ct = &self.run.vm.packets.ct;
        let open = |lane: &usize| !is_decided(tracker.status(ct[*lane].flow), side);
        lanes(among)
            .filter(open)
            .fold(0, |some, lane| some | 1 << lane)
    }

    /// Decides what no chain has decided, and rewrites.
    pub(super) fn translate(&mut self, hook: Hook, alive: u64) {
        self.deciding = None;
        let there = self.at(hook, alive);
        self.refresh(there);
        let Some(translator) = self.run.translator else {
            return;
        };
        let decided = self.undecided(side(hook), there);
        let (known, mut written) = self.rewrite_known(side(hook), there);
        for lane in lanes(there & !known) {
            let bit = 1 << lane;
            if decided & bit != 0 && !self.decide_rest(translator, hook, lane) {
                self.end(lane, DropReason::NatExhausted);
                self.tell_exhausted(bit);
                continue;
            }
            match self.rewrite(lane, side(hook)) {
                Applied::Same => {}
                Applied::Written => written |= bit,
                Applied::Malformed => self.end(lane, DropReason::NatMalformed),
            }
        }
        if hook == Hook::Output {
            self.desk.turned |= written;
        }
        self.run.vm.forget(reads::PAYLOAD, written);
        self.run.vm.forget(reads::CT, decided);
    }

    /// Tells the senders of packets for which there was no port (RFC 5508, REQ-8); Linux says nothing.
    pub(super) fn tell_exhausted(&mut self, among: u64) {
        let packets = &self.run.vm.packets;
        let ended = lanes(among & packets.ended & !self.desk.own);
        let exhausted = |lane: &usize| packets.reasons[*lane] == DropReason::NatExhausted;
        let exhausted = ended
            .filter(exhausted)
            .fold(0, |some, lane| some | 1 << lane);
        if let (1.., Some(gateway)) = (exhausted, self.gateway()) {
            for lane in lanes(exhausted) {
                self.complain(gateway, lane, Complaint::Prohibited);
            }
        }
    }

    /// Decides for a lane's new flow as no statement has; `false` when it may not come into being.
    fn decide_rest(&mut self, translator: &Translator, hook: Hook, lane: usize) -> bool {
        // What the SYN proxy begins is a client's, and holds no port of ours.
        let own = self.desk.own >> lane & 1 == 1 && !self.desk.is_proxied(lane);
        let run = &mut self.run;
        let chance = run.vm.chance();
        let flow = run.vm.packets.ct[lane].flow;
        let Some(tracker) = run.tracker.as_deref_mut() else {
            return true;
        };
        let (engines, now_ns) = ((tracker, translator), run.context.now_ns);
        decide_nothing(engines, (lane, flow), (side(hook), own), (now_ns, chance)).is_ok()
    }

    /// Writes a side of the packets of flows of the table; yields these lanes, and those that were written.
    fn rewrite_known(&mut self, side: Side, there: u64) -> (u64, u64) {
        let Some(tracker) = self.run.tracker.as_deref() else {
            return (0, 0);
        };
        let (known, translated) = tracker.translated_lanes(side as usize);
        let known = known & there & !self.desk.own;
        let packets = &mut self.run.vm.packets;
        let mut malformed = 0;
        for lane in lanes(known & translated) {
            let ct = packets.ct[lane];
            let to = end_for(tracker, ct.flow, ct.direction, side);
            let frame = &mut self.run.frames[lane];
            let partial = frame.vnet.needs_checksum();
            let applied = apply(
                frame.bytes_mut(),
                &packets.headers[lane],
                &to,
                side,
                partial,
            );
            malformed |= u64::from(applied == Applied::Malformed) << lane;
        }
        packets.end(malformed, DropReason::NatMalformed, RuleRef::NONE);
        (known, known & translated & !malformed)
    }

    /// Writes a side of a lane's packet as its flow has it.
    #[inline]
    fn rewrite(&mut self, lane: usize, side: Side) -> Applied {
        let packets = &self.run.vm.packets;
        let PacketCt {
            flow, direction, ..
        } = packets.ct[lane];
        let own = self.desk.own >> lane & 1 == 1;
        let attached = own.then(|| self.desk.attached(lane)).flatten();
        let to = match (attached, self.run.tracker.as_deref()) {
            // What an answer of our own is about may be gone; its destination was written at its birth.
            (Some(_), _) if side == Side::Destination => return Applied::Same,
            (Some(attached), _) => {
                if !is_translated(attached.flow.status, direction, side) {
                    return Applied::Same;
                }
                end(attached.other(), side)
            }
            (None, Some(tracker)) if flow.is_some() => {
                if !is_translated(tracker.status(flow), direction, side) {
                    return Applied::Same;
                }
                end_for(tracker, flow, direction, side)
            }
            _ => return Applied::Same,
        };
        let frame = &mut self.run.frames[lane];
        let partial = frame.vnet.needs_checksum();
        let headers = &packets.headers[lane];
        apply(frame.bytes_mut(), headers, &to, side, partial)
    }
}
