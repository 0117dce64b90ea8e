//! What a batched look-up found.

use super::spec::Layout;
use crate::packet::BATCH;

/// Lanes of a batch.
pub const LANES: usize = BATCH;

/// One word a lane.
pub type Column = [u32; LANES];

/// What a look-up found, lane by lane. A worker has one and uses it again and again.
#[derive(Clone, Debug)]
pub struct Hits {
    /// Data of the elements found, as many columns as the set has data words; other lanes keep
    /// what they had.
    pub data: Box<[Column]>,
    /// Slot of the element found, 0 if it has none; see [`SetView::state`](super::SetView::state).
    pub slots: Column,
    /// In a look-up in a list: which member had it.
    pub members: [u16; LANES],
}

impl Default for Hits {
    fn default() -> Self {
        Self {
            data: vec![[0; LANES]; super::spec::MAX_WORDS].into_boxed_slice(),
            slots: [0; LANES],
            members: [0; LANES],
        }
    }
}

/// Takes in what a structure finds: checks expiry, copies data and slot out.
pub(super) struct Sink<'a> {
    pub(super) layout: Layout,
    pub(super) now_ns: u64,
    pub(super) hits: &'a mut Hits,
}

impl Sink<'_> {
    /// The element with this tail was found in a lane; false if it has expired.
    #[inline]
    pub(super) fn hit(&mut self, lane: usize, tail: &[u32]) -> bool {
        if self.layout.tail == 0 {
            return true;
        }
        if self.layout.expired(tail, self.now_ns) {
            return false;
        }
        self.take(lane, tail);
        true
    }

    /// Copies data and slot out without looking at the expiry.
    #[inline]
    pub(super) fn take(&mut self, lane: usize, tail: &[u32]) {
        for (column, &word) in self.hits.data.iter_mut().zip(&tail[..self.layout.data]) {
            column[lane] = word;
        }
        if let Some(at) = self.layout.slot {
            self.hits.slots[lane] = tail[at];
        }
    }
}

/// The lanes of a mask, lowest first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lanes(pub(super) u64);

impl Iterator for Lanes {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let lane = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(lane)
    }
}
