//! The publishing core of the sets (`dataplane/src/sets/epoch.rs`, the same file) under loom.
//!
//! Loom runs each case through all interleavings and all values that the memory model lets a load see,
//! and complains about any access to a cell that is not ordered behind the one before. Freeing is a
//! write to a cell, reading is a read: so memory that is freed under a reader is found, whether or not
//! a machine would ever do it. What it cannot show: cases larger than these, with more threads or
//! steps.
#![cfg(test)]

#[path = "../../src/sets/epoch.rs"]
mod epoch;

use epoch::{Domain, Reader};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// Memory that was freed.
const FREED: u32 = 0;

/// Some places of memory, and a link to one of them.
struct Heap {
    places: [UnsafeCell<u32>; 3],
    link: AtomicUsize,
}

impl Heap {
    fn new() -> Self {
        Self {
            places: [1, 2, 3].map(UnsafeCell::new),
            link: AtomicUsize::new(0),
        }
    }

    /// What the link leads to.
    fn read(&self) -> u32 {
        let place = self.link.load(Ordering::Acquire);
        // SAFETY: loom checks that no write is concurrent; that is what the cases are about.
        self.places[place].with(|value| unsafe { *value })
    }

    fn write(&self, place: usize, value: u32) {
        // SAFETY: as above.
        self.places[place].with_mut(|to| unsafe { *to = value });
    }

    fn publish(&self, place: usize) {
        self.link.store(place, Ordering::Release);
    }
}

fn read(domain: &Domain, reader: &Reader, heap: &Heap) {
    domain.enter(reader);
    assert_ne!(heap.read(), FREED);
    domain.leave(reader);
}

fn case(check: impl Fn(&Arc<Domain>, &Arc<Heap>) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    // More preemptions find nothing new in cases of this size, and take minutes.
    model.preemption_bound.get_or_insert(3);
    model.check(move || check(&Arc::new(Domain::new()), &Arc::new(Heap::new())));
}

#[test]
fn memory_is_freed_only_behind_its_readers() {
    case(|domain, heap| {
        let reading = {
            let (domain, heap, reader) = (domain.clone(), heap.clone(), domain.reader());
            thread::spawn(move || {
                read(&domain, &reader, &heap);
                read(&domain, &reader, &heap);
            })
        };
        heap.publish(1);
        let mark = domain.mark();
        if mark < domain.oldest() {
            heap.write(0, FREED);
        }
        reading.join().unwrap();
        assert!(mark < domain.oldest(), "without readers all can go");
    });
}

#[test]
fn a_place_can_be_taken_again_for_something_else() {
    case(|domain, heap| {
        let reading = {
            let (domain, heap, reader) = (domain.clone(), heap.clone(), domain.reader());
            thread::spawn(move || {
                read(&domain, &reader, &heap);
                read(&domain, &reader, &heap);
            })
        };
        heap.publish(1);
        let first = domain.mark();
        // The place of the first goes back into use behind the same link, if nobody reads it.
        if first < domain.oldest() {
            heap.write(0, 7);
            heap.publish(0);
            let second = domain.mark();
            if second < domain.oldest() {
                heap.write(1, FREED);
            }
        }
        reading.join().unwrap();
    });
}

#[test]
fn two_readers_hold_it_both() {
    case(|domain, heap| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (domain, heap, reader) = (domain.clone(), heap.clone(), domain.reader());
                thread::spawn(move || read(&domain, &reader, &heap))
            })
            .collect();
        heap.publish(1);
        let mark = domain.mark();
        if mark < domain.oldest() {
            heap.write(0, FREED);
        }
        for reading in readers {
            reading.join().unwrap();
        }
    });
}

#[test]
fn a_reader_that_comes_meanwhile_is_seen_or_sees() {
    case(|domain, heap| {
        let reading = {
            let (domain, heap) = (domain.clone(), heap.clone());
            thread::spawn(move || {
                let reader = domain.reader();
                read(&domain, &reader, &heap);
            })
        };
        heap.publish(1);
        let mark = domain.mark();
        if mark < domain.oldest() {
            heap.write(0, FREED);
        }
        reading.join().unwrap();
    });
}

/// That the cases above can fail: the same without asking for readers.
#[test]
#[should_panic]
fn freeing_without_asking_is_found() {
    case(|domain, heap| {
        let reading = {
            let (domain, heap, reader) = (domain.clone(), heap.clone(), domain.reader());
            thread::spawn(move || read(&domain, &reader, &heap))
        };
        heap.publish(1);
        heap.write(0, FREED);
        reading.join().unwrap();
    });
}
