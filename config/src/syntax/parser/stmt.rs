//! Rules and their statements.

use super::expr::Side;
use super::value::unqualified_meta;
use super::{Parse, Parser};
use crate::syntax::ast::{
    AnonymousChain, Ct, Expr, ExprKind, Log, LogLevel, MetaKey, ObjectKind, ObjectRef, Reject,
    Rule, Stmt, StmtKind, Verdict,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Span;

/// Keywords that begin a statement or the left side of a match.
fn begins_statement(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Accept
            | Kw::Drop
            | Kw::Continue
            | Kw::Jump
            | Kw::Goto
            | Kw::Return
            | Kw::Counter
            | Kw::Limit
            | Kw::Quota
            | Kw::Ct
            | Kw::Meter
            | Kw::Flow
            | Kw::Meta
            | Kw::Notrack
            | Kw::Log
            | Kw::Reject
            | Kw::Snat
            | Kw::Dnat
            | Kw::Masquerade
            | Kw::Redirect
            | Kw::Tproxy
            | Kw::Queue
            | Kw::Dup
            | Kw::Fwd
            | Kw::Set
            | Kw::Add
            | Kw::Update
            | Kw::Delete
            | Kw::Synproxy
            | Kw::Reset
            | Kw::Ether
            | Kw::Vlan
            | Kw::Arp
            | Kw::Ip
            | Kw::Icmp
            | Kw::Igmp
            | Kw::Ip6
            | Kw::Icmpv6
            | Kw::Ah
            | Kw::Esp
            | Kw::Comp
            | Kw::Udp
            | Kw::Udplite
            | Kw::Tcp
            | Kw::Dccp
            | Kw::Sctp
            | Kw::Th
            | Kw::Rt
            | Kw::Rt0
            | Kw::Rt2
            | Kw::Srh
            | Kw::Hbh
            | Kw::Frag
            | Kw::Dst
            | Kw::Mh
            | Kw::Exthdr
            | Kw::Socket
            | Kw::Osf
            | Kw::Fib
            | Kw::Ipsec
            | Kw::Numgen
            | Kw::Jhash
            | Kw::Symhash
    ) || unqualified_meta(kw).is_some()
}

