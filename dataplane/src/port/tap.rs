//! TAP and TUN: a device of this kernel whose other end is a host of this kernel (a virtual machine,
//! a container, this very machine) as a port.
//!
//! One descriptor a worker (`IFF_MULTI_QUEUE`), each frame with a virtio-net header in front, so that
//! super-frames and partial checksums pass both ways. The kernel gives and takes one frame a system
//! call; there is no ring.
//!
//! A TUN device has no link layer: packets get an Ethernet header when they come in, addressed to the
//! port, and lose it when they leave, so that nothing else has to know.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::{Capabilities, LinkState, PortId, Refused, RxCounters, RxQueue, TxCounters, TxQueue};
use crate::drop_reason::DropReason;
use crate::packet::frame::{BATCH, Burst, Frame, HEADROOM, LARGEST_FRAME};
use crate::packet::headers::{ETHERNET, ethertype};
use crate::packet::segment::{self, Segments};
use crate::packet::vnet::VnetHeader;

/// Where a frame begins in its slot.
const FRONT: usize = 128;
const SLOT: usize = FRONT + LARGEST_FRAME;
const _: () = assert!(FRONT >= HEADROOM + VnetHeader::LEN);

/// What a device's frames begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An Ethernet header (TAP).
    Ethernet,
    /// The IP header (TUN); this is the MAC address that the port pretends to have.
    Ip([u8; 6]),
}

/// Makes the two halves of a queue from its descriptor, which must be non-blocking and have a
/// virtio-net header of [`VnetHeader::LEN`] bytes; needs no privilege.
///
/// # Errors
/// When the process has no descriptor left.
pub fn attach(
    port: PortId,
    descriptor: OwnedFd,
    layer: Layer,
    link: Arc<LinkState>,
) -> io::Result<(TapRx, TapTx)> {
    let sending = descriptor.try_clone()?;
    let rx = TapRx {
        port,
        descriptor,
        layer,
        slots: (0..BATCH).map(|_| Vec::new()).collect(),
        fault: None,
        counters: RxCounters::default(),
    };
    let tx = TapTx {
        descriptor: sending,
        layer,
        link,
        segments: Segments::default(),
        counters: TxCounters::default(),
    };
    Ok((rx, tx))
}

/// The receiving half.
#[derive(Debug)]
pub struct TapRx {
    port: PortId,
    descriptor: OwnedFd,
    layer: Layer,
    slots: Vec<Vec<u8>>,
    fault: Option<io::Error>,
    counters: RxCounters,
}

impl RxQueue for TapRx {
    fn receive<'q>(&'q mut self, burst: &mut Burst<'q>) -> io::Result<()> {
        for slot in &mut self.slots {
            if burst.is_full() {
                return Ok(());
            }
            if slot.is_empty() {
                // Memory that is never touched costs nothing: most frames are short.
                slot.resize(SLOT, 0);
            }
            let begin = match self.layer {
                Layer::Ethernet => FRONT,
                Layer::Ip(_) => FRONT + ETHERNET,
            };
            let read = rustix::io::read(&self.descriptor, &mut slot[begin - VnetHeader::LEN..]);
            let len = match read {
                Ok(len) => len,
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(error) => {
                    self.fault = Some(error.into());
                    return Err(error.into());
                }
            };
            match take(slot, begin, len, self.layer, self.port) {
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

    fn release(&mut self) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.descriptor.as_fd())
    }

    fn take_fault(&mut self) -> Option<io::Error> {
        self.fault.take()
    }

    fn counters(&mut self) -> RxCounters {
        self.counters
    }
}

/// The frame that was read into a slot, behind its virtio-net header.
fn take(
    slot: &mut [u8],
    begin: usize,
    len: usize,
    layer: Layer,
    port: PortId,
) -> Option<Frame<'_>> {
    let header = slot[begin - VnetHeader::LEN..].first_chunk()?;
    let mut vnet = VnetHeader::from_bytes(header);
    let mut len = len.checked_sub(VnetHeader::LEN)?;
    if let Layer::Ip(mac) = layer {
        let kind = match slot[begin] >> 4 {
            4 => ethertype::IP,
            6 => ethertype::IP6,
            _ => return None,
        };
        slot[FRONT..FRONT + 6].copy_from_slice(&mac);
        slot[FRONT + 6..FRONT + 12].fill(0);
        slot[FRONT + 12..FRONT + 14].copy_from_slice(&kind.to_be_bytes());
        len += ETHERNET;
        shift(&mut vnet, |offset| offset + ETHERNET as u16);
    }
    let mut frame = Frame::borrowed(slot, FRONT, len, port);
    frame.vnet = vnet;
    Some(frame)
}

