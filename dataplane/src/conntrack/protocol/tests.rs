use proptest::prelude::*;

use super::super::tuple::{IPV4, IPV6};
use super::testing::{Flow, Seen, ip, packet};
use super::*;

fn udp(l3: u8, reply: bool, payload: &[u8]) -> Vec<u8> {
    let mut message = if reply {
        vec![0, 53, 4, 0]
    } else {
        vec![4, 0, 0, 53]
    };
    message.extend((8 + payload.len() as u16).to_be_bytes());
    message.extend([0; 2]);
    message.extend(payload);
    ip(l3, number::UDP, reply, &message, Some(6))
}

fn tuple_of(bytes: &[u8]) -> Tuple {
    let packet = packet(bytes, false);
    let (sport, dport) = ports(&packet).unwrap();
    Tuple {
        protocol: packet.protocol,
        l3: packet.l3,
        sport,
        dport,
        ..Tuple::default()
    }
}

#[test]
fn a_state_fits_its_place() {
    assert_eq!(size_of::<ProtocolState>(), 48);
}

#[test]
fn udp_becomes_a_stream_after_two_seconds_of_both_ways() {
    for l3 in [IPV4, IPV6] {
        let mut flow = Flow::default();
        let begun = flow.now_ns;
        assert_eq!(flow.show(&udp(l3, false, b"odd"), false), Seen::Timeout(30));
        flow.now_ns = begun + 3_000_000_000;
        assert_eq!(flow.show(&udp(l3, false, b""), false), Seen::Timeout(30));
        // The first answer does not make a stream, however late it is.
        assert_eq!(flow.show(&udp(l3, true, b"x"), true), Seen::Timeout(30));
        assert!(!flow.assured());
        assert_eq!(flow.show(&udp(l3, false, b"x"), false), Seen::Timeout(120));
        assert!(flow.assured());
    }
    let mut flow = Flow::default();
    let begun = flow.now_ns;
    flow.show(&udp(IPV4, false, b""), false);
    flow.show(&udp(IPV4, true, b""), true);
    flow.now_ns = begun + 2_000_000_000;
    assert_eq!(flow.show(&udp(IPV4, true, b""), true), Seen::Timeout(30));
    flow.now_ns += 1;
    assert_eq!(flow.show(&udp(IPV4, true, b""), true), Seen::Timeout(120));
}

#[test]
fn udp_lengths_and_checksums() {
    let show = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = udp(IPV4, false, b"data");
        change(&mut bytes);
        Flow::default().show(&bytes, false)
    };
    assert_eq!(show(&|_| ()), Seen::Timeout(30));
    assert_eq!(
        show(&|bytes| bytes[25] = 7),
        Seen::Invalid(InvalidReason::LengthBad)
    );
    assert_eq!(
        show(&|bytes| bytes[25] = 13),
        Seen::Invalid(InvalidReason::LengthBad)
    );
    assert_eq!(
        show(&|bytes| bytes[30] ^= 1),
        Seen::Invalid(InvalidReason::ChecksumBad)
    );
    // The pseudo-header counts.
    assert_eq!(
        show(&|bytes| bytes[15] ^= 1),
        Seen::Invalid(InvalidReason::ChecksumBad)
    );
    assert_eq!(show(&|bytes| bytes[26..28].fill(0)), Seen::Timeout(30));
    assert_eq!(
        show(&|bytes| bytes.truncate(27)),
        Seen::Invalid(InvalidReason::HeaderShort)
    );
}

#[test]
fn udp_lite_is_a_stream_once_it_is_answered() {
    let mut message = vec![4, 0, 0, 53, 0, 0, 1, 1];
    message.extend([7; 20]);
    let bytes = |reply| ip(IPV4, number::UDPLITE, reply, &message, Some(6));
    let mut flow = Flow::default();
    assert_eq!(flow.show(&bytes(false), false), Seen::Timeout(30));
    assert_eq!(flow.show(&bytes(true), true), Seen::Timeout(30));
    assert!(!flow.assured());
    assert_eq!(flow.show(&bytes(false), false), Seen::Timeout(120));
    assert!(flow.assured());
}

