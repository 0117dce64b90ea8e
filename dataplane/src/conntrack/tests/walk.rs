//! What one worker does with packets: states, drops, expectations, zones, time, a full table.

use std::sync::Arc;

use super::super::testing::{Ends, SECOND, Stand, UDP_BYTES, settings, tcp, udp, unreachable};
use super::super::{
    CtState, Direction, Expectation, Filter, Flow, FlowEventKind, Release, SourceMask,
    TimeoutClass, TimeoutPolicy, Tracker, Translated, Zone, status,
};
use crate::drop_reason::DropReason;

const A: Ends = Ends {
    src: 1,
    dst: 2,
    sport: 1000,
    dport: 53,
};

fn stand(max: u32) -> (Arc<Tracker>, Stand) {
    let tracker = Tracker::new(settings(max), 1, 7).unwrap();
    let stand = Stand::new(&tracker, 0);
    (tracker, stand)
}

fn all(tracker: &Tracker) -> Vec<Flow> {
    let (mut flows, mut from) = (Vec::new(), Some(0));
    while let Some(next) = from {
        from = tracker.list(&Filter::default(), next, 10, &mut flows);
    }
    flows
}

#[test]
fn a_flow_is_new_until_it_is_answered() {
    let (tracker, mut stand) = stand(100);
    assert_eq!(stand.one(&udp(A)).state, CtState::New);
    assert_eq!(stand.one(&udp(A)).state, CtState::New);
    let answer = stand.one(&udp(A.answer()));
    assert_eq!(
        (answer.state, answer.direction),
        (CtState::Established, Direction::Reply)
    );
    assert_eq!(stand.one(&udp(A)).state, CtState::Established);
    let flows = all(&tracker);
    assert_eq!(flows.len(), 1);
    assert_eq!(
        (flows[0].packets, flows[0].bytes),
        ([3, 1], [3 * UDP_BYTES, UDP_BYTES])
    );
    assert_eq!(flows[0].status, status::CONFIRMED | status::SEEN_REPLY);
    assert_eq!(flows[0].class, TimeoutClass::UdpUnreplied);
    assert_eq!(tracker.count(), 1);
    stand.now += 3 * SECOND;
    stand.one(&udp(A));
    let flow = &all(&tracker)[0];
    assert_eq!(
        flow.class,
        TimeoutClass::UdpReplied,
        "a stream after two seconds"
    );
    assert_ne!(flow.status & status::ASSURED, 0);
    assert_eq!(flow.expires_in_ms(stand.now), 120_000);
    assert_eq!(flow.started_wall_ns, SECOND);
}

#[test]
fn a_dropped_first_packet_leaves_nothing() {
    let (tracker, mut stand) = stand(100);
    assert_eq!(stand.pass(&[udp(A)], 0)[0].state, CtState::New);
    assert_eq!(tracker.count(), 0);
    assert!(all(&tracker).is_empty());
    assert_eq!(
        stand.one(&udp(A.answer())).direction,
        Direction::Original,
        "nothing was there"
    );
}

#[test]
fn a_burst_of_one_new_flow_is_one_flow() {
    let (tracker, mut stand) = stand(100);
    let burst = [udp(A), udp(A), udp(A.answer()), udp(A)];
    let states: Vec<_> = stand.pass(&burst, !0).iter().map(|ct| ct.state).collect();
    assert_eq!(
        states,
        [
            CtState::New,
            CtState::New,
            CtState::Established,
            CtState::Established
        ]
    );
    assert_eq!(all(&tracker)[0].packets, [3, 1]);
    // The first is dropped: the second begins the flow.
    let b = Ends { sport: 2000, ..A };
    let states = stand.pass(&[udp(b), udp(b.answer())], 2);
    assert_eq!(states[1].state, CtState::New);
    assert_eq!(all(&tracker).len(), 2);
}

#[test]
fn rules_that_read_counters_see_each_packet_alone() {
    let (_, mut stand) = stand(100);
    stand.one(&udp(A));
    stand.exact = true;
    let burst = stand.begin(&[udp(A), udp(A), udp(Ends { sport: 9, ..A })]);
    let context = stand.context();
    let deferred = stand.worker.track(7, &mut stand.packets, &burst, &context);
    assert_eq!(deferred, 2);
    let flow = stand.packets.ct[0].flow;
    assert_eq!(stand.worker.counters(flow, Direction::Original).0, 2);
    stand.worker.end();
}

