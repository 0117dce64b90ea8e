//! Devices: which are refused and why, what preparing changes and undoes, the way around the
//! firewall that is closed, ports that come and go.

use std::time::Duration;

use sluice_control::netns::Namespace;
use sluice_control::opener::{LinkChange, OpenError, Opener, OpenerProcess, Use};
use sluice_dataplane::DropReason;
use sluice_dataplane::port::PortId;
use sluice_tests::raw::RawSocket;
use sluice_tests::wire::{Peers, Plan, Wire, eventually, hosts, request};

fn opener() -> Opener {
    OpenerProcess::on_thread().unwrap().connect(|_| {}).unwrap()
}

/// Who has `address`? Asked by 10.0.0.1 of the left host.
fn arp_request(mac: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    let head: &[u8] = &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    let parts: [&[u8]; 7] = [
        &[0xff; 6],
        &mac,
        head,
        &mac,
        &[10, 0, 0, 1],
        &[0; 6],
        &address,
    ];
    parts.concat()
}

/// Whether someone answers an ARP request from the left host.
fn is_answered(left: &Namespace, address: [u8; 4]) -> bool {
    let socket = RawSocket::open(left, "eth0").unwrap();
    socket
        .send(&arp_request(left.mac("eth0").unwrap(), address))
        .unwrap();
    let frames = socket.drain(Duration::from_millis(150)).unwrap();
    frames
        .iter()
        .any(|f| f[12..14] == [8, 6] && f[20..22] == [0, 2] && f[28..32] == address)
}

/// Gives the middle an address on another device: the one that Linux must not answer for.
fn other_address(middle: &Namespace) -> [u8; 4] {
    middle.add_veth("other0", middle, "other1").unwrap();
    middle.set_up("other0").unwrap();
    middle.add_address("other0", "10.9.9.9/24").unwrap();
    [10, 9, 9, 9]
}

#[test]
fn the_kernel_does_not_answer_through_a_port_even_after_the_daemon_died() {
    let (left, middle, _right) = hosts(1500).unwrap();
    let address = other_address(&middle);
    middle.set_up("a").unwrap();
    assert!(
        is_answered(&left, address),
        "without a firewall Linux answers: the test can fail"
    );

    let plan = Plan::default();
    let first = opener();
    let opened = first.open(&request(&middle, "a", 0, &plan)).unwrap();
    assert!(!is_answered(&left, address), "open: closed behind the tap");
    first.abandon();
    drop(opened);
    assert!(!is_answered(&left, address), "dead: still closed");
    // Nobody opens it by accident.
    middle.sh("nft flush ruleset").unwrap();

    let second = opener();
    let opened = second.open(&request(&middle, "a", 0, &plan)).unwrap();
    middle.sh("nft flush ruleset").unwrap();
    assert!(!is_answered(&left, address), "taken over");
    drop(opened);
    drop(second);
    assert!(is_answered(&left, address), "an orderly end undoes it");
}

#[test]
fn a_device_with_an_address_is_refused_or_prepared_and_given_back() {
    let (_left, middle, _right) = hosts(1500).unwrap();
    middle.set_up("a").unwrap();
    middle.add_address("a", "10.0.0.3/24").unwrap();
    middle.sh("ip address add 10.0.0.4/24 dev a").unwrap();
    let opener = opener();
    let plan = Plan::default();
    let error = opener.open(&request(&middle, "a", 0, &plan)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the kernel itself uses a: it has the address 10.0.0.3/24 \
         (to mend it: ip address flush dev a)"
    );
    let mut prepared = request(&middle, "a", 0, &plan);
    prepared.prepare = true;
    let opened = opener.open(&prepared).unwrap();
    let shown = middle.sh("ip -4 address show dev a").unwrap();
    assert!(!shown.contains("inet "), "{shown}");
    drop(opened);
    opener.close(0).unwrap();
    let shown = middle.sh("ip -4 address show dev a").unwrap();
    assert!(
        shown.contains("10.0.0.3/24") && shown.contains("10.0.0.4/24"),
        "{shown}"
    );
}

