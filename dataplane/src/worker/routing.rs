//! The gateway's entries of a walk, first part: who a frame is for and which way it goes.
//!
//! Order and numbers follow Linux's `ip_rcv`, `ip_route_input`, `ip_forward` and `ip_output`: the hop
//! count is taken and the MTU judged before the forward hook, packets are cut behind postrouting.

use arrayvec::ArrayVec;

use super::disposition::ProxySegment;
use super::walk::Walk;
use crate::conntrack::Attached;
use crate::drop_reason::DropReason;
use crate::gateway::outbox::{self, About};
use crate::gateway::{Address, Complaint, Gateway, Hop, Outbox, Own, Port, RouteKind};
use crate::packet::headers::{Headers, ethertype, field, flag, protocol};
use crate::packet::{BATCH, checksum};
use crate::port::PortId;
use crate::program::hash::jhash;
use crate::program::key::reads;
use crate::program::lanes::lanes;
use crate::program::{Packets, RuleRef};

/// Ways that a worker remembers.
const REMEMBERED: usize = 256;

/// A way that was looked up.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    to: Address,
    mark: u32,
    port: PortId,
    next: Address,
    mtu: u32,
}

impl Remembered {
    /// Sends a lane this way.
    #[inline]
    fn set(&self, packets: &mut Packets, lane: usize) {
        packets.out_ports[lane] = self.port;
        packets.next_hops[lane] = self.next;
        packets.mtus[lane] = self.mtu;
    }
}

/// What a worker of a gateway keeps.
#[derive(Debug)]
pub(super) struct Desk {
    /// Lanes for the gateway itself.
    pub(super) local: u64,
    /// Lanes that were made here.
    pub(super) own: u64,
    /// Lanes whose way out is given.
    pub(super) pinned: u64,
    /// Lanes whose link addresses are right.
    pub(super) addressed: u64,
    /// Lanes of our own whose destination was translated.
    pub(super) turned: u64,
    /// Lanes of our own that are about a flow.
    pub(super) attached: ArrayVec<(usize, Attached), BATCH>,
    /// Lanes of our own that are the SYN proxy's.
    pub(super) proxied: ArrayVec<(usize, ProxySegment), BATCH>,
    /// Lanes whose packet a helper has lengthened, and by how many bytes.
    pub(super) grown: ArrayVec<(usize, u32), BATCH>,
    /// What is to be sent.
    pub(super) outbox: Outbox,
    /// The host has got something to do.
    pub(super) visited: bool,
    ways: Box<[Remembered; REMEMBERED]>,
    /// State of the world for which the ways are good: plan and versions.
    good_for: (usize, u64),
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            local: 0,
            own: 0,
            pinned: 0,
            addressed: 0,
            turned: 0,
            attached: ArrayVec::new(),
            proxied: ArrayVec::new(),
            grown: ArrayVec::new(),
            outbox: Outbox::default(),
            visited: false,
            ways: Box::new([Remembered::default(); REMEMBERED]),
            good_for: (0, 0),
        }
    }
}

impl Desk {
    /// Forgets the last batch, and the ways when the world has changed.
    pub(super) fn begin(&mut self, gateway: Option<&Gateway>) {
        (self.local, self.own, self.pinned, self.addressed) = (0, 0, 0, 0);
        self.turned = 0;
        self.attached.clear();
        self.proxied.clear();
        self.grown.clear();
        let Some(gateway) = gateway else {
            return;
        };
        let world = (gateway.serial(), gateway.version());
        if self.good_for != world {
            self.good_for = world;
            self.ways.fill(Remembered::default());
        }
    }

    /// The flow that a lane of our own is about.
    #[inline]
    pub(super) fn attached(&self, lane: usize) -> Option<&Attached> {
        let found = self.attached.iter().find(|(number, _)| *number == lane);
        found.map(|(_, attached)| attached)
    }

    /// Whether a lane is a segment of the SYN proxy.
    pub(super) fn is_proxied(&self, lane: usize) -> bool {
        self.proxied.iter().any(|(number, _)| *number == lane)
    }

