//! Elements: add, create, delete, get.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::echo::News;
use super::rule::TableScope;
use super::set::object_kind;
use super::suggest::{self, Noun};
use super::{Done, Errno, Fail, Transaction, interval, named, refuse};
use crate::model::expr::ExprKind;
use sluice_dataplane::sets::Key;

use crate::model::{Element, Place, RuleContext};
use crate::store::elements::{Clash, bounds};
use crate::store::live;
use crate::store::references::{self, Node};
use crate::store::{ElementData, Elements, Set, StoredElement, Table, Words, checker};
use crate::syntax::ast::{self, ItemRef};
use crate::syntax::{Diagnostic, Span};

/// An element that is to be added.
struct New<'e> {
    /// Its smallest key; none of the catch-all.
    low: Option<Words>,
    stored: StoredElement,
    element: &'e Element,
    at: Span,
}

/// What a set will have when elements have been taken out.
struct Removing {
    next: Elements,
    /// Those that packets had added.
    forgotten: Vec<(Words, Words)>,
    gone: Vec<StoredElement>,
    lenient: bool,
}

/// What a set will have when elements have been added.
struct Adding<'e> {
    next: Elements,
    added: Vec<&'e Element>,
    told: Vec<(Option<Words>, StoredElement)>,
    /// Ranges of this command, where the set merges them.
    merged: HashSet<Words>,
    /// The timeouts that elements had before this request gave them others.
    bases: HashMap<Words, Option<u64>>,
    create: bool,
}

