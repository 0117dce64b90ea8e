//! The requirements of RFC 4787 (UDP), RFC 5382 (TCP) and RFC 5508 (ICMP) that apply, one test each;
//! `docs/rfc.md` is the table.

use std::collections::HashSet;

use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::{Settings, Timeouts};
use sluice_tests::translated::{Flags, Side, Translated, echo, error, syn, tcp, udp};

/// Endpoint-independent mapping and filtering; the inside reaches itself by its external endpoints.
const INDEPENDENT: &str = "
table inet gw {
    chain post {
        type nat hook postrouting priority srcnat
        oifname outside masquerade endpoint-independent
        iifname inside oifname inside ct status dnat snat ip to 192.0.2.1 endpoint-independent
        iifname inside oifname inside ct status dnat snat ip6 to 2001:db8::1 endpoint-independent
    }
}
";

const A: &str = "10.1.0.2:4000";
const B: &str = "10.1.0.3:5000";
const SERVER: &str = "198.51.100.1:53";
const OTHER: &str = "198.51.100.2:54";

fn filtering(how: &str) -> String {
    let wanted = format!("masquerade endpoint-independent filter {how}");
    INDEPENDENT.replace("masquerade endpoint-independent", &wanted)
}

fn rfc() -> Settings {
    Settings {
        timeouts: Timeouts::profile("rfc").expect("it is there"),
        ..Settings::default()
    }
}

/// A connection over TCP from inside that is established: what the server sees as the client.
fn established(gw: &mut Translated, from: &str, to: &str) -> String {
    let seen = gw.out(&syn(from, to)).from();
    let both = Flags {
        syn: true,
        ack: true,
        ..Flags::default()
    };
    gw.back(&tcp(to, &seen, both, (5000, 1001), &[]));
    let ack = Flags {
        ack: true,
        ..Flags::default()
    };
    gw.out(&tcp(from, to, ack, (1001, 5001), &[]));
    seen
}

fn port(endpoint: &str) -> u16 {
    endpoint.rsplit(':').next().unwrap().parse().unwrap()
}

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

#[test]
fn rfc5382_req_1_a_mapping_does_not_depend_on_the_destination() {
    let mut gw = Translated::new(INDEPENDENT);
    let seen = established(&mut gw, A, "198.51.100.1:80");
    assert_eq!(established(&mut gw, A, "198.51.100.2:80"), seen);
    assert_eq!(established(&mut gw, A, "198.51.100.2:81"), seen);
}

#[test]
fn rfc5382_req_2_a_simultaneous_open_is_carried() {
    let mut gw = Translated::new(INDEPENDENT);
    let server = "198.51.100.1:80";
    let seen = gw.out(&syn(A, server)).from();
    assert_eq!(gw.back(&syn(server, &seen)).to(), A);
    let both = Flags {
        syn: true,
        ack: true,
        ..Flags::default()
    };
    gw.out(&tcp(A, server, both, (1000, 1001), &[]));
    gw.back(&tcp(server, &seen, both, (1000, 1001), &[]));
    let ack = Flags {
        ack: true,
        ..Flags::default()
    };
    let data = gw.out(&tcp(A, server, ack, (1001, 1001), b"hello"));
    assert_eq!(data.from(), seen);
    assert_eq!(
        gw.back(&tcp(server, &seen, ack, (1001, 1006), b"hello"))
            .to(),
        A
    );
}

#[test]
fn rfc5382_req_3_filtering_can_be_endpoint_independent_or_by_address() {
    for (rules, by_another) in [
        (INDEPENDENT.to_owned(), true),
        (filtering("address"), false),
    ] {
        let mut gw = Translated::new(&rules);
        let seen = established(&mut gw, A, "198.51.100.1:80");
        assert_eq!(gw.back(&syn("198.51.100.1:4711", &seen)).to(), A);
        let other = gw.send(Side::Outside, &syn("198.51.100.2:4711", &seen));
        assert_eq!(
            other.iter().any(|seen| seen.side == Side::Inside),
            by_another
        );
    }
}

