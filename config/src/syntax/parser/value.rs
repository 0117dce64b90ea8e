//! Keywords that are values or keys of `meta` where an expression stands.

use crate::syntax::ast::{Constant, MetaKey};
use crate::syntax::keyword::Kw;

/// Keys of `meta` that need no `meta` in front.
pub(super) fn unqualified_meta(kw: Kw) -> Option<MetaKey> {
    Some(match kw {
        Kw::Mark => MetaKey::Mark,
        Kw::Iif => MetaKey::Iif,
        Kw::Iifname => MetaKey::Iifname,
        Kw::Iiftype => MetaKey::Iiftype,
        Kw::Oif => MetaKey::Oif,
        Kw::Oifname => MetaKey::Oifname,
        Kw::Oiftype => MetaKey::Oiftype,
        Kw::Skuid => MetaKey::Skuid,
        Kw::Skgid => MetaKey::Skgid,
        Kw::Nftrace => MetaKey::Nftrace,
        Kw::Rtclassid => MetaKey::Rtclassid,
        Kw::Ibriport | Kw::Ibrname => MetaKey::Ibrname,
        Kw::Obriport | Kw::Obrname => MetaKey::Obrname,
        Kw::Pkttype => MetaKey::Pkttype,
        Kw::Cpu => MetaKey::Cpu,
        Kw::Iifgroup => MetaKey::Iifgroup,
        Kw::Oifgroup => MetaKey::Oifgroup,
        Kw::Cgroup => MetaKey::Cgroup,
        Kw::Time => MetaKey::Time,
        Kw::Day => MetaKey::Day,
        Kw::Hour => MetaKey::Hour,
        _ => return None,
    })
}

/// Keywords that are numbers of a fixed type on the right side.
pub(super) fn constant(kw: Kw) -> Option<Constant> {
    Some(match kw {
        Kw::Tcp => Constant::InetProto(6),
        Kw::Udp => Constant::InetProto(17),
        Kw::Udplite => Constant::InetProto(136),
        Kw::Esp => Constant::InetProto(50),
        Kw::Ah => Constant::InetProto(51),
        Kw::Icmp => Constant::InetProto(1),
        Kw::Igmp => Constant::InetProto(2),
        Kw::Icmpv6 => Constant::InetProto(58),
        Kw::Comp => Constant::InetProto(108),
        Kw::Dccp => Constant::InetProto(33),
        Kw::Sctp => Constant::InetProto(132),
        Kw::Redirect => Constant::IcmpType(5),
        _ => return None,
    })
}

/// Keywords that are words of some type too.
pub(super) fn is_word_value(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Ether
            | Kw::Ip
            | Kw::Ip6
            | Kw::Vlan
            | Kw::Arp
            | Kw::Dnat
            | Kw::Snat
            | Kw::Ecn
            | Kw::Reset
    )
}