    /// Bytes by which a helper has lengthened a lane's packet.
    pub(super) fn grown(&self, lane: usize) -> u32 {
        let found = self.grown.iter().find(|(number, _)| *number == lane);
        found.map_or(0, |(_, by)| *by)
    }

    fn place(to: Address, mark: u32) -> usize {
        let number = to.number();
        let mixed = (number as u64 ^ (number >> 64) as u64 ^ u64::from(mark) << 17)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as usize % REMEMBERED
    }
}

/// What becomes of a packet.
enum Decision {
    /// It is for the gateway itself, as one of a group or alone.
    Local,
    /// It goes on, by the way that has been set.
    Forward,
    /// It ends.
    End(DropReason, Option<Complaint>),
}

impl<'r> Walk<'r, '_> {
    /// The plan; a program with these entries is published with one.
    pub(super) fn gateway(&self) -> Option<&'r Gateway> {
        self.run
            .generation
            .ports()
            .gateway()
            .map(|gateway| &**gateway)
    }

    pub(super) fn end(&mut self, lane: usize, reason: DropReason) {
        self.run.vm.packets.end(1 << lane, reason, RuleRef::NONE);
    }

    /// Ends a lane whose packet the gateway keeps or has dealt with.
    pub(super) fn keep(&mut self, lane: usize) {
        let packets = &mut self.run.vm.packets;
        packets.parked |= 1 << lane & !packets.ended;
        packets.ended |= 1 << lane;
    }

    pub(super) fn complain(&mut self, gateway: &Gateway, lane: usize, complaint: Complaint) {
        self.complain_from(gateway, lane, None, complaint);
    }

    pub(super) fn complain_from(
        &mut self,
        gateway: &Gateway,
        lane: usize,
        source: Option<Address>,
        complaint: Complaint,
    ) {
        let packets = &self.run.vm.packets;
        let about = About {
            frame: self.run.frames[lane].bytes(),
            headers: &packets.headers[lane],
            in_port: packets.in_ports[lane],
            source,
            flow: self.attach(lane),
        };
        let now_ns = self.run.context.now_ns;
        self.desk
            .outbox
            .complain(gateway, self.run.pool, &about, complaint, now_ns);
    }

    /// What an answer to a lane's packet is told of its flow.
    pub(super) fn attach(&self, lane: usize) -> Option<Attached> {
        let tracker = self.run.tracker.as_deref()?;
        tracker.attach(self.run.vm.packets.ct[lane])
    }

    /// Bytes of a lane's packet from the IP header on, as they are carried: of a super-frame those of its
    /// segments, of a datagram made of fragments those of the largest.
    #[inline]
    pub(super) fn size(&self, lane: usize) -> u32 {
        let packets = &self.run.vm.packets;
        let gathered = packets.gathered >> lane & 1 == 1;
        let largest = gathered.then(|| self.fragments.largest(lane)).flatten();
        largest
            .unwrap_or_else(|| outbox::packet_size(&self.run.frames[lane], &packets.headers[lane]))
    }

    /// Frames that are for another station end.
    pub(super) fn check_station(&mut self, alive: u64) {
        let Some(gateway) = self.gateway() else {
            return self
                .run
                .vm
                .packets
                .end(alive, DropReason::NoPeer, RuleRef::NONE);
        };
        for lane in lanes(alive) {
            let port = gateway.port(self.run.vm.packets.in_ports[lane]);
            let station = field::<6>(self.run.frames[lane].bytes(), 0);
            let (Some(port), Some(station)) = (port, station) else {
                self.end(lane, DropReason::PortDown);
                continue;
            };
            if station[0] & 1 == 0 && station != port.mac {
                self.end(lane, DropReason::NotForUs);
            }
        }
    }

    /// Gives packets their way.
    pub(super) fn route(&mut self, alive: u64) {
        let Some(gateway) = self.gateway() else {
            return self
                .run
                .vm
                .packets
                .end(alive, DropReason::NoPeer, RuleRef::NONE);
        };
        self.refresh(alive);
        let mut changed = 0;
        for lane in lanes(alive) {
            let decision = if self.desk.own >> lane & 1 == 1 {
                self.decide_own(gateway, lane)
            } else {
                self.decide(gateway, lane)
            };
            match decision {
                Decision::Local => self.desk.local |= 1 << lane,
                Decision::End(reason, complaint) => {
                    if let Some(complaint) = complaint {
                        self.complain(gateway, lane, complaint);
                    }
                    self.end(lane, reason);
                }
                Decision::Forward => {
                    if self.desk.own >> lane & 1 == 0 && self.take_hop(gateway, lane) {
                        changed |= 1 << lane;
                    }
                }
            }
        }
        self.run.vm.forget(reads::OUT | reads::ROUTE, alive);
        self.run.vm.forget(reads::PAYLOAD, changed);
    }

    /// Packets of our own, once more: output may have marked them, or given them another destination.
    pub(super) fn reroute(&mut self, alive: u64) {
        let free = alive & !self.desk.pinned;
        let changed = lanes(free)
            .filter(|lane| self.run.vm.packets.marks[*lane] != 0)
            .fold(self.desk.turned & free, |some, lane| some | 1 << lane);
        if changed != 0 {
            self.desk.local &= !changed;
            self.route(changed);
        }
        let here = self.desk.local & alive & !self.run.vm.packets.ended;
        if here != 0 {
            self.deliver_own(here);
        }
    }

    /// What becomes of a packet that came by a port.
    fn decide(&mut self, gateway: &Gateway, lane: usize) -> Decision {
        let packets = &self.run.vm.packets;
        let (frame, headers) = (self.run.frames[lane].bytes(), &packets.headers[lane]);
        let port = gateway.port(packets.in_ports[lane]);
        let addresses = (
            Address::source(frame, headers),
            Address::destination(frame, headers),
        );
        let (Some(port), (Some(source), Some(to))) = (port, addresses) else {
            return Decision::End(DropReason::NotRouted, None);
        };
        if let Some(end) = check_options(frame, headers) {
            return end;
        }
        let grouped = frame[0] & 1 == 1;
        if let Some(decision) = check_addresses(gateway, port, source, to, grouped) {
            return decision;
        }
        let mark = packets.marks[lane];
        let known = &self.desk.ways[Desk::place(to, mark)];
        if !grouped && known.to == to && known.mark == mark && known.mtu != 0 {
            known.set(&mut self.run.vm.packets, lane);
            return Decision::Forward;
        }
        match gateway.own(to, port) {
            Some(Own::Address(_) | Own::Broadcast(_)) => return Decision::Local,
            None if grouped => return Decision::End(DropReason::GroupNotForwarded, None),
            None => {}
        }
        self.look_up(gateway, lane, to, mark)
    }

    /// The route of a packet.
    fn look_up(&mut self, gateway: &Gateway, lane: usize, to: Address, mark: u32) -> Decision {
        let Some(route) = gateway.route(mark, to) else {
            return Decision::End(DropReason::NoRoute, Some(Complaint::NoRoute));
        };
        let refused = |complaint| Decision::End(DropReason::RouteRefuses, complaint);
        match route.kind {
            RouteKind::Unicast => {}
            RouteKind::Blackhole => return refused(None),
            RouteKind::Unreachable => return refused(Some(Complaint::HostUnreachable)),
            RouteKind::Prohibit => return refused(Some(Complaint::Prohibited)),
        }
        let hash = if route.hops.len() > 1 {
            let headers = &self.run.vm.packets.headers[lane];
            flow_hash(
                self.run.frames[lane].bytes(),
                headers,
                gateway.shared.seed(),
            )
        } else {
            0
        };
        let hop = route.hop(hash, |port| gateway.is_up(port));
        let Some(way) = hop.and_then(|hop| way_of(gateway, hop, to, mark, route.mtu)) else {
            return Decision::End(DropReason::PortDown, Some(Complaint::HostUnreachable));
        };
        way.set(&mut self.run.vm.packets, lane);
        if route.hops.len() == 1 {
            self.desk.ways[Desk::place(to, mark)] = way;
        }
        Decision::Forward
    }

    /// The way of a packet that was made here.
    fn decide_own(&mut self, gateway: &Gateway, lane: usize) -> Decision {
        let packets = &self.run.vm.packets;
        let frame = self.run.frames[lane].bytes();
        let Some(to) = Address::destination(frame, &packets.headers[lane]) else {
            return Decision::End(DropReason::NotRouted, None);
        };
        let mark = packets.marks[lane];
        if self.desk.pinned >> lane & 1 == 1 {
            let hop = Hop {
                port: packets.out_ports[lane],
                via: None,
                weight: 1,
            };
            return match way_of(gateway, hop, to, mark, None) {
                Some(way) => {
                    way.set(&mut self.run.vm.packets, lane);
                    Decision::Forward
                }
                None => Decision::End(DropReason::PortDown, None),
            };
        }
        if gateway.own_anywhere(to).is_some() {
            // The SYN proxy stands before our own host, too; and output may still send it elsewhere.
            return if self.desk.is_proxied(lane) {
                Decision::Local
            } else {
                Decision::End(DropReason::NoListener, None)
            };
        }
        match self.look_up(gateway, lane, to, mark) {
            // Nobody outside asked for it, so nobody is told.
            Decision::End(reason, _) => Decision::End(reason, None),
            decision => decision,
        }
    }

    /// Judges the MTU and takes a hop of a packet that goes on; `false` when it ends.
    fn take_hop(&mut self, gateway: &Gateway, lane: usize) -> bool {
        let packets = &self.run.vm.packets;
        let headers = packets.headers[lane];
        let (network, mtu) = (usize::from(headers.network), packets.mtus[lane]);
        let too_big = self.size(lane) > mtu;
        let four = headers.ethertype == ethertype::IP;
        let frame = &mut self.run.frames[lane];
        let hops_at = network + if four { 8 } else { 7 };
        let hops = frame.bytes()[hops_at];
        if hops <= 1 {
            self.complain(gateway, lane, Complaint::TimeExceeded);
            self.end(lane, DropReason::TtlExpired);
            return false;
        }
        if too_big && !outbox::may_be_cut(frame.bytes(), &headers) {
            self.complain(gateway, lane, Complaint::TooBig { mtu });
            self.end(lane, DropReason::PacketTooBig);
            return false;
        }
        let bytes = frame.bytes_mut();
        bytes[hops_at] = hops - 1;
        if four {
            let word = |hops: u8| u16::from_be_bytes([hops, headers.l4proto]);
            let check = u16::from_be_bytes([bytes[network + 10], bytes[network + 11]]);
            let check = checksum::replace(check, word(hops), word(hops - 1));
            bytes[network + 10..network + 12].copy_from_slice(&check.to_be_bytes());
        }
        true
    }
}

