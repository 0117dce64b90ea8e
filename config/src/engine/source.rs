//! Sets whose elements come from a file.
//!
//! Such a set has exactly what its file had when it was last read well, in every generation: a
//! transaction that makes the set anew (a ruleset file that flushes and declares it) fills it before it
//! is published, so there is no moment at which a blocklist is empty. Commands that would change its
//! elements are refused by name. Until a file has been read well once, the set is like any other, and
//! keeps what commands gave.

use std::fmt;
use std::sync::Arc;

use super::Engine;
use crate::model::{Family, TypeId};
use crate::set_file::Contents;
use crate::store::elements::push_words;
use crate::store::{Elements, Ruleset, Set, Words};
use crate::syntax::Diagnostic;
use crate::syntax::ast::{Command, Object, Op};

/// Which set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPlace {
    /// Family of its table.
    pub family: Family,
    /// Its table.
    pub table: String,
    /// Its name.
    pub set: String,
}

impl fmt::Display for SetPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family.keyword(), self.table, self.set)
    }
}

/// Why a set cannot have the contents of a file. It keeps what it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// There is no such set (yet): it is filled when it is made.
    #[error("there is no set {0}")]
    NoSet(SetPlace),
    /// The set is of a kind that a file cannot fill.
    #[error("set {place} cannot be filled from a file: {reason}")]
    Kind {
        /// The set.
        place: SetPlace,
        /// What about it.
        reason: &'static str,
    },
    /// A range in a set of addresses.
    #[error("set {place} has no flags interval and cannot take {range}")]
    Range {
        /// The set.
        place: SetPlace,
        /// The range, as the file may have it.
        range: String,
    },
    /// Too many for the size of the set.
    #[error("set {place} has size {size}, the file has {count}")]
    Size {
        /// The set.
        place: SetPlace,
        /// Its size.
        size: u32,
        /// Elements of the file.
        count: usize,
    },
    /// The ruleset could not be compiled.
    #[error("{0}")]
    Compile(String),
}

/// What filling a set did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Elements that it has.
    pub elements: u64,
    /// Elements that are new.
    pub added: u64,
    /// Elements that went.
    pub removed: u64,
    /// Ranges of the file that are of the other family.
    pub other_family: u64,
    /// Whether there is another generation.
    pub changed: bool,
    /// The generation in force.
    pub generation: u64,
}

/// A set and the file that it follows.
#[derive(Debug)]
struct Source {
    place: SetPlace,
    file: String,
    contents: Option<Arc<Contents>>,
    /// The elements that the contents made, as the store has had them last.
    put: Option<Elements>,
    /// Why the set does not have the contents.
    problem: Option<FillError>,
}

/// All sets that follow files.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Source>);

impl Engine {
    /// From now on the set of a place follows a file, whose contents [`fill`](Self::fill) brings.
    pub fn follow(&mut self, place: SetPlace, file: &str) {
        self.sources.0.push(Source {
            place,
            file: file.to_owned(),
            contents: None,
            put: None,
            problem: None,
        });
    }

    /// Gives a set that follows a file these contents: the difference, as one transaction. Where the
    /// set is not there yet it is filled when it is made.
    ///
    /// # Errors
    /// When the set cannot have them; it keeps what it has, and so does the ruleset.
    pub fn fill(
        &mut self,
        place: &SetPlace,
        contents: &Arc<Contents>,
    ) -> Result<Filled, FillError> {
        let mut ruleset = self.ruleset.clone();
        let outcome = put(&mut ruleset, place, contents).and_then(|done| {
            if !done.0.changed {
                return Ok((done, None));
            }
            match self.compile(&ruleset) {
                Ok((generation, _)) => Ok((done, Some(Some(generation)))),
                Err(_) if self.profile.mode == super::Mode::Workbench => Ok((done, Some(None))),
                Err(error) => Err(FillError::Compile(error.to_string())),
            }
        });
        let source = self.sources.of(place);
        let ((filled, elements), live) = match outcome {
            Ok(done) => done,
            Err(error) => {
                if let Some(source) = source {
                    if matches!(error, FillError::NoSet(_)) {
                        source.contents = Some(Arc::clone(contents));
                    }
                    source.problem = Some(error.clone());
                }
                return Err(error);
            }
        };
        if let Some(source) = source {
            source.contents = Some(Arc::clone(contents));
            source.put = Some(elements);
            source.problem = None;
        }
        if let Some(live) = live {
            self.commit(ruleset, Vec::new(), live);
        }
        Ok(Filled {
            generation: self.generation,
            ..filled
        })
    }

