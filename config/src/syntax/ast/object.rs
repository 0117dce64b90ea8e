//! Tables, chains, sets, flowtables and stateful objects: what stands in their braces.

use super::{Expr, Family, Limit, Name, Quota, SetKeyword, Stmt, Synproxy};
use crate::syntax::source::{Span, Spanned};

/// `table x { ... }`. Things are kept by kind, each list in the order of the text.
#[derive(Clone, Debug, Default)]
pub struct TableBody {
    /// Flags with their places.
    pub flags: Vec<Spanned<TableFlag>>,
    /// Its comment.
    pub comment: Option<Name>,
    /// Chains with their rules.
    pub chains: Vec<ChainDecl>,
    /// Sets and maps.
    pub sets: Vec<SetDecl>,
    /// Flowtables.
    pub flowtables: Vec<FlowtableDecl>,
    /// Stateful objects.
    pub objects: Vec<ObjectDecl>,
}

/// A flag of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableFlag {
    /// Not evaluated.
    Dormant,
    /// Belongs to the session that made it.
    Owner,
    /// Outlives its owner (nft 1.1.0).
    Persist,
}

/// A chain inside a table block.
#[derive(Clone, Debug)]
pub struct ChainDecl {
    /// Its name.
    pub name: Name,
    /// What stands in braces.
    pub body: ChainBody,
}

/// `chain x { ... }`.
#[derive(Clone, Debug, Default)]
pub struct ChainBody {
    /// What makes it a base chain.
    pub hook: Option<Box<Hook>>,
    /// The policy: a word (`accept`, `drop`) or a variable.
    pub policy: Option<Expr>,
    /// `flags offload`.
    pub offload: bool,
    /// Its comment.
    pub comment: Option<Name>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// What stands in braces.
    pub span: Span,
}

/// `type T hook H device D priority P`.
#[derive(Clone, Debug)]
pub struct Hook {
    /// `filter`, `nat` or `route`.
    pub chain_type: Spanned<ChainType>,
    /// Where the chain runs.
    pub hook: Spanned<HookPoint>,
    /// Devices: words, strings or variables.
    pub devices: Option<Devices>,
    /// When it runs.
    pub priority: Priority,
    /// The whole specification.
    pub span: Span,
}

/// `device D` or `devices = { ... }`.
#[derive(Clone, Debug)]
pub struct Devices {
    /// Names (symbol, quoted) or variables, which hold a name or a set of names.
    pub list: Vec<Expr>,
    /// The list.
    pub span: Span,
}

/// The type of a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChainType {
    /// Filtering.
    Filter,
    /// Translation: sees the first packet of a connection.
    Nat,
    /// Rerouting of own packets.
    Route,
}

impl ChainType {
    /// nft's word.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
            ChainType::Route => "route",
        }
    }

    /// The type with that word.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        [ChainType::Filter, ChainType::Nat, ChainType::Route]
            .into_iter()
            .find(|t| t.keyword() == word)
    }
}

/// Where a base chain runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HookPoint {
    /// Before routing.
    Prerouting,
    /// To the appliance itself.
    Input,
    /// Through.
    Forward,
    /// From the appliance itself.
    Output,
    /// After routing.
    Postrouting,
    /// At a device, on the way in.
    Ingress,
    /// At a device, on the way out.
    Egress,
}

impl HookPoint {
    const ALL: [HookPoint; 7] = [
        HookPoint::Prerouting,
        HookPoint::Input,
        HookPoint::Forward,
        HookPoint::Output,
        HookPoint::Postrouting,
        HookPoint::Ingress,
        HookPoint::Egress,
    ];

    /// nft's word.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            HookPoint::Prerouting => "prerouting",
            HookPoint::Input => "input",
            HookPoint::Forward => "forward",
            HookPoint::Output => "output",
            HookPoint::Postrouting => "postrouting",
            HookPoint::Ingress => "ingress",
            HookPoint::Egress => "egress",
        }
    }

    /// The hook with that word.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.keyword() == word)
    }
}

/// `priority ...`.
#[derive(Clone, Debug)]
pub struct Priority {
    /// What was written.
    pub value: PriorityValue,
    /// With the keyword.
    pub span: Span,
}

/// The value of a priority.
#[derive(Clone, Debug)]
pub enum PriorityValue {
    /// A number.
    Number(i64),
    /// A name and what is added to it (`filter - 10`).
    Name {
        /// `raw`, `mangle`, `filter`, ...
        name: Name,
        /// Added to it.
        offset: i64,
    },
    /// A variable: a number (also [`super::ExprKind::Negative`]), a name, or a quoted `"filter + 10"`.
    Variable(Expr),
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its statements.
    pub stmts: Vec<Stmt>,
    /// Its comment.
    pub comment: Option<Name>,
    /// All statements.
    pub span: Span,
}

