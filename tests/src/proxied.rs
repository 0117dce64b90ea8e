//! The SYN proxy under a microscope: a client at the left and a server at the right, whose segments are
//! made by hand, and between them either sluice's wire in memory, under virtual time, or the kernel's router.

pub mod talk;

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;
use sluice_config::engine::Engine;
use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::{self, ProxyStatistics, Tracker};
use sluice_dataplane::packet::Frame;
use sluice_dataplane::packet::frame::{Burst, HEADROOM};
use sluice_dataplane::packet::headers::Headers;
use sluice_dataplane::packet::reply::transport_checksum_ok;
use sluice_dataplane::port::PortId;
use sluice_dataplane::synproxy::Segment;
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Fate, Generation, Pipeline, Stages,
};

use crate::frames::{LEFT_MAC, RIGHT_MAC};
use crate::oracle::sluice;
use crate::tracker::kernel::KernelRouter;
use crate::tracker::{Rules, Side, packets};

/// A second of virtual time.
pub const SECOND: u64 = 1_000_000_000;
/// How long the kernel's router is waited for.
const QUIET: Duration = Duration::from_millis(30);

/// A segment that came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its header.
    pub segment: Segment,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Time to live or hop limit.
    pub ttl: u8,
}

/// What has a proxy.
pub trait Proxy {
    /// Sends an IP packet from a side; yields the TCP segments that come out at the left and at the right.
    fn show(&mut self, from: Side, packet: &[u8]) -> [Vec<Heard>; 2];

    /// Sends a segment from a side.
    fn say(&mut self, v6: bool, from: Side, segment: &Segment, payload: &[u8]) -> [Vec<Heard>; 2] {
        self.show(from, &packet(v6, from, segment, payload))
    }
}

/// An IP packet with a segment.
pub fn packet(v6: bool, from: Side, segment: &Segment, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(segment.sport.to_be_bytes());
    message.extend(segment.dport.to_be_bytes());
    message.extend(segment.seq.to_be_bytes());
    message.extend(segment.ack.to_be_bytes());
    let mut options = ArrayVec::<u8, 40>::new();
    segment.options.write(&mut options);
    message.extend([((20 + options.len()) as u8 / 4) << 4, segment.flags]);
    message.extend(segment.window.to_be_bytes());
    message.extend([0; 4]);
    message.extend(&options);
    message.extend(payload);
    packets::ip(v6, 6, from, &message)
}

/// The segment in a frame; `None` when it has none.
///
/// # Panics
/// When its checksum is wrong.
pub fn read(frame: &[u8]) -> Option<Heard> {
    let headers = Headers::dissect(frame);
    let segment = Segment::read(frame, &headers)?;
    assert!(transport_checksum_ok(frame, &headers), "{frame:02x?}");
    let network = usize::from(headers.network);
    let v6 = frame[network] >> 4 == 6;
    Some(Heard {
        segment,
        payload: headers.payload(frame)?.to_vec(),
        ttl: frame[network + if v6 { 7 } else { 8 }],
    })
}

/// sluice's wire. TCP is not picked up in mid-stream, as the proxy wants it.
#[derive(Debug)]
pub struct Ours {
    _engine: Engine,
    generation: Arc<Generation>,
    pipeline: Pipeline,
    tracker: Arc<Tracker>,
    out: Disposition,
    /// The time.
    pub now_ns: u64,
    /// Why frames ended, since this was looked at last.
    pub drops: Vec<DropReason>,
}

impl Ours {
    /// A wire with this ruleset, and room for so many flows.
    ///
    /// # Panics
    /// When the ruleset is refused.
    pub fn new(ruleset: &str, max: u32) -> Self {
        let engine = sluice::load(ruleset).unwrap_or_else(|refusal| panic!("{refusal}"));
        let generation = engine.live().cloned().expect("a ruleset is in force");
        let mut settings = conntrack::Settings {
            max,
            ..conntrack::Settings::default()
        };
        settings.rules.loose = false;
        let tracker = Tracker::new(settings, 1, 7).expect("there is memory for the flows");
        generation.objects().resolve(&tracker);
        Self {
            _engine: engine,
            generation,
            pipeline: Pipeline::new(1, Arc::new(EventQueue::new(16))).tracking(tracker.worker(0)),
            tracker,
            out: Disposition::default(),
            now_ns: 1000 * SECOND,
            drops: Vec::new(),
        }
    }

