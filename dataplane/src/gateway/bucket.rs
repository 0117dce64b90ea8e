//! A token bucket that all workers share: how many ICMP errors a second may leave.
//!
//! One word of state (the generic cell rate algorithm): the time at which the bucket will be full
//! again. Time is handed in.

use std::sync::atomic::{AtomicU64, Ordering};

/// Errors that may leave at once after a rest, as Linux's `icmp_msgs_burst`.
const BURST: u64 = 50;
const SECOND_NS: u64 = 1_000_000_000;

/// A shared rate limit.
#[derive(Debug)]
pub struct Bucket {
    /// Nanoseconds that one token takes; 0: no limit.
    interval_ns: AtomicU64,
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// A full bucket of `per_second` tokens a second; 0: no limit.
    pub fn new(per_second: u32) -> Self {
        let bucket = Self {
            interval_ns: AtomicU64::new(0),
            full_at_ns: AtomicU64::new(0),
        };
        bucket.set(per_second);
        bucket
    }

    /// Changes the rate.
    pub fn set(&self, per_second: u32) {
        let interval = SECOND_NS.checked_div(u64::from(per_second)).unwrap_or(0);
        self.interval_ns.store(interval, Ordering::Relaxed);
    }

    /// Takes a token if there is one.
    pub fn take(&self, now_ns: u64) -> bool {
        let interval = self.interval_ns.load(Ordering::Relaxed);
        if interval == 0 {
            return true;
        }
        let taken = self
            .full_at_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
                let next = full_at.max(now_ns) + interval;
                (next - now_ns <= interval * BURST).then_some(next)
            });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let bucket = Bucket::new(1000);
        let mut now = 5 * SECOND_NS;
        let passed = (0..200).filter(|_| bucket.take(now)).count();
        assert_eq!(passed as u64, BURST);
        now += 10_000_000;
        assert_eq!((0..200).filter(|_| bucket.take(now)).count(), 10);
        now += 60 * SECOND_NS;
        assert_eq!((0..200).filter(|_| bucket.take(now)).count() as u64, BURST);
    }

    #[test]
    fn zero_is_no_limit() {
        let bucket = Bucket::new(0);
        assert!((0..1000).all(|_| bucket.take(1)));
    }
}
