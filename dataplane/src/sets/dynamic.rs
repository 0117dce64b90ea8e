//! Sets that packets change: exact keys in a table that is changed in place.
//!
//! Readers take no lock: a bucket of 8 slots has a version that is odd while it is being changed,
//! and a reader that saw the version move reads the bucket again. Elements lie in rows that never
//! move; buckets hold numbers of rows, so that the bucket array can double while packets pass.
//! Refreshing an element that is there is one atomic store; only a new or a removed element takes
//! the set's lock. What one worker added, the next look-up on any worker finds, and the size limit
//! holds exactly across threads. A row that was freed rests for a while before it is used again,
//! longer than any batch takes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;

use super::hash::Seed;
use super::{Column, Element, Entry, Key, SetError, Shape, StateId, StatePool};
use crate::packet::BATCH;

/// Slots of a bucket.
const SLOTS: usize = 8;
/// Rows of a chunk.
const CHUNK: usize = 1024;
/// Most chunks: 16 million elements.
const CHUNKS: usize = 16 * 1024;
/// How long a freed row rests: far longer than a batch.
const REST_NS: u64 = 100_000_000;
/// The entry of the catch-all element; also in a slot: no row.
const NO_ROW: u32 = u32::MAX;

/// A dynamic set.
#[derive(Debug)]
pub struct Dynamic {
    shape: Shape,
    seed: Seed,
    states: Arc<StatePool>,
    buckets: ArcSwap<Vec<Bucket>>,
    rows: Box<[OnceLock<Rows>]>,
    count: AtomicU32,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Bucket {
    /// Odd while the bucket is being changed.
    version: AtomicU32,
    /// Upper half of the hash of each slot's key, to compare before the row is touched.
    hashes: [AtomicU32; SLOTS],
    rows: [AtomicU32; SLOTS],
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            version: AtomicU32::new(0),
            hashes: std::array::from_fn(|_| AtomicU32::new(0)),
            rows: std::array::from_fn(|_| AtomicU32::new(NO_ROW)),
        }
    }
}

/// A chunk of rows, one array for each kind of thing.
#[derive(Debug)]
struct Rows {
    /// Key words, then data words.
    words: Box<[AtomicU32]>,
    /// 0: never.
    expires_ns: Box<[AtomicU64]>,
    timeout_ns: Box<[AtomicU64]>,
    states: Box<[AtomicU32]>,
}

#[derive(Debug, Default)]
struct Writer {
    next: u32,
    /// Freed rows and when they were freed.
    free: VecDeque<(u32, u64)>,
    /// Where the sweep goes on.
    sweep: u32,
}

/// What a change by a packet came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The element.
    pub entry: Entry,
    /// Whether it is new.
    pub new: bool,
}

impl Dynamic {
    /// An empty set of exact keys. `seed` keys its hashing.
    pub fn new(shape: Shape, seed: Seed) -> Self {
        Self {
            states: StatePool::new(shape.state_words),
            buckets: ArcSwap::from_pointee((0..4).map(|_| Bucket::default()).collect()),
            rows: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            count: AtomicU32::new(0),
            writer: Mutex::default(),
            seed,
            shape,
        }
    }

    /// The shape of its elements.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many elements there are, expired ones that are not swept yet included.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Looks up a key per lane.
    pub fn look_up(
        &self,
        key: &[&Column],
        lanes: u64,
        now_ns: u64,
        entries: &mut [Entry; BATCH],
    ) -> u64 {
        let buckets = self.buckets.load();
        let mut found = 0;
        for lane in super::lanes_of(lanes) {
            let hash = self.seed.hash(key.iter().map(|column| column[lane]));
            if let Some(row) = self.find(&buckets, hash, |word| key[word][lane])
                && self.is_live(row, now_ns)
            {
                entries[lane] = Entry(row);
                found |= 1 << lane;
            }
        }
        found
    }

    /// Copies what an element maps to.
    pub fn data(&self, entry: Entry, out: &mut [u32]) {
        let (rows, at) = self.row(entry.0);
        let words = self.shape.key_words() + self.shape.data_words;
        let data = &rows.words[at * words + self.shape.key_words()..(at + 1) * words];
        for (out, word) in out.iter_mut().zip(data) {
            *out = word.load(Ordering::Relaxed);
        }
    }

    /// The words of an element's statements.
    pub fn state(&self, entry: Entry) -> &[AtomicU64] {
        let (rows, at) = self.row(entry.0);
        self.states.get(StateId::from_number(
            rows.states[at].load(Ordering::Relaxed),
        ))
    }

