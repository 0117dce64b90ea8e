//! Chains: add, change of policy, delete, rename.

use super::echo::News;
use super::suggest::{self, Noun};
use super::{Done, Errno, Fail, Transaction, check_name, named, priority, refuse, shared};
use crate::model::expr::{ChainRef, Expr, ExprKind, Verdict};
use crate::model::stmt::Stmt;
use crate::model::{ChainType, Family, Hook};
use crate::store::references::Node;
use crate::store::{BaseChain, Chain, Chunks, Id, Name, StoredRule, Table};
use crate::syntax::ast::{self, ChainBody, Devices, ItemRef, PriorityValue, Which};
use crate::syntax::{Diagnostic, Span};
use std::sync::Arc;

impl Transaction<'_> {
    pub(super) fn add_chain_command(
        &mut self,
        chain: &ItemRef,
        body: Option<&ChainBody>,
        create: bool,
        span: Span,
    ) -> Done {
        self.add_chain(chain, body, create, span)?;
        for rule in body.map_or(&[][..], |body| &body.rules) {
            let outcome = self.add_rule(chain, None, rule, false, rule.span);
            self.keep(outcome);
        }
        Ok(())
    }

    pub(super) fn add_chain(
        &mut self,
        chain: &ItemRef,
        body: Option<&ChainBody>,
        create: bool,
        span: Span,
    ) -> Done {
        self.checked_table(chain.family, &chain.table)?;
        let name = named(chain)?;
        check_name(name)?;
        let empty = ChainBody::default();
        let body = body.unwrap_or(&empty);
        let base = match &body.hook {
            Some(hook) => Some(base_chain(chain.family, hook)?),
            None => None,
        };
        let policy = match &body.policy {
            Some(policy) => Some((policy_drops(policy)?, policy.span)),
            None => None,
        };
        let comment = body.comment.as_ref().map(|comment| shared(&comment.value));
        let table = self.table_mut(chain.family, &chain.table)?;
        if let Some(known) = table.chain(&name.value) {
            if create {
                return refuse(name.span, Errno::Exists);
            }
            let changed = change_chain(known, base.as_ref(), policy, span)?;
            if let Some(changed) = changed {
                let Some(known) = table.chain_mut(&name.value) else {
                    return Ok(());
                };
                known.base = Some(changed);
                self.changed = true;
            }
            return Ok(());
        }
        let base = match (base, policy) {
            (Some(mut base), policy) => {
                check_base(chain.family, &base, span)?;
                base.policy_drop = policy.is_some_and(|(drops, _)| drops);
                Some(base)
            }
            (None, Some((_, at))) => return refuse(at, Errno::NotSupported),
            (None, None) => None,
        };
        if body.offload {
            return Err(
                Diagnostic::error(span, "hardware offload of a chain is not supported").into(),
            );
        }
        let handle = table.give_handle();
        let new = Chain {
            id: Id::fresh(),
            name: shared(&name.value),
            handle,
            base,
            comment,
            demands: Vec::new(),
            rules: Chunks::default(),
        };
        table.put_chain(new);
        self.changed = true;
        if let Some(index) = self.ruleset.position(chain.family, &chain.table.value) {
            self.announce(index, News::Chain(&name.value));
        }
        Ok(())
    }

    pub(super) fn delete_chain(&mut self, chain: &ItemRef, lenient: bool) -> Done {
        let index = match self.place_of(chain, Noun::Chain) {
            Ok(index) => index,
            Err(_) if lenient => return Ok(()),
            Err(fail) => return Err(fail),
        };
        let table = &self.ruleset.tables[index];
        let found = match &chain.which {
            Which::Name(name) => table.chain(&name.value),
            Which::Handle(handle) => table.chains.get(&handle.value),
        };
        let Some(found) = found.cloned() else {
            return match &chain.which {
                _ if lenient => Ok(()),
                Which::Name(name) => Err(suggest::missing(
                    &self.ruleset,
                    Noun::Chain,
                    chain.family,
                    &chain.table,
                    &name.value,
                    name.span,
                )),
                Which::Handle(handle) => refuse(handle.span, Errno::NoEntry),
            };
        };
        let node = Node::Chain(found.name.clone());
        let users = table.references.users(&node);
        if users.iter().any(|user| *user != node) {
            return self.busy(chain.which.span(), table, &users);
        }
        let table = Arc::make_mut(&mut self.ruleset.tables[index]);
        table.references.forget(&node);
        table.take_chain(&found.name);
        let (family, table_name) = (table.family, table.name.clone());
        for rule in found.rules.iter() {
            self.removed
                .rule(family, &table_name, &found.name, rule.clone());
        }
        self.changed = true;
        self.note_deleted("chain", || {
            format!(
                "delete chain {} {} {}",
                family.keyword(),
                table_name,
                found.name
            )
        });
        let chunks = found.rules.chunks().to_vec();
        self.drop_unused_meters(index, &chunks);
        Ok(())
    }

    pub(super) fn rename_chain(&mut self, chain: &ItemRef, to: &ast::Name, span: Span) -> Done {
        let name = named(chain)?;
        self.checked_table(chain.family, &chain.table)?;
        check_name(to)?;
        let table = self.table_mut(chain.family, &chain.table)?;
        if table.chain(&name.value).is_none() {
            return Err(
                suggest::unknown(&self.ruleset, Noun::Chain, &name.value, name.span).into(),
            );
        }
        if table.chain(&to.value).is_some() {
            return refuse(span, Errno::Exists);
        }
        let (from, to) = (shared(&name.value), shared(&to.value));
        rewrite_jumps(table, &from, &to);
        table
            .references
            .rename(&Node::Chain(from.clone()), &Node::Chain(to.clone()));
        if let Some(mut known) = table.take_chain(&from) {
            Arc::make_mut(&mut known).name = to;
            table.put_chain(Arc::unwrap_or_clone(known));
        }
        self.changed = true;
        Ok(())
    }

    /// "Device or resource busy", and who is to blame.
    pub(super) fn busy(&self, span: Span, table: &Table, users: &[Node]) -> Done {
        let Err(Fail::Kernel(refusal)) = refuse::<()>(span, Errno::Busy) else {
            return Ok(());
        };
        let names: Vec<String> = users.iter().map(|user| describe(table, user)).collect();
        let blame = Diagnostic::error(span, format!("it is used by {}", names.join(", ")));
        let mut refusal = refusal;
        refusal.message = format!("{}; {}", refusal.message, blame.message);
        Err(Fail::Kernel(refusal))
    }
}

