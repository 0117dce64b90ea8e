//! The SYN proxy segment by segment, in memory and under virtual time; and next to the kernel's, in what
//! it says to clients and servers.

use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::{Filter, ProxyStatistics, status};
use sluice_dataplane::synproxy::{Options, Segment, flag, option};
use sluice_tests::proxied::{Heard, Kernels, Ours, Proxy, SECOND, frame, packet};
use sluice_tests::tracker::Side::{Left, Right};

const CLIENT: u32 = u32::MAX - 20;
const SERVER: u32 = 9000;
const CLIENT_CLOCK: u32 = 70_000;
const SERVER_CLOCK: u32 = 4_000_000_000;
const WINDOW: u16 = 502;
const SYN: u8 = flag::SYN;
const ACK: u8 = flag::ACK;
const RST: u8 = flag::RST;
const ALL: u8 = option::MSS | option::WSCALE | option::SACK_PERM | option::TIMESTAMP;

/// The setup of nft(8).
fn rules(synproxy: &str) -> String {
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

const OBJECTS: &str = "synproxy one { mss 1400; wscale 6; timestamp sack-perm; }\n";
const FULL: &str = "synproxy mss 1400 wscale 6 timestamp sack-perm";

fn offers(bits: u8) -> Options {
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

fn stamp(stamped: bool, tsval: u32, tsecr: u32) -> Options {
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
struct Talk<P> {
    proxy: P,
    v6: bool,
    sport: u16,
    /// The number of the client's SYN.
    isn: u32,
    stamped: bool,
    /// What the client got for the server's first number, and its clock.
    cookie: u32,
    clock: u32,
}

impl<P: Proxy> Talk<P> {
    fn new(proxy: P, v6: bool, sport: u16) -> Self {
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

    fn client(&mut self, segment: Segment, payload: &[u8]) -> [Vec<Heard>; 2] {
        let segment = Segment {
            sport: self.sport,
            dport: 80,
            window: WINDOW,
            ..segment
        };
        self.proxy.say(self.v6, Left, &segment, payload)
    }

    fn server(&mut self, segment: Segment, payload: &[u8]) -> [Vec<Heard>; 2] {
        let segment = Segment {
            sport: 80,
            dport: self.sport,
            ..segment
        };
        self.proxy.say(self.v6, Right, &segment, payload)
    }

    /// The client's SYN with these options.
    fn syn(&mut self, options: Options) -> [Vec<Heard>; 2] {
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
    fn ack_of(&mut self, cookie: u32) -> [Vec<Heard>; 2] {
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

    fn ack(&mut self) -> [Vec<Heard>; 2] {
        self.ack_of(self.cookie)
    }

    /// The client's probe of its closed window.
    fn probe(&mut self) -> [Vec<Heard>; 2] {
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
    fn syn_ack(&mut self) -> [Vec<Heard>; 2] {
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

    fn client_data(&mut self) -> [Vec<Heard>; 2] {
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

    fn server_data(&mut self) -> [Vec<Heard>; 2] {
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
    fn refusal(&mut self) -> [Vec<Heard>; 2] {
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
    fn establish(&mut self, options: Options) {
        assert_eq!(self.syn(options)[0].len(), 1);
        assert_eq!(self.ack()[1].len(), 1);
        let out = self.syn_ack();
        assert_eq!((out[0].len(), out[1].len()), (1, 1));
    }
}

fn ours(v6: bool) -> Talk<Ours> {
    Talk::new(Ours::new(&rules(FULL), 4096), v6, 4000)
}

fn only(frames: &[Heard]) -> Segment {
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames[0].segment
}

#[test]
fn a_handshake_is_made_twice_and_then_numbers_and_clocks_are_shifted() {
    for (v6, mss) in [(false, 1460), (true, 1440)] {
        let mut talk = ours(v6);
        let [left, right] = talk.syn(offers(ALL));
        assert!(right.is_empty());
        let answer = only(&left);
        assert_eq!((answer.flags, answer.window), (SYN | ACK, 0));
        assert_eq!(answer.ack, CLIENT.wrapping_add(1));
        assert_eq!((answer.sport, answer.dport), (80, 4000));
        let Options {
            bits,
            mss: told,
            wscale,
            tsecr,
            ..
        } = answer.options;
        assert_eq!((bits, told, wscale, tsecr), (ALL, 1400, 6, CLIENT_CLOCK));
        assert_eq!(talk.proxy.tracker().count(), 0, "nothing is kept");

        let [left, right] = talk.ack();
        assert!(left.is_empty());
        let asked = only(&right);
        assert_eq!(
            (asked.flags, asked.seq, asked.window),
            (SYN, CLIENT, WINDOW)
        );
        assert_eq!((asked.sport, asked.dport), (4000, 80));
        let Options {
            bits,
            mss: told,
            wscale,
            tsval,
            tsecr,
        } = asked.options;
        assert_eq!((bits, told, wscale), (ALL, mss, 7));
        assert_eq!((tsval, tsecr), (CLIENT_CLOCK + 1, talk.clock));
        assert_eq!(talk.proxy.tracker().count(), 1);

        let [left, right] = talk.syn_ack();
        let (opened, confirmed) = (only(&left), only(&right));
        assert_eq!((opened.flags, opened.window), (ACK, 64_000 >> 6));
        assert_eq!(opened.seq, talk.cookie.wrapping_add(1));
        assert_eq!(opened.ack, CLIENT.wrapping_add(1));
        assert_eq!(opened.options, stamp(true, talk.clock, CLIENT_CLOCK + 1));
        assert_eq!((confirmed.flags, confirmed.window), (ACK, WINDOW));
        assert_eq!(
            (confirmed.seq, confirmed.ack),
            (CLIENT.wrapping_add(1), SERVER + 1)
        );
        assert_eq!(
            confirmed.options,
            stamp(true, CLIENT_CLOCK + 1, SERVER_CLOCK)
        );

        let [left, right] = talk.client_data();
        assert!(left.is_empty());
        assert_eq!(right[0].payload, b"question");
        let said = only(&right);
        assert_eq!((said.seq, said.ack), (CLIENT.wrapping_add(1), SERVER + 1));
        assert_eq!(
            said.options,
            stamp(true, CLIENT_CLOCK + 30, SERVER_CLOCK + 40)
        );

        let [left, right] = talk.server_data();
        assert!(right.is_empty());
        assert_eq!(left[0].payload, b"answer");
        let said = only(&left);
        assert_eq!(said.seq, talk.cookie.wrapping_add(1));
        assert_eq!(said.ack, CLIENT.wrapping_add(9));
        assert_eq!(
            said.options,
            stamp(true, talk.clock.wrapping_add(50), CLIENT_CLOCK + 30)
        );
        let mut flows = Vec::new();
        talk.proxy
            .tracker()
            .list(&Filter::default(), 0, 9, &mut flows);
        assert_eq!(flows[0].state_name(), Some("ESTABLISHED"));
        assert_ne!(flows[0].status & status::ASSURED, 0);
        assert_eq!(talk.proxy.drops, []);
        let expected = ProxyStatistics {
            syn_received: 1,
            cookie_valid: 1,
            ..ProxyStatistics::default()
        };
        assert_eq!(talk.proxy.counted(), expected);
    }
}

#[test]
fn an_object_is_as_good_as_a_statement_also_by_a_map() {
    for rule in [
        "synproxy name \"one\"",
        "synproxy name tcp dport map { 80 : \"one\" }",
    ] {
        let mut talk = Talk::new(Ours::new(&rules(rule), 64), false, 4000);
        talk.establish(offers(ALL));
        assert_eq!(only(&talk.client_data()[1]).ack, SERVER + 1, "{rule}");
    }
}

#[test]
fn a_wrong_or_old_cookie_is_dropped_with_its_reason() {
    let mut talk = ours(false);
    talk.syn(offers(ALL));
    let cookie = talk.cookie;
    for wrong in [cookie ^ 1 << 20, cookie.wrapping_add(1 << 24), 0] {
        assert_eq!(talk.ack_of(wrong), [vec![], vec![]]);
    }
    // Good for what is left of its minute and for the next one.
    talk.proxy.now_ns += 121 * SECOND;
    assert_eq!(talk.ack(), [vec![], vec![]]);
    assert_eq!(talk.proxy.drops, [DropReason::ProxyCookie; 4]);
    assert_eq!(talk.proxy.counted().cookie_invalid, 4);
    assert_eq!(talk.proxy.tracker().count(), 0);
    // It is never too late for another one.
    talk.establish(offers(ALL));
}

#[test]
fn a_retransmitted_ack_and_a_probe_have_the_server_asked_again() {
    for v6 in [false, true] {
        let mut talk = ours(v6);
        talk.syn(offers(ALL));
        let first = only(&talk.ack()[1]);
        for (again, retransmitted) in [(false, 0), (true, 1)] {
            let [left, right] = if again { talk.probe() } else { talk.ack() };
            assert!(left.is_empty());
            let second = only(&right);
            assert_eq!((second.seq, second.flags), (first.seq, SYN));
            assert_eq!(second.options.mss, first.options.mss);
            assert_eq!(talk.proxy.counted().cookie_retrans, retransmitted);
        }
        assert_eq!(talk.proxy.tracker().count(), 1);
        talk.syn_ack();
        assert_eq!(only(&talk.client_data()[1]).ack, SERVER + 1);
        assert_eq!(
            only(&talk.server_data()[0]).seq,
            talk.cookie.wrapping_add(1)
        );
    }
}

#[test]
fn a_repeated_answer_of_the_server_changes_nothing() {
    let mut talk = ours(false);
    talk.establish(offers(ALL));
    // The server has not seen the ACK: its SYN-ACK comes again and goes to the client, who answers it.
    let [left, right] = talk.syn_ack();
    assert!(right.is_empty());
    let again = only(&left);
    assert_eq!((again.flags, again.seq), (SYN | ACK, talk.cookie));
    assert_eq!(only(&talk.client_data()[1]).ack, SERVER + 1);
}

#[test]
fn a_server_that_refuses_resets_its_client_and_leaves_nothing() {
    let mut talk = ours(false);
    talk.syn(offers(ALL));
    talk.ack();
    let [left, right] = talk.refusal();
    assert!(right.is_empty());
    let refused = only(&left);
    assert_eq!(refused.flags, RST | ACK);
    assert_eq!(refused.seq, talk.cookie.wrapping_add(1));
    assert_eq!(refused.ack, CLIENT.wrapping_add(1));
    assert_eq!(talk.proxy.tracker().count(), 0);
    talk.establish(offers(ALL));
}

#[test]
fn a_reset_in_the_middle_is_shifted_like_everything_else() {
    let mut talk = ours(false);
    talk.establish(offers(ALL));
    talk.client_data();
    talk.server_data();
    let reset = Segment {
        seq: SERVER + 7,
        ack: CLIENT.wrapping_add(9),
        flags: RST | ACK,
        ..Segment::default()
    };
    let out = talk.server(reset, &[]);
    assert_eq!(only(&out[0]).seq, talk.cookie.wrapping_add(7));
}

#[test]
fn a_client_that_begins_again_gets_another_connection() {
    let mut talk = ours(false);
    talk.establish(offers(ALL));
    talk.client_data();
    let options = stamp(true, CLIENT_CLOCK + 60, talk.clock.wrapping_add(60));
    let reset = Segment {
        seq: CLIENT.wrapping_add(9),
        ack: talk.cookie.wrapping_add(1),
        flags: RST | ACK,
        options,
        ..Segment::default()
    };
    assert_eq!(only(&talk.client(reset, &[])[1]).ack, SERVER + 1);
    // The flow is still there, closed; the next connection from this port begins with other numbers.
    talk.isn = 1 << 30;
    talk.establish(offers(option::MSS));
    let said = only(&talk.client_data()[1]);
    assert_eq!((said.seq, said.ack), (talk.isn + 1, SERVER + 1));
    assert_eq!(
        only(&talk.server_data()[0]).seq,
        talk.cookie.wrapping_add(1)
    );
    assert_eq!(talk.proxy.tracker().count(), 1);
    assert_eq!(talk.proxy.drops, []);
}

#[test]
fn many_clients_in_one_batch_are_told_apart() {
    let mut proxy = Ours::new(&rules(FULL), 4096);
    let ports: Vec<u16> = (5000..5060).collect();
    let segment = |sport, flags, ack| Segment {
        sport,
        dport: 80,
        seq: CLIENT.wrapping_add(u32::from(flags == ACK)),
        ack,
        flags,
        window: WINDOW,
        options: if flags == SYN {
            offers(option::MSS)
        } else {
            Options::default()
        },
    };
    let of = |segment: &Segment| frame(Left, &packet(false, Left, segment, &[]));
    let syns: Vec<_> = ports
        .iter()
        .map(|port| of(&segment(*port, SYN, 0)))
        .collect();
    let [answers, right] = proxy.batch(Left, &syns);
    assert!(right.is_empty());
    let answers: Vec<_> = answers
        .iter()
        .filter_map(|frame| sluice_tests::proxied::read(frame))
        .collect();
    assert_eq!(answers.len(), ports.len());
    let ack = |answer: &Heard| {
        let Segment { dport, seq, .. } = answer.segment;
        of(&segment(dport, ACK, seq.wrapping_add(1)))
    };
    // Each ACK twice: the second asks again.
    let acks: Vec<_> = answers[..30]
        .iter()
        .flat_map(|answer| [ack(answer), ack(answer)])
        .collect();
    let [left, asked] = proxy.batch(Left, &acks);
    assert!(left.is_empty());
    assert_eq!(asked.len(), 60);
    assert_eq!(proxy.tracker().count(), 30);
    assert_eq!(
        (proxy.counted().syn_received, proxy.counted().cookie_valid),
        (60, 60)
    );
    assert_eq!(proxy.drops, []);
}

#[test]
fn a_flood_of_syns_leaves_no_flow_and_a_full_table_no_proxied_one() {
    let mut proxy = Ours::new(&rules(FULL), 64);
    for number in 0..20_000u32 {
        let mut bytes = packet(
            false,
            Left,
            &Segment {
                sport: number as u16,
                dport: 80,
                seq: number,
                flags: SYN,
                window: 1,
                options: offers(ALL),
                ..Segment::default()
            },
            &[],
        );
        // Wrong checksums are no SYNs.
        if number % 4 == 3 {
            bytes[36] ^= 1;
        }
        proxy.batch(Left, &[frame(Left, &bytes)]);
    }
    assert_eq!(proxy.tracker().count(), 0);
    assert_eq!(proxy.counted().syn_received, 15_000);
    assert_eq!(proxy.drops.len(), 5000);
    // One record for four flows, and 64 more, all taken by clients whose server is slow: who comes later
    // finds no room and tries again.
    let mut drops = Vec::new();
    for sport in 1000..1200 {
        let mut talk = Talk::new(proxy, false, sport);
        talk.syn(offers(ALL));
        talk.ack();
        proxy = talk.proxy;
        drops.append(&mut proxy.drops);
    }
    assert!(proxy.tracker().count() <= 64);
    let early: u64 = proxy.tracker().statistics(0).early_drop;
    assert!(early > 0, "unanswered ones make room: {drops:?}");
}

#[test]
fn what_is_no_syn_of_a_client_is_not_answered() {
    let mut talk = ours(false);
    for flags in [SYN | ACK, SYN | RST, SYN | flag::FIN] {
        let out = talk.client(
            Segment {
                seq: CLIENT,
                flags,
                options: offers(ALL),
                ..Segment::default()
            },
            &[],
        );
        assert_eq!(out, [vec![], vec![]], "{flags}");
    }
    assert_eq!(talk.proxy.drops, [DropReason::ProxyMalformed; 3]);
    // A reset with the number of an ACK asks nobody; the next rule drops it.
    talk.syn(offers(ALL));
    let reset = Segment {
        seq: CLIENT.wrapping_add(1),
        ack: talk.cookie.wrapping_add(1),
        flags: RST | ACK,
        ..Segment::default()
    };
    assert_eq!(talk.client(reset, &[]), [vec![], vec![]]);
    assert_eq!(talk.proxy.drops.last(), Some(&DropReason::RuleDrop));
    assert_eq!(talk.proxy.counted().syn_received, 1);
    // What is not TCP breaks off the rule and goes on.
    let udp = sluice_tests::tracker::packets::ip(false, 17, Left, &[0, 9, 0, 80, 0, 8, 0, 0]);
    let rules = "table ip t { chain c { type filter hook forward priority 0; synproxy mss 1400 wscale 6; }\n }";
    let mut proxy = Ours::new(rules, 64);
    assert_eq!(proxy.batch(Left, &[frame(Left, &udp)])[1].len(), 1);
}

#[test]
fn a_proxied_connection_keeps_its_zone() {
    let zoned = rules(FULL).replace("tcp dport 80 tcp flags syn notrack", "tcp dport 80 tcp flags syn notrack\n tcp dport 80 ct zone set 7\n tcp sport 80 ct zone set 7");
    let mut talk = Talk::new(Ours::new(&zoned, 64), false, 4000);
    // A zone makes the SYN a tracked one again, so the rule looks at the flag.
    let direct = zoned.replace(
        "ct state invalid,untracked synproxy",
        "ct state invalid,untracked,new synproxy",
    );
    talk.proxy = Ours::new(&direct, 64);
    talk.syn(offers(ALL));
    talk.ack();
    let mut flows = Vec::new();
    talk.proxy
        .tracker()
        .list(&Filter::default(), 0, 9, &mut flows);
    let zones: Vec<_> = flows.iter().map(|flow| flow.original.zone).collect();
    assert_eq!(zones, [7]);
}

/// What is heard of a conversation, in numbers that are the same whatever the cookie is.
struct Transcript(Vec<String>);

impl Transcript {
    fn note<P>(&mut self, what: &str, talk: &Talk<P>, out: &[Vec<Heard>; 2]) {
        for (side, frames) in ["client", "server"].iter().zip(out) {
            for heard in frames {
                self.0.push(format!(
                    "{what} -> {side}: {}",
                    Self::line(talk, side, heard)
                ));
            }
        }
        if out.iter().all(Vec::is_empty) {
            self.0.push(format!("{what} -> nobody"));
        }
    }

    fn line<P>(talk: &Talk<P>, side: &str, heard: &Heard) -> String {
        let Segment {
            seq,
            ack,
            flags,
            window,
            options,
            ..
        } = heard.segment;
        let to_client = side == "client";
        let seq = if to_client {
            seq.wrapping_sub(talk.cookie)
        } else {
            seq
        };
        let ack = if flags & ACK != 0 { ack } else { 0 };
        let mut text = format!("flags {flags:02x} seq {seq} ack {ack} window {window}");
        if options.has(option::MSS) {
            text += &format!(" mss {}", options.mss);
        }
        if options.has(option::WSCALE) {
            text += &format!(" wscale {}", options.wscale);
        }
        if options.has(option::SACK_PERM) {
            text += " sack-perm";
        }
        if options.has(option::TIMESTAMP) {
            // The proxy's clock is told in 64 ms; what it says beside the time is in the low bits.
            let own = |value: u32| match value.wrapping_sub(talk.clock) {
                ahead @ 0..100 => format!("clock({:02x})+{ahead}", talk.clock & 0x3f),
                _ => value.to_string(),
            };
            text += &format!(" time {} of {}", own(options.tsval), own(options.tsecr));
        }
        if !heard.payload.is_empty() {
            text += &format!(" {:?}", String::from_utf8_lossy(&heard.payload));
        }
        text
    }
}

/// Whether the server takes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Takes,
    Refuses,
}

fn play<P: Proxy>(talk: &mut Talk<P>, bits: u8, answer: Answer) -> Vec<String> {
    let mut script = Transcript(Vec::new());
    let out = talk.syn(offers(bits));
    script.note("syn", talk, &out);
    let out = talk.ack_of(talk.cookie.wrapping_add(1 << 21));
    script.note("bad ack", talk, &out);
    let out = talk.ack();
    script.note("ack", talk, &out);
    let out = talk.ack();
    script.note("ack again", talk, &out);
    if answer == Answer::Refuses {
        let out = talk.refusal();
        script.note("refusal", talk, &out);
        return script.0;
    }
    let out = talk.syn_ack();
    script.note("syn-ack", talk, &out);
    let out = talk.client_data();
    script.note("question", talk, &out);
    let out = talk.server_data();
    script.note("answer", talk, &out);
    script.0
}

#[test]
fn the_kernel_and_sluice_say_the_same_to_clients_and_servers() {
    if !sluice_tests::needs(&["nft", "ip"]) {
        return;
    }
    const EACH: &[u8] = &[
        ALL,
        0,
        option::MSS,
        ALL & !option::TIMESTAMP,
        ALL & !option::WSCALE,
        ALL & !option::SACK_PERM,
    ];
    const BOTH: &[bool] = &[false, true];
    let statements = [
        (FULL, BOTH, EACH),
        ("synproxy name \"one\"", BOTH, &[ALL]),
        ("synproxy", &[false], &[ALL]),
        ("synproxy mss 1460 wscale 9", &[false], &[ALL]),
        ("synproxy mss 1460 wscale 9 timestamp", &[false], &[ALL]),
        ("synproxy mss 536 wscale 0 sack-perm", &[true], &[ALL]),
        ("synproxy timestamp sack-perm", &[true], &[ALL]),
    ];
    let mut sport = 10_000;
    for (statement, families, offered) in statements {
        let rules = rules(statement);
        let mut kernels = Kernels::new(&rules).unwrap_or_else(|error| panic!("{error}"));
        let mut ours = Ours::new(&rules, 4096);
        for &v6 in families {
            for &bits in offered {
                for answer in [Answer::Takes, Answer::Refuses] {
                    sport += 1;
                    let mut talk = Talk::new(kernels, v6, sport);
                    let mut theirs = play(&mut talk, bits, answer);
                    kernels = talk.proxy;
                    let mut talk = Talk::new(ours, v6, sport);
                    let mut own = play(&mut talk, bits, answer);
                    ours = talk.proxy;
                    differ(&mut own, &mut theirs);
                    assert_eq!(
                        own, theirs,
                        "{statement}, IPv6 {v6}, options {bits:x}, {answer:?}"
                    );
                }
            }
        }
    }
}

/// What the compatibility page says: the kernel shifts the time in its ACK to the server, which is the server's
/// already.
fn differ(own: &mut [String], theirs: &mut [String]) {
    let of_server = format!("time {} of {SERVER_CLOCK}", CLIENT_CLOCK + 1);
    for (own, theirs) in own.iter_mut().zip(theirs) {
        let Some((what, _)) = own
            .split_once(&of_server)
            .filter(|_| own.starts_with("syn-ack -> server"))
        else {
            continue;
        };
        assert!(theirs.starts_with(what) && theirs != own, "{own}\n{theirs}");
        *theirs = own.clone();
    }
}

/// What the compatibility page says of the rest, by a segment that goes through both. Fails when either of
/// them has come to do something else.
#[test]
fn what_the_kernel_does_otherwise() {
    if !sluice_tests::needs(&["nft", "ip"]) {
        return;
    }
    let kernels = Kernels::new(&rules(FULL)).unwrap_or_else(|error| panic!("{error}"));
    let mut theirs = Talk::new(kernels, false, 20_000);
    let mut own = ours(false);
    let numbers = |out: &[Vec<Heard>; 2]| {
        out.each_ref().map(|side| {
            side.iter()
                .map(|heard| heard.segment.flags)
                .collect::<Vec<_>>()
        })
    };
    fn probe<P: Proxy>(talk: &mut Talk<P>) -> [Vec<Heard>; 2] {
        talk.syn(offers(ALL));
        talk.ack();
        talk.probe()
    }
    let nobody = [vec![], vec![]];
    let probes = (numbers(&probe(&mut theirs)), numbers(&probe(&mut own)));
    assert_eq!(probes, (nobody.clone(), [vec![], vec![SYN]]), "a probe");

    fn reset<P: Proxy>(talk: &mut Talk<P>) -> u32 {
        talk.syn_ack();
        talk.client_data();
        talk.server_data();
        let reset = Segment {
            seq: SERVER + 7,
            ack: talk.isn.wrapping_add(9),
            flags: RST | ACK,
            ..Segment::default()
        };
        let out = talk.server(reset, &[]);
        only(&out[0]).seq.wrapping_sub(talk.cookie)
    }
    assert_eq!((reset(&mut theirs), reset(&mut own)), (1, 7), "a reset");

    fn syn_ack<P: Proxy>(talk: &mut Talk<P>) -> [Vec<Heard>; 2] {
        talk.sport += 1;
        let segment = Segment {
            seq: CLIENT,
            flags: SYN | ACK,
            ..Segment::default()
        };
        talk.client(segment, &[])
    }
    let answers = (numbers(&syn_ack(&mut theirs)), numbers(&syn_ack(&mut own)));
    assert_eq!(
        answers,
        ([vec![SYN | ACK], vec![]], nobody.clone()),
        "a SYN with ACK"
    );

    fn redeemed_reset<P: Proxy>(talk: &mut Talk<P>) -> [Vec<Heard>; 2] {
        talk.syn(offers(0));
        let segment = Segment {
            seq: talk.isn.wrapping_add(1),
            ack: talk.cookie.wrapping_add(1),
            flags: RST | ACK,
            ..Segment::default()
        };
        talk.client(segment, &[])
    }
    let answers = (
        numbers(&redeemed_reset(&mut theirs)),
        numbers(&redeemed_reset(&mut own)),
    );
    assert_eq!(
        answers,
        ([vec![], vec![SYN]], nobody.clone()),
        "a reset with a cookie"
    );

    // Six is checked as four, if anybody has to check.
    (theirs.v6, own.v6, theirs.proxy.partial) = (true, true, false);
    let answers = (
        numbers(&theirs.syn(offers(ALL))),
        numbers(&own.syn(offers(ALL))),
    );
    assert_eq!(
        answers,
        (nobody, [vec![SYN | ACK], vec![]]),
        "a whole checksum"
    );
}
