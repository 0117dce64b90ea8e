//! Exact keys that packets write: an extendible hash table that changes in place.
//!
//! The same pages as in [`hash`](super::hash), but small (16 buckets), and the directory's entries
//! are atomic pointers. Readers pin an [epoch](super::epoch) once a batch and follow pointers; they take
//! no lock and free nothing. A writer (packet path, control, sweep) holds the table's one lock, copies
//! a page with its change and swaps the pointer; writers after it free the old page when no reader can
//! hold it any more. So an element
//! that a packet added is seen by the next packet on any worker. Refreshing a timeout writes one
//! word in place, under the same lock, so that it cannot be lost in a copy.
//!
//! Unsafe, because pointers that change under readers are outside the language's checks: every page
//! and directory is reached by an atomic pointer under a pinned epoch. Measured against one
//! `arc-swap` pointer a page (no unsafe): 9 ns less for each lane.
#![allow(unsafe_code)]

mod garbage;
mod pages;
mod upkeep;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::epoch::{Pin, pin};
use super::error::SetError;
use super::hashing::Hasher;
use super::hits::{Column, LANES, Lanes, Sink};
use super::line::prefetch;
use super::page::{self, BUCKET, Entry, Geometry};
use super::slots::Slots;
use super::spec::Layout;
use garbage::{Garbage, Link, leak};
use pages::{BUCKET_BITS, Directory, Page};

/// Pages looked at to make room in a full table before an element is refused.
const LAST_RESORT_PAGES: usize = 64;

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
    directory: Link<Directory>,
    len: AtomicUsize,
    /// Elements promised to changes that are not committed.
    reserved: AtomicUsize,
    writer: Mutex<Writer>,
    /// Taken only by who has the writer's lock, for moments.
    garbage: Mutex<Garbage>,
}

