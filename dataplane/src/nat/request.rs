//! What a flow asks of the allocator, and which addresses and ports would serve it.

use super::pool::{External, Mapping, Realm};
use super::ports::{Parity, PortSpace};
use super::rewrite::Endpoint;
use crate::packet::headers::protocol;

/// How many addresses of a range are tried when the first has no port left.
const ADDRESSES: u32 = 8;

/// What a flow asks for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Realm of the external side.
    pub realm: Realm,
    /// Transport protocol.
    pub protocol: u8,
    /// What is to be replaced.
    pub internal: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// First external address.
    pub first: [u8; 16],
    /// Last external address.
    pub last: [u8; 16],
    /// First and last external port; without it the class of the inside port.
    pub ports: Option<(u16, u16)>,
    /// Begin at a random port even where the inside port could be kept.
    pub random: bool,
    /// The address follows from the inside address alone.
    pub persistent: bool,
    /// How.
    pub mapping: Mapping,
}

impl Request {
    pub(super) fn external(&self, endpoint: Endpoint) -> External {
        External {
            realm: self.realm,
            protocol: self.protocol,
            endpoint,
        }
    }

    /// The inside port, where it may be kept.
    pub(super) fn kept(&self) -> Option<u16> {
        let (first, last) = self.port_range();
        let inside = (first..=last).contains(&self.internal.port);
        (inside && !self.random).then_some(self.internal.port)
    }

    /// The ports that may be given. Without a range of its own a port keeps its class, as in Linux.
    pub(super) fn port_range(&self) -> (u16, u16) {
        if let Some(ports) = self.ports {
            return ports;
        }
        if matches!(self.protocol, protocol::ICMP | protocol::ICMPV6) {
            return (0, u16::MAX);
        }
        match self.internal.port {
            0..512 => (1, 511),
            512..1024 => (600, 1023),
            _ => (1024, u16::MAX),
        }
    }

    pub(super) fn free_port(&self, ports: &PortSpace, chance: u64) -> Option<u16> {
        let (first, last) = self.port_range();
        let from = first + ((chance >> 16) % (u64::from(last - first) + 1)) as u16;
        let parity = Parity::of(self.internal.port);
        ports
            .next_free(first..=last, from, parity)
            .or_else(|| ports.next_free(first..=last, from, Parity::Any))
    }

    /// Addresses of the range in the order in which they are tried.
    pub(super) fn addresses(&self) -> impl Iterator<Item = [u8; 16]> + use<> {
        let (first, last) = (self.number(self.first), self.number(self.last));
        let more = last.saturating_sub(first);
        let by_flow = if self.persistent {
            0
        } else {
            spread(self.remote.address)
        };
        let start = u128::from(spread(self.internal.address) ^ by_flow.rotate_left(17));
        let ip6 = self.realm.ip6;
        let tries = if self.persistent { 1 } else { ADDRESSES };
        let count = more.saturating_add(1);
        (0..u128::from(tries).min(count)).map(move |index| {
            let number = first + (start + index) % count;
            let mut address = [0; 16];
            if ip6 {
                address = number.to_be_bytes();
            } else {
                address[..4].copy_from_slice(&(number as u32).to_be_bytes());
            }
            address
        })
    }

    fn number(&self, address: [u8; 16]) -> u128 {
        let number = u128::from_be_bytes(address);
        if self.realm.ip6 { number } else { number >> 96 }
    }
}

/// Spreads addresses over a range; nobody gains anything by guessing it.
pub(super) fn spread(address: [u8; 16]) -> u64 {
    let number = u128::from_be_bytes(address);
    let mut hash = (number >> 64) as u64 ^ number as u64;
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}
