//! Sets and maps: their shape in programs, and the runtime sets behind their indices.
//!
//! A named set keeps its index for its life; its runtime set is made anew when its elements change.
//! Anonymous sets belong to a rule and live as long as it does.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_dataplane::program::lane_set::LaneSet;
use sluice_dataplane::program::small_set::{SmallElement, SmallSet};
use sluice_dataplane::program::{
    self as vm, ChainId, ElementStatement, SetData, SetDesc, SetId, Slots, Tables,
};
use sluice_dataplane::sets::{self, Change, Element as Row, Key, LaneView};

use super::error::Cause;
use super::expression::parts;
use super::lower::Lowering;
use super::named::{Runtime, data_words, secret, shape_of, state_of};
use super::registry::Registry;
use super::statement::{element_statements, object_kind};
use super::value::{bounds, columns, words};
use crate::model::ObjectKind;
use crate::model::expr::{DataType, Element, Expr, ExprKind, KeyPart, SetExpr, SetType, Verdict};
use crate::model::stmt::Stmt;
use crate::store::{Elements, Id, ObjectBody};

/// Anonymous sets of up to this many elements are compared one by one.
const SMALL: usize = 8;

/// Whose set it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SetKey {
    /// A set of a table.
    Named(Id),
    /// The n-th unnamed part of a rule.
    Anonymous(Id, u16),
}

/// All sets of a line of programs.
#[derive(Debug, Default)]
pub(super) struct Sets {
    registry: Registry<SetKey, Shape>,
    instances: Vec<Arc<dyn LaneSet>>,
    /// Named sets with their contents.
    pub(super) runtimes: HashMap<Id, Runtime>,
    /// Changes of sets that packets write, to be made when the program is published.
    pub(super) pending: Vec<(Id, Change, Elements)>,
    /// Chains that a verdict map's elements name.
    targets: HashMap<SetId, Vec<ChainId>>,
}

/// A set's shape as a key of free indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    key: u8,
    data: u8,
    kind: Option<vm::ObjectKind>,
    verdict: bool,
}

impl From<&SetDesc> for Shape {
    fn from(desc: &SetDesc) -> Self {
        let (data, kind, verdict) = match &desc.data {
            SetData::Nothing => (0, None, false),
            SetData::Columns { count } => (*count, None, false),
            SetData::Verdict => (1, None, true),
            SetData::Object { kind } => (1, Some(*kind), false),
        };
        Self {
            key: desc.key_columns,
            data,
            kind,
            verdict,
        }
    }
}

impl Sets {
    /// The index of a set of this shape.
    pub(super) fn number(
        &mut self,
        key: SetKey,
        desc: &SetDesc,
        now: u64,
        tables: &mut Tables,
    ) -> Result<SetId, Cause> {
        let fresh = || Ok::<_, Cause>(tables.set(desc.clone())?.0);
        Ok(SetId(self.registry.number(
            key,
            &Shape::from(desc),
            now,
            fresh,
        )?))
    }

    /// Puts the runtime set behind an index.
    pub(super) fn put(&mut self, id: SetId, instance: Arc<dyn LaneSet>, chains: Vec<ChainId>) {
        let at = id.0 as usize;
        if at == self.instances.len() {
            self.instances.push(instance);
        } else {
            self.instances[at] = instance;
        }
        if chains.is_empty() {
            self.targets.remove(&id);
        } else {
            self.targets.insert(id, chains);
        }
    }

    /// The index of a set of this shape that was built before.
    fn known(&self, key: &SetKey, desc: &SetDesc) -> Option<SetId> {
        let number = self.registry.get(key)?;
        let instance = self.instances.get(number as usize)?;
        (instance.desc() == *desc).then_some(SetId(number))
    }

    /// The index of a named set that the compilation has met.
    pub(super) fn named(&self, id: Id) -> Option<SetId> {
        self.registry.get(&SetKey::Named(id)).map(SetId)
    }

    /// Whether a named set's contents, behind this index, are these elements.
    pub(super) fn is_current(&self, owner: Id, id: SetId, elements: &Elements) -> bool {
        // Versions count from each declaration on: the same number of another declaration is
        // told apart by its memory.
        let same = |known: &Elements| {
            known.version == elements.version
                && known.map.ptr_eq(&elements.map)
                && known.catch_all.is_some() == elements.catch_all.is_some()
        };
        (id.0 as usize) < self.instances.len()
            && self
                .runtimes
                .get(&owner)
                .is_some_and(|known| same(&known.applied))
    }

    /// Makes the changes of sets that packets write.
    pub(super) fn commit(&mut self) {
        for (owner, change, elements) in self.pending.drain(..) {
            change.commit();
            if let Some(known) = self.runtimes.get_mut(&owner) {
                known.applied = elements;
            }
        }
    }

