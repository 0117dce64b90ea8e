//! Loading keys into columns.

use super::key::{Base, Exthdr, FibResult, KeyDesc, Meta, Requires, Slot, Source, reads};
use super::lanes::{Column, lanes};
use super::vm::Run;
use super::walk::{Family, Hook};
use crate::packet::headers::{Headers, ethertype, field, flag, protocol};
use crate::packet::options;
use crate::port::PortId;
use crate::worker::PortInfo;

const SECOND_NS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// Values of `meta pkttype`.
pub(super) mod pkttype {
    /// For this machine.
    pub(crate) const HOST: u32 = 0;
    /// For all.
    pub(crate) const BROADCAST: u32 = 1;
    /// For a group.
    pub(crate) const MULTICAST: u32 = 2;
    /// For another station.
    pub(crate) const OTHERHOST: u32 = 3;
}

impl Run<'_, '_> {
    /// Loads a key for lanes that have not looked at it yet.
    #[cold]
    #[inline(never)]
    pub(super) fn load(&mut self, slot: Slot, need: u64) {
        let generation = self.generation;
        let key = &generation.program().tables().keys()[usize::from(slot.0)];
        let first = self.first_column(slot);
        let possible = need & self.having(&key.requires, need);
        let valid = match key.source {
            // Written by the rule before it is read, says the verifier.
            Source::Work { .. } => possible,
            Source::Payload { base, bit_offset } => {
                self.load_payload(base, bit_offset, key.bits, first, possible)
            }
            Source::Meta { key: meta } => self.load_meta(meta, first, possible),
            Source::Exthdr {
                kind,
                number,
                bit_offset,
                exists,
            } => self.load_exthdr(key, (kind, number, bit_offset, exists), first, possible),
            Source::Fib { result, flags } if generation.ports().gateway().is_some() => {
                self.load_fib(result, flags, first, possible)
            }
            Source::Fib {
                result: FibResult::Type,
                flags,
            } => self.load_address_type(flags, first, possible),
            Source::Ct { key, direction } => self.load_ct(key, direction, slot, possible),
            Source::Rt { key } => self.load_rt(key, first, possible),
            // Programs that read these are published only where their engine is.
            Source::Fib { .. } => 0,
        };
        if self.vm.slots[usize::from(slot.0)].loaded == 0 {
            self.vm.touched.push(slot.0);
        }
        let state = &mut self.vm.slots[usize::from(slot.0)];
        state.valid = state.valid & !need | valid;
        state.loaded |= need;
        if key.source.reads() & reads::FRESH != 0 {
            state.loaded = 0;
        }
    }

    /// Lanes that are of the protocols that a key requires.
    fn having(&self, requires: &Requires, need: u64) -> u64 {
        let (network, transport) = match *requires {
            Requires::Nothing => return need,
            Requires::Network { ethertype } => (Some(ethertype), None),
            Requires::Transport { protocol } => (None, Some(protocol)),
            Requires::Both {
                ethertype,
                protocol,
            } => (Some(ethertype), Some(protocol)),
        };
        let has = |headers: &Headers| {
            network.is_none_or(|network| headers.ethertype == network)
                && transport.is_none_or(|transport| {
                    headers.has(flag::L4PROTO) && headers.l4proto == transport
                })
        };
        let mut having = 0;
        for lane in lanes(need) {
            having |= u64::from(has(&self.vm.packets.headers[lane])) << lane;
        }
        having
    }

    /// The first byte that an offset counts from.
    pub(super) fn base(&self, base: Base, lane: usize) -> Option<usize> {
        let headers = &self.vm.packets.headers[lane];
        match base {
            Base::Link => Some(0),
            Base::Network => Some(usize::from(headers.network)),
            Base::Transport if headers.has(flag::TRANSPORT) => Some(usize::from(headers.transport)),
            Base::Inner if headers.has(flag::TRANSPORT) => {
                inner(self.frames[lane].bytes(), headers)
            }
            Base::Transport | Base::Inner => None,
        }
    }

