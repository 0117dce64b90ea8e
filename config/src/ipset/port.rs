//! `[protocol:]port`, in all its forms.

use super::address::{bare, split};
use super::kind::Family;
use super::names::{self, ICMP, ICMPV6};
use super::number::number;
use super::refusal::Refusal;

/// A protocol with ports, or with what stands for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The protocol's number.
    pub protocol: u8,
    /// The port, or the first one; type and code of ICMP; 0 for other protocols.
    pub from: u16,
    /// The last one, where a range was written.
    pub to: Option<u16>,
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const UDPLITE: u8 = 136;
const ICMP_NUMBER: u8 = 1;
const ICMPV6_NUMBER: u8 = 58;

/// Whether packets of a protocol have ports.
pub fn has_ports(protocol: u8) -> bool {
    matches!(protocol, TCP | UDP | SCTP | UDPLITE)
}

/// Whether the number beside a protocol means something.
pub fn has_numbers(protocol: u8) -> bool {
    has_ports(protocol) || matches!(protocol, ICMP_NUMBER | ICMPV6_NUMBER)
}

impl Ports {
    /// First and last number.
    pub fn bounds(&self) -> (u16, u16) {
        let to = self.to.unwrap_or(self.from);
        (self.from.min(to), self.from.max(to))
    }

    /// As it is listed.
    pub fn text(&self) -> String {
        let name = match self.protocol {
            UDPLITE => Some("udplite"),
            number => names::protocol_name(number),
        };
        let protocol = name.map_or_else(|| self.protocol.to_string(), str::to_owned);
        let message = |table| {
            names::message_name(table, self.from).map_or_else(
                || format!("{}/{}", self.from >> 8, self.from & 0xff),
                str::to_owned,
            )
        };
        let number = match self.protocol {
            ICMP_NUMBER => message(ICMP),
            ICMPV6_NUMBER => message(ICMPV6),
            _ => match self.to {
                Some(to) => format!("{}-{to}", self.from),
                None => self.from.to_string(),
            },
        };
        format!("{protocol}:{number}")
    }
}

/// One port, as a number or by name.
fn port(word: &str, protocol: &str) -> Result<u16, Refusal> {
    let word = bare(word);
    let wrong = match number(word, 0, 65535) {
        Ok(number) => return Ok(number as u16),
        Err(Refusal::Failed(wrong)) => wrong,
        Err(other) => return Err(other),
    };
    names::service(word, protocol).ok_or_else(|| {
        // The original asks for the protocol as a number, and says so.
        let again = match number(protocol, 0, 255) {
            Err(Refusal::Failed(again)) => format!("\n{again}"),
            _ => String::new(),
        };
        Refusal::Bare(format!(
            "{wrong}{again}\ncannot parse '{word}' as a {protocol} port"
        ))
    })
}

/// A port or a range of ports of a protocol.
fn ports(word: &str, protocol: &str) -> Result<(u16, Option<u16>), Refusal> {
    match split(word, '-')? {
        (first, Some(last)) if !first.is_empty() && !last.is_empty() => {
            // The original looks at the end first.
            let last = port(last, protocol)?;
            Ok((port(first, protocol)?, Some(last)))
        }
        _ => Ok((port(word, protocol)?, None)),
    }
}

/// `[protocol:]port[-port]` of a bitmap: the protocol only says whose service names are meant.
///
/// # Errors
/// With the original's words.
pub fn bare_ports(word: &str) -> Result<(u16, Option<u16>), Refusal> {
    match split(word, ':')? {
        (protocol, Some(rest)) if !rest.is_empty() && !protocol.is_empty() => {
            match proto(protocol)? {
                TCP | UDP | SCTP | UDPLITE => ports(rest, protocol),
                _ => Err(Refusal::syntax("Only protocols TCP and UDP are valid")),
            }
        }
        _ => ports(word, "tcp"),
    }
}

fn proto(word: &str) -> Result<u8, Refusal> {
    if let Some(number) = names::protocol(word) {
        return Ok(number);
    }
    number(word, 0, 255)
        .map(|number| number as u8)
        .map_err(|_| Refusal::syntax(format_args!("cannot parse '{word}' as a protocol")))
}

