//! A SYN flood from random sources, and a transfer that was there before it: once through a plain stateful
//! policy, whose table is full at once, and once through the SYN proxy, which keeps nothing.
//!
//! `SLUICE_FLOOD_SYNS` says how many SYNs (300,000).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use sluice_dataplane::conntrack::FLOW_BYTES;
use sluice_tests::appliance::{PORTS, Wire};
use sluice_tests::frames::{LEFT_MAC, RIGHT_MAC};
use sluice_tests::proxied::{frame, packet};
use sluice_tests::raw::RawSocket;
use sluice_tests::tracker::Side;
use sluice_tests::wire::eventually;

/// Flows that the table holds.
const MAX: u64 = 65_536;
const PORT: u16 = 8000;
/// What a process may grow by under a flood, beside the table, which is taken at start.
const GROWTH: u64 = 24 << 20;

const STATEFUL: &str = r#"
table inet fw {
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established accept
        iifname "left" tcp dport 8000 ct state new accept
    }
}
"#;

const PROXIED: &str = r#"
table inet fw {
    chain raw {
        type filter hook prerouting priority raw; policy accept;
        iifname "left" tcp dport 8000 tcp flags syn notrack
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "left" tcp dport 8000 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        ct state established accept
        iifname "left" tcp dport 8000 ct state new accept
    }
}
"#;

fn syns() -> u64 {
    let told = std::env::var("SLUICE_FLOOD_SYNS").ok();
    told.map_or(300_000, |told| {
        told.parse().expect("SLUICE_FLOOD_SYNS is a number")
    })
}

/// Two hosts that can speak to each other without asking, and a wire with this policy between them.
fn wire(ruleset: &str) -> Wire {
    let conntrack = format!("[conntrack]\nmax = {MAX}\nloose = false\n");
    let appliance = format!("[dataplane]\nmode = \"wire\"\nworkers = 2\n{PORTS}\n{conntrack}");
    let wire = Wire::with(&appliance, ruleset, 1500);
    let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
    for (host, other, mac) in [
        (&wire.left, "10.0.0.2", RIGHT_MAC),
        (&wire.right, "10.0.0.1", LEFT_MAC),
    ] {
        let line = format!(
            "ip neigh replace {other} lladdr {} dev eth0 nud permanent",
            text(mac)
        );
        host.sh(&line).unwrap();
        // What the rules of the proxy say to clients.
        host.sysctl("net/ipv4/tcp_rmem", "4096 131072 6291456")
            .unwrap();
    }
    wire
}

/// Answers each connection with what it says.
fn serve(listener: TcpListener) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut bytes = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

fn connect(wire: &Wire) -> TcpStream {
    let connect = || TcpStream::connect(("10.0.0.2", PORT));
    let stream = wire.left.run(connect).unwrap().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends random octets and gets them back.
fn round(stream: &mut TcpStream, chance: &mut SmallRng) {
    let mut said = vec![0; 8 << 10];
    chance.fill(&mut said[..]);
    stream.write_all(&said).expect("the connection lives");
    let mut heard = vec![0; said.len()];
    stream.read_exact(&mut heard).expect("the answer comes");
    assert_eq!(said, heard, "every octet is what it was");
}

/// SYNs from random addresses of 198.18.0.0/15.
fn flood(wire: &Wire, count: u64) {
    let socket = RawSocket::open(&wire.left, "eth0").unwrap();
    let mut chance = SmallRng::seed_from_u64(1);
    let segment = sluice_dataplane::synproxy::Segment {
        dport: PORT,
        flags: sluice_dataplane::synproxy::flag::SYN,
        window: 64_240,
        ..Default::default()
    };
    let first = frame(Side::Left, &packet(false, Side::Left, &segment, &[]));
    let mut frames = vec![first; 64];
    let mut left = count;
    while left > 0 {
        let batch = left.min(frames.len() as u64) as usize;
        for frame in &mut frames[..batch] {
            address(frame, &mut chance);
        }
        socket.send_many(&frames[..batch]).unwrap();
        left -= batch as u64;
    }
}

/// Gives a SYN a source, a port and a number of its own.
fn address(frame: &mut [u8], chance: &mut SmallRng) {
    use sluice_dataplane::packet::checksum::{checksum, fold, pseudo_header, sum};
    let source = 0xc612_0000 | chance.random::<u32>() & 0x1_ffff;
    frame[26..30].copy_from_slice(&source.to_be_bytes());
    frame[30..34].copy_from_slice(&[10, 0, 0, 2]);
    frame[24..26].fill(0);
    let check = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
    frame[34..36].copy_from_slice(&chance.random::<u16>().to_be_bytes());
    frame[38..42].copy_from_slice(&chance.random::<u32>().to_be_bytes());
    frame[50..52].fill(0);
    let pseudo = pseudo_header(&frame[26..34], 6, (frame.len() - 34) as u32);
    let check = !fold(pseudo + sum(&frame[34..]));
    frame[50..52].copy_from_slice(&check.to_be_bytes());
}

/// What the daemon says of its tracker.
fn tracker(wire: &Wire) -> Value {
    serde_json::from_str(&wire.daemon.ok(&["flows", "tracker", "--json"])).expect("it is JSON")
}

fn counted(tracker: &Value, name: &str) -> u64 {
    let workers = tracker["workers"].as_array().unwrap();
    workers
        .iter()
        .map(|worker| worker[name].as_u64().unwrap())
        .sum()
}

/// Frames that came by the left port, and frames for which its rings had no room.
fn came(wire: &Wire) -> (u64, u64) {
    let status: Value = serde_json::from_str(&wire.daemon.ok(&["status", "--json"])).unwrap();
    let ports = status["ports"].as_array().unwrap();
    let left = ports.iter().find(|port| port["name"] == "left").unwrap();
    let sum = |field: &str| {
        let queues = left["queues"].as_array().unwrap();
        queues
            .iter()
            .map(|queue| queue[field].as_u64().unwrap())
            .sum()
    };
    (sum("rx_frames"), sum("rx_ring_drops"))
}

fn dropped(wire: &Wire, reason: &str) -> u64 {
    let drops: Value = serde_json::from_str(&wire.daemon.ok(&["drops", "--json"])).unwrap();
    let reasons = drops["reasons"].as_array().unwrap();
    let found = reasons.iter().find(|one| one["reason"] == reason);
    found.unwrap()["frames"].as_u64().unwrap()
}

/// Bytes of memory that the daemon has.
fn memory(wire: &Wire) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", wire.daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.unwrap().parse::<u64>().unwrap() << 10
}

