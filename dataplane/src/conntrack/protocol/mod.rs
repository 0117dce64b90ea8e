//! State machines of the protocols: pure functions over one packet and a flow's state.
//!
//! No table, no clock, no allocation: the tracker extracts the tuple with [`ports`], checks the packet
//! with [`check`], and calls [`begin`] for the first packet of a flow and [`next`] for each further
//! one, under the flow's lock unless [`steady`] says that there is nothing to do.

use super::invalid::InvalidReason;
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
    /// Where the transport header begins in `bytes`.
    pub transport: usize,
    /// The direction that it goes.
    pub direction: Direction,
    /// What is known of its checksum.
    pub sum: Sum,
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
        class: TimeoutClass,
        /// Status bits to set beyond `SEEN_REPLY`, which the tracker sets itself.
        status: u32,
    },
    /// It belongs to the flow, whose timeout stays as it was.
    Ignore,
    /// It is invalid; the flow stays as it was.
    Invalid(InvalidReason),
    /// It ends the flow at once, and is itself accepted (`None`) or invalid.
    Destroy(Option<InvalidReason>),
    /// The flow is over: it is forgotten, and the packet is looked at as the first of a new one.
    Repeat,
}

/// Ports (or what stands for them) of a packet's tuple.
///
/// # Errors
/// When the transport header does not hold them.
pub fn ports(packet: &Packet<'_>) -> Result<(u16, u16), InvalidReason> {
    let pair = || {
        field::<4>(packet.bytes, packet.transport)
            .map(|b| {
                (
                    u16::from_be_bytes([b[0], b[1]]),
                    u16::from_be_bytes([b[2], b[3]]),
                )
            })
            .ok_or(InvalidReason::HeaderShort)
    };
    match packet.protocol {
        number::TCP | number::UDP | number::UDPLITE | number::SCTP | number::DCCP => pair(),
        number::ICMP | number::ICMPV6 => {
            let bytes =
                field::<6>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
            Ok((
                u16::from_be_bytes([bytes[4], bytes[5]]),
                u16::from_be_bytes([bytes[0], bytes[1]]),
            ))
        }
        _ => Ok((0, 0)),
    }
}

/// The tuple of the answers to a tuple's packets. `None` for an ICMP type that has no answer.
pub fn invert(tuple: &Tuple) -> Option<Tuple> {
    let turned = tuple.turned();
    match tuple.protocol {
        number::ICMP | number::ICMPV6 => {
            let answer = match (tuple.protocol, tuple.dport >> 8) {
                (number::ICMP, 8) => 0,
                (number::ICMP, 0) => 8,
                (number::ICMP, 13) => 14,
                (number::ICMP, 14) => 13,
                (number::ICMP, 15) => 16,
                (number::ICMP, 16) => 15,
                (number::ICMP, 17) => 18,
                (number::ICMP, 18) => 17,
                (number::ICMPV6, 128) => 129,
                (number::ICMPV6, 129) => 128,
                (number::ICMPV6, 139) => 140,
                (number::ICMPV6, 140) => 139,
                _ => return None,
            };
            Some(Tuple {
                dport: answer << 8 | tuple.dport & 0xff,
                ..turned
            })
        }
        _ => Some(Tuple {
            sport: tuple.dport,
            dport: tuple.sport,
            ..turned
        }),
    }
}

/// Whether a packet is an ICMP error: about another packet, never of a flow of its own.
pub fn is_error(packet: &Packet<'_>) -> bool {
    let kind = packet.bytes.get(packet.transport).copied();
    match packet.protocol {
        number::ICMP => matches!(kind, Some(3 | 4 | 5 | 11 | 12)),
        number::ICMPV6 => matches!(kind, Some(1..=4)),
        _ => false,
    }
}

/// The tuple of the packet that an ICMP error is about, as that packet went; zone and domain are the
/// error's.
///
/// # Errors
/// When the error or the packet in it is broken.
pub fn inner(packet: &Packet<'_>, rules: &Rules) -> Result<Tuple, InvalidReason> {
    let _ = (packet, rules);
    Err(InvalidReason::IcmpInner)
}

/// Checks what does not depend on a flow: lengths, checksums, impossible flags.
///
/// # Errors
/// With what is wrong.
pub fn check(packet: &Packet<'_>, rules: &Rules) -> Result<(), InvalidReason> {
    let _ = (packet, rules);
    Ok(())
}

/// The class of a flow whose next packet, with these status bits after it, changes no state: it is
/// refreshed without its lock and without its state.
#[inline]
pub fn steady(protocol: u8, bits: u32) -> Option<TimeoutClass> {
    let (seen, assured) = (bits & status::SEEN_REPLY != 0, bits & status::ASSURED != 0);
    match protocol {
        number::UDP if !seen => Some(TimeoutClass::UdpUnreplied),
        number::UDP if assured => Some(TimeoutClass::UdpReplied),
        number::UDPLITE if !seen => Some(TimeoutClass::UdpliteUnreplied),
        number::UDPLITE if assured => Some(TimeoutClass::UdpliteReplied),
        number::ICMP => Some(TimeoutClass::Icmp),
        number::ICMPV6 => Some(TimeoutClass::Icmpv6),
        number::TCP | number::SCTP | number::DCCP | number::UDP | number::UDPLITE | 47 => None,
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
) -> Result<(ProtocolState, TimeoutClass, u32), InvalidReason> {
    let _ = rules;
    let class = match packet.protocol {
        number::TCP => TimeoutClass::TcpSynSent,
        number::UDP => TimeoutClass::UdpUnreplied,
        number::UDPLITE => TimeoutClass::UdpliteUnreplied,
        number::ICMP => TimeoutClass::Icmp,
        number::ICMPV6 => TimeoutClass::Icmpv6,
        47 => TimeoutClass::GreUnreplied,
        _ => TimeoutClass::Generic,
    };
    let mut state = ProtocolState::default();
    state.0[0] = now_ns + 2_000_000_000;
    Ok((state, class, 0))
}

/// A further packet of a flow; `bits` are the flow's status bits, `SEEN_REPLY` included when this is an
/// answer.
pub fn next(
    state: &mut ProtocolState,
    packet: &Packet<'_>,
    bits: u32,
    rules: &Rules,
    now_ns: u64,
) -> Judgement {
    let _ = rules;
    let seen = bits & status::SEEN_REPLY != 0;
    let (class, assured) = match packet.protocol {
        number::TCP if seen => (TimeoutClass::TcpEstablished, true),
        number::TCP => (TimeoutClass::TcpSynSent, false),
        number::UDP if seen && now_ns > state.0[0] => (TimeoutClass::UdpReplied, true),
        number::UDPLITE if seen && now_ns > state.0[0] => (TimeoutClass::UdpliteReplied, true),
        number::UDP => (TimeoutClass::UdpUnreplied, false),
        number::UDPLITE => (TimeoutClass::UdpliteUnreplied, false),
        47 if seen => (TimeoutClass::GreReplied, true),
        47 => (TimeoutClass::GreUnreplied, false),
        _ => (TimeoutClass::Generic, false),
    };
    Judgement::Accept {
        class,
        status: if assured { status::ASSURED } else { 0 },
    }
}

/// The name of a flow's state, for protocols that have states (`ESTABLISHED`, ...).
pub fn state_name(protocol: u8, state: &ProtocolState) -> Option<&'static str> {
    let _ = (protocol, state);
    None
}
