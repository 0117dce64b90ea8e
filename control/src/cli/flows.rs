//! `sluice flows`

use std::io::{self, Write};

use serde::Serialize;

use super::table::Table;
use super::{Failed, print, wait};
use crate::api::flow::{Conntrack, ConntrackChange, Flow, FlowCount, FlowQuery, FlowSide, Saved};
use crate::client::Client;
use crate::events::now_ns;

/// What `sluice flows` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What to do; default: list
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    which: Which,
    /// Sort by bytes, packets, age, src or dst (the first 1000, unless --limit says otherwise)
    #[arg(long, value_name = "KEY")]
    sort: Option<String>,
    /// At most so many
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Print one JSON object per line (of a count: one JSON object)
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Say how many there are, by protocol and state
    Count(Which),
    /// End connections
    Delete(DeleteOptions),
    /// Show the tracker's settings and figures
    Tracker,
    /// Change settings of the tracker, until the next start
    Set(SetOptions),
    /// Save the table into the state folder
    Save,
}

#[derive(Clone, Debug, clap::Args)]
struct DeleteOptions {
    #[command(flatten)]
    which: Which,
    /// All of them
    #[arg(long)]
    all: bool,
}

/// Which flows are meant; a flow must fit all that is given.
#[derive(Clone, Debug, Default, clap::Args)]
struct Which {
    /// ipv4 or ipv6
    #[arg(long)]
    family: Option<String>,
    /// Protocol, by name or number
    #[arg(long, short)]
    protocol: Option<String>,
    /// An address or network on either side
    #[arg(long, short)]
    address: Option<String>,
    /// Source of the first packet, or a network
    #[arg(long)]
    src: Option<String>,
    /// Destination of the first packet, or a network
    #[arg(long)]
    dst: Option<String>,
    /// A port on either side, by number or name
    #[arg(long)]
    port: Option<String>,
    /// Source port of the first packet, by number or name
    #[arg(long)]
    sport: Option<String>,
    /// Destination port of the first packet, by number or name
    #[arg(long)]
    dport: Option<String>,
    /// State of the protocol: established, time_wait ...
    #[arg(long)]
    state: Option<String>,
    /// assured, seen-reply, unreplied ..., separated by commas
    #[arg(long)]
    status: Option<String>,
    /// Zone
    #[arg(long)]
    zone: Option<String>,
    /// Connection mark, or mark/mask
    #[arg(long)]
    mark: Option<String>,
    /// Number of a connection
    #[arg(long)]
    id: Option<String>,
}

#[derive(Clone, Debug, clap::Args)]
struct SetOptions {
    /// Timeouts of a profile: linux or rfc
    #[arg(long)]
    profile: Option<String>,
    /// Pick TCP up in mid-stream
    #[arg(long, value_name = "BOOL")]
    loose: Option<bool>,
    /// Hold only resets against the TCP window
    #[arg(long, value_name = "BOOL")]
    liberal: Option<bool>,
    /// Verify checksums
    #[arg(long, value_name = "BOOL")]
    verify_checksums: Option<bool>,
    /// A timeout, as tcp.established=5d or icmp.timeout=30
    #[arg(long = "timeout", value_name = "PROTOCOL.STATE=TIME")]
    timeouts: Vec<String>,
}

impl Which {
    fn query(&self) -> FlowQuery {
        FlowQuery {
            family: self.family.clone(),
            protocol: self.protocol.clone(),
            address: self.address.clone(),
            src: self.src.clone(),
            dst: self.dst.clone(),
            port: self.port.clone(),
            sport: self.sport.clone(),
            dport: self.dport.clone(),
            state: self.state.clone(),
            status: self.status.clone(),
            zone: self.zone.clone(),
            mark: self.mark.clone(),
            id: self.id.clone(),
            ..FlowQuery::default()
        }
    }
}

