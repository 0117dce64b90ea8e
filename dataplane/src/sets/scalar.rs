//! Numbers of one, two or four words: what intervals and prefixes compare.

use super::hits::Column;
use super::line;

/// A number that keys of ordered structures are. Three words are held in a `u128`.
pub(super) trait Scalar:
    Copy + Ord + Default + Send + Sync + std::fmt::Debug + 'static
{
    /// Bits of a prefix at most.
    const BITS: u32;
    const ZERO: Self;

    fn of_words(words: &[u32]) -> Self;
    fn of_lane(columns: &[&Column], lane: usize) -> Self;
    /// Writes the number to exactly as many words as the key has.
    fn put(self, words: &mut [u32]);
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn without(self, other: Self) -> Self;
    /// Number of leading bits that are the same.
    fn common(self, other: Self) -> u32;
    fn trailing_zeros(self) -> u32;
    /// The one bit that stands for a prefix length, 1 to `BITS`: longer is less significant.
    fn length_bit(length: u32) -> Self;
    /// The `length` most significant bits set.
    fn mask(length: u32) -> Self;
    fn not(self) -> Self;
    /// How many of up to 16 numbers are not greater than `number`.
    fn count_not_greater(numbers: &[Self], number: Self) -> usize;
}

macro_rules! scalar {
    ($type:ty, $count:expr) => {
        impl Scalar for $type {
            const BITS: u32 = <$type>::BITS;
            const ZERO: Self = 0;

            #[inline]
            fn of_words(words: &[u32]) -> Self {
                words.iter().fold(0, |number, &word| {
                    (u128::from(number) << 32 | u128::from(word)) as $type
                })
            }
            #[inline]
            fn of_lane(columns: &[&Column], lane: usize) -> Self {
                columns.iter().fold(0, |number, column| {
                    (u128::from(number) << 32 | u128::from(column[lane])) as $type
                })
            }
            fn put(self, words: &mut [u32]) {
                let mut rest = u128::from(self);
                for word in words.iter_mut().rev() {
                    *word = rest as u32;
                    rest >>= 32;
                }
            }
            #[inline]
            fn and(self, other: Self) -> Self {
                self & other
            }
            #[inline]
            fn or(self, other: Self) -> Self {
                self | other
            }
            #[inline]
            fn without(self, other: Self) -> Self {
                self & !other
            }
            #[inline]
            fn common(self, other: Self) -> u32 {
                (self ^ other).leading_zeros()
            }
            #[inline]
            fn trailing_zeros(self) -> u32 {
                self.trailing_zeros()
            }
            #[inline]
            fn length_bit(length: u32) -> Self {
                1 << (Self::BITS - length)
            }
            #[inline]
            fn mask(length: u32) -> Self {
                (!0 as $type).checked_shl(Self::BITS - length).unwrap_or(0)
            }
            #[inline]
            fn not(self) -> Self {
                !self
            }
            #[inline(always)]
            fn count_not_greater(numbers: &[Self], number: Self) -> usize {
                $count(numbers, number)
            }
        }
    };
}

/// Counts one by one, without branches.
#[inline(always)]
fn count<T: Ord>(numbers: &[T], number: T) -> usize {
    numbers
        .iter()
        .map(|other| usize::from(*other <= number))
        .sum()
}

#[inline(always)]
fn count_words(words: &[u32], word: u32) -> usize {
    match words.first_chunk::<16>() {
        Some(words) => line::not_greater(words, word).count_ones() as usize,
        None => count(words, word),
    }
}

scalar!(u32, count_words);
scalar!(u64, count);
scalar!(u128, count);
