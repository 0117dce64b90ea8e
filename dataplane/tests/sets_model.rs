//! Every set structure against a naive model, through random interleavings of change, commit, undo,
//! flush, expiry, sweeping and look-up.

use std::sync::Arc;

use proptest::prelude::*;
use sluice_dataplane::sets::{Column, Element, Key, LANES, Places, Set, SetError, SetSpec, Shape};

/// An element as the model has it.
#[derive(Clone, Debug, PartialEq)]
struct Naive {
    low: Vec<u32>,
    high: Vec<u32>,
    data: u32,
    expires_ns: u64,
    nomatch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    /// Elements that meet are refused.
    Disjoint,
    /// The one with the smallest fields, first field first, decides.
    Nested,
}

#[derive(Clone, Debug)]
struct Model {
    fields: Vec<usize>,
    rule: Rule,
    elements: Vec<Naive>,
}

impl Model {
    fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        let mut at = 0;
        let range = |&words: &usize| {
            at += words;
            at - words..at
        };
        self.fields.iter().map(range).collect()
    }

    fn holds(&self, element: &Naive, key: &[u32]) -> bool {
        self.ranges().into_iter().all(|field| {
            element.low[field.clone()] <= key[field.clone()]
                && key[field.clone()] <= element.high[field]
        })
    }

    fn meets(&self, a: &Naive, low: &[u32], high: &[u32]) -> bool {
        self.ranges().into_iter().all(|field| {
            a.low[field.clone()] <= high[field.clone()] && low[field.clone()] <= a.high[field]
        })
    }

    fn width(&self, element: &Naive) -> Vec<u128> {
        let number = |words: &[u32]| {
            words
                .iter()
                .fold(0u128, |n, &word| n << 32 | u128::from(word))
        };
        self.ranges()
            .into_iter()
            .map(|field| number(&element.high[field.clone()]) - number(&element.low[field]))
            .collect()
    }

    fn look_up(&self, key: &[u32], now_ns: u64) -> Option<u32> {
        let holding = self
            .elements
            .iter()
            .filter(|e| e.expires_ns > now_ns && self.holds(e, key));
        holding
            .min_by_key(|e| (self.width(e), e.low.clone()))
            .filter(|e| !e.nomatch)
            .map(|e| e.data)
    }

    fn find(&self, low: &[u32], high: &[u32], now_ns: u64) -> Option<usize> {
        self.elements
            .iter()
            .position(|e| e.low == low && e.high == high && e.expires_ns > now_ns)
    }

    fn add(&mut self, element: Naive, now_ns: u64) -> Result<(), SetError> {
        self.elements.retain(|e| e.expires_ns > now_ns);
        if let Some(at) = self.find(&element.low, &element.high, now_ns) {
            let old = &self.elements[at];
            let same = old.data == element.data && old.nomatch == element.nomatch;
            return if same { Ok(()) } else { Err(SetError::Exists) };
        }
        if self.rule == Rule::Disjoint
            && self
                .elements
                .iter()
                .any(|e| self.meets(e, &element.low, &element.high))
        {
            return Err(SetError::Overlap);
        }
        self.elements.push(element);
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Add {
        low: Vec<u32>,
        high: Vec<u32>,
        data: u32,
        timeout_s: u64,
        nomatch: bool,
    },
    Remove(usize),
    Load(Vec<(Vec<u32>, Vec<u32>)>),
    Flush,
    Commit,
    Undo,
    Wait(u64),
    Sweep,
}

