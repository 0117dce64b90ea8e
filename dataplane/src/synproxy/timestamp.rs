//! Timestamps of TCP (RFC 7323) that are shifted on their way: a client has been told of the proxy's
//! clock before the server's was known.

use crate::packet::checksum::{fold, replace, sum};
use crate::packet::headers::Headers;
use crate::packet::options::{TcpOptionSearch, search_tcp_option, tcp_header};

const TIMESTAMP: u8 = 8;
const CHECKSUM: usize = 16;

/// Which of a segment's two timestamps is the server's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The server sent it.
    Own,
    /// The client sent it back.
    Echoed,
}

/// Adds `by` to the server's clock in a segment, which goes from the server (`Own`) or to it (`Echoed`). A
/// `partial` checksum holds the pseudo-header only, which does not change.
///
/// `false`, and no change, when the option reaches over the header's end.
pub fn shift(
    frame: &mut [u8],
    headers: &Headers,
    (clock, by): (Clock, u32),
    partial: bool,
) -> bool {
    let found = match search_tcp_option(frame, headers, TIMESTAMP) {
        TcpOptionSearch::Missing => return true,
        TcpOptionSearch::Cut => return false,
        TcpOptionSearch::Found(found) => found,
    };
    let Some(header) = tcp_header(frame, headers).filter(|_| found.len == 10) else {
        return true;
    };
    let at = match clock {
        Clock::Own => found.at + 2,
        Clock::Echoed => found.at + 6,
    };
    let whole = header.at..header.at + header.len;
    let before = fold(sum(&frame[whole.clone()]));
    let Some(place) = frame[at..].first_chunk_mut::<4>() else {
        return false;
    };
    *place = u32::from_be_bytes(*place).wrapping_add(by).to_be_bytes();
    let after = fold(sum(&frame[whole]));
    if !partial
        && before != after
        && let Some(check) = frame[header.at + CHECKSUM..].first_chunk_mut::<2>()
    {
        *check = replace(u16::from_be_bytes(*check), before, after).to_be_bytes();
    }
    true
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, TcpOptionElement};
    use proptest::prelude::*;

    use super::*;
    use crate::packet::reply::transport_checksum_ok;

    fn frame(options: &[TcpOptionElement]) -> (Vec<u8>, Headers) {
        let step = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
            .tcp(1, 2, 3, 4)
            .ack(5)
            .options(options)
            .expect("options fit");
        let mut out = Vec::new();
        step.write(&mut out, b"odd").expect("it fits");
        let headers = Headers::dissect(&out);
        (out, headers)
    }

    proptest! {
        #[test]
        fn it_equals_the_segment_with_another_clock(
            value in any::<u32>(), echo in any::<u32>(), by in any::<u32>(), own in any::<bool>(), odd in any::<bool>(),
        ) {
            let stamped = |value, echo| {
                let stamp = TcpOptionElement::Timestamp(value, echo);
                // Behind a window scale the option begins at an odd byte.
                if odd { frame(&[TcpOptionElement::WindowScale(1), stamp]) } else { frame(&[stamp]) }
            };
            let (mut bytes, headers) = stamped(value, echo);
            let clock = if own { Clock::Own } else { Clock::Echoed };
            prop_assert!(shift(&mut bytes, &headers, (clock, by), false));
            prop_assert!(transport_checksum_ok(&bytes, &headers));
            let (expected, _) = match clock {
                Clock::Own => stamped(value.wrapping_add(by), echo),
                Clock::Echoed => stamped(value, echo.wrapping_add(by)),
            };
            // 0 and 0xffff are the same checksum.
            let check = usize::from(headers.transport) + CHECKSUM;
            prop_assert_eq!(&bytes[..check], &expected[..check]);
            prop_assert_eq!(&bytes[check + 2..], &expected[check + 2..]);
        }
    }

    #[test]
    fn a_segment_without_the_option_stays_and_a_cut_one_is_told() {
        let (mut bytes, headers) = frame(&[TcpOptionElement::Noop]);
        let before = bytes.clone();
        assert!(shift(&mut bytes, &headers, (Clock::Own, 7), false));
        assert_eq!(bytes, before);
        let at = usize::from(headers.transport) + 20;
        bytes[at..at + 4].copy_from_slice(&[1, TIMESTAMP, 10, 0]);
        assert!(!shift(&mut bytes, &headers, (Clock::Own, 7), false));
    }

    #[test]
    fn a_partial_checksum_stays() {
        let (mut bytes, headers) = frame(&[TcpOptionElement::Timestamp(1, 2)]);
        let check = usize::from(headers.transport) + CHECKSUM;
        let before = bytes[check..check + 2].to_vec();
        assert!(shift(&mut bytes, &headers, (Clock::Own, 7), true));
        assert_eq!(bytes[check..check + 2], before);
    }
}
