//! Changes seen from other threads.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sluice_dataplane::sets::{
    Column, Element, Key, Outcome, Places, Set, SetError, SetSpec, Shape,
};

use crate::{First, dynamic, spec};

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
        let (stop, seen) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
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
                            seen.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            // Until the readers had their turn, however busy the machine is.
            for n in 0.. {
                if n > 300
                    && (seen.load(Ordering::Relaxed) > 100
                        || readers.iter().any(|r| r.is_finished()))
                {
                    break;
                }
                let mut change = set.begin(0).unwrap();
                change.flush();
                for lane in 0..64u32 {
                    change
                        .add(&Element::exact(&[(n % 2u32) << 20 | (lane * 2)]))
                        .unwrap();
                }
                change.commit();
            }
            stop.store(true, Ordering::Relaxed);
            readers
                .into_iter()
                .for_each(|reader| reader.join().unwrap());
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
