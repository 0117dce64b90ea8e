//! Rules: add, insert, replace, delete.

use std::sync::Arc;

use super::echo::News;
use super::suggest::{self, Noun};
use super::{Done, Errno, Fail, Transaction, named, refuse, shared};
use super::{refused, validate};
use crate::engine::Profile;
use crate::ipset::IpSets;
use crate::model::expr::{Expr, ExprKind};
use crate::model::rule::SetInfo;
use crate::model::{ChainInfo, ObjectKind, Rule, RuleContext, Scope};
use crate::store::references::{self, Node};
use crate::store::{Chunk, Id, Ruleset, StoredRule, Table, checker, place};
use crate::syntax::ast::{self, ItemRef, RulePosition};
use crate::syntax::{Diagnostic, Span};

/// A table as the checker sees it.
pub(super) struct TableScope<'a> {
    /// The table, if it is there.
    pub(super) table: Option<&'a Table>,
    /// Everything, for suggestions.
    pub(super) ruleset: &'a Ruleset,
    /// The ports that names of interfaces mean.
    pub(super) profile: &'a Profile,
}

/// Sets must be known to the check; whether chains, objects and flowtables are there is the kernel's
/// affair, which [`check_target`] looks at.
impl Scope for TableScope<'_> {
    fn set(&self, name: &str) -> Option<SetInfo> {
        Some(self.table?.set(name)?.info())
    }

    fn object(&self, _kind: ObjectKind, _name: &str) -> bool {
        true
    }

    fn chain(&self, _name: &str) -> bool {
        true
    }

    fn flowtable(&self, _name: &str) -> bool {
        true
    }

    fn port_index(&self, name: &str) -> Option<u32> {
        let port = self.profile.ports.iter().find(|port| port.name == name);
        port.map(|port| port.index)
    }

    fn similar_sets(&self, name: &str) -> Option<String> {
        let complaint = suggest::unknown(self.ruleset, Noun::Set, name, Span::default());
        complaint
            .message
            .strip_prefix(Errno::NoEntry.text())
            .map(str::to_owned)
    }
}