    fn load_payload(
        &mut self,
        base: Base,
        bit_offset: u16,
        bits: u16,
        first: usize,
        possible: u64,
    ) -> u64 {
        let (byte, shift) = (usize::from(bit_offset / 8), usize::from(bit_offset % 8));
        let len = (shift + usize::from(bits)).div_ceil(8);
        let mut valid = 0;
        for lane in lanes(possible) {
            let Some(start) = self.base(base, lane) else {
                continue;
            };
            let limit = match base {
                Base::Link => usize::MAX,
                _ => self.vm.packets.limits[lane] as usize,
            };
            let at = start + byte;
            if at + len > limit {
                continue;
            }
            let Some(bytes) = self.frames[lane].bytes().get(at..at + len) else {
                continue;
            };
            if (bits, shift) == (16, 0) {
                self.vm.columns[first][lane] = u32::from(bytes[0]) << 8 | u32::from(bytes[1]);
            } else if (bits, shift) == (32, 0)
                && let Some(word) = field::<4>(bytes, 0)
            {
                self.vm.columns[first][lane] = u32::from_be_bytes(word);
            } else {
                store_bits(
                    &mut self.vm.columns[first..],
                    bytes,
                    shift,
                    usize::from(bits),
                    lane,
                );
            }
            valid |= 1 << lane;
        }
        valid
    }

    fn load_exthdr(
        &mut self,
        key: &KeyDesc,
        (kind, number, bit_offset, exists): (Exthdr, u8, u16, bool),
        first: usize,
        possible: u64,
    ) -> u64 {
        let (byte, shift) = (usize::from(bit_offset / 8), usize::from(bit_offset % 8));
        let len = (shift + usize::from(key.bits)).div_ceil(8);
        let mut valid = 0;
        for lane in lanes(possible) {
            let headers = self.vm.packets.headers[lane];
            let limit = self.vm.packets.limits[lane] as usize;
            let whole = self.frames[lane].bytes();
            let bytes = &whole[..limit.min(whole.len())];
            let found = match kind {
                Exthdr::Ip6 => options::ip6_extension(bytes, &headers, number),
                Exthdr::Tcp => options::tcp_option(bytes, &headers, number),
                Exthdr::Ip => options::ip_option(bytes, &headers, number),
                Exthdr::Sctp => options::sctp_chunk(bytes, &headers, number),
                Exthdr::Dccp => options::dccp_option(bytes, &headers, number),
            };
            if exists {
                self.vm.columns[first][lane] = u32::from(found.is_some());
                valid |= 1 << lane;
                continue;
            }
            // The kernel looks whether the field lies in the option for TCP and SCTP only, and whether
            // the chunk lies in the packet for SCTP.
            let end = headers.end as usize;
            let inside = |found: &options::Found| match kind {
                Exthdr::Tcp => byte + len <= found.len,
                Exthdr::Sctp => byte + len <= found.len && found.at + found.len <= end,
                _ => true,
            };
            let Some(found) = found.filter(inside) else {
                continue;
            };
            let at = found.at + byte;
            let Some(bits) = bytes.get(at..at + len) else {
                continue;
            };
            store_bits(
                &mut self.vm.columns[first..],
                bits,
                shift,
                usize::from(key.bits),
                lane,
            );
            valid |= 1 << lane;
        }
        valid
    }

    fn load_meta(&mut self, meta: Meta, first: usize, possible: u64) -> u64 {
        match meta {
            Meta::Length => self.each(first, possible, |run, lane| {
                Some(run.vm.packets.lengths[lane])
            }),
            Meta::Protocol => self.each(first, possible, |run, lane| {
                Some(u32::from(run.vm.packets.headers[lane].ethertype))
            }),
            Meta::Nfproto => self.each(first, possible, |run, lane| Some(run.nfproto(lane))),
            Meta::L4proto => self.each(first, possible, |run, lane| {
                let headers = &run.vm.packets.headers[lane];
                headers
                    .has(flag::L4PROTO)
                    .then_some(u32::from(headers.l4proto))
            }),
            Meta::Mark => self.each(first, possible, |run, lane| {
                Some(run.vm.packets.marks[lane])
            }),
            Meta::Priority => self.each(first, possible, |run, lane| {
                Some(run.vm.packets.priorities[lane])
            }),
            Meta::Pkttype => self.each(first, possible, |run, lane| Some(run.pkttype(lane))),
            Meta::Nftrace => self.each(first, possible, |run, lane| {
                Some((run.vm.packets.traced >> lane & 1) as u32)
            }),
            Meta::Cpu => self.each(first, possible, |run, _| {
                Some(u32::from(run.context.worker))
            }),
            Meta::Random => {
                for lane in lanes(possible) {
                    self.vm.columns[first][lane] = self.vm.next_random();
                }
                possible
            }
            Meta::Time => {
                let time = self.context.wall_ns;
                self.vm.columns[first].fill((time >> 32) as u32);
                self.vm.columns[first + 1].fill(time as u32);
                possible
            }
            Meta::Day => {
                // 1970-01-01 was a Thursday.
                let day = (self.context.wall_ns / SECOND_NS / DAY + 4) % 7;
                self.vm.columns[first].fill(day as u32);
                possible
            }
            Meta::Hour => {
                let second = self.context.wall_ns / SECOND_NS % DAY;
                self.vm.columns[first].fill(second as u32);
                possible
            }
            _ => self.load_port(meta, first, possible),
        }
    }

