//! Values whose bits are flags.

use super::super::datatype::TypeId;
use super::super::rule::PrintOptions;
use super::super::symbols;
use super::value::write_value;

/// The flags from the lowest bit, joined by `joint` (`,` in a match, ` | ` in a comparison).
pub(super) fn list(
    out: &mut String,
    ty: TypeId,
    bits: u16,
    value: u128,
    joint: &str,
    options: &PrintOptions<'_>,
) {
    if ty == TypeId::CtLabel || value == 0 || !has_names(ty) {
        write_value(out, ty, bits, value, options);
        return;
    }
    let mut first = true;
    for bit in 0..128 {
        if value >> bit & 1 == 1 {
            if !first {
                out.push_str(joint);
            }
            first = false;
            write_value(out, ty, bits, 1 << bit, options);
        }
    }
}

/// Whether every bit has a name, or there is only one.
pub(super) fn is_single(value: u128) -> bool {
    value.count_ones() <= 1
}

/// Whether the type has names for bits at all.
pub(super) fn has_names(ty: TypeId) -> bool {
    !symbols_of(ty).is_empty() || ty == TypeId::CtLabel
}

fn symbols_of(ty: TypeId) -> &'static [symbols::Symbol] {
    ty.info().symbols
}
