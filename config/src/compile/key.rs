//! Selectors: what an expression loads from a packet, as a key of the program.
//!
//! The protocol that a header needs is part of the key, so that `tcp dport 22` is one instruction.

use sluice_dataplane::program::{
    self as vm, Base, Direction, Exthdr, FibResult, KeyDesc, Meta, Requires, Source,
};

use super::error::Cause;
use crate::model::expr;
use crate::model::expr::{
    Ct, CtDir, CtKey, Expr, ExprKind, ExthdrName, Fib, MetaKey, PayloadBase, Requirement, RtKey,
};

/// The key that an expression loads; `None` when it is computed.
pub(super) fn key_of(expr: &Expr) -> Result<Option<KeyDesc>, Cause> {
    let key = match &expr.kind {
        ExprKind::Payload(payload) => KeyDesc {
            source: Source::Payload {
                base: base(payload.base),
                bit_offset: payload.offset,
            },
            bits: payload.bits,
            requires: requires(&payload.requires),
        },
        ExprKind::Exthdr(exthdr) => exthdr_key(exthdr),
        ExprKind::Meta(key) => {
            let (key, bits) = meta(*key)?;
            KeyDesc {
                source: Source::Meta { key },
                bits,
                requires: Requires::Nothing,
            }
        }
        ExprKind::Ct(ct) => {
            let (key, bits) = ct_key(ct.key)?;
            let source = Source::Ct {
                key,
                direction: direction(*ct),
            };
            KeyDesc {
                source,
                bits,
                requires: Requires::Nothing,
            }
        }
        ExprKind::Rt(key) => rt_key(*key)?,
        ExprKind::Fib(fib) => fib_key(*fib),
        ExprKind::Socket(_) => return Err(Cause::unsupported("socket")),
        ExprKind::Osf(_) => return Err(Cause::unsupported("osf")),
        _ => return Ok(None),
    };
    Ok(Some(key))
}

pub(super) fn base(base: PayloadBase) -> Base {
    match base {
        PayloadBase::Link => Base::Link,
        PayloadBase::Network => Base::Network,
        PayloadBase::Transport => Base::Transport,
        PayloadBase::Inner => Base::Inner,
    }
}

/// The EtherType of a family of IP.
fn ethertype_of(nfproto: u8) -> Option<u16> {
    match nfproto {
        2 => Some(0x0800),
        10 => Some(0x86dd),
        3 => Some(0x0806),
        _ => None,
    }
}

/// What a requirement asks of the packet, where a key can carry it.
fn carried(requirement: &Requirement) -> (Option<u16>, Option<u8>) {
    match requirement {
        Requirement::EtherType(ethertype @ (0x0800 | 0x86dd | 0x0806)) => (Some(*ethertype), None),
        Requirement::NfProto(family) => (ethertype_of(*family), None),
        Requirement::L4Proto(protocol) => (None, Some(*protocol)),
        // Tags, device types and ICMP types stay matches of their own.
        Requirement::EtherType(_)
        | Requirement::VlanType(_)
        | Requirement::IfType(_)
        | Requirement::IcmpType(_) => (None, None),
    }
}

/// Requirements that a key carries.
pub(super) fn requires(list: &[Requirement]) -> Requires {
    let (mut network, mut transport) = (None, None);
    for requirement in list {
        let (ethertype, protocol) = carried(requirement);
        network = network.or(ethertype);
        transport = transport.or(protocol);
    }
    match (network, transport) {
        (None, None) => Requires::Nothing,
        (Some(ethertype), None) => Requires::Network { ethertype },
        (None, Some(protocol)) => Requires::Transport { protocol },
        (Some(ethertype), Some(protocol)) => Requires::Both {
            ethertype,
            protocol,
        },
    }
}

