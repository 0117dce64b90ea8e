//! Random conversations, from a seed.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::endpoint::Hosts;
use super::packets::{announce, chunk, flag, ip, ports, sctp};
use super::{Rules, Side, Step};

/// A conversation about one flow (or few), and the settings that it is held under.
#[derive(Clone, Debug)]
pub struct Talk {
    /// The seed that made it.
    pub seed: u64,
    /// Settings.
    pub rules: Rules,
    /// Packets in order.
    pub steps: Vec<Step>,
}

/// The conversation of a seed. `client` is a port (or ICMP id) that no other one uses.
pub fn talk(seed: u64, client: u16) -> Talk {
    let mut rng = SmallRng::seed_from_u64(seed);
    let rules = Rules {
        loose: rng.random_bool(0.8),
        liberal: rng.random_bool(0.1),
    };
    let v6 = rng.random_bool(0.3);
    let steps = match rng.random_range(0..10) {
        0..7 => tcp(&mut rng, v6, client),
        7..9 => associations(&mut rng, v6, client),
        _ => others(&mut rng, v6, client),
    };
    Talk { seed, rules, steps }
}

fn side(rng: &mut SmallRng) -> Side {
    if rng.random_bool(0.5) {
        Side::Left
    } else {
        Side::Right
    }
}

fn tcp(rng: &mut SmallRng, v6: bool, client: u16) -> Vec<Step> {
    let mut hosts = Hosts::new(rng);
    let mut steps = Vec::new();
    let mut add = |from: Side, segment: super::packets::Segment| {
        steps.push(Step {
            from,
            packet: ip(v6, 6, from, &segment.message(from, client)),
            what: segment.describe(),
            pause: 0,
        });
    };
    // Most conversations begin with some part of a handshake.
    let handshake = [
        (Side::Left, flag::SYN),
        (Side::Right, flag::SYN | flag::ACK),
        (Side::Left, flag::ACK),
    ];
    let known = *[0, 1, 2, 3, 3, 3].choose(rng).unwrap_or(&3);
    for (from, flags) in &handshake[..known] {
        add(*from, hosts.send(rng, *from, *flags));
    }
    if known == 3 && rng.random_bool(0.3) {
        for from in [Side::Left, Side::Right] {
            add(from, hosts.send(rng, from, flag::FIN | flag::ACK));
        }
    }
    for _ in 0..rng.random_range(4..16) {
        let from = side(rng);
        add(from, hosts.segment(rng, from));
    }
    steps
}

fn associations(rng: &mut SmallRng, v6: bool, client: u16) -> Vec<Step> {
    let tags = [0, 7, 9, 11];
    let mut steps = Vec::new();
    let mut add = |from: Side, tag: u32, chunks: &[Vec<u8>]| {
        let kinds: Vec<_> = chunks.iter().map(|chunk| chunk[0]).collect();
        steps.push(Step {
            from,
            packet: ip(v6, 132, from, &sctp(from, client, tag, chunks)),
            what: format!("SCTP chunks {kinds:?} tag {tag}"),
            pause: 0,
        });
    };
    let handshake = [
        (Side::Left, 0, announce(1, 7)),
        (Side::Right, 7, announce(2, 9)),
        (Side::Left, 9, chunk(10, 0, b"cookie")),
        (Side::Right, 7, chunk(11, 0, &[])),
    ];
    let known = *[0, 1, 2, 3, 4, 4, 4].choose(rng).unwrap_or(&4);
    for (from, tag, chunk) in &handshake[..known] {
        add(*from, *tag, std::slice::from_ref(chunk));
    }
    for _ in 0..rng.random_range(3..12) {
        let from = side(rng);
        let right = if from == Side::Left { 9 } else { 7 };
        let tag = if rng.random_bool(0.7) {
            right
        } else {
            *tags.choose(rng).unwrap_or(&0)
        };
        let mut chunks = Vec::new();
        for _ in 0..*[1, 1, 1, 2, 3].choose(rng).unwrap_or(&1) {
            let kind = *[0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 64]
                .choose(rng)
                .unwrap_or(&0);
            chunks.push(match kind {
                1 | 2 => announce(kind, *tags.choose(rng).unwrap_or(&7)),
                _ => chunk(kind, rng.random_range(0..2), &[1; 4]),
            });
        }
        let tag = if chunks[0][0] == 1 && rng.random_bool(0.8) {
            0
        } else {
            tag
        };
        add(from, tag, &chunks);
    }
    steps
}

/// UDP, ICMP, ICMPv6, and errors about them.
fn others(rng: &mut SmallRng, v6: bool, client: u16) -> Vec<Step> {
    let protocol = *[17, if v6 { 58 } else { 1 }].choose(rng).unwrap_or(&17);
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..rng.random_range(2..10) {
        let from = side(rng);
        if rng.random_bool(0.25)
            && let Some(about) = steps.iter().rev().find(|step| step.from != from)
        {
            let kind = if v6 {
                *[1, 2, 3, 4].choose(rng).unwrap_or(&1)
            } else {
                *[3, 4, 5, 11, 12].choose(rng).unwrap_or(&3)
            };
            let cut = about.packet.len().min(rng.random_range(20..80));
            let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
            message.extend(&about.packet[..cut]);
            let number = if v6 { 58 } else { 1 };
            steps.push(Step {
                from,
                packet: ip(v6, number, from, &message),
                what: format!("error {kind} about {} ({cut} bytes)", about.what),
                pause: 0,
            });
            continue;
        }
        let message = if protocol == 1 || protocol == 58 {
            let kind = match v6 {
                true => *[128, 128, 129, 139, 140, 133, 150]
                    .choose(rng)
                    .unwrap_or(&128),
                false => *[8, 8, 0, 13, 14, 15, 16, 17, 18, 9, 19, 40]
                    .choose(rng)
                    .unwrap_or(&8),
            };
            let [high, low] = client.to_be_bytes();
            vec![kind, 0, 0, 0, high, low, 0, 1, 1, 2, 3, 4]
        } else {
            let mut message = ports(from, client, 53).to_vec();
            let len: u16 = *[12, 12, 12, 8, 7, 13].choose(rng).unwrap_or(&12);
            message.extend(len.to_be_bytes());
            message.extend([0, 0, 1, 2, 3, 4]);
            message
        };
        steps.push(Step {
            from,
            packet: ip(v6, protocol, from, &message),
            what: format!("protocol {protocol} {:?}", &message[..8]),
            pause: 0,
        });
    }
    steps
}
