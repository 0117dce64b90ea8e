//! Blocks of sets, maps and flowtables.

use super::{Parse, Parser, Stop};
use crate::syntax::ast::{
    Devices, Expr, ExprKind, FlowtableBody, HookPoint, MapData, Name, ObjectKind, Priority,
    PriorityValue, SetBody, SetKeyword, SetPolicy, SetType,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Spanned;

/// Names of nft's data types. Their meaning is the model's.
const DATA_TYPES: &[&str] = &[
    "verdict",
    "nf_proto",
    "bitmask",
    "integer",
    "string",
    "ll_addr",
    "ipv4_addr",
    "ipv6_addr",
    "ether_addr",
    "ether_type",
    "arp_op",
    "inet_proto",
    "inet_service",
    "icmp_type",
    "tcp_flag",
    "dccp_pkttype",
    "mh_type",
    "time",
    "mark",
    "iface_index",
    "iface_type",
    "realm",
    "classid",
    "uid",
    "gid",
    "ct_state",
    "ct_dir",
    "ct_status",
    "icmp_code",
    "icmpv6_code",
    "icmpx_code",
    "pkt_type",
    "devgroup",
    "dscp",
    "ecn",
    "fib_addrtype",
    "boolean",
    "ifname",
    "igmp_type",
    "hour",
    "day",
    "cgroupsv2",
    "icmpv6_type",
];

/// Whether `type` knows a name.
#[must_use]
pub fn is_data_type(name: &str) -> bool {
    DATA_TYPES.contains(&name)
}

impl Parser<'_> {
    /// `{ ... }` of a set or map.
    pub(super) fn set_block(&mut self, keyword: SetKeyword, inside: bool) -> Parse<SetBody> {
        let start = self.expect(Tok::LeftBrace)?;
        let mut body = SetBody {
            span: start,
            ..SetBody::default()
        };
        self.block(inside, |this| {
            this.set_item(&mut body, keyword == SetKeyword::Map)
        })?;
        body.span = self.since(start);
        Ok(body)
    }

    fn set_item(&mut self, body: &mut SetBody, map: bool) -> Parse<()> {
        let start = self.start();
        match self.peek_kw() {
            Some(Kw::Type) => return self.within(Scope::TYPE, |this| this.set_type(body, map)),
            Some(Kw::Typeof) => return self.set_typeof(body, map),
            Some(Kw::Flags) => {
                self.next();
                self.set_flags(body)?;
                body.flags_span = Some(self.since(start));
                return self.expect_separator(&[Tok::Comma]);
            }
            Some(Kw::Timeout) => {
                self.next();
                let value = self.time()?;
                body.timeout_ms = Some(Spanned {
                    value,
                    span: self.since(start),
                });
            }
            Some(Kw::GcInterval) => {
                self.next();
                let value = self.time()?;
                body.gc_interval_ms = Some(Spanned {
                    value,
                    span: self.since(start),
                });
            }
            Some(Kw::Size) => {
                self.next();
                body.size = Some(self.number()?);
            }
            Some(Kw::Policy) => {
                self.next();
                body.policy = Some(self.within(Scope::POLICY, Self::set_policy)?);
            }
            Some(Kw::AutoMerge) => {
                self.next();
                body.auto_merge = true;
                return Ok(());
            }
            Some(Kw::Elements) => {
                self.next();
                self.expect(Tok::Assign)?;
                body.elements = Some(self.elements()?);
                return Ok(());
            }
            Some(Kw::Comment) => {
                return self.block_comment(&mut body.comment, |this| this.expect_separator(&[]));
            }
            Some(Kw::Counter | Kw::Limit | Kw::Quota | Kw::Ct | Kw::Last) => {
                while let Some(Kw::Counter | Kw::Limit | Kw::Quota | Kw::Ct | Kw::Last) =
                    self.peek_kw()
                {
                    body.stmts.push(self.stateful_stmt()?);
                }
                if !self.separator() {
                    return self.fail(&[]);
                }
            }
            _ => return self.fail(&[]),
        }
        self.expect_separator(&[])
    }

    /// `{ ... }` or a variable that holds elements.
    pub(super) fn elements(&mut self) -> Parse<Expr> {
        match self.peek() {
            Tok::LeftBrace => self.set_expr(false),
            Tok::Dollar => self.variable(),
            _ => self.fail(&[Tok::LeftBrace, Tok::Dollar]),
        }
    }

    fn set_policy(&mut self) -> Parse<Spanned<SetPolicy>> {
        let value = match self.peek_kw() {
            Some(Kw::Performance) => SetPolicy::Performance,
            Some(Kw::Memory) => SetPolicy::Memory,
            _ => return self.fail(&[Kw::Memory, Kw::Performance].map(Tok::Word)),
        };
        Ok(Spanned {
            value,
            span: self.next().span,
        })
    }

    fn set_flags(&mut self, body: &mut SetBody) -> Parse<()> {
        loop {
            match self.peek_kw() {
                Some(Kw::Constant) => body.flags.constant = true,
                Some(Kw::Interval) => body.flags.interval = true,
                Some(Kw::Timeout) => body.flags.timeout = true,
                Some(Kw::Dynamic) => body.flags.dynamic = true,
                _ => {
                    return self.fail(
                        &[Kw::Constant, Kw::Interval, Kw::Dynamic, Kw::Timeout].map(Tok::Word),
                    );
                }
            }
            self.next();
            if !self.eat(Tok::Comma) {
                return Ok(());
            }
        }
    }

    fn set_type(&mut self, body: &mut SetBody, map: bool) -> Parse<()> {
        self.next();
        let key = self.type_names()?;
        if !map {
            body.key = Some(SetType::Type(key));
            return self.expect_separator(&[Tok::Dot]);
        }
        self.expect_or(Tok::Colon, &[Tok::Colon, Tok::Dot])?;
        let at = self.start();
        let object = match self.peek_kw() {
            Some(Kw::Counter) => Some(ObjectKind::Counter),
            Some(Kw::Quota) => Some(ObjectKind::Quota),
            Some(Kw::Limit) => Some(ObjectKind::Limit),
            Some(Kw::Secmark) => Some(ObjectKind::Secmark),
            Some(Kw::Synproxy) => Some(ObjectKind::Synproxy),
            _ => None,
        };
        let data = match object {
            Some(kind) => {
                self.next();
                MapData::Object(Spanned {
                    value: kind,
                    span: at,
                })
            }
            None => {
                let interval = self.eat_kw(Kw::Interval);
                MapData::Type {
                    of: SetType::Type(self.type_names()?),
                    interval,
                }
            }
        };
        body.key = Some(SetType::Type(key));
        let more = [Tok::Dot];
        self.expect_separator(if object.is_some() { &[] } else { &more })?;
        body.data = Some(data);
        Ok(())
    }

    fn type_names(&mut self) -> Parse<Vec<Name>> {
        let mut names = vec![self.type_name()?];
        while self.eat(Tok::Dot) {
            names.push(self.type_name()?);
        }
        Ok(names)
    }

    fn type_name(&mut self) -> Parse<Name> {
        let token = self.token();
        let allowed = match token.kind {
            Tok::Word(
                Kw::Mark | Kw::Dscp | Kw::Ecn | Kw::Classid | Kw::Time | Kw::Hour | Kw::Day,
            ) => true,
            _ => self.at_name(),
        };
        if !allowed {
            return self.fail(&[]);
        }
        self.next();
        let name = Name {
            value: self.text(token),
            span: token.span,
        };
        if !is_data_type(&name.value) {
            return self.error(name.span, format!("unknown datatype {}", name.value));
        }
        Ok(name)
    }

    fn set_typeof(&mut self, body: &mut SetBody, map: bool) -> Parse<()> {
        self.next();
        let key = self.typeof_expr("primary expression")?;
        if !map {
            body.key = Some(SetType::Typeof(Box::new(key)));
            return self.expect_separator(&[Tok::Dot]);
        }
        self.expect_or(Tok::Colon, &[Tok::Colon, Tok::Dot])?;
        let interval = self.eat_kw(Kw::Interval);
        let data = self.typeof_expr(if interval {
            "primary expression"
        } else {
            "map data"
        })?;
        let dot = [Tok::Dot];
        let single = !interval && !matches!(data.kind, ExprKind::Concat(_));
        self.expect_separator(if single { &[] } else { &dot })?;
        body.key = Some(SetType::Typeof(Box::new(key)));
        body.data = Some(MapData::Type {
            of: SetType::Typeof(Box::new(data)),
            interval,
        });
        Ok(())
    }

    fn typeof_expr(&mut self, role: &str) -> Parse<Expr> {
        let first = self.primary_left()?;
        let lacks = match &first.kind {
            ExprKind::Symbol(word) if role == "map data" && *word == "verdict" => None,
            ExprKind::Symbol(_) | ExprKind::Quoted(_) | ExprKind::Number(_) => Some("symbol"),
            ExprKind::Variable(_) => Some("variable"),
            ExprKind::Binary(..) => Some("binop"),
            _ => None,
        };
        if let Some(name) = lacks {
            return self.error(
                first.span,
                format!("{role} type '{name}' lacks typeof serialization"),
            );
        }
        if self.peek() != Tok::Dot {
            return Ok(first);
        }
        let start = first.span;
        let mut parts = vec![first];
        while self.eat(Tok::Dot) {
            parts.push(self.primary_left()?);
        }
        Ok(Expr {
            kind: ExprKind::Concat(parts),
            span: self.since(start),
        })
    }

    /// `{ ... }` of a flowtable.
    pub(super) fn flowtable_block(&mut self, inside: bool) -> Parse<FlowtableBody> {
        let start = self.expect(Tok::LeftBrace)?;
        let mut body = FlowtableBody {
            span: start,
            ..FlowtableBody::default()
        };
        self.block(inside, |this| this.flowtable_item(&mut body))?;
        body.span = self.since(start);
        Ok(body)
    }

    fn flowtable_item(&mut self, body: &mut FlowtableBody) -> Parse<()> {
        match self.peek_kw() {
            Some(Kw::Hook) => {
                self.next();
                let hook = self.name()?;
                let priority = self.priority()?;
                self.expect_separator(&[])?;
                // nft gives the whole flowtable up.
                body.hook = Some(self.hook_point(&hook).map_err(|_| Stop::Outer)?);
                body.priority = Some(priority);
                return Ok(());
            }
            Some(Kw::Devices) => {
                self.next();
                self.expect(Tok::Assign)?;
                body.devices = Some(self.devices()?);
            }
            Some(Kw::Counter) => {
                self.next();
                body.counter = true;
                return Ok(());
            }
            Some(Kw::Flags) => {
                self.next();
                self.expect_kw(Kw::Offload)?;
                body.offload = true;
            }
            _ => return self.fail(&[]),
        }
        self.expect_separator(&[])
    }

    pub(super) fn hook_point(&mut self, word: &Name) -> Parse<Spanned<HookPoint>> {
        match HookPoint::from_keyword(&word.value) {
            Some(value) => Ok(Spanned {
                value,
                span: word.span,
            }),
            None => self.error(word.span, "unknown chain hook"),
        }
    }

    /// `{ eth0, "eth1", $x }` or a variable.
    pub(super) fn devices(&mut self) -> Parse<Devices> {
        let start = self.start();
        if self.peek() == Tok::Dollar {
            let list = vec![self.variable()?];
            return Ok(Devices {
                list,
                span: self.since(start),
            });
        }
        self.expect_or(Tok::LeftBrace, &[Tok::LeftBrace, Tok::Dollar])?;
        let mut list = Vec::new();
        loop {
            self.skip_newline();
            if !list.is_empty() && self.peek() == Tok::RightBrace {
                break;
            }
            if !self.at_name() && !matches!(self.peek(), Tok::Quoted | Tok::Dollar | Tok::Wildcard)
            {
                return self.fail(&[Tok::Str, Tok::Quoted, Tok::Dollar]);
            }
            list.push(self.symbol()?);
            self.skip_newline();
            match self.peek() {
                Tok::Comma => self.next(),
                Tok::RightBrace => break,
                _ => return self.fail(&[Tok::Comma, Tok::RightBrace]),
            };
        }
        self.next();
        Ok(Devices {
            list,
            span: self.since(start),
        })
    }

    /// `priority filter - 10`, the word included.
    pub(super) fn priority(&mut self) -> Parse<Priority> {
        let start = self.expect_kw(Kw::Priority)?;
        let value = match self.peek() {
            Tok::Number(value) => {
                self.next();
                PriorityValue::Number(i64::try_from(value).unwrap_or(i64::MAX))
            }
            Tok::Dash => {
                self.next();
                let value = self.number()?.value;
                PriorityValue::Number(i64::try_from(value).map_or(i64::MIN, |n| -n))
            }
            Tok::Dollar => PriorityValue::Variable(self.variable()?),
            _ => {
                let name = self.priority_name()?;
                let sign = match self.peek() {
                    Tok::Plus => 1,
                    Tok::Dash => -1,
                    _ => 0,
                };
                let mut offset = 0;
                if sign != 0 {
                    self.next();
                    offset = sign * i64::try_from(self.number()?.value).unwrap_or(i64::MAX);
                }
                PriorityValue::Name { name, offset }
            }
        };
        Ok(Priority {
            value,
            span: self.since(start),
        })
    }

    fn priority_name(&mut self) -> Parse<Name> {
        if self.at(Kw::Out) {
            let span = self.next().span;
            return Ok(Name {
                value: "out".into(),
                span,
            });
        }
        self.name_or(&[])
    }
}