/// A range of keys in a small world, so that things meet.
fn range(shape: &Shape) -> BoxedStrategy<(Vec<u32>, Vec<u32>)> {
    match shape.clone() {
        Shape::Exact { words } => prop::collection::vec(0..6u32, usize::from(words))
            .prop_map(|key| (key.clone(), key))
            .boxed(),
        Shape::Bitmap { first, last } => (first..=last).prop_map(|n| (vec![n], vec![n])).boxed(),
        Shape::Prefix { words } => {
            let words = usize::from(words);
            (0..64u32, 0..=words * 32, any::<bool>())
                .prop_map(move |(number, length, deep)| {
                    // Few values in the first bits, and long prefixes as often as short ones.
                    let length = if deep {
                        words * 32 - length % 9
                    } else {
                        length % 9
                    };
                    let mut key = vec![0; words];
                    key[0] = number << 26;
                    key[words - 1] |= number;
                    let Key::Range { low, high } = Key::prefix(&key, length as u8) else {
                        unreachable!("a prefix is a range")
                    };
                    (low.to_vec(), high.to_vec())
                })
                .boxed()
        }
        Shape::Interval { words } => (0..400u32, 0..12u32)
            .prop_map(move |(low, size)| {
                let place = |n: u32| {
                    let mut key = vec![0; usize::from(words)];
                    key[usize::from(words) - 1] = (n % 20) << 28;
                    if words > 1 {
                        key[0] = n / 20;
                    } else {
                        key[0] |= n / 20;
                    }
                    key
                };
                let (a, b) = (place(low), place(low + size));
                if a <= b { (a, b) } else { (b, a) }
            })
            .boxed(),
        Shape::Boxes { fields, .. } => {
            let field = |words: u8| {
                (0..24u32, prop_oneof![Just(0u32), 0..6u32, Just(300)]).prop_map(
                    move |(low, size)| {
                        let mut first = vec![7; usize::from(words)];
                        let mut last = first.clone();
                        *first.last_mut().unwrap() = low;
                        *last.last_mut().unwrap() = low + size;
                        if size == 300 {
                            last[0] += 1;
                        }
                        (first, last)
                    },
                )
            };
            let all: Vec<_> = fields.iter().map(|&words| field(words)).collect();
            all.prop_map(|parts| {
                let (low, high): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                (low.concat(), high.concat())
            })
            .boxed()
        }
    }
}

fn step(shape: &Shape) -> BoxedStrategy<Step> {
    let add = (
        range(shape),
        0..2u32,
        prop_oneof![Just(0u64), 1..20u64],
        prop::bool::weighted(0.2),
    );
    prop_oneof![
        12 => add.prop_map(|((low, high), data, timeout_s, nomatch)| {
            Step::Add { low, high, data, timeout_s, nomatch }
        }),
        5 => any::<usize>().prop_map(Step::Remove),
        1 => prop::collection::vec(range(shape), 0..40).prop_map(Step::Load),
        1 => Just(Step::Flush),
        3 => Just(Step::Commit),
        1 => Just(Step::Undo),
        2 => (1..8u64).prop_map(Step::Wait),
        2 => Just(Step::Sweep),
    ]
    .boxed()
}

const SECOND: u64 = 1_000_000_000;

fn check(
    set: &Arc<Set>,
    model: &Model,
    probes: &[Vec<u32>],
    now_ns: u64,
) -> Result<(), TestCaseError> {
    let view = set.view();
    let (mut data, mut places) = ([Column::default()], Places::default());
    for batch in probes.chunks(LANES) {
        let words = batch[0].len();
        let mut columns: Vec<Column> = vec![Column::default(); words];
        for (lane, probe) in batch.iter().enumerate() {
            for word in 0..words {
                columns[word][lane] = probe[word];
            }
        }
        let columns: Vec<&Column> = columns.iter().collect();
        let lanes = if batch.len() == LANES {
            !0
        } else {
            (1 << batch.len()) - 1
        };
        // Lanes that are not asked for must not be answered.
        let asked = lanes & 0xfffe_ffff_ffff_fff7;
        let found = view.lookup(&columns, asked, now_ns, &mut data, &mut places);
        prop_assert_eq!(found & !asked, 0);
        for (lane, probe) in batch
            .iter()
            .enumerate()
            .filter(|&(lane, _)| asked >> lane & 1 == 1)
        {
            let got = (found >> lane & 1 == 1).then(|| data[0][lane]);
            prop_assert_eq!(
                got,
                model.look_up(probe, now_ns),
                "key {:x?} of {:#x?}",
                probe,
                model
            );
        }
    }
    let mut listed: Vec<(Vec<u32>, Vec<u32>, u32)> = Vec::new();
    for element in view.elements(now_ns) {
        let Key::Range { low, high } = &element.key else {
            return Err(TestCaseError::fail("no catch-all was added"));
        };
        listed.push((low.to_vec(), high.to_vec(), element.data[0]));
    }
    let mut expected: Vec<_> = model
        .elements
        .iter()
        .filter(|e| e.expires_ns > now_ns)
        .map(|e| (e.low.clone(), e.high.clone(), e.data))
        .collect();
    expected.sort();
    prop_assert_eq!(listed, expected);
    Ok(())
}

