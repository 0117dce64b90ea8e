//! The sending half: frames leave by `sendmmsg` from the memory in which they came.
//!
//! A frame goes past the queueing discipline when the device takes it as it is. Once a frame
//! needs the kernel's help (a super-frame that the device does not segment), *all* frames of the
//! queue go through the kernel, so that none overtakes another; the short way is taken again when
//! the device can segment and nothing of ours is under way any more.
//!
//! A full way out is back-pressure: the frame is tried again a bounded number of times.
#![allow(unsafe_code)] // sendmmsg from frame memory

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use super::ethtool;
use crate::drop_reason::DropReason;
use crate::packet::frame::{BATCH, Frame};
use crate::packet::segment::{self, Segments};
use crate::packet::vnet::VnetHeader;
use crate::port::{Capabilities, LinkState, Offloads, Refused, TxCounters, TxQueue};

/// Times that a full way out is tried again before its first frame is given up.
const TRIES: u32 = 24;
const SIOCOUTQ: libc::c_ulong = libc::TIOCOUTQ as libc::c_ulong;

/// The sending half of a queue on a pair of AF_PACKET sockets.
#[derive(Debug)]
pub struct AfPacketTx {
    bypass: OwnedFd,
    plain: OwnedFd,
    link: Arc<LinkState>,
    device: Option<String>,
    /// Everything goes through the kernel at the moment.
    through_kernel: bool,
    vector: Box<Vector>,
    segments: Option<Box<Segments>>,
    counters: TxCounters,
}

/// The arguments of `sendmmsg`; `messages[n]` always points to `pieces[n]`.
#[derive(Debug)]
struct Vector {
    messages: [libc::mmsghdr; BATCH],
    pieces: [libc::iovec; BATCH],
    lanes: [u8; BATCH],
    count: usize,
}

// SAFETY: the pointers refer to this value itself (boxed, never moved out) and to frames that
// are used within one call of `transmit` only.
unsafe impl Send for Vector {}

impl Vector {
    fn new() -> Box<Self> {
        // SAFETY: both C structs are plain data for which all zeroes is a valid value.
        let mut vector: Box<Self> = Box::new(unsafe { std::mem::zeroed() });
        for number in 0..BATCH {
            vector.messages[number].msg_hdr.msg_iov = &raw mut vector.pieces[number];
            vector.messages[number].msg_hdr.msg_iovlen = 1;
        }
        vector
    }

    fn push(&mut self, lane: u8, piece: &mut [u8]) {
        self.pieces[self.count] = libc::iovec {
            iov_base: piece.as_mut_ptr().cast(),
            iov_len: piece.len(),
        };
        self.lanes[self.count] = lane;
        self.count += 1;
    }
}

impl AfPacketTx {
    pub(super) fn new(bypass: OwnedFd, plain: OwnedFd, link: Arc<LinkState>) -> Self {
        let device = rustix::net::netdevice::index_to_name(&bypass, bound_index(&bypass)).ok();
        Self {
            bypass,
            plain,
            link,
            device,
            through_kernel: false,
            vector: Vector::new(),
            segments: None,
            counters: TxCounters::default(),
        }
    }

    /// Checks a frame and puts it into the vector.
    fn queue(&mut self, lane: u8, frame: &mut Frame<'_>) -> Result<(), DropReason> {
        let vnet = frame.vnet;
        if vnet.is_super_frame() {
            self.check_super_frame(frame)?;
        }
        match frame.with_headroom_mut(VnetHeader::LEN) {
            Some(piece) => {
                piece[..VnetHeader::LEN].copy_from_slice(&vnet.to_bytes());
                self.vector.push(lane, piece);
                Ok(())
            }
            None => Err(DropReason::OffloadBad),
        }
    }

    /// MTU is judged on the size that the segments will have; and from here on everything goes
    /// through the kernel if the device cannot segment this.
    fn check_super_frame(&mut self, frame: &Frame<'_>) -> Result<(), DropReason> {
        let headers = segment::header_len(frame).ok_or(DropReason::OffloadBad)?;
        let ip_at = segment::network_at(frame.bytes());
        let segment_len = headers - ip_at + usize::from(frame.vnet.gso_size);
        if segment_len > self.link.mtu() as usize {
            return Err(DropReason::FrameTooLarge);
        }
        // What a device segments behind a tag is not to be learned: the kernel knows.
        let tagged = ip_at > 14;
        if tagged || !self.link.offloads().contains(needed(&frame.vnet)) {
            // Those before it in the vector have not left yet: they travel with it.
            self.through_kernel = true;
        }
        Ok(())
    }

