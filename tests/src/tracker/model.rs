//! Sluice's state machines around the simplest of tables: a map from tuple to flow.

use std::collections::HashMap;

use sluice_dataplane::conntrack::protocol::{self, Judgement, Packet, ProtocolState, Sum, Timeout};
use sluice_dataplane::conntrack::{
    Direction, InvalidReason, Offsets, Rules as Settings, TimeoutClass, Timeouts, Tuple, status,
};

use super::{Rules, State, Step, Verdict};

/// A flow.
#[derive(Clone, Debug)]
struct Flow {
    tuples: [Tuple; 2],
    state: ProtocolState,
    status: u32,
    timeout: u32,
}

/// A tracker in virtual time.
#[derive(Debug)]
pub struct Model {
    flows: HashMap<u32, Flow>,
    tuples: HashMap<Tuple, (u32, Direction)>,
    next: u32,
    settings: Settings,
    timeouts: Timeouts,
    now_ns: u64,
    /// Why the last packet was invalid.
    pub reason: Option<InvalidReason>,
}

const INVALID: Verdict = Verdict {
    state: State::Invalid,
    reply: false,
    assured: false,
    timeout: None,
};

impl Model {
    /// An empty table.
    pub fn new(rules: Rules) -> Self {
        Self {
            flows: HashMap::new(),
            tuples: HashMap::new(),
            next: 1,
            settings: Settings {
                loose: rules.loose,
                liberal: rules.liberal,
                ..Settings::default()
            },
            timeouts: Timeouts::linux(),
            now_ns: 1_000_000_000,
            reason: None,
        }
    }

    /// Shows it a packet. Time passes between packets, but nothing expires.
    pub fn show(&mut self, step: &Step) -> Verdict {
        self.now_ns += 1_000_000 + u64::from(step.pause) * 1_000_000_000;
        self.reason = None;
        match self.judge(&step.packet) {
            Ok(verdict) => verdict,
            Err(reason) => {
                self.reason = Some(reason);
                INVALID
            }
        }
    }

    /// The protocol's state of the flow that was met last, for messages.
    pub fn state(&self) -> String {
        let names = self
            .flows
            .values()
            .filter_map(|flow| protocol::state_name(flow.tuples[0].protocol, &flow.state));
        names.collect::<Vec<_>>().join(" ")
    }

    fn judge(&mut self, bytes: &[u8]) -> Result<Verdict, InvalidReason> {
        let l3 = if bytes[0] >> 4 == 4 { 2 } else { 10 };
        let (number, transport) = protocol::locate(bytes, l3).ok_or(InvalidReason::IpHeader)?;
        let packet = Packet {
            l3,
            protocol: number,
            bytes,
            transport,
            direction: Direction::Original,
            sum: Sum::Verify,
            acknowledged: Offsets::NONE,
        };
        protocol::check(&packet, &self.settings)?;
        if protocol::is_untracked(&packet) {
            return Ok(Verdict {
                state: State::Untracked,
                ..INVALID
            });
        }
        if protocol::is_error(&packet) {
            return self.error(&packet);
        }
        let (sport, dport) = protocol::ports(&packet)?;
        let (src, dst) = addresses(bytes, l3);
        let tuple = Tuple {
            src,
            dst,
            sport,
            dport,
            protocol: number,
            l3,
            zone: 0,
            domain: 0,
        };
        match self.tuples.get(&tuple).copied() {
            Some((flow, direction)) => self.known(
                flow,
                Packet {
                    direction,
                    ..packet
                },
            ),
            None => self.begin(tuple, &packet),
        }
    }

    fn error(&self, packet: &Packet<'_>) -> Result<Verdict, InvalidReason> {
        let inner = protocol::inner(packet)?;
        let turned = protocol::invert(&inner).ok_or(InvalidReason::IcmpInner)?;
        let found = self
            .tuples
            .get(&turned)
            .ok_or(InvalidReason::IcmpUnrelated)?;
        let flow = &self.flows[&found.0];
        Ok(Verdict {
            state: State::Related,
            reply: found.1 == Direction::Reply,
            assured: flow.status & status::ASSURED != 0,
            timeout: Some(flow.timeout),
        })
    }

    fn begin(&mut self, tuple: Tuple, packet: &Packet<'_>) -> Result<Verdict, InvalidReason> {
        let reply = protocol::invert(&tuple).ok_or(InvalidReason::IcmpType)?;
        let (state, timeout, bits) = protocol::begin(packet, &self.settings, self.now_ns)?;
        let flow = Flow {
            tuples: [tuple, reply],
            state,
            status: bits | status::CONFIRMED,
            timeout: self.seconds(timeout),
        };
        self.tuples.insert(tuple, (self.next, Direction::Original));
        self.tuples.insert(reply, (self.next, Direction::Reply));
        self.flows.insert(self.next, flow);
        self.next += 1;
        Ok(Verdict {
            state: State::New,
            reply: false,
            assured: false,
            timeout: None,
        })
    }

    fn known(&mut self, number: u32, packet: Packet<'_>) -> Result<Verdict, InvalidReason> {
        let mut flow = self.flows[&number].clone();
        let reply = packet.direction == Direction::Reply;
        let judgement = protocol::next(
            &mut flow.state,
            &packet,
            flow.status,
            &self.settings,
            self.now_ns,
        );
        let answered = if reply { status::SEEN_REPLY } else { 0 };
        let mut verdict = Verdict {
            state: match reply || flow.status & status::SEEN_REPLY != 0 {
                true => State::Established,
                false => State::New,
            },
            reply,
            assured: false,
            timeout: None,
        };
        match judgement {
            Judgement::Accept { timeout, status } => {
                flow.status |= status | answered;
                flow.timeout = self.seconds(timeout);
            }
            Judgement::Ignore => flow.status |= answered,
            Judgement::Invalid { reason, lower } => {
                let limit = self.timeouts.seconds(TimeoutClass::TcpUnack);
                if lower && flow.timeout >= Judgement::LOWER_FROM {
                    flow.timeout = flow.timeout.min(limit);
                }
                self.flows.insert(number, flow);
                return Err(reason);
            }
            Judgement::Destroy => {
                self.forget(number);
                verdict.assured = flow.status & status::ASSURED != 0;
                return Ok(verdict);
            }
            Judgement::Repeat => {
                self.forget(number);
                return self.judge(packet.bytes);
            }
        }
        verdict.assured = flow.status & status::ASSURED != 0;
        verdict.timeout = Some(flow.timeout);
        self.flows.insert(number, flow);
        Ok(verdict)
    }

    fn forget(&mut self, number: u32) {
        if let Some(flow) = self.flows.remove(&number) {
            flow.tuples.iter().for_each(|tuple| {
                self.tuples.remove(tuple);
            });
        }
    }

    fn seconds(&self, timeout: Timeout) -> u32 {
        let seconds = |class| self.timeouts.seconds(class);
        seconds(timeout.shortest(seconds))
    }
}

fn addresses(bytes: &[u8], l3: u8) -> ([u8; 16], [u8; 16]) {
    let (at, len) = if l3 == 2 { (12, 4) } else { (8, 16) };
    let address = |at: usize| {
        let mut wide = [0; 16];
        wide[..len].copy_from_slice(&bytes[at..at + len]);
        wide
    };
    (address(at), address(at + len))
}
