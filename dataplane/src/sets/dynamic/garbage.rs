//! Pages, directories and slots that are out of reach and wait for their last readers. Only the writer
//! frees them, a few with each of its changes, or the sweep.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicPtr, Ordering};

use super::pages::{Directory, Page};
use crate::sets::epoch;
use crate::sets::slots::Slots;

/// So many wait before a change looks whether some can go.
const PATIENCE: usize = 32;

/// A pointer that a writer exchanges under readers. Never null; who loads it dereferences it under a
/// pin only.
#[derive(Debug)]
pub(super) struct Link<T>(AtomicPtr<T>);

impl<T> Link<T> {
    pub(super) fn new(to: *mut T) -> Self {
        Self(AtomicPtr::new(to))
    }

    #[inline]
    pub(super) fn load(&self) -> *mut T {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn store(&self, to: *mut T) {
        self.0.store(to, Ordering::Release);
    }
}

/// A value on the heap that nobody owns until it is retired.
pub(super) fn leak<T>(value: T) -> *mut T {
    Box::into_raw(Box::new(value))
}

#[derive(Debug)]
enum Dead {
    Page(*mut Page),
    Directory(*mut Directory),
    Slots(Vec<u32>),
}

/// What waits, in the order of its marks.
#[derive(Debug, Default)]
pub(super) struct Garbage(VecDeque<(u64, Dead)>);

// SAFETY: the pointers are owned by this queue alone (see `page` and `directory`), and pages and
// directories may be dropped by any thread.
unsafe impl Send for Garbage {}

impl Garbage {
    fn push(&mut self, dead: Dead) {
        self.0.push_back((epoch::mark(), dead));
    }

    /// # Safety
    /// The page came from [`leak`], no link leads to it any more, and it is retired once.
    pub(super) unsafe fn page(&mut self, page: *mut Page) {
        self.push(Dead::Page(page));
    }

    /// # Safety
    /// As for [`page`](Self::page).
    pub(super) unsafe fn directory(&mut self, directory: *mut Directory) {
        self.push(Dead::Directory(directory));
    }

    /// Slots of elements that are out of reach.
    pub(super) fn slots(&mut self, freed: Vec<u32>) {
        if !freed.is_empty() {
            self.push(Dead::Slots(freed));
        }
    }

    /// Frees what has no reader, if there is enough to make it worth while.
    pub(super) fn collect_some(&mut self, slots: &Slots) {
        if self.0.len() >= PATIENCE {
            self.collect(slots);
        }
    }

    /// Frees what has no reader.
    pub(super) fn collect(&mut self, slots: &Slots) {
        if self.0.is_empty() {
            return;
        }
        let oldest = epoch::oldest();
        while self.0.front().is_some_and(|&(mark, _)| mark < oldest) {
            if let Some((_, dead)) = self.0.pop_front() {
                free(dead, slots);
            }
        }
    }

    /// Bytes that wait.
    pub(super) fn memory(&self) -> usize {
        self.0.capacity() * size_of::<(u64, Dead)>()
    }
}

fn free(dead: Dead, slots: &Slots) {
    match dead {
        // SAFETY: it came from `leak` and is retired once (contract of `page`), no link has led to it
        // since its mark, and every reader that began before the mark has ended.
        Dead::Page(page) => drop(unsafe { Box::from_raw(page) }),
        // SAFETY: as above.
        Dead::Directory(directory) => drop(unsafe { Box::from_raw(directory) }),
        Dead::Slots(freed) => slots.give_back(&freed),
    }
}

impl Drop for Garbage {
    fn drop(&mut self) {
        for (_, dead) in self.0.drain(..) {
            match dead {
                // SAFETY: as in `free`; the table that readers reached it by is being dropped, so there
                // is none.
                Dead::Page(page) => drop(unsafe { Box::from_raw(page) }),
                // SAFETY: as above.
                Dead::Directory(directory) => drop(unsafe { Box::from_raw(directory) }),
                // The slots go with the set.
                Dead::Slots(_) => {}
            }
        }
    }
}
