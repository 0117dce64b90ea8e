//! The oracle's kernel side by itself: it forwards, drops and counts.

use sluice_tests::oracle::generate::Case;
use sluice_tests::oracle::kernel::KernelBridge;

#[test]
fn the_kernels_bridge_judges_random_rulesets() {
    if !sluice_tests::needs(&["nft"]) {
        return;
    }
    let kernel = KernelBridge::new().unwrap();
    let (mut accepted, mut hits, mut forwarded) = (0, 0, 0);
    let mut refused = std::collections::BTreeSet::new();
    for seed in 0..60 {
        let case = Case::random(seed);
        match kernel.judge(&case.ruleset(), &case.bytes()) {
            Ok(outcome) => {
                accepted += 1;
                hits += outcome
                    .counters
                    .iter()
                    .filter(|counter| counter.0 > 0)
                    .count();
                forwarded += outcome.right.len();
            }
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => {
                refused.insert(error.to_string());
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(
        accepted > 40,
        "only {accepted} of 60 rulesets were accepted: {refused:#?}"
    );
    assert!(
        hits > 60 && forwarded > 500,
        "{hits} counters moved, {forwarded} frames forwarded"
    );
}
