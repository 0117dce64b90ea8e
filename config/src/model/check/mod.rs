//! From the syntax tree to typed statements.
//!
//! The checker walks a rule from left to right. Constants take their type from what they are
//! compared with; fields bring their protocol dependencies, which are put in front of the statement
//! as implicit matches. What comes out is the form in which the kernel would hold the rule.
//! A rule ends at its first error, with nft's words and place.

mod binary;
mod constant;
mod context;
mod depend;
mod element;
mod expression;
mod load;
mod order;
mod raw;
mod reject;
mod relational;
mod selector;
mod set;
mod statement;
mod translate;

pub use element::{Place, check_data, check_element, check_elements};

use super::construct;
use super::datatype::{ByteOrder, TypeId};
use super::expr::{Expr, ExprKind, KeyPart, SetType};
use super::rule::{Rule, RuleContext};
use super::stmt::Stmt;
use crate::syntax::ast;
use crate::syntax::{Diagnostic, Span};
use context::Context;

pub(crate) use expression::{all_ones, prefix_mask};
pub use statement::{check_limit, check_quota, check_synproxy};

/// Result of a check; the error is what nft would say.
pub type Checked<T> = Result<T, Box<Diagnostic>>;

/// Checks a rule in its place.
pub fn check_rule(rule: &ast::Rule, context: &RuleContext<'_>) -> Checked<Rule> {
    let typed = Checker::new(*context).finish(rule)?;
    if let Some(chain) = &context.chain
        && !construct::allowed(&typed, context.family, chain)
    {
        return fail(rule.span, "Could not process rule: Operation not supported");
    }
    Ok(typed)
}

/// Checks the statement of a set declaration or element (counter, limit, quota ...).
pub fn check_stateful(stmt: &ast::Stmt, context: &RuleContext<'_>) -> Checked<Stmt> {
    let mut checker = Checker::new(*context);
    checker.statement(stmt)?;
    match checker.out.pop() {
        Some(
            stmt @ (Stmt::Counter { .. }
            | Stmt::Limit(_)
            | Stmt::Quota(_)
            | Stmt::Last { .. }
            | Stmt::ConnLimit { .. }),
        ) if checker.out.is_empty() => Ok(stmt),
        _ => fail(stmt.span, "statement is not stateful"),
    }
}

/// Type of `typeof EXPR`, part by part; the expression is kept for listings.
pub fn check_typeof(expr: &ast::Expr, context: &RuleContext<'_>) -> Checked<SetType> {
    let mut checker = Checker::new(*context);
    let typed = checker.expr(expr, &Want::any())?;
    Ok(SetType {
        parts: parts_of(&typed),
        type_of: Some(Box::new(typed)),
    })
}

pub(crate) fn fail<T>(span: Span, message: impl Into<String>) -> Checked<T> {
    Err(Box::new(Diagnostic::error(span, message)))
}

/// The parts of an expression's type.
pub(crate) fn parts_of(expr: &Expr) -> Vec<KeyPart> {
    match &expr.kind {
        ExprKind::Concat(parts) => parts.iter().flat_map(parts_of).collect(),
        ExprKind::Set(set) => set.key.parts.clone(),
        _ => vec![KeyPart {
            ty: expr.ty,
            bits: expr.bits,
            order: expr.order,
        }],
    }
}

/// What a constant is expected to be.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    /// One entry per part of a concatenation; empty: nothing is known.
    pub(crate) parts: Vec<KeyPart>,
    /// Largest value that what it is compared with can have, if less than its size allows.
    pub(crate) max: Option<u128>,
}

impl Want {
    /// Nothing is known.
    pub(crate) fn any() -> Self {
        Want {
            parts: Vec::new(),
            max: None,
        }
    }

    /// A single value.
    pub(crate) fn value(ty: TypeId, bits: u16, order: ByteOrder) -> Self {
        Want {
            parts: vec![KeyPart { ty, bits, order }],
            max: None,
        }
    }

    /// A type with its own size and order.
    pub(crate) fn of(ty: TypeId) -> Self {
        Self::value(ty, ty.info().bits, ty.info().order)
    }

    /// The same as an expression.
    pub(crate) fn like(expr: &Expr) -> Self {
        Want {
            parts: parts_of(expr),
            max: largest(expr),
        }
    }

    /// A set's keys or data.
    pub(crate) fn set(set: &SetType) -> Self {
        Want {
            parts: set.parts.clone(),
            max: None,
        }
    }

    pub(crate) fn single(&self) -> Option<&KeyPart> {
        match self.parts.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// The largest number that a generator or hash yields.
fn largest(expr: &Expr) -> Option<u128> {
    let (modulus, offset) = match &expr.kind {
        ExprKind::Numgen(n) => (n.modulus, n.offset),
        ExprKind::Hash(h) => (h.modulus, h.offset),
        _ => return None,
    };
    Some(u128::from(modulus) - 1 + u128::from(offset))
}

/// nft's description of a type, in messages.
pub(crate) fn describe(parts: &[KeyPart]) -> String {
    let all: Vec<_> = parts.iter().map(|p| p.ty.info().description).collect();
    match all.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("concatenation of ({})", many.join(", ")),
    }
}

/// Walks a rule.
pub(crate) struct Checker<'a> {
    cx: RuleContext<'a>,
    proto: Context,
    out: Vec<Stmt>,
    /// What established the network and the transport protocol, for complaints.
    learned_at: [Option<Span>; 2],
    /// The expression whose dependencies are being looked at.
    here: Span,
    stmt_span: Span,
    /// Within an anonymous chain, which cannot have another.
    nested: bool,
}

impl<'a> Checker<'a> {
    pub(crate) fn new(cx: RuleContext<'a>) -> Self {
        Checker {
            cx,
            proto: Context::new(cx.family),
            out: Vec::new(),
            learned_at: [None; 2],
            here: Span::default(),
            stmt_span: Span::default(),
            nested: false,
        }
    }

    fn finish(mut self, rule: &ast::Rule) -> Checked<Rule> {
        self.rule(rule)?;
        Ok(Rule {
            stmts: order::by_place(self.out),
            comment: rule.comment.as_ref().map(|c| c.value.to_string()),
        })
    }

    fn rule(&mut self, rule: &ast::Rule) -> Checked<()> {
        let mut terminal: Option<Span> = None;
        for stmt in &rule.stmts {
            let place = statement::place(stmt);
            if let Some(end) = terminal {
                return Err(Box::new(
                    Diagnostic::error(place, "Statement after terminal statement has no effect")
                        .with_related(end),
                ));
            }
            self.stmt_span = stmt.span;
            if self.statement(stmt)? {
                terminal = Some(place);
            }
        }
        Ok(())
    }
}
