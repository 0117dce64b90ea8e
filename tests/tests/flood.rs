//! The whole daemon under more traffic than it can carry: its control socket answers, every frame
//! is delivered or counted under a name, and it carries everything again at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use sluice_control::netns::Namespace;
use sluice_tests::appliance::{PORTS, Wire};
use sluice_tests::frames::{Frame, udp};
use sluice_tests::raw::RawSocket;
use sluice_tests::{needs, wire::eventually};

const ALLOWED: u16 = 5000;
const FORBIDDEN: u16 = 5001;
const RULESET: &str = "table bridge t {\n chain c {\n type filter hook forward priority 0; policy accept;\n \
                       udp dport 5001 counter drop comment \"closed\"\n udp dport 5000 counter comment \"open\"\n }\n}\n";

/// What the daemon says it has counted since it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    /// Frames handed to the workers of the left port.
    came: u64,
    /// Frames that the kernel dropped at the left port's full rings.
    ring: u64,
    /// Frames that left by the right port.
    left: u64,
    /// Frames that a rule dropped.
    by_rule: u64,
    /// Frames that the way out had no room for.
    no_room: u64,
    /// Frames dropped for whatever reason.
    dropped: u64,
}

impl Counted {
    fn ask(wire: &Wire) -> Self {
        let json = |words: &[&str]| -> Value {
            serde_json::from_str(&wire.daemon.ok(words)).expect("it is JSON")
        };
        let (status, drops) = (json(&["status", "--json"]), json(&["drops", "--json"]));
        let port = |name: &str, field: &str| -> u64 {
            let ports = status["ports"].as_array().unwrap();
            let port = ports.iter().find(|port| port["name"] == name).unwrap();
            let queues = port["queues"].as_array().unwrap();
            queues.iter().map(|q| q[field].as_u64().unwrap()).sum()
        };
        let reasons = drops["reasons"].as_array().unwrap();
        let reason = |name: &str| -> u64 {
            let reason = reasons.iter().find(|reason| reason["reason"] == name);
            reason.unwrap()["frames"].as_u64().unwrap()
        };
        Self {
            came: port("left", "rx_frames"),
            ring: port("left", "rx_ring_drops"),
            left: port("right", "tx_frames"),
            by_rule: reason("rule_drop"),
            no_room: reason("tx_full"),
            dropped: reasons.iter().map(|r| r["frames"].as_u64().unwrap()).sum(),
        }
    }

    /// What has been added since `before`.
    fn since(self, before: Self) -> Self {
        Self {
            came: self.came - before.came,
            ring: self.ring - before.ring,
            left: self.left - before.left,
            by_rule: self.by_rule - before.by_rule,
            no_room: self.no_room - before.no_room,
            dropped: self.dropped - before.dropped,
        }
    }

    /// Asks until two answers in a row are the same: nothing is under way any more.
    fn at_rest(wire: &Wire) -> Self {
        let last = std::cell::Cell::new(Self::ask(wire));
        eventually("all is quiet", || {
            std::thread::sleep(Duration::from_millis(30));
            last.replace(Self::ask(wire)) == last.get()
        });
        last.get()
    }
}

/// Frames that the device of a host has received, as the kernel counts them.
fn received(host: &Namespace) -> u64 {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
    let text = text.unwrap().unwrap();
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.trim().strip_prefix("eth0:"));
    let packets = line.and_then(|line| line.split_whitespace().nth(1));
    packets.unwrap().parse().unwrap()
}

/// Sends frames to a port as fast as it can; returns how many the device took.
fn flood(wire: &Wire, port: u16, stop: &AtomicBool) -> u64 {
    let socket = RawSocket::open(&wire.left, "eth0").unwrap();
    let mut frame = Frame::ipv4(17, &[], &udp(9, port, b"flood")).bytes;
    // To a station that is not there: the right host counts it and says nothing.
    frame[..6].copy_from_slice(&[2, 0, 0, 0, 9, 9]);
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        // The socket tries again while the backlog is full: what it took has left.
        socket.send(&frame).unwrap();
        sent += 1;
    }
    sent
}

#[test]
fn a_flood_is_counted_to_the_frame_and_the_daemon_answers_meanwhile() {
    if !needs(&["ping"]) {
        return;
    }
    let appliance = format!("[dataplane]\nmode = \"wire\"\nworkers = 2\n{PORTS}");
    let wire = Wire::with(&appliance, RULESET, 1500);
    // The hosts shall say nothing of their own: what is counted is the flood.
    for host in [&wire.left, &wire.right] {
        host.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    }
    let (before, arrived_before) = (Counted::at_rest(&wire), received(&wire.right));
    let stop = AtomicBool::new(false);
    let (allowed, forbidden) = std::thread::scope(|scope| {
        let flooder = |port| {
            let (wire, stop) = (&wire, &stop);
            scope.spawn(move || flood(wire, port, stop))
        };
        let (allowed, forbidden) = (flooder(ALLOWED), flooder(FORBIDDEN));
        // Each of these is answered, and a change is carried out, in the middle of it.
        for round in 0..20 {
            wire.daemon.ok(&["status"]);
            wire.daemon
                .nft(&["add", "table", "ip", &format!("t{round}")]);
            std::thread::sleep(Duration::from_millis(50));
        }
        stop.store(true, Ordering::Relaxed);
        (allowed.join().unwrap(), forbidden.join().unwrap())
    });
    let counted = Counted::at_rest(&wire).since(before);
    let arrived = received(&wire.right) - arrived_before;
    println!("sent {allowed} + {forbidden}, arrived {arrived}, {counted:?}");
    assert_eq!(allowed + forbidden, counted.came + counted.ring);
    assert_eq!(counted.came, counted.left + counted.dropped);
    assert_eq!(counted.left, arrived);
    assert_eq!(counted.dropped, counted.by_rule + counted.no_room);
    assert_eq!(wire.daemon.packets("closed"), counted.by_rule);
    assert_eq!(wire.daemon.packets("open"), counted.left + counted.no_room);
    // It carries everything again at once.
    wire.left.sh("ping -c 5 -i 0.01 -W 1 10.0.0.2").unwrap();
    assert_eq!(
        Counted::at_rest(&wire).no_room,
        counted.no_room + before.no_room
    );
}
