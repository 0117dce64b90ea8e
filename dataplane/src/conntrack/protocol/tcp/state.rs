//! What is kept of a connection, and how it fits into 48 bytes.
//!
//! | words | |
//! |---|---|
//! | 0-1, 2-3 | for each side: `end`, `max_end`, `max_window`, `max_ack`, 32 bits each |
//! | 4 | the last segment's `end` and `ack`, 32 bits each |
//! | 5 | its window (16) and length or note (16), flags of both sides (6, 6), scales (4, 4), state (4), retransmissions (4), kind (3), direction (1) |
//!
//! Of the last segment not the sequence number is kept but the length, which says the same. What an
//! ignored SYN said stands in the place of its length, under a kind of its own. Retransmissions stop
//! counting at [`MOST_RETRANSMISSIONS`]: that is what the setting is cut to.

use super::super::ProtocolState;
use super::Kind;

/// Bits of [`Side::flags`].
pub(super) mod flag {
    /// The side offered window scaling.
    pub(in super::super) const SCALE: u8 = 1;
    /// The side permitted selective acknowledgements.
    pub(in super::super) const SACK: u8 = 1 << 1;
    /// The side was the first to close.
    pub(in super::super) const CLOSE_INIT: u8 = 1 << 2;
    /// The side's segments are not asked for the window.
    pub(in super::super) const LIBERAL: u8 = 1 << 3;
    /// Data of the side has not been acknowledged.
    pub(in super::super) const UNACKNOWLEDGED: u8 = 1 << 4;
    /// [`Side::max_ack`](super::Side::max_ack) is known.
    pub(in super::super) const MAX_ACK: u8 = 1 << 5;
}

/// What is noted of a SYN that was let through without being believed.
pub(super) mod note {
    use super::{Side, flag};

    /// Its answer may be a challenge (RFC 5961).
    pub(in super::super) const CHALLENGE: u16 = 1 << 8;

    /// The options that it carried.
    pub(in super::super) fn of(side: &Side) -> u16 {
        u16::from(side.scale) << 4 | u16::from(side.flags & (flag::SCALE | flag::SACK))
    }

    pub(in super::super) fn flags(note: u16) -> u8 {
        (note & 0x0f) as u8
    }

    pub(in super::super) fn scale(note: u16) -> u8 {
        (note >> 4 & 0x0f) as u8
    }
}

/// State of a connection, by the names of conntrack(8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(in super::super) enum State {
    #[default]
    None = 0,
    SynSent = 1,
    SynRecv = 2,
    Established = 3,
    FinWait = 4,
    CloseWait = 5,
    LastAck = 6,
    TimeWait = 7,
    Close = 8,
    SynSent2 = 9,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::Established => "ESTABLISHED",
            Self::FinWait => "FIN_WAIT",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::SynSent2 => "SYN_SENT2",
        }
    }

    /// The state of a name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut all = (0..=Self::SynSent2 as u64).map(Self::from_bits);
        all.find(|state| state.name() == name)
    }

    /// Whether the hosts are closing the connection, or have.
    pub(super) fn is_closing(self) -> bool {
        matches!(
            self,
            Self::FinWait | Self::CloseWait | Self::LastAck | Self::TimeWait | Self::Close
        )
    }

    fn from_bits(bits: u64) -> Self {
        match bits {
            1 => Self::SynSent,
            2 => Self::SynRecv,
            3 => Self::Established,
            4 => Self::FinWait,
            5 => Self::CloseWait,
            6 => Self::LastAck,
            7 => Self::TimeWait,
            8 => Self::Close,
            9 => Self::SynSent2,
            _ => Self::None,
        }
    }
}

