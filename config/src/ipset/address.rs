//! Addresses, networks and ranges of an element.
//!
//! Host names are looked up by [`Names`]: nobody is asked here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::kind::{Family, Form};
use super::number::number;
use super::refusal::Refusal;

/// Finds the address of a host name; the client's affair.
pub trait Names {
    /// The first address of this family.
    fn host(&self, name: &str, family: Family) -> Option<IpAddr>;

    /// Whether it was asked for a name that it did not know: then who asked may look it up and try
    /// again, and nothing is lost.
    fn missed(&self) -> bool {
        false
    }
}

/// Knows no names.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNames;

impl Names for NoNames {
    fn host(&self, _name: &str, _family: Family) -> Option<IpAddr> {
        None
    }
}

/// What stands for addresses in an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The address, or the first one.
    pub from: u128,
    /// The last one, where a range was written.
    pub to: Option<u128>,
    /// The prefix length, where one was written.
    pub cidr: Option<u8>,
}

impl Addresses {
    /// One address.
    pub fn one(from: u128) -> Self {
        Self {
            from,
            to: None,
            cidr: None,
        }
    }

    /// First and last address, of a range written either way round.
    pub fn bounds(&self, bits: u8) -> (u128, u128) {
        match (self.to, self.cidr) {
            (Some(to), _) => (self.from.min(to), self.from.max(to)),
            (None, Some(cidr)) => network(self.from, cidr, bits),
            (None, None) => (self.from, self.from),
        }
    }
}

/// The bits of an address behind its prefix.
pub fn host_mask(cidr: u8, bits: u8) -> u128 {
    let free = u32::from(bits.saturating_sub(cidr));
    1u128.checked_shl(free).map_or(u128::MAX, |one| one - 1)
}

/// First and last address of a network.
pub fn network(address: u128, cidr: u8, bits: u8) -> (u128, u128) {
    let host = host_mask(cidr, bits);
    (address & !host, address | host)
}

/// An address of a family as a number.
pub fn as_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// An address as text.
pub fn text(address: u128, family: Family) -> String {
    if family == Family::Inet6 {
        Ipv6Addr::from(address).to_string()
    } else {
        Ipv4Addr::from(address as u32).to_string()
    }
}

/// The smallest set of networks that covers a range, in order.
pub fn networks(mut from: u128, to: u128, bits: u8, mut each: impl FnMut(u128, u8) -> bool) {
    loop {
        let aligned = from.trailing_zeros().min(u32::from(bits)) as u8;
        let mut free = if from == 0 { bits } else { aligned };
        // The whole space is no network here: its halves are.
        while network(from, bits - free, bits).1 > to {
            free -= 1;
        }
        if !each(from, bits - free) {
            return;
        }
        let last = network(from, bits - free, bits).1;
        if last >= to {
            return;
        }
        from = last + 1;
    }
}

/// The text up to a separator, with `[` and `]` around names that have it, and what follows.
///
/// # Errors
/// When a `[` is not closed.
pub fn split(word: &str, separator: char) -> Result<(&str, Option<&str>), Refusal> {
    let unclosed = || {
        Refusal::syntax(format_args!(
            "cannot find closing escape character ']' in {word}"
        ))
    };
    let from = match word.strip_prefix('[') {
        Some(rest) => rest.find(']').ok_or_else(unclosed)? + 2,
        None => 0,
    };
    Ok(match word[from..].find(separator) {
        Some(at) => (&word[..from + at], Some(&word[from + at + 1..])),
        None => (word, None),
    })
}

/// A name without the brackets around it.
pub fn bare(word: &str) -> &str {
    word.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(word)
}

/// One address or the name of a host.
///
/// # Errors
/// When nobody knows it.
pub fn address(word: &str, family: Family, names: &dyn Names) -> Result<u128, Refusal> {
    let bare = bare(word);
    let unknown = || {
        let version = if family == Family::Inet6 {
            "IPv6"
        } else {
            "IPv4"
        };
        Refusal::syntax(format_args!(
            "cannot parse {bare}: resolving to {version} address failed"
        ))
    };
    let found = if family == Family::Inet6 {
        bare.parse().ok().map(IpAddr::V6)
    } else {
        dotted(bare).map(|number| IpAddr::V4(number.into()))
    };
    let looks_like_a_name = bare.contains(|c: char| c.is_ascii_alphabetic());
    let right = |address: &IpAddr| address.is_ipv6() == (family == Family::Inet6);
    found
        .or_else(|| names.host(bare, family).filter(|_| looks_like_a_name))
        .filter(right)
        .map(as_number)
        .ok_or_else(unknown)
}

/// An IPv4 address of one to four numbers, the last of which fills what is left; a leading zero makes
/// a number octal, as the C library has it.
fn dotted(word: &str) -> Option<u32> {
    if !word.starts_with(|c: char| c.is_ascii_digit())
        || !word.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        return None;
    }
    let parts: Vec<&str> = word.split('.').collect();
    let (last, front) = parts.split_last()?;
    if front.len() > 3 {
        return None;
    }
    let number = |part: &str, most: u64| {
        let octal = part.len() > 1 && part.starts_with('0');
        let radix = if octal { 8 } else { 10 };
        u64::from_str_radix(part, radix)
            .ok()
            .filter(|number| *number <= most)
    };
    let mut address = 0;
    for part in front {
        address = address << 8 | number(part, 255)?;
    }
    let rest = 8 * (4 - front.len() as u32);
    Some((address << rest | number(last, (1 << rest) - 1)?) as u32)
}

