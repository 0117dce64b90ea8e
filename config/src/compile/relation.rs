//! Matches: `left op right` as comparisons of numbers.

use sluice_dataplane::program::{Op, Relation, Slot};

use super::error::Cause;
use super::key::key_of;
use super::lower::Lowering;
use super::value::{bounds, ones, prefix_mask, words};
use crate::model::expr::{BinOp, Element, Expr, ExprKind, HeaderField, Payload, SetExpr};
use crate::model::stmt::{Match, RelOp};

/// Negated anonymous sets of up to this many plain elements become comparisons one after the other.
const INLINE_ELEMENTS: usize = 4;

impl Lowering<'_, '_> {
    /// Lowers a match.
    pub(super) fn relation(&mut self, matched: &Match) -> Result<(), Cause> {
        let Match {
            left, op, right, ..
        } = matched;
        match &right.kind {
            ExprKind::Set(set) => self.in_anonymous(left, *op, set),
            ExprKind::SetRef(name) => {
                let set = self.named_set(name)?;
                let types = self.set_parts(name)?;
                let keys = self.key_fields(left, &types)?;
                self.emit(Op::LookUp {
                    set,
                    keys,
                    inverted: negated(*op)?,
                });
                Ok(())
            }
            ExprKind::Concat(values) => self.all_fields(left, *op, values),
            _ => self.compare(left, *op, right),
        }
    }

    /// Compares one value with a constant, a prefix or a range.
    fn compare(&mut self, left: &Expr, op: RelOp, right: &Expr) -> Result<(), Cause> {
        if let (
            ExprKind::Binop {
                op: BinOp::And,
                left: inner,
                ..
            },
            Some(mask),
        ) = (&left.kind, mask_of(left))
            && !matches!(right.kind, ExprKind::Range { .. })
            && key_of(inner)?.is_some()
        {
            let key = self.operand(inner)?;
            return self.compare_slot(key, Some(mask), op, right);
        }
        if let Some((begin, value)) = begin_of_arp(left, right) {
            let key = self.operand(&begin)?;
            return self.compare_slot(key, None, op, &value);
        }
        let key = self.operand(left)?;
        self.compare_slot(key, None, op, right)
    }

    fn compare_slot(
        &mut self,
        key: Slot,
        mask: Option<u128>,
        op: RelOp,
        right: &Expr,
    ) -> Result<(), Cause> {
        let bits = self.bits(key);
        let (mask, value) = match &right.kind {
            ExprKind::Value(value) => (mask, *value),
            ExprKind::Prefix { value, len } if *len >= right.bits => (mask, *value),
            ExprKind::Prefix { value, len } => {
                let prefix = prefix_mask(*len, right.bits);
                (Some(mask.unwrap_or(u128::MAX) & prefix), value & prefix)
            }
            ExprKind::Range { lo, hi } => {
                let (low, high) = (words(*lo, bits), words(*hi, bits));
                self.emit(Op::Range {
                    key,
                    low,
                    high,
                    inverted: negated(op)?,
                });
                return Ok(());
            }
            _ => return self.compare_values(key, mask, op, right),
        };
        let value = words(value, bits);
        let relation = relation_of(op);
        self.emit(match mask {
            Some(mask) if mask & ones(bits) != ones(bits) => Op::CompareMasked {
                key,
                mask: words(mask, bits),
                relation,
                value,
            },
            _ => Op::Compare {
                key,
                relation,
                value,
            },
        });
        Ok(())
    }

    /// Both sides come from the packet: equal when nothing differs.
    fn compare_values(
        &mut self,
        key: Slot,
        mask: Option<u128>,
        op: RelOp,
        right: &Expr,
    ) -> Result<(), Cause> {
        use sluice_dataplane::program::Combine;
        if mask.is_some() || !matches!(op, RelOp::Eq | RelOp::Neq) || right.is_constant() {
            return Err(Cause::unsupported("this comparison"));
        }
        let bits = self.bits(key);
        let right = self.operand(right)?;
        let right = self.widened(right, bits)?;
        let into = self.work(bits)?;
        let left = key;
        self.emit(Op::Combine {
            into,
            left,
            how: Combine::Xor,
            right,
        });
        self.emit(Op::Compare {
            key: into,
            relation: relation_of(op),
            value: words(0, bits),
        });
        Ok(())
    }

