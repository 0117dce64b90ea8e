//! What a batched look-up found.

use super::spec::Layout;
use crate::packet::BATCH;

/// Lanes of a batch.
pub const LANES: usize = BATCH;

/// One word a lane.
pub use crate::program::lanes::Column;

/// Where a look-up found what it found, lane by lane; only the lanes that match are written.
#[derive(Clone, Debug)]
pub struct Places {
    /// Slot of the element found, 0 if it has none; see [`SetView::state`](super::SetView::state).
    pub slots: [u32; LANES],
    /// In a look-up in a list: which member had it.
    pub members: [u16; LANES],
}

impl Default for Places {
    fn default() -> Self {
        Self {
            slots: [0; LANES],
            members: [0; LANES],
        }
    }
}

/// Takes in what a structure finds: checks expiry, copies data and slot out.
pub(super) struct Sink<'a> {
    pub(super) layout: Layout,
    pub(super) now_ns: u64,
    /// Columns for the data of the elements found; fewer than the set has are fine.
    pub(super) data: &'a mut [Column],
    pub(super) slots: &'a mut [u32; LANES],
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
        for (column, &word) in self.data.iter_mut().zip(&tail[..self.layout.data]) {
            column[lane] = word;
        }
        if let Some(at) = self.layout.slot {
            self.slots[lane] = tail[at];
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
