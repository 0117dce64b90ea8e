//! Writing into packets, with their checksums kept right.
//!
//! Checksums are changed by what has changed (RFC 1624), so a wrong one stays wrong and is not
//! repaired. A partial checksum, which the kernel or the device completes when the frame leaves,
//! holds the pseudo-header only: it changes with the addresses, not with the transport's own bytes.

use super::key::{Base, Slot, reads};
use super::lanes::lanes;
use super::load::pkttype;
use super::op::{Checksum, RuleRef};
use super::vm::Run;
use crate::drop_reason::DropReason;
use crate::packet::checksum::{crc32c, fold, replace, replace_partial, sum};
use crate::packet::headers::{Headers, field, flag, protocol};
use crate::packet::options::{TcpOptionSearch, search_tcp_option, tcp_header, tcp_option_len};

/// Most bytes that one write touches: 128 bits that begin inside a byte, widened to whole words.
const WIDEST: usize = 20;

impl Run<'_, '_> {
    /// Writes bits; lanes whose packet ends before them, or before a checksum that has to change
    /// with them, leave the rule and stay as they were.
    pub(super) fn write_payload(
        &mut self,
        (base, bit_offset, bits): (Base, u16, u16),
        from: Slot,
        (checksum, pseudo_header): (Checksum, bool),
        m: u64,
    ) -> u64 {
        let (first, count) = self.columns_of(from);
        let (mut written, mut left) = (0, 0);
        if base == Base::Link {
            self.keep_pkttypes(m);
        }
        for lane in lanes(m) {
            let Some(start) = self.base(base, lane) else {
                continue;
            };
            let number = (0..count).fold(0u128, |number, index| {
                number << 32 | u128::from(self.vm.columns[first + index][lane])
            });
            let target = Target {
                start,
                bit_offset,
                bits,
                limit: self.vm.packets.limits[lane] as usize,
            };
            let headers = self.vm.packets.headers[lane];
            let frame = &mut self.frames[lane];
            let partial = frame.vnet.needs_checksum();
            let of_transport = matches!(base, Base::Transport | Base::Inner);
            let own = match checksum {
                Checksum::Internet { offset } if !(of_transport && partial) => {
                    Some(start + usize::from(offset))
                }
                _ => None,
            };
            let bytes = frame.bytes_mut();
            let of_pseudo = pseudo_header
                .then(|| transport_checksum(bytes, &headers))
                .flatten();
            let there = |at: &usize| at + 2 <= target.limit.min(bytes.len());
            if !(own.iter().all(there) && of_pseudo.iter().all(there)) {
                continue;
            }
            let Some(change) = target.write(bytes, number) else {
                continue;
            };
            written |= 1 << lane;
            if let Some(at) = own {
                update(bytes, at, change, of_transport && udp(&headers));
            }
            match of_pseudo {
                Some(at) if partial => update_partial(bytes, at, change),
                Some(at) => update(bytes, at, change, udp(&headers)),
                None => {}
            }
            if let Checksum::Sctp { offset } = checksum
                && !partial
            {
                let end = headers.end as usize;
                if !update_sctp(bytes, start, usize::from(offset), end) {
                    left |= 1 << lane;
                }
            }
        }
        self.changed(written);
        written & !left
    }

    /// A packet's type is that of the address with which it came.
    fn keep_pkttypes(&mut self, m: u64) {
        for lane in lanes(m & !self.vm.packets.pkttype_set & !self.vm.packets.to_other) {
            match self.pkttype_of(lane) {
                pkttype::OTHERHOST => self.vm.packets.to_other |= 1 << lane,
                known => {
                    self.vm.packets.pkttypes[lane] = known;
                    self.vm.packets.pkttype_set |= 1 << lane;
                }
            }
        }
    }

    /// Writes a field of a TCP option. Without the option the rule goes on, as in the kernel.
    pub(super) fn write_tcp_option(
        &mut self,
        number: u8,
        offset: usize,
        len: usize,
        from: Slot,
        m: u64,
    ) -> u64 {
        const MSS: u8 = 2;
        let first = self.first_column(from);
        let (mut written, mut left) = (0, 0);
        for lane in lanes(m) {
            let headers = self.vm.packets.headers[lane];
            let value = self.vm.columns[first][lane];
            let frame = &mut self.frames[lane];
            let partial = frame.vnet.needs_checksum();
            let bytes = frame.bytes_mut();
            if tcp_header(bytes, &headers).is_none() {
                left |= 1 << lane;
                continue;
            }
            let option = match search_tcp_option(bytes, &headers, number) {
                TcpOptionSearch::Found(option) => option,
                TcpOptionSearch::Missing => continue,
                TcpOptionSearch::Cut => {
                    left |= 1 << lane;
                    continue;
                }
            };
            if offset + len > option.len {
                left |= 1 << lane;
                continue;
            }
            let at = option.at + offset;
            let old = bytes[at..at + len]
                .iter()
                .fold(0, |old, byte| old << 8 | u32::from(*byte));
            // A larger segment size could stall the connection: the kernel only lowers it.
            if old == value || number == MSS && len == 2 && old <= value {
                continue;
            }
            let start = usize::from(headers.transport);
            let bit_offset = ((at - start) * 8) as u16;
            let target = Target {
                start,
                bit_offset,
                bits: (len * 8) as u16,
                limit: usize::MAX,
            };
            if let Some(change) = target.write(bytes, u128::from(value))
                && !partial
            {
                update(bytes, start + 16, change, false);
            }
            written |= 1 << lane;
        }
        self.changed(written);
        m & !left
    }