#[test]
fn udp_lite_covers_what_it_says() {
    let make = |coverage: u16, covered: usize| {
        let mut message = vec![4, 0, 0, 53];
        message.extend(coverage.to_be_bytes());
        message.extend([0; 2]);
        message.extend([7; 20]);
        let mut bytes = ip(IPV4, number::UDPLITE, false, &message, None);
        let packet = packet(&bytes, false);
        let pseudo = crate::packet::checksum::pseudo_header(&bytes[12..20], packet.protocol, 28);
        let sum = pseudo + crate::packet::checksum::sum(&bytes[20..20 + covered]);
        let value = !crate::packet::checksum::fold(sum);
        bytes[26..28].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    let show = |bytes: &[u8]| Flow::default().show(bytes, false);
    assert_eq!(show(&make(0, 28)), Seen::Timeout(30));
    assert_eq!(show(&make(8, 8)), Seen::Timeout(30));
    assert_eq!(
        show(&make(12, 8)),
        Seen::Invalid(InvalidReason::ChecksumBad)
    );
    assert_eq!(show(&make(7, 8)), Seen::Invalid(InvalidReason::LengthBad));
    assert_eq!(show(&make(29, 28)), Seen::Invalid(InvalidReason::LengthBad));
    // What is not covered may be damaged on the way.
    let mut bytes = make(8, 8);
    bytes[40] ^= 1;
    assert_eq!(show(&bytes), Seen::Timeout(30));
    bytes[26..28].fill(0);
    assert_eq!(show(&bytes), Seen::Invalid(InvalidReason::ChecksumMissing));
}

fn icmp(l3: u8, reply: bool, kind: u8, code: u8) -> Vec<u8> {
    let protocol = if l3 == IPV4 {
        number::ICMP
    } else {
        number::ICMPV6
    };
    ip(
        l3,
        protocol,
        reply,
        &[kind, code, 0, 0, 0x12, 0x34, 0, 1],
        Some(2),
    )
}

#[test]
fn requests_begin_flows_and_replies_belong_to_them() {
    for (l3, request, answer) in [
        (IPV4, 8, 0),
        (IPV4, 13, 14),
        (IPV4, 15, 16),
        (IPV4, 17, 18),
        (IPV6, 128, 129),
        (IPV6, 139, 140),
    ] {
        let (ask, reply) = (icmp(l3, false, request, 3), icmp(l3, true, answer, 3));
        let inverted = invert(&tuple_of(&ask)).unwrap();
        let told = tuple_of(&reply);
        assert_eq!((inverted.sport, inverted.dport), (told.sport, told.dport));
        assert_eq!(invert(&inverted), Some(tuple_of(&ask)));
        let mut flow = Flow::default();
        assert_eq!(flow.show(&ask, false), Seen::Timeout(30));
        assert_eq!(flow.show(&reply, true), Seen::Timeout(30));
        assert!(!flow.assured());
        let lone = Flow::default().show(&icmp(l3, false, answer, 0), false);
        assert_eq!(lone, Seen::Invalid(InvalidReason::IcmpType));
    }
    for (l3, kind) in [(IPV4, 3), (IPV4, 9), (IPV4, 10), (IPV6, 2), (IPV6, 137)] {
        assert_eq!(invert(&tuple_of(&icmp(l3, false, kind, 0))), None);
    }
}

#[test]
fn icmp_of_no_known_type_or_over_the_other_family_is_invalid() {
    let bad_type = Seen::Invalid(InvalidReason::IcmpType);
    assert_eq!(
        Flow::default().show(&icmp(IPV4, false, 19, 0), false),
        bad_type
    );
    let crossed = ip(
        IPV6,
        number::ICMP,
        false,
        &[8, 0, 0, 0, 0, 0, 0, 0],
        Some(2),
    );
    assert_eq!(Flow::default().show(&crossed, false), bad_type);
    let crossed = ip(
        IPV4,
        number::ICMPV6,
        false,
        &[128, 0, 0, 0, 0, 0, 0, 0],
        Some(2),
    );
    assert_eq!(Flow::default().show(&crossed, false), bad_type);
    let mut damaged = icmp(IPV6, false, 128, 0);
    damaged[47] ^= 1;
    let bad_sum = Seen::Invalid(InvalidReason::ChecksumBad);
    assert_eq!(Flow::default().show(&damaged, false), bad_sum);
    let short = ip(IPV4, number::ICMP, false, &[8, 0, 0, 0, 0, 0, 0], None);
    assert_eq!(
        Flow::default().show(&short, false),
        Seen::Invalid(InvalidReason::HeaderShort)
    );
}

#[test]
fn neighbour_discovery_is_not_tracked() {
    for kind in 0..=255u8 {
        let bytes = icmp(IPV6, false, kind, 0);
        let expected = (130..=136).contains(&kind) || kind == 143;
        assert_eq!(is_untracked(&packet(&bytes, false)), expected, "{kind}");
    }
    assert!(!is_untracked(&packet(&icmp(IPV4, false, 135, 0), false)));
}

#[test]
fn gre_has_keys_only_as_pptp() {
    let gre = |message: &[u8]| ports(&packet(&ip(IPV4, 47, false, message, None), false));
    assert_eq!(gre(&[0x20, 0, 8, 0, 0, 0, 0, 9]), Ok((0, 0)));
    assert_eq!(
        gre(&[0x30, 1, 0x88, 0x0b, 0, 4, 0x12, 0x34]),
        Ok((0, 0x1234))
    );
    assert_eq!(
        gre(&[0x30, 1, 8, 0, 0, 4, 0x12, 0x34]),
        Err(InvalidReason::GreHeader)
    );
    assert_eq!(gre(&[0x30, 1, 0x88, 0x0b]), Err(InvalidReason::HeaderShort));
    assert_eq!(gre(&[]), Ok((0, 0)));
    let mut flow = Flow::default();
    let bytes = |reply| ip(IPV4, 47, reply, &[0, 0, 8, 0], None);
    assert_eq!(flow.show(&bytes(false), false), Seen::Timeout(30));
    assert_eq!(flow.show(&bytes(true), true), Seen::Timeout(30));
    assert_eq!(flow.show(&bytes(false), false), Seen::Timeout(180));
    assert!(flow.assured());
}

#[test]
fn everything_else_is_one_flow_for_each_pair_of_hosts() {
    let mut flow = Flow::default();
    let bytes = ip(IPV6, 200, false, &[], None);
    assert_eq!(ports(&packet(&bytes, false)), Ok((0, 0)));
    assert_eq!(flow.show(&bytes, false), Seen::Timeout(600));
    assert_eq!(flow.show(&bytes, true), Seen::Timeout(600));
    assert!(!flow.assured());
}

#[test]
fn the_tracker_looks_behind_ah_and_extension_headers() {
    let mut bytes = udp(IPV6, false, b"");
    bytes[6] = number::HOP_BY_HOP;
    bytes.splice(40..40, [number::AH, 0, 1, 4, 0, 0, 0, 0]);
    bytes.splice(48..48, [number::UDP, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(locate(&bytes, IPV6), Some((number::UDP, 60)));
    bytes[48] = number::NONE;
    assert_eq!(locate(&bytes, IPV6), None);
    bytes[48] = number::MOBILITY;
    assert_eq!(locate(&bytes, IPV6), Some((number::MOBILITY, 60)));
    bytes.truncate(50);
    assert_eq!(locate(&bytes, IPV6), None);
}

proptest! {
    /// [`steady`] never says anything else than [`next`].
    #[test]
    fn what_is_steady_changes_nothing(protocol: u8, bits in 0u32..16, late: bool) {
        if let Some(class) = steady(protocol, bits, || !late) {
            let bytes = ip(IPV4, 253, false, &[0; 8], None);
            let packet = Packet { protocol, ..packet(&bytes, false) };
            // An assured flow is older than two seconds.
            let assured = bits & status::ASSURED != 0;
            let mut state = udp::begin(0).0;
            let before = state;
            let now = if late || assured { 3_000_000_000 } else { 0 };
            let judgement = next(&mut state, &packet, bits, &Rules::default(), now);
            let Judgement::Accept { timeout, status } = judgement else {
                panic!("{judgement:?}")
            };
            prop_assert_eq!(timeout, Timeout::of(class));
            prop_assert_eq!(status & !bits, 0);
            prop_assert_eq!(state, before);
        }
    }

    #[test]
    fn any_packet_of_any_protocol_is_judged_without_a_panic(
        protocol: u8, v6: bool, messages in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..64), any::<bool>()), 1..6),
    ) {
        let l3 = if v6 { IPV6 } else { IPV4 };
        let mut flow = Flow::default();
        flow.rules.checksum = false;
        for (message, reply) in messages {
            let bytes = ip(l3, protocol, reply, &message, None);
            let Some((protocol, transport)) = locate(&bytes, l3) else { continue };
            let packet = Packet {
                l3, protocol, bytes: &bytes, transport, direction: Direction::Original, sum: Sum::Verify,
                acknowledged: Offsets::NONE,
            };
            let _ = ports(&packet).map(|(sport, dport)| {
                invert(&Tuple { protocol, l3, sport, dport, ..Tuple::default() })
            });
            flow.show(&bytes, reply && flow.alive.is_some());
        }
    }
}
