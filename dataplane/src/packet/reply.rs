//! Answers to refused packets: ICMP and ICMPv6 unreachable, TCP resets.
//!
//! Built as the kernel's bridge builds them (nft_reject_bridge): addresses swapped at both layers,
//! the tag kept, hop limit 64, no route needed. Nothing answers to group addresses, to later
//! fragments, to broken packets, to unreachables, or to resets.

use arrayvec::ArrayVec;

use super::checksum::{checksum, fold, pseudo_header, sum};
use super::headers::{Headers, ethertype, field, flag, protocol};

const HOP_LIMIT: u8 = 64;
/// Most bytes of the refused packet that an ICMP answer quotes.
const QUOTE: usize = 536;
/// The same for ICMPv6.
const QUOTE6: usize = 1220;
const ICMP_UNREACHABLE: u8 = 3;
const ICMPV6_UNREACHABLE: u8 = 1;

/// Most bytes of an answer: link header with a tag, IPv6 header, ICMPv6 header, quote.
const LARGEST: usize = 18 + 40 + 8 + QUOTE6;

/// An answer, from its link header on.
pub type Answer = ArrayVec<u8, LARGEST>;

/// Destination unreachable with `code` for IPv4, `code6` for IPv6; `None` where there is none
/// to be sent. `partial` says that the transport's checksum is not complete yet.
pub fn unreachable(
    frame: &[u8],
    headers: &Headers,
    partial: bool,
    code: Option<u8>,
    code6: Option<u8>,
) -> Option<Answer> {
    let packet = answerable(frame, headers)?;
    if !partial && !sum_is_right(frame, headers) {
        return None;
    }
    let first = field::<1>(frame, usize::from(headers.transport)).map(|[byte]| byte);
    match headers.ethertype {
        ethertype::IP => {
            if headers.l4proto == protocol::ICMP && first == Some(ICMP_UNREACHABLE) {
                return None;
            }
            let quote = &packet[..packet.len().min(QUOTE)];
            let mut message = message(ICMP_UNREACHABLE, code?, quote);
            let check = checksum(&message);
            message[2..4].copy_from_slice(&check.to_be_bytes());
            Some(assemble((frame, headers), protocol::ICMP, &message, true))
        }
        _ => {
            if headers.l4proto == protocol::ICMPV6 && first == Some(ICMPV6_UNREACHABLE) {
                return None;
            }
            let quote = &packet[..packet.len().min(QUOTE6)];
            let mut message = message(ICMPV6_UNREACHABLE, code6?, quote);
            set_checksum(packet, protocol::ICMPV6, &mut message, 2);
            Some(assemble((frame, headers), protocol::ICMPV6, &message, true))
        }
    }
}

/// An ICMP message without its checksum.
fn message(kind: u8, code: u8, quote: &[u8]) -> Answer {
    let header = [kind, code, 0, 0, 0, 0, 0, 0];
    header.into_iter().chain(quote.iter().copied()).collect()
}

/// A reset for a TCP packet.
pub fn tcp_reset(frame: &[u8], headers: &Headers, partial: bool) -> Option<Answer> {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;
    let packet = answerable(frame, headers)?;
    let tcp = field::<20>(frame, usize::from(headers.transport))?;
    let flags = tcp[13];
    let broken = !partial && !sum_is_right(frame, headers);
    if headers.l4proto != protocol::TCP || flags & RST != 0 || broken {
        return None;
    }
    let mut reset = [0; 20];
    reset[0..2].copy_from_slice(&tcp[2..4]);
    reset[2..4].copy_from_slice(&tcp[0..2]);
    reset[12] = 5 << 4;
    if flags & ACK != 0 {
        reset[4..8].copy_from_slice(&tcp[8..12]);
        reset[13] = RST;
    } else {
        let payload = (headers.end as usize)
            .saturating_sub(usize::from(headers.transport) + usize::from(tcp[12] >> 4) * 4);
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]])
            .wrapping_add(payload as u32)
            .wrapping_add(u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0));
        reset[8..12].copy_from_slice(&sequence.to_be_bytes());
        reset[13] = RST | ACK;
    }
    set_checksum(packet, protocol::TCP, &mut reset, 16);
    Some(assemble((frame, headers), protocol::TCP, &reset, true))
}

