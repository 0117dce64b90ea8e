//! The wire of the real drivers between two hosts with default devices: everything passes,
//! nothing is changed, everything is counted.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sluice_dataplane::DropReason;
use sluice_dataplane::worker::Wait;
use sluice_tests::wire::{Plan, Wire, eventually};

fn ping(wire: &Wire, arguments: &str) -> String {
    wire.left
        .sh(&format!("ping -i 0.01 -W 2 {arguments}"))
        .unwrap()
}

/// Sends `bytes` pseudo-random bytes over TCP and checks each of them at the far end.
fn tcp(
    from: &sluice_control::netns::Namespace,
    to: &sluice_control::netns::Namespace,
    at: &str,
    bytes: usize,
) {
    let address: SocketAddr = at.parse().unwrap();
    let listener = to.run(|| TcpListener::bind(address)).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = from
        .run(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))
        .unwrap()
        .unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client
        .set_write_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let pattern: Vec<u8> = (0..1 << 20)
        .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut left = bytes;
            while left > 0 {
                let count = left.min(pattern.len());
                client.write_all(&pattern[..count]).unwrap();
                left -= count;
            }
            client.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut got = 0;
        let mut room = vec![0; 1 << 18];
        loop {
            let count = server.read(&mut room).unwrap();
            if count == 0 {
                break;
            }
            for (n, &byte) in room[..count].iter().enumerate() {
                if byte != pattern[(got + n) & 0xf_ffff] {
                    panic!("byte {} is wrong", got + n);
                }
            }
            got += count;
        }
        assert_eq!(got, bytes);
    });
}

#[test]
fn hosts_with_default_devices_talk_through_the_wire() {
    let wire = Wire::new(&Plan::default());
    for to in ["10.0.0.2", "fd00::2"] {
        assert!(ping(&wire, &format!("-c 5 {to}")).contains("5 received"));
        ping(&wire, &format!("-c 2 -s 1400 {to}"));
    }
    tcp(&wire.left, &wire.right, "10.0.0.2:0", 64 << 20);
    tcp(&wire.right, &wire.left, "10.0.0.1:0", 64 << 20);
    tcp(&wire.left, &wire.right, "[fd00::2]:0", 32 << 20);
    assert_eq!(wire.all_drops(), []);
    wire.workers.refresh().unwrap();
    let queues = wire.workers.queue_metrics();
    let mean = queues[0].rx().bytes / queues[0].rx().frames;
    assert!(mean > 3000, "super-frames came whole: {mean} bytes a frame");
    assert_eq!(queues[0].rx().errors, 0);
}

#[test]
fn every_size_of_udp_passes_unchanged() {
    let wire = Wire::new(&Plan::default());
    let (from, to) = udp_pair(&wire);
    let mut room = [0; 2000];
    for size in 0..=1472 {
        let payload: Vec<u8> = (0..size).map(|n| (n * 7 + size) as u8).collect();
        assert_eq!(from.send(&payload).unwrap(), size);
        let got = to.recv(&mut room).unwrap();
        assert_eq!(room[..got], payload, "{size} bytes");
    }
    assert_eq!(wire.all_drops(), []);
}

fn udp_pair(wire: &Wire) -> (UdpSocket, UdpSocket) {
    let to = wire
        .right
        .run(|| UdpSocket::bind("10.0.0.2:0"))
        .unwrap()
        .unwrap();
    let from = wire
        .left
        .run(|| UdpSocket::bind("10.0.0.1:0"))
        .unwrap()
        .unwrap();
    from.connect(to.local_addr().unwrap()).unwrap();
    to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    (from, to)
}

#[test]
fn udp_super_frames_leave_as_their_segments() {
    let wire = Wire::new(&Plan::default());
    let (from, to) = udp_pair(&wire);
    rustix::net::sockopt::set_socket_recv_buffer_size(&to, 1 << 20).unwrap();
    segment(&from, 1000);
    let payload: Vec<u8> = (0..40_000u32).map(|n| (n / 1000) as u8).collect();
    from.send(&payload).unwrap();
    let mut room = [0; 2000];
    for number in 0..40 {
        assert_eq!(to.recv(&mut room).unwrap(), 1000);
        assert_eq!(room[..1000], [number; 1000]);
    }
    wire.workers.refresh().unwrap();
    let largest = wire.workers.queue_metrics()[0].rx();
    assert!(
        largest.bytes > 40_000 && largest.frames < 30,
        "it came whole: {largest:?}"
    );
}

