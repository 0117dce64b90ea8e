//! Address translation: who has which external address and port, and packets rewritten accordingly.
//!
//! A flow is translated once, at its first packet, by the chains of type nat; what was decided
//! lies in its two tuples. Every later packet is rewritten from them: at prerouting its destination,
//! at postrouting its source (RFC 2663). Nothing here looks at a ruleset or a table of flows.

pub mod pool;
pub mod ports;
pub mod rewrite;

pub use rewrite::{Endpoint, Side};
