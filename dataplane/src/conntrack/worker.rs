//! A worker's part of the tracker: what a packet's walk calls.
//!
//! A batch is bracketed by [`TrackerWorker::begin`] and [`TrackerWorker::end`]; between them every entry
//! that the worker finds stays that flow's. Entry numbers ([`FlowIndex`]) do not outlive the batch.

use std::sync::Arc;

use super::begun::Begun;
use super::expect::Expectation;
use super::flow::FlowId;
use super::in_force::InForce;
use super::index::Found;
use super::pool::Hand;
use super::seat::Seat;
use super::state::{FlowIndex, status};
use super::table::Table;
use super::tracker::Tracker;
use super::tuple::{Key, Tuple};
use super::wheel::Wheel;
use crate::packet::BATCH;
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

/// Entries of the wheel, and of the inbox, that a batch looks at most. More than the flows that a batch
/// can begin times the levels of the wheel, so that ending keeps up with beginning.
const UPKEEP: usize = 320;
/// Entries that wait for the others' next batch at most; beyond that nothing ends for a while.
const WAITING: usize = 4096;
/// Room for those, for what one batch's upkeep ends, and for what its packets end.
const ROOM: usize = WAITING + 2 * UPKEEP + 4 * BATCH;

/// A worker's part of the tracker.
#[derive(Debug)]
pub struct TrackerWorker {
    pub(super) tracker: Arc<Tracker>,
    pub(super) number: u16,
    pub(super) in_force: Arc<InForce>,
    version: u64,
    pub(super) now_ns: u64,
    pub(super) wall_ns: u64,
    pub(super) hand: Hand,
    pub(super) wheel: Wheel,
    pub(super) begun: Begun,
    /// Tuples of the lanes of this pass, with their hashes.
    pub(super) keys: Box<[Key; BATCH]>,
    pub(super) hashes: Box<[u64; BATCH]>,
    /// What the index said of them at first sight.
    pub(super) guesses: Box<[Option<Found>; BATCH]>,
    /// Flows that lanes of this pass have met, when order matters.
    pub(super) met: Vec<u32>,
    /// Lanes of this batch that have met a flow of the table.
    pub(super) known: u64,
    /// Those of them whose source, and whose destination, is translated.
    pub(super) turned: [u64; 2],
    /// Flows begun minus flows ended since the shared count was told.
    pub(super) live_change: i32,
    /// The rest of the inbox that was taken: first entry.
    inbox: u32,
    /// Ended flows that are still to be closed into `waiting`.
    ended: Vec<u32>,
    /// Ended flows that are free when `moment` has passed.
    waiting: Vec<u32>,
    moment: u64,
}

impl TrackerWorker {
    pub(super) fn new(tracker: Arc<Tracker>, number: u16) -> Self {
        let (in_force, version) = tracker.in_force();
        let mut worker = Self {
            number,
            in_force,
            version,
            now_ns: 0,
            wall_ns: 0,
            hand: tracker.table.pool.hand(),
            wheel: Wheel::new(0),
            begun: Begun::default(),
            keys: Box::new([Key::default(); BATCH]),
            hashes: Box::new([0; BATCH]),
            guesses: Box::new([None; BATCH]),
            met: Vec::with_capacity(BATCH),
            known: 0,
            turned: [0; 2],
            live_change: 0,
            inbox: 0,
            ended: Vec::with_capacity(ROOM),
            waiting: Vec::with_capacity(ROOM),
            moment: 0,
            tracker,
        };
        worker.take_over();
        worker
    }

    /// Takes over the flows of an earlier worker of this number.
    fn take_over(&mut self) {
        let table = &self.tracker.table;
        let fresh = table
            .memory
            .header()
            .fresh
            .load(std::sync::atomic::Ordering::Relaxed);
        for index in 1..fresh.min(table.memory.entries() + 1) {
            let entry = table.entry(index);
            let bits = entry.status();
            if entry.owner() != self.number || bits & (status::CONFIRMED | status::DYING) == 0 {
                continue;
            }
            Wheel::reset(&table.memory, index);
            if bits & status::DYING == 0 {
                self.wheel.link(&table.memory, index);
            }
        }
        self.ended = self.tracker.take_orphans(self.number);
        self.ended.reserve(ROOM);
    }

