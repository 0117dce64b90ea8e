//! The bare forwarder: the same sockets and options as the driver, and nothing else. It knows no
//! tags, no large frames, no offloads, no order, no counters: the limit that a firewall on
//! AF_PACKET could reach.
#![allow(unsafe_code)] // maps rings and sends from them

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use sluice_dataplane::port::af_packet::{Geometry, QueueSockets};

const AT_ONCE: usize = 64;
const VNET: usize = 10;

struct Side {
    ring: *mut u8,
    slots: usize,
    head: usize,
    rx: OwnedFd,
    tx: OwnedFd,
}

impl Side {
    fn new(sockets: QueueSockets, geometry: Geometry) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let ring = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
            libc::mmap(
                std::ptr::null_mut(),
                geometry.ring_bytes(),
                access,
                flags,
                sockets.rx.as_raw_fd(),
                0,
            )
        };
        if ring == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            ring: ring.cast(),
            slots: geometry.slots as usize,
            head: 0,
            rx: sockets.rx,
            tx: sockets.bypass,
        })
    }

    fn slot(&self, number: usize) -> *mut u8 {
        // SAFETY: the number is below `slots`, so the slot lies in the mapping.
        unsafe { self.ring.add((number % self.slots) * Geometry::SLOT) }
    }
}

/// Forwards both ways until it is told to stop.
///
/// # Errors
/// When the rings cannot be mapped.
pub(super) fn forward(
    sides: Vec<QueueSockets>,
    geometry: Geometry,
    stop: &AtomicBool,
) -> io::Result<()> {
    let mut sides = sides
        .into_iter()
        .map(|s| Side::new(s, geometry))
        .collect::<io::Result<Vec<_>>>()?;
    // SAFETY: plain data for which all zeroes is a valid value.
    let mut messages: [libc::mmsghdr; AT_ONCE] = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    let mut pieces: [libc::iovec; AT_ONCE] = unsafe { std::mem::zeroed() };
    for (message, piece) in messages.iter_mut().zip(&mut pieces) {
        message.msg_hdr.msg_iov = piece;
        message.msg_hdr.msg_iovlen = 1;
    }
    while !stop.load(Ordering::Relaxed) {
        let mut idle = true;
        for from in 0..2 {
            let count = gather(&sides[from], &mut pieces);
            if count == 0 {
                continue;
            }
            idle = false;
            send(sides[1 - from].tx.as_raw_fd(), &mut messages[..count]);
            let side = &mut sides[from];
            for number in side.head..side.head + count {
                // SAFETY: the slot is ours until this very store.
                unsafe { status(side.slot(number)) }
                    .store(libc::TP_STATUS_KERNEL, Ordering::Release);
            }
            side.head = (side.head + count) % side.slots;
        }
        if idle {
            wait(&sides);
        }
    }
    for side in &sides {
        // SAFETY: the mapping was made in `new` with this size and is not used any more.
        unsafe { libc::munmap(side.ring.cast(), geometry.ring_bytes()) };
    }
    Ok(())
}

/// # Safety
/// `slot` is the start of a slot of a mapped ring.
unsafe fn status<'a>(slot: *mut u8) -> &'a AtomicU32 {
    // SAFETY: a slot begins with its 32-bit status and is aligned.
    unsafe { AtomicU32::from_ptr(slot.cast()) }
}

fn gather(side: &Side, pieces: &mut [libc::iovec; AT_ONCE]) -> usize {
    for (place, piece) in pieces.iter_mut().enumerate() {
        let slot = side.slot(side.head + place);
        // SAFETY: the status is acquired before the header is read, and the slot is ours then.
        unsafe {
            if status(slot).load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return place;
            }
            let header = slot.cast::<libc::tpacket2_hdr>();
            piece.iov_base = slot.add(usize::from((*header).tp_mac) - VNET).cast();
            piece.iov_len = (*header).tp_snaplen as usize + VNET;
        }
    }
    AT_ONCE
}

fn send(socket: i32, mut messages: &mut [libc::mmsghdr]) {
    let mut tries = 0;
    while !messages.is_empty() && tries < 24 {
        // SAFETY: each message points to a piece, and that to a slot that is ours.
        let done = unsafe {
            libc::sendmmsg(
                socket,
                messages.as_mut_ptr(),
                messages.len() as u32,
                libc::MSG_DONTWAIT,
            )
        };
        match usize::try_from(done) {
            Ok(done) => messages = &mut messages[done..],
            Err(_) => tries += 1,
        }
    }
}

fn wait(sides: &[Side]) {
    let mut wanted: Vec<libc::pollfd> = sides
        .iter()
        .map(|side| libc::pollfd {
            fd: side.rx.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: the pointer and the length describe `wanted`.
    unsafe { libc::poll(wanted.as_mut_ptr(), wanted.len() as libc::nfds_t, 10) };
}
