//! Which matches a listing leaves out because a later field implies them.
//!
//! nft does not know which matches were written and which were put in, so written ones vanish too.
//! A match on a protocol is remembered at the layer that it announces; a field of that layer makes it
//! redundant, with exceptions where it says more than the field does.

use super::super::expr::{
    Element, Expr, ExprKind, ExthdrName, HeaderField, MetaKey, Payload, PayloadBase, Requirement,
};
use super::super::rule::Family;
use super::super::stmt::{Match, ObjectTarget, Reject, RelOp, Stmt};

/// The statements that are listed.
pub(super) fn visible(stmts: &[Stmt], family: Family) -> impl Iterator<Item = &Stmt> {
    let mut killer = Killer {
        stmts,
        family,
        deps: [None; 3],
        icmp_type: None,
        compared: false,
        removed: vec![false; stmts.len()],
    };
    for i in 0..stmts.len() {
        killer.statement(i);
    }
    stmts
        .iter()
        .zip(killer.removed)
        .filter(|(_, removed)| !removed)
        .map(|(stmt, _)| stmt)
}

struct Killer<'a> {
    stmts: &'a [Stmt],
    family: Family,
    /// By layer: the match that announces what is there.
    deps: [Option<usize>; 3],
    icmp_type: Option<usize>,
    /// Whether the match at hand compares with one value.
    compared: bool,
    removed: Vec<bool>,
}

const LINK: usize = 0;
const NETWORK: usize = 1;
const TRANSPORT: usize = 2;

impl<'a> Killer<'a> {
    fn statement(&mut self, i: usize) {
        let stmts = self.stmts;
        match &stmts[i] {
            Stmt::Match(m) => {
                self.compared = matches!(m.left.kind, ExprKind::Payload(_))
                    && matches!(m.op, RelOp::Eq | RelOp::Neq)
                    && m.right.value().is_some();
                self.expr(&m.left);
                self.compared = false;
                if m.op == RelOp::Eq {
                    self.remember(i, m);
                }
            }
            Stmt::VerdictMap { key, .. } => self.expr(key),
            Stmt::Mangle { target, value, .. } => {
                // An option that is written implies nothing.
                if !matches!(target.kind, ExprKind::Exthdr(_)) {
                    self.expr(target);
                }
                self.expr(value);
            }
            Stmt::MetaSet { value, .. } | Stmt::CtSet { value, .. } => self.expr(value),
            Stmt::Object {
                target: ObjectTarget::Map(e),
                ..
            } => self.expr(e),
            // What a port is looked up by does not count.
            Stmt::Nat(nat) => {
                if let Some(addr) = &nat.addr {
                    self.expr(addr);
                }
            }
            Stmt::Queue { to, .. } => self.expr(to),
            Stmt::SetUpdate(update) => self.element(&update.element),
            Stmt::Meter(meter) => self.element(&meter.element),
            Stmt::Reject(reject) => self.reject(*reject),
            _ => {}
        }
        if !matches!(stmts[i], Stmt::Match(_) | Stmt::VerdictMap { .. }) {
            // What was matched before another statement is no mere dependency.
            self.deps = [None; 3];
            self.icmp_type = None;
        }
    }

    fn element(&mut self, element: &'a Element) {
        self.expr(&element.key);
        if let Some(data) = &element.data {
            self.expr(data);
        }
    }

    fn expr(&mut self, e: &'a Expr) {
        match &e.kind {
            ExprKind::Payload(payload) => self.payload(payload),
            ExprKind::Exthdr(ext) => {
                if matches!(ext.name, ExthdrName::Ip6(_) | ExthdrName::Ip(_)) {
                    self.kill(NETWORK);
                } else {
                    self.kill(TRANSPORT);
                }
            }
            ExprKind::Concat(parts) => parts.iter().for_each(|p| self.expr(p)),
            ExprKind::Binop { left, .. } => self.expr(left),
            ExprKind::Map { key, .. } => self.expr(key),
            ExprKind::Hash(hash) => {
                if let Some(key) = &hash.key {
                    self.expr(key);
                }
            }
            _ => {}
        }
    }

