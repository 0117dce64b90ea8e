//! Whole rulesets, listed as nft lists them.
//!
//! Each `rulesets/NAME.nft` is loaded; `NAME.listed` is what nft 1.0.6 listed after a trip through the kernel
//! (`SLUICE_RECORD=1` asks it again, in a network namespace). What is listed must load and list the same.

use std::path::{Path, PathBuf};
use std::process::Command;

use sluice_config::engine::{Engine, Request};

fn files() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rulesets");
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|f| f.extension().is_some_and(|e| e == "nft"))
        .collect();
    files.sort();
    files
}

fn record(file: &Path) {
    let script = format!("nft -f '{}' && nft list ruleset", file.display());
    let output = Command::new("unshare")
        .args(["-rn", "sh", "-c", &script])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::fs::write(file.with_extension("listed"), output.stdout).unwrap();
}

fn listed(name: &str, text: &str) -> String {
    let mut engine = Engine::workbench();
    if let Err(refusal) = engine.run(Request::file(name, text)) {
        panic!("{name} is refused:\n{}", refusal.rendered);
    }
    match engine.run(Request::command("list ruleset")) {
        Ok(reply) => reply.output,
        Err(refusal) => panic!("no listing: {}", refusal.rendered),
    }
}

/// The first lines that differ.
fn difference(nft: &str, ours: &str) -> Option<String> {
    let mut lines = nft.lines().zip(ours.lines()).enumerate();
    match lines.find(|(_, (a, b))| a != b) {
        Some((i, (a, b))) => Some(format!("line {}:\n  nft:    {a}\n  sluice: {b}", i + 1)),
        None if nft.lines().count() != ours.lines().count() => Some("one ends earlier".to_owned()),
        None => None,
    }
}

#[test]
fn rulesets_list_as_nft_lists_them() {
    let files = files();
    assert!(files.len() >= 4, "rulesets are missing");
    for file in files {
        if std::env::var_os("SLUICE_RECORD").is_some() {
            record(&file);
        }
        let name = file.display().to_string();
        let expected = std::fs::read_to_string(file.with_extension("listed")).unwrap();
        let ours = listed(&name, &std::fs::read_to_string(&file).unwrap());
        if let Some(difference) = difference(&expected, &ours) {
            panic!("{name}, {difference}");
        }
        if let Some(difference) = difference(&ours, &listed(&name, &ours)) {
            panic!("{name}, loaded again, {difference}");
        }
    }
}
