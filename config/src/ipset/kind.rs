//! The set types: one row each, from which parser, help, listing and engine shape follow.

use super::option::Opt;

/// Address family of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    Inet,
    /// IPv6.
    Inet6,
    /// The type knows no addresses, or of both families.
    Unspec,
}

impl Family {
    /// ipset's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Inet6 => "inet6",
            Self::Unspec => "unspec",
        }
    }

    /// Bits of an address.
    pub fn bits(self) -> u8 {
        if self == Self::Inet6 { 128 } else { 32 }
    }

    /// Words of an address in a key.
    pub fn words(self) -> u8 {
        self.bits() / 32
    }
}

/// How an address is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One address only.
    Single,
    /// IPv4: an address, a network or a range; IPv6: one address.
    Hosts,
    /// An address, a network, or (IPv4 only) a range.
    Net,
}

/// One part of an element, in the order in which they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// An address; of `Form::Net` it is stored with a prefix length.
    Ip(Form),
    /// A port that stands alone in a bitmap.
    BarePort,
    /// A protocol and a port.
    Port,
    /// An Ethernet address.
    Mac,
    /// A packet mark.
    Mark,
    /// An interface.
    Iface,
    /// The name of a set.
    Name,
}

/// Which ranges a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// `a/n` for the first address.
    pub cidr: bool,
    /// `a-b` for the first address.
    pub to: bool,
    /// `p-q`.
    pub port_to: bool,
}

const NONE: Ranges = ranges(false, false, false);

const fn ranges(cidr: bool, to: bool, port_to: bool) -> Ranges {
    Ranges { cidr, to, port_to }
}

/// The types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the type of the same name")]
pub enum Kind {
    BitmapIp,
    BitmapIpMac,
    BitmapPort,
    HashIp,
    HashMac,
    HashIpMac,
    HashNet,
    HashNetNet,
    HashIpPort,
    HashNetPort,
    HashIpPortIp,
    HashIpPortNet,
    HashIpMark,
    HashNetPortNet,
    HashNetIface,
    ListSet,
}

/// Which families a type has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// Chosen by `family`.
    Both,
    /// IPv4.
    Inet,
    /// None.
    Neutral,
}

/// A row.
#[derive(Debug)]
pub struct Type {
    /// Which.
    pub kind: Kind,
    /// Its name.
    pub name: &'static str,
    /// The name of versions before 5.
    pub alias: &'static str,
    /// What each revision brought, newest first; the first is the one in use.
    pub revisions: &'static [&'static str],
    /// Families.
    pub families: Families,
    /// Parts of an element.
    pub parts: &'static [Part],
    /// The last part may be left out.
    pub last_optional: bool,
    /// Options of `create`, in the order of help and header.
    pub create: &'static [Opt],
    /// Those of `create` that must be given.
    pub mandatory: &'static [Opt],
    /// Options of `create` that help does not show.
    pub hidden: &'static [Opt],
    /// Options of `add`.
    pub add: &'static [Opt],
    /// Options of `del`.
    pub del: &'static [Opt],
    /// Options of `test`.
    pub test: &'static [Opt],
    /// Ranges that `add` and `del` take.
    pub changed: Ranges,
    /// Ranges that `test` takes.
    pub tested: Ranges,
}

use Opt::{
    After, Before, Bitmask, Bucketsize, Bytes, CommentFlag, CommentText, Counters, Family as Fam,
    Forceadd, From, Gc, Hashsize, Initval, Markmask, Maxelem, Netmask, Network, Nomatch, Packets,
    Probes, Range, Resize, Size, Skbinfo, Skbmark, Skbprio, Skbqueue, Timeout, To, Wildcard,
};

