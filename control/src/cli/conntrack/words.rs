//! The words of conntrack(8): commands, options, and names of states, status bits and protocols.

use std::net::IpAddr;

use sluice_config::model::services;

use super::options::{Command, EventKinds, Usage};

/// An option: its letter, its first long name, its other names, whether it takes an argument, and the
/// commands that take it (letters of `LGDFCSEIAU`, small ones for the table of expectations).
pub(super) struct Opt {
    pub(super) letter: Option<char>,
    pub(super) long: &'static str,
    pub(super) also: &'static [&'static str],
    pub(super) argument: Argument,
    pub(super) commands: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    None,
    Needed,
    Optional,
}

const fn opt(
    letter: Option<char>,
    long: &'static str,
    also: &'static [&'static str],
    argument: Argument,
    commands: &'static str,
) -> Opt {
    Opt {
        letter,
        long,
        also,
        argument,
        commands,
    }
}

pub(super) const OPTIONS: &[Opt] = &[
    opt(
        Some('s'),
        "src",
        &["orig-src"],
        Argument::Needed,
        "LGDEIAUgd",
    ),
    opt(
        Some('d'),
        "dst",
        &["orig-dst"],
        Argument::Needed,
        "LGDEIAUgd",
    ),
    opt(Some('r'), "reply-src", &[], Argument::Needed, "LGDEIAUgd"),
    opt(Some('q'), "reply-dst", &[], Argument::Needed, "LGDEIAUgd"),
    opt(
        Some('p'),
        "protonum",
        &["proto"],
        Argument::Needed,
        "LGDEIAUgd",
    ),
    opt(Some('t'), "timeout", &[], Argument::Needed, "GDIAUgd"),
    opt(Some('u'), "status", &[], Argument::Needed, "LGDIAUgd"),
    opt(Some('m'), "mark", &[], Argument::Needed, "LGDEIAUgd"),
    opt(Some('n'), "src-nat", &[], Argument::Optional, "LGDEIAUgd"),
    opt(Some('g'), "dst-nat", &[], Argument::Optional, "LGDEIAUgd"),
    opt(Some('j'), "any-nat", &[], Argument::Optional, "LGEgd"),
    opt(Some('f'), "family", &[], Argument::Needed, "LGDFEUlgd"),
    opt(Some('o'), "output", &[], Argument::Needed, "LGDEUlgde"),
    opt(Some('z'), "zero", &[], Argument::None, "LGgd"),
    opt(Some('e'), "event-mask", &[], Argument::Needed, "GEgd"),
    opt(Some('w'), "zone", &[], Argument::Needed, "LDEIAgd"),
    opt(None, "orig-zone", &[], Argument::Needed, "LDEIAgd"),
    opt(None, "reply-zone", &[], Argument::Needed, "LDEIAgd"),
    opt(Some('b'), "buffer-size", &[], Argument::Needed, "GEgd"),
    opt(None, "mask-src", &[], Argument::Needed, "LGDEUgd"),
    opt(None, "mask-dst", &[], Argument::Needed, "LGDEUgd"),
    opt(None, "tuple-src", &[], Argument::Needed, "Ggd"),
    opt(None, "tuple-dst", &[], Argument::Needed, "Ggd"),
    opt(Some('i'), "id", &[], Argument::Needed, "GDUgd"),
    opt(None, "label-add", &[], Argument::Needed, "IAU"),
    opt(None, "label-del", &[], Argument::Optional, "U"),
];

pub(super) const COMMANDS: &[(char, &str, Command)] = &[
    ('L', "dump", Command::List),
    ('G', "get", Command::Get),
    ('D', "delete", Command::Delete),
    ('I', "create", Command::Insert),
    ('A', "add", Command::Add),
    ('U', "update", Command::Update),
    ('F', "flush", Command::Flush),
    ('C', "count", Command::Count),
    ('S', "stats", Command::Statistics),
    ('E', "event", Command::Events),
    ('V', "version", Command::Version),
    ('h', "help", Command::Help),
];