/// What a part of an element says in one of the forms.
///
/// # Errors
/// With the original's words.
pub fn addresses(
    word: &str,
    form: Form,
    family: Family,
    names: &dyn Names,
) -> Result<Addresses, Refusal> {
    let plain = || Refusal::syntax(format_args!("plain IP address must be supplied: {word}"));
    let bits = family.bits();
    if let (network, Some(length)) = split(word, '/')?
        && !length.is_empty()
    {
        let single = form == Form::Single || (form == Form::Hosts && family == Family::Inet6);
        // The original compares the text: "/032" is not taken either.
        if single && length != bits.to_string() {
            return Err(plain());
        }
        let cidr = number(length, 0, u64::from(bits))? as u8;
        return Ok(Addresses {
            from: address(network, family, names)?,
            to: None,
            cidr: Some(cidr),
        });
    }
    if let (first, Some(last)) = split(word, '-')?
        && !first.is_empty()
        && !last.is_empty()
    {
        match (form, family) {
            (Form::Single, _) | (Form::Hosts, Family::Inet6) => return Err(plain()),
            (Form::Net, Family::Inet6) => {
                return Err(Refusal::syntax(format_args!(
                    "IP address or IP/cidr must be specified: {word}"
                )));
            }
            _ => {}
        }
        return Ok(Addresses {
            from: address(first, family, names)?,
            to: Some(address(last, family, names)?),
            cidr: None,
        });
    }
    address(word, family, names).map(Addresses::one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(word: &str) -> Result<Addresses, Refusal> {
        addresses(word, Form::Hosts, Family::Inet, &NoNames)
    }

    #[test]
    fn addresses_are_read_as_the_c_library_reads_them() {
        for (word, number) in [
            ("1.2.3.4", 0x0102_0304),
            ("1.2.3", 0x0102_0003),
            ("1.2", 0x0100_0002),
            ("16909060", 0x0102_0304),
            ("01.02.03.010", 0x0102_0308),
            ("[1.2.3.9]", 0x0102_0309),
        ] {
            assert_eq!(v4(word), Ok(Addresses::one(number)), "{word}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_in_the_originals_words() {
        let unknown = |word: &str| {
            Err(Refusal::Failed(format!(
                "Syntax error: cannot parse {word}: resolving to IPv4 address failed"
            )))
        };
        for word in [
            "0x01020304",
            "1.2.3.4/",
            "1.2.3.4-",
            "-1.2.3.4",
            "",
            "1.2.3.256",
            "fe80::1",
        ] {
            assert_eq!(v4(word), unknown(word));
        }
        assert_eq!(v4("1.2.3.4-1.2.3.10-5"), unknown("1.2.3.10-5"));
        let invalid = Refusal::Failed("Syntax error: 'x' is invalid as number".to_owned());
        assert_eq!(v4("1.2.3.4/x"), Err(invalid));
        let open = "Syntax error: cannot find closing escape character ']' in [1.2.3.9";
        assert_eq!(v4("[1.2.3.9"), Err(Refusal::Failed(open.to_owned())));
    }

    #[test]
    fn ipv6_takes_single_addresses_or_networks_by_form() {
        let v6 = |word, form| addresses(word, form, Family::Inet6, &NoNames);
        let plain = "Syntax error: plain IP address must be supplied: 2001:db8::/126";
        assert_eq!(
            v6("2001:db8::/126", Form::Hosts),
            Err(Refusal::Failed(plain.to_owned()))
        );
        for word in ["::7/129", "::7/0128", "::7/x", "1.2.3.4/64"] {
            let plain = format!("Syntax error: plain IP address must be supplied: {word}");
            assert_eq!(v6(word, Form::Hosts), Err(Refusal::Failed(plain)));
        }
        assert_eq!(v6("::7/128", Form::Hosts).map(|all| all.from), Ok(7));
        assert_eq!(v6("::/0", Form::Net).map(|all| all.cidr), Ok(Some(0)));
        let range = "Syntax error: IP address or IP/cidr must be specified: ::1-::2";
        assert_eq!(
            v6("::1-::2", Form::Net),
            Err(Refusal::Failed(range.to_owned()))
        );
    }

    #[test]
    fn a_range_becomes_the_fewest_networks() {
        let cut = |from, to| {
            let mut all = Vec::new();
            networks(from, to, 32, |net, cidr| {
                all.push((net, cidr));
                true
            });
            all
        };
        assert_eq!(cut(1, 10), [(1, 32), (2, 31), (4, 30), (8, 31), (10, 32)]);
        assert_eq!(cut(0, 0x7fff_ffff), [(0, 1)]);
        assert_eq!(cut(u128::from(u32::MAX), u128::from(u32::MAX)).len(), 1);
    }
}