/// Moves the offsets of a virtio-net header that mean something.
fn shift(vnet: &mut VnetHeader, moved: impl Fn(u16) -> u16) {
    if vnet.needs_checksum() {
        vnet.csum_start = moved(vnet.csum_start);
    }
    if vnet.hdr_len > 0 {
        vnet.hdr_len = moved(vnet.hdr_len);
    }
}

/// The sending half.
#[derive(Debug)]
pub struct TapTx {
    descriptor: OwnedFd,
    layer: Layer,
    link: Arc<LinkState>,
    segments: Segments,
    counters: TxCounters,
}

impl TapTx {
    fn send(&mut self, frame: &mut Frame<'_>) -> Result<(), DropReason> {
        let mtu = self.link.mtu() as usize;
        if frame.vnet.is_super_frame() {
            let headers = segment::header_len(frame).ok_or(DropReason::OffloadBad)?;
            let network = segment::network_at(frame.bytes());
            if headers - network + usize::from(frame.vnet.gso_size) > mtu {
                return Err(DropReason::FrameTooLarge);
            }
            if segment::is_tunnelled(frame) {
                return self.send_cut(frame, mtu);
            }
        } else if frame
            .len()
            .saturating_sub(segment::network_at(frame.bytes()))
            > mtu
        {
            return Err(DropReason::FrameTooLarge);
        }
        let mut vnet = frame.vnet;
        let piece = match self.layer {
            Layer::Ethernet => frame.with_headroom_mut(VnetHeader::LEN),
            Layer::Ip(_) => {
                shift(&mut vnet, |offset| offset.saturating_sub(ETHERNET as u16));
                frame.bytes_mut().get_mut(ETHERNET - VnetHeader::LEN..)
            }
        };
        let piece = piece.ok_or(DropReason::OffloadBad)?;
        piece[..VnetHeader::LEN].copy_from_slice(&vnet.to_bytes());
        write(&self.descriptor, piece)
    }

    /// What the kernel would not understand is cut here.
    fn send_cut(&mut self, frame: &Frame<'_>, mtu: usize) -> Result<(), DropReason> {
        self.segments.cut(frame, mtu)?;
        for piece in self.segments.pieces_mut() {
            let piece = match self.layer {
                Layer::Ethernet => piece,
                Layer::Ip(_) => {
                    piece.copy_within(..VnetHeader::LEN, ETHERNET);
                    &mut piece[ETHERNET..]
                }
            };
            write(&self.descriptor, piece)?;
        }
        Ok(())
    }
}

fn write(descriptor: &OwnedFd, piece: &[u8]) -> Result<(), DropReason> {
    loop {
        return match rustix::io::write(descriptor, piece) {
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Err(DropReason::TxFull),
            // A device that is down, or gone.
            Err(Errno::IO | Errno::BADFD | Errno::NODEV) => Err(DropReason::PortDown),
            Err(Errno::INVAL) => Err(DropReason::OffloadBad),
            Err(_) => Err(DropReason::TxError),
        };
    }
}

impl TxQueue for TapTx {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            vnet_header: true,
            largest_frame: self.link.mtu() as usize + ETHERNET,
        }
    }

    fn transmit(&mut self, burst: &mut [Frame<'_>], lanes: &[u8], refused: &mut Refused) {
        for &lane in lanes {
            let frame = &mut burst[usize::from(lane)];
            let len = frame.len() as u64;
            match self.send(frame) {
                Ok(()) => {
                    self.counters.frames += 1;
                    self.counters.bytes += len;
                }
                Err(reason) => {
                    self.counters.refused += 1;
                    refused.push((lane, reason));
                }
            }
        }
    }

    fn counters(&self) -> TxCounters {
        self.counters
    }
}
