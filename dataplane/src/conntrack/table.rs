//! The flow table: entries, index, owners' inboxes, and the end of a flow.
//!
//! A flow ends in three steps. Whoever sets its `DYING` bit takes it out of the index ([`Table::kill`]); its
//! owner, the worker whose wheel it is in, takes it out of the wheel and keeps it until every worker
//! has begun a new batch; then its entry is free. If the killer is not the owner it leaves the entry
//! in the owner's inbox, a list through the entries themselves that never overflows.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU32, fence};
use std::sync::{Arc, OnceLock};

use super::entry::Entry;
use super::epoch::Epochs;
use super::event::{FlowEvent, FlowEventKind};
use super::expectations::Expectations;
use super::flow::{Flow, FlowId};
use super::hashing::KeyHasher;
use super::index::{Found, INDEX_BYTES, Index, buckets_for};
use super::memory::Memory;
use super::pool::Pool;
use super::seat::Seat;
use super::sequence::Offsets;
use super::side::{SIDE_BYTES, Side, Sides};
use super::state::{FlowIndex, status};
use super::tuple::Tuple;
use super::wheel::tick_of;

/// In `queued`: the entry is in its owner's inbox.
const QUEUED: u8 = 1;
/// In `queued`: it has been taken out of the index, the owner is to free it.
const DEAD: u8 = 2;

/// Entries beyond the budget for each worker: those of flows that just ended wait here.
pub(super) const SLACK: u32 = 512;

/// Bytes of a flow: its entry, its share of the index, of the side records and of the free list.
pub const FLOW_BYTES: usize = size_of::<Entry>() + INDEX_BYTES + SIDE_BYTES + 5;
const _: () = assert!(FLOW_BYTES <= 320);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Padded(AtomicU32);

/// Why a flow was not put into the index.
#[derive(Debug)]
pub(super) enum Refused {
    /// A live flow has one of its tuples.
    Rival(Found),
    /// No free slot in reach.
    Crowded,
}

/// Everything that workers and control share of the flows.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) memory: Memory,
    pub(super) hasher: KeyHasher,
    pub(super) pool: Pool,
    pub(super) epochs: Epochs,
    pub(super) sides: Sides,
    pub(super) expectations: Expectations,
    /// What each worker counts and tells; the last one is control's.
    pub(super) seats: Box<[Seat]>,
    pub(super) limit: u32,
    /// Whether somebody takes events.
    pub(super) listened: AtomicBool,
    live: Padded,
    inboxes: Box<[Padded]>,
    /// The moment from which starts of flows are counted, microseconds since 1970.
    base_us: OnceLock<u64>,
    /// Who is told of the end of translated flows.
    pub(super) release: OnceLock<Arc<dyn super::translation::Release>>,
}

