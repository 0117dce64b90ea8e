//! A worker's timer wheel: what expires costs, what exists does not.
//!
//! Four levels of 64 slots, a tick of about 134 ms. A slot is a list of entries linked through the entries
//! themselves, so that one can be taken out at any time. A packet that refreshes its flow only writes
//! the deadline; when the entry's slot comes up the wheel sees the later deadline and links it there. Only
//! a deadline that becomes *earlier* than the slot has to be told (see `Table::rearm`).
//!
//! Only the owner touches the links. How late an entry is looked at decides when it is
//! counted out and told, never whether a packet still finds it: look-ups compare the deadline itself.

use std::sync::atomic::Ordering::Relaxed;

use super::memory::Memory;

const LEVELS: usize = 4;
const SLOTS: usize = 64;
/// Nanoseconds of a tick are a power of two.
const TICK_SHIFT: u32 = 27;
/// Lists that have come up and wait for their turn, one a level.
const DUE: usize = LEVELS * SLOTS;
/// In `prev`: the entry is the first of the list of this number.
const FIRST: u32 = 1 << 31;

/// The tick of a moment.
pub(super) fn tick_of(ns: u64) -> u64 {
    ns >> TICK_SHIFT
}

/// The wheel of one worker.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32; DUE + LEVELS]>,
    used: [u64; LEVELS],
    tick: u64,
}

impl Wheel {
    pub(super) fn new(now_ns: u64) -> Self {
        Self {
            heads: Box::new([0; DUE + LEVELS]),
            used: [0; LEVELS],
            tick: tick_of(now_ns),
        }
    }

    /// Links an entry where its deadline lies.
    pub(super) fn link(&mut self, memory: &Memory, index: u32) {
        let entry = memory.entry(index);
        // A tick later, so that the deadline has passed when the slot comes up.
        let due = tick_of(entry.deadline_ns()) + 1;
        let ahead = due
            .saturating_sub(self.tick)
            .clamp(1, (1 << (6 * LEVELS)) - 1);
        let at = self.tick + ahead;
        let level = (ahead.ilog2() / 6) as usize;
        let slot = (at >> (6 * level)) as usize % SLOTS;
        entry.armed.store(at as u32, Relaxed);
        self.used[level] |= 1 << slot;
        self.put(memory, level * SLOTS + slot, index);
    }

    fn put(&mut self, memory: &Memory, list: usize, index: u32) {
        let entry = memory.entry(index);
        let first = self.heads[list];
        entry.next.store(first, Relaxed);
        entry.prev.store(FIRST | list as u32, Relaxed);
        if first != 0 {
            memory.entry(first).prev.store(index, Relaxed);
        }
        self.heads[list] = index;
    }

    /// Takes an entry out of its list; nothing happens when it is in none.
    pub(super) fn unlink(&mut self, memory: &Memory, index: u32) {
        let entry = memory.entry(index);
        let (prev, next) = (entry.prev.load(Relaxed), entry.next.load(Relaxed));
        if prev == 0 {
            return;
        }
        if prev & FIRST != 0 {
            self.heads[(prev & !FIRST) as usize] = next;
        } else {
            memory.entry(prev).next.store(next, Relaxed);
        }
        if next != 0 {
            memory.entry(next).prev.store(prev, Relaxed);
        }
        Self::reset(memory, index);
    }

    /// Makes an entry one that is in no list.
    pub(super) fn reset(memory: &Memory, index: u32) {
        memory.entry(index).prev.store(0, Relaxed);
        memory.entry(index).next.store(0, Relaxed);
    }

    /// Takes up to `out.len()` entries whose slot has come up by now out of their lists; yields how many.
    /// Each has to be linked again or to end.
    pub(super) fn come_up(&mut self, memory: &Memory, now_ns: u64, out: &mut [u32]) -> usize {
        let mut count = 0;
        let now = tick_of(now_ns);
        while count < out.len() {
            let due = (DUE..DUE + LEVELS).find(|list| self.heads[*list] != 0);
            if let Some(list) = due {
                out[count] = self.heads[list];
                self.unlink(memory, out[count]);
                count += 1;
            } else if self.tick < now {
                self.turn(memory, now);
            } else {
                break;
            }
        }
        count
    }

    /// Goes on by a tick, or over ticks in which nothing comes up.
    fn turn(&mut self, memory: &Memory, now: u64) {
        let empty_levels = self.used.iter().take_while(|used| **used == 0).count();
        if empty_levels == LEVELS {
            self.tick = now;
            return;
        }
        // Nothing can come up before the next slot of the first level in use.
        let round = (1 << (6 * empty_levels)) - 1;
        self.tick = ((self.tick | round) + 1).min(now);
        for level in 0..LEVELS {
            let below = (1u64 << (6 * level)) - 1;
            if self.tick & below != 0 {
                break;
            }
            let slot = (self.tick >> (6 * level)) as usize % SLOTS;
            self.used[level] &= !(1 << slot);
            let first = std::mem::take(&mut self.heads[level * SLOTS + slot]);
            if first != 0 {
                self.heads[DUE + level] = first;
                memory
                    .entry(first)
                    .prev
                    .store(FIRST | (DUE + level) as u32, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK_NS: u64 = 1 << TICK_SHIFT;

    proptest! {
        #[test]
        fn entries_come_up_once_and_in_time(
            deadlines in proptest::collection::vec(0u64..40_000_000, 1..60),
            steps in proptest::collection::vec(1u64..3_000_000, 1..40),
            taken_out in any::<u64>(),
        ) {
            let count = deadlines.len() as u32;
            let memory = Memory::new(count, 2, 1).unwrap();
            let mut wheel = Wheel::new(0);
            let mut waiting: std::collections::BTreeMap<u32, u64> = (1..=count).zip(deadlines).collect();
            for (&index, &deadline) in &waiting {
                memory.entry(index).set_deadline_ns(deadline * TICK_NS / 10);
                wheel.link(&memory, index);
            }
            waiting.retain(|&index, _| {
                let out = taken_out >> (index % 64) & 1 == 1;
                if out {
                    wheel.unlink(&memory, index);
                    wheel.unlink(&memory, index);
                }
                !out
            });
            let mut now = 0;
            for step in steps.into_iter().chain([u64::MAX >> 36]) {
                now += step * TICK_NS / 10;
                let mut some = [0; 7];
                loop {
                    let count = wheel.come_up(&memory, now, &mut some);
                    for &index in &some[..count] {
                        if memory.entry(index).deadline_ns() <= now {
                            prop_assert!(waiting.remove(&index).is_some(), "{} came up twice", index);
                        } else {
                            wheel.link(&memory, index);
                        }
                    }
                    if count < some.len() {
                        break;
                    }
                }
                for (index, deadline) in &waiting {
                    prop_assert!(deadline * TICK_NS / 10 + 2 * TICK_NS > now, "{} is late", index);
                }
            }
            prop_assert!(waiting.is_empty());
        }
    }
}
