//! What travels over the control socket, as JSON. The daemon, the client and the OpenAPI document
//! share these types.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::event::{Event, Happening};
use crate::appliance::Driver;

/// Why a request was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// For a person. For rulesets: what nft would print on standard error.
    pub error: String,
    /// The same as data, where a text was refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<Complaint>,
    /// The generation in force, where another one was expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// One complaint about a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Complaint {
    /// File, or `<cmdline>`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// First column, from 1.
    pub column: u32,
    /// Last column, from 1, inclusive.
    pub end_column: u32,
    /// What is wrong.
    pub message: String,
}

/// A file as the client found it: its text, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileText {
    /// The text.
    Text(String),
    /// The system's reason.
    Error(String),
}

/// A command of nft(8): one transaction. Either `text` or `file` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NftCommand {
    /// Words of a command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The path of a file with commands; its text is in `files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Every file that the commands need, included ones too, by path: the daemon opens none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileText>,
    /// What the patterns of include statements match.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub globs: BTreeMap<String, Vec<String>>,
    /// `-I`: folders that are searched for included files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include_paths: Vec<String>,
    /// `-D name=value`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub defines: Vec<(String, String)>,
    /// `-c`: check only.
    #[serde(default)]
    pub check: bool,
    /// How to print.
    #[serde(default)]
    pub options: NftPrint,
    /// Refused (409) unless this is the generation in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// nft's options for printing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NftPrint {
    /// `-a`
    pub handle: bool,
    /// `-s`
    pub stateless: bool,
    /// `-t`
    pub terse: bool,
    /// `-S`
    pub service: bool,
    /// `-N`
    pub reverse_dns: bool,
    /// `-u`
    pub guid: bool,
    /// `-n`
    pub numeric: bool,
    /// `-y`
    pub numeric_priority: bool,
    /// `-p`
    pub numeric_protocol: bool,
    /// `-T`
    pub numeric_time: bool,
    /// `-e`
    pub echo: bool,
    /// `-j`
    pub json: bool,
    /// `-o`
    pub optimize: bool,
}

/// The answer to a command of nft(8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NftAnswer {
    /// For standard output.
    pub output: String,
    /// For standard error, one line each.
    pub warnings: Vec<String>,
    /// Whether the ruleset is another one now.
    pub changed: bool,
    /// The generation in force.
    pub generation: u64,
}

/// A command line of ipset(8). Each command is done by itself, as in the original: what was done
/// before a refused one stays. `restore --atomic` does all of its lines or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IpsetCommand {
    /// The words behind the program's name.
    pub words: Vec<String>,
    /// For `restore`: the lines. The daemon opens no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// `input` is one line of the interactive mode.
    #[serde(default)]
    pub interactive: bool,
    /// Addresses of host names: the daemon asks no resolver.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, Vec<std::net::IpAddr>>,
    /// Refused (409) unless this is the generation in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

/// The answer to a command line of ipset(8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IpsetAnswer {
    /// For standard output.
    pub output: String,
    /// For standard error.
    pub errors: String,
    /// The exit code: 0 done, 1 refused or not in the set, 2 wrong usage.
    pub code: u8,
    /// The interactive mode ends here.
    pub quit: bool,
    /// Whether anything changed.
    pub changed: bool,
    /// The line of `restore` that was refused, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Host names that were not in `hosts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_hosts: Vec<String>,
    /// The generation in force.
    pub generation: u64,
}

/// What the daemon is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// `wire` or `workbench`.
    pub mode: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since the start.
    pub uptime_seconds: u64,
    /// The generation in force.
    pub generation: u64,
    /// Its objects.
    pub ruleset: RulesetSize,
    /// Ports.
    pub ports: Vec<PortStatus>,
    /// Workers.
    pub workers: Vec<WorkerStatus>,
    /// Frames dropped, all reasons.
    pub dropped: u64,
}

/// How much there is in a ruleset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RulesetSize {
    /// Tables.
    pub tables: u64,
    /// Chains.
    pub chains: u64,
    /// Rules.
    pub rules: u64,
    /// Sets and maps.
    pub sets: u64,
    /// Bytes of the compiled program.
    pub program_bytes: u64,
}

/// A port to be opened: the keys of `[[port]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortRequest {
    /// The device; `netns:device` for one in another namespace.
    pub device: String,
    /// What rules call it; default: the device's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `meta iifgroup`.
    #[serde(default)]
    pub group: u32,
    /// Whether the device may be changed so that it can be used.
    #[serde(default)]
    pub prepare: bool,
    /// Wire: the port where frames from here go.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub peer: String,
    /// The pair's name for ibrname and obrname.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// How frames come and go.
    #[serde(default)]
    pub driver: Driver,
    /// Gateway: addresses with the prefix lengths of their networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Gateway: prefixes that ARP and ND answer for beside the addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxy: Vec<String>,
}

