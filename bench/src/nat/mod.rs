//! Address translation in memory: what a packet of a known flow costs more than an untranslated one, what a
//! flow costs at its beginning, what a port costs when few are left.

mod pool;
mod stand;

use crate::alternate::{alternate, ratio};
use crate::report::{Figure, Goal, Report, Table};
use stand::Stand;

/// What the suite takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Runs of each; they take turns.
    #[arg(long, default_value_t = 7)]
    runs: usize,
    /// Length of a run in milliseconds of CPU time.
    #[arg(long, default_value_t = 100)]
    milliseconds: u64,
}

/// Flows of each size.
const FLOWS: [usize; 3] = [1000, 100_000, 1_000_000];
const FORWARD: &str = "
    chain forward { type filter hook forward priority 0; policy drop
        ct state established,related accept
        iifname \"inside\" accept
    }";

fn tracked() -> String {
    format!("table ip t {{{FORWARD}\n}}\n")
}

fn translated() -> String {
    format!(
        "table ip t {{{FORWARD}
    chain post {{ type nat hook postrouting priority srcnat; oifname \"outside\" masquerade; }}
}}\n"
    )
}

/// Runs the suite.
///
/// # Errors
/// When a ruleset is refused or packets do not come through.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    established(options, &mut report)?;
    beginning(options, &mut report)?;
    ports(options, &mut report)?;
    Ok(report)
}

fn established(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "A packet of an established flow through the gateway, UDP, batches of 64 (ns)",
        &["tracked", "tracked and translated", "more"],
    );
    for flows in FLOWS {
        let mut stands = [
            Stand::new(&tracked(), flows)?,
            Stand::new(&translated(), flows)?,
        ];
        let samples = alternate(&mut stands, options.runs, |stand| {
            Ok(stand.established(options.milliseconds))
        })?;
        let more: Vec<f64> = samples[0]
            .iter()
            .zip(&samples[1])
            .map(|(plain, translated)| translated - plain)
            .collect();
        let more = Figure::of(&more);
        report.goals.push(Goal::new(
            &format!("{flows} flows: a translated packet costs at most 25 ns more"),
            format!("{:.1} ns", more.median),
            more.median <= 25.0,
        ));
        table.push(
            format!("{flows} flows"),
            vec![
                Some(Figure::of(&samples[0])),
                Some(Figure::of(&samples[1])),
                Some(more),
            ],
        );
    }
    report.tables.push(table);
    Ok(())
}

fn beginning(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    const NEW: usize = 200_000;
    let mut table = Table::new(
        "A flow that begins, 200,000 of them (ns)",
        &["a flow", "of tracked"],
    );
    let mut rulesets = [("tracked", tracked()), ("masquerade", translated())];
    let samples = alternate(&mut rulesets, options.runs, |(_, ruleset)| {
        Stand::beginning(ruleset, NEW)
    })?;
    for (place, (name, _)) in rulesets.iter().enumerate() {
        let of = ratio(&samples[place], &samples[0]);
        table.push(*name, vec![Some(Figure::of(&samples[place])), Some(of)]);
    }
    report.tables.push(table);
    Ok(())
}

fn ports(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    let mut table = Table::new(
        "Taking a random port of 64,512 and giving it back (ns)",
        &["shared", "endpoint-independent"],
    );
    for (full, name) in [(10, "1% taken"), (900, "90% taken"), (999, "99.9% taken")] {
        let mut kinds = [false, true];
        let samples = alternate(&mut kinds, options.runs, |independent| {
            pool::cost(full, *independent)
        })?;
        let figures = samples.iter().map(|samples| Some(Figure::of(samples)));
        table.push(name, figures.collect());
    }
    report.tables.push(table);
    Ok(())
}
