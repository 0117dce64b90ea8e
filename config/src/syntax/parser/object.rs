//! Stateful objects: their blocks and one-line forms.

use super::{Parse, Parser, Stop};
use crate::syntax::ast::{
    CounterValue, CtExpectation, CtHelper, CtProtocol, CtTimeout, Expr, ExprKind, Family, Name,
    Nat64, Nat64Bind, Nat64Filtering, ObjectBody, ObjectKind, ObjectSpec, Siit, Synproxy,
    ZeroChecksum,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Spanned;

fn empty(kind: ObjectKind) -> ObjectSpec {
    match kind {
        ObjectKind::Counter => ObjectSpec::Counter(CounterValue::default()),
        ObjectKind::Quota => ObjectSpec::Quota(None),
        ObjectKind::Limit => ObjectSpec::Limit(None),
        ObjectKind::CtHelper => ObjectSpec::CtHelper(CtHelper::default()),
        ObjectKind::CtTimeout => ObjectSpec::CtTimeout(CtTimeout::default()),
        ObjectKind::CtExpectation => ObjectSpec::CtExpectation(CtExpectation::default()),
        ObjectKind::Synproxy => ObjectSpec::Synproxy(None),
        ObjectKind::Secmark => ObjectSpec::Secmark(None),
        ObjectKind::Nat64 => ObjectSpec::Nat64(Box::default()),
        ObjectKind::Siit => ObjectSpec::Siit(Box::default()),
    }
}

/// Keywords that are known behind the word for a kind of object.
pub(super) fn object_scope(kind: ObjectKind) -> Scope {
    match kind {
        ObjectKind::Counter => Scope::COUNTER,
        ObjectKind::Quota => Scope::QUOTA,
        ObjectKind::Limit => Scope::LIMIT,
        ObjectKind::CtHelper => Scope::CT.or(Scope::TYPE),
        ObjectKind::CtTimeout | ObjectKind::CtExpectation => Scope::CT,
        ObjectKind::Synproxy => Scope::SYNPROXY,
        ObjectKind::Secmark => Scope::NONE,
        ObjectKind::Nat64 | ObjectKind::Siit => Scope::NAT,
    }
}

impl Parser<'_> {
    /// The kind of object that begins here, its words read: `counter`, `ct helper`, `nat64`.
    pub(super) fn object_kind(&mut self) -> Parse<Option<ObjectKind>> {
        let kind = match self.peek_kw() {
            Some(Kw::Counter) => ObjectKind::Counter,
            Some(Kw::Quota) => ObjectKind::Quota,
            Some(Kw::Limit) => ObjectKind::Limit,
            Some(Kw::Synproxy) => ObjectKind::Synproxy,
            Some(Kw::Secmark) => ObjectKind::Secmark,
            Some(Kw::Nat64) => ObjectKind::Nat64,
            Some(Kw::Siit) => ObjectKind::Siit,
            Some(Kw::Ct) => {
                self.next();
                return self.within(Scope::CT, Self::ct_object_kind).map(Some);
            }
            _ => return Ok(None),
        };
        self.next();
        Ok(Some(kind))
    }

    fn ct_object_kind(&mut self) -> Parse<ObjectKind> {
        let kind = match self.peek_kw() {
            Some(Kw::Helper) => ObjectKind::CtHelper,
            Some(Kw::Timeout) => ObjectKind::CtTimeout,
            Some(Kw::Expectation) => ObjectKind::CtExpectation,
            _ => return self.fail(&[Kw::Timeout, Kw::Expectation, Kw::Helper].map(Tok::Word)),
        };
        self.next();
        Ok(kind)
    }

    /// `{ ... }` of an object.
    pub(super) fn object_block(&mut self, kind: ObjectKind, inside: bool) -> Parse<ObjectBody> {
        self.within(object_scope(kind), |this| {
            let start = this.expect(Tok::LeftBrace)?;
            let mut body = ObjectBody {
                spec: empty(kind),
                comment: None,
                span: start,
            };
            this.block(inside, |this| this.object_item(&mut body))?;
            body.span = this.since(start);
            Ok(body)
        })
    }

    /// What stands behind the name of an object in a command: a block, a line, or nothing.
    pub(super) fn object_line(&mut self, kind: ObjectKind) -> Parse<Option<ObjectBody>> {
        if self.peek() == Tok::LeftBrace {
            return self.object_block(kind, false).map(Some);
        }
        let needs_block = !matches!(
            kind,
            ObjectKind::Counter
                | ObjectKind::Quota
                | ObjectKind::Limit
                | ObjectKind::Synproxy
                | ObjectKind::Secmark
        );
        if needs_block {
            return self.fail(&[Tok::LeftBrace]);
        }
        self.within(object_scope(kind), |this| {
            let start = this.start();
            if kind == ObjectKind::Counter && !this.at(Kw::Packets) {
                return Ok(None);
            }
            match (kind, this.peek()) {
                (ObjectKind::Limit, token) if token != Tok::Word(Kw::Rate) => {
                    return this.fail(&[Tok::Word(Kw::Rate), Tok::LeftBrace]);
                }
                (ObjectKind::Secmark, _) if !this.at_string() => {
                    return this.fail(&[Tok::Str, Tok::Quoted, Tok::Wildcard, Tok::LeftBrace]);
                }
                _ => {}
            }
            let mut body = ObjectBody {
                spec: empty(kind),
                comment: None,
                span: start,
            };
            this.object_config(&mut body)?;
            body.span = this.since(start);
            Ok(Some(body))
        })
    }

    fn object_item(&mut self, body: &mut ObjectBody) -> Parse<()> {
        if self.at(Kw::Comment) {
            return self.block_comment(&mut body.comment, |_| Ok(()));
        }
        self.object_config(body)
    }

    fn object_config(&mut self, body: &mut ObjectBody) -> Parse<()> {
        match &mut body.spec {
            ObjectSpec::Counter(value) => {
                if !self.at(Kw::Packets) {
                    return self.fail(&[]);
                }
                self.next();
                value.packets = self.number()?.value;
                self.expect_kw(Kw::Bytes)?;
                value.bytes = self.number()?.value;
                Ok(())
            }
            ObjectSpec::Quota(quota) => {
                let start = self.last.behind();
                *quota = Some(self.quota_spec(start)?);
                Ok(())
            }
            ObjectSpec::Limit(limit) => {
                if !self.at(Kw::Rate) {
                    return self.fail(&[]);
                }
                *limit = Some(self.limit_spec()?);
                Ok(())
            }
            ObjectSpec::CtHelper(helper) => self.ct_helper(helper),
            ObjectSpec::CtTimeout(timeout) => self.ct_timeout(timeout),
            ObjectSpec::CtExpectation(expectation) => self.ct_expectation(expectation),
            ObjectSpec::Synproxy(synproxy) => {
                *synproxy = Some(self.synproxy_config()?);
                Ok(())
            }
            ObjectSpec::Secmark(context) => {
                if !self.at_string() {
                    return self.fail(&[]);
                }
                *context = Some(self.string()?);
                Ok(())
            }
            ObjectSpec::Nat64(nat64) => self.nat64(nat64),
            ObjectSpec::Siit(siit) => self.siit(siit),
        }
    }

    fn ct_protocol(&mut self) -> Parse<CtProtocol> {
        let protocol = match self.peek_kw() {
            Some(Kw::Tcp) => CtProtocol::Tcp,
            Some(Kw::Udp) => CtProtocol::Udp,
            _ => return self.fail(&[Kw::Udp, Kw::Tcp].map(Tok::Word)),
        };
        self.next();
        Ok(protocol)
    }

    fn l3proto(&mut self) -> Parse<Family> {
        self.next();
        match self.family() {
            Some(family) => Ok(family),
            None => self.fail(&[]),
        }
    }

    fn ct_helper(&mut self, helper: &mut CtHelper) -> Parse<()> {
        match self.peek_kw() {
            Some(Kw::Type) => {
                self.next();
                helper.helper = Some(self.quoted()?);
                self.expect_kw(Kw::Protocol)?;
                helper.protocol = Some(self.ct_protocol()?);
            }
            Some(Kw::L3proto) => helper.l3proto = Some(self.l3proto()?),
            _ => return self.fail(&[]),
        }
        self.expect_separator(&[])
    }

    fn ct_timeout(&mut self, timeout: &mut CtTimeout) -> Parse<()> {
        match self.peek_kw() {
            Some(Kw::Protocol) => {
                self.next();
                timeout.protocol = Some(self.ct_protocol()?);
            }
            Some(Kw::L3proto) => timeout.l3proto = Some(self.l3proto()?),
            Some(Kw::Policy) => {
                self.next();
                self.expect(Tok::Assign)?;
                self.expect(Tok::LeftBrace)?;
                loop {
                    let state = self.name()?;
                    self.expect(Tok::Colon)?;
                    // Later versions write times with units.
                    let seconds = match self.peek() {
                        Tok::Number(_) => self.number()?.value,
                        Tok::Str => self.time()? / 1000,
                        _ => return self.fail(&[Tok::Number(0)]),
                    };
                    timeout.policy.push((state, seconds));
                    match self.peek() {
                        Tok::Comma => self.next(),
                        Tok::RightBrace => break,
                        _ => return self.fail(&[Tok::Comma, Tok::RightBrace]),
                    };
                }
                self.next();
            }
            _ => return self.fail(&[]),
        }
        self.expect_separator(&[])
    }

    fn ct_expectation(&mut self, expectation: &mut CtExpectation) -> Parse<()> {
        match self.peek_kw() {
            Some(Kw::Protocol) => {
                self.next();
                expectation.protocol = Some(self.ct_protocol()?);
            }
            Some(Kw::Dport) => {
                self.next();
                expectation.dport = Some(self.number()?);
            }
            Some(Kw::Timeout) => {
                self.next();
                expectation.timeout_ms = Some(self.time()?);
            }
            Some(Kw::Size) => {
                self.next();
                expectation.size = Some(self.number()?);
            }
            Some(Kw::L3proto) => expectation.l3proto = Some(self.l3proto()?),
            _ => return self.fail(&[]),
        }
        self.expect_separator(&[])
    }

    /// `mss N wscale N [timestamp] [sack-perm]`, on one line or with separators between.
    fn synproxy_config(&mut self) -> Parse<Synproxy> {
        if !matches!(self.peek_kw(), Some(Kw::Mss | Kw::Maxseg)) {
            return self.fail(&[]);
        }
        self.next();
        let mss = Some(self.number()?.value);
        if self.separator() {
            self.next();
        } else if !self.at(Kw::Wscale) {
            return self.fail(&[Tok::Newline, Tok::Semicolon, Tok::Word(Kw::Wscale)]);
        }
        self.expect_kw(Kw::Wscale)?;
        let wscale = Some(self.number()?.value);
        let mut synproxy = Synproxy {
            mss,
            wscale,
            timestamp: false,
            sack_perm: false,
        };
        if self.separator() {
            self.next();
        }
        synproxy.timestamp = self.eat_kw(Kw::Timestamp);
        synproxy.sack_perm = self.eat_kw(Kw::SackPerm) || self.eat_kw(Kw::SackPermitted);
        Ok(synproxy)
    }

    /// A property of a nat64 block, up to its separator.
    fn nat64(&mut self, nat64: &mut Nat64) -> Parse<()> {
        const KNOWN: &str =
            "prefix, pool, bind, filtering, zero-checksum, lowest-mtu, non-global, comment";
        let word = self.property(KNOWN)?;
        match &*word.value {
            "prefix" => nat64.prefixes.push(self.argument()?),
            "pool" => nat64.pools.push(self.argument()?),
            "bind" => {
                let bind = self.nat64_bind(&word)?;
                nat64.binds.push(bind);
            }
            "filtering" => {
                let choice = self.choice(&[
                    ("endpoint-independent", Nat64Filtering::EndpointIndependent),
                    ("address-dependent", Nat64Filtering::AddressDependent),
                ])?;
                self.once(&mut nat64.filtering, choice, word.span)?;
            }
            "zero-checksum" => {
                let choice = self.choice(&[
                    ("compute", ZeroChecksum::Compute),
                    ("drop", ZeroChecksum::Drop),
                    ("forward", ZeroChecksum::Forward),
                ])?;
                self.once(&mut nat64.zero_checksum, choice, word.span)?;
            }
            "lowest-mtu" => {
                let number = self.number()?;
                self.once(&mut nat64.lowest_mtu, number, word.span)?;
            }
            "non-global" => nat64.non_global = true,
            _ => return self.unknown_property(&word, KNOWN),
        }
        self.expect_separator(&[])
    }

    fn siit(&mut self, siit: &mut Siit) -> Parse<()> {
        const KNOWN: &str = "prefix, map, comment";
        let word = self.property(KNOWN)?;
        match &*word.value {
            "prefix" => siit.prefixes.push(self.argument()?),
            "map" => {
                let from = self.argument()?;
                self.expect_kw(Kw::To)?;
                siit.maps.push((from, self.argument()?));
            }
            _ => return self.unknown_property(&word, KNOWN),
        }
        self.expect_separator(&[])
    }

    /// The first word of a property of our own blocks, which may be a keyword of nft.
    fn property(&mut self, known: &str) -> Parse<Name> {
        let token = self.token();
        match token.kind {
            Tok::Str | Tok::Word(_) => {
                self.next();
                Ok(Name {
                    value: self.text(token),
                    span: token.span,
                })
            }
            kind => self.error(
                token.span,
                format!(
                    "syntax error, unexpected {}, expecting one of {known}",
                    kind.display()
                ),
            ),
        }
    }

    fn unknown_property<T>(&mut self, word: &Name, known: &str) -> Parse<T> {
        self.error(
            word.span,
            format!(
                "syntax error, unexpected {}, expecting one of {known}",
                word.value
            ),
        )
    }

    fn choice<T: Copy>(&mut self, choices: &[(&str, T)]) -> Parse<Spanned<T>> {
        let token = self.token();
        let text = self.text(token);
        if let Some((_, value)) = choices.iter().find(|(word, _)| *word == text) {
            self.next();
            return Ok(Spanned {
                value: *value,
                span: token.span,
            });
        }
        let known: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.error(
            token.span,
            format!(
                "syntax error, unexpected {}, expecting {}",
                token.kind.display(),
                known.join(" or ")
            ),
        )
    }

    /// `tcp A:P to [B]:Q`, behind `bind`.
    fn nat64_bind(&mut self, word: &Name) -> Parse<Nat64Bind> {
        let token = self.token();
        let text = self.text(token);
        if !matches!(&*text, "tcp" | "udp" | "icmp") {
            return self.error(
                token.span,
                format!(
                    "syntax error, unexpected {}, expecting udp or tcp or icmp",
                    token.kind.display()
                ),
            );
        }
        self.next();
        let protocol = Name {
            value: text,
            span: token.span,
        };
        let (external, external_port) = self.endpoint()?;
        self.expect_kw(Kw::To)?;
        let (internal, internal_port) = self.endpoint()?;
        let span = self.since(word.span);
        Ok(Nat64Bind {
            protocol,
            external,
            external_port,
            internal,
            internal_port,
            span,
        })
    }

    fn endpoint(&mut self) -> Result<(Expr, Option<Expr>), Stop> {
        let address = self.symbol()?;
        if !self.eat(Tok::Colon) {
            return Ok((address, None));
        }
        let port = match self.peek() {
            Tok::Number(value) => Expr {
                kind: ExprKind::Number(value),
                span: self.next().span,
            },
            _ => self.symbol()?,
        };
        Ok((address, Some(port)))
    }
}
