//! A port in memory: frames come from a list that someone fills and go to a list that someone
//! reads. It is what tests, benches and `explain` use; several threads may hold the far end.
//!
//! With [`Source::endless`] the same frames come again and again, without a copy of the list:
//! that is how the pipeline is measured.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::event::{EventfdFlags, eventfd};

use super::{Capabilities, PortId, Refused, RxCounters, RxQueue, TxCounters, TxQueue};
use crate::drop_reason::DropReason;
use crate::packet::frame::{BATCH, Burst, Frame, HEADROOM, LARGEST_FRAME};
use crate::packet::segment;
use crate::packet::vnet::VnetHeader;

/// Bytes of headroom in front of each frame, with room for the virtio-net header.
const FRONT: usize = 128;
const _: () = assert!(FRONT >= HEADROOM + VnetHeader::LEN);

/// A frame outside a port: its bytes and its offload header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet {
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// What is still to be done to it.
    pub vnet: VnetHeader,
}

impl From<Vec<u8>> for Packet {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            vnet: VnetHeader::default(),
        }
    }
}

/// The list from which a receiving half takes frames.
#[derive(Debug)]
pub struct Source {
    list: Mutex<VecDeque<Packet>>,
    signal: OwnedFd,
    endless: bool,
}

/// The list to which a sending half puts frames.
#[derive(Debug, Default)]
pub struct Sink {
    list: Mutex<Vec<Packet>>,
}

fn locked<T>(list: &Mutex<T>) -> MutexGuard<'_, T> {
    // A list is whole between any two statements: a panic elsewhere does not spoil it.
    list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Source {
    /// An empty list.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Arc<Self>> {
        Self::with(VecDeque::new(), false)
    }

    /// A list that begins again at its end.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn endless(packets: impl IntoIterator<Item = Packet>) -> io::Result<Arc<Self>> {
        Self::with(packets.into_iter().collect(), true)
    }

    fn with(list: VecDeque<Packet>, endless: bool) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            list: Mutex::new(list),
            signal: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            endless,
        }))
    }

    /// Adds a frame and wakes the worker.
    pub fn push(&self, packet: impl Into<Packet>) {
        locked(&self.list).push_back(packet.into());
        // A full counter is readable all the same.
        let _ = rustix::io::write(&self.signal, &1u64.to_ne_bytes());
    }

    /// How many frames are still waiting.
    pub fn len(&self) -> usize {
        locked(&self.list).len()
    }

    /// Whether no frame is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Sink {
    /// An empty list.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Takes what has arrived.
    pub fn take(&self) -> Vec<Packet> {
        std::mem::take(&mut locked(&self.list))
    }

    /// How many frames have arrived and are still there.
    pub fn len(&self) -> usize {
        locked(&self.list).len()
    }

    /// Whether nothing has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The receiving half. Frames are copied into slots of its own, so that the pipeline may change
/// them; a frame larger than a slot grows it once.
#[derive(Debug)]
pub struct MemoryRx {
    port: PortId,
    source: Arc<Source>,
    slots: Vec<Vec<u8>>,
    next: usize,
    counters: RxCounters,
}

impl MemoryRx {
    /// A half that takes its frames from `source`.
    pub fn new(port: PortId, source: Arc<Source>) -> Self {
        Self {
            port,
            source,
            slots: (0..BATCH).map(|_| vec![0; 2048]).collect(),
            next: 0,
            counters: RxCounters::default(),
        }
    }

    /// The same half with at most `frames` frames in a burst.
    pub fn with_batch(mut self, frames: usize) -> Self {
        self.slots.truncate(frames);
        self
    }
}

impl RxQueue for MemoryRx {
    fn receive<'q>(&'q mut self, burst: &mut Burst<'q>) -> io::Result<()> {
        let mut list = locked(&self.source.list);
        for slot in &mut self.slots {
            if burst.is_full() || list.is_empty() {
                break;
            }
            let frame = if self.source.endless {
                self.next = if self.next >= list.len() {
                    0
                } else {
                    self.next
                };
                let frame = fill(slot, &list[self.next], self.port);
                self.next += 1;
                frame
            } else {
                let Some(packet) = list.pop_front() else {
                    break;
                };
                fill(slot, &packet, self.port)
            };
            match frame {
                Some(frame) => {
                    self.counters.frames += 1;
                    self.counters.bytes += frame.len() as u64;
                    burst.push(frame);
                }
                None => self.counters.errors += 1,
            }
        }
        if list.is_empty() {
            // Nothing to read is what an empty list should say.
            let _ = rustix::io::read(&self.source.signal, &mut [0u8; 8]);
        }
        Ok(())
    }

    fn release(&mut self) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.source.signal.as_fd())
    }

    fn counters(&mut self) -> RxCounters {
        self.counters
    }
}

fn fill<'q>(slot: &'q mut Vec<u8>, packet: &Packet, port: PortId) -> Option<Frame<'q>> {
    let len = packet.bytes.len();
    if len > LARGEST_FRAME {
        return None;
    }
    if slot.len() < FRONT + len {
        slot.resize(FRONT + len, 0);
    }
    slot[FRONT..FRONT + len].copy_from_slice(&packet.bytes);
    let mut frame = Frame::borrowed(slot, FRONT, len, port);
    frame.vnet = packet.vnet;
    Some(frame)
}

/// The sending half.
#[derive(Debug)]
pub struct MemoryTx {
    sink: Option<Arc<Sink>>,
    largest_frame: usize,
    counters: TxCounters,
}

impl MemoryTx {
    /// A half that puts its frames to `sink`, up to `largest_frame` bytes each (the segments of
    /// a super-frame are judged, not the whole).
    pub fn new(sink: Arc<Sink>, largest_frame: usize) -> Self {
        Self {
            sink: Some(sink),
            largest_frame,
            counters: TxCounters::default(),
        }
    }

    /// A half that counts its frames and forgets them.
    pub fn counting(largest_frame: usize) -> Self {
        Self {
            sink: None,
            largest_frame,
            counters: TxCounters::default(),
        }
    }

    fn fits(&self, frame: &Frame<'_>) -> Result<(), DropReason> {
        let largest = if frame.vnet.is_super_frame() {
            let headers = segment::header_len(frame).ok_or(DropReason::OffloadBad)?;
            headers + usize::from(frame.vnet.gso_size)
        } else {
            frame.len()
        };
        if largest > self.largest_frame {
            return Err(DropReason::FrameTooLarge);
        }
        Ok(())
    }
}

impl TxQueue for MemoryTx {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            vnet_header: true,
            largest_frame: self.largest_frame,
        }
    }

    fn transmit(&mut self, burst: &mut [Frame<'_>], lanes: &[u8], refused: &mut Refused) {
        let mut list = self.sink.as_ref().map(|sink| locked(&sink.list));
        for &lane in lanes {
            let frame = &burst[usize::from(lane)];
            if let Err(reason) = self.fits(frame) {
                self.counters.refused += 1;
                refused.push((lane, reason));
                continue;
            }
            self.counters.frames += 1;
            self.counters.bytes += frame.len() as u64;
            if let Some(list) = &mut list {
                list.push(Packet {
                    bytes: frame.bytes().to_vec(),
                    vnet: frame.vnet,
                });
            }
        }
    }

    fn counters(&self) -> TxCounters {
        self.counters
    }
}
