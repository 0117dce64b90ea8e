//! Statements that change where a packet goes: translations, proxies, copies, queues.

use super::super::datatype::{ByteOrder, TypeId};
use super::super::expr::{DataType, Expr, ExprKind, KeyPart, PayloadBase};
use super::super::rule::Family;
use super::super::stmt::{Nat, NatFamily, NatKind, Stmt};
use super::context::Proto;
use super::set::DataWant;
use super::{Checked, Checker, Want, describe, fail, parts_of};
use crate::syntax::ast::{self, ExprKind as Ast, Header};
use crate::syntax::{Diagnostic, Span};

const NEEDS_TRANSPORT: &str =
    "transport protocol mapping is only valid after transport protocol match";

fn address_part(family: NatFamily) -> KeyPart {
    let (ty, bits) = match family {
        NatFamily::Ip => (TypeId::Ipv4Addr, 32),
        NatFamily::Ip6 => (TypeId::Ipv6Addr, 128),
    };
    KeyPart {
        ty,
        bits,
        order: ByteOrder::Big,
    }
}

const PORT: KeyPart = KeyPart {
    ty: TypeId::InetService,
    bits: 16,
    order: ByteOrder::Big,
};

impl Checker<'_> {
    fn network_family(&self) -> Option<NatFamily> {
        match self.proto.at(PayloadBase::Network) {
            Some(Proto::Known(Header::Ip)) => Some(NatFamily::Ip),
            Some(Proto::Known(Header::Ip6)) => Some(NatFamily::Ip6),
            _ => None,
        }
    }

    fn has_transport(&self) -> bool {
        self.proto.at(PayloadBase::Transport).is_some()
            || self.out.iter().any(|s| match s {
                Stmt::Match(m) => is_l4proto(&m.left),
                _ => false,
            })
    }

    pub(crate) fn nat(&mut self, nat: &ast::Nat, span: Span) -> Checked<Nat> {
        let span = place(nat, span);
        let mut typed = Nat {
            kind: nat.kind,
            family: None,
            addr: None,
            port: None,
            random: nat.flags.random,
            fully_random: nat.flags.fully_random,
            persistent: nat.flags.persistent,
            prefix: nat.prefix,
            endpoint_independent: nat.endpoint_independent.as_ref().map(|f| f.value),
        };
        let translation = matches!(nat.kind, NatKind::Snat | NatKind::Dnat);
        if translation {
            typed.family = self.nat_family(nat, span)?;
        }
        if let Some(addr) = &nat.addr {
            if translation {
                let Some(family) = typed.family else {
                    return fail(
                        span,
                        "ip or ip6 must be specified with address for inet tables.",
                    );
                };
                typed.addr = Some(self.nat_address(addr, family, nat, span)?);
            } else {
                return fail(addr.span, "no address can be given here");
            }
        }
        if let Some(port) = &nat.port {
            typed.port = Some(self.nat_port(port, span)?);
        }
        Ok(typed)
    }

    fn nat_family(&mut self, nat: &ast::Nat, span: Span) -> Checked<Option<NatFamily>> {
        let written = match nat.family {
            Some(Family::Ip) => Some(NatFamily::Ip),
            Some(Family::Ip6) => Some(NatFamily::Ip6),
            _ => None,
        };
        let known = match self.cx.family {
            Family::Ip => Some(NatFamily::Ip),
            Family::Ip6 => Some(NatFamily::Ip6),
            Family::Inet => {
                let known = self.network_family();
                if let (Some(w), Some(k)) = (written, known)
                    && w != k
                {
                    let mut diagnostic = family_conflict(span, k, w);
                    if let Some(learned) = self.learned_at[0] {
                        diagnostic = diagnostic.with_related(learned);
                    }
                    return Err(Box::new(diagnostic));
                }
                known
            }
            _ => return fail(span, "NAT is only supported for IPv4/IPv6"),
        };
        if let (Some(w), Some(k)) = (written, known)
            && w != k
        {
            return Err(Box::new(family_conflict(span, k, w)));
        }
        if nat.addr.is_none() {
            return Ok(written);
        }
        Ok(written.or(known))
    }

    fn nat_address(
        &mut self,
        addr: &ast::Expr,
        family: NatFamily,
        nat: &ast::Nat,
        span: Span,
    ) -> Checked<Expr> {
        let value = addr.value();
        if let Ast::Map(map) = &value.kind {
            let (concat, _) = map_data_shape(map);
            let named_concat = match &map.map.value().kind {
                Ast::SetRef(name) => self.cx.scope.set(name).is_some_and(|s| match s.data {
                    Some(DataType::Value(ty) | DataType::Interval(ty)) => ty.parts.len() == 2,
                    _ => false,
                }),
                _ => false,
            };
            let concat = concat || named_concat || nat.concat;
            let mut parts = vec![address_part(family)];
            if concat {
                parts.push(PORT);
            }
            let want = Want { parts, max: None };
            let data = DataWant::Value {
                want: want.clone(),
                interval: true,
            };
            let (key, map_expr, _) = self.lookup(map, &data, span)?;
            if concat && !self.has_transport() {
                return Err(Box::new(
                    Diagnostic::error(addr.span, NEEDS_TRANSPORT).with_related(span),
                ));
            }
            if let ExprKind::SetRef(name) = &map_expr.kind {
                let data = self.cx.scope.set(name).and_then(|s| s.data);
                let ok = matches!(&data, Some(DataType::Value(ty) | DataType::Interval(ty))
                    if super::expression::same_types(&ty.parts, &want.parts));
                if !ok {
                    return fail(
                        addr.span,
                        format!("datatype mismatch: expected {}", describe(&want.parts)),
                    );
                }
            }
            let kind = ExprKind::Map {
                key: Box::new(key),
                map: Box::new(map_expr),
            };
            return Ok(self.typed_as(&want, kind));
        }
        let mut parts = vec![address_part(family)];
        if nat.concat {
            parts.push(PORT);
        }
        let want = Want { parts, max: None };
        let e = self.expr(addr, &want)?;
        let parts = parts_of(&e);
        if !super::expression::same_types(&want.parts, &parts) {
            return Err(Box::new(
                Diagnostic::error(
                    addr.span,
                    format!(
                        "datatype mismatch: expected {}, expression has type {}",
                        describe(&want.parts),
                        describe(&parts)
                    ),
                )
                .with_related(span),
            ));
        }
        Ok(e)
    }

    fn nat_port(&mut self, port: &ast::Expr, span: Span) -> Checked<Expr> {
        let want = Want {
            parts: vec![PORT],
            max: None,
        };
        let known = self.has_transport();
        let e = self.expr(port, &want)?;
        if !known {
            return Err(Box::new(
                Diagnostic::error(port.span, NEEDS_TRANSPORT).with_related(span),
            ));
        }
        let parts = parts_of(&e);
        let generated = matches!(e.kind, ExprKind::Numgen(_) | ExprKind::Hash(_));
        if !generated && !super::expression::same_types(&want.parts, &parts) {
            return Err(Box::new(
                Diagnostic::error(
                    port.span,
                    format!(
                        "datatype mismatch: expected {}, expression has type {}",
                        describe(&want.parts),
                        describe(&parts)
                    ),
                )
                .with_related(span),
            ));
        }
        Ok(e)
    }

    pub(crate) fn tproxy(&mut self, tproxy: &ast::Tproxy, span: Span) -> Checked<Stmt> {
        if !matches!(self.cx.family, Family::Ip | Family::Ip6 | Family::Inet) {
            return fail(span, "tproxy is only supported for IPv4/IPv6/INET");
        }
        if !self.has_transport() {
            return fail(
                span,
                "Transparent proxy support requires transport protocol match",
            );
        }
        let written = match tproxy.family {
            Some(Family::Ip) => Some(NatFamily::Ip),
            Some(Family::Ip6) => Some(NatFamily::Ip6),
            _ => None,
        };
        let known = self.network_family();
        if let (Some(w), Some(k)) = (written, known)
            && w != k
        {
            return fail(span, "Conflicting network layer protocols.");
        }
        let family = match self.cx.family {
            Family::Inet => written,
            _ => known,
        };
        let addr = match &tproxy.addr {
            None => None,
            Some(addr) => {
                let Some(family) = family.or(known) else {
                    return fail(span, "No such family: ip or ip6 must be given");
                };
                let part = address_part(family);
                Some(self.argument(addr, (part.ty, part.bits, part.order), span)?)
            }
        };
        let port = match &tproxy.port {
            None => None,
            Some(port) => Some(self.argument(port, (PORT.ty, PORT.bits, PORT.order), span)?),
        };
        Ok(Stmt::Tproxy { family, addr, port })
    }

    pub(crate) fn dup(&mut self, dup: &ast::Dup, span: Span) -> Checked<Stmt> {
        let device_type = (TypeId::IfIndex, 32, ByteOrder::Host);
        if self.cx.family == Family::Netdev {
            if dup.device.is_some() {
                return fail(span, "dup in netdev tables takes only a device");
            }
            let device = self.argument(&dup.to, device_type, span)?;
            return Ok(Stmt::Dup {
                to: None,
                device: Some(device),
            });
        }
        let family = match self.cx.family {
            Family::Ip => NatFamily::Ip,
            Family::Ip6 => NatFamily::Ip6,
            _ => return fail(span, "unsupported family"),
        };
        let part = address_part(family);
        let to = self.argument(&dup.to, (part.ty, part.bits, part.order), span)?;
        let device = match &dup.device {
            None => None,
            Some(device) => Some(self.argument(device, device_type, span)?),
        };
        Ok(Stmt::Dup {
            to: Some(to),
            device,
        })
    }

    pub(crate) fn fwd(&mut self, fwd: &ast::Fwd, span: Span) -> Checked<Stmt> {
        if self.cx.family != Family::Netdev {
            return fail(span, "unsupported family");
        }
        let family = match fwd.family {
            Some(Family::Ip) => Some(NatFamily::Ip),
            Some(Family::Ip6) => Some(NatFamily::Ip6),
            _ => None,
        };
        let device = self.argument(&fwd.device, (TypeId::IfIndex, 32, ByteOrder::Host), span)?;
        let addr = match (&fwd.addr, family) {
            (Some(addr), Some(family)) => {
                let part = address_part(family);
                Some(self.argument(addr, (part.ty, part.bits, part.order), span)?)
            }
            (Some(addr), None) => {
                return fail(addr.span, "ip or ip6 must be given with an address");
            }
            (None, _) => None,
        };
        Ok(Stmt::Fwd {
            family,
            addr,
            device,
        })
    }

    pub(crate) fn queue(&mut self, queue: &ast::Queue, span: Span) -> Checked<Stmt> {
        let want = Want::value(TypeId::Integer, 16, ByteOrder::Host);
        let to = match &queue.to {
            Some(to) => self.expr(to, &want)?,
            None => {
                let kind = ExprKind::Value(0);
                super::load::expr(TypeId::Integer, 16, ByteOrder::Host, kind)
            }
        };
        if queue.fanout && matches!(to.kind, ExprKind::Value(_)) {
            return fail(span, "fanout requires a range to be specified");
        }
        Ok(Stmt::Queue {
            to,
            bypass: queue.bypass,
            fanout: queue.fanout,
        })
    }

    /// Extension: RFC 6296.
    pub(crate) fn npt(&mut self, npt: &ast::Npt, span: Span) -> Checked<Stmt> {
        let want = Want {
            parts: vec![address_part(NatFamily::Ip6)],
            max: None,
        };
        let from = self.expr(&npt.from, &want)?;
        let to = self.expr(&npt.to, &want)?;
        for (e, place) in [(&from, npt.from.span), (&to, npt.to.span)] {
            match e.kind {
                ExprKind::Prefix { len, .. } if len <= 112 => {}
                _ => return fail(place, "expected an IPv6 prefix of at most 112 bits"),
            }
        }
        if matches!(self.cx.family, Family::Ip | Family::Arp | Family::Netdev) {
            return fail(
                span,
                "prefix translation is for ip6, inet and bridge tables",
            );
        }
        Ok(Stmt::Npt {
            destination: npt.destination,
            from,
            to,
        })
    }
}

