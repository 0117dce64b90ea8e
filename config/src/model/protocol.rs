//! Types of header fields, and which header carries which.
//!
//! Places of fields are in [`crate::syntax::ast::HeaderField`]; here is what the model adds.

use super::datatype::{ByteOrder, TypeId};
use super::expr::PayloadBase;
use crate::syntax::ast::{Header, HeaderField};

/// Where a header lies.
pub fn base_of(header: Header) -> PayloadBase {
    match header {
        Header::Ether | Header::Vlan => PayloadBase::Link,
        Header::Arp | Header::Ip | Header::Ip6 => PayloadBase::Network,
        Header::Vxlan | Header::Geneve => PayloadBase::Inner,
        _ => PayloadBase::Transport,
    }
}

/// Type and byte order of a field.
pub fn type_of(field: HeaderField) -> (TypeId, ByteOrder) {
    use HeaderField as F;
    let ty = match field {
        F::EtherDaddr | F::EtherSaddr | F::ArpSaddrEther | F::ArpDaddrEther => TypeId::EtherAddr,
        F::EtherType | F::VlanType | F::ArpPtype | F::GreProtocol | F::GeneveType => {
            TypeId::EtherType
        }
        F::ArpOperation => TypeId::ArpOp,
        F::ArpSaddrIp | F::ArpDaddrIp | F::IpSaddr | F::IpDaddr => TypeId::Ipv4Addr,
        F::IpDscp | F::Ip6Dscp => TypeId::Dscp,
        F::IpEcn | F::Ip6Ecn => TypeId::Ecn,
        F::IpProtocol | F::Ip6Nexthdr | F::AhNexthdr | F::CompNexthdr => TypeId::InetProto,
        F::IcmpType => TypeId::IcmpType,
        F::IcmpCode => TypeId::IcmpCode,
        F::IgmpType => TypeId::IgmpType,
        F::Ip6Saddr | F::Ip6Daddr | F::Icmpv6Taddr | F::Icmpv6Daddr => TypeId::Ipv6Addr,
        F::Icmpv6Type => TypeId::Icmpv6Type,
        F::Icmpv6Code => TypeId::Icmpv6Code,
        F::CompFlags => TypeId::Bitmask,
        F::UdpSport
        | F::UdpDport
        | F::UdpliteSport
        | F::UdpliteDport
        | F::TcpSport
        | F::TcpDport
        | F::DccpSport
        | F::DccpDport
        | F::SctpSport
        | F::SctpDport
        | F::ThSport
        | F::ThDport => TypeId::InetService,
        F::TcpFlags => TypeId::TcpFlag,
        F::DccpType => TypeId::DccpPktType,
        _ => TypeId::Integer,
    };
    (ty, ByteOrder::Big)
}

/// The header's number in the field that announces it: an EtherType below a network header, a
/// protocol number below a transport header.
pub fn number_of(header: Header) -> Option<u16> {
    Some(match header {
        Header::Ip => 0x0800,
        Header::Arp => 0x0806,
        Header::Ip6 => 0x86dd,
        Header::Vlan => 0x8100,
        Header::Icmp => 1,
        Header::Igmp => 2,
        Header::Tcp => 6,
        Header::Udp => 17,
        Header::Dccp => 33,
        Header::Gre => 47,
        Header::Esp => 50,
        Header::Ah => 51,
        Header::Icmpv6 => 58,
        Header::Comp => 108,
        Header::Sctp => 132,
        Header::Udplite => 136,
        _ => return None,
    })
}

/// The transport header that a protocol number announces.
pub fn transport_of(number: u128) -> Option<Header> {
    const ALL: [Header; 12] = [
        Header::Icmp,
        Header::Igmp,
        Header::Tcp,
        Header::Udp,
        Header::Dccp,
        Header::Gre,
        Header::Esp,
        Header::Ah,
        Header::Icmpv6,
        Header::Comp,
        Header::Sctp,
        Header::Udplite,
    ];
    ALL.into_iter()
        .find(|h| number_of(*h).is_some_and(|n| u128::from(n) == number))
}

/// The header behind an EtherType.
pub fn network_of(ether_type: u128) -> Option<Header> {
    Some(match ether_type {
        0x0800 => Header::Ip,
        0x0806 => Header::Arp,
        0x86dd => Header::Ip6,
        0x8100 | 0x88a8 => Header::Vlan,
        _ => return None,
    })
}
