//! Sets and their elements as text.

use super::super::datatype::TypeId;
use super::super::expr::{Element, Expr, ExprKind, KeyPart, SetExpr};
use super::super::rule::PrintOptions;
use super::expression::expr;
use super::flags;
use super::statement;
use super::value::duration;

/// `{ a, b : c }`.
pub(super) fn anonymous(out: &mut String, set: &SetExpr, options: &PrintOptions<'_>) {
    out.push_str("{ ");
    for (i, element) in set.elements.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write_element(out, element, options);
    }
    out.push_str(" }");
}

/// One element of a named set.
pub fn print_element(element: &Element, options: &PrintOptions<'_>) -> String {
    let mut out = String::new();
    write_element(&mut out, element, options);
    out
}

/// `elements = { ... }` of a listing, without the keyword: `{ a, b,` and continuation lines behind
/// tabs as nft wraps them, by the type of the key.
pub fn print_elements(key: &[KeyPart], elements: &[Element], options: &PrintOptions<'_>) -> String {
    let per_line = match key {
        [one] => per_line(one.ty),
        _ => 1,
    };
    let mut out = String::from("{ ");
    let mut count = 0;
    for (i, element) in elements.iter().enumerate() {
        if i > 0 {
            count += 1;
            if count >= per_line {
                count = 0;
                out.push_str(",\n\t\t\t     ");
            } else {
                out.push_str(", ");
            }
        }
        write_element(&mut out, element, options);
    }
    out.push_str(" }");
    out
}

/// How many elements of a type stand on a line.
fn per_line(ty: TypeId) -> usize {
    match ty {
        TypeId::Ipv4Addr | TypeId::CtState | TypeId::CtStatus | TypeId::PktType => 2,
        TypeId::InetProto
        | TypeId::InetService
        | TypeId::ArpOp
        | TypeId::NfProto
        | TypeId::DccpPktType
        | TypeId::CtDir
        | TypeId::TcpFlag
        | TypeId::Mark
        | TypeId::Uid
        | TypeId::Gid
        | TypeId::IfIndex
        | TypeId::ClassId
        | TypeId::Integer => 5,
        _ => 1,
    }
}

fn write_element(out: &mut String, element: &Element, options: &PrintOptions<'_>) {
    key(out, &element.key, options);
    if !options.stateless || !element.stmts.is_empty() {
        for stmt in &element.stmts {
            out.push(' ');
            statement::stmt(out, stmt, statement::Place::default(), options);
        }
    }
    if let Some(timeout) = element.timeout_ms {
        out.push_str(" timeout ");
        out.push_str(&duration(timeout, options));
    }
    if let Some(expires) = element.expires_ms.filter(|_| !options.stateless) {
        out.push_str(" expires ");
        out.push_str(&duration(expires, options));
    }
    if let Some(comment) = &element.comment {
        out.push_str(" comment \"");
        out.push_str(comment);
        out.push('"');
    }
    if let Some(data) = &element.data {
        out.push_str(" : ");
        key(out, data, options);
    } else if let Some(object) = &element.object {
        out.push_str(" : \"");
        out.push_str(object);
        out.push('"');
    }
}

/// A key: flags are joined by bars.
fn key(out: &mut String, e: &Expr, options: &PrintOptions<'_>) {
    match &e.kind {
        ExprKind::Value(v) if e.ty.is_bitmask() && *v != 0 => {
            flags::list(out, e.ty, e.bits, *v, " | ", options);
        }
        _ => expr(out, e, options),
    }
}
