//! An element as a command names it, and its options.

use super::address::{self, Addresses, Names, addresses};
use super::kind::{Family, Kind, Part, Ranges, Type};
use super::number::{class, mark_and_mask, number, u32};
use super::option::Opt;
use super::port::{self, Ports};
use super::refusal::Refusal;

/// Most characters of a set's or type's name.
pub const NAME: usize = 31;
/// Most characters of an interface's name.
const IFACE: usize = 15;
/// Most bytes of a comment.
const COMMENT: usize = 255;
/// The largest timeout in seconds.
pub const TIMEOUT: u64 = 2_147_483;

/// What is done with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `add`
    Add,
    /// `del`
    Del,
    /// `test`
    Test,
}

impl Verb {
    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Del => "del",
            Self::Test => "test",
        }
    }
}

/// Where in a list a set stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Before the other one, else behind it.
    pub before: bool,
    /// The other one.
    pub other: String,
}

/// The parts of an element; which there are follows from the type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The first address.
    pub ip: Option<Addresses>,
    /// The second address.
    pub ip2: Option<Addresses>,
    /// Port of a bitmap, and the last of a range.
    pub bare: Option<(u16, Option<u16>)>,
    /// Protocol and port.
    pub ports: Option<Ports>,
    /// Ethernet address.
    pub mac: Option<[u8; 6]>,
    /// Mark.
    pub mark: Option<u32>,
    /// Interface, and whether it is a port of a bridge.
    pub iface: Option<(String, bool)>,
    /// Set.
    pub name: Option<String>,
    /// Where in the list.
    pub place: Option<Place>,
    /// A complaint that did not end the command at once: the original forgets what it has read of the
    /// command, and goes on.
    pub spoiled: Option<String>,
}

impl Parts {
    /// A refusal behind what was complained about before.
    pub fn after(&self, refusal: Refusal) -> Refusal {
        match &self.spoiled {
            Some(before) => refusal.after(before),
            None => refusal,
        }
    }
}

/// The options of an element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Seconds; 0 stays.
    pub timeout: Option<u32>,
    /// It is an exception.
    pub nomatch: bool,
    /// The interface's name is a prefix.
    pub wildcard: bool,
    /// Counter.
    pub packets: Option<u64>,
    /// Counter.
    pub bytes: Option<u64>,
    /// Comment.
    pub comment: Option<String>,
    /// Mark and mask.
    pub skbmark: Option<(u32, u32)>,
    /// Class.
    pub skbprio: Option<u32>,
    /// Queue.
    pub skbqueue: Option<u16>,
}

/// An element with its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub parts: Parts,
    /// What it has.
    pub extras: Extras,
}

/// Reads the name of a set.
///
/// # Errors
/// When it is too long.
pub fn set_name(word: &str) -> Result<&str, Refusal> {
    if word.len() > NAME {
        return Err(Refusal::syntax(format_args!(
            "setname '{word}' is longer than {NAME} characters"
        )));
    }
    Ok(word)
}

fn mac(word: &str) -> Result<[u8; 6], Refusal> {
    let wrong = || Refusal::syntax(format_args!("cannot parse '{word}' as ethernet address"));
    if word.len() > "01:02:03:04:05:06".len() {
        return Err(wrong());
    }
    let mut mac = [0; 6];
    let mut parts = word.split(':');
    for byte in &mut mac {
        *byte = parts.next().and_then(octet).ok_or_else(wrong)?;
    }
    if parts.next().is_some() {
        return Err(wrong());
    }
    Ok(mac)
}

/// A hexadecimal number below 256, as `strtol` reads it; nothing at all is 0.
fn octet(part: &str) -> Option<u8> {
    if part.is_empty() {
        return Some(0);
    }
    let digits = part.trim_start_matches(|c: char| c.is_ascii_whitespace());
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    let digits = match digits.get(..2) {
        Some("0x" | "0X") => &digits[2..],
        _ => digits,
    };
    // A second sign is none.
    let plain = digits.starts_with(|c: char| c.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| plain)
}

fn iface(word: &str) -> Result<(String, bool), Refusal> {
    let (name, physical) = match word.strip_prefix("physdev:") {
        Some(name) => (name, true),
        None => (word, false),
    };
    if name.len() > IFACE {
        return Err(Refusal::syntax(format_args!(
            "interface name '{name}' is longer than {IFACE} characters"
        )));
    }
    Ok((name.to_owned(), physical))
}