fn family_conflict(span: Span, known: NatFamily, written: NatFamily) -> Diagnostic {
    let word = |f| if f == NatFamily::Ip { "ip" } else { "ip6" };
    Diagnostic::error(
        span,
        format!(
            "conflicting protocols specified: {} vs. {}. You must specify ip or ip6 family in nat statement",
            word(known),
            word(written)
        ),
    )
}

/// Where nft points at a translation: its first word.
pub(super) fn place(nat: &ast::Nat, span: Span) -> Span {
    let word = match nat.kind {
        NatKind::Snat => "snat",
        NatKind::Dnat => "dnat",
        NatKind::Masquerade => "masquerade",
        NatKind::Redirect => "redirect",
    };
    super::statement::keyword(span, word)
}

fn is_l4proto(e: &Expr) -> bool {
    use super::super::expr::{HeaderField, MetaKey};
    match &e.kind {
        ExprKind::Meta(MetaKey::L4proto) => true,
        ExprKind::Payload(p) => {
            matches!(
                p.field,
                Some(HeaderField::IpProtocol | HeaderField::Ip6Nexthdr)
            )
        }
        _ => false,
    }
}

/// Whether the first element of a literal map yields address and port, and whether ranges.
fn map_data_shape(map: &ast::Map) -> (bool, bool) {
    let Ast::Set(elements) = &map.map.value().kind else {
        return (false, false);
    };
    match elements
        .first()
        .and_then(|e| e.data.as_ref())
        .map(|d| &d.value().kind)
    {
        Some(Ast::Concat(_)) => (true, false),
        Some(Ast::Range(_) | Ast::Prefix(..)) => (false, true),
        _ => (false, false),
    }
}