/// Type and code, or the name of a message.
fn message(word: &str, version: &str, table: &[(&str, u8, u8)]) -> Result<u16, Refusal> {
    if let Some(value) = names::message(table, word).filter(|_| !word.is_empty()) {
        return Ok(value);
    }
    match word.split_once('/') {
        Some((kind, code)) if !code.is_empty() => {
            Ok((number(kind, 0, 255)? << 8 | number(code, 0, 255)?) as u16)
        }
        _ => Err(Refusal::Failed(format!(
            "Cannot parse {word} as an {version} type/code."
        ))),
    }
}

/// What `[protocol:]port` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// A protocol and its ports.
    Ports(Ports),
    /// The ICMP of the other family, and the complaint: the original does not stop at it.
    OtherFamily(String),
}

/// `[protocol:]port[-port]`.
///
/// # Errors
/// With the original's words.
pub fn protocol_and_port(word: &str, family: Family) -> Result<Read, Refusal> {
    let (name, rest) = match split(word, ':')? {
        (name, Some(rest)) if !name.is_empty() && !rest.is_empty() => (name, rest),
        _ => ("tcp", word),
    };
    let protocol = proto(name)?;
    let other_family = |version: &str, family: &str| {
        Read::OtherFamily(format!(
            "Syntax error: Protocol {version} can be used with family {family} only"
        ))
    };
    let one = |from| {
        let to = None;
        Read::Ports(Ports { protocol, from, to })
    };
    match protocol {
        TCP | UDP | SCTP | UDPLITE => {
            let (from, to) = ports(rest, name)?;
            Ok(Read::Ports(Ports { protocol, from, to }))
        }
        ICMP_NUMBER if family != Family::Inet => Ok(other_family("ICMP", "inet")),
        ICMP_NUMBER => message(rest, "ICMP", ICMP).map(one),
        ICMPV6_NUMBER if family != Family::Inet6 => Ok(other_family("ICMPv6", "inet6")),
        ICMPV6_NUMBER => message(rest, "ICMPv6", ICMPV6).map(one),
        _ if rest != "0" => Err(Refusal::syntax(format_args!(
            "Protocol {name} can be used with pseudo port value 0 only."
        ))),
        _ => Ok(one(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(word: &str) -> Option<Ports> {
        match protocol_and_port(word, Family::Inet) {
            Ok(Read::Ports(ports)) => Some(ports),
            _ => None,
        }
    }

    #[test]
    fn ports_are_refused_in_the_originals_words() {
        for (word, text) in [
            (
                "foo",
                "Syntax error: 'foo' is invalid as number\nSyntax error: 'tcp' is invalid as \
                 number\ncannot parse 'foo' as a tcp port",
            ),
            (
                "17:foo",
                "Syntax error: 'foo' is invalid as number\ncannot parse 'foo' as a 17 port",
            ),
            ("foo:5", "Syntax error: cannot parse 'foo' as a protocol"),
            (
                "dccp:80",
                "Syntax error: Protocol dccp can be used with pseudo port value 0 only.",
            ),
            ("icmp:3", "Cannot parse 3 as an ICMP type/code."),
            ("icmp:300/1", "Syntax error: '300' is out of range 0-255"),
        ] {
            let Err(Refusal::Failed(got) | Refusal::Bare(got)) =
                protocol_and_port(word, Family::Inet)
            else {
                panic!("{word} is taken");
            };
            assert_eq!(got, text, "{word}");
        }
    }

    #[test]
    fn messages_are_read_by_the_beginning_of_their_name() {
        let read = |word| ports(word).map(|ports| ports.from);
        assert_eq!(read("icmp:ech"), Some(0));
        assert_eq!(read("icmp:Ping"), Some(0x800));
        assert_eq!(read("icmp:40/2"), Some(0x2802));
        assert_eq!(
            ports("tcp:90-80").map(|ports| ports.bounds()),
            Some((80, 90))
        );
    }
}