    /// The shared part.
    pub fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// The worker's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    #[inline]
    pub(super) fn table(&self) -> &Table {
        &self.tracker.table
    }

    #[inline]
    pub(super) fn seat(&self) -> &Seat {
        &self.tracker.table.seats[usize::from(self.number)]
    }

    /// Begins a batch: takes over changed settings, ends flows that are due (bounded work), and from here
    /// to [`end`](Self::end) no entry that the worker finds is used again for another flow.
    pub fn begin(&mut self, now_ns: u64, wall_ns: u64) {
        self.now_ns = now_ns;
        self.wall_ns = wall_ns;
        (self.known, self.turned) = (0, [0; 2]);
        if self.version != self.tracker.version() {
            (self.in_force, self.version) = self.tracker.in_force();
        }
        self.free_waiting();
        self.tracker.table.epochs.enter(usize::from(self.number));
        if self.ended.len() < WAITING {
            self.read_inbox();
            self.turn_wheel();
        }
    }

    /// Ends a batch. Flows begun and neither confirmed nor dropped are forgotten.
    pub fn end(&mut self) {
        if self.begun.lanes() != 0 {
            self.forget(self.begun.lanes());
        }
        self.tell_live();
        self.tracker.table.epochs.leave(usize::from(self.number));
    }

    /// Work that is due without a packet; call it about every 100 ms when no batch comes.
    pub fn tick(&mut self, now_ns: u64, wall_ns: u64) {
        // As much as fits into the rooms for ended flows, so that an idle worker catches up.
        for _ in 0..WAITING / UPKEEP {
            self.begin(now_ns, wall_ns);
            self.end();
        }
        if self.number == 0 && self.tracker.table.expectations.count() != 0 {
            let gone = self
                .tracker
                .table
                .expectations
                .remove(|one| one.expires_ns <= now_ns);
            self.seat().expect_delete.add(gone as u64);
        }
    }

    fn tell_live(&mut self) {
        self.tracker
            .table
            .change_live(std::mem::take(&mut self.live_change));
    }

    /// Frees ended flows that nobody can hold any more, and closes the next lot.
    fn free_waiting(&mut self) {
        let table = &self.tracker.table;
        if !self.waiting.is_empty() && table.epochs.passed(self.moment) {
            for index in self.waiting.drain(..) {
                let entry = table.entry(index);
                if entry.queued.load(std::sync::atomic::Ordering::Acquire) != 0 {
                    // Somebody has asked for it to be looked at: not before that has been read.
                    self.ended.push(index);
                    continue;
                }
                let side = entry.side();
                if side != 0 {
                    table.sides.give(side);
                }
                entry.forget();
                table.pool.give(&mut self.hand, index);
            }
        }
        if self.waiting.is_empty() && !self.ended.is_empty() {
            std::mem::swap(&mut self.waiting, &mut self.ended);
            self.moment = table.epochs.moment();
        }
    }

    /// Looks at what others have left for this owner.
    fn read_inbox(&mut self) {
        let table = &self.tracker.table;
        for _ in 0..UPKEEP {
            if self.inbox == 0 {
                self.inbox = table.take_inbox(self.number);
                if self.inbox == 0 {
                    return;
                }
            }
            let index = self.inbox;
            let (next, dead) = table.unqueue(index);
            self.inbox = next;
            if dead {
                self.wheel.unlink(&table.memory, index);
                self.ended.push(index);
            } else if table.entry(index).status() & (status::CONFIRMED | status::DYING)
                == status::CONFIRMED
            {
                self.wheel.unlink(&table.memory, index);
                self.wheel.link(&table.memory, index);
            }
        }
    }

    /// Ends the flows whose time is over.
    fn turn_wheel(&mut self) {
        let mut due = [0; UPKEEP / 10];
        for _ in 0..10 {
            let count = self
                .wheel
                .come_up(&self.tracker.table.memory, self.now_ns, &mut due);
            let mut over = 0;
            for at in 0..count {
                let index = due[at];
                let table = &self.tracker.table;
                let entry = table.entry(index);
                if entry.status() & status::DYING != 0 {
                    // Its killer leaves it in the inbox.
                    continue;
                }
                if entry.deadline_ns() > self.now_ns {
                    self.wheel.link(&table.memory, index);
                } else {
                    super::memory::prefetch(&entry.halves[0]);
                    super::memory::prefetch(&entry.halves[1]);
                    due[over] = index;
                    over += 1;
                }
            }
            for &index in &due[..over] {
                self.tracker.table.prefetch_index(index);
            }
            for &index in &due[..over] {
                let id = self.id(FlowIndex(index));
                self.kill_own(id);
            }
            if count < due.len() {
                return;
            }
        }
    }

