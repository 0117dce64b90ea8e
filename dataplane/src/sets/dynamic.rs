//! Exact keys that packets write: an extendible hash table that changes in place.
//!
//! The same pages as in [`hash`](super::hash), but small (16 buckets), and the directory's entries
//! are atomic pointers. Readers pin an epoch once a batch and follow pointers; they take no lock. A
//! writer (packet path, control, sweep) holds the table's one lock, copies a page with its change
//! and swaps the pointer; the old page is freed when no reader can hold it any more. So an element
//! that a packet added is seen by the next packet on any worker. Refreshing a timeout writes one
//! word in place, under the same lock, so that it cannot be lost in a copy.
//!
//! Unsafe, because pointers that change under readers are outside the language's checks: every page
//! and directory is reached by an atomic pointer under a pinned epoch. Measured against one
//! `arc-swap` pointer a page (no unsafe): 9 ns less for each lane.
#![allow(unsafe_code)]

mod upkeep;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_epoch::{self as epoch, Atomic, Guard, Owned, Shared};

use super::error::SetError;
use super::hashing::Hasher;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::{Line, prefetch};
use super::page::{self, BUCKET, Entry, Geometry};
use super::slots::Slots;
use super::spec::Layout;

const BUCKET_BITS: u32 = 4;
const BUCKETS: usize = 1 << BUCKET_BITS;

/// Pages looked at to make room in a full table before an element is refused.
const LAST_RESORT_PAGES: usize = 64;

struct Page {
    buckets: [Line; BUCKETS],
    rows: Box<[u32]>,
    /// One an entry, in the order of the rows; none in sets without timeouts.
    expires: Box<[AtomicU64]>,
    depth: u32,
}

struct Directory {
    depth: u32,
    pages: Box<[Atomic<Page>]>,
}

/// What an edit does with an element.
pub(super) enum Edit {
    /// Nothing.
    Keep,
    /// Puts it in, or in the place of what is there.
    Put {
        /// Data, timeout, slot.
        tail: Vec<u32>,
        /// Nanoseconds; `u64::MAX` never.
        expires_ns: u64,
    },
    /// Another expiry for what is there.
    Refresh {
        /// Nanoseconds.
        expires_ns: u64,
    },
    /// Takes it out.
    Remove,
}

/// Is handed key, tail and expiry of an element.
pub(super) type EachEntry<'a> = dyn FnMut(&[u32], &[u32], u64) + 'a;

/// Where sweeping and eviction go on.
#[derive(Debug, Default)]
struct Writer {
    cursor: usize,
    chance: u64,
}

/// A hash table that changes in place.
pub(super) struct Dynamic {
    hasher: Hasher,
    geometry: Geometry,
    layout: Layout,
    slots: Arc<Slots>,
    size: Option<usize>,
    forceadd: bool,
    directory: Atomic<Directory>,
    len: AtomicUsize,
    /// Elements promised to changes that are not committed.
    reserved: AtomicUsize,
    writer: Mutex<Writer>,
}

impl std::fmt::Debug for Dynamic {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Dynamic")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl Page {
    fn empty(depth: u32) -> Self {
        Self {
            buckets: [Line::ZERO; BUCKETS],
            rows: Box::default(),
            expires: Box::default(),
            depth,
        }
    }

    fn locate(&self, geometry: Geometry, hash: u64, key: &[u32]) -> Option<(usize, usize)> {
        let bucket = page::bucket_of(hash, BUCKET_BITS);
        let line = &self.buckets[bucket];
        let fingerprint = geometry.fingerprint(key[0], hash);
        page::find(geometry, line, &self.rows, fingerprint, key).map(|at| (bucket, at))
    }

    fn tail(&self, geometry: Geometry, index: usize) -> &[u32] {
        &self.rows[index * geometry.row..][..geometry.row][geometry.prefix..]
    }

    fn expires(&self, index: usize) -> u64 {
        self.expires
            .get(index)
            .map_or(u64::MAX, |expires| expires.load(Ordering::Relaxed))
    }

    fn expires_copy(&self, edit: impl FnOnce(&mut Vec<u64>)) -> Box<[AtomicU64]> {
        let mut copy: Vec<u64> = self
            .expires
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        edit(&mut copy);
        copy.into_iter().map(AtomicU64::new).collect()
    }