/// A stranger whose first segment the filtering of A's mapping refuses, and that segment.
fn refused(gw: &mut Translated, stranger: &str) -> Vec<u8> {
    let seen = established(gw, A, "198.51.100.1:80");
    let first = syn(stranger, &seen);
    assert_eq!(gw.send(Side::Outside, &first), []);
    assert_eq!(gw.drops, [DropReason::UnsolicitedSyn]);
    first
}

#[test]
fn rfc5382_req_4_an_unsolicited_syn_is_answered_after_six_seconds() {
    for how in ["address", "address-port"] {
        let mut gw = Translated::new(&filtering(how));
        let stranger = "198.51.100.2:4711";
        let first = refused(&mut gw, stranger);
        // Sent again meanwhile, as TCP does: one answer is enough.
        assert_eq!(gw.wait(3), []);
        assert_eq!(gw.send(Side::Outside, &first), []);
        assert_eq!(gw.wait(2), []);
        let answers = gw.wait(1);
        let [answer] = &answers[..] else {
            panic!("{answers:02x?}");
        };
        assert_eq!(answer.side, Side::Outside);
        let (kind, (from, to)) = answer.error();
        assert_eq!(kind, (3, 3));
        assert_eq!(from.to_string(), stranger);
        assert_eq!(to.ip().to_string(), "192.0.2.1");
        assert_eq!(answer.ends().1.ip().to_string(), "198.51.100.2");
        // What was asked stands in it as it came.
        assert_eq!(answer.frame[42..], first[14..]);
        assert_eq!(gw.wait(30), []);
    }
}

#[test]
fn rfc5382_req_4_an_unsolicited_syn_over_ipv6_is_answered_after_six_seconds() {
    let mut gw = Translated::new(&filtering("address-port"));
    let seen = established(&mut gw, "[fd01::2]:4000", "[2001:db8:9::1]:80");
    let first = syn("[2001:db8:9::2]:4711", &seen);
    assert_eq!(gw.send(Side::Outside, &first), []);
    assert_eq!(gw.wait(5), []);
    let answers = gw.wait(1);
    assert_eq!(answers.len(), 1);
    let (kind, (from, to)) = answers[0].error();
    assert_eq!(kind, (1, 4));
    assert_eq!(from.to_string(), "[2001:db8:9::2]:4711");
    assert_eq!(to.to_string(), seen);
}

#[test]
fn rfc5382_req_4_an_unsolicited_syn_that_the_inside_answers_by_its_own_is_never_refused() {
    let mut gw = Translated::new(&filtering("address-port"));
    let peer = "198.51.100.2:4711";
    let first = refused(&mut gw, peer);
    gw.wait(5);
    // The other half of a simultaneous open, from the endpoint that the peer knows.
    let there = gw.out(&syn(A, peer));
    assert_eq!(there.from(), "192.0.2.1:4000");
    assert_eq!(gw.wait(30), []);
    assert_eq!(gw.back(&first).to(), A);
    assert_eq!(gw.drops, [DropReason::UnsolicitedSyn]);
}

#[test]
fn rfc5382_req_4_a_an_unsolicited_syn_that_the_policy_forbids_is_never_answered() {
    let rules = format!(
        "{}
        table inet own {{ chain input {{ type filter hook input priority 0; policy drop; }}
        }}",
        filtering("address-port")
    );
    let mut gw = Translated::new(&rules);
    let seen = established(&mut gw, A, "198.51.100.1:80");
    let stranger = syn("198.51.100.2:4711", &seen);
    assert_eq!(gw.send(Side::Outside, &stranger), []);
    assert_eq!(gw.wait(30), []);
    assert_eq!(gw.drops, [DropReason::PolicyDrop]);
}

