//! Two ports that are each other's peers, a ruleset between them, and frames through it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile, Request};
use sluice_config::ipset::IpsetRequest;
use sluice_config::ipset::address::NoNames;
use sluice_config::ipset::words::words;
use sluice_config::syntax::Input;
use sluice_dataplane::packet::{Burst, Frame as Borrowed};
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::counters::{Count, Counters};
use sluice_dataplane::program::{CounterSlot, Program};
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Fate, Generation, Pipeline, PortInfo, PortTable, Stages,
    SystemClock,
};

use super::build::Frame;

/// A ruleset in force between two ports.
pub(crate) struct Bench {
    engine: Engine,
    generation: Arc<Generation>,
    now_ns: u64,
}

/// What became of frames.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether each was dropped.
    pub(crate) dropped: Vec<bool>,
    /// What each looked like in the end.
    pub(crate) frames: Vec<Frame>,
    /// What came forth beside them.
    pub(crate) emitted: Vec<(PortId, Frame)>,
}

fn ports() -> PortTable {
    let mut ports = PortTable::default();
    for (number, name, peer) in [(0, "inside", 1), (1, "outside", 0)] {
        let info = PortInfo::new(name, 10 + u32::from(number), "memory");
        ports.set(
            PortId(number),
            Some(PortInfo {
                peer: Some(PortId(peer)),
                ..info
            }),
        );
    }
    ports
}

fn profile() -> Profile {
    let port = |name: &str, index, peer: &str| PortProfile {
        name: name.to_owned(),
        index,
        group: 0,
        kind: 1,
        peer: Some(peer.to_owned()),
        bridge: None,
    };
    Profile {
        mode: Mode::Wire,
        ports: vec![port("inside", 10, "outside"), port("outside", 11, "inside")],
    }
}

impl Bench {
    /// Loads a ruleset, or says why not.
    pub(crate) fn load(text: &str) -> Result<Self, String> {
        let counters = Arc::new(Counters::new(1));
        let mut engine = Engine::new(
            Profile::workbench(),
            counters,
            Arc::new(SystemClock),
            Box::new(NoWorkers),
        );
        engine.set_ports(profile(), Arc::new(ports()));
        let mut bench = Self {
            engine,
            generation: Arc::new(Generation::open(0, Arc::new(ports()), 1)),
            now_ns: 1_000_000_000,
        };
        bench.apply(text)?;
        Ok(bench)
    }

    /// Loads a ruleset that is right.
    pub(crate) fn new(text: &str) -> Self {
        Self::load(text).unwrap_or_else(|refusal| panic!("{text}\n{refusal}"))
    }

    /// Changes the ruleset.
    pub(crate) fn apply(&mut self, text: &str) -> Result<String, String> {
        let request = Request::new(Input::CommandLine(text.to_owned()));
        let reply = self
            .engine
            .run(request)
            .map_err(|refusal| refusal.rendered)?;
        if let Some(live) = self.engine.live() {
            self.generation = read_back(live);
        }
        Ok(reply.output)
    }

    /// Runs an ipset command line; yields its output, or what it was refused with.
    pub(crate) fn ipset(&mut self, line: &str) -> Result<String, String> {
        let (line, input) = line.split_once(" << ").unwrap_or((line, ""));
        let request = IpsetRequest {
            words: words(line),
            input: (!input.is_empty()).then(|| input.replace('|', "\n")),
            ..IpsetRequest::default()
        };
        let answer = self.engine.ipset(&request, &NoNames);
        if let Some(live) = self.engine.live() {
            self.generation = read_back(live);
        }
        match answer.code {
            0 => Ok(answer.output),
            _ => Err(answer.errors),
        }
    }

    /// The elements of a set, in order.
    pub(crate) fn elements(&mut self, set: &str) -> Vec<String> {
        let listing = self.ipset(&format!("list -s {set}")).unwrap_or_default();
        let members = listing.lines().skip_while(|line| *line != "Members:");
        members.skip(1).map(str::to_owned).collect()
    }

