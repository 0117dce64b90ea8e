//! ARP and neighbour discovery, and packets that wait for their answers.

use super::*;

#[test]
fn the_first_packet_waits_for_the_answer_and_leaves_in_order() {
    let mut bed = Bed::new();
    let packets = [1, 2, 3].map(|n| udp(0, "10.0.1.9", "10.0.2.77", n));
    let (port, question, _) = only(bed.receive(0, &packets));
    assert_eq!((port, &question[..6]), (1, &[0xff; 6][..]));
    assert_eq!(question[38..42], [10, 0, 2, 77]);
    assert_eq!(question[28..32], [10, 0, 2, 1]);
    let sent = bed.receive(1, &[arp_reply(1, "10.0.2.77", "10.0.2.1")]);
    let sizes: Vec<usize> = sent.iter().map(|(_, frame, _)| frame.len()).collect();
    assert_eq!(sizes, packets.map(|packet| packet.len()));
    assert!(
        sent.iter()
            .all(|(port, frame, _)| *port == 1 && frame[..6] == STATIONS[1])
    );
    assert_eq!(bed.states(), [("10.0.2.77".to_owned(), State::Reachable)]);
    assert_eq!(bed.drops, []);
}

#[test]
fn the_same_in_ipv6() {
    let mut bed = Bed::new();
    let packet = udp(0, "2001:db8:1::9", "2001:db8:2::77", 10);
    let (port, question, _) = only(bed.receive(0, &[packet]));
    assert_eq!((port, &question[..4]), (1, &[0x33, 0x33, 0xff, 0][..]));
    let answer = advertisement(1, "2001:db8:2::77", "2001:db8:2::1");
    let (port, sent, _) = only(bed.receive(1, &[answer]));
    assert_eq!((port, &sent[..6]), (1, &STATIONS[1][..]));
    assert_eq!(bed.drops, []);
}

#[test]
fn a_neighbour_that_does_not_answer_is_unreachable() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.receive(0, &[udp(0, "10.0.1.9", "10.0.2.77", 5)]);
    bed.receive(0, &[udp(0, "2001:db8:1::9", "2001:db8:2::77", 5)]);
    let sent: Vec<Sent> = bed
        .wait(5 * SECOND)
        .into_iter()
        .filter(|(port, frame, _)| *port == 0 && frame[12..14] != [8, 6])
        .filter(|(_, frame, _)| !matches!(frame[54], 135 | 136) || frame[12..14] == [8, 0])
        .collect();
    let mut errors: Vec<_> = sent.iter().map(|(_, frame, _)| icmp(frame)).collect();
    // Which of the two is due first follows from where they lie in the table.
    errors.sort();
    assert_eq!(
        errors,
        [
            (1, 3, "2001:db8:1::1".to_owned(), 0),
            (3, 1, "10.0.1.1".to_owned(), 0)
        ]
    );
    assert_eq!(bed.drops, [DropReason::NeighbourFailed; 2]);
    // Two questions follow the first, then silence.
    bed.receive(0, &[udp(0, "10.0.1.9", "10.0.2.78", 5)]);
    let questions = bed.wait(10 * SECOND);
    let asked = questions
        .iter()
        .filter(|(_, frame, _)| frame[12..14] == [8, 6] && frame[41] == 78);
    assert_eq!(asked.count(), 2);
}

#[test]
fn too_many_waiting_packets_push_out_the_oldest() {
    let mut bed = Bed::new();
    let packets: Vec<_> = (1..=20)
        .map(|n| udp(0, "10.0.1.9", "10.0.2.77", n))
        .collect();
    bed.receive(0, &packets);
    assert_eq!(bed.drops, [DropReason::NeighbourQueueFull; 4]);
    let sent = bed.receive(1, &[arp_reply(1, "10.0.2.77", "10.0.2.1")]);
    assert_eq!(sent.len(), 16);
    assert_eq!(sent[0].1.len(), packets[4].len());
}

