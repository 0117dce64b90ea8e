//! Whole programs: scans, engines that are missing, programs that lie.

use super::*;

#[test]
fn a_scan_is_the_linear_list() {
    // Thirty rules on one key with repeated constants, a drop and a write in between.
    let rules = |scan: bool| {
        let mut bench = Bench::new();
        let (key, mark) = (bench.dport(), bench.meta(Meta::Mark, 32));
        let work = bench.work(16);
        let mut rules = Vec::new();
        let mut counters = Vec::new();
        for number in 0..30u32 {
            let counter = bench.counter();
            counters.push(counter);
            let mut ops = vec![eq(key, number % 10), Op::Counter { counter }];
            if number == 12 {
                ops.push(Op::Verdict {
                    verdict: Verdict::Drop,
                });
            }
            if number == 14 {
                ops.push(immediate(work, &[7]));
                ops.push(write(Base::Transport, 16, 16, work, Some(16), false));
            }
            if !scan {
                // Another first match keeps the rules apart.
                ops.insert(0, eq(mark, 0));
            }
            rules.push((number, ops));
        }
        bench.chain(&rules);
        bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
        let packets: Vec<_> = (0..40).map(|port| frames::tcp(1, port % 12)).collect();
        let mut results = Vec::new();
        for size in [64, 3] {
            let fates = bench.run_in_batches(&packets, size);
            let counts: Vec<_> = counters
                .iter()
                .map(|counter| bench.counters.reset(*counter))
                .collect();
            results.push((fates, counts));
        }
        assert_eq!(results[0], results[1]);
        results.remove(0)
    };
    assert_eq!(rules(true), rules(false));
}

#[test]
fn engines_that_are_missing_are_named_and_refused() {
    use crate::worker::Generation;
    let mut bench = Bench::new();
    let key = bench.key(
        Source::Ct {
            key: CtKey::State,
            direction: None,
        },
        32,
        Requires::Nothing,
    );
    bench.chain(&[(1, vec![eq(key, 2)]), (2, vec![Op::Notrack])]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
    let program = std::sync::Arc::new(bench.program().unwrap());
    let make = |engines| {
        let (counters, ports) = (bench.counters.clone(), Default::default());
        Generation::new(1, program.clone(), vec![], vec![], counters, ports, engines)
    };
    assert_eq!(
        make(0).unwrap_err().to_string(),
        "the ruleset needs connection tracking, which this dataplane does not have"
    );
    assert!(make(engines::TRACK).is_ok());
    bench.engines = engines::TRACK;
    assert!(
        bench
            .run(&[frames::tcp(1, 2)])
            .iter()
            .all(|fate| matches!(fate, Fate::Drop { .. }))
    );
}

#[test]
fn programs_that_lie_are_refused() {
    let refusal = |ops: Vec<Op>, mut bench: Bench| {
        bench.chain(&[(1, ops)]);
        bench.program().unwrap_err()
    };
    let mut bench = Bench::new();
    let key = bench.dport();
    let wide = Op::Compare {
        key,
        relation: Relation::Eq,
        value: value(&[0, 1]),
    };
    assert!(matches!(
        refusal(vec![wide], bench),
        Malformed::Width { .. }
    ));
    let mut bench = Bench::new();
    let key = bench.dport();
    assert!(matches!(
        refusal(vec![immediate(key, &[1])], bench),
        Malformed::NotWork { .. }
    ));
    let mut bench = Bench::new();
    let work = bench.work(32);
    assert!(matches!(
        refusal(vec![eq(work, 1)], bench),
        Malformed::Invalid(_)
    ));
    let unknown = Op::LookUp {
        set: SetId(3),
        keys: Slots::new(),
        inverted: false,
    };
    assert!(matches!(
        refusal(vec![unknown], Bench::new()),
        Malformed::OutOfRange { .. }
    ));
    let itself = Op::Verdict {
        verdict: Verdict::Jump { chain: ChainId(0) },
    };
    assert!(matches!(
        refusal(vec![itself], Bench::new()),
        Malformed::Loop { .. }
    ));
    let mut bench = Bench::new();
    for chain in 0..17 {
        bench.chain(&[(
            1,
            vec![Op::Verdict {
                verdict: Verdict::Jump {
                    chain: ChainId(chain + 1),
                },
            }],
        )]);
    }
    bench.chain(&[]);
    assert!(matches!(
        bench.program().unwrap_err(),
        Malformed::TooDeep { .. }
    ));
}
