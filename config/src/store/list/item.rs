//! Chains, rules, flowtables and hooks in a listing.

use std::fmt::Write as _;

use crate::engine::Profile;
use crate::model::{Family, Hook, PrintOptions, Rule};
use crate::store::exec::print_priority;
use crate::store::{Chain, Flowtable, Ruleset, Table};

/// A chain up to its first rule.
pub(super) fn chain_head(table: &Table, chain: &Chain, print: &PrintOptions<'_>, out: &mut String) {
    let _ = write!(out, "\tchain {} {{", chain.name);
    handle(chain.handle, print, out);
    if let Some(comment) = &chain.comment {
        let _ = writeln!(out, "\t\tcomment \"{comment}\"");
    }
    let Some(base) = &chain.base else { return };
    let _ = write!(
        out,
        "\t\ttype {} hook {}",
        base.kind.keyword(),
        base.hook.keyword()
    );
    match base.devices.as_slice() {
        [] => {}
        [device] => {
            let _ = write!(out, " device \"{device}\"");
        }
        devices => {
            let _ = write!(out, " devices = {{ {} }}", devices.join(", "));
        }
    }
    let priority = print_priority(
        table.family,
        base.hook,
        base.priority,
        print.numeric_priority,
    );
    let policy = if base.policy_drop { "drop" } else { "accept" };
    let _ = writeln!(out, " priority {priority}; policy {policy};");
}

/// ` # handle N` when asked for, and the end of the line.
pub(super) fn handle(handle: u64, print: &PrintOptions<'_>, out: &mut String) {
    if print.handle {
        let _ = write!(out, " # handle {handle}");
    }
    out.push('\n');
}

/// A rule, without its handle.
pub(super) fn rule(rule: &Rule, family: Family, print: &PrintOptions<'_>, out: &mut String) {
    out.push_str(&crate::model::print::print_rule(rule, family, print));
}

/// A flowtable.
pub(super) fn flowtable(flowtable: &Flowtable, print: &PrintOptions<'_>, out: &mut String) {
    let _ = write!(out, "\tflowtable {} {{", flowtable.name);
    handle(flowtable.handle, print, out);
    let priority = print_priority(
        Family::Netdev,
        Hook::Ingress,
        flowtable.priority,
        print.numeric_priority,
    );
    let _ = writeln!(out, "\t\thook ingress priority {priority}");
    if !flowtable.devices.is_empty() {
        let _ = writeln!(out, "\t\tdevices = {{ {} }}", flowtable.devices.join(", "));
    }
    if flowtable.offload {
        out.push_str("\t\tflags offload\n");
    }
    if flowtable.counter {
        out.push_str("\t\tcounter\n");
    }
    out.push_str("\t}\n");
}

const HOOKS: [Hook; 7] = [
    Hook::Ingress,
    Hook::Prerouting,
    Hook::Input,
    Hook::Forward,
    Hook::Output,
    Hook::Postrouting,
    Hook::Egress,
];

/// The base chains by family and hook, in the order in which they run.
pub(super) fn hooks(
    ruleset: &Ruleset,
    family: Option<Family>,
    device: Option<&str>,
    profile: &Profile,
) -> String {
    let families = [
        Family::Ip,
        Family::Ip6,
        Family::Inet,
        Family::Arp,
        Family::Bridge,
        Family::Netdev,
    ];
    let mut out = String::new();
    for listed in families
        .into_iter()
        .filter(|known| family.is_none_or(|family| family == *known))
    {
        let mut text = String::new();
        for hook in HOOKS {
            let mut chains = Vec::new();
            for table in ruleset
                .tables
                .iter()
                .filter(|table| table.family == listed && !table.dormant)
            {
                for chain in table.chains.values() {
                    let Some(base) = chain.base.as_ref().filter(|base| base.hook == hook) else {
                        continue;
                    };
                    let asked = device
                        .is_none_or(|device| base.devices.iter().any(|known| &**known == device));
                    if asked {
                        chains.push((base.priority, table, chain));
                    }
                }
            }
            chains.sort_by_key(|(priority, ..)| *priority);
            if chains.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\thook {} {{", hook.keyword());
            for (priority, table, chain) in chains {
                let sign = if priority < 0 { '-' } else { ' ' };
                let reached = if profile.reaches(table.family, hook) {
                    ""
                } else {
                    " (not reached)"
                };
                let _ = writeln!(
                    text,
                    "\t\t{sign}{:010} chain {} {} {}{reached}",
                    priority.unsigned_abs(),
                    table.family.keyword(),
                    table.name,
                    chain.name
                );
            }
            text.push_str("\t}\n");
        }
        if !text.is_empty() {
            let _ = writeln!(out, "family {} {{\n{text}}}", listed.keyword());
        }
    }
    out
}
