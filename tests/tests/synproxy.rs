//! The SYN proxy segment by segment, in memory and under virtual time.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::{Filter, ProxyStatistics, status};
use sluice_dataplane::synproxy::{Options, Segment, flag, option};
use sluice_tests::proxied::talk::{
    ACK, ALL, CLIENT, CLIENT_CLOCK, FULL, RST, SERVER, SERVER_CLOCK, SYN, Talk, WINDOW, offers,
    only, rules, stamp,
};
use sluice_tests::proxied::{Heard, Ours, SECOND, frame, packet};
use sluice_tests::tracker::Side::{Left, Right};

fn ours(v6: bool) -> Talk<Ours> {
    Talk::new(Ours::new(&rules(FULL), 4096), v6, 4000)
}

#[test]
fn a_handshake_is_made_twice_and_then_numbers_and_clocks_are_shifted() {
    for (v6, mss) in [(false, 1460), (true, 1440)] {
        let mut talk = ours(v6);
        let [left, right] = talk.syn(offers(ALL));
        assert!(right.is_empty());
        let answer = only(&left);
        assert_eq!((answer.flags, answer.window), (SYN | ACK, 0));
        assert_eq!(answer.ack, CLIENT.wrapping_add(1));
        assert_eq!((answer.sport, answer.dport), (80, 4000));
        let Options {
            bits,
            mss: told,
            wscale,
            tsecr,
            ..
        } = answer.options;
        assert_eq!((bits, told, wscale, tsecr), (ALL, 1400, 6, CLIENT_CLOCK));
        assert_eq!(talk.proxy.tracker().count(), 0, "nothing is kept");

        let [left, right] = talk.ack();
        assert!(left.is_empty());
        let asked = only(&right);
        assert_eq!(
            (asked.flags, asked.seq, asked.window),
            (SYN, CLIENT, WINDOW)
        );
        assert_eq!((asked.sport, asked.dport), (4000, 80));
        let Options {
            bits,
            mss: told,
            wscale,
            tsval,
            tsecr,
        } = asked.options;
        assert_eq!((bits, told, wscale), (ALL, mss, 7));
        assert_eq!((tsval, tsecr), (CLIENT_CLOCK + 1, talk.clock));
        assert_eq!(talk.proxy.tracker().count(), 1);

        let [left, right] = talk.syn_ack();
        let (opened, confirmed) = (only(&left), only(&right));
        assert_eq!((opened.flags, opened.window), (ACK, 64_000 >> 6));
        assert_eq!(opened.seq, talk.cookie.wrapping_add(1));
        assert_eq!(opened.ack, CLIENT.wrapping_add(1));
        assert_eq!(opened.options, stamp(true, talk.clock, CLIENT_CLOCK + 1));
        assert_eq!((confirmed.flags, confirmed.window), (ACK, WINDOW));
        assert_eq!(
            (confirmed.seq, confirmed.ack),
            (CLIENT.wrapping_add(1), SERVER + 1)
        );
        assert_eq!(
            confirmed.options,
            stamp(true, CLIENT_CLOCK + 1, SERVER_CLOCK)
        );

        let [left, right] = talk.client_data();
        assert!(left.is_empty());
        assert_eq!(right[0].payload, b"question");
        let said = only(&right);
        assert_eq!((said.seq, said.ack), (CLIENT.wrapping_add(1), SERVER + 1));
        assert_eq!(
            said.options,
            stamp(true, CLIENT_CLOCK + 30, SERVER_CLOCK + 40)
        );

        let [left, right] = talk.server_data();
        assert!(right.is_empty());
        assert_eq!(left[0].payload, b"answer");
        let said = only(&left);
        assert_eq!(said.seq, talk.cookie.wrapping_add(1));
        assert_eq!(said.ack, CLIENT.wrapping_add(9));
        assert_eq!(
            said.options,
            stamp(true, talk.clock.wrapping_add(50), CLIENT_CLOCK + 30)
        );
        let mut flows = Vec::new();
        talk.proxy
            .tracker()
            .list(&Filter::default(), 0, 9, &mut flows);
        assert_eq!(flows[0].state_name(), Some("ESTABLISHED"));
        assert_ne!(flows[0].status & status::ASSURED, 0);
        assert_eq!(talk.proxy.drops, []);
        let expected = ProxyStatistics {
            syn_received: 1,
            cookie_valid: 1,
            ..ProxyStatistics::default()
        };
        assert_eq!(talk.proxy.counted(), expected);
    }
}

