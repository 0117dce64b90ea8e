//! The tracker as control sees it: settings, listing, deleting, expectations, events, statistics.

use std::net::IpAddr;
use std::sync::Arc;

use super::event::FlowEvent;
use super::expect::Expectation;
use super::flow::{Flow, FlowId};
use super::settings::Settings;
use super::state::FlowIndex;
use super::statistics::Statistics;
use super::timeouts::TimeoutPolicy;
use super::worker::TrackerWorker;

/// The flow table and everything beside it; shared by all workers.
#[derive(Debug)]
pub struct Tracker {
    workers: usize,
    settings: Settings,
}

/// Which flows a listing or a deletion is about: all conditions that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Network protocol of the original tuple, 2 or 10.
    pub l3: Option<u8>,
    /// Transport protocol.
    pub protocol: Option<u8>,
    /// Source of the original tuple, and how many bits of it count.
    pub original_source: Option<(IpAddr, u8)>,
    /// Destination of the original tuple, and how many bits of it count.
    pub original_destination: Option<(IpAddr, u8)>,
    /// Source of the reply tuple, and how many bits of it count.
    pub reply_source: Option<(IpAddr, u8)>,
    /// Destination of the reply tuple, and how many bits of it count.
    pub reply_destination: Option<(IpAddr, u8)>,
    /// Source port of the original tuple.
    pub original_sport: Option<u16>,
    /// Destination port of the original tuple.
    pub original_dport: Option<u16>,
    /// Source port of the reply tuple.
    pub reply_sport: Option<u16>,
    /// Destination port of the reply tuple.
    pub reply_dport: Option<u16>,
    /// The mark under a mask: value, mask.
    pub mark: Option<(u32, u32)>,
    /// Label bits that must be set.
    pub label: Option<u128>,
    /// Status bits that must be set.
    pub status_set: u32,
    /// Status bits that must not be set.
    pub status_clear: u32,
    /// Zone of the original tuple.
    pub original_zone: Option<u16>,
    /// Zone of the reply tuple.
    pub reply_zone: Option<u16>,
    /// Forwarding domain.
    pub domain: Option<u16>,
    /// Name of the protocol's state.
    pub state: Option<String>,
    /// `ct id`.
    pub number: Option<u32>,
}

impl Tracker {
    /// A tracker for so many workers; its hashing begins with `seed`.
    ///
    /// # Errors
    /// When the memory cannot be had.
    pub fn new(settings: Settings, workers: usize, seed: u64) -> Result<Arc<Self>, std::io::Error> {
        let _ = seed;
        Ok(Arc::new(Self { workers, settings }))
    }

    /// The worker's part. There is one at a time for each number; a worker that is restarted asks again.
    pub fn worker(self: &Arc<Self>, number: u16) -> TrackerWorker {
        TrackerWorker::new(Arc::clone(self), number)
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::new(self.settings.clone())
    }

    /// Puts settings in force; `max` stays as it is.
    pub fn set_settings(&self, settings: Settings) {
        let _ = settings;
    }

    /// The number of a timeout policy, for [`TrackerWorker::set_policy`]. Equal policies have one number.
    pub fn policy(&self, policy: &TimeoutPolicy) -> u16 {
        let _ = policy;
        0
    }

    /// Live flows.
    pub fn count(&self) -> u32 {
        0
    }

    /// A flow by its entry.
    pub fn flow(&self, index: FlowIndex) -> Option<Flow> {
        let _ = index;
        None
    }

    /// Copies the flows that fit from entry `from` on, at most so many; yields where to go on, `None` at
    /// the end. Workers are not disturbed: nothing is locked.
    pub fn list(
        &self,
        filter: &Filter,
        from: u32,
        at_most: usize,
        out: &mut Vec<Flow>,
    ) -> Option<u32> {
        let _ = (filter, from, at_most, out);
        None
    }

    /// Ends one flow; `false` when it has ended already.
    pub fn delete(&self, id: FlowId, wall_ns: u64) -> bool {
        let _ = (id, wall_ns);
        false
    }

    /// Ends the flows that fit; yields how many.
    pub fn delete_matching(&self, filter: &Filter, wall_ns: u64) -> u64 {
        let _ = (filter, wall_ns);
        0
    }

    /// Sets the mark of a flow under a mask.
    pub fn set_mark(&self, id: FlowId, mark: u32, mask: u32) -> bool {
        let _ = (id, mark, mask);
        false
    }

    /// Live expectations.
    pub fn expectations(&self) -> Vec<Expectation> {
        Vec::new()
    }

    /// Announces a tuple; `false` when there are too many or its master has ended.
    pub fn expect(&self, expectation: Expectation) -> bool {
        let _ = expectation;
        false
    }

    /// The counters of a worker.
    pub fn statistics(&self, worker: usize) -> Statistics {
        let _ = worker;
        Statistics::default()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Takes the oldest event of a worker out of its queue; `workers()` is the queue of control itself.
    pub fn pop_event(&self, worker: usize) -> Option<FlowEvent> {
        let _ = worker;
        None
    }

    /// Events that found their queue full.
    pub fn events_lost(&self) -> u64 {
        0
    }

    /// Invalid packets by reason (index: number of the [`InvalidReason`](super::InvalidReason)).
    pub fn invalids(&self) -> [u64; super::InvalidReason::COUNT] {
        [0; super::InvalidReason::COUNT]
    }
}
