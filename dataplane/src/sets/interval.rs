//! Disjoint intervals of a number, sorted, in chunks of up to 256.
//!
//! The index has the first value of every chunk and a pointer to it: `n / 200` entries. A look-up
//! searches the index and one chunk by halving, all lanes side by side. A clone copies the index, a
//! change copies one chunk. Elements: twice the number's words and the tail, no pointers.

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
    highs: Vec<T>,
    tails: Vec<u32>,
}

/// Disjoint intervals of numbers of `words` words.
#[derive(Clone, Debug)]
pub(super) struct Interval<T> {
    words: usize,
    tail: usize,
    spine: Spine<T, Chunk<T>>,
    len: usize,
}

/// A place: chunk and element in it.
type Place = (usize, usize);

impl<T: Scalar> Interval<T> {
    pub(super) fn new(words: usize, tail: usize) -> Self {
        Self {
            words,
            tail,
            spine: Spine::new(),
            len: 0,
        }
    }

    /// The last element that begins at or before `number`.
    fn before(&self, number: T) -> Option<Place> {
        if self.spine.first().is_none_or(|first| first > number) {
            return None;
        }
        let chunk = self.spine.position(number);
        Some((chunk, self.spine.get(chunk).lows.last_not_greater(number)))
    }

    fn exact(&self, low: T, high: T) -> Option<Place> {
        self.before(low).filter(|&(chunk, at)| {
            let chunk = self.spine.get(chunk);
            chunk.lows[at] == low && chunk.highs[at] == high
        })
    }

    fn after(&self, place: Option<Place>) -> Option<Place> {
        let (chunk, at) = match place {
            None => (0, 0),
            Some((chunk, at)) if at + 1 < self.spine.get(chunk).lows.len() => (chunk, at + 1),
            Some((chunk, _)) => (chunk + 1, 0),
        };
        (chunk < self.spine.len()).then_some((chunk, at))
    }

    fn tail_of<'a>(&self, chunk: &'a Chunk<T>, at: usize) -> &'a [u32] {
        &chunk.tails[at * self.tail..(at + 1) * self.tail]
    }

    fn give(&self, (chunk, at): Place, each: &mut dyn FnMut(Row<'_>) -> bool) -> bool {
        let chunk = self.spine.get(chunk);
        let (mut low, mut high) = ([0; 4], [0; 4]);
        chunk.lows[at].put(&mut low[..self.words]);
        chunk.highs[at].put(&mut high[..self.words]);
        let tail = self.tail_of(chunk, at);
        each(Row {
            low: &low[..self.words],
            high: &high[..self.words],
            tail,
        })
    }

    fn split_chunk(&mut self, index: usize) {
        let (words, middle) = (self.tail, CHUNK / 2);
        let chunk = self.spine.get_mut(index);
        let upper = Chunk {
            lows: chunk.lows.split_off(middle),
            highs: chunk.highs.split_off(middle),
            tails: chunk.tails.split_off(middle * words),
        };
        self.spine.insert(index + 1, upper.lows[0], T::ZERO, upper);
    }

    /// Joins a small chunk with a neighbour.
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
        let right = self.spine.get(left + 1).clone();
        self.spine.remove(left + 1);
        let chunk = self.spine.get_mut(left);
        chunk.lows.append(&right.lows);
        chunk.highs.extend_from_slice(&right.highs);
        chunk.tails.extend_from_slice(&right.tails);
    }
}

