//! The pipeline on whole batches: walks, verdicts, ports, drops.

use super::*;
use crate::packet::Frame;
use crate::packet::Headers;
use crate::packet::headers::protocol;
use crate::program::testing::{Bench, frames};
use crate::program::*;
use crate::worker::EventKind;
use crate::worker::NO_RULE;

fn dport(bench: &mut Bench) -> Slot {
    bench.key(
        Source::Payload {
            base: Base::Transport,
            bit_offset: 16,
        },
        16,
        Requires::Transport {
            protocol: protocol::TCP,
        },
    )
}

fn eq(key: Slot, value: u32) -> Op {
    Op::Compare {
        key,
        relation: Relation::Eq,
        value: [value].into_iter().collect(),
    }
}

fn verdict(verdict: Verdict) -> Op {
    Op::Verdict { verdict }
}

#[test]
fn an_empty_ruleset_sends_everything_to_the_peer() {
    let mut bench = Bench::new();
    let fates = bench.run(&[frames::tcp(1, 80), frames::udp(1, 53), frames::arp()]);
    assert_eq!(fates, [Fate::Send(PortId(1)); 3]);
}

#[test]
fn a_short_frame_and_a_port_without_peer_have_their_reasons() {
    let mut bench = Bench::new();
    assert_eq!(
        bench.run(&[vec![0; 13]]),
        [Fate::dropped(DropReason::FrameTooShort)]
    );
    bench.ports.set(
        PortId(0),
        Some(crate::worker::PortInfo::new("inside", 10, "memory")),
    );
    assert_eq!(
        bench.run(&[frames::tcp(1, 2)]),
        [Fate::dropped(DropReason::NoPeer)]
    );
}