/// One route of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteStatus {
    /// Where to.
    pub to: String,
    /// `unicast`, `blackhole`, `unreachable` or `prohibit`.
    pub kind: String,
    /// Next hops.
    pub hops: Vec<HopStatus>,
    /// The lowest wins.
    pub metric: u32,
    /// Largest packet on the way, where it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Number of the table; 254 is the main one.
    pub table: u32,
    /// `connected` or `static`.
    pub origin: String,
}

/// One next hop of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HopStatus {
    /// The way out.
    pub port: String,
    /// The neighbour; none: the destinations are neighbours themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Its share.
    pub weight: u16,
    /// Whether the port is up.
    pub up: bool,
}

/// One neighbour of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NeighbourStatus {
    /// The port whose network it is in.
    pub port: String,
    /// Its address.
    pub address: String,
    /// Its MAC address, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// `incomplete`, `reachable`, `stale`, `delay`, `probe` or `failed`.
    pub state: String,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortStatus {
    /// What rules call it.
    pub name: String,
    /// The device.
    pub device: String,
    /// The driver.
    pub driver: String,
    /// The port's number in this daemon.
    pub index: u32,
    /// Where its frames go.
    pub peer: Option<String>,
    /// Gateway: its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// `meta iifgroup`.
    pub group: u32,
    /// One per worker.
    pub queues: Vec<QueueStatus>,
}

/// What a queue has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueStatus {
    /// Frames that came.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Frames that the kernel dropped at the full ring.
    pub rx_ring_drops: u64,
    /// Frames that could not be handed on.
    pub rx_errors: u64,
    /// Frames that left.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Times that the way out was full and was tried again.
    pub tx_retries: u64,
    /// Frames that the way out refused.
    pub tx_refused: u64,
}

/// One worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatus {
    /// Its number.
    pub worker: u32,
    /// The CPU that it runs on, if it is pinned.
    pub cpu: Option<u32>,
    /// Nanoseconds spent on frames.
    pub busy_ns: u64,
    /// Nanoseconds spent waiting.
    pub idle_ns: u64,
    /// Batches carried.
    pub batches: u64,
    /// Frames carried.
    pub frames: u64,
    /// How often it failed and was started again.
    pub restarts: u64,
}

/// A set whose elements come from a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetSourceStatus {
    /// Family of the set's table.
    pub family: String,
    /// The set's table.
    pub table: String,
    /// The set.
    pub set: String,
    /// The file.
    pub file: String,
    /// How it is written: `list`, `ipset` or `csv`.
    pub format: String,
    /// Whether it is read again when it changes.
    pub watch: bool,
    /// Entries of the file when it was last read well, before what overlaps became one.
    pub entries: u64,
    /// Elements that they make in the set.
    pub elements: u64,
    /// Entries that country or set left out, and ranges of the other family.
    pub passed_over: u64,
    /// When the contents in force were read, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded_at: Option<u64>,
    /// How long that took, from opening the file to the new generation.
    pub load_ms: u64,
    /// How often the file was read well.
    pub loads: u64,
    /// How often it could not be had.
    pub failures: u64,
    /// Since when it cannot, in seconds since 1970: what was there before is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<u64>,
    /// Why: file, line and word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Which sets are to be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetReload {
    /// `SET`, `TABLE SET` or `FAMILY TABLE SET`; without it, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Why frames ended here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Drops {
    /// Every reason with its count.
    pub reasons: Vec<DropCount>,
    /// The last dropped frames, oldest first.
    pub frames: Vec<DroppedFrame>,
}

/// A drop reason and how often it was met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DropCount {
    /// The reason's stable name.
    pub reason: String,
    /// One sentence about it.
    pub help: String,
    /// Frames.
    pub frames: u64,
}

/// A frame that was dropped lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DroppedFrame {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Why.
    pub reason: String,
    /// The port by which it came.
    pub port: String,
    /// The rule that dropped it, where it was a rule: family, table, chain and handle.
    pub rule: Option<String>,
    /// The generation that judged it.
    pub generation: u64,
    /// Its length in bytes.
    pub length: u32,
    /// Source and destination, protocol and ports, as far as the frame says.
    pub summary: String,
    /// Its first bytes, in hexadecimal.
    #[schemars(with = "String")]
    pub bytes: Hex,
}

/// Bytes; hexadecimal digits in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hex(pub Vec<u8>);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write as _;
        let mut digits = String::with_capacity(self.0.len() * 2);
        for byte in &self.0 {
            write!(digits, "{byte:02x}").map_err(serde::ser::Error::custom)?;
        }
        serializer.serialize_str(&digits)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        if !digits.is_ascii() || digits.len() % 2 != 0 {
            return Err(serde::de::Error::custom(
                "expected pairs of hexadecimal digits",
            ));
        }
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16);
        let bytes: Result<_, _> = (0..digits.len()).step_by(2).map(byte).collect();
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// The compiled program, for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Program {
    /// The generation.
    pub generation: u64,
    /// Bytes of the program.
    pub bytes: u64,
    /// Its instructions, one per line.
    pub text: String,
}
