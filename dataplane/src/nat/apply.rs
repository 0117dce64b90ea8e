//! Rewriting packets as their flows have it.
//!
//! At each hook one side is written: at prerouting and output the destination, at input and postrouting the
//! source. Which values it takes follows from the tuple of the other direction, so nothing has to be
//! remembered between the hooks (`nf_nat_packet`). An ICMP error is about a packet of the other direction: of
//! the packet in it the other side is written, and its own address (RFC 5508, section 4).

use super::rewrite::{Endpoint, Side, translate, translate_error};
use super::{destination, source};
use crate::conntrack::protocol::is_error_type;
use crate::conntrack::{Direction, Tuple, status};
use crate::packet::headers::{Headers, field, flag};

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There was nothing to do.
    Same,
    /// It was written.
    Written,
    /// It should have been written and is too short for it: it must not pass.
    Malformed,
}

/// Whether packets of a direction have this side translated.
#[inline]
pub fn is_translated(bits: u32, direction: Direction, side: Side) -> bool {
    let bit = match (side, direction) {
        (Side::Source, Direction::Original) | (Side::Destination, Direction::Reply) => {
            status::SRC_NAT
        }
        _ => status::DST_NAT,
    };
    bits & bit != 0
}

/// The end of the other direction's tuple that a side is written from: the packet goes where answers come
/// from, and comes from where they go.
#[inline]
pub fn end(other: &Tuple, side: Side) -> Endpoint {
    match side {
        Side::Source => destination(other),
        Side::Destination => source(other),
    }
}

/// Writes a side of a packet of a flow; `to` is the [`end`] for it. `partial` says that its transport's
/// checksum is not complete. Only where [`is_translated`] says so.
#[inline]
pub fn apply(
    bytes: &mut [u8],
    headers: &Headers,
    to: &Endpoint,
    side: Side,
    partial: bool,
) -> Applied {
    let written = if is_error(bytes, headers) {
        translate_error(bytes, headers, side.other(), to, Some(&to.address))
    } else {
        translate(bytes, headers, side, to, partial)
    };
    if written {
        Applied::Written
    } else {
        Applied::Malformed
    }
}

/// Whether a packet is an ICMP or ICMPv6 error.
#[inline]
pub fn is_error(bytes: &[u8], headers: &Headers) -> bool {
    if !headers.has(flag::TRANSPORT) {
        return false;
    }
    let kind = field::<1>(bytes, usize::from(headers.transport));
    kind.is_some_and(|[kind]| is_error_type(headers.l4proto, kind))
}
