//! Elements of named sets and maps, for the store.

use super::super::expr::{DataType, Element, Expr, ExprKind};
use super::super::rule::{RuleContext, SetInfo};
use super::set::DataWant;
use super::{Checked, Checker, Want, fail};
use crate::syntax::Span;
use crate::syntax::ast::{self, ExprKind as Ast};

/// Where an element was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its key: what nft's own complaints name.
    pub key: Span,
    /// What the kernel's refusals name: of an element of a map all that stands before the colon.
    pub whole: Span,
}

/// Checks the elements of a command or declaration against the set's type. The place of each is
/// beside it. Nothing is sorted or merged: see [`super::super::elements`].
pub fn check_elements(
    elements: &ast::Expr,
    set: &SetInfo,
    context: &RuleContext<'_>,
) -> Checked<Vec<(Element, Place)>> {
    let Ast::Set(list) = &elements.value().kind else {
        return fail(elements.span, "Expression is not a set");
    };
    let mut out = Vec::with_capacity(list.len());
    let mut checker = Checker::new(*context);
    let want = Want::set(&set.key);
    let data = set.data.as_ref().map(DataWant::of);
    for element in list {
        one(&mut checker, element, set, &want, data.as_ref(), &mut out)?;
    }
    Ok(out)
}

/// Checks one element.
pub fn check_element(
    element: &ast::Element,
    set: &SetInfo,
    context: &RuleContext<'_>,
) -> Checked<Element> {
    let mut checker = Checker::new(*context);
    let data = set.data.as_ref().map(DataWant::of);
    checker.element(element, &Want::set(&set.key), data.as_ref())
}

/// Checks a value against a type (the data of a map, an argument).
pub fn check_data(value: &ast::Expr, ty: &DataType, context: &RuleContext<'_>) -> Checked<Expr> {
    let mut checker = Checker::new(*context);
    match ty {
        DataType::Value(ty) | DataType::Interval(ty) => checker.expr(value, &Want::set(ty)),
        _ => fail(value.span, "not a value"),
    }
}

fn one(
    checker: &mut Checker<'_>,
    element: &ast::Element,
    set: &SetInfo,
    want: &Want,
    data: Option<&DataWant>,
    out: &mut Vec<(Element, Place)>,
) -> Checked<()> {
    if let Ast::Set(nested) = &element.key.value().kind {
        for inner in nested {
            one(checker, inner, set, want, data, out)?;
        }
        return Ok(());
    }
    // Deletions and look-ups name the key alone.
    let data = if element.data.is_none() { None } else { data };
    if data.is_none() && element.data.is_some() {
        return fail(element.key.span, "Set is not a map");
    }
    let typed = checker.element(element, want, data)?;
    if typed.is_interval() && !set.interval {
        return fail(
            element.key.span,
            "You must add 'flags interval' to your set declaration if you want to add prefix elements"
                .replace("prefix", kind_word(&typed.key)),
        );
    }
    let key = element.key.span;
    let whole = match &element.extra {
        Some(extra) if element.data.is_some() => key.to(extra.span),
        _ => key,
    };
    out.push((super::set::exact(typed), Place { key, whole }));
    Ok(())
}

fn kind_word(key: &Expr) -> &'static str {
    match key.kind {
        ExprKind::Range { .. } => "range",
        ExprKind::Concat(_) => "concat",
        _ => "prefix",
    }
}