impl<T: Scalar> Structure for Interval<T> {
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let Some(first) = self.spine.first() else {
            return 0;
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
            prefetch(&chunk.highs[places[lane]]);
        }
        let mut found = 0;
        for lane in Lanes(maybe) {
            let chunk = self.spine.chunk_at(chunks[lane]);
            let at = places[lane];
            if numbers[lane] <= chunk.highs[at] {
                let hit = self.tail == 0 || sink.hit(lane, self.tail_of(chunk, at));
                found |= u64::from(hit) << lane;
            }
        }
        found
    }

    fn find(&self, low: &[u32], high: &[u32]) -> Option<&[u32]> {
        let (chunk, at) = self.exact(T::of_words(low), T::of_words(high))?;
        Some(self.tail_of(self.spine.get(chunk), at))
    }

    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError> {
        let (low, high) = (T::of_words(low), T::of_words(high));
        if low > high {
            return Err(SetError::Key("the interval ends before it begins"));
        }
        let before = self.before(low);
        if before.is_some_and(|(chunk, at)| self.spine.get(chunk).highs[at] >= low) {
            return Err(SetError::Overlap);
        }
        if self
            .after(before)
            .is_some_and(|(chunk, at)| self.spine.get(chunk).lows[at] <= high)
        {
            return Err(SetError::Overlap);
        }
        self.len += 1;
        if self.spine.is_empty() {
            let lows = [low].into_iter().collect();
            let chunk = Chunk {
                lows,
                highs: vec![high],
                tails: tail.to_vec(),
            };
            self.spine.insert(0, low, T::ZERO, chunk);
            return Ok(());
        }
        let (index, at) = before.map_or((0, 0), |(chunk, at)| (chunk, at + 1));
        let words = self.tail;
        let chunk = self.spine.get_mut(index);
        chunk.lows.insert(at, low);
        chunk.highs.insert(at, high);
        chunk
            .tails
            .splice(at * words..at * words, tail.iter().copied());
        let (first, size) = (chunk.lows[0], chunk.lows.len());
        self.spine.set_first(index, first);
        if size > CHUNK {
            self.split_chunk(index);
        }
        Ok(())
    }

    fn replace(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> bool {
        let Some((chunk, at)) = self.exact(T::of_words(low), T::of_words(high)) else {
            return false;
        };
        let words = self.tail;
        self.spine.get_mut(chunk).tails[at * words..(at + 1) * words].copy_from_slice(tail);
        true
    }

    fn remove(&mut self, low: &[u32], high: &[u32]) -> bool {
        let Some((index, at)) = self.exact(T::of_words(low), T::of_words(high)) else {
            return false;
        };
        let words = self.tail;
        self.len -= 1;
        let chunk = self.spine.get_mut(index);
        chunk.lows.remove(at);
        chunk.highs.remove(at);
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
        let (low, high) = (T::of_words(low), T::of_words(high));
        let before = self.before(low);
        let mut place = match before {
            Some((chunk, at)) if self.spine.get(chunk).highs[at] >= low => before,
            _ => self.after(before),
        };
        while let Some((chunk, at)) = place {
            if self.spine.get(chunk).lows[at] > high || !self.give((chunk, at), each) {
                return;
            }
            place = self.after(place);
        }
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        if self.spine.is_empty() {
            return 0;
        }
        let mut index = (at % self.spine.len() as u64) as usize;
        let mut seen = 0;
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
        (index % self.spine.len()) as u64
    }

    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        let chunks: usize = self
            .spine
            .iter()
            .map(|chunk| {
                let highs = chunk.highs.capacity() * size_of::<T>();
                size_of::<Chunk<T>>()
                    + 16
                    + chunk.lows.memory()
                    + highs
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
        let mut order: Vec<(T, T, u32)> = (0..rows.len())
            .into_par_iter()
            .map(|index| {
                let row = rows.row(index);
                (T::of_words(row.low), T::of_words(row.high), index as u32)
            })
            .collect();
        order.par_sort_unstable();
        if let Some(&(.., index)) = order.iter().find(|(low, high, _)| low > high) {
            return Err(index as usize);
        }
        if let Some(pair) = order.windows(2).find(|pair| pair[0].1 >= pair[1].0) {
            return Err(pair[1].2 as usize);
        }
        let chunks: Vec<(T, Arc<Chunk<T>>)> = order
            .par_chunks(FILL)
            .map(|part| {
                let chunk = Arc::new(Chunk {
                    lows: part.iter().map(|&(low, ..)| low).collect(),
                    highs: part.iter().map(|&(_, high, _)| high).collect(),
                    tails: part
                        .iter()
                        .flat_map(|&(.., index)| rows.row(index as usize).tail)
                        .copied()
                        .collect(),
                });
                (part[0].0, chunk)
            })
            .collect();
        Ok(Box::new(Self {
            spine: Spine::of(&chunks),
            len: order.len(),
            ..self.clone()
        }))
    }
}
