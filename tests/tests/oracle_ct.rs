//! Keys and statements of connections against the kernel: the same conversations, the same counters.

use sluice_tests::frames::{Frame, LEFT_IP, RIGHT_IP, icmp, tcp, udp};
use sluice_tests::needs;
use sluice_tests::oracle::compare::{Verdict, compare_conversation};
use sluice_tests::oracle::conversation::{Said, Side};
use sluice_tests::oracle::kernel::KernelBridge;
use sluice_tests::oracle::sluice;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// Conversations over one of the two network protocols.
struct Talk {
    ip6: bool,
    said: Vec<Said>,
}

impl Talk {
    fn frame(&self, protocol: u8, message: &[u8]) -> Vec<u8> {
        if self.ip6 {
            Frame::ipv6(protocol, &[], message).bytes
        } else {
            Frame::ipv4(protocol, &[], message).bytes
        }
    }

    fn say(&mut self, side: Side, protocol: u8, message: &[u8]) {
        let frame = self.frame(protocol, message);
        self.say_frame(side, frame);
    }

    /// A frame that goes from left to right, said by either side.
    fn say_frame(&mut self, side: Side, mut frame: Vec<u8>) {
        if side == Side::Right {
            swap(&mut frame, 0, 6, 6);
            if self.ip6 {
                swap(&mut frame, 22, 38, 16);
            } else {
                swap(&mut frame, 26, 30, 4);
            }
        }
        self.said.push(Said { side, frame });
    }

    fn segment(
        &mut self,
        side: Side,
        ports: (u16, u16),
        (seq, ack): (u32, u32),
        flags: u8,
        payload: &[u8],
    ) {
        let mut message = tcp(ports.0, ports.1, flags, &[], payload);
        message[4..8].copy_from_slice(&seq.to_be_bytes());
        message[8..12].copy_from_slice(&ack.to_be_bytes());
        self.say(side, 6, &message);
    }

    /// A whole connection, from handshake to close.
    fn tcp(&mut self, port: u16, server: u16) {
        let (there, back) = ((port, server), (server, port));
        let (left, right) = (Side::Left, Side::Right);
        self.segment(left, there, (100, 0), SYN, &[]);
        self.segment(right, back, (500, 101), SYN | ACK, &[]);
        self.segment(left, there, (101, 501), ACK, &[]);
        self.segment(left, there, (101, 501), PSH | ACK, b"question");
        self.segment(right, back, (501, 109), PSH | ACK, b"an answer");
        self.segment(left, there, (109, 510), ACK, &[]);
        self.segment(left, there, (109, 510), FIN | ACK, &[]);
        self.segment(right, back, (510, 110), FIN | ACK, &[]);
        self.segment(left, there, (110, 511), ACK, &[]);
    }

    /// Connections that begin with the same packet twice, and one that is refused.
    fn tcp_refused(&mut self, port: u16) {
        let (there, back) = ((port, 7), (7, port));
        self.segment(Side::Left, there, (100, 0), SYN, &[]);
        self.segment(Side::Left, there, (100, 0), SYN, &[]);
        self.segment(Side::Right, back, (0, 101), RST | ACK, &[]);
    }

    fn udp(&mut self, port: u16, server: u16) {
        for _ in 0..2 {
            self.say(Side::Left, 17, &udp(port, server, b"query"));
            self.say(Side::Left, 17, &udp(port, server, b"query again"));
            self.say(Side::Right, 17, &udp(server, port, b"response"));
        }
    }

    fn echo(&mut self, id: u16) {
        let rest = [(id >> 8) as u8, id as u8, 0, 1];
        let (protocol, request, answer) = if self.ip6 { (58, 128, 129) } else { (1, 8, 0) };
        self.say(Side::Left, protocol, &icmp(request, 0, rest, b"ping"));
        self.say(Side::Right, protocol, &icmp(answer, 0, rest, b"ping"));
        // An answer that nobody has asked for.
        self.say(
            Side::Right,
            protocol,
            &icmp(answer, 0, [9, 9, 0, 1], b"ping"),
        );
    }

    /// An error about a datagram that was sent, and one about a datagram that never was.
    fn unreachable(&mut self, port: u16) {
        let (protocol, kind, code) = if self.ip6 { (58, 1, 4) } else { (1, 3, 3) };
        self.say(Side::Left, 17, &udp(port, 9, b"nobody"));
        for port in [port, port + 1] {
            let about = self.frame(17, &udp(port, 9, b"nobody"));
            self.say(
                Side::Right,
                protocol,
                &icmp(kind, code, [0; 4], &about[14..]),
            );
        }
    }

    /// What fits nothing.
    fn strange(&mut self) {
        self.segment(Side::Left, (3000, 80), (100, 0), SYN | FIN, &[]);
        self.segment(Side::Left, (3001, 80), (100, 7), ACK, b"mid-stream");
        self.segment(Side::Right, (80, 3002), (100, 7), RST, &[]);
        let mut frame = self.frame(17, &udp(3003, 80, b"wrong checksum"));
        let last = frame.len() - 1;
        frame[last] ^= 1;
        self.say_frame(Side::Left, frame);
    }
}

