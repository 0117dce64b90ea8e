//! What the outcome of an instruction depends on, for a memory of flows.
//!
//! A packet whose way used only instructions that are constant within its flow needs not be judged
//! again while nothing that they read has changed. What they read beside the flow's own bytes (a set,
//! the ports) has a version in the generation: a new generation is a new version of everything but
//! the sets that packets write, whose look-ups therefore count as per packet.

use sluice_dataplane::program::key::reads;
use sluice_dataplane::program::{Base, Meta, Op, Requires, Slot, Slots, Source, Tables};

/// What an outcome depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// Addresses, ports, protocol, ports of the dataplane: the same for all packets of a flow.
    Flow,
    /// Something that differs from packet to packet, or from moment to moment.
    Packet,
    /// It changes something that others can see.
    Effect,
}

/// What the outcome of an instruction depends on.
pub fn dependence(op: &Op, tables: &Tables) -> Dependence {
    let slot = |slot: &Slot| of_slot(*slot, tables);
    let slots = |list: &Slots| list.iter().map(slot).max().unwrap_or(Dependence::Flow);
    match op {
        Op::Compare { key, .. } | Op::CompareMasked { key, .. } | Op::Range { key, .. } => {
            slot(key)
        }
        Op::LookUp { keys, .. } | Op::MapInto { keys, .. } | Op::VerdictMap { keys, .. } => {
            slots(keys)
        }
        Op::Copy { from, .. } | Op::Bitwise { from, .. } | Op::Shift { from, .. } => slot(from),
        Op::Combine { left, right, .. } => slot(left).max(slot(right)),
        Op::Jhash { from, .. } => slots(from),
        Op::Immediate { .. } | Op::Symhash { .. } | Op::Verdict { .. } => Dependence::Flow,
        // Counted with the flow: its slot is kept beside the verdict.
        Op::Counter { .. } => Dependence::Flow,
        // The mark is the packet's own; setting it again to the same number changes nothing.
        Op::MetaSet { from, .. } => slot(from),
        Op::NumgenRandom { .. } => Dependence::Packet,
        _ => Dependence::Effect,
    }
}

/// What a slot's value depends on.
fn of_slot(slot: Slot, tables: &Tables) -> Dependence {
    let Some(key) = tables.keys().get(usize::from(slot.0)) else {
        return Dependence::Packet;
    };
    let constant = match &key.source {
        Source::Work { .. } => true,
        Source::Payload { base, bit_offset } => {
            is_of_flow(&key.requires, *base, *bit_offset, key.bits)
        }
        Source::Meta { key } => matches!(
            key,
            Meta::Protocol
                | Meta::Nfproto
                | Meta::L4proto
                | Meta::Iif
                | Meta::Iifname
                | Meta::Iiftype
                | Meta::Iifgroup
                | Meta::Iifkind
                | Meta::Oif
                | Meta::Oifname
                | Meta::Oiftype
                | Meta::Oifgroup
                | Meta::Oifkind
                | Meta::Ibrname
                | Meta::Obrname
        ),
        _ => false,
    };
    let fresh = key.source.reads() & reads::FRESH != 0;
    if constant && !fresh {
        Dependence::Flow
    } else {
        Dependence::Packet
    }
}

/// Whether bits of a header are part of what makes a flow: addresses and protocol of an IPv4 or IPv6
/// header, and the first four bytes of the transport header.
fn is_of_flow(requires: &Requires, base: Base, offset: u16, bits: u16) -> bool {
    let within = |first: u16, last: u16| offset >= first && offset + bits <= last;
    match (base, requires) {
        (Base::Network, Requires::Network { ethertype: 0x0800 }) => {
            within(72, 80) || within(96, 160)
        }
        (Base::Network, Requires::Network { ethertype: 0x86dd }) => within(64, 320),
        (Base::Transport, _) => within(0, 32),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_dataplane::program::{CellId, CellKind, KeyDesc, Relation};

    #[test]
    fn ports_are_of_the_flow_and_lengths_of_the_packet() {
        let mut tables = Tables::new();
        let mut compare = |source, bits: u16| {
            let key = tables
                .key(KeyDesc {
                    source,
                    bits,
                    requires: Requires::Nothing,
                })
                .unwrap();
            let value = std::iter::repeat_n(0, usize::from(bits).div_ceil(32)).collect();
            let op = Op::Compare {
                key,
                relation: Relation::Eq,
                value,
            };
            dependence(&op, &tables)
        };
        let port = Source::Payload {
            base: Base::Transport,
            bit_offset: 16,
        };
        assert_eq!(compare(port, 16), Dependence::Flow);
        let flags = Source::Payload {
            base: Base::Transport,
            bit_offset: 104,
        };
        assert_eq!(compare(flags, 8), Dependence::Packet);
        assert_eq!(
            compare(Source::Meta { key: Meta::Length }, 32),
            Dependence::Packet
        );
        assert_eq!(
            compare(Source::Meta { key: Meta::Iifname }, 128),
            Dependence::Flow
        );
    }

    #[test]
    fn cells_are_effects() {
        let mut tables = Tables::new();
        tables.cell(CellKind::Limit);
        assert_eq!(
            dependence(&Op::Cell { cell: CellId(0) }, &tables),
            Dependence::Effect
        );
    }
}
