//! Elements that wait for an Ethernet address, and workers that come to them at once.

use std::sync::{Arc, Barrier};

use arrayvec::ArrayVec;

use super::{DataPlaces, KeyField, MatchOptions, PacketMember, PacketSet, PacketUse};
use crate::program::lane_set::{LaneSet, Moment};
use crate::program::{FactKind, Facts, Way};
use crate::sets::{Column, Element, LANES, Set, SetSpec, Shape};

const NUMBERS: u32 = 64 * 64;
const ADDRESS: FactKind = FactKind::Ipv4(Way::Source);
const STATION: FactKind = FactKind::Mac(Way::Source);

/// A bitmap of addresses whose elements all wait.
fn waiting() -> Arc<Set> {
    let (first, last) = (0, NUMBERS - 1);
    let spec = SetSpec {
        data_words: 3,
        dynamic: true,
        in_place: true,
        ..SetSpec::new(Shape::Bitmap { first, last })
    };
    let set = Set::new(spec, 1).unwrap();
    let mut change = set.begin(0).unwrap();
    for number in 0..NUMBERS {
        let element = Element::exact(&[number]).with_data(&[0, 0, 0]);
        change.add(&element).unwrap();
    }
    change.commit();
    set
}

fn asking(set: &Arc<Set>) -> PacketSet {
    let field = KeyField::Number {
        fact: ADDRESS,
        first: 0,
        last: NUMBERS - 1,
        shift: 0,
        port: false,
    };
    let member = PacketMember {
        view: set.view(),
        fields: vec![field],
        data: DataPlaces {
            mac: Some(0),
            ..DataPlaces::default()
        },
        mac: Some(STATION),
        expires_ns: u64::MAX,
        counts: None,
    };
    PacketSet::new(vec![member], PacketUse::Match(MatchOptions::default()), 3)
}

/// The lanes of a batch of consecutive addresses, all from one station, that the set has.
fn found(set: &PacketSet, first: u32, station: u32) -> u64 {
    let mut columns: [Column; 3] = std::array::from_fn(|_| Column::default());
    for (lane, address) in columns[0].iter_mut().enumerate() {
        *address = first + lane as u32;
    }
    columns[2].fill(station);
    let [address, high, low] = &columns;
    let all = [
        (ArrayVec::from_iter([address]), !0),
        (ArrayVec::from_iter([high, low]), !0),
    ];
    let facts = Facts::new(ADDRESS.bit() | STATION.bit(), all.into_iter());
    let moment = Moment {
        now_ns: 1,
        lengths: &Column::default(),
        worker: 0,
        connections: None,
    };
    set.by_facts(&facts, !0, &moment, &mut [])
}

#[test]
fn of_two_workers_one_completes_an_element_and_the_other_does_not_match() {
    let set = waiting();
    let together = Barrier::new(2);
    let [one, other] = std::thread::scope(|scope| {
        let workers = [1, 2].map(|station| {
            let (set, together) = (asking(&set), &together);
            scope.spawn(move || -> Vec<u64> {
                let firsts = (0..NUMBERS).step_by(LANES);
                firsts
                    .map(|first| {
                        together.wait();
                        found(&set, first, station)
                    })
                    .collect()
            })
        });
        workers.map(|worker| worker.join().unwrap())
    });
    for (at, (one, other)) in one.iter().zip(&other).enumerate() {
        assert_eq!(one ^ other, !0, "batch {at}: {one:x} and {other:x}");
    }
    // Later it is as it was decided.
    let set = asking(&set);
    for (first, one) in (0..NUMBERS).step_by(LANES).zip(&one) {
        assert_eq!(found(&set, first, 1), *one);
    }
}
