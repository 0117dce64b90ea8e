//! What a worker counts: relaxed atomics with one writer each, readable at any time without
//! stopping anyone.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::drop_reason::DropReason;
use crate::port::{PortId, RxCounters, TxCounters};

/// Upper ends of the buckets of the histogram of batch sizes.
pub const BATCH_BOUNDS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Adds to a counter that this thread alone writes: no locked instruction.
#[inline]
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

/// One worker's counters.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// The worker's number.
    pub worker: u16,
    busy_ns: AtomicU64,
    idle_ns: AtomicU64,
    frames: AtomicU64,
    batches: [AtomicU64; BATCH_BOUNDS.len()],
    drops: [AtomicU64; DropReason::COUNT],
    panics: AtomicU64,
    generation: AtomicU64,
    running: AtomicBool,
}

impl WorkerMetrics {
    pub(super) fn new(worker: u16) -> Self {
        Self {
            worker,
            busy_ns: AtomicU64::new(0),
            idle_ns: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            batches: [const { AtomicU64::new(0) }; BATCH_BOUNDS.len()],
            drops: [const { AtomicU64::new(0) }; DropReason::COUNT],
            panics: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            running: AtomicBool::new(true),
        }
    }

    /// Nanoseconds spent on batches.
    pub fn busy_ns(&self) -> u64 {
        self.busy_ns.load(Relaxed)
    }

    /// Nanoseconds spent without a frame, spinning or asleep.
    pub fn idle_ns(&self) -> u64 {
        self.idle_ns.load(Relaxed)
    }

    /// Frames received.
    pub fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    /// Batches by size: bucket `n` has those of at most [`BATCH_BOUNDS`]`[n]` frames that are
    /// larger than the bound before (not cumulated).
    pub fn batches(&self) -> [u64; BATCH_BOUNDS.len()] {
        std::array::from_fn(|bucket| self.batches[bucket].load(Relaxed))
    }

    /// Frames dropped for this reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].load(Relaxed)
    }

    /// How often the worker has failed and was restarted.
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// The generation that the worker used last.
    pub fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Whether the worker's thread lives.
    pub fn is_running(&self) -> bool {
        self.running.load(Relaxed)
    }

    #[inline]
    pub(super) fn count_batch(&self, frames: usize) {
        add(&self.frames, frames as u64);
        // 1 -> 0, 2 -> 1, 3..4 -> 2, 5..8 -> 3 and so on.
        let bucket = frames.max(1).next_power_of_two().trailing_zeros() as usize;
        add(&self.batches[bucket.min(BATCH_BOUNDS.len() - 1)], 1);
    }

    #[inline]
    pub(super) fn count_drop(&self, reason: DropReason) {
        add(&self.drops[reason as usize], 1);
    }

    pub(super) fn count_drops(&self, reason: DropReason, count: u64) {
        add(&self.drops[reason as usize], count);
    }

    pub(super) fn count_busy(&self, ns: u64) {
        add(&self.busy_ns, ns);
    }

    pub(super) fn count_idle(&self, ns: u64) {
        add(&self.idle_ns, ns);
    }

    pub(super) fn count_panic(&self) {
        add(&self.panics, 1);
    }

    pub(super) fn set_generation(&self, number: u64) {
        self.generation.store(number, Relaxed);
    }

    pub(super) fn set_stopped(&self) {
        self.running.store(false, Relaxed);
    }
}

/// Counters of one queue: one worker's part of one port. Its worker brings them up to date about
/// ten times a second, and always before it sleeps.
#[derive(Debug)]
pub struct QueueMetrics {
    /// The port.
    pub port: PortId,
    /// The worker that owns the queue.
    pub worker: u16,
    rx: [AtomicU64; 4],
    tx: [AtomicU64; 4],
    faults: AtomicU64,
}

impl QueueMetrics {
    pub(super) fn new(port: PortId, worker: u16) -> Self {
        Self {
            port,
            worker,
            rx: Default::default(),
            tx: Default::default(),
            faults: AtomicU64::new(0),
        }
    }

    /// What the receiving half has counted.
    pub fn rx(&self) -> RxCounters {
        RxCounters {
            frames: self.rx[0].load(Relaxed),
            bytes: self.rx[1].load(Relaxed),
            ring_drops: self.rx[2].load(Relaxed),
            errors: self.rx[3].load(Relaxed),
        }
    }

    /// What the sending half has counted.
    pub fn tx(&self) -> TxCounters {
        TxCounters {
            frames: self.tx[0].load(Relaxed),
            bytes: self.tx[1].load(Relaxed),
            retries: self.tx[2].load(Relaxed),
            refused: self.tx[3].load(Relaxed),
        }
    }

    /// Errors that the device reported (it went down, it is gone).
    pub fn faults(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    pub(super) fn set_rx(&self, counters: RxCounters) {
        self.rx[0].store(counters.frames, Relaxed);
        self.rx[1].store(counters.bytes, Relaxed);
        self.rx[2].store(counters.ring_drops, Relaxed);
        self.rx[3].store(counters.errors, Relaxed);
    }

    pub(super) fn set_tx(&self, counters: TxCounters) {
        self.tx[0].store(counters.frames, Relaxed);
        self.tx[1].store(counters.bytes, Relaxed);
        self.tx[2].store(counters.retries, Relaxed);
        self.tx[3].store(counters.refused, Relaxed);
    }

    pub(super) fn count_fault(&self) {
        add(&self.faults, 1);
    }
}
