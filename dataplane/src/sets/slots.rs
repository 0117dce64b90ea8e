//! Slots: the state words of elements (counters, limits, quotas ...) and their comments.
//!
//! A slot is a number that an element has for its life, so that pages can be copied while packets
//! count. State words lie in chunks that double in size and never move; reading them takes no lock.
//! Slot 0 means none. A slot that was given back is given again only when no version or reader is
//! left that could have found it; what counts into it later than that is lost, not misplaced.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Slots of the first chunk, as a power of two.
const FIRST_BITS: u32 = 6;

/// State words and comments of one set's elements.
#[derive(Debug)]
pub(super) struct Slots {
    words: usize,
    chunks: [OnceLock<Box<[AtomicU64]>>; (32 - FIRST_BITS) as usize],
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    next: u32,
    given_back: Vec<u32>,
    comments: HashMap<u32, Arc<str>>,
}

/// Chunk and place in it: chunk `c` has `64 << c` slots.
fn place(slot: u32) -> (usize, usize) {
    let shifted = u64::from(slot) + (1 << FIRST_BITS);
    let chunk = shifted.ilog2() - FIRST_BITS;
    (
        chunk as usize,
        (shifted - (1 << (chunk + FIRST_BITS))) as usize,
    )
}

impl Slots {
    pub(super) fn new(words: usize) -> Self {
        Self {
            words,
            chunks: std::array::from_fn(|_| OnceLock::new()),
            free: Mutex::new(Free {
                next: 1,
                given_back: Vec::new(),
                comments: HashMap::new(),
            }),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot with these state words.
    pub(super) fn take(&self, state: &[u64], comment: Option<Arc<str>>) -> u32 {
        let slot = {
            let mut free = self.lock();
            let slot = free.given_back.pop().unwrap_or_else(|| {
                free.next += 1;
                free.next - 1
            });
            if let Some(comment) = comment {
                free.comments.insert(slot, comment);
            }
            slot
        };
        if self.words > 0 {
            let (chunk, at) = place(slot);
            let chunk = self.chunks[chunk].get_or_init(|| {
                (0..(self.words << FIRST_BITS) << chunk)
                    .map(|_| AtomicU64::new(0))
                    .collect()
            });
            for (word, &value) in chunk[at * self.words..].iter().zip(state) {
                word.store(value, Ordering::Relaxed);
            }
        }
        slot
    }

    /// Gives slots back.
    pub(super) fn give_back(&self, slots: &[u32]) {
        let mut free = self.lock();
        for &slot in slots.iter().filter(|&&slot| slot != 0) {
            free.comments.remove(&slot);
            free.given_back.push(slot);
        }
    }

    /// The state words of a slot; none for slot 0.
    #[inline]
    pub(super) fn state(&self, slot: u32) -> &[AtomicU64] {
        if slot == 0 || self.words == 0 {
            return &[];
        }
        let (chunk, at) = place(slot);
        self.chunks[chunk]
            .get()
            .map_or(&[], |chunk| &chunk[at * self.words..][..self.words])
    }

    pub(super) fn comment(&self, slot: u32) -> Option<Arc<str>> {
        self.lock().comments.get(&slot).cloned()
    }

    /// Bytes taken by chunks and comments.
    pub(super) fn memory(&self) -> usize {
        let free = self.lock();
        let chunks: usize = self
            .chunks
            .iter()
            .filter_map(OnceLock::get)
            .map(|chunk| chunk.len() * 8)
            .sum();
        let texts: usize = free.comments.values().map(|text| text.len() + 40).sum();
        chunks + texts + free.given_back.capacity() * 4
    }
}
