//! Opening the sockets of a port: the part that needs `CAP_NET_RAW` (and `CAP_NET_ADMIN` for
//! large buffers) in the device's namespace. What it returns can be handed to another process.
#![allow(unsafe_code)] // socket options of AF_PACKET have no safe wrapper

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::Geometry;

/// The descriptors of one queue of one port.
#[derive(Debug)]
pub struct QueueSockets {
    /// Receives into a mapped ring.
    pub rx: OwnedFd,
    /// Sends past the queueing discipline: for what the device takes as it is.
    pub bypass: OwnedFd,
    /// Sends through the kernel, which cuts and completes.
    pub plain: OwnedFd,
}

/// Opens `queues` queues on the device of this index in the current namespace.
///
/// All receiving sockets are members of one fanout group (none when there is only one queue),
/// the device is promiscuous as long as one of them is open.
///
/// # Errors
/// When the process may not, or the device does not exist.
pub fn open_queues(index: u32, queues: usize, geometry: Geometry) -> io::Result<Vec<QueueSockets>> {
    let mut opened: Vec<QueueSockets> = Vec::with_capacity(queues);
    let mut group = None;
    for _ in 0..queues {
        let rx = open_receiving(index, geometry)?;
        if queues > 1 {
            group = Some(join_group(rx.as_fd(), group)?);
        }
        opened.push(QueueSockets {
            rx,
            bypass: open_sending(index, true)?,
            plain: open_sending(index, false)?,
        });
    }
    Ok(opened)
}

fn open_receiving(index: u32, geometry: Geometry) -> io::Result<OwnedFd> {
    let socket = packet_socket()?;
    let fd = socket.as_fd();
    set(
        fd,
        libc::SOL_PACKET,
        libc::PACKET_VERSION,
        libc::tpacket_versions::TPACKET_V2 as i32,
    )?;
    set(
        fd,
        libc::SOL_PACKET,
        libc::PACKET_RESERVE,
        Geometry::RESERVE as i32,
    )?;
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_COPY_THRESH, 1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    set_buffer(
        fd,
        libc::SO_RCVBUFFORCE,
        libc::SO_RCVBUF,
        geometry.large_bytes,
    )?;
    set_bytes(
        fd,
        libc::SOL_PACKET,
        libc::PACKET_RX_RING,
        &geometry.request(),
    )?;
    let membership = libc::packet_mreq {
        mr_ifindex: index as i32,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_bytes(
        fd,
        libc::SOL_PACKET,
        libc::PACKET_ADD_MEMBERSHIP,
        &membership,
    )?;
    bind(fd, index, libc::ETH_P_ALL as u16)?;
    Ok(socket)
}

fn open_sending(index: u32, bypass: bool) -> io::Result<OwnedFd> {
    let socket = packet_socket()?;
    let fd = socket.as_fd();
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    set_buffer(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, 8 << 20)?;
    if bypass {
        set(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
    }
    bind(fd, index, 0)?;
    Ok(socket)
}

/// Puts a socket into a fanout group (a new one when there is none yet) and returns the group.
fn join_group(fd: BorrowedFd<'_>, group: Option<u16>) -> io::Result<u16> {
    const UNIQUE_ID: u32 = 0x2000;
    let mode = libc::PACKET_FANOUT_HASH;
    let argument = match group {
        Some(group) => u32::from(group) | mode << 16,
        None => (mode | UNIQUE_ID) << 16,
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, argument as i32)?;
    let mut value: u32 = 0;
    let mut length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `value`, which has that size.
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw mut value).cast(),
            &mut length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(value as u16)
}

/// A packet socket that receives nothing until it is bound.
fn packet_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is involved; the descriptor is checked and owned from here on.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn bind(fd: BorrowedFd<'_>, index: u32, protocol: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: protocol.to_be(),
        sll_ifindex: index as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `address`, which outlives the call.
    let done = unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), length) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Sets a buffer size, past the system's limit where that is allowed.
fn set_buffer(fd: BorrowedFd<'_>, forced: i32, bounded: i32, bytes: usize) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, forced, bytes as i32)
        .or_else(|_| set(fd, libc::SOL_SOCKET, bounded, bytes as i32))
}

fn set(fd: BorrowedFd<'_>, level: i32, option: i32, value: i32) -> io::Result<()> {
    set_bytes(fd, level, option, &value)
}

fn set_bytes<T>(fd: BorrowedFd<'_>, level: i32, option: i32, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    let done = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