#[test]
fn untracked_and_invalid_packets_have_no_flow() {
    let (tracker, mut stand) = stand(100);
    let mut cut = udp(A);
    cut.truncate(14 + 20 + 3);
    cut[14 + 3] = 23;
    assert_eq!(stand.one(&cut).state, CtState::Invalid);
    assert_eq!(tracker.statistics(0).invalid, 1);
    assert_eq!(tracker.invalids().iter().sum::<u64>(), 1);
    let burst = stand.begin(&[udp(A)]);
    stand.packets.ct[0] = super::super::PacketCt::UNTRACKED;
    let context = stand.context();
    assert_eq!(
        stand.worker.track(1, &mut stand.packets, &burst, &context),
        0
    );
    assert_eq!(stand.packets.ct[0].state, CtState::Untracked);
    stand.worker.end();
    assert_eq!(tracker.count(), 0);
}

#[test]
fn zones_and_their_directions_tell_flows_apart() {
    let (tracker, mut stand) = stand(100);
    stand.one(&udp(A));
    stand.zone = Zone::both(5);
    assert_eq!(
        stand.one(&udp(A.answer())).direction,
        Direction::Original,
        "another zone"
    );
    let b = Ends { sport: 77, ..A };
    stand.zone = Zone {
        id: 6,
        directions: 1,
    };
    assert_eq!(stand.one(&udp(b)).state, CtState::New);
    let flow = all(&tracker)
        .into_iter()
        .find(|flow| flow.original.zone == 6)
        .unwrap();
    assert_eq!(flow.reply.zone, 0);
    stand.zone = Zone::default();
    assert_eq!(stand.one(&udp(b.answer())).state, CtState::Established);
    stand.zone = Zone {
        id: 6,
        directions: 1,
    };
    assert_eq!(stand.one(&udp(b)).state, CtState::Established);
    assert_eq!(tracker.count(), 3);
}

#[test]
fn an_icmp_error_is_related_and_refreshes_nothing() {
    let (tracker, mut stand) = stand(100);
    let packet = udp(A);
    stand.one(&packet);
    let before = all(&tracker);
    stand.now += SECOND;
    let error = stand.one(&unreachable(A, &packet));
    assert_eq!(
        (error.state, error.direction),
        (CtState::Related, Direction::Reply)
    );
    assert_eq!(all(&tracker), before);
    let b = Ends { sport: 5, ..A };
    assert_eq!(stand.one(&unreachable(b, &udp(b))).state, CtState::Invalid);
    assert_eq!(tracker.statistics(0).error, 1);
    // Sent to somebody else than the sender of the packet in it.
    let other = Ends { src: 9, ..A };
    assert_eq!(
        stand.one(&unreachable(other, &packet)).state,
        CtState::Invalid
    );
    assert_eq!(tracker.count(), 1);
}

#[test]
fn an_expected_flow_is_related_and_knows_its_master() {
    let (tracker, mut stand) = stand(100);
    let burst = stand.begin(&[udp(A)]);
    let context = stand.context();
    stand.worker.track(1, &mut stand.packets, &burst, &context);
    let flow = stand.packets.ct[0].flow;
    stand.worker.set_mark(flow, 42);
    assert!(stand.worker.set_helper(flow, 3));
    assert!(!stand.worker.set_helper(flow, 4), "it has one");
    let master = stand.worker.flow_id(flow).unwrap();
    let b = Ends {
        src: 2,
        dst: 1,
        sport: 0,
        dport: 4000,
    };
    let mut tuple = stand.worker.tuple(flow, Direction::Reply);
    (tuple.sport, tuple.dport) = (0, 4000);
    let expectation = Expectation {
        master,
        tuple,
        mask: SourceMask::ADDRESS,
        expires_ns: stand.now + 10 * SECOND,
        class: 0,
        permanent: false,
        helper: 0,
        follow: None,
    };
    assert!(stand.worker.expect(expectation.clone()));
    stand.worker.confirm(1, &mut stand.packets, &context);
    stand.worker.end();
    assert_eq!(tracker.expected_by(master), 1);
    let child = stand.one(&udp(Ends { sport: 555, ..b }));
    assert_eq!(
        (child.state, child.direction),
        (CtState::Related, Direction::Original)
    );
    let flows = all(&tracker);
    let child = flows.iter().find(|flow| flow.master.is_some()).unwrap();
    assert_eq!((child.master, child.mark), (Some(master), 42));
    assert_ne!(child.status & status::EXPECTED, 0);
    assert_eq!(tracker.expectations(), [], "used up");
    // A master that ends takes its expectations along.
    assert!(tracker.expect(expectation.clone()));
    assert!(tracker.delete(master, 0));
    assert_eq!(tracker.expectations(), []);
    assert!(!tracker.expect(expectation), "its master has ended");
    let statistics = tracker.statistics(0);
    assert_eq!((statistics.expect_new, statistics.expect_delete), (1, 1));
}

