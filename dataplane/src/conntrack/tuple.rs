//! A tuple: the addresses, ports and protocol of one direction of a flow, with zone and domain.
//!
//! A flow has two, its original and its reply tuple, each with its own network protocol (a translated
//! flow may have one of each) and its own zone. In the table a tuple is a [`Key`] of six words, so
//! that hashing and comparing are a few instructions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `NFPROTO_IPV4`.
pub const IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub const IPV6: u8 = 10;

/// One direction of a flow.
///
/// For ICMP `sport` is the identifier and `dport` type and code, `type << 8 | code`. For protocols
/// without ports both are 0; for GRE version 1 the call keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Source address; IPv4 in the first 4 bytes, the rest 0.
    pub src: [u8; 16],
    /// Destination address; IPv4 in the first 4 bytes, the rest 0.
    pub dst: [u8; 16],
    /// Source port, host order.
    pub sport: u16,
    /// Destination port, host order.
    pub dport: u16,
    /// Transport protocol number.
    pub protocol: u8,
    /// [`IPV4`] or [`IPV6`].
    pub l3: u8,
    /// Zone of this direction, 0 the default.
    pub zone: u16,
    /// Forwarding domain.
    pub domain: u16,
}

/// A tuple as the table holds it: addresses, then ports, zone and domain, then the protocols in the
/// low 16 bits of the last word (the rest of it is 0).
pub type Key = [u64; 6];

/// The bits of a key's last word that belong to the tuple.
pub const LAST_WORD: u64 = 0xffff;

/// An address as two words, its bytes as they lie in memory: no order is meant.
#[inline]
fn halves(address: &[u8; 16]) -> [u64; 2] {
    let (words, _) = address.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

#[inline]
pub(super) fn address(halves: [u64; 2]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&halves[0].to_le_bytes());
    bytes[8..].copy_from_slice(&halves[1].to_le_bytes());
    bytes
}

impl Tuple {
    /// The tuple as six words.
    #[inline]
    pub fn key(&self) -> Key {
        let [src0, src1] = halves(&self.src);
        let [dst0, dst1] = halves(&self.dst);
        let ports = u64::from(self.sport) << 48
            | u64::from(self.dport) << 32
            | u64::from(self.zone) << 16
            | u64::from(self.domain);
        [
            src0,
            src1,
            dst0,
            dst1,
            ports,
            u64::from(self.l3) << 8 | u64::from(self.protocol),
        ]
    }

    /// The tuple of six words; bits of the last word beyond the tuple do not matter.
    #[inline]
    pub fn from_key(key: &Key) -> Self {
        Self {
            src: address([key[0], key[1]]),
            dst: address([key[2], key[3]]),
            sport: (key[4] >> 48) as u16,
            dport: (key[4] >> 32) as u16,
            zone: (key[4] >> 16) as u16,
            domain: key[4] as u16,
            protocol: key[5] as u8,
            l3: (key[5] >> 8) as u8,
        }
    }

    /// An address of this tuple's network protocol.
    fn ip(&self, address: &[u8; 16]) -> IpAddr {
        if self.l3 == IPV4 {
            IpAddr::V4(Ipv4Addr::new(
                address[0], address[1], address[2], address[3],
            ))
        } else {
            IpAddr::V6(Ipv6Addr::from(*address))
        }
    }

    /// The source address.
    pub fn source(&self) -> IpAddr {
        self.ip(&self.src)
    }

    /// The destination address.
    pub fn destination(&self) -> IpAddr {
        self.ip(&self.dst)
    }

    /// Addresses turned round; ports as they are (see [`protocol::invert`](super::protocol::invert)).
    pub(super) fn turned(&self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            ..*self
        }
    }
}

/// The 16 bytes of an address in a tuple.
pub fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&address.octets());
            bytes
        }
        IpAddr::V6(address) => address.octets(),
    }
}

/// The zone that a packet is looked at in, as `ct zone set` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The zone.
    pub id: u16,
    /// Directions that it holds for: bit 0 original, bit 1 reply. The other direction is in zone 0.
    pub directions: u8,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            id: 0,
            directions: 3,
        }
    }
}

impl Zone {
    /// A zone of both directions.
    pub const fn both(id: u16) -> Self {
        Self { id, directions: 3 }
    }

    /// The zone number of a direction (0 original, 1 reply).
    #[inline]
    pub fn of(self, direction: usize) -> u16 {
        if self.directions >> direction & 1 == 1 {
            self.id
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_holds_all_of_a_tuple() {
        let tuple = Tuple {
            src: std::array::from_fn(|at| at as u8 + 1),
            dst: std::array::from_fn(|at| 0xf0 | at as u8),
            sport: 0x1234,
            dport: 0xfedc,
            protocol: 132,
            l3: IPV6,
            zone: 0xabcd,
            domain: 0x8001,
        };
        assert_eq!(Tuple::from_key(&tuple.key()), tuple);
        let mut key = tuple.key();
        assert_eq!(key[5] & !LAST_WORD, 0);
        key[5] |= !LAST_WORD;
        assert_eq!(Tuple::from_key(&key), tuple);
        assert_eq!(tuple.turned().turned(), tuple);
    }

    #[test]
    fn a_zone_of_one_direction_leaves_the_other_in_the_default_zone() {
        let zone = Zone {
            id: 7,
            directions: 1,
        };
        assert_eq!((zone.of(0), zone.of(1)), (7, 0));
        assert_eq!(Zone::both(7).of(1), 7);
    }
}
