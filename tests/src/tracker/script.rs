//! Conversations that are written down, because chance finds them seldom: handshakes, both ends of each
//! window, resets, ports used again, streams that last.

use super::packets::{Segment, flag, ip};
use super::{Rules, Side, Step};

/// A named conversation.
#[derive(Clone, Debug)]
pub struct Script {
    /// What it is about.
    pub name: String,
    /// Settings.
    pub rules: Rules,
    /// Packets in order.
    pub steps: Vec<Step>,
}

use Side::{Left, Right};
use flag::{ACK, FIN, RST, SYN};

/// TCP: each line a side, flags, sequence number, acknowledgement.
type Line = (Side, Segment);

fn line(from: Side, flags: u8, seq: u32, ack: u32) -> Line {
    (from, Segment::new(flags, seq, ack))
}

/// Left begins at 100, right at 500, windows are 1000.
fn established() -> Vec<Line> {
    vec![
        line(Left, SYN, 100, 0),
        line(Right, SYN | ACK, 500, 101),
        line(Left, ACK, 101, 501),
    ]
}

fn tcp(name: &str, client: &mut u16, rules: Rules, lines: &[Line]) -> Script {
    *client += 1;
    let steps = lines.iter().map(|(from, segment)| Step {
        from: *from,
        packet: ip(false, 6, *from, &segment.message(*from, *client)),
        what: segment.describe(),
        pause: 0,
    });
    Script {
        name: name.to_owned(),
        rules,
        steps: steps.collect(),
    }
}

/// All conversations; each has a client port of its own behind `client`.
pub fn all(client: &mut u16) -> Vec<Script> {
    let mut scripts = connections(client);
    scripts.extend(windows(client));
    scripts.extend(resets(client));
    scripts.extend(super::protocols::all(client));
    scripts
}

