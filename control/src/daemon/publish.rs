//! The way of a generation from the engine to the workers, and what events of the last few
//! generations refer to.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use sluice_config::engine::Publisher;
use sluice_dataplane::conntrack::Tracker;
use sluice_dataplane::program::Program;
use sluice_dataplane::worker::Workers;
use sluice_dataplane::worker::generation::{Generation, PortTable};

/// Generations that an event may be late by.
const REMEMBERED: usize = 16;

/// Programs and ports of the last generations: what an event of theirs means. Holds no sets and
/// counters, so a generation that is gone gives its memory back.
#[derive(Clone, Debug, Default)]
pub(super) struct History(Arc<Mutex<VecDeque<Past>>>);

#[derive(Clone, Debug)]
pub(super) struct Past {
    number: u64,
    pub(super) program: Arc<Program>,
    pub(super) ports: Arc<PortTable>,
}

impl History {
    pub(super) fn of(&self, number: u64) -> Option<Past> {
        self.locked()
            .iter()
            .rev()
            .find(|past| past.number == number)
            .cloned()
    }

    fn note(&self, generation: &Generation) {
        let mut all = self.locked();
        if all.len() == REMEMBERED {
            all.pop_front();
        }
        all.push_back(Past {
            number: generation.number(),
            program: Arc::clone(generation.program()),
            ports: Arc::clone(generation.ports()),
        });
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Past>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Swaps generations in.
#[derive(Clone)]
pub(super) struct Publish {
    pub(super) slot: Arc<ArcSwap<Generation>>,
    pub(super) history: History,
    /// Weak: the group of workers ends when the plane does, whoever still holds the engine.
    pub(super) workers: Weak<Workers>,
    /// Generations that workers may still have: they are let go of here, so that it is never a worker
    /// that gives their memory back, in the time of its packets.
    pub(super) left: Arc<Mutex<Vec<Arc<Generation>>>>,
    /// Learns the timeout policies of a generation before packets meet them.
    pub(super) tracker: Arc<Tracker>,
}

impl Publisher for Publish {
    fn publish(&mut self, generation: Arc<Generation>) {
        self.history.note(&generation);
        generation.objects().resolve(&self.tracker);
        let old = self.slot.swap(generation);
        self.left().push(old);
        // Sleeping workers let go of the old generation now, not at their next packet.
        if let Some(workers) = self.workers.upgrade() {
            workers.wake();
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        self.left()
            .retain(|generation| Arc::strong_count(generation) > 1);
    }
}

impl Publish {
    fn left(&self) -> MutexGuard<'_, Vec<Arc<Generation>>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
