//! Sets of ipset in rules: match, no match, negation, counters, changes by packets, swap, lists.

use super::packets::bench::Bench;
use super::packets::build::{self, Frame, Ip4, zoo};

fn chain(rules: &str) -> String {
    format!("table inet t {{ chain c {{ type filter hook forward priority 0; {rules}; }}; }}")
}

fn frame(name: &str) -> Frame {
    zoo()
        .into_iter()
        .find(|(one, _)| *one == name)
        .map(|(_, frame)| frame)
        .unwrap()
}

fn udp(source: [u8; 4], destination: [u8; 4], dport: u16) -> Frame {
    Ip4 {
        source,
        destination,
        ..Ip4::default()
    }
    .frame(17, build::udp(1000, dport, b"abcd"), Some(6))
}

const TO: [u8; 4] = [10, 0, 0, 2];

/// The same from another station.
fn with_mac(last: u8) -> Frame {
    let mut other = from(1);
    other[11] = last;
    other
}

fn from(host: u8) -> Frame {
    udp([10, 0, 0, host], TO, 53)
}

/// A bench with these sets and rules.
fn bench(sets: &[&str], rules: &str) -> Bench {
    let mut bench = Bench::new("add table inet empty");
    for line in sets {
        bench.ipset(line).unwrap();
    }
    bench.apply(&chain(rules)).unwrap();
    bench
}

fn dropped(bench: &Bench, frames: &[Frame]) -> Vec<bool> {
    bench.run(frames).dropped
}

#[test]
fn an_address_is_looked_for_in_both_directions_and_families() {
    let sets = [
        "create a hash:ip",
        "add a 10.0.0.1",
        "create b hash:ip family inet6",
    ];
    let bench = bench(&sets, "ipset \"a\" src drop");
    let frames = [from(1), from(2), frame("tcp6-22"), frame("arp")];
    assert_eq!(dropped(&bench, &frames), [true, false, false, false]);
    let mut bench = bench;
    bench
        .apply("flush chain inet t c; add rule inet t c ipset \"a\" dst drop")
        .unwrap();
    let back = udp([10, 0, 0, 9], [10, 0, 0, 1], 53);
    assert_eq!(dropped(&bench, &[from(1), back]), [false, true]);
}

#[test]
fn what_lacks_a_fact_is_not_in_the_set() {
    let sets = ["create a hash:ip,port", "add a 10.0.0.1,udp:53"];
    let frames = [from(1), from(2), frame("frag2"), frame("tcp6-22")];
    let found = bench(&sets, "ipset \"a\" src,dst drop");
    assert_eq!(dropped(&found, &frames), [true, false, false, false]);
    let not = bench(&sets, "ipset != \"a\" src,dst drop");
    assert_eq!(dropped(&not, &frames), [false, true, true, true]);
}

#[test]
fn too_few_directions_never_match() {
    let sets = ["create a hash:ip,port", "add a 10.0.0.1,udp:53"];
    let found = bench(&sets, "ipset \"a\" src drop");
    assert_eq!(dropped(&found, &[from(1)]), [false]);
    let not = bench(&sets, "ipset != \"a\" src drop");
    assert_eq!(dropped(&not, &[from(1)]), [true]);
}