    /// Sends frames that come by a side in one batch; yields those that leave at the left and at the right.
    pub fn batch(&mut self, from: Side, frames: &[Vec<u8>]) -> [Vec<Vec<u8>>; 2] {
        let in_slot = |frame: &Vec<u8>| [&[0; HEADROOM][..], frame].concat();
        let mut slots: Vec<Vec<u8>> = frames.iter().map(in_slot).collect();
        let mut burst = Burst::new();
        for slot in &mut slots {
            let len = slot.len() - HEADROOM;
            burst.push(Frame::borrowed(slot, HEADROOM, len, PortId(from as u16)));
        }
        self.now_ns += 1000;
        self.out.clear();
        let context = Context {
            worker: 0,
            now_ns: self.now_ns,
            wall_ns: self.now_ns,
        };
        self.pipeline
            .process(&mut burst, &self.generation, &context, &mut self.out);
        let mut seen = [Vec::new(), Vec::new()];
        for (lane, frame) in burst.iter().enumerate() {
            match self.out.fate(lane) {
                Fate::Send(port) => seen[usize::from(port.0)].push(frame.bytes().to_vec()),
                Fate::Drop { reason, .. } => self.drops.push(reason),
                Fate::Held => {}
            }
        }
        for (port, frame) in &self.out.emitted {
            seen[usize::from(port.0)].push(frame.bytes().to_vec());
        }
        let ended = self.out.ended.iter().map(|(_, reason, _)| *reason);
        self.drops.extend(ended);
        seen
    }

    /// The tracker.
    pub fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }

    /// What the proxy has counted.
    pub fn counted(&self) -> ProxyStatistics {
        self.tracker.proxy_statistics(0)
    }
}

/// An IP packet as a frame that comes by a side.
pub fn frame(from: Side, packet: &[u8]) -> Vec<u8> {
    let macs = match from {
        Side::Left => [RIGHT_MAC, LEFT_MAC],
        Side::Right => [LEFT_MAC, RIGHT_MAC],
    };
    let kind: [u8; 2] = if packet[0] >> 4 == 6 {
        [0x86, 0xdd]
    } else {
        [8, 0]
    };
    [&macs.concat()[..], &kind, packet].concat()
}

fn heard(frames: &[Vec<Vec<u8>>; 2]) -> [Vec<Heard>; 2] {
    frames
        .each_ref()
        .map(|side| side.iter().filter_map(|frame| read(frame)).collect())
}

impl Proxy for Ours {
    fn show(&mut self, from: Side, packet: &[u8]) -> [Vec<Heard>; 2] {
        heard(&self.batch(from, &[frame(from, packet)]))
    }
}

/// The kernel's router.
#[derive(Debug)]
pub struct Kernels {
    router: KernelRouter,
    /// Whether hosts leave checksums to their devices.
    pub partial: bool,
}

impl Kernels {
    /// A router with this ruleset.
    ///
    /// # Errors
    /// When namespaces cannot be made, or with what nft says.
    pub fn new(ruleset: &str) -> std::io::Result<Self> {
        let router = KernelRouter::bare()?;
        router.nft(ruleset)?;
        router.set(Rules {
            loose: false,
            ..Rules::default()
        })?;
        Ok(Self {
            router,
            partial: true,
        })
    }
}

impl Proxy for Kernels {
    fn show(&mut self, from: Side, packet: &[u8]) -> [Vec<Heard>; 2] {
        let seen = self.router.pass(from, packet, (self.partial, QUIET));
        heard(&seen.unwrap_or_else(|error| panic!("a socket failed: {error}")))
    }
}