    /// `a . b 1 . 2`: every field equal.
    fn all_fields(&mut self, left: &Expr, op: RelOp, values: &[Expr]) -> Result<(), Cause> {
        let fields = super::expression::parts(left);
        if op != RelOp::Eq || fields.len() != values.len() {
            return Err(Cause::unsupported("this comparison of a concatenation"));
        }
        fields
            .iter()
            .zip(values)
            .try_for_each(|(field, value)| self.compare(field, op, value))
    }

    /// `left { ... }`.
    fn in_anonymous(&mut self, left: &Expr, op: RelOp, set: &SetExpr) -> Result<(), Cause> {
        let inverted = negated(op)?;
        let plain = set.elements.iter().all(is_plain);
        if plain && let [element] = &set.elements[..] {
            if let (ExprKind::Concat(values), false) = (&element.key.kind, inverted) {
                return self.all_fields(left, op, values);
            }
            if !matches!(element.key.kind, ExprKind::Concat(_)) {
                return self.element(left, op, &element.key);
            }
        }
        let single = set.key.parts.len() == 1 && key_of(left)?.is_some();
        if plain && single && inverted && set.elements.len() <= INLINE_ELEMENTS {
            return set
                .elements
                .iter()
                .try_for_each(|one| self.element(left, op, &one.key));
        }
        let keys = self.key_fields(left, &set.key.parts)?;
        let set = self.anonymous_set(set)?;
        self.emit(Op::LookUp {
            set,
            keys,
            inverted,
        });
        Ok(())
    }

    /// One element of a set, compared by itself.
    fn element(&mut self, left: &Expr, op: RelOp, element: &Expr) -> Result<(), Cause> {
        if matches!(element.kind, ExprKind::Range { .. }) {
            let (low, high) = bounds(element)?;
            let key = self.operand(left)?;
            let bits = self.bits(key);
            let (low, high) = (words(low, bits), words(high, bits));
            self.emit(Op::Range {
                key,
                low,
                high,
                inverted: negated(op)?,
            });
            return Ok(());
        }
        self.compare(left, op, element)
    }
}

/// The mask of `x & constant`.
fn mask_of(expr: &Expr) -> Option<u128> {
    match &expr.kind {
        ExprKind::Binop {
            op: BinOp::And,
            right,
            ..
        } => right.value(),
        _ => None,
    }
}

/// An element that is nothing but its key, and not the catch-all.
fn is_plain(element: &Element) -> bool {
    element.stmts.is_empty()
        && element.timeout_ms.is_none()
        && element.data.is_none()
        && element.object.is_none()
        && !matches!(element.key.kind, ExprKind::CatchAll)
}

/// Whether membership is asked for or excluded.
fn negated(op: RelOp) -> Result<bool, Cause> {
    match op {
        RelOp::Eq => Ok(false),
        RelOp::Neq => Ok(true),
        _ => Err(Cause::unsupported(
            "an order comparison with a set or range",
        )),
    }
}

fn relation_of(op: RelOp) -> Relation {
    match op {
        RelOp::Eq => Relation::Eq,
        RelOp::Neq => Relation::Ne,
        RelOp::Lt => Relation::Lt,
        RelOp::Lte => Relation::Le,
        RelOp::Gt => Relation::Gt,
        RelOp::Gte => Relation::Ge,
    }
}

/// A prefix of whole bytes of an address in ARP: nft reads these bytes alone, so a packet that ends behind
/// them has them. (IP headers are there as a whole, and one key serves all their prefixes.)
fn begin_of_arp(left: &Expr, right: &Expr) -> Option<(Expr, Expr)> {
    let (ExprKind::Payload(payload), ExprKind::Prefix { value, len }) = (&left.kind, &right.kind)
    else {
        return None;
    };
    let address = [HeaderField::ArpSaddrIp, HeaderField::ArpDaddrIp];
    let whole = (8..right.bits).contains(len) && len.is_multiple_of(8);
    if !whole || !payload.field.is_some_and(|field| address.contains(&field)) {
        return None;
    }
    let bits = *len;
    let payload = Payload {
        bits,
        ..payload.clone()
    };
    let begin = Expr {
        bits,
        kind: ExprKind::Payload(payload),
        ..left.clone()
    };
    let kind = ExprKind::Value(value >> (right.bits - bits));
    let value = Expr {
        bits,
        kind,
        ..right.clone()
    };
    Some((begin, value))
}
