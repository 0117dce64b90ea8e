//! Each instruction: match, no match, negation, wrong protocol, truncated packet, counter.

use super::cell::{Cell, Last, Limit, Numgen, Quota};
use super::lane_set::{Change, LaneSet, Moment};
use super::lanes::{Column, lanes};
use super::testing::{Bench, frames};
use super::*;
use crate::packet::headers::protocol;
use crate::packet::reply::transport_checksum_ok;
use crate::packet::{Headers, VnetHeader};
use crate::worker::Fate;

fn value(words: &[u32]) -> Value {
    words.iter().copied().collect()
}

fn eq(key: Slot, word: u32) -> Op {
    Op::Compare {
        key,
        relation: Relation::Eq,
        value: value(&[word]),
    }
}

fn immediate(into: Slot, words: &[u32]) -> Op {
    Op::Immediate {
        into,
        value: value(words),
    }
}

impl Bench {
    fn payload(&mut self, base: Base, bit_offset: u16, bits: u16, requires: Requires) -> Slot {
        self.key(Source::Payload { base, bit_offset }, bits, requires)
    }

    fn meta(&mut self, key: Meta, bits: u16) -> Slot {
        self.key(Source::Meta { key }, bits, Requires::Nothing)
    }

    fn dport(&mut self) -> Slot {
        self.payload(
            Base::Transport,
            16,
            16,
            Requires::Transport {
                protocol: protocol::TCP,
            },
        )
    }

    fn exthdr(&mut self, kind: Exthdr, number: u8, bit_offset: u16, bits: u16) -> Slot {
        let source = Source::Exthdr {
            kind,
            number,
            bit_offset,
            exists: false,
        };
        self.key(source, bits, Requires::Nothing)
    }

    fn exists(&mut self, kind: Exthdr, number: u8) -> Slot {
        let source = Source::Exthdr {
            kind,
            number,
            bit_offset: 0,
            exists: true,
        };
        self.key(source, 8, Requires::Nothing)
    }

    /// Which of the frames come to the end of a rule with these instructions; its counter agrees.
    fn matching(&mut self, ops: &[Op], frames: &[Vec<u8>]) -> Vec<bool> {
        let counter = self.counter();
        let drop = Op::Verdict {
            verdict: Verdict::Drop,
        };
        let rule = [ops, &[Op::Counter { counter }, drop]].concat();
        self.chain(&[(1, rule)]);
        self.base(0, Hook::Forward, Family::Bridge, Policy::Accept);
        let fates = self.run(frames);
        let matched: Vec<_> = fates
            .iter()
            .map(|fate| matches!(fate, Fate::Drop { .. }))
            .collect();
        let count = matched.iter().filter(|matched| **matched).count() as u64;
        assert_eq!(self.counters.read(counter).packets, count);
        matched
    }

    /// The bytes of the frame after a rule with these instructions has run on it.
    fn changed(&mut self, ops: &[Op], frame: Vec<u8>) -> Vec<u8> {
        self.chain(&[(1, ops.to_vec())]);
        self.base(0, Hook::Forward, Family::Bridge, Policy::Accept);
        self.run(&[frame]);
        self.frames_out.remove(0)
    }
}

fn truncated(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}

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

#[test]
fn arithmetic() {
    // dport 0x1234: each instruction's result is compared with what it must be.
    let frame = [frames::tcp(1, 0x1234)];
    let combined = |how: Combine| {
        move |into: Slot, key: Slot, other: Slot| Op::Combine {
            into,
            left: key,
            how,
            right: other,
        }
    };
    let bitwise = |into, from, _| Op::Bitwise {
        into,
        from,
        mask: value(&[0xff0]),
        xor: value(&[0x00f]),
    };
    let left = |into, from, _| Op::Shift {
        into,
        from,
        left: true,
        bits: 4,
    };
    let right = |into, from, _| Op::Shift {
        into,
        from,
        left: false,
        bits: 4,
    };
    let copy = |into, from, _| Op::Copy { into, from };
    type Make = Box<dyn Fn(Slot, Slot, Slot) -> Op>;
    let cases: [(Make, u32); 7] = [
        (Box::new(combined(Combine::And)), 0x0204),
        (Box::new(combined(Combine::Or)), 0x1f3f),
        (Box::new(combined(Combine::Xor)), 0x1d3b),
        (Box::new(bitwise), 0x023f),
        (Box::new(left), 0x2340),
        (Box::new(right), 0x0123),
        (Box::new(copy), 0x1234),
    ];
    for (make, expected) in cases {
        let mut bench = Bench::new();
        let (key, other, into) = (bench.dport(), bench.work(16), bench.work(16));
        let ops = [
            immediate(other, &[0x0f0f]),
            make(into, key, other),
            eq(into, expected),
        ];
        assert_eq!(bench.matching(&ops, &frame), [true], "{expected:x}");
    }
}

