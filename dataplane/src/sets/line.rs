//! A cache line of words: flattening, fetching ahead, comparing all words at once.
//!
//! Unsafe, because neither reading aligned lines as one run of words nor the prefetch and vector
//! instructions have a safe form, and the tables of the packet path are made of both: without alignment a bucket lies
//! on two cache lines (measured: a look-up among 1M addresses takes a third longer).
#![allow(unsafe_code)]

/// 16 words on one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; 16]);

impl Line {
    pub(super) const ZERO: Self = Self([0; 16]);
    pub(super) const WORDS: usize = 16;
}

/// The words of lines, one after the other.
#[inline]
pub(super) fn words(lines: &[Line]) -> &[u32] {
    // SAFETY: `Line` is `repr(C)` with exactly 16 words and no padding (64 bytes, aligned to 64), so
    // the memory of `lines` is `16 * lines.len()` initialised words; the lifetime is the same.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * Line::WORDS) }
}

/// The words of lines, one after the other, for writing.
#[inline]
pub(super) fn words_mut(lines: &mut [Line]) -> &mut [u32] {
    // SAFETY: as in `words`; every bit pattern of a word is valid, and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * Line::WORDS) }
}

/// Asks the processor to fetch the line of something that will be read soon.
#[inline(always)]
pub(super) fn prefetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing that the program sees and never faults; the pointer comes
    // from a reference.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
            std::ptr::from_ref(what).cast(),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}

/// One bit for each word that equals `value`.
#[inline(always)]
pub(super) fn equal(line: &[u32; 16], value: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi32, _mm_set1_epi32};
        // SAFETY: every x86-64 processor has SSE2.
        unsafe {
            let value = _mm_set1_epi32(value as i32);
            bits(load(line).map(|words| _mm_cmpeq_epi32(words, value)))
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    mask(line, |word| word == value)
}

/// One bit for each word that is greater than `value`.
#[inline(always)]
pub(super) fn greater(line: &[u32; 16], value: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpgt_epi32, _mm_set1_epi32, _mm_xor_si128};
        // SAFETY: every x86-64 processor has SSE2.
        unsafe {
            // The comparison is one of signed numbers: turning the highest bit keeps the order.
            let sign = _mm_set1_epi32(i32::MIN);
            let value = _mm_set1_epi32((value ^ 1 << 31) as i32);
            bits(load(line).map(|words| _mm_cmpgt_epi32(_mm_xor_si128(words, sign), value)))
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    mask(line, |word| word > value)
}

/// One bit for each word that is not greater than `value`.
#[inline(always)]
pub(super) fn not_greater(line: &[u32; 16], value: u32) -> u32 {
    !greater(line, value) & 0xffff
}

/// One bit for each word that is less than `value`.
#[inline(always)]
pub(super) fn less(line: &[u32; 16], value: u32) -> u32 {
    match value.checked_sub(1) {
        Some(below) => not_greater(line, below),
        None => 0,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn mask(line: &[u32; 16], holds: impl Fn(u32) -> bool) -> u32 {
    line.iter()
        .enumerate()
        .fold(0, |mask, (at, &word)| mask | u32::from(holds(word)) << at)
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn load(line: &[u32; 16]) -> [std::arch::x86_64::__m128i; 4] {
    let first = line.as_ptr();
    // SAFETY: the four unaligned loads of 16 bytes lie within the 64 bytes of `line`; SSE2 is there.
    unsafe {
        std::array::from_fn(|at| std::arch::x86_64::_mm_loadu_si128(first.add(4 * at).cast()))
    }
}

/// One bit for each of 16 words that are all ones or zero.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn bits(words: [std::arch::x86_64::__m128i; 4]) -> u32 {
    use std::arch::x86_64::{_mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32};
    // SAFETY: every x86-64 processor has SSE2.
    unsafe {
        let low = _mm_packs_epi32(words[0], words[1]);
        let high = _mm_packs_epi32(words[2], words[3]);
        _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
    }
}

const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_agree_with_those_of_single_words() {
        let line: [u32; 16] = std::array::from_fn(|at| match at {
            0 => 0,
            1 => u32::MAX,
            2 => 1 << 31,
            3 => (1 << 31) - 1,
            _ => (at as u32).wrapping_mul(0x9e37_79b1),
        });
        for value in line.into_iter().chain([1, 5, u32::MAX - 1]) {
            for (at, &word) in line.iter().enumerate() {
                assert_eq!(equal(&line, value) >> at & 1 == 1, word == value);
                assert_eq!(greater(&line, value) >> at & 1 == 1, word > value);
                assert_eq!(not_greater(&line, value) >> at & 1 == 1, word <= value);
                assert_eq!(less(&line, value) >> at & 1 == 1, word < value);
            }
        }
    }
}