fn connections(client: &mut u16) -> Vec<Script> {
    let usual = Rules::default();
    let strict = Rules {
        loose: false,
        ..usual
    };
    let with = |more: &[Line]| [established(), more.to_vec()].concat();
    let closed = with(&[
        line(Left, FIN | ACK, 101, 501),
        line(Right, FIN | ACK, 501, 102),
        line(Left, ACK, 102, 502),
    ]);
    let after = |more: &[Line]| [closed.clone(), more.to_vec()].concat();
    let again = [
        line(Left, SYN, 9000, 0),
        line(Right, SYN | ACK, 7000, 9001),
        line(Left, ACK, 9001, 7001),
    ];
    let open = [line(Left, SYN, 100, 0), line(Right, SYN, 500, 0)];
    let mut make = |name: &str, rules, lines: &[Line]| tcp(name, client, rules, lines);
    vec![
        make(
            "data both ways, then both close",
            usual,
            &with(&[
                (Left, Segment::new(ACK, 101, 501).data(100)),
                line(Right, ACK, 501, 201),
                (Right, Segment::new(ACK, 501, 201).data(700)),
                line(Left, ACK, 201, 1201),
                line(Left, FIN | ACK, 201, 1201),
                line(Right, ACK, 1201, 202),
                line(Right, FIN | ACK, 1201, 202),
                line(Left, ACK, 202, 1202),
                line(Left, ACK, 202, 1202),
            ]),
        ),
        make(
            "the right side closes first",
            usual,
            &with(&[
                line(Right, FIN | ACK, 501, 101),
                line(Left, ACK, 101, 502),
                line(Left, FIN | ACK, 101, 502),
                line(Right, ACK, 502, 102),
            ]),
        ),
        make(
            "both close at once",
            usual,
            &with(&[
                line(Left, FIN | ACK, 101, 501),
                line(Right, FIN | ACK, 501, 101),
                line(Left, ACK, 102, 502),
                line(Right, ACK, 502, 102),
            ]),
        ),
        make(
            "simultaneous open, each answers",
            usual,
            &[
                open.to_vec(),
                vec![
                    line(Left, SYN | ACK, 100, 501),
                    line(Right, SYN | ACK, 500, 101),
                    line(Left, ACK, 101, 501),
                    line(Right, ACK, 501, 101),
                ],
            ]
            .concat(),
        ),
        make(
            "simultaneous open, the right answers first",
            usual,
            &[
                open.to_vec(),
                vec![
                    line(Right, SYN | ACK, 500, 101),
                    line(Left, SYN | ACK, 100, 501),
                    line(Right, ACK, 501, 101),
                ],
            ]
            .concat(),
        ),
        make(
            "simultaneous open, again and again",
            usual,
            &[&open[..], &open, &open].concat(),
        ),
        make(
            "a SYN three times, then the answer",
            usual,
            &[
                line(Left, SYN, 100, 0),
                line(Left, SYN, 100, 0),
                line(Left, SYN, 200, 0),
                line(Right, SYN | ACK, 500, 201),
                line(Left, ACK, 201, 501),
            ],
        ),
        make(
            "the answer three times",
            usual,
            &[
                line(Left, SYN, 100, 0),
                line(Right, SYN | ACK, 500, 101),
                line(Right, SYN | ACK, 500, 101),
                line(Right, SYN | ACK, 600, 101),
                line(Left, ACK, 101, 601),
            ],
        ),
        make("ports used again after both closed", usual, &after(&again)),
        make(
            "ports used again by the other side",
            usual,
            &after(&[
                line(Right, SYN, 9000, 0),
                line(Left, SYN | ACK, 7000, 9001),
                line(Right, ACK, 9001, 7001),
            ]),
        ),
        make(
            "a SYN on a living connection, answered",
            usual,
            &with(&again),
        ),
        make(
            "a SYN on a living connection, answered by a challenge and a reset",
            usual,
            &with(&[
                line(Left, SYN, 9000, 0),
                line(Right, ACK, 501, 101),
                line(Left, RST, 101, 0),
                line(Left, SYN, 9000, 0),
                line(Right, SYN | ACK, 7000, 9001),
            ]),
        ),
        make(
            "a SYN in LAST-ACK and its challenge",
            usual,
            &with(&[
                line(Left, FIN | ACK, 101, 501),
                line(Right, FIN | ACK, 501, 102),
                line(Left, SYN, 9000, 0),
                line(Right, ACK, 502, 102),
                line(Left, RST, 102, 0),
                line(Left, SYN, 9000, 0),
            ]),
        ),
        make(
            "an old server answers a SYN with a challenge",
            usual,
            &[
                line(Left, SYN, 100, 0),
                line(Right, ACK, 77_000, 4000),
                line(Left, RST, 4000, 0),
                line(Left, SYN, 100, 0),
                line(Right, SYN | ACK, 500, 101),
            ],
        ),
        make(
            "picked up in mid-stream from the left",
            usual,
            &[
                (Left, Segment::new(ACK, 1000, 2000).data(10)),
                line(Right, ACK, 2000, 1010),
                line(Left, ACK, 900_000, 2000),
                line(Right, ACK, 2_000_000, 1010),
            ],
        ),
        make(
            "picked up in mid-stream by one direction only",
            usual,
            &[
                (Left, Segment::new(ACK, 1000, 2000).data(10)),
                (Left, Segment::new(ACK, 1010, 2000).data(10)),
                line(Left, FIN | ACK, 1020, 2000),
                line(Left, RST, 1021, 0),
            ],
        ),
        make(
            "no pick-up when it is off",
            strict,
            &[
                line(Left, ACK, 1000, 2000),
                line(Right, ACK, 2000, 1000),
                line(Left, SYN | ACK, 1000, 2000),
                line(Left, FIN | ACK, 1000, 2000),
                line(Left, RST, 1000, 0),
                line(Left, SYN, 100, 0),
            ],
        ),
        make(
            "what cannot begin a connection",
            usual,
            &[
                line(Left, SYN | ACK, 1000, 2000),
                line(Left, FIN | ACK, 1000, 2000),
                line(Left, RST, 1000, 0),
                line(Left, RST | ACK, 1000, 9),
                line(Left, SYN | FIN, 1, 0),
                line(Left, 0, 1, 0),
                line(Left, FIN, 1, 0),
                line(Left, SYN | RST, 1, 0),
                line(Left, 0xff, 1, 0),
            ],
        ),
        make(
            "picked up, then begun anew",
            usual,
            &[
                line(Left, ACK, 1000, 2000),
                line(Left, SYN, 5000, 0),
                line(Right, SYN | ACK, 7000, 5001),
                line(Left, ACK, 5001, 7001),
                line(Right, ACK, 900_000, 5001),
                line(Left, ACK, 900_000, 7001),
            ],
        ),
        make(
            "a SYN with options, then one without",
            usual,
            &[
                (Left, Segment::new(SYN, 100, 0).options(&[1, 3, 3, 4])),
                (Left, Segment::new(SYN, 200, 0)),
                (
                    Right,
                    Segment::new(SYN | ACK, 500, 201).options(&[1, 3, 3, 7]),
                ),
                line(Left, ACK, 201, 501),
                (Right, Segment::new(ACK, 15_000, 201).data(1)),
            ],
        ),
        make(
            "retransmissions",
            usual,
            &with(&vec![line(Left, ACK, 101, 501); 6]),
        ),
        make(
            "a closed window and its probes",
            usual,
            &with(&[
                (Right, Segment::new(ACK, 501, 101).window(0)),
                (Left, Segment::new(ACK, 101, 501).data(1)),
                (Right, Segment::new(ACK, 501, 101).window(0)),
                (Right, Segment::new(ACK, 501, 102).window(1000)),
            ]),
        ),
    ]
}