#[test]
fn a_bridge_port_is_refused_or_taken_out_and_given_back() {
    let (_left, middle, _right) = hosts(1500).unwrap();
    middle.add_bridge("br0", &["a"]).unwrap();
    let opener = opener();
    let mut wanted = request(&middle, "a", 0, &Plan::default());
    let error = opener.open(&wanted).unwrap_err();
    let OpenError::Served { by, mend, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(by, Use::Master("br0".to_owned()));
    middle.sh(&mend).unwrap();
    middle.sh("ip link set dev a master br0").unwrap();
    wanted.prepare = true;
    drop(opener.open(&wanted).unwrap());
    assert!(!middle.sh("ip link show dev a").unwrap().contains("master"));
    opener.close(0).unwrap();
    assert!(
        middle
            .sh("ip link show dev a")
            .unwrap()
            .contains("master br0")
    );
}

#[test]
fn what_cannot_be_a_port_is_refused_by_name() {
    let (_left, middle, _right) = hosts(1500).unwrap();
    let opener = opener();
    let plan = Plan::default();
    let refused = |device: &str| {
        opener
            .open(&request(&middle, device, 0, &plan))
            .unwrap_err()
    };
    assert!(matches!(refused("nothing"), OpenError::NoDevice { .. }));
    assert!(matches!(refused("lo"), OpenError::NotEthernet { .. }));
    let mut elsewhere = request(&middle, "a", 0, &plan);
    elsewhere.device = "no-such-namespace:a".to_owned();
    assert!(matches!(
        opener.open(&elsewhere),
        Err(OpenError::NoNamespace { .. })
    ));
    let mut many = request(&middle, "a", 0, &plan);
    many.queues = 0;
    assert!(matches!(
        opener.open(&many),
        Err(OpenError::Queues { queues: 0 })
    ));
    let opened = opener.open(&request(&middle, "a", 0, &plan)).unwrap();
    let again = opener.open(&request(&middle, "a", 1, &plan)).unwrap_err();
    assert!(matches!(again, OpenError::Open { port: 0, .. }), "{again}");
    drop(opened);
}

#[test]
fn a_device_that_was_down_is_brought_up_without_a_word_of_ipv6_and_taken_down_again() {
    let (_left, middle, _right) = hosts(1500).unwrap();
    middle.sysctl("net/ipv6/conf/a/disable_ipv6", "0").unwrap();
    let opener = opener();
    let opened = opener
        .open(&request(&middle, "a", 0, &Plan::default()))
        .unwrap();
    eventually("it is up", || opened.link.is_up());
    assert_eq!(opened.kind, "veth");
    assert_eq!(opened.mac, middle.mac("a").unwrap());
    assert_eq!(middle.sh("ip -6 address show dev a").unwrap(), "");
    drop(opened);
    drop(opener);
    assert!(
        middle
            .sh("ip link show dev a")
            .unwrap()
            .contains("state DOWN")
    );
    let setting = middle.run(|| std::fs::read_to_string("/proc/sys/net/ipv6/conf/a/disable_ipv6"));
    assert_eq!(setting.unwrap().unwrap().trim(), "0");
}

#[test]
fn ports_are_added_and_removed_while_traffic_flows() {
    let plan = Plan {
        workers: 2,
        ..Plan::default()
    };
    let wire = Wire::new(&plan);
    let far = Namespace::new("far").unwrap();
    far.add_veth("eth0", &wire.middle, "c").unwrap();
    far.set_up("eth0").unwrap();
    far.add_address("eth0", "10.0.0.2/24").unwrap();
    for round in 0..5 {
        wire.left.sh("ping -c 2 -i 0.01 -W 1 10.0.0.2").unwrap();
        // The left host's peer becomes the new port, and the old port goes.
        let new = PortId(2 + round);
        let device = if round % 2 == 0 { "c" } else { "b" };
        let old = if round == 0 {
            PortId(1)
        } else {
            PortId(1 + round)
        };
        let opened = wire.open(device, new.0, &plan).unwrap();
        let link = opened.link.clone();
        wire.workers.add_port(new, opened.queues).unwrap();
        let mut peers = vec![None; 16];
        peers[0] = Some(new);
        peers[usize::from(new.0)] = Some(PortId(0));
        wire.peers.store(std::sync::Arc::new(Peers(peers)));
        let queues = wire.workers.remove_port(old).unwrap();
        assert_eq!(queues.len(), 2);
        drop(queues);
        wire.opener.close(old.0).unwrap();
        eventually("the new port is up", || link.is_up());
        wire.left.sh("ip neigh flush all").unwrap();
        wire.left.sh("ping -c 2 -i 0.01 -W 1 10.0.0.2").unwrap();
    }
    assert_eq!(wire.workers.queue_metrics().len(), 4);
    assert_eq!(wire.drops(DropReason::WorkerPanic), 0);
}

#[test]
fn a_device_that_disappears_and_returns_is_told() {
    let wire = Wire::new(&Plan::default());
    let heard = |change| {
        wire.events
            .lock()
            .unwrap()
            .iter()
            .any(|e| e.port == 1 && e.change == change)
    };
    wire.middle.remove_link("b").unwrap();
    eventually("it is gone", || heard(LinkChange::Gone));
    assert!(!wire.links[1].is_up());
    assert!(wire.left.sh("ping -c 1 -W 1 10.0.0.2").is_err());
    wire.right.add_veth("eth0", &wire.middle, "b").unwrap();
    wire.right.set_up("eth0").unwrap();
    wire.right.add_address("eth0", "10.0.0.2/24").unwrap();
    eventually("it is back", || heard(LinkChange::Back));
    drop(wire.workers.remove_port(PortId(1)).unwrap());
    wire.opener.close(1).unwrap();
    let opened = wire.open("b", 1, &Plan::default()).unwrap();
    wire.workers.add_port(PortId(1), opened.queues).unwrap();
    wire.left.sh("ip neigh flush all").unwrap();
    eventually("traffic flows again", || {
        wire.left.sh("ping -c 1 -W 1 10.0.0.2").is_ok()
    });
}
