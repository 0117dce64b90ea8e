//! One side of a packet rewritten: its address, and the port or query id of its transport.
//!
//! Checksums are changed by what has changed (RFC 1624), so a wrong one stays wrong and is not
//! repaired. A partial checksum, which the kernel or the device completes when the frame leaves,
//! holds the pseudo-header only: it changes with the address, not with the port. SCTP's CRC32c is not
//! linear in this sense and is computed anew. A later fragment has no transport header: only its
//! address is written, and the checksum of the first fragment covers the change.
//!
//! An ICMP error quotes a packet of the other direction (RFC 5508, section 4): the quoted packet's
//! *other* side is written, its checksums as far as they are quoted, and the error's own checksum over
//! all of it.

use crate::packet::checksum::{crc32c, fold, replace, replace_partial, sum};
use crate::packet::headers::{Extensions, Headers, ethertype, field, flag, protocol};

/// Which side of a packet is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Source address and port.
    Source,
    /// Destination address and port.
    Destination,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Destination,
            Self::Destination => Self::Source,
        }
    }
}

/// An address with the port of its transport, or the id of an ICMP query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The address; an IPv4 address in the first four bytes, zeroes behind.
    pub address: [u8; 16],
    /// Port, query id, or GRE call id; host order.
    pub port: u16,
}

/// Where the layers of a packet lie that is to be written.
#[derive(Clone, Copy, Debug)]
struct Layers {
    ip6: bool,
    network: usize,
    /// First byte of the transport header, where there is one.
    transport: Option<usize>,
    protocol: u8,
    /// First byte behind the packet.
    end: usize,
    /// The transport's checksum covers the pseudo-header only.
    partial: bool,
    /// Quoted by an error, perhaps cut off.
    quoted: bool,
}

/// The sums of what was written, before and after.
#[derive(Clone, Copy, Debug, Default)]
struct Change {
    before: u64,
    after: u64,
}

/// Writes one side of a packet. `partial` says that its transport's checksum is not complete yet.
///
/// Yields whether the packet had what was to be written; if not, it is as it was.
#[inline]
pub fn translate(
    bytes: &mut [u8],
    headers: &Headers,
    side: Side,
    to: &Endpoint,
    partial: bool,
) -> bool {
    let plain = !partial
        && headers.ethertype == ethertype::IP
        && headers.flags & (flag::TRANSPORT | flag::BAD_IP) == flag::TRANSPORT
        && matches!(headers.l4proto, protocol::TCP | protocol::UDP);
    if plain {
        return write_plain(bytes, headers, side, to).is_some();
    }
    let Some(layers) = Layers::of(headers, partial) else {
        return false;
    };
    layers.write(bytes, side, to).is_some()
}

/// What [`Layers::write`] does, for most packets there are: TCP and UDP over IPv4 with a complete checksum.
#[inline]
fn write_plain(bytes: &mut [u8], headers: &Headers, side: Side, to: &Endpoint) -> Option<()> {
    let network = usize::from(headers.network);
    let transport = usize::from(headers.transport) - network;
    let packet = bytes.get_mut(network..headers.end as usize)?;
    let source = side == Side::Source;
    let port_at = transport + if source { 0 } else { 2 };
    let old_port = field::<2>(packet, port_at)?;
    let (header, _) = packet.split_first_chunk_mut::<20>()?;
    let address = if source { 12 } else { 16 };
    let [a, b, c, d, ..] = to.address;
    let (old, new) = ([0, 1, 2, 3].map(|at| header[address + at]), [a, b, c, d]);
    header[address..address + 4].copy_from_slice(&new);
    let word = |bytes: [u8; 4]| u64::from(u32::from_be_bytes(bytes));
    let (before, after) = (word(old), word(new));
    let check = u16::from_be_bytes([header[10], header[11]]);
    let check = replace(check, fold(before), fold(after));
    header[10..12].copy_from_slice(&check.to_be_bytes());
    packet[port_at..port_at + 2].copy_from_slice(&to.port.to_be_bytes());
    let udp = headers.l4proto == protocol::UDP;
    let check_at = transport + if udp { 6 } else { 16 };
    let Some(check) = field::<2>(packet, check_at).map(u16::from_be_bytes) else {
        return Some(());
    };
    if !(udp && check == 0) {
        let before = before + u64::from(u16::from_be_bytes(old_port));
        let check = replace(check, fold(before), fold(after + u64::from(to.port)));
        packet[check_at..check_at + 2].copy_from_slice(&check.to_be_bytes());
    }
    Some(())
}