fn describe(table: &Table, node: &Node) -> String {
    match node {
        Node::Chain(name) => format!("rules of chain {name}"),
        Node::Set(name) if table.set(name).is_some_and(|set| set.is_map()) => {
            format!("elements of map {name}")
        }
        Node::Set(name) => format!("elements of set {name}"),
        Node::Object(kind, name) => format!("{} {name}", kind.keyword()),
        Node::Flowtable(name) => format!("flowtable {name}"),
        Node::IpSet(name) => format!("ipset {name}"),
    }
}

/// What a chain that is there becomes, or nothing if it stays.
fn change_chain(
    known: &Chain,
    base: Option<&BaseChain>,
    policy: Option<(bool, Span)>,
    span: Span,
) -> Done<Option<BaseChain>> {
    match (&known.base, base, policy) {
        (_, None, None) => Ok(None),
        (None, _, Some((_, at))) => refuse(at, Errno::NotSupported),
        (None, Some(_), None) => refuse(span, Errno::NotSupported),
        (Some(old), new, policy) => {
            if let Some(new) = new {
                let same = (old.kind, old.hook, old.priority) == (new.kind, new.hook, new.priority);
                if !same {
                    return refuse(span, Errno::NotSupported);
                }
            }
            let mut changed = old.clone();
            if let Some((drops, _)) = policy {
                changed.policy_drop = drops;
            }
            if let Some(new) = new {
                for device in &new.devices {
                    if !changed.devices.contains(device) {
                        changed.devices.push(device.clone());
                    }
                }
                changed.devices.sort();
            }
            Ok((changed != *old).then_some(changed))
        }
    }
}

