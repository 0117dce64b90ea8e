//! Expectations: tuples that a flow has announced.
//!
//! A helper (or an nft `ct expectation` object) announces one; a packet that begins a flow and fits
//! makes that flow related to the announcing one.

use super::flow::FlowId;
use super::tuple::Tuple;
use crate::program::key::Direction;

/// A tuple pattern that a flow has announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The flow that announced it.
    pub master: FlowId,
    /// The tuple that is waited for.
    pub tuple: Tuple,
    /// Bits of the source address and port that count; the destination counts wholly.
    pub mask: SourceMask,
    /// When it ends, nanoseconds of the worker's clock.
    pub expires_ns: u64,
    /// Class within its helper (0 the first).
    pub class: u8,
    /// It stays when a flow has matched it.
    pub permanent: bool,
    /// The helper that the expected flow is given, 0 for none.
    pub helper: u16,
    /// The announcing flow is translated: the expected flow is translated after it.
    pub follow: Option<Follow>,
}

/// How an expected flow is translated: it comes from whom the announcing end talks to, as that end sees
/// it, and goes to the announcing end (`nf_nat_follow_master`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Follow {
    /// The direction of the announcement: its sender is the announcing end.
    pub towards: Direction,
    /// The port at which that end waits.
    pub port: u16,
}

/// Which bits of a source count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceMask {
    /// Of the address.
    pub src: [u8; 16],
    /// Of the port.
    pub sport: u16,
}

impl SourceMask {
    /// Any source port of exactly this address.
    pub const ADDRESS: Self = Self {
        src: [0xff; 16],
        sport: 0,
    };
    /// Any source.
    pub const ANY: Self = Self {
        src: [0; 16],
        sport: 0,
    };
}
