//! `bench flows`: the connection tracker in memory.
//!
//! Look-ups alone, packets of known flows through the whole tracker, new flows, and their expiry; with one
//! worker, and with two that carry the two directions of the same flows. Packets are drawn at random
//! from all flows and written into a few frames, so that flows come from memory and frames from the cache,
//! as after a device's ring. Figures are processor time of the worker's thread.

mod stand;

use crate::report::{Figure, Goal, Report, Table};
use stand::{Kind, Population, Worker};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Runs of each measurement.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Packets of a run, in millions.
    #[arg(long, default_value_t = 1.0)]
    millions: f64,
    /// Most flows.
    #[arg(long, default_value_t = 4_000_000)]
    most: u32,
}

const SIZES: [u32; 4] = [1_000, 100_000, 1_000_000, 4_000_000];

/// Runs the suite.
///
/// # Errors
/// When the memory for a table cannot be had, or a packet was not judged as it has to be.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let packets = (options.millions * 1e6) as usize;
    let mut known = Table::new(
        "Packets of known flows in batches of 64, ns",
        &[
            "look-up",
            "UDP, one worker",
            "UDP, two workers, each",
            "TCP, one worker",
            "TCP, two workers, each",
        ],
    );
    let mut workers = Table::new(
        "Two workers, one direction each: throughput as a multiple of one worker's",
        &["look-up", "UDP", "TCP"],
    );
    for size in SIZES.into_iter().filter(|size| *size <= options.most) {
        let udp = Case::measure(Kind::Udp, size, packets, options.runs)?;
        let tcp = Case::measure(Kind::Tcp, size, packets, options.runs)?;
        if size == 1_000_000 {
            report.goals.push(Goal::new(
                "a look-up among 1M flows in batches costs at most 30 ns",
                format!("{:.1} ns", udp.look_up.median),
                udp.look_up.median <= 30.0,
            ));
        }
        for (name, ratio) in [
            ("look-ups", udp.look_up_ratio()),
            ("UDP", udp.ratio()),
            ("TCP", tcp.ratio()),
        ] {
            report.goals.push(Goal::new(
                &format!("{size} flows, {name}: two workers reach 1.9 times one"),
                format!("{:.2}", ratio.median),
                ratio.median >= 1.9,
            ));
        }
        let ratios = [udp.look_up_ratio(), udp.ratio(), tcp.ratio()];
        workers.push(format!("{size} flows"), ratios.map(Some).to_vec());
        let figures = [udp.look_up, udp.one, udp.two, tcp.one, tcp.two];
        known.push(format!("{size} flows"), figures.map(Some).to_vec());
    }
    report.tables.extend([known, workers]);
    let (table, goal) = births(options)?;
    report.tables.push(table);
    report.goals.push(goal);
    report.tables.push(control(options)?);
    Ok(report)
}

/// What control does with all flows.
fn control(options: &Options) -> anyhow::Result<Table> {
    let size = options.most.min(1_000_000);
    let population = Population::new(Kind::Tcp, size)?;
    let mut samples: [Vec<f64>; 4] = Default::default();
    for _ in 0..options.runs {
        let figures = population.control()?;
        samples
            .iter_mut()
            .zip(figures)
            .for_each(|(all, one)| all.push(one));
    }
    let title = format!("{size} flows, milliseconds of processor time");
    let mut table = Table::new(&title, &["list", "save", "load", "delete"]);
    table.push(
        "all",
        samples.map(|samples| Some(Figure::of(&samples))).to_vec(),
    );
    Ok(table)
}

/// Figures of known flows of one protocol.
struct Case {
    look_up: Figure,
    look_up_two: Figure,
    one: Figure,
    two: Figure,
}

impl Case {
    fn measure(kind: Kind, size: u32, packets: usize, runs: usize) -> anyhow::Result<Self> {
        let population = Population::new(kind, size)?;
        let mut samples: [Vec<f64>; 4] = Default::default();
        for run in 0..=runs {
            let figures = [
                population.alone(|worker| worker.look_up(packets))?,
                population.together(|worker| worker.look_up(packets))?,
                population.alone(|worker| worker.known(packets))?,
                population.together(|worker| worker.known(packets))?,
            ];
            // The first round warms up.
            if run > 0 {
                samples
                    .iter_mut()
                    .zip(figures)
                    .for_each(|(all, one)| all.push(one));
            }
        }
        let [look_up, look_up_two, one, two] = samples.map(|samples| Figure::of(&samples));
        Ok(Self {
            look_up,
            look_up_two,
            one,
            two,
        })
    }

    fn ratio(&self) -> Figure {
        twice(self.one, self.two)
    }

    fn look_up_ratio(&self) -> Figure {
        twice(self.look_up, self.look_up_two)
    }
}

/// Throughput of two workers as a multiple of one's, from their costs a packet.
fn twice(one: Figure, two: Figure) -> Figure {
    Figure {
        median: 2.0 * one.median / two.median,
        least: 2.0 * one.least / two.greatest,
        greatest: 2.0 * one.greatest / two.least,
        runs: one.runs,
    }
}

/// New flows and their expiry.
fn births(options: &Options) -> anyhow::Result<(Table, Goal)> {
    let size = options.most.min(1_000_000);
    let mut samples: [Vec<f64>; 5] = Default::default();
    for kind in [Kind::Udp, Kind::Tcp] {
        let column = if kind == Kind::Udp { 0 } else { 2 };
        let population = Population::empty(kind, size)?;
        for run in 0..=options.runs {
            let born = population.alone(Worker::births)?;
            let ended = population.alone(Worker::expire)?;
            if run > 0 {
                samples[column].push(born);
                samples[column + 1].push(ended);
            }
        }
        if kind == Kind::Udp {
            for _ in 0..options.runs {
                samples[4].push(population.together(Worker::births)?);
                population.alone(Worker::expire)?;
            }
        }
    }
    let figures = samples.map(|samples| Figure::of(&samples));
    let rate = 1e3 / figures[0].median;
    let title = format!("{size} flows that begin and end, ns a flow");
    let mut table = Table::new(
        &title,
        &[
            "UDP, new",
            "UDP, expiry",
            "TCP, new",
            "TCP, expiry",
            "UDP, new, two workers, each",
        ],
    );
    table.push("one packet each", figures.map(Some).to_vec());
    let goal = Goal::new(
        "two million new flows a second and core",
        format!("{rate:.2} million"),
        rate >= 2.0,
    );
    Ok((table, goal))
}
