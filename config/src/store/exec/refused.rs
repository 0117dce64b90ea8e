//! What the kernel refuses of a rule by itself, at whatever hook it stands, and where nft points.
//!
//! The kernel looks at one expression after the other; nft knows the place of each of them.

use super::{Done, Errno, refuse};
use crate::model::expr::{ExthdrName, MetaKey};
use crate::model::{ExprKind, Family, Rule, Stmt};
use crate::store::place::{Visited, visit_rule};
use crate::syntax::Span;
use crate::syntax::ast::{self, StmtKind as Kind};

/// Refuses what no hook of the family has.
pub(super) fn check(rule: &Rule, source: &ast::Rule, family: Family) -> Done {
    let mut walk = Walk {
        family,
        writable: writable(rule),
        found: None,
    };
    source.stmts.iter().for_each(|stmt| walk.stmt(stmt, false));
    match walk.found {
        Some((errno, span)) => refuse(span, errno),
        None => Ok(()),
    }
}

/// Of each write to the packet, last first, whether the kernel has it: of options it writes TCP's
/// alone, and there words and double words.
fn writable(rule: &Rule) -> Vec<bool> {
    let mut all = Vec::new();
    visit_rule(rule, &mut |visited| {
        if let Visited::Stmt(Stmt::Mangle { target, .. }) = visited {
            all.push(match &target.kind {
                ExprKind::Exthdr(field) => {
                    matches!(field.name, ExthdrName::Tcp(_))
                        && matches!(field.bits.div_ceil(8), 2 | 4)
                }
                _ => true,
            });
        }
    });
    all.reverse();
    all
}

struct Walk {
    family: Family,
    writable: Vec<bool>,
    found: Option<(Errno, Span)>,
}

impl Walk {
    fn find(&mut self, errno: Errno, span: Span) {
        self.found = self.found.or(Some((errno, span)));
    }

    /// Whether the family has no connections.
    fn is_untracked(&self) -> bool {
        matches!(self.family, Family::Arp | Family::Netdev)
    }

    fn stmt(&mut self, stmt: &ast::Stmt, in_place: bool) {
        match &stmt.kind {
            Kind::Match(expr) | Kind::MetaSet(_, expr) => self.expr(expr),
            Kind::VerdictMap(map) => self.expr(&map.key),
            Kind::ObjectRef(object) => self.expr(&object.name),
            Kind::CtSet(_, expr) => {
                self.expr(expr);
                self.tracking(stmt.span);
            }
            Kind::CtCount(_) => self.tracking(stmt.span),
            Kind::Synproxy(_) => self.proxying(stmt.span),
            Kind::PayloadSet(sides) => {
                self.expr(&sides.1);
                if self.writable.pop() == Some(false) {
                    self.find(Errno::NotSupported, sides.0.span);
                }
            }
            Kind::SetUpdate(update) => {
                self.expr(&update.key.key);
                update.data.iter().for_each(|data| self.expr(&data.key));
                update
                    .stmts
                    .iter()
                    .for_each(|stmt| self.stmt(stmt, in_place));
            }
            Kind::Meter(meter) => {
                self.expr(&meter.key.key);
                self.stmt(&meter.stmt, in_place);
            }
            Kind::Dup(dup) => self.expr(&dup.to),
            Kind::Fwd(fwd) => self.expr(&fwd.device),
            Kind::Queue(queue) => queue.to.iter().for_each(|to| self.expr(to)),
            // The kernel takes one level of rules in place.
            Kind::Chain(_) if in_place => self.find(Errno::NotSupported, stmt.span),
            Kind::Chain(chain) => {
                let stmts = chain.rules.iter().flat_map(|rule| &rule.stmts);
                stmts.for_each(|stmt| self.stmt(stmt, true));
            }
            _ => {}
        }
    }

    /// A bridge has no proxy either, where the kernel tracks no connections in bridges.
    fn proxying(&mut self, span: Span) {
        const KEYWORD: u32 = "synproxy".len() as u32;
        if self.is_untracked() || self.family == Family::Bridge {
            let end = span.start + KEYWORD;
            self.find(Errno::Protocol, Span { end, ..span });
        }
    }

    fn tracking(&mut self, span: Span) {
        if self.is_untracked() {
            self.find(Errno::Protocol, span);
        }
    }

    fn expr(&mut self, expr: &ast::Expr) {
        use ast::ExprKind as E;
        match &expr.kind {
            E::Ct(ct) => {
                self.tracking(expr.span);
                // It can only be set.
                if ct.key == ast::CtKey::Event {
                    self.find(Errno::NotSupported, expr.span);
                }
            }
            E::Meta(key) if self.family != Family::Bridge && is_of_bridge(*key) => {
                self.find(Errno::NotSupported, expr.span);
            }
            // It can only be set.
            E::Meta(MetaKey::Nftrace) => self.find(Errno::NotSupported, expr.span),
            // Where it leaves is what is asked.
            E::Fib(fib) if fib.flags.oif && fib.result != ast::FibResult::Type => {
                self.find(Errno::Invalid, expr.span);
            }
            E::Variable(variable) => self.expr(&variable.value),
            E::Concat(parts) => parts.iter().for_each(|part| self.expr(part)),
            E::Relational(_, sides) => self.expr(&sides.0),
            E::FlagCompare(flags) => self.expr(&flags.expr),
            E::Binary(_, sides) => {
                self.expr(&sides.0);
                self.expr(&sides.1);
            }
            E::Map(map) => self.expr(&map.key),
            E::Hash(hash) => hash.of.iter().for_each(|of| self.expr(of)),
            _ => {}
        }
    }
}

fn is_of_bridge(key: MetaKey) -> bool {
    matches!(
        key,
        MetaKey::Ibrname
            | MetaKey::Obrname
            | MetaKey::Ibrpvid
            | MetaKey::Ibrvproto
            | MetaKey::Ibrhwaddr
    )
}
