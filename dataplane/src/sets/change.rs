//! A change: elements added and taken out that become visible together, or not at all.

mod apply;
mod bulk;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::bulk::Bulk;
use super::element::{Element, Key};
use super::error::SetError;
use super::set::{Outcome, Root, Set, Store, Version};
use super::structure::Rows;
use super::view::OwnView;
use apply::{do_step, flush_root, put_in_root, remove_from_root, replay};

/// A bulk load of at least this many elements builds the structure anew instead of adding them one by
/// one, if they are also a good part of what the set will have.
const BULK: usize = 1024;

/// One step on a set that packets write; done when the change is committed.
#[derive(Debug)]
enum Step {
    Flush,
    Put(Element, bool),
    /// The first so many of a list.
    Bulk(Bulk, usize),
    Remove(Key),
}

#[derive(Debug)]
enum Work {
    /// A structure of its own, shared with the committed one as far as they are the same.
    Copy {
        base: Arc<Root>,
        root: Root,
        taken: Vec<u32>,
        freed: Vec<u32>,
    },
    /// Steps to be done, and what they make of the elements that they touch.
    Steps {
        flushed: bool,
        /// By the words of a key (none: the catch-all): the step that put the element, if it is there.
        touched: HashMap<Box<[u32]>, Option<usize>>,
        promised: usize,
        gained: isize,
    },
}

/// An open change of a set. Dropping it leaves the set as it is.
///
/// The set sees it at [`commit`](Self::commit): a set that packets do not write has a new content for
/// the next generation; one that they do has it at once, for all.
#[derive(Debug)]
pub struct Change {
    set: Arc<Set>,
    now_ns: u64,
    work: Work,
    /// What was done, for sets that packets write.
    steps: Vec<Step>,
    done: bool,
}

impl Change {
    pub(super) fn new(set: Arc<Set>, now_ns: u64) -> Self {
        let work = match &set.store {
            Store::Table { .. } => Work::Steps {
                flushed: false,
                touched: HashMap::new(),
                promised: 0,
                gained: 0,
            },
            Store::Versions(current) => {
                let base = current.load().root.load_full();
                let root = Root::clone(&base);
                Work::Copy {
                    base,
                    root,
                    taken: Vec::new(),
                    freed: Vec::new(),
                }
            }
        };
        Self {
            set,
            now_ns,
            work,
            steps: Vec::new(),
            done: false,
        }
    }

    /// The set that changes.
    pub fn set(&self) -> &Arc<Set> {
        &self.set
    }

    /// Adds an element. One that is there with the same data stays as it is.
    ///
    /// # Errors
    /// [`SetError::Exists`] with other data; full, overlapping, or not fitting.
    pub fn add(&mut self, element: &Element) -> Result<Outcome, SetError> {
        self.add_or_put(element, false)
    }

    /// Adds an element, or puts it in the place of the one with the same key, whatever its data. The
    /// state of the old one stays unless the new one brings its own.
    ///
    /// # Errors
    /// Full, overlapping, or not fitting.
    pub fn put(&mut self, element: &Element) -> Result<Outcome, SetError> {
        self.add_or_put(element, true)
    }

    fn add_or_put(&mut self, element: &Element, over: bool) -> Result<Outcome, SetError> {
        let found = self.get(&element.key);
        if let Some(found) = &found
            && !over
        {
            let same = found.data == element.data && found.nomatch == element.nomatch;
            return if same {
                Ok(Outcome::Existed)
            } else {
                Err(SetError::Exists)
            };
        }
        let mut element = element.clone();
        if let Some(found) = &found
            && element.state.is_empty()
        {
            element.state.clone_from(&found.state);
        }
        match &mut self.work {
            Work::Copy {
                root, taken, freed, ..
            } => {
                let mut writer = self.set.lock();
                put_in_root(
                    &self.set,
                    &mut writer,
                    root,
                    &element,
                    self.now_ns,
                    taken,
                    freed,
                )?;
            }
            Work::Steps {
                flushed,
                touched,
                promised,
                gained,
            } => {
                let Store::Table { table, .. } = &self.set.store else {
                    return Err(SetError::NotDynamic);
                };
                self.set.fits(&element)?;
                if let Key::Range { low, high } = &element.key {
                    if low != high {
                        return Err(SetError::Key("a range in a set of exact keys"));
                    }
                    if found.is_none() {
                        // After a flush the room is that of the whole set.
                        if *flushed {
                            if self.set.is_full(usize::try_from(*gained).unwrap_or(0)) {
                                return Err(SetError::Full);
                            }
                        } else if *gained < 0 {
                            // Takes the room of an element that this change removes.
                        } else if !self.set.spec.forceadd {
                            table.reserve()?;
                            *promised += 1;
                        }
                        *gained += 1;
                    }
                }
                touched.insert(words_of(&element.key), Some(self.steps.len()));
            }
        }
        if self.set.spec.dynamic {
            self.steps.push(Step::Put(element, over));
        }
        Ok(if found.is_some() {
            Outcome::Existed
        } else {
            Outcome::Added
        })
    }