#[test]
fn shifts_carry_between_columns() {
    let start = [0, 1, 0x0002_0000, 0x0003_0000];
    for (left, bits) in [(true, 40), (false, 40), (true, 32), (false, 8), (true, 127)] {
        let mut bench = Bench::new();
        let (from, into) = (bench.work(128), bench.work(128));
        let number = |words: [u32; 4]| {
            words
                .iter()
                .fold(0u128, |number, word| number << 32 | u128::from(*word))
        };
        let shifted = if left {
            number(start) << bits
        } else {
            number(start) >> bits
        };
        let words: [u32; 4] = std::array::from_fn(|index| (shifted >> (96 - index * 32)) as u32);
        let ops = [
            immediate(from, &start),
            Op::Shift {
                into,
                from,
                left,
                bits,
            },
            Op::Compare {
                key: into,
                relation: Relation::Eq,
                value: value(&words),
            },
        ];
        assert_eq!(
            bench.matching(&ops, &[frames::arp()]),
            [true],
            "{left} {bits}"
        );
    }
}

#[test]
fn cells_let_packets_by_in_lane_order() {
    let packets = vec![frames::tcp(1, 2); 8];
    let mut bench = Bench::new();
    let cell = bench.cell(Cell::Limit(Limit::new(
        1,
        3_600_000_000_000,
        0,
        false,
        false,
    )));
    let matched = bench.matching(&[Op::Cell { cell }], &packets);
    assert_eq!(matched, [true, true, true, true, true, false, false, false]);
    let mut bench = Bench::new();
    let cell = bench.cell(Cell::Quota(Quota::new(100, true, 0)));
    assert_eq!(
        bench.matching(&[Op::Cell { cell }], &packets[..4]),
        [false, false, true, true]
    );
    let mut bench = Bench::new();
    bench.context.now_ns = 42;
    let cell = bench.cell(Cell::Last(Last::default()));
    assert_eq!(bench.matching(&[Op::Cell { cell }], &packets[..1]), [true]);
    let Cell::Last(last) = &*bench.cells[0] else {
        panic!("not last")
    };
    assert_eq!(last.at_ns(), Some(42));
    let mut bench = Bench::new();
    let (cell, into) = (bench.cell(Cell::Numgen(Numgen::new(3, 0))), bench.work(32));
    let ops = [Op::NumgenInc { into, cell }, eq(into, 1)];
    assert_eq!(
        bench.matching(&ops, &packets[..5]),
        [false, true, false, false, true]
    );
}

#[test]
fn hashes_and_chance_stay_below_their_modulus() {
    let mut bench = Bench::new();
    let (key, into) = (bench.dport(), bench.work(32));
    let from: Slots = [key].into_iter().collect();
    let expected = hash::scale(hash::jhash(&[0, 80], 5), 1000) + 7;
    let jhash = Op::Jhash {
        into,
        from,
        modulus: 1000,
        seed: 5,
        offset: 7,
    };
    assert_eq!(
        bench.matching(&[jhash, eq(into, expected)], &[frames::tcp(1, 80)]),
        [true]
    );
    let mut bench = Bench::new();
    let into = bench.work(32);
    let random = Op::NumgenRandom {
        into,
        modulus: 10,
        offset: 100,
    };
    let inside = Op::Range {
        key: into,
        low: value(&[100]),
        high: value(&[109]),
        inverted: false,
    };
    assert_eq!(
        bench.matching(&[random, inside], &vec![frames::arp(); 64]),
        [true; 64]
    );
    // Both directions of a flow have the same hash, others mostly not.
    let (there, mut bench) = (frames::tcp(1000, 80), Bench::new());
    let into = bench.work(32);
    bench.chain(&[(
        1,
        vec![
            Op::Symhash {
                into,
                modulus: u32::MAX,
                offset: 0,
            },
            Op::MetaSet {
                key: MetaSetKey::Mark,
                from: into,
            },
            Op::Log { log: LogId(0) },
        ],
    )]);
    bench.log(Log::default());
    bench.base(0, Hook::Forward, Family::Bridge, Policy::Accept);
    let other = frames::tcp(1001, 80);
    let back = {
        let mut frame = frames::tcp(80, 1000);
        frame[26..30].copy_from_slice(&[10, 0, 0, 2]);
        frame[30..34].copy_from_slice(&[10, 0, 0, 1]);
        frame
    };
    bench.run(&[there, back, other]);
    let marks: Vec<_> = std::iter::from_fn(|| bench.events.pop())
        .map(|event| event.mark)
        .collect();
    assert_eq!(marks[0], marks[1]);
    assert_ne!(marks[0], marks[2]);
}

