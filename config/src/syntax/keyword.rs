//! The words of the language, in the order in which nft's grammar declares them: complaints list what
//! was expected in that order.
//!
//! Most words are keywords only behind certain others (`saddr` behind `ip`, `rate` behind `limit`) and plain
//! names elsewhere. The parser asks for words by place, so this matters for two things: whether a word may
//! be a name, and how a complaint calls it.

use std::sync::LazyLock;

/// Where a word is a keyword: everywhere, or behind words that open a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope(u64);

impl Scope {
    /// No scope: where a parse begins.
    pub(super) const NONE: Scope = Scope(0);
    /// Keywords everywhere.
    const GLOBAL: Scope = Scope(1 << 63);
    /// Words that only sluice or later versions know: never in the way of a name.
    const NEVER: Scope = Scope(0);
    pub(super) const AH: Scope = Scope(1 << 0);
    pub(super) const ARP: Scope = Scope(1 << 1);
    pub(super) const AT: Scope = Scope(1 << 2);
    pub(super) const CHUNK: Scope = Scope(1 << 3);
    pub(super) const COMP: Scope = Scope(1 << 4);
    pub(super) const COUNTER: Scope = Scope(1 << 5);
    pub(super) const CT: Scope = Scope(1 << 6);
    pub(super) const DCCP: Scope = Scope(1 << 7);
    pub(super) const DST: Scope = Scope(1 << 8);
    pub(super) const DUP: Scope = Scope(1 << 9);
    pub(super) const ESP: Scope = Scope(1 << 10);
    pub(super) const ETH: Scope = Scope(1 << 11);
    pub(super) const EXPORT: Scope = Scope(1 << 12);
    pub(super) const FIB: Scope = Scope(1 << 13);
    pub(super) const FRAG: Scope = Scope(1 << 14);
    pub(super) const FWD: Scope = Scope(1 << 15);
    pub(super) const HASH: Scope = Scope(1 << 16);
    pub(super) const HBH: Scope = Scope(1 << 17);
    pub(super) const ICMP: Scope = Scope(1 << 18);
    pub(super) const IGMP: Scope = Scope(1 << 19);
    pub(super) const IMPORT: Scope = Scope(1 << 20);
    pub(super) const IP: Scope = Scope(1 << 21);
    pub(super) const IP6: Scope = Scope(1 << 22);
    pub(super) const IPSEC: Scope = Scope(1 << 23);
    pub(super) const LIMIT: Scope = Scope(1 << 24);
    pub(super) const LIST: Scope = Scope(1 << 25);
    pub(super) const LOG: Scope = Scope(1 << 26);
    pub(super) const META: Scope = Scope(1 << 27);
    pub(super) const MH: Scope = Scope(1 << 28);
    pub(super) const MONITOR: Scope = Scope(1 << 29);
    pub(super) const NAT: Scope = Scope(1 << 30);
    pub(super) const NUMGEN: Scope = Scope(1 << 31);
    pub(super) const OSF: Scope = Scope(1 << 32);
    pub(super) const POLICY: Scope = Scope(1 << 33);
    pub(super) const QUEUE: Scope = Scope(1 << 34);
    pub(super) const QUOTA: Scope = Scope(1 << 35);
    pub(super) const REJECT: Scope = Scope(1 << 36);
    pub(super) const RESET: Scope = Scope(1 << 37);
    pub(super) const RT: Scope = Scope(1 << 38);
    pub(super) const SCTP: Scope = Scope(1 << 39);
    pub(super) const SOCKET: Scope = Scope(1 << 40);
    pub(super) const SYNPROXY: Scope = Scope(1 << 41);
    pub(super) const TCP: Scope = Scope(1 << 42);
    pub(super) const TH: Scope = Scope(1 << 43);
    pub(super) const TPROXY: Scope = Scope(1 << 44);
    pub(super) const TYPE: Scope = Scope(1 << 45);
    pub(super) const UDP: Scope = Scope(1 << 46);
    pub(super) const UDPLITE: Scope = Scope(1 << 47);
    pub(super) const VLAN: Scope = Scope(1 << 48);

    pub(super) const fn or(self, other: Scope) -> Scope {
        Scope(self.0 | other.0)
    }

    const fn meets(self, active: Scope) -> bool {
        self.0 & (active.0 | Self::GLOBAL.0) != 0
    }
}

