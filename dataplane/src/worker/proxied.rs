//! Packets of connections whose handshake the SYN proxy makes, as they are about to leave (the kernel's
//! `ipv4_synproxy_hook`).
//!
//! | state | packet | what happens |
//! |---|---|---|
//! | SYN_SENT | the client's probe of the closed window | the server is asked again |
//! | SYN_RECV | the server's SYN-ACK | the server gets an ACK, the client its window |
//! | CLOSE | the server's RST | if it answers the SYN it gets the number that the client waits for |
//!
//! From SYN_RECV on numbers and timestamps are shifted.

use super::disposition::ProxySegment;
use super::walk::Walk;
use crate::conntrack::{Direction, ProxyEvent, Stage, TrackerWorker};
use crate::drop_reason::DropReason;
use crate::packet::headers::Headers;
use crate::program::synproxy::replace;
use crate::program::{Packets, RuleRef};
use crate::synproxy::{Segment, Towards, client_ack, flag, option, server_ack};

/// The tracker has seen segments that are the proxy's: connections begin, or begin anew, with its SYNs.
pub(super) fn open(
    tracker: &mut TrackerWorker,
    packets: &mut Packets,
    among: u64,
    segments: &[(usize, ProxySegment)],
) {
    for (lane, segment) in segments {
        if among >> lane & 1 == 0 {
            continue;
        }
        let flow = packets.ct[*lane].flow;
        if !flow.is_some() {
            // It fits no flow: what the server would answer could not be translated.
            packets.end(1 << lane, DropReason::FlowClash, RuleRef::NONE);
            continue;
        }
        let room = segment
            .opens
            .is_none_or(|handshake| tracker.open(*lane, flow, handshake));
        if !room {
            packets.end(1 << lane, DropReason::FlowTableFull, RuleRef::NONE);
        }
    }
}

impl Walk<'_, '_> {
    /// Does the proxy's part for a segment of a lane's proxied connection; yields whether it goes on.
    pub(super) fn attend_proxied(&mut self, lane: usize) -> bool {
        let ct = self.run.vm.packets.ct[lane];
        let Some(tracker) = self.run.tracker.as_deref() else {
            return true;
        };
        let stage = tracker.stage(ct.flow);
        if stage == Stage::Other {
            return true;
        }
        let headers = &self.run.vm.packets.headers[lane];
        let Some(segment) = Segment::read(self.run.frames[lane].bytes(), headers) else {
            self.end(lane, DropReason::ProxyMalformed);
            return false;
        };
        match (stage, ct.direction) {
            (Stage::Opening, Direction::Original) if is_ack(&segment) => {
                self.ask_again(lane, &segment)
            }
            (Stage::Answered { window }, Direction::Reply)
                if segment.has(flag::SYN | flag::ACK) =>
            {
                self.tell_both(lane, &segment, window)
            }
            (Stage::Closed, Direction::Reply) if segment.has(flag::RST) => {
                if let Some(tracker) = self.run.tracker.as_deref_mut() {
                    tracker.note_refusal(ct.flow, segment.seq);
                }
                true
            }
            _ => true,
        }
    }

    /// The client probes its closed window, with the number of its SYN: that, or its answer, was lost.
    fn ask_again(&mut self, lane: usize, probe: &Segment) -> bool {
        if self.run.ask_server(lane, probe.seq) {
            if let Some(tracker) = self.run.tracker.as_deref() {
                tracker.count_proxy(ProxyEvent::CookieRetransmitted);
            }
            self.keep(lane);
        } else {
            self.end(lane, DropReason::ProxyCookie);
        }
        false
    }

    /// The server has answered: it gets its ACK, and in place of its SYN-ACK goes what opens the client's
    /// window.
    fn tell_both(&mut self, lane: usize, answer: &Segment, window: u16) -> bool {
        let packets = &self.run.vm.packets;
        let (ct, headers) = (packets.ct[lane], packets.headers[lane]);
        let bytes = self.run.frames[lane].bytes();
        let Some(tracker) = self.run.tracker.as_deref_mut() else {
            return true;
        };
        let told = tracker.proxied(ct.flow).handshake;
        let stamped = answer.options.has(option::TIMESTAMP);
        let clock = stamped.then_some(answer.options.tsval);
        let to_server = server_ack(answer, told, window).framed((bytes, &headers), Towards::Sender);
        let to_client = client_ack(answer).framed((bytes, &headers), Towards::Receiver);
        let gathered = packets.gathered >> lane & 1 == 1;
        let (Some(to_server), Some(to_client), false) = (to_server, to_client, gathered) else {
            self.end(lane, DropReason::ProxyMalformed);
            return false;
        };
        tracker.note_answer(ct.flow, answer.seq, clock);
        self.run
            .send_proxied(lane, &to_server, Towards::Sender, None);
        if !replace(&mut self.run.frames[lane], &to_client) {
            self.end(lane, DropReason::ProxyMalformed);
            return false;
        }
        let headers = Headers::dissect(&to_client);
        let packets = &mut self.run.vm.packets;
        packets.limits[lane] = headers.end;
        packets.lengths[lane] = headers.end - u32::from(headers.network);
        packets.headers[lane] = headers;
        true
    }
}

fn is_ack(segment: &Segment) -> bool {
    segment.has(flag::ACK) && segment.flags & (flag::SYN | flag::RST) == 0
}
