//! Transport checksums of whole packets.

use super::super::invalid::InvalidReason;
use super::super::tuple::IPV4;
use super::Packet;
use crate::packet::checksum::{crc32c_of_sctp, fold, pseudo_header, sum};
use crate::packet::headers::field;

/// Verifies a checksum with pseudo-header over the first `covered` bytes of the transport. The
/// pseudo-header always has the length of all of it.
pub(super) fn verify(packet: &Packet<'_>, covered: usize) -> Result<(), InvalidReason> {
    let transport = &packet.bytes[packet.transport..];
    let addresses = if packet.l3 == IPV4 {
        packet.bytes.get(12..20)
    } else {
        packet.bytes.get(8..40)
    };
    let addresses = addresses.ok_or(InvalidReason::IpHeader)?;
    let pseudo = pseudo_header(addresses, packet.protocol, transport.len() as u32);
    right(fold(pseudo + sum(&transport[..covered])) == 0xffff)
}

/// Verifies the checksum of ICMP, which has no pseudo-header.
pub(super) fn verify_icmp(packet: &Packet<'_>) -> Result<(), InvalidReason> {
    right(fold(sum(&packet.bytes[packet.transport..])) == 0xffff)
}

/// Verifies the CRC of SCTP (RFC 9260, appendix A), which is stored lowest byte first.
pub(super) fn verify_sctp(packet: &Packet<'_>) -> Result<(), InvalidReason> {
    let transport = &packet.bytes[packet.transport..];
    let crc = crc32c_of_sctp(transport).ok_or(InvalidReason::HeaderShort)?;
    right(field::<4>(transport, 8) == Some(crc.to_le_bytes()))
}

fn right(right: bool) -> Result<(), InvalidReason> {
    if right {
        Ok(())
    } else {
        Err(InvalidReason::ChecksumBad)
    }
}
