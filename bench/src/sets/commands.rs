//! One element by a command: what the control path needs, from the text to the generation in force, beside
//! how many elements the set has.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::time::Instant;

use sluice_config::engine::{Engine, Request};

use crate::report::{Figure, Goal, Table};

/// Commands of a measurement.
const COMMANDS: u32 = 400;

/// A kind of set: what declares it, and a rule that uses it.
struct Kind {
    name: &'static str,
    set: &'static str,
    rule: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "addresses",
        set: "type ipv4_addr;",
        rule: "ip saddr @s drop",
    },
    Kind {
        name: "addresses with timeouts, changed by packets",
        set: "type ipv4_addr; flags dynamic,timeout; timeout 1d; size 4000000;",
        rule: "update @s { ip saddr }",
    },
    Kind {
        name: "addresses, changed by packets",
        set: "type ipv4_addr; flags dynamic; size 4000000;",
        rule: "add @s { ip saddr }",
    },
    Kind {
        name: "prefixes",
        set: "type ipv4_addr; flags interval;",
        rule: "ip saddr @s drop",
    },
];

/// The n-th element: every second address, in no order.
fn element(number: u32) -> Ipv4Addr {
    let scattered = number.wrapping_mul(0x9e37_79b1) ^ 0x5bd1_e995;
    Ipv4Addr::from(scattered << 1)
}

fn run_command(engine: &mut Engine, text: &str) -> anyhow::Result<()> {
    engine
        .run(Request::command(text))
        .map(drop)
        .map_err(|refusal| anyhow::anyhow!(refusal.rendered))
}

/// An engine with a set of so many elements.
fn loaded(kind: &Kind, count: u32) -> anyhow::Result<Engine> {
    let mut text = format!("table ip t {{\n set s {{ {} elements = {{ ", kind.set);
    for number in 0..count {
        let _ = write!(text, "{}, ", element(number));
    }
    let hook = "type filter hook forward priority 0;";
    let _ = write!(
        text,
        "}} }}\n chain c {{\n {hook}\n {}\n }}\n}}\n",
        kind.rule
    );
    let mut engine = Engine::workbench();
    engine
        .run(Request::file("rules", &text))
        .map_err(|refusal| anyhow::anyhow!(refusal.rendered))?;
    anyhow::ensure!(engine.live().is_some(), "{}: not compiled", kind.name);
    Ok(engine)
}

/// Microseconds of an addition and of a deletion.
fn measure(engine: &mut Engine, count: u32) -> anyhow::Result<[f64; 2]> {
    let mut times = [0.0; 2];
    for (verb, time) in ["add", "delete"].iter().zip(&mut times) {
        let started = Instant::now();
        for number in count..count + COMMANDS {
            let element = element(number);
            run_command(engine, &format!("{verb} element ip t s {{ {element} }}"))?;
        }
        *time = started.elapsed().as_secs_f64() * 1e6 / f64::from(COMMANDS);
    }
    Ok(times)
}

/// Sets of these sizes.
pub(super) fn run(sizes: &[usize], runs: usize) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new(
        "One element by a command, to the generation in force",
        &["add, us", "delete, us"],
    );
    let mut goals = Vec::new();
    for kind in &KINDS {
        let mut small = None;
        for &size in sizes {
            let count = u32::try_from(size)?;
            let mut engine = loaded(kind, count)?;
            let mut samples = [const { Vec::new() }; 2];
            for _ in 0..runs {
                let times = measure(&mut engine, count)?;
                samples
                    .iter_mut()
                    .zip(times)
                    .for_each(|(all, one)| all.push(one));
            }
            let [add, delete] = samples.map(|samples| Figure::of(&samples));
            let ratio = small.map(|small| add.median / small);
            small = small.or(Some(add.median));
            if let Some(ratio) = ratio.filter(|_| size >= 1_000_000) {
                let goal = format!(
                    "{}: adding one to {size} costs at most 3 times what it costs in {}",
                    kind.name, sizes[0]
                );
                goals.push(Goal::new(&goal, format!("{ratio:.1}"), ratio <= 3.0));
            }
            let row = format!("{}, {size}", kind.name);
            table.push(row, vec![Some(add), Some(delete)]);
        }
    }
    Ok((table, goals))
}
