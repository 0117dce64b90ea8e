//! Keys: every value that a packet (or its way) has, and how it is loaded into columns.
//!
//! A value of `b` bits takes `ceil(b / 32)` columns, most significant word first, as a number in
//! host order. A key is loaded at most once a packet and forgotten when a statement writes what
//! it was read from ([`Source::reads`]).

use super::encoding::{index_type, plain_enum, tagged_enum};

index_type! {
    /// A slot of the key table: a key of the packet, or a work value of the program.
    Slot(u16);
}

plain_enum! {
    /// What a payload offset counts from.
    pub enum Base {
        /// First byte of the Ethernet header (tags included).
        Link = 0,
        /// First byte behind the link header and at most one tag: the network header.
        Network = 1,
        /// The transport header; absent for later fragments and broken IP headers.
        Transport = 2,
        /// What the transport header carries (`@ih`).
        Inner = 3,
    }
}

plain_enum! {
    /// A direction of a connection.
    pub enum Direction {
        /// As the first packet went.
        Original = 0,
        /// The other way.
        Reply = 1,
    }
}

impl Direction {
    /// The other one.
    #[inline]
    #[must_use]
    pub fn turned(self) -> Self {
        match self {
            Self::Original => Self::Reply,
            Self::Reply => Self::Original,
        }
    }
}

plain_enum! {
    /// A value of the packet that is not in its bytes. Width in bits behind each.
    pub enum Meta {
        /// Bytes from the network header on, with the link header at egress (32).
        Length = 0,
        /// EtherType behind at most one tag, as `meta protocol` (16).
        Protocol = 1,
        /// 2 ip, 10 ip6, 7 bridge, 5 netdev, 3 arp: of the chain, in inet of the packet (8).
        Nfproto = 2,
        /// Transport protocol behind extension headers (8).
        L4proto = 3,
        /// Packet mark (32).
        Mark = 4,
        /// Traffic class (32).
        Priority = 5,
        /// 0 host, 1 broadcast, 2 multicast, 3 otherhost (8).
        Pkttype = 6,
        /// A fresh random number at every load (32).
        Random = 7,
        /// Wall clock in nanoseconds since 1970 (64).
        Time = 8,
        /// Day of the week, 0 = Sunday, local time (8).
        Day = 9,
        /// Seconds since midnight, UTC as the kernel has it (32).
        Hour = 10,
        /// Index of the port in (32).
        Iif = 11,
        /// Name of the port in (128).
        Iifname = 12,
        /// ARPHRD type of the port in (16).
        Iiftype = 13,
        /// Group of the port in (32).
        Iifgroup = 14,
        /// Driver of the port in (128).
        Iifkind = 15,
        /// Index of the port out; 0 before the peer is looked up, and the name empty, as the kernel has it (32).
        Oif = 16,
        /// Name of the port out (128).
        Oifname = 17,
        /// ARPHRD type of the port out (16).
        Oiftype = 18,
        /// Group of the port out (32).
        Oifgroup = 19,
        /// Driver of the port out (128).
        Oifkind = 20,
        /// Name of the pair of the port in (128).
        Ibrname = 21,
        /// Name of the pair of the port out (128).
        Obrname = 22,
        /// Native VLAN of the port in (16).
        Ibrpvid = 23,
        /// VLAN protocol of the bridge of the port in (16).
        Ibrvproto = 24,
        /// MAC address of the bridge of the port in (48).
        Ibrhwaddr = 25,
        /// Number of the worker (32).
        Cpu = 26,
        /// Whether the packet is traced (8).
        Nftrace = 27,
    }
}

