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
use crate::model::{ChainType, Family, Hook};
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
/// When destinations are translated: NF_IP_PRI_NAT_DST.
const DESTINATION: i32 = -100;
/// When sources are translated: NF_IP_PRI_NAT_SRC.
const SOURCE: i32 = 100;

/// Where connections are tracked and translated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracking {
    ip: bool,
    ip6: bool,
    bridge: bool,
    nat_ip: bool,
    nat_ip6: bool,
}

impl Tracking {
    /// Rules of this family ask for connections.
    pub(super) fn ask(&mut self, family: Family) {
        match family {
            Family::Ip => self.ip = true,
            Family::Ip6 => self.ip6 = true,
            Family::Inet => (self.ip, self.ip6) = (true, true),
            Family::Bridge => {
                (self.ip, self.ip6, self.bridge) = (true, true, true);
            }
            // The kernel has no tracking there; rules that ask for it are refused.
            Family::Arp | Family::Netdev => {}
        }
    }

    /// A chain of type nat stands in a table of this family: as in the kernel, then all hooks of the
    /// family translate.
    pub(super) fn translate(&mut self, family: Family) {
        self.ask(family);
        match family {
            Family::Ip => self.nat_ip = true,
            Family::Ip6 => self.nat_ip6 = true,
            Family::Inet => (self.nat_ip, self.nat_ip6) = (true, true),
            Family::Bridge | Family::Arp | Family::Netdev => {}
        }
    }

    /// Whether packets of a class are tracked. (Those of its own a gateway only has.)
    fn of(self, class: Class) -> bool {
        match class {
            Class::Ip | Class::OwnIp => self.ip,
            Class::Ip6 | Class::OwnIp6 => self.ip6,
            // The kernel's bridge shows tagged frames to the bridge family only.
            Class::TaggedIp | Class::TaggedIp6 => self.bridge,
            Class::Other | Class::OwnArp | Class::Leaving => false,
        }
    }

    fn translates(self, class: Class) -> bool {
        match class {
            Class::Ip | Class::OwnIp => self.nat_ip,
            Class::Ip6 | Class::OwnIp6 => self.nat_ip6,
            _ => false,
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
        // What the SYN proxy says to servers passes no rules, as answers of rules do not.
        Class::OwnIp | Class::OwnIp6 if tracking.of(class) => {
            return vec![Entry::Leave, Entry::Track, Entry::Confirm];
        }
        // Beside that a wire says nothing of its own.
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
    let built_in = if tracked {
        vec![
            (gather, vec![Entry::Defragment]),
            (TRACK, vec![Entry::Track]),
        ]
    } else {
        Vec::new()
    };
    walk.extend(merge(list, built_in));
}

/// Chains, and between them what the dataplane does itself, each at its priority; at the same one it
/// comes before chains.
fn merge(list: &[Attached<'_>], built_in: Vec<(i32, Vec<Entry>)>) -> Vec<Entry> {
    let mut walk = Vec::new();
    let mut built_in = built_in.into_iter().peekable();
    for one in list {
        while let Some((_, due)) = built_in.next_if(|(priority, _)| *priority <= one.base.priority)
        {
            walk.extend(due);
        }
        walk.push(entry(one));
    }
    walk.extend(built_in.flat_map(|(_, due)| due));
    walk
}

/// What a gateway does with connections of a class of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stateful {
    tracked: bool,
    translated: bool,
}

/// A hook of a gateway: its chains, those of type nat together where translation stands, and tracking
/// where packets come in.
fn gateway_hook(
    chains: &[Attached<'_>],
    hook: Hook,
    families: &[Family],
    stateful: Stateful,
) -> Vec<Entry> {
    let all = in_order(chains, hook, families);
    let (nat, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|one| one.base.kind == ChainType::Nat);
    let mut built_in = Vec::new();
    if stateful.tracked {
        match hook {
            Hook::Prerouting => {
                built_in.push((DEFRAGMENT, vec![Entry::Defragment]));
                built_in.push((TRACK, vec![Entry::Track]));
            }
            // What was made here is whole.
            Hook::Output => built_in.push((TRACK, vec![Entry::Track])),
            _ => {}
        }
    }
    if stateful.translated {
        let priority = match hook {
            Hook::Prerouting | Hook::Output => DESTINATION,
            _ => SOURCE,
        };
        let place = self::hook(hook);
        let mut translation = vec![Entry::Decide { hook: place }];
        translation.extend(nat.iter().map(entry));
        translation.push(Entry::Translate { hook: place });
        built_in.push((priority, translation));
    }
    merge(&others, built_in)
}

/// The walk of a class of frames through a gateway: as Linux's `ip_rcv` to `ip_finish_output`, and
/// `arp_rcv`.
pub(super) fn gateway(class: Class, chains: &[Attached<'_>], tracking: Tracking) -> Vec<Entry> {
    let ip: &[Family] = match class {
        Class::Ip | Class::OwnIp => &[Family::Ip, Family::Inet],
        Class::Ip6 | Class::OwnIp6 => &[Family::Ip6, Family::Inet],
        _ => &[],
    };
    let stateful = Stateful {
        tracked: tracking.of(class),
        translated: tracking.translates(class),
    };
    let at = |hook: Hook, families: &[Family]| -> Vec<Entry> {
        in_order(chains, hook, families).iter().map(entry).collect()
    };
    let on = |hook: Hook| gateway_hook(chains, hook, ip, stateful);
    let confirm = if stateful.tracked {
        vec![Entry::Confirm]
    } else {
        Vec::new()
    };
    let ingress = at(Hook::Ingress, &[Family::Netdev, Family::Inet]);
    let egress = at(Hook::Egress, &[Family::Netdev]);
    let steps = match class {
        Class::Ip | Class::Ip6 => vec![
            ingress,
            vec![Entry::Station, Entry::CheckIp],
            on(Hook::Prerouting),
            vec![Entry::Route],
            on(Hook::Input),
            vec![Entry::ToSelf],
            on(Hook::Forward),
            on(Hook::Postrouting),
            confirm,
            vec![Entry::Neighbour],
            egress,
        ],
        Class::OwnIp | Class::OwnIp6 => vec![
            vec![Entry::Route],
            on(Hook::Output),
            vec![Entry::Reroute],
            on(Hook::Postrouting),
            confirm,
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
