use super::*;
use crate::conntrack::testing::{Ends, SECOND, Stand, settings, udp};
use crate::conntrack::{CtState, Direction, Expectation, SourceMask};

fn ends(port: u16) -> Ends {
    Ends {
        src: 1,
        dst: 2,
        sport: port,
        dport: 53,
    }
}

/// A table of a hundred flows of different ages and marks, and one that another announced.
fn filled() -> (std::sync::Arc<Tracker>, Stand) {
    let tracker = Tracker::new(settings(1000), 2, 1).unwrap();
    let mut stand = Stand::new(&tracker, 0);
    let long = tracker.policy(&TimeoutPolicy {
        seconds: vec![(TimeoutClass::UdpUnreplied, 1000)],
    });
    for port in 0..100 {
        let burst = stand.begin(&[udp(ends(port))]);
        let context = stand.context();
        stand.worker.track(1, &mut stand.packets, &burst, &context);
        let flow = stand.packets.ct[0].flow;
        stand.worker.set_mark(flow, u32::from(port) + 1);
        stand.worker.set_label(flow, 1 << 100 | u128::from(port));
        if port % 10 == 0 {
            assert!(stand.worker.set_policy(flow, long));
        }
        if port == 50 {
            assert!(stand.worker.set_helper(flow, 9));
        }
        if port == 60 {
            let changed = stand
                .worker
                .note_length_change(flow, Direction::Reply, 7, -3);
            assert!(changed && stand.worker.set_offset(flow, Direction::Original, 5));
        }
        stand.worker.confirm(1, &mut stand.packets, &context);
        stand.worker.end();
        stand.now += SECOND / 10;
    }
    let (master, _) = tracker.find(&tuple(50)).unwrap();
    let mut expected = tuple(50);
    (expected.sport, expected.dport) = (0, 4000);
    assert!(tracker.expect(Expectation {
        master: master.id,
        tuple: expected,
        mask: SourceMask::ADDRESS,
        expires_ns: stand.now + SECOND,
        class: 0,
        permanent: false,
        helper: 0,
        follow: None,
    }));
    assert_eq!(
        stand
            .one(&udp(Ends {
                dport: 4000,
                ..ends(7)
            }))
            .state,
        CtState::Related
    );
    (tracker, stand)
}

fn tuple(port: u16) -> Tuple {
    let mut tuple = Tuple {
        sport: port,
        dport: 53,
        protocol: 17,
        l3: 2,
        ..Tuple::default()
    };
    tuple.src[..4].copy_from_slice(&[10, 2, 0, 1]);
    tuple.dst[..4].copy_from_slice(&[10, 2, 0, 2]);
    tuple
}

fn all(tracker: &Tracker) -> Vec<Flow> {
    let mut flows = Vec::new();
    tracker.list(&Filter::default(), 0, usize::MAX, &mut flows);
    flows.sort_by_key(|flow| flow.original.key());
    flows
}

fn saved() -> (Vec<Flow>, Vec<u8>, u64) {
    let (tracker, stand) = filled();
    let mut bytes = Vec::new();
    assert_eq!(tracker.save(stand.now, stand.now, &mut bytes).unwrap(), 101);
    (all(&tracker), bytes, stand.now)
}