    fn load_port(&mut self, meta: Meta, first: usize, possible: u64) -> u64 {
        let out = matches!(
            meta,
            Meta::Oif
                | Meta::Oifname
                | Meta::Oiftype
                | Meta::Oifgroup
                | Meta::Oifkind
                | Meta::Obrname
        );
        let generation = self.generation;
        let mut known: Option<(PortId, &PortInfo)> = None;
        let mut valid = 0;
        for lane in lanes(possible) {
            let packets = &self.vm.packets;
            let id = if out {
                packets.out_ports[lane]
            } else if !self.place.knows_port_in() {
                PortId::NONE
            } else {
                packets.in_ports[lane]
            };
            if known.is_none_or(|(known, _)| known != id) {
                known = generation.ports().get(id).map(|info| (id, info));
            }
            let Some((_, info)) = known.filter(|(known, _)| *known == id) else {
                // Without a port the kernel has index 0 and an empty name, and nothing else.
                let columns = match meta {
                    Meta::Iif | Meta::Oif => 1,
                    Meta::Iifname | Meta::Oifname => 4,
                    _ => continue,
                };
                for column in &mut self.vm.columns[first..first + columns] {
                    column[lane] = 0;
                }
                valid |= 1 << lane;
                continue;
            };
            let mut words = |words: &[u32; 4]| {
                for (index, word) in words.iter().enumerate() {
                    self.vm.columns[first + index][lane] = *word;
                }
            };
            match meta {
                Meta::Iifname | Meta::Oifname => words(&info.name_words),
                Meta::Iifkind | Meta::Oifkind => words(&info.kind),
                Meta::Ibrname | Meta::Obrname if info.bridge != [0; 4] => words(&info.bridge),
                Meta::Iif | Meta::Oif => self.vm.columns[first][lane] = info.index,
                Meta::Iiftype | Meta::Oiftype => {
                    self.vm.columns[first][lane] = u32::from(info.arphrd);
                }
                Meta::Iifgroup | Meta::Oifgroup => self.vm.columns[first][lane] = info.group,
                // A pair filters no VLANs: the kernel's bridge answers so.
                Meta::Ibrpvid => self.vm.columns[first][lane] = 0,
                Meta::Ibrvproto => self.vm.columns[first][lane] = u32::from(ethertype::VLAN),
                _ => continue,
            }
            valid |= 1 << lane;
        }
        valid
    }

    /// Loads one word a lane.
    pub(super) fn each(
        &mut self,
        first: usize,
        possible: u64,
        value: impl Fn(&Self, usize) -> Option<u32>,
    ) -> u64 {
        let mut valid = 0;
        for lane in lanes(possible) {
            if let Some(word) = value(self, lane) {
                self.vm.columns[first][lane] = word;
                valid |= 1 << lane;
            }
        }
        valid
    }

    fn nfproto(&self, lane: usize) -> u32 {
        match self.place.family {
            Family::Ip => 2,
            Family::Ip6 => 10,
            Family::Bridge => 7,
            Family::Arp => 3,
            Family::Netdev => 5,
            Family::Inet if self.vm.packets.headers[lane].ethertype == ethertype::IP6 => 10,
            Family::Inet => 2,
        }
    }

    fn pkttype(&self, lane: usize) -> u32 {
        let packets = &self.vm.packets;
        if packets.pkttype_set >> lane & 1 == 1 {
            return packets.pkttypes[lane];
        }
        let known = if packets.to_other >> lane & 1 == 1 {
            pkttype::OTHERHOST
        } else {
            self.pkttype_of(lane)
        };
        // The kernel's bridge shows frames for others to the IP hooks as if they were its own.
        let ip_hook = matches!(self.place.family, Family::Ip | Family::Ip6 | Family::Inet)
            && self.place.hook != Hook::Ingress;
        if ip_hook && known == pkttype::OTHERHOST {
            pkttype::HOST
        } else {
            known
        }
    }

