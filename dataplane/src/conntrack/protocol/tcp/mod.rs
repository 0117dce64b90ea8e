//! TCP: the state machine (RFC 9293, section 3.3.2 as a middlebox sees it) and its rules for resets.
//!
//! A connection is tracked from the SYN, or picked up in mid-stream. [`transition`] says which state
//! follows from which segment; a segment that may signal that the two hosts know better than we do (a
//! SYN on a connection that we believe to be alive, its answer) is let through and noted, not
//! believed, until the answer proves it. [`window`] then asks whether the segment lies in the window.
//! Meaning and order are those of Linux, so that a flow has the same state and timeout there and here.

mod options;
mod segment;
mod state;
mod window;

use self::segment::{Kind, Segment, bits};
pub(super) use self::segment::{check_flags, check_header};
use self::state::{Connection, MOST_RETRANSMISSIONS, Side, State, flag, note};
use super::super::invalid::InvalidReason;
use super::super::settings::Rules;
use super::super::status;
use super::super::timeouts::TimeoutClass;
use super::timeout::Timeout;
use super::{Judgement, Packet, ProtocolState};

/// What follows from a segment in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    To(State),
    /// It may be right although our state says otherwise: let through, noted.
    Ignore,
    Invalid,
}

/// The table of states. `reply`: the segment comes from the side that did not send the first one.
fn transition(kind: Kind, reply: bool, from: State) -> Next {
    use State::*;
    let invalid = Next::Invalid;
    match (kind, reply) {
        (Kind::Syn, false) => match from {
            // A new connection, its SYN again, or the ports of an old one used again.
            None | SynSent | TimeWait | Close => Next::To(SynSent),
            SynSent2 => Next::To(SynSent2),
            _ => Next::Ignore,
        },
        (Kind::Syn, true) => match from {
            // Simultaneous open.
            SynSent | SynSent2 => Next::To(SynSent2),
            // The ports of an old connection, with the roles exchanged.
            TimeWait => Next::To(SynSent),
            _ => invalid,
        },
        // Only in a simultaneous open does the first sender answer a SYN.
        (Kind::SynAck, false) => match from {
            SynRecv | SynSent2 => Next::To(SynRecv),
            _ => invalid,
        },
        (Kind::SynAck, true) => match from {
            None => invalid,
            SynSent | SynSent2 => Next::To(SynRecv),
            _ => Next::Ignore,
        },
        (Kind::Fin, _) => match from {
            None | SynSent | SynSent2 => invalid,
            SynRecv | Established => Next::To(FinWait),
            FinWait | CloseWait | LastAck => Next::To(LastAck),
            TimeWait => Next::To(TimeWait),
            Close => Next::To(Close),
        },
        (Kind::Ack, _) => match from {
            None if reply => invalid,
            // Picked up in mid-stream.
            None => Next::To(Established),
            // The answer to a SYN that the server takes for an old one.
            SynSent | SynSent2 if reply => Next::Ignore,
            SynSent | SynSent2 => invalid,
            SynRecv if reply => Next::To(SynRecv),
            SynRecv | Established => Next::To(Established),
            FinWait | CloseWait => Next::To(CloseWait),
            LastAck | TimeWait => Next::To(TimeWait),
            Close => Next::To(Close),
        },
        (Kind::Rst, _) if from != None => Next::To(Close),
        (Kind::Rst | Kind::None, _) => invalid,
    }
}

fn class(state: State) -> TimeoutClass {
    match state {
        // A connection is never stored without a state.
        State::None | State::SynSent => TimeoutClass::TcpSynSent,
        State::SynSent2 => TimeoutClass::TcpSynSent2,
        State::SynRecv => TimeoutClass::TcpSynRecv,
        State::Established => TimeoutClass::TcpEstablished,
        State::FinWait => TimeoutClass::TcpFinWait,
        State::CloseWait => TimeoutClass::TcpCloseWait,
        State::LastAck => TimeoutClass::TcpLastAck,
        State::TimeWait => TimeoutClass::TcpTimeWait,
        State::Close => TimeoutClass::TcpClose,
    }
}