/// What the check makes of `type ... hook ... priority ...`.
fn base_chain(family: Family, hook: &ast::Hook) -> Done<BaseChain> {
    let at = hook.hook.value;
    if !family_hooks(family).contains(&at) {
        let complaint = format!("The {} family does not support this hook", family.keyword());
        return Err(Diagnostic::error(hook.hook.span, complaint).into());
    }
    let priority = priority_number(family, at, &hook.priority)?;
    let mut devices = match &hook.devices {
        Some(devices) => device_names(devices)?,
        None => Vec::new(),
    };
    devices.sort();
    devices.dedup();
    if devices.is_empty() && matches!(at, Hook::Ingress | Hook::Egress) {
        return Err(
            Diagnostic::error(hook.span, "Missing `device' in this chain definition").into(),
        );
    }
    Ok(BaseChain {
        kind: hook.chain_type.value,
        hook: at,
        priority,
        policy_drop: false,
        devices,
    })
}

fn family_hooks(family: Family) -> &'static [Hook] {
    use Hook::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
    match family {
        Family::Ip | Family::Ip6 | Family::Bridge => {
            &[Prerouting, Input, Forward, Output, Postrouting]
        }
        Family::Inet => &[Prerouting, Input, Forward, Output, Postrouting, Ingress],
        Family::Arp => &[Input, Output],
        Family::Netdev => &[Ingress, Egress],
    }
}

/// What the kernel makes of it.
fn check_base(family: Family, base: &BaseChain, span: Span) -> Done {
    let fits = match base.kind {
        ChainType::Filter => true,
        ChainType::Nat => {
            matches!(family, Family::Ip | Family::Ip6 | Family::Inet)
                && matches!(
                    base.hook,
                    Hook::Prerouting | Hook::Input | Hook::Output | Hook::Postrouting
                )
                && base.priority > -200
        }
        ChainType::Route => {
            matches!(family, Family::Ip | Family::Ip6 | Family::Inet) && base.hook == Hook::Output
        }
    };
    if fits {
        Ok(())
    } else {
        refuse(span, Errno::NotSupported)
    }
}

pub(super) fn priority_number(family: Family, hook: Hook, priority: &ast::Priority) -> Done<i32> {
    let invalid = || {
        Fail::from(Diagnostic::error(
            priority.span,
            "invalid priority expression value in this context.",
        ))
    };
    let number = match &priority.value {
        PriorityValue::Number(number) => Some(*number),
        PriorityValue::Name { name, offset } => {
            priority::number(family, hook, &name.value).map(|number| i64::from(number) + offset)
        }
        PriorityValue::Variable(variable) => match &variable.value().kind {
            ast::ExprKind::Number(number) => i64::try_from(*number).ok(),
            ast::ExprKind::Negative(number) => Some(*number),
            ast::ExprKind::Symbol(text) | ast::ExprKind::Quoted(text) => {
                spelled_priority(family, hook, text)
            }
            _ => None,
        },
    };
    number
        .and_then(|number| i32::try_from(number).ok())
        .ok_or_else(invalid)
}

/// `filter`, `filter + 10`, `-5`.
fn spelled_priority(family: Family, hook: Hook, text: &str) -> Option<i64> {
    let compact: String = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .collect();
    if let Ok(number) = compact.parse() {
        return Some(number);
    }
    let end = compact.find(['+', '-']).unwrap_or(compact.len());
    let (name, offset) = compact.split_at(end);
    let offset: i64 = if offset.is_empty() {
        0
    } else {
        offset.parse().ok()?
    };
    Some(i64::from(priority::number(family, hook, name)?) + offset)
}

