//! The index: buckets of one cache line with eight slots, both directions of every flow in it.
//!
//! A slot holds `entry << 1 | direction`, beside it stands a tag of 16 bits of the hash. Looking up takes
//! no lock: tags, then slot, then the entry's tuple is compared, so whatever a concurrent change shows,
//! a found entry has the tuple. A full bucket counts in `overflow` how many slots went past it; while that
//! is 0 a look-up ends there, otherwise it goes on with the next bucket.
//!
//! *Inserting* takes the lock bit of the tuple's first bucket, so that of two workers with the same tuple
//! one sees the other's; slots of further buckets are taken by compare-and-swap. *Removing* takes no lock:
//! only the one who made the flow die does it, and slots never move.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::entry::wait;
use super::memory::{Memory, prefetch};
use super::tuple::Key;

const SLOTS: usize = 8;
/// Buckets that a tuple may be away from its first one.
const REACH: u32 = 64;

/// A bucket.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Four tags a word.
    tags: [AtomicU64; 2],
    slots: [AtomicU32; SLOTS],
    lock: AtomicU32,
    /// Slots that went past this bucket because it was full.
    overflow: AtomicU32,
    _spare: AtomicU64,
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// Bytes of index for each flow: two slots, half of the slots used when the table is full.
pub(super) const INDEX_BYTES: usize = 32;

/// Buckets for so many entries.
pub(super) fn buckets_for(entries: u32) -> u32 {
    (entries / 2).max(2)
}

/// Where a tuple was found: the entry and the direction.
pub(super) type Found = (u32, usize);

#[inline]
fn tag(hash: u64) -> u64 {
    hash >> 48
}

/// One bit for each tag that may equal (bits 15, 31 ... of each word); never misses an equal one.
#[inline]
fn matches(word: u64, tag: u64) -> u64 {
    const ONES: u64 = 0x0001_0001_0001_0001;
    let differ = word ^ (tag * ONES);
    differ.wrapping_sub(ONES) & !differ & ONES << 15
}

impl Bucket {
    /// One bit for each slot whose tag may equal.
    #[inline]
    fn candidates(&self, tag: u64) -> u32 {
        // Bits 15, 31, 47 and 63 become bits 0 to 3.
        let squeeze = |bits: u64| ((bits >> 15).wrapping_mul(0x1_0002_0004_0008) >> 48) as u32 & 15;
        let low = squeeze(matches(self.tags[0].load(Acquire), tag));
        let high = squeeze(matches(self.tags[1].load(Acquire), tag));
        low | high << 4
    }

    /// The first entry whose tag equals that of a hash.
    #[inline]
    pub(super) fn guess(&self, hash: u64) -> Option<Found> {
        let candidates = self.candidates(tag(hash));
        if candidates == 0 {
            return None;
        }
        let slot = self.slots[candidates.trailing_zeros() as usize & 7].load(Acquire);
        (slot != 0).then_some((slot >> 1, (slot & 1) as usize))
    }

    fn lock(&self) {
        let mut turns = 0;
        while self.lock.swap(1, Acquire) != 0 {
            while self.lock.load(Relaxed) != 0 {
                wait(&mut turns);
            }
        }
    }

    fn unlock(&self) {
        self.lock.store(0, Release);
    }

    /// Takes a free slot.
    fn claim(&self, value: u32, tag: u64) -> bool {
        for (at, slot) in self.slots.iter().enumerate() {
            if slot.load(Relaxed) == 0 && slot.compare_exchange(0, value, AcqRel, Relaxed).is_ok() {
                let shift = at % 4 * 16;
                let word = &self.tags[at / 4];
                let with = |old: u64| Some(old & !(0xffff << shift) | tag << shift);
                let _set = word.fetch_update(AcqRel, Relaxed, with);
                return true;
            }
        }
        false
    }
}

/// The index within its memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'m> {
    pub(super) memory: &'m Memory,
}

impl<'m> Index<'m> {
    #[inline]
    fn home(self, hash: u64) -> u32 {
        ((u64::from(hash as u32) * u64::from(self.memory.buckets())) >> 32) as u32
    }

