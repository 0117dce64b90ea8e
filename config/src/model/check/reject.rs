//! The reject statement: its code, and what it requires of the packet.

use super::super::datatype::TypeId;
use super::super::expr::{Expr, ExprKind, MetaKey, PayloadBase};
use super::super::rule::Family;
use super::super::stmt::{Match, Reject, RelOp, Stmt};
use super::context::Proto;
use super::load::{expr, meta_expr};
use super::statement::keyword;
use super::{Checked, Checker, Want, fail};
use crate::syntax::ast::{self, Header};
use crate::syntax::{Diagnostic, Span};

impl Checker<'_> {
    pub(super) fn reject(&mut self, reject: &ast::Reject, span: Span) -> Checked<()> {
        let whole = span;
        let span = keyword(whole, "reject");
        let typed = match reject {
            ast::Reject::Default => self.default_reject(span)?,
            ast::Reject::Icmp(code) => {
                let place = code.span;
                let code = self.reject_code(code, TypeId::IcmpCode)?;
                self.reject_family(Header::Ip, place, span)?;
                Reject::Icmp(code)
            }
            ast::Reject::Icmpv6(code) => {
                let place = code.span;
                let code = self.reject_code(code, TypeId::Icmpv6Code)?;
                self.reject_family(Header::Ip6, place, span)?;
                Reject::Icmpv6(code)
            }
            ast::Reject::Icmpx(code) => {
                let place = code.span;
                let code = self.reject_code(code, TypeId::IcmpxCode)?;
                if matches!(self.cx.family, Family::Ip | Family::Ip6) {
                    return Err(Box::new(
                        Diagnostic::error(place, "abstracted ICMP unreachable not supported")
                            .with_related(span),
                    ));
                }
                Reject::Icmpx(code)
            }
            ast::Reject::TcpReset(_) => {
                match self.proto.at(PayloadBase::Transport) {
                    Some(Proto::Known(Header::Tcp)) => {}
                    None => self.implied(meta_expr(MetaKey::L4proto), 6, false),
                    Some(_) => {
                        let mut diagnostic =
                            Diagnostic::error(span, "you cannot use tcp reset with this protocol");
                        if let Some(learned) = self.learned_at[1] {
                            diagnostic = diagnostic.with_related(learned);
                        }
                        return Err(Box::new(diagnostic));
                    }
                }
                Reject::TcpReset
            }
        };
        self.out.push(Stmt::Reject(typed));
        Ok(())
    }

    /// What a reject needs comes before the rest of the rule: nothing is logged that is not refused.
    fn implied(&mut self, left: Expr, value: u128, implicit: bool) {
        let right = expr(left.ty, left.bits, left.order, ExprKind::Value(value));
        self.learn(&left, &right);
        let stmt = Stmt::Match(Match {
            left,
            op: RelOp::Eq,
            right,
            implicit,
        });
        self.out.insert(0, stmt);
    }

    fn default_reject(&mut self, span: Span) -> Checked<Reject> {
        Ok(match self.cx.family {
            Family::Ip => Reject::Icmp(3),
            Family::Ip6 => Reject::Icmpv6(4),
            Family::Arp => return fail(span, "cannot use reject with arp"),
            _ => match self.proto.at(PayloadBase::Network) {
                Some(Proto::Known(Header::Ip)) => Reject::Icmp(3),
                Some(Proto::Known(Header::Ip6)) => Reject::Icmpv6(4),
                None => Reject::Icmpx(1),
                Some(_) => {
                    return fail(
                        span,
                        "cannot infer ICMP reject variant to use: explicit value required.\n",
                    );
                }
            },
        })
    }

    fn reject_code(&mut self, code: &ast::Expr, ty: TypeId) -> Checked<u8> {
        let e = self.expr(code, &Want::of(ty))?;
        match e.value().and_then(|v| u8::try_from(v).ok()) {
            Some(code) => Ok(code),
            None => fail(code.span, "reject code must be a value"),
        }
    }

    /// A reject by one family's messages: the packet must be of that family.
    fn reject_family(&mut self, header: Header, span: Span, word: Span) -> Checked<()> {
        match self.proto.at(PayloadBase::Network) {
            Some(Proto::Known(known)) if known == header => Ok(()),
            Some(Proto::Known(Header::Arp) | Proto::Unknown) => {
                let text = "cannot infer ICMP reject variant to use: explicit value required.\n";
                Err(Box::new(Diagnostic::general(text)))
            }
            Some(other) => {
                let mut diagnostic = Diagnostic::error(
                    span,
                    match other {
                        Proto::Known(Header::Ip | Header::Ip6) => {
                            "conflicting protocols specified: ip vs ip6".to_owned()
                        }
                        _ => format!(
                            "conflicting protocols specified: {} vs {}",
                            other.name(),
                            header.keyword()
                        ),
                    },
                );
                diagnostic = diagnostic.with_related(self.learned_at[0].unwrap_or(word));
                Err(Box::new(diagnostic))
            }
            None => {
                let ip = header == Header::Ip;
                let (left, value) = match self.cx.family {
                    Family::Inet => (meta_expr(MetaKey::Nfproto), if ip { 2 } else { 10 }),
                    _ => (
                        meta_expr(MetaKey::Protocol),
                        if ip { 0x0800 } else { 0x86dd },
                    ),
                };
                self.implied(left, value, true);
                Ok(())
            }
        }
    }
}
