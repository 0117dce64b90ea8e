//! What the translator holds over a restart: the saved flows, loaded by another gateway.

use sluice_dataplane::nat::Filtering;
use sluice_tests::translated::{Side, Translated, syn, udp};

const A: &str = "10.1.0.2:4000";
const SERVER: &str = "198.51.100.1:53";
const OTHER: &str = "198.51.100.2:54";

/// Masquerade with these words behind it.
fn rules(flags: &str) -> String {
    format!(
        "table inet gw {{ chain post {{ type nat hook postrouting priority srcnat
            oifname outside masquerade {flags}
            iifname inside oifname inside ct status dnat snat ip to 192.0.2.1 {flags}
        }}
        }}"
    )
}

fn arrives(gw: &mut Translated, frame: &[u8]) -> bool {
    let left = gw.send(Side::Outside, frame);
    left.iter().any(|seen| seen.side == Side::Inside)
}

#[test]
fn a_mapping_is_the_same_and_lets_the_same_in() {
    let strangers = ["198.51.100.1:99", OTHER];
    for (flags, filtering, let_in) in [
        (
            "endpoint-independent",
            Filtering::EndpointIndependent,
            [true, true],
        ),
        (
            "endpoint-independent filter address",
            Filtering::Address,
            [true, false],
        ),
        (
            "endpoint-independent filter address-port",
            Filtering::AddressPort,
            [false, false],
        ),
    ] {
        let mut old = Translated::new(&rules(flags));
        // Not the port that the inside has, which a mapping made anew would get.
        let first = old.out(&udp("10.1.0.9:4000", SERVER, b"")).from();
        let seen = old.out(&udp(A, SERVER, b"")).from();
        assert_ne!(first, seen);
        let mut gw = old.restarted(&rules(flags));
        let bindings = gw.translator().allocator().bindings();
        let (_, mine) = bindings
            .iter()
            .find(|(external, _)| seen.ends_with(&format!(":{}", external.endpoint.port)))
            .expect("it is there");
        assert_eq!(
            (bindings.len(), mine.filtering, mine.flows),
            (2, filtering, 1)
        );
        assert_eq!(gw.back(&udp(SERVER, &seen, b"")).to(), A);
        for (from, let_in) in strangers.iter().zip(let_in) {
            assert_eq!(
                arrives(&mut gw, &udp(from, &seen, b"")),
                let_in,
                "{flags} {from}"
            );
        }
        // To a new destination by the same mapping; and nobody else gets its port.
        assert_eq!(gw.out(&udp(A, "203.0.113.9:1", b"")).from(), seen);
        let third = gw.out(&udp("10.1.0.7:4000", SERVER, b"")).from();
        assert!(third != seen && third != first, "{third}");
    }
}

#[test]
fn what_came_in_by_a_mapping_keeps_it() {
    let flags = "endpoint-independent filter address";
    let mut old = Translated::new(&rules(flags));
    let seen = old.out(&udp(A, SERVER, b"")).from();
    let inwards = udp("198.51.100.1:99", &seen, b"");
    assert_eq!(old.back(&inwards).to(), A);
    let mut gw = old.restarted(&rules(flags));
    let held = gw.translator().allocator().bindings();
    assert_eq!((held.len(), held[0].1.flows), (1, 2));
    // Only the one that came in goes on: the mapping is still there, and its contact too.
    for _ in 0..4 {
        gw.wait(20);
        assert_eq!(gw.back(&inwards).to(), A);
    }
    let held = gw.translator().allocator().bindings();
    assert_eq!((held.len(), held[0].1.flows), (1, 1));
    assert!(arrives(&mut gw, &udp("198.51.100.1:100", &seen, b"")));
    assert!(!arrives(&mut gw, &udp(OTHER, &seen, b"")));
    // And it ends with them.
    gw.wait(400);
    assert!(gw.translator().allocator().bindings().is_empty());
    let usage = gw.translator().allocator().usage();
    assert!(usage.iter().all(|one| one.used == 0), "{usage:?}");
}

#[test]
fn both_mappings_of_a_hairpinned_flow_are_held_again() {
    let flags = "endpoint-independent";
    let mut old = Translated::new(&rules(flags));
    let b = old.out(&udp("10.1.0.3:5000", SERVER, b"")).from();
    let there = old.only(Side::Inside, &udp(A, &b, b"hello"), Side::Inside);
    let mut gw = old.restarted(&rules(flags));
    let mut flows: Vec<u32> = (gw.translator().allocator().bindings().iter())
        .map(|(_, held)| held.flows)
        .collect();
    flows.sort_unstable();
    assert_eq!(flows, [1, 2]);
    let again = gw.only(Side::Inside, &udp(A, &b, b"hello"), Side::Inside);
    assert_eq!((again.from(), again.to()), (there.from(), there.to()));
}

#[test]
fn a_shared_port_is_shared_again() {
    let mut old = Translated::new(&rules(""));
    let seen = old.out(&udp(A, SERVER, b"")).from();
    let mut gw = old.restarted(&rules(""));
    assert!(gw.translator().allocator().bindings().is_empty());
    assert_eq!(gw.back(&udp(SERVER, &seen, b"")).to(), A);
    let used = |gw: &Translated| -> u32 {
        let usage = gw.translator().allocator().usage();
        usage.iter().map(|one| one.used).sum()
    };
    assert_eq!(used(&gw), 1);
    assert!(!arrives(&mut gw, &udp(OTHER, &seen, b"")));
    gw.wait(400);
    assert_eq!(used(&gw), 0);
}

#[test]
fn a_mapping_whose_port_is_the_gateways_own_now_lives_on_as_its_flows_only() {
    let flags = "endpoint-independent";
    let mut old = Translated::new(&rules(flags));
    let seen = old.out(&syn(A, "198.51.100.1:80")).from();
    assert_eq!(seen, "192.0.2.1:4000");
    let mut gw = old.restarted(&rules(flags));
    let bindings = |gw: &Translated| gw.translator().allocator().bindings().len();
    assert_eq!(bindings(&gw), 1);
    // The same with a listener of its own at that port.
    let now = gw.now_ns();
    let fresh = Translated::new(&rules(flags));
    fresh
        .translator()
        .reserve(&["192.0.2.1:4000".parse().unwrap()]);
    let mut saved = Vec::new();
    gw.tracker().save(now, now, &mut saved).unwrap();
    fresh.tracker().load(&saved, now, now).unwrap();
    assert_eq!(fresh.translator().adopt(fresh.tracker(), now, now), 0);
    assert_eq!((bindings(&fresh), fresh.flows().len()), (0, 1));
    assert_eq!(fresh.flows()[0].translation, 0);
    assert_eq!(gw.out(&syn(A, "198.51.100.2:80")).from(), seen);
}
