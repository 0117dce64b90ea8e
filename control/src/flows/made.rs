//! Flows that are made and changed by hand, from what a request says to what the tracker takes.

use std::net::IpAddr;

use sluice_dataplane::conntrack::protocol::{self, ProtocolState};
use sluice_dataplane::conntrack::tuple::{self, address_bytes};
use sluice_dataplane::conntrack::{
    Change, Flow, FlowId, FlowIndex, Offsets, Proxied, TimeoutClass, Tuple, status,
};

use super::filter::mark;
use super::text::protocol_number;
use crate::api::flow::{FlowChange, NewFlow, NewSide};

const SECOND_NS: u64 = 1_000_000_000;
const TCP: u8 = 6;
const DCCP: u8 = 33;
const SCTP: u8 = 132;

/// Status bits that may be set by hand.
const SETTABLE: [(&str, u32); 3] = [
    ("seen-reply", status::SEEN_REPLY),
    ("assured", status::ASSURED),
    ("fixed-timeout", status::FIXED_TIMEOUT),
];

/// The flow that a request describes; `now_ns` is of the workers' clock.
///
/// # Errors
/// A sentence that names the key and what is allowed.
pub fn new_flow(new: &NewFlow, now_ns: u64, wall_ns: u64) -> Result<Flow, String> {
    let number = protocol_number(&new.protocol)
        .ok_or_else(|| format!("protocol: \"{}\" is not known", new.protocol))?;
    let original = side("original", &new.original, number, new.zone)?;
    let reply = match &new.reply {
        Some(given) => side("reply", given, number, new.reply_zone)?,
        None => {
            let answer = protocol::invert(&original)
                .ok_or("original.icmp: messages of this type have no answer")?;
            Tuple {
                zone: new.reply_zone,
                ..answer
            }
        }
    };
    if original.l3 != reply.l3 {
        return Err("reply: addresses of another family than those of original".to_owned());
    }
    let bits = settable(&new.status)?;
    let (state, class) = state(number, new.state.as_deref(), bits)?;
    let state = match (number, new.role.as_deref()) {
        (SCTP, None) => protocol::with_tags(&state, new.vtags),
        (DCCP, None | Some("client")) => state,
        (DCCP, Some("server")) => protocol::turned(&state),
        (_, None) if new.vtags == [0; 2] => state,
        (_, None) => return Err("vtags: only SCTP has them".to_owned()),
        (_, Some(_)) => return Err("role: only DCCP has them; client or server".to_owned()),
    };
    Ok(Flow {
        id: FlowId {
            index: FlowIndex::NONE,
            generation: 0,
        },
        number: 0,
        original,
        reply,
        status: status::CONFIRMED | bits,
        state,
        class,
        policy: 0,
        expires_ns: now_ns.saturating_add(u64::from(new.timeout) * SECOND_NS),
        started_wall_ns: wall_ns,
        mark: new.mark,
        label: labels("labels", &new.labels)?,
        packets: [0; 2],
        bytes: [0; 2],
        master: None,
        helper: 0,
        offsets: [Offsets::NONE; 2],
        proxied: Proxied::default(),
        translation: 0,
        worker: 0,
    })
}

/// What a request changes of flows.
///
/// # Errors
/// A sentence that names the key and what is allowed.
pub fn change(asked: &FlowChange) -> Result<Change, String> {
    Ok(Change {
        state: asked.state.as_ref().map(|state| state.to_uppercase()),
        mark: mark(asked.mark.as_deref())?,
        label_set: labels("labels_add", &asked.labels_add)?,
        label_clear: labels("labels_del", &asked.labels_del)?,
        status: settable(&asked.status)?,
        timeout_ns: asked.timeout.map(|seconds| u64::from(seconds) * SECOND_NS),
    })
}

/// Whether a change would make anything of a flow another one. No state does where the protocol does not
/// have it, and then nothing else does either.
pub fn alters(flow: &Flow, change: &Change) -> bool {
    let state = change.state.as_deref().map(|name| {
        let known = protocol::in_state(flow.original.protocol, &flow.state, name).is_some();
        (known, flow.state_name() != Some(name))
    });
    let marked = |(mark, mask): (u32, u32)| flow.mark & !mask | mark & mask;
    let label = flow.label & !change.label_clear | change.label_set;
    state.is_none_or(|(known, _)| known)
        && (state.is_some_and(|(_, other)| other)
            || change
                .mark
                .map(marked)
                .is_some_and(|mark| mark != flow.mark)
            || label != flow.label
            || change.status & !flow.status != 0
            || change.timeout_ns.is_some() && flow.status & status::FIXED_TIMEOUT == 0)
}

/// The state of a protocol, and what its timeout depends on.
fn state(
    number: u8,
    name: Option<&str>,
    bits: u32,
) -> Result<(ProtocolState, TimeoutClass), String> {
    let fresh = ProtocolState::default();
    let Some(name) = name else {
        if matches!(number, TCP | DCCP | SCTP) {
            return Err("state: needed for this protocol".to_owned());
        }
        return Ok((fresh, protocol::class(number, bits)));
    };
    let name = name.to_uppercase();
    protocol::in_state(number, &fresh, &name)
        .ok_or_else(|| format!("state: this protocol has no state \"{name}\""))
}

fn settable(names: &[String]) -> Result<u32, String> {
    let bit = |name: &String| {
        let known = SETTABLE.iter().find(|(known, _)| known == name);
        known.map(|(_, bit)| *bit).ok_or_else(|| {
            let names = SETTABLE.map(|(name, _)| name).join(", ");
            format!("status: \"{name}\" cannot be set; allowed: {names}")
        })
    };
    names.iter().try_fold(0, |bits, name| Ok(bits | bit(name)?))
}

fn labels(key: &str, bits: &[u8]) -> Result<u128, String> {
    let mask = |bit: &u8| match bit {
        0..128 => Ok(1u128 << bit),
        _ => Err(format!("{key}: {bit} is no number from 0 to 127")),
    };
    bits.iter().try_fold(0, |all, bit| Ok(all | mask(bit)?))
}

/// The tuple of a direction.
fn side(key: &str, given: &NewSide, number: u8, zone: u16) -> Result<Tuple, String> {
    let icmp = matches!(number, 1 | 58);
    let ports = matches!(number, TCP | 17 | DCCP | SCTP | 136 | 47);
    let (sport, dport) = match (given.icmp, given.sport, given.dport) {
        (Some(icmp_id), None, None) if icmp => (
            icmp_id.id,
            u16::from(icmp_id.kind) << 8 | u16::from(icmp_id.code),
        ),
        (None, Some(sport), Some(dport)) if ports => (sport, dport),
        (None, None, None) if !icmp && !ports => (0, 0),
        _ if icmp => {
            return Err(format!(
                "{key}.icmp: needed for this protocol, and no ports"
            ));
        }
        _ if ports => {
            return Err(format!(
                "{key}: sport and dport are needed for this protocol"
            ));
        }
        _ => return Err(format!("{key}: this protocol has no ports")),
    };
    let l3 = match (given.src, given.dst) {
        (IpAddr::V4(_), IpAddr::V4(_)) if number != 58 => tuple::IPV4,
        (IpAddr::V6(_), IpAddr::V6(_)) if number != 1 => tuple::IPV6,
        _ => {
            return Err(format!(
                "{key}: addresses of one family are needed, that of the protocol"
            ));
        }
    };
    Ok(Tuple {
        src: address_bytes(given.src),
        dst: address_bytes(given.dst),
        sport,
        dport,
        protocol: number,
        l3,
        zone,
        domain: 0,
    })
}
