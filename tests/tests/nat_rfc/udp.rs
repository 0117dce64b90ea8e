//! RFC 4787: UDP.

use super::*;

#[test]
fn rfc4787_req_1_a_mapping_does_not_depend_on_the_destination() {
    let mut gw = Translated::new(INDEPENDENT);
    let seen = gw.out(&udp(A, SERVER, b"1")).from();
    for to in [OTHER, "198.51.100.1:54", "203.0.113.9:1"] {
        assert_eq!(gw.out(&udp(A, to, b"2")).from(), seen);
    }
    // Also when another inside endpoint has the same port.
    let second = gw.out(&udp("10.1.0.9:4000", SERVER, b"1")).from();
    assert_ne!(second, seen);
    assert_eq!(gw.out(&udp("10.1.0.9:4000", OTHER, b"2")).from(), second);
}

#[test]
fn rfc4787_req_2_all_mappings_of_an_inside_address_are_on_one_external_address() {
    let mut gw = Translated::new(
        "table ip gw { chain post { type nat hook postrouting priority srcnat
            oifname outside snat to 192.0.2.16-192.0.2.31 endpoint-independent
        }
        }",
    );
    let address = |endpoint: String| endpoint.rsplit_once(':').unwrap().0.to_owned();
    let mut all = HashSet::new();
    for host in 1..40 {
        let from = |port: u16| format!("10.1.1.{host}:{port}");
        let first = address(gw.out(&udp(&from(4000), SERVER, b"")).from());
        for (port, to) in [(4001, SERVER), (4002, OTHER), (9, "203.0.113.9:1")] {
            assert_eq!(address(gw.out(&udp(&from(port), to, b"")).from()), first);
        }
        all.insert(first);
    }
    assert!(all.len() > 4, "hosts are spread over the pool: {all:?}");
}

#[test]
fn rfc4787_req_3_no_two_inside_endpoints_have_one_external_endpoint() {
    let mut gw = Translated::new(INDEPENDENT);
    let mut seen = HashSet::new();
    for host in 1..=200 {
        // The same port of all of them, each to a server of its own.
        let from = format!("10.1.2.{host}:4000");
        let to = format!("198.51.100.{host}:53");
        assert!(seen.insert(gw.out(&udp(&from, &to, b"")).from()), "{from}");
    }
}

#[test]
fn rfc4787_req_3a_a_port_keeps_its_range() {
    let mut gw = Translated::new(INDEPENDENT);
    for (inside, range) in [(500, 1..1024), (900, 1..1024), (4000, 1024..65536)] {
        for host in 1..=20 {
            let from = format!("10.1.3.{host}:{inside}");
            let seen = gw.out(&udp(&from, SERVER, b"")).from();
            assert!(range.contains(&i32::from(port(&seen))), "{from} {seen}");
        }
    }
}

#[test]
fn rfc4787_req_4_a_port_keeps_its_parity() {
    let mut gw = Translated::new(INDEPENDENT);
    for host in 1..=50 {
        for inside in [4000, 4001] {
            let from = format!("10.1.4.{host}:{inside}");
            let seen = gw.out(&udp(&from, SERVER, b"")).from();
            assert_eq!(port(&seen) % 2, inside % 2, "{from} {seen}");
        }
    }
}

#[test]
fn rfc4787_req_5_a_mapping_lives_two_minutes_and_longer() {
    let mut gw = Translated::with(INDEPENDENT, rfc());
    let seen = gw.out(&udp(A, SERVER, b"")).from();
    gw.wait(299);
    assert_eq!(gw.back(&udp(SERVER, &seen, b"")).to(), A);
    gw.wait(301);
    assert!(gw.translator().allocator().bindings().is_empty());
    assert!(
        gw.send(Side::Outside, &udp(SERVER, &seen, b""))
            .iter()
            .all(|s| s.side == Side::Outside)
    );
}

#[test]
fn rfc4787_req_6_what_leaves_refreshes_a_mapping() {
    let mut gw = Translated::with(INDEPENDENT, rfc());
    let seen = gw.out(&udp(A, SERVER, b"")).from();
    for _ in 0..4 {
        gw.wait(250);
        assert_eq!(gw.out(&udp(A, SERVER, b"")).from(), seen);
    }
    assert_eq!(gw.back(&udp(OTHER, &seen, b"")).to(), A);
}

#[test]
fn rfc4787_req_8_filtering_is_endpoint_independent_or_by_address_or_by_both() {
    let strangers = [OTHER, "198.51.100.1:99", "203.0.113.7:53"];
    for (rules, let_in) in [
        (INDEPENDENT.to_owned(), &[true, true, true][..]),
        (filtering("address"), &[false, true, false]),
        (filtering("address-port"), &[false, false, false]),
    ] {
        let mut gw = Translated::new(&rules);
        let seen = gw.out(&udp(A, SERVER, b"")).from();
        assert_eq!(gw.back(&udp(SERVER, &seen, b"")).to(), A);
        for (from, let_in) in strangers.iter().zip(let_in) {
            let arrived = gw.send(Side::Outside, &udp(from, &seen, b""));
            let arrived = arrived.iter().any(|seen| seen.side == Side::Inside);
            assert_eq!(arrived, *let_in, "{from}\n{rules}");
        }
    }
}

