//! The gateway's entries of a walk, second part: packets that end at the gateway itself, and the link
//! addresses of those that leave.

use std::sync::PoisonError;

use super::walk::Walk;
use crate::drop_reason::DropReason;
use crate::gateway::neighbour::{Editor, Heard, Neighbour, State};
use crate::gateway::outbox::{self, Departure};
use crate::gateway::parking::Plan;
use crate::gateway::{Address, Complaint, Gateway, Own, Port, arp, nd};
use crate::packet::headers::{Headers, ethertype, field, flag, protocol};
use crate::packet::pool::FramePool;
use crate::packet::reply::transport_checksum_ok;
use crate::packet::{Frame, segment};
use crate::port::PortId;
use crate::program::key::reads;
use crate::program::lanes::lanes;

impl Walk<'_, '_> {
    /// Hands packets for the gateway to those who deal with them.
    pub(super) fn deliver_own(&mut self, alive: u64) {
        let Some(gateway) = self.gateway() else {
            return;
        };
        let local = alive & self.desk.local;
        if local == 0 {
            return;
        }
        self.refresh(local);
        self.hold_unsolicited(local);
        let local = local & !self.run.vm.packets.ended;
        self.confirm(local);
        for lane in lanes(local & !self.run.vm.packets.ended) {
            let packets = &self.run.vm.packets;
            let headers = packets.headers[lane];
            let bytes = self.run.frames[lane].bytes();
            let kind = field::<1>(bytes, usize::from(headers.transport));
            let discovery = headers.ethertype == ethertype::IP6
                && headers.has(flag::TRANSPORT)
                && headers.l4proto == protocol::ICMPV6
                && kind.is_some_and(|[kind]| {
                    (nd::kind::ROUTER_SOLICITATION..=nd::kind::REDIRECT).contains(&kind)
                });
            if discovery {
                self.discover(gateway, lane, &headers);
            } else {
                self.deliver(gateway, lane, &headers);
            }
        }
    }

    fn discover(&mut self, gateway: &Gateway, lane: usize, headers: &Headers) {
        let port = gateway.port(self.run.vm.packets.in_ports[lane]);
        let bytes = self.run.frames[lane].bytes();
        let judged = port.and_then(|port| Some((port, nd::judge(gateway, port, bytes, headers)?)));
        let Some((port, outcome)) = judged else {
            return self.end(lane, DropReason::NdBad);
        };
        if outcome.conflict {
            return self.end(lane, DropReason::AddressConflict);
        }
        if let Some((address, mac, heard)) = outcome.learnt
            && port.is_on_link(address)
        {
            self.learn(gateway, port, address, mac, heard);
        }
        if let Some(answer) = outcome.answer {
            self.desk.outbox.add_nd(self.run.pool, &answer, port.id);
        }
        self.keep(lane);
    }

    /// Hands a packet to the gateway's host.
    fn deliver(&mut self, gateway: &Gateway, lane: usize, headers: &Headers) {
        let in_port = self.run.vm.packets.in_ports[lane];
        let frame = &mut self.run.frames[lane];
        if segment::complete_checksum(frame).is_err() {
            return self.end(lane, DropReason::OffloadBad);
        }
        let bytes = frame.bytes();
        let end = (headers.end as usize).min(bytes.len());
        let (Some(packet), Some(source), Some(to)) = (
            bytes.get(usize::from(headers.network)..end),
            Address::source(bytes, headers),
            Address::destination(bytes, headers),
        ) else {
            return self.end(lane, DropReason::IpHeaderBad);
        };
        // Nobody here listens to groups.
        let broadcast = matches!(gateway.own_anywhere(to), Some(Own::Broadcast(_)));
        if broadcast || to.is_multicast() || to.is_limited_broadcast() || bytes[0] & 1 == 1 {
            return self.end(lane, DropReason::NoListener);
        }
        if self
            .desk
            .outbox
            .echo(self.run.pool, (bytes, headers), in_port)
        {
            return self.keep(lane);
        }
        // What the host has no ears for is told as the packet came, which the host could not.
        let complaint = match headers.l4proto {
            _ if headers.has(flag::FRAGMENT) || !headers.has(flag::TRANSPORT) => None,
            protocol::TCP | protocol::ICMP | protocol::ICMPV6 => None,
            protocol::UDP | protocol::UDPLITE if transport_checksum_ok(bytes, headers) => {
                Some(Complaint::PortUnreachable)
            }
            protocol::UDP | protocol::UDPLITE => return self.end(lane, DropReason::NoListener),
            _ => Some(Complaint::UnknownProtocol),
        };
        if let Some(complaint) = complaint {
            self.complain_from(gateway, lane, Some(to), complaint);
            return self.end(lane, DropReason::NoListener);
        }
        let mut host = gateway
            .shared
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let taken = host.deliver(packet, source, in_port);
        drop(host);
        self.desk.visited = true;
        if taken {
            self.keep(lane);
        } else {
            self.end(lane, DropReason::HostFull);
        }
    }