/// A set of one-column keys in a list, as a reference.
#[derive(Debug)]
struct ListSet {
    data: SetData,
    elements: std::sync::Mutex<Vec<(u32, u32)>>,
    size: usize,
}

impl ListSet {
    fn new(data: SetData, elements: &[(u32, u32)]) -> std::sync::Arc<Self> {
        let size = elements.len() + 1;
        std::sync::Arc::new(Self {
            data,
            elements: elements.to_vec().into(),
            size,
        })
    }
}

impl LaneSet for ListSet {
    fn desc(&self) -> SetDesc {
        SetDesc {
            key_columns: 1,
            data: self.data.clone(),
        }
    }

    fn look_up(&self, key: &[&Column], among: u64, _: &Moment<'_>, data: &mut [Column]) -> u64 {
        let elements = self.elements.lock().unwrap();
        let mut found = 0;
        for lane in lanes(among) {
            if let Some((_, value)) = elements
                .iter()
                .find(|(element, _)| *element == key[0][lane])
            {
                found |= 1 << lane;
                if let Some(column) = data.first_mut() {
                    column[lane] = *value;
                }
            }
        }
        found
    }

    fn change(&self, key: &[&Column], among: u64, _: &Moment<'_>, change: &Change<'_>) -> u64 {
        let mut elements = self.elements.lock().unwrap();
        let mut going_on = 0;
        for lane in lanes(among) {
            let word = key[0][lane];
            let known = elements.iter().position(|(element, _)| *element == word);
            match (change.action, known) {
                (SetAction::Delete, Some(at)) => _ = elements.remove(at),
                (SetAction::Delete, None) | (_, Some(_)) => {}
                (_, None) if elements.len() >= self.size => continue,
                (_, None) => {
                    elements.push((word, change.data.first().map_or(0, |data| data[lane])))
                }
            }
            going_on |= 1 << lane;
        }
        going_on
    }
}

#[test]
fn sets_and_maps_are_looked_up() {
    let aimed = [
        frames::tcp(1, 22),
        frames::tcp(1, 80),
        frames::tcp(1, 81),
        frames::udp(1, 22),
    ];
    for (inverted, expected) in [
        (false, [true, true, false, false]),
        (true, [false, false, true, false]),
    ] {
        let mut bench = Bench::new();
        let key = bench.dport();
        let set = bench.set(ListSet::new(SetData::Nothing, &[(22, 0), (80, 0)]));
        let op = Op::LookUp {
            set,
            keys: [key].into_iter().collect(),
            inverted,
        };
        assert_eq!(bench.matching(&[op], &aimed), expected);
    }
    let mut bench = Bench::new();
    let (key, into) = (bench.dport(), bench.work(32));
    let set = bench.set(ListSet::new(
        SetData::Columns { count: 1 },
        &[(22, 5), (80, 6)],
    ));
    let keys: Slots = [key].into_iter().collect();
    let ops = [Op::MapInto { set, keys, into }, eq(into, 6)];
    assert_eq!(bench.matching(&ops, &aimed), [false, true, false, false]);
}

