//! The options that window tracking reads: window scale (RFC 7323), SACK permitted and SACK
//! (RFC 2018). A broken list ends where it breaks; what was read until there counts.

use super::super::super::sequence::Offsets;
use super::after;
use super::state::{Side, flag};

const END: u8 = 0;
const NOP: u8 = 1;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
/// RFC 7323, section 2.3: a greater shift counts as this one.
const MOST_SCALE: u8 = 14;

/// Options with their data, in order.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                [] | [END, ..] => return None,
                [NOP, ref rest @ ..] => self.0 = rest,
                [kind, len, ..] => {
                    let data = self.0.get(2..usize::from(len))?;
                    self.0 = &self.0[usize::from(len)..];
                    return Some((kind, data));
                }
                [_] => return None,
            }
        }
    }
}

impl Side {
    /// Forgets what the side had agreed to and reads it from the options of its SYN. One without any
    /// says nothing, as in Linux: of a SYN sent again the first one holds.
    pub(super) fn read_options(&mut self, options: &[u8]) {
        if options.is_empty() {
            return;
        }
        self.scale = 0;
        self.flags &= flag::LIBERAL;
        for option in Options(options) {
            match option {
                (WINDOW_SCALE, [scale]) => {
                    self.scale = (*scale).min(MOST_SCALE);
                    self.flags |= flag::SCALE;
                }
                (SACK_PERMITTED, []) => self.flags |= flag::SACK,
                _ => {}
            }
        }
    }
}

/// The highest octet that a segment says has arrived: its acknowledgement, or the end of a block
/// beyond it. Blocks count as the sender has seen numbers, `ack` and the result as the other side does.
pub(super) fn highest(options: &[u8], acknowledged: Offsets, ack: u32) -> u32 {
    let Some((_, blocks)) = Options(options)
        .find(|(kind, data)| *kind == SACK && !data.is_empty() && data.len() % 8 == 0)
    else {
        return ack;
    };
    blocks
        .as_chunks::<8>()
        .0
        .iter()
        .fold(ack, |highest, block| {
            let end = u32::from_be_bytes([block[4], block[5], block[6], block[7]]);
            let end = acknowledged.back(end);
            if after(end, highest) { end } else { highest }
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: Offsets = Offsets::NONE;

    #[test]
    fn options_of_a_syn_are_read() {
        let mut side = Side {
            flags: flag::LIBERAL | flag::MAX_ACK,
            scale: 3,
            ..Side::default()
        };
        side.read_options(&[2, 4, 5, 0xb4, 4, 2, 1, 3, 3, 20]);
        assert_eq!(side.scale, 14);
        assert_eq!(side.flags, flag::LIBERAL | flag::SACK | flag::SCALE);
        side.read_options(&[0, 3, 3, 7]);
        assert_eq!((side.scale, side.flags), (0, flag::LIBERAL));
        // A length that runs over the end, or is no length, ends the list.
        for broken in [&[3, 4, 7][..], &[3, 1, 7, 3, 3, 7], &[3], &[3, 0]] {
            side.read_options(broken);
            assert_eq!((side.scale, side.flags), (0, flag::LIBERAL));
        }
        side.read_options(&[1, 1, 3, 2, 3, 3, 7]);
        assert_eq!(side.scale, 7);
    }

    #[test]
    fn the_highest_block_counts_and_only_beyond_the_acknowledgement() {
        let blocks = |ends: &[u32]| {
            let mut bytes = vec![1, 1, 5, (2 + 8 * ends.len()) as u8];
            for end in ends {
                bytes.extend(0u32.to_be_bytes());
                bytes.extend(end.to_be_bytes());
            }
            bytes
        };
        assert_eq!(highest(&blocks(&[50, 70, 60]), NONE, 40), 70);
        assert_eq!(highest(&blocks(&[30]), NONE, 40), 40);
        assert_eq!(highest(&blocks(&[5]), NONE, u32::MAX - 3), 5);
        assert_eq!(highest(&[5, 6, 0, 0, 0, 9], NONE, 1), 1);
        assert_eq!(highest(&[5, 2], NONE, 1), 1);
        // The other side's octets were shifted on their way here.
        assert_eq!(highest(&blocks(&[70]), Offsets::constant(25), 40), 45);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..44)) {
            let mut side = Side::default();
            side.read_options(&bytes);
            prop_assert!(side.scale <= 14);
            highest(&bytes, NONE, 1);
            prop_assert!(Options(&bytes).count() <= bytes.len());
        }
    }
}