const BITMAP: &[Opt] = &[Range, Netmask, Timeout, Counters, CommentFlag, Skbinfo];
const BITMAP_PLAIN: &[Opt] = &[Range, Timeout, Counters, CommentFlag, Skbinfo];
const LEGACY_RANGE: &[Opt] = &[From, To, Network];
const LEGACY_HASH: &[Opt] = &[Probes, Resize, Gc];
const LEGACY_PORT: &[Opt] = &[Probes, Resize, From, To, Network];
const ADD: &[Opt] = &[
    Timeout,
    Packets,
    Bytes,
    CommentText,
    Skbmark,
    Skbprio,
    Skbqueue,
];
const ADD_NET: &[Opt] = &[
    Timeout,
    Nomatch,
    Packets,
    Bytes,
    CommentText,
    Skbmark,
    Skbprio,
    Skbqueue,
];
const ADD_IFACE: &[Opt] = &[
    Timeout,
    Nomatch,
    Wildcard,
    Packets,
    Bytes,
    CommentText,
    Skbmark,
    Skbprio,
    Skbqueue,
];
const ADD_LIST: &[Opt] = &[
    Timeout,
    Before,
    After,
    Packets,
    Bytes,
    CommentText,
    Skbmark,
    Skbprio,
    Skbqueue,
];
const HASH: &[Opt] = &[
    Fam,
    Hashsize,
    Maxelem,
    Timeout,
    Counters,
    CommentFlag,
    Forceadd,
    Skbinfo,
    Bucketsize,
    Initval,
];
const HASH_MAC: &[Opt] = &[
    Hashsize,
    Maxelem,
    Timeout,
    Counters,
    CommentFlag,
    Forceadd,
    Skbinfo,
    Bucketsize,
    Initval,
];
const HASH_IP: &[Opt] = &[
    Fam,
    Hashsize,
    Maxelem,
    Netmask,
    Bitmask,
    Timeout,
    Counters,
    CommentFlag,
    Forceadd,
    Skbinfo,
    Bucketsize,
    Initval,
];
const HASH_IP_PORT: &[Opt] = &[
    Fam,
    Hashsize,
    Maxelem,
    Timeout,
    Counters,
    CommentFlag,
    Forceadd,
    Skbinfo,
    Bucketsize,
    Initval,
    Netmask,
    Bitmask,
];
const HASH_NET_NET: &[Opt] = &[
    Fam,
    Hashsize,
    Maxelem,
    Timeout,
    Counters,
    CommentFlag,
    Forceadd,
    Skbinfo,
    Bucketsize,
    Initval,
    Bitmask,
    Netmask,
];
const HASH_MARK: &[Opt] = &[
    Fam,
    Markmask,
    Hashsize,
    Maxelem,
    Timeout,
    Counters,
    CommentFlag,
    Forceadd,
    Skbinfo,
    Bucketsize,
    Initval,
];
const LIST: &[Opt] = &[Size, Timeout, Counters, CommentFlag, Skbinfo];

const R_BITMAP: &[&str] = &[
    "skbinfo support",
    "comment support",
    "counters support",
    "Initial revision",
];
const R_IP: &[&str] = &[
    "bitmask support",
    "bucketsize, initval support",
    "skbinfo support",
    "forceadd support",
    "comment support",
    "counters support",
    "Initial revision",
];
const R_MAC: &[&str] = &["bucketsize, initval support", "Initial revision"];
const R_MARK: &[&str] = &[
    "bucketsize, initval support",
    "skbinfo support",
    "forceadd support",
    "initial revision",
];
const R_IP_PORT: &[&str] = &[
    "netmask and bitmask support",
    "bucketsize, initval support",
    "skbinfo support",
    "forceadd support",
    "comment support",
    "counters support",
    "SCTP and UDPLITE support",
];
const R_IP_PORT_IP: &[&str] = &[
    "bucketsize, initval support",
    "skbinfo support",
    "forceadd support",
    "comment support",
    "counters support",
    "SCTP and UDPLITE support",
];
const R_IP_PORT_NET: &[&str] = &[
    "bucketsize, initval support",
    "skbinfo support",
    "forceadd support",
    "comment support",
    "counters support",
    "nomatch flag support",
    "Add/del range support",
    "SCTP and UDPLITE support",
];
const R_NET: &[&str] = &[
    "bucketsize, initval support",
    "skbinfo support",
    "forceadd support",
    "comment support",
    "counters support",
    "nomatch flag support",
    "Add/del range support",
    "Initial revision",
];
const R_NET_NET: &[&str] = &[
    "netmask and bitmask support",
    "bucketsize, initval support",
    "skbinfo support",
    "forceadd support",
    "initial revision",
];
const R_NET_IFACE: &[&str] = &[
    "bucketsize, initval support",
    "skbinfo and wildcard support",
    "skbinfo support",
    "forceadd support",
    "comment support",
    "counters support",
    "/0 network support",
    "nomatch flag support",
    "Initial revision",
];

const BASE: Type = Type {
    kind: Kind::HashIp,
    name: "",
    alias: "",
    revisions: &[],
    families: Families::Both,
    parts: &[],
    last_optional: false,
    create: HASH,
    mandatory: &[],
    hidden: &[],
    add: ADD,
    del: &[],
    test: &[],
    changed: ranges(true, true, true),
    tested: NONE,
};
const NET_TEST: &[Opt] = &[Nomatch];
const IP: Part = Part::Ip(Form::Hosts);
const NET: Part = Part::Ip(Form::Net);
const ONE: Part = Part::Ip(Form::Single);

