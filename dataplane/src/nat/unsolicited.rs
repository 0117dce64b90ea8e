//! First segments of TCP that the filtering of a binding refused (RFC 5382, REQ-4).
//!
//! Two hosts behind translators that open one connection at the same time send each other a SYN, and the
//! first to come meets a filter that has not heard of its sender. An answer at once would end the
//! attempt. So the segment ends here and its beginning is kept: when the inside sends a SYN to the same
//! endpoint within [`PATIENCE_NS`], nothing is ever said; otherwise the sender is told then that the port
//! cannot be reached.
//!
//! Limits: [`MOST`] segments of [`KEPT`] bytes wait at a time, whoever sent them; what comes beyond is
//! never answered. A segment that is sent again while its first copy waits, waits with it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrayvec::ArrayVec;

use crate::conntrack::tuple::Key;
use crate::conntrack::{Attached, Tuple};
use crate::packet::headers::Headers;
use crate::port::PortId;

/// How long a segment waits for its answer: at least six seconds.
pub const PATIENCE_NS: u64 = 6_000_000_000;
/// Segments that wait at a time.
pub const MOST: usize = 1024;
/// Bytes of a segment that are kept, from the Ethernet header on: the longest IPv4 and TCP headers.
pub const KEPT: usize = 134;

/// A segment that waits.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Its beginning, from the Ethernet header on.
    pub frame: ArrayVec<u8, KEPT>,
    /// Its layers; they may reach beyond what is kept.
    pub headers: Headers,
    /// The port that it came by.
    pub in_port: PortId,
    /// The flow that it would have begun.
    pub flow: Option<Attached>,
}

impl Segment {
    /// Keeps the beginning of a frame.
    pub fn of(frame: &[u8], headers: &Headers, in_port: PortId, flow: Option<Attached>) -> Self {
        Self {
            frame: frame.iter().copied().take(KEPT).collect(),
            headers: *headers,
            in_port,
            flow,
        }
    }
}

/// All segments that wait.
#[derive(Debug)]
pub struct Unsolicited {
    on: AtomicBool,
    /// How many wait; read without the lock.
    count: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// By tuple, each with its time.
    segments: HashMap<Key, (u64, Segment)>,
    /// Times and tuples, oldest first; also of those that have been taken back.
    order: VecDeque<(u64, Key)>,
}

impl Default for Unsolicited {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(true),
            count: AtomicUsize::new(0),
            waiting: Mutex::default(),
        }
    }
}

impl Unsolicited {
    /// Whether refused segments wait, or go on to the gateway's own host, which answers at once.
    pub fn set(&self, on: bool) {
        self.on.store(on, Relaxed);
    }

    /// Whether refused segments wait.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// Has a segment of this tuple wait; `false` when too many do.
    pub fn hold(&self, tuple: &Tuple, segment: Segment, now_ns: u64) -> bool {
        let mut waiting = self.locked();
        let key = tuple.key();
        if waiting.segments.contains_key(&key) {
            return true;
        }
        if waiting.order.len() >= MOST {
            return false;
        }
        let due_ns = now_ns.saturating_add(PATIENCE_NS);
        waiting.segments.insert(key, (due_ns, segment));
        waiting.order.push_back((due_ns, key));
        self.count.store(waiting.segments.len(), Relaxed);
        true
    }

    /// The inside opens a connection whose answers have this tuple: a segment of it that waits was the
    /// other half of a simultaneous open.
    #[inline]
    pub fn opened(&self, answers: &Tuple) {
        if self.count.load(Relaxed) != 0 {
            let mut waiting = self.locked();
            waiting.segments.remove(&answers.key());
            self.count.store(waiting.segments.len(), Relaxed);
        }
    }

    /// Takes the next segment that has waited long enough.
    pub fn take_due(&self, now_ns: u64) -> Option<Segment> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let mut waiting = self.locked();
        while let Some((due_ns, key)) = waiting.order.front().copied()
            && due_ns <= now_ns
        {
            waiting.order.pop_front();
            // Another time: that one was taken back, and this is a later segment of the tuple.
            if waiting
                .segments
                .get(&key)
                .is_some_and(|one| one.0 == due_ns)
            {
                let taken = waiting.segments.remove(&key);
                self.count.store(waiting.segments.len(), Relaxed);
                return taken.map(|(_, segment)| segment);
            }
        }
        None
    }

    fn locked(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(sport: u16) -> Tuple {
        Tuple {
            src: [1; 16],
            dst: [2; 16],
            sport,
            dport: 80,
            protocol: 6,
            l3: 2,
            zone: 0,
            domain: 0,
        }
    }

    fn segment(byte: u8) -> Segment {
        Segment::of(&[byte; 200], &Headers::default(), PortId(1), None)
    }

    fn first(taken: Option<Segment>) -> Option<u8> {
        taken.map(|segment| segment.frame[0])
    }

    #[test]
    fn a_segment_waits_six_seconds_once() {
        let all = Unsolicited::default();
        assert!(all.hold(&tuple(1), segment(1), 0));
        // Sent again: it waits with the first.
        assert!(all.hold(&tuple(1), segment(2), 3_000_000_000));
        assert!(all.hold(&tuple(2), segment(3), 3_000_000_000));
        assert_eq!(first(all.take_due(PATIENCE_NS - 1)), None);
        assert_eq!(first(all.take_due(PATIENCE_NS)), Some(1));
        assert_eq!(first(all.take_due(PATIENCE_NS)), None);
        assert_eq!(first(all.take_due(2 * PATIENCE_NS)), Some(3));
        // Its answer is given: the next one waits anew.
        assert!(all.hold(&tuple(1), segment(4), 2 * PATIENCE_NS));
        assert_eq!(first(all.take_due(3 * PATIENCE_NS)), Some(4));
    }

    #[test]
    fn what_the_inside_opens_too_is_not_answered() {
        let all = Unsolicited::default();
        assert!(all.hold(&tuple(1), segment(1), 0));
        all.opened(&tuple(2));
        all.opened(&tuple(1));
        assert_eq!(first(all.take_due(PATIENCE_NS)), None);
        // One that came after that, and before the first was due, has its own time.
        assert!(all.hold(&tuple(3), segment(3), 0));
        all.opened(&tuple(3));
        assert!(all.hold(&tuple(3), segment(4), 5));
        assert_eq!(first(all.take_due(PATIENCE_NS)), None);
        assert_eq!(first(all.take_due(PATIENCE_NS + 5)), Some(4));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let all = Unsolicited::default();
        for sport in 0..MOST as u16 {
            assert!(all.hold(&tuple(sport), segment(0), 0));
        }
        assert!(!all.hold(&tuple(9999), segment(0), 0));
        // Taking back does not make room before time: memory stays bounded whatever the inside does.
        all.opened(&tuple(0));
        assert!(!all.hold(&tuple(9999), segment(0), 0));
        let answered = std::iter::from_fn(|| all.take_due(PATIENCE_NS)).count();
        assert_eq!(answered, MOST - 1);
        assert!(all.hold(&tuple(9999), segment(0), PATIENCE_NS));
    }
}