    /// Overwrites a TCP option with no-operations.
    pub(super) fn reset_tcp_option(&mut self, number: u8, rule: RuleRef, m: u64) -> u64 {
        const NOP: u8 = 1;
        let (mut written, mut going_on) = (0, 0);
        for lane in lanes(m) {
            let headers = self.vm.packets.headers[lane];
            let frame = &mut self.frames[lane];
            let partial = frame.vnet.needs_checksum();
            let bytes = frame.bytes_mut();
            let Some(header) = tcp_header(bytes, &headers) else {
                continue;
            };
            let end = header.at + header.len;
            let mut at = header.at + 20;
            going_on |= 1 << lane;
            while at + 1 < end {
                let len = tcp_option_len(&bytes[header.at..end], at - header.at);
                if bytes[at] != number {
                    at += len;
                    continue;
                }
                if at + len > end {
                    going_on &= !(1 << lane);
                    self.vm.packets.end(1 << lane, DropReason::RuleDrop, rule);
                    break;
                }
                let before = fold(sum(&bytes[header.at + 20..end]));
                bytes[at..at + len].fill(NOP);
                let change = Change {
                    before,
                    after: fold(sum(&bytes[header.at + 20..end])),
                };
                if !partial {
                    update(bytes, header.at + 16, change, false);
                }
                written |= 1 << lane;
                break;
            }
        }
        self.changed(written);
        going_on
    }

    /// Forgets what was read from bytes that have changed.
    fn changed(&mut self, written: u64) {
        if written != 0 {
            self.vm.forget(reads::PAYLOAD, written);
            self.vm.stale |= written;
        }
    }
}

/// Sums of the words that a write has touched, before and after.
#[derive(Clone, Copy, Debug)]
struct Change {
    before: u16,
    after: u16,
}

/// Bits to be written.
struct Target {
    /// First byte of the header; words are counted from here.
    start: usize,
    bit_offset: u16,
    bits: u16,
    /// First byte behind the packet.
    limit: usize,
}

impl Target {
    fn write(&self, bytes: &mut [u8], number: u128) -> Option<Change> {
        let (begin, bits) = (usize::from(self.bit_offset), usize::from(self.bits));
        let end = begin + bits;
        let (first, last) = (begin / 8, end.div_ceil(8));
        if self.start + last > self.limit.min(bytes.len()) {
            return None;
        }
        // Whole words from the header's start, as far as the packet goes.
        let words = first & !1..last.next_multiple_of(2);
        let from = self.start + words.start;
        let until = (self.start + words.end).min(bytes.len());
        debug_assert!(until - from <= WIDEST);
        let before = fold(sum(&bytes[from..until]));
        for bit in 0..bits {
            let at = begin + bit;
            let mask = 0x80u8 >> (at % 8);
            let byte = &mut bytes[self.start + at / 8];
            if number >> (bits - 1 - bit) & 1 == 1 {
                *byte |= mask;
            } else {
                *byte &= !mask;
            }
        }
        Some(Change {
            before,
            after: fold(sum(&bytes[from..until])),
        })
    }
}

fn udp(headers: &Headers) -> bool {
    headers.l4proto == protocol::UDP
}

/// Changes the complete checksum at `at`; an absent one (0, where that means absent) stays.
fn update(bytes: &mut [u8], at: usize, change: Change, zero_is_absent: bool) {
    let Some(old) = field::<2>(bytes, at).map(u16::from_be_bytes) else {
        return;
    };
    if !(zero_is_absent && old == 0) {
        let new = replace(old, change.before, change.after);
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }
}

/// Changes a partial checksum, which holds the pseudo-header's sum only.
fn update_partial(bytes: &mut [u8], at: usize, change: Change) {
    if let Some(old) = field::<2>(bytes, at).map(u16::from_be_bytes) {
        let new = replace_partial(old, change.before, change.after);
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }
}

/// Where the transport's checksum lies that covers a pseudo-header, if the protocol has one: as in the
/// kernel ICMPv6 over IPv4, too. UDP that is cut off has none; of the others it is missing.
fn transport_checksum(bytes: &[u8], headers: &Headers) -> Option<usize> {
    let at = usize::from(headers.transport);
    let offset = match headers.l4proto {
        _ if !headers.has(flag::TRANSPORT) => return None,
        protocol::TCP => 16,
        protocol::UDP if at + 8 > (headers.end as usize).min(bytes.len()) => return None,
        protocol::UDP | protocol::UDPLITE => 6,
        protocol::ICMPV6 => 2,
        _ => return None,
    };
    Some(at + offset)
}

/// Computes the checksum anew, which needs a whole header. The kernel has written by then, and ends the
/// rule only.
fn update_sctp(bytes: &mut [u8], start: usize, offset: usize, end: usize) -> bool {
    let end = end.min(bytes.len());
    let at = start + offset;
    if at + 4 > end {
        return false;
    }
    bytes[at..at + 4].fill(0);
    let check = crc32c(&bytes[start..end]);
    bytes[at..at + 4].copy_from_slice(&check.to_le_bytes());
    true
}
