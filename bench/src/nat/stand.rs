//! A translating gateway in memory: the worker's own pipeline over frames of many flows.

use std::sync::Arc;

use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile, Request};
use sluice_dataplane::conntrack::{self, Tracker};
use sluice_dataplane::gateway::{
    self, Gateway, Hop, Host, Origin, Prefix, Route, RouteKind, route,
};
use sluice_dataplane::nat::Translator;
use sluice_dataplane::packet::frame::{Burst, HEADROOM};
use sluice_dataplane::packet::{BATCH, Frame};
use sluice_dataplane::port::{LinkState, Offloads, PortId};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::engines;
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Fate, Generation, Pipeline, PortInfo, PortTable, Stages,
    SystemClock,
};

use crate::pipeline::stand::cpu_ns;

/// Bytes of a frame: UDP over IPv4 over Ethernet, with 18 bytes of payload.
const FRAME: usize = 60;
const SLOT: usize = HEADROOM + FRAME + 4;
const INSIDE: u16 = 0;
const OUTSIDE: u16 = 1;

/// Frames of one direction, one after the other in memory.
type Frames = Vec<[u8; FRAME]>;

/// A gateway with its flows.
pub(super) struct Stand {
    generation: Arc<Generation>,
    pipeline: Pipeline,
    out: Disposition,
    now_ns: u64,
    /// What inside hosts send.
    there: Frames,
    /// What is answered outside, once the flows are established.
    back: Frames,
    slots: Vec<[u8; SLOT]>,
}

impl Stand {
    /// A gateway with this ruleset, over which `flows` flows are established.
    ///
    /// # Errors
    /// When the ruleset is refused, there is no memory for the flows, or one does not come through.
    pub(super) fn new(ruleset: &str, flows: usize) -> anyhow::Result<Self> {
        let mut stand = Self::begun(ruleset, flows, flows)?;
        let there = std::mem::take(&mut stand.there);
        let mut back = Vec::with_capacity(flows);
        stand.pass(INSIDE, &there, |frame| back.push(answer(frame)));
        anyhow::ensure!(
            back.len() == flows,
            "{} of {flows} came through",
            back.len()
        );
        let mut returned = 0;
        stand.pass(OUTSIDE, &back, |_| returned += 1);
        anyhow::ensure!(
            returned == flows,
            "{returned} of {flows} answers came through"
        );
        (stand.there, stand.back) = (there, back);
        Ok(stand)
    }

    /// A gateway and the first frames of flows of which none is known yet.
    fn begun(ruleset: &str, flows: usize, room: usize) -> anyhow::Result<Self> {
        let profile = Profile {
            mode: Mode::Gateway,
            ports: ["inside", "outside"].map(profile).to_vec(),
        };
        let counters = Arc::new(Counters::new(1));
        let clock = Arc::new(SystemClock);
        let mut engine = Engine::new(profile.clone(), counters, clock, Box::new(NoWorkers));
        engine.set_engines(engines::TRACK | engines::NAT | engines::ROUTES);
        let ports = Arc::new(ports()?);
        engine.set_ports(profile, Arc::clone(&ports));
        engine
            .run(Request::file("ruleset", ruleset))
            .map_err(|refusal| anyhow::anyhow!(refusal.rendered))?;
        let open = || Arc::new(Generation::open(1, ports, 1));
        let generation = engine.live().cloned().unwrap_or_else(open);
        let settings = conntrack::Settings {
            max: room as u32 + 1024,
            ..conntrack::Settings::default()
        };
        let tracker = Tracker::new(settings, 1, 1)?;
        tracker.take_memory();
        let translator = Translator::new(&tracker);
        let pipeline = Pipeline::new(1, Arc::new(EventQueue::new(16)))
            .tracking(tracker.worker(0))
            .translating(translator);
        Ok(Self {
            generation,
            pipeline,
            out: Disposition::default(),
            now_ns: 1_000_000_000,
            there: (0..flows).map(frame).collect(),
            back: Vec::new(),
            slots: vec![[0; SLOT]; BATCH],
        })
    }

    /// Nanoseconds of CPU time a flow that begins, all flows once.
    ///
    /// # Errors
    /// As [`Stand::new`].
    pub(super) fn beginning(ruleset: &str, flows: usize) -> anyhow::Result<f64> {
        let mut stand = Self::begun(ruleset, flows, flows)?;
        let frames = std::mem::take(&mut stand.there);
        let mut left = 0;
        let begun = cpu_ns();
        stand.pass(INSIDE, &frames, |_| left += 1);
        let spent = cpu_ns() - begun;
        anyhow::ensure!(left == flows, "{left} of {flows} came through");
        Ok(spent as f64 / flows as f64)
    }

