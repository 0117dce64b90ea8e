//! Sets, maps and their elements in a listing.

use std::fmt::Write as _;

use super::item::handle;
use crate::model::elements::sort;
use crate::model::expr::{DataType, ExprKind, SetType};
use crate::model::print::{print_elements, print_expr, print_stmt};
use crate::model::time::print_duration_ms;
use crate::model::{ByteOrder, Element, Expr, PrintOptions, TypeId};
use crate::store::elements::expression;
use crate::store::{ElementData, Set, StoredElement, Words};

/// A set with its elements.
pub(super) fn set(set: &Set, print: &PrintOptions<'_>, now_ns: u64, out: &mut String) {
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
    let shown = flags
        .iter()
        .any(|(set, name)| *set && !(*name == "timeout" && spec.timeout_ms.is_some()));
    if shown {
        let names: Vec<&str> = flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| *name)
            .collect();
        let _ = writeln!(out, "\t\tflags {}", names.join(","));
    }
    if !spec.stmts.is_empty() {
        let plain = PrintOptions {
            stateless: true,
            ..*print
        };
        let stmts: Vec<String> = spec
            .stmts
            .iter()
            .map(|stmt| print_stmt(stmt, &plain))
            .collect();
        let _ = writeln!(out, "\t\t{}", stmts.join(" "));
    }
    if spec.auto_merge {
        out.push_str("\t\tauto-merge\n");
    }
    if let Some(timeout) = spec.timeout_ms {
        let _ = writeln!(out, "\t\ttimeout {}", time(timeout, print));
    }
    if let Some(interval) = spec.gc_interval_ms {
        let _ = writeln!(out, "\t\tgc-interval {}", time(interval, print));
    }
    if let Some(comment) = &spec.comment {
        let _ = writeln!(out, "\t\tcomment \"{comment}\"");
    }
    if !print.terse {
        elements(set, print, now_ns, out);
    }
    out.push_str("\t}\n");
}

/// A duration in milliseconds.
pub(super) fn time(ms: u64, print: &PrintOptions<'_>) -> String {
    if print.numeric_time {
        format!("{}s", ms / 1000)
    } else {
        print_duration_ms(ms)
    }
}

fn types(set: &Set, print: &PrintOptions<'_>, out: &mut String) {
    let spec = &set.spec;
    let keyword = if spec.key.type_of.is_some() {
        "typeof"
    } else {
        "type"
    };
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

fn type_text(ty: &SetType, print: &PrintOptions<'_>) -> String {
    match &ty.type_of {
        Some(expr) => print_expr(expr, print),
        None => ty
            .parts
            .iter()
            .map(|part| part.ty.info().name)
            .collect::<Vec<_>>()
            .join(" . "),
    }
}

fn elements(set: &Set, print: &PrintOptions<'_>, now_ns: u64, out: &mut String) {
    let mut live: Vec<(&Words, &StoredElement)> = set
        .elements
        .map
        .iter()
        .filter(|(_, element)| !element.expired(now_ns))
        .collect();
    if set.spec.concat_interval() {
        live.sort_by_key(|(_, element)| element.order);
    }
    let catch_all = set
        .elements
        .catch_all
        .as_ref()
        .filter(|element| !element.expired(now_ns));
    if live.is_empty() && catch_all.is_none() {
        return;
    }
    let all = live.into_iter().map(|(low, element)| (Some(low), element));
    let all = all.chain(catch_all.map(|element| (None, element)));
    let mut all: Vec<Element> = all
        .map(|(low, element)| model_element(set, low, element, now_ns))
        .collect();
    sort(&mut all, set.spec.interval);
    let _ = writeln!(
        out,
        "\t\telements = {}",
        print_elements(&set.spec.key.parts, &all, print)
    );
}

/// The element as the model has it.
pub(crate) fn model_element(
    set: &Set,
    low: Option<&Words>,
    element: &StoredElement,
    now_ns: u64,
) -> Element {
    let key = match low {
        Some(low) => expression(
            low,
            element.high.as_deref().map(|high| &**high),
            &set.spec.key,
        ),
        None => Expr {
            ty: TypeId::Integer,
            bits: 0,
            order: ByteOrder::Big,
            kind: ExprKind::CatchAll,
        },
    };
    let (data, object) = match (element.data.as_deref(), &set.spec.data) {
        (Some(ElementData::Object(name)), _) => (None, Some(name.to_string())),
        (Some(ElementData::Verdict(verdict)), _) => {
            let kind = ExprKind::Verdict(verdict.clone());
            (
                Some(Expr {
                    ty: TypeId::Verdict,
                    bits: 0,
                    order: ByteOrder::Host,
                    kind,
                }),
                None,
            )
        }
        (
            Some(ElementData::Value(low, high)),
            Some(DataType::Value(ty) | DataType::Interval(ty)),
        ) => (Some(expression(low, high.as_deref(), ty)), None),
        _ => (None, None),
    };
    let extra = element.extra.as_deref().cloned().unwrap_or_default();
    let stmts = if extra.stmts.is_empty() {
        set.spec.stmts.clone()
    } else {
        extra.stmts
    };
    Element {
        key,
        data,
        object,
        stmts,
        timeout_ms: extra.timeout_ms.filter(|timeout| *timeout > 0),
        expires_ms: extra
            .expires_at_ns
            .map(|at| at.saturating_sub(now_ns) / 1_000_000),
        comment: extra.comment.map(|comment| comment.to_string()),
    }
}
