//! Time as a parameter: the worker asks its clock once a batch and hands the answer in.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of time.
pub trait Clock: Send + Sync {
    /// Nanoseconds since an arbitrary start, never going back.
    fn monotonic_ns(&self) -> u64;
    /// Nanoseconds since 1970-01-01 UTC.
    fn wall_ns(&self) -> u64;
}

/// The system's clocks (`CLOCK_MONOTONIC`, `CLOCK_REALTIME`).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[inline]
    fn monotonic_ns(&self) -> u64 {
        read(rustix::time::ClockId::Monotonic)
    }

    #[inline]
    fn wall_ns(&self) -> u64 {
        read(rustix::time::ClockId::Realtime)
    }
}

fn read(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A clock that stands still until it is moved: virtual time for tests.
#[derive(Debug, Default)]
pub struct VirtualClock {
    now_ns: AtomicU64,
}

impl VirtualClock {
    /// Moves both clocks on.
    pub fn advance(&self, ns: u64) {
        self.now_ns.fetch_add(ns, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn monotonic_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }

    fn wall_ns(&self) -> u64 {
        self.now_ns.load(Ordering::SeqCst)
    }
}
