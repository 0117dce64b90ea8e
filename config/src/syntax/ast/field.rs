//! The fields and keys that expressions name, each with nft's keyword and, for headers, its place.
//!
//! One line a field: the parser, the printer and the compiler all read it here. Offsets and lengths are
//! in bits from the start of the field's header, in network order.

/// Declares an enum whose members have keywords.
macro_rules! keywords {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "`.")] $(#[$vmeta])* $variant,)*
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// nft's keyword.
            #[must_use]
            pub fn keyword(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// The one with that keyword.
            #[must_use]
            pub fn from_keyword(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

/// Declares an enum of header fields with their place.
macro_rules! fields {
    ($(#[$meta:meta])* $name:ident of $header:ident {
        $($variant:ident = $proto:ident $word:literal $offset:literal $length:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $(#[doc = concat!("`", $word, "` of ", stringify!($proto), ": ", $length, " bits at ", $offset, ".")] $variant,)*
        }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The header that it is in.
            #[must_use]
            pub fn header(self) -> $header {
                match self { $($name::$variant => $header::$proto,)* }
            }

            /// nft's keyword, without the header's; ARP addresses have two words.
            #[must_use]
            pub fn keyword(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// Offset in the header, in bits.
            #[must_use]
            pub fn offset_bits(self) -> u32 {
                match self { $($name::$variant => $offset,)* }
            }

            /// Length in bits.
            #[must_use]
            pub fn length_bits(self) -> u32 {
                match self { $($name::$variant => $length,)* }
            }

            /// The field of that header with that keyword.
            #[must_use]
            pub fn find(header: $header, word: &str) -> Option<Self> {
                match (header, word) { $(($header::$proto, $word) => Some($name::$variant),)* _ => None }
            }
        }
    };
}

keywords! {
    /// A header that has fields.
    Header {
        Ether = "ether",
        Vlan = "vlan",
        Arp = "arp",
        Ip = "ip",
        Icmp = "icmp",
        Igmp = "igmp",
        Ip6 = "ip6",
        Icmpv6 = "icmpv6",
        Ah = "ah",
        Esp = "esp",
        Comp = "comp",
        Udp = "udp",
        Udplite = "udplite",
        Tcp = "tcp",
        Dccp = "dccp",
        Sctp = "sctp",
        /// Whatever transport header there is; only its ports.
        Th = "th",
        Vxlan = "vxlan",
        Geneve = "geneve",
        Gre = "gre",
    }
}

fields! {
    /// A field of a header.
    HeaderField of Header {
        EtherDaddr = Ether "daddr" 0 48,
        EtherSaddr = Ether "saddr" 48 48,
        EtherType = Ether "type" 96 16,
        VlanPcp = Vlan "pcp" 0 3,
        VlanDei = Vlan "dei" 3 1,
        VlanCfi = Vlan "cfi" 3 1,
        VlanId = Vlan "id" 4 12,
        VlanType = Vlan "type" 16 16,
        ArpHtype = Arp "htype" 0 16,
        ArpPtype = Arp "ptype" 16 16,
        ArpHlen = Arp "hlen" 32 8,
        ArpPlen = Arp "plen" 40 8,
        ArpOperation = Arp "operation" 48 16,
        ArpSaddrEther = Arp "saddr ether" 64 48,
        ArpSaddrIp = Arp "saddr ip" 112 32,
        ArpDaddrEther = Arp "daddr ether" 144 48,
        ArpDaddrIp = Arp "daddr ip" 192 32,
        IpVersion = Ip "version" 0 4,
        IpHdrlength = Ip "hdrlength" 4 4,
        IpDscp = Ip "dscp" 8 6,
        IpEcn = Ip "ecn" 14 2,
        IpLength = Ip "length" 16 16,
        IpId = Ip "id" 32 16,
        IpFragOff = Ip "frag-off" 48 16,
        IpTtl = Ip "ttl" 64 8,
        IpProtocol = Ip "protocol" 72 8,
        IpChecksum = Ip "checksum" 80 16,
        IpSaddr = Ip "saddr" 96 32,
        IpDaddr = Ip "daddr" 128 32,
        IcmpType = Icmp "type" 0 8,
        IcmpCode = Icmp "code" 8 8,
        IcmpChecksum = Icmp "checksum" 16 16,
        IcmpId = Icmp "id" 32 16,
        IcmpSequence = Icmp "sequence" 48 16,
        IcmpGateway = Icmp "gateway" 32 32,
        IcmpMtu = Icmp "mtu" 48 16,
        IgmpType = Igmp "type" 0 8,
        IgmpMrt = Igmp "mrt" 8 8,
        IgmpChecksum = Igmp "checksum" 16 16,
        IgmpGroup = Igmp "group" 32 32,
        Ip6Version = Ip6 "version" 0 4,
        Ip6Dscp = Ip6 "dscp" 4 6,
        Ip6Ecn = Ip6 "ecn" 10 2,
        Ip6Flowlabel = Ip6 "flowlabel" 12 20,
        Ip6Length = Ip6 "length" 32 16,
        Ip6Nexthdr = Ip6 "nexthdr" 48 8,
        Ip6Hoplimit = Ip6 "hoplimit" 56 8,
        Ip6Saddr = Ip6 "saddr" 64 128,
        Ip6Daddr = Ip6 "daddr" 192 128,
        Icmpv6Type = Icmpv6 "type" 0 8,
        Icmpv6Code = Icmpv6 "code" 8 8,
        Icmpv6Checksum = Icmpv6 "checksum" 16 16,
        Icmpv6ParameterProblem = Icmpv6 "parameter-problem" 32 32,
        Icmpv6PacketTooBig = Icmpv6 "packet-too-big" 32 32,
        Icmpv6Id = Icmpv6 "id" 32 16,
        Icmpv6Sequence = Icmpv6 "sequence" 48 16,
        Icmpv6MaxDelay = Icmpv6 "max-delay" 32 16,
        Icmpv6Taddr = Icmpv6 "taddr" 64 128,
        Icmpv6Daddr = Icmpv6 "daddr" 192 128,
        AhNexthdr = Ah "nexthdr" 0 8,
        AhHdrlength = Ah "hdrlength" 8 8,
        AhReserved = Ah "reserved" 16 16,
        AhSpi = Ah "spi" 32 32,
        AhSequence = Ah "sequence" 64 32,
        EspSpi = Esp "spi" 0 32,
        EspSequence = Esp "sequence" 32 32,
        CompNexthdr = Comp "nexthdr" 0 8,
        CompFlags = Comp "flags" 8 8,
        CompCpi = Comp "cpi" 16 16,
        UdpSport = Udp "sport" 0 16,
        UdpDport = Udp "dport" 16 16,
        UdpLength = Udp "length" 32 16,
        UdpChecksum = Udp "checksum" 48 16,
        UdpliteSport = Udplite "sport" 0 16,
        UdpliteDport = Udplite "dport" 16 16,
        UdpliteCsumcov = Udplite "csumcov" 32 16,
        UdpliteChecksum = Udplite "checksum" 48 16,
        TcpSport = Tcp "sport" 0 16,
        TcpDport = Tcp "dport" 16 16,
        TcpSequence = Tcp "sequence" 32 32,
        TcpAckseq = Tcp "ackseq" 64 32,
        TcpDoff = Tcp "doff" 96 4,
        TcpReserved = Tcp "reserved" 100 4,
        TcpFlags = Tcp "flags" 104 8,
        TcpWindow = Tcp "window" 112 16,
        TcpChecksum = Tcp "checksum" 128 16,
        TcpUrgptr = Tcp "urgptr" 144 16,
        DccpSport = Dccp "sport" 0 16,
        DccpDport = Dccp "dport" 16 16,
        DccpType = Dccp "type" 67 4,
        SctpSport = Sctp "sport" 0 16,
        SctpDport = Sctp "dport" 16 16,
        SctpVtag = Sctp "vtag" 32 32,
        SctpChecksum = Sctp "checksum" 64 32,
        ThSport = Th "sport" 0 16,
        ThDport = Th "dport" 16 16,
        VxlanFlags = Vxlan "flags" 0 8,
        VxlanVni = Vxlan "vni" 32 24,
        GeneveVni = Geneve "vni" 32 24,
        GeneveType = Geneve "type" 16 16,
        GreFlags = Gre "flags" 0 5,
        GreVersion = Gre "version" 13 3,
        GreProtocol = Gre "protocol" 16 16,
    }
}

keywords! {
    /// IPv6 extension headers.
    ExtProto {
        Hbh = "hbh",
        Rt = "rt",
        Rt0 = "rt0",
        Rt2 = "rt2",
        Srh = "srh",
        Frag = "frag",
        Dst = "dst",
        Mh = "mh",
    }
}

fields! {
    /// A field of an IPv6 extension header. Of a list (`addr`, `sid`), the place of its first entry.
    ExtField of ExtProto {
        HbhNexthdr = Hbh "nexthdr" 0 8,
        HbhHdrlength = Hbh "hdrlength" 8 8,
        RtNexthdr = Rt "nexthdr" 0 8,
        RtHdrlength = Rt "hdrlength" 8 8,
        RtType = Rt "type" 16 8,
        RtSegLeft = Rt "seg-left" 24 8,
        Rt0Addr = Rt0 "addr" 64 128,
        Rt2Addr = Rt2 "addr" 64 128,
        SrhLastEntry = Srh "last-entry" 32 8,
        SrhFlags = Srh "flags" 40 8,
        SrhTag = Srh "tag" 48 16,
        SrhSid = Srh "sid" 64 128,
        FragNexthdr = Frag "nexthdr" 0 8,
        FragReserved = Frag "reserved" 8 8,
        FragFragOff = Frag "frag-off" 16 13,
        FragReserved2 = Frag "reserved2" 29 2,
        FragMoreFragments = Frag "more-fragments" 31 1,
        FragId = Frag "id" 32 32,
        DstNexthdr = Dst "nexthdr" 0 8,
        DstHdrlength = Dst "hdrlength" 8 8,
        MhNexthdr = Mh "nexthdr" 0 8,
        MhHdrlength = Mh "hdrlength" 8 8,
        MhType = Mh "type" 16 8,
        MhReserved = Mh "reserved" 24 8,
        MhChecksum = Mh "checksum" 32 16,
    }
}

/// A use of an IPv6 extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExtHeader {
    /// `exthdr frag`: whether it is there.
    Exists(ExtProto),
    /// A field; the second member counts entries of a list from 1 as written, and is 1 otherwise.
    Field(ExtField, u64),
}

keywords! {
    /// What `meta` knows.
    MetaKey {
        Length = "length",
        Protocol = "protocol",
        Priority = "priority",
        Random = "random",
        Secmark = "secmark",
        Nfproto = "nfproto",
        L4proto = "l4proto",
        Mark = "mark",
        Iif = "iif",
        Iifname = "iifname",
        Iiftype = "iiftype",
        Oif = "oif",
        Oifname = "oifname",
        Oiftype = "oiftype",
        Skuid = "skuid",
        Skgid = "skgid",
        Nftrace = "nftrace",
        Rtclassid = "rtclassid",
        Ibrname = "ibrname",
        Obrname = "obrname",
        Pkttype = "pkttype",
        Cpu = "cpu",
        Iifgroup = "iifgroup",
        Oifgroup = "oifgroup",
        Cgroup = "cgroup",
        Ipsec = "ipsec",
        Iifkind = "iifkind",
        Oifkind = "oifkind",
        Ibrpvid = "ibrpvid",
        Ibrvproto = "ibrvproto",
        Ibrhwaddr = "ibrhwaddr",
        Time = "time",
        Day = "day",
        Hour = "hour",
        Sdif = "sdif",
        Sdifname = "sdifname",
        Broute = "broute",
    }
}

keywords! {
    /// What `ct` knows.
    CtKey {
        State = "state",
        Direction = "direction",
        Status = "status",
        Mark = "mark",
        Expiration = "expiration",
        Helper = "helper",
        L3proto = "l3proto",
        Protocol = "protocol",
        Saddr = "saddr",
        Daddr = "daddr",
        ProtoSrc = "proto-src",
        ProtoDst = "proto-dst",
        Label = "label",
        Event = "event",
        Secmark = "secmark",
        Id = "id",
        Bytes = "bytes",
        Packets = "packets",
        Avgpkt = "avgpkt",
        Zone = "zone",
        IpSaddr = "ip saddr",
        IpDaddr = "ip daddr",
        Ip6Saddr = "ip6 saddr",
        Ip6Daddr = "ip6 daddr",
    }
}

/// TCP option kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpOptionKind {
    /// `eol`, 0.
    Eol,
    /// `nop`, 1.
    Nop,
    /// `maxseg` or `mss`, 2.
    Maxseg,
    /// `window`, 3.
    Window,
    /// `sack-perm` or `sack-permitted`, 4.
    SackPerm,
    /// `sack`, 5, and its blocks: `sack0` is 0, as is `sack` alone.
    Sack(u8),
    /// `echo`, 8 as nft has it.
    Echo,
    /// `timestamp`, 8.
    Timestamp,
    /// `md5sig`, 19.
    Md5sig,
    /// `mptcp`, 30.
    Mptcp,
    /// `fastopen`, 34.
    Fastopen,
    /// By number.
    Number(u8),
}

impl TcpOptionKind {
    /// nft's keyword as it is listed; `None` for numbers.
    #[must_use]
    pub fn keyword(self) -> Option<&'static str> {
        Some(match self {
            TcpOptionKind::Eol => "eol",
            TcpOptionKind::Nop => "nop",
            TcpOptionKind::Maxseg => "maxseg",
            TcpOptionKind::Window => "window",
            TcpOptionKind::SackPerm => "sack-perm",
            TcpOptionKind::Sack(0) => "sack",
            TcpOptionKind::Sack(1) => "sack1",
            TcpOptionKind::Sack(2) => "sack2",
            TcpOptionKind::Sack(_) => "sack3",
            TcpOptionKind::Echo => "echo",
            TcpOptionKind::Timestamp => "timestamp",
            TcpOptionKind::Md5sig => "md5sig",
            TcpOptionKind::Mptcp => "mptcp",
            TcpOptionKind::Fastopen => "fastopen",
            TcpOptionKind::Number(_) => return None,
        })
    }

    /// The kind with that keyword, older spellings too.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        Some(match word {
            "eol" => TcpOptionKind::Eol,
            "nop" | "noop" => TcpOptionKind::Nop,
            "maxseg" | "mss" => TcpOptionKind::Maxseg,
            "window" => TcpOptionKind::Window,
            "sack-perm" | "sack-permitted" => TcpOptionKind::SackPerm,
            "sack" | "sack0" => TcpOptionKind::Sack(0),
            "sack1" => TcpOptionKind::Sack(1),
            "sack2" => TcpOptionKind::Sack(2),
            "sack3" => TcpOptionKind::Sack(3),
            "echo" => TcpOptionKind::Echo,
            "timestamp" => TcpOptionKind::Timestamp,
            "md5sig" => TcpOptionKind::Md5sig,
            "mptcp" => TcpOptionKind::Mptcp,
            "fastopen" => TcpOptionKind::Fastopen,
            _ => return None,
        })
    }

    /// The kind's number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            TcpOptionKind::Eol => 0,
            TcpOptionKind::Nop => 1,
            TcpOptionKind::Maxseg => 2,
            TcpOptionKind::Window => 3,
            TcpOptionKind::SackPerm => 4,
            TcpOptionKind::Sack(_) => 5,
            TcpOptionKind::Echo | TcpOptionKind::Timestamp => 8,
            TcpOptionKind::Md5sig => 19,
            TcpOptionKind::Mptcp => 30,
            TcpOptionKind::Fastopen => 34,
            TcpOptionKind::Number(number) => number,
        }
    }
}