    /// Takes exactly this element out, and yields it.
    ///
    /// # Errors
    /// [`SetError::Missing`].
    pub fn remove(&mut self, key: &Key) -> Result<Element, SetError> {
        let found = self.get(key).ok_or(SetError::Missing)?;
        match &mut self.work {
            Work::Copy { root, freed, .. } => remove_from_root(&self.set, root, key, freed),
            Work::Steps {
                touched, gained, ..
            } => {
                touched.insert(words_of(key), None);
                *gained -= isize::from(*key != Key::CatchAll);
            }
        }
        if self.set.spec.dynamic {
            self.steps.push(Step::Remove(key.clone()));
        }
        Ok(found)
    }

    /// Takes all elements out, the catch-all too.
    pub fn flush(&mut self) {
        match &mut self.work {
            Work::Copy { root, freed, .. } => flush_root(&self.set, root, freed),
            Work::Steps {
                flushed,
                touched,
                gained,
                ..
            } => {
                *flushed = true;
                *gained = 0;
                touched.clear();
            }
        }
        if self.set.spec.dynamic {
            self.steps.clear();
            self.steps.push(Step::Flush);
        }
    }

    /// Adds many elements; a large load is built on all cores. All or, on an error, none of them.
    ///
    /// # Errors
    /// The number of the element (from 0) and what is wrong with it.
    pub fn load(&mut self, elements: &[Element]) -> Result<(), (usize, SetError)> {
        let bulk = match &self.work {
            Work::Copy { root, .. } => elements.len() >= BULK.max(root.body.len() / 2),
            Work::Steps { .. } => false,
        };
        if bulk && !self.set.spec.dynamic {
            return self.build(elements);
        }
        let mut added = Vec::new();
        for (index, element) in elements.iter().enumerate() {
            match self.add(element) {
                Ok(Outcome::Added) => added.push(index),
                Ok(Outcome::Existed) => {}
                Err(error) => {
                    for index in added {
                        // Was added above, so it is there.
                        let _ = self.remove(&elements[index].key);
                    }
                    return Err((index, error));
                }
            }
        }
        Ok(())
    }

    /// Adds many elements that are only keys: first and last key of each, one after the other. What
    /// [`load`](Self::load) does, without an [`Element`] for each. All or, on an error, none of them.
    ///
    /// # Errors
    /// The number of the element (from 0) and what is wrong with it.
    pub fn load_keys(&mut self, keys: Vec<u32>) -> Result<(), (usize, SetError)> {
        let layout = self.set.layout;
        let rows = Rows {
            words: keys,
            ..Rows::new(layout)
        };
        if !rows.words.len().is_multiple_of(2 * layout.key) {
            return Err((0, SetError::Key("another number of words")));
        }
        if let Work::Copy { root, .. } = &mut self.work
            && layout.tail == 0
            && !self.set.spec.dynamic
            && root.body.len() == 0
            && !self.set.is_full(rows.len().saturating_sub(1))
            && let Ok(body) = root.body.built(&rows)
        {
            root.body = body;
            return Ok(());
        }
        let width = 2 * layout.key;
        let elements: Vec<Element> = rows
            .words
            .chunks_exact(width)
            .map(|row| Element::new(Key::range(&row[..layout.key], &row[layout.key..])))
            .collect();
        self.load(&elements)
    }