/// `NAME` or `NAME,before|after,NAME`.
fn member(word: &str, parts: &mut Parts) -> Result<(), Refusal> {
    let syntax = || {
        Refusal::Failed("you must specify elements as setname,[before|after],setname".to_owned())
    };
    let Some((name, rest)) = word.split_once(',') else {
        parts.name = Some(set_name(word)?.to_owned());
        return Ok(());
    };
    let (side, other) = rest.split_once(',').ok_or_else(syntax)?;
    let before = match side {
        "before" => true,
        "after" => false,
        _ => return Err(syntax()),
    };
    parts.name = Some(set_name(name)?.to_owned());
    parts.place = Some(Place {
        before,
        other: set_name(other)?.to_owned(),
    });
    Ok(())
}

/// Cuts an element into its parts.
fn cut<'a>(word: &'a str, ty: &Type) -> Result<Vec<&'a str>, Refusal> {
    let count = ty.parts.len();
    let mut parts = Vec::with_capacity(count);
    let mut rest = word;
    loop {
        let (part, behind) = address::split(rest, ',')?;
        match behind.filter(|behind| !behind.is_empty()) {
            Some(behind) => {
                parts.push(part);
                rest = behind;
            }
            // A separator with nothing behind it belongs to the last part.
            None => {
                parts.push(rest);
                break;
            }
        }
    }
    let (given, name) = (parts.len(), ty.name);
    let missing = |which| Refusal::syntax(format_args!("{which} element is missing from {word}."));
    let error = match (given, count) {
        (given, count) if given > count => Some(match count {
            1 => Refusal::syntax(format_args!(
                "Elem separator in {word}, but settype {name} supports none."
            )),
            2 => Refusal::syntax(format_args!(
                "Two elem separators in {word}, but settype {name} supports one."
            )),
            _ => Refusal::syntax(format_args!(
                "Three elem separators in {word}, but settype {name} supports two."
            )),
        }),
        (1, 2 | 3) if !ty.last_optional => Some(missing("Second")),
        (2, 3) => Some(missing("Third")),
        _ => None,
    };
    error.map_or(Ok(parts), Err)
}

/// Reads an element of a type.
///
/// # Errors
/// With the original's words.
pub fn parts(word: &str, ty: &Type, family: Family, names: &dyn Names) -> Result<Parts, Refusal> {
    let mut parts = Parts::default();
    if ty.is_list() {
        member(word, &mut parts)?;
        return Ok(parts);
    }
    for (word, part) in cut(word, ty)?.into_iter().zip(ty.parts) {
        part_of(word, *part, family, names, &mut parts).map_err(|error| parts.after(error))?;
    }
    Ok(parts)
}

fn part_of(
    word: &str,
    part: Part,
    family: Family,
    names: &dyn Names,
    parts: &mut Parts,
) -> Result<(), Refusal> {
    // With the rest the original forgets the family.
    let family = match parts.spoiled {
        Some(_) => Family::Inet,
        None => family,
    };
    match part {
        Part::Ip(form) => {
            let read = addresses(word, form, family, names)?;
            let to = match parts.ip {
                Some(_) => &mut parts.ip2,
                None => &mut parts.ip,
            };
            *to = Some(read);
        }
        Part::BarePort => parts.bare = Some(port::bare_ports(word)?),
        Part::Port => match port::protocol_and_port(word, family)? {
            port::Read::Ports(ports) => parts.ports = Some(ports),
            port::Read::OtherFamily(complaint) => parts.spoiled = Some(complaint),
        },
        Part::Mac => parts.mac = Some(mac(word)?),
        Part::Mark => parts.mark = Some(u32(word)?),
        Part::Iface => parts.iface = Some(iface(word)?),
        Part::Name => {}
    }
    Ok(())
}

