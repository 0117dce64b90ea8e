//! SYN cookies: the number of a SYN-ACK from which the ACK proves that there was one (Bernstein and
//! Schenk, as Linux has them in net/ipv4/syncookies.c).
//!
//! ```text
//! hash(conversation) + the client's number + minute << 24 + (hash(conversation, minute) + index of the MSS) mod 2^24
//! ```
//!
//! Who does not know the key guesses one of 2^24 numbers. A cookie is good in its minute and the next one.
//! The hash is SipHash-2-4.

const MINUTE_NS: u64 = 60 * 1_000_000_000;
/// Minutes after which a cookie is no good any more.
const MOST_AGE: u32 = 2;
/// Bits below those that hold the minute.
const BITS: u32 = 24;
const MASK: u32 = (1 << BITS) - 1;

/// Segment sizes that a cookie can hold, for IPv4 ("An Analysis of TCP Maximum Segment Sizes", 2011).
const MSS: [u16; 4] = [536, 1300, 1440, 1460];
/// The same for IPv6: MTUs of 1280, 1480, 1500 and 9000.
const MSS6: [u16; 4] = [1220, 1420, 1440, 8940];

/// Who speaks to whom, from the client's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation<'f> {
    /// Source and destination address side by side, 8 or 32 bytes.
    pub addresses: &'f [u8],
    /// The client's port.
    pub sport: u16,
    /// The server's port.
    pub dport: u16,
}

impl Conversation<'_> {
    fn is_v6(&self) -> bool {
        self.addresses.len() > 8
    }

    fn sizes(&self) -> [u16; 4] {
        if self.is_v6() { MSS6 } else { MSS }
    }
}

/// Makes and checks cookies.
#[derive(Clone, Debug)]
pub struct Cookies {
    keys: [[u64; 2]; 2],
}

impl Cookies {
    /// Cookies of a secret key.
    pub const fn new(keys: [[u64; 2]; 2]) -> Self {
        Self { keys }
    }

    fn hash(&self, which: usize, of: &Conversation<'_>, count: u32) -> u32 {
        let mut words = [0; 5];
        let (addresses, _) = of.addresses.as_chunks::<8>();
        let len = addresses.len().min(4);
        for (word, bytes) in words.iter_mut().zip(addresses) {
            *word = u64::from_le_bytes(*bytes);
        }
        words[len] = u64::from(of.sport) << 48 | u64::from(of.dport) << 32 | u64::from(count);
        siphash(self.keys[which], &words[..=len]) as u32
    }

    /// The cookie for a SYN of number `seq` that offers segments of `mss` octets.
    pub fn make(&self, of: &Conversation<'_>, seq: u32, mss: u16, now_ns: u64) -> u32 {
        let index = of
            .sizes()
            .iter()
            .rposition(|size| mss >= *size)
            .unwrap_or(0);
        let minute = minute(now_ns);
        let low = self.hash(1, of, minute).wrapping_add(index as u32) & MASK;
        self.hash(0, of, 0)
            .wrapping_add(seq)
            .wrapping_add(minute << BITS)
            .wrapping_add(low)
    }

    /// The segment size (rounded down) that a SYN of number `seq` has offered, if `cookie` is one that was
    /// made for it lately.
    pub fn check(&self, of: &Conversation<'_>, seq: u32, cookie: u32, now_ns: u64) -> Option<u16> {
        let cookie = cookie.wrapping_sub(self.hash(0, of, 0)).wrapping_sub(seq);
        let minute = minute(now_ns);
        let age = minute.wrapping_sub(cookie >> BITS) & (u32::MAX >> BITS);
        if age >= MOST_AGE {
            return None;
        }
        let low = self.hash(1, of, minute.wrapping_sub(age));
        let index = cookie.wrapping_sub(low) & MASK;
        of.sizes().get(index as usize).copied()
    }
}

fn minute(now_ns: u64) -> u32 {
    (now_ns / MINUTE_NS) as u32
}

