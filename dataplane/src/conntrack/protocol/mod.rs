//! State machines of the protocols: pure functions over one packet and a flow's state.
//!
//! No table, no clock, no allocation. The tracker finds the transport header ([`locate`]), leaves out
//! what is never tracked ([`is_untracked`]), checks the packet ([`check`]), takes an error to the flow it
//! is about ([`is_error`], [`inner`]), extracts the tuple ([`ports`], [`invert`]), and calls [`begin`] for the
//! first packet of a flow and [`next`] for each further one, under the flow's lock unless [`steady`]
//! says that there is nothing to do.
//!
//! The meaning is that of Linux 6.18; where it differs, the module of the protocol says so.

mod checksum;
mod dccp;
mod error;
mod generic;
mod gre;
mod icmp;
mod icmpv6;
mod sctp;
mod tcp;
mod timeout;
mod udp;
mod udplite;

#[cfg(test)]
pub(crate) mod testing;

pub use error::{inner, is_error, is_error_type, locate};
pub use tcp::{Stage, stage};
pub use timeout::Timeout;

use super::invalid::InvalidReason;
use super::sequence::Offsets;
use super::settings::Rules;
use super::status;
use super::timeouts::TimeoutClass;
use super::tuple::Tuple;
use crate::packet::headers::{field, protocol as number};
use crate::program::key::Direction;

/// What is known of the transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// It has to be verified.
    Verify,
    /// It is still to be completed (offload): there is nothing to verify.
    Partial,
    /// It is known to be right, or nobody wants it verified.
    Good,
}

/// A packet as the state machines see it.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// 2 IPv4, 10 IPv6.
    pub l3: u8,
    /// Transport protocol number.
    pub protocol: u8,
    /// From the network header to the end of the IP packet.
    pub bytes: &'a [u8],
    /// Where the transport header begins in `bytes`; not beyond their end.
    pub transport: usize,
    /// The direction that it goes.
    pub direction: Direction,
    /// What is known of its checksum.
    pub sum: Sum,
    /// How numbers of the other direction are shifted before the sender of this packet sees, and so
    /// acknowledges, them.
    pub acknowledged: Offsets,
}

impl Packet<'_> {
    fn is_reply(&self) -> bool {
        self.direction == Direction::Reply
    }
}

/// The state of a flow's protocol: each state machine packs its own into these words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ProtocolState(pub [u64; 6]);

/// What a state machine says of a packet of a known flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It belongs to the flow.
    Accept {
        /// The flow's timeout from here on.
        timeout: Timeout,
        /// Status bits to set beyond `SEEN_REPLY`, which the tracker sets itself.
        status: u32,
    },
    /// It belongs to the flow, whose timeout and counters stay as they were.
    Ignore {
        /// Status bits to set.
        status: u32,
    },
    /// It is invalid.
    Invalid {
        /// Why.
        reason: InvalidReason,
        /// The flow's timeout becomes that of [`TimeoutClass::TcpUnack`] if at least 120 s, and more
        /// than that, are left of it.
        lower: bool,
        /// Status bits to set: what a part of it did that was right.
        status: u32,
    },
    /// It belongs to the flow and ends it at once.
    Destroy,
    /// The flow is over: it is forgotten, and the packet is looked at as the first of a new one.
    Repeat,
}

impl Judgement {
    /// What must be left of a flow's timeout for an invalid packet to lower it, in seconds.
    pub const LOWER_FROM: u32 = 120;

    fn accept(class: TimeoutClass, status: u32) -> Self {
        Self::Accept {
            timeout: Timeout::of(class),
            status,
        }
    }

    /// Let through, and nothing else.
    const IGNORE: Self = Self::Ignore { status: 0 };

    fn invalid(reason: InvalidReason) -> Self {
        Self::Invalid {
            reason,
            lower: false,
            status: 0,
        }
    }
}

