//! The kernel's connection tracker as oracle of sluice's: the same packets, one by one, go through a
//! namespace that routes with connection tracking and through a worker's tracker, and each packet's
//! state, direction, assured bit and timeout have to be the same.

pub mod endpoint;
pub mod kernel;
pub mod model;
pub mod packets;
mod protocols;
pub mod random;
pub mod script;

/// Timeouts that a flow may have, in seconds.
pub const TIMES: [u32; 10] = [3, 10, 30, 60, 120, 180, 210, 300, 600, 432_000];

/// The timeout that a remaining time belongs to: the next one above.
pub fn timeout_of(left_s: u32) -> Option<u32> {
    TIMES.into_iter().find(|timeout| left_s <= *timeout)
}

/// The side that a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// 10.1.0.1, fd00:1::1.
    Left,
    /// 10.2.0.2, fd00:2::2.
    Right,
}

impl Side {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// A packet of a script: an IP packet without link header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it comes from.
    pub from: Side,
    /// The IP packet.
    pub packet: Vec<u8>,
    /// What it is, for a person.
    pub what: String,
    /// Seconds that pass before it.
    pub pause: u8,
}

/// How a packet stands to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It fits no flow and cannot begin one.
    Invalid,
    /// Its flow has not been answered.
    New,
    /// Its flow has been answered.
    Established,
    /// It is an error about a flow.
    Related,
    /// It is not tracked.
    Untracked,
}

/// What a tracker says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands to its flow.
    pub state: State,
    /// It goes in the direction of answers.
    pub reply: bool,
    /// Its flow is assured.
    pub assured: bool,
    /// The timeout that its flow has then, in seconds; `None` where there is none to be seen: of the
    /// packet that begins a flow the kernel does not show it, and of a flow that the packet has ended.
    pub timeout: Option<u32>,
}

/// Settings of both trackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Mid-stream pick-up.
    pub loose: bool,
    /// Windows are not judged.
    pub liberal: bool,
    /// Transport checksums are verified.
    pub checksum: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            loose: true,
            liberal: false,
            checksum: true,
        }
    }
}
