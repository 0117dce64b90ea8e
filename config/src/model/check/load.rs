//! Loads: fields, options, `meta`, `ct`, `fib` and the rest, with the dependencies they bring.

use super::super::datatype::{ByteOrder, TypeId};
use super::super::expr::{
    Ct, CtKey, Expr, ExprKind, Exthdr, ExthdrName, Fib, FibResult, Hash, HeaderField, MetaKey,
    Numgen, Osf, Payload, PayloadBase, Requirement, RtKey, SocketKey,
};
use super::context::Proto;
use super::depend::conflict;
use super::{Checked, Checker, Want, fail, selector};
use crate::syntax::ast::{
    self, DccpOption, ExtField, ExtHeader, ExtProto, Family, Header, IpOption, SctpChunk,
    TcpOption, TcpOptionField,
};
use crate::syntax::{Diagnostic, Span};

/// How far into an extension header the kernel can look: its offsets are bytes of 8 bits.
const MAX_OPTION_BITS: u16 = 255 * 8;

pub(crate) fn expr(ty: TypeId, bits: u16, order: ByteOrder, kind: ExprKind) -> Expr {
    Expr {
        ty,
        bits,
        order,
        kind,
    }
}

/// `meta KEY`.
pub(crate) fn meta_expr(key: MetaKey) -> Expr {
    let (ty, bits, order) = selector::meta(key);
    expr(ty, bits, order, ExprKind::Meta(key))
}

