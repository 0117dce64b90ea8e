//! Sets under several threads, at their limits, and through time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sluice_dataplane::program::lane_set::{Change as PacketChange, LaneSet, Moment};
use sluice_dataplane::program::op::{ElementStatement, SetAction};
use sluice_dataplane::program::tables::{SetData, SetDesc};
use sluice_dataplane::sets::{
    Column, Element, Key, LANES, LaneView, Member, Outcome, Places, Set, SetError, SetSpec,
    SetView, Shape, initial_state,
};

const SECOND: u64 = 1_000_000_000;

fn spec(words: u8) -> SetSpec {
    SetSpec::exact(words)
}

fn dynamic(words: u8) -> SetSpec {
    SetSpec {
        dynamic: true,
        ..SetSpec::exact(words)
    }
}

/// Looks up to 64 keys of one word up.
fn found(set: &Arc<Set>, keys: &[u32], now_ns: u64) -> u64 {
    let mut column = Column::default();
    column[..keys.len()].copy_from_slice(keys);
    let lanes = if keys.len() == LANES {
        !0
    } else {
        (1 << keys.len()) - 1
    };
    set.view()
        .lookup(&[&column], lanes, now_ns, &mut [], &mut Places::default())
}

#[test]
fn an_element_expires_at_its_very_moment_and_update_refreshes_what_add_does_not() {
    let set = Set::new(
        SetSpec {
            timed: true,
            default_timeout_ns: Some(10 * SECOND),
            ..dynamic(1)
        },
        1,
    )
    .unwrap();
    let view = set.view();
    assert_eq!(
        view.add_by_packet(&[7], &[], None, false, 0)
            .unwrap()
            .outcome,
        Outcome::Added
    );
    assert_eq!(found(&set, &[7], 10 * SECOND - 1), 1);
    assert_eq!(found(&set, &[7], 10 * SECOND), 0);
    let again = view
        .add_by_packet(&[7], &[], None, false, 5 * SECOND)
        .unwrap();
    assert_eq!(again.outcome, Outcome::Existed);
    assert_eq!(found(&set, &[7], 10 * SECOND), 0);
    view.add_by_packet(&[7], &[], None, true, 5 * SECOND)
        .unwrap();
    assert_eq!(found(&set, &[7], 15 * SECOND - 1), 1);
    assert_eq!(found(&set, &[7], 15 * SECOND), 0);
    // Once expired it is new again, with the rule's own timeout.
    let renewed = view
        .add_by_packet(&[7], &[], Some(SECOND), false, 20 * SECOND)
        .unwrap();
    assert_eq!(renewed.outcome, Outcome::Added);
    assert_eq!(found(&set, &[7], 21 * SECOND), 0);
    assert_eq!(view.elements(20 * SECOND)[0].timeout_ns, Some(SECOND));
}

#[test]
fn a_million_that_expire_together_go_in_bounded_steps() {
    let count = 200_000u32;
    for shape in [Shape::Exact { words: 1 }, Shape::Prefix { words: 1 }] {
        let set = Set::new(
            SetSpec {
                timed: true,
                ..SetSpec::new(shape)
            },
            3,
        )
        .unwrap();
        let elements: Vec<Element> = (0..count)
            .map(|n| Element::exact(&[n * 17]).with_timeout(SECOND))
            .collect();
        let mut change = set.begin(0).unwrap();
        change.load(&elements).unwrap();
        change.add(&Element::exact(&[3]).with_timeout(0)).unwrap();
        change.commit();
        let full = set.view().memory();
        assert_eq!(found(&set, &[0, 17, 3], SECOND - 1), 0b111);
        assert_eq!(found(&set, &[0, 17, 3], SECOND), 0b100);
        let mut gone = 0;
        let mut steps = 0;
        while set.view().len() > 1 && steps < 2_000 {
            let step = set.sweep(SECOND, 1_000);
            assert!(step < 4_000, "{step} elements at once");
            gone += step;
            steps += 1;
        }
        assert_eq!(gone, count as usize);
        assert_eq!(found(&set, &[0, 17, 3], SECOND), 0b100);
        assert!(
            set.view().memory() < full / 20,
            "{} of {full}",
            set.view().memory()
        );
    }
}

