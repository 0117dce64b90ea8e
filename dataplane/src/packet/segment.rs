//! Super-frames in software: where their headers end, cutting them, completing checksums.
//!
//! The kernel's virtio-net header cannot say "tunnel": a VXLAN super-frame comes as a TCP
//! super-frame whose checksum starts at the *inner* TCP header. Such frames are recognised by
//! that and cut here, because the kernel would cut them wrongly. The inner IP header is the one
//! that ends where the checksum starts and whose length reaches exactly to the frame's end; so
//! VXLAN, Geneve, GRE and plain IP in IP are cut alike. Tunnels inside tunnels are not.

use crate::drop_reason::DropReason;
use crate::packet::checksum::{fold, pseudo_header, sum};
use crate::packet::frame::Frame;
use crate::packet::vnet::VnetHeader;

const ETHERNET: usize = 14;
const TAG: usize = 4;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
/// IPv6 extension headers that are followed to find the transport header.
const MAX_EXTENSIONS: usize = 8;
/// TCP flags that only the first segment keeps (CWR), and only the last (FIN, PSH).
const FIRST_ONLY: u8 = 0x80;
const LAST_ONLY: u8 = 0x09;

/// Where the network header begins: behind the addresses, the tags and the type.
pub fn network_at(bytes: &[u8]) -> usize {
    let mut at = ETHERNET;
    while matches!(be16(bytes, at - 2), Some(0x8100 | 0x88a8)) {
        at += TAG;
    }
    at
}

/// Length of all headers of a super-frame: up to the first byte that is cut. `None` when the
/// offload header does not fit the frame.
pub fn header_len(frame: &Frame<'_>) -> Option<usize> {
    headers(frame.bytes(), &frame.vnet)
}

/// Whether the checksum of this frame starts elsewhere than at its outer transport header.
pub fn is_tunnelled(frame: &Frame<'_>) -> bool {
    let start = usize::from(frame.vnet.csum_start);
    frame.vnet.needs_checksum() && outer_transport(frame.bytes()) != Some(start)
}

fn outer_transport(bytes: &[u8]) -> Option<usize> {
    Network::parse(bytes, network_at(bytes))?.transport_at(bytes)
}

/// Where the transport header of a super-frame is. Frames that a device has put together itself
/// (LRO) have verified checksums, not partial ones; they are not tunnelled.
fn transport_at(bytes: &[u8], vnet: &VnetHeader) -> Option<usize> {
    match vnet.needs_checksum() {
        true => Some(usize::from(vnet.csum_start)),
        false => outer_transport(bytes),
    }
}

/// Completes a partial checksum in place.
///
/// # Errors
/// When the offload header points outside the frame; the frame is unchanged.
pub fn complete_checksum(frame: &mut Frame<'_>) -> Result<(), DropReason> {
    if !frame.vnet.needs_checksum() {
        return Ok(());
    }
    let start = usize::from(frame.vnet.csum_start);
    let at = start + usize::from(frame.vnet.csum_offset);
    let bytes = frame.bytes_mut();
    if at + 2 > bytes.len() {
        return Err(DropReason::OffloadBad);
    }
    // The field holds the pseudo-header's sum, so it is simply part of what is added up.
    let checksum = complement(sum(&bytes[start..]));
    put16(bytes, at, if checksum == 0 { 0xffff } else { checksum });
    frame.vnet.flags &= !VnetHeader::NEEDS_CSUM;
    Ok(())
}

/// The pieces of one super-frame, each with a virtio-net header (of zeroes) in front.
#[derive(Debug, Default)]
pub struct Segments {
    memory: Vec<u8>,
    /// Length of each piece but the last, with the virtio-net header.
    stride: usize,
}

impl Segments {
    /// Cuts a super-frame into complete frames whose IP packets are not longer than `mtu`.
    ///
    /// # Errors
    /// [`DropReason::OffloadBad`] when the headers do not fit the offload header,
    /// [`DropReason::FrameTooLarge`] when a piece would exceed the MTU.
    pub fn cut(&mut self, frame: &Frame<'_>, mtu: usize) -> Result<(), DropReason> {
        let bytes = frame.bytes();
        let plan = Plan::of(bytes, &frame.vnet).ok_or(DropReason::OffloadBad)?;
        if plan.headers - plan.outer.at + plan.size > mtu {
            return Err(DropReason::FrameTooLarge);
        }
        let payload = &bytes[plan.headers..];
        self.stride = VnetHeader::LEN + plan.headers + plan.size;
        self.memory.clear();
        let count = payload.chunks(plan.size).len();
        for (number, chunk) in payload.chunks(plan.size).enumerate() {
            self.memory.extend_from_slice(&[0; VnetHeader::LEN]);
            let begin = self.memory.len();
            self.memory.extend_from_slice(&bytes[..plan.headers]);
            self.memory.extend_from_slice(chunk);
            plan.finish(&mut self.memory[begin..], number, number + 1 == count);
        }
        Ok(())
    }