    /// Ends a flow. `false` when it has ended already.
    pub(super) fn kill(&mut self, id: FlowId) -> bool {
        if self.table().entry(id.index.0).owner() == self.number {
            return self.kill_own(id);
        }
        let killed = self.table().kill(self.number, id, self.wall_ns);
        if killed {
            self.live_change -= 1;
            self.table().hand_over(id.index.0);
        }
        killed
    }

    fn kill_own(&mut self, id: FlowId) -> bool {
        let table = &self.tracker.table;
        let killed = table.kill(self.number, id, self.wall_ns);
        if killed {
            self.live_change -= 1;
            self.wheel.unlink(&table.memory, id.index.0);
            self.ended.push(id.index.0);
        }
        killed
    }

    /// Sets a deadline; the owner hears of it when its wheel would look too late.
    #[inline]
    pub(super) fn set_deadline(&mut self, index: u32, deadline_ns: u64) {
        // Within this much an old deadline is as good: the line is shared by both directions.
        const GRAIN_NS: u64 = 4_000_000;
        let entry = self.table().entry(index);
        let old = entry.deadline_ns();
        if old.abs_diff(deadline_ns) < GRAIN_NS {
            return;
        }
        entry.set_deadline_ns(deadline_ns);
        if deadline_ns < old && self.table().is_too_late(index, deadline_ns) {
            self.rearm(index);
        }
    }

    #[cold]
    fn rearm(&mut self, index: u32) {
        let table = &self.tracker.table;
        let entry = table.entry(index);
        if entry.status() & status::CONFIRMED == 0 {
            return;
        }
        if entry.owner() == self.number && entry.status() & status::DYING == 0 {
            self.wheel.unlink(&table.memory, index);
            self.wheel.link(&table.memory, index);
        } else {
            table.rearm(index);
        }
    }

    /// Which flow is in an entry, also a begun one; `None` for [`FlowIndex::NONE`].
    pub fn flow_id(&self, flow: FlowIndex) -> Option<FlowId> {
        flow.is_some().then(|| self.id(flow))
    }

    /// Which flow an entry is now.
    pub(super) fn id(&self, flow: FlowIndex) -> FlowId {
        FlowId {
            index: flow,
            generation: self.table().entry(flow.0).generation(),
        }
    }

    /// Announces a tuple; `false` when there are too many, or its master has ended.
    pub fn expect(&mut self, expectation: Expectation) -> bool {
        self.tracker
            .expect_from(self.number, expectation, self.now_ns)
    }

    /// Address and port of one end of a flow's tuple; of an ICMP query the id for both ends.
    #[inline]
    pub fn end_of(
        &self,
        flow: FlowIndex,
        direction: Direction,
        destination: bool,
    ) -> ([u8; 16], u16) {
        let entry = self.table().entry(flow.0);
        entry.end(direction as usize, destination)
    }

    /// The tuple of a flow.
    #[inline]
    pub fn tuple(&self, flow: FlowIndex, direction: Direction) -> Tuple {
        self.table().entry(flow.0).tuple(direction as usize)
    }
}

impl Drop for TrackerWorker {
    fn drop(&mut self) {
        if self.begun.lanes() != 0 {
            self.forget(self.begun.lanes());
        }
        self.tell_live();
        let table = &self.tracker.table;
        table.pool.give_all(&mut self.hand);
        while self.inbox != 0 {
            // Still queued: back into the inbox, for the next worker of this number.
            let next = table
                .entry(self.inbox)
                .inbox
                .load(std::sync::atomic::Ordering::Relaxed);
            table.push(self.inbox);
            self.inbox = next;
        }
        let ended = self.ended.drain(..).chain(self.waiting.drain(..));
        self.tracker.leave_orphans(self.number, ended.collect());
        table.epochs.leave(usize::from(self.number));
    }
}