#[test]
fn the_dynamic_table_gives_memory_back_too() {
    let set = Set::new(
        SetSpec {
            timed: true,
            ..dynamic(1)
        },
        3,
    )
    .unwrap();
    let view = set.view();
    for n in 0..50_000 {
        view.add_by_packet(&[n], &[], Some(SECOND), false, 0)
            .unwrap();
    }
    let full = view.memory();
    for _ in 0..400 {
        set.sweep(SECOND, 1_000);
    }
    assert_eq!(view.len(), 0);
    assert!(view.memory() < full / 20, "{} of {full}", view.memory());
}

#[test]
fn the_size_is_exact_across_threads_and_failed_changes_leave_nothing() {
    let set = Set::new(
        SetSpec {
            size: Some(1_000),
            ..dynamic(1)
        },
        5,
    )
    .unwrap();
    let added = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let (set, added) = (&set, &added);
            scope.spawn(move || {
                let view = set.view();
                for n in 0..1_000 {
                    match view.add_by_packet(&[thread << 16 | n], &[], None, false, 0) {
                        Ok(_) => added.fetch_add(1, Ordering::Relaxed),
                        Err(error) => {
                            assert_eq!(error, SetError::Full);
                            0
                        }
                    };
                }
            });
        }
    });
    assert_eq!(added.into_inner(), 1_000);
    assert_eq!(set.view().len(), 1_000);
    let mut change = set.begin(0).unwrap();
    assert_eq!(change.add(&Element::exact(&[1 << 30])), Err(SetError::Full));
    let some = set.view().elements(0)[0].clone();
    change.remove(&some.key).unwrap();
    assert_eq!(change.add(&Element::exact(&[1 << 30])), Ok(Outcome::Added));
    drop(change);
    assert_eq!(set.view().len(), 1_000);
    assert_eq!(set.view().get(&some.key, 0), Some(some));
    // A promise that was not kept is free again.
    set.view()
        .delete_by_packet(&set.view().elements(0)[0].key.clone().first(), 0)
        .unwrap();
    let mut change = set.begin(0).unwrap();
    change.add(&Element::exact(&[1 << 30])).unwrap();
    assert_eq!(
        set.view().add_by_packet(&[1 << 29], &[], None, false, 0),
        Err(SetError::Full)
    );
    drop(change);
    assert!(
        set.view()
            .add_by_packet(&[1 << 29], &[], None, false, 0)
            .is_ok()
    );
}

/// The words of a key that is one.
trait First {
    fn first(&self) -> Vec<u32>;
}

impl First for Key {
    fn first(&self) -> Vec<u32> {
        match self {
            Key::Range { low, .. } => low.to_vec(),
            Key::CatchAll => Vec::new(),
        }
    }
}

#[test]
fn forceadd_evicts_one_at_random() {
    for dynamic in [false, true] {
        let set = Set::new(
            SetSpec {
                size: Some(100),
                forceadd: true,
                dynamic,
                ..spec(1)
            },
            5,
        )
        .unwrap();
        for n in 0..1_000 {
            let mut change = set.begin(u64::from(n)).unwrap();
            change.add(&Element::exact(&[n])).unwrap();
            change.commit();
            assert!(set.view().len() <= 100);
            assert_eq!(found(&set, &[n], 0), 1, "the new one is in");
        }
        assert_eq!(set.view().len(), 100);
        let old = set
            .view()
            .elements(0)
            .iter()
            .filter(|e| e.key.first()[0] < 800)
            .count();
        assert!(old > 0, "not the oldest first");
    }
}

