//! Statements as text.

use std::fmt::Write as _;

use super::super::datatype::TypeId;
use super::super::expr::{BinOp, ChainRef, DataType, Element, Expr, ExprKind, Verdict};
use super::super::rule::{Family, PrintOptions};
use super::super::stmt::{
    Limit, Log, Match, Nat, NatFamily, NatFilter, NatKind, ObjectTarget, Quota, Reject, RelOp,
    SetOp, Stmt, Synproxy,
};
use super::super::{symbols, time};
use super::expression::{self, expr};
use super::value::duration;
use super::{flags, rule_at};

/// What a statement's text depends on beside itself.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) family: Family,
    /// Tabs before a rule here.
    pub(super) depth: usize,
}

impl Default for Place {
    fn default() -> Self {
        Place {
            family: Family::Ip,
            depth: 2,
        }
    }
}

pub(super) fn stmt(out: &mut String, stmt: &Stmt, place: Place, options: &PrintOptions<'_>) {
    match stmt {
        Stmt::Match(m) => relational(out, m, options),
        Stmt::Verdict(v) => verdict(out, v, Some(place), options),
        Stmt::VerdictMap { key, map } => {
            expr(out, key, options);
            out.push_str(" vmap ");
            expr(out, map, options);
        }
        Stmt::Counter { packets, bytes } => {
            out.push_str("counter");
            if !options.stateless {
                let _ = write!(out, " packets {packets} bytes {bytes}");
            }
        }
        Stmt::Limit(l) => limit(out, l),
        Stmt::Quota(q) => quota(out, q, options),
        Stmt::Last { used_ms } => last(out, *used_ms, options),
        Stmt::ConnLimit { count, over } => {
            let over = if *over { "over " } else { "" };
            let _ = write!(out, "ct count {over}{count}");
        }
        Stmt::Object { kind, target } => object(out, kind.keyword(), target, options),
        Stmt::Log(l) => log(out, l),
        Stmt::Reject(r) => reject(out, *r, place.family, options),
        Stmt::Mangle { target, value, .. } => {
            expr(out, target, options);
            out.push_str(" set ");
            argument(out, value, options);
        }
        Stmt::OptionReset(option) => {
            out.push_str("reset ");
            expr(out, option, options);
        }
        Stmt::MetaSet { key, value } => {
            // Unlike a match, a write always has the word `meta`.
            let _ = write!(out, "meta {} set ", key.keyword());
            argument(out, value, options);
        }
        Stmt::CtSet { ct, value } => {
            expression::ct(out, *ct);
            out.push_str(" set ");
            argument(out, value, options);
        }
        Stmt::Notrack => out.push_str("notrack"),
        Stmt::Nat(n) => nat(out, n, place.family, options),
        Stmt::Tproxy { family, addr, port } => {
            out.push_str("tproxy");
            if place.family == Family::Inet {
                family_word(out, *family);
            }
            out.push_str(" to ");
            address_port(out, addr.as_ref(), port.as_ref(), options);
        }
        Stmt::Synproxy(s) => {
            out.push_str("synproxy");
            synproxy(out, s);
        }
        Stmt::Dup { to, device } => dup(out, to.as_ref(), device.as_ref(), options),
        Stmt::Fwd {
            family,
            addr,
            device,
        } => {
            out.push_str("fwd");
            if let Some(addr) = addr {
                family_word(out, *family);
                out.push_str(" to ");
                expr(out, addr, options);
                out.push_str(" device ");
            } else {
                out.push_str(" to ");
            }
            expr(out, device, options);
        }
        Stmt::Queue { to, bypass, fanout } => queue(out, to, *bypass, *fanout, options),
        Stmt::FlowAdd(name) => {
            let _ = write!(out, "flow add @{name}");
        }
        Stmt::SetUpdate(update) => {
            let word = match update.op {
                SetOp::Add => "add",
                SetOp::Update => "update",
                SetOp::Delete => "delete",
            };
            let _ = write!(out, "{word} @{} ", update.set);
            dynamic_element(out, &update.element, options);
        }
        Stmt::Meter(meter) => {
            let _ = write!(out, "meter {}", meter.name);
            if let Some(size) = meter.size {
                let _ = write!(out, " size {size}");
            }
            out.push(' ');
            dynamic_element(out, &meter.element, options);
        }
        Stmt::Ipset(used) => used.print(out, |ms| duration(ms, options)),
        Stmt::Nat64(name) => {
            let _ = write!(out, "nat64 name \"{name}\"");
        }
        Stmt::Siit(name) => {
            let _ = write!(out, "siit name \"{name}\"");
        }
        Stmt::Npt {
            destination,
            from,
            to,
        } => {
            out.push_str(if *destination {
                "dnpt from "
            } else {
                "snpt from "
            });
            expr(out, from, options);
            out.push_str(" to ");
            expr(out, to, options);
        }
    }
}

