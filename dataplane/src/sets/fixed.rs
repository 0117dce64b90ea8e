//! Sets that change by transactions: immutable versions over a shared base.
//!
//! A version is a large base and a small overlay: rows added since, and numbers of base rows that
//! are gone. A change copies the overlay (at most [`OVERLAY`] rows), never the base, so adding one
//! element costs the same whatever the size. When the overlay is full the base is built anew.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::hash::Seed;
use super::index::Index;
use super::{Column, Element, Entry, Key, Row, SetError, Shape, StateId, StatePool, lanes_of};
use crate::packet::BATCH;

/// Most rows added, or base rows removed, before the base is built anew.
pub const OVERLAY: usize = 512;

/// Marks an entry of the overlay.
const IN_OVERLAY: u32 = 1 << 31;
/// The entry of the catch-all element.
const CATCH_ALL: u32 = IN_OVERLAY - 1;

/// What a transaction does to a set, in order.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Elements to remove: key, or interval exactly as it was added. Removals come first.
    pub remove: Vec<Element>,
    /// Elements to add.
    pub add: Vec<Element>,
    /// Removes every element first.
    pub flush: bool,
}

/// One version of a fixed set.
#[derive(Debug)]
pub struct Fixed {
    shape: Shape,
    seed: Seed,
    states: Arc<StatePool>,
    base: Arc<Part>,
    /// Base rows that are gone, sorted.
    gone: Vec<u32>,
    overlay: Part,
    catch_all: Option<Row>,
}

/// Rows with the structure that finds them.
#[derive(Debug)]
struct Part {
    rows: Vec<Row>,
    index: Index,
}

impl Part {
    fn build(shape: &Shape, seed: Seed, rows: Vec<Row>) -> Result<Self, SetError> {
        Ok(Self {
            index: Index::build(shape, seed, &rows)?,
            rows,
        })
    }
}

impl Fixed {
    /// A set of these elements. `seed` keys its hashing.
    ///
    /// # Errors
    /// [`SetError::Overlap`], [`SetError::Exists`], [`SetError::Full`], [`SetError::Shape`].
    pub fn new(shape: Shape, seed: Seed, elements: Vec<Element>) -> Result<Self, SetError> {
        let states = StatePool::new(shape.state_words);
        let empty = Part::build(&shape, seed, Vec::new())?;
        let set = Self {
            base: Arc::new(Part::build(&shape, seed, Vec::new())?),
            overlay: empty,
            gone: Vec::new(),
            catch_all: None,
            states,
            seed,
            shape,
        };
        if elements.is_empty() {
            return Ok(set);
        }
        set.changed(&Changes {
            add: elements,
            ..Changes::default()
        })
    }