/// Whether a key with this requirement loads only where the implied match holds.
///
/// The match is one that the checker put in: `meta nfproto`, `meta protocol` or `meta l4proto`
/// equal to a number.
pub(super) fn guards(requires: &Requires, key: MetaKey, value: u128) -> bool {
    let (network, transport) = match requires {
        Requires::Nothing => (None, None),
        Requires::Network { ethertype } => (Some(*ethertype), None),
        Requires::Transport { protocol } => (None, Some(*protocol)),
        Requires::Both {
            ethertype,
            protocol,
        } => (Some(*ethertype), Some(*protocol)),
    };
    let network = network.map(u128::from);
    match key {
        MetaKey::Nfproto => {
            let wanted = u8::try_from(value).ok().and_then(ethertype_of);
            wanted.is_some() && network == wanted.map(u128::from)
        }
        MetaKey::Protocol => network == Some(value),
        MetaKey::L4proto => transport.map(u128::from) == Some(value),
        _ => false,
    }
}

fn exthdr_key(exthdr: &expr::Exthdr) -> KeyDesc {
    let (kind, guarded) = exthdr_kind(exthdr);
    // Whether an option is there can be asked of any packet; a header of the network layer only of
    // a packet of that layer, as nft compiles it.
    let requires = if exthdr.present && !guarded {
        Requires::Nothing
    } else {
        requires(&exthdr.requires)
    };
    KeyDesc {
        source: Source::Exthdr {
            kind,
            number: exthdr.kind,
            bit_offset: exthdr.offset,
            exists: exthdr.present,
        },
        bits: if exthdr.present { 8 } else { exthdr.bits },
        requires,
    }
}

/// Kind of searched header, and whether asking for its presence needs its network layer.
pub(super) fn exthdr_kind(exthdr: &expr::Exthdr) -> (Exthdr, bool) {
    match exthdr.name {
        ExthdrName::Ip6(_) => (Exthdr::Ip6, true),
        ExthdrName::Ip(_) => (Exthdr::Ip, true),
        ExthdrName::Tcp(_) => (Exthdr::Tcp, false),
        ExthdrName::Sctp(_) => (Exthdr::Sctp, false),
        ExthdrName::Dccp(_) => (Exthdr::Dccp, false),
    }
}

fn meta(key: MetaKey) -> Result<(Meta, u16), Cause> {
    Ok(match key {
        MetaKey::Length => (Meta::Length, 32),
        MetaKey::Protocol => (Meta::Protocol, 16),
        MetaKey::Nfproto => (Meta::Nfproto, 8),
        MetaKey::L4proto => (Meta::L4proto, 8),
        MetaKey::Mark => (Meta::Mark, 32),
        MetaKey::Priority => (Meta::Priority, 32),
        MetaKey::Pkttype => (Meta::Pkttype, 8),
        MetaKey::Random => (Meta::Random, 32),
        MetaKey::Time => (Meta::Time, 64),
        MetaKey::Day => (Meta::Day, 8),
        MetaKey::Hour => (Meta::Hour, 32),
        MetaKey::Iif => (Meta::Iif, 32),
        MetaKey::Iifname => (Meta::Iifname, 128),
        MetaKey::Iiftype => (Meta::Iiftype, 16),
        MetaKey::Iifgroup => (Meta::Iifgroup, 32),
        MetaKey::Iifkind => (Meta::Iifkind, 128),
        MetaKey::Oif => (Meta::Oif, 32),
        MetaKey::Oifname => (Meta::Oifname, 128),
        MetaKey::Oiftype => (Meta::Oiftype, 16),
        MetaKey::Oifgroup => (Meta::Oifgroup, 32),
        MetaKey::Oifkind => (Meta::Oifkind, 128),
        MetaKey::Ibrname => (Meta::Ibrname, 128),
        MetaKey::Obrname => (Meta::Obrname, 128),
        MetaKey::Ibrpvid => (Meta::Ibrpvid, 16),
        MetaKey::Ibrvproto => (Meta::Ibrvproto, 16),
        MetaKey::Ibrhwaddr => (Meta::Ibrhwaddr, 48),
        MetaKey::Cpu => (Meta::Cpu, 32),
        MetaKey::Nftrace => (Meta::Nftrace, 8),
        // Local sockets, security modules, xfrm and VRFs are not there.
        MetaKey::Skuid
        | MetaKey::Skgid
        | MetaKey::Cgroup
        | MetaKey::Rtclassid
        | MetaKey::Secmark
        | MetaKey::Ipsec
        | MetaKey::Sdif
        | MetaKey::Sdifname
        | MetaKey::Broute => {
            return Err(Cause::unsupported(format!("meta {}", key.keyword())));
        }
    })
}