    /// Builds the structure from what is there and new elements.
    fn build(&mut self, elements: &[Element]) -> Result<(), (usize, SetError)> {
        let Work::Copy { root, taken, .. } = &mut self.work else {
            return Ok(());
        };
        let layout = self.set.layout;
        let mut rows = Rows::new(layout);
        rows.words
            .reserve(rows.stride() * (elements.len() + root.body.len()));
        root.body
            .for_each(&mut |row| rows.push(row.low, row.high, row.tail));
        let old = rows.len();
        let mut origin = Vec::with_capacity(elements.len());
        let mut catch_all = root.catch_all.clone();
        let mut new = Vec::new();
        let mut seen: HashSet<&Key> = HashSet::new();
        let mut result = Ok(());
        for (index, element) in elements.iter().enumerate() {
            let there = match &element.key {
                Key::CatchAll => catch_all.as_deref(),
                Key::Range { low, high } if low.len() == layout.key && high.len() == layout.key => {
                    root.body.find(low, high)
                }
                Key::Range { .. } => None,
            };
            if let Some(tail) = there
                && !layout.expired(tail, self.now_ns)
            {
                let same = tail[..layout.data] == *element.data
                    && layout.is_nomatch(tail) == element.nomatch;
                if same {
                    continue;
                }
                result = Err((index, SetError::Exists));
                break;
            }
            match self.set.tail_of(element, self.now_ns) {
                Ok((tail, _)) => {
                    new.push(layout.slot(&tail));
                    if let Key::Range { low, high } = &element.key {
                        rows.push(low, high, &tail);
                        origin.push(index);
                    } else {
                        catch_all = Some(tail.into());
                    }
                }
                Err(error) => {
                    result = Err((index, error));
                    break;
                }
            }
        }
        if result.is_ok()
            && self
                .set
                .spec
                .size
                .is_some_and(|size| rows.len() > size as usize)
        {
            result = Err((elements.len() - 1, SetError::Full));
        }
        let built = match result {
            Ok(()) => root.body.built(&rows).map_err(|row| {
                origin
                    .get(row.wrapping_sub(old))
                    .map_or((0, SetError::Overlap), |&index| (index, SetError::Overlap))
            }),
            Err(error) => Err(error),
        };
        match built {
            Ok(body) => {
                root.body = body;
                root.catch_all = catch_all;
                taken.append(&mut new);
                Ok(())
            }
            // Elements that stand twice, or expired ones that overlap: one by one it may be right.
            Err((_, SetError::Overlap)) => {
                self.set.slots.give_back(&new);
                for (index, element) in elements.iter().enumerate() {
                    if seen.insert(&element.key) {
                        self.add(element).map_err(|error| (index, error))?;
                    }
                }
                Ok(())
            }
            Err(error) => {
                self.set.slots.give_back(&new);
                Err(error)
            }
        }
    }

    /// The element with exactly this key, as the change has it.
    pub fn get(&self, key: &Key) -> Option<Element> {
        match &self.work {
            Work::Copy { root, .. } => {
                let tail = match key {
                    Key::CatchAll => root.catch_all.as_deref()?,
                    Key::Range { low, high } => {
                        let words = self.set.layout.key;
                        if low.len() != words || high.len() != words {
                            return None;
                        }
                        root.body.find(low, high)?
                    }
                };
                let expires = self.set.layout.expires(tail);
                (expires > self.now_ns).then(|| self.set.element(key.clone(), tail, expires))
            }
            Work::Steps {
                flushed, touched, ..
            } => match touched.get(&words_of(key)) {
                _ if matches!(key, Key::Range { low, high } if low != high) => None,
                Some(step) => step.and_then(|step| self.put_at(step)).cloned(),
                None if *flushed => None,
                None => self.set.view().get(key, self.now_ns),
            },
        }
    }

    /// The element that a step put.
    fn put_at(&self, step: usize) -> Option<&Element> {
        match self.steps.get(step)? {
            Step::Put(element, _) => Some(element),
            Step::Flush | Step::Remove(_) | Step::Bulk(..) => None,
        }
    }

