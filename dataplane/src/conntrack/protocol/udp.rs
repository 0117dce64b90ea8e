//! UDP (RFC 768): unreplied, replied, and a stream that is still going after two seconds.

use super::super::invalid::InvalidReason;
use super::super::status;
use super::super::timeouts::TimeoutClass;
use super::timeout::Timeout;
use super::{Judgement, Packet, ProtocolState, checksum};
use crate::packet::headers::field;

/// A flow that is answered and older than this is a stream.
const STREAM_NS: u64 = 2_000_000_000;

/// Checks length and checksum.
pub(super) fn check(packet: &Packet<'_>, verify: bool) -> Result<(), InvalidReason> {
    let header = field::<8>(packet.bytes, packet.transport).ok_or(InvalidReason::HeaderShort)?;
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let there = packet.bytes.len() - packet.transport;
    if len < 8 || len > there {
        return Err(InvalidReason::LengthBad);
    }
    // 0: the sender has made none.
    if header[6..8] == [0, 0] || !verify {
        return Ok(());
    }
    checksum::verify(packet, there)
}

/// The first datagram.
pub(super) fn begin(now_ns: u64) -> (ProtocolState, Timeout, u32) {
    let mut state = ProtocolState::default();
    state.0[0] = now_ns.saturating_add(STREAM_NS);
    (state, Timeout::of(TimeoutClass::UdpUnreplied), 0)
}

/// A further datagram. `seen` are the flow's status bits as they were before it.
pub(super) fn next(state: &ProtocolState, seen: u32, now_ns: u64) -> Judgement {
    if seen & status::SEEN_REPLY == 0 || now_ns <= state.0[0] {
        return Judgement::accept(TimeoutClass::UdpUnreplied, 0);
    }
    // A flow that lost a clash of tuples ends soon and is never assured.
    let assured = if seen & status::NAT_CLASH == 0 {
        status::ASSURED
    } else {
        0
    };
    Judgement::accept(TimeoutClass::UdpReplied, assured)
}