/// The command of conntrack(8) that reads others from a file.
pub(super) const REFUSED: (char, &str) = ('R', "load-file");

/// Names of status bits, as the options take them and as the API has them.
pub(super) const STATUS: &[(&str, &str)] = &[
    ("ASSURED", "assured"),
    ("SEEN_REPLY", "seen-reply"),
    ("UNSET", "unset"),
    ("UNREPLIED", "unreplied"),
    ("FIXED_TIMEOUT", "fixed-timeout"),
    ("EXPECTED", "expected"),
    ("OFFLOAD", "offload"),
    ("HW_OFFLOAD", "hw-offload"),
];

pub(super) const TCP_STATES: &[&str] = &[
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "LISTEN",
];
pub(super) const SCTP_STATES: &[&str] = &[
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
];
pub(super) const DCCP_STATES: &[&str] = &[
    "NONE", "REQUEST", "RESPOND", "PARTOPEN", "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT", "IGNORE",
    "INVALID",
];

/// The protocols that bring options of their own, each with its number.
pub(super) const PROTOCOLS: &[(&str, u8)] = &[
    ("tcp", 6),
    ("udp", 17),
    ("udplite", 136),
    ("icmp", 1),
    ("icmpv6", 58),
    ("sctp", 132),
    ("dccp", 33),
    ("gre", 47),
];

/// Other names of /etc/protocols that a firewall meets.
pub(super) const OTHER_PROTOCOLS: &[(&str, u8)] = &[
    ("igmp", 2),
    ("ipencap", 4),
    ("ipv6", 41),
    ("rsvp", 46),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("ospf", 89),
    ("ipip", 94),
    ("pim", 103),
    ("vrrp", 112),
    ("l2tp", 115),
];

/// A number as far as the text is one, as strtoul(3) with base 0 reads it.
pub(super) fn number(text: &str) -> u32 {
    let text = text.trim_start();
    let (digits, base) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    digits
        .chars()
        .map_while(|digit| digit.to_digit(base))
        .fold(0u32, |number, digit| {
            number.wrapping_mul(base).wrapping_add(digit)
        })
}

pub(super) fn protocol(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().chain(OTHER_PROTOCOLS);
    named
        .clone()
        .find(|(name, _)| *name == text)
        .map(|(_, number)| *number)
        .or_else(|| text.parse().ok())
}

pub(super) fn status(list: &str) -> Result<String, Usage> {
    let name = |word: &str| {
        STATUS
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, name)| *name)
            .ok_or_else(|| format!("Bad parameter `{word}'"))
    };
    let names: Vec<&str> = list.split(',').map(name).collect::<Result<_, _>>()?;
    Ok(names.join(","))
}

pub(super) fn event_kinds(list: &str) -> Result<EventKinds, Usage> {
    let mut kinds = EventKinds {
        new: false,
        update: false,
        destroy: false,
    };
    for word in list.split(',') {
        match word {
            "ALL" => (kinds.new, kinds.update, kinds.destroy) = (true, true, true),
            "NEW" => kinds.new = true,
            "UPDATES" => kinds.update = true,
            "DESTROY" => kinds.destroy = true,
            _ => return Err(format!("Bad parameter `{word}'")),
        }
    }
    Ok(kinds)
}

/// The length of a mask's prefix, if it is one.
pub(super) fn prefix_of(mask: IpAddr) -> Option<u32> {
    let (number, bits) = match mask {
        IpAddr::V4(mask) => (u128::from(u32::from(mask)) << 96, 32),
        IpAddr::V6(mask) => (u128::from(mask), 128),
    };
    let ones = number.leading_ones();
    (number.count_ones() == ones && ones <= bits).then_some(ones)
}

/// The bits of labels by their names in connlabel.conf.
pub(super) fn labels(list: &str) -> Result<Vec<u8>, Usage> {
    let bit =
        |name: &str| services::label_bit(name).ok_or_else(|| format!("unknown label '{name}'"));
    list.split(',').map(bit).collect()
}
