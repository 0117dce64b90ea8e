//! What is known of the packets of a batch beside their bytes.

use super::lanes::{Column, lanes};
use super::op::RuleRef;
use crate::conntrack::{PacketCt, Zone};
use crate::drop_reason::DropReason;
use crate::gateway::Address;
use crate::packet::BATCH;
use crate::packet::headers::Headers;
use crate::port::PortId;

/// What is known of the packets of a batch beside their bytes.
#[derive(Debug)]
pub struct Packets {
    /// Where the layers begin.
    pub headers: [Headers; BATCH],
    /// Bytes, as the chain that runs counts them.
    pub lengths: Column,
    /// Where the packet ends for the chain that runs: with or without padding.
    pub limits: Column,
    /// Packet marks.
    pub marks: Column,
    /// Traffic classes.
    pub priorities: Column,
    /// Packet types that rules have set.
    pub pkttypes: Column,
    /// Lanes whose packet type a rule has set.
    pub pkttype_set: u64,
    /// Lanes that came for another station and whose link header a rule has written.
    pub to_other: u64,
    /// Lanes that are traced.
    pub traced: u64,
    /// Ports in.
    pub in_ports: [PortId; BATCH],
    /// Ports out, [`PortId::NONE`] before they are known.
    pub out_ports: [PortId; BATCH],
    /// Gateway: the next hops, once the way is known.
    pub next_hops: [Address; BATCH],
    /// Gateway: the largest packet on the way.
    pub mtus: Column,
    /// Lanes that rules or the dataplane have ended.
    pub ended: u64,
    /// Why they ended.
    pub reasons: [DropReason; BATCH],
    /// The rules that ended them.
    pub rules: [RuleRef; BATCH],
    /// Lanes that a rule has sent away by a port of its own choice.
    pub forwarded: u64,
    /// Lanes whose fragments wait for the rest of their datagram.
    pub parked: u64,
    /// Lanes that are datagrams made of fragments.
    pub gathered: u64,
    /// How they stand to their flows.
    pub ct: [PacketCt; BATCH],
    /// The zones that they are tracked in.
    pub zones: [Zone; BATCH],
    /// Counts the packets of this worker.
    pub serial: u64,
}

impl Default for Packets {
    fn default() -> Self {
        Self::new()
    }
}

impl Packets {
    /// Of an empty batch.
    pub fn new() -> Self {
        Self {
            headers: [Headers::default(); BATCH],
            lengths: Column::default(),
            limits: Column::default(),
            marks: Column::default(),
            priorities: Column::default(),
            pkttypes: Column::default(),
            pkttype_set: 0,
            to_other: 0,
            traced: 0,
            in_ports: [PortId::NONE; BATCH],
            out_ports: [PortId::NONE; BATCH],
            next_hops: [Address::default(); BATCH],
            mtus: Column::default(),
            ended: 0,
            reasons: [DropReason::WorkerPanic; BATCH],
            rules: [RuleRef::NONE; BATCH],
            forwarded: 0,
            parked: 0,
            gathered: 0,
            ct: [PacketCt::NONE; BATCH],
            zones: [Zone::both(0); BATCH],
            serial: 0,
        }
    }

    /// Ends lanes that have not ended yet.
    pub(crate) fn end(&mut self, lanes_to_end: u64, reason: DropReason, rule: RuleRef) {
        for lane in lanes(lanes_to_end & !self.ended) {
            self.reasons[lane] = reason;
            self.rules[lane] = rule;
        }
        self.ended |= lanes_to_end;
    }
}
