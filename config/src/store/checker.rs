//! The checker of `model`, as the store asks it.

use crate::model::check;
use crate::model::expr::{DataType, KeyPart, SetType};
use crate::model::rule::SetInfo;
use crate::model::{Element, Rule, RuleContext, Stmt, TypeId};
use crate::syntax::Diagnostic;
use crate::syntax::ast::{self, MapData};

/// What the check complained about.
pub(super) type Complaints = Vec<Diagnostic>;

fn one<T>(checked: check::Checked<T>) -> Result<T, Complaints> {
    checked.map_err(|complaint| vec![*complaint])
}

/// A rule.
pub(super) fn rule(rule: &ast::Rule, context: &RuleContext<'_>) -> Result<Rule, Complaints> {
    one(check::check_rule(rule, context))
}

/// Statements of a set or element.
pub(super) fn stateful(
    stmts: &[ast::Stmt],
    context: &RuleContext<'_>,
) -> Result<Vec<Stmt>, Complaints> {
    stmts
        .iter()
        .map(|stmt| one(check::check_stateful(stmt, context)))
        .collect()
}

/// Type of a set's key.
pub(super) fn key_type(
    ty: &ast::SetType,
    context: &RuleContext<'_>,
) -> Result<SetType, Complaints> {
    match ty {
        ast::SetType::Typeof(expr) => one(check::check_typeof(expr, context)),
        ast::SetType::Type(names) => {
            let parts = names.iter().map(|name| {
                TypeId::by_name(&name.value)
                    .map(|ty| KeyPart {
                        ty,
                        bits: ty.info().bits,
                        order: ty.info().order,
                    })
                    .ok_or_else(|| {
                        vec![Diagnostic::error(
                            name.span,
                            format!("unknown datatype {}", name.value),
                        )]
                    })
            });
            Ok(SetType {
                parts: parts.collect::<Result<_, _>>()?,
                type_of: None,
            })
        }
    }
}

/// Type of a map's data.
pub(super) fn data_type(data: &MapData, context: &RuleContext<'_>) -> Result<DataType, Complaints> {
    match data {
        MapData::Object(kind) => Ok(DataType::Object(kind.value)),
        MapData::Type { of, interval } => {
            let ty = key_type(of, context)?;
            let is_verdict = matches!(
                &*ty.parts,
                [KeyPart {
                    ty: TypeId::Verdict,
                    ..
                }]
            );
            Ok(match (is_verdict, interval) {
                (true, _) => DataType::Verdict,
                (false, true) => DataType::Interval(ty),
                (false, false) => DataType::Value(ty),
            })
        }
    }
}

/// Elements of a named set, each with its place.
pub(super) fn elements(
    elements: &ast::Expr,
    set: &SetInfo,
    context: &RuleContext<'_>,
) -> Result<Vec<(Element, check::Place)>, Complaints> {
    one(check::check_elements(elements, set, context))
}