impl Transaction<'_> {
    /// What the check makes of a rule.
    fn check_rule(&self, chain: &ItemRef, rule: &ast::Rule, span: Span) -> Done<Rule> {
        let table = self.ruleset.table(chain.family, &chain.table.value);
        let name = chain.which.name().map_or("", |name| &name.value);
        let base = table
            .and_then(|table| table.chain(name))
            .and_then(|chain| chain.base.as_ref());
        let scope = TableScope {
            table: table.map(|table| &**table),
            ruleset: &self.ruleset,
            profile: self.profile,
        };
        let context = RuleContext {
            family: chain.family,
            table: &chain.table.value,
            chain: base.map(|base| ChainInfo {
                kind: base.kind,
                hook: base.hook,
                priority: base.priority,
            }),
            scope: &scope,
        };
        checker::rule(rule, &context).map_err(|complaints| match complaints.as_slice() {
            // What the checker knows that the kernel refuses belongs to the second pass. The kernel
            // refuses the whole command, unless it points at an element or a statement.
            [one] if one.message.starts_with("Could not process rule: ") => {
                Fail::Kernel(Diagnostic {
                    span: if one.span == Some(rule.span) {
                        Some(span)
                    } else {
                        one.span
                    },
                    ..one.clone()
                })
            }
            // A set is looked for in its table, so a missing table is what nft complains about.
            [one] if table.is_none() && one.message.starts_with(Errno::NoEntry.text()) => {
                suggest::table(&self.ruleset, &chain.table.value, chain.table.span).into()
            }
            _ => Fail::Check(complaints),
        })
    }

    /// nft looks at the chain itself when a position is given.
    fn checked_position(&self, chain: &ItemRef) -> Done {
        let table = self.checked_table(chain.family, &chain.table)?;
        let name = named(chain)?;
        if table.chain(&name.value).is_none() {
            return Err(
                suggest::unknown(&self.ruleset, Noun::Chain, &name.value, name.span).into(),
            );
        }
        Ok(())
    }

    pub(super) fn add_rule(
        &mut self,
        chain: &ItemRef,
        position: Option<&RulePosition>,
        rule: &ast::Rule,
        insert: bool,
        span: Span,
    ) -> Done {
        let body = self.check_rule(chain, rule, span)?;
        if position.is_some() {
            self.checked_position(chain)?;
        }
        let sets_fail = self.refuse_sets(chain, &body, rule);
        let index = self.place_of(chain, Noun::Rule)?;
        let at = match self.target(index, chain, position, insert) {
            Ok(at) => at,
            Err(fail) => {
                // Anonymous sets come before the rule that needs them, so they have got their handles.
                Arc::make_mut(&mut self.ruleset.tables[index]).last_handle += anonymous_sets(&body);
                return Err(fail);
            }
        };
        if sets_fail {
            return Ok(());
        }
        self.size_updated_sets(index, &body);
        let stored = self.store_rule(index, chain, body, rule, span)?;
        let Some(chain_name) = chain.which.name() else {
            return Ok(());
        };
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        let handle = stored.handle;
        if let Some(known) = table.chain_mut(&chain_name.value) {
            match at {
                Some(at) => known.rules.insert(at, Arc::new(stored)),
                None => known.rules.push(Arc::new(stored)),
            }
        }
        self.changed = true;
        let keyword = if insert { "insert" } else { "add" };
        self.announce(
            index,
            News::Rule {
                chain: &chain_name.value,
                handle,
                keyword,
            },
        );
        Ok(())
    }

    /// Anonymous sets are made before their rule, so the kernel refuses them first. Says whether any was
    /// refused; the request has failed then.
    fn refuse_sets(&mut self, chain: &ItemRef, body: &Rule, rule: &ast::Rule) -> bool {
        let before = self.kernel_errors.len();
        let mut missing = |span| {
            let text = format!("Could not process rule: {}", Errno::NoEntry.text());
            self.kernel_errors.push(Diagnostic::error(span, text));
        };
        match self.ruleset.table(chain.family, &chain.table.value) {
            None if anonymous_sets(body) == 0 => {}
            None => {
                for span in place::of_sets(rule) {
                    missing(chain.table.span);
                    missing(span);
                }
            }
            Some(table) => {
                let mut gone = Vec::new();
                place::visit_rule(body, &mut |visited| {
                    if let place::Visited::Expr(
                        expr @ Expr {
                            kind: ExprKind::Set(_),
                            ..
                        },
                    ) = visited
                    {
                        references::of_expr(expr, &mut |node| gone.push(node));
                    }
                });
                for node in gone {
                    if let Node::Chain(name) = &node
                        && table.chain(name).is_none()
                    {
                        missing(place::of_name(rule, name));
                        break;
                    }
                }
            }
        }
        self.kernel_errors.len() > before
    }

    /// Where a new rule goes: before the rule at that place, or at the end.
    fn target(
        &self,
        index: usize,
        chain: &ItemRef,
        position: Option<&RulePosition>,
        insert: bool,
    ) -> Done<Option<usize>> {
        let table = &self.ruleset.tables[index];
        let name = named(chain)?;
        let Some(known) = table.chain(&name.value) else {
            return Err(suggest::missing(
                &self.ruleset,
                Noun::Rule,
                chain.family,
                &chain.table,
                &name.value,
                name.span,
            ));
        };
        let behind = usize::from(!insert);
        match position {
            None => Ok(insert.then_some(0)),
            Some(RulePosition::Handle(handle) | RulePosition::Position(handle)) => {
                match known.rules.position(handle.value) {
                    Some(at) => Ok(Some(at + behind)),
                    None => refuse(self.with_keyword(handle.span, "position"), Errno::NoEntry),
                }
            }
            Some(RulePosition::Index(number)) => match usize::try_from(number.value) {
                Ok(at) if at < known.rules.len() => Ok(Some(at + behind)),
                _ => refuse(self.with_keyword(number.span, "index"), Errno::NoEntry),
            },
        }
    }

    /// nft then looks whether another chain was meant.
    fn no_such_rule(&self, chain: &ItemRef, name: &ast::Name, span: Span) -> Fail {
        suggest::missing(
            &self.ruleset,
            Noun::Rule,
            chain.family,
            &chain.table,
            &name.value,
            span,
        )
    }

    /// nft points at `index N` and `position N`, not at the number alone.
    fn with_keyword(&self, span: Span, keyword: &str) -> Span {
        let text = self
            .sources
            .get(span.source)
            .map_or("", |source| &*source.text);
        let before = text.get(..span.start as usize).unwrap_or("").trim_end();
        match before.ends_with(keyword) {
            true => Span {
                start: (before.len() - keyword.len()) as u32,
                ..span
            },
            false => span,
        }
    }

    /// Takes handles, slots and references for a rule; the caller puts it into the chain.
    fn store_rule(
        &mut self,
        index: usize,
        chain: &ItemRef,
        body: Rule,
        source: &ast::Rule,
        span: Span,
    ) -> Done<StoredRule> {
        let line = self.line(source.span);
        let name = named(chain)?;
        let chain_name = shared(&name.value);
        let table = &self.ruleset.tables[index];
        let (family, table_name) = (table.family, table.name.clone());
        let mut used = Vec::new();
        references::of_rule(&body, &mut |node| used.push(node));
        // The kernel gives handles before it looks at what the rule names, and never takes them back.
        let handles = anonymous_handles(&body) + 1;
        let last = table.last_handle + handles;
        Arc::make_mut(&mut self.ruleset.tables[index]).last_handle = last;
        let table = &self.ruleset.tables[index];
        for node in &used {
            check_target(table, &self.ruleset.ipsets, node, source)?;
        }
        refused::check(&body, source, family)?;
        let demands = validate::demands(&body);
        let meters = self.make_meters(index, &body, last - handles + 1, span)?;
        let node = Node::Chain(chain_name.clone());
        let jumps = used
            .iter()
            .any(|node| matches!(node, Node::Chain(_) | Node::Set(_)));
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        for target in &used {
            table.references.add(&node, target.clone());
        }
        let table = &self.ruleset.tables[index];
        let checked = match jumps {
            true => self.check_jumps(table, &node, span),
            false => Ok(()),
        };
        let checked =
            checked.and_then(|()| self.check_demands(table, &chain_name, &demands, jumps, span));
        if let Err(fail) = checked {
            let table = Arc::make_mut(&mut self.ruleset.tables[index]);
            used.iter()
                .for_each(|target| table.references.remove(&node, target));
            meters.iter().for_each(|meter| drop(table.take_set(meter)));
            return Err(fail);
        }
        if !demands.is_empty()
            && let Some(known) =
                Arc::make_mut(&mut self.ruleset.tables[index]).chain_mut(&chain_name)
        {
            validate::remember(known, &demands);
        }
        let continued = self
            .removed
            .take_rule(family, &table_name, &chain_name, &body);
        let (id, slots) = match &continued {
            Some(old) => (old.id, self.slots.continue_rule(old, &body)),
            None => (Id::fresh(), self.slots.rule(&body)),
        };
        let table = self.ruleset.tables[index].id;
        self.places.push(super::RulePlace {
            table,
            handle: last,
            span: source.span,
        });
        match slots {
            Some(slots) => Ok(StoredRule {
                id,
                handle: last,
                slots,
                body,
                line,
            }),
            None => refuse(span, Errno::TableFull),
        }
    }

    fn release(&mut self, index: usize, chain: &str, old: &Arc<StoredRule>) {
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        let (family, table_name, chain) = (table.family, table.name.clone(), shared(chain));
        let node = Node::Chain(chain.clone());
        references::of_rule(&old.body, &mut |target| {
            table.references.remove(&node, &target)
        });
        self.removed.rule(family, &table_name, &chain, old.clone());
        self.drop_unused_meters(
            index,
            &[Arc::new(Chunk {
                id: Id(0),
                rules: vec![old.clone()],
            })],
        );
    }

    pub(super) fn replace_rule(
        &mut self,
        chain: &ItemRef,
        position: &RulePosition,
        rule: &ast::Rule,
        span: Span,
    ) -> Done {
        let body = self.check_rule(chain, rule, span)?;
        let (index, at, old) = self.existing(chain, position)?;
        let name = named(chain)?;
        let mut stored = self.store_rule(index, chain, body, rule, span)?;
        // The kernel puts the new rule in under the old one's handle.
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        table.last_handle -= 1;
        stored.handle = old.handle;
        if let Some(place) = self.places.last_mut() {
            place.handle = old.handle;
        }
        if stored.id != old.id && crate::store::identity::same(&old.body, &stored.body) {
            stored.id = old.id;
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        if let Some(known) = table.chain_mut(&name.value) {
            known.rules.replace(at, Arc::new(stored));
        }
        self.release(index, &name.value, &old);
        self.changed = true;
        self.announce(
            index,
            News::Rule {
                chain: &name.value,
                handle: old.handle,
                keyword: "add",
            },
        );
        Ok(())
    }

    pub(super) fn delete_rule(
        &mut self,
        chain: &ItemRef,
        position: &RulePosition,
        lenient: bool,
    ) -> Done {
        let (index, at, old) = match self.existing(chain, position) {
            Ok(found) => found,
            Err(_) if lenient => return Ok(()),
            Err(fail) => return Err(fail),
        };
        let name = named(chain)?;
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        if let Some(known) = table.chain_mut(&name.value) {
            known.rules.remove(at);
        }
        self.release(index, &name.value, &old);
        self.changed = true;
        self.note_deleted("rule", || {
            format!(
                "delete rule {} {} {} handle {}",
                chain.family.keyword(),
                chain.table.value,
                name.value,
                old.handle
            )
        });
        Ok(())
    }

    /// The rule that a command means.
    fn existing(
        &self,
        chain: &ItemRef,
        position: &RulePosition,
    ) -> Done<(usize, usize, Arc<StoredRule>)> {
        let index = self.place_of(chain, Noun::Rule)?;
        let name = named(chain)?;
        let Some(known) = self.ruleset.tables[index].chain(&name.value) else {
            return Err(suggest::missing(
                &self.ruleset,
                Noun::Rule,
                chain.family,
                &chain.table,
                &name.value,
                name.span,
            ));
        };
        let (found, span) = match position {
            RulePosition::Handle(handle) | RulePosition::Position(handle) => {
                (known.rules.position(handle.value), handle.span)
            }
            RulePosition::Index(number) => (usize::try_from(number.value).ok(), number.span),
        };
        let rule = found.and_then(|at| Some((at, known.rules.get(at)?.clone())));
        match rule {
            Some((at, rule)) => Ok((index, at, rule)),
            None => Err(self.no_such_rule(chain, name, span)),
        }
    }
}

