//! What a frame says of itself as a fragment.

use super::Place;
use super::table::Key;
use crate::drop_reason::DropReason;
use crate::packet::frame::Frame;
use crate::packet::headers::{Extensions, Headers, ethertype, field, protocol};

/// Most bytes of payload that a datagram can have.
const MOST: usize = 65_535;

/// Which part of its datagram a fragment has, and where it lies in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Its first byte in the datagram's payload.
    pub(super) offset: usize,
    /// Its bytes of payload.
    pub(super) len: usize,
    /// Others follow.
    pub(super) more: bool,
    /// Where its network header begins in the frame.
    pub(super) network: usize,
    /// Where its payload begins in the frame.
    pub(super) payload: usize,
    /// The fragment header of IPv6: where it begins, and where the number that announces it stands.
    pub(super) header: Option<(usize, usize)>,
}

impl Piece {
    pub(super) fn is_ipv6(&self) -> bool {
        self.header.is_some()
    }
}

/// Reads a fragment. `None` for one of IPv6 that is a whole datagram.
///
/// # Errors
/// When it cannot be part of a datagram: empty, longer than one can be, not the last and no
/// multiple of 8 bytes, or a first one that does not hold the headers.
pub(super) fn read(
    frame: &Frame<'_>,
    headers: &Headers,
    place: Place,
) -> Result<Option<(Key, Piece)>, DropReason> {
    let network = usize::from(headers.network);
    let packet = &frame.bytes()[..headers.end as usize];
    let found = if headers.ethertype == ethertype::IP {
        ipv4(packet, network)
    } else {
        ipv6(packet, network)
    };
    let Some((identity, piece)) = found.ok_or(DropReason::FragmentBad)? else {
        return Ok(None);
    };
    let end = piece.offset + piece.len;
    if piece.len == 0 || end > MOST || piece.more && piece.len % 8 != 0 {
        return Err(DropReason::FragmentBad);
    }
    if piece.offset == 0 && !holds_headers(packet, &piece, identity.protocol) {
        return Err(DropReason::FragmentTiny);
    }
    let mut key = [0; 12];
    for (word, bytes) in key.iter_mut().zip(identity.addresses.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    key[8] = identity.id;
    // In IPv6 only the first fragment's protocol counts (RFC 8200, section 4.5).
    key[9] = u32::from(frame.in_port.0) << 16
        | u32::from(piece.is_ipv6()) << 8
        | if piece.is_ipv6() {
            0
        } else {
            u32::from(identity.protocol)
        };
    key[10] = u32::from(place.domain) << 16 | u32::from(place.zone);
    Ok(Some((key, piece)))
}

/// What tells datagrams apart.
struct Identity {
    addresses: [u8; 32],
    id: u32,
    protocol: u8,
}

type Found = Option<Option<(Identity, Piece)>>;

fn ipv4(packet: &[u8], network: usize) -> Found {
    let header = field::<20>(packet, network)?;
    let place = u16::from_be_bytes([header[6], header[7]]);
    let payload = network + usize::from(header[0] & 15) * 4;
    let mut addresses = [0; 32];
    addresses[..8].copy_from_slice(&header[12..20]);
    let identity = Identity {
        addresses,
        id: u32::from(u16::from_be_bytes([header[4], header[5]])),
        protocol: header[9],
    };
    let piece = Piece {
        offset: usize::from(place & 0x1fff) * 8,
        len: packet.len().checked_sub(payload)?,
        more: place & 0x2000 != 0,
        network,
        payload,
        header: None,
    };
    Some(Some((identity, piece)))
}

fn ipv6(packet: &[u8], network: usize) -> Found {
    let addresses = field::<32>(packet, network + 8)?;
    let header = Extensions::new(packet, network).find(protocol::FRAGMENT)?;
    let bytes = field::<8>(packet, header.at)?;
    let place = u16::from_be_bytes([bytes[2], bytes[3]]);
    if place & 0xfff9 == 0 {
        return Some(None);
    }
    let payload = header.at + 8;
    let identity = Identity {
        addresses,
        id: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        protocol: header.next,
    };
    let piece = Piece {
        offset: usize::from(place & 0xfff8),
        len: packet.len().checked_sub(payload)?,
        more: place & 1 != 0,
        network,
        payload,
        header: Some((header.at, announced_at(packet, network, header.at)?)),
    };
    Some(Some((identity, piece)))
}

/// Where the protocol number stands that announces the header at `at`.
fn announced_at(packet: &[u8], network: usize, at: usize) -> Option<usize> {
    let (mut number, mut here, mut announced) =
        (*packet.get(network + 6)?, network + 40, network + 6);
    while here < at {
        let [next, units] = field::<2>(packet, here)?;
        announced = here;
        here += match number {
            protocol::AH => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        number = next;
    }
    (here == at && number == protocol::FRAGMENT).then_some(announced)
}

/// Whether the first fragment holds all headers up to the transport's own.
fn holds_headers(packet: &[u8], piece: &Piece, protocol: u8) -> bool {
    let located = if piece.is_ipv6() {
        Extensions::new(packet, piece.network).behind()
    } else {
        Some((protocol, piece.payload))
    };
    let Some((protocol, transport)) = located else {
        return false;
    };
    let least = match protocol {
        protocol::TCP => match packet.get(transport + 12) {
            Some(units) => (usize::from(units >> 4) * 4).max(20),
            None => return false,
        },
        protocol::UDP | protocol::UDPLITE | protocol::ICMP | protocol::ICMPV6 => 8,
        protocol::SCTP | protocol::DCCP => 12,
        protocol::GRE => 4,
        _ => 0,
    };
    packet.len() >= transport + least
}
