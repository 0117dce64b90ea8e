//! ICMPv6 (RFC 4443, RFC 4620): requests and their replies. Neighbour discovery and multicast
//! listeners are not tracked; errors are judged in [`error`](super::error).

use super::super::invalid::InvalidReason;
use super::super::tuple::IPV6;
use super::{Packet, checksum};
use crate::packet::headers::field;

const ECHO: u8 = 128;
const ECHO_REPLY: u8 = 129;
const NODE_INFORMATION: u8 = 139;
const NODE_INFORMATION_REPLY: u8 = 140;
/// A redirect (RFC 4861, section 4.5), which is about another packet.
pub(super) const REDIRECT: u8 = 137;

/// The type of the answer, or of what is answered. `None` when a type has neither.
pub(super) fn counterpart(kind: u8) -> Option<u8> {
    Some(match kind {
        ECHO => ECHO_REPLY,
        ECHO_REPLY => ECHO,
        NODE_INFORMATION => NODE_INFORMATION_REPLY,
        NODE_INFORMATION_REPLY => NODE_INFORMATION,
        _ => return None,
    })
}

/// Whether a message of this type is about another packet. Types below 128 are errors, known or not.
#[inline]
pub(super) fn is_error(kind: u8) -> bool {
    kind < 128
}

/// Whether a message of this type is never tracked: multicast listener (RFC 2710, RFC 3810), router
/// and neighbour solicitation and advertisement (RFC 4861).
pub(super) fn is_untracked(kind: u8) -> bool {
    matches!(kind, 130..=136 | 143)
}

/// Checks header and checksum.
pub(super) fn check(packet: &Packet<'_>, verify: bool) -> Result<(), InvalidReason> {
    if packet.l3 != IPV6 {
        return Err(InvalidReason::IcmpType);
    }
    field::<8>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    if verify {
        checksum::verify(packet, packet.bytes.len() - packet.transport)?;
    }
    Ok(())
}

/// Whether a message may begin a flow: requests only.
pub(super) fn may_begin(kind: u8) -> bool {
    matches!(kind, ECHO | NODE_INFORMATION)
}
