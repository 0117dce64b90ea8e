//! A set as the interpreter sees it: a whole batch of keys at once.

use std::sync::atomic::AtomicU64;

use super::fact::Facts;
use super::lanes::Column;
use super::op::{ElementStatement, SetAction};
use super::tables::SetDesc;
use crate::conntrack::{FlowList, PacketCt, TrackerWorker};
use crate::packet::BATCH;

/// What a look-up may need of the packets and the moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Monotonic time in nanoseconds.
    pub now_ns: u64,
    /// Bytes of each packet, as counters count them.
    pub lengths: &'a Column,
    /// Number of the worker.
    pub worker: usize,
    /// The packets' connections, where they are tracked.
    pub connections: Option<Connections<'a>>,
}

/// The connections of a batch's packets, for `ct count`.
#[derive(Clone, Copy, Debug)]
pub struct Connections<'a> {
    /// The worker's part of the tracker.
    pub tracker: &'a TrackerWorker,
    /// What each packet knows of its connection.
    pub ct: &'a [PacketCt; BATCH],
}

impl Connections<'_> {
    /// Counts a packet's connection in; whether there are more than `most`.
    pub fn is_over(&self, list: &FlowList, lane: usize, most: u32) -> bool {
        list.is_over(self.tracker, self.ct[lane].flow, most)
    }

    /// The same for an element of a set, by the element's word.
    pub fn element_is_over(&self, word: &AtomicU64, lane: usize, most: u32) -> bool {
        let list = self.tracker.tracker().lists().list(word, self.tracker);
        self.is_over(&list, lane, most)
    }
}

/// What a packet does to an element of a dynamic set.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What to do.
    pub action: SetAction,
    /// Time to live in milliseconds; without one the set's own.
    pub timeout_ms: Option<u64>,
    /// A map element's data, most significant column first; empty for a set.
    pub data: &'a [&'a Column],
    /// What the rule says that a new element carries. A set knows what its elements carry from
    /// when it was made; this is for sets that are made without knowing.
    pub statements: &'a [ElementStatement],
}

/// A set or map that packets are looked up in.
///
/// A key is the columns of its fields side by side, numbers in host order, most significant first.
/// Lanes are handled in ascending order wherever one can see another's effect.
pub trait LaneSet: Send + Sync + std::fmt::Debug {
    /// Its shape; never changes.
    fn desc(&self) -> SetDesc;

    /// Lanes of `lanes` whose key has an element that has not expired and whose element
    /// statements (counter, limit ...) let the packet by. For a map, `data[c][lane]` is set for
    /// those lanes: the columns of the value, [`Verdict::to_word`](super::Verdict::to_word) in one column for a
    /// verdict map, the object's index in one column for an object map. For a set `data` is empty.
    fn look_up(&self, key: &[&Column], lanes: u64, moment: &Moment<'_>, data: &mut [Column])
    -> u64;

    /// The same without running element statements: for `!= @set`.
    fn contains(&self, key: &[&Column], lanes: u64, moment: &Moment<'_>) -> u64 {
        self.look_up(key, lanes, moment, &mut [])
    }

    /// Adds, updates or deletes the elements of `lanes`. Yields the lanes whose rule goes on: not
    /// those for which the set was full, or whose element statements end the rule.
    fn change(&self, key: &[&Column], lanes: u64, moment: &Moment<'_>, change: &Change<'_>) -> u64;

    /// Asks or changes a set by facts, as its rule wants it; yields the lanes for which it was
    /// found or done. A set that maps writes mark, mask, class and queue into `map`. Only sets made for
    /// it know facts.
    fn by_facts(
        &self,
        _facts: &Facts<'_>,
        _lanes: u64,
        _moment: &Moment<'_>,
        _map: &mut [Column],
    ) -> u64 {
        0
    }
}
