//! The checked model of everything inside a rule or a set element.
//!
//! A syntax tree comes in ([`check`]), typed statements come out, and [`print`] turns them back
//! into the text that nft lists. Between the two lies nft's *canonical* form: the one in which the
//! kernel holds a rule. Implicit protocol dependencies are statements of it, marked as such.
//!
//! Limits: one value has at most 128 bits; wider ones are concatenations or are refused.

pub mod check;
pub mod construct;
pub mod datatype;
pub mod elements;
pub mod expr;
pub mod print;
pub mod protocol;
pub mod rule;
pub mod services;
pub mod stmt;
pub mod symbols;
pub mod time;

pub use check::{Place, check_elements, check_rule};
pub use datatype::{ByteOrder, TypeId};
pub use expr::{Element, Expr, ExprKind, SetExpr};
pub use print::{print_element, print_elements, print_rule};
pub use rule::{
    ChainInfo, ChainType, Family, Hook, ObjectKind, PrintOptions, Rule, RuleContext, Scope,
};
pub use stmt::Stmt;
