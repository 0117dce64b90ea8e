//! What is carried on: one hop less, routes, several next hops, marks.

use super::*;

#[test]
fn a_packet_goes_on_with_one_hop_less_and_new_link_addresses() {
    let mut bed = Bed::new();
    bed.introduce();
    for (from, to) in [
        ("10.0.1.9", "198.51.100.7"),
        ("2001:db8:1::9", "2001:db8:ffff::7"),
    ] {
        let frame = udp(0, from, to, 30);
        let (port, sent, _) = only(bed.receive(0, std::slice::from_ref(&frame)));
        assert_eq!(port, 1);
        assert_eq!(sent[..6], STATIONS[1]);
        assert_eq!(sent[6..12], MACS[1]);
        let hops = if at(from).is_v4() { 22 } else { 21 };
        assert_eq!(sent[hops], 63);
        let mut expected = change(&frame, hops, &[63]);
        expected[..12].copy_from_slice(&sent[..12]);
        assert_eq!(sent, expected, "nothing else is changed");
    }
    assert_eq!(bed.drops, []);
}

#[test]
fn a_port_that_is_down_gives_way_to_another_route() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.routes.push(Route {
        metric: 9,
        ..route("0.0.0.0/0", "10.0.1.9", 0)
    });
    bed.publish();
    let packet = udp(0, "10.0.1.9", "198.51.100.7", 4);
    assert_eq!(only(bed.receive(0, std::slice::from_ref(&packet))).0, 1);
    bed.links[1].set(false, 1500, Offloads::ALL);
    assert_eq!(only(bed.receive(0, std::slice::from_ref(&packet))).0, 0);
    bed.links[1].set(true, 1500, Offloads::ALL);
    assert_eq!(only(bed.receive(0, &[packet])).0, 1);
}

#[test]
fn several_next_hops_share_flows_and_keep_each_flow() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.receive(1, &[arp_request(1, "10.0.2.253", "10.0.2.1")]);
    let mut many = route("0.0.0.0/0", "10.0.2.254", 1);
    many.hops.push(Hop {
        port: PortId(0),
        via: Some(at("10.0.1.9")),
        weight: 1,
    });
    bed.routes = vec![many];
    bed.publish();
    let mut ports = [0; 2];
    for n in 0..200u16 {
        let frame = change(&udp(0, "10.0.1.9", "198.51.100.7", 4), 34, &n.to_be_bytes());
        let first = only(bed.receive(0, std::slice::from_ref(&frame))).0;
        assert_eq!(only(bed.receive(0, &[frame])).0, first);
        ports[usize::from(first)] += 1;
    }
    assert!(ports.iter().all(|count| *count > 50), "{ports:?}");
}

#[test]
fn forwarding_brings_forth_nothing_and_remembers_its_ways() {
    let mut bed = Bed::new();
    bed.introduce();
    let batch = vec![udp(0, "10.0.1.9", "198.51.100.7", 4); 64];
    for _ in 0..3 {
        assert_eq!(bed.receive(0, &batch).len(), 64);
    }
    assert_eq!(bed.drops, []);
}

#[test]
fn a_mark_chooses_a_table() {
    // Without rules nothing sets a mark: 0 is one, too.
    let mut bed = Bed::new();
    bed.introduce();
    bed.routes.push(Route {
        table: 100,
        ..route("0.0.0.0/0", "10.0.1.9", 0)
    });
    let packet = udp(0, "10.0.1.9", "198.51.100.7", 4);
    bed.publish();
    assert_eq!(only(bed.receive(0, std::slice::from_ref(&packet))).0, 1);
    bed.marks.push(MarkRule {
        mark: 0,
        mask: u32::MAX,
        table: 100,
    });
    bed.publish();
    assert_eq!(only(bed.receive(0, &[packet])).0, 0);
}