    /// Answers ARP; ends what is not ARP.
    pub(super) fn arp(&mut self, alive: u64) {
        let Some(gateway) = self.gateway() else {
            return;
        };
        for lane in lanes(alive) {
            let packets = &self.run.vm.packets;
            let headers = packets.headers[lane];
            let port = gateway.port(packets.in_ports[lane]);
            let (Some(port), ethertype::ARP, false) =
                (port, headers.ethertype, headers.has(flag::TAGGED))
            else {
                self.end(lane, DropReason::NotRouted);
                continue;
            };
            let bytes = &self.run.frames[lane].bytes()[usize::from(headers.network)..];
            let Some(outcome) = arp::judge(gateway, port, bytes) else {
                self.end(lane, DropReason::ArpBad);
                continue;
            };
            if outcome.conflict {
                self.end(lane, DropReason::AddressConflict);
                continue;
            }
            if let Some((address, mac, heard)) = outcome.learnt {
                self.learn(gateway, port, address, mac, heard);
            }
            if let Some(answer) = outcome.answer {
                self.desk.outbox.add_arp(self.run.pool, &answer, port.id);
            }
            self.keep(lane);
        }
    }

    fn learn(
        &mut self,
        gateway: &Gateway,
        port: &Port,
        address: Address,
        mac: [u8; 6],
        heard: Heard,
    ) {
        let now_ns = self.run.context.now_ns;
        let mut editor = gateway.shared.neighbours.lock();
        if let Some(slot) = editor.learn(port.id, address, mac, heard, now_ns) {
            let outbox = &mut self.desk.outbox;
            outbox.release(self.run.pool, &mut editor, slot, port.mac);
        }
    }

    /// Writes link addresses; cuts what is too big; has packets wait.
    pub(super) fn neighbour(&mut self, alive: u64) {
        let Some(gateway) = self.gateway() else {
            return;
        };
        self.refresh(alive);
        let now_ns = self.run.context.now_ns;
        let mut known: Option<(PortId, Address, [u8; 6])> = None;
        for lane in lanes(alive & !self.desk.addressed) {
            let packets = &self.run.vm.packets;
            let (id, next) = (packets.out_ports[lane], packets.next_hops[lane]);
            let Some(port) = gateway.port(id) else {
                self.end(lane, DropReason::PortDown);
                continue;
            };
            let Some(too_big) = self.fits_or_may_be_cut(gateway, lane) else {
                continue;
            };
            let station = match known {
                Some((port, address, mac)) if (port, address) == (id, next) => Some(mac),
                _ if port.point_to_point => Some([0; 6]),
                _ if next.is_multicast() || next.is_limited_broadcast() => Some(next.group_mac()),
                _ => {
                    let found = gateway.shared.neighbours.find(id, next, now_ns);
                    found.map(|found| found.mac)
                }
            };
            match station {
                Some(mac) => {
                    known = Some((id, next, mac));
                    self.send_to(lane, port, mac, too_big);
                }
                None => self.wait_for(gateway, lane, port, next, too_big),
            }
        }
        // The link header is another one now.
        self.run.vm.forget(reads::PAYLOAD, alive);
    }

