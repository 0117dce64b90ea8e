//! Beginning a flow: its entry, within the budget, and the flow that announced it.

use super::expect::{Expectation, Follow};
use super::flow::FlowId;
use super::invalid::InvalidReason;
use super::protocol::{self, Packet};
use super::state::{CtState, FlowIndex, PacketCt, status};
use super::track::Outcome;
use super::tuple::{Key, Tuple, Zone};
use super::worker::{TrackContext, TrackerWorker};
use crate::program::key::Direction;

/// Slots in use, on average, that are looked at for a flow that can be dropped early: those of eight
/// buckets of a full table.
const EARLY_DROP_SLOTS: u64 = 32;
/// Buckets that are looked at most.
const EARLY_DROP_BUCKETS: u64 = 1024;

impl TrackerWorker {
    /// Begins a flow with its first packet.
    pub(super) fn begin_flow(
        &mut self,
        lane: usize,
        packet: &Packet<'_>,
        zone: Zone,
        context: &TrackContext,
    ) -> Outcome {
        let table = &self.tracker.table;
        let is_it =
            |entry: u32, direction: usize| table.entry(entry).has_key(direction, &self.keys[lane]);
        if self.begun.has(self.hashes[lane], is_it) {
            return Outcome::Deferred;
        }
        let seen = Tuple::from_key(&self.keys[lane]);
        let original = Tuple {
            zone: zone.of(0),
            ..seen
        };
        let Some(answer) = protocol::invert(&seen) else {
            return Outcome::Invalid(InvalidReason::IcmpType);
        };
        let reply = Tuple {
            zone: zone.of(1),
            ..answer
        };
        let rules = self.in_force.rules(zone.id);
        let (state, timeout, bits) = match protocol::begin(packet, &rules, self.now_ns) {
            Ok(begun) => begun,
            Err(reason) => return Outcome::Invalid(reason),
        };
        let keys = [original.key(), reply.key()];
        let hashes = keys
            .each_ref()
            .map(|key| self.tracker.table.hasher.hash(key));
        let Some(id) = self.take_entry(hashes[0], keys.each_ref(), context.wall_ns) else {
            return Outcome::Full;
        };
        let index = id.index.0;
        let entry = self.tracker.table.entry(index);
        entry.init_state(&state);
        entry.set_class(timeout.class);
        let timeout_ns = self.in_force.shortest_ns(0, timeout);
        entry.set_deadline_ns(self.now_ns.saturating_add(timeout_ns));
        entry.count_alone(0, 1, packet.bytes.len() as u64);
        if bits != 0 {
            entry.set_status(bits);
        }
        self.begun.add(lane, index, hashes);
        let state = match self.fulfil(lane, id, &original) {
            Some(true) => CtState::Related,
            Some(false) => CtState::New,
            None => {
                self.forget(1 << lane);
                return Outcome::Full;
            }
        };
        Outcome::Done(PacketCt {
            flow: id.index,
            state,
            direction: Direction::Original,
            invalid: 0,
        })
    }

    /// A free entry with these tuples, within the budget.
    fn take_entry(&mut self, hash: u64, keys: [&Key; 2], wall_ns: u64) -> Option<FlowId> {
        let live = i64::from(self.table().live()) + i64::from(self.live_change);
        if live >= i64::from(self.table().limit) && !self.drop_early(hash) {
            return None;
        }
        let table = &self.tracker.table;
        let index = table.pool.take(&mut self.hand, &table.memory)?;
        self.live_change += 1;
        let start_us = table.start_us(wall_ns);
        Some(table.entry(index).begin(index, keys, start_us, self.number))
    }