#[test]
fn an_object_is_as_good_as_a_statement_also_by_a_map() {
    for rule in [
        "synproxy name \"one\"",
        "synproxy name tcp dport map { 80 : \"one\" }",
    ] {
        let mut talk = Talk::new(Ours::new(&rules(rule), 64), false, 4000);
        talk.establish(offers(ALL));
        assert_eq!(only(&talk.client_data()[1]).ack, SERVER + 1, "{rule}");
    }
}

#[test]
fn a_wrong_or_old_cookie_is_dropped_with_its_reason() {
    let mut talk = ours(false);
    talk.syn(offers(ALL));
    let cookie = talk.cookie;
    for wrong in [cookie ^ 1 << 20, cookie.wrapping_add(1 << 24), 0] {
        assert_eq!(talk.ack_of(wrong), [vec![], vec![]]);
    }
    // Good for what is left of its minute and for the next one.
    talk.proxy.now_ns += 121 * SECOND;
    assert_eq!(talk.ack(), [vec![], vec![]]);
    assert_eq!(talk.proxy.drops, [DropReason::ProxyCookie; 4]);
    assert_eq!(talk.proxy.counted().cookie_invalid, 4);
    assert_eq!(talk.proxy.tracker().count(), 0);
    // It is never too late for another one.
    talk.establish(offers(ALL));
}

#[test]
fn a_retransmitted_ack_and_a_probe_have_the_server_asked_again() {
    for v6 in [false, true] {
        let mut talk = ours(v6);
        talk.syn(offers(ALL));
        let first = only(&talk.ack()[1]);
        for (again, retransmitted) in [(false, 0), (true, 1)] {
            let [left, right] = if again { talk.probe() } else { talk.ack() };
            assert!(left.is_empty());
            let second = only(&right);
            assert_eq!((second.seq, second.flags), (first.seq, SYN));
            assert_eq!(second.options.mss, first.options.mss);
            assert_eq!(talk.proxy.counted().cookie_retrans, retransmitted);
        }
        assert_eq!(talk.proxy.tracker().count(), 1);
        talk.syn_ack();
        assert_eq!(only(&talk.client_data()[1]).ack, SERVER + 1);
        assert_eq!(
            only(&talk.server_data()[0]).seq,
            talk.cookie.wrapping_add(1)
        );
    }
}

#[test]
fn a_repeated_answer_of_the_server_changes_nothing() {
    let mut talk = ours(false);
    talk.establish(offers(ALL));
    // The server has not seen the ACK: its SYN-ACK comes again and goes to the client, who answers it.
    let [left, right] = talk.syn_ack();
    assert!(right.is_empty());
    let again = only(&left);
    assert_eq!((again.flags, again.seq), (SYN | ACK, talk.cookie));
    assert_eq!(only(&talk.client_data()[1]).ack, SERVER + 1);
}

#[test]
fn a_server_that_refuses_resets_its_client_and_leaves_nothing() {
    let mut talk = ours(false);
    talk.syn(offers(ALL));
    talk.ack();
    let [left, right] = talk.refusal();
    assert!(right.is_empty());
    let refused = only(&left);
    assert_eq!(refused.flags, RST | ACK);
    assert_eq!(refused.seq, talk.cookie.wrapping_add(1));
    assert_eq!(refused.ack, CLIENT.wrapping_add(1));
    assert_eq!(talk.proxy.tracker().count(), 0);
    talk.establish(offers(ALL));
}

#[test]
fn a_reset_in_the_middle_is_shifted_like_everything_else() {
    let mut talk = ours(false);
    talk.establish(offers(ALL));
    talk.client_data();
    talk.server_data();
    let reset = Segment {
        seq: SERVER + 7,
        ack: CLIENT.wrapping_add(9),
        flags: RST | ACK,
        ..Segment::default()
    };
    let out = talk.server(reset, &[]);
    assert_eq!(only(&out[0]).seq, talk.cookie.wrapping_add(7));
}

#[test]
fn a_client_that_begins_again_gets_another_connection() {
    let mut talk = ours(false);
    talk.establish(offers(ALL));
    talk.client_data();
    let options = stamp(true, CLIENT_CLOCK + 60, talk.clock.wrapping_add(60));
    let reset = Segment {
        seq: CLIENT.wrapping_add(9),
        ack: talk.cookie.wrapping_add(1),
        flags: RST | ACK,
        options,
        ..Segment::default()
    };
    assert_eq!(only(&talk.client(reset, &[])[1]).ack, SERVER + 1);
    // The flow is still there, closed; the next connection from this port begins with other numbers.
    talk.isn = 1 << 30;
    talk.establish(offers(option::MSS));
    let said = only(&talk.client_data()[1]);
    assert_eq!((said.seq, said.ack), (talk.isn + 1, SERVER + 1));
    assert_eq!(
        only(&talk.server_data()[0]).seq,
        talk.cookie.wrapping_add(1)
    );
    assert_eq!(talk.proxy.tracker().count(), 1);
    assert_eq!(talk.proxy.drops, []);
}

