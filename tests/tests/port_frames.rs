//! Frames of every kind through the wire of the real drivers: what goes in comes out, byte by byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluice_control::netns::Namespace;
use sluice_dataplane::packet::Burst;
use sluice_dataplane::port::af_packet::{self, Geometry};
use sluice_dataplane::port::{LinkState, Offloads, PortId, RxQueue};
use sluice_tests::raw::RawSocket;
use sluice_tests::wire::{Plan, Wire};

const TO: [u8; 6] = [2, 0, 0, 0, 9, 9];
const FROM: [u8; 6] = [2, 0, 0, 0, 9, 1];

/// A frame from and to addresses that nobody has, so that no host answers.
fn frame(rest: &[u8]) -> Vec<u8> {
    let mut bytes = [&TO[..], &FROM, rest].concat();
    bytes.resize(bytes.len().max(60), 0x55);
    bytes
}

/// What arrives at a host from [`FROM`], tags included: seen by the driver itself.
struct Eyes(af_packet::AfPacketRx);

impl Eyes {
    fn open(host: &Namespace) -> Self {
        let index = host.index("eth0").unwrap();
        let geometry = Geometry::default();
        let sockets = host
            .run(|| af_packet::open_queues(index, 1, geometry))
            .unwrap()
            .unwrap();
        let link = Arc::new(LinkState::new(true, 1500, Offloads::ALL));
        let sockets = sockets.into_iter().next().unwrap();
        Self(
            af_packet::attach(PortId(0), sockets, geometry, link)
                .unwrap()
                .0,
        )
    }

    /// The next `count` frames, or fewer when it is quiet for two seconds.
    fn next(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut seen = Vec::new();
        let mut last = Instant::now();
        while seen.len() < count && last.elapsed() < Duration::from_secs(2) {
            let mut burst = Burst::new();
            self.0.receive(&mut burst).unwrap();
            let ours = burst.iter().filter(|f| f.bytes()[6..12] == FROM);
            let before = seen.len();
            seen.extend(ours.map(|f| f.bytes().to_vec()));
            drop(burst);
            self.0.release();
            match seen.len() > before {
                true => last = Instant::now(),
                false => std::thread::sleep(Duration::from_micros(100)),
            }
        }
        seen
    }
}

#[test]
fn tags_and_frames_that_are_not_ip_pass_unchanged() {
    let wire = Wire::new(&Plan::default());
    let hand = RawSocket::open(&wire.left, "eth0").unwrap();
    let mut eyes = Eyes::open(&wire.right);
    let kinds: [(&str, &[u8]); 8] = [
        ("VLAN", &[0x81, 0, 0x60, 7, 8, 0, 0x45, 0, 0, 46]),
        (
            "VLAN 0 with a priority",
            &[0x81, 0, 0xe0, 0, 8, 0, 0x45, 0, 0, 46],
        ),
        ("service tag", &[0x88, 0xa8, 0, 9, 8, 6, 1, 2, 3]),
        (
            "QinQ",
            &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7, 0x86, 0xdd, 0x60, 0, 0, 0],
        ),
        ("LLDP", &[0x88, 0xcc, 2, 7, 4, 1, 2, 3, 4, 5, 6]),
        (
            "spanning tree (802.3 length)",
            &[0, 38, 0x42, 0x42, 3, 0, 0],
        ),
        ("ARP", &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]),
        ("an unknown type", &[0x99, 0x99, 1, 2, 3]),
    ];
    for (name, rest) in kinds {
        let sent = frame(rest);
        hand.send(&sent).unwrap();
        assert_eq!(eyes.next(1), [sent], "{name}");
    }
    // The largest tagged frame: 4 bytes more than the largest plain one.
    let mut largest = frame(&[0x81, 0, 0, 7, 8, 0]);
    largest.resize(1518, 0xaa);
    hand.send(&largest).unwrap();
    assert_eq!(eyes.next(1), [largest]);
    assert_eq!(wire.all_drops(), []);
}

#[test]
fn a_flow_stays_in_order_when_its_frames_change_between_slot_and_whole() {
    let plan = Plan {
        mtu: 9000,
        ..Plan::default()
    };
    let wire = Wire::new(&plan);
    let hand = RawSocket::open(&wire.left, "eth0").unwrap();
    let mut eyes = Eyes::open(&wire.right);
    let mut all = Vec::new();
    for number in 0..600u32 {
        let mut sent = frame(&[0x99, 0x99]);
        sent[14..18].copy_from_slice(&number.to_be_bytes());
        let size = [60, 4000, 1900, 8000, 1500][number as usize % 5];
        sent.resize(size, number as u8);
        hand.send(&sent).unwrap();
        all.push(sent);
    }
    assert!(eyes.next(600) == all);
    wire.workers.refresh().unwrap();
    assert_eq!(wire.all_drops(), []);
}

#[test]
fn tcp_over_vxlan_with_default_offloads() {
    let wire = Wire::new(&Plan::default());
    for (host, own, other) in [(&wire.left, 1, 2), (&wire.right, 2, 1)] {
        host.sh(&format!(
            "ip link add vx0 type vxlan id 7 local 10.0.0.{own} remote 10.0.0.{other} dstport 4789 dev eth0"
        ))
        .unwrap();
        host.set_up("vx0").unwrap();
        host.add_address("vx0", &format!("10.7.0.{own}/24"))
            .unwrap();
        host.add_address("vx0", &format!("fd07::{own}/64")).unwrap();
    }
    wire.left.sh("ping -c 2 -i 0.01 -W 2 10.7.0.2").unwrap();
    for address in ["10.7.0.2:0", "[fd07::2]:0"] {
        transfer(&wire, address, 8 << 20);
    }
    assert_eq!(wire.all_drops(), []);
    wire.workers.refresh().unwrap();
    let queues = wire.workers.queue_metrics();
    let (came, left) = (queues[0].rx(), queues[1].tx());
    assert!(
        came.bytes / came.frames > 3000,
        "super-frames came: {came:?}"
    );
    // (One may have come before the other port was there.)
    assert!(
        came.frames - left.frames <= 2,
        "each is one frame: {came:?} {left:?}"
    );
}

fn transfer(wire: &Wire, address: &str, bytes: usize) {
    let listener = wire
        .right
        .run(|| TcpListener::bind(address))
        .unwrap()
        .unwrap();
    let to = listener.local_addr().unwrap();
    let mut client = wire.left.run(|| TcpStream::connect(to)).unwrap().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let payload: Vec<u8> = (0..bytes).map(|n| (n * 31 + (n >> 11)) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.write_all(&payload).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        assert!(got == payload, "{} of {bytes} bytes, or others", got.len());
    });
}
