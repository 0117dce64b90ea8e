//! `sluice conntrack`, and the program when it is called by the name conntrack.
//!
//! Texts, streams and exit codes are those of conntrack 1.4.7: flows on standard output, what was
//! done on standard error, 0 done, 1 failed, 2 wrong usage.

mod edit;
mod options;
mod print;
mod words;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use serde::de::DeserializeOwned;

use super::Failed;
use crate::api::flow::{Conntrack, Expected, Flow, FlowCount, FlowQuery};
use crate::api::wire::{Event, Happening};
use crate::client::Client;
use crate::events::now_ns;
use crate::flows::{FlowFilter, View};
use options::{Call, Command, Table};
use print::Why;

const NAME: &str = "conntrack v1.4.7 (conntrack-tools)";
const HELP: &str = include_str!("help.txt");

/// The words of a conntrack command line.
#[derive(Clone, Debug, clap::Args)]
pub struct Words {
    /// Commands and options of conntrack(8)
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub(super) words: Vec<OsString>,
}

/// Why nothing was done, or not all.
enum Trouble {
    /// The command line is wrong.
    Usage(String),
    /// It was tried.
    Failed(String),
    /// The daemon, or the terminal.
    Other(Failed),
}

impl<E: Into<Failed>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

pub(super) fn main(socket: &Path, words: Vec<OsString>) -> ExitCode {
    let (code, text) = match act(socket, words) {
        Ok(done) => {
            let text = done.said.map(|said| format!("{NAME}: {said}\n"));
            (u8::from(done.nothing), text.unwrap_or_default())
        }
        Err(Trouble::Usage(what)) => {
            let hint = "Try `conntrack -h' or 'conntrack --help' for more information.";
            (2, format!("{NAME}: {what}\n{hint}\n"))
        }
        Err(Trouble::Failed(what)) => (1, format!("{NAME}: {what}\n")),
        Err(Trouble::Other(failed)) => match failed.unless_closed_pipe() {
            Ok(()) => (0, String::new()),
            Err(text) => (1, format!("{NAME}: {text}")),
        },
    };
    // Nothing is left to say it to when standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// What was done.
#[derive(Default)]
struct Done {
    /// For standard error.
    said: Option<String>,
    /// Nothing was there to be done, which some commands call a failure.
    nothing: bool,
}

impl Done {
    fn said(text: impl Into<String>) -> Self {
        Self {
            said: Some(text.into()),
            nothing: false,
        }
    }
}

fn act(socket: &Path, words: Vec<OsString>) -> Result<Done, Trouble> {
    let words = words
        .into_iter()
        .map(OsString::into_string)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|word| Trouble::Usage(format!("not UTF-8: {}", word.display())))?;
    let call = Call::parse(&words).map_err(Trouble::Usage)?;
    if call.output.save && (call.output.xml || call.output.id || call.output.extended) {
        let text = "cannot combine save output with any other output type, use -o save only";
        return Err(Trouble::Failed(text.to_owned()));
    }
    let client = Client::new(socket);
    match (call.command, call.table) {
        (Command::Help, _) => out(HELP).map(|()| Done::default()),
        (Command::Version, _) => out(&format!("{NAME}\n")).map(|()| Done::default()),
        (Command::List, Table::Conntrack) => list(&client, &call),
        (Command::List, Table::Expect) => list_expected(&client),
        // Flows that begin or end are in the hands of the packet path; nobody can list them.
        (Command::List, _) => Ok(shown(0)),
        (Command::Get, Table::Expect) => get_expected(&client, &call),
        (Command::Get, _) => get(&client, &call),
        (Command::Delete, Table::Expect) => Err(Trouble::Failed(
            "Operation failed: such expectation doesn't exist".to_owned(),
        )),
        (Command::Delete, _) => delete(&client, &call),
        (Command::Insert, _) => edit::insert(&client, &call, false),
        (Command::Add, _) => edit::insert(&client, &call, true),
        (Command::Update, _) => edit::update(&client, &call),
        (Command::Flush, Table::Expect) => {
            let _: serde_json::Value = super::wait(client.delete("/v1/expectations"))?.body;
            Ok(Done::said("expectation table has been emptied."))
        }
        (Command::Flush, _) => flush(&client, &call),
        (Command::Count, table) => count(&client, table),
        (Command::Statistics, table) => statistics(&client, table),
        (Command::Events, _) => follow(&client, &call),
    }
}

fn out(text: &str) -> Result<(), Trouble> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

fn shown(count: u64) -> Done {
    Done::said(format!("{count} flow entries have been shown."))
}

/// The path of a collection with a query.
fn path(base: &str, query: &FlowQuery) -> Result<String, Trouble> {
    super::flows::path(base, query).map_err(Trouble::from)
}

/// Hands each line that the daemon sends to `line`.
fn lines<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    delete: bool,
    mut line: impl FnMut(T) -> io::Result<()>,
) -> Result<(), Trouble> {
    let take = |text: &str| {
        line(serde_json::from_str(text).map_err(io::Error::other)?)?;
        Ok(true)
    };
    if delete {
        super::wait(client.delete_lines(path, take))?;
    } else {
        super::wait(client.follow(path, take))?;
    }
    Ok(())
}

/// Prints the flows that the daemon sends; yields how many.
fn print_flows(client: &Client, call: &Call, path: &str, delete: bool) -> Result<u64, Trouble> {
    let (mut count, now) = (0, now_ns());
    let mut out = io::BufWriter::new(io::stdout().lock());
    lines(client, path, delete, |flow: Flow| {
        if call.output.xml && count == 0 {
            out.write_all(print::XML_HEAD.as_bytes())?;
        }
        count += 1;
        writeln!(out, "{}", print::flow(&flow, Why::Listed, call.output, now))
    })?;
    if call.output.xml && count > 0 {
        out.write_all(print::XML_FOOT.as_bytes())?;
    }
    out.flush()?;
    Ok(count)
}

