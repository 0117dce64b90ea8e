//! ICMP and ICMPv6 errors about packets that the gateway could not carry on (RFC 792, RFC 1812 4.3,
//! RFC 4443 2.4).
//!
//! An error quotes the packet as it came. It never answers an error, a group address, a later
//! fragment or a source that is no single station, and its source is an address of the port by which
//! the packet came. Whether it may leave at all is the [`Bucket`](super::bucket::Bucket)'s affair.

use arrayvec::ArrayVec;

use super::address::Address;
use crate::packet::checksum::{checksum, fold, pseudo_header, replace, sum};
use crate::packet::headers::{Headers, ethertype, field, flag, protocol};
use crate::packet::reply::transport_checksum_ok;

const HOP_LIMIT: u8 = 64;
/// An IPv4 error is at most this long (RFC 1812, 4.3.2.3).
const LONGEST: usize = 576;
/// An ICMPv6 error is at most this long (RFC 4443, 2.4 c).
const LONGEST6: usize = 1280;
/// Precedence of errors: internetwork control (RFC 1812, 4.3.2.5).
const PRECEDENCE: u8 = 0xc0;

/// An error as an IP packet.
pub type Message = ArrayVec<u8, LONGEST6>;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// No route.
    NoRoute,
    /// The neighbour does not answer, or a route says that nobody is there.
    HostUnreachable,
    /// A route or rule forbids it.
    Prohibited,
    /// IPv6 only: beyond the scope of the source address.
    BeyondScope,
    /// TTL or hop limit.
    TimeExceeded,
    /// It does not fit and may not be cut; the largest that does.
    TooBig {
        /// Bytes from the IP header on.
        mtu: u32,
    },
    /// A header field is wrong.
    Parameter {
        /// Offset of the field.
        pointer: u8,
    },
    /// For the gateway itself, which does not know the protocol (RFC 1122, 3.2.2.1; RFC 4443, 3.4).
    UnknownProtocol,
    /// For the gateway itself, where nobody listens at the port.
    PortUnreachable,
    /// Codes of destination unreachable that a rule chose, for IPv4 and IPv6.
    Unreachable {
        /// For IPv4.
        code: Option<u8>,
        /// For IPv6.
        code6: Option<u8>,
    },
}

impl Complaint {
    /// Type, code and the word behind the checksum, of ICMP.
    fn four(self) -> Option<(u8, u8, u32)> {
        Some(match self {
            Self::NoRoute => (3, 0, 0),
            Self::HostUnreachable => (3, 1, 0),
            Self::Prohibited => (3, 13, 0),
            Self::BeyondScope => return None,
            Self::TimeExceeded => (11, 0, 0),
            Self::TooBig { mtu } => (3, 4, mtu.min(0xffff)),
            Self::Parameter { pointer } => (12, 0, u32::from(pointer) << 24),
            Self::UnknownProtocol => (3, 2, 0),
            Self::PortUnreachable => (3, 3, 0),
            Self::Unreachable { code, .. } => (3, code?, 0),
        })
    }

    /// The same of ICMPv6.
    fn six(self) -> Option<(u8, u8, u32)> {
        Some(match self {
            Self::NoRoute => (1, 0, 0),
            Self::HostUnreachable => (1, 3, 0),
            Self::Prohibited => (1, 1, 0),
            Self::BeyondScope => (1, 2, 0),
            Self::TimeExceeded => (3, 0, 0),
            Self::TooBig { mtu } => (2, 0, mtu),
            Self::Parameter { pointer } => (4, 0, u32::from(pointer)),
            // The next-header field of the IPv6 header.
            Self::UnknownProtocol => (4, 1, 6),
            Self::PortUnreachable => (1, 4, 0),
            Self::Unreachable { code6, .. } => (1, code6?, 0),
        })
    }
}

