//! Primary expressions: words, numbers, header fields, keys of packet and connection.

use super::expr::Side;
use super::{Parse, Parser};
use crate::syntax::ast::{
    Constant, Ct, CtDir, CtKey, DccpOption, Expr, ExprKind, ExtField, ExtHeader, ExtProto, Family,
    Fib, FibFlags, FibResult, Hash, Header, HeaderField, Inner, IpOption, IpOptionField,
    IpOptionKind, Ipsec, IpsecKey, MetaKey, Numgen, Osf, OsfTtl, PayloadBase, RawPayload, Rt,
    RtKey, SctpChunk, SctpChunkField, SctpChunkKind, Socket, TcpOption, TcpOptionField,
    TcpOptionKind, Tunnel,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Span;

/// Keys of `meta` that need no `meta` in front.
pub(super) fn unqualified_meta(kw: Kw) -> Option<MetaKey> {
    Some(match kw {
        Kw::Mark => MetaKey::Mark,
        Kw::Iif => MetaKey::Iif,
        Kw::Iifname => MetaKey::Iifname,
        Kw::Iiftype => MetaKey::Iiftype,
        Kw::Oif => MetaKey::Oif,
        Kw::Oifname => MetaKey::Oifname,
        Kw::Oiftype => MetaKey::Oiftype,
        Kw::Skuid => MetaKey::Skuid,
        Kw::Skgid => MetaKey::Skgid,
        Kw::Nftrace => MetaKey::Nftrace,
        Kw::Rtclassid => MetaKey::Rtclassid,
        Kw::Ibriport | Kw::Ibrname => MetaKey::Ibrname,
        Kw::Obriport | Kw::Obrname => MetaKey::Obrname,
        Kw::Pkttype => MetaKey::Pkttype,
        Kw::Cpu => MetaKey::Cpu,
        Kw::Iifgroup => MetaKey::Iifgroup,
        Kw::Oifgroup => MetaKey::Oifgroup,
        Kw::Cgroup => MetaKey::Cgroup,
        Kw::Time => MetaKey::Time,
        Kw::Day => MetaKey::Day,
        Kw::Hour => MetaKey::Hour,
        _ => return None,
    })
}

/// Headers whose fields are named by one word each, and the scope of those words.
fn plain_header(kw: Kw) -> Option<(Header, Scope)> {
    Some(match kw {
        Kw::Ether => (Header::Ether, Scope::ETH),
        Kw::Vlan => (Header::Vlan, Scope::VLAN),
        Kw::Ip => (Header::Ip, Scope::IP),
        Kw::Icmp => (Header::Icmp, Scope::ICMP),
        Kw::Igmp => (Header::Igmp, Scope::IGMP),
        Kw::Ip6 => (Header::Ip6, Scope::IP6),
        Kw::Icmpv6 => (Header::Icmpv6, Scope::ICMP),
        Kw::Ah => (Header::Ah, Scope::AH),
        Kw::Esp => (Header::Esp, Scope::ESP),
        Kw::Comp => (Header::Comp, Scope::COMP),
        Kw::Udp => (Header::Udp, Scope::UDP),
        Kw::Udplite => (Header::Udplite, Scope::UDPLITE),
        Kw::Tcp => (Header::Tcp, Scope::TCP),
        Kw::Dccp => (Header::Dccp, Scope::DCCP),
        Kw::Sctp => (Header::Sctp, Scope::SCTP),
        Kw::Th => (Header::Th, Scope::TH),
        _ => return None,
    })
}

fn constant(kw: Kw) -> Option<Constant> {
    Some(match kw {
        Kw::Tcp => Constant::InetProto(6),
        Kw::Udp => Constant::InetProto(17),
        Kw::Udplite => Constant::InetProto(136),
        Kw::Esp => Constant::InetProto(50),
        Kw::Ah => Constant::InetProto(51),
        Kw::Icmp => Constant::InetProto(1),
        Kw::Igmp => Constant::InetProto(2),
        Kw::Icmpv6 => Constant::InetProto(58),
        Kw::Comp => Constant::InetProto(108),
        Kw::Dccp => Constant::InetProto(33),
        Kw::Sctp => Constant::InetProto(132),
        Kw::Redirect => Constant::IcmpType(5),
        _ => return None,
    })
}

/// Keywords that are words of some type too.
fn is_word_value(kw: Kw) -> bool {
    matches!(
        kw,
        Kw::Ether
            | Kw::Ip
            | Kw::Ip6
            | Kw::Vlan
            | Kw::Arp
            | Kw::Dnat
            | Kw::Snat
            | Kw::Ecn
            | Kw::Reset
    )
}

impl Parser<'_> {
    fn expr_since(&self, start: Span, kind: ExprKind) -> Expr {
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

    /// `ip` may begin `ip saddr` or be the value `ip`.
    fn header_or_word(&mut self, kw: Kw) -> Parse<Expr> {
        let span = self.next().span;
        let (header, scope) = if kw == Kw::Arp {
            (Header::Arp, Scope::ARP)
        } else {
            plain_header(kw).unwrap_or((Header::Ip, Scope::IP))
        };
        let field = match self.peek_kw() {
            Some(Kw::Saddr | Kw::Daddr | Kw::Option) => true,
            Some(word) => HeaderField::find(header, word.word()).is_some(),
            None => false,
        };
        if field {
            return self.within(scope, |this| this.payload_field(header, span));
        }
        Ok(Expr {
            kind: ExprKind::Symbol(kw.word().into()),
            span,
        })
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

    /// A header field: `tcp dport`, `ip option rr type`, `tcp option maxseg size`, `sctp chunk data tsn`.
    pub(super) fn payload(&mut self) -> Parse<Expr> {
        let start = self.start();
        let Some(kw) = self.peek_kw() else {
            return self.fail(&[]);
        };
        let (header, scope) = if kw == Kw::Arp {
            (Header::Arp, Scope::ARP)
        } else {
            match plain_header(kw) {
                Some(found) => found,
                None => return self.fail(&[]),
            }
        };
        self.next();
        self.within(scope, |this| this.payload_field(header, start))
    }

    fn payload_field(&mut self, header: Header, start: Span) -> Parse<Expr> {
        match (header, self.peek_kw()) {
            (Header::Ip, Some(Kw::Option)) => return self.ip_option(start),
            (Header::Tcp, Some(Kw::Option)) => return self.tcp_option(start),
            (Header::Dccp, Some(Kw::Option)) => return self.dccp_option(start),
            (Header::Sctp, Some(Kw::Chunk)) => return self.sctp_chunk(start),
            (Header::Arp, Some(kw @ (Kw::Saddr | Kw::Daddr))) => {
                return self.arp_address(kw, start);
            }
            _ => {}
        }
        // `mtu` and `param-problem` are how 1.0.6 reads what it lists by longer names.
        let word = match self.peek() {
            Tok::Word(Kw::ParamProblem) if header == Header::Icmpv6 => {
                Some("parameter-problem".into())
            }
            Tok::Word(Kw::Mtu) if header == Header::Icmpv6 => Some("packet-too-big".into()),
            Tok::Word(_) | Tok::Str => {
                let token = self.token();
                Some(self.text(token))
            }
            _ => None,
        };
        match word.and_then(|word| HeaderField::find(header, &word)) {
            Some(field) => {
                self.next();
                Ok(self.expr_since(start, ExprKind::Payload(field)))
            }
            None => self.fail_field(header),
        }
    }

    /// nft lists the fields of headers that have few.
    fn fail_field(&mut self, header: Header) -> Parse<Expr> {
        let words: &[Kw] = match header {
            Header::Ether => &[Kw::Saddr, Kw::Daddr, Kw::Type],
            Header::Udp => &[Kw::Length, Kw::Checksum, Kw::Sport, Kw::Dport],
            Header::Udplite => &[Kw::Checksum, Kw::Sport, Kw::Dport, Kw::Csumcov],
            Header::Igmp => &[Kw::Type, Kw::Checksum, Kw::Mrt, Kw::Group],
            Header::Comp => &[Kw::Nexthdr, Kw::Flags, Kw::Cpi],
            Header::Esp => &[Kw::Sequence, Kw::Spi],
            Header::Dccp => &[Kw::Type, Kw::Sport, Kw::Dport],
            Header::Th => &[Kw::Sport, Kw::Dport],
            _ => &[],
        };
        let wanted: Vec<Tok> = words.iter().map(|&kw| Tok::Word(kw)).collect();
        self.fail(&wanted)
    }

    fn arp_address(&mut self, kw: Kw, start: Span) -> Parse<Expr> {
        self.next();
        let field = match (kw, self.peek_kw()) {
            (Kw::Saddr, Some(Kw::Ether)) => HeaderField::ArpSaddrEther,
            (Kw::Saddr, Some(Kw::Ip)) => HeaderField::ArpSaddrIp,
            (_, Some(Kw::Ether)) => HeaderField::ArpDaddrEther,
            (_, Some(Kw::Ip)) => HeaderField::ArpDaddrIp,
            _ => return self.fail(&[Tok::Word(Kw::Ether), Tok::Word(Kw::Ip)]),
        };
        self.next();
        Ok(self.expr_since(start, ExprKind::Payload(field)))
    }

    fn ip_option(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let Some(kind) = self
            .peek_kw()
            .and_then(|kw| IpOptionKind::from_keyword(kw.word()))
        else {
            return self.fail(&[Kw::Lsrr, Kw::Rr, Kw::Ssrr, Kw::Ra].map(Tok::Word));
        };
        self.next();
        let field = self
            .peek_kw()
            .and_then(|kw| IpOptionField::from_keyword(kw.word()));
        if field.is_some() {
            self.next();
        }
        let known = match (kind, field) {
            (IpOptionKind::Ra, Some(IpOptionField::Ptr | IpOptionField::Addr)) => false,
            (IpOptionKind::Ra, _) => true,
            (_, field) => field != Some(IpOptionField::Value),
        };
        if !known {
            return self.error(start, "unknown ip option type/field");
        }
        Ok(self.expr_since(start, ExprKind::IpOption(IpOption { kind, field })))
    }

    /// The option behind `tcp option`.
    pub(super) fn tcp_option_kind(&mut self) -> Parse<TcpOptionKind> {
        if let Tok::Number(value) = self.peek() {
            let span = self.next().span;
            return match u8::try_from(value) {
                Ok(number) => Ok(TcpOptionKind::Number(number)),
                Err(_) => self.error(span, "value too large"),
            };
        }
        match self
            .peek_kw()
            .and_then(|kw| TcpOptionKind::from_keyword(kw.word()))
        {
            Some(kind) => {
                self.next();
                Ok(kind)
            }
            None => self.fail(&[]),
        }
    }

    fn tcp_option(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        if self.eat(Tok::At) {
            let kind = self.tcp_option_kind()?;
            self.expect(Tok::Comma)?;
            let offset = self.number()?.value;
            self.expect(Tok::Comma)?;
            let length = self.number()?.value;
            let option = TcpOption {
                kind,
                field: TcpOptionField::Raw { offset, length },
            };
            return Ok(self.expr_since(start, ExprKind::TcpOption(option)));
        }
        let kind = self.tcp_option_kind()?;
        let field = match (kind, self.peek_kw()) {
            (_, Some(Kw::Length)) => TcpOptionField::Length,
            (TcpOptionKind::Maxseg, Some(Kw::Size)) => TcpOptionField::Size,
            (TcpOptionKind::Window, Some(Kw::Count)) => TcpOptionField::Count,
            (TcpOptionKind::Sack(_), Some(Kw::Left)) => TcpOptionField::Left,
            (TcpOptionKind::Sack(_), Some(Kw::Right)) => TcpOptionField::Right,
            (TcpOptionKind::Timestamp, Some(Kw::Tsval)) => TcpOptionField::Tsval,
            (TcpOptionKind::Timestamp, Some(Kw::Tsecr)) => TcpOptionField::Tsecr,
            (TcpOptionKind::Mptcp, Some(Kw::Subtype)) => TcpOptionField::Subtype,
            _ => TcpOptionField::Exists,
        };
        if field != TcpOptionField::Exists {
            self.next();
        }
        Ok(self.expr_since(start, ExprKind::TcpOption(TcpOption { kind, field })))
    }

    fn dccp_option(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let number = self.number()?;
        match u8::try_from(number.value) {
            Ok(option) => Ok(self.expr_since(start, ExprKind::DccpOption(DccpOption { option }))),
            Err(_) => self.error(number.span, "value too large"),
        }
    }

    fn sctp_chunk(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        self.within(Scope::CHUNK, |this| {
            let Some(kind) = this
                .peek_kw()
                .and_then(|kw| SctpChunkKind::from_keyword(kw.word()))
            else {
                return this.fail(&[]);
            };
            this.next();
            let field = this
                .peek_kw()
                .and_then(|kw| SctpChunkField::from_keyword(kw.word()))
                .filter(|&field| kind.has(field));
            if field.is_some() {
                this.next();
            }
            Ok(this.expr_since(start, ExprKind::SctpChunk(SctpChunk { kind, field })))
        })
    }

    /// `@th,16,16`.
    fn raw_payload(&mut self) -> Parse<Expr> {
        let start = self.next().span;
        self.within(Scope::AT, |this| {
            let base = match this.peek() {
                Tok::Word(Kw::Ll) => PayloadBase::Link,
                Tok::Word(Kw::Nh) => PayloadBase::Network,
                Tok::Word(Kw::Th) => PayloadBase::Transport,
                _ if this.at_name() => {
                    let word = this.name()?;
                    if word.value != "ih" {
                        return this.error(word.span, "unknown raw payload base");
                    }
                    return this.raw_payload_rest(PayloadBase::Inner, start);
                }
                _ => {
                    return this.fail(&[
                        Tok::Str,
                        Tok::Word(Kw::Ll),
                        Tok::Word(Kw::Nh),
                        Tok::Word(Kw::Th),
                    ]);
                }
            };
            this.next();
            this.raw_payload_rest(base, start)
        })
    }

    fn raw_payload_rest(&mut self, base: PayloadBase, start: Span) -> Parse<Expr> {
        self.expect(Tok::Comma)?;
        let offset = self.number()?.value;
        self.expect(Tok::Comma)?;
        let length = self.number()?.value;
        Ok(self.expr_since(
            start,
            ExprKind::RawPayload(RawPayload {
                base,
                offset,
                length,
            }),
        ))
    }

    /// `vxlan vni`, `geneve ip saddr`.
    fn inner(&mut self, kw: Kw, start: Span) -> Parse<Expr> {
        let (tunnel, header) = match kw {
            Kw::Vxlan => (Tunnel::Vxlan, Some(Header::Vxlan)),
            Kw::Geneve => (Tunnel::Geneve, Some(Header::Geneve)),
            Kw::Gre => (Tunnel::Gre, Some(Header::Gre)),
            _ => (Tunnel::Gretap, None),
        };
        self.next();
        if let (Some(header), Tok::Word(_) | Tok::Str) = (header, self.peek()) {
            let token = self.token();
            let word = self.text(token);
            if let Some(field) = HeaderField::find(header, &word) {
                self.next();
                return Ok(self.expr_since(start, ExprKind::Payload(field)));
            }
        }
        let field = self.payload()?;
        let inner = Inner { tunnel, field };
        Ok(self.expr_since(start, ExprKind::Inner(Box::new(inner))))
    }

    fn exthdr(&mut self, kw: Kw, start: Span) -> Parse<Expr> {
        self.next();
        let Some(header) = ExtProto::from_keyword(kw.word()) else {
            return self.fail(&[]);
        };
        let Some(field) = self
            .peek_kw()
            .and_then(|kw| ExtField::find(header, kw.word()))
        else {
            let words: Vec<Tok> = ExtField::ALL
                .iter()
                .filter(|field| field.header() == header)
                .filter_map(|field| Kw::find(field.keyword().as_bytes()).map(Tok::Word))
                .collect();
            return self.fail(&words);
        };
        self.next();
        let mut index = 1;
        if matches!(field, ExtField::Rt0Addr | ExtField::SrhSid) {
            self.expect(Tok::LeftBracket)?;
            index = self.number()?.value;
            self.expect(Tok::RightBracket)?;
        }
        Ok(self.expr_since(start, ExprKind::ExtHeader(ExtHeader::Field(field, index))))
    }

    fn exthdr_exists(&mut self, start: Span) -> Parse<Expr> {
        self.next();
        let header = match self.peek_kw() {
            Some(Kw::Hbh) => ExtProto::Hbh,
            Some(Kw::Rt) => ExtProto::Rt,
            Some(Kw::Frag) => ExtProto::Frag,
            Some(Kw::Dst) => ExtProto::Dst,
            Some(Kw::Mh) => ExtProto::Mh,
            _ => return self.fail(&[]),
        };
        self.next();
        Ok(self.expr_since(start, ExprKind::ExtHeader(ExtHeader::Exists(header))))
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
            _ if ttl == OsfTtl::Strict => {
                return self.fail(&[Kw::Version, Kw::Ttl, Kw::Name].map(Tok::Word));
            }
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
                    Tok::Dot,
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
