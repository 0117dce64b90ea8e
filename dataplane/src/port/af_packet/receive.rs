//! The receiving half: slots of the ring, and whole large frames, in the order of arrival.
#![allow(unsafe_code)] // hands out slots of the ring, and calls recv

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::Geometry;
use super::ring::{Ring, SlotInfo};
use crate::packet::frame::{Burst, Frame, HEADROOM, LARGEST_FRAME};
use crate::packet::vnet::VnetHeader;
use crate::port::{PortId, RxCounters, RxQueue};

/// Large frames that one burst can hold. (4 and 8 made no difference to TCP with one stream or four.)
const LARGE_FRAMES: usize = 16;
/// Where a large frame begins in its buffer; a multiple of 64 minus the Ethernet header and the
/// virtio-net header in front.
const LARGE_AT: usize = 128 + VnetHeader::LEN;
/// Distance of the buffers for large frames.
const LARGE_STRIDE: usize = (LARGE_AT + LARGEST_FRAME + 4095) & !4095;
const _: () = assert!(LARGE_AT >= HEADROOM + VnetHeader::LEN);

/// The receiving half of a queue on an AF_PACKET socket.
#[derive(Debug)]
pub struct AfPacketRx {
    port: PortId,
    ring: Ring,
    socket: OwnedFd,
    /// The next slot to look at.
    head: usize,
    /// Slots before `head` that have been handed out and not yet given back.
    held: usize,
    /// Buffers for large frames, `LARGE_STRIDE` bytes each; untouched pages cost nothing.
    large: Box<[u8]>,
    counters: RxCounters,
}

impl AfPacketRx {
    pub(super) fn new(port: PortId, socket: OwnedFd, geometry: Geometry) -> io::Result<Self> {
        let ring = Ring::map(socket.as_fd(), geometry)?;
        Ok(Self {
            port,
            ring,
            socket,
            head: 0,
            held: 0,
            large: vec![0; LARGE_STRIDE * LARGE_FRAMES].into_boxed_slice(),
            counters: RxCounters::default(),
        })
    }

    fn advance(&mut self) {
        self.head += 1;
        if self.head == self.ring.slots() {
            self.head = 0;
        }
        self.held += 1;
    }

    /// The frame in a slot, or `None` when it is not one that can be handed on.
    fn slot_frame<'q>(&self, number: usize, info: &SlotInfo) -> Option<Frame<'q>> {
        let start = usize::from(info.at).checked_sub(Geometry::HEADROOM_AT)?;
        let len = info.stored_len as usize;
        // SAFETY: the slot is ours and is handed out once: `head` passes it now, and `release`,
        // which needs the queue that the frame borrows, is what gives it back.
        let memory = unsafe { self.ring.memory(number) };
        if start < VnetHeader::LEN || start + len > memory.len() || len < info.frame_len as usize {
            return None;
        }
        let vnet = *memory[start - VnetHeader::LEN..start].first_chunk()?;
        let mut frame = Frame::borrowed(memory, start, len, self.port);
        frame.vnet = VnetHeader::from_bytes(&vnet);
        Some(frame)
    }

    /// Fetches the large frame whose head is in a slot.
    fn large_frame<'q>(&self, buffer: &'q mut [u8], info: &SlotInfo) -> Option<Frame<'q>> {
        let at = LARGE_AT - VnetHeader::LEN;
        let room = &mut buffer[at..];
        // SAFETY: the pointer and the length describe `room`.
        let got = unsafe {
            libc::recv(
                self.socket.as_raw_fd(),
                room.as_mut_ptr().cast(),
                room.len(),
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
            )
        };
        let got = usize::try_from(got).ok()?;
        let len = got.checked_sub(VnetHeader::LEN)?;
        if got > room.len() || len != info.frame_len as usize {
            return None;
        }
        let vnet = *room.first_chunk()?;
        let mut frame = Frame::borrowed(buffer, LARGE_AT, len, self.port);
        frame.vnet = VnetHeader::from_bytes(&vnet);
        Some(frame)
    }

    fn read_statistics(&mut self) {
        let mut statistics = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut length = size_of::<libc::tpacket_stats>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `statistics`, which has that size.
        let done = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &mut length,
            )
        };
        if done == 0 {
            // Reading sets the kernel's counters to zero.
            self.counters.ring_drops += u64::from(statistics.tp_drops);
        }
    }
}

impl RxQueue for AfPacketRx {
    fn receive<'q>(&'q mut self, burst: &mut Burst<'q>) -> io::Result<()> {
        let large: *mut u8 = self.large.as_mut_ptr();
        let mut large_used = 0;
        while !burst.is_full() && self.held < self.ring.slots() {
            let number = self.head;
            let Some(info) = self.ring.look(number) else {
                break;
            };
            let following = if number + 1 == self.ring.slots() {
                0
            } else {
                number + 1
            };
            self.ring.prefetch(following);
            let frame = if info.status & libc::TP_STATUS_COPY != 0 {
                if large_used == LARGE_FRAMES {
                    break;
                }
                // SAFETY: `large_used` is below the number of buffers, each buffer is handed
                // out once in this call, and the frames borrow from the queue.
                let buffer = unsafe {
                    std::slice::from_raw_parts_mut(
                        large.add(large_used * LARGE_STRIDE),
                        LARGE_STRIDE,
                    )
                };
                large_used += 1;
                self.large_frame(buffer, &info)
            } else {
                self.slot_frame(number, &info)
            };
            self.advance();
            match frame.and_then(|frame| put_tag_back(frame, &info)) {
                Some(frame) => {
                    self.counters.frames += 1;
                    self.counters.bytes += frame.len() as u64;
                    burst.push(frame);
                }
                None => self.counters.errors += 1,
            }
        }
        Ok(())
    }

    #[inline]
    fn release(&mut self) {
        let slots = self.ring.slots();
        let mut number = (self.head + slots - self.held) % slots;
        for _ in 0..self.held {
            self.ring.give_back(number);
            number = if number + 1 == slots { 0 } else { number + 1 };
        }
        self.held = 0;
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn take_fault(&mut self) -> Option<io::Error> {
        rustix::net::sockopt::socket_error(&self.socket)
            .ok()
            .and_then(Result::err)
            .map(io::Error::from)
    }

    fn counters(&mut self) -> RxCounters {
        self.read_statistics();
        self.counters
    }
}

/// Puts the tag that the kernel took off back in front of the frame's type.
fn put_tag_back<'q>(mut frame: Frame<'q>, info: &SlotInfo) -> Option<Frame<'q>> {
    const TAG: usize = 4;
    const ADDRESSES: usize = 12;
    if info.status & libc::TP_STATUS_VLAN_VALID == 0 {
        return Some(frame);
    }
    let tpid = match info.status & libc::TP_STATUS_VLAN_TPID_VALID {
        0 => libc::ETH_P_8021Q as u16,
        _ => info.vlan_tpid,
    };
    if frame.len() < ADDRESSES || !frame.push_front(TAG) {
        return None;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(TAG..TAG + ADDRESSES, 0);
    bytes[ADDRESSES..ADDRESSES + 2].copy_from_slice(&tpid.to_be_bytes());
    bytes[ADDRESSES + 2..ADDRESSES + TAG].copy_from_slice(&info.vlan_tci.to_be_bytes());
    if frame.vnet.needs_checksum() {
        frame.vnet.csum_start += TAG as u16;
    }
    if frame.vnet.hdr_len != 0 {
        frame.vnet.hdr_len = frame.vnet.hdr_len.saturating_add(TAG as u16);
    }
    Some(frame)
}
