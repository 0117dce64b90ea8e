//! What an operator can set of the tracker.

use super::timeouts::Timeouts;

/// What an operator can set. All but `max` may change while the tracker runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Flows that the table holds; the memory is reserved at start.
    pub max: u32,
    /// Seconds by class.
    pub timeouts: Timeouts,
    /// How strictly packets are judged.
    pub rules: Rules,
    /// Zones whose TCP windows are not judged.
    pub liberal_zones: Vec<u16>,
    /// Most live expectations.
    pub max_expectations: u32,
    /// Whether flow events are put into the queues: only while somebody takes them out.
    pub events: bool,
}

/// How strictly packets are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// TCP flows are picked up in mid-stream.
    pub loose: bool,
    /// TCP segments outside of the window are let through, except resets.
    pub liberal: bool,
    /// A reset outside of the window is let through without closing the flow.
    pub ignore_invalid_rst: bool,
    /// Transport checksums are verified.
    pub checksum: bool,
    /// Retransmissions after which a TCP flow has the short timeout.
    pub max_retrans: u8,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            loose: true,
            liberal: false,
            ignore_invalid_rst: false,
            checksum: true,
            max_retrans: 3,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max: 262_144,
            timeouts: Timeouts::linux(),
            rules: Rules::default(),
            liberal_zones: Vec::new(),
            max_expectations: 4096,
            events: false,
        }
    }
}
