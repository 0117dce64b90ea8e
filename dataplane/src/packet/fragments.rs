//! Fragments: gathered until their datagram is whole, judged as one packet, sent on as they came.
//!
//! A fragment is copied and parked. When the last one that was missing comes, its frame is replaced by the
//! whole datagram, so that rules and tracker see ports and one packet; when that has passed, the
//! fragments leave with their original boundaries and with what was written to the datagram
//! ([`Fragments::release`]). Nothing of a datagram passes before it has been judged, and nothing of one
//! that was dropped.
//!
//! * Fragments belong together by addresses, identification, protocol (IPv4), port in, domain and zone.
//! * Two fragments that overlap drop the datagram, and what comes later of it (RFC 5722); the same
//!   fragment again is dropped alone. A fragment of IPv6 that is a whole datagram is not gathered (RFC 6946).
//! * The first fragment must hold the transport header, and all headers before it (RFC 7112).
//! * Memory, datagrams and fragments of a datagram are bounded; where memory is short the oldest
//!   datagram goes. A datagram has 30 s (IPv4) or 60 s (IPv6) to become whole.
//!
//! Each worker gathers by itself. The fanout of ports by hash sends all fragments of a datagram to
//! the same worker: for fragments, the first one too, the kernel's hash is of the addresses only.

mod header;
mod release;
mod store;
mod table;

use self::header::Piece;
use self::store::Store;
use self::table::Table;
use super::frame::Frame;
use super::headers::{Headers, flag};
use super::pool::FramePool;
use crate::drop_reason::DropReason;

/// What bounds the gathering of one worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of parked fragments.
    pub memory_bytes: usize,
    /// Datagrams at a time.
    pub datagrams: usize,
    /// How long an IPv4 datagram may take to become whole.
    pub ipv4_ns: u64,
    /// How long an IPv6 datagram may take to become whole.
    pub ipv6_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 20,
            datagrams: 4096,
            ipv4_ns: 30_000_000_000,
            ipv6_ns: 60_000_000_000,
        }
    }
}

/// Most fragments of a datagram: 64 KiB in pieces of 512 bytes.
pub const MOST_PIECES: usize = 128;

/// Where a fragment came by, beside its own headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Forwarding domain.
    pub domain: u16,
    /// Zone.
    pub zone: u16,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is no fragment (or one that is a whole datagram): it goes on.
    Passes,
    /// It is parked: its lane ends here, without a drop.
    Parked,
    /// It was the last: the frame is now the whole datagram, to be dissected again.
    Whole,
    /// It is dropped.
    Dropped(DropReason),
}

/// The fragments of one worker.
#[derive(Debug)]
pub struct Fragments {
    limits: Limits,
    table: Table,
    store: Store,
    /// Datagrams under judgement, by lane.
    judged: Vec<(usize, Datagram)>,
    lost: [u64; DropReason::COUNT],
    any_lost: bool,
}

/// One parked fragment: a copy of its frame, and which bytes of the datagram it has.
#[derive(Debug)]
struct Parked {
    memory: Box<[u8]>,
    piece: Piece,
}

/// A datagram whose fragments are being gathered.
#[derive(Debug, Default)]
struct Datagram {
    /// In the order in which they came.
    parked: Vec<Parked>,
    /// Bytes of payload that have come.
    have: usize,
    /// Bytes of payload in all, known from the last fragment.
    total: Option<usize>,
    /// What it was given up for: what comes later goes the same way.
    dead: Option<DropReason>,
}

