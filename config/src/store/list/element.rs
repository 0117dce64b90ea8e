//! Sets, maps and their elements in a listing.

use std::fmt::Write as _;

use super::item::handle;
use crate::model::expr::{DataType, ExprKind, SetType};
use crate::model::print::{print_element, print_expr, print_stmt, print_time};
use crate::model::{ByteOrder, Element, Expr, PrintOptions, TypeId};
use crate::store::elements::{expression, values};
use crate::store::{ElementData, Set, StoredElement, Words};

/// A set with its elements.
pub(super) fn set(set: &Set, print: &PrintOptions, now_ns: u64, out: &mut String) {
    let spec = &set.spec;
    let noun = match (spec.meter, set.is_map()) {
        (true, _) => "meter",
        (false, true) => "map",
        (false, false) => "set",
    };
    let _ = write!(out, "\t{noun} {} {{", set.name);
    handle(set.handle, print, out);
    types(set, print, out);
    if !spec.constant {
        if spec.policy_memory == Some(true) {
            out.push_str("\t\tpolicy memory\n");
        }
        if let Some(size) = spec.size {
            let _ = writeln!(out, "\t\tsize {size}");
        }
    }
    // A default timeout says by itself that elements expire.
    let flags = [
        (spec.constant, "constant"),
        (spec.dynamic, "dynamic"),
        (spec.interval, "interval"),
        (spec.timeout, "timeout"),
    ];
    let shown = flags.iter().any(|(set, name)| *set && !(*name == "timeout" && spec.timeout_ms.is_some()));
    if shown {
        let names: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        let _ = writeln!(out, "\t\tflags {}", names.join(","));
    }
    if !spec.stmts.is_empty() {
        let plain = PrintOptions { stateless: true, ..*print };
        let stmts: Vec<String> = spec.stmts.iter().map(|stmt| print_stmt(stmt, &plain)).collect();
        let _ = writeln!(out, "\t\t{}", stmts.join(" "));
    }
    if spec.auto_merge {
        out.push_str("\t\tauto-merge\n");
    }
    if let Some(timeout) = spec.timeout_ms {
        let _ = writeln!(out, "\t\ttimeout {}", print_time(timeout, print));
    }
    if let Some(interval) = spec.gc_interval_ms {
        let _ = writeln!(out, "\t\tgc-interval {}", print_time(interval, print));
    }
    if let Some(comment) = &spec.comment {
        let _ = writeln!(out, "\t\tcomment \"{comment}\"");
    }
    if !print.terse {
        elements(set, print, now_ns, out);
    }
    out.push_str("\t}\n");
}

fn types(set: &Set, print: &PrintOptions, out: &mut String) {
    let spec = &set.spec;
    let keyword = if spec.key.type_of.is_some() { "typeof" } else { "type" };
    let _ = write!(out, "\t\t{keyword} {}", type_text(&spec.key, print));
    match &spec.data {
        None => {}
        Some(DataType::Verdict) => out.push_str(" : verdict"),
        Some(DataType::Object(kind)) => {
            let _ = write!(out, " : {}", kind.keyword());
        }
        Some(DataType::Value(ty)) => {
            let _ = write!(out, " : {}", type_text(ty, print));
        }
        Some(DataType::Interval(ty)) => {
            let _ = write!(out, " : interval {}", type_text(ty, print));
        }
    }
    out.push('\n');
}

fn type_text(ty: &SetType, print: &PrintOptions) -> String {
    match &ty.type_of {
        Some(expr) => print_expr(expr, print),
        None => ty.parts.iter().map(|part| part.ty.info().name).collect::<Vec<_>>().join(" . "),
    }
}

