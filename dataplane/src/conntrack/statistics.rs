//! What the tracker counts, as `conntrack -S` shows it, and the SYN proxy, as /proc/net/stat/synproxy does.

/// Counters of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Packets that found their flow.
    pub found: u64,
    /// Packets that were invalid.
    pub invalid: u64,
    /// Flows put into the table.
    pub insert: u64,
    /// Flows that could not be put into the table.
    pub insert_failed: u64,
    /// Packets dropped by the tracker.
    pub drop: u64,
    /// Flows dropped to make room.
    pub early_drop: u64,
    /// ICMP errors that could not be tracked.
    pub error: u64,
    /// Look-ups begun again; a look-up here never is, so this is 0.
    pub search_restart: u64,
    /// Packets of a flow that lost a race and joined the winner.
    pub clash_resolve: u64,
    /// Flows refused because their place in the index was crowded.
    pub chain_too_long: u64,
    /// Expectations made.
    pub expect_new: u64,
    /// Expectations removed.
    pub expect_delete: u64,
    /// Flows that ended, for whatever reason.
    pub destroy: u64,
}

/// Counters of the SYN proxy of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyStatistics {
    /// SYNs answered with a cookie.
    pub syn_received: u64,
    /// ACKs whose cookie was none, or too old.
    pub cookie_invalid: u64,
    /// ACKs with a good cookie: the server was asked.
    pub cookie_valid: u64,
    /// Those of them that came while the server had not answered yet.
    pub cookie_retrans: u64,
    /// Closed connections that began anew.
    pub conn_reopened: u64,
}