/// The first segment of a connection.
pub(super) fn begin(
    packet: &Packet<'_>,
    rules: &Rules,
) -> Result<(ProtocolState, Timeout, u32), InvalidReason> {
    let segment = Segment::read(packet).ok_or(InvalidReason::HeaderShort)?;
    let mut connection = Connection::default();
    let first = &mut connection.sides[0];
    first.end = segment.end;
    first.max_window = u32::from(segment.window).max(1);
    match transition(segment.kind, false, State::None) {
        Next::To(State::SynSent) => {
            first.max_end = segment.end;
            first.read_options(segment.options);
        }
        Next::To(_) if !rules.loose => return Err(InvalidReason::TcpNotSyn),
        Next::To(_) => {
            first.max_end = segment.end.wrapping_add(first.max_window);
            // What was agreed when it began is not known: SACK is assumed, and windows, whose scale
            // nobody told us, are not judged.
            connection.sides[0].flags = flag::SACK | flag::LIBERAL;
            connection.sides[1].flags = flag::SACK | flag::LIBERAL;
        }
        Next::Ignore | Next::Invalid => return Err(InvalidReason::TcpNotSyn),
    }
    match judge(&mut connection, packet, &segment, 0, rules) {
        Judgement::Accept { timeout, status } => Ok((connection.pack(), timeout, status)),
        Judgement::Invalid { reason, .. } => Err(reason),
        // The first segment is neither a reset nor one that its fresh state would ignore.
        Judgement::Ignore { .. } | Judgement::Destroy | Judgement::Repeat => {
            Err(InvalidReason::TcpState)
        }
    }
}

/// A connection in the state of this name.
pub(super) fn in_state(old: &ProtocolState, name: &str) -> Option<(ProtocolState, TimeoutClass)> {
    let state = State::named(name)?;
    let mut connection = Connection::unpack(old);
    connection.state = state;
    connection.simultaneous = state == State::SynSent2;
    Some((connection.pack(), class(state)))
}

/// A further segment. `seen` are the connection's status bits as they were before it.
pub(super) fn next(
    state: &mut ProtocolState,
    packet: &Packet<'_>,
    seen: u32,
    rules: &Rules,
) -> Judgement {
    let Some(segment) = Segment::read(packet) else {
        return Judgement::invalid(InvalidReason::HeaderShort);
    };
    let mut connection = Connection::unpack(state);
    let judgement = judge(&mut connection, packet, &segment, seen, rules);
    *state = connection.pack();
    judgement
}

fn judge(
    connection: &mut Connection,
    packet: &Packet<'_>,
    segment: &Segment<'_>,
    seen: u32,
    rules: &Rules,
) -> Judgement {
    let reply = packet.is_reply();
    let mut from = connection.state;
    let mut to = match transition(segment.kind, reply, from) {
        Next::To(state) => state,
        Next::Invalid if probes_proxy(connection, segment, reply, seen) => {
            return Judgement::IGNORE;
        }
        Next::Invalid => return Judgement::invalid(InvalidReason::TcpState),
        Next::Ignore => match ignore(connection, segment, reply) {
            Some(synchronised) => {
                from = synchronised;
                State::SynRecv
            }
            None => return Judgement::IGNORE,
        },
    };
    let mut judge_window = true;
    match to {
        State::SynSent if matches!(from, State::TimeWait | State::Close) => {
            if connection.is_over(reply) {
                return Judgement::Repeat;
            }
            // Neither side closed it and no reset came: perhaps only we think that it is over.
            ignore(connection, segment, reply);
            return Judgement::IGNORE;
        }
        State::TimeWait if connection.answers_a_challenge(segment, reply) => {
            connection.last.note &= !note::CHALLENGE;
            return Judgement::IGNORE;
        }
        State::SynSent2 => connection.simultaneous = true,
        State::SynRecv if reply && segment.kind == Kind::Ack && connection.simultaneous => {
            to = State::Established;
        }
        State::Close if segment.kind == Kind::Rst => {
            match reset(connection, segment, reply, seen, rules) {
                None => return Judgement::invalid(InvalidReason::TcpRst),
                Some(meaning) => {
                    judge_window = meaning.judge_window;
                    if !meaning.closes {
                        to = from;
                    }
                }
            }
        }
        _ => {}
    }
    if judge_window {
        match window::judge(connection, segment, reply, rules.liberal) {
            window::Found::Inside => {}
            window::Found::Old => return Judgement::IGNORE,
            window::Found::Outside => {
                let lower = closing_outside(connection, segment, reply, seen);
                let reason = InvalidReason::TcpWindow;
                return Judgement::Invalid {
                    reason,
                    lower,
                    status: 0,
                };
            }
        }
    }
    connection.last.kind = segment.kind;
    connection.last.reply = reply;
    connection.state = to;
    if from != to && to == State::FinWait {
        connection.sides[usize::from(reply)].flags |= flag::CLOSE_INIT;
    }
    conclude(connection, segment, from, seen, rules)
}

