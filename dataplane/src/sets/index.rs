//! The structure behind one version's elements, chosen from the shape.

use super::boxes::Boxes;
use super::exact::Exact;
use super::hash::Seed;
use super::interval::{Intervals, Number};
use super::{Column, Element, Entry, Row, SetError, Shape};
use crate::packet::BATCH;

/// Finds the row of a key.
#[derive(Debug)]
pub enum Index {
    /// Exact keys.
    Exact(Exact),
    /// Intervals over a field of one word.
    Word(Intervals<u32>),
    /// Intervals over a field of up to four words.
    Wide(Intervals<u128>),
    /// Several fields.
    Boxes(Boxes),
}

impl Index {
    /// Builds the structure over these rows; catch-all rows are not in it.
    ///
    /// # Errors
    /// [`SetError::Overlap`] when intervals overlap.
    pub fn build(shape: &Shape, seed: Seed, rows: &[Row]) -> Result<Self, SetError> {
        let elements = || rows.iter().map(|row| &row.element);
        Ok(match (shape.intervals, shape.fields.as_slice()) {
            (false, _) => {
                let words = shape.key_words();
                Index::Exact(Exact::build(seed, words, rows.len(), |row, word| {
                    rows[row].element.first[word]
                }))
            }
            (true, [1]) => {
                Index::Word(Intervals::build(elements().map(ends)).ok_or(SetError::Overlap)?)
            }
            (true, [2..=4]) => {
                Index::Wide(Intervals::build(elements().map(ends)).ok_or(SetError::Overlap)?)
            }
            (true, fields) => {
                let bounds = elements().map(|element| (&element.first[..], &element.last[..]));
                Index::Boxes(Boxes::build(fields, bounds).ok_or(SetError::Overlap)?)
            }
        })
    }

    /// Looks up a key per lane; the entries are rows.
    pub fn look_up(&self, key: &[&Column], lanes: u64, entries: &mut [Entry; BATCH]) -> u64 {
        match self {
            Index::Exact(table) => table.look_up(key, lanes, entries),
            Index::Word(table) => table.look_up(key, lanes, entries),
            Index::Wide(table) => table.look_up(key, lanes, entries),
            Index::Boxes(tree) => tree.look_up(key, lanes, entries),
        }
    }

    /// Whether an interval meets a row for which `counts` says yes. Exact keys never meet.
    pub fn meeting(
        &self,
        first: &[u32],
        last: &[u32],
        counts: &mut dyn FnMut(u32) -> bool,
    ) -> bool {
        match self {
            Index::Exact(_) => false,
            Index::Word(table) => table.meeting(first, last, counts),
            Index::Wide(table) => table.meeting(first, last, counts),
            Index::Boxes(tree) => tree.meeting(first, last, counts),
        }
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        match self {
            Index::Exact(table) => table.bytes(),
            Index::Word(table) => table.bytes(),
            Index::Wide(table) => table.bytes(),
            Index::Boxes(tree) => tree.bytes(),
        }
    }
}

fn ends<N: Number>(element: &Element) -> (N, N) {
    (N::of_words(&element.first), N::of_words(&element.last))
}
