//! Stateful objects in a listing.

use std::fmt::Write as _;

use sluice_dataplane::program::cell::Cell;
use sluice_dataplane::program::counters::Counters;

use super::element::time;
use super::item::handle;
use crate::model::print::print_stmt;
use crate::model::stmt::Quota;
use crate::model::{PrintOptions, Stmt};
use crate::store::{Object, ObjectBody};
use crate::syntax::ast::{self, CtProtocol, Expr, ExprKind};

/// An object.
pub(super) fn object(
    object: &Object,
    counters: &Counters,
    print: &PrintOptions<'_>,
    out: &mut String,
) {
    let _ = write!(out, "\t{} {} {{", object.body.kind().keyword(), object.name);
    handle(object.handle, print, out);
    if let Some(comment) = &object.comment {
        let _ = writeln!(out, "\t\tcomment \"{comment}\"");
    }
    for line in lines(&object.body, counters, print) {
        let _ = writeln!(out, "\t\t{line}");
    }
    out.push_str("\t}\n");
}

fn lines(body: &ObjectBody, counters: &Counters, print: &PrintOptions<'_>) -> Vec<String> {
    let bare = |stmt: &Stmt, keyword: &str| {
        let text = print_stmt(stmt, print);
        text.strip_prefix(keyword)
            .map(str::to_owned)
            .unwrap_or(text)
    };
    match body {
        ObjectBody::Counter { .. } if print.stateless => Vec::new(),
        ObjectBody::Counter { slot, .. } => {
            let count = counters.read(*slot);
            vec![format!("packets {} bytes {}", count.packets, count.bytes)]
        }
        ObjectBody::Quota { quota, cell } => {
            let used = match &*cell.cell {
                Cell::Quota(quota) => quota.used(),
                _ => quota.used,
            };
            vec![bare(&Stmt::Quota(Quota { used, ..*quota }), "quota ")]
        }
        ObjectBody::Limit { limit, .. } => vec![bare(&Stmt::Limit(*limit), "limit ")],
        ObjectBody::Synproxy(synproxy) => {
            let flags = [
                (synproxy.timestamp, "timestamp"),
                (synproxy.sack_perm, "sack-perm"),
            ];
            let flags: Vec<&str> = flags
                .iter()
                .filter(|(set, _)| *set)
                .map(|(_, name)| *name)
                .collect();
            let mss = synproxy.mss.map(|mss| format!("mss {mss}"));
            let wscale = synproxy.wscale.map(|wscale| format!("wscale {wscale}"));
            let flags = (!flags.is_empty()).then(|| flags.join(" "));
            [mss, wscale, flags].into_iter().flatten().collect()
        }
        ObjectBody::CtHelper(helper) => ct_helper(helper),
        ObjectBody::CtTimeout(timeout) => ct_timeout(timeout),
        ObjectBody::CtExpectation(expectation) => ct_expectation(expectation, print),
        ObjectBody::Secmark(context) => vec![format!("\"{context}\"")],
        ObjectBody::Nat64(nat64) => nat64_lines(nat64),
        ObjectBody::Siit(siit) => {
            let prefixes = siit
                .prefixes
                .iter()
                .map(|prefix| format!("prefix {}", written(prefix)));
            let maps = siit
                .maps
                .iter()
                .map(|(a, b)| format!("map {} to {}", written(a), written(b)));
            prefixes.chain(maps).collect()
        }
    }
}

fn protocol(protocol: Option<CtProtocol>) -> &'static str {
    match protocol {
        Some(CtProtocol::Udp) => "udp",
        Some(CtProtocol::Tcp) | None => "tcp",
    }
}

/// What was not said has become the table's family when the object was made.
fn l3proto(family: Option<ast::Family>) -> String {
    format!("l3proto {}", family.map_or("ip", ast::Family::keyword))
}

fn ct_helper(helper: &ast::CtHelper) -> Vec<String> {
    let name = helper.helper.as_ref().map_or("", |name| &name.value);
    vec![
        format!("type \"{name}\" protocol {}", protocol(helper.protocol)),
        l3proto(helper.l3proto),
    ]
}

