//! Expressions: constants by the type that is expected, loads, operations.

use super::super::datatype::{Base, ByteOrder, TypeId};
use super::super::expr::{ChainRef, Expr, ExprKind, KeyPart, MetaKey, Verdict};
use super::super::rule::Family;
use super::constant;
use super::load::{expr, meta_expr};
use super::{Checked, Checker, Want, describe, fail, parts_of};
use crate::model::rule::LOOPBACK;
use crate::syntax::ast::{self, Constant, ExprKind as Ast};
use crate::syntax::{Diagnostic, Span};

/// The kernel's registers: what a key can have, each part on words of 4 bytes.
const KEY_BYTES: usize = 64;
const TOO_LONG: &str = "concatenation exceeds the maximum of 64 bytes";

impl Checker<'_> {
    /// An expression; constants become what `want` says.
    pub(crate) fn expr(&mut self, e: &ast::Expr, want: &Want) -> Checked<Expr> {
        let span = e.span;
        match &e.kind {
            Ast::Symbol(text) | Ast::Quoted(text) => self.symbol(text, span, want),
            Ast::Number(number) => self.symbol(&number.to_string(), span, want),
            Ast::Negative(_) => fail(span, "negative numbers are only allowed as priorities"),
            Ast::Boolean(b) => Ok(self.boolean(*b, want)),
            Ast::Constant(Constant::InetProto(number)) => {
                self.typed_number(TypeId::InetProto, u128::from(*number), want, span)
            }
            Ast::Constant(Constant::IcmpType(number)) => {
                self.typed_number(TypeId::IcmpType, u128::from(*number), want, span)
            }
            Ast::SetRef(name) => self.set_ref(name, span),
            Ast::Variable(variable) => self.expr(&variable.value, want),
            Ast::Payload(field) => self.field(*field, span),
            Ast::RawPayload(raw) => self.raw_payload(*raw, span),
            Ast::Inner(_) => fail(span, "matching inside of tunnels is not supported"),
            Ast::ExtHeader(ext) => self.ext_header(*ext, span),
            Ast::TcpOption(option) => self.tcp_option(*option, span),
            Ast::IpOption(option) => self.ip_option(*option, span),
            Ast::SctpChunk(chunk) => Ok(self.sctp_chunk(*chunk)),
            Ast::DccpOption(option) => Ok(self.dccp_option(*option)),
            Ast::Meta(MetaKey::Nfproto) if self.cx.family != Family::Inet => {
                fail(span, "meta nfproto is only useful in the inet family")
            }
            Ast::Meta(key) => Ok(meta_expr(*key)),
            Ast::Ct(ct) => self.ct(*ct, span),
            Ast::Fib(fib) => self.fib(*fib, span),
            Ast::Rt(rt) => self.rt(*rt, span),
            Ast::Socket(socket) => Ok(self.socket(*socket)),
            Ast::Osf(osf) => Ok(self.osf(*osf)),
            Ast::Ipsec(_) => fail(span, "ipsec is not supported: there is no IPsec state here"),
            Ast::Numgen(numgen) => self.numgen(*numgen, span),
            Ast::Hash(hash) => self.hash(hash, span),
            Ast::Prefix(base, len) => self.prefix(base, *len, span, want),
            Ast::Range(bounds) => self.range(&bounds.0, &bounds.1, span, want),
            Ast::Concat(parts) => self.concat(parts, span, want),
            Ast::List(items) => self.list(items, span, want),
            Ast::Set(elements) => {
                let set = self.set_literal(elements, want, None, span)?;
                let kind = ExprKind::Set(Box::new(set));
                Ok(self.typed_as(want, kind))
            }
            Ast::Map(map) => self.map(map, want, span),
            Ast::Binary(op, sides) => self.binary(*op, &sides.0, &sides.1, span, want),
            Ast::Relational(..) | Ast::FlagCompare(_) => {
                fail(span, "a comparison is not a value here")
            }
            Ast::CatchAll => Ok(self.typed_as(want, ExprKind::CatchAll)),
            Ast::Verdict(verdict) => {
                let verdict = self.verdict(verdict)?;
                Ok(expr(
                    TypeId::Verdict,
                    0,
                    ByteOrder::Host,
                    ExprKind::Verdict(verdict),
                ))
            }
        }
    }

    pub(crate) fn typed_as(&self, want: &Want, kind: ExprKind) -> Expr {
        match want.parts.as_slice() {
            [one] => expr(one.ty, one.bits, one.order, kind),
            many => {
                let bits = many.iter().map(|p| p.bits).sum();
                expr(TypeId::Concat, bits, ByteOrder::Host, kind)
            }
        }
    }

    /// A verdict; the chain that it names must be there.
    pub(crate) fn verdict(&mut self, verdict: &ast::Verdict) -> Checked<Verdict> {
        Ok(match verdict {
            ast::Verdict::Accept => Verdict::Accept,
            ast::Verdict::Drop => Verdict::Drop,
            ast::Verdict::Continue => Verdict::Continue,
            ast::Verdict::Return => Verdict::Return,
            ast::Verdict::Jump(chain) => Verdict::Jump(self.chain(chain)?),
            ast::Verdict::Goto(chain) => Verdict::Goto(self.chain(chain)?),
        })
    }

    fn chain(&mut self, e: &ast::Expr) -> Checked<ChainRef> {
        let Some(name) = e.word() else {
            return fail(e.span, "invalid chain name");
        };
        if !self.cx.scope.chain(name) {
            let hint = self.cx.scope.similar_chain(name).unwrap_or_default();
            return fail(e.span, format!("No such file or directory{hint}"));
        }
        Ok(ChainRef::Name(name.to_owned()))
    }

    fn boolean(&self, value: bool, want: &Want) -> Expr {
        let _ = want;
        expr(
            TypeId::Boolean,
            1,
            ByteOrder::Host,
            ExprKind::Value(u128::from(value)),
        )
    }

    fn typed_number(&mut self, ty: TypeId, number: u128, want: &Want, span: Span) -> Checked<Expr> {
        match want.single() {
            Some(part) if part.ty != ty && part.ty.info().base == Base::Integer => {
                let bits = part.bits;
                in_range(number, bits, span)?;
                Ok(expr(part.ty, bits, part.order, ExprKind::Value(number)))
            }
            _ => Ok(expr(ty, 8, ty.info().order, ExprKind::Value(number))),
        }
    }

    fn symbol(&mut self, text: &str, span: Span, want: &Want) -> Checked<Expr> {
        let part = match want.parts.as_slice() {
            [one] => *one,
            [] => return fail(span, "No symbol type information"),
            many => {
                return fail(
                    span,
                    format!("invalid data type, expected {}", describe(many)),
                );
            }
        };
        if part.ty.is_string() {
            return string(text, part, span);
        }
        let value = if part.ty == TypeId::IfIndex {
            self.interface(text, span)?
        } else if part.ty == TypeId::Verdict {
            return fail(span, "Could not parse netfilter verdict");
        } else {
            constant::parse(part.ty, text)
                .map_err(|message| Box::new(Diagnostic::error(span, message)))?
        };
        if part.ty == TypeId::Day && value > 6 {
            return fail(span, format!("Value {value} exceeds valid range 0-6"));
        }
        if part.ty != TypeId::Boolean {
            in_range(value, part.bits, span)?;
        }
        if let Some(max) = want.max.filter(|max| value > *max) {
            return fail(span, format!("Value {value} exceeds valid range 0-{max}"));
        }
        Ok(expr(part.ty, part.bits, part.order, ExprKind::Value(value)))
    }

    fn interface(&self, text: &str, span: Span) -> Checked<u128> {
        if let Some(index) = self.cx.scope.port_index(text) {
            return Ok(u128::from(index));
        }
        // Every system has the loopback, with this index; nothing comes in or leaves by it here.
        if text == LOOPBACK.0 {
            return Ok(u128::from(LOOPBACK.1));
        }
        match constant::number(text) {
            Some(index) if index <= u128::from(u32::MAX) => Ok(index),
            _ => fail(span, "Interface does not exist"),
        }
    }

    fn prefix(&mut self, base: &ast::Expr, len: u64, span: Span, want: &Want) -> Checked<Expr> {
        let base = self.expr(base, want)?;
        if base.ty.info().base == Base::String {
            return fail(
                span,
                format!(
                    "Prefix expression is undefined for {} types",
                    base.ty.info().description
                ),
            );
        }
        let Some(value) = base.value() else {
            return fail(span, "Prefix expression expected integer value");
        };
        if len > u64::from(base.bits) {
            return fail(
                span,
                format!(
                    "Prefix length {len} is invalid for type of {} bits width",
                    base.bits
                ),
            );
        }
        let len = len as u16;
        let value = value & prefix_mask(base.bits, len);
        let kind = if len == base.bits {
            ExprKind::Value(value)
        } else {
            ExprKind::Prefix { value, len }
        };
        Ok(Expr { kind, ..base })
    }

    fn range(&mut self, lo: &ast::Expr, hi: &ast::Expr, span: Span, want: &Want) -> Checked<Expr> {
        let (low, high) = (self.expr(lo, want)?, self.expr(hi, want)?);
        let (Some(a), Some(b)) = (low.value(), high.value()) else {
            return fail(span, "Range expression bounds must be values");
        };
        if low.ty.info().base == Base::String {
            let kind = low.ty.info().description;
            let text = format!("Range expression is undefined for {kind} types");
            let error = Diagnostic::error(lo.span, text).with_related(span);
            return Err(Box::new(error));
        }
        if a > b && !matches!(low.ty, TypeId::Hour | TypeId::Day) {
            return fail(span, "Range has zero or negative size");
        }
        Ok(Expr {
            kind: ExprKind::Range { lo: a, hi: b },
            ..low
        })
    }

    fn concat(&mut self, parts: &[ast::Expr], span: Span, want: &Want) -> Checked<Expr> {
        if !want.parts.is_empty() && want.parts.len() != parts.len() {
            if want.parts.len() == 1 {
                return fail(
                    span,
                    format!("datatype mismatch, expected {}", describe(&want.parts)),
                );
            }
            let message = if parts.len() < want.parts.len() {
                format!("datatype mismatch, expected {}", describe(&want.parts))
            } else {
                "too many concatenation components".to_owned()
            };
            return fail(span, message);
        }
        if parts.len() > KEY_BYTES / 4 {
            return fail(span, TOO_LONG);
        }
        let mut typed: Vec<Expr> = Vec::with_capacity(parts.len());
        for (i, part) in parts.iter().enumerate() {
            let want = match want.parts.get(i) {
                Some(part) => Want::value(part.ty, part.bits, part.order),
                None => Want::any(),
            };
            let untyped = want.parts.is_empty()
                && (part.word().is_some() || matches!(part.value().kind, Ast::Number(_)));
            let checked = match untyped {
                true => fail(part.span, "Can't parse symbolic invalid expressions"),
                false => self.expr(part, &want),
            };
            let e = checked.map_err(|mut error| {
                // nft counts the dot to the part behind it.
                if let (Some(span), true) = (&mut error.span, i > 1)
                    && *span == part.span
                {
                    span.start = parts[i - 1].span.end + 1;
                }
                error
            })?;
            if e.bits == 0 {
                return fail(
                    part.span,
                    "cannot use variable length data types in concat expressions",
                );
            }
            typed.push(e);
        }
        let bytes: usize = typed
            .iter()
            .map(|e| usize::from(e.bits.div_ceil(32)) * 4)
            .sum();
        if bytes > KEY_BYTES {
            return fail(span, TOO_LONG);
        }
        let bits = typed.iter().map(|e| e.bits).sum();
        Ok(expr(
            TypeId::Concat,
            bits,
            ByteOrder::Host,
            ExprKind::Concat(typed),
        ))
    }

    /// `a,b,c`: flags.
    fn list(&mut self, items: &[ast::Expr], _span: Span, want: &Want) -> Checked<Expr> {
        let mut all: Option<Expr> = None;
        for item in items {
            let e = self.expr(item, want)?;
            if !e.ty.is_bitmask() {
                return fail(
                    item.span,
                    format!(
                        "Basetype of type {} is not bitmask",
                        e.ty.info().description
                    ),
                );
            }
            let Some(value) = e.value() else {
                return fail(item.span, "List member must be a value");
            };
            let sum = all.as_ref().and_then(Expr::value).unwrap_or(0) | value;
            all = Some(Expr {
                kind: ExprKind::Value(sum),
                ..e
            });
        }
        all.ok_or_else(|| Box::new(Diagnostic::general("empty list")))
    }

    /// `@name`, typed as its keys.
    pub(crate) fn set_ref(&mut self, name: &str, span: Span) -> Checked<Expr> {
        let Some(set) = self.cx.scope.set(name) else {
            let hint = self.cx.scope.similar_sets(name).unwrap_or_default();
            return fail(span, format!("No such file or directory{hint}"));
        };
        Ok(self.typed_as(&Want::set(&set.key), ExprKind::SetRef(name.to_owned())))
    }
}