/// Writes an ICMP or ICMPv6 error: the side `side` of the quoted packet becomes `quoted`, the address of
/// the error's own other side becomes `outer` where one is given.
///
/// Yields whether the packet had what was to be written. The quoted packet may end anywhere behind
/// its addresses.
pub fn translate_error(
    bytes: &mut [u8],
    headers: &Headers,
    side: Side,
    quoted: &Endpoint,
    outer: Option<&[u8; 16]>,
) -> bool {
    let Some(error) = Layers::of(headers, false) else {
        return false;
    };
    let Some(at) = error.transport else {
        return false;
    };
    let message = at..error.end.min(bytes.len());
    if message.len() < ICMP_HEADER {
        return false;
    }
    let Some(inner) = Layers::quoted(bytes, at + ICMP_HEADER, message.end, error.ip6) else {
        return false;
    };
    let before = sum(&bytes[message.clone()]);
    if inner.write(bytes, side, quoted).is_none() {
        return false;
    }
    let change = Change {
        before,
        after: sum(&bytes[message]),
    };
    update(bytes, at + ICMP_CHECKSUM, change, false);
    if let Some(address) = outer {
        let change = error.write_address(bytes, side.other(), address);
        if error.ip6 {
            // ICMPv6 sums up the addresses, too.
            update(bytes, at + ICMP_CHECKSUM, change, false);
        }
    }
    true
}

const ICMP_HEADER: usize = 8;
const ICMP_CHECKSUM: usize = 2;

impl Layers {
    #[inline]
    fn of(headers: &Headers, partial: bool) -> Option<Self> {
        let ip6 = match headers.ethertype {
            ethertype::IP => false,
            ethertype::IP6 => true,
            _ => return None,
        };
        if headers.has(flag::BAD_IP) {
            return None;
        }
        Some(Self {
            ip6,
            network: usize::from(headers.network),
            transport: headers
                .has(flag::TRANSPORT)
                .then_some(usize::from(headers.transport)),
            protocol: headers.l4proto,
            end: headers.end as usize,
            partial,
            quoted: false,
        })
    }

    /// The packet that an error quotes, of which perhaps only the beginning is there.
    fn quoted(bytes: &[u8], network: usize, end: usize, ip6: bool) -> Option<Self> {
        let packet = &bytes[..end];
        let (transport, protocol) = if ip6 {
            field::<40>(packet, network)?;
            let (protocol, transport, _) = Extensions::new(packet, network).transport().ok()?;
            (transport, protocol)
        } else {
            let header = field::<20>(packet, network)?;
            let len = usize::from(header[0] & 15) * 4;
            let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
            if header[0] >> 4 != 4 || len < 20 {
                return None;
            }
            ((!later).then_some(network + len), header[9])
        };
        Some(Self {
            ip6,
            network,
            transport: transport.filter(|at| at + 4 <= end),
            protocol,
            end,
            partial: false,
            quoted: true,
        })
    }

    /// Writes address and port; `None` leaves everything as it was.
    #[inline(always)]
    fn write(&self, bytes: &mut [u8], side: Side, to: &Endpoint) -> Option<()> {
        if self.end > bytes.len() {
            return None;
        }
        let port = self.port(bytes, side)?;
        let address = self.write_address(bytes, side, &to.address);
        let Some(transport) = self.transport else {
            return Some(());
        };
        let mut change = Change::default();
        if let Some(at) = port {
            change = put(bytes, at, to.port.to_be_bytes());
        }
        self.correct(bytes, transport, address, change);
        Some(())
    }

