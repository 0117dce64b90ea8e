//! Expressions.

use std::sync::Arc;

use super::{
    CtKey, DccpOption, ExtHeader, HeaderField, IpOption, MetaKey, Name, SctpChunk, Stmt, TcpOption,
    Text,
};
use crate::syntax::source::Span;

/// An expression with its place.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands. A use of a variable has its own place, the value inside has that of the definition.
    pub span: Span,
}

/// Kinds of expressions.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A word whose meaning depends on the type asked for: `ssh`, `10.0.0.1`, `eth*`, `5m`.
    Symbol(Text),
    /// A string in quotes. Means the same as a symbol.
    Quoted(Text),
    /// A number. Means the same as a symbol of its decimal digits.
    Number(u64),
    /// `-N`, only as the value of a definition (priorities).
    Negative(i64),
    /// `exists` or `missing`.
    Boolean(bool),
    /// A keyword that nft reads as a number of a certain type: `tcp` behind `meta l4proto`.
    Constant(Constant),
    /// `@name`.
    SetRef(Text),
    /// `$name`, bound to its definition.
    Variable(Box<Variable>),
    /// A header field.
    Payload(HeaderField),
    /// `@base,offset,length`.
    RawPayload(RawPayload),
    /// A field behind a tunnel header (`vxlan ip saddr`, nft 1.0.8).
    Inner(Box<Inner>),
    /// An IPv6 extension header.
    ExtHeader(ExtHeader),
    /// A TCP option.
    TcpOption(TcpOption),
    /// An IPv4 option.
    IpOption(IpOption),
    /// An SCTP chunk.
    SctpChunk(SctpChunk),
    /// `dccp option N`.
    DccpOption(DccpOption),
    /// `meta key`, with or without the word `meta`.
    Meta(MetaKey),
    /// `ct [original|reply] key`.
    Ct(Ct),
    /// `fib ...`.
    Fib(Fib),
    /// `rt [ip|ip6] key`.
    Rt(Rt),
    /// `socket key`.
    Socket(Socket),
    /// `osf [ttl X] name|version`.
    Osf(Osf),
    /// `ipsec in|out [spnum N] key`.
    Ipsec(Ipsec),
    /// `numgen inc|random mod N [offset N]`.
    Numgen(Numgen),
    /// `jhash E mod N ...` and `symhash mod N ...`.
    Hash(Box<Hash>),
    /// `A/N`.
    Prefix(Box<Expr>, u64),
    /// `A-B`.
    Range(Box<(Expr, Expr)>),
    /// `A . B . C`, two or more.
    Concat(Vec<Expr>),
    /// `A, B, C` without braces, two or more.
    List(Vec<Expr>),
    /// `{ ... }`. Empty only as the value of a definition.
    Set(Vec<Element>),
    /// `key map { ... }`, `key map @m`, `key vmap ...`.
    Map(Box<Map>),
    /// `A & B` and the like.
    Binary(BinaryOp, Box<(Expr, Expr)>),
    /// `A B`, `A == B`, `A < B`: the condition of a match statement. The span of an explicit one is the operator.
    Relational(RelationalOp, Box<(Expr, Expr)>),
    /// `A VALUE / MASK`: flags.
    FlagCompare(Box<FlagCompare>),
    /// `*` as the key of an element.
    CatchAll,
    /// `accept`, `jump x`.
    Verdict(Verdict),
}

impl Expr {
    /// What remains when uses of variables are followed to their values.
    #[must_use]
    pub fn value(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Variable(variable) = &expr.kind {
            expr = &variable.value;
        }
        expr
    }

    /// The word of a symbol or a quoted string, variables followed.
    #[must_use]
    pub fn word(&self) -> Option<&str> {
        match &self.value().kind {
            ExprKind::Symbol(text) | ExprKind::Quoted(text) => Some(text),
            _ => None,
        }
    }
}

/// A use of a variable.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Its name.
    pub name: Text,
    /// The defining expression, shared by all uses.
    pub value: Arc<Expr>,
}

/// A keyword that stands for a number of a fixed type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Constant {
    /// A transport protocol (type `inet_proto`).
    InetProto(u8),
    /// `redirect` (type `icmp_type`).
    IcmpType(u8),
}

/// A raw payload reference, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawPayload {
    /// Relative to which header.
    pub base: PayloadBase,
    /// Offset in bits.
    pub offset: u64,
    /// Length in bits.
    pub length: u64,
}

/// What a raw payload offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PayloadBase {
    /// `ll`: link layer.
    Link,
    /// `nh`: network header.
    Network,
    /// `th`: transport header.
    Transport,
    /// `ih`: what the transport header carries.
    Inner,
}

/// A field behind a tunnel header.
#[derive(Clone, Debug)]
pub struct Inner {
    /// `vxlan`, `geneve`, `gre` or `gretap`.
    pub tunnel: Tunnel,
    /// The field of the inner packet.
    pub field: Expr,
}

/// Tunnels that can be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tunnel {
    /// VXLAN.
    Vxlan,
    /// Geneve.
    Geneve,
    /// GRE that carries IP.
    Gre,
    /// GRE that carries Ethernet.
    Gretap,
}

/// Direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CtDir {
    /// As the first packet.
    Original,
    /// Against it.
    Reply,
}