#[test]
fn every_type_matches_what_its_parts_say() {
    let ping = "icmp:echo-request";
    for (create, element, directions, frame, other) in [
        (
            "bitmap:ip range 10.0.0.0/24",
            "10.0.0.1",
            "src",
            from(1),
            from(2),
        ),
        (
            "bitmap:ip range 10.0.0.0/8 netmask 24",
            "10.0.0.9",
            "src",
            from(1),
            udp([10, 0, 1, 1], TO, 53),
        ),
        (
            "bitmap:ip,mac range 10.0.0.0/24",
            "10.0.0.1,02:00:00:00:00:01",
            "src,src",
            from(1),
            from(2),
        ),
        (
            "bitmap:port range 0-100",
            "53",
            "dst",
            from(1),
            udp([10, 0, 0, 1], TO, 54),
        ),
        (
            "hash:ip netmask 24",
            "10.0.0.77",
            "src",
            from(1),
            udp([10, 0, 1, 1], TO, 53),
        ),
        ("hash:mac", "02:00:00:00:00:01", "src", from(1), with_mac(9)),
        (
            "hash:ip,mac",
            "10.0.0.1,02:00:00:00:00:02",
            "src,dst",
            from(1),
            from(2),
        ),
        ("hash:net", "10.0.0.0/31", "src", from(1), from(2)),
        (
            "hash:net,net",
            "10.0.0.0/31,10.0.0.2",
            "src,dst",
            from(1),
            from(2),
        ),
        (
            "hash:ip,port",
            "10.0.0.1,udp:53",
            "src,dst",
            from(1),
            udp([10, 0, 0, 1], TO, 54),
        ),
        (
            "hash:ip,port",
            &format!("10.0.0.1,{ping}"),
            "src,dst",
            frame("ping"),
            from(1),
        ),
        (
            "hash:net,port",
            "10.0.0.0/31,udp:53",
            "src,dst",
            from(1),
            from(2),
        ),
        (
            "hash:ip,port,ip",
            "10.0.0.1,udp:53,10.0.0.2",
            "src,dst,dst",
            from(1),
            from(2),
        ),
        (
            "hash:ip,port,net",
            "10.0.0.1,udp:53,10.0.0.0/8",
            "src,dst,dst",
            from(1),
            from(2),
        ),
        ("hash:ip,mark", "10.0.0.1,0", "src,src", from(1), from(2)),
        (
            "hash:net,port,net",
            "0.0.0.0/0,udp:53,10.0.0.2/31",
            "src,dst,dst",
            from(1),
            udp([10, 0, 0, 1], TO, 54),
        ),
        (
            "hash:net,iface",
            "10.0.0.0/31,inside",
            "src,src",
            from(1),
            from(2),
        ),
        (
            "hash:net,iface",
            "10.0.0.0/31,outside",
            "src,dst",
            from(1),
            from(2),
        ),
    ] {
        let lines = [format!("create a {create}"), format!("add a {element}")];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let bench = bench(&lines, &format!("ipset \"a\" {directions} drop"));
        assert_eq!(dropped(&bench, &[frame]), [true], "{create} {element}");
        if !other.is_empty() {
            assert_eq!(dropped(&bench, &[other]), [false], "{create} {element}");
        }
    }
    // A name that ends in anything, of an interface that is a bridge's port.
    for element in ["10.0.0.0/31,in wildcard", "10.0.0.0/31,physdev:inside"] {
        let add = format!("add a {element}");
        let bench = bench(
            &["create a hash:net,iface", &add],
            "ipset \"a\" src,src drop",
        );
        assert_eq!(
            dropped(&bench, &[from(1), from(2)]),
            [true, false],
            "{element}"
        );
    }
}

#[test]
fn exceptions_do_not_match_unless_they_are_asked_for() {
    let sets = [
        "create a hash:net",
        "add a 10.0.0.0/24",
        "add a 10.0.0.0/31 nomatch",
    ];
    let plain = bench(&sets, "ipset \"a\" src drop");
    assert_eq!(dropped(&plain, &[from(1), from(2)]), [false, true]);
    let returned = bench(&sets, "ipset \"a\" src return-nomatch drop");
    assert_eq!(dropped(&returned, &[from(1), from(2)]), [true, false]);
}

#[test]
fn a_match_counts_in_the_element_and_can_ask_what_was_counted() {
    let sets = ["create a hash:ip counters", "add a 10.0.0.1"];
    let mut bench = bench(&sets, "ipset \"a\" src packets > 2 drop");
    assert_eq!(
        dropped(&bench, &[from(1), from(1), from(1)]),
        [false, false, true]
    );
    assert_eq!(bench.elements("a"), ["10.0.0.1 packets 3 bytes 96"]);
    bench
        .apply(
            "flush chain inet t c; add rule inet t c ipset \"a\" src no-counters bytes < 100 drop",
        )
        .unwrap();
    assert_eq!(dropped(&bench, &[from(1)]), [true]);
    assert_eq!(bench.elements("a"), ["10.0.0.1 packets 3 bytes 96"]);
}