/// The way by a hop; `None` when its port is gone.
fn way_of(
    gateway: &Gateway,
    hop: Hop,
    to: Address,
    mark: u32,
    mtu: Option<u32>,
) -> Option<Remembered> {
    let port = gateway.port(hop.port)?;
    let link = port.link.mtu();
    Some(Remembered {
        to,
        mark,
        port: hop.port,
        next: hop.via.unwrap_or(to),
        mtu: mtu.map_or(link, |mtu| mtu.min(link)),
    })
}

/// Source routes are not followed (RFC 7126); malformed options end.
fn check_options(frame: &[u8], headers: &Headers) -> Option<Decision> {
    const LOOSE: u8 = 131;
    const STRICT: u8 = 137;
    let network = usize::from(headers.network);
    if headers.ethertype != ethertype::IP || frame.get(network)? & 15 == 5 {
        return None;
    }
    let options = frame.get(network + 20..network + usize::from(frame[network] & 15) * 4)?;
    let bad = |at: usize| {
        let pointer = (20 + at) as u8;
        Some(Decision::End(
            DropReason::IpOptionsBad,
            Some(Complaint::Parameter { pointer }),
        ))
    };
    let mut at = 0;
    while at < options.len() {
        let len = match options[at] {
            0 => return None,
            1 => 1,
            LOOSE | STRICT => return Some(Decision::End(DropReason::SourceRoute, None)),
            _ => match options.get(at + 1) {
                Some(&len) if len >= 2 && at + usize::from(len) <= options.len() => {
                    usize::from(len)
                }
                _ => return bad(at),
            },
        };
        at += len;
    }
    None
}

