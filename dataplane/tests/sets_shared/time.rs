//! Sets through time: expiry, refreshing, giving memory back.

use sluice_dataplane::sets::{Element, Outcome, Set, SetSpec, Shape};

use crate::{SECOND, dynamic, found};

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
    // Where nothing is optimised a million take most of a minute.
    let count = if cfg!(debug_assertions) {
        200_000u32
    } else {
        1_000_000
    };
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
