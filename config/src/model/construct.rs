//! One row per construct: where it is allowed, what its result depends on, what it reads.
//!
//! The checker refuses by it, the compiler derives from it what may be remembered for a flow, and
//! the JSON form has its name here. Adding a construct adds a row.

use super::expr::{
    ChainRef, CtKey, Expr, ExprKind, ExthdrName, FibResult, MetaKey, RtKey, Verdict,
};
use super::rule::{ChainInfo, ChainType, Family, Hook, Rule};
use super::stmt::{NatKind, Stmt};

/// How long a result holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depends {
    /// The same for all packets of a flow.
    Flow,
    /// May differ from packet to packet.
    Packet,
    /// Changes something.
    SideEffect,
}

/// What else than the packet a result depends on; each has a version of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing.
    Nothing,
    /// The tracker's entry.
    Connection,
    /// A set or map.
    Set,
    /// Routes.
    Route,
    /// A shared cell (limit, quota, generator).
    Cell,
    /// Another chain.
    Chain,
    /// The time.
    Clock,
}

/// A row.
#[derive(Debug)]
pub struct Construct {
    /// nft's keyword.
    pub keyword: &'static str,
    /// Its name in libnftables-json.
    pub json: &'static str,
    /// Families in which it is allowed.
    pub families: u8,
    /// Hooks at which it is allowed.
    pub hooks: u8,
    /// Chain types, where they matter.
    pub chain: Option<ChainType>,
    /// How long its result holds.
    pub depends: Depends,
    /// What it reads beside the packet.
    pub reads: Reads,
}

const fn family(f: Family) -> u8 {
    1 << f as u8
}

const fn hook(h: Hook) -> u8 {
    1 << h as u8
}

const ALL: u8 = u8::MAX;
const IP: u8 = family(Family::Ip) | family(Family::Ip6) | family(Family::Inet);
const REJECTING: u8 = IP | family(Family::Bridge) | family(Family::Netdev);
const IN: u8 = hook(Hook::Prerouting) | hook(Hook::Input) | hook(Hook::Forward);
const OUT: u8 = hook(Hook::Output) | hook(Hook::Postrouting) | hook(Hook::Forward);
const PRE: u8 = hook(Hook::Prerouting);
const DST: u8 = hook(Hook::Prerouting) | hook(Hook::Output);
const SRC: u8 = hook(Hook::Postrouting) | hook(Hook::Input);
const POST: u8 = hook(Hook::Postrouting);
const DEVICE: u8 = hook(Hook::Ingress) | hook(Hook::Egress);

macro_rules! constructs {
    ($($name:ident = $keyword:literal $json:literal $families:expr, $hooks:expr, $chain:expr, $depends:ident, $reads:ident;)*) => {
        $(static $name: Construct = Construct {
            keyword: $keyword, json: $json, families: $families, hooks: $hooks, chain: $chain,
            depends: Depends::$depends, reads: Reads::$reads,
        };)*

        /// All rows.
        pub static CONSTRUCTS: &[&Construct] = &[$(&$name),*];
    };
}