    /// Whether the short way may be taken again.
    fn leave_kernel(&mut self) {
        if self.link.offloads().contains(Offloads::ALL) && outstanding(&self.plain) == 0 {
            self.through_kernel = false;
        }
    }

    /// Sends what is in the vector, in order.
    fn flush(&mut self, refused: &mut Refused) {
        let mut sent = 0;
        let mut tries = 0;
        while sent < self.vector.count {
            match self.send(sent) {
                Ok(count) => {
                    sent += count;
                    tries = 0;
                }
                Err(error) => match self.judge(&error, sent, &mut tries) {
                    None => {}
                    Some(reason) => {
                        self.refuse(sent, reason, refused);
                        sent += 1;
                        // The next ones shall not wait as long again for the same full way.
                        tries = if reason == DropReason::TxFull {
                            TRIES - 2
                        } else {
                            0
                        };
                    }
                },
            }
        }
        self.vector.count = 0;
    }

    fn send(&mut self, from: usize) -> io::Result<usize> {
        let socket = if self.through_kernel {
            &self.plain
        } else {
            &self.bypass
        };
        let messages = &mut self.vector.messages[from..self.vector.count];
        // SAFETY: each message points to one piece, and each piece to frame memory that the
        // caller of `transmit` lends for its duration; the kernel only reads it.
        let done = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                messages.len() as u32,
                libc::MSG_DONTWAIT,
            )
        };
        if done < 0 {
            return Err(io::Error::last_os_error());
        }
        let done = done as usize;
        self.counters.frames += done as u64;
        for piece in &self.vector.pieces[from..from + done] {
            self.counters.bytes += (piece.iov_len - VnetHeader::LEN) as u64;
        }
        Ok(done)
    }

    /// What a failure means for the frame that met it; `None`: try again.
    fn judge(&mut self, error: &io::Error, at: usize, tries: &mut u32) -> Option<DropReason> {
        match error.raw_os_error() {
            Some(libc::EINTR) => None,
            Some(libc::ENOBUFS | libc::EAGAIN | libc::ENOMEM) => {
                self.counters.retries += 1;
                *tries += 1;
                if *tries > TRIES {
                    return Some(DropReason::TxFull);
                }
                if *tries == 1 && !self.through_kernel && self.carries_super_frame(at) {
                    self.ask_offloads_again(at);
                }
                wait_for_room(*tries);
                None
            }
            Some(libc::EMSGSIZE) => Some(DropReason::FrameTooLarge),
            Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV) => Some(DropReason::PortDown),
            Some(libc::EINVAL) if !self.vnet(at).is_plain() => Some(DropReason::OffloadBad),
            _ => Some(DropReason::TxError),
        }
    }

    fn vnet(&self, at: usize) -> VnetHeader {
        let base = self.vector.pieces[at]
            .iov_base
            .cast::<[u8; VnetHeader::LEN]>();
        // SAFETY: every piece begins with a virtio-net header (`queue` wrote it), and frame
        // memory outlives the flush.
        VnetHeader::from_bytes(unsafe { &*base })
    }

    fn carries_super_frame(&self, at: usize) -> bool {
        self.vnet(at).is_super_frame()
    }

    /// The short way drops what the device cannot segment; perhaps it has just lost the ability
    /// and the watcher has not told yet.
    fn ask_offloads_again(&mut self, at: usize) {
        let needed = needed(&self.vnet(at));
        let Some(device) = &self.device else { return };
        if let Ok(offloads) = ethtool::offloads(self.bypass.as_fd(), device) {
            self.link.set_offloads(offloads);
            self.through_kernel |= !offloads.contains(needed);
        }
    }

    fn refuse(&mut self, at: usize, reason: DropReason, refused: &mut Refused) {
        self.counters.refused += 1;
        refused.push((self.vector.lanes[at], reason));
    }

    /// Cuts a tunnelled super-frame, which the kernel would not understand, and sends the pieces.
    /// The frame counts as refused when one of them could not leave.
    fn send_cut(&mut self, lane: u8, frame: &Frame<'_>, refused: &mut Refused) {
        let mut segments = self.segments.take().unwrap_or_default();
        let mtu = self.link.mtu() as usize;
        let outcome = match segments.cut(frame, mtu) {
            Ok(()) => self.send_segments(lane, &mut segments),
            Err(reason) => Err(reason),
        };
        self.segments = Some(segments);
        match outcome {
            Ok(()) => {
                self.counters.frames += 1;
                self.counters.bytes += frame.len() as u64;
            }
            Err(reason) => {
                self.counters.refused += 1;
                refused.push((lane, reason));
            }
        }
    }

    fn send_segments(&mut self, lane: u8, segments: &mut Segments) -> Result<(), DropReason> {
        // A super-frame is one frame: what its pieces count is forgotten but for the retries.
        let before = self.counters;
        let mut lost = Refused::new();
        for piece in segments.pieces_mut() {
            self.vector.push(lane, piece);
            if self.vector.count == BATCH {
                self.flush_segments(&mut lost);
            }
        }
        self.flush_segments(&mut lost);
        self.counters = TxCounters {
            retries: self.counters.retries,
            ..before
        };
        match lost.first() {
            Some((_, reason)) => Err(*reason),
            None => Ok(()),
        }
    }

    fn flush_segments(&mut self, lost: &mut Refused) {
        let mut refused = Refused::new();
        self.flush(&mut refused);
        if let (Some(first), true) = (refused.first(), lost.is_empty()) {
            lost.push(*first);
        }
    }
}

