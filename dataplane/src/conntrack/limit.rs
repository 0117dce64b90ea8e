//! `ct count` of the elements of sets: a list of flows for each element.
//!
//! An element has a word of state; it holds the number of the element's list, 0 while it has none. Nobody
//! says when an element is gone: its list empties as its flows end, and empty lists are thrown away now
//! and then. An element that comes back to an empty list is given a new one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use super::flow_list::FlowList;
use super::worker::TrackerWorker;

const SHARDS: usize = 64;
/// Lists of a shard that are made before its empty ones are looked for.
const SWEEP: usize = 1024;

/// The lists of all elements.
#[derive(Debug)]
pub struct ElementLists {
    shards: [Mutex<Shard>; SHARDS],
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    lists: HashMap<u64, Arc<FlowList>>,
    made: usize,
}

impl Default for ElementLists {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next: AtomicU64::new(1),
        }
    }
}

impl ElementLists {
    /// The list of an element, by the element's word.
    pub fn list(&self, word: &AtomicU64, worker: &TrackerWorker) -> Arc<FlowList> {
        let number = self.number(word);
        let shard = &self.shards[number as usize % SHARDS];
        // A panic between two steps leaves a map that is whole.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = shard.lists.get(&number) {
            return Arc::clone(list);
        }
        shard.made += 1;
        if shard.made.is_multiple_of(SWEEP) {
            // A list that somebody holds is about to be used.
            shard
                .lists
                .retain(|_, list| Arc::strong_count(list) > 1 || list.count(worker) > 0);
        }
        Arc::clone(shard.lists.entry(number).or_default())
    }

    fn number(&self, word: &AtomicU64) -> u64 {
        match word.load(Relaxed) {
            0 => {
                let fresh = self.next.fetch_add(1, Relaxed);
                word.compare_exchange(0, fresh, Relaxed, Relaxed)
                    .map_or_else(|other| other, |_| fresh)
            }
            number => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{Settings, Tracker};

    #[test]
    fn an_element_keeps_its_list_and_empty_ones_go() {
        let settings = Settings {
            max: 1024,
            ..Settings::default()
        };
        let tracker = Tracker::new(settings, 1, 1).unwrap();
        let worker = tracker.worker(0);
        let lists = ElementLists::default();
        let (one, other) = (AtomicU64::new(0), AtomicU64::new(0));
        let first = lists.list(&one, &worker);
        assert!(Arc::ptr_eq(&first, &lists.list(&one, &worker)));
        assert!(!Arc::ptr_eq(&first, &lists.list(&other, &worker)));
        for _ in 0..SHARDS * (SWEEP + 1) {
            lists.list(&AtomicU64::new(0), &worker);
        }
        let left: usize = lists
            .shards
            .iter()
            .map(|shard| shard.lock().unwrap().lists.len())
            .sum();
        assert!(left <= SHARDS * 2, "{left} lists are left");
    }
}