/// Whether an error about this frame may be sent at all.
pub fn may_complain(frame: &[u8], headers: &Headers, complaint: Complaint) -> bool {
    let (Some(source), Some(destination)) = (
        Address::source(frame, headers),
        Address::destination(frame, headers),
    ) else {
        return false;
    };
    let to_group = frame[0] & 1 == 1 || destination.is_multicast();
    // RFC 4443, 2.4 e.3: packet too big is also for groups.
    let for_groups = !destination.is_v4() && matches!(complaint, Complaint::TooBig { .. });
    let single = !source.is_unspecified()
        && !source.is_multicast()
        && !source.is_limited_broadcast()
        && !source.is_loopback()
        && !source.is_this_network();
    if !single
        || to_group && !for_groups
        || destination.is_limited_broadcast()
        || headers.has(flag::BAD_IP)
    {
        return false;
    }
    if !headers.has(flag::TRANSPORT) {
        // A later fragment, or no transport at all: only IPv6 errors may be about the former.
        return headers.ethertype == ethertype::IP6 && !headers.has(flag::FRAGMENT);
    }
    let kind = field::<1>(frame, usize::from(headers.transport)).map(|[kind]| kind);
    match (headers.ethertype, headers.l4proto) {
        // Errors, and what is none that is known (RFC 1122, 3.2.2; as Linux).
        (ethertype::IP, protocol::ICMP) => {
            kind.is_some_and(|kind| !matches!(kind, 3 | 4 | 5 | 11 | 12))
        }
        (ethertype::IP6, protocol::ICMPV6) => kind.is_some_and(|kind| kind >= 128 && kind != 137),
        _ => true,
    }
}

/// An error about a frame, from `source`, if there is such an error in its family.
pub fn message(
    frame: &[u8],
    headers: &Headers,
    complaint: Complaint,
    source: Address,
) -> Option<Message> {
    let end = (headers.end as usize).min(frame.len());
    let packet = frame.get(usize::from(headers.network)..end)?;
    let to = Address::source(frame, headers)?;
    if source.is_v4() != to.is_v4() {
        return None;
    }
    let (header_len, longest) = if to.is_v4() {
        (20, LONGEST)
    } else {
        (40, LONGEST6)
    };
    let (kind, code, rest) = if to.is_v4() {
        complaint.four()?
    } else {
        complaint.six()?
    };
    let quote = &packet[..packet.len().min(longest - header_len - 8)];
    let mut icmp = Message::new();
    icmp.extend([kind, code, 0, 0]);
    icmp.extend(rest.to_be_bytes());
    icmp.extend(quote.iter().copied());
    let mut whole = Message::new();
    if to.is_v4() {
        let check = checksum(&icmp);
        icmp[2..4].copy_from_slice(&check.to_be_bytes());
        let service = PRECEDENCE | packet[1] & 0x1e;
        whole.extend(header4(source, to, protocol::ICMP, service, icmp.len()));
    } else {
        whole.extend(header6(source, to, protocol::ICMPV6, HOP_LIMIT, icmp.len()));
        let check =
            !fold(pseudo_header(&whole[8..40], protocol::ICMPV6, icmp.len() as u32) + sum(&icmp));
        icmp[2..4].copy_from_slice(&check.to_be_bytes());
    }
    whole.extend(icmp);
    Some(whole)
}

/// The answer to an echo request, as an IP packet in `buffer`; `false` when the packet is none that is
/// answered here (it has IPv4 options, extension headers, or a wrong checksum).
pub fn echo(frame: &[u8], headers: &Headers, buffer: &mut Vec<u8>) -> bool {
    let (network, end) = (usize::from(headers.network), headers.end as usize);
    let Some(packet) = frame.get(network..end) else {
        return false;
    };
    let (header_len, request, reply) = match (headers.ethertype, headers.l4proto) {
        (ethertype::IP, protocol::ICMP) => (20, 8, 0),
        (ethertype::IP6, protocol::ICMPV6) => (40, 128, 129),
        _ => return false,
    };
    let plain = usize::from(headers.transport) == network + header_len
        && headers.has(flag::TRANSPORT)
        && !headers.has(flag::FRAGMENT);
    let Some([kind, code, high, low]) = field::<4>(packet, header_len) else {
        return false;
    };
    if !plain || kind != request || !transport_checksum_ok(frame, headers) {
        return false;
    }
    buffer.clear();
    buffer.extend_from_slice(packet);
    let word = |kind: u8| u16::from_be_bytes([kind, code]);
    let check = replace(u16::from_be_bytes([high, low]), word(kind), word(reply));
    buffer[header_len] = reply;
    buffer[header_len + 2..header_len + 4].copy_from_slice(&check.to_be_bytes());
    if header_len == 20 {
        buffer[6..8].fill(0);
        buffer[8] = HOP_LIMIT;
        buffer[12..16].copy_from_slice(&packet[16..20]);
        buffer[16..20].copy_from_slice(&packet[12..16]);
        buffer[10..12].fill(0);
        let check = checksum(&buffer[..20]);
        buffer[10..12].copy_from_slice(&check.to_be_bytes());
    } else {
        buffer[7] = HOP_LIMIT;
        buffer[8..24].copy_from_slice(&packet[24..40]);
        buffer[24..40].copy_from_slice(&packet[8..24]);
    }
    true
}

