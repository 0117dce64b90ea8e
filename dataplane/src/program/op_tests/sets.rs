//! Sets and maps, with a list as the reference.

use super::super::lane_set::{Change, LaneSet, Moment};
use super::super::lanes::{Column, lanes};
use super::*;

/// A set of one-column keys in a list, as a reference.
#[derive(Debug)]
struct ListSet {
    data: SetData,
    elements: std::sync::Mutex<Vec<(u32, u32)>>,
    size: usize,
}

impl ListSet {
    fn new(data: SetData, elements: &[(u32, u32)]) -> std::sync::Arc<Self> {
        let size = elements.len() + 1;
        std::sync::Arc::new(Self {
            data,
            elements: elements.to_vec().into(),
            size,
        })
    }
}

impl LaneSet for ListSet {
    fn desc(&self) -> SetDesc {
        SetDesc {
            key_columns: 1,
            data: self.data.clone(),
        }
    }

    fn look_up(&self, key: &[&Column], among: u64, _: &Moment<'_>, data: &mut [Column]) -> u64 {
        let elements = self.elements.lock().unwrap();
        let mut found = 0;
        for lane in lanes(among) {
            if let Some((_, value)) = elements
                .iter()
                .find(|(element, _)| *element == key[0][lane])
            {
                found |= 1 << lane;
                if let Some(column) = data.first_mut() {
                    column[lane] = *value;
                }
            }
        }
        found
    }

    fn change(&self, key: &[&Column], among: u64, _: &Moment<'_>, change: &Change<'_>) -> u64 {
        let mut elements = self.elements.lock().unwrap();
        let mut going_on = 0;
        for lane in lanes(among) {
            let word = key[0][lane];
            let known = elements.iter().position(|(element, _)| *element == word);
            match (change.action, known) {
                (SetAction::Delete, Some(at)) => _ = elements.remove(at),
                (SetAction::Delete, None) | (_, Some(_)) => {}
                (_, None) if elements.len() >= self.size => continue,
                (_, None) => {
                    elements.push((word, change.data.first().map_or(0, |data| data[lane])))
                }
            }
            going_on |= 1 << lane;
        }
        going_on
    }
}

#[test]
fn sets_and_maps_are_looked_up() {
    let aimed = [
        frames::tcp(1, 22),
        frames::tcp(1, 80),
        frames::tcp(1, 81),
        frames::udp(1, 22),
    ];
    for (inverted, expected) in [
        (false, [true, true, false, false]),
        (true, [false, false, true, false]),
    ] {
        let mut bench = Bench::new();
        let key = bench.dport();
        let set = bench.set(ListSet::new(SetData::Nothing, &[(22, 0), (80, 0)]));
        let op = Op::LookUp {
            set,
            keys: [key].into_iter().collect(),
            inverted,
        };
        assert_eq!(bench.matching(&[op], &aimed), expected);
    }
    let mut bench = Bench::new();
    let (key, into) = (bench.dport(), bench.work(32));
    let set = bench.set(ListSet::new(
        SetData::Columns { count: 1 },
        &[(22, 5), (80, 6)],
    ));
    let keys: Slots = [key].into_iter().collect();
    let ops = [Op::MapInto { set, keys, into }, eq(into, 6)];
    assert_eq!(bench.matching(&ops, &aimed), [false, true, false, false]);
}

#[test]
fn verdict_maps_give_each_lane_its_own_and_a_miss_ends_the_rule() {
    let mut bench = Bench::new();
    let (key, behind, called) = (bench.dport(), bench.counter(), bench.counter());
    let word = |verdict: Verdict| verdict.to_word();
    let set = bench.set(ListSet::new(
        SetData::Verdict,
        &[
            (1, word(Verdict::Accept)),
            (2, word(Verdict::Drop)),
            (3, word(Verdict::Continue)),
            (4, word(Verdict::Jump { chain: ChainId(1) })),
            (5, word(Verdict::Jump { chain: ChainId(0) })),
        ],
    ));
    let keys: Slots = [key].into_iter().collect();
    bench.chain(&[
        (
            1,
            vec![
                Op::VerdictMap { set, keys },
                Op::Counter { counter: behind },
            ],
        ),
        (
            2,
            vec![
                eq(key, 4),
                Op::Verdict {
                    verdict: Verdict::Accept,
                },
            ],
        ),
    ]);
    bench.chain(&[(3, vec![Op::Counter { counter: called }])]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Drop);
    bench.map_targets(set, &[ChainId(1)]);
    let fates = bench.run(&[1, 2, 3, 4, 5, 6].map(|port| frames::tcp(9, port)));
    let reasons: Vec<_> = fates
        .iter()
        .map(|fate| match fate {
            Fate::Send(_) | Fate::Held => None,
            Fate::Drop { reason, .. } => Some(*reason),
        })
        .collect();
    use crate::DropReason::{JumpDepth, PolicyDrop, RuleDrop};
    // A verdict that names a chain which is not deeper is a drop, not a loop.
    let expected = [
        None,
        Some(RuleDrop),
        Some(PolicyDrop),
        None,
        Some(JumpDepth),
        Some(PolicyDrop),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(bench.counters.read(behind).packets, 1);
    assert_eq!(bench.counters.read(called).packets, 1);
}

#[test]
fn object_maps_run_the_object() {
    let mut bench = Bench::new();
    let (key, counter) = (bench.dport(), bench.counter());
    let kind = ObjectKind::Counter;
    let set = bench.set(ListSet::new(SetData::Object { kind }, &[(80, counter.0)]));
    let op = Op::ObjectMap {
        set,
        keys: [key].into_iter().collect(),
        kind,
    };
    let aimed = [frames::tcp(1, 80), frames::tcp(1, 81)];
    assert_eq!(bench.matching(&[op], &aimed), [true, false]);
    assert_eq!(bench.counters.read(counter).packets, 1);
}

#[test]
fn dynamic_sets_end_the_rule_when_they_are_full() {
    let mut bench = Bench::new();
    let key = bench.dport();
    let set = bench.set(ListSet::new(SetData::Nothing, &[(1, 0)]));
    let op = Op::DynSet {
        set,
        keys: [key].into_iter().collect(),
        action: SetAction::Add,
        timeout_ms: None,
        data: Slots::new(),
        statements: Default::default(),
    };
    let aimed = [2, 3, 1, 2].map(|port| frames::tcp(9, port));
    assert_eq!(bench.matching(&[op], &aimed), [true, false, true, true]);
}