/// Each edge of each window: exactly there, one before, one behind.
fn windows(client: &mut u16) -> Vec<Script> {
    let mut scripts = Vec::new();
    let edges = [
        ("the upper edge of sequence numbers", 1101u32, 0, 0),
        ("the upper edge with data", 1101, 0, 1),
        ("far behind the upper edge", 2101, 0, 1000),
        ("a window behind the upper edge", 2099, 0, 0),
        (
            "the lower edge of sequence numbers",
            101u32.wrapping_sub(1000),
            0,
            0,
        ),
        ("the lower edge with data", 101u32.wrapping_sub(1010), 0, 10),
        ("the upper edge of acknowledgements", 101, 501, 0),
        (
            "the lower edge of acknowledgements",
            101,
            501u32.wrapping_sub(66_000),
            0,
        ),
    ];
    let liberal = Rules {
        liberal: true,
        ..Rules::default()
    };
    for (name, seq, ack, len) in edges {
        for shift in [-2i32, -1, 0, 1, 2] {
            for (from, rules) in [
                (Left, Rules::default()),
                (Right, Rules::default()),
                (Left, liberal),
            ] {
                let (mut seq, mut ack) = (seq, if ack == 0 { 501 } else { ack });
                if ack != 501 || seq == 101 {
                    ack = ack.wrapping_add_signed(shift);
                } else {
                    seq = seq.wrapping_add_signed(shift);
                }
                if from == Right {
                    // The same place as seen from the other side.
                    (seq, ack) = (seq.wrapping_add(400), ack.wrapping_sub(400));
                }
                let mut lines = established();
                lines.push((from, Segment::new(ACK, seq, ack).data(len)));
                lines.push(line(
                    from.other(),
                    ACK,
                    if from == Left { 501 } else { 101 },
                    if from == Left { 101 } else { 501 },
                ));
                scripts.push(tcp(
                    &format!("{name}, {shift}, {from:?}, {rules:?}"),
                    client,
                    rules,
                    &lines,
                ));
            }
        }
    }
    for (first, second) in [
        (Some(4), Some(7)),
        (Some(4), None),
        (None, Some(4)),
        (Some(14), Some(20)),
    ] {
        let option = |scale: Option<u8>| scale.map_or(Vec::new(), |scale| vec![1, 3, 3, scale]);
        for shift in [-1i32, 0, 1, 2] {
            let edge = (501u32 + 16_000).wrapping_add_signed(shift);
            let lines = [
                (Left, Segment::new(SYN, 100, 0).options(&option(first))),
                (
                    Right,
                    Segment::new(SYN | ACK, 500, 101).options(&option(second)),
                ),
                line(Left, ACK, 101, 501),
                (Right, Segment::new(ACK, edge, 101).data(1)),
                (Right, Segment::new(ACK, edge, 101).data(32_000)),
            ];
            let name = format!("scales {first:?} and {second:?}, {shift}");
            scripts.push(tcp(&name, client, Rules::default(), &lines));
        }
    }
    for end in [299u32, 300, 301, 302] {
        let mut block = vec![1, 1, 5, 10];
        block.extend(201u32.to_be_bytes());
        block.extend(end.to_be_bytes());
        let lines = [
            (Left, Segment::new(SYN, 100, 0).options(&[1, 1, 4, 2])),
            (
                Right,
                Segment::new(SYN | ACK, 500, 101).options(&[1, 1, 4, 2]),
            ),
            line(Left, ACK, 101, 501),
            (Left, Segment::new(ACK, 201, 501).data(100)),
            (Right, Segment::new(ACK, 501, 101).options(&block)),
            (Left, Segment::new(ACK, 101, 501).data(100)),
        ];
        scripts.push(tcp(
            &format!("a SACK block that ends at {end}"),
            client,
            Rules::default(),
            &lines,
        ));
    }
    scripts
}

