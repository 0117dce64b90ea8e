//! Seeded hashing of keys.
//!
//! Six words are mixed by folded 64 x 64 multiplications with secret numbers that come from the seed.
//! Who does not know the seed cannot choose tuples that meet in one bucket.

use super::tuple::{Key, LAST_WORD};

/// The secret numbers.
#[derive(Clone, Debug)]
pub(super) struct KeyHasher {
    secrets: [u64; 8],
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

/// Mixes a number, for digests that find damage (and no more).
pub(super) fn mix(word: u64) -> u64 {
    fold(word ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93).wrapping_add(word)
}

impl KeyHasher {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self {
            secrets: std::array::from_fn(|_| split_mix(&mut state)),
        }
    }

    /// The hash of a tuple.
    #[inline]
    pub(super) fn hash(&self, key: &Key) -> u64 {
        let s = &self.secrets;
        // The three products do not wait for each other.
        let a = fold(key[0] ^ s[0], key[1] ^ s[1]);
        let b = fold(key[2] ^ s[2], key[3] ^ s[3]);
        let c = fold(key[4] ^ s[4], (key[5] & LAST_WORD) ^ s[5]);
        // Both factors depend on the ports, so that ports in a row do not stay a row of buckets.
        fold(a ^ c.rotate_left(23) ^ s[6], b ^ c ^ s[7])
    }

    /// A number of 32 bits that outsiders cannot compute: for `ct id`.
    pub(super) fn number(&self, value: u64) -> u32 {
        fold(value ^ self.secrets[6], self.secrets[1] | 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_tuples_spread_evenly() {
        let hasher = KeyHasher::new(3);
        let mut counts = vec![0u32; 1024];
        for port in 0..65_536u64 {
            let hash = hasher.hash(&[
                0x0a00_0001 << 32,
                0,
                0x0a00_0002 << 32,
                0,
                port << 48 | 53 << 32,
                0x0206,
            ]);
            counts[(hash as u32 >> 22) as usize] += 1;
        }
        // 64 each on average; a fair hash is within six standard deviations.
        assert!(
            counts.iter().all(|&count| (16..=112).contains(&count)),
            "{counts:?}"
        );
        assert_ne!(
            KeyHasher::new(1).hash(&[1; 6]),
            KeyHasher::new(2).hash(&[1; 6])
        );
    }

    #[test]
    fn swapping_source_and_destination_changes_the_hash() {
        let hasher = KeyHasher::new(9);
        assert_ne!(
            hasher.hash(&[1, 2, 3, 4, 5, 6]),
            hasher.hash(&[3, 4, 1, 2, 5, 6])
        );
    }
}