constructs! {
    PAYLOAD = "payload" "payload" ALL, ALL, None, Packet, Nothing;
    ADDRESS = "address and port" "payload" ALL, ALL, None, Flow, Nothing;
    IP6_EXTENSION = "exthdr" "exthdr" ALL, ALL, None, Packet, Nothing;
    TCP_OPTION = "tcp option" "tcp option" ALL, ALL, None, Packet, Nothing;
    IP_OPTION = "ip option" "ip option" ALL, ALL, None, Packet, Nothing;
    SCTP_CHUNK = "sctp chunk" "sctp chunk" ALL, ALL, None, Packet, Nothing;
    DCCP_OPTION = "dccp option" "dccp option" ALL, ALL, None, Packet, Nothing;
    META_FLOW = "meta" "meta" ALL, ALL, None, Flow, Nothing;
    META_PACKET = "meta" "meta" ALL, ALL, None, Packet, Nothing;
    META_TIME = "meta time" "meta" ALL, ALL, None, Packet, Clock;
    CT_FLOW = "ct" "ct" ALL, ALL, None, Flow, Connection;
    CT_PACKET = "ct" "ct" ALL, ALL, None, Packet, Connection;
    ROUTE = "rt" "rt" IP, ALL, None, Flow, Route;
    ROUTE_MTU = "rt mtu" "rt" IP, OUT, None, Flow, Route;
    FIB = "fib" "fib" ALL, IN, None, Flow, Route;
    FIB_TYPE = "fib type" "fib" ALL, ALL, None, Flow, Route;
    SOCKET = "socket" "socket" IP, PRE | hook(Hook::Input) | hook(Hook::Output), None, Packet, Nothing;
    OSF = "osf" "osf" IP, IN, None, Packet, Nothing;
    NUMGEN = "numgen" "numgen" ALL, ALL, None, SideEffect, Cell;
    JHASH = "jhash" "jhash" ALL, ALL, None, Packet, Nothing;
    SYMHASH = "symhash" "symhash" ALL, ALL, None, Flow, Nothing;
    LOOKUP = "@" "set" ALL, ALL, None, Flow, Set;
    MAP = "map" "map" ALL, ALL, None, Flow, Set;

    MATCH = "" "match" ALL, ALL, None, Flow, Nothing;
    VERDICT = "verdict" "verdict" ALL, ALL, None, Flow, Nothing;
    JUMP = "jump" "jump" ALL, ALL, None, Flow, Chain;
    VMAP = "vmap" "vmap" ALL, ALL, None, Flow, Set;
    COUNTER = "counter" "counter" ALL, ALL, None, Flow, Nothing;
    LIMIT = "limit" "limit" ALL, ALL, None, SideEffect, Cell;
    QUOTA = "quota" "quota" ALL, ALL, None, SideEffect, Cell;
    LAST = "last" "last" ALL, ALL, None, SideEffect, Clock;
    CONNLIMIT = "ct count" "ct count" IP | family(Family::Bridge), ALL, None, SideEffect, Connection;
    OBJECT = "object" "counter" ALL, ALL, None, SideEffect, Cell;
    LOG = "log" "log" ALL, ALL, None, SideEffect, Nothing;
    REJECT = "reject" "reject" REJECTING, IN | hook(Hook::Output) | hook(Hook::Ingress), None, SideEffect, Nothing;
    MANGLE = "set" "mangle" ALL, ALL, None, SideEffect, Nothing;
    OPTION_RESET = "reset tcp option" "reset" ALL, ALL, None, SideEffect, Nothing;
    META_SET = "meta set" "mangle" ALL, ALL, None, SideEffect, Nothing;
    PKTTYPE_SET = "meta pkttype set" "mangle" ALL, PRE | hook(Hook::Ingress), None, SideEffect, Nothing;
    BROUTE_SET = "meta broute set" "mangle" family(Family::Bridge), PRE, None, SideEffect, Nothing;
    CT_SET = "ct set" "mangle" IP | family(Family::Bridge), ALL, None, SideEffect, Connection;
    NOTRACK = "notrack" "notrack" ALL, ALL, None, SideEffect, Connection;
    SNAT = "snat" "snat" IP, SRC, Some(ChainType::Nat), SideEffect, Connection;
    DNAT = "dnat" "dnat" IP, DST, Some(ChainType::Nat), SideEffect, Connection;
    MASQUERADE = "masquerade" "masquerade" IP, POST, Some(ChainType::Nat), SideEffect, Connection;
    REDIRECT = "redirect" "redirect" IP, DST, Some(ChainType::Nat), SideEffect, Connection;
    TPROXY = "tproxy" "tproxy" IP, PRE, None, SideEffect, Nothing;
    SYNPROXY = "synproxy" "synproxy" IP, hook(Hook::Input) | hook(Hook::Forward), None, SideEffect, Connection;
    DUP = "dup" "dup" family(Family::Ip) | family(Family::Ip6) | family(Family::Netdev), ALL, None, SideEffect, Nothing;
    FWD = "fwd" "fwd" family(Family::Netdev), DEVICE, None, SideEffect, Nothing;
    QUEUE = "queue" "queue" ALL, ALL, None, SideEffect, Nothing;
    FLOW = "flow add" "flow" IP, hook(Hook::Forward), None, SideEffect, Connection;
    SET_UPDATE = "add" "set" ALL, ALL, None, SideEffect, Set;
    METER = "meter" "meter" ALL, ALL, None, SideEffect, Set;
    NAT64 = "nat64" "nat64" IP, PRE, Some(ChainType::Nat), SideEffect, Connection;
    SIIT = "siit" "siit" IP, PRE, None, SideEffect, Nothing;
    IPSET_MATCH = "ipset" "ipset" ALL, ALL, None, SideEffect, Set;
    IPSET_CHANGE = "ipset add" "ipset" ALL, ALL, None, SideEffect, Set;
    SNPT = "snpt" "snpt" IP | family(Family::Bridge), POST, Some(ChainType::Filter), SideEffect, Nothing;
    DNPT = "dnpt" "dnpt" IP | family(Family::Bridge), PRE, Some(ChainType::Filter), SideEffect, Nothing;
}

