//! Events of the packet path: log and trace, in a bounded queue that never blocks.
//!
//! A worker puts them in, control takes them out. When the queue is full an event is dropped and
//! counted; the packet path does not wait.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

use crate::port::PortId;
use crate::program::{Family, Hook, LogId, RuleRef, Verdict};

/// Bytes of the frame that an event carries at most.
pub const CAPTURE: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// A log statement.
    Log(LogId),
    /// A traced packet matched a rule; the verdict that the rule gave.
    TraceRule(Verdict),
    /// A traced packet came to the end of a base chain, or returned from it.
    TracePolicy(Verdict),
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The rule; of a policy, what the walk says.
    pub rule: RuleRef,
    /// Number of the generation.
    pub generation: u64,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// Where the base chain is attached.
    pub hook: Hook,
    /// Family of its table.
    pub family: Family,
    /// The port in.
    pub in_port: PortId,
    /// The port out, [`PortId::NONE`] before it is known.
    pub out_port: PortId,
    /// The packet mark.
    pub mark: u32,
    /// Tells the packets of one worker apart.
    pub packet: u64,
    /// Bytes of the whole frame.
    pub frame_len: u32,
    /// Byte at which the network header begins.
    pub network: u16,
    /// Bytes of `frame` that are set.
    pub captured: u16,
    /// The beginning of the frame.
    pub frame: [u8; CAPTURE],
}

/// The events of one worker.
#[derive(Debug)]
pub struct EventQueue {
    queue: ArrayQueue<Event>,
    dropped: AtomicU64,
}

impl EventQueue {
    /// A queue for at most this many events.
    pub fn new(capacity: usize) -> Self {
        Self {
            queue: ArrayQueue::new(capacity.max(1)),
            dropped: AtomicU64::new(0),
        }
    }

    /// Puts an event in, or counts it as dropped.
    pub(crate) fn push(&self, event: Event) {
        if self.queue.push(event).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Whether an event would be dropped now.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Counts an event as dropped without building it.
    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    /// Takes the oldest event out.
    pub fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    /// How many events were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}