fn policy_drops(policy: &ast::Expr) -> Done<bool> {
    match policy.word() {
        Some("accept") => Ok(false),
        Some("drop") => Ok(true),
        _ => match &policy.value().kind {
            ast::ExprKind::Verdict(ast::Verdict::Accept) => Ok(false),
            ast::ExprKind::Verdict(ast::Verdict::Drop) => Ok(true),
            _ => Err(Diagnostic::error(
                policy.span,
                "invalid policy expression value in this context.",
            )
            .into()),
        },
    }
}

/// Names of a device list; variables may hold several.
pub(super) fn device_names(devices: &Devices) -> Done<Vec<Name>> {
    let mut names = Vec::new();
    let mut open: Vec<&ast::Expr> = devices.list.iter().rev().collect();
    while let Some(device) = open.pop() {
        match (&device.value().kind, device.word()) {
            (ast::ExprKind::Set(elements), _) => {
                open.extend(elements.iter().rev().map(|element| &element.key))
            }
            (ast::ExprKind::List(list), _) => open.extend(list.iter().rev()),
            (_, Some(name)) if name.len() <= 15 => names.push(shared(name)),
            (_, Some(_)) => {
                return Err(
                    Diagnostic::error(device.span, "String exceeds maximum length of 15").into(),
                );
            }
            _ => {
                return Err(
                    Diagnostic::error(device.span, "a device's name is expected here").into(),
                );
            }
        }
    }
    Ok(names)
}

/// Rules and elements name the chains that they jump to; a renamed chain takes them along.
fn rewrite_jumps(table: &mut Table, from: &Name, to: &Name) {
    let users = table.references.users(&Node::Chain(from.clone()));
    for user in users {
        match user {
            Node::Chain(name) => {
                let Some(chain) = table.chain_mut(&name) else {
                    continue;
                };
                for index in 0..chain.rules.len() {
                    let Some(rule) = chain.rules.get(index).cloned() else {
                        continue;
                    };
                    let mut body = rule.body.clone();
                    if rename_in(&mut body.stmts, from, to) {
                        chain.rules.replace(
                            index,
                            Arc::new(StoredRule {
                                body,
                                ..(*rule).clone()
                            }),
                        );
                    }
                }
            }
            Node::Set(name) => {
                if let Some(set) = table.set_mut(&name) {
                    set.elements.rename_chain(from, to);
                }
            }
            Node::Object(..) | Node::Flowtable(_) | Node::IpSet(_) => {}
        }
    }
}

fn rename_in(stmts: &mut [Stmt], from: &str, to: &str) -> bool {
    let mut renamed = false;
    for stmt in stmts {
        match stmt {
            Stmt::Verdict(verdict) => renamed |= rename_verdict(verdict, from, to),
            Stmt::VerdictMap {
                map:
                    Expr {
                        kind: ExprKind::Set(set),
                        ..
                    },
                ..
            } => {
                for element in &mut set.elements {
                    if let Some(Expr {
                        kind: ExprKind::Verdict(verdict),
                        ..
                    }) = &mut element.data
                    {
                        renamed |= rename_verdict(verdict, from, to);
                    }
                }
            }
            _ => {}
        }
    }
    renamed
}

/// Follows a rename in a verdict.
pub(crate) fn rename_verdict(verdict: &mut Verdict, from: &str, to: &str) -> bool {
    match verdict {
        Verdict::Jump(ChainRef::Name(name)) | Verdict::Goto(ChainRef::Name(name))
            if *name == *from =>
        {
            *name = to.to_owned();
            true
        }
        Verdict::Jump(ChainRef::Anonymous(rules)) | Verdict::Goto(ChainRef::Anonymous(rules)) => {
            rules.iter_mut().fold(false, |renamed, rule| {
                rename_in(&mut rule.stmts, from, to) | renamed
            })
        }
        _ => false,
    }
}
