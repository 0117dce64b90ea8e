//! Random rulesets and frames through the kernel and through sluice: every frame out, byte by
//! byte, and every counter.
//!
//! `SLUICE_ORACLE_SEED` sets the first seed (default: a new one each time, printed),
//! `SLUICE_ORACLE_CASES` how many rulesets.

use std::collections::BTreeMap;

use sluice_tests::oracle::compare::{Verdict, compare, shrink};
use sluice_tests::oracle::generate::Case;
use sluice_tests::oracle::kernel::KernelBridge;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_kernel_and_sluice_agree_on_random_rulesets() {
    if !sluice_tests::needs(&["nft"]) {
        return;
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let first = number("SLUICE_ORACLE_SEED").unwrap_or(now.as_secs() * 1000 % 1_000_000_000);
    let count = number("SLUICE_ORACLE_CASES").unwrap_or(300);
    println!("oracle: {count} rulesets from seed {first}");
    let kernel = KernelBridge::new().unwrap();
    let (mut same, mut refused) = (0, 0);
    // Construct to counters that moved and counters that did not.
    let mut matrix: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut differences = Vec::new();
    for seed in first..first + count {
        let case = Case::random(seed);
        match compare(&kernel, &case).unwrap() {
            Verdict::Refused(_) => refused += 1,
            Verdict::Same(outcome) => {
                same += 1;
                let rules = case
                    .tables
                    .iter()
                    .flat_map(|table| &table.chains)
                    .flat_map(|chain| &chain.rules);
                for (rule, counter) in rules.zip(&outcome.counters) {
                    for construct in &rule.constructs {
                        let cell = matrix.entry(construct.clone()).or_default();
                        *(if counter.0 > 0 {
                            &mut cell.0
                        } else {
                            &mut cell.1
                        }) += 1;
                    }
                }
            }
            Verdict::Different(words) => {
                let least = shrink(&kernel, &case).unwrap();
                let words = match compare(&kernel, &least).unwrap() {
                    Verdict::Different(words) => words,
                    _ => format!("(not seen again) {words}"),
                };
                let frames: Vec<String> = least
                    .bytes()
                    .iter()
                    .map(|frame| format!("{frame:02x?}"))
                    .collect();
                differences.push(format!(
                    "seed {seed}\n{}{}\n{words}\n",
                    least.ruleset(),
                    frames.join("\n")
                ));
                if differences.len() >= 10 {
                    break;
                }
            }
        }
    }
    println!(
        "{same} the same, {refused} refused by nft, {} different",
        differences.len()
    );
    if std::env::var_os("SLUICE_ORACLE_MATRIX").is_some() {
        for (construct, (hit, miss)) in &matrix {
            println!("{construct:60} hit {hit:5} miss {miss:5}");
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n----\n"));
    assert!(
        same * 2 > count,
        "most rulesets are refused by nft: {refused} of {count}"
    );
}
