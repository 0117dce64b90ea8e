//! The state that a set's elements carry: statements as words in the element's slot.
//!
//! A set says which statements its elements carry; their words lie side by side in the slot of each
//! element, in that order. Meaning and exactness are those of [`cell`](super::cell).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::cell::{Bucket, overdrawn};
use super::op::ElementStatement;

impl ElementStatement {
    /// How many state words it has.
    pub fn words(&self) -> usize {
        match self {
            Self::Counter => 2,
            Self::Limit { .. } | Self::Quota { .. } | Self::Last | Self::ConnLimit { .. } => 1,
        }
    }

    /// Its state words in a new element: a counter's packets and bytes; a limit's bucket, full; a
    /// quota's used bytes; when a packet came last, in nanoseconds plus one.
    pub fn initial(&self) -> Vec<u64> {
        match self {
            Self::Counter => vec![0, 0],
            Self::Limit { .. } => vec![Bucket::FULL],
            Self::Quota { .. } | Self::Last | Self::ConnLimit { .. } => vec![0],
        }
    }

    /// Runs on the words of one element for one packet; whether the rule goes on.
    fn run(&self, words: &[AtomicU64], now_ns: u64, length: u32) -> bool {
        match (self, words) {
            (Self::Counter, [packets, bytes]) => {
                packets.fetch_add(1, Relaxed);
                bytes.fetch_add(u64::from(length), Relaxed);
                true
            }
            (
                &Self::Limit {
                    rate,
                    period_ns,
                    burst,
                    bytes,
                    over,
                },
                [word],
            ) => Bucket::new(rate, period_ns, burst, bytes).take(word, now_ns, length) != over,
            (Self::Quota { bytes, over }, [used]) => overdrawn(used, *bytes, length) == *over,
            (Self::Last, [at]) => {
                at.store(now_ns.saturating_add(1), Relaxed);
                true
            }
            // `ct count` needs the tracker, without which its program is not published.
            _ => false,
        }
    }
}

/// The state words of a new element that carries these statements.
pub fn initial_state(statements: &[ElementStatement]) -> Box<[u64]> {
    statements
        .iter()
        .flat_map(ElementStatement::initial)
        .collect()
}

/// Runs an element's statements for one packet, in order, up to the first that ends the rule;
/// whether the rule goes on. An element without state has none to run.
pub fn run(statements: &[ElementStatement], words: &[AtomicU64], now_ns: u64, length: u32) -> bool {
    let mut rest = words;
    for statement in statements {
        let Some((own, behind)) = rest.split_at_checked(statement.words()) else {
            return true;
        };
        rest = behind;
        if !statement.run(own, now_ns, length) {
            return false;
        }
    }
    true
}
