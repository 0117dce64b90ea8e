//! Written conversations of everything but TCP: streams, an association, tunnels, what nobody knows.

use super::Side::{Left, Right};
use super::packets::{announce, chunk, ip, ports, sctp};
use super::script::Script;
use super::{Rules, Side, Step};

/// All of them; each has a client port of its own behind `client`.
pub(super) fn all(client: &mut u16) -> Vec<Script> {
    let mut scripts = Vec::new();
    for v6 in [false, true] {
        *client += 1;
        let port = *client;
        let udp = |from: Side, pause: u8| {
            let mut message = ports(from, port, 53).to_vec();
            message.extend([0, 9, 0, 0, b'x']);
            Step {
                from,
                packet: ip(v6, 17, from, &message),
                what: format!("UDP from {from:?}"),
                pause,
            }
        };
        let steps = vec![
            udp(Left, 0),
            udp(Left, 0),
            udp(Right, 0),
            udp(Left, 2),
            udp(Right, 0),
        ];
        scripts.push(script("a UDP stream", steps));
        scripts.extend(lite(client, v6));
        scripts.extend(associations(client, v6));
        scripts.push(discovery(v6));
        *client += 1;
        let port = *client;
        let association = [
            (Left, 0, announce(1, 7)),
            (Left, 0, announce(1, 7)),
            (Right, 7, announce(2, 9)),
            (Left, 9, chunk(10, 0, b"cookie")),
            (Right, 7, chunk(11, 0, &[])),
            (Left, 9, chunk(0, 3, b"data")),
            (Right, 8, chunk(0, 3, b"data")),
            (Right, 7, chunk(4, 0, &[1; 4])),
            (Left, 9, chunk(5, 0, &[1; 4])),
            (Left, 9, chunk(7, 0, &[0; 4])),
            (Right, 7, chunk(8, 0, &[])),
            (Left, 9, chunk(14, 0, &[])),
        ];
        let steps = association.iter().map(|(from, tag, chunk)| Step {
            from: *from,
            packet: ip(
                v6,
                132,
                *from,
                &sctp(*from, port, *tag, std::slice::from_ref(chunk)),
            ),
            what: format!("SCTP chunk {}", chunk[0]),
            pause: 0,
        });
        scripts.push(script("an association", steps.collect()));
        for (protocol, message) in [(47, vec![0, 0, 8, 0, 1, 2, 3, 4]), (253, vec![1, 2, 3, 4])] {
            let steps = [Left, Left, Right, Left, Right].map(|from| Step {
                from,
                packet: ip(v6, protocol, from, &message),
                what: format!("protocol {protocol} from {from:?}"),
                pause: 0,
            });
            scripts.push(script(&format!("protocol {protocol}"), steps.to_vec()));
        }
        let pptp = |from, call: u16| {
            let [high, low] = call.to_be_bytes();
            Step {
                from,
                packet: ip(
                    v6,
                    47,
                    from,
                    &[0x30, 1, 0x88, 0x0b, 0, 0, high, low, 0, 0, 0, 1],
                ),
                what: format!("PPTP call {call}"),
                pause: 0,
            }
        };
        let steps = vec![pptp(Left, 5), pptp(Left, 5), pptp(Left, 6), pptp(Right, 5)];
        scripts.push(script("GRE with call keys", steps));
    }
    scripts
}

/// SCTP packets: side, tag, chunks.
type Packet = (Side, u32, Vec<Vec<u8>>);

