//! Headers that are found by searching: IPv6 extension headers, TCP and IPv4 options, SCTP chunks,
//! DCCP options. Each search follows the kernel's, so that what it finds and what it refuses to
//! find is the same.

use super::headers::{Extensions, Headers, ethertype, field, flag, protocol};

/// A header found: its first byte in the frame, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// First byte in the frame.
    pub at: usize,
    /// Bytes of it.
    pub len: usize,
}

/// The TCP header with its options, from its first byte to its last; `None` when the packet is
/// not TCP, a later fragment, or cut off.
pub fn tcp_header(frame: &[u8], headers: &Headers) -> Option<Found> {
    let at = transport(headers, protocol::TCP)?;
    let len = usize::from(field::<14>(frame, at)?[12] >> 4) * 4;
    (len >= 20 && at + len <= frame.len()).then_some(Found { at, len })
}

/// What a search for a TCP option came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpOptionSearch {
    /// The header has no such option, or there is no header.
    Missing,
    /// It is there, but reaches over the header's end.
    Cut,
    /// It is there.
    Found(Found),
}

/// Searches the first TCP option of a kind.
pub fn search_tcp_option(frame: &[u8], headers: &Headers, kind: u8) -> TcpOptionSearch {
    let Some(header) = tcp_header(frame, headers) else {
        return TcpOptionSearch::Missing;
    };
    let bytes = &frame[header.at..header.at + header.len];
    let mut at = 20;
    while at + 1 < bytes.len() {
        let len = tcp_option_len(bytes, at);
        if bytes[at] == kind {
            let found = Found {
                at: header.at + at,
                len,
            };
            let whole = at + len <= bytes.len();
            return if whole {
                TcpOptionSearch::Found(found)
            } else {
                TcpOptionSearch::Cut
            };
        }
        at += len;
    }
    TcpOptionSearch::Missing
}

/// The first TCP option of a kind, whole.
pub fn tcp_option(frame: &[u8], headers: &Headers, kind: u8) -> Option<Found> {
    match search_tcp_option(frame, headers, kind) {
        TcpOptionSearch::Found(found) => Some(found),
        TcpOptionSearch::Missing | TcpOptionSearch::Cut => None,
    }
}

/// Bytes of the option that begins at `at`; 1 for those without a length, and for a length of 0.
pub fn tcp_option_len(header: &[u8], at: usize) -> usize {
    let len = header.get(at + 1).copied().unwrap_or(0);
    if header[at] <= 1 || len == 0 {
        1
    } else {
        usize::from(len)
    }
}

/// The first IPv6 extension header of a number.
pub fn ip6_extension(frame: &[u8], headers: &Headers, number: u8) -> Option<Found> {
    if headers.ethertype != ethertype::IP6 || headers.has(flag::BAD_IP) {
        return None;
    }
    let packet = &frame[..(headers.end as usize).min(frame.len())];
    let found = Extensions::new(packet, usize::from(headers.network)).find(number)?;
    Some(Found {
        at: found.at,
        len: found.len,
    })
}

/// The IPv4 option of a number. As in Linux, which takes the options apart as a whole first: where one
/// of them is malformed there is none, and a router alert is one only if its value is 0.
pub fn ip_option(frame: &[u8], headers: &Headers, number: u8) -> Option<Found> {
    if headers.ethertype != ethertype::IP || headers.has(flag::BAD_IP) {
        return None;
    }
    let start = usize::from(headers.network);
    let header_len = usize::from(frame.get(start)? & 15) * 4;
    let options = frame.get(start + 20..start + header_len)?;
    let mut found = None;
    let mut seen = 0;
    let mut at = 0;
    while at < options.len() {
        let len = match options[at] {
            0 => break,
            1 => 1,
            kind => {
                let len = usize::from(*options.get(at + 1)?);
                let option = options.get(at..at + len).filter(|_| len >= 2)?;
                let once = once(kind);
                if !is_well_formed(option) || seen & once != 0 {
                    return None;
                }
                seen |= once;
                let alert = kind != ip::ROUTER_ALERT || option[2..4] == [0, 0];
                if kind == number && alert {
                    let at = start + 20 + at;
                    found = Some(Found { at, len });
                }
                len
            }
        };
        at += len;
    }
    found
}

/// Numbers of IPv4 options (RFC 791, RFC 2113).
mod ip {
    pub(super) const RECORD_ROUTE: u8 = 7;
    pub(super) const TIMESTAMP: u8 = 68;
    pub(super) const LOOSE_ROUTE: u8 = 131;
    pub(super) const STRICT_ROUTE: u8 = 137;
    pub(super) const ROUTER_ALERT: u8 = 148;
}

/// A bit for options of which Linux takes one alone; both kinds of source routes share theirs.
fn once(kind: u8) -> u8 {
    match kind {
        ip::LOOSE_ROUTE | ip::STRICT_ROUTE => 1,
        ip::RECORD_ROUTE => 2,
        ip::TIMESTAMP => 4,
        _ => 0,
    }
}

/// Whether Linux takes an option: its length and its pointer fit each other.
fn is_well_formed(option: &[u8]) -> bool {
    let len = option.len();
    let pointer = usize::from(option.get(2).copied().unwrap_or(0));
    match option[0] {
        ip::LOOSE_ROUTE | ip::STRICT_ROUTE => {
            pointer == 4 && len >= 7 && (len - 3).is_multiple_of(4)
        }
        ip::RECORD_ROUTE => len >= 3 && pointer >= 4 && (pointer > len || pointer + 3 <= len),
        ip::TIMESTAMP if len < 4 || pointer < 5 => false,
        ip::TIMESTAMP => {
            let (mode, overflow) = (option[3] & 15, option[3] >> 4);
            match (pointer <= len, mode) {
                (true, 1 | 3) => pointer + 7 <= len,
                (true, _) => pointer + 3 <= len,
                (false, 3) => true,
                (false, _) => overflow != 15,
            }
        }
        ip::ROUTER_ALERT => len >= 4,
        _ => true,
    }
}

/// The first SCTP chunk of a type.
pub fn sctp_chunk(frame: &[u8], headers: &Headers, number: u8) -> Option<Found> {
    let mut at = transport(headers, protocol::SCTP)? + 12;
    while let Some([kind, _, high, low]) = field::<4>(frame, at) {
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len == 0 {
            return None;
        }
        if kind == number {
            return Some(Found { at, len });
        }
        at += len.next_multiple_of(4);
    }
    None
}

/// The first DCCP option of a type.
pub fn dccp_option(frame: &[u8], headers: &Headers, number: u8) -> Option<Found> {
    let start = transport(headers, protocol::DCCP)?;
    let header = field::<12>(frame, start)?;
    let extended = if header[8] & 1 != 0 { 4 } else { 0 };
    let of_type = match header[8] >> 1 & 15 {
        0 => 4,
        1 | 7 => 12,
        2 => 0,
        3..=6 | 8 | 9 => 8,
        _ => return None,
    };
    let end = start + usize::from(header[4]) * 4;
    let mut at = start + 12 + extended + of_type;
    let options = frame.get(..end)?;
    while at < end {
        let len = match options[at] {
            0..=31 => 1,
            _ => usize::from(*options.get(at + 1)?),
        };
        if len == 0 || at + len > end {
            return None;
        }
        if options[at] == number {
            return Some(Found { at, len });
        }
        at += len;
    }
    None
}

fn transport(headers: &Headers, protocol: u8) -> Option<usize> {
    (headers.has(flag::TRANSPORT) && headers.l4proto == protocol)
        .then_some(usize::from(headers.transport))
}
