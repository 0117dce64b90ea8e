//! Comparisons: what `left op right` means by the kinds of both, in the form the kernel holds.

use super::super::datatype::TypeId;
use super::super::expr::{BinOp, CtKey, Expr, ExprKind, PayloadBase};
use super::super::stmt::{Match, RelOp, Stmt};
use super::binary::{binop, from_mask_xor, mask_xor};
use super::expression::{all_ones, expect, prefix_mask, same_types};
use super::{Checked, Checker, Want, describe, fail};
use crate::syntax::ast::{self, ExprKind as Ast, RelationalOp};
use crate::syntax::{Diagnostic, Span};

fn word(op: RelationalOp) -> &'static str {
    match op {
        RelationalOp::Implicit => "",
        RelationalOp::Eq => "==",
        RelationalOp::Ne => "!=",
        RelationalOp::Lt => "<",
        RelationalOp::Gt => ">",
        RelationalOp::Le => "<=",
        RelationalOp::Ge => ">=",
        RelationalOp::Not => "!",
    }
}

fn kind_name(e: &Expr) -> &'static str {
    match e.kind {
        ExprKind::Prefix { .. } => "prefix",
        ExprKind::Range { .. } => "range",
        ExprKind::Set(_) => "set",
        ExprKind::SetRef(_) => "set reference",
        ExprKind::Concat(_) => "concat",
        _ => "value",
    }
}

