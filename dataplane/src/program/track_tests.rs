//! What rules see and set of connections, through the worker's own pipeline.

use std::sync::Arc;

use super::cell::{Cell, ConnLimit};
use super::testing::{Bench, frames};
use super::*;
use crate::conntrack::{Filter, Flow, TimeoutClass, TimeoutPolicy, status};
use crate::drop_reason::DropReason;
use crate::port::PortId;
use crate::worker::Fate;
use crate::worker::connection::{ConnectionObject, HelperObject, TimeoutObject};

const NEW: u32 = 8;
const ESTABLISHED: u32 = 2;
const INVALID: u32 = 1;
const UNTRACKED: u32 = 64;

/// A frame of [`frames`] the other way: addresses and ports turned round.
fn answer(mut frame: Vec<u8>) -> Vec<u8> {
    for at in 0..6 {
        frame.swap(at, 6 + at);
    }
    for at in 0..4 {
        frame.swap(26 + at, 30 + at);
    }
    for at in 0..2 {
        frame.swap(34 + at, 36 + at);
    }
    frame
}

fn ct(bench: &mut Bench, key: CtKey, bits: u16) -> Slot {
    ct_of(bench, key, bits, None)
}

fn ct_of(bench: &mut Bench, key: CtKey, bits: u16, direction: Option<Direction>) -> Slot {
    bench.key(Source::Ct { key, direction }, bits, Requires::Nothing)
}

fn compare(key: Slot, relation: Relation, value: &[u32]) -> Op {
    Op::Compare {
        key,
        relation,
        value: value.iter().copied().collect(),
    }
}

fn equal(key: Slot, value: u32) -> Op {
    compare(key, Relation::Eq, &[value])
}

/// A rule that counts packets which fit `ops`; yields the rule and its counter.
fn counted(bench: &mut Bench, mut ops: Vec<Op>) -> ((u32, Vec<Op>), CounterSlot) {
    let counter = bench.counter();
    ops.push(Op::Counter { counter });
    ((counter.0, ops), counter)
}

fn packets(bench: &Bench, counter: CounterSlot) -> u64 {
    bench.counters.read(counter).packets
}

/// A bench that tracks before one chain at forward, with these rules.
fn tracked(bench: &mut Bench, rules: &[(u32, Vec<Op>)]) {
    bench.track();
    bench.chain(rules);
    bench.base(0, Hook::Forward, Family::Inet, Policy::Accept);
    bench.confirm();
}

fn flows(bench: &Bench) -> Vec<Flow> {
    let mut flows = Vec::new();
    let tracker = bench.tracker.as_ref().unwrap();
    tracker.list(&Filter::default(), 0, 1000, &mut flows);
    flows
}

/// Runs frames that came by the port on the other side.
fn run_back(bench: &mut Bench, frames: &[Vec<u8>]) -> Vec<Fate> {
    bench.in_port = PortId(1);
    let fates = bench.run(frames);
    bench.in_port = PortId(0);
    fates
}

#[test]
fn a_flow_is_new_until_it_is_answered() {
    let mut bench = Bench::new();
    let state = ct(&mut bench, CtKey::State, 32);
    let (new, news) = counted(&mut bench, vec![equal(state, NEW)]);
    let (old, olds) = counted(&mut bench, vec![equal(state, ESTABLISHED)]);
    tracked(&mut bench, &[new, old]);
    bench.run(&[frames::udp(1000, 53), frames::udp(1000, 53)]);
    assert_eq!((packets(&bench, news), packets(&bench, olds)), (2, 0));
    assert_eq!(
        flows(&bench).len(),
        1,
        "a burst of one new flow makes one flow"
    );
    run_back(&mut bench, &[answer(frames::udp(1000, 53))]);
    bench.run(&[frames::udp(1000, 53)]);
    assert_eq!((packets(&bench, news), packets(&bench, olds)), (2, 2));
    assert_eq!(flows(&bench)[0].packets, [3, 1]);
}

#[test]
fn a_packet_that_was_dropped_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let port = bench.key(
        Source::Payload {
            base: Base::Transport,
            bit_offset: 16,
        },
        16,
        Requires::Transport { protocol: 17 },
    );
    let drop = Op::Verdict {
        verdict: Verdict::Drop,
    };
    tracked(&mut bench, &[(1, vec![equal(port, 53), drop])]);
    let fates = bench.run(&[
        frames::udp(1000, 53),
        frames::udp(1000, 54),
        frames::udp(1000, 53),
        frames::udp(1000, 54),
    ]);
    let dropped = |fate: &Fate| {
        matches!(
            fate,
            Fate::Drop {
                reason: DropReason::RuleDrop,
                ..
            }
        )
    };
    assert_eq!(
        fates.iter().map(dropped).collect::<Vec<_>>(),
        [true, false, true, false]
    );
    let flows = flows(&bench);
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].original.dport, 54);
}

