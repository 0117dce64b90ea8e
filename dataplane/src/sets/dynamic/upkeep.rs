//! Giving memory back: sweeping, merging pages, eviction, flushing.
#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use super::garbage::{Link, leak};
use super::pages::{BUCKETS, Directory, Page};
use super::{Dynamic, LAST_RESORT_PAGES, Writer, distinct};
use crate::sets::epoch::{Pin, pin};
use crate::sets::error::SetError;
use crate::sets::hashing::split_mix;
use crate::sets::page;

impl Dynamic {
    /// Takes the expired entries of the page at `slot` out; returns how many.
    fn sweep_page(&self, slot: usize, now_ns: u64, pin: &Pin) -> usize {
        let directory = self.directory(pin);
        let page = directory.page(slot, pin);
        let mut gone = Vec::new();
        let mut freed = Vec::new();
        for (bucket, line) in page.buckets.iter().enumerate() {
            for at in (0..page::count(line)).rev() {
                let index = page::start(line) + at;
                if page.expires(index) <= now_ns {
                    gone.push((bucket, at));
                    freed.push(self.layout.slot(page.tail(self.geometry, index)));
                }
            }
        }
        if !gone.is_empty() {
            self.without(directory, slot, &gone, pin);
            self.free_later(&freed);
        }
        gone.len()
    }

    /// Frees what waited for its last reader.
    pub(in crate::sets) fn reclaim(&self) {
        let _writer = self.lock();
        self.garbage().collect(&self.slots);
    }

    /// Looks at about `budget` elements and gives back the memory of those that have expired. Returns
    /// how many they were.
    pub(in crate::sets) fn sweep(&self, now_ns: u64, budget: usize) -> usize {
        if self.layout.timed.is_none() {
            return 0;
        }
        let mut seen = 0;
        let mut gone = 0;
        while seen < budget {
            // The lock is held for one page at a time, so that packets that add wait that long at most.
            let mut writer = self.lock();
            let pin = pin();
            let directory = self.directory(&pin);
            let slot = writer.cursor % directory.pages.len();
            let page = directory.page(slot, &pin);
            seen += page::entries(&page.buckets) + 1;
            let next = directory.block(slot, page.depth).end;
            gone += self.sweep_page(slot, now_ns, &pin);
            self.merge(slot, &pin);
            writer.cursor = next;
            if next >= directory.pages.len() {
                writer.cursor = 0;
                self.halve(&pin);
                break;
            }
        }
        gone
    }

    /// Merges a page with its buddy if both together are small.
    fn merge(&self, slot: usize, pin: &Pin) {
        let directory = self.directory(pin);
        let page = directory.page(slot, pin);
        if page.depth == 0 {
            return;
        }
        let block = directory.block(slot, page.depth);
        let other = directory.block(block.start ^ block.len(), page.depth).start;
        let buddy = directory.page(other, pin);
        let total = page::entries(&page.buckets) + page::entries(&buddy.buckets);
        if buddy.depth != page.depth || total > BUCKETS * 4 {
            return;
        }
        let [mut entries, more] = [self.entries(page), self.entries(buddy)];
        entries.extend(more);
        let mut pages = Vec::new();
        Page::of(
            self.geometry,
            page.depth - 1,
            &entries,
            self.layout.timed.is_some(),
            &mut pages,
        );
        let Ok([merged]) = <[Page; 1]>::try_from(pages) else {
            return;
        };
        let left = directory.pages[slot].load();
        let right = directory.pages[other].load();
        let new = leak(merged);
        for link in &directory.pages[directory.block(slot, page.depth - 1)] {
            link.store(new);
        }
        for old in [left, right] {
            // SAFETY: the block of depth - 1 holds every link that led to either page, all overwritten
            // above under the writer's lock.
            unsafe { self.garbage().page(old) };
        }
    }

    /// Halves the directory as long as no page needs its whole depth.
    fn halve(&self, pin: &Pin) {
        loop {
            let directory = self.directory(pin);
            let deep = (0..directory.pages.len())
                .any(|slot| directory.page(slot, pin).depth == directory.depth);
            if directory.depth == 0 || deep {
                return;
            }
            let pages = directory
                .pages
                .iter()
                .step_by(2)
                .map(|entry| Link::new(entry.load()))
                .collect();
            self.replace_directory(Directory {
                depth: directory.depth - 1,
                pages,
            });
        }
    }

    /// Room in a full table: expired elements go first, then, with `forceadd`, a random one.
    pub(super) fn make_room(
        &self,
        writer: &mut Writer,
        now_ns: u64,
        pin: &Pin,
    ) -> Result<(), SetError> {
        if self.layout.timed.is_some() {
            for _ in 0..LAST_RESORT_PAGES {
                let directory = self.directory(pin);
                let slot = writer.cursor % directory.pages.len();
                writer.cursor = directory.block(slot, directory.page(slot, pin).depth).end;
                if self.sweep_page(slot, now_ns, pin) > 0 && !self.is_full() {
                    return Ok(());
                }
            }
        }
        if !self.forceadd || self.len() == 0 {
            return Err(SetError::Full);
        }
        writer.chance ^= now_ns;
        let directory = self.directory(pin);
        let mut slot = split_mix(&mut writer.chance) as usize % directory.pages.len();
        while page::entries(&directory.page(slot, pin).buckets) == 0 {
            slot = (slot + 1) % directory.pages.len();
        }
        let page = directory.page(slot, pin);
        let mut victim = split_mix(&mut writer.chance) as usize % page::entries(&page.buckets);
        for (bucket, line) in page.buckets.iter().enumerate() {
            if victim < page::count(line) {
                let freed = self
                    .layout
                    .slot(page.tail(self.geometry, page::start(line) + victim));
                self.without(directory, slot, &[(bucket, victim)], pin);
                self.free_later(&[freed]);
                return Ok(());
            }
            victim -= page::count(line);
        }
        Err(SetError::Full)
    }

    /// Takes everything out at once.
    pub(in crate::sets) fn flush(&self) {
        let _writer = self.lock();
        let pin = pin();
        let old = self.directory(&pin);
        let mut freed = Vec::new();
        let mut slot = 0;
        let empty = Directory {
            depth: 0,
            pages: Box::new([Link::new(leak(Page::empty(0)))]),
        };
        let pages = distinct(old);
        while slot < old.pages.len() {
            let page = old.page(slot, &pin);
            freed.extend(
                (0..page::entries(&page.buckets))
                    .map(|at| self.layout.slot(page.tail(self.geometry, at))),
            );
            slot = old.block(slot, page.depth).end;
        }
        self.replace_directory(empty);
        self.len.store(0, Ordering::Relaxed);
        for page in pages {
            // SAFETY: the only directory that led to these pages has been replaced, each page is listed
            // once, and only the writer, whose lock is held, retires pages.
            unsafe { self.garbage().page(page) };
        }
        self.free_later(&freed);
    }
}
