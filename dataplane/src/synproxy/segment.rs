//! A TCP segment without payload: read from a packet, and made into a frame.

use arrayvec::ArrayVec;

use super::options::{self, Options};
use crate::packet::headers::{Headers, field};
use crate::packet::options::tcp_header;
use crate::packet::reply::{assemble, set_checksum};

/// TCP flags, as in the header's 14th byte.
pub mod flag {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Numbers begin.
    pub const SYN: u8 = 1 << 1;
    /// Reset.
    pub const RST: u8 = 1 << 2;
    /// The acknowledgement is one.
    pub const ACK: u8 = 1 << 4;
}

const HEADER: usize = 20;
/// Most bytes in front of the IP header: a link header with a tag.
const LINK: usize = 18;

/// A frame that holds one segment.
pub type Framed = ArrayVec<u8, { LINK + 40 + HEADER + options::LARGEST }>;

/// Where a frame goes that is made after another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Towards {
    /// To the sender of the other one.
    Sender,
    /// To its receiver.
    Receiver,
}

/// A segment without payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Bits of [`flag`].
    pub flags: u8,
    /// Window, as it stands in the header.
    pub window: u16,
    /// Those that matter in a handshake.
    pub options: Options,
}

impl Segment {
    /// Reads the header of a TCP packet; `None` when there is none, or it is cut off.
    pub fn read(frame: &[u8], headers: &Headers) -> Option<Self> {
        let found = tcp_header(frame, headers)?;
        let end = found.at + found.len;
        if end > headers.end as usize {
            return None;
        }
        let header = field::<HEADER>(frame, found.at)?;
        let word = |at: usize| {
            u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Some(Self {
            sport: half(0),
            dport: half(2),
            seq: word(4),
            ack: word(8),
            flags: header[13],
            window: half(14),
            options: Options::read(frame.get(found.at + HEADER..end)?),
        })
    }

    /// Whether all flags of these bits are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// A frame with this segment, its link and IP header made after those of a TCP packet of the same
    /// conversation. `None` when that has more in front of its IP header than a tag.
    pub fn framed(&self, (frame, headers): (&[u8], &Headers), towards: Towards) -> Option<Framed> {
        let network = usize::from(headers.network);
        if network > LINK {
            return None;
        }
        let packet = frame.get(network..headers.end as usize)?;
        let mut message = ArrayVec::<u8, { HEADER + options::LARGEST }>::new();
        message.extend(self.sport.to_be_bytes());
        message.extend(self.dport.to_be_bytes());
        message.extend(self.seq.to_be_bytes());
        message.extend(self.ack.to_be_bytes());
        message.extend([0, self.flags]);
        message.extend(self.window.to_be_bytes());
        message.extend([0; 4]);
        self.options.write(&mut message);
        message[12] = (message.len() as u8 / 4) << 4;
        set_checksum(packet, headers.l4proto, &mut message, 16);
        let turned = towards == Towards::Sender;
        Some(assemble(
            (frame, headers),
            headers.l4proto,
            &message,
            turned,
        ))
    }
}
