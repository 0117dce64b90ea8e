//! Counters in stable slots: every worker has its own, a reader adds them up.
//!
//! A slot belongs to one rule or object for its life. Each worker writes only its own cells, with
//! plain relaxed loads and stores; control reads them while they run. Slots lie in chunks that are
//! allocated before a program that needs them is published and never move.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

use super::op::CounterSlot;

/// Slots of a chunk.
const CHUNK: usize = 1024;
/// Most chunks: 16 million slots.
const CHUNKS: usize = 16_384;

/// Packets and bytes of one slot in one worker.
#[derive(Debug, Default)]
struct Tally {
    packets: AtomicU64,
    bytes: AtomicU64,
}

type Chunk = Box<[Tally]>;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// All counter slots of a dataplane.
#[derive(Debug)]
pub struct Counters {
    /// One list of chunks for each worker.
    workers: Box<[Box<[OnceLock<Chunk>]>]>,
    slots: Mutex<Slots>,
}

/// Which slots are in use.
#[derive(Debug, Default)]
struct Slots {
    next: u32,
    free: std::collections::VecDeque<u32>,
    /// What a slot had counted when it was handed out or reset.
    base: Vec<Count>,
}

impl Counters {
    /// Counters for this many workers.
    pub fn new(workers: usize) -> Self {
        let chunks = || (0..CHUNKS).map(|_| OnceLock::new()).collect();
        Self {
            workers: (0..workers.max(1)).map(|_| chunks()).collect(),
            slots: Mutex::default(),
        }
    }

    /// How many workers have counters here.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Hands out a slot that reads as zero; `None` when all are in use.
    pub fn allocate(&self) -> Option<CounterSlot> {
        let mut slots = self.lock();
        // The longest freed slot first: an old generation may still count to a fresh one.
        let slot = match slots.free.len() {
            1024.. => slots.free.pop_front()?,
            _ if (slots.next as usize) < CHUNK * CHUNKS => {
                slots.next += 1;
                slots.next - 1
            }
            _ => slots.free.pop_front()?,
        };
        self.grow(slot as usize / CHUNK);
        let sum = self.sum(slot);
        let index = slot as usize;
        if slots.base.len() <= index {
            slots.base.resize(index + 1, Count::default());
        }
        slots.base[index] = sum;
        Some(CounterSlot(slot))
    }

    /// Takes a slot back.
    pub fn free(&self, slot: CounterSlot) {
        self.lock().free.push_back(slot.0);
    }

    /// What has been counted since the slot was handed out, or reset.
    pub fn read(&self, slot: CounterSlot) -> Count {
        let base = self
            .lock()
            .base
            .get(slot.0 as usize)
            .copied()
            .unwrap_or_default();
        subtract(self.sum(slot.0), base)
    }

    /// Reads and sets back to zero; nothing counted meanwhile is lost.
    pub fn reset(&self, slot: CounterSlot) -> Count {
        let mut slots = self.lock();
        let sum = self.sum(slot.0);
        match slots.base.get_mut(slot.0 as usize) {
            Some(base) => subtract(sum, std::mem::replace(base, sum)),
            None => Count::default(),
        }
    }

    /// Makes a slot read as this much more: a listing that is loaded again brings its counts.
    pub fn add(&self, slot: CounterSlot, count: Count) {
        let mut slots = self.lock();
        if let Some(base) = slots.base.get_mut(slot.0 as usize) {
            base.packets = base.packets.wrapping_sub(count.packets);
            base.bytes = base.bytes.wrapping_sub(count.bytes);
        }
    }

    /// How many slots have memory; a program that needs more is not published.
    pub fn capacity(&self) -> u32 {
        let chunks = self.workers[0]
            .iter()
            .take_while(|chunk| chunk.get().is_some())
            .count();
        (chunks * CHUNK) as u32
    }

    /// Counts; called by the worker that owns `worker` only.
    #[inline]
    pub(crate) fn count(&self, worker: usize, slot: CounterSlot, packets: u64, bytes: u64) {
        let index = slot.0 as usize;
        let tally = self
            .workers
            .get(worker)
            .and_then(|chunks| chunks.get(index / CHUNK))
            .and_then(|chunk| chunk.get())
            .and_then(|chunk| chunk.get(index % CHUNK));
        if let Some(tally) = tally {
            tally
                .packets
                .store(tally.packets.load(Relaxed).wrapping_add(packets), Relaxed);
            tally
                .bytes
                .store(tally.bytes.load(Relaxed).wrapping_add(bytes), Relaxed);
        }
    }

    fn grow(&self, chunk: usize) {
        for worker in &self.workers {
            worker[chunk].get_or_init(|| (0..CHUNK).map(|_| Tally::default()).collect());
        }
    }

    fn sum(&self, slot: u32) -> Count {
        let (chunk, index) = (slot as usize / CHUNK, slot as usize % CHUNK);
        let mut sum = Count::default();
        for worker in &self.workers {
            if let Some(tally) = worker
                .get(chunk)
                .and_then(OnceLock::get)
                .map(|chunk| &chunk[index])
            {
                sum.packets = sum.packets.wrapping_add(tally.packets.load(Relaxed));
                sum.bytes = sum.bytes.wrapping_add(tally.bytes.load(Relaxed));
            }
        }
        sum
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn subtract(sum: Count, base: Count) -> Count {
    Count {
        packets: sum.packets.wrapping_sub(base.packets),
        bytes: sum.bytes.wrapping_sub(base.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_a_reset_loses_nothing() {
        let counters = Counters::new(2);
        let slot = counters.allocate().unwrap();
        counters.count(0, slot, 1, 60);
        counters.count(1, slot, 2, 100);
        assert_eq!(
            counters.read(slot),
            Count {
                packets: 3,
                bytes: 160
            }
        );
        assert_eq!(
            counters.reset(slot),
            Count {
                packets: 3,
                bytes: 160
            }
        );
        counters.count(1, slot, 1, 10);
        counters.add(
            slot,
            Count {
                packets: 5,
                bytes: 50,
            },
        );
        assert_eq!(
            counters.read(slot),
            Count {
                packets: 6,
                bytes: 60
            }
        );
    }

    #[test]
    fn a_slot_handed_out_again_starts_at_zero() {
        let counters = Counters::new(1);
        let slots: Vec<_> = (0..2000).map(|_| counters.allocate().unwrap()).collect();
        assert!(counters.capacity() >= 2000);
        slots.iter().for_each(|slot| counters.count(0, *slot, 1, 1));
        slots.iter().for_each(|slot| counters.free(*slot));
        let again = counters.allocate().unwrap();
        assert!(slots.contains(&again));
        assert_eq!(counters.read(again), Count::default());
    }
}
