//! Prefixes of a number, nested as they come; the longest that holds a key decides.
//!
//! Prefixes are sorted by first address, then by length (see [`ordered`](super::ordered)). Each has, beside its first address, one bit
//! for its own length and for the length of every prefix of the set that holds it. So the longest
//! match of a key follows from its predecessor alone: of the lengths noted there, the longest in
//! which the two addresses agree. (Every prefix that holds the key begins before it, so it holds the
//! predecessor too, or is it.) One search, whatever the number of different lengths.
//!
//! Lengths that hold for a whole chunk are noted once for the chunk: adding 10.0.0.0/8 to a million
//! addresses changes the index and two chunks. Elements: twice the number's words and the tail.

use rayon::prelude::*;

use super::error::SetError;
use super::hits::{Column, Lanes, Sink};
use super::ordered::{Ordered, Place};
use super::scalar::Scalar;
use super::structure::{Row, Rows, Structure};

/// Nested prefixes. The side of an element: a bit for its own length (the lowest) and for those of the
/// prefixes around it, as far as not noted for the chunk. What is noted for a chunk are lengths of
/// prefixes that hold every prefix in it.
#[derive(Clone, Debug)]
pub(super) struct Prefix<T> {
    all: Ordered<T>,
    /// The prefix of length 0, which no bit stands for.
    whole: Option<Box<[u32]>>,
    len: usize,
}

fn length_of<T: Scalar>(lengths: T) -> u32 {
    T::BITS - lengths.trailing_zeros()
}

fn last_of<T: Scalar>(low: T, length: u32) -> T {
    low.or(T::mask(length).not())
}

impl<T: Scalar> Prefix<T> {
    /// Of numbers of `words` words.
    pub(super) fn new(words: usize, tail: usize) -> Self {
        Self {
            all: Ordered::new(words, tail),
            whole: None,
            len: 0,
        }
    }

    /// First address and length of a range that is a prefix.
    fn prefix_of(low: &[u32], high: &[u32]) -> Option<(T, u32)> {
        let (low, high) = (T::of_words(low), T::of_words(high));
        let length = low.common(high);
        (low.and(T::mask(length)) == low && last_of(low, length) == high).then_some((low, length))
    }

    fn key_at(&self, place: Place) -> (T, u32) {
        let (low, lengths) = self.all.at(place);
        (low, length_of(lengths))
    }

    /// The last prefix that stands at or before (`low`, `length`) in the order.
    fn before(&self, low: T, length: u32) -> Option<Place> {
        let (mut chunk, mut at) = self.all.at_or_before(low)?;
        // Prefixes with the same first address stand shortest first: at most one per length.
        while self.key_at((chunk, at)) > (low, length) {
            if at > 0 {
                at -= 1;
            } else if chunk > 0 {
                chunk -= 1;
                at = self.all.spine.get(chunk).lows.len() - 1;
            } else {
                return None;
            }
        }
        Some((chunk, at))
    }

    fn exact(&self, low: T, length: u32) -> Option<Place> {
        self.before(low, length)
            .filter(|&place| self.key_at(place) == (low, length))
    }

    fn lengths_at(&self, place: Place) -> T {
        self.all.at(place).1.or(self.all.spine.cover(place.0))
    }

