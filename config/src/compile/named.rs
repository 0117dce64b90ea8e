//! Runtime sets of named sets and maps: made once, then changed by what differs.
//!
//! The store keeps the elements that commands gave; a runtime set also has what packets added. What a
//! transaction changed is found by comparing the store's elements with those that were applied last,
//! so one element more costs the same in a set of ten and of a million.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use sluice_dataplane::program::{ChainId, ElementStatement, SetData, SetDesc};
use sluice_dataplane::sets::{self, Change, Element, Key, LaneView, SetError, initial_state};

use super::error::Cause;
use super::lower::{Lowering, Shared, StateCursor};
use super::sets::{SetKey, desc_of};
use super::statement::element_statements;
use super::value::columns;
use crate::model::expr::{DataType, KeyPart};
use crate::model::stmt::Stmt;
use crate::store::{ElementData, Elements, Id, RuleSlots, Set, SetSpec, StoredElement, Words};

/// Fewer differing elements than this are always changed one by one.
const MUCH: usize = 1024;

/// A runtime set and what it was made of.
#[derive(Debug)]
pub(super) struct Runtime {
    pub(super) set: Arc<sets::Set>,
    /// What its elements carry.
    pub(super) statements: Vec<ElementStatement>,
    spec: Arc<SetSpec>,
    /// Elements that commands gave, as they were applied last.
    pub(super) applied: Elements,
}

/// A number that nobody can guess, to key a set's hashing.
pub(crate) fn secret() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The words of every field.
pub(super) fn field_words(parts: &[KeyPart]) -> Vec<u8> {
    parts.iter().map(|part| columns(part.bits) as u8).collect()
}

/// The structure for keys of these fields.
pub(super) fn shape_of(parts: &[KeyPart], intervals: bool) -> sets::Shape {
    let fields = field_words(parts);
    match (&fields[..], intervals) {
        (&[words], true) => sets::Shape::Interval { words },
        (_, true) => sets::Shape::Boxes {
            fields: fields.into_iter().collect(),
            nested: true,
        },
        (_, false) => sets::Shape::Exact {
            words: fields.iter().sum(),
        },
    }
}

/// Words of an element's data.
pub(super) fn data_words(data: &SetData) -> u8 {
    match data {
        SetData::Nothing => 0,
        SetData::Columns { count } => *count,
        SetData::Verdict | SetData::Object { .. } => 1,
    }
}

fn refused(name: &str, error: SetError) -> Cause {
    Cause::Set {
        name: name.to_owned(),
        reason: error.to_string(),
    }
}

/// Whether packets may change a set.
fn is_dynamic(spec: &SetSpec) -> bool {
    !spec.constant && (spec.dynamic || spec.timeout || spec.meter)
}

fn runtime(set: &Set, desc: &SetDesc, statements: Vec<ElementStatement>) -> Result<Runtime, Cause> {
    let spec = &set.spec;
    let ms = |ms: u64| ms.saturating_mul(1_000_000);
    let dynamic = is_dynamic(spec);
    let made = sets::SetSpec {
        data_words: data_words(&desc.data),
        timed: dynamic,
        default_timeout_ns: spec.timeout_ms.map(ms),
        initial_state: initial_state(&statements),
        size: spec.size,
        dynamic,
        ..sets::SetSpec::new(shape_of(&spec.key.parts, spec.interval))
    };
    let made = sets::Set::new(made, secret()).map_err(|error| refused(&set.name, error))?;
    let (spec, applied) = (Arc::clone(spec), Elements::default());
    Ok(Runtime {
        set: made,
        statements,
        spec,
        applied,
    })
}