#[test]
fn one_change_at_a_time_and_the_catch_all_takes_the_rest() {
    let set = Set::new(
        SetSpec {
            data_words: 1,
            ..spec(1)
        },
        5,
    )
    .unwrap();
    let mut change = set.begin(0).unwrap();
    assert_eq!(set.begin(0).err(), Some(SetError::Busy));
    change.add(&Element::exact(&[1]).with_data(&[10])).unwrap();
    change
        .add(&Element::new(Key::CatchAll).with_data(&[99]))
        .unwrap();
    assert_eq!(
        change.add(&Element::exact(&[1]).with_data(&[11])),
        Err(SetError::Exists)
    );
    let before = set.view();
    let after = change.commit();
    assert_eq!(after.lookup_one(&[1], 0).unwrap().as_slice(), [10]);
    assert_eq!(after.lookup_one(&[2], 0).unwrap().as_slice(), [99]);
    assert_eq!(before.lookup_one(&[1], 0), None);
    assert_eq!(after.elements(0).last().unwrap().key, Key::CatchAll);
    let mut change = set.begin(0).unwrap();
    change.remove(&Key::CatchAll).unwrap();
    change.commit();
    assert_eq!(set.view().lookup_one(&[2], 0), None);
}

#[test]
fn a_generation_sees_one_state_while_others_are_committed() {
    // Each transaction moves every element: a view has all of one round and none of another.
    for shape in [
        Shape::Exact { words: 1 },
        Shape::Prefix { words: 1 },
        Shape::Interval { words: 1 },
    ] {
        let set = Set::new(SetSpec::new(shape), 9).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut seen = 0;
                        while !stop.load(Ordering::Relaxed) {
                            let view = set.view();
                            let mut rounds = Vec::new();
                            for round in 0..2u32 {
                                let column = Column(std::array::from_fn(|lane| {
                                    (round << 20) | (lane as u32 * 2)
                                }));
                                rounds.push(view.lookup(
                                    &[&column],
                                    !0,
                                    0,
                                    &mut [],
                                    &mut Places::default(),
                                ));
                            }
                            let whole = [[0, 0], [!0, 0], [0, !0]];
                            assert!(whole.iter().any(|whole| rounds == whole), "{rounds:x?}");
                            seen += 1;
                        }
                        seen
                    })
                })
                .collect();
            for n in 0..300u32 {
                let mut change = set.begin(0).unwrap();
                change.flush();
                for lane in 0..64u32 {
                    change
                        .add(&Element::exact(&[(n % 2) << 20 | (lane * 2)]))
                        .unwrap();
                }
                change.commit();
            }
            stop.store(true, Ordering::Relaxed);
            let seen: u64 = readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .sum();
            assert!(seen > 0);
        });
    }
}

#[test]
fn packets_control_and_sweeping_at_once_agree_with_a_model() {
    let set = Set::new(
        SetSpec {
            timed: true,
            data_words: 1,
            ..dynamic(2)
        },
        11,
    )
    .unwrap();
    // Each thread has keys of its own and a model of them; keys of all threads share pages.
    let models: Vec<Mutex<HashMap<u32, u32>>> = (0..3).map(|_| Mutex::default()).collect();
    std::thread::scope(|scope| {
        for (thread, model) in models.iter().enumerate() {
            let set = &set;
            scope.spawn(move || {
                let mut model = model.lock().unwrap();
                let mut state = 0x9e37_79b9u32.wrapping_mul(thread as u32 + 1);
                for step in 0..6_000u32 {
                    state ^= state << 13;
                    state ^= state >> 17;
                    state ^= state << 5;
                    let key = state % 1_500;
                    let words = [thread as u32, key];
                    let view = set.view();
                    let remove = state >> 28 < 6;
                    if thread == 0 {
                        // Control: a change may be open elsewhere never, as only this thread opens one.
                        let mut change = set.begin(0).unwrap();
                        if remove {
                            assert_eq!(
                                change.remove(&Key::exact(&words)).is_ok(),
                                model.remove(&key).is_some()
                            );
                        } else if model.insert(key, step).is_some() {
                            change
                                .put(&Element::exact(&words).with_data(&[step]))
                                .unwrap();
                        } else {
                            let element = Element::exact(&words).with_data(&[step]);
                            assert_eq!(change.add(&element), Ok(Outcome::Added));
                        }
                        change.commit();
                    } else if remove {
                        let was = view.delete_by_packet(&words, 0).unwrap();
                        assert_eq!(was, model.remove(&key).is_some());
                    } else {
                        let touched = view.add_by_packet(&words, &[step], None, true, 0).unwrap();
                        let new = !model.contains_key(&key);
                        assert_eq!(touched.outcome == Outcome::Added, new);
                        model.entry(key).or_insert(step);
                    }
                    let expected = model.get(&key).copied();
                    let got = view.lookup_one(&words, 0).map(|data| data[0]);
                    assert_eq!(got, expected);
                    if step % 64 == 0 {
                        set.sweep(0, 500);
                    }
                }
            });
        }
    });
    let mut listed = 0;
    for element in set.view().elements(0) {
        let key = element.key.first();
        let model = models[key[0] as usize].lock().unwrap();
        assert_eq!(model.get(&key[1]), Some(&element.data[0]));
        listed += 1;
    }
    let expected: usize = models.iter().map(|model| model.lock().unwrap().len()).sum();
    assert_eq!(listed, expected);
    assert_eq!(set.view().len(), expected);
}

