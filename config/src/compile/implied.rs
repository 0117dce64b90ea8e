//! Matches that the checker put in for a protocol dependency.

use sluice_dataplane::program::Requires;

use super::key::guards;
use crate::model::expr::{ExprKind, MetaKey};
use crate::model::stmt::{Match, RelOp, Stmt};

/// An implied match.
#[derive(Clone, Copy, Debug)]
pub(super) struct Implied<'a> {
    /// The match.
    pub(super) matched: &'a Match,
    key: Option<(MetaKey, u128)>,
}

/// The implied match that a statement is.
pub(super) fn implied(stmt: &Stmt) -> Option<Implied<'_>> {
    let Stmt::Match(matched) = stmt else {
        return None;
    };
    if !matched.implicit {
        return None;
    }
    let key = match (&matched.left.kind, matched.op, matched.right.value()) {
        (ExprKind::Meta(key), RelOp::Eq, Some(value)) => Some((*key, value)),
        _ => None,
    };
    Some(Implied { matched, key })
}

impl Implied<'_> {
    /// Whether a key with this requirement makes the match unnecessary: all ports are Ethernet, and
    /// what a key requires is checked when it is loaded.
    pub(super) fn guarded_by(&self, requires: &Requires) -> bool {
        const ETHER: u128 = 1;
        match self.key {
            Some((MetaKey::Iiftype, ETHER)) => true,
            Some((key, value)) => guards(requires, key, value),
            None => false,
        }
    }
}
