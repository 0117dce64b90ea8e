//! Measures: in-memory suites and network-namespace suites, with the peers beside us.

mod alternate;
mod io;
mod report;
mod sets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "bench", about = "Measures sluice and its peers")]
struct Arguments {
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// Through network namespaces, next to the kernel's bridge and other forwarders.
    Io(io::Options),
    /// Set structures in memory: look-ups, memory, loading, changes.
    Sets(sets::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.suite {
        Suite::Io(options) => io::run(options),
        Suite::Sets(options) => sets::run(options),
    };
    report::finish(outcome, arguments.json)
}
