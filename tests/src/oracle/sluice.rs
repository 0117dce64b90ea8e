//! sluice's side of the oracle: text to model to program, and the worker's own pipeline over the
//! frames. There is no second evaluator here.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile, Request};
use sluice_dataplane::conntrack::{self, Tracker};
use sluice_dataplane::packet::Frame;
use sluice_dataplane::packet::frame::{Burst, HEADROOM};
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::{engines, name_words};
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Fate, Generation, Pipeline, PortInfo, PortTable, Stages,
    SystemClock,
};

use super::conversation::{Said, Side};
use super::kernel::{Outcome, counters};

/// Frames of a batch in the oracle: not a power of two, so that lanes are left over.
const BATCH: usize = 13;

const LEFT: PortId = PortId(0);
const RIGHT: PortId = PortId(1);

/// Puts `ruleset` in force on a wire, sends `frames` from the left and says what came of it.
///
/// # Errors
/// With the text of the refusal.
pub fn judge(ruleset: &str, frames: &[Vec<u8>]) -> Result<Outcome, String> {
    let mut play = Play::new(ruleset)?;
    for frames in frames.chunks(BATCH) {
        play.batch(LEFT, frames);
    }
    play.finish()
}

/// Puts `ruleset` in force on a wire, plays a conversation and says what came of it. Neighbours of one
/// side are a batch.
///
/// # Errors
/// With the text of the refusal.
pub fn converse(ruleset: &str, conversation: &[Said]) -> Result<Outcome, String> {
    let mut play = Play::new(ruleset)?;
    for part in conversation.chunk_by(|one, other| one.side == other.side) {
        let frames: Vec<Vec<u8>> = part.iter().map(|said| said.frame.clone()).collect();
        let port = match part[0].side {
            Side::Left => LEFT,
            Side::Right => RIGHT,
        };
        for frames in frames.chunks(BATCH) {
            play.batch(port, frames);
        }
    }
    play.finish()
}

/// A ruleset in force and what has come of the frames so far.
struct Play {
    engine: Engine,
    generation: Arc<Generation>,
    pipeline: Pipeline,
    context: Context,
    outcome: Outcome,
}

impl Play {
    fn new(ruleset: &str) -> Result<Self, String> {
        let engine = load(ruleset)?;
        // An empty ruleset changes nothing, so nothing is published.
        let open = || Arc::new(Generation::open(1, Arc::new(ports()), 1));
        let generation = engine.live().cloned().unwrap_or_else(open);
        let settings = conntrack::Settings {
            max: 4096,
            ..conntrack::Settings::default()
        };
        let tracker = Tracker::new(settings, 1, 1).map_err(|error| error.to_string())?;
        generation.objects().resolve(&tracker);
        Ok(Self {
            engine,
            generation,
            pipeline: Pipeline::new(1, Arc::new(EventQueue::new(16))).tracking(tracker.worker(0)),
            context: Context {
                worker: 0,
                now_ns: 1_000_000_000,
                wall_ns: wall_ns(),
            },
            outcome: Outcome::default(),
        })
    }

    fn batch(&mut self, port: PortId, frames: &[Vec<u8>]) {
        let mut slots: Vec<Vec<u8>> = frames.iter().map(|frame| in_slot(frame)).collect();
        let mut burst = Burst::new();
        for slot in &mut slots {
            let len = slot.len() - 2 * HEADROOM;
            burst.push(Frame::borrowed(slot, HEADROOM, len, port));
        }
        let mut out = Disposition::default();
        self.pipeline
            .process(&mut burst, &self.generation, &self.context, &mut out);
        self.context.now_ns += 1_000;
        for (lane, frame) in burst.iter().enumerate() {
            if let Fate::Send(port) = out.fate(lane) {
                self.outcome.side(port).push(frame.bytes().to_vec());
            }
        }
        for (port, frame) in &out.emitted {
            self.outcome.side(*port).push(frame.bytes().to_vec());
        }
    }

    fn finish(mut self) -> Result<Outcome, String> {
        let mut outcome = self.outcome;
        outcome.listing = list(&mut self.engine)?;
        outcome.counters = counters(&outcome.listing);
        let mut engine = engine();
        engine
            .run(Request::file("listing", &outcome.listing))
            .map_err(|refusal| format!("the listing is not taken back:\n{}", refusal.rendered))?;
        outcome.again = Some(list(&mut engine)?);
        Ok(outcome)
    }
}

/// The time of day, which the kernel's rules see too.
fn wall_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_nanos() as u64)
}

/// An engine of a wire with this ruleset.
///
/// # Errors
/// With the text of the refusal.
pub fn load(ruleset: &str) -> Result<Engine, String> {
    let mut engine = engine();
    engine
        .run(Request::file("ruleset", ruleset))
        .map_err(|refusal| refusal.rendered)?;
    Ok(engine)
}

fn engine() -> Engine {
    let mut engine = Engine::new(
        profile(),
        Arc::new(Counters::new(1)),
        Arc::new(SystemClock),
        Box::new(NoWorkers),
    );
    engine.set_engines(engines::TRACK | engines::SYNPROXY);
    engine.set_ports(profile(), Arc::new(ports()));
    engine
}

fn list(engine: &mut Engine) -> Result<String, String> {
    engine
        .run(Request::command("list ruleset"))
        .map(|reply| reply.output)
        .map_err(|refusal| refusal.rendered)
}

impl Outcome {
    fn side(&mut self, port: PortId) -> &mut Vec<Vec<u8>> {
        if port == LEFT {
            &mut self.left
        } else {
            &mut self.right
        }
    }
}

/// The frame with room in front and behind.
fn in_slot(frame: &[u8]) -> Vec<u8> {
    [&[0; HEADROOM][..], frame, &[0; HEADROOM]].concat()
}

fn profile() -> Profile {
    let port = |name: &str, index, peer: &str| PortProfile {
        name: name.to_owned(),
        index,
        group: 0,
        kind: 1,
        peer: Some(peer.to_owned()),
        bridge: Some("br0".to_owned()),
    };
    Profile {
        mode: Mode::Wire,
        ports: vec![port("left", 2, "right"), port("right", 3, "left")],
    }
}

fn ports() -> PortTable {
    let mut table = PortTable::default();
    for (id, name, index, peer) in [(LEFT, "left", 2, RIGHT), (RIGHT, "right", 3, LEFT)] {
        let info = PortInfo {
            peer: Some(peer),
            bridge: name_words("br0"),
            ..PortInfo::new(name, index, "memory")
        };
        table.set(id, Some(info));
    }
    table
}
