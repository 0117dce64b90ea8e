//! A set: its specification, its contents for every generation that still has readers, its slots.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::bitmap::{self, Bitmap};
use super::boxes::Boxes;
use super::change::Change;
use super::dynamic::{Dynamic, Edit};
use super::error::SetError;
use super::hash::Hash;
use super::hashing::{Hasher, split_mix};
use super::interval::Interval;
use super::prefix::Prefix;
use super::slots::Slots;
use super::spec::{Layout, MAX_WORDS, SetSpec, Shape};
use super::structure::Structure;
use super::view::OwnView;

/// Elements that a sweep looks at before it lets go of the lock.
const SLICE: usize = 1024;

/// What adding an element did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is new.
    Added,
    /// It was there, with the same data; its timeout is as it was unless refreshing was asked for.
    Existed,
}

/// What a packet's change of an element did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Whether the element is new.
    pub outcome: Outcome,
    /// Its slot, 0 if it has none.
    pub slot: u32,
}

/// One state of a persistent structure, and the catch-all beside it.
#[derive(Clone, Debug)]
pub(super) struct Root {
    pub(super) body: Box<dyn Structure>,
    pub(super) catch_all: Option<Arc<[u32]>>,
}

/// What a generation sees. Its root is replaced only by one that means the same (sweeping), or, in a
/// set that packets write, by one that all generations see.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) root: ArcSwap<Root>,
}

#[derive(Debug)]
pub(super) enum Store {
    Table {
        table: Box<Dynamic>,
        catch_all: ArcSwapOption<Vec<u32>>,
    },
    Versions(ArcSwap<Version>),
}

/// What only writers need.
#[derive(Debug, Default)]
pub(super) struct Writer {
    cursor: u64,
    chance: u64,
    /// What readers may still have, oldest first, and slots that nobody has once they have left.
    retired: VecDeque<Retired>,
}

/// A root that was replaced, with the version that led to it, if that was replaced too. They are kept
/// here until no reader has them: so it is never a reader that frees their pages.
#[derive(Debug)]
struct Retired {
    version: Option<Arc<Version>>,
    root: Arc<Root>,
    freed: Vec<u32>,
}

impl Retired {
    fn has_readers(&self) -> bool {
        // Nobody who does not have them can come by them any more.
        let version = self.version.as_ref().map_or(0, Arc::strong_count);
        // The version has the root too.
        let of_version = usize::from(self.version.is_some());
        version > of_version || Arc::strong_count(&self.root) > 1 + of_version
    }
}

/// Fields whose longest prefix is known.
const FIELDS: usize = 3;

/// A set or map with everything that belongs to it.
#[derive(Debug)]
pub struct Set {
    pub(super) spec: SetSpec,
    pub(super) layout: Layout,
    pub(super) slots: Arc<Slots>,
    pub(super) store: Store,
    pub(super) changing: AtomicBool,
    /// The longest prefix that each of the first fields has had since the set was empty, plus one.
    longest: [AtomicU8; FIELDS],
    pub(super) writer: Mutex<Writer>,
}

fn structure(
    shape: &Shape,
    layout: &Layout,
    hasher: Hasher,
) -> Result<Box<dyn Structure>, SetError> {
    let (words, tail) = (layout.key, layout.tail);
    Ok(match shape {
        Shape::Exact { .. } => Box::new(Hash::new(hasher, words, tail)),
        Shape::Bitmap { first, last } => {
            if first > last || last - first >= bitmap::MOST {
                return Err(SetError::Key("a bitmap has 1 to 65536 numbers"));
            }
            Box::new(Bitmap::new(*first, *last, tail))
        }
        Shape::Prefix { .. } => match words {
            1 => Box::new(Prefix::<u32>::new(words, tail)),
            2 => Box::new(Prefix::<u64>::new(words, tail)),
            4 => Box::new(Prefix::<u128>::new(words, tail)),
            _ => return Err(SetError::Key("prefixes have 1, 2 or 4 words")),
        },
        Shape::Interval { .. } => match words {
            1 => Box::new(Interval::<u32>::new(words, tail)),
            2 => Box::new(Interval::<u64>::new(words, tail)),
            3 | 4 => Box::new(Interval::<u128>::new(words, tail)),
            _ => return Err(SetError::Key("intervals have 1 to 4 words")),
        },
        Shape::Boxes { fields, nested } => {
            if fields.iter().any(|&field| field == 0 || field > 4) {
                return Err(SetError::Key("fields of intervals have 1 to 4 words"));
            }
            Box::new(Boxes::new(fields.clone(), *nested, tail))
        }
    })
}

