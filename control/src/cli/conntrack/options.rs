//! Words of a conntrack(8) command line, and what of them goes together.
//!
//! Complaints are those of conntrack 1.4.7. As there, an option may stand anywhere, numbers are read
//! as far as they are numbers, and options of a protocol (`--dport`) are known behind its `-p` only.

use std::net::IpAddr;

use crate::api::flow::FlowQuery;

/// Why a command line is not carried out, without the program's name.
pub(super) type Usage = String;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    List,
    Get,
    Delete,
    Flush,
    Count,
    Statistics,
    Events,
    Version,
    Help,
}

/// Whereof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Table {
    #[default]
    Conntrack,
    Expect,
    Dying,
    Unconfirmed,
}

/// How flows are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    pub(super) xml: bool,
    pub(super) extended: bool,
    pub(super) timestamp: bool,
    pub(super) id: bool,
    pub(super) ktimestamp: bool,
    pub(super) save: bool,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventKinds {
    pub(super) new: bool,
    pub(super) update: bool,
    pub(super) destroy: bool,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) command: Command,
    pub(super) table: Table,
    pub(super) query: FlowQuery,
    pub(super) output: Output,
    pub(super) events: EventKinds,
}

/// An option: its letter, its first long name, its other names, whether it takes an argument, and the
/// commands that take it (letters of `LGDFCSE`, small ones for the table of expectations).
struct Opt {
    letter: Option<char>,
    long: &'static str,
    also: &'static [&'static str],
    argument: Argument,
    commands: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
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

const OPTIONS: &[Opt] = &[
    opt(Some('s'), "src", &["orig-src"], Argument::Needed, "LGDEgd"),
    opt(Some('d'), "dst", &["orig-dst"], Argument::Needed, "LGDEgd"),
    opt(Some('r'), "reply-src", &[], Argument::Needed, "LGDEgd"),
    opt(Some('q'), "reply-dst", &[], Argument::Needed, "LGDEgd"),
    opt(
        Some('p'),
        "protonum",
        &["proto"],
        Argument::Needed,
        "LGDEgd",
    ),
    opt(Some('t'), "timeout", &[], Argument::Needed, "GDgd"),
    opt(Some('u'), "status", &[], Argument::Needed, "LGDgd"),
    opt(Some('m'), "mark", &[], Argument::Needed, "LGDEgd"),
    opt(Some('n'), "src-nat", &[], Argument::Optional, "LGDEgd"),
    opt(Some('g'), "dst-nat", &[], Argument::Optional, "LGDEgd"),
    opt(Some('j'), "any-nat", &[], Argument::Optional, "LGEgd"),
    opt(Some('f'), "family", &[], Argument::Needed, "LGDFElgd"),
    opt(Some('o'), "output", &[], Argument::Needed, "LGDElgde"),
    opt(Some('z'), "zero", &[], Argument::None, "LGgd"),
    opt(Some('e'), "event-mask", &[], Argument::Needed, "GEgd"),
    opt(Some('w'), "zone", &[], Argument::Needed, "LDEgd"),
    opt(None, "orig-zone", &[], Argument::Needed, "LDEgd"),
    opt(None, "reply-zone", &[], Argument::Needed, "LDEgd"),
    opt(Some('b'), "buffer-size", &[], Argument::Needed, "GEgd"),
    opt(None, "mask-src", &[], Argument::Needed, "LGDEgd"),
    opt(None, "mask-dst", &[], Argument::Needed, "LGDEgd"),
    opt(None, "tuple-src", &[], Argument::Needed, "Ggd"),
    opt(None, "tuple-dst", &[], Argument::Needed, "Ggd"),
    opt(Some('i'), "id", &[], Argument::Needed, "GDgd"),
];

const COMMANDS: &[(char, &str, Command)] = &[
    ('L', "dump", Command::List),
    ('G', "get", Command::Get),
    ('D', "delete", Command::Delete),
    ('F', "flush", Command::Flush),
    ('C', "count", Command::Count),
    ('S', "stats", Command::Statistics),
    ('E', "event", Command::Events),
    ('V', "version", Command::Version),
    ('h', "help", Command::Help),
];