/// A use of a TCP option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpOption {
    /// Which.
    pub kind: TcpOptionKind,
    /// What of it.
    pub field: TcpOptionField,
}

/// Fields of TCP options. Only those that the kind has are parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpOptionField {
    /// Nothing written: whether it is there.
    Exists,
    /// `length`.
    Length,
    /// `size` of `maxseg`.
    Size,
    /// `count` of `window`.
    Count,
    /// `left` of a `sack` block.
    Left,
    /// `right` of a `sack` block.
    Right,
    /// `tsval` of `timestamp`.
    Tsval,
    /// `tsecr` of `timestamp`.
    Tsecr,
    /// `subtype` of `mptcp`.
    Subtype,
    /// `@kind,offset,length`, in bits.
    Raw {
        /// From the start of the option.
        offset: u64,
        /// Length.
        length: u64,
    },
}

keywords! {
    /// IPv4 options.
    IpOptionKind {
        Lsrr = "lsrr",
        Rr = "rr",
        Ssrr = "ssrr",
        Ra = "ra",
    }
}

/// A use of an IPv4 option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpOption {
    /// Which.
    pub kind: IpOptionKind,
    /// What of it; `None`: whether it is there.
    pub field: Option<IpOptionField>,
}

keywords! {
    /// Fields of IPv4 options.
    IpOptionField {
        Type = "type",
        Length = "length",
        Value = "value",
        Ptr = "ptr",
        Addr = "addr",
    }
}

