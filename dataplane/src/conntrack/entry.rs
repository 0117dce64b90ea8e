//! A flow's entry: 256 bytes on four cache lines.
//!
//! Each direction has a line of its own with its tuple and its counters, so that two workers that carry
//! the two directions do not write to the same line. The third line has what both read; the fourth the
//! protocol's state and the label. All fields are atomics, because readers look without a lock.
//!
//! *Life.* `life` is the generation (high half) and the status bits (low half) in one word, so that
//! "this flow, still alive" is one comparison. An entry is **free** (no bit), **begun** (known to the worker
//! that began it only), **confirmed** (`CONFIRMED`, in the index), **dying** (`DYING`: whoever set that bit
//! takes it out of the index). It is used again only when every worker has since begun a new batch.
//!
//! *Lock.* `lock` guards `state`, and the counters of protocols that have a state.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use super::flow::{Flow, FlowId};
use super::protocol::ProtocolState;
use super::state::{FlowIndex, status};
use super::timeouts::TimeoutClass;
use super::translation;
use super::tuple::{Key, LAST_WORD, Tuple, address};
use crate::packet::headers::protocol as number;

/// A direction's line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Half {
    /// The tuple. The last word's upper 48 bits: of the original tuple when the flow began
    /// (microseconds since the table's), of the reply tuple the owner (16 bits) and the number of
    /// the side record (32 bits).
    key: [AtomicU64; 6],
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// A flow's entry.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Entry {
    pub(super) halves: [Half; 2],
    // Third line: 8 + 8 + 4 + 4 + 4 + 12 + 4 + 2 + 2 + 16 bytes.
    life: AtomicU64,
    deadline_ns: AtomicU64,
    lock: AtomicU8,
    /// Whether it is in its owner's inbox.
    pub(super) queued: AtomicU8,
    class: AtomicU8,
    /// Events that are told, bits as in `changed`; new and destroy are the two highest.
    pub(super) events: AtomicU8,
    mark: AtomicU32,
    /// The wheel's tick at which it is looked at.
    pub(super) armed: AtomicU32,
    /// Links of the owner's wheel.
    pub(super) next: AtomicU32,
    pub(super) prev: AtomicU32,
    /// Link of the owner's inbox.
    pub(super) inbox: AtomicU32,
    /// Until when a UDP flow is no stream, in units of [`YOUNG_NS`]: a copy of its state, so that its first
    /// packets need neither lock nor fourth line.
    young: AtomicU32,
    policy: AtomicU16,
    /// The translator's bits.
    pub(super) translation: AtomicU16,
    /// Kept for the flow memory.
    _memory: [AtomicU64; 2],
    // Fourth line: 48 + 16 bytes.
    state: [AtomicU64; 6],
    label: [AtomicU64; 2],
}

/// The unit of `young`: a power of two near a millisecond.
const YOUNG_NS: u64 = 1 << 20;
/// Most units that a flow is young; what is further ahead has come round.
const YOUNG_MOST: u32 = 2048;

const _: () = assert!(size_of::<Half>() == 64 && size_of::<Entry>() == 256);

/// A lock that is held.
pub(super) struct Locked<'e>(&'e Entry);

impl Drop for Locked<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.lock.store(0, Release);
    }
}

/// Turns that a waiter spins before it lets others run: the holder may have lost its processor.
const PATIENCE: u32 = 2000;

/// Waits a moment for the holder of a tiny lock.
#[cold]
pub(super) fn wait(turns: &mut u32) {
    *turns += 1;
    if turns.is_multiple_of(PATIENCE) {
        std::thread::yield_now();
    } else {
        std::hint::spin_loop();
    }
}

