//! Fields and the protocols that they need.
//!
//! A field can be read only where its header is known to be. What the rule does not say itself is put
//! in front of the statement as an implicit match; what contradicts it is refused.

use super::super::expr::{
    Element, Expr, ExprKind, HeaderField, KeyPart, MetaKey, Payload, PayloadBase, Requirement,
    SetExpr, SetType,
};
use super::super::protocol;
use super::super::stmt::{Match, RelOp, Stmt};
use super::context::{Context, Proto};
use super::load::{expr, meta_expr};
use super::{Checked, Checker, fail};
use crate::syntax::Span;
use crate::syntax::ast::{Family, Header};

/// First bit of the VLAN tag behind the addresses and the tag's EtherType.
const VLAN_OFFSET: u16 = 112;

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
        let known = |c: &Context| {
            [PayloadBase::Network, PayloadBase::Transport].map(|base| c.at(base).is_some())
        };
        let before = known(&self.proto);
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
        for (i, now) in known(&self.proto).into_iter().enumerate() {
            if now && !before[i] {
                self.learned_at[i] = Some(self.here);
            }
        }
    }

    /// A header's field, its dependencies put in front of the statement.
    pub(crate) fn field(&mut self, field: HeaderField, span: Span) -> Checked<Expr> {
        let header = field.header();
        self.here = span;
        if header != Header::Th {
            self.require(header, span)?;
            if let Some(types) = icmp_types(field) {
                self.require_icmp_type(field, types, span)?;
            }
        }
        Ok(self.field_expr(field))
    }

    pub(super) fn field_expr(&self, field: HeaderField) -> Expr {
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

    pub(super) fn network_requirement(&self, header: Header) -> Option<Requirement> {
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
    pub(super) fn require_first(&mut self, header: Header, span: Span) -> Checked<()> {
        let before = self.out.len();
        self.here = span;
        if let Some(now) = self.proto.at(PayloadBase::Network)
            && now != Proto::Known(header)
        {
            return fail(span, format!("cannot use exthdr with {}", now.name()));
        }
        if self.proto.at(PayloadBase::Network).is_none() {
            self.generate_network(header, span, true)?;
        }
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

    /// `by_link`: in bridge chains by the EtherType that the link header has (a tag's, behind a tag)
    /// and not by the packet's protocol, as nft does for what is not a field of the header itself.
    fn generate_network(&mut self, header: Header, span: Span, by_link: bool) -> Checked<()> {
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
                if self.cx.family == Family::Bridge && ip && !by_link {
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
        match self.proto.at(PayloadBase::Network) {
            None | Some(Proto::Known(Header::Ip | Header::Ip6)) => {}
            Some(other) => return conflict(span, other, header),
        }
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
}

pub(super) fn conflict<T>(span: Span, now: Proto, header: Header) -> Checked<T> {
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
