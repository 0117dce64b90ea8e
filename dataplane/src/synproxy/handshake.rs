//! The four segments that the proxy sends, each a function of the one that caused it.

use super::options::{Options, option};
use super::segment::{Segment, flag};

/// What a `synproxy` statement or object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Options that are offered to clients if they ask for them, as bits of [`option`].
    pub bits: u8,
    /// Segment size announced to clients: the server's.
    pub mss: u16,
    /// Window scale announced to clients: the server's.
    pub wscale: u8,
}

/// What a client has been told in a handshake, kept with its connection until the server answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshake {
    /// The number of the SYN-ACK that it got: the cookie.
    pub isn: u32,
    /// The timestamp in it, 0 without one.
    pub clock: u32,
}

/// Bits of the timestamp that hold what the SYN offered.
const TOLD: u32 = 0x3f;
/// ... the window scale; this value: none.
const NO_WSCALE: u32 = 0xf;
/// ... selective acknowledgements.
const SACK: u32 = 1 << 4;

/// The SYN-ACK for a SYN: its number is `cookie`, its window is closed. `clock_ms` is the proxy's clock.
pub fn syn_ack(syn: &Segment, offer: Offer, cookie: u32, clock_ms: u32) -> Segment {
    let asked = syn.options;
    let mut options = Options {
        bits: asked.bits & offer.bits,
        mss: offer.mss,
        wscale: offer.wscale,
        ..Options::default()
    };
    if options.has(option::TIMESTAMP) {
        options.tsecr = asked.tsval;
        options.tsval = clock_ms & !TOLD;
        options.tsval |= if options.has(option::WSCALE) {
            u32::from(asked.wscale)
        } else {
            NO_WSCALE
        };
        if options.has(option::SACK_PERM) {
            options.tsval |= SACK;
        }
    } else {
        // There is nowhere to remember them.
        options.bits &= option::MSS;
    }
    Segment {
        sport: syn.dport,
        dport: syn.sport,
        seq: cookie,
        ack: syn.seq.wrapping_add(1),
        flags: flag::SYN | flag::ACK,
        window: 0,
        options,
    }
}

/// The SYN for the server, after a client's ACK of a cookie that stands for `mss`: what the client's SYN
/// was. `seq` is that SYN's number.
pub fn server_syn(ack: &Segment, seq: u32, mss: u16) -> (Segment, Handshake) {
    let echoed = ack.options;
    let mut options = Options {
        bits: option::MSS | echoed.bits & option::TIMESTAMP,
        mss,
        tsval: echoed.tsval,
        tsecr: echoed.tsecr,
        wscale: 0,
    };
    if options.has(option::TIMESTAMP) {
        let wscale = echoed.tsecr & NO_WSCALE;
        if wscale != NO_WSCALE {
            options.bits |= option::WSCALE;
            options.wscale = wscale as u8;
        }
        if echoed.tsecr & SACK != 0 {
            options.bits |= option::SACK_PERM;
        }
    }
    let syn = Segment {
        sport: ack.sport,
        dport: ack.dport,
        seq,
        ack: 0,
        flags: flag::SYN,
        window: ack.window,
        options,
    };
    let told = Handshake {
        isn: ack.ack.wrapping_sub(1),
        clock: if options.has(option::TIMESTAMP) {
            echoed.tsecr
        } else {
            0
        },
    };
    (syn, told)
}

/// The ACK for the server's SYN-ACK, numbered as the client numbers: it is shifted like the client's other
/// segments. `window` is that of the SYN.
pub fn server_ack(syn_ack: &Segment, told: Handshake, window: u16) -> Segment {
    Segment {
        sport: syn_ack.dport,
        dport: syn_ack.sport,
        seq: syn_ack.ack,
        ack: told.isn.wrapping_add(1),
        flags: flag::ACK,
        window,
        options: Options {
            bits: syn_ack.options.bits & option::TIMESTAMP,
            tsval: syn_ack.options.tsecr,
            tsecr: told.clock,
            ..Options::default()
        },
    }
}

