//! What a generation has of a set: look-ups of batches, changes by packets, listing.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::dynamic::Edit;
use super::element::{Element, Key, Words};
use super::error::SetError;
use super::hits::{Column, LANES, Lanes, Places, Sink};
use super::set::{Outcome, Set, Store, Touched, Version};
use super::structure::Row;

/// Timeouts are refreshed in steps of this at least: the kernel's own clock tick. So an element that
/// every packet refreshes is written 250 times a second, not a million times.
const REFRESH_STEP_NS: u64 = 4_000_000;

/// A set as one generation sees it. Cloning it is cheap.
#[derive(Clone, Debug)]
pub struct OwnView {
    pub(super) set: Arc<Set>,
    /// `None` for sets that packets write in place.
    pub(super) version: Option<Arc<Version>>,
}

impl OwnView {
    /// The set that this is a view of.
    pub fn set(&self) -> &Arc<Set> {
        &self.set
    }

    /// Looks up the key of every lane in `lanes`: `columns` has the words of the key, most
    /// significant first, as many as the set's keys have. Yields the lanes that match; for them the
    /// columns of `data` have the data of the element found (as many as there are; other lanes stay
    /// as they are), and `places` its slot.
    pub fn lookup(
        &self,
        columns: &[&Column],
        lanes: u64,
        now_ns: u64,
        data: &mut [Column],
        places: &mut Places,
    ) -> u64 {
        if columns.len() != self.set.layout.key || lanes == 0 {
            return 0;
        }
        let mut sink = Sink {
            layout: self.set.layout,
            now_ns,
            data,
            slots: &mut places.slots,
        };
        match (&self.set.store, &self.version) {
            (Store::Table { table, catch_all }, _) => {
                let found = table.lookup(columns, lanes, &mut sink);
                match catch_all.load().as_deref() {
                    Some(tail) if found != lanes => found | rest(tail, lanes & !found, &mut sink),
                    _ => found,
                }
            }
            (_, Some(version)) => {
                let root = version.root.load();
                let found = root.body.lookup(columns, lanes, &mut sink);
                match &root.catch_all {
                    Some(tail) if found != lanes => found | rest(tail, lanes & !found, &mut sink),
                    _ => found,
                }
            }
            (Store::Versions(_), None) => 0,
        }
    }

    /// The state words of a slot that a look-up gave; none for slot 0.
    pub fn state(&self, slot: u32) -> &[AtomicU64] {
        self.set.slots.state(slot)
    }

    /// A packet adds an element for one key, or finds it. With `refresh`, an element found gets its
    /// timeout anew (`timeout_ns`, or the set's own). What is found keeps its data.
    ///
    /// # Errors
    /// [`SetError::NotDynamic`], [`SetError::Full`], or the key does not fit.
    pub fn add_by_packet(
        &self,
        key: &[u32],
        data: &[u32],
        timeout_ns: Option<u64>,
        refresh: bool,
        now_ns: u64,
    ) -> Result<Touched, SetError> {
        self.put_by_packet((key, key), data, timeout_ns, refresh, now_ns)
    }

