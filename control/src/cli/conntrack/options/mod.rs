//! Words of a conntrack(8) command line, and what of them goes together.
//!
//! Complaints are those of conntrack 1.4.7. As there, an option may stand anywhere, numbers are read
//! as far as they are numbers, and options of a protocol (`--dport`) are known behind its `-p` only.

mod check;

use std::net::IpAddr;

use super::words::{
    Argument, COMMANDS, DCCP_STATES, OPTIONS, Opt, REFUSED, SCTP_STATES, TCP_STATES, event_kinds,
    labels, number, prefix_of, protocol, status,
};
use crate::api::flow::FlowQuery;

/// Why a command line is not carried out, without the program's name.
pub(super) type Usage = String;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    List,
    Get,
    Delete,
    Insert,
    Add,
    Update,
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

/// What a flow that is made or changed is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) timeout: Option<u32>,
    pub(super) state: Option<String>,
    pub(super) status: Vec<String>,
    /// A mark, or mark/mask.
    pub(super) mark: Option<String>,
    pub(super) labels_add: Vec<u8>,
    pub(super) labels_del: Vec<u8>,
    /// SCTP: the verification tag of each direction.
    pub(super) vtags: [Option<u32>; 2],
    /// DCCP: whether the first packet is a `client`'s or a `server`'s.
    pub(super) role: Option<String>,
    /// Flows that are translated are asked for.
    pub(super) translated: bool,
}

/// A command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) command: Command,
    pub(super) table: Table,
    pub(super) query: FlowQuery,
    pub(super) made: Made,
    pub(super) output: Output,
    pub(super) events: EventKinds,
}

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
    made: Made,
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
        if name == REFUSED.1 {
            return Err(refused(REFUSED.0));
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
            if letter == REFUSED.0 {
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
            "src" => self.query.src = Some(self.masked(value, "mask-src")?),
            "dst" => self.query.dst = Some(self.masked(value, "mask-dst")?),
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
            "timeout" => self.made.timeout = Some(number(value)),
            "label-add" => self.made.labels_add = labels(value)?,
            // Without names: all of them.
            "label-del" if value.is_empty() => self.made.labels_del = (0..128).collect(),
            "label-del" => self.made.labels_del = labels(value)?,
            // -z is refused below, -b changes nothing of what is asked for.
            _ => {}
        }
        Ok(())
    }

    /// Flows that are translated, to an address if one is given.
    fn translated(&mut self, name: &str, value: &str) -> Result<(), Usage> {
        self.made.translated = true;
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
            "orig-vtag" | "reply-vtag" => self.protocol == Some(132),
            "role" => self.protocol == Some(33),
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
            "orig-vtag" => self.made.vtags[0] = Some(number(value)),
            "reply-vtag" => self.made.vtags[1] = Some(number(value)),
            "role" if matches!(value, "client" | "server") => {
                self.made.role = Some(value.to_owned());
            }
            "role" => return Err(format!("unknown role `{value}'")),
            _ => {
                let (name, states) = match self.protocol {
                    Some(132) => ("SCTP", SCTP_STATES),
                    Some(33) => ("DCCP", DCCP_STATES),
                    _ => ("TCP", TCP_STATES),
                };
                if !states.contains(&value) {
                    return Err(format!("unknown {name} state `{value}'"));
                }
                // An old name of it, which is what the option knows.
                let state = if value == "LISTEN" {
                    "SYN_SENT2"
                } else {
                    value
                };
                query.state = Some(state.to_owned());
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

    /// An address, or a network, which is an address with the option of its mask.
    fn masked(&mut self, text: &str, mask: &'static str) -> Result<String, Usage> {
        if text.contains('/') {
            self.given.push(mask);
        }
        self.network(text)
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
        if matches!(command, Command::Insert | Command::Add | Command::Update) {
            self.take_values();
        }
        match command {
            Command::Get if self.table == Table::Conntrack => self.check_get()?,
            Command::Insert | Command::Add => self.check_made_tuple()?,
            _ => {}
        }
        Ok(Call {
            command,
            table: self.table,
            query: self.query,
            made: self.made,
            output: self.output,
            events: self.events.unwrap_or(EventKinds {
                new: true,
                update: true,
                destroy: true,
            }),
        })
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
    format!("-{letter} is not supported: commands are not read from a file")
}

#[cfg(test)]
mod tests;