/// SipHash-2-4 of words, little-endian (Aumasson and Bernstein, 2012).
fn siphash([k0, k1]: [u64; 2], words: &[u64]) -> u64 {
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let last = (words.len() as u64 * 8) << 56;
    for word in words.iter().copied().chain([last]) {
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    const KEYS: [[u64; 2]; 2] = [[1, 2], [3, 4]];
    const NOW_NS: u64 = 1000 * MINUTE_NS + 17;
    const CLIENT: Conversation<'_> = Conversation {
        addresses: &[10, 0, 0, 1, 192, 0, 2, 7],
        sport: 40_000,
        dport: 443,
    };

    #[test]
    fn every_segment_size_comes_back_rounded_down() {
        let cookies = Cookies::new(KEYS);
        let six = Conversation {
            addresses: &[7; 32],
            ..CLIENT
        };
        for (of, sizes) in [(CLIENT, MSS), (six, MSS6)] {
            let next = |at: usize| sizes.get(at + 1).map_or(u16::MAX, |next| next - 1);
            for (at, size) in sizes.into_iter().enumerate() {
                for offered in [size, next(at)] {
                    let cookie = cookies.make(&of, 77, offered, NOW_NS);
                    assert_eq!(cookies.check(&of, 77, cookie, NOW_NS), Some(size));
                }
            }
            // Less than the least: the least.
            let cookie = cookies.make(&of, 77, 0, NOW_NS);
            assert_eq!(cookies.check(&of, 77, cookie, NOW_NS), Some(sizes[0]));
        }
    }

    #[test]
    fn a_cookie_is_good_in_its_minute_and_the_next_one() {
        let cookies = Cookies::new(KEYS);
        let cookie = cookies.make(&CLIENT, 5, 1460, NOW_NS);
        let at = |minutes: u64| cookies.check(&CLIENT, 5, cookie, NOW_NS + minutes * MINUTE_NS);
        assert_eq!((at(0), at(1)), (Some(1460), Some(1460)));
        assert_eq!([at(2), at(3), at(200)], [None; 3]);
        // Nor before it was made.
        assert_eq!(cookies.check(&CLIENT, 5, cookie, NOW_NS - MINUTE_NS), None);
        // The minute is kept in 8 bits, but hashed whole: 256 minutes later it is another one's.
        assert_eq!(at(256), None);
    }

    #[test]
    fn a_cookie_of_something_else_is_none() {
        let cookies = Cookies::new(KEYS);
        let cookie = cookies.make(&CLIENT, 5, 536, NOW_NS);
        let other = |of: Conversation<'_>, seq, cookie| cookies.check(&of, seq, cookie, NOW_NS);
        let far = 1 << 12;
        assert_eq!(other(CLIENT, 5, cookie.wrapping_add(far)), None);
        assert_eq!(other(CLIENT, 5 + far, cookie), None);
        let turned = Conversation {
            addresses: &[192, 0, 2, 7, 10, 0, 0, 1],
            ..CLIENT
        };
        assert_eq!(other(turned, 5, cookie), None);
        for (sport, dport) in [(40_001, 443), (40_000, 444), (443, 40_000)] {
            let of = Conversation {
                sport,
                dport,
                ..CLIENT
            };
            assert_eq!(other(of, 5, cookie), None, "{sport} {dport}");
        }
        let keyed = Cookies::new([[1, 2], [3, 5]]);
        assert_eq!(keyed.check(&CLIENT, 5, cookie, NOW_NS), None);
    }

    #[test]
    fn guesses_hit_as_often_as_there_are_sizes() {
        let cookies = Cookies::new(KEYS);
        let cookie = cookies.make(&CLIENT, 5, 1300, NOW_NS);
        let near = |guess: &u32| cookies.check(&CLIENT, 5, *guess, NOW_NS).is_some();
        let found = (cookie - 1000..cookie + 1000).filter(near).count();
        assert_eq!(found, MSS.len());
    }

    proptest! {
        #[test]
        #[expect(deprecated, reason = "the standard library's own SipHash-2-4 is the oracle")]
        fn the_hash_is_siphash(key in any::<[u64; 2]>(), words in proptest::collection::vec(any::<u64>(), 0..6)) {
            let mut oracle = std::hash::SipHasher::new_with_keys(key[0], key[1]);
            for word in &words {
                oracle.write(&word.to_le_bytes());
            }
            prop_assert_eq!(siphash(key, &words), oracle.finish());
        }
    }
}
