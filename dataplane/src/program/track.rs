//! Values of a packet's connection: loading and setting them, and what objects ask of the tracker.
//!
//! The meaning is that of the kernel's nft_ct. A packet without a connection has no value but `ct
//! state`, so a rule that reads one ends; setting one of it changes nothing, and the rule goes on.
//! `notrack` and `ct zone set` are for packets that have not been tracked yet.

use super::key::{CtKey, Direction, Slot, reads};
use super::lanes::lanes;
use super::op::{EngineObjectId, ObjectKind};
use super::vm::Run;
use crate::conntrack::helper::Helper;
use crate::conntrack::{
    CtState, Expectation, PacketCt, SourceMask, TrackerWorker, Tuple, Zone, status, tuple,
};
use crate::worker::connection::{ConnectionObject, ExpectationObject};

/// The bit of `ct state` that a packet has whose zone was set before it was tracked.
const NEW: u32 = 8;

impl Run<'_, '_> {
    /// Loads a value of the connection.
    pub(super) fn load_ct(
        &mut self,
        key: CtKey,
        direction: Option<Direction>,
        slot: Slot,
        possible: u64,
    ) -> u64 {
        let (first, count) = self.columns_of(slot);
        let Some(tracker) = self.tracker.as_deref() else {
            return 0;
        };
        if key == CtKey::State {
            // Nearly every stateful ruleset asks every packet for it.
            for lane in lanes(possible) {
                self.vm.columns[first][lane] = self.ct_state(lane);
            }
            return possible;
        }
        let mut valid = 0;
        for lane in lanes(possible) {
            let ct = self.vm.packets.ct[lane];
            let there = ct.flow.is_some();
            let value = there.then(|| value(tracker, ct, key, direction, count));
            let Some(value) = value.flatten() else {
                continue;
            };
            for index in 0..count {
                let word = (value >> (32 * (count - 1 - index))) as u32;
                self.vm.columns[first + index][lane] = word;
            }
            valid |= 1 << lane;
        }
        valid
    }

    #[inline]
    fn ct_state(&self, lane: usize) -> u32 {
        let packets = &self.vm.packets;
        match packets.ct[lane].state {
            CtState::None if packets.zones[lane] != Zone::default() => NEW,
            state => state.bit(),
        }
    }

    /// Sets a value of the connection.
    pub(super) fn set_ct(
        &mut self,
        key: CtKey,
        direction: Option<Direction>,
        from: Slot,
        m: u64,
    ) -> u64 {
        let (first, count) = self.columns_of(from);
        for lane in lanes(m) {
            let words = (0..count).map(|index| self.vm.columns[first + index][lane]);
            let number = words.fold(0u128, |number, word| number << 32 | u128::from(word));
            let flow = self.vm.packets.ct[lane].flow;
            match (key, self.tracker.as_deref_mut()) {
                (CtKey::Zone, _) => self.set_zone(lane, number as u16, direction),
                (_, Some(tracker)) if flow.is_some() => match key {
                    CtKey::Mark => tracker.set_mark(flow, number as u32),
                    CtKey::Label => tracker.set_label(flow, number),
                    CtKey::Event => tracker.set_events(flow, number as u32),
                    // The compiler sets nothing else.
                    _ => {}
                },
                _ => {}
            }
        }
        self.vm.forget(reads::CT, m);
        m
    }

    /// Sets the zone of a packet that has not been tracked yet.
    fn set_zone(&mut self, lane: usize, id: u16, direction: Option<Direction>) {
        let packets = &mut self.vm.packets;
        let fresh = packets.zones[lane] == Zone::default();
        let state = packets.ct[lane].state;
        if fresh && matches!(state, CtState::None | CtState::Untracked) {
            let directions = match direction {
                None => 3,
                Some(Direction::Original) => 1,
                Some(Direction::Reply) => 2,
            };
            packets.zones[lane] = Zone { id, directions };
            packets.ct[lane] = PacketCt::NONE;
        }
    }

    /// Takes packets out of tracking that have no connection and no zone.
    pub(super) fn notrack(&mut self, m: u64) -> u64 {
        let packets = &mut self.vm.packets;
        for lane in lanes(m) {
            let without = matches!(packets.ct[lane].state, CtState::None | CtState::Invalid);
            if without && packets.zones[lane] == Zone::default() {
                packets.ct[lane] = PacketCt::UNTRACKED;
            }
        }
        self.vm.forget(reads::CT, m);
        m
    }

    /// Lets an object do its work on packets; yields those whose rule goes on.
    pub(super) fn connection_object(
        &mut self,
        kind: ObjectKind,
        object: EngineObjectId,
        m: u64,
    ) -> u64 {
        let generation = self.generation;
        let found = generation.objects().get(object);
        let Some(object) = found.filter(|object| object.kind() == kind) else {
            return 0;
        };
        let mut on = 0;
        for lane in lanes(m) {
            on |= u64::from(self.apply(object, lane)) << lane;
        }
        self.vm.forget(reads::CT, m);
        on
    }

