//! Sets of ipset in rules: which facts a set wants of a packet, and the set behind an index.
//!
//! Every use in a rule has an index of its own. What stands behind it is put together at each
//! compilation from what the set's name means then, so a swapped set or another list is seen by the
//! next generation, and by all rules at once.

use std::sync::Arc;

use sluice_dataplane::program::{
    Base, FactKind, KeyDesc, Meta, Op, Requires, SetData, SetDesc, SetId, Slots, Source, Way,
};
use sluice_dataplane::sets::packet::{
    AddressMask, CountTest, DataPlaces, KeyField, MatchOptions, PacketMember, PacketSet, PacketUse,
};

use super::error::Cause;
use super::lower::Lowering;
use super::sets::{SetKey, Sets};
use crate::ipset::address::host_mask;
use crate::ipset::create::{Cut, Header};
use crate::ipset::kind::{Family, Kind};
use crate::ipset::rule::{Action, IpsetUse, Matching, Relation};
use crate::ipset::set::DataLayout;
use crate::ipset::{Content, IpSet, IpSets};

/// A use that has an index.
#[derive(Clone, Debug)]
pub(super) struct Used {
    pub(super) id: SetId,
    pub(super) used: Arc<IpsetUse>,
    columns: u8,
}

impl Lowering<'_, '_> {
    /// `ipset ...`
    pub(super) fn ipset(&mut self, used: &IpsetUse) -> Result<(), Cause> {
        let missing = || Cause::Missing {
            what: "ipset",
            name: used.set.clone(),
        };
        let ipsets = self.shared.ipsets;
        let set = ipsets.get(&used.set).ok_or_else(missing)?;
        let facts = wanted(set, used);
        let mut keys = Slots::new();
        let (mut kinds, mut columns) = (0, 0);
        for fact in FactKind::ALL {
            if facts.contains(&fact) {
                keys.push(self.key(key(fact))?);
                kinds |= fact.bit();
                columns += fact.columns() as u8;
            }
        }
        let owner = SetKey::Anonymous(self.rule, self.next_part());
        let desc = SetDesc {
            key_columns: columns,
            data: SetData::Nothing,
        };
        let shared = &mut *self.shared;
        let id = shared
            .sets
            .number(owner, &desc, shared.now, shared.tables)?;
        let entry = Used {
            id,
            used: Arc::new(used.clone()),
            columns,
        };
        entry.put(shared.sets, shared.ipsets);
        shared.sets.ipset_uses.push(entry);
        // A set that waits for Ethernet addresses is written by those that find it.
        let writes = used.writes() || set.header.kind == Kind::BitmapIpMac;
        let set = id;
        self.emit(match &used.action {
            Action::Match(matching) => Op::FactMatch {
                set,
                keys,
                kinds,
                inverted: matching.negated,
                writes,
            },
            Action::Map { mark, prio } => Op::FactAct {
                set,
                keys,
                kinds,
                mark: *mark,
                priority: *prio,
            },
            Action::Add { .. } | Action::Delete => Op::FactAct {
                set,
                keys,
                kinds,
                mark: false,
                priority: false,
            },
        });
        Ok(())
    }
}

impl Used {
    /// Puts what the name means now behind the index.
    pub(super) fn put(&self, sets: &mut Sets, ipsets: &IpSets) {
        let members = ipsets
            .get(&self.used.set)
            .map_or_else(Vec::new, |set| members(set, &self.used, ipsets));
        let set = PacketSet::new(members, packet_use(&self.used.action), self.columns);
        sets.put(self.id, Arc::new(set), Vec::new());
    }
}

fn packet_use(action: &Action) -> PacketUse {
    match action {
        Action::Match(matching) => PacketUse::Match(options(matching)),
        Action::Add { exist, timeout_ms } => PacketUse::Add {
            exist: *exist,
            timeout_ns: timeout_ms.map(|ms| ms.saturating_mul(1_000_000)),
        },
        Action::Delete => PacketUse::Delete,
        Action::Map { .. } => PacketUse::Map,
    }
}

