//! Statements: they change the packet, its metadata or a state.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::bases::*;
use super::construct::Construct;

/// Name, families that see its frames, maker.
pub const STATEMENTS: &[Construct] = &[
    ("limit", IP4, |rng| {
        (
            format!("limit rate 1/day burst {} packets", rng.random_range(1..4)),
            vec![udp4(); 5],
        )
    }),
    ("limit over", IP4, |_| {
        (
            "limit rate over 1/day burst 2 packets".into(),
            vec![tcp4(); 5],
        )
    }),
    ("limit bytes", IP4, |_| {
        (
            "limit rate 1 bytes/day burst 100 bytes".into(),
            vec![udp4(); 4],
        )
    }),
    ("quota", IP4, |rng| {
        (
            format!("quota {} bytes", rng.random_range(40..140)),
            vec![udp4(); 4],
        )
    }),
    ("quota over", IP4, |_| {
        ("quota over 80 bytes".into(), vec![udp4(); 4])
    }),
    ("set ttl", IP4, |rng| {
        (
            format!("ip ttl set {}", rng.random::<u8>()),
            vec![udp4(), tcp4(), echo4()],
        )
    }),
    ("set dscp", IP4, |_| {
        ("ip dscp set af11".into(), vec![udp4(), tcp4()])
    }),
    ("set ip6 dscp", IP6, |_| {
        ("ip6 dscp set cs3".into(), vec![udp6(), tcp6()])
    }),
    ("set ip6 hoplimit", IP6, |_| {
        ("ip6 hoplimit set 3".into(), vec![udp6(), echo6()])
    }),
    ("set ip saddr", IP4, |_| {
        (
            "ip saddr set 192.0.2.1".into(),
            vec![udp4(), tcp4(), echo4(), sctp(), udplite()],
        )
    }),
    ("set ip6 saddr", IP6, |_| {
        (
            "ip6 saddr set 2001:db8::1".into(),
            vec![udp6(), tcp6(), echo6()],
        )
    }),
    ("set tcp dport", IP4, |_| {
        ("tcp dport set 8080".into(), vec![tcp4(), udp4(), mss(3)])
    }),
    ("set udp sport", IP6, |_| {
        ("udp sport set 4321".into(), vec![udp6(), tcp6()])
    }),
    ("set tcp option maxseg", IP4, |_| {
        (
            "tcp option maxseg size set 1200".into(),
            vec![mss(1460), mss(1000), tcp4()],
        )
    }),
    ("reset tcp option", IP4, |_| {
        (
            "reset tcp option sack-perm".into(),
            vec![options(&[2, 4, 5, 0xb4, 4, 2]), tcp4()],
        )
    }),
    ("set ether daddr", LINK, |_| {
        (
            "ether saddr set 02:11:22:33:44:55".into(),
            vec![udp4(), arp()],
        )
    }),
    ("set ether daddr group", LINK, |_| {
        (
            "ether daddr set 06:00:00:b0:00:0b".into(),
            vec![udp4(), arp()],
        )
    }),
    ("set raw link", LINK, |_| {
        (
            "@ll,48,48 set 0x020000000007".into(),
            vec![udp4(), arp(), vlan()],
        )
    }),
    // A raw write to the IPv4 header leaves its checksum wrong: the kernel drops that later.
    ("set raw network", IP6, |rng| {
        (
            format!(
                "meta protocol ip6 @nh,56,8 set {}",
                rng.random_range(1..255)
            ),
            vec![udp6(), tcp6()],
        )
    }),
    ("set raw transport", IP4, |rng| {
        (
            format!("@th,16,16 set {}", rng.random::<u16>()),
            [vec![udp4(), tcp4()], truncated4()].concat(),
        )
    }),
    ("set ip id", IP4, |rng| {
        (
            format!("ip id set {}", rng.random::<u16>()),
            vec![udp4(), echo4()],
        )
    }),
    ("set ip ecn", IP4, |rng| {
        (
            format!(
                "ip ecn set {}",
                ["ect0", "ect1", "ce", "not-ect"]
                    .choose(rng)
                    .unwrap_or(&"ce")
            ),
            vec![udp4(), tcp4()],
        )
    }),
    ("set icmp", IP4, |rng| {
        (
            format!("icmp id set {}", rng.random::<u16>()),
            vec![echo4(), udp4()],
        )
    }),
    ("set icmpv6", IP6, |rng| {
        (
            format!("icmpv6 sequence set {}", rng.random::<u16>()),
            vec![echo6(), udp6()],
        )
    }),
    ("set tcp flags", IP4, |_| {
        ("tcp flags set syn".into(), vec![tcp4(), mss(1), udp4()])
    }),
    ("set tcp of ip6", IP6, |rng| {
        (
            format!("tcp sport set {}", rng.random::<u16>()),
            vec![tcp6(), udp6()],
        )
    }),
    ("set ip6 flowlabel", IP6, |rng| {
        (
            format!("ip6 flowlabel set {}", rng.random_range(0..0x10_0000)),
            vec![tcp6(), udp6()],
        )
    }),
    ("set sctp", IP4, |rng| {
        (
            format!("sctp dport set {}", rng.random::<u16>()),
            vec![sctp(), udp4()],
        )
    }),
    ("set vlan id", LINK, |rng| {
        (
            format!("vlan id set {}", rng.random_range(1..4095)),
            vec![vlan(), udp4()],
        )
    }),
    ("set by map", IP4, |rng| {
        (
            format!(
                "udp dport set udp dport map {{ 2000 : {}, 4 : 9 }}",
                rng.random::<u8>()
            ),
            vec![udp4(), tcp4(), echo4()],
        )
    }),
    ("set mark from field", IP4, |rng| {
        (
            format!(
                "meta mark set ip ttl & 0x41 meta mark {}",
                [0x40, 0x41].choose(rng).unwrap_or(&0)
            ),
            vec![udp4(), tcp4()],
        )
    }),
    ("set pkttype", LINK, |_| {
        (
            "meta pkttype set broadcast meta pkttype broadcast".into(),
            vec![udp4(), arp()],
        )
    }),
    ("set priority", IP4, |rng| {
        (
            format!(
                "meta priority set 1:{} meta priority 1:2",
                rng.random_range(1..4)
            ),
            vec![udp4()],
        )
    }),
    ("log", IP4, |_| {
        ("log prefix \"oracle\" level debug".into(), vec![udp4()])
    }),
    ("nftrace", IP4, |_| {
        ("meta nftrace set 1".into(), vec![udp4()])
    }),
    ("dup", &["netdev"], |rng| {
        (
            format!(
                "dup to \"{}\"",
                ["left", "right"].choose(rng).unwrap_or(&"left")
            ),
            vec![udp4(), arp()],
        )
    }),
    ("reject", &["netdev"], |rng| {
        let text = [
            "udp dport 2000 counter reject",
            "meta l4proto tcp counter reject with tcp reset",
            "ip protocol udp counter reject with icmp host-unreachable",
            "ip6 nexthdr udp counter reject with icmpv6 port-unreachable",
            "counter reject with icmpx admin-prohibited",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        (
            (*text).into(),
            [
                vec![udp4(), tcp4(), udp6(), tcp6(), echo4()],
                first_fragments(),
            ]
            .concat(),
        )
    }),
    ("fwd", &["netdev"], |rng| {
        (
            format!(
                "ip protocol udp counter fwd to \"{}\"",
                ["left", "right"].choose(rng).unwrap_or(&"left")
            ),
            vec![udp4(), tcp4()],
        )
    }),
];
