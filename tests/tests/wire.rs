//! The wire on real traffic: what passes, what is dropped, and that nothing is changed on the way.
//!
//! `SLUICE_TRANSFER_BYTES` sets how much the first TCP test sends in each direction, and
//! `SLUICE_REPLACEMENTS` how often the ruleset is replaced under traffic.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sluice_tests::appliance::{PORTS, Wire};
use sluice_tests::frames::{Frame, LEFT_MAC, RIGHT_MAC, udp};
use sluice_tests::needs;

const OPEN: &str = "";
const QUIET: Duration = Duration::from_millis(300);

/// Everything that a raw socket sees but the hosts' own chatter: IPv6 to groups (neighbour
/// discovery, reports of group membership) comes on its own account.
fn crafted(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    frames
        .into_iter()
        .filter(|frame| frame[..2] != [0x33, 0x33])
        .collect()
}

#[test]
fn ping_and_address_resolution_pass_in_both_families() {
    if !needs(&["ping"]) {
        return;
    }
    let wire = Wire::new(
        "table bridge t {\n chain c {\n type filter hook forward priority 0;\n ether type arp counter comment \"arp\"\n \
         icmpv6 type nd-neighbor-solicit counter comment \"nd\"\n }\n}\n",
    );
    assert!(wire.pings("10.0.0.2"), "{}", wire.daemon.log());
    assert!(wire.pings("fd00::2"));
    assert!(wire.daemon.packets("arp") >= 2);
    assert!(wire.daemon.packets("nd") >= 1);
}

/// Sends `bytes` both ways at once over one connection; each side checks every byte that it gets.
fn exchange(wire: &Wire, bytes: u64) {
    let listener = wire
        .right
        .run(|| TcpListener::bind("10.0.0.2:7000"))
        .unwrap()
        .unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| talk(listener.accept().unwrap().0, 1, 2, bytes));
        let stream = wire
            .left
            .run(|| TcpStream::connect("10.0.0.2:7000"))
            .unwrap()
            .unwrap();
        talk(stream, 2, 1, bytes);
        server.join().unwrap();
    });
}

/// Sends `bytes` of one stream while it receives and checks as many of another.
fn talk(mut stream: TcpStream, sent: u64, wanted: u64, bytes: u64) {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (pattern, mut left) = (pattern(sent), bytes);
            while left > 0 {
                let count = left.min(pattern.len() as u64) as usize;
                writer.write_all(&pattern[..count]).unwrap();
                left -= count as u64;
            }
        });
        let (pattern, mut got) = (pattern(wanted), 0);
        let mut room = vec![0; 256 << 10];
        while got < bytes {
            let count = stream.read(&mut room).unwrap();
            assert!(count > 0, "the stream ended after {got} of {bytes} bytes");
            let at = (got % pattern.len() as u64) as usize;
            let first = count.min(pattern.len() - at);
            let same = room[..first] == pattern[at..at + first]
                && room[first..count] == pattern[..count - first];
            assert!(same, "changed bytes behind the first {got}");
            got += count as u64;
        }
        assert_eq!(got, bytes);
    });
}

/// A stream that repeats only after 4 MiB and a bit, so that bytes out of place do not go unseen.
fn pattern(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take((4 << 20) / 8 + 33).flatten().collect()
}

/// A number from the environment: the long form of a test.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}

#[test]
fn tcp_arrives_intact_both_ways_with_all_offloads_on() {
    let wire = Wire::new(OPEN);
    exchange(&wire, number("SLUICE_TRANSFER_BYTES").unwrap_or(50_000_000));
}

#[test]
fn tcp_arrives_intact_with_two_workers() {
    let appliance = format!("[dataplane]\nmode = \"wire\"\nworkers = 2\n{PORTS}");
    let wire = Wire::with(&appliance, OPEN, 1500);
    exchange(&wire, 20_000_000);
}

#[test]
fn tcp_arrives_intact_with_jumbo_frames() {
    let appliance = format!("[dataplane]\nmode = \"wire\"\n{PORTS}");
    let wire = Wire::with(&appliance, OPEN, 9000);
    exchange(&wire, 20_000_000);
}

#[test]
fn tcp_arrives_intact_when_the_way_out_has_no_offloads() {
    if !needs(&["ethtool"]) {
        return;
    }
    let wire = Wire::new(OPEN);
    wire.firewall
        .sh("ethtool -K right tx off tso off gso off sg off")
        .unwrap();
    exchange(&wire, 10_000_000);
    wire.firewall
        .sh("ethtool -K right tx on tso on gso on sg on")
        .unwrap();
    exchange(&wire, 10_000_000);
}

