//! Columns and lane masks: one comparison over all lanes at once.
//!
//! A lane mask is a `u64`, one bit a lane. The comparisons use the widest vectors that the
//! processor has, found out once; every width computes the same mask.
#![allow(unsafe_code)] // vector loads and calls of functions compiled for wider vectors

use super::op::Relation;
use crate::packet::BATCH;

/// One word for each lane.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub struct Column(pub [u32; BATCH]);

impl Default for Column {
    fn default() -> Self {
        Self([0; BATCH])
    }
}

impl std::ops::Deref for Column {
    type Target = [u32; BATCH];
    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl std::ops::DerefMut for Column {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// The lanes of a mask, in ascending order.
#[derive(Clone, Copy, Debug)]
pub struct LaneIter(pub u64);

impl Iterator for LaneIter {
    type Item = usize;
    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        // The mask tells the compiler what a bit number is, so indexing needs no check.
        Some(lane & (BATCH - 1))
    }
}

/// The lanes of a mask.
#[inline]
pub fn lanes(mask: u64) -> LaneIter {
    LaneIter(mask)
}

/// Lanes of `among` where `column & mask == value`.
#[inline]
pub fn equal(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        match x86::width() {
            // SAFETY: `width` says the processor has AVX-512F.
            x86::Width::Bits512 => unsafe { x86::equal_512(column, among, mask, value) },
            // SAFETY: `width` says the processor has AVX2.
            x86::Width::Bits256 => unsafe { x86::equal_256(column, among, mask, value) },
            // SAFETY: every x86-64 processor has SSE2.
            x86::Width::Bits128 => unsafe { x86::equal_128(column, among, mask, value) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    return among & scalar(column, |word| word & mask == value);
}

/// Lanes of `among` where `column & mask < value`.
#[inline]
pub fn below(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        match x86::width() {
            // SAFETY: `width` says the processor has AVX-512F.
            x86::Width::Bits512 => unsafe { x86::below_512(column, among, mask, value) },
            // SAFETY: `width` says the processor has AVX2.
            x86::Width::Bits256 => unsafe { x86::below_256(column, among, mask, value) },
            // SAFETY: every x86-64 processor has SSE2.
            x86::Width::Bits128 => unsafe { x86::below_128(column, among, mask, value) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    return among & scalar(column, |word| word & mask < value);
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn scalar(column: &Column, matches: impl Fn(u32) -> bool) -> u64 {
    let mut found = 0;
    for (lane, word) in column.iter().enumerate() {
        found |= u64::from(matches(*word)) << lane;
    }
    found
}

/// Lanes of `among` where `(columns & mask) relation value`, all words as one number, most
/// significant first. `mask` is empty for all bits. The lists have the same length.
pub fn compare(
    columns: &[Column],
    among: u64,
    mask: &[u32],
    relation: Relation,
    value: &[u32],
) -> u64 {
    let bits = |index: usize| mask.get(index).copied().unwrap_or(u32::MAX);
    if matches!(relation, Relation::Eq | Relation::Ne) {
        let mut same = among;
        for (index, (column, value)) in columns.iter().zip(value).enumerate() {
            same = equal(column, same, bits(index), *value);
            if same == 0 {
                break;
            }
        }
        return if relation == Relation::Eq {
            same
        } else {
            among & !same
        };
    }
    let (mut less, mut same) = (0, among);
    for (index, (column, value)) in columns.iter().zip(value).enumerate() {
        less |= below(column, same, bits(index), *value);
        same = equal(column, same, bits(index), *value);
        if same == 0 {
            break;
        }
    }
    match relation {
        Relation::Lt => less,
        Relation::Le => less | same,
        Relation::Gt => among & !(less | same),
        _ => among & !less,
    }
}

/// Index of the first of `values` that is `value`.
#[inline]
pub fn find(values: &[u32], value: u32) -> Option<usize> {
    let (chunks, _) = values.as_chunks::<16>();
    // Without an early end inside a chunk the comparisons become vectors.
    let inside = |chunk: &[u32; 16]| {
        chunk
            .iter()
            .fold(false, |found, word| found | (*word == value))
    };
    let skipped = chunks.iter().position(inside).unwrap_or(chunks.len()) * 16;
    values[skipped..]
        .iter()
        .position(|word| *word == value)
        .map(|index| skipped + index)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Column;

    /// Widest vectors to use.
    #[derive(Clone, Copy, PartialEq, Eq)]
    #[repr(u8)]
    pub(super) enum Width {
        Bits128 = 1,
        Bits256 = 2,
        Bits512 = 3,
    }

    /// The width that the processor has.
    #[inline]
    pub(super) fn width() -> Width {
        static FOUND: AtomicU8 = AtomicU8::new(0);
        match FOUND.load(Relaxed) {
            1 => Width::Bits128,
            2 => Width::Bits256,
            3 => Width::Bits512,
            _ => {
                let found = detect();
                FOUND.store(found as u8, Relaxed);
                found
            }
        }
    }

    #[cold]
    fn detect() -> Width {
        if is_x86_feature_detected!("avx512f") {
            Width::Bits512
        } else if is_x86_feature_detected!("avx2") {
            Width::Bits256
        } else {
            Width::Bits128
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn equal_512(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
        let (mask, value) = (
            _mm512_set1_epi32(mask as i32),
            _mm512_set1_epi32(value as i32),
        );
        let same = |words| _mm512_cmpeq_epi32_mask(_mm512_and_si512(words, mask), value);
        among & by_16(column, among, same)
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn below_512(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
        let (mask, value) = (
            _mm512_set1_epi32(mask as i32),
            _mm512_set1_epi32(value as i32),
        );
        let less = |words| _mm512_cmplt_epu32_mask(_mm512_and_si512(words, mask), value);
        among & by_16(column, among, less)
    }

    /// Sixteen lanes at a time; when all lanes that count lie in one sixteen, only those.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn by_16(column: &Column, among: u64, test: impl Fn(__m512i) -> u16) -> u64 {
        let [a, b, c, d] = column.as_chunks::<16>().0 else {
            return 0;
        };
        // SAFETY: the chunks are 16 words each, the 64 bytes that the load reads.
        let load = |words: &[u32; 16]| unsafe { _mm512_loadu_si512(words.as_ptr().cast()) };
        if among <= 0xffff {
            return u64::from(test(load(a)));
        }
        u64::from(test(load(a)))
            | u64::from(test(load(b))) << 16
            | u64::from(test(load(c))) << 32
            | u64::from(test(load(d))) << 48
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn equal_256(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
        let (mask, value) = (
            _mm256_set1_epi32(mask as i32),
            _mm256_set1_epi32(value as i32),
        );
        let mut found = 0;
        for (part, words) in column.as_chunks::<8>().0.iter().enumerate() {
            if among >> (part * 8) & 0xff == 0 {
                continue;
            }
            // SAFETY: `words` is 8 words, the 32 bytes that the load reads.
            let words = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
            let same = _mm256_cmpeq_epi32(_mm256_and_si256(words, mask), value);
            let bits = _mm256_movemask_ps(_mm256_castsi256_ps(same)) as u32;
            found |= u64::from(bits) << (part * 8);
        }
        found & among
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn below_256(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
        // There is only a signed comparison: turning the top bit makes it unsigned.
        let top = _mm256_set1_epi32(i32::MIN);
        let mask = _mm256_set1_epi32(mask as i32);
        let value = _mm256_xor_si256(_mm256_set1_epi32(value as i32), top);
        let mut found = 0;
        for (part, words) in column.as_chunks::<8>().0.iter().enumerate() {
            if among >> (part * 8) & 0xff == 0 {
                continue;
            }
            // SAFETY: `words` is 8 words, the 32 bytes that the load reads.
            let words = unsafe { _mm256_loadu_si256(words.as_ptr().cast()) };
            let words = _mm256_xor_si256(_mm256_and_si256(words, mask), top);
            let less = _mm256_cmpgt_epi32(value, words);
            let bits = _mm256_movemask_ps(_mm256_castsi256_ps(less)) as u32;
            found |= u64::from(bits) << (part * 8);
        }
        found & among
    }

    #[target_feature(enable = "sse2")]
    pub(super) fn equal_128(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
        let (mask, value) = (_mm_set1_epi32(mask as i32), _mm_set1_epi32(value as i32));
        let mut found = 0;
        for (part, words) in column.as_chunks::<4>().0.iter().enumerate() {
            if among >> (part * 4) & 0xf == 0 {
                continue;
            }
            // SAFETY: `words` is 4 words, the 16 bytes that the load reads.
            let words = unsafe { _mm_loadu_si128(words.as_ptr().cast()) };
            let same = _mm_cmpeq_epi32(_mm_and_si128(words, mask), value);
            found |= (_mm_movemask_ps(_mm_castsi128_ps(same)) as u64) << (part * 4);
        }
        found & among
    }

    #[target_feature(enable = "sse2")]
    pub(super) fn below_128(column: &Column, among: u64, mask: u32, value: u32) -> u64 {
        let top = _mm_set1_epi32(i32::MIN);
        let mask = _mm_set1_epi32(mask as i32);
        let value = _mm_xor_si128(_mm_set1_epi32(value as i32), top);
        let mut found = 0;
        for (part, words) in column.as_chunks::<4>().0.iter().enumerate() {
            if among >> (part * 4) & 0xf == 0 {
                continue;
            }
            // SAFETY: `words` is 4 words, the 16 bytes that the load reads.
            let words = unsafe { _mm_loadu_si128(words.as_ptr().cast()) };
            let less = _mm_cmpgt_epi32(value, _mm_xor_si128(_mm_and_si128(words, mask), top));
            found |= (_mm_movemask_ps(_mm_castsi128_ps(less)) as u64) << (part * 4);
        }
        found & among
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words() -> impl Strategy<Value = u32> {
        prop_oneof![
            Just(0),
            Just(u32::MAX),
            Just(1 << 31),
            0u32..4,
            any::<u32>()
        ]
    }

    proptest! {
        #[test]
        fn every_width_computes_the_same(
            column in proptest::collection::vec(words(), BATCH), mask in words(), value in words(),
            among in any::<u64>(),
        ) {
            let column = Column(column.try_into().unwrap());
            let same = scalar(&column, |word| word & mask == value) & among;
            let less = scalar(&column, |word| word & mask < value) & among;
            prop_assert_eq!(equal(&column, among, mask, value), same);
            prop_assert_eq!(below(&column, among, mask, value), less);
            #[cfg(target_arch = "x86_64")]
            {
                // SAFETY: every x86-64 processor has SSE2.
                unsafe {
                    prop_assert_eq!(x86::equal_128(&column, among, mask, value), same);
                    prop_assert_eq!(x86::below_128(&column, among, mask, value), less);
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2.
                    unsafe {
                        prop_assert_eq!(x86::equal_256(&column, among, mask, value), same);
                        prop_assert_eq!(x86::below_256(&column, among, mask, value), less);
                    }
                }
            }
        }

        #[test]
        fn a_value_is_found_where_it_first_stands(values in proptest::collection::vec(0u32..40, 0..70), value in 0u32..40) {
            prop_assert_eq!(find(&values, value), values.iter().position(|word| *word == value));
        }

        #[test]
        fn two_words_compare_as_one_number(
            high in proptest::collection::vec(0u32..3, BATCH),
            low in proptest::collection::vec(words(), BATCH),
            value in (0u32..3, words()),
        ) {
            let number = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
            let columns = [Column(high.try_into().unwrap()), Column(low.try_into().unwrap())];
            let right = number(value.0, value.1);
            for relation in [Relation::Eq, Relation::Ne, Relation::Lt, Relation::Gt, Relation::Le, Relation::Ge] {
                let found = compare(&columns, u64::MAX, &[], relation, &[value.0, value.1]);
                for lane in lanes(u64::MAX) {
                    let left = number(columns[0][lane], columns[1][lane]);
                    let expected = match relation {
                        Relation::Eq => left == right,
                        Relation::Ne => left != right,
                        Relation::Lt => left < right,
                        Relation::Gt => left > right,
                        Relation::Le => left <= right,
                        Relation::Ge => left >= right,
                    };
                    prop_assert_eq!(found >> lane & 1 == 1, expected);
                }
            }
        }
    }
}
