//! What a rule knows about the packet's protocols, statement by statement.
//!
//! A field's header must be known before the field can be read. Where it is not, the checker puts
//! the missing match in front (a *dependency*); where something else is known already, the rule is
//! contradictory. The context starts with what the table's family says.

use super::super::expr::PayloadBase;
use super::super::protocol;
use crate::syntax::ast::{Family, Header};

/// A protocol, or one of the families that stand where a protocol is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proto {
    /// A header.
    Known(Header),
    /// IPv4 or IPv6 by `meta nfproto`.
    Inet,
    /// Any EtherType by `meta protocol`.
    Netdev,
    /// Something that has no header here.
    Unknown,
}

impl Proto {
    /// The name in complaints.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Proto::Known(header) => header.keyword(),
            Proto::Inet => "inet",
            Proto::Netdev => "netdev",
            Proto::Unknown => "unknown",
        }
    }

    fn is_dummy(self) -> bool {
        matches!(self, Proto::Inet | Proto::Netdev)
    }
}

/// What is known per layer: the last protocol that was established, and all that were.
#[derive(Clone, Debug, Default)]
struct Layer {
    now: Option<Proto>,
    seen: Vec<Proto>,
}

impl Layer {
    fn set(&mut self, proto: Proto) {
        self.now = Some(proto);
    }

    fn add(&mut self, proto: Proto) {
        if !self.seen.contains(&proto) {
            self.seen.push(proto);
        }
        self.now = Some(proto);
    }
}

/// The protocol context of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The table's family.
    pub(crate) family: Family,
    layers: [Layer; 4],
    /// Link headers below the innermost one (a VLAN tag's Ethernet header).
    stacked: Vec<Header>,
    /// ICMP type, once it is compared; 0 means nothing is known, as in nft.
    pub(crate) icmp_type: u8,
}

fn index(base: PayloadBase) -> usize {
    match base {
        PayloadBase::Link => 0,
        PayloadBase::Network => 1,
        PayloadBase::Transport => 2,
        PayloadBase::Inner => 3,
    }
}

impl Context {
    /// What the family says.
    pub(crate) fn new(family: Family) -> Self {
        let mut context = Context {
            family,
            layers: Default::default(),
            stacked: Vec::new(),
            icmp_type: 0,
        };
        let (base, proto) = match family {
            Family::Ip => (PayloadBase::Network, Proto::Known(Header::Ip)),
            Family::Ip6 => (PayloadBase::Network, Proto::Known(Header::Ip6)),
            Family::Arp => (PayloadBase::Network, Proto::Known(Header::Arp)),
            Family::Inet => (PayloadBase::Link, Proto::Inet),
            Family::Bridge => (PayloadBase::Link, Proto::Known(Header::Ether)),
            Family::Netdev => (PayloadBase::Link, Proto::Netdev),
        };
        context.layers[index(base)].now = Some(proto);
        context
    }

    /// What is known about a layer.
    pub(crate) fn at(&self, base: PayloadBase) -> Option<Proto> {
        self.layers[index(base)].now
    }

    /// What is known about a layer if nothing else was said of it.
    pub(crate) fn certain(&self, base: PayloadBase) -> Option<Proto> {
        let layer = &self.layers[index(base)];
        layer.now.filter(|_| layer.seen.len() < 2)
    }

    /// A protocol that contradicts this one at a layer with several.
    pub(crate) fn ambiguous(&self, base: PayloadBase, header: Header) -> Option<Proto> {
        let layer = &self.layers[index(base)];
        (layer.seen.len() > 1)
            .then(|| {
                layer
                    .seen
                    .iter()
                    .find(|p| **p != Proto::Known(header))
                    .copied()
            })
            .flatten()
    }

    /// Whether the layer above has something already.
    pub(crate) fn above_known(&self, base: PayloadBase) -> bool {
        let given = matches!(self.family, Family::Ip | Family::Ip6 | Family::Arp);
        if given && base == PayloadBase::Link {
            return false;
        }
        self.layers
            .get(index(base) + 1)
            .is_some_and(|layer| layer.now.is_some())
    }

    /// Whether a link header lies below the innermost one.
    pub(crate) fn is_stacked(&self, header: Header) -> bool {
        self.stacked.contains(&header)
    }

    /// How many VLAN tags lie before the innermost link header that is known.
    pub(crate) fn tags_below(&self) -> u16 {
        self.stacked.iter().filter(|h| **h == Header::Vlan).count() as u16
    }

    /// Whether the layer has only what a family says.
    pub(crate) fn is_dummy(&self, base: PayloadBase) -> bool {
        self.at(base).is_some_and(Proto::is_dummy)
    }

    /// `meta iiftype`: 1 is Ethernet.
    pub(crate) fn learn_iiftype(&mut self, value: u128) {
        let proto = if value == 1 {
            Proto::Known(Header::Ether)
        } else {
            Proto::Unknown
        };
        self.layers[0].set(proto);
    }

    /// `meta nfproto`.
    pub(crate) fn learn_nfproto(&mut self, value: u128) {
        let proto = match (self.family, value) {
            (Family::Inet, 2) | (Family::Ip, 2) => Proto::Known(Header::Ip),
            (Family::Inet, 10) | (Family::Ip6, 10) => Proto::Known(Header::Ip6),
            _ => Proto::Unknown,
        };
        self.layers[1].set(proto);
    }

    /// `meta protocol`.
    pub(crate) fn learn_protocol(&mut self, value: u128) {
        if matches!(self.family, Family::Netdev | Family::Bridge) {
            let proto = protocol::network_of(value)
                .filter(|h| *h != Header::Vlan)
                .map_or(Proto::Unknown, Proto::Known);
            self.layers[1].set(proto);
        }
    }

    /// `meta l4proto`.
    pub(crate) fn learn_l4proto(&mut self, value: u128) {
        let proto = protocol::transport_of(value).map_or(Proto::Unknown, Proto::Known);
        self.layers[2].add(proto);
    }

    /// A header's own protocol field.
    pub(crate) fn learn_field(&mut self, header: Header, value: u128) {
        match header {
            Header::Ether | Header::Vlan => match protocol::network_of(value) {
                Some(Header::Vlan) => {
                    self.stacked.push(header);
                    self.layers[0].set(Proto::Known(Header::Vlan));
                }
                Some(upper) => self.layers[1].set(Proto::Known(upper)),
                None => {}
            },
            Header::Ip | Header::Ip6 | Header::Ah | Header::Comp => {
                if let Some(upper) = protocol::transport_of(value) {
                    self.layers[2].add(Proto::Known(upper));
                }
            }
            // A reply's type counts as that of its request: 0 would mean that nothing is known.
            Header::Icmp => self.icmp_type = if value == 0 { 8 } else { value as u8 },
            Header::Icmpv6 => self.icmp_type = if value == 129 { 128 } else { value as u8 },
            _ => {}
        }
    }
}
