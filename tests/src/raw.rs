//! A raw socket on one device: the tests' way to put exact frames on a wire and to see what arrives.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType};
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
        set_number(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
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

    /// The same for sending TCP segments whose checksum is left to the device.
    ///
    /// # Errors
    /// When the device does not exist.
    pub fn offloading(namespace: &Namespace, device: &str) -> io::Result<Self> {
        let this = Self::open(namespace, device)?;
        set_number(&this.socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
        Ok(this)
    }

    /// Sends a TCP segment, leaving its checksum to the device: as the stack of a host does. The socket is
    /// an [`offloading`](Self::offloading) one.
    ///
    /// # Errors
    /// When the device refuses it.
    pub fn send_partial(&self, frame: &[u8]) -> io::Result<()> {
        use sluice_dataplane::packet::VnetHeader;
        use sluice_dataplane::packet::checksum::{fold, pseudo_header};
        use sluice_dataplane::packet::headers::Headers;
        let headers = Headers::dissect(frame);
        let (network, transport) = (usize::from(headers.network), usize::from(headers.transport));
        let addresses = if frame[network] >> 4 == 4 {
            network + 12..network + 20
        } else {
            network + 8..network + 40
        };
        let len = headers.end - u32::from(headers.transport);
        let partial = fold(pseudo_header(&frame[addresses], headers.l4proto, len));
        let vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: headers.transport,
            csum_offset: 16,
            ..VnetHeader::default()
        };
        let mut bytes = [&vnet.to_bytes()[..], frame].concat();
        let check = VnetHeader::LEN + transport + 16;
        bytes[check..check + 2].copy_from_slice(&partial.to_be_bytes());
        self.send(&bytes)
    }

    /// Sends frames as they are, in order, with as few system calls as the kernel takes.
    ///
    /// # Errors
    /// When the device refuses one, or takes none for 10 s.
    pub fn send_many(&self, frames: &[Vec<u8>]) -> io::Result<()> {
        let (mut sent, mut last) = (0, Instant::now());
        while sent < frames.len() {
            match send_some(&self.socket, &frames[sent..]) {
                Ok(count) => {
                    sent += count;
                    last = Instant::now();
                }
                // The receiver's backlog is full: it empties at once.
                Err(error)
                    if error.raw_os_error() == Some(libc::ENOBUFS)
                        && last.elapsed() < Duration::from_secs(10) =>
                {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
        Ok(Some(receive_with_tag(&self.socket)?))
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

/// Hands some frames to the kernel; yields how many it took.
#[allow(unsafe_code)]
fn send_some(socket: &OwnedFd, frames: &[Vec<u8>]) -> io::Result<usize> {
    const MOST: usize = 64;
    // SAFETY: all-zero bytes are valid values of both.
    let (mut messages, mut pieces): ([libc::mmsghdr; MOST], [libc::iovec; MOST]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    let count = frames.len().min(MOST);
    for (at, frame) in frames[..count].iter().enumerate() {
        pieces[at] = libc::iovec {
            iov_base: frame.as_ptr().cast_mut().cast(),
            iov_len: frame.len(),
        };
        messages[at].msg_hdr.msg_iov = &raw mut pieces[at];
        messages[at].msg_hdr.msg_iovlen = 1;
    }
    // SAFETY: the first `count` messages point to one piece each, and those to frames that live; the
    // kernel only reads the frames.
    let done =
        unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as u32, 0) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// Receives one frame; a VLAN tag that the kernel has taken off is put back, and a checksum that
/// it has left to the device is completed: the frame is as it would be on a wire.
#[allow(unsafe_code)]
fn receive_with_tag(socket: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0_u8; 70_000];
    let mut control = [0_u64; 16];
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all-zero bytes are a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: the message points to a buffer and a control area that live and have the sizes given.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    buffer.truncate(length);
    // SAFETY: the kernel has filled the control area, of which the message says the length.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message).as_ref() };
    if let Some(header) = header
        && (header.cmsg_level, header.cmsg_type) == (libc::SOL_PACKET, libc::PACKET_AUXDATA)
    {
        // SAFETY: a message of this type carries a tpacket_auxdata.
        let aux = unsafe {
            libc::CMSG_DATA(header)
                .cast::<libc::tpacket_auxdata>()
                .read_unaligned()
        };
        if aux.tp_status & libc::TP_STATUS_CSUMNOTREADY != 0 {
            complete_checksum(&mut buffer);
        }
        if aux.tp_status & libc::TP_STATUS_VLAN_VALID != 0 {
            let tpid = if aux.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0 {
                aux.tp_vlan_tpid
            } else {
                0x8100
            };
            let tag = [tpid.to_be_bytes(), aux.tp_vlan_tci.to_be_bytes()].concat();
            buffer.splice(12..12, tag);
        }
    }
    Ok(buffer)
}

/// Adds the transport's bytes to a partial checksum, which has the pseudo-header's sum only.
fn complete_checksum(frame: &mut [u8]) {
    use sluice_dataplane::packet::checksum::{fold, sum};
    use sluice_dataplane::packet::headers::{Headers, flag, protocol};
    let headers = Headers::dissect(frame);
    let begin = usize::from(headers.transport);
    let at = begin
        + match headers.l4proto {
            protocol::TCP => 16,
            protocol::UDP => 6,
            _ => return,
        };
    let end = headers.end as usize;
    if headers.has(flag::TRANSPORT) && at + 2 <= end {
        let checksum = !fold(sum(&frame[begin..end]));
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
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
