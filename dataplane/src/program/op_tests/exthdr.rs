//! Extension headers and options, found and read.

use super::*;

const MSS: [u8; 4] = [2, 4, 0x05, 0xb4];

#[test]
fn tcp_options_are_found_by_kind() {
    let with = |options: &[u8]| frames::ip(6, frames::tcp_segment(1, 2, 2, options), Some(16));
    let aimed = [
        with(&MSS),
        with(&[1, 1, 1, 1, 2, 4, 0x05, 0xb4]),
        with(&[1, 1, 1, 1]),
        frames::tcp(1, 2),
        frames::udp(1, 2),
        with(&[2, 9, 0x05, 0xb4]),
    ];
    let mut bench = Bench::new();
    let key = bench.exthdr(Exthdr::Tcp, 2, 16, 16);
    assert_eq!(
        bench.matching(&[eq(key, 1460)], &aimed),
        [true, true, false, false, false, false]
    );
    let mut bench = Bench::new();
    let key = bench.exists(Exthdr::Tcp, 2);
    assert_eq!(
        bench.matching(&[eq(key, 0)], &aimed),
        [false, false, true, true, true, true]
    );
}

#[test]
fn ip6_extension_headers_are_found() {
    let tcp = frames::tcp_segment(1, 22, 2, &[]);
    let hop = [&[6, 0, 5, 2, 0, 0, 1, 0], &tcp[..]].concat();
    let fragment = [&[6, 0, 0x00, 0x08, 0, 0, 0, 9], &tcp[..]].concat();
    let aimed = [
        frames::ip6(protocol::HOP_BY_HOP, hop, None),
        frames::ip6(protocol::FRAGMENT, fragment, None),
        frames::tcp6(1, 22),
        frames::tcp(1, 22),
    ];
    let mut bench = Bench::new();
    let key = bench.exists(Exthdr::Ip6, protocol::HOP_BY_HOP);
    assert_eq!(
        bench.matching(&[eq(key, 1)], &aimed),
        [true, false, false, false]
    );
    let mut bench = Bench::new();
    let key = bench.exthdr(Exthdr::Ip6, protocol::FRAGMENT, 32, 32);
    assert_eq!(
        bench.matching(&[eq(key, 9)], &aimed),
        [false, true, false, false]
    );
    let mut bench = Bench::new();
    let key = bench.dport();
    assert_eq!(
        bench.matching(&[eq(key, 22)], &aimed),
        [true, false, true, true]
    );
}

#[test]
fn ip_options_and_sctp_chunks_are_found() {
    let mut optional = frames::tcp(1, 2);
    optional[14] = 0x46;
    optional.splice(34..34, [0x94, 4, 0, 0]);
    optional[17] += 4;
    let mut bench = Bench::new();
    let key = bench.exists(Exthdr::Ip, 0x94);
    assert_eq!(
        bench.matching(&[eq(key, 1)], &[optional, frames::tcp(1, 2)]),
        [true, false]
    );

    let mut sctp = vec![0; 12];
    sctp.extend([0, 3, 0, 20]);
    sctp.extend([7; 16]);
    sctp.extend([3, 0, 0, 4]);
    let aimed = [frames::ip(132, sctp, None), frames::tcp(1, 2)];
    let mut bench = Bench::new();
    let key = bench.exists(Exthdr::Sctp, 3);
    assert_eq!(bench.matching(&[eq(key, 1)], &aimed), [true, false]);
    let mut bench = Bench::new();
    let key = bench.exthdr(Exthdr::Sctp, 0, 32, 32);
    assert_eq!(
        bench.matching(&[eq(key, 0x0707_0707)], &aimed),
        [true, false]
    );
}