/// A set or map inside a table block.
#[derive(Clone, Debug)]
pub struct SetDecl {
    /// `set` or `map`.
    pub keyword: SetKeyword,
    /// Its name.
    pub name: Name,
    /// What stands in braces.
    pub body: SetBody,
}

/// `set x { ... }`, `map x { ... }`.
#[derive(Clone, Debug, Default)]
pub struct SetBody {
    /// The type of the key.
    pub key: Option<SetType>,
    /// What a map yields.
    pub data: Option<MapData>,
    /// Flags.
    pub flags: SetFlags,
    /// `flags` with all of what follows it, for complaints.
    pub flags_span: Option<Span>,
    /// `timeout`, in milliseconds.
    pub timeout_ms: Option<Spanned<u64>>,
    /// `gc-interval`, in milliseconds.
    pub gc_interval_ms: Option<Spanned<u64>>,
    /// `size`.
    pub size: Option<Spanned<u64>>,
    /// `policy`.
    pub policy: Option<Spanned<SetPolicy>>,
    /// `auto-merge`.
    pub auto_merge: bool,
    /// Statements that every element gets.
    pub stmts: Vec<Stmt>,
    /// `elements = ...`: [`super::ExprKind::Set`] or a variable.
    pub elements: Option<Expr>,
    /// Its comment.
    pub comment: Option<Name>,
    /// What stands in braces.
    pub span: Span,
}

/// Flags of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetFlags {
    /// Never changes while bound.
    pub constant: bool,
    /// Holds ranges.
    pub interval: bool,
    /// Elements expire.
    pub timeout: bool,
    /// Changed from the packet path.
    pub dynamic: bool,
}

/// What a set prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetPolicy {
    /// Speed, the default.
    Performance,
    /// Space.
    Memory,
}

/// The type of a key or of data.
#[derive(Clone, Debug)]
pub enum SetType {
    /// `type a . b`: names of data types, not looked up yet.
    Type(Vec<Name>),
    /// `typeof a . b`: an expression, [`super::ExprKind::Concat`] if there are several.
    Typeof(Box<Expr>),
}

/// What a map yields.
#[derive(Clone, Debug)]
pub enum MapData {
    /// Values of a type; `interval` for ranges of them. `type ... : verdict` is the word `verdict`.
    Type {
        /// Of which type.
        of: SetType,
        /// Ranges (nat).
        interval: bool,
    },
    /// Stateful objects.
    Object(Spanned<ObjectKind>),
}

/// A flowtable inside a table block.
#[derive(Clone, Debug)]
pub struct FlowtableDecl {
    /// Its name.
    pub name: Name,
    /// What stands in braces.
    pub body: FlowtableBody,
}

/// `flowtable x { ... }`.
#[derive(Clone, Debug, Default)]
pub struct FlowtableBody {
    /// The hook (`ingress`).
    pub hook: Option<Spanned<HookPoint>>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Its devices.
    pub devices: Option<Devices>,
    /// `flags offload`.
    pub offload: bool,
    /// `counter`.
    pub counter: bool,
    /// What stands in braces.
    pub span: Span,
}

/// Kinds of stateful objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// `counter`.
    Counter,
    /// `quota`.
    Quota,
    /// `limit`.
    Limit,
    /// `ct helper`.
    CtHelper,
    /// `ct timeout`.
    CtTimeout,
    /// `ct expectation`.
    CtExpectation,
    /// `synproxy`.
    Synproxy,
    /// `secmark`.
    Secmark,
    /// `nat64`, an extension: stateful translation between the families.
    Nat64,
    /// `siit`, an extension: stateless translation between the families.
    Siit,
}

impl ObjectKind {
    /// nft's keyword or keywords.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            ObjectKind::Counter => "counter",
            ObjectKind::Quota => "quota",
            ObjectKind::Limit => "limit",
            ObjectKind::CtHelper => "ct helper",
            ObjectKind::CtTimeout => "ct timeout",
            ObjectKind::CtExpectation => "ct expectation",
            ObjectKind::Synproxy => "synproxy",
            ObjectKind::Secmark => "secmark",
            ObjectKind::Nat64 => "nat64",
            ObjectKind::Siit => "siit",
        }
    }
}

