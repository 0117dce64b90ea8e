//! Walks over rules: everything in a checked rule, and where a written one says a name.

use crate::model::expr::{ChainRef, Expr, ExprKind, Verdict};
use crate::model::stmt::{ObjectTarget, Stmt};
use crate::model::{Element, Rule};
use crate::syntax::Span;
use crate::syntax::ast;

/// What a walk meets.
#[derive(Debug)]
pub enum Visited<'a> {
    /// A statement, before what is in it.
    Stmt(&'a Stmt),
    /// An expression, before what is in it.
    Expr(&'a Expr),
    /// The rules of a jump or goto in place, before what is in them.
    AnonymousChain(&'a [Rule]),
}

/// Calls `f` for everything in a rule, in the order of the text.
pub fn visit_rule<'a>(rule: &'a Rule, f: &mut dyn FnMut(Visited<'a>)) {
    rule.stmts.iter().for_each(|stmt| visit_stmt(stmt, f));
}

fn visit_stmt<'a>(stmt: &'a Stmt, f: &mut dyn FnMut(Visited<'a>)) {
    f(Visited::Stmt(stmt));
    for expr in operands(stmt).into_iter().flatten() {
        visit_expr(expr, f);
    }
    match stmt {
        Stmt::Verdict(verdict) => visit_verdict(verdict, f),
        Stmt::SetUpdate(update) => visit_element(&update.element, f),
        Stmt::Meter(meter) => visit_element(&meter.element, f),
        _ => {}
    }
}

/// The expressions of a statement, in the order of the text; verdicts, and elements that it adds to
/// sets, are none.
pub(super) fn operands(stmt: &Stmt) -> [Option<&Expr>; 2] {
    match stmt {
        Stmt::Match(m) => [Some(&m.left), Some(&m.right)],
        Stmt::VerdictMap { key, map } => [Some(key), Some(map)],
        Stmt::Object {
            target: ObjectTarget::Map(map),
            ..
        } => [Some(map), None],
        Stmt::Mangle { target, value, .. } => [Some(target), Some(value)],
        Stmt::OptionReset(expr) | Stmt::Queue { to: expr, .. } => [Some(expr), None],
        Stmt::MetaSet { value, .. } | Stmt::CtSet { value, .. } => [Some(value), None],
        Stmt::Nat(nat) => [nat.addr.as_ref(), nat.port.as_ref()],
        Stmt::Tproxy { addr, port, .. } => [addr.as_ref(), port.as_ref()],
        Stmt::Dup { to, device } => [to.as_ref(), device.as_ref()],
        Stmt::Fwd { addr, device, .. } => [addr.as_ref(), Some(device)],
        Stmt::Npt { from, to, .. } => [Some(from), Some(to)],
        Stmt::Verdict(_)
        | Stmt::SetUpdate(_)
        | Stmt::Meter(_)
        | Stmt::Object {
            target: ObjectTarget::Name(_),
            ..
        }
        | Stmt::FlowAdd(_)
        | Stmt::Nat64(_)
        | Stmt::Ipset(_)
        | Stmt::Siit(_)
        | Stmt::Counter { .. }
        | Stmt::Limit(_)
        | Stmt::Quota(_)
        | Stmt::Last { .. }
        | Stmt::ConnLimit { .. }
        | Stmt::Log(_)
        | Stmt::Reject(_)
        | Stmt::Notrack
        | Stmt::Synproxy(_) => [None, None],
    }
}

fn visit_verdict<'a>(verdict: &'a Verdict, f: &mut dyn FnMut(Visited<'a>)) {
    if let Verdict::Jump(ChainRef::Anonymous(rules)) | Verdict::Goto(ChainRef::Anonymous(rules)) =
        verdict
    {
        f(Visited::AnonymousChain(rules));
        rules.iter().for_each(|rule| visit_rule(rule, f));
    }
}

fn visit_expr<'a>(expr: &'a Expr, f: &mut dyn FnMut(Visited<'a>)) {
    f(Visited::Expr(expr));
    match &expr.kind {
        ExprKind::Concat(parts) => parts.iter().for_each(|part| visit_expr(part, f)),
        ExprKind::Verdict(verdict) => visit_verdict(verdict, f),
        ExprKind::Hash(hash) => {
            if let Some(key) = &hash.key {
                visit_expr(key, f);
            }
        }
        ExprKind::Binop { left, right, .. } => {
            visit_expr(left, f);
            visit_expr(right, f);
        }
        ExprKind::Map { key, map } => {
            visit_expr(key, f);
            visit_expr(map, f);
        }
        // Elements are constants; their statements' state lives in the runtime set.
        _ => {}
    }
}

fn visit_element<'a>(element: &'a Element, f: &mut dyn FnMut(Visited<'a>)) {
    visit_expr(&element.key, f);
    if let Some(data) = &element.data {
        visit_expr(data, f);
    }
}

/// Where a written rule says a name; the rule itself if it does not.
pub fn of_name(rule: &ast::Rule, name: &str) -> Span {
    rule.stmts
        .iter()
        .find_map(|stmt| in_stmt(stmt, name))
        .unwrap_or(rule.span)
}

fn in_stmt(stmt: &ast::Stmt, name: &str) -> Option<Span> {
    use ast::StmtKind as K;
    match &stmt.kind {
        K::Verdict(verdict) => in_verdict(verdict, name),
        K::Match(expr) | K::MetaSet(_, expr) | K::CtSet(_, expr) => in_expr(expr, name),
        K::VerdictMap(map) => in_expr(&map.map, name),
        K::ObjectRef(object) => in_expr(&object.name, name),
        K::Chain(chain) => chain
            .rules
            .iter()
            .flat_map(|rule| &rule.stmts)
            .find_map(|stmt| in_stmt(stmt, name)),
        K::FlowAdd(flowtable) => (flowtable.value == name).then_some(flowtable.span),
        K::SetUpdate(update) => in_expr(&update.set, name),
        K::Ipset(ipset) => (ipset.set.value == name).then_some(ipset.set.span),
        _ => None,
    }
}

fn in_verdict(verdict: &ast::Verdict, name: &str) -> Option<Span> {
    match verdict {
        ast::Verdict::Jump(to) | ast::Verdict::Goto(to) => {
            (to.word() == Some(name)).then_some(to.span)
        }
        _ => None,
    }
}

fn in_expr(expr: &ast::Expr, name: &str) -> Option<Span> {
    if expr.word() == Some(name) {
        return Some(expr.span);
    }
    match &expr.kind {
        ast::ExprKind::SetRef(set) => (set == name).then_some(expr.span),
        ast::ExprKind::Verdict(verdict) => in_verdict(verdict, name),
        ast::ExprKind::Map(map) => in_expr(&map.map, name),
        ast::ExprKind::Relational(_, sides) => in_expr(&sides.1, name),
        ast::ExprKind::Set(elements) => elements
            .iter()
            .find_map(|element| in_element(element, name)),
        ast::ExprKind::Variable(variable) => in_expr(&variable.value, name),
        _ => None,
    }
}

/// Where a written element says a name; what its data names is said at its key.
pub fn in_element(element: &ast::Element, name: &str) -> Option<Span> {
    let in_data = |data: &ast::Expr| in_expr(data, name).map(|_| element.key.span);
    in_expr(&element.key, name).or_else(|| in_data(element.data.as_deref()?))
}

/// Places of the anonymous sets of a written rule, in order.
pub fn of_sets(rule: &ast::Rule) -> Vec<Span> {
    let mut all = Vec::new();
    rule.stmts
        .iter()
        .for_each(|stmt| sets_of_stmt(stmt, &mut all));
    all
}

fn sets_of_stmt(stmt: &ast::Stmt, all: &mut Vec<Span>) {
    use ast::StmtKind as K;
    match &stmt.kind {
        K::Match(expr) | K::MetaSet(_, expr) | K::CtSet(_, expr) => sets_of_expr(expr, all),
        K::VerdictMap(map) => sets_of_expr(&map.map, all),
        K::Chain(chain) => chain
            .rules
            .iter()
            .flat_map(|rule| &rule.stmts)
            .for_each(|stmt| sets_of_stmt(stmt, all)),
        _ => {}
    }
}

fn sets_of_expr(expr: &ast::Expr, all: &mut Vec<Span>) {
    match &expr.kind {
        ast::ExprKind::Set(_) => all.push(expr.span),
        ast::ExprKind::Map(map) => sets_of_expr(&map.map, all),
        ast::ExprKind::Relational(_, sides) => sets_of_expr(&sides.1, all),
        ast::ExprKind::Variable(variable) => sets_of_expr(&variable.value, all),
        _ => {}
    }
}