#[test]
fn rfc5382_req_4_a_syn_to_an_address_of_a_pool_is_not_carried_back_to_where_it_came_from() {
    let rules = "table ip gw { chain post { type nat hook postrouting priority srcnat
            iifname inside oifname outside snat to 203.0.113.80-203.0.113.95 endpoint-independent
        }
        }";
    let mut gw = Translated::new(rules);
    let stranger = "198.51.100.2:4711";
    // Without a mapping on it the address is like any other: this gateway routes.
    let unused = gw.send(Side::Outside, &syn("198.51.100.2:9", "203.0.113.80:9"));
    assert_eq!(unused.len(), 1);
    let seen = established(&mut gw, A, "198.51.100.1:80");
    let address = seen.rsplit_once(':').unwrap().0.to_owned();
    let free = format!("{address}:9");
    assert_eq!(gw.send(Side::Outside, &syn(stranger, &free)), []);
    assert_eq!(gw.wait(5), []);
    let answers = gw.wait(1);
    assert_eq!(answers.len(), 1);
    let (kind, (from, to)) = answers[0].error();
    assert_eq!((kind, to.to_string()), ((3, 3), free));
    assert_eq!(from.to_string(), stranger);
    assert_eq!(answers[0].ends().0.ip().to_string(), address);
}

#[test]
fn rfc5382_req_4_the_gateways_own_host_answers_at_once_as_in_linux() {
    let mut gw = Translated::new(&filtering("address-port"));
    established(&mut gw, A, "198.51.100.1:80");
    // No mapping has this port of the gateway's own address.
    let stranger = syn("198.51.100.2:4711", "192.0.2.1:9");
    let reset = gw.only(Side::Outside, &stranger, Side::Outside);
    assert_eq!(reset.frame[47] & 0x04, 0x04, "RST");
    // The same for all, if that is wanted.
    gw.translator().unsolicited().set(false);
    let stranger = syn("198.51.100.2:4711", "192.0.2.1:4000");
    let reset = gw.only(Side::Outside, &stranger, Side::Outside);
    assert_eq!(reset.frame[47] & 0x04, 0x04, "RST");
    assert_eq!(gw.wait(7), []);
}

#[test]
fn rfc5382_req_4_no_more_than_so_many_wait_for_their_answer() {
    use sluice_dataplane::nat::unsolicited::MOST;
    let mut gw = Translated::new(&filtering("address-port"));
    let seen = established(&mut gw, A, "198.51.100.1:80");
    for number in 0..MOST + 3 {
        let from = format!("198.51.{}.{}:4711", 101 + number / 250, 1 + number % 250);
        assert_eq!(gw.send(Side::Outside, &syn(&from, &seen)), []);
    }
    let many = |reason| gw.drops.iter().filter(|drop| **drop == reason).count();
    assert_eq!(many(DropReason::UnsolicitedSyn), MOST);
    assert_eq!(many(DropReason::UnsolicitedMany), 3);
}

#[test]
fn rfc5382_req_5_an_established_connection_lives_two_hours_and_four_minutes() {
    let mut gw = Translated::with(INDEPENDENT, rfc());
    let seen = established(&mut gw, A, "198.51.100.1:80");
    gw.wait(2 * 3600 + 4 * 60 - 1);
    let ack = Flags {
        ack: true,
        ..Flags::default()
    };
    let late = tcp("198.51.100.1:80", &seen, ack, (5001, 1001), b"late");
    assert_eq!(gw.back(&late).to(), A);
}

#[test]
fn rfc5382_req_5_a_transitory_connection_lives_four_minutes() {
    let mut gw = Translated::with(INDEPENDENT, rfc());
    let seen = gw.out(&syn(A, "198.51.100.1:80")).from();
    gw.wait(239);
    let both = Flags {
        syn: true,
        ack: true,
        ..Flags::default()
    };
    let late = tcp("198.51.100.1:80", &seen, both, (5000, 1001), &[]);
    assert_eq!(gw.back(&late).to(), A);
}

#[test]
fn rfc5382_req_7_no_two_inside_endpoints_have_one_external_endpoint() {
    let mut gw = Translated::new(INDEPENDENT);
    let mut seen = HashSet::new();
    for host in 1..=100 {
        let from = format!("10.1.2.{host}:4000");
        let to = format!("198.51.100.{host}:80");
        assert!(seen.insert(gw.out(&syn(&from, &to)).from()), "{from}");
    }
}