#[test]
fn flows_come_back_as_they_were_with_the_time_taken_off() {
    let (before, bytes, saved_at) = saved();
    let tracker = Tracker::new(settings(1000), 2, 2).unwrap();
    // Another boot: the clock of the machine has begun anew, and 25 seconds of wall time have passed.
    let (now, wall) = (5 * SECOND, saved_at + 25 * SECOND);
    let loaded = tracker.load(&bytes, now, wall).unwrap();
    let still = |flow: &&Flow| flow.expires_ns > saved_at + 25 * SECOND;
    let left: Vec<_> = before.iter().filter(still).collect();
    assert_eq!(
        loaded,
        Loaded {
            added: left.len() as u64,
            over: 101 - left.len() as u64,
            refused: 0
        }
    );
    assert!(loaded.over > 0 && loaded.added > 0);
    let after = all(&tracker);
    assert_eq!(after.len(), left.len());
    for (old, new) in left.iter().zip(&after) {
        assert_eq!(
            (old.original, old.reply, old.status),
            (new.original, new.reply, new.status)
        );
        assert_eq!(
            (old.mark, old.label, old.helper),
            (new.mark, new.label, new.helper)
        );
        assert_eq!((old.packets, old.bytes), (new.packets, new.bytes));
        assert_eq!(old.offsets, new.offsets);
        assert_eq!(old.started_wall_ns, new.started_wall_ns);
        assert_eq!(
            old.expires_ns - saved_at,
            new.expires_ns - now + 25 * SECOND
        );
        assert_eq!(old.policy, new.policy);
        let master = |flow: &Flow, flows: &[Flow]| {
            let id = flow.master?;
            flows
                .iter()
                .find(|other| other.id == id)
                .map(|other| other.original)
        };
        assert_eq!(master(old, &before), master(new, &after));
    }
    assert!(after.iter().any(|flow| flow.master.is_some()));
    assert!(after.iter().any(|flow| flow.offsets[1].behind == -3));
    // They are flows like others: found, refreshed, and in a wheel.
    let mut stands = [Stand::new(&tracker, 0), Stand::new(&tracker, 1)];
    stands[0].now = now;
    assert_eq!(
        stands[0].one(&udp(ends(95).answer())).state,
        CtState::Established
    );
    for stand in &mut stands {
        stand.now = now + 2000 * SECOND;
        for _ in 0..3 {
            stand.worker.tick(stand.now, stand.now);
        }
    }
    assert_eq!(tracker.count(), 0);
}

#[test]
fn what_has_no_room_is_counted() {
    let (_, bytes, now) = saved();
    let tracker = Tracker::new(settings(40), 1, 2).unwrap();
    let loaded = tracker.load(&bytes, now, now).unwrap();
    assert_eq!((loaded.added, loaded.refused), (40, 61));
    assert_eq!(
        tracker.load(&bytes, now, now).unwrap().added,
        0,
        "they are there already"
    );
}

#[test]
fn damage_is_refused_and_adds_nothing() {
    let (_, bytes, now) = saved();
    let tracker = Tracker::new(settings(1000), 1, 2).unwrap();
    let load = |bytes: &[u8]| tracker.load(bytes, now, now).unwrap_err();
    for at in (16..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        load(&damaged);
    }
    for len in [0, 7, 8, 15, 39, 40, 100, bytes.len() - 8, bytes.len() - 1] {
        load(&bytes[..len]);
    }
    assert_eq!(load(b"something else entirely"), LoadError::NotFlows);
    let mut older = bytes.clone();
    older[8] = 0;
    assert_eq!(load(&older), LoadError::Version { found: 0 });
    assert_eq!(
        load(&older).to_string(),
        "flows saved by version 0 cannot be read; this is version 3"
    );
    let mut longer = bytes.clone();
    longer.extend([0; 8]);
    assert_eq!(load(&longer), LoadError::Digest);
    assert_eq!(tracker.count(), 0);
}

#[test]
fn values_that_no_tracker_saves_are_refused() {
    let (_, bytes, now) = saved();
    let tracker = Tracker::new(settings(1000), 1, 2).unwrap();
    let header = 8 * (HEADER + 2);
    let mut wrong = bytes[..bytes.len() - 8].to_vec();
    wrong[header + 23 * 8] = 200;
    let words = wrong
        .as_chunks::<8>()
        .0
        .iter()
        .map(|word| u64::from_le_bytes(*word));
    let digest = words.fold(MAGIC, |digest, word| mix(digest ^ word));
    wrong.extend(digest.to_le_bytes());
    assert_eq!(
        tracker.load(&wrong, now, now).unwrap_err().to_string(),
        "the saved flows are damaged: flow 0 has timeout class 200"
    );
    assert_eq!(tracker.count(), 0);
}
