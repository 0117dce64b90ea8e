//! The walks: for each class of frames, the base chains of all tables in netfilter's order.
//!
//! Within a hook chains run by priority; of two with the same priority the one that was attached
//! later runs first, as the kernel inserts hooks. On a wire the IP hooks are nested in those of the
//! bridge as br_netfilter does it: prerouting and forward at priority 0, behind the bridge chains of
//! that priority that were attached after the bridge was made; postrouting behind all bridge chains.

use std::cmp::Reverse;

use sluice_dataplane::program::{
    self as vm, ChainId, Class, Entry, Names, Policy, RuleRef, name_words,
};

use crate::model::{Family, Hook};
use crate::store::{BaseChain, Chain, Table};

/// A base chain and its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached<'a> {
    pub(super) table: &'a Table,
    pub(super) chain: &'a Chain,
    pub(super) base: &'a BaseChain,
    pub(super) id: ChainId,
}

/// Whether frames on a wire can come to a hook of a family at all.
pub(super) fn is_reached(family: Family, hook: Hook) -> bool {
    match family {
        Family::Ip | Family::Ip6 | Family::Bridge => {
            matches!(hook, Hook::Prerouting | Hook::Forward | Hook::Postrouting)
        }
        Family::Inet => {
            matches!(
                hook,
                Hook::Prerouting | Hook::Forward | Hook::Postrouting | Hook::Ingress
            )
        }
        Family::Netdev => matches!(hook, Hook::Ingress | Hook::Egress),
        // The hooks of arp are those of the appliance's own host.
        Family::Arp => false,
    }
}

/// The walk of a class of frames over a wire.
pub(super) fn wire(class: Class, chains: &[Attached<'_>]) -> Vec<Entry> {
    let at = |hook: Hook, families: &[Family]| in_order(chains, hook, families);
    let ip: &[Family] = match class {
        Class::Ip => &[Family::Ip, Family::Inet],
        Class::Ip6 => &[Family::Ip6, Family::Inet],
        // The kernel's bridge shows tagged frames to the bridge family only.
        Class::TaggedIp | Class::TaggedIp6 | Class::Other => &[],
    };
    let bridge = |hook: Hook, before: bool| {
        at(hook, &[Family::Bridge])
            .into_iter()
            .filter(move |one| (one.base.priority <= 0) == before)
    };
    let any_ip = [Hook::Prerouting, Hook::Forward, Hook::Postrouting]
        .into_iter()
        .any(|hook| !at(hook, ip).is_empty());

    let mut walk = Vec::new();
    let run = |walk: &mut Vec<Entry>, list: &mut dyn Iterator<Item = Attached<'_>>| {
        walk.extend(list.map(|one| entry(&one)));
    };
    run(
        &mut walk,
        &mut at(Hook::Ingress, &[Family::Netdev, Family::Inet]).into_iter(),
    );
    run(&mut walk, &mut bridge(Hook::Prerouting, true));
    if any_ip {
        walk.push(Entry::CheckIp);
    }
    run(&mut walk, &mut at(Hook::Prerouting, ip).into_iter());
    run(&mut walk, &mut bridge(Hook::Prerouting, false));
    walk.push(Entry::Peer);
    run(&mut walk, &mut bridge(Hook::Forward, true));
    run(&mut walk, &mut at(Hook::Forward, ip).into_iter());
    run(&mut walk, &mut bridge(Hook::Forward, false));
    run(
        &mut walk,
        &mut at(Hook::Postrouting, &[Family::Bridge]).into_iter(),
    );
    run(&mut walk, &mut at(Hook::Postrouting, ip).into_iter());
    run(
        &mut walk,
        &mut at(Hook::Egress, &[Family::Netdev]).into_iter(),
    );
    walk
}

/// Chains of a hook, in the order in which they run.
fn in_order<'a>(chains: &[Attached<'a>], hook: Hook, families: &[Family]) -> Vec<Attached<'a>> {
    let mut found: Vec<_> = chains
        .iter()
        .filter(|one| one.base.hook == hook && families.contains(&one.table.family))
        .copied()
        .collect();
    found.sort_by_key(|one| (one.base.priority, Reverse(one.chain.id)));
    found
}

fn entry(one: &Attached<'_>) -> Entry {
    Entry::Chain {
        chain: one.id,
        hook: hook(one.base.hook),
        family: family(one.table.family),
        priority: one.base.priority,
        policy: if one.base.policy_drop {
            Policy::Drop
        } else {
            Policy::Accept
        },
        policy_rule: RuleRef(one.chain.id.0 as u32),
        devices: Names(
            one.base
                .devices
                .iter()
                .map(|name| name_words(name))
                .collect(),
        ),
    }
}

fn hook(hook: Hook) -> vm::Hook {
    match hook {
        Hook::Prerouting => vm::Hook::Prerouting,
        Hook::Input => vm::Hook::Input,
        Hook::Forward => vm::Hook::Forward,
        Hook::Output => vm::Hook::Output,
        Hook::Postrouting => vm::Hook::Postrouting,
        Hook::Ingress => vm::Hook::Ingress,
        Hook::Egress => vm::Hook::Egress,
    }
}

fn family(family: Family) -> vm::Family {
    match family {
        Family::Ip => vm::Family::Ip,
        Family::Ip6 => vm::Family::Ip6,
        Family::Inet => vm::Family::Inet,
        Family::Bridge => vm::Family::Bridge,
        Family::Arp => vm::Family::Arp,
        Family::Netdev => vm::Family::Netdev,
    }
}
