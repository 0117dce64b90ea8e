//! A connection through a proxy, segment by segment: what its client and its server know and say.

use sluice_dataplane::synproxy::{Options, Segment, flag, option};

use super::{Heard, Proxy};
use crate::tracker::Side::{Left, Right};

/// The number of a client's SYN.
pub const CLIENT: u32 = u32::MAX - 20;
/// The number of the server's SYN-ACK.
pub const SERVER: u32 = 9000;
/// The client's clock.
pub const CLIENT_CLOCK: u32 = 70_000;
/// The server's clock.
pub const SERVER_CLOCK: u32 = 4_000_000_000;
/// The client's window, as it stands in its headers.
pub const WINDOW: u16 = 502;
/// SYN.
pub const SYN: u8 = flag::SYN;
/// ACK.
pub const ACK: u8 = flag::ACK;
/// RST.
pub const RST: u8 = flag::RST;
/// All options of a handshake.
pub const ALL: u8 = option::MSS | option::WSCALE | option::SACK_PERM | option::TIMESTAMP;

/// The setup of nft(8), with a statement.
pub fn rules(synproxy: &str) -> String {
    format!(
        "table inet t {{
            {OBJECTS}
            chain raw {{
                type filter hook prerouting priority raw; policy accept;
                tcp dport 80 tcp flags syn notrack
            }}
            chain forward {{
                type filter hook forward priority filter; policy accept;
                tcp dport 80 ct state invalid,untracked {synproxy}
                ct state invalid drop
            }}
        }}"
    )
}

/// A named object that says the same as [`FULL`].
const OBJECTS: &str = "synproxy one { mss 1400; wscale 6; timestamp sack-perm; }\n";
/// A statement that offers all of them.
pub const FULL: &str = "synproxy mss 1400 wscale 6 timestamp sack-perm";

/// The options of a client's SYN.
pub fn offers(bits: u8) -> Options {
    Options {
        bits,
        mss: if bits & option::MSS != 0 { 1460 } else { 0 },
        wscale: if bits & option::WSCALE != 0 { 7 } else { 0 },
        tsval: if bits & option::TIMESTAMP != 0 {
            CLIENT_CLOCK
        } else {
            0
        },
        tsecr: 0,
    }
}

/// Timestamps, where the conversation has them.
pub fn stamp(stamped: bool, tsval: u32, tsecr: u32) -> Options {
    if !stamped {
        return Options::default();
    }
    Options {
        bits: option::TIMESTAMP,
        tsval,
        tsecr,
        ..Options::default()
    }
}

/// A connection: what its client and its server know.
#[derive(Debug)]
pub struct Talk<P> {
    /// What is between the two.
    pub proxy: P,
    /// Whether it is IPv6.
    pub v6: bool,
    /// The client's port.
    pub sport: u16,
    /// The number of the client's SYN.
    pub isn: u32,
    /// Whether there are timestamps.
    pub stamped: bool,
    /// What the client got for the server's first number.
    pub cookie: u32,
    /// ... and for its clock.
    pub clock: u32,
}

impl<P: Proxy> Talk<P> {
    /// A conversation that has not begun.
    pub fn new(proxy: P, v6: bool, sport: u16) -> Self {
        Self {
            proxy,
            v6,
            sport,
            isn: CLIENT,
            stamped: false,
            cookie: 0,
            clock: 0,
        }
    }

    /// A segment of the client's.
    pub fn client(&mut self, segment: Segment, payload: &[u8]) -> [Vec<Heard>; 2] {
        let segment = Segment {
            sport: self.sport,
            dport: 80,
            window: WINDOW,
            ..segment
        };
        self.proxy.say(self.v6, Left, &segment, payload)
    }

    /// A segment of the server's.
    pub fn server(&mut self, segment: Segment, payload: &[u8]) -> [Vec<Heard>; 2] {
        let segment = Segment {
            sport: 80,
            dport: self.sport,
            ..segment
        };
        self.proxy.say(self.v6, Right, &segment, payload)
    }

