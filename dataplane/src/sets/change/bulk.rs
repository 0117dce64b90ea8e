//! Adding a flat list of elements: built on all cores where that is faster than one by one.

use std::collections::HashSet;

use super::{BULK, Change, Step, Work};
use crate::sets::bulk::Bulk;
use crate::sets::error::SetError;
use crate::sets::set::{Outcome, Root, Set};
use crate::sets::structure::Rows;

impl Change {
    /// Adds elements in order. On an error those before the refused one stay added, as if they had
    /// been added one by one; an element that is there already is refused, whatever its data.
    ///
    /// # Errors
    /// The number of the refused element (from 0), and [`SetError::Exists`], full, overlapping or
    /// not fitting.
    pub fn load_bulk(&mut self, bulk: Bulk) -> Result<(), (usize, SetError)> {
        let roomy = |len: usize| {
            // What makes room in a full set does so one element at a time.
            let gives_way = self.set.spec.forceadd || self.set.layout.timed.is_some();
            let size = self.set.spec.size.map_or(usize::MAX, |size| size as usize);
            !gives_way || len + bulk.len() <= size
        };
        match &self.work {
            Work::Copy { root, .. }
                if bulk.len() >= BULK.max(root.body.len() / 2) && roomy(root.body.len()) =>
            {
                self.build_bulk(bulk)
            }
            _ => {
                for index in 0..bulk.len() {
                    match self.add(&bulk.element(index)) {
                        Ok(Outcome::Added) => {}
                        Ok(Outcome::Existed) => return Err((index, SetError::Exists)),
                        Err(error) => return Err((index, error)),
                    }
                }
                Ok(())
            }
        }
    }

    fn build_bulk(&mut self, bulk: Bulk) -> Result<(), (usize, SetError)> {
        let now_ns = self.now_ns;
        let Work::Copy {
            root, taken, freed, ..
        } = &mut self.work
        else {
            return Ok(());
        };
        let set = &*self.set;
        let (mut limit, mut refused) = first_refused(set, root, &bulk, now_ns);
        remove_expired(set, root, &bulk, limit, now_ns, freed);
        let (body, slots) = loop {
            let (rows, slots) = rows_of(set, root, &bulk, limit, now_ns)?;
            match root.body.built(&rows) {
                Ok(body) => break (body, slots),
                Err(_) => {
                    set.slots.give_back(&slots);
                    let Some(twice) = first_twice(&bulk, limit) else {
                        // Overlapping ranges in a structure without them.
                        return Err((limit.saturating_sub(1), SetError::Overlap));
                    };
                    (limit, refused) = (twice, Some(SetError::Exists));
                }
            }
        };
        root.body = body;
        taken.extend(slots);
        if set.spec.dynamic {
            self.steps.push(Step::Bulk(bulk, limit));
        }
        refused.map_or(Ok(()), |error| Err((limit, error)))
    }
}

/// The first element that is there already or for which there is no room, and why; else their number.
fn first_refused(set: &Set, root: &Root, bulk: &Bulk, now_ns: u64) -> (usize, Option<SetError>) {
    let room = set.spec.size.map_or(usize::MAX, |size| {
        (size as usize).saturating_sub(root.body.len())
    });
    let (end, full) = if bulk.len() > room {
        (room, Some(SetError::Full))
    } else {
        (bulk.len(), None)
    };
    if root.body.len() == 0 {
        return (end, full);
    }
    let there = (0..end).find(|&index| {
        let (low, high, _) = bulk.row(index);
        let found = root.body.find(low, high);
        found.is_some_and(|tail| !set.layout.expired(tail, now_ns))
    });
    there.map_or((end, full), |index| (index, Some(SetError::Exists)))
}

/// Takes expired elements out of the way of new ones with the same key.
fn remove_expired(
    set: &Set,
    root: &mut Root,
    bulk: &Bulk,
    limit: usize,
    now_ns: u64,
    freed: &mut Vec<u32>,
) {
    if set.layout.timed.is_none() || root.body.len() == 0 {
        return;
    }
    for index in 0..limit {
        let (low, high, _) = bulk.row(index);
        let slot = root.body.find(low, high).and_then(|tail| {
            let expired = set.layout.expired(tail, now_ns);
            expired.then(|| set.layout.slot(tail))
        });
        if let Some(slot) = slot {
            freed.push(slot);
            root.body.remove(low, high);
        }
    }
}

/// What is there and the first `limit` elements as rows, and the slots taken for them.
fn rows_of(
    set: &Set,
    root: &Root,
    bulk: &Bulk,
    limit: usize,
    now_ns: u64,
) -> Result<(Rows, Vec<u32>), (usize, SetError)> {
    let layout = set.layout;
    let bare = layout.timed.is_none() && layout.slot.is_none() && layout.nomatch.is_none();
    let mut rows = Rows::new(layout);
    rows.words
        .reserve(rows.stride() * (limit + root.body.len()));
    root.body
        .for_each(&mut |row| rows.push(row.low, row.high, row.tail));
    let mut slots = Vec::new();
    for index in 0..limit {
        let (low, high, data) = bulk.row(index);
        set.note_prefixes(low, high);
        if bare && bulk.is_plain(index) {
            rows.push(low, high, data);
            continue;
        }
        match set.tail_of(&bulk.element(index), now_ns) {
            Ok((tail, _)) => {
                slots.push(layout.slot(&tail));
                rows.push(low, high, &tail);
            }
            Err(error) => {
                set.slots.give_back(&slots);
                return Err((index, error));
            }
        }
    }
    Ok((rows, slots))
}

/// The first element that stands a second time.
fn first_twice(bulk: &Bulk, limit: usize) -> Option<usize> {
    let mut seen = HashSet::with_capacity(limit);
    (0..limit).find(|&index| !seen.insert(bulk.bounds(index)))
}
