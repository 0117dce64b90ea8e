//! `bench rules`: loading a large file and adding one rule to it, next to the kernel.
//!
//! Ours is one request to the engine: parse, check, store, compile, verify, publish; and the same by
//! `sluice nft` through a daemon's socket, where the executable has been built. The kernel's
//! is the `nft` program in a network namespace of its own, as an operator runs it; starting the
//! program is in its figure, and measured beside it as `nft list tables` of an empty ruleset. As root,
//! because the socket buffer of an unprivileged `nft` is too small for such a file.

mod daemon;

use std::io::Write;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;
use sluice_config::engine::{Engine, Request};

use crate::pipeline::stand::engine;
use crate::report::{Figure, Goal, Report, Table};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Rules in the file.
    #[arg(long, default_value_t = 100_000)]
    rules: usize,
    /// Runs of each.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Rules that are added one by one in each run.
    #[arg(long, default_value_t = 11)]
    added: usize,
    /// Leave the kernel out.
    #[arg(long)]
    alone: bool,
    /// Measure the kernel in the present network namespace, which the caller made, with this
    /// file, and print the seconds as JSON.
    #[arg(long, hide = true)]
    in_namespace: Option<String>,
}

/// Seconds of one run.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
struct Seconds {
    /// The program alone; nothing for the engine.
    start: Vec<f64>,
    load: Vec<f64>,
    /// The first rule that is added after the load.
    first: Vec<f64>,
    /// The others.
    add: Vec<f64>,
    replace: Vec<f64>,
}

/// Rules as in a list of hosts and services that an operator's tool writes.
fn file(rules: usize) -> String {
    let mut text = String::from(
        "table inet big {\n chain c {\n  type filter hook forward priority 0; policy accept;\n",
    );
    for number in 0..rules {
        let (high, low) = (number >> 8 & 255, number & 255);
        let (net, port) = (number >> 16, 1024 + number % 60_000);
        text.push_str(&format!(
            "  ip saddr 10.{net}.{high}.{low} tcp dport {port} counter drop\n"
        ));
    }
    text.push_str(" }\n}\n");
    text
}

fn one_more(number: usize) -> String {
    format!("add rule inet big c ip saddr 192.0.2.{number} tcp dport 80 counter drop")
}

/// Runs the suite.
///
/// # Errors
/// When the file is refused, or the kernel cannot be asked.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    if let Some(path) = &options.in_namespace {
        let seconds = kernel(path, options)?;
        println!("{}", serde_json::to_string(&seconds)?);
        return Ok(Report::default());
    }
    let text = file(options.rules);
    let mut path = tempfile::NamedTempFile::new()?;
    path.write_all(text.as_bytes())?;
    let program = daemon::program();
    let mut ours = Seconds::default();
    let (mut by_socket, mut theirs) = (Seconds::default(), Seconds::default());
    for _ in 0..options.runs {
        ours.extend(engine_run(&text, options)?);
        if let Some(program) = &program {
            by_socket.extend(daemon::run(program, path.path(), options)?);
        }
        if !options.alone {
            let path = path.path().to_str().context("a temporary path in UTF-8")?;
            theirs.extend(in_namespace(path, options)?);
        }
    }
    Ok(report(options, &ours, &by_socket, &theirs))
}

impl Seconds {
    /// Notes what adding rule `number` took.
    fn added(&mut self, number: usize, took: f64) {
        let list = if number == 0 {
            &mut self.first
        } else {
            &mut self.add
        };
        list.push(took);
    }

    fn extend(&mut self, other: Self) {
        self.start.extend(other.start);
        self.load.extend(other.load);
        self.first.extend(other.first);
        self.add.extend(other.add);
        self.replace.extend(other.replace);
    }
}