#[test]
fn rfc5382_req_8_inside_hosts_reach_each_other_by_their_external_endpoints() {
    let mut gw = Translated::new(INDEPENDENT);
    let b = established(&mut gw, B, "198.51.100.1:80");
    let there = gw.only(Side::Inside, &syn(A, &b), Side::Inside);
    assert_eq!(there.to(), B);
    assert!(there.from().starts_with("192.0.2.1:"), "{}", there.from());
    let both = Flags {
        syn: true,
        ack: true,
        ..Flags::default()
    };
    let answer = tcp(B, &there.from(), both, (7000, 1001), &[]);
    let back = gw.only(Side::Inside, &answer, Side::Inside);
    assert_eq!((back.from(), back.to()), (b, A.to_owned()));
}

#[test]
fn rfc5382_req_9_errors_about_segments_are_translated() {
    let mut gw = Translated::new(INDEPENDENT);
    let sent = gw.out(&syn(A, "198.51.100.1:80"));
    let back = gw.back(&error("203.0.113.1", "192.0.2.1", (3, 1), &sent.frame));
    let (kind, (from, to)) = back.error();
    assert_eq!(kind, (3, 1));
    assert_eq!(from.to_string(), A);
    assert_eq!(to.to_string(), "198.51.100.1:80");
    assert_eq!(back.to().split(':').next(), Some("10.1.0.2"));
}

#[test]
fn rfc5382_req_10_errors_do_not_end_a_connection() {
    let mut gw = Translated::new(INDEPENDENT);
    let seen = established(&mut gw, A, "198.51.100.1:80");
    let ack = Flags {
        ack: true,
        ..Flags::default()
    };
    let data = gw.out(&tcp(A, "198.51.100.1:80", ack, (1001, 5001), b"data"));
    for code in 0..14 {
        gw.back(&error("203.0.113.1", "192.0.2.1", (3, code), &data.frame));
    }
    let answer = tcp("198.51.100.1:80", &seen, ack, (5001, 1005), b"answer");
    assert_eq!(gw.back(&answer).to(), A);
}

#[test]
fn rfc5508_req_1_queries_go_out_and_their_answers_come_back() {
    let mut gw = Translated::new(INDEPENDENT);
    for (from, to, own) in [
        ("10.1.0.2", "198.51.100.1", "192.0.2.1"),
        ("fd01::2", "2001:db8:9::1", "2001:db8::1"),
    ] {
        let sent = gw.out(&echo(from, to, 77, false));
        assert_eq!(sent.ends().0.ip().to_string(), own);
        let id = sent.ends().0.port();
        // REQ-1 a: the same id whatever the destination.
        let other = if from.starts_with('1') {
            "203.0.113.5"
        } else {
            "2001:db8:9::2"
        };
        assert_eq!(gw.out(&echo(from, other, 77, false)).ends().0.port(), id);
        let back = gw.back(&echo(to, own, id, true));
        let (_, back_to) = back.ends();
        assert_eq!(
            (back_to.ip().to_string(), back_to.port()),
            (from.to_owned(), 77)
        );
    }
}

#[test]
fn rfc5508_req_1_two_hosts_with_one_id_are_told_apart() {
    let mut gw = Translated::new(INDEPENDENT);
    let one = gw
        .out(&echo("10.1.0.2", "198.51.100.1", 77, false))
        .ends()
        .0;
    let two = gw
        .out(&echo("10.1.0.3", "198.51.100.1", 77, false))
        .ends()
        .0;
    assert_ne!(one, two);
    let back = gw.back(&echo("198.51.100.1", "192.0.2.1", two.port(), true));
    assert_eq!(back.ends().1.to_string(), "10.1.0.3:77");
}

#[test]
fn rfc5508_req_2_a_query_session_lives_sixty_seconds() {
    let mut gw = Translated::with(INDEPENDENT, rfc());
    let id = gw
        .out(&echo("10.1.0.2", "198.51.100.1", 77, false))
        .ends()
        .0
        .port();
    gw.wait(59);
    let back = gw.back(&echo("198.51.100.1", "192.0.2.1", id, true));
    assert_eq!(back.ends().1.to_string(), "10.1.0.2:77");
}

