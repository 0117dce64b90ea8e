//! Addresses, prefixes and ranges.

use std::net::Ipv6Addr;

use super::{Entry, Fault, Wrong};

/// An address as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    V4(u32),
    V6(u128),
}

/// An address, `address/length`, or `first-last`.
pub(super) fn entry(token: &[u8]) -> Result<Entry, Wrong<'_>> {
    if let Some(at) = position(token, b'/') {
        return prefix(token, &token[..at], &token[at + 1..]);
    }
    if let Some(at) = position(token, b'-') {
        return range(
            token,
            token[..at].trim_ascii(),
            token[at + 1..].trim_ascii(),
        );
    }
    match address(token) {
        Some(Address::V4(one)) => Ok(Entry::V4(one, one)),
        Some(Address::V6(one)) => Ok(Entry::V6(one, one)),
        None => Err(Wrong::new(token, Fault::Entry)),
    }
}

/// From one address to another.
pub(super) fn range<'t>(token: &'t [u8], first: &[u8], last: &[u8]) -> Result<Entry, Wrong<'t>> {
    let wrong = |fault| Err(Wrong::new(token, fault));
    match (address(first), address(last)) {
        (Some(Address::V4(first)), Some(Address::V4(last))) if first <= last => {
            Ok(Entry::V4(first, last))
        }
        (Some(Address::V6(first)), Some(Address::V6(last))) if first <= last => {
            Ok(Entry::V6(first, last))
        }
        (Some(Address::V4(_)), Some(Address::V4(_)))
        | (Some(Address::V6(_)), Some(Address::V6(_))) => wrong(Fault::Backwards),
        (Some(_), Some(_)) => wrong(Fault::Families),
        _ => wrong(Fault::Entry),
    }
}

fn prefix<'t>(token: &'t [u8], start: &[u8], length: &[u8]) -> Result<Entry, Wrong<'t>> {
    let wrong = |fault| Err(Wrong::new(token, fault));
    let Some(start) = address(start) else {
        return wrong(Fault::Entry);
    };
    let Some(length) = number(length) else {
        return wrong(Fault::Entry);
    };
    match start {
        Address::V4(_) if length > 32 => wrong(Fault::Length { most: 32 }),
        Address::V6(_) if length > 128 => wrong(Fault::Length { most: 128 }),
        Address::V4(start) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            Ok(Entry::V4(start & !host, start | host))
        }
        Address::V6(start) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            Ok(Entry::V6(start & !host, start | host))
        }
    }
}

/// An address. IPv4 is four numbers without leading zeros, which some take for octal.
pub(super) fn address(token: &[u8]) -> Option<Address> {
    if position(token, b':').is_some() {
        let address: Ipv6Addr = std::str::from_utf8(token).ok()?.parse().ok()?;
        return Some(Address::V6(address.into()));
    }
    let mut value = 0u32;
    let mut parts = 0;
    for part in token.split(|&byte| byte == b'.') {
        if part.len() > 1 && part[0] == b'0' {
            return None;
        }
        let part = number(part).filter(|&part| part < 256)?;
        value = value << 8 | part;
        parts += 1;
    }
    (parts == 4).then_some(Address::V4(value))
}

/// A number of up to three digits.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 3 {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| number * 10 + u32::from(digit))
    })
}

fn position(token: &[u8], wanted: u8) -> Option<usize> {
    token.iter().position(|&byte| byte == wanted)
}
