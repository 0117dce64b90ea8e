//! The words of the elements' statements: counters, limits, quotas. They stay where they are
//! while versions of a set come and go, so that no count is lost in a change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Place of one element's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StateId(u32);

impl StateId {
    /// Of an element without statements.
    pub const NONE: StateId = StateId(u32::MAX);

    pub(crate) fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn from_number(number: u32) -> Self {
        Self(number)
    }
}

/// Elements of a chunk.
const CHUNK: usize = 1024;
/// Chunks of a pool: 16 million elements.
const CHUNKS: usize = 16 * 1024;

/// All words of the elements of one set, in all its versions.
#[derive(Debug)]
pub struct StatePool {
    words: usize,
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
    free: Mutex<Free>,
}

#[derive(Debug, Default)]
struct Free {
    next: u32,
    ready: Vec<u32>,
    /// Given back; a packet under an older generation may still write to them, so that they are
    /// used again only after two more changes.
    resting: [Vec<u32>; 2],
}

impl StatePool {
    /// A pool with `words` words an element.
    pub fn new(words: usize) -> Arc<Self> {
        let chunks = if words == 0 { 0 } else { CHUNKS };
        Arc::new(Self {
            words,
            chunks: (0..chunks).map(|_| OnceLock::new()).collect(),
            free: Mutex::default(),
        })
    }

    /// Takes a place and writes the first values (missing ones are 0). [`StateId::NONE`] when
    /// elements have no words, or when the pool is exhausted.
    pub fn take(&self, start: &[u64]) -> StateId {
        if self.words == 0 {
            return StateId::NONE;
        }
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let id = free.ready.pop().unwrap_or_else(|| {
            free.next += 1;
            free.next - 1
        });
        drop(free);
        let Some(chunk) = self.chunks.get(id as usize / CHUNK) else {
            return StateId::NONE;
        };
        chunk.get_or_init(|| (0..CHUNK * self.words).map(|_| AtomicU64::new(0)).collect());
        for (at, word) in self.get(StateId(id)).iter().enumerate() {
            word.store(start.get(at).copied().unwrap_or(0), Ordering::Relaxed);
        }
        StateId(id)
    }

    /// Gives a place back.
    pub fn give(&self, id: StateId) {
        if id != StateId::NONE {
            self.free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .resting[0]
                .push(id.0);
        }
    }

    /// Says that a version has been published: what was given back two versions ago is free.
    pub fn turn(&self) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut free.resting;
        let ready = std::mem::replace(old, std::mem::take(young));
        free.ready.extend(ready);
    }

    /// The words of an element; empty for [`StateId::NONE`].
    pub fn get(&self, id: StateId) -> &[AtomicU64] {
        let (chunk, at) = (id.0 as usize / CHUNK, id.0 as usize % CHUNK * self.words);
        self.chunks
            .get(chunk)
            .and_then(OnceLock::get)
            .and_then(|words| words.get(at..at + self.words))
            .unwrap_or_default()
    }

    /// The words of an element as they are now.
    pub fn read<const N: usize>(&self, id: StateId) -> arrayvec::ArrayVec<u64, N> {
        self.get(id)
            .iter()
            .take(N)
            .map(|word| word.load(Ordering::Relaxed))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_given_back_rests_for_two_versions() {
        let pool = StatePool::new(2);
        let first = pool.take(&[1, 2]);
        assert_eq!(pool.read::<4>(first).as_slice(), [1, 2]);
        pool.give(first);
        assert_ne!(pool.take(&[]), first);
        pool.turn();
        assert_ne!(pool.take(&[]), first);
        pool.turn();
        assert_eq!(pool.take(&[7]), first);
        assert_eq!(pool.read::<4>(first).as_slice(), [7, 0]);
    }

    #[test]
    fn a_set_without_statements_has_no_words() {
        let pool = StatePool::new(0);
        assert_eq!(pool.take(&[5]), StateId::NONE);
        assert!(pool.get(StateId::NONE).is_empty());
    }
}
