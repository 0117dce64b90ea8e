//! What rules ask of the routes: `fib`, `rt`, and answers that are routed.
//!
//! `fib` follows nft_fib_ipv4 and nft_fib_ipv6: a look-up with the port as a condition finds nothing
//! when the best route leads elsewhere (strict reverse-path check); without it any route will do
//! (loose). On a wire there are no routes: `fib ... type` knows the fixed ranges only, the rest is
//! refused when the ruleset is loaded.

use super::key::{FibResult, RtKey};
use super::op::{Reject, RuleRef};
use super::statement::codes;
use super::vm::Run;
use super::walk::{Family, Hook};
use crate::drop_reason::DropReason;
use crate::gateway::{Address, Complaint, Gateway, Own, RouteKind, icmp};
use crate::packet::headers::{ETHERNET, ethertype, flag};
use crate::packet::reply::tcp_reset;
use crate::port::PortId;
use crate::program::lanes::lanes;
use crate::worker::Routed;

/// Bits of the flags (NFTA_FIB_F_*).
mod by {
    pub(super) const SADDR: u8 = 1;
    pub(super) const MARK: u8 = 4;
    pub(super) const IIF: u8 = 8;
    pub(super) const OIF: u8 = 16;
    pub(super) const PRESENT: u8 = 32;
}

/// RTN_*
mod kind {
    pub(super) const UNICAST: u32 = 1;
    pub(super) const LOCAL: u32 = 2;
    pub(super) const BROADCAST: u32 = 3;
    pub(super) const MULTICAST: u32 = 5;
    pub(super) const BLACKHOLE: u32 = 6;
    pub(super) const UNREACHABLE: u32 = 7;
    pub(super) const PROHIBIT: u32 = 8;
}

impl Run<'_, '_> {
    fn gateway(&self) -> Option<&Gateway> {
        self.generation.ports().gateway().map(|gateway| &**gateway)
    }

    /// Loads a `fib` expression with the route table.
    pub(super) fn load_fib(
        &mut self,
        result: FibResult,
        flags: u8,
        first: usize,
        possible: u64,
    ) -> u64 {
        if result == FibResult::Type {
            return self.each(first, possible, |run, lane| run.address_type(lane, flags));
        }
        let present = flags & by::PRESENT != 0;
        let mut valid = 0;
        for lane in lanes(possible) {
            let Some(port) = self.fib_port(lane, flags) else {
                continue;
            };
            valid |= 1 << lane;
            let info = self.generation.ports().get(port);
            if present {
                self.vm.columns[first][lane] = u32::from(info.is_some());
            } else if result == FibResult::Oif {
                self.vm.columns[first][lane] = info.map_or(0, |info| info.index);
            } else {
                let words = info.map_or([0; 4], |info| info.name_words);
                for (index, word) in words.into_iter().enumerate() {
                    self.vm.columns[first + index][lane] = word;
                }
            }
        }
        valid
    }

    /// The address that a `fib` expression asks about, and its mark.
    fn fib_address(&self, lane: usize, flags: u8) -> Option<(Address, u32)> {
        let (frame, headers) = (self.frames[lane].bytes(), &self.vm.packets.headers[lane]);
        if headers.has(flag::BAD_IP) {
            return None;
        }
        let address = if flags & by::SADDR != 0 {
            Address::source(frame, headers)?
        } else {
            Address::destination(frame, headers)?
        };
        let mark = if flags & by::MARK != 0 {
            self.vm.packets.marks[lane]
        } else {
            0
        };
        Some((address, mark))
    }

    /// The port that the flags hold a look-up to.
    fn fib_condition(&self, lane: usize, flags: u8) -> Option<PortId> {
        if flags & by::OIF != 0 {
            Some(self.vm.packets.out_ports[lane])
        } else if flags & by::IIF != 0 {
            Some(self.vm.packets.in_ports[lane])
        } else {
            None
        }
    }