/// Ports (or what stands for them) of a packet's tuple.
///
/// # Errors
/// When the transport header does not hold them.
pub fn ports(packet: &Packet<'_>) -> Result<(u16, u16), InvalidReason> {
    let short = InvalidReason::HeaderShort;
    let word = |high, low| u16::from_be_bytes([high, low]);
    match packet.protocol {
        number::TCP | number::UDP | number::UDPLITE | number::SCTP | number::DCCP => {
            let [s0, s1, d0, d1] = field(packet.bytes, packet.transport).ok_or(short)?;
            Ok((word(s0, s1), word(d0, d1)))
        }
        number::ICMP | number::ICMPV6 => {
            let [kind, code, _, _, id0, id1, _, _] =
                field(packet.bytes, packet.transport).ok_or(short)?;
            Ok((word(id0, id1), word(kind, code)))
        }
        gre::NUMBER => gre::ports(packet),
        _ => Ok((0, 0)),
    }
}

/// The tuple of the answers to a tuple's packets. `None` for an ICMP type that has no answer.
pub fn invert(tuple: &Tuple) -> Option<Tuple> {
    let turned = tuple.turned();
    let [kind, code] = tuple.dport.to_be_bytes();
    let answer = match tuple.protocol {
        number::ICMP => icmp::counterpart(kind)?,
        number::ICMPV6 => icmpv6::counterpart(kind)?,
        _ => {
            return Some(Tuple {
                sport: tuple.dport,
                dport: tuple.sport,
                ..turned
            });
        }
    };
    Some(Tuple {
        dport: u16::from_be_bytes([answer, code]),
        ..turned
    })
}

/// Whether a packet is never tracked: neighbour discovery and multicast listeners of IPv6.
pub fn is_untracked(packet: &Packet<'_>) -> bool {
    packet.protocol == number::ICMPV6
        && packet
            .bytes
            .get(packet.transport)
            .is_some_and(|kind| icmpv6::is_untracked(*kind))
}

/// Checks what does not depend on a flow: lengths, checksums, impossible flags.
///
/// # Errors
/// With what is wrong.
pub fn check(packet: &Packet<'_>, rules: &Rules) -> Result<(), InvalidReason> {
    let verify = packet.sum == Sum::Verify && rules.checksum;
    match packet.protocol {
        number::TCP => {
            tcp::check_header(packet)?;
            if verify {
                checksum::verify(packet, packet.bytes.len() - packet.transport)?;
            }
            tcp::check_flags(packet)
        }
        number::UDP => udp::check(packet, verify),
        number::UDPLITE => udplite::check(packet, verify),
        number::ICMP => icmp::check(packet, verify),
        number::ICMPV6 => icmpv6::check(packet, verify),
        number::SCTP => sctp::check(packet, verify),
        number::DCCP => dccp::check(packet, verify),
        _ => Ok(()),
    }
}

/// The class of a flow whose next packet changes no state while it has these status bits: it is
/// refreshed without its lock and without its state. `young` is asked of UDP only: whether the flow cannot be
/// a stream yet.
#[inline]
pub fn steady(protocol: u8, bits: u32, young: impl FnOnce() -> bool) -> Option<TimeoutClass> {
    let (seen, assured) = (bits & status::SEEN_REPLY != 0, bits & status::ASSURED != 0);
    match protocol {
        number::UDP if !seen => Some(TimeoutClass::UdpUnreplied),
        number::UDP if assured => Some(TimeoutClass::UdpReplied),
        number::UDP if young() => Some(TimeoutClass::UdpUnreplied),
        number::UDPLITE if !seen => Some(TimeoutClass::UdpliteUnreplied),
        number::UDPLITE if assured => Some(TimeoutClass::UdpliteReplied),
        gre::NUMBER if !seen => Some(TimeoutClass::GreUnreplied),
        gre::NUMBER if assured => Some(TimeoutClass::GreReplied),
        number::ICMP => Some(TimeoutClass::Icmp),
        number::ICMPV6 => Some(TimeoutClass::Icmpv6),
        number::TCP | number::SCTP | number::DCCP | number::UDP | number::UDPLITE => None,
        gre::NUMBER => None,
        _ => Some(TimeoutClass::Generic),
    }
}

