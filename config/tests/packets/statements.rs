//! Statements, verdicts and sets: what they do to frames, counters and later packets.

use super::packets::bench::Bench;
use super::packets::build::{self, Frame, Ip4, checksum, zoo};

fn chain(rules: &str) -> String {
    format!(
        "table inet t {{\n chain c {{\n type filter hook forward priority 0;\n {rules}\n }}\n}}\n"
    )
}

fn frame(name: &str) -> Frame {
    zoo()
        .into_iter()
        .find(|(one, _)| *one == name)
        .map(|(_, frame)| frame)
        .unwrap()
}

fn udp(source: [u8; 4], dport: u16) -> Frame {
    Ip4 {
        source,
        ..Ip4::default()
    }
    .frame(17, build::udp(1000, dport, b"abcd"), Some(6))
}

fn packets(bench: &Bench, chain: &str) -> Vec<u64> {
    bench
        .counts(chain)
        .iter()
        .map(|count| count.packets)
        .collect()
}

/// Whether IPv4 header and transport checksums of a frame are right.
fn sums_are_right(frame: &[u8]) -> bool {
    let transport = &frame[34..];
    let protocol = frame[23];
    let length = (transport.len() as u32).to_be_bytes();
    let pseudo = [&frame[26..34], &[0, 0, 0, protocol], &length].concat();
    checksum(&[&frame[14..34]]) == 0 && checksum(&[&pseudo, transport]) == 0
}

#[test]
fn verdicts_end_what_they_end() {
    let bench = Bench::new(&chain(
        "tcp dport 22 accept\n tcp dport 80 drop\n meta l4proto icmp return\n counter",
    ));
    let frames = ["tcp22", "tcp80", "ping", "udp53"].map(frame);
    assert_eq!(bench.run(&frames).dropped, [false, true, false, false]);
    assert_eq!(packets(&bench, "c"), [1]);
}

#[test]
fn a_policy_is_for_what_comes_to_the_end() {
    let bench = Bench::new(
        "table ip t { chain c { type filter hook forward priority 0; policy drop; tcp dport 22 accept; meta l4proto udp return; }; }",
    );
    let frames = ["tcp22", "udp53", "tcp80", "tcp6-22"].map(frame);
    assert_eq!(bench.run(&frames).dropped, [false, true, true, false]);
}

#[test]
fn an_accept_ends_one_chain_and_a_drop_all() {
    let bench = Bench::new(
        "table ip a { chain c { type filter hook forward priority 0; tcp dport 22 accept; tcp dport 80 drop; }; }
         table inet b { chain d { type filter hook forward priority 10; counter; drop; }; }",
    );
    let frames = ["tcp22", "tcp80"].map(frame);
    assert_eq!(bench.run(&frames).dropped, [true, true]);
    assert_eq!(packets(&bench, "d"), [1]);
}

#[test]
fn jumps_come_back_and_gotos_do_not() {
    let bench = Bench::new(
        "table ip t {
          chain ct4 { tcp dport 22 return; counter; }
          chain rest { ip ttl 3 counter; }
          chain c { type filter hook forward priority 0; policy drop;
            meta l4proto tcp jump ct4
            counter
            meta l4proto udp goto rest
            meta l4proto icmp jump { counter accept; }
            meta l4proto tcp counter accept
          }
        }",
    );
    let frames = ["tcp22", "tcp80", "udp53", "udp4789", "ping"].map(frame);
    assert_eq!(
        bench.run(&frames).dropped,
        [false, false, true, true, false]
    );
    assert_eq!(packets(&bench, "ct4"), [1]);
    assert_eq!(packets(&bench, "rest"), [1]);
    assert_eq!(packets(&bench, "c"), [5, 1, 2]);
}

#[test]
fn verdict_maps_judge_and_end_the_rule_on_a_miss() {
    let bench = Bench::new(
        "table inet t {
          map m { type inet_service : verdict; elements = { 53 : jump d, 1000-2000 : drop } ; flags interval; }
          chain d { counter; }
          chain c { type filter hook forward priority 0;
            tcp dport vmap { 22 : drop, 23-79 : accept, 80 : continue } 
            udp dport vmap @m
            counter
          }
        }",
    );
    let frames = ["tcp22", "tcp80", "udp53", "udp4789", "ping"].map(frame);
    assert_eq!(
        bench.run(&frames).dropped,
        [true, false, false, false, false]
    );
    assert_eq!(packets(&bench, "d"), [1]);
    assert_eq!(packets(&bench, "c"), [4]);
}

