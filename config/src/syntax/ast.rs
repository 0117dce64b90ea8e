//! The syntax tree: what was written, before anything is looked up.
//!
//! Comes from the parser and goes to the model, which resolves names, types and references. Invariants:
//! every node has the span that nft would complain about; variables are already bound (a use of `$x`
//! shares the defining expression); block forms are one nested object, as in nft.

mod expr;
mod field;
mod object;
mod stmt;

pub use expr::*;
pub use field::*;
pub use object::*;
pub use stmt::*;

use super::source::{Span, Spanned};

/// A short string, held inline up to 24 bytes.
pub type Text = compact_str::CompactString;

/// A name with its place.
pub type Name = Spanned<Text>;

/// Address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4, the default.
    Ip,
    /// IPv6.
    Ip6,
    /// IPv4 and IPv6.
    Inet,
    /// ARP.
    Arp,
    /// Ethernet bridge.
    Bridge,
    /// Ingress and egress of one device.
    Netdev,
}

impl Family {
    /// nft's keyword.
    #[must_use]
    pub fn keyword(self) -> &'static str {
        match self {
            Family::Ip => "ip",
            Family::Ip6 => "ip6",
            Family::Inet => "inet",
            Family::Arp => "arp",
            Family::Bridge => "bridge",
            Family::Netdev => "netdev",
        }
    }

    /// The family with that keyword.
    #[must_use]
    pub fn from_keyword(word: &str) -> Option<Self> {
        Some(match word {
            "ip" => Family::Ip,
            "ip6" => Family::Ip6,
            "inet" => Family::Inet,
            "arp" => Family::Arp,
            "bridge" => Family::Bridge,
            "netdev" => Family::Netdev,
            _ => return None,
        })
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Create unless it is there.
    Add,
    /// Create; it must not be there.
    Create,
    /// A rule in front.
    Insert,
    /// Another rule in its place.
    Replace,
    /// Remove; it must be there.
    Delete,
    /// Remove if it is there (nft 1.0.7).
    Destroy,
    /// Look up elements.
    Get,
    /// Print.
    List,
    /// Print and set to zero.
    Reset,
    /// Empty.
    Flush,
    /// Another name.
    Rename,
    /// Explain an expression or a data type.
    Describe,
    /// Read a ruleset in another format.
    Import,
    /// Print a ruleset in another format.
    Export,
    /// Follow changes.
    Monitor,
}

/// One command.
#[derive(Clone, Debug)]
pub struct Command {
    /// What to do.
    pub op: Op,
    /// With what.
    pub object: Object,
    /// From the object's keyword to the end, as nft's locations.
    pub span: Span,
}

/// A table by name or by handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRef {
    /// `ip` when none was written.
    pub family: Family,
    /// Which table.
    pub which: Which,
}

/// Something by name or by `handle N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By its name.
    Name(Name),
    /// By its handle; the span covers the number.
    Handle(Spanned<u64>),
}

impl Which {
    /// The name, if it is one.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match self {
            Which::Name(name) => Some(name),
            Which::Handle(_) => None,
        }
    }

    /// Its place.
    #[must_use]
    pub fn span(&self) -> Span {
        match self {
            Which::Name(name) => name.span,
            Which::Handle(handle) => handle.span,
        }
    }
}

/// Something inside a table: chain, set, map, flowtable, stateful object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRef {
    /// `ip` when none was written.
    pub family: Family,
    /// The table.
    pub table: Name,
    /// The thing in it.
    pub which: Which,
}

/// Which tables a listing covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All tables, of one family if given.
    Family(Option<Family>),
    /// One table (`list sets table ip x`).
    Table(TableRef),
}

/// Where a rule goes, or which rule is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulePosition {
    /// `handle N`: this rule (replace, delete), or behind (add) or before (insert) it.
    Handle(Spanned<u64>),
    /// `position N`, the older spelling of the same for add and insert.
    Position(Spanned<u64>),
    /// `index N`, counted from 0.
    Index(Spanned<u64>),
}

/// What a command is about.
#[derive(Clone, Debug)]
pub enum Object {
    /// A table; the body is there for the block form.
    Table {
        /// Which.
        table: TableRef,
        /// What stands in braces.
        body: Option<Box<TableBody>>,
    },
    /// `list tables`.
    Tables(Scope),
    /// A chain.
    Chain {
        /// Which.
        chain: ItemRef,
        /// What stands in braces.
        body: Option<Box<ChainBody>>,
    },
    /// `list chains`.
    Chains(Scope),
    /// A rule.
    Rule {
        /// Its chain.
        chain: ItemRef,
        /// Where in the chain.
        position: Option<RulePosition>,
        /// The rule; absent for delete and reset.
        rule: Option<Box<Rule>>,
    },
    /// `reset rules`, for all, a table or a chain (nft 1.0.7).
    Rules {
        /// Which tables.
        scope: Scope,
        /// Which chain of the table.
        chain: Option<Name>,
    },
    /// A set or a map.
    Set {
        /// `set` or `map`.
        keyword: SetKeyword,
        /// Which.
        set: ItemRef,
        /// What stands in braces.
        body: Option<Box<SetBody>>,
    },
    /// `list sets`, `list maps`, `list meters`.
    Sets {
        /// Which kind.
        keyword: SetKeyword,
        /// Which tables.
        scope: Scope,
    },
    /// Elements of a set or map.
    Elements {
        /// The set.
        set: ItemRef,
        /// [`ExprKind::Set`] or a variable that holds one.
        elements: Box<Expr>,
    },
    /// A flowtable.
    Flowtable {
        /// Which.
        flowtable: ItemRef,
        /// What stands in braces.
        body: Option<Box<FlowtableBody>>,
    },
    /// `list flowtables`.
    Flowtables(Scope),
    /// A stateful object.
    Stateful {
        /// Its kind.
        kind: ObjectKind,
        /// Which.
        object: ItemRef,
        /// Its properties; absent where none were written.
        body: Option<Box<ObjectBody>>,
    },
    /// `list counters`, `reset quotas`, `list ct helpers`.
    Statefuls {
        /// Their kind.
        kind: ObjectKind,
        /// Which tables.
        scope: Scope,
    },
    /// The whole ruleset, of one family if given.
    Ruleset(Option<Family>),
    /// `list hooks`.
    Hooks {
        /// Of one family.
        family: Option<Family>,
        /// Of one device.
        device: Option<Name>,
    },
    /// `rename chain A B`.
    Rename {
        /// The chain.
        chain: ItemRef,
        /// Its new name.
        to: Name,
    },
    /// `describe`.
    Expr(Box<Expr>),
    /// `monitor`.
    Monitor {
        /// `new` or `destroy`, as written.
        event: Option<Name>,
        /// What to follow.
        what: MonitorObject,
        /// Output format.
        format: Option<Markup>,
    },
    /// `import` and `export`.
    Markup(Markup),
}

/// `set`, `map` or `meter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetKeyword {
    /// A set.
    Set,
    /// A map.
    Map,
    /// A meter (a dynamic set that a `meter` statement made); `flow table` is the older spelling.
    Meter,
}

/// What `monitor` follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MonitorObject {
    /// Everything.
    Any,
    /// Tables.
    Tables,
    /// Chains.
    Chains,
    /// Sets.
    Sets,
    /// Rules.
    Rules,
    /// Elements.
    Elements,
    /// The whole ruleset.
    Ruleset,
    /// Packet traces.
    Trace,
}

/// A format for import, export and monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Markup {
    /// XML, which nft itself no longer supports.
    Xml,
    /// JSON.
    Json,
    /// The low-level JSON form (`vm json`).
    VmJson,
}
