//! Facts of a packet, each with the lanes that have it: what sets are asked by that need not be there.
//!
//! An instruction that takes facts names the slots of those that its set wants, in the order of
//! [`FactKind`]; which they are is the set's own knowledge, and the mask [`Facts::kinds`] says it.

use arrayvec::ArrayVec;

use super::lanes::Column;

/// Most facts of an instruction.
pub const MAX_FACTS: usize = 16;

/// Which way a fact looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// Where the packet comes from.
    Source,
    /// Where it goes.
    Destination,
}

/// A fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FactKind {
    /// Number of the transport protocol.
    Protocol,
    /// Type and code of ICMP, as one number of 16 bits.
    IcmpMessage,
    /// The packet mark.
    Mark,
    /// IPv4 address.
    Ipv4(Way),
    /// IPv6 address.
    Ipv6(Way),
    /// Port.
    Port(Way),
    /// Ethernet address.
    Mac(Way),
    /// Name of the port by which it came or goes.
    Iface(Way),
}

impl FactKind {
    /// All of them, in order.
    pub const ALL: [Self; 13] = [
        Self::Protocol,
        Self::IcmpMessage,
        Self::Mark,
        Self::Ipv4(Way::Source),
        Self::Ipv4(Way::Destination),
        Self::Ipv6(Way::Source),
        Self::Ipv6(Way::Destination),
        Self::Port(Way::Source),
        Self::Port(Way::Destination),
        Self::Mac(Way::Source),
        Self::Mac(Way::Destination),
        Self::Iface(Way::Source),
        Self::Iface(Way::Destination),
    ];

    /// Columns that it takes.
    pub fn columns(self) -> usize {
        match self {
            Self::Ipv6(_) | Self::Iface(_) => 4,
            Self::Mac(_) => 2,
            _ => 1,
        }
    }

    /// Its bit in [`Facts::kinds`].
    pub fn bit(self) -> u16 {
        let at = Self::ALL.iter().position(|kind| *kind == self);
        at.map_or(0, |at| 1 << at)
    }
}

/// The facts of a batch.
#[derive(Debug)]
pub struct Facts<'a> {
    facts: ArrayVec<(FactKind, ArrayVec<&'a Column, 4>, u64), MAX_FACTS>,
}

impl<'a> Facts<'a> {
    /// The facts of these kinds (bits), in order: their columns, and the lanes that have them.
    pub fn new(kinds: u16, all: impl Iterator<Item = (ArrayVec<&'a Column, 4>, u64)>) -> Self {
        let kinds = FactKind::ALL.iter().filter(|kind| kinds & kind.bit() != 0);
        let facts = kinds
            .zip(all)
            .map(|(kind, (columns, lanes))| (*kind, columns, lanes))
            .take(MAX_FACTS)
            .collect();
        Self { facts }
    }

    /// Columns of a fact and the lanes that have it; none where it was not asked for.
    pub fn get(&self, kind: FactKind) -> (&[&'a Column], u64) {
        self.facts
            .iter()
            .find(|(known, ..)| *known == kind)
            .map_or((&[], 0), |(_, columns, lanes)| (columns, *lanes))
    }
}
