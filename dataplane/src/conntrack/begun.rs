//! Flows that this batch has begun and not yet confirmed, by lane.

use crate::packet::BATCH;
use crate::program::lanes::lanes;

const FILTER_WORDS: usize = 16;

/// The begun flows of a batch.
#[derive(Debug)]
pub(super) struct Begun {
    lanes: u64,
    entries: [u32; BATCH],
    hashes: [[u64; 2]; BATCH],
    /// Bits of the hashes, so that most tuples need no search.
    filter: [u64; FILTER_WORDS],
}

impl Default for Begun {
    fn default() -> Self {
        Self {
            lanes: 0,
            entries: [0; BATCH],
            hashes: [[0; 2]; BATCH],
            filter: [0; FILTER_WORDS],
        }
    }
}

#[inline]
fn bit(hash: u64) -> (usize, u64) {
    ((hash >> 38) as usize % FILTER_WORDS, 1 << (hash >> 32 & 63))
}

impl Begun {
    /// The lanes that have begun a flow.
    #[inline]
    pub(super) fn lanes(&self) -> u64 {
        self.lanes
    }

    pub(super) fn add(&mut self, lane: usize, entry: u32, hashes: [u64; 2]) {
        self.lanes |= 1 << lane;
        self.entries[lane] = entry;
        self.set_hashes(lane, hashes);
    }

    pub(super) fn set_hashes(&mut self, lane: usize, hashes: [u64; 2]) {
        self.hashes[lane] = hashes;
        for hash in hashes {
            let (word, bit) = bit(hash);
            self.filter[word] |= bit;
        }
    }

    #[inline]
    pub(super) fn get(&self, lane: usize) -> (u32, [u64; 2]) {
        (self.entries[lane], self.hashes[lane])
    }

    /// Forgets a lane.
    pub(super) fn remove(&mut self, lane: usize) {
        self.lanes &= !(1 << lane);
        if self.lanes == 0 {
            self.filter = [0; FILTER_WORDS];
        }
    }

    /// Whether a begun flow has a tuple of this hash that `is_it` recognises by entry and direction.
    #[inline]
    pub(super) fn has(&self, hash: u64, is_it: impl Fn(u32, usize) -> bool) -> bool {
        let (word, bit) = bit(hash);
        self.filter[word] & bit != 0 && self.search(hash, is_it)
    }

    fn search(&self, hash: u64, is_it: impl Fn(u32, usize) -> bool) -> bool {
        lanes(self.lanes).any(|lane| {
            (0..2).any(|direction| {
                self.hashes[lane][direction] == hash && is_it(self.entries[lane], direction)
            })
        })
    }
}
