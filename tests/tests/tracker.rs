//! The kernel's connection tracker and sluice's, packet by packet.
//!
//! The seeds of random conversations come from the clock and are printed: `SLUICE_TRACKER_SEED` begins at a
//! given one, `SLUICE_TRACKER_CASES` asks for more or fewer conversations.

use std::fmt::Write;

use sluice_tests::tracker::kernel::KernelRouter;
use sluice_tests::tracker::model::Model;
use sluice_tests::tracker::{Rules, Side, State, Step, Verdict, packets, random, script};

/// Shows both sides a conversation; yields a report when they differ.
fn differ(kernel: &KernelRouter, rules: Rules, steps: &[Step]) -> Option<String> {
    kernel.set(rules).expect("settings can be set");
    let mut model = Model::new(rules).expect("memory for a small table");
    let mut report = format!("{rules:?}\n");
    let mut same = true;
    for step in steps {
        let expected = kernel.show(step).expect("a socket fails");
        let seen = model.show(step);
        let agree = expected.is_some_and(|expected| agree(expected, seen));
        let mark = if agree { " " } else { "!" };
        writeln!(report, "{mark} {:?} {}", step.from, step.what).unwrap();
        let (reason, state) = (model.reason, model.state);
        writeln!(report, "      kernel {expected:?}").unwrap();
        writeln!(report, "      sluice {seen:?} {reason:?} {state:?}").unwrap();
        same &= agree;
    }
    (!same).then_some(report)
}

/// Shows a conversation, and again with other ports when they differ: a machine that stalls for seconds
/// lets the kernel's short timeouts run out. Yields a report when they always differ.
fn differ_always(
    kernel: &KernelRouter,
    mut conversation: impl FnMut(u8) -> (Rules, Vec<Step>),
) -> Option<String> {
    let mut report = None;
    for turn in 0..3 {
        let (rules, steps) = conversation(turn);
        report = Some(differ(kernel, rules, &steps)?);
    }
    report
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

/// A seed of now.
fn of_the_clock() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| since.as_millis() as u64)
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
    for (place, script) in scripts.iter().enumerate() {
        let conversation = |turn| {
            // While there are ports for it.
            let steps = if turn > 0 && client < 60_000 {
                script::all(&mut client).swap_remove(place).steps
            } else {
                script.steps.clone()
            };
            (script.rules, steps)
        };
        if let Some(report) = differ_always(&kernel, conversation) {
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
    let first = number("SLUICE_TRACKER_SEED", of_the_clock());
    println!("conversations from SLUICE_TRACKER_SEED={first} on");
    let cases = number("SLUICE_TRACKER_CASES", 150);
    let (mut failures, mut failed, mut packets) = (Vec::new(), 0, 0);
    // Ports come round only when the flows that used them are among many others.
    let mut clients = (1024..=u16::MAX).cycle();
    for seed in first..first + cases {
        let conversation = |_| {
            let talk = random::talk(seed, clients.next().unwrap_or(1024));
            packets += talk.steps.len();
            (talk.rules, talk.steps)
        };
        if let Some(report) = differ_always(&kernel, conversation) {
            failed += 1;
            if failures.len() < 8 {
                failures.push(format!("seed {seed}: {report}"));
            }
        }
    }
    println!("{cases} conversations, {packets} packets");
    assert!(
        failed == 0,
        "{failed} of {cases} differ, from SLUICE_TRACKER_SEED={first} on:\n{}",
        failures.join("\n")
    );
}

/// Why the other tests do not have checksums of UDP-Lite verified.
#[test]
fn the_kernel_sums_udp_lite_as_if_it_were_udp() {
    if !sluice_tests::needs(&["nft", "ip"]) {
        return;
    }
    let kernel = KernelRouter::new().unwrap();
    kernel.set(Rules::default()).unwrap();
    for v6 in [false, true] {
        for summed_as in [17, 136] {
            let mut message = packets::ports(Side::Left, 9000 + u16::from(summed_as), 53).to_vec();
            message.extend([0, 0, 0, 0, 1, 2, 3, 4]);
            let at = if v6 { 46 } else { 26 };
            let summed = packets::ip(v6, summed_as, Side::Left, &message);
            let mut packet = packets::ip(v6, 136, Side::Left, &message);
            packet[at..at + 2].copy_from_slice(&summed[at..at + 2]);
            let step = Step {
                from: Side::Left,
                packet,
                what: format!("UDP-Lite summed as {summed_as}"),
                pause: 0,
            };
            let seen = kernel.show(&step).unwrap().map(|verdict| verdict.state);
            let by_the_kernel = if summed_as == 17 {
                State::New
            } else {
                State::Invalid
            };
            assert_eq!(seen, Some(by_the_kernel), "{} v6 {v6}", step.what);
            let seen = Model::new(Rules::default()).unwrap().show(&step).state;
            assert_eq!(
                seen == State::New,
                summed_as == 136,
                "{} v6 {v6}",
                step.what
            );
        }
    }
}