/// Whether the client of a proxied connection, which knows of no SYN that waits, probes the window that the
/// proxy keeps closed: the octet before its first one, sent again.
fn probes_proxy(connection: &Connection, segment: &Segment<'_>, reply: bool, seen: u32) -> bool {
    seen & status::PROXIED != 0
        && connection.state == State::SynSent
        && segment.kind == Kind::Ack
        && !reply
        && !connection.last.reply
        && segment.seq == connection.sides[0].end.wrapping_sub(1)
}

/// A segment that our state does not explain. It is noted; when it is the server's answer to a SYN
/// that was noted before, client and server agree and we are the one who is wrong: then the
/// connection begins anew from what the SYN said. Yields the state to go on from.
fn ignore(connection: &mut Connection, segment: &Segment<'_>, reply: bool) -> Option<State> {
    let last = &mut connection.last;
    let answers = segment.kind == Kind::SynAck
        && last.kind == Kind::Syn
        && last.reply != reply
        && segment.ack == last.end;
    if answers {
        let told = last.note;
        let (end, max_window) = (last.end, u32::from(last.window).max(1));
        let client = &mut connection.sides[usize::from(!reply)];
        client.end = end;
        client.max_end = end;
        client.max_window = max_window;
        client.scale = note::scale(told);
        client.flags = note::flags(told);
        // Of a connection that was picked up we still do not know what the server agreed to.
        let server = &mut connection.sides[usize::from(reply)];
        *server = Side {
            flags: server.flags & flag::LIBERAL,
            ..Side::default()
        };
        return Some(State::SynSent);
    }
    last.kind = segment.kind;
    last.reply = reply;
    last.len = segment.len();
    last.end = segment.end;
    last.window = segment.window;
    last.note = 0;
    if segment.kind == Kind::Syn {
        last.len = 0;
    }
    if segment.kind == Kind::Syn && !reply {
        connection.simultaneous = false;
        let mut told = Side::default();
        told.read_options(segment.options);
        last.note = note::of(&told);
        // A host in LAST-ACK answers with a challenge (RFC 5961, section 4), which is not the
        // acknowledgement of its FIN.
        if connection.state == State::LastAck {
            last.note |= note::CHALLENGE;
        }
    }
    if connection.state == State::SynSent && segment.kind == Kind::Ack && reply {
        last.ack = segment.ack;
    }
    None
}

/// What a reset means.
struct Reset {
    /// It closes the connection. If not, its number is not exactly the next one: the receiver will ask
    /// back (RFC 5961, section 3), and until then the connection stays as it is.
    closes: bool,
    /// It has to lie in the window. If not, it answers a segment that we let through without believing
    /// it, and may acknowledge what we do not know of.
    judge_window: bool,
}

/// `None`: the reset's number lies before what the receiver has acknowledged.
fn reset(
    connection: &Connection,
    segment: &Segment<'_>,
    reply: bool,
    seen: u32,
    rules: &Rules,
) -> Option<Reset> {
    let last = &connection.last;
    let receiver = &connection.sides[usize::from(!reply)];
    let closes = Reset {
        closes: true,
        judge_window: true,
    };
    // The hosts may have begun anew behind our back: what we know of numbers is out of date.
    if connection.state.is_closing() {
        return Some(Reset {
            closes: true,
            judge_window: false,
        });
    }
    // Nor do we know them when a SYN was let through.
    let known = receiver.has(flag::MAX_ACK) && last.kind != Kind::Syn;
    if known {
        let established = connection.state == State::Established && seen & status::ASSURED != 0;
        // Number 0 is the answer to a SYN that was let through.
        if segment.seq == 0 && !established {
            return Some(closes);
        }
        if before(segment.seq, receiver.max_ack) && !rules.ignore_invalid_rst {
            return None;
        }
        // Right behind data of the same sender that has not been acknowledged yet.
        let train = last.kind == Kind::Ack && last.reply == reply && segment.seq == last.end;
        if !established || segment.seq == receiver.max_ack || train {
            return Some(closes);
        }
    }
    let noted = seen & status::SEEN_REPLY != 0 && last.kind == Kind::Syn && last.reply != reply
        || seen & status::ASSURED == 0 && last.kind == Kind::Ack;
    let answers_challenge = connection.state == State::SynSent
        && last.kind == Kind::Ack
        && last.reply
        && segment.seq == last.ack;
    let answers = noted && segment.ack == last.end || answers_challenge;
    Some(Reset {
        closes: !known,
        judge_window: !answers,
    })
}