impl Checker<'_> {
    /// IPv6 extension headers.
    pub(crate) fn ext_header(&mut self, ext: ExtHeader, span: Span) -> Checked<Expr> {
        self.require_first(Header::Ip6, span)?;
        let (proto, offset, bits, ty, present) = match ext {
            ExtHeader::Exists(proto) => (proto, 0, 8, TypeId::Boolean, true),
            ExtHeader::Field(field, index) => {
                let list = matches!(
                    field,
                    ExtField::Rt0Addr | ExtField::Rt2Addr | ExtField::SrhSid
                );
                let entry = if list {
                    index.saturating_sub(1) as u16
                } else {
                    0
                };
                let bits = field.length_bits() as u16;
                let offset = (field.offset_bits() as u16).saturating_add(entry.saturating_mul(128));
                (
                    field.header(),
                    offset,
                    bits,
                    selector::ext_field(field),
                    false,
                )
            }
        };
        let kind = match proto {
            ExtProto::Hbh => 0,
            ExtProto::Rt | ExtProto::Rt0 | ExtProto::Rt2 | ExtProto::Srh => 43,
            ExtProto::Frag => 44,
            ExtProto::Dst => 60,
            ExtProto::Mh => 135,
        };
        if offset > MAX_OPTION_BITS {
            return fail(
                span,
                "Could not process rule: Value too large for defined data type",
            );
        }
        // The routing header's type is not asked for: nft leaves that to the rule.
        Ok(self.exthdr(ExthdrName::Ip6(ext), kind, (offset, bits), ty, present))
    }

    fn exthdr(
        &self,
        name: ExthdrName,
        kind: u8,
        (offset, bits): (u16, u16),
        ty: TypeId,
        present: bool,
    ) -> Expr {
        let requires = match name {
            ExthdrName::Ip6(_) => self.network_requirement(Header::Ip6).into_iter().collect(),
            ExthdrName::Ip(_) => self.network_requirement(Header::Ip).into_iter().collect(),
            ExthdrName::Tcp(_) => vec![Requirement::L4Proto(6)],
            ExthdrName::Sctp(_) => vec![Requirement::L4Proto(132)],
            ExthdrName::Dccp(_) => vec![Requirement::L4Proto(33)],
        };
        let order = if present {
            ByteOrder::Host
        } else {
            ByteOrder::Big
        };
        let size = if present { 1 } else { bits };
        expr(
            ty,
            size,
            order,
            ExprKind::Exthdr(Exthdr {
                name,
                kind,
                offset,
                bits,
                present,
                requires,
            }),
        )
    }

    /// TCP options.
    pub(crate) fn tcp_option(&mut self, option: TcpOption, span: Span) -> Checked<Expr> {
        let option = selector::named_tcp_option(option);
        let Some((offset, bits)) = selector::tcp_option(option) else {
            return fail(span, "tcp option has no such field");
        };
        if bits == 0 || bits > 128 || offset > 320 {
            return fail(span, "tcp option field is out of range");
        }
        let present = option.field == TcpOptionField::Exists;
        let ty = if present {
            TypeId::Boolean
        } else {
            TypeId::Integer
        };
        let kind = option.kind.number();
        let place = (offset as u16, bits as u16);
        Ok(self.exthdr(ExthdrName::Tcp(option), kind, place, ty, present))
    }

    /// IPv4 options.
    pub(crate) fn ip_option(&mut self, option: IpOption, span: Span) -> Checked<Expr> {
        self.require_first(Header::Ip, span)?;
        let kind = selector::ip_option_number(option.kind);
        let name = ExthdrName::Ip(option);
        match option.field {
            None => Ok(self.exthdr(name, kind, (0, 8), TypeId::Boolean, true)),
            Some(field) => match selector::ip_option(option.kind, field) {
                Some((offset, bits, ty)) => Ok(self.exthdr(name, kind, (offset, bits), ty, false)),
                None => fail(span, "unknown ip option type/field"),
            },
        }
    }

    /// SCTP chunks.
    pub(crate) fn sctp_chunk(&mut self, chunk: SctpChunk) -> Expr {
        let kind = selector::sctp_chunk_number(chunk.kind);
        let name = ExthdrName::Sctp(chunk);
        match chunk.field {
            None => self.exthdr(name, kind, (0, 8), TypeId::Boolean, true),
            Some(field) => self.exthdr(
                name,
                kind,
                selector::sctp_field(field),
                TypeId::Integer,
                false,
            ),
        }
    }

    /// DCCP options: whether one is there.
    pub(crate) fn dccp_option(&mut self, option: DccpOption) -> Expr {
        let name = ExthdrName::Dccp(option);
        self.exthdr(name, option.option, (0, 8), TypeId::Boolean, true)
    }

    /// `ct ...`.
    pub(crate) fn ct(&mut self, ct: Ct, span: Span) -> Checked<Expr> {
        let needs = selector::ct_needs_direction(ct.key);
        if needs == Some(false) && ct.dir.is_some() {
            return fail(span, format!("ct {} has no direction", ct.key.keyword()));
        }
        let (mut ty, mut bits, order) = selector::ct(ct.key);
        let mut ct = ct;
        if matches!(ct.key, CtKey::Saddr | CtKey::Daddr) {
            let source = ct.key == CtKey::Saddr;
            match self.proto.at(PayloadBase::Network) {
                Some(Proto::Known(Header::Ip)) => {
                    ct.key = if source {
                        CtKey::IpSaddr
                    } else {
                        CtKey::IpDaddr
                    };
                }
                Some(Proto::Known(Header::Ip6)) => {
                    (ty, bits) = (TypeId::Ipv6Addr, 128);
                    ct.key = if source {
                        CtKey::Ip6Saddr
                    } else {
                        CtKey::Ip6Daddr
                    };
                }
                _ => {
                    return fail(
                        span,
                        "cannot determine ip protocol version, use \"ip saddr\" or \"ip6 saddr\" instead",
                    );
                }
            }
        }
        let port = matches!(ct.key, CtKey::ProtoSrc | CtKey::ProtoDst);
        let typed = !port || self.proto.at(PayloadBase::Transport).is_some();
        if needs == Some(true) && ct.dir.is_none() && typed {
            return fail(span, "Could not process rule: Invalid argument");
        }
        let address = match ct.key {
            CtKey::IpSaddr | CtKey::IpDaddr => Some(Header::Ip),
            CtKey::Ip6Saddr | CtKey::Ip6Daddr => Some(Header::Ip6),
            _ => None,
        };
        if let (Some(header), Some(now)) = (address, self.proto.at(PayloadBase::Network))
            && now != Proto::Known(header)
        {
            return conflict(span, now, header).map_err(|mut error: Box<Diagnostic>| {
                error.related.extend(self.learned_at[0]);
                error
            });
        }
        Ok(expr(ty, bits, order, ExprKind::Ct(ct)))
    }

    /// `rt ...`.
    pub(crate) fn rt(&mut self, rt: ast::Rt, span: Span) -> Checked<Expr> {
        let network = match rt.family {
            Some(Family::Ip) => Some(Header::Ip),
            Some(Family::Ip6) => Some(Header::Ip6),
            _ => match self.proto.at(PayloadBase::Network) {
                Some(Proto::Known(header)) => Some(header),
                _ => None,
            },
        };
        let (ty, bits, order, key) = match rt.key {
            ast::RtKey::Classid => (TypeId::Realm, 32, ByteOrder::Host, RtKey::ClassId),
            ast::RtKey::Mtu => (TypeId::Integer, 16, ByteOrder::Host, RtKey::Mtu),
            ast::RtKey::Ipsec => (TypeId::Boolean, 1, ByteOrder::Host, RtKey::Ipsec),
            ast::RtKey::Nexthop => match network {
                Some(Header::Ip) => (TypeId::Ipv4Addr, 32, ByteOrder::Big, RtKey::NextHopIp),
                Some(Header::Ip6) => (TypeId::Ipv6Addr, 128, ByteOrder::Big, RtKey::NextHopIp6),
                _ => {
                    return fail(
                        span,
                        "cannot determine ip protocol version, use \"ip nexthop\" or \"ip6 nexthop\" instead",
                    );
                }
            },
        };
        Ok(expr(ty, bits, order, ExprKind::Rt(key)))
    }

    /// `fib ...`.
    pub(crate) fn fib(&mut self, fib: ast::Fib, span: Span) -> Checked<Expr> {
        let flags = fib.flags;
        let (ty, bits, result) = match fib.result {
            ast::FibResult::Oif => (TypeId::IfIndex, 32, FibResult::Oif),
            ast::FibResult::Oifname => (TypeId::IfName, 128, FibResult::OifName),
            ast::FibResult::Type => (TypeId::FibAddrType, 32, FibResult::Type),
            ast::FibResult::Check => (TypeId::Boolean, 1, FibResult::Present),
        };
        if !flags.saddr && !flags.daddr {
            return fail(span, "fib: need either saddr or daddr");
        }
        Ok(expr(
            ty,
            bits,
            ByteOrder::Host,
            ExprKind::Fib(Fib {
                saddr: flags.saddr,
                daddr: flags.daddr,
                mark: flags.mark,
                iif: flags.iif,
                oif: flags.oif,
                result,
            }),
        ))
    }

    /// `socket ...`.
    pub(crate) fn socket(&self, socket: ast::Socket) -> Expr {
        let (ty, bits, key) = match socket {
            ast::Socket::Transparent => (TypeId::Integer, 8, SocketKey::Transparent),
            ast::Socket::Mark => (TypeId::Mark, 32, SocketKey::Mark),
            ast::Socket::Wildcard => (TypeId::Integer, 8, SocketKey::Wildcard),
            ast::Socket::CgroupV2(level) => {
                let level = u32::try_from(level).unwrap_or(u32::MAX);
                (TypeId::CgroupV2, 64, SocketKey::CgroupV2 { level })
            }
        };
        expr(ty, bits, ByteOrder::Host, ExprKind::Socket(key))
    }

    /// `osf`.
    pub(crate) fn osf(&mut self, osf: ast::Osf) -> Expr {
        let ttl = match osf.ttl {
            ast::OsfTtl::Strict => 0,
            ast::OsfTtl::Loose => 1,
            ast::OsfTtl::Skip => 2,
        };
        expr(
            TypeId::String,
            128,
            ByteOrder::Host,
            ExprKind::Osf(Osf {
                ttl,
                version: osf.version,
            }),
        )
    }

    /// `numgen`.
    pub(crate) fn numgen(&self, numgen: ast::Numgen, span: Span) -> Checked<Expr> {
        let (modulus, offset) = modulus(numgen.modulus, numgen.offset, span)?;
        let random = numgen.random;
        Ok(expr(
            TypeId::Integer,
            32,
            ByteOrder::Host,
            ExprKind::Numgen(Numgen {
                random,
                modulus,
                offset,
            }),
        ))
    }

    /// `jhash` and `symhash`.
    pub(crate) fn hash(&mut self, hash: &ast::Hash, span: Span) -> Checked<Expr> {
        let (modulus, offset) = modulus(hash.modulus, hash.offset, span)?;
        let key = match &hash.of {
            Some(of) => Some(Box::new(self.expr(of, &Want::any())?)),
            None => None,
        };
        let seed = hash.seed.map(|s| s as u32);
        Ok(expr(
            TypeId::Integer,
            32,
            ByteOrder::Host,
            ExprKind::Hash(Hash {
                key,
                modulus,
                seed,
                offset,
            }),
        ))
    }

    /// `@base,offset,length`.
    pub(crate) fn raw_payload(&self, raw: ast::RawPayload, span: Span) -> Checked<Expr> {
        if raw.length == 0 || raw.length > 128 || raw.offset > 2048 {
            return fail(
                span,
                "raw payload expression is limited to 128 bits within 256 bytes",
            );
        }
        // The ports of any transport are known by their places.
        match (raw.base, raw.offset, raw.length) {
            (PayloadBase::Transport, 0, 16) => return Ok(self.field_expr(HeaderField::ThSport)),
            (PayloadBase::Transport, 16, 16) => return Ok(self.field_expr(HeaderField::ThDport)),
            _ => {}
        }
        let bits = raw.length as u16;
        let payload = Payload {
            base: raw.base,
            offset: raw.offset as u16,
            bits,
            field: None,
            requires: Vec::new(),
        };
        Ok(expr(
            TypeId::RawInteger,
            bits,
            ByteOrder::Big,
            ExprKind::Payload(payload),
        ))
    }
}

fn modulus(modulus: u64, offset: u64, span: Span) -> Checked<(u32, u32)> {
    match (u32::try_from(modulus), u32::try_from(offset)) {
        (Ok(0), _) => fail(
            span,
            "Could not process rule: Numerical result out of range",
        ),
        (Ok(m), Ok(o)) if m.checked_add(o).is_some() => Ok((m, o)),
        _ => fail(
            span,
            "Could not process rule: Value too large for defined data type",
        ),
    }
}