impl Parser<'_> {
    fn at_statement(&mut self) -> bool {
        match self.peek() {
            Tok::Word(kw) => begins_statement(kw) || !self.reserved(kw),
            Tok::Number(_)
            | Tok::Str
            | Tok::Quoted
            | Tok::Wildcard
            | Tok::LeftBrace
            | Tok::LeftParen
            | Tok::Dollar
            | Tok::At => true,
            _ => false,
        }
    }

    /// One or more statements and perhaps a comment.
    pub(super) fn rule(&mut self) -> Parse<Rule> {
        let start = self.start();
        let mut stmts = vec![self.stmt()?];
        while self.at_statement() {
            stmts.push(self.stmt()?);
        }
        let span = self.since(start);
        let comment = if self.at(Kw::Comment) {
            Some(self.comment()?)
        } else {
            None
        };
        Ok(Rule {
            stmts,
            comment,
            span,
        })
    }

    pub(super) fn stmt(&mut self) -> Parse<Stmt> {
        let start = self.start();
        let kind = self.stmt_kind(start)?;
        Ok(Stmt {
            kind,
            span: self.since(start),
        })
    }

    fn stmt_kind(&mut self, start: Span) -> Parse<StmtKind> {
        let Some(kw) = self.peek_kw() else {
            self.refuse_xt()?;
            return self.match_stmt();
        };
        match kw {
            Kw::Accept | Kw::Drop | Kw::Continue | Kw::Return => {
                Ok(StmtKind::Verdict(self.verdict()?))
            }
            Kw::Jump | Kw::Goto => self.jump(),
            Kw::Counter | Kw::Limit | Kw::Quota | Kw::Last => Ok(self.stateful_stmt()?.kind),
            Kw::Ct => self.ct_stmt(start),
            Kw::Meter => self.meter(),
            Kw::Flow => self.flow(),
            Kw::Meta => self.meta_stmt(start),
            Kw::Notrack => {
                self.next();
                Ok(StmtKind::Notrack)
            }
            Kw::Log => self.statement(Scope::LOG, Self::log),
            Kw::Reject => self.within(Scope::REJECT, Self::reject),
            Kw::Snat | Kw::Dnat => self.statement(Scope::NAT, Self::nat),
            Kw::Masquerade => self.statement(Scope::NAT, Self::masquerade),
            Kw::Redirect => self.statement(Scope::NAT, Self::redirect),
            Kw::Tproxy => self.statement(Scope::TPROXY, Self::tproxy),
            Kw::Queue => self.statement(Scope::QUEUE, Self::queue),
            Kw::Dup => self.statement(Scope::DUP, Self::dup),
            Kw::Fwd => self.statement(Scope::FWD, Self::fwd),
            Kw::Synproxy => self.statement(Scope::SYNPROXY, Self::synproxy_stmt),
            Kw::Set => self.set_stmt_old(),
            Kw::Add | Kw::Update | Kw::Delete => self.set_update(),
            Kw::Reset => self.option_reset(),
            Kw::Nat64 => self.object_ref(ObjectKind::Nat64),
            Kw::Siit => self.object_ref(ObjectKind::Siit),
            Kw::Ipset => self.ipset(),
            Kw::Snpt | Kw::Dnpt => self.within(Scope::NAT, Self::npt),
            _ => self.match_stmt(),
        }
    }

    /// What iptables-nft leaves in a listing where nftables has no expression: nft prints it and
    /// does not take it back.
    fn refuse_xt(&mut self) -> Parse<()> {
        let token = self.token();
        if token.kind != Tok::Str || self.sources.slice(token.span) != "xt" {
            return Ok(());
        }
        let start = self.start();
        for _ in 0..3 {
            self.next();
        }
        let message = "unsupported xtables compat expression, use iptables-nft with this ruleset";
        self.error(self.since(start), message)
    }

    /// A match, a verdict map, or an assignment to what stands on the left.
    fn match_stmt(&mut self) -> Parse<StmtKind> {
        if self.peek() == Tok::LeftBrace {
            let left = self.set_expr(false)?;
            return self.match_rest(left);
        }
        let first = self.basic(Side::Left)?;
        if self.at(Kw::Set) {
            match first.kind {
                ExprKind::Meta(key) => {
                    self.next();
                    return self.meta_set(key);
                }
                ExprKind::Payload(_)
                | ExprKind::RawPayload(_)
                | ExprKind::TcpOption(_)
                | ExprKind::IpOption(_)
                | ExprKind::SctpChunk(_) => {
                    self.next();
                    let value = self.argument()?;
                    return Ok(StmtKind::PayloadSet(Box::new((first, value))));
                }
                _ => {}
            }
        }
        let key = self.concat_rest(first, Side::Left)?;
        if self.at(Kw::Vmap) {
            return Ok(StmtKind::VerdictMap(Box::new(self.verdict_map(key)?)));
        }
        let left = self.map_rest(key)?;
        self.match_rest(left)
    }

    fn match_rest(&mut self, left: Expr) -> Parse<StmtKind> {
        Ok(StmtKind::Match(Box::new(self.condition(left)?)))
    }

    fn meta_set(&mut self, key: MetaKey) -> Parse<StmtKind> {
        let value = self.argument()?;
        if key == MetaKey::Secmark && !matches!(value.kind, ExprKind::Ct(_)) {
            return Ok(StmtKind::ObjectRef(Box::new(ObjectRef {
                kind: ObjectKind::Secmark,
                name: value,
            })));
        }
        Ok(StmtKind::MetaSet(key, Box::new(value)))
    }

    fn meta_stmt(&mut self, start: Span) -> Parse<StmtKind> {
        self.next();
        let key = self.within(Scope::META, |this| this.meta_key(start))?;
        if self.eat_kw(Kw::Set) {
            return self.meta_set(key);
        }
        let first = Expr {
            kind: ExprKind::Meta(key),
            span: self.since(start),
        };
        self.match_from(first)
    }

    /// A match whose first operand has been read.
    fn match_from(&mut self, first: Expr) -> Parse<StmtKind> {
        let first = self.operators(first, Side::Left, 1)?;
        let key = self.concat_rest(first, Side::Left)?;
        if self.at(Kw::Vmap) {
            return Ok(StmtKind::VerdictMap(Box::new(self.verdict_map(key)?)));
        }
        let left = self.map_rest(key)?;
        self.match_rest(left)
    }

    fn ct_stmt(&mut self, start: Span) -> Parse<StmtKind> {
        self.next();
        let object = match self.peek_kw() {
            Some(Kw::Count) => return self.within(Scope::CT, Self::ct_count),
            Some(Kw::Timeout) => Some(ObjectKind::CtTimeout),
            Some(Kw::Expectation) => Some(ObjectKind::CtExpectation),
            _ => None,
        };
        if let Some(kind) = object {
            self.next();
            self.expect_kw(Kw::Set)?;
            let name = self.argument()?;
            return Ok(StmtKind::ObjectRef(Box::new(ObjectRef { kind, name })));
        }
        let ct: Ct = self.within(Scope::CT, Self::ct_key)?;
        if self.eat_kw(Kw::Set) {
            let value = self.argument()?;
            if ct.key == crate::syntax::ast::CtKey::Helper {
                let object = ObjectRef {
                    kind: ObjectKind::CtHelper,
                    name: value,
                };
                return Ok(StmtKind::ObjectRef(Box::new(object)));
            }
            return Ok(StmtKind::CtSet(ct, Box::new(value)));
        }
        let first = Expr {
            kind: ExprKind::Ct(ct),
            span: self.since(start),
        };
        self.match_from(first)
    }

    /// A verdict as an expression, in maps.
    pub(super) fn verdict_expr(&mut self) -> Parse<Expr> {
        let start = self.start();
        let verdict = self.verdict()?;
        Ok(Expr {
            kind: ExprKind::Verdict(verdict),
            span: self.since(start),
        })
    }

    pub(super) fn verdict(&mut self) -> Parse<Verdict> {
        let Some(kw) = self.peek_kw() else {
            return self.fail(&[]);
        };
        match kw {
            Kw::Jump | Kw::Goto => {
                self.next();
                let chain = Box::new(self.chain_name(&[Tok::Str, Tok::Dollar])?);
                return Ok(if kw == Kw::Jump {
                    Verdict::Jump(chain)
                } else {
                    Verdict::Goto(chain)
                });
            }
            _ => {}
        }
        let verdict = match kw {
            Kw::Accept => Verdict::Accept,
            Kw::Drop => Verdict::Drop,
            Kw::Continue => Verdict::Continue,
            Kw::Return => Verdict::Return,
            _ => return self.fail(&[]),
        };
        self.next();
        Ok(verdict)
    }

    fn chain_name(&mut self, wanted: &[Tok]) -> Parse<Expr> {
        if self.peek() == Tok::Dollar {
            return self.variable();
        }
        let name = self.name_or(wanted)?;
        Ok(Expr {
            kind: ExprKind::Symbol(name.value),
            span: name.span,
        })
    }

    /// `jump C`, `jump { ... }`.
    fn jump(&mut self) -> Parse<StmtKind> {
        let goto = self.next().kind == Tok::Word(Kw::Goto);
        if self.peek() != Tok::LeftBrace {
            let chain = Box::new(self.chain_name(&[Tok::LeftBrace])?);
            return Ok(StmtKind::Verdict(if goto {
                Verdict::Goto(chain)
            } else {
                Verdict::Jump(chain)
            }));
        }
        let start = self.next().span;
        self.symbols.open();
        let rules = self.nested(Self::subchain);
        self.symbols.close();
        let span = self.since(start);
        Ok(StmtKind::Chain(Box::new(AnonymousChain {
            goto,
            rules: rules?,
            span,
        })))
    }

    fn subchain(&mut self) -> Parse<Vec<Rule>> {
        let mut rules = Vec::new();
        loop {
            if self.separator() {
                self.next();
            } else if self.eat(Tok::RightBrace) {
                return Ok(rules);
            } else if self.at_statement() {
                rules.push(self.rule()?);
                self.expect_separator(&[])?;
            } else {
                return self.fail(&[]);
            }
        }
    }

    pub(super) fn object_ref(&mut self, kind: ObjectKind) -> Parse<StmtKind> {
        self.next();
        self.expect_kw(Kw::Name)?;
        let name = self.argument()?;
        Ok(StmtKind::ObjectRef(Box::new(ObjectRef { kind, name })))
    }

    fn log(&mut self) -> Parse<StmtKind> {
        self.next();
        let mut log = Log::default();
        loop {
            match self.peek_kw() {
                Some(Kw::Prefix) => {
                    self.next();
                    let prefix = self.string()?;
                    log.prefix = Some(self.interpolate(prefix)?);
                }
                Some(Kw::Group) => {
                    self.next();
                    log.group = Some(self.number()?);
                }
                Some(Kw::Snaplen) => {
                    self.next();
                    log.snaplen = Some(self.number()?);
                }
                Some(Kw::QueueThreshold) => {
                    self.next();
                    log.queue_threshold = Some(self.number()?);
                }
                Some(Kw::Level) => {
                    self.next();
                    log.level = Some(self.log_level()?);
                }
                Some(Kw::Flags) => {
                    self.next();
                    self.log_flags(&mut log)?;
                }
                _ => return Ok(StmtKind::Log(Box::new(log))),
            }
        }
    }

    fn log_level(&mut self) -> Parse<LogLevel> {
        let word = self.string()?;
        Ok(match &*word.value {
            "emerg" => LogLevel::Emerg,
            "alert" => LogLevel::Alert,
            "crit" => LogLevel::Crit,
            "err" => LogLevel::Err,
            "warn" => LogLevel::Warn,
            "notice" => LogLevel::Notice,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "audit" => LogLevel::Audit,
            _ => return self.error(word.span, "invalid log level"),
        })
    }

    fn log_flags(&mut self, log: &mut Log) -> Parse<()> {
        let flags = &mut log.flags;
        match self.peek_kw() {
            Some(Kw::Tcp) => {
                self.next();
                return self.within(Scope::TCP, |this| {
                    loop {
                        match this.peek_kw() {
                            Some(Kw::Sequence) => flags.tcp_sequence = true,
                            Some(Kw::Options) => flags.tcp_options = true,
                            _ => return this.fail(&[Kw::Sequence, Kw::Options].map(Tok::Word)),
                        }
                        this.next();
                        if !this.eat(Tok::Comma) {
                            return Ok(());
                        }
                    }
                });
            }
            Some(Kw::Ip) => {
                self.next();
                self.within(Scope::IP, |this| this.expect_kw(Kw::Options))?;
                flags.ip_options = true;
                return Ok(());
            }
            Some(Kw::Skuid) => flags.skuid = true,
            Some(Kw::Ether) => flags.ether = true,
            Some(Kw::All) => {
                *flags = crate::syntax::ast::LogFlags {
                    tcp_sequence: true,
                    tcp_options: true,
                    ip_options: true,
                    skuid: true,
                    ether: true,
                }
            }
            _ => return self.fail(&[]),
        }
        self.next();
        Ok(())
    }

    fn reject(&mut self) -> Parse<StmtKind> {
        self.next();
        let start = self.start();
        if !self.eat_kw(Kw::With) {
            return Ok(StmtKind::Reject(Box::new(Reject::Default)));
        }
        let wrap: fn(Expr) -> Reject = match self.peek_kw() {
            Some(Kw::Icmp) => Reject::Icmp,
            Some(Kw::Icmpv6) => Reject::Icmpv6,
            Some(Kw::Icmpx) => Reject::Icmpx,
            Some(Kw::Tcp) => {
                self.next();
                self.expect_kw(Kw::Reset)?;
                let span = self.since(start);
                return Ok(StmtKind::Reject(Box::new(Reject::TcpReset(span))));
            }
            _ => return self.fail(&[Kw::Icmp, Kw::Icmpv6, Kw::Tcp, Kw::Icmpx].map(Tok::Word)),
        };
        self.next();
        let typed = self.eat_kw(Kw::Type);
        let code = match self.peek() {
            Tok::Number(value) => Expr {
                kind: ExprKind::Number(value),
                span: self.next().span,
            },
            Tok::Dollar => self.variable()?,
            _ => {
                let wanted = [Tok::Number(0), Tok::Str, Tok::Word(Kw::Type)];
                let name = self.name_or(if typed { &wanted[..2] } else { &wanted })?;
                Expr {
                    kind: ExprKind::Symbol(name.value),
                    span: name.span,
                }
            }
        };
        Ok(StmtKind::Reject(Box::new(wrap(code))))
    }

    /// `reset tcp option K`.
    fn option_reset(&mut self) -> Parse<StmtKind> {
        self.next();
        self.within(Scope::TCP, |this| {
            this.expect_kw(Kw::Tcp)?;
            this.expect_kw(Kw::Option)?;
            Ok(StmtKind::TcpOptionReset(this.tcp_option_kind()?))
        })
    }
}
