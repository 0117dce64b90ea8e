//! Memory for the frames that a worker makes: copies, answers.
//!
//! Each worker has one pool. Buffers of one size go round, so that nothing is allocated per packet once
//! as many exist as are in flight; a frame that does not fit one gets memory of its own size. The
//! pool hands out at most [`LIMIT`] frames at a time: what it refuses is counted, never waited for.

use super::frame::{Frame, HEADROOM};
use crate::port::PortId;

/// Most frames in flight: a batch may release the fragments of a datagram for each of its lanes.
pub const LIMIT: usize = 4096;
/// Bytes of a buffer that goes round.
const BUFFER: usize = 2048;
/// Bytes of a buffer for a datagram of any size, which goes round, too.
const LARGE: usize = HEADROOM + super::frame::LARGEST_FRAME;
/// Large buffers that are kept.
const LARGE_KEPT: usize = 16;

/// The frames of one worker.
#[derive(Debug, Default)]
pub struct FramePool {
    free: Vec<Box<[u8]>>,
    large: Vec<Box<[u8]>>,
    in_flight: usize,
    refused: u64,
}

impl FramePool {
    /// A frame of this length, contents undefined, with [`HEADROOM`]; `None` when too many are in
    /// flight.
    pub fn take(&mut self, len: usize, in_port: PortId) -> Option<Frame<'static>> {
        if self.in_flight >= LIMIT {
            self.refused += 1;
            return None;
        }
        self.in_flight += 1;
        let needed = HEADROOM + len;
        let memory = if needed > BUFFER {
            vec![0; needed].into()
        } else {
            self.free
                .pop()
                .unwrap_or_else(|| vec![0; BUFFER].into_boxed_slice())
        };
        Some(Frame::owned(memory, HEADROOM, len, in_port))
    }

    /// The same for a datagram, which is often larger than a frame.
    pub fn take_whole(&mut self, len: usize, in_port: PortId) -> Option<Frame<'static>> {
        let needed = HEADROOM + len;
        if needed <= BUFFER || needed > LARGE || self.in_flight >= LIMIT {
            return self.take(len, in_port);
        }
        self.in_flight += 1;
        let memory = self.large.pop().unwrap_or_else(|| vec![0; LARGE].into());
        Some(Frame::owned(memory, HEADROOM, len, in_port))
    }

    /// Takes a frame back that this pool has handed out.
    pub fn give(&mut self, frame: Frame<'_>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let Some(memory) = frame.into_memory() else {
            return;
        };
        match memory.len() {
            BUFFER => self.free.push(memory),
            LARGE if self.large.len() < LARGE_KEPT => self.large.push(memory),
            _ => {}
        }
    }

    /// How many frames were refused since this was asked last.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_go_round_and_the_limit_holds() {
        let mut pool = FramePool::default();
        let first = pool.take(60, PortId(0)).unwrap();
        let memory = first.bytes().as_ptr();
        assert_eq!((first.len(), first.headroom()), (60, HEADROOM));
        pool.give(first);
        assert_eq!(pool.take(1500, PortId(0)).unwrap().bytes().as_ptr(), memory);
        assert_eq!(pool.take(65_000, PortId(0)).unwrap().len(), 65_000);
        let whole = pool.take_whole(30_000, PortId(0)).unwrap();
        let memory = whole.bytes().as_ptr();
        pool.give(whole);
        let whole = pool.take_whole(65_000, PortId(0)).unwrap();
        assert_eq!((whole.len(), whole.bytes().as_ptr()), (65_000, memory));
        pool.give(whole);
        let frames: Vec<_> = std::iter::from_fn(|| pool.take(60, PortId(0))).collect();
        assert_eq!(frames.len(), LIMIT - 2);
        assert_eq!((pool.take_refused(), pool.take_refused()), (1, 0));
    }
}
