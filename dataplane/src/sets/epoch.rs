//! When memory that readers may still look at can be freed.
//!
//! A reader takes a [`Reader`] (a seat) once, and notes in it the time at which it begins to read, once a
//! batch; so beginning costs one store and one fence, and nothing that another thread writes. A writer
//! takes memory out of reach, asks for a [mark](Domain::mark), and keeps the memory with it; it may be
//! freed once every reader that began before the mark has ended: [`Domain::oldest`] is later. Readers
//! free nothing: neither time nor cache of the packet path goes into it.
//!
//! Invariant: memory that was out of reach before `mark` was given is not reached by a reader that began
//! at a time later than the mark. A reader that has seen that time has, by acquiring it, seen what the
//! writer did before; one whose seat the writer did not see, because it was noted later, has its loads
//! behind the writer's stores (a fence on both sides).
//!
//! Checked by loom, through all interleavings of small cases: `dataplane/loom`.

#[cfg(loom)]
use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering, fence},
};
#[cfg(not(loom))]
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering, fence},
};

/// Since when somebody reads; alone on its cache lines, because its reader writes it all the time.
#[derive(Debug)]
#[repr(align(128))]
struct Seat(AtomicU64);

/// Nobody reads.
const IDLE: u64 = 0;

/// Readers and writers that share memory.
#[derive(Debug)]
pub(crate) struct Domain {
    now: AtomicU64,
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// A seat of one thread.
#[derive(Debug)]
pub(crate) struct Reader(Arc<Seat>);

impl Domain {
    /// Without readers.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            now: AtomicU64::new(IDLE + 1),
            seats: Mutex::new(Vec::new()),
        }
    }

    /// Without readers.
    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            now: AtomicU64::new(IDLE + 1),
            seats: Mutex::new(Vec::new()),
        }
    }

    /// A seat for a thread that will read; one that was left is given again.
    pub(crate) fn reader(&self) -> Reader {
        let mut seats = match self.seats.lock() {
            Ok(seats) => seats,
            // Nothing that could panic runs under this lock.
            Err(poisoned) => poisoned.into_inner(),
        };
        if let Some(left) = seats.iter().find(|seat| Arc::strong_count(seat) == 1) {
            return Reader(Arc::clone(left));
        }
        let seat = Arc::new(Seat(AtomicU64::new(IDLE)));
        seats.push(Arc::clone(&seat));
        Reader(seat)
    }

    /// From now on the reader reads. Not to be called again before [`leave`](Self::leave).
    #[inline]
    pub(crate) fn enter(&self, reader: &Reader) {
        let now = self.now.load(Ordering::Acquire);
        // Release: who sees this has seen the end of what the reader read before.
        reader.0.0.store(now, Ordering::Release);
        fence(Ordering::SeqCst);
    }

    /// The reader has ended.
    #[inline]
    pub(crate) fn leave(&self, reader: &Reader) {
        reader.0.0.store(IDLE, Ordering::Release);
    }

    /// The mark of memory that has just been taken out of reach.
    pub(crate) fn mark(&self) -> u64 {
        fence(Ordering::SeqCst);
        self.now.fetch_add(1, Ordering::AcqRel)
    }

    /// Memory with an earlier mark than this has no reader.
    pub(crate) fn oldest(&self) -> u64 {
        fence(Ordering::SeqCst);
        let seats = match self.seats.lock() {
            Ok(seats) => seats,
            Err(poisoned) => poisoned.into_inner(),
        };
        let times = seats.iter().map(|seat| seat.0.load(Ordering::Acquire));
        times
            .filter(|&since| since != IDLE)
            .min()
            .unwrap_or(u64::MAX)
    }
}

#[cfg(not(loom))]
pub(super) use thread::{Pin, mark, oldest, pin};

#[cfg(not(loom))]
mod thread {
    use std::cell::Cell;
    use std::marker::PhantomData;

    use super::{Domain, Reader};

    static DOMAIN: Domain = Domain::new();

    struct Own {
        reader: Reader,
        depth: Cell<u32>,
    }

    thread_local! {
        static OWN: Own = Own {
            reader: DOMAIN.reader(),
            depth: Cell::new(0),
        };
    }

    /// What this thread reaches meanwhile is not freed. Stays with its thread.
    #[derive(Debug)]
    pub(in crate::sets) struct Pin(PhantomData<*const ()>);

    /// Begins to read, or goes on with it.
    #[inline]
    pub(in crate::sets) fn pin() -> Pin {
        OWN.with(|own| {
            let depth = own.depth.get();
            if depth == 0 {
                DOMAIN.enter(&own.reader);
            }
            own.depth.set(depth + 1);
        });
        Pin(PhantomData)
    }

    impl Drop for Pin {
        #[inline]
        fn drop(&mut self) {
            OWN.with(|own| {
                let depth = own.depth.get() - 1;
                own.depth.set(depth);
                if depth == 0 {
                    DOMAIN.leave(&own.reader);
                }
            });
        }
    }

    /// See [`Domain::mark`].
    pub(in crate::sets) fn mark() -> u64 {
        DOMAIN.mark()
    }

    /// See [`Domain::oldest`].
    pub(in crate::sets) fn oldest() -> u64 {
        DOMAIN.oldest()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_was_marked_while_somebody_read_waits_for_its_end() {
            // Other tests of this process read too, so only what must not be is asserted at once.
            let outer = pin();
            let inner = pin();
            let marked = mark();
            drop(inner);
            assert!(oldest() <= marked, "the outer pin still reads");
            drop(outer);
            let behind = std::thread::spawn(move || {
                let _pin = pin();
                mark() > marked
            });
            assert!(behind.join().unwrap());
            // Every pin of this moment ends some time.
            while oldest() <= marked {
                std::thread::yield_now();
            }
        }

        #[test]
        fn a_seat_that_was_left_is_given_again() {
            let domain = Domain::new();
            let (one, two) = (domain.reader(), domain.reader());
            assert_eq!(domain.seats.lock().unwrap().len(), 2);
            drop(one);
            let _three = domain.reader();
            assert_eq!(domain.seats.lock().unwrap().len(), 2);
            domain.enter(&two);
            let mark = domain.mark();
            assert!(domain.oldest() <= mark);
            domain.leave(&two);
            assert_eq!(domain.oldest(), u64::MAX);
        }
    }
}