/// A stateful object inside a table block.
#[derive(Clone, Debug)]
pub struct ObjectDecl {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: Name,
    /// Its properties.
    pub body: ObjectBody,
}

/// Properties of a stateful object.
#[derive(Clone, Debug)]
pub struct ObjectBody {
    /// What is particular to its kind.
    pub spec: ObjectSpec,
    /// Its comment.
    pub comment: Option<Name>,
    /// What was written.
    pub span: Span,
}

/// What is particular to a kind of object. `None` inside: an empty block.
#[derive(Clone, Debug)]
pub enum ObjectSpec {
    /// Initial values of a counter.
    Counter(CounterValue),
    /// A quota.
    Quota(Option<Quota>),
    /// A limit.
    Limit(Option<Limit>),
    /// A helper.
    CtHelper(CtHelper),
    /// A timeout policy.
    CtTimeout(CtTimeout),
    /// An expectation.
    CtExpectation(CtExpectation),
    /// A synproxy.
    Synproxy(Option<Synproxy>),
    /// A security context.
    Secmark(Option<Name>),
    /// Stateful NAT64.
    Nat64(Box<Nat64>),
    /// Stateless translation.
    Siit(Box<Siit>),
}

/// Values of a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CounterValue {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Protocols that ct objects know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// `ct helper x { type "ftp" protocol tcp; l3proto ip; }`.
#[derive(Clone, Debug, Default)]
pub struct CtHelper {
    /// The helper's name.
    pub helper: Option<Name>,
    /// Its transport protocol.
    pub protocol: Option<CtProtocol>,
    /// Its network protocol.
    pub l3proto: Option<Family>,
}

/// `ct timeout x { protocol tcp; l3proto ip; policy = { established: 100 } }`.
#[derive(Clone, Debug, Default)]
pub struct CtTimeout {
    /// Transport protocol.
    pub protocol: Option<CtProtocol>,
    /// Network protocol.
    pub l3proto: Option<Family>,
    /// State and seconds.
    pub policy: Vec<(Name, u64)>,
}

/// `ct expectation x { protocol tcp; dport 21; timeout 1m; size 12; l3proto ip; }`.
#[derive(Clone, Debug, Default)]
pub struct CtExpectation {
    /// Transport protocol.
    pub protocol: Option<CtProtocol>,
    /// Destination port.
    pub dport: Option<Spanned<u64>>,
    /// Milliseconds.
    pub timeout_ms: Option<u64>,
    /// How many a master may have.
    pub size: Option<Spanned<u64>>,
    /// Network protocol.
    pub l3proto: Option<Family>,
}

/// `nat64 x { ... }`. Addresses are expressions: symbols, prefixes, ranges, variables.
#[derive(Clone, Debug, Default)]
pub struct Nat64 {
    /// Translation prefixes.
    pub prefixes: Vec<Expr>,
    /// External addresses.
    pub pools: Vec<Expr>,
    /// Static bindings.
    pub binds: Vec<Nat64Bind>,
    /// `filtering`.
    pub filtering: Option<Spanned<Nat64Filtering>>,
    /// `zero-checksum`.
    pub zero_checksum: Option<Spanned<ZeroChecksum>>,
    /// `lowest-mtu`.
    pub lowest_mtu: Option<Spanned<u64>>,
    /// `non-global`.
    pub non_global: bool,
}

/// `bind tcp A:P to [B]:Q`.
#[derive(Clone, Debug)]
pub struct Nat64Bind {
    /// `tcp`, `udp` or `icmp`.
    pub protocol: Name,
    /// External address.
    pub external: Expr,
    /// External port or identifier.
    pub external_port: Option<Expr>,
    /// Internal address.
    pub internal: Expr,
    /// Internal port or identifier.
    pub internal_port: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// Which packets from outside a binding lets in (RFC 4787).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nat64Filtering {
    /// From everyone.
    EndpointIndependent,
    /// From addresses that were written to.
    AddressDependent,
}

/// What becomes of UDP over IPv4 without a checksum (RFC 6145, 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZeroChecksum {
    /// It gets one.
    Compute,
    /// It is dropped.
    Drop,
    /// It stays without (RFC 6935).
    Forward,
}

/// `siit x { prefix P; map A to B; }`.
#[derive(Clone, Debug, Default)]
pub struct Siit {
    /// Translation prefixes.
    pub prefixes: Vec<Expr>,
    /// Explicit mappings, IPv4 and IPv6 side.
    pub maps: Vec<(Expr, Expr)>,
}