fn resets(client: &mut u16) -> Vec<Script> {
    let mut scripts = Vec::new();
    for seq in [
        0u32,
        499,
        500,
        501,
        502,
        600,
        1500,
        1501,
        1502,
        1503,
        2500,
        2501,
        3000,
        0x9000_0000,
    ] {
        for flags in [RST, RST | ACK] {
            let mut lines = established();
            lines.push(line(Right, flags, seq, 101));
            lines.push(line(Left, ACK, 101, 501));
            lines.push(line(Left, SYN, 9000, 0));
            lines.push(line(Right, SYN | ACK, 7000, 9001));
            scripts.push(tcp(
                &format!("a reset {flags} at {seq}"),
                client,
                Rules::default(),
                &lines,
            ));
        }
    }
    for (seq, ack) in [
        (0u32, 101u32),
        (0, 100),
        (0, 102),
        (0, 103),
        (0, 0),
        (5000, 101),
        (5000, 103),
    ] {
        for flags in [RST, RST | ACK] {
            let lines = [
                line(Left, SYN, 100, 0),
                line(Right, flags, seq, ack),
                line(Left, SYN, 100, 0),
            ];
            scripts.push(tcp(
                &format!("a SYN is reset {flags} {seq} {ack}"),
                client,
                Rules::default(),
                &lines,
            ));
        }
    }
    let mut train = established();
    train.push((Right, Segment::new(ACK, 501, 101).data(19)));
    train.push(line(Right, RST, 520, 0));
    scripts.push(tcp(
        "a reset right behind data",
        client,
        Rules::default(),
        &train,
    ));
    let alone = [
        line(Left, SYN, 100, 0),
        line(Right, RST | ACK, 501, 101u32.wrapping_sub(70_000)),
        line(Left, RST, 70_000, 0),
        line(Right, RST, 70_000, 0),
    ];
    scripts.push(tcp(
        "a reset by the sender of the SYN, then one by the other side",
        client,
        Rules::default(),
        &alone,
    ));
    let mut own = established();
    own.push(line(Left, RST, 101, 0));
    own.push(line(Left, SYN, 9000, 0));
    own.push(line(Right, SYN | ACK, 7000, 9001));
    scripts.push(tcp(
        "reset and begun anew by the same side",
        client,
        Rules::default(),
        &own,
    ));
    let mut lost = established();
    lost.push((Left, Segment::new(FIN | ACK, 5000, 501).data(2000)));
    lost.push((Right, Segment::new(FIN | ACK, 9000, 101).data(2000)));
    lost.push((Left, Segment::new(RST, 5000, 501).data(2000)));
    lost.push((Right, Segment::new(ACK, 100, 101)));
    scripts.push(tcp(
        "both close outside of the window",
        client,
        Rules::default(),
        &lost,
    ));
    scripts
}