    /// Chains that a verdict map's elements name.
    pub(super) fn targets(&self, id: SetId) -> &[ChainId] {
        self.targets.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Notes that the compilation `now` met an anonymous set.
    pub(super) fn touch(&mut self, key: &SetKey, now: u64) {
        self.registry.touch(key, now);
    }

    /// Frees indices of sets that were last met before `since`, and their memory.
    pub(super) fn sweep(&mut self, since: u64) -> Result<(), Cause> {
        // Changes of a transaction that failed are not made.
        self.pending.clear();
        for number in self.registry.sweep(since) {
            let id = SetId(number);
            let desc = self.instances[number as usize].desc();
            self.put(id, empty(&desc)?, Vec::new());
        }
        let registry = &self.registry;
        self.runtimes
            .retain(|owner, _| registry.get(&SetKey::Named(*owner)).is_some());
        Ok(())
    }

    /// Runtime sets, by index.
    pub(super) fn all(&self) -> &[Arc<dyn LaneSet>] {
        &self.instances
    }

    /// Indices that nobody has.
    pub(super) fn idle(&self) -> usize {
        self.registry.idle()
    }
}

/// A set of a shape without elements: what stands behind an index that nobody has.
fn empty(desc: &SetDesc) -> Result<Arc<dyn LaneSet>, Cause> {
    let fields = [usize::from(desc.key_columns)];
    let set = SmallSet::new(&fields, desc.data.clone(), Vec::new());
    Ok(Arc::new(set.ok_or_else(|| refused("empty"))?))
}

/// The statements that all elements of an anonymous set carry.
fn carried(elements: &[Element]) -> Result<Vec<ElementStatement>, Cause> {
    let Some(first) = elements.iter().find(|element| !element.stmts.is_empty()) else {
        return Ok(Vec::new());
    };
    let statements = element_statements(&first.stmts)?;
    let kinds = |stmts: &[Stmt]| stmts.iter().map(std::mem::discriminant).collect::<Vec<_>>();
    // An element without a counter may count all the same: nobody lists it.
    let only_count = statements
        .iter()
        .all(|one| *one == ElementStatement::Counter);
    for element in elements {
        let same = kinds(&element.stmts) == kinds(&first.stmts)
            && element_statements(&element.stmts)? == statements;
        if !(same || element.stmts.is_empty() && only_count) {
            return Err(Cause::unsupported("elements with different statements"));
        }
    }
    Ok(statements)
}

/// An element of an anonymous set as the set engine takes it.
fn row((element, state): (SmallElement, Box<[u64]>)) -> Row {
    let catch_all = element.low.is_empty();
    let key = if catch_all {
        Key::CatchAll
    } else {
        Key::range(&element.low, &element.high)
    };
    let mut row = Row::new(key).with_data(&element.data);
    row.state = state;
    row
}

/// An anonymous set in the set engine.
fn large(
    parts: &[KeyPart],
    desc: &SetDesc,
    rows: Vec<Row>,
    statements: &[ElementStatement],
) -> Result<LaneView, Cause> {
    let is_range = |row: &Row| matches!(&row.key, Key::Range { low, high } if low != high);
    let spec = sets::SetSpec {
        data_words: data_words(&desc.data),
        initial_state: sets::initial_state(statements),
        ..sets::SetSpec::new(shape_of(parts, rows.iter().any(is_range)))
    };
    let failed = |error: sets::SetError| refused(&error.to_string());
    let set = sets::Set::new(spec, secret()).map_err(failed)?;
    let mut change = set.begin(0).map_err(failed)?;
    change.load(&rows).map_err(|(_, error)| failed(error))?;
    LaneView::new(change.commit().into(), desc.clone(), statements)
        .map_err(|error| refused(&error.to_string()))
}

fn refused(reason: &str) -> Cause {
    Cause::Set {
        name: "anonymous set".to_owned(),
        reason: reason.to_owned(),
    }
}

/// The shape of a set.
pub(super) fn desc_of(key: &SetType, data: Option<&DataType>) -> Result<SetDesc, Cause> {
    let width = |ty: &SetType| -> usize { ty.parts.iter().map(|part| columns(part.bits)).sum() };
    let narrow = |width: usize| {
        u8::try_from(width).map_err(|_| Cause::unsupported("a concatenation of more than 64 bytes"))
    };
    let data = match data {
        None => SetData::Nothing,
        Some(DataType::Verdict) => SetData::Verdict,
        Some(DataType::Value(ty)) => SetData::Columns {
            count: narrow(width(ty))?,
        },
        // First and last value side by side.
        Some(DataType::Interval(ty)) => SetData::Columns {
            count: narrow(2 * width(ty))?,
        },
        Some(DataType::Object(kind)) => SetData::Object {
            kind: object_kind(*kind)?,
        },
    };
    Ok(SetDesc {
        key_columns: narrow(width(key))?,
        data,
    })
}

impl Lowering<'_, '_> {
    /// The parts of a named set's key.
    pub(super) fn set_parts(&self, name: &str) -> Result<Vec<KeyPart>, Cause> {
        let missing = || Cause::Missing {
            what: "set",
            name: name.to_owned(),
        };
        Ok(self
            .shared
            .table
            .set(name)
            .ok_or_else(missing)?
            .spec
            .key
            .parts
            .clone())
    }

