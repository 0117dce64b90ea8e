//! An element as those see it who change and list sets.

use std::sync::Arc;

use arrayvec::ArrayVec;

use super::spec::MAX_WORDS;

/// Words of a key or of data, most significant first, fields side by side.
pub type Words = ArrayVec<u32, MAX_WORDS>;

/// Which keys an element holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The keys of which every field lies in `low..=high` of that field. Equal for one key.
    Range {
        /// First value of every field.
        low: Words,
        /// Last value of every field.
        high: Words,
    },
    /// What no other element holds (`*`).
    CatchAll,
}

impl Key {
    /// One key.
    pub fn exact(words: &[u32]) -> Self {
        Self::range(words, words)
    }

    /// From `low` to `high`, field by field.
    pub fn range(low: &[u32], high: &[u32]) -> Self {
        Self::Range {
            low: low.iter().copied().collect(),
            high: high.iter().copied().collect(),
        }
    }

    /// A prefix of a number of `words.len() * 32` bits; bits behind `length` are cleared.
    pub fn prefix(words: &[u32], length: u8) -> Self {
        let mut low: Words = words.iter().copied().collect();
        let mut high = low.clone();
        for (at, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
            let kept = u32::from(length).saturating_sub(at as u32 * 32).min(32);
            let host = u32::MAX.checked_shr(kept).unwrap_or(0);
            *low &= !host;
            *high |= host;
        }
        Self::Range { low, high }
    }
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// The keys that it holds.
    pub key: Key,
    /// As many words as the set's elements have.
    pub data: Words,
    /// Its own timeout, in nanoseconds. Adding: `None` takes the set's default, `Some(0)` means that
    /// it stays. Listing: what it was added with, `None` if it stays.
    pub timeout_ns: Option<u64>,
    /// When it expires. Adding: `None` means the timeout from now on.
    pub expires_ns: Option<u64>,
    /// State words; adding with none takes the set's initial ones.
    pub state: Box<[u64]>,
    /// Its comment.
    pub comment: Option<Arc<str>>,
    /// The keys are exceptions: a look-up that ends here does not match.
    pub nomatch: bool,
}

impl Element {
    /// A plain element.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            data: Words::new(),
            timeout_ns: None,
            expires_ns: None,
            state: Box::default(),
            comment: None,
            nomatch: false,
        }
    }

    /// A plain element for one key.
    pub fn exact(words: &[u32]) -> Self {
        Self::new(Key::exact(words))
    }

    /// The element with data.
    #[must_use]
    pub fn with_data(mut self, words: &[u32]) -> Self {
        self.data = words.iter().copied().collect();
        self
    }

    /// The element with a timeout of its own.
    #[must_use]
    pub fn with_timeout(mut self, timeout_ns: u64) -> Self {
        self.timeout_ns = Some(timeout_ns);
        self
    }
}

impl Key {
    /// Whether a range of keys, taken as one number each, has something in common with this one.
    pub fn meets(&self, low: &[u32], high: &[u32]) -> bool {
        match self {
            Self::Range {
                low: own_low,
                high: own_high,
            } => own_low.as_slice() <= high && low <= own_high.as_slice(),
            Self::CatchAll => false,
        }
    }
}
