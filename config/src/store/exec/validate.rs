//! What the kernel takes where: statements and expressions that only some hooks have.
//!
//! A rule in a base chain is held against its hook at once; one in another chain against every base
//! chain from which packets can come to it, when the rule or the jump is added.

use super::{Done, Errno, Transaction, refuse};
use crate::model::expr::{FibResult, MetaKey, RtKey};
use crate::model::stmt::NatKind;
use crate::model::{ChainType, ExprKind, Family, Hook, ObjectKind, Rule, Stmt};
use crate::store::place::{Visited, visit_rule};
use crate::store::references::Node;
use crate::store::{BaseChain, Chain, Name, Table};
use crate::syntax::Span;

/// Something that not every hook has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// A translation.
    Nat(NatKind),
    /// `reject`.
    Reject,
    /// `tproxy`.
    Tproxy,
    /// `synproxy`, also by name.
    Synproxy,
    /// `flow add`.
    Flow,
    /// `rt`, but for `rt mtu`.
    Route,
    /// `rt mtu`.
    RouteMtu,
    /// `fib ... oif` and `oifname`.
    FibRoute,
    /// `fib ... type`.
    FibType,
    /// `socket`.
    Socket,
    /// `osf`.
    Osf,
    /// `meta pkttype set`.
    PktTypeSet,
}

impl Demand {
    /// Whether a hook has it.
    fn met(self, family: Family, base: &BaseChain) -> bool {
        use Hook::{Egress, Forward, Ingress, Input, Output, Postrouting, Prerouting};
        let hook = base.hook;
        let at = |hooks: &[Hook]| hooks.contains(&hook);
        let nat = base.kind == ChainType::Nat;
        let routed = matches!(family, Family::Ip | Family::Ip6 | Family::Inet);
        match self {
            Self::Nat(NatKind::Snat) => nat && at(&[Postrouting, Input]),
            Self::Nat(NatKind::Dnat | NatKind::Redirect) => nat && at(&[Prerouting, Output]),
            Self::Nat(NatKind::Masquerade) => nat && at(&[Postrouting]),
            Self::Reject if family == Family::Bridge => at(&[Prerouting, Input]),
            Self::Reject if family == Family::Netdev => at(&[Ingress]),
            Self::Reject => at(&[Prerouting, Input, Forward, Output, Ingress]),
            Self::Tproxy => at(&[Prerouting]),
            Self::Synproxy => at(&[Input, Forward]),
            Self::Flow => at(&[Forward]),
            Self::Route => routed,
            Self::RouteMtu => routed && at(&[Forward, Output, Postrouting]),
            Self::FibRoute if family == Family::Netdev => at(&[Ingress]),
            Self::FibRoute => at(&[Prerouting, Input, Forward]),
            Self::FibType if family == Family::Netdev => at(&[Ingress, Egress]),
            Self::FibType => !at(&[Ingress, Egress]),
            Self::Socket => at(&[Prerouting, Input, Output]),
            Self::Osf => at(&[Prerouting, Input, Forward]),
            Self::PktTypeSet if family == Family::Netdev => at(&[Ingress]),
            Self::PktTypeSet => at(&[Prerouting]),
        }
    }
}

/// What a rule demands, each thing once.
pub(super) fn demands(rule: &Rule) -> Vec<Demand> {
    let mut all = Vec::new();
    visit_rule(rule, &mut |visited| {
        let demand = match visited {
            Visited::Stmt(stmt) => match stmt {
                Stmt::Nat(nat) => Some(Demand::Nat(nat.kind)),
                Stmt::Reject(_) => Some(Demand::Reject),
                Stmt::Tproxy { .. } => Some(Demand::Tproxy),
                Stmt::Synproxy(_)
                | Stmt::Object {
                    kind: ObjectKind::Synproxy,
                    ..
                } => Some(Demand::Synproxy),
                Stmt::FlowAdd(_) => Some(Demand::Flow),
                Stmt::MetaSet {
                    key: MetaKey::Pkttype,
                    ..
                } => Some(Demand::PktTypeSet),
                _ => None,
            },
            Visited::Expr(expr) => match &expr.kind {
                ExprKind::Fib(fib) if fib.result == FibResult::Type => Some(Demand::FibType),
                ExprKind::Fib(_) => Some(Demand::FibRoute),
                ExprKind::Rt(RtKey::Mtu) => Some(Demand::RouteMtu),
                ExprKind::Rt(_) => Some(Demand::Route),
                ExprKind::Socket(_) => Some(Demand::Socket),
                ExprKind::Osf(_) => Some(Demand::Osf),
                _ => None,
            },
            Visited::AnonymousChain(_) => None,
        };
        if let Some(demand) = demand
            && !all.contains(&demand)
        {
            all.push(demand);
        }
    });
    all
}

impl Transaction<'_> {
    /// Holds what is below a chain against the base chains above it. `from` has new rules or jumps.
    pub(super) fn check_demands(
        &self,
        table: &Table,
        from: &Name,
        new: &[Demand],
        jumps: bool,
        span: Span,
    ) -> Done {
        if new.is_empty() && !jumps {
            return Ok(());
        }
        let ancestors = table.references.ancestors(&Node::Chain(from.clone()));
        let bases: Vec<&BaseChain> = ancestors
            .iter()
            .filter_map(|node| match node {
                Node::Chain(name) => table.chain(name)?.base.as_ref(),
                _ => None,
            })
            .collect();
        let unmet = |demand: &Demand| bases.iter().any(|base| !demand.met(table.family, base));
        if new.iter().any(unmet) {
            return refuse(span, Errno::NotSupported);
        }
        if !jumps || bases.is_empty() {
            return Ok(());
        }
        for node in table.references.descendants(&Node::Chain(from.clone())) {
            let Node::Chain(name) = &node else { continue };
            let Some(chain) = table.chain(name) else {
                continue;
            };
            // The list may have what a deleted rule demanded: only the rules themselves are proof.
            let suspect = chain.demands.iter().any(unmet);
            if suspect
                && chain
                    .rules
                    .iter()
                    .any(|rule| demands(&rule.body).iter().any(unmet))
            {
                return refuse(span, Errno::NotSupported);
            }
        }
        Ok(())
    }
}

/// Remembers what a chain's rules demand.
pub(super) fn remember(chain: &mut Chain, new: &[Demand]) {
    for demand in new {
        if !chain.demands.contains(demand) {
            chain.demands.push(*demand);
        }
    }
}