#[test]
fn a_connection_that_its_server_has_reset_begins_anew_in_the_same_flow() {
    for refused in [false, true] {
        let mut talk = ours(false);
        talk.establish(offers(ALL));
        talk.client_data();
        let reset = Segment {
            seq: SERVER + 1,
            ack: CLIENT.wrapping_add(9),
            flags: RST | ACK,
            ..Segment::default()
        };
        talk.server(reset, &[]);
        talk.isn = 1 << 30;
        talk.syn(offers(ALL));
        assert_eq!(only(&talk.ack()[1]).seq, talk.isn);
        assert_eq!(talk.proxy.counted().conn_reopened, 1);
        assert_eq!(talk.proxy.tracker().count(), 1);
        if refused {
            // What was shifted before says nothing of this one.
            assert_eq!(only(&talk.refusal()[0]).seq, talk.cookie.wrapping_add(1));
            continue;
        }
        let [left, right] = talk.syn_ack();
        assert_eq!(only(&left).seq, talk.cookie.wrapping_add(1));
        assert_eq!(only(&right).ack, SERVER + 1);
        assert_eq!(only(&talk.client_data()[1]).ack, SERVER + 1);
        assert_eq!(
            only(&talk.server_data()[0]).seq,
            talk.cookie.wrapping_add(1)
        );
        assert_eq!(talk.proxy.drops, []);
    }
}

#[test]
fn many_clients_in_one_batch_are_told_apart() {
    let mut proxy = Ours::new(&rules(FULL), 4096);
    let ports: Vec<u16> = (5000..5060).collect();
    let segment = |sport, flags, ack| Segment {
        sport,
        dport: 80,
        seq: CLIENT.wrapping_add(u32::from(flags == ACK)),
        ack,
        flags,
        window: WINDOW,
        options: if flags == SYN {
            offers(option::MSS)
        } else {
            Options::default()
        },
    };
    let of = |segment: &Segment| frame(Left, &packet(false, Left, segment, &[]));
    let syns: Vec<_> = ports
        .iter()
        .map(|port| of(&segment(*port, SYN, 0)))
        .collect();
    let [answers, right] = proxy.batch(Left, &syns);
    assert!(right.is_empty());
    let answers: Vec<_> = answers
        .iter()
        .filter_map(|frame| sluice_tests::proxied::read(frame))
        .collect();
    assert_eq!(answers.len(), ports.len());
    let ack = |answer: &Heard| {
        let Segment { dport, seq, .. } = answer.segment;
        of(&segment(dport, ACK, seq.wrapping_add(1)))
    };
    // Each ACK twice: the second asks again.
    let acks: Vec<_> = answers[..30]
        .iter()
        .flat_map(|answer| [ack(answer), ack(answer)])
        .collect();
    let [left, asked] = proxy.batch(Left, &acks);
    assert!(left.is_empty());
    assert_eq!(asked.len(), 60);
    assert_eq!(proxy.tracker().count(), 30);
    assert_eq!(
        (proxy.counted().syn_received, proxy.counted().cookie_valid),
        (60, 60)
    );
    assert_eq!(proxy.drops, []);
}

#[test]
fn a_flood_of_syns_leaves_no_flow_and_a_full_table_no_proxied_one() {
    let mut proxy = Ours::new(&rules(FULL), 64);
    for number in 0..20_000u32 {
        let mut bytes = packet(
            false,
            Left,
            &Segment {
                sport: number as u16,
                dport: 80,
                seq: number,
                flags: SYN,
                window: 1,
                options: offers(ALL),
                ..Segment::default()
            },
            &[],
        );
        // Wrong checksums are no SYNs.
        if number % 4 == 3 {
            bytes[36] ^= 1;
        }
        proxy.batch(Left, &[frame(Left, &bytes)]);
    }
    assert_eq!(proxy.tracker().count(), 0);
    assert_eq!(proxy.counted().syn_received, 15_000);
    assert_eq!(proxy.drops.len(), 5000);
    // One record for four flows, and 64 more, all taken by clients whose server is slow: who comes later
    // finds no room and tries again.
    let mut drops = Vec::new();
    for sport in 1000..1200 {
        let mut talk = Talk::new(proxy, false, sport);
        talk.syn(offers(ALL));
        talk.ack();
        proxy = talk.proxy;
        drops.append(&mut proxy.drops);
    }
    assert!(proxy.tracker().count() <= 64);
    let early: u64 = proxy.tracker().statistics(0).early_drop;
    assert!(early > 0, "unanswered ones make room: {drops:?}");
}