    /// The same for an element that holds more than one key (a prefix).
    ///
    /// # Errors
    /// As [`add_by_packet`](Self::add_by_packet); also [`SetError::Overlap`].
    pub fn put_by_packet(
        &self,
        (low, high): (&[u32], &[u32]),
        data: &[u32],
        timeout_ns: Option<u64>,
        refresh: bool,
        now_ns: u64,
    ) -> Result<Touched, SetError> {
        let set = &*self.set;
        if !set.spec.dynamic {
            return Err(SetError::NotDynamic);
        }
        if low.len() != set.layout.key || data.len() != set.layout.data {
            return Err(SetError::Key("another number of words"));
        }
        let timeout_ns = if set.spec.timed { timeout_ns } else { None };
        let timeout = timeout_ns.or(set.spec.default_timeout_ns).unwrap_or(0);
        let expires = if timeout == 0 {
            u64::MAX
        } else {
            now_ns.saturating_add(timeout)
        };
        if let Some(slot) = self.untouched((low, high), refresh, expires, now_ns) {
            return Ok(Touched {
                outcome: Outcome::Existed,
                slot,
            });
        }
        let mut touched = Touched {
            outcome: Outcome::Existed,
            slot: 0,
        };
        let result = set.edit(low, high, now_ns, false, |found| match found {
            Some((tail, until)) if until > now_ns => {
                touched.slot = set.layout.slot(tail);
                let due = refresh && until.abs_diff(expires) >= REFRESH_STEP_NS;
                if due {
                    Edit::Refresh {
                        expires_ns: expires,
                    }
                } else {
                    Edit::Keep
                }
            }
            _ => {
                let mut tail = vec![0; set.layout.tail];
                tail[..data.len()].copy_from_slice(data);
                set.layout.set_timeout(&mut tail, timeout);
                if let Some(at) = set.layout.slot
                    && !set.spec.initial_state.is_empty()
                {
                    tail[at] = set.slots.take(&set.spec.initial_state, None);
                }
                touched = Touched {
                    outcome: Outcome::Added,
                    slot: set.layout.slot(&tail),
                };
                Edit::Put {
                    tail,
                    expires_ns: expires,
                }
            }
        });
        if result.is_err() && touched.slot != 0 {
            set.slots.give_back(&[touched.slot]);
        }
        result.map(|()| touched)
    }

    /// The slot of an element that is there and needs no change: found without the writers' lock.
    fn untouched(
        &self,
        (low, high): (&[u32], &[u32]),
        refresh: bool,
        expires_ns: u64,
        now_ns: u64,
    ) -> Option<u32> {
        let layout = &self.set.layout;
        let (slot, until) = match (&self.set.store, &self.version) {
            (Store::Table { table, .. }, _) => {
                table.look(low, |tail, until| (layout.slot(tail), until))?
            }
            (_, version) => {
                let root = version.as_ref()?.root.load();
                let tail = root.body.find(low, high)?;
                (layout.slot(tail), layout.expires(tail))
            }
        };
        let due = refresh && until.abs_diff(expires_ns) >= REFRESH_STEP_NS;
        (until > now_ns && !due).then_some(slot)
    }

    /// A packet deletes the element for one key; false if it was not there.
    ///
    /// # Errors
    /// [`SetError::NotDynamic`].
    pub fn delete_by_packet(&self, key: &[u32], now_ns: u64) -> Result<bool, SetError> {
        if !self.set.spec.dynamic {
            return Err(SetError::NotDynamic);
        }
        let mut was = false;
        self.set.edit(key, key, now_ns, true, |found| match found {
            Some((_, until)) => {
                was = until > now_ns;
                Edit::Remove
            }
            None => Edit::Keep,
        })?;
        Ok(was)
    }

    /// A packet deletes the element with just these bounds; false if it was not there.
    ///
    /// # Errors
    /// [`SetError::NotDynamic`].
    pub fn take_by_packet(
        &self,
        (low, high): (&[u32], &[u32]),
        now_ns: u64,
    ) -> Result<bool, SetError> {
        if !self.set.spec.dynamic {
            return Err(SetError::NotDynamic);
        }
        if self.get(&Key::range(low, high), now_ns).is_none() {
            return Ok(false);
        }
        let mut was = false;
        self.set
            .edit(low, high, now_ns, true, |found| match found {
                Some((_, until)) => {
                    was = until > now_ns;
                    Edit::Remove
                }
                None => Edit::Keep,
            })?;
        Ok(was)
    }

    /// The element with exactly this key that has not expired.
    pub fn get(&self, key: &Key, now_ns: u64) -> Option<Element> {
        let set = &*self.set;
        let (tail, expires) = match (key, &set.store, &self.version) {
            (Key::CatchAll, Store::Table { catch_all, .. }, _) => {
                let tail = catch_all.load_full()?.to_vec();
                let expires = set.layout.expires(&tail);
                (tail, expires)
            }
            (Key::CatchAll, _, version) => {
                let tail = version.as_ref()?.root.load().catch_all.as_ref()?.to_vec();
                let expires = set.layout.expires(&tail);
                (tail, expires)
            }
            (Key::Range { low, .. }, Store::Table { table, .. }, _) => table.find(low)?,
            (Key::Range { low, high }, _, version) => {
                let root = version.as_ref()?.root.load();
                let tail = root.body.find(low, high)?.to_vec();
                let expires = set.layout.expires(&tail);
                (tail, expires)
            }
        };
        (expires > now_ns).then(|| set.element(key.clone(), &tail, expires))
    }

