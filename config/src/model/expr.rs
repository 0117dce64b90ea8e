//! Typed expressions: what is loaded from a packet, constants, and what is computed from both.
//!
//! Every expression knows its data type, its size in bits and its byte order. Values are numbers
//! of at most 128 bits in host order; text is its bytes read as a big-endian number of the type's
//! size, zero padded behind. A constant never holds more bits than its expression says.

use super::datatype::{ByteOrder, TypeId};
use super::rule::Rule;
use super::stmt::Stmt;
pub use crate::syntax::ast::{
    BinaryOp as BinOp, Ct, CtDir, CtKey, HeaderField, MetaKey, PayloadBase,
};
use crate::syntax::ast::{DccpOption, ExtHeader, IpOption, SctpChunk, TcpOption};

/// A typed expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expr {
    /// Its data type.
    pub ty: TypeId,
    /// Its size; of a concatenation the sum of its parts.
    pub bits: u16,
    /// How the kernel holds it.
    pub order: ByteOrder,
    /// What it is.
    pub kind: ExprKind,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExprKind {
    /// A constant.
    Value(u128),
    /// The values whose `len` most significant bits are those of `value` (`10.0.0.0/8`, `eth*`).
    Prefix {
        /// The value, host bits cleared.
        value: u128,
        /// Bits that count.
        len: u16,
    },
    /// `lo-hi`, both included.
    Range {
        /// Smallest value.
        lo: u128,
        /// Largest value.
        hi: u128,
    },
    /// `*`: the element of a set or map that is used when no other is.
    CatchAll,
    /// A range or prefix's bounds when they are computed or typed otherwise (`10.0.0.1-10.0.0.9` in
    /// the data of a translation map is [`ExprKind::Range`]); here: parts side by side.
    Concat(Vec<Expr>),
    /// A verdict, as the data of a map.
    Verdict(Verdict),
    /// Bits of the packet.
    Payload(Payload),
    /// A field of an extension header or an option, or whether it is there.
    Exthdr(Exthdr),
    /// Data about the packet.
    Meta(MetaKey),
    /// Data about its connection.
    Ct(Ct),
    /// Data about its route.
    Rt(RtKey),
    /// A look-up in the routing table.
    Fib(Fib),
    /// The socket the packet belongs to (refused where a packet could reach it).
    Socket(SocketKey),
    /// Passive fingerprint of the operating system.
    Osf(Osf),
    /// A number generator.
    Numgen(Numgen),
    /// A hash.
    Hash(Hash),
    /// `left op right`; `right` is a constant unless noted by the checker.
    Binop {
        /// The operator.
        op: BinOp,
        /// What is computed on.
        left: Box<Expr>,
        /// The constant.
        right: Box<Expr>,
    },
    /// `{ ... }`, with or without data: an anonymous set or map.
    Set(Box<SetExpr>),
    /// `@name`.
    SetRef(String),
    /// `key map { ... }` or `key map @name`: `map` is a [`ExprKind::Set`] or [`ExprKind::SetRef`].
    Map {
        /// What is looked up.
        key: Box<Expr>,
        /// Where.
        map: Box<Expr>,
    },
}

/// Where a verdict sends the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The chain's hook is left, the next base chain runs.
    Accept,
    /// The packet ends.
    Drop,
    /// The next rule.
    Continue,
    /// Back to the caller.
    Return,
    /// A chain, then the next rule.
    Jump(ChainRef),
    /// A chain instead of the rest of this one.
    Goto(ChainRef),
}

/// A chain that a verdict names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainRef {
    /// A chain of the same table.
    Name(String),
    /// `jump { rules }`.
    Anonymous(Vec<Rule>),
}

/// Bits of the packet, first bit of the header is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The header.
    pub base: PayloadBase,
    /// First bit.
    pub offset: u16,
    /// Number of bits, 1 to 128.
    pub bits: u16,
    /// The header's field, or None for `@base,offset,bits`.
    pub field: Option<HeaderField>,
    /// What must hold for the bits to mean the field; empty for a raw load. All must hold. The
    /// checker also puts a match for each before the statement, unless the rule has one already.
    pub requires: Vec<Requirement>,
}

/// A protocol dependency.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// `ether type` / `meta protocol` is this.
    EtherType(u16),
    /// `vlan type` (the EtherType behind one VLAN tag) is this.
    VlanType(u16),
    /// The device's hardware type (`meta iiftype`).
    IfType(u16),
    /// `meta nfproto` is this (2 or 10).
    NfProto(u8),
    /// `meta l4proto` is this.
    L4Proto(u8),
    /// The first byte of the ICMP header is one of these.
    IcmpType(&'static [u8]),
}

