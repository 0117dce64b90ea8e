//! What the keywords of `meta`, `ct`, `rt`, `socket` and options load: types and sizes.

use super::super::datatype::{ByteOrder, TypeId};
use crate::syntax::ast::{
    CtKey, ExtField, IpOptionField, IpOptionKind, MetaKey, SctpChunkField, SctpChunkKind,
    TcpOption, TcpOptionField, TcpOptionKind,
};

/// Type, size and byte order of a `meta` key.
pub(crate) fn meta(key: MetaKey) -> (TypeId, u16, ByteOrder) {
    use MetaKey as M;
    let (ty, bits) = match key {
        M::Length | M::Cpu | M::Cgroup | M::Random => (TypeId::Integer, 32),
        M::Protocol | M::Ibrvproto => return (TypeId::EtherType, 16, ByteOrder::Big),
        M::Priority => (TypeId::ClassId, 32),
        M::Mark => (TypeId::Mark, 32),
        M::Iif | M::Oif | M::Sdif => (TypeId::IfIndex, 32),
        M::Iifname | M::Oifname | M::Ibrname | M::Obrname | M::Sdifname => (TypeId::IfName, 128),
        M::Iiftype | M::Oiftype => (TypeId::IfType, 16),
        M::Skuid => (TypeId::Uid, 32),
        M::Skgid => (TypeId::Gid, 32),
        M::Nftrace | M::Broute => (TypeId::Integer, 1),
        M::Rtclassid => (TypeId::Realm, 32),
        M::Secmark => (TypeId::Integer, 32),
        M::Nfproto => (TypeId::NfProto, 8),
        M::L4proto => return (TypeId::InetProto, 8, ByteOrder::Big),
        M::Ibrpvid => (TypeId::Integer, 16),
        M::Ibrhwaddr => return (TypeId::EtherAddr, 48, ByteOrder::Big),
        M::Pkttype => (TypeId::PktType, 8),
        M::Iifgroup | M::Oifgroup => (TypeId::DevGroup, 32),
        M::Ipsec => (TypeId::Boolean, 1),
        M::Iifkind | M::Oifkind => (TypeId::IfKind, 128),
        M::Time => (TypeId::MetaTime, 64),
        M::Day => (TypeId::Day, 8),
        M::Hour => (TypeId::Hour, 32),
    };
    (ty, bits, ByteOrder::Host)
}

/// Type, size and byte order of a `ct` key, addresses and ports aside.
pub(crate) fn ct(key: CtKey) -> (TypeId, u16, ByteOrder) {
    use CtKey as C;
    let (ty, bits) = match key {
        C::State => (TypeId::CtState, 32),
        C::Direction => (TypeId::CtDir, 8),
        C::Status => (TypeId::CtStatus, 32),
        C::Mark => (TypeId::Mark, 32),
        C::Expiration => (TypeId::Time, 32),
        C::Helper => (TypeId::String, 128),
        C::L3proto => (TypeId::NfProto, 8),
        C::Protocol => return (TypeId::InetProto, 8, ByteOrder::Big),
        C::Saddr | C::Daddr => return (TypeId::Ipv4Addr, 32, ByteOrder::Big),
        C::IpSaddr | C::IpDaddr => return (TypeId::Ipv4Addr, 32, ByteOrder::Big),
        C::Ip6Saddr | C::Ip6Daddr => return (TypeId::Ipv6Addr, 128, ByteOrder::Big),
        C::ProtoSrc | C::ProtoDst => return (TypeId::InetService, 16, ByteOrder::Big),
        C::Label => (TypeId::CtLabel, 128),
        C::Event => (TypeId::CtEvent, 32),
        C::Secmark | C::Id => (TypeId::Integer, 32),
        C::Bytes | C::Packets | C::Avgpkt => (TypeId::Integer, 64),
        C::Zone => (TypeId::Integer, 16),
    };
    (ty, bits, ByteOrder::Host)
}

/// Whether a `ct` key may, must (`Some(true)`) or cannot have a direction.
pub(crate) fn ct_needs_direction(key: CtKey) -> Option<bool> {
    use CtKey as C;
    match key {
        C::Saddr
        | C::Daddr
        | C::IpSaddr
        | C::IpDaddr
        | C::Ip6Saddr
        | C::Ip6Daddr
        | C::ProtoSrc
        | C::ProtoDst => Some(true),
        C::L3proto | C::Protocol | C::Bytes | C::Packets | C::Avgpkt | C::Zone => None,
        _ => Some(false),
    }
}

/// Type of a field of an IPv6 extension header.
pub(crate) fn ext_field(field: ExtField) -> TypeId {
    use ExtField as F;
    match field {
        F::HbhNexthdr | F::RtNexthdr | F::FragNexthdr | F::DstNexthdr | F::MhNexthdr => {
            TypeId::InetProto
        }
        F::Rt0Addr | F::Rt2Addr | F::SrhSid => TypeId::Ipv6Addr,
        F::MhType => TypeId::MhType,
        _ => TypeId::Integer,
    }
}

