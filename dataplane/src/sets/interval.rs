//! Disjoint intervals of a number, in order (see [`ordered`](super::ordered)); beside the first number
//! of each stands its last one.

use rayon::prelude::*;

use super::error::SetError;
use super::hits::{Column, Lanes, Sink};
use super::ordered::{Ordered, Place};
use super::scalar::Scalar;
use super::structure::{Row, Rows, Structure};

/// Disjoint intervals.
#[derive(Clone, Debug)]
pub(super) struct Interval<T> {
    all: Ordered<T>,
    len: usize,
}

impl<T: Scalar> Interval<T> {
    /// Of numbers of `words` words.
    pub(super) fn new(words: usize, tail: usize) -> Self {
        Self {
            all: Ordered::new(words, tail),
            len: 0,
        }
    }

    fn exact(&self, low: &[u32], high: &[u32]) -> Option<Place> {
        let wanted = (T::of_words(low), T::of_words(high));
        self.all
            .at_or_before(wanted.0)
            .filter(|&place| self.all.at(place) == wanted)
    }

    fn give(&self, place: Place, each: &mut dyn FnMut(Row<'_>) -> bool) -> bool {
        let (low, high) = self.all.at(place);
        self.all.give(low, high, self.all.tail_at(place), each)
    }
}

impl<T: Scalar> Structure for Interval<T> {
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let Some(found) = self.all.seek(columns, lanes) else {
            return 0;
        };
        let plain = self.all.tail == 0;
        let mut hits = 0;
        for lane in Lanes(found.lanes) {
            let chunk = self.all.spine.chunk_at(found.chunks[lane]);
            let at = found.places[lane];
            if found.numbers[lane] <= chunk.sides[at] {
                let hit = plain || sink.hit(lane, self.all.tail_of(chunk, at));
                hits |= u64::from(hit) << lane;
            }
        }
        hits
    }

    fn find(&self, low: &[u32], high: &[u32]) -> Option<&[u32]> {
        self.exact(low, high).map(|place| self.all.tail_at(place))
    }

    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError> {
        let (low, high) = (T::of_words(low), T::of_words(high));
        if low > high {
            return Err(SetError::Key("the interval ends before it begins"));
        }
        let before = self.all.at_or_before(low);
        let meets = before.is_some_and(|place| self.all.at(place).1 >= low)
            || self
                .all
                .after(before)
                .is_some_and(|place| self.all.at(place).0 <= high);
        if meets {
            return Err(SetError::Overlap);
        }
        self.len += 1;
        let (index, _) = self.all.insert(before, low, high, tail);
        self.all.split(index);
        Ok(())
    }

    fn replace(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> bool {
        let place = self.exact(low, high);
        place
            .inspect(|&place| self.all.set_tail(place, tail))
            .is_some()
    }

    fn remove(&mut self, low: &[u32], high: &[u32]) -> bool {
        let Some(place) = self.exact(low, high) else {
            return false;
        };
        self.len -= 1;
        if let Some(left) = self.all.remove(place) {
            self.all.join(left);
        }
        true
    }

    fn for_each(&self, each: &mut dyn FnMut(Row<'_>)) {
        for place in self.all.places() {
            self.give(place, &mut |row| {
                each(row);
                true
            });
        }
    }

    fn overlapping(&self, low: &[u32], high: &[u32], each: &mut dyn FnMut(Row<'_>) -> bool) {
        let (low, high) = (T::of_words(low), T::of_words(high));
        let before = self.all.at_or_before(low);
        let mut place = before
            .filter(|&place| self.all.at(place).1 >= low)
            .or_else(|| self.all.after(before));
        while let Some(here) = place {
            if self.all.at(here).0 > high || !self.give(here, each) {
                return;
            }
            place = self.all.after(place);
        }
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        let chunks = self.all.spine.len().max(1);
        let from = (at % chunks as u64) as usize;
        let behind = self.all.near(from, count, &mut |place| {
            self.give(place, &mut |row| {
                each(row);
                true
            });
        });
        (behind % chunks) as u64
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
            len: 0,
        })
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
        Ok(Box::new(Self {
            all: self.all.built(&order, rows),
            len: order.len(),
        }))
    }
}
