//! What has changed, as nft's `-e` and `monitor` print it: a command for everything that was added.
//!
//! The first [`MOST`] changes of a transaction are told; `-e` tells all.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Transaction;
use crate::engine::{Change, ChangeAction};
use crate::model::ObjectKind;
use crate::store::{Chain, StoredElement, StoredRule, Words};

/// How many changes of a transaction are told without `-e`.
const MOST: usize = 1000;

/// Something that was added to the table at a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum News<'a> {
    /// The table itself.
    Table,
    /// A chain.
    Chain(&'a str),
    /// A rule.
    Rule {
        /// Its chain.
        chain: &'a str,
        /// Its handle.
        handle: u64,
        /// `add` or `insert`.
        keyword: &'static str,
    },
    /// A set or map.
    Set(&'a str),
    /// Elements of a set.
    Elements(&'a str, &'a [(Option<Words>, StoredElement)]),
    /// A stateful object.
    Object(ObjectKind, &'a str),
}

/// A rule, and the handle of the one before it if it is neither the first nor the last of its chain.
fn neighbours(chain: &Chain, handle: u64) -> Option<(Arc<StoredRule>, Option<u64>)> {
    let rules = &chain.rules;
    let last = rules.get(rules.len().checked_sub(1)?)?;
    if last.handle == handle {
        return Some((last.clone(), None));
    }
    let mut before = None;
    for rule in rules.iter() {
        if rule.handle == handle {
            return Some((rule.clone(), before));
        }
        before = Some(rule.handle);
    }
    None
}

impl Transaction<'_> {
    /// Tells what was added.
    pub(super) fn announce(&mut self, index: usize, news: News<'_>) {
        if !self.options.echo && self.changes.len() >= MOST {
            return;
        }
        let object = match news {
            News::Table => "table",
            News::Chain(_) => "chain",
            News::Rule { .. } => "rule",
            News::Set(_) => "set",
            News::Elements(..) => "element",
            News::Object(kind, _) => kind.keyword(),
        };
        for text in self.news(index, news) {
            if self.options.echo {
                self.output.push_str(&text);
                self.output.push('\n');
            }
            if self.changes.len() < MOST {
                self.changes.push(Change {
                    action: ChangeAction::New,
                    object,
                    text,
                });
            }
        }
    }

    /// Tells what was taken away, as the command that does it.
    pub(super) fn note_deleted(&mut self, object: &'static str, text: impl FnOnce() -> String) {
        if self.changes.len() < MOST {
            self.changes.push(Change {
                action: ChangeAction::Deleted,
                object,
                text: text(),
            });
        }
    }

    fn news(&self, index: usize, news: News<'_>) -> Vec<String> {
        let table = &self.ruleset.tables[index];
        let place = format!("{} {}", table.family.keyword(), table.name);
        let printer = self.printer(false);
        let handle = |mut text: String, handle: u64| {
            if self.options.handles {
                let _ = write!(text, " # handle {handle}");
            }
            text
        };
        match news {
            News::Table => vec![handle(format!("add table {place}"), table.handle)],
            News::Chain(name) => {
                let Some(chain) = table.chain(name) else {
                    return Vec::new();
                };
                let mut text = format!("add chain {place} {name}");
                if let Some(hook) = printer.hook(table, chain) {
                    let _ = write!(text, " {{ {hook} }}");
                }
                vec![handle(text, chain.handle)]
            }
            News::Rule {
                chain,
                handle: number,
                keyword,
            } => {
                let found = table
                    .chain(chain)
                    .and_then(|chain| neighbours(chain, number));
                let Some((rule, before)) = found else {
                    return Vec::new();
                };
                let text = printer.rule(&rule, table.family);
                // The kernel names the rule in front of one that stands between others.
                let before = before.map_or(String::new(), |before| format!("handle {before} "));
                vec![handle(
                    format!("{keyword} rule {place} {chain} {before}{text}"),
                    number,
                )]
            }
            News::Set(name) => {
                let Some(set) = table.set(name) else {
                    return Vec::new();
                };
                let noun = if set.is_map() { "map" } else { "set" };
                let lines = printer.declaration(set);
                vec![format!(
                    "add {noun} {place} {name} {{{} {}; }} ",
                    self.mark(set.handle),
                    lines.join("; ")
                )]
            }
            News::Elements(name, elements) => {
                let Some(set) = table.set(name) else {
                    return Vec::new();
                };
                let line = |(low, element): &(Option<Words>, StoredElement)| {
                    let text = printer.element(set, low.as_ref(), element);
                    format!("add element {place} {name} {{ {text} }}")
                };
                elements.iter().take(MOST).map(line).collect()
            }
            News::Object(kind, name) => {
                let Some(object) = table.object(kind, name) else {
                    return Vec::new();
                };
                let lines = printer.object_lines(object);
                let keyword = kind.keyword();
                vec![format!(
                    "add {keyword} {place} {name} {{{} {} }} ",
                    self.mark(object.handle),
                    lines.join("; ")
                )]
            }
        }
    }

    fn mark(&self, handle: u64) -> String {
        if self.options.handles {
            format!(" # handle {handle}")
        } else {
            String::new()
        }
    }
}
