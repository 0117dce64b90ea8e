//! Statements.

use super::{
    CounterValue, Ct, Element, Expr, Family, Map, MetaKey, Name, ObjectKind, Rule, TcpOptionKind,
    Verdict,
};
use crate::syntax::source::{Span, Spanned};

/// A statement with its place.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where it stands.
    pub span: Span,
}

/// Kinds of statements.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// A condition: [`super::ExprKind::Relational`] or [`super::ExprKind::FlagCompare`].
    Match(Box<Expr>),
    /// `accept`, `jump x`.
    Verdict(Verdict),
    /// `key vmap ...`.
    VerdictMap(Box<Map>),
    /// `jump { ... }`, `goto { ... }`.
    Chain(Box<AnonymousChain>),
    /// `counter [packets N bytes N]`.
    Counter(CounterValue),
    /// `limit rate ...`.
    Limit(Box<Limit>),
    /// `quota ...`.
    Quota(Box<Quota>),
    /// `last [used never | used TIME]` (nft 1.0.7): milliseconds since, if used.
    Last(Option<u64>),
    /// `ct count [over] N`.
    CtCount(CtCount),
    /// A named object: `counter name E`, `limit name`, `quota name`, `synproxy name`, `ct helper set`,
    /// `ct timeout set`, `ct expectation set`, `meta secmark set`, and the extensions `nat64 name`, `siit name`.
    ObjectRef(Box<ObjectRef>),
    /// `log ...`.
    Log(Box<Log>),
    /// `reject ...`.
    Reject(Box<Reject>),
    /// `snat`, `dnat`, `masquerade`, `redirect`.
    Nat(Box<Nat>),
    /// `snpt from A to B` and `dnpt from A to B`, extensions: stateless prefix translation.
    Npt(Box<Npt>),
    /// `tproxy ...`.
    Tproxy(Box<Tproxy>),
    /// `synproxy ...`.
    Synproxy(Synproxy),
    /// `queue ...`.
    Queue(Box<Queue>),
    /// `dup to A device D`.
    Dup(Box<Dup>),
    /// `fwd [ip|ip6] to A device D`.
    Fwd(Box<Fwd>),
    /// `meta key set E`.
    MetaSet(MetaKey, Box<Expr>),
    /// `ct key set E`.
    CtSet(Ct, Box<Expr>),
    /// `tcp dport set E`, also options and extension headers.
    PayloadSet(Box<(Expr, Expr)>),
    /// `reset tcp option K`.
    TcpOptionReset(TcpOptionKind),
    /// `notrack`.
    Notrack,
    /// `flow add @f`.
    FlowAdd(Name),
    /// `add @s { ... }`, `update`, `delete`, also of maps.
    SetUpdate(Box<SetUpdate>),
    /// `meter m { key stmt }`.
    Meter(Box<Meter>),
    /// `ipset "name" src ...`.
    Ipset(Box<IpsetStmt>),
}

/// A set of ipset in a rule.
#[derive(Clone, Debug)]
pub struct IpsetStmt {
    /// The set's name, with its place.
    pub set: Name,
    /// What is done with it.
    pub used: crate::ipset::rule::IpsetUse,
}

/// `jump { ... }`.
#[derive(Clone, Debug)]
pub struct AnonymousChain {
    /// `goto` instead of `jump`.
    pub goto: bool,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// What stands in braces.
    pub span: Span,
}

/// A rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Packets or bytes per `unit`.
    pub rate: u64,
    /// What it counts.
    pub of: LimitOf,
    /// Per how many seconds: 1, 60, 3600, 86400 or 604800.
    pub unit_s: u64,
    /// Burst, if written.
    pub burst: Option<u64>,
    /// Matches above the rate instead of below.
    pub over: bool,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitOf {
    /// Packets.
    Packets,
    /// Bytes.
    Bytes,
}

/// A quota.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How much.
    pub bytes: u64,
    /// How much is used already.
    pub used_bytes: u64,
    /// Matches above instead of below.
    pub over: bool,
}

/// `ct count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtCount {
    /// How many connections.
    pub count: u64,
    /// Matches above instead of up to.
    pub over: bool,
}

/// A use of a named object.
#[derive(Clone, Debug)]
pub struct ObjectRef {
    /// Of which kind.
    pub kind: ObjectKind,
    /// Its name, or a map that yields objects.
    pub name: Expr,
}

/// `log`.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Prefix: text, variables already put in.
    pub prefix: Option<Name>,
    /// Level.
    pub level: Option<LogLevel>,
    /// nflog group.
    pub group: Option<Spanned<u64>>,
    /// Bytes of the packet.
    pub snaplen: Option<Spanned<u64>>,
    /// Packets to collect before they are sent.
    pub queue_threshold: Option<Spanned<u64>>,
    /// Flags.
    pub flags: LogFlags,
}

