//! `sluice nft`, and the program when it is called by the name nft.
//!
//! Texts, streams and exit codes are nft's: output on standard output, complaints on standard
//! error, 0 or 1. Files are read here, with the client's own rights.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::nft_monitor::Monitor;
use super::nft_options::{self, NFT_VERSION, NftCall, NftOptions};
use super::progress::Progress;
use crate::api::wire::{NftAnswer, NftCommand, NftPrint};
use crate::client::{Client, ClientError, bundle};

/// The words of an nft command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Words {
    /// Options and commands of nft(8)
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub(super) words: Vec<OsString>,
}

pub(super) fn main(socket: &Path, words: Vec<OsString>) -> ExitCode {
    let done = match words
        .into_iter()
        .map(OsString::into_string)
        .collect::<Result<Vec<_>, _>>()
    {
        Ok(words) => act(socket, &words),
        Err(word) => Err(format!("nft: not UTF-8: {}\n", word.display())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // Nothing is left to say it to when standard error is closed.
            let _ = io::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn act(socket: &Path, words: &[String]) -> Result<(), String> {
    match nft_options::parse(words).map_err(|usage| format!("{usage}\n"))? {
        NftCall::Help => write_out(&nft_options::help()),
        NftCall::Version => write_out(&format!("{}\n", version())),
        NftCall::LongVersion => write_out(&format!("{}\n  json:\t\tyes\n", version())),
        NftCall::Run(options) => {
            if let Some(monitor) = Monitor::parse(&options.command) {
                let done = monitor?.run(&Client::new(socket));
                return done.or_else(|failed| failed.unless_closed_pipe());
            }
            let command = command(&options)?;
            let answer = send(socket, &command)?;
            for warning in &answer.warnings {
                // As above.
                let _ = writeln!(io::stderr(), "{}", warning.trim_end());
            }
            write_out(&answer.output)
        }
    }
}

fn version() -> String {
    format!(
        "nftables v{NFT_VERSION} (sluice {})",
        env!("CARGO_PKG_VERSION")
    )
}

fn write_out(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("nft: {error}\n")),
        _ => Ok(()),
    }
}

/// The request that stands for a command line.
fn command(options: &NftOptions) -> Result<NftCommand, String> {
    if !options.debug.is_empty() {
        return Err(
            "sluice: nft -d is not supported: its levels name parts of nft itself; \
                    `sluice explain --program` shows the compiled program\n"
                .to_owned(),
        );
    }
    let print = NftPrint {
        handle: options.handle,
        stateless: options.stateless,
        terse: options.terse,
        service: options.service,
        reverse_dns: options.reverse_dns,
        guid: options.guid,
        numeric: options.numeric,
        numeric_priority: options.numeric_priority,
        numeric_protocol: options.numeric_protocol,
        numeric_time: options.numeric_time,
        echo: options.echo,
        json: options.json,
        optimize: options.optimize,
    };
    let around = bundle::Surroundings {
        include_paths: &options.include_paths,
        defines: &options.defines,
    };
    let mut command = if !options.command.is_empty() {
        bundle::command_line(&options.command.join(" "), around)
    } else if let Some(file) = &options.file {
        bundle::file(file, around)
    } else {
        return Err(
            "sluice: nft -i (the interactive shell) is not supported: give commands as \
                    words, or as a file with -f\n"
                .to_owned(),
        );
    };
    command.check = options.check;
    command.options = print;
    Ok(command)
}

fn send(socket: &Path, command: &NftCommand) -> Result<NftAnswer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("nft: {error}\n"))?;
    let progress = Progress::default();
    let shown = progress.clone();
    let client = Client::new(socket).observed(move |sent, of| shown.sent(sent, of));
    let answer = runtime.block_on(client.post("/v1/nft", command));
    progress.finish();
    match answer {
        Ok(answer) => Ok(answer.body),
        Err(ClientError::Refused { failure, .. }) if failure.error.ends_with('\n') => {
            Err(failure.error)
        }
        Err(error) => Err(format!("nft: {error}\n")),
    }
}
