//! Prefixes of a number, nested as they come; the longest that holds a key decides.
//!
//! Prefixes are sorted by first address, then by length. Each has, beside its first address, one bit
//! for its own length and for the length of every prefix of the set that holds it. So the longest
//! match of a key follows from its predecessor alone: of the lengths noted there, the longest in
//! which the two addresses agree. (Every prefix that holds the key begins before it, so it holds the
//! predecessor too, or is it.) One search, whatever the number of different lengths.
//!
//! Lengths that hold for a whole chunk are noted once for the chunk: adding 10.0.0.0/8 to a million
//! addresses changes the index and two chunks. Elements: twice the number's words and the tail.

use std::sync::Arc;

use rayon::prelude::*;

use super::error::SetError;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::prefetch;
use super::scalar::Scalar;
use super::sorted::{CHUNK, FILL, Sorted};
use super::spine::Spine;
use super::structure::{Row, Rows, Structure};

#[derive(Clone, Debug, Default)]
struct Chunk<T> {
    lows: Sorted<T>,
    /// Own length (the lowest bit) and lengths of those around, as far as not noted for the chunk.
    lengths: Vec<T>,
    tails: Vec<u32>,
}

/// Nested prefixes of numbers of `words` words.
#[derive(Clone, Debug)]
pub(super) struct Prefix<T> {
    words: usize,
    tail: usize,
    /// What a chunk is noted for: lengths of prefixes that hold every prefix in it, and which are
    /// not noted with these.
    spine: Spine<T, Chunk<T>>,
    /// The prefix of length 0, which no bit stands for.
    whole: Option<Box<[u32]>>,
    len: usize,
}

type Place = (usize, usize);

fn length_of<T: Scalar>(lengths: T) -> u32 {
    T::BITS - lengths.trailing_zeros()
}

fn last_of<T: Scalar>(low: T, length: u32) -> T {
    low.or(T::mask(length).not())
}