    /// The elements that have a key in common with a range, as the change has them.
    pub fn overlapping(&self, low: &[u32], high: &[u32]) -> Vec<Element> {
        match &self.work {
            Work::Copy { root, .. } => {
                let mut found = Vec::new();
                root.body.overlapping(low, high, &mut |row| {
                    let expires = self.set.layout.expires(row.tail);
                    if expires > self.now_ns {
                        found.push(self.set.element(
                            Key::range(row.low, row.high),
                            row.tail,
                            expires,
                        ));
                    }
                    true
                });
                found
            }
            Work::Steps { .. } if low == high => self.get(&Key::exact(low)).into_iter().collect(),
            Work::Steps { .. } => self
                .elements()
                .into_iter()
                .filter(|element| element.key.meets(low, high))
                .collect(),
        }
    }

    /// All elements, as the change has them, sorted by value, the catch-all last.
    pub fn elements(&self) -> Vec<Element> {
        let mut all = Vec::new();
        match &self.work {
            Work::Copy { root, .. } => {
                root.body.for_each(&mut |row| {
                    let expires = self.set.layout.expires(row.tail);
                    if expires > self.now_ns {
                        all.push(self.set.element(
                            Key::range(row.low, row.high),
                            row.tail,
                            expires,
                        ));
                    }
                });
                all.extend(self.get(&Key::CatchAll));
            }
            Work::Steps {
                flushed, touched, ..
            } => {
                if !flushed {
                    self.set.view().for_each(self.now_ns, &mut |element| {
                        if !touched.contains_key(&words_of(&element.key)) {
                            all.push(element);
                        }
                    });
                }
                let put = touched
                    .values()
                    .flatten()
                    .filter_map(|&step| self.put_at(step));
                all.extend(put.cloned());
            }
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Makes the change visible, and yields what the next generation sees of the set. Cannot fail:
    /// what could be refused was refused when it was added.
    pub fn commit(mut self) -> OwnView {
        self.done = true;
        let set = Arc::clone(&self.set);
        match (self.take_work(), &set.store) {
            (
                Work::Copy {
                    base,
                    mut root,
                    mut freed,
                    taken,
                },
                Store::Versions(current),
            ) => {
                let mut writer = set.lock();
                let version = current.load_full();
                if !set.spec.dynamic {
                    let next = Version {
                        root: arc_swap::ArcSwap::from_pointee(root),
                    };
                    current.store(Arc::new(next));
                    let old = version.root.load_full();
                    set.retire(&mut writer, Some(version), old, freed);
                } else {
                    let now = version.root.load_full();
                    if !Arc::ptr_eq(&now, &base) {
                        // Packets wrote meanwhile: the steps are done again on what they left.
                        set.slots.give_back(&taken);
                        (root, freed) = replay(&set, &mut writer, &now, &self.steps, self.now_ns);
                    }
                    version.root.store(Arc::new(root));
                    set.retire(&mut writer, None, now, freed);
                }
            }
            (Work::Steps { promised, .. }, Store::Table { table, .. }) => {
                for step in std::mem::take(&mut self.steps) {
                    do_step(&set, step, self.now_ns);
                }
                table.release(promised);
            }
            _ => {}
        }
        set.view()
    }
}

impl Change {
    /// The work, for who is done: another copy of a large structure would cost as much as the first.
    fn take_work(&mut self) -> Work {
        let nothing = Work::Steps {
            flushed: false,
            touched: HashMap::new(),
            promised: 0,
            gained: 0,
        };
        std::mem::replace(&mut self.work, nothing)
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if !self.done {
            match (&self.work, &self.set.store) {
                (Work::Copy { taken, .. }, _) => self.set.slots.give_back(taken),
                (Work::Steps { promised, .. }, Store::Table { table, .. }) => {
                    table.release(*promised)
                }
                _ => {}
            }
        }
        self.set.changing.store(false, Ordering::Release);
    }
}

/// The words of an exact key; none for the catch-all.
fn words_of(key: &Key) -> Box<[u32]> {
    match key {
        Key::Range { low, .. } => low.as_slice().into(),
        Key::CatchAll => Box::default(),
    }
}
