//! ICMP (RFC 792): requests and their replies; errors are judged in [`error`](super::error).

use super::super::invalid::InvalidReason;
use super::super::tuple::IPV4;
use super::{Packet, checksum};
use crate::packet::headers::field;

const ECHO_REPLY: u8 = 0;
const ECHO: u8 = 8;
const TIMESTAMP: u8 = 13;
const TIMESTAMP_REPLY: u8 = 14;
const INFORMATION: u8 = 15;
const INFORMATION_REPLY: u8 = 16;
const ADDRESS_MASK: u8 = 17;
const ADDRESS_MASK_REPLY: u8 = 18;
/// Types beyond this are not assigned, or not in use (RFC 6918).
const LAST_TYPE: u8 = 18;

/// The type of the answer, or of what is answered. `None` when a type has neither.
pub(super) fn counterpart(kind: u8) -> Option<u8> {
    Some(match kind {
        ECHO => ECHO_REPLY,
        ECHO_REPLY => ECHO,
        TIMESTAMP => TIMESTAMP_REPLY,
        TIMESTAMP_REPLY => TIMESTAMP,
        INFORMATION => INFORMATION_REPLY,
        INFORMATION_REPLY => INFORMATION,
        ADDRESS_MASK => ADDRESS_MASK_REPLY,
        ADDRESS_MASK_REPLY => ADDRESS_MASK,
        _ => return None,
    })
}

/// Whether a message of this type is about another packet.
#[inline]
pub(super) fn is_error(kind: u8) -> bool {
    // Destination unreachable, source quench, redirect, time exceeded, parameter problem.
    matches!(kind, 3 | 4 | 5 | 11 | 12)
}

/// Checks header, checksum and type.
pub(super) fn check(packet: &Packet<'_>, verify: bool) -> Result<(), InvalidReason> {
    if packet.l3 != IPV4 {
        return Err(InvalidReason::IcmpType);
    }
    let header = field::<8>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    if verify {
        checksum::verify_icmp(packet)?;
    }
    if header[0] > LAST_TYPE {
        return Err(InvalidReason::IcmpType);
    }
    Ok(())
}

/// Whether a message may begin a flow: requests only.
pub(super) fn may_begin(kind: u8) -> bool {
    matches!(kind, ECHO | TIMESTAMP | INFORMATION | ADDRESS_MASK)
}