/// Levels of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogLevel {
    /// 0.
    Emerg,
    /// 1.
    Alert,
    /// 2.
    Crit,
    /// 3.
    Err,
    /// 4, the default.
    Warn,
    /// 5.
    Notice,
    /// 6.
    Info,
    /// 7.
    Debug,
    /// To the audit system.
    Audit,
}

/// What else is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LogFlags {
    /// TCP sequence numbers.
    pub tcp_sequence: bool,
    /// TCP options.
    pub tcp_options: bool,
    /// IP options.
    pub ip_options: bool,
    /// The user of the socket.
    pub skuid: bool,
    /// Ethernet header.
    pub ether: bool,
}

/// `reject`.
#[derive(Clone, Debug)]
pub enum Reject {
    /// Nothing more was written.
    Default,
    /// `with icmp C`: a word, a number or a variable.
    Icmp(Expr),
    /// `with icmpv6 C`.
    Icmpv6(Expr),
    /// `with icmpx C`.
    Icmpx(Expr),
    /// `with tcp reset`; the span covers `with tcp reset`.
    TcpReset(Span),
}

/// Kinds of address translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// `snat`.
    Snat,
    /// `dnat`.
    Dnat,
    /// `masquerade`.
    Masquerade,
    /// `redirect`.
    Redirect,
}

/// A translation.
#[derive(Clone, Debug)]
pub struct Nat {
    /// Which.
    pub kind: NatKind,
    /// `ip` or `ip6`, if written.
    pub family: Option<Family>,
    /// Address, range, prefix or map.
    pub addr: Option<Expr>,
    /// Port, range or map.
    pub port: Option<Expr>,
    /// Flags.
    pub flags: NatFlags,
    /// `ip addr . port to`: the map yields address and port.
    pub concat: bool,
    /// `prefix to`: netmap.
    pub prefix: bool,
    /// `interval to`: the map yields ranges.
    pub interval: bool,
    /// `endpoint-independent [filter ...]`, an extension (RFC 4787).
    pub endpoint_independent: Option<Spanned<NatFilter>>,
}

/// Flags of a translation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NatFlags {
    /// `random`.
    pub random: bool,
    /// `fully-random`.
    pub fully_random: bool,
    /// `persistent`.
    pub persistent: bool,
}

/// Which packets from outside an endpoint-independent mapping lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatFilter {
    /// From everyone.
    EndpointIndependent,
    /// From addresses that were written to.
    Address,
    /// From addresses and ports that were written to.
    AddressPort,
}

/// Stateless prefix translation (RFC 6296).
#[derive(Clone, Debug)]
pub struct Npt {
    /// Of the destination (`dnpt`) instead of the source.
    pub destination: bool,
    /// Prefix before.
    pub from: Expr,
    /// Prefix after.
    pub to: Expr,
}

/// `tproxy`.
#[derive(Clone, Debug)]
pub struct Tproxy {
    /// `ip` or `ip6`, if written.
    pub family: Option<Family>,
    /// Address.
    pub addr: Option<Expr>,
    /// Port.
    pub port: Option<Expr>,
}

/// `synproxy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synproxy {
    /// Maximum segment size.
    pub mss: Option<u64>,
    /// Window scale.
    pub wscale: Option<u64>,
    /// Timestamps.
    pub timestamp: bool,
    /// Selective acknowledgements.
    pub sack_perm: bool,
}

/// `queue`.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Number, range, or an expression that yields one.
    pub to: Option<Expr>,
    /// `bypass`.
    pub bypass: bool,
    /// `fanout`.
    pub fanout: bool,
}

/// `dup`.
#[derive(Clone, Debug)]
pub struct Dup {
    /// Address, or device in netdev.
    pub to: Expr,
    /// Device.
    pub device: Option<Expr>,
}

/// `fwd`.
#[derive(Clone, Debug)]
pub struct Fwd {
    /// `ip` or `ip6`, if there is an address.
    pub family: Option<Family>,
    /// Address.
    pub addr: Option<Expr>,
    /// Device.
    pub device: Expr,
}

/// What a set update does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetOp {
    /// `add`.
    Add,
    /// `update`.
    Update,
    /// `delete`.
    Delete,
}

/// An update of a set or map from the packet path.
#[derive(Clone, Debug)]
pub struct SetUpdate {
    /// What to do.
    pub op: SetOp,
    /// Which set: [`super::ExprKind::SetRef`] or a variable that holds one.
    pub set: Expr,
    /// The key with timeout and comment; the statements are in `stmts`.
    pub key: Element,
    /// What a map's element maps to.
    pub data: Option<Element>,
    /// Statements of the new element.
    pub stmts: Vec<Stmt>,
}

/// `meter`.
#[derive(Clone, Debug)]
pub struct Meter {
    /// Its name.
    pub name: Option<Name>,
    /// Its size.
    pub size: Option<u64>,
    /// The key with its timeout.
    pub key: Element,
    /// The statement that each key has.
    pub stmt: Stmt,
}
