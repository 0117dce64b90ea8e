//! Our ipset against the kernel's: the same command lines, the same answers.
//!
//! Random command lines begin with a seed from the clock, which is told; `SLUICE_IPSET_SEED` and
//! `SLUICE_IPSET_CASES` ask for others and for more.

use sluice_config::ipset::create::Cut;
use sluice_config::ipset::kind::Family;
use sluice_tests::ipset::generate::{Generator, Known};
use sluice_tests::ipset::normal::normal;
use sluice_tests::ipset::sides::{Kernel, Line, Ours};

/// Command lines of one sequence.
const LENGTH: usize = 120;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

fn is_sorted(line: &Line) -> bool {
    line.words
        .iter()
        .any(|word| matches!(word.as_str(), "-s" | "-sorted"))
}

/// Asks both; the difference, if there is one.
fn compare(kernel: &Kernel, ours: &mut Ours, line: &Line) -> Result<(), String> {
    let sorted = is_sorted(line);
    let wanted = normal(&kernel.ask(line).unwrap(), sorted);
    let got = normal(&ours.ask(line), sorted);
    if wanted == got {
        return Ok(());
    }
    Err(format!("$ {line}\nkernel: {wanted:#?}\nsluice: {got:#?}"))
}

#[test]
fn the_kernels_ipset_and_ours_answer_random_commands_alike() {
    if !sluice_tests::needs(&["ipset"]) {
        return;
    }
    let first = number("SLUICE_IPSET_SEED", sluice_tests::ipset::clock_seed());
    eprintln!("SLUICE_IPSET_SEED={first}");
    let mut differences = Vec::new();
    for seed in first..first + number("SLUICE_IPSET_CASES", 6) {
        let (kernel, mut ours) = (Kernel::new().unwrap(), Ours::new());
        let mut generator = Generator::new(seed);
        let mut history = Vec::new();
        for _ in 0..LENGTH {
            let sets = ours.0.ruleset().ipsets.clone();
            let line = generator.line(&|name| {
                let set = sets.get(name)?;
                Some(Known {
                    ty: set.header.ty().name.to_owned(),
                    v6: set.header.family == Family::Inet6,
                    cut: set.header.cut != Cut::Whole,
                    timed: set.header.timeout.is_some(),
                })
            });
            history.push(line.to_string());
            if let Err(difference) = compare(&kernel, &mut ours, &line) {
                let history = history.join("\n");
                differences.push(format!("seed {seed}:\n{history}\n{difference}"));
                break;
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} sequences differ:\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}

/// The recorded command lines: what scripts do, and every text that was found by asking.
#[test]
fn the_kernels_ipset_and_ours_answer_a_written_session_alike() {
    if !sluice_tests::needs(&["ipset"]) {
        return;
    }
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ipset/session"))
        .unwrap();
    let mut differences = Vec::new();
    for part in text.split("\n\n") {
        let (kernel, mut ours) = (Kernel::new().unwrap(), Ours::new());
        for line in part.lines().filter(|line| !line.starts_with('#')) {
            let line = read(line);
            if let Err(difference) = compare(&kernel, &mut ours, &line) {
                differences.push(difference);
            }
        }
    }
    assert!(
        differences.is_empty(),
        "{} lines differ:\n{}",
        differences.len(),
        differences.join("\n\n")
    );
}

/// A line of a session: the words of a command line, cut as `restore` cuts them but with `""` for a word
/// of nothing, and behind `<<` the lines of its input, separated by `|`.
fn read(line: &str) -> Line {
    const NOTHING: &str = "\u{1}";
    let (words, input) = line.split_once(" << ").unwrap_or((line, ""));
    let words = sluice_config::ipset::words::words(&words.replace("\"\"", NOTHING));
    Line {
        words: words.iter().map(|word| word.replace(NOTHING, "")).collect(),
        input: input
            .split('|')
            .filter(|line| !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect(),
    }
}