#[test]
fn packets_add_and_delete_elements() {
    let mut adding = bench(
        &[
            "create a hash:ip,port",
            "create b hash:net",
            "add b 192.0.2.0/28",
        ],
        "ipset add \"a\" src,dst; ipset add \"b\" src",
    );
    adding.run(&[from(1), from(2), from(1), frame("tcp6-22")]);
    assert_eq!(adding.elements("a"), ["10.0.0.1,udp:53", "10.0.0.2,udp:53"]);
    // With the longest prefix that the set has.
    assert_eq!(adding.elements("b"), ["10.0.0.0/28", "192.0.2.0/28"]);
    adding
        .apply("flush chain inet t c; add rule inet t c ipset delete \"a\" src,dst; add rule inet t c ipset delete \"b\" src")
        .unwrap();
    adding.run(&[from(1)]);
    assert_eq!(adding.elements("a"), ["10.0.0.2,udp:53"]);
    assert_eq!(adding.elements("b"), ["192.0.2.0/28"]);
}

#[test]
fn what_a_packet_adds_the_next_one_of_the_batch_finds() {
    let bench = bench(
        &["create a hash:ip"],
        "ipset \"a\" src drop; ipset add \"a\" src",
    );
    assert_eq!(
        dropped(&bench, &[from(1), from(1), from(2)]),
        [false, true, false]
    );
}

#[test]
fn a_full_set_takes_no_more_and_the_rule_goes_on() {
    let mut bench = bench(&["create a hash:ip maxelem 1"], "ipset add \"a\" src drop");
    assert_eq!(dropped(&bench, &[from(1), from(2)]), [true, true]);
    assert_eq!(bench.elements("a").len(), 1);
}

#[test]
fn packets_are_mapped_to_what_their_element_has() {
    let sets = [
        "create a hash:ip skbinfo",
        "add a 10.0.0.1 skbmark 0x10/0xf0 skbprio 1:2",
    ];
    let bench = bench(
        &sets,
        "meta mark set 0x0f; ipset map \"a\" src map-mark map-prio; meta mark 0x1f meta priority 1:2 drop",
    );
    assert_eq!(dropped(&bench, &[from(1), from(2)]), [true, false]);
}

#[test]
fn the_first_packet_completes_an_element_without_a_mac() {
    let sets = ["create a bitmap:ip,mac range 10.0.0.0/24", "add a 10.0.0.1"];
    let mut bench = bench(&sets, "ipset \"a\" src,src drop");
    // Those behind it in the same batch are held against its address already.
    let frames = [from(1), with_mac(9), from(1)];
    assert_eq!(dropped(&bench, &frames), [true, false, true]);
    assert_eq!(bench.elements("a"), ["10.0.0.1,02:00:00:00:00:01"]);
    assert_eq!(dropped(&bench, &[with_mac(9), from(1)]), [false, true]);
}

#[test]
fn an_element_that_is_completed_keeps_what_it_has() {
    let sets = [
        "create a bitmap:ip,mac range 10.0.0.0/24 counters comment",
        "add a 10.0.0.1 packets 5 bytes 50 comment first",
    ];
    let mut bench = bench(&sets, "ipset \"a\" src,src drop");
    let frames = [from(1), with_mac(9), from(1)];
    assert_eq!(dropped(&bench, &frames), [true, false, true]);
    bench.ipset("add a 10.0.0.2 comment second").unwrap();
    bench.ipset("add a 10.0.0.3 comment third").unwrap();
    assert_eq!(
        bench.elements("a"),
        [
            "10.0.0.1,02:00:00:00:00:01 packets 7 bytes 114 comment \"first\"",
            "10.0.0.2 packets 0 bytes 0 comment \"second\"",
            "10.0.0.3 packets 0 bytes 0 comment \"third\"",
        ]
    );
}

#[test]
fn a_list_is_asked_in_order_and_skips_what_needs_more_directions() {
    let sets = [
        "create p hash:ip,port",
        "add p 10.0.0.1,udp:53",
        "create a hash:ip",
        "add a 10.0.0.2",
        "create l list:set counters",
        "add l p",
        "add l a",
    ];
    let one = bench(&sets, "ipset \"l\" src drop");
    assert_eq!(dropped(&one, &[from(1), from(2)]), [false, true]);
    let mut both = bench(&sets, "ipset \"l\" src,dst drop");
    assert_eq!(
        dropped(&both, &[from(1), from(2), from(3)]),
        [true, true, false]
    );
    assert_eq!(
        both.elements("l"),
        ["p packets 1 bytes 32", "a packets 1 bytes 32"]
    );
    // Another list is seen at once.
    both.ipset("del l p").unwrap();
    assert_eq!(dropped(&both, &[from(1), from(2)]), [false, true]);
}

