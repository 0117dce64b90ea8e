//! `nft describe`: what an expression or a data type is, and which names its values have.
//!
//! Comes from the command's expression and goes to standard output, in nft's words. Types that the
//! expression only has inside a rule are told as nft tells them: invalid.

use std::fmt::Write as _;

use crate::model::check::check_typeof;
use crate::model::datatype::{Base, TypeId};
use crate::model::rule::{Family, ObjectKind, RuleContext, Scope, SetInfo};
use crate::model::symbols::Symbol;
use crate::syntax::ast::{
    Expr, ExprKind, ExtHeader, Fib, FibResult, Header, IpOption, IpsecKey, MetaKey, PayloadBase,
    SctpChunk, TcpOption, TcpOptionField,
};
use crate::syntax::is_data_type;

/// No table around it.
struct Nothing;

impl Scope for Nothing {
    fn set(&self, _: &str) -> Option<SetInfo> {
        None
    }

    fn object(&self, _: ObjectKind, _: &str) -> bool {
        false
    }

    fn chain(&self, _: &str) -> bool {
        false
    }

    fn flowtable(&self, _: &str) -> bool {
        false
    }
}

/// The text that nft prints. Of something without a type it lacks the end of line, as nft's does.
#[must_use]
pub fn describe(expr: &Expr) -> String {
    if let Some(word) = expr.word() {
        return match TypeId::by_name(word).filter(|_| is_data_type(word)) {
            Some(id) => described(
                &format!("datatype {}", names(id)),
                id,
                id.info().bits,
                false,
            ),
            None if word == "invalid" => "datatype invalid (invalid), 0 bits\n".to_owned(),
            None => untyped("symbol"),
        };
    }
    let Some(kind) = kind(&expr.kind) else {
        return untyped("symbol");
    };
    match type_of(expr) {
        Some((id, bits)) => described(
            &format!("{kind} expression, datatype {}", names(id)),
            id,
            bits,
            true,
        ),
        None => untyped(kind),
    }
}

fn untyped(kind: &str) -> String {
    format!("{kind} expression, datatype invalid (invalid)")
}

/// nft's word for a kind of expression; `None` for words and numbers.
fn kind(kind: &ExprKind) -> Option<&'static str> {
    Some(match kind {
        ExprKind::Payload(_) | ExprKind::RawPayload(_) | ExprKind::Inner(_) => "payload",
        ExprKind::ExtHeader(_)
        | ExprKind::TcpOption(_)
        | ExprKind::IpOption(_)
        | ExprKind::SctpChunk(_)
        | ExprKind::DccpOption(_) => "exthdr",
        ExprKind::Meta(_) => "meta",
        ExprKind::Ct(_) => "ct",
        ExprKind::Fib(_) => "fib",
        ExprKind::Rt(_) => "rt",
        ExprKind::Socket(_) => "socket",
        ExprKind::Osf(_) => "osf",
        ExprKind::Ipsec(_) => "xfrm",
        ExprKind::Numgen(_) => "numgen",
        ExprKind::Hash(_) => "hash",
        ExprKind::Binary(..) => "binop",
        _ => return None,
    })
}

fn type_of(expr: &Expr) -> Option<(TypeId, u16)> {
    match &expr.kind {
        // nft recognises the ports in a raw reference to the transport header.
        ExprKind::RawPayload(raw)
            if raw.base == PayloadBase::Transport
                && matches!(raw.offset, 0 | 16)
                && raw.length == 16 =>
        {
            return Some((TypeId::InetService, 16));
        }
        // Whether something is there is told as the field that nft looks at.
        ExprKind::ExtHeader(ExtHeader::Exists(_)) => return Some((TypeId::InetProto, 8)),
        ExprKind::SctpChunk(SctpChunk { field: None, .. })
        | ExprKind::IpOption(IpOption { field: None, .. })
        | ExprKind::TcpOption(TcpOption {
            field: TcpOptionField::Exists,
            ..
        }) => {
            return Some((TypeId::Integer, 8));
        }
        ExprKind::Meta(MetaKey::Ipsec) => return Some((TypeId::Boolean, 8)),
        ExprKind::Fib(Fib {
            result: FibResult::Oifname,
            ..
        }) => return Some((TypeId::String, 128)),
        ExprKind::Meta(MetaKey::Time) => return Some((TypeId::MetaTime, 64)),
        ExprKind::Ipsec(ipsec) => {
            return Some(match ipsec.key {
                IpsecKey::Spi | IpsecKey::Reqid => (TypeId::Integer, 32),
                IpsecKey::IpSaddr | IpsecKey::IpDaddr => (TypeId::Ipv4Addr, 32),
                IpsecKey::Ip6Saddr | IpsecKey::Ip6Daddr => (TypeId::Ipv6Addr, 128),
            });
        }
        _ => {}
    }
    let is_arp = matches!(expr.kind, ExprKind::Payload(field) if field.header() == Header::Arp);
    let family = if is_arp { Family::Arp } else { Family::Inet };
    let context = RuleContext {
        family,
        table: "",
        chain: None,
        scope: &Nothing,
    };
    let checked = check_typeof(expr, &context).ok()?;
    match &*checked.parts {
        [part] => Some((part.ty, part.bits)),
        _ => None,
    }
}

/// Name, description and what it is derived from.
fn names(id: TypeId) -> String {
    let info = id.info();
    let derived = match (id, info.base) {
        (TypeId::Integer | TypeId::String | TypeId::Verdict | TypeId::TcpOptKind, _) => "",
        (TypeId::EtherAddr, _) => " (basetype link layer address, integer)",
        (TypeId::Bitmask, _) | (_, Base::Integer | Base::Verdict) => " (basetype integer)",
        (_, Base::Bitmask) => " (basetype bitmask, integer)",
        (_, Base::String) => " (basetype string)",
    };
    format!("{} ({}){derived}", info.name, info.description)
}

fn described(head: &str, id: TypeId, bits: u16, expression: bool) -> String {
    let mut out = if expression && id.is_string() {
        format!("{head}, {} characters\n", bits / 8)
    } else {
        format!("{head}, {bits} bits\n")
    };
    symbols(&mut out, id, bits);
    out
}

fn symbols(out: &mut String, id: TypeId, bits: u16) {
    let table: &[Symbol] = id.info().symbols;
    match id {
        // Tables that the system's files fill are not told, but for protocols.
        TypeId::DevGroup | TypeId::Realm => return,
        TypeId::InetProto => {
            for (name, value) in table {
                let _ = writeln!(out, "\t{name:<30}\t{value}");
            }
            return;
        }
        _ if table.is_empty() => return,
        _ => {}
    }
    let hexadecimal = matches!(
        id,
        TypeId::EtherType
            | TypeId::ArpOp
            | TypeId::TcpFlag
            | TypeId::DccpPktType
            | TypeId::IfType
            | TypeId::CtState
            | TypeId::CtStatus
            | TypeId::CtEvent
            | TypeId::Dscp
            | TypeId::Ecn
    );
    let base = if hexadecimal {
        "hexadecimal"
    } else {
        "decimal"
    };
    let _ = writeln!(out, "\npre-defined symbolic constants (in {base}):");
    let digits = usize::from(bits.div_ceil(8)) * 2;
    for (name, value) in table {
        let _ = if hexadecimal {
            writeln!(out, "\t{name:<30}\t0x{value:0digits$x}")
        } else {
            writeln!(out, "\t{name:<30}\t{value:20}")
        };
    }
}
