//! DCCP (RFC 4340): the connection's state, seen from the middle.
//!
//! Linux has dropped its tracker of DCCP (6.18 takes it for an unknown protocol without ports); this
//! one follows the RFC. The sender of a REQUEST is the client. A RESET ends a connection in every state;
//! SYNC and SYNCACK move nothing. A REQUEST on a connection that we believe to be alive is let through,
//! and believed when the server answers it.

use super::super::invalid::InvalidReason;
use super::super::settings::Rules;
use super::super::status;
use super::super::timeouts::TimeoutClass;
use super::timeout::Timeout;
use super::{Judgement, Packet, ProtocolState, checksum};
use crate::packet::headers::field;

/// Packet types.
mod kind {
    pub(super) const REQUEST: u8 = 0;
    pub(super) const RESPONSE: u8 = 1;
    pub(super) const DATA: u8 = 2;
    pub(super) const ACK: u8 = 3;
    pub(super) const DATA_ACK: u8 = 4;
    pub(super) const CLOSE_REQ: u8 = 5;
    pub(super) const CLOSE: u8 = 6;
    pub(super) const RESET: u8 = 7;
    pub(super) const SYNC: u8 = 8;
    pub(super) const SYNC_ACK: u8 = 9;
}

/// State of a connection, by the names of conntrack(8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum State {
    #[default]
    None = 0,
    Request = 1,
    Respond = 2,
    PartOpen = 3,
    Open = 4,
    CloseReq = 5,
    Closing = 6,
    TimeWait = 7,
}

impl State {
    const ALL: [Self; 8] = [
        Self::None,
        Self::Request,
        Self::Respond,
        Self::PartOpen,
        Self::Open,
        Self::CloseReq,
        Self::Closing,
        Self::TimeWait,
    ];

    fn class(self) -> TimeoutClass {
        match self {
            Self::None | Self::Request => TimeoutClass::DccpRequest,
            Self::Respond => TimeoutClass::DccpRespond,
            Self::PartOpen => TimeoutClass::DccpPartopen,
            Self::Open => TimeoutClass::DccpOpen,
            Self::CloseReq => TimeoutClass::DccpClosereq,
            Self::Closing => TimeoutClass::DccpClosing,
            Self::TimeWait => TimeoutClass::DccpTimewait,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Request => "REQUEST",
            Self::Respond => "RESPOND",
            Self::PartOpen => "PARTOPEN",
            Self::Open => "OPEN",
            Self::CloseReq => "CLOSEREQ",
            Self::Closing => "CLOSING",
            Self::TimeWait => "TIMEWAIT",
        }
    }
}

/// What is kept of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Connection {
    state: State,
    /// The client is the side that did not send the first packet.
    turned: bool,
    /// A REQUEST of this direction was let through last, without being believed.
    asked: Option<bool>,
    /// Sequence number of the RESPONSE, which its acknowledgement must name.
    response: u64,
}

impl Connection {
    fn unpack(packed: &ProtocolState) -> Self {
        let [bits, response, ..] = packed.0;
        let state = State::ALL.get((bits & 7) as usize).copied();
        Self {
            state: state.unwrap_or_default(),
            turned: bits >> 3 & 1 != 0,
            asked: (bits >> 4 & 1 != 0).then_some(bits >> 5 & 1 != 0),
            response,
        }
    }

    fn pack(&self) -> ProtocolState {
        let bits = self.state as u64
            | u64::from(self.turned) << 3
            | u64::from(self.asked.is_some()) << 4
            | u64::from(self.asked == Some(true)) << 5;
        ProtocolState([bits, self.response, 0, 0, 0, 0])
    }
}

/// A packet with its header read.
struct Message {
    kind: u8,
    sequence: u64,
    /// The number acknowledged, in packets that have one of 48 bits.
    acknowledged: Option<u64>,
}

