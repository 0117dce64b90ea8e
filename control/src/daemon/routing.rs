//! What a daemon in gateway mode knows beside its ports: routes, the own host and its requests.
//!
//! The plan is made anew from the open ports whenever one comes or goes; routes by a port that is
//! not there wait until it is.

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};

use sluice_dataplane::gateway::host::{Answer, Exchange, Listener, Request, Service};
use sluice_dataplane::gateway::{
    Address, Gateway, Hop, Host, MarkRule, Origin, Port, Prefix, Route, RouteKind, Shared, route,
};
use sluice_dataplane::port::{LinkState, PortId};

use crate::api::State;
use crate::api::wire::{HopStatus, NeighbourStatus, RouteStatus};
use crate::appliance::gateway as file;
use crate::appliance::{self, Appliance, Driver};
use crate::metrics::listener;

/// Largest packet that the own host sends: what every network carries.
const HOST_MTU: usize = 1500;

/// A port that is open.
pub(super) struct OpenedPort<'a> {
    /// Its number.
    pub(super) id: PortId,
    /// Its name.
    pub(super) name: &'a str,
    /// Its MAC address.
    pub(super) mac: [u8; 6],
    /// Its device.
    pub(super) link: &'a Arc<LinkState>,
    /// What it was asked to be.
    pub(super) addresses: &'a [(IpAddr, u8)],
    /// What it answers for.
    pub(super) proxy: &'a [(IpAddr, u8)],
    /// How its frames come and go.
    pub(super) driver: Driver,
}

/// What lives as long as the daemon.
pub struct Routing {
    shared: Arc<Shared>,
    /// Where the own host listens: at one address, or at all.
    listening: Vec<(Option<IpAddr>, u16)>,
    routes: Vec<file::Route>,
    marks: Vec<MarkRule>,
}

/// Requests to the own host that the control side answers.
#[derive(Debug)]
pub struct HostRequests {
    requests: Receiver<Request>,
    answers: Sender<Answer>,
}

impl Routing {
    /// Of an appliance file in gateway mode; requests come when the metrics listener is at an address
    /// of a port.
    pub fn new(appliance: &Appliance) -> (Self, Option<HostRequests>) {
        let mut listeners = Vec::new();
        if let Some(port) = appliance.gateway.health_port {
            listeners.push(Listener {
                address: None,
                port,
                service: Service::Health,
            });
        }
        let (mut exchange, mut requests) = (None, None);
        if let Some(listen) = metrics_at_port(appliance) {
            let (to_control, from_host) = channel();
            let (to_host, from_control) = channel();
            listeners.push(Listener {
                address: Some(listen.ip().into()),
                port: listen.port(),
                service: Service::Exchange,
            });
            exchange = Some(Exchange {
                requests: to_control,
                answers: from_control,
            });
            requests = Some(HostRequests {
                requests: from_host,
                answers: to_host,
            });
        }
        let at = |listener: &Listener| (listener.address.map(IpAddr::from), listener.port);
        let listening = listeners.iter().map(at).collect();
        let host = Host::new(rand::random(), HOST_MTU, &listeners, exchange);
        let errors = appliance.gateway.icmp_errors_per_second;
        let mark = |mark: &file::Mark| MarkRule {
            mark: mark.mark,
            mask: mark.mask,
            table: mark.table,
        };
        let routing = Self {
            shared: Shared::new(rand::random(), errors, host),
            listening,
            routes: appliance.routes.clone(),
            marks: appliance.gateway.marks.iter().map(mark).collect(),
        };
        (routing, requests)
    }

