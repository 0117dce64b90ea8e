//! RFC 5382: TCP.

use super::*;

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