/// Bit offset and size of a field of a TCP option; None where the kind has no such field.
pub(crate) fn tcp_option(option: TcpOption) -> Option<(u64, u64)> {
    use TcpOptionField as F;
    use TcpOptionKind as K;
    Some(match (option.kind, option.field) {
        (K::Eol | K::Nop, F::Exists) => (0, 8),
        (_, F::Exists) => (0, 8),
        (K::Eol | K::Nop, F::Length) => return None,
        (_, F::Length) => (8, 8),
        (K::Maxseg, F::Size) => (16, 16),
        (K::Window, F::Count) => (16, 8),
        (K::Sack(n), F::Left) => (16 + 64 * u64::from(n), 32),
        (K::Sack(n), F::Right) => (48 + 64 * u64::from(n), 32),
        (K::Timestamp | K::Echo, F::Tsval) => (16, 32),
        (K::Timestamp | K::Echo, F::Tsecr) => (48, 32),
        (K::Mptcp, F::Subtype) => (16, 4),
        (_, F::Raw { offset, length }) => (offset, length),
        _ => return None,
    })
}

/// A TCP option written by number or place under the names that nft has for them, where it has any.
pub(crate) fn named_tcp_option(option: TcpOption) -> TcpOption {
    use TcpOptionField as F;
    use TcpOptionKind as K;
    let K::Number(number) = option.kind else {
        return option;
    };
    let (kind, fields): (_, &[F]) = match number {
        0 => (K::Eol, &[]),
        1 => (K::Nop, &[]),
        2 => (K::Maxseg, &[F::Length, F::Size]),
        3 => (K::Window, &[F::Length, F::Count]),
        4 => (K::SackPerm, &[F::Length]),
        5 => (K::Sack(0), &[F::Length, F::Left, F::Right]),
        8 => (K::Timestamp, &[F::Length, F::Tsval, F::Tsecr]),
        19 => (K::Md5sig, &[F::Length]),
        30 => (K::Mptcp, &[F::Length, F::Subtype]),
        34 => (K::Fastopen, &[F::Length]),
        _ => return option,
    };
    let F::Raw { .. } = option.field else {
        return TcpOption { kind, ..option };
    };
    let blocks = if number == 5 { 0..=3 } else { 0..=0 };
    let kinds = blocks.map(|block| match kind {
        K::Sack(_) => K::Sack(block),
        other => other,
    });
    let named = kinds.flat_map(|kind| fields.iter().map(move |&field| TcpOption { kind, field }));
    let place = tcp_option(option);
    let mut there = named.filter(|named| tcp_option(*named) == place);
    there.next().unwrap_or(option)
}

/// Kind number, bit offset, size and type of a field of an IPv4 option.
pub(crate) fn ip_option(kind: IpOptionKind, field: IpOptionField) -> Option<(u16, u16, TypeId)> {
    use IpOptionField as F;
    Some(match field {
        F::Type => (0, 8, TypeId::Integer),
        F::Length => (8, 8, TypeId::Integer),
        F::Value if kind == IpOptionKind::Ra => (16, 16, TypeId::Integer),
        F::Ptr if kind != IpOptionKind::Ra => (16, 8, TypeId::Integer),
        F::Addr if kind != IpOptionKind::Ra => (24, 32, TypeId::Integer),
        _ => return None,
    })
}

/// Number of an IPv4 option on the wire.
pub(crate) fn ip_option_number(kind: IpOptionKind) -> u8 {
    match kind {
        IpOptionKind::Lsrr => 131,
        IpOptionKind::Rr => 7,
        IpOptionKind::Ssrr => 137,
        IpOptionKind::Ra => 148,
    }
}

/// Number of an SCTP chunk on the wire.
pub(crate) fn sctp_chunk_number(kind: SctpChunkKind) -> u8 {
    use SctpChunkKind as K;
    match kind {
        K::Data => 0,
        K::Init => 1,
        K::InitAck => 2,
        K::Sack => 3,
        K::Heartbeat => 4,
        K::HeartbeatAck => 5,
        K::Abort => 6,
        K::Shutdown => 7,
        K::ShutdownAck => 8,
        K::Error => 9,
        K::CookieEcho => 10,
        K::CookieAck => 11,
        K::Ecne => 12,
        K::Cwr => 13,
        K::ShutdownComplete => 14,
        K::AsconfAck => 0x80,
        K::ForwardTsn => 0xc0,
        K::Asconf => 0xc1,
    }
}

/// Bit offset and size of a field of an SCTP chunk.
pub(crate) fn sctp_field(field: SctpChunkField) -> (u16, u16) {
    use SctpChunkField as F;
    match field {
        F::Type => (0, 8),
        F::Flags => (8, 8),
        F::Length => (16, 16),
        F::Tsn | F::InitTag | F::CumTsnAck | F::LowestTsn | F::Seqno | F::NewCumTsn => (32, 32),
        F::Stream => (64, 16),
        F::Ssn => (80, 16),
        F::Ppid => (96, 32),
        F::ARwnd => (64, 32),
        F::NumOutboundStreams | F::NumGapAckBlocks => (96, 16),
        F::NumInboundStreams | F::NumDupTsns => (112, 16),
        F::InitialTsn => (128, 32),
    }
}
