//! `bench io`: packets per second, TCP and ping through two devices, next to the peers.
//!
//! ```text
//!     source eth0 -- a [contestant on CPU 1] b -- eth0 sink         generator on CPU 0
//! ```
//!
//! *Own core*: the softirq that receives runs on CPU 0, in the generator's time. *Shared core*:
//! it runs on CPU 1 (by RPS), where the contestant has to live beside it. Delivered frames are
//! what the sink's device has counted.

mod answers;
mod bare;
mod bed;
mod contestant;
mod generator;
mod host;
mod openvswitch;
mod process;
mod restart;
mod routed;
mod tracking;
mod translation;

use std::time::Duration;

use anyhow::Context;
use bed::{Bed, Receive};
use contestant::{Contestant, Kind};
use generator::Flows;

use crate::alternate::{alternate, ratio};
use crate::report::{Figure, Goal, Report, Table};

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Runs of each contestant; they take turns.
    #[arg(long, default_value_t = 11)]
    runs: usize,
    /// Length of a run in milliseconds.
    #[arg(long, default_value_t = 1000)]
    milliseconds: u64,
    /// Only these suites.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Suite>,
    /// Only these contestants.
    #[arg(long, value_enum, value_delimiter = ',')]
    contestants: Vec<Kind>,
    /// Slots of the receiving ring, of the bare forwarder and of the worker loop.
    #[arg(long, default_value_t = sluice_dataplane::port::af_packet::Geometry::default().slots)]
    slots: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    /// Small packets, receive softirq on its own core.
    Own,
    /// Small packets, flooded, receive softirq on the contestant's core.
    Shared,
    /// The same with the receive softirq in a kernel thread of low priority.
    Thread,
    /// The control socket, flooded, receive softirq on the contestant's core.
    Control,
    /// TCP with default offloads.
    Tcp,
    /// Ping through the idle wire.
    Ping,
    /// Small packets under a stateful policy, next to a stateless one and the kernel's bridge.
    Track,
    /// Small packets and TCP through masquerade, next to the kernel's.
    Nat,
    /// The gap in forwarding while the daemon is restarted with its flows.
    Restart,
}

/// Runs the suites.
///
/// # Errors
/// When the machine does not let us: root or user namespaces and two CPUs are needed.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let wanted = |suite| options.only.is_empty() || options.only.contains(&suite);
    if wanted(Suite::Own) {
        own(options, &mut report)?;
    }
    if wanted(Suite::Shared) {
        small_packets(
            options,
            Receive::Shared,
            "Small packets, shared core, flooded",
            &mut report,
        )?;
    }
    if wanted(Suite::Thread) {
        let title = "Small packets, shared core, flooded, threaded NAPI at nice 19";
        small_packets(options, Receive::Thread, title, &mut report)?;
    }
    if wanted(Suite::Control) {
        control(options, &mut report)?;
    }
    if wanted(Suite::Tcp) {
        tcp(options, &mut report)?;
    }
    if wanted(Suite::Ping) {
        ping(options, &mut report)?;
    }
    if wanted(Suite::Track) {
        tracking::run(options, &mut report)?;
    }
    if wanted(Suite::Nat) {
        translation::run(options, &mut report)?;
    }
    if wanted(Suite::Restart) {
        restart::run(options, &mut report)?;
    }
    Ok(report)
}

impl Options {
    fn length(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }

    /// The contestants that can take part in the suites about small packets, TCP and ping.
    fn present(&self) -> Vec<Kind> {
        self.there(&Kind::ALL)
    }

    /// Those of these that are asked for and can take part here; the others are told and left out.
    fn there(&self, kinds: &[Kind]) -> Vec<Kind> {
        let wanted = |kind: &Kind| self.contestants.is_empty() || self.contestants.contains(kind);
        let there = |kind: &Kind| match kind.missing() {
            None => true,
            Some(reason) => {
                eprintln!("{}: left out: {reason}", kind.name());
                false
            }
        };
        let kinds = kinds.iter().copied();
        kinds.filter(wanted).filter(there).collect()
    }
}

