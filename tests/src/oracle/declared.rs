//! Constructs that need something declared in the table: named sets, maps, verdict maps, objects,
//! and elements that packets add.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::bases::*;
use crate::frames::Frame;

/// From a name that is free in the table: declarations, text of the rule, frames.
pub type Declared = fn(&mut SmallRng, &str) -> (String, String, Vec<Frame>);

/// Name, families that see its frames, maker.
pub const DECLARED: &[(&str, &[&str], Declared)] = &[
    ("named set", IP4, |rng, name| {
        let port = 1999 + rng.random_range(0..3);
        (
            format!(
                "set {name} {{ type inet_service; elements = {{ {port}, 80, 443, 2010-2012 }}; flags interval; }}"
            ),
            format!("udp dport @{name}"),
            ports4(),
        )
    }),
    ("named set exact", IP4, |rng, name| {
        let port = 1999 + rng.random_range(0..3);
        (
            format!("set {name} {{ type inet_service; elements = {{ {port}, 80, 443 }}; }}"),
            format!("udp dport != @{name}"),
            ports4(),
        )
    }),
    ("named set with counters", IP4, |rng, name| {
        let port = 2000 + rng.random_range(0..2);
        (
            format!("set {name} {{ type inet_service; counter; elements = {{ {port} }}; }}"),
            format!("udp dport @{name}"),
            ports4(),
        )
    }),
    ("named set of prefixes", IP4, |rng, name| {
        let length = rng.random_range(9..32);
        (
            format!(
                "set {name} {{ type ipv4_addr; flags interval; auto-merge; elements = {{ 10.1.0.0/{length}, 10.1.0.0/24, 192.0.2.0/25 }}; }}"
            ),
            format!("ip saddr @{name}"),
            sources4(),
        )
    }),
    ("named set of timeouts", IP4, |rng, name| {
        let port = 2000 + rng.random_range(0..2);
        (
            format!(
                "set {name} {{ type inet_service; flags timeout; timeout 1d; elements = {{ {port} timeout 2d }}; }}"
            ),
            format!("udp dport @{name}"),
            ports4(),
        )
    }),
    ("named set of ip6", IP6, |rng, name| {
        (
            format!(
                "set {name} {{ type ipv6_addr; flags interval; elements = {{ fd00:1::/{}, 2001:db8::1 }}; }}",
                rng.random_range(17..128)
            ),
            format!("ip6 saddr @{name}"),
            vec![udp6(), tcp6(), from6(2), from6(0xffff_0000)],
        )
    }),
    ("named concatenation", IP4, |rng, name| {
        let port = 2000 + rng.random_range(0..2);
        (
            format!(
                "set {name} {{ type ipv4_addr . inet_service; elements = {{ 10.1.0.1 . {port}, 10.1.0.9 . 2000 }}; }}"
            ),
            format!("ip saddr . udp dport @{name}"),
            [ports4(), sources4()].concat(),
        )
    }),
    ("named concatenation of intervals", IP4, |rng, name| {
        let port = 1999 + rng.random_range(0..3);
        (
            format!(
                "set {name} {{ type ipv4_addr . inet_proto . inet_service; flags interval; elements = {{ 10.1.0.0/24 . udp . {port}-2001, 10.0.0.0/8 . tcp . 1-1000 }}; }}"
            ),
            format!("ip saddr . meta l4proto . th dport @{name}"),
            [ports4(), sources4(), vec![tcp4()]].concat(),
        )
    }),
    ("named set of addresses of the link", LINK, |rng, name| {
        (
            format!(
                "set {name} {{ type ether_addr; elements = {{ 02:00:00:00:00:{:02x}, 02:00:00:00:00:0b }}; }}",
                rng.random_range(9..11)
            ),
            format!("ether saddr @{name}"),
            vec![udp4(), arp()],
        )
    }),
    ("named map", IP4, |rng, name| {
        let value = rng.random_range(0..3);
        (
            format!(
                "map {name} {{ type inet_service : mark; elements = {{ 2000 : {value}, 2001 : 1 }}; }}"
            ),
            format!("meta mark set udp dport map @{name} meta mark 1"),
            ports4(),
        )
    }),
    ("named map of intervals", IP4, |rng, name| {
        let low = rng.random_range(1990..2001);
        (
            format!(
                "map {name} {{ type inet_service : mark; flags interval; elements = {{ {low}-2000 : 1, 2001-2005 : 2 }}; }}"
            ),
            format!("meta mark set udp dport map @{name} meta mark 1"),
            ports4(),
        )
    }),
    ("named map with a catch-all", IP4, |rng, name| {
        let port = rng.random_range(1999..2002);
        (
            format!(
                "map {name} {{ type inet_service : mark; elements = {{ {port} : 1, * : 2 }}; }}"
            ),
            format!("meta mark set udp dport map @{name} meta mark 2"),
            ports4(),
        )
    }),
    ("catch-all of a set", IP4, |rng, name| {
        let port = rng.random_range(1999..2002);
        (
            format!(
                "set {name} {{ type inet_service; counter; elements = {{ {port} counter, * counter }}; }}"
            ),
            format!("udp dport @{name}"),
            [ports4(), vec![tcp4()]].concat(),
        )
    }),
    ("vmap", IP4, |rng, name| {
        let (port, word) = (rng.random_range(1999..2002), jumped(rng));
        (
            format!("chain {name} {{ counter; }}"),
            format!(
                "udp dport vmap {{ {port} : {word} {name}, 2005 : drop, 2002 : continue, 2010-2020 : accept }}"
            ),
            ports4(),
        )
    }),
    ("vmap of protocols", IP4, |rng, name| {
        let word = jumped(rng);
        (
            format!("chain {name} {{ counter; }}"),
            format!("ip protocol vmap {{ udp : {word} {name}, tcp : continue, 132 : drop }}"),
            vec![udp4(), tcp4(), sctp(), esp()],
        )
    }),
    ("vmap with a catch-all", IP4, |rng, name| {
        let word = jumped(rng);
        (
            format!("chain {name} {{ counter; }}"),
            format!("udp dport vmap {{ 2000 : {word} {name}, * : continue }}"),
            [ports4(), vec![tcp4()]].concat(),
        )
    }),
    ("named vmap", IP4, |rng, name| {
        let (port, word) = (rng.random_range(1999..2002), jumped(rng));
        (
            format!(
                "chain {name}c {{ counter; return; }}\nmap {name} {{ type inet_service : verdict; elements = {{ {port} : {word} {name}c, 2005 : drop, 2003 : continue, 2004 : return }}; }}"
            ),
            format!("udp dport vmap @{name}"),
            ports4(),
        )
    }),
    ("named vmap of a concatenation", IP4, |rng, name| {
        let port = rng.random_range(1999..2002);
        (
            format!(
                "map {name} {{ type ipv4_addr . inet_service : verdict; flags interval; elements = {{ 10.0.0.0/8 . {port}-2001 : continue, 10.0.0.0/8 . 2002 : drop }}; }}"
            ),
            format!("ip saddr . udp dport vmap @{name}"),
            [ports4(), sources4()].concat(),
        )
    }),
    ("jump", IP4, |rng, name| {
        let port = rng.random_range(1999..2002);
        let word = ["accept", "return", "drop"].choose(rng).unwrap_or(&"drop");
        (
            format!("chain {name} {{ udp dport {port} {word}; counter; }}"),
            format!("udp dport >= {port} counter jump {name}"),
            ports4(),
        )
    }),
    ("goto", IP4, |rng, name| {
        let port = rng.random_range(1999..2002);
        (
            format!("chain {name} {{ counter; }}"),
            format!("udp dport {port} counter goto {name}"),
            ports4(),
        )
    }),
    ("add to a set", IP4, |rng, name| {
        let word = if rng.random() { "add" } else { "update" };
        (
            format!("set {name} {{ type inet_service; flags dynamic; size 64; }}"),
            format!("udp dport > 2001 {word} @{name} {{ udp dport }} udp sport @{name}"),
            added(),
        )
    }),
    ("add with a timeout", IP4, |rng, name| {
        let word = if rng.random() { "add" } else { "update" };
        (
            format!("set {name} {{ type ipv4_addr; flags dynamic,timeout; size 64; timeout 1d; }}"),
            format!("{word} @{name} {{ ip saddr timeout 2d }} ip daddr != @{name}"),
            sources4(),
        )
    }),
    ("add to a full set", IP4, |rng, name| {
        (
            format!(
                "set {name} {{ type ipv4_addr; flags dynamic; size {}; }}",
                rng.random_range(1..4)
            ),
            format!("add @{name} {{ ip saddr }}"),
            sources4(),
        )
    }),
    ("delete from a set", IP4, |_, name| {
        (
            format!(
                "set {name} {{ type inet_service; flags dynamic; size 64; elements = {{ 2001, 2003 }}; }}"
            ),
            format!("udp dport @{name} delete @{name} {{ udp dport }}"),
            [ports4(), ports4()].concat(),
        )
    }),
    ("add to a map", IP4, |_, name| {
        (
            format!("map {name} {{ type inet_service : mark; flags dynamic; size 64; }}"),
            format!(
                "add @{name} {{ udp dport : 0x7 }} meta mark set udp sport map @{name} meta mark 7"
            ),
            added(),
        )
    }),
    ("add with a counter", IP4, |_, name| {
        (
            format!("set {name} {{ type ipv4_addr; flags dynamic; size 64; }}"),
            format!("add @{name} {{ ip saddr counter }}"),
            [sources4(), sources4()].concat(),
        )
    }),
    ("meter with a limit", IP4, |rng, name| {
        let over = if rng.random() { "over " } else { "" };
        (
            String::new(),
            format!("meter {name} size 64 {{ ip saddr limit rate {over}1/day burst 2 packets }}"),
            [sources4(), sources4(), sources4()].concat(),
        )
    }),
    ("element with a limit", IP4, |_, name| {
        (
            format!("set {name} {{ type ipv4_addr; flags dynamic; size 64; }}"),
            format!("add @{name} {{ ip saddr limit rate 1/day burst 1 packets }}"),
            [sources4(), sources4()].concat(),
        )
    }),
    ("counter object", IP4, |_, name| {
        (
            format!("counter {name} {{ packets 3 bytes 4; }}"),
            format!("udp dport 2000 counter name \"{name}\""),
            ports4(),
        )
    }),
    ("quota object", IP4, |rng, name| {
        (
            format!("quota {name} {{ {} bytes; }}", rng.random_range(40..140)),
            format!("quota name \"{name}\""),
            ports4(),
        )
    }),
    ("quota object over", IP4, |rng, name| {
        (
            format!(
                "quota {name} {{ over {} bytes; }}",
                rng.random_range(40..140)
            ),
            format!("quota name \"{name}\""),
            ports4(),
        )
    }),
    ("limit object", IP4, |rng, name| {
        let over = if rng.random() { "over " } else { "" };
        (
            format!("limit {name} {{ rate {over}1/day burst 2 packets; }}"),
            format!("limit name \"{name}\""),
            ports4(),
        )
    }),
    ("map of counter objects", IP4, |_, name| {
        (
            format!("counter {name}a {{ }}\ncounter {name}b {{ }}"),
            format!("counter name udp dport map {{ 2000 : \"{name}a\", 2001 : \"{name}b\" }}"),
            ports4(),
        )
    }),
    ("named map of objects", IP4, |_, name| {
        (
            format!(
                "counter {name}a {{ }}\nmap {name} {{ type inet_service : counter; elements = {{ 2000 : \"{name}a\" }}; }}"
            ),
            format!("counter name udp dport map @{name}"),
            ports4(),
        )
    }),
    ("map of quota objects", IP4, |_, name| {
        (
            format!("quota {name}a {{ 60 bytes; }}\nquota {name}b {{ over 60 bytes; }}"),
            format!("quota name udp dport map {{ 2000 : \"{name}a\", 2001-2009 : \"{name}b\" }}"),
            [ports4(), ports4()].concat(),
        )
    }),
];

fn jumped(rng: &mut SmallRng) -> &'static str {
    if rng.random() { "jump" } else { "goto" }
}

/// UDP to the ports around those that are declared.
fn ports4() -> Vec<Frame> {
    (1998..2007).map(|port| port4(1000, port)).collect()
}

/// Datagrams whose source port has been a destination port before.
fn added() -> Vec<Frame> {
    [
        (1000, 2002),
        (2002, 2003),
        (2003, 2000),
        (2000, 2004),
        (2004, 2004),
    ]
    .map(|(from, to)| port4(from, to))
    .into()
}

fn port4(from: u16, to: u16) -> Frame {
    Frame::ipv4(17, &[], &crate::frames::udp(from, to, b"x"))
}

fn sources4() -> Vec<Frame> {
    [
        [10, 1, 0, 1],
        [10, 1, 0, 9],
        [10, 1, 1, 1],
        [10, 77, 0, 1],
        [192, 0, 2, 1],
        [192, 0, 2, 200],
    ]
    .map(from4)
    .into()
}

fn from6(last: u32) -> Frame {
    let mut frame = udp6();
    frame.set(crate::frames::Layer::Network, 160, 32, u128::from(last));
    frame.finish();
    frame
}
