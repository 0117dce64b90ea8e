//! Sets at their limits, and what they refuse.

use std::sync::atomic::{AtomicU64, Ordering};

use sluice_dataplane::sets::{Element, Key, Outcome, Set, SetError, SetSpec, Shape};

use crate::{First, dynamic, found, spec};

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

#[test]
fn bare_keys_load_as_their_elements_would() {
    let rows: Vec<u32> = (0..3_000u32)
        .rev()
        .flat_map(|n| [n * 4, n * 4 + 3])
        .collect();
    for (shape, dynamic) in [
        (Shape::Interval { words: 1 }, false),
        (Shape::Prefix { words: 1 }, false),
        (Shape::Interval { words: 1 }, true),
    ] {
        let spec = SetSpec {
            dynamic,
            size: Some(3_001),
            ..SetSpec::new(shape)
        };
        let set = Set::new(spec, 1).unwrap();
        let mut change = set.begin(0).unwrap();
        change.load_keys(rows.clone()).unwrap();
        // Again, over what is there, it changes nothing.
        change.load_keys(rows[..2_000].to_vec()).unwrap();
        change.commit();
        assert_eq!(set.view().len(), 3_000);
        assert_eq!(found(&set, &[0, 5, 11_999, 12_000], 0), 0b0111);
        let mut change = set.begin(0).unwrap();
        assert!(matches!(
            change.load_keys(vec![1]),
            Err((0, SetError::Key(_)))
        ));
        let full = change.load_keys(vec![20_000, 20_003, 20_004, 20_007]);
        assert_eq!(full, Err((1, SetError::Full)));
    }
    let set = Set::new(spec(1), 1).unwrap();
    let mut change = set.begin(0).unwrap();
    assert!(matches!(
        change.load_keys(vec![1, 1, 2, 3]),
        Err((1, SetError::Key(_)))
    ));
    change.load_keys(vec![7, 7, 9, 9, 7, 7]).unwrap();
    change.commit();
    assert_eq!(found(&set, &[7, 8, 9], 0), 0b101);
}