/// Whether a command takes the ranges of an element.
///
/// # Errors
/// With the original's words.
pub fn allowed(parts: &Parts, ty: &Type, family: Family, verb: Verb) -> Result<(), Refusal> {
    let Ranges { cidr, to, port_to } = match verb {
        Verb::Test => ty.tested,
        Verb::Add | Verb::Del => ty.changed,
    };
    let options = match verb {
        Verb::Add => ty.add,
        Verb::Del => ty.del,
        Verb::Test => ty.test,
    };
    if parts.spoiled.is_some() && options.is_empty() {
        // The original looks for what it has forgotten among the options.
        return Err(Refusal::Bare(
            "There are missing mandatory flags but can't check them. It's a bug, please report \
             the problem."
                .to_owned(),
        ));
    }
    let ip = parts.ip.as_ref();
    let written = [
        (
            ip.is_some_and(|ip| ip.cidr.is_some()),
            cidr,
            "IP/CIDR range",
        ),
        (ip.is_some_and(|ip| ip.to.is_some()), to, "FROM-TO IP range"),
        (
            parts.ports.is_some_and(|ports| ports.to.is_some())
                || parts.bare.is_some_and(|(_, to)| to.is_some()),
            port_to,
            "FROM-TO port range",
        ),
    ];
    for (given, may, what) in written {
        if given && !may {
            return Err(Refusal::Bare(format!(
                "{what} is not allowed in command {} with set type {} and family {}",
                verb.word(),
                ty.name,
                family.word()
            )));
        }
    }
    if ty.kind == Kind::HashIpPortIp && parts.ip2.is_some_and(|ip| ip.cidr.is_some()) {
        return Err(Refusal::Bare(format!(
            "There are not allowed options (28) but {}. It's a bug, please report the problem.",
            match verb {
                Verb::Add => "can't resolve them",
                Verb::Del | Verb::Test => "option list is empty",
            }
        )));
    }
    Ok(())
}

/// Reads one option of an element.
///
/// # Errors
/// With the original's words.
pub fn option(entry: &mut Entry, opt: Opt, word: &str) -> Result<(), Refusal> {
    let extras = &mut entry.extras;
    let twice = |given: bool| {
        if given {
            let word = opt.word();
            Err(Refusal::syntax(format_args!("{word} already specified")))
        } else {
            Ok(())
        }
    };
    match opt {
        Opt::Timeout => {
            twice(extras.timeout.is_some())?;
            extras.timeout = Some(number(word, 0, TIMEOUT)? as u32);
        }
        Opt::Packets => {
            twice(extras.packets.is_some())?;
            extras.packets = Some(number(word, 0, u64::MAX - 1)?);
        }
        Opt::Bytes => {
            twice(extras.bytes.is_some())?;
            extras.bytes = Some(number(word, 0, u64::MAX - 1)?);
        }
        Opt::CommentText => {
            twice(extras.comment.is_some())?;
            if word.contains('"') {
                return Err(Refusal::syntax("\" character is not permitted in comments"));
            }
            if word.len() > COMMENT {
                return Err(Refusal::syntax(format_args!(
                    "Comment is longer than the maximum allowed {COMMENT} characters"
                )));
            }
            extras.comment = Some(word.to_owned());
        }
        Opt::Skbmark => {
            twice(extras.skbmark.is_some())?;
            extras.skbmark = Some(mark_and_mask(word).ok_or_else(|| {
                Refusal::syntax(
                    "Invalid skbmark format, it should be:  MARK/MASK or MARK (see manpage)",
                )
            })?);
        }
        Opt::Skbprio => {
            twice(extras.skbprio.is_some())?;
            extras.skbprio = Some(class(word).ok_or_else(|| {
                Refusal::syntax("Invalid skbprio format, it should be:MAJOR:MINOR (see manpage)")
            })?);
        }
        Opt::Skbqueue => {
            twice(extras.skbqueue.is_some())?;
            extras.skbqueue = Some(number(word, 0, 65535)? as u16);
        }
        Opt::Nomatch => extras.nomatch = true,
        Opt::Wildcard => extras.wildcard = true,
        Opt::Before | Opt::After => {
            twice(entry.parts.place.is_some())?;
            entry.parts.place = Some(Place {
                before: opt == Opt::Before,
                other: set_name(word)?.to_owned(),
            });
        }
        _ => {}
    }
    Ok(())
}

/// An element as `test` names it.
pub fn text(parts: &Parts, family: Family) -> String {
    let mut all: Vec<String> = Vec::new();
    let written = |addresses: &Addresses, with_to: bool| {
        let mut text = address::text(addresses.from, family);
        match (addresses.to, addresses.cidr) {
            (Some(to), _) if with_to => {
                text.push('-');
                text.push_str(&address::text(to, family));
            }
            (_, Some(cidr)) if cidr != family.bits() => text.push_str(&format!("/{cidr}")),
            _ => {}
        }
        text
    };
    all.extend(parts.ip.as_ref().map(|ip| written(ip, true)));
    all.extend(parts.bare.map(|(from, to)| match to {
        Some(to) => format!("{from}-{to}"),
        None => from.to_string(),
    }));
    all.extend(parts.ports.as_ref().map(Ports::text));
    all.extend(parts.ip2.as_ref().map(|ip| written(ip, false)));
    all.extend(parts.mac.map(mac_text));
    all.extend(parts.mark.map(|mark| format!("0x{mark:08x}")));
    // The original leaves the bridge's flag out here.
    all.extend(parts.iface.as_ref().map(|(name, _)| name.clone()));
    all.extend(parts.name.as_ref().map(|name| match &parts.place {
        // The original says "after" for both.
        Some(place) => format!("{name} after {}", place.other),
        None => name.clone(),
    }));
    all.join(",")
}