impl Shared<'_> {
    /// Gives a named set its index, and brings its runtime set up to the store's elements.
    pub(super) fn named(&mut self, set: &Set) -> Result<(), Cause> {
        let declared = element_statements(&set.spec.stmts)?;
        let desc = desc_of(&set.spec.key, set.spec.data.as_ref())?;
        let id = self
            .sets
            .number(SetKey::Named(set.id), &desc, self.now, self.tables)?;
        let known = self.sets.runtimes.get(&set.id);
        let fits = known.is_some_and(|known| {
            (Arc::ptr_eq(&known.spec, &set.spec) || known.spec == set.spec)
                && (declared.is_empty() || known.statements == declared)
        });
        if !fits {
            // What rules let its elements carry stays when the declaration changes otherwise.
            let carried = known
                .map(|known| known.statements.clone())
                .unwrap_or_default();
            let statements = if declared.is_empty() {
                carried
            } else {
                declared
            };
            self.sets
                .runtimes
                .insert(set.id, runtime(set, &desc, statements)?);
        } else if self.sets.is_current(set.id, id, &set.elements) {
            return Ok(());
        }
        self.update(set, &desc)
    }

    /// Elements of the set carry these statements, because a rule adds them so.
    pub(super) fn carry(&mut self, set: &Set, stmts: &[Stmt]) -> Result<(), Cause> {
        let statements = element_statements(stmts)?;
        let known = self
            .sets
            .runtimes
            .get(&set.id)
            .map(|known| known.statements.clone());
        match known {
            Some(known) if known == statements || statements.is_empty() => Ok(()),
            Some(known) if !known.is_empty() => Err(Cause::unsupported(format!(
                "set {} with different statements of elements",
                set.name
            ))),
            _ => {
                let desc = desc_of(&set.spec.key, set.spec.data.as_ref())?;
                self.sets
                    .runtimes
                    .insert(set.id, runtime(set, &desc, statements)?);
                self.update(set, &desc)
            }
        }
    }

    /// Applies what differs. A set that packets change is changed when the program is published; it
    /// has one content for all generations.
    fn update(&mut self, set: &Set, desc: &SetDesc) -> Result<(), Cause> {
        let missing = || Cause::Missing {
            what: "set",
            name: set.name.to_string(),
        };
        let id = self.sets.named(set.id).ok_or_else(missing)?;
        let known = self.sets.runtimes.get(&set.id).ok_or_else(missing)?;
        let (target, statements, applied) = (
            Arc::clone(&known.set),
            known.statements.clone(),
            known.applied.clone(),
        );
        let slots = RuleSlots::default();
        let mut cursor = StateCursor::default();
        let now_ns = self.now_ns;
        let mut lowering = Lowering::new(self, Id(0), &slots, &mut cursor);
        let mut edit = Edit {
            set,
            lowering: &mut lowering,
            chains: Vec::new(),
            statements: &statements,
        };
        let change = target
            .begin(now_ns)
            .map_err(|error| refused(&set.name, error))?;
        let change = edit.apply(change, &applied)?;
        let chains = edit.chains;
        let view = match change {
            Some(change) if is_dynamic(&set.spec) => {
                self.sets
                    .pending
                    .push((set.id, change, set.elements.clone()));
                target.view()
            }
            Some(change) => {
                let view = change.commit();
                if let Some(known) = self.sets.runtimes.get_mut(&set.id) {
                    known.applied = set.elements.clone();
                }
                view
            }
            None => target.view(),
        };
        let lanes =
            LaneView::new(view.into(), desc.clone(), &statements).map_err(|error| Cause::Set {
                name: set.name.to_string(),
                reason: error.to_string(),
            })?;
        self.sets.put(id, Arc::new(lanes), chains);
        Ok(())
    }
}

/// An edit of a runtime set.
struct Edit<'e, 'a, 'b> {
    set: &'e Set,
    lowering: &'e mut Lowering<'a, 'b>,
    /// Chains that elements name.
    chains: Vec<ChainId>,
    statements: &'e [ElementStatement],
}