    /// Why a set that follows a file does not have what the file had.
    pub fn fill_problem(&self, place: &SetPlace) -> Option<&FillError> {
        let source = self
            .sources
            .0
            .iter()
            .find(|source| source.place == *place)?;
        source.problem.as_ref()
    }
}

impl Sources {
    fn of(&mut self, place: &SetPlace) -> Option<&mut Source> {
        self.0.iter_mut().find(|source| source.place == *place)
    }

    /// A complaint about a command that changes elements of a set that follows a file.
    pub(super) fn forbids(&self, command: &Command, ruleset: &Ruleset) -> Option<Diagnostic> {
        let set = match (&command.object, command.op) {
            (
                Object::Elements { set, .. },
                Op::Add | Op::Create | Op::Delete | Op::Destroy | Op::Replace,
            )
            | (Object::Set { set, .. }, Op::Flush) => set,
            _ => return None,
        };
        let name = set.which.name()?;
        let source = self.0.iter().find(|source| {
            source.put.is_some()
                && source.place.family == set.family
                && *source.place.table == *set.table.value
                && *source.place.set == *name.value
        })?;
        // In a request that makes the set anew it is filled at the end, whatever is in it.
        ruleset
            .table(set.family, &set.table.value)?
            .set(&name.value)?;
        let text = format!(
            "Could not process rule: the elements of {} come from {}",
            source.place, source.file
        );
        Some(Diagnostic::error(name.span, text))
    }

    /// Fills the sets that a transaction has made anew. Yields what a person should know.
    pub(super) fn keep(&mut self, ruleset: &mut Ruleset) -> Vec<String> {
        let mut warnings = Vec::new();
        for source in &mut self.0 {
            let Some(contents) = &source.contents else {
                continue;
            };
            let Some(set) = found(ruleset, &source.place) else {
                continue;
            };
            let same = |put: &Elements| put.map.ptr_eq(&set.elements.map);
            if source.put.as_ref().is_some_and(same) && set.elements.catch_all.is_none() {
                continue;
            }
            let written = !set.elements.is_empty();
            let again = source
                .put
                .as_ref()
                .filter(|_| !written && source.problem.is_none());
            if let Some(again) = again
                && let Some(elements) = shared(set, again, contents)
                && let Some(set) = set_mut(ruleset, &source.place)
            {
                set.elements = elements;
                continue;
            }
            match put(ruleset, &source.place, contents) {
                Ok((filled, elements)) => {
                    source.put = Some(elements);
                    source.problem = None;
                    if written && filled.changed {
                        warnings.push(format!(
                            "Warning: the elements of {} come from {}; those of the ruleset were passed over",
                            source.place, source.file
                        ));
                    }
                }
                Err(error) => {
                    warnings.push(format!("Warning: {}: {error}", source.file));
                    source.problem = Some(error);
                }
            }
        }
        warnings
    }
}

fn found<'r>(ruleset: &'r Ruleset, place: &SetPlace) -> Option<&'r Arc<Set>> {
    ruleset.table(place.family, &place.table)?.set(&place.set)
}

fn set_mut<'r>(ruleset: &'r mut Ruleset, place: &SetPlace) -> Option<&'r mut Set> {
    ruleset
        .table_mut(place.family, &place.table)?
        .set_mut(&place.set)
}

/// The elements that a set had before it was made anew, where they are right for it: no copy.
fn shared(set: &Set, again: &Elements, contents: &Contents) -> Option<Elements> {
    let first = again.map.keys().next()?;
    let fits = match set.spec.key.parts[..] {
        [part] if part.ty == TypeId::Ipv4Addr => first.len() == 1,
        [part] if part.ty == TypeId::Ipv6Addr => first.len() == 4,
        _ => false,
    };
    let spec = &set.spec;
    let plain = !(set.is_map() || spec.dynamic || spec.timeout || spec.meter);
    let roomy = spec.size.is_none_or(|size| again.len() <= size as usize);
    let whole = again.len()
        == if first.len() == 1 {
            contents.v4.len()
        } else {
            contents.v6.len()
        };
    (fits && plain && roomy && whole && spec.interval).then(|| set.elements.sharing(again))
}

/// First and last words of a range.
type Range = (Words, Option<Box<Words>>);

fn range(first: u128, last: u128, bits: u16) -> Range {
    let words = |value| {
        let mut words = Words::new();
        push_words(&mut words, value, bits);
        words
    };
    (words(first), (first != last).then(|| Box::new(words(last))))
}