    fn payload(&mut self, payload: &Payload) {
        let Some(field) = payload.field else {
            return;
        };
        if self.implies_icmp_type(payload)
            && let Some(i) = self.icmp_type.take()
        {
            self.removed[i] = true;
        }
        let layer = match payload.base {
            PayloadBase::Link => LINK,
            PayloadBase::Network => NETWORK,
            PayloadBase::Transport => TRANSPORT,
            PayloadBase::Inner => return,
        };
        if !self.keeps(layer, field) {
            self.kill(layer);
        }
    }

    /// Whether the remembered match says more than the field.
    fn keeps(&self, layer: usize, field: HeaderField) -> bool {
        let Some(Stmt::Match(dep)) = self.deps[layer].map(|i| &self.stmts[i]) else {
            return true;
        };
        match &dep.left.kind {
            ExprKind::Payload(p) if layer == TRANSPORT && p.base == PayloadBase::Network => {
                matches!(self.family, Family::Bridge | Family::Netdev | Family::Inet)
            }
            ExprKind::Payload(p) if layer == LINK && p.field == Some(HeaderField::EtherType) => {
                field == HeaderField::VlanType && self.compared || dep.right.value() != Some(0x8100)
            }
            ExprKind::Payload(_) if layer == LINK => true,
            _ => false,
        }
    }

    fn implies_icmp_type(&self, payload: &Payload) -> bool {
        let Some(Stmt::Match(dep)) = self.icmp_type.map(|i| &self.stmts[i]) else {
            return false;
        };
        payload.requires.iter().any(|r| match r {
            Requirement::IcmpType([one]) => dep.right.value() == Some(u128::from(*one)),
            _ => false,
        })
    }

    fn kill(&mut self, layer: usize) {
        if let Some(i) = self.deps[layer].take() {
            self.removed[i] = true;
        }
    }

    /// ICMP belongs to one family: its protocol number makes the family redundant.
    fn kill_family(&mut self, protocol: u128) {
        let Some(Stmt::Match(dep)) = self.deps[NETWORK].map(|i| &self.stmts[i]) else {
            return;
        };
        let family = dep.right.value().unwrap_or(0);
        if (protocol == 1 && matches!(family, 2 | 0x0800))
            || (protocol == 58 && matches!(family, 10 | 0x86dd))
        {
            self.kill(NETWORK);
        }
    }

    fn reject(&mut self, reject: Reject) {
        match reject {
            Reject::Icmp(_) | Reject::Icmpv6(_) => self.kill(NETWORK),
            Reject::TcpReset if matches!(self.family, Family::Ip | Family::Ip6) => {
                self.kill(TRANSPORT);
            }
            Reject::Icmpx(_) | Reject::TcpReset => {}
        }
    }

    fn remember(&mut self, i: usize, m: &Match) {
        let Some(value) = m.right.value() else {
            return;
        };
        match &m.left.kind {
            ExprKind::Meta(MetaKey::Iiftype) => self.deps[LINK] = Some(i),
            // What the family says already.
            ExprKind::Meta(MetaKey::Protocol)
                if matches!(
                    (self.family, value),
                    (Family::Ip, 0x0800) | (Family::Ip6, 0x86dd)
                ) =>
            {
                self.removed[i] = true;
            }
            ExprKind::Meta(MetaKey::Nfproto | MetaKey::Protocol) => self.deps[NETWORK] = Some(i),
            ExprKind::Meta(MetaKey::L4proto) => {
                self.kill_family(value);
                self.deps[TRANSPORT] = Some(i);
            }
            ExprKind::Payload(p) => match p.field {
                Some(HeaderField::EtherType | HeaderField::VlanType) => {
                    let layer = if matches!(value, 0x8100 | 0x88a8) {
                        LINK
                    } else {
                        NETWORK
                    };
                    self.deps[layer] = Some(i);
                }
                Some(HeaderField::IpProtocol | HeaderField::Ip6Nexthdr) => {
                    self.deps[TRANSPORT] = Some(i);
                }
                Some(HeaderField::IcmpType | HeaderField::Icmpv6Type) => self.icmp_type = Some(i),
                _ => {}
            },
            _ => {}
        }
    }
}
