//! `bench sets`: look-ups, memory, loading and changes of every set structure.
//!
//! In memory, without packets: the cost of a set is that of its look-up, a batch of 64 keys at a
//! time, as the rule program makes them. Keys are drawn anew for each batch, so that large sets are
//! not answered from the cache.

mod commands;
mod file;
mod kernel;
mod readers;
mod shapes;

use std::sync::Arc;
use std::time::Instant;

use sluice_dataplane::sets::{Column, Element, LANES, OwnView, Places, Set, SetError};

use crate::report::{Figure, Goal, Report, Table};
use shapes::{Case, Mix};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Also sets of ten million elements.
    #[arg(long)]
    large: bool,
    /// Only shapes whose name has this in it; `threads`: only several threads; `file`: only a list from
    /// a file; `commands`: only single elements by commands.
    #[arg(long, default_value = "")]
    only: String,
    /// Beside them the kernel's sets (nft, ipset) on the same elements; as root.
    #[arg(long)]
    kernel: bool,
    /// Only sets of this many elements.
    #[arg(long)]
    size: Option<usize>,
    /// Runs of each measurement.
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Binds this thread to a CPU, if there is such a one.
pub(crate) fn pin(cpu: usize) -> std::io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    let last = std::thread::available_parallelism()?.get() - 1;
    set.set(cpu.min(last));
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Processor time of this thread in nanoseconds: what others do on the machine is not in it.
fn thread_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Keys of batches, as columns.
pub(crate) struct Probes {
    words: usize,
    columns: Vec<Column>,
}

impl Probes {
    fn new(words: usize, batches: usize, mut key: impl FnMut() -> Vec<u32>) -> Self {
        let mut columns = vec![Column::default(); words * batches];
        for batch in columns.chunks_mut(words) {
            for lane in 0..LANES {
                for (column, word) in batch.iter_mut().zip(key()) {
                    column[lane] = word;
                }
            }
        }
        Self { words, columns }
    }

    /// Looks all keys up once; nanoseconds a key, and the share that was found.
    pub(crate) fn run(&self, view: &OwnView) -> (f64, f64) {
        let (mut data, mut places) = (vec![Column::default(); 16], Places::default());
        let mut found = 0u64;
        let started = thread_ns();
        for batch in self.columns.chunks_exact(self.words) {
            let mut columns = [&batch[0]; 16];
            for (to, from) in columns.iter_mut().zip(batch) {
                *to = from;
            }
            found += u64::from(
                view.lookup(&columns[..self.words], !0, 1, &mut data, &mut places)
                    .count_ones(),
            );
        }
        let keys = (self.columns.len() / self.words * LANES) as f64;
        ((thread_ns() - started) as f64 / keys, found as f64 / keys)
    }
}

/// A set of `count` elements of a case, with keys inside and outside.
pub(crate) struct Loaded {
    pub(crate) set: Arc<Set>,
    pub(crate) elements: Vec<Element>,
    pub(crate) inside: Probes,
    outside: Probes,
    seconds: f64,
}

/// Keys that a measurement looks up.
const KEYS: usize = 1 << 20;

pub(crate) fn loaded(case: Case, count: usize) -> anyhow::Result<Loaded> {
    let mut mix = Mix(7);
    let mut elements: Vec<Element> = (0..count)
        .map(|index| case.element(index, count, &mut mix))
        .collect();
    elements.sort_by(|a, b| a.key.cmp(&b.key));
    elements.dedup_by(|a, b| a.key == b.key);
    // The order of a file: none.
    for at in (1..elements.len()).rev() {
        elements.swap(at, (mix.next() % (at as u64 + 1)) as usize);
    }
    let set = Set::new(case.spec(), 42)?;
    let started = Instant::now();
    let mut change = set.begin(0)?;
    change
        .load(&elements)
        .map_err(|(index, error)| anyhow::anyhow!("element {index}: {error}"))?;
    change.commit();
    let seconds = started.elapsed().as_secs_f64();
    let words = set.spec().shape.key_words();
    let batches = KEYS / LANES;
    let inside = Probes::new(words, batches, || {
        let element = &elements[(mix.next() % elements.len() as u64) as usize];
        Case::key_in(element, &mut mix)
    });
    let mut mix = Mix(9);
    let outside = Probes::new(words, batches, || case.key_out(words, &mut mix));
    Ok(Loaded {
        set,
        elements,
        inside,
        outside,
        seconds,
    })
}

