//! The appliance file: what `sluice run --config FILE` and `sluice check FILE` read.
//!
//! TOML text -> [`Appliance`], in which every name has been checked against the others of the
//! file (peers exist, names are unique). Nothing here asks the machine: whether a device, a user
//! or a ruleset file exists is found out by whoever uses it.

pub mod conntrack;
mod error;
pub mod gateway;
mod read;
mod section;
mod set_source;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sluice_config::engine::SetPlace;
use sluice_config::set_file::Reading;

pub use error::{FileError, FileErrors};

/// Where the control socket lies when nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/sluice/control.sock";

/// A read and checked appliance file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appliance {
    /// Workers and how they wait.
    pub dataplane: Dataplane,
    /// Ports that are opened at start.
    pub ports: Vec<Port>,
    /// The ruleset in force at start.
    pub ruleset: Ruleset,
    /// Sets whose elements come from files.
    pub set_sources: Vec<SetSource>,
    /// The control socket and who may use it.
    pub control: Control,
    /// The metrics listener, if there is one.
    pub metrics: Option<Metrics>,
    /// Where log statements go beside the event stream.
    pub log: Log,
    /// The daemon as a process.
    pub daemon: Daemon,
    /// The connection tracker.
    pub conntrack: sluice_dataplane::conntrack::Settings,
    /// Static routes.
    pub routes: Vec<gateway::Route>,
    /// What the gateway mode has beside its ports and routes.
    pub gateway: gateway::Gateway,
}

impl Appliance {
    /// Whether no frame will ever come: neither a mode nor a port is named.
    pub fn is_workbench(&self) -> bool {
        self.dataplane.mode.is_none() && self.ports.is_empty()
    }
}

/// `[dataplane]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataplane {
    /// What the ports are; `None`: a wire when there are ports, else a workbench.
    pub mode: Option<Mode>,
    /// How many workers; `None`: one per CPU that the process may run on.
    pub workers: Option<usize>,
    /// The CPU of each worker; empty: the first ones that the process may run on.
    pub cpus: Vec<usize>,
    /// How a worker waits for frames.
    pub wait: Wait,
}

/// What the ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Pairs: what comes in by one leaves by the other.
    Wire,
    /// A router: ports have addresses.
    Gateway,
}

/// How a port's frames come and go.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Driver {
    /// Any network device.
    #[default]
    AfPacket,
    /// A TAP device that is made, or taken over: its other end is a host of this kernel.
    Tap,
    /// The same without Ethernet.
    Tun,
}

impl Driver {
    /// As the file says it.
    pub fn word(self) -> &'static str {
        match self {
            Self::AfPacket => "af-packet",
            Self::Tap => "tap",
            Self::Tun => "tun",
        }
    }
}

/// How a worker waits for frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Spins briefly after work, then sleeps until a frame is there.
    #[default]
    Adaptive,
    /// Sleeps as soon as there is nothing to do.
    Poll,
    /// Never sleeps.
    Busy,
}

/// `[[port]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The device, without its namespace.
    pub device: String,
    /// The namespace in which the device lies; `None`: the daemon's own.
    pub netns: Option<String>,
    /// What rules call `iifname` / `oifname`.
    pub name: String,
    /// `meta iifgroup` / `oifgroup`.
    pub group: u32,
    /// Whether the device may be changed so that it can be used.
    pub prepare: bool,
    /// Wire: the port where frames from here go; empty in a gateway.
    pub peer: String,
    /// How frames come and go.
    pub driver: Driver,
    /// Gateway: its addresses with their networks' prefix lengths.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Gateway: prefixes that it answers for beside its own addresses.
    pub proxy: Vec<(IpAddr, u8)>,
    /// The pair's name for `ibrname` / `obrname`.
    pub bridge: Option<String>,
}

/// `[ruleset]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// Files in force at every start, in this order, as one transaction.
    pub files: Vec<PathBuf>,
    /// Files of `ipset save`, restored before them.
    pub ipsets: Vec<PathBuf>,
    /// Whether changes by the socket are kept in the state folder.
    pub persist: bool,
    /// The state folder.
    pub state: PathBuf,
}

impl Default for Ruleset {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            ipsets: Vec::new(),
            persist: false,
            state: PathBuf::from("/var/lib/sluice"),
        }
    }
}

/// `[[set-source]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSource {
    /// The set that is filled.
    pub place: SetPlace,
    /// The file that has its elements.
    pub file: PathBuf,
    /// How it is read.
    pub reading: Reading,
    /// Whether the file is read again when it changes.
    pub watch: bool,
    /// Whether the daemon refuses to start when the file cannot be had.
    pub required: bool,
}

/// `[control]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Where the socket lies.
    pub socket: PathBuf,
    /// The socket's permission bits.
    pub mode: u32,
    /// The socket's group.
    pub group: Option<String>,
    /// Who may change; `None`: root and the socket's owner.
    pub change: Option<Vec<Who>>,
    /// Who may read beside those who may change; `None`: whoever can connect.
    pub read: Option<Vec<Who>>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: PathBuf::from(DEFAULT_SOCKET),
            mode: 0o660,
            group: None,
            change: None,
            read: None,
        }
    }
}

/// A user, or the members of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A user by name.
    User(String),
    /// The members of a group, written `@group`.
    Group(String),
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where the exposition is served.
    pub listen: SocketAddr,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// A file that log statements are appended to.
    pub file: Option<PathBuf>,
    /// Whether they go to the system log too.
    pub syslog: bool,
    /// Lines a second that file and system log take at most (0: no limit); what is above is
    /// counted and reported.
    pub per_second: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            file: None,
            syslog: false,
            per_second: 1000,
        }
    }
}

/// `[daemon]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Daemon {
    /// The user that the daemon becomes once its privileged part has been split off.
    pub user: Option<String>,
}
