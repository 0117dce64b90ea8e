//! Statements that are no comparison: verdicts, counters, logs, writes, updates.

use super::super::datatype::{Base, ByteOrder, TypeId};
use super::super::expr::{ChainRef, CtKey, Element, Expr, ExprKind, ExthdrName, MetaKey, Verdict};
use super::super::rule::{Family, ObjectKind};
use super::super::stmt::{Limit, Log, Meter, ObjectTarget, Quota, SetUpdate, Stmt, Synproxy};
use super::load::expr;
use super::set::DataWant;
use super::{Checked, Checker, Want, describe, fail, parts_of, selector};
use crate::syntax::ast::{self, ExprKind as Ast, Header, LimitOf, StmtKind};
use crate::syntax::{Diagnostic, Span};

const LOG_PREFIX_MAX: usize = 127;

impl Checker<'_> {
    /// Checks a statement; true if nothing can follow it.
    pub(crate) fn statement(&mut self, stmt: &ast::Stmt) -> Checked<bool> {
        let span = stmt.span;
        let typed = match &stmt.kind {
            StmtKind::Match(e) => {
                self.match_stmt(e)?;
                return Ok(false);
            }
            StmtKind::Verdict(verdict) => {
                let verdict = self.verdict(verdict)?;
                let terminal = verdict != Verdict::Continue;
                self.out.push(Stmt::Verdict(verdict));
                return Ok(terminal);
            }
            StmtKind::VerdictMap(map) => {
                let (key, map, _) = self.lookup(map, &DataWant::Verdict, span)?;
                Stmt::VerdictMap { key, map }
            }
            StmtKind::Chain(chain) => return self.anonymous_chain(chain),
            StmtKind::Counter(c) => Stmt::Counter {
                packets: c.packets,
                bytes: c.bytes,
            },
            StmtKind::Limit(limit) => Stmt::Limit(check_limit(limit, span)?),
            StmtKind::Quota(quota) => Stmt::Quota(check_quota(quota)),
            StmtKind::Last(used_ms) => Stmt::Last { used_ms: *used_ms },
            StmtKind::CtCount(count) => match u32::try_from(count.count) {
                Ok(n) => Stmt::ConnLimit {
                    count: n,
                    over: count.over,
                },
                Err(_) => return fail(span, "Value exceeds valid range 0-4294967295"),
            },
            StmtKind::ObjectRef(object) => self.object_ref(object, span)?,
            StmtKind::Log(log) => Stmt::Log(self.log(log, span)?),
            StmtKind::Reject(reject) => {
                self.reject(reject, span)?;
                return Ok(true);
            }
            StmtKind::Nat(nat) => {
                let nat = self.nat(nat, span)?;
                self.out.push(Stmt::Nat(nat));
                return Ok(true);
            }
            StmtKind::Npt(npt) => self.npt(npt, span)?,
            StmtKind::Tproxy(tproxy) => self.tproxy(tproxy, span)?,
            StmtKind::Synproxy(synproxy) => Stmt::Synproxy(check_synproxy(synproxy, span)?),
            StmtKind::Queue(queue) => {
                let queue = self.queue(queue, span)?;
                self.out.push(queue);
                return Ok(true);
            }
            StmtKind::Dup(dup) => self.dup(dup, span)?,
            StmtKind::Fwd(fwd) => {
                let fwd = self.fwd(fwd, span)?;
                self.out.push(fwd);
                return Ok(false);
            }
            StmtKind::MetaSet(key, value) => self.meta_set(*key, value, span)?,
            StmtKind::CtSet(ct, value) => self.ct_set(*ct, value, span)?,
            StmtKind::PayloadSet(sides) => self.mangle(&sides.0, &sides.1, span)?,
            StmtKind::TcpOptionReset(kind) => {
                let option = ast::TcpOption {
                    kind: *kind,
                    field: ast::TcpOptionField::Exists,
                };
                Stmt::OptionReset(self.tcp_option(option, span)?)
            }
            StmtKind::Notrack => Stmt::Notrack,
            StmtKind::FlowAdd(name) => {
                if !self.cx.scope.flowtable(&name.value) {
                    return fail(span, "No such file or directory");
                }
                Stmt::FlowAdd(name.value.to_string())
            }
            StmtKind::SetUpdate(update) => self.set_update(update, span)?,
            StmtKind::Meter(meter) => self.meter(meter, span)?,
            StmtKind::Ipset(ipset) => Stmt::Ipset(ipset.used.clone()),
        };
        self.out.push(super::raw::named_stmt(typed, &self.proto));
        Ok(false)
    }

    fn anonymous_chain(&mut self, chain: &ast::AnonymousChain) -> Checked<bool> {
        if self.nested {
            let start = self.stmt_span.start + 3;
            let place = Span {
                start,
                end: start + 1,
                ..self.stmt_span
            };
            return fail(place, "too many levels of nesting");
        }
        let mut rules = Vec::with_capacity(chain.rules.len());
        for rule in &chain.rules {
            let mut inner = Checker::new(self.cx);
            inner.nested = true;
            rules.push(inner.finish(rule)?);
        }
        let target = ChainRef::Anonymous(rules);
        let verdict = if chain.goto {
            Verdict::Goto(target)
        } else {
            Verdict::Jump(target)
        };
        self.out.push(Stmt::Verdict(verdict));
        Ok(false)
    }

    fn object_ref(&mut self, object: &ast::ObjectRef, span: Span) -> Checked<Stmt> {
        let kind = object.kind;
        let value = object.name.value();
        let target = match &value.kind {
            Ast::Map(map) => {
                let (key, map, _) = self.lookup(map, &DataWant::Object(kind), span)?;
                let kind = ExprKind::Map {
                    key: Box::new(key),
                    map: Box::new(map),
                };
                ObjectTarget::Map(expr(TypeId::String, 0, ByteOrder::Host, kind))
            }
            _ => {
                let Some(name) = value.word() else {
                    return fail(object.name.span, "expected the name of an object");
                };
                if !self.cx.scope.object(kind, name) {
                    let hint = self.cx.scope.similar_object(kind, name).unwrap_or_default();
                    return fail(object.name.span, format!("No such file or directory{hint}"));
                }
                if kind == ObjectKind::Secmark {
                    return fail(
                        span,
                        "secmark is not supported: there is no security module here",
                    );
                }
                ObjectTarget::Name(name.to_owned())
            }
        };
        Ok(match (kind, target) {
            (ObjectKind::Nat64, ObjectTarget::Name(name)) => Stmt::Nat64(name),
            (ObjectKind::Siit, ObjectTarget::Name(name)) => Stmt::Siit(name),
            (_, target) => Stmt::Object { kind, target },
        })
    }

    fn log(&mut self, log: &ast::Log, span: Span) -> Checked<Log> {
        if let Some(prefix) = &log.prefix
            && prefix.value.len() > LOG_PREFIX_MAX
        {
            return fail(
                keyword(span, "log"),
                "Could not process rule: Numerical result out of range",
            );
        }
        let flags = log.flags;
        let bits = u8::from(flags.tcp_sequence)
            | u8::from(flags.tcp_options) << 1
            | u8::from(flags.ip_options) << 2
            | u8::from(flags.skuid) << 3
            | u8::from(flags.ether) << 5;
        if log.group.is_some() && (log.level.is_some() || bits != 0) {
            let what = if log.level.is_some() {
                "level"
            } else {
                "flags"
            };
            return fail(
                keyword(span, "log"),
                format!("{what} and group are mutually exclusive"),
            );
        }
        Ok(Log {
            prefix: log.prefix.as_ref().map(|p| p.value.to_string()),
            group: narrow(log.group.as_ref())?,
            // These belong to a group; without one the kernel does not keep them.
            snaplen: narrow(log.snaplen.as_ref().filter(|_| log.group.is_some()))?,
            queue_threshold: narrow(log.queue_threshold.as_ref().filter(|_| log.group.is_some()))?,
            level: log.level.map(|l| l as u8),
            flags: bits,
        })
    }

    /// The value of a statement: of the type that is written, computed or constant.
    pub(crate) fn argument(
        &mut self,
        value: &ast::Expr,
        ty: (TypeId, u16, ByteOrder),
        stmt: Span,
    ) -> Checked<Expr> {
        let want = Want::value(ty.0, ty.1, ty.2);
        let e = self.expr(value, &want)?;
        let parts = parts_of(&e);
        let generated = matches!(e.kind, ExprKind::Numgen(_) | ExprKind::Hash(_));
        let flags = ty.0.info().base == Base::Bitmask && e.value().is_some();
        let number = ty.0 == TypeId::Integer && parts.len() == 1;
        let fits = super::expression::same_types(&want.parts, &parts);
        // nft asks for the type of a field alone; a number computed from one may be any number.
        let computed = matches!(e.kind, ExprKind::Binop { .. }) && e.ty == TypeId::Integer;
        if !(generated || flags || number || computed || fits) {
            return Err(Box::new(
                Diagnostic::error(
                    value.span,
                    format!(
                        "datatype mismatch: expected {}, expression has type {}",
                        describe(&want.parts),
                        describe(&parts)
                    ),
                )
                .with_related(stmt),
            ));
        }
        if matches!(
            e.kind,
            ExprKind::Range { .. }
                | ExprKind::Prefix { .. }
                | ExprKind::Set(_)
                | ExprKind::SetRef(_)
        ) {
            return fail(value.span, "expected a single value");
        }
        Ok(e)
    }

    fn meta_set(&mut self, key: MetaKey, value: &ast::Expr, span: Span) -> Checked<Stmt> {
        match key {
            MetaKey::Mark | MetaKey::Priority | MetaKey::Pkttype | MetaKey::Nftrace => {}
            MetaKey::Broute if self.cx.family == Family::Bridge => {}
            MetaKey::Secmark | MetaKey::Rtclassid => {
                return fail(span, format!("meta {} set is not supported", key.keyword()));
            }
            _ => return fail(span, "Could not process rule: Operation not supported"),
        }
        let value = self.argument(value, selector::meta(key), span)?;
        Ok(Stmt::MetaSet { key, value })
    }

    fn ct_set(&mut self, ct: ast::Ct, value: &ast::Expr, span: Span) -> Checked<Stmt> {
        match ct.key {
            CtKey::Mark | CtKey::Label | CtKey::Zone | CtKey::Event => {}
            CtKey::Secmark => return fail(span, "ct secmark set is not supported"),
            _ => return fail(span, "Could not process rule: Operation not supported"),
        }
        let value = self.argument(value, selector::ct(ct.key), span)?;
        Ok(Stmt::CtSet { ct, value })
    }

    fn mangle(&mut self, target: &ast::Expr, value: &ast::Expr, span: Span) -> Checked<Stmt> {
        let place = target.span;
        let target = self.expr(target, &Want::any())?;
        match &target.kind {
            ExprKind::Payload(_) => {}
            ExprKind::Exthdr(ext) if matches!(ext.name, ExthdrName::Tcp(_)) => {}
            ExprKind::Exthdr(_) => {
                return fail(place, "Could not process rule: Operation not supported");
            }
            _ => return fail(span, "only fields of the packet can be set"),
        }
        // The value is read as what is written: a raw place takes a number, also where it is
        // then listed as the field that lies there.
        let ty = (target.ty, target.bits, target.order);
        let value = self.argument(value, ty, span)?;
        let raw = matches!(&target.kind, ExprKind::Payload(payload) if payload.field.is_none_or(|field| field.header() == Header::Th));
        let (field, of_field) = super::raw::resolve(target.clone(), value.clone(), &self.proto);
        // Where no field of its own lies, what is written stays a raw place.
        let (target, value) = if matches!(field.kind, ExprKind::Payload(_)) {
            (field, of_field)
        } else {
            (target, value)
        };
        Ok(Stmt::Mangle { target, value, raw })
    }

    fn set_update(&mut self, update: &ast::SetUpdate, span: Span) -> Checked<Stmt> {
        let place = update.set.span;
        let Ast::SetRef(name) = &update.set.value().kind else {
            return fail(place, "Expression does not refer to a set");
        };
        let _ = self.set_ref(name, place)?;
        let Some(info) = self.cx.scope.set(name) else {
            return fail(place, "No such file or directory");
        };
        let mut element = self.update_element(&update.key, &Want::set(&info.key), span)?;
        if info.constant || (info.interval && !info.dynamic) {
            return fail(span, "Could not process rule: Operation not supported");
        }
        for stmt in &update.stmts {
            element.stmts.push(super::check_stateful(stmt, &self.cx)?);
        }
        let counts = element
            .stmts
            .iter()
            .any(|s| matches!(s, Stmt::ConnLimit { .. }));
        if counts && (info.timeout || element.timeout_ms.is_some()) {
            return fail(span, "Could not process rule: Operation not supported");
        }
        if let Some(data) = &update.data {
            use super::super::expr::DataType;
            let Some(DataType::Value(ty) | DataType::Interval(ty)) = &info.data else {
                return fail(data.key.span, "Set is not a map");
            };
            let value = if let [one] = ty.parts.as_slice() {
                self.argument(&data.key, (one.ty, one.bits, one.order), span)?
            } else {
                self.expr(&data.key, &Want::set(ty))?
            };
            element.data = Some(value);
        } else if info.data.is_some() && update.op != ast::SetOp::Delete {
            return fail(span, "Missing data for the map");
        }
        Ok(Stmt::SetUpdate(SetUpdate {
            op: update.op,
            set: name.to_string(),
            element: Box::new(element),
        }))
    }

    /// The key of an update, computed from the packet.
    fn update_element(&mut self, key: &ast::Element, want: &Want, span: Span) -> Checked<Element> {
        let e = self.expr(&key.key, want)?;
        let parts = parts_of(&e);
        if !want.parts.is_empty() && !super::expression::same_types(&want.parts, &parts) {
            return Err(Box::new(
                Diagnostic::error(
                    key.key.span,
                    format!(
                        "datatype mismatch: expected {}, expression has type {}",
                        describe(&want.parts),
                        describe(&parts)
                    ),
                )
                .with_related(span),
            ));
        }
        let mut element = Element::plain(e);
        if let Some(extra) = &key.extra {
            element.timeout_ms = extra.timeout_ms;
            element.comment = extra.comment.as_ref().map(|c| c.value.to_string());
            for stmt in &extra.stmts {
                element.stmts.push(super::check_stateful(stmt, &self.cx)?);
            }
        }
        if element.key.is_constant() {
            return fail(
                key.key.span,
                "Key must be an expression that is not constant",
            );
        }
        Ok(element)
    }

    fn meter(&mut self, meter: &ast::Meter, span: Span) -> Checked<Stmt> {
        let mut element = self.update_element(&meter.key, &Want::any(), span)?;
        element
            .stmts
            .push(super::check_stateful(&meter.stmt, &self.cx)?);
        let counts = element
            .stmts
            .iter()
            .any(|s| matches!(s, Stmt::ConnLimit { .. }));
        if counts && element.timeout_ms.is_some() {
            return fail(span, "Could not process rule: Operation not supported");
        }
        let size = match meter.size {
            Some(size) => u32::try_from(size).ok(),
            None => Some(65_535),
        };
        let name = match &meter.name {
            Some(name) => name.value.to_string(),
            None => return fail(span, "a meter needs a name"),
        };
        Ok(Stmt::Meter(Meter {
            name,
            size,
            element: Box::new(element),
        }))
    }
}