    /// The shape of its elements.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.base.rows.len() - self.gone.len()
            + self.overlay.rows.len()
            + usize::from(self.catch_all.is_some())
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A new version with these changes; this one stays as it is.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`SetError::Missing`] for an element to remove that is not there.
    pub fn changed(&self, changes: &Changes) -> Result<Self, SetError> {
        let mut draft = Draft::of(self, changes.flush);
        for element in &changes.remove {
            draft.remove(element)?;
        }
        for element in &changes.add {
            self.shape.check(element)?;
        }
        let size = self.shape.size.map_or(usize::MAX, |size| size as usize);
        let fresh = draft.add(&changes.add)?;
        let set = draft.finish()?;
        if set.len() > size {
            for id in fresh {
                set.states.give(id);
            }
            return Err(SetError::Full);
        }
        Ok(set)
    }

    /// Looks up a key per lane.
    pub fn look_up(
        &self,
        key: &[&Column],
        lanes: u64,
        now_ns: u64,
        entries: &mut [Entry; BATCH],
    ) -> u64 {
        let mut found = 0;
        if !self.overlay.rows.is_empty() {
            found = self.overlay.index.look_up(key, lanes, entries);
            for lane in lanes_of(found) {
                entries[lane].0 |= IN_OVERLAY;
            }
        }
        let mut in_base = self.base.index.look_up(key, lanes & !found, entries);
        if !self.gone.is_empty() {
            for lane in lanes_of(in_base) {
                if self.gone.binary_search(&entries[lane].0).is_ok() {
                    in_base &= !(1 << lane);
                }
            }
        }
        found |= in_base;
        if self.shape.expires {
            for lane in lanes_of(found) {
                if !self.row(entries[lane]).element.is_live(now_ns) {
                    found &= !(1 << lane);
                }
            }
        }
        match &self.catch_all {
            Some(row) if row.element.is_live(now_ns) => {
                for lane in lanes_of(lanes & !found) {
                    entries[lane] = Entry(CATCH_ALL);
                }
                lanes
            }
            _ => found,
        }
    }

    /// Copies what an element maps to.
    pub fn data(&self, entry: Entry, out: &mut [u32]) {
        out.copy_from_slice(&self.row(entry).element.data);
    }

    /// The words of an element's statements.
    pub fn state(&self, entry: Entry) -> &[AtomicU64] {
        self.states.get(self.row(entry).state)
    }

    /// Every element that has not expired, ordered by key, the catch-all last.
    pub fn elements(&self, now_ns: u64) -> Vec<Element> {
        let mut rows: Vec<&Row> = self
            .live_rows()
            .filter(|row| row.element.is_live(now_ns))
            .collect();
        rows.sort_by(|a, b| a.element.first.cmp(&b.element.first));
        rows.into_iter()
            .chain(&self.catch_all)
            .map(|row| Element {
                state: self.states.read(row.state),
                ..row.element.clone()
            })
            .collect()
    }

    /// The element that has exactly this key or interval.
    pub fn find(&self, element: &Element) -> Option<Entry> {
        if element.catch_all {
            return self.catch_all.as_ref().map(|_| Entry(CATCH_ALL));
        }
        let columns: Vec<Column> = element.first.iter().map(|&word| [word; BATCH]).collect();
        let columns: Vec<&Column> = columns.iter().collect();
        let mut entries = [Entry::NONE; BATCH];
        if columns.len() != self.shape.key_words() {
            return None;
        }
        let mut found = self.overlay.index.look_up(&columns, 1, &mut entries);
        entries[0].0 |= IN_OVERLAY;
        if found == 0 {
            found = self.base.index.look_up(&columns, 1, &mut entries);
            if found == 1 && self.gone.binary_search(&entries[0].0).is_ok() {
                found = 0;
            }
        }
        let same = found == 1 && {
            let there = &self.row(entries[0]).element;
            there.first == element.first && there.last == element.last
        };
        same.then_some(entries[0])
    }

    /// The element of an entry.
    pub fn element(&self, entry: Entry) -> &Element {
        &self.row(entry).element
    }

    /// The earliest moment at which an element expires, if one does.
    pub fn next_expiry_ns(&self) -> Option<u64> {
        self.live_rows()
            .chain(&self.catch_all)
            .filter_map(|row| row.element.expires_ns)
            .min()
    }

    /// Bytes of memory, rows and structures.
    pub fn bytes(&self) -> usize {
        let part = |part: &Part| part.rows.len() * size_of::<Row>() + part.index.bytes();
        part(&self.base) + part(&self.overlay) + self.gone.len() * 4
    }

    fn live_rows(&self) -> impl Iterator<Item = &Row> {
        let base = self.base.rows.iter().enumerate();
        base.filter(|(row, _)| self.gone.binary_search(&(*row as u32)).is_err())
            .map(|(_, row)| row)
            .chain(&self.overlay.rows)
    }

    fn row(&self, entry: Entry) -> &Row {
        match (entry.0, &self.catch_all) {
            (CATCH_ALL, Some(row)) => row,
            (number, _) if number & IN_OVERLAY != 0 => {
                &self.overlay.rows[(number & !IN_OVERLAY) as usize]
            }
            (number, _) => &self.base.rows[number as usize],
        }
    }
}

/// A version in the making.
struct Draft<'v> {
    old: &'v Fixed,
    gone: Vec<u32>,
    flushed: bool,
    added: Vec<Row>,
    catch_all: Option<Row>,
}

impl<'v> Draft<'v> {
    fn of(old: &'v Fixed, flush: bool) -> Self {
        old.states.turn();
        if flush {
            for row in old.live_rows().chain(&old.catch_all) {
                old.states.give(row.state);
            }
            return Self {
                old,
                gone: Vec::new(),
                flushed: true,
                added: Vec::new(),
                catch_all: None,
            };
        }
        Self {
            old,
            gone: old.gone.clone(),
            flushed: false,
            added: old.overlay.rows.clone(),
            catch_all: old.catch_all.clone(),
        }
    }

