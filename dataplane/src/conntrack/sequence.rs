//! Sequence numbers of TCP that are shifted on their way: a payload has been lengthened or shortened (an
//! address in FTP that is translated), or the first number was chosen by somebody else (SYN proxy).
//!
//! Of each direction are kept a position and the [`Offsets`] before and behind it, as Linux does. What a host
//! sends is moved forward by the offsets of its own direction; what it acknowledges, selectively too, was
//! counted by the other host's receiver and is moved back by the offsets of the other direction. The
//! tracker judges windows before that, in the numbering of each segment's sender, so it moves
//! acknowledgements back itself (see [`Packet::acknowledged`](super::protocol::Packet)).
//!
//! Limits: one position is remembered, so a segment that is sent again from before the change before the
//! last gets a wrong number; and 2 GiB behind a change the numbers have come round to before it.

use std::sync::atomic::Ordering::Relaxed;

use super::entry::Entry;
use super::side::Side;
use super::state::{FlowIndex, status};
use super::worker::TrackerWorker;
use crate::packet::checksum::{fold, replace, sum};
use crate::packet::headers::{Headers, flag};
use crate::packet::options::tcp_header;
use crate::program::key::Direction;

/// How the numbers of one direction are shifted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// Number of the first octet of the segment whose length was changed last, as its sender counts.
    pub at: u32,
    /// Added to numbers up to `at`.
    pub before: i32,
    /// Added to numbers behind `at`.
    pub behind: i32,
}

impl Offsets {
    /// Nothing is shifted.
    pub const NONE: Self = Self::constant(0);

    /// The same shift everywhere.
    pub const fn constant(offset: i32) -> Self {
        Self {
            at: 0,
            before: offset,
            behind: offset,
        }
    }

    /// The number that the receiver sees for one of the sender's.
    #[inline]
    pub fn forward(self, number: u32) -> u32 {
        let offset = if after(number, self.at) {
            self.behind
        } else {
            self.before
        };
        number.wrapping_add_signed(offset)
    }

    /// The number that the sender meant with one that the receiver has seen.
    #[inline]
    pub fn back(self, number: u32) -> u32 {
        self.inverse().forward(number)
    }

    /// The offsets that undo these.
    #[inline]
    #[must_use]
    pub const fn inverse(self) -> Self {
        Self {
            at: self.at.wrapping_add_signed(self.before),
            before: self.before.wrapping_neg(),
            behind: self.behind.wrapping_neg(),
        }
    }

    /// As two words: what a side record holds.
    pub(super) fn words(self) -> [u64; 2] {
        let (before, behind) = (self.before as u32, self.behind as u32);
        [
            u64::from(self.at),
            u64::from(before) << 32 | u64::from(behind),
        ]
    }

    pub(super) fn from_words([at, both]: [u64; 2]) -> Self {
        Self {
            at: at as u32,
            before: (both >> 32) as i32,
            behind: both as i32,
        }
    }

    /// The offsets after the segment that begins at `at` has become longer by `delta` octets. A segment
    /// that is sent again has been counted already: what does not lie behind the last change changes
    /// nothing.
    #[must_use]
    pub fn with_change(self, at: u32, delta: i32) -> Self {
        if delta == 0 || self.before != self.behind && !after(at, self.at) {
            return self;
        }
        Self {
            at,
            before: self.behind,
            behind: self.behind.wrapping_add(delta),
        }
    }
}

/// Whether `a` comes after `b` among sequence numbers.
#[inline]
fn after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

const SEQUENCE: usize = 4;
const ACKNOWLEDGEMENT: usize = 8;
const FLAGS: usize = 13;
const CHECKSUM: usize = 16;
const OPTIONS: usize = 20;
const ACK: u8 = 0x10;

const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const SACK: u8 = 5;
const SACK_BLOCK: usize = 8;

/// Rewrites the numbers of a TCP segment: `own` are the offsets of the direction that it goes, `other` those
/// of the other one. A `partial` checksum holds the pseudo-header only, which does not change.
///
/// Yields `false`, and leaves the segment as it was, when it is no whole TCP header or its options are
/// broken: what it acknowledges cannot be told then. A later fragment has no numbers and passes.
pub fn adjust(
    bytes: &mut [u8],
    headers: &Headers,
    own: Offsets,
    other: Offsets,
    partial: bool,
) -> bool {
    if headers.has(flag::FRAGMENT) && !headers.has(flag::TRANSPORT) {
        return true;
    }
    let Some(found) = tcp_header(bytes, headers) else {
        return false;
    };
    let end = found.at + found.len;
    if end > headers.end as usize {
        return false;
    }
    let header = &mut bytes[found.at..end];
    if !has_whole_options(&header[OPTIONS..]) {
        return false;
    }
    let before = sum(header);
    rewrite(header, own, other);
    let after = sum(header);
    if !partial && before != after {
        let old = u16::from_be_bytes([header[CHECKSUM], header[CHECKSUM + 1]]);
        let new = replace(old, fold(before), fold(after));
        header[CHECKSUM..CHECKSUM + 2].copy_from_slice(&new.to_be_bytes());
    }
    true
}