#[test]
fn rfc4787_req_9_inside_hosts_reach_each_other_by_their_external_endpoints() {
    let mut gw = Translated::new(INDEPENDENT);
    let (a, b) = (
        gw.out(&udp(A, SERVER, b"")).from(),
        gw.out(&udp(B, SERVER, b"")).from(),
    );
    let there = gw.only(Side::Inside, &udp(A, &b, b"hello"), Side::Inside);
    // REQ-9 a: with the sender's external endpoint as the source.
    assert_eq!((there.from(), there.to()), (a.clone(), B.to_owned()));
    let back = gw.only(Side::Inside, &udp(B, &a, b"hello"), Side::Inside);
    assert_eq!((back.from(), back.to()), (b, A.to_owned()));
}

#[test]
fn rfc4787_req_10_no_helper_works_unless_a_rule_assigns_it() {
    let mut gw = Translated::new(INDEPENDENT);
    let from = "10.1.0.2:4000";
    let server = "198.51.100.1:21";
    established(&mut gw, from, server);
    let ack = Flags {
        ack: true,
        ..Flags::default()
    };
    let line = b"PORT 10,1,0,2,7,208\r\n";
    let sent = gw.out(&tcp(from, server, ack, (1001, 5001), line));
    assert!(sent.frame.ends_with(line));
    let data = syn("198.51.100.1:20", "192.0.2.1:2000");
    assert!(
        gw.send(Side::Outside, &data)
            .iter()
            .all(|seen| seen.side != Side::Inside)
    );
}

#[test]
fn rfc4787_req_11_mappings_are_the_same_under_pressure() {
    let mut gw = Translated::new(
        "table ip gw { chain post { type nat hook postrouting priority srcnat
            oifname outside meta l4proto udp snat to 192.0.2.1:4000-4063 endpoint-independent
        }
        }",
    );
    let host = |number: u16| format!("10.1.5.{number}:4000");
    let mut mappings = Vec::new();
    for number in 1..=64 {
        mappings.push(gw.out(&udp(&host(number), SERVER, b"")).from());
    }
    let (all, one) = (mappings.iter().collect::<HashSet<_>>(), 64);
    assert_eq!(all.len(), one);
    // None is left: the next one gets none, and nobody's is touched.
    gw.send(Side::Inside, &udp(&host(65), SERVER, b""));
    assert_eq!(gw.drops, [DropReason::NatExhausted]);
    for (number, mapping) in (1..=64).zip(&mappings) {
        assert_eq!(gw.out(&udp(&host(number), OTHER, b"")).from(), *mapping);
    }
}

#[test]
fn rfc4787_req_12_errors_do_not_end_a_mapping() {
    let mut gw = Translated::new(INDEPENDENT);
    let sent = gw.out(&udp(A, SERVER, b""));
    for code in 0..14 {
        gw.back(&error("198.51.100.1", "192.0.2.1", (3, code), &sent.frame));
    }
    assert_eq!(gw.out(&udp(A, OTHER, b"")).from(), sent.from());
    assert_eq!(gw.back(&udp(SERVER, &sent.from(), b"")).to(), A);
}

#[test]
fn rfc4787_req_13_what_does_not_fit_is_told_and_what_may_be_cut_is_cut() {
    let mut gw = Translated::new(INDEPENDENT);
    let mut large = udp(A, SERVER, &[7; 1473]);
    large[20] |= 0x40;
    seal(&mut large);
    let answer = gw.only(Side::Inside, &large, Side::Inside);
    let ((kind, code), (from, to)) = answer.error();
    assert_eq!((kind, code), (3, 4));
    assert_eq!(
        (from.to_string(), to.to_string()),
        (A.to_owned(), SERVER.to_owned())
    );
    // REQ-13 a: without DF it leaves in pieces.
    large[20] &= !0x40;
    seal(&mut large);
    let pieces = gw.send(Side::Inside, &large);
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece.side == Side::Outside));
}

#[test]
fn rfc4787_req_14_fragments_come_in_any_order() {
    let whole = udp(A, SERVER, &[9; 1400]);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let mut gw = Translated::new(INDEPENDENT);
        let pieces = fragments(&whole, 480);
        let mut left = Vec::new();
        for index in order {
            left.extend(gw.send(Side::Inside, &pieces[index]));
        }
        assert_eq!(left.len(), 3, "{order:?} {:?}", gw.drops);
        let sizes: Vec<_> = left.iter().map(|piece| piece.frame.len()).collect();
        let came: Vec<_> = order.iter().map(|index| pieces[*index].len()).collect();
        assert_eq!(sizes, came, "with their boundaries");
        for piece in left {
            assert_eq!(piece.frame[26..30], [192, 0, 2, 1]);
        }
    }
}