    /// Nanoseconds of CPU time a packet of the established flows, both directions in turn.
    pub(super) fn established(&mut self, milliseconds: u64) -> f64 {
        let (there, back) = (
            std::mem::take(&mut self.there),
            std::mem::take(&mut self.back),
        );
        let (mut packets, begun) = (0, cpu_ns());
        let parts = there.chunks(1 << 14).zip(back.chunks(1 << 14));
        for (one, other) in parts.cycle() {
            if cpu_ns() - begun > milliseconds * 1_000_000 {
                break;
            }
            self.pass(INSIDE, one, |_| {});
            self.pass(OUTSIDE, other, |_| {});
            packets += one.len() + other.len();
        }
        let spent = cpu_ns() - begun;
        (self.there, self.back) = (there, back);
        spent as f64 / packets as f64
    }

    /// Frames come by a port, in whole batches; each that leaves is shown.
    fn pass(&mut self, port: u16, frames: &[[u8; FRAME]], mut left: impl FnMut(&[u8])) {
        for batch in frames.chunks(BATCH) {
            let mut burst = Burst::new();
            for (slot, frame) in self.slots.iter_mut().zip(batch) {
                slot[HEADROOM..HEADROOM + FRAME].copy_from_slice(frame);
                burst.push(Frame::borrowed(slot, HEADROOM, FRAME, PortId(port)));
            }
            self.now_ns += 1000;
            let context = Context {
                worker: 0,
                now_ns: self.now_ns,
                wall_ns: self.now_ns,
            };
            self.out.clear();
            self.pipeline
                .process(&mut burst, &self.generation, &context, &mut self.out);
            for (lane, frame) in burst.iter().enumerate() {
                if let Fate::Send(_) = self.out.fate(lane) {
                    left(frame.bytes());
                }
            }
        }
    }
}

/// The first frame of a flow from inside.
fn frame(flow: usize) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    frame[..12].fill(2);
    frame[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17]);
    // Some thousand hosts with some hundred flows each, to as many servers.
    let [high, low] = ((flow % 4096) as u16 + 2).to_be_bytes();
    frame[26..30].copy_from_slice(&[10, 1, high, low]);
    let [.., second, third] = ((flow / 4096) as u32).to_be_bytes();
    frame[30..34].copy_from_slice(&[198, 18 + (flow % 2) as u8, second, third]);
    let port = 1024 + (flow % 60_000) as u16;
    frame[34..36].copy_from_slice(&port.to_be_bytes());
    frame[36..38].copy_from_slice(&53u16.to_be_bytes());
    frame[38..40].copy_from_slice(&26u16.to_be_bytes());
    let sum = sluice_dataplane::packet::checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// What is answered to a frame that left.
fn answer(frame: &[u8]) -> [u8; FRAME] {
    let mut answer = [0; FRAME];
    answer.copy_from_slice(&frame[..FRAME]);
    // For the gateway again.
    answer[..12].fill(2);
    answer[26..30].copy_from_slice(&frame[30..34]);
    answer[30..34].copy_from_slice(&frame[26..30]);
    answer[34..36].copy_from_slice(&frame[36..38]);
    answer[36..38].copy_from_slice(&frame[34..36]);
    answer
}

fn profile(name: &str) -> PortProfile {
    PortProfile {
        name: name.to_owned(),
        index: if name == "inside" { 10 } else { 11 },
        group: 0,
        kind: 1,
        peer: None,
        bridge: None,
    }
}

fn ports() -> anyhow::Result<PortTable> {
    let link = || Arc::new(LinkState::new(true, 1500, Offloads::ALL));
    let port = |id, own: [u8; 4], length| {
        let address = gateway::Address::v4(own);
        let mut port = gateway::Port::new(PortId(id), [2; 6], link(), vec![(address, length)]);
        port.point_to_point = true;
        port
    };
    let ports = vec![
        port(INSIDE, [10, 1, 0, 1], 16),
        port(OUTSIDE, [192, 0, 2, 1], 24),
    ];
    let everywhere = Prefix::new(gateway::Address::v4([0; 4]), 0);
    let route = Route {
        to: everywhere.ok_or_else(|| anyhow::anyhow!("no prefix"))?,
        table: route::MAIN,
        metric: 0,
        kind: RouteKind::Unicast,
        hops: vec![Hop {
            port: PortId(OUTSIDE),
            via: None,
            weight: 1,
        }],
        mtu: None,
        origin: Origin::Static,
    };
    let shared = gateway::Shared::new(42, 0, Host::new(1, 1500, &[], None));
    let mut table = PortTable::default();
    for (id, name) in [(INSIDE, "inside"), (OUTSIDE, "outside")] {
        let mut info = PortInfo::new(name, 10 + u32::from(id), "memory");
        info.mac = [2; 6];
        table.set(PortId(id), Some(info));
    }
    table.set_gateway(Some(Gateway::new(ports, vec![route], Vec::new(), shared)));
    Ok(table)
}