    /// Adds an element, or finds it. `refresh` restarts the time to live of one that is there
    /// (`update`; `add` leaves it). Without `timeout_ns` the set's own holds.
    ///
    /// # Errors
    /// [`SetError::Full`] when the set has as many elements as it may have.
    pub fn add(
        &self,
        key: &[u32],
        data: &[u32],
        state: &[u64],
        timeout_ns: Option<u64>,
        refresh: bool,
        now_ns: u64,
    ) -> Result<Added, SetError> {
        let hash = self.seed.hash(key.iter().copied());
        let timeout = timeout_ns.or(self.shape.timeout_ns).unwrap_or(0);
        let expires = if timeout == 0 {
            0
        } else {
            now_ns.saturating_add(timeout)
        };
        if let Some(row) = self.find(&self.buckets.load(), hash, |word| key[word])
            && self.is_live(row, now_ns)
        {
            if refresh {
                self.refresh(row, data, timeout, expires);
            }
            return Ok(Added {
                entry: Entry(row),
                new: false,
            });
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Another worker may have been faster.
        if let Some(row) = self.find(&self.buckets.load(), hash, |word| key[word]) {
            if self.is_live(row, now_ns) {
                return Ok(Added {
                    entry: Entry(row),
                    new: false,
                });
            }
            self.unlink(hash, row);
            self.give_back(&mut writer, row, now_ns);
        }
        let row = self.take_row(&mut writer, now_ns)?;
        self.write_row(row, key, data, state, timeout, expires);
        self.link(hash, row);
        self.count.fetch_add(1, Ordering::Relaxed);
        Ok(Added {
            entry: Entry(row),
            new: true,
        })
    }

    /// Removes an element; `false` when it is not there.
    pub fn remove(&self, key: &[u32], now_ns: u64) -> bool {
        let hash = self.seed.hash(key.iter().copied());
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(row) = self.find(&self.buckets.load(), hash, |word| key[word]) else {
            return false;
        };
        let live = self.is_live(row, now_ns);
        self.unlink(hash, row);
        self.give_back(&mut writer, row, now_ns);
        live
    }

    /// Removes every element.
    pub fn flush(&self, now_ns: u64) {
        for element in self.elements(0) {
            self.remove(&element.first, now_ns);
        }
    }

    /// Frees expired elements among the next `budget` rows; call it now and then. Returns how
    /// many were freed.
    pub fn sweep(&self, now_ns: u64, budget: u32) -> usize {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut freed = 0;
        for _ in 0..budget.min(writer.next) {
            let row = writer.sweep;
            writer.sweep = (row + 1) % writer.next.max(1);
            let (rows, at) = self.row(row);
            let expires = rows.expires_ns[at].load(Ordering::Relaxed);
            if expires == 0 || expires > now_ns {
                continue;
            }
            let key = self.key(row);
            let hash = self.seed.hash(key.iter().copied());
            if self.find(&self.buckets.load(), hash, |word| key[word]) == Some(row) {
                self.unlink(hash, row);
                self.give_back(&mut writer, row, now_ns);
                freed += 1;
            }
        }
        freed
    }

    /// Every element that has not expired, ordered by key.
    pub fn elements(&self, now_ns: u64) -> Vec<Element> {
        let _writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let buckets = self.buckets.load();
        let rows = buckets
            .iter()
            .flat_map(|bucket| &bucket.rows)
            .map(|row| row.load(Ordering::Relaxed));
        let live = rows.filter(|&row| row != NO_ROW && self.is_live(row, now_ns));
        let mut elements: Vec<Element> = live.map(|row| self.element(row)).collect();
        elements.sort_by(|a, b| a.first.cmp(&b.first));
        elements
    }

    fn element(&self, row: u32) -> Element {
        let (rows, at) = self.row(row);
        let key = self.key(row);
        let mut data = Key::from_iter(std::iter::repeat_n(0, self.shape.data_words));
        self.data(Entry(row), &mut data);
        let number = |value: u64| (value != 0).then_some(value);
        Element {
            first: key.clone(),
            last: key,
            data,
            timeout_ns: number(rows.timeout_ns[at].load(Ordering::Relaxed)),
            expires_ns: number(rows.expires_ns[at].load(Ordering::Relaxed)),
            catch_all: false,
            state: self.states.read(StateId::from_number(
                rows.states[at].load(Ordering::Relaxed),
            )),
        }
    }

    fn is_live(&self, row: u32, now_ns: u64) -> bool {
        let (rows, at) = self.row(row);
        let expires = rows.expires_ns[at].load(Ordering::Relaxed);
        expires == 0 || expires > now_ns
    }

    fn refresh(&self, row: u32, data: &[u32], timeout: u64, expires: u64) {
        let (rows, at) = self.row(row);
        rows.timeout_ns[at].store(timeout, Ordering::Relaxed);
        rows.expires_ns[at].store(expires, Ordering::Relaxed);
        let words = self.shape.key_words() + self.shape.data_words;
        for (word, &value) in rows.words[at * words + self.shape.key_words()..]
            .iter()
            .zip(data)
        {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// The row of a key: its chunk and its place there.
    ///
    /// # Panics
    /// Never for a number that this set has handed out: a chunk is made before any of its numbers.
    fn row(&self, row: u32) -> (&Rows, usize) {
        let rows = self.rows[row as usize / CHUNK]
            .get()
            .expect("a row's chunk is made before its number is given out");
        (rows, row as usize % CHUNK)
    }

    fn key(&self, row: u32) -> Key {
        let (rows, at) = self.row(row);
        let words = self.shape.key_words() + self.shape.data_words;
        rows.words[at * words..][..self.shape.key_words()]
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect()
    }

    fn find(&self, buckets: &[Bucket], hash: u64, key: impl Fn(usize) -> u32) -> Option<u32> {
        let start = bucket_of(hash, buckets.len());
        for step in 0..buckets.len() {
            let bucket = &buckets[(start + step) % buckets.len()];
            let (found, full) = self.find_in(bucket, hash, &key);
            if found.is_some() || !full {
                return found;
            }
        }
        None
    }

    /// The row in this bucket, and whether the search goes on behind it (the bucket is full).
    fn find_in(
        &self,
        bucket: &Bucket,
        hash: u64,
        key: &impl Fn(usize) -> u32,
    ) -> (Option<u32>, bool) {
        loop {
            let version = bucket.version.load(Ordering::Acquire);
            if version & 1 == 0 {
                let answer = self.read_bucket(bucket, hash, key);
                std::sync::atomic::fence(Ordering::Acquire);
                if bucket.version.load(Ordering::Relaxed) == version {
                    return answer;
                }
            }
            std::hint::spin_loop();
        }
    }

    fn read_bucket(
        &self,
        bucket: &Bucket,
        hash: u64,
        key: &impl Fn(usize) -> u32,
    ) -> (Option<u32>, bool) {
        let words = self.shape.key_words() + self.shape.data_words;
        let mut full = true;
        for slot in 0..SLOTS {
            let row = bucket.rows[slot].load(Ordering::Relaxed);
            if row == NO_ROW {
                full = false;
            } else if bucket.hashes[slot].load(Ordering::Relaxed) == upper(hash) {
                let (rows, at) = self.row(row);
                let same = |word: usize| {
                    rows.words[at * words + word].load(Ordering::Relaxed) == key(word)
                };
                if (0..self.shape.key_words()).all(same) {
                    return (Some(row), full);
                }
            }
        }
        (None, full)
    }

    fn take_row(&self, writer: &mut Writer, now_ns: u64) -> Result<u32, SetError> {
        let most = self
            .shape
            .size
            .unwrap_or(u32::MAX)
            .min((CHUNK * CHUNKS) as u32);
        if self.count.load(Ordering::Relaxed) >= most {
            return Err(SetError::Full);
        }
        if let Some(&(row, freed)) = writer.free.front()
            && now_ns.saturating_sub(freed) >= REST_NS
        {
            writer.free.pop_front();
            return Ok(row);
        }
        let row = writer.next;
        let chunk = self.rows.get(row as usize / CHUNK).ok_or(SetError::Full)?;
        chunk.get_or_init(|| Rows::new(self.shape.key_words() + self.shape.data_words));
        writer.next += 1;
        Ok(row)
    }

    fn write_row(
        &self,
        row: u32,
        key: &[u32],
        data: &[u32],
        state: &[u64],
        timeout: u64,
        expires: u64,
    ) {
        let (rows, at) = self.row(row);
        let words = key.len() + self.shape.data_words;
        for (word, &value) in rows.words[at * words..].iter().zip(key.iter().chain(data)) {
            word.store(value, Ordering::Relaxed);
        }
        rows.timeout_ns[at].store(timeout, Ordering::Relaxed);
        rows.expires_ns[at].store(expires, Ordering::Relaxed);
        rows.states[at].store(self.states.take(state).number(), Ordering::Relaxed);
    }

    fn give_back(&self, writer: &mut Writer, row: u32, now_ns: u64) {
        let (rows, at) = self.row(row);
        self.states.give(StateId::from_number(
            rows.states[at].load(Ordering::Relaxed),
        ));
        self.states.turn();
        writer.free.push_back((row, now_ns));
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Puts a row into its bucket (the writer's lock is held).
    fn link(&self, hash: u64, row: u32) {
        let buckets = self.buckets.load();
        if self.len() + 1 > buckets.len() * SLOTS * 3 / 4 {
            self.buckets.store(Arc::new(self.doubled(&buckets)));
        }
        let buckets = self.buckets.load();
        insert(&buckets, hash, row);
    }

    fn doubled(&self, old: &[Bucket]) -> Vec<Bucket> {
        let buckets: Vec<Bucket> = (0..old.len() * 2).map(|_| Bucket::default()).collect();
        for row in old.iter().flat_map(|bucket| &bucket.rows) {
            let row = row.load(Ordering::Relaxed);
            if row != NO_ROW {
                insert(&buckets, self.seed.hash(self.key(row).iter().copied()), row);
            }
        }
        buckets
    }

    /// Takes a row out of its bucket (the writer's lock is held). Rows that had to go past this
    /// bucket because it was full move up, so that a search may stop at a bucket with room.
    fn unlink(&self, hash: u64, row: u32) {
        let buckets = self.buckets.load();
        let start = bucket_of(hash, buckets.len());
        let Some(at) = (0..buckets.len())
            .map(|step| (start + step) % buckets.len())
            .find(|&at| {
                buckets[at]
                    .rows
                    .iter()
                    .any(|slot| slot.load(Ordering::Relaxed) == row)
            })
        else {
            return;
        };
        let was_full = buckets[at]
            .rows
            .iter()
            .all(|slot| slot.load(Ordering::Relaxed) != NO_ROW);
        change(&buckets[at], |bucket| {
            for slot in &bucket.rows {
                if slot.load(Ordering::Relaxed) == row {
                    slot.store(NO_ROW, Ordering::Relaxed);
                }
            }
        });
        if was_full {
            self.move_up(&buckets, at);
        }
    }

    fn move_up(&self, buckets: &[Bucket], hole: usize) {
        let mut at = (hole + 1) % buckets.len();
        let mut seen = 1;
        while seen < buckets.len() {
            let full = buckets[at]
                .rows
                .iter()
                .all(|slot| slot.load(Ordering::Relaxed) != NO_ROW);
            for slot in 0..SLOTS {
                let row = buckets[at].rows[slot].load(Ordering::Relaxed);
                if row == NO_ROW {
                    continue;
                }
                let hash = self.seed.hash(self.key(row).iter().copied());
                if bucket_of(hash, buckets.len()) != at {
                    // In its new place first: a reader may see it twice, but never not at all.
                    insert(buckets, hash, row);
                    change(&buckets[at], |bucket| {
                        bucket.rows[slot].store(NO_ROW, Ordering::Relaxed)
                    });
                }
            }
            if !full {
                return;
            }
            at = (at + 1) % buckets.len();
            seen += 1;
        }
    }
}

impl Rows {
    fn new(words: usize) -> Self {
        let numbers = |count: usize| (0..count).map(|_| AtomicU32::new(0)).collect();
        let times = || (0..CHUNK).map(|_| AtomicU64::new(0)).collect();
        Self {
            words: numbers(words * CHUNK),
            expires_ns: times(),
            timeout_ns: times(),
            states: numbers(CHUNK),
        }
    }
}

fn upper(hash: u64) -> u32 {
    hash as u32
}

fn bucket_of(hash: u64, buckets: usize) -> usize {
    (((hash >> 32) * buckets as u64) >> 32) as usize
}

/// Puts a row into the first bucket with room from its own on.
fn insert(buckets: &[Bucket], hash: u64, row: u32) {
    let start = bucket_of(hash, buckets.len());
    for step in 0..buckets.len() {
        let bucket = &buckets[(start + step) % buckets.len()];
        let Some(slot) = bucket
            .rows
            .iter()
            .position(|slot| slot.load(Ordering::Relaxed) == NO_ROW)
        else {
            continue;
        };
        change(bucket, |bucket| {
            bucket.hashes[slot].store(upper(hash), Ordering::Relaxed);
            bucket.rows[slot].store(row, Ordering::Relaxed);
        });
        return;
    }
}

/// Changes a bucket so that readers notice.
fn change(bucket: &Bucket, change: impl FnOnce(&Bucket)) {
    let version = bucket.version.load(Ordering::Relaxed);
    bucket
        .version
        .store(version.wrapping_add(1), Ordering::Relaxed);
    std::sync::atomic::fence(Ordering::Release);
    change(bucket);
    bucket
        .version
        .store(version.wrapping_add(2), Ordering::Release);
}