    fn apply(&mut self, object: &ConnectionObject, lane: usize) -> bool {
        let ct = self.vm.packets.ct[lane];
        let now_ns = self.context.now_ns;
        let Some(tracker) = self.tracker.as_deref_mut() else {
            return false;
        };
        let begun = ct.flow.is_some() && tracker.status(ct.flow) & status::CONFIRMED == 0;
        match object {
            ConnectionObject::Helper(helper) if begun => {
                let original = tracker.tuple(ct.flow, Direction::Original);
                let number = helper.number(original.l3);
                if number != 0 && original.protocol == helper.protocol {
                    tracker.set_helper(ct.flow, number);
                }
                true
            }
            ConnectionObject::Timeout(timeout) if begun => {
                let original = tracker.tuple(ct.flow, Direction::Original);
                if original.protocol == timeout.protocol {
                    let policy = timeout.number(tracker.tracker());
                    tracker.set_policy(ct.flow, policy);
                }
                true
            }
            ConnectionObject::Helper(_) | ConnectionObject::Timeout(_) => true,
            ConnectionObject::Expectation(wanted) => begun && expect(tracker, ct, wanted, now_ns),
            // It is no affair of the connection that the packet has.
            ConnectionObject::Synproxy(_) => false,
        }
    }
}

/// Announces what an expectation object describes: the peer of this packet's sender may connect to
/// the object's port. Too many are a break, as in the kernel.
fn expect(
    tracker: &mut TrackerWorker,
    ct: PacketCt,
    wanted: &ExpectationObject,
    now_ns: u64,
) -> bool {
    let other = tracker.tuple(ct.flow, ct.direction.turned());
    if wanted.l3.is_some_and(|l3| l3 != other.l3) {
        return false;
    }
    let Some(master) = tracker.flow_id(ct.flow) else {
        return false;
    };
    if tracker.tracker().expected_by(master) >= wanted.size {
        return false;
    }
    tracker.expect(Expectation {
        master,
        tuple: Tuple {
            sport: 0,
            dport: wanted.dport,
            protocol: wanted.protocol,
            ..other
        },
        mask: SourceMask::ADDRESS,
        expires_ns: now_ns + wanted.timeout_ns,
        class: 0,
        permanent: false,
        helper: 0,
        follow: None,
    })
}

/// A value of a connection as a number of the key's width.
fn value(
    tracker: &TrackerWorker,
    ct: PacketCt,
    key: CtKey,
    direction: Option<Direction>,
    columns: usize,
) -> Option<u128> {
    let flow = ct.flow;
    let side = || tracker.tuple(flow, direction.unwrap_or(Direction::Original));
    let counted = |pick: fn((u64, u64)) -> u64| match direction {
        Some(direction) => pick(tracker.counters(flow, direction)),
        None => [Direction::Original, Direction::Reply]
            .map(|direction| pick(tracker.counters(flow, direction)))
            .iter()
            .sum(),
    };
    let packets = || counted(|(packets, _)| packets);
    let bytes = || counted(|(_, bytes)| bytes);
    Some(match key {
        CtKey::State => return None,
        CtKey::Direction => ct.direction as u128,
        CtKey::Status => (tracker.status(flow) & status::KERNEL).into(),
        CtKey::Mark => tracker.mark(flow).into(),
        // Before it is confirmed its time does not run yet, and the kernel reads that as none left.
        CtKey::Expiration if tracker.status(flow) & status::CONFIRMED == 0 => 0,
        CtKey::Expiration => u128::from(tracker.expires_in_ms(flow) as u32),
        CtKey::Helper => helper_name(tracker, ct)?,
        CtKey::Label => tracker.label(flow),
        CtKey::Id => tracker.flow_number(flow).into(),
        CtKey::Zone => zone(tracker, ct, direction).into(),
        CtKey::Bytes => bytes().into(),
        CtKey::Packets => packets().into(),
        CtKey::Avgpkt => bytes().checked_div(packets()).unwrap_or(0).into(),
        CtKey::L3proto => side().l3.into(),
        CtKey::Protocol => side().protocol.into(),
        CtKey::SaddrIp | CtKey::DaddrIp | CtKey::SaddrIp6 | CtKey::DaddrIp6 => {
            let side = side();
            let wanted = match key {
                CtKey::SaddrIp | CtKey::DaddrIp => tuple::IPV4,
                _ => tuple::IPV6,
            };
            if side.l3 != wanted {
                return None;
            }
            let source = matches!(key, CtKey::SaddrIp | CtKey::SaddrIp6);
            address(&side, source, columns)
        }
        CtKey::Src => address(&side(), true, columns),
        CtKey::Dst => address(&side(), false, columns),
        CtKey::ProtoSrc => side().sport.into(),
        CtKey::ProtoDst => side().dport.into(),
        // Set, never read.
        CtKey::Event => return None,
    })
}

/// An address as a number of so many words; an IPv4 address stands in the first.
fn address(side: &Tuple, source: bool, columns: usize) -> u128 {
    let bytes = if source { side.src } else { side.dst };
    u128::from_be_bytes(bytes) >> (32 * (4 - columns.min(4)))
}

/// The zone: of a direction, or the one that was set.
fn zone(tracker: &TrackerWorker, ct: PacketCt, direction: Option<Direction>) -> u16 {
    let of = |direction| tracker.tuple(ct.flow, direction).zone;
    match direction {
        Some(direction) => of(direction),
        None => match of(Direction::Original) {
            0 => of(Direction::Reply),
            zone => zone,
        },
    }
}

/// The name of the helper whose connection announced this one, as 16 bytes.
fn helper_name(tracker: &TrackerWorker, ct: PacketCt) -> Option<u128> {
    let shared = tracker.tracker();
    let master = tracker.master(ct.flow)?;
    let helper = shared.flow(master.index).filter(|flow| flow.id == master)?;
    let name = Helper::from_number(helper.helper)?.name();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    Some(u128::from_be_bytes(bytes))
}