fn relational(out: &mut String, m: &Match, options: &PrintOptions<'_>) {
    if let ExprKind::Binop {
        op: BinOp::And,
        left,
        right,
    } = &m.left.kind
        && left.ty.is_bitmask()
        && let (Some(mask), Some(value)) = (right.value(), m.right.value())
        && flag_match(out, left, mask, m.op, value, options)
    {
        return;
    }
    expr(out, &m.left, options);
    let binop = matches!(m.left.kind, ExprKind::Binop { .. });
    let several = m.right.value().is_some_and(|v| !flags::is_single(v));
    // What is no field of the packet shows its flags one by one.
    let bars = m.right.ty.is_bitmask() && several && !matches!(m.left.kind, ExprKind::Payload(_));
    let bitmask = m.right.ty.is_bitmask() && m.right.value().is_some() && !bars;
    out.push_str(match m.op {
        RelOp::Eq if binop || bitmask => " == ",
        RelOp::Eq => " ",
        RelOp::Neq => " != ",
        RelOp::Lt => " < ",
        RelOp::Lte => " <= ",
        RelOp::Gt => " > ",
        RelOp::Gte => " >= ",
    });
    match m.right.value() {
        Some(v) if bars => flags::list(out, m.right.ty, m.right.bits, v, " | ", options),
        // The kernel orders words of the machine in network order, where nft finds no names.
        _ if !matches!(m.op, RelOp::Eq | RelOp::Neq)
            && matches!(m.right.ty, TypeId::IfType | TypeId::FibAddrType) =>
        {
            expr(out, &m.right, &expression::numbers(options));
        }
        _ => expr(out, &m.right, options),
    }
}

/// The spellings of a match of flags; false if it has none.
fn flag_match(
    out: &mut String,
    left: &Expr,
    mask: u128,
    op: RelOp,
    value: u128,
    options: &PrintOptions<'_>,
) -> bool {
    let list = |out: &mut String, v: u128| flags::list(out, left.ty, left.bits, v, ",", options);
    match (op, value) {
        (RelOp::Neq, 0) => {
            expr(out, left, options);
            out.push(' ');
            list(out, mask);
        }
        (RelOp::Eq, 0) => {
            expr(out, left, options);
            out.push_str(" ! ");
            list(out, mask);
        }
        (RelOp::Eq | RelOp::Neq, _) if flags::has_names(left.ty) && !flags::is_single(mask) => {
            expr(out, left, options);
            out.push_str(if op == RelOp::Eq { " " } else { " != " });
            list(out, value);
            out.push_str(" / ");
            list(out, mask);
        }
        _ => return false,
    }
    true
}

/// A value that is written: flags as a list.
fn argument(out: &mut String, e: &Expr, options: &PrintOptions<'_>) {
    match e.kind {
        ExprKind::Value(v) if e.ty.is_bitmask() => flags::list(out, e.ty, e.bits, v, ",", options),
        _ => expr(out, e, options),
    }
}

pub(super) fn verdict(
    out: &mut String,
    verdict: &Verdict,
    place: Option<Place>,
    options: &PrintOptions<'_>,
) {
    let (word, chain) = match verdict {
        Verdict::Accept => ("accept", None),
        Verdict::Drop => ("drop", None),
        Verdict::Continue => ("continue", None),
        Verdict::Return => ("return", None),
        Verdict::Jump(chain) => ("jump", Some(chain)),
        Verdict::Goto(chain) => ("goto", Some(chain)),
    };
    out.push_str(word);
    match chain {
        None => {}
        Some(ChainRef::Name(name)) => {
            let _ = write!(out, " {name}");
        }
        Some(ChainRef::Anonymous(rules)) => {
            let place = place.unwrap_or_default();
            let depth = place.depth + 1;
            out.push_str(" {\n");
            for rule in rules {
                out.push_str(&"\t".repeat(depth));
                rule_at(out, rule, place.family, options, depth);
                out.push('\n');
            }
            out.push_str(&"\t".repeat(place.depth));
            out.push('}');
        }
    }
}

fn unit(seconds: u64) -> &'static str {
    match seconds {
        60 => "minute",
        3600 => "hour",
        86_400 => "day",
        604_800 => "week",
        _ => "second",
    }
}

/// Bytes by the largest unit that divides them.
fn bytes(value: u64) -> (u64, &'static str) {
    match value {
        0 => (0, "bytes"),
        v if v % (1 << 20) == 0 => (v >> 20, "mbytes"),
        v if v % (1 << 10) == 0 => (v >> 10, "kbytes"),
        v => (v, "bytes"),
    }
}