/// The IP packet, if it may be answered.
fn answerable<'f>(frame: &'f [u8], headers: &Headers) -> Option<&'f [u8]> {
    let to_group = frame.first()? & 1 == 1;
    let ip = matches!(headers.ethertype, ethertype::IP | ethertype::IP6);
    if to_group || !ip || headers.has(flag::BAD_IP) || !headers.has(flag::TRANSPORT) {
        return None;
    }
    frame.get(usize::from(headers.network)..headers.end as usize)
}

/// Source and destination of an IP packet, side by side.
pub(crate) fn addresses(packet: &[u8]) -> &[u8] {
    if packet[0] >> 4 == 4 {
        &packet[12..20]
    } else {
        &packet[8..40]
    }
}

/// Whether the transport's checksum is right. Fragments cannot be wrong.
pub fn transport_checksum_ok(frame: &[u8], headers: &Headers) -> bool {
    headers.has(flag::FRAGMENT) || sum_is_right(frame, headers)
}

/// The same as the kernel's reject sees it: what is not known to be without a checksum has one over all
/// that it carries, a first fragment too, which is therefore answered only if it is the whole.
fn sum_is_right(frame: &[u8], headers: &Headers) -> bool {
    if !headers.has(flag::TRANSPORT) {
        return true;
    }
    let at = usize::from(headers.transport);
    let Some(packet) = frame.get(usize::from(headers.network)..headers.end as usize) else {
        return false;
    };
    let Some(segment) = frame.get(at..headers.end as usize) else {
        return false;
    };
    let ip6 = headers.ethertype == ethertype::IP6;
    let with_pseudo = match headers.l4proto {
        protocol::UDP if field::<8>(segment, 0).is_some_and(|udp| udp[6..8] == [0, 0]) => {
            return true;
        }
        protocol::TCP | protocol::UDP => true,
        // Integrity of another kind, or of a part only.
        protocol::GRE
        | protocol::AH
        | protocol::ESP
        | protocol::SCTP
        | protocol::UDPLITE
        | protocol::DCCP => return true,
        _ => ip6,
    };
    let pseudo = if with_pseudo {
        pseudo_header(addresses(packet), headers.l4proto, segment.len() as u32)
    } else {
        // The kernel sums from the IP header on, and that of a whole header is this: so what carries
        // nothing, or zeroes, is right.
        0xffff
    };
    fold(pseudo + sum(segment)) == 0xffff
}

/// Sets the checksum at `at` of a message between the hosts of an IP packet, in either direction.
pub(crate) fn set_checksum(packet: &[u8], protocol: u8, message: &mut [u8], at: usize) {
    let pseudo = pseudo_header(addresses(packet), protocol, message.len() as u32);
    let check = !fold(pseudo + sum(message));
    message[at..at + 2].copy_from_slice(&check.to_be_bytes());
}

/// Link and IP header of a frame, turned round if wanted, and the message behind them. The frame has at most
/// one tag, and a whole IP header; there is room for all of it.
pub(crate) fn assemble<const N: usize>(
    (frame, headers): (&[u8], &Headers),
    protocol: u8,
    message: &[u8],
    turned: bool,
) -> ArrayVec<u8, N> {
    let network = usize::from(headers.network);
    let packet = &frame[network..];
    let ends = |from: &[u8], to: &[u8]| -> ArrayVec<u8, 32> {
        let (first, second) = if turned { (to, from) } else { (from, to) };
        first.iter().chain(second).copied().collect()
    };
    let mut answer = ArrayVec::new();
    // The destination stands first here.
    answer.extend(ends(&frame[0..6], &frame[6..12]));
    answer.extend(frame[12..network].iter().copied());
    if headers.ethertype == ethertype::IP {
        let total = (20 + message.len()) as u16;
        let mut ip = [0; 20];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&total.to_be_bytes());
        ip[6] = 0x40;
        ip[8] = HOP_LIMIT;
        ip[9] = protocol;
        ip[12..20].copy_from_slice(&ends(&packet[12..16], &packet[16..20]));
        let check = checksum(&ip);
        ip[10..12].copy_from_slice(&check.to_be_bytes());
        answer.extend(ip);
    } else {
        let mut ip = [0; 40];
        ip[0] = 0x60;
        ip[4..6].copy_from_slice(&(message.len() as u16).to_be_bytes());
        ip[6] = protocol;
        ip[7] = HOP_LIMIT;
        ip[8..40].copy_from_slice(&ends(&packet[8..24], &packet[24..40]));
        answer.extend(ip);
    }
    answer.extend(message.iter().copied());
    answer
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
