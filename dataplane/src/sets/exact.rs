//! Exact keys of any width: buckets of 16 slots with one-byte tags.
//!
//! Immutable once built. A look-up reads the bucket's 16 tags (one cache line) and, for the
//! slots whose tag agrees, the key's words; a one-word key so touches two cache lines. At a load
//! of 0.8 about one look-up in twelve goes on to the next bucket.

use super::hash::Seed;
use super::{Column, Entry};
use crate::packet::BATCH;

/// Slots of a bucket.
const SLOTS: usize = 16;

/// One word of the 16 keys of a bucket.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Line([u32; SLOTS]);

/// The table; an entry is the number of the row that was given for the key.
#[derive(Debug)]
pub struct Exact {
    seed: Seed,
    words: usize,
    tags: Vec<[u8; SLOTS]>,
    /// Word `w` of bucket `b` at `b * words + w`.
    keys: Vec<Line>,
    /// Row of slot `s` of bucket `b` at `b * SLOTS + s`.
    rows: Vec<u32>,
}

impl Exact {
    /// Builds the table of `count` keys of `words` words; `key(row, word)` gives them. Equal
    /// keys are the caller's to avoid.
    pub fn build(
        seed: Seed,
        words: usize,
        count: usize,
        key: impl Fn(usize, usize) -> u32,
    ) -> Self {
        let buckets = (count * 5 / 4).div_ceil(SLOTS).max(1);
        let mut table = Self {
            seed,
            words,
            tags: vec![[0; SLOTS]; buckets],
            keys: vec![Line([0; SLOTS]); buckets * words],
            rows: vec![u32::MAX; buckets * SLOTS],
        };
        for row in 0..count {
            table.place(row, |word| key(row, word));
        }
        table
    }

    fn place(&mut self, row: usize, key: impl Fn(usize) -> u32) {
        let hash = self.seed.hash((0..self.words).map(&key));
        let mut bucket = self.bucket(hash);
        loop {
            if let Some(slot) = self.tags[bucket].iter().position(|&tag| tag == 0) {
                self.tags[bucket][slot] = tag(hash);
                for word in 0..self.words {
                    self.keys[bucket * self.words + word].0[slot] = key(word);
                }
                self.rows[bucket * SLOTS + slot] = row as u32;
                return;
            }
            bucket = (bucket + 1) % self.tags.len();
        }
    }

    #[inline]
    fn bucket(&self, hash: u64) -> usize {
        ((hash >> 32) * self.tags.len() as u64 >> 32) as usize
    }

    /// Looks up a key per lane; the entries are rows.
    pub fn look_up(&self, key: &[&Column], lanes: u64, entries: &mut [Entry; BATCH]) -> u64 {
        // Hash all, then fetch all tags, then compare: the loads of a phase do not wait for each
        // other, so the memory latencies of a batch overlap.
        let mut hashes = [0_u64; BATCH];
        for (lane, hash) in hashes.iter_mut().enumerate() {
            *hash = self.seed.hash(key.iter().map(|column| column[lane]));
        }
        let mut candidates = [(0_u32, 0_u16, 0_u16); BATCH];
        let mut rest = lanes;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let bucket = self.bucket(hashes[lane]);
            let tags = &self.tags[bucket];
            candidates[lane] = (
                bucket as u32,
                equal(tags, tag(hashes[lane])),
                equal(tags, 0),
            );
        }
        let mut found = 0;
        let mut rest = lanes;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let (bucket, same, free) = candidates[lane];
            if let Some(row) = self.search(bucket as usize, same, free, tag(hashes[lane]), |word| {
                key[word][lane]
            }) {
                entries[lane] = Entry(row);
                found |= 1 << lane;
            }
        }
        found
    }

    #[inline]
    fn search(
        &self,
        bucket: usize,
        same: u16,
        free: u16,
        tag: u8,
        key: impl Fn(usize) -> u32,
    ) -> Option<u32> {
        let (mut bucket, mut same, mut free) = (bucket, same, free);
        for _ in 0..self.tags.len() {
            while same != 0 {
                let slot = same.trailing_zeros() as usize;
                same &= same - 1;
                let first = bucket * self.words;
                if (0..self.words).all(|word| self.keys[first + word].0[slot] == key(word)) {
                    return Some(self.rows[bucket * SLOTS + slot]);
                }
            }
            if free != 0 {
                return None;
            }
            bucket = (bucket + 1) % self.tags.len();
            same = equal(&self.tags[bucket], tag);
            free = equal(&self.tags[bucket], 0);
        }
        None
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.tags.len() * SLOTS + self.keys.len() * size_of::<Line>() + self.rows.len() * 4
    }
}

/// A tag is never 0: that marks a free slot.
#[inline]
fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

/// The slots whose tag is `tag`, one bit each.
#[inline]
fn equal(tags: &[u8; SLOTS], tag: u8) -> u16 {
    let mut bits = 0;
    for (slot, &other) in tags.iter().enumerate() {
        bits |= u16::from(other == tag) << slot;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_no_other() {
        for count in [0, 1, 15, 16, 17, 1000, 20_000] {
            let table = Exact::build(Seed([7, 9]), 2, count, |row, word| {
                if word == 0 { row as u32 * 3 } else { 5 }
            });
            let mut entries = [Entry::NONE; BATCH];
            for start in (0..count * 3 + 3).step_by(BATCH) {
                let first: Column = std::array::from_fn(|lane| (start + lane) as u32);
                let found = table.look_up(&[&first, &[5; BATCH]], u64::MAX, &mut entries);
                for lane in 0..BATCH {
                    let number = start + lane;
                    let expected = number % 3 == 0 && number / 3 < count;
                    assert_eq!(found >> lane & 1 == 1, expected, "{number} of {count}");
                    if expected {
                        assert_eq!(entries[lane], Entry((number / 3) as u32));
                    }
                }
                assert_eq!(
                    table.look_up(&[&first, &[6; BATCH]], u64::MAX, &mut entries),
                    0
                );
            }
        }
    }
}