/// The row of a statement.
pub fn of_stmt(stmt: &Stmt) -> &'static Construct {
    match stmt {
        Stmt::Match(_) => &MATCH,
        Stmt::Verdict(Verdict::Jump(_) | Verdict::Goto(_)) => &JUMP,
        Stmt::Verdict(_) => &VERDICT,
        Stmt::VerdictMap { .. } => &VMAP,
        Stmt::Counter { .. } => &COUNTER,
        Stmt::Limit(_) => &LIMIT,
        Stmt::Quota(_) => &QUOTA,
        Stmt::Last { .. } => &LAST,
        Stmt::ConnLimit { .. } => &CONNLIMIT,
        Stmt::Object {
            kind: super::ObjectKind::Synproxy,
            ..
        }
        | Stmt::Synproxy(_) => &SYNPROXY,
        Stmt::Object { .. } => &OBJECT,
        Stmt::Log(_) => &LOG,
        Stmt::Reject(_) => &REJECT,
        Stmt::Mangle { .. } => &MANGLE,
        Stmt::OptionReset(_) => &OPTION_RESET,
        Stmt::MetaSet {
            key: MetaKey::Pkttype,
            ..
        } => &PKTTYPE_SET,
        Stmt::MetaSet {
            key: MetaKey::Broute,
            ..
        } => &BROUTE_SET,
        Stmt::MetaSet { .. } => &META_SET,
        Stmt::CtSet { .. } => &CT_SET,
        Stmt::Notrack => &NOTRACK,
        Stmt::Nat(nat) => match nat.kind {
            NatKind::Snat => &SNAT,
            NatKind::Dnat => &DNAT,
            NatKind::Masquerade => &MASQUERADE,
            NatKind::Redirect => &REDIRECT,
        },
        Stmt::Tproxy { .. } => &TPROXY,
        Stmt::Dup { .. } => &DUP,
        Stmt::Fwd { .. } => &FWD,
        Stmt::Queue { .. } => &QUEUE,
        Stmt::FlowAdd(_) => &FLOW,
        Stmt::SetUpdate(_) => &SET_UPDATE,
        Stmt::Meter(_) => &METER,
        Stmt::Ipset(used) => match used.action {
            crate::ipset::rule::Action::Match(_) => &IPSET_MATCH,
            _ => &IPSET_CHANGE,
        },
        Stmt::Nat64(_) => &NAT64,
        Stmt::Siit(_) => &SIIT,
        Stmt::Npt {
            destination: false, ..
        } => &SNPT,
        Stmt::Npt {
            destination: true, ..
        } => &DNPT,
    }
}

/// The row of what an expression loads or asks; None for constants and operations.
pub fn of_expr(expr: &Expr) -> Option<&'static Construct> {
    Some(match &expr.kind {
        ExprKind::Payload(p) => match p.field {
            Some(field) if is_flow_field(field) => &ADDRESS,
            _ => &PAYLOAD,
        },
        ExprKind::Exthdr(ext) => match ext.name {
            ExthdrName::Ip6(_) => &IP6_EXTENSION,
            ExthdrName::Tcp(_) => &TCP_OPTION,
            ExthdrName::Ip(_) => &IP_OPTION,
            ExthdrName::Sctp(_) => &SCTP_CHUNK,
            ExthdrName::Dccp(_) => &DCCP_OPTION,
        },
        ExprKind::Meta(key) => of_meta(*key),
        ExprKind::Ct(ct) => match ct.key {
            CtKey::State
            | CtKey::Status
            | CtKey::Bytes
            | CtKey::Packets
            | CtKey::Avgpkt
            | CtKey::Expiration
            | CtKey::Mark
            | CtKey::Label
            | CtKey::Direction => &CT_PACKET,
            _ => &CT_FLOW,
        },
        ExprKind::Rt(RtKey::Mtu) => &ROUTE_MTU,
        ExprKind::Rt(_) => &ROUTE,
        ExprKind::Fib(fib) if fib.result == FibResult::Type => &FIB_TYPE,
        ExprKind::Fib(_) => &FIB,
        ExprKind::Socket(_) => &SOCKET,
        ExprKind::Osf(_) => &OSF,
        ExprKind::Numgen(_) => &NUMGEN,
        ExprKind::Hash(hash) if hash.key.is_none() => &SYMHASH,
        ExprKind::Hash(_) => &JHASH,
        ExprKind::SetRef(_) => &LOOKUP,
        ExprKind::Map { .. } => &MAP,
        _ => return None,
    })
}