/// `limit rate ...`, also the body of a limit object.
pub(super) fn limit(out: &mut String, l: &Limit) {
    let over = if l.over { "over " } else { "" };
    if l.bytes {
        let (rate, unit_bytes) = bytes(l.rate);
        let _ = write!(
            out,
            "limit rate {over}{rate} {unit_bytes}/{}",
            unit(l.unit_seconds)
        );
        if l.burst > 0 {
            let (burst, unit_bytes) = bytes(l.burst);
            let _ = write!(out, " burst {burst} {unit_bytes}");
        }
        return;
    }
    let _ = write!(out, "limit rate {over}{}/{}", l.rate, unit(l.unit_seconds));
    if l.burst > 0 && l.burst != 5 {
        let _ = write!(out, " burst {} packets", l.burst);
    }
}

pub(super) fn quota(out: &mut String, q: &Quota, options: &PrintOptions<'_>) {
    let over = if q.over { "over " } else { "" };
    let (amount, unit) = bytes(q.bytes);
    let _ = write!(out, "quota {over}{amount} {unit}");
    if q.used > 0 && !options.stateless {
        let (used, unit) = bytes(q.used);
        let _ = write!(out, " used {used} {unit}");
    }
}

fn last(out: &mut String, used_ms: Option<u64>, options: &PrintOptions<'_>) {
    out.push_str("last");
    if options.stateless {
        return;
    }
    match used_ms {
        None => out.push_str(" used never"),
        Some(ms) => {
            let _ = write!(out, " used {}", time::print_duration_ms(ms));
        }
    }
}

fn object(out: &mut String, keyword: &str, target: &ObjectTarget, options: &PrintOptions<'_>) {
    let word = match keyword {
        "ct helper" | "ct timeout" | "ct expectation" => "set",
        _ => "name",
    };
    let _ = write!(out, "{keyword} {word} ");
    match target {
        ObjectTarget::Name(name) => {
            let _ = write!(out, "\"{name}\"");
        }
        ObjectTarget::Map(map) => expr(out, map, options),
    }
}

const LEVELS: [&str; 9] = [
    "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit",
];

fn log(out: &mut String, l: &Log) {
    out.push_str("log");
    if let Some(prefix) = &l.prefix {
        let _ = write!(out, " prefix \"{prefix}\"");
    }
    if let Some(group) = l.group {
        let _ = write!(out, " group {group}");
    }
    if let Some(snaplen) = l.snaplen {
        let _ = write!(out, " snaplen {snaplen}");
    }
    if let Some(threshold) = l.queue_threshold {
        let _ = write!(out, " queue-threshold {threshold}");
    }
    if let Some(level) = l.level.filter(|level| *level != 4) {
        let _ = write!(out, " level {}", LEVELS[usize::from(level).min(8)]);
    }
    if l.flags == 0b10_1111 {
        out.push_str(" flags all");
        return;
    }
    match l.flags & 3 {
        1 => out.push_str(" flags tcp sequence"),
        2 => out.push_str(" flags tcp options"),
        3 => out.push_str(" flags tcp sequence,options"),
        _ => {}
    }
    for (bit, word) in [
        (4, " flags ip options"),
        (8, " flags skuid"),
        (32, " flags ether"),
    ] {
        if l.flags & bit != 0 {
            out.push_str(word);
        }
    }
}

fn reject(out: &mut String, r: Reject, family: Family, options: &PrintOptions<'_>) {
    out.push_str("reject");
    let name = |table, code: u8| {
        symbols::name_of(table, u128::from(code))
            .filter(|_| !options.numeric_symbol)
            .map_or_else(|| code.to_string(), str::to_owned)
    };
    let _ = match r {
        Reject::TcpReset => write!(out, " with tcp reset"),
        Reject::Icmpx(1) => Ok(()),
        Reject::Icmpx(code) => write!(out, " with icmpx {}", name(symbols::ICMPX_CODE, code)),
        Reject::Icmp(3) if family == Family::Ip => Ok(()),
        Reject::Icmp(code) => write!(out, " with icmp {}", name(symbols::ICMP_CODE, code)),
        Reject::Icmpv6(4) if family == Family::Ip6 => Ok(()),
        Reject::Icmpv6(code) => write!(out, " with icmpv6 {}", name(symbols::ICMPV6_CODE, code)),
    };
}

fn family_word(out: &mut String, family: Option<NatFamily>) {
    match family {
        Some(NatFamily::Ip) => out.push_str(" ip"),
        Some(NatFamily::Ip6) => out.push_str(" ip6"),
        None => {}
    }
}