impl Message {
    fn read(packet: &Packet<'_>) -> Option<Self> {
        let header = field::<12>(packet.bytes, packet.transport)?;
        let kind = header[8] >> 1 & 15;
        if header[8] & 1 == 0 {
            let sequence = u64::from(u32::from_be_bytes([0, header[9], header[10], header[11]]));
            return Some(Self {
                kind,
                sequence,
                acknowledged: None,
            });
        }
        let long = field::<16>(packet.bytes, packet.transport)?;
        let number = |at: [u8; 6]| {
            at.iter()
                .fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let acknowledged = field::<6>(packet.bytes, packet.transport + 18)
            .filter(|_| !matches!(kind, kind::REQUEST | kind::DATA));
        Some(Self {
            kind,
            sequence: number([long[10], long[11], long[12], long[13], long[14], long[15]]),
            acknowledged: acknowledged.map(number),
        })
    }
}

/// Checks header, coverage and checksum (RFC 4340, sections 5.1, 8.5 step 1 and 9).
pub(super) fn check(packet: &Packet<'_>, verify: bool) -> Result<(), InvalidReason> {
    let header = field::<12>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    let there = packet.bytes.len() - packet.transport;
    let header_len = usize::from(header[4]) * 4;
    let (kind, long) = (header[8] >> 1 & 15, header[8] & 1 != 0);
    let data = matches!(kind, kind::DATA | kind::ACK | kind::DATA_ACK);
    let least = if long { 16 } else { 12 };
    if header_len < least || header_len > there || kind > kind::SYNC_ACK || !long && !data {
        return Err(InvalidReason::DccpHeader);
    }
    let covered = match usize::from(header[5] & 15) {
        0 => there,
        told => header_len + (told - 1) * 4,
    };
    if covered > there {
        return Err(InvalidReason::DccpHeader);
    }
    if verify {
        checksum::verify(packet, covered)?;
    }
    Ok(())
}

/// What follows from a packet in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    To(State),
    Ignore,
    Invalid,
}

fn transition(kind: u8, server: bool, from: State) -> Next {
    use State::*;
    match (kind, server) {
        (kind::REQUEST, _) => match from {
            TimeWait => Next::To(Request),
            None | Request if !server => Next::To(Request),
            None => Next::Invalid,
            _ => Next::Ignore,
        },
        (kind::RESPONSE, true) => match from {
            Request | Respond => Next::To(Respond),
            PartOpen | Open | CloseReq | Closing => Next::Ignore,
            None | TimeWait => Next::Invalid,
        },
        (kind::RESPONSE, false) => match from {
            None | TimeWait => Next::Invalid,
            // Whoever answers may be the server of a connection that we do not know of.
            _ => Next::Ignore,
        },
        (kind::ACK | kind::DATA_ACK, false) => match from {
            Respond | PartOpen => Next::To(PartOpen),
            // Picked up in mid-stream.
            None => Next::To(Open),
            Open | CloseReq | Closing => Next::To(from),
            Request | TimeWait => Next::Invalid,
        },
        (kind::DATA, false) => match from {
            None => Next::To(Open),
            // Section 8.1.5: until the server is heard of, data carries an acknowledgement.
            Request | Respond | PartOpen | TimeWait => Next::Invalid,
            Open | CloseReq | Closing => Next::To(from),
        },
        (kind::DATA | kind::ACK | kind::DATA_ACK, true) => match from {
            PartOpen | Open => Next::To(Open),
            CloseReq | Closing => Next::To(from),
            None | Request | Respond | TimeWait => Next::Invalid,
        },
        // Only the server asks the client to close (section 8.3).
        (kind::CLOSE_REQ, true) => match from {
            PartOpen | Open | CloseReq => Next::To(CloseReq),
            Closing => Next::To(Closing),
            None | Request | Respond | TimeWait => Next::Invalid,
        },
        (kind::CLOSE, _) => match from {
            Respond if !server => Next::To(Closing),
            PartOpen | Open | CloseReq | Closing => Next::To(Closing),
            None | Request | Respond | TimeWait => Next::Invalid,
        },
        (kind::RESET, _) => match from {
            None => Next::Invalid,
            _ => Next::To(TimeWait),
        },
        (kind::SYNC | kind::SYNC_ACK, _) => match from {
            None | TimeWait => Next::Invalid,
            Request | Respond => Next::Ignore,
            PartOpen | Open | CloseReq | Closing => Next::To(from),
        },
        _ => Next::Invalid,
    }
}