impl Checker<'_> {
    /// A match statement.
    pub(crate) fn match_stmt(&mut self, e: &ast::Expr) -> Checked<()> {
        match &e.kind {
            Ast::Relational(op, sides) => self.relational(*op, &sides.0, &sides.1, e.span),
            Ast::FlagCompare(compare) => self.flag_compare(compare, e.span),
            Ast::Variable(variable) => self.match_stmt(&variable.value),
            _ => fail(e.span, "not a comparison"),
        }
    }

    fn relational(
        &mut self,
        op: RelationalOp,
        left: &ast::Expr,
        right: &ast::Expr,
        span: Span,
    ) -> Checked<()> {
        let l = self.expr(left, &Want::any())?;
        if l.is_constant() {
            return fail(
                left.span,
                "Relational expression has constant left hand side",
            );
        }
        let want = Want::like(&l);
        let untyped = is_port(&l) && self.proto.at(PayloadBase::Transport).is_none();
        let want = if untyped {
            if right.word().is_some() || matches!(right.value().kind, Ast::Number(_)) {
                return fail(right.span, "Can't parse symbolic invalid expressions");
            }
            Want::any()
        } else {
            want_of_right(&l, right, &want)
        };
        let r = self.expr(right, &want)?;
        let (l, r) = as_presence(l, r);
        if !r.is_constant() {
            return fail(
                right.span,
                "Right hand side of relational expression must be constant",
            );
        }
        let r = if is_single(right) {
            unwrap_single(r)
        } else {
            r
        };
        if matches!(l.kind, ExprKind::Map { .. }) {
            return Err(Box::new(
                Diagnostic::error(
                    left.span,
                    format!("Relational expression ({}) has constant value", shown(op)),
                )
                .with_related(right.span),
            ));
        }
        if matches!(r.kind, ExprKind::Concat(_)) {
            return Err(Box::new(
                Diagnostic::error(
                    left.span,
                    "Use concatenations with sets and maps, not singleton values",
                )
                .with_related(right.span),
            ));
        }
        self.shift_type(&l, right.span, left.span)?;
        if !(l.ty == TypeId::Boolean || r.ty == TypeId::Boolean) {
            self.expect_like(&l, &r, right.span, left.span)?;
        }
        if l.ty == TypeId::Boolean && r.ty != TypeId::Boolean && r.value().is_some_and(|v| v > 1) {
            return fail(right.span, "Value exceeds valid range 0-1");
        }
        let (l, r) = self.undone(op, left, l, r)?;
        self.compare(op, l, r, right.span, left.span, span)
    }

    /// A comparison for equality whose left side ends with `^ C`: that is undone on the right.
    fn undone(
        &mut self,
        op: RelationalOp,
        written: &ast::Expr,
        l: Expr,
        r: Expr,
    ) -> Checked<(Expr, Expr)> {
        use RelationalOp as Op;
        let (Ast::Binary(ast::BinaryOp::Xor, sides), Op::Implicit | Op::Eq | Op::Ne, Some(value)) =
            (&written.kind, op, r.value())
        else {
            return Ok((l, r));
        };
        let Some(constant) = self.expr(&sides.1, &Want::like(&l))?.value() else {
            return Ok((l, r));
        };
        let (operand, mask, xor) = mask_xor(l);
        let l = from_mask_xor(operand, mask, xor ^ constant);
        let kind = ExprKind::Value(value ^ constant);
        Ok((l, Expr { kind, ..r }))
    }

    fn compare(
        &mut self,
        op: RelationalOp,
        l: Expr,
        r: Expr,
        right_span: Span,
        left_span: Span,
        op_span: Span,
    ) -> Checked<()> {
        let rel = match op {
            RelationalOp::Implicit | RelationalOp::Eq => RelOp::Eq,
            RelationalOp::Ne => RelOp::Neq,
            RelationalOp::Lt => RelOp::Lt,
            RelationalOp::Gt => RelOp::Gt,
            RelationalOp::Le => RelOp::Lte,
            RelationalOp::Ge => RelOp::Gte,
            RelationalOp::Not => return self.flags(l, r, RelOp::Eq, right_span),
        };
        let flags = l.ty.is_bitmask() && r.value().is_some();
        if flags && op == RelationalOp::Implicit {
            return self.flags(l, r, RelOp::Neq, right_span);
        }
        let ordered = !matches!(rel, RelOp::Eq | RelOp::Neq);
        if ordered && r.value().is_none() {
            return Err(Box::new(
                Diagnostic::error(
                    right_span,
                    format!(
                        "Relational expression ({}) is undefined for {} expressions",
                        word(op),
                        kind_name(&r)
                    ),
                )
                .with_related(op_span),
            ));
        }
        if rel == RelOp::Eq {
            self.here = left_span;
            self.learn(&l, &r);
        }
        let (l, r) = super::raw::resolve(l, r, &self.proto);
        let (left, op, right) = canonical(l, rel, r);
        self.push_match(left, op, right);
        Ok(())
    }

    /// `>= a` followed by `<= b` on the same is a range.
    fn push_match(&mut self, left: Expr, op: RelOp, right: Expr) {
        if let Some(Stmt::Match(before)) = self.out.last_mut()
            && (before.op, op) == (RelOp::Gte, RelOp::Lte)
            && before.left == left
            && let (Some(lo), Some(hi)) = (before.right.value(), right.value())
        {
            before.op = RelOp::Eq;
            before.right = Expr {
                kind: ExprKind::Range { lo, hi },
                ..right
            };
            return;
        }
        self.out.push(Stmt::Match(Match {
            left,
            op,
            right,
            implicit: false,
        }));
    }

    fn expect_like(&self, l: &Expr, r: &Expr, right: Span, left: Span) -> Checked<()> {
        if let ExprKind::SetRef(name) = &r.kind
            && let Some(info) = self.cx.scope.set(name)
        {
            let want = Want::like(l);
            if same_types(&want.parts, &info.key.parts) {
                return Ok(());
            }
            return Err(Box::new(
                Diagnostic::error(
                    right,
                    format!(
                        "datatype mismatch, expected {}, expression has type {}",
                        describe(&want.parts),
                        describe(&info.key.parts)
                    ),
                )
                .with_related(left),
            ));
        }
        expect(r, &Want::like(l), right, Some(left))
    }

    /// A shift makes nft forget the type of what it shifts: only plain numbers can be compared then.
    fn shift_type(&self, l: &Expr, right: Span, left: Span) -> Checked<()> {
        let shifts = matches!(
            l.kind,
            ExprKind::Binop {
                op: BinOp::ShiftLeft | BinOp::ShiftRight,
                ..
            }
        );
        if !shifts || matches!(l.ty, TypeId::Integer | TypeId::RawInteger) {
            return Ok(());
        }
        Err(Box::new(
            Diagnostic::error(
                right,
                format!(
                    "datatype mismatch, expected {}, expression has type integer",
                    l.ty.info().description
                ),
            )
            .with_related(left),
        ))
    }

    /// Any (`Neq`) or none (`Eq`) of the flags.
    fn flags(&mut self, l: Expr, r: Expr, op: RelOp, span: Span) -> Checked<()> {
        if !l.ty.is_bitmask() {
            return fail(
                span,
                "negation can only be used with singleton bitmask values. Did you mean \"!=\"?",
            );
        }
        let Some(mask) = r.value() else {
            return fail(
                span,
                "negation can only be used with singleton bitmask values. Did you mean \"!=\"?",
            );
        };
        self.push_masked(l, mask, op, 0);
        Ok(())
    }

    fn flag_compare(&mut self, compare: &ast::FlagCompare, _span: Span) -> Checked<()> {
        let l = self.expr(&compare.expr, &Want::any())?;
        let want = Want::like(&l);
        let value = self.expr(&compare.value, &want)?;
        let mask = self.expr(&compare.mask, &want)?;
        if !l.ty.is_bitmask() {
            return fail(
                compare.value.span,
                "flags can only be compared in a bitmask",
            );
        }
        let (Some(v), Some(m)) = (value.value(), mask.value()) else {
            return fail(compare.value.span, "flags must be constant");
        };
        let op = if compare.op == RelationalOp::Ne {
            RelOp::Neq
        } else {
            RelOp::Eq
        };
        self.push_masked(l, m, op, v);
        Ok(())
    }

    fn push_masked(&mut self, l: Expr, mask: u128, op: RelOp, value: u128) {
        let constant = |v: u128| Expr {
            ty: l.ty,
            bits: l.bits,
            order: l.order,
            kind: ExprKind::Value(v),
        };
        let (m, right) = (constant(mask), constant(value));
        // A mask that hides nothing is none.
        let left = match mask == all_ones(l.bits) {
            true => l,
            false => binop(BinOp::And, l, m),
        };
        self.out.push(Stmt::Match(Match {
            left,
            op,
            right,
            implicit: false,
        }));
    }
}