/// The first packet of a flow: its state, its timeout and status bits to set.
///
/// # Errors
/// When it may not begin one.
pub fn begin(
    packet: &Packet<'_>,
    rules: &Rules,
    now_ns: u64,
) -> Result<(ProtocolState, Timeout, u32), InvalidReason> {
    let stateless = |class| Ok((ProtocolState::default(), Timeout::of(class), 0));
    let kind = packet.bytes.get(packet.transport).copied();
    match packet.protocol {
        number::TCP => tcp::begin(packet, rules),
        number::UDP => Ok(udp::begin(now_ns)),
        number::UDPLITE => stateless(TimeoutClass::UdpliteUnreplied),
        number::ICMP if kind.is_some_and(icmp::may_begin) => stateless(TimeoutClass::Icmp),
        number::ICMPV6 if kind.is_some_and(icmpv6::may_begin) => stateless(TimeoutClass::Icmpv6),
        number::ICMP | number::ICMPV6 => Err(InvalidReason::IcmpType),
        number::SCTP => sctp::begin(packet),
        number::DCCP => dccp::begin(packet, rules),
        gre::NUMBER => stateless(TimeoutClass::GreUnreplied),
        _ => stateless(TimeoutClass::Generic),
    }
}

/// A further packet of a flow; `bits` are the flow's status bits as they were before it: with the first
/// answer `SEEN_REPLY` is not among them yet. An invalid packet may change what is noted of a flow, so
/// the state is stored again whatever the judgement.
pub fn next(
    state: &mut ProtocolState,
    packet: &Packet<'_>,
    bits: u32,
    rules: &Rules,
    now_ns: u64,
) -> Judgement {
    match packet.protocol {
        number::TCP => tcp::next(state, packet, bits, rules),
        number::UDP => udp::next(state, bits, now_ns),
        number::UDPLITE => udplite::next(bits),
        number::ICMP => Judgement::accept(TimeoutClass::Icmp, 0),
        number::ICMPV6 => Judgement::accept(TimeoutClass::Icmpv6, 0),
        number::SCTP => sctp::next(state, packet),
        number::DCCP => dccp::next(state, packet, bits),
        gre::NUMBER => gre::next(bits),
        _ => generic::next(),
    }
}

/// The name of a flow's state, for protocols that have states (`ESTABLISHED`, ...).
pub fn state_name(protocol: u8, state: &ProtocolState) -> Option<&'static str> {
    match protocol {
        number::TCP => Some(tcp::state_name(state)),
        number::SCTP => Some(sctp::state_name(state)),
        number::DCCP => Some(dccp::state_name(state)),
        _ => None,
    }
}

/// A flow's state as control sets it, by the name that [`state_name`] gives: what else is known of the
/// connection stays. `None` when the protocol has no such state.
pub fn in_state(
    protocol: u8,
    old: &ProtocolState,
    name: &str,
) -> Option<(ProtocolState, TimeoutClass)> {
    match protocol {
        number::TCP => tcp::in_state(old, name),
        number::SCTP => sctp::in_state(old, name),
        number::DCCP => dccp::in_state(old, name),
        _ => None,
    }
}

/// An SCTP association whose packets of each direction carry these verification tags (0: unknown).
pub fn with_tags(old: &ProtocolState, tags: [u32; 2]) -> ProtocolState {
    sctp::with_tags(old, tags)
}

/// A DCCP connection whose first packet came from the server.
pub fn turned(old: &ProtocolState) -> ProtocolState {
    dccp::turned(old)
}

/// What the timeout of a flow depends on whose protocol has no states; `bits` are its status bits.
pub fn class(protocol: u8, bits: u32) -> TimeoutClass {
    let stream = bits & (status::SEEN_REPLY | status::ASSURED);
    let stream = stream == status::SEEN_REPLY | status::ASSURED;
    match protocol {
        number::UDP if !stream => TimeoutClass::UdpUnreplied,
        number::UDPLITE if !stream => TimeoutClass::UdpliteUnreplied,
        gre::NUMBER if !stream => TimeoutClass::GreUnreplied,
        _ => {
            let assured = status::SEEN_REPLY | status::ASSURED;
            steady(protocol, assured, || false).unwrap_or(TimeoutClass::Generic)
        }
    }
}

/// Whether a full table may give up a flow although it is assured: its hosts are closing it.
pub fn is_closing(protocol: u8, state: &ProtocolState) -> bool {
    match protocol {
        number::TCP => tcp::is_closing(state),
        number::SCTP => sctp::is_closing(state),
        number::DCCP => dccp::is_closing(state),
        _ => false,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