/// All rows, in the order of help.
#[rustfmt::skip]
pub static TYPES: &[Type] = &[
    Type { kind: Kind::ListSet, name: "list:set", alias: "setlist", revisions: R_BITMAP, families: Families::Neutral,
        parts: &[Part::Name], create: LIST, add: ADD_LIST, del: &[Before, After], test: &[Before, After], changed: NONE, ..BASE },
    Type { kind: Kind::HashMac, name: "hash:mac", alias: "machash", revisions: R_MAC, families: Families::Neutral,
        parts: &[Part::Mac], create: HASH_MAC, changed: NONE, ..BASE },
    Type { kind: Kind::HashIpMac, name: "hash:ip,mac", alias: "ipmachash", revisions: R_MAC,
        parts: &[IP, Part::Mac], changed: NONE, ..BASE },
    Type { kind: Kind::HashNetIface, name: "hash:net,iface", alias: "netifacehash", revisions: R_NET_IFACE,
        parts: &[NET, Part::Iface], add: ADD_IFACE, test: NET_TEST, tested: ranges(true, false, false), ..BASE },
    Type { kind: Kind::HashNetPort, name: "hash:net,port", alias: "netporthash", revisions: R_IP_PORT_NET,
        parts: &[NET, Part::Port], add: ADD_NET, test: NET_TEST, tested: ranges(true, false, false), ..BASE },
    Type { kind: Kind::HashNetPortNet, name: "hash:net,port,net", alias: "netportnethash", revisions: R_MARK,
        parts: &[NET, Part::Port, NET], add: ADD_NET, test: NET_TEST, tested: ranges(true, false, false), ..BASE },
    Type { kind: Kind::HashNetNet, name: "hash:net,net", alias: "netnethash", revisions: R_NET_NET,
        parts: &[NET, NET], create: HASH_NET_NET, add: ADD_NET, test: NET_TEST, tested: ranges(true, false, false), ..BASE },
    Type { kind: Kind::HashNet, name: "hash:net", alias: "nethash", revisions: R_NET, hidden: LEGACY_HASH,
        parts: &[NET], add: ADD_NET, test: NET_TEST, tested: ranges(true, false, false), ..BASE },
    Type { kind: Kind::HashIpPortNet, name: "hash:ip,port,net", alias: "ipportnethash", revisions: R_IP_PORT_NET, hidden: LEGACY_PORT,
        parts: &[IP, Part::Port, NET], add: ADD_NET, test: NET_TEST, ..BASE },
    Type { kind: Kind::HashIpPortIp, name: "hash:ip,port,ip", alias: "ipportiphash", revisions: R_IP_PORT_IP, hidden: LEGACY_PORT,
        parts: &[IP, Part::Port, ONE], ..BASE },
    Type { kind: Kind::HashIpMark, name: "hash:ip,mark", alias: "ipmarkhash", revisions: R_MARK,
        parts: &[IP, Part::Mark], create: HASH_MARK, tested: ranges(true, true, false), ..BASE },
    Type { kind: Kind::HashIpPort, name: "hash:ip,port", alias: "ipporthash", revisions: R_IP_PORT, hidden: LEGACY_PORT,
        parts: &[IP, Part::Port], create: HASH_IP_PORT, ..BASE },
    Type { kind: Kind::HashIp, name: "hash:ip", alias: "iphash", revisions: R_IP, hidden: LEGACY_HASH,
        parts: &[IP], create: HASH_IP, tested: ranges(true, true, false), ..BASE },
    Type { kind: Kind::BitmapPort, name: "bitmap:port", alias: "portmap", revisions: R_BITMAP, families: Families::Neutral,
        parts: &[Part::BarePort], create: BITMAP_PLAIN, mandatory: &[Range], hidden: LEGACY_RANGE, ..BASE },
    Type { kind: Kind::BitmapIpMac, name: "bitmap:ip,mac", alias: "macipmap", revisions: R_BITMAP, families: Families::Inet,
        parts: &[ONE, Part::Mac], last_optional: true, create: BITMAP_PLAIN, mandatory: &[Range], hidden: LEGACY_RANGE, changed: NONE, ..BASE },
    Type { kind: Kind::BitmapIp, name: "bitmap:ip", alias: "ipmap", revisions: R_BITMAP, families: Families::Inet,
        parts: &[IP], create: BITMAP, mandatory: &[Range], hidden: LEGACY_RANGE, ..BASE },
];

impl Type {
    /// A type by its name, or by the name of versions before 5.
    pub fn named(name: &str) -> Option<&'static Self> {
        TYPES.iter().find(|ty| ty.name == name || ty.alias == name)
    }

    /// The revision in use.
    pub fn revision(&self) -> usize {
        match self.kind {
            // Theirs began with what the others' first revision brought.
            Kind::HashIpPort | Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPort => {
                self.revisions.len()
            }
            _ => self.revisions.len() - 1,
        }
    }

    /// Whether elements have prefix lengths, and so may be exceptions.
    pub fn has_nets(&self) -> bool {
        self.parts.contains(&NET)
    }

    /// Whether it is a bitmap.
    pub fn is_bitmap(&self) -> bool {
        matches!(
            self.kind,
            Kind::BitmapIp | Kind::BitmapIpMac | Kind::BitmapPort
        )
    }

    /// Whether it is a list of sets.
    pub fn is_list(&self) -> bool {
        self.kind == Kind::ListSet
    }

    /// The storage is of no account where sets are swapped: what an element says decides.
    pub fn swaps_with(&self, other: &Self) -> bool {
        let meaning = |kind: Kind| match kind {
            Kind::BitmapIp => Kind::HashIp,
            Kind::BitmapIpMac => Kind::HashIpMac,
            kind => kind,
        };
        meaning(self.kind) == meaning(other.kind)
    }
}