/// What a flood did.
#[derive(Debug)]
struct Outcome {
    /// Most flows at a time.
    most: u64,
    /// SYNs that reached the workers.
    seen: u64,
    /// SYNs for which a ring had no room.
    lost: u64,
    /// Answers that the transfer got meanwhile.
    rounds: u64,
    /// Bytes of memory more than before.
    growth: u64,
    took: Duration,
}

/// Floods a wire while a transfer runs over a connection that was there before.
fn run(wire: &Wire) -> Outcome {
    serve(
        wire.right
            .run(|| TcpListener::bind(("10.0.0.2", PORT)))
            .unwrap()
            .unwrap(),
    );
    let mut chance = SmallRng::seed_from_u64(2);
    let mut stream = connect(wire);
    round(&mut stream, &mut chance);
    let (before, syns) = (memory(wire), syns());
    let (came_before, lost_before) = came(wire);
    let (stop, most, rounds) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let mut took = Duration::ZERO;
    std::thread::scope(|scope| {
        let transfer = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                round(&mut stream, &mut chance);
                rounds.fetch_add(1, Ordering::Relaxed);
            }
            // And once more when it is over.
            round(&mut stream, &mut chance);
        });
        let watcher = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                most.fetch_max(tracker(wire)["flows"].as_u64().unwrap(), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        flood(wire, syns);
        took = begun.elapsed();
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        transfer.join().expect("the transfer is intact");
    });
    eventually("every SYN has come or found no room", || {
        let (came, lost) = came(wire);
        came + lost >= came_before + lost_before + syns
    });
    let (_, lost) = came(wire);
    // New connections are possible as before.
    for _ in 0..5 {
        round(&mut connect(wire), &mut chance);
    }
    let lost = lost - lost_before;
    Outcome {
        most: most
            .into_inner()
            .max(tracker(wire)["flows"].as_u64().unwrap()),
        // At least: frames of the transfer were lost, too.
        seen: syns.saturating_sub(lost),
        lost,
        rounds: rounds.into_inner(),
        growth: memory(wire).saturating_sub(before),
        took,
    }
}

fn assert_bounded(wire: &Wire, outcome: &Outcome) {
    let Outcome {
        most,
        seen,
        lost,
        rounds,
        growth,
        took,
    } = outcome;
    println!(
        "{seen} SYNs seen, {lost} lost, in {took:?}; {rounds} rounds of the transfer meanwhile; \
         at most {most} flows; {growth} bytes of memory more"
    );
    // What a worker's batch has begun the other one hears of behind the batch.
    assert!(outcome.most <= MAX + 2 * 64, "{outcome:?}");
    let budget = MAX * FLOW_BYTES as u64 + GROWTH;
    assert!(outcome.growth <= budget, "{outcome:?}");
    let status: Value = serde_json::from_str(&wire.daemon.ok(&["status", "--json"])).unwrap();
    for worker in status["workers"].as_array().unwrap() {
        assert_eq!(worker["restarts"], 0);
    }
}

#[test]
fn a_syn_flood_fills_the_table_and_breaks_no_transfer() {
    let wire = wire(STATEFUL);
    let outcome = run(&wire);
    assert_bounded(&wire, &outcome);
    let tracker = tracker(&wire);
    let early = counted(&tracker, "early_drop");
    let full = dropped(&wire, "flow_table_full");
    println!("early dropped {early}, found the table full {full}");
    // Whatever did not fit into the table took the place of another one, or was refused.
    // (Now and then two SYNs have the same source and port.)
    let told_twice = outcome.seen / 10_000 + 16;
    assert!(
        early + full + MAX + told_twice >= outcome.seen,
        "{outcome:?}"
    );
    assert!(outcome.most > MAX / 2, "the table was full: {outcome:?}");
}

#[test]
fn a_syn_flood_leaves_nothing_behind_the_proxy() {
    let wire = wire(PROXIED);
    let outcome = run(&wire);
    assert_bounded(&wire, &outcome);
    let tracker = tracker(&wire);
    let proxy = &tracker["synproxy"];
    println!("{proxy}");
    // The transfer's flow, and those of the connections afterwards.
    assert!(outcome.most <= 16, "{outcome:?}");
    assert_eq!(counted(&tracker, "early_drop"), 0);
    assert_eq!(dropped(&wire, "flow_table_full"), 0);
    assert!(proxy["syn_received"].as_u64().unwrap() + outcome.lost >= syns());
    assert_eq!(proxy["cookie_valid"], 6);
}
