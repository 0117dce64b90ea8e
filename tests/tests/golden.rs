//! The golden cases: what the kernel did, or what the manual page says where this kernel cannot
//! be asked, replayed through sluice alone.

use std::path::Path;

use sluice_tests::oracle::golden::replay;

#[test]
fn each_golden_case_is_what_comes_out() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        count += 1;
        if let Err(words) = replay(&folder) {
            failures.push(format!("{}: {words}", folder.display()));
        }
    }
    assert!(count > 0, "there are no golden cases");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
