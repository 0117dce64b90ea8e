//! The types of ipset that the kernel of the other tests need not have: written sessions with the answers
//! that ipset(8) and the texts of ipset 7.17 ask for.
//!
//! The files in `ipset/golden/` hold command lines behind `$`, each followed by its answer: standard output,
//! standard error (behind `!`), and `=` with the exit code where it is not 0. Behind `#` stands what decides,
//! mostly a sentence of the manual. Input of `restore` stands behind `<<`, its lines separated by `|`.

use std::fmt::Write as _;

use sluice_config::ipset::words::words;
use sluice_tests::ipset::normal::normal;
use sluice_tests::ipset::sides::{Line, Ours};

/// A command line, and the answer that is written behind it.
struct Step {
    line: String,
    answer: String,
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: line.to_owned(),
                answer: String::new(),
            });
        } else if !line.starts_with('#') && !line.is_empty() {
            let step = steps.last_mut().expect("an answer stands behind a command");
            let _ = writeln!(step.answer, "{line}");
        }
    }
    steps
}

fn read(line: &str) -> Line {
    let (line, input) = line.split_once(" << ").unwrap_or((line, ""));
    Line {
        words: words(line),
        input: input
            .split('|')
            .filter(|line| !line.is_empty())
            .map(|line| format!("{line}\n"))
            .collect(),
    }
}

fn answer(ours: &mut Ours, line: &Line) -> String {
    let said = normal(&ours.ask(line), false);
    let mut text = String::new();
    for line in said.output.lines().filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{line}");
    }
    for line in said.errors.lines() {
        let _ = writeln!(text, "! {line}");
    }
    if said.code != 0 {
        let _ = writeln!(text, "= {}", said.code);
    }
    text
}

fn hold(name: &str) {
    let path = format!("{}/tests/ipset/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the session can be read");
    let mut ours = Ours::new();
    let mut different = String::new();
    let steps = steps(&text);
    assert!(steps.len() > 20, "a session of {} lines", steps.len());
    for step in steps {
        let got = answer(&mut ours, &read(&step.line));
        if got != step.answer {
            let _ = write!(
                different,
                "$ {}\nwanted:\n{}got:\n{got}",
                step.line, step.answer
            );
        }
    }
    assert!(different.is_empty(), "{different}");
}

#[test]
fn hash_mac_answers_as_the_manual_says() {
    hold("hash_mac");
}

#[test]
fn hash_ip_mac_answers_as_the_manual_says() {
    hold("hash_ip_mac");
}

#[test]
fn hash_net_net_answers_as_the_manual_says() {
    hold("hash_net_net");
}

#[test]
fn hash_ip_mark_answers_as_the_manual_says() {
    hold("hash_ip_mark");
}

#[test]
fn hash_net_port_net_answers_as_the_manual_says() {
    hold("hash_net_port_net");
}
