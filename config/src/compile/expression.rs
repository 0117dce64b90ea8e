//! Expressions: where the value is after the instructions that compute it.

use sluice_dataplane::program::{Combine, Op, Slot, Slots};

use super::error::Cause;
use super::key::key_of;
use super::lower::{Lowering, side_by_side};
use super::value::{ones, words};
use crate::model::expr::{BinOp, Expr, ExprKind, Hash, KeyPart, Numgen};

impl Lowering<'_, '_> {
    /// The slot that has the value of an expression.
    pub(super) fn operand(&mut self, expr: &Expr) -> Result<Slot, Cause> {
        if let Some(key) = key_of(expr)? {
            return self.key(key);
        }
        match &expr.kind {
            ExprKind::Value(value) => self.immediate(*value, expr.bits),
            ExprKind::Binop { op, left, right } => self.binop(*op, left, right, expr.bits),
            ExprKind::Numgen(numgen) => self.numgen(*numgen),
            ExprKind::Hash(hash) => self.hash(hash),
            ExprKind::Map { key, map } => self.map_value(key, map),
            ExprKind::Concat(_) => Err(Cause::unsupported("a concatenation as a value")),
            ExprKind::Prefix { .. } | ExprKind::Range { .. } => {
                Err(Cause::unsupported("a range as a value"))
            }
            _ => Err(Cause::unsupported("this expression as a value")),
        }
    }

    /// A value of this width. What is shifted to the left of a narrower field stays in it.
    pub(super) fn number(&mut self, expr: &Expr, bits: u16) -> Result<Slot, Cause> {
        let from = match &expr.kind {
            ExprKind::Binop { op, left, right } if *op == BinOp::ShiftLeft && expr.bits < bits => {
                self.binop(*op, left, right, bits)?
            }
            _ => self.operand(expr)?,
        };
        self.widened(from, bits)
    }

    /// A constant in a work slot.
    pub(super) fn immediate(&mut self, value: u128, bits: u16) -> Result<Slot, Cause> {
        let into = self.work(bits)?;
        self.emit(Op::Immediate {
            into,
            value: words(value, bits),
        });
        Ok(into)
    }

    fn binop(&mut self, op: BinOp, left: &Expr, right: &Expr, bits: u16) -> Result<Slot, Cause> {
        let from = self.operand(left)?;
        // Computed values may be wider than what they are computed from (a mark from a 6-bit
        // field), never narrower.
        let bits = bits.max(self.bits(from));
        let from = self.widened(from, bits)?;
        let Some(constant) = right.value() else {
            return self.combine(op, from, right, bits);
        };
        let into = self.work(bits)?;
        let bitwise = |mask: u128, xor: u128| Op::Bitwise {
            into,
            from,
            mask: words(mask, bits),
            xor: words(xor, bits),
        };
        let shift = |left: bool| -> Result<Op, Cause> {
            let by = u8::try_from(constant)
                .ok()
                .filter(|by| u16::from(*by) < bits);
            let by = by.ok_or_else(|| Cause::unsupported("a shift by the whole width or more"))?;
            Ok(Op::Shift {
                into,
                from,
                left,
                bits: by,
            })
        };
        let all = ones(bits);
        let op = match op {
            BinOp::And => bitwise(constant & all, 0),
            BinOp::Or => bitwise(all & !constant, constant & all),
            BinOp::Xor => bitwise(all, constant & all),
            BinOp::ShiftLeft => shift(true)?,
            BinOp::ShiftRight => shift(false)?,
        };
        self.emit(op);
        Ok(into)
    }

    fn combine(&mut self, op: BinOp, left: Slot, right: &Expr, bits: u16) -> Result<Slot, Cause> {
        let how = match op {
            BinOp::And => Combine::And,
            BinOp::Or => Combine::Or,
            BinOp::Xor => Combine::Xor,
            BinOp::ShiftLeft | BinOp::ShiftRight => {
                return Err(Cause::unsupported("a shift by a value of the packet"));
            }
        };
        let right = self.operand(right)?;
        let right = self.widened(right, bits)?;
        let into = self.work(bits)?;
        self.emit(Op::Combine {
            into,
            left,
            how,
            right,
        });
        Ok(into)
    }

    fn numgen(&mut self, numgen: Numgen) -> Result<Slot, Cause> {
        let into = self.work(32)?;
        let op = if numgen.random {
            Op::NumgenRandom {
                into,
                modulus: numgen.modulus,
                offset: numgen.offset,
            }
        } else {
            Op::NumgenInc {
                into,
                cell: self.next_numgen()?,
            }
        };
        self.emit(op);
        Ok(into)
    }

    fn hash(&mut self, hash: &Hash) -> Result<Slot, Cause> {
        let op = match &hash.key {
            None => {
                let into = self.work(32)?;
                Op::Symhash {
                    into,
                    modulus: hash.modulus,
                    offset: hash.offset,
                }
            }
            Some(key) => {
                let from = self.fields(key)?;
                let into = self.work(32)?;
                // Without a seed the kernel draws one; here it is the rule's own, so that a
                // reload of the file does not send flows another way.
                let seed = hash.seed.unwrap_or(self.rule.0 as u32);
                Op::Jhash {
                    into,
                    from,
                    modulus: hash.modulus,
                    seed,
                    offset: hash.offset,
                }
            }
        };
        self.emit(op);
        let (Op::Jhash { into, .. } | Op::Symhash { into, .. }) = self.ops[self.ops.len() - 1]
        else {
            return Err(Cause::unsupported("this hash"));
        };
        Ok(into)
    }

    /// The fields of a concatenation, or the one field.
    pub(super) fn fields(&mut self, expr: &Expr) -> Result<Slots, Cause> {
        let parts = parts(expr);
        let mut slots = Vec::with_capacity(parts.len());
        for part in parts {
            slots.push(self.operand(part)?);
        }
        side_by_side(slots)
    }

    /// The fields of a set's key, each with the width that the set has.
    pub(super) fn key_fields(&mut self, expr: &Expr, types: &[KeyPart]) -> Result<Slots, Cause> {
        let parts = parts(expr);
        if parts.len() != types.len() {
            return Err(Cause::unsupported(
                "a key with another number of fields than its set",
            ));
        }
        let mut slots = Vec::with_capacity(parts.len());
        for (part, ty) in parts.iter().zip(types) {
            let slot = self.operand(part)?;
            slots.push(self.widened(slot, ty.bits)?);
        }
        side_by_side(slots)
    }
}

/// The parts of a concatenation, or the expression itself.
pub(super) fn parts(expr: &Expr) -> &[Expr] {
    match &expr.kind {
        ExprKind::Concat(parts) => parts,
        _ => std::slice::from_ref(expr),
    }
}
