//! Disjoint intervals over one field: sorted arrays, searched for the whole batch in lockstep.
//!
//! For a field of one word an index over its upper 16 bits narrows the search first, so a
//! million prefixes take about as many steps as a few hundred.

use super::{Column, Entry};
use crate::packet::BATCH;

/// A key field as one number.
pub trait Number: Copy + Ord + std::fmt::Debug {
    /// The number of a lane's words, most significant first.
    fn of_lane(key: &[&Column], lane: usize) -> Self;
    /// The number of words, most significant first.
    fn of_words(words: &[u32]) -> Self;
    /// The upper 16 bits of a one-word field.
    fn upper(self) -> Option<usize>;
}

impl Number for u32 {
    #[inline]
    fn of_lane(key: &[&Column], lane: usize) -> Self {
        key[0][lane]
    }
    fn of_words(words: &[u32]) -> Self {
        words[0]
    }
    #[inline]
    fn upper(self) -> Option<usize> {
        Some((self >> 16) as usize)
    }
}

impl Number for u128 {
    #[inline]
    fn of_lane(key: &[&Column], lane: usize) -> Self {
        key.iter()
            .fold(0, |number, column| number << 32 | u128::from(column[lane]))
    }
    fn of_words(words: &[u32]) -> Self {
        words
            .iter()
            .fold(0, |number, &word| number << 32 | u128::from(word))
    }
    #[inline]
    fn upper(self) -> Option<usize> {
        None
    }
}

/// From this many intervals on, the index over the upper bits pays for its 256 KiB.
const INDEX_FROM: usize = 512;

/// The intervals; an entry is the number of the row that was given for it.
#[derive(Debug)]
pub struct Intervals<N> {
    firsts: Vec<N>,
    lasts: Vec<N>,
    rows: Vec<u32>,
    /// For each value of the upper 16 bits, how many intervals start below it.
    below: Vec<u32>,
}

impl<N: Number> Intervals<N> {
    /// Builds the table; `None` when two intervals overlap.
    pub fn build(intervals: impl Iterator<Item = (N, N)>) -> Option<Self> {
        let mut sorted: Vec<(N, N, u32)> = intervals
            .enumerate()
            .map(|(row, (first, last))| (first, last, row as u32))
            .collect();
        sorted.sort_unstable_by_key(|interval| interval.0);
        if sorted.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
            return None;
        }
        let firsts: Vec<N> = sorted.iter().map(|interval| interval.0).collect();
        Some(Self {
            below: index(&firsts),
            firsts,
            lasts: sorted.iter().map(|interval| interval.1).collect(),
            rows: sorted.iter().map(|interval| interval.2).collect(),
        })
    }

    /// Looks up a key per lane; the entries are rows.
    pub fn look_up(&self, key: &[&Column], lanes: u64, entries: &mut [Entry; BATCH]) -> u64 {
        if self.firsts.is_empty() {
            return 0;
        }
        let mut numbers = [N::of_words(&[0; super::MAX_WORDS][..key.len()]); BATCH];
        let mut starts = [0_u32; BATCH];
        let mut lengths = [self.firsts.len() as u32; BATCH];
        let mut longest = 0;
        for lane in 0..BATCH {
            numbers[lane] = N::of_lane(key, lane);
            if let (false, Some(upper)) = (self.below.is_empty(), numbers[lane].upper()) {
                // The interval that contains the number may have started in an earlier block.
                let from = self.below[upper].saturating_sub(1);
                starts[lane] = from;
                lengths[lane] = self.below[upper + 1].max(from + 1) - from;
            }
            if lanes >> lane & 1 == 1 {
                longest = longest.max(lengths[lane]);
            }
        }
        self.narrow(&numbers, lanes, &mut starts, &mut lengths, longest);
        let mut found = 0;
        let mut rest = lanes;
        while rest != 0 {
            let lane = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            let (at, number) = (starts[lane] as usize, numbers[lane]);
            if self.firsts[at] <= number && number <= self.lasts[at] {
                entries[lane] = Entry(self.rows[at]);
                found |= 1 << lane;
            }
        }
        found
    }

    /// Halves every lane's range until one interval is left: the last that starts at or below
    /// the number (or the first of the range).
    fn narrow(
        &self,
        numbers: &[N; BATCH],
        lanes: u64,
        starts: &mut [u32; BATCH],
        lengths: &mut [u32; BATCH],
        longest: u32,
    ) {
        let mut longest = longest;
        while longest > 1 {
            let mut rest = lanes;
            while rest != 0 {
                let lane = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                let half = lengths[lane] / 2;
                let middle = starts[lane] + half;
                if half > 0 && self.firsts[middle as usize] <= numbers[lane] {
                    starts[lane] = middle;
                    lengths[lane] -= half;
                } else {
                    lengths[lane] = half.max(1);
                }
            }
            longest = longest.div_ceil(2);
        }
    }

    /// Whether the interval meets one whose row `counts`.
    pub fn meeting(
        &self,
        first: &[u32],
        last: &[u32],
        counts: &mut dyn FnMut(u32) -> bool,
    ) -> bool {
        let (first, last) = (N::of_words(first), N::of_words(last));
        let from = self.lasts.partition_point(|&other| other < first);
        (from..self.firsts.len())
            .take_while(|&at| self.firsts[at] <= last)
            .any(|at| counts(self.rows[at]))
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        self.firsts.len() * (2 * size_of::<N>() + 4) + self.below.len() * 4
    }
}

