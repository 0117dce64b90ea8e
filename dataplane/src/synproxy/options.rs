//! The TCP options that a handshake agrees on: segment size, window scale, SACK, timestamps.

use arrayvec::ArrayVec;

/// Bits of [`Options::bits`] and [`Offer`](super::Offer): the kernel's `NF_SYNPROXY_OPT_*`.
pub mod option {
    /// Maximum segment size.
    pub const MSS: u8 = 1;
    /// Window scale.
    pub const WSCALE: u8 = 1 << 1;
    /// Selective acknowledgements are permitted.
    pub const SACK_PERM: u8 = 1 << 2;
    /// Timestamps.
    pub const TIMESTAMP: u8 = 1 << 3;
}

/// Most bytes that [`Options::write`] writes.
pub(super) const LARGEST: usize = 20;
/// RFC 7323, section 2.3: a greater shift counts as this one.
const MOST_WSCALE: u8 = 14;

const END: u8 = 0;
const NOP: u8 = 1;
const MSS: u8 = 2;
const WSCALE: u8 = 3;
const SACK_PERM: u8 = 4;
const TIMESTAMP: u8 = 8;

/// Options of a segment of a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Those that are there, as bits of [`option`].
    pub bits: u8,
    /// Octets.
    pub mss: u16,
    /// Bits that windows are shifted by, 0-14.
    pub wscale: u8,
    /// The sender's clock.
    pub tsval: u32,
    /// The other side's clock, as the sender has seen it last.
    pub tsecr: u32,
}

impl Options {
    /// Whether all options of these bits are there.
    pub fn has(&self, bits: u8) -> bool {
        self.bits & bits == bits
    }

    /// Reads options. A broken list ends where it breaks; what was read until there counts.
    pub fn read(bytes: &[u8]) -> Self {
        let mut options = Self::default();
        let mut rest = bytes;
        loop {
            match *rest {
                [] | [END, ..] | [_] => return options,
                [NOP, ref behind @ ..] => rest = behind,
                [kind, len, ..] => {
                    let len = usize::from(len);
                    let Some(data) = rest.get(2..len) else {
                        return options;
                    };
                    options.note(kind, data);
                    rest = &rest[len..];
                }
            }
        }
    }

    fn note(&mut self, kind: u8, data: &[u8]) {
        match (kind, data) {
            (MSS, &[high, low]) => {
                self.mss = u16::from_be_bytes([high, low]);
                self.bits |= option::MSS;
            }
            (WSCALE, &[scale]) => {
                self.wscale = scale.min(MOST_WSCALE);
                self.bits |= option::WSCALE;
            }
            (SACK_PERM, []) => self.bits |= option::SACK_PERM,
            (TIMESTAMP, &[a, b, c, d, e, f, g, h]) => {
                self.tsval = u32::from_be_bytes([a, b, c, d]);
                self.tsecr = u32::from_be_bytes([e, f, g, h]);
                self.bits |= option::TIMESTAMP;
            }
            _ => {}
        }
    }

    /// Writes options in words of 4 bytes, in the order that hosts of Linux have; at most as many bytes as
    /// a SYN with the same options has.
    pub fn write<const N: usize>(&self, out: &mut ArrayVec<u8, N>) {
        if self.has(option::MSS) {
            out.extend([MSS, 4]);
            out.extend(self.mss.to_be_bytes());
        }
        if self.has(option::TIMESTAMP) {
            let before = if self.has(option::SACK_PERM) {
                [SACK_PERM, 2]
            } else {
                [NOP, NOP]
            };
            out.extend(before);
            out.extend([TIMESTAMP, 10]);
            out.extend(self.tsval.to_be_bytes());
            out.extend(self.tsecr.to_be_bytes());
        } else if self.has(option::SACK_PERM) {
            out.extend([NOP, NOP, SACK_PERM, 2]);
        }
        if self.has(option::WSCALE) {
            out.extend([NOP, WSCALE, 3, self.wscale]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn options_of_linux_are_read_and_written_alike() {
        let bytes = [
            2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 7, 1, 3, 3, 7,
        ];
        let options = Options::read(&bytes);
        let expected = Options {
            bits: option::MSS | option::WSCALE | option::SACK_PERM | option::TIMESTAMP,
            mss: 1460,
            wscale: 7,
            tsval: 9,
            tsecr: 7,
        };
        assert_eq!(options, expected);
        let mut out = ArrayVec::<u8, LARGEST>::new();
        options.write(&mut out);
        assert_eq!(out[..], bytes);
    }

    #[test]
    fn a_broken_list_ends_where_it_breaks() {
        let mss = Options {
            bits: option::MSS,
            mss: 536,
            ..Options::default()
        };
        for behind in [&[3, 0][..], &[3, 1], &[3, 4, 1], &[3], &[0, 3, 3, 5]] {
            let bytes = [&[2, 4, 2, 24], behind].concat();
            assert_eq!(Options::read(&bytes), mss, "{behind:?}");
        }
        // An option of a length that is not its own says nothing, and what is behind it counts.
        let odd = Options::read(&[2, 3, 1, 3, 3, 20]);
        assert_eq!((odd.bits, odd.wscale), (option::WSCALE, 14));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            bits in 0u8..16, mss in any::<u16>(), wscale in 0u8..=14, tsval in any::<u32>(), tsecr in any::<u32>(),
        ) {
            let mut options = Options { bits, ..Options::default() };
            if options.has(option::MSS) { options.mss = mss; }
            if options.has(option::WSCALE) { options.wscale = wscale; }
            if options.has(option::TIMESTAMP) { (options.tsval, options.tsecr) = (tsval, tsecr); }
            let mut out = ArrayVec::<u8, LARGEST>::new();
            options.write(&mut out);
            prop_assert!(out.len().is_multiple_of(4));
            prop_assert_eq!(Options::read(&out), options);
        }

        #[test]
        fn an_answer_is_never_longer_than_what_it_answers(
            bytes in proptest::collection::vec(prop_oneof![0u8..11, any::<u8>()], 0..10),
        ) {
            let mut padded = bytes.clone();
            padded.resize(bytes.len().next_multiple_of(4), 0);
            let mut out = ArrayVec::<u8, LARGEST>::new();
            // What the proxy answers: without timestamps nothing but the segment size.
            let mut options = Options::read(&padded);
            if !options.has(option::TIMESTAMP) {
                options.bits &= option::MSS;
            }
            options.write(&mut out);
            prop_assert!(out.len() <= padded.len(), "{:?} {:?}", padded, out);
        }
    }
}