/// An Ethernet address as it is listed.
pub fn mac_text(mac: [u8; 6]) -> String {
    let bytes: Vec<String> = mac.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::super::address::NoNames;
    use super::*;

    fn read(ty: &str, word: &str) -> Result<Parts, Refusal> {
        let ty = Type::named(ty).expect("a type");
        parts(word, ty, Family::Inet, &NoNames)
    }

    #[test]
    fn parts_that_are_missing_or_too_many_are_refused_in_the_originals_words() {
        for (ty, word, text) in [
            (
                "hash:ip",
                "1.2.3.9,80",
                "Syntax error: Elem separator in 1.2.3.9,80, but settype hash:ip supports none.",
            ),
            (
                "hash:ip,port",
                "1.2.3.4",
                "Syntax error: Second element is missing from 1.2.3.4.",
            ),
            (
                "hash:ip,port",
                "1.2.3.4,80,5",
                "Syntax error: Two elem separators in 1.2.3.4,80,5, but settype hash:ip,port \
                 supports one.",
            ),
            (
                "hash:ip,port,ip",
                "1.2.3.4,80",
                "Syntax error: Third element is missing from 1.2.3.4,80.",
            ),
            (
                "hash:ip,port,ip",
                "1.2.3.4,80,5.6.7.8,9",
                "Syntax error: Three elem separators in 1.2.3.4,80,5.6.7.8,9, but settype \
                 hash:ip,port,ip supports two.",
            ),
            (
                "hash:ip",
                "1.2.3.4,",
                "Syntax error: cannot parse 1.2.3.4,: resolving to IPv4 address failed",
            ),
            (
                "list:set",
                "c,foo,d",
                "you must specify elements as setname,[before|after],setname",
            ),
        ] {
            assert_eq!(
                read(ty, word),
                Err(Refusal::Failed(text.to_owned())),
                "{word}"
            );
        }
    }

    #[test]
    fn the_mac_of_a_bitmap_may_be_left_out() {
        let parts = read("bitmap:ip,mac", "10.0.0.1").expect("an element");
        assert_eq!(
            (parts.ip, parts.mac),
            (Some(Addresses::one(0x0a00_0001)), None)
        );
        let parts = read("bitmap:ip,mac", "10.0.0.1,1:2:3:4:5:ab").expect("an element");
        assert_eq!(parts.mac, Some([1, 2, 3, 4, 5, 0xab]));
    }

    #[test]
    fn ethernet_addresses_are_read_as_the_c_library_reads_their_numbers() {
        for (word, octets) in [
            ("001:2:3:4:5:6", [1, 2, 3, 4, 5, 6]),
            (":2:3:4:5:6", [0, 2, 3, 4, 5, 6]),
            ("1::3:4:5:", [1, 0, 3, 4, 5, 0]),
            ("+1:0x2:3:4:5:6", [1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(mac(word), Ok(octets), "{word}");
        }
        for word in [
            "001:02:03:04:05:06",
            "1:2:3:4:5",
            "1:2:3:4:5:6:",
            "1:2:3:4:5:6 ",
            "-1:2:3:4:5:6",
            "100:2:3:4:5:6",
            "1:2:3:4:5:6x",
            "++1:2:3:4:5:6",
        ] {
            assert!(mac(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_protocol_of_the_other_family_is_told_with_what_is_complained_about_behind_it() {
        let ty = Type::named("hash:ip,port,ip").expect("a type");
        let read = |word| parts(word, ty, Family::Inet6, &NoNames);
        let protocol = "Syntax error: Protocol ICMP can be used with family inet only";
        let spoiled = read("::1,icmp:ping,1.2.3.4").expect("parts");
        assert_eq!(spoiled.spoiled.as_deref(), Some(protocol));
        let text =
            format!("{protocol}\nSyntax error: cannot parse ::2: resolving to IPv4 address failed");
        assert_eq!(read("::1,icmp:ping,::2"), Err(Refusal::Failed(text)));
    }
}