    /// The plan for the ports that are open.
    pub(super) fn plan(&self, open: &[OpenedPort<'_>]) -> Arc<Gateway> {
        let ports = open.iter().map(port).collect();
        let routes = self.routes.iter().filter_map(|route| resolve(route, open));
        let marks = self.marks.clone();
        Gateway::new(ports, routes.collect(), marks, Arc::clone(&self.shared))
    }

    /// The endpoints at which the own host listens, when ports have these addresses.
    pub(super) fn listening(&self, addresses: &[IpAddr]) -> Vec<SocketAddr> {
        let ends = |(address, port): &(Option<IpAddr>, u16)| {
            let port = *port;
            let all = address.map_or_else(|| addresses.to_vec(), |address| vec![address]);
            all.into_iter()
                .map(move |address| SocketAddr::new(address, port))
        };
        self.listening.iter().flat_map(ends).collect()
    }

    /// A port is gone, and whoever was behind it.
    pub(super) fn forget(&self, port: PortId) {
        self.shared.neighbours.lock().forget(port);
        if let Ok(mut announced) = self.shared.announced.lock() {
            announced.remove(&port);
        }
    }
}

/// Where the metrics are served, if that is an address of a port of the gateway.
pub(super) fn metrics_at_port(appliance: &Appliance) -> Option<SocketAddr> {
    let listen = appliance.metrics.as_ref()?.listen;
    let routed = appliance.dataplane.mode == Some(appliance::Mode::Gateway);
    let mut own = appliance.ports.iter().flat_map(|port| &port.addresses);
    (routed && own.any(|(address, _)| *address == listen.ip())).then_some(listen)
}

fn port(open: &OpenedPort<'_>) -> Port {
    let addresses = open.addresses.iter();
    let addresses = addresses.map(|(own, length)| (Address::from(*own), *length));
    let proxy = open.proxy.iter();
    let proxy = proxy.filter_map(|(first, length)| Prefix::new((*first).into(), *length));
    let mut port = Port::new(
        open.id,
        open.mac,
        Arc::clone(open.link),
        addresses.collect(),
    );
    port.proxy = proxy.collect();
    port.point_to_point = open.driver == Driver::Tun;
    port
}

/// A route over the ports that are open; `None` when none of its next hops is there.
fn resolve(route: &file::Route, open: &[OpenedPort<'_>]) -> Option<Route> {
    let named = |name: &str| open.iter().find(|port| port.name == name);
    let near = |via: Address| {
        open.iter().find(|port| {
            let mut networks = port.addresses.iter();
            networks.any(|(own, length)| {
                Prefix::new((*own).into(), *length).is_some_and(|prefix| prefix.contains(via))
            })
        })
    };
    let hop = |hop: &file::Hop| {
        let via = hop.via.map(Address::from);
        let port = match &hop.port {
            Some(name) => named(name),
            None => via.and_then(near),
        };
        Some(Hop {
            port: port?.id,
            via,
            weight: hop.weight,
        })
    };
    let kind = match route.kind {
        file::RouteKind::Unicast => RouteKind::Unicast,
        file::RouteKind::Blackhole => RouteKind::Blackhole,
        file::RouteKind::Unreachable => RouteKind::Unreachable,
        file::RouteKind::Prohibit => RouteKind::Prohibit,
    };
    let hops: Vec<Hop> = route.hops.iter().filter_map(hop).collect();
    if kind == RouteKind::Unicast && hops.is_empty() {
        return None;
    }
    Some(Route {
        to: Prefix::new(route.to.0.into(), route.to.1)?,
        table: route.table.unwrap_or(route::MAIN),
        metric: route.metric,
        kind,
        hops,
        mtu: route.mtu,
        origin: Origin::Static,
    })
}

/// The routes for listings; `name` says what a port is called.
pub(super) fn route_list(gateway: &Gateway, name: impl Fn(PortId) -> String) -> Vec<RouteStatus> {
    let hop = |hop: &Hop| HopStatus {
        port: name(hop.port),
        via: hop.via.map(|via| via.to_string()),
        weight: hop.weight,
        up: gateway.is_up(hop.port),
    };
    let routes = gateway.routes().iter();
    routes
        .map(|route| RouteStatus {
            to: route.to.to_string(),
            kind: match route.kind {
                RouteKind::Unicast => "unicast",
                RouteKind::Blackhole => "blackhole",
                RouteKind::Unreachable => "unreachable",
                RouteKind::Prohibit => "prohibit",
            }
            .to_owned(),
            hops: route.hops.iter().map(hop).collect(),
            metric: route.metric,
            mtu: route.mtu,
            table: route.table,
            origin: match route.origin {
                Origin::Connected => "connected",
                Origin::Static => "static",
            }
            .to_owned(),
        })
        .collect()
}

/// The neighbours for listings.
pub(super) fn neighbour_list(
    gateway: &Gateway,
    name: impl Fn(PortId) -> String,
) -> Vec<NeighbourStatus> {
    let mut list = gateway.shared.neighbours.list();
    list.sort_by_key(|one| (one.port, one.address));
    list.iter()
        .map(|one| NeighbourStatus {
            port: name(one.port),
            address: one.address.to_string(),
            mac: one.state.is_usable().then(|| {
                let bytes = one.mac.map(|byte| format!("{byte:02x}"));
                bytes.join(":")
            }),
            state: one.state.name().to_owned(),
        })
        .collect()
}

/// Answers what the own host is asked, on a thread of its own, as long as the daemon runs.
///
/// # Errors
/// When the thread cannot be started.
pub(super) fn answer(requests: HostRequests, state: Weak<State>) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("host-answers".to_owned())
        .spawn(move || {
            while let Ok((number, head)) = requests.requests.recv() {
                let Some(state) = state.upgrade() else { return };
                let answer = listener::answer(&state, &head);
                if requests.answers.send((number, answer)).is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}
