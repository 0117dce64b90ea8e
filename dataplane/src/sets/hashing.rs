//! Seeded hashing of keys.
//!
//! Two words at a time are mixed by a folded 64 x 64 multiplication with secret keys that come from
//! the seed, and once more at the end. Who does not know the seed cannot choose keys that meet.

use super::hits::Column;

/// Secret keys for up to 16 words.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    seed: u64,
    start: u64,
    end: u64,
    pairs: [u64; 8],
}

#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The next of a sequence of well mixed numbers (SplitMix64).
pub(super) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Hasher {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut odd = || split_mix(&mut state) | 1;
        Self {
            seed,
            start: odd(),
            end: odd(),
            pairs: std::array::from_fn(|_| odd()),
        }
    }

    /// Another hasher, for a table whose keys met too often under this one.
    pub(super) fn next(&self) -> Self {
        let mut seed = self.seed;
        Self::new(split_mix(&mut seed))
    }

    #[inline]
    pub(super) fn words(&self, key: &[u32]) -> u64 {
        let mut hash = self.start;
        for (pair, secret) in key.chunks(2).zip(&self.pairs) {
            let low = pair.get(1).copied().unwrap_or(0);
            hash = fold(hash ^ (u64::from(pair[0]) << 32 | u64::from(low)), *secret);
        }
        fold(hash, self.end)
    }

    /// The same of a key of one word.
    #[inline(always)]
    pub(super) fn word(&self, word: u32) -> u64 {
        fold(
            fold(self.start ^ (u64::from(word) << 32), self.pairs[0]),
            self.end,
        )
    }

    /// The same of a key that stands in columns.
    #[inline]
    pub(super) fn lane(&self, columns: &[&Column], lane: usize) -> u64 {
        let mut hash = self.start;
        for (pair, secret) in columns.chunks(2).zip(&self.pairs) {
            let low = pair.get(1).map_or(0, |column| column[lane]);
            hash = fold(
                hash ^ (u64::from(pair[0][lane]) << 32 | u64::from(low)),
                *secret,
            );
        }
        fold(hash, self.end)
    }
}
