//! Replacing bytes of a TCP payload: what a helper found there is another address outside.

use crate::packet::Frame;
use crate::packet::checksum::{fold, pseudo_header, replace_partial, sum};
use crate::packet::headers::{Headers, ethertype, flag, protocol};

/// Replaces `len` bytes of a TCP segment's payload, `at` bytes behind its beginning, by `new`; lengths and
/// checksums follow, and padding behind the packet goes. `headers.end` is where the packet ends then.
///
/// `false`, and no change, when it is no such segment or the frame has no room.
pub fn replace_payload(
    frame: &mut Frame<'_>,
    headers: &mut Headers,
    (at, len): (usize, usize),
    new: &[u8],
) -> bool {
    let transport = usize::from(headers.transport);
    let end = headers.end as usize;
    let tcp = headers.has(flag::TRANSPORT) && headers.l4proto == protocol::TCP;
    let Some(payload) = headers.payload(frame.bytes()).filter(|_| tcp) else {
        return false;
    };
    let first = end - payload.len() + at;
    if at + len > payload.len() {
        return false;
    }
    let new_end = end - len + new.len();
    if new_end - usize::from(headers.network) > 65_535 || !frame.set_len(end.max(new_end)) {
        return false;
    }
    let partial = frame.vnet.needs_checksum();
    let bytes = frame.bytes_mut();
    bytes.copy_within(first + len..end, first + new.len());
    bytes[first..first + new.len()].copy_from_slice(new);
    let old_len = (end - transport) as u16;
    let new_len = (new_end - transport) as u16;
    write_length(bytes, headers, old_len, new_len);
    let check = transport + 16;
    if partial {
        let old = u16::from_be_bytes([bytes[check], bytes[check + 1]]);
        let sum = replace_partial(old, old_len, new_len);
        bytes[check..check + 2].copy_from_slice(&sum.to_be_bytes());
    } else {
        bytes[check..check + 2].fill(0);
        let network = usize::from(headers.network);
        let addresses = if headers.ethertype == ethertype::IP {
            network + 12..network + 20
        } else {
            network + 8..network + 40
        };
        let pseudo = pseudo_header(&bytes[addresses], protocol::TCP, u32::from(new_len));
        let sum = !fold(pseudo + sum(&bytes[transport..new_end]));
        bytes[check..check + 2].copy_from_slice(&sum.to_be_bytes());
    }
    headers.end = new_end as u32;
    frame.set_len(new_end)
}

/// Changes the length in the IP header by what the segment's has changed.
fn write_length(bytes: &mut [u8], headers: &Headers, old: u16, new: u16) {
    let network = usize::from(headers.network);
    let four = headers.ethertype == ethertype::IP;
    let at = network + if four { 2 } else { 4 };
    let before = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let after = before.wrapping_sub(old).wrapping_add(new);
    bytes[at..at + 2].copy_from_slice(&after.to_be_bytes());
    if four {
        let check = u16::from_be_bytes([bytes[network + 10], bytes[network + 11]]);
        let check = crate::packet::checksum::replace(check, before, after);
        bytes[network + 10..network + 12].copy_from_slice(&check.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use etherparse::PacketBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::port::PortId;

    fn segment(ip6: bool, payload: &[u8]) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let network = if ip6 {
            link.ipv6([1; 16], [2; 16], 64)
        } else {
            link.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        };
        let mut out = Vec::new();
        let step = network.tcp(1000, 21, 7, 8).ack(9);
        step.write(&mut out, payload).expect("it fits");
        out
    }

    proptest! {
        #[test]
        fn it_equals_the_segment_with_the_new_payload(
            ip6 in any::<bool>(), before in proptest::collection::vec(any::<u8>(), 0..40),
            old in proptest::collection::vec(any::<u8>(), 0..30),
            new in proptest::collection::vec(any::<u8>(), 0..30),
            after in proptest::collection::vec(any::<u8>(), 0..40), padding in 0usize..8,
        ) {
            let frame = segment(ip6, &[&before[..], &old, &after].concat());
            let mut memory = [&frame[..], &[0; 64]].concat();
            let mut headers = Headers::dissect(&frame);
            let mut found = Frame::borrowed(&mut memory, 0, frame.len() + padding, PortId(0));
            let place = (before.len(), old.len());
            prop_assert!(replace_payload(&mut found, &mut headers, place, &new));
            let expected = segment(ip6, &[&before[..], &new, &after].concat());
            prop_assert_eq!(headers.end as usize, expected.len());
            prop_assert_eq!(found.bytes(), &expected[..]);
        }
    }

    #[test]
    fn a_frame_without_room_stays_as_it_was() {
        let frame = segment(false, b"PORT 10,0,0,1,4,1\r\n");
        let mut memory = frame.clone();
        let mut headers = Headers::dissect(&frame);
        let mut found = Frame::borrowed(&mut memory, 0, frame.len(), PortId(0));
        assert!(!replace_payload(
            &mut found,
            &mut headers,
            (5, 12),
            b"192,168,100,100,4,1"
        ));
        assert_eq!(found.bytes(), &frame[..]);
    }
}
