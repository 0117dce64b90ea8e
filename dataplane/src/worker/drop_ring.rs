//! The last frames that a worker dropped, with their reasons.
//!
//! The ring belongs to its worker and is never shared: who wants to see it asks the worker, which
//! answers with a copy between two batches.

use crate::drop_reason::DropReason;
use crate::packet::frame::Frame;
use crate::port::PortId;

/// Frames that a worker remembers.
pub const REMEMBERED: usize = 256;
/// Bytes of each that it remembers.
pub const SNAP: usize = 256;

/// A frame that ended here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedFrame {
    /// Its first bytes, [`SNAP`] at most.
    pub bytes: Vec<u8>,
    /// Its length.
    pub len: u32,
    /// Why it ended.
    pub reason: DropReason,
    /// The rule that said so, [`NO_RULE`](super::NO_RULE) when none did.
    pub rule: u32,
    /// The generation that judged it.
    pub generation: u64,
    /// When, in nanoseconds since 1970-01-01 UTC.
    pub wall_ns: u64,
    /// The port by which it came.
    pub in_port: PortId,
    /// The worker that dropped it.
    pub worker: u16,
}

/// What is the same for all drops of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Occasion {
    pub(super) generation: u64,
    pub(super) wall_ns: u64,
    pub(super) worker: u16,
}

#[derive(Clone)]
struct Entry {
    bytes: [u8; SNAP],
    stored: u16,
    len: u32,
    reason: DropReason,
    rule: u32,
    in_port: PortId,
    occasion: Occasion,
}

/// A ring of [`REMEMBERED`] frames; memory is taken once.
pub(super) struct DropRing {
    entries: Vec<Entry>,
    next: usize,
}

impl DropRing {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::with_capacity(REMEMBERED),
            next: 0,
        }
    }

    pub(super) fn remember(
        &mut self,
        frame: &Frame<'_>,
        reason: DropReason,
        rule: u32,
        occasion: Occasion,
    ) {
        let stored = frame.len().min(SNAP);
        if self.entries.len() < REMEMBERED {
            self.next = self.entries.len();
            self.entries.push(Entry {
                bytes: [0; SNAP],
                stored: 0,
                len: 0,
                reason,
                rule,
                in_port: frame.in_port,
                occasion,
            });
        }
        let entry = &mut self.entries[self.next];
        entry.bytes[..stored].copy_from_slice(&frame.bytes()[..stored]);
        entry.stored = stored as u16;
        entry.len = frame.len() as u32;
        entry.reason = reason;
        entry.rule = rule;
        entry.in_port = frame.in_port;
        entry.occasion = occasion;
        self.next = (self.next + 1) % REMEMBERED;
    }

    /// The frames from the oldest to the newest.
    pub(super) fn list(&self) -> Vec<DroppedFrame> {
        let (newer, older) = self.entries.split_at(self.next.min(self.entries.len()));
        older
            .iter()
            .chain(newer)
            .map(|entry| DroppedFrame {
                bytes: entry.bytes[..usize::from(entry.stored)].to_vec(),
                len: entry.len,
                reason: entry.reason,
                rule: entry.rule,
                generation: entry.occasion.generation,
                wall_ns: entry.occasion.wall_ns,
                in_port: entry.in_port,
                worker: entry.occasion.worker,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first_and_long_frames_are_snapped() {
        let mut ring = DropRing::new();
        for number in 0..REMEMBERED + 3 {
            let mut memory = vec![number as u8; 300];
            let frame = Frame::borrowed(&mut memory, 0, 300, PortId(1));
            let occasion = Occasion {
                generation: number as u64,
                ..Occasion::default()
            };
            ring.remember(&frame, DropReason::NoPeer, 7, occasion);
        }
        let list = ring.list();
        assert_eq!(list.len(), REMEMBERED);
        assert_eq!(list[0].generation, 3);
        assert_eq!(list.last().unwrap().generation, (REMEMBERED + 2) as u64);
        assert_eq!((list[0].bytes.len(), list[0].len), (SNAP, 300));
        assert_eq!(list[0].bytes, vec![3; SNAP]);
    }
}
