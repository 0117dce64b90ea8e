//! What is configured: the ports' addresses, the routes, and what the workers share.
//!
//! Made anew when ports or routes change and published with the table of ports, so a packet sees one
//! plan from its first hook to its last. What lives on (neighbours, the host, the rate of errors) is
//! shared by all plans of one daemon.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::address::{Address, Prefix};
use super::bucket::Bucket;
use super::host::Host;
use super::neighbour::Neighbours;
use super::route::{Hop, MAIN, MarkRule, Origin, Route, RouteKind, Routes};
use crate::port::{LinkState, PortId};

/// Ports that have been announced (gratuitous ARP): number, and the device's changes then.
pub type Announced = Mutex<BTreeMap<PortId, u64>>;

/// What the plans of one daemon share.
#[derive(Debug)]
pub struct Shared {
    /// Who is where.
    pub neighbours: Neighbours,
    /// How many errors may leave.
    pub errors: Bucket,
    /// The gateway's own host.
    pub host: Mutex<Host>,
    /// Which ports have been announced.
    pub announced: Announced,
    plans: AtomicUsize,
    seed: u32,
}

impl Shared {
    /// Nothing known yet; `seed` is chance.
    pub fn new(seed: u64, errors_per_second: u32, host: Host) -> Arc<Self> {
        Arc::new(Self {
            neighbours: Neighbours::new(seed),
            errors: Bucket::new(errors_per_second),
            host: Mutex::new(host),
            announced: Mutex::default(),
            plans: AtomicUsize::new(1),
            seed: (seed >> 7) as u32,
        })
    }

    /// What flow hashes begin with, so that nobody outside knows which hop a flow takes.
    pub fn seed(&self) -> u32 {
        self.seed
    }
}

/// One port of the gateway.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its number.
    pub id: PortId,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its device: whether it is up, and its MTU.
    pub link: Arc<LinkState>,
    /// Its addresses with the length of their networks' prefixes.
    pub addresses: Vec<(Address, u8)>,
    /// What it answers for beside its own addresses.
    pub proxy: Vec<Prefix>,
    /// No link layer: there is one neighbour, and it needs no MAC address (TUN).
    pub point_to_point: bool,
    link_local: Address,
}

impl Port {
    /// A port without proxied addresses, with Ethernet.
    pub fn new(
        id: PortId,
        mac: [u8; 6],
        link: Arc<LinkState>,
        addresses: Vec<(Address, u8)>,
    ) -> Self {
        Self {
            id,
            mac,
            link,
            addresses,
            proxy: Vec::new(),
            point_to_point: false,
            link_local: Address::link_local(mac),
        }
    }

    /// Whether an address is its own, the link-local one included.
    pub fn has(&self, address: Address) -> bool {
        address == self.link_local || self.addresses.iter().any(|(own, _)| *own == address)
    }

    /// Whether it answers for an address that is not its own.
    pub fn proxies(&self, address: Address) -> bool {
        self.proxy.iter().any(|prefix| prefix.contains(address))
    }

    /// Whether an address lies in one of its networks.
    pub fn is_on_link(&self, address: Address) -> bool {
        address.is_link_local6() || self.networks().any(|(prefix, _)| prefix.contains(address))
    }

    /// Its networks, each with its own address in it.
    pub fn networks(&self) -> impl Iterator<Item = (Prefix, Address)> + '_ {
        let network = |(own, length): &(Address, u8)| Some((Prefix::new(*own, *length)?, *own));
        self.addresses.iter().filter_map(network)
    }

    /// Its link-local address.
    pub fn link_local(&self) -> Address {
        self.link_local
    }

    /// The address from which it speaks to `to`: that of the same network, else the first of the
    /// family; in IPv6 the link-local one when there is no other.
    pub fn source_for(&self, to: Address) -> Option<Address> {
        if to.is_link_local6() {
            return Some(self.link_local);
        }
        let family = |(own, _): &&(Address, u8)| own.is_v4() == to.is_v4();
        let near = self.networks().find(|(network, _)| network.contains(to));
        near.map(|(_, own)| own)
            .or_else(|| self.addresses.iter().find(family).map(|(own, _)| *own))
            .or_else(|| (!to.is_v4()).then_some(self.link_local))
    }
}

