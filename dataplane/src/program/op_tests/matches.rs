//! Matches: comparisons, masks and ranges over what a packet has.

use super::*;

#[test]
fn a_comparison_matches_negates_and_needs_its_protocol() {
    let aimed = [
        frames::tcp(1, 22),
        frames::tcp(1, 23),
        frames::udp(1, 22),
        frames::arp(),
        truncated(frames::tcp(1, 22), 36),
        frames::tcp6(1, 22),
    ];
    let mut bench = Bench::new();
    let key = bench.dport();
    assert_eq!(
        bench.matching(&[eq(key, 22)], &aimed),
        [true, false, false, false, false, true]
    );
    let mut bench = Bench::new();
    let key = bench.dport();
    let ne = Op::Compare {
        key,
        relation: Relation::Ne,
        value: value(&[22]),
    };
    assert_eq!(
        bench.matching(&[ne], &aimed),
        [false, true, false, false, false, false]
    );
}

#[test]
fn orders_and_ranges_have_exact_boundaries() {
    let ports = [21, 22, 23, 24].map(|port| frames::tcp(1, port));
    for (relation, expected) in [
        (Relation::Lt, [true, false, false, false]),
        (Relation::Le, [true, true, false, false]),
        (Relation::Gt, [false, false, true, true]),
        (Relation::Ge, [false, true, true, true]),
    ] {
        let mut bench = Bench::new();
        let key = bench.dport();
        let op = Op::Compare {
            key,
            relation,
            value: value(&[22]),
        };
        assert_eq!(bench.matching(&[op], &ports), expected);
    }
    for (inverted, expected) in [
        (false, [false, true, true, false]),
        (true, [true, false, false, true]),
    ] {
        let mut bench = Bench::new();
        let key = bench.dport();
        let op = Op::Range {
            key,
            low: value(&[22]),
            high: value(&[23]),
            inverted,
        };
        assert_eq!(bench.matching(&[op], &ports), expected);
    }
}

#[test]
fn masks_select_flags_and_prefixes() {
    let flags =
        [2u8, 18, 16].map(|flags| frames::ip(6, frames::tcp_segment(1, 2, flags, &[]), Some(16)));
    let mut bench = Bench::new();
    let requires = Requires::Transport {
        protocol: protocol::TCP,
    };
    let key = bench.payload(Base::Transport, 104, 8, requires);
    let syn = Op::CompareMasked {
        key,
        mask: value(&[2]),
        relation: Relation::Ne,
        value: value(&[0]),
    };
    assert_eq!(bench.matching(&[syn], &flags), [true, true, false]);

    let mut bench = Bench::new();
    let requires = Requires::Network { ethertype: 0x86dd };
    let key = bench.payload(Base::Network, 64, 128, requires);
    let prefix = Op::CompareMasked {
        key,
        mask: value(&[0xff00_0000, 0, 0, 0]),
        relation: Relation::Eq,
        value: value(&[0xfd00_0000, 0, 0, 0]),
    };
    assert_eq!(
        bench.matching(&[prefix], &[frames::tcp6(1, 2), frames::tcp(1, 2)]),
        [true, false]
    );
}

#[test]
fn wide_values_are_numbers_across_columns() {
    let frames = [frames::tcp6(1, 2)];
    for (last, relation, expected) in [
        (1, Relation::Eq, true),
        (2, Relation::Lt, true),
        (1, Relation::Lt, false),
        (0, Relation::Gt, true),
    ] {
        let mut bench = Bench::new();
        let key = bench.payload(Base::Network, 64, 128, Requires::Nothing);
        let op = Op::Compare {
            key,
            relation,
            value: value(&[0xfd00_0000, 0, 0, last]),
        };
        assert_eq!(bench.matching(&[op], &frames), [expected]);
    }
    // A MAC address is 48 bits: two columns, the first one half full.
    let mut bench = Bench::new();
    let key = bench.payload(Base::Link, 48, 48, Requires::Nothing);
    let op = Op::Compare {
        key,
        relation: Relation::Eq,
        value: value(&[0x0200, 0x0000_0001]),
    };
    assert_eq!(bench.matching(&[op], &frames), [true]);
}