#[test]
fn rfc5508_req_3_an_error_is_looked_at_before_it_is_translated() {
    let mut gw = Translated::new(INDEPENDENT);
    let sent = gw.out(&udp(A, SERVER, b"data"));
    let fine = error("203.0.113.1", "192.0.2.1", (3, 1), &sent.frame);
    // a: a wrong checksum of the error itself.
    let mut wrong = fine.clone();
    wrong[36] ^= 1;
    assert!(
        gw.send(Side::Outside, &wrong)
            .iter()
            .all(|seen| seen.side != Side::Inside)
    );
    // b: about a packet that nobody has sent.
    let foreign = udp("192.0.2.1:9", SERVER, b"data");
    let foreign = error("203.0.113.1", "192.0.2.1", (3, 1), &foreign);
    assert!(
        gw.send(Side::Outside, &foreign)
            .iter()
            .all(|seen| seen.side != Side::Inside)
    );
    // The checksum of the transport in it is not: it is often cut off, or not there yet.
    let mut inner = sent.frame.clone();
    inner[40] ^= 1;
    gw.back(&error("203.0.113.1", "192.0.2.1", (3, 1), &inner));
    gw.back(&fine);
}

#[test]
fn rfc5508_req_4_an_error_from_outside_is_translated_outside_and_inside() {
    let mut gw = Translated::new(INDEPENDENT);
    for (sent, from) in [
        (udp(A, SERVER, b"data"), "203.0.113.1"),
        (syn(A, "198.51.100.1:80"), "203.0.113.1"),
        (echo("10.1.0.2", "198.51.100.1", 77, false), "203.0.113.1"),
        (
            udp("[fd01::2]:4000", "[2001:db8:9::1]:53", b"data"),
            "2001:db8:7::1",
        ),
    ] {
        let left = gw.out(&sent);
        let own = left.ends().0.ip().to_string();
        let kind = if own.contains('.') { (3, 1) } else { (1, 3) };
        let back = gw.back(&error(from, &own, kind, &left.frame));
        // What the inside sent stands in it again, and the router's address stays (REQ-4).
        let ((_, _), ends) = back.error();
        let asked = sluice_tests::translated::Seen {
            side: Side::Inside,
            frame: sent,
        };
        assert_eq!(ends, asked.ends());
        assert_eq!(back.ends().0.ip().to_string(), from);
        assert_eq!(back.ends().1.ip(), asked.ends().0.ip());
    }
}

#[test]
fn rfc5508_req_5_an_error_from_inside_has_an_address_that_the_outside_knows() {
    let rules = format!(
        "{INDEPENDENT}
        table ip in {{ chain pre {{ type nat hook prerouting priority dstnat
            iifname outside udp dport 8053 dnat to 10.1.0.2:53
        }}
        }}"
    );
    let mut gw = Translated::new(&rules);
    let arrived = gw.back(&udp("198.51.100.1:999", "192.0.2.1:8053", b"data"));
    assert_eq!(arrived.to(), "10.1.0.2:53");
    // From the host itself, and from a router in front of it.
    for from in ["10.1.0.2", "10.1.7.1"] {
        let complaint = error(from, "198.51.100.1", (3, 3), &arrived.frame);
        let left = gw.out(&complaint);
        let ((_, _), (inner_from, inner_to)) = left.error();
        assert_eq!(left.ends().0.ip().to_string(), "192.0.2.1");
        assert_eq!(inner_from.to_string(), "198.51.100.1:999");
        assert_eq!(inner_to.to_string(), "192.0.2.1:8053");
    }
}

