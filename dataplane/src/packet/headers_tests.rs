//! Dissection of whole, odd and broken frames.

use super::*;
use crate::program::testing::frames;

#[test]
fn the_common_layers_are_found() {
    let headers = Headers::dissect(&frames::tcp(1, 2));
    assert_eq!(headers.ethertype, ethertype::IP);
    assert_eq!(
        (headers.network, headers.transport, headers.end),
        (14, 34, 54)
    );
    assert_eq!(headers.flags, flag::L4PROTO | flag::TRANSPORT);
    let headers = Headers::dissect(&frames::tcp6(1, 2));
    assert_eq!(
        (headers.network, headers.transport, headers.end),
        (14, 54, 74)
    );
    let headers = Headers::dissect(&frames::arp());
    assert_eq!((headers.ethertype, headers.flags), (ethertype::ARP, 0));
}

#[test]
fn one_tag_is_taken_off_and_a_second_is_payload() {
    let once = frames::tagged(frames::tcp(1, 2));
    let headers = Headers::dissect(&once);
    assert_eq!((headers.ethertype, headers.network), (ethertype::IP, 18));
    assert_eq!(headers.class(), Class::TaggedIp);
    let headers = Headers::dissect(&frames::tagged(once));
    assert_eq!((headers.ethertype, headers.network), (ethertype::VLAN, 18));
    assert_eq!(headers.class(), Class::Other);
}

#[test]
fn padding_lies_behind_the_end() {
    let mut frame = frames::tcp(1, 2);
    frame.resize(60, 0xaa);
    assert_eq!(Headers::dissect(&frame).end, 54);
}

#[test]
fn lengths_instead_of_ethertypes_are_802_3() {
    let mut frame = frames::arp();
    frame[12..14].copy_from_slice(&[0, 28]);
    assert_eq!(Headers::dissect(&frame).ethertype, ethertype::LLC);
    frame[14..16].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(Headers::dissect(&frame).ethertype, ethertype::RAW_802_3);
}

#[test]
fn broken_ip_headers_have_no_transport() {
    let break_at = |at: usize, value: u8| {
        let mut frame = frames::tcp(1, 2);
        frame[at] = value;
        Headers::dissect(&frame)
    };
    for headers in [
        break_at(14, 0x44),
        break_at(14, 0x65),
        break_at(14, 0x4f),
        break_at(17, 41),
        break_at(17, 19),
    ] {
        assert_eq!(headers.flags, flag::BAD_IP);
    }
    let mut short = frames::tcp6(1, 2);
    short.truncate(53);
    assert_eq!(Headers::dissect(&short).flags, flag::BAD_IP);
}

#[test]
fn every_cut_of_a_frame_is_dissected() {
    let hop = [
        &[43u8, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0][..],
        &[0; 20],
    ]
    .concat();
    for frame in [
        frames::tcp(1, 2),
        frames::ip6(0, hop, None),
        frames::tagged(frames::udp(1, 2)),
    ] {
        for len in 0..frame.len() {
            let headers = Headers::dissect(&frame[..len]);
            assert!(headers.end as usize <= len);
            assert_eq!(headers.has(flag::SHORT), len < 14);
        }
    }
}

#[test]
fn extension_headers_are_followed_to_a_bound() {
    let chain = |count: usize| {
        let mut payload = [protocol::DESTINATION, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        if let Some(last) = count.checked_sub(1) {
            payload[last * 8] = 6;
        }
        payload.extend([0; 20]);
        frames::ip6(protocol::DESTINATION, payload, None)
    };
    let headers = Headers::dissect(&chain(MAX_EXTENSION_HEADERS));
    assert_eq!(
        (headers.l4proto, usize::from(headers.transport)),
        (6, 54 + 8 * MAX_EXTENSION_HEADERS)
    );
    let headers = Headers::dissect(&chain(MAX_EXTENSION_HEADERS + 1));
    assert!(headers.has(flag::MANY_EXTENSIONS));
}

#[test]
fn fragments_have_a_transport_in_the_first_only() {
    let fragment = |offset: [u8; 2]| {
        let header = [17, 0, offset[0], offset[1], 0, 0, 0, 1];
        Headers::dissect(&frames::ip6(
            protocol::FRAGMENT,
            [&header[..], &[0; 16]].concat(),
            None,
        ))
    };
    let first = fragment([0, 1]);
    assert_eq!(
        first.flags,
        flag::L4PROTO | flag::TRANSPORT | flag::FRAGMENT
    );
    let later = fragment([0, 9]);
    assert_eq!(
        (later.l4proto, later.flags),
        (17, flag::L4PROTO | flag::FRAGMENT)
    );
}

#[test]
fn an_authentication_header_is_a_transport() {
    let ah = [&[6u8, 4, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1][..], &[0; 32]].concat();
    let headers = Headers::dissect(&frames::ip6(protocol::AH, ah, None));
    assert_eq!((headers.l4proto, headers.transport), (protocol::AH, 54));
}
