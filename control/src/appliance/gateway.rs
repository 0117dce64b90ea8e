//! The gateway's part of an appliance file: addresses, `[[route]]`, `[gateway]`.

use std::net::IpAddr;

use sluice_dataplane::gateway::Prefix;

use super::Port;
use super::section::{Placed, Section, Source};

/// What this gateway leaves to others, by key.
const OTHERS: [(&str, &str); 6] = [
    ("router_advertisements", "router advertisements"),
    ("radvd", "router advertisements"),
    ("dhcp", "DHCP"),
    ("dhcpv4", "DHCP"),
    ("dhcpv6", "DHCP"),
    ("dns", "DNS"),
];

/// `[gateway]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// ICMP and ICMPv6 errors a second (0: no limit).
    pub icmp_errors_per_second: u32,
    /// First segments that the filtering of a binding refuses wait for their answer (RFC 5382, REQ-4).
    pub hold_unsolicited_syns: bool,
    /// The TCP port at which the gateway's addresses answer a health check.
    pub health_port: Option<u16>,
    /// Which marks choose which table of routes.
    pub marks: Vec<Mark>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            icmp_errors_per_second: 1000,
            hold_unsolicited_syns: true,
            health_port: None,
            marks: Vec::new(),
        }
    }
}

/// `[[gateway.mark]]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The mark, under the mask.
    pub mark: u32,
    /// Bits that count.
    pub mask: u32,
    /// Number of the table.
    pub table: u32,
}

/// `[[route]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to: address and length.
    pub to: (IpAddr, u8),
    /// What becomes of the packets.
    pub kind: RouteKind,
    /// Next hops; none unless the kind is unicast.
    pub hops: Vec<Hop>,
    /// The lowest wins.
    pub metric: u32,
    /// Largest packet on the way.
    pub mtu: Option<u32>,
    /// Number of the table; `None`: the main one.
    pub table: Option<u32>,
}

/// What becomes of packets that a route covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteKind {
    /// They go to a next hop.
    #[default]
    Unicast,
    /// They end silently.
    Blackhole,
    /// They end; the sender is told that the host cannot be reached.
    Unreachable,
    /// They end; the sender is told that it is forbidden.
    Prohibit,
}

/// One next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The neighbour; `None`: the destinations are neighbours themselves.
    pub via: Option<IpAddr>,
    /// The name of the port; `None`: that whose network has the neighbour.
    pub port: Option<String>,
    /// Its share.
    pub weight: u16,
}

/// Reads an `address/length`.
pub(super) fn prefix(source: &Source<'_>, text: &Placed<String>) -> Option<(IpAddr, u8)> {
    let parsed = text.value.split_once('/').and_then(|(address, length)| {
        let address: IpAddr = address.parse().ok()?;
        let length: u8 = length.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some((address, length))
    });
    if parsed.is_none() {
        let message = format!(
            "\"{}\" is no address with a prefix length; allowed: as \"192.0.2.0/24\" or \
             \"2001:db8::/64\"",
            text.value
        );
        source.error(text.span.clone(), &text.key, message);
    }
    parsed
}

fn address(source: &Source<'_>, text: &Placed<String>) -> Option<IpAddr> {
    let parsed = text.value.parse().ok();
    if parsed.is_none() {
        let message = format!("\"{}\" is no IP address", text.value);
        source.error(text.span.clone(), &text.key, message);
    }
    parsed
}

/// The addresses of a port. Each must be one that a station can have.
pub(super) fn addresses(section: &mut Section<'_, '_>) -> Vec<(IpAddr, u8)> {
    let mut found: Vec<(IpAddr, u8)> = Vec::new();
    for text in section.strings("addresses").unwrap_or_default() {
        let Some((address, length)) = prefix(section.source, &text) else {
            continue;
        };
        let odd = address.is_multicast() || address.is_unspecified() || address.is_loopback();
        let message = if odd {
            format!("{address} is no address that a port can have")
        } else if found.iter().any(|(other, _)| *other == address) {
            format!("{address} is named twice")
        } else {
            found.push((address, length));
            continue;
        };
        section.source.error(text.span, &text.key, message);
    }
    found
}

/// The prefixes that a port answers for.
pub(super) fn proxies(section: &mut Section<'_, '_>) -> Vec<(IpAddr, u8)> {
    let texts = section.strings("proxy").unwrap_or_default();
    texts
        .iter()
        .filter_map(|text| prefix(section.source, text))
        .collect()
}

/// Refuses by name what this gateway does not do, here or in its file.
pub(super) fn refuse_others(section: &mut Section<'_, '_>) {
    for (key, what) in OTHERS {
        section.refuse(
            key,
            &format!("this gateway does no {what}: leave it to a host of the network"),
        );
    }
}

pub(super) fn gateway(mut section: Section<'_, '_>) -> Gateway {
    let default = Gateway::default();
    let errors = section.integer("icmp_errors_per_second", 0..=1_000_000);
    let hold = section.boolean("hold_unsolicited_syns");
    let health = section.integer("health_port", 1..=65535);
    let marks = section.sections("mark").into_iter().filter_map(mark);
    let marks = marks.collect();
    refuse_others(&mut section);
    section.finish();
    Gateway {
        icmp_errors_per_second: errors
            .map_or(default.icmp_errors_per_second, |errors| errors.value as u32),
        hold_unsolicited_syns: hold.unwrap_or(default.hold_unsolicited_syns),
        health_port: health.map(|port| port.value as u16),
        marks,
    }
}

