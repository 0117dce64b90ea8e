//! How frames come and go: one trait for each direction, one file per driver.
//!
//! A port has one queue per worker; each queue is split into a receiving and a sending half so
//! that a worker can hold a batch borrowed from one queue while it sends on any other (or back
//! on the same port). Halves belong to one worker at a time and are never shared.

pub mod af_packet;
pub mod link;
pub mod memory;
pub mod tap;

pub use link::{LinkState, Offloads};

use std::io;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;

use crate::drop_reason::DropReason;
use crate::packet::frame::{BATCH, Burst, Frame};

/// Number of a port inside one daemon; stable while the port exists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(pub u16);

impl PortId {
    /// No port: a packet of the appliance itself, or a way out that is not known yet.
    pub const NONE: PortId = PortId(u16::MAX);
}

/// What a driver can do for frames that leave by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Frames carry a virtio-net header both ways (super-frames and partial checksums pass).
    pub vnet_header: bool,
    /// Largest frame that is not a super-frame, in bytes from the Ethernet header, without tags.
    pub largest_frame: usize,
}

/// What a receiving half has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RxCounters {
    /// Frames handed to the worker.
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Frames that the kernel dropped at the full ring.
    pub ring_drops: u64,
    /// Frames that were received but could not be handed on (truncated, malformed offload header).
    pub errors: u64,
}

/// What a sending half has counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxCounters {
    /// Frames that the kernel took (a super-frame is one).
    pub frames: u64,
    /// Bytes of those frames.
    pub bytes: u64,
    /// Times that the way out was full and the driver had to try again.
    pub retries: u64,
    /// Frames that were refused; each is also counted under its drop reason by the worker.
    pub refused: u64,
}

/// Lanes of a burst that a sending half did not take, each with the reason.
pub type Refused = ArrayVec<(u8, DropReason), BATCH>;

/// The receiving half of a queue.
pub trait RxQueue {
    /// Appends what is there, without waiting, up to the capacity of `burst`.
    ///
    /// The frames borrow from the queue; [`release`](Self::release) gives their slots back
    /// once they are gone.
    ///
    /// # Errors
    /// When the device is gone or down; the worker counts it and goes on with its other queues.
    fn receive<'q>(&'q mut self, burst: &mut Burst<'q>) -> io::Result<()>;

    /// Gives the slots of the last burst back to the device.
    fn release(&mut self);

    /// Becomes readable when a frame is there; `None` for a driver without a descriptor.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// The error that the device reported since the last call (it went down, it is gone). Until
    /// it is taken, the descriptor counts as readable.
    fn take_fault(&mut self) -> Option<io::Error> {
        None
    }

    /// What has been counted so far.
    fn counters(&mut self) -> RxCounters;
}

/// The sending half of a queue.
pub trait TxQueue {
    /// What frames may look like that leave by this queue.
    fn capabilities(&self) -> Capabilities;

    /// Sends the frames at `lanes` of `burst`, in that order, before it returns.
    ///
    /// What could not be sent is appended to `refused` with its reason; the frames' bytes in
    /// headroom may be overwritten.
    fn transmit(&mut self, burst: &mut [Frame<'_>], lanes: &[u8], refused: &mut Refused);

    /// What has been counted so far.
    fn counters(&self) -> TxCounters;
}

/// The receiving half of a queue, of whichever driver.
#[derive(Debug)]
pub enum Rx {
    /// A network device.
    AfPacket(af_packet::AfPacketRx),
    /// Memory.
    Memory(memory::MemoryRx),
    /// A TAP or TUN device.
    Tap(tap::TapRx),
}

/// The sending half of a queue, of whichever driver.
#[derive(Debug)]
pub enum Tx {
    /// A network device.
    AfPacket(af_packet::AfPacketTx),
    /// Memory.
    Memory(memory::MemoryTx),
    /// A TAP or TUN device.
    Tap(tap::TapTx),
}

/// One worker's part of a port.
#[derive(Debug)]
pub struct Queue {
    /// Where frames come in.
    pub rx: Rx,
    /// Where frames go out.
    pub tx: Tx,
}

impl RxQueue for Rx {
    #[inline]
    fn receive<'q>(&'q mut self, burst: &mut Burst<'q>) -> io::Result<()> {
        match self {
            Rx::AfPacket(queue) => queue.receive(burst),
            Rx::Memory(queue) => queue.receive(burst),
            Rx::Tap(queue) => queue.receive(burst),
        }
    }

    #[inline]
    fn release(&mut self) {
        match self {
            Rx::AfPacket(queue) => queue.release(),
            Rx::Memory(queue) => queue.release(),
            Rx::Tap(queue) => queue.release(),
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Rx::AfPacket(queue) => queue.descriptor(),
            Rx::Memory(queue) => queue.descriptor(),
            Rx::Tap(queue) => queue.descriptor(),
        }
    }

    fn take_fault(&mut self) -> Option<io::Error> {
        match self {
            Rx::AfPacket(queue) => queue.take_fault(),
            Rx::Memory(queue) => queue.take_fault(),
            Rx::Tap(queue) => queue.take_fault(),
        }
    }

    fn counters(&mut self) -> RxCounters {
        match self {
            Rx::AfPacket(queue) => queue.counters(),
            Rx::Memory(queue) => queue.counters(),
            Rx::Tap(queue) => queue.counters(),
        }
    }
}

impl TxQueue for Tx {
    fn capabilities(&self) -> Capabilities {
        match self {
            Tx::AfPacket(queue) => queue.capabilities(),
            Tx::Memory(queue) => queue.capabilities(),
            Tx::Tap(queue) => queue.capabilities(),
        }
    }

    #[inline]
    fn transmit(&mut self, burst: &mut [Frame<'_>], lanes: &[u8], refused: &mut Refused) {
        match self {
            Tx::AfPacket(queue) => queue.transmit(burst, lanes, refused),
            Tx::Memory(queue) => queue.transmit(burst, lanes, refused),
            Tx::Tap(queue) => queue.transmit(burst, lanes, refused),
        }
    }

    fn counters(&self) -> TxCounters {
        match self {
            Tx::AfPacket(queue) => queue.counters(),
            Tx::Memory(queue) => queue.counters(),
            Tx::Tap(queue) => queue.counters(),
        }
    }
}
