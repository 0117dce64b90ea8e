//! Primary expressions: words, numbers, header fields, keys of packet and connection.

use super::expr::Side;
use super::header::plain_header;
use super::value::{constant, is_word_value, unqualified_meta};
use super::{Parse, Parser};
use crate::syntax::ast::{
    Ct, CtDir, CtKey, Expr, ExprKind, ExtField, ExtHeader, ExtProto, Family, Fib, FibFlags,
    FibResult, Hash, Ipsec, IpsecKey, MetaKey, Numgen, Osf, OsfTtl, Rt, RtKey, Socket,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Span;

impl Parser<'_> {
    pub(super) fn expr_since(&self, start: Span, kind: ExprKind) -> Expr {
        Expr {
            kind,
            span: self.since(start),
        }
    }

    /// A word, string or variable.
    pub(super) fn symbol(&mut self) -> Parse<Expr> {
        if self.peek() == Tok::Dollar {
            return self.variable();
        }
        let token = self.token();
        let name = self.string()?;
        let kind = if token.kind == Tok::Quoted {
            ExprKind::Quoted(name.value)
        } else {
            ExprKind::Symbol(name.value)
        };
        Ok(Expr {
            kind,
            span: name.span,
        })
    }

    fn parenthesised(&mut self, side: Side) -> Parse<Expr> {
        self.next();
        let inner = self.nested(|this| this.basic(side))?;
        self.expect(Tok::RightParen)?;
        Ok(inner)
    }

    /// Numbers, words and parentheses, which all sides have.
    fn primary_common(&mut self, side: Side) -> Parse<Option<Expr>> {
        Ok(Some(match self.peek() {
            Tok::Number(value) => Expr {
                kind: ExprKind::Number(value),
                span: self.next().span,
            },
            Tok::Quoted | Tok::Wildcard | Tok::Dollar => self.symbol()?,
            Tok::LeftParen => self.parenthesised(side)?,
            _ if self.at_name() => self.symbol()?,
            _ => return Ok(None),
        }))
    }

    fn boolean(&mut self) -> Option<Expr> {
        let value = match self.peek_kw()? {
            Kw::Exists => true,
            Kw::Missing => false,
            _ => return None,
        };
        Some(Expr {
            kind: ExprKind::Boolean(value),
            span: self.next().span,
        })
    }

    /// Keywords that are values of some type too.
    fn keyword_value(&mut self) -> Option<Expr> {
        let kw = self.peek_kw()?;
        is_word_value(kw).then(|| Expr {
            kind: ExprKind::Symbol(kw.word().into()),
            span: self.next().span,
        })
    }

    /// Whether a keyword is a value on the right side.
    pub(super) fn is_value(kw: Kw) -> bool {
        constant(kw).is_some() || is_word_value(kw) || matches!(kw, Kw::Exists | Kw::Missing)
    }

    /// A word in a list of words behind `set`.
    pub(super) fn word_argument(&mut self) -> Parse<Expr> {
        if let Some(expr) = self.keyword_value() {
            return Ok(expr);
        }
        if self.at_string() || self.peek() == Tok::Dollar {
            return self.symbol();
        }
        self.fail(&[])
    }

    pub(super) fn primary_right(&mut self) -> Parse<Expr> {
        if let Some(kw) = self.peek_kw().filter(|&kw| self.reserved(kw)) {
            if let Some(constant) = constant(kw) {
                return Ok(Expr {
                    kind: ExprKind::Constant(constant),
                    span: self.next().span,
                });
            }
            if let Some(expr) = self.keyword_value() {
                return Ok(expr);
            }
            if let Some(expr) = self.boolean() {
                return Ok(expr);
            }
        }
        match self.primary_common(Side::Right)? {
            Some(expr) => Ok(expr),
            None => self.fail(&[]),
        }
    }

    pub(super) fn primary_argument(&mut self) -> Parse<Expr> {
        let start = self.start();
        if let Some(kw) = self.peek_kw() {
            match kw {
                Kw::Ether | Kw::Ip | Kw::Ip6 | Kw::Vlan | Kw::Arp => {
                    return self.header_or_word(kw);
                }
                Kw::Numgen | Kw::Jhash | Kw::Symhash | Kw::Meta | Kw::Ct | Kw::Socket | Kw::Osf => {
                    return self.function(kw, start);
                }
                Kw::Rt => return self.within(Scope::RT, |this| this.rt(start, false)),
                _ if plain_header(kw).is_some() => return self.payload(),
                _ => {}
            }
            if let Some(key) = unqualified_meta(kw) {
                self.next();
                return Ok(self.expr_since(start, ExprKind::Meta(key)));
            }
            if let Some(expr) = self.keyword_value() {
                return Ok(expr);
            }
            if let Some(expr) = self.boolean() {
                return Ok(expr);
            }
        }
        if self.peek() == Tok::At {
            return self.raw_payload();
        }
        match self.primary_common(Side::Argument)? {
            Some(expr) => Ok(expr),
            None => self.fail(&[]),
        }
    }

    pub(super) fn primary_left(&mut self) -> Parse<Expr> {
        let start = self.start();
        if let Some(kw) = self.peek_kw() {
            match kw {
                Kw::Arp => return self.payload(),
                Kw::Numgen
                | Kw::Jhash
                | Kw::Symhash
                | Kw::Meta
                | Kw::Ct
                | Kw::Socket
                | Kw::Osf
                | Kw::Fib
                | Kw::Ipsec => return self.function(kw, start),
                Kw::Rt => return self.within(Scope::RT, |this| this.rt(start, true)),
                Kw::Rt0 | Kw::Rt2 | Kw::Srh => {
                    return self.within(Scope::RT, |this| this.exthdr(kw, start));
                }
                Kw::Hbh => return self.within(Scope::HBH, |this| this.exthdr(kw, start)),
                Kw::Frag => return self.within(Scope::FRAG, |this| this.exthdr(kw, start)),
                Kw::Dst => return self.within(Scope::DST, |this| this.exthdr(kw, start)),
                Kw::Mh => return self.within(Scope::MH, |this| this.exthdr(kw, start)),
                Kw::Exthdr => return self.exthdr_exists(start),
                Kw::Vxlan | Kw::Geneve | Kw::Gre | Kw::Gretap => return self.inner(kw, start),
                _ if plain_header(kw).is_some() => return self.payload(),
                _ => {}
            }
            if let Some(key) = unqualified_meta(kw) {
                self.next();
                return Ok(self.expr_since(start, ExprKind::Meta(key)));
            }
        }
        if self.peek() == Tok::At {
            return self.raw_payload();
        }
        match self.primary_common(Side::Left)? {
            Some(expr) => Ok(expr),
            None => self.fail(&[]),
        }
    }

    fn function(&mut self, kw: Kw, start: Span) -> Parse<Expr> {
        match kw {
            Kw::Numgen => self.within(Scope::NUMGEN, |this| this.numgen(start)),
            Kw::Jhash | Kw::Symhash => self.within(Scope::HASH, |this| this.hash(start)),
            Kw::Meta => self.within(Scope::META, |this| {
                this.next();
                let key = this.meta_key(start)?;
                Ok(this.expr_since(start, ExprKind::Meta(key)))
            }),
            Kw::Ct => self.within(Scope::CT, |this| {
                this.next();
                let ct = this.ct_key()?;
                Ok(this.expr_since(start, ExprKind::Ct(ct)))
            }),
            Kw::Socket => self.within(Scope::SOCKET, |this| this.socket(start)),
            Kw::Osf => self.within(Scope::OSF, |this| this.osf(start)),
            Kw::Fib => self.within(Scope::FIB, |this| this.fib(start)),
            _ => self.within(Scope::IPSEC, |this| this.ipsec(start)),
        }
    }

    /// The key behind `meta`.
    pub(super) fn meta_key(&mut self, start: Span) -> Parse<MetaKey> {
        if let Some(kw) = self.peek_kw() {
            let key = match kw {
                Kw::Length | Kw::Protocol | Kw::Priority | Kw::Random | Kw::Secmark | Kw::Ipsec => {
                    MetaKey::from_keyword(kw.word())
                }
                _ => unqualified_meta(kw),
            };
            if let Some(key) = key {
                self.next();
                return Ok(key);
            }
        }
        if !self.at_name() {
            return self.fail(&[]);
        }
        let word = self.name()?;
        if let Some(key) = MetaKey::from_keyword(&word.value) {
            return Ok(key);
        }
        if self.eat_kw(Kw::Set) {
            self.argument()?;
        }
        let known = [
            "length",
            "protocol",
            "priority",
            "mark",
            "iif",
            "oif",
            "iifname",
            "oifname",
            "iiftype",
            "oiftype",
            "skuid",
            "skgid",
            "nftrace",
            "rtclassid",
            "secmark",
            "nfproto",
            "l4proto",
            "ibrname",
            "obrname",
            "pkttype",
            "cpu",
            "iifgroup",
            "oifgroup",
            "cgroup",
            "random",
            "ipsec",
            "iifkind",
            "oifkind",
            "ibrpvid",
            "ibrvproto",
            "time",
            "day",
            "hour",
            "sdif",
            "sdifname",
        ]
        .join(", ");
        let span = self.since(start);
        self.error(
            span,
            format!(
                "syntax error, unexpected {}, known keys are {known}",
                word.value
            ),
        )
    }

    /// The key behind `ct`, with its direction.
    pub(super) fn ct_key(&mut self) -> Parse<Ct> {
        let dir = match self.peek_kw() {
            Some(Kw::Original) => Some(CtDir::Original),
            Some(Kw::Reply) => Some(CtDir::Reply),
            _ => None,
        };
        if dir.is_some() {
            self.next();
        }
        let Some(kw) = self.peek_kw() else {
            return self.fail(&[]);
        };
        if dir.is_some() {
            let by_family = match kw {
                Kw::Ip => Some((CtKey::IpSaddr, CtKey::IpDaddr)),
                Kw::Ip6 => Some((CtKey::Ip6Saddr, CtKey::Ip6Daddr)),
                _ => None,
            };
            if let Some((saddr, daddr)) = by_family {
                self.next();
                let key = match self.peek_kw() {
                    Some(Kw::Saddr) => saddr,
                    Some(Kw::Daddr) => daddr,
                    _ => return self.fail(&[Tok::Word(Kw::Saddr), Tok::Word(Kw::Daddr)]),
                };
                self.next();
                return Ok(Ct { key, dir });
            }
        }
        let directed = matches!(
            kw,
            Kw::Saddr
                | Kw::Daddr
                | Kw::L3proto
                | Kw::Protocol
                | Kw::ProtoSrc
                | Kw::ProtoDst
                | Kw::Bytes
                | Kw::Packets
                | Kw::Avgpkt
                | Kw::Zone
        );
        match CtKey::from_keyword(kw.word()) {
            Some(key) if dir.is_none() || directed => {
                self.next();
                Ok(Ct { key, dir })
            }
            _ => self.fail(&[]),
        }
    }

    /// `rt nexthop`, `rt ip nexthop`, or a field of the routing header.
    fn rt(&mut self, start: Span, header: bool) -> Parse<Expr> {
        self.next();
        if header
            && self
                .peek_kw()
                .is_some_and(|kw| ExtField::find(ExtProto::Rt, kw.word()).is_some())
        {
            let field = self
                .peek_kw()
                .and_then(|kw| ExtField::find(ExtProto::Rt, kw.word()));
            if let Some(field) = field {
                self.next();
                return Ok(self.expr_since(start, ExprKind::ExtHeader(ExtHeader::Field(field, 1))));
            }
        }
        let family = self.ip_family();
        let key = match self.peek_kw() {
            Some(Kw::Classid) => RtKey::Classid,
            Some(Kw::Nexthop) => RtKey::Nexthop,
            Some(Kw::Mtu) => RtKey::Mtu,
            Some(Kw::Ipsec) => RtKey::Ipsec,
            _ if family.is_some() => {
                return self.fail(&[Kw::Mtu, Kw::Classid, Kw::Nexthop, Kw::Ipsec].map(Tok::Word));
            }
            _ => return self.fail(&[]),
        };
        self.next();
        Ok(self.expr_since(start, ExprKind::Rt(Rt { key, family })))
    }

    /// `ip` or `ip6`, if it is there.
    pub(super) fn ip_family(&mut self) -> Option<Family> {
        let family = match self.peek_kw()? {
            Kw::Ip => Family::Ip,
            Kw::Ip6 => Family::Ip6,
            _ => return None,
        };
        self.next();
        Some(family)
    }

    fn socket(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let socket = match self.peek_kw() {
            Some(Kw::Transparent) => Socket::Transparent,
            Some(Kw::Mark) => Socket::Mark,
            Some(Kw::Wildcard) => Socket::Wildcard,
            Some(Kw::Cgroupv2) => {
                self.next();
                self.expect_kw(Kw::Level)?;
                let level = self.number()?.value;
                return Ok(self.expr_since(start, ExprKind::Socket(Socket::CgroupV2(level))));
            }
            _ => {
                return self
                    .fail(&[Kw::Transparent, Kw::Wildcard, Kw::Cgroupv2, Kw::Mark].map(Tok::Word));
            }
        };
        self.next();
        Ok(self.expr_since(start, ExprKind::Socket(socket)))
    }

    fn osf(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let mut ttl = OsfTtl::Strict;
        if self.eat_kw(Kw::Ttl) {
            let word = self.name()?;
            ttl = match &*word.value {
                "loose" => OsfTtl::Loose,
                "skip" => OsfTtl::Skip,
                _ => return self.error(word.span, "invalid ttl option"),
            };
        }
        let version = match self.peek_kw() {
            Some(Kw::Version) => true,
            Some(Kw::Name) => false,
            _ => return self.fail(&[Kw::Version, Kw::Name].map(Tok::Word)),
        };
        self.next();
        Ok(self.expr_since(start, ExprKind::Osf(Osf { ttl, version })))
    }

    fn fib(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let tuple = self.start();
        let mut flags = FibFlags::default();
        loop {
            match self.peek_kw() {
                Some(Kw::Saddr) => flags.saddr = true,
                Some(Kw::Daddr) => flags.daddr = true,
                Some(Kw::Mark) => flags.mark = true,
                Some(Kw::Iif) => flags.iif = true,
                Some(Kw::Oif) => flags.oif = true,
                _ => return self.fail(&[]),
            }
            self.next();
            if !self.eat(Tok::Dot) {
                break;
            }
        }
        let tuple = self.since(tuple);
        let result = match self.peek() {
            Tok::Word(Kw::Oif) => FibResult::Oif,
            Tok::Word(Kw::Oifname) => FibResult::Oifname,
            Tok::Word(Kw::Type) => FibResult::Type,
            Tok::Str
                if self
                    .sources
                    .slice(self.peeked.map_or(start, |token| token.span))
                    == "check" =>
            {
                FibResult::Check
            }
            _ => {
                return self.fail(&[
                    Tok::Word(Kw::Type),
                    Tok::Word(Kw::Oif),
                    Tok::Word(Kw::Oifname),
                ]);
            }
        };
        self.next();
        if !flags.saddr && !flags.daddr {
            return self.error(tuple, "fib: need either saddr or daddr");
        }
        if flags.saddr && flags.daddr {
            return self.error(tuple, "fib: saddr and daddr are mutually exclusive");
        }
        if flags.iif && flags.oif {
            return self.error(tuple, "fib: iif and oif are mutually exclusive");
        }
        Ok(self.expr_since(start, ExprKind::Fib(Fib { flags, result })))
    }

    /// `ipsec in ...`, or `ipsec` alone, which is `meta ipsec`.
    fn ipsec(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let out = match self.peek_kw() {
            Some(Kw::In) => false,
            Some(Kw::Out) => true,
            _ => return Ok(self.expr_since(start, ExprKind::Meta(MetaKey::Ipsec))),
        };
        self.next();
        let mut spnum = 0;
        if self.at(Kw::Spnum) {
            let at = self.next().span;
            let number = self.number()?;
            spnum = match u8::try_from(number.value) {
                Ok(number) => number,
                Err(_) => {
                    let span = self.since(at);
                    return self.error(span, "value too large");
                }
            };
        }
        let family = self.ip_family();
        let key = match (family, self.peek_kw()) {
            (None, Some(Kw::Spi)) => IpsecKey::Spi,
            (None, Some(Kw::Reqid)) => IpsecKey::Reqid,
            (Some(Family::Ip6), Some(Kw::Saddr)) => IpsecKey::Ip6Saddr,
            (Some(Family::Ip6), Some(Kw::Daddr)) => IpsecKey::Ip6Daddr,
            (Some(_), Some(Kw::Saddr)) => IpsecKey::IpSaddr,
            (Some(_), Some(Kw::Daddr)) => IpsecKey::IpDaddr,
            (Some(_), _) => return self.fail(&[Kw::Saddr, Kw::Daddr].map(Tok::Word)),
            _ => return self.fail(&[]),
        };
        self.next();
        Ok(self.expr_since(start, ExprKind::Ipsec(Ipsec { out, spnum, key })))
    }

    fn offset(&mut self) -> Parse<u64> {
        if self.eat_kw(Kw::Offset) {
            Ok(self.number()?.value)
        } else {
            Ok(0)
        }
    }

    pub(super) fn numgen(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let random = match self.peek_kw() {
            Some(Kw::Inc) => false,
            Some(Kw::Random) => true,
            _ => return self.fail(&[Kw::Random, Kw::Inc].map(Tok::Word)),
        };
        self.next();
        self.expect_kw(Kw::Mod)?;
        let modulus = self.number()?.value;
        let offset = self.offset()?;
        Ok(self.expr_since(
            start,
            ExprKind::Numgen(Numgen {
                random,
                modulus,
                offset,
            }),
        ))
    }

    pub(super) fn hash(&mut self, start: Span) -> Parse<Expr> {
        let of = if self.next().kind == Tok::Word(Kw::Jhash) {
            Some(self.nested(Self::left)?)
        } else {
            None
        };
        self.expect_kw(Kw::Mod)?;
        let modulus = self.number()?.value;
        let seed = if of.is_some() && self.eat_kw(Kw::Seed) {
            Some(self.number()?.value)
        } else {
            None
        };
        let offset = self.offset()?;
        Ok(self.expr_since(
            start,
            ExprKind::Hash(Box::new(Hash {
                of,
                modulus,
                seed,
                offset,
            })),
        ))
    }
}
