//! Numbers in a small dense range: one bit each.
//!
//! Bits lie in one array (8 KiB for 65536 numbers). Tails, where the set has any, lie packed behind
//! each run of 64 numbers: the tail of a number is found by counting the bits before its own. A
//! change copies the array of bits and the tails of one run.

use std::sync::Arc;

use super::error::SetError;
use super::hits::{Column, Lanes, Sink};
use super::structure::{Row, Rows, Structure};

/// Most numbers of a range.
pub const MOST: u32 = 65_536;

/// A bitmap of `first..=last`.
#[derive(Clone, Debug)]
pub(super) struct Bitmap {
    first: u32,
    last: u32,
    tail: usize,
    bits: Arc<[u64]>,
    /// Tails of each run of 64 numbers; empty if the set has none.
    tails: Arc<[Arc<[u32]>]>,
    len: usize,
}

impl Bitmap {
    /// An empty bitmap of `first..=last`, at most [`MOST`] numbers.
    pub(super) fn new(first: u32, last: u32, tail: usize) -> Self {
        let runs = (u64::from(last) - u64::from(first) + 1).div_ceil(64) as usize;
        let none: Arc<[u32]> = Arc::default();
        Self {
            first,
            last,
            tail,
            bits: vec![0; runs].into(),
            tails: vec![none; if tail > 0 { runs } else { 0 }].into(),
            len: 0,
        }
    }

    /// Run and bit of a number.
    #[inline]
    fn place(&self, number: u32) -> Option<(usize, u32)> {
        if number < self.first || number > self.last {
            return None;
        }
        let at = number - self.first;
        Some((at as usize / 64, at % 64))
    }

    fn rank(&self, run: usize, bit: u32) -> usize {
        (self.bits[run] & ((1 << bit) - 1)).count_ones() as usize
    }

    fn set_place(&self, low: &[u32], high: &[u32]) -> Option<(usize, u32)> {
        let (run, bit) = self.place(low[0])?;
        (low == high && self.bits[run] >> bit & 1 == 1).then_some((run, bit))
    }

    fn tail_at(&self, run: usize, bit: u32) -> &[u32] {
        if self.tail == 0 {
            return &[];
        }
        &self.tails[run][self.rank(run, bit) * self.tail..][..self.tail]
    }

    fn edit_tails(&mut self, run: usize, edit: impl FnOnce(&mut Vec<u32>)) {
        if self.tail > 0 {
            let mut tails = self.tails[run].to_vec();
            edit(&mut tails);
            Arc::make_mut(&mut self.tails)[run] = tails.into();
        }
    }
}

impl Structure for Bitmap {
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let [numbers] = columns else {
            return 0;
        };
        let mut found = 0;
        for lane in Lanes(lanes) {
            let Some((run, bit)) = self.place(numbers[lane]) else {
                continue;
            };
            if self.bits[run] >> bit & 1 == 1
                && (self.tail == 0 || sink.hit(lane, self.tail_at(run, bit)))
            {
                found |= 1 << lane;
            }
        }
        found
    }

    fn find(&self, low: &[u32], high: &[u32]) -> Option<&[u32]> {
        let (run, bit) = self.set_place(low, high)?;
        Some(self.tail_at(run, bit))
    }

    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError> {
        if low != high {
            return Err(SetError::Key("a range in a set of single numbers"));
        }
        let (run, bit) = self
            .place(low[0])
            .ok_or(SetError::Key("out of the range of the set"))?;
        let at = self.rank(run, bit) * self.tail;
        self.edit_tails(run, |tails| {
            tails.splice(at..at, tail.iter().copied());
        });
        Arc::make_mut(&mut self.bits)[run] |= 1 << bit;
        self.len += 1;
        Ok(())
    }

    fn replace(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> bool {
        let Some((run, bit)) = self.set_place(low, high) else {
            return false;
        };
        let at = self.rank(run, bit) * self.tail;
        self.edit_tails(run, |tails| {
            tails[at..at + tail.len()].copy_from_slice(tail)
        });
        true
    }

    fn remove(&mut self, low: &[u32], high: &[u32]) -> bool {
        let Some((run, bit)) = self.set_place(low, high) else {
            return false;
        };
        let (at, words) = (self.rank(run, bit) * self.tail, self.tail);
        self.edit_tails(run, |tails| {
            tails.drain(at..at + words);
        });
        Arc::make_mut(&mut self.bits)[run] &= !(1 << bit);
        self.len -= 1;
        true
    }

    fn for_each(&self, each: &mut dyn FnMut(Row<'_>)) {
        for (run, &bits) in self.bits.iter().enumerate() {
            for bit in Lanes(bits) {
                let number = [self.first + (run * 64 + bit) as u32];
                each(Row {
                    low: &number,
                    high: &number,
                    tail: self.tail_at(run, bit as u32),
                });
            }
        }
    }

    fn overlapping(&self, low: &[u32], high: &[u32], each: &mut dyn FnMut(Row<'_>) -> bool) {
        for number in low[0].max(self.first)..=high[0].min(self.last) {
            if let Some((run, bit)) = self.set_place(&[number], &[number])
                && !each(Row {
                    low: &[number],
                    high: &[number],
                    tail: self.tail_at(run, bit),
                })
            {
                return;
            }
        }
    }

    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64 {
        let mut run = (at % self.bits.len() as u64) as usize;
        let mut seen = 0;
        while seen < count && run < self.bits.len() {
            for bit in Lanes(self.bits[run]) {
                let number = [self.first + (run * 64 + bit) as u32];
                each(Row {
                    low: &number,
                    high: &number,
                    tail: self.tail_at(run, bit as u32),
                });
                seen += 1;
            }
            run += 1;
        }
        (run % self.bits.len()) as u64
    }

    fn len(&self) -> usize {
        self.len
    }

    fn memory(&self) -> usize {
        let tails: usize = self
            .tails
            .iter()
            .filter(|tails| !tails.is_empty())
            .map(|t| t.len() * 4 + 16)
            .sum();
        size_of::<Self>() + self.bits.len() * 8 + self.tails.len() * 16 + tails
    }

    fn boxed_clone(&self) -> Box<dyn Structure> {
        Box::new(self.clone())
    }

    fn emptied(&self) -> Box<dyn Structure> {
        Box::new(Self::new(self.first, self.last, self.tail))
    }

    fn built(&self, rows: &Rows) -> Result<Box<dyn Structure>, usize> {
        let mut bitmap = Self::new(self.first, self.last, self.tail);
        for (index, row) in rows.iter().enumerate() {
            if bitmap.find(row.low, row.high).is_some() {
                return Err(index);
            }
            bitmap
                .insert(row.low, row.high, row.tail)
                .map_err(|_| index)?;
        }
        Ok(Box::new(bitmap))
    }
}
