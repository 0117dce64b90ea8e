//! Options and extension headers: every one that nft knows, there, missing, cut off and repeated.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::bases::*;
use super::construct::Construct;
use crate::frames::{Frame, udp};

/// UDP behind these IPv4 options.
fn ip_options(bytes: &[u8]) -> Frame {
    Frame::ipv4(17, bytes, &udp(1000, 2000, b"x"))
}

/// A datagram of SCTP with these chunks.
fn chunks(bytes: &[u8]) -> Frame {
    let header = [3, 0xe8, 7, 0xd0, 0, 0, 0, 1, 0, 0, 0, 0];
    Frame::ipv4(132, &[], &[&header[..], bytes].concat())
}

/// Options of TCP as a connection begins with them.
const SYN_OPTIONS: &[u8] = &[
    2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 1, 1, 0, 0, 0, 9, 1, 3, 3, 7,
];
/// Two blocks of a selective acknowledgement.
const SACK: &[u8] = &[
    1, 1, 5, 18, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40,
];

/// TCP with each kind of option that matters, and without any.
fn tcp_variety() -> Vec<Frame> {
    vec![
        options(SYN_OPTIONS),
        options(SACK),
        options(&[34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1]),
        options(&[
            19, 18, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1, 1,
        ]),
        options(&[30, 4, 0x10, 1]),
        options(&[30, 4, 0x31, 1]),
        options(&[1, 1, 1, 0]),
        options(&[0, 2, 4, 5]),
        options(&[2, 4, 5, 0xb4, 2, 4, 1, 0]),
        tcp4(),
        udp4(),
    ]
}

/// IPv4 with each kind of option, and without any.
fn ip_variety() -> Vec<Frame> {
    vec![
        ip_options(&[131, 7, 4, 10, 9, 0, 1, 0]),
        ip_options(&[137, 7, 4, 10, 9, 0, 2, 0]),
        ip_options(&[7, 7, 4, 0, 0, 0, 0, 0]),
        ip_options(&[7, 7, 8, 10, 0, 0, 1, 1]),
        ip_options(&[148, 4, 0, 0]),
        ip_options(&[148, 4, 0, 1]),
        ip_options(&[1, 1, 148, 4, 0, 0, 0, 0]),
        ip_options(&[0, 148, 4, 0]),
        udp4(),
    ]
}

/// SCTP with chunks of many kinds.
fn chunk_variety() -> Vec<Frame> {
    let init = |kind: u8| {
        chunks(&[
            kind, 0, 0, 20, 0, 0, 0, 9, 0, 1, 0, 0, 0, 10, 0, 5, 0, 0, 0, 7,
        ])
    };
    vec![
        sctp(),
        init(1),
        init(2),
        chunks(&[3, 0, 0, 16, 0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0]),
        chunks(&[4, 0, 0, 8, 0, 1, 0, 4]),
        chunks(&[6, 1, 0, 4]),
        chunks(&[7, 0, 0, 8, 0, 0, 0, 5]),
        chunks(&[10, 0, 0, 4, 11, 0, 0, 4]),
        chunks(&[12, 0, 0, 8, 0, 0, 0, 3]),
        chunks(&[14, 0, 0, 4]),
        chunks(&[4, 0, 0, 8, 0, 1, 0, 4, 0, 3, 0, 4]),
        udp4(),
    ]
}