/// Commands of conntrack(8) that would put flows into the table by hand.
const REFUSED: &[(char, &str)] = &[
    ('I', "create"),
    ('A', "add"),
    ('U', "update"),
    ('R', "load-file"),
];

/// Names of status bits, as the options take them and as the API has them.
const STATUS: &[(&str, &str)] = &[
    ("ASSURED", "assured"),
    ("SEEN_REPLY", "seen-reply"),
    ("UNSET", "unset"),
    ("UNREPLIED", "unreplied"),
    ("FIXED_TIMEOUT", "fixed-timeout"),
    ("EXPECTED", "expected"),
    ("OFFLOAD", "offload"),
    ("HW_OFFLOAD", "hw-offload"),
];

const TCP_STATES: &[&str] = &[
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
const SCTP_STATES: &[&str] = &[
    "NONE",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "ESTABLISHED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
];
const DCCP_STATES: &[&str] = &[
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
const OTHER_PROTOCOLS: &[(&str, u8)] = &[
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

impl Call {
    /// Reads the words behind the program's name.
    pub(super) fn parse(words: &[String]) -> Result<Self, Usage> {
        let mut parser = Parser::default();
        let mut words = words.iter();
        while let Some(word) = words.next().map(String::as_str) {
            if word == "--" {
                break;
            } else if let Some(long) = word.strip_prefix("--") {
                parser.long(long, &mut words)?;
            } else if let Some(letters) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) {
                parser.letters(letters, &mut words)?;
            } else {
                parser.table(word)?;
            }
        }
        parser.finish()
    }
}

/// The words that have not been read yet.
type Rest<'a, 'w> = &'a mut std::slice::Iter<'w, String>;

#[derive(Default)]
struct Parser {
    command: Option<Command>,
    table: Table,
    given: Vec<&'static str>,
    query: FlowQuery,
    output: Output,
    events: Option<EventKinds>,
    protocol: Option<u8>,
    family: Option<&'static str>,
    masks: [Option<IpAddr>; 2],
}

impl Parser {
    fn command(&mut self, command: Command) -> Result<(), Usage> {
        if self.command.is_some() {
            return Err("Invalid commands combination".to_owned());
        }
        self.command = Some(command);
        Ok(())
    }

    fn table(&mut self, word: &str) -> Result<(), Usage> {
        self.table = match word {
            "conntrack" => Table::Conntrack,
            "expect" => Table::Expect,
            "dying" => Table::Dying,
            "unconfirmed" => Table::Unconfirmed,
            _ => return Err(format!("unknown type `{word}'")),
        };
        Ok(())
    }

    fn long<'w>(&mut self, text: &str, rest: Rest<'_, 'w>) -> Result<(), Usage> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if let Some((.., command)) = COMMANDS.iter().find(|(_, long, _)| *long == name) {
            return self.command(*command);
        }
        if let Some((letter, _)) = REFUSED.iter().find(|(_, long)| *long == name) {
            return Err(refused(*letter));
        }
        let unknown = || format!("unknown option `--{name}'");
        let known = OPTIONS
            .iter()
            .find(|option| option.long == name || option.also.contains(&name));
        let needed = match known {
            Some(option) => option.argument,
            None if self.protocol_option(name) => Argument::Needed,
            None => return Err(unknown()),
        };
        let value = match (value, needed) {
            (None, Argument::Needed) => Some(
                rest.next()
                    .map(String::as_str)
                    .ok_or_else(|| format!("option `--{name}' requires an argument"))?,
            ),
            (None, Argument::Optional) => optional(rest),
            (value, _) => value,
        };
        match known {
            Some(option) => self.option(option, value.unwrap_or_default()),
            None => self.of_protocol(name, value.unwrap_or_default()),
        }
    }

    fn letters<'w>(&mut self, letters: &str, rest: Rest<'_, 'w>) -> Result<(), Usage> {
        for (at, letter) in letters.char_indices() {
            if let Some((.., command)) = COMMANDS.iter().find(|(one, ..)| *one == letter) {
                self.command(*command)?;
                continue;
            }
            if REFUSED.iter().any(|(one, _)| *one == letter) {
                return Err(refused(letter));
            }
            let option = OPTIONS
                .iter()
                .find(|option| option.letter == Some(letter))
                .ok_or_else(|| format!("unknown option `-{letter}'"))?;
            let behind = &letters[at + letter.len_utf8()..];
            let value = match option.argument {
                Argument::None => {
                    self.option(option, "")?;
                    continue;
                }
                _ if !behind.is_empty() => Some(behind),
                Argument::Needed => Some(
                    rest.next()
                        .map(String::as_str)
                        .ok_or_else(|| format!("option `-{letter}' requires an argument"))?,
                ),
                Argument::Optional => optional(rest),
            };
            return self.option(option, value.unwrap_or_default());
        }
        Ok(())
    }

    fn option(&mut self, option: &Opt, value: &str) -> Result<(), Usage> {
        self.given.push(option.long);
        match option.long {
            "src" => self.query.src = Some(self.network(value)?),
            "dst" => self.query.dst = Some(self.network(value)?),
            "reply-src" => self.query.reply_src = Some(self.network(value)?),
            "reply-dst" => self.query.reply_dst = Some(self.network(value)?),
            "mask-src" => self.masks[0] = Some(self.mask(value)?),
            "mask-dst" => self.masks[1] = Some(self.mask(value)?),
            "protonum" => {
                let number = protocol(value).ok_or(format!("`{value}' unsupported protocol"))?;
                self.protocol = Some(number);
                self.query.protocol = Some(number.to_string());
            }
            "family" => {
                let family = match value {
                    "ipv4" => "ipv4",
                    "ipv6" => "ipv6",
                    _ => return Err(format!("`{value}' unsupported protocol")),
                };
                self.be(family)?;
            }
            "status" => {
                let wanted = status(value)?;
                self.query.status = Some(match self.query.status.take() {
                    Some(others) => format!("{others},{wanted}"),
                    None => wanted,
                });
            }
            "mark" => {
                self.query.mark = Some(match value.split_once('/') {
                    Some((mark, mask)) => format!("{}/{}", number(mark), number(mask)),
                    None => number(value).to_string(),
                });
            }
            "zone" => self.query.zone = Some((number(value) as u16).to_string()),
            "orig-zone" => self.query.orig_zone = Some((number(value) as u16).to_string()),
            "reply-zone" => self.query.reply_zone = Some((number(value) as u16).to_string()),
            "id" => self.query.id = Some(number(value).to_string()),
            "output" => self.output(value)?,
            "event-mask" => self.events = Some(event_kinds(value)?),
            "src-nat" | "dst-nat" | "any-nat" => self.translated(option.long, value)?,
            // -z is refused below, -t and -b change nothing of what is asked for.
            _ => {}
        }
        Ok(())
    }

    /// Flows that are translated, to an address if one is given.
    fn translated(&mut self, name: &str, value: &str) -> Result<(), Usage> {
        let to = if value.is_empty() {
            None
        } else {
            Some(self.network(value)?)
        };
        let query = &mut self.query;
        let (word, address) = match name {
            "src-nat" => ("snat", &mut query.reply_dst),
            "dst-nat" => ("dnat", &mut query.reply_src),
            _ => ("translated", &mut query.address),
        };
        if to.is_some() {
            *address = to;
        }
        query.status = Some(match query.status.take() {
            Some(others) => format!("{others},{word}"),
            None => word.to_owned(),
        });
        Ok(())
    }

    /// Whether the protocol given so far has an option of this name.
    fn protocol_option(&self, name: &str) -> bool {
        let ports = matches!(self.protocol, Some(6 | 17 | 33 | 132 | 136));
        match name {
            "sport" | "dport" | "orig-port-src" | "orig-port-dst" | "reply-port-src"
            | "reply-port-dst" => ports,
            "state" => matches!(self.protocol, Some(6 | 33 | 132)),
            "icmp-type" | "icmp-code" | "icmp-id" => self.protocol == Some(1),
            "icmpv6-type" | "icmpv6-code" | "icmpv6-id" => self.protocol == Some(58),
            "srckey" | "dstkey" | "orig-key-src" | "orig-key-dst" | "reply-key-src"
            | "reply-key-dst" => self.protocol == Some(47),
            _ => false,
        }
    }

    fn of_protocol(&mut self, name: &str, value: &str) -> Result<(), Usage> {
        let query = &mut self.query;
        let port = Some((number(value) as u16).to_string());
        match name {
            "sport" | "orig-port-src" | "srckey" | "orig-key-src" => query.sport = port,
            "dport" | "orig-port-dst" | "dstkey" | "orig-key-dst" => query.dport = port,
            "reply-port-src" | "reply-key-src" => query.reply_sport = port,
            "reply-port-dst" | "reply-key-dst" => query.reply_dport = port,
            "icmp-type" | "icmpv6-type" => query.icmp_type = port,
            "icmp-code" | "icmpv6-code" => query.icmp_code = port,
            "icmp-id" | "icmpv6-id" => query.icmp_id = port,
            _ => {
                let (name, states) = match self.protocol {
                    Some(132) => ("SCTP", SCTP_STATES),
                    Some(33) => ("DCCP", DCCP_STATES),
                    _ => ("TCP", TCP_STATES),
                };
                if !states.contains(&value) {
                    return Err(format!("unknown {name} state `{value}'"));
                }
                query.state = Some(value.to_owned());
            }
        }
        Ok(())
    }

    /// The addresses' family, which all of them share.
    fn be(&mut self, family: &'static str) -> Result<(), Usage> {
        if self.family.is_some_and(|known| known != family) {
            return Err("mismatched address family".to_owned());
        }
        self.family = Some(family);
        Ok(())
    }

    fn network(&mut self, text: &str) -> Result<String, Usage> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let parsed = self.address(address)?;
        let bits = if parsed.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= bits)
                .ok_or("Invalid netmask")?,
        };
        Ok(format!("{parsed}/{prefix}"))
    }

    fn mask(&mut self, text: &str) -> Result<IpAddr, Usage> {
        self.address(text)
    }

    fn address(&mut self, text: &str) -> Result<IpAddr, Usage> {
        let address: IpAddr = text
            .parse()
            .map_err(|_| format!("Invalid IP address `{text}'"))?;
        self.be(if address.is_ipv4() { "ipv4" } else { "ipv6" })?;
        Ok(address)
    }

    fn output(&mut self, list: &str) -> Result<(), Usage> {
        for word in list.split(',') {
            let output = &mut self.output;
            match word {
                "xml" => output.xml = true,
                "extended" => output.extended = true,
                "timestamp" => output.timestamp = true,
                "id" => output.id = true,
                "ktimestamp" => output.ktimestamp = true,
                "save" => output.save = true,
                // Names of labels are in a file that only the real one reads.
                "labels" | "userspace" => {}
                _ => return Err(format!("Bad parameter `{word}'")),
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Call, Usage> {
        let command = self.command.unwrap_or(Command::Help);
        self.check(command)?;
        for (mask, network, option) in [
            (self.masks[0], &mut self.query.src, "src"),
            (self.masks[1], &mut self.query.dst, "dst"),
        ] {
            let Some(mask) = mask else { continue };
            let network = network
                .as_mut()
                .ok_or_else(|| format!("Can't use --mask-{option} without --{option}"))?;
            let prefix = prefix_of(mask).ok_or("Invalid netmask")?;
            let address = network.split('/').next().unwrap_or_default();
            *network = format!("{address}/{prefix}");
        }
        self.query.family = self.family.map(str::to_owned);
        if command == Command::Get && self.table == Table::Conntrack {
            self.check_get()?;
        }
        Ok(Call {
            command,
            table: self.table,
            query: self.query,
            output: self.output,
            events: self.events.unwrap_or(EventKinds {
                new: true,
                update: true,
                destroy: true,
            }),
        })
    }

    /// Whether command, table and options go together.
    fn check(&self, command: Command) -> Result<(), Usage> {
        let letter = COMMANDS
            .iter()
            .find(|(.., one)| *one == command)
            .map_or('h', |(letter, ..)| *letter);
        let inner = matches!(self.table, Table::Dying | Table::Unconfirmed);
        if inner && command != Command::List {
            return Err("Can't do that command with tables `dying' and `unconfirmed'".to_owned());
        }
        if matches!(command, Command::Help | Command::Version) {
            return Ok(());
        }
        let letter = if self.table == Table::Expect {
            letter.to_ascii_lowercase()
        } else {
            letter
        };
        for option in OPTIONS {
            if self.given.contains(&option.long) && !option.commands.contains(letter) {
                return Err(format!(
                    "Illegal option `--{}' with this command",
                    option.long
                ));
            }
        }
        if self.given.contains(&"zero") {
            return Err(
                "-z is not supported: counters of flows belong to the packet path".to_owned(),
            );
        }
        let given = |option: &str| self.given.contains(&option);
        match (command, self.table) {
            (Command::Get, Table::Conntrack) if !given("protonum") => {
                Err("You need to supply the `--protonum' option for this command".to_owned())
            }
            (Command::Get | Command::Delete, Table::Expect) if !given("src") => {
                Err("You need to supply the `--src' option for this command".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// A flow is got by a whole tuple.
    fn check_get(&self) -> Result<(), Usage> {
        let query = &self.query;
        let both = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some();
        if query.src.is_some() != query.dst.is_some() {
            return Err("you have to specify `--src' and `--dst'".to_owned());
        }
        match self.protocol {
            Some(1 | 58) => {
                let name = if self.protocol == Some(1) {
                    "icmp"
                } else {
                    "icmpv6"
                };
                for (value, option) in [
                    (&query.icmp_type, "type"),
                    (&query.icmp_code, "code"),
                    (&query.icmp_id, "id"),
                ] {
                    if value.is_none() {
                        return Err(format!(
                            "You need to supply the `--{name}-{option}' option for this command"
                        ));
                    }
                }
                Ok(())
            }
            Some(6 | 17 | 33 | 132 | 136)
                if !both(&query.sport, &query.dport)
                    && !both(&query.reply_sport, &query.reply_dport) =>
            {
                Err("you have to specify `--sport' and `--dport'".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// An argument that may be left out.
fn optional<'w>(rest: Rest<'_, 'w>) -> Option<&'w str> {
    let word = rest.as_slice().first()?;
    (!word.starts_with('-')).then(|| {
        rest.next();
        word.as_str()
    })
}

fn refused(letter: char) -> Usage {
    format!("-{letter} is not supported: flows are made by packets only")
}

/// A number as far as the text is one, as strtoul(3) with base 0 reads it.
fn number(text: &str) -> u32 {
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

fn protocol(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().chain(OTHER_PROTOCOLS);
    named
        .clone()
        .find(|(name, _)| *name == text)
        .map(|(_, number)| *number)
        .or_else(|| text.parse().ok())
}

fn status(list: &str) -> Result<String, Usage> {
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

fn event_kinds(list: &str) -> Result<EventKinds, Usage> {
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
fn prefix_of(mask: IpAddr) -> Option<u32> {
    let (number, bits) = match mask {
        IpAddr::V4(mask) => (u128::from(u32::from(mask)) << 96, 32),
        IpAddr::V6(mask) => (u128::from(mask), 128),
    };
    let ones = number.leading_ones();
    (number.count_ones() == ones && ones <= bits).then_some(ones)
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