/// What one side has sent. All numbers are sequence numbers but `max_window`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Side {
    /// Behind the last octet that it sent.
    pub(super) end: u32,
    /// Behind the last octet that it may send: highest acknowledgement of the other side plus window.
    pub(super) max_end: u32,
    /// The largest window that it has offered, scaled, in octets; 0 before its first segment.
    pub(super) max_window: u32,
    /// The highest number that it has acknowledged.
    pub(super) max_ack: u32,
    /// Bits that its windows are shifted by, 0-14.
    pub(super) scale: u8,
    /// Bits of [`flag`].
    pub(super) flags: u8,
}

impl Side {
    #[inline]
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// The last segment of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Last {
    pub(super) end: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    /// Octets in sequence space.
    pub(super) len: u16,
    /// What is noted of an ignored SYN; stored in place of `len`, which is then 0.
    pub(super) note: u16,
    pub(super) kind: Kind,
    pub(super) reply: bool,
    pub(super) retransmissions: u8,
}

impl Default for Last {
    fn default() -> Self {
        Self {
            end: 0,
            ack: 0,
            window: 0,
            len: 0,
            note: 0,
            kind: Kind::None,
            reply: false,
            retransmissions: 0,
        }
    }
}

/// A connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Connection {
    pub(super) state: State,
    /// Both sides have sent a SYN before either was answered: known in SYN_SENT2 and SYN_RECV.
    pub(super) simultaneous: bool,
    /// First sender, other side.
    pub(super) sides: [Side; 2],
    pub(super) last: Last,
}

/// As many retransmissions are counted.
pub(super) const MOST_RETRANSMISSIONS: u8 = 15;
/// Stored state: SYN_RECV of a simultaneous open.
const SIMULTANEOUS: u64 = 10;
/// Stored kind: a SYN with a note.
const NOTED: u64 = 6;

impl Connection {
    pub(super) fn unpack(packed: &ProtocolState) -> Self {
        let words = &packed.0;
        let bits = words[5];
        let side = |number: usize| {
            let (first, second) = (words[number * 2], words[number * 2 + 1]);
            Side {
                end: (first >> 32) as u32,
                max_end: first as u32,
                max_window: (second >> 32) as u32,
                max_ack: second as u32,
                flags: (bits >> (26 - 6 * number) & 0x3f) as u8,
                scale: (bits >> (16 - 4 * number) & 0x0f) as u8,
            }
        };
        let (state, simultaneous) = match bits >> 8 & 0x0f {
            SIMULTANEOUS => (State::SynRecv, true),
            number => (State::from_bits(number), number == State::SynSent2 as u64),
        };
        let told = (bits >> 32) as u16;
        let kind = bits >> 1 & 7;
        let (len, note) = if kind == NOTED { (0, told) } else { (told, 0) };
        Self {
            state,
            simultaneous,
            sides: [side(0), side(1)],
            last: Last {
                end: (words[4] >> 32) as u32,
                ack: words[4] as u32,
                window: (bits >> 48) as u16,
                len,
                note,
                kind: Kind::from_bits(kind),
                reply: bits & 1 != 0,
                retransmissions: (bits >> 4 & 0x0f) as u8,
            },
        }
    }

    pub(super) fn pack(&self) -> ProtocolState {
        let high_low = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let [first, second] = &self.sides;
        let last = &self.last;
        let state = if self.simultaneous && self.state == State::SynRecv {
            SIMULTANEOUS
        } else {
            self.state as u64
        };
        let (kind, told) = match last.kind {
            Kind::Syn if last.len == 0 => (NOTED, last.note),
            kind => (kind as u64, last.len),
        };
        let bits = u64::from(last.window) << 48
            | u64::from(told) << 32
            | u64::from(first.flags) << 26
            | u64::from(second.flags) << 20
            | u64::from(first.scale) << 16
            | u64::from(second.scale) << 12
            | state << 8
            | u64::from(last.retransmissions) << 4
            | kind << 1
            | u64::from(last.reply);
        ProtocolState([
            high_low(first.end, first.max_end),
            high_low(first.max_window, first.max_ack),
            high_low(second.end, second.max_end),
            high_low(second.max_window, second.max_ack),
            high_low(last.end, last.ack),
            bits,
        ])
    }
}
