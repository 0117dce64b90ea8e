//! Sluice's side: the connection tracker as a worker's pipeline drives it, one packet a batch, in virtual
//! time and without rules.

use sluice_dataplane::conntrack::{
    CtState, Direction, InvalidReason, PacketCt, Rules as Strictness, Settings, TrackContext,
    Tracker, TrackerWorker, status,
};
use sluice_dataplane::packet::{Burst, Frame, Headers};
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::Packets;

use super::{Rules, Side, State, Step, Verdict, timeout_of};
use crate::frames::{LEFT_MAC, RIGHT_MAC};

const SECOND_NS: u64 = 1_000_000_000;

/// A tracker in virtual time.
#[derive(Debug)]
pub struct Model {
    worker: TrackerWorker,
    packets: Box<Packets>,
    now_ns: u64,
    /// Why the last packet was invalid.
    pub reason: Option<InvalidReason>,
    /// The protocol's state of the flow of the last packet, for messages.
    pub state: Option<&'static str>,
}

const NOTHING: Verdict = Verdict {
    state: State::Invalid,
    reply: false,
    assured: false,
    timeout: None,
};

impl Model {
    /// An empty table.
    ///
    /// # Errors
    /// When its memory cannot be had.
    pub fn new(rules: Rules) -> std::io::Result<Self> {
        let settings = Settings {
            max: 1024,
            rules: Strictness {
                loose: rules.loose,
                liberal: rules.liberal,
                checksum: rules.checksum,
                ..Strictness::default()
            },
            ..Settings::default()
        };
        let tracker = Tracker::new(settings, 1, 7)?;
        Ok(Self {
            worker: tracker.worker(0),
            packets: Box::default(),
            now_ns: SECOND_NS,
            reason: None,
            state: None,
        })
    }

    /// Shows it a packet. A millisecond passes between packets.
    pub fn show(&mut self, step: &Step) -> Verdict {
        self.now_ns += 1_000_000 + u64::from(step.pause) * SECOND_NS;
        let (bytes, count) = frame(step);
        let mut burst = Burst::new();
        self.packets.headers[0] = Headers::dissect(&bytes);
        self.packets.ct[0] = PacketCt::NONE;
        self.packets.ended = 0;
        burst.push(Frame::owned(bytes.into(), 0, count, PortId(0)));
        let context = TrackContext {
            now_ns: self.now_ns,
            wall_ns: self.now_ns,
            domain: 0,
            exact: false,
        };
        self.worker.begin(self.now_ns, self.now_ns);
        let deferred = self.worker.track(1, &mut self.packets, &burst, &context);
        assert_eq!(deferred, 0, "alone in its batch");
        let ct = self.packets.ct[0];
        let begun = self.is_begun(ct);
        self.worker.confirm(1, &mut self.packets, &context);
        let verdict = self.verdict(ct, begun);
        self.worker.end();
        verdict
    }

    fn is_begun(&self, ct: PacketCt) -> bool {
        ct.flow.is_some() && self.worker.status(ct.flow) & status::CONFIRMED == 0
    }

    fn verdict(&mut self, ct: PacketCt, begun: bool) -> Verdict {
        self.reason = None;
        self.state = None;
        let state = match ct.state {
            CtState::None | CtState::Invalid => {
                self.reason = InvalidReason::from_number(ct.invalid);
                return NOTHING;
            }
            CtState::Untracked => State::Untracked,
            CtState::New => State::New,
            CtState::Established => State::Established,
            CtState::Related => State::Related,
        };
        if !ct.flow.is_some() {
            return Verdict { state, ..NOTHING };
        }
        let bits = self.worker.status(ct.flow);
        self.state = self.worker.flow(ct.flow).state_name();
        let ends = begun || bits & status::DYING != 0;
        let left_s = self.worker.expires_in_ms(ct.flow).div_ceil(1000) as u32;
        Verdict {
            state,
            reply: ct.direction == Direction::Reply,
            assured: bits & status::ASSURED != 0,
            timeout: (!ends).then(|| begun_as(left_s)),
        }
    }
}

/// The timeout of which so much is left after a few packets that did not refresh it; what is no such
/// rest is told as it is.
fn begun_as(left_s: u32) -> u32 {
    const PAUSES_S: u32 = 5;
    timeout_of(left_s)
        .filter(|timeout| timeout - left_s <= PAUSES_S)
        .unwrap_or(left_s)
}

/// The packet in an Ethernet frame, and its bytes.
fn frame(step: &Step) -> (Vec<u8>, usize) {
    let (to, from) = match step.from {
        Side::Left => (RIGHT_MAC, LEFT_MAC),
        Side::Right => (LEFT_MAC, RIGHT_MAC),
    };
    let kind: [u8; 2] = match step.packet[0] >> 4 {
        6 => [0x86, 0xdd],
        _ => [8, 0],
    };
    let bytes = [&to[..], &from, &kind, &step.packet].concat();
    let count = bytes.len();
    (bytes, count)
}
