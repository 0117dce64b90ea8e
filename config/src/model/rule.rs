//! A rule, the place in which it stands, and the names that it may use.

use super::expr::{DataType, SetType};
use super::stmt::Stmt;
pub use crate::syntax::ast::{ChainType, Family, HookPoint as Hook, ObjectKind};

/// A checked rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Statements in order.
    pub stmts: Vec<Stmt>,
    /// `comment`.
    pub comment: Option<String>,
}

/// Type, hook and priority of the base chain that a rule stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainInfo {
    /// Its type.
    pub kind: ChainType,
    /// Its hook.
    pub hook: Hook,
    /// Its priority.
    pub priority: i32,
}

/// What a set or map of the table is, for a rule that refers to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetInfo {
    /// Its name.
    pub name: String,
    /// Type of its keys.
    pub key: SetType,
    /// Type of a map's data.
    pub data: Option<DataType>,
    /// `flags interval`.
    pub interval: bool,
    /// `flags dynamic` (or a timeout): the packet path may change it.
    pub dynamic: bool,
    /// `flags constant`.
    pub constant: bool,
    /// Has a `timeout` or `flags timeout`.
    pub timeout: bool,
    /// `auto-merge`.
    pub auto_merge: bool,
    /// Statements that each element has (`counter` in the declaration).
    pub stmts: Vec<Stmt>,
}

/// The names that a rule may use; the store answers.
pub trait Scope {
    /// A set or map of the rule's table.
    fn set(&self, name: &str) -> Option<SetInfo>;
    /// Whether the table has this object.
    fn object(&self, kind: ObjectKind, name: &str) -> bool;
    /// Whether the table has this chain.
    fn chain(&self, name: &str) -> bool;
    /// Whether the table has this flowtable.
    fn flowtable(&self, name: &str) -> bool;
    /// Index of a port by its name (`iif "x"`).
    fn port_index(&self, _name: &str) -> Option<u32> {
        None
    }
    /// What nft adds to the complaint about an unknown set ("; did you mean set ...").
    fn similar_sets(&self, _name: &str) -> Option<String> {
        None
    }
    /// The same for a chain.
    fn similar_chain(&self, _name: &str) -> Option<String> {
        None
    }
    /// The same for an object.
    fn similar_object(&self, _kind: ObjectKind, _name: &str) -> Option<String> {
        None
    }
}

/// Where a rule stands.
#[derive(Clone, Copy)]
pub struct RuleContext<'a> {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: &'a str,
    /// The chain's hook; None for a chain without one.
    pub chain: Option<ChainInfo>,
    /// What names mean.
    pub scope: &'a dyn Scope,
}

/// Name and index of the loopback interface.
pub const LOOPBACK: (&str, u32) = ("lo", 1);

/// Names of ports by index, for listings of `iif` and `oif`.
pub trait PortNames {
    /// The port's name.
    fn port_name(&self, index: u32) -> Option<String>;
}

/// Options of a listing; the default is `nft list ruleset` without any.
#[derive(Clone, Copy, Default)]
pub struct PrintOptions<'a> {
    /// `-a`: handles.
    pub handle: bool,
    /// `-s`: no counters, no quota use, no elements' state.
    pub stateless: bool,
    /// `-t`: no contents of sets.
    pub terse: bool,
    /// `-S`: service names.
    pub service: bool,
    /// `-N`: host names (accepted; addresses are printed as numbers, no resolver is asked).
    pub reverse_dns: bool,
    /// `-u`: user names.
    pub guid: bool,
    /// `-n`, `-y`: priorities as numbers.
    pub numeric_priority: bool,
    /// `-n`, `-p`: protocols as numbers.
    pub numeric_protocol: bool,
    /// `-n`, `-T`: times as numbers.
    pub numeric_time: bool,
    /// `-n`: symbols as numbers.
    pub numeric_symbol: bool,
    /// What `iif` and `oif` numbers are called.
    pub ports: Option<&'a dyn PortNames>,
}
