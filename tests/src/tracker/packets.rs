//! IP packets between the two hosts.

use sluice_dataplane::packet::checksum::{checksum, crc32c_of_sctp, fold, pseudo_header, sum};

use super::Side;
use crate::frames::{LEFT_IP, LEFT_IP6, RIGHT_IP, RIGHT_IP6};

/// An IP packet around a transport message whose checksum is filled in.
pub fn ip(v6: bool, protocol: u8, from: Side, message: &[u8]) -> Vec<u8> {
    let (mut source, mut destination) = if v6 {
        (LEFT_IP6.to_vec(), RIGHT_IP6.to_vec())
    } else {
        (LEFT_IP.to_vec(), RIGHT_IP.to_vec())
    };
    if from == Side::Right {
        std::mem::swap(&mut source, &mut destination);
    }
    let addresses = [source, destination].concat();
    let mut message = message.to_vec();
    complete(v6, protocol, &addresses, &mut message);
    let mut packet = if v6 {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        header[4..6].copy_from_slice(&(message.len() as u16).to_be_bytes());
        header.extend(&addresses);
        header
    } else {
        let mut header = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
        header[2..4].copy_from_slice(&(20 + message.len() as u16).to_be_bytes());
        header.extend(&addresses);
        let value = checksum(&header);
        header[10..12].copy_from_slice(&value.to_be_bytes());
        header
    };
    packet.extend(message);
    packet
}

/// Fills the transport checksum in, where there is room for one.
fn complete(v6: bool, protocol: u8, addresses: &[u8], message: &mut [u8]) {
    let at = match protocol {
        1 | 58 => 2,
        6 => 16,
        17 | 136 | 33 => 6,
        132 => {
            if let Some(crc) = crc32c_of_sctp(message) {
                message[8..12].copy_from_slice(&crc.to_le_bytes());
            }
            return;
        }
        _ => return,
    };
    if message.len() < at + 2 {
        return;
    }
    message[at..at + 2].fill(0);
    let pseudo = if !v6 && protocol == 1 {
        0
    } else {
        pseudo_header(addresses, protocol, message.len() as u32)
    };
    let value = match !fold(pseudo + sum(message)) {
        0 if protocol == 17 || protocol == 136 => 0xffff,
        value => value,
    };
    message[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Source and destination port as a packet of this side has them; `client` is the left one's.
pub fn ports(from: Side, client: u16, server: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = match from {
        Side::Left => (client.to_be_bytes(), server.to_be_bytes()),
        Side::Right => (server.to_be_bytes(), client.to_be_bytes()),
    };
    [a, b, c, d]
}

/// TCP flags.
pub mod flag {
    /// FIN.
    pub const FIN: u8 = 1;
    /// SYN.
    pub const SYN: u8 = 2;
    /// RST.
    pub const RST: u8 = 4;
    /// ACK.
    pub const ACK: u8 = 16;
}

/// A TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Flags.
    pub flags: u8,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement.
    pub ack: u32,
    /// Window, as written.
    pub window: u16,
    /// Options; padded with NOPs.
    pub options: Vec<u8>,
    /// Bytes of payload.
    pub len: usize,
}

impl Segment {
    /// A segment with a window of 1000 and nothing else.
    pub fn new(flags: u8, seq: u32, ack: u32) -> Self {
        Self {
            flags,
            seq,
            ack,
            window: 1000,
            options: Vec::new(),
            len: 0,
        }
    }

    /// The same with a payload.
    #[must_use]
    pub fn data(self, len: usize) -> Self {
        Self { len, ..self }
    }

    /// The same with another window.
    #[must_use]
    pub fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// The same with options.
    #[must_use]
    pub fn options(self, options: &[u8]) -> Self {
        Self {
            options: options.to_vec(),
            ..self
        }
    }

    /// The TCP message.
    pub fn message(&self, from: Side, client: u16) -> Vec<u8> {
        let padded = self.options.len().next_multiple_of(4);
        let mut message = ports(from, client, 80).to_vec();
        message.extend(self.seq.to_be_bytes());
        message.extend(self.ack.to_be_bytes());
        message.extend([((20 + padded) * 4) as u8, self.flags]);
        message.extend(self.window.to_be_bytes());
        message.extend([0; 4]);
        message.extend(&self.options);
        message.resize(20 + padded, 1);
        message.resize(20 + padded + self.len, 0x55);
        message
    }

    /// For a person.
    pub fn describe(&self) -> String {
        let names = [(2, "SYN"), (1, "FIN"), (4, "RST"), (16, "ACK")];
        let flags: Vec<_> = names
            .iter()
            .filter(|(bit, _)| self.flags & bit != 0)
            .map(|(_, name)| *name)
            .collect();
        format!(
            "{} seq {} ack {} win {} len {} options {:?}",
            flags.join("+"),
            self.seq,
            self.ack,
            self.window,
            self.len,
            self.options
        )
    }
}

/// An SCTP chunk.
pub fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, flags];
    bytes.extend((4 + value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// INIT (1) or INIT-ACK (2) that announces a tag.
pub fn announce(kind: u8, tag: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.extend([0, 0, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    chunk(kind, 0, &value)
}

/// An SCTP message.
pub fn sctp(from: Side, client: u16, tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut message = ports(from, client, 80).to_vec();
    message.extend(tag.to_be_bytes());
    message.extend([0; 4]);
    message.extend(chunks.concat());
    message
}
