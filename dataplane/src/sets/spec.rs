//! What a set is: the shape of its keys and what its elements carry.

use arrayvec::ArrayVec;

/// Most words of a key, and most words of a map's data.
pub const MAX_WORDS: usize = 16;

/// The shape of a set's keys. Word counts are those of the columns a look-up hands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Exact keys of 1 to 16 words, concatenations of exact fields included.
    Exact {
        /// Words of the key.
        words: u8,
    },
    /// Numbers of one word in a small dense range, at most 65536 of them.
    Bitmap {
        /// First number that can be in it.
        first: u32,
        /// Last number that can be in it.
        last: u32,
    },
    /// Prefixes of a number of 1, 2 or 4 words: nested, the longest that holds a key decides.
    Prefix {
        /// Words of the number.
        words: u8,
    },
    /// Intervals of a number of 1 to 4 words that have no value in common.
    Interval {
        /// Words of the number.
        words: u8,
    },
    /// One interval per field. An element holds the keys whose every field lies in its interval.
    Boxes {
        /// Words of each field, 1 to 4.
        fields: ArrayVec<u8, MAX_WORDS>,
        /// Elements may have keys in common; the most specific one (the one with the smallest
        /// intervals, first field first) decides. Without it such elements are refused.
        nested: bool,
    },
}

impl Shape {
    /// Words of a key.
    pub fn key_words(&self) -> usize {
        match self {
            Self::Exact { words } | Self::Prefix { words } | Self::Interval { words } => {
                usize::from(*words)
            }
            Self::Bitmap { .. } => 1,
            Self::Boxes { fields, .. } => fields.iter().map(|&words| usize::from(words)).sum(),
        }
    }

    /// Whether elements hold more than one key.
    pub fn has_ranges(&self) -> bool {
        matches!(
            self,
            Self::Prefix { .. } | Self::Interval { .. } | Self::Boxes { .. }
        )
    }
}

/// What a set is made from. Everything but the shape costs memory only where it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSpec {
    /// Shape of the keys.
    pub shape: Shape,
    /// Words of data that each element has: maps, verdicts, objects, skbinfo.
    pub data_words: u8,
    /// Elements may have timeouts.
    pub timed: bool,
    /// What an element without a timeout of its own gets, in nanoseconds; `None`: it stays.
    pub default_timeout_ns: Option<u64>,
    /// State words of each element (counters, limits, quotas ...), as a new element has them. What
    /// they mean is the program's affair.
    pub initial_state: Box<[u64]>,
    /// Elements may have comments.
    pub comments: bool,
    /// Elements may be exceptions (`nomatch`); prefixes and nested boxes.
    pub nomatch: bool,
    /// Most elements; exact, whoever adds. The catch-all is not counted.
    pub size: Option<u32>,
    /// A full set evicts an element at random instead of refusing a new one.
    pub forceadd: bool,
    /// Packets may add and delete elements: one content for all generations.
    pub dynamic: bool,
    /// With `dynamic`: exact keys are kept in the persistent table, whose root is swapped at every
    /// change. For sets that are loaded in bulk by commands and hardly ever written by packets: a
    /// change by a packet copies the table's directory.
    pub in_place: bool,
}

impl SetSpec {
    /// A plain set of a shape.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            data_words: 0,
            timed: false,
            default_timeout_ns: None,
            initial_state: Box::default(),
            comments: false,
            nomatch: false,
            size: None,
            forceadd: false,
            dynamic: false,
            in_place: false,
        }
    }

    /// A plain set of exact keys.
    pub fn exact(words: u8) -> Self {
        Self::new(Shape::Exact { words })
    }
}

/// Where the parts of an element's tail lie: the words that every structure keeps behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) key: usize,
    pub(super) data: usize,
    /// Offset of three words: expiry in nanoseconds (low, high), then the timeout.
    pub(super) timed: Option<usize>,
    /// Offset of the slot; slot 0 means none.
    pub(super) slot: Option<usize>,
    /// Offset of the word that is 1 for an exception.
    pub(super) nomatch: Option<usize>,
    pub(super) tail: usize,
}

impl Layout {
    pub(super) fn of(spec: &SetSpec) -> Self {
        let data = usize::from(spec.data_words);
        let mut tail = data;
        let mut take = |wanted: bool, words: usize| {
            let at = tail;
            tail += if wanted { words } else { 0 };
            wanted.then_some(at)
        };
        let timed = take(spec.timed, 3);
        let slot = take(!spec.initial_state.is_empty() || spec.comments, 1);
        let nomatch = take(spec.nomatch, 1);
        Self {
            key: spec.shape.key_words(),
            data,
            timed,
            slot,
            nomatch,
            tail,
        }
    }

    /// When a tail expires; `u64::MAX` for never.
    #[inline]
    pub(super) fn expires(&self, tail: &[u32]) -> u64 {
        match self.timed {
            Some(at) => u64::from(tail[at]) | u64::from(tail[at + 1]) << 32,
            None => u64::MAX,
        }
    }

    #[inline]
    pub(super) fn expired(&self, tail: &[u32], now_ns: u64) -> bool {
        self.expires(tail) <= now_ns
    }

    pub(super) fn set_expires(&self, tail: &mut [u32], expires_ns: u64) {
        if let Some(at) = self.timed {
            tail[at] = expires_ns as u32;
            tail[at + 1] = (expires_ns >> 32) as u32;
        }
    }

    #[inline]
    pub(super) fn slot(&self, tail: &[u32]) -> u32 {
        self.slot.map_or(0, |at| tail[at])
    }

    #[inline]
    pub(super) fn is_nomatch(&self, tail: &[u32]) -> bool {
        self.nomatch.is_some_and(|at| tail[at] != 0)
    }

    /// The timeout of a tail, in nanoseconds; 0 for none.
    pub(super) fn timeout(&self, tail: &[u32]) -> u64 {
        self.timed.map_or(0, |at| unpack_timeout(tail[at + 2]))
    }

    pub(super) fn set_timeout(&self, tail: &mut [u32], timeout_ns: u64) {
        if let Some(at) = self.timed {
            tail[at + 2] = pack_timeout(timeout_ns);
        }
    }
}

/// A timeout in one word: milliseconds below 2^31 of them (24 days), seconds above.
fn pack_timeout(timeout_ns: u64) -> u32 {
    let ms = timeout_ns.div_ceil(1_000_000);
    if ms < 1 << 31 {
        ms as u32
    } else {
        1 << 31 | (ms / 1000).min((1 << 31) - 1) as u32
    }
}

fn unpack_timeout(word: u32) -> u64 {
    let number = u64::from(word & !(1 << 31));
    number
        * if word >> 31 == 0 {
            1_000_000
        } else {
            1_000_000_000
        }
}
