//! Matches that are more than a comparison of one header field.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::bases::*;
use super::construct::Construct;
use crate::frames::{Frame, Layer, udp};

/// Name, families that see its frames, maker.
pub const MATCHES: &[Construct] = &[
    ("meta l4proto", IP4, |rng| {
        let wanted = *[1, 6, 17, 50, 132].choose(rng).unwrap_or(&6);
        (
            format!("meta l4proto {wanted}"),
            vec![tcp4(), udp4(), echo4(), esp(), sctp()],
        )
    }),
    ("meta l4proto set", IP6, |_| {
        (
            "meta l4proto { tcp, udp }".into(),
            vec![tcp6(), udp6(), echo6(), hop6(), frag6()],
        )
    }),
    ("meta length", IP4, |rng| {
        let length = 45 + rng.random_range(0..3);
        (
            format!("meta length {}", length),
            vec![udp4(), tcp4(), echo4()],
        )
    }),
    ("meta protocol", LINK, |_| {
        (
            "meta protocol ip".into(),
            vec![udp4(), udp6(), arp(), vlan()],
        )
    }),
    ("meta protocol arp", LINK, |_| {
        (
            "meta protocol { arp, ip6 }".into(),
            vec![udp4(), udp6(), arp()],
        )
    }),
    ("meta nfproto", &["inet"], |_| {
        ("meta nfproto ipv4".into(), vec![udp4(), udp6()])
    }),
    ("meta mark", IP4, |rng| {
        let mark = rng.random_range(0..3);
        (
            format!("meta mark set {mark} meta mark {}", rng.random_range(0..3)),
            vec![udp4(), tcp4()],
        )
    }),
    ("meta mark arithmetic", IP4, |rng| {
        let mark: u32 = rng.random();
        (
            format!(
                "meta mark set {mark} meta mark & 0x300 != 0 meta mark set meta mark | 0x1 meta mark & 0x1 == 1"
            ),
            vec![udp4()],
        )
    }),
    ("meta pkttype", LINK, |_| {
        let mut broadcast = udp4();
        broadcast.bytes[..6].fill(0xff);
        ("meta pkttype broadcast".into(), vec![udp4(), broadcast])
    }),
    ("tcp flags list", IP4, |_| {
        ("tcp flags syn,ack".into(), flag_frames())
    }),
    ("tcp flags mask", IP4, |_| {
        (
            "tcp flags & (fin | syn | rst | ack) == syn".into(),
            flag_frames(),
        )
    }),
    ("tcp flags slash", IP4, |_| {
        ("tcp flags syn / syn,ack".into(), flag_frames())
    }),
    ("tcp flags not", IP4, |_| {
        ("tcp flags != syn".into(), flag_frames())
    }),
    ("tcp flags bang", IP4, |_| {
        ("tcp flags ! syn,rst".into(), flag_frames())
    }),
    ("tcp option maxseg", IP4, |rng| {
        let size = 1460 + rng.random_range(0..2);
        (
            format!("tcp option maxseg size {size}"),
            vec![mss(1459), mss(1460), mss(1461), tcp4(), udp4()],
        )
    }),
    ("tcp option exists", IP4, |_| {
        (
            "tcp option sack-perm exists".into(),
            vec![options(&[4, 2]), options(&[1, 1, 4, 2]), tcp4(), mss(1460)],
        )
    }),
    ("tcp option missing", IP4, |_| {
        (
            "tcp option window missing".into(),
            vec![options(&[3, 3, 7]), tcp4(), mss(9)],
        )
    }),
    ("tcp option window count", IP4, |_| {
        (
            "tcp option window count 7".into(),
            vec![options(&[1, 3, 3, 7]), options(&[3, 3, 8]), tcp4()],
        )
    }),
    ("tcp option timestamp", IP4, |_| {
        (
            "tcp option timestamp tsval > 256".into(),
            vec![
                options(&[8, 10, 0, 0, 1, 1, 0, 0, 0, 0]),
                options(&[8, 10, 0, 0, 1, 0, 0, 0, 0, 0]),
                tcp4(),
            ],
        )
    }),
    ("tcp option truncated", IP4, |_| {
        (
            "tcp option maxseg exists".into(),
            vec![
                options(&[2]),
                options(&[2, 40, 0, 0]),
                options(&[2, 0, 0, 0]),
            ],
        )
    }),
    ("ip option ra", IP4, |_| {
        (
            "ip option ra exists".into(),
            vec![Frame::ipv4(17, &[148, 4, 0, 0], &udp(1, 2, b"x")), udp4()],
        )
    }),
    ("ip option rr", IP4, |_| {
        let rr = Frame::ipv4(17, &[7, 7, 4, 0, 0, 0, 0, 0], &udp(1, 2, b"x"));
        ("ip option rr ptr 4".into(), vec![rr, udp4()])
    }),
    ("exthdr hbh", IP6, |_| {
        ("exthdr hbh exists".into(), vec![hop6(), dst6(), udp6()])
    }),
    ("exthdr frag", IP6, |_| {
        ("exthdr frag missing".into(), vec![hop6(), udp6(), rt6()])
    }),
    ("exthdr dst behind rt", IP6, |_| {
        ("exthdr dst exists".into(), vec![dst6(), hop6(), udp6()])
    }),
    ("sctp chunk", IP4, |_| {
        ("sctp chunk data exists".into(), vec![sctp(), udp4()])
    }),
    ("sctp chunk field", IP4, |_| {
        ("sctp chunk data stream 2".into(), vec![sctp(), udp4()])
    }),
    ("concatenation", IP4, |rng| {
        let port = 2000 + rng.random_range(0..2);
        (
            format!("ip saddr . udp dport {{ 10.1.0.1 . {port}, 10.1.0.2 . 2000 }}"),
            vec![udp4(), tcp4()],
        )
    }),
    ("concatenation of intervals", IP4, |rng| {
        let low = 1999 + rng.random_range(0..3);
        (
            format!("ip saddr . tcp dport {{ 10.1.0.0/24 . {low}-2005, 10.9.0.0/16 . 1-65535 }}"),
            vec![udp4(), tcp4()],
        )
    }),
    ("concatenation with meta", IP6, |_| {
        (
            "meta l4proto . th dport { 6 . 2000, 17 . 2001 }".into(),
            vec![udp6(), tcp6(), echo6()],
        )
    }),
    ("map", IP4, |rng| {
        let value = rng.random_range(0..3);
        (
            format!("meta mark set udp dport map {{ 2000 : {value}, 2001 : 7 }} meta mark {value}"),
            vec![udp4(), tcp4()],
        )
    }),
    ("map of prefixes", IP4, |_| {
        (
            "meta mark set ip saddr map { 10.1.0.0/16 : 5, 10.2.0.0/16 : 6 } meta mark 5".into(),
            vec![udp4(), tcp4()],
        )
    }),
    ("numgen inc", IP4, |_| {
        ("numgen inc mod 3 1".into(), vec![udp4(); 5])
    }),
    ("numgen inc offset", IP4, |_| {
        ("numgen inc mod 2 offset 10 11".into(), vec![udp4(); 5])
    }),
    ("jhash", IP4, |rng| {
        let seed: u32 = rng.random_range(1..1000);
        let frames = (0..8)
            .map(|port| Frame::ipv4(17, &[], &udp(port, 2000, b"x")))
            .collect();
        (
            format!("jhash ip saddr . udp sport mod 4 seed {seed:#x} < 2"),
            frames,
        )
    }),
    ("frag-off", IP4, |_| {
        ("ip frag-off & 0x4000 != 0".into(), {
            let mut df = udp4();
            df.set(Layer::Network, 49, 1, 1);
            df.finish();
            vec![df, udp4()]
        })
    }),
    ("meta iifname", LINK, |_| {
        (
            "meta iifname { \"left\", \"other\" }".into(),
            vec![udp4(), arp()],
        )
    }),
    ("meta iifname prefix", &["netdev"], |rng| {
        let name = ["le*", "ri*"].choose(rng).unwrap_or(&"le*");
        (format!("iifname \"{name}\""), vec![udp4(), arp()])
    }),
    ("meta iif", &["netdev"], |rng| {
        let name = ["left", "right"].choose(rng).unwrap_or(&"left");
        (format!("iif \"{name}\""), vec![udp4(), arp()])
    }),
    ("meta iiftype", &["netdev"], |_| {
        ("iiftype ether".into(), vec![udp4(), arp()])
    }),
    ("meta iifgroup", &["netdev"], |rng| {
        (
            format!("iifgroup {}", rng.random_range(0..2)),
            vec![udp4(), arp()],
        )
    }),
    ("shift left", IP4, |rng| {
        (
            format!(
                "meta mark set ip ttl << {} meta mark & 0x{:x}00 != 0",
                rng.random_range(2..8),
                rng.random_range(1..8)
            ),
            vec![udp4(), tcp4()],
        )
    }),
    ("mark and shift", IP4, |rng| {
        (
            format!(
                "meta mark set 0x{:x} meta mark set meta mark >> {} meta mark & 1 == 1",
                rng.random::<u32>(),
                rng.random_range(1..31)
            ),
            vec![udp4()],
        )
    }),
    ("mark xor", IP4, |rng| {
        (
            format!(
                "meta mark set 0x{:x} meta mark set meta mark ^ 0x55 meta mark & 0xf < {}",
                rng.random_range(0..256),
                rng.random_range(1..16)
            ),
            vec![udp4()],
        )
    }),
    ("negated prefix set", IP4, |rng| {
        (
            format!(
                "ip saddr != {{ 10.1.0.0/{}, 192.0.2.0/24 }}",
                rng.random_range(8..32)
            ),
            vec![
                udp4(),
                from4([10, 1, 0, 9]),
                from4([10, 9, 0, 1]),
                from4([192, 0, 2, 7]),
            ],
        )
    }),
    ("dport set iptables-like", IP4, |_| {
        (
            "meta l4proto tcp tcp dport != { 22, 80, 1999-2001 }".into(),
            vec![
                tcp4(),
                udp4(),
                Frame::ipv4(6, &[], &crate::frames::tcp(1, 81, 2, &[], b"")),
            ],
        )
    }),
    ("fragments", IP4, |rng| {
        let text = [
            "ip frag-off & 0x1fff != 0",
            "ip frag-off & 0x2000 != 0",
            "udp dport 2000",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        (
            (*text).into(),
            [vec![udp4(), tcp4()], fragments4()].concat(),
        )
    }),
    ("fragments by port of ip6", IP6, |rng| {
        let text = [
            "udp dport 2000",
            "meta l4proto 17",
            "th sport 1000",
            "frag more-fragments 1",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        (
            (*text).into(),
            [vec![udp6(), tcp6()], fragments6()].concat(),
        )
    }),
    ("truncated transport", IP4, |rng| {
        let text = [
            "tcp dport 2000",
            "tcp flags & 0x10 == 0x10",
            "th dport 2000",
            "udp length 25",
            "@th,0,8 3",
            "udp sport 1000",
            "tcp option maxseg exists",
            "icmp type 8",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        (
            (*text).into(),
            [vec![udp4(), tcp4(), echo4(), mss(9)], truncated4()].concat(),
        )
    }),
    ("truncated transport of ip6", IP6, |rng| {
        let text = [
            "tcp dport 2000",
            "th dport 2000",
            "icmpv6 type 128",
            "@th,0,8 3",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        (
            (*text).into(),
            [vec![udp6(), tcp6(), echo6()], truncated6()].concat(),
        )
    }),
    ("tagged", LINK, |rng| {
        let text = [
            "vlan id 5",
            "vlan id 5 ip saddr 10.1.0.1",
            "ether type vlan",
            "vlan type ip",
            "vlan id != 5",
            "ip saddr 10.1.0.1",
            "vlan id 5 udp dport 2000",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        (
            (*text).into(),
            vec![
                vlan(),
                udp4(),
                udp6().tagged(0x8100, 5),
                arp().tagged(0x8100, 6),
                udp4().tagged(0x88a8, 5),
            ],
        )
    }),
    ("not IP", LINK, |rng| {
        let text = [
            "ether type 0x88b5",
            "ip saddr 10.1.0.1",
            "meta protocol 0x88b5",
            "meta l4proto 17",
            "@ll,112,16 0x0102",
            "@nh,0,8 1",
            "@th,0,8 1",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        ((*text).into(), vec![other_protocol(), udp4(), arp()])
    }),
    ("meta time", IP4, |rng| {
        let text = [
            "meta time > \"2020-01-01\"",
            "meta time < \"2020-01-01\"",
            "meta time \"2020-01-01\"-\"2100-01-01\"",
        ];
        let text = text.choose(rng).unwrap_or(&text[0]);
        ((*text).into(), vec![udp4()])
    }),
    ("meta day", IP4, |rng| {
        let days = [
            "Monday",
            "Tuesday",
            "Wednesday",
            "Thursday",
            "Friday",
            "Saturday",
            "Sunday",
        ];
        let day = days.choose(rng).unwrap_or(&days[0]);
        let not = if rng.random() { "!= " } else { "" };
        (format!("meta day {not}\"{day}\""), vec![udp4()])
    }),
    ("meta hour", IP4, |rng| {
        let hour = rng.random_range(0..23);
        let not = if rng.random() { "!= " } else { "" };
        (
            format!("meta hour {not}\"{hour:02}:00\"-\"{:02}:30\"", hour + 1),
            vec![udp4()],
        )
    }),
    ("oifname", &["bridge"], |rng| {
        let name = ["right", "left"].choose(rng).unwrap_or(&"right");
        (format!("oifname \"{name}\""), vec![udp4(), arp()])
    }),
    ("oif", &["bridge"], |rng| {
        let name = ["right", "left"].choose(rng).unwrap_or(&"right");
        (format!("oif \"{name}\""), vec![udp4(), arp()])
    }),
    ("oiftype", &["bridge"], |rng| {
        let kind = ["ether", "ppp"].choose(rng).unwrap_or(&"ether");
        (format!("oiftype {kind}"), vec![udp4(), arp()])
    }),
    ("oifgroup", &["bridge"], |rng| {
        let group = ["default", "7"].choose(rng).unwrap_or(&"7");
        (format!("oifgroup {group}"), vec![udp4(), arp()])
    }),
    // The kernel's bridge has no routes, which makes every IPv6 address unreachable.
    ("fib type", &["ip"], |rng| {
        let kind = ["unicast", "multicast", "broadcast"];
        let kind = kind.choose(rng).unwrap_or(&kind[0]);
        let to = |address: [u8; 4]| {
            let mut frame = udp4();
            let value = u128::from(u32::from_be_bytes(address));
            frame.set(Layer::Network, 128, 32, value);
            frame.finish();
            frame
        };
        (
            format!("fib daddr type {kind}"),
            vec![udp4(), to([239, 1, 2, 3]), to([255; 4])],
        )
    }),
    ("anonymous chain", IP4, |rng| {
        let word = ["accept", "continue", "return"]
            .choose(rng)
            .unwrap_or(&"accept");
        let port = rng.random_range(1999..2002);
        (
            format!("udp dport >= {port} counter jump {{ udp dport 2000 {word}; counter; }}"),
            vec![udp4(), tcp4()],
        )
    }),
    ("symhash", IP4, |_| {
        // The value is the kernel's own secret: only what holds for each value is asked.
        ("symhash mod 1 0".into(), vec![udp4(), tcp4()])
    }),
];
