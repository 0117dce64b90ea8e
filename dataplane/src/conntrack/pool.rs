//! Free entries: a few in each worker's hand, the others in a shared queue of handfuls.

use std::sync::atomic::Ordering::Relaxed;

use crossbeam_queue::ArrayQueue;

use super::memory::Memory;

/// Entries that change hands together at most.
const HANDFUL: usize = 64;

/// Some free entries.
#[derive(Debug)]
pub(super) struct Handful {
    count: usize,
    entries: [u32; HANDFUL],
}

/// What no worker holds.
#[derive(Debug)]
pub(super) struct Pool {
    shared: ArrayQueue<Handful>,
    handful: usize,
}

/// A worker's own free entries.
#[derive(Debug)]
pub(super) struct Hand {
    free: Vec<u32>,
}

impl Hand {
    /// The entry that the `after`-th next taking will yield, if it is in the hand already.
    #[inline]
    pub(super) fn peek(&self, after: usize) -> Option<u32> {
        let last = self.free.len().checked_sub(after + 1)?;
        self.free.get(last).copied()
    }
}

impl Pool {
    /// A pool of so many entries for so many workers.
    pub(super) fn new(entries: u32, workers: usize) -> Self {
        // Small tables change hands in small pieces, so that little lies idle.
        let handful = (entries as usize / (8 * workers.max(1))).clamp(1, HANDFUL);
        Self {
            // Twice what whole handfuls need: those of a worker that is gone may be smaller.
            shared: ArrayQueue::new(2 * (entries as usize / handful) + 2 * workers + 64),
            handful,
        }
    }

    pub(super) fn hand(&self) -> Hand {
        Hand {
            free: Vec::with_capacity(3 * HANDFUL),
        }
    }

    /// A free entry.
    #[inline]
    pub(super) fn take(&self, hand: &mut Hand, memory: &Memory) -> Option<u32> {
        match hand.free.pop() {
            Some(entry) => Some(entry),
            None => self.refill(hand, memory),
        }
    }

    #[cold]
    fn refill(&self, hand: &mut Hand, memory: &Memory) -> Option<u32> {
        if let Some(handful) = self.shared.pop() {
            hand.free
                .extend_from_slice(&handful.entries[..handful.count]);
        } else {
            let (fresh, end) = (&memory.header().fresh, memory.entries() + 1);
            let take = self.handful as u32;
            let more = |from: u32| (from < end).then(|| (from + take).min(end));
            let from = fresh.fetch_update(Relaxed, Relaxed, more).ok()?;
            hand.free.extend((from..(from + take).min(end)).rev());
        }
        hand.free.pop()
    }

    /// Gives an entry back that nobody can find any more.
    #[inline]
    pub(super) fn give(&self, hand: &mut Hand, entry: u32) {
        hand.free.push(entry);
        if hand.free.len() >= 2 * self.handful {
            let _room = self.put_down(hand, self.handful);
        }
    }

    /// Gives all entries of a hand back.
    pub(super) fn give_all(&self, hand: &mut Hand) {
        while !hand.free.is_empty() && self.put_down(hand, self.handful) {}
    }

    /// Moves up to so many entries to the shared queue; `false` when it has no room.
    #[cold]
    fn put_down(&self, hand: &mut Hand, count: usize) -> bool {
        let mut entries = [0; HANDFUL];
        let from = hand.free.len().saturating_sub(count);
        let count = hand.free.len() - from;
        entries[..count].copy_from_slice(&hand.free[from..]);
        let room = self.shared.push(Handful { count, entries }).is_ok();
        if room {
            hand.free.truncate(from);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_given_out_once_and_comes_back() {
        let memory = Memory::new(100, 50, 1).unwrap();
        let pool = Pool::new(100, 2);
        let mut hands = [pool.hand(), pool.hand()];
        for _ in 0..3 {
            let mut taken = Vec::new();
            for turn in 0.. {
                match pool.take(&mut hands[turn % 2], &memory) {
                    Some(entry) => taken.push(entry),
                    None => break,
                }
            }
            let other = std::iter::from_fn(|| {
                pool.take(&mut hands[0], &memory)
                    .or_else(|| pool.take(&mut hands[1], &memory))
            });
            taken.extend(other.collect::<Vec<_>>());
            taken.sort_unstable();
            assert_eq!(taken, (1..=100).collect::<Vec<u32>>());
            for entry in taken {
                pool.give(&mut hands[entry as usize % 2], entry);
            }
            let [first, second] = &mut hands;
            pool.give_all(first);
            pool.give_all(second);
        }
    }
}