impl Set {
    /// An empty set. `seed` makes its hashing secret; it should be random.
    ///
    /// # Errors
    /// When the shape is not one that exists (word counts, bitmap range).
    pub fn new(spec: SetSpec, seed: u64) -> Result<Arc<Self>, SetError> {
        let layout = Layout::of(&spec);
        if layout.key == 0 || layout.key > MAX_WORDS || layout.data > MAX_WORDS {
            return Err(SetError::Key("keys and data have 1 to 16 words"));
        }
        let slots = Arc::new(Slots::new(spec.initial_state.len()));
        let hasher = Hasher::new(seed);
        let table = spec.dynamic && !spec.in_place;
        let store = if table && matches!(spec.shape, Shape::Exact { .. }) {
            let table = Dynamic::new(hasher, layout, Arc::clone(&slots), spec.size, spec.forceadd);
            Store::Table {
                table: Box::new(table),
                catch_all: ArcSwapOption::empty(),
            }
        } else {
            let root = Root {
                body: structure(&spec.shape, &layout, hasher)?,
                catch_all: None,
            };
            Store::Versions(ArcSwap::from_pointee(Version {
                root: ArcSwap::from_pointee(root),
            }))
        };
        let writer = Mutex::new(Writer {
            chance: seed,
            ..Writer::default()
        });
        Ok(Arc::new(Self {
            spec,
            layout,
            slots,
            store,
            changing: AtomicBool::new(false),
            longest: Default::default(),
            writer,
        }))
    }

    /// The longest prefix that a field's elements have had since the set was empty; `None` if there
    /// was none. An approximation from above: taking the longest away does not shorten it.
    pub fn longest_prefix(&self, field: usize) -> Option<u8> {
        let noted = self.longest.get(field)?.load(Ordering::Relaxed);
        noted.checked_sub(1)
    }

    /// Notes the prefixes of an element.
    pub(super) fn note_prefixes(&self, low: &[u32], high: &[u32]) {
        let mut at = 0;
        let mut note = |field: usize, words: usize| {
            let mut length = 0;
            for word in at..at + words {
                let same = (low[word] ^ high[word]).leading_zeros();
                length += same;
                if same < 32 {
                    break;
                }
            }
            at += words;
            if let Some(longest) = self.longest.get(field) {
                longest.fetch_max(length as u8 + 1, Ordering::Relaxed);
            }
        };
        match &self.spec.shape {
            Shape::Prefix { words } => note(0, usize::from(*words)),
            Shape::Boxes { fields, .. } => {
                for (field, words) in fields.iter().enumerate() {
                    note(field, usize::from(*words));
                }
            }
            _ => {}
        }
    }

    /// The set is empty: no prefix is known.
    pub(super) fn forget_prefixes(&self) {
        for longest in &self.longest {
            longest.store(0, Ordering::Relaxed);
        }
    }