    /// The pieces of the last cut, in order.
    pub fn pieces_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.memory.chunks_mut(self.stride.max(1))
    }
}

/// An IP header in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    at: usize,
    version: u8,
}

impl Network {
    fn parse(bytes: &[u8], at: usize) -> Option<Self> {
        let version = match be16(bytes, at - 2)? {
            IPV4 => 4,
            IPV6 => 6,
            _ => return None,
        };
        Some(Self { at, version })
    }

    fn transport_at(self, bytes: &[u8]) -> Option<usize> {
        self.transport(bytes).map(|(_, at)| at)
    }

    /// Protocol and place of what follows the IP header and its extensions.
    fn transport(self, bytes: &[u8]) -> Option<(u8, usize)> {
        if self.version == 4 {
            let len = usize::from(bytes.get(self.at)? & 15) * 4;
            return Some((*bytes.get(self.at + 9)?, self.at + len));
        }
        let (mut next, mut at) = (*bytes.get(self.at + 6)?, self.at + 40);
        for _ in 0..MAX_EXTENSIONS {
            if !matches!(next, 0 | 43 | 60) {
                return Some((next, at));
            }
            next = *bytes.get(at)?;
            at += (usize::from(*bytes.get(at + 1)?) + 1) * 8;
        }
        None
    }

    /// The IP header that ends where `transport` begins and whose length reaches to the end.
    fn before(bytes: &[u8], transport: usize, protocol: u8) -> Option<Self> {
        let ends_here = |network: &Self| {
            network.transport(bytes) == Some((protocol, transport))
                && network.end(bytes) == Some(bytes.len())
        };
        let four = (20..=60).step_by(4).filter_map(|len| {
            let at = transport.checked_sub(len)?;
            (bytes.get(at)? >> 4 == 4).then_some(Self { at, version: 4 })
        });
        let six = (40..=transport.min(40 + 8 * 32))
            .step_by(8)
            .filter_map(|len| {
                let at = transport.checked_sub(len)?;
                (bytes.get(at)? >> 4 == 6).then_some(Self { at, version: 6 })
            });
        four.chain(six).find(ends_here)
    }

    fn end(self, bytes: &[u8]) -> Option<usize> {
        Some(match self.version {
            4 => self.at + usize::from(be16(bytes, self.at + 2)?),
            _ => self.at + 40 + usize::from(be16(bytes, self.at + 4)?),
        })
    }

    /// Sets the lengths of the header for a packet that reaches to the end of `bytes`.
    fn finish(self, bytes: &mut [u8], number: usize) {
        let len = bytes.len() - self.at;
        if self.version == 6 {
            put16(bytes, self.at + 4, (len - 40) as u16);
            return;
        }
        put16(bytes, self.at + 2, len as u16);
        let id = be16(bytes, self.at + 4).unwrap_or(0);
        put16(bytes, self.at + 4, id.wrapping_add(number as u16));
        put16(bytes, self.at + 10, 0);
        let header = usize::from(bytes[self.at] & 15) * 4;
        let checksum = complement(sum(&bytes[self.at..self.at + header]));
        put16(bytes, self.at + 10, checksum);
    }

    /// Sum of the pseudo-header for a transport packet of this length.
    fn pseudo_sum(self, bytes: &[u8], protocol: u8, len: usize) -> u64 {
        let addresses = match self.version {
            4 => &bytes[self.at + 12..self.at + 20],
            _ => &bytes[self.at + 8..self.at + 40],
        };
        pseudo_header(addresses, protocol, len as u32)
    }
}

/// How a super-frame is to be cut.
struct Plan {
    /// All headers, up to the first byte that is cut.
    headers: usize,
    /// Bytes of payload in each piece.
    size: usize,
    protocol: u8,
    transport: usize,
    inner: Network,
    outer: Network,
    /// Protocol and place of what lies between the outer and the inner IP header.
    tunnel: Option<(u8, usize)>,
}