keywords! {
    /// SCTP chunk types.
    SctpChunkKind {
        Data = "data",
        Init = "init",
        InitAck = "init-ack",
        Sack = "sack",
        Heartbeat = "heartbeat",
        HeartbeatAck = "heartbeat-ack",
        Abort = "abort",
        Shutdown = "shutdown",
        ShutdownAck = "shutdown-ack",
        Error = "error",
        CookieEcho = "cookie-echo",
        CookieAck = "cookie-ack",
        Ecne = "ecne",
        Cwr = "cwr",
        ShutdownComplete = "shutdown-complete",
        AsconfAck = "asconf-ack",
        ForwardTsn = "forward-tsn",
        Asconf = "asconf",
    }
}

keywords! {
    /// Fields of SCTP chunks. Only those that the chunk has are parsed.
    SctpChunkField {
        Type = "type",
        Flags = "flags",
        Length = "length",
        Tsn = "tsn",
        Stream = "stream",
        Ssn = "ssn",
        Ppid = "ppid",
        InitTag = "init-tag",
        ARwnd = "a-rwnd",
        NumOutboundStreams = "num-outbound-streams",
        NumInboundStreams = "num-inbound-streams",
        InitialTsn = "initial-tsn",
        CumTsnAck = "cum-tsn-ack",
        NumGapAckBlocks = "num-gap-ack-blocks",
        NumDupTsns = "num-dup-tsns",
        LowestTsn = "lowest-tsn",
        Seqno = "seqno",
        NewCumTsn = "new-cum-tsn",
    }
}