fn address_port(
    out: &mut String,
    addr: Option<&Expr>,
    port: Option<&Expr>,
    options: &PrintOptions<'_>,
) {
    if let Some(addr) = addr {
        let bracket = addr.ty == TypeId::Ipv6Addr
            && port.is_some()
            && !matches!(addr.kind, ExprKind::Map { .. });
        match (&addr.kind, bracket) {
            (ExprKind::Range { lo, hi }, true) => {
                for (i, bound) in [lo, hi].into_iter().enumerate() {
                    out.push_str(if i == 0 { "[" } else { "-[" });
                    super::value::write_value(out, addr.ty, addr.bits, *bound, options);
                    out.push(']');
                }
            }
            (_, true) => {
                out.push('[');
                expr(out, addr, options);
                out.push(']');
            }
            _ => expr(out, addr, options),
        }
    }
    if let Some(port) = port {
        out.push(':');
        expr(out, port, options);
    }
}

/// Whether a map yields address and port, or ranges of addresses.
fn map_shape(addr: &Expr) -> bool {
    let ExprKind::Map { map, .. } = &addr.kind else {
        return false;
    };
    if addr.ty == TypeId::Concat {
        return true;
    }
    match &map.kind {
        ExprKind::Set(set) => matches!(set.data, Some(DataType::Interval(_))),
        _ => false,
    }
}

fn nat(out: &mut String, n: &Nat, family: Family, options: &PrintOptions<'_>) {
    out.push_str(match n.kind {
        NatKind::Snat => "snat",
        NatKind::Dnat => "dnat",
        NatKind::Masquerade => "masquerade",
        NatKind::Redirect => "redirect",
    });
    if n.addr.is_some() || n.port.is_some() {
        let shaped = n.addr.as_ref().is_some_and(map_shape);
        if n.addr.is_some() && (family == Family::Inet || shaped) {
            family_word(out, n.family);
        }
        if n.prefix {
            out.push_str(" prefix");
        }
        out.push_str(" to ");
        address_port(out, n.addr.as_ref(), n.port.as_ref(), options);
    }
    let mut words = Vec::new();
    for (on, word) in [
        (n.random, "random"),
        (n.fully_random, "fully-random"),
        (n.persistent, "persistent"),
    ] {
        if on {
            words.push(word);
        }
    }
    if !words.is_empty() {
        out.push(' ');
        out.push_str(&words.join(","));
    }
    match n.endpoint_independent {
        None => {}
        Some(filter) => {
            out.push_str(" endpoint-independent");
            out.push_str(match filter {
                NatFilter::EndpointIndependent => "",
                NatFilter::Address => " filter address",
                NatFilter::AddressPort => " filter address-port",
            });
        }
    }
}

pub(super) fn synproxy(out: &mut String, s: &Synproxy) {
    // The kernel has one flag for both.
    if s.mss.is_some() || s.wscale.is_some() {
        let _ = write!(
            out,
            " mss {} wscale {}",
            s.mss.unwrap_or(0),
            s.wscale.unwrap_or(0)
        );
    }
    if s.timestamp {
        out.push_str(" timestamp");
    }
    if s.sack_perm {
        out.push_str(" sack-perm");
    }
}

fn dup(out: &mut String, to: Option<&Expr>, device: Option<&Expr>, options: &PrintOptions<'_>) {
    out.push_str("dup to ");
    match (to, device) {
        (Some(to), device) => {
            expr(out, to, options);
            if let Some(device) = device {
                out.push_str(" device ");
                expr(out, device, options);
            }
        }
        (None, Some(device)) => expr(out, device, options),
        (None, None) => {}
    }
}

fn queue(out: &mut String, to: &Expr, bypass: bool, fanout: bool, options: &PrintOptions<'_>) {
    out.push_str("queue");
    let words: Vec<&str> = [(bypass, "bypass"), (fanout, "fanout")]
        .into_iter()
        .filter_map(|(on, word)| on.then_some(word))
        .collect();
    if !words.is_empty() {
        out.push_str(" flags ");
        out.push_str(&words.join(","));
    }
    out.push_str(" to ");
    expr(out, to, options);
}

/// `{ key timeout 5s stmt : data }` of an update.
fn dynamic_element(out: &mut String, element: &Element, options: &PrintOptions<'_>) {
    out.push_str("{ ");
    expr(out, &element.key, options);
    if let Some(timeout) = element.timeout_ms {
        let _ = write!(out, " timeout {}", duration(timeout, options));
    }
    for s in &element.stmts {
        out.push(' ');
        let quiet = PrintOptions {
            stateless: true,
            ..*options
        };
        stmt(out, s, Place::default(), &quiet);
    }
    if let Some(data) = &element.data {
        out.push_str(" : ");
        argument(out, data, options);
    }
    out.push_str(" }");
}