#[test]
fn verdict_maps_give_each_lane_its_own_and_a_miss_ends_the_rule() {
    let mut bench = Bench::new();
    let (key, behind, called) = (bench.dport(), bench.counter(), bench.counter());
    let word = |verdict: Verdict| verdict.to_word();
    let set = bench.set(ListSet::new(
        SetData::Verdict,
        &[
            (1, word(Verdict::Accept)),
            (2, word(Verdict::Drop)),
            (3, word(Verdict::Continue)),
            (4, word(Verdict::Jump { chain: ChainId(1) })),
            (5, word(Verdict::Jump { chain: ChainId(0) })),
        ],
    ));
    let keys: Slots = [key].into_iter().collect();
    bench.chain(&[
        (
            1,
            vec![
                Op::VerdictMap { set, keys },
                Op::Counter { counter: behind },
            ],
        ),
        (
            2,
            vec![
                eq(key, 4),
                Op::Verdict {
                    verdict: Verdict::Accept,
                },
            ],
        ),
    ]);
    bench.chain(&[(3, vec![Op::Counter { counter: called }])]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Drop);
    bench.map_targets(set, &[ChainId(1)]);
    let fates = bench.run(&[1, 2, 3, 4, 5, 6].map(|port| frames::tcp(9, port)));
    let reasons: Vec<_> = fates
        .iter()
        .map(|fate| match fate {
            Fate::Send(_) | Fate::Held => None,
            Fate::Drop { reason, .. } => Some(*reason),
        })
        .collect();
    use crate::DropReason::{JumpDepth, PolicyDrop, RuleDrop};
    // A verdict that names a chain which is not deeper is a drop, not a loop.
    let expected = [
        None,
        Some(RuleDrop),
        Some(PolicyDrop),
        None,
        Some(JumpDepth),
        Some(PolicyDrop),
    ];
    assert_eq!(reasons, expected);
    assert_eq!(bench.counters.read(behind).packets, 1);
    assert_eq!(bench.counters.read(called).packets, 1);
}

#[test]
fn object_maps_run_the_object() {
    let mut bench = Bench::new();
    let (key, counter) = (bench.dport(), bench.counter());
    let kind = ObjectKind::Counter;
    let set = bench.set(ListSet::new(SetData::Object { kind }, &[(80, counter.0)]));
    let op = Op::ObjectMap {
        set,
        keys: [key].into_iter().collect(),
        kind,
    };
    let aimed = [frames::tcp(1, 80), frames::tcp(1, 81)];
    assert_eq!(bench.matching(&[op], &aimed), [true, false]);
    assert_eq!(bench.counters.read(counter).packets, 1);
}

#[test]
fn dynamic_sets_end_the_rule_when_they_are_full() {
    let mut bench = Bench::new();
    let key = bench.dport();
    let set = bench.set(ListSet::new(SetData::Nothing, &[(1, 0)]));
    let op = Op::DynSet {
        set,
        keys: [key].into_iter().collect(),
        action: SetAction::Add,
        timeout_ms: None,
        data: Slots::new(),
        statements: Default::default(),
    };
    let aimed = [2, 3, 1, 2].map(|port| frames::tcp(9, port));
    assert_eq!(bench.matching(&[op], &aimed), [true, false, true, true]);
}

#[test]
fn meta_is_set_and_read_back_in_the_same_rule() {
    for (key, meta, bits) in [
        (MetaSetKey::Mark, Meta::Mark, 32),
        (MetaSetKey::Priority, Meta::Priority, 32),
        (MetaSetKey::Pkttype, Meta::Pkttype, 8),
        (MetaSetKey::Nftrace, Meta::Nftrace, 8),
    ] {
        let mut bench = Bench::new();
        let (read, work) = (bench.meta(meta, bits), bench.work(bits));
        let before = Op::Compare {
            key: read,
            relation: Relation::Ne,
            value: value(&[1]),
        };
        let ops = [
            before,
            immediate(work, &[1]),
            Op::MetaSet { key, from: work },
            eq(read, 1),
        ];
        assert_eq!(
            bench.matching(&ops, &[frames::tcp(1, 2)]),
            [true],
            "{meta:?}"
        );
    }
}

fn write(
    base: Base,
    bit_offset: u16,
    bits: u16,
    from: Slot,
    check: Option<u8>,
    pseudo: bool,
) -> Op {
    let checksum = check.map_or(Checksum::None, |offset| Checksum::Internet { offset });
    Op::PayloadWrite {
        base,
        bit_offset,
        bits,
        from,
        checksum,
        pseudo_header: pseudo,
    }
}

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