fn run(spec: SetSpec, rule: Rule, seed: u64, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let fields = match &spec.shape {
        Shape::Boxes { fields, .. } => fields.iter().map(|&words| usize::from(words)).collect(),
        shape => vec![shape.key_words()],
    };
    let nomatch_allowed = spec.nomatch;
    let set = Set::new(spec, seed).unwrap();
    let mut model = Model {
        fields,
        rule,
        elements: Vec::new(),
    };
    let mut now_ns = SECOND;
    let mut change = set.begin(now_ns).unwrap();
    let mut changed = model.clone();
    let mut probes: Vec<Vec<u32>> = Vec::new();
    for step in steps {
        match step {
            Step::Add {
                low,
                high,
                data,
                timeout_s,
                nomatch,
            } => {
                probes.push(low.clone());
                probes.push(high.clone());
                let mut beside = high.clone();
                *beside.last_mut().unwrap() = beside.last().unwrap().wrapping_add(1);
                probes.push(beside);
                let nomatch = nomatch && nomatch_allowed;
                let mut element = Element::new(Key::range(&low, &high)).with_data(&[data]);
                element.nomatch = nomatch;
                element.timeout_ns = Some(timeout_s * SECOND);
                let expires_ns = if timeout_s == 0 {
                    u64::MAX
                } else {
                    now_ns + timeout_s * SECOND
                };
                let naive = Naive {
                    low,
                    high,
                    data,
                    expires_ns,
                    nomatch,
                };
                let expected = changed.add(naive, now_ns);
                prop_assert_eq!(change.add(&element).map(|_| ()), expected);
            }
            Step::Remove(which) => {
                if !changed.elements.is_empty() {
                    let at = which % changed.elements.len();
                    let gone = changed.elements.remove(at);
                    let expected = if gone.expires_ns > now_ns {
                        Ok(())
                    } else {
                        Err(SetError::Missing)
                    };
                    let removed = change.remove(&Key::range(&gone.low, &gone.high));
                    prop_assert_eq!(removed.map(|_| ()), expected);
                }
            }
            Step::Load(ranges) => {
                let elements: Vec<Element> = ranges
                    .iter()
                    .map(|(low, high)| {
                        Element::new(Key::range(low, high))
                            .with_data(&[1])
                            .with_timeout(0)
                    })
                    .collect();
                let mut tried = changed.clone();
                let mut result = Ok(());
                for (low, high) in ranges {
                    probes.push(low.clone());
                    let naive = Naive {
                        low,
                        high,
                        data: 1,
                        expires_ns: u64::MAX,
                        nomatch: false,
                    };
                    result = result.and_then(|()| tried.add(naive, now_ns));
                }
                let loaded = change.load(&elements);
                prop_assert_eq!(loaded.map_err(|(_, error)| error), result);
                if result.is_ok() {
                    changed = tried;
                }
            }
            Step::Flush => {
                change.flush();
                changed.elements.clear();
            }
            Step::Commit => {
                check(&set, &model, &probes, now_ns)?;
                change.commit();
                model = changed.clone();
                check(&set, &model, &probes, now_ns)?;
                change = set.begin(now_ns).unwrap();
            }
            Step::Undo => {
                drop(change);
                changed = model.clone();
                check(&set, &model, &probes, now_ns)?;
                change = set.begin(now_ns).unwrap();
            }
            Step::Wait(seconds) => {
                change.commit();
                model = changed.clone();
                now_ns += seconds * SECOND;
                check(&set, &model, &probes, now_ns)?;
                change = set.begin(now_ns).unwrap();
            }
            Step::Sweep => {
                change.commit();
                model = changed.clone();
                set.sweep(now_ns, 100_000);
                set.sweep(now_ns, 100_000);
                model.elements.retain(|e| e.expires_ns > now_ns);
                changed = model.clone();
                prop_assert!(
                    set.view().len() <= model.elements.len() + usize::from(set.spec().timed) * 400
                );
                check(&set, &model, &probes, now_ns)?;
                change = set.begin(now_ns).unwrap();
            }
        }
    }
    Ok(())
}

