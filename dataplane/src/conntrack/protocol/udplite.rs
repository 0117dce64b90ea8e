//! UDP-Lite (RFC 3828): a datagram whose checksum covers only its first octets, and must be there.

use super::super::invalid::InvalidReason;
use super::{Packet, checksum};
use crate::packet::headers::field;

/// Checks coverage and checksum. States are those of [`udp`](super::udp).
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