#[test]
fn without_a_connection_only_the_state_can_be_read() {
    let mut bench = Bench::new();
    let state = ct(&mut bench, CtKey::State, 32);
    let mark = ct(&mut bench, CtKey::Mark, 32);
    let one = bench.work(32);
    let set = vec![
        Op::Immediate {
            into: one,
            value: [1].into_iter().collect(),
        },
        Op::CtSet {
            key: CtKey::Mark,
            direction: None,
            from: one,
        },
    ];
    let (invalid, invalids) = counted(&mut bench, vec![equal(state, INVALID)]);
    let (any, anys) = counted(&mut bench, vec![compare(mark, Relation::Ge, &[0])]);
    // Setting a value of no connection changes nothing, and the rule goes on.
    let (set, sets) = counted(&mut bench, set);
    let (untracked, untrackeds) = counted(&mut bench, vec![Op::Notrack, equal(state, UNTRACKED)]);
    bench.chain(&[invalid, any, set, untracked]);
    bench.base(0, Hook::Prerouting, Family::Inet, Policy::Accept);
    bench.track();
    bench.confirm();
    bench.run(&[frames::udp(1000, 53)]);
    let counts = [invalids, anys, sets, untrackeds].map(|counter| packets(&bench, counter));
    assert_eq!(counts, [1, 0, 1, 1]);
    assert!(flows(&bench).is_empty(), "an untracked packet has no flow");
}

#[test]
fn what_a_packet_sets_the_next_one_of_its_flow_reads() {
    let mut bench = Bench::new();
    let mark = ct(&mut bench, CtKey::Mark, 32);
    let label = ct(&mut bench, CtKey::Label, 128);
    let five = bench.work(32);
    let wide = bench.work(128);
    let (marked, marks) = counted(&mut bench, vec![equal(mark, 5)]);
    let (labelled, labels) = counted(
        &mut bench,
        vec![compare(label, Relation::Eq, &[0, 0, 1, 2])],
    );
    let set = vec![
        Op::Immediate {
            into: five,
            value: [5].into_iter().collect(),
        },
        Op::CtSet {
            key: CtKey::Mark,
            direction: None,
            from: five,
        },
        Op::Immediate {
            into: wide,
            value: [0, 0, 1, 2].into_iter().collect(),
        },
        Op::CtSet {
            key: CtKey::Label,
            direction: None,
            from: wide,
        },
    ];
    tracked(&mut bench, &[marked, labelled, (9, set)]);
    let batch: Vec<_> = std::iter::repeat_n(frames::udp(1000, 53), 5).collect();
    bench.run(&batch);
    assert_eq!((packets(&bench, marks), packets(&bench, labels)), (4, 4));
    assert_eq!(flows(&bench)[0].label, 1 << 32 | 2);
    run_back(&mut bench, &[answer(frames::udp(1000, 53))]);
    assert_eq!(packets(&bench, marks), 5);
}

#[test]
fn figures_are_those_of_each_packet_in_its_turn() {
    let mut bench = Bench::new();
    let number = ct_of(&mut bench, CtKey::Packets, 64, Some(Direction::Original));
    let back = ct_of(&mut bench, CtKey::Packets, 64, Some(Direction::Reply));
    let both = ct(&mut bench, CtKey::Bytes, 64);
    let average = ct(&mut bench, CtKey::Avgpkt, 64);
    let mut rules = Vec::new();
    let mut counters = Vec::new();
    for at in 1..=3 {
        let (rule, counter) = counted(&mut bench, vec![compare(number, Relation::Eq, &[0, at])]);
        rules.push(rule);
        counters.push(counter);
    }
    for ops in [
        compare(back, Relation::Gt, &[0, 0]),
        compare(both, Relation::Ge, &[0, 96]),
        compare(average, Relation::Eq, &[0, 32]),
    ] {
        let (rule, counter) = counted(&mut bench, vec![ops]);
        rules.push(rule);
        counters.push(counter);
    }
    tracked(&mut bench, &rules);
    let batch: Vec<_> = std::iter::repeat_n(frames::udp(1000, 53), 3).collect();
    bench.run(&batch);
    let counts: Vec<u64> = counters
        .iter()
        .map(|counter| packets(&bench, *counter))
        .collect();
    assert_eq!(
        counts,
        [1, 1, 1, 0, 1, 3],
        "32 bytes a datagram, as the kernel counts them"
    );
}

