//! Statements: one function a kind, in the order of the model's enumeration.

use std::sync::Arc;

use sluice_dataplane::program::{
    self as vm, CellKind, ChainId, ElementStatement, EngineObjectId, Icmpx, Log, MetaSetKey, Op,
    SetAction, Slots,
};
use sluice_dataplane::synproxy::{Offer, option};

use super::error::Cause;
use super::expression::parts;
use super::implied::implied;
use super::key::{ct_key, direction};
use super::lower::{Lowering, side_by_side};
use crate::model::ObjectKind;
use crate::model::expr::{ChainRef, Ct, CtKey, Expr, ExprKind, MetaKey, Verdict};
use crate::model::stmt::{self, NatFamily, ObjectTarget, Reject, SetOp, SetUpdate, Stmt, Synproxy};
use crate::store::ObjectBody;

/// Most statements of an element.
const ELEMENT_STATEMENTS: usize = 4;

impl Lowering<'_, '_> {
    /// Lowers the statements of a rule.
    pub(super) fn statements(&mut self, stmts: &[Stmt]) -> Result<(), Cause> {
        // Implied matches wait for the statement that needs them: where its keys carry the
        // requirement themselves, they are not needed.
        let mut waiting = Vec::new();
        for stmt in stmts {
            if let Some(implicit) = implied(stmt) {
                waiting.push(implicit);
                continue;
            }
            let before = self.ops.len();
            self.begin_statement();
            self.statement(stmt)?;
            if waiting.is_empty() {
                continue;
            }
            let behind = self.ops.split_off(before);
            let counts = behind.iter().any(|op| matches!(op, Op::NumgenInc { .. }));
            let loaded = std::mem::take(&mut self.loaded);
            for implicit in waiting.drain(..) {
                let guarded = !counts && loaded.iter().any(|key| implicit.guarded_by(key));
                if !guarded {
                    self.begin_statement();
                    self.relation(implicit.matched)?;
                }
            }
            self.ops.extend(behind);
        }
        for implicit in waiting {
            self.begin_statement();
            self.relation(implicit.matched)?;
        }
        Ok(())
    }

    fn statement(&mut self, stmt: &Stmt) -> Result<(), Cause> {
        match stmt {
            Stmt::Match(matched) => self.relation(matched),
            Stmt::Verdict(verdict) => self.verdict(verdict),
            Stmt::VerdictMap { key, map } => self.verdict_map(key, map),
            Stmt::Counter { .. } => {
                let counter = self.next_counter()?;
                self.emit(Op::Counter { counter });
                Ok(())
            }
            Stmt::Limit(_) => self.shared_cell(CellKind::Limit),
            Stmt::Quota(_) => self.shared_cell(CellKind::Quota),
            Stmt::Last { .. } => self.shared_cell(CellKind::Last),
            Stmt::ConnLimit { .. } => self.shared_cell(CellKind::ConnLimit),
            Stmt::Object { kind, target } => self.object(*kind, target),
            Stmt::Log(log) => self.log_statement(log),
            Stmt::Reject(reject) => self.reject(*reject),
            Stmt::Mangle { target, value, raw } => self.mangle(target, value, *raw),
            Stmt::OptionReset(option) => self.option_reset(option),
            Stmt::MetaSet { key, value } => self.meta_set(*key, value),
            Stmt::CtSet { ct, value } => self.ct_set(*ct, value),
            Stmt::Notrack => {
                self.emit(Op::Notrack);
                Ok(())
            }
            Stmt::Nat(nat) => self.nat(nat),
            Stmt::Tproxy { family, addr, port } => {
                let address = self.optional(addr.as_ref())?;
                let port = self.optional(port.as_ref())?;
                self.emit(Op::Tproxy {
                    family: family.map_or(0, nfproto),
                    address,
                    port,
                });
                Ok(())
            }
            Stmt::Synproxy(synproxy) => {
                let Offer { bits, mss, wscale } = offer(synproxy);
                self.emit(Op::Synproxy {
                    mss,
                    wscale,
                    flags: bits,
                });
                Ok(())
            }
            Stmt::Dup { to, device } => {
                let address = self.optional(to.as_ref())?;
                let device = self.optional(device.as_ref())?;
                self.emit(Op::Dup { device, address });
                Ok(())
            }
            Stmt::Fwd { addr, device, .. } => {
                let address = self.optional(addr.as_ref())?;
                let device = self.operand(device)?;
                self.emit(Op::Fwd { device, address });
                Ok(())
            }
            Stmt::Queue { to, bypass, fanout } => self.queue(to, *bypass, *fanout),
            Stmt::FlowAdd(name) => self.flow_add(name),
            Stmt::Ipset(used) => self.ipset(used),
            Stmt::SetUpdate(update) => self.set_update(update),
            Stmt::Meter(meter) => {
                let element = meter.element.clone();
                let set = meter.name.clone();
                self.set_update(&SetUpdate {
                    op: SetOp::Update,
                    set,
                    element,
                })
            }
            Stmt::Nat64(name) => {
                let object = self.engine_object(ObjectKind::Nat64, name)?;
                self.emit(Op::Nat64 { object });
                Ok(())
            }
            Stmt::Siit(name) => {
                let object = self.engine_object(ObjectKind::Siit, name)?;
                self.emit(Op::Translate { object });
                Ok(())
            }
            Stmt::Npt { destination, .. } => Err(Cause::Engine {
                what: if *destination { "dnpt" } else { "snpt" }.to_owned(),
                engine: "prefix and family translation",
            }),
        }
    }