/// A FIN or reset outside of the window: when both sides send one, connection and tracker no longer
/// agree, and the flow shall not stay for days. Yields whether its timeout is to be lowered.
fn closing_outside(
    connection: &mut Connection,
    segment: &Segment<'_>,
    reply: bool,
    seen: u32,
) -> bool {
    let last = &mut connection.last;
    let closing = |kind| matches!(kind, Kind::Rst | Kind::Fin);
    if seen & status::ASSURED == 0 || !closing(segment.kind) {
        return false;
    }
    if last.reply != reply && closing(last.kind) {
        return true;
    }
    last.kind = segment.kind;
    last.reply = reply;
    false
}

/// Timeout and status after a segment that was believed.
fn conclude(
    connection: &Connection,
    segment: &Segment<'_>,
    from: State,
    seen: u32,
    rules: &Rules,
) -> Judgement {
    let to = connection.state;
    let both = connection.sides[0].flags | connection.sides[1].flags;
    let mut timeout = Timeout::of(class(to));
    if segment.kind == Kind::Rst {
        timeout = Timeout::of(TimeoutClass::TcpClose);
    } else if both & flag::UNACKNOWLEDGED != 0 {
        timeout.limits[0] = Some(TimeoutClass::TcpUnack);
    } else if connection.last.window == 0 {
        timeout.limits[0] = Some(TimeoutClass::TcpRetrans);
    }
    if connection.last.retransmissions >= rules.max_retrans.min(MOST_RETRANSMISSIONS) {
        timeout = Timeout {
            class: class(to),
            limits: [Some(TimeoutClass::TcpRetrans), None],
        };
    }
    let mut set = 0;
    if seen & status::SEEN_REPLY == 0 {
        if segment.kind == Kind::Rst {
            return Judgement::Destroy;
        }
        // A SYN sent again does not keep the flow alive: else its translation would stay for ever.
        if segment.kind == Kind::Syn && from == State::SynSent {
            return Judgement::IGNORE;
        }
        // Picked up, and the other side has not been heard of.
        if to == State::Established {
            timeout.limits[1] = Some(TimeoutClass::TcpUnack);
        }
    } else if seen & status::ASSURED == 0
        && matches!(from, State::SynRecv | State::Established)
        && to == State::Established
    {
        set = status::ASSURED;
    }
    Judgement::Accept {
        timeout,
        status: set,
    }
}

/// Whether `a` comes before `b` among sequence numbers.
#[inline]
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether `a` comes after `b` among sequence numbers.
#[inline]
fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

impl Connection {
    /// Whether a SYN in TIME-WAIT or CLOSE begins a new connection: one side had closed it, or the
    /// sender of the SYN has reset it just before.
    fn is_over(&self, reply: bool) -> bool {
        let closed = (self.sides[0].flags | self.sides[1].flags) & flag::CLOSE_INIT != 0;
        closed || self.last.reply == reply && self.last.kind == Kind::Rst
    }

    /// Whether this is a challenge (RFC 5961) for a SYN that was let through in LAST-ACK.
    fn answers_a_challenge(&self, segment: &Segment<'_>, reply: bool) -> bool {
        self.state == State::LastAck
            && segment.kind == Kind::Ack
            && self.last.reply != reply
            && self.last.kind == Kind::Syn
            && self.last.note & note::CHALLENGE != 0
    }
}

/// Whether a full table may give the flow up although it is assured: it is closing.
pub(super) fn is_closing(state: &ProtocolState) -> bool {
    Connection::unpack(state).state.is_closing()
}

/// How far a connection has come, as far as a SYN proxy has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The SYN has not been answered.
    Opening,
    /// It has been.
    Answered {
        /// The largest window of the side that sent the SYN, not scaled.
        window: u16,
    },
    /// Closed by a reset, or begun anew and not believed yet.
    Closed,
    /// Beyond that.
    Other,
}

/// How far a connection has come.
pub fn stage(state: &ProtocolState) -> Stage {
    let connection = Connection::unpack(state);
    match connection.state {
        State::SynSent => Stage::Opening,
        State::SynRecv => Stage::Answered {
            window: u16::try_from(connection.sides[0].max_window).unwrap_or(u16::MAX),
        },
        State::Close => Stage::Closed,
        _ => Stage::Other,
    }
}

/// The state's name, as conntrack(8) prints it.
pub(super) fn state_name(state: &ProtocolState) -> &'static str {
    Connection::unpack(state).state.name()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