fn swap(frame: &mut [u8], one: usize, other: usize, len: usize) {
    for at in 0..len {
        frame.swap(one + at, other + at);
    }
}

/// Everything once, in both families.
fn conversation() -> Vec<Said> {
    let mut all = Vec::new();
    for ip6 in [false, true] {
        let mut talk = Talk {
            ip6,
            said: Vec::new(),
        };
        talk.tcp(1000, 80);
        talk.tcp_refused(1001);
        talk.tcp(1002, 81);
        talk.udp(2000, 53);
        talk.udp(2001, 54);
        talk.echo(77);
        talk.unreachable(2100);
        talk.strange();
        all.extend(talk.said);
    }
    all
}

/// Matches that every packet can be asked for.
const MATCHES: &[&str] = &[
    "ct state new",
    "ct state established",
    "ct state related",
    "ct state invalid",
    "ct state untracked",
    "ct state { established, related }",
    "ct state != new",
    "ct direction original",
    "ct direction reply",
    "ct status assured",
    "ct status seen-reply",
    "ct status confirmed",
    "ct status expected",
    "ct status & (seen-reply | assured) == seen-reply",
    "ct mark 0",
    "ct mark 5",
    "ct mark != 5",
    "ct mark & 1 == 1",
    "ct l3proto ipv4",
    "ct l3proto ipv6",
    "ct protocol tcp",
    "ct protocol { udp, icmp, icmpv6 }",
    "ct original proto-src 1000",
    "ct original proto-dst 80",
    "ct reply proto-src 53",
    "ct reply proto-dst > 1999",
    "ct zone 0",
    "ct zone 7",
    "ct original zone 7",
    "ct reply zone 0",
    "ct packets 0",
    "ct packets > 3",
    "ct original packets > 1",
    "ct reply packets 1",
    "ct bytes > 200",
    "ct original bytes > 100",
    "ct reply bytes < 100",
    "ct avgpkt > 50",
    "ct expiration < 5m",
    "ct expiration > 50s",
    "ct id != 0",
    "ct helper \"ftp\"",
];

/// Matches of a family of addresses.
const IP_MATCHES: &[&str] = &[
    "ct original ip saddr 10.1.0.1",
    "ct original ip daddr 10.2.0.0/16",
    "ct reply ip saddr 10.2.0.2",
    "ct reply ip daddr != 10.1.0.1",
];
const IP6_MATCHES: &[&str] = &[
    "ct original ip6 saddr fd00:1::1",
    "ct reply ip6 daddr fd00:1::/32",
    "ct reply ip6 saddr != fd00:2::2",
];

/// A ruleset that counts every match in the forward hook, with these chains beside it.
fn counting(family: &str, matches: &[&str], beside: &str) -> String {
    let rules: String = matches
        .iter()
        .map(|one| format!("        {one} counter\n"))
        .collect();
    format!(
        "table {family} t {{\n{beside}\n    chain c {{\n        type filter hook forward priority 0; \
         policy accept;\n{rules}    }}\n}}\n"
    )
}

/// Plays the conversation under every ruleset; a match that nft does not know is left out.
fn same(kernel: &KernelBridge, family: &str, matches: &[&str], beside: &str) -> usize {
    let conversation = conversation();
    let mut compared = 0;
    // One at a time says which one differs.
    for one in matches {
        let ruleset = counting(family, &[one], beside);
        match compare_conversation(kernel, &ruleset, &conversation).unwrap() {
            Verdict::Same(_) => compared += 1,
            Verdict::Refused(why) => eprintln!("{family}: {one}: {why}"),
            Verdict::Different(words) => panic!("{words}\n{ruleset}"),
        }
    }
    compared
}

fn kernel() -> Option<KernelBridge> {
    needs(&["nft", "conntrack"]).then(|| KernelBridge::new().unwrap())
}

#[test]
fn addresses_of_the_tests_are_those_that_the_matches_name() {
    assert_eq!((LEFT_IP, RIGHT_IP), ([10, 1, 0, 1], [10, 2, 0, 2]));
}

#[test]
fn keys_of_connections_are_those_of_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let compared = same(&kernel, "inet", MATCHES, "");
    assert!(compared > 35, "only {compared} matches were compared");
    assert_eq!(same(&kernel, "ip", IP_MATCHES, ""), IP_MATCHES.len());
    assert_eq!(same(&kernel, "ip6", IP6_MATCHES, ""), IP6_MATCHES.len());
    // One family tracks without the other.
    same(&kernel, "ip", &["ct state new", "ct state untracked"], "");
}

