//! Disjoint intervals of a number, sorted, in chunks of up to 256.
//!
//! The index has the first value of every chunk and a pointer to it: `n / 200` entries. A look-up
//! searches the index and one chunk by halving, all lanes side by side. A clone copies the index, a
//! change copies one chunk. Elements: twice the number's words and the tail, no pointers.

use std::marker::PhantomData;
use std::sync::Arc;

use rayon::prelude::*;

use super::error::SetError;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::prefetch;
use super::scalar::Scalar;
use super::sorted::{CHUNK, FILL, last_not_greater};
use super::structure::{Row, Rows, Structure};

#[derive(Clone, Debug, Default)]
struct Chunk<T> {
    lows: Vec<T>,
    highs: Vec<T>,
    tails: Vec<u32>,
}

/// Disjoint intervals of numbers of `words` words.
#[derive(Clone, Debug)]
pub(super) struct Interval<T> {
    words: usize,
    tail: usize,
    firsts: Vec<T>,
    chunks: Vec<Arc<Chunk<T>>>,
    len: usize,
    number: PhantomData<T>,
}

/// A place: chunk and element in it.
type Place = (usize, usize);

impl<T: Scalar> Interval<T> {
    pub(super) fn new(words: usize, tail: usize) -> Self {
        Self {
            words,
            tail,
            firsts: Vec::new(),
            chunks: Vec::new(),
            len: 0,
            number: PhantomData,
        }
    }

    /// The last element that begins at or before `number`.
    fn before(&self, number: T) -> Option<Place> {
        if self.firsts.first().is_none_or(|&first| first > number) {
            return None;
        }
        let chunk = last_not_greater(&self.firsts, number);
        Some((chunk, last_not_greater(&self.chunks[chunk].lows, number)))
    }

    fn exact(&self, low: T, high: T) -> Option<Place> {
        self.before(low).filter(|&(chunk, at)| {
            let chunk = &self.chunks[chunk];
            chunk.lows[at] == low && chunk.highs[at] == high
        })
    }

    fn after(&self, place: Option<Place>) -> Option<Place> {
        let (chunk, at) = match place {
            None => (0, 0),
            Some((chunk, at)) if at + 1 < self.chunks[chunk].lows.len() => (chunk, at + 1),
            Some((chunk, _)) => (chunk + 1, 0),
        };
        (chunk < self.chunks.len()).then_some((chunk, at))
    }

    fn tail_of<'a>(&self, chunk: &'a Chunk<T>, at: usize) -> &'a [u32] {
        &chunk.tails[at * self.tail..(at + 1) * self.tail]
    }

    fn give(&self, (chunk, at): Place, each: &mut dyn FnMut(Row<'_>) -> bool) -> bool {
        let chunk = &self.chunks[chunk];
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
        let chunk = Arc::make_mut(&mut self.chunks[index]);
        let upper = Chunk {
            lows: chunk.lows.split_off(middle),
            highs: chunk.highs.split_off(middle),
            tails: chunk.tails.split_off(middle * words),
        };
        self.firsts.insert(index + 1, upper.lows[0]);
        self.chunks.insert(index + 1, Arc::new(upper));
    }

    /// Joins a small chunk with a neighbour.
    fn join(&mut self, index: usize) {
        let size = |at: usize| self.chunks.get(at).map_or(CHUNK, |chunk| chunk.lows.len());
        let left = if index > 0 && size(index - 1) + size(index) < CHUNK {
            index - 1
        } else {
            index
        };
        if size(left) + size(left + 1) >= CHUNK {
            return;
        }
        let right = self.chunks.remove(left + 1);
        self.firsts.remove(left + 1);
        let chunk = Arc::make_mut(&mut self.chunks[left]);
        chunk.lows.extend_from_slice(&right.lows);
        chunk.highs.extend_from_slice(&right.highs);
        chunk.tails.extend_from_slice(&right.tails);
    }
}

