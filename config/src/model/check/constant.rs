//! Words to numbers: what a symbol, a quoted string or a number means in a type.
//!
//! The message of a failure is nft's; the caller knows the place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::datatype::{Base, TypeId};
use super::super::services;
use super::super::symbols;
use super::super::time;

/// What a text is in a type, or nft's complaint.
pub(crate) fn parse(ty: TypeId, text: &str) -> Result<u128, String> {
    match ty {
        TypeId::Ipv4Addr => ipv4(text),
        TypeId::Ipv6Addr => ipv6(text),
        TypeId::EtherAddr | TypeId::LlAddr => ether(text),
        TypeId::InetProto => inet_proto(text),
        TypeId::InetService => inet_service(text),
        TypeId::Time => time::parse_duration_ms(text)
            .map(u128::from)
            .ok_or_else(|| could_not_parse(ty)),
        TypeId::MetaTime => time::parse_date_ns(text)
            .map(u128::from)
            .ok_or_else(|| "Cannot parse date".to_owned()),
        TypeId::Hour => time::parse_hour_s(text)
            .map(u128::from)
            .ok_or_else(|| "wrong time format".to_owned()),
        TypeId::ClassId => class_id(text).ok_or_else(|| could_not_parse(ty)),
        TypeId::Uid => user(text, "/etc/passwd").ok_or_else(|| "User does not exist".to_owned()),
        TypeId::Gid => user(text, "/etc/group").ok_or_else(|| "Group does not exist".to_owned()),
        TypeId::CtLabel => label(text),
        TypeId::CgroupV2 => {
            Err("cgroupv2 is not supported: there are no control groups here".to_owned())
        }
        TypeId::Boolean => boolean(text).ok_or_else(|| could_not_parse(ty)),
        _ => symbolic(ty, text),
    }
}

fn could_not_parse(ty: TypeId) -> String {
    format!("Could not parse {}", ty.info().description)
}

/// A number as the scanner takes it: decimal, `0x` hexadecimal, leading `0` octal.
pub(crate) fn number(text: &str) -> Option<u128> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u128::from_str_radix(hex, 16).ok();
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn symbolic(ty: TypeId, text: &str) -> Result<u128, String> {
    let info = ty.info();
    if info.base == Base::Verdict {
        return Err(could_not_parse(ty));
    }
    if let Some(value) = symbols::value_of(info.symbols, text) {
        return Ok(u128::from(value));
    }
    if ty == TypeId::Day
        && let Some((_, value)) = info.symbols.iter().find(|(name, _)| {
            name.eq_ignore_ascii_case(text)
                || (text.len() == 3 && name[..3].eq_ignore_ascii_case(text))
        })
    {
        return Ok(u128::from(*value));
    }
    number(text).ok_or_else(|| could_not_parse(ty))
}

fn ipv4(text: &str) -> Result<u128, String> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Ok(u128::from(address.to_bits()));
    }
    // Numbers are addresses too, as the system's resolver takes them: `ip saddr 5` is 0.0.0.5.
    numeric(text).ok_or_else(|| host_error(text))
}

/// An IPv4 address of one to four numbers, each decimal, octal behind a zero or hexadecimal; the last one
/// fills what the others leave (inet_aton(3)).
fn numeric(text: &str) -> Option<u128> {
    let parts: Vec<&str> = text.split('.').collect();
    let (last, bytes) = parts.split_last()?;
    let mut address = 0;
    for byte in bytes {
        address = address << 8 | c_number(byte).filter(|byte| *byte < 256)?;
    }
    let rest = 8 * 4_u32.checked_sub(bytes.len() as u32)?;
    let last = c_number(last).filter(|last| *last < 1 << rest)?;
    Some(address << rest | last)
}

/// A number as C writes it.
fn c_number(text: &str) -> Option<u128> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = match (hex, text.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (text, 10),
    };
    let all = digits.chars().all(|digit| digit.is_digit(radix));
    u128::from_str_radix(digits, radix).ok().filter(|_| all)
}

