//! What nft makes of several element commands before it sends them.
//!
//! Commands of one file that follow each other and add elements to the same set are one command while
//! nft checks them, and are then sent in another order: the first, then the others from the last to the
//! second. The elements of a set of intervals it sorts, looks at each beside its neighbours, and
//! complains about the first two that overlap; only then the kernel is asked.

use std::borrow::Cow;

use super::{Done, Transaction};
use crate::model::expr::ExprKind;
use crate::model::{Element, Place};
use crate::store::elements::bounds;
use crate::store::{Set, StoredElement, Words};
use crate::syntax::Diagnostic;
use crate::syntax::ast::{Command, ItemRef, Object, Op};

/// Commands that nft checks as one, in the order of the text.
pub type Run<'a> = &'a [Command];

/// Cuts commands into runs.
pub fn runs(commands: &[Command]) -> impl Iterator<Item = Run<'_>> {
    commands.chunk_by(|one, next| {
        adds(one).is_some_and(|one| {
            adds(next).is_some_and(|next| {
                one.0 == next.0
                    && one.1.family == next.1.family
                    && one.1.table.value == next.1.table.value
                    && name(one.1) == name(next.1)
            })
        })
    })
}

/// The commands of a run in the order in which they are done.
pub fn sent<'a>(run: Run<'a>) -> impl Iterator<Item = &'a Command> {
    let (first, rest) = run.split_at(run.len().min(1));
    first.iter().chain(rest.iter().rev())
}

fn adds(command: &Command) -> Option<(Op, &ItemRef)> {
    match (&command.object, command.op) {
        (Object::Elements { set, .. }, op @ (Op::Add | Op::Create)) => Some((op, set)),
        _ => None,
    }
}

fn name(set: &ItemRef) -> Option<&str> {
    set.which.name().map(|name| &*name.value)
}

/// An interval that is to be added.
#[derive(Debug)]
struct Interval {
    low: Words,
    high: Words,
    at: Place,
}

/// An interval beside another one.
struct Neighbour<'a> {
    low: &'a Words,
    high: &'a Words,
    /// Where it was written; nothing if the set has it.
    at: Option<Place>,
}

impl Interval {
    fn neighbour(&self) -> Neighbour<'_> {
        Neighbour {
            low: &self.low,
            high: &self.high,
            at: Some(self.at),
        }
    }
}

/// Puts what belongs to elements in the order in which nft sends those of intervals: by their lowest key; of
/// several that have the same, the last one first. The catch-all comes last.
pub(super) fn sort<T>(elements: &mut [T], low: impl Fn(&T) -> Option<&Words>) {
    elements.reverse();
    elements.sort_by(|one, other| match (low(one), low(other)) {
        (Some(one), Some(other)) => one.cmp(other),
        (one, other) => one.is_none().cmp(&other.is_none()),
    });
}

