//! The keyed hash of all tables.
//!
//! Folded multiplication with two secret words: without them an attacker cannot tell which keys
//! meet in a bucket. The secret is handed in (nothing here has randomness of its own).

/// The secret of one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub [u64; 2]);

impl Seed {
    /// The hash of a key's words.
    #[inline]
    pub fn hash(self, words: impl IntoIterator<Item = u32>) -> u64 {
        let mut state = self.0[0];
        for word in words {
            state = fold(state ^ u64::from(word), self.0[1] | 1);
        }
        fold(state, 0x9e37_79b9_7f4a_7c15)
    }
}

/// The two halves of the product, mixed.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_words_make_a_difference() {
        let seed = Seed([1, 2]);
        assert_ne!(seed.hash([1]), seed.hash([2]));
        assert_ne!(seed.hash([1, 2]), seed.hash([2, 1]));
        assert_ne!(seed.hash([1]), Seed([3, 2]).hash([1]));
        assert_eq!(seed.hash([1, 2]), seed.hash([1, 2]));
    }
}