    /// A page of entries (with their expiries), or more pages where they do not fit one.
    fn of(
        geometry: Geometry,
        depth: u32,
        entries: &[(Entry<'_>, u64)],
        timed: bool,
        out: &mut Vec<Self>,
    ) {
        let mut page = Self::empty(depth);
        let plain: Vec<Entry<'_>> = entries.iter().map(|&(entry, _)| entry).collect();
        page.rows = vec![0; entries.len() * geometry.row].into();
        if page::fill(
            geometry,
            (&mut page.buckets, &mut page.rows),
            BUCKET_BITS,
            &plain,
        )
        .is_ok()
        {
            if timed {
                let mut order: Vec<(usize, u64)> = entries
                    .iter()
                    .map(|(entry, at)| (page::bucket_of(entry.hash, BUCKET_BITS), *at))
                    .collect();
                // Stable: `fill` keeps the order of entries within a bucket.
                order.sort_by_key(|&(bucket, _)| bucket);
                page.expires = order
                    .into_iter()
                    .map(|(_, at)| AtomicU64::new(at))
                    .collect();
            }
            out.push(page);
            return;
        }
        let bit = 1u64 << (63 - depth);
        let (ones, zeros): (Vec<_>, Vec<_>) =
            entries.iter().partition(|(entry, _)| entry.hash & bit != 0);
        Self::of(geometry, depth + 1, &zeros, timed, out);
        Self::of(geometry, depth + 1, &ones, timed, out);
    }
}

impl Directory {
    #[inline]
    fn slot(&self, hash: u64) -> usize {
        hash.checked_shr(64 - self.depth).unwrap_or(0) as usize
    }

    #[inline]
    fn page<'g>(&self, slot: usize, guard: &'g Guard) -> &'g Page {
        let page = self.pages[slot].load(Ordering::Acquire, guard);
        // SAFETY: directory entries are never null: `Dynamic::new` and `install` fill all of them with
        // owned pages, and a page is only freed by `defer_destroy` after every entry that led to it
        // was overwritten, so under the pinned `guard` it is alive.
        unsafe { page.deref() }
    }

    fn block(&self, slot: usize, depth: u32) -> std::ops::Range<usize> {
        let size = 1 << (self.depth - depth);
        let first = slot & !(size - 1);
        first..first + size
    }
}

