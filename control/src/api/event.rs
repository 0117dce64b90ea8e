//! What happens while the daemon runs, as it travels over the control socket.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flow::Flow;

/// Something that happened. One JSON object per line of the event stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// A log statement.
    Log {
        /// The statement's prefix.
        prefix: String,
        /// Its level, as syslog counts (4: warning).
        level: u8,
        /// The line as Linux would log it.
        text: String,
        /// The port by which the packet came.
        in_port: String,
        /// The port by which it will leave, where that is known.
        out_port: String,
        /// Length of the packet in bytes.
        length: u32,
    },
    /// One step of a traced packet.
    Trace {
        /// The packet's number.
        packet: u64,
        /// The step.
        text: String,
    },
    /// Frames were dropped since the last such event.
    Drops {
        /// Frames per reason.
        reasons: BTreeMap<String, u64>,
    },
    /// The ruleset has changed.
    Change {
        /// The new generation.
        generation: u64,
        /// Who changed it.
        by: String,
        /// What changed, as nft's monitor prints it.
        changes: Vec<String>,
    },
    /// A worker failed and was started again on the same queues.
    WorkerRestart {
        /// Its number.
        worker: u32,
        /// What it said.
        message: String,
    },
    /// A port came or went.
    Port {
        /// Its name.
        name: String,
        /// Whether it is there now.
        present: bool,
    },
    /// A port's device has changed.
    Link {
        /// The port.
        name: String,
        /// `up`, `down`, `gone` or `back`.
        state: String,
    },
    /// A set was filled from its file, or its file could not be had.
    SetSource {
        /// Family, table and name of the set.
        set: String,
        /// The file.
        file: String,
        /// Elements that the set has.
        elements: u64,
        /// Elements that are new.
        added: u64,
        /// Elements that went.
        removed: u64,
        /// Why the file could not be had: what was there before is in force.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A tracked connection began, changed or ended.
    Flow {
        /// `new`, `update` or `destroy`.
        change: String,
        /// The connection as it was then.
        flow: Box<Flow>,
    },
    /// This follower was too slow: events are missing here.
    Lost {
        /// How many.
        count: u64,
    },
}

impl Happening {
    /// The names by which a follower may choose, each with what it stands for.
    pub const KINDS: &'static [(&'static str, &'static str)] = &[
        ("log", "log statements"),
        ("trace", "steps of traced packets"),
        ("drops", "frames dropped, by reason, once a second"),
        ("change", "new generations"),
        (
            "worker_restart",
            "workers that failed and were started again",
        ),
        ("port", "ports that came and went"),
        (
            "link",
            "devices that went up or down, disappeared or came back",
        ),
        (
            "set_source",
            "sets that were filled from their files, or could not be",
        ),
        (
            "flow",
            "tracked connections that began, changed or ended; only when asked for",
        ),
    ];

    /// The kind, as in [`Self::KINDS`]; `lost` goes to every follower.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Log { .. } => "log",
            Self::Trace { .. } => "trace",
            Self::Drops { .. } => "drops",
            Self::Change { .. } => "change",
            Self::WorkerRestart { .. } => "worker_restart",
            Self::Port { .. } => "port",
            Self::Link { .. } => "link",
            Self::SetSource { .. } => "set_source",
            Self::Flow { .. } => "flow",
            Self::Lost { .. } => "lost",
        }
    }
}
