//! Writes to the packet: header fields, options, and what keeps checksums right.

use sluice_dataplane::program::{Checksum, Exthdr, Op};

use super::error::Cause;
use super::key::{base, exthdr_kind};
use super::lower::Lowering;
use crate::model::expr::{Expr, ExprKind, ExthdrName, HeaderField, Payload};
use crate::syntax::ast::Header;

impl Lowering<'_, '_> {
    /// `FIELD set VALUE`; a raw write keeps no checksum right.
    pub(super) fn mangle(&mut self, target: &Expr, value: &Expr, raw: bool) -> Result<(), Cause> {
        match &target.kind {
            ExprKind::Payload(payload) => {
                let from = self.operand(value)?;
                let from = self.widened(from, payload.bits)?;
                let (checksum, pseudo_header) = if raw {
                    (Checksum::None, false)
                } else {
                    checksum_of(payload)
                };
                self.emit(Op::PayloadWrite {
                    base: base(payload.base),
                    bit_offset: payload.offset,
                    bits: payload.bits,
                    from,
                    checksum,
                    pseudo_header,
                });
                Ok(())
            }
            ExprKind::Exthdr(exthdr) => {
                let (kind, _) = exthdr_kind(exthdr);
                if kind != Exthdr::Tcp {
                    return Err(Cause::unsupported("a write to this kind of header"));
                }
                if exthdr.offset % 8 != 0 || !matches!(exthdr.bits, 8 | 16 | 32) {
                    return Err(Cause::unsupported("a write to bits of an option"));
                }
                let from = self.operand(value)?;
                let from = self.widened(from, 32)?;
                self.emit(Op::ExthdrWrite {
                    kind,
                    number: exthdr.kind,
                    offset: (exthdr.offset / 8) as u8,
                    len: (exthdr.bits / 8) as u8,
                    from,
                });
                Ok(())
            }
            _ => Err(Cause::unsupported("a write to this")),
        }
    }

    /// `reset tcp option NAME`.
    pub(super) fn option_reset(&mut self, option: &Expr) -> Result<(), Cause> {
        match &option.kind {
            ExprKind::Exthdr(exthdr) if matches!(exthdr.name, ExthdrName::Tcp(_)) => {
                self.emit(Op::ResetTcpOption {
                    number: exthdr.kind,
                });
                Ok(())
            }
            _ => Err(Cause::unsupported("reset of anything but a TCP option")),
        }
    }
}

/// The checksum that a write to a field must keep right, and whether the field is part of the
/// transport's pseudo-header; as nft tells the kernel.
fn checksum_of(payload: &Payload) -> (Checksum, bool) {
    let Some(field) = payload.field else {
        return (Checksum::None, false);
    };
    let checksum = match field.header() {
        Header::Ip => Checksum::Internet { offset: 10 },
        Header::Tcp => Checksum::Internet { offset: 16 },
        Header::Udp => Checksum::Internet { offset: 6 },
        Header::Icmp | Header::Icmpv6 | Header::Igmp => Checksum::Internet { offset: 2 },
        Header::Sctp => Checksum::Sctp { offset: 8 },
        _ => Checksum::None,
    };
    use HeaderField as F;
    let pseudo_header = matches!(
        field,
        F::IpSaddr
            | F::IpDaddr
            | F::IpProtocol
            | F::IpLength
            | F::Ip6Saddr
            | F::Ip6Daddr
            | F::Ip6Nexthdr
            | F::Ip6Length
    );
    (checksum, pseudo_header)
}