/// States in the kernel's order, which is the order of listings.
const TCP_STATES: [&str; 11] = [
    "syn_sent",
    "syn_recv",
    "established",
    "fin_wait",
    "close_wait",
    "last_ack",
    "time_wait",
    "close",
    "syn_sent2",
    "retrans",
    "unack",
];

fn ct_timeout(timeout: &ast::CtTimeout) -> Vec<String> {
    let mut policy: Vec<_> = timeout.policy.iter().collect();
    let place = |name: &str| TCP_STATES.iter().position(|state| *state == name);
    policy.sort_by_key(|(state, _)| place(&state.value));
    let states: Vec<String> = policy
        .iter()
        .map(|(state, seconds)| format!("{} : {seconds}", state.value))
        .collect();
    let mut lines = vec![
        format!("protocol {}", protocol(timeout.protocol)),
        l3proto(timeout.l3proto),
    ];
    lines.push(format!("policy = {{ {} }}", states.join(", ")));
    lines
}

fn ct_expectation(expectation: &ast::CtExpectation, print: &PrintOptions<'_>) -> Vec<String> {
    let number =
        |value: &Option<crate::syntax::Spanned<u64>>| value.as_ref().map_or(0, |value| value.value);
    vec![
        format!("protocol {}", protocol(expectation.protocol)),
        format!("dport {}", number(&expectation.dport)),
        format!(
            "timeout {}",
            time(expectation.timeout_ms.unwrap_or(0), print)
        ),
        format!("size {}", number(&expectation.size)),
        l3proto(expectation.l3proto),
    ]
}

fn nat64_lines(nat64: &ast::Nat64) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(
        nat64
            .prefixes
            .iter()
            .map(|prefix| format!("prefix {}", written(prefix))),
    );
    lines.extend(
        nat64
            .pools
            .iter()
            .map(|pool| format!("pool {}", written(pool))),
    );
    for bind in &nat64.binds {
        let port = |port: &Option<Expr>| {
            port.as_ref()
                .map(|port| format!(":{}", written(port)))
                .unwrap_or_default()
        };
        lines.push(format!(
            "bind {} {}{} to [{}]{}",
            bind.protocol.value,
            written(&bind.external),
            port(&bind.external_port),
            written(&bind.internal),
            port(&bind.internal_port)
        ));
    }
    if let Some(filtering) = &nat64.filtering {
        let word = match filtering.value {
            ast::Nat64Filtering::EndpointIndependent => "endpoint-independent",
            ast::Nat64Filtering::AddressDependent => "address-dependent",
        };
        lines.push(format!("filtering {word}"));
    }
    if let Some(zero) = &nat64.zero_checksum {
        let word = match zero.value {
            ast::ZeroChecksum::Compute => "compute",
            ast::ZeroChecksum::Drop => "drop",
            ast::ZeroChecksum::Forward => "forward",
        };
        lines.push(format!("zero-checksum {word}"));
    }
    lines.extend(
        nat64
            .lowest_mtu
            .as_ref()
            .map(|mtu| format!("lowest-mtu {}", mtu.value)),
    );
    if nat64.non_global {
        lines.push("non-global".to_owned());
    }
    lines
}

/// An address, prefix or range as it was written, variables followed.
fn written(expr: &Expr) -> String {
    match &expr.value().kind {
        ExprKind::Symbol(text) | ExprKind::Quoted(text) => text.to_string(),
        ExprKind::Number(number) => number.to_string(),
        ExprKind::Prefix(of, length) => format!("{}/{length}", written(of)),
        ExprKind::Range(ends) => format!("{}-{}", written(&ends.0), written(&ends.1)),
        _ => String::new(),
    }
}

/// Sets what it has counted to zero.
pub(super) fn reset(object: &Object, counters: &Counters) {
    match &object.body {
        ObjectBody::Counter { slot, .. } => {
            counters.reset(*slot);
        }
        ObjectBody::Quota { cell, .. } => {
            if let Cell::Quota(quota) = &*cell.cell {
                quota.reset();
            }
        }
        _ => {}
    }
}