fn ipv6(text: &str) -> Result<u128, String> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Ok(address.to_bits());
    }
    Err(host_error(text))
}

/// Names are not asked of a resolver: a ruleset must not depend on one. nft's own words are those
/// of a system that cannot resolve.
fn host_error(text: &str) -> String {
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let other_family = text.parse::<IpAddr>().is_ok() || self::numeric(text).is_some();
    let reason = if other_family {
        "Address family for hostname not supported"
    } else if numeric {
        "Name or service not known"
    } else {
        "Temporary failure in name resolution"
    };
    format!("Could not resolve hostname: {reason}")
}

fn ether(text: &str) -> Result<u128, String> {
    let bad = || "Invalid LL address".to_owned();
    let mut value = 0u128;
    let mut count = 0;
    for part in text.split(':') {
        if part.is_empty() || part.len() > 2 {
            return Err(bad());
        }
        let byte = u8::from_str_radix(part, 16).map_err(|_| bad())?;
        value = value << 8 | u128::from(byte);
        count += 1;
    }
    if count == 6 { Ok(value) } else { Err(bad()) }
}

fn inet_proto(text: &str) -> Result<u128, String> {
    if let Some(value) = number(text) {
        return if value > 255 {
            Err("Protocol out of range".to_owned())
        } else {
            Ok(value)
        };
    }
    services::protocol_number(text)
        .map(u128::from)
        .ok_or_else(|| "Could not resolve protocol name".to_owned())
}

fn inet_service(text: &str) -> Result<u128, String> {
    if let Some(value) = number(text) {
        return if value > 65535 {
            Err("Service out of range".to_owned())
        } else {
            Ok(value)
        };
    }
    services::port_number(text).map(u128::from).ok_or_else(|| {
        "Could not resolve service: Servname not supported for ai_socktype".to_owned()
    })
}

fn class_id(text: &str) -> Option<u128> {
    match text {
        "root" => return Some(0xffff_ffff),
        "none" => return Some(0),
        _ => {}
    }
    let part = |s: &str| -> Option<u128> {
        if s.is_empty() {
            return Some(0);
        }
        u16::from_str_radix(s, 16).ok().map(u128::from)
    };
    match text.split_once(':') {
        Some((major, minor)) => Some(part(major)? << 16 | part(minor)?),
        None => number(text).filter(|v| *v <= u128::from(u32::MAX)),
    }
}

fn user(text: &str, file: &str) -> Option<u128> {
    if let Some(value) = number(text) {
        return Some(value);
    }
    let all = std::fs::read_to_string(file).ok()?;
    all.lines()
        .map(|line| line.split(':'))
        .find_map(|mut f| (f.next() == Some(text)).then(|| f.nth(1).map(str::to_owned)))
        .flatten()
        .and_then(|id| id.parse().ok())
}

/// Labels are bits; a system without `/etc/connlabel.conf` has only numbers.
fn label(text: &str) -> Result<u128, String> {
    match number(text) {
        Some(bit) if bit < 128 => Ok(1u128 << bit),
        Some(bit) => Err(format!("{text}: bit {bit} out of range (128 max)")),
        None => services::label_bit(text)
            .map(|bit| 1u128 << bit)
            .ok_or_else(|| {
                format!("/etc/connlabel.conf: could not parse conntrack label \"{text}\"")
            }),
    }
}

fn boolean(text: &str) -> Option<u128> {
    match text {
        "exists" => Some(1),
        "missing" => Some(0),
        _ => number(text),
    }
}

/// Text as a number of `bits` bits, first byte most significant; None if it does not fit.
pub(crate) fn string_value(text: &str, bits: u16) -> Option<u128> {
    let size = usize::from(bits / 8);
    if text.len() > size || size > 16 {
        return None;
    }
    let mut bytes = [0u8; 16];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Some(u128::from_be_bytes(bytes) >> (128 - 8 * size))
}