macro_rules! words {
    ($($variant:ident $word:literal $display:literal $($scope:ident)|+,)*) => {
        /// A word of the language.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(super) enum Kw { $($variant,)* }

        impl Kw {
            const ALL: &[Kw] = &[$(Kw::$variant,)*];
            const WORDS: &[&str] = &[$($word,)*];
            const DISPLAY: &[&str] = &[$($display,)*];
            const SCOPES: &[Scope] = &[$(Scope(0)$(.or(Scope::$scope))+,)*];
        }
    };
}

impl Kw {
    /// The word as it is written.
    pub(super) fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }

    /// The word as complaints call it.
    pub(super) fn display(self) -> &'static str {
        Self::DISPLAY[self as usize]
    }

    /// Whether it is a keyword where these scopes are open; otherwise it is a name.
    pub(super) fn reserved(self, active: Scope) -> bool {
        Self::SCOPES[self as usize].meets(active)
    }

    /// The keyword that a word is.
    pub(super) fn find(word: &[u8]) -> Option<Kw> {
        TABLE[slot(word)]
            .iter()
            .copied()
            .find(|kw| kw.word().as_bytes() == word)
    }
}

const SLOTS: usize = 1024;

static TABLE: LazyLock<Vec<Vec<Kw>>> = LazyLock::new(|| {
    let mut table = vec![Vec::new(); SLOTS];
    for &kw in Kw::ALL {
        table[slot(kw.word().as_bytes())].push(kw);
    }
    table
});

/// A cheap hash: a rule has ten words, a file a million.
fn slot(word: &[u8]) -> usize {
    let (Some(&first), Some(&last)) = (word.first(), word.last()) else {
        return 0;
    };
    let middle = word[word.len() / 2];
    (word.len() * 131 + first as usize * 31 + last as usize * 7 + middle as usize * 61) % SLOTS
}

