//! ARP for IPv4 over Ethernet (RFC 826, RFC 5227).
//!
//! Answers for the addresses of the port that was asked by, and for its `proxy` prefixes; other
//! ports' addresses are not answered for (Linux's `arp_ignore = 1`). Learns from questions of stations
//! of the port's own networks, from answers, and from announcements about stations that it knows.

use super::address::Address;
use super::neighbour::Heard;
use super::plan::{Gateway, Port};
use crate::packet::headers::{ETHERNET, ethertype, field};

/// Bytes of an ARP frame without padding.
pub const LENGTH: usize = ETHERNET + 28;
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const NOBODY: [u8; 6] = [0; 6];
const EVERYBODY: [u8; 6] = [0xff; 6];

/// A packet's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    operation: u16,
    sender_mac: [u8; 6],
    sender: Address,
    target: Address,
}

impl Packet {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let head = field::<8>(bytes, 0)?;
        // Ethernet, IPv4, and the lengths of their addresses.
        if head[..6] != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        Some(Self {
            operation: u16::from_be_bytes([head[6], head[7]]),
            sender_mac: field(bytes, 8)?,
            sender: Address::v4(field(bytes, 14)?),
            target: Address::v4(field(bytes, 24)?),
        })
    }
}

/// What an ARP packet brings about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The frame that answers it.
    pub answer: Option<[u8; LENGTH]>,
    /// Whom it was from: address, MAC address, and how it was heard of.
    pub learnt: Option<(Address, [u8; 6], Heard)>,
    /// Its sender claims one of our addresses.
    pub conflict: bool,
}

/// Understands an ARP packet (from its header on) that came by a port; `None` when it is broken.
pub fn judge(gateway: &Gateway, port: &Port, bytes: &[u8]) -> Option<Outcome> {
    let packet = Packet::parse(bytes)?;
    let odd = |address: Address| address.is_multicast() || address.is_loopback();
    let group = packet.sender_mac[0] & 1 == 1;
    if odd(packet.sender) || odd(packet.target) || group || packet.sender.is_limited_broadcast() {
        return None;
    }
    let mut outcome = Outcome::default();
    if packet.sender_mac == port.mac {
        return Some(outcome);
    }
    let probe = packet.sender.is_unspecified();
    if !probe && gateway.own(packet.sender, port).is_some() {
        outcome.conflict = true;
        return Some(outcome);
    }
    let ours = port.has(packet.target) || port.proxies(packet.target);
    let gratuitous = packet.sender == packet.target;
    if packet.operation == REQUEST && ours && !gratuitous {
        outcome.answer = Some(frame(
            REPLY,
            (port.mac, packet.target),
            (packet.sender_mac, packet.sender),
            packet.sender_mac,
        ));
    }
    if probe || !port.is_on_link(packet.sender) {
        return Some(outcome);
    }
    let heard = match packet.operation {
        _ if gratuitous => Heard::Announcement,
        REQUEST if ours => Heard::Asking,
        REPLY if port.has(packet.target) => Heard::Answer,
        // A question that others are asked: it says who is there, to those who know them.
        _ => Heard::Announcement,
    };
    outcome.learnt = Some((packet.sender, packet.sender_mac, heard));
    Some(outcome)
}

/// A question for a station, from `source`; to its last known MAC address, or to everybody.
pub fn request(port: &Port, source: Address, to: Address, mac: Option<[u8; 6]>) -> [u8; LENGTH] {
    let station = mac.unwrap_or(EVERYBODY);
    frame(REQUEST, (port.mac, source), (NOBODY, to), station)
}

/// An announcement of one of a port's addresses (RFC 5227, 3).
pub fn announcement(port: &Port, address: Address) -> [u8; LENGTH] {
    frame(REQUEST, (port.mac, address), (NOBODY, address), EVERYBODY)
}

fn frame(
    operation: u16,
    sender: ([u8; 6], Address),
    target: ([u8; 6], Address),
    station: [u8; 6],
) -> [u8; LENGTH] {
    let mut frame = [0; LENGTH];
    frame[0..6].copy_from_slice(&station);
    frame[6..12].copy_from_slice(&sender.0);
    frame[12..14].copy_from_slice(&ethertype::ARP.to_be_bytes());
    frame[14..20].copy_from_slice(&[0, 1, 8, 0, 6, 4]);
    frame[20..22].copy_from_slice(&operation.to_be_bytes());
    frame[22..28].copy_from_slice(&sender.0);
    frame[28..32].copy_from_slice(&sender.1.octets4());
    frame[32..38].copy_from_slice(&target.0);
    frame[38..42].copy_from_slice(&target.1.octets4());
    frame
}
