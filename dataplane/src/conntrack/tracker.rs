//! The tracker as control sees it: settings, listing, deleting, expectations, events, statistics.
//!
//! Nothing here stops a worker: flows are copied without a lock and checked afterwards, what is deleted
//! is taken out of the index and left to its owner, settings are published as a snapshot that workers
//! take over between two batches.

use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::event::{FlowEvent, FlowEventKind, changed};
use super::expect::Expectation;
use super::filter::Filter;
use super::flow::{Flow, FlowId};
use super::hashing::split_mix;
use super::helper::conversations::Conversations;
use super::in_force::InForce;
use super::invalid::InvalidReason;
use super::limit::ElementLists;
use super::pool::Hand;
use super::sequence::Offsets;
use super::settings::Settings;
use super::state::{FlowIndex, status};
use super::statistics::{ProxyStatistics, Statistics};
use super::table::Table;
use super::timeouts::TimeoutPolicy;
use super::tuple::Tuple;
use super::worker::TrackerWorker;
use crate::program::key::Direction;
use crate::synproxy::Cookies;

/// The flow table and everything beside it; shared by all workers.
#[derive(Debug)]
pub struct Tracker {
    pub(super) table: Table,
    in_force: ArcSwap<InForce>,
    version: AtomicU64,
    /// Of control: one change at a time.
    control: Mutex<Hand>,
    /// Ended flows of workers that are gone, by worker.
    orphans: Mutex<Vec<Vec<u32>>>,
    lists: ElementLists,
    conversations: Conversations,
    pub(super) cookies: Cookies,
}

/// Why control could not add a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// A live flow has one of its tuples.
    #[error("a flow with this tuple exists")]
    Exists,
    /// The table is full.
    #[error("the flow table is full")]
    Full,
}

