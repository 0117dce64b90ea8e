//! Loads: fields, options, `meta`, `ct`, `fib` and the rest, with the dependencies they bring.

use super::super::datatype::{ByteOrder, TypeId};
use super::super::expr::{
    Ct, CtKey, Element, Expr, ExprKind, Exthdr, ExthdrName, Fib, FibResult, Hash, HeaderField,
    KeyPart, MetaKey, Numgen, Osf, Payload, PayloadBase, Requirement, RtKey, SetExpr, SetType,
    SocketKey,
};
use super::super::protocol;
use super::super::stmt::{Match, RelOp, Stmt};
use super::context::Proto;
use super::{Checked, Checker, Want, fail, selector};
use crate::syntax::Span;
use crate::syntax::ast::{
    self, ExtField, ExtHeader, ExtProto, Family, Header, IpOption, SctpChunk, TcpOption,
    TcpOptionField,
};

/// First bit of the VLAN tag behind the addresses and the tag's EtherType.
const VLAN_OFFSET: u16 = 112;

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

/// The type field of ICMP that an ICMP field needs, with its allowed values.
fn icmp_types(field: HeaderField) -> Option<&'static [u8]> {
    use HeaderField as F;
    Some(match field {
        F::IcmpId | F::IcmpSequence => &[8, 0],
        F::IcmpGateway => &[5],
        F::IcmpMtu => &[3],
        F::Icmpv6Id | F::Icmpv6Sequence => &[128, 129],
        F::Icmpv6ParameterProblem => &[4],
        F::Icmpv6PacketTooBig => &[2],
        F::Icmpv6MaxDelay => &[130],
        F::Icmpv6Taddr => &[135],
        F::Icmpv6Daddr => &[137],
        _ => return None,
    })
}

