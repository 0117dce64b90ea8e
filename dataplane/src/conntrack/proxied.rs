//! Flows whose handshake the SYN proxy makes: what is kept of them, and how their packets stand to it.
//!
//! Such a flow begins with the SYN that the proxy sends to the server. When the server has answered, its
//! numbers are shifted to those that the client was told ([`Offsets`](super::Offsets)), and its clock too.

use std::sync::atomic::Ordering::Relaxed;

use super::protocol;
use super::sequence::Offsets;
use super::side::Side;
use super::state::{FlowIndex, status};
use super::worker::TrackerWorker;
use crate::packet::Frame;
use crate::packet::headers::Headers;
use crate::program::key::Direction;
use crate::synproxy::{Clock, Conversation, Handshake, shift};

pub use protocol::Stage;

/// What is kept of a proxied flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proxied {
    /// What its client was told.
    pub handshake: Handshake,
    /// What the server's clock is ahead of the client's notion of it.
    pub clock_shift: u32,
}

impl Side {
    pub(super) fn proxied(&self) -> Proxied {
        let word = self.handshake.load(Relaxed);
        Proxied {
            handshake: Handshake {
                isn: (word >> 32) as u32,
                clock: word as u32,
            },
            clock_shift: self.clock_shift.load(Relaxed),
        }
    }

    pub(super) fn set_proxied(&self, proxied: Proxied) {
        let Handshake { isn, clock } = proxied.handshake;
        let word = u64::from(isn) << 32 | u64::from(clock);
        self.handshake.store(word, Relaxed);
        self.clock_shift.store(proxied.clock_shift, Relaxed);
    }
}

/// What the SYN proxy did, for its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyEvent {
    /// A SYN was answered.
    Syn,
    /// An ACK had a good cookie.
    CookieValid,
    /// ... a bad one.
    CookieInvalid,
    /// A good cookie had the server asked again.
    CookieRetransmitted,
}

impl TrackerWorker {
    /// The cookie for a SYN of number `seq`.
    pub fn cookie(&self, of: &Conversation<'_>, seq: u32, mss: u16) -> u32 {
        self.tracker.cookies.make(of, seq, mss, self.now_ns)
    }

    /// The segment size that a good cookie stands for, see [`Cookies::check`](crate::synproxy::Cookies::check).
    pub fn check_cookie(&self, of: &Conversation<'_>, seq: u32, cookie: u32) -> Option<u16> {
        self.tracker.cookies.check(of, seq, cookie, self.now_ns)
    }

    /// The clock that the proxy tells clients: milliseconds.
    pub fn proxy_clock_ms(&self) -> u32 {
        (self.now_ns / 1_000_000) as u32
    }

    /// Counts what the SYN proxy did.
    pub fn count_proxy(&self, event: ProxyEvent) {
        let seat = self.seat();
        let counter = match event {
            ProxyEvent::Syn => &seat.syn_received,
            ProxyEvent::CookieValid => &seat.cookie_valid,
            ProxyEvent::CookieInvalid => &seat.cookie_invalid,
            ProxyEvent::CookieRetransmitted => &seat.cookie_retrans,
        };
        counter.add(1);
    }

    /// Notes that the SYN of a lane, which has just been tracked, is the proxy's, and what the client was
    /// told. One that the tracker has let through to a flow that is no proxied one stays what it is.
    ///
    /// `false` when the flow begins and there is no room for that: it must not.
    pub fn open(&mut self, lane: usize, flow: FlowIndex, handshake: Handshake) -> bool {
        let table = self.table();
        let entry = table.entry(flow.0);
        if self.has_begun(lane) {
            if !table.ensure_side(flow.0) {
                return false;
            }
            entry.set_status(status::PROXIED);
        } else if entry.status() & status::PROXIED == 0 {
            return true;
        } else if self.stage(flow) == Stage::Closed {
            self.seat().conn_reopened.add(1);
            if let Some(side) = table.side(flow.0) {
                let _locked = entry.lock();
                side.set_offsets(Direction::Reply, Offsets::NONE);
                side.set_proxied(Proxied::default());
            }
        }
        if let Some(side) = table.side(flow.0) {
            let old = side.proxied();
            side.set_proxied(Proxied { handshake, ..old });
        }
        true
    }

    /// How far a proxied flow has come, its last packet included.
    #[inline]
    pub fn stage(&self, flow: FlowIndex) -> Stage {
        protocol::stage(&self.table().entry(flow.0).state())
    }

    /// What is kept of a proxied flow.
    pub fn proxied(&self, flow: FlowIndex) -> Proxied {
        let side = self.table().side(flow.0);
        side.map_or_else(Proxied::default, Side::proxied)
    }

    /// The server has answered the proxy's SYN: `seq` is the number of its SYN-ACK, `clock` the time in it.
    pub fn note_answer(&mut self, flow: FlowIndex, seq: u32, clock: Option<u32>) {
        let Proxied { handshake, .. } = self.proxied(flow);
        if let (Some(clock), Some(side)) = (clock, self.table().side(flow.0)) {
            side.set_proxied(Proxied {
                handshake,
                clock_shift: clock.wrapping_sub(handshake.clock),
            });
        }
        self.set_offset(
            flow,
            Direction::Reply,
            handshake.isn.wrapping_sub(seq) as i32,
        );
    }

    /// The server has refused the proxy's SYN with a reset of number `seq`: the client, which has got a
    /// SYN-ACK, takes the number behind that. A reset later on is shifted like everything else.
    pub fn note_refusal(&mut self, flow: FlowIndex, seq: u32) {
        if self.offsets(flow, Direction::Reply) == Offsets::NONE {
            let next = self.proxied(flow).handshake.isn.wrapping_add(1);
            self.set_offset(flow, Direction::Reply, next.wrapping_sub(seq) as i32);
        }
    }

    /// Shifts the server's clock in a packet of a proxied flow before it leaves. `false` when its options are
    /// broken: it must not go on.
    pub fn shift_clock(
        &self,
        flow: FlowIndex,
        direction: Direction,
        headers: &Headers,
        frame: &mut Frame<'_>,
    ) -> bool {
        let by = self.proxied(flow).clock_shift;
        if by == 0 {
            return true;
        }
        let change = match direction {
            Direction::Original => (Clock::Echoed, by),
            Direction::Reply => (Clock::Own, by.wrapping_neg()),
        };
        let partial = frame.vnet.needs_checksum();
        shift(frame.bytes_mut(), headers, change, partial)
    }
}
