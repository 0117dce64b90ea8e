//! Quiescence: when an entry that was taken out of the index may be used again.
//!
//! A worker that looks into the table is *inside* from the beginning of a batch to its end, and forgets
//! every entry number in between two batches. What was taken out of the index before a moment
//! can be reused when everybody who was inside at that moment has since left, or begun anew.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Outside: whoever holds this keeps nothing from being used again.
const OUTSIDE: u64 = 0;

#[derive(Debug)]
#[repr(align(128))]
struct Seen(AtomicU64);

/// Who is inside, and since when.
#[derive(Debug)]
pub(super) struct Epochs {
    now: AtomicU64,
    seen: Box<[Seen]>,
}

impl Epochs {
    pub(super) fn new(participants: usize) -> Self {
        Self {
            now: AtomicU64::new(1),
            seen: (0..participants)
                .map(|_| Seen(AtomicU64::new(OUTSIDE)))
                .collect(),
        }
    }

    /// From here on nothing that the participant can find is used again.
    #[inline]
    pub(super) fn enter(&self, participant: usize) {
        // Sequentially consistent: whoever does not see this store in `passed` has taken what it frees
        // out of the index before this participant begins to look.
        self.seen[participant]
            .0
            .store(self.now.load(SeqCst), SeqCst);
    }

    /// The participant has forgotten everything that it found.
    #[inline]
    pub(super) fn leave(&self, participant: usize) {
        self.seen[participant]
            .0
            .store(OUTSIDE, std::sync::atomic::Ordering::Release);
    }

    /// A moment behind everything that the caller has taken out of the index.
    pub(super) fn moment(&self) -> u64 {
        self.now.fetch_add(1, SeqCst) + 1
    }

    /// Whether everybody who was inside at a moment has left since.
    pub(super) fn passed(&self, moment: u64) -> bool {
        self.seen.iter().all(|seen| {
            let since = seen.0.load(SeqCst);
            since == OUTSIDE || since >= moment
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_passes_when_all_who_were_inside_have_left() {
        let epochs = Epochs::new(3);
        epochs.enter(0);
        epochs.enter(1);
        let moment = epochs.moment();
        assert!(!epochs.passed(moment));
        epochs.leave(0);
        assert!(!epochs.passed(moment), "participant 1 is still inside");
        epochs.enter(0);
        epochs.enter(2);
        epochs.enter(1);
        assert!(epochs.passed(moment), "all have begun anew");
    }
}