#[test]
fn arp_is_answered_for_own_and_proxied_addresses_of_the_port_only() {
    let mut bed = Bed::new();
    bed.proxy = vec![prefix("10.0.2.64/28")];
    bed.publish();
    for (target, answered) in [
        ("10.0.2.1", true),
        ("10.0.2.70", true),
        ("10.0.2.80", false),
        ("10.0.1.1", false),
    ] {
        let sent = bed.receive(1, &[arp_request(1, "10.0.2.9", target)]);
        assert_eq!(sent.len(), usize::from(answered), "{target}");
        if let Some((port, frame, _)) = sent.first() {
            assert_eq!((*port, &frame[..6]), (1, &STATIONS[1][..]));
            assert_eq!(frame[20..28], [&[0, 2][..], &MACS[1]].concat());
            assert_eq!(frame[28..32], at(target).octets4());
        }
    }
    assert_eq!(bed.states(), [("10.0.2.9".to_owned(), State::Stale)]);
    assert_eq!(bed.drops, []);
}

#[test]
fn neighbour_solicitations_are_answered_likewise() {
    let mut bed = Bed::new();
    bed.proxy = vec![prefix("2001:db8:2:0:1::/80")];
    bed.publish();
    for (target, flags) in [
        ("2001:db8:2::1", Some(0xe0)),
        ("2001:db8:2:0:1::7", Some(0xc0)),
        ("fe80::ff:fe00:201", Some(0xe0)),
        ("2001:db8:2::99", None),
    ] {
        let sent = bed.receive(1, &[solicitation(1, "2001:db8:2::9", target)]);
        match flags {
            Some(flags) => {
                let (port, frame, _) = only(sent);
                assert_eq!((port, &frame[..6]), (1, &STATIONS[1][..]), "{target}");
                assert_eq!((frame[54], frame[58]), (136, flags), "{target}");
                assert_eq!(frame[62..78], at(target).octets6());
                icmp(&frame);
            }
            None => assert!(sent.is_empty(), "{target}"),
        }
    }
}

#[test]
fn broken_discovery_and_conflicts_have_their_reasons() {
    let mut bed = Bed::new();
    let good = solicitation(0, "2001:db8:1::9", "2001:db8:1::1");
    bed.receive(0, &[change(&good, 21, &[64])]);
    bed.receive(0, &[change(&good, 60, &[1])]);
    assert_eq!(bed.drops, [DropReason::NdBad; 2]);
    bed.drops.clear();
    bed.receive(
        0,
        &[change(&arp_request(0, "10.0.1.9", "10.0.1.1"), 18, &[8])],
    );
    assert_eq!(bed.drops, [DropReason::ArpBad]);
    bed.drops.clear();
    bed.receive(0, &[arp_request(0, "10.0.1.1", "10.0.1.1")]);
    bed.receive(0, &[solicitation(0, "2001:db8:1::1", "2001:db8:1::1")]);
    assert_eq!(bed.drops[0], DropReason::AddressConflict);
    assert_eq!(bed.drops.len(), 2);
    assert!(bed.states().is_empty());
}

#[test]
fn addresses_are_announced_when_a_port_comes_up() {
    let mut bed = Bed::new();
    let announced = |sent: &[Sent]| {
        let arp = sent.iter().filter(|(_, frame, _)| frame[12..14] == [8, 6]);
        (arp.clone().count(), sent.len() - arp.count())
    };
    assert_eq!(announced(&bed.wait(SECOND)), (2, 2));
    assert_eq!(announced(&bed.wait(SECOND)), (0, 0));
    bed.links[1].set(false, 1500, Offloads::ALL);
    assert_eq!(announced(&bed.wait(SECOND)), (0, 0));
    bed.links[1].set(true, 1500, Offloads::ALL);
    let sent = bed.wait(SECOND);
    assert_eq!(announced(&sent), (1, 1));
    assert!(sent.iter().all(|(port, _, _)| *port == 1));
}
