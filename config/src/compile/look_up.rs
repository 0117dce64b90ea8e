//! Look-ups in sets and maps, and the sets that stand in rules without a name.

use std::sync::Arc;

use sluice_dataplane::program::lane_set::LaneSet;
use sluice_dataplane::program::small_set::{SmallElement, SmallSet};
use sluice_dataplane::program::{
    self as vm, ChainId, ElementStatement, SetData, SetDesc, SetId, Slots,
};
use sluice_dataplane::sets::{self, Element as Row, Key, LaneView};

use super::error::Cause;
use super::expression::parts;
use super::lower::Lowering;
use super::named::{data_words, secret, shape_of, state_of};
use super::sets::{SetKey, desc_of};
use super::statement::element_statements;
use super::value::{bounds, columns, words};
use crate::model::ObjectKind;
use crate::model::expr::{DataType, Element, Expr, ExprKind, KeyPart, SetExpr, Verdict};
use crate::model::stmt::Stmt;
use crate::store::ObjectBody;

/// Anonymous sets of up to this many elements are compared one by one.
const SMALL: usize = 8;

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
