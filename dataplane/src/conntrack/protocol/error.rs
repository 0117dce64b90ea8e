//! Inner tuples: which packet an ICMP or ICMPv6 error (or redirect) is about.
//!
//! The error carries the beginning of that packet (RFC 792, RFC 4443). It is related to a flow if the
//! inner packet's tuple is known and the error goes back to the inner packet's sender. Options and
//! extension headers are stepped over. Where the error says how long the original datagram in it is
//! (RFC 4884), nothing behind that is read, so that an extension is never taken for a port.
//!
//! Not verified: checksums of the inner packet. Routers change it before they complain (time to
//! live, some even its length), and an error lost for that is a path MTU never learnt. So does Linux.

use super::super::invalid::InvalidReason;
use super::super::sequence::Offsets;
use super::super::tuple::{IPV4, IPV6, Tuple};
use super::{Packet, Sum, icmpv6, ports};
use crate::packet::headers::{Extensions, field, protocol as number};
use crate::program::key::Direction;

/// Bytes of an ICMP header.
const HEADER: usize = 8;
/// Bytes of a redirect up to its options: header, target, destination.
const REDIRECT: usize = 40;
/// The option of a redirect that carries the packet.
const REDIRECTED_HEADER: u8 = 4;

/// Whether a packet is an error: about another packet, never of a flow of its own.
pub fn is_error(packet: &Packet<'_>) -> bool {
    let Some(&kind) = packet.bytes.get(packet.transport) else {
        return false;
    };
    // A redirect is read as one only with code 0 and the packet as its first option.
    is_error_type(packet.protocol, kind)
        || packet.protocol == number::ICMPV6 && kind == icmpv6::REDIRECT && carries_header(packet)
}

/// Whether messages of this type are about another packet.
#[inline]
pub fn is_error_type(protocol: u8, kind: u8) -> bool {
    match protocol {
        number::ICMP => super::icmp::is_error(kind),
        number::ICMPV6 => icmpv6::is_error(kind),
        _ => false,
    }
}

/// The tuple of the packet that an error is about, as that packet went; zone and domain are 0.
///
/// # Errors
/// When the error or the packet in it is broken, or when it goes to somebody else than the sender of
/// that packet.
pub fn inner(packet: &Packet<'_>) -> Result<Tuple, InvalidReason> {
    let bytes = quoted(packet)?;
    let tuple = tuple_of(bytes, packet.l3)?;
    let destination = if packet.l3 == IPV4 {
        field::<4>(packet.bytes, 16).map(widen)
    } else {
        field::<16>(packet.bytes, 24)
    };
    if destination != Some(tuple.src) {
        return Err(InvalidReason::IcmpAddress);
    }
    Ok(tuple)
}

/// The part of an error that holds the packet it is about.
fn quoted<'a>(packet: &Packet<'a>) -> Result<&'a [u8], InvalidReason> {
    let message = packet.bytes.get(packet.transport..).unwrap_or_default();
    let header = field::<HEADER>(message, 0).ok_or(InvalidReason::HeaderShort)?;
    let body = &message[HEADER..];
    let told = match (packet.protocol, header[0]) {
        (number::ICMPV6, icmpv6::REDIRECT) => return redirected(packet),
        // RFC 4884, section 4: in units of 4 bytes for ICMP, of 8 for ICMPv6.
        (number::ICMP, 3 | 11 | 12) => usize::from(header[5]) * 4,
        (number::ICMPV6, 1 | 3) => usize::from(header[4]) * 8,
        _ => 0,
    };
    Ok(match told {
        0 => body,
        told => &body[..told.min(body.len())],
    })
}

/// A redirect comes from a neighbour (RFC 4861, section 8.1).
fn redirected<'a>(packet: &Packet<'a>) -> Result<&'a [u8], InvalidReason> {
    let near = field::<40>(packet.bytes, 0)
        .is_some_and(|ip| ip[7] == 255 && ip[8] == 0xfe && ip[9] & 0xc0 == 0x80);
    if !near {
        return Err(InvalidReason::Redirect);
    }
    let options = packet.bytes.get(packet.transport + REDIRECT..);
    match options {
        Some([_, units, ..]) if *units > 0 => {
            Ok(options.and_then(|o| o.get(8..)).unwrap_or_default())
        }
        _ => Err(InvalidReason::Redirect),
    }
}

fn carries_header(packet: &Packet<'_>) -> bool {
    let code = packet.bytes.get(packet.transport + 1);
    let option = packet.bytes.get(packet.transport + REDIRECT);
    // One that is cut off is judged as a redirect, and is invalid as such.
    code == Some(&0) && option.is_none_or(|option| *option == REDIRECTED_HEADER)
}

/// The tuple of a packet of which only the beginning may be there.
fn tuple_of(bytes: &[u8], l3: u8) -> Result<Tuple, InvalidReason> {
    let (protocol, transport) = locate(bytes, l3).ok_or(InvalidReason::IcmpInner)?;
    let inner = Packet {
        l3,
        protocol,
        bytes,
        transport,
        direction: Direction::Original,
        sum: Sum::Good,
        acknowledged: Offsets::NONE,
    };
    let (sport, dport) = ports(&inner).map_err(|_| InvalidReason::IcmpInner)?;
    let addresses = if l3 == IPV4 {
        field::<4>(bytes, 12)
            .map(widen)
            .zip(field::<4>(bytes, 16).map(widen))
    } else {
        field::<16>(bytes, 8).zip(field::<16>(bytes, 24))
    };
    let (src, dst) = addresses.ok_or(InvalidReason::IcmpInner)?;
    Ok(Tuple {
        src,
        dst,
        sport,
        dport,
        protocol,
        l3,
        zone: 0,
        domain: 0,
    })
}

fn widen(address: [u8; 4]) -> [u8; 16] {
    let mut wide = [0; 16];
    wide[..4].copy_from_slice(&address);
    wide
}

/// Transport protocol and where its header begins in an IP packet, as the tracker sees it: IPv6
/// extension headers and AH are stepped over (to rules AH is a transport). `None` for a broken header, a
/// later fragment, a packet that says that nothing follows, or a header that begins behind the packet.
pub fn locate(bytes: &[u8], l3: u8) -> Option<(u8, usize)> {
    match l3 {
        IPV4 => {
            let header = field::<20>(bytes, 0)?;
            let header_len = usize::from(header[0] & 15) * 4;
            let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
            let right = header[0] >> 4 == 4 && header_len >= 20 && header_len <= bytes.len();
            (right && !later).then_some((header[9], header_len))
        }
        IPV6 => {
            let header = field::<40>(bytes, 0)?;
            let (protocol, transport) = Extensions::new(bytes, 0).behind()?;
            let right = header[0] >> 4 == 6 && protocol != number::NONE && transport <= bytes.len();
            right.then_some((protocol, transport))
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "error_tests.rs"]
mod tests;
