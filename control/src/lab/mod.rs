//! The playground: hosts and a firewall in namespaces, real traffic, a report.
//!
//! `sluice lab wire` builds two hosts and a firewall between them, gives the firewall a small
//! policy, sends real traffic and looks at the receiving host what came of it. Everything lives
//! in namespaces held by this process; when it ends, nothing is left.

mod daemon;
mod gateway;
mod metrics;
mod probe;
mod report;
mod wire;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

pub use report::{Check, Report};

use crate::netns::{self, Namespace};

/// What `sluice lab` was asked for.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Which playground to build
    #[arg(value_enum, default_value_t = Scene::Wire)]
    pub scene: Scene,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Leave everything running after the report and say how to enter each host (Ctrl-C ends it)
    #[arg(long)]
    pub keep: bool,
    /// Use this ruleset instead of the playground's own policy
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Bytes of the TCP transfer
    #[arg(long, value_name = "BYTES", default_value_t = 512 << 20)]
    pub bytes: u64,
}

/// The playgrounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scene {
    /// Two hosts on one network, a transparent firewall between them
    Wire,
    /// Two networks with a host each, a router between them
    Gateway,
}

/// Builds the playground, runs its checks and prints the report. Returns whether all went as the
/// policy says. Call it before the process has started any thread.
///
/// # Errors
/// When the playground cannot be built; the text says what is missing.
pub fn run(options: &Options) -> anyhow::Result<bool> {
    netns::become_root_of_user_namespace().map_err(explain_missing_right)?;
    let progress = Progress::new(options.json);
    let mut scene = match options.scene {
        Scene::Wire => Playground::Wire(wire::Wire::build(options, &progress)?),
        Scene::Gateway => Playground::Gateway(gateway::Gateway::build(options, &progress)?),
    };
    let report = match &mut scene {
        Playground::Wire(wire) => wire.run(options, &progress)?,
        Playground::Gateway(gateway) => gateway.run(options, &progress)?,
    };
    progress.done();
    if options.json {
        serde_json::to_writer_pretty(io::stdout().lock(), &report)?;
        println!();
    } else {
        print!("{report}");
    }
    if options.keep {
        keep(&scene)?;
    }
    Ok(report.passed())
}

fn explain_missing_right(error: io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "the lab needs network namespaces, and this system gives them to root only ({error}); \
         run it as root, or allow unprivileged user namespaces \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns)"
    )
}

/// A playground that stands.
enum Playground {
    Wire(wire::Wire),
    Gateway(gateway::Gateway),
}

impl Playground {
    fn entries(&self) -> Vec<(&str, String)> {
        match self {
            Self::Wire(wire) => wire.entries(),
            Self::Gateway(gateway) => gateway.entries(),
        }
    }
}

/// How a person enters each host and asks the daemon.
fn entries<'h>(hosts: &[&'h Namespace], daemon: &daemon::Daemon) -> Vec<(&'h str, String)> {
    let user = format!(
        "nsenter --user=/proc/{}/ns/user --preserve-credentials",
        std::process::id()
    );
    let mut entries: Vec<_> = hosts
        .iter()
        .map(|host| (host.name(), format!("{user} --net={} bash", host.path())))
        .collect();
    entries.push((
        "control",
        format!("sluice --socket {} status", daemon.socket().display()),
    ));
    entries
}

fn flatten<T, E: std::fmt::Display>(result: Result<Result<T, E>, io::Error>) -> Result<T, String> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Says how to enter each host, and waits until the person has had enough.
fn keep(scene: &Playground) -> anyhow::Result<()> {
    eprintln!("\nThe playground stays until you press Ctrl-C. In another terminal:");
    for (host, command) in scene.entries() {
        eprintln!("  {host:<9} {command}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut ended = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => pressed,
            _ = ended.recv() => Ok(()),
        }
    })?;
    Ok(())
}

/// One line on the terminal that says what is going on; silent elsewhere.
struct Progress {
    shown: bool,
}

impl Progress {
    fn new(json: bool) -> Self {
        Self {
            shown: !json && io::stderr().is_terminal(),
        }
    }

    fn say(&self, what: &str) {
        if self.shown {
            eprint!("\r\x1b[2K{what} ...");
            // A progress line that cannot be shown is no reason to stop.
            let _ = io::stderr().flush();
        }
    }

    fn done(&self) {
        if self.shown {
            eprint!("\r\x1b[2K");
        }
    }
}
