//! Sets that rules change (`add @s { ... }`).
//!
//! Whoever writes such a rule may leave out `flags dynamic`: nft adds it to a set that the same request
//! declares, and gives sets that are changed by packets, and have no size, one of 65,535. The second the
//! kernel does too, when the rule comes later.

use std::collections::HashSet;
use std::sync::Arc;

use super::Transaction;
use crate::model::{Family, Rule, Stmt};
use crate::store::place;
use crate::syntax::Spanned;
use crate::syntax::ast::{self, Command, ExprKind, Object, SetBody, SetKeyword, StmtKind};

/// Size of a set that packets fill and that names none.
const UPDATED_SIZE: u32 = 65_535;

type Key = (Family, String, String);

/// Completes the declarations of a request's own sets.
pub fn complete(commands: &mut [Command]) {
    let mut updated = HashSet::new();
    for command in commands.iter() {
        rules_of(&command.object, &mut |family, table, rule| {
            of_rule(rule, &mut |set| {
                updated.insert((family, table.to_owned(), set.to_owned()));
            });
        });
    }
    if updated.is_empty() {
        return;
    }
    for command in commands {
        let span = command.span;
        match &mut command.object {
            Object::Table {
                table,
                body: Some(body),
            } => {
                let Some(name) = table.which.name() else {
                    continue;
                };
                for set in &mut body.sets {
                    let key = (
                        table.family,
                        name.value.to_string(),
                        set.name.value.to_string(),
                    );
                    declare(&updated, &key, set.keyword, &mut set.body, span);
                }
            }
            Object::Set {
                keyword,
                set,
                body: Some(body),
            } => {
                let Some(name) = set.which.name() else {
                    continue;
                };
                let key = (
                    set.family,
                    set.table.value.to_string(),
                    name.value.to_string(),
                );
                declare(&updated, &key, *keyword, body, span);
            }
            _ => {}
        }
    }
}

fn declare(
    updated: &HashSet<Key>,
    key: &Key,
    keyword: SetKeyword,
    body: &mut SetBody,
    span: crate::syntax::Span,
) {
    if !updated.contains(key) {
        return;
    }
    if keyword == SetKeyword::Set {
        body.flags.dynamic = true;
    }
    body.size.get_or_insert(Spanned {
        value: u64::from(UPDATED_SIZE),
        span,
    });
}

fn rules_of(object: &Object, each: &mut dyn FnMut(Family, &str, &ast::Rule)) {
    match object {
        Object::Table {
            table,
            body: Some(body),
        } => {
            let Some(name) = table.which.name() else {
                return;
            };
            let rules = body.chains.iter().flat_map(|chain| &chain.body.rules);
            rules.for_each(|rule| each(table.family, &name.value, rule));
        }
        Object::Chain {
            chain,
            body: Some(body),
        } => {
            let rules = body.rules.iter();
            rules.for_each(|rule| each(chain.family, &chain.table.value, rule));
        }
        Object::Rule {
            chain,
            rule: Some(rule),
            ..
        } => {
            each(chain.family, &chain.table.value, rule);
        }
        _ => {}
    }
}

fn of_rule(rule: &ast::Rule, each: &mut dyn FnMut(&str)) {
    for stmt in &rule.stmts {
        match &stmt.kind {
            StmtKind::SetUpdate(update) => {
                if let ExprKind::SetRef(name) = &update.set.value().kind {
                    each(name);
                }
            }
            StmtKind::Chain(chain) => chain.rules.iter().for_each(|inner| of_rule(inner, each)),
            _ => {}
        }
    }
}

impl Transaction<'_> {
    /// Gives the sets that a rule changes the size that the kernel gives them.
    pub(super) fn size_updated_sets(&mut self, index: usize, rule: &Rule) {
        let mut names = Vec::new();
        place::visit_rule(rule, &mut |visited| {
            if let place::Visited::Stmt(Stmt::SetUpdate(update)) = visited {
                names.push(update.set.clone());
            }
        });
        for name in names {
            let sized = |table: &crate::store::Table| {
                table.set(&name).is_none_or(|set| set.spec.size.is_some())
            };
            if sized(&self.ruleset.tables[index]) {
                continue;
            }
            if let Some(set) = Arc::make_mut(&mut self.ruleset.tables[index]).set_mut(&name) {
                Arc::make_mut(&mut set.spec).size = Some(UPDATED_SIZE);
            }
        }
    }
}