/// Judges the addresses of a packet that came by a port; `None`: they are those of a packet that may
/// be forwarded.
fn check_addresses(
    gateway: &Gateway,
    port: &Port,
    source: Address,
    to: Address,
    grouped: bool,
) -> Option<Decision> {
    let end = |reason| Some(Decision::End(reason, None));
    // RFC 4291, 2.5.5.2: mapped addresses are never on a network.
    let mapped = |address: Address, other: Address| address.is_v4() != other.is_v4();
    if mapped(source, to) || source.is_multicast() || source.is_limited_broadcast() {
        return end(DropReason::MartianSource);
    }
    if source.is_loopback() || gateway.own(source, port).is_some() {
        return end(DropReason::MartianSource);
    }
    if to.is_limited_broadcast() {
        return Some(Decision::Local);
    }
    if to.is_multicast() {
        return Some(if is_joined(port, to) {
            Decision::Local
        } else {
            Decision::End(DropReason::GroupNotForwarded, None)
        });
    }
    if source.is_unspecified() || source.is_this_network() {
        return end(DropReason::MartianSource);
    }
    if to.is_loopback() || to.is_unspecified() || to.is_this_network() {
        return end(DropReason::MartianDestination);
    }
    if to.is_link_local6() {
        return Some(match gateway.own(to, port) {
            Some(_) => Decision::Local,
            None => Decision::End(DropReason::BeyondScope, None),
        });
    }
    if source.is_link_local6() && gateway.own(to, port).is_none() {
        let complaint = (!grouped).then_some(Complaint::BeyondScope);
        return Some(Decision::End(DropReason::BeyondScope, complaint));
    }
    None
}

