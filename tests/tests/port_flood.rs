//! More than a worker can carry: every frame is delivered or counted, and it recovers at once.

use std::time::{Duration, Instant};

use sluice_control::netns::Namespace;
use sluice_dataplane::DropReason;
use sluice_dataplane::port::RxCounters;
use sluice_tests::raw::RawSocket;
use sluice_tests::wire::{Plan, Wire, eventually};

/// Frames that a device has received, as the kernel counts them.
fn received(host: &Namespace) -> u64 {
    let text = host
        .run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))
        .unwrap()
        .unwrap();
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn frame() -> Vec<u8> {
    let mut frame = [&[2, 0, 0, 0, 9, 9][..], &[2, 0, 0, 0, 9, 1], &[0x99, 0x99]].concat();
    frame.resize(60, 0);
    frame
}

/// What port 0 has received, by all workers.
fn entered(wire: &Wire) -> RxCounters {
    wire.workers.refresh().unwrap();
    let mut all = RxCounters::default();
    for queue in wire
        .workers
        .queue_metrics()
        .iter()
        .filter(|q| q.port.0 == 0)
    {
        all.frames += queue.rx().frames;
        all.ring_drops += queue.rx().ring_drops;
        all.errors += queue.rx().errors;
    }
    all
}

#[test]
fn every_frame_of_a_flood_is_delivered_or_counted() {
    // A small ring, so that it overflows.
    let plan = Plan {
        slots: 32,
        ..Plan::default()
    };
    let wire = Wire::new(&plan);
    // The hosts shall say nothing of their own: what is counted is the flood.
    for host in [&wire.left, &wire.right] {
        host.sysctl("net/ipv6/conf/eth0/disable_ipv6", "1").unwrap();
    }
    std::thread::sleep(Duration::from_millis(50));
    let early = (entered(&wire), received(&wire.right));
    let stop = Instant::now() + Duration::from_millis(1500);
    let sent: u64 = std::thread::scope(|scope| {
        let flood = || {
            let socket = RawSocket::open(&wire.left, "eth0").unwrap();
            let (frame, mut sent) = (frame(), 0);
            while Instant::now() < stop {
                // The socket tries again when the backlog is full: what it took has left.
                socket.send(&frame).unwrap();
                sent += 1;
            }
            sent
        };
        let threads = [scope.spawn(flood), scope.spawn(flood)];
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    eventually("all is quiet", || {
        let before = entered(&wire);
        std::thread::sleep(Duration::from_millis(30));
        entered(&wire) == before
    });
    let (now, delivered) = (entered(&wire), received(&wire.right) - early.1);
    let (came, lost) = (
        now.frames - early.0.frames,
        now.ring_drops - early.0.ring_drops,
    );
    let refused = wire.drops(DropReason::TxFull);
    println!("sent {sent}, delivered {delivered}, ring {lost}, tx_full {refused}");
    assert_eq!(now.errors, 0);
    assert!(lost > 0, "the flood was one");
    assert_eq!(
        sent,
        came + lost,
        "what was sent came, or was dropped at the ring"
    );
    assert_eq!(
        came,
        delivered + refused,
        "what came was delivered, or dropped at the way out"
    );
    assert_eq!(
        wire.all_drops().iter().map(|(_, n)| n).sum::<u64>(),
        refused
    );
    // It recovers at once.
    wire.left.sh("ping -c 3 -i 0.01 -W 1 10.0.0.2").unwrap();
}
