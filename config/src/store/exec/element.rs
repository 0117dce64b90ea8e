//! Elements: add, create, delete, get.

use std::collections::HashMap;
use std::sync::Arc;

use super::echo::News;
use super::rule::TableScope;
use super::set::object_kind;
use super::suggest::{self, Noun};
use super::{Done, Errno, Fail, Transaction, named, refuse};
use crate::model::expr::{DataType, ExprKind};
use sluice_dataplane::sets::Key;

use crate::model::{Element, RuleContext};
use crate::store::elements::{Clash, bounds};
use crate::store::live;
use crate::store::references::{self, Node};
use crate::store::{ElementData, Elements, Set, StoredElement, Table, Words, checker};
use crate::syntax::ast::{self, ItemRef};
use crate::syntax::{Diagnostic, Span};

impl Transaction<'_> {
    /// The set that elements are for, and what the check makes of them.
    fn check_elements(&self, set: &ItemRef, elements: &ast::Expr) -> Done<Vec<(Element, Span)>> {
        let table = self.checked_table(set.family, &set.table)?;
        let name = named(set)?;
        let Some(found) = table.set(&name.value) else {
            return Err(suggest::unknown(&self.ruleset, Noun::Set, &name.value, name.span).into());
        };
        let scope = TableScope {
            table: Some(table),
            ruleset: &self.ruleset,
            profile: self.profile,
        };
        let context = RuleContext {
            family: set.family,
            table: &set.table.value,
            chain: None,
            scope: &scope,
        };
        checker::elements(elements, &found.info(), &context).map_err(Fail::Check)
    }

    pub(super) fn add_elements(
        &mut self,
        set: &ItemRef,
        elements: &ast::Expr,
        create: bool,
        span: Span,
    ) -> Done {
        let checked = self.check_elements(set, elements)?;
        let name = named(set)?;
        let now_ns = self.now_ns;
        let index = self.place_of(set, Noun::Set)?;
        let table = &self.ruleset.tables[index];
        for (element, at) in &checked {
            check_targets(table, element, object_kind_of(table, &name.value), *at)?;
        }
        let Some(known) = table.set(&name.value) else {
            return Ok(());
        };
        let spec = known.spec.clone();
        if spec.constant && table.references.used(&Node::Set(known.name.clone())) {
            return refuse(span, Errno::Busy);
        }
        let bare = |element: &Element| element.data.is_none() && element.object.is_none();
        if let Some((_, at)) = checked
            .iter()
            .find(|(element, _)| spec.data.is_some() && bare(element))
        {
            return refuse(*at, Errno::Invalid);
        }
        let node = Node::Set(known.name.clone());
        let mut next = known.elements.clone();
        let mut added = Vec::new();
        let mut told = Vec::new();
        let mut written = Elements::default();
        let mut places = HashMap::new();
        for (element, at) in &checked {
            let (low, stored) = StoredElement::new(element, spec.timeout_ms, now_ns);
            if spec.interval && spec.key.parts.len() == 1 && low.is_some() {
                self.check_overlap(known, &written, &places, low.as_ref(), &stored, create, *at)?;
                places.extend(low.clone().map(|low| (low, *at)));
                written.put(low.clone(), stored.clone());
            }
            if spec.auto_merge
                && spec.interval
                && spec.key.parts.len() == 1
                && spec.data.is_none()
                && let Some(low) = low
            {
                let high = stored
                    .high
                    .as_deref()
                    .cloned()
                    .unwrap_or_else(|| low.clone());
                let (low, high) = next.merge(low, high);
                let high = (high != low).then(|| Box::new(high));
                next.put(Some(low), StoredElement { high, ..stored });
                continue;
            }
            if let Some(known_low) = low
                .as_ref()
                .filter(|low| next.map.get(*low).is_some_and(|old| old.expired(now_ns)))
            {
                next.drop_at(known_low);
            }
            if create
                && low
                    .as_ref()
                    .is_some_and(|low| self.added_by_packet(known, low))
            {
                return refuse(*at, Errno::Exists);
            }
            match next.clash(low.as_ref(), &stored, spec.interval, &spec.key.parts) {
                Some((Clash::Same, _)) if !create => continue,
                Some((Clash::OtherData, _)) if !create => return refuse(*at, Errno::Exists),
                Some(_) => return refuse(*at, Errno::Exists),
                None => {}
            }
            if spec.size.is_some_and(|size| next.len() >= size as usize) {
                next.expire(now_ns);
                if spec.size.is_some_and(|size| next.len() >= size as usize) {
                    return refuse(*at, Errno::TableFull);
                }
            }
            if told.len() < 1000 || self.options.echo {
                told.push((low.clone(), stored.clone()));
            }
            next.put(low, stored);
            added.push(element);
        }
        let mut used = Vec::new();
        for element in added {
            targets(element, object_kind(&spec), &mut |target| used.push(target));
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        used.iter()
            .for_each(|target| table.references.add(&node, target.clone()));
        if used.iter().any(|target| matches!(target, Node::Chain(_)))
            && let Err(fail) = self.check_jumps(&self.ruleset.tables[index], &node, span)
        {
            let table = Arc::make_mut(&mut self.ruleset.tables[index]);
            used.iter()
                .for_each(|target| table.references.remove(&node, target));
            return Err(fail);
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        if let Some(known) = table.set_mut(&name.value) {
            self.changed |= known.elements.version != next.version;
            known.elements = next;
        }
        self.announce(index, News::Elements(&name.value, &told));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    /// Whether a packet added the element, so that the store does not know it.
    fn added_by_packet(&self, set: &Set, low: &Words) -> bool {
        if !(set.spec.dynamic || set.spec.timeout || set.spec.meter) {
            return false;
        }
        let Some(live) = self.live.set(set.id) else {
            return false;
        };
        let there = live.set.view().get(&Key::exact(low), self.now_ns).is_some();
        let fresh = live.applied.gone.number != set.elements.gone.number;
        let forgotten = fresh && set.elements.gone.keys.iter().any(|(gone, _)| gone == low);
        there
            && !forgotten
            && live.applied.cleared == set.elements.cleared
            && live.applied.map.get(low).is_none()
    }

    /// nft's own look at ranges, before the kernel's.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call, between two passes over one command"
    )]
    fn check_overlap(
        &self,
        known: &Set,
        written: &Elements,
        places: &HashMap<Words, Span>,
        low: Option<&Words>,
        stored: &StoredElement,
        create: bool,
        at: Span,
    ) -> Done {
        if known.spec.auto_merge {
            return Ok(());
        }
        let parts = &known.spec.key.parts;
        let complain = |what: &str| Err(Diagnostic::error(at, what).into());
        match known.elements.clash(low, stored, true, parts) {
            Some((Clash::Overlap, _)) => return complain("interval overlaps with an existing one"),
            Some((Clash::OtherData, _)) if !create => return refuse(at, Errno::Exists),
            _ => {}
        }
        match written.clash(low, stored, true, parts) {
            Some((_, other)) => {
                let complaint = Diagnostic::error(at, "conflicting intervals specified");
                let related = places.get(&other).copied();
                Err(match related {
                    Some(related) => complaint.with_related(related).into(),
                    None => complaint.into(),
                })
            }
            None => Ok(()),
        }
    }

    pub(super) fn delete_elements(
        &mut self,
        set: &ItemRef,
        elements: &ast::Expr,
        lenient: bool,
        span: Span,
    ) -> Done {
        let checked = self.check_elements(set, elements)?;
        let name = named(set)?;
        let now_ns = self.now_ns;
        let index = self.place_of(set, Noun::Set)?;
        let table = &self.ruleset.tables[index];
        let Some(known) = table.set(&name.value) else {
            return Ok(());
        };
        let spec = known.spec.clone();
        if spec.constant && table.references.used(&Node::Set(known.name.clone())) {
            return refuse(span, Errno::Busy);
        }
        let node = Node::Set(known.name.clone());
        let mut next = known.elements.clone();
        let mut forgotten = Vec::new();
        let mut gone = Vec::new();
        let single_interval = spec.interval && spec.key.parts.len() == 1;
        for (element, at) in &checked {
            let catch_all = matches!(element.key.kind, ExprKind::CatchAll);
            let (low, high) = bounds(&element.key);
            let low = (!catch_all).then_some(low);
            // Among ranges of concatenations the kernel looks for the one that has the smallest key.
            let covering = match &low {
                Some(low) if spec.concat_interval() => next.concat_covering(low, &spec.key.parts),
                _ => None,
            };
            let (low, high) = match covering {
                Some((low, high)) => (Some(low), high),
                None => (low, high),
            };
            match next.take(low.as_ref(), high.as_ref()) {
                Some(taken) if taken.expired(now_ns) && !lenient => {
                    return refuse(*at, Errno::NoEntry);
                }
                Some(taken) => gone.push(taken),
                None if low
                    .as_ref()
                    .is_some_and(|low| self.added_by_packet(known, low)) =>
                {
                    let low = low.unwrap_or_default();
                    forgotten.push((low.clone(), high.unwrap_or(low)));
                }
                None if lenient => {}
                None if single_interval => {
                    return Err(Diagnostic::error(*at, "element does not exist").into());
                }
                None => return refuse(*at, Errno::NoEntry),
            }
        }
        if !forgotten.is_empty() {
            if self
                .live
                .set(known.id)
                .is_none_or(|live| live.applied.gone.number != next.gone.number)
            {
                forgotten.extend(next.gone.keys.iter().cloned());
            }
            next.forget(forgotten);
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        for element in &gone {
            stored_target(element, object_kind(&spec), &mut |target| {
                table.references.remove(&node, &target)
            });
        }
        if let Some(known) = table.set_mut(&name.value) {
            self.changed |= known.elements.version != next.version;
            known.elements = next;
        }
        Ok(())
    }

    pub(super) fn get_elements(
        &mut self,
        set: &ItemRef,
        elements: &ast::Expr,
        span: Span,
    ) -> Done<String> {
        let checked = self.check_elements(set, elements)?;
        let name = named(set)?;
        let table = self.checked_table(set.family, &set.table)?;
        let Some(known) = table.set(&name.value) else {
            return Ok(String::new());
        };
        let standing = live::elements(known, self.live, self.now_ns);
        let known = &Set {
            elements: standing,
            ..(**known).clone()
        };
        let mut found = Elements::default();
        for (element, _) in &checked {
            let (low, high) = bounds(&element.key);
            let hit = if matches!(element.key.kind, ExprKind::CatchAll) {
                known
                    .elements
                    .catch_all
                    .as_ref()
                    .map(|element| (None, element.clone()))
            } else {
                let hit = find(known, &low, high.as_ref());
                let hit = hit.filter(|(_, element)| !element.expired(self.now_ns));
                hit.map(|(low, element)| (Some(low), element))
            };
            match hit {
                // Of ranges in maps the kernel's answer has the first key only.
                Some((low, element)) if known.is_map() && known.spec.key.parts.len() == 1 => {
                    found.put(
                        low,
                        StoredElement {
                            high: None,
                            ..element
                        },
                    );
                }
                Some((low, element)) => found.put(low, element),
                None => return refuse(span, Errno::NoEntry),
            }
        }
        let shown = Set {
            elements: found,
            ..known.clone()
        };
        let printer = self.printer(false);
        Ok(printer.single_set(table, &shown))
    }
}

/// The element that a key, or a range of keys, belongs to.
fn find(set: &Set, low: &Words, high: Option<&Words>) -> Option<(Words, StoredElement)> {
    let owned = |(low, element): (&Words, &StoredElement)| (low.clone(), element.clone());
    if !set.spec.interval {
        return set
            .elements
            .map
            .get(low)
            .map(|element| (low.clone(), element.clone()));
    }
    if set.spec.key.parts.len() == 1 {
        return set.elements.covering(low, high.unwrap_or(low)).map(owned);
    }
    let (low, _) = set.elements.concat_covering(low, &set.spec.key.parts)?;
    set.elements
        .map
        .get(&low)
        .map(|element| (low.clone(), element.clone()))
}

fn object_kind_of(table: &Table, set: &str) -> Option<crate::model::ObjectKind> {
    match table.set(set)?.spec.data {
        Some(DataType::Object(kind)) => Some(kind),
        _ => None,
    }
}

/// What an element uses.
fn targets(element: &Element, kind: Option<crate::model::ObjectKind>, f: &mut dyn FnMut(Node)) {
    if let (Some(kind), Some(name)) = (kind, &element.object) {
        f(Node::Object(kind, super::shared(name)));
    }
    if let Some(crate::model::Expr {
        kind: ExprKind::Verdict(verdict),
        ..
    }) = &element.data
    {
        references::of_verdict(verdict, f);
    }
}

fn stored_target(
    element: &StoredElement,
    kind: Option<crate::model::ObjectKind>,
    f: &mut dyn FnMut(Node),
) {
    match (element.data.as_deref(), kind) {
        (Some(ElementData::Object(name)), Some(kind)) => f(Node::Object(kind, name.clone())),
        (Some(ElementData::Verdict(verdict)), _) => references::of_verdict(verdict, f),
        _ => {}
    }
}

/// What an element names must be there, and a jump must not go to a base chain.
fn check_targets(
    table: &Table,
    element: &Element,
    kind: Option<crate::model::ObjectKind>,
    at: Span,
) -> Done {
    let mut outcome = Ok(());
    targets(element, kind, &mut |node| {
        if outcome.is_err() {
            return;
        }
        outcome = match &node {
            Node::Chain(name) => match table.chain(name) {
                Some(chain) if chain.base.is_some() => refuse(at, Errno::NotSupported),
                Some(_) => Ok(()),
                None => refuse(at, Errno::NoEntry),
            },
            Node::Object(kind, name) if table.object(*kind, name).is_none() => {
                refuse(at, Errno::NoEntry)
            }
            _ => Ok(()),
        };
    });
    outcome
}