fn string(text: &str, part: KeyPart, span: Span) -> Checked<Expr> {
    if text.is_empty() {
        return fail(span, "Empty string is not allowed");
    }
    let size = if part.bits == 0 { 128 } else { part.bits };
    let (body, wildcard) = match text.strip_suffix('*') {
        Some(escaped) if escaped.ends_with('\\') => {
            (format!("{}*", escaped.trim_end_matches('\\')), false)
        }
        Some("") => return fail(span, "All-wildcard strings are not supported"),
        Some(stem) if part.ty != TypeId::String => (stem.to_owned(), true),
        _ => (text.to_owned(), false),
    };
    if text.len() + 1 > usize::from(size / 8) {
        return fail(
            span,
            format!("String exceeds maximum length of {}", size / 8),
        );
    }
    let Some(value) = constant::string_value(&body, size) else {
        return fail(
            span,
            format!("String exceeds maximum length of {}", size / 8),
        );
    };
    let kind = if wildcard {
        ExprKind::Prefix {
            value,
            len: (body.len() * 8) as u16,
        }
    } else {
        ExprKind::Value(value)
    };
    Ok(expr(part.ty, size, part.order, kind))
}

/// The mask of a prefix of `len` bits in a value of `bits`.
pub(crate) fn prefix_mask(bits: u16, len: u16) -> u128 {
    let all = all_ones(bits);
    if len == 0 {
        0
    } else {
        all & !all_ones(bits - len)
    }
}

