//! The statements that every element of a set carries, on the element's state words.
//!
//! | statement | words |
//! |---|---|
//! | counter | packets, bytes |
//! | limit | the moment at which the bucket would have been empty, see [`Limit`] |
//! | quota | bytes used |
//! | last | nanoseconds of the last packet plus one; 0 never |
//! | ct count | number of the tracker's list of connections; 0 none yet |
//!
//! They are atomics, shared by all workers, so they mean the same with eight workers as with one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::program::cell::Limit;
use crate::program::lane_set::Moment;
use crate::program::op::ElementStatement;

/// A statement made ready to run.
#[derive(Debug)]
pub(super) enum Statement {
    Counter,
    Limit(Limit),
    Quota { bytes: u64, over: bool },
    Last,
    ConnLimit { count: u32, over: bool },
}

/// State words of a statement.
pub fn state_words(statement: &ElementStatement) -> usize {
    match statement {
        ElementStatement::Counter => 2,
        _ => 1,
    }
}

/// The state words of a new element that carries these statements: what
/// [`SetSpec::initial_state`](super::SetSpec::initial_state) has to be.
pub fn initial_state(statements: &[ElementStatement]) -> Box<[u64]> {
    let word = |statement: &ElementStatement| match statement {
        ElementStatement::Limit { .. } => Limit::FULL_WORD,
        _ => 0,
    };
    statements
        .iter()
        .flat_map(|statement| std::iter::repeat_n(word(statement), state_words(statement)))
        .collect()
}

impl Statement {
    /// Makes one ready.
    pub(super) fn of(statement: &ElementStatement) -> Self {
        match *statement {
            ElementStatement::Counter => Self::Counter,
            ElementStatement::Limit {
                rate,
                period_ns,
                burst,
                bytes,
                over,
            } => Self::Limit(Limit::new(rate, period_ns, burst, bytes, over)),
            ElementStatement::Quota { bytes, over } => Self::Quota { bytes, over },
            ElementStatement::Last => Self::Last,
            ElementStatement::ConnLimit { count, over } => Self::ConnLimit { count, over },
        }
    }

    fn words(&self) -> usize {
        if matches!(self, Self::Counter) { 2 } else { 1 }
    }

    fn run(&self, words: &[AtomicU64], lane: usize, moment: &Moment<'_>) -> bool {
        let (now_ns, length) = (moment.now_ns, moment.lengths[lane]);
        match self {
            Self::Counter => {
                words[0].fetch_add(1, Relaxed);
                words[1].fetch_add(u64::from(length), Relaxed);
                true
            }
            Self::Limit(limit) => limit.matches_word(&words[0], now_ns, length),
            Self::Quota { bytes, over } => {
                let length = u64::from(length);
                let used = words[0].fetch_add(length, Relaxed).wrapping_add(length);
                (used > *bytes) == *over
            }
            Self::Last => {
                words[0].store(now_ns.saturating_add(1), Relaxed);
                true
            }
            // Published only where there is a tracker: without one nothing gets by.
            Self::ConnLimit { count, over } => moment.connections.is_some_and(|connections| {
                connections.element_is_over(&words[0], lane, *count) == *over
            }),
        }
    }
}

/// Runs statements in order on an element's words until one ends the rule; whether none did.
pub(super) fn run(
    statements: &[Statement],
    mut words: &[AtomicU64],
    lane: usize,
    moment: &Moment<'_>,
) -> bool {
    for statement in statements {
        let Some((own, rest)) = words.split_at_checked(statement.words()) else {
            // An element without state words: it carries no statements.
            return true;
        };
        if !statement.run(own, lane, moment) {
            return false;
        }
        words = rest;
    }
    true
}
