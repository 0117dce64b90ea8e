//! `{ ... }`: anonymous sets and maps, and the elements of named ones.

use std::collections::HashMap;

use super::super::datatype::TypeId;
use super::super::elements::{bounds, normalise, sort};
use super::super::expr::{DataType, Element, Expr, ExprKind, SetExpr, SetType};
use super::super::rule::ObjectKind;
use super::expression::expect;
use super::{Checked, Checker, Want, describe, fail, parts_of};
use crate::syntax::ast::{self, ExprKind as Ast};
use crate::syntax::{Diagnostic, Span};

/// What the elements of a map yield.
#[derive(Clone, Debug)]
pub(crate) enum DataWant {
    /// Verdicts.
    Verdict,
    /// Values; ranges and prefixes too with `interval`.
    Value { want: Want, interval: bool },
    /// Names of objects.
    Object(ObjectKind),
}

impl DataWant {
    pub(crate) fn of(data: &DataType) -> Self {
        match data {
            DataType::Verdict => DataWant::Verdict,
            DataType::Value(ty) => DataWant::Value {
                want: Want::set(ty),
                interval: false,
            },
            DataType::Interval(ty) => DataWant::Value {
                want: Want::set(ty),
                interval: true,
            },
            DataType::Object(kind) => DataWant::Object(*kind),
        }
    }

    fn data_type(&self, interval: bool) -> DataType {
        match self {
            DataWant::Verdict => DataType::Verdict,
            DataWant::Object(kind) => DataType::Object(*kind),
            DataWant::Value { want, .. } => {
                let ty = SetType {
                    parts: want.parts.clone(),
                    type_of: None,
                };
                if interval {
                    DataType::Interval(ty)
                } else {
                    DataType::Value(ty)
                }
            }
        }
    }
}

