//! What of a conntrack(8) command line goes together, and what it has to have.

use super::super::words::{COMMANDS, OPTIONS};
use super::{Command, Parser, Table, Usage};

impl Parser {
    /// What is a condition elsewhere is a value where flows are made or changed.
    pub(super) fn take_values(&mut self) {
        let query = &mut self.query;
        self.made.mark = query.mark.take();
        self.made.state = query.state.take();
        let names = query.status.take().unwrap_or_default();
        // Those stand for bits that are not set, or that no flow here has.
        let nothing = ["", "unset", "unreplied", "offload", "hw-offload"];
        let names = names.split(',').filter(|name| !nothing.contains(name));
        let condition = ["snat", "dnat"];
        let (of, set): (Vec<&str>, Vec<&str>) = names.partition(|name| condition.contains(name));
        query.status = (!of.is_empty()).then(|| of.join(","));
        self.made.status = set.into_iter().map(str::to_owned).collect();
    }

    /// Whether command, table and options go together.
    pub(super) fn check(&self, command: Command) -> Result<(), Usage> {
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
        if matches!(command, Command::Insert | Command::Add) {
            self.check_made(command)?;
        }
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
            (Command::Update, Table::Expect) => Err("Can't do --update on expectations".to_owned()),
            (Command::Get, Table::Conntrack) if !given("protonum") => {
                Err("You need to supply the `--protonum' option for this command".to_owned())
            }
            (Command::Get | Command::Delete, Table::Expect) if !given("src") => {
                Err("You need to supply the `--src' option for this command".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// A flow is made of a protocol, a timeout and addresses.
    fn check_made(&self, command: Command) -> Result<(), Usage> {
        let given = |option: &str| self.given.contains(&option);
        let needed =
            |option| format!("You need to supply the `--{option}' option for this command");
        if self.table == Table::Expect {
            return Err(match command {
                Command::Add => "Can't do --add on expectations".to_owned(),
                _ => "-I is not supported for expectations: helpers announce them".to_owned(),
            });
        }
        for option in ["protonum", "timeout"] {
            if !given(option) {
                return Err(needed(option));
            }
        }
        Ok(())
    }

    /// What the protocol of a flow that is made needs.
    pub(super) fn check_made_tuple(&self) -> Result<(), Usage> {
        let query = &self.query;
        let ends = [&query.src, &query.dst, &query.reply_src, &query.reply_dst];
        let [src, dst, reply_src, reply_dst] = ends.map(Option::is_some);
        if src != dst || !(src || reply_src || reply_dst) {
            return Err("you have to specify `--src' and `--dst'".to_owned());
        }
        if !src && reply_src != reply_dst {
            return Err("you have to specify `--reply-src' and `--reply-dst'".to_owned());
        }
        let [orig_vtag, reply_vtag] = self.made.vtags.map(|tag| tag.is_some());
        let protocol = self.protocol;
        let needed = [
            (
                matches!(protocol, Some(6 | 33 | 132)),
                self.made.state.is_some(),
                "state",
            ),
            (protocol == Some(132), orig_vtag, "orig-vtag"),
            (protocol == Some(132), reply_vtag, "reply-vtag"),
            (protocol == Some(33), self.made.role.is_some(), "role"),
        ];
        let missing = needed.iter().find(|(asked, given, _)| *asked && !given);
        match missing {
            Some((.., option)) => Err(format!(
                "You need to supply the `--{option}' option for this command"
            )),
            None => self.check_ports(false),
        }
    }

    /// A flow is got by a whole tuple.
    pub(super) fn check_get(&self) -> Result<(), Usage> {
        let query = &self.query;
        if query.src.is_some() != query.dst.is_some() {
            return Err("you have to specify `--src' and `--dst'".to_owned());
        }
        self.check_ports(true)
    }

    /// Whether what stands for ports is there, of ICMP perhaps with its id.
    fn check_ports(&self, id: bool) -> Result<(), Usage> {
        let query = &self.query;
        let both = |one: &Option<String>, other: &Option<String>| one.is_some() && other.is_some();
        let ports =
            both(&query.sport, &query.dport) || both(&query.reply_sport, &query.reply_dport);
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
                    if value.is_none() && (id || option != "id") {
                        return Err(format!(
                            "You need to supply the `--{name}-{option}' option for this command"
                        ));
                    }
                }
                Ok(())
            }
            Some(6 | 17 | 33 | 132 | 136) if !ports => {
                Err("you have to specify `--sport' and `--dport'".to_owned())
            }
            Some(47) if !ports && !id => {
                Err("you have to specify `--srckey' and `--dstkey'".to_owned())
            }
            _ => Ok(()),
        }
    }
}