#[test]
fn rfc5508_req_6_errors_about_hairpinned_packets_are_translated() {
    let mut gw = Translated::new(INDEPENDENT);
    let (a, b) = (
        gw.out(&udp(A, SERVER, b"")).from(),
        gw.out(&udp(B, SERVER, b"")).from(),
    );
    let there = gw.only(Side::Inside, &udp(A, &b, b"hello"), Side::Inside);
    let complaint = error("10.1.0.3", "192.0.2.1", (3, 3), &there.frame);
    let back = gw.only(Side::Inside, &complaint, Side::Inside);
    let ((_, _), (inner_from, inner_to)) = back.error();
    assert_eq!(inner_from.to_string(), A);
    assert_eq!(inner_to.to_string(), b);
    assert_eq!(back.ends().0.ip().to_string(), "192.0.2.1", "{a}");
    assert_eq!(back.ends().1.ip().to_string(), "10.1.0.2");
}

#[test]
fn rfc5508_req_7_an_error_neither_refreshes_nor_ends_a_mapping() {
    let mut gw = Translated::with(INDEPENDENT, rfc());
    let sent = gw.out(&echo("10.1.0.2", "198.51.100.1", 77, false));
    let complaint = error("203.0.113.1", "192.0.2.1", (3, 1), &sent.frame);
    let before = gw.flows()[0].expires_ns;
    gw.wait(30);
    gw.back(&complaint);
    assert_eq!(gw.flows()[0].expires_ns, before);
    let back = gw.back(&echo(
        "198.51.100.1",
        "192.0.2.1",
        sent.ends().0.port(),
        true,
    ));
    assert_eq!(back.ends().1.to_string(), "10.1.0.2:77");
}

#[test]
fn rfc5508_req_8_a_host_for_which_no_port_is_left_is_told() {
    let mut gw = Translated::new(
        "table ip gw { chain post { type nat hook postrouting priority srcnat
            oifname outside meta l4proto udp snat to 192.0.2.1:4000-4001 endpoint-independent
        }
        }",
    );
    gw.out(&udp("10.1.0.2:4000", SERVER, b""));
    gw.out(&udp("10.1.0.3:4000", SERVER, b""));
    let answer = gw.only(
        Side::Inside,
        &udp("10.1.0.4:4000", SERVER, b""),
        Side::Inside,
    );
    let (kind, (from, to)) = answer.error();
    assert_eq!(kind, (3, 13), "communication administratively prohibited");
    assert_eq!(
        (from.to_string(), to.to_string()),
        ("10.1.0.4:4000".to_owned(), SERVER.to_owned())
    );
    assert_eq!(gw.drops, [DropReason::NatExhausted]);
    assert_eq!(gw.translator().allocator().exhausted(), 1);
}

#[test]
fn rfc5508_req_10_the_errors_that_hosts_need_are_carried() {
    let mut gw = Translated::new(INDEPENDENT);
    let sent = gw.out(&udp(A, SERVER, b"data"));
    // Unreachable for all reasons, time exceeded, parameter problem.
    for kind in [(3, 0), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0)] {
        let back = gw.back(&error("203.0.113.1", "192.0.2.1", kind, &sent.frame));
        assert_eq!(back.error().0, kind);
    }
    let sent = gw.out(&udp("[fd01::2]:4000", "[2001:db8:9::1]:53", b"data"));
    for kind in [(1, 0), (2, 0), (3, 0), (4, 1)] {
        let back = gw.back(&error("2001:db8:7::1", "2001:db8::1", kind, &sent.frame));
        assert_eq!(back.error().0, kind);
    }
}

/// Makes the checksum of an IPv4 header right.
fn seal(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let check = sluice_dataplane::packet::checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}

/// An IPv4 packet in fragments of at most so many bytes of payload.
fn fragments(frame: &[u8], size: usize) -> Vec<Vec<u8>> {
    let (header, payload) = frame.split_at(34);
    let count = payload.len().div_ceil(size);
    let piece = |(index, bytes): (usize, &[u8])| {
        let mut piece = [header, bytes].concat();
        let more = if index + 1 < count { 0x2000 } else { 0 };
        let place = more | (index * size / 8) as u16;
        piece[16..18].copy_from_slice(&(20 + bytes.len() as u16).to_be_bytes());
        piece[20..22].copy_from_slice(&place.to_be_bytes());
        seal(&mut piece);
        piece
    };
    payload.chunks(size).enumerate().map(piece).collect()
}
