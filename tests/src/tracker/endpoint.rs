//! A pair of TCP hosts that mostly do what TCP hosts do: where their windows are, and so where the edges
//! are that a segment can lie at.

use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use super::Side;
use super::packets::{Segment, flag};

/// One host.
#[derive(Clone, Debug)]
struct Host {
    /// Behind what it has sent.
    next: u32,
    /// Behind what it may send.
    limit: u32,
    window: u16,
    scale: u8,
}

/// Two hosts.
#[derive(Clone, Debug)]
pub struct Hosts {
    hosts: [Host; 2],
    last: Option<(Side, Segment)>,
}

impl Hosts {
    /// Two hosts that have not spoken.
    pub fn new(rng: &mut SmallRng) -> Self {
        let mut host = || Host {
            next: match rng.random_range(0..4) {
                0 => u32::MAX - rng.random_range(0..2000),
                1 => 0x7fff_ffff - rng.random_range(0..2000),
                _ => rng.random(),
            },
            limit: 0,
            window: *[1000, 1000, 4000, 65_535, 1].choose(rng).unwrap_or(&1000),
            scale: if rng.random_bool(0.3) {
                rng.random_range(0..15)
            } else {
                255
            },
        };
        let hosts = [host(), host()];
        Self { hosts, last: None }
    }

    /// The next segment: what a host would send, often bent.
    pub fn segment(&mut self, rng: &mut SmallRng, from: Side) -> Segment {
        if let Some((side, last)) = &self.last
            && *side == from
            && rng.random_bool(0.12)
        {
            return last.clone();
        }
        let flags = *[
            flag::SYN,
            flag::SYN | flag::ACK,
            flag::ACK,
            flag::ACK,
            flag::ACK,
            flag::ACK | 8,
            flag::FIN | flag::ACK,
            flag::RST,
            flag::RST | flag::ACK,
        ]
        .choose(rng)
        .unwrap_or(&flag::ACK);
        self.send(rng, from, flags)
    }

    /// The next segment with these flags, at an edge or not.
    pub fn send(&mut self, rng: &mut SmallRng, from: Side, flags: u8) -> Segment {
        let (own, peer) = self.pair(from);
        let bent = rng.random_bool(0.35);
        let edges = [
            own.next.wrapping_sub(1),
            own.next.wrapping_add(1),
            own.limit,
            own.limit.wrapping_add(1),
            own.limit.wrapping_add(2),
            own.next.wrapping_sub(u32::from(peer.window)),
            own.next
                .wrapping_sub(u32::from(peer.window))
                .wrapping_sub(1),
            own.next
                .wrapping_sub(u32::from(peer.window))
                .wrapping_sub(2),
            own.next.wrapping_add(100_000),
            0,
        ];
        let acks = [
            peer.next.wrapping_sub(1),
            peer.next.wrapping_add(1),
            peer.next.wrapping_add(2),
            peer.next.wrapping_sub(66_000),
            peer.next.wrapping_sub(66_001),
            peer.next.wrapping_sub(66_002),
            0,
        ];
        let mut segment = Segment::new(flags, own.next, peer.next);
        if bent && rng.random_bool(0.6) {
            segment.seq = *edges.choose(rng).unwrap_or(&0);
        }
        if bent && rng.random_bool(0.5) {
            segment.ack = *acks.choose(rng).unwrap_or(&0);
        }
        if flags & flag::ACK == 0 && rng.random_bool(0.8) {
            segment.ack = 0;
        }
        segment.window = if rng.random_bool(0.1) {
            *[0, 1, 65_535].choose(rng).unwrap_or(&0)
        } else {
            own.window
        };
        if flags & (flag::SYN | flag::RST) == 0 && rng.random_bool(0.4) {
            segment.len = *[1, 10, 999, 1000, 1001].choose(rng).unwrap_or(&1);
        }
        if flags & flag::SYN != 0 {
            if own.scale != 255 {
                segment.options.extend([1, 3, 3, own.scale]);
            }
            if rng.random_bool(0.5) {
                segment.options.extend([1, 1, 4, 2]);
            }
        } else if rng.random_bool(0.15) {
            segment.options.extend([1, 1, 5, 10]);
            let end = *[peer.next, peer.next.wrapping_add(1), segment.ack]
                .choose(rng)
                .unwrap_or(&0);
            segment.options.extend(end.wrapping_sub(10).to_be_bytes());
            segment.options.extend(end.to_be_bytes());
        }
        if !bent {
            self.note(from, &segment);
        }
        self.last = Some((from, segment.clone()));
        segment
    }

    fn pair(&self, from: Side) -> (Host, Host) {
        let [left, right] = &self.hosts;
        match from {
            Side::Left => (left.clone(), right.clone()),
            Side::Right => (right.clone(), left.clone()),
        }
    }

    fn note(&mut self, from: Side, segment: &Segment) {
        let own = usize::from(from == Side::Right);
        let counts =
            u32::from(segment.flags & flag::SYN != 0) + u32::from(segment.flags & flag::FIN != 0);
        let end = segment
            .seq
            .wrapping_add(segment.len as u32)
            .wrapping_add(counts);
        self.hosts[own].next = end;
        let scale = match self.hosts[own].scale {
            255 => 0,
            scale => scale,
        };
        if segment.flags & flag::ACK != 0 {
            let window = u32::from(segment.window) << scale;
            self.hosts[1 - own].limit = segment.ack.wrapping_add(window);
        }
    }
}