    #[inline]
    fn after(self, bucket: u32) -> u32 {
        if bucket + 1 == self.memory.buckets() {
            0
        } else {
            bucket + 1
        }
    }

    fn reach(self) -> u32 {
        REACH.min(self.memory.buckets())
    }

    /// Fetches the first bucket of a hash ahead.
    #[inline]
    pub(super) fn prefetch(self, hash: u64) -> &'m Bucket {
        let bucket = self.memory.bucket(self.home(hash));
        prefetch(bucket);
        bucket
    }

    /// The first entry of its first bucket whose tag equals: what [`find`](Self::find) will look at first.
    #[inline]
    pub(super) fn guess(self, hash: u64) -> Option<Found> {
        self.memory.bucket(self.home(hash)).guess(hash)
    }

    /// As [`find`](Self::find), but looks at what [`guess`](Self::guess) yielded in this batch first.
    #[inline]
    pub(super) fn find_guessed(
        self,
        guess: Option<Found>,
        hash: u64,
        key: &Key,
        take: impl Fn(Found) -> bool,
    ) -> Option<Found> {
        match guess {
            Some(found) if self.memory.entry(found.0).has_key(found.1, key) && take(found) => guess,
            _ => self.find(hash, key, take),
        }
    }

    /// The first entry, with its direction, that has this tuple and that `take` takes.
    #[inline]
    pub(super) fn find(
        self,
        hash: u64,
        key: &Key,
        mut take: impl FnMut(Found) -> bool,
    ) -> Option<Found> {
        let mut number = self.home(hash);
        for _ in 0..self.reach() {
            let bucket = self.memory.bucket(number);
            let mut candidates = bucket.candidates(tag(hash));
            while candidates != 0 {
                let at = candidates.trailing_zeros() as usize & 7;
                candidates &= candidates - 1;
                let slot = bucket.slots[at].load(Acquire);
                let found = (slot >> 1, (slot & 1) as usize);
                if slot != 0 && self.memory.entry(found.0).has_key(found.1, key) && take(found) {
                    return Some(found);
                }
            }
            if bucket.overflow.load(Acquire) == 0 {
                break;
            }
            number = self.after(number);
        }
        None
    }

    /// Locks the first buckets of two hashes, in the order of their numbers.
    pub(super) fn lock(self, hashes: [u64; 2]) -> HomeLocks<'m> {
        let (a, b) = (self.home(hashes[0]), self.home(hashes[1]));
        let first = self.memory.bucket(a.min(b));
        let second = (a != b).then(|| self.memory.bucket(a.max(b)));
        first.lock();
        if let Some(second) = second {
            second.lock();
        }
        HomeLocks { first, second }
    }

    /// Puts a direction of an entry in. `false`, and no change, when all buckets in reach are full. The
    /// caller holds the lock of the first bucket.
    pub(super) fn insert(self, hash: u64, entry: u32, direction: usize) -> bool {
        let value = entry << 1 | direction as u32;
        let mut number = self.home(hash);
        for _ in 0..self.reach() {
            let bucket = self.memory.bucket(number);
            if bucket.claim(value, tag(hash)) {
                return true;
            }
            // Before the slot behind it is taken, so that nobody who looks for it stops here.
            bucket.overflow.fetch_add(1, AcqRel);
            number = self.after(number);
        }
        self.forget_overflow(hash, self.reach());
        false
    }

    /// Counts down in the first `count` buckets of a hash.
    fn forget_overflow(self, hash: u64, count: u32) {
        let mut number = self.home(hash);
        for _ in 0..count {
            self.memory.bucket(number).overflow.fetch_sub(1, AcqRel);
            number = self.after(number);
        }
    }

    /// Takes a direction of an entry out; `false` when it was not in.
    pub(super) fn remove(self, hash: u64, entry: u32, direction: usize) -> bool {
        let value = entry << 1 | direction as u32;
        let mut number = self.home(hash);
        for past in 0..self.reach() {
            let bucket = self.memory.bucket(number);
            for slot in &bucket.slots {
                if slot.load(Relaxed) == value {
                    slot.store(0, Release);
                    self.forget_overflow(hash, past);
                    return true;
                }
            }
            number = self.after(number);
        }
        false
    }

    /// Entries in `count` buckets from the first one of a hash on.
    pub(super) fn around(self, hash: u64, count: u32) -> impl Iterator<Item = u32> + use<'m> {
        let (memory, home) = (self.memory, self.home(hash));
        let numbers =
            (0..count.min(memory.buckets())).map(move |past| (home + past) % memory.buckets());
        numbers
            .flat_map(move |number| memory.bucket(number).slots.iter())
            .map(|slot| slot.load(Acquire) >> 1)
            .filter(|entry| *entry != 0)
    }
}

