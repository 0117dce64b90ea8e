//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements.
//!
//! Router solicitations, router advertisements and redirects are seen by the rules and then ignored:
//! announcing prefixes is not this gateway's job, and it follows nobody else's. Addresses are used
//! without duplicate address detection: they are static.

use arrayvec::ArrayVec;

use super::address::Address;
use super::icmp::header6;
use super::neighbour::Heard;
use super::plan::{Gateway, Port};
use crate::packet::Headers;
use crate::packet::checksum::{fold, pseudo_header, sum};
use crate::packet::headers::{ETHERNET, ethertype, field, flag, protocol};
use crate::packet::reply::transport_checksum_ok;

/// Types of ICMPv6.
pub mod kind {
    /// Router solicitation, the first of neighbour discovery.
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Neighbour solicitation.
    pub const SOLICITATION: u8 = 135;
    /// Neighbour advertisement.
    pub const ADVERTISEMENT: u8 = 136;
    /// Redirect, the last.
    pub const REDIRECT: u8 = 137;
}

const HOP_LIMIT: u8 = 255;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
const ALL_NODES: u128 = 0xff02_0000_0000_0000_0000_0000_0000_0001;

/// A message as a frame: link header, IPv6 header, ICMPv6 with one option.
pub type Message = ArrayVec<u8, { ETHERNET + 40 + 24 + 8 }>;

/// What a message of neighbour discovery brings about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The frame that answers it.
    pub answer: Option<Message>,
    /// Whom it was from, as with ARP.
    pub learnt: Option<(Address, [u8; 6], Heard)>,
    /// Its sender claims one of our addresses.
    pub conflict: bool,
}

/// Understands a message that came by a port; `None` when it breaks RFC 4861's rules (7.1).
pub fn judge(gateway: &Gateway, port: &Port, frame: &[u8], headers: &Headers) -> Option<Outcome> {
    let network = usize::from(headers.network);
    let message = frame.get(usize::from(headers.transport)..headers.end as usize)?;
    let [kind, code] = field::<2>(message, 0)?;
    // RFC 6980: never in fragments.
    let whole = !headers.has(flag::FRAGMENT);
    let proper = frame[network + 7] == HOP_LIMIT && code == 0 && whole;
    if !proper || !transport_checksum_ok(frame, headers) {
        return None;
    }
    let (source, to) = (
        Address::source(frame, headers)?,
        Address::destination(frame, headers)?,
    );
    match kind {
        kind::SOLICITATION => solicitation(gateway, port, message, source, to),
        kind::ADVERTISEMENT => advertisement(gateway, port, message, to),
        _ => Some(Outcome::default()),
    }
}

fn solicitation(
    gateway: &Gateway,
    port: &Port,
    message: &[u8],
    source: Address,
    to: Address,
) -> Option<Outcome> {
    let target = Address::v6(field(message, 8)?);
    let probe = source.is_unspecified();
    let station = option(&message[24..], SOURCE_LINK_ADDRESS)?;
    if target.is_multicast() || probe && (station.is_some() || to != target.solicited_node()) {
        return None;
    }
    let mut outcome = Outcome::default();
    if station == Some(port.mac) {
        return Some(outcome);
    }
    if !probe && gateway.own(source, port).is_some() {
        outcome.conflict = true;
        return Some(outcome);
    }
    let own = port.has(target);
    if !own && !port.proxies(target) {
        return Some(outcome);
    }
    // RFC 4861, 7.2.8: whoever answers for others does not override them.
    let flags = ROUTER | if own { OVERRIDE } else { 0 } | if probe { 0 } else { SOLICITED };
    let receiver = if probe {
        Address::v6(ALL_NODES.to_be_bytes())
    } else {
        source
    };
    let mac = match station {
        Some(mac) if !probe => mac,
        _ if probe => receiver.group_mac(),
        // A station that we know asks without saying its address: the neighbour table tells.
        _ => [0; 6],
    };
    outcome.answer = Some(build(
        port,
        (target, receiver, mac),
        (kind::ADVERTISEMENT, flags, target),
        TARGET_LINK_ADDRESS,
    ));
    if let (Some(mac), false) = (station, probe) {
        outcome.learnt = Some((source, mac, Heard::Asking));
    }
    Some(outcome)
}

fn advertisement(gateway: &Gateway, port: &Port, message: &[u8], to: Address) -> Option<Outcome> {
    let target = Address::v6(field(message, 8)?);
    let solicited = message[4] & SOLICITED != 0;
    let station = option(&message[24..], TARGET_LINK_ADDRESS)?;
    if target.is_multicast() || to.is_multicast() && solicited {
        return None;
    }
    let mut outcome = Outcome::default();
    if station == Some(port.mac) {
        return Some(outcome);
    }
    if gateway.own(target, port).is_some() {
        outcome.conflict = true;
        return Some(outcome);
    }
    if let Some(mac) = station {
        let heard = if solicited {
            Heard::Answer
        } else {
            Heard::Announcement
        };
        outcome.learnt = Some((target, mac, heard));
    }
    Some(outcome)
}

/// The link address in the options; `None` when an option is broken (RFC 4861, 7.1.1).
fn option(mut options: &[u8], wanted: u8) -> Option<Option<[u8; 6]>> {
    let mut found = None;
    while let Some(&[kind, units]) = options.first_chunk::<2>() {
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() {
            return None;
        }
        if kind == wanted {
            let mac: [u8; 6] = field(options, 2)?;
            if mac[0] & 1 == 1 {
                return None;
            }
            found = found.or(Some(mac));
        }
        options = &options[len..];
    }
    Some(found)
}

/// A question for a station, from `source`; to its last known MAC address, or to its group.
pub fn solicit(port: &Port, source: Address, to: Address, mac: Option<[u8; 6]>) -> Message {
    let (receiver, station) = match mac {
        Some(mac) => (to, mac),
        None => (to.solicited_node(), to.solicited_node().group_mac()),
    };
    build(
        port,
        (source, receiver, station),
        (kind::SOLICITATION, 0, to),
        SOURCE_LINK_ADDRESS,
    )
}

/// An announcement of one of a port's addresses (RFC 4861, 7.2.6).
pub fn announcement(port: &Port, address: Address) -> Message {
    let everybody = Address::v6(ALL_NODES.to_be_bytes());
    build(
        port,
        (address, everybody, everybody.group_mac()),
        (kind::ADVERTISEMENT, ROUTER | OVERRIDE, address),
        TARGET_LINK_ADDRESS,
    )
}

fn build(
    port: &Port,
    (source, receiver, station): (Address, Address, [u8; 6]),
    (kind, flags, target): (u8, u8, Address),
    option: u8,
) -> Message {
    let mut icmp = [0; 32];
    icmp[0] = kind;
    icmp[4] = flags;
    icmp[8..24].copy_from_slice(&target.octets6());
    icmp[24] = option;
    icmp[25] = 1;
    icmp[26..32].copy_from_slice(&port.mac);
    let header = header6(source, receiver, protocol::ICMPV6, HOP_LIMIT, icmp.len());
    let pseudo = pseudo_header(&header[8..40], protocol::ICMPV6, icmp.len() as u32);
    let check = !fold(pseudo + sum(&icmp));
    icmp[2..4].copy_from_slice(&check.to_be_bytes());
    let mut message = Message::new();
    message.extend(station);
    message.extend(port.mac);
    message.extend(ethertype::IP6.to_be_bytes());
    message.extend(header);
    message.extend(icmp);
    message
}