/// Whose an address is, if it is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// An address of a port.
    Address(PortId),
    /// The broadcast address of a port's network.
    Broadcast(PortId),
}

/// The plan.
pub struct Gateway {
    ports: Vec<Option<Port>>,
    /// Ascending.
    own: Vec<(Address, Own)>,
    routes: Routes,
    serial: usize,
    /// What lives on.
    pub shared: Arc<Shared>,
}

impl Gateway {
    /// A plan of these ports and static routes; the networks of the ports' addresses are routes too.
    pub fn new(
        ports: Vec<Port>,
        statics: Vec<Route>,
        marks: Vec<MarkRule>,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let mut own = Vec::new();
        let mut routes = statics;
        for port in &ports {
            for (prefix, address) in port.networks() {
                own.push((address, Own::Address(port.id)));
                // RFC 3021: a network of two addresses has no broadcast.
                if prefix.is_v4() && prefix.length() < 31 {
                    own.push((prefix.last(), Own::Broadcast(port.id)));
                }
                routes.push(Route {
                    to: prefix,
                    table: MAIN,
                    metric: 0,
                    kind: RouteKind::Unicast,
                    hops: vec![Hop {
                        port: port.id,
                        via: None,
                        weight: 1,
                    }],
                    mtu: None,
                    origin: Origin::Connected,
                });
            }
        }
        own.sort_by_key(|(address, _)| *address);
        let mut numbered: Vec<Option<Port>> = Vec::new();
        for port in ports {
            let place = usize::from(port.id.0);
            if numbered.len() <= place {
                numbered.resize_with(place + 1, || None);
            }
            numbered[place] = Some(port);
        }
        Arc::new(Self {
            ports: numbered,
            own,
            routes: Routes::new(routes, marks),
            serial: shared.plans.fetch_add(1, Ordering::Relaxed),
            shared,
        })
    }

    /// Tells the plans of one daemon apart.
    #[inline]
    pub fn serial(&self) -> usize {
        self.serial
    }

    /// A port.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&Port> {
        self.ports.get(usize::from(id.0))?.as_ref()
    }

    /// Every port.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().flatten()
    }

    /// Whether a port is there and up.
    #[inline]
    pub fn is_up(&self, id: PortId) -> bool {
        self.port(id).is_some_and(|port| port.link.is_up())
    }

    /// Whether an address is one of ours, for a packet that came by `port` (link-local addresses are
    /// each port's own).
    #[inline]
    pub fn own(&self, address: Address, port: &Port) -> Option<Own> {
        if address == port.link_local {
            return Some(Own::Address(port.id));
        }
        self.own_anywhere(address)
    }

    /// The same without a port.
    #[inline]
    pub fn own_anywhere(&self, address: Address) -> Option<Own> {
        let found = self.own.binary_search_by_key(&address, |(own, _)| *own);
        found.ok().map(|at| self.own[at].1)
    }

    /// The route that packets of a mark take to an address at the moment.
    pub fn route(&self, mark: u32, to: Address) -> Option<&Route> {
        self.routes.find(mark, to, |route| {
            route.kind != RouteKind::Unicast || route.hops.iter().any(|hop| self.is_up(hop.port))
        })
    }

    /// The routes.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// An address of the gateway for an error to `to` about a packet that came by a port: one of that
    /// port, else any of the family.
    pub fn error_source(&self, in_port: PortId, to: Address) -> Option<Address> {
        let here = self.port(in_port).and_then(|port| port.source_for(to));
        let anywhere = || {
            let mut all = self.ports().flat_map(|port| &port.addresses);
            all.find(|(own, _)| own.is_v4() == to.is_v4())
                .map(|(own, _)| *own)
        };
        match here {
            // A global address elsewhere is better than none that a router would carry.
            Some(own) if own.is_link_local6() && !to.is_link_local6() => anywhere().or(here),
            Some(own) => Some(own),
            None => anywhere(),
        }
    }

    /// Something that changes when what look-ups find may have: the devices' states and the
    /// neighbours.
    #[inline]
    pub fn version(&self) -> u64 {
        let links = self.ports().map(|port| port.link.changes());
        links.fold(self.shared.neighbours.version(), |sum, changes| {
            sum.wrapping_add(changes.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("ports", &self.ports)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

/// Two plans are the same when they are one: a changed plan is another.
impl PartialEq for Gateway {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Gateway {}
