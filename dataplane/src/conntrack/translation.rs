//! What the tracker knows of translation: which tuple a begun flow answers to, and who has to be told
//! when a translated flow ends. What the record means is the translator's affair.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::flow::FlowId;
use super::index::Found;
use super::protocol;
use super::state::{FlowIndex, PacketCt, status};
use super::table::Table;
use super::tracker::Tracker;
use super::tuple::Tuple;
use super::worker::TrackerWorker;
use crate::program::key::Direction;

/// A bit among the translator's own: the flow came with a loaded state, and the translator has not taken
/// over yet what the other bits say that it holds. Nobody is told of its end until then.
pub const UNCLAIMED: u16 = 1 << 15;

/// The translator's bits of a flow that is loaded.
pub(super) fn unclaimed(bits: u16) -> u16 {
    if bits == 0 { 0 } else { bits | UNCLAIMED }
}

/// A flow's tuples, the translator's bits, and those of its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translated {
    /// The tuple of the first packet, as it came.
    pub original: Tuple,
    /// The tuple of its answers, as they come.
    pub reply: Tuple,
    /// Bits of [`status`].
    pub status: u32,
    /// The translator's bits.
    pub bits: u16,
}

/// The flow that a packet of our own is about, as it was then; it may be gone, or never have come into
/// being.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// Which flow.
    pub id: FlowId,
    /// Its tuples and status.
    pub flow: Translated,
    /// The direction in which the packet of our own goes.
    pub direction: Direction,
}

impl Attached {
    /// The tuple of the packets that this one answers.
    pub fn other(&self) -> &Tuple {
        match self.direction {
            Direction::Original => &self.flow.reply,
            Direction::Reply => &self.flow.original,
        }
    }
}

/// Is told of the end of flows that hold something.
pub trait Release: Debug + Send + Sync {
    /// A flow has ended, or did not come into being. Called by whoever ends it, on any thread; it must
    /// not call the tracker.
    fn release(&self, flow: &Translated);
}

impl Table {
    /// Tells the translator that a flow has ended.
    #[inline]
    pub(super) fn release_translation(&self, index: u32) {
        let bits = self.entry(index).translation.load(Relaxed);
        if bits != 0 && bits & UNCLAIMED == 0 {
            self.release_held(index);
        }
    }

    #[cold]
    fn release_held(&self, index: u32) {
        if let Some(release) = self.release.get() {
            release.release(&self.translated(index));
        }
    }

    fn translated(&self, index: u32) -> Translated {
        let entry = self.entry(index);
        Translated {
            original: entry.tuple(0),
            reply: entry.tuple(1),
            status: entry.status(),
            bits: entry.translation.load(Relaxed),
        }
    }
}

impl Tracker {
    /// Says who is told of the end of flows that hold something; once.
    pub fn on_release(&self, release: Arc<dyn Release>) {
        // A second one would leave the first with what it holds: the first stays.
        let _first = self.table.release.set(release);
    }

    /// Sets the translator's bits of a confirmed flow; `false` when that flow has ended.
    pub fn set_translation(&self, id: FlowId, bits: u16) -> bool {
        self.with_flow(id, |entry| entry.translation.store(bits, Relaxed))
    }
}

impl TrackerWorker {
    /// What the translator has to know of a flow.
    #[inline]
    pub fn translated(&self, flow: FlowIndex) -> Translated {
        self.table().translated(flow.0)
    }

    /// The lanes that have begun a flow that is not confirmed yet.
    #[inline]
    pub fn begun_lanes(&self) -> u64 {
        self.begun.lanes()
    }

    /// The lanes that have met a flow of the table, and those of them whose source (0) or destination (1) is
    /// translated. Lanes that are not among the first have to be asked one by one.
    #[inline]
    pub fn translated_lanes(&self, side: usize) -> (u64, u64) {
        (self.known, self.turned[side & 1])
    }

    /// Whether a lane has begun a flow that is not confirmed yet.
    #[inline]
    pub fn has_begun(&self, lane: usize) -> bool {
        self.begun.lanes() >> lane & 1 == 1
    }

    /// Whether a live flow, or one begun by another lane, has a tuple.
    pub fn is_taken_by_another(&self, lane: usize, tuple: &Tuple) -> bool {
        let table = self.table();
        let key = tuple.key();
        let hash = table.hasher.hash(&key);
        let own = self.begun.get(lane).0;
        let is_it = |entry: u32, direction: usize| {
            entry != own && table.entry(entry).has_key(direction, &key)
        };
        let alive = |(index, _): Found| table.is_alive(index, self.now_ns);
        self.begun.has(hash, is_it) || table.index().find(hash, &key, alive).is_some()
    }

    /// Replaces the reply tuple of a lane's begun flow. Whether another flow has it is found out when the
    /// flow is confirmed; the caller asks [`is_taken_by_another`](Self::is_taken_by_another) where it can
    /// choose.
    pub fn replace_reply(&mut self, lane: usize, tuple: &Tuple) {
        if !self.has_begun(lane) {
            return;
        }
        let (index, hashes) = self.begun.get(lane);
        let table = &self.tracker.table;
        let key = tuple.key();
        table.entry(index).set_key(1, &key);
        self.begun
            .set_hashes(lane, [hashes[0], table.hasher.hash(&key)]);
    }

    /// The tuple that answers to a packet of this tuple have, `None` for an ICMP type without answers.
    pub fn answer(tuple: &Tuple) -> Option<Tuple> {
        protocol::invert(tuple)
    }

    /// Adds to the translator's bits of a begun flow.
    pub fn add_translation(&mut self, flow: FlowIndex, bits: u16) {
        self.table()
            .entry(flow.0)
            .translation
            .fetch_or(bits, Relaxed);
    }

    /// What a packet of our own is told of the flow of the packet that it answers (`nf_ct_attach`).
    pub fn attach(&self, ct: PacketCt) -> Option<Attached> {
        let id = self.flow_id(ct.flow)?;
        Some(Attached {
            id,
            flow: self.translated(ct.flow),
            direction: ct.direction.turned(),
        })
    }

    /// The flow of an id as it is now, also a begun one; `None` when the entry is another flow's.
    pub fn still(&self, id: FlowId) -> Option<FlowIndex> {
        let entry = self.table().entry(id.index.0);
        let alive = entry.generation() == id.generation && entry.status() & status::DYING == 0;
        alive.then_some(id.index)
    }

    /// The tuple of the packets of a direction as they leave, translated.
    pub fn translated_tuple(&self, flow: FlowIndex, direction: Direction) -> Option<Tuple> {
        Self::answer(&self.tuple(flow, direction.turned()))
    }
}
