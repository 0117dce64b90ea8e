//! What of the dataplane beyond the VM a program needs; each is one bit.

use super::op::{ElementStatement, MetaSetKey, ObjectKind, Op};

/// Connection tracking.
pub const TRACK: u32 = 1;
/// Address translation (needs tracking).
pub const NAT: u32 = 1 << 1;
/// SYN proxy.
pub const SYNPROXY: u32 = 1 << 2;
/// A queue to user processes.
pub const QUEUE: u32 = 1 << 3;
/// A route table.
pub const ROUTES: u32 = 1 << 4;
/// Transparent proxy.
pub const TPROXY: u32 = 1 << 5;
/// Flow tables.
pub const FLOWTABLE: u32 = 1 << 6;
/// Family and prefix translators.
pub const TRANSLATE: u32 = 1 << 7;
/// Frames that are routed although they came by a bridge.
pub const BROUTE: u32 = 1 << 8;

/// Copies that are routed to an address.
pub const COPIES: u32 = 1 << 9;

/// Each bit with its name, for refusals and listings.
pub const NAMES: &[(u32, &str)] = &[
    (TRACK, "connection tracking"),
    (NAT, "address translation"),
    (SYNPROXY, "synproxy"),
    (QUEUE, "queue"),
    (ROUTES, "routes"),
    (TPROXY, "tproxy"),
    (FLOWTABLE, "flow tables"),
    (TRANSLATE, "prefix and family translation"),
    (BROUTE, "broute"),
    (COPIES, "dup and fwd to an address"),
];

impl Op {
    /// Whether it changes state that other packets can see. What packets of one connection see of one
    /// another is in [`ConnectionUse`](super::connection::ConnectionUse).
    pub fn has_effects(&self) -> bool {
        matches!(
            self,
            Self::DynSet { .. }
                | Self::FactAct { .. }
                | Self::FactMatch { writes: true, .. }
                | Self::Cell { .. }
                | Self::NumgenInc { .. }
                | Self::ObjectMap {
                    kind: ObjectKind::Quota | ObjectKind::Limit,
                    ..
                }
        )
    }

    /// What beyond the VM the instruction itself needs, as bits of this module; what its keys
    /// need comes on top.
    pub fn engines(&self) -> u32 {
        match self {
            Self::CtSet { .. } | Self::Notrack => TRACK,
            Self::Nat { .. } => TRACK | NAT,
            Self::Tproxy { .. } => TPROXY,
            Self::Synproxy { .. } => TRACK | SYNPROXY,
            Self::Queue { .. } => QUEUE,
            Self::FlowOffload { .. } => TRACK | FLOWTABLE,
            Self::Nat64 { .. } | Self::Translate { .. } => TRACK | TRANSLATE,
            Self::EngineObject { kind, .. } | Self::ObjectMap { kind, .. } => match kind {
                ObjectKind::Counter | ObjectKind::Quota | ObjectKind::Limit => 0,
                ObjectKind::Synproxy => TRACK | SYNPROXY,
                ObjectKind::CtHelper | ObjectKind::CtTimeout | ObjectKind::CtExpectation => TRACK,
            },
            Self::MetaSet {
                key: MetaSetKey::Broute,
                ..
            } => BROUTE,
            Self::DynSet { statements, .. } => {
                let connections = |statement: &ElementStatement| {
                    matches!(statement, ElementStatement::ConnLimit { .. })
                };
                if statements.iter().any(connections) {
                    TRACK
                } else {
                    0
                }
            }
            Self::Dup {
                address: Some(_), ..
            }
            | Self::Fwd {
                address: Some(_), ..
            } => COPIES,
            _ => 0,
        }
    }
}