fn mark(mut section: Section<'_, '_>) -> Option<Mark> {
    let all = 0..=i64::from(u32::MAX);
    let mark = section.integer("mark", all.clone());
    let mask = section.integer("mask", all.clone());
    let table = section.integer("table", 1..=i64::from(u32::MAX));
    if mark.is_none() {
        section.missing("mark", "the mark that chooses the table");
    }
    if table.is_none() {
        section.missing("table", "the number of the table, as in [[route]]");
    }
    let mask = mask.map_or(u32::MAX, |mask| mask.value as u32);
    if let Some(mark) = &mark
        && mark.value as u32 & !mask != 0
    {
        let message = format!(
            "0x{:x} has bits that the mask 0x{mask:x} leaves out",
            mark.value
        );
        section.source.error(mark.span.clone(), &mark.key, message);
    }
    section.finish();
    Some(Mark {
        mark: mark?.value as u32,
        mask,
        table: table?.value as u32,
    })
}

/// A hop with the place of its key.
type PlacedHop = (Hop, Placed<String>);

/// Reads the routes and holds them against the ports.
pub(super) fn routes(sections: Vec<Section<'_, '_>>, ports: &[Port]) -> Vec<Route> {
    let read = sections
        .into_iter()
        .filter_map(|section| route(section, ports));
    read.collect()
}

fn route(mut section: Section<'_, '_>, ports: &[Port]) -> Option<Route> {
    let to = section.string("to");
    let kinds = [
        ("unicast", RouteKind::Unicast),
        ("blackhole", RouteKind::Blackhole),
        ("unreachable", RouteKind::Unreachable),
        ("prohibit", RouteKind::Prohibit),
    ];
    let kind = section.word("type", &kinds, &[]).unwrap_or_default();
    let mut hops: Vec<PlacedHop> = hop(&mut section, false).into_iter().collect();
    for mut inner in section.sections("hop") {
        hops.extend(hop(&mut inner, true));
        inner.finish();
    }
    let metric = section.integer("metric", 0..=i64::from(u32::MAX));
    let mtu = section.integer("mtu", 68..=65535);
    let table = section.integer("table", 1..=i64::from(u32::MAX));
    let source = section.source;
    let to = match to {
        Some(text) => prefix(source, &text).map(|to| (to, text)),
        None => {
            section.missing("to", "where the route leads, as \"0.0.0.0/0\"");
            None
        }
    };
    if kind == RouteKind::Unicast && hops.is_empty() {
        section.missing(
            "via",
            "the next hop; or name a port whose neighbours are meant",
        );
    } else if kind != RouteKind::Unicast
        && let Some((_, place)) = hops.first()
    {
        let message = "only a unicast route has next hops";
        source.error(place.span.clone(), &place.key, message);
    }
    section.finish();
    let (to, text) = to?;
    if Prefix::new(to.0.into(), to.1).map(|prefix| prefix.first()) != Some(to.0.into()) {
        let message = format!("{} has bits behind its prefix", text.value);
        source.error(text.span, &text.key, message);
    }
    for (hop, place) in &hops {
        check_hop(source, to.0, hop, place, ports);
    }
    Some(Route {
        to,
        kind,
        hops: hops.into_iter().map(|(hop, _)| hop).collect(),
        metric: metric.map_or(0, |metric| metric.value as u32),
        mtu: mtu.map(|mtu| mtu.value as u32),
        table: table.map(|table| table.value as u32),
    })
}

fn hop(section: &mut Section<'_, '_>, weighted: bool) -> Option<PlacedHop> {
    let via = section.string("via");
    let port = section.string("port");
    let weight = weighted
        .then(|| section.integer("weight", 1..=256))
        .flatten();
    let place = via.clone().or_else(|| port.clone())?;
    let hop = Hop {
        via: match &via {
            Some(text) => Some(address(section.source, text)?),
            None => None,
        },
        port: port.map(|port| port.value),
        weight: weight.map_or(1, |weight| weight.value as u16),
    };
    Some((hop, place))
}

fn check_hop(source: &Source<'_>, to: IpAddr, hop: &Hop, place: &Placed<String>, ports: &[Port]) {
    let message = if let Some(name) = &hop.port
        && !ports.iter().any(|port| port.name == *name)
    {
        format!("no port is called \"{name}\"")
    } else if hop.via.is_some_and(|via| via.is_ipv4() != to.is_ipv4()) {
        "the next hop is of the other family".to_owned()
    } else if let Some(via) = hop.via
        && port_of(hop, ports).is_none()
    {
        format!("{via} lies in no network of a port; name the port too")
    } else {
        return;
    };
    source.error(place.span.clone(), &place.key, message);
}

/// The port of a hop: as named, or that whose network has the neighbour.
pub(crate) fn port_of<'p>(hop: &'p Hop, ports: &'p [Port]) -> Option<&'p str> {
    if let Some(name) = &hop.port {
        return Some(name);
    }
    let via = hop.via?.into();
    let near = |port: &&Port| {
        let mut networks = port.addresses.iter();
        networks.any(|(own, length)| {
            Prefix::new((*own).into(), *length).is_some_and(|prefix| prefix.contains(via))
        })
    };
    ports.iter().find(near).map(|port| port.name.as_str())
}