fn options(matching: &Matching) -> MatchOptions {
    let test = |test: Option<(Relation, u64)>| {
        test.map(|(relation, count)| match relation {
            Relation::Eq => CountTest::Eq(count),
            Relation::Ne => CountTest::Ne(count),
            Relation::Lt => CountTest::Lt(count),
            Relation::Gt => CountTest::Gt(count),
        })
    };
    MatchOptions {
        exceptions: matching.return_nomatch,
        keep_counters: matching.no_counters,
        keep_member_counters: matching.no_subcounters,
        packets: test(matching.packets),
        bytes: test(matching.bytes),
    }
}

/// The sets that a use asks: the set, or those of a list that need no more directions than there are.
fn members(set: &IpSet, used: &IpsetUse, ipsets: &IpSets) -> Vec<PacketMember> {
    match &set.content {
        Content::Elements(_) => member(set, used).into_iter().collect(),
        Content::Names(names) => names
            .iter()
            .filter_map(|name| {
                let mut member = member(ipsets.get(&name.name)?, used)?;
                member.expires_ns = name.expires_at_ns.unwrap_or(u64::MAX);
                member.counts = set.header.counters.then(|| Arc::clone(&name.counts));
                Some(member)
            })
            .collect(),
    }
}

fn member(set: &IpSet, used: &IpsetUse) -> Option<PacketMember> {
    let Content::Elements(elements) = &set.content else {
        return None;
    };
    let layout = DataLayout::of(&set.header);
    let place = |at: Option<usize>| at.map(|at| at as u8);
    Some(PacketMember {
        view: elements.view(),
        fields: fields(&set.header, used)?,
        data: DataPlaces {
            flags: place(layout.flags),
            mac: place(layout.mac),
            map: place(layout.skb),
        },
        mac: layout.mac.map(|_| FactKind::Mac(way(used, 1))),
        expires_ns: u64::MAX,
        counts: None,
    })
}

fn way(used: &IpsetUse, at: usize) -> Way {
    match used.destinations.get(at) {
        Some(true) => Way::Destination,
        _ => Way::Source,
    }
}

/// What makes a key of a set; nothing if the use has too few directions for it.
fn fields(header: &Header, used: &IpsetUse) -> Option<Vec<KeyField>> {
    if used.destinations.len() < header.ty().parts.len() {
        return None;
    }
    let address = |at: usize, net: Option<u8>| {
        let fact = if header.family == Family::Inet6 {
            FactKind::Ipv6(way(used, at))
        } else {
            FactKind::Ipv4(way(used, at))
        };
        let mask = mask(header);
        KeyField::Address { fact, mask, net }
    };
    let port = |at: usize| KeyField::ProtocolPort {
        fact: FactKind::Port(way(used, at)),
        icmp: if header.family == Family::Inet6 {
            58
        } else {
            1
        },
    };
    let number = |fact, port| {
        let span = header.span?;
        Some(KeyField::Number {
            fact,
            first: span.first,
            last: span.last,
            shift: header.hosts().trailing_zeros() as u8,
            port,
        })
    };
    let mac = |at| KeyField::Mac {
        fact: FactKind::Mac(way(used, at)),
    };
    Some(match header.kind {
        Kind::BitmapIp | Kind::BitmapIpMac => vec![number(FactKind::Ipv4(way(used, 0)), false)?],
        Kind::BitmapPort => vec![number(FactKind::Port(way(used, 0)), true)?],
        Kind::HashIp => vec![address(0, None)],
        Kind::HashMac => vec![mac(0)],
        Kind::HashIpMac => vec![address(0, None), mac(1)],
        Kind::HashNet => vec![address(0, Some(0))],
        Kind::HashNetNet => vec![address(0, Some(0)), address(1, Some(1))],
        Kind::HashIpPort => vec![address(0, None), port(1)],
        Kind::HashNetPort => vec![address(0, Some(0)), port(1)],
        Kind::HashIpPortIp => vec![address(0, None), port(1), address(2, None)],
        Kind::HashIpPortNet => vec![address(0, None), port(1), address(2, Some(2))],
        Kind::HashIpMark => {
            let mask = header.markmask.unwrap_or(u32::MAX);
            vec![address(0, None), KeyField::Mark { mask }]
        }
        Kind::HashNetPortNet => vec![address(0, Some(0)), port(1), address(2, Some(2))],
        Kind::HashNetIface => vec![
            address(0, Some(0)),
            KeyField::Iface {
                fact: FactKind::Iface(way(used, 1)),
            },
        ],
        Kind::ListSet => return None,
    })
}