    /// The port by which a route leads to the address; [`PortId::NONE`] when there is none. `None`:
    /// the packet has no such address.
    fn fib_port(&self, lane: usize, flags: u8) -> Option<PortId> {
        let gateway = self.gateway()?;
        let (address, mark) = self.fib_address(lane, flags)?;
        let in_port = self.vm.packets.in_ports[lane];
        let condition = self.fib_condition(lane, flags);
        // A station without an address yet (DHCP), or neighbour discovery: it came by where it came by.
        if flags & by::SADDR != 0 && (address.is_this_network() || address.is_unspecified()) {
            return Some(in_port);
        }
        if address.is_link_local6() {
            return Some(condition.unwrap_or(in_port));
        }
        if gateway.own_anywhere(address).is_some() {
            return Some(PortId::NONE);
        }
        let route = gateway.route(mark, address);
        let Some(route) = route.filter(|route| route.kind == RouteKind::Unicast) else {
            return Some(PortId::NONE);
        };
        let mut hops = route.hops.iter().filter(|hop| gateway.is_up(hop.port));
        let found = match condition {
            Some(port) => hops.find(|hop| hop.port == port),
            None => hops.next(),
        };
        Some(found.map_or(PortId::NONE, |hop| hop.port))
    }

    fn address_type(&self, lane: usize, flags: u8) -> Option<u32> {
        let gateway = self.gateway()?;
        let (address, mark) = self.fib_address(lane, flags)?;
        let condition = self.fib_condition(lane, flags);
        let here = |port: PortId| condition.is_none_or(|wanted| wanted == port);
        if address.is_multicast() {
            return Some(kind::MULTICAST);
        }
        if address.is_limited_broadcast() || address.is_v4() && address.is_unspecified() {
            return Some(kind::BROADCAST);
        }
        if address.is_loopback() {
            return Some(kind::LOCAL);
        }
        let port = condition.unwrap_or(self.vm.packets.in_ports[lane]);
        let own = gateway
            .port(port)
            .and_then(|port| gateway.own(address, port))
            .or_else(|| gateway.own_anywhere(address));
        match own {
            Some(Own::Address(port)) if here(port) => return Some(kind::LOCAL),
            Some(Own::Broadcast(port)) if here(port) => return Some(kind::BROADCAST),
            _ => {}
        }
        Some(match gateway.route(mark, address).map(|route| route.kind) {
            Some(RouteKind::Unicast) => kind::UNICAST,
            Some(RouteKind::Blackhole) => kind::BLACKHOLE,
            Some(RouteKind::Prohibit) => kind::PROHIBIT,
            Some(RouteKind::Unreachable) => kind::UNREACHABLE,
            // As the kernel answers without a route: IPv6 says unreachable, IPv4 unicast.
            None if address.is_v4() => kind::UNICAST,
            None => kind::UNREACHABLE,
        })
    }

    /// Loads a value of the packet's route; without one there is none.
    pub(super) fn load_rt(&mut self, key: RtKey, first: usize, possible: u64) -> u64 {
        if self.gateway().is_none() {
            return 0;
        }
        let mut valid = 0;
        for lane in lanes(possible) {
            let packets = &self.vm.packets;
            let next = packets.next_hops[lane];
            if packets.out_ports[lane] == PortId::NONE {
                continue;
            }
            match key {
                RtKey::Classid => self.vm.columns[first][lane] = 0,
                RtKey::Nexthop4 if next.is_v4() => {
                    self.vm.columns[first][lane] = next.number() as u32;
                }
                RtKey::Nexthop6 if !next.is_v4() => {
                    for index in 0..4 {
                        let word = (next.number() >> (96 - 32 * index)) as u32;
                        self.vm.columns[first + index][lane] = word;
                    }
                }
                RtKey::Mtu => match self.segment_size(lane) {
                    Some(size) => self.vm.columns[first][lane] = size,
                    None => continue,
                },
                RtKey::Nexthop4 | RtKey::Nexthop6 => continue,
            }
            valid |= 1 << lane;
        }
        valid
    }

