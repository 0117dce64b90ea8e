//! The tracker and a naive one see the same packets, and must say the same.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::testing::{Ends, SECOND, Stand, settings, udp};
use super::super::{CtState, Direction, Filter, Tracker};

#[derive(Clone, Debug)]
enum Step {
    /// Packets by number of their ends, which may be turned, and which of them are dropped.
    Burst(Vec<(u8, bool)>, u64),
    Wait(u64),
    Delete(u8),
}

/// A flow of the naive tracker.
#[derive(Clone, Debug)]
struct Naive {
    began: u64,
    ends: u64,
    seen_reply: bool,
    assured: bool,
    packets: [u64; 2],
}

#[derive(Default)]
struct Model {
    flows: BTreeMap<Ends, Naive>,
}

impl Model {
    /// What becomes of a packet; the timeouts of UDP are those of Linux.
    fn packet(&mut self, ends: Ends, kept: bool, now: u64) -> (CtState, Direction) {
        self.flows.retain(|_, flow| flow.ends > now);
        let direction = if self.flows.contains_key(&ends) {
            Direction::Original
        } else if self.flows.contains_key(&ends.answer()) {
            Direction::Reply
        } else {
            if kept {
                let flow = Naive {
                    began: now,
                    ends: now + 30 * SECOND,
                    seen_reply: false,
                    assured: false,
                    packets: [1, 0],
                };
                self.flows.insert(ends, flow);
            }
            return (CtState::New, Direction::Original);
        };
        let key = if direction == Direction::Original {
            ends
        } else {
            ends.answer()
        };
        let flow = self.flows.get_mut(&key).unwrap();
        let stream = flow.seen_reply && now > flow.began + 2 * SECOND;
        flow.ends = now + if stream { 120 } else { 30 } * SECOND;
        flow.assured |= stream;
        flow.seen_reply |= direction == Direction::Reply;
        flow.packets[direction as usize] += 1;
        let state = if flow.seen_reply {
            CtState::Established
        } else {
            CtState::New
        };
        (state, direction)
    }
}

fn ends(number: u8) -> Ends {
    // Few, so that they meet; some are others' answers.
    Ends {
        src: u16::from(number & 1),
        dst: u16::from(number >> 1 & 1),
        sport: u16::from(number >> 2 & 3) + 1,
        dport: u16::from(number >> 4 & 3) + 1,
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let burst = (
        proptest::collection::vec((0u8..64, any::<bool>()), 1..64),
        any::<u64>(),
        any::<u64>(),
    )
        .prop_map(|(packets, a, b)| Step::Burst(packets, a & b));
    // In steps of what a deadline is kept to, so that the two agree to the nanosecond.
    let grain = 4_000_000;
    let wait = prop_oneof![0..250u64, Just(750), 5_000..35_000u64]
        .prop_map(move |grains| Step::Wait(grains * grain));
    let step = prop_oneof![4 => burst, 2 => wait, 1 => (0u8..64).prop_map(Step::Delete)];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_tracker_agrees_with_a_naive_one(steps in steps(), seed in any::<u64>()) {
        let tracker = Tracker::new(settings(400), 1, seed).unwrap();
        let mut stand = Stand::new(&tracker, 0);
        stand.exact = true;
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Burst(packets, dropped) => {
                    let packets: Vec<Ends> = packets
                        .iter()
                        .map(|&(number, turned)| if turned { ends(number).answer() } else { ends(number) })
                        .collect();
                    let frames: Vec<_> = packets.iter().map(|ends| udp(*ends)).collect();
                    let got = stand.pass(&frames, !dropped);
                    for (lane, (ends, ct)) in packets.iter().zip(&got).enumerate() {
                        let kept = dropped >> lane & 1 == 0;
                        let wanted = model.packet(*ends, kept, stand.now);
                        prop_assert_eq!((ct.state, ct.direction), wanted, "lane {} {:?}", lane, ends);
                    }
                }
                Step::Wait(ns) => stand.now += ns,
                Step::Delete(number) => {
                    let mut filter = Filter::default();
                    filter.original.sport = Some(ends(number).sport);
                    model.flows.retain(|_, flow| flow.ends > stand.now);
                    tracker.delete_matching(&filter, 0);
                    model.flows.retain(|key, _| key.sport != ends(number).sport);
                }
            }
        }
        let mut flows = Vec::new();
        tracker.list(&Filter::default(), 0, usize::MAX, &mut flows);
        flows.retain(|flow| flow.expires_ns > stand.now);
        model.flows.retain(|_, flow| flow.ends > stand.now);
        let listed: BTreeMap<_, _> = flows
            .iter()
            .map(|flow| {
                let assured = flow.status & super::super::status::ASSURED != 0;
                let key = (flow.original.sport, flow.original.dport, flow.original.src, flow.original.dst);
                (key, (flow.packets, assured, flow.expires_ns))
            })
            .collect();
        prop_assert_eq!(listed.len(), flows.len(), "a tuple twice");
        prop_assert_eq!(listed.len(), model.flows.len());
        for (ends, flow) in &model.flows {
            let mut key = (ends.sport, ends.dport, [0; 16], [0; 16]);
            key.2[..4].copy_from_slice(&[10, 2, (ends.src >> 8) as u8, ends.src as u8]);
            key.3[..4].copy_from_slice(&[10, 2, (ends.dst >> 8) as u8, ends.dst as u8]);
            prop_assert_eq!(listed.get(&key), Some(&(flow.packets, flow.assured, flow.ends)), "{:?}", ends);
        }
    }
}