/// `exists` and `missing` ask of a `fib` whether there is an answer.
fn as_presence(l: Expr, r: Expr) -> (Expr, Expr) {
    if r.ty != TypeId::Boolean {
        return (l, r);
    }
    match l.kind {
        ExprKind::Fib(fib) => {
            let fib = super::super::expr::Fib {
                result: super::super::expr::FibResult::Present,
                ..fib
            };
            let left = Expr {
                ty: TypeId::Boolean,
                bits: 1,
                kind: ExprKind::Fib(fib),
                ..l
            };
            (left, r)
        }
        kind => (Expr { kind, ..l }, r),
    }
}

/// Ports of a connection have a type once the protocol is known.
fn is_port(l: &Expr) -> bool {
    matches!(&l.kind, ExprKind::Ct(ct) if matches!(ct.key, CtKey::ProtoSrc | CtKey::ProtoDst))
}

/// The operator as nft prints it where it complains.
fn shown(op: RelationalOp) -> &'static str {
    if op == RelationalOp::Implicit {
        "(null)"
    } else {
        word(op)
    }
}

fn is_single(right: &ast::Expr) -> bool {
    matches!(&right.value().kind, Ast::Set(elements) if elements.len() == 1)
}

/// What is expected on the right: usually what is on the left.
fn want_of_right(l: &Expr, right: &ast::Expr, want: &Want) -> Want {
    match right.value().kind {
        // `ct label` flags and shifts keep the left side's type.
        Ast::SetRef(_) => Want::any(),
        _ if l.ty == TypeId::Boolean => Want::of(TypeId::Boolean),
        _ => want.clone(),
    }
}

/// An anonymous set of one element that is no concatenation is the element.
fn unwrap_single(r: Expr) -> Expr {
    match r.kind {
        ExprKind::Set(set) if set.data.is_none() && set.key.parts.len() == 1 => {
            match <[_; 1]>::try_from(set.elements.clone()) {
                Ok([only])
                    if only.stmts.is_empty()
                        && only.timeout_ms.is_none()
                        && only.comment.is_none()
                        && !matches!(only.key.kind, ExprKind::CatchAll) =>
                {
                    only.key
                }
                _ => Expr {
                    kind: ExprKind::Set(set),
                    ..r
                },
            }
        }
        kind => Expr { kind, ..r },
    }
}

/// Moves what can be moved to the constant side; masks that are prefixes become prefixes.
fn canonical(l: Expr, op: RelOp, r: Expr) -> (Expr, RelOp, Expr) {
    if let ExprKind::Range { lo, hi } = r.kind {
        // An hour's range may pass midnight; the kernel holds the other hours, negated.
        if lo > hi {
            let flipped = if op == RelOp::Eq {
                RelOp::Neq
            } else {
                RelOp::Eq
            };
            let kind = ExprKind::Range { lo: hi, hi: lo };
            return (l, flipped, Expr { kind, ..r });
        }
        return (l, op, r);
    }
    if let ExprKind::Prefix { value, len } = r.kind
        && (!r.ty.info().prefix || (r.ty == TypeId::EtherAddr && !len.is_multiple_of(8)))
        && !r.ty.is_string()
        && len > 0
    {
        let right = Expr {
            kind: ExprKind::Value(value),
            ..r
        };
        let mask = prefix_mask(l.bits, len);
        let (operand, old, xor) = mask_xor(l);
        return (from_mask_xor(operand, old & mask, xor & mask), op, right);
    }
    if !matches!(op, RelOp::Eq | RelOp::Neq) || !matches!(l.kind, ExprKind::Binop { .. }) {
        return (l, op, r);
    }
    let Some(value) = r.value() else {
        return (l, op, r);
    };
    if let ExprKind::Binop {
        op: BinOp::ShiftLeft,
        left,
        right,
    } = &l.kind
        && let Some(by) = right.value()
        && value.trailing_zeros() as u128 >= by
    {
        let kind = ExprKind::Value(value >> by);
        return ((**left).clone(), op, Expr { kind, ..r });
    }
    let all = all_ones(l.bits);
    let (operand, mask, xor) = mask_xor(l);
    if mask == all && xor != 0 {
        let kind = ExprKind::Value(value ^ xor);
        return (operand, op, Expr { kind, ..r });
    }
    let address = matches!(operand.ty, TypeId::Ipv4Addr | TypeId::Ipv6Addr);
    if xor == 0 && address && mask != 0 && value & !mask == 0 {
        let len = (mask << (128 - operand.bits)).leading_ones() as u16;
        if prefix_mask(operand.bits, len) == mask && len < operand.bits {
            return (
                operand,
                op,
                Expr {
                    kind: ExprKind::Prefix { value, len },
                    ..r
                },
            );
        }
    }
    (from_mask_xor(operand, mask, xor), op, r)
}
