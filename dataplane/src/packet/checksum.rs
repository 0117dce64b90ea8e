//! The Internet checksum: computing it, and changing it by what has changed (RFC 1624).

/// The one's complement sum of bytes, at most 0xffff; an odd last byte is the high half of a word. 0 only when
/// all bytes are.
///
/// The order of the bytes in a word does not matter to such a sum (RFC 1071, section 2B): it is taken as the
/// words lie in memory, and turned round at the end.
#[inline]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let halves = |word: u64| (word & 0xffff_ffff) + (word >> 32);
    let mut sum: u64 = words
        .iter()
        .map(|word| halves(u64::from_le_bytes(*word)))
        .sum();
    let (words, rest) = rest.as_chunks::<4>();
    sum += words
        .iter()
        .map(|word| u64::from(u32::from_le_bytes(*word)))
        .sum::<u64>();
    sum += match *rest {
        [one] => u64::from(one),
        [one, two] => u64::from(u16::from_le_bytes([one, two])),
        [one, two, three] => u64::from(u32::from_le_bytes([one, two, three, 0])),
        _ => 0,
    };
    u64::from(fold(sum).swap_bytes())
}

/// Folds a sum to 16 bits. (Without a loop: how often a carry is left over, no processor can guess.)
#[inline]
pub fn fold(sum: u64) -> u16 {
    let halves = (sum >> 32) + (sum & 0xffff_ffff);
    let quarters = (halves >> 32) + ((halves >> 16) & 0xffff) + (halves & 0xffff);
    let carried = (quarters >> 16) + (quarters & 0xffff);
    ((carried >> 16) + carried) as u16
}

/// The checksum of bytes.
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(sum(bytes))
}

/// The sum of the pseudo-header of TCP, UDP and ICMPv6: addresses (8 or 32 bytes), protocol and
/// length of the transport.
pub fn pseudo_header(addresses: &[u8], protocol: u8, length: u32) -> u64 {
    sum(addresses) + u64::from(protocol) + u64::from(length)
}

/// A complete checksum after `old` has become `new`, both folded sums of words at even offsets.
/// As in the kernel the result is never 0 but 0xffff, which is the same number.
#[inline]
pub fn replace(checksum: u16, old: u16, new: u16) -> u16 {
    match !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new)) {
        0 => 0xffff,
        changed => changed,
    }
}

/// A partial checksum (the pseudo-header's sum) after `old` has become `new`.
#[inline]
pub fn replace_partial(partial: u16, old: u16, new: u16) -> u16 {
    fold(u64::from(partial) + u64::from(!old) + u64::from(new))
}

/// The CRC32c of SCTP.
pub fn crc32c(bytes: &[u8]) -> u32 {
    !crc32c_continued(u32::MAX, bytes)
}

/// The CRC32c of an SCTP packet whose checksum field (bytes 8 to 12) counts as 0. `None` when the
/// packet is shorter.
pub fn crc32c_of_sctp(packet: &[u8]) -> Option<u32> {
    let (before, after) = (packet.get(..8)?, packet.get(12..)?);
    let crc = crc32c_continued(crc32c_continued(u32::MAX, before), &[0; 4]);
    Some(!crc32c_continued(crc, after))
}

fn crc32c_continued(crc: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let (mut value, mut bit) = (index as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 {
                    value >> 1 ^ 0x82f6_3b78
                } else {
                    value >> 1
                };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    bytes.iter().fold(crc, |crc, byte| {
        TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        // RFC 1071, section 3.
        assert_eq!(
            fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])),
            0xddf2
        );
        assert_eq!(fold(sum(&[0xff])), 0xff00);
        // RFC 3720, appendix B.4: 32 bytes of zeroes.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let mut packet: [u8; 40] = std::array::from_fn(|at| at as u8);
        let told = crc32c_of_sctp(&packet);
        packet[8..12].fill(0);
        assert_eq!(told, Some(crc32c(&packet)));
        assert_eq!(crc32c_of_sctp(&packet[..11]), None);
    }

    proptest! {
        #[test]
        fn a_sum_is_that_of_big_endian_words(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
            let words: u64 = bytes.chunks(2).map(word).sum();
            prop_assert_eq!(sum(&bytes), u64::from(fold(words)));
        }

        #[test]
        fn a_changed_checksum_equals_a_new_one(
            mut bytes in proptest::collection::vec(any::<u8>(), 2..64),
            at in 0usize..62, value in any::<u16>(),
        ) {
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            let at = (at % bytes.len()) & !1;
            let before = checksum(&bytes);
            let old = fold(sum(&bytes[at..at + 2]));
            bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
            let after = replace(before, old, value);
            // 0 and 0xffff are the same number.
            prop_assert_eq!(after % 0xffff, checksum(&bytes) % 0xffff);
        }
    }
}