impl Edit<'_, '_, '_> {
    /// The change from the elements that were applied; `None` when nothing differs.
    fn apply(&mut self, mut change: Change, applied: &Elements) -> Result<Option<Change>, Cause> {
        let (old, new) = (applied, &self.set.elements);
        let name = &self.set.name;
        let flushed = old.cleared != new.cleared;
        if flushed {
            change.flush();
        }
        if (flushed || old.is_empty()) && !new.is_empty() {
            if let Some(keys) = self.bare_keys(new) {
                change
                    .load_keys(keys)
                    .map_err(|(_, error)| refused(name, error))?;
                return Ok(Some(change));
            }
            let mut all = Vec::with_capacity(new.len());
            for (low, element) in &new.map {
                all.push(self.element(key_of(low, element), element)?);
            }
            if let Some(element) = &new.catch_all {
                all.push(self.element(Key::CatchAll, element)?);
            }
            change
                .load(&all)
                .map_err(|(_, error)| refused(name, error))?;
            return Ok(Some(change));
        }
        if flushed {
            return Ok(Some(change));
        }
        if self.much_differs(old)
            && let Some(keys) = self.bare_keys(new)
        {
            change.flush();
            change
                .load_keys(keys)
                .map_err(|(_, error)| refused(name, error))?;
            return Ok(Some(change));
        }
        self.differences(&mut change, old)?;
        // A verdict map is asked for its chains as a whole.
        self.note_chains()?;
        Ok(Some(change))
    }

    /// First and last keys of all elements, one after the other, where there is nothing but keys: what
    /// a large list is loaded from without a detour.
    fn bare_keys(&self, elements: &Elements) -> Option<Vec<u32>> {
        let extra = |element: &StoredElement| element.extra.is_some();
        if is_dynamic(&self.set.spec)
            || self.set.spec.data.is_some()
            || !self.statements.is_empty()
            || elements.catch_all.is_some()
            || elements.map.values().any(extra)
        {
            return None;
        }
        let width: usize = field_words(&self.set.spec.key.parts)
            .iter()
            .map(|&words| usize::from(words))
            .sum();
        let mut keys = Vec::with_capacity(2 * width * elements.map.len());
        for (low, element) in &elements.map {
            keys.extend_from_slice(low);
            keys.extend_from_slice(element.high.as_deref().unwrap_or(low));
        }
        Some(keys)
    }

    /// Whether so much differs that building anew is less work than changing.
    fn much_differs(&self, old: &Elements) -> bool {
        let new = &self.set.elements;
        let limit = old.len().max(new.len()) / 4;
        limit >= MUCH && old.map.diff(&new.map).take(limit).count() == limit
    }

    fn differences(&mut self, change: &mut Change, old: &Elements) -> Result<(), Cause> {
        let set = self.set;
        let (mut gone, mut fresh) = (Vec::new(), Vec::new());
        for item in old.map.diff(&set.elements.map) {
            match item {
                DiffItem::Add(low, element) => fresh.push((key_of(low, element), element)),
                DiffItem::Remove(low, element) => gone.push(key_of(low, element)),
                DiffItem::Update { old, new } => {
                    gone.push(key_of(old.0, old.1));
                    fresh.push((key_of(new.0, new.1), new.1));
                }
            }
        }
        // What packets had added and a command took away.
        if old.gone.number != set.elements.gone.number {
            gone.extend(
                set.elements
                    .gone
                    .keys
                    .iter()
                    .map(|(low, high)| Key::range(low, high)),
            );
        }
        if old.catch_all != set.elements.catch_all {
            gone.extend(old.catch_all.as_ref().map(|_| Key::CatchAll));
            fresh.extend(
                set.elements
                    .catch_all
                    .as_ref()
                    .map(|element| (Key::CatchAll, element)),
            );
        }
        for key in &gone {
            match change.remove(key) {
                // It expired meanwhile.
                Ok(_) | Err(SetError::Missing) => {}
                Err(error) => return Err(refused(&set.name, error)),
            }
        }
        let mut all = Vec::with_capacity(fresh.len());
        for (key, element) in fresh {
            all.push(self.element(key, element)?);
        }
        if let [one] = &all[..] {
            change.put(one).map_err(|error| refused(&set.name, error))?;
        } else if !all.is_empty() {
            change
                .load(&all)
                .map_err(|(_, error)| refused(&set.name, error))?;
        }
        Ok(())
    }

    fn note_chains(&mut self) -> Result<(), Cause> {
        let elements = &self.set.elements;
        if !matches!(self.set.spec.data, Some(DataType::Verdict)) {
            return Ok(());
        }
        self.chains.clear();
        for element in elements.map.values().chain(&elements.catch_all) {
            if let Some(ElementData::Verdict(verdict)) = element.data.as_deref() {
                self.lowering.verdict_word(verdict, &mut self.chains)?;
            }
        }
        Ok(())
    }

    fn element(&mut self, key: Key, stored: &StoredElement) -> Result<Element, Cause> {
        let data =
            self.lowering
                .element_data(stored, self.set.spec.data.as_ref(), &mut self.chains)?;
        let mut element = Element::new(key).with_data(&data);
        if let Some(extra) = &stored.extra {
            if is_dynamic(&self.set.spec) {
                element.timeout_ns = extra.timeout_ms.map(|ms| ms.saturating_mul(1_000_000));
                element.expires_ns = extra.expires_at_ns;
            }
            element.state = state_of(self.statements, &extra.stmts);
        }
        Ok(element)
    }
}

/// The state words with which an element begins that was written with its counts; none without.
pub(super) fn state_of(statements: &[ElementStatement], stmts: &[Stmt]) -> Box<[u64]> {
    let counts = |stmt: &Stmt| matches!(stmt, Stmt::Counter { .. } | Stmt::Quota(_));
    if stmts.len() != statements.len() || !stmts.iter().any(counts) {
        return Box::default();
    }
    let mut words = Vec::new();
    for (statement, stmt) in statements.iter().zip(stmts) {
        match stmt {
            Stmt::Counter { packets, bytes } => words.extend([*packets, *bytes]),
            Stmt::Quota(quota) => words.push(quota.used),
            _ => words.extend(initial_state(std::slice::from_ref(statement))),
        }
    }
    words.into()
}

fn key_of(low: &Words, element: &StoredElement) -> Key {
    Key::range(low, element.high.as_ref().map_or(low, |high| high))
}

impl Lowering<'_, '_> {
    fn element_data(
        &mut self,
        element: &StoredElement,
        data: Option<&DataType>,
        chains: &mut Vec<ChainId>,
    ) -> Result<Vec<u32>, Cause> {
        let missing = || Cause::Set {
            name: String::new(),
            reason: "an element without data".into(),
        };
        let Some(data) = data else {
            return Ok(Vec::new());
        };
        match (data, element.data.as_deref().ok_or_else(missing)?) {
            (DataType::Interval(_), ElementData::Value(low, high)) => {
                let high = high.as_ref().unwrap_or(low);
                Ok(low.iter().chain(high).copied().collect())
            }
            (_, ElementData::Value(words, _)) => Ok(words.to_vec()),
            (_, ElementData::Verdict(verdict)) => Ok(vec![self.verdict_word(verdict, chains)?]),
            (DataType::Object(kind), ElementData::Object(name)) => {
                Ok(vec![self.object_word(*kind, name)?])
            }
            _ => Err(missing()),
        }
    }
}