    /// Lets time pass.
    pub(crate) fn advance_ms(&mut self, ms: u64) {
        self.now_ns += ms * 1_000_000;
    }

    /// Runs frames as one batch that came in by the port "inside".
    pub(crate) fn run(&self, frames: &[Frame]) -> Outcome {
        self.run_with(frames, |_| {})
    }

    /// The same, with a last touch to every frame.
    pub(crate) fn run_with(&self, frames: &[Frame], touch: impl Fn(&mut Borrowed<'_>)) -> Outcome {
        let mut pipeline = Pipeline::new(7, Arc::new(EventQueue::new(64)));
        let mut memory: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| [&[0; 64][..], frame, &[0; 64][..]].concat())
            .collect();
        let mut burst = Burst::new();
        for (slot, frame) in memory.iter_mut().zip(frames) {
            let mut frame = Borrowed::borrowed(slot, 64, frame.len(), PortId(0));
            touch(&mut frame);
            burst.push(frame);
        }
        let mut out = Disposition::default();
        let context = Context {
            worker: 0,
            now_ns: self.now_ns,
            wall_ns: self.now_ns,
        };
        pipeline.process(&mut burst, &self.generation, &context, &mut out);
        let fates = &out.fates()[..frames.len()];
        Outcome {
            dropped: fates
                .iter()
                .map(|fate| matches!(fate, Fate::Drop { .. }))
                .collect(),
            frames: burst.iter().map(|frame| frame.bytes().to_vec()).collect(),
            emitted: out
                .emitted
                .iter()
                .map(|(port, frame)| (*port, frame.bytes().to_vec()))
                .collect(),
        }
    }

    /// What the counters of each chain's rules have counted, rule by rule.
    pub(crate) fn counts(&self, chain: &str) -> Vec<Count> {
        let rules = self
            .engine
            .ruleset()
            .tables
            .iter()
            .filter_map(|table| table.chain(chain));
        rules
            .flat_map(|chain| chain.rules.iter())
            .flat_map(|rule| rule.slots.counters.iter())
            .map(|slot: &CounterSlot| self.engine.counters().read(*slot))
            .collect()
    }

    /// Names of the frames of a list that a rule's counter counts, each sent by itself.
    pub(crate) fn counted<'n>(&self, zoo: &[(&'n str, Frame)]) -> Vec<&'n str> {
        let mut hits = Vec::new();
        for (name, frame) in zoo {
            let before = self.packets();
            self.run(std::slice::from_ref(frame));
            if self.packets() != before {
                hits.push(*name);
            }
        }
        hits
    }

    /// Packets of all counters of chain "c".
    pub(crate) fn packets(&self) -> u64 {
        self.counts("c").iter().map(|count| count.packets).sum()
    }

    /// The program as `explain --program` shows it.
    pub(crate) fn explain(&self) -> String {
        self.engine.explain_program()
    }

    /// Every rule with the instructions that it became.
    pub(crate) fn listing(&self) -> BTreeMap<u32, Vec<String>> {
        let program = self.generation.program();
        let rules = program
            .chains()
            .iter()
            .flat_map(|chain| chain.blocks())
            .flat_map(|b| b.rules());
        rules
            .map(|(rule, ops)| (rule.0, ops.iter().map(|op| format!("{op:?}")).collect()))
            .collect()
    }
}

/// The generation over the program written out and read back.
fn read_back(live: &Generation) -> Arc<Generation> {
    let bytes = live.program().to_bytes();
    let program = Program::from_bytes(&bytes).expect("a program reads back");
    assert_eq!(program.to_bytes(), bytes);
    let generation = Generation::new(
        live.number(),
        Arc::new(program),
        live.sets().to_vec(),
        live.cells().to_vec(),
        Arc::clone(live.counters()),
        Arc::clone(live.ports()),
        u32::MAX,
    );
    Arc::new(generation.expect("a program read back fits its surroundings"))
}