#[test]
fn a_scan_is_the_linear_list() {
    // Thirty rules on one key with repeated constants, a drop and a write in between.
    let rules = |scan: bool| {
        let mut bench = Bench::new();
        let (key, mark) = (bench.dport(), bench.meta(Meta::Mark, 32));
        let work = bench.work(16);
        let mut rules = Vec::new();
        let mut counters = Vec::new();
        for number in 0..30u32 {
            let counter = bench.counter();
            counters.push(counter);
            let mut ops = vec![eq(key, number % 10), Op::Counter { counter }];
            if number == 12 {
                ops.push(Op::Verdict {
                    verdict: Verdict::Drop,
                });
            }
            if number == 14 {
                ops.push(immediate(work, &[7]));
                ops.push(write(Base::Transport, 16, 16, work, Some(16), false));
            }
            if !scan {
                // Another first match keeps the rules apart.
                ops.insert(0, eq(mark, 0));
            }
            rules.push((number, ops));
        }
        bench.chain(&rules);
        bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
        let packets: Vec<_> = (0..40).map(|port| frames::tcp(1, port % 12)).collect();
        let mut results = Vec::new();
        for size in [64, 3] {
            let fates = bench.run_in_batches(&packets, size);
            let counts: Vec<_> = counters
                .iter()
                .map(|counter| bench.counters.reset(*counter))
                .collect();
            results.push((fates, counts));
        }
        assert_eq!(results[0], results[1]);
        results.remove(0)
    };
    assert_eq!(rules(true), rules(false));
}

#[test]
fn engines_that_are_missing_are_named_and_refused() {
    use crate::worker::Generation;
    let mut bench = Bench::new();
    let key = bench.key(
        Source::Ct {
            key: CtKey::State,
            direction: None,
        },
        32,
        Requires::Nothing,
    );
    bench.chain(&[(1, vec![eq(key, 2)]), (2, vec![Op::Notrack])]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
    let program = std::sync::Arc::new(bench.program().unwrap());
    let make = |engines| {
        let (counters, ports) = (bench.counters.clone(), Default::default());
        Generation::new(1, program.clone(), vec![], vec![], counters, ports, engines)
    };
    assert_eq!(
        make(0).unwrap_err().to_string(),
        "the ruleset needs connection tracking, which this dataplane does not have"
    );
    assert!(make(engines::TRACK).is_ok());
    bench.engines = engines::TRACK;
    assert!(
        bench
            .run(&[frames::tcp(1, 2)])
            .iter()
            .all(|fate| matches!(fate, Fate::Drop { .. }))
    );
}

#[test]
fn programs_that_lie_are_refused() {
    let refusal = |ops: Vec<Op>, mut bench: Bench| {
        bench.chain(&[(1, ops)]);
        bench.program().unwrap_err()
    };
    let mut bench = Bench::new();
    let key = bench.dport();
    let wide = Op::Compare {
        key,
        relation: Relation::Eq,
        value: value(&[0, 1]),
    };
    assert!(matches!(
        refusal(vec![wide], bench),
        Malformed::Width { .. }
    ));
    let mut bench = Bench::new();
    let key = bench.dport();
    assert!(matches!(
        refusal(vec![immediate(key, &[1])], bench),
        Malformed::NotWork { .. }
    ));
    let mut bench = Bench::new();
    let work = bench.work(32);
    assert!(matches!(
        refusal(vec![eq(work, 1)], bench),
        Malformed::Invalid(_)
    ));
    let unknown = Op::LookUp {
        set: SetId(3),
        keys: Slots::new(),
        inverted: false,
    };
    assert!(matches!(
        refusal(vec![unknown], Bench::new()),
        Malformed::OutOfRange { .. }
    ));
    let itself = Op::Verdict {
        verdict: Verdict::Jump { chain: ChainId(0) },
    };
    assert!(matches!(
        refusal(vec![itself], Bench::new()),
        Malformed::Loop { .. }
    ));
    let mut bench = Bench::new();
    for chain in 0..17 {
        bench.chain(&[(
            1,
            vec![Op::Verdict {
                verdict: Verdict::Jump {
                    chain: ChainId(chain + 1),
                },
            }],
        )]);
    }
    bench.chain(&[]);
    assert!(matches!(
        bench.program().unwrap_err(),
        Malformed::TooDeep { .. }
    ));
}