/// A key of the connection and its width.
pub(super) fn ct_key(key: CtKey) -> Result<(vm::CtKey, u16), Cause> {
    use sluice_dataplane::program::CtKey as To;
    Ok(match key {
        CtKey::State => (To::State, 32),
        CtKey::Direction => (To::Direction, 8),
        CtKey::Status => (To::Status, 32),
        CtKey::Mark => (To::Mark, 32),
        CtKey::Expiration => (To::Expiration, 32),
        CtKey::Helper => (To::Helper, 128),
        CtKey::L3proto => (To::L3proto, 8),
        CtKey::Protocol => (To::Protocol, 8),
        CtKey::Saddr => (To::Src, 128),
        CtKey::Daddr => (To::Dst, 128),
        CtKey::IpSaddr => (To::SaddrIp, 32),
        CtKey::IpDaddr => (To::DaddrIp, 32),
        CtKey::Ip6Saddr => (To::SaddrIp6, 128),
        CtKey::Ip6Daddr => (To::DaddrIp6, 128),
        CtKey::ProtoSrc => (To::ProtoSrc, 16),
        CtKey::ProtoDst => (To::ProtoDst, 16),
        CtKey::Label => (To::Label, 128),
        CtKey::Event => (To::Event, 32),
        CtKey::Id => (To::Id, 32),
        CtKey::Bytes => (To::Bytes, 64),
        CtKey::Packets => (To::Packets, 64),
        CtKey::Avgpkt => (To::Avgpkt, 64),
        CtKey::Zone => (To::Zone, 16),
        CtKey::Secmark => return Err(Cause::unsupported("ct secmark")),
    })
}

pub(super) fn direction(ct: Ct) -> Option<Direction> {
    ct.dir.map(|dir| match dir {
        CtDir::Original => Direction::Original,
        CtDir::Reply => Direction::Reply,
    })
}

fn rt_key(key: RtKey) -> Result<KeyDesc, Cause> {
    let (key, bits) = match key {
        RtKey::ClassId => return Err(Cause::unsupported("rt classid")),
        RtKey::NextHop | RtKey::NextHopIp => (vm::RtKey::Nexthop4, 32),
        RtKey::NextHopIp6 => (vm::RtKey::Nexthop6, 128),
        RtKey::Mtu => (vm::RtKey::Mtu, 16),
        RtKey::Ipsec => return Err(Cause::unsupported("rt ipsec")),
    };
    Ok(KeyDesc {
        source: Source::Rt { key },
        bits,
        requires: Requires::Nothing,
    })
}

fn fib_key(fib: Fib) -> KeyDesc {
    let present = fib.result == expr::FibResult::Present;
    let flags = u8::from(fib.saddr)
        | u8::from(fib.daddr) << 1
        | u8::from(fib.mark) << 2
        | u8::from(fib.iif) << 3
        | u8::from(fib.oif) << 4
        | u8::from(present) << 5;
    let (result, bits) = match fib.result {
        expr::FibResult::Present => (FibResult::Oif, 8),
        expr::FibResult::Oif => (FibResult::Oif, 32),
        expr::FibResult::OifName => (FibResult::Oifname, 128),
        expr::FibResult::Type => (FibResult::Type, 32),
    };
    KeyDesc {
        source: Source::Fib { result, flags },
        bits,
        requires: Requires::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_become_part_of_the_key() {
        let both = requires(&[Requirement::NfProto(2), Requirement::L4Proto(1)]);
        assert_eq!(
            both,
            Requires::Both {
                ethertype: 0x0800,
                protocol: 1
            }
        );
        assert!(guards(&both, MetaKey::Nfproto, 2));
        assert!(guards(&both, MetaKey::Protocol, 0x0800));
        assert!(guards(&both, MetaKey::L4proto, 1));
        assert!(!guards(&both, MetaKey::L4proto, 6));
        assert!(!guards(&both, MetaKey::Nfproto, 10));
        assert!(!guards(&Requires::Nothing, MetaKey::Nfproto, 99));
    }

    #[test]
    fn a_tag_is_not_part_of_a_key() {
        assert_eq!(
            requires(&[Requirement::EtherType(0x8100)]),
            Requires::Nothing
        );
    }
}
