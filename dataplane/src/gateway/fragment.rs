//! Cutting an IPv4 packet into fragments (RFC 791, 3.2; RFC 1812, 4.2.2.7).

use crate::packet::checksum::checksum;

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
const COPIED: u8 = 0x80;

/// Cuts a whole IPv4 packet (or a fragment) into packets of at most `mtu` bytes and hands each of
/// them on as header and payload. `false`, and nothing handed on, when it cannot be cut.
pub fn cut(packet: &[u8], mtu: usize, mut each: impl FnMut(&[u8], &[u8])) -> bool {
    let Some(&first) = packet.first() else {
        return false;
    };
    let header_len = usize::from(first & 15) * 4;
    if header_len < 20 || packet.len() < header_len || mtu < header_len + 8 {
        return false;
    }
    let (header, payload) = packet.split_at(header_len);
    let word = u16::from_be_bytes([header[6], header[7]]);
    let (flags, begin) = (word & !OFFSET, usize::from(word & OFFSET));
    let step = (mtu - header_len) & !7;
    if begin + payload.len() / 8 > usize::from(OFFSET) {
        return false;
    }
    let mut own = [0; 60];
    own[..header_len].copy_from_slice(header);
    let mut at = 0;
    while at < payload.len() {
        let end = (at + step).min(payload.len());
        let more = if end < payload.len() { MORE } else { 0 };
        let place = flags | more | (begin + at / 8) as u16;
        if at > 0 {
            blank_options(&mut own[20..header_len]);
        }
        own[2..4].copy_from_slice(&((header_len + end - at) as u16).to_be_bytes());
        own[6..8].copy_from_slice(&place.to_be_bytes());
        own[10..12].fill(0);
        let sum = checksum(&own[..header_len]);
        own[10..12].copy_from_slice(&sum.to_be_bytes());
        each(&own[..header_len], &payload[at..end]);
        at = end;
    }
    true
}

/// Options that only the first fragment carries become no-operations, as in Linux.
fn blank_options(options: &mut [u8]) {
    let mut at = 0;
    while at < options.len() {
        let len = match options[at] {
            0 => return,
            1 => 1,
            _ => usize::from(*options.get(at + 1).unwrap_or(&0)),
        };
        if len == 0 || at + len > options.len() {
            return;
        }
        if options[at] & COPIED == 0 {
            options[at..at + len].fill(1);
        }
        at += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(options: &[u8], payload: usize, fragment: u16) -> Vec<u8> {
        let header = 20 + options.len();
        let mut packet = vec![0; 20];
        packet[0] = 0x40 | (header / 4) as u8;
        packet[2..4].copy_from_slice(&((header + payload) as u16).to_be_bytes());
        packet[4..6].copy_from_slice(&[0xab, 0xcd]);
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend(options);
        packet.extend((0..payload).map(|n| n as u8));
        packet
    }

    fn pieces(packet: &[u8], mtu: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut list = Vec::new();
        assert!(cut(packet, mtu, |header, payload| {
            list.push((header.to_vec(), payload.to_vec()));
        }));
        list
    }

    #[test]
    fn pieces_put_together_are_the_packet() {
        for (payload, mtu) in [(3000, 1500), (1481, 1500), (65_000, 68), (9, 28)] {
            let whole = packet(&[], payload, 0);
            let list = pieces(&whole, mtu);
            let mut rebuilt: Vec<u8> = Vec::new();
            for (number, (header, part)) in list.iter().enumerate() {
                assert!(header.len() + part.len() <= mtu);
                assert_eq!(checksum(header), 0);
                let word = u16::from_be_bytes([header[6], header[7]]);
                assert_eq!(usize::from(word & OFFSET) * 8, rebuilt.len());
                assert_eq!(word & MORE != 0, number + 1 < list.len());
                assert_eq!(header[4..6], [0xab, 0xcd]);
                rebuilt.extend(part);
            }
            assert_eq!(rebuilt, whole[20..]);
        }
    }

    #[test]
    fn a_fragment_is_cut_further_and_keeps_its_place() {
        let list = pieces(&packet(&[], 100, MORE | 10), 68);
        let words: Vec<u16> = list
            .iter()
            .map(|(header, _)| u16::from_be_bytes([header[6], header[7]]))
            .collect();
        assert_eq!(words, [MORE | 10, MORE | 16, MORE | 22]);
    }

    #[test]
    fn only_options_to_be_copied_are_in_later_fragments() {
        // A record route (not copied) and a loose source route (copied).
        let options = [7, 3, 4, 1, 131, 3, 4, 0];
        let list = pieces(&packet(&options, 100, 0), 68);
        assert_eq!(list[0].0[20..], options);
        assert_eq!(list[1].0[20..], [1, 1, 1, 1, 131, 3, 4, 0]);
    }

    #[test]
    fn what_cannot_be_cut_is_left() {
        assert!(!cut(&packet(&[], 100, 0), 27, |_, _| panic!("cut")));
        assert!(!cut(&[], 1500, |_, _| panic!("cut")));
    }
}