/// An IPv4 header with its checksum; the payload is shorter than 576 bytes, so it needs no number.
fn header4(source: Address, to: Address, protocol: u8, service: u8, payload: usize) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[1] = service;
    header[2..4].copy_from_slice(&((20 + payload) as u16).to_be_bytes());
    header[8] = HOP_LIMIT;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets4());
    header[16..20].copy_from_slice(&to.octets4());
    let check = checksum(&header);
    header[10..12].copy_from_slice(&check.to_be_bytes());
    header
}

/// An IPv6 header.
pub(super) fn header6(
    source: Address,
    to: Address,
    protocol: u8,
    hop_limit: u8,
    payload: usize,
) -> [u8; 40] {
    let mut header = [0; 40];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
    header[6] = protocol;
    header[7] = hop_limit;
    header[8..24].copy_from_slice(&source.octets6());
    header[24..40].copy_from_slice(&to.octets6());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::testing::frames;

    const ROUTER: [u8; 4] = [10, 0, 0, 254];

    fn about(frame: &[u8], complaint: Complaint) -> Option<Message> {
        let headers = Headers::dissect(frame);
        if !may_complain(frame, &headers, complaint) {
            return None;
        }
        let source = if headers.ethertype == ethertype::IP {
            Address::v4(ROUTER)
        } else {
            Address::link_local([2, 0, 0, 0, 0, 1])
        };
        message(frame, &headers, complaint, source)
    }

    #[test]
    fn an_error_quotes_the_packet_and_has_right_checksums() {
        let frame = frames::udp(1, 2);
        let error = about(&frame, Complaint::TooBig { mtu: 1400 }).unwrap();
        assert_eq!(checksum(&error[..20]), 0);
        assert_eq!(checksum(&error[20..]), 0);
        assert_eq!(error[20..22], [3, 4]);
        assert_eq!(error[26..28], 1400u16.to_be_bytes());
        assert_eq!(error[28..], frame[14..]);
        assert_eq!(
            (&error[12..16], &error[16..20]),
            (&ROUTER[..], &frame[26..30])
        );
        assert_eq!(error[1], 0xc0);
        let frame = frames::tcp6(1, 2);
        let error = about(&frame, Complaint::TimeExceeded).unwrap();
        assert_eq!(error[40..42], [3, 0]);
        let pseudo = pseudo_header(&error[8..40], 58, (error.len() - 40) as u32);
        assert_eq!(fold(pseudo + sum(&error[40..])), 0xffff);
    }

    #[test]
    fn errors_are_no_longer_than_the_rfcs_allow() {
        let long = frames::ip(17, vec![0; 1400], None);
        assert_eq!(about(&long, Complaint::NoRoute).unwrap().len(), LONGEST);
        let long = frames::ip6(17, vec![0; 1400], None);
        assert_eq!(about(&long, Complaint::NoRoute).unwrap().len(), LONGEST6);
    }

    #[test]
    fn some_packets_are_never_answered() {
        let change = |frame: &[u8], at: usize, bytes: &[u8]| {
            let mut frame = frame.to_vec();
            frame[at..at + bytes.len()].copy_from_slice(bytes);
            frame
        };
        let udp = frames::udp(1, 2);
        let silent = [
            change(&udp, 0, &[0xff; 6]),
            change(&udp, 30, &[224, 0, 0, 1]),
            change(&udp, 30, &[255; 4]),
            change(&udp, 26, &[0; 4]),
            change(&udp, 26, &[127, 0, 0, 1]),
            change(&udp, 26, &[230, 0, 0, 1]),
            // A later fragment.
            change(&udp, 20, &[0, 1]),
            frames::ip(1, vec![3, 1, 0, 0, 0, 0, 0, 0], None),
            frames::ip(1, vec![11, 0, 0, 0, 0, 0, 0, 0], None),
            frames::ip6(58, vec![1, 0, 0, 0, 0, 0, 0, 0], None),
            frames::arp(),
        ];
        for frame in silent {
            assert_eq!(about(&frame, Complaint::NoRoute), None, "{frame:02x?}");
        }
        // A first fragment and an echo request are.
        assert!(about(&change(&udp, 20, &[0x20, 0]), Complaint::NoRoute).is_some());
        let ping = frames::ip(1, vec![8, 0, 0, 0, 0, 0, 0, 0], None);
        assert!(about(&ping, Complaint::NoRoute).is_some());
        // RFC 4443, 2.4 e.3.
        let mut group = frames::ip6(17, vec![0; 20], None);
        group[0] = 0x33;
        group[38] = 0xff;
        assert!(about(&group, Complaint::NoRoute).is_none());
        assert!(about(&group, Complaint::TooBig { mtu: 1280 }).is_some());
    }
}