#[test]
fn counters_stay_with_their_element_while_versions_come_and_go() {
    let statements = [ElementStatement::Counter];
    let spec = SetSpec {
        initial_state: initial_state(&statements),
        comments: true,
        ..spec(1)
    };
    let set = Set::new(spec, 13).unwrap();
    let desc = SetDesc {
        key_columns: 1,
        data: SetData::Nothing,
    };
    let mut change = set.begin(0).unwrap();
    let mut element = Element::exact(&[1]);
    element.comment = Some("first".into());
    change.add(&element).unwrap();
    let old = LaneView::new(change.commit().into(), desc.clone(), &statements).unwrap();
    let lengths = Column([100; LANES]);
    let moment = Moment {
        now_ns: 0,
        lengths: &lengths,
        worker: 0,
    };
    assert_eq!(
        old.look_up(&[&Column([1; LANES])], 0b111, &moment, &mut []),
        0b111
    );
    for n in 2..3_000 {
        let mut change = set.begin(0).unwrap();
        change.add(&Element::exact(&[n])).unwrap();
        change.commit();
    }
    // A packet of the old generation still counts into the element that all have.
    old.look_up(&[&Column([1; LANES])], 0b1, &moment, &mut []);
    let listed = set.view().get(&Key::exact(&[1]), 0).unwrap();
    assert_eq!(*listed.state, [4, 400]);
    assert_eq!(listed.comment.as_deref(), Some("first"));
    // Asking whether something is in the set counts nothing.
    old.contains(&[&Column([1; LANES])], !0, &moment);
    assert_eq!(
        *set.view().get(&Key::exact(&[1]), 0).unwrap().state,
        [4, 400]
    );
}

#[test]
fn a_limit_of_an_element_ends_the_rule_and_a_full_set_does_too() {
    let limit = ElementStatement::Limit {
        rate: 1,
        period_ns: SECOND,
        burst: 2,
        bytes: false,
        over: false,
    };
    let spec = SetSpec {
        initial_state: initial_state(&[limit]),
        timed: true,
        size: Some(2),
        ..dynamic(1)
    };
    let set = Set::new(spec, 13).unwrap();
    let desc = SetDesc {
        key_columns: 1,
        data: SetData::Nothing,
    };
    let lane = LaneView::new(set.view().into(), desc, &[limit]).unwrap();
    let lengths = Column([100; LANES]);
    let moment = Moment {
        now_ns: SECOND,
        lengths: &lengths,
        worker: 0,
    };
    let change = PacketChange {
        action: SetAction::Update,
        timeout_ms: Some(60_000),
        data: &[],
        statements: &[],
    };
    // Three packets of one source pass the burst of two, two of another both pass, a third source
    // finds the set full.
    let mut keys = Column::default();
    keys[..6].copy_from_slice(&[5, 5, 5, 6, 6, 7]);
    assert_eq!(
        lane.change(&[&keys], 0b11_1111, &moment, &change),
        0b01_1011
    );
    let delete = PacketChange {
        action: SetAction::Delete,
        ..change
    };
    assert_eq!(
        lane.change(&[&keys], 0b10_0001, &moment, &delete),
        0b10_0001
    );
    assert_eq!(found(&set, &[5, 6], SECOND), 0b10);
}