/// The keys of cookies from the seed of the hashing, with which they have nothing else in common.
fn cookie_keys(seed: u64) -> [[u64; 2]; 2] {
    const COOKIES: u64 = 0x5359_4e43_4f4f_4b49;
    let mut state = split_mix(&mut (seed ^ COOKIES));
    std::array::from_fn(|_| std::array::from_fn(|_| split_mix(&mut state)))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tracker {
    /// A tracker for so many workers; its hashing begins with `seed`, which has to be secret.
    ///
    /// # Errors
    /// When the memory cannot be had, or `settings.max` is 0 or more than 2,000,000,000.
    pub fn new(settings: Settings, workers: usize, seed: u64) -> Result<Arc<Self>, std::io::Error> {
        let table = Table::new(settings.max, workers, seed)?;
        table.listened.store(settings.events, Relaxed);
        Ok(Arc::new(Self {
            control: Mutex::new(table.pool.hand()),
            orphans: Mutex::new(vec![Vec::new(); workers]),
            lists: ElementLists::default(),
            conversations: Conversations::default(),
            cookies: Cookies::new(cookie_keys(seed)),
            table,
            in_force: ArcSwap::from_pointee(InForce::new(Arc::new(settings), Vec::new())),
            version: AtomicU64::new(1),
        }))
    }

    /// Takes all memory of the table, in huge pages where the kernel can; without this it is taken, in small
    /// ones, when flows come. May be done at any time, by any thread.
    pub fn take_memory(&self) {
        self.table.memory.use_huge_pages();
    }

    /// The part of a worker. There is one at a time for each number: a worker that is restarted asks again
    /// when the old part has been dropped, and takes its flows over.
    ///
    /// # Panics
    /// When there is no such worker.
    pub fn worker(self: &Arc<Self>, number: u16) -> TrackerWorker {
        assert!(usize::from(number) < self.workers(), "no worker {number}");
        TrackerWorker::new(Arc::clone(self), number)
    }

    pub(super) fn in_force(&self) -> (Arc<InForce>, u64) {
        let version = self.version();
        (self.in_force.load_full(), version)
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Acquire)
    }

    pub(super) fn take_orphans(&self, worker: u16) -> Vec<u32> {
        std::mem::take(&mut locked(&self.orphans)[usize::from(worker)])
    }

    pub(super) fn leave_orphans(&self, worker: u16, ended: Vec<u32>) {
        locked(&self.orphans)[usize::from(worker)].extend(ended);
    }

    /// Lists of flows of the elements of sets.
    pub fn lists(&self) -> &ElementLists {
        &self.lists
    }

    /// What helpers remember of control connections.
    pub fn conversations(&self) -> &Conversations {
        &self.conversations
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.table.workers()
    }

    /// The seat that control itself counts and tells under.
    pub(super) fn seat(&self) -> u16 {
        self.table.workers() as u16
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.in_force.load().settings)
    }

    /// Puts settings in force; `max` stays as it is. Flows get new timeouts with their next packet.
    pub fn set_settings(&self, settings: Settings) {
        let _one = locked(&self.control);
        let old = self.in_force.load();
        let max = old.settings.max;
        let settings = Arc::new(Settings { max, ..settings });
        self.publish(InForce::new(settings, old.policies.clone()));
    }

    fn publish(&self, in_force: InForce) {
        self.table.listened.store(in_force.settings.events, Relaxed);
        self.in_force.store(Arc::new(in_force));
        self.version.fetch_add(1, Release);
    }

    /// The number of a timeout policy, for [`TrackerWorker::set_policy`]. Equal policies have one number,
    /// which stays for the tracker's life. There are 65,535; who asks for more gets the tracker's own, 0.
    pub fn policy(&self, policy: &TimeoutPolicy) -> u16 {
        let _one = locked(&self.control);
        let old = self.in_force.load();
        if let Some(at) = old.policies.iter().position(|known| known == policy) {
            return at as u16 + 1;
        }
        let Ok(number) = u16::try_from(old.policies.len() + 1) else {
            return 0;
        };
        let mut policies = old.policies.clone();
        policies.push(policy.clone());
        self.publish(InForce::new(Arc::clone(&old.settings), policies));
        number
    }

    /// Timeout policies known so far; the first has number 1.
    pub fn policies(&self) -> Vec<TimeoutPolicy> {
        self.in_force.load().policies.clone()
    }

    /// Live flows, those included whose first packet is on its way.
    pub fn count(&self) -> u32 {
        self.table.live()
    }

    /// Bytes of memory reserved for flows and index.
    pub fn memory_bytes(&self) -> usize {
        self.table.memory.bytes()
    }

    /// The memory file that flows and index live in.
    pub fn memory_file(&self) -> BorrowedFd<'_> {
        self.table.memory.file()
    }

    /// A confirmed flow by its entry.
    pub fn flow(&self, index: FlowIndex) -> Option<Flow> {
        self.table.flow(index.0)
    }

    /// The confirmed flow that has a tuple, and which of its directions.
    pub fn find(&self, tuple: &Tuple) -> Option<(Flow, Direction)> {
        let (id, direction) = self.table.find(tuple)?;
        let flow = self.table.flow(id.index.0).filter(|flow| flow.id == id)?;
        // The entry may have become another flow's between the two.
        if direction == 0 {
            (flow.original == *tuple).then_some((flow, Direction::Original))
        } else {
            (flow.reply == *tuple).then_some((flow, Direction::Reply))
        }
    }

    /// Copies the confirmed flows that fit from entry `from` (at first 0) on, until `at_most` have been found or
    /// some thousand entries looked at; yields where to go on, `None` at the end.
    pub fn list(
        &self,
        filter: &Filter,
        from: u32,
        at_most: usize,
        out: &mut Vec<Flow>,
    ) -> Option<u32> {
        const STRIDE: u32 = 8192;
        let end = self
            .table
            .memory
            .header()
            .fresh
            .load(Acquire)
            .min(self.table.memory.entries() + 1);
        let from = from.max(1);
        let mut found = 0;
        for index in from..end.min(from.saturating_add(STRIDE)) {
            if found == at_most {
                return Some(index);
            }
            if let Some(flow) = self.table.flow(index)
                && filter.fits(&flow)
            {
                out.push(flow);
                found += 1;
            }
        }
        let next = from.saturating_add(STRIDE);
        (next < end).then_some(next)
    }

    /// Ends one flow; `false` when it has ended already.
    pub fn delete(&self, id: FlowId, wall_ns: u64) -> bool {
        let _one = locked(&self.control);
        self.kill(id, wall_ns)
    }

    fn kill(&self, id: FlowId, wall_ns: u64) -> bool {
        if id.index.0 == 0 || id.index.0 > self.table.memory.entries() {
            return false;
        }
        let killed = self.table.kill(self.seat(), id, wall_ns);
        if killed {
            self.table.change_live(-1);
            self.table.hand_over(id.index.0);
        }
        killed
    }

    /// Ends the flows that fit; yields how many.
    pub fn delete_matching(&self, filter: &Filter, wall_ns: u64) -> u64 {
        let (mut from, mut flows, mut ended) = (Some(0), Vec::new(), 0);
        while let Some(next) = from {
            from = self.list(filter, next, 1024, &mut flows);
            for flow in flows.drain(..) {
                ended += u64::from(self.delete(flow.id, wall_ns));
            }
        }
        ended
    }

    /// Does something with a live flow that no worker can free meanwhile.
    pub(super) fn with_flow(&self, id: FlowId, act: impl FnOnce(&super::entry::Entry)) -> bool {
        let _one = locked(&self.control);
        if id.index.0 == 0 || id.index.0 > self.table.memory.entries() {
            return false;
        }
        let participant = self.table.workers();
        self.table.epochs.enter(participant);
        let entry = self.table.entry(id.index.0);
        let life = entry.life();
        let alive = life as u32 & (status::CONFIRMED | status::DYING) == status::CONFIRMED;
        let is_it = alive && (life >> 32) as u32 == id.generation;
        if is_it {
            act(entry);
        }
        self.table.epochs.leave(participant);
        is_it
    }

    /// Sets the bits of `mask` of a flow's mark; `false` when it has ended.
    pub fn set_mark(&self, id: FlowId, mark: u32, mask: u32, wall_ns: u64) -> bool {
        self.with_flow(id, |entry| {
            entry.set_mark(entry.mark() & !mask | mark & mask);
            let kind = FlowEventKind::Update(changed::MARK);
            self.table.tell(self.seat(), kind, id.index.0, wall_ns);
        })
    }

    /// Sets and clears label bits of a flow; `false` when it has ended.
    pub fn set_label(&self, id: FlowId, set: u128, clear: u128, wall_ns: u64) -> bool {
        self.with_flow(id, |entry| {
            entry.change_label(set, clear);
            let kind = FlowEventKind::Update(changed::LABEL);
            self.table.tell(self.seat(), kind, id.index.0, wall_ns);
        })
    }

    /// Gives a flow so many nanoseconds from `now_ns` on; `false` when it has ended.
    pub fn set_timeout(&self, id: FlowId, now_ns: u64, ns: u64) -> bool {
        self.with_flow(id, |entry| {
            entry.set_deadline_ns(now_ns.saturating_add(ns));
            self.table.rearm(id.index.0);
        })
    }

    /// Sets status bits of a flow (never those that say where it is); `false` when it has ended.
    pub fn set_status(&self, id: FlowId, bits: u32) -> bool {
        self.with_flow(id, |entry| {
            entry.set_status(bits & (status::ASSURED | status::SEEN_REPLY | status::FIXED_TIMEOUT));
        })
    }

    /// Begins the counters of a flow anew; yields what they were.
    pub fn zero_counters(&self, id: FlowId) -> Option<[(u64, u64); 2]> {
        let mut were = None;
        self.with_flow(id, |entry| {
            let _locked = entry.lock();
            were = Some([entry.take_counters(0), entry.take_counters(1)]);
        });
        were
    }

    /// Adds a flow as it is described (its id, number and worker are new ones); for state that is loaded
    /// and for operators. It ends at `flow.expires_ns`.
    ///
    /// # Errors
    /// When it is there already, or there is no room.
    pub fn add(&self, flow: &Flow, wall_ns: u64) -> Result<FlowId, AddError> {
        let mut hand = locked(&self.control);
        self.add_with(&mut hand, flow, wall_ns)
    }

    /// Adds a flow; a worker that ends it at once cannot free it before its owner has been told of it.
    fn add_with(&self, hand: &mut Hand, flow: &Flow, wall_ns: u64) -> Result<FlowId, AddError> {
        let participant = self.table.workers();
        self.table.epochs.enter(participant);
        let added = self.add_inside(hand, flow, wall_ns);
        self.table.epochs.leave(participant);
        added
    }

    /// Adds flows and tells what became of each.
    pub(super) fn add_all(
        &self,
        flows: impl Iterator<Item = Flow>,
        wall_ns: u64,
        mut became: impl FnMut(&Flow, Result<FlowId, AddError>),
    ) {
        let mut hand = locked(&self.control);
        for flow in flows {
            let added = self.add_with(&mut hand, &flow, wall_ns);
            became(&flow, added);
        }
    }

    fn add_inside(&self, hand: &mut Hand, flow: &Flow, wall_ns: u64) -> Result<FlowId, AddError> {
        let table = &self.table;
        if table.live() >= table.limit {
            return Err(AddError::Full);
        }
        let index = table.pool.take(hand, &table.memory).ok_or(AddError::Full)?;
        let entry = table.entry(index);
        let keys = [flow.original.key(), flow.reply.key()];
        let hashes = keys.each_ref().map(|key| table.hasher.hash(key));
        let owner = index % table.workers() as u32;
        let start_us = table.start_us_at(flow.started_wall_ns, wall_ns);
        let id = entry.begin(index, keys.each_ref(), start_us, owner as u16);
        entry.restore(flow);
        let inserted = self.add_side(flow, index) && table.insert(index, hashes, 0).is_ok();
        if !inserted {
            let side = entry.side();
            if side != 0 {
                table.sides.give(side);
            }
            entry.forget();
            table.pool.give(hand, index);
            return Err(AddError::Exists);
        }
        table.change_live(1);
        table.seats[usize::from(self.seat())].insert.add(1);
        table.tell(self.seat(), FlowEventKind::New, index, wall_ns);
        // The owner links it into its wheel.
        table.rearm(index);
        Ok(id)
    }

    fn add_side(&self, flow: &Flow, index: u32) -> bool {
        let proxied = flow.status & status::PROXIED != 0;
        let adjusted = flow.offsets != [Offsets::NONE; 2];
        if flow.helper == 0 && flow.master.is_none() && !adjusted && !proxied {
            return true;
        }
        let Some(number) = self.table.sides.take() else {
            return false;
        };
        self.table.entry(index).set_side(number);
        if let Some(side) = self.table.sides.get(number) {
            side.helper.store(u32::from(flow.helper), Relaxed);
            side.set_master(flow.master);
            side.set_offsets(Direction::Original, flow.offsets[0]);
            side.set_offsets(Direction::Reply, flow.offsets[1]);
            side.set_proxied(flow.proxied);
        }
        true
    }

    /// Live expectations.
    pub fn expectations(&self) -> Vec<Expectation> {
        self.table.expectations.list()
    }

    /// Announces a tuple; `false` when there are too many or its master has ended.
    pub fn expect(&self, expectation: Expectation) -> bool {
        let _one = locked(&self.control);
        self.expect_from(self.seat(), expectation, 0)
    }

    pub(super) fn expect_from(&self, seat: u16, expectation: Expectation, now_ns: u64) -> bool {
        let master = expectation.master;
        let most = self.in_force.load().settings.max_expectations;
        let table = &self.table;
        let alive = |id: FlowId| {
            let life = table.entry(id.index.0).life();
            (life >> 32) as u32 == id.generation && life as u32 & status::DYING == 0
        };
        if !alive(master) || !table.expectations.add(expectation, most, now_ns) {
            return false;
        }
        let seat = &table.seats[usize::from(seat)];
        seat.expect_new.add(1);
        // Had the master ended in between, nobody else would remove it.
        if !alive(master) {
            seat.expect_delete
                .add(table.expectations.forget_master(master) as u64);
            return false;
        }
        true
    }

    /// Live expectations of a flow.
    pub fn expected_by(&self, master: FlowId) -> usize {
        self.table.expectations.of_master(master)
    }

    /// Removes the expectations that fit; yields how many.
    pub fn unexpect(&self, which: impl Fn(&Expectation) -> bool) -> usize {
        let _one = locked(&self.control);
        let gone = self.table.expectations.remove(which);
        self.table.seats[usize::from(self.seat())]
            .expect_delete
            .add(gone as u64);
        gone
    }

    /// The counters of a worker; number [`workers`](Self::workers) is control itself.
    pub fn statistics(&self, worker: usize) -> Statistics {
        self.table
            .seats
            .get(worker)
            .map_or_else(Statistics::default, super::seat::Seat::statistics)
    }

    /// The counters of a worker's SYN proxy; number [`workers`](Self::workers) has none.
    pub fn proxy_statistics(&self, worker: usize) -> ProxyStatistics {
        self.table.seats.get(worker).map_or_else(
            ProxyStatistics::default,
            super::seat::Seat::proxy_statistics,
        )
    }

    /// Takes the oldest event of a worker out of its queue; number [`workers`](Self::workers) is the queue
    /// of control itself.
    pub fn pop_event(&self, worker: usize) -> Option<FlowEvent> {
        self.table.seats.get(worker)?.events.pop()
    }

    /// Events that found their queue full.
    pub fn events_lost(&self) -> u64 {
        self.table.seats.iter().map(|seat| seat.lost.get()).sum()
    }

    /// Invalid packets by reason (index: number of the [`InvalidReason`]).
    pub fn invalids(&self) -> [u64; InvalidReason::COUNT] {
        std::array::from_fn(|reason| {
            self.table
                .seats
                .iter()
                .map(|seat| seat.invalid[reason].get())
                .sum()
        })
    }
}