impl Checker<'_> {
    fn dependency(&mut self, left: Expr, value: u128) {
        let right = expr(left.ty, left.bits, left.order, ExprKind::Value(value));
        self.learn(&left, &right);
        self.out.push(Stmt::Match(Match {
            left,
            op: RelOp::Eq,
            right,
            implicit: true,
        }));
    }

    /// What an equality tells about the protocols.
    pub(crate) fn learn(&mut self, left: &Expr, right: &Expr) {
        let values: Vec<u128> = match &right.kind {
            ExprKind::Value(v) => vec![*v],
            ExprKind::Set(set) if set.data.is_none() => {
                set.elements.iter().filter_map(|e| e.key.value()).collect()
            }
            _ => return,
        };
        for value in values {
            match &left.kind {
                ExprKind::Meta(MetaKey::Iiftype) => self.proto.learn_iiftype(value),
                ExprKind::Meta(MetaKey::Nfproto) => self.proto.learn_nfproto(value),
                ExprKind::Meta(MetaKey::Protocol) => self.proto.learn_protocol(value),
                ExprKind::Meta(MetaKey::L4proto) => self.proto.learn_l4proto(value),
                ExprKind::Payload(Payload {
                    field:
                        Some(
                            field @ (HeaderField::EtherType
                            | HeaderField::VlanType
                            | HeaderField::IpProtocol
                            | HeaderField::Ip6Nexthdr
                            | HeaderField::AhNexthdr
                            | HeaderField::CompNexthdr
                            | HeaderField::IcmpType
                            | HeaderField::Icmpv6Type),
                        ),
                    ..
                }) => self.proto.learn_field(field.header(), value),
                _ => {}
            }
        }
    }

    /// A header's field, its dependencies put in front of the statement.
    pub(crate) fn field(&mut self, field: HeaderField, span: Span) -> Checked<Expr> {
        let header = field.header();
        if header != Header::Th {
            self.require(header, span)?;
            if let Some(types) = icmp_types(field) {
                self.require_icmp_type(field, types, span)?;
            }
        }
        Ok(self.field_expr(field))
    }

    fn field_expr(&self, field: HeaderField) -> Expr {
        let header = field.header();
        let (ty, order) = protocol::type_of(field);
        let bits = field.length_bits() as u16;
        let mut offset = field.offset_bits() as u16;
        if header == Header::Vlan {
            offset += VLAN_OFFSET + 32 * self.proto.tags_below();
        }
        let payload = Payload {
            base: protocol::base_of(header),
            offset,
            bits,
            field: Some(field),
            requires: self.requirements(field),
        };
        expr(ty, bits, order, ExprKind::Payload(payload))
    }

    /// All that must hold for a field to be there, whether or not the rule says so itself.
    fn requirements(&self, field: HeaderField) -> Vec<Requirement> {
        let header = field.header();
        let mut all = Vec::new();
        match header {
            Header::Th => return all,
            Header::Ether if self.cx.family == Family::Bridge => {}
            Header::Ether => all.push(Requirement::IfType(1)),
            Header::Vlan => {
                if self.cx.family != Family::Bridge {
                    all.push(Requirement::IfType(1));
                }
                all.push(Requirement::EtherType(0x8100));
            }
            Header::Ip | Header::Ip6 | Header::Arp => all.extend(self.network_requirement(header)),
            _ => {
                if header == Header::Icmp || header == Header::Igmp {
                    all.extend(self.network_requirement(Header::Ip));
                } else if header == Header::Icmpv6 {
                    all.extend(self.network_requirement(Header::Ip6));
                }
                if let Some(number) = protocol::number_of(header) {
                    all.push(Requirement::L4Proto(number as u8));
                }
                if let Some(types) = icmp_types(field) {
                    all.push(Requirement::IcmpType(types));
                }
            }
        }
        all
    }

    fn network_requirement(&self, header: Header) -> Option<Requirement> {
        let number = protocol::number_of(header)?;
        match self.cx.family {
            Family::Ip | Family::Ip6 | Family::Arp => None,
            Family::Inet => match header {
                Header::Ip => Some(Requirement::NfProto(2)),
                Header::Ip6 => Some(Requirement::NfProto(10)),
                _ => None,
            },
            Family::Bridge | Family::Netdev => Some(match self.proto.at(PayloadBase::Link) {
                Some(Proto::Known(Header::Vlan)) => Requirement::VlanType(number),
                _ => Requirement::EtherType(number),
            }),
        }
    }

    /// The same for what options and extension headers need: nft puts that in front of the whole
    /// rule, so that nothing of it is done for a packet that cannot have them.
    fn require_first(&mut self, header: Header, span: Span) -> Checked<()> {
        let before = self.out.len();
        self.require(header, span)?;
        let put = self.out.split_off(before);
        self.out.splice(0..0, put);
        Ok(())
    }

    /// Makes sure that a header is there: nothing to do, a dependency, or a contradiction.
    fn require(&mut self, header: Header, span: Span) -> Checked<()> {
        let base = protocol::base_of(header);
        let wanted = Proto::Known(header);
        let Some(now) = self.proto.at(base) else {
            self.generate(header, span)?;
            return if self.proto.at(base) == Some(wanted) {
                Ok(())
            } else {
                self.resolve(header, span)
            };
        };
        if let Some(other) = self.proto.ambiguous(base, header) {
            return conflict(span, other, header);
        }
        if now == wanted {
            return Ok(());
        }
        self.resolve(header, span)
    }

    /// Something else is known at the layer: a header below it may still carry this one.
    fn resolve(&mut self, header: Header, span: Span) -> Checked<()> {
        let base = protocol::base_of(header);
        let wanted = Proto::Known(header);
        if base == PayloadBase::Link {
            if self.proto.is_dummy(base) {
                self.dependency(meta_expr(MetaKey::Iiftype), 1);
            } else if self.proto.is_stacked(header) {
                return Ok(());
            }
            if self.proto.at(base) == Some(wanted) {
                return Ok(());
            }
            if header == Header::Vlan
                && !self.proto.above_known(base)
                && matches!(self.proto.at(base), Some(Proto::Known(Header::Ether)))
            {
                let left = self.field_expr(HeaderField::EtherType);
                self.dependency(left, 0x8100);
                return Ok(());
            }
        }
        let now = self.proto.at(base).unwrap_or(Proto::Unknown);
        conflict(span, now, header)
    }

    /// Puts the match for a header's protocol in front, nothing being known at its layer.
    fn generate(&mut self, header: Header, span: Span) -> Checked<()> {
        match protocol::base_of(header) {
            PayloadBase::Link => {
                // The families that start at the network header have Ethernet by the device's type.
                self.dependency(meta_expr(MetaKey::Iiftype), 1);
                Ok(())
            }
            PayloadBase::Network => self.generate_network(header, span, false),
            PayloadBase::Transport => self.generate_transport(header, span),
            PayloadBase::Inner => fail(
                span,
                format!(
                    "{} is not supported by this version of the language",
                    header.keyword()
                ),
            ),
        }
    }

    fn generate_network(&mut self, header: Header, span: Span, for_icmp: bool) -> Checked<()> {
        let Some(number) = protocol::number_of(header) else {
            return fail(span, "no such protocol");
        };
        let link = self.proto.at(PayloadBase::Link);
        match link {
            Some(Proto::Inet) => match header {
                Header::Ip => self.dependency(meta_expr(MetaKey::Nfproto), 2),
                Header::Ip6 => self.dependency(meta_expr(MetaKey::Nfproto), 10),
                _ => return conflict(span, Proto::Inet, header),
            },
            Some(Proto::Netdev) => {
                self.dependency(meta_expr(MetaKey::Protocol), u128::from(number));
            }
            Some(Proto::Known(Header::Vlan)) => {
                let left = self.field_expr(HeaderField::VlanType);
                self.dependency(left, u128::from(number));
            }
            Some(Proto::Known(Header::Ether)) => {
                let ip = matches!(header, Header::Ip | Header::Ip6);
                if self.cx.family == Family::Bridge && ip && !for_icmp {
                    self.dependency(meta_expr(MetaKey::Protocol), u128::from(number));
                } else {
                    let left = self.field_expr(HeaderField::EtherType);
                    self.dependency(left, u128::from(number));
                }
            }
            Some(other) => return conflict(span, other, header),
            None => {
                return fail(
                    span,
                    "ambiguous payload specification: no link layer protocol specified",
                );
            }
        }
        Ok(())
    }

    fn generate_transport(&mut self, header: Header, span: Span) -> Checked<()> {
        let network = match header {
            Header::Icmp | Header::Igmp => Some(Header::Ip),
            Header::Icmpv6 => Some(Header::Ip6),
            _ => None,
        };
        if let Some(network) = network
            && self.proto.at(PayloadBase::Network).is_none()
        {
            self.generate_network(network, span, true)?;
        }
        let Some(number) = protocol::number_of(header) else {
            return fail(span, "no such protocol");
        };
        self.dependency(meta_expr(MetaKey::L4proto), u128::from(number));
        Ok(())
    }

    fn require_icmp_type(
        &mut self,
        field: HeaderField,
        types: &'static [u8],
        span: Span,
    ) -> Checked<()> {
        let known = self.proto.icmp_type;
        if known != 0 {
            if types.contains(&known) {
                return Ok(());
            }
            return fail(
                span,
                format!(
                    "incompatible icmp match: rule has {known}, need {}",
                    types[0]
                ),
            );
        }
        let of = if field.header() == Header::Icmp {
            HeaderField::IcmpType
        } else {
            HeaderField::Icmpv6Type
        };
        let left = self.field_expr(of);
        if let [one] = types {
            self.dependency(left, u128::from(*one));
            return Ok(());
        }
        let right = echo_set(&left, types);
        self.proto.icmp_type = types[0];
        self.out.push(Stmt::Match(Match {
            left,
            op: RelOp::Eq,
            right,
            implicit: true,
        }));
        Ok(())
    }

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

    /// `ct ...`.
    pub(crate) fn ct(&mut self, ct: Ct, span: Span) -> Checked<Expr> {
        let needs = selector::ct_needs_direction(ct.key);
        match (needs, ct.dir) {
            (Some(true), None) => {
                return fail(
                    span,
                    format!(
                        "ct {} needs a direction: original or reply",
                        ct.key.keyword()
                    ),
                );
            }
            (Some(false), Some(_)) => {
                return fail(span, format!("ct {} has no direction", ct.key.keyword()));
            }
            _ => {}
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
        (Ok(m), Ok(o)) if m > 0 && m.checked_add(o).is_some() => Ok((m, o)),
        _ => fail(
            span,
            "modulus must be at least 1 and the result fit into 32 bits",
        ),
    }
}

fn conflict<T>(span: Span, now: Proto, header: Header) -> Checked<T> {
    fail(
        span,
        format!(
            "conflicting protocols specified: {} vs. {}",
            now.name(),
            header.keyword()
        ),
    )
}

/// `{ echo-reply, echo-request }`, in the order of a listing.
fn echo_set(like: &Expr, types: &[u8]) -> Expr {
    let mut types = types.to_vec();
    types.sort_unstable();
    let key = |v: u8| {
        expr(
            like.ty,
            like.bits,
            like.order,
            ExprKind::Value(u128::from(v)),
        )
    };
    let set = SetExpr {
        key: SetType {
            parts: vec![KeyPart {
                ty: like.ty,
                bits: like.bits,
                order: like.order,
            }],
            type_of: None,
        },
        data: None,
        interval: false,
        elements: types.into_iter().map(|t| Element::plain(key(t))).collect(),
    };
    expr(like.ty, like.bits, like.order, ExprKind::Set(Box::new(set)))
}
