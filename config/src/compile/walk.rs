//! The walks: for each class of frames, the base chains of all tables in netfilter's order.
//!
//! Within a hook chains run by priority; of two with the same priority the one that was attached
//! later runs first, as the kernel inserts hooks. On a wire the IP hooks are nested in those of the
//! bridge as br_netfilter does it: prerouting and forward at priority 0, behind the bridge chains of
//! that priority that were attached after the bridge was made; postrouting behind all bridge chains.
//!
//! Connections are tracked only where rules of a family ask for them, as the kernel registers its
//! hooks: in the IP hooks by rules of `ip`, `ip6` and `inet`, in those of the bridge, before them, by
//! rules of `bridge`. At the same priority tracking comes before chains.

use std::cmp::Reverse;

use sluice_dataplane::program::{
    self as vm, ChainId, Class, Entry, Names, Policy, RuleRef, name_words,
};

use crate::engine::Mode;
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

/// When fragments are gathered: NF_IP_PRI_CONNTRACK_DEFRAG.
const DEFRAGMENT: i32 = -400;
/// When connections are looked up: NF_IP_PRI_CONNTRACK.
const TRACK: i32 = -200;

/// Where connections are tracked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracking {
    ip: bool,
    ip6: bool,
    bridge: bool,
}

impl Tracking {
    /// Rules of this family ask for connections.
    pub(super) fn ask(&mut self, family: Family) {
        match family {
            Family::Ip => self.ip = true,
            Family::Ip6 => self.ip6 = true,
            Family::Inet => (self.ip, self.ip6) = (true, true),
            Family::Bridge => {
                *self = Self {
                    ip: true,
                    ip6: true,
                    bridge: true,
                }
            }
            // The kernel has no tracking there; rules that ask for it are refused.
            Family::Arp | Family::Netdev => {}
        }
    }

    fn of(self, class: Class) -> bool {
        match class {
            Class::Ip => self.ip,
            Class::Ip6 => self.ip6,
            // The kernel's bridge shows tagged frames to the bridge family only.
            Class::TaggedIp | Class::TaggedIp6 => self.bridge,
            // A wire says nothing of its own, and a gateway does not track yet.
            Class::Other | Class::OwnIp | Class::OwnIp6 | Class::OwnArp | Class::Leaving => false,
        }
    }
}

/// Whether frames can come to a hook of a family at all.
pub(super) fn is_reached(mode: Mode, family: Family, hook: Hook) -> bool {
    match mode {
        Mode::Gateway => is_reached_in_gateway(family, hook),
        Mode::Wire | Mode::Workbench => is_reached_on_wire(family, hook),
    }
}

fn is_reached_in_gateway(family: Family, hook: Hook) -> bool {
    match family {
        Family::Ip | Family::Ip6 => !matches!(hook, Hook::Ingress | Hook::Egress),
        Family::Inet => hook != Hook::Egress,
        Family::Netdev => matches!(hook, Hook::Ingress | Hook::Egress),
        Family::Arp => matches!(hook, Hook::Input | Hook::Output),
        // Its ports are no members of a bridge.
        Family::Bridge => false,
    }
}