    /// What the link address says that it has now.
    pub(super) fn pkttype_of(&self, lane: usize) -> u32 {
        let Some(to) = field::<6>(self.frames[lane].bytes(), 0) else {
            return pkttype::HOST;
        };
        if to == [0xff; 6] {
            return pkttype::BROADCAST;
        }
        if to[0] & 1 == 1 {
            return pkttype::MULTICAST;
        }
        let port = self.generation.ports().get(self.vm.packets.in_ports[lane]);
        if port.is_some_and(|port| port.mac == to) {
            pkttype::HOST
        } else {
            pkttype::OTHERHOST
        }
    }

    /// What kind of address source or destination is, without a route table: a wire has no
    /// addresses of its own.
    fn load_address_type(&mut self, flags: u8, first: usize, possible: u64) -> u64 {
        const SADDR: u8 = 1;
        const UNICAST: u32 = 1;
        const LOCAL: u32 = 2;
        const BROADCAST: u32 = 3;
        const MULTICAST: u32 = 5;
        self.each(first, possible, |run, lane| {
            let headers = &run.vm.packets.headers[lane];
            let network = usize::from(headers.network);
            let bytes = run.frames[lane].bytes();
            if headers.has(flag::BAD_IP) {
                return None;
            }
            match headers.ethertype {
                ethertype::IP => {
                    let at = if flags & SADDR != 0 { 12 } else { 16 };
                    let address = field::<4>(bytes, network + at)?;
                    Some(match address {
                        [0, 0, 0, 0] | [255, 255, 255, 255] => BROADCAST,
                        [127, ..] => LOCAL,
                        [224..=239, ..] => MULTICAST,
                        _ => UNICAST,
                    })
                }
                ethertype::IP6 => {
                    let at = if flags & SADDR != 0 { 8 } else { 24 };
                    let address = u128::from_be_bytes(field::<16>(bytes, network + at)?);
                    Some(match address {
                        1 => LOCAL,
                        _ if address >> 120 == 0xff => MULTICAST,
                        _ => UNICAST,
                    })
                }
                _ => None,
            }
        })
    }
}

/// Puts `bits` bits behind the first `shift` bits of `bytes` into columns, as a number.
fn store_bits(columns: &mut [Column], bytes: &[u8], shift: usize, bits: usize, lane: usize) {
    let count = bits.div_ceil(32);
    for (index, column) in columns.iter_mut().enumerate().take(count) {
        let end = shift + bits - (count - 1 - index) * 32;
        let begin = end.saturating_sub(32).max(shift);
        column[lane] = bits_at(bytes, begin, end);
    }
}

/// Bits `begin..end` (at most 32) of bytes, as a number.
fn bits_at(bytes: &[u8], begin: usize, end: usize) -> u32 {
    let mut value = 0u64;
    for byte in &bytes[begin / 8..end.div_ceil(8)] {
        value = value << 8 | u64::from(*byte);
    }
    let behind = end.next_multiple_of(8) - end;
    let mask = (1u64 << (end - begin)) - 1;
    (value >> behind & mask) as u32
}

/// First byte of what the transport header carries.
fn inner(bytes: &[u8], headers: &Headers) -> Option<usize> {
    let at = usize::from(headers.transport);
    match headers.l4proto {
        protocol::UDP | protocol::UDPLITE => Some(at + 8),
        protocol::TCP => Some(at + usize::from(field::<13>(bytes, at)?[12] >> 4) * 4),
        protocol::IPIP => Some(at),
        protocol::GRE => {
            let flags = field::<4>(bytes, at)?[0];
            let optional = |bit: u8| if flags & bit != 0 { 4 } else { 0 };
            Some(at + 4 + optional(0x80) + optional(0x20) + optional(0x10))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::bits_at;

    #[test]
    fn bits_are_taken_from_anywhere() {
        let bytes = [0x12, 0x34, 0x56, 0x78, 0x9a];
        assert_eq!(bits_at(&bytes, 0, 4), 1);
        assert_eq!(bits_at(&bytes, 4, 16), 0x234);
        assert_eq!(bits_at(&bytes, 8, 40), 0x3456_789a);
        assert_eq!(bits_at(&bytes, 4, 36), 0x2345_6789);
        assert_eq!(bits_at(&bytes, 39, 40), 0);
    }
}
