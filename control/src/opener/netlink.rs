//! Netlink, synchronous and small: what the privileged part needs, and no runtime in it.
//!
//! A [`Message`] is built attribute by attribute; [`Netlink::ask`] sends messages and collects
//! what comes back until all of them are acknowledged.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr};

const HEADER: usize = 16;
const ERROR: u16 = libc::NLMSG_ERROR as u16;
const DONE: u16 = libc::NLMSG_DONE as u16;
const NESTED: u16 = 0x8000;

/// A netlink message under construction.
#[derive(Clone, Debug)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A request of this type with the family's fixed header.
    pub(super) fn new(kind: u16, flags: i32, header: &[u8]) -> Self {
        let flags = flags as u16 | libc::NLM_F_REQUEST as u16;
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(header);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        put_attribute(&mut self.0, kind, value);
        self
    }

    /// Adds a text with its terminating zero.
    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds a nested list of attributes.
    pub(super) fn nested(self, kind: u16, list: &[(u16, &[u8])]) -> Self {
        let mut inside = Vec::new();
        for (kind, value) in list {
            put_attribute(&mut inside, *kind, value);
        }
        self.attribute(kind | NESTED, &inside)
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }

    fn wants_answer(&self) -> bool {
        let flags = u16::from_ne_bytes([self.0[6], self.0[7]]);
        flags & (libc::NLM_F_ACK | libc::NLM_F_DUMP) as u16 != 0
    }
}

fn put_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    bytes.extend_from_slice(&(4 + value.len() as u16).to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A message that came: what follows the netlink header.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// A word of the fixed header.
    pub(super) fn word(&self, at: usize) -> u32 {
        self.body.get(at..at + 4).map_or(0, word)
    }
}

/// The first four bytes as a number in host order; 0 when there are fewer.
pub(super) fn word(bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

/// A text of an attribute, up to its zero.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The attributes in a piece of a message.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]) & !NESTED;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A netlink socket in the namespace in which it was opened.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// Opens a socket of a protocol (`NETLINK_ROUTE`, `NETLINK_NETFILTER`).
    pub(super) fn open(protocol: i32) -> io::Result<Self> {
        let mut socket = Socket::new(protocol as isize)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// A socket that hears of changes of a group and never blocks.
    pub(super) fn listen(protocol: i32, group: u32) -> io::Result<Self> {
        let netlink = Self::open(protocol)?;
        netlink.socket.add_membership(group)?;
        netlink.socket.set_non_blocking(true)?;
        Ok(netlink)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.socket.as_fd()
    }

    /// Sends messages in one piece and returns what came in answer.
    ///
    /// # Errors
    /// The first error that the kernel answered.
    pub(super) fn ask(&mut self, messages: Vec<Message>) -> io::Result<Vec<Answer>> {
        let mut piece = Vec::new();
        let mut waiting = 0;
        for message in messages {
            self.sequence += 1;
            waiting += usize::from(message.wants_answer());
            piece.extend(message.finish(self.sequence));
        }
        self.socket.send(&piece, 0)?;
        let mut answers = Vec::new();
        let mut failure = None;
        while waiting > 0 {
            let (datagram, _) = self.socket.recv_from_full()?;
            for (kind, body) in split(&datagram) {
                let ends = kind == DONE || kind == ERROR;
                if kind == ERROR {
                    let code = word(&body) as i32;
                    if code != 0 && failure.is_none() {
                        failure = Some(io::Error::from_raw_os_error(-code));
                    }
                } else if !ends {
                    answers.push(Answer { body });
                }
                waiting -= usize::from(ends);
                // A refused batch has errors for some of its messages only.
                if failure.is_some() {
                    return Err(self.drained(failure));
                }
            }
        }
        Ok(answers)
    }

    /// What has been heard since the last call.
    pub(super) fn heard(&self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Ok((datagram, _)) = self.socket.recv_from_full() {
            let parts = split(&datagram).map(|(_, body)| Answer { body });
            answers.extend(parts);
        }
        answers
    }

    /// Takes what else has come in answer to a refused batch off the socket.
    fn drained(&self, failure: Option<io::Error>) -> io::Error {
        let mut rest = [0u8; 4096];
        while rustix::net::recv(&self.socket, &mut rest, rustix::net::RecvFlags::DONTWAIT)
            .is_ok_and(|(got, _)| got > 0)
        {}
        failure.unwrap_or_else(|| io::ErrorKind::Other.into())
    }
}

impl std::fmt::Debug for Netlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Netlink({})", self.socket.as_raw_fd())
    }
}

/// The messages in a datagram: type and body.
fn split(mut bytes: &[u8]) -> impl Iterator<Item = (u16, Vec<u8>)> {
    std::iter::from_fn(move || {
        let len = word(bytes.get(..HEADER)?) as usize;
        let kind = u16::from_ne_bytes([bytes[4], bytes[5]]);
        let body = bytes.get(HEADER..len)?.to_vec();
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_nested() {
        let message = Message::new(16, 0, &[1, 2, 3, 4])
            .text(3, "eth0")
            .nested(4, &[(1, &[9]), (2, &[8, 8])])
            .finish(5);
        assert_eq!(word(&message) as usize, message.len());
        let (_, body) = split(&message).next().unwrap();
        let list: Vec<_> = attributes(&body[4..]).collect();
        assert_eq!((list[0].0, text(list[0].1)), (3, "eth0".to_owned()));
        let inside: Vec<_> = attributes(list[1].1).collect();
        assert_eq!(inside, [(1, &[9][..]), (2, &[8, 8][..])]);
    }

    #[test]
    fn malformed_bytes_end_the_iteration() {
        assert_eq!(attributes(&[3, 0, 0, 0]).count(), 0);
        assert_eq!(attributes(&[200, 0, 1, 0, 5]).count(), 0);
        assert_eq!(split(&[0; 16]).count(), 0);
        assert_eq!(split(&[1; 7]).count(), 0);
    }
}
