//! Addresses of both families as one kind of number, and prefixes of them.
//!
//! An IPv4 address is kept as the IPv4-mapped IPv6 address `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2), so
//! that routes, neighbours and own addresses of both families lie in one table each. That is safe
//! because a packet that really carries a mapped address is a martian and never looked up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet::Headers;
use crate::packet::headers::{ethertype, field};

const MAPPED: u128 = 0xffff << 32;

/// An address of either family.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(u128);

impl Address {
    /// An IPv4 address.
    pub fn v4(bytes: [u8; 4]) -> Self {
        Self(MAPPED | u128::from(u32::from_be_bytes(bytes)))
    }

    /// An IPv6 address.
    pub fn v6(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }

    /// As a number of 128 bits.
    pub fn number(self) -> u128 {
        self.0
    }

    /// Source of an IP packet.
    pub fn source(frame: &[u8], headers: &Headers) -> Option<Self> {
        Self::at(frame, headers, 12, 8)
    }

    /// Destination of an IP packet.
    pub fn destination(frame: &[u8], headers: &Headers) -> Option<Self> {
        Self::at(frame, headers, 16, 24)
    }

    fn at(frame: &[u8], headers: &Headers, at4: usize, at6: usize) -> Option<Self> {
        let network = usize::from(headers.network);
        match headers.ethertype {
            ethertype::IP => field(frame, network + at4).map(Self::v4),
            ethertype::IP6 => field(frame, network + at6).map(Self::v6),
            _ => None,
        }
    }

    /// Whether it is an IPv4 address.
    #[inline]
    pub fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    /// The four bytes of an IPv4 address (of another one its last four).
    pub fn octets4(self) -> [u8; 4] {
        (self.0 as u32).to_be_bytes()
    }

    /// The sixteen bytes of an IPv6 address.
    pub fn octets6(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// 0.0.0.0 or ::.
    pub fn is_unspecified(self) -> bool {
        self.0 == 0 || self.0 == MAPPED
    }

    /// 255.255.255.255.
    pub fn is_limited_broadcast(self) -> bool {
        self.0 == MAPPED | 0xffff_ffff
    }

    /// 224.0.0.0/4 or ff00::/8.
    pub fn is_multicast(self) -> bool {
        if self.is_v4() {
            self.0 as u32 >> 28 == 14
        } else {
            self.0 >> 120 == 0xff
        }
    }

    /// 127.0.0.0/8 or ::1.
    pub fn is_loopback(self) -> bool {
        if self.is_v4() {
            self.0 as u32 >> 24 == 127
        } else {
            self.0 == 1
        }
    }

    /// 0.0.0.0/8, "this network".
    pub fn is_this_network(self) -> bool {
        self.is_v4() && self.0 as u32 >> 24 == 0
    }

    /// fe80::/10.
    pub fn is_link_local6(self) -> bool {
        self.0 >> 118 == 0x3fa
    }

    /// The solicited-node group of an IPv6 address (RFC 4291, 2.7.1).
    pub fn solicited_node(self) -> Self {
        const GROUP: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
        Self(GROUP | self.0 & 0xff_ffff)
    }

    /// The link-local address that a station derives from its MAC address (RFC 4291, appendix A).
    pub fn link_local(mac: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = mac;
        Self::v6([
            0xfe,
            0x80,
            0,
            0,
            0,
            0,
            0,
            0,
            a ^ 2,
            b,
            c,
            0xff,
            0xfe,
            d,
            e,
            f,
        ])
    }

    /// The MAC address of a group (RFC 1112, 6.4; RFC 2464, 7) or of the limited broadcast.
    pub fn group_mac(self) -> [u8; 6] {
        let low = (self.0 as u32).to_be_bytes();
        if self.is_limited_broadcast() {
            [0xff; 6]
        } else if self.is_v4() {
            [1, 0, 0x5e, low[1] & 0x7f, low[2], low[3]]
        } else {
            [0x33, 0x33, low[0], low[1], low[2], low[3]]
        }
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(address.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        if address.is_v4() {
            Ipv4Addr::from(address.octets4()).into()
        } else {
            Ipv6Addr::from(address.octets6()).into()
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        IpAddr::from(*self).fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix {
    first: Address,
    /// Of 128 bits: an IPv4 prefix has 96 more than people write.
    bits: u8,
}

impl Prefix {
    /// The prefix of `length` bits (at most 32 or 128) that an address lies in; `None` when there
    /// are more.
    pub fn new(address: Address, length: u8) -> Option<Self> {
        let bits = if address.is_v4() {
            length.checked_add(96)?
        } else {
            length
        };
        (bits <= 128).then(|| Self {
            first: Address(address.0 & Self::mask(bits)),
            bits,
        })
    }

    fn mask(bits: u8) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
    }

    /// Its first address.
    pub fn first(&self) -> Address {
        self.first
    }

    /// Its last address.
    pub fn last(&self) -> Address {
        Address(self.first.0 | !Self::mask(self.bits))
    }

    /// Its length as people write it.
    pub fn length(&self) -> u8 {
        if self.is_v4() {
            self.bits - 96
        } else {
            self.bits
        }
    }

    /// Bits that all its addresses share, IPv4 counted as mapped.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether it is of IPv4.
    pub fn is_v4(&self) -> bool {
        self.first.is_v4() && self.bits >= 96
    }

    /// Whether an address lies in it.
    #[inline]
    pub fn contains(&self, address: Address) -> bool {
        address.0 & Self::mask(self.bits) == self.first.0 && address.is_v4() == self.is_v4()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.length())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn families_do_not_mix() {
        let all = Prefix::new(address("::"), 0).unwrap();
        assert!(all.contains(address("2001:db8::1")));
        assert!(!all.contains(address("10.0.0.1")));
        let four = Prefix::new(address("0.0.0.0"), 0).unwrap();
        assert!(four.contains(address("255.1.2.3")));
        assert!(!four.contains(address("::1")));
        assert_eq!(four.to_string(), "0.0.0.0/0");
    }

    #[test]
    fn a_prefix_has_a_first_and_a_last_address() {
        let prefix = Prefix::new(address("10.1.2.3"), 23).unwrap();
        assert_eq!(prefix.to_string(), "10.1.2.0/23");
        assert_eq!(prefix.last(), address("10.1.3.255"));
        assert!(Prefix::new(address("10.0.0.0"), 33).is_none());
        assert!(Prefix::new(address("::"), 129).is_none());
    }

    #[test]
    fn groups_have_the_addresses_that_the_rfcs_say() {
        assert_eq!(
            address("224.129.1.2").group_mac(),
            [1, 0, 0x5e, 1, 1, 2],
            "RFC 1112: the low 23 bits"
        );
        let group = address("2001:db8::12:3456").solicited_node();
        assert_eq!(group, address("ff02::1:ff12:3456"));
        assert_eq!(group.group_mac(), [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(
            Address::link_local([2, 0, 0, 0, 0, 7]),
            address("fe80::ff:fe00:7")
        );
    }
}
