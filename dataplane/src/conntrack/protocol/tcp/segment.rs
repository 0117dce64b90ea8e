//! A segment as the state machine sees it: what kind it is, and its numbers.

use super::super::super::invalid::InvalidReason;
use super::super::super::sequence::Offsets;
use super::super::Packet;
use crate::packet::headers::field;

/// TCP flags, as in the header's 14th byte.
pub(super) mod bits {
    pub(in super::super) const FIN: u8 = 0x01;
    pub(in super::super) const SYN: u8 = 0x02;
    pub(in super::super) const RST: u8 = 0x04;
    pub(in super::super) const PSH: u8 = 0x08;
    pub(in super::super) const ACK: u8 = 0x10;
    pub(in super::super) const URG: u8 = 0x20;
    pub(in super::super) const ECE: u8 = 0x40;
    pub(in super::super) const CWR: u8 = 0x80;
}

/// What a segment is for the state machine: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Nothing was seen yet.
    None = 0,
    /// A reset.
    Rst = 1,
    /// A SYN without ACK.
    Syn = 2,
    /// A SYN with ACK.
    SynAck = 3,
    /// A FIN.
    Fin = 4,
    /// An ACK and nothing else of these.
    Ack = 5,
}

/// A segment, with its numbers read and its end computed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) seq: u32,
    /// As the other side counts what it has sent: where numbers are adjusted on their way, the sender
    /// has acknowledged what it has seen of them.
    pub(super) ack: u32,
    /// Behind its last octet; SYN and FIN count as one each.
    pub(super) end: u32,
    pub(super) window: u16,
    pub(super) options: &'a [u8],
    pub(super) acknowledged: Offsets,
}

impl<'a> Segment<'a> {
    /// Reads the header. `None` when it is cut off or its length is wrong.
    pub(super) fn read(packet: &Packet<'a>) -> Option<Self> {
        let bytes = packet.bytes;
        let header = field::<20>(bytes, packet.transport)?;
        let word = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let header_len = usize::from(header[12] >> 4) * 4;
        let options = bytes.get(packet.transport + 20..packet.transport + header_len)?;
        let flags = header[13];
        let payload = bytes.len() - packet.transport - header_len;
        let counts = u32::from(flags & bits::SYN != 0) + u32::from(flags & bits::FIN != 0);
        let seq = word(4);
        // A reset with ACK and number 0 acknowledges nothing.
        let ack = match word(8) {
            0 if flags & bits::RST != 0 => 0,
            ack if flags & bits::ACK != 0 => packet.acknowledged.back(ack),
            ack => ack,
        };
        Some(Self {
            kind: kind(flags),
            flags,
            seq,
            ack,
            end: seq.wrapping_add(payload as u32).wrapping_add(counts),
            window: u16::from_be_bytes([header[14], header[15]]),
            options,
            acknowledged: packet.acknowledged,
        })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Octets in sequence space; more than 65,535 do not fit an IP packet.
    pub(super) fn len(&self) -> u16 {
        self.end.wrapping_sub(self.seq) as u16
    }
}

impl Kind {
    pub(super) fn from_bits(bits: u64) -> Self {
        match bits {
            1 => Self::Rst,
            2 | 6 => Self::Syn,
            3 => Self::SynAck,
            4 => Self::Fin,
            5 => Self::Ack,
            _ => Self::None,
        }
    }
}

fn kind(flags: u8) -> Kind {
    if flags & bits::RST != 0 {
        Kind::Rst
    } else if flags & bits::SYN != 0 {
        if flags & bits::ACK != 0 {
            Kind::SynAck
        } else {
            Kind::Syn
        }
    } else if flags & bits::FIN != 0 {
        Kind::Fin
    } else if flags & bits::ACK != 0 {
        Kind::Ack
    } else {
        Kind::None
    }
}

/// Checks the header's length.
pub(in super::super) fn check_header(packet: &Packet<'_>) -> Result<(), InvalidReason> {
    let header = field::<20>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    let header_len = usize::from(header[12] >> 4) * 4;
    if header_len < 20 || packet.transport + header_len > packet.bytes.len() {
        return Err(InvalidReason::LengthBad);
    }
    Ok(())
}

/// Checks for combinations of flags that no host sends. ECE, CWR and PSH may stand with any.
pub(in super::super) fn check_flags(packet: &Packet<'_>) -> Result<(), InvalidReason> {
    let flags = packet.bytes.get(packet.transport + 13).copied();
    let (syn, fin, rst, ack, urg) = (bits::SYN, bits::FIN, bits::RST, bits::ACK, bits::URG);
    let told = flags.unwrap_or(0) & !(bits::ECE | bits::CWR | bits::PSH);
    let allowed = [
        syn,
        syn | urg,
        syn | ack,
        rst,
        rst | ack,
        fin | ack,
        fin | ack | urg,
        ack,
        ack | urg,
    ];
    if allowed.contains(&told) {
        Ok(())
    } else {
        Err(InvalidReason::TcpFlags)
    }
}