#[test]
fn a_list_asks_its_members_in_order_and_skips_longer_keys() {
    let make = |words: u8, key: &[u32], data: u32| {
        let set = Set::new(
            SetSpec {
                data_words: 1,
                ..spec(words)
            },
            17,
        )
        .unwrap();
        let mut change = set.begin(0).unwrap();
        change.add(&Element::exact(key).with_data(&[data])).unwrap();
        change.commit()
    };
    let member = |view, expires_ns| Member { view, expires_ns };
    let list = SetView::List(Arc::from([
        member(make(2, &[1, 1], 5), u64::MAX),
        member(make(1, &[1], 6), 10),
        member(make(1, &[1], 7), u64::MAX),
        member(make(1, &[2], 8), u64::MAX),
    ]));
    let (mut data, mut places) = ([Column::default()], Places::default());
    let mut keys = Column::default();
    keys[..3].copy_from_slice(&[1, 2, 3]);
    assert_eq!(
        list.lookup(&[&keys], 0b111, 0, &mut data, &mut places),
        0b011
    );
    assert_eq!(
        (data[0][..2].to_vec(), places.members[..2].to_vec()),
        (vec![6, 8], vec![1, 3])
    );
    assert_eq!(
        list.lookup(&[&keys], 0b111, 10, &mut data, &mut places),
        0b011
    );
    assert_eq!(data[0][0], 7);
    let wide = Column([1; LANES]);
    assert_eq!(
        list.lookup(&[&keys, &wide], 0b1, 0, &mut data, &mut places),
        0b1
    );
    assert_eq!(data[0][0], 5);
}

#[test]
fn a_bulk_load_is_all_or_nothing() {
    let set = Set::new(SetSpec::new(Shape::Interval { words: 1 }), 1).unwrap();
    let mut elements: Vec<Element> = (0..5_000)
        .map(|n| Element::new(Key::range(&[n * 10], &[n * 10 + 5])))
        .collect();
    elements.push(Element::new(Key::range(&[103], &[108])));
    let mut change = set.begin(0).unwrap();
    assert_eq!(change.load(&elements), Err((5_000, SetError::Overlap)));
    elements.pop();
    // Standing twice is no error.
    elements.push(elements[3].clone());
    change.load(&elements).unwrap();
    assert_eq!(change.commit().len(), 5_000);
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let set = Set::new(SetSpec::new(Shape::Prefix { words: 1 }), 1).unwrap();
    let mut change = set.begin(0).unwrap();
    assert!(matches!(
        change.add(&Element::new(Key::range(&[1], &[2]))),
        Err(SetError::Key(_))
    ));
    assert!(matches!(
        change.add(&Element::exact(&[1, 2])),
        Err(SetError::Key(_))
    ));
    assert!(matches!(
        change.add(&Element::exact(&[1]).with_data(&[2])),
        Err(SetError::Element(_))
    ));
    assert!(matches!(
        change.add(&Element::exact(&[1]).with_timeout(5)),
        Err(SetError::Element(_))
    ));
    assert!(Set::new(SetSpec::exact(17), 1).is_err());
    assert!(
        Set::new(
            SetSpec::new(Shape::Bitmap {
                first: 0,
                last: 65_536
            }),
            1
        )
        .is_err()
    );
    let still = Set::new(spec(1), 1).unwrap();
    assert_eq!(
        still.view().add_by_packet(&[1], &[], None, false, 0),
        Err(SetError::NotDynamic)
    );
}
