//! The table of matches: a family, a rule, and the frames of the zoo that it matches. All other
//! frames must not match: wrong protocols, cut headers and later fragments are among them.

use super::packets::bench::Bench;
use super::packets::build::zoo;

/// Frames that reach an inet or ip chain.
const IP4: &[&str] = &[
    "tcp22", "tcp80", "udp53", "udp4789", "ping", "unreach", "rr", "frag2", "cut-tcp",
];
const IP6: &[&str] = &["tcp6-22", "udp6-53", "ping6", "hbh6"];

const CASES: &[(&str, &str, &[&str])] = &[
    // ports
    ("inet", "tcp dport 22", &["tcp22", "tcp6-22"]),
    ("inet", "tcp dport != 22", &["tcp80"]),
    ("inet", "tcp dport 20-30", &["tcp22", "tcp6-22"]),
    ("inet", "tcp dport != 20-30", &["tcp80"]),
    (
        "inet",
        "tcp dport { 22, 80 }",
        &["tcp22", "tcp80", "tcp6-22"],
    ),
    ("inet", "tcp dport != { 22, 443 }", &["tcp80"]),
    ("inet", "tcp dport { 1-21, 23-90 }", &["tcp80"]),
    ("inet", "tcp dport > 22", &["tcp80"]),
    ("inet", "tcp dport >= 22", &["tcp22", "tcp80", "tcp6-22"]),
    ("inet", "tcp dport < 80", &["tcp22", "tcp6-22"]),
    ("inet", "udp dport 53", &["udp53", "udp6-53", "hbh6"]),
    (
        "inet",
        "udp sport 1024-65535 udp dport 53",
        &["udp53", "udp6-53", "hbh6"],
    ),
    ("inet", "th dport 53", &["udp53", "udp6-53", "hbh6"]),
    (
        "inet",
        "meta l4proto { tcp, udp } th dport 22",
        &["tcp22", "tcp6-22"],
    ),
    // addresses
    (
        "inet",
        "ip saddr 10.0.0.1 ip daddr 10.0.0.2 udp dport 53",
        &["udp53"],
    ),
    ("inet", "ip saddr 10.1.0.9", &["tcp80", "udp4789"]),
    ("inet", "ip saddr 10.1.0.0/16", &["tcp80", "udp4789"]),
    ("inet", "ip saddr 10.1.0.0/31", &[]),
    ("inet", "ip saddr 10.1.0.8/31", &["tcp80", "udp4789"]),
    (
        "inet",
        "ip daddr 192.168.1.70-192.168.1.80",
        &["tcp80", "udp4789"],
    ),
    (
        "inet",
        "ip daddr { 192.168.0.0/16, 172.16.0.0/12 }",
        &["tcp80", "udp4789"],
    ),
    ("inet", "ip saddr & 0.0.0.255 == 9", &["tcp80", "udp4789"]),
    ("inet", "ip6 saddr fd00::1", IP6),
    ("inet", "ip6 saddr fd00::/8 tcp dport 22", &["tcp6-22"]),
    ("inet", "ip6 daddr != fd00::2", &[]),
    ("ip6", "ip6 daddr fd00::2", IP6),
    ("ip", "ip daddr 10.0.0.2 tcp dport 22", &["tcp22"]),
    // IPv4 header
    ("inet", "ip ttl 3", &["tcp80", "udp4789"]),
    ("inet", "ip ttl < 4", &["tcp80", "udp4789"]),
    ("inet", "ip dscp 10", &["tcp80", "udp4789"]),
    ("inet", "ip ecn ce", &["tcp80", "udp4789"]),
    ("inet", "ip id 0x1234", &["tcp80", "udp4789"]),
    ("inet", "ip frag-off & 0x1fff != 0", &["frag2"]),
    ("inet", "ip protocol icmp", &["ping", "unreach"]),
    ("inet", "ip hdrlength 7", &["rr"]),
    ("inet", "ip version 4", IP4),
    ("inet", "ip length 44", &["tcp22"]),
    ("inet", "ip option rr exists", &["rr"]),
    ("inet", "ip option rr ptr 4", &["rr"]),
    // IPv6 header
    ("inet", "ip6 nexthdr udp", &["udp6-53"]),
    ("inet", "ip6 hoplimit 64", IP6),
    ("inet", "ip6 version 6", IP6),
    ("inet", "exthdr hbh exists", &["hbh6"]),
    (
        "inet",
        "exthdr hbh missing",
        &["tcp6-22", "udp6-53", "ping6"],
    ),
    ("inet", "hbh nexthdr 17", &["hbh6"]),
    // ICMP
    ("inet", "icmp type echo-request", &["ping"]),
    ("inet", "icmp type { echo-request, echo-reply }", &["ping"]),
    ("inet", "icmp id 7", &["ping"]),
    ("inet", "icmp code 3", &["unreach"]),
    ("inet", "icmpv6 type echo-request", &["ping6"]),
    ("inet", "icmpv6 id 7", &["ping6"]),
    // TCP
    ("inet", "tcp flags syn", &["tcp22", "tcp6-22"]),
    (
        "inet",
        "tcp flags & (syn|ack) == syn",
        &["tcp22", "tcp6-22"],
    ),
    ("inet", "tcp flags ! syn", &["tcp80"]),
    ("inet", "tcp flags == syn", &["tcp22", "tcp6-22"]),
    ("inet", "tcp flags != syn", &["tcp80"]),
    (
        "inet",
        "tcp flags { syn, psh | ack }",
        &["tcp22", "tcp80", "tcp6-22"],
    ),
    ("inet", "tcp flags syn,ack", &["tcp22", "tcp80", "tcp6-22"]),
    ("inet", "tcp doff 6", &["tcp22", "tcp6-22"]),
    ("inet", "tcp sequence 1000", &["tcp22", "tcp80", "tcp6-22"]),
    ("inet", "tcp option maxseg size 1460", &["tcp22", "tcp6-22"]),
    ("inet", "tcp option maxseg exists", &["tcp22", "tcp6-22"]),
    ("inet", "udp length 12", &["udp53", "udp6-53", "hbh6"]),
    // meta
    (
        "inet",
        "meta l4proto udp",
        &["udp53", "udp4789", "udp6-53", "hbh6", "rr"],
    ),
    ("inet", "meta nfproto ipv4", IP4),
    ("inet", "meta protocol ip6", IP6),
    (
        "inet",
        "iifname inside meta l4proto icmp",
        &["ping", "unreach"],
    ),
    ("inet", "iifname outside", &[]),
    (
        "inet",
        "oifname \"out*\" meta l4proto icmp",
        &["ping", "unreach"],
    ),
    ("inet", "oifname != outside", &[]),
    (
        "inet",
        "iifname { inside, lo } ip ttl 3",
        &["tcp80", "udp4789"],
    ),
    (
        "inet",
        "iifname { \"in*\", lo } ip ttl 3",
        &["tcp80", "udp4789"],
    ),
    ("inet", "meta length 44 ip protocol tcp", &["tcp22"]),
    ("inet", "meta length > 63", &["tcp6-22"]),
    ("inet", "meta mark 0 icmp id 7", &["ping"]),
    ("inet", "meta pkttype host icmp id 7", &["ping"]),
    // concatenations and maps
    (
        "inet",
        "ip saddr . tcp dport { 10.0.0.1 . 22, 10.1.0.9 . 443 }",
        &["tcp22"],
    ),
    (
        "inet",
        "ip saddr . udp dport { 10.0.0.0/8 . 53, 10.1.0.9 . 4000-5000 }",
        &["udp53", "udp4789"],
    ),
    (
        "inet",
        "ip saddr . ip daddr != { 10.0.0.1 . 10.0.0.2 }",
        &["tcp80", "udp4789"],
    ),
    (
        "inet",
        "meta mark set ip ttl map { 3 : 7 } meta mark 7",
        &["tcp80", "udp4789"],
    ),
    (
        "inet",
        "meta mark set tcp dport map { 22 : 1, 80 : 2 } meta mark 2",
        &["tcp80"],
    ),
    (
        "inet",
        "meta mark set 5 meta mark set meta mark & 4 | 3 meta mark 7 icmp id 7",
        &["ping"],
    ),
    // raw
    ("inet", "@nh,0,4 6", IP6),
    ("inet", "@th,16,16 22", &["tcp22", "tcp6-22"]),
    ("inet", "@nh,64,8 3", &["tcp80", "udp4789"]),
    // bridge
    ("bridge", "ether type arp", &["arp"]),
    ("bridge", "arp operation request", &["arp"]),
    ("bridge", "arp daddr ip 10.0.0.2", &["arp"]),
    ("bridge", "vlan id 5", &["vlan5"]),
    ("bridge", "vlan id != 5", &[]),
    ("bridge", "vlan pcp 3", &["vlan5"]),
    ("bridge", "vlan id 5 ip saddr 10.0.0.1", &["vlan5"]),
    (
        "bridge",
        "ether saddr 02:00:00:00:00:01 ether type 0x88cc",
        &["lldp"],
    ),
    ("bridge", "ether daddr != 02:00:00:00:00:02", &[]),
    ("bridge", "meta protocol arp", &["arp"]),
    ("bridge", "ip daddr 192.168.1.80", &["tcp80", "udp4789"]),
    ("bridge", "udp dport 4789", &["udp4789"]),
];

#[test]
fn every_rule_matches_exactly_its_frames() {
    let zoo = zoo();
    let mut wrong = Vec::new();
    for (family, rule, expected) in CASES {
        let text = format!(
            "table {family} t {{\n chain c {{\n type filter hook forward priority 0;\n {rule} counter\n }}\n}}\n"
        );
        let bench = match Bench::load(&text) {
            Ok(bench) => bench,
            Err(refusal) => {
                wrong.push(format!("{family} {rule}: {refusal}"));
                continue;
            }
        };
        let hits = bench.counted(&zoo);
        if hits != *expected {
            let listing = bench.listing();
            wrong.push(format!(
                "{family} {rule}:\n  found {hits:?}\n  wants {expected:?}\n  {listing:?}"
            ));
            continue;
        }
        let before = bench.packets();
        let all: Vec<_> = zoo.iter().map(|(_, frame)| frame.clone()).collect();
        bench.run(&all);
        if bench.packets() - before != expected.len() as u64 {
            wrong.push(format!("{family} {rule}: another count as one batch"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        CASES.len(),
        wrong.join("\n")
    );
}
