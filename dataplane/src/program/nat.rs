//! Translation statements: what they say is decided for the flows that their packets begin.
//!
//! As in the kernel (`nft_nat`, `nft_masq`, `nft_redir`) a statement ends its chain for the packets that it
//! translates, and says nothing to those of the other family of a table of family `inet`.

use super::key::Slot;
use super::lanes::lanes;
use super::op::{NatKind, RuleRef};
use super::vm::Run;
use crate::drop_reason::DropReason;
use crate::gateway::{Address, Gateway};
use crate::nat::decide::decide;
use crate::nat::{Filtering, Mapping, Side, Wanted};
use crate::packet::headers::ethertype;

/// Bits of [`Op::Nat`](super::op::Op::Nat)'s flags: the kernel's `NF_NAT_RANGE_*`, and above them those of
/// the extensions.
pub mod flags {
    /// Addresses are given.
    pub const MAP_IPS: u32 = 1;
    /// Ports are given.
    pub const PROTO_SPECIFIED: u32 = 1 << 1;
    /// `random`.
    pub const PROTO_RANDOM: u32 = 1 << 2;
    /// `persistent`.
    pub const PERSISTENT: u32 = 1 << 3;
    /// `fully-random`.
    pub const PROTO_RANDOM_FULLY: u32 = 1 << 4;
    /// `prefix`: host bits stay.
    pub const NETMAP: u32 = 1 << 6;
    /// `endpoint-independent` mapping.
    pub const ENDPOINT_INDEPENDENT: u32 = 1 << 16;
    /// ... with filtering by address.
    pub const FILTER_ADDRESS: u32 = 1 << 17;
    /// ... with filtering by address and port.
    pub const FILTER_ADDRESS_PORT: u32 = 1 << 18;
}

/// `NFPROTO_IPV4` and `NFPROTO_IPV6`, as the statement's family is told.
const FAMILIES: [(u8, u16); 2] = [(2, ethertype::IP), (10, ethertype::IP6)];

/// A translation statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Statement {
    pub(super) kind: NatKind,
    /// 2 ip, 10 ip6, 0 both.
    pub(super) family: u8,
    /// First and last address.
    pub(super) addresses: [Option<Slot>; 2],
    /// First and last port.
    pub(super) ports: [Option<Slot>; 2],
    pub(super) flags: u32,
}

impl Statement {
    fn side(&self) -> Side {
        match self.kind {
            NatKind::Snat | NatKind::Masquerade => Side::Source,
            NatKind::Dnat | NatKind::Redirect => Side::Destination,
        }
    }

    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn mapping(&self) -> Mapping {
        if !self.has(flags::ENDPOINT_INDEPENDENT) {
            return Mapping::Overloaded;
        }
        Mapping::EndpointIndependent(if self.has(flags::FILTER_ADDRESS_PORT) {
            Filtering::AddressPort
        } else if self.has(flags::FILTER_ADDRESS) {
            Filtering::Address
        } else {
            Filtering::EndpointIndependent
        })
    }

    /// Whether it speaks to packets of this EtherType.
    fn concerns(&self, kind: u16) -> bool {
        let own = FAMILIES.iter().find(|(family, _)| *family == self.family);
        own.is_none_or(|(_, ethertype)| *ethertype == kind)
    }
}

impl Run<'_, '_> {
    /// Translates; yields the lanes that the statement does not concern, which go on, and those that have
    /// come to the end of their chain.
    pub(super) fn translate(&mut self, statement: &Statement, rule: RuleRef, m: u64) -> (u64, u64) {
        if self.translator.is_none() || self.tracker.is_none() {
            self.vm.packets.end(m, DropReason::EngineMissing, rule);
            return (0, m);
        }
        let slots = statement.addresses.iter().chain(&statement.ports).flatten();
        let m = slots.fold(m, |m, slot| self.key(*slot, m));
        let (mut on, mut over) = (0, 0);
        for lane in lanes(m) {
            let bit = 1 << lane;
            if !statement.concerns(self.vm.packets.headers[lane].ethertype) {
                on |= bit;
            } else if self.translate_one(statement, lane) {
                over |= bit;
            } else {
                self.vm.packets.end(bit, DropReason::NatExhausted, rule);
                over |= bit;
            }
        }
        self.vm.forget(super::key::reads::CT, over);
        (on, over)
    }