#[test]
fn udp_of_every_size_arrives() {
    let wire = Wire::new(OPEN);
    let server = wire
        .right
        .run(|| UdpSocket::bind("10.0.0.2:7001"))
        .unwrap()
        .unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    let client = wire
        .left
        .run(|| UdpSocket::bind("10.0.0.1:0"))
        .unwrap()
        .unwrap();
    let mut buffer = [0; 2048];
    for size in 0..=1472_usize {
        let sent: Vec<u8> = (0..size).map(|at| (at + size) as u8).collect();
        client.send_to(&sent, "10.0.0.2:7001").unwrap();
        let got = server
            .recv(&mut buffer)
            .unwrap_or_else(|error| panic!("size {size}: {error}"));
        assert_eq!(buffer[..got], sent[..], "size {size}");
    }
}

#[test]
fn frames_that_are_not_ip_pass_as_they_are() {
    let wire = Wire::new(OPEN);
    let (left, right) = wire.sockets();
    let frames = [
        // LLDP, spanning tree (802.3 with LLC), an unknown EtherType, an ARP request.
        [
            &[0x01, 0x80, 0xc2, 0, 0, 0x0e][..],
            &LEFT_MAC,
            &[0x88, 0xcc],
            &[7; 50],
        ]
        .concat(),
        [
            &[0x01, 0x80, 0xc2, 0, 0, 0][..],
            &LEFT_MAC,
            &[0, 38, 0x42, 0x42, 3],
            &[0; 43],
        ]
        .concat(),
        [&RIGHT_MAC[..], &LEFT_MAC, &[0x88, 0xb5], &[9; 46]].concat(),
        Frame::arp(1).bytes,
        // Single and double VLAN tags with an IPv4 packet behind.
        Frame::ipv4(17, &[], &udp(1, 2, b"tagged"))
            .tagged(0x8100, 0x6005)
            .bytes,
        Frame::ipv4(17, &[], &udp(1, 2, b"twice"))
            .tagged(0x8100, 7)
            .tagged(0x88a8, 9)
            .bytes,
        Frame::ipv6(17, &[], &udp(1, 2, b"six"))
            .tagged(0x8100, 4095)
            .bytes,
    ];
    for frame in &frames {
        left.send(frame).unwrap();
    }
    // Tags that the receiving kernel takes off are in auxiliary data: compare what it must show.
    let got = crafted(right.drain(QUIET).unwrap());
    let untagged = |frame: &Vec<u8>| {
        let tagged = matches!(frame[12..14], [0x81, 0] | [0x88, 0xa8]);
        if tagged {
            [&frame[..12], &frame[16..]].concat()
        } else {
            frame.clone()
        }
    };
    for frame in &frames {
        assert!(
            got.contains(frame) || got.contains(&untagged(frame)),
            "{frame:02x?} is not in {got:02x?}"
        );
    }
    assert_eq!(got.len(), frames.len());
}

#[test]
fn vlan_tags_are_seen_by_rules_and_survive() {
    let ruleset = "table bridge t {\n chain c {\n type filter hook forward priority 0;\n \
                   vlan id 5 counter comment \"five\"\n vlan id 6 counter drop comment \"six\"\n }\n}\n";
    let wire = Wire::new(ruleset);
    let (left, right) = wire.sockets();
    for tag in [5, 6, 7] {
        left.send(
            &Frame::ipv4(17, &[], &udp(1, 2, b"tagged"))
                .tagged(0x8100, tag)
                .bytes,
        )
        .unwrap();
    }
    assert_eq!(crafted(right.drain(QUIET).unwrap()).len(), 2);
    assert_eq!(
        (wire.daemon.packets("five"), wire.daemon.packets("six")),
        (1, 1)
    );
}

#[test]
fn order_within_a_flow_is_kept() {
    let appliance = format!("[dataplane]\nmode = \"wire\"\nworkers = 2\n{PORTS}");
    let wire = Wire::with(&appliance, OPEN, 1500);
    let (left, right) = wire.sockets();
    // A sender that moves between processors fills two backlogs of the kernel: no order then.
    let mut here = rustix::thread::CpuSet::new();
    here.set(0);
    rustix::thread::sched_setaffinity(None, &here).unwrap();
    for number in 0..2000_u32 {
        left.send(&Frame::ipv4(17, &[], &udp(77, 78, &number.to_be_bytes())).bytes)
            .unwrap();
    }
    let got = crafted(right.drain(QUIET).unwrap());
    let numbers: Vec<u32> = got
        .iter()
        .map(|frame| u32::from_be_bytes(frame[42..46].try_into().unwrap()))
        .collect();
    // A busy machine may lose frames at a full ring; what arrives is in order.
    let turned: Vec<_> = numbers
        .windows(2)
        .filter(|pair| pair[0] >= pair[1])
        .collect();
    assert!(
        numbers.len() > 500 && turned.is_empty(),
        "{} of 2000 arrived, {turned:?}",
        numbers.len()
    );
}

