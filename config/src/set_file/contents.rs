//! What a file has: ranges of both families, sorted and without overlap.

use rayon::prelude::*;

use super::Entries;

/// What a file has. Ranges are sorted and have no address in common; ranges that only adjoin stay as
/// they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// First and last IPv4 addresses.
    pub v4: Vec<(u32, u32)>,
    /// First and last IPv6 addresses.
    pub v6: Vec<(u128, u128)>,
    /// Entries that were read, before what overlaps became one.
    pub entries: u64,
    /// Entries that were left out, because of their country or set.
    pub left_out: u64,
}

impl Contents {
    pub(super) fn of(parts: Vec<Entries<'_>>) -> Self {
        let count: usize = parts.iter().map(|part| part.v4.len()).sum();
        let mut v4 = Vec::with_capacity(count);
        let mut v6 = Vec::new();
        let mut left_out = 0;
        for mut part in parts {
            v4.append(&mut part.v4);
            v6.append(&mut part.v6);
            left_out += part.left_out;
        }
        let entries = (v4.len() + v6.len()) as u64;
        merge(&mut v4);
        merge(&mut v6);
        Self {
            v4,
            v6,
            entries,
            left_out,
        }
    }
}

/// Sorts ranges, and makes one of those that overlap.
fn merge<T: Copy + Ord + Send>(ranges: &mut Vec<(T, T)>) {
    if !ranges.is_sorted() {
        ranges.par_sort_unstable();
    }
    ranges.dedup_by(|next, kept| {
        let overlap = next.0 <= kept.1;
        if overlap {
            kept.1 = kept.1.max(next.1);
        }
        overlap
    });
    ranges.shrink_to_fit();
}
