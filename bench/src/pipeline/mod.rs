//! `bench pipeline`: CPU time of a packet through the worker loop, in memory.
//!
//! The daemon's worker threads, pipeline and compiled rulesets run between two ports in memory
//! whose lists have no end; both directions carry traffic. Every figure is CPU time of the worker
//! thread for a frame from port to port. Receiving copies the frame into a slot, sending counts
//! it: what a network device adds is measured by `bench io`. A run in which a worker asks for
//! memory after its warm-up fails.

mod stages;
pub(crate) mod stand;
mod traffic;

use std::time::Duration;

use crate::alternate::{alternate, ratio};
use crate::report::{Figure, Goal, Report, Table};
use stages::Until;
use stand::Stand;
use traffic::Shape;

/// Counts of rules that do not match.
const RULES: [usize; 4] = [1, 10, 100, 1000];
/// Frames in a batch.
const BATCHES: [usize; 3] = [64, 8, 1];

/// What to measure.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Runs of each contestant; they take turns.
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// CPU time of a run in milliseconds.
    #[arg(long, default_value_t = 50)]
    milliseconds: u64,
    /// Only these suites.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Suite>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Suite {
    /// Frame sizes and stages, empty ruleset.
    Sizes,
    /// 1 to 1,000,000 flows.
    Flows,
    /// Rules that do not match.
    Rules,
    /// Small batches.
    Batches,
    /// One and two workers.
    Workers,
    /// Routing beside the wire.
    Gateway,
}

/// Measures one suite into the report.
type Measure = fn(&Options, &mut Report) -> anyhow::Result<()>;

/// Runs the suites.
///
/// # Errors
/// When a packet costs an allocation, or the machine does not let us run.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let suites: [(Suite, Measure); 6] = [
        (Suite::Sizes, sizes),
        (Suite::Flows, flows),
        (Suite::Rules, rules),
        (Suite::Batches, batches),
        (Suite::Workers, workers),
        (Suite::Gateway, gateway),
    ];
    for (suite, run) in suites {
        if options.only.is_empty() || options.only.contains(&suite) {
            run(options, &mut report)?;
        }
    }
    report.goals.push(Goal::new(
        "no allocation for a packet",
        "0 in every run of the worker loop".to_owned(),
        true,
    ));
    Ok(report)
}

impl Options {
    fn length(&self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }

    /// Nanoseconds a packet of each stand, which take turns.
    fn measure(&self, stands: &mut [Stand]) -> anyhow::Result<Vec<Vec<f64>>> {
        alternate(stands, self.runs, |stand| {
            let outcome = stand.run(self.length())?;
            anyhow::ensure!(
                outcome.allocations == 0,
                "workers asked for memory {} times in steady state",
                outcome.allocations
            );
            Ok(outcome.ns)
        })
    }
}

fn sizes(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let sizes = [64, 128, 256, 512, 1024, 1500];
    let stands: Result<Vec<_>, _> = sizes
        .iter()
        .map(|&size| Stand::new("", 1, size, 1000, 64))
        .collect();
    let mut stands = stands?;
    let whole = options.measure(&mut stands)?;
    let mut table = Table::new(
        "Frame sizes, empty ruleset, 1000 flows, batches of 64 (ns a packet)",
        &["port to port", "receive", "parse and hooks", "transmit"],
    );
    for ((size, stand), whole) in sizes.iter().zip(&stands).zip(&whole) {
        let mut untils = Until::ALL;
        let steps = alternate(&mut untils, options.runs, |until| {
            Ok(stages::cost(stand, *until, options.length() / 4))
        })?;
        let step = |now: usize, before: usize| {
            let pairs = steps[now].iter().zip(&steps[before]);
            Some(Figure::of(
                &pairs.map(|(now, before)| now - before).collect::<Vec<_>>(),
            ))
        };
        table.push(
            format!("{size} bytes"),
            vec![
                Some(Figure::of(whole)),
                Some(Figure::of(&steps[0])),
                step(1, 0),
                step(2, 1),
            ],
        );
    }
    let reached = Figure::of(&whole[0]).median;
    report.goals.push(Goal::new(
        "64 bytes, empty ruleset: at most 40 ns a packet",
        format!("{reached:.1} ns"),
        reached <= 40.0,
    ));
    report.tables.push(table);
    Ok(())
}