plain_enum! {
    /// A value of the packet's connection. Width in bits behind each.
    pub enum CtKey {
        /// State bits: invalid 1, established 2, related 4, new 8, untracked 64 (32).
        State = 0,
        /// 0 original, 1 reply (8).
        Direction = 1,
        /// Status bits (32).
        Status = 2,
        /// Connection mark (32).
        Mark = 3,
        /// Milliseconds until it expires (32).
        Expiration = 4,
        /// Name of the helper (128).
        Helper = 5,
        /// Connection label (128).
        Label = 6,
        /// Stable number (32).
        Id = 7,
        /// Zone (16).
        Zone = 8,
        /// Bytes so far (64).
        Bytes = 9,
        /// Packets so far (64).
        Packets = 10,
        /// Average bytes a packet (64).
        Avgpkt = 11,
        /// Network protocol, 2 or 10 (8).
        L3proto = 12,
        /// Transport protocol (8).
        Protocol = 13,
        /// IPv4 source (32).
        SaddrIp = 14,
        /// IPv4 destination (32).
        DaddrIp = 15,
        /// IPv6 source (128).
        SaddrIp6 = 16,
        /// IPv6 destination (128).
        DaddrIp6 = 17,
        /// Source port or ICMP id (16).
        ProtoSrc = 18,
        /// Destination port or ICMP type and code (16).
        ProtoDst = 19,
        /// Event mask (32).
        Event = 20,
        /// Source of either family, as the kernel's deprecated key has it (128).
        Src = 21,
        /// Destination of either family (128).
        Dst = 22,
    }
}

plain_enum! {
    /// What a fib look-up yields.
    pub enum FibResult {
        /// Index of the interface (32).
        Oif = 0,
        /// Name of the interface (128).
        Oifname = 1,
        /// RTN_* type: 1 unicast, 2 local, 3 broadcast, 4 anycast, 5 multicast (32).
        Type = 2,
    }
}

plain_enum! {
    /// A value of the packet's route.
    pub enum RtKey {
        /// Realm (32).
        Classid = 0,
        /// Next hop, IPv4 (32).
        Nexthop4 = 1,
        /// Next hop, IPv6 (128).
        Nexthop6 = 2,
        /// TCP maximum segment size of the route (16).
        Mtu = 3,
    }
}

plain_enum! {
    /// Headers that are searched by a type number.
    pub enum Exthdr {
        /// IPv6 extension header; the type is the next-header number.
        Ip6 = 0,
        /// TCP option; the type is the option kind.
        Tcp = 1,
        /// IPv4 option; the type is the option number.
        Ip = 2,
        /// SCTP chunk; the type is the chunk type.
        Sctp = 3,
        /// DCCP option; the type is the option number.
        Dccp = 4,
    }
}

tagged_enum! {
    /// Where a key comes from.
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    pub enum Source {
        /// Not from the packet: written by instructions. The number tells slots of the same
        /// width apart. Invalid in each lane until it is written; never kept between rules.
        Work = 0 {
            /// Tells work slots apart.
            number: u16,
        },
        /// Bits of the packet.
        Payload = 1 {
            /// Where the offset begins.
            base: Base,
            /// First bit, most significant first.
            bit_offset: u16,
        },
        /// A value beside the packet.
        Meta = 2 {
            /// Which one.
            key: Meta,
        },
        /// Bits of a searched header: absent when the header is.
        Exthdr = 3 {
            /// Kind of header.
            kind: Exthdr,
            /// Its type number.
            number: u8,
            /// First bit from the start of the header or option.
            bit_offset: u16,
            /// Load 1 or 0 for whether the header is there, instead of its bits. Always loads.
            exists: bool,
        },
        /// A value of the connection.
        Ct = 4 {
            /// Which one.
            key: CtKey,
            /// Of which direction, where it matters.
            direction: Option<Direction>,
        },
        /// A route look-up.
        Fib = 5 {
            /// What it yields.
            result: FibResult,
            /// Bits as NFTA_FIB_F_*: saddr 1, daddr 2, mark 4, iif 8, oif 16, present 32.
            flags: u8,
        },
        /// A value of the route.
        Rt = 6 {
            /// Which one.
            key: RtKey,
        },
    }
}

tagged_enum! {
    /// The protocols a packet must have for a key to load.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
    pub enum Requires {
        /// Nothing.
        #[default]
        Nothing = 0,
        /// This EtherType behind at most one tag (`meta protocol`): 0x0800, 0x86dd, 0x0806 ...
        Network = 1 {
            /// The EtherType.
            ethertype: u16,
        },
        /// This transport protocol over IPv4 or IPv6 (`meta l4proto`).
        Transport = 2 {
            /// The protocol number.
            protocol: u8,
        },
        /// Both.
        Both = 3 {
            /// The EtherType.
            ethertype: u16,
            /// The protocol number.
            protocol: u8,
        },
    }
}