/// What of an option or extension header is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exthdr {
    /// nft's words for it; they also say where headers of this kind are.
    pub name: ExthdrName,
    /// Next-header number, option kind or chunk type.
    pub kind: u8,
    /// First bit within the header or option.
    pub offset: u16,
    /// Number of bits; 8 with `present`.
    pub bits: u16,
    /// Only whether it is there (1 or 0).
    pub present: bool,
    /// What must hold (`L4Proto(6)` for TCP options ...).
    pub requires: Vec<Requirement>,
}

/// The kinds of [`Exthdr`] with nft's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExthdrName {
    /// IPv6 extension headers; `kind` is the next-header number.
    Ip6(ExtHeader),
    /// TCP options.
    Tcp(TcpOption),
    /// IPv4 options.
    Ip(IpOption),
    /// SCTP chunks.
    Sctp(SctpChunk),
    /// DCCP options.
    Dccp(DccpOption),
}

/// `rt` keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum RtKey {
    ClassId,
    NextHop,
    NextHopIp,
    NextHopIp6,
    Mtu,
    Ipsec,
}

/// `socket` keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum SocketKey {
    Transparent,
    Mark,
    Wildcard,
    CgroupV2 { level: u32 },
}

/// `osf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Osf {
    /// `ttl loose` (1) or `ttl skip` (2); 0: strict.
    pub ttl: u8,
    /// `version` instead of `name`.
    pub version: bool,
}

/// `fib FLAGS RESULT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fib {
    /// Look up the source address.
    pub saddr: bool,
    /// Look up the destination address.
    pub daddr: bool,
    /// With the packet's mark.
    pub mark: bool,
    /// Only routes by the port it came in.
    pub iif: bool,
    /// Only routes by the port it leaves.
    pub oif: bool,
    /// What is asked.
    pub result: FibResult,
}

/// What a [`Fib`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FibResult {
    /// Index of the way out.
    Oif,
    /// Name of the way out.
    OifName,
    /// Type of the address.
    Type,
    /// Whether there is a route (`fib ... oif exists`).
    Present,
}

/// `numgen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Numgen {
    /// `random` instead of `inc`.
    pub random: bool,
    /// `mod N`
    pub modulus: u32,
    /// `offset N`
    pub offset: u32,
}

/// `jhash` and `symhash`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash {
    /// What is hashed; None: `symhash`.
    pub key: Option<Box<Expr>>,
    /// `mod N`
    pub modulus: u32,
    /// `seed N`, where given.
    pub seed: Option<u32>,
    /// `offset N`
    pub offset: u32,
}

/// The contents of an anonymous set, a map, or what a named one is declared or filled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetExpr {
    /// Type of the keys.
    pub key: SetType,
    /// Type of the data of a map.
    pub data: Option<DataType>,
    /// Has ranges or prefixes.
    pub interval: bool,
    /// Elements, normalised: sorted as nft lists them, adjacent ones merged where nft merges.
    pub elements: Vec<Element>,
}

/// The type of a set's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetType {
    /// One entry per part of a concatenation; a single one otherwise.
    pub parts: Vec<KeyPart>,
    /// Declared by `typeof`: the expression, for listings.
    pub type_of: Option<Box<Expr>>,
}

/// A part of a [`SetType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// Data type.
    pub ty: TypeId,
    /// Size.
    pub bits: u16,
    /// Byte order.
    pub order: ByteOrder,
}

/// What a map yields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataType {
    /// Verdicts.
    Verdict,
    /// A value (or values side by side).
    Value(SetType),
    /// A value that may be a range or prefix: `interval`.
    Interval(SetType),
    /// A named object.
    Object(super::rule::ObjectKind),
}

/// An element of a set or map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Value, prefix, range, concatenation of these, or the catch-all.
    pub key: Expr,
    /// What a map yields: a value, verdict, or the name of an object ([`ExprKind::SetRef`] is never
    /// used for it; see [`Element::object`]).
    pub data: Option<Expr>,
    /// The object that the element of an object map names.
    pub object: Option<String>,
    /// Statements of the element (counter, limit, quota ...).
    pub stmts: Vec<Stmt>,
    /// `timeout`, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// `expires`, in milliseconds.
    pub expires_ms: Option<u64>,
    /// `comment`.
    pub comment: Option<String>,
}

impl Expr {
    /// The constant that it is.
    pub fn value(&self) -> Option<u128> {
        match self.kind {
            ExprKind::Value(v) => Some(v),
            _ => None,
        }
    }

    /// Whether nothing of it comes from a packet.
    pub fn is_constant(&self) -> bool {
        match &self.kind {
            ExprKind::Value(_)
            | ExprKind::Prefix { .. }
            | ExprKind::Range { .. }
            | ExprKind::CatchAll
            | ExprKind::Verdict(_)
            | ExprKind::Set(_)
            | ExprKind::SetRef(_) => true,
            ExprKind::Concat(parts) => parts.iter().all(Expr::is_constant),
            ExprKind::Binop { left, right, .. } => left.is_constant() && right.is_constant(),
            _ => false,
        }
    }
}