impl Checker<'_> {
    /// An anonymous set or map, its elements normalised and in order.
    pub(crate) fn set_literal(
        &mut self,
        elements: &[ast::Element],
        want: &Want,
        data: Option<&DataWant>,
        span: Span,
    ) -> Checked<SetExpr> {
        if want.parts.is_empty() {
            return fail(span, "Can't parse symbolic invalid expressions");
        }
        let mut typed: Vec<(Element, Span)> = Vec::with_capacity(elements.len());
        for element in elements {
            self.flatten(element, want, data, &mut typed)?;
        }
        if typed.is_empty() {
            return fail(span, "Set is empty");
        }
        let interval = typed.iter().any(|(e, _)| e.is_interval());
        let concat = want.parts.len() > 1;
        let (list, spans): (Vec<_>, Vec<_>) = typed.into_iter().unzip();
        let list = if interval && !concat && (list.len() > 1 || data.is_some()) {
            normalise(list, data.is_none()).map_err(|overlap| {
                Box::new(
                    Diagnostic::error(spans[overlap.second], "conflicting intervals specified")
                        .with_related(spans[overlap.first]),
                )
            })?
        } else {
            let mut list = distinct(list)
                .and_then(|list| if interval { apart(list) } else { Ok(list) })
                .map_err(|i| {
                    Box::new(Diagnostic::error(
                        spans[i],
                        "Could not process rule: File exists",
                    ))
                })?;
            sort(&mut list, interval);
            list
        };
        let data_interval = list.iter().any(|e| {
            e.data
                .as_ref()
                .is_some_and(|d| Element::plain(d.clone()).is_interval())
        });
        Ok(SetExpr {
            key: SetType {
                parts: want.parts.clone(),
                type_of: None,
            },
            data: data.map(|d| d.data_type(data_interval)),
            interval,
            elements: list,
        })
    }

    fn flatten(
        &mut self,
        element: &ast::Element,
        want: &Want,
        data: Option<&DataWant>,
        out: &mut Vec<(Element, Span)>,
    ) -> Checked<()> {
        if let Ast::Set(nested) = &element.key.value().kind
            && element.data.is_none()
        {
            for inner in nested {
                self.flatten(inner, want, data, out)?;
            }
            return Ok(());
        }
        let typed = self.element(element, want, data)?;
        out.push((typed, element.key.span));
        Ok(())
    }

    /// One element.
    pub(crate) fn element(
        &mut self,
        element: &ast::Element,
        want: &Want,
        data: Option<&DataWant>,
    ) -> Checked<Element> {
        let span = element.key.span;
        let key = self.expr(&element.key, want)?;
        if !key.is_constant() || matches!(key.kind, ExprKind::SetRef(_) | ExprKind::Set(_)) {
            return fail(span, "Set member is not constant");
        }
        if !matches!(key.kind, ExprKind::CatchAll) {
            expect(&key, want, span, None)?;
        }
        if let ExprKind::Range { lo, hi } = key.kind
            && lo > hi
        {
            return fail(span, "Range has zero or negative size");
        }
        let mut typed = Element::plain(key);
        match (data, &element.data) {
            (Some(data), Some(value)) => self.element_data(&mut typed, data, value, span)?,
            (Some(_), None) => return fail(span, "Mapping expression has no data"),
            (None, Some(_)) => return fail(span, "mapping outside of map context"),
            (None, None) => {}
        }
        if let Some(extra) = &element.extra {
            typed.timeout_ms = extra.timeout_ms;
            typed.expires_ms = extra.expires_ms;
            typed.comment = extra.comment.as_ref().map(|c| c.value.to_string());
            for stmt in &extra.stmts {
                typed.stmts.push(super::check_stateful(stmt, &self.cx)?);
            }
        }
        Ok(typed)
    }

    fn element_data(
        &mut self,
        typed: &mut Element,
        data: &DataWant,
        value: &ast::Expr,
        key: Span,
    ) -> Checked<()> {
        match data {
            DataWant::Verdict => {
                // A chain that is missing is found by the kernel, which knows only the element.
                let e =
                    self.expr(value, &Want::of(TypeId::Verdict))
                        .map_err(|error| match &value.value().kind {
                            Ast::Verdict(_) => Box::new(Diagnostic::error(
                                key,
                                "Could not process rule: No such file or directory",
                            )),
                            _ => error,
                        })?;
                if e.ty != TypeId::Verdict {
                    return fail(
                        value.span,
                        format!(
                            "datatype mismatch, expected netfilter verdict, expression has type {}",
                            describe(&parts_of(&e))
                        ),
                    );
                }
                typed.data = Some(e);
            }
            DataWant::Object(kind) => {
                let Some(name) = value.word() else {
                    return fail(value.span, "expected the name of an object");
                };
                if !self.cx.scope.object(*kind, name) {
                    return fail(value.span, "No such file or directory");
                }
                typed.object = Some(name.to_owned());
            }
            DataWant::Value { want, interval } => {
                let e = self.expr(value, want)?;
                if !interval && Element::plain(e.clone()).is_interval() {
                    return fail(value.span, "Value must be a singleton");
                }
                if !e.is_constant() {
                    return fail(value.span, "Value must be a constant");
                }
                expect(&e, want, value.span, None)?;
                typed.data = Some(e);
            }
        }
        Ok(())
    }

    /// `key map { ... }`, `key map @m`: the value that it yields.
    pub(crate) fn map(&mut self, map: &ast::Map, want: &Want, span: Span) -> Checked<Expr> {
        if map.verdict {
            return fail(span, "a verdict map is not a value");
        }
        if want.parts.is_empty() && !matches!(map.map.value().kind, Ast::SetRef(_)) {
            return fail(span, "Can't parse symbolic invalid expressions");
        }
        let data = DataWant::Value {
            want: want.clone(),
            interval: false,
        };
        let (key, map_expr, _) = self.lookup(map, &data, span)?;
        let mut typed = match &map_expr.kind {
            ExprKind::Set(set) => match &set.data {
                Some(DataType::Value(ty) | DataType::Interval(ty)) => {
                    self.typed_as(&Want::set(ty), ExprKind::CatchAll)
                }
                _ => self.typed_as(want, ExprKind::CatchAll),
            },
            ExprKind::SetRef(name) => {
                let info = self.cx.scope.set(name);
                match info.and_then(|i| i.data) {
                    Some(DataType::Value(ty) | DataType::Interval(ty)) => {
                        self.typed_as(&Want::set(&ty), ExprKind::CatchAll)
                    }
                    _ => return fail(map.map.span, "Expression is not a map with values"),
                }
            }
            _ => return fail(map.map.span, "Expression is not a map"),
        };
        typed.kind = ExprKind::Map {
            key: Box::new(key),
            map: Box::new(map_expr),
        };
        Ok(typed)
    }

    /// Key and map of a look-up; a named map's keys must have the key's type.
    pub(crate) fn lookup(
        &mut self,
        map: &ast::Map,
        data: &DataWant,
        _span: Span,
    ) -> Checked<(Expr, Expr, Want)> {
        let key = self.expr(&map.key, &Want::any())?;
        let want = Want {
            max: None,
            ..Want::like(&key)
        };
        let value = map.map.value();
        let typed = match &value.kind {
            Ast::Set(elements) => {
                let set = self.set_literal(elements, &want, Some(data), map.map.span)?;
                self.typed_as(&want, ExprKind::Set(Box::new(set)))
            }
            Ast::SetRef(name) => {
                let reference = self.set_ref(name, map.map.span)?;
                let Some(info) = self.cx.scope.set(name) else {
                    return fail(map.map.span, "No such file or directory");
                };
                if info.data.is_none() {
                    return fail(map.map.span, "Expression is not a map");
                }
                if !super::expression::same_types(&info.key.parts, &want.parts) {
                    return Err(Box::new(
                        Diagnostic::error(
                            map.map.span,
                            format!(
                                "datatype mismatch, map expects {}, mapping expression has type {}",
                                describe(&info.key.parts),
                                describe(&want.parts)
                            ),
                        )
                        .with_related(map.key.span),
                    ));
                }
                reference
            }
            _ => return fail(map.map.span, "Expression is not a map"),
        };
        Ok((key, typed, want))
    }
}

