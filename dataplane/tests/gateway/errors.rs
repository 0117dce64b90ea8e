//! What is not carried on, and what its sender is told.

use super::*;

#[test]
fn a_hop_count_that_ends_is_told() {
    let mut bed = Bed::new();
    bed.introduce();
    for (from, to, at, expected) in [
        ("10.0.1.9", "198.51.100.7", 22, (11, 0, "10.0.1.1")),
        (
            "2001:db8:1::9",
            "2001:db8:9::7",
            21,
            (3, 0, "2001:db8:1::1"),
        ),
    ] {
        for hops in [0, 1] {
            let frame = change(&udp(0, from, to, 4), at, &[hops]);
            let (port, error, _) = only(bed.receive(0, &[frame]));
            let (kind, code, source, _) = icmp(&error);
            assert_eq!(port, 0);
            assert_eq!((kind, code, source.as_str()), expected);
        }
    }
    assert_eq!(bed.drops, [DropReason::TtlExpired; 4]);
}

#[test]
fn no_route_and_refusing_routes_are_told_as_they_say() {
    let mut bed = Bed::new();
    bed.introduce();
    let refusing = |to: &str, kind| Route {
        kind,
        hops: Vec::new(),
        ..route(to, "10.0.2.254", 1)
    };
    bed.routes = vec![
        refusing("192.0.2.0/26", RouteKind::Blackhole),
        refusing("192.0.2.64/26", RouteKind::Unreachable),
        refusing("192.0.2.128/26", RouteKind::Prohibit),
    ];
    bed.publish();
    for (to, expected, reason) in [
        ("198.51.100.1", Some((3, 0)), DropReason::NoRoute),
        ("192.0.2.1", None, DropReason::RouteRefuses),
        ("192.0.2.65", Some((3, 1)), DropReason::RouteRefuses),
        ("192.0.2.129", Some((3, 13)), DropReason::RouteRefuses),
    ] {
        let sent = bed.receive(0, &[udp(0, "10.0.1.9", to, 4)]);
        let error = sent.first().map(|(_, frame, _)| {
            let (kind, code, ..) = icmp(frame);
            (kind, code)
        });
        assert_eq!(error, expected, "{to}");
        assert_eq!(bed.drops.pop(), Some(reason), "{to}");
    }
    let sent = bed.receive(0, &[udp(0, "2001:db8:1::9", "2001:db8:9::1", 4)]);
    assert_eq!(icmp(&only(sent).1).0, 1);
}

#[test]
fn what_may_not_be_cut_is_told_the_mtu() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.links[1].set(true, 1400, Offloads::ALL);
    let big = change(&udp(0, "10.0.1.9", "198.51.100.7", 1400), 20, &[0x40, 0]);
    let (port, error, _) = only(bed.receive(0, &[big]));
    assert_eq!(
        (port, icmp(&error)),
        (0, (3, 4, "10.0.1.1".to_owned(), 1400))
    );
    let big = udp(0, "2001:db8:1::9", "2001:db8:9::7", 1400);
    let (_, error, _) = only(bed.receive(0, &[big]));
    assert_eq!(icmp(&error), (2, 0, "2001:db8:1::1".to_owned(), 1400));
    assert_eq!(bed.drops, [DropReason::PacketTooBig; 2]);
    // A route may know of a smaller MTU behind.
    bed.routes[0].mtu = Some(1300);
    bed.publish();
    let big = change(&udp(0, "10.0.1.9", "198.51.100.7", 1350), 20, &[0x40, 0]);
    let (_, error, _) = only(bed.receive(0, &[big]));
    assert_eq!(icmp(&error).3, 1300);
}

#[test]
fn what_may_be_cut_is_cut_also_when_it_had_to_wait() {
    let mut bed = Bed::new();
    bed.links[1].set(true, 600, Offloads::ALL);
    let frame = udp(0, "10.0.1.9", "10.0.2.77", 1400);
    let rebuilt = |sent: Vec<Sent>| {
        let mut payload: Vec<u8> = Vec::new();
        for (port, piece, _) in sent {
            assert_eq!(port, 1);
            assert!(piece.len() <= 614);
            assert_eq!(checksum(&piece[14..34]), 0);
            assert_eq!((&piece[..6], piece[22]), (&STATIONS[1][..], 63));
            payload.extend(&piece[34..]);
        }
        payload
    };
    bed.receive(0, std::slice::from_ref(&frame));
    let sent = bed.receive(1, &[arp_reply(1, "10.0.2.77", "10.0.2.1")]);
    assert_eq!(rebuilt(sent), frame[34..]);
    let sent = bed.receive(0, std::slice::from_ref(&frame));
    assert_eq!(rebuilt(sent), frame[34..]);
    assert_eq!(bed.drops, []);
}

/// A TCP super-frame of segments of `size` bytes.
fn super_frame(to: &str, payload: usize, size: u16) -> (Vec<u8>, VnetHeader) {
    let mut tcp = vec![0; 20 + payload];
    tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    tcp[12] = 5 << 4;
    tcp[13] = 0x10;
    tcp[20..]
        .iter_mut()
        .enumerate()
        .for_each(|(n, byte)| *byte = n as u8);
    let frame = change(&ip(0, "10.0.1.9", to, 6, &tcp), 20, &[0x40, 0]);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: VnetHeader::GSO_TCPV4,
        hdr_len: 54,
        gso_size: size,
        csum_start: 34,
        csum_offset: 16,
    };
    (frame, vnet)
}

