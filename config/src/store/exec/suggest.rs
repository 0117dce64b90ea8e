//! What nft says about a name that is not there.

use std::sync::Arc;

use super::Fail;
use crate::model::{Family, ObjectKind};
use crate::store::errno::Errno;
use crate::store::misspell::Nearest;
use crate::store::{Ruleset, Table};
use crate::syntax::ast::Name;
use crate::syntax::{Diagnostic, Span};

/// A name in the check: no such table.
pub(crate) fn table(ruleset: &Ruleset, name: &str, span: Span) -> Diagnostic {
    let text = Errno::NoEntry.text();
    match nearest_table(ruleset, name) {
        Some(table) => Diagnostic::error(
            span,
            format!(
                "{text}; did you mean table ‘{}’ in family {}?",
                table.name,
                table.family.keyword()
            ),
        ),
        None => Diagnostic::error(span, text),
    }
}

fn nearest_table<'a>(ruleset: &'a Ruleset, name: &str) -> Option<&'a Arc<Table>> {
    let mut nearest = Nearest::default();
    for table in &ruleset.tables {
        nearest.offer(&table.name, name, table);
    }
    nearest.found
}

/// What sort of thing a name was meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noun {
    /// A chain.
    Chain,
    /// A rule; the name is its chain's.
    Rule,
    /// A set or map.
    Set,
    /// An object.
    Object,
    /// A flowtable.
    Flowtable,
}

struct Candidate<'a> {
    table: &'a Arc<Table>,
    noun: &'static str,
    name: &'a str,
}

/// The near thing of that sort in any table, and whether it has just that name.
fn candidate<'a>(tables: &'a [Arc<Table>], noun: Noun, name: &str) -> Option<Candidate<'a>> {
    let mut nearest = Nearest::default();
    for table in tables {
        let names: Vec<(&'static str, &str)> = match noun {
            Noun::Chain | Noun::Rule => table
                .chains
                .values()
                .map(|chain| ("chain", &*chain.name))
                .collect(),
            Noun::Set => {
                let sets = table.sets.values().filter(|set| !set.spec.meter);
                sets.map(|set| (if set.is_map() { "map" } else { "set" }, &*set.name))
                    .collect()
            }
            Noun::Object => table
                .objects
                .values()
                .map(|object| ("obj", &*object.name))
                .collect(),
            Noun::Flowtable => table
                .flowtables
                .values()
                .map(|flowtable| ("flowtable", &*flowtable.name))
                .collect(),
        };
        for (noun, known) in names {
            nearest.offer(known, name, (table, noun, known));
        }
    }
    nearest
        .found
        .map(|(table, noun, name)| Candidate { table, noun, name })
}

fn in_table(span: Span, found: &Candidate<'_>) -> Diagnostic {
    let text = Errno::NoEntry.text();
    Diagnostic::error(
        span,
        format!(
            "{text}; did you mean {} ‘{}’ in table {} ‘{}’?",
            found.noun,
            found.name,
            found.table.family.keyword(),
            found.table.name
        ),
    )
}

fn other_table(table_name: &Name, found: &Candidate<'_>) -> Diagnostic {
    let text = Errno::NoEntry.text();
    Diagnostic::error(
        table_name.span,
        format!(
            "{text}; did you mean table ‘{}’ in family {}?",
            found.table.name,
            found.table.family.keyword()
        ),
    )
}

/// In the second pass: the thing or its table is not there. `span` is what the kernel complains about.
pub(super) fn missing(
    ruleset: &Ruleset,
    noun: Noun,
    family: Family,
    table_name: &Name,
    name: &str,
    span: Span,
) -> Fail {
    let plain = || {
        Diagnostic::error(
            span,
            format!("Could not process rule: {}", Errno::NoEntry.text()),
        )
    };
    let Some(found) = candidate(&ruleset.tables, noun, name) else {
        return Fail::Kernel(plain());
    };
    if ruleset.table(family, &table_name.value).is_none()
        && (*found.table.name != *table_name.value || found.table.family != family)
    {
        return Fail::Kernel(other_table(table_name, &found));
    }
    if noun == Noun::Rule && found.name == name {
        return Fail::Kernel(plain());
    }
    Fail::Kernel(in_table(span, &found))
}

/// In the second pass: no such table, for a command about the table itself.
pub(super) fn missing_table(ruleset: &Ruleset, name: &Name) -> Fail {
    match nearest_table(ruleset, &name.value) {
        Some(_) => Fail::Kernel(table(ruleset, &name.value, name.span)),
        None => Fail::Kernel(Diagnostic::error(
            name.span,
            format!("Could not process rule: {}", Errno::NoEntry.text()),
        )),
    }
}

/// In the check: the thing is not in its table.
pub(super) fn unknown(ruleset: &Ruleset, noun: Noun, name: &str, span: Span) -> Diagnostic {
    match candidate(&ruleset.tables, noun, name) {
        Some(found) => in_table(span, &found),
        None => Diagnostic::error(span, Errno::NoEntry.text()),
    }
}

/// The same for listings: nft has asked for that one thing only, unless it is an object, so there is
/// nothing to suggest.
pub(crate) fn unknown_item(table: &Arc<Table>, what: Listed, name: &str, span: Span) -> Diagnostic {
    let found = match what {
        Listed::Object(_) => candidate(std::slice::from_ref(table), Noun::Object, name),
        Listed::Chain | Listed::Set | Listed::Flowtable => None,
    };
    match found {
        Some(found) => in_table(span, &found),
        None => Diagnostic::error(span, Errno::NoEntry.text()),
    }
}

/// What a listing asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// A chain.
    Chain,
    /// A set or map.
    Set,
    /// An object.
    Object(ObjectKind),
    /// A flowtable.
    Flowtable,
}
