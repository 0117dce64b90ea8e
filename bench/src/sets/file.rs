//! A list of a million prefixes in a file: from opening it to the generation that has it.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Instant;

use sluice_config::engine::{Engine, Request, SetPlace};
use sluice_config::model::Family;
use sluice_config::set_file::Reading;
use sluice_control::appliance::SetSource;
use sluice_control::daemon::policy::Policy;
use sluice_control::daemon::ruleset::EnginePolicy;
use sluice_control::events::Hub;

use super::shapes::Mix;
use crate::report::{Figure, Goal, Table};

/// Lines of the list.
const LINES: u32 = 1_000_000;

const RULESET: &str = "table inet t {\n set bad { type ipv4_addr; flags interval; }\n \
    chain c { type filter hook forward priority 0; ip saddr @bad drop; }\n}\n";

/// The n-th of the prefixes, which do not overlap; `salt` makes others of them.
fn line(number: u32, salt: u32) -> String {
    let address = Ipv4Addr::from((number << 12) + (salt << 8));
    format!("{address}/{}\n", 24 + number % 9)
}

/// Writes a list in no order; of every `part` lines one is another with another salt.
fn write(path: &std::path::Path, salt: u32, part: u32) -> anyhow::Result<()> {
    let mut order: Vec<u32> = (0..LINES).collect();
    let mut mix = Mix(3);
    for at in (1..order.len()).rev() {
        order.swap(at, (mix.next() % (at as u64 + 1)) as usize);
    }
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for number in order {
        let salt = if number.is_multiple_of(part) { salt } else { 0 };
        file.write_all(line(number, salt).as_bytes())?;
    }
    Ok(file.flush()?)
}

/// Loads and reloads, as the daemon does it.
pub(super) fn run(runs: usize) -> anyhow::Result<(Table, Vec<Goal>)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("list");
    let source = SetSource {
        place: SetPlace {
            family: Family::Inet,
            table: "t".to_owned(),
            set: "bad".to_owned(),
        },
        file: path.clone(),
        reading: Reading::default(),
        watch: false,
        required: true,
    };
    let mut samples = [const { Vec::new() }; 4];
    for _ in 0..runs {
        let mut engine = Engine::workbench();
        engine
            .run(Request::file("rules", RULESET))
            .map_err(|refusal| anyhow::anyhow!(refusal.rendered))?;
        let policy = EnginePolicy::new(engine);
        write(&path, 0, 1)?;
        let started = Instant::now();
        policy
            .follow_files(std::slice::from_ref(&source), &Hub::default())
            .map_err(anyhow::Error::msg)?;
        samples[0].push(started.elapsed().as_secs_f64());
        anyhow::ensure!(policy.set_sources()[0].elements == u64::from(LINES));
        for (at, salt, part) in [(1, 0, 1), (2, 1, 1000), (3, 2, 1)] {
            write(&path, salt, part)?;
            let started = Instant::now();
            let done = policy.reload_sets(None).map_err(anyhow::Error::msg)?;
            samples[at].push(started.elapsed().as_secs_f64());
            anyhow::ensure!(done[0].error.is_none() && done[0].elements == u64::from(LINES));
        }
    }
    let mut table = Table::new(
        "A file of 1,000,000 prefixes, from opening it to the generation that has it",
        &["s"],
    );
    let names = [
        "first load",
        "nothing changed",
        "1 of 1000 changed",
        "all changed",
    ];
    for (name, samples) in names.iter().zip(&samples) {
        table.push(*name, vec![Some(Figure::of(samples))]);
    }
    let seconds = Figure::of(&samples[0]).median;
    let goal = "a file of 1,000,000 prefixes in force in less than a second";
    Ok((
        table,
        vec![Goal::new(goal, format!("{seconds:.2} s"), seconds < 1.0)],
    ))
}