impl Fragments {
    /// No fragments; `seed` makes it unknowable which datagrams meet in a bucket.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            table: Table::new(limits.datagrams, seed),
            store: Store::new(limits.memory_bytes),
            judged: Vec::new(),
            lost: [0; DropReason::COUNT],
            any_lost: false,
        }
    }

    /// Takes a frame that may be a fragment. `headers` are its own; those of a frame that becomes whole
    /// have to be dissected again.
    pub fn take(
        &mut self,
        lane: usize,
        frame: &mut Frame<'_>,
        headers: &Headers,
        place: Place,
        now_ns: u64,
        pool: &mut FramePool,
    ) -> Arrival {
        if !headers.has(flag::FRAGMENT) {
            return Arrival::Passes;
        }
        let (key, piece) = match header::read(frame, headers, place) {
            Ok(Some(found)) => found,
            Ok(None) => return Arrival::Passes,
            Err(reason) => return Arrival::Dropped(reason),
        };
        let span = if piece.is_ipv6() {
            self.limits.ipv6_ns
        } else {
            self.limits.ipv4_ns
        };
        let Some(slot) = self.find(&key, now_ns.saturating_add(span), piece.is_ipv6()) else {
            return Arrival::Dropped(DropReason::FragmentMemory);
        };
        match self.table.get(slot).place(&piece) {
            Ok(()) => {}
            Err(DropReason::FragmentDuplicate) => {
                return Arrival::Dropped(DropReason::FragmentDuplicate);
            }
            Err(reason) => {
                self.give_up(slot, reason);
                return Arrival::Dropped(reason);
            }
        }
        let Some(memory) = self.park(frame.bytes(), slot) else {
            self.give_up(slot, DropReason::FragmentMemory);
            return Arrival::Dropped(DropReason::FragmentMemory);
        };
        let parked = Parked { memory, piece };
        if !self.table.get_mut(slot).add(parked) {
            return Arrival::Parked;
        }
        let datagram = self.table.remove(slot);
        self.join(lane, frame, datagram, pool)
    }

    /// The datagram of a key; a new one when there is none. Makes room by giving up the oldest.
    fn find(&mut self, key: &table::Key, deadline_ns: u64, ipv6: bool) -> Option<u32> {
        if let Some(slot) = self.table.find(key) {
            return Some(slot);
        }
        if self.table.is_full() {
            let oldest = self.table.oldest()?;
            self.end(oldest, DropReason::FragmentMemory);
        }
        self.table.insert(key, deadline_ns, ipv6)
    }

    /// A copy of a fragment, for which older datagrams than its own are given up if need be.
    fn park(&mut self, bytes: &[u8], own: u32) -> Option<Box<[u8]>> {
        loop {
            if let Some(memory) = self.store.copy(bytes) {
                return Some(memory);
            }
            let oldest = self.table.oldest_but(own)?;
            self.end(oldest, DropReason::FragmentMemory);
        }
    }

    /// Replaces a frame by the whole datagram.
    fn join(
        &mut self,
        lane: usize,
        frame: &mut Frame<'_>,
        datagram: Datagram,
        pool: &mut FramePool,
    ) -> Arrival {
        match release::join(&datagram, frame, pool) {
            Ok(()) => {
                self.judged.push((lane, datagram));
                Arrival::Whole
            }
            Err(reason) => {
                // The frame at hand is counted by the caller, those before it here.
                self.lose(reason, datagram.parked.len() as u64 - 1);
                self.free(datagram);
                Arrival::Dropped(reason)
            }
        }
    }

    /// Hands out the fragments of the datagram that a lane has brought through, with what was written
    /// to it. Yields `false` when the lane holds no datagram: then its frame leaves as it is.
    pub fn release<'p>(
        &mut self,
        lane: usize,
        whole: &Frame<'_>,
        pool: &mut FramePool,
        mut emit: impl FnMut(Frame<'p>),
    ) -> bool {
        let Some(datagram) = self.take_judged(lane) else {
            return false;
        };
        release::cut(&datagram, whole, pool, &mut emit);
        self.free(datagram);
        true
    }

    /// Forgets the datagram of a lane that has come to its end without a drop.
    pub fn finish(&mut self, lane: usize) {
        if let Some(datagram) = self.take_judged(lane) {
            self.free(datagram);
        }
    }

    /// The largest fragment of the datagram that a lane holds, in bytes from the IP header on.
    pub fn largest(&self, lane: usize) -> Option<u32> {
        let (_, datagram) = self.judged.iter().find(|(judged, _)| *judged == lane)?;
        let size = |parked: &Parked| {
            let piece = &parked.piece;
            (piece.payload + piece.len - piece.network) as u32
        };
        datagram.parked.iter().map(size).max()
    }

    /// Forgets the datagram of a lane that was dropped for `reason`. Its own frame is counted by whoever
    /// dropped it, the other fragments here.
    pub fn forget(&mut self, lane: usize, reason: DropReason) -> bool {
        let Some(datagram) = self.take_judged(lane) else {
            return false;
        };
        self.lose(reason, datagram.parked.len() as u64 - 1);
        self.free(datagram);
        true
    }

    fn take_judged(&mut self, lane: usize) -> Option<Datagram> {
        let place = self.judged.iter().position(|(judged, _)| *judged == lane)?;
        Some(self.judged.swap_remove(place).1)
    }

    /// Gives up datagrams whose time is over.
    pub fn expire(&mut self, now_ns: u64) {
        while let Some(slot) = self.table.due(now_ns) {
            self.end(slot, DropReason::FragmentTimeout);
        }
    }

    /// Drops what has come of a datagram and keeps its key, so that what comes later is dropped, too.
    fn give_up(&mut self, slot: u32, reason: DropReason) {
        let datagram = std::mem::take(self.table.get_mut(slot));
        self.lose(reason, datagram.parked.len() as u64);
        self.table.get_mut(slot).dead = Some(reason);
        self.free(datagram);
    }

    /// Drops what has come of a datagram and forgets it.
    fn end(&mut self, slot: u32, reason: DropReason) {
        let datagram = self.table.remove(slot);
        self.lose(reason, datagram.parked.len() as u64);
        self.free(datagram);
    }

    fn free(&mut self, mut datagram: Datagram) {
        for parked in datagram.parked.drain(..) {
            self.store.give(parked.memory);
        }
        self.table.give(datagram.parked);
    }

    fn lose(&mut self, reason: DropReason, frames: u64) {
        self.lost[reason as usize] += frames;
        self.any_lost |= frames != 0;
    }

    /// How many parked frames were dropped, and why; each is told once.
    pub fn take_lost(&mut self) -> Option<(DropReason, u64)> {
        if !self.any_lost {
            return None;
        }
        for (number, lost) in self.lost.iter_mut().enumerate() {
            if *lost != 0 {
                let reason = DropReason::ALL.get(number).copied()?;
                return Some((reason, std::mem::take(lost)));
            }
        }
        self.any_lost = false;
        None
    }

    /// Datagrams that are being gathered, or were given up a short while ago.
    pub fn datagrams(&self) -> usize {
        self.table.len()
    }

    /// Bytes of parked fragments.
    pub fn memory_bytes(&self) -> usize {
        self.store.used()
    }
}