    /// Takes over what another set with the same elements knows.
    pub(super) fn same_prefixes(&self, other: &Self) {
        for (own, other) in self.longest.iter().zip(&other.longest) {
            own.store(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// What it was made from.
    pub fn spec(&self) -> &SetSpec {
        &self.spec
    }

    /// Its committed contents, for the next generation.
    pub fn view(self: &Arc<Self>) -> OwnView {
        let version = match &self.store {
            Store::Table { .. } => None,
            Store::Versions(current) => Some(current.load_full()),
        };
        OwnView {
            set: Arc::clone(self),
            version,
        }
    }

    /// Opens a change. Nobody sees it before [`Change::commit`]; dropping it undoes it.
    ///
    /// # Errors
    /// [`SetError::Busy`] while another one is open.
    pub fn begin(self: &Arc<Self>, now_ns: u64) -> Result<Change, SetError> {
        if self.changing.swap(true, Ordering::Acquire) {
            return Err(SetError::Busy);
        }
        Ok(Change::new(Arc::clone(self), now_ns))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was replaced, and slots that belong to nobody once it has no reader.
    pub(super) fn retire(
        &self,
        writer: &mut Writer,
        version: Option<Arc<Version>>,
        root: Arc<Root>,
        freed: Vec<u32>,
    ) {
        writer.retired.push_back(Retired {
            version,
            root,
            freed,
        });
        self.release_retired(writer);
    }

    fn release_retired(&self, writer: &mut Writer) {
        while writer.retired.front().is_some_and(|old| !old.has_readers()) {
            if let Some(old) = writer.retired.pop_front() {
                self.slots.give_back(&old.freed);
            }
        }
    }

    /// Frees what was replaced and has no reader any more. Writers do it as they go; this is for
    /// sets that nobody writes meanwhile.
    pub fn reclaim(&self) {
        match &self.store {
            Store::Table { table, .. } => table.reclaim(),
            Store::Versions(_) => self.release_retired(&mut self.lock()),
        }
    }

    /// Looks at about `budget` elements and gives back the memory of those that have expired: call it
    /// now and then with a budget that takes less time than a packet may wait. Yields how many went.
    /// Does nothing while a change of the set is open.
    pub fn sweep(&self, now_ns: u64, budget: usize) -> usize {
        self.reclaim();
        if self.layout.timed.is_none() {
            return 0;
        }
        match &self.store {
            Store::Table { table, .. } => table.sweep(now_ns, budget),
            Store::Versions(current) => {
                let (mut left, mut gone) = (budget, 0);
                while left > 0 {
                    // The lock is held for one slice at a time: packets that add wait that long at most.
                    let slice = left.min(SLICE);
                    left -= slice;
                    let (went, more) = self.sweep_version(&current.load_full(), now_ns, slice);
                    gone += went;
                    if !more {
                        break;
                    }
                }
                gone
            }
        }
    }

    /// Sweeps a slice: how many went, and whether there is more behind it.
    fn sweep_version(&self, version: &Version, now_ns: u64, budget: usize) -> (usize, bool) {
        if self.changing.swap(true, Ordering::Acquire) {
            return (0, false);
        }
        let mut writer = self.lock();
        let old = version.root.load_full();
        let mut gone: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
        let mut freed = Vec::new();
        let from = writer.cursor;
        writer.cursor = old.body.near(from, budget, &mut |row| {
            if self.layout.expired(row.tail, now_ns) {
                gone.push((row.low.to_vec(), row.high.to_vec()));
                freed.push(self.layout.slot(row.tail));
            }
        });
        let more = writer.cursor > from;
        if !gone.is_empty() {
            let mut root = Root::clone(&old);
            for (low, high) in &gone {
                root.body.remove(low, high);
            }
            version.root.store(Arc::new(root));
            self.retire(&mut writer, None, old, freed);
        }
        self.changing.store(false, Ordering::Release);
        (gone.len(), more)
    }

    /// Changes one element of a set that packets write, seen by all generations at once.
    pub(super) fn edit(
        &self,
        low: &[u32],
        high: &[u32],
        now_ns: u64,
        promised: bool,
        decide: impl FnOnce(Option<(&[u32], u64)>) -> Edit,
    ) -> Result<(), SetError> {
        match &self.store {
            Store::Table { table, .. } => table.edit(low, now_ns, promised, decide),
            Store::Versions(current) => {
                let mut writer = self.lock();
                let version = current.load_full();
                let old = version.root.load_full();
                let mut root = Root::clone(&old);
                let mut freed = Vec::new();
                self.edit_root(
                    &mut root,
                    &mut writer,
                    (low, high),
                    now_ns,
                    promised,
                    decide,
                    &mut freed,
                )?;
                version.root.store(Arc::new(root));
                self.retire(&mut writer, None, old, freed);
                Ok(())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the other half of `edit`")]
    fn edit_root(
        &self,
        root: &mut Root,
        writer: &mut Writer,
        (low, high): (&[u32], &[u32]),
        now_ns: u64,
        promised: bool,
        decide: impl FnOnce(Option<(&[u32], u64)>) -> Edit,
        freed: &mut Vec<u32>,
    ) -> Result<(), SetError> {
        let found = root.body.find(low, high).map(<[u32]>::to_vec);
        let seen = found
            .as_deref()
            .map(|tail| (tail, self.layout.expires(tail)));
        match decide(seen) {
            Edit::Keep => {}
            Edit::Refresh { expires_ns } => {
                if let Some(mut tail) = found {
                    self.layout.set_expires(&mut tail, expires_ns);
                    root.body.replace(low, high, &tail);
                }
            }
            Edit::Remove => {
                freed.extend(found.map(|tail| self.layout.slot(&tail)));
                root.body.remove(low, high);
            }
            Edit::Put {
                mut tail,
                expires_ns,
            } => {
                self.layout.set_expires(&mut tail, expires_ns);
                if let Some(old) = found {
                    let slot = self.layout.slot(&old);
                    // An element that only gets other data keeps its state and comment.
                    freed.extend((slot != self.layout.slot(&tail)).then_some(slot));
                    root.body.replace(low, high, &tail);
                    return Ok(());
                }
                if !promised && self.is_full(root.body.len()) {
                    self.make_room(root, writer, now_ns, freed)?;
                }
                self.insert_over(root, (low, high), &tail, now_ns, freed)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_full(&self, len: usize) -> bool {
        self.spec.size.is_some_and(|size| len >= size as usize)
    }

    /// Puts an element in; expired ones that overlap with it give way.
    pub(super) fn insert_over(
        &self,
        root: &mut Root,
        (low, high): (&[u32], &[u32]),
        tail: &[u32],
        now_ns: u64,
        freed: &mut Vec<u32>,
    ) -> Result<(), SetError> {
        self.note_prefixes(low, high);
        match root.body.insert(low, high, tail) {
            Err(SetError::Overlap) if self.layout.timed.is_some() => {
                let mut expired: Vec<(Vec<u32>, Vec<u32>, u32)> = Vec::new();
                root.body.overlapping(low, high, &mut |row| {
                    if self.layout.expired(row.tail, now_ns) {
                        expired.push((
                            row.low.to_vec(),
                            row.high.to_vec(),
                            self.layout.slot(row.tail),
                        ));
                    }
                    true
                });
                for (low, high, slot) in expired {
                    root.body.remove(&low, &high);
                    freed.push(slot);
                }
                root.body.insert(low, high, tail)
            }
            other => other,
        }
    }

    /// Room in a full structure: expired elements go first, then, with `forceadd`, a random one.
    pub(super) fn make_room(
        &self,
        root: &mut Root,
        writer: &mut Writer,
        now_ns: u64,
        freed: &mut Vec<u32>,
    ) -> Result<(), SetError> {
        let mut gone: Vec<(Vec<u32>, Vec<u32>, u32)> = Vec::new();
        if self.layout.timed.is_some() {
            writer.cursor = root.body.near(writer.cursor, 1024, &mut |row| {
                if self.layout.expired(row.tail, now_ns) {
                    gone.push((
                        row.low.to_vec(),
                        row.high.to_vec(),
                        self.layout.slot(row.tail),
                    ));
                }
            });
        }
        if gone.is_empty() && self.spec.forceadd {
            let at = split_mix(&mut writer.chance);
            let mut seen = 0;
            for from in [at, 0] {
                root.body.near(from, 1, &mut |row| {
                    seen += 1;
                    if split_mix(&mut writer.chance).is_multiple_of(seen) {
                        gone = vec![(
                            row.low.to_vec(),
                            row.high.to_vec(),
                            self.layout.slot(row.tail),
                        )];
                    }
                });
                if seen > 0 {
                    break;
                }
            }
        }
        for (low, high, slot) in &gone {
            root.body.remove(low, high);
            freed.push(*slot);
        }
        if self.is_full(root.body.len()) {
            Err(SetError::Full)
        } else {
            Ok(())
        }
    }
}
