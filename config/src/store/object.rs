//! Named stateful objects and flowtables.

use sluice_dataplane::program::CounterSlot;

use super::{CellSlot, Id, Name};
use crate::model::ObjectKind;
use crate::model::stmt::{Limit, Quota, Synproxy};
use crate::syntax::ast;

/// A named object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Never reused; kept over a reload.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// Its handle.
    pub handle: u64,
    /// What it is.
    pub body: ObjectBody,
    /// Its comment.
    pub comment: Option<Name>,
}

/// What is particular to a kind of object.
#[derive(Clone, Debug)]
pub enum ObjectBody {
    /// A counter.
    Counter {
        /// Packets at the start.
        packets: u64,
        /// Bytes at the start.
        bytes: u64,
        /// Where it counts.
        slot: CounterSlot,
    },
    /// A quota.
    Quota {
        /// Size, use at the start, direction.
        quota: Quota,
        /// Where it counts.
        cell: CellSlot,
    },
    /// A limit.
    Limit {
        /// Its rate.
        limit: Limit,
        /// Where it counts.
        cell: CellSlot,
    },
    /// A synproxy.
    Synproxy(Synproxy),
    /// A ct helper.
    CtHelper(ast::CtHelper),
    /// A ct timeout policy.
    CtTimeout(ast::CtTimeout),
    /// A ct expectation.
    CtExpectation(ast::CtExpectation),
    /// A security mark; listed, never evaluated.
    Secmark(Name),
    /// Stateful NAT64.
    Nat64(Box<ast::Nat64>),
    /// Stateless translation.
    Siit(Box<ast::Siit>),
}

impl ObjectBody {
    /// Its kind.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Counter { .. } => ObjectKind::Counter,
            Self::Quota { .. } => ObjectKind::Quota,
            Self::Limit { .. } => ObjectKind::Limit,
            Self::Synproxy(_) => ObjectKind::Synproxy,
            Self::CtHelper(_) => ObjectKind::CtHelper,
            Self::CtTimeout(_) => ObjectKind::CtTimeout,
            Self::CtExpectation(_) => ObjectKind::CtExpectation,
            Self::Secmark(_) => ObjectKind::Secmark,
            Self::Nat64(_) => ObjectKind::Nat64,
            Self::Siit(_) => ObjectKind::Siit,
        }
    }
}

/// A flowtable. Our own fast path needs none: a rule that adds to it accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flowtable {
    /// Its name.
    pub name: Name,
    /// Its handle.
    pub handle: u64,
    /// Its priority.
    pub priority: i32,
    /// Its devices, sorted.
    pub devices: Vec<Name>,
    /// `flags offload`.
    pub offload: bool,
    /// `counter`.
    pub counter: bool,
}
