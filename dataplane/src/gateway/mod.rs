//! The gateway: addresses, routes, neighbours, ICMP errors and the gateway's own host.
//!
//! A forwarded packet comes from the prerouting hook, is given a way out here (routes, TTL, MTU),
//! passes forward and postrouting, and is given its link addresses here before egress. What the
//! gateway itself has to say (ARP, ND, errors, its host's answers) takes a walk of its own through
//! output and postrouting. The walks are in [`worker`](crate::worker); here is what they ask.
//!
//! Readers of routes and neighbours take no lock. Time and chance are handed in.

pub mod address;
pub mod arp;
pub mod bucket;
pub mod fragment;
pub mod host;
pub mod icmp;
pub mod nd;
pub mod neighbour;
pub mod outbox;
pub mod parking;
pub mod plan;
pub mod route;

pub use address::{Address, Prefix};
pub use host::Host;
pub use icmp::Complaint;
pub use outbox::{Born, Outbox, Way};
pub use plan::{Gateway, Own, Port, Shared};
pub use route::{Hop, MarkRule, Origin, Route, RouteKind};
