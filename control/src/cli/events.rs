//! `sluice events`

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use super::{Failed, wait};
use crate::api::wire::{Event, Happening};
use crate::client::Client;

/// What `sluice events` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Only these kinds: log, trace, drops, change, worker_restart, port, link, set_source, flow (flows
    /// are told only when they are named)
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    kind: Vec<String>,
    /// Stop after this many events
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) fn main(client: &Client, options: &Options) -> Result<(), Failed> {
    let path = if options.kind.is_empty() {
        "/v1/events".to_owned()
    } else {
        format!("/v1/events?kind={}", options.kind.join(","))
    };
    let mut left = options.count;
    wait(client.follow(&path, |line| {
        let mut out = io::stdout().lock();
        if options.json {
            writeln!(out, "{line}")?;
        } else {
            let event: Event = serde_json::from_str(line).map_err(io::Error::other)?;
            writeln!(out, "{}  {}", clock(event.time_ns), text(&event.what))?;
        }
        out.flush()?;
        left = left.map(|left| left.saturating_sub(1));
        Ok(left != Some(0))
    }))
}

/// A time for a person, in UTC.
pub(super) fn clock(time_ns: u64) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(time_ns)).to_string()
}

fn text(what: &Happening) -> String {
    match what {
        Happening::Log { text, .. } => format!("log     {text}"),
        Happening::Trace { packet, text } => format!("trace   {packet:08x} {text}"),
        Happening::Drops { reasons } => {
            let list: Vec<String> = reasons
                .iter()
                .map(|(reason, frames)| format!("{reason} {frames}"))
                .collect();
            format!("drops   {}", list.join(", "))
        }
        Happening::Change {
            generation,
            by,
            changes,
        } => {
            let mut text = format!("change  generation {generation} by {by}");
            for change in changes {
                text += &format!(
                    "\n        {}",
                    change.trim_end().replace('\n', "\n        ")
                );
            }
            text
        }
        Happening::WorkerRestart { worker, message } => {
            format!("worker  {worker} was started again: {message}")
        }
        Happening::Port { name, present } => {
            format!(
                "port    {name} {}",
                if *present { "added" } else { "removed" }
            )
        }
        Happening::Link { name, state } => format!("link    {name} {state}"),
        Happening::SetSource {
            set,
            file,
            elements,
            added,
            removed,
            error,
        } => match error {
            None => {
                format!("set     {set} has {elements} elements of {file} (+{added} -{removed})")
            }
            Some(error) => format!("set     {set} keeps what it has: {error}"),
        },
        Happening::Flow { change, flow } => {
            let (there, back) = (&flow.original, &flow.reply);
            let state = flow.state.as_deref().unwrap_or("-");
            format!(
                "flow    {change} {} {} {} {} packets {}/{} bytes {}/{}",
                flow.protocol_name,
                super::flows::end_points(there),
                state,
                flow.status.join(","),
                there.packets,
                back.packets,
                there.bytes,
                back.bytes
            )
        }
        Happening::Lost { count } => format!("lost    {count} events: this follower is too slow"),
    }
}