#[test]
fn fields_inside_bytes_are_taken_out() {
    // ip version (4 bits), ihl (4 bits), dscp (6 bits), vlan id (12 bits).
    for (base, offset, bits, expected) in [
        (Base::Network, 0, 4, 4),
        (Base::Network, 4, 4, 5),
        (Base::Network, 8, 6, 0x2e),
        (Base::Network, 48, 3, 0),
    ] {
        let mut frame = frames::tcp(1, 2);
        frame[15] = 0x2e << 2;
        let mut bench = Bench::new();
        let key = bench.payload(base, offset, bits, Requires::Nothing);
        assert_eq!(bench.matching(&[eq(key, expected)], &[frame]), [true]);
    }
    let mut bench = Bench::new();
    let key = bench.payload(Base::Link, 116, 12, Requires::Nothing);
    assert_eq!(
        bench.matching(&[eq(key, 5)], &[frames::tagged(frames::tcp(1, 2))]),
        [true]
    );
}

#[test]
fn later_fragments_have_no_transport_but_a_protocol() {
    let mut fragment = frames::tcp(1, 22);
    fragment[21] = 8;
    let mut bench = Bench::new();
    let key = bench.dport();
    assert_eq!(bench.matching(&[eq(key, 22)], &[fragment.clone()]), [false]);
    let mut bench = Bench::new();
    let key = bench.meta(Meta::L4proto, 8);
    assert_eq!(bench.matching(&[eq(key, 6)], &[fragment]), [true]);
}

#[test]
fn meta_values() {
    for (meta, bits, expected) in [
        (Meta::Length, 32, 40),
        (Meta::Protocol, 16, 0x0800),
        (Meta::Nfproto, 8, 7),
        (Meta::L4proto, 8, 6),
        (Meta::Mark, 32, 0),
        (Meta::Priority, 32, 0),
        (Meta::Pkttype, 8, 3),
        (Meta::Iif, 32, 10),
        (Meta::Oif, 32, 11),
        (Meta::Iiftype, 16, 1),
        (Meta::Oifgroup, 32, 0),
        (Meta::Cpu, 32, 3),
        (Meta::Day, 8, 5),
        (Meta::Hour, 32, 7261),
        (Meta::Nftrace, 8, 0),
    ] {
        for (word, matches) in [(expected, true), (expected + 1, false)] {
            let mut bench = Bench::new();
            bench.context.worker = 0;
            if meta == Meta::Cpu {
                bench.counters = std::sync::Arc::new(counters::Counters::new(4));
                bench.context.worker = 3;
            }
            // 1970-01-02, a Friday, 02:01:01.
            bench.context.wall_ns = (86_400 + 7261) * 1_000_000_000;
            let key = bench.meta(meta, bits);
            assert_eq!(
                bench.matching(&[eq(key, word)], &[frames::tcp(1, 2)]),
                [matches],
                "{meta:?}"
            );
        }
    }
    let mut bench = Bench::new();
    let key = bench.meta(Meta::Iifname, 128);
    let star = Op::CompareMasked {
        key,
        mask: value(&[u32::MAX, 0, 0, 0]),
        relation: Relation::Eq,
        value: value(&[u32::from_be_bytes(*b"insi"), 0, 0, 0]),
    };
    assert_eq!(bench.matching(&[star], &[frames::arp()]), [true]);
}

#[test]
fn packet_types_follow_the_destination() {
    let to = |address: [u8; 6]| {
        let mut frame = frames::arp();
        frame[..6].copy_from_slice(&address);
        frame
    };
    let frames = [
        to([0xff; 6]),
        to([1, 0, 0x5e, 0, 0, 1]),
        to([2, 9, 9, 9, 9, 9]),
    ];
    for (number, expected) in [
        (1, [true, false, false]),
        (2, [false, true, false]),
        (3, [false, false, true]),
    ] {
        let mut bench = Bench::new();
        let key = bench.meta(Meta::Pkttype, 8);
        assert_eq!(bench.matching(&[eq(key, number)], &frames), expected);
    }
}