#[test]
fn what_is_no_syn_of_a_client_is_not_answered() {
    let mut talk = ours(false);
    for flags in [SYN | ACK, SYN | RST, SYN | flag::FIN] {
        let out = talk.client(
            Segment {
                seq: CLIENT,
                flags,
                options: offers(ALL),
                ..Segment::default()
            },
            &[],
        );
        assert_eq!(out, [vec![], vec![]], "{flags}");
    }
    assert_eq!(talk.proxy.drops, [DropReason::ProxyMalformed; 3]);
    // A reset with the number of an ACK asks nobody; the next rule drops it.
    talk.syn(offers(ALL));
    let reset = Segment {
        seq: CLIENT.wrapping_add(1),
        ack: talk.cookie.wrapping_add(1),
        flags: RST | ACK,
        ..Segment::default()
    };
    assert_eq!(talk.client(reset, &[]), [vec![], vec![]]);
    assert_eq!(talk.proxy.drops.last(), Some(&DropReason::RuleDrop));
    assert_eq!(talk.proxy.counted().syn_received, 1);
    // What is not TCP breaks off the rule and goes on.
    let udp = sluice_tests::tracker::packets::ip(false, 17, Left, &[0, 9, 0, 80, 0, 8, 0, 0]);
    let rules = "table ip t { chain c { type filter hook forward priority 0; synproxy mss 1400 wscale 6; }\n }";
    let mut proxy = Ours::new(rules, 64);
    assert_eq!(proxy.batch(Left, &[frame(Left, &udp)])[1].len(), 1);
}

#[test]
fn a_proxied_connection_keeps_its_zone() {
    let zoned = rules(FULL).replace("tcp dport 80 tcp flags syn notrack", "tcp dport 80 tcp flags syn notrack\n tcp dport 80 ct zone set 7\n tcp sport 80 ct zone set 7");
    let mut talk = Talk::new(Ours::new(&zoned, 64), false, 4000);
    // A zone makes the SYN a tracked one again, so the rule looks at the flag.
    let direct = zoned.replace(
        "ct state invalid,untracked synproxy",
        "ct state invalid,untracked,new synproxy",
    );
    talk.proxy = Ours::new(&direct, 64);
    talk.syn(offers(ALL));
    talk.ack();
    let mut flows = Vec::new();
    talk.proxy
        .tracker()
        .list(&Filter::default(), 0, 9, &mut flows);
    let zones: Vec<_> = flows.iter().map(|flow| flow.original.zone).collect();
    assert_eq!(zones, [7]);
}

#[test]
fn whatever_a_host_sends_is_survived() {
    let anything = rules(FULL).replace("ct state invalid,untracked ", "");
    let mut chance = SmallRng::seed_from_u64(5);
    for (ruleset, rounds) in [(rules(FULL), 300), (anything, 100)] {
        let mut proxy = Ours::new(&ruleset, 256);
        for round in 0..rounds {
            let v6 = round % 2 == 0;
            let mut talk = Talk::new(proxy, v6, 1000 + round);
            talk.syn(offers(ALL));
            let options = stamp(true, CLIENT_CLOCK, talk.clock);
            let client = |seq, flags, options| Segment {
                sport: 1000 + round,
                dport: 80,
                seq,
                ack: talk.cookie.wrapping_add(1),
                flags,
                window: WINDOW,
                options,
            };
            let server = Segment {
                sport: 80,
                dport: 1000 + round,
                seq: SERVER,
                ack: CLIENT.wrapping_add(1),
                flags: SYN | ACK,
                options: offers(ALL),
                ..Segment::default()
            };
            let said = [
                (Left, client(CLIENT, SYN, offers(ALL))),
                (Left, client(CLIENT.wrapping_add(1), ACK, options)),
                (Right, server),
                (Left, client(CLIENT, ACK, options)),
            ];
            for (from, segment) in said {
                let whole = frame(from, &packet(v6, from, &segment, b"octets"));
                let mut frames = vec![whole.clone()];
                for _ in 0..12 {
                    let mut broken = whole.clone();
                    for _ in 0..chance.random_range(1..4) {
                        let at = chance.random_range(0..broken.len());
                        broken[at] ^= 1 << chance.random_range(0..8);
                    }
                    if chance.random_bool(0.3) {
                        broken.truncate(chance.random_range(0..=broken.len()));
                    }
                    frames.push(broken);
                }
                talk.proxy.batch(from, &frames);
            }
            proxy = talk.proxy;
        }
        assert!(proxy.counted().cookie_valid >= u64::from(rounds));
        assert!(proxy.tracker().count() <= 256);
    }
}
