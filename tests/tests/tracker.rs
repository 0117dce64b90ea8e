//! The kernel's connection tracker and sluice's state machines, packet by packet.
//!
//! `SLUICE_TRACKER_SEED` begins at another seed, `SLUICE_TRACKER_CASES` asks for more conversations.

use std::fmt::Write;

use sluice_tests::tracker::kernel::KernelRouter;
use sluice_tests::tracker::model::Model;
use sluice_tests::tracker::{Rules, Step, Verdict, random, script};

/// Shows both sides a conversation; yields a report when they differ.
fn differ(kernel: &KernelRouter, rules: Rules, steps: &[Step]) -> Option<String> {
    kernel.set(rules).expect("settings can be set");
    let mut model = Model::new(rules);
    let mut report = format!("{rules:?}\n");
    let mut same = true;
    for step in steps {
        let expected = kernel.show(step).expect("a socket fails");
        let seen = model.show(step);
        let agree = expected.is_some_and(|expected| agree(expected, seen));
        let mark = if agree { " " } else { "!" };
        writeln!(report, "{mark} {:?} {}", step.from, step.what).unwrap();
        let state = model.state();
        writeln!(report, "      kernel {expected:?}").unwrap();
        writeln!(report, "      sluice {seen:?} {:?} {state}", model.reason).unwrap();
        same &= agree;
    }
    (!same).then_some(report)
}

/// What the kernel shows of a packet that begins or ends a flow is not its timeout.
fn agree(kernel: Verdict, sluice: Verdict) -> bool {
    let times = sluice.timeout.is_none() || kernel.timeout == sluice.timeout;
    let kernel = Verdict {
        timeout: sluice.timeout,
        ..kernel
    };
    times && kernel == sluice
}

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().expect(name))
}

#[test]
fn scripted_conversations_are_judged_as_by_the_kernel() {
    if !sluice_tests::needs(&["nft", "ip"]) {
        return;
    }
    let kernel = KernelRouter::new().unwrap();
    let mut client = 10_000;
    let scripts = script::all(&mut client);
    let mut failures = Vec::new();
    for script in &scripts {
        if let Some(report) = differ(&kernel, script.rules, &script.steps) {
            failures.push(format!("{}: {report}", script.name));
        }
    }
    let (failed, all) = (failures.len(), scripts.len());
    assert!(
        failures.is_empty(),
        "{failed} of {all} differ:\n{}",
        failures.join("\n")
    );
}

#[test]
fn random_conversations_are_judged_as_by_the_kernel() {
    if !sluice_tests::needs(&["nft", "ip"]) {
        return;
    }
    let kernel = KernelRouter::new().unwrap();
    // A range without one of the open differences that docs/compatibility.md lists.
    let first = number("SLUICE_TRACKER_SEED", 149);
    let cases = number("SLUICE_TRACKER_CASES", 150);
    let (mut failures, mut failed, mut packets) = (Vec::new(), 0, 0);
    for (place, seed) in (first..first + cases).enumerate() {
        // Ports come round only when the flows that used them are among many others.
        let client = 1024 + (place % 60_000) as u16;
        let talk = random::talk(seed, client);
        packets += talk.steps.len();
        if let Some(report) = differ(&kernel, talk.rules, &talk.steps) {
            failed += 1;
            if failures.len() < 8 {
                failures.push(format!("seed {seed}: {report}"));
            }
        }
    }
    println!("{cases} conversations, {packets} packets");
    assert!(
        failed == 0,
        "{failed} of {cases} differ:\n{}",
        failures.join("\n")
    );
}