impl SctpChunkKind {
    /// Whether chunks of this type have that field.
    #[must_use]
    pub fn has(self, field: SctpChunkField) -> bool {
        use SctpChunkField as F;
        match field {
            F::Type | F::Flags | F::Length => true,
            F::Tsn | F::Stream | F::Ssn | F::Ppid => self == Self::Data,
            F::InitTag | F::NumOutboundStreams | F::NumInboundStreams | F::InitialTsn => {
                matches!(self, Self::Init | Self::InitAck)
            }
            F::ARwnd => matches!(self, Self::Init | Self::InitAck | Self::Sack),
            F::CumTsnAck => matches!(self, Self::Sack | Self::Shutdown),
            F::NumGapAckBlocks | F::NumDupTsns => self == Self::Sack,
            F::LowestTsn => matches!(self, Self::Ecne | Self::Cwr),
            F::Seqno => matches!(self, Self::Asconf | Self::AsconfAck),
            F::NewCumTsn => self == Self::ForwardTsn,
        }
    }
}

/// A use of an SCTP chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SctpChunk {
    /// Which.
    pub kind: SctpChunkKind,
    /// What of it; `None`: whether it is there.
    pub field: Option<SctpChunkField>,
}

/// `dccp option N`: whether it is there (nft 1.0.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DccpOption {
    /// The option's type.
    pub option: u8,
}