#[test]
fn a_flow_ends_when_its_time_is_over() {
    let (tracker, mut stand) = stand(100);
    stand.one(&udp(A));
    stand.now += 30 * SECOND - 1;
    assert_eq!(stand.one(&udp(A)).state, CtState::New);
    assert_eq!(tracker.statistics(0).found, 1);
    stand.now += 30 * SECOND;
    // The wheel may be a tick late, a look-up never is.
    assert_eq!(stand.one(&udp(A.answer())).direction, Direction::Original);
    assert_eq!(tracker.statistics(0).destroy, 1);
    stand.now += 31 * SECOND;
    stand.worker.tick(stand.now, stand.now);
    assert_eq!(tracker.count(), 0);
    assert!(all(&tracker).is_empty());
}

#[test]
fn a_shorter_timeout_is_noticed_by_the_wheel() {
    let (tracker, mut stand) = stand(100);
    let policy = tracker.policy(&TimeoutPolicy {
        seconds: vec![(TimeoutClass::UdpUnreplied, 400_000)],
    });
    assert_eq!(
        tracker.policy(&tracker.policies()[0]),
        policy,
        "known already"
    );
    let burst = stand.begin(&[udp(A)]);
    let context = stand.context();
    stand.worker.track(1, &mut stand.packets, &burst, &context);
    let flow = stand.packets.ct[0].flow;
    assert!(stand.worker.set_policy(flow, policy));
    assert_eq!(stand.worker.expires_in_ms(flow), 400_000_000);
    stand.worker.confirm(1, &mut stand.packets, &context);
    assert!(!stand.worker.set_policy(flow, 0), "confirmed");
    stand.worker.end();
    let id = all(&tracker)[0].id;
    assert!(tracker.set_timeout(id, stand.now, 5 * SECOND));
    stand.now += 6 * SECOND;
    stand.worker.tick(stand.now, stand.now);
    stand.worker.tick(stand.now, stand.now);
    assert_eq!(tracker.count(), 0);
}

#[test]
fn settings_change_while_it_runs() {
    let (tracker, mut stand) = stand(100);
    stand.one(&udp(A));
    let mut settings = (*tracker.settings()).clone();
    settings.timeouts.set(TimeoutClass::UdpUnreplied, 7);
    settings.max = 5;
    tracker.set_settings(settings);
    stand.one(&udp(A));
    assert_eq!(all(&tracker)[0].expires_in_ms(stand.now), 7000);
    assert_eq!(tracker.settings().max, 100, "the budget stays");
}

#[test]
fn a_full_table_drops_early_what_is_not_assured() {
    let (tracker, mut stand) = stand(16);
    let ends = |port: u16| Ends { sport: port, ..A };
    for port in 0..16 {
        stand.one(&udp(ends(port)));
    }
    for port in 0..15 {
        stand.one(&udp(ends(port).answer()));
    }
    stand.now += 3 * SECOND;
    for port in 0..15 {
        stand.one(&udp(ends(port)));
    }
    assert_eq!(
        stand.one(&udp(ends(100))).state,
        CtState::New,
        "in the place of number 15"
    );
    assert_eq!((tracker.count(), tracker.statistics(0).early_drop), (16, 1));
    // The newcomer is not assured: the next one takes its place in turn.
    assert_eq!(stand.one(&udp(ends(101))).state, CtState::New);
    stand.one(&udp(ends(101).answer()));
    stand.now += 3 * SECOND;
    stand.one(&udp(ends(101)));
    assert_eq!(stand.one(&udp(ends(102))).state, CtState::None);
    assert_eq!(stand.packets.ended, 1);
    assert_eq!(stand.packets.reasons[0], DropReason::FlowTableFull);
    assert_eq!((tracker.count(), tracker.statistics(0).drop), (16, 1));
    assert_eq!(
        stand.one(&udp(ends(3))).state,
        CtState::Established,
        "those inside go on"
    );
}

