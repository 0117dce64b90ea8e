//! The daemon's allocator with a count for each thread: how the suites know that the packet path
//! does not allocate.
#![allow(unsafe_code)] // an allocator is an unsafe trait; every call goes on to the daemon's

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

use mimalloc::MiMalloc;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has asked for memory since it began.
pub(crate) fn of_this_thread() -> u64 {
    COUNT.try_with(Cell::get).unwrap_or(0)
}

fn count() {
    // A thread that is ending has no count any more, and nobody asks for it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

/// Counts, and asks the daemon's.
#[derive(Debug)]
pub(crate) struct Counting;

// SAFETY: every method hands its arguments unchanged to the daemon's allocator, which keeps the
// contract; the count itself never allocates (a constant in the thread's own memory).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`; the memory came from `MiMalloc`.
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`; the memory came from `MiMalloc`.
        unsafe { MiMalloc.realloc(memory, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_allocates_is_counted() {
        let before = of_this_thread();
        let mut list = std::hint::black_box(Vec::<u8>::with_capacity(16));
        list.resize(64, 1);
        assert_eq!(of_this_thread() - before, 2);
        assert_eq!(std::hint::black_box(&list).len(), 64);
    }
}