fn flows(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let counts = [1, 1000, 100_000, 1_000_000];
    let rules = Shape::Mixed.ruleset(10);
    let mut table = Table::new(
        "Flows, 64 bytes (ns a packet; many flows are many frames in memory, which come from RAM)",
        &["empty ruleset", "10 rules"],
    );
    for flows in counts {
        let mut stands = [
            Stand::new("", 1, 64, flows, 64)?,
            Stand::new(&rules, 1, 64, flows, 64)?,
        ];
        let samples = options.measure(&mut stands)?;
        let figures = samples.iter().map(|samples| Some(Figure::of(samples)));
        table.push(format!("{flows} flows"), figures.collect());
    }
    report.tables.push(table);
    Ok(())
}

fn rules(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Rules that do not match, 64 bytes, 1000 flows, batches of 64 (ns a packet)",
        &["none", "1", "10", "100", "1000", "each further (1 to 1000)"],
    );
    for shape in Shape::ALL {
        let mut stands = vec![Stand::new("", 1, 64, 1000, 64)?];
        for count in RULES {
            stands.push(Stand::new(&shape.ruleset(count), 1, 64, 1000, 64)?);
        }
        let samples = options.measure(&mut stands)?;
        let further: Vec<f64> = samples[4]
            .iter()
            .zip(&samples[1])
            .map(|(many, one)| (many - one) / (RULES[3] - RULES[0]) as f64)
            .collect();
        let further = Figure::of(&further);
        let mut figures: Vec<_> = samples.iter().map(|s| Some(Figure::of(s))).collect();
        figures.push(Some(further));
        table.push(shape.name(), figures);
        report.goals.push(Goal::new(
            &format!("each further rule, {}: at most 2.5 ns", shape.name()),
            format!("{:.2} ns", further.median),
            further.median <= 2.5,
        ));
    }
    report.tables.push(table);
    Ok(())
}

fn batches(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Small batches, 64 bytes, 1000 flows (ns a packet)",
        &["batches of 64", "of 8", "of 1"],
    );
    let mut line = |name: String, ruleset: &str| -> anyhow::Result<()> {
        let stands: Result<Vec<_>, _> = BATCHES
            .iter()
            .map(|&batch| Stand::new(ruleset, 1, 64, 1000, batch))
            .collect();
        let samples = options.measure(&mut stands?)?;
        let figures = samples.iter().map(|samples| Some(Figure::of(samples)));
        table.push(name, figures.collect());
        Ok(())
    };
    line("empty ruleset".to_owned(), "")?;
    for shape in Shape::ALL {
        line(format!("100 rules, {}", shape.name()), &shape.ruleset(100))?;
    }
    report.tables.push(table);
    Ok(())
}

fn gateway(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "A gateway beside a wire, empty ruleset, 64 bytes, batches of 64 (ns a packet)",
        &["wire", "gateway"],
    );
    for flows in [1, 1000, 100_000] {
        let mut stands = [
            Stand::new("", 1, 64, flows, 64)?,
            Stand::routed(1, 64, flows, 64)?,
        ];
        let samples = options.measure(&mut stands)?;
        let figures = samples.iter().map(|samples| Some(Figure::of(samples)));
        table.push(format!("{flows} flows"), figures.collect());
    }
    report.tables.push(table);
    Ok(())
}

fn workers(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Workers, 64 bytes, 1000 flows each (ns a packet on each worker; throughput of two by one)",
        &["1 worker", "2 workers", "throughput"],
    );
    let mut worst = f64::MAX;
    for (name, ruleset) in [
        ("empty ruleset", String::new()),
        ("100 rules, mixed keys", Shape::Mixed.ruleset(100)),
    ] {
        let mut stands = [
            Stand::new(&ruleset, 1, 64, 1000, 64)?,
            Stand::new(&ruleset, 2, 64, 1000, 64)?,
        ];
        let samples = options.measure(&mut stands)?;
        let doubled: Vec<f64> = samples[0].iter().map(|one| one * 2.0).collect();
        let throughput = ratio(&doubled, &samples[1]);
        worst = worst.min(throughput.median);
        table.push(
            name,
            vec![
                Some(Figure::of(&samples[0])),
                Some(Figure::of(&samples[1])),
                Some(throughput),
            ],
        );
    }
    report.goals.push(Goal::new(
        "two workers carry at least 1.9 times what one does",
        format!("{worst:.2} times"),
        worst >= 1.9,
    ));
    report.tables.push(table);
    Ok(())
}
