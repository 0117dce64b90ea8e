//! Expressions as text.

use std::fmt::Write as _;

use super::super::expr::{
    BinOp, Ct, CtDir, CtKey, Expr, ExprKind, Exthdr, ExthdrName, Fib, FibResult, Hash, HeaderField,
    MetaKey, Payload, PayloadBase, RtKey, SocketKey,
};
use super::super::rule::PrintOptions;
use super::flags;
use super::set;
use super::value::{text_of, write_value};
use crate::syntax::ast::{ExtField, ExtHeader, TcpOptionField, TcpOptionKind};

pub(super) fn expr(out: &mut String, e: &Expr, options: &PrintOptions<'_>) {
    match &e.kind {
        ExprKind::Value(v) => constant(out, e, *v, options),
        ExprKind::Prefix { value, len } => prefix(out, e, *value, *len, options),
        ExprKind::Range { lo, hi } => range(out, e, *lo, *hi, options),
        ExprKind::CatchAll => out.push('*'),
        ExprKind::Concat(parts) => joined(out, parts, options),
        ExprKind::Verdict(verdict) => super::statement::verdict(out, verdict, None, options),
        ExprKind::Payload(payload) => self::payload(out, payload),
        ExprKind::Exthdr(ext) => exthdr(out, ext),
        ExprKind::Meta(key) => meta(out, *key),
        ExprKind::Ct(ct) => self::ct(out, *ct),
        ExprKind::Rt(key) => out.push_str(match key {
            RtKey::ClassId => "rt classid",
            RtKey::NextHop => "rt nexthop",
            RtKey::NextHopIp => "rt ip nexthop",
            RtKey::NextHopIp6 => "rt ip6 nexthop",
            RtKey::Mtu => "rt mtu",
            RtKey::Ipsec => "rt ipsec",
        }),
        ExprKind::Fib(fib) => self::fib(out, fib),
        ExprKind::Socket(key) => {
            let _ = match key {
                SocketKey::Transparent => write!(out, "socket transparent"),
                SocketKey::Mark => write!(out, "socket mark"),
                SocketKey::Wildcard => write!(out, "socket wildcard"),
                SocketKey::CgroupV2 { level } => write!(out, "socket cgroupv2 level {level}"),
            };
        }
        ExprKind::Osf(osf) => {
            let ttl = ["", "ttl loose ", "ttl skip "][usize::from(osf.ttl.min(2))];
            let what = if osf.version { "version" } else { "name" };
            let _ = write!(out, "osf {ttl}{what}");
        }
        ExprKind::Numgen(numgen) => {
            let word = if numgen.random { "random" } else { "inc" };
            let _ = write!(out, "numgen {word} mod {}", numgen.modulus);
            if numgen.offset != 0 {
                let _ = write!(out, " offset {}", numgen.offset);
            }
        }
        ExprKind::Hash(hash) => self::hash(out, hash, options),
        ExprKind::Binop { op, left, right } => binop(out, *op, left, right, options),
        ExprKind::Set(elements) => set::anonymous(out, elements, options),
        ExprKind::SetRef(name) => {
            let _ = write!(out, "@{name}");
        }
        ExprKind::Map { key, map } => {
            expr(out, key, options);
            out.push_str(" map ");
            expr(out, map, options);
        }
    }
}

fn joined(out: &mut String, parts: &[Expr], options: &PrintOptions<'_>) {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push_str(" . ");
        }
        expr(out, part, options);
    }
}

/// A constant outside of a match of flags.
fn constant(out: &mut String, e: &Expr, value: u128, options: &PrintOptions<'_>) {
    write_value(out, e.ty, e.bits, value, options);
}

fn prefix(out: &mut String, e: &Expr, value: u128, len: u16, options: &PrintOptions<'_>) {
    if e.ty.is_string() {
        let _ = write!(out, "\"{}*\"", text_of(value, e.bits));
        return;
    }
    write_value(out, e.ty, e.bits, value, options);
    let _ = write!(out, "/{len}");
}

/// The options under which symbols are numbers.
pub(super) fn numbers<'a>(options: &PrintOptions<'a>) -> PrintOptions<'a> {
    PrintOptions {
        numeric_symbol: true,
        numeric_protocol: true,
        numeric_time: true,
        service: false,
        ..*options
    }
}

/// The bounds of a range are numbers where other values have names.
fn range(out: &mut String, e: &Expr, lo: u128, hi: u128, options: &PrintOptions<'_>) {
    let plain = numbers(options);
    write_value(out, e.ty, e.bits, lo, &plain);
    out.push('-');
    write_value(out, e.ty, e.bits, hi, &plain);
}

fn payload(out: &mut String, payload: &Payload) {
    let Some(field) = payload.field else {
        let base = match payload.base {
            PayloadBase::Link => "ll",
            PayloadBase::Network => "nh",
            PayloadBase::Transport => "th",
            PayloadBase::Inner => "ih",
        };
        let _ = write!(out, "@{base},{},{}", payload.offset, payload.bits);
        return;
    };
    let keyword = match field {
        HeaderField::VlanCfi => "dei",
        HeaderField::Icmpv6PacketTooBig => "mtu",
        other => other.keyword(),
    };
    let _ = write!(out, "{} {keyword}", field.header().keyword());
}

