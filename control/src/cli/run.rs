//! `sluice run`

use std::path::PathBuf;

use tracing_subscriber::EnvFilter;

use super::Failed;
use crate::daemon;

/// What `sluice run` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The appliance file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Write the daemon's own log as JSON
    #[arg(long)]
    log_json: bool,
}

pub(super) fn main(options: &Options) -> Result<(), Failed> {
    let filter = EnvFilter::try_from_env("SLUICE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if options.log_json {
        log.json().init();
    } else {
        log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init();
    }
    daemon::start::run(&options.config).map_err(|error| Failed::Text(error.to_string()))
}
