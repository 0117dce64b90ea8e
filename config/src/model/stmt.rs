//! Typed statements, in the canonical form in which the kernel would hold them.

use super::expr::{Ct, Element, Expr, MetaKey, Verdict};
use super::rule::ObjectKind;
use crate::ipset::rule::IpsetUse;
pub use crate::syntax::ast::{NatFilter, NatKind, SetOp};

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stmt {
    /// `left op right`.
    Match(Match),
    /// accept, drop, jump ...
    Verdict(Verdict),
    /// `key vmap { ... }` or `@name`.
    VerdictMap {
        /// What is looked up.
        key: Expr,
        /// Where: a set expression or a reference.
        map: Expr,
    },
    /// `counter`.
    Counter {
        /// Packets at the start.
        packets: u64,
        /// Bytes at the start.
        bytes: u64,
    },
    /// `limit rate`.
    Limit(Limit),
    /// `quota`.
    Quota(Quota),
    /// `last`: when the rule was hit, milliseconds ago.
    Last {
        /// None: never.
        used_ms: Option<u64>,
    },
    /// `ct count`.
    ConnLimit {
        /// How many.
        count: u32,
        /// `over`.
        over: bool,
    },
    /// A stateful object by name or by a map (`counter name "c"`, `limit name tcp dport map @m`).
    Object {
        /// Its kind.
        kind: ObjectKind,
        /// Which one.
        target: ObjectTarget,
    },
    /// `log`.
    Log(Log),
    /// `reject`.
    Reject(Reject),
    /// A write to the packet: `target` is a payload or exthdr expression.
    Mangle {
        /// What is written.
        target: Expr,
        /// The value: constant, selector, map or an operation on these.
        value: Expr,
        /// Written as a place or as a port of any transport, also where it is listed as the field
        /// that lies there: no checksum is kept right.
        raw: bool,
    },
    /// `reset tcp option NAME`: the option is overwritten by padding.
    OptionReset(Expr),
    /// `meta KEY set`.
    MetaSet {
        /// What is written.
        key: MetaKey,
        /// The value.
        value: Expr,
    },
    /// `ct KEY set`.
    CtSet {
        /// What is written.
        ct: Ct,
        /// The value.
        value: Expr,
    },
    /// `notrack`.
    Notrack,
    /// snat, dnat, masquerade, redirect.
    Nat(Nat),
    /// `tproxy`.
    Tproxy {
        /// `ip` or `ip6` where given or implied.
        family: Option<NatFamily>,
        /// Address.
        addr: Option<Expr>,
        /// Port.
        port: Option<Expr>,
    },
    /// `synproxy` with its options.
    Synproxy(Synproxy),
    /// `dup`.
    Dup {
        /// `to ADDRESS`.
        to: Option<Expr>,
        /// `device PORT`.
        device: Option<Expr>,
    },
    /// `fwd`.
    Fwd {
        /// `ip` or `ip6` with an address.
        family: Option<NatFamily>,
        /// The neighbour's address.
        addr: Option<Expr>,
        /// The port.
        device: Expr,
    },
    /// `queue`.
    Queue {
        /// Number, range, map or computed.
        to: Expr,
        /// `bypass`.
        bypass: bool,
        /// `fanout`.
        fanout: bool,
    },
    /// `flow add @name`.
    FlowAdd(String),
    /// `add @set { ... }` and its kin.
    SetUpdate(SetUpdate),
    /// `meter NAME size N { key stmt }` (old form, lists as an update).
    Meter(Meter),
    /// Extension: `ipset "name" src ...`.
    Ipset(IpsetUse),
    /// Extension: `nat64 name "x"`.
    Nat64(String),
    /// Extension: `siit name "x"`.
    Siit(String),
    /// Extension: `snpt`/`dnpt from P to P`.
    Npt {
        /// `dnpt`.
        destination: bool,
        /// Prefix that is replaced.
        from: Expr,
        /// By which.
        to: Expr,
    },
}

/// `left op right`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// What the packet has.
    pub left: Expr,
    /// The comparison.
    pub op: RelOp,
    /// Value, prefix, range, set, reference, or concatenation of values.
    pub right: Expr,
    /// Put in by the checker for a protocol dependency; the keys that need it carry it themselves
    /// ([`super::expr::Payload::requires`]), so a lowering may leave it out.
    pub implicit: bool,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelOp {
    /// Equal, or within.
    Eq,
    /// Not equal, or not within.
    Neq,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
}

/// Which object a statement uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectTarget {
    /// By name.
    Name(String),
    /// `key map @m` or `key map { k : "name" }`: an [`super::expr::ExprKind::Map`].
    Map(Expr),
}

/// `limit rate [over] N/unit [burst M]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Packets, or bytes with `bytes`.
    pub rate: u64,
    /// The period in seconds: 1, 60, 3600, 86400, 604800.
    pub unit_seconds: u64,
    /// Burst in packets or bytes.
    pub burst: u64,
    /// Bytes instead of packets.
    pub bytes: bool,
    /// `over`.
    pub over: bool,
}

/// `quota [over] N bytes [used M bytes]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The quota.
    pub bytes: u64,
    /// Used at the start.
    pub used: u64,
    /// `over`.
    pub over: bool,
}

/// `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// `prefix`.
    pub prefix: Option<String>,
    /// `group`.
    pub group: Option<u16>,
    /// `snaplen`.
    pub snaplen: Option<u32>,
    /// `queue-threshold`.
    pub queue_threshold: Option<u16>,
    /// Syslog level 0 to 7; 4 (warn) by default; 8 is audit.
    pub level: Option<u8>,
    /// Bits: 1 tcp sequence, 2 tcp options, 4 ip options, 8 skuid, 32 ether.
    pub flags: u8,
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// ICMP destination unreachable with this code.
    Icmp(u8),
    /// ICMPv6 destination unreachable with this code.
    Icmpv6(u8),
    /// Either, by this abstract code (0 no-route, 1 port, 2 host, 3 admin).
    Icmpx(u8),
    /// TCP reset.
    TcpReset,
}

/// Address family of a translation's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
}

/// A translation statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// Which.
    pub kind: NatKind,
    /// Family of `addr`; None in masquerade and redirect.
    pub family: Option<NatFamily>,
    /// Value, range, prefix or map. A map that yields address and port is in `addr`, and `port` is None.
    pub addr: Option<Expr>,
    /// Value, range or map.
    pub port: Option<Expr>,
    /// `random`.
    pub random: bool,
    /// `fully-random`.
    pub fully_random: bool,
    /// `persistent`.
    pub persistent: bool,
    /// `prefix`: the host bits stay (netmap).
    pub prefix: bool,
    /// Extension: `endpoint-independent` mapping, and what is let in behind it.
    pub endpoint_independent: Option<NatFilter>,
}

/// `synproxy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synproxy {
    /// `mss`.
    pub mss: Option<u16>,
    /// `wscale`.
    pub wscale: Option<u8>,
    /// `timestamp`.
    pub timestamp: bool,
    /// `sack-perm`.
    pub sack_perm: bool,
}

/// `add @set { key timeout 5s stmt : data }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetUpdate {
    /// What is done.
    pub op: SetOp,
    /// The set's name.
    pub set: String,
    /// Key, timeout, statements and (maps) data; key and data are computed from the packet.
    pub element: Box<Element>,
}

/// `meter`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// Its name.
    pub name: String,
    /// `size`.
    pub size: Option<u32>,
    /// Key, timeout and statement.
    pub element: Box<Element>,
}
