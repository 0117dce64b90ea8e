//! Whole sessions, command by command, against what the real nft answered: exit status, output and
//! errors, texts and carets.
//!
//! The files in `sessions/` hold commands and their answers. `$ words` is a command line, `< name`
//! begins a file for `nft -f name` that ends with a line `.`; what follows up to the next of these is
//! the recorded answer, with `= status` as its last line. They were recorded from nft 1.0.6 in a network namespace of their own;
//! `SLUICE_RECORD=1 cargo test -p sluice-config --test sessions` records them anew. A line `?? why`
//! before a command says that a difference is meant to be; the answer behind it is our own.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sluice_config::engine::{Engine, ListOptions, Request};

/// One command.
#[derive(Clone, Debug)]
struct Step {
    why: Option<String>,
    /// The line that begins it.
    line: String,
    /// The file's text, for files.
    text: Option<String>,
    answer: String,
}

fn read(path: &Path) -> Vec<Step> {
    let content = std::fs::read_to_string(path).expect("the session can be read");
    let mut steps: Vec<Step> = Vec::new();
    let mut why = None;
    let mut lines = content.lines();
    while let Some(line) = lines.next() {
        if let Some(reason) = line.strip_prefix("?? ") {
            why = Some(reason.to_owned());
        } else if line.starts_with("$ ") {
            steps.push(Step {
                why: why.take(),
                line: line.to_owned(),
                text: None,
                answer: String::new(),
            });
        } else if line.starts_with("< ") {
            let text: String = lines
                .by_ref()
                .take_while(|line| *line != ".")
                .fold(String::new(), |all, line| all + line + "\n");
            steps.push(Step {
                why: why.take(),
                line: line.to_owned(),
                text: Some(text),
                answer: String::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            step.answer.push_str(line);
            step.answer.push('\n');
        }
    }
    steps
}

fn written(steps: &[Step]) -> String {
    let mut out = String::new();
    for step in steps {
        if let Some(why) = &step.why {
            let _ = writeln!(out, "?? {why}");
        }
        let _ = writeln!(out, "{}", step.line);
        if let Some(text) = &step.text {
            let _ = writeln!(out, "{text}.");
        }
        out.push_str(&step.answer);
    }
    out
}

/// Words of a command line: options, and the rest as one text.
fn options(line: &str) -> (ListOptions, &str) {
    let mut options = ListOptions::default();
    let mut rest = line;
    while let Some((flag, behind)) = rest.strip_prefix('-').and_then(|rest| rest.split_once(' ')) {
        match flag {
            "a" => options.handles = true,
            "n" => options.numeric = 1,
            "s" => options.stateless = true,
            "t" => options.terse = true,
            "y" => options.numeric_priorities = true,
            "S" => options.services = true,
            "p" => options.numeric_protocols = true,
            "e" => options.echo = true,
            "T" => options.numeric_times = true,
            _ => panic!("unknown option in a session: {flag}"),
        }
        rest = behind;
    }
    (options, rest)
}

/// What passes between recording and playing does not count: how long elements still live, which
/// process made which generation; and who uses a busy thing is said by us alone.
fn normalised(answer: &str) -> String {
    let mut out = String::new();
    for line in answer
        .lines()
        .filter(|line| !line.starts_with("# new generation"))
    {
        let line = line
            .split_once("; it is used by ")
            .map_or(line, |(before, _)| before);
        let mut words = line.split(' ').peekable();
        let mut first = true;
        while let Some(word) = words.next() {
            if !first {
                out.push(' ');
            }
            first = false;
            out.push_str(word);
            if word == "expires"
                && let Some(time) = words.next()
            {
                out.push_str(" T");
                out.push_str(
                    time.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric()),
                );
            }
        }
        out.push('\n');
    }
    out
}

fn ours(steps: &[Step]) -> Vec<String> {
    let mut engine = Engine::workbench();
    let answer = |step: &Step| {
        let request = match &step.text {
            Some(text) => Request::file(step.line.trim_start_matches("< "), text),
            None => {
                let (options, words) = options(step.line.trim_start_matches("$ "));
                Request {
                    options,
                    ..Request::command(words)
                }
            }
        };
        match engine.run(request) {
            Ok(reply) => format!("{}= 0\n", reply.output),
            Err(refusal) => format!("{}{}= 1\n", refusal.output, refusal.rendered),
        }
    };
    steps.iter().map(answer).collect()
}

/// The same commands to the real nft, all in one fresh namespace.
fn kernel(steps: &[Step]) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut script = String::from("ip link set lo up\n");
    for (index, step) in steps.iter().enumerate() {
        let run = match &step.text {
            Some(text) => {
                let name = step.line.trim_start_matches("< ");
                let _ = writeln!(script, "cat > {name} <<'END_OF_FILE'\n{text}END_OF_FILE");
                format!("nft -f {name}")
            }
            None => {
                let line = step.line.trim_start_matches("$ ");
                let (_, words) = options(line);
                let flags = &line[..line.len() - words.len()];
                format!("nft {flags} '{}'", words.replace('\'', "'\\''"))
            }
        };
        let _ = writeln!(
            script,
            "{run} > answer.{index} 2>&1; echo \"= $?\" >> answer.{index}"
        );
    }
    let status = Command::new("unshare")
        .args(["-rn", "bash", "-s"])
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            use std::io::Write as _;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(script.as_bytes())?;
            }
            child.wait()
        });
    assert!(status.expect("unshare runs").success());
    let answer = |index| std::fs::read_to_string(folder.path().join(format!("answer.{index}")));
    (0..steps.len())
        .map(|index| answer(index).expect("an answer"))
        .collect()
}

fn sessions() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sessions");
    let entries = std::fs::read_dir(folder).expect("the folder of sessions");
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_answer_is_nfts() {
    let record = std::env::var_os("SLUICE_RECORD").is_some();
    let mut differences = String::new();
    for path in sessions() {
        let mut steps = read(&path);
        let ours = ours(&steps);
        if record {
            let kernel = kernel(&steps);
            for ((step, kernel), ours) in steps.iter_mut().zip(kernel).zip(&ours) {
                step.answer = if step.why.is_some() {
                    ours.clone()
                } else {
                    kernel
                };
            }
            std::fs::write(&path, written(&steps)).expect("the session can be written");
        }
        for (step, ours) in steps.iter().zip(&ours) {
            if normalised(&step.answer) != normalised(ours) {
                let name = path.file_name().unwrap_or_default().display();
                let _ = writeln!(
                    differences,
                    "{name}: {}\n--- nft\n{}+++ ours\n{ours}",
                    step.line, step.answer
                );
            }
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
