//! Names of protocols, ports and ICMP messages.
//!
//! Protocols and services are those of the system's files, read once, when the first name is asked
//! for; a missing file means no names.

use std::collections::HashMap;
use std::sync::LazyLock;

struct Protocols {
    by_name: HashMap<String, u8>,
    by_number: HashMap<u8, String>,
}

/// The words of a line without its comment.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split('#').next().unwrap_or("").split_whitespace()
}

static PROTOCOLS: LazyLock<Protocols> = LazyLock::new(|| {
    let mut protocols = Protocols {
        by_name: HashMap::new(),
        by_number: HashMap::new(),
    };
    let text = std::fs::read_to_string("/etc/protocols").unwrap_or_default();
    for line in text.lines() {
        let mut words = words(line);
        let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) else {
            continue;
        };
        protocols
            .by_number
            .entry(number)
            .or_insert_with(|| name.to_owned());
        for name in std::iter::once(name).chain(words) {
            protocols.by_name.entry(name.to_owned()).or_insert(number);
        }
    }
    protocols
});

static SERVICES: LazyLock<HashMap<(String, String), u16>> = LazyLock::new(|| {
    let mut services = HashMap::new();
    let text = std::fs::read_to_string("/etc/services").unwrap_or_default();
    for line in text.lines() {
        let mut words = words(line);
        let (Some(name), Some((port, protocol))) = (
            words.next(),
            words.next().and_then(|port| port.split_once('/')),
        ) else {
            continue;
        };
        let Ok(port) = port.parse() else { continue };
        for name in std::iter::once(name).chain(words) {
            services
                .entry((protocol.to_owned(), name.to_owned()))
                .or_insert(port);
        }
    }
    services
});

/// The number of a protocol by its name.
pub fn protocol(name: &str) -> Option<u8> {
    match name {
        "udplite" => return Some(136),
        "icmpv6" => return Some(58),
        _ => {}
    }
    let known = |name: &str| PROTOCOLS.by_name.get(name).copied();
    known(name).or_else(|| known(&name.to_ascii_lowercase()))
}

/// The name of a protocol.
pub fn protocol_name(number: u8) -> Option<&'static str> {
    PROTOCOLS.by_number.get(&number).map(String::as_str)
}

/// The number of a service of a protocol.
pub fn service(name: &str, protocol: &str) -> Option<u16> {
    SERVICES
        .get(&(protocol.to_ascii_lowercase(), name.to_owned()))
        .copied()
}

/// ICMP messages: name, type, code; of two with the same numbers the first is listed.
pub static ICMP: &[(&str, u8, u8)] = &[
    ("echo-reply", 0, 0),
    ("pong", 0, 0),
    ("network-unreachable", 3, 0),
    ("host-unreachable", 3, 1),
    ("protocol-unreachable", 3, 2),
    ("port-unreachable", 3, 3),
    ("fragmentation-needed", 3, 4),
    ("source-route-failed", 3, 5),
    ("network-unknown", 3, 6),
    ("host-unknown", 3, 7),
    ("network-prohibited", 3, 9),
    ("host-prohibited", 3, 10),
    ("TOS-network-unreachable", 3, 11),
    ("TOS-host-unreachable", 3, 12),
    ("communication-prohibited", 3, 13),
    ("host-precedence-violation", 3, 14),
    ("precedence-cutoff", 3, 15),
    ("source-quench", 4, 0),
    ("network-redirect", 5, 0),
    ("host-redirect", 5, 1),
    ("TOS-network-redirect", 5, 2),
    ("TOS-host-redirect", 5, 3),
    ("echo-request", 8, 0),
    ("ping", 8, 0),
    ("router-advertisement", 9, 0),
    ("router-solicitation", 10, 0),
    ("ttl-zero-during-transit", 11, 0),
    ("ttl-zero-during-reassembly", 11, 1),
    ("ip-header-bad", 12, 0),
    ("required-option-missing", 12, 1),
    ("timestamp-request", 13, 0),
    ("timestamp-reply", 14, 0),
    ("address-mask-request", 17, 0),
    ("address-mask-reply", 18, 0),
];

/// ICMPv6 messages.
pub static ICMPV6: &[(&str, u8, u8)] = &[
    ("no-route", 1, 0),
    ("communication-prohibited", 1, 1),
    ("address-unreachable", 1, 3),
    ("port-unreachable", 1, 4),
    ("packet-too-big", 2, 0),
    ("ttl-zero-during-transit", 3, 0),
    ("ttl-zero-during-reassembly", 3, 1),
    ("bad-header", 4, 0),
    ("unknown-header-type", 4, 1),
    ("unknown-option", 4, 2),
    ("echo-request", 128, 0),
    ("ping", 128, 0),
    ("echo-reply", 129, 0),
    ("pong", 129, 0),
    ("router-solicitation", 133, 0),
    ("router-advertisement", 134, 0),
    ("neighbour-solicitation", 135, 0),
    ("neigbour-solicitation", 135, 0),
    ("neighbour-advertisement", 136, 0),
    ("neigbour-advertisement", 136, 0),
    ("redirect", 137, 0),
];

/// Type and code of a message whose name begins so.
pub fn message(table: &[(&str, u8, u8)], word: &str) -> Option<u16> {
    let begins = |name: &str| {
        name.len() >= word.len()
            && name.as_bytes()[..word.len()].eq_ignore_ascii_case(word.as_bytes())
    };
    let (_, kind, code) = table.iter().find(|(name, ..)| begins(name))?;
    Some(u16::from(*kind) << 8 | u16::from(*code))
}

/// The name of a message.
pub fn message_name(table: &[(&'static str, u8, u8)], value: u16) -> Option<&'static str> {
    let same = |entry: &&(&str, u8, u8)| u16::from(entry.1) << 8 | u16::from(entry.2) == value;
    table.iter().find(same).map(|(name, ..)| *name)
}
