//! What sorted structures have in common: elements in order of their first numbers, in chunks of up to
//! 256, found by an index and one search.
//!
//! Beside its first number each element has one number more, the *side*, whose meaning is the
//! structure's: the last number of an interval, the lengths around a prefix. The index has the first
//! number of every chunk; a look-up searches index and one chunk by halving, all lanes side by side. A
//! clone copies the index, a change copies one chunk. Elements: twice the number's words and the tail,
//! no pointers.

use std::sync::Arc;

use rayon::prelude::*;

use super::hits::{Column, LANES, Lanes};
use super::line::prefetch;
use super::scalar::Scalar;
use super::sorted::{CHUNK, FILL, Sorted};
use super::spine::Spine;
use super::structure::{Row, Rows};

/// A run of elements.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunk<T> {
    pub(super) lows: Sorted<T>,
    pub(super) sides: Vec<T>,
    tails: Vec<u32>,
}

/// Elements in order.
#[derive(Clone, Debug)]
pub(super) struct Ordered<T> {
    words: usize,
    pub(super) tail: usize,
    pub(super) spine: Spine<T, Chunk<T>>,
}

/// A place: chunk and element in it.
pub(super) type Place = (usize, usize);

/// Where the numbers of lanes belong.
#[derive(Debug)]
pub(super) struct Found<T> {
    pub(super) numbers: [T; LANES],
    /// The chunk, as the index addresses it.
    pub(super) chunks: [Place; LANES],
    /// The last element that begins at or before the number.
    pub(super) places: [usize; LANES],
    /// Lanes whose number is not below all elements: only they have a place.
    pub(super) lanes: u64,
}

impl<T: Scalar> Ordered<T> {
    pub(super) fn new(words: usize, tail: usize) -> Self {
        Self {
            words,
            tail,
            spine: Spine::new(),
        }
    }

    /// An empty sequence of the same kind.
    pub(super) fn emptied(&self) -> Self {
        Self::new(self.words, self.tail)
    }

    /// The places of lanes, with what stands beside them fetched; `None` without any element.
    #[inline]
    pub(super) fn seek(&self, columns: &[&Column], lanes: u64) -> Option<Found<T>> {
        let first = self.spine.first()?;
        let mut found = Found {
            numbers: [T::ZERO; LANES],
            chunks: [(0, 0); LANES],
            places: [0; LANES],
            lanes: 0,
        };
        for lane in Lanes(lanes) {
            let number = T::of_lane(columns, lane);
            found.numbers[lane] = number;
            found.chunks[lane] = self.spine.seek(number);
            prefetch(self.spine.chunk_at(found.chunks[lane]));
            found.lanes |= u64::from(number >= first) << lane;
        }
        for lane in Lanes(found.lanes) {
            self.spine.chunk_at(found.chunks[lane]).lows.fetch_samples();
        }
        for lane in Lanes(found.lanes) {
            let lows = &self.spine.chunk_at(found.chunks[lane]).lows;
            found.places[lane] = lows.block(found.numbers[lane]);
            lows.fetch_block(found.places[lane]);
        }
        for lane in Lanes(found.lanes) {
            let chunk = self.spine.chunk_at(found.chunks[lane]);
            found.places[lane] = chunk.lows.within(found.places[lane], found.numbers[lane]);
            prefetch(&chunk.sides[found.places[lane]]);
        }
        Some(found)
    }

    /// The last element that begins at or before `number`.
    pub(super) fn at_or_before(&self, number: T) -> Option<Place> {
        if self.spine.first().is_none_or(|first| first > number) {
            return None;
        }
        let chunk = self.spine.position(number);
        Some((chunk, self.spine.get(chunk).lows.last_not_greater(number)))
    }

    /// The element behind a place; the first one behind none.
    pub(super) fn after(&self, place: Option<Place>) -> Option<Place> {
        let (chunk, at) = match place {
            None => (0, 0),
            Some((chunk, at)) if at + 1 < self.spine.get(chunk).lows.len() => (chunk, at + 1),
            Some((chunk, _)) => (chunk + 1, 0),
        };
        (chunk < self.spine.len()).then_some((chunk, at))
    }

    /// First number and side.
    pub(super) fn at(&self, (chunk, at): Place) -> (T, T) {
        let chunk = self.spine.get(chunk);
        (chunk.lows[at], chunk.sides[at])
    }