impl Transaction<'_> {
    /// Looks at the elements of a run together. Yields whether its commands may be done.
    pub fn check_run(&mut self, run: Run<'_>) -> bool {
        self.looked_at = false;
        let [first, _, ..] = run else {
            return true;
        };
        let Some((_, set)) = adds(first) else {
            return true;
        };
        let found = self.ruleset.table(set.family, &set.table.value);
        let found = found.and_then(|table| table.set(name(set)?)).cloned();
        let Some(found) = found.filter(|set| is_checked(set)) else {
            return true;
        };
        let mut intervals = Vec::new();
        for command in run {
            let Object::Elements { set, elements } = &command.object else {
                continue;
            };
            // What is wrong with a command by itself is told when it is done.
            let Ok(checked) = self.check_elements(set, elements) else {
                return true;
            };
            intervals.extend(checked.iter().filter_map(interval));
        }
        self.looked_at = true;
        match self.overlap(&found, intervals) {
            Ok(()) => true,
            Err(complaint) => {
                self.check_errors.push(complaint);
                false
            }
        }
    }

    /// Looks at the elements of one command.
    pub(super) fn check_overlap(&self, set: &Set, elements: &[(Element, Place)]) -> Done {
        if self.looked_at || !is_checked(set) {
            return Ok(());
        }
        let intervals = elements.iter().filter_map(interval).collect();
        Ok(self.overlap(set, intervals)?)
    }

    /// The first two that overlap, in the order of their keys; the elements that are there stand behind new
    /// ones with the same lowest key.
    fn overlap(&self, set: &Set, mut new: Vec<Interval>) -> Result<(), Diagnostic> {
        sort(&mut new, |interval| Some(&interval.low));
        for (at, interval) in new.iter().enumerate() {
            let own = interval.neighbour();
            let new_before = at.checked_sub(1).map(|at| new[at].neighbour());
            let before = self.before(set, &interval.low);
            let before = match (new_before, before) {
                (Some(new), Some(known)) if new.low > known.low => Some(new),
                (new, known) => known.or(new),
            };
            if let Some(before) = before {
                beside(&before, &own)?;
            }
            let next = new.get(at + 1).map(|next| &next.low);
            if let Some(behind) = self.from(set, &interval.low)
                && next.is_none_or(|next| next > behind.low)
            {
                beside(&own, &behind)?;
            }
        }
        Ok(())
    }

    /// The element that is there with the next smaller lowest key.
    fn before<'s>(&self, set: &'s Set, low: &Words) -> Option<Neighbour<'s>> {
        let mut smaller = set.elements.map.range(..low.clone()).rev();
        let found = smaller.find(|(_, element)| !element.expired(self.now_ns));
        found.map(neighbour)
    }

    /// The element that is there with this or the next larger lowest key.
    fn from<'s>(&self, set: &'s Set, low: &Words) -> Option<Neighbour<'s>> {
        let mut rest = set.elements.map.range(low.clone()..);
        let found = rest.find(|(_, element)| !element.expired(self.now_ns));
        found.map(neighbour)
    }
}

fn neighbour<'s>((low, element): (&'s Words, &'s StoredElement)) -> Neighbour<'s> {
    Neighbour {
        low,
        high: element.high.as_deref().unwrap_or(low),
        at: None,
    }
}

impl Transaction<'_> {
    /// A set as it was before the request.
    pub(super) fn before_request(&self, set: &Set) -> Option<&Set> {
        let tables = self.before.tables.iter();
        let mut known = tables.filter_map(|table| table.set(&set.name));
        known.find(|known| known.id == set.id).map(|set| &**set)
    }

    /// The ruleset as nft lists it in the middle of a request: it does not note elements that come and go,
    /// except in sets of intervals, which it sorts itself.
    pub(super) fn listed(&self) -> Cow<'_, crate::store::Ruleset> {
        let mut listed = Cow::Borrowed(&self.ruleset);
        for (index, table) in self.ruleset.tables.iter().enumerate() {
            for set in table.sets.values() {
                let Some(before) = self.before_request(set) else {
                    continue;
                };
                let noted = set.spec.interval && set.spec.key.parts.len() == 1;
                if noted || before.elements.version == set.elements.version {
                    continue;
                }
                let elements = if before.elements.cleared == set.elements.cleared {
                    before.elements.clone()
                } else {
                    set.elements.reloaded()
                };
                let table = std::sync::Arc::make_mut(&mut listed.to_mut().tables[index]);
                if let Some(set) = table.set_mut(&set.name) {
                    set.elements = elements;
                }
            }
        }
        listed
    }
}

fn is_checked(set: &Set) -> bool {
    set.spec.interval && set.spec.key.parts.len() == 1 && !set.spec.auto_merge
}

fn interval((element, place): &(Element, Place)) -> Option<Interval> {
    if matches!(element.key.kind, ExprKind::CatchAll) {
        return None;
    }
    let (low, high) = bounds(&element.key);
    let high = high.unwrap_or_else(|| low.clone());
    let at = *place;
    Some(Interval { low, high, at })
}

/// Two that follow each other. The same one twice is the kernel's affair.
fn beside(one: &Neighbour<'_>, next: &Neighbour<'_>) -> Result<(), Diagnostic> {
    if next.low > one.high || (one.low, one.high) == (next.low, next.high) {
        return Ok(());
    }
    Err(match (one.at, next.at) {
        (Some(other), Some(at)) => {
            let complaint = Diagnostic::error(at.key, "conflicting intervals specified");
            complaint.with_related(other.whole)
        }
        (one, next) => {
            let at = one.map(|one| one.whole).or(next.map(|next| next.key));
            let complaint = "interval overlaps with an existing one";
            Diagnostic::error(at.unwrap_or_default(), complaint)
        }
    })
}
