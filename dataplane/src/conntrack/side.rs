//! What few flows have: a master, a helper, adjusted sequence numbers, a handshake of the SYN proxy.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crossbeam_queue::ArrayQueue;

use super::flow::FlowId;
use super::proxied::Proxied;
use super::state::{FlowIndex, status};
use super::table::Table;

/// The rare part of a flow.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Generation and entry of the flow that announced it, 0 for none.
    master: AtomicU64,
    pub(super) helper: AtomicU32,
    /// Of a proxied flow: what the server's clock is ahead of the one that its client was told.
    pub(super) clock_shift: AtomicU32,
    /// Of a proxied flow: the number and the clock that its client was told.
    pub(super) handshake: AtomicU64,
    /// Each direction's [`Offsets`](super::sequence::Offsets): position, offsets before and behind.
    pub(super) sequence: [[AtomicU64; 2]; 2],
}

impl Side {
    pub(super) fn master(&self) -> Option<FlowId> {
        let word = self.master.load(Relaxed);
        (word != 0).then_some(FlowId {
            index: FlowIndex(word as u32),
            generation: (word >> 32) as u32,
        })
    }

    pub(super) fn set_master(&self, master: Option<FlowId>) {
        let word = master.map_or(0, |id| {
            u64::from(id.generation) << 32 | u64::from(id.index.0)
        });
        self.master.store(word, Relaxed);
    }

    fn clear(&self) {
        self.set_master(None);
        self.helper.store(0, Relaxed);
        self.set_proxied(Proxied::default());
        for word in self.sequence.as_flattened() {
            word.store(0, Relaxed);
        }
    }
}

/// Flows to one record.
const SHARE: u32 = 4;

/// The records.
#[derive(Debug)]
pub(super) struct Sides {
    records: Box<[Side]>,
    free: ArrayQueue<u32>,
}

/// Bytes of side records (with their place among the free ones) for each flow.
pub(super) const SIDE_BYTES: usize = (size_of::<Side>() + 16) / SHARE as usize;

impl Sides {
    pub(super) fn new(entries: u32) -> Self {
        let count = entries / SHARE + 64;
        let free = ArrayQueue::new(count as usize);
        for number in 1..=count {
            // The queue has room for all of them.
            let _room = free.push(number);
        }
        Self {
            records: (0..=count).map(|_| Side::default()).collect(),
            free,
        }
    }

    /// A record, if one is free.
    pub(super) fn take(&self) -> Option<u32> {
        self.free.pop()
    }

    /// Gives a record back.
    pub(super) fn give(&self, number: u32) {
        if let Some(side) = self.get(number) {
            side.clear();
            let _room = self.free.push(number);
        }
    }

    /// A record by its number; 0 is none.
    pub(super) fn get(&self, number: u32) -> Option<&Side> {
        if number == 0 {
            None
        } else {
            self.records.get(number as usize)
        }
    }
}

impl Table {
    /// Gives a flow a side record if it has none; `false` when it has begun long ago, or none is free.
    pub(super) fn ensure_side(&self, index: u32) -> bool {
        let entry = self.entry(index);
        if entry.side() != 0 {
            return true;
        }
        if entry.status() & status::CONFIRMED != 0 {
            return false;
        }
        let side = self.sides.take();
        if let Some(side) = side {
            entry.set_side(side);
        }
        side.is_some()
    }
}
