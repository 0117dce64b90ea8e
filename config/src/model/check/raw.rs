//! `@base,offset,length` in the form in which a listing shows it.
//!
//! Where the header is known and has a field at that very place, it is that field. Where the bits do
//! not begin and end with a byte, the load is widened to bytes and masked, and the constant moves along.

use super::super::datatype::TypeId;
use super::super::expr::{BinOp, Element, Expr, ExprKind, HeaderField, Payload, PayloadBase};
use super::super::protocol;
use super::binary::binop;
use super::context::{Context, Proto};
use super::expression::all_ones;
use crate::syntax::ast::Header;

/// Both sides of a comparison whose left side is a raw load.
pub(super) fn resolve(l: Expr, r: Expr, context: &Context) -> (Expr, Expr) {
    let ExprKind::Payload(payload) = &l.kind else {
        return (l, r);
    };
    if let Some(field) = known_field(payload, context) {
        let (ty, order) = protocol::type_of(field);
        let mut payload = payload.clone();
        payload.field = Some(field);
        let left = Expr {
            ty,
            order,
            bits: l.bits,
            kind: ExprKind::Payload(payload),
        };
        return (left, retype(r, ty));
    }
    if payload.field.is_some() {
        return (l, r);
    }
    widen(payload.clone(), l, r)
}

/// The field that lies at the place of a raw load.
pub(super) fn known_field(payload: &Payload, context: &Context) -> Option<HeaderField> {
    let th = matches!(
        payload.field,
        Some(HeaderField::ThSport | HeaderField::ThDport)
    );
    if payload.field.is_some() && !th {
        return None;
    }
    let header = match context.certain(payload.base) {
        Some(Proto::Known(header)) => header,
        None if payload.base == PayloadBase::Transport && !th => Header::Th,
        _ => return None,
    };
    HeaderField::ALL
        .iter()
        .copied()
        .find(|f| {
            f.header() == header
                && f.offset_bits() == u32::from(payload.offset)
                && f.length_bits() == u32::from(payload.bits)
        })
        .filter(|f| payload.field != Some(*f))
}

fn retype(r: Expr, ty: TypeId) -> Expr {
    let kind = match r.kind {
        ExprKind::Set(mut set) => {
            for part in &mut set.key.parts {
                part.ty = ty;
            }
            let key = |e: Element| Element {
                key: Expr { ty, ..e.key },
                ..e
            };
            set.elements = set.elements.into_iter().map(key).collect();
            ExprKind::Set(set)
        }
        kind => kind,
    };
    Expr { ty, kind, ..r }
}

fn widen(payload: Payload, l: Expr, r: Expr) -> (Expr, Expr) {
    let before = payload.offset % 8;
    let behind = (8 - (before + payload.bits) % 8) % 8;
    let bits = before + payload.bits + behind;
    if (before == 0 && behind == 0) || bits > 128 {
        return (l, r);
    }
    let shift = |v: u128| v << behind;
    let Some(kind) = shifted(r.kind.clone(), bits, &shift) else {
        return (l, r);
    };
    let mask = shift(all_ones(payload.bits));
    let wide = Payload {
        offset: payload.offset - before,
        bits,
        ..payload
    };
    let load = Expr {
        bits,
        kind: ExprKind::Payload(wide),
        ..l
    };
    let constant = Expr {
        kind: ExprKind::Value(mask),
        ..load.clone()
    };
    let right = Expr { bits, kind, ..r };
    (binop(BinOp::And, load, constant), right)
}

fn shifted(kind: ExprKind, bits: u16, shift: &dyn Fn(u128) -> u128) -> Option<ExprKind> {
    Some(match kind {
        ExprKind::Value(v) => ExprKind::Value(shift(v)),
        ExprKind::Range { lo, hi } => ExprKind::Range {
            lo: shift(lo),
            hi: shift(hi),
        },
        ExprKind::Set(mut set) => {
            // The set's keys are plain numbers then, and so they are listed.
            for part in &mut set.key.parts {
                (part.ty, part.bits) = (TypeId::Integer, bits);
            }
            for element in &mut set.elements {
                element.key.ty = TypeId::Integer;
                element.key.bits = bits;
                element.key.kind = shifted(element.key.kind.clone(), bits, shift)?;
            }
            ExprKind::Set(set)
        }
        _ => return None,
    })
}
