//! What helpers remember of control connections between their packets, for all workers.
//!
//! Only connections with such a helper have something here, so there are few; a connection that has
//! ended is forgotten when others come.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::ftp::Lines;
use crate::conntrack::flow::FlowId;

/// Connections that are remembered before those that have ended are looked for.
const SWEEP: usize = 256;

/// What is remembered, by connection.
#[derive(Debug, Default)]
pub struct Conversations {
    lines: Mutex<HashMap<FlowId, Lines>>,
}

impl Conversations {
    fn lines(&self) -> MutexGuard<'_, HashMap<FlowId, Lines>> {
        // A panic between two steps leaves a map that is whole.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what is remembered of a connection of FTP; `lives` says whether another one still does.
    pub fn ftp<T>(
        &self,
        flow: FlowId,
        lives: impl Fn(FlowId) -> bool,
        look: impl FnOnce(&mut Lines) -> T,
    ) -> T {
        let mut all = self.lines();
        if all.len() >= SWEEP && !all.contains_key(&flow) && all.len() == all.capacity() {
            all.retain(|known, _| lives(*known));
        }
        look(all.entry(flow).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::state::FlowIndex;

    #[test]
    fn connections_that_have_ended_are_forgotten() {
        let conversations = Conversations::default();
        let flow = |index| FlowId {
            index: FlowIndex(index),
            generation: 1,
        };
        for index in 1..10_000 {
            conversations.ftp(flow(index), |_| false, |_| ());
        }
        assert!(conversations.lines().len() < 4 * SWEEP);
    }
}
