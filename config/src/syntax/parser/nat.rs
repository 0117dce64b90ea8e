//! Statements that send packets elsewhere: translations, tproxy, queue, dup, fwd.

use super::{Parse, Parser};
use crate::syntax::ast::{
    Dup, Expr, ExprKind, Family, Fwd, Map, Nat, NatFilter, NatFlags, NatKind, Npt, Queue, StmtKind,
    Tproxy,
};
use crate::syntax::keyword::Kw;
use crate::syntax::lexer::Tok;
use crate::syntax::source::Spanned;

impl Nat {
    fn new(kind: NatKind) -> Self {
        Nat {
            kind,
            family: None,
            addr: None,
            port: None,
            flags: NatFlags::default(),
            concat: false,
            prefix: false,
            interval: false,
            endpoint_independent: None,
        }
    }
}

impl Parser<'_> {
    /// `snat`, `dnat`.
    pub(super) fn nat(&mut self) -> Parse<StmtKind> {
        let kind = if self.next().kind == Tok::Word(Kw::Snat) {
            NatKind::Snat
        } else {
            NatKind::Dnat
        };
        let mut nat = Nat::new(kind);
        self.nat_target(&mut nat)?;
        self.nat_tail(&mut nat)?;
        Ok(StmtKind::Nat(Box::new(nat)))
    }

    fn nat_target(&mut self, nat: &mut Nat) -> Parse<()> {
        // `ip to`, `ip prefix to`, `ip addr . port to`; but `ip saddr map ...` is an address.
        if matches!(self.peek_kw(), Some(Kw::Ip | Kw::Ip6)) {
            let word = self.token();
            nat.family = self.ip_family();
            if !matches!(
                self.peek_kw(),
                Some(Kw::To | Kw::Prefix | Kw::Interval | Kw::Addr)
            ) {
                nat.family = None;
                nat.addr = Some(self.argument_behind(word)?);
                return self.nat_port(nat);
            }
        }
        match self.peek_kw() {
            Some(Kw::Prefix) => {
                self.next();
                nat.prefix = true;
                self.expect_kw(Kw::To)?;
                nat.addr = Some(self.argument()?);
                return Ok(());
            }
            Some(Kw::Interval) => {
                self.next();
                nat.interval = true;
                self.expect_kw(Kw::To)?;
                nat.addr = Some(self.argument()?);
                return Ok(());
            }
            Some(Kw::Addr) if nat.family.is_some() => {
                self.next();
                self.expect(Tok::Dot)?;
                self.expect_kw(Kw::Port)?;
                nat.concat = true;
                self.expect_kw(Kw::To)?;
                nat.addr = Some(self.argument()?);
                return Ok(());
            }
            Some(Kw::To) => {
                self.next();
            }
            _ => {}
        }
        if self.peek() != Tok::Colon {
            nat.addr = Some(self.argument()?);
        }
        self.nat_port(nat)
    }

    /// An argument of which the first word, `ip` or `ip6`, has been read.
    fn argument_behind(&mut self, word: super::Token) -> Parse<Expr> {
        self.pushed = self.peeked.take();
        self.peeked = Some(word);
        self.argument()
    }

    fn nat_port(&mut self, nat: &mut Nat) -> Parse<()> {
        if self.eat(Tok::Colon) {
            nat.port = Some(self.argument()?);
        }
        Ok(())
    }

    /// Flags and, as an extension, the behaviour of the mapping.
    fn nat_tail(&mut self, nat: &mut Nat) -> Parse<()> {
        loop {
            match self.peek() {
                Tok::Word(Kw::Random | Kw::FullyRandom | Kw::Persistent) => {
                    self.nat_flags(&mut nat.flags)?
                }
                Tok::Str if self.at_word("endpoint-independent") => self.nat_mapping(nat)?,
                _ => return Ok(()),
            }
        }
    }

    /// `endpoint-independent [filter F]`, if it is there.
    fn nat_mapping(&mut self, nat: &mut Nat) -> Parse<()> {
        if !self.at_word("endpoint-independent") {
            return Ok(());
        }
        let start = self.next().span;
        let filter = self.nat_filter()?;
        let value = Spanned {
            value: filter,
            span: self.since(start),
        };
        self.once(&mut nat.endpoint_independent, value, start)
    }

    /// Whether the token at hand is a name that is spelt like that.
    pub(super) fn at_word(&mut self, word: &str) -> bool {
        let token = self.token();
        matches!(token.kind, Tok::Str | Tok::Word(_)) && self.sources.slice(token.span) == word
    }

    fn nat_filter(&mut self) -> Parse<NatFilter> {
        if !self.at_word("filter") {
            return Ok(NatFilter::EndpointIndependent);
        }
        self.next();
        let word = self.name()?;
        Ok(match &*word.value {
            "address" => NatFilter::Address,
            "address-port" => NatFilter::AddressPort,
            "endpoint-independent" => NatFilter::EndpointIndependent,
            _ => {
                return self.error(
                    word.span,
                    format!("unknown filtering {}, known are endpoint-independent, address, address-port", word.value),
                );
            }
        })
    }

    fn nat_flags(&mut self, flags: &mut NatFlags) -> Parse<()> {
        loop {
            match self.peek_kw() {
                Some(Kw::Random) => flags.random = true,
                Some(Kw::FullyRandom) => flags.fully_random = true,
                Some(Kw::Persistent) => flags.persistent = true,
                _ => {
                    return self
                        .fail(&[Kw::Random, Kw::FullyRandom, Kw::Persistent].map(Tok::Word));
                }
            }
            self.next();
            if !self.eat(Tok::Comma) {
                return Ok(());
            }
        }
    }

    /// Flags that may stand once, in one list.
    fn nat_flags_once(&mut self, flags: &mut NatFlags) -> Parse<()> {
        match self.peek_kw() {
            Some(Kw::Random | Kw::FullyRandom | Kw::Persistent) => self.nat_flags(flags),
            _ => Ok(()),
        }
    }

    /// `to`, `ip to` or `ip6 to`.
    fn family_to(&mut self) -> Parse<Option<Family>> {
        let family = self.ip_family();
        let wanted = [Kw::To, Kw::Ip, Kw::Ip6].map(Tok::Word);
        let wanted = if family.is_some() {
            &wanted[..1]
        } else {
            &wanted[..]
        };
        self.expect_or(wanted[0], wanted)?;
        Ok(family)
    }

    pub(super) fn masquerade(&mut self) -> Parse<StmtKind> {
        self.next();
        let mut nat = Nat::new(NatKind::Masquerade);
        if self.eat_kw(Kw::To) {
            self.expect(Tok::Colon)?;
            nat.port = Some(self.argument()?);
        }
        self.nat_flags_once(&mut nat.flags)?;
        self.nat_mapping(&mut nat)?;
        Ok(StmtKind::Nat(Box::new(nat)))
    }

    pub(super) fn redirect(&mut self) -> Parse<StmtKind> {
        self.next();
        let mut nat = Nat::new(NatKind::Redirect);
        if self.eat_kw(Kw::To) {
            self.eat(Tok::Colon);
            nat.port = Some(self.argument()?);
        }
        self.nat_flags_once(&mut nat.flags)?;
        Ok(StmtKind::Nat(Box::new(nat)))
    }

    /// `snpt from A to B`, `dnpt from A to B`.
    pub(super) fn npt(&mut self) -> Parse<StmtKind> {
        let destination = self.next().kind == Tok::Word(Kw::Dnpt);
        if !self.at_word("from") {
            let token = self.token();
            let text = self.text(token);
            return self.error(
                token.span,
                format!("syntax error, unexpected {text}, expecting from"),
            );
        }
        self.next();
        let from = self.argument()?;
        self.expect_kw(Kw::To)?;
        let to = self.argument()?;
        Ok(StmtKind::Npt(Box::new(Npt {
            destination,
            from,
            to,
        })))
    }

    pub(super) fn tproxy(&mut self) -> Parse<StmtKind> {
        self.next();
        let family = self.family_to()?;
        let addr = if self.peek() == Tok::Colon {
            None
        } else {
            Some(self.argument()?)
        };
        let port = if self.eat(Tok::Colon) {
            Some(self.argument()?)
        } else {
            None
        };
        Ok(StmtKind::Tproxy(Box::new(Tproxy { family, addr, port })))
    }

    pub(super) fn dup(&mut self) -> Parse<StmtKind> {
        self.next();
        self.expect_kw(Kw::To)?;
        let to = self.argument()?;
        let device = if self.eat_kw(Kw::Device) {
            Some(self.argument()?)
        } else {
            None
        };
        Ok(StmtKind::Dup(Box::new(Dup { to, device })))
    }

    pub(super) fn fwd(&mut self) -> Parse<StmtKind> {
        self.next();
        let family = self.family_to()?;
        let first = self.argument()?;
        if family.is_none() {
            return Ok(StmtKind::Fwd(Box::new(Fwd {
                family,
                addr: None,
                device: first,
            })));
        }
        self.expect_kw(Kw::Device)?;
        let device = self.argument()?;
        Ok(StmtKind::Fwd(Box::new(Fwd {
            family,
            addr: Some(first),
            device,
        })))
    }

    pub(super) fn queue(&mut self) -> Parse<StmtKind> {
        self.next();
        let mut queue = Queue {
            to: None,
            bypass: false,
            fanout: false,
        };
        if self.eat_kw(Kw::To) {
            queue.to = Some(self.queue_target()?);
        } else if self.eat_kw(Kw::Flags) {
            self.queue_flags(&mut queue)?;
            if self.eat_kw(Kw::Num) {
                queue.to = Some(self.queue_number()?);
            } else {
                self.expect_or(
                    Tok::Word(Kw::To),
                    &[Tok::Comma, Tok::Word(Kw::To), Tok::Word(Kw::Num)],
                )?;
                queue.to = Some(self.queue_target()?);
            }
        } else {
            loop {
                match self.peek_kw() {
                    Some(Kw::Num) => {
                        self.next();
                        queue.to = Some(self.queue_number()?);
                    }
                    Some(Kw::Bypass | Kw::Fanout) => self.queue_flags(&mut queue)?,
                    _ => break,
                }
            }
        }
        Ok(StmtKind::Queue(Box::new(queue)))
    }

    fn queue_flags(&mut self, queue: &mut Queue) -> Parse<()> {
        loop {
            match self.peek_kw() {
                Some(Kw::Bypass) => queue.bypass = true,
                Some(Kw::Fanout) => queue.fanout = true,
                _ => return self.fail(&[Kw::Bypass, Kw::Fanout].map(Tok::Word)),
            }
            self.next();
            if !self.eat(Tok::Comma) {
                return Ok(());
            }
        }
    }

    fn queue_value(&mut self) -> Parse<Expr> {
        match self.peek() {
            Tok::Number(value) => Ok(Expr {
                kind: ExprKind::Number(value),
                span: self.next().span,
            }),
            Tok::Dollar => self.variable(),
            _ => self.fail(&[Tok::Number(0), Tok::Dollar]),
        }
    }

    fn queue_number(&mut self) -> Parse<Expr> {
        let from = self.queue_value()?;
        if !self.eat(Tok::Dash) {
            return Ok(from);
        }
        let to = self.queue_value()?;
        let span = self.since(from.span);
        Ok(Expr {
            kind: ExprKind::Range(Box::new((from, to))),
            span,
        })
    }

    /// A number, a range, `numgen`, a hash, or a map of anything.
    fn queue_target(&mut self) -> Parse<Expr> {
        let key = match self.peek() {
            Tok::Number(_) | Tok::Dollar => {
                let value = self.queue_number()?;
                if matches!(value.kind, ExprKind::Range(_)) || !self.at(Kw::Map) {
                    return Ok(value);
                }
                value
            }
            _ => self.concat(super::expr::Side::Left)?,
        };
        let plain = matches!(key.kind, ExprKind::Numgen(_) | ExprKind::Hash(_));
        if plain && !self.at(Kw::Map) {
            return Ok(key);
        }
        self.expect_or(Tok::Word(Kw::Map), &[Tok::Dot, Tok::Word(Kw::Map)])?;
        let start = key.span;
        let map = self.right()?;
        let map = Map {
            key,
            map,
            verdict: false,
        };
        Ok(Expr {
            kind: ExprKind::Map(Box::new(map)),
            span: self.since(start),
        })
    }
}
