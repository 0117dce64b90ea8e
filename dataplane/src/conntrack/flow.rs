//! A flow as a reader sees it: a copy of everything that listings, events and rules show.

use super::protocol::{self, ProtocolState};
use super::proxied::Proxied;
use super::sequence::Offsets;
use super::state::FlowIndex;
use super::timeouts::TimeoutClass;
use super::tuple::Tuple;

/// A flow's entry and the use of it: never names another flow later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowId {
    /// The entry.
    pub index: FlowIndex,
    /// Grows each time that the entry is used again.
    pub generation: u32,
}

/// A flow as it was when it was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which one.
    pub id: FlowId,
    /// What `ct id` shows.
    pub number: u32,
    /// The tuple of the first packet.
    pub original: Tuple,
    /// The tuple of its answers.
    pub reply: Tuple,
    /// Bits of [`status`](super::status).
    pub status: u32,
    /// State of its protocol.
    pub state: ProtocolState,
    /// What its timeout depends on.
    pub class: TimeoutClass,
    /// The timeout policy, 0 the tracker's own.
    pub policy: u16,
    /// When it ends, nanoseconds of the worker's clock.
    pub expires_ns: u64,
    /// When it began, nanoseconds since 1970.
    pub started_wall_ns: u64,
    /// Connection mark.
    pub mark: u32,
    /// Connection label, bit 0 the lowest.
    pub label: u128,
    /// Packets, original and reply.
    pub packets: [u64; 2],
    /// Bytes of IP packets, original and reply.
    pub bytes: [u64; 2],
    /// The flow that announced it.
    pub master: Option<FlowId>,
    /// The helper assigned to it, 0 for none.
    pub helper: u16,
    /// How the sequence numbers of each direction are shifted.
    pub offsets: [Offsets; 2],
    /// What the SYN proxy keeps of it.
    pub proxied: Proxied,
    /// The translator's bits: what it holds.
    pub translation: u16,
    /// The worker that keeps its timer.
    pub worker: u16,
}

impl Flow {
    /// The name of its protocol's state, for protocols that have states.
    pub fn state_name(&self) -> Option<&'static str> {
        protocol::state_name(self.original.protocol, &self.state)
    }

    /// Milliseconds until it ends; 0 when that has passed.
    pub fn expires_in_ms(&self, now_ns: u64) -> u64 {
        self.expires_ns.saturating_sub(now_ns) / 1_000_000
    }
}