fn own(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let title = "Small packets, receive on its own core";
    let samples = small_packets(options, Receive::Own, title, report)?;
    let of = |wanted: Kind| {
        samples
            .iter()
            .find(|(kind, _)| *kind == wanted)
            .map(|(_, s)| s)
    };
    if let (Some(sluice), Some(bare)) = (of(Kind::Rules100), of(Kind::Bare)) {
        let text = "100 stateless rules: at least 0.9 of the bare forwarder";
        report
            .goals
            .push(ratio_goal(text, 0.9, ratio(sluice, bare)));
    }
    if let (Some(bare), Some(testpmd)) = (of(Kind::Bare), of(Kind::Testpmd)) {
        let text = "the bare forwarder: at least 1.2 of testpmd, to count as the limit";
        report
            .goals
            .push(ratio_goal(text, 1.2, ratio(bare, testpmd)));
    }
    Ok(())
}

/// Samples of each contestant.
type Samples = Vec<(Kind, Vec<f64>)>;

fn small_packets(
    options: &Options,
    receive: Receive,
    title: &str,
    report: &mut Report,
) -> anyhow::Result<Samples> {
    let kinds = options.present();
    let mut beds = beds(&kinds, receive)?;
    let mut cpu: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    let mut offered: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    let mut remarks = vec![None; kinds.len()];
    let samples = alternate(&mut beds, options.runs, |(place, kind, bed)| {
        let contestant = Contestant::start(*kind, bed, options.slots)?;
        remarks[*place] = contestant.remark();
        let flood = generator::flood(bed, Flows::Same(generator::FLOWS), options.length())?;
        contestant.stop()?;
        cpu[*place].push(flood.cpu_us_per_packet);
        offered[*place].push(flood.offered_per_second / 1e6);
        Ok(flood.delivered_per_second / 1e6)
    })?;
    let mut table = Table::new(
        title,
        &["Mpps", "offered", "us of CPU 1 per packet", "of bare"],
    );
    let bare = kinds.iter().position(|kind| *kind == Kind::Bare);
    for (place, kind) in kinds.iter().enumerate() {
        let of_bare = bare.map(|bare| ratio(&samples[place], &samples[bare]));
        let figures = vec![
            Some(Figure::of(&samples[place])),
            Some(Figure::of(&offered[place])),
            Some(Figure::of(&cpu[place])),
            of_bare,
        ];
        table.push(kind.name(), figures);
        table.remark(remarks[place].take().unwrap_or_default());
    }
    report.tables.push(table);
    Ok(kinds.into_iter().zip(samples).collect())
}

/// A bed for each contestant, all of the same kind but for routers, so that what one leaves behind
/// (learned addresses, warm rings) is not found by another.
fn beds(kinds: &[Kind], receive: Receive) -> anyhow::Result<Vec<(usize, Kind, Bed)>> {
    let made = kinds.iter().enumerate();
    made.map(|(place, &kind)| {
        let bed = if kind.is_routed() {
            routed::bed(receive)?
        } else {
            Bed::new(receive)?
        };
        Ok((place, kind, bed))
    })
    .collect()
}

/// A goal that is a ratio of at least so much, with what was reached.
fn ratio_goal(text: &str, least: f64, ratio: Figure) -> Goal {
    let shown = format!(
        "{:.2} ({:.2}-{:.2})",
        ratio.median, ratio.least, ratio.greatest
    );
    Goal::new(text, shown, ratio.median >= least)
}

