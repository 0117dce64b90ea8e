//! Answers, read back by dissection and checksums.

use super::*;
use crate::program::testing::frames;

fn frame_of(answer: &Answer) -> &[u8] {
    answer
}

#[test]
fn an_unreachable_quotes_the_packet_and_goes_back() {
    let refused = frames::udp(1000, 53);
    let headers = Headers::dissect(&refused);
    let answer = unreachable(&refused, &headers, false, Some(13), None).unwrap();
    let frame = frame_of(&answer);
    let read = Headers::dissect(frame);
    assert_eq!(frame[0..6], refused[6..12]);
    assert_eq!(frame[6..12], refused[0..6]);
    assert_eq!(frame[26..30], refused[30..34]);
    assert_eq!(read.l4proto, protocol::ICMP);
    assert_eq!(frame[34..36], [3, 13]);
    assert_eq!(frame[42..], refused[14..]);
    assert_eq!(checksum(&frame[14..34]), 0);
    assert!(transport_checksum_ok(frame, &read));
}

#[test]
fn an_icmpv6_unreachable_has_a_pseudo_header_sum() {
    let refused = frames::tcp6(1000, 22);
    let headers = Headers::dissect(&refused);
    let answer = unreachable(&refused, &headers, false, None, Some(4)).unwrap();
    let frame = frame_of(&answer);
    let read = Headers::dissect(frame);
    assert_eq!(
        (read.l4proto, frame[54], frame[55]),
        (protocol::ICMPV6, 1, 4)
    );
    assert!(transport_checksum_ok(frame, &read));
}

#[test]
fn long_packets_are_quoted_in_part() {
    let refused = frames::ip(
        17,
        [&[0, 1, 0, 2, 3, 0xe8, 0, 0][..], &[7; 992]].concat(),
        Some(6),
    );
    let headers = Headers::dissect(&refused);
    let answer = unreachable(&refused, &headers, false, Some(3), None).unwrap();
    assert_eq!(frame_of(&answer).len(), 14 + 20 + 8 + QUOTE);
}

#[test]
fn a_reset_acknowledges_a_syn() {
    let refused = frames::tagged(frames::tcp(1000, 22));
    let headers = Headers::dissect(&refused);
    let answer = tcp_reset(&refused, &headers, false).unwrap();
    let frame = frame_of(&answer);
    let read = Headers::dissect(frame);
    assert_eq!(frame[12..18], refused[12..18], "the tag is kept");
    let tcp = &frame[usize::from(read.transport)..];
    assert_eq!(
        tcp[0..4],
        [0, 22, 1000u16.to_be_bytes()[0], 1000u16.to_be_bytes()[1]]
    );
    assert_eq!(u32::from_be_bytes(tcp[8..12].try_into().unwrap()), 1001);
    assert_eq!(tcp[13], 0x14);
    assert!(transport_checksum_ok(frame, &read));
}

#[test]
fn a_reset_for_an_acknowledgement_takes_its_number() {
    let mut segment = frames::tcp_segment(1, 2, 16, &[]);
    segment[8..12].copy_from_slice(&77u32.to_be_bytes());
    let refused = frames::ip(6, segment, Some(16));
    let answer = tcp_reset(&refused, &Headers::dissect(&refused), false).unwrap();
    let tcp = &frame_of(&answer)[34..];
    assert_eq!(tcp[4..8], 77u32.to_be_bytes());
    assert_eq!(tcp[13], 4);
}

#[test]
fn what_may_not_be_answered_is_not() {
    let none = |frame: &[u8]| {
        let headers = Headers::dissect(frame);
        assert_eq!(unreachable(frame, &headers, false, Some(3), Some(4)), None);
        assert_eq!(tcp_reset(frame, &headers, false), None);
    };
    none(&frames::arp());
    let mut group = frames::tcp(1, 2);
    group[0] = 0xff;
    none(&group);
    let mut later = frames::tcp(1, 2);
    later[21] = 8;
    none(&later);
    let mut broken = frames::tcp(1, 2);
    broken[50] ^= 1;
    none(&broken);
    none(&frames::ip(1, vec![3, 1, 0, 0, 0, 0, 0, 0], Some(2)));
    let reset = frames::ip(6, frames::tcp_segment(1, 2, 4, &[]), Some(16));
    assert_eq!(tcp_reset(&reset, &Headers::dissect(&reset), false), None);
}

#[test]
fn a_partial_checksum_is_no_reason_not_to_answer() {
    let mut refused = frames::tcp(1, 2);
    refused[50] ^= 1;
    let headers = Headers::dissect(&refused);
    assert!(tcp_reset(&refused, &headers, true).is_some());
}
