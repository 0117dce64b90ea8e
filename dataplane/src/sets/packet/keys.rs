//! The key of a set, made of a packet's facts.

use super::PacketMember;
use crate::program::{FactKind, Facts};
use crate::sets::hits::{Column, Lanes};
use crate::sets::{MAX_WORDS, Words};

/// How an address is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMask {
    /// Not at all.
    Whole,
    /// By these words.
    Words([u32; 4]),
}

/// One field of a member's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyField {
    /// An address of 1 or 4 words.
    Address {
        /// Which fact.
        fact: FactKind,
        /// How it is cut.
        mask: AddressMask,
        /// It is a network, and the key's field of this number: a packet adds it with the longest
        /// prefix that the set has.
        net: Option<u8>,
    },
    /// The number of an address or port in a bitmap.
    Number {
        /// Which fact.
        fact: FactKind,
        /// First number that can be in it.
        first: u32,
        /// Last number that can be in it.
        last: u32,
        /// Numbers of one element, as a power of two.
        shift: u8,
        /// Only of protocols with ports.
        port: bool,
    },
    /// Protocol and port in one word; type and code of ICMP.
    ProtocolPort {
        /// The port's fact.
        fact: FactKind,
        /// The number of the protocol of ICMP of the family.
        icmp: u8,
    },
    /// An Ethernet address.
    Mac {
        /// Which fact.
        fact: FactKind,
    },
    /// The mark, masked.
    Mark {
        /// Bits that count.
        mask: u32,
    },
    /// An interface: first 0 or 1, the bridge's flag, then its name.
    Iface {
        /// Which fact.
        fact: FactKind,
    },
}

impl KeyField {
    /// Words of a key that it takes.
    pub fn words(&self) -> usize {
        match self {
            Self::Address { fact, .. } => fact.columns(),
            Self::Mac { .. } => 2,
            Self::Iface { .. } => 5,
            _ => 1,
        }
    }
}

/// The key of a batch, made of facts.
pub(super) struct Keys {
    columns: [Column; MAX_WORDS],
    pub(super) count: usize,
}

/// The columns of a member's key, and the lanes that have all of its facts.
pub(super) fn keys(member: &PacketMember, facts: &Facts<'_>, lanes: u64) -> (Keys, u64) {
    let mut keys = Keys {
        columns: std::array::from_fn(|_| Column::default()),
        count: 0,
    };
    let mut able = lanes;
    for field in &member.fields {
        if able == 0 {
            break;
        }
        able &= keys.push(field, facts, able);
    }
    (keys, able)
}

/// Protocols with ports.
const PORTS: [u32; 4] = [6, 17, 132, 136];

impl Keys {
    fn next(&mut self) -> &mut Column {
        self.count += 1;
        &mut self.columns[self.count - 1]
    }

    /// Appends a field; yields the lanes that have it.
    fn push(&mut self, field: &KeyField, facts: &Facts<'_>, lanes: u64) -> u64 {
        match *field {
            KeyField::Address { fact, mask, .. } => {
                let (columns, able) = facts.get(fact);
                for (at, column) in columns.iter().enumerate() {
                    let mask = match mask {
                        AddressMask::Whole => u32::MAX,
                        AddressMask::Words(words) => words[at],
                    };
                    let to = self.next();
                    for lane in Lanes(lanes & able) {
                        to[lane] = column[lane] & mask;
                    }
                }
                able
            }
            KeyField::Number {
                fact,
                first,
                last,
                shift,
                port,
            } => {
                let (columns, mut able) = facts.get(fact);
                if port {
                    able &= with_ports(facts, lanes);
                }
                let Some(column) = columns.first() else {
                    return 0;
                };
                let mut inside = 0;
                let to = self.next();
                for lane in Lanes(lanes & able) {
                    let number = column[lane];
                    if (first..=last).contains(&number) {
                        to[lane] = (number - first) >> shift;
                        inside |= 1 << lane;
                    }
                }
                inside
            }
            KeyField::ProtocolPort { fact, icmp } => {
                self.protocol_port(facts, fact, u32::from(icmp), lanes)
            }
            KeyField::Mac { fact } | KeyField::Iface { fact } => {
                let (columns, able) = facts.get(fact);
                if matches!(field, KeyField::Iface { .. }) {
                    // The flag of the bridge: ports here are what a bridge's ports are.
                    self.next();
                }
                for column in columns {
                    *self.next() = (*column).clone();
                }
                able
            }
            KeyField::Mark { mask } => {
                let (columns, able) = facts.get(FactKind::Mark);
                let to = self.next();
                for column in columns {
                    for lane in Lanes(lanes & able) {
                        to[lane] = column[lane] & mask;
                    }
                }
                able
            }
        }
    }

    fn protocol_port(&mut self, facts: &Facts<'_>, fact: FactKind, icmp: u32, lanes: u64) -> u64 {
        let (protocols, known) = facts.get(FactKind::Protocol);
        let (ports, with_port) = facts.get(fact);
        let (messages, with_message) = facts.get(FactKind::IcmpMessage);
        let Some(protocols) = protocols.first() else {
            return 0;
        };
        let mut able = 0;
        let to = self.next();
        for lane in Lanes(lanes & known) {
            let protocol = protocols[lane];
            let (number, has) = if PORTS.contains(&protocol) {
                (ports.first(), with_port)
            } else if protocol == icmp {
                (messages.first(), with_message)
            } else {
                to[lane] = protocol << 16;
                able |= 1 << lane;
                continue;
            };
            if let Some(number) = number.filter(|_| has >> lane & 1 == 1) {
                to[lane] = protocol << 16 | number[lane];
                able |= 1 << lane;
            }
        }
        able
    }

    pub(super) fn refs(&self) -> [&Column; MAX_WORDS] {
        std::array::from_fn(|at| &self.columns[at])
    }

    pub(super) fn lane(&self, lane: usize) -> Words {
        self.columns[..self.count]
            .iter()
            .map(|column| column[lane])
            .collect()
    }
}

/// Lanes of protocols with ports that a bitmap of ports knows: TCP and UDP.
fn with_ports(facts: &Facts<'_>, lanes: u64) -> u64 {
    let (protocols, known) = facts.get(FactKind::Protocol);
    let Some(protocols) = protocols.first() else {
        return 0;
    };
    Lanes(lanes & known)
        .filter(|&lane| matches!(protocols[lane], 6 | 17))
        .fold(0, |all, lane| all | 1 << lane)
}