    /// The TCP segment that fits the ways of both directions (nft_rt's `mtu`).
    fn segment_size(&self, lane: usize) -> Option<u32> {
        const DEFAULT: u32 = 536;
        let gateway = self.gateway()?;
        let packets = &self.vm.packets;
        let (frame, headers) = (self.frames[lane].bytes(), &packets.headers[lane]);
        let headers_len = match headers.ethertype {
            ethertype::IP => 40,
            ethertype::IP6 => 60,
            _ => return None,
        };
        let back = Address::source(frame, headers)
            .and_then(|source| gateway.route(packets.marks[lane], source))
            .and_then(|route| {
                let hop = route.hops.first()?;
                let link = gateway.port(hop.port)?.link.mtu();
                Some(route.mtu.map_or(link, |mtu| mtu.min(link)))
            });
        let mtu = packets.mtus[lane].min(back.unwrap_or(u32::MAX));
        Some(if mtu <= headers_len || mtu > 0xffff {
            DEFAULT
        } else {
            mtu - headers_len
        })
    }

    /// Whether answers of rules that run here are routed: the IP hooks of a gateway.
    pub(super) fn is_routed(&self) -> bool {
        let ip = matches!(self.place.family, Family::Ip | Family::Ip6 | Family::Inet);
        ip && self.place.hook != Hook::Ingress && self.gateway().is_some()
    }

    /// Drops packets and answers their senders as a router does: from an address of its own, by the
    /// route to them.
    pub(super) fn reject_routed(&mut self, with: Reject, rule: RuleRef, m: u64) {
        for lane in lanes(m) {
            if let Some(packet) = self.routed_answer(with, lane) {
                let made = self.pool.take(packet.len(), PortId::NONE);
                if let Some(mut frame) = made {
                    frame.bytes_mut().copy_from_slice(&packet);
                    let ct = self.vm.packets.ct[lane];
                    let tracker = self.tracker.as_deref();
                    self.routed.push(Routed {
                        frame,
                        port: self.way_back(lane),
                        about: tracker.and_then(|tracker| tracker.attach(ct)),
                        proxied: None,
                    });
                }
            }
        }
        self.vm.packets.end(m, DropReason::RuleReject, rule);
    }

    /// The port that an answer must take: to link-local addresses there is one way only.
    pub(super) fn way_back(&self, lane: usize) -> Option<PortId> {
        let (frame, headers) = (self.frames[lane].bytes(), &self.vm.packets.headers[lane]);
        match Address::source(frame, headers) {
            Some(to) if to.is_link_local6() => Some(self.vm.packets.in_ports[lane]),
            _ => None,
        }
    }

    /// The answer with room for a link header in front.
    fn routed_answer(
        &self,
        with: Reject,
        lane: usize,
    ) -> Option<arrayvec::ArrayVec<u8, { ETHERNET + 1280 }>> {
        let gateway = self.gateway()?;
        let frame = &self.frames[lane];
        let (bytes, headers) = (frame.bytes(), &self.vm.packets.headers[lane]);
        let (code, code6) = match with {
            Reject::TcpReset => {
                let partial = frame.vnet.needs_checksum();
                let reset = tcp_reset(bytes, headers, partial)?;
                return Some(reset.into_iter().collect());
            }
            Reject::Icmp { code } => (Some(code), None),
            Reject::Icmpv6 { code } => (None, Some(code)),
            Reject::Icmpx { code } => {
                let (code, code6) = codes(code);
                (Some(code), Some(code6))
            }
        };
        let complaint = Complaint::Unreachable { code, code6 };
        if !icmp::may_complain(bytes, headers, complaint)
            || !gateway.shared.errors.take(self.context.now_ns)
        {
            return None;
        }
        let to = Address::source(bytes, headers)?;
        let source = gateway.error_source(self.vm.packets.in_ports[lane], to)?;
        let message = icmp::message(bytes, headers, complaint, source)?;
        let mut whole = arrayvec::ArrayVec::new();
        whole.extend([0; 12]);
        whole.extend(headers.ethertype.to_be_bytes());
        whole.extend(message);
        Some(whole)
    }
}