fn control(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let daemons = [Kind::Rules0, Kind::Rules100];
    let kinds = options.present().into_iter();
    let kinds: Vec<Kind> = kinds.filter(|kind| daemons.contains(kind)).collect();
    let mut beds = beds(&kinds, Receive::Shared)?;
    let mut longest: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    let mut again: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    let samples = alternate(&mut beds, options.runs.min(5), |(place, kind, bed)| {
        let contestant = Contestant::start(*kind, bed, options.slots)?;
        let socket = contestant.socket().context("a daemon has a socket")?;
        let mut times = {
            let flows = Flows::Same(generator::FLOWS);
            generator::during(bed, flows, || answers::times(&socket, options.length()))?
        };
        // The flood has just ended: how long until a host answers again?
        again[*place].push(host::first_answer(bed)?);
        contestant.stop()?;
        times.sort_by(f64::total_cmp);
        longest[*place].extend(times.last());
        Ok(times[times.len() / 2])
    })?;
    let mut table = Table::new(
        "Control socket under flood, shared core, ms",
        &["median answer", "longest answer", "ping after the flood"],
    );
    for (place, kind) in kinds.iter().enumerate() {
        let figures = [&samples[place], &longest[place], &again[place]];
        let worst = Figure::of(&longest[place]).greatest;
        table.push(
            kind.name(),
            figures.map(|samples| Some(Figure::of(samples))).to_vec(),
        );
        report.goals.push(Goal::new(
            &format!(
                "flooded, {}: the control socket answers within 100 ms",
                kind.name()
            ),
            format!("{worst:.1} ms at most"),
            worst <= 100.0,
        ));
    }
    report.tables.push(table);
    Ok(())
}

fn tcp(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    // The others know no partial checksums: TCP between default devices does not work.
    let kinds = options.there(&Kind::TCP);
    let mut beds = beds(&kinds, Receive::Own)?;
    let mut columns = Vec::new();
    for streams in [1, 4] {
        let samples = alternate(&mut beds, options.runs.min(5), |(_, kind, bed)| {
            let contestant = Contestant::start(*kind, bed, options.slots)?;
            let bits = host::tcp(bed, streams, options.length())?;
            contestant.stop()?;
            Ok(bits / 1e9)
        })?;
        let bridge = kinds.iter().position(|kind| *kind == Kind::Bridge);
        for (place, kind) in kinds.iter().enumerate() {
            let Some(bridge) = bridge.filter(|_| kind.is_sluice()) else {
                continue;
            };
            let text = format!(
                "TCP, {streams} streams, {}: at least 0.7 of the bridge",
                kind.name()
            );
            let ratio = ratio(&samples[place], &samples[bridge]);
            report.goals.push(ratio_goal(&text, 0.7, ratio));
        }
        columns.push(samples);
    }
    let mut table = Table::new("TCP, default offloads, Gbit/s", &["1 stream", "4 streams"]);
    for (place, kind) in kinds.iter().enumerate() {
        table.push(
            kind.name(),
            columns
                .iter()
                .map(|s| Some(Figure::of(&s[place])))
                .collect(),
        );
    }
    report.tables.push(table);
    Ok(())
}

fn ping(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let kinds = options.present();
    let mut beds = beds(&kinds, Receive::Own)?;
    let mut tails: Vec<Vec<f64>> = vec![Vec::new(); kinds.len()];
    let samples = alternate(&mut beds, options.runs.min(5), |(place, kind, bed)| {
        let contestant = Contestant::start(*kind, bed, options.slots)?;
        let (median, tail) = host::ping(bed)?;
        contestant.stop()?;
        tails[*place].push(tail);
        Ok(median)
    })?;
    let mut table = Table::new(
        "Ping through the idle wire, us",
        &["median", "99th percentile"],
    );
    let bridge = kinds.iter().position(|kind| *kind == Kind::Bridge);
    for (place, kind) in kinds.iter().enumerate() {
        let median = Figure::of(&samples[place]);
        table.push(
            kind.name(),
            vec![Some(median), Some(Figure::of(&tails[place]))],
        );
        if let Some(bridge) = bridge.filter(|_| kind.is_sluice()) {
            let more = median.median - Figure::of(&samples[bridge]).median;
            report.goals.push(Goal::new(
                &format!("ping, {}: at most 30 us above the bridge", kind.name()),
                format!("{more:.0} us"),
                more <= 30.0,
            ));
        }
    }
    report.tables.push(table);
    Ok(())
}