    /// The parts of a named map's data.
    pub(super) fn data_parts(&self, name: &str) -> Result<Vec<KeyPart>, Cause> {
        let missing = || Cause::Missing {
            what: "map",
            name: name.to_owned(),
        };
        match &self.shared.table.set(name).ok_or_else(missing)?.spec.data {
            Some(DataType::Value(ty)) => Ok(ty.parts.clone()),
            _ => Err(Cause::unsupported("a dynamic element of this kind of map")),
        }
    }

    /// Index and key of a look-up in a map, anonymous or named.
    pub(super) fn map_key(&mut self, key: &Expr, map: &Expr) -> Result<(SetId, Slots), Cause> {
        match &map.kind {
            ExprKind::Set(set) => {
                let keys = self.key_fields(key, &set.key.parts)?;
                Ok((self.anonymous_set(set)?, keys))
            }
            ExprKind::SetRef(name) => {
                let types = self.set_parts(name)?;
                let keys = self.key_fields(key, &types)?;
                Ok((self.named_set(name)?, keys))
            }
            _ => Err(Cause::unsupported(
                "a look-up in something that is not a map",
            )),
        }
    }

    /// `key map { ... }` as a value.
    pub(super) fn map_value(&mut self, key: &Expr, map: &Expr) -> Result<vm::Slot, Cause> {
        let Some(DataType::Value(ty)) = self.data_type(map) else {
            return Err(Cause::unsupported(
                "a value from something that is not a map of values",
            ));
        };
        let (set, keys) = self.map_key(key, map)?;
        let bits = match &ty.parts[..] {
            [part] => part.bits,
            parts => {
                32 * parts
                    .iter()
                    .map(|part| columns(part.bits) as u16)
                    .sum::<u16>()
            }
        };
        let into = self.work(bits)?;
        self.emit(vm::Op::MapInto { set, keys, into });
        Ok(into)
    }

    /// `key map { ... }` where the map yields ranges: first and last value side by side, and the
    /// width of each.
    pub(super) fn interval_value(
        &mut self,
        key: &Expr,
        map: &Expr,
    ) -> Result<(vm::Slot, u16), Cause> {
        let ty = match self.data_type(map) {
            Some(DataType::Interval(ty)) => ty,
            _ => return Err(Cause::unsupported("a map that does not yield ranges")),
        };
        let [part] = &ty.parts[..] else {
            return Err(Cause::unsupported("a map to ranges of a concatenation"));
        };
        let (bits, width) = (part.bits, 32 * columns(part.bits) as u16);
        if !matches!(width, 32 | 128) {
            return Err(Cause::unsupported("a map to ranges of this type"));
        }
        let (set, keys) = self.map_key(key, map)?;
        let into = self.work(2 * width)?;
        self.emit(vm::Op::MapInto { set, keys, into });
        Ok((into, bits))
    }

    fn data_type(&self, map: &Expr) -> Option<DataType> {
        match &map.kind {
            ExprKind::Set(set) => set.data.clone(),
            ExprKind::SetRef(name) => self
                .shared
                .table
                .set(name)
                .and_then(|set| set.spec.data.clone()),
            _ => None,
        }
    }

    /// Whether a map yields ranges.
    pub(super) fn maps_to_intervals(&self, map: &Expr) -> bool {
        matches!(self.data_type(map), Some(DataType::Interval(_)))
    }