#[test]
fn a_super_frame_crosses_whole_and_is_judged_by_its_segments() {
    let mut bed = Bed::new();
    bed.introduce();
    let (frame, vnet) = super_frame("198.51.100.7", 40_000, 1460);
    let (port, sent, after) = only(bed.receive_with(0, &[(frame.clone(), vnet)]));
    assert_eq!((port, after, sent.len()), (1, vnet, frame.len()));
    assert_eq!(sent[34..], frame[34..]);
    bed.links[1].set(true, 1400, Offloads::ALL);
    let (port, error, _) = only(bed.receive_with(0, &[(frame, vnet)]));
    let (kind, code, _, mtu) = icmp(&error);
    assert_eq!((port, kind, code, mtu), (0, 3, 4, 1400));
    let (frame, vnet) = super_frame("198.51.100.7", 40_000, 1360);
    assert_eq!(only(bed.receive_with(0, &[(frame, vnet)])).0, 1);
    assert_eq!(bed.drops, [DropReason::PacketTooBig]);
}

#[test]
fn odd_addresses_end_silently_with_their_reasons() {
    let mut bed = Bed::new();
    bed.introduce();
    let packet = udp(0, "10.0.1.9", "198.51.100.7", 4);
    let source = |bytes: [u8; 4]| change(&packet, 26, &bytes);
    let to = |bytes: [u8; 4]| change(&packet, 30, &bytes);
    let mut grouped = packet.clone();
    grouped[..6].fill(0xff);
    let mut elsewhere = packet.clone();
    elsewhere[5] ^= 1;
    let six = udp(0, "2001:db8:1::9", "2001:db8:9::7", 4);
    let source6 = |text: &str| change(&six, 22, &at(text).octets6());
    let to6 = |text: &str| change(&six, 38, &at(text).octets6());
    let mapped = change(
        &six,
        22,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 1, 9],
    );
    let cases = [
        (source([127, 0, 0, 1]), DropReason::MartianSource),
        (source([224, 0, 0, 1]), DropReason::MartianSource),
        (source([255; 4]), DropReason::MartianSource),
        (source([0, 0, 0, 0]), DropReason::MartianSource),
        (source([10, 0, 1, 1]), DropReason::MartianSource),
        (source([10, 0, 2, 1]), DropReason::MartianSource),
        (to([127, 0, 0, 1]), DropReason::MartianDestination),
        (to([0, 0, 0, 0]), DropReason::MartianDestination),
        (to([224, 0, 0, 9]), DropReason::GroupNotForwarded),
        (to([255; 4]), DropReason::NoListener),
        (to([10, 0, 1, 255]), DropReason::NoListener),
        (to([10, 0, 2, 255]), DropReason::NoListener),
        (grouped, DropReason::GroupNotForwarded),
        (elsewhere, DropReason::NotForUs),
        (source6("::1"), DropReason::MartianSource),
        (source6("ff02::9"), DropReason::MartianSource),
        (source6("::"), DropReason::MartianSource),
        (mapped, DropReason::MartianSource),
        (to6("::1"), DropReason::MartianDestination),
        (to6("ff05::2"), DropReason::GroupNotForwarded),
        (to6("fe80::9"), DropReason::BeyondScope),
        (link(MACS[0], STATIONS[0], 0x88cc), DropReason::NotRouted),
    ];
    for (frame, reason) in cases {
        let sent = bed.receive(0, std::slice::from_ref(&frame));
        assert!(sent.is_empty(), "{reason}: {sent:02x?}");
        assert_eq!(bed.drops, [reason], "{frame:02x?}");
        bed.drops.clear();
    }
    // A link-local source is told that it reaches no further (RFC 4443, 3.1, code 2).
    bed.receive(0, &[solicitation(0, "fe80::9", "2001:db8:1::1")]);
    let (port, error, _) = only(bed.receive(0, &[source6("fe80::9")]));
    let (kind, code, source, _) = icmp(&error);
    assert_eq!((port, kind, code), (0, 1, 2));
    assert_eq!(source, "fe80::ff:fe00:101");
}

#[test]
fn options_are_looked_at() {
    let mut bed = Bed::new();
    bed.introduce();
    let with = |options: &[u8]| {
        let mut frame = udp(0, "10.0.1.9", "198.51.100.7", 4);
        frame.splice(34..34, options.iter().copied());
        frame[14] = 0x45 + (options.len() / 4) as u8;
        let total = (frame.len() - 14) as u16;
        change(&frame, 16, &total.to_be_bytes())
    };
    assert_eq!(only(bed.receive(0, &[with(&[1, 1, 1, 0])])).0, 1);
    assert!(bed.receive(0, &[with(&[131, 3, 4, 0])]).is_empty());
    assert_eq!(bed.drops, [DropReason::SourceRoute]);
    let (_, error, _) = only(bed.receive(0, &[with(&[7, 40, 4, 0])]));
    assert_eq!(icmp(&error), (12, 0, "10.0.1.1".to_owned(), 20 << 24));
}

#[test]
fn errors_have_a_rate() {
    let mut bed = Bed::with(Host::new(1, 1500, &[], None), 10);
    bed.introduce();
    let expired = change(&udp(0, "10.0.1.9", "198.51.100.7", 4), 22, &[1]);
    let count = |bed: &mut Bed| bed.receive(0, &vec![expired.clone(); 60]).len();
    assert_eq!(count(&mut bed), 50);
    assert_eq!(count(&mut bed), 0);
    bed.now_ns += SECOND;
    assert_eq!(count(&mut bed), 10);
}
