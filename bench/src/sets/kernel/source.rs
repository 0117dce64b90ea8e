//! A bounded source of prepared frames on one CPU.
#![allow(unsafe_code)] // sendmmsg of prepared frames

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::frames::Frame;
use crate::sets::pin;

/// Frames of one system call.
const AT_ONCE: usize = 64;

/// A packet socket of a device, past its queueing discipline.
#[derive(Debug)]
pub(super) struct Source(OwnedFd);

impl Source {
    pub(super) fn open(device: &str) -> io::Result<Self> {
        let socket = socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let index = rustix::net::netdevice::name_to_index(socket.as_fd(), device)?;
        let one: libc::c_int = 1;
        // SAFETY: plain data for which all zeroes is a valid value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        // SAFETY: pointers and lengths describe `one` and `address`, which outlive the calls.
        let done = unsafe {
            let set = libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const one).cast(),
                size_of::<libc::c_int>() as u32,
            );
            let length = size_of::<libc::sockaddr_ll>() as u32;
            set | libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length)
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(socket))
    }

    /// Sends each frame once; nanoseconds a frame, reception included.
    pub(super) fn send(&self, frames: &[Frame]) -> io::Result<f64> {
        pin(1)?;
        let mut pieces: Vec<libc::iovec> = frames
            .iter()
            .map(|frame| libc::iovec {
                iov_base: frame.bytes.as_ptr().cast_mut().cast(),
                iov_len: frame.length,
            })
            .collect();
        let mut messages: Vec<libc::mmsghdr> = pieces
            .iter_mut()
            .map(|piece| {
                // SAFETY: plain data for which all zeroes is a valid value.
                let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                message.msg_hdr.msg_iov = piece;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        let started = Instant::now();
        for some in messages.chunks_mut(AT_ONCE) {
            let mut from = 0;
            while from < some.len() {
                let left = &mut some[from..];
                // SAFETY: each message points to one piece and that to a frame, which the kernel only
                // reads; all of them outlive the call.
                let sent = unsafe {
                    libc::sendmmsg(self.0.as_raw_fd(), left.as_mut_ptr(), left.len() as u32, 0)
                };
                if sent <= 0 {
                    return Err(io::Error::last_os_error());
                }
                from += sent as usize;
            }
        }
        Ok(started.elapsed().as_nanos() as f64 / frames.len() as f64)
    }
}