fn report(options: &Options, ours: &Seconds, by_socket: &Seconds, theirs: &Seconds) -> Report {
    let title = format!("{} rules (milliseconds)", options.rules);
    let mut table = Table::new(&title, &["engine", "sluice nft", "nft and kernel"]);
    let figure = |seconds: &[f64]| {
        let milliseconds: Vec<f64> = seconds.iter().map(|s| s * 1000.0).collect();
        (!seconds.is_empty()).then(|| Figure::of(&milliseconds))
    };
    type Of = fn(&Seconds) -> &Vec<f64>;
    let rows: [(&str, Of); 5] = [
        ("start of the program", |seconds| &seconds.start),
        ("load the file", |seconds| &seconds.load),
        ("add the first rule", |seconds| &seconds.first),
        ("add one rule", |seconds| &seconds.add),
        ("replace all by the same", |seconds| &seconds.replace),
    ];
    for (name, of) in rows {
        let figures = [ours, by_socket, theirs].map(|seconds| figure(of(seconds)));
        table.push(name, figures.into());
    }
    let end_to_end = if by_socket.add.is_empty() {
        ours
    } else {
        by_socket
    };
    let load = Figure::of(&end_to_end.load);
    let add = Figure::of(&[&end_to_end.first[..], &end_to_end.add].concat());
    Report {
        tables: vec![table],
        goals: vec![
            Goal::new(
                "the file loads in less than 2 s",
                format!("{:.2} s", load.median),
                load.median < 2.0,
            ),
            Goal::new(
                "one more rule takes less than 5 ms",
                format!("{:.2} ms", add.median * 1000.0),
                add.median < 0.005,
            ),
        ],
    }
}

fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn request(engine: &mut Engine, request: Request) -> anyhow::Result<()> {
    let outcome = engine.run(request);
    outcome
        .map(drop)
        .map_err(|refusal| anyhow::anyhow!("{}", refusal.rendered))
}

fn engine_run(text: &str, options: &Options) -> anyhow::Result<Seconds> {
    let mut engine = engine(2);
    let mut seconds = Seconds::default();
    let whole = Request::file("big.nft", text);
    seconds.load.push(timed(|| request(&mut engine, whole))?);
    for number in 0..options.added {
        let command = Request::command(&one_more(number));
        let took = timed(|| request(&mut engine, command))?;
        seconds.added(number, took);
    }
    let again = Request::file("big.nft", &format!("flush ruleset\n{text}"));
    seconds.replace.push(timed(|| request(&mut engine, again))?);
    anyhow::ensure!(engine.live().is_some(), "nothing was published");
    Ok(seconds)
}

/// Measures the kernel from a process in a new network namespace.
fn in_namespace(path: &str, options: &Options) -> anyhow::Result<Seconds> {
    // A large transaction needs a large socket buffer, which only the first user namespace grants.
    let root = rustix::process::geteuid().is_root();
    let output = Command::new("unshare")
        .arg(if root { "-n" } else { "-rn" })
        .arg(std::env::current_exe()?)
        .args(["rules", "--added", &options.added.to_string()])
        .args(["--in-namespace", path])
        .output()
        .context("unshare")?;
    anyhow::ensure!(
        output.status.success(),
        "nft in a namespace: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().next().unwrap_or_default();
    serde_json::from_str(line).context("the figures of the kernel")
}

fn nft(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("nft")
        .args(arguments)
        .output()
        .context("nft")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "nft: {complaint}");
    Ok(())
}

fn kernel(path: &str, options: &Options) -> anyhow::Result<Seconds> {
    let mut seconds = Seconds::default();
    for _ in 0..options.added {
        seconds.start.push(timed(|| nft(&["list", "tables"]))?);
    }
    seconds.load.push(timed(|| nft(&["-f", path]))?);
    for number in 0..options.added {
        let took = timed(|| nft(&[&one_more(number)]))?;
        seconds.added(number, took);
    }
    let mut again = tempfile::NamedTempFile::new()?;
    again.write_all(b"flush ruleset\n")?;
    again.write_all(&std::fs::read(path)?)?;
    let again = again.path().to_str().context("a temporary path in UTF-8")?;
    seconds.replace.push(timed(|| nft(&["-f", again]))?);
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_loads_and_takes_one_more() {
        let options = Options {
            rules: 300,
            runs: 1,
            added: 2,
            alone: true,
            in_namespace: None,
        };
        let report = run(&options).unwrap();
        assert_eq!(report.tables[0].rows.len(), 5);
        let mut engine = engine(1);
        request(&mut engine, Request::file("big.nft", &file(300))).unwrap();
        request(&mut engine, Request::command(&one_more(7))).unwrap();
        let listing = engine.run(Request::command("list ruleset")).unwrap().output;
        assert_eq!(listing.matches("counter packets 0").count(), 301);
    }
}
