//! GRE (RFC 2784, RFC 2637): version 1 (PPTP) has a call key in its tuple, version 0 has none, as in
//! Linux: a key of RFC 2890 does not tell flows apart.

use super::super::invalid::InvalidReason;
use super::super::status;
use super::super::timeouts::TimeoutClass;
use super::{Judgement, Packet};
use crate::packet::headers::field;

/// The protocol number of GRE.
pub(super) const NUMBER: u8 = 47;
const VERSION: u8 = 7;
const PPP: [u8; 2] = [0x88, 0x0b];

/// What stands for ports: the call key as the destination's.
pub(super) fn ports(packet: &Packet<'_>) -> Result<(u16, u16), InvalidReason> {
    let Some(header) = field::<4>(packet.bytes, packet.transport) else {
        return Ok((0, 0));
    };
    if header[1] & VERSION != 1 {
        return Ok((0, 0));
    }
    let call = field::<8>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    if header[2..4] != PPP {
        return Err(InvalidReason::GreHeader);
    }
    Ok((0, u16::from_be_bytes([call[6], call[7]])))
}

/// A further packet. `seen` are the flow's status bits as they were before it.
pub(super) fn next(seen: u32) -> Judgement {
    if seen & status::SEEN_REPLY == 0 {
        Judgement::accept(TimeoutClass::GreUnreplied, 0)
    } else if seen & status::NAT_CLASH == 0 {
        Judgement::accept(TimeoutClass::GreReplied, status::ASSURED)
    } else {
        Judgement::accept(TimeoutClass::GreReplied, 0)
    }
}