/// The first packet of a connection.
pub(super) fn begin(
    packet: &Packet<'_>,
    rules: &Rules,
) -> Result<(ProtocolState, Timeout, u32), InvalidReason> {
    let message = Message::read(packet).ok_or(InvalidReason::HeaderShort)?;
    let Next::To(state) = transition(message.kind, false, State::None) else {
        return Err(InvalidReason::DccpState);
    };
    if state != State::Request && !rules.loose {
        return Err(InvalidReason::DccpState);
    }
    let connection = Connection {
        state,
        ..Connection::default()
    };
    Ok((connection.pack(), Timeout::of(state.class()), 0))
}

/// A further packet. `seen` are the connection's status bits as they were before it.
pub(super) fn next(state: &mut ProtocolState, packet: &Packet<'_>, seen: u32) -> Judgement {
    let Some(message) = Message::read(packet) else {
        return Judgement::invalid(InvalidReason::HeaderShort);
    };
    let mut connection = Connection::unpack(state);
    let judgement = connection.judge(&message, packet.is_reply(), seen);
    *state = connection.pack();
    judgement
}

impl Connection {
    fn judge(&mut self, message: &Message, reply: bool, seen: u32) -> Judgement {
        let server = reply != self.turned;
        let from = self.state;
        let to = match transition(message.kind, server, from) {
            Next::To(to) => to,
            Next::Invalid => return Judgement::invalid(InvalidReason::DccpState),
            Next::Ignore if message.kind == kind::RESPONSE && self.asked == Some(!reply) => {
                // Client and server agree: it is us who were wrong.
                self.turned = !reply;
                State::Respond
            }
            Next::Ignore => {
                self.asked = (message.kind == kind::REQUEST).then_some(reply);
                return Judgement::IGNORE;
            }
        };
        self.asked = None;
        let mut set = 0;
        match (from, to) {
            // Used again, perhaps with the roles exchanged.
            (State::TimeWait, State::Request) => self.turned = reply,
            (_, State::Respond) => self.response = message.sequence,
            (State::Respond, State::PartOpen) if message.acknowledged == Some(self.response) => {
                set = status::ASSURED;
            }
            // Picked up, and answered.
            (State::Open, State::Open) if reply && seen & status::ASSURED == 0 => {
                set = status::ASSURED;
            }
            _ => {}
        }
        self.state = to;
        Judgement::accept(to.class(), set)
    }
}

/// Whether a full table may give the flow up although it is assured: it is closing.
pub(super) fn is_closing(state: &ProtocolState) -> bool {
    matches!(
        Connection::unpack(state).state,
        State::CloseReq | State::Closing | State::TimeWait
    )
}

/// The same connection with the other side as the client.
pub(super) fn turned(old: &ProtocolState) -> ProtocolState {
    let old = Connection::unpack(old);
    Connection {
        turned: true,
        ..old
    }
    .pack()
}

/// The same connection in the state of this name.
pub(super) fn in_state(old: &ProtocolState, name: &str) -> Option<(ProtocolState, TimeoutClass)> {
    let state = State::ALL.into_iter().find(|state| state.name() == name)?;
    let packed = Connection {
        state,
        ..Connection::unpack(old)
    }
    .pack();
    Some((packed, state.class()))
}

/// The state's name, as conntrack(8) prints it.
pub(super) fn state_name(state: &ProtocolState) -> &'static str {
    Connection::unpack(state).state.name()
}

#[cfg(test)]
#[path = "dccp_tests.rs"]
mod tests;
