//! Constants: numbers of the model as the words that instructions and sets compare.
//!
//! A value of `bits` bits takes `ceil(bits / 32)` words, most significant first.

use sluice_dataplane::program::Value;

use super::error::Cause;
use crate::model::expr::{Expr, ExprKind};

/// Words that a value of this width takes.
pub(super) fn columns(bits: u16) -> usize {
    usize::from(bits).div_ceil(32).max(1)
}

/// The words of a number.
pub(super) fn words(value: u128, bits: u16) -> Value {
    let columns = columns(bits);
    (0..columns)
        .map(|column| {
            let shift = 32 * (columns - 1 - column);
            // A value has at most 128 bits; wider slots are zero in front.
            if shift >= 128 {
                0
            } else {
                (value >> shift) as u32
            }
        })
        .collect()
}

/// The largest number of this width.
pub(super) fn ones(bits: u16) -> u128 {
    match bits {
        0 => 0,
        1..=127 => (1 << bits) - 1,
        _ => u128::MAX,
    }
}

/// The bits of a prefix of this length, of a value of this width.
pub(super) fn prefix_mask(len: u16, bits: u16) -> u128 {
    ones(bits) & !ones(bits.saturating_sub(len))
}

/// First and last number that a constant stands for.
pub(super) fn bounds(expr: &Expr) -> Result<(u128, u128), Cause> {
    match &expr.kind {
        ExprKind::Value(value) => Ok((*value, *value)),
        ExprKind::Prefix { value, len } => {
            let mask = prefix_mask(*len, expr.bits);
            Ok((value & mask, value & mask | ones(expr.bits) & !mask))
        }
        ExprKind::Range { lo, hi } => Ok((*lo, *hi)),
        _ => Err(Cause::unsupported("a set element that is not a constant")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ByteOrder, TypeId};

    #[test]
    fn words_are_most_significant_first() {
        assert_eq!(words(0x0a00_0001, 32)[..], [0x0a00_0001]);
        assert_eq!(words(0x0011_2233_4455, 48)[..], [0x0011, 0x2233_4455]);
        assert_eq!(words(80, 16)[..], [80]);
        assert_eq!(words(1, 128)[..], [0, 0, 0, 1]);
        assert_eq!(words(5, 160)[..], [0, 0, 0, 0, 5]);
    }

    #[test]
    fn a_prefix_is_its_first_and_last_value() {
        let expr = |kind, bits| Expr {
            ty: TypeId::Ipv4Addr,
            bits,
            order: ByteOrder::Big,
            kind,
        };
        let prefix = expr(
            ExprKind::Prefix {
                value: 0x0a00_0000,
                len: 8,
            },
            32,
        );
        assert_eq!(bounds(&prefix), Ok((0x0a00_0000, 0x0aff_ffff)));
        let all = expr(ExprKind::Prefix { value: 0, len: 0 }, 128);
        assert_eq!(bounds(&all), Ok((0, u128::MAX)));
        assert_eq!(prefix_mask(24, 32), 0xffff_ff00);
        assert_eq!(prefix_mask(128, 128), u128::MAX);
    }
}
