//! Counting live flows by a key: what `ct count` and a set's connection limit ask.
//!
//! A list of flows for each key. A flow is added when a rule sees it, and counts until it ends, is over, or
//! its hosts have closed it, as the kernel's nf_conncount has it. Dead flows are taken out when the answer
//! could depend on them: a list that is not longer than the limit needs no look at its flows.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::entry::wait;
use super::flow::FlowId;
use super::state::{FlowIndex, status};
use super::timeouts::TimeoutClass;
use super::worker::TrackerWorker;

/// The flows of one key.
#[derive(Debug, Default)]
pub struct FlowList {
    flows: Mutex<Vec<FlowId>>,
}

impl FlowList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Held for the moment of a look at a short list, so waiting is spinning.
    fn flows(&self) -> MutexGuard<'_, Vec<FlowId>> {
        let mut turns = 0;
        loop {
            match self.flows.try_lock() {
                Ok(flows) => return flows,
                Err(TryLockError::Poisoned(poisoned)) => return PoisonError::into_inner(poisoned),
                Err(TryLockError::WouldBlock) => wait(&mut turns),
            }
        }
    }

    /// Adds a packet's flow (if it is not in yet), and says whether there are more than `limit` live ones. A
    /// packet without a flow, or that has ended its flow, counts as one of its own: it does not slip past
    /// a limit that is reached.
    pub fn is_over(&self, worker: &TrackerWorker, flow: FlowIndex, limit: u32) -> bool {
        let mut flows = self.flows();
        let lives = |id: &FlowId| worker.status(id.index) & status::DYING == 0;
        let own = match worker.flow_id(flow).filter(lives) {
            None => 1,
            Some(id) => {
                if !flows.iter().rev().any(|known| *known == id) {
                    flows.push(id);
                }
                0
            }
        };
        if flows.len() + own <= limit as usize {
            return false;
        }
        flows.retain(|id| worker.counts(*id));
        flows.len() + own > limit as usize
    }

    /// Live flows at the moment.
    pub fn count(&self, worker: &TrackerWorker) -> usize {
        let mut flows = self.flows();
        flows.retain(|id| worker.counts(*id));
        flows.len()
    }
}

impl TrackerWorker {
    /// Whether a flow is alive and its hosts have not closed it.
    fn counts(&self, id: FlowId) -> bool {
        let entry = self.table().entry(id.index.0);
        let life = entry.life();
        (life >> 32) as u32 == id.generation
            && life as u32 & status::DYING == 0
            && entry.deadline_ns() > self.now_ns
            && !matches!(
                entry.class(),
                TimeoutClass::TcpTimeWait | TimeoutClass::TcpClose
            )
    }
}
