//! The entries of a walk that deal with connections: fragments, tracking, helpers, confirmation.
//!
//! A packet whose connection another packet of the batch has just begun waits until that one has
//! been confirmed or dropped; then it goes on from the tracking.

use std::sync::Arc;

use super::walk::Walk;
use crate::conntrack::helper::{self, Expected, Helper, ftp, tftp};
use crate::conntrack::{
    CtState, Direction, Expectation, FlowId, PacketCt, TrackContext, TrackerWorker, status,
};
use crate::drop_reason::DropReason;
use crate::packet::fragments::{self, Arrival};
use crate::packet::headers::{Headers, field, flag};
use crate::program::RuleRef;
use crate::program::key::reads;
use crate::program::lanes::lanes;
use crate::program::vm::Run;

impl Walk<'_, '_> {
    /// Gathers fragments: they end here until the last one comes, which goes on as the whole datagram.
    pub(super) fn gather(&mut self, alive: u64) {
        self.refresh(alive);
        let run = &mut self.run;
        let now_ns = run.context.now_ns;
        for lane in lanes(alive) {
            let packets = &mut run.vm.packets;
            if !packets.headers[lane].has(flag::FRAGMENT) {
                continue;
            }
            let place = fragments::Place {
                domain: 0,
                zone: packets.zones[lane].id,
            };
            let (frame, headers) = (&mut run.frames[lane], &packets.headers[lane]);
            let (one, pool) = (1 << lane, &mut *run.pool);
            match self
                .fragments
                .take(lane, frame, headers, place, now_ns, pool)
            {
                Arrival::Passes => {}
                Arrival::Parked => {
                    packets.parked |= one;
                    packets.ended |= one;
                }
                Arrival::Whole => {
                    let headers = Headers::dissect(frame.bytes());
                    packets.headers[lane] = headers;
                    packets.limits[lane] = headers.end;
                    packets.lengths[lane] = headers.end - u32::from(headers.network);
                    packets.gathered |= one;
                    run.vm.forget(reads::PAYLOAD, one);
                }
                Arrival::Dropped(reason) => packets.end(one, reason, RuleRef::NONE),
            }
        }
    }

    /// Finds or begins connections; yields the lanes that have to wait. Where packets change what
    /// others see, all behind the first that waits do, so that they stay in order.
    pub(super) fn track(&mut self, alive: u64) -> u64 {
        self.refresh(alive);
        let context = self.track_context();
        let Run {
            vm,
            frames,
            tracker: Some(tracker),
            generation,
            ..
        } = &mut self.run
        else {
            return 0;
        };
        let deferred = tracker.track(alive, &mut vm.packets, frames, &context);
        vm.forget(reads::CT, alive);
        if deferred != 0 && generation.program().has_effects() {
            return alive & u64::MAX << deferred.trailing_zeros();
        }
        deferred
    }

    /// Helpers look at the packets, and connections that they begin enter the table.
    pub(super) fn confirm(&mut self, alive: u64) {
        self.refresh(alive);
        let context = self.track_context();
        let run = &mut self.run;
        let Some(tracker) = &mut run.tracker else {
            return;
        };
        let packets = &mut run.vm.packets;
        tracker.confirm(alive, packets, &context);
        for lane in lanes(alive & !packets.ended) {
            let ct = packets.ct[lane];
            if ct.flow.is_some() && tracker.status(ct.flow) & status::HELPER != 0 {
                let (headers, bytes) = (&packets.headers[lane], run.frames[lane].bytes());
                if !help(tracker, ct, headers, bytes, context.now_ns) {
                    packets.end(1 << lane, DropReason::AnnouncementCut, RuleRef::NONE);
                }
            }
        }
    }

    /// A packet that was dropped leaves no connection behind.
    pub(super) fn forget_dropped(&mut self, lanes: u64) {
        let run = &mut self.run;
        let dropped = lanes & run.vm.packets.ended;
        if let (Some(tracker), 1..) = (&mut run.tracker, dropped) {
            tracker.drop_unconfirmed(dropped, &mut run.vm.packets);
        }
    }

    fn track_context(&self) -> TrackContext {
        TrackContext {
            now_ns: self.run.context.now_ns,
            wall_ns: self.run.context.wall_ns,
            domain: 0,
            exact: self.run.generation.program().connection().in_order(),
        }
    }
}

/// Lets a connection's helper look at a packet; what it announces takes the place of what it announced
/// before. Yields `false` for a packet that must not pass.
#[cold]
fn help(
    tracker: &mut TrackerWorker,
    ct: PacketCt,
    headers: &Headers,
    bytes: &[u8],
    now_ns: u64,
) -> bool {
    let (Some(payload), Some(master)) = (headers.payload(bytes), tracker.flow_id(ct.flow)) else {
        return true;
    };
    let (there, back) = (
        tracker.tuple(ct.flow, Direction::Original),
        tracker.tuple(ct.flow, Direction::Reply),
    );
    let reply = ct.direction == Direction::Reply;
    match Helper::from_number(tracker.helper(ct.flow)) {
        Some(Helper::Ftp) if ct.state == CtState::Established => {
            let Some(sequence) = field::<4>(bytes, usize::from(headers.transport) + 4) else {
                return true;
            };
            let shared = Arc::clone(tracker.tracker());
            let lives = |id: FlowId| shared.flow(id.index).is_some_and(|flow| flow.id == id);
            let (own, other) = if reply { (back, there) } else { (there, back) };
            let said = shared.conversations().ftp(master, lives, |lines| {
                let sequence = u32::from_be_bytes(sequence);
                ftp::inspect(lines, payload, sequence, reply, &own, &other)
            });
            for announced in &said.announced {
                expect(tracker, master, announced.expected, now_ns);
            }
            !said.partial
        }
        Some(Helper::Tftp) if !reply => {
            if let Some(expected) = tftp::inspect(payload, &back) {
                expect(tracker, master, expected, now_ns);
            }
            true
        }
        _ => true,
    }
}

/// Waits for what a helper has announced. Refused when there are too many, or another connection has
/// announced the same: as in Linux the packet passes, and what comes is a connection like any other.
fn expect(tracker: &mut TrackerWorker, master: FlowId, expected: Expected, now_ns: u64) {
    if tracker.tracker().expected_by(master) > 0 {
        tracker.tracker().unexpect(|old| old.master == master);
    }
    tracker.expect(Expectation {
        master,
        tuple: expected.tuple,
        mask: expected.mask,
        expires_ns: now_ns + helper::TIMEOUT_NS,
        class: 0,
        permanent: false,
        helper: 0,
    });
}
