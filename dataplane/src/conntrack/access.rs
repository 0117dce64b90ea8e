//! What rules read and write of the flow of a packet.

use std::sync::atomic::Ordering::Relaxed;

use super::event::{FlowEventKind, changed};
use super::flow::{Flow, FlowId};
use super::state::{FlowIndex, status};
use super::timeouts::TimeoutClass;
use super::worker::TrackerWorker;
use crate::program::key::Direction;

impl TrackerWorker {
    /// Status bits.
    #[inline]
    pub fn status(&self, flow: FlowIndex) -> u32 {
        self.table().entry(flow.0).status()
    }

    /// Sets status bits.
    pub fn set_status(&mut self, flow: FlowIndex, bits: u32) {
        self.table().entry(flow.0).set_status(bits);
    }

    /// Connection mark.
    #[inline]
    pub fn mark(&self, flow: FlowIndex) -> u32 {
        self.table().entry(flow.0).mark()
    }

    /// Sets the connection mark.
    pub fn set_mark(&mut self, flow: FlowIndex, mark: u32) {
        let old = self.table().entry(flow.0).set_mark(mark);
        if old != mark {
            self.tell_change(flow, changed::MARK);
        }
    }

    /// Connection label.
    pub fn label(&self, flow: FlowIndex) -> u128 {
        self.table().entry(flow.0).label()
    }

    /// Sets label bits (a packet never clears one, as in the kernel).
    pub fn set_label(&mut self, flow: FlowIndex, label: u128) {
        if self.table().entry(flow.0).change_label(label, 0) {
            self.tell_change(flow, changed::LABEL);
        }
    }

    /// Packets and bytes of a direction.
    #[inline]
    pub fn counters(&self, flow: FlowIndex, direction: Direction) -> (u64, u64) {
        self.table().entry(flow.0).counters(direction as usize)
    }

    /// Milliseconds until the flow ends; one that has begun is left.
    pub fn expires_in_ms(&self, flow: FlowIndex) -> u64 {
        let deadline_ns = self.table().entry(flow.0).deadline_ns();
        deadline_ns.saturating_sub(self.now_ns).div_ceil(1_000_000)
    }

    /// What `ct id` shows.
    pub fn flow_number(&self, flow: FlowIndex) -> u32 {
        let id = self.id(flow);
        self.table().number(id.index.0, id.generation)
    }

    /// What the flow's timeout depends on at the moment.
    pub fn class(&self, flow: FlowIndex) -> TimeoutClass {
        self.table().entry(flow.0).class()
    }

    /// A copy of everything.
    pub fn flow(&self, flow: FlowIndex) -> Flow {
        self.table().copy(flow.0)
    }

    /// The flow that announced it.
    pub fn master(&self, flow: FlowIndex) -> Option<FlowId> {
        self.table().side(flow.0)?.master()
    }

    /// The helper assigned, 0 for none.
    #[inline]
    pub fn helper(&self, flow: FlowIndex) -> u16 {
        self.table()
            .side(flow.0)
            .map_or(0, |side| side.helper.load(Relaxed) as u16)
    }

    /// Assigns a helper to a begun flow; `false` when it is confirmed, has one, or there is no room.
    pub fn set_helper(&mut self, flow: FlowIndex, helper: u16) -> bool {
        let table = self.table();
        let entry = table.entry(flow.0);
        if entry.status() & status::CONFIRMED != 0 || self.helper(flow) != 0 {
            return false;
        }
        if !table.ensure_side(flow.0) {
            return false;
        }
        if let Some(side) = table.side(flow.0) {
            side.helper.store(u32::from(helper), Relaxed);
        }
        entry.set_status(status::HELPER);
        true
    }

    /// Gives a begun flow a timeout policy (see [`Tracker::policy`](super::Tracker::policy)), and its
    /// timeout by it; `false` when it is confirmed.
    pub fn set_policy(&mut self, flow: FlowIndex, policy: u16) -> bool {
        let entry = self.table().entry(flow.0);
        if entry.status() & status::CONFIRMED != 0 {
            return false;
        }
        entry.set_policy(policy);
        let timeout_ns = self.in_force.timeout_ns(policy, entry.class());
        entry.set_deadline_ns(self.now_ns.saturating_add(timeout_ns));
        true
    }

    /// Which events of a flow are told (`ct event set`): bits as the kernel's `1 << IPCT_*`.
    pub fn set_events(&mut self, flow: FlowIndex, mask: u32) {
        // IPCT_NEW 0, RELATED 1, DESTROY 2, REPLY 3, ASSURED 4, PROTOINFO 5, HELPER 6, MARK 7, LABEL 10.
        const BITS: [(u32, u8); 8] = [
            (0b11, 1 << 6),
            (1 << 2, 1 << 7),
            (1 << 3, changed::REPLY),
            (1 << 4, changed::ASSURED),
            (1 << 5, changed::PROTOCOL),
            (1 << 6, changed::HELPER),
            (1 << 7, changed::MARK),
            (1 << 10, changed::LABEL),
        ];
        let told = BITS.iter().filter(|(kernel, _)| mask & kernel != 0);
        let bits = told.fold(0, |bits, (_, own)| bits | own);
        self.table().entry(flow.0).events.store(bits, Relaxed);
    }

    /// Events that are told of a flow, as [`set_events`](Self::set_events) takes them.
    pub fn events(&self, flow: FlowIndex) -> u32 {
        let own = self.table().entry(flow.0).events.load(Relaxed);
        let bit = |from: u8, to: u32| if own & from != 0 { to } else { 0 };
        bit(1 << 6, 0b11)
            | bit(1 << 7, 1 << 2)
            | bit(changed::REPLY, 1 << 3)
            | bit(changed::ASSURED, 1 << 4)
            | bit(changed::PROTOCOL, 1 << 5)
            | bit(changed::HELPER, 1 << 6)
            | bit(changed::MARK, 1 << 7)
            | bit(changed::LABEL, 1 << 10)
    }

    /// Gives a flow another lifetime from now on; it is refreshed as before.
    pub fn refresh(&mut self, flow: FlowIndex, ns: u64) {
        self.set_deadline(flow.0, self.now_ns.saturating_add(ns));
    }

    /// Ends a flow at once: its next packet is a new one's.
    pub fn destroy(&mut self, flow: FlowIndex) -> bool {
        let id = self.id(flow);
        self.kill(id)
    }

    fn tell_change(&self, flow: FlowIndex, what: u8) {
        let table = self.table();
        if table.entry(flow.0).status() & status::CONFIRMED != 0 {
            table.tell(
                self.number,
                FlowEventKind::Update(what),
                flow.0,
                self.wall_ns,
            );
        }
    }
}