    fn optional(&mut self, expr: Option<&Expr>) -> Result<Option<vm::Slot>, Cause> {
        expr.map(|expr| self.operand(expr)).transpose()
    }

    fn shared_cell(&mut self, kind: CellKind) -> Result<(), Cause> {
        let cell = self.next_cell(kind)?;
        self.emit(Op::Cell { cell });
        Ok(())
    }

    fn verdict(&mut self, verdict: &Verdict) -> Result<(), Cause> {
        let verdict = self.verdict_of(verdict)?;
        self.emit(Op::Verdict { verdict });
        Ok(())
    }

    /// The verdict with its chain by index.
    pub(super) fn verdict_of(&mut self, verdict: &Verdict) -> Result<vm::Verdict, Cause> {
        Ok(match verdict {
            Verdict::Accept => vm::Verdict::Accept,
            Verdict::Drop => vm::Verdict::Drop,
            Verdict::Continue => vm::Verdict::Continue,
            Verdict::Return => vm::Verdict::Return,
            Verdict::Jump(chain) => vm::Verdict::Jump {
                chain: self.chain_ref(chain)?,
            },
            Verdict::Goto(chain) => vm::Verdict::Goto {
                chain: self.chain_ref(chain)?,
            },
        })
    }

    fn chain_ref(&mut self, chain: &ChainRef) -> Result<ChainId, Cause> {
        match chain {
            ChainRef::Name(name) => self.chain(name),
            ChainRef::Anonymous(rules) => self.anonymous_chain(rules),
        }
    }

    fn verdict_map(&mut self, key: &Expr, map: &Expr) -> Result<(), Cause> {
        let (set, keys) = self.map_key(key, map)?;
        self.emit(Op::VerdictMap { set, keys });
        Ok(())
    }

    fn object(&mut self, kind: ObjectKind, target: &ObjectTarget) -> Result<(), Cause> {
        match target {
            ObjectTarget::Name(name) => self.named_object(kind, name),
            ObjectTarget::Map(expr) => {
                let ExprKind::Map { key, map } = &expr.kind else {
                    return Err(Cause::unsupported(
                        "an object by something that is not a map",
                    ));
                };
                let (set, keys) = self.map_key(key, map)?;
                let kind = object_kind(kind)?;
                self.emit(Op::ObjectMap { set, keys, kind });
                Ok(())
            }
        }
    }

    fn named_object(&mut self, kind: ObjectKind, name: &str) -> Result<(), Cause> {
        let missing = || Cause::Missing {
            what: "object",
            name: name.to_owned(),
        };
        let table = self.shared.table;
        let object = table.object(kind, name).ok_or_else(missing)?;
        let op = match &object.body {
            ObjectBody::Counter { slot, .. } => Op::Counter { counter: *slot },
            ObjectBody::Quota { cell, .. } => Op::Cell {
                cell: self.cell(cell.key, &cell.cell, CellKind::Quota)?,
            },
            ObjectBody::Limit { cell, .. } => Op::Cell {
                cell: self.cell(cell.key, &cell.cell, CellKind::Limit)?,
            },
            _ => Op::EngineObject {
                kind: object_kind(kind)?,
                object: EngineObjectId(object.id.0 as u32),
            },
        };
        self.emit(op);
        Ok(())
    }