/// What a rule names must be there, and a jump must not go to a base chain.
fn check_target(table: &Table, ipsets: &IpSets, node: &Node, source: &ast::Rule) -> Done {
    let (found, name) = match node {
        Node::Chain(name) => match table.chain(name) {
            Some(chain) if chain.base.is_some() => {
                return refuse(place::of_name(source, name), Errno::NotSupported);
            }
            found => (found.is_some(), name),
        },
        // The check has looked for sets; a meter makes its own.
        Node::Set(_) => return Ok(()),
        Node::Object(kind, name) => (table.object(*kind, name).is_some(), name),
        Node::Flowtable(name) => (table.flowtable(name).is_some(), name),
        Node::IpSet(name) => (ipsets.get(name).is_some(), name),
    };
    if found {
        Ok(())
    } else {
        refuse(place::of_name(source, name), Errno::NoEntry)
    }
}

/// Sets that the kernel is sent before a rule.
fn anonymous_sets(rule: &Rule) -> u64 {
    let mut count = 0;
    place::visit_rule(rule, &mut |visited| {
        if let place::Visited::Expr(Expr {
            kind: ExprKind::Set(_),
            ..
        }) = visited
        {
            count += 1;
        }
    });
    count
}

/// Handles that the kernel gives to the anonymous sets and chains of a rule, and to its meters.
fn anonymous_handles(rule: &Rule) -> u64 {
    let mut count = 0;
    place::visit_rule(rule, &mut |visited| match visited {
        place::Visited::Expr(Expr {
            kind: ExprKind::Set(_),
            ..
        }) => count += 1,
        place::Visited::AnonymousChain(rules) => count += 1 + rules.len() as u64,
        place::Visited::Stmt(crate::model::Stmt::Meter(_)) => count += 1,
        _ => {}
    });
    count
}