impl Transaction<'_> {
    /// The set that elements are for, and what the check makes of them.
    pub(super) fn check_elements(
        &self,
        set: &ItemRef,
        elements: &ast::Expr,
    ) -> Done<Vec<(Element, Place)>> {
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
        let Some(known) = table.set(&name.value) else {
            return Ok(());
        };
        let spec = known.spec.clone();
        self.check_overlap(known, &checked)?;
        if spec.constant && table.references.used(&Node::Set(known.name.clone())) {
            return refuse(span, Errno::Busy);
        }
        let node = Node::Set(known.name.clone());
        let mut new: Vec<New<'_>> = checked
            .iter()
            .map(|(element, place)| {
                let (low, stored) = StoredElement::new(element, spec.timeout_ms, now_ns);
                New {
                    low,
                    stored,
                    element,
                    at: place.whole,
                }
            })
            .collect();
        if spec.interval && spec.key.parts.len() == 1 {
            interval::sort(&mut new, |new| new.low.as_ref());
        }
        let mut adding = Adding {
            next: known.elements.clone(),
            added: Vec::new(),
            told: Vec::new(),
            merged: HashSet::new(),
            bases: self.timeouts.get(&known.id).cloned().unwrap_or_default(),
            create,
        };
        // The kernel takes one after the other; those behind one that it refuses it does not look at.
        let outcome = new
            .into_iter()
            .try_for_each(|new| self.add_one(table, known, new, &mut adding));
        let Adding {
            next,
            added,
            told,
            bases,
            ..
        } = adding;
        let id = known.id;
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
        if !bases.is_empty() {
            self.timeouts.insert(id, bases);
        }
        self.announce(index, News::Elements(&name.value, &told));
        outcome
    }

    /// Adds one element to what the set will have.
    fn add_one<'e>(
        &self,
        table: &Table,
        known: &Set,
        new: New<'e>,
        adding: &mut Adding<'e>,
    ) -> Done {
        let New {
            low,
            stored,
            element,
            at,
        } = new;
        let (spec, now_ns) = (&known.spec, self.now_ns);
        if spec.data.is_some() && element.data.is_none() && element.object.is_none() {
            return refuse(at, Errno::Invalid);
        }
        check_targets(table, element, object_kind(spec), at)?;
        let next = &mut adding.next;
        let merges = spec.auto_merge && spec.interval && spec.key.parts.len() == 1;
        let low = match low {
            Some(low) if merges && spec.data.is_none() => {
                next.auto_merge(low, stored, &mut adding.merged);
                return Ok(());
            }
            low => low,
        };
        let there = |low: &Words| next.map.get(low).is_some_and(|old| old.expired(now_ns));
        if let Some(over) = low.as_ref().filter(|low| there(low)) {
            next.drop_at(over);
        }
        let packets = |low: &Words| self.added_by_packet(known, low);
        if adding.create && low.as_ref().is_some_and(packets) {
            return refuse(at, Errno::Exists);
        }
        match next.clash(low.as_ref(), &stored, spec.interval, &spec.key.parts) {
            Some((Clash::Same, low)) if !adding.create => {
                if spec.timeout {
                    let expires = element.expires_ms.is_some();
                    let bases = &mut adding.bases;
                    next.retime(&low, &stored, expires, spec.timeout_ms, bases);
                }
                return Ok(());
            }
            Some(_) => return refuse(at, Errno::Exists),
            None => {}
        }
        let full = |next: &Elements| spec.size.is_some_and(|size| next.len() >= size as usize);
        if full(next) {
            next.expire(now_ns);
            if full(next) {
                // The commands behind find it there all the same.
                next.put(low, stored);
                return refuse(at, Errno::TableFull);
            }
        }
        if adding.told.len() < 1000 || self.options.echo {
            adding.told.push((low.clone(), stored.clone()));
        }
        if let Some(low) = &low {
            adding.bases.remove(low);
        }
        next.put(low, stored);
        adding.added.push(element);
        Ok(())
    }

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

    pub(super) fn delete_elements(
        &mut self,
        set: &ItemRef,
        elements: &ast::Expr,
        lenient: bool,
        span: Span,
    ) -> Done {
        let checked = self.check_elements(set, elements)?;
        let name = named(set)?;
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
        let mut removing = Removing {
            next: known.elements.clone(),
            forgotten: Vec::new(),
            gone: Vec::new(),
            lenient,
        };
        let mut keys: Vec<_> = checked
            .iter()
            .map(|(element, place)| {
                let catch_all = matches!(element.key.kind, ExprKind::CatchAll);
                let (low, high) = bounds(&element.key);
                ((!catch_all).then_some(low), high, place.key)
            })
            .collect();
        if spec.auto_merge && spec.interval && spec.key.parts.len() == 1 {
            interval::sort(&mut keys, |(low, ..)| low.as_ref());
        }
        let outcome = keys
            .into_iter()
            .try_for_each(|(low, high, at)| self.remove_one(known, (low, high), at, &mut removing));
        let Removing {
            mut next,
            mut forgotten,
            gone,
            ..
        } = removing;
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
        outcome
    }

    /// Takes one element out of what the set will have.
    fn remove_one(
        &self,
        known: &Set,
        (low, high): (Option<Words>, Option<Words>),
        at: Span,
        removing: &mut Removing,
    ) -> Done {
        let spec = &known.spec;
        let (next, lenient) = (&mut removing.next, removing.lenient);
        // Among ranges of concatenations the kernel looks for the one that has the smallest key.
        let covering = match &low {
            Some(low) if spec.concat_interval() => next.concat_covering(low, &spec.key.parts),
            _ => None,
        };
        let (low, high) = match covering {
            Some((low, high)) => (Some(low), high),
            None => (low, high),
        };
        let packets = |low: &Words| self.added_by_packet(known, low);
        match next.take(low.as_ref(), high.as_ref()) {
            Some(taken) if taken.expired(self.now_ns) && !lenient => refuse(at, Errno::NoEntry),
            Some(taken) => {
                removing.gone.push(taken);
                Ok(())
            }
            None if low.as_ref().is_some_and(packets) => {
                let low = low.unwrap_or_default();
                let high = high.unwrap_or_else(|| low.clone());
                removing.forgotten.push((low, high));
                Ok(())
            }
            None if lenient => Ok(()),
            None if spec.interval && spec.key.parts.len() == 1 => {
                Err(Diagnostic::error(at, "element does not exist").into())
            }
            None => refuse(at, Errno::NoEntry),
        }
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
        // The kernel does not know yet what the request has done.
        let Some(known) = self.before_request(known) else {
            return refuse(span, Errno::NoEntry);
        };
        let standing = live::elements(known, self.live, self.now_ns);
        let known = &Set {
            elements: standing,
            ..known.clone()
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
                // Of ranges in sets the kernel's answer is only where they begin and end.
                Some((low, element)) if !known.is_map() && known.spec.key.parts.len() == 1 => {
                    let extra = element.extra.filter(|_| element.high.is_none());
                    found.put(low, StoredElement { extra, ..element });
                }
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