fn list(client: &Client, call: &Call) -> Result<Done, Trouble> {
    let path = path("/v1/flows", &call.query)?;
    Ok(shown(print_flows(client, call, &path, false)?))
}

fn get(client: &Client, call: &Call) -> Result<Done, Trouble> {
    if call.query.src.is_none() && call.query.reply_src.is_none() {
        return Err(Trouble::Failed(
            "Operation failed: invalid parameters".to_owned(),
        ));
    }
    // The default zone is the one that is meant.
    let query = FlowQuery {
        zone: Some("0".to_owned()),
        limit: Some("1".to_owned()),
        ..call.query.clone()
    };
    match print_flows(client, call, &path("/v1/flows", &query)?, false)? {
        0 => Err(Trouble::Failed(
            "Operation failed: such conntrack doesn't exist".to_owned(),
        )),
        count => Ok(shown(count)),
    }
}

fn delete(client: &Client, call: &Call) -> Result<Done, Trouble> {
    let query = FlowQuery {
        all: Some("true".to_owned()),
        ..call.query.clone()
    };
    let count = print_flows(client, call, &path("/v1/flows", &query)?, true)?;
    Ok(Done {
        said: Some(format!("{count} flow entries have been deleted.")),
        nothing: count == 0,
    })
}

fn flush(client: &Client, call: &Call) -> Result<Done, Trouble> {
    let query = FlowQuery {
        all: Some("true".to_owned()),
        family: call.query.family.clone(),
        ..FlowQuery::default()
    };
    lines(client, &path("/v1/flows", &query)?, true, |_: Flow| Ok(()))?;
    Ok(Done::said("connection tracking table has been emptied."))
}

fn count(client: &Client, table: Table) -> Result<Done, Trouble> {
    let count = if table == Table::Expect {
        let conntrack: Conntrack = super::wait(client.get("/v1/conntrack"))?.body;
        conntrack.expected
    } else {
        let count: FlowCount = super::wait(client.get("/v1/flows/count"))?.body;
        count.flows
    };
    out(&format!("{count}\n"))?;
    Ok(Done::default())
}

fn statistics(client: &Client, table: Table) -> Result<Done, Trouble> {
    const FLOWS: &[&str] = &[
        "found",
        "invalid",
        "insert",
        "insert_failed",
        "drop",
        "early_drop",
        "error",
        "search_restart",
        "clash_resolve",
        "chaintoolong",
    ];
    const EXPECTED: &[&str] = &["expect_new", "expect_create", "expect_delete"];
    let conntrack: Conntrack = super::wait(client.get("/v1/conntrack"))?.body;
    let names = if table == Table::Expect {
        EXPECTED
    } else {
        FLOWS
    };
    let mut text = String::new();
    for (worker, counts) in conntrack.workers.iter().enumerate() {
        text += &format!("cpu={worker:<4}\t");
        for name in names {
            text += &format!("{name}={} ", counts.get(*name).copied().unwrap_or_default());
        }
        text.push('\n');
    }
    out(&text)?;
    Ok(Done::default())
}

fn list_expected(client: &Client) -> Result<Done, Trouble> {
    let mut count = 0;
    lines(client, "/v1/expectations", false, |one: Expected| {
        count += 1;
        writeln!(io::stdout().lock(), "{}", print::expected(&one))
    })?;
    Ok(Done::said(format!("{count} expectations have been shown.")))
}

fn get_expected(client: &Client, call: &Call) -> Result<Done, Trouble> {
    let wanted = |one: &Expected| {
        let same = |query: &Option<String>, address: std::net::IpAddr| {
            query
                .as_ref()
                .is_none_or(|query| query.split('/').next() == Some(&address.to_string()))
        };
        same(&call.query.src, one.tuple.src) && same(&call.query.dst, one.tuple.dst)
    };
    let mut count = 0;
    lines(client, "/v1/expectations", false, |one: Expected| {
        if wanted(&one) {
            count += 1;
            writeln!(io::stdout().lock(), "{}", print::expected(&one))?;
        }
        Ok(())
    })?;
    if count == 0 {
        return Err(Trouble::Failed(
            "Operation failed: such expectation doesn't exist".to_owned(),
        ));
    }
    Ok(Done::said(format!("{count} expectations have been shown.")))
}

/// Prints events until the daemon ends.
fn follow(client: &Client, call: &Call) -> Result<Done, Trouble> {
    let mut count = 0;
    let matches = FlowFilter::read(&call.query).map_err(Trouble::Usage)?;
    lines(client, "/v1/events?kind=flow", false, |event: Event| {
        let (change, flow) = match event.what {
            Happening::Flow { change, flow } => (change, flow),
            Happening::Lost { count } => {
                // The real one says so too, when its socket's buffer has overrun.
                return writeln!(io::stderr(), "WARNING: {count} events have been lost.");
            }
            _ => return Ok(()),
        };
        let (why, wanted) = match change.as_str() {
            "new" => (Why::New, call.events.new),
            "destroy" => (Why::Destroy, call.events.destroy),
            _ => (Why::Update, call.events.update),
        };
        if !wanted || !matches.fits(&View::of_wire(&flow)) {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        if call.output.xml && count == 0 {
            out.write_all(print::XML_HEAD.as_bytes())?;
        }
        count += 1;
        writeln!(
            out,
            "{}",
            print::flow(&flow, why, call.output, event.time_ns)
        )?;
        out.flush()
    })?;
    if call.output.xml && count > 0 {
        out(print::XML_FOOT)?;
    }
    Ok(Done::said(format!("{count} flow events have been shown.")))
}