    /// Ends a flow near a hash that is not assured, or over.
    fn drop_early(&mut self, hash: u64) -> bool {
        let table = &self.tracker.table;
        let now_ns = self.now_ns;
        let may_go = |index: &u32| {
            let entry = table.entry(*index);
            let bits = entry.status();
            bits & (status::CONFIRMED | status::DYING) == status::CONFIRMED
                && (bits & status::ASSURED == 0
                    || entry.deadline_ns() <= now_ns
                    || protocol::is_closing(entry.protocol(), &entry.state()))
        };
        let victim = table
            .index()
            .around(hash, self.early_drop_buckets())
            .find(may_go);
        let Some(index) = victim else {
            return false;
        };
        let over = table.entry(index).deadline_ns() <= now_ns;
        let id = self.id(FlowIndex(index));
        let killed = self.kill(id);
        self.seat().early_drop.add(u64::from(killed && !over));
        killed
    }

    /// Buckets in which a flow is looked for that can be dropped early. The index of a small table is the
    /// emptier the more of its budget this batch has begun and not yet confirmed.
    fn early_drop_buckets(&self) -> u32 {
        let table = self.table();
        let live = i64::from(table.live()) + i64::from(self.live_change);
        let confirmed = live - i64::from(self.begun.lanes().count_ones());
        let slots = 2 * confirmed.max(1) as u64;
        let buckets = u64::from(table.memory.buckets());
        (EARLY_DROP_SLOTS * buckets)
            .div_ceil(slots)
            .min(EARLY_DROP_BUCKETS) as u32
    }

    /// Makes a begun flow the child of the one that announced it, if one has: whether, and `None` when
    /// there is no room for that.
    #[inline]
    fn fulfil(&mut self, lane: usize, id: FlowId, original: &Tuple) -> Option<bool> {
        if self.tracker.table.expectations.count() == 0 {
            return Some(false);
        }
        self.fulfil_any(lane, id, original)
    }

    #[cold]
    fn fulfil_any(&mut self, lane: usize, id: FlowId, original: &Tuple) -> Option<bool> {
        let table = &self.tracker.table;
        let Some(expectation) = table.expectations.fulfil(original, self.now_ns) else {
            return Some(false);
        };
        if !expectation.permanent {
            self.seat().expect_delete.add(1);
        }
        let number = table.sides.take()?;
        let entry = table.entry(id.index.0);
        entry.set_side(number);
        let master = table.entry(expectation.master.index.0);
        let lives = master.generation() == expectation.master.generation;
        if lives {
            entry.set_mark(master.mark());
        }
        let mut bits = status::EXPECTED;
        if let Some(side) = table.sides.get(number) {
            side.set_master(Some(expectation.master));
            side.helper.store(
                u32::from(expectation.helper),
                std::sync::atomic::Ordering::Relaxed,
            );
            if expectation.helper != 0 {
                bits |= status::HELPER;
            }
        }
        entry.set_status(bits);
        if let Some(follow) = expectation.follow.filter(|_| lives) {
            self.follow_master(lane, id, original, &expectation, follow);
        }
        Some(true)
    }

    /// Translates an expected flow as the announcing one is: chains of type nat do not see it.
    fn follow_master(
        &mut self,
        lane: usize,
        id: FlowId,
        original: &Tuple,
        expectation: &Expectation,
        follow: Follow,
    ) {
        let table = &self.tracker.table;
        let master = table.entry(expectation.master.index.0);
        let ends = master.tuple(follow.towards as usize);
        let leaves = Tuple {
            src: ends.dst,
            dst: ends.src,
            dport: follow.port,
            ..*original
        };
        let (old, answer) = (
            table.entry(id.index.0).tuple(1),
            protocol::invert(&leaves).unwrap_or(leaves),
        );
        let mut bits = status::SRC_NAT_DONE | status::DST_NAT_DONE;
        if leaves.src != original.src {
            bits |= status::SRC_NAT;
        }
        if (leaves.dst, leaves.dport) != (original.dst, original.dport) {
            bits |= status::DST_NAT;
        }
        let zone = old.zone;
        self.replace_reply(lane, &Tuple { zone, ..answer });
        self.set_status(id.index, bits);
    }
}
