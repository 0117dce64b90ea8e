//! Sets and maps: add, delete, flush; and those that `meter` statements make.

use std::sync::Arc;

use super::echo::News;
use super::rule::TableScope;
use super::suggest::{self, Noun};
use super::{Done, Errno, Fail, Transaction, check_name, named, refuse, shared};
use crate::model::expr::{DataType, SetType};
use crate::model::{Rule, RuleContext, Stmt};
use crate::store::references::Node;
use crate::store::{Chunk, Elements, Id, Name, Set, SetSpec, checker};
use crate::syntax::ast::{ItemRef, SetBody, SetKeyword, SetPolicy, Which};
use crate::syntax::{Diagnostic, Span};

/// Size of a meter that names none.
const METER_SIZE: u32 = 65_535;

impl Transaction<'_> {
    pub(super) fn add_set(
        &mut self,
        keyword: SetKeyword,
        set: &ItemRef,
        body: &SetBody,
        create: bool,
        span: Span,
    ) -> Done {
        self.checked_table(set.family, &set.table)?;
        let name = named(set)?;
        check_name(name)?;
        let spec = self.check_set(keyword, set, body)?;
        let table = self.table_mut(set.family, &set.table)?;
        match table.set(&name.value) {
            Some(_) if create => return refuse(name.span, Errno::Exists),
            Some(known) if !known.spec.fits(&spec) => return refuse(name.span, Errno::Exists),
            Some(known) => {
                let mut kept = (*known.spec).clone();
                kept.timeout_ms = spec.timeout_ms.or(kept.timeout_ms);
                kept.gc_interval_ms = spec.gc_interval_ms.or(kept.gc_interval_ms);
                kept.size = spec.size.or(kept.size);
                if kept != *known.spec
                    && let Some(known) = table.set_mut(&name.value)
                {
                    known.spec = Arc::new(kept);
                    self.changed = true;
                }
            }
            None => {
                let handle = table.give_handle();
                let (family, table_name) = (table.family, table.name.clone());
                let name = shared(&name.value);
                let old = self.removed.take_set(family, &table_name, &name);
                let (id, elements) = match old {
                    Some(old) if old.spec.fits(&spec) => (old.id, old.elements.reloaded()),
                    _ => (Id::fresh(), Elements::default()),
                };
                let new = Set {
                    id,
                    name,
                    handle,
                    spec: Arc::new(spec),
                    elements,
                };
                let name = new.name.clone();
                self.table_mut(set.family, &set.table)?.put_set(new);
                self.changed = true;
                if let Some(index) = self.ruleset.position(family, &table_name) {
                    self.announce(index, News::Set(&name));
                }
            }
        }
        match &body.elements {
            Some(elements) => self.add_elements(set, elements, false, span),
            None => Ok(()),
        }
    }

    fn check_set(&self, keyword: SetKeyword, set: &ItemRef, body: &SetBody) -> Done<SetSpec> {
        let table = self.ruleset.table(set.family, &set.table.value);
        let scope = TableScope {
            table: table.map(|table| &**table),
            ruleset: &self.ruleset,
            profile: self.profile,
        };
        let context = RuleContext {
            family: set.family,
            table: &set.table.value,
            chain: None,
            scope: &scope,
        };
        let is_map = keyword == SetKeyword::Map;
        let complain = |span: Span, what: &str| Fail::from(Diagnostic::error(span, what));
        let Some(key) = &body.key else {
            return Err(complain(
                self.without_brace(body.span),
                "set definition does not specify key",
            ));
        };
        let key = checker::key_type(key, &context).map_err(Fail::Check)?;
        check_sizes(&key, body.span)?;
        let data = match &body.data {
            Some(data) => Some(checker::data_type(data, &context).map_err(Fail::Check)?),
            None if is_map => {
                return Err(complain(
                    body.span,
                    "map definition does not specify mapping data type",
                ));
            }
            None => None,
        };
        let stmts = checker::stateful(&body.stmts, &context).map_err(Fail::Check)?;
        let size = match &body.size {
            Some(size) => match u32::try_from(size.value) {
                Ok(size) => Some(size),
                Err(_) => return Err(complain(size.span, "the size of a set must fit 32 bits")),
            },
            None => None,
        };
        Ok(SetSpec {
            key,
            data,
            constant: body.flags.constant,
            interval: body.flags.interval,
            timeout: body.flags.timeout || body.timeout_ms.is_some(),
            dynamic: body.flags.dynamic,
            meter: false,
            timeout_ms: body.timeout_ms.as_ref().map(|timeout| timeout.value),
            gc_interval_ms: body.gc_interval_ms.as_ref().map(|interval| interval.value),
            size: size.filter(|size| *size > 0),
            policy_memory: body
                .policy
                .as_ref()
                .map(|policy| policy.value == SetPolicy::Memory),
            auto_merge: body.auto_merge,
            stmts,
            comment: body.comment.as_ref().map(|comment| shared(&comment.value)),
        })
    }

    /// nft's place of a block ends before the brace that closes it.
    fn without_brace(&self, span: Span) -> Span {
        let text = self.sources.slice(span);
        let inner = text.strip_suffix('}').map_or(text, str::trim_end);
        Span {
            end: span.start + inner.len() as u32,
            ..span
        }
    }

    pub(super) fn delete_set(&mut self, set: &ItemRef, lenient: bool) -> Done {
        let index = match self.place_of(set, Noun::Set) {
            Ok(index) => index,
            Err(_) if lenient => return Ok(()),
            Err(fail) => return Err(fail),
        };
        let table = &self.ruleset.tables[index];
        let found = match &set.which {
            Which::Name(name) => table.set(&name.value),
            Which::Handle(handle) => table.sets.get(&handle.value),
        };
        let Some(found) = found.cloned() else {
            return match &set.which {
                _ if lenient => Ok(()),
                Which::Name(name) => Err(suggest::missing(
                    &self.ruleset,
                    Noun::Set,
                    set.family,
                    &set.table,
                    &name.value,
                    name.span,
                )),
                Which::Handle(handle) => refuse(handle.span, Errno::NoEntry),
            };
        };
        let node = Node::Set(found.name.clone());
        let users = table.references.users(&node);
        if !users.is_empty() {
            return self.busy(set.which.span(), table, &users);
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        table.references.forget(&node);
        table.take_set(&found.name);
        let (family, table_name) = (table.family, table.name.clone());
        self.note_deleted("set", || {
            format!(
                "delete set {} {} {}",
                family.keyword(),
                table_name,
                found.name
            )
        });
        self.removed.set(family, &table_name, found);
        self.changed = true;
        Ok(())
    }

    pub(super) fn flush_set(&mut self, keyword: SetKeyword, set: &ItemRef) -> Done {
        let name = named(set)?;
        let table = self.checked_table(set.family, &set.table)?;
        let fits = |found: &Set| match keyword {
            SetKeyword::Set => !found.is_map() && !found.spec.meter,
            SetKeyword::Map => found.is_map(),
            SetKeyword::Meter => found.spec.meter,
        };
        if table.set(&name.value).is_some_and(|found| !fits(found)) {
            return Err(Diagnostic::error(name.span, Errno::NoEntry.text()).into());
        }
        if table.set(&name.value).is_none() {
            return Err(suggest::unknown(&self.ruleset, Noun::Set, &name.value, name.span).into());
        }
        let table = self.table_mut(set.family, &set.table)?;
        table.references.forget(&Node::Set(shared(&name.value)));
        if let Some(known) = table.set_mut(&name.value) {
            known.elements.clear();
        }
        self.changed = true;
        Ok(())
    }

    /// The sets of a rule's `meter` statements, with handles from `first` on; nothing stays of them when one cannot be made.
    pub(super) fn make_meters(
        &mut self,
        index: usize,
        body: &Rule,
        first: u64,
        span: Span,
    ) -> Done<Vec<Name>> {
        let mut made = Vec::new();
        for stmt in &body.stmts {
            let Stmt::Meter(meter) = stmt else { continue };
            let table = Arc::make_mut(&mut self.ruleset.tables[index]);
            let name = shared(&meter.name);
            if table.set(&name).is_some() {
                made.iter()
                    .for_each(|name: &Name| drop(table.take_set(name)));
                return refuse(span, Errno::Exists);
            }
            let key = SetType {
                parts: crate::model::check::parts_of(&meter.element.key),
                type_of: None,
            };
            let timeout = meter.element.timeout_ms.is_some();
            let spec = SetSpec {
                key,
                data: None,
                constant: false,
                interval: false,
                timeout,
                dynamic: true,
                meter: true,
                timeout_ms: None,
                gc_interval_ms: None,
                size: Some(meter.size.unwrap_or(METER_SIZE)),
                policy_memory: None,
                auto_merge: false,
                stmts: Vec::new(),
                comment: None,
            };
            let handle = first + made.len() as u64;
            let (family, table_name) = (table.family, table.name.clone());
            let old = self.removed.take_set(family, &table_name, &name);
            let (id, elements) = match old.filter(|old| old.spec.fits(&spec)) {
                Some(old) => (old.id, old.elements.reloaded()),
                None => (Id::fresh(), Elements::default()),
            };
            table.put_set(Set {
                id,
                name: name.clone(),
                handle,
                spec: Arc::new(spec),
                elements,
            });
            made.push(name);
        }
        Ok(made)
    }

    /// Meters go with the rules that made them.
    pub(super) fn drop_unused_meters(&mut self, index: usize, gone: &[Arc<Chunk>]) {
        for rule in gone.iter().flat_map(|chunk| &chunk.rules) {
            for stmt in &rule.body.stmts {
                let Stmt::Meter(meter) = stmt else { continue };
                let name = shared(&meter.name);
                if !self.ruleset.tables[index]
                    .references
                    .used(&Node::Set(name.clone()))
                {
                    let table = Arc::make_mut(&mut self.ruleset.tables[index]);
                    let (family, table_name) = (table.family, table.name.clone());
                    if let Some(set) = table.take_set(&name) {
                        self.removed.set(family, &table_name, set);
                    }
                }
            }
        }
    }
}

/// Keys are at most 64 bytes wide.
fn check_sizes(key: &SetType, span: Span) -> Done {
    let bytes: u16 = key
        .parts
        .iter()
        .map(|part| part.bits.div_ceil(32) * 4)
        .sum();
    if key.parts.iter().any(|part| part.bits == 0) {
        let complaint = "unqualified type integer specified in set definition. Try \"typeof expression\" instead of \"type datatype\".";
        return Err(Diagnostic::error(span, complaint).into());
    }
    if bytes > 64 {
        return refuse(span, Errno::Range);
    }
    Ok(())
}

/// Whether a map yields objects of a kind.
pub(super) fn object_kind(spec: &SetSpec) -> Option<crate::model::ObjectKind> {
    match spec.data {
        Some(DataType::Object(kind)) => Some(kind),
        _ => None,
    }
}