    fn engine_object(&mut self, kind: ObjectKind, name: &str) -> Result<EngineObjectId, Cause> {
        let missing = || Cause::Missing {
            what: "object",
            name: name.to_owned(),
        };
        let object = self.shared.table.object(kind, name).ok_or_else(missing)?;
        Ok(EngineObjectId(object.id.0 as u32))
    }

    fn flow_add(&mut self, name: &str) -> Result<(), Cause> {
        let missing = || Cause::Missing {
            what: "flowtable",
            name: name.to_owned(),
        };
        let table = self.shared.table;
        let at = table
            .flowtables
            .iter()
            .position(|(_, one)| &*one.name == name);
        let table = EngineObjectId(at.ok_or_else(missing)? as u32);
        self.emit(Op::FlowOffload { table });
        Ok(())
    }

    fn log_statement(&mut self, log: &stmt::Log) -> Result<(), Cause> {
        let level = log.level.unwrap_or(4);
        if level > 7 {
            return Err(Cause::unsupported("log level audit"));
        }
        let log = self.log(Log {
            prefix: log.prefix.clone().unwrap_or_default(),
            level,
            flags: log.flags,
            group: log.group,
            snaplen: log.snaplen.unwrap_or(0),
            queue_threshold: log.queue_threshold.unwrap_or(0),
        });
        self.emit(Op::Log { log });
        Ok(())
    }

    fn reject(&mut self, reject: Reject) -> Result<(), Cause> {
        let with = match reject {
            Reject::Icmp(code) => vm::Reject::Icmp { code },
            Reject::Icmpv6(code) => vm::Reject::Icmpv6 { code },
            Reject::Icmpx(code) => vm::Reject::Icmpx {
                code: match code {
                    0 => Icmpx::NoRoute,
                    1 => Icmpx::PortUnreachable,
                    2 => Icmpx::HostUnreachable,
                    3 => Icmpx::AdminProhibited,
                    _ => return Err(Cause::unsupported(format!("icmpx code {code}"))),
                },
            },
            Reject::TcpReset => vm::Reject::TcpReset,
        };
        self.emit(Op::Reject { with });
        Ok(())
    }

    fn meta_set(&mut self, key: MetaKey, value: &Expr) -> Result<(), Cause> {
        let to = match key {
            MetaKey::Mark => MetaSetKey::Mark,
            MetaKey::Priority => MetaSetKey::Priority,
            MetaKey::Pkttype => MetaSetKey::Pkttype,
            MetaKey::Nftrace => MetaSetKey::Nftrace,
            MetaKey::Broute => MetaSetKey::Broute,
            _ => return Err(Cause::unsupported(format!("meta {} set", key.keyword()))),
        };
        let from = match to {
            MetaSetKey::Mark | MetaSetKey::Priority => self.number(value, 32)?,
            _ => self.operand(value)?,
        };
        self.emit(Op::MetaSet { key: to, from });
        Ok(())
    }

    fn ct_set(&mut self, ct: Ct, value: &Expr) -> Result<(), Cause> {
        if !matches!(
            ct.key,
            CtKey::Mark | CtKey::Label | CtKey::Event | CtKey::Zone
        ) {
            return Err(Cause::unsupported(format!("ct {} set", ct.key.keyword())));
        }
        let (key, bits) = ct_key(ct.key)?;
        let from = self.number(value, bits)?;
        self.emit(Op::CtSet {
            key,
            direction: direction(ct),
            from,
        });
        Ok(())
    }

    fn queue(&mut self, to: &Expr, bypass: bool, fanout: bool) -> Result<(), Cause> {
        let flags = u8::from(bypass) | u8::from(fanout) << 1;
        let number = |value: u128| {
            u16::try_from(value).map_err(|_| Cause::unsupported("a queue number above 65535"))
        };
        let (first, last, from) = match &to.kind {
            ExprKind::Value(value) => (number(*value)?, number(*value)?, None),
            ExprKind::Range { lo, hi } => (number(*lo)?, number(*hi)?, None),
            _ => (0, u16::MAX, Some(self.operand(to)?)),
        };
        self.emit(Op::Queue {
            first,
            last,
            flags,
            from,
        });
        Ok(())
    }

