//! Several threads on one table: nothing is lost, doubled or used too early.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::super::hashing::split_mix;
use super::super::testing::{Ends, SECOND, Stand, settings, udp};
use super::super::{CtState, Filter, Flow, FlowIndex, FlowList, Tracker};

fn rounds() -> u64 {
    std::env::var("SLUICE_TRACKER_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(400)
}

fn all(tracker: &Tracker) -> Vec<Flow> {
    let (mut flows, mut from) = (Vec::new(), Some(0));
    while let Some(next) = from {
        from = tracker.list(&Filter::default(), next, 1000, &mut flows);
    }
    flows
}

/// Random packets of few flows, both ways.
fn burst(random: &mut u64, flows: u64) -> Vec<Vec<u8>> {
    (0..64)
        .map(|_| {
            let number = split_mix(random);
            let ends = Ends {
                src: 1,
                dst: 2,
                sport: (number % flows) as u16,
                dport: 53,
            };
            udp(if number >> 32 & 1 == 1 {
                ends.answer()
            } else {
                ends
            })
        })
        .collect()
}

#[test]
fn two_workers_count_every_packet_of_every_flow_once() {
    let tracker = Tracker::new(settings(5000), 2, 11).unwrap();
    let dropped = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..2 {
            let (tracker, dropped) = (&tracker, &dropped);
            scope.spawn(move || {
                let mut stand = Stand::new(tracker, number);
                let mut random = u64::from(number);
                for _ in 0..rounds() {
                    let frames = burst(&mut random, 300);
                    stand.pass(&frames, !0);
                    dropped.fetch_add(u64::from(stand.packets.ended.count_ones()), Relaxed);
                }
            });
        }
    });
    let flows = all(&tracker);
    let by_tuple: BTreeMap<_, _> = flows
        .iter()
        .map(|flow| (flow.original.key(), flow))
        .collect();
    assert_eq!(by_tuple.len(), flows.len(), "a tuple twice");
    for flow in &flows {
        assert!(
            !by_tuple.contains_key(&flow.reply.key()),
            "both directions as flows of their own"
        );
    }
    let counted: u64 = flows.iter().flat_map(|flow| flow.packets).sum();
    assert_eq!(counted + dropped.load(Relaxed), 2 * 64 * rounds());
    let bytes: u64 = flows.iter().flat_map(|flow| flow.bytes).sum();
    assert_eq!(bytes, counted * super::super::testing::UDP_BYTES);
    let sum = |pick: fn(&super::super::Statistics) -> u64| -> u64 {
        (0..=2).map(|seat| pick(&tracker.statistics(seat))).sum()
    };
    assert_eq!(sum(|s| s.insert), flows.len() as u64);
    assert_eq!(tracker.count() as usize, flows.len());
    assert_eq!(sum(|s| s.insert_failed), dropped.load(Relaxed));
}

#[test]
fn flows_come_and_go_under_two_workers_and_control() {
    let tracker = Tracker::new(settings(200), 2, 12).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|number| {
                let tracker = &tracker;
                scope.spawn(move || {
                    let mut stand = Stand::new(tracker, number);
                    let mut random = 100 + u64::from(number);
                    for round in 0..rounds() {
                        // More flows than fit, and time that runs: all ways to end are in it.
                        stand.now = (1 + round / 2) * SECOND;
                        let frames = burst(&mut random, 500);
                        stand.pass(&frames, !0);
                    }
                    stand
                })
            })
            .collect();
        let (tracker, stop) = (&tracker, &stop);
        let control = scope.spawn(move || {
            let mut flows = Vec::new();
            let mut random = 5;
            while !stop.load(Relaxed) {
                tracker.list(&Filter::default(), 0, 1000, &mut flows);
                for flow in flows.drain(..) {
                    // A copy is one flow, never halves of two.
                    assert_eq!(flow.original.sport, flow.reply.dport);
                    assert_eq!(flow.original.dst, flow.reply.src);
                    match split_mix(&mut random) % 4 {
                        0 => drop(tracker.delete(flow.id, 0)),
                        1 => drop(tracker.set_timeout(flow.id, SECOND, 1)),
                        2 => drop(tracker.set_mark(flow.id, 1, 1, 0)),
                        _ => {}
                    }
                }
            }
        });
        let mut stands: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect();
        stop.store(true, Relaxed);
        control.join().unwrap();
        // Everything ends, and every entry is free again.
        for _ in 0..4 {
            for stand in &mut stands {
                stand.now = 100_000 * SECOND;
                stand.worker.tick(stand.now, stand.now);
            }
        }
    });
    assert_eq!(tracker.count(), 0);
    assert!(all(&tracker).is_empty());
    let mut stand = Stand::new(&tracker, 0);
    stand.now = 100_001 * SECOND;
    for round in 0..4u16 {
        let frames: Vec<_> = (0..50)
            .map(|at| {
                udp(Ends {
                    src: 3,
                    dst: 4,
                    sport: round * 50 + at,
                    dport: 1,
                })
            })
            .collect();
        stand.pass(&frames, !0);
    }
    assert_eq!(tracker.count(), 200, "the whole budget can be used again");
}

