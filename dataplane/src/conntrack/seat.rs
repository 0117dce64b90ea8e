//! What a worker (or control) counts and tells; others read it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use super::event::FlowEvent;
use super::invalid::InvalidReason;
use super::statistics::{ProxyStatistics, Statistics};

/// Events that wait for a reader.
const EVENTS: usize = 8192;

/// A counter with one writer.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn add(&self, by: u64) {
        self.0.store(self.0.load(Relaxed) + by, Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one worker counts and tells. Every counter has that worker as its only writer.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Seat {
    pub(super) found: Counter,
    pub(super) insert: Counter,
    pub(super) insert_failed: Counter,
    pub(super) drop: Counter,
    pub(super) early_drop: Counter,
    pub(super) error: Counter,
    pub(super) clash_resolve: Counter,
    pub(super) chain_too_long: Counter,
    pub(super) expect_new: Counter,
    pub(super) expect_delete: Counter,
    pub(super) destroy: Counter,
    pub(super) invalid: [Counter; InvalidReason::COUNT],
    pub(super) syn_received: Counter,
    pub(super) cookie_invalid: Counter,
    pub(super) cookie_valid: Counter,
    pub(super) cookie_retrans: Counter,
    pub(super) conn_reopened: Counter,
    pub(super) lost: Counter,
    pub(super) events: ArrayQueue<FlowEvent>,
}

impl Seat {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            found: Counter::default(),
            insert: Counter::default(),
            insert_failed: Counter::default(),
            drop: Counter::default(),
            early_drop: Counter::default(),
            error: Counter::default(),
            clash_resolve: Counter::default(),
            chain_too_long: Counter::default(),
            expect_new: Counter::default(),
            expect_delete: Counter::default(),
            destroy: Counter::default(),
            invalid: std::array::from_fn(|_| Counter::default()),
            syn_received: Counter::default(),
            cookie_invalid: Counter::default(),
            cookie_valid: Counter::default(),
            cookie_retrans: Counter::default(),
            conn_reopened: Counter::default(),
            lost: Counter::default(),
            events: ArrayQueue::new((EVENTS / workers.max(1)).max(1024)),
        }
    }

    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            found: self.found.get(),
            invalid: self.invalid.iter().map(Counter::get).sum(),
            insert: self.insert.get(),
            insert_failed: self.insert_failed.get(),
            drop: self.drop.get(),
            early_drop: self.early_drop.get(),
            error: self.error.get(),
            search_restart: 0,
            clash_resolve: self.clash_resolve.get(),
            chain_too_long: self.chain_too_long.get(),
            expect_new: self.expect_new.get(),
            expect_delete: self.expect_delete.get(),
            destroy: self.destroy.get(),
        }
    }

    pub(super) fn proxy_statistics(&self) -> ProxyStatistics {
        ProxyStatistics {
            syn_received: self.syn_received.get(),
            cookie_invalid: self.cookie_invalid.get(),
            cookie_valid: self.cookie_valid.get(),
            cookie_retrans: self.cookie_retrans.get(),
            conn_reopened: self.conn_reopened.get(),
        }
    }
}