#[test]
fn connections_of_a_count_are_those_that_are_alive() {
    let mut bench = Bench::new();
    let cell = bench.cell(Cell::ConnLimit(ConnLimit::new(2, true)));
    let drop = Op::Verdict {
        verdict: Verdict::Drop,
    };
    tracked(&mut bench, &[(1, vec![Op::Cell { cell }, drop])]);
    let batch: Vec<_> = (0..4).map(|port| frames::udp(1000 + port, 53)).collect();
    let passed = |fates: &[Fate]| {
        let sent = |fate: &&Fate| matches!(fate, Fate::Send(_));
        fates.iter().filter(sent).count()
    };
    assert_eq!(passed(&bench.run(&batch)), 2);
    // The first two are alive and come through again; the others still do not.
    assert_eq!(passed(&bench.run(&batch)), 2);
    let ended = flows(&bench)[0].id;
    assert!(bench.tracker.as_ref().unwrap().delete(ended, 0));
    assert_eq!(passed(&bench.run(&[frames::udp(1003, 53)])), 1);
}

#[test]
fn objects_steer_new_connections() {
    let mut bench = Bench::new();
    let policy = TimeoutPolicy {
        seconds: vec![(TimeoutClass::UdpUnreplied, 7)],
    };
    bench.objects = vec![
        (
            EngineObjectId(3),
            ConnectionObject::Helper(HelperObject {
                ip: 2,
                ip6: 0,
                protocol: 17,
            }),
        ),
        (
            EngineObjectId(4),
            ConnectionObject::Timeout(TimeoutObject::new(17, policy)),
        ),
    ];
    let ops = vec![
        Op::EngineObject {
            kind: ObjectKind::CtHelper,
            object: EngineObjectId(3),
        },
        Op::EngineObject {
            kind: ObjectKind::CtTimeout,
            object: EngineObjectId(4),
        },
    ];
    let (rule, counter) = counted(&mut bench, ops);
    tracked(&mut bench, &[rule]);
    bench.run(&[frames::udp(1000, 69), frames::tcp(1000, 21)]);
    assert_eq!(packets(&bench, counter), 2, "what does not fit is no break");
    let mut flows = flows(&bench);
    flows.sort_by_key(|flow| flow.original.protocol);
    let [tcp, udp] = &flows[..] else {
        panic!("{flows:?}");
    };
    assert_eq!((tcp.helper, udp.helper), (0, 2));
    assert!(udp.status & status::HELPER != 0);
    assert_eq!(udp.expires_in_ms(0), 7000);
    assert_eq!(tcp.expires_in_ms(0), 120_000);
}

#[test]
fn zones_keep_equal_tuples_apart() {
    let mut bench = Bench::new();
    let seven = bench.work(16);
    let zone = ct(&mut bench, CtKey::Zone, 16);
    let set = vec![
        Op::Immediate {
            into: seven,
            value: [7].into_iter().collect(),
        },
        Op::CtSet {
            key: CtKey::Zone,
            direction: None,
            from: seven,
        },
    ];
    bench.chain(&[(1, set)]);
    bench.base_on(
        0,
        Hook::Prerouting,
        Family::Inet,
        Policy::Accept,
        &["inside"],
    );
    let (rule, counter) = counted(&mut bench, vec![equal(zone, 7)]);
    bench.track();
    bench.chain(&[rule]);
    bench.base(1, Hook::Forward, Family::Inet, Policy::Accept);
    bench.confirm();
    bench.run(&[frames::udp(1000, 53)]);
    run_back(&mut bench, &[frames::udp(1000, 53)]);
    assert_eq!(packets(&bench, counter), 1);
    let mut zones: Vec<u16> = flows(&bench)
        .iter()
        .map(|flow| flow.original.zone)
        .collect();
    zones.sort_unstable();
    assert_eq!(zones, [0, 7]);
}

#[test]
fn a_walk_confirms_what_it_tracks() {
    let tables = Arc::new(Tables::new());
    let refused = |entries: Vec<Entry>| {
        let mut builder = ProgramBuilder::new(Arc::clone(&tables));
        builder.walk(Class::Ip, entries);
        builder.finish().is_err()
    };
    assert!(!refused(vec![Entry::Track, Entry::Peer, Entry::Confirm]));
    assert!(refused(vec![Entry::Track, Entry::Peer]));
    assert!(refused(vec![Entry::Confirm, Entry::Peer, Entry::Track]));
    assert!(refused(vec![
        Entry::Track,
        Entry::Track,
        Entry::Peer,
        Entry::Confirm
    ]));
}