#[test]
fn an_entry_is_not_used_again_under_a_worker_that_found_it() {
    let tracker = Tracker::new(settings(64), 2, 13).unwrap();
    let (mut reader, mut other) = (Stand::new(&tracker, 0), Stand::new(&tracker, 1));
    let a = Ends {
        src: 1,
        dst: 2,
        sport: 1000,
        dport: 53,
    };
    other.one(&udp(a));
    let burst = reader.begin(&[udp(a)]);
    let context = reader.context();
    reader
        .worker
        .track(1, &mut reader.packets, &burst, &context);
    let flow = reader.packets.ct[0].flow;
    let id = reader.worker.flow_id(flow).unwrap();
    assert!(tracker.delete(id, 0));
    // Many times as many flows as there are entries.
    for round in 0..100u16 {
        let frames: Vec<_> = (0..64)
            .map(|at| {
                udp(Ends {
                    src: 5,
                    dst: 6,
                    sport: round * 64 + at,
                    dport: 9,
                })
            })
            .collect();
        other.pass(&frames, !0);
        assert_eq!(reader.worker.flow_id(flow), Some(id));
        assert_eq!(
            reader
                .worker
                .tuple(flow, super::super::Direction::Original)
                .sport,
            1000
        );
    }
    reader.worker.end();
    for round in 0..100u16 {
        let frames: Vec<_> = (0..64)
            .map(|at| {
                udp(Ends {
                    src: 7,
                    dst: 8,
                    sport: round * 64 + at,
                    dport: 9,
                })
            })
            .collect();
        other.pass(&frames, !0);
    }
    assert_ne!(reader.worker.flow_id(flow), Some(id), "and then it is");
}

#[test]
fn a_list_of_flows_counts_the_live_ones() {
    let tracker = Tracker::new(settings(64), 1, 14).unwrap();
    let mut stand = Stand::new(&tracker, 0);
    let list = FlowList::new();
    let see = |stand: &mut Stand, port: u16, keep: u64| {
        let burst = stand.begin(&[udp(Ends {
            src: 1,
            dst: 2,
            sport: port,
            dport: 53,
        })]);
        let context = stand.context();
        stand.worker.track(1, &mut stand.packets, &burst, &context);
        let over = list.is_over(&stand.worker, stand.packets.ct[0].flow, 3);
        stand.worker.confirm(keep, &mut stand.packets, &context);
        stand.worker.end();
        over
    };
    for port in 1..=3 {
        assert!(!see(&mut stand, port, 1));
        assert!(!see(&mut stand, port, 1), "counted once");
    }
    assert!(see(&mut stand, 4, 0), "the fourth");
    assert!(
        see(&mut stand, 5, 0),
        "a dropped one does not count, but there is no room still"
    );
    stand.worker.begin(stand.now, stand.now);
    assert_eq!(list.count(&stand.worker), 3);
    stand.worker.end();
    let mut filter = Filter::default();
    filter.original.sport = Some(2);
    assert_eq!(tracker.delete_matching(&filter, 0), 1);
    assert!(!see(&mut stand, 6, 1), "one has ended");
    assert!(see(&mut stand, 7, 0));
    // A packet of no flow is one more.
    stand.worker.begin(stand.now, stand.now);
    assert!(list.is_over(&stand.worker, FlowIndex::NONE, 3));
    assert!(!list.is_over(&stand.worker, FlowIndex::NONE, 4));
    assert_eq!(list.count(&stand.worker), 3, "and leaves nothing");
    stand.worker.end();
    stand.now += 31 * SECOND;
    assert!(!see(&mut stand, 8, 1), "all others are over");
}

#[test]
fn of_two_workers_with_the_same_first_packet_one_wins_and_the_other_joins() {
    let tracker = Tracker::new(settings(64), 2, 15).unwrap();
    let mut stands = [Stand::new(&tracker, 0), Stand::new(&tracker, 1)];
    let a = Ends {
        src: 1,
        dst: 2,
        sport: 1000,
        dport: 53,
    };
    for ends in [a, Ends { sport: 1001, ..a }] {
        let turned = if ends == a { ends } else { ends.answer() };
        let bursts = [ends, turned].map(|ends| vec![udp(ends)]);
        for (stand, frames) in stands.iter_mut().zip(&bursts) {
            let burst = stand.begin(frames);
            let context = stand.context();
            stand.worker.track(1, &mut stand.packets, &burst, &context);
            assert_eq!(stand.packets.ct[0].state, CtState::New);
        }
        for stand in &mut stands {
            let context = stand.context();
            stand.worker.confirm(1, &mut stand.packets, &context);
            stand.worker.end();
            assert_eq!(stand.packets.ended, 0);
        }
        assert_eq!(stands[0].packets.ct[0].flow, stands[1].packets.ct[0].flow);
    }
    let flows = all(&tracker);
    assert_eq!(
        flows.iter().map(|flow| flow.packets).collect::<Vec<_>>(),
        [[2, 0], [1, 1]]
    );
    assert_eq!(tracker.statistics(1).clash_resolve, 2);
    assert_eq!(tracker.count(), 2);
}

#[test]
fn a_table_survives_its_workers() {
    let tracker = Tracker::new(settings(64), 1, 16).unwrap();
    let weak = Arc::downgrade(&tracker);
    drop(Stand::new(&tracker, 0));
    drop(tracker);
    assert!(weak.upgrade().is_none(), "nobody else holds it");
}