/// Locks of first buckets, given back when dropped.
pub(super) struct HomeLocks<'m> {
    first: &'m Bucket,
    second: Option<&'m Bucket>,
}

impl Drop for HomeLocks<'_> {
    fn drop(&mut self) {
        if let Some(second) = self.second {
            second.unlock();
        }
        self.first.unlock();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u32) -> Key {
        [u64::from(number), 0, 0, 0, 0, 0x0211]
    }

    #[test]
    fn every_equal_tag_is_a_candidate_at_its_place() {
        let memory = Memory::new(16, 2, 1).unwrap();
        let bucket = memory.bucket(0);
        for at in 0..SLOTS as u32 {
            assert!(bucket.claim(at + 1, 0x4321 + u64::from(at % 3)));
        }
        assert!(!bucket.claim(99, 1), "full");
        for tag in 0x4320..0x4326 {
            let equal = |at: &u32| 0x4321 + u64::from(at % 3) == tag;
            let wanted = (0..8).filter(equal).fold(0, |bits, at| bits | 1 << at);
            assert_eq!(bucket.candidates(tag) & wanted, wanted, "{tag:x}");
        }
        assert_eq!(bucket.candidates(0x4321), 0b0100_1001);
    }

    proptest! {
        /// All entries share tag and first bucket: the worst case, which goes over many buckets.
        #[test]
        fn entries_of_one_hash_are_found_until_they_are_removed(
            hash in any::<u64>(), order in Just((1u32..=40).collect::<Vec<_>>()).prop_shuffle(),
        ) {
            let memory = Memory::new(40, 20, 1).unwrap();
            let index = Index { memory: &memory };
            for number in 1..=40 {
                memory.entry(number).begin(number, [&key(number), &key(number + 100)], 0, 0);
                prop_assert!(index.insert(hash, number, 0));
                prop_assert!(index.insert(hash.rotate_left(32), number, 1));
            }
            let find = |number: u32| index.find(hash, &key(number), |_| true);
            for (done, number) in order.iter().enumerate() {
                prop_assert_eq!(find(*number), Some((*number, 0)));
                prop_assert!(index.remove(hash, *number, 0));
                prop_assert!(index.remove(hash.rotate_left(32), *number, 1));
                prop_assert!(!index.remove(hash, *number, 0));
                prop_assert_eq!(find(*number), None);
                for other in &order[done + 1..] {
                    prop_assert_eq!(find(*other), Some((*other, 0)));
                }
            }
            for number in 0..memory.buckets() {
                prop_assert_eq!(memory.bucket(number).overflow.load(Relaxed), 0, "bucket {}", number);
            }
        }
    }

    #[test]
    fn a_crowded_index_refuses_and_stays_as_it_was() {
        let memory = Memory::new(100, 2, 1).unwrap();
        let index = Index { memory: &memory };
        for number in 1..=16 {
            memory
                .entry(number)
                .begin(number, [&key(number), &key(number)], 0, 0);
            assert!(index.insert(5, number, 0));
        }
        let before: Vec<_> = (0..2)
            .map(|at| memory.bucket(at).overflow.load(Relaxed))
            .collect();
        assert!(!index.insert(5, 17, 0));
        let after: Vec<_> = (0..2)
            .map(|at| memory.bucket(at).overflow.load(Relaxed))
            .collect();
        assert_eq!(before, after);
        assert_eq!(index.around(5, 8).count(), 16);
    }
}