#[test]
fn header_fields_are_written_with_their_checksums() {
    for (rule, name, at, bytes) in [
        ("ip ttl set 9", "tcp22", 22, &[9][..]),
        ("ip dscp set 10", "tcp22", 15, &[40]),
        ("ip ecn set ce", "tcp22", 15, &[3]),
        ("ip saddr set 1.2.3.4", "tcp22", 26, &[1, 2, 3, 4]),
        ("ip daddr set 1.2.3.4", "udp53", 30, &[1, 2, 3, 4]),
        ("ip id set 0x4321", "udp53", 18, &[0x43, 0x21]),
        ("tcp dport set 8080", "tcp22", 36, &[0x1f, 0x90]),
        ("tcp flags set ack", "tcp80", 47, &[0x10]),
        ("tcp window set 7", "tcp80", 48, &[0, 7]),
        ("udp sport set 7", "udp53", 34, &[0, 7]),
        (
            "tcp option maxseg size set 1000",
            "tcp22",
            56,
            &[0x03, 0xe8],
        ),
        (
            "ip daddr set ip saddr map { 10.0.0.1 : 9.9.9.9 }",
            "udp53",
            30,
            &[9, 9, 9, 9],
        ),
    ] {
        let bench = Bench::new(&chain(&format!("{rule} counter")));
        let before = frame(name);
        let outcome = bench.run(std::slice::from_ref(&before));
        let after = &outcome.frames[0];
        assert_eq!(packets(&bench, "c"), [1], "{rule}");
        assert_eq!(&after[at..at + bytes.len()], bytes, "{rule}");
        assert!(sums_are_right(after), "{rule}");
        assert_eq!(after.len(), before.len());
    }
}

#[test]
fn a_write_is_seen_by_later_rules() {
    let bench = Bench::new(&chain(
        "tcp dport 22 tcp dport set 2222\n tcp dport 2222 counter\n tcp dport 22 counter",
    ));
    bench.run(&[frame("tcp22")]);
    assert_eq!(packets(&bench, "c"), [1, 0]);
}

#[test]
fn a_write_needs_its_protocol() {
    let bench = Bench::new(&chain("tcp dport set 1 counter"));
    let outcome = bench.run(&[frame("udp53"), frame("frag2"), frame("tcp22")]);
    assert_eq!(outcome.frames[..2], [frame("udp53"), frame("frag2")]);
    assert_eq!(
        packets(&bench, "c"),
        [1],
        "the rule ends where there is no such header"
    );
}

#[test]
fn options_are_reset_to_padding() {
    let bench = Bench::new(&chain("reset tcp option maxseg"));
    let outcome = bench.run(&[frame("tcp22")]);
    assert_eq!(outcome.frames[0][54..58], [1, 1, 1, 1]);
    assert!(sums_are_right(&outcome.frames[0]));
}

#[test]
fn marks_go_from_chain_to_chain() {
    let bench = Bench::new(
        "table inet a { chain x { type filter hook prerouting priority 0; tcp dport 22 meta mark set 0x17; }; }
         table inet b { chain c { type filter hook forward priority 0; meta mark & 0xf == 7 counter; meta mark 0 counter; }; }",
    );
    bench.run(&["tcp22", "tcp80"].map(frame));
    assert_eq!(packets(&bench, "c"), [1, 1]);
}

#[test]
fn limits_and_quotas_let_so_much_by() {
    let mut bench = Bench::new(&chain(
        "udp dport 53 limit rate 1/hour burst 2 packets counter\n tcp dport 22 quota 100 bytes counter\n tcp dport 80 limit rate over 1/hour burst 1 packets counter",
    ));
    let frames = [
        "udp53", "udp53", "udp53", "tcp22", "tcp22", "tcp22", "tcp80", "tcp80",
    ]
    .map(frame);
    bench.run(&frames);
    assert_eq!(packets(&bench, "c"), [2, 2, 1]);
    bench.advance_ms(3_600_000);
    bench.run(&frames);
    assert_eq!(packets(&bench, "c")[0], 3);
}