fn spec(shape: Shape, dynamic: bool, nomatch: bool) -> SetSpec {
    SetSpec {
        data_words: 1,
        timed: true,
        dynamic,
        nomatch,
        ..SetSpec::new(shape)
    }
}

fn fields(words: &[u8], nested: bool) -> Shape {
    Shape::Boxes {
        fields: words.iter().copied().collect(),
        nested,
    }
}

macro_rules! model_test {
    ($name:ident, $shape:expr, $rule:expr, $dynamic:expr, $nomatch:expr) => {
        proptest! {
            #![proptest_config(ProptestConfig::with_cases(64))]
            #[test]
            fn $name(seed: u64, steps in prop::collection::vec(step(&$shape), 1..250)) {
                run(spec($shape, $dynamic, $nomatch), $rule, seed, steps)?;
            }
        }
    };
}

model_test!(
    exact_one_word,
    Shape::Exact { words: 1 },
    Rule::Disjoint,
    false,
    false
);
model_test!(
    exact_three_words,
    Shape::Exact { words: 3 },
    Rule::Disjoint,
    false,
    false
);
model_test!(
    dynamic_one_word,
    Shape::Exact { words: 1 },
    Rule::Disjoint,
    true,
    false
);
model_test!(
    dynamic_five_words,
    Shape::Exact { words: 5 },
    Rule::Disjoint,
    true,
    false
);
model_test!(
    bitmap,
    Shape::Bitmap {
        first: 100,
        last: 300
    },
    Rule::Disjoint,
    false,
    false
);
model_test!(
    bitmap_dynamic,
    Shape::Bitmap { first: 0, last: 70 },
    Rule::Disjoint,
    true,
    false
);
model_test!(
    prefix_ipv4,
    Shape::Prefix { words: 1 },
    Rule::Nested,
    false,
    true
);
model_test!(
    prefix_two_words,
    Shape::Prefix { words: 2 },
    Rule::Nested,
    false,
    true
);
model_test!(
    prefix_ipv6,
    Shape::Prefix { words: 4 },
    Rule::Nested,
    true,
    true
);
model_test!(
    interval_one_word,
    Shape::Interval { words: 1 },
    Rule::Disjoint,
    false,
    false
);
model_test!(
    interval_two_words,
    Shape::Interval { words: 2 },
    Rule::Disjoint,
    false,
    false
);
model_test!(
    interval_four_words,
    Shape::Interval { words: 4 },
    Rule::Disjoint,
    true,
    false
);
model_test!(
    boxes_two_fields,
    fields(&[1, 1], false),
    Rule::Disjoint,
    false,
    false
);
model_test!(
    boxes_three_fields,
    fields(&[4, 1, 1], false),
    Rule::Disjoint,
    false,
    false
);
model_test!(
    boxes_nested,
    fields(&[1, 2], true),
    Rule::Nested,
    false,
    true
);