impl Dynamic {
    pub(super) fn new(
        hasher: Hasher,
        layout: Layout,
        slots: Arc<Slots>,
        size: Option<u32>,
        forceadd: bool,
    ) -> Self {
        let directory = Directory {
            depth: 0,
            pages: Box::new([Atomic::new(Page::empty(0))]),
        };
        Self {
            hasher,
            geometry: Geometry::new(layout.key, layout.tail),
            layout,
            slots,
            size: size.map(|size| size as usize),
            forceadd,
            directory: Atomic::new(directory),
            len: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            writer: Mutex::new(Writer::default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn directory<'g>(&self, guard: &'g Guard) -> &'g Directory {
        let directory = self.directory.load(Ordering::Acquire, guard);
        // SAFETY: never null (filled by `new`, replaced by `double` and `flush` with owned ones), and
        // the old one is freed by `defer_destroy` only, so under the pinned `guard` it is alive.
        unsafe { directory.deref() }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Looks up the lanes; returns those found.
    pub(super) fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let guard = epoch::pin();
        let directory = self.directory(&guard);
        let geometry = self.geometry;
        let mut hashes = [0u64; LANES];
        for lane in Lanes(lanes) {
            let hash = match columns {
                [only] => self.hasher.word(only[lane]),
                _ => self.hasher.lane(columns, lane),
            };
            hashes[lane] = hash;
            prefetch(&directory.pages[directory.slot(hash)]);
        }
        for lane in Lanes(lanes) {
            let page = directory.page(directory.slot(hashes[lane]), &guard);
            prefetch(&page.buckets[page::bucket_of(hashes[lane], BUCKET_BITS)]);
            prefetch(&page.rows);
        }
        let mut pages: [Option<&Page>; LANES] = [None; LANES];
        let mut same = [0u16; LANES];
        let mut maybe = 0u64;
        for lane in Lanes(lanes) {
            let page = directory.page(directory.slot(hashes[lane]), &guard);
            let bucket = &page.buckets[page::bucket_of(hashes[lane], BUCKET_BITS)];
            let found =
                page::candidates(bucket, geometry.fingerprint(columns[0][lane], hashes[lane]));
            maybe |= u64::from(found != 0) << lane;
            same[lane] = found as u16;
            pages[lane] = Some(page);
            if found != 0 {
                let index = page::start(bucket) + found.trailing_zeros() as usize;
                page.rows
                    .get(index * geometry.row)
                    .inspect(|row| prefetch(*row));
                page.expires.get(index).inspect(|word| prefetch(*word));
            }
        }
        let mut found = 0;
        for lane in Lanes(maybe) {
            let Some(page) = pages[lane] else { continue };
            let first = page::start(&page.buckets[page::bucket_of(hashes[lane], BUCKET_BITS)]);
            for at in Lanes(u64::from(same[lane])) {
                let row = &page.rows[(first + at) * geometry.row..][..geometry.row];
                let (key, tail) = row.split_at(geometry.prefix);
                if key
                    .iter()
                    .zip(columns)
                    .all(|(&word, column)| word == column[lane])
                {
                    if page.expires(first + at) > sink.now_ns {
                        sink.take(lane, tail);
                        found |= 1 << lane;
                    }
                    break;
                }
            }
        }
        found
    }

    /// What `look` makes of tail and expiry of an element, expired or not. Allocates nothing.
    pub(super) fn look<T>(&self, key: &[u32], look: impl FnOnce(&[u32], u64) -> T) -> Option<T> {
        let guard = epoch::pin();
        let directory = self.directory(&guard);
        let hash = self.hasher.words(key);
        let page = directory.page(directory.slot(hash), &guard);
        let (bucket, at) = page.locate(self.geometry, hash, key)?;
        let index = page::start(&page.buckets[bucket]) + at;
        Some(look(page.tail(self.geometry, index), page.expires(index)))
    }

    /// Tail and expiry of an element, expired or not.
    pub(super) fn find(&self, key: &[u32]) -> Option<(Vec<u32>, u64)> {
        self.look(key, |tail, expires| (tail.to_vec(), expires))
    }

    /// Promises room for an element to a change.
    pub(super) fn reserve(&self) -> Result<(), SetError> {
        let _writer = self.lock();
        if self.is_full() {
            return Err(SetError::Full);
        }
        self.reserved.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes promises back.
    pub(super) fn release(&self, count: usize) {
        let _writer = self.lock();
        self.reserved.fetch_sub(count, Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.size
            .is_some_and(|size| self.len() + self.reserved.load(Ordering::Relaxed) >= size)
    }

    /// Changes one element: `decide` sees it (tail, expiry) as it is, and nobody else writes meanwhile.
    /// A new element needs room, unless it was promised.
    pub(super) fn edit(
        &self,
        key: &[u32],
        now_ns: u64,
        promised: bool,
        decide: impl FnOnce(Option<(&[u32], u64)>) -> Edit,
    ) -> Result<(), SetError> {
        let mut writer = self.lock();
        let guard = epoch::pin();
        let hash = self.hasher.words(key);
        let directory = self.directory(&guard);
        let page = directory.page(directory.slot(hash), &guard);
        let place = page.locate(self.geometry, hash, key);
        let index = place.map(|(bucket, at)| page::start(&page.buckets[bucket]) + at);
        match decide(index.map(|index| (page.tail(self.geometry, index), page.expires(index)))) {
            Edit::Keep => {}
            Edit::Refresh { expires_ns } => {
                if let Some(word) = index.and_then(|index| page.expires.get(index)) {
                    word.store(expires_ns, Ordering::Relaxed);
                }
            }
            Edit::Remove => {
                if let Some((bucket, at)) = place {
                    self.take_out(hash, bucket, at, &guard);
                }
            }
            Edit::Put { tail, expires_ns } => {
                if let Some((bucket, at)) = place {
                    self.take_out(hash, bucket, at, &guard);
                } else if !promised && self.is_full() {
                    self.make_room(&mut writer, now_ns, &guard)?;
                }
                let fingerprint = self.geometry.fingerprint(key[0], hash);
                self.put_in(
                    Entry {
                        hash,
                        fingerprint,
                        key,
                        tail: &tail,
                    },
                    expires_ns,
                    &guard,
                );
            }
        }
        Ok(())
    }

    /// Swaps a page in for the one at `slot`, which is freed when its readers are gone.
    fn install(&self, directory: &Directory, slot: usize, depth: u32, page: Page, guard: &Guard) {
        let old = directory.pages[slot].load(Ordering::Relaxed, guard);
        let new = Owned::new(page).into_shared(guard);
        for entry in &directory.pages[directory.block(slot, depth)] {
            entry.store(new, Ordering::Release);
        }
        // SAFETY: all entries that led to `old` (the block of its depth) were overwritten above under
        // the writer's lock, so it is unreachable for readers that pin from now on, and only this
        // writer frees it.
        unsafe { guard.defer_destroy(old) };
    }

    fn take_out(&self, hash: u64, bucket: usize, at: usize, guard: &Guard) {
        let directory = self.directory(guard);
        let slot = directory.slot(hash);
        let page = directory.page(slot, guard);
        let index = page::start(&page.buckets[bucket]) + at;
        let freed = self.layout.slot(page.tail(self.geometry, index));
        self.without(directory, slot, &[(bucket, at)], guard);
        self.free_later(&[freed], guard);
    }

    /// Takes entries of one page out; those of one bucket from the last to the first.
    fn without(&self, directory: &Directory, slot: usize, gone: &[(usize, usize)], guard: &Guard) {
        let page = directory.page(slot, guard);
        let mut copy = Page::empty(page.depth);
        copy.buckets = page.buckets;
        copy.rows = page.rows.clone();
        let mut expires: Vec<u64> = page
            .expires
            .iter()
            .map(|word| word.load(Ordering::Relaxed))
            .collect();
        for &(bucket, at) in gone {
            let index = page::start(&copy.buckets[bucket]) + at;
            let mut buckets = copy.buckets;
            let left = page::entries(&copy.buckets) - 1;
            let mut rows = vec![0; left * self.geometry.row];
            page::copy_without(
                self.geometry,
                (&copy.buckets, &copy.rows),
                (&mut buckets, &mut rows),
                bucket,
                at,
            );
            copy.buckets = buckets;
            copy.rows = rows.into();
            if !expires.is_empty() {
                expires.remove(index);
            }
        }
        copy.expires = expires.into_iter().map(AtomicU64::new).collect();
        self.len.fetch_sub(gone.len(), Ordering::Relaxed);
        self.install(directory, slot, page.depth, copy, guard);
    }

    fn put_in(&self, entry: Entry<'_>, expires_ns: u64, guard: &Guard) {
        let bucket = page::bucket_of(entry.hash, BUCKET_BITS);
        let mut directory = self.directory(guard);
        while page::count(&directory.page(directory.slot(entry.hash), guard).buckets[bucket])
            == BUCKET
        {
            self.split(entry.hash, guard);
            directory = self.directory(guard);
        }
        let slot = directory.slot(entry.hash);
        let page = directory.page(slot, guard);
        let total = page::entries(&page.buckets);
        let index = page::start(&page.buckets[bucket]) + page::count(&page.buckets[bucket]);
        let mut copy = Page::empty(page.depth);
        let mut rows = vec![0; (total + 1) * self.geometry.row];
        page::copy_with(
            self.geometry,
            (&page.buckets, &page.rows),
            (&mut copy.buckets, &mut rows),
            bucket,
            entry,
        );
        copy.rows = rows.into();
        copy.expires = if self.layout.timed.is_some() {
            page.expires_copy(|list| list.insert(index, expires_ns))
        } else {
            Box::default()
        };
        self.len.fetch_add(1, Ordering::Relaxed);
        self.install(directory, slot, page.depth, copy, guard);
    }

    fn entries<'g>(&self, page: &'g Page) -> Vec<(Entry<'g>, u64)> {
        page::all(self.geometry, &page.buckets, &page.rows, |key| {
            self.hasher.words(key)
        })
        .into_iter()
        .enumerate()
        .map(|(index, entry)| (entry, page.expires(index)))
        .collect()
    }

    /// Splits the page of a hash; the directory grows where the page is as deep as it.
    fn split(&self, hash: u64, guard: &Guard) {
        let mut directory = self.directory(guard);
        let old = directory.pages[directory.slot(hash)].load(Ordering::Relaxed, guard);
        let page = directory.page(directory.slot(hash), guard);
        let bit = 1u64 << (63 - page.depth);
        let (ones, zeros): (Vec<_>, Vec<_>) = self
            .entries(page)
            .into_iter()
            .partition(|(entry, _)| entry.hash & bit != 0);
        let timed = self.layout.timed.is_some();
        let mut pages = Vec::new();
        Page::of(self.geometry, page.depth + 1, &zeros, timed, &mut pages);
        Page::of(self.geometry, page.depth + 1, &ones, timed, &mut pages);
        let deepest = pages
            .iter()
            .map(|page| page.depth)
            .max()
            .unwrap_or(page.depth);
        while directory.depth < deepest {
            self.double(directory, guard);
            directory = self.directory(guard);
        }
        let mut slot = directory.block(directory.slot(hash), page.depth).start;
        for page in pages {
            let size = 1 << (directory.depth - page.depth);
            let new = Owned::new(page).into_shared(guard);
            for entry in &directory.pages[slot..slot + size] {
                entry.store(new, Ordering::Release);
            }
            slot += size;
        }
        // SAFETY: the pages stored above cover the whole block of `old` in the current directory, and
        // directories before it are freed no earlier than `old`'s readers leave; only the writer, whose
        // lock is held, frees pages.
        unsafe { guard.defer_destroy(old) };
    }

    fn double(&self, directory: &Directory, guard: &Guard) {
        let pages = directory
            .pages
            .iter()
            .flat_map(|entry| {
                let page = entry.load(Ordering::Relaxed, guard);
                [Atomic::from(page), Atomic::from(page)]
            })
            .collect();
        self.replace_directory(
            Directory {
                depth: directory.depth + 1,
                pages,
            },
            guard,
        );
    }

    fn replace_directory(&self, directory: Directory, guard: &Guard) {
        let old = self
            .directory
            .swap(Owned::new(directory), Ordering::AcqRel, guard);
        // SAFETY: `old` was the only pointer to that directory and has just been replaced; a directory
        // does not own its pages, so destroying it frees nothing else.
        unsafe { guard.defer_destroy(old) };
    }

    /// Gives slots back when no reader can have found them.
    fn free_later(&self, freed: &[u32], guard: &Guard) {
        let freed: Vec<u32> = freed.iter().copied().filter(|&slot| slot != 0).collect();
        if !freed.is_empty() {
            let slots = Arc::clone(&self.slots);
            guard.defer(move || slots.give_back(&freed));
        }
    }

    /// All elements: key, tail, expiry. Elements that come or go meanwhile may or may not be among
    /// them; every other one is, once.
    pub(super) fn for_each(&self, each: &mut EachEntry<'_>) {
        let guard = epoch::pin();
        let directory = self.directory(&guard);
        // The prefix of the hash that has been listed: pages may split and merge under our eyes.
        let mut slot = 0;
        while slot < directory.pages.len() {
            let page = directory.page(slot, &guard);
            let block = directory.block(slot, page.depth.min(directory.depth));
            for (entry, expires) in self.entries(page) {
                let place = directory.slot(entry.hash);
                if place >= slot && place < block.end {
                    each(entry.key, entry.tail, expires);
                }
            }
            slot = block.end;
        }
    }

    /// Bytes taken.
    pub(super) fn memory(&self) -> usize {
        let guard = epoch::pin();
        let directory = self.directory(&guard);
        let pages: usize = distinct(directory, &guard)
            .into_iter()
            .map(|page| {
                // SAFETY: as in `Directory::page`.
                let page = unsafe { page.deref() };
                size_of::<Page>() + page.rows.len() * 4 + page.expires.len() * 8
            })
            .sum();
        size_of::<Self>() + directory.pages.len() * 8 + pages
    }
}

/// Every page of a directory once.
fn distinct<'g>(directory: &Directory, guard: &'g Guard) -> Vec<Shared<'g, Page>> {
    let mut pages: Vec<Shared<'g, Page>> = directory
        .pages
        .iter()
        .map(|entry| entry.load(Ordering::Acquire, guard))
        .collect();
    pages.dedup();
    pages
}

impl Drop for Dynamic {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: no reader or writer is left, so nothing needs an epoch; each page and
        // the directory are owned by this table alone and listed once.
        unsafe {
            let guard = epoch::unprotected();
            let directory = self.directory.load(Ordering::Relaxed, guard);
            for page in distinct(directory.deref(), guard) {
                drop(page.into_owned());
            }
            drop(directory.into_owned());
        }
    }
}
