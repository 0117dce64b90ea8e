//! What every persistent structure can do.

use super::error::SetError;
use super::hits::{Column, Sink};
use super::spec::Layout;

/// An element as a structure holds it: first and last key, and the tail.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) low: &'a [u32],
    pub(super) high: &'a [u32],
    pub(super) tail: &'a [u32],
}

/// Rows of one stride (low key, high key, tail) for a bulk load.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    pub(super) key: usize,
    pub(super) tail: usize,
    pub(super) words: Vec<u32>,
}

impl Rows {
    pub(super) fn new(layout: Layout) -> Self {
        Self::plain(layout.key, layout.tail)
    }

    /// Rows of keys and tails of so many words.
    pub(super) fn plain(key: usize, tail: usize) -> Self {
        Self {
            key,
            tail,
            words: Vec::new(),
        }
    }

    pub(super) fn stride(&self) -> usize {
        2 * self.key + self.tail
    }

    pub(super) fn len(&self) -> usize {
        self.words.len() / self.stride()
    }

    pub(super) fn push(&mut self, low: &[u32], high: &[u32], tail: &[u32]) {
        self.words.extend_from_slice(low);
        self.words.extend_from_slice(high);
        self.words.extend_from_slice(tail);
    }

    pub(super) fn row(&self, index: usize) -> Row<'_> {
        let row = &self.words[index * self.stride()..][..self.stride()];
        let (low, rest) = row.split_at(self.key);
        let (high, tail) = rest.split_at(self.key);
        Row { low, high, tail }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.len()).map(|index| self.row(index))
    }
}

/// A persistent structure: a clone shares all memory, a change copies what it touches. It knows
/// keys and tails; limits, slots and defaults are the set's affair.
pub(super) trait Structure: Send + Sync + std::fmt::Debug {
    /// Looks up the lanes; returns those found (not expired, not an exception).
    fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64;

    /// The tail of exactly this element, expired or not.
    fn find(&self, low: &[u32], high: &[u32]) -> Option<&[u32]>;

    /// Puts an element in that is not there; expired elements still count as being there.
    fn insert(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> Result<(), SetError>;

    /// Writes another tail to an element; false if it is not there.
    fn replace(&mut self, low: &[u32], high: &[u32], tail: &[u32]) -> bool;

    /// Takes exactly this element out; false if it is not there.
    fn remove(&mut self, low: &[u32], high: &[u32]) -> bool;

    /// All elements, expired ones too; by value where the structure is ordered.
    fn for_each(&self, each: &mut dyn FnMut(Row<'_>));

    /// The elements that have a key in common with these ranges, until `each` says false.
    fn overlapping(&self, low: &[u32], high: &[u32], each: &mut dyn FnMut(Row<'_>) -> bool);

    /// An element somewhere near `at`, a number without meaning; for eviction and sweeping.
    fn near(&self, at: u64, count: usize, each: &mut dyn FnMut(Row<'_>)) -> u64;

    /// Elements, expired ones too.
    fn len(&self) -> usize;

    /// Bytes of memory that the elements take, shared ones counted fully.
    fn memory(&self) -> usize;

    /// A copy that shares everything.
    fn boxed_clone(&self) -> Box<dyn Structure>;

    /// An empty structure of the same kind.
    fn emptied(&self) -> Box<dyn Structure>;

    /// A structure of the same kind with these rows, built on all cores.
    ///
    /// # Errors
    /// When two rows are the same or overlap where that is not allowed; the index of one of them.
    fn built(&self, rows: &Rows) -> Result<Box<dyn Structure>, usize>;
}

impl Clone for Box<dyn Structure> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}
