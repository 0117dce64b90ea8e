//! The entries of a walk that deal with connections: fragments, tracking, helpers, confirmation.
//!
//! A packet whose connection another packet of the batch has just begun waits until that one has
//! been confirmed or dropped; then it goes on from the tracking.

use super::helpers::Helped;
use super::proxied;
use super::walk::Walk;
use crate::conntrack::{TrackContext, status};
use crate::drop_reason::DropReason;
use crate::nat::apply::is_error;
use crate::packet::fragments::{self, Arrival};
use crate::packet::headers::{Headers, flag, protocol};
use crate::program::RuleRef;
use crate::program::key::reads;
use crate::program::lanes::lanes;
use crate::program::vm::Run;

impl Walk<'_, '_> {
    /// Gathers fragments: they end here until the last one comes, which goes on as the whole datagram.
    pub(super) fn gather(&mut self, alive: u64) {
        self.refresh(alive);
        let run = &mut self.run;
        let now_ns = run.context.now_ns;
        for lane in lanes(alive) {
            let packets = &mut run.vm.packets;
            if !packets.headers[lane].has(flag::FRAGMENT) {
                continue;
            }
            let place = fragments::Place {
                domain: 0,
                zone: packets.zones[lane].id,
            };
            let (frame, headers) = (&mut run.frames[lane], &packets.headers[lane]);
            let (one, pool) = (1 << lane, &mut *run.pool);
            match self
                .fragments
                .take(lane, frame, headers, place, now_ns, pool)
            {
                Arrival::Passes => {}
                Arrival::Parked => {
                    packets.parked |= one;
                    packets.ended |= one;
                }
                Arrival::Whole => {
                    let headers = Headers::dissect(frame.bytes());
                    packets.headers[lane] = headers;
                    packets.limits[lane] = headers.end;
                    packets.lengths[lane] = headers.end - u32::from(headers.network);
                    packets.gathered |= one;
                    run.vm.forget(reads::PAYLOAD, one);
                }
                Arrival::Dropped(reason) => packets.end(one, reason, RuleRef::NONE),
            }
        }
    }

    /// Finds or begins connections; yields the lanes that have to wait. Where packets change what
    /// others see, all behind the first that waits do, so that they stay in order.
    pub(super) fn track(&mut self, alive: u64) -> u64 {
        self.refresh(alive);
        let context = self.track_context();
        let Run {
            vm,
            frames,
            tracker: Some(tracker),
            generation,
            ..
        } = &mut self.run
        else {
            return 0;
        };
        let deferred = tracker.track(alive, &mut vm.packets, frames, &context);
        if !self.desk.proxied.is_empty() {
            proxied::open(
                tracker,
                &mut vm.packets,
                alive & !deferred,
                &self.desk.proxied,
            );
        }
        vm.forget(reads::CT, alive);
        if deferred != 0 && generation.program().has_effects() {
            return alive & u64::MAX << deferred.trailing_zeros();
        }
        deferred
    }

    /// Helpers look at the packets, and connections that they begin enter the table.
    pub(super) fn confirm(&mut self, alive: u64) {
        self.refresh(alive);
        let context = self.track_context();
        let run = &mut self.run;
        let Some(tracker) = &mut run.tracker else {
            return;
        };
        tracker.confirm(alive, &mut run.vm.packets, &context);
        let helped = |lane: &usize| {
            let flow = run.vm.packets.ct[*lane].flow;
            const HELPED: u32 = status::HELPER | status::SEQ_ADJUST | status::PROXIED;
            flow.is_some() && tracker.status(flow) & HELPED != 0
        };
        let helped = lanes(alive & !run.vm.packets.ended)
            .filter(helped)
            .fold(0, |some, lane| some | 1 << lane);
        for lane in lanes(helped) {
            self.help(lane);
        }
    }

    /// Has the SYN proxy and the helper of a lane's connection look at its packet, and adjusts what they
    /// have shifted.
    #[cold]
    fn help(&mut self, lane: usize) {
        let now_ns = self.run.context.now_ns;
        let numbered = self.is_numbered(lane);
        let proxied = numbered && self.is_proxied(lane);
        if proxied && !self.attend_proxied(lane) {
            return;
        }
        let run = &mut self.run;
        let Some(tracker) = run.tracker.as_deref_mut() else {
            return;
        };
        let packets = &mut run.vm.packets;
        let (ct, frame) = (packets.ct[lane], &mut run.frames[lane]);
        let headers = &mut packets.headers[lane];
        // An error about the connection's packets has neither announcements nor numbers.
        if is_error(frame.bytes(), headers) {
            return;
        }
        let before = headers.end;
        if tracker.status(ct.flow) & status::HELPER != 0 {
            let mut helped = Helped {
                tracker,
                ct,
                frame,
                headers,
                now_ns,
            };
            if let Some(reason) = helped.help() {
                return packets.end(1 << lane, reason, RuleRef::NONE);
            }
        }
        let partial = frame.vnet.needs_checksum();
        let adjusted = !numbered
            || (!proxied || tracker.shift_clock(ct.flow, ct.direction, headers, frame))
                && tracker.adjust_sequences(
                    ct.flow,
                    ct.direction,
                    headers,
                    frame.bytes_mut(),
                    partial,
                );
        if headers.end != before {
            let (end, network) = (headers.end, u32::from(headers.network));
            if end > before && !self.desk.grown.is_full() {
                self.desk.grown.push((lane, end - before));
            }
            packets.limits[lane] = end;
            packets.lengths[lane] = end - network;
        }
        if !adjusted {
            packets.end(1 << lane, DropReason::NatMalformed, RuleRef::NONE);
        }
        run.vm.forget(reads::PAYLOAD, 1 << lane);
    }

    /// Whether a lane's packet is a segment of its connection. Errors about it are none, nor are answers of
    /// rules to it, which have the numbers that their receiver knows already.
    fn is_numbered(&self, lane: usize) -> bool {
        let headers = &self.run.vm.packets.headers[lane];
        headers.l4proto == protocol::TCP && self.desk.attached(lane).is_none()
    }

    fn is_proxied(&self, lane: usize) -> bool {
        let flow = self.run.vm.packets.ct[lane].flow;
        let tracker = self.run.tracker.as_deref();
        tracker.is_some_and(|tracker| tracker.status(flow) & status::PROXIED != 0)
    }

    /// A packet that was dropped leaves no connection behind.
    pub(super) fn forget_dropped(&mut self, lanes: u64) {
        let run = &mut self.run;
        let dropped = lanes & run.vm.packets.ended;
        if let (Some(tracker), 1..) = (&mut run.tracker, dropped) {
            tracker.drop_unconfirmed(dropped, &mut run.vm.packets);
        }
    }

    fn track_context(&self) -> TrackContext {
        TrackContext {
            now_ns: self.run.context.now_ns,
            wall_ns: self.run.context.wall_ns,
            domain: 0,
            exact: self.run.generation.program().connection().in_order(),
        }
    }
}