fn exthdr(out: &mut String, ext: &Exthdr) {
    let _ = match ext.name {
        ExthdrName::Ip6(ExtHeader::Exists(proto)) => write!(out, "exthdr {}", proto.keyword()),
        ExthdrName::Ip6(ExtHeader::Field(field, index)) => {
            match field {
                // The kernel keeps offset and length: nft shows the last name of that place.
                ExtField::Rt0Addr | ExtField::Rt2Addr | ExtField::SrhSid => {
                    write!(out, "srh sid[{index}]")
                }
                _ => write!(out, "{} {}", field.header().keyword(), field.keyword()),
            }
        }
        ExthdrName::Tcp(option) => {
            if let TcpOptionField::Raw { offset, length } = option.field {
                let kind = option.kind.number();
                write!(out, "tcp option @{kind},{offset},{length}").ok();
                return;
            }
            match (option.kind.keyword(), option.kind) {
                (_, TcpOptionKind::Sack(0)) if option.field != TcpOptionField::Exists => {
                    write!(out, "tcp option sack")
                }
                (Some(word), _) => write!(out, "tcp option {word}"),
                (None, kind) => write!(out, "tcp option {}", kind.number()),
            }
            .ok();
            match option.field {
                TcpOptionField::Exists | TcpOptionField::Raw { .. } => Ok(()),
                TcpOptionField::Length => write!(out, " length"),
                TcpOptionField::Size => write!(out, " size"),
                TcpOptionField::Count => write!(out, " count"),
                TcpOptionField::Left => write!(out, " left"),
                TcpOptionField::Right => write!(out, " right"),
                TcpOptionField::Tsval => write!(out, " tsval"),
                TcpOptionField::Tsecr => write!(out, " tsecr"),
                TcpOptionField::Subtype => write!(out, " subtype"),
            }
        }
        ExthdrName::Ip(option) => {
            write!(out, "ip option {}", option.kind.keyword()).ok();
            match option.field {
                Some(field) => write!(out, " {}", field.keyword()),
                None => Ok(()),
            }
        }
        ExthdrName::Sctp(chunk) => {
            write!(out, "sctp chunk {}", chunk.kind.keyword()).ok();
            match chunk.field {
                Some(field) => write!(out, " {}", field.keyword()),
                None => Ok(()),
            }
        }
        ExthdrName::Dccp(option) => write!(out, "dccp option {}", option.option),
    };
}

pub(super) fn meta(out: &mut String, key: MetaKey) {
    use MetaKey as M;
    let bare = matches!(
        key,
        M::Iif | M::Iifname | M::Oif | M::Oifname | M::Iifgroup | M::Oifgroup
    );
    if !bare {
        out.push_str("meta ");
    }
    out.push_str(key.keyword());
}

pub(super) fn ct(out: &mut String, ct: Ct) {
    out.push_str("ct ");
    let shows = !matches!(ct.key, CtKey::L3proto | CtKey::Protocol);
    match ct.dir.filter(|_| shows) {
        Some(CtDir::Original) => out.push_str("original "),
        Some(CtDir::Reply) => out.push_str("reply "),
        None => {}
    }
    out.push_str(ct.key.keyword());
}

fn fib(out: &mut String, fib: &Fib) {
    out.push_str("fib ");
    let words: Vec<&str> = [
        (fib.saddr, "saddr"),
        (fib.daddr, "daddr"),
        (fib.mark, "mark"),
        (fib.iif, "iif"),
        (fib.oif, "oif"),
    ]
    .into_iter()
    .filter_map(|(on, word)| on.then_some(word))
    .collect();
    out.push_str(&words.join(" . "));
    out.push_str(match fib.result {
        FibResult::Oif | FibResult::Present => " oif",
        FibResult::OifName => " oifname",
        FibResult::Type => " type",
    });
}

fn hash(out: &mut String, hash: &Hash, options: &PrintOptions<'_>) {
    match &hash.key {
        Some(key) => {
            out.push_str("jhash ");
            expr(out, key, options);
        }
        None => out.push_str("symhash"),
    }
    let _ = write!(out, " mod {}", hash.modulus);
    if let Some(seed) = hash.seed.filter(|_| hash.key.is_some()) {
        let _ = write!(out, " seed 0x{seed:x}");
    }
    if hash.offset != 0 {
        let _ = write!(out, " offset {}", hash.offset);
    }
}

fn precedence(op: BinOp) -> u8 {
    match op {
        BinOp::ShiftLeft | BinOp::ShiftRight => 1,
        BinOp::And => 2,
        BinOp::Xor => 3,
        BinOp::Or => 4,
    }
}

fn binop(out: &mut String, op: BinOp, left: &Expr, right: &Expr, options: &PrintOptions<'_>) {
    let nested = match &left.kind {
        ExprKind::Binop { op: inner, .. } => precedence(op) < precedence(*inner),
        _ => false,
    };
    if nested {
        out.push('(');
    }
    expr(out, left, options);
    if nested {
        out.push(')');
    }
    let word = match op {
        BinOp::And => "&",
        BinOp::Or => "|",
        BinOp::Xor => "^",
        BinOp::ShiftLeft => "<<",
        BinOp::ShiftRight => ">>",
    };
    let _ = write!(out, " {word} ");
    match right.value() {
        Some(v) if right.ty.is_bitmask() && flags::has_names(right.ty) && !flags::is_single(v) => {
            out.push('(');
            flags::list(out, right.ty, right.bits, v, " | ", options);
            out.push(')');
        }
        _ => expr(out, right, options),
    }
}