#[test]
fn what_rules_set_is_what_later_packets_see() {
    let Some(kernel) = kernel() else { return };
    let raw = |rules: &str| {
        format!("    chain raw {{ type filter hook prerouting priority raw; {rules}; }}\n")
    };
    let pre = |rules: &str| {
        format!("    chain pre {{ type filter hook prerouting priority 0; {rules}; }}\n")
    };
    let states = &[
        "ct state new",
        "ct state untracked",
        "ct state invalid",
        "ct state established",
    ];
    let marks = &["ct mark 5", "ct mark 6", "ct mark != 0", "ct mark 0"];
    let zones = &[
        "ct zone 7",
        "ct original zone 7",
        "ct reply zone 7",
        "ct state established",
        "ct zone 0",
    ];
    let cases: &[(String, &[&str])] = &[
        (raw("udp dport 53 notrack"), states),
        (raw("notrack"), states),
        (
            raw("udp dport 53 notrack; udp dport 53 counter ct mark set 5"),
            states,
        ),
        (raw("ct zone set 7"), zones),
        (
            raw("tcp dport 80 ct zone set 7; tcp sport 80 ct zone set 7"),
            zones,
        ),
        (raw("tcp dport 80 ct original zone set 7"), zones),
        (raw("ct zone set 7; udp dport 53 notrack"), states),
        (
            raw("ct state new counter; ct state invalid counter; ct mark 0 counter"),
            states,
        ),
        (
            raw("ct zone set 7; ct state new counter; ct state invalid counter"),
            states,
        ),
        (pre("ct mark set 5"), marks),
        (
            pre("tcp dport 80 ct mark set 5; ct state established ct mark set 6"),
            marks,
        ),
        (
            pre("ct state new ct mark set 5; ct mark set ct mark | 2"),
            marks,
        ),
        (
            pre("meta mark set ct mark; ct mark set 5; meta mark 5 counter"),
            marks,
        ),
        (pre("ct state invalid ct mark set 5"), marks),
        (pre("udp dport 53 drop"), states),
        (pre("udp sport 53 drop"), states),
    ];
    let mut compared = 0;
    for (beside, matches) in cases {
        compared += same(&kernel, "inet", matches, beside);
    }
    assert!(compared > 40, "only {compared} cases were compared");
}

#[test]
fn only_answers_come_through_a_policy_of_drop() {
    let Some(kernel) = kernel() else { return };
    let ruleset = "table inet t {\n    chain c {\n        type filter hook forward priority 0; policy drop;\n\
                   \x20       ct state invalid counter drop\n        ct state established,related counter accept\n\
                   \x20       iifname \"left\" ct state new counter accept\n        counter\n    }\n}\n";
    // In the kernel's IP hooks the name of the port is the bridge's: who began is said by the address.
    let ruleset = ruleset.replace("iifname \"left\"", "ct direction original ct l3proto ipv4");
    match compare_conversation(&kernel, &ruleset, &conversation()).unwrap() {
        Verdict::Same(outcome) => {
            assert!(
                outcome.counters.iter().all(|counter| counter.0 > 0),
                "{outcome:?}"
            );
        }
        other => panic!("{other:?}"),
    }
}

/// What `ct count` is asked; each counts on its own.
const COUNTS: &[&str] = &[
    "ct count 0",
    "ct count 1",
    "ct count 3",
    "ct count over 0",
    "ct count over 1",
    "ct count over 2",
    "ct count over 4",
    "ct count over 8",
    "tcp dport 80 ct count over 1",
    "ct state new ct count over 2",
    "ct state established ct count over 1",
    "ct state invalid ct count over 0",
    "ip protocol tcp ct count over 1",
    "udp dport 53 ct count 1",
    "ct count 0 tcp flags rst",
    "add @clients { ip saddr ct count over 2 }",
];

/// The kernel looks for connections that have ended at most once in a tick of its clock, so it is given
/// one tick and more for each packet.
#[test]
fn connections_are_counted_as_by_the_kernel() {
    let Some(kernel) = kernel() else { return };
    let mut conversation = conversation();
    let mut talk = Talk {
        ip6: false,
        said: Vec::new(),
    };
    // What comes of a connection behind its end.
    talk.tcp(1003, 80);
    for _ in 0..2 {
        talk.segment(Side::Left, (1003, 80), (110, 511), ACK, &[]);
        talk.segment(Side::Right, (80, 1003), (511, 110), ACK, &[]);
    }
    talk.tcp_refused(1004);
    talk.segment(Side::Right, (7, 1004), (0, 101), RST | ACK, &[]);
    conversation.extend(talk.said);
    let set = "    set clients { type ipv4_addr; size 64; flags dynamic; }";
    let ruleset = counting("inet", COUNTS, set);
    let tick = std::time::Duration::from_millis(12);
    let theirs = kernel
        .converse_slowly(&ruleset, &conversation, tick)
        .unwrap();
    let ours = sluice::converse(&ruleset, &conversation).unwrap();
    assert_eq!(theirs.counters.len(), COUNTS.len());
    let both = theirs.counters.iter().zip(&ours.counters);
    let differ: Vec<String> = COUNTS
        .iter()
        .zip(both)
        .filter(|(_, (theirs, ours))| theirs != ours)
        .map(|(one, (theirs, ours))| format!("{one}: kernel {theirs:?} sluice {ours:?}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
