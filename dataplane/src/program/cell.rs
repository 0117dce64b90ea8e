//! Shared cells: state that all workers change and that must mean the same with eight as with one.
//!
//! Each is one or two atomics; a packet's step is one compare-and-swap or one add, in the order in
//! which packets reach it. The meaning is that of the kernel's nft_limit, nft_quota, nft_last and
//! nft_numgen.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::lane_set::Connections;
use super::tables::CellKind;
use crate::conntrack::FlowList;

/// A token bucket.
///
/// Tokens are nanoseconds. The bucket is stored as the moment at which it would have been empty,
/// so that one word holds level and time.
#[derive(Debug)]
pub struct Limit {
    rate: u64,
    period_ns: u64,
    burst: u32,
    bytes: bool,
    over: bool,
    full: u64,
    empty_at_ns: AtomicI64,
}

/// Burst of a packet limit that names none.
pub const DEFAULT_PACKET_BURST: u32 = 5;

impl Limit {
    /// A full bucket: `rate` packets or bytes in `period_ns`, and `burst` beyond it (packets: 0
    /// means [`DEFAULT_PACKET_BURST`]). A rate of 0 lets nothing through.
    pub fn new(rate: u64, period_ns: u64, burst: u32, bytes: bool, over: bool) -> Self {
        let burst = if burst == 0 && !bytes {
            DEFAULT_PACKET_BURST
        } else {
            burst
        };
        let divisor = rate.max(1);
        let full = if bytes {
            let all = u128::from(period_ns) * (u128::from(rate) + u128::from(burst));
            u64::try_from(all / u128::from(divisor)).unwrap_or(u64::MAX)
        } else {
            (period_ns / divisor).saturating_mul(u64::from(burst))
        };
        let full = full.min(i64::MAX as u64 / 2);
        let empty_at_ns = AtomicI64::new(i64::MIN / 2);
        Self {
            rate,
            period_ns,
            burst,
            bytes,
            over,
            full,
            empty_at_ns,
        }
    }

    /// Packets or bytes a period.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// What may come beyond the rate.
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// Whether a packet of this length, now, matches.
    pub fn matches(&self, now_ns: u64, length: u32) -> bool {
        self.take(now_ns as i64, length) != self.over
    }

    /// Takes the packet's cost out if there is enough.
    fn take(&self, now: i64, length: u32) -> bool {
        let step = |empty_at| self.after(now, length, empty_at);
        self.empty_at_ns
            .fetch_update(Relaxed, Relaxed, step)
            .is_ok()
    }

    /// A full bucket, as a word that [`matches_word`](Self::matches_word) works on.
    pub const FULL_WORD: u64 = (i64::MIN / 2) as u64;

    /// The same as [`matches`](Self::matches) with the level in another place than here: elements of
    /// a set share rate and burst and have a word each.
    pub fn matches_word(&self, word: &AtomicU64, now_ns: u64, length: u32) -> bool {
        let step = |empty_at| {
            let empty_at = self.after(now_ns as i64, length, empty_at as i64)?;
            Some(empty_at as u64)
        };
        word.fetch_update(Relaxed, Relaxed, step).is_ok() != self.over
    }

    /// The bucket after the packet's cost, if it has enough.
    fn after(&self, now: i64, length: u32, empty_at: i64) -> Option<i64> {
        if self.rate == 0 {
            return None;
        }
        let cost = if self.bytes {
            u128::from(self.period_ns) * u128::from(length) / u128::from(self.rate)
        } else {
            u128::from(self.period_ns / self.rate)
        };
        let cost = i64::try_from(cost).unwrap_or(i64::MAX);
        // A clock that went back in another worker yields no tokens.
        let earned = now.saturating_sub(empty_at).max(0);
        let tokens = earned.min(self.full as i64);
        (tokens >= cost).then(|| now.max(empty_at) - (tokens - cost))
    }
}

/// A number of bytes.
#[derive(Debug)]
pub struct Quota {
    bytes: AtomicU64,
    over: bool,
    used: AtomicU64,
}

impl Quota {
    /// A quota of which `used` bytes are gone.
    pub fn new(bytes: u64, over: bool, used: u64) -> Self {
        Self {
            bytes: AtomicU64::new(bytes),
            over,
            used: AtomicU64::new(used),
        }
    }

    /// Counts the packet; whether it matches.
    pub fn matches(&self, length: u32) -> bool {
        let used = self
            .used
            .fetch_add(u64::from(length), Relaxed)
            .wrapping_add(u64::from(length));
        (used > self.bytes.load(Relaxed)) == self.over
    }

    /// Bytes used, as a listing shows them: at most the quota.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed).min(self.bytes.load(Relaxed))
    }

    /// Sets back to unused; yields what was used, as [`used`](Self::used).
    pub fn reset(&self) -> u64 {
        self.used.swap(0, Relaxed).min(self.bytes.load(Relaxed))
    }
}

/// When a packet came by last.
#[derive(Debug, Default)]
pub struct Last {
    /// Monotonic nanoseconds plus one; 0 for never.
    at: AtomicU64,
}