/// What separates two elements: how many stand in a line depends on the type.
fn per_line(key: &SetType) -> usize {
    let [part] = key.parts.as_slice() else { return 1 };
    match part.ty {
        TypeId::NfProto
        | TypeId::Integer
        | TypeId::ArpOp
        | TypeId::InetProto
        | TypeId::InetService
        | TypeId::TcpFlag
        | TypeId::DccpPktType
        | TypeId::Mark
        | TypeId::IfIndex
        | TypeId::ClassId
        | TypeId::Uid
        | TypeId::Gid
        | TypeId::CtDir => 5,
        TypeId::Ipv4Addr | TypeId::CtState | TypeId::CtStatus | TypeId::PktType => 2,
        _ => 1,
    }
}

fn elements(set: &Set, print: &PrintOptions, now_ns: u64, out: &mut String) {
    let mut live: Vec<(&Words, &StoredElement)> =
        set.elements.map.iter().filter(|(_, element)| !element.expired(now_ns)).collect();
    let parts = &set.spec.key.parts;
    if set.spec.concat_interval() {
        live.sort_by_key(|(_, element)| element.order);
    } else if parts.len() > 1 {
        // nft puts a concatenation together with its last part in front.
        live.sort_by_cached_key(|(low, _)| {
            let mut keys: Vec<u128> =
                values(low, parts).into_iter().zip(parts).map(|(value, part)| sort_key(value, part)).collect();
            keys.reverse();
            keys
        });
    } else if let [part] = parts.as_slice()
        && part.ty.is_string()
    {
        live.sort_by_cached_key(|(low, _)| values(low, parts).first().map(|value| sort_key(*value, part)));
    }
    let catch_all = set.elements.catch_all.as_ref().filter(|element| !element.expired(now_ns));
    if live.is_empty() && catch_all.is_none() {
        return;
    }
    out.push_str("\t\telements = { ");
    let limit = per_line(&set.spec.key);
    let all = live.into_iter().map(|(low, element)| (Some(low), element));
    let mut in_line = 0;
    for (index, (low, element)) in all.chain(catch_all.map(|element| (None, element))).enumerate() {
        if index > 0 {
            if in_line < limit {
                out.push_str(", ");
            } else {
                out.push_str(",\n\t\t\t     ");
                in_line = 0;
            }
        }
        in_line += 1;
        out.push_str(&print_element(&model_element(set, low, element, now_ns), print));
    }
    out.push_str(" }\n");
}

/// Text in the machine's order sorts by its last letter first, as nft's numbers do.
fn sort_key(value: u128, part: &crate::model::expr::KeyPart) -> u128 {
    if part.ty.is_string() { value.swap_bytes() } else { value }
}

/// The element as the model has it.
pub(crate) fn model_element(set: &Set, low: Option<&Words>, element: &StoredElement, now_ns: u64) -> Element {
    let key = match low {
        Some(low) => expression(low, element.high.as_deref().map(|high| &**high), &set.spec.key),
        None => Expr { ty: TypeId::Integer, bits: 0, order: ByteOrder::Big, kind: ExprKind::CatchAll },
    };
    let (data, object) = match (element.data.as_deref(), &set.spec.data) {
        (Some(ElementData::Object(name)), _) => (None, Some(name.to_string())),
        (Some(ElementData::Verdict(verdict)), _) => {
            let kind = ExprKind::Verdict(verdict.clone());
            (Some(Expr { ty: TypeId::Verdict, bits: 0, order: ByteOrder::Host, kind }), None)
        }
        (Some(ElementData::Value(low, high)), Some(DataType::Value(ty) | DataType::Interval(ty))) => {
            (Some(expression(low, high.as_deref(), ty)), None)
        }
        _ => (None, None),
    };
    let extra = element.extra.as_deref().cloned().unwrap_or_default();
    let stmts = if extra.stmts.is_empty() { set.spec.stmts.clone() } else { extra.stmts };
    Element {
        key,
        data,
        object,
        stmts,
        timeout_ms: extra.timeout_ms.filter(|timeout| *timeout > 0),
        expires_ms: extra.expires_at_ns.map(|at| at.saturating_sub(now_ns) / 1_000_000),
        comment: extra.comment.map(|comment| comment.to_string()),
    }
}