impl<T: Scalar> Structure for Interval<T> {
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let Some(&first) = self.firsts.first() else {
            return 0;
        };
        let mut numbers = [T::ZERO; LANES];
        let mut chunks = [0u32; LANES];
        let mut places = [0u32; LANES];
        let mut maybe = 0;
        for lane in Lanes(lanes) {
            let number = T::of_lane(columns, lane);
            numbers[lane] = number;
            let chunk = last_not_greater(&self.firsts, number);
            chunks[lane] = chunk as u32;
            prefetch(&*self.chunks[chunk]);
            maybe |= u64::from(number >= first) << lane;
        }
        for lane in Lanes(maybe) {
            let lows = &self.chunks[chunks[lane] as usize].lows;
            prefetch(&lows[lows.len() / 2]);
            prefetch(&lows[lows.len() / 4]);
            prefetch(&lows[lows.len() * 3 / 4]);
        }
        for lane in Lanes(maybe) {
            let chunk = &self.chunks[chunks[lane] as usize];
            let at = last_not_greater(&chunk.lows, numbers[lane]);
            places[lane] = at as u32;
            prefetch(&chunk.highs[at]);
        }
        let mut found = 0;
        for lane in Lanes(maybe) {
            let chunk = &self.chunks[chunks[lane] as usize];
            let at = places[lane] as usize;
            if numbers[lane] <= chunk.highs[at] {
                let hit = self.tail == 0 || sink.hit(lane, self.tail_of(chunk, at));
                found |= u64::from(hit) << lane;
            }
        }
        found
    }

    fn find(&self, low: &[u32], high: &[u32]) -> Option<&[u32]> {
        let (chunk, at) = self.exact(T::of_words(low), T::of_words(high))?;
        Some(self.tail_of(&self.chunks[chunk], at))
    }

    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError> {
        let (low, high) = (T::of_words(low), T::of_words(high));
        if low > high {
            return Err(SetError::Key("the interval ends before it begins"));
        }
        let before = self.before(low);
        if before.is_some_and(|(chunk, at)| self.chunks[chunk].highs[at] >= low) {
            return Err(SetError::Overlap);
        }
        if self
            .after(before)
            .is_some_and(|(chunk, at)| self.chunks[chunk].lows[at] <= high)
        {
            return Err(SetError::Overlap);
        }
        self.len += 1;
        if self.chunks.is_empty() {
            self.firsts.push(low);
            self.chunks.push(Arc::new(Chunk {
                lows: vec![low],
                highs: vec![high],
                tails: tail.to_vec(),
            }));
            return Ok(());
        }
        let (index, at) = before.map_or((0, 0), |(chunk, at)| (chunk, at + 1));
        let words = self.tail;
        let chunk = Arc::make_mut(&mut self.chunks[index]);
        chunk.lows.insert(at, low);
        chunk.highs.insert(at, high);
        chunk
            .tails
            .splice(at * words..at * words, tail.iter().copied());
        self.firsts[index] = chunk.lows[0];
        if chunk.lows.len() > CHUNK {
            self.split_chunk(index);
        }
        Ok(())
    }

    fn replace(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> bool {
        let Some((chunk, at)) = self.exact(T::of_words(low), T::of_words(high)) else {
            return false;
        };
        let words = self.tail;
        Arc::make_mut(&mut self.chunks[chunk]).tails[at * words..(at + 1) * words]
            .copy_from_slice(tail);
        true
    }

    fn remove(&mut self, low: &[u32], high: &[u32]) -> bool {
        let Some((index, at)) = self.exact(T::of_words(low), T::of_words(high)) else {
            return false;
        };
        let words = self.tail;
        self.len -= 1;
        let chunk = Arc::make_mut(&mut self.chunks[index]);
        chunk.lows.remove(at);
        chunk.highs.remove(at);
        chunk.tails.drain(at * words..(at + 1) * words);
        if chunk.lows.is_empty() {
            self.chunks.remove(index);
            self.firsts.remove(index);
            return true;
        }
        self.firsts[index] = chunk.lows[0];
        if chunk.lows.len() < CHUNK / 4 {
            self.join(index);
        }
        true
    }

    fn for_each(&self, each: &mut dyn FnMut(Row<'_>)) {
        for (index, chunk) in self.chunks.iter().enumerate() {
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
            Some((chunk, at)) if self.chunks[chunk].highs[at] >= low => before,
            _ => self.after(before),
        };
        while let Some((chunk, at)) = place {
            if self.chunks[chunk].lows[at] > high || !self.give((chunk, at), each) {
                return;
            }
            place = self.after(place);
        }
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        if self.chunks.is_empty() {
            return 0;
        }
        let mut index = (at % self.chunks.len() as u64) as usize;
        let mut seen = 0;
        while seen < count && index < self.chunks.len() {
            for at in 0..self.chunks[index].lows.len() {
                self.give((index, at), &mut |row| {
                    each(row);
                    true
                });
                seen += 1;
            }
            index += 1;
        }
        (index % self.chunks.len()) as u64
    }

    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        let chunks: usize = self
            .chunks
            .iter()
            .map(|chunk| {
                size_of::<Chunk<T>>()
                    + 16
                    + (chunk.lows.capacity() + chunk.highs.capacity()) * size_of::<T>()
                    + chunk.tails.capacity() * 4
            })
            .sum();
        size_of::<Self>()
            + chunks
            + self.firsts.capacity() * size_of::<T>()
            + self.chunks.capacity() * 8
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
        let chunks: Vec<Arc<Chunk<T>>> = order
            .par_chunks(FILL)
            .map(|part| {
                Arc::new(Chunk {
                    lows: part.iter().map(|&(low, ..)| low).collect(),
                    highs: part.iter().map(|&(_, high, _)| high).collect(),
                    tails: part
                        .iter()
                        .flat_map(|&(.., index)| rows.row(index as usize).tail)
                        .copied()
                        .collect(),
                })
            })
            .collect();
        let firsts = chunks.iter().map(|chunk| chunk.lows[0]).collect();
        Ok(Box::new(Self {
            firsts,
            chunks,
            len: order.len(),
            ..self.clone()
        }))
    }
}
