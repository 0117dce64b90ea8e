//! sluice's side of the oracle: text to model to program, and the worker's own pipeline over the
//! frames. There is no second evaluator here.

use std::sync::Arc;

use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile, Request};
use sluice_dataplane::packet::Frame;
use sluice_dataplane::packet::frame::{Burst, HEADROOM};
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::name_words;
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Fate, Generation, Pipeline, PortInfo, PortTable, Stages,
    SystemClock,
};

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
    let mut engine = engine();
    engine
        .run(Request::file("ruleset", ruleset))
        .map_err(|refusal| refusal.rendered)?;
    // An empty ruleset changes nothing, so nothing is published.
    let open = || Arc::new(Generation::open(1, Arc::new(ports()), 1));
    let generation = engine.live().cloned().unwrap_or_else(open);

    let mut pipeline = Pipeline::new(1, Arc::new(EventQueue::new(16)));
    let mut outcome = Outcome::default();
    let mut context = Context {
        worker: 0,
        now_ns: 1_000_000_000,
        wall_ns: 1_000_000_000,
    };
    for frames in frames.chunks(BATCH) {
        let mut slots: Vec<Vec<u8>> = frames.iter().map(|frame| in_slot(frame)).collect();
        let mut burst = Burst::new();
        for slot in &mut slots {
            let len = slot.len() - 2 * HEADROOM;
            burst.push(Frame::borrowed(slot, HEADROOM, len, LEFT));
        }
        let mut out = Disposition::default();
        pipeline.process(&mut burst, &generation, &context, &mut out);
        context.now_ns += 1_000;
        for (lane, frame) in burst.iter().enumerate() {
            if let Fate::Send(port) = out.fate(lane) {
                outcome.side(port).push(frame.bytes().to_vec());
            }
        }
        for (port, frame) in &out.emitted {
            outcome.side(*port).push(frame.bytes().to_vec());
        }
    }
    outcome.listing = list(&mut engine)?;
    outcome.counters = counters(&outcome.listing);
    let mut engine = self::engine();
    engine
        .run(Request::file("listing", &outcome.listing))
        .map_err(|refusal| format!("the listing is not taken back:\n{}", refusal.rendered))?;
    outcome.again = Some(list(&mut engine)?);
    Ok(outcome)
}

fn engine() -> Engine {
    let mut engine = Engine::new(
        profile(),
        Arc::new(Counters::new(1)),
        Arc::new(SystemClock),
        Box::new(NoWorkers),
    );
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
