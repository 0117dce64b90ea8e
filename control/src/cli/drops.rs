//! `sluice drops`

use std::io;
use std::path::PathBuf;

use super::table::Table;
use super::{Failed, print, wait};
use crate::api::wire::{DropCount, Drops};
use crate::client::Client;

/// What `sluice drops` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Print JSON, with the frames
    #[arg(long)]
    json: bool,
    /// Write the last dropped frames to FILE (pcapng; `-` for standard output), each with its
    /// reason, rule and generation as a comment
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pcap: Option<PathBuf>,
    /// List the last dropped frames too
    #[arg(long)]
    frames: bool,
    /// Show reasons that were never met as well
    #[arg(long)]
    all: bool,
}

pub(super) fn main(client: &Client, options: &Options) -> Result<(), Failed> {
    if let Some(file) = &options.pcap {
        let bytes = wait(client.bytes("/v1/drops/pcap"))?;
        if file.as_os_str() == "-" {
            io::Write::write_all(&mut io::stdout().lock(), &bytes)?;
        } else {
            std::fs::write(file, &bytes).map_err(|error| {
                Failed::Text(format!("sluice: cannot write {}: {error}", file.display()))
            })?;
        }
        return Ok(());
    }
    let drops: Drops = wait(client.get("/v1/drops"))?.body;
    print(options.json, &drops, |drops| text(drops, options))
}

fn text(drops: &Drops, options: &Options) -> String {
    let mut table = Table::new(&["FRAMES", "REASON", "MEANING"]);
    let met: Vec<&DropCount> = drops
        .reasons
        .iter()
        .filter(|count| options.all || count.frames > 0)
        .collect();
    if met.is_empty() && !options.frames {
        return "nothing has been dropped\n".to_owned();
    }
    for count in met {
        table.row([
            count.frames.to_string(),
            count.reason.clone(),
            count.help.clone(),
        ]);
    }
    let mut text = table.to_string();
    if options.frames {
        let mut table = Table::new(&["TIME", "PORT", "REASON", "RULE", "LENGTH", "FRAME"]);
        for frame in &drops.frames {
            table.row([
                super::events::clock(frame.time_ns),
                frame.port.clone(),
                frame.reason.clone(),
                frame.rule.clone().unwrap_or_else(|| "-".into()),
                frame.length.to_string(),
                frame.summary.clone(),
            ]);
        }
        text += &format!("\n{table}");
    }
    text
}
