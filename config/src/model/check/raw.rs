//! `@base,offset,length` in the form in which a listing shows it.
//!
//! Where the header is known and has a field at that very place, it is that field. Where the bits do
//! not begin and end with a byte, the load is widened to bytes and masked, and the constant moves along.

use super::super::datatype::TypeId;
use super::super::expr::{BinOp, Expr, ExprKind, HeaderField, Payload, PayloadBase};
use super::super::protocol;
use super::super::stmt::Stmt;
use super::binary::binop;
use super::context::{Context, Proto};
use super::expression::all_ones;
use crate::syntax::ast::Header;

/// Both sides of a comparison whose left side is a raw load.
pub(super) fn resolve(l: Expr, r: Expr, context: &Context) -> (Expr, Expr) {
    let named = named(l.clone(), context);
    if named != l {
        let r = retype_like(r, &l, &named);
        return (named, r);
    }
    match &l.kind {
        ExprKind::Payload(payload) if payload.field.is_none() => widen(payload.clone(), l, r),
        _ => (l, r),
    }
}

/// An expression with raw loads, and ports of any transport, as the fields that lie there.
pub(super) fn named(e: Expr, context: &Context) -> Expr {
    let inner = |e: Box<Expr>| Box::new(named(*e, context));
    match e.kind {
        ExprKind::Payload(payload) => match known_field(&payload, context) {
            Some(field) => {
                let (ty, order) = protocol::type_of(field);
                let kind = ExprKind::Payload(Payload {
                    field: Some(field),
                    ..payload
                });
                Expr {
                    ty,
                    order,
                    kind,
                    ..e
                }
            }
            None => Expr {
                kind: ExprKind::Payload(payload),
                ..e
            },
        },
        ExprKind::Concat(parts) => {
            let parts = parts.into_iter().map(|part| named(part, context)).collect();
            Expr {
                kind: ExprKind::Concat(parts),
                ..e
            }
        }
        ExprKind::Binop { op, left, right } => {
            let before = left.ty;
            let left = inner(left);
            let (ty, right) = if left.ty == before {
                (e.ty, right)
            } else {
                let (ty, right) = (left.ty, *right);
                (ty, Box::new(Expr { ty, ..right }))
            };
            Expr {
                ty,
                kind: ExprKind::Binop { op, left, right },
                ..e
            }
        }
        ExprKind::Map { key, map } => {
            let (key, map) = resolve_key(*key, *map, context);
            let (key, map) = (Box::new(key), Box::new(map));
            Expr {
                kind: ExprKind::Map { key, map },
                ..e
            }
        }
        ExprKind::Hash(mut hash) => {
            hash.key = hash.key.map(inner);
            Expr {
                kind: ExprKind::Hash(hash),
                ..e
            }
        }
        kind => Expr { kind, ..e },
    }
}

/// The same for a key and what it is looked up in. Keys of maps that have no name are listed as
/// plain numbers, where those of sets are listed in hexadecimal.
fn resolve_key(key: Expr, map: Expr, context: &Context) -> (Expr, Expr) {
    let named = named(key.clone(), context);
    let map = if named != key {
        retype_like(map, &key, &named)
    } else if key.ty == TypeId::RawInteger && !matches!(key.kind, ExprKind::Concat(_)) {
        with_plain_keys(map)
    } else {
        map
    };
    (named, map)
}

fn with_plain_keys(map: Expr) -> Expr {
    let ExprKind::Set(mut set) = map.kind else {
        return map;
    };
    for part in &mut set.key.parts {
        part.ty = TypeId::Integer;
    }
    for element in &mut set.elements {
        element.key.ty = TypeId::Integer;
    }
    Expr {
        kind: ExprKind::Set(set),
        ..map
    }
}

/// The same for a statement that is no match.
pub(super) fn named_stmt(stmt: Stmt, context: &Context) -> Stmt {
    match stmt {
        Stmt::VerdictMap { key, map } => {
            let (key, map) = resolve_key(key, map, context);
            Stmt::VerdictMap { key, map }
        }
        Stmt::MetaSet { key, value } => Stmt::MetaSet {
            key,
            value: named(value, context),
        },
        Stmt::CtSet { ct, value } => Stmt::CtSet {
            ct,
            value: named(value, context),
        },
        Stmt::SetUpdate(mut update) => {
            let key = update.element.key.clone();
            update.element.key = named(key, context);
            Stmt::SetUpdate(update)
        }
        Stmt::Meter(mut meter) => {
            let key = meter.element.key.clone();
            meter.element.key = named(key, context);
            Stmt::Meter(meter)
        }
        other => other,
    }
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
    let Some(Proto::Known(header)) = context.certain(payload.base) else {
        return None;
    };
    let fits =
        |f: Header| f == header || payload.base == PayloadBase::Link && context.is_stacked(f);
    HeaderField::ALL
        .iter()
        .copied()
        .find(|f| {
            fits(f.header())
                && f.offset_bits() == u32::from(payload.offset)
                && f.length_bits() == u32::from(payload.bits)
        })
        .filter(|f| payload.field != Some(*f))
}

/// Constants of the types that the other side has got by its names. nft leaves those of sets as the
/// numbers that were written, and cannot read all of them again.
fn retype_like(r: Expr, before: &Expr, now: &Expr) -> Expr {
    let types = |e: &Expr| match &e.kind {
        ExprKind::Concat(parts) => parts.iter().map(|part| part.ty).collect(),
        _ => vec![e.ty],
    };
    let (old, new) = (types(before), types(now));
    match r.kind {
        ExprKind::Set(mut set) => {
            let pairs = old.iter().zip(&new).enumerate();
            for (at, (_, ty)) in pairs.filter(|(_, (old, new))| old != new) {
                if let Some(part) = set.key.parts.get_mut(at) {
                    part.ty = *ty;
                }
                for element in &mut set.elements {
                    retype_part(&mut element.key, at, *ty);
                }
            }
            Expr {
                kind: ExprKind::Set(set),
                ..r
            }
        }
        kind if new.len() == 1 && old != new => Expr {
            ty: new[0],
            kind,
            ..r
        },
        kind => Expr { kind, ..r },
    }
}

fn retype_part(key: &mut Expr, at: usize, ty: TypeId) {
    match &mut key.kind {
        ExprKind::Concat(parts) => {
            if let Some(part) = parts.get_mut(at) {
                part.ty = ty;
            }
        }
        _ => key.ty = ty,
    }
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