/// Runs the suite.
///
/// # Errors
/// When a set cannot be built.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let mut sizes = vec![10, 10_000, 1_000_000];
    if options.large {
        sizes.push(10_000_000);
    }
    if let Some(size) = options.size {
        sizes = vec![size];
    }
    let mut report = Report::default();
    let mut own = Table::new(
        "Look-up a batch of 64 at a time, one reader",
        &[
            "found, ns",
            "not found, ns",
            "bytes",
            "load, s",
            "changes, 1000/s",
        ],
    );
    let mut peers = Table::new(
        "The kernel's sets of the same elements: a packet with the set less one without",
        &["found, ns", "bytes", "load, s", "changes, 1000/s"],
    );
    let wanted = |case: &Case| case.name().contains(&options.only);
    for case in Case::ALL.into_iter().filter(wanted) {
        let mut first = None;
        for count in sizes.iter().map(|&size| size.min(case.most())) {
            let loaded = loaded(case, count)?;
            let (inside, outside, rate) = measure(&loaded, options.runs)?;
            let bytes = loaded.set.view().memory() as f64 / loaded.elements.len() as f64;
            let name = format!("{}, {count}", case.name());
            if count == 10 {
                first = Some(inside.median);
            } else if count == 1_000_000 {
                if let Some(first) = first {
                    report.goals.push(ratio_goal(case, inside.median / first));
                }
                report.goals.extend(load_goal(case, loaded.seconds));
            }
            let one = |value| Some(Figure::of(&[value]));
            own.push(
                &name,
                vec![
                    Some(inside),
                    Some(outside),
                    one(bytes),
                    one(loaded.seconds),
                    Some(rate),
                ],
            );
            if options.kernel {
                let ours = (inside.median, bytes);
                beside(case, &loaded, ours, options.runs, &mut peers, &mut report)?;
            } else if count == 1_000_000 {
                report.goals.extend(memory_goal(case, bytes));
            }
        }
    }
    report.tables.push(own);
    if options.kernel {
        report.tables.push(peers);
    }
    if "file".contains(&options.only) {
        let (table, goals) = file::run(options.runs)?;
        report.tables.push(table);
        report.goals.extend(goals);
    }
    if "commands".contains(&options.only) {
        let (table, goals) = commands::run(&sizes, options.runs)?;
        report.tables.push(table);
        report.goals.extend(goals);
    }
    if "threads".contains(&options.only) {
        let (table, goals) = readers::run(options.runs)?;
        report.tables.push(table);
        report.goals.extend(goals);
    }
    Ok(report)
}

/// The kernel's structures with the same elements, and what they are held against.
fn beside(
    case: Case,
    loaded: &Loaded,
    (look_up, bytes): (f64, f64),
    runs: usize,
    table: &mut Table,
    report: &mut Report,
) -> anyhow::Result<()> {
    for peer in kernel::PEERS {
        let count = loaded.elements.len();
        let name = format!("{}, {}, {count}", case.name(), peer.name());
        let measured = match kernel::measure(peer, case, &loaded.elements, runs)? {
            Ok(measured) => measured,
            Err(missing) => {
                table.push(name, vec![None; 4]);
                table.remark(missing);
                continue;
            }
        };
        let one = |value| Some(Figure::of(&[value]));
        table.push(
            name,
            vec![
                Some(measured.look_up_ns),
                measured.bytes.and_then(one),
                one(measured.load_s),
                measured.changes.and_then(one),
            ],
        );
        let ranges = matches!(
            case,
            Case::Interval | Case::PrefixPort | Case::PrefixPortPrefix
        );
        if ranges && peer == kernel::KernelPeer::Nft && count > 10 {
            let times = measured.look_up_ns.median / look_up;
            let goal = format!("{}, {count}: 3 times as fast as the kernel's", case.name());
            report
                .goals
                .push(Goal::new(&goal, format!("{times:.1}"), times >= 3.0));
        }
        if let (kernel::KernelPeer::Ipset, Some(theirs)) = (peer, measured.bytes)
            && count >= 10_000
        {
            let goal = format!(
                "{}, {count}: no more memory than ipset's {theirs:.1} bytes",
                case.name()
            );
            report
                .goals
                .push(Goal::new(&goal, format!("{bytes:.1}"), bytes <= theirs));
        }
    }
    Ok(())
}

fn load_goal(case: Case, seconds: f64) -> Option<Goal> {
    (case == Case::Prefix).then(|| {
        let goal = "1,000,000 prefixes in force in less than a second";
        Goal::new(goal, format!("{seconds:.2} s"), seconds < 1.0)
    })
}

fn ratio_goal(case: Case, ratio: f64) -> Goal {
    let goal = format!(
        "{}: a look-up among 1M costs at most 1.5 times that among 10",
        case.name()
    );
    Goal::new(&goal, format!("{ratio:.2}"), ratio <= 1.5)
}

/// ipset's hash:ip and hash:net take 29 and 35 bytes an element as they say themselves.
fn memory_goal(case: Case, bytes: f64) -> Option<Goal> {
    let peer = match case {
        Case::Address => 29.0,
        Case::Prefix => 35.0,
        _ => return None,
    };
    let goal = format!(
        "{}: less memory than ipset's {peer} bytes an element",
        case.name()
    );
    Some(Goal::new(&goal, format!("{bytes:.1}"), bytes < peer))
}

/// Look-ups inside and outside (ns), and single-element transactions (thousands a second).
fn measure(loaded: &Loaded, runs: usize) -> anyhow::Result<(Figure, Figure, Figure)> {
    let view = loaded.set.view();
    let (_, share) = loaded.inside.run(&view);
    anyhow::ensure!(share > 0.999, "only {share} of the keys were found");
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..runs {
        samples[0].push(loaded.inside.run(&view).0);
        samples[1].push(loaded.outside.run(&view).0);
    }
    drop(view);
    for _ in 0..runs {
        samples[2].push(changes(loaded, 2_000)? / 1000.0);
    }
    Ok((
        Figure::of(&samples[0]),
        Figure::of(&samples[1]),
        Figure::of(&samples[2]),
    ))
}

/// Takes elements out and puts them back, each in a transaction of its own; transactions a second.
fn changes(loaded: &Loaded, count: usize) -> Result<f64, SetError> {
    let started = thread_ns();
    for element in loaded.elements.iter().cycle().take(count / 2) {
        let mut change = loaded.set.begin(1)?;
        change.remove(&element.key)?;
        change.commit();
        let mut change = loaded.set.begin(1)?;
        change.add(element)?;
        change.commit();
    }
    Ok(count as f64 / (thread_ns() - started) as f64 * 1e9)
}