/// UDP_SEGMENT
#[allow(unsafe_code)]
fn segment(socket: &UdpSocket, size: libc::c_int) {
    use std::os::fd::AsRawFd;
    // SAFETY: the pointer and the length describe `size`.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const size).cast(),
            4,
        )
    };
    assert_eq!(done, 0);
}

#[test]
fn two_workers_carry_many_flows() {
    let plan = Plan {
        workers: 2,
        ..Plan::default()
    };
    let wire = Wire::new(&plan);
    let to = wire
        .right
        .run(|| UdpSocket::bind("10.0.0.2:0"))
        .unwrap()
        .unwrap();
    to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..64 {
        let from = wire
            .left
            .run(|| UdpSocket::bind("10.0.0.1:0"))
            .unwrap()
            .unwrap();
        from.connect(to.local_addr().unwrap()).unwrap();
        for number in 0..10u8 {
            from.send(&[number]).unwrap();
        }
        for number in 0..10u8 {
            let mut room = [0; 8];
            to.recv(&mut room).unwrap();
            assert_eq!(room[0], number, "in order within the flow");
        }
    }
    tcp(&wire.left, &wire.right, "10.0.0.2:0", 16 << 20);
    for metrics in wire.workers.metrics() {
        assert!(
            metrics.frames() > 50,
            "worker {} had its share",
            metrics.worker
        );
    }
    assert_eq!(wire.all_drops(), []);
}

#[test]
fn jumbo_frames_pass_and_what_does_not_fit_is_named() {
    let plan = Plan {
        mtu: 9000,
        ..Plan::default()
    };
    let wire = Wire::new(&plan);
    ping(&wire, "-c 3 -M do -s 8972 10.0.0.2");
    tcp(&wire.left, &wire.right, "10.0.0.2:0", 16 << 20);
    assert_eq!(wire.all_drops(), []);
    wire.middle.set_mtu("b", 1500).unwrap();
    eventually("the new MTU is known", || wire.links[1].mtu() == 1500);
    let lost = wire.left.sh("ping -c 1 -W 1 -M do -s 8972 10.0.0.2");
    assert!(lost.is_err());
    assert_eq!(wire.drops(DropReason::FrameTooLarge), 1);
    let dropped = wire.workers.dropped_frames().unwrap();
    let dropped = dropped.last().into_iter().collect::<Vec<_>>();
    assert_eq!(
        (dropped[0].len, dropped[0].reason),
        (9014, DropReason::FrameTooLarge)
    );
}

#[test]
fn a_way_out_without_offloads_gets_frames_that_the_kernel_cut() {
    let wire = Wire::new(&Plan::default());
    for device in ["a", "b"] {
        wire.middle
            .sh(&format!(
                "ethtool -K {device} tso off gso off tx off sg off"
            ))
            .unwrap();
    }
    eventually("the change is seen", || {
        wire.links.iter().all(|link| link.offloads().0 == 0)
    });
    tcp(&wire.left, &wire.right, "10.0.0.2:0", 32 << 20);
    tcp(&wire.right, &wire.left, "[fd00::1]:0", 32 << 20);
    assert_eq!(wire.all_drops(), []);
    for device in ["a", "b"] {
        wire.middle
            .sh(&format!("ethtool -K {device} tx on sg on tso on gso on"))
            .unwrap();
    }
    eventually("they are back", || {
        wire.links.iter().all(|link| link.offloads().0 == 15)
    });
    tcp(&wire.left, &wire.right, "10.0.0.2:0", 32 << 20);
    assert_eq!(wire.all_drops(), []);
}

#[test]
fn every_way_of_waiting_carries_traffic() {
    for wait in [Wait::Poll, Wait::Busy] {
        let plan = Plan {
            wait,
            ..Plan::default()
        };
        let wire = Wire::new(&plan);
        ping(&wire, "-c 5 10.0.0.2");
    }
}

#[test]
fn a_device_that_goes_down_and_up_carries_again() {
    let wire = Wire::new(&Plan::default());
    ping(&wire, "-c 1 10.0.0.2");
    wire.middle.set_down("b").unwrap();
    eventually("it is known to be down", || !wire.links[1].is_up());
    assert!(wire.left.sh("ping -c 2 -i 0.1 -W 1 10.0.0.2").is_err());
    assert!(wire.drops(DropReason::PortDown) >= 1);
    wire.middle.set_up("b").unwrap();
    eventually("it is up again", || wire.links[1].is_up());
    ping(&wire, "-c 3 10.0.0.2");
}