    /// The client's SYN with these options.
    pub fn syn(&mut self, options: Options) -> [Vec<Heard>; 2] {
        let out = self.client(
            Segment {
                seq: self.isn,
                flags: SYN,
                options,
                ..Segment::default()
            },
            &[],
        );
        if let [answer] = &out[0][..] {
            self.cookie = answer.segment.seq;
            self.clock = answer.segment.options.tsval;
            self.stamped = answer.segment.options.has(option::TIMESTAMP);
        }
        out
    }

    /// The client's ACK of the number behind `cookie`.
    pub fn ack_of(&mut self, cookie: u32) -> [Vec<Heard>; 2] {
        let options = stamp(self.stamped, CLIENT_CLOCK + 1, self.clock);
        self.client(
            Segment {
                seq: self.isn.wrapping_add(1),
                ack: cookie.wrapping_add(1),
                flags: ACK,
                options,
                ..Segment::default()
            },
            &[],
        )
    }

    /// The client's ACK.
    pub fn ack(&mut self) -> [Vec<Heard>; 2] {
        self.ack_of(self.cookie)
    }

    /// The client's probe of its closed window.
    pub fn probe(&mut self) -> [Vec<Heard>; 2] {
        let options = stamp(self.stamped, CLIENT_CLOCK + 2, self.clock);
        self.client(
            Segment {
                seq: self.isn,
                ack: self.cookie.wrapping_add(1),
                flags: ACK,
                options,
                ..Segment::default()
            },
            &[],
        )
    }

    /// The server's answer.
    pub fn syn_ack(&mut self) -> [Vec<Heard>; 2] {
        let options = Options {
            bits: option::MSS | if self.stamped { ALL } else { 0 },
            mss: 1400,
            wscale: if self.stamped { 6 } else { 0 },
            ..stamp(self.stamped, SERVER_CLOCK, CLIENT_CLOCK + 1)
        };
        self.server(
            Segment {
                seq: SERVER,
                ack: self.isn.wrapping_add(1),
                flags: SYN | ACK,
                window: 64_000,
                options,
                ..Segment::default()
            },
            &[],
        )
    }

    /// What the client asks.
    pub fn client_data(&mut self) -> [Vec<Heard>; 2] {
        let options = stamp(self.stamped, CLIENT_CLOCK + 30, self.clock.wrapping_add(40));
        self.client(
            Segment {
                seq: self.isn.wrapping_add(1),
                ack: self.cookie.wrapping_add(1),
                flags: ACK,
                options,
                ..Segment::default()
            },
            b"question",
        )
    }

    /// What the server answers.
    pub fn server_data(&mut self) -> [Vec<Heard>; 2] {
        let options = stamp(self.stamped, SERVER_CLOCK + 50, CLIENT_CLOCK + 30);
        self.server(
            Segment {
                seq: SERVER + 1,
                ack: self.isn.wrapping_add(9),
                flags: ACK,
                window: 500,
                options,
                ..Segment::default()
            },
            b"answer",
        )
    }

    /// The server's RST in answer to the SYN.
    pub fn refusal(&mut self) -> [Vec<Heard>; 2] {
        self.server(
            Segment {
                ack: self.isn.wrapping_add(1),
                flags: RST | ACK,
                ..Segment::default()
            },
            &[],
        )
    }

    /// As far as both sides may send.
    ///
    /// # Panics
    /// When the proxy does not do its part.
    pub fn establish(&mut self, options: Options) {
        assert_eq!(self.syn(options)[0].len(), 1);
        assert_eq!(self.ack()[1].len(), 1);
        let out = self.syn_ack();
        assert_eq!((out[0].len(), out[1].len()), (1, 1));
    }
}

/// The segment of the only frame.
///
/// # Panics
/// When there is another number of frames.
pub fn only(frames: &[Heard]) -> Segment {
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames[0].segment
}
