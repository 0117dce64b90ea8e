//! Helpers at work: what a control connection announces is waited for, and where the connection is
//! translated the announcement is rewritten to what the other end will see (`nf_nat_ftp`, `nf_nat_tftp`).

use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::conntrack::expect::Follow;
use crate::conntrack::helper::{self, Expected, Helper, ftp, tftp};
use crate::conntrack::{
    CtState, Direction, Expectation, FlowId, PacketCt, TrackerWorker, Tuple, status,
};
use crate::drop_reason::DropReason;
use crate::nat::mangle::replace_payload;
use crate::packet::Frame;
use crate::packet::headers::{Headers, field};

/// Ports that are tried when the announced one is announced by somebody else already.
const TRIES: u16 = 1024;

/// A packet of a connection that has a helper.
pub(super) struct Helped<'h, 'q> {
    pub(super) tracker: &'h mut TrackerWorker,
    pub(super) ct: PacketCt,
    pub(super) frame: &'h mut Frame<'q>,
    pub(super) headers: &'h mut Headers,
    pub(super) now_ns: u64,
}

impl Helped<'_, '_> {
    /// Lets the helper look at the packet; what it announces takes the place of what it announced
    /// before. Yields why the packet must not pass.
    #[cold]
    pub(super) fn help(&mut self) -> Option<DropReason> {
        let master = self.tracker.flow_id(self.ct.flow)?;
        match Helper::from_number(self.tracker.helper(self.ct.flow)) {
            Some(Helper::Ftp) if self.ct.state == CtState::Established => self.ftp(master),
            Some(Helper::Tftp) if self.ct.direction == Direction::Original => {
                let back = self.tracker.tuple(self.ct.flow, Direction::Reply);
                let payload = self.headers.payload(self.frame.bytes())?;
                if let Some(expected) = tftp::inspect(payload, &back) {
                    let inside = self.tracker.tuple(self.ct.flow, Direction::Original).sport;
                    self.expect(master, expected, inside);
                }
                None
            }
            _ => None,
        }
    }

    fn ftp(&mut self, master: FlowId) -> Option<DropReason> {
        let bytes = self.frame.bytes();
        let payload = self.headers.payload(bytes)?;
        let sequence = field::<4>(bytes, usize::from(self.headers.transport) + 4)?;
        let sequence = u32::from_be_bytes(sequence);
        let (own, other) = self.ends();
        let shared = Arc::clone(self.tracker.tracker());
        let lives = |id: FlowId| shared.flow(id.index).is_some_and(|flow| flow.id == id);
        let reply = self.ct.direction == Direction::Reply;
        let said = shared.conversations().ftp(master, lives, |lines| {
            ftp::inspect(lines, payload, sequence, reply, &own, &other)
        });
        // In their order, so that the last one is what is waited for.
        let mut outside = ArrayVec::<Option<u16>, { ftp::MOST }>::new();
        for announced in &said.announced {
            let inside = announced.expected.tuple.dport;
            outside.push(self.expect(master, announced.expected, inside));
        }
        let mut longer = 0;
        // From behind, so that what is still to be rewritten stays where it is.
        for (announced, outside) in said.announced.iter().zip(outside).rev() {
            // What is not waited for stays as it is written.
            let Some(outside) = outside.filter(|_| self.is_translated()) else {
                continue;
            };
            let text = ftp::written(announced.form, &other.dst, outside, own.l3);
            let (_, len) = announced.place;
            if !replace_payload(self.frame, self.headers, announced.place, text.as_bytes()) {
                return Some(DropReason::FrameTooLarge);
            }
            longer += text.len() as i32 - len as i32;
        }
        if longer != 0 {
            let (flow, direction) = (self.ct.flow, self.ct.direction);
            // A flow with a helper has the record that this needs.
            let _noted = self
                .tracker
                .note_length_change(flow, direction, sequence, longer);
        }
        said.partial.then_some(DropReason::AnnouncementCut)
    }

    /// The tuple of the packet's direction, and that of the other one.
    fn ends(&self) -> (Tuple, Tuple) {
        let there = self.tracker.tuple(self.ct.flow, Direction::Original);
        let back = self.tracker.tuple(self.ct.flow, Direction::Reply);
        match self.ct.direction {
            Direction::Original => (there, back),
            Direction::Reply => (back, there),
        }
    }

    fn is_translated(&self) -> bool {
        self.tracker.status(self.ct.flow) & (status::SRC_NAT | status::DST_NAT) != 0
    }

    /// Waits for what has been announced, at the port `inside` of the announcing end; yields the port at
    /// which it will come. Refused when there are too many: as in Linux the packet passes, and what comes
    /// is a connection like any other.
    fn expect(&mut self, master: FlowId, expected: Expected, inside: u16) -> Option<u16> {
        let translated = self.is_translated();
        let tracker = &mut *self.tracker;
        if tracker.tracker().expected_by(master) > 0 {
            tracker.tracker().unexpect(|old| old.master == master);
        }
        let follow = translated.then_some(Follow {
            towards: self.ct.direction,
            port: inside,
        });
        let first = expected.tuple.dport;
        // Without translation nobody can be told of another port.
        let tries = if translated { TRIES } else { 1 };
        let ports = (0..tries).filter_map(|by| first.checked_add(by));
        for port in ports {
            let waits = tracker.expect(Expectation {
                master,
                tuple: Tuple {
                    dport: port,
                    ..expected.tuple
                },
                mask: expected.mask,
                expires_ns: self.now_ns + helper::TIMEOUT_NS,
                class: 0,
                permanent: false,
                helper: 0,
                follow,
            });
            if waits {
                return Some(port);
            }
        }
        None
    }
}
