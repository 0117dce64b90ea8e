//! Measures: in-memory suites and network-namespace suites, with the peers beside us.

#![allow(
    unreachable_pub,
    reason = "modules of a binary: `pub` says what a suite offers the others"
)]

mod allocations;
mod alternate;
mod flows;
mod io;
mod nat;
mod pipeline;
mod report;
mod rules;
mod sets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static MEMORY: allocations::Counting = allocations::Counting;

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
    /// The connection tracker in memory: look-ups, known flows, new flows, expiry, two workers.
    Flows(flows::Options),
    /// Through network namespaces, next to the kernel's bridge and other forwarders.
    Io(io::Options),
    /// Address translation in memory: known flows, new flows, ports when few are left.
    Nat(nat::Options),
    /// CPU time of a packet through the worker loop, in memory.
    Pipeline(pipeline::Options),
    /// Loading a large ruleset and adding one rule to it, next to the kernel.
    Rules(rules::Options),
    /// Set structures in memory: look-ups, memory, loading, changes.
    Sets(sets::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.suite {
        Suite::Flows(options) => flows::run(options),
        Suite::Io(options) => io::run(options),
        Suite::Nat(options) => nat::run(options),
        Suite::Pipeline(options) => pipeline::run(options),
        Suite::Rules(options) => rules::run(options),
        Suite::Sets(options) => sets::run(options),
    };
    report::finish(outcome, arguments.json)
}
