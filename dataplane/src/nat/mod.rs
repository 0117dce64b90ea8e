//! Address translation: who has which external address and port, and packets rewritten accordingly.
//!
//! A flow is translated once, at its first packet ([`decide`]): by a statement of a chain of type nat, or
//! by what holds where no statement did. What was decided lies in the flow's two tuples. Every later
//! packet is rewritten from them ([`apply`]): at prerouting (and output) its destination, at postrouting
//! (and input) its source (RFC 2663). External ports come from one [`Allocator`] and go back to it when
//! the tracker says that the flow has ended ([`Translator`]).

pub mod apply;
pub mod decide;
pub mod mangle;
pub mod pool;
pub mod ports;
pub mod request;
pub mod rewrite;
pub mod translator;
pub mod unsolicited;

pub use decide::{Undecided, Wanted};
pub use pool::{Allocator, Filtering, Mapping, Realm};
pub use request::Request;
pub use rewrite::{Endpoint, Side};
pub use translator::Translator;
pub use unsolicited::Unsolicited;

use crate::conntrack::Tuple;
use crate::packet::headers::protocol;

/// What a flow holds: the translator's bits in the tracker, which are saved with the flows.
pub mod held {
    use super::Filtering;

    /// Its external source is a port shared with flows that have another other end.
    pub const SHARED: u16 = 1;
    /// Its external source is a binding.
    pub const BINDING: u16 = 1 << 1;
    /// It came in by a binding.
    pub const ENTERED: u16 = 1 << 2;

    /// Where the filtering of a flow's own binding stands, and that of the one by which it came in.
    const OWN: u16 = 3;
    const OTHERS: u16 = 5;

    /// That it holds a binding with this filtering.
    pub fn binding(filtering: Filtering) -> u16 {
        BINDING | number(filtering) << OWN
    }

    /// That it came in by a binding with this filtering.
    pub fn entered(filtering: Filtering) -> u16 {
        ENTERED | number(filtering) << OTHERS
    }

    /// The filtering of the binding that it holds.
    pub fn own_filtering(bits: u16) -> Filtering {
        filtering(bits >> OWN)
    }

    /// The filtering of the binding by which it came in.
    pub fn others_filtering(bits: u16) -> Filtering {
        filtering(bits >> OTHERS)
    }

    fn number(filtering: Filtering) -> u16 {
        match filtering {
            Filtering::EndpointIndependent => 0,
            Filtering::Address => 1,
            Filtering::AddressPort => 2,
        }
    }

    fn filtering(number: u16) -> Filtering {
        match number & 3 {
            0 => Filtering::EndpointIndependent,
            1 => Filtering::Address,
            // The strictest, also for what no version has saved.
            _ => Filtering::AddressPort,
        }
    }
}

/// The source of packets of a tuple. The port of an ICMP query is its id.
#[inline]
pub fn source(tuple: &Tuple) -> Endpoint {
    Endpoint {
        address: tuple.src,
        port: tuple.sport,
    }
}

/// The destination of packets of a tuple.
#[inline]
pub fn destination(tuple: &Tuple) -> Endpoint {
    let port = if is_query(tuple.protocol) {
        tuple.sport
    } else {
        tuple.dport
    };
    Endpoint {
        address: tuple.dst,
        port,
    }
}

/// Whether both ends share one number, the id of a query.
fn is_query(protocol: u8) -> bool {
    matches!(protocol, protocol::ICMP | protocol::ICMPV6)
}

/// Whether a source port of this protocol can be another one.
fn has_ports(protocol: u8) -> bool {
    matches!(
        protocol,
        protocol::TCP
            | protocol::UDP
            | protocol::UDPLITE
            | protocol::SCTP
            | protocol::DCCP
            | protocol::ICMP
            | protocol::ICMPV6
    )
}