/// Associations that do not go as usual.
fn associations(client: &mut u16, v6: bool) -> Vec<Script> {
    let heartbeat = |kind| vec![chunk(kind, 0, &[1; 4])];
    let begun = || -> Vec<Packet> {
        vec![
            (Left, 0, vec![announce(1, 7)]),
            (Right, 7, vec![announce(2, 9)]),
            (Left, 9, vec![chunk(10, 0, b"cookie")]),
        ]
    };
    let with = |more: Vec<Packet>| [begun(), more].concat();
    let cookie = || chunk(11, 0, &[]);
    let cases: Vec<(&str, Vec<Packet>)> = vec![
        (
            "another answer after the same INIT, and after another",
            with(vec![
                (Right, 7, vec![cookie()]),
                (Right, 7, vec![announce(2, 11)]),
                (Left, 0, vec![announce(1, 7)]),
                (Right, 7, vec![announce(2, 11)]),
                (Left, 0, vec![announce(1, 5)]),
                (Right, 5, vec![announce(2, 11)]),
                (Left, 11, vec![chunk(0, 3, b"data")]),
            ]),
        ),
        (
            "two INITs and their answers",
            vec![
                (Left, 0, vec![announce(1, 7)]),
                (Right, 0, vec![announce(1, 9)]),
                (Right, 7, vec![announce(2, 11)]),
                (Right, 7, vec![announce(2, 9)]),
                (Left, 9, vec![announce(2, 7)]),
            ],
        ),
        (
            "a cookie with a heartbeat that does not fit behind it",
            with(vec![(Right, 11, vec![cookie(), chunk(4, 0, &[1; 4])])]),
        ),
        (
            "a cookie with an abort that does not fit behind it",
            with(vec![
                (Right, 11, vec![cookie(), chunk(6, 0, &[])]),
                (Left, 9, vec![chunk(0, 3, b"data")]),
            ]),
        ),
        (
            "an INIT in answer to a heartbeat",
            vec![
                (Left, 9, heartbeat(4)),
                (Right, 0, vec![announce(1, 7)]),
                (Right, 7, heartbeat(5)),
            ],
        ),
        (
            "the answer to a heartbeat out of the blue",
            vec![
                (Left, 9, heartbeat(5)),
                (Right, 9, vec![chunk(0, 3, b"data")]),
                (Right, 0, vec![chunk(0, 3, b"data")]),
            ],
        ),
    ];
    let scripts = cases.into_iter().map(|(name, packets)| {
        *client += 1;
        let steps = packets.into_iter().map(|(from, tag, chunks)| {
            let kinds: Vec<u8> = chunks.iter().map(|chunk| chunk[0]).collect();
            Step {
                from,
                packet: ip(v6, 132, from, &sctp(from, *client, tag, &chunks)),
                what: format!("SCTP chunks {kinds:?} tag {tag}"),
                pause: 0,
            }
        });
        script(name, steps.collect())
    });
    scripts.collect()
}

/// What IPv6 hosts ask each other is not tracked, but a wrong checksum is seen first.
fn discovery(v6: bool) -> Script {
    let solicit = |what: &str, wrong: u8| {
        let mut packet = ip(v6, 58, Left, &[135, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
        if let Some(last) = packet.last_mut() {
            *last ^= wrong;
        }
        Step {
            from: Left,
            packet,
            what: what.to_owned(),
            pause: 0,
        }
    };
    let steps = vec![
        solicit("a solicitation", 0),
        solicit("one with a wrong checksum", 1),
    ];
    script("neighbour discovery", steps)
}

/// UDP-Lite: a stream, then what the checksum may cover. Checksums are not verified, see
/// docs/compatibility.md.
fn lite(client: &mut u16, v6: bool) -> Vec<Script> {
    let mut scripts = Vec::new();
    let stream = [
        (Left, 0, 0),
        (Left, 0, 0),
        (Right, 0, 0),
        (Left, 0, 0),
        (Right, 0, 2),
    ];
    let coverages = [7, 8, 11, 12, 13].map(|covers| (Left, covers, 0));
    for (name, lines) in [
        ("a UDP-Lite stream", &stream),
        ("what a UDP-Lite checksum covers", &coverages),
    ] {
        *client += 1;
        let steps = lines.iter().map(|(from, covers, pause)| {
            let mut message = ports(*from, *client, 53).to_vec();
            message.extend(u16::to_be_bytes(*covers));
            message.extend([0, 0, 1, 2, 3, 4]);
            Step {
                from: *from,
                packet: ip(v6, 136, *from, &message),
                what: format!("UDP-Lite from {from:?} covers {covers}"),
                pause: *pause,
            }
        });
        scripts.push(Script {
            rules: Rules {
                checksum: false,
                ..Rules::default()
            },
            ..script(name, steps.collect())
        });
    }
    scripts
}

fn script(name: &str, steps: Vec<Step>) -> Script {
    Script {
        name: name.to_owned(),
        rules: Rules::default(),
        steps,
    }
}
