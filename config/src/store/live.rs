//! What packets made of sets: elements that they added, time that has passed, state of elements.
//!
//! The store has the elements that commands gave; the runtime set has all of them. A listing shows the
//! runtime set's, corrected by what the transaction has changed and not yet published.

use std::collections::HashSet;
use std::sync::Arc;

use sluice_dataplane::program::ElementStatement;
use sluice_dataplane::sets::{self, Key};

use super::elements::{ElementData, ElementExtra, Elements, StoredElement, Words};
use super::{Id, Set};
use crate::model::expr::DataType;
use crate::model::stmt::{Limit, Quota, Stmt};

/// Runtime sets, as the store asks for them.
pub trait Live {
    /// The runtime set of a set of the store.
    fn set(&self, id: Id) -> Option<LiveSet<'_>>;
}

/// A runtime set.
#[derive(Clone, Copy, Debug)]
pub struct LiveSet<'a> {
    /// The set.
    pub set: &'a Arc<sets::Set>,
    /// What its elements carry.
    pub statements: &'a [ElementStatement],
    /// The elements from commands that it has had.
    pub applied: &'a Elements,
}

/// Nothing runs.
#[derive(Debug)]
pub struct Nothing;

impl Live for Nothing {
    fn set(&self, _id: Id) -> Option<LiveSet<'_>> {
        None
    }
}

/// The elements of a set as they stand: those of the store, and for sets that packets change those
/// of the runtime set.
pub fn elements(set: &Set, live: &dyn Live, now_ns: u64) -> Elements {
    let spec = &set.spec;
    let changes = spec.dynamic || spec.timeout || spec.meter || !spec.stmts.is_empty();
    let mut all = set.elements.clone();
    all.expire(now_ns);
    let Some(live) = live.set(set.id).filter(|_| changes) else {
        return all;
    };
    if live.applied.cleared != set.elements.cleared {
        return all;
    }
    let gone: HashSet<&Words> = match live.applied.gone.number == set.elements.gone.number {
        true => HashSet::new(),
        false => set.elements.gone.keys.iter().map(|(low, _)| low).collect(),
    };
    let mut met: HashSet<Words> = HashSet::new();
    live.set.view().for_each(now_ns, &mut |element| {
        let Key::Range { low, high } = &element.key else {
            if let Some(known) = &mut all.catch_all {
                known.extra = extra(set, &element, known, live.statements, now_ns);
            }
            return;
        };
        let (low, high): (Words, Words) = (
            low.iter().copied().collect(),
            high.iter().copied().collect(),
        );
        met.insert(low.clone());
        if let Some(known) = all.map.get(&low).cloned() {
            let extra = extra(set, &element, &known, live.statements, now_ns);
            all.map.insert(low, StoredElement { extra, ..known });
        } else if live.applied.map.get(&low).is_none() && !gone.contains(&low) {
            let high = (high != low).then(|| Box::new(high));
            let bare = StoredElement {
                high,
                data: data(set, &element),
                extra: None,
                order: u32::MAX,
            };
            let extra = extra(set, &element, &bare, live.statements, now_ns);
            all.map.insert(low, StoredElement { extra, ..bare });
        }
    });
    // Packets or time have removed what a command gave.
    let left = all
        .map
        .keys()
        .filter(|low| live.applied.map.contains_key(*low) && !met.contains(*low));
    let left: Vec<Words> = left.cloned().collect();
    for low in left {
        all.map.remove(&low);
    }
    all
}

fn data(set: &Set, element: &sets::Element) -> Option<Arc<ElementData>> {
    let words: Words = element.data.iter().copied().collect();
    match &set.spec.data {
        Some(DataType::Value(_)) => Some(Arc::new(ElementData::Value(words, None))),
        Some(DataType::Interval(_)) => {
            let (low, high) = words.split_at(words.len() / 2);
            let high = (low != high).then(|| Words::from_slice(high));
            Some(Arc::new(ElementData::Value(Words::from_slice(low), high)))
        }
        // Packets add no verdicts and no objects.
        _ => None,
    }
}

fn extra(
    set: &Set,
    element: &sets::Element,
    known: &StoredElement,
    statements: &[ElementStatement],
    now_ns: u64,
) -> Option<Arc<ElementExtra>> {
    let own_ms = element.timeout_ns.map(|ns| ns / 1_000_000);
    let extra = ElementExtra {
        timeout_ms: own_ms.filter(|own| Some(*own) != set.spec.timeout_ms),
        expires_at_ns: element.expires_ns,
        comment: known.extra.as_ref().and_then(|extra| extra.comment.clone()),
        stmts: states(statements, &element.state, now_ns),
    };
    (extra != ElementExtra::default()).then(|| Arc::new(extra))
}

/// Statements with what their state words say.
fn states(statements: &[ElementStatement], words: &[u64], now_ns: u64) -> Vec<Stmt> {
    let mut words = words.iter().copied();
    let mut next = || words.next().unwrap_or_default();
    let stmt = |statement: &ElementStatement| match *statement {
        ElementStatement::Counter => Stmt::Counter {
            packets: next(),
            bytes: next(),
        },
        ElementStatement::Limit {
            rate,
            period_ns,
            burst,
            bytes,
            over,
        } => {
            next();
            let unit_seconds = period_ns / 1_000_000_000;
            Stmt::Limit(Limit {
                rate,
                unit_seconds,
                burst: u64::from(burst),
                bytes,
                over,
            })
        }
        ElementStatement::Quota { bytes, over } => Stmt::Quota(Quota {
            bytes,
            used: next().min(bytes),
            over,
        }),
        ElementStatement::Last => {
            let at = next().checked_sub(1);
            Stmt::Last {
                used_ms: at.map(|at| now_ns.saturating_sub(at) / 1_000_000),
            }
        }
        ElementStatement::ConnLimit { count, over } => {
            next();
            Stmt::ConnLimit { count, over }
        }
    };
    statements.iter().map(stmt).collect()
}
