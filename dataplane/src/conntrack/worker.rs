//! A worker's part of the tracker: what a packet's walk calls.

use std::sync::Arc;

use super::expect::Expectation;
use super::state::FlowIndex;
use super::tracker::Tracker;
use super::tuple::Tuple;
use crate::packet::Burst;
use crate::program::Packets;
use crate::program::key::Direction;

/// Time and place of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackContext {
    /// Monotonic time in nanoseconds.
    pub now_ns: u64,
    /// Nanoseconds since 1970-01-01 UTC.
    pub wall_ns: u64,
    /// Forwarding domain.
    pub domain: u16,
    /// Rules read what packets change of a flow (counters, status ...): a lane whose flow an earlier lane
    /// of this batch has met is deferred too.
    pub exact: bool,
}

/// A worker's part of the tracker.
#[derive(Debug)]
pub struct TrackerWorker {
    tracker: Arc<Tracker>,
    number: u16,
}

impl TrackerWorker {
    pub(super) fn new(tracker: Arc<Tracker>, number: u16) -> Self {
        Self { tracker, number }
    }

    /// The shared part.
    pub fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// The worker's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Begins a batch: takes over changed settings, ends flows that are due (bounded work), and from here
    /// to [`end`](Self::end) no entry that the worker finds is used again for another flow.
    pub fn begin(&mut self, now_ns: u64, wall_ns: u64) {
        let _ = (now_ns, wall_ns);
    }

    /// Ends a batch. Flows begun and neither confirmed nor dropped are forgotten.
    pub fn end(&mut self) {}

    /// Work that is due without a packet; call it about every 100 ms when no batch comes.
    pub fn tick(&mut self, now_ns: u64, wall_ns: u64) {
        self.begin(now_ns, wall_ns);
        self.end();
    }

    /// Finds or begins the flows of lanes: sets `packets.ct`. Lanes that are untracked or have a state
    /// already are left alone. Ends lanes for which there is no room. Yields the lanes that have to wait
    /// until the others have been confirmed, and then be tracked.
    pub fn track(
        &mut self,
        lanes: u64,
        packets: &mut Packets,
        frames: &Burst<'_>,
        context: &TrackContext,
    ) -> u64 {
        let _ = (lanes, packets, frames, context);
        0
    }

    /// Puts the begun flows of lanes into the table: their packets are about to leave. Ends lanes whose
    /// flow lost a clash that cannot be resolved.
    pub fn confirm(&mut self, lanes: u64, packets: &mut Packets, context: &TrackContext) {
        let _ = (lanes, packets, context);
    }

    /// Forgets the begun flows of lanes that ended.
    pub fn drop_unconfirmed(&mut self, lanes: u64, packets: &mut Packets) {
        let _ = (lanes, packets);
    }

    /// Replaces the reply tuple of a lane's begun flow (translation). `false` when another flow has that
    /// tuple, or the flow is confirmed.
    pub fn alter_reply(&mut self, lane: usize, packets: &Packets, tuple: &Tuple) -> bool {
        let _ = (lane, packets, tuple);
        false
    }

    /// Announces a tuple; `false` when there are too many.
    pub fn expect(&mut self, expectation: Expectation) -> bool {
        self.tracker.expect(expectation)
    }

    /// The tuple of a flow.
    pub fn tuple(&self, flow: FlowIndex, direction: Direction) -> Tuple {
        let _ = (flow, direction);
        Tuple::default()
    }

    /// Status bits.
    pub fn status(&self, flow: FlowIndex) -> u32 {
        let _ = flow;
        0
    }

    /// Connection mark.
    pub fn mark(&self, flow: FlowIndex) -> u32 {
        let _ = flow;
        0
    }

    /// Sets the connection mark.
    pub fn set_mark(&mut self, flow: FlowIndex, mark: u32) {
        let _ = (flow, mark);
    }

    /// Connection label.
    pub fn label(&self, flow: FlowIndex) -> u128 {
        let _ = flow;
        0
    }

    /// Sets label bits (a label is never cleared by a packet).
    pub fn set_label(&mut self, flow: FlowIndex, label: u128) {
        let _ = (flow, label);
    }

    /// Packets and bytes of a direction.
    pub fn counters(&self, flow: FlowIndex, direction: Direction) -> (u64, u64) {
        let _ = (flow, direction);
        (0, 0)
    }

    /// Milliseconds until the flow ends.
    pub fn expires_in_ms(&self, flow: FlowIndex) -> u64 {
        let _ = flow;
        0
    }

    /// What `ct id` shows.
    pub fn flow_number(&self, flow: FlowIndex) -> u32 {
        let _ = flow;
        0
    }

    /// The helper assigned, 0 for none.
    pub fn helper(&self, flow: FlowIndex) -> u16 {
        let _ = flow;
        0
    }

    /// Assigns a helper to a begun flow; `false` when it is confirmed or has one.
    pub fn set_helper(&mut self, flow: FlowIndex, helper: u16) -> bool {
        let _ = (flow, helper);
        false
    }

    /// Gives a begun flow a timeout policy; `false` when it is confirmed.
    pub fn set_policy(&mut self, flow: FlowIndex, policy: u16) -> bool {
        let _ = (flow, policy);
        false
    }

    /// Which events of a flow are told (`ct event set`): bits as the kernel's IPCT_*.
    pub fn set_events(&mut self, flow: FlowIndex, mask: u32) {
        let _ = (flow, mask);
    }
}