impl Table {
    pub(super) fn new(limit: u32, workers: usize, seed: u64) -> Result<Self, std::io::Error> {
        let entries = limit.saturating_add(SLACK * workers as u32);
        if limit == 0 || entries >= 1 << 31 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidInput,
                format!("a flow table of {limit} flows: from 1 to 2,000,000,000 are possible"),
            ));
        }
        Ok(Self {
            memory: Memory::new(entries, buckets_for(entries), seed)?,
            hasher: KeyHasher::new(seed),
            pool: Pool::new(entries, workers + 1),
            epochs: Epochs::new(workers + 1),
            sides: Sides::new(limit),
            expectations: Expectations::default(),
            seats: (0..=workers).map(|_| Seat::new(workers)).collect(),
            limit,
            listened: AtomicBool::new(false),
            live: Padded::default(),
            inboxes: (0..workers).map(|_| Padded::default()).collect(),
            base_us: OnceLock::new(),
            release: OnceLock::new(),
        })
    }

    #[inline]
    pub(super) fn index(&self) -> Index<'_> {
        Index {
            memory: &self.memory,
        }
    }

    #[inline]
    pub(super) fn entry(&self, index: u32) -> &Entry {
        self.memory.entry(index)
    }

    pub(super) fn side(&self, index: u32) -> Option<&Side> {
        self.sides.get(self.entry(index).side())
    }

    pub(super) fn workers(&self) -> usize {
        self.inboxes.len()
    }

    /// Flows that count against the budget.
    #[inline]
    pub(super) fn live(&self) -> u32 {
        self.live.0.load(Relaxed)
    }

    pub(super) fn change_live(&self, by: i32) {
        if by != 0 {
            self.live.0.fetch_add(by as u32, Relaxed);
        }
    }

    /// A moment of the past as an entry holds it.
    pub(super) fn start_us_at(&self, started_wall_ns: u64, wall_ns: u64) -> u64 {
        let ago_us = wall_ns.saturating_sub(started_wall_ns) / 1000;
        self.start_us(wall_ns).saturating_sub(ago_us)
    }

    /// Wall time as an entry holds it.
    pub(super) fn start_us(&self, wall_ns: u64) -> u64 {
        // Four years are left for flows that began before the table did.
        const BEFORE_US: u64 = 4 * 365 * 86_400 * 1_000_000;
        let now_us = wall_ns / 1000;
        let base = self
            .base_us
            .get_or_init(|| now_us.saturating_sub(BEFORE_US));
        now_us.saturating_sub(*base).min((1 << 48) - 1)
    }

    /// Puts a begun flow into the index and makes it a confirmed one.
    pub(super) fn insert(&self, index: u32, hashes: [u64; 2], now_ns: u64) -> Result<(), Refused> {
        let entry = self.entry(index);
        let _locks = self.index().lock(hashes);
        for direction in [0, 1] {
            if let Some(rival) = self.rival(hashes[direction], index, direction, now_ns) {
                return Err(Refused::Rival(rival));
            }
        }
        if !self.index().insert(hashes[0], index, 0) {
            return Err(Refused::Crowded);
        }
        if !self.index().insert(hashes[1], index, 1) {
            self.index().remove(hashes[0], index, 0);
            return Err(Refused::Crowded);
        }
        // Last, because from here on anybody may end it.
        entry.set_status(status::CONFIRMED);
        Ok(())
    }

    /// Puts only the reply tuple of a begun flow into the index.
    pub(super) fn insert_reply(&self, index: u32, hash: u64, now_ns: u64) -> bool {
        let _lock = self.index().lock([hash; 2]);
        let free = self.rival(hash, index, 1, now_ns).is_none();
        let inserted = free && self.index().insert(hash, index, 1);
        if inserted {
            self.entry(index).set_status(status::CONFIRMED);
        }
        inserted
    }

    /// A live flow that has the tuple of a begun one's direction.
    fn rival(&self, hash: u64, index: u32, direction: usize, now_ns: u64) -> Option<Found> {
        let key = self.entry(index).key(direction);
        self.index()
            .find(hash, &key, |(other, _)| self.is_alive(other, now_ns))
    }

    /// Whether an entry in the index is that of a flow that is not over.
    #[inline]
    pub(super) fn is_alive(&self, index: u32, now_ns: u64) -> bool {
        let entry = self.entry(index);
        entry.status() & status::DYING == 0 && entry.deadline_ns() > now_ns
    }

    /// Fetches the buckets of both directions of a flow ahead.
    pub(super) fn prefetch_index(&self, index: u32) {
        for direction in [0, 1] {
            let hash = self.hasher.hash(&self.entry(index).key(direction));
            self.index().prefetch(hash);
        }
    }

    /// Takes a confirmed flow of this generation out of the index. `false` when somebody else has. The
    /// caller then hands the entry to its owner, or is the owner and frees it.
    pub(super) fn kill(&self, seat: u16, id: FlowId, wall_ns: u64) -> bool {
        let entry = self.entry(id.index.0);
        if !entry.die(id.generation) {
            return false;
        }
        for direction in [0, 1] {
            let hash = self.hasher.hash(&entry.key(direction));
            // Of a flow that lost a clash only the reply is in.
            let _was_in = self.index().remove(hash, id.index.0, direction);
        }
        self.release_translation(id.index.0);
        let announced = self.expectations.forget_master(id);
        let own = &self.seats[usize::from(seat)];
        own.expect_delete.add(announced as u64);
        own.destroy.add(1);
        self.tell(seat, FlowEventKind::Destroy, id.index.0, wall_ns);
        true
    }

    /// Leaves a killed flow to its owner.
    pub(super) fn hand_over(&self, index: u32) {
        self.enqueue(index, QUEUED | DEAD);
    }

    /// Tells the owner when a deadline has become earlier than the moment at which the wheel looks.
    #[inline]
    pub(super) fn is_too_late(&self, index: u32, deadline_ns: u64) -> bool {
        // Ticks as the wheel has them, modulo 2^32; a slot is up to a tick late.
        let behind = self
            .entry(index)
            .armed
            .load(Relaxed)
            .wrapping_sub(tick_of(deadline_ns) as u32);
        (behind as i32) > 2
    }

    /// Asks the owner to look at the deadline again.
    pub(super) fn rearm(&self, index: u32) {
        self.enqueue(index, QUEUED);
    }

    fn enqueue(&self, index: u32, bits: u8) {
        let entry = self.entry(index);
        if entry.queued.fetch_or(bits, AcqRel) & QUEUED != 0 {
            return;
        }
        self.push(index);
    }

    /// Puts a queued entry into its owner's inbox.
    pub(super) fn push(&self, index: u32) {
        let entry = self.entry(index);
        let Some(inbox) = self.inboxes.get(usize::from(entry.owner())) else {
            return;
        };
        let link = |first| {
            entry.inbox.store(first, Relaxed);
            Some(index)
        };
        let _linked = inbox.0.fetch_update(Release, Relaxed, link);
    }

    /// Takes the whole inbox of a worker: the first entry of the list.
    pub(super) fn take_inbox(&self, worker: u16) -> u32 {
        let inbox = &self.inboxes[usize::from(worker)].0;
        if inbox.load(Relaxed) == 0 {
            0
        } else {
            inbox.swap(0, Acquire)
        }
    }

    /// Takes an entry off a list that came out of an inbox: the next one, and whether this one is dead.
    pub(super) fn unqueue(&self, index: u32) -> (u32, bool) {
        let entry = self.entry(index);
        let next = entry.inbox.load(Relaxed);
        let bits = entry.queued.swap(0, AcqRel);
        (next, bits & DEAD != 0)
    }

    /// Puts a flow's copy into the queue of a seat, if somebody takes events.
    #[inline]
    pub(super) fn tell(&self, seat: u16, kind: FlowEventKind, index: u32, wall_ns: u64) {
        if self.listened.load(Relaxed) {
            self.tell_listener(seat, kind, index, wall_ns);
        }
    }

    #[cold]
    fn tell_listener(&self, seat: u16, kind: FlowEventKind, index: u32, wall_ns: u64) {
        let entry = self.entry(index);
        if kind.bit() & entry.events.load(Relaxed) == 0 {
            return;
        }
        let own = &self.seats[usize::from(seat)];
        if own.events.is_full() {
            own.lost.add(1);
            return;
        }
        let event = FlowEvent {
            kind,
            flow: self.copy(index),
            wall_ns,
            worker: seat,
        };
        if own.events.push(event).is_err() {
            own.lost.add(1);
        }
    }

    /// A flow as it is now, whatever it is.
    pub(super) fn copy(&self, index: u32) -> Flow {
        let entry = self.entry(index);
        let life = entry.life();
        let generation = (life >> 32) as u32;
        let (original, reply) = (entry.counters(0), entry.counters(1));
        let side = self.side(index);
        Flow {
            id: FlowId {
                index: FlowIndex(index),
                generation,
            },
            number: self.number(index, generation),
            original: entry.tuple(0),
            reply: entry.tuple(1),
            status: life as u32,
            state: entry.state(),
            class: entry.class(),
            policy: entry.policy(),
            expires_ns: entry.deadline_ns(),
            started_wall_ns: (entry.start_us() + self.base_us.get().copied().unwrap_or(0)) * 1000,
            mark: entry.mark(),
            label: entry.label(),
            packets: [original.0, reply.0],
            bytes: [original.1, reply.1],
            master: side.and_then(Side::master),
            helper: side.map_or(0, |side| side.helper.load(Relaxed) as u16),
            offsets: side.map_or([Offsets::NONE; 2], |side| side.both_offsets(entry)),
            proxied: side.map_or_else(Default::default, Side::proxied),
            translation: entry.translation.load(Relaxed),
            worker: entry.owner(),
        }
    }

    /// A confirmed flow, copied so that it is one flow and not halves of two.
    pub(super) fn flow(&self, index: u32) -> Option<Flow> {
        if index == 0 || index > self.memory.entries() {
            return None;
        }
        let entry = self.entry(index);
        let life = entry.life();
        if life as u32 & (status::CONFIRMED | status::DYING) != status::CONFIRMED {
            return None;
        }
        let flow = self.copy(index);
        // Pairs with the fence in `Entry::begin`: had the copy seen anything of a later use of the entry,
        // the generation would be that use's.
        fence(Acquire);
        (entry.generation() == (life >> 32) as u32).then_some(flow)
    }

    /// What `ct id` shows.
    pub(super) fn number(&self, index: u32, generation: u32) -> u32 {
        self.hasher
            .number(u64::from(generation) << 32 | u64::from(index))
    }

    /// The live flow that has a tuple, and the direction.
    pub(super) fn find(&self, tuple: &Tuple) -> Option<(FlowId, usize)> {
        let key = tuple.key();
        let alive = |(index, _): (u32, usize)| self.entry(index).status() & status::DYING == 0;
        let (index, direction) = self.index().find(self.hasher.hash(&key), &key, alive)?;
        let generation = self.entry(index).generation();
        Some((
            FlowId {
                index: FlowIndex(index),
                generation,
            },
            direction,
        ))
    }
}
