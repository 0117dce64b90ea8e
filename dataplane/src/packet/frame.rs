//! A frame in the hands of a worker: borrowed from a port's ring, or owned.
//!
//! The bytes of the frame are `buffer[start..start + len]`; what lies before is headroom (at
//! least [`HEADROOM`] bytes when the frame comes from a port), so that a tag or a header can be
//! put in front without moving the frame.

use arrayvec::ArrayVec;

use super::vnet::VnetHeader;
use crate::port::PortId;

/// Frames that travel through the stages together; also the number of lanes of the rule program.
pub const BATCH: usize = 64;

/// Least free bytes in front of a frame that a port hands in.
pub const HEADROOM: usize = 64;

/// The largest frame that passes: an IP super-frame with a link header and tags.
pub const LARGEST_FRAME: usize = 65_536 + 64;

/// A batch of frames that borrow from one queue.
pub type Burst<'q> = ArrayVec<Frame<'q>, BATCH>;

/// Where a frame's bytes live.
#[derive(Debug)]
enum Buffer<'q> {
    /// A slot of the queue that received it.
    Borrowed(&'q mut [u8]),
    /// Memory of its own (parked, duplicated or built here).
    Owned(Box<[u8]>),
}

/// One frame with its headroom, its offload header and the port that it came by.
#[derive(Debug)]
pub struct Frame<'q> {
    buffer: Buffer<'q>,
    start: u32,
    len: u32,
    /// What the kernel still has to do when the frame leaves.
    pub vnet: VnetHeader,
    /// The port by which the frame came.
    pub in_port: PortId,
}

impl<'q> Frame<'q> {
    /// A frame in a slot: its bytes are `slot[start..start + len]`.
    ///
    /// # Panics
    /// When the range does not lie in the slot.
    pub fn borrowed(slot: &'q mut [u8], start: usize, len: usize, in_port: PortId) -> Self {
        assert!(start + len <= slot.len());
        Self {
            buffer: Buffer::Borrowed(slot),
            start: start as u32,
            len: len as u32,
            vnet: VnetHeader::default(),
            in_port,
        }
    }

    /// A frame in memory of its own: its bytes are `memory[start..start + len]`.
    ///
    /// # Panics
    /// When the range does not lie in the memory.
    pub fn owned(memory: Box<[u8]>, start: usize, len: usize, in_port: PortId) -> Self {
        assert!(start + len <= memory.len());
        Self {
            buffer: Buffer::Owned(memory),
            start: start as u32,
            len: len as u32,
            vnet: VnetHeader::default(),
            in_port,
        }
    }

    /// The frame's bytes, from the Ethernet header on.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.memory()[self.start as usize..(self.start + self.len) as usize]
    }

    /// The frame's bytes, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.start as usize, (self.start + self.len) as usize);
        &mut self.memory_mut()[start..end]
    }

    /// The frame's bytes with `before` bytes of headroom in front, as the kernel takes a
    /// virtio-net header and the frame in one piece. `None` when the headroom is too small.
    #[inline]
    pub fn with_headroom_mut(&mut self, before: usize) -> Option<&mut [u8]> {
        let start = (self.start as usize).checked_sub(before)?;
        let end = (self.start + self.len) as usize;
        Some(&mut self.memory_mut()[start..end])
    }

    /// Length in bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the frame has no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Free bytes in front of the frame.
    pub fn headroom(&self) -> usize {
        self.start as usize
    }

    /// Free bytes behind the frame.
    pub fn tailroom(&self) -> usize {
        self.memory().len() - (self.start + self.len) as usize
    }

    /// Grows the frame by `count` bytes at the front (contents undefined). `false`, and no
    /// change, when the headroom is too small.
    #[must_use]
    pub fn push_front(&mut self, count: usize) -> bool {
        if count > self.headroom() {
            return false;
        }
        self.start -= count as u32;
        self.len += count as u32;
        true
    }

    /// Takes `count` bytes off the front. `false`, and no change, when there are fewer.
    #[must_use]
    pub fn pull_front(&mut self, count: usize) -> bool {
        if count > self.len() {
            return false;
        }
        self.start += count as u32;
        self.len -= count as u32;
        true
    }

    /// Sets the length: cuts the end off, or grows into the tailroom (contents undefined).
    /// `false`, and no change, when there is not enough room.
    #[must_use]
    pub fn set_len(&mut self, len: usize) -> bool {
        if self.start as usize + len > self.memory().len() {
            return false;
        }
        self.len = len as u32;
        true
    }

    /// The memory of a frame that owns it.
    pub fn into_memory(self) -> Option<Box<[u8]>> {
        match self.buffer {
            Buffer::Owned(memory) => Some(memory),
            Buffer::Borrowed(_) => None,
        }
    }

    #[inline]
    fn memory(&self) -> &[u8] {
        match &self.buffer {
            Buffer::Borrowed(slot) => slot,
            Buffer::Owned(memory) => memory,
        }
    }

    #[inline]
    fn memory_mut(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Buffer::Borrowed(slot) => slot,
            Buffer::Owned(memory) => memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_respected_at_both_ends() {
        let mut slot = [0u8; 100];
        let mut frame = Frame::borrowed(&mut slot, 10, 60, PortId(3));
        assert_eq!(
            (frame.headroom(), frame.len(), frame.tailroom()),
            (10, 60, 30)
        );
        assert!(!frame.push_front(11));
        assert!(frame.push_front(10));
        assert_eq!(frame.headroom(), 0);
        assert!(!frame.set_len(101));
        assert!(frame.set_len(100));
        assert!(!frame.pull_front(101));
        assert!(frame.pull_front(100));
        assert!(frame.is_empty());
    }
}
