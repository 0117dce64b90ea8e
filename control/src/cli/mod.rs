//! The command line: one file per command.
//!
//! Exit codes of our own commands: 0 done, 1 refused or failed, 2 wrong usage. Called by the name
//! `nft`, `ipset` or `conntrack` (a link), the program is that command, with its texts and exit codes.

mod check;
mod conntrack;
mod drops;
mod events;
mod explain;
mod flows;
mod ipset;
mod ipset_names;
mod manual;
mod nat;
mod nft;
mod nft_monitor;
pub mod nft_options;
mod ports;
mod progress;
mod routing;
mod run;
mod sets;
mod status;
mod table;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::appliance::DEFAULT_SOCKET;
use crate::client::{Client, ClientError};

/// A firewall outside the kernel, in the nftables language
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    propagate_version = true,
    subcommand_required = true
)]
pub struct Arguments {
    /// The daemon's control socket
    #[arg(
        long,
        global = true,
        env = "SLUICE_SOCKET",
        value_name = "PATH",
        default_value = DEFAULT_SOCKET
    )]
    pub socket: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon in the foreground
    Run(run::Options),
    /// What nft(8) takes, against the running daemon
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Nft(nft::Words),
    /// What ipset(8) takes, against the running daemon
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Ipset(nft::Words),
    /// What the daemon is doing
    Status(status::Options),
    /// Why frames ended here, and the last of them
    Drops(drops::Options),
    /// List, count and end tracked connections; look at and steer the tracker
    Flows(Box<flows::Options>),
    /// What conntrack(8) takes, against the running daemon
    #[command(disable_help_flag = true, disable_version_flag = true)]
    Conntrack(conntrack::Words),
    /// List, add and remove ports
    Ports(ports::Options),
    /// Sets whose elements come from files: list and read again
    Sets(sets::Options),
    /// The routes of a gateway
    Routes(routing::Options),
    /// The neighbours of a gateway: which station is where
    #[command(alias = "neighbors")]
    Neighbours(routing::Options),

    /// Show external addresses, the use of their ports, and bindings
    Nat(nat::Options),
    /// Follow what happens: log statements, drops, changes, worker restarts
    Events(events::Options),
    /// Look into the compiled ruleset
    Explain(explain::Options),
    /// Check an appliance file or a ruleset without a daemon
    Check(check::Options),
    /// A complete playground: hosts in namespaces, real traffic, a report
    Lab(crate::lab::Options),
    /// Print the completion script of a shell
    Completion(manual::Completion),
    /// Print the manual page, or write all of them into a folder
    Man(manual::Man),
}

/// Why a command failed. Prints what goes to standard error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// The daemon refused, or is not there.
    #[error("sluice: {0}")]
    Client(#[from] ClientError),
    /// A file or the terminal.
    #[error("sluice: {0}")]
    Io(#[from] io::Error),
    /// Anything else; the text is complete.
    #[error("{0}")]
    Text(String),
}

impl Failed {
    /// A reader that has seen enough (`sluice status | head -1`) is no failure.
    fn is_closed_pipe(&self) -> bool {
        let (Self::Io(error) | Self::Client(ClientError::Output(error))) = self else {
            return false;
        };
        error.kind() == io::ErrorKind::BrokenPipe
    }

    /// The text of a failure, where it is one.
    fn unless_closed_pipe(self) -> Result<(), String> {
        if self.is_closed_pipe() {
            Ok(())
        } else {
            Err(format!("{self}\n"))
        }
    }
}

/// Reads the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let name = words.first().and_then(|word| Path::new(word).file_name());
    let command: Option<fn(&Path, Vec<OsString>) -> ExitCode> = match name {
        Some(name) if name == "nft" => Some(nft::main),
        Some(name) if name == "ipset" => Some(ipset::main),
        Some(name) if name == "conntrack" => Some(conntrack::main),
        _ => None,
    };
    if let Some(command) = command {
        let socket = std::env::var_os("SLUICE_SOCKET").unwrap_or_else(|| DEFAULT_SOCKET.into());
        return command(Path::new(&socket), words.split_off(1));
    }
    let arguments = Arguments::parse_from(words);
    match dispatch(arguments) {
        Ok(code) => code,
        Err(failed) if failed.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failed) => {
            // Nothing is left to say it to when standard error is closed.
            let _ = writeln!(io::stderr(), "{failed}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments) -> Result<ExitCode, Failed> {
    let client = Client::new(&arguments.socket);
    match arguments.command {
        Command::Nft(words) => return Ok(nft::main(&arguments.socket, words.words)),
        Command::Conntrack(words) => {
            return Ok(conntrack::main(&arguments.socket, words.words));
        }
        Command::Flows(options) => flows::main(&client, &options)?,
        Command::Ipset(words) => return Ok(ipset::main(&arguments.socket, words.words)),
        Command::Run(options) => run::main(&options)?,
        Command::Status(options) => status::main(&client, &options)?,
        Command::Drops(options) => drops::main(&client, &options)?,
        Command::Ports(options) => ports::main(&client, options)?,
        Command::Sets(options) => return sets::main(&client, options),
        Command::Routes(options) => routing::routes(&client, &options)?,
        Command::Neighbours(options) => routing::neighbours(&client, &options)?,
        Command::Nat(options) => nat::show(&client, &options)?,
        Command::Events(options) => events::main(&client, &options)?,
        Command::Explain(options) => explain::main(&client, &options)?,
        Command::Check(options) => check::main(&options)?,
        Command::Lab(options) => {
            // Before any thread: it enters a user namespace.
            return match crate::lab::run(&options) {
                Ok(true) => Ok(ExitCode::SUCCESS),
                Ok(false) => Ok(ExitCode::FAILURE),
                Err(error) => Err(Failed::Text(format!("sluice: {error:#}"))),
            };
        }
        Command::Completion(options) => manual::completion(&options)?,
        Command::Man(options) => manual::man(&options)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one conversation with the daemon to its end.
pub(crate) fn wait<T>(
    conversation: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(conversation)?)
}

/// Prints `value` as JSON, or what `text` makes of it.
pub(crate) fn print<T: serde::Serialize>(
    json: bool,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<(), Failed> {
    let text = if json {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        text.push('\n');
        text
    } else {
        text(value)
    };
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}