/// The path of a collection with a query.
pub(super) fn path(base: &str, query: &FlowQuery) -> Result<String, Failed> {
    let value = serde_json::to_value(query).map_err(io::Error::other)?;
    let pairs = value.as_object().into_iter().flatten();
    let pairs: Vec<String> = pairs
        .filter_map(|(key, value)| Some(format!("{key}={}", escaped(value.as_str()?))))
        .collect();
    Ok(if pairs.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", pairs.join("&"))
    })
}

/// A value as it may stand in a query.
fn escaped(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/,".contains(&byte);
    value
        .bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

pub(super) fn main(client: &Client, options: &Options) -> Result<(), Failed> {
    match &options.action {
        None => list(client, options),
        Some(Action::Count(which)) => {
            let path = path("/v1/flows/count", &which.query())?;
            let count: FlowCount = wait(client.get(&path))?.body;
            print(options.json, &count, count_text)
        }
        Some(Action::Delete(delete)) => {
            let mut query = delete.which.query();
            query.all = delete.all.then(|| "true".to_owned());
            let path = path("/v1/flows", &query)?;
            let mut count = 0u64;
            let json = options.json;
            wait(client.delete_lines(&path, |line| {
                count += 1;
                if json {
                    writeln!(io::stdout().lock(), "{line}")?;
                }
                Ok(true)
            }))?;
            if !json {
                writeln!(io::stdout().lock(), "{count} flows ended")?;
            }
            Ok(())
        }
        Some(Action::Tracker) => {
            let conntrack: Conntrack = wait(client.get("/v1/conntrack"))?.body;
            print(options.json, &conntrack, tracker_text)
        }
        Some(Action::Set(set)) => {
            let settings: crate::api::flow::ConntrackSettings =
                wait(client.post("/v1/conntrack", &set.change()?))?.body;
            print(options.json, &settings, |_| "done\n".to_owned())
        }
        Some(Action::Save) => {
            let saved: Saved = wait(client.post("/v1/conntrack/save", &Empty {}))?.body;
            print(options.json, &saved, |saved| {
                format!("{} flows saved in {}\n", saved.flows, saved.file)
            })
        }
    }
}

#[derive(Serialize)]
struct Empty {}

impl SetOptions {
    fn change(&self) -> Result<ConntrackChange, Failed> {
        let mut change = ConntrackChange {
            profile: self.profile.clone(),
            loose: self.loose,
            liberal: self.liberal,
            verify_checksums: self.verify_checksums,
            ..ConntrackChange::default()
        };
        for text in &self.timeouts {
            let bad = || {
                Failed::Text(format!(
                    "sluice: --timeout {text}: expected PROTOCOL.STATE=TIME, as tcp.established=5d"
                ))
            };
            let (place, time) = text.split_once('=').ok_or_else(bad)?;
            let (protocol, state) = place.split_once('.').ok_or_else(bad)?;
            let seconds = match time.parse() {
                Ok(seconds) => seconds,
                Err(_) => humantime::parse_duration(time)
                    .map_err(|_| bad())?
                    .as_secs(),
            };
            let states = change.timeouts.entry(protocol.to_owned()).or_default();
            states.insert(state.to_owned(), seconds);
        }
        Ok(change)
    }
}

/// Rows that are laid out together: a list of a million flows is not held back until its end.
const ROWS: usize = 1000;

const HEADING: &[&str] = &[
    "PROTOCOL", "STATE", "FROM", "TO", "STATUS", "TIMEOUT", "AGE", "PACKETS", "BYTES", "MARK",
    "ZONE",
];

fn list(client: &Client, options: &Options) -> Result<(), Failed> {
    let mut query = options.which.query();
    query.sort = options.sort.clone();
    query.limit = options.limit.map(|limit| limit.to_string());
    let path = path("/v1/flows", &query)?;
    let mut table = Table::new(HEADING);
    let (mut rows, now) = (0, now_ns());
    let json = options.json;
    wait(client.follow(&path, |line| {
        if json {
            writeln!(io::stdout().lock(), "{line}")?;
            return Ok(true);
        }
        let flow: Flow = serde_json::from_str(line).map_err(io::Error::other)?;
        table.row(row(&flow, now));
        rows += 1;
        if rows % ROWS == 0 {
            let full = std::mem::replace(&mut table, Table::new(HEADING));
            write!(io::stdout().lock(), "{full}")?;
        }
        Ok(true)
    }))?;
    if !json && (rows == 0 || rows % ROWS != 0) {
        write!(io::stdout().lock(), "{table}")?;
    }
    Ok(())
}

fn row(flow: &Flow, now_ns: u64) -> [String; 11] {
    const SECOND_NS: u64 = 1_000_000_000;
    let (there, back) = (&flow.original, &flow.reply);
    let protocol = match flow.protocol_name.as_str() {
        "unknown" => flow.protocol.to_string(),
        name => name.to_owned(),
    };
    let shown = |name: &&String| !matches!(name.as_str(), "confirmed" | "seen-reply");
    let mut status: Vec<&str> = flow
        .status
        .iter()
        .filter(shown)
        .map(String::as_str)
        .collect();
    if !flow.status.iter().any(|name| name == "seen-reply") {
        status.insert(0, "unreplied");
    }
    [
        protocol,
        flow.state.clone().unwrap_or_else(|| "-".to_owned()),
        end_point(there.src, there.sport),
        match there.icmp {
            Some(icmp) => format!("{} type {} id {}", there.dst, icmp.kind, icmp.id),
            None => end_point(there.dst, there.dport),
        },
        status.join(","),
        flow.timeout.to_string(),
        (now_ns.saturating_sub(flow.start_ns) / SECOND_NS).to_string(),
        format!("{}/{}", there.packets, back.packets),
        format!("{}/{}", there.bytes, back.bytes),
        flow.mark.to_string(),
        match (there.zone, back.zone) {
            (there, back) if there == back => there.to_string(),
            (there, back) => format!("{there}/{back}"),
        },
    ]
}

fn end_point(address: std::net::IpAddr, port: Option<u16>) -> String {
    match port {
        Some(port) => std::net::SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

/// Both ends of a direction.
pub(super) fn end_points(side: &FlowSide) -> String {
    let (src, dst) = (
        end_point(side.src, side.sport),
        end_point(side.dst, side.dport),
    );
    format!("{src} -> {dst}")
}

fn count_text(count: &FlowCount) -> String {
    let mut table = Table::new(&["PROTOCOL", "STATE", "FLOWS"]);
    for (protocol, flows) in &count.protocols {
        match count.states.get(protocol) {
            None => table.row([protocol.clone(), "-".to_owned(), flows.to_string()]),
            Some(states) => {
                for (state, flows) in states {
                    table.row([protocol.clone(), state.clone(), flows.to_string()]);
                }
            }
        }
    }
    format!("{table}{} flows\n", count.flows)
}

fn tracker_text(conntrack: &Conntrack) -> String {
    let settings = &conntrack.settings;
    let mut text = format!(
        "{} of {} flows, {} expected\nloose {}, liberal {}, verify checksums {}\n\n",
        conntrack.flows,
        conntrack.max,
        conntrack.expected,
        settings.loose,
        settings.liberal,
        settings.verify_checksums
    );
    let mut table = Table::new(&["PROTOCOL", "STATE", "SECONDS"]);
    for (protocol, states) in &settings.timeouts {
        for (state, seconds) in states {
            table.row([protocol.clone(), state.clone(), seconds.to_string()]);
        }
    }
    text += &format!("{table}\n");
    let mut table = Table::new(&["COUNTER", "ALL WORKERS"]);
    let names = conntrack.workers.first().into_iter().flatten();
    for (name, _) in names {
        let sum: u64 = conntrack
            .workers
            .iter()
            .filter_map(|worker| worker.get(name))
            .sum();
        table.row([name.clone(), sum.to_string()]);
    }
    for (reason, count) in &conntrack.invalid {
        table.row([format!("invalid: {reason}"), count.to_string()]);
    }
    for (name, count) in &conntrack.synproxy {
        table.row([format!("synproxy: {name}"), count.to_string()]);
    }
    text + &table.to_string()
}