/// Whether the gateway listens to a group: all hosts, all nodes, all routers, the groups of its own
/// and its proxied addresses.
fn is_joined(port: &Port, group: Address) -> bool {
    const ALL_HOSTS: [u8; 4] = [224, 0, 0, 1];
    if group.is_v4() {
        return group == Address::v4(ALL_HOSTS);
    }
    const LINK: u128 = 0xff02 << 112;
    const SOLICITED: u128 = LINK | 0x1_ff00_0000;
    let number = group.number();
    if number == LINK | 1 || number == LINK | 2 {
        return true;
    }
    let solicited = |own: Address| own.solicited_node() == group;
    let addresses = port.addresses.iter().map(|(own, _)| *own);
    let mut own = addresses.chain([port.link_local()]);
    own.any(|own| !own.is_v4() && solicited(own))
        || number >> 24 == SOLICITED >> 24 && port.proxy.iter().any(|prefix| !prefix.is_v4())
}

/// A number that all packets of a flow's direction share. Fragments have no ports, so all packets
/// that are fragments go by their addresses.
fn flow_hash(frame: &[u8], headers: &Headers, seed: u32) -> u32 {
    let mut key = [0; 40];
    let (Some(source), Some(to)) = (
        Address::source(frame, headers),
        Address::destination(frame, headers),
    ) else {
        return 0;
    };
    key[..16].copy_from_slice(&source.octets6());
    key[16..32].copy_from_slice(&to.octets6());
    key[32] = headers.l4proto;
    let ports = headers.has(flag::TRANSPORT)
        && !headers.has(flag::FRAGMENT)
        && matches!(
            headers.l4proto,
            protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::DCCP
        );
    if ports && let Some(ports) = field::<4>(frame, usize::from(headers.transport)) {
        key[36..40].copy_from_slice(&ports);
    }
    jhash(&key, seed)
}