fn is_reached_on_wire(family: Family, hook: Hook) -> bool {
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
pub(super) fn wire(class: Class, chains: &[Attached<'_>], tracking: Tracking) -> Vec<Entry> {
    let at = |hook: Hook, families: &[Family]| in_order(chains, hook, families);
    let ip: &[Family] = match class {
        Class::Ip => &[Family::Ip, Family::Inet],
        Class::Ip6 => &[Family::Ip6, Family::Inet],
        // The kernel's bridge shows tagged frames to the bridge family only.
        Class::TaggedIp | Class::TaggedIp6 | Class::Other => &[],
        // A wire says nothing of its own.
        Class::OwnIp | Class::OwnIp6 | Class::OwnArp | Class::Leaving => {
            return vec![Entry::Peer];
        }
    };
    let bridge = |hook: Hook, before: bool| {
        let mut list = at(hook, &[Family::Bridge]);
        list.retain(|one| (one.base.priority <= 0) == before);
        list
    };
    let tracked = tracking.of(class);
    let in_bridge = tracked && tracking.bridge;
    let any_ip = [Hook::Prerouting, Hook::Forward, Hook::Postrouting]
        .into_iter()
        .any(|hook| !at(hook, ip).is_empty());

    let mut walk = Vec::new();
    let run = |walk: &mut Vec<Entry>, list: &[Attached<'_>]| walk.extend(list.iter().map(entry));
    run(
        &mut walk,
        &at(Hook::Ingress, &[Family::Netdev, Family::Inet]),
    );
    run_tracked(&mut walk, &bridge(Hook::Prerouting, true), in_bridge, TRACK);
    if any_ip || (tracked && !in_bridge) {
        walk.push(Entry::CheckIp);
    }
    run_tracked(
        &mut walk,
        &at(Hook::Prerouting, ip),
        tracked && !in_bridge,
        DEFRAGMENT,
    );
    run(&mut walk, &bridge(Hook::Prerouting, false));
    walk.push(Entry::Peer);
    run(&mut walk, &bridge(Hook::Forward, true));
    run(&mut walk, &at(Hook::Forward, ip));
    run(&mut walk, &bridge(Hook::Forward, false));
    run(&mut walk, &at(Hook::Postrouting, &[Family::Bridge]));
    run(&mut walk, &at(Hook::Postrouting, ip));
    if tracked {
        walk.push(Entry::Confirm);
    }
    run(&mut walk, &at(Hook::Egress, &[Family::Netdev]));
    walk
}

/// Chains of prerouting, and between them, when connections are tracked here, what gathers
/// fragments (at a priority of its own, or just before) and what tracks.
fn run_tracked(walk: &mut Vec<Entry>, list: &[Attached<'_>], tracked: bool, gather: i32) {
    let mut built_in = vec![(gather, Entry::Defragment), (TRACK, Entry::Track)]
        .into_iter()
        .peekable();
    if !tracked {
        built_in.by_ref().for_each(drop);
    }
    for one in list {
        while let Some((_, due)) = built_in.next_if(|(priority, _)| *priority <= one.base.priority)
        {
            walk.push(due);
        }
        walk.push(entry(one));
    }
    walk.extend(built_in.map(|(_, due)| due));
}

/// The walk of a class of frames through a gateway: as Linux's `ip_rcv` to `ip_finish_output`, and
/// `arp_rcv`.
pub(super) fn gateway(class: Class, chains: &[Attached<'_>]) -> Vec<Entry> {
    let ip: &[Family] = match class {
        Class::Ip | Class::OwnIp => &[Family::Ip, Family::Inet],
        Class::Ip6 | Class::OwnIp6 => &[Family::Ip6, Family::Inet],
        _ => &[],
    };
    let at = |hook: Hook, families: &[Family]| -> Vec<Entry> {
        in_order(chains, hook, families).iter().map(entry).collect()
    };
    let ingress = at(Hook::Ingress, &[Family::Netdev, Family::Inet]);
    let egress = at(Hook::Egress, &[Family::Netdev]);
    let steps = match class {
        Class::Ip | Class::Ip6 => vec![
            ingress,
            vec![Entry::Station, Entry::CheckIp],
            at(Hook::Prerouting, ip),
            vec![Entry::Route],
            at(Hook::Input, ip),
            vec![Entry::ToSelf],
            at(Hook::Forward, ip),
            at(Hook::Postrouting, ip),
            vec![Entry::Neighbour],
            egress,
        ],
        Class::OwnIp | Class::OwnIp6 => vec![
            vec![Entry::Route],
            at(Hook::Output, ip),
            vec![Entry::Reroute],
            at(Hook::Postrouting, ip),
            vec![Entry::Neighbour],
            egress,
        ],
        // Tagged frames belong to a VLAN that has no port here: they end with the others.
        Class::TaggedIp | Class::TaggedIp6 | Class::Other => vec![
            ingress,
            vec![Entry::Station],
            at(Hook::Input, &[Family::Arp]),
            vec![Entry::Arp],
        ],
        Class::OwnArp => vec![at(Hook::Output, &[Family::Arp]), vec![Entry::Leave], egress],
        Class::Leaving => vec![vec![Entry::Leave], egress],
    };
    steps.concat()
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