#[test]
fn a_flood_within_one_batch_stays_within_the_budget() {
    for max in [65, 100, 1000] {
        flood(max);
    }
}

/// 200 batches of new flows only, more than the table holds.
fn flood(max: u32) {
    let (tracker, mut stand) = stand(max);
    for round in 0..200u16 {
        let frames: Vec<_> = (0..64)
            .map(|at| {
                udp(Ends {
                    sport: round * 64 + at,
                    ..A
                })
            })
            .collect();
        stand.pass(&frames, !0);
        assert!(tracker.count() <= max);
    }
    let statistics = tracker.statistics(0);
    assert_eq!(
        statistics.insert - statistics.destroy,
        u64::from(tracker.count())
    );
    assert_eq!(statistics.insert, 200 * 64, "each found somebody to drop");
    assert_eq!(statistics.drop, 0);
}

/// Counts what it is told of.
#[derive(Debug, Default)]
struct Released(std::sync::Mutex<Vec<Translated>>);

impl Release for Released {
    fn release(&self, flow: &Translated) {
        self.0.lock().unwrap().push(*flow);
    }
}

#[test]
fn the_reply_tuple_can_be_replaced_before_it_is_confirmed() {
    let (tracker, mut stand) = stand(100);
    let released = Arc::new(Released::default());
    tracker.on_release(Arc::clone(&released) as Arc<dyn Release>);
    let other = Ends {
        src: 7,
        dst: 2,
        sport: 4000,
        dport: 53,
    };
    stand.one(&udp(other));
    let burst = stand.begin(&[udp(A)]);
    let context = stand.context();
    stand.worker.track(1, &mut stand.packets, &burst, &context);
    let flow = stand.packets.ct[0].flow;
    let taken = tracker.find(&all(&tracker)[0].reply).unwrap().0.reply;
    assert!(stand.worker.is_taken_by_another(0, &taken));
    let mut reply = taken;
    reply.dport = 4001;
    assert!(!stand.worker.is_taken_by_another(0, &reply));
    stand.worker.replace_reply(0, &reply);
    assert!(!stand.worker.is_taken_by_another(0, &reply), "its own");
    stand.worker.add_translation(flow, 1);
    stand.worker.add_translation(flow, 2);
    stand.worker.confirm(1, &mut stand.packets, &context);
    let id = stand.worker.flow_id(flow).unwrap();
    stand.worker.replace_reply(0, &taken);
    stand.worker.end();
    assert_eq!(tracker.flow(id.index).unwrap().reply, reply, "confirmed");
    let answer = stand.one(&udp(Ends {
        sport: 4001,
        ..other
    }
    .answer()));
    assert_eq!(answer.state, CtState::Established);
    assert_eq!(stand.one(&udp(A)).state, CtState::Established);
    assert!(released.0.lock().unwrap().is_empty());
    assert!(tracker.delete(id, 0));
    let told = released.0.lock().unwrap().clone();
    assert_eq!(
        told.len(),
        1,
        "once, and only of the flow that holds something"
    );
    assert_eq!((told[0].reply, told[0].bits), (reply, 3));
}

#[test]
fn a_translated_flow_that_is_dropped_gives_back_what_it_holds() {
    let (tracker, mut stand) = stand(100);
    let released = Arc::new(Released::default());
    tracker.on_release(Arc::clone(&released) as Arc<dyn Release>);
    let burst = stand.begin(&[udp(A)]);
    let context = stand.context();
    stand.worker.track(1, &mut stand.packets, &burst, &context);
    let ct = stand.packets.ct[0];
    stand.worker.add_translation(ct.flow, 1);
    let attached = stand.worker.attach(ct).unwrap();
    assert_eq!(attached.direction, Direction::Reply);
    assert_eq!(stand.worker.still(attached.id), Some(ct.flow));
    stand.worker.drop_unconfirmed(1, &mut stand.packets);
    assert_eq!(stand.worker.still(attached.id), None);
    stand.worker.end();
    assert_eq!(released.0.lock().unwrap().len(), 1);
}

