//! Which flows a listing or a deletion is about.

use std::net::IpAddr;

use super::flow::Flow;
use super::tuple::{Tuple, address_bytes};

/// Conditions on one tuple of a flow; all that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TupleFilter {
    /// Source, and how many bits of it count.
    pub source: Option<(IpAddr, u8)>,
    /// Destination, and how many bits of it count.
    pub destination: Option<(IpAddr, u8)>,
    /// Source port or ICMP identifier.
    pub sport: Option<u16>,
    /// Destination port or ICMP type and code.
    pub dport: Option<u16>,
    /// Zone.
    pub zone: Option<u16>,
}

/// Which flows a listing or a deletion is about: all conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Network protocol of the original tuple, 2 or 10.
    pub l3: Option<u8>,
    /// Transport protocol.
    pub protocol: Option<u8>,
    /// Forwarding domain.
    pub domain: Option<u16>,
    /// Conditions on the original tuple.
    pub original: TupleFilter,
    /// Conditions on the reply tuple.
    pub reply: TupleFilter,
    /// The mark under a mask: value, mask.
    pub mark: Option<(u32, u32)>,
    /// Label bits that must be set.
    pub label: u128,
    /// Status bits that must be set.
    pub status_set: u32,
    /// Status bits that must not be set.
    pub status_clear: u32,
    /// Name of the protocol's state.
    pub state: Option<String>,
    /// `ct id`.
    pub number: Option<u32>,
}

/// Whether the first bits of an address are those of a prefix of the same family.
fn has_prefix(tuple: &Tuple, address: &[u8; 16], prefix: &(IpAddr, u8)) -> bool {
    let family = if prefix.0.is_ipv4() {
        super::tuple::IPV4
    } else {
        super::tuple::IPV6
    };
    let (value, wanted) = (
        u128::from_be_bytes(*address),
        u128::from_be_bytes(address_bytes(prefix.0)),
    );
    let bits = u32::from(prefix.1).min(128);
    let differ = (value ^ wanted).checked_shr(128 - bits).unwrap_or(0);
    tuple.l3 == family && differ == 0
}

fn is<T: PartialEq>(wanted: Option<T>, value: T) -> bool {
    wanted.is_none_or(|wanted| wanted == value)
}

impl TupleFilter {
    /// Whether a tuple fits.
    pub fn fits(&self, tuple: &Tuple) -> bool {
        is(self.sport, tuple.sport)
            && is(self.dport, tuple.dport)
            && is(self.zone, tuple.zone)
            && self
                .source
                .as_ref()
                .is_none_or(|prefix| has_prefix(tuple, &tuple.src, prefix))
            && self
                .destination
                .as_ref()
                .is_none_or(|prefix| has_prefix(tuple, &tuple.dst, prefix))
    }
}

impl Filter {
    /// Whether a flow fits.
    pub fn fits(&self, flow: &Flow) -> bool {
        is(self.l3, flow.original.l3)
            && is(self.protocol, flow.original.protocol)
            && is(self.domain, flow.original.domain)
            && self.original.fits(&flow.original)
            && self.reply.fits(&flow.reply)
            && self
                .mark
                .is_none_or(|(value, mask)| flow.mark & mask == value & mask)
            && flow.label & self.label == self.label
            && flow.status & self.status_set == self.status_set
            && flow.status & self.status_clear == 0
            && is(self.number, flow.number)
            && self
                .state
                .as_deref()
                .is_none_or(|name| flow.state_name() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_compare_their_bits_within_their_family() {
        let tuple = Tuple {
            src: address_bytes("10.1.2.3".parse().unwrap()),
            dst: address_bytes("192.0.2.1".parse().unwrap()),
            l3: super::super::tuple::IPV4,
            ..Tuple::default()
        };
        let fits = |prefix: &str, bits| {
            let source = Some((prefix.parse().unwrap(), bits));
            TupleFilter {
                source,
                ..TupleFilter::default()
            }
            .fits(&tuple)
        };
        assert!(fits("10.1.2.3", 32) && fits("10.1.2.9", 24) && fits("99.0.0.0", 0));
        assert!(!fits("10.1.2.2", 32) && !fits("10.1.3.9", 24));
        assert!(!fits("::", 0), "another family");
    }
}
