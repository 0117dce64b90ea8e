//! A raw socket on one device: the tests' way to put exact frames on a wire and to see what arrives.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use sluice_control::netns::Namespace;

/// A packet socket bound to one device of a namespace.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
}

const ETH_P_ALL: u16 = 3;

impl RawSocket {
    /// Opens a socket on `device` of `namespace` that sees every frame that comes in by it.
    ///
    /// # Errors
    /// When the device does not exist.
    pub fn open(namespace: &Namespace, device: &str) -> io::Result<Self> {
        namespace.run(|| Self::open_here(device))?
    }

    fn open_here(device: &str) -> io::Result<Self> {
        let kind = SocketType::RAW;
        let socket =
            rustix::net::socket_with(AddressFamily::PACKET, kind, SocketFlags::CLOEXEC, None)?;
        let index = name_to_index(&socket, device)?;
        ignore_outgoing(&socket)?;
        enlarge_buffer(&socket)?;
        bind(&socket, index)?;
        Ok(Self { socket })
    }

    /// Sends one frame as it is.
    ///
    /// # Errors
    /// When the device refuses it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            match rustix::net::send(&self.socket, frame, SendFlags::empty()) {
                Ok(_) => return Ok(()),
                // The receiver's backlog is full: it empties at once.
                Err(rustix::io::Errno::NOBUFS) if begun.elapsed() < Duration::from_secs(2) => {
                    std::thread::yield_now()
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next frame, if one arrives within `patience`.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = rustix::time::Timespec {
            tv_sec: patience.as_secs() as i64,
            tv_nsec: i64::from(patience.subsec_nanos()),
        };
        if poll(&mut polled, Some(&patience))? == 0 {
            return Ok(None);
        }
        let mut buffer = vec![0; 70_000];
        let (length, _) = rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::empty())?;
        buffer.truncate(length);
        Ok(Some(buffer))
    }

    /// Every frame that arrives until it is quiet for `quiet`.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn drain(&self, quiet: Duration) -> io::Result<Vec<Vec<u8>>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.receive(quiet)? {
            frames.push(frame);
        }
        Ok(frames)
    }
}

/// Binds to a device for all protocols. rustix has no packet address of its own yet.
#[allow(unsafe_code)]
fn bind(socket: &OwnedFd, index: u32) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ETH_P_ALL.to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: the address is a whole sockaddr_ll of the size given, and the kernel only reads it.
    let answer = unsafe {
        libc::bind(
            socket.as_fd().as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn ignore_outgoing(socket: &OwnedFd) -> io::Result<()> {
    const PACKET_IGNORE_OUTGOING: i32 = 23;
    set_number(socket, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
}

fn enlarge_buffer(socket: &OwnedFd) -> io::Result<()> {
    set_number(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 64 << 20)
}

#[allow(unsafe_code)]
fn set_number(socket: &OwnedFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    // SAFETY: the kernel reads one int of the size given.
    let answer = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