fn rewrite(header: &mut [u8], own: Offsets, other: Offsets) {
    change(header, SEQUENCE, |number| own.forward(number));
    // Without ACK the field means nothing, and says nothing of the other side's numbers.
    if header[FLAGS] & ACK != 0 {
        change(header, ACKNOWLEDGEMENT, |number| other.back(number));
    }
    let mut at = OPTIONS;
    while let Some((kind, len)) = option_at(header, at) {
        if kind == SACK && len > 2 && (len - 2).is_multiple_of(SACK_BLOCK) {
            for edge in (at + 2..at + len).step_by(4) {
                change(header, edge, |number| other.back(number));
            }
        }
        at += len;
    }
}

/// Changes the number at `at`, which lies inside.
fn change(header: &mut [u8], at: usize, to: impl FnOnce(u32) -> u32) {
    if let Some(place) = header[at..].first_chunk_mut::<4>() {
        *place = to(u32::from_be_bytes(*place)).to_be_bytes();
    }
}

/// Kind and length of the option at `at`; `None` behind the last one, and where the list is broken.
fn option_at(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    match *bytes.get(at..)? {
        [] | [END_OF_OPTIONS, ..] => None,
        [NO_OPERATION, ..] => Some((NO_OPERATION, 1)),
        [kind, len, ..] if len >= 2 && at + usize::from(len) <= bytes.len() => {
            Some((kind, usize::from(len)))
        }
        _ => None,
    }
}

fn has_whole_options(options: &[u8]) -> bool {
    let mut at = 0;
    while let Some((_, len)) = option_at(options, at) {
        at += len;
    }
    matches!(options[at..], [] | [END_OF_OPTIONS, ..])
}

impl Side {
    /// The offsets of a direction; whoever reads them holds the flow's lock.
    pub(super) fn offsets(&self, direction: Direction) -> Offsets {
        let words = &self.sequence[direction as usize];
        Offsets::from_words(words.each_ref().map(|word| word.load(Relaxed)))
    }

    /// The offsets of both directions, from the same moment.
    pub(super) fn both_offsets(&self, entry: &Entry) -> [Offsets; 2] {
        let _locked = entry.lock();
        [Direction::Original, Direction::Reply].map(|direction| self.offsets(direction))
    }

    /// Sets the offsets of a direction; whoever does holds the flow's lock, or the flow is begun.
    pub(super) fn set_offsets(&self, direction: Direction, offsets: Offsets) {
        let own = &self.sequence[direction as usize];
        for (own, word) in own.iter().zip(offsets.words()) {
            own.store(word, Relaxed);
        }
    }
}

impl TrackerWorker {
    /// A payload of this direction has become longer by `delta` octets (shorter when negative), in the
    /// segment that begins at `at_seq` as its sender counts. To be told again of a segment that is sent
    /// again does no harm.
    ///
    /// `false` when the flow has no side record: one with a helper has, any other gets one only while
    /// it begins.
    pub fn note_length_change(
        &mut self,
        flow: FlowIndex,
        direction: Direction,
        at_seq: u32,
        delta: i32,
    ) -> bool {
        delta == 0 || self.change_offsets(flow, direction, |old| old.with_change(at_seq, delta))
    }

    /// Shifts all numbers of a direction by the same offset. `false` as in
    /// [`note_length_change`](Self::note_length_change).
    pub fn set_offset(&mut self, flow: FlowIndex, direction: Direction, offset: i32) -> bool {
        self.change_offsets(flow, direction, |_| Offsets::constant(offset))
    }

    fn change_offsets(
        &mut self,
        flow: FlowIndex,
        direction: Direction,
        change: impl FnOnce(Offsets) -> Offsets,
    ) -> bool {
        let table = self.table();
        if !table.ensure_side(flow.0) {
            return false;
        }
        let Some(side) = table.side(flow.0) else {
            return false;
        };
        let entry = table.entry(flow.0);
        let _locked = entry.lock();
        let old = side.offsets(direction);
        let new = change(old);
        if new != old {
            side.set_offsets(direction, new);
            entry.set_status(status::SEQ_ADJUST);
        }
        true
    }

    /// The offsets of a direction of a flow.
    pub fn offsets(&self, flow: FlowIndex, direction: Direction) -> Offsets {
        self.both_offsets(flow, direction).0
    }

    /// Those of this direction and of the other one, from the same moment.
    fn both_offsets(&self, flow: FlowIndex, direction: Direction) -> (Offsets, Offsets) {
        let table = self.table();
        let both = table.side(flow.0).map_or([Offsets::NONE; 2], |side| {
            side.both_offsets(table.entry(flow.0))
        });
        match direction {
            Direction::Original => (both[0], both[1]),
            Direction::Reply => (both[1], both[0]),
        }
    }

    /// Rewrites the numbers of a packet of a flow before it leaves: of one that is not adjusted, nothing.
    /// `partial` says that its transport's checksum is not complete yet.
    ///
    /// `false` when the packet's numbers cannot be told, see [`adjust`]: it must not go on.
    pub fn adjust_sequences(
        &self,
        flow: FlowIndex,
        direction: Direction,
        headers: &Headers,
        bytes: &mut [u8],
        partial: bool,
    ) -> bool {
        if self.table().entry(flow.0).status() & status::SEQ_ADJUST == 0 {
            return true;
        }
        let (own, other) = self.both_offsets(flow, direction);
        adjust(bytes, headers, own, other, partial)
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