    fn set_update(&mut self, update: &SetUpdate) -> Result<(), Cause> {
        let element = &update.element;
        if let Some(set) = self.shared.table.set(&update.set) {
            let set = Arc::clone(set);
            self.shared.carry(&set, &element.stmts)?;
        }
        let set = self.named_set(&update.set)?;
        let types = self.set_parts(&update.set)?;
        let keys = self.key_fields(&element.key, &types)?;
        let data = match &element.data {
            None => Slots::new(),
            Some(data) => {
                let types = self.data_parts(&update.set)?;
                let mut slots = Vec::new();
                for (part, ty) in parts(data).iter().zip(&types) {
                    let slot = self.operand(part)?;
                    slots.push(self.widened(slot, ty.bits)?);
                }
                side_by_side(slots)?
            }
        };
        let action = match update.op {
            SetOp::Add => SetAction::Add,
            SetOp::Update => SetAction::Update,
            SetOp::Delete => SetAction::Delete,
        };
        let statements = element_statements(&element.stmts)?.into_iter().collect();
        self.emit(Op::DynSet {
            set,
            keys,
            action,
            timeout_ms: element.timeout_ms,
            data,
            statements,
        });
        Ok(())
    }
}

/// What elements of a set carry.
pub(super) fn element_statements(stmts: &[Stmt]) -> Result<Vec<ElementStatement>, Cause> {
    if stmts.len() > ELEMENT_STATEMENTS {
        return Err(Cause::unsupported("an element with more than 4 statements"));
    }
    stmts
        .iter()
        .map(|stmt| {
            Ok(match stmt {
                Stmt::Counter { .. } => ElementStatement::Counter,
                Stmt::Limit(limit) => ElementStatement::Limit {
                    rate: limit.rate,
                    period_ns: limit.unit_seconds.saturating_mul(1_000_000_000),
                    burst: u32::try_from(limit.burst).unwrap_or(u32::MAX),
                    bytes: limit.bytes,
                    over: limit.over,
                },
                Stmt::Quota(quota) => ElementStatement::Quota {
                    bytes: quota.bytes,
                    over: quota.over,
                },
                Stmt::Last { .. } => ElementStatement::Last,
                Stmt::ConnLimit { count, over } => ElementStatement::ConnLimit {
                    count: *count,
                    over: *over,
                },
                _ => return Err(Cause::unsupported("this statement in a set element")),
            })
        })
        .collect()
}

/// The kind of an object as the program has it.
pub(super) fn object_kind(kind: ObjectKind) -> Result<vm::ObjectKind, Cause> {
    Ok(match kind {
        ObjectKind::Counter => vm::ObjectKind::Counter,
        ObjectKind::Quota => vm::ObjectKind::Quota,
        ObjectKind::Limit => vm::ObjectKind::Limit,
        ObjectKind::CtHelper => vm::ObjectKind::CtHelper,
        ObjectKind::CtTimeout => vm::ObjectKind::CtTimeout,
        ObjectKind::CtExpectation => vm::ObjectKind::CtExpectation,
        ObjectKind::Synproxy => vm::ObjectKind::Synproxy,
        _ => return Err(Cause::unsupported(kind.keyword())),
    })
}

/// The number of a family of addresses.
pub(super) fn nfproto(family: NatFamily) -> u8 {
    match family {
        NatFamily::Ip => 2,
        NatFamily::Ip6 => 10,
    }
}

/// What a synproxy offers to clients.
pub(super) fn offer(synproxy: &Synproxy) -> Offer {
    let bits = [
        (synproxy.mss.is_some(), option::MSS),
        (synproxy.wscale.is_some(), option::WSCALE),
        (synproxy.sack_perm, option::SACK_PERM),
        (synproxy.timestamp, option::TIMESTAMP),
    ];
    let bits = bits.into_iter().filter(|(set, _)| *set);
    Offer {
        bits: bits.fold(0, |all, (_, bit)| all | bit),
        mss: synproxy.mss.unwrap_or(0),
        wscale: synproxy.wscale.unwrap_or(0),
    }
}