/// A tracker reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ct {
    /// What.
    pub key: CtKey,
    /// Of which direction.
    pub dir: Option<CtDir>,
}

/// A routing look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fib {
    /// By which of the packet's properties.
    pub flags: FibFlags,
    /// What is wanted.
    pub result: FibResult,
}

/// What a routing look-up uses; parsed so that exactly one of the addresses and at most one interface is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FibFlags {
    /// Source address.
    pub saddr: bool,
    /// Destination address.
    pub daddr: bool,
    /// Packet mark.
    pub mark: bool,
    /// Incoming interface.
    pub iif: bool,
    /// Outgoing interface.
    pub oif: bool,
}

/// What a routing look-up yields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FibResult {
    /// `oif`: interface index.
    Oif,
    /// `oifname`.
    Oifname,
    /// `type`: of the address.
    Type,
    /// `check`: whether there is a route (nft 1.1.4).
    Check,
}

/// A property of the packet's route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rt {
    /// What.
    pub key: RtKey,
    /// `ip` or `ip6`, if written.
    pub family: Option<super::Family>,
}

/// Properties of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RtKey {
    /// `classid`.
    Classid,
    /// `nexthop`.
    Nexthop,
    /// `mtu`, as the TCP segment size that fits.
    Mtu,
    /// `ipsec`.
    Ipsec,
}

/// A property of the packet's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Socket {
    /// `transparent`.
    Transparent,
    /// `mark`.
    Mark,
    /// `wildcard`.
    Wildcard,
    /// `cgroupv2 level N`.
    CgroupV2(u64),
}

/// Passive fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Osf {
    /// How the TTL is compared.
    pub ttl: OsfTtl,
    /// `version` instead of `name`.
    pub version: bool,
}

/// How the TTL of a fingerprint is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OsfTtl {
    /// As if the sender were on the same network.
    Strict,
    /// Less is allowed.
    Loose,
    /// Not at all.
    Skip,
}

/// A property of an IPsec state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ipsec {
    /// `out` instead of `in`.
    pub out: bool,
    /// Which state.
    pub spnum: u8,
    /// What.
    pub key: IpsecKey,
}

/// Properties of an IPsec state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IpsecKey {
    /// `spi`.
    Spi,
    /// `reqid`.
    Reqid,
    /// `ip saddr`.
    IpSaddr,
    /// `ip daddr`.
    IpDaddr,
    /// `ip6 saddr`.
    Ip6Saddr,
    /// `ip6 daddr`.
    Ip6Daddr,
}

/// A number generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numgen {
    /// `random` instead of `inc`.
    pub random: bool,
    /// Modulus.
    pub modulus: u64,
    /// Added to the result.
    pub offset: u64,
}

/// A hash.
#[derive(Clone, Debug)]
pub struct Hash {
    /// What is hashed; absent for `symhash`.
    pub of: Option<Expr>,
    /// Modulus.
    pub modulus: u64,
    /// Seed.
    pub seed: Option<u64>,
    /// Added to the result.
    pub offset: u64,
}

/// An element of a set or map.
#[derive(Clone, Debug)]
pub struct Element {
    /// The key: an expression, [`ExprKind::CatchAll`], or a nested set or variable that holds one.
    pub key: Expr,
    /// What it maps to.
    pub data: Option<Box<Expr>>,
    /// What few elements have.
    pub extra: Option<Box<ElementExtra>>,
}

/// What few elements have.
#[derive(Clone, Debug, Default)]
pub struct ElementExtra {
    /// `timeout`, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// `expires`, in milliseconds.
    pub expires_ms: Option<u64>,
    /// Its comment.
    pub comment: Option<Name>,
    /// Its statements.
    pub stmts: Vec<Stmt>,
    /// From the first of them to the last.
    pub span: Span,
}

/// A look-up.
#[derive(Clone, Debug)]
pub struct Map {
    /// What is looked up.
    pub key: Expr,
    /// Where: [`ExprKind::Set`], [`ExprKind::SetRef`] or a variable that holds one of them.
    pub map: Expr,
    /// `vmap` instead of `map`.
    pub verdict: bool,
}

/// Operators between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `&`.
    And,
    /// `|`.
    Or,
    /// `^`.
    Xor,
    /// `<<`.
    ShiftLeft,
    /// `>>`.
    ShiftRight,
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RelationalOp {
    /// None written: equal, in the set, or has one of the flags.
    Implicit,
    /// `==`.
    Eq,
    /// `!=`.
    Ne,
    /// `<`.
    Lt,
    /// `>`.
    Gt,
    /// `<=`.
    Le,
    /// `>=`.
    Ge,
    /// `!`: none of the flags.
    Not,
}

/// `tcp flags syn,ack / syn,ack,rst`.
#[derive(Clone, Debug)]
pub struct FlagCompare {
    /// The comparison, [`RelationalOp::Eq`] if none was written.
    pub op: RelationalOp,
    /// What is compared.
    pub expr: Expr,
    /// With what.
    pub value: Expr,
    /// In which bits.
    pub mask: Expr,
}

/// A verdict.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `continue`.
    Continue,
    /// `return`.
    Return,
    /// `jump C`; a name or a variable that holds one.
    Jump(Box<Expr>),
    /// `goto C`.
    Goto(Box<Expr>),
}