#[test]
fn named_objects_are_shared() {
    let bench = Bench::new(
        "table inet t {
          quota q { 100 bytes }
          limit l { rate 1/hour burst 1 packets }
          chain c { type filter hook forward priority 0;
            tcp dport 22 quota name \"q\" counter
            tcp dport 80 limit name \"l\" counter
            udp dport 53 limit name \"l\" counter
          }
        }",
    );
    bench.run(&["tcp22", "tcp22", "tcp22", "tcp80", "udp53"].map(frame));
    assert_eq!(packets(&bench, "c"), [2, 1, 0]);
}

#[test]
fn packets_add_elements_that_later_packets_find() {
    let mut bench = Bench::new(
        "table ip t {
          set s { type ipv4_addr; flags dynamic, timeout; timeout 10s; size 3; }
          chain c { type filter hook forward priority 0;
            ip saddr @s counter drop
            udp dport 1 add @s { ip saddr } counter
            udp dport 2 delete @s { ip saddr } counter
          }
        }",
    );
    let knock = |host| udp([10, 9, 9, host], 1);
    let other = |host| udp([10, 9, 9, host], 9);
    assert_eq!(
        bench.run(&[other(1), knock(1), other(1), other(2)]).dropped,
        [false, false, true, false]
    );
    bench.advance_ms(10_000);
    assert_eq!(bench.run(&[other(1)]).dropped, [false]);
    assert_eq!(
        bench
            .run(&[knock(1), knock(2), knock(3), knock(4), other(4)])
            .dropped,
        [false; 5]
    );
    assert_eq!(packets(&bench, "c"), [1, 4, 0], "a full set ends the rule");
}

#[test]
fn every_element_has_its_own_limit() {
    let bench = Bench::new(
        "table ip t {
          set s { type ipv4_addr . inet_service; flags dynamic; size 100; }
          chain c { type filter hook forward priority 0;
            add @s { ip saddr . udp dport limit rate 1/hour burst 1 packets } counter
          }
        }",
    );
    let frames = [
        udp([10, 0, 0, 1], 5),
        udp([10, 0, 0, 1], 5),
        udp([10, 0, 0, 1], 6),
        udp([10, 0, 0, 2], 5),
    ];
    bench.run(&frames);
    assert_eq!(packets(&bench, "c"), [3]);
}

#[test]
fn a_set_changes_between_generations_and_keeps_what_packets_added() {
    let mut bench = Bench::new(
        "table ip t {
          set fixed { type ipv4_addr; flags interval; elements = { 10.1.0.0/16 } ; }
          set live { type ipv4_addr; flags dynamic; size 100; }
          chain c { type filter hook forward priority 0;
            ip saddr @fixed counter
            ip saddr @live counter
            udp dport 1 add @live { ip saddr }
          }
        }",
    );
    bench.run(&[udp([10, 1, 2, 3], 9), udp([10, 2, 2, 3], 1)]);
    assert_eq!(packets(&bench, "c"), [1, 0]);
    bench
        .apply("add element ip t fixed { 10.2.0.0/16 }; add element ip t live { 10.3.0.1 }")
        .unwrap();
    bench.run(&[udp([10, 2, 2, 3], 9), udp([10, 3, 0, 1], 9)]);
    assert_eq!(packets(&bench, "c"), [2, 2]);
    bench
        .apply("delete element ip t fixed { 10.1.0.0/16 }")
        .unwrap();
    bench.run(&[udp([10, 1, 2, 3], 9)]);
    assert_eq!(packets(&bench, "c"), [2, 2]);
}

#[test]
fn numbers_come_in_turn() {
    let bench = Bench::new(&chain(
        "udp dport 53 numgen inc mod 3 vmap { 0 : drop, 1 : accept, 2 : drop }\n meta mark set jhash ip saddr mod 1 offset 7 meta mark 7 counter",
    ));
    let frames = ["udp53", "udp53", "udp53", "udp53"].map(frame);
    assert_eq!(bench.run(&frames).dropped, [true, false, true, true]);
    bench.run(&[frame("tcp22")]);
    assert_eq!(packets(&bench, "c"), [1]);
}