    fn give(&self, place: Place, each: &mut dyn FnMut(Row<'_>) -> bool) -> bool {
        let (low, length) = self.key_at(place);
        let high = last_of(low, length);
        self.all.give(low, high, self.all.tail_at(place), each)
    }

    fn give_whole(&self, each: &mut dyn FnMut(Row<'_>) -> bool) -> bool {
        let last = T::ZERO.not();
        self.whole
            .as_ref()
            .is_none_or(|tail| self.all.give(T::ZERO, last, tail, each))
    }

    /// Sets or clears a length in every prefix behind `place` that lies in (`low`, `length`).
    fn mark_inner(&mut self, place: Place, low: T, length: u32, set: bool) {
        let (last, bit) = (last_of(low, length), T::length_bit(length));
        let (mut index, mut at) = place;
        while index < self.all.spine.len() {
            let chunk = self.all.spine.get(index);
            if at >= chunk.lows.len() {
                (index, at) = (index + 1, 0);
                continue;
            }
            if chunk.lows[at] > last {
                return;
            }
            let whole = at == 0 && chunk.lows[chunk.lows.len() - 1] <= last;
            if whole && set {
                self.all
                    .spine
                    .set_cover(index, self.all.spine.cover(index).or(bit));
            } else if self.all.spine.cover(index).and(bit) != T::ZERO {
                self.all
                    .spine
                    .set_cover(index, self.all.spine.cover(index).without(bit));
                debug_assert!(!set);
            } else {
                let chunk = self.all.spine.get_mut(index);
                for (lengths, _) in chunk.sides[at..]
                    .iter_mut()
                    .zip(&chunk.lows[at..])
                    .take_while(|(_, low)| **low <= last)
                {
                    *lengths = if set {
                        lengths.or(bit)
                    } else {
                        lengths.without(bit)
                    };
                }
            }
            (index, at) = (index + 1, 0);
        }
    }

    /// Moves lengths noted for a chunk to its prefixes.
    fn push_down(&mut self, index: usize, bits: T) {
        if bits == T::ZERO {
            return;
        }
        self.all
            .spine
            .set_cover(index, self.all.spine.cover(index).without(bits));
        for lengths in &mut self.all.spine.get_mut(index).sides {
            *lengths = lengths.or(bits);
        }
    }

    /// Makes one of two chunks, once the same is noted for both.
    fn join(&mut self, left: usize) {
        let both = self
            .all
            .spine
            .cover(left)
            .and(self.all.spine.cover(left + 1));
        self.push_down(left, self.all.spine.cover(left).without(both));
        self.push_down(left + 1, self.all.spine.cover(left + 1).without(both));
        self.all.join(left);
    }

    fn insert_prefix(&mut self, low: T, length: u32, tail: &[u32]) {
        let before = self.before(low, length);
        let around = before.map_or(T::ZERO, |place| {
            let common = low.common(self.key_at(place).0).min(length - 1);
            self.lengths_at(place).and(T::mask(common))
        });
        let index = before.map_or(0, |(chunk, _)| chunk);
        let mut own = around;
        if !self.all.spine.is_empty() {
            self.push_down(index, self.all.spine.cover(index).without(around));
            own = around.without(self.all.spine.cover(index));
        }
        let own = own.or(T::length_bit(length));
        let (index, at) = self.all.insert(before, low, own, tail);
        self.mark_inner((index, at + 1), low, length, true);
        self.all.split(index);
    }

    /// The longest match with a look at tails: exceptions do not match, expired ones are not there.
    fn lookup_tail(
        &self,
        lane: usize,
        number: T,
        place: Option<Place>,
        sink: &mut Sink<'_>,
    ) -> bool {
        let mut lengths = place.map_or(T::ZERO, |place| {
            self.lengths_at(place)
                .and(T::mask(number.common(self.key_at(place).0)))
        });
        while lengths != T::ZERO {
            let length = length_of(lengths);
            let Some(place) = self.exact(number.and(T::mask(length)), length) else {
                return false;
            };
            let tail = self.all.tail_at(place);
            if sink.hit(lane, tail) {
                return !sink.layout.is_nomatch(tail);
            }
            lengths = lengths.without(T::length_bit(length));
        }
        self.whole
            .as_ref()
            .is_some_and(|tail| sink.hit(lane, tail) && !sink.layout.is_nomatch(tail))
    }
}

impl<T: Scalar> Structure for Prefix<T> {
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let Some(seen) = self.all.seek(columns, lanes) else {
            return Lanes(lanes)
                .filter(|&lane| self.lookup_tail(lane, T::ZERO, None, sink))
                .fold(0, |found, lane| found | 1 << lane);
        };
        let plain = self.all.tail == 0;
        let mut found = if plain && self.whole.is_some() {
            lanes
        } else {
            0
        };
        for lane in Lanes(lanes) {
            let below = seen.lanes >> lane & 1 == 0;
            let hit = if !plain {
                let chunk = self.all.spine.number_of(seen.chunks[lane]);
                let place = (!below).then_some((chunk, seen.places[lane]));
                self.lookup_tail(lane, seen.numbers[lane], place, sink)
            } else if below {
                false
            } else {
                let chunk = self.all.spine.chunk_at(seen.chunks[lane]);
                let at = seen.places[lane];
                let lengths = chunk.sides[at].or(self.all.spine.cover_at(seen.chunks[lane]));
                let common = seen.numbers[lane].common(chunk.lows[at]);
                lengths.and(T::mask(common)) != T::ZERO
            };
            found |= u64::from(hit) << lane;
        }
        found
    }

    fn find(&self, low: &[u32], high: &[u32]) -> Option<&[u32]> {
        let (low, length) = Self::prefix_of(low, high)?;
        if length == 0 {
            return self.whole.as_deref();
        }
        self.exact(low, length).map(|place| self.all.tail_at(place))
    }

    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError> {
        let (low, length) = Self::prefix_of(low, high).ok_or(SetError::Key("not a prefix"))?;
        self.len += 1;
        if length == 0 {
            self.whole = Some(tail.into());
        } else {
            self.insert_prefix(low, length, tail);
        }
        Ok(())
    }

    fn replace(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> bool {
        let Some((low, length)) = Self::prefix_of(low, high) else {
            return false;
        };
        if length == 0 {
            return self
                .whole
                .as_mut()
                .map(|whole| *whole = tail.into())
                .is_some();
        }
        let place = self.exact(low, length);
        place
            .inspect(|&place| self.all.set_tail(place, tail))
            .is_some()
    }

    fn remove(&mut self, low: &[u32], high: &[u32]) -> bool {
        let Some((low, length)) = Self::prefix_of(low, high) else {
            return false;
        };
        if length == 0 {
            let was = self.whole.take().is_some();
            self.len -= usize::from(was);
            return was;
        }
        let Some((index, at)) = self.exact(low, length) else {
            return false;
        };
        self.len -= 1;
        self.mark_inner((index, at + 1), low, length, false);
        if let Some(left) = self.all.remove((index, at)) {
            self.join(left);
        }
        true
    }

    fn for_each(&self, each: &mut dyn FnMut(Row<'_>)) {
        let mut each = |row: Row<'_>| {
            each(row);
            true
        };
        self.give_whole(&mut each);
        for place in self.all.places() {
            self.give(place, &mut each);
        }
    }

    fn overlapping(&self, low: &[u32], high: &[u32], each: &mut dyn FnMut(Row<'_>) -> bool) {
        if !self.give_whole(each) {
            return;
        }
        let (low, high) = (T::of_words(low), T::of_words(high));
        let before = self.before(low, T::BITS);
        if let Some(place) = before {
            let mut around = self
                .lengths_at(place)
                .and(T::mask(low.common(self.key_at(place).0)));
            let mut found = Vec::new();
            while around != T::ZERO {
                let length = length_of(around);
                found.extend(self.exact(low.and(T::mask(length)), length));
                around = around.without(T::length_bit(length));
            }
            if !found.into_iter().rev().all(|place| self.give(place, each)) {
                return;
            }
        }
        let mut place = self.all.after(before);
        while let Some(here) = place {
            if self.all.at(here).0 > high || !self.give(here, each) {
                return;
            }
            place = self.all.after(place);
        }
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        let mut each = |row: Row<'_>| {
            each(row);
            true
        };
        let chunks = self.all.spine.len();
        let from = (at % (chunks as u64 + 1)) as usize;
        // Behind all chunks stands the prefix of length 0.
        if from == chunks {
            self.give_whole(&mut each);
            return 0;
        }
        let give = &mut |place| {
            self.give(place, &mut each);
        };
        self.all.near(from, count, give) as u64
    }

    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        size_of::<Self>() + self.all.memory()
    }

    fn boxed_clone(&self) -> Box<dyn Structure> {
        Box::new(self.clone())
    }

    fn emptied(&self) -> Box<dyn Structure> {
        Box::new(Self {
            all: self.all.emptied(),
            whole: None,
            len: 0,
        })
    }

    fn built(&self, rows: &Rows) -> Result<Box<dyn Structure>, usize> {
        let read: Result<Vec<(T, u32, u32)>, usize> = (0..rows.len())
            .into_par_iter()
            .map(|index| {
                let row = rows.row(index);
                let (low, length) = Self::prefix_of(row.low, row.high).ok_or(index)?;
                Ok((low, length, index as u32))
            })
            .collect();
        let mut order = read?;
        order.par_sort_unstable();
        if let Some(pair) = order
            .windows(2)
            .find(|pair| (pair[0].0, pair[0].1) == (pair[1].0, pair[1].1))
        {
            return Err(pair[1].2 as usize);
        }
        let len = order.len();
        let zero = order
            .first()
            .filter(|&&(_, length, _)| length == 0)
            .map(|&(.., index)| index);
        let whole = zero.map(|index| rows.row(index as usize).tail.into());
        order.drain(..usize::from(zero.is_some()));
        // The length of each becomes the lengths of all that hold it.
        let mut previous = (T::ZERO, T::ZERO);
        let sides: Vec<(T, T, u32)> = order
            .iter()
            .map(|&(low, length, index)| {
                let around = previous
                    .1
                    .and(T::mask(low.common(previous.0).min(length - 1)));
                previous = (low, around.or(T::length_bit(length)));
                (low, previous.1, index)
            })
            .collect();
        Ok(Box::new(Self {
            all: self.all.built(&sides, rows),
            whole,
            len,
        }))
    }
}