    fn remove(&mut self, element: &Element) -> Result<(), SetError> {
        if element.catch_all {
            let row = self.catch_all.take().ok_or(SetError::Missing)?;
            self.old.states.give(row.state);
            return Ok(());
        }
        let same =
            |row: &Row| row.element.first == element.first && row.element.last == element.last;
        if let Some(at) = self.added.iter().position(same) {
            let row = self.added.swap_remove(at);
            self.old.states.give(row.state);
            return Ok(());
        }
        let found = if self.flushed {
            None
        } else {
            self.old.find(element)
        };
        let Some(Entry(number)) = found.filter(|entry| entry.0 & IN_OVERLAY == 0) else {
            return Err(SetError::Missing);
        };
        match self.gone.binary_search(&number) {
            Ok(_) => Err(SetError::Missing),
            Err(at) => {
                self.gone.insert(at, number);
                self.old
                    .states
                    .give(self.old.base.rows[number as usize].state);
                Ok(())
            }
        }
    }

    /// Appends rows; returns the places of their statements.
    fn add(&mut self, elements: &[Element]) -> Result<Vec<StateId>, SetError> {
        let mut fresh = Vec::with_capacity(if self.old.shape.state_words == 0 {
            0
        } else {
            elements.len()
        });
        for element in elements {
            let state = self.old.states.take(&element.state);
            if state != StateId::NONE {
                fresh.push(state);
            }
            let row = Row {
                element: element.clone(),
                state,
            };
            if element.catch_all {
                if self.catch_all.replace(row).is_some() {
                    return Err(SetError::Exists);
                }
            } else {
                self.added.push(row);
            }
        }
        Ok(fresh)
    }

    fn finish(self) -> Result<Fixed, SetError> {
        let old = self.old;
        let small = !self.flushed && self.added.len() <= OVERLAY && self.gone.len() <= OVERLAY;
        let (base, gone, rows) = if small {
            (Arc::clone(&old.base), self.gone, self.added)
        } else {
            let kept = old.base.rows.iter().enumerate().filter(|_| !self.flushed);
            let kept = kept.filter(|(row, _)| self.gone.binary_search(&(*row as u32)).is_err());
            let rows: Vec<Row> = kept.map(|(_, row)| row.clone()).chain(self.added).collect();
            unique(&old.shape, &rows)?;
            (
                Arc::new(Part::build(&old.shape, old.seed, rows)?),
                Vec::new(),
                Vec::new(),
            )
        };
        unique(&old.shape, &rows)?;
        let set = Fixed {
            overlay: Part::build(&old.shape, old.seed, rows)?,
            shape: old.shape.clone(),
            seed: old.seed,
            states: Arc::clone(&old.states),
            catch_all: self.catch_all,
            base,
            gone,
        };
        set.check_overlay_against_base()?;
        Ok(set)
    }
}

/// Refuses equal exact keys; intervals are checked where their structure is built.
fn unique(shape: &Shape, rows: &[Row]) -> Result<(), SetError> {
    if shape.intervals {
        return Ok(());
    }
    let mut keys: Vec<&Key> = rows.iter().map(|row| &row.element.first).collect();
    keys.sort_unstable();
    if keys.windows(2).any(|pair| pair[0] == pair[1]) {
        Err(SetError::Exists)
    } else {
        Ok(())
    }
}

impl Fixed {
    /// An overlay row must not meet a base row that is still there.
    fn check_overlay_against_base(&self) -> Result<(), SetError> {
        for row in &self.overlay.rows {
            if self.shape.intervals {
                if self.meets_base(&row.element) {
                    return Err(SetError::Overlap);
                }
            } else if self.base_has(&row.element.first) {
                return Err(SetError::Exists);
            }
        }
        Ok(())
    }

    fn base_has(&self, key: &Key) -> bool {
        let columns: Vec<Column> = key.iter().map(|&word| [word; BATCH]).collect();
        let columns: Vec<&Column> = columns.iter().collect();
        let mut entries = [Entry::NONE; BATCH];
        self.base.index.look_up(&columns, 1, &mut entries) == 1
            && self.gone.binary_search(&entries[0].0).is_err()
    }

    fn meets_base(&self, element: &Element) -> bool {
        self.base
            .index
            .meeting(&element.first, &element.last, &mut |row| {
                self.gone.binary_search(&row).is_err()
            })
    }
}