#[test]
fn events_tell_the_life_of_a_flow() {
    let (tracker, mut stand) = stand(100);
    stand.one(&udp(Ends { sport: 1, ..A }));
    assert!(tracker.pop_event(0).is_none(), "nobody listens");
    let mut settings = (*tracker.settings()).clone();
    settings.events = true;
    tracker.set_settings(settings);
    stand.one(&udp(A));
    stand.one(&udp(A.answer()));
    let id = all(&tracker)
        .into_iter()
        .find(|flow| flow.original.sport == 1000)
        .unwrap()
        .id;
    tracker.set_mark(id, 5, 0xff, 0);
    tracker.delete(id, 1);
    let kinds: Vec<_> = std::iter::from_fn(|| tracker.pop_event(0))
        .map(|event| event.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            FlowEventKind::New,
            FlowEventKind::Update(super::super::event::changed::REPLY)
        ]
    );
    let of_control: Vec<_> = std::iter::from_fn(|| tracker.pop_event(1)).collect();
    assert_eq!(
        of_control[0].kind,
        FlowEventKind::Update(super::super::event::changed::MARK)
    );
    assert_eq!(of_control[1].kind, FlowEventKind::Destroy);
    assert_eq!(of_control[1].flow.packets, [1, 1], "with its counters");
    assert_eq!(tracker.events_lost(), 0);
}

#[test]
fn a_full_queue_of_events_loses_and_tells() {
    let (tracker, mut stand) = stand(20_000);
    let mut settings = (*tracker.settings()).clone();
    settings.events = true;
    tracker.set_settings(settings);
    for round in 0..160u16 {
        let frames: Vec<_> = (0..64)
            .map(|at| {
                udp(Ends {
                    sport: round * 64 + at,
                    ..A
                })
            })
            .collect();
        stand.pass(&frames, !0);
    }
    let told = std::iter::from_fn(|| tracker.pop_event(0)).count() as u64;
    assert_eq!(told + tracker.events_lost(), 160 * 64);
    assert!(tracker.events_lost() > 0);
}

#[test]
fn filters_choose_what_is_deleted() {
    let (tracker, mut stand) = stand(1000);
    for port in 0..300 {
        stand.one(&udp(Ends {
            sport: port,
            dport: 50 + port % 3,
            ..A
        }));
    }
    let mut filter = Filter::default();
    filter.original.dport = Some(51);
    assert_eq!(tracker.delete_matching(&filter, 0), 100);
    assert_eq!(tracker.delete_matching(&filter, 0), 0);
    assert_eq!((tracker.count(), all(&tracker).len()), (200, 200));
    assert_eq!(tracker.delete_matching(&Filter::default(), 0), 200);
    stand.worker.tick(stand.now, stand.now);
    assert_eq!(stand.one(&udp(A)).state, CtState::New);
    assert_eq!(tracker.count(), 1);
}

#[test]
fn tcp_flows_live_and_end() {
    let (tracker, mut stand) = stand(100);
    let a = Ends {
        sport: 40_000,
        dport: 80,
        ..A
    };
    assert_eq!(stand.one(&tcp(a, 2, 100, 0)).state, CtState::New);
    assert_eq!(
        stand.one(&tcp(a.answer(), 18, 500, 101)).state,
        CtState::Established
    );
    assert_eq!(stand.one(&tcp(a, 16, 101, 501)).state, CtState::Established);
    let flow = &all(&tracker)[0];
    assert_eq!(flow.class, TimeoutClass::TcpEstablished);
    assert_ne!(flow.status & status::ASSURED, 0);
    assert_eq!(flow.packets, [2, 1]);
}

#[test]
fn a_worker_that_is_restarted_takes_its_flows_over() {
    let (tracker, mut stand) = stand(100);
    for port in 0..50 {
        stand.one(&udp(Ends { sport: port, ..A }));
    }
    let mut filter = Filter::default();
    filter.original.sport = Some(7);
    assert_eq!(tracker.delete_matching(&filter, 0), 1);
    let burst = stand.begin(&[udp(A)]);
    let context = stand.context();
    stand.worker.track(1, &mut stand.packets, &burst, &context);
    let now = stand.now;
    drop(stand);
    assert_eq!(tracker.count(), 49, "what was begun is forgotten");
    let mut stand = Stand::new(&tracker, 0);
    stand.now = now;
    assert_eq!(
        stand.one(&udp(Ends { sport: 3, ..A }.answer())).state,
        CtState::Established
    );
    stand.now += 200 * SECOND;
    for _ in 0..3 {
        stand.worker.tick(stand.now, stand.now);
    }
    assert_eq!(tracker.count(), 0, "the new wheel has all of them");
}