#[test]
fn a_rule_drops_what_it_names_and_counts_it() {
    let mut bench = Bench::new();
    let (key, counter) = (dport(&mut bench), bench.counter());
    bench.chain(&[(
        7,
        vec![eq(key, 22), Op::Counter { counter }, verdict(Verdict::Drop)],
    )]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
    let fates = bench.run(&[
        frames::tcp(1, 22),
        frames::tcp(1, 80),
        frames::udp(1, 22),
        frames::arp(),
    ]);
    assert_eq!(
        fates[0],
        Fate::Drop {
            reason: DropReason::RuleDrop,
            rule: 7
        }
    );
    assert!(fates[1..].iter().all(|fate| *fate == Fate::Send(PortId(1))));
    let count = bench.counters.read(counter);
    assert_eq!((count.packets, count.bytes), (1, 40));
}

#[test]
fn a_policy_drops_what_no_rule_accepts() {
    let mut bench = Bench::new();
    let key = dport(&mut bench);
    bench.chain(&[(1, vec![eq(key, 80), verdict(Verdict::Accept)])]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Drop);
    let fates = bench.run(&[frames::tcp(1, 80), frames::tcp(1, 81)]);
    assert_eq!(fates[0], Fate::Send(PortId(1)));
    assert_eq!(
        fates[1],
        Fate::Drop {
            reason: DropReason::PolicyDrop,
            rule: 1000
        }
    );
}

#[test]
fn an_accept_ends_its_chain_only() {
    let mut bench = Bench::new();
    let key = dport(&mut bench);
    bench.chain(&[(1, vec![verdict(Verdict::Accept)])]);
    bench.chain(&[(2, vec![eq(key, 80), verdict(Verdict::Drop)])]);
    bench.base(0, Hook::Prerouting, Family::Ip, Policy::Drop);
    bench.base(1, Hook::Forward, Family::Ip, Policy::Accept);
    let fates = bench.run(&[frames::tcp(1, 80), frames::tcp(1, 81)]);
    assert_eq!(
        fates[0],
        Fate::Drop {
            reason: DropReason::RuleDrop,
            rule: 2
        }
    );
    assert_eq!(fates[1], Fate::Send(PortId(1)));
}

/// Chain 0 jumps, chain 1 goes to chain 2, which returns or comes to its end.
#[test]
fn goto_returns_past_its_caller_and_jump_comes_back() {
    let mut bench = Bench::new();
    let key = dport(&mut bench);
    let (after_jump, after_goto) = (bench.counter(), bench.counter());
    bench.chain(&[
        (1, vec![verdict(Verdict::Jump { chain: ChainId(1) })]),
        (
            2,
            vec![Op::Counter {
                counter: after_jump,
            }],
        ),
    ]);
    bench.chain(&[
        (3, vec![eq(key, 1), verdict(Verdict::Return)]),
        (4, vec![verdict(Verdict::Goto { chain: ChainId(2) })]),
        (
            5,
            vec![Op::Counter {
                counter: after_goto,
            }],
        ),
    ]);
    bench.chain(&[
        (6, vec![eq(key, 2), verdict(Verdict::Return)]),
        (7, vec![eq(key, 3), verdict(Verdict::Drop)]),
        (8, vec![eq(key, 4), verdict(Verdict::Accept)]),
    ]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Drop);
    let fates = bench.run(&[1, 2, 3, 4, 5].map(|port| frames::tcp(9, port)));
    let rules: Vec<_> = fates
        .iter()
        .map(|fate| match fate {
            Fate::Send(_) | Fate::Held => None,
            Fate::Drop { rule, .. } => Some(*rule),
        })
        .collect();
    assert_eq!(rules, [Some(1000), Some(1000), Some(7), None, Some(1000)]);
    assert_eq!(bench.counters.read(after_jump).packets, 3);
    assert_eq!(bench.counters.read(after_goto).packets, 0);
}

#[test]
fn oifname_is_known_behind_the_peer_look_up() {
    let mut bench = Bench::new();
    let name = bench.key(Source::Meta { key: Meta::Oifname }, 128, Requires::Nothing);
    let counters = [bench.counter(), bench.counter()];
    for counter in counters {
        let value = name_words("outside").into_iter().collect();
        bench.chain(&[(
            1,
            vec![
                Op::Compare {
                    key: name,
                    relation: Relation::Eq,
                    value,
                },
                Op::Counter { counter },
            ],
        )]);
    }
    bench.base(0, Hook::Prerouting, Family::Ip, Policy::Accept);
    bench.base(1, Hook::Forward, Family::Ip, Policy::Accept);
    bench.run(&[frames::tcp(1, 1)]);
    assert_eq!(
        counters.map(|counter| bench.counters.read(counter).packets),
        [0, 1]
    );
}

#[test]
fn chains_of_a_device_look_at_its_frames_only() {
    let mut bench = Bench::new();
    bench.chain(&[(1, vec![verdict(Verdict::Drop)])]);
    bench.base_on(
        0,
        Hook::Ingress,
        Family::Netdev,
        Policy::Accept,
        &["outside"],
    );
    assert_eq!(bench.run(&[frames::arp()]), [Fate::Send(PortId(1))]);
    bench.in_port = PortId(1);
    let dropped = Fate::Drop {
        reason: DropReason::RuleDrop,
        rule: 1,
    };
    assert_eq!(bench.run(&[frames::arp()]), [dropped]);
}

#[test]
fn bad_ip_headers_end_where_ip_hooks_begin() {
    let mut bench = Bench::new();
    bench.chain(&[]);
    bench.check_ip();
    bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
    let mut wrong_sum = frames::tcp(1, 2);
    wrong_sum[24] ^= 1;
    let mut too_long = frames::tcp(1, 2);
    too_long[16] = 0xff;
    let fates = bench.run(&[wrong_sum, too_long, frames::tcp(1, 2), frames::arp()]);
    assert_eq!(fates[0], Fate::dropped(DropReason::IpChecksumBad));
    assert_eq!(fates[1], Fate::dropped(DropReason::IpHeaderBad));
    assert_eq!(fates[2..], [Fate::Send(PortId(1)); 2]);
}

#[test]
fn length_counts_what_the_hook_counts() {
    let mut bench = Bench::new();
    let counters: Vec<_> = (0..3).map(|_| bench.counter()).collect();
    for counter in &counters {
        bench.chain(&[(1, vec![Op::Counter { counter: *counter }])]);
    }
    bench.base(0, Hook::Prerouting, Family::Bridge, Policy::Accept);
    bench.check_ip();
    bench.base(1, Hook::Forward, Family::Ip, Policy::Accept);
    bench.base(2, Hook::Egress, Family::Netdev, Policy::Accept);
    let mut padded = frames::tcp(1, 2);
    padded.resize(60, 0);
    bench.run(&[padded]);
    let bytes: Vec<_> = counters
        .iter()
        .map(|counter| bench.counters.read(*counter).bytes)
        .collect();
    assert_eq!(bytes, [46, 40, 54]);
}

#[test]
fn a_mark_set_in_one_chain_is_seen_in_the_next() {
    let mut bench = Bench::new();
    let mark = bench.key(Source::Meta { key: Meta::Mark }, 32, Requires::Nothing);
    let work = bench.work(32);
    let key = dport(&mut bench);
    bench.chain(&[
        (1, vec![eq(mark, 5), verdict(Verdict::Drop)]),
        (
            2,
            vec![
                eq(key, 80),
                Op::Immediate {
                    into: work,
                    value: [5].into_iter().collect(),
                },
                Op::MetaSet {
                    key: MetaSetKey::Mark,
                    from: work,
                },
            ],
        ),
    ]);
    bench.chain(&[(3, vec![eq(mark, 5), verdict(Verdict::Drop)])]);
    bench.base(0, Hook::Prerouting, Family::Ip, Policy::Accept);
    bench.base(1, Hook::Forward, Family::Ip, Policy::Accept);
    let fates = bench.run(&[frames::tcp(1, 80), frames::tcp(1, 81)]);
    assert_eq!(
        fates[0],
        Fate::Drop {
            reason: DropReason::RuleDrop,
            rule: 3
        }
    );
    assert_eq!(fates[1], Fate::Send(PortId(1)));
}

#[test]
fn fwd_sends_by_its_port_and_dup_sends_a_copy() {
    let mut bench = Bench::new();
    let (work, key) = (bench.work(32), dport(&mut bench));
    let device = Op::Immediate {
        into: work,
        value: [10].into_iter().collect(),
    };
    bench.chain(&[
        (
            1,
            vec![
                eq(key, 1),
                device.clone(),
                Op::Dup {
                    device: Some(work),
                    address: None,
                },
            ],
        ),
        (
            2,
            vec![
                eq(key, 2),
                device,
                Op::Fwd {
                    device: work,
                    address: None,
                },
            ],
        ),
    ]);
    bench.base(0, Hook::Ingress, Family::Netdev, Policy::Accept);
    let fates = bench.run(&[frames::tcp(9, 1), frames::tcp(9, 2), frames::tcp(9, 3)]);
    assert_eq!(
        fates,
        [
            Fate::Send(PortId(1)),
            Fate::Send(PortId(0)),
            Fate::Send(PortId(1))
        ]
    );
    let copies: Vec<_> = bench
        .out
        .emitted
        .iter()
        .map(|(port, frame)| (*port, frame.bytes().to_vec()))
        .collect();
    assert_eq!(copies, [(PortId(0), frames::tcp(9, 1))]);
}

#[test]
fn a_rejected_packet_is_answered_by_the_port_it_came_from() {
    let mut bench = Bench::new();
    bench.chain(&[(
        1,
        vec![Op::Reject {
            with: Reject::Icmpx {
                code: Icmpx::AdminProhibited,
            },
        }],
    )]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
    let fates = bench.run(&[frames::udp(1, 2)]);
    assert_eq!(
        fates,
        [Fate::Drop {
            reason: DropReason::RuleReject,
            rule: 1
        }]
    );
    let (port, frame) = &bench.out.emitted[0];
    assert_eq!(*port, PortId(0));
    let headers = Headers::dissect(frame.bytes());
    assert_eq!(headers.l4proto, protocol::ICMP);
    assert_eq!(frame.bytes()[34..36], [3, 13]);
}

#[test]
fn log_and_trace_are_events_and_a_full_queue_never_blocks() {
    let mut bench = Bench::new();
    let log = bench.log(Log {
        prefix: "in: ".into(),
        ..Log::default()
    });
    let (work, trace) = (bench.work(8), MetaSetKey::Nftrace);
    bench.chain(&[
        (1, vec![Op::Log { log }]),
        (
            2,
            vec![
                Op::Immediate {
                    into: work,
                    value: [1].into_iter().collect(),
                },
                Op::MetaSet {
                    key: trace,
                    from: work,
                },
            ],
        ),
        (3, vec![verdict(Verdict::Accept)]),
    ]);
    bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
    bench.run(&[frames::tcp(1, 2)]);
    let kinds: Vec<_> = std::iter::from_fn(|| bench.events.pop())
        .map(|event| (event.kind, event.rule.0))
        .collect();
    assert_eq!(
        kinds,
        [
            (EventKind::Log(log), 1),
            (EventKind::TraceRule(Verdict::Continue), 2),
            (EventKind::TraceRule(Verdict::Accept), 3),
        ]
    );
    for _ in 0..40 {
        bench.run(&vec![frames::tcp(1, 2); 64]);
    }
    assert!(bench.events.dropped() > 0);
}

#[test]
fn tagged_ip_is_judged_by_the_bridge_family() {
    let mut bench = Bench::new();
    let key = dport(&mut bench);
    bench.chain(&[(1, vec![eq(key, 22), verdict(Verdict::Drop)])]);
    bench.chain(&[(2, vec![verdict(Verdict::Drop)])]);
    bench.base(0, Hook::Forward, Family::Bridge, Policy::Accept);
    bench.base(1, Hook::Forward, Family::Ip, Policy::Accept);
    let fates = bench.run(&[
        frames::tagged(frames::tcp(1, 22)),
        frames::tagged(frames::tcp(1, 80)),
    ]);
    assert_eq!(
        fates[0],
        Fate::Drop {
            reason: DropReason::RuleDrop,
            rule: 1
        }
    );
    assert_eq!(fates[1], Fate::Send(PortId(1)));
    let judged = Fate::Drop {
        reason: DropReason::RuleDrop,
        rule: 2,
    };
    assert_eq!(bench.run(&[frames::tcp(1, 80)]), [judged]);
}

#[test]
fn no_rule_is_the_same_number_everywhere() {
    assert_eq!(RuleRef::NONE.0, NO_RULE);
    assert!(
        Frame::owned(vec![0; 4].into(), 0, 4, PortId(0))
            .bytes()
            .len()
            == 4
    );
}