#[test]
fn large_anonymous_sets_and_intervals() {
    let hosts: Vec<String> = (0..200)
        .map(|host| format!("10.7.{}.{}", host / 100, host % 100))
        .collect();
    let nets: Vec<String> = (0..100).map(|net| format!("10.{net}.0.0/16")).collect();
    let bench = Bench::new(&chain(&format!(
        "ip saddr {{ {} }} counter\n ip saddr {{ {} }} counter\n ip saddr . udp dport {{ {} }} counter",
        hosts.join(", "),
        nets.join(", "),
        nets.iter()
            .map(|net| format!("{net} . 5-9"))
            .collect::<Vec<_>>()
            .join(", "),
    )));
    bench.run(&[
        udp([10, 7, 1, 99], 7),
        udp([10, 7, 2, 0], 4),
        udp([10, 200, 0, 0], 7),
    ]);
    assert_eq!(packets(&bench, "c"), [1, 2, 1]);
}

#[test]
fn hooks_come_in_netfilters_order() {
    let bench = Bench::new(
        "table bridge b {
          chain early { type filter hook prerouting priority -1; meta mark 0 counter meta mark set 1; }
          chain late { type filter hook prerouting priority 1; meta mark 2 counter meta mark set 3; }
          chain post { type filter hook postrouting priority 500; meta mark 4 counter meta mark set 5; }
        }
        table inet i {
          chain pre { type filter hook prerouting priority 100; meta mark 1 counter meta mark set 2; }
          chain ahead { type filter hook forward priority -400; meta mark 3 counter meta mark set 4; }
          chain outer { type filter hook postrouting priority -400; meta mark 5 counter; }
        }",
    );
    bench.run(&[frame("tcp22")]);
    for chain in ["early", "pre", "late", "ahead", "post", "outer"] {
        assert_eq!(packets(&bench, chain), [1], "{chain}");
    }
}

#[test]
fn of_two_chains_with_one_priority_the_later_one_runs_first() {
    let bench = Bench::new(
        "table ip a { chain one { type filter hook forward priority 0; meta mark set 1; }; }
         table inet b { chain c { type filter hook forward priority 0; meta mark 0 counter; meta mark 1 counter; }; }",
    );
    bench.run(&[frame("tcp22")]);
    assert_eq!(packets(&bench, "c"), [1, 0]);
}

#[test]
fn chains_on_a_device_see_its_frames_only() {
    let bench = Bench::new(
        "table netdev n {
          chain inner { type filter hook ingress device \"inside\" priority 0; tcp dport 22 counter; }
          chain outer { type filter hook ingress device \"outside\" priority 0; counter; }
        }",
    );
    bench.run(&["tcp22", "arp"].map(frame));
    assert_eq!(
        (packets(&bench, "inner"), packets(&bench, "outer")),
        (vec![1], vec![0])
    );
}

#[test]
fn a_dormant_table_does_nothing() {
    let mut bench = Bench::new(
        "table ip t { flags dormant; chain c { type filter hook forward priority 0; counter drop; }; }",
    );
    assert_eq!(bench.run(&[frame("tcp22")]).dropped, [false]);
    bench.apply("add table ip t").unwrap();
    assert_eq!(bench.run(&[frame("tcp22")]).dropped, [true]);
}

#[test]
fn what_cannot_be_executed_is_refused_by_name() {
    for (rule, name) in [
        ("meta cgroup 5", "cgroup"),
        ("meta skuid 0", "skuid"),
        ("ct state new", "connection tracking"),
        ("ct mark set 1", "connection tracking"),
        ("fib saddr oif 5", "routes"),
    ] {
        let Err(refusal) = Bench::load(&chain(rule)) else {
            panic!("{rule} was taken")
        };
        assert!(refusal.contains(name), "{rule}: {refusal}");
    }
    let unreached =
        "table inet t { chain c { type filter hook input priority 0; meta skuid 0 accept; }; }";
    assert!(Bench::load(unreached).is_ok());
}

#[test]
fn an_edit_keeps_the_other_rules_and_their_counts() {
    let mut bench = Bench::new(&chain("tcp dport 22 counter\n tcp dport 80 counter"));
    bench.run(&["tcp22", "tcp80"].map(frame));
    bench
        .apply("insert rule inet t c udp dport 53 counter")
        .unwrap();
    bench.run(&["tcp22", "tcp80", "udp53"].map(frame));
    assert_eq!(packets(&bench, "c"), [1, 2, 2]);
}

#[test]
fn before_the_way_out_is_known_it_has_no_name_and_no_kind() {
    let bench = Bench::new(
        "table ip t { chain c { type filter hook prerouting priority 0;
            oifname != \"foo\" counter
            oif != 7 counter
            meta oiftype != 7 counter
            oifgroup != 7 counter
            oifname \"outside\" counter
        }; }",
    );
    bench.run(&[frame("tcp22")]);
    assert_eq!(packets(&bench, "c"), [1, 1, 0, 0, 0]);
}

