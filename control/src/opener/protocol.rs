//! What the privileged part and the rest say to each other: JSON in packets of a Unix socket
//! pair, with descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{LinkChange, OpenError, Request};

/// Descriptors in one packet: three for each queue (the kernel takes 253).
pub(super) const MAX_DESCRIPTORS: usize = 3 * super::MAX_QUEUES;
const MAX_BYTES: usize = 64 << 10;

/// To the privileged part.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// Open a device.
    Open(Request),
    /// Undo what was done to a device.
    Close(u16),
    /// Undo everything and end.
    End,
}

/// From the privileged part.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum News {
    /// Answer to [`Order::Open`]; three descriptors for each queue come along, one for a TAP.
    Opened(Result<Facts, OpenError>),
    /// Answer to [`Order::Close`] and [`Order::End`].
    Closed,
    /// A device has changed.
    Changed {
        /// Which.
        port: u16,
        /// How.
        change: LinkChange,
    },
}

/// What is known of an opened device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) port: u16,
    pub(super) index: u32,
    pub(super) mac: [u8; 6],
    pub(super) kind: String,
    pub(super) up: bool,
    pub(super) mtu: u32,
    pub(super) offloads: u32,
    pub(super) queues: usize,
}

/// Sends one message with descriptors.
pub(super) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    if bytes.len() > MAX_BYTES || descriptors.len() > MAX_DESCRIPTORS {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    sendmsg(
        socket,
        &[IoSlice::new(&bytes)],
        &mut beside,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Receives one message with its descriptors; `None` when the other side has ended.
pub(super) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let got = loop {
        let room = &mut [IoSliceMut::new(&mut bytes)];
        match recvmsg(socket, room, &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => break outcome?,
        }
    };
    if got
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(list) = message {
            descriptors.extend(list);
        }
    }
    Ok(Some((
        serde_json::from_slice(&bytes[..got.bytes])?,
        descriptors,
    )))
}

/// A connected pair of packet sockets.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(
        AddressFamily::UNIX,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// The descriptors of a port.
#[derive(Debug)]
pub(super) enum Descriptors {
    /// Sockets of each queue.
    Packet(Vec<super::QueueSockets>),
    /// One for each queue.
    Tap(Vec<OwnedFd>),
}

impl Descriptors {
    pub(super) fn queues(&self) -> usize {
        match self {
            Self::Packet(queues) => queues.len(),
            Self::Tap(queues) => queues.len(),
        }
    }
}

/// The descriptors in the order in which they are sent.
pub(super) fn flatten(descriptors: &Descriptors) -> Vec<BorrowedFd<'_>> {
    let queues = match descriptors {
        Descriptors::Packet(queues) => queues,
        Descriptors::Tap(queues) => return queues.iter().map(OwnedFd::as_fd).collect(),
    };
    let mut all = Vec::with_capacity(queues.len() * 3);
    for queue in queues {
        all.extend([&queue.rx, &queue.bypass, &queue.plain].map(OwnedFd::as_fd));
    }
    all
}

/// The other way round; `None` when the number does not fit.
pub(super) fn gather(descriptors: Vec<OwnedFd>, queues: usize) -> Option<Vec<super::QueueSockets>> {
    let mut rest = descriptors.into_iter();
    let mut gathered = Vec::with_capacity(queues);
    for _ in 0..queues {
        gathered.push(super::QueueSockets {
            rx: rest.next()?,
            bypass: rest.next()?,
            plain: rest.next()?,
        });
    }
    rest.next().is_none().then_some(gathered)
}