/// The ACK that opens the window to the client, numbered as the server numbers: it takes the place of the
/// server's SYN-ACK and is shifted like the server's other segments.
pub fn client_ack(syn_ack: &Segment) -> Segment {
    let options = syn_ack.options;
    Segment {
        seq: syn_ack.seq.wrapping_add(1),
        flags: flag::ACK,
        // That of a SYN is not scaled, this one is.
        window: syn_ack.window >> options.wscale,
        options: Options {
            bits: options.bits & option::TIMESTAMP,
            tsval: options.tsval,
            tsecr: options.tsecr,
            ..Options::default()
        },
        ..*syn_ack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u8 = option::MSS | option::WSCALE | option::SACK_PERM | option::TIMESTAMP;
    const OFFER: Offer = Offer {
        bits: ALL,
        mss: 1400,
        wscale: 9,
    };

    fn syn(bits: u8) -> Segment {
        Segment {
            sport: 4000,
            dport: 80,
            seq: u32::MAX,
            ack: 0,
            flags: flag::SYN,
            window: 64_000,
            options: Options {
                bits,
                mss: 1460,
                wscale: 5,
                tsval: 99,
                tsecr: 0,
            },
        }
    }

    #[test]
    fn what_the_syn_offers_comes_back_in_the_timestamp() {
        for bits in 0..16u8 {
            let answer = syn_ack(&syn(bits), OFFER, 1000, 0x1234_5678);
            assert_eq!((answer.seq, answer.ack, answer.window), (1000, 0, 0));
            assert_eq!((answer.sport, answer.dport), (80, 4000));
            let stamped = bits & option::TIMESTAMP != 0;
            let agreed = if stamped { bits } else { bits & option::MSS };
            assert_eq!(answer.options.bits, agreed);
            assert_eq!((answer.options.mss, answer.options.wscale), (1400, 9));
            let ack = Segment {
                seq: 0,
                ack: 1001,
                flags: flag::ACK,
                window: 500,
                options: Options {
                    bits: bits & option::TIMESTAMP,
                    tsval: 100,
                    tsecr: answer.options.tsval,
                    ..Options::default()
                },
                ..syn(0)
            };
            let (opened, told) = server_syn(&ack, u32::MAX, 1440);
            assert_eq!(opened.options.bits, agreed | option::MSS);
            assert_eq!((opened.seq, opened.window), (u32::MAX, 500));
            assert_eq!(opened.options.mss, 1440);
            if agreed & option::WSCALE != 0 {
                assert_eq!(opened.options.wscale, 5);
            }
            assert_eq!(told.isn, 1000);
            if stamped {
                assert_eq!(answer.options.tsecr, 99);
                assert_eq!(
                    (opened.options.tsval, opened.options.tsecr),
                    (100, told.clock)
                );
                assert_eq!(told.clock & !TOLD, 0x1234_5678 & !TOLD);
            }
        }
    }

    #[test]
    fn a_statement_offers_only_what_it_says() {
        let offer = Offer {
            bits: option::TIMESTAMP | option::SACK_PERM,
            mss: 0,
            wscale: 0,
        };
        let answer = syn_ack(&syn(ALL), offer, 1, 0);
        assert_eq!(answer.options.bits, option::TIMESTAMP | option::SACK_PERM);
        assert_eq!(answer.options.tsval, NO_WSCALE | SACK);
        let answer = syn_ack(&syn(ALL), Offer::default(), 1, 0);
        assert_eq!(answer.options.bits, 0);
    }

    #[test]
    fn the_servers_answer_becomes_one_ack_for_each_side() {
        let answer = Segment {
            sport: 80,
            dport: 4000,
            seq: 70,
            ack: 5,
            flags: flag::SYN | flag::ACK,
            window: 64_000,
            options: Options {
                bits: ALL,
                mss: 1460,
                wscale: 7,
                tsval: 9000,
                tsecr: 100,
            },
        };
        let told = Handshake {
            isn: 1000,
            clock: 64,
        };
        let ack = server_ack(&answer, told, 500);
        assert_eq!((ack.sport, ack.dport, ack.flags), (4000, 80, flag::ACK));
        assert_eq!((ack.seq, ack.ack, ack.window), (5, 1001, 500));
        let Options {
            bits, tsval, tsecr, ..
        } = ack.options;
        assert_eq!((bits, tsval, tsecr), (option::TIMESTAMP, 100, 64));
        let opened = client_ack(&answer);
        assert_eq!((opened.seq, opened.ack, opened.window), (71, 5, 500));
        assert_eq!((opened.sport, opened.flags), (80, flag::ACK));
        let Options {
            bits, tsval, tsecr, ..
        } = opened.options;
        assert_eq!((bits, tsval, tsecr), (option::TIMESTAMP, 9000, 100));
    }
}
