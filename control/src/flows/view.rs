//! What a condition on flows looks at, of a flow of the table or of one that has travelled.

use std::net::IpAddr;

use sluice_dataplane::conntrack::{self, status};

use crate::api::flow::{Flow, FlowSide};

/// A flow in the eyes of a condition.
#[derive(Clone, Copy, Debug)]
pub struct View<'f> {
    /// 2 or 10.
    pub l3: u8,
    /// Transport protocol.
    pub protocol: u8,
    /// Source and destination, original and reply.
    pub addresses: [IpAddr; 4],
    /// Ports in the same order; ICMP: identifier, type and code.
    pub ports: [u16; 4],
    /// The protocol's state.
    pub state: Option<&'f str>,
    /// Bits of [`status`].
    pub status: u32,
    /// The mark.
    pub mark: u32,
    /// Zones, original and reply.
    pub zones: [u16; 2],
    /// `ct id`.
    pub id: u32,
    /// Packets of both directions.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When it began.
    pub start_ns: u64,
}

impl<'f> View<'f> {
    /// A flow of the table.
    pub fn of_table(flow: &'f conntrack::Flow) -> Self {
        let (original, reply) = (&flow.original, &flow.reply);
        Self {
            l3: original.l3,
            protocol: original.protocol,
            addresses: [
                original.source(),
                original.destination(),
                reply.source(),
                reply.destination(),
            ],
            ports: [original.sport, original.dport, reply.sport, reply.dport],
            state: flow.state_name(),
            status: flow.status,
            mark: flow.mark,
            zones: [original.zone, reply.zone],
            id: flow.number,
            packets: flow.packets.iter().sum(),
            bytes: flow.bytes.iter().sum(),
            start_ns: flow.started_wall_ns,
        }
    }

    /// A flow that has travelled.
    pub fn of_wire(flow: &'f Flow) -> Self {
        let bit = |name: &String| {
            let known = status::NAMES.iter().find(|(_, known)| known == name);
            known.map_or(0, |(bit, _)| *bit)
        };
        let [sport, dport] = ports_of(&flow.original);
        let [reply_sport, reply_dport] = ports_of(&flow.reply);
        Self {
            l3: if flow.family == "ipv4" { 2 } else { 10 },
            protocol: flow.protocol,
            addresses: [
                flow.original.src,
                flow.original.dst,
                flow.reply.src,
                flow.reply.dst,
            ],
            ports: [sport, dport, reply_sport, reply_dport],
            state: flow.state.as_deref(),
            status: flow.status.iter().map(bit).fold(0, |all, bit| all | bit),
            mark: flow.mark,
            zones: [flow.original.zone, flow.reply.zone],
            id: flow.id,
            packets: flow.original.packets + flow.reply.packets,
            bytes: flow.original.bytes + flow.reply.bytes,
            start_ns: flow.start_ns,
        }
    }
}

fn ports_of(side: &FlowSide) -> [u16; 2] {
    match side.icmp {
        Some(icmp) => [icmp.id, u16::from(icmp.kind) << 8 | u16::from(icmp.code)],
        None => [side.sport.unwrap_or(0), side.dport.unwrap_or(0)],
    }
}