fn mask(header: &Header) -> AddressMask {
    let bits = header.family.bits();
    let mask = match header.cut {
        Cut::Whole => return AddressMask::Whole,
        Cut::Netmask(netmask) => !host_mask(netmask, bits),
        Cut::Bitmask(mask) => mask,
    };
    let words = usize::from(header.family.words());
    let mut all = [u32::MAX; 4];
    for (at, word) in all.iter_mut().take(words).enumerate() {
        *word = (mask >> (32 * (words - 1 - at))) as u32;
    }
    AddressMask::Words(all)
}

/// The facts that a use needs. A list may get any set as a member, so it asks for all of its directions.
fn wanted(set: &IpSet, used: &IpsetUse) -> Vec<FactKind> {
    if set.header.ty().is_list() {
        let has = |destination| used.destinations.contains(&destination);
        let goes = |way| match way {
            Way::Source => has(false),
            Way::Destination => has(true),
        };
        return FactKind::ALL
            .into_iter()
            .filter(|fact| match fact {
                FactKind::Protocol | FactKind::IcmpMessage | FactKind::Mark => true,
                FactKind::Ipv4(way)
                | FactKind::Ipv6(way)
                | FactKind::Port(way)
                | FactKind::Mac(way)
                | FactKind::Iface(way) => goes(*way),
            })
            .collect();
    }
    let mut all = Vec::new();
    for field in fields(&set.header, used).unwrap_or_default() {
        match field {
            KeyField::Address { fact, .. } | KeyField::Mac { fact } | KeyField::Iface { fact } => {
                all.push(fact);
            }
            KeyField::Number { fact, port, .. } => {
                all.push(fact);
                all.extend(port.then_some(FactKind::Protocol));
            }
            KeyField::ProtocolPort { fact, .. } => {
                all.extend([FactKind::Protocol, FactKind::IcmpMessage, fact]);
            }
            KeyField::Mark { .. } => all.push(FactKind::Mark),
        }
    }
    if set.header.kind == Kind::BitmapIpMac {
        all.push(FactKind::Mac(way(used, 1)));
    }
    if all.is_empty() {
        // A key of a set has a column at least.
        all.push(FactKind::Mark);
    }
    all
}

/// What a fact is loaded by.
fn key(fact: FactKind) -> KeyDesc {
    let meta = |key, bits| KeyDesc {
        source: Source::Meta { key },
        bits,
        requires: Requires::Nothing,
    };
    let payload = |base, bit_offset, bits, requires| KeyDesc {
        source: Source::Payload { base, bit_offset },
        bits,
        requires,
    };
    let source = |way| way == Way::Source;
    match fact {
        FactKind::Protocol => meta(Meta::L4proto, 8),
        FactKind::IcmpMessage => payload(Base::Transport, 0, 16, Requires::Nothing),
        FactKind::Mark => meta(Meta::Mark, 32),
        FactKind::Ipv4(way) => {
            let ethertype = 0x0800;
            let at = if source(way) { 96 } else { 128 };
            payload(Base::Network, at, 32, Requires::Network { ethertype })
        }
        FactKind::Ipv6(way) => {
            let ethertype = 0x86dd;
            let at = if source(way) { 64 } else { 192 };
            payload(Base::Network, at, 128, Requires::Network { ethertype })
        }
        FactKind::Port(way) => {
            let at = if source(way) { 0 } else { 16 };
            payload(Base::Transport, at, 16, Requires::Nothing)
        }
        FactKind::Mac(way) => {
            let at = if source(way) { 48 } else { 0 };
            payload(Base::Link, at, 48, Requires::Nothing)
        }
        FactKind::Iface(way) => {
            let key = if source(way) {
                Meta::Iifname
            } else {
                Meta::Oifname
            };
            meta(key, 128)
        }
    }
}