impl<T: Scalar> Prefix<T> {
    pub(super) fn new(words: usize, tail: usize) -> Self {
        Self {
            words,
            tail,
            spine: Spine::new(),
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

    fn key_at(&self, (chunk, at): Place) -> (T, u32) {
        let chunk = self.spine.get(chunk);
        (chunk.lows[at], length_of(chunk.lengths[at]))
    }

    /// The last prefix that stands at or before (`low`, `length`) in the order.
    fn before(&self, low: T, length: u32) -> Option<Place> {
        if self.spine.first().is_none_or(|first| first > low) {
            return None;
        }
        let mut chunk = self.spine.position(low);
        let mut at = self.spine.get(chunk).lows.last_not_greater(low);
        // Prefixes with the same first address stand shortest first: at most one per length.
        while self.key_at((chunk, at)) > (low, length) {
            if at > 0 {
                at -= 1;
            } else if chunk > 0 {
                chunk -= 1;
                at = self.spine.get(chunk).lows.len() - 1;
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

    fn lengths_at(&self, (chunk, at): Place) -> T {
        self.spine.get(chunk).lengths[at].or(self.spine.cover(chunk))
    }

    fn tail_of<'a>(&self, chunk: &'a Chunk<T>, at: usize) -> &'a [u32] {
        &chunk.tails[at * self.tail..(at + 1) * self.tail]
    }

    fn give(&self, place: Place, each: &mut dyn FnMut(Row<'_>) -> bool) -> bool {
        let (number, length) = self.key_at(place);
        let (mut low, mut high) = ([0; 4], [0; 4]);
        number.put(&mut low[..self.words]);
        last_of(number, length).put(&mut high[..self.words]);
        let tail = self.tail_of(self.spine.get(place.0), place.1);
        each(Row {
            low: &low[..self.words],
            high: &high[..self.words],
            tail,
        })
    }

    fn give_whole(&self, each: &mut dyn FnMut(Row<'_>) -> bool) -> bool {
        let (low, high) = ([0; 4], [u32::MAX; 4]);
        self.whole.as_ref().is_none_or(|tail| {
            each(Row {
                low: &low[..self.words],
                high: &high[..self.words],
                tail,
            })
        })
    }

    /// Sets or clears a length in every prefix behind `place` that lies in (`low`, `length`).
    fn mark_inner(&mut self, place: Place, low: T, length: u32, set: bool) {
        let (last, bit) = (last_of(low, length), T::length_bit(length));
        let (mut index, mut at) = place;
        while index < self.spine.len() {
            let chunk = self.spine.get(index);
            if at >= chunk.lows.len() {
                (index, at) = (index + 1, 0);
                continue;
            }
            if chunk.lows[at] > last {
                return;
            }
            let whole = at == 0 && chunk.lows[chunk.lows.len() - 1] <= last;
            if whole && set {
                self.spine.set_cover(index, self.spine.cover(index).or(bit));
            } else if self.spine.cover(index).and(bit) != T::ZERO {
                self.spine
                    .set_cover(index, self.spine.cover(index).without(bit));
                debug_assert!(!set);
            } else {
                let chunk = self.spine.get_mut(index);
                for (lengths, _) in chunk.lengths[at..]
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
        self.spine
            .set_cover(index, self.spine.cover(index).without(bits));
        for lengths in &mut self.spine.get_mut(index).lengths {
            *lengths = lengths.or(bits);
        }
    }

    fn split_chunk(&mut self, index: usize) {
        let (words, middle) = (self.tail, CHUNK / 2);
        let chunk = self.spine.get_mut(index);
        let upper = Chunk {
            lows: chunk.lows.split_off(middle),
            lengths: chunk.lengths.split_off(middle),
            tails: chunk.tails.split_off(middle * words),
        };
        let cover = self.spine.cover(index);
        self.spine.insert(index + 1, upper.lows[0], cover, upper);
    }

    fn join(&mut self, index: usize) {
        let size = |at: usize| {
            if at < self.spine.len() {
                self.spine.get(at).lows.len()
            } else {
                CHUNK
            }
        };
        let left = if index > 0 && size(index - 1) + size(index) < CHUNK {
            index - 1
        } else {
            index
        };
        if size(left) + size(left + 1) >= CHUNK {
            return;
        }
        let both = self.spine.cover(left).and(self.spine.cover(left + 1));
        self.push_down(left, self.spine.cover(left).without(both));
        self.push_down(left + 1, self.spine.cover(left + 1).without(both));
        let right = self.spine.get(left + 1).clone();
        self.spine.remove(left + 1);
        let chunk = self.spine.get_mut(left);
        chunk.lows.append(&right.lows);
        chunk.lengths.extend_from_slice(&right.lengths);
        chunk.tails.extend_from_slice(&right.tails);
    }

    fn insert_prefix(&mut self, low: T, length: u32, tail: &[u32]) {
        let before = self.before(low, length);
        let around = before.map_or(T::ZERO, |place| {
            let common = low.common(self.key_at(place).0).min(length - 1);
            self.lengths_at(place).and(T::mask(common))
        });
        let (index, at) = before.map_or((0, 0), |(chunk, at)| (chunk, at + 1));
        if self.spine.is_empty() {
            self.spine.insert(0, low, T::ZERO, Chunk::default());
        }
        self.push_down(index, self.spine.cover(index).without(around));
        let own = around
            .without(self.spine.cover(index))
            .or(T::length_bit(length));
        let words = self.tail;
        let chunk = self.spine.get_mut(index);
        chunk.lows.insert(at, low);
        chunk.lengths.insert(at, own);
        chunk
            .tails
            .splice(at * words..at * words, tail.iter().copied());
        let first = chunk.lows[0];
        self.spine.set_first(index, first);
        self.mark_inner((index, at + 1), low, length, true);
        if self.spine.get(index).lows.len() > CHUNK {
            self.split_chunk(index);
        }
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
            let Some((chunk, at)) = self.exact(number.and(T::mask(length)), length) else {
                return false;
            };
            let tail = self.tail_of(self.spine.get(chunk), at);
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
        let Some(first) = self.spine.first() else {
            return Lanes(lanes)
                .filter(|&lane| self.lookup_tail(lane, T::ZERO, None, sink))
                .fold(0, |found, lane| found | 1 << lane);
        };
        let mut numbers = [T::ZERO; LANES];
        let mut chunks = [(0, 0); LANES];
        let mut places = [0; LANES];
        let mut maybe = 0;
        for lane in Lanes(lanes) {
            let number = T::of_lane(columns, lane);
            numbers[lane] = number;
            chunks[lane] = self.spine.seek(number);
            prefetch(self.spine.chunk_at(chunks[lane]));
            maybe |= u64::from(number >= first) << lane;
        }
        for lane in Lanes(maybe) {
            self.spine.chunk_at(chunks[lane]).lows.fetch_samples();
        }
        for lane in Lanes(maybe) {
            let lows = &self.spine.chunk_at(chunks[lane]).lows;
            places[lane] = lows.block(numbers[lane]);
            lows.fetch_block(places[lane]);
        }
        for lane in Lanes(maybe) {
            let chunk = self.spine.chunk_at(chunks[lane]);
            places[lane] = chunk.lows.within(places[lane], numbers[lane]);
            prefetch(&chunk.lengths[places[lane]]);
        }
        let plain = self.tail == 0;
        let mut found = if plain && self.whole.is_some() {
            lanes
        } else {
            0
        };
        for lane in Lanes(lanes) {
            let below = maybe >> lane & 1 == 0;
            let hit = if !plain {
                let place = (self.spine.number_of(chunks[lane]), places[lane]);
                self.lookup_tail(lane, numbers[lane], (!below).then_some(place), sink)
            } else if below {
                false
            } else {
                let chunk = self.spine.chunk_at(chunks[lane]);
                let lengths = chunk.lengths[places[lane]].or(self.spine.cover_at(chunks[lane]));
                let common = numbers[lane].common(chunk.lows[places[lane]]);
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
        let (chunk, at) = self.exact(low, length)?;
        Some(self.tail_of(self.spine.get(chunk), at))
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
        let Some((chunk, at)) = self.exact(low, length) else {
            return false;
        };
        let words = self.tail;
        self.spine.get_mut(chunk).tails[at * words..(at + 1) * words].copy_from_slice(tail);
        true
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
        let words = self.tail;
        let chunk = self.spine.get_mut(index);
        chunk.lows.remove(at);
        chunk.lengths.remove(at);
        chunk.tails.drain(at * words..(at + 1) * words);
        if chunk.lows.is_empty() {
            self.spine.remove(index);
            return true;
        }
        let (first, size) = (chunk.lows[0], chunk.lows.len());
        self.spine.set_first(index, first);
        if size < CHUNK / 4 {
            self.join(index);
        }
        true
    }

    fn for_each(&self, each: &mut dyn FnMut(Row<'_>)) {
        self.give_whole(&mut |row| {
            each(row);
            true
        });
        for (index, chunk) in self.spine.iter().enumerate() {
            for at in 0..chunk.lows.len() {
                self.give((index, at), &mut |row| {
                    each(row);
                    true
                });
            }
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
        let (mut chunk, mut at) = before.map_or((0, 0), |(chunk, at)| (chunk, at + 1));
        while chunk < self.spine.len() {
            if at == self.spine.get(chunk).lows.len() {
                (chunk, at) = (chunk + 1, 0);
                continue;
            }
            if self.spine.get(chunk).lows[at] > high || !self.give((chunk, at), each) {
                return;
            }
            at += 1;
        }
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        let mut index = (at % (self.spine.len() as u64 + 1)) as usize;
        let mut seen = 0;
        if index == self.spine.len() {
            self.give_whole(&mut |row| {
                each(row);
                true
            });
            return 0;
        }
        while seen < count && index < self.spine.len() {
            for at in 0..self.spine.get(index).lows.len() {
                self.give((index, at), &mut |row| {
                    each(row);
                    true
                });
                seen += 1;
            }
            index += 1;
        }
        index as u64
    }

    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        let chunks: usize = self
            .spine
            .iter()
            .map(|chunk| {
                let lengths = chunk.lengths.capacity() * size_of::<T>();
                size_of::<Chunk<T>>()
                    + 16
                    + chunk.lows.memory()
                    + lengths
                    + chunk.tails.capacity() * 4
            })
            .sum();
        size_of::<Self>() + chunks + self.spine.memory()
    }

    fn boxed_clone(&self) -> Box<dyn Structure> {
        Box::new(self.clone())
    }

    fn emptied(&self) -> Box<dyn Structure> {
        Box::new(Self::new(self.words, self.tail))
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
        let mut lengths = Vec::with_capacity(order.len());
        let mut previous = (T::ZERO, T::ZERO);
        for &(low, length, _) in &order {
            let around = previous
                .1
                .and(T::mask(low.common(previous.0).min(length - 1)));
            previous = (low, around.or(T::length_bit(length)));
            lengths.push(previous.1);
        }
        let chunks: Vec<(T, Arc<Chunk<T>>)> = order
            .par_chunks(FILL)
            .zip(lengths.par_chunks(FILL))
            .map(|(part, lengths)| {
                let tails = part
                    .iter()
                    .flat_map(|&(.., index)| rows.row(index as usize).tail);
                let chunk = Chunk {
                    lows: part.iter().map(|&(low, ..)| low).collect(),
                    lengths: lengths.to_vec(),
                    tails: tails.copied().collect(),
                };
                (part[0].0, Arc::new(chunk))
            })
            .collect();
        let spine = Spine::of(&chunks);
        Ok(Box::new(Self {
            words: self.words,
            tail: self.tail,
            spine,
            whole,
            len,
        }))
    }
}