/// Without those that were there before; the index of one that says something else of the same key.
fn distinct(elements: Vec<Element>) -> Result<Vec<Element>, usize> {
    let mut seen = HashMap::new();
    let mut out = Vec::with_capacity(elements.len());
    for (i, element) in elements.into_iter().enumerate() {
        let data = (element.data.clone(), element.object.clone());
        match seen.insert(identity(&element.key), data.clone()) {
            None => out.push(element),
            Some(before) if before == data => {}
            Some(_) => return Err(i),
        }
    }
    Ok(out)
}

/// Bounds of the key's parts; the catch-all has none.
fn identity(key: &Expr) -> Vec<(u128, u128)> {
    match &key.kind {
        ExprKind::Concat(parts) => parts.iter().filter_map(bounds).collect(),
        _ => bounds(key).into_iter().collect(),
    }
}

/// Concatenations with ranges, each range of one value a value. The index of one that begins or ends
/// within another, which the kernel refuses.
fn apart(elements: Vec<Element>) -> Result<Vec<Element>, usize> {
    let bounds: Vec<_> = elements.iter().map(|e| identity(&e.key)).collect();
    for (i, new) in bounds.iter().enumerate() {
        let within = |old: &Vec<(u128, u128)>, at: fn(&(u128, u128)) -> u128| {
            old.len() == new.len()
                && old
                    .iter()
                    .zip(new)
                    .all(|(o, n)| (o.0..=o.1).contains(&at(n)))
        };
        if !new.is_empty()
            && bounds[..i]
                .iter()
                .any(|old| within(old, |n| n.0) || within(old, |n| n.1))
        {
            return Err(i);
        }
    }
    Ok(elements.into_iter().map(exact).collect())
}

/// Ranges of one value in a concatenation as values.
pub(crate) fn exact(mut element: Element) -> Element {
    if let ExprKind::Concat(parts) = &mut element.key.kind {
        for part in parts {
            if let ExprKind::Range { lo, hi } = part.kind
                && lo == hi
            {
                part.kind = ExprKind::Value(lo);
            }
        }
    }
    element
}