#[test]
fn a_set_that_rules_use_stays_and_can_be_swapped() {
    let sets = [
        "create a hash:ip",
        "create b hash:ip",
        "add a 10.0.0.1",
        "add b 10.0.0.2",
    ];
    let mut bench = bench(&sets, "ipset \"a\" src drop");
    let busy = "ipset v7.17: Set cannot be destroyed: it is in use by a kernel component\n";
    assert_eq!(bench.ipset("destroy a"), Err(busy.to_owned()));
    assert_eq!(bench.ipset("destroy"), Err(busy.to_owned()));
    let renamed = "ipset v7.17: Set cannot be renamed: it is in use by another system\n";
    assert_eq!(bench.ipset("rename a c"), Err(renamed.to_owned()));
    assert!(bench.ipset("list a").unwrap().contains("References: 1\n"));
    assert_eq!(dropped(&bench, &[from(1), from(2)]), [true, false]);
    bench.ipset("swap a b").unwrap();
    assert_eq!(dropped(&bench, &[from(1), from(2)]), [false, true]);
    bench.ipset("add a 10.0.0.3").unwrap();
    assert_eq!(dropped(&bench, &[from(3)]), [true]);
    bench.apply("flush chain inet t c").unwrap();
    bench.ipset("destroy a").unwrap();
    let refused = bench
        .apply("add rule inet t c ipset \"a\" src")
        .unwrap_err();
    assert!(refused.contains("No such file or directory"), "{refused}");
}

#[test]
fn an_atomic_restore_is_seen_as_a_whole_or_not_at_all() {
    let mut bench = bench(
        &["create a hash:ip", "add a 10.0.0.1"],
        "ipset \"a\" src drop",
    );
    let failed = bench.ipset("restore --atomic << flush a|add a 10.0.0.2|add a 10.0.0.2|");
    let text =
        "ipset v7.17: Error in line 3: Element cannot be added to the set: it's already added\n";
    assert_eq!(failed, Err(text.to_owned()));
    assert_eq!(dropped(&bench, &[from(1), from(2)]), [true, false]);
    bench
        .ipset("restore --atomic << flush a|add a 10.0.0.2|")
        .unwrap();
    assert_eq!(dropped(&bench, &[from(1), from(2)]), [false, true]);
}

#[test]
fn rules_are_listed_so_that_they_can_be_loaded_again() {
    let rules = [
        "ipset \"a\" src drop",
        "ipset != \"a\" src,dst,src return-nomatch no-counters no-subcounters packets > 5 bytes != 7 accept",
        "ipset \"a\" dst packets 5",
        "ipset add \"a\" src timeout 1m30s exist",
        "ipset delete \"a\" dst counter packets 0 bytes 0",
        "ipset map \"a\" src map-mark map-prio",
    ];
    let mut bench = bench(&["create a hash:ip"], &rules.join("; "));
    let listing = bench.apply("list chain inet t c").unwrap();
    for rule in rules {
        assert!(
            listing.contains(&format!("\t{rule}\n")),
            "{rule}\n{listing}"
        );
    }
    bench.apply("flush ruleset").unwrap();
    bench.apply(&listing).unwrap();
    assert_eq!(bench.apply("list chain inet t c").unwrap(), listing);
    for (rule, text) in [
        ("ipset \"a\" foo", "expected src or dst"),
        (
            "ipset \"a\" src,src,src,src,src,src,src",
            "more than six directions",
        ),
        (
            "ipset map \"a\" src map-queue",
            "map-queue: ports have no queues to choose from",
        ),
    ] {
        let refused = bench
            .apply(&format!("add rule inet t c {rule}"))
            .unwrap_err();
        assert!(refused.contains(text), "{refused}");
    }
}