    /// Decides for the flow of a lane; `false` when it cannot be.
    fn translate_one(&mut self, statement: &Statement, lane: usize) -> bool {
        let Some(addresses) = self.addresses(statement, lane) else {
            return false;
        };
        let chance = self.vm.chance();
        let wanted = Wanted {
            side: statement.side(),
            addresses,
            ports: self.ports(statement, lane),
            random: statement.has(flags::PROTO_RANDOM | flags::PROTO_RANDOM_FULLY),
            persistent: statement.has(flags::PERSISTENT),
            netmap: statement.has(flags::NETMAP),
            mapping: statement.mapping(),
        };
        let flow = self.vm.packets.ct[lane].flow;
        let now_ns = self.context.now_ns;
        let (Some(tracker), Some(translator)) = (self.tracker.as_deref_mut(), self.translator)
        else {
            return false;
        };
        let engines = (tracker, translator);
        decide(engines, (lane, flow), &wanted, (now_ns, chance)).is_ok()
    }

    fn ports(&self, statement: &Statement, lane: usize) -> Option<(u16, u16)> {
        let port = |slot: Slot| self.vm.columns[self.first_column(slot)][lane] as u16;
        let first = port(statement.ports[0]?);
        let last = statement.ports[1].map_or(first, port);
        // A range whose ends are values of the packet may be the wrong way round.
        Some((first.min(last), first.max(last)))
    }

    /// The addresses that are wanted, if others than the packet's; `None` outside when the port that they
    /// come from has none.
    #[expect(
        clippy::option_option,
        reason = "none wanted and none there are two things"
    )]
    fn addresses(
        &self,
        statement: &Statement,
        lane: usize,
    ) -> Option<Option<([u8; 16], [u8; 16])>> {
        let alone = |address: Address| Some(Some((bytes(address), bytes(address))));
        match statement.kind {
            NatKind::Snat | NatKind::Dnat => {
                let Some(first) = statement.addresses[0] else {
                    return Some(None);
                };
                let last = statement.addresses[1].unwrap_or(first);
                let (first, last) = (self.address(first, lane), self.address(last, lane));
                Some(Some((first.min(last), first.max(last))))
            }
            NatKind::Masquerade => {
                let packets = &self.vm.packets;
                let port = self.routes()?.port(packets.out_ports[lane])?;
                alone(port.source_for(packets.next_hops[lane])?)
            }
            NatKind::Redirect => {
                let packets = &self.vm.packets;
                let four = packets.headers[lane].ethertype == ethertype::IP;
                let port = self.routes()?.port(packets.in_ports[lane])?;
                let mut own = port.addresses.iter().map(|(address, _)| *address);
                let own = own.find(|address| address.is_v4() == four);
                alone(own.or_else(|| (!four).then(|| port.link_local()))?)
            }
        }
    }

    fn routes(&self) -> Option<&Gateway> {
        self.generation.ports().gateway().map(|gateway| &**gateway)
    }

    /// A value of one word is an IPv4 address, one of four an IPv6 address.
    fn address(&self, slot: Slot, lane: usize) -> [u8; 16] {
        let (first, count) = self.columns_of(slot);
        let mut address = [0; 16];
        for (index, word) in address.chunks_exact_mut(4).take(count).enumerate() {
            word.copy_from_slice(&self.vm.columns[first + index][lane].to_be_bytes());
        }
        address
    }
}

/// An address as tuples have it.
fn bytes(address: Address) -> [u8; 16] {
    if !address.is_v4() {
        return address.octets6();
    }
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address.octets4());
    bytes
}