    /// Whether a lane's packet has to be cut for its way out; `None` when it must not be, and ends here.
    #[inline]
    fn fits_or_may_be_cut(&mut self, gateway: &Gateway, lane: usize) -> Option<bool> {
        let packets = &self.run.vm.packets;
        let (headers, mtu) = (&packets.headers[lane], packets.mtus[lane]);
        if self.size(lane) <= mtu {
            return Some(false);
        }
        if outbox::may_be_cut(self.run.frames[lane].bytes(), headers) {
            return Some(true);
        }
        self.tell_too_big(gateway, lane, mtu);
        None
    }

    /// Ends a packet that has become too big behind the route: a helper has lengthened it. Its sender is told
    /// of an MTU that leaves room for that; the way's own, which Linux tells, it keeps to already.
    #[cold]
    fn tell_too_big(&mut self, gateway: &Gateway, lane: usize, mtu: u32) {
        // Nobody outside has sent what was made here.
        if self.desk.own >> lane & 1 == 0 {
            let mtu = mtu.saturating_sub(self.desk.grown(lane));
            self.complain(gateway, lane, Complaint::TooBig { mtu });
        }
        self.end(lane, DropReason::PacketTooBig);
    }

    #[inline]
    fn send_to(&mut self, lane: usize, port: &Port, mac: [u8; 6], too_big: bool) {
        let frame = &mut self.run.frames[lane];
        outbox::address(frame.bytes_mut(), mac, port.mac);
        if !too_big {
            return;
        }
        let packets = &self.run.vm.packets;
        let departure = Departure {
            port: port.id,
            mtu: packets.mtus[lane],
            mark: packets.marks[lane],
        };
        let (bytes, vnet) = (frame.bytes(), frame.vnet);
        self.desk
            .outbox
            .depart(self.run.pool, bytes, vnet, departure);
        self.keep(lane);
    }

    /// A packet whose next hop is not known.
    #[cold]
    fn wait_for(
        &mut self,
        gateway: &Gateway,
        lane: usize,
        port: &Port,
        next: Address,
        too_big: bool,
    ) {
        let now_ns = self.run.context.now_ns;
        if port.source_for(next).is_none() {
            // Nobody of that family can be asked there.
            self.complain(gateway, lane, Complaint::HostUnreachable);
            return self.end(lane, DropReason::NeighbourFailed);
        }
        let mut editor = gateway.shared.neighbours.lock();
        let (slot, ask) = editor.seek(port.id, next, now_ns);
        if let Some(mac) = editor.mac(slot) {
            drop(editor);
            return self.send_to(lane, port, mac, too_big);
        }
        let packets = &self.run.vm.packets;
        let plan = Plan {
            in_port: packets.in_ports[lane],
            out_port: port.id,
            mtu: packets.mtus[lane],
            mark: packets.marks[lane],
            flow: self.attach(lane),
        };
        self.park(lane, &mut editor, slot, plan);
        drop(editor);
        if ask {
            let wanted = Neighbour {
                port: port.id,
                address: next,
                mac: [0; 6],
                state: State::Incomplete,
            };
            self.desk.outbox.ask(self.run.pool, port, &wanted);
        }
        self.keep(lane);
    }

    /// Has a lane's packet wait, a datagram made of fragments as these.
    fn park(&mut self, lane: usize, editor: &mut Editor<'_>, slot: u32, plan: Plan) {
        let now_ns = self.run.context.now_ns;
        let (outbox, frame) = (&mut self.desk.outbox, &self.run.frames[lane]);
        let mut pieces = Vec::new();
        if self.run.vm.packets.gathered >> lane & 1 == 1 {
            let pool = &mut *self.run.pool;
            self.fragments
                .release(lane, frame, pool, |piece| pieces.push(piece));
        }
        let mut park = |frame: &Frame<'_>, pool: &mut FramePool| {
            let parking = editor.parking();
            if let Some(parked) = parking.park(slot, frame.bytes(), frame.vnet, plan, now_ns) {
                outbox.end_parked(pool, &parked, DropReason::NeighbourQueueFull);
                parking.give(parked);
            }
        };
        if pieces.is_empty() {
            return park(frame, self.run.pool);
        }
        for piece in pieces {
            park(&piece, self.run.pool);
            self.run.pool.give(piece);
        }
    }
}