#[test]
fn elements_of_an_anonymous_set_keep_their_state_over_edits() {
    let mut bench = Bench::new(&chain(
        "udp dport { 53 limit rate 1/hour burst 1 packets, 54 limit rate 1/hour burst 1 packets } counter",
    ));
    bench.run(&["udp53", "udp53"].map(frame));
    bench
        .apply("add rule inet t c tcp dport 22 counter")
        .unwrap();
    bench.run(&["udp53", "tcp22"].map(frame));
    assert_eq!(packets(&bench, "c"), [1, 1]);
}

#[test]
fn a_refused_packet_is_answered_and_a_copy_goes_elsewhere() {
    use sluice_dataplane::port::PortId;
    let bench = Bench::new(&chain(
        "udp dport 53 counter reject with icmp type host-unreachable\n tcp dport 22 reject with tcp reset",
    ));
    let outcome = bench.run(&["udp53", "tcp22", "tcp80"].map(frame));
    assert_eq!(outcome.dropped, [true, true, false]);
    let answers: Vec<_> = outcome
        .emitted
        .iter()
        .map(|(port, frame)| (*port, frame[23]))
        .collect();
    assert_eq!(answers, [(PortId(0), 1), (PortId(0), 6)]);
    assert_eq!(outcome.emitted[0].1[34..36], [3, 1]);
    assert_eq!(outcome.emitted[1].1[47] & 4, 4, "a reset");

    let bench = Bench::new(
        "table netdev n { chain i { type filter hook ingress device inside priority 0;
            tcp dport 22 dup to inside
            tcp dport 80 fwd to inside
        }; }",
    );
    let outcome = bench.run(&["tcp22", "tcp80"].map(frame));
    let ports: Vec<_> = outcome.emitted.iter().map(|(port, _)| *port).collect();
    assert_eq!(ports, [PortId(0)]);
}

#[test]
fn a_refused_transaction_leaves_no_trace() {
    let mut bench = Bench::new(
        "table ip t {
          set s { type ipv4_addr; flags dynamic; size 10; }
          chain c { type filter hook forward priority 0; ip saddr @s counter; udp dport 1 add @s { ip saddr }; }
        }",
    );
    bench.run(&[udp([10, 5, 0, 1], 1)]);
    let refused = bench.apply(
        "add set ip t other { type ipv4_addr; flags dynamic; size 5; }; add element ip t s { 10.6.0.1 }; add rule ip t c ct state new",
    );
    assert!(refused.is_err());
    bench.run(&[udp([10, 5, 0, 1], 9), udp([10, 6, 0, 1], 9)]);
    assert_eq!(packets(&bench, "c"), [1]);
    bench
        .apply("add element ip t s { 10.6.0.1 }; add set ip t more { type inet_service; }")
        .unwrap();
    bench.run(&[udp([10, 5, 0, 1], 9), udp([10, 6, 0, 1], 9)]);
    assert_eq!(packets(&bench, "c"), [3]);
}

#[test]
fn last_tells_whether_a_packet_came() {
    let mut bench = Bench::new(&chain("tcp dport 22 last\n tcp dport 80 last"));
    bench.run(&[frame("tcp22")]);
    let listed = bench.apply("list ruleset").unwrap();
    let used = |rule: &str| {
        let line = listed.lines().find(|line| line.contains(rule));
        line.is_some_and(|line| line.contains("last used ") && !line.contains("never"))
    };
    assert!(used("dport 22") && !used("dport 80"), "{listed}");
}
