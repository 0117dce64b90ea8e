//! First segments that the translator's filtering refused (RFC 5382, REQ-4): which ones they are, and the
//! answer that some of them get six seconds later.
//!
//! Rules come first: what input or forward drops never comes here. A segment to an endpoint of a binding
//! ends here whoever has the address. One to another port of an address ends here only where nobody
//! could answer: the address has bindings, is none of the gateway's own, and the way leads back to where
//! the segment came from. The gateway's own host answers for its own addresses, as in Linux.

use super::pipeline::Pipeline;
use super::walk::Walk;
use crate::conntrack::{Direction, Tuple, status};
use crate::drop_reason::DropReason;
use crate::gateway::outbox::About;
use crate::gateway::{Address, Complaint, Gateway};
use crate::nat::translator::external;
use crate::nat::unsolicited::Segment;
use crate::nat::{Translator, destination};
use crate::packet::headers::{field, flag, protocol};
use crate::packet::pool::FramePool;
use crate::program::lanes::lanes;

/// FIN, SYN, RST and ACK in the flags of TCP, and SYN alone.
const OPENING: (u8, u8) = (0x17, 0x02);

impl Walk<'_, '_> {
    /// Ends the first segments among these lanes that the translator's filtering has refused.
    #[inline]
    pub(super) fn hold_unsolicited(&mut self, among: u64) {
        let (Some(translator), Some(tracker)) = (self.run.translator, self.run.tracker.as_deref())
        else {
            return;
        };
        let new = among & tracker.begun_lanes() & !self.desk.own;
        if new != 0 && translator.allocator().has_bindings() && translator.unsolicited().is_on() {
            self.hold_refused(translator, new);
        }
    }

    #[cold]
    fn hold_refused(&mut self, translator: &Translator, new: u64) {
        for lane in lanes(new) {
            let Some(tuple) = self.refused(translator, lane) else {
                continue;
            };
            let packets = &self.run.vm.packets;
            let (headers, in_port) = (&packets.headers[lane], packets.in_ports[lane]);
            let frame = self.run.frames[lane].bytes();
            let segment = Segment::of(frame, headers, in_port, self.attach(lane));
            let now_ns = self.run.context.now_ns;
            if translator.unsolicited().hold(&tuple, segment, now_ns) {
                self.end(lane, DropReason::UnsolicitedSyn);
            } else {
                self.end(lane, DropReason::UnsolicitedMany);
            }
        }
    }

    /// The tuple of a lane's first segment, if it is for the translator and was let in by nobody.
    fn refused(&self, translator: &Translator, lane: usize) -> Option<Tuple> {
        let packets = &self.run.vm.packets;
        let (headers, flow) = (&packets.headers[lane], packets.ct[lane].flow);
        if headers.l4proto != protocol::TCP || !headers.has(flag::TRANSPORT) {
            return None;
        }
        let frame = self.run.frames[lane].bytes();
        let [flags] = field::<1>(frame, usize::from(headers.transport) + 13)?;
        let tracker = self.run.tracker.as_deref()?;
        if flags & OPENING.0 != OPENING.1 || tracker.status(flow) & status::DST_NAT != 0 {
            return None;
        }
        let tuple = tracker.translated_tuple(flow, Direction::Original)?;
        let to = external(&tuple, destination(&tuple));
        let allocator = translator.allocator();
        let nobody = || {
            let own = self.desk.local >> lane & 1 == 1;
            !own && packets.out_ports[lane] == packets.in_ports[lane] && allocator.binds_on(&to)
        };
        (allocator.binding(&to).is_some() || nobody()).then_some(tuple)
    }
}

impl Pipeline {
    /// Answers the refused segments that have waited long enough.
    pub(super) fn answer_unsolicited(
        &mut self,
        gateway: &Gateway,
        pool: &mut FramePool,
        now_ns: u64,
    ) {
        let Some(translator) = &self.translator else {
            return;
        };
        while let Some(segment) = translator.unsolicited().take_due(now_ns) {
            let about = About {
                frame: &segment.frame,
                headers: &segment.headers,
                in_port: segment.in_port,
                // As if the endpoint itself had spoken.
                source: Address::destination(&segment.frame, &segment.headers),
                flow: segment.flow,
            };
            let complaint = Complaint::PortUnreachable;
            let outbox = &mut self.desk.outbox;
            outbox.complain(gateway, pool, &about, complaint, now_ns);
        }
    }
}