impl Last {
    /// Notes a packet.
    pub fn note(&self, now_ns: u64) {
        self.at.store(now_ns.saturating_add(1), Relaxed);
    }

    /// Monotonic nanoseconds of the last packet.
    pub fn at_ns(&self) -> Option<u64> {
        self.at.load(Relaxed).checked_sub(1)
    }
}

/// `numgen inc`.
#[derive(Debug)]
pub struct Numgen {
    modulus: u32,
    offset: u32,
    next: AtomicU32,
}

impl Numgen {
    /// A sequence `offset, offset + 1, ... offset + modulus - 1`, over and over.
    pub fn new(modulus: u32, offset: u32) -> Self {
        Self {
            modulus: modulus.max(1),
            offset,
            next: AtomicU32::new(0),
        }
    }

    /// The next number.
    pub fn next(&self) -> u32 {
        let step = |now: u32| Some(if now + 1 < self.modulus { now + 1 } else { 0 });
        let number = self
            .next
            .fetch_update(Relaxed, Relaxed, step)
            .unwrap_or_else(|same| same);
        number.wrapping_add(self.offset)
    }
}

/// `ct count`: how many connections are alive. Kept by the tracker.
#[derive(Debug)]
pub struct ConnLimit {
    count: u32,
    over: bool,
    flows: FlowList,
}

impl ConnLimit {
    /// At most `count` connections, or more than that.
    pub fn new(count: u32, over: bool) -> Self {
        Self {
            count,
            over,
            flows: FlowList::new(),
        }
    }

    /// Counts a packet's connection in; whether the packet matches.
    pub fn matches(&self, connections: &Connections<'_>, lane: usize) -> bool {
        connections.is_over(&self.flows, lane, self.count) == self.over
    }
}

/// One shared cell of a generation.
#[derive(Debug)]
pub enum Cell {
    /// limit.
    Limit(Limit),
    /// quota.
    Quota(Quota),
    /// last.
    Last(Last),
    /// ct count.
    ConnLimit(ConnLimit),
    /// numgen inc.
    Numgen(Numgen),
}

impl Cell {
    /// What it is.
    pub fn kind(&self) -> CellKind {
        match self {
            Self::Limit(_) => CellKind::Limit,
            Self::Quota(_) => CellKind::Quota,
            Self::Last(_) => CellKind::Last,
            Self::ConnLimit(_) => CellKind::ConnLimit,
            Self::Numgen(_) => CellKind::Numgen,
        }
    }

    /// Runs it as a statement on one packet; whether the rule goes on.
    ///
    /// `ct count` asks the tracker instead ([`ConnLimit::matches`]) and lets nothing by here.
    pub fn matches(&self, now_ns: u64, length: u32) -> bool {
        match self {
            Self::Limit(limit) => limit.matches(now_ns, length),
            Self::Quota(quota) => quota.matches(length),
            Self::Last(last) => {
                last.note(now_ns);
                true
            }
            Self::ConnLimit(_) | Self::Numgen(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_packet_limit_passes_its_burst_and_then_its_rate() {
        let limit = Limit::new(1, 3600 * SECOND, 0, false, false);
        let passed = (0..20).filter(|_| limit.matches(SECOND, 84)).count();
        assert_eq!(passed, 5);
        assert!(!limit.matches(3599 * SECOND, 84));
        assert!(limit.matches(3602 * SECOND, 84));
        assert!(!limit.matches(3602 * SECOND, 84));
    }

    #[test]
    fn over_is_the_opposite() {
        let limit = Limit::new(10, SECOND, 2, false, true);
        let over: Vec<bool> = (0..4).map(|_| limit.matches(SECOND, 84)).collect();
        assert_eq!(over, [false, false, true, true]);
    }

    #[test]
    fn a_byte_limit_counts_bytes_and_adds_its_rate_to_its_burst() {
        let limit = Limit::new(1000, SECOND, 500, true, false);
        assert!(limit.matches(0, 1500));
        assert!(!limit.matches(0, 1));
        assert!(limit.matches(SECOND / 10, 100));
        assert!(!limit.matches(SECOND / 10, 1));
    }

    #[test]
    fn a_quota_is_until_or_over() {
        let until = Quota::new(200, false, 0);
        assert_eq!((0..5).filter(|_| until.matches(84)).count(), 2);
        assert_eq!(until.used(), 200);
        let over = Quota::new(200, true, 0);
        assert_eq!((0..5).filter(|_| over.matches(84)).count(), 3);
        assert_eq!(over.reset(), 200);
        assert!(!over.matches(84));
    }

    #[test]
    fn a_sequence_goes_round() {
        let numgen = Numgen::new(3, 10);
        let numbers: Vec<u32> = (0..5).map(|_| numgen.next()).collect();
        assert_eq!(numbers, [10, 11, 12, 10, 11]);
    }

    #[test]
    fn last_remembers_the_moment() {
        let last = Last::default();
        assert_eq!(last.at_ns(), None);
        last.note(0);
        assert_eq!(last.at_ns(), Some(0));
    }
}
