//! Packets for the tests of the state machines, and a flow that is fed with them.

use super::super::tuple::{IPV4, IPV6};
use super::*;
use crate::conntrack::timeouts::Timeouts;
use crate::packet::checksum::{checksum, fold, pseudo_header, sum};

/// An IP packet from one side to the other around a transport message, whose checksum (at `field`, if
/// given) is filled in.
pub(crate) fn ip(
    l3: u8,
    protocol: u8,
    reply: bool,
    message: &[u8],
    field: Option<usize>,
) -> Vec<u8> {
    let (mut from, mut to) = (vec![10, 0, 0, 1], vec![10, 0, 0, 2]);
    if l3 == IPV6 {
        let side = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].to_vec();
        (from, to) = (side(1), side(2));
    }
    if reply {
        std::mem::swap(&mut from, &mut to);
    }
    let addresses = [from, to].concat();
    let mut message = message.to_vec();
    if let Some(at) = field {
        message[at..at + 2].fill(0);
        let pseudo = match (l3, protocol) {
            (IPV4, number::ICMP) => 0,
            _ => pseudo_header(&addresses, protocol, message.len() as u32),
        };
        let value = !fold(pseudo + sum(&message));
        message[at..at + 2].copy_from_slice(&value.to_be_bytes());
    }
    let mut packet = if l3 == IPV4 {
        let mut header = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0];
        header[2..4].copy_from_slice(&(20 + message.len() as u16).to_be_bytes());
        header.extend(&addresses);
        let value = checksum(&header);
        header[10..12].copy_from_slice(&value.to_be_bytes());
        header
    } else {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        header[4..6].copy_from_slice(&(message.len() as u16).to_be_bytes());
        header.extend(&addresses);
        header
    };
    packet.extend(message);
    packet
}

/// A packet of these bytes.
pub(crate) fn packet(bytes: &[u8], reply: bool) -> Packet<'_> {
    let l3 = if bytes[0] >> 4 == 4 { IPV4 } else { IPV6 };
    let (protocol, transport) = locate(bytes, l3).expect("a packet with a transport");
    Packet {
        l3,
        protocol,
        bytes,
        transport,
        direction: if reply {
            Direction::Reply
        } else {
            Direction::Original
        },
        sum: Sum::Verify,
        acknowledged: Offsets::NONE,
    }
}

/// One flow without a table: what the tracker does with judgements.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) rules: Rules,
    pub(crate) now_ns: u64,
    pub(crate) alive: Option<Alive>,
}

/// The flow while it lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alive {
    pub(crate) state: ProtocolState,
    pub(crate) status: u32,
    pub(crate) expires_ns: u64,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It belongs to the flow, whose timeout was set to these seconds.
    Timeout(u32),
    /// It belongs to the flow and left its timeout.
    Ignored,
    /// It ended the flow.
    Destroyed,
    Invalid(InvalidReason),
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            rules: Rules::default(),
            now_ns: 1_000_000_000,
            alive: None,
        }
    }
}

impl Flow {
    /// Shows the flow a packet.
    pub(crate) fn show(&mut self, bytes: &[u8], reply: bool) -> Seen {
        let timeouts = Timeouts::linux();
        let seconds =
            |timeout: Timeout| timeouts.seconds(timeout.shortest(|class| timeouts.seconds(class)));
        let packet = packet(bytes, reply);
        if let Err(reason) = check(&packet, &self.rules) {
            return Seen::Invalid(reason);
        }
        let Some(flow) = &mut self.alive else {
            let packet = Packet {
                direction: Direction::Original,
                ..packet
            };
            return match begin(&packet, &self.rules, self.now_ns) {
                Ok((state, timeout, status)) => {
                    let seconds = seconds(timeout);
                    self.alive = Some(Alive {
                        state,
                        status: status | status::CONFIRMED,
                        expires_ns: self.now_ns + u64::from(seconds) * 1_000_000_000,
                    });
                    Seen::Timeout(seconds)
                }
                Err(reason) => Seen::Invalid(reason),
            };
        };
        let judgement = next(
            &mut flow.state,
            &packet,
            flow.status,
            &self.rules,
            self.now_ns,
        );
        let answered = if reply { status::SEEN_REPLY } else { 0 };
        match judgement {
            Judgement::Accept { timeout, status } => {
                flow.status |= status | answered;
                let seconds = seconds(timeout);
                flow.expires_ns = self.now_ns + u64::from(seconds) * 1_000_000_000;
                Seen::Timeout(seconds)
            }
            Judgement::Ignore { status } => {
                flow.status |= status | answered;
                Seen::Ignored
            }
            Judgement::Invalid {
                reason,
                lower,
                status,
            } => {
                flow.status |= status;
                let limit = u64::from(timeouts.seconds(TimeoutClass::TcpUnack)) * 1_000_000_000;
                if lower && flow.expires_ns > self.now_ns + limit {
                    flow.expires_ns = self.now_ns + limit;
                }
                Seen::Invalid(reason)
            }
            Judgement::Destroy => {
                self.alive = None;
                Seen::Destroyed
            }
            Judgement::Repeat => {
                self.alive = None;
                self.show(bytes, false)
            }
        }
    }

    /// The name of its state; empty when it has ended.
    pub(crate) fn state(&self, protocol: u8) -> &'static str {
        self.alive
            .and_then(|flow| state_name(protocol, &flow.state))
            .unwrap_or_default()
    }

    pub(crate) fn assured(&self) -> bool {
        self.alive
            .is_some_and(|flow| flow.status & status::ASSURED != 0)
    }
}
