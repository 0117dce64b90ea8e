//! RFC 5508: ICMP.

use super::*;

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