impl TxQueue for AfPacketTx {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            vnet_header: true,
            largest_frame: self.link.mtu() as usize + 14,
        }
    }

    fn transmit(&mut self, burst: &mut [Frame<'_>], lanes: &[u8], refused: &mut Refused) {
        if self.through_kernel {
            self.leave_kernel();
        }
        for &lane in lanes {
            let frame = &mut burst[usize::from(lane)];
            if frame.vnet.is_super_frame() && segment::is_tunnelled(frame) {
                self.flush(refused);
                self.send_cut(lane, frame, refused);
                continue;
            }
            if let Err(reason) = self.queue(lane, frame) {
                self.counters.refused += 1;
                refused.push((lane, reason));
            }
        }
        self.flush(refused);
    }

    fn counters(&self) -> TxCounters {
        self.counters
    }
}

/// What a device must be able to do to take a super-frame as it is.
fn needed(vnet: &VnetHeader) -> Offloads {
    let kind = match vnet.gso_type & !VnetHeader::GSO_ECN {
        VnetHeader::GSO_TCPV4 => Offloads::TCPV4,
        VnetHeader::GSO_TCPV6 => Offloads::TCPV6,
        VnetHeader::GSO_UDP_L4 => Offloads::UDP,
        // The old UDP fragmentation, or something newer than this: the kernel may know.
        _ => Offloads(1 << 31),
    };
    if vnet.gso_type & VnetHeader::GSO_ECN != 0 {
        kind.with(Offloads::TCP_ECN)
    } else {
        kind
    }
}

/// Lets the receiver of a full way out run: first a moment, then a time slice.
fn wait_for_room(tries: u32) {
    if tries < 4 {
        for _ in 0..200 {
            std::hint::spin_loop();
        }
    } else {
        rustix::thread::sched_yield();
    }
}

/// Bytes that the kernel still holds of what was sent on a socket.
fn outstanding(socket: &OwnedFd) -> i32 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the ioctl writes one int to the place it is given.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCOUTQ as _, &raw mut bytes) };
    if done < 0 { i32::MAX } else { bytes }
}

/// The index of the device that a packet socket is bound to; 0 when it cannot be told.
fn bound_index(socket: &OwnedFd) -> u32 {
    // SAFETY: plain data for which all zeroes is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `address`, which has that size.
    let done =
        unsafe { libc::getsockname(socket.as_raw_fd(), (&raw mut address).cast(), &mut length) };
    if done == 0 {
        address.sll_ifindex as u32
    } else {
        0
    }
}