/// The largest value of `bits` bits.
pub(crate) fn all_ones(bits: u16) -> u128 {
    if bits >= 128 {
        u128::MAX
    } else {
        (1u128 << bits) - 1
    }
}

fn in_range(value: u128, bits: u16, span: Span) -> Checked<()> {
    if bits > 0 && value > all_ones(bits) {
        return fail(
            span,
            format!("Value {value} exceeds valid range 0-{}", all_ones(bits)),
        );
    }
    Ok(())
}

/// Whether the parts of two types can be compared.
pub(crate) fn same_types(a: &[KeyPart], b: &[KeyPart]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(x, y)| {
            x.ty == y.ty
                || (loose(x.ty) && loose(y.ty) && (x.bits == y.bits || x.bits == 0 || y.bits == 0))
        })
}

/// Numbers without a meaning of their own.
fn loose(ty: TypeId) -> bool {
    matches!(
        ty,
        TypeId::Integer | TypeId::RawInteger | TypeId::TcpOptKind | TypeId::Boolean
    )
}

/// The parts of an expression against those that were expected.
pub(crate) fn expect(e: &Expr, want: &Want, span: Span, other: Option<Span>) -> Checked<()> {
    if want.parts.is_empty() || want.single().is_some_and(|part| part.ty == e.ty) {
        return Ok(());
    }
    let parts = parts_of(e);
    if same_types(&want.parts, &parts) {
        return Ok(());
    }
    let mut diagnostic = Diagnostic::error(
        span,
        format!(
            "datatype mismatch, expected {}, expression has type {}",
            describe(&want.parts),
            describe(&parts)
        ),
    );
    if let Some(other) = other {
        diagnostic = diagnostic.with_related(other);
    }
    Err(Box::new(diagnostic))
}
