//! Search in sorted numbers, without branches that depend on them.

use super::scalar::Scalar;

/// Most elements of a chunk of an ordered structure. A change copies one chunk.
pub(super) const CHUNK: usize = 256;

/// Elements per chunk that a bulk load makes.
pub(super) const FILL: usize = 224;

/// Index of the last of `sorted` that is not greater than `number`; 0 if all are greater.
/// `sorted` is not empty.
#[inline(always)]
pub(super) fn last_not_greater<T: Scalar>(sorted: &[T], number: T) -> usize {
    let mut base = 0;
    let mut size = sorted.len();
    while size > 1 {
        let half = size / 2;
        base = if sorted[base + half] <= number {
            base + half
        } else {
            base
        };
        size -= half;
    }
    base
}