fn index<N: Number>(firsts: &[N]) -> Vec<u32> {
    if firsts.len() < INDEX_FROM || firsts[0].upper().is_none() {
        return Vec::new();
    }
    let mut below = vec![0_u32; (1 << 16) + 1];
    for upper in firsts.iter().filter_map(|first| first.upper()) {
        below[upper + 1] += 1;
    }
    for at in 1..below.len() {
        below[at] += below[at - 1];
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check<N: Number + std::ops::Add<Output = N> + From<u32>>(
        intervals: &[(u32, u32)],
        probes: &[u32],
    ) {
        let table = Intervals::<u32>::build(intervals.iter().copied());
        let overlap = intervals
            .iter()
            .enumerate()
            .any(|(at, a)| intervals[..at].iter().any(|b| a.0 <= b.1 && b.0 <= a.1));
        assert_eq!(table.is_none(), overlap);
        let Some(table) = table else { return };
        let mut entries = [Entry::NONE; BATCH];
        for chunk in probes.chunks(BATCH) {
            let column: Column = std::array::from_fn(|lane| chunk.get(lane).copied().unwrap_or(0));
            let lanes = if chunk.len() == BATCH {
                u64::MAX
            } else {
                (1 << chunk.len()) - 1
            };
            let found = table.look_up(&[&column], lanes, &mut entries);
            for (lane, &probe) in chunk.iter().enumerate() {
                let expected = intervals
                    .iter()
                    .position(|&(first, last)| first <= probe && probe <= last);
                assert_eq!(found >> lane & 1 == 1, expected.is_some(), "{probe}");
                if let Some(row) = expected {
                    assert_eq!(entries[lane], Entry(row as u32));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_linear_search(
            raw in prop::collection::vec((0_u32..2000, 0_u32..12), 0..60),
            shift in 0_u32..21,
        ) {
            let intervals: Vec<_> =
                raw.iter().map(|&(first, length)| (first << shift, (first + length) << shift)).collect();
            let probes: Vec<u32> = intervals
                .iter()
                .flat_map(|&(a, b)| [a.wrapping_sub(1), a, b, b.wrapping_add(1)])
                .chain([0, u32::MAX])
                .collect();
            check::<u32>(&intervals, &probes);
        }

        #[test]
        fn the_index_changes_nothing(step in 3_u32..3_000_000, offset in any::<u32>(), probes in prop::collection::vec(any::<u32>(), 64)) {
            let count = (u32::MAX / step).min(2000);
            let intervals: Vec<_> = (0..count).map(|at| (at * step, at * step + step / 2)).collect();
            let near: Vec<u32> = probes.iter().map(|probe| (probe % count) * step + offset % 3).collect();
            check::<u32>(&intervals, &probes);
            check::<u32>(&intervals, &near);
        }
    }

    #[test]
    fn wide_fields_are_compared_whole() {
        let table =
            Intervals::<u128>::build([(1 << 64, (1 << 64) + 5), (7, 7)].into_iter()).unwrap();
        let column = |word: u32| [word; BATCH];
        let mut entries = [Entry::NONE; BATCH];
        let key = [column(0), column(1), column(0), column(5)];
        let key: Vec<&Column> = key.iter().collect();
        assert_eq!(table.look_up(&key, 1, &mut entries), 1);
        assert_eq!(entries[0], Entry(0));
        let key = [column(0), column(0), column(0), column(7)];
        let key: Vec<&Column> = key.iter().collect();
        assert_eq!(table.look_up(&key, 2, &mut entries), 2);
        assert_eq!(entries[1], Entry(1));
    }
}