/// What nft takes for the place of a statement.
pub(crate) fn place(stmt: &ast::Stmt) -> Span {
    match &stmt.kind {
        StmtKind::Log(_) => keyword(stmt.span, "log"),
        StmtKind::Reject(_) => keyword(stmt.span, "reject"),
        StmtKind::Nat(nat) => super::translate::place(nat, stmt.span),
        _ => stmt.span,
    }
}

/// The first word of a statement, where nft points.
pub(crate) fn keyword(stmt: Span, word: &str) -> Span {
    Span {
        end: stmt.start + word.len() as u32,
        ..stmt
    }
}

fn narrow<T: TryFrom<u64>>(value: Option<&crate::syntax::Spanned<u64>>) -> Checked<Option<T>> {
    match value {
        None => Ok(None),
        Some(v) => match T::try_from(v.value) {
            Ok(n) => Ok(Some(n)),
            Err(_) => fail(v.span, "value out of range"),
        },
    }
}

/// A rate limit; without a burst, packets have one of 5 and bytes none.
pub fn check_limit(limit: &ast::Limit, span: Span) -> Checked<Limit> {
    let bytes = limit.of == LimitOf::Bytes;
    if limit.rate == 0 {
        return fail(span, "Could not process rule: Invalid argument");
    }
    Ok(Limit {
        rate: limit.rate,
        unit_seconds: limit.unit_s,
        burst: limit.burst.unwrap_or(if bytes { 0 } else { 5 }),
        bytes,
        over: limit.over,
    })
}

/// A quota.
pub fn check_quota(quota: &ast::Quota) -> Quota {
    Quota {
        bytes: quota.bytes,
        used: quota.used_bytes,
        over: quota.over,
    }
}

/// Options of a synproxy.
pub fn check_synproxy(synproxy: &ast::Synproxy, span: Span) -> Checked<Synproxy> {
    let mss = match synproxy.mss.map(u16::try_from).transpose() {
        Ok(mss) => mss,
        Err(_) => return fail(span, "synproxy mss is out of range"),
    };
    let wscale = match synproxy.wscale {
        None => None,
        Some(w) if w <= 14 => Some(w as u8),
        Some(w) => {
            return fail(
                span,
                format!("synproxy wscale {w} is out of range, the maximum is 14"),
            );
        }
    };
    Ok(Synproxy {
        mss,
        wscale,
        timestamp: synproxy.timestamp,
        sack_perm: synproxy.sack_perm,
    })
}