impl Datagram {
    /// Whether a piece fits what has come.
    fn place(&self, piece: &Piece) -> Result<(), DropReason> {
        if let Some(reason) = self.dead {
            return Err(reason);
        }
        let end = piece.offset + piece.len;
        for parked in &self.parked {
            let other = &parked.piece;
            if (piece.offset, piece.len) == (other.offset, other.len) {
                return Err(DropReason::FragmentDuplicate);
            }
            if piece.offset < other.offset + other.len && other.offset < end {
                return Err(DropReason::FragmentOverlap);
            }
        }
        let beyond = match self.total {
            Some(total) => end > total || !piece.more,
            None => !piece.more && self.parked.iter().any(|p| p.piece.offset > piece.offset),
        };
        if beyond {
            return Err(DropReason::FragmentBad);
        }
        if self.parked.len() == MOST_PIECES {
            return Err(DropReason::FragmentMany);
        }
        Ok(())
    }

    /// Adds a piece that fits; yields whether the datagram is whole.
    fn add(&mut self, parked: Parked) -> bool {
        let piece = &parked.piece;
        self.have += piece.len;
        if !piece.more {
            self.total = Some(piece.offset + piece.len);
        }
        self.parked.push(parked);
        self.total == Some(self.have)
    }

    /// The fragment that has the transport header.
    fn first(&self) -> Option<&Parked> {
        self.parked.iter().find(|parked| parked.piece.offset == 0)
    }
}

#[cfg(test)]
#[path = "fragments_tests.rs"]
mod tests;
