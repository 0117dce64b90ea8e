//! Sets as the rule program sees them.

use std::sync::Arc;

use sluice_dataplane::program::lane_set::{Change as PacketChange, LaneSet, Moment};
use sluice_dataplane::program::op::{ElementStatement, SetAction};
use sluice_dataplane::program::tables::{SetData, SetDesc};
use sluice_dataplane::sets::{
    Column, Element, Key, LANES, LaneView, Member, Places, Set, SetSpec, SetView, initial_state,
};

use crate::{SECOND, dynamic, found, spec};

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
        connections: None,
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
        connections: None,
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
