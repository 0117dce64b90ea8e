//! Properties of the interpreter and the verifier over random programs, packets and bytes.

use proptest::prelude::*;

use super::testing::{Bench, frames};
use super::*;
use crate::worker::Fate;

/// A rule before its slots are known.
#[derive(Clone, Debug)]
enum Piece {
    Port(Relation, u32),
    Mark(Relation, u32),
    Length(u32, u32, bool),
    SetMark(u32),
    SetPort(u32),
    Count,
    End(u8),
}

fn relation() -> impl Strategy<Value = Relation> {
    prop_oneof![
        4 => Just(Relation::Eq),
        1 => Just(Relation::Ne),
        1 => Just(Relation::Lt),
        1 => Just(Relation::Ge),
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        4 => (relation(), 0u32..6).prop_map(|(relation, port)| Piece::Port(relation, port)),
        2 => (relation(), 0u32..3).prop_map(|(relation, mark)| Piece::Mark(relation, mark)),
        1 => (20u32..50, 20u32..50, any::<bool>())
            .prop_map(|(low, high, inverted)| Piece::Length(low, high, inverted)),
        1 => (0u32..3).prop_map(Piece::SetMark),
        1 => (0u32..6).prop_map(Piece::SetPort),
        2 => Just(Piece::Count),
        2 => (0u8..6).prop_map(Piece::End),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Vec<Vec<Piece>>>> {
    let rule = proptest::collection::vec(piece(), 0..4);
    proptest::collection::vec(proptest::collection::vec(rule, 0..12), 3)
}

fn packets() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let packet = prop_oneof![
        6 => (0u16..6).prop_map(|port| frames::tcp(9, port)),
        2 => (0u16..6).prop_map(|port| frames::udp(9, port)),
        1 => (0u16..6).prop_map(|port| frames::tcp6(9, port)),
        1 => Just(frames::arp()),
        1 => ((0u16..6), 0usize..54).prop_map(|(port, len)| {
            let mut frame = frames::tcp(9, port);
            frame.truncate(len);
            frame
        }),
    ];
    proptest::collection::vec(packet, 1..70)
}

/// Three chains in which a jump goes to the next one only; yields the bench and its counters.
fn build(chains: &[Vec<Vec<Piece>>]) -> (Bench, Vec<CounterSlot>) {
    let mut bench = Bench::new();
    let port = Source::Payload {
        base: Base::Transport,
        bit_offset: 16,
    };
    let port = bench.key(port, 16, Requires::Transport { protocol: 6 });
    let mark = bench.key(Source::Meta { key: Meta::Mark }, 32, Requires::Nothing);
    let length = bench.key(Source::Meta { key: Meta::Length }, 32, Requires::Nothing);
    let (work, narrow) = (bench.work(32), bench.work(16));
    let mut counters = Vec::new();
    let one = |word: u32| [word].into_iter().collect::<Value>();
    for (index, rules) in chains.iter().enumerate() {
        let next = ChainId(index as u32 + 1);
        let mut encoded = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            let mut ops = Vec::new();
            for piece in rule {
                ops.extend(match piece {
                    Piece::Port(relation, word) => {
                        vec![Op::Compare {
                            key: port,
                            relation: *relation,
                            value: one(*word),
                        }]
                    }
                    Piece::Mark(relation, word) => vec![Op::CompareMasked {
                        key: mark,
                        mask: one(3),
                        relation: *relation,
                        value: one(*word),
                    }],
                    Piece::Length(low, high, inverted) => vec![Op::Range {
                        key: length,
                        low: one(*low),
                        high: one(*high),
                        inverted: *inverted,
                    }],
                    Piece::SetMark(word) => vec![
                        Op::Immediate {
                            into: work,
                            value: one(*word),
                        },
                        Op::MetaSet {
                            key: MetaSetKey::Mark,
                            from: work,
                        },
                    ],
                    Piece::SetPort(word) => vec![
                        Op::Immediate {
                            into: narrow,
                            value: one(*word),
                        },
                        Op::PayloadWrite {
                            base: Base::Transport,
                            bit_offset: 16,
                            bits: 16,
                            from: narrow,
                            checksum: Checksum::Internet { offset: 16 },
                            pseudo_header: false,
                        },
                    ],
                    Piece::Count => {
                        counters.push(bench.counter());
                        vec![Op::Counter {
                            counter: *counters.last().unwrap(),
                        }]
                    }
                    Piece::End(0) => vec![Op::Verdict {
                        verdict: Verdict::Accept,
                    }],
                    Piece::End(1) => vec![Op::Verdict {
                        verdict: Verdict::Drop,
                    }],
                    Piece::End(2) => vec![Op::Verdict {
                        verdict: Verdict::Return,
                    }],
                    Piece::End(3) if index < 2 => {
                        vec![Op::Verdict {
                            verdict: Verdict::Jump { chain: next },
                        }]
                    }
                    Piece::End(4) if index < 2 => {
                        vec![Op::Verdict {
                            verdict: Verdict::Goto { chain: next },
                        }]
                    }
                    Piece::End(_) => vec![Op::Verdict {
                        verdict: Verdict::Continue,
                    }],
                });
            }
            encoded.push((index as u32 * 100 + number as u32, ops));
        }
        bench.chain(&encoded);
    }
    bench.base(0, Hook::Prerouting, Family::Bridge, Policy::Accept);
    bench.base(1, Hook::Forward, Family::Ip, Policy::Drop);
    (bench, counters)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_batch_is_its_packets_one_by_one(chains in rules(), packets in packets()) {
        let (mut bench, counters) = build(&chains);
        let mut run = |size: usize, ordered: bool| {
            bench.ordered = ordered;
            let fates: Vec<Fate> = bench.run_in_batches(&packets, size);
            let counts: Vec<_> = counters.iter().map(|slot| bench.counters.reset(*slot)).collect();
            (fates, counts, bench.frames_out.clone())
        };
        let together = run(64, false);
        prop_assert_eq!(&together, &run(1, false));
        prop_assert_eq!(&together, &run(7, false));
        prop_assert_eq!(&together, &run(64, true));
    }

    #[test]
    fn a_program_is_what_its_bytes_say(chains in rules()) {
        let program = build(&chains).0.program().unwrap();
        let bytes = program.to_bytes();
        prop_assert_eq!(Program::from_bytes(&bytes).unwrap().to_bytes(), bytes);
    }

    #[test]
    fn damaged_programs_are_refused_or_safe(
        chains in rules(), packets in packets(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = build(&chains).0.program().unwrap().to_bytes();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(program) = Program::from_bytes(&bytes) {
            Bench::new().run_program(program, &packets);
        }
    }

    #[test]
    fn random_bytes_are_no_program(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(Program::from_bytes(&bytes).is_err());
    }

    #[test]
    fn random_frames_are_dissected(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..4) {
        let mut bytes = bytes;
        if bytes.len() > 14 {
            let types: [[u8; 2]; 4] = [[8, 0], [0x86, 0xdd], [0x81, 0], [8, 6]];
            bytes[12..14].copy_from_slice(&types[usize::from(kind)]);
            if kind < 2 {
                bytes[14] = [0x45, 0x60][usize::from(kind)];
            }
        }
        let headers = crate::packet::Headers::dissect(&bytes);
        prop_assert!(headers.end as usize <= bytes.len());
        prop_assert!(usize::from(headers.network) <= bytes.len());
        for number in [0u8, 2, 43, 44, 60] {
            use crate::packet::options::*;
            let finds = [
                tcp_option(&bytes, &headers, number),
                ip6_extension(&bytes, &headers, number),
                ip_option(&bytes, &headers, number),
                sctp_chunk(&bytes, &headers, number),
                dccp_option(&bytes, &headers, number),
            ];
            prop_assert!(finds.iter().flatten().all(|found| found.at < bytes.len()));
        }
        crate::packet::reply::unreachable(&bytes, &headers, true, Some(1), Some(1));
        crate::packet::reply::tcp_reset(&bytes, &headers, true);
    }
}