/// Name, families that see its frames, maker.
pub const OPTIONS: &[Construct] = &[
    ("tcp option there", IP4, |rng| {
        let names = [
            "eol",
            "nop",
            "maxseg",
            "window",
            "sack-perm",
            "sack",
            "timestamp",
            "fastopen",
            "md5sig",
            "mptcp",
        ];
        let name = names.choose(rng).unwrap_or(&"nop");
        let how = if rng.random() { "exists" } else { "missing" };
        (format!("tcp option {name} {how}"), tcp_variety())
    }),
    ("tcp option field", IP4, |rng| {
        let fields = [
            "maxseg length 4",
            "maxseg size 1460",
            "maxseg size < 257",
            "window count 7",
            "window length 3",
            "sack-perm length 2",
            "sack left 10",
            "sack right 20",
            "sack0 left > 9",
            "sack1 left 30",
            "sack1 right 40",
            "sack2 left 50",
            "timestamp tsval 257",
            "timestamp tsecr 9",
            "timestamp length 10",
            "fastopen length 10",
            "md5sig length 18",
            "mptcp subtype 1",
            "mptcp subtype 3",
            "mptcp length 4",
            "maxseg size { 256, 1460 }",
        ];
        let field = fields.choose(rng).unwrap_or(&fields[0]);
        (format!("tcp option {field}"), tcp_variety())
    }),
    ("tcp option by number", IP4, |rng| {
        let texts = [
            "tcp option 253 exists",
            "tcp option 34 exists",
            "tcp option @2,16,16 1460",
            "tcp option @30,16,4 3",
            "tcp option @8,16,32 > 256",
        ];
        let text = texts.choose(rng).unwrap_or(&texts[0]);
        let mut frames = tcp_variety();
        frames.push(options(&[253, 4, 1, 2]));
        ((*text).into(), frames)
    }),
    ("tcp option look-up", IP4, |_| {
        (
            "tcp option maxseg size . tcp dport { 1460 . 2000, 1 . 2 }".into(),
            tcp_variety(),
        )
    }),
    ("set tcp option", IP4, |rng| {
        let texts = [
            "tcp option timestamp tsval set 7",
            "tcp option sack0 left set 77",
            "tcp option maxseg size set 536",
        ];
        let text = texts.choose(rng).unwrap_or(&texts[0]);
        ((*text).into(), tcp_variety())
    }),
    ("reset each tcp option", IP4, |rng| {
        let names = [
            "maxseg",
            "window",
            "sack-perm",
            "sack",
            "timestamp",
            "mptcp",
        ];
        let name = names.choose(rng).unwrap_or(&"sack");
        (format!("reset tcp option {name}"), tcp_variety())
    }),
    ("ip option there", IP4, |rng| {
        let name = ["lsrr", "rr", "ssrr", "ra"].choose(rng).unwrap_or(&"ra");
        let how = if rng.random() { "exists" } else { "missing" };
        (format!("ip option {name} {how}"), ip_variety())
    }),
    ("ip option field", IP4, |rng| {
        let fields = [
            "lsrr type 131",
            "lsrr length 7",
            "lsrr ptr 4",
            "lsrr addr 168361985",
            "ssrr ptr 4",
            "ssrr addr 168361986",
            "rr ptr 8",
            "rr length 7",
            "rr addr 0",
            "ra length 4",
            "ra value 1",
            "ra value { 0, 5 }",
        ];
        let field = fields.choose(rng).unwrap_or(&fields[0]);
        (format!("ip option {field}"), ip_variety())
    }),
    ("exthdr there", IP6, |rng| {
        let names = ["hbh", "frag", "rt", "dst", "mh"];
        let name = names.choose(rng).unwrap_or(&"rt");
        let how = if rng.random() { "exists" } else { "missing" };
        (
            format!("exthdr {name} {how}"),
            vec![
                udp6(),
                hop6(),
                frag6(),
                rt6(),
                dst6(),
                home6(),
                segments6(),
                mobility6(),
            ],
        )
    }),
    ("sctp chunk there", IP4, |rng| {
        let names = [
            "data",
            "init",
            "init-ack",
            "sack",
            "heartbeat",
            "abort",
            "shutdown",
            "cookie-echo",
            "cookie-ack",
            "ecne",
            "shutdown-complete",
        ];
        let name = names.choose(rng).unwrap_or(&"data");
        let how = if rng.random() { "exists" } else { "missing" };
        (format!("sctp chunk {name} {how}"), chunk_variety())
    }),
    ("sctp chunk each field", IP4, |rng| {
        let fields = [
            "data type 0",
            "data flags 3",
            "data length 17",
            "data tsn 1",
            "data stream 2",
            "data ssn 3",
            "data ppid 4",
            "init init-tag 9",
            "init a-rwnd 65536",
            "init num-outbound-streams 10",
            "init num-inbound-streams 5",
            "init initial-tsn 7",
            "init-ack init-tag 9",
            "sack cum-tsn-ack 5",
            "sack a-rwnd 256",
            "sack num-gap-ack-blocks 0",
            "shutdown cum-tsn-ack 5",
            "ecne lowest-tsn 3",
            "abort flags 1",
        ];
        let field = fields.choose(rng).unwrap_or(&fields[0]);
        (format!("sctp chunk {field}"), chunk_variety())
    }),
];
