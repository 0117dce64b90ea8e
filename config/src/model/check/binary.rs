//! Operations on bits, and their canonical form.
//!
//! The kernel knows `(x & mask) ^ xor` and shifts. So a chain of `&`, `|`, `^` by constants
//! becomes at most one of each, in this order: and, xor, or.

use super::super::datatype::{Base, ByteOrder, TypeId};
use super::super::expr::{BinOp, Expr, ExprKind};
use super::expression::all_ones;
use super::load::expr;
use super::{Checked, Checker, Want, fail};
use crate::syntax::Span;
use crate::syntax::ast;

pub(crate) fn word(op: BinOp) -> &'static str {
    match op {
        BinOp::And => "&",
        BinOp::Or => "|",
        BinOp::Xor => "^",
        BinOp::ShiftLeft => "<<",
        BinOp::ShiftRight => ">>",
    }
}

impl Checker<'_> {
    pub(crate) fn binary(
        &mut self,
        op: BinOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
        want: &Want,
    ) -> Checked<Expr> {
        let a = self.expr(left, want)?;
        let shift = matches!(op, BinOp::ShiftLeft | BinOp::ShiftRight);
        let right_want = if shift {
            Want::value(TypeId::Integer, 32, ByteOrder::Host)
        } else {
            Want::like(&a)
        };
        if matches!(a.ty.info().base, Base::String | Base::Verdict) || a.ty == TypeId::Concat {
            return fail(
                span,
                format!(
                    "Binary operation ({}) is undefined for {} types",
                    word(op),
                    a.ty.info().description
                ),
            );
        }
        let b = self.expr(right, &right_want)?;
        if let (Some(x), Some(y)) = (a.value(), b.value()) {
            let value = fold(op, x, y, a.bits);
            return Ok(Expr {
                kind: ExprKind::Value(value),
                ..a
            });
        }
        let Some(constant) = b.value() else {
            return fail(
                right.span,
                "Right hand side of binary operation must be constant",
            );
        };
        if shift {
            if constant >= u128::from(a.bits) {
                return fail(
                    span,
                    format!(
                        "{} shift of {constant} bits is undefined for type of {} bits width",
                        if op == BinOp::ShiftLeft {
                            "Left"
                        } else {
                            "Right"
                        },
                        a.bits
                    ),
                );
            }
            return Ok(binop(op, a, b));
        }
        let (operand, mask, xor) = mask_xor(a);
        let (mask, xor) = match op {
            BinOp::And => (mask & constant, xor & constant),
            BinOp::Or => (mask & !constant, (xor & !constant) | constant),
            _ => (mask, xor ^ constant),
        };
        Ok(from_mask_xor(operand, mask, xor))
    }
}

fn fold(op: BinOp, x: u128, y: u128, bits: u16) -> u128 {
    let all = if bits == 0 { u128::MAX } else { all_ones(bits) };
    let value = match op {
        BinOp::And => x & y,
        BinOp::Or => x | y,
        BinOp::Xor => x ^ y,
        BinOp::ShiftLeft => x.checked_shl(y as u32).unwrap_or(0),
        BinOp::ShiftRight => x.checked_shr(y as u32).unwrap_or(0),
    };
    value & all
}

pub(crate) fn binop(op: BinOp, left: Expr, right: Expr) -> Expr {
    let (ty, bits, order) = (left.ty, left.bits, left.order);
    expr(
        ty,
        bits,
        order,
        ExprKind::Binop {
            op,
            left: Box::new(left),
            right: Box::new(right),
        },
    )
}

/// Takes a chain of and, xor, or by constants apart: operand, mask, xor.
pub(crate) fn mask_xor(e: Expr) -> (Expr, u128, u128) {
    let all = all_ones(e.bits);
    match e.kind {
        ExprKind::Binop {
            op: op @ (BinOp::And | BinOp::Or | BinOp::Xor),
            left,
            right,
        } => {
            let constant = right.value().unwrap_or(0);
            let (operand, mask, xor) = mask_xor(*left);
            match op {
                BinOp::And => (operand, mask & constant, xor & constant),
                BinOp::Or => (operand, mask & !constant, (xor & !constant) | constant),
                _ => (operand, mask, xor ^ constant),
            }
        }
        kind => (Expr { kind, ..e }, all, 0),
    }
}

/// Puts it together again in the canonical order.
pub(crate) fn from_mask_xor(operand: Expr, mask: u128, xor: u128) -> Expr {
    let all = all_ones(operand.bits);
    let or = !mask & xor & all;
    let flip = xor & mask;
    let keep = (mask | or) & all;
    let with = |e: Expr, op: BinOp, value: u128| {
        let constant = Expr {
            kind: ExprKind::Value(value),
            ..like(&e)
        };
        binop(op, e, constant)
    };
    let mut e = operand;
    if keep != all {
        e = with(e, BinOp::And, keep);
    }
    if flip != 0 {
        e = with(e, BinOp::Xor, flip);
    }
    if or != 0 {
        e = with(e, BinOp::Or, or);
    }
    e
}

fn like(e: &Expr) -> Expr {
    expr(e.ty, e.bits, e.order, ExprKind::Value(0))
}
