//! Confirming begun flows, forgetting them, and changing their reply tuple in between.

use super::event::FlowEventKind;
use super::index::Found;
use super::state::{CtState, FlowIndex, PacketCt, status};
use super::table::Refused;
use super::worker::{TrackContext, TrackerWorker};
use crate::drop_reason::DropReason;
use crate::packet::headers::protocol as number;
use crate::program::key::Direction;
use crate::program::lanes::lanes;
use crate::program::{Packets, RuleRef};

/// Lifetime of a flow that lost a clash and is known by its replies only, as in the kernel.
const CLASH_NS: u64 = 1_000_000_000;
const GRE: u8 = 47;

/// Protocols whose first packets may meet on two workers without either being wrong.
fn may_clash(protocol: u8) -> bool {
    matches!(protocol, number::UDP | number::UDPLITE | GRE)
}

impl TrackerWorker {
    /// Puts the begun flows of lanes into the table: their packets are about to leave. Ends lanes whose
    /// flow lost a clash that cannot be resolved.
    pub fn confirm(&mut self, among: u64, packets: &mut Packets, context: &TrackContext) {
        let mine = among & self.begun.lanes();
        for lane in lanes(mine) {
            let (_, hashes) = self.begun.get(lane);
            self.table().index().prefetch(hashes[0]);
            self.table().index().prefetch(hashes[1]);
        }
        for lane in lanes(mine) {
            let (index, hashes) = self.begun.get(lane);
            match self.table().insert(index, hashes, self.now_ns) {
                Ok(()) => {
                    self.begun.remove(lane);
                    self.wheel.link(&self.tracker.table.memory, index);
                    self.seat().insert.add(1);
                    self.table()
                        .tell(self.number, FlowEventKind::New, index, context.wall_ns);
                }
                Err(Refused::Rival(rival)) => self.clash(lane, packets, rival),
                Err(Refused::Crowded) => {
                    self.seat().chain_too_long.add(1);
                    self.refuse(lane, packets, DropReason::FlowTableFull);
                }
            }
        }
    }

    /// Another worker was faster with the same tuple: the packet joins its flow if that is the same, or a
    /// short-lived flow that is known by its replies is made, as the kernel does; otherwise it ends here.
    #[cold]
    fn clash(&mut self, lane: usize, packets: &mut Packets, rival: Found) {
        let (index, hashes) = self.begun.get(lane);
        let table = &self.tracker.table;
        let (own, other) = (table.entry(index), table.entry(rival.0));
        let translated = status::SRC_NAT_DONE | status::DST_NAT_DONE;
        let same = (0..2).all(|direction| own.key(direction) == other.key(direction));
        if may_clash(own.protocol()) && (other.status() & translated == 0 || same) {
            let (_, bytes) = own.counters(0);
            other.count_shared(rival.1, bytes);
            let reply = rival.1 == 1;
            let established = reply || other.status() & status::SEEN_REPLY != 0;
            if reply {
                other.set_status(status::SEEN_REPLY);
            }
            packets.ct[lane] = PacketCt {
                flow: FlowIndex(rival.0),
                state: if established {
                    CtState::Established
                } else {
                    CtState::New
                },
                direction: if reply {
                    Direction::Reply
                } else {
                    Direction::Original
                },
                invalid: 0,
            };
            self.seat().clash_resolve.add(1);
            self.forget(1 << lane);
        } else if may_clash(own.protocol()) && self.insert_reply_only(index, hashes) {
            self.begun.remove(lane);
            self.wheel.link(&self.tracker.table.memory, index);
            self.seat().clash_resolve.add(1);
        } else {
            self.refuse(lane, packets, DropReason::FlowClash);
        }
    }

    fn insert_reply_only(&self, index: u32, hashes: [u64; 2]) -> bool {
        let entry = self.table().entry(index);
        entry.set_deadline_ns(self.now_ns + CLASH_NS);
        entry.set_status(status::FIXED_TIMEOUT | status::NAT_CLASH);
        self.table().insert_reply(index, hashes[1], self.now_ns)
    }

    /// Ends a lane whose flow could not be put into the table.
    #[cold]
    fn refuse(&mut self, lane: usize, packets: &mut Packets, reason: DropReason) {
        self.seat().insert_failed.add(1);
        self.seat().drop.add(1);
        self.forget(1 << lane);
        packets.ct[lane].flow = FlowIndex::NONE;
        packets.end(1 << lane, reason, RuleRef::NONE);
    }

    /// Forgets the begun flows of lanes that ended: a dropped first packet leaves nothing.
    pub fn drop_unconfirmed(&mut self, among: u64, packets: &mut Packets) {
        let mine = among & self.begun.lanes();
        self.forget(mine);
        for lane in lanes(mine) {
            packets.ct[lane].flow = FlowIndex::NONE;
        }
    }

    /// Gives the entries of begun flows back.
    pub(super) fn forget(&mut self, mine: u64) {
        for lane in lanes(mine) {
            let (index, _) = self.begun.get(lane);
            self.begun.remove(lane);
            let table = &self.tracker.table;
            let entry = table.entry(index);
            table.release_translation(index);
            let side = entry.side();
            if side != 0 {
                table.sides.give(side);
            }
            entry.forget();
            table.pool.give(&mut self.hand, index);
            self.live_change -= 1;
        }
    }
}