impl Plan {
    fn of(bytes: &[u8], vnet: &VnetHeader) -> Option<Self> {
        let headers = headers(bytes, vnet)?;
        let size = usize::from(vnet.gso_size);
        let transport = transport_at(bytes, vnet)?;
        let protocol = protocol(vnet)?;
        let outer = Network::parse(bytes, network_at(bytes))?;
        let inner = Network::before(bytes, transport, protocol)?;
        let tunnel = match inner == outer {
            true => None,
            false => Some(outer.transport(bytes)?),
        };
        let fits = tunnel.is_none_or(|(_, at)| at + 8 <= inner.at || at == inner.at);
        (size > 0 && headers < bytes.len() && fits).then_some(Self {
            headers,
            size,
            protocol,
            transport,
            inner,
            outer,
            tunnel,
        })
    }

    /// Corrects the headers of one piece, from the inside out.
    fn finish(&self, piece: &mut [u8], number: usize, last: bool) {
        self.inner.finish(piece, number);
        self.finish_transport(piece, number, last);
        if let Some((protocol, at)) = self.tunnel {
            self.outer.finish(piece, number);
            match protocol {
                UDP => finish_udp_tunnel(piece, self.outer, at),
                GRE => finish_gre(piece, at),
                _ => {}
            }
        }
    }

    fn finish_transport(&self, piece: &mut [u8], number: usize, last: bool) {
        let (at, len) = (self.transport, piece.len() - self.transport);
        let checksum_at = if self.protocol == TCP {
            let offset = (number * self.size) as u32;
            let sequence = be32(piece, at + 4).wrapping_add(offset);
            piece[at + 4..at + 8].copy_from_slice(&sequence.to_be_bytes());
            if number > 0 {
                piece[at + 13] &= !FIRST_ONLY;
            }
            if !last {
                piece[at + 13] &= !LAST_ONLY;
            }
            at + 16
        } else {
            put16(piece, at + 4, len as u16);
            at + 6
        };
        put16(piece, checksum_at, 0);
        let pseudo = self.inner.pseudo_sum(piece, self.protocol, len);
        let checksum = complement(pseudo + sum(&piece[at..]));
        let never_zero = self.protocol == UDP && checksum == 0;
        put16(
            piece,
            checksum_at,
            if never_zero { 0xffff } else { checksum },
        );
    }
}

/// The outer UDP header: its length, and its checksum unless it goes without one.
fn finish_udp_tunnel(piece: &mut [u8], outer: Network, at: usize) {
    let len = piece.len() - at;
    put16(piece, at + 4, len as u16);
    if be16(piece, at + 6) == Some(0) {
        return;
    }
    put16(piece, at + 6, 0);
    let checksum = complement(outer.pseudo_sum(piece, UDP, len) + sum(&piece[at..]));
    put16(piece, at + 6, if checksum == 0 { 0xffff } else { checksum });
}

/// The checksum of a GRE header, if it has one (RFC 2784, section 2.1).
fn finish_gre(piece: &mut [u8], at: usize) {
    if piece[at] & 0x80 != 0 {
        put16(piece, at + 4, 0);
        let checksum = complement(sum(&piece[at..]));
        put16(piece, at + 4, checksum);
    }
}

fn protocol(vnet: &VnetHeader) -> Option<u8> {
    match vnet.gso_type & !VnetHeader::GSO_ECN {
        VnetHeader::GSO_TCPV4 | VnetHeader::GSO_TCPV6 => Some(TCP),
        VnetHeader::GSO_UDP_L4 => Some(UDP),
        _ => None,
    }
}

fn headers(bytes: &[u8], vnet: &VnetHeader) -> Option<usize> {
    let transport = transport_at(bytes, vnet)?;
    let len = match protocol(vnet)? {
        TCP => usize::from(bytes.get(transport + 12)? >> 4) * 4,
        _ => 8,
    };
    let headers = transport + len;
    let plausible = transport >= network_at(bytes) + 20
        && (len >= 20 || protocol(vnet) == Some(UDP))
        && headers <= bytes.len();
    plausible.then_some(headers)
}

/// What a checksum field says of a sum (RFC 1071).
fn complement(sum: u64) -> u16 {
    !fold(sum)
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let word = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([word[0], word[1]]))
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
