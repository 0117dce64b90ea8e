//! What goes into the engine and what comes out: profiles, requests, replies, refusals, changes.

use std::sync::Arc;

use sluice_dataplane::worker::generation::Generation;

use crate::model::rule::PortNames;
use crate::model::{Family, Hook};
use crate::syntax::{Bundle, Input};

/// What the daemon is, as far as rulesets are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Ports are pairs; nothing is routed or translated.
    Wire,
    /// Ports have addresses; packets are routed.
    Gateway,
    /// No ports: everything that can be checked loads and lists.
    Workbench,
}

/// A port as rulesets see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortProfile {
    /// What rules call `iifname` and `oifname`.
    pub name: String,
    /// Its index: `meta iif`.
    pub index: u32,
    /// `meta iifgroup`.
    pub group: u32,
    /// ARPHRD number: `meta iiftype`.
    pub kind: u16,
    /// Wire: name of the port where its frames go.
    pub peer: Option<String>,
    /// Wire: the pair's name for ibrname and obrname.
    pub bridge: Option<String>,
}

/// What the engine compiles for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How frames go.
    pub mode: Mode,
    /// The ports; may change at run time by [`Engine::set_profile`].
    pub ports: Vec<PortProfile>,
}

impl PortNames for Profile {
    fn port_name(&self, index: u32) -> Option<String> {
        let port = self.ports.iter().find(|port| port.index == index);
        port.map(|port| port.name.clone())
    }
}

impl Profile {
    /// Whether packets come by a hook.
    pub fn reaches(&self, family: Family, hook: Hook) -> bool {
        match self.mode {
            Mode::Workbench => true,
            Mode::Wire => family != Family::Arp && !matches!(hook, Hook::Input | Hook::Output),
            Mode::Gateway => family != Family::Bridge,
        }
    }

    /// A workbench without ports.
    pub fn workbench() -> Self {
        Self {
            mode: Mode::Workbench,
            ports: Vec::new(),
        }
    }
}

/// How `list` prints; nft's options of the same letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `-a`: handles.
    pub handles: bool,
    /// `-n` at least once: numbers for addresses and services, `-nn` for everything.
    pub numeric: u8,
    /// `-s`: without state (counters, used quotas, expiry).
    pub stateless: bool,
    /// `-S`: names of services.
    pub services: bool,
    /// `-p`: numbers for protocols.
    pub numeric_protocols: bool,
    /// `-y`: numbers for chain priorities.
    pub numeric_priorities: bool,
    /// `-N`: names of addresses. Looking up names is the client's affair; here it changes nothing.
    pub names: bool,
    /// `-t`: sets without elements.
    pub terse: bool,
    /// `-T`: times as numbers.
    pub numeric_times: bool,
    /// `-u`: users and groups as numbers.
    pub guid: bool,
    /// `-e`: echo what was added.
    pub echo: bool,
    /// `-j`: JSON.
    pub json: bool,
    /// `-o`: optimise; refused until it exists.
    pub optimize: bool,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// For logs and events.
    pub peer: String,
    /// The connection, for table owners: a table with flag `owner` lives as long as its session.
    pub session: u64,
}

/// One request: one transaction.
#[derive(Clone, Debug)]
pub struct Request {
    /// The commands, or the file that has them.
    pub input: Input,
    /// The files, read with the client's rights.
    pub files: Bundle,
    /// `-I`.
    pub include_paths: Vec<String>,
    /// `-D name=value`.
    pub defines: Vec<(String, String)>,
    /// How to print.
    pub options: ListOptions,
    /// `-c`: check only.
    pub check_only: bool,
    /// The peer may only read: a request that would change something is [`Refusal::forbidden`].
    pub read_only: bool,
    /// Refused with [`Refusal::conflict`] when the committed generation is another one.
    pub expected_generation: Option<u64>,
    /// Who asks.
    pub origin: Origin,
}

impl Request {
    /// A request for one input, with defaults for everything else.
    pub fn new(input: Input) -> Self {
        Self {
            input,
            files: Bundle::default(),
            include_paths: Vec::new(),
            defines: Vec::new(),
            options: ListOptions::default(),
            check_only: false,
            read_only: false,
            expected_generation: None,
            origin: Origin::default(),
        }
    }

    /// Words of a command line.
    pub fn command(text: &str) -> Self {
        Self::new(Input::CommandLine(text.to_owned()))
    }

    /// A file with this text.
    pub fn file(name: &str, text: &str) -> Self {
        let mut request = Self::new(Input::File(name.to_owned()));
        request.files.files.insert(name.to_owned(), Ok(text.into()));
        request
    }
}

/// What kind of thing changed; for `monitor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened to it.
    pub action: ChangeAction,
    /// Its noun: table, chain, rule, set, element, counter ...
    pub object: &'static str,
    /// nft's text for it, as `monitor` prints it.
    pub text: String,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeAction {
    /// Made.
    New,
    /// Taken away.
    Deleted,
}

/// An accepted request.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// For standard output.
    pub output: String,
    /// One line each, for standard error.
    pub warnings: Vec<String>,
    /// The committed generation after the request.
    pub generation: u64,
    /// Whether the request changed the ruleset.
    pub changed: bool,
    /// What changed, in order.
    pub changes: Vec<Change>,
}

/// A refused request; nothing has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What nft prints on standard error, lines, carets and all; ends with a newline.
    pub rendered: String,
    /// The same as data.
    pub diagnostics: Vec<Diagnostic>,
    /// What commands before the refused one had listed, for standard output.
    pub output: String,
    /// The expected generation has passed (409).
    pub conflict: bool,
    /// The request would change something and may not (403).
    pub forbidden: bool,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// File or `<cmdline>`.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// First column, from 1.
    pub column: u32,
    /// Last column, from 1, inclusive.
    pub end_column: u32,
    /// Without "Error: ".
    pub message: String,
}

/// Takes a finished generation to the workers.
pub trait Publisher: Send {
    /// Swaps the generation in; returns when every packet that starts from now on sees it.
    fn publish(&mut self, generation: Arc<Generation>);

    /// Gives back the memory of generations that no worker has any more. Called about once a second;
    /// whoever keeps none has nothing to do.
    fn tidy(&mut self) {}
}

/// A publisher for a workbench and for tests: nobody is there.
#[derive(Debug, Default)]
pub struct NoWorkers;

impl Publisher for NoWorkers {
    fn publish(&mut self, _generation: Arc<Generation>) {}
}
