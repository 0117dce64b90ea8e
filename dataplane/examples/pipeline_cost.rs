//! Cost of a packet through the pipeline, in memory: parse, rules, fate.
//!
//! `cargo run --release -p sluice-dataplane --example pipeline_cost`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use sluice_dataplane::packet::{BATCH, Burst, Frame};
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::{
    Base, BlockBuilder, ChainId, Class, Entry, Family, Hook, KeyDesc, Meta, Names, Op, Policy,
    ProgramBuilder, Relation, Requires, RuleRef, Source, Tables, Verdict,
};
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Generation, Pipeline, PortInfo, PortTable, Stages,
};

const ROUNDS: usize = 200;

/// What the rules of a measured chain look at.
#[derive(Clone, Copy, Debug)]
enum Rules {
    /// `tcp dport N drop`: one key, taken together by a scan.
    OnePort,
    /// `ip saddr A drop`, `tcp dport N drop` in turn: nothing to take together.
    Mixed,
    /// `ip saddr A tcp dport N drop`, where the address matches.
    Second,
    /// `tcp dport N-N+1 drop`.
    Ranges,
}

fn frame(flow: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([
        0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ]);
    frame.extend((1024 + flow).to_be_bytes());
    frame.extend(443u16.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0]);
    frame.resize(60, 0);
    frame
}

fn generation(rules: Rules, count: u32) -> Generation {
    let mut tables = Tables::new();
    let port = Source::Payload {
        base: Base::Transport,
        bit_offset: 16,
    };
    let requires = Requires::Transport { protocol: 6 };
    let port = tables
        .key(KeyDesc {
            source: port,
            bits: 16,
            requires,
        })
        .unwrap();
    let address = Source::Payload {
        base: Base::Network,
        bit_offset: 96,
    };
    let requires = Requires::Network { ethertype: 0x0800 };
    let address = tables
        .key(KeyDesc {
            source: address,
            bits: 32,
            requires,
        })
        .unwrap();
    let name = Source::Meta { key: Meta::Iifname };
    tables
        .key(KeyDesc {
            source: name,
            bits: 128,
            requires: Requires::Nothing,
        })
        .unwrap();
    let eq = |key, value: u32| Op::Compare {
        key,
        relation: Relation::Eq,
        value: [value].into_iter().collect(),
    };
    let drop = || Op::Verdict {
        verdict: Verdict::Drop,
    };
    let (mut blocks, mut block) = (Vec::new(), BlockBuilder::new());
    for number in 0..count {
        let ops = match rules {
            Rules::OnePort => vec![eq(port, 10_000 + number), drop()],
            Rules::Mixed if number % 2 == 0 => vec![eq(address, 10_000 + number), drop()],
            Rules::Mixed => vec![eq(port, 10_000 + number), drop()],
            Rules::Second => vec![eq(address, 0x0a00_0001), eq(port, 10_000 + number), drop()],
            Rules::Ranges => vec![
                Op::Range {
                    key: port,
                    low: [10_000 + number].into_iter().collect(),
                    high: [10_001 + number].into_iter().collect(),
                    inverted: false,
                },
                drop(),
            ],
        };
        block.rule(RuleRef(number), &ops);
        if block.is_full() {
            blocks.push(Arc::new(
                std::mem::take(&mut block).finish(&tables).unwrap(),
            ));
        }
    }
    blocks.push(Arc::new(block.finish(&tables).unwrap()));
    let mut builder = ProgramBuilder::new(Arc::new(tables));
    if count > 0 {
        builder.chain(blocks);
        let chain = Entry::Chain {
            chain: ChainId(0),
            hook: Hook::Forward,
            family: Family::Ip,
            priority: 0,
            policy: Policy::Accept,
            policy_rule: RuleRef::NONE,
            devices: Names::default(),
        };
        builder.walk(Class::Ip, vec![Entry::Peer, chain]);
    }
    let mut ports = PortTable::default();
    let (mut inside, mut outside) = (
        PortInfo::new("a", 1, "memory"),
        PortInfo::new("b", 2, "memory"),
    );
    inside.peer = Some(PortId(1));
    outside.peer = Some(PortId(0));
    ports.set(PortId(0), Some(inside));
    ports.set(PortId(1), Some(outside));
    let program = Arc::new(builder.finish().unwrap());
    let counters = Arc::new(Counters::new(1));
    Generation::new(1, program, vec![], vec![], counters, Arc::new(ports), 0).unwrap()
}

/// Nanoseconds a packet, the best of sixty short runs.
fn measure(generation: &Generation, lanes: usize) -> f64 {
    let mut memory: Vec<Vec<u8>> = (0..lanes)
        .map(|flow| [vec![0; 64], frame(flow as u16)].concat())
        .collect();
    let mut pipeline = Pipeline::new(1, Arc::new(EventQueue::new(16)));
    let mut out = Disposition::default();
    let context = Context::default();
    let mut best = f64::MAX;
    for _ in 0..60 {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            let mut burst = Burst::new();
            for slot in &mut memory {
                burst.push(Frame::borrowed(slot, 64, 60, PortId(0)));
            }
            out.clear();
            pipeline.process(&mut burst, generation, &context, &mut out);
            black_box(&out);
        }
        let spent = started.elapsed().as_nanos() as f64;
        best = best.min(spent / (ROUNDS * lanes) as f64);
    }
    best
}

fn main() {
    println!("ns a packet          64 lanes   8 lanes    1 lane");
    let line = |name: String, generation: &Generation| {
        let [wide, middle, one] = [BATCH, 8, 1].map(|lanes| measure(generation, lanes));
        println!("{name:<18} {wide:>9.2} {middle:>9.2} {one:>9.2}");
    };
    line("empty ruleset".into(), &generation(Rules::OnePort, 0));
    for rules in [Rules::OnePort, Rules::Mixed, Rules::Second, Rules::Ranges] {
        for count in [1, 100, 1000] {
            line(format!("{rules:?} x {count}"), &generation(rules, count));
        }
    }
}