#[test]
fn rules_drop_and_count_and_reasons_are_told() {
    let ruleset = "table inet t {\n chain c {\n type filter hook forward priority 0; policy accept;\n \
                   udp dport 1000 counter drop comment \"closed\"\n udp dport 1001 counter accept comment \"open\"\n }\n}\n\
                   table bridge b {\n chain c {\n type filter hook forward priority 10; policy drop;\n \
                   ether type { arp, ip6 } accept\n udp dport 1002 accept\n }\n}\n";
    let wire = Wire::new(ruleset);
    let (left, right) = wire.sockets();
    for port in [1000, 1001, 1002] {
        left.send(&Frame::ipv4(17, &[], &udp(9, port, b"x")).bytes)
            .unwrap();
    }
    let got = crafted(right.drain(QUIET).unwrap());
    assert_eq!(got.len(), 1, "{got:02x?}");
    assert_eq!(got[0][36..38], 1002_u16.to_be_bytes());
    assert_eq!(
        (wire.daemon.packets("closed"), wire.daemon.packets("open")),
        (1, 1)
    );
    let drops = wire.daemon.ok(&["drops", "--json"]);
    assert!(
        drops.contains("rule_drop") && drops.contains("policy_drop"),
        "{drops}"
    );
    let file = wire.daemon.folder().join("drops.pcapng");
    wire.daemon
        .ok(&["drops", "--pcap", &file.display().to_string()]);
    let capture = std::fs::read(&file).unwrap();
    assert!(
        capture.windows(9).any(|window| window == b"rule_drop"),
        "the capture names the reason"
    );
}

#[test]
fn replacing_the_ruleset_under_traffic_loses_nothing_and_mixes_nothing() {
    // Both rulesets let the traffic through once; a mixture would count it twice or drop it.
    let ruleset = |mark: u64| {
        format!(
            "flush ruleset\ntable inet t {{\n chain a {{\n type filter hook prerouting priority 0;\n \
             udp dport 5000 meta mark set {mark}\n }}\n chain b {{\n type filter hook forward priority 0; policy drop;\n \
             udp dport 5000 meta mark {mark} accept\n meta l4proto ipv6-icmp accept\n }}\n}}\n"
        )
    };
    let wire = Wire::new(&ruleset(1));
    let (left, right) = wire.sockets();
    let frame = Frame::ipv4(17, &[], &udp(9, 5000, b"x")).bytes;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (sent, replaced) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) && sent < 20_000_000 {
                for _ in 0..16 {
                    left.send(&frame).unwrap();
                }
                sent += 16;
                std::thread::sleep(Duration::from_micros(200));
            }
            sent
        });
        let receiver = scope.spawn(|| {
            let mut got = 0_u64;
            while right
                .receive(Duration::from_secs(1))
                .unwrap()
                .is_some_and(|frame| {
                    got += u64::from(frame[12..14] == [8, 0]);
                    true
                })
            {}
            got
        });
        for round in 0..number("SLUICE_REPLACEMENTS").unwrap_or(100) {
            wire.daemon.load(&ruleset(round % 7 + 1));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (sender.join().unwrap(), receiver.join().unwrap())
    });
    // Frames that the kernel dropped at a full ring never met a ruleset.
    let status: serde_json::Value =
        serde_json::from_str(&wire.daemon.ok(&["status", "--json"])).unwrap();
    let drops: serde_json::Value =
        serde_json::from_str(&wire.daemon.ok(&["drops", "--json"])).unwrap();
    let refused = drops["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .find(|reason| reason["reason"] == "policy_drop");
    assert_eq!(
        refused.unwrap()["frames"],
        0,
        "a packet met a mixture of two rulesets: {drops}"
    );
    let lost = sent - replaced;
    assert!(
        lost <= ring_drops(&status),
        "{lost} of {sent} frames were lost: {status}"
    );
}

/// What the kernel dropped at full rings, all ports together.
fn ring_drops(status: &serde_json::Value) -> u64 {
    let ports = status["ports"].as_array().unwrap();
    let queues = ports
        .iter()
        .flat_map(|port| port["queues"].as_array().unwrap());
    queues
        .map(|queue| queue["rx_ring_drops"].as_u64().unwrap())
        .sum()
}

#[test]
fn nothing_passes_while_the_daemon_is_dead_and_traffic_returns_with_it() {
    if !needs(&["ping"]) {
        return;
    }
    let mut wire = Wire::new(OPEN);
    assert!(wire.pings("10.0.0.2"));
    wire.daemon.kill();
    assert!(!wire.pings("10.0.0.2"));
    let firewall = wire.firewall;
    wire.daemon.kill_and_restart(&firewall);
    wire.firewall = firewall;
    assert!(wire.pings("10.0.0.2"));
    assert!(
        wire.daemon.stop(),
        "a graceful stop ends with status 0: {}",
        wire.daemon.log()
    );
}
