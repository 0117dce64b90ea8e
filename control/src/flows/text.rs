//! A flow of the table in words.

use sluice_dataplane::conntrack::{self, Tuple, status, tuple};

use crate::api::flow::{Expected, Flow, FlowIcmp, FlowSide};

const NAMES: &[(u8, &str)] = &[
    (1, "icmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (58, "icmpv6"),
    (132, "sctp"),
    (136, "udplite"),
];

/// The name of a transport protocol that the tracker knows, else `unknown`.
pub fn protocol_name(protocol: u8) -> &'static str {
    let known = NAMES.iter().find(|(number, _)| *number == protocol);
    known.map_or("unknown", |(_, name)| name)
}

/// The number of a protocol by its name or number.
pub(super) fn protocol_number(text: &str) -> Option<u8> {
    let known = NAMES.iter().find(|(_, name)| *name == text);
    known
        .map(|(number, _)| *number)
        .or_else(|| text.parse().ok())
}

/// A flow as it travels. `now_ns` is of the workers' clock; `helper` says a helper's name.
pub fn flow(flow: &conntrack::Flow, now_ns: u64, helper: impl Fn(u16) -> Option<String>) -> Flow {
    let bits = status::NAMES.iter();
    Flow {
        id: flow.number,
        family: family_name(flow.original.l3).to_owned(),
        protocol: flow.original.protocol,
        protocol_name: protocol_name(flow.original.protocol).to_owned(),
        state: flow.state_name().map(str::to_owned),
        timeout: flow.expires_in_ms(now_ns) / 1000,
        status: bits
            .filter(|(bit, _)| flow.status & bit != 0)
            .map(|(_, name)| (*name).to_owned())
            .collect(),
        original: side(&flow.original, flow.packets[0], flow.bytes[0]),
        reply: side(&flow.reply, flow.packets[1], flow.bytes[1]),
        mark: flow.mark,
        labels: (0..128u8)
            .filter(|bit| flow.label >> bit & 1 == 1)
            .collect(),
        start_ns: flow.started_wall_ns,
        stop_ns: None,
        helper: helper(flow.helper),
    }
}

/// The name of a network protocol.
pub(super) fn family_name(l3: u8) -> &'static str {
    if l3 == tuple::IPV4 { "ipv4" } else { "ipv6" }
}

/// One direction.
pub(super) fn side(tuple: &Tuple, packets: u64, bytes: u64) -> FlowSide {
    let icmp = matches!(tuple.protocol, 1 | 58).then_some(FlowIcmp {
        kind: (tuple.dport >> 8) as u8,
        code: tuple.dport as u8,
        id: tuple.sport,
    });
    let has_ports = icmp.is_none() && NAMES.iter().any(|(number, _)| *number == tuple.protocol);
    FlowSide {
        src: tuple.source(),
        dst: tuple.destination(),
        sport: has_ports.then_some(tuple.sport),
        dport: has_ports.then_some(tuple.dport),
        icmp,
        vtag: None,
        zone: tuple.zone,
        packets,
        bytes,
    }
}

/// An expected connection as it travels.
pub fn expectation(
    expectation: &conntrack::Expectation,
    now_ns: u64,
    master: u32,
    helper: Option<String>,
) -> Expected {
    let tuple = &expectation.tuple;
    let mask = Tuple {
        src: expectation.mask.src,
        dst: [0xff; 16],
        sport: expectation.mask.sport,
        dport: u16::MAX,
        ..*tuple
    };
    Expected {
        family: family_name(tuple.l3).to_owned(),
        protocol: tuple.protocol,
        timeout: expectation.expires_ns.saturating_sub(now_ns) / 1_000_000_000,
        tuple: side(tuple, 0, 0),
        mask: side(&mask, 0, 0),
        master,
        helper,
    }
}
