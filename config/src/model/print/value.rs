//! Constants as text.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::datatype::{Radix, TypeId};
use super::super::rule::{LOOPBACK, PrintOptions};
use super::super::{services, symbols, time};

/// A constant of a type as a listing shows it.
pub fn print_value(ty: TypeId, bits: u16, value: u128, options: &PrintOptions<'_>) -> String {
    let mut out = String::new();
    write_value(&mut out, ty, bits, value, options);
    out
}

pub(super) fn write_value(
    out: &mut String,
    ty: TypeId,
    bits: u16,
    value: u128,
    options: &PrintOptions<'_>,
) {
    let low32 = value as u32;
    let _ = match ty {
        TypeId::Ipv4Addr => write!(out, "{}", Ipv4Addr::from_bits(low32)),
        // Addresses that only have an IPv4 part show it as such.
        TypeId::Ipv6Addr if value >> 32 == 0 && value > 0xffff => {
            write!(out, "::{}", Ipv4Addr::from_bits(low32))
        }
        TypeId::Ipv6Addr => write!(out, "{}", Ipv6Addr::from_bits(value)),
        TypeId::EtherAddr | TypeId::LlAddr => {
            ether(out, value, bits);
            Ok(())
        }
        TypeId::InetProto => match symbols::name_of(symbols::INET_PROTO, value) {
            Some(name) if !options.numeric_protocol => write!(out, "{name}"),
            _ => write!(out, "{value}"),
        },
        TypeId::InetService => match services::port_name(value as u16) {
            Some(name) if options.service => write!(out, "\"{name}\""),
            _ => write!(out, "{value}"),
        },
        TypeId::Time if options.numeric_time => write!(out, "{}s", value / 1000),
        TypeId::Time => {
            out.push_str(&time::print_duration_ms(value as u64));
            Ok(())
        }
        TypeId::MetaTime => write!(out, "\"{}\"", time::print_date_ns(value as u64)),
        TypeId::Hour => write!(out, "\"{}\"", time::print_hour_s(low32)),
        TypeId::ClassId => {
            class_id(out, low32);
            Ok(())
        }
        TypeId::IfIndex => match options.ports.and_then(|p| p.port_name(low32)) {
            Some(name) => write!(out, "\"{name}\""),
            None if low32 == LOOPBACK.1 => write!(out, "\"{}\"", LOOPBACK.0),
            None => write!(out, "{value}"),
        },
        TypeId::CtLabel => {
            label(out, value);
            Ok(())
        }
        TypeId::Uid | TypeId::Gid => match owner(ty, value).filter(|_| options.guid) {
            Some(name) => write!(out, "\"{name}\""),
            None => write!(out, "{value}"),
        },
        TypeId::CgroupV2 => write!(out, "{value}"),
        _ if ty.is_string() => {
            string(out, value, bits);
            Ok(())
        }
        _ => {
            symbolic(out, ty, bits, value, options);
            Ok(())
        }
    };
}

fn symbolic(out: &mut String, ty: TypeId, bits: u16, value: u128, options: &PrintOptions<'_>) {
    let info = ty.info();
    if !options.numeric_symbol
        && let Some(name) = symbols::name_of(info.symbols, value)
    {
        let quoted = matches!(ty, TypeId::Day | TypeId::Realm | TypeId::DevGroup);
        let quote = if quoted { "\"" } else { "" };
        let _ = write!(out, "{quote}{name}{quote}");
        return;
    }
    let _ = match info.radix {
        Radix::Hex => write!(out, "0x{value:x}"),
        Radix::HexPadded => {
            let digits = usize::from(bits.max(info.bits).div_ceil(8)) * 2;
            write!(out, "0x{value:0digits$x}")
        }
        _ => write!(out, "{value}"),
    };
}

fn ether(out: &mut String, value: u128, bits: u16) {
    let size = usize::from(bits.max(8) / 8).min(16);
    for (i, byte) in value.to_be_bytes()[16 - size..].iter().enumerate() {
        let colon = if i == 0 { "" } else { ":" };
        let _ = write!(out, "{colon}{byte:02x}");
    }
}

fn class_id(out: &mut String, value: u32) {
    let _ = match value {
        0 => write!(out, "none"),
        u32::MAX => write!(out, "root"),
        _ => write!(out, "{:x}:{:x}", value >> 16, value & 0xffff),
    };
}

fn label(out: &mut String, value: u128) {
    let mut first = true;
    for bit in 0..128u8 {
        if value >> bit & 1 == 1 {
            if !first {
                out.push(',');
            }
            first = false;
            let _ = match services::label_name(bit) {
                Some(name) => write!(out, "\"{name}\""),
                None => write!(out, "{bit}"),
            };
        }
    }
    if first {
        out.push('0');
    }
}

fn owner(ty: TypeId, value: u128) -> Option<String> {
    let file = if ty == TypeId::Uid {
        "/etc/passwd"
    } else {
        "/etc/group"
    };
    let id = value.to_string();
    std::fs::read_to_string(file)
        .ok()?
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == id).then(|| name.to_owned())
        })
}

/// A duration: `1h`, or `3600s` with numeric times.
pub(super) fn duration(ms: u64, options: &PrintOptions<'_>) -> String {
    if options.numeric_time {
        format!("{}s", ms / 1000)
    } else {
        time::print_duration_ms(ms)
    }
}

/// The bytes of a text value, zeroes behind cut off.
pub(super) fn text_of(value: u128, bits: u16) -> String {
    let size = usize::from(bits / 8).min(16);
    let bytes = &value.to_be_bytes()[16 - size..];
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(size);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn string(out: &mut String, value: u128, bits: u16) {
    let text = text_of(value, bits);
    // A star at the end would be read as a wildcard.
    let escaped = match text.strip_suffix('*') {
        Some(stem) => format!("{stem}\\*"),
        None => text,
    };
    let _ = write!(out, "\"{escaped}\"");
}
