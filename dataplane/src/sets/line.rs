//! A cache line of words: flattening and fetching ahead.
//!
//! Unsafe, because neither reading aligned lines as one run of words nor the prefetch instruction has
//! a safe form, and the tables of the packet path are made of both: without alignment a bucket lies
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

const _: () = assert!(size_of::<Line>() == 64 && align_of::<Line>() == 64);