/// Bits that say what a key was read from; writing it makes the key forgotten.
pub mod reads {
    /// Bytes of the frame.
    pub const PAYLOAD: u32 = 1;
    /// The packet mark.
    pub const MARK: u32 = 1 << 1;
    /// The traffic class.
    pub const PRIORITY: u32 = 1 << 2;
    /// The packet type.
    pub const PKTTYPE: u32 = 1 << 3;
    /// Whether the packet is traced.
    pub const NFTRACE: u32 = 1 << 4;
    /// The connection.
    pub const CT: u32 = 1 << 5;
    /// The port out.
    pub const OUT: u32 = 1 << 6;
    /// The hook and family of the chain.
    pub const HOOK: u32 = 1 << 7;
    /// The route.
    pub const ROUTE: u32 = 1 << 8;
    /// Something new at every look.
    pub const FRESH: u32 = 1 << 9;
    /// A work slot.
    pub const WORK: u32 = 1 << 10;
    /// The port in.
    pub const IN: u32 = 1 << 11;
    /// How many bits there are.
    pub const COUNT: usize = 12;
}

impl Source {
    /// What this is read from, as bits of [`reads`].
    pub fn reads(&self) -> u32 {
        match self {
            Self::Work { .. } => reads::WORK,
            Self::Payload { .. } | Self::Exthdr { .. } => reads::PAYLOAD,
            Self::Meta { key } => match key {
                Meta::Length | Meta::Nfproto => reads::HOOK | reads::PAYLOAD,
                Meta::Protocol | Meta::L4proto => reads::PAYLOAD,
                Meta::Mark => reads::MARK,
                Meta::Priority => reads::PRIORITY,
                Meta::Pkttype => reads::PKTTYPE,
                Meta::Random => reads::FRESH,
                Meta::Nftrace => reads::NFTRACE,
                Meta::Oif
                | Meta::Oifname
                | Meta::Oiftype
                | Meta::Oifgroup
                | Meta::Oifkind
                | Meta::Obrname => reads::OUT,
                Meta::Iif
                | Meta::Iifname
                | Meta::Iiftype
                | Meta::Iifgroup
                | Meta::Iifkind
                | Meta::Ibrname
                | Meta::Ibrpvid
                | Meta::Ibrvproto
                | Meta::Ibrhwaddr => reads::IN,
                Meta::Time | Meta::Day | Meta::Hour | Meta::Cpu => 0,
            },
            Self::Ct { .. } => reads::CT,
            Self::Fib { .. } => reads::PAYLOAD | reads::MARK | reads::OUT | reads::ROUTE,
            Self::Rt { .. } => reads::OUT | reads::ROUTE,
        }
    }
}

/// One key: what to load and how wide it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyDesc {
    /// Where it comes from.
    pub source: Source,
    /// Width in bits, 1 to 512.
    pub bits: u16,
    /// What the packet must be.
    pub requires: Requires,
}

impl Meta {
    /// Columns that a load of it fills.
    fn columns(self) -> usize {
        match self {
            Self::Time => 2,
            Self::Iifname
            | Self::Oifname
            | Self::Iifkind
            | Self::Oifkind
            | Self::Ibrname
            | Self::Obrname => 4,
            _ => 1,
        }
    }
}

impl KeyDesc {
    /// Whether what a load fills has room in it.
    pub(super) fn has_room(&self) -> bool {
        match self.source {
            Source::Meta { key } => self.columns() >= key.columns(),
            _ => true,
        }
    }

    /// Columns that the value takes.
    pub fn columns(&self) -> usize {
        usize::from(self.bits).div_ceil(32)
    }
}

impl super::encoding::Field for KeyDesc {
    fn put(&self, out: &mut Vec<u32>) {
        self.source.put(out);
        self.bits.put(out);
        self.requires.put(out);
    }

    fn get(from: &mut super::encoding::Words<'_>) -> Result<Self, super::encoding::Malformed> {
        Ok(Self {
            source: super::encoding::Field::get(from)?,
            bits: super::encoding::Field::get(from)?,
            requires: super::encoding::Field::get(from)?,
        })
    }
}
