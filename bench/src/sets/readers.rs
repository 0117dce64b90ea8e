//! Several readers, and a reader beside a writer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::shapes::Case;
use super::{Loaded, loaded};
use crate::report::{Figure, Goal, Table};

/// Changes a second that the writer makes.
const RATE: u64 = 100_000;
/// Changes in one transaction of the writer.
const TOGETHER: u64 = 100;

/// Keys a second of processor time of so many readers together (so that a core which somebody else
/// has for a while does not count), while `beside` runs in one more thread.
fn readers(loaded: &Loaded, count: usize, beside: Option<&(dyn Fn(&AtomicBool) + Sync)>) -> f64 {
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let keys: f64 = std::thread::scope(|scope| {
        if let Some(beside) = beside {
            let stop = &stop;
            scope.spawn(move || {
                // On the core that the readers leave it.
                let _ = super::pin(1);
                beside(stop);
            });
        }
        let threads: Vec<_> = (0..count)
            .map(|number| {
                scope.spawn(move || {
                    // Without the right to choose a core it is left to the scheduler.
                    let _ = super::pin(number);
                    let (mut keys, busy) = (0.0, super::thread_ns());
                    while started.elapsed() < Duration::from_millis(500) {
                        // A worker takes the newest generation between batches; here, between runs.
                        let view = loaded.set.view();
                        loaded.inside.run(&view);
                        keys += super::KEYS as f64;
                    }
                    keys / (super::thread_ns() - busy) as f64 * 1e9
                })
            })
            .collect();
        let keys = threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .sum();
        stop.store(true, Ordering::Relaxed);
        keys
    });
    keys
}

/// Takes elements out and puts them back at a rate until told to stop.
fn write(loaded: &Loaded, stop: &AtomicBool) {
    let started = Instant::now();
    let mut done = 0;
    let mut elements = loaded.elements.iter().cycle();
    while !stop.load(Ordering::Relaxed) {
        if started.elapsed().as_nanos() as u64 * RATE / 1_000_000_000 < done {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let some: Vec<_> = elements.by_ref().take(TOGETHER as usize / 2).collect();
        for out in [true, false] {
            let Ok(mut change) = loaded.set.begin(1) else {
                return;
            };
            for element in &some {
                let changed = if out {
                    change.remove(&element.key).is_ok()
                } else {
                    change.add(element).is_ok()
                };
                assert!(changed, "the writer alone changes the set");
            }
            change.commit();
        }
        done += TOGETHER;
    }
}

/// Two readers against one, and one reader beside a writer.
pub(super) fn run(runs: usize) -> anyhow::Result<(Table, Vec<Goal>)> {
    let mut table = Table::new(
        "1M elements, several threads: ratio to one reader alone",
        &["two readers", "one reader beside a writer of 100,000/s"],
    );
    let mut goals = Vec::new();
    for case in [
        Case::Address,
        Case::AddressDynamic,
        Case::Prefix,
        Case::PrefixPort,
    ] {
        let loaded = Arc::new(loaded(case, 1_000_000)?);
        let mut two = Vec::new();
        let mut beside = Vec::new();
        for _ in 0..runs {
            let alone = readers(&loaded, 1, None);
            two.push(readers(&loaded, 2, None) / alone);
            beside.push(readers(&loaded, 1, Some(&|stop| write(&loaded, stop))) / alone);
        }
        let (two, beside) = (Figure::of(&two), Figure::of(&beside));
        let goal = format!("{}: two readers reach 1.9 times one", case.name());
        goals.push(Goal::new(
            &goal,
            format!("{:.2}", two.median),
            two.median >= 1.9,
        ));
        let goal = format!(
            "{}: beside a writer a reader keeps 0.95 of its rate",
            case.name()
        );
        goals.push(Goal::new(
            &goal,
            format!("{:.2}", beside.median),
            beside.median >= 0.95,
        ));
        table.push(case.name(), vec![Some(two), Some(beside)]);
    }
    Ok((table, goals))
}
