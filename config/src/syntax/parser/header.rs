//! Fields of headers, extension headers, options and chunks.

use super::{Parse, Parser};
use crate::syntax::ast::{
    DccpOption, Expr, ExprKind, ExtField, ExtHeader, ExtProto, Header, HeaderField, Inner,
    IpOption, IpOptionField, IpOptionKind, PayloadBase, RawPayload, SctpChunk, SctpChunkField,
    SctpChunkKind, TcpOption, TcpOptionField, TcpOptionKind, Tunnel,
};
use crate::syntax::keyword::{Kw, Scope};
use crate::syntax::lexer::Tok;
use crate::syntax::source::Span;

/// Headers whose fields are named by one word each, and the scope of those words.
pub(super) fn plain_header(kw: Kw) -> Option<(Header, Scope)> {
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

impl Parser<'_> {
    /// `ip` may begin `ip saddr` or be the value `ip`.
    pub(super) fn header_or_word(&mut self, kw: Kw) -> Parse<Expr> {
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

    pub(super) fn payload_field(&mut self, header: Header, start: Span) -> Parse<Expr> {
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
    pub(super) fn raw_payload(&mut self) -> Parse<Expr> {
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
    pub(super) fn inner(&mut self, kw: Kw, start: Span) -> Parse<Expr> {
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

    pub(super) fn exthdr(&mut self, kw: Kw, start: Span) -> Parse<Expr> {
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

    pub(super) fn exthdr_exists(&mut self, start: Span) -> Parse<Expr> {
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
}
