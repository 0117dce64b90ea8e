use proptest::prelude::*;

use super::super::testing::{ip, packet};
use super::*;

/// What went from the reply's side, 10.0.0.2:53 to 10.0.0.1:1024 over UDP.
fn about(l3: u8) -> Vec<u8> {
    ip(l3, number::UDP, true, &[0, 53, 4, 0, 0, 8, 0, 0], None)
}

fn message(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, code, 0, 0];
    bytes.extend(rest);
    bytes.extend(body);
    bytes
}

/// An error that goes back to the sender of what it is about.
fn error(l3: u8, kind: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let protocol = if l3 == IPV4 {
        number::ICMP
    } else {
        number::ICMPV6
    };
    ip(l3, protocol, false, &message(kind, 0, rest, body), Some(2))
}

fn find(bytes: &[u8]) -> Result<(u16, u16, u8), InvalidReason> {
    inner(&packet(bytes, false)).map(|tuple| (tuple.sport, tuple.dport, tuple.protocol))
}

#[test]
fn the_inner_tuple_is_found_in_both_families() {
    for (l3, kind) in [
        (IPV4, 3),
        (IPV4, 4),
        (IPV4, 11),
        (IPV4, 12),
        (IPV4, 5),
        (IPV6, 1),
        (IPV6, 2),
        (IPV6, 4),
    ] {
        let bytes = error(l3, kind, [0; 4], &about(l3));
        assert!(is_error(&packet(&bytes, false)));
        assert_eq!(find(&bytes), Ok((53, 1024, 17)), "{l3} {kind}");
    }
    assert!(!is_error(&packet(&error(IPV4, 8, [0; 4], &[]), false)));
    assert!(!is_error(&packet(&error(IPV6, 128, [0; 4], &[]), false)));
}

#[test]
fn an_error_to_somebody_else_is_refused() {
    let mut inner = about(IPV4);
    inner[15] = 9;
    assert_eq!(
        find(&error(IPV4, 3, [0; 4], &inner)),
        Err(InvalidReason::IcmpAddress)
    );
    let mut inner = about(IPV6);
    inner[23] = 9;
    assert_eq!(
        find(&error(IPV6, 1, [0; 4], &inner)),
        Err(InvalidReason::IcmpAddress)
    );
}

#[test]
fn what_is_cut_off_or_broken_is_refused() {
    let broken = Err(InvalidReason::IcmpInner);
    let whole = about(IPV4);
    assert_eq!(
        find(&error(IPV4, 3, [0; 4], &whole[..24])),
        Ok((53, 1024, 17))
    );
    for len in [0, 10, 19, 20, 23] {
        assert_eq!(
            find(&error(IPV4, 3, [0; 4], &whole[..len])),
            broken,
            "{len}"
        );
    }
    for (at, value) in [(0, 0x65), (0, 0x44), (0, 0x4f), (7, 1)] {
        let mut bytes = whole.clone();
        bytes[at] = value;
        assert_eq!(find(&error(IPV4, 3, [0; 4], &bytes)), broken, "{at}");
    }
    assert_eq!(find(&error(IPV6, 1, [0; 4], &about(IPV6)[..43])), broken);
    // An error about an error has a tuple that no flow has; it is one all the same.
    let nested = error(IPV4, 3, [0; 4], &whole);
    let mut turned = nested.clone();
    turned[12..20].rotate_left(4);
    assert_eq!(find(&error(IPV4, 3, [0; 4], &turned)), Ok((0, 0x0300, 1)));
}

#[test]
fn options_and_extension_headers_are_stepped_over() {
    let mut inner = about(IPV4);
    inner[0] = 0x46;
    inner.splice(20..20, [1, 1, 1, 0]);
    assert_eq!(find(&error(IPV4, 3, [0; 4], &inner)), Ok((53, 1024, 17)));
    let mut inner = about(IPV6);
    inner[6] = number::HOP_BY_HOP;
    // Hop-by-hop, AH, first fragment, destination options.
    inner.splice(
        40..40,
        [
            number::AH,
            0,
            1,
            4,
            0,
            0,
            0,
            0,
            number::FRAGMENT,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            number::DESTINATION,
            0,
            0,
            1,
            0,
            0,
            0,
            7,
            number::UDP,
            0,
            1,
            4,
            0,
            0,
            0,
            0,
        ],
    );
    assert_eq!(find(&error(IPV6, 1, [0; 4], &inner)), Ok((53, 1024, 17)));
    inner[40 + 8 + 12 + 3] = 9;
    assert_eq!(
        find(&error(IPV6, 1, [0; 4], &inner)),
        Err(InvalidReason::IcmpInner)
    );
    let mut none = about(IPV6);
    none[6] = number::NONE;
    assert_eq!(
        find(&error(IPV6, 1, [0; 4], &none)),
        Err(InvalidReason::IcmpInner)
    );
}

#[test]
fn nothing_is_read_behind_the_length_of_rfc_4884() {
    let mut body = about(IPV4)[..20].to_vec();
    // The extension would read as ports.
    body.extend([0x20, 0, 1, 2, 0, 4, 5, 6]);
    assert_eq!(
        find(&error(IPV4, 11, [0, 5, 0, 0], &body)),
        Err(InvalidReason::IcmpInner)
    );
    assert_eq!(
        find(&error(IPV4, 11, [0, 7, 0, 0], &body)),
        Ok((0x2000, 0x0102, 17))
    );
    // Longer than what is there, or a type without a length: all of it is read.
    assert_eq!(
        find(&error(IPV4, 11, [0, 200, 0, 0], &about(IPV4))),
        Ok((53, 1024, 17))
    );
    assert_eq!(
        find(&error(IPV4, 5, [0, 5, 0, 0], &about(IPV4))),
        Ok((53, 1024, 17))
    );
    let v6 = about(IPV6);
    assert_eq!(
        find(&error(IPV6, 3, [5, 0, 0, 0], &v6)),
        Err(InvalidReason::IcmpInner)
    );
    assert_eq!(find(&error(IPV6, 3, [6, 0, 0, 0], &v6)), Ok((53, 1024, 17)));
}

#[test]
fn a_redirect_counts_from_a_neighbour_with_the_packet_as_its_option() {
    let redirect = |option: u8, units: u8| {
        let mut body = vec![0; 32];
        body.extend([option, units, 0, 0, 0, 0, 0, 0]);
        body.extend(about(IPV6));
        let mut bytes = error(IPV6, icmpv6::REDIRECT, [0; 4], &body);
        bytes[7] = 255;
        bytes[8..10].copy_from_slice(&[0xfe, 0x80]);
        bytes
    };
    let good = redirect(4, 7);
    assert!(is_error(&packet(&good, false)));
    assert_eq!(find(&good), Ok((53, 1024, 17)));
    assert!(!is_error(&packet(&redirect(2, 1), false)));
    assert_eq!(find(&redirect(4, 0)), Err(InvalidReason::Redirect));
    let mut far = good.clone();
    far[7] = 64;
    assert_eq!(find(&far), Err(InvalidReason::Redirect));
    assert_eq!(find(&good[..80]), Err(InvalidReason::Redirect));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        v6: bool, kind: u8, rest: [u8; 4], body in proptest::collection::vec(any::<u8>(), 0..120),
    ) {
        let l3 = if v6 { IPV6 } else { IPV4 };
        let bytes = error(l3, kind, rest, &body);
        let packet = packet(&bytes, false);
        is_error(&packet);
        let _ = inner(&packet);
    }
}
