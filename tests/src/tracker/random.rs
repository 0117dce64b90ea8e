//! Random conversations, from a seed.

use rand::rngs::SmallRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
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
    let mut rules = Rules {
        loose: rng.random_bool(0.8),
        liberal: rng.random_bool(0.1),
        checksum: rng.random_bool(0.9),
    };
    let v6 = rng.random_bool(0.3);
    let mut steps = match rng.random_range(0..12) {
        0..7 => tcp(&mut rng, v6, client),
        7..9 => associations(&mut rng, v6, client),
        9..11 => others(&mut rng, v6, client),
        _ => {
            // Of UDP-Lite the kernel verifies another checksum than senders make.
            rules.checksum = false;
            datagrams(&mut rng, v6, client, 136)
        }
    };
    if rng.random_bool(0.3) {
        complain(&mut rng, v6, &mut steps);
    }
    if rng.random_bool(0.1) {
        spoil(&mut rng, &mut steps);
    }
    Talk { seed, rules, steps }
}

/// Puts errors about earlier packets between the others.
fn complain(rng: &mut SmallRng, v6: bool, steps: &mut Vec<Step>) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..steps.len());
        let about = steps[at].clone();
        // Mostly the receiver complains, or somebody on the way.
        let from = if rng.random_bool(0.9) {
            about.from.other()
        } else {
            about.from
        };
        let error = error(rng, v6, from, &about);
        steps.insert(rng.random_range(at..steps.len()) + 1, error);
    }
}

/// Makes the checksum of a packet wrong.
fn spoil(rng: &mut SmallRng, steps: &mut [Step]) {
    if let Some(step) = steps.choose_mut(rng)
        && let Some(last) = step.packet.last_mut()
    {
        *last ^= 1;
        step.what += ", wrong checksum";
    }
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

/// UDP, ICMP, ICMPv6, PPTP's GRE, and errors about them.
fn others(rng: &mut SmallRng, v6: bool, client: u16) -> Vec<Step> {
    let echo = if v6 { 58 } else { 1 };
    let protocol = *[17, 17, echo, echo, 47].choose(rng).unwrap_or(&17);
    datagrams(rng, v6, client, protocol)
}

fn datagrams(rng: &mut SmallRng, v6: bool, client: u16, protocol: u8) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for _ in 0..rng.random_range(2..10) {
        let from = side(rng);
        if rng.random_bool(0.25)
            && let Some(about) = steps.iter().rev().find(|step| step.from != from)
        {
            let error = error(rng, v6, from, about);
            steps.push(error);
            continue;
        }
        let message = if protocol == 1 || protocol == 58 {
            query(rng, v6, client)
        } else if protocol == 47 {
            // Other versions have no key that would tell this conversation from others.
            let [high, low] = client.to_be_bytes();
            let carries = *[[0x88, 0x0b], [0x88, 0x0b], [8, 0]]
                .choose(rng)
                .unwrap_or(&[8, 0]);
            vec![0x30, 1, carries[0], carries[1], 0, 0, high, low, 0, 0, 0, 1]
        } else {
            let mut message = ports(from, client, 53).to_vec();
            // The length, or what the checksum of UDP-Lite covers.
            let len: u16 = *[12, 12, 12, 8, 7, 13, 0].choose(rng).unwrap_or(&12);
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

/// An ICMP or ICMPv6 error about a packet of the other side.
fn error(rng: &mut SmallRng, v6: bool, from: Side, about: &Step) -> Step {
    let kind = if v6 {
        *[1, 2, 3, 4].choose(rng).unwrap_or(&1)
    } else {
        *[3, 4, 5, 11, 12].choose(rng).unwrap_or(&3)
    };
    let cut = about.packet.len().min(rng.random_range(20..80));
    let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
    message.extend(&about.packet[..cut]);
    let number = if v6 { 58 } else { 1 };
    Step {
        from,
        packet: ip(v6, number, from, &message),
        what: format!("error {kind} about {} ({cut} bytes)", about.what),
        pause: 0,
    }
}

/// An ICMP or ICMPv6 message that has an id, or is where one could be.
fn query(rng: &mut SmallRng, v6: bool, client: u16) -> Vec<u8> {
    let kinds: &[u8] = if v6 {
        &[128, 128, 129, 139, 140, 133, 150]
    } else {
        &[8, 8, 0, 13, 14, 15, 16, 17, 18, 9, 19, 40]
    };
    let kind = *kinds.choose(rng).unwrap_or(&kinds[0]);
    let [high, low] = client.to_be_bytes();
    vec![kind, 0, 0, 0, high, low, 0, 1, 1, 2, 3, 4]
}