words! {
    Eq "eq" "==" GLOBAL,
    Ne "ne" "!=" GLOBAL,
    Lt "lt" "<" GLOBAL,
    Gt "gt" ">" GLOBAL,
    Ge "ge" ">=" GLOBAL,
    Le "le" "<=" GLOBAL,
    Lshift "lshift" "<<" GLOBAL,
    Rshift "rshift" ">>" GLOBAL,
    And "and" "&" GLOBAL,
    Xor "xor" "^" GLOBAL,
    Not "not" "!" GLOBAL,
    Or "or" "'|'" GLOBAL,
    Vmap "vmap" "vmap" GLOBAL,
    Include "include" "include" GLOBAL,
    Define "define" "define" GLOBAL,
    Redefine "redefine" "redefine" GLOBAL,
    Undefine "undefine" "undefine" GLOBAL,
    Fib "fib" "fib" GLOBAL,
    Socket "socket" "socket" GLOBAL,
    Transparent "transparent" "transparent" SOCKET,
    Wildcard "wildcard" "wildcard" SOCKET,
    Cgroupv2 "cgroupv2" "cgroupv2" SOCKET,
    Tproxy "tproxy" "tproxy" GLOBAL,
    Osf "osf" "osf" GLOBAL,
    Synproxy "synproxy" "synproxy" GLOBAL,
    Mss "mss" "mss" TCP|SYNPROXY,
    Maxseg "maxseg" "mss" TCP|SYNPROXY,
    Wscale "wscale" "wscale" SYNPROXY,
    Typeof "typeof" "typeof" GLOBAL,
    Hook "hook" "hook" GLOBAL,
    Hooks "hooks" "hooks" LIST,
    Device "device" "device" GLOBAL,
    Devices "devices" "devices" GLOBAL,
    Table "table" "table" GLOBAL,
    Tables "tables" "tables" LIST|MONITOR,
    Chain "chain" "chain" GLOBAL,
    Chains "chains" "chains" LIST|MONITOR,
    Rule "rule" "rule" GLOBAL,
    Rules "rules" "rules" MONITOR,
    Sets "sets" "sets" LIST|MONITOR,
    Set "set" "set" GLOBAL,
    Element "element" "element" GLOBAL,
    Map "map" "map" GLOBAL,
    Maps "maps" "maps" LIST,
    Flowtable "flowtable" "flowtable" GLOBAL,
    Handle "handle" "handle" GLOBAL,
    Ruleset "ruleset" "ruleset" GLOBAL,
    Trace "trace" "trace" MONITOR,
    Inet "inet" "inet" GLOBAL,
    Netdev "netdev" "netdev" GLOBAL,
    Add "add" "add" GLOBAL,
    Update "update" "update" GLOBAL,
    Replace "replace" "replace" GLOBAL,
    Create "create" "create" GLOBAL,
    Insert "insert" "insert" GLOBAL,
    Delete "delete" "delete" GLOBAL,
    Get "get" "get" GLOBAL,
    List "list" "list" GLOBAL,
    Reset "reset" "reset" GLOBAL,
    Flush "flush" "flush" GLOBAL,
    Rename "rename" "rename" GLOBAL,
    Describe "describe" "describe" GLOBAL,
    Import "import" "import" GLOBAL,
    Export "export" "export" GLOBAL,
    Monitor "monitor" "monitor" GLOBAL,
    All "all" "all" GLOBAL,
    Accept "accept" "accept" GLOBAL,
    Drop "drop" "drop" GLOBAL,
    Continue "continue" "continue" GLOBAL,
    Jump "jump" "jump" GLOBAL,
    Goto "goto" "goto" GLOBAL,
    Return "return" "return" GLOBAL,
    To "to" "to" QUEUE|DUP|FWD|NAT|TPROXY|IP|IP6,
    Constant "constant" "constant" GLOBAL,
    Interval "interval" "interval" GLOBAL,
    Dynamic "dynamic" "dynamic" GLOBAL,
    AutoMerge "auto-merge" "auto-merge" GLOBAL,
    Timeout "timeout" "timeout" GLOBAL,
    GcInterval "gc-interval" "gc-interval" GLOBAL,
    Elements "elements" "elements" GLOBAL,
    Expires "expires" "expires" GLOBAL,
    Policy "policy" "policy" GLOBAL,
    Memory "memory" "memory" POLICY,
    Performance "performance" "performance" POLICY,
    Size "size" "size" GLOBAL,
    Flow "flow" "flow" GLOBAL,
    Offload "offload" "offload" GLOBAL,
    Meter "meter" "meter" GLOBAL,
    Meters "meters" "meters" LIST,
    Flowtables "flowtables" "flowtables" LIST,
    Ll "ll" "ll" AT,
    Nh "nh" "nh" AT,
    Th "th" "th" GLOBAL,
    Bridge "bridge" "bridge" GLOBAL,
    Ether "ether" "ether" GLOBAL,
    Saddr "saddr" "saddr" ARP|CT|ETH|IP|IP6|FIB|IPSEC,
    Daddr "daddr" "daddr" ARP|CT|ETH|IP|IP6|FIB|IPSEC,
    Type "type" "type" GLOBAL,
    Vlan "vlan" "vlan" GLOBAL,
    Id "id" "id" CT|FRAG|VLAN|IP|ICMP,
    Cfi "cfi" "cfi" VLAN,
    Dei "dei" "dei" VLAN,
    Pcp "pcp" "pcp" VLAN,
    Arp "arp" "arp" GLOBAL,
    Htype "htype" "htype" ARP,
    Ptype "ptype" "ptype" ARP,
    Hlen "hlen" "hlen" ARP,
    Plen "plen" "plen" ARP,
    Operation "operation" "operation" ARP,
    Ip "ip" "ip" GLOBAL,
    Version "version" "version" IP|IP6|OSF,
    Hdrlength "hdrlength" "hdrlength" AH|DST|HBH|MH|RT|IP,
    Dscp "dscp" "dscp" IP|IP6|TYPE,
    Ecn "ecn" "ecn" GLOBAL,
    Length "length" "length" UDP|IP|IP6|META|TCP|SCTP|CHUNK,
    FragOff "frag-off" "frag-off" FRAG|IP,
    Ttl "ttl" "ttl" OSF|IP,
    Protocol "protocol" "protocol" CT|IP|META|TYPE,
    Checksum "checksum" "checksum" MH|UDP|UDPLITE|ICMP|IGMP|IP|SCTP|TCP,
    Ptr "ptr" "ptr" IP,
    Value "value" "value" IP,
    Lsrr "lsrr" "lsrr" IP,
    Rr "rr" "rr" IP,
    Ssrr "ssrr" "ssrr" IP,
    Ra "ra" "ra" IP,
    Icmp "icmp" "icmp" GLOBAL,
    Code "code" "code" ICMP,
    Sequence "sequence" "seq" AH|ESP|ICMP|TCP,
    Gateway "gateway" "gateway" ICMP,
    Mtu "mtu" "mtu" ICMP|RT,
    Igmp "igmp" "igmp" GLOBAL,
    Mrt "mrt" "mrt" IGMP,
    Options "options" "options" IP|TCP,
    Ip6 "ip6" "ip6" GLOBAL,
    Priority "priority" "priority" GLOBAL,
    Flowlabel "flowlabel" "flowlabel" IP6,
    Nexthdr "nexthdr" "nexthdr" AH|COMP|DST|FRAG|HBH|MH|RT|IP6,
    Hoplimit "hoplimit" "hoplimit" IP6,
    Icmpv6 "icmpv6" "icmpv6" GLOBAL,
    ParamProblem "param-problem" "param-problem" ICMP,
    MaxDelay "max-delay" "max-delay" ICMP,
    Ah "ah" "ah" GLOBAL,
    Reserved "reserved" "reserved" AH|FRAG|MH|TCP,
    Spi "spi" "spi" AH|ESP|IPSEC,
    Esp "esp" "esp" GLOBAL,
    Comp "comp" "comp" GLOBAL,
    Flags "flags" "flags" GLOBAL,
    Cpi "cpi" "cpi" COMP,
    Port "port" "port" NAT,
    Udp "udp" "udp" GLOBAL,
    Sport "sport" "sport" DCCP|SCTP|TCP|TH|UDP|UDPLITE,
    Dport "dport" "dport" CT|DCCP|SCTP|TCP|TH|UDP|UDPLITE,
    Udplite "udplite" "udplite" GLOBAL,
    Csumcov "csumcov" "csumcov" UDPLITE,
    Tcp "tcp" "tcp" GLOBAL,
    Ackseq "ackseq" "ackseq" TCP,
    Doff "doff" "doff" TCP,
    Window "window" "window" TCP,
    Urgptr "urgptr" "urgptr" TCP,
    Option "option" "option" IP|TCP,
    Echo "echo" "echo" TCP,
    Eol "eol" "eol" TCP,
    Mptcp "mptcp" "mptcp" TCP,
    Nop "nop" "nop" TCP,
    Noop "noop" "nop" TCP,
    Sack "sack" "sack" TCP|CHUNK,
    Sack0 "sack0" "sack0" TCP,
    Sack1 "sack1" "sack1" TCP,
    Sack2 "sack2" "sack2" TCP,
    Sack3 "sack3" "sack3" TCP,
    SackPermitted "sack-permitted" "sack-permitted" TCP|SYNPROXY,
    SackPerm "sack-perm" "sack-permitted" TCP|SYNPROXY,
    Fastopen "fastopen" "fastopen" TCP,
    Md5sig "md5sig" "md5sig" TCP,
    Timestamp "timestamp" "timestamp" TCP|SYNPROXY,
    Count "count" "count" TCP|CT,
    Left "left" "left" TCP,
    Right "right" "right" TCP,
    Tsval "tsval" "tsval" TCP,
    Tsecr "tsecr" "tsecr" TCP,
    Subtype "subtype" "subtype" TCP,
    Dccp "dccp" "dccp" GLOBAL,
    Sctp "sctp" "sctp" GLOBAL,
    Chunk "chunk" "chunk" SCTP,
    Data "data" "data" CHUNK,
    Init "init" "init" CHUNK,
    InitAck "init-ack" "init-ack" CHUNK,
    Heartbeat "heartbeat" "heartbeat" CHUNK,
    HeartbeatAck "heartbeat-ack" "heartbeat-ack" CHUNK,
    Abort "abort" "abort" CHUNK,
    Shutdown "shutdown" "shutdown" CHUNK,
    ShutdownAck "shutdown-ack" "shutdown-ack" CHUNK,
    Error "error" "error" CHUNK,
    CookieEcho "cookie-echo" "cookie-echo" CHUNK,
    CookieAck "cookie-ack" "cookie-ack" CHUNK,
    Ecne "ecne" "ecne" CHUNK,
    Cwr "cwr" "cwr" CHUNK,
    ShutdownComplete "shutdown-complete" "shutdown-complete" CHUNK,
    AsconfAck "asconf-ack" "asconf-ack" CHUNK,
    ForwardTsn "forward-tsn" "forward-tsn" CHUNK,
    Asconf "asconf" "asconf" CHUNK,
    Tsn "tsn" "tsn" CHUNK,
    Stream "stream" "stream" CHUNK,
    Ssn "ssn" "ssn" CHUNK,
    Ppid "ppid" "ppid" CHUNK,
    InitTag "init-tag" "init-tag" CHUNK,
    ARwnd "a-rwnd" "a-rwnd" CHUNK,
    NumOutboundStreams "num-outbound-streams" "num-outbound-streams" CHUNK,
    NumInboundStreams "num-inbound-streams" "num-inbound-streams" CHUNK,
    InitialTsn "initial-tsn" "initial-tsn" CHUNK,
    CumTsnAck "cum-tsn-ack" "cum-tsn-ack" CHUNK,
    NumGapAckBlocks "num-gap-ack-blocks" "num-gap-ack-blocks" CHUNK,
    NumDupTsns "num-dup-tsns" "num-dup-tsns" CHUNK,
    LowestTsn "lowest-tsn" "lowest-tsn" CHUNK,
    Seqno "seqno" "seqno" CHUNK,
    NewCumTsn "new-cum-tsn" "new-cum-tsn" CHUNK,
    Vtag "vtag" "vtag" SCTP,
    Rt "rt" "rt" GLOBAL,
    Rt0 "rt0" "rt0" GLOBAL,
    Rt2 "rt2" "rt2" GLOBAL,
    Srh "srh" "srh" GLOBAL,
    SegLeft "seg-left" "seg-left" RT,
    Addr "addr" "addr" RT|NAT|IP|IP6,
    LastEntry "last-entry" "last-entry" RT,
    Tag "tag" "tag" RT,
    Sid "sid" "sid" RT,
    Hbh "hbh" "hbh" GLOBAL,
    Frag "frag" "frag" GLOBAL,
    Reserved2 "reserved2" "reserved2" FRAG,
    MoreFragments "more-fragments" "more-fragments" FRAG,
    Dst "dst" "dst" GLOBAL,
    Mh "mh" "mh" GLOBAL,
    Meta "meta" "meta" GLOBAL,
    Mark "mark" "mark" GLOBAL,
    Iif "iif" "iif" GLOBAL,
    Iifname "iifname" "iifname" GLOBAL,
    Iiftype "iiftype" "iiftype" GLOBAL,
    Oif "oif" "oif" GLOBAL,
    Oifname "oifname" "oifname" GLOBAL,
    Oiftype "oiftype" "oiftype" GLOBAL,
    Skuid "skuid" "skuid" GLOBAL,
    Skgid "skgid" "skgid" GLOBAL,
    Nftrace "nftrace" "nftrace" GLOBAL,
    Rtclassid "rtclassid" "rtclassid" GLOBAL,
    Ibriport "ibriport" "ibriport" GLOBAL,
    Obriport "obriport" "obriport" GLOBAL,
    Ibrname "ibrname" "ibrname" GLOBAL,
    Obrname "obrname" "obrname" GLOBAL,
    Pkttype "pkttype" "pkttype" GLOBAL,
    Cpu "cpu" "cpu" GLOBAL,
    Iifgroup "iifgroup" "iifgroup" GLOBAL,
    Oifgroup "oifgroup" "oifgroup" GLOBAL,
    Cgroup "cgroup" "cgroup" GLOBAL,
    Time "time" "time" GLOBAL,
    Classid "classid" "classid" RT|TYPE,
    Nexthop "nexthop" "nexthop" RT,
    Ct "ct" "ct" GLOBAL,
    L3proto "l3proto" "l3proto" CT,
    ProtoSrc "proto-src" "proto-src" CT,
    ProtoDst "proto-dst" "proto-dst" CT,
    Zone "zone" "zone" CT,
    Direction "direction" "direction" CT,
    Event "event" "event" CT,
    Expectation "expectation" "expectation" CT,
    Expiration "expiration" "expiration" CT,
    Helper "helper" "helper" CT,
    Label "label" "label" CT,
    State "state" "state" CT,
    Status "status" "status" CT,
    Original "original" "original" CT,
    Reply "reply" "reply" CT,
    Counter "counter" "counter" GLOBAL,
    Name "name" "name" COUNTER|LIMIT|QUOTA|SYNPROXY|OSF,
    Packets "packets" "packets" COUNTER|CT|LIMIT,
    Bytes "bytes" "bytes" COUNTER|CT|LIMIT|QUOTA,
    Avgpkt "avgpkt" "avgpkt" CT,
    Counters "counters" "counters" LIST|RESET,
    Quotas "quotas" "quotas" LIST|RESET,
    Limits "limits" "limits" LIST,
    Synproxys "synproxys" "synproxys" LIST,
    Helpers "helpers" "helpers" CT,
    Log "log" "log" GLOBAL,
    Prefix "prefix" "prefix" LOG|NAT|IP|IP6,
    Group "group" "group" LOG|IGMP,
    Snaplen "snaplen" "snaplen" LOG,
    QueueThreshold "queue-threshold" "queue-threshold" LOG,
    Level "level" "level" LOG|SOCKET,
    Limit "limit" "limit" GLOBAL,
    Rate "rate" "rate" LIMIT,
    Burst "burst" "burst" LIMIT,
    Over "over" "over" CT|LIMIT|QUOTA,
    Until "until" "until" QUOTA,
    Quota "quota" "quota" GLOBAL,
    Used "used" "used" QUOTA,
    Secmark "secmark" "secmark" GLOBAL,
    Secmarks "secmarks" "secmarks" LIST,
    Second "second" "second" LIMIT,
    Minute "minute" "minute" LIMIT,
    Hour "hour" "hour" GLOBAL,
    Day "day" "day" GLOBAL,
    Week "week" "week" LIMIT,
    Reject "reject" "reject" GLOBAL,
    With "with" "with" REJECT,
    Icmpx "icmpx" "icmpx" REJECT,
    Snat "snat" "snat" GLOBAL,
    Dnat "dnat" "dnat" GLOBAL,
    Masquerade "masquerade" "masquerade" GLOBAL,
    Redirect "redirect" "redirect" GLOBAL,
    Random "random" "random" GLOBAL,
    FullyRandom "fully-random" "fully-random" NAT,
    Persistent "persistent" "persistent" NAT,
    Queue "queue" "queue" GLOBAL,
    Num "num" "num" QUEUE,
    Bypass "bypass" "bypass" QUEUE,
    Fanout "fanout" "fanout" QUEUE,
    Dup "dup" "dup" GLOBAL,
    Fwd "fwd" "fwd" GLOBAL,
    Numgen "numgen" "numgen" GLOBAL,
    Inc "inc" "inc" NUMGEN,
    Mod "mod" "mod" HASH|NUMGEN,
    Offset "offset" "offset" HASH|NUMGEN,
    Jhash "jhash" "jhash" GLOBAL,
    Symhash "symhash" "symhash" GLOBAL,
    Seed "seed" "seed" HASH,
    Position "position" "position" GLOBAL,
    Index "index" "index" GLOBAL,
    Comment "comment" "comment" GLOBAL,
    Xml "xml" "xml" EXPORT|IMPORT|MONITOR,
    Json "json" "json" EXPORT|IMPORT|MONITOR,
    Vm "vm" "vm" EXPORT|IMPORT|MONITOR,
    Notrack "notrack" "notrack" GLOBAL,
    Exists "exists" "exists" GLOBAL,
    Missing "missing" "missing" GLOBAL,
    Exthdr "exthdr" "exthdr" GLOBAL,
    Ipsec "ipsec" "ipsec" GLOBAL,
    Reqid "reqid" "reqid" IPSEC,
    Spnum "spnum" "spnum" IPSEC,
    In "in" "in" IPSEC,
    Out "out" "out" IPSEC,
    Destroy "destroy" "destroy" NEVER,
    Last "last" "last" NEVER,
    Vxlan "vxlan" "vxlan" NEVER,
    Geneve "geneve" "geneve" NEVER,
    Gre "gre" "gre" NEVER,
    Gretap "gretap" "gretap" NEVER,
    Nat64 "nat64" "nat64" NEVER,
    Siit "siit" "siit" NEVER,
    Snpt "snpt" "snpt" NEVER,
    Dnpt "dnpt" "dnpt" NEVER,
    Ipset "ipset" "ipset" NEVER,
}

/// Where numbers and strings stand in the order of declaration: behind this word.
pub(super) const BEFORE_LITERALS: Kw = Kw::Flowtables;