    /// The elements that have a key in common with a range, and have not expired.
    pub fn overlapping(&self, low: &[u32], high: &[u32], now_ns: u64) -> Vec<Element> {
        let mut found = Vec::new();
        match (&self.set.store, &self.version) {
            (Store::Table { .. }, _) if low == high => {
                found.extend(self.get(&Key::exact(low), now_ns))
            }
            (Store::Table { .. }, _) | (_, None) => self.for_each(now_ns, &mut |element| {
                if element.key.meets(low, high) {
                    found.push(element);
                }
            }),
            (_, Some(version)) => version.root.load().body.overlapping(low, high, &mut |row| {
                found.extend(self.live(row, now_ns));
                true
            }),
        }
        found
    }

    fn live(&self, row: Row<'_>, now_ns: u64) -> Option<Element> {
        let expires = self.set.layout.expires(row.tail);
        (expires > now_ns).then(|| {
            self.set
                .element(Key::range(row.low, row.high), row.tail, expires)
        })
    }

    /// All elements that have not expired, in the order of the structure; the catch-all last. A set
    /// that packets write may change meanwhile; every element that stays is listed once.
    pub fn for_each(&self, now_ns: u64, each: &mut dyn FnMut(Element)) {
        match (&self.set.store, &self.version) {
            (Store::Table { table, .. }, _) => table.for_each(&mut |key, tail, expires| {
                if expires > now_ns {
                    each(self.set.element(Key::exact(key), tail, expires));
                }
            }),
            (_, Some(version)) => {
                let root = version.root.load_full();
                root.body.for_each(&mut |row| {
                    if let Some(element) = self.live(row, now_ns) {
                        each(element);
                    }
                });
            }
            (Store::Versions(_), None) => {}
        }
        if let Some(element) = self.get(&Key::CatchAll, now_ns) {
            each(element);
        }
    }

    /// All elements that have not expired, sorted by value, the catch-all last.
    pub fn elements(&self, now_ns: u64) -> Vec<Element> {
        let mut all = Vec::with_capacity(self.len());
        self.for_each(now_ns, &mut |element| all.push(element));
        // `Key::Range` sorts before `Key::CatchAll`, by first value and then by last.
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Number of elements without the catch-all; expired ones are counted until they are swept.
    pub fn len(&self) -> usize {
        match (&self.set.store, &self.version) {
            (Store::Table { table, .. }, _) => table.len(),
            (_, Some(version)) => version.root.load().body.len(),
            (Store::Versions(_), None) => 0,
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.get(&Key::CatchAll, 0).is_none()
    }

    /// Bytes of memory that this view takes.
    pub fn memory(&self) -> usize {
        let body = match (&self.set.store, &self.version) {
            (Store::Table { table, .. }, _) => table.memory(),
            (_, Some(version)) => version.root.load().body.memory(),
            (Store::Versions(_), None) => 0,
        };
        body + self.set.slots.memory()
    }

    /// The data of an element that holds a key, if it is in the set; for control, one key at a time.
    pub fn lookup_one(&self, key: &[u32], now_ns: u64) -> Option<Words> {
        let columns: Vec<Column> = key.iter().map(|&word| Column([word; LANES])).collect();
        let columns: Vec<&Column> = columns.iter().collect();
        let mut data = vec![Column::default(); self.set.layout.data];
        let found = self.lookup(&columns, 1, now_ns, &mut data, &mut Places::default());
        (found == 1).then(|| data.iter().map(|column| column[0]).collect())
    }
}

/// The catch-all for the lanes that nothing else matched.
fn rest(tail: &[u32], lanes: u64, sink: &mut Sink<'_>) -> u64 {
    Lanes(lanes)
        .filter(|&lane| sink.hit(lane, tail))
        .fold(0, |found, lane| found | 1 << lane)
}