    /// Where the port of this side stands, if the transport has one that is translated.
    /// `None` outside when the header that should have it is cut off.
    #[expect(
        clippy::option_option,
        reason = "cut off and without a port are two things"
    )]
    #[inline(always)]
    fn port(&self, bytes: &[u8], side: Side) -> Option<Option<usize>> {
        let Some(transport) = self.transport else {
            return Some(None);
        };
        let at = match self.protocol {
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::DCCP => {
                transport + if side == Side::Source { 0 } else { 2 }
            }
            protocol::ICMP if !self.ip6 => {
                let [kind] = field::<1>(bytes, transport)?;
                if !ICMP_QUERIES.contains(&kind) {
                    return Some(None);
                }
                transport + 4
            }
            protocol::ICMPV6 if self.ip6 => {
                let [kind] = field::<1>(bytes, transport)?;
                if !matches!(kind, ECHO_REQUEST6 | ECHO_REPLY6) {
                    return Some(None);
                }
                transport + 4
            }
            // The call id of enhanced GRE (RFC 2637) names the receiver's end.
            protocol::GRE if side == Side::Destination => {
                let [_, version] = field::<2>(bytes, transport)?;
                if version & 7 != 1 {
                    return Some(None);
                }
                transport + 6
            }
            _ => return Some(None),
        };
        (at + 2 <= self.end).then_some(Some(at))
    }

    #[inline(always)]
    fn write_address(&self, bytes: &mut [u8], side: Side, address: &[u8; 16]) -> Change {
        let source = side == Side::Source;
        if self.ip6 {
            let at = self.network + if source { 8 } else { 24 };
            return put(bytes, at, *address);
        }
        let at = self.network + if source { 12 } else { 16 };
        let [a, b, c, d, ..] = *address;
        let change = put(bytes, at, [a, b, c, d]);
        update(bytes, self.network + 10, change, false);
        change
    }

    /// Corrects the transport's checksum, if enough of the packet is there to have one.
    #[inline(always)]
    fn correct(&self, bytes: &mut [u8], transport: usize, address: Change, port: Change) {
        let both = Change {
            before: address.before + port.before,
            after: address.after + port.after,
        };
        let (at, change) = match self.protocol {
            protocol::TCP => (16, both),
            protocol::UDP | protocol::UDPLITE | protocol::DCCP => (6, both),
            protocol::ICMP if !self.ip6 => (2, port),
            protocol::ICMPV6 if self.ip6 => (2, both),
            protocol::SCTP => return self.correct_sctp(bytes, transport),
            _ => return,
        };
        let at = transport + at;
        if at + 2 > self.end {
            return;
        }
        if !self.partial || matches!(self.protocol, protocol::ICMP) {
            let absent = self.protocol == protocol::UDP;
            update(bytes, at, change, absent);
        } else if let Some(old) = field::<2>(bytes, at).map(u16::from_be_bytes) {
            let new = replace_partial(old, fold(address.before), fold(address.after));
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        }
    }

    fn correct_sctp(&self, bytes: &mut [u8], transport: usize) {
        // A quoted packet is not all there: its sum is for nobody.
        if self.partial || self.quoted || transport + 12 > self.end {
            return;
        }
        let at = transport + 8;
        bytes[at..at + 4].fill(0);
        let check = crc32c(&bytes[transport..self.end]);
        bytes[at..at + 4].copy_from_slice(&check.to_le_bytes());
    }
}

/// ICMP types with an id: echo, timestamp, information, address mask (RFC 792, RFC 950).
const ICMP_QUERIES: [u8; 8] = [0, 8, 13, 14, 15, 16, 17, 18];
const ECHO_REQUEST6: u8 = 128;
const ECHO_REPLY6: u8 = 129;

/// Writes bytes at an even distance from the beginning of their header.
#[inline(always)]
fn put<const N: usize>(bytes: &mut [u8], at: usize, new: [u8; N]) -> Change {
    let Some(place) = bytes[at..].first_chunk_mut::<N>() else {
        return Change::default();
    };
    let before = sum(place);
    *place = new;
    Change {
        before,
        after: sum(&new),
    }
}

/// Changes the complete checksum at `at`; an absent one (0, where that means absent) stays.
#[inline]
fn update(bytes: &mut [u8], at: usize, change: Change, zero_is_absent: bool) {
    let Some(old) = field::<2>(bytes, at).map(u16::from_be_bytes) else {
        return;
    };
    if !(zero_is_absent && old == 0) {
        let new = replace(old, fold(change.before), fold(change.after));
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }
}

#[cfg(test)]
#[path = "rewrite_tests.rs"]
mod tests;
