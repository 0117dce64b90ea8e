//! `sluice explain`

use super::{Failed, print, wait};
use crate::api::wire::Program;
use crate::client::Client;

/// What `sluice explain` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The compiled program, instruction by instruction
    #[arg(long, required = true)]
    program: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn main(client: &Client, options: &Options) -> Result<(), Failed> {
    let program: Program = wait(client.get("/v1/program"))?.body;
    print(options.json, &program, |program| {
        format!(
            "# generation {}, {} bytes\n{}",
            program.generation, program.bytes, program.text
        )
    })
}