    /// The index of an anonymous set of the rule.
    pub(super) fn anonymous_set(&mut self, set: &SetExpr) -> Result<SetId, Cause> {
        let part = self.next_part();
        let desc = desc_of(&set.key, set.data.as_ref())?;
        let key = SetKey::Anonymous(self.rule, part);
        // A rule's identity stands for its text, so its sets are the same as before; what packets
        // counted in their elements stays. Chains and objects may have come anew.
        let names_others = matches!(desc.data, SetData::Verdict | SetData::Object { .. });
        if let Some(known) = self
            .shared
            .sets
            .known(&key, &desc)
            .filter(|_| !names_others)
        {
            self.shared.sets.touch(&key, self.shared.now);
            return Ok(known);
        }
        let statements = carried(&set.elements)?;
        let mut elements = Vec::with_capacity(set.elements.len());
        let mut chains = Vec::new();
        for element in &set.elements {
            elements.push(self.small_element(element, set, &mut chains)?);
        }
        let built: Arc<dyn LaneSet> = if elements.len() <= SMALL && statements.is_empty() {
            // The catch-all is asked last.
            elements.sort_by_key(|element| element.low.is_empty());
            let fields: Vec<usize> = set
                .key
                .parts
                .iter()
                .map(|part| columns(part.bits))
                .collect();
            let built = SmallSet::new(&fields, desc.data.clone(), elements);
            Arc::new(built.ok_or_else(|| refused("elements do not fit its type"))?)
        } else {
            let states = set
                .elements
                .iter()
                .map(|element| state_of(&statements, &element.stmts));
            let rows = elements.into_iter().zip(states).map(row).collect();
            Arc::new(large(&set.key.parts, &desc, rows, &statements)?)
        };
        let shared = &mut *self.shared;
        let id = shared.sets.number(key, &desc, shared.now, shared.tables)?;
        shared.sets.put(id, built, chains);
        Ok(id)
    }

    fn small_element(
        &mut self,
        element: &Element,
        set: &SetExpr,
        chains: &mut Vec<ChainId>,
    ) -> Result<SmallElement, Cause> {
        let (low, high) = key_bounds(&element.key, &set.key.parts)?;
        let data = match (&set.data, &element.data, &element.object) {
            (None, ..) => Vec::new(),
            (Some(DataType::Value(ty)), Some(data), _) => value_words(data, &ty.parts)?,
            (Some(DataType::Interval(ty)), Some(data), _) => {
                let (mut low, high) = key_bounds(data, &ty.parts)?;
                low.extend(high);
                low
            }
            (Some(DataType::Verdict), Some(data), _) => {
                let ExprKind::Verdict(verdict) = &data.kind else {
                    return Err(refused("an element without a verdict"));
                };
                vec![self.verdict_word(verdict, chains)?]
            }
            (Some(DataType::Object(kind)), _, Some(name)) => vec![self.object_word(*kind, name)?],
            _ => return Err(refused("an element without data")),
        };
        Ok(SmallElement { low, high, data })
    }

    pub(super) fn verdict_word(
        &mut self,
        verdict: &Verdict,
        chains: &mut Vec<ChainId>,
    ) -> Result<u32, Cause> {
        let verdict = self.verdict_of(verdict)?;
        if let vm::Verdict::Jump { chain } | vm::Verdict::Goto { chain } = verdict {
            chains.push(chain);
        }
        Ok(verdict.to_word())
    }

    /// What an object map has for an object: the slot of a counter, the index of a cell, or the
    /// object's own number.
    pub(super) fn object_word(&mut self, kind: ObjectKind, name: &str) -> Result<u32, Cause> {
        let missing = || Cause::Missing {
            what: "object",
            name: name.to_owned(),
        };
        let object = self.shared.table.object(kind, name).ok_or_else(missing)?;
        Ok(match &object.body {
            ObjectBody::Counter { slot, .. } => slot.0,
            ObjectBody::Quota { cell, .. } => {
                self.cell(cell.key, &cell.cell, vm::CellKind::Quota)?.0
            }
            ObjectBody::Limit { cell, .. } => {
                self.cell(cell.key, &cell.cell, vm::CellKind::Limit)?.0
            }
            _ => object.id.0 as u32,
        })
    }
}

/// First and last key of an element, field by field; empty for the catch-all.
fn key_bounds(key: &Expr, types: &[KeyPart]) -> Result<(Vec<u32>, Vec<u32>), Cause> {
    let (mut low, mut high) = (Vec::new(), Vec::new());
    if matches!(key.kind, ExprKind::CatchAll) {
        return Ok((low, high));
    }
    let parts = parts(key);
    if parts.len() != types.len() {
        return Err(refused("an element with another number of fields"));
    }
    for (part, ty) in parts.iter().zip(types) {
        let (first, last) = bounds(part)?;
        low.extend(words(first, ty.bits));
        high.extend(words(last, ty.bits));
    }
    Ok((low, high))
}

/// The words of a map's value.
fn value_words(data: &Expr, types: &[KeyPart]) -> Result<Vec<u32>, Cause> {
    let parts = parts(data);
    if parts.len() != types.len() {
        return Err(refused("data with another number of fields"));
    }
    let mut all = Vec::new();
    for (part, ty) in parts.iter().zip(types) {
        let value = part
            .value()
            .ok_or_else(|| refused("data that is not a constant"))?;
        all.extend(words(value, ty.bits));
    }
    Ok(all)
}