    pub(super) fn tail_of<'a>(&self, chunk: &'a Chunk<T>, at: usize) -> &'a [u32] {
        &chunk.tails[at * self.tail..(at + 1) * self.tail]
    }

    pub(super) fn tail_at(&self, (chunk, at): Place) -> &[u32] {
        self.tail_of(self.spine.get(chunk), at)
    }

    pub(super) fn set_tail(&mut self, (chunk, at): Place, tail: &[u32]) {
        let words = self.tail;
        self.spine.get_mut(chunk).tails[at * words..(at + 1) * words].copy_from_slice(tail);
    }

    /// Hands on a row from `low` to `high`.
    pub(super) fn give(
        &self,
        low: T,
        high: T,
        tail: &[u32],
        each: &mut dyn FnMut(Row<'_>) -> bool,
    ) -> bool {
        let (mut first, mut last) = ([0; 4], [0; 4]);
        low.put(&mut first[..self.words]);
        high.put(&mut last[..self.words]);
        each(Row {
            low: &first[..self.words],
            high: &last[..self.words],
            tail,
        })
    }

    /// Puts an element in behind a place; yields its own. The chunk may be too large then.
    pub(super) fn insert(&mut self, before: Option<Place>, low: T, side: T, tail: &[u32]) -> Place {
        let (index, at) = before.map_or((0, 0), |(chunk, at)| (chunk, at + 1));
        if self.spine.is_empty() {
            self.spine.insert(0, low, T::ZERO, Chunk::default());
        }
        let words = self.tail;
        let chunk = self.spine.get_mut(index);
        chunk.lows.insert(at, low);
        chunk.sides.insert(at, side);
        chunk
            .tails
            .splice(at * words..at * words, tail.iter().copied());
        let first = chunk.lows[0];
        self.spine.set_first(index, first);
        (index, at)
    }

    /// Splits a chunk that is too large; both halves keep what is noted for it.
    pub(super) fn split(&mut self, index: usize) {
        if self.spine.get(index).lows.len() <= CHUNK {
            return;
        }
        let (words, middle) = (self.tail, CHUNK / 2);
        let chunk = self.spine.get_mut(index);
        let upper = Chunk {
            lows: chunk.lows.split_off(middle),
            sides: chunk.sides.split_off(middle),
            tails: chunk.tails.split_off(middle * words),
        };
        let cover = self.spine.cover(index);
        self.spine.insert(index + 1, upper.lows[0], cover, upper);
    }

    /// Takes an element out. Yields the left one of two chunks that should become one then.
    pub(super) fn remove(&mut self, (index, at): Place) -> Option<usize> {
        let words = self.tail;
        let chunk = self.spine.get_mut(index);
        chunk.lows.remove(at);
        chunk.sides.remove(at);
        chunk.tails.drain(at * words..(at + 1) * words);
        if chunk.lows.is_empty() {
            self.spine.remove(index);
            return None;
        }
        let (first, size) = (chunk.lows[0], chunk.lows.len());
        self.spine.set_first(index, first);
        if size >= CHUNK / 4 {
            return None;
        }
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
        (size(left) + size(left + 1) < CHUNK).then_some(left)
    }

    /// Makes one of a chunk and the one behind it; the same must be noted for both.
    pub(super) fn join(&mut self, left: usize) {
        let right = self.spine.get(left + 1).clone();
        self.spine.remove(left + 1);
        let chunk = self.spine.get_mut(left);
        chunk.lows.append(&right.lows);
        chunk.sides.extend_from_slice(&right.sides);
        chunk.tails.extend_from_slice(&right.tails);
    }

    /// All places, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> + '_ {
        self.spine
            .iter()
            .enumerate()
            .flat_map(|(index, chunk)| (0..chunk.lows.len()).map(move |at| (index, at)))
    }

    /// The places of whole chunks from `index` on, about `count` of them; yields the chunk behind.
    pub(super) fn near(
        &self,
        mut index: usize,
        count: usize,
        each: &mut dyn FnMut(Place),
    ) -> usize {
        let mut seen = 0;
        while seen < count && index < self.spine.len() {
            for at in 0..self.spine.get(index).lows.len() {
                each((index, at));
                seen += 1;
            }
            index += 1;
        }
        index
    }

    /// Bytes of elements and index.
    pub(super) fn memory(&self) -> usize {
        let bytes = |chunk: &Chunk<T>| {
            size_of::<Chunk<T>>()
                + 16
                + chunk.lows.memory()
                + chunk.sides.capacity() * size_of::<T>()
                + chunk.tails.capacity() * 4
        };
        self.spine.iter().map(bytes).sum::<usize>() + self.spine.memory()
    }

    /// The same kind of sequence of sorted elements: first number, side, number of the row.
    pub(super) fn built(&self, order: &[(T, T, u32)], rows: &Rows) -> Self {
        let chunks: Vec<(T, Arc<Chunk<T>>)> = order
            .par_chunks(FILL)
            .map(|part| {
                let tails = part
                    .iter()
                    .flat_map(|&(.., index)| rows.row(index as usize).tail);
                let chunk = Chunk {
                    lows: part.iter().map(|&(low, ..)| low).collect(),
                    sides: part.iter().map(|&(_, side, _)| side).collect(),
                    tails: tails.copied().collect(),
                };
                (part[0].0, Arc::new(chunk))
            })
            .collect();
        Self {
            words: self.words,
            tail: self.tail,
            spine: Spine::of(&chunks),
        }
    }
}