impl Entry {
    /// Takes the flow's lock.
    #[inline]
    pub(super) fn lock(&self) -> Locked<'_> {
        let mut turns = 0;
        while self.lock.swap(1, Acquire) != 0 {
            while self.lock.load(Relaxed) != 0 {
                wait(&mut turns);
            }
        }
        Locked(self)
    }

    /// Whether a direction has this tuple.
    #[inline]
    pub(super) fn has_key(&self, direction: usize, key: &Key) -> bool {
        let own = &self.halves[direction].key;
        let mut differ = (own[5].load(Relaxed) ^ key[5]) & LAST_WORD;
        for (own, word) in own[..5].iter().zip(key) {
            differ |= own.load(Relaxed) ^ word;
        }
        differ == 0
    }

    /// The tuple of a direction.
    #[inline]
    pub(super) fn key(&self, direction: usize) -> Key {
        let mut key: Key =
            std::array::from_fn(|word| self.halves[direction].key[word].load(Relaxed));
        key[5] &= LAST_WORD;
        key
    }

    /// Address and port of one end of a direction's tuple, without making a tuple of all the rest; of an ICMP
    /// query the id for both ends.
    #[inline]
    pub(super) fn end(&self, direction: usize, destination: bool) -> ([u8; 16], u16) {
        let word = |at: usize| self.halves[direction].key[at].load(Relaxed);
        let from = if destination { 2 } else { 0 };
        let ports = word(4);
        let query = matches!(word(5) as u8, number::ICMP | number::ICMPV6);
        let port = if destination && !query {
            ports >> 32
        } else {
            ports >> 48
        };
        (address([word(from), word(from + 1)]), port as u16)
    }

    #[inline]
    pub(super) fn tuple(&self, direction: usize) -> Tuple {
        Tuple::from_key(&self.key(direction))
    }

    /// Transport protocol of the original tuple.
    #[inline]
    pub(super) fn protocol(&self) -> u8 {
        self.halves[0].key[5].load(Relaxed) as u8
    }

    /// Sets the tuple of a direction; only while the flow is begun.
    #[inline]
    pub(super) fn set_key(&self, direction: usize, key: &Key) {
        let own = &self.halves[direction].key;
        for (own, word) in own[..5].iter().zip(key) {
            own.store(*word, Relaxed);
        }
        let beyond = own[5].load(Relaxed) & !LAST_WORD;
        own[5].store(beyond | key[5] & LAST_WORD, Relaxed);
    }

    /// Makes a free entry a begun flow: a new generation without any bit.
    pub(super) fn begin(&self, index: u32, keys: [&Key; 2], start_us: u64, owner: u16) -> FlowId {
        let generation = self.generation().wrapping_add(1);
        self.life.store(u64::from(generation) << 32, Relaxed);
        // A reader that sees anything of what follows sees the new generation too (see `Table::flow`).
        std::sync::atomic::fence(Release);
        for (half, key) in self.halves.iter().zip(keys) {
            for (own, word) in half.key.iter().zip(key) {
                own.store(*word, Relaxed);
            }
            half.packets.store(0, Relaxed);
            half.bytes.store(0, Relaxed);
        }
        self.halves[0].key[5].store(keys[0][5] & LAST_WORD | start_us << 16, Relaxed);
        self.halves[1].key[5].store(keys[1][5] & LAST_WORD | u64::from(owner) << 16, Relaxed);
        self.mark.store(0, Relaxed);
        self.translation.store(0, Relaxed);
        self.policy.store(0, Relaxed);
        self.events.store(u8::MAX, Relaxed);
        for word in &self.label {
            word.store(0, Relaxed);
        }
        FlowId {
            index: FlowIndex(index),
            generation,
        }
    }

    /// When it began: microseconds since the table's.
    pub(super) fn start_us(&self) -> u64 {
        self.halves[0].key[5].load(Relaxed) >> 16
    }

    /// The worker that keeps its timer.
    #[inline]
    pub(super) fn owner(&self) -> u16 {
        (self.halves[1].key[5].load(Relaxed) >> 16) as u16
    }

    /// The number of its side record, 0 for none.
    #[inline]
    pub(super) fn side(&self) -> u32 {
        (self.halves[1].key[5].load(Relaxed) >> 32) as u32
    }

    /// Sets the side record; only while the flow is begun.
    pub(super) fn set_side(&self, side: u32) {
        let word = &self.halves[1].key[5];
        word.store(
            word.load(Relaxed) & 0xffff_ffff | u64::from(side) << 32,
            Relaxed,
        );
    }

    #[inline]
    pub(super) fn life(&self) -> u64 {
        self.life.load(Acquire)
    }

    pub(super) fn generation(&self) -> u32 {
        (self.life.load(Relaxed) >> 32) as u32
    }

    #[inline]
    pub(super) fn status(&self) -> u32 {
        self.life.load(Acquire) as u32
    }

    /// Sets status bits; yields those that were set before.
    #[inline]
    pub(super) fn set_status(&self, bits: u32) -> u32 {
        self.life.fetch_or(u64::from(bits), Release) as u32
    }

    /// Makes the entry a free one: whoever remembers the flow sees another generation.
    pub(super) fn forget(&self) {
        let generation = self.generation().wrapping_add(1);
        self.life.store(u64::from(generation) << 32, Release);
    }

    /// The four cache lines, by something that lies on each.
    #[inline]
    pub(super) fn lines(&self) -> [&AtomicU64; 4] {
        let [first, second] = &self.halves;
        [&first.key[0], &second.key[0], &self.life, &self.state[0]]
    }

    /// Writes what a loaded flow has beyond its tuples; only while the flow is begun.
    pub(super) fn restore(&self, flow: &Flow) {
        let kept = flow.status & !(status::CONFIRMED | status::DYING);
        self.set_status(kept);
        self.init_state(&flow.state);
        self.set_class(flow.class);
        self.set_policy(flow.policy);
        self.set_deadline_ns(flow.expires_ns);
        self.mark.store(flow.mark, Relaxed);
        self.change_label(flow.label, 0);
        self.translation
            .store(translation::unclaimed(flow.translation), Relaxed);
        for direction in 0..2 {
            self.set_counters(direction, flow.packets[direction], flow.bytes[direction]);
        }
    }

    /// Begins the counters of a direction anew; yields what they were.
    pub(super) fn take_counters(&self, direction: usize) -> (u64, u64) {
        let half = &self.halves[direction];
        (half.packets.swap(0, Relaxed), half.bytes.swap(0, Relaxed))
    }

    /// Makes a confirmed flow of this generation a dying one. `false` when it is none, or somebody else
    /// has: only the caller who gets `true` takes it out of the index.
    pub(super) fn die(&self, generation: u32) -> bool {
        let dying = |life: u64| {
            let alive = life as u32 & (status::CONFIRMED | status::DYING) == status::CONFIRMED;
            ((life >> 32) as u32 == generation && alive).then_some(life | u64::from(status::DYING))
        };
        self.life
            .fetch_update(std::sync::atomic::Ordering::AcqRel, Acquire, dying)
            .is_ok()
    }

    #[inline]
    pub(super) fn deadline_ns(&self) -> u64 {
        self.deadline_ns.load(Relaxed)
    }

    #[inline]
    pub(super) fn set_deadline_ns(&self, deadline_ns: u64) {
        self.deadline_ns.store(deadline_ns, Relaxed);
    }

    #[inline]
    pub(super) fn class(&self) -> TimeoutClass {
        TimeoutClass::from_number(self.class.load(Relaxed)).unwrap_or(TimeoutClass::Generic)
    }

    #[inline]
    pub(super) fn set_class(&self, class: TimeoutClass) {
        if self.class.load(Relaxed) != class as u8 {
            self.class.store(class as u8, Relaxed);
        }
    }

    #[inline]
    pub(super) fn policy(&self) -> u16 {
        self.policy.load(Relaxed)
    }

    pub(super) fn set_policy(&self, policy: u16) {
        self.policy.store(policy, Relaxed);
    }

    pub(super) fn mark(&self) -> u32 {
        self.mark.load(Relaxed)
    }

    /// Sets the mark; yields the old one.
    pub(super) fn set_mark(&self, mark: u32) -> u32 {
        self.mark.swap(mark, Relaxed)
    }

    pub(super) fn label(&self) -> u128 {
        u128::from(self.label[1].load(Relaxed)) << 64 | u128::from(self.label[0].load(Relaxed))
    }

    /// Sets label bits and clears others; yields whether anything changed.
    pub(super) fn change_label(&self, set: u128, clear: u128) -> bool {
        let before = self.label();
        for (word, shift) in self.label.iter().zip([0, 64]) {
            word.fetch_and(!((clear >> shift) as u64), Relaxed);
            word.fetch_or((set >> shift) as u64, Relaxed);
        }
        before != self.label()
    }

    /// The protocol's state; whoever wants to write it holds the lock.
    #[inline]
    pub(super) fn state(&self) -> ProtocolState {
        ProtocolState(std::array::from_fn(|word| self.state[word].load(Relaxed)))
    }

    /// Writes the words of the state that changed.
    #[inline]
    pub(super) fn set_state(&self, old: &ProtocolState, new: &ProtocolState) {
        for (own, (old, new)) in self.state.iter().zip(old.0.iter().zip(&new.0)) {
            if old != new {
                own.store(*new, Relaxed);
            }
        }
    }

    /// Writes the whole state; only while the flow is begun.
    pub(super) fn init_state(&self, state: &ProtocolState) {
        for (own, word) in self.state.iter().zip(&state.0) {
            own.store(*word, Relaxed);
        }
        self.young.store((state.0[0] / YOUNG_NS) as u32, Relaxed);
    }

    /// Whether a UDP flow is certainly not old enough yet for a stream; asks only the third line.
    #[inline]
    pub(super) fn is_young(&self, now_ns: u64) -> bool {
        let now = (now_ns / YOUNG_NS) as u32;
        let ahead = self.young.load(Relaxed).wrapping_sub(now);
        (1..=YOUNG_MOST).contains(&ahead)
    }

    /// Counts a packet; for protocols whose packets do not take the lock.
    #[inline]
    pub(super) fn count_shared(&self, direction: usize, bytes: u64) {
        self.halves[direction].packets.fetch_add(1, Relaxed);
        self.halves[direction].bytes.fetch_add(bytes, Relaxed);
    }

    /// Counts packets while nobody else can: under the lock, or while the flow is begun.
    #[inline]
    pub(super) fn count_alone(&self, direction: usize, packets: u64, bytes: u64) {
        let half = &self.halves[direction];
        half.packets
            .store(half.packets.load(Relaxed) + packets, Relaxed);
        half.bytes.store(half.bytes.load(Relaxed) + bytes, Relaxed);
    }

    /// Packets and bytes of a direction.
    pub(super) fn counters(&self, direction: usize) -> (u64, u64) {
        let half = &self.halves[direction];
        (half.packets.load(Relaxed), half.bytes.load(Relaxed))
    }

    /// Sets the counters; only while the flow is begun.
    fn set_counters(&self, direction: usize, packets: u64, bytes: u64) {
        self.halves[direction].packets.store(packets, Relaxed);
        self.halves[direction].bytes.store(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::memory::Memory;
    use super::super::protocol::testing::{ip, packet};
    use super::super::protocol::{self, Judgement};
    use super::*;

    proptest! {
        /// A flow that is young is judged as unreplied by its state too, and for nearly two seconds it is young.
        #[test]
        fn a_young_flow_is_no_stream(began in 0u64..1 << 56, later in 0u64..1 << 54) {
            let bytes = ip(2, number::UDP, false, &[0, 1, 0, 2, 0, 8, 0, 0], Some(6));
            let (memory, rules) = (Memory::new(4, 2, 1).unwrap(), crate::conntrack::Rules::default());
            let (mut state, _, _) = protocol::begin(&packet(&bytes, false), &rules, began).unwrap();
            let entry = memory.entry(1);
            entry.init_state(&state);
            for now in [began + later, began + later % 4_000_000_000] {
                let seen = status::SEEN_REPLY;
                let judgement = protocol::next(&mut state, &packet(&bytes, true), seen, &rules, now);
                let Judgement::Accept { timeout, .. } = judgement else {
                    panic!("{judgement:?}")
                };
                let unreplied = timeout.class == TimeoutClass::UdpUnreplied;
                prop_assert!(unreplied || !entry.is_young(now), "{} later", now - began);
            }
            prop_assert!(entry.is_young(began + later % 1_900_000_000));
        }
    }
}