fn of_meta(key: MetaKey) -> &'static Construct {
    use MetaKey as M;
    match key {
        M::Time | M::Day | M::Hour => &META_TIME,
        M::Nfproto
        | M::L4proto
        | M::Protocol
        | M::Iif
        | M::Iifname
        | M::Iiftype
        | M::Iifgroup
        | M::Iifkind
        | M::Ibrname
        | M::Ibrpvid
        | M::Ibrvproto
        | M::Oif
        | M::Oifname
        | M::Oiftype
        | M::Oifgroup
        | M::Oifkind
        | M::Obrname => &META_FLOW,
        _ => &META_PACKET,
    }
}

/// Fields that all packets of one direction of a flow share.
fn is_flow_field(field: super::expr::HeaderField) -> bool {
    use super::expr::HeaderField as F;
    matches!(
        field,
        F::IpSaddr
            | F::IpDaddr
            | F::IpProtocol
            | F::IpVersion
            | F::Ip6Saddr
            | F::Ip6Daddr
            | F::Ip6Version
            | F::TcpSport
            | F::TcpDport
            | F::UdpSport
            | F::UdpDport
            | F::UdpliteSport
            | F::UdpliteDport
            | F::SctpSport
            | F::SctpDport
            | F::DccpSport
            | F::DccpDport
            | F::ThSport
            | F::ThDport
    )
}

/// Whether the kernel would take a rule in a base chain: hooks and chain types of its statements and
/// of what they read. Chains without a hook are judged where they are jumped to.
pub fn allowed(rule: &Rule, family: Family, chain: &ChainInfo) -> bool {
    rule.stmts
        .iter()
        .all(|stmt| stmt_allowed(stmt, family, chain))
}

fn stmt_allowed(stmt: &Stmt, family: Family, chain: &ChainInfo) -> bool {
    if let Stmt::Verdict(
        Verdict::Jump(ChainRef::Anonymous(rules)) | Verdict::Goto(ChainRef::Anonymous(rules)),
    ) = stmt
    {
        return rules.iter().all(|rule| allowed(rule, family, chain));
    }
    let row = of_stmt(stmt);
    if matches!(stmt, Stmt::Synproxy(_)) && row.families & self::family(family) == 0 {
        // Refused where the rule is stored, in other words.
        return true;
    }
    let bridge_reject = matches!(stmt, Stmt::Reject(_)) && family == Family::Bridge;
    let hooks = if bridge_reject {
        PRE | hook(Hook::Input)
    } else {
        row.hooks
    };
    // A family without connections is refused where the rule is stored, in other words.
    let has_family = row.families & self::family(family) != 0
        || matches!(stmt, Stmt::CtSet { .. } | Stmt::ConnLimit { .. });
    let here = has_family
        && hooks & hook(chain.hook) != 0
        && row.chain.is_none_or(|kind| kind == chain.kind);
    here && match stmt {
        Stmt::Match(m) => expr_allowed(&m.left, chain),
        Stmt::VerdictMap { key, .. } => expr_allowed(key, chain),
        Stmt::MetaSet { value, .. } | Stmt::CtSet { value, .. } | Stmt::Mangle { value, .. } => {
            expr_allowed(value, chain)
        }
        _ => true,
    }
}

fn expr_allowed(expr: &Expr, chain: &ChainInfo) -> bool {
    let here = of_expr(expr).is_none_or(|row| row.hooks & hook(chain.hook) != 0);
    here && match &expr.kind {
        ExprKind::Concat(parts) => parts.iter().all(|p| expr_allowed(p, chain)),
        ExprKind::Binop { left, .. } => expr_allowed(left, chain),
        ExprKind::Map { key, .. } => expr_allowed(key, chain),
        // With another result it is refused everywhere, where the rule is stored.
        ExprKind::Fib(fib) if fib.oif && fib.result == FibResult::Type => {
            OUT & hook(chain.hook) != 0
        }
        ExprKind::Fib(fib) if fib.oif => true,
        ExprKind::Fib(fib) if fib.iif => IN & hook(chain.hook) != 0,
        _ => true,
    }
}
