//! Indices of chains in programs.

use super::error::Cause;
use super::registry::Registry;
use crate::store::Id;
use sluice_dataplane::program::ChainId;

/// Whose index it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ChainKey {
    /// A chain of a table.
    Stored(Id),
    /// The n-th unnamed part of a rule.
    Anonymous(Id, u16),
}

/// Indices of chains.
#[derive(Debug, Default)]
pub(super) struct Chains {
    registry: Registry<ChainKey, ()>,
    count: u32,
}

impl Chains {
    /// The chain's index; stays while the chain is there.
    pub(super) fn number(&mut self, key: ChainKey, now: u64) -> Result<ChainId, Cause> {
        let count = &mut self.count;
        let number = self.registry.number(key, &(), now, || {
            *count += 1;
            Ok::<_, Cause>(*count - 1)
        })?;
        Ok(ChainId(number))
    }

    /// The chain's index, if it has one.
    pub(super) fn get(&self, key: &ChainKey) -> Option<ChainId> {
        self.registry.get(key).map(ChainId)
    }

    /// Notes that the compilation `now` met a chain without a name.
    pub(super) fn touch(&mut self, key: &ChainKey, now: u64) {
        self.registry.touch(key, now);
    }

    /// Frees indices of chains that were last met before `since`.
    pub(super) fn sweep(&mut self, since: u64) {
        self.registry.sweep(since);
    }

    /// One more than the highest index.
    pub(super) fn count(&self) -> u32 {
        self.count
    }
}