impl std::fmt::Debug for Dynamic {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Dynamic")
            .field("len", &self.len())
            .finish_non_exhaustive()
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
            pages: Box::new([Link::new(leak(Page::empty(0)))]),
        };
        Self {
            hasher,
            geometry: Geometry::new(layout.key, layout.tail),
            layout,
            slots,
            size: size.map(|size| size as usize),
            forceadd,
            directory: Link::new(leak(directory)),
            len: AtomicUsize::new(0),
            reserved: AtomicUsize::new(0),
            writer: Mutex::new(Writer::default()),
            garbage: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn garbage(&self) -> MutexGuard<'_, Garbage> {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn directory<'p>(&self, _pin: &'p Pin) -> &'p Directory {
        // SAFETY: never null (filled by `new`, replaced by `replace_directory` with leaked ones), and
        // the old one is retired only after it was replaced, so under the pin it is alive.
        unsafe { &*self.directory.load() }
    }

    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Looks up the lanes; returns those found.
    pub(super) fn lookup(&self, columns: &[&Column], lanes: u64, sink: &mut Sink<'_>) -> u64 {
        let pin = pin();
        let directory = self.directory(&pin);
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
            let page = directory.page(directory.slot(hashes[lane]), &pin);
            prefetch(&page.buckets[page::bucket_of(hashes[lane], BUCKET_BITS)]);
            prefetch(&page.rows);
        }
        let mut pages: [Option<&Page>; LANES] = [None; LANES];
        let mut same = [0u16; LANES];
        let mut maybe = 0u64;
        for lane in Lanes(lanes) {
            let page = directory.page(directory.slot(hashes[lane]), &pin);
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
        let pin = pin();
        let directory = self.directory(&pin);
        let hash = self.hasher.words(key);
        let page = directory.page(directory.slot(hash), &pin);
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
        self.garbage().collect_some(&self.slots);
        let pin = pin();
        let hash = self.hasher.words(key);
        let directory = self.directory(&pin);
        let page = directory.page(directory.slot(hash), &pin);
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
                    self.take_out(hash, bucket, at, &pin);
                }
            }
            Edit::Put { tail, expires_ns } => {
                if let Some((bucket, at)) = place {
                    self.take_out(hash, bucket, at, &pin);
                } else if !promised && self.is_full() {
                    self.make_room(&mut writer, now_ns, &pin)?;
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
                    &pin,
                );
            }
        }
        Ok(())
    }

    /// Swaps a page in for the one at `slot`, which is freed when its readers are gone.
    fn install(&self, directory: &Directory, slot: usize, depth: u32, page: Page) {
        let old = directory.pages[slot].load();
        let new = leak(page);
        for link in &directory.pages[directory.block(slot, depth)] {
            link.store(new);
        }
        // SAFETY: all links that led to `old` (the block of its depth) were overwritten above under the
        // writer's lock, so it is out of reach, and only this writer retires it.
        unsafe { self.garbage().page(old) };
    }

    fn take_out(&self, hash: u64, bucket: usize, at: usize, pin: &Pin) {
        let directory = self.directory(pin);
        let slot = directory.slot(hash);
        let page = directory.page(slot, pin);
        let index = page::start(&page.buckets[bucket]) + at;
        let freed = self.layout.slot(page.tail(self.geometry, index));
        self.without(directory, slot, &[(bucket, at)], pin);
        self.free_later(&[freed]);
    }

    /// Takes entries of one page out; those of one bucket from the last to the first.
    fn without(&self, directory: &Directory, slot: usize, gone: &[(usize, usize)], pin: &Pin) {
        let page = directory.page(slot, pin);
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
        self.install(directory, slot, page.depth, copy);
    }

    fn put_in(&self, entry: Entry<'_>, expires_ns: u64, pin: &Pin) {
        let bucket = page::bucket_of(entry.hash, BUCKET_BITS);
        let mut directory = self.directory(pin);
        while page::count(&directory.page(directory.slot(entry.hash), pin).buckets[bucket])
            == BUCKET
        {
            self.split(entry.hash, pin);
            directory = self.directory(pin);
        }
        let slot = directory.slot(entry.hash);
        let page = directory.page(slot, pin);
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
        self.install(directory, slot, page.depth, copy);
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
    fn split(&self, hash: u64, pin: &Pin) {
        let mut directory = self.directory(pin);
        let old = directory.pages[directory.slot(hash)].load();
        let page = directory.page(directory.slot(hash), pin);
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
            self.double(directory);
            directory = self.directory(pin);
        }
        let mut slot = directory.block(directory.slot(hash), page.depth).start;
        for page in pages {
            let size = 1 << (directory.depth - page.depth);
            let new = leak(page);
            for link in &directory.pages[slot..slot + size] {
                link.store(new);
            }
            slot += size;
        }
        // SAFETY: the pages stored above cover the whole block of `old` in the current directory; readers
        // of directories before it began before this mark. Only the writer, whose lock is held, retires.
        unsafe { self.garbage().page(old) };
    }

    fn double(&self, directory: &Directory) {
        let pages = directory
            .pages
            .iter()
            .flat_map(|entry| {
                let page = entry.load();
                [Link::new(page), Link::new(page)]
            })
            .collect();
        self.replace_directory(Directory {
            depth: directory.depth + 1,
            pages,
        });
    }

    fn replace_directory(&self, directory: Directory) {
        let old = self.directory.load();
        self.directory.store(leak(directory));
        // SAFETY: `directory` was the only link to `old`, and the writer's lock is held; a directory does
        // not own its pages.
        unsafe { self.garbage().directory(old) };
    }

    /// Gives slots back when no reader can have found them.
    fn free_later(&self, freed: &[u32]) {
        let freed: Vec<u32> = freed.iter().copied().filter(|&slot| slot != 0).collect();
        self.garbage().slots(freed);
    }

    /// All elements: key, tail, expiry. Elements that come or go meanwhile may or may not be among
    /// them; every other one is, once.
    pub(super) fn for_each(&self, each: &mut EachEntry<'_>) {
        let pin = pin();
        let directory = self.directory(&pin);
        // The prefix of the hash that has been listed: pages may split and merge under our eyes.
        let mut slot = 0;
        while slot < directory.pages.len() {
            let page = directory.page(slot, &pin);
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
        let pin = pin();
        let directory = self.directory(&pin);
        let pages: usize = distinct(directory)
            .into_iter()
            .map(|page| {
                // SAFETY: as in `Directory::page`.
                let page = unsafe { &*page };
                size_of::<Page>() + page.rows.len() * 4 + page.expires.len() * 8
            })
            .sum();
        size_of::<Self>() + directory.pages.len() * 8 + pages + self.garbage().memory()
    }
}

/// Every page of a directory once.
fn distinct(directory: &Directory) -> Vec<*mut Page> {
    let mut pages: Vec<*mut Page> = directory.pages.iter().map(Link::load).collect();
    pages.dedup();
    pages
}

impl Drop for Dynamic {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: no reader or writer is left, so nothing needs a pin; each page and the
        // directory were leaked, are owned by this table alone and listed once.
        unsafe {
            let directory = Box::from_raw(self.directory.load());
            for page in distinct(&directory) {
                drop(Box::from_raw(page));
            }
        }
    }
}
