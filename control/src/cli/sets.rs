//! `sluice sets`

use std::process::ExitCode;

use clap::Subcommand;

use super::events::clock;
use super::table::Table;
use super::{Failed, print, progress, wait};
use crate::api::wire::{SetReload, SetSourceStatus};
use crate::client::Client;

/// What `sluice sets` takes.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Options {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Every set whose elements come from a file, and its state
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Read files again
    Reload {
        /// SET, TABLE SET or FAMILY TABLE SET (default: all)
        #[arg(num_args = 0..=3)]
        name: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn main(client: &Client, options: Options) -> Result<ExitCode, Failed> {
    let (sources, json) = match options.action {
        None => (list(client)?, options.json),
        Some(Action::List { json }) => (list(client)?, json),
        Some(Action::Reload { name, json }) => {
            let name = (!name.is_empty()).then(|| name.join(" "));
            let waiting = progress::waiting("reading");
            let sources: Vec<SetSourceStatus> =
                wait(client.post("/v1/sets/reload", &SetReload { name }))?.body;
            waiting.finish();
            print(json, &sources, |sources| text(sources))?;
            return Ok(if sources.iter().any(|source| source.error.is_some()) {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            });
        }
    };
    print(json, &sources, |sources| text(sources))?;
    Ok(ExitCode::SUCCESS)
}

fn list(client: &Client) -> Result<Vec<SetSourceStatus>, Failed> {
    Ok(wait(client.get("/v1/sets"))?.body)
}

/// The table, and under it what is wrong.
fn text(sources: &[SetSourceStatus]) -> String {
    let mut table = Table::new(&[
        "SET",
        "FILE",
        "ENTRIES",
        "ELEMENTS",
        "PASSED OVER",
        "READ",
        "MS",
        "STATE",
    ]);
    let time = |seconds: u64| clock(seconds * 1_000_000_000).replace(".000000", "");
    for source in sources {
        let state = match (source.failing_since, source.loaded_at) {
            (Some(since), _) => format!("failing since {}", time(since)),
            (None, Some(_)) if source.watch => "watched".to_owned(),
            (None, Some(_)) => "loaded".to_owned(),
            (None, None) => "not read".to_owned(),
        };
        table.row([
            format!("{} {} {}", source.family, source.table, source.set),
            source.file.clone(),
            source.entries.to_string(),
            source.elements.to_string(),
            source.passed_over.to_string(),
            source.loaded_at.map_or_else(|| "never".to_owned(), time),
            source.load_ms.to_string(),
            state,
        ]);
    }
    let mut text = table.to_string();
    for source in sources {
        if let Some(error) = &source.error {
            text += &format!(
                "{} {} {}: {error}\n",
                source.family, source.table, source.set
            );
        }
    }
    text
}