/// Puts contents into a set of a ruleset. Yields the elements as the store has them then.
fn put(
    ruleset: &mut Ruleset,
    place: &SetPlace,
    contents: &Contents,
) -> Result<(Filled, Elements), FillError> {
    let set = found(ruleset, place).ok_or_else(|| FillError::NoSet(place.clone()))?;
    let family = family_of(set, place)?;
    let (count, other) = match family {
        TypeId::Ipv4Addr => (contents.v4.len(), contents.v6.len()),
        _ => (contents.v6.len(), contents.v4.len()),
    };
    if let Some(size) = set.spec.size
        && count > size as usize
    {
        let place = place.clone();
        return Err(FillError::Size { place, size, count });
    }
    if !set.spec.interval {
        only_addresses(place, contents, family)?;
    }
    let (elements, added, removed) = match family {
        TypeId::Ipv4Addr => {
            let ranges = contents.v4.iter();
            changed(
                set,
                ranges.map(|&(a, b)| range(a.into(), b.into(), 32)),
                count,
            )
        }
        _ => {
            let ranges = contents.v6.iter();
            changed(set, ranges.map(|&(a, b)| range(a, b, 128)), count)
        }
    };
    let filled = Filled {
        elements: count as u64,
        added,
        removed,
        other_family: other as u64,
        changed: added + removed > 0 || set.elements.catch_all.is_some(),
        generation: 0,
    };
    if filled.changed
        && let Some(set) = set_mut(ruleset, place)
    {
        set.elements = elements.clone();
    }
    Ok((filled, elements))
}

/// The family of a set's addresses.
fn family_of(set: &Set, place: &SetPlace) -> Result<TypeId, FillError> {
    let no = |reason| {
        Err(FillError::Kind {
            place: place.clone(),
            reason,
        })
    };
    let spec = &set.spec;
    if set.is_map() {
        return no("it is a map");
    }
    if spec.dynamic || spec.timeout || spec.meter {
        return no("packets or time change it");
    }
    match &spec.key.parts[..] {
        [part] if matches!(part.ty, TypeId::Ipv4Addr | TypeId::Ipv6Addr) => Ok(part.ty),
        _ => no("its type is neither ipv4_addr nor ipv6_addr"),
    }
}

fn only_addresses(place: &SetPlace, contents: &Contents, family: TypeId) -> Result<(), FillError> {
    let wide = match family {
        TypeId::Ipv4Addr => {
            contents
                .v4
                .iter()
                .find(|(first, last)| first != last)
                .map(|&(first, last)| {
                    let address = std::net::Ipv4Addr::from;
                    format!("{}-{}", address(first), address(last))
                })
        }
        _ => contents
            .v6
            .iter()
            .find(|(first, last)| first != last)
            .map(|&(first, last)| {
                let address = std::net::Ipv6Addr::from;
                format!("{}-{}", address(first), address(last))
            }),
    };
    match wide {
        None => Ok(()),
        Some(range) => Err(FillError::Range {
            place: place.clone(),
            range,
        }),
    }
}

/// The set's elements with these ranges instead, and how many are new and gone.
fn changed(
    set: &Set,
    ranges: impl Iterator<Item = Range> + Clone,
    count: usize,
) -> (Elements, u64, u64) {
    let old = &set.elements;
    if old.map.is_empty() {
        let elements = old.with_keys(ranges, &[], true);
        return (elements, count as u64, 0);
    }
    // Both are sorted: one walk over them.
    let (mut gone, mut fresh) = (Vec::new(), Vec::new());
    let mut removed = 0;
    let mut known = old.map.iter().peekable();
    for (low, high) in ranges.clone() {
        while let Some((lost, _)) = known.next_if(|(known, _)| **known < low) {
            gone.push(lost.clone());
        }
        match known.next_if(|(known, _)| **known == low) {
            Some((_, element)) if element.high == high && element.extra.is_none() => {}
            Some(_) => {
                removed += 1;
                fresh.push((low, high));
            }
            None => fresh.push((low, high)),
        }
    }
    gone.extend(known.map(|(lost, _)| lost.clone()));
    let (added, removed) = (fresh.len() as u64, removed + gone.len() as u64);
    if added + removed == 0 && old.catch_all.is_none() {
        return (old.clone(), 0, 0);
    }
    let elements = if fresh.len() + gone.len() > count / 2 {
        old.with_keys(ranges, &[], true)
    } else {
        old.with_keys(fresh.into_iter(), &gone, false)
    };
    (elements, added, removed)
}
