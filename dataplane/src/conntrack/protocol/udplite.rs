//! UDP-Lite (RFC 3828): a datagram whose checksum covers only its first octets, and must be there.

use super::super::invalid::InvalidReason;
use super::super::status;
use super::super::timeouts::TimeoutClass;
use super::{Judgement, Packet, checksum};
use crate::packet::headers::field;

/// A further datagram: unlike UDP's, a flow is a stream as soon as it has been answered.
pub(super) fn next(seen: u32) -> Judgement {
    if seen & status::SEEN_REPLY == 0 {
        return Judgement::accept(TimeoutClass::UdpliteUnreplied, 0);
    }
    // A flow that lost a clash of tuples ends soon and is never assured.
    let assured = if seen & status::NAT_CLASH == 0 {
        status::ASSURED
    } else {
        0
    };
    Judgement::accept(TimeoutClass::UdpliteReplied, assured)
}

/// Checks coverage and checksum.
pub(super) fn check(packet: &Packet<'_>, verify: bool) -> Result<(), InvalidReason> {
    let header = field::<8>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    let there = packet.bytes.len() - packet.transport;
    let covered = match usize::from(u16::from_be_bytes([header[4], header[5]])) {
        0 => there,
        told if told < 8 || told > there => return Err(InvalidReason::LengthBad),
        told => told,
    };
    if header[6..8] == [0, 0] {
        return Err(InvalidReason::ChecksumMissing);
    }
    if verify {
        checksum::verify(packet, covered)?;
    }
    Ok(())
}
