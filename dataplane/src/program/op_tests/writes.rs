//! Writes into the packet, with its checksums.

use super::*;
use crate::packet::reply::transport_checksum_ok;
use crate::packet::{Headers, VnetHeader};

fn checksums_are_right(frame: &[u8]) -> bool {
    let headers = Headers::dissect(frame);
    let network = usize::from(headers.network);
    let ip = headers.ethertype != 0x0800
        || crate::packet::checksum::checksum(&frame[network..network + 20]) == 0;
    ip && transport_checksum_ok(frame, &headers)
}

#[test]
fn writes_keep_every_checksum_right() {
    type Case = (Vec<u8>, Base, u16, u16, &'static [u32], Option<u8>, bool);
    let cases: [Case; 9] = [
        (
            frames::tcp(1, 2),
            Base::Network,
            96,
            32,
            &[0x0a00_0063],
            Some(10),
            true,
        ),
        (
            frames::udp(1, 2),
            Base::Network,
            128,
            32,
            &[0xc0a8_0001],
            Some(10),
            true,
        ),
        (
            frames::tcp(1, 2),
            Base::Network,
            64,
            8,
            &[9],
            Some(10),
            false,
        ),
        (
            frames::tcp(1, 2),
            Base::Network,
            8,
            6,
            &[0x2e],
            Some(10),
            false,
        ),
        (
            frames::tcp(1, 2),
            Base::Transport,
            16,
            16,
            &[8080],
            Some(16),
            false,
        ),
        (
            frames::udp(1, 2),
            Base::Transport,
            16,
            16,
            &[5353],
            Some(6),
            false,
        ),
        (
            frames::tcp6(1, 2),
            Base::Network,
            64,
            128,
            &[0x2001_0db8, 0, 1, 7],
            None,
            true,
        ),
        (
            frames::tcp(1, 2),
            Base::Transport,
            111,
            1,
            &[1],
            Some(16),
            false,
        ),
        (
            frames::tcp(1, 2),
            Base::Link,
            0,
            48,
            &[0x0a00, 0x1122_3344],
            None,
            false,
        ),
    ];
    for (frame, base, bit_offset, bits, words, check, pseudo) in cases {
        assert!(checksums_are_right(&frame));
        let mut bench = Bench::new();
        let work = bench.work(bits);
        let op = write(base, bit_offset, bits, work, check, pseudo);
        let changed = bench.changed(&[immediate(work, words), op], frame.clone());
        assert_ne!(changed, frame);
        assert!(
            checksums_are_right(&changed),
            "{base:?} {bit_offset} {bits}"
        );
        // What was written is what is read.
        let mut bench = Bench::new();
        let key = bench.payload(base, bit_offset, bits, Requires::Nothing);
        let op = Op::Compare {
            key,
            relation: Relation::Eq,
            value: value(words),
        };
        assert_eq!(bench.matching(&[op], &[changed]), [true]);
    }
}

#[test]
fn a_written_field_is_read_anew_by_the_next_rule() {
    let mut bench = Bench::new();
    let (key, work) = (bench.dport(), bench.work(16));
    bench.chain(&[
        (
            1,
            vec![
                eq(key, 80),
                immediate(work, &[81]),
                write(Base::Transport, 16, 16, work, Some(16), false),
            ],
        ),
        (
            2,
            vec![
                eq(key, 81),
                Op::Verdict {
                    verdict: Verdict::Drop,
                },
            ],
        ),
    ]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
    let fates = bench.run(&[frames::tcp(1, 80), frames::tcp(1, 82)]);
    assert!(matches!(
        fates[..],
        [Fate::Drop { rule: 2, .. }, Fate::Send(_)]
    ));
}

#[test]
fn partial_checksums_stay_partial() {
    use crate::packet::checksum::{fold, pseudo_header};
    let mut frame = frames::tcp(1, 2);
    let partial = |frame: &[u8]| fold(pseudo_header(&frame[26..34], 6, 20));
    let sum = partial(&frame);
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    for (base, offset, bits, word, check, pseudo) in [
        (Base::Network, 96, 32, 0x0a00_0063, Some(10), true),
        (Base::Transport, 16, 16, 99, Some(16), false),
    ] {
        let mut bench = Bench::new();
        bench.vnet = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            csum_start: 34,
            csum_offset: 16,
            ..VnetHeader::default()
        };
        let work = bench.work(bits);
        let op = write(base, offset, bits, work, check, pseudo);
        let changed = bench.changed(&[immediate(work, &[word]), op], frame.clone());
        assert_eq!(changed[50..52], partial(&changed).to_be_bytes());
    }
}

#[test]
fn an_absent_udp_checksum_stays_absent() {
    let mut frame = frames::udp(1, 2);
    frame[40..42].fill(0);
    let mut bench = Bench::new();
    let work = bench.work(16);
    let op = write(Base::Transport, 16, 16, work, Some(6), false);
    let changed = bench.changed(&[immediate(work, &[99]), op], frame);
    assert_eq!(changed[36..38], [0, 99]);
    assert_eq!(changed[40..42], [0, 0]);
}

#[test]
fn a_write_behind_the_end_leaves_the_rule() {
    let mut bench = Bench::new();
    let work = bench.work(32);
    let op = write(Base::Network, 60 * 8, 32, work, None, false);
    assert_eq!(
        bench.matching(&[immediate(work, &[1]), op], &[frames::tcp(1, 2)]),
        [false]
    );
}

#[test]
fn tcp_options_are_lowered_and_removed() {
    let frame = || {
        frames::ip(
            6,
            frames::tcp_segment(1, 2, 2, &[1, 2, 4, 0x05, 0xb4, 1, 1, 1]),
            Some(16),
        )
    };
    for (mss, expected) in [(1400u32, 1400u16), (1500, 1460)] {
        let mut bench = Bench::new();
        let from = bench.work(16);
        let op = Op::ExthdrWrite {
            kind: Exthdr::Tcp,
            number: 2,
            offset: 2,
            len: 2,
            from,
        };
        let changed = bench.changed(&[immediate(from, &[mss]), op], frame());
        assert_eq!(changed[57..59], expected.to_be_bytes());
        assert!(checksums_are_right(&changed));
    }
    let changed = Bench::new().changed(&[Op::ResetTcpOption { number: 2 }], frame());
    assert_eq!(changed[54..62], [1; 8]);
    assert!(checksums_are_right(&changed));
    let aimed = [frame(), frames::udp(1, 2)];
    let op = Op::ResetTcpOption { number: 9 };
    assert_eq!(Bench::new().matching(&[op], &aimed), [true, false]);
}
