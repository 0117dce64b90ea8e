//! Address translation statements.
//!
//! A program that has one says that it needs the engine, and is not published where that is not there.

use sluice_dataplane::program::nat::flags;
use sluice_dataplane::program::{NatKind, Op, Slot};

use super::error::Cause;
use super::lower::Lowering;
use super::statement::nfproto;
use super::value::bounds;
use crate::model::expr::{Expr, ExprKind};
use crate::model::stmt::{self, Nat, NatFamily, NatFilter};

/// First and last value, where given.
type Span = (Option<Slot>, Option<Slot>);

impl Lowering<'_, '_> {
    /// snat, dnat, masquerade, redirect.
    pub(super) fn nat(&mut self, nat: &Nat) -> Result<(), Cause> {
        let address_bits = match nat.family {
            Some(NatFamily::Ip6) => 128,
            _ => 32,
        };
        let (address, port) = match &nat.addr {
            Some(addr) if nat.port.is_none() && is_pair(addr, address_bits) => {
                self.address_and_port(addr, address_bits)?
            }
            addr => {
                let address = self.span(addr.as_ref())?;
                (address, self.span(nat.port.as_ref())?)
            }
        };
        self.emit(Op::Nat {
            kind: match nat.kind {
                stmt::NatKind::Snat => NatKind::Snat,
                stmt::NatKind::Dnat => NatKind::Dnat,
                stmt::NatKind::Masquerade => NatKind::Masquerade,
                stmt::NatKind::Redirect => NatKind::Redirect,
            },
            family: nat.family.map_or(0, nfproto),
            address_min: address.0,
            address_max: address.1,
            port_min: port.0,
            port_max: port.1,
            flags: flags_of(nat, address.0.is_some(), port.0.is_some()),
        });
        Ok(())
    }

    /// A value, or a range of constants.
    fn span(&mut self, expr: Option<&Expr>) -> Result<Span, Cause> {
        let Some(expr) = expr else {
            return Ok((None, None));
        };
        match &expr.kind {
            ExprKind::Prefix { .. } | ExprKind::Range { .. } => {
                let (low, high) = bounds(expr)?;
                let low = self.immediate(low, expr.bits)?;
                let high = self.immediate(high, expr.bits)?;
                Ok((Some(low), Some(high)))
            }
            ExprKind::Map { key, map } if self.maps_to_intervals(map) => {
                let (both, bits) = self.interval_value(key, map)?;
                let high = self.work(bits)?;
                self.emit(Op::Copy {
                    into: high,
                    from: both,
                });
                let shifted = self.work(self.bits(both))?;
                let by = if bits > 32 { 128 } else { 32 };
                self.emit(Op::Shift {
                    into: shifted,
                    from: both,
                    left: false,
                    bits: by,
                });
                let low = self.work(bits)?;
                self.emit(Op::Copy {
                    into: low,
                    from: shifted,
                });
                Ok((Some(low), Some(high)))
            }
            _ => {
                let slot = self.operand(expr)?;
                Ok((Some(slot), Some(slot)))
            }
        }
    }

    /// A map that yields address and port side by side, taken apart.
    fn address_and_port(&mut self, expr: &Expr, address_bits: u16) -> Result<(Span, Span), Cause> {
        let both = self.operand(expr)?;
        let port = self.work(16)?;
        self.emit(Op::Copy {
            into: port,
            from: both,
        });
        let shifted = self.work(self.bits(both))?;
        self.emit(Op::Shift {
            into: shifted,
            from: both,
            left: false,
            bits: 32,
        });
        let address = self.work(address_bits)?;
        self.emit(Op::Copy {
            into: address,
            from: shifted,
        });
        Ok(((Some(address), Some(address)), (Some(port), Some(port))))
    }
}

/// Whether an expression is wider than an address: a port stands behind it.
fn is_pair(expr: &Expr, address_bits: u16) -> bool {
    matches!(expr.kind, ExprKind::Map { .. }) && expr.bits > address_bits
}

fn flags_of(nat: &Nat, addresses: bool, ports: bool) -> u32 {
    let on = |condition: bool, bit: u32| if condition { bit } else { 0 };
    on(addresses, flags::MAP_IPS)
        | on(ports, flags::PROTO_SPECIFIED)
        | on(nat.random, flags::PROTO_RANDOM)
        | on(nat.fully_random, flags::PROTO_RANDOM_FULLY)
        | on(nat.persistent, flags::PERSISTENT)
        | on(nat.prefix, flags::NETMAP)
        | match nat.endpoint_independent {
            None => 0,
            Some(NatFilter::EndpointIndependent) => flags::ENDPOINT_INDEPENDENT,
            Some(NatFilter::Address) => flags::ENDPOINT_INDEPENDENT | flags::FILTER_ADDRESS,
            Some(NatFilter::AddressPort) => {
                flags::ENDPOINT_INDEPENDENT | flags::FILTER_ADDRESS_PORT
            }
        }
}
