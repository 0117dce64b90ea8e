//! The SYN proxy next to the kernel's: what it says to clients and servers.

use sluice_dataplane::synproxy::{Segment, option};
use sluice_tests::proxied::talk::{
    ACK, ALL, CLIENT, CLIENT_CLOCK, FULL, RST, SERVER, SERVER_CLOCK, SYN, Talk, offers, only, rules,
};
use sluice_tests::proxied::{Heard, Kernels, Ours, Proxy};

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
    let mut own = Talk::new(Ours::new(&rules(FULL), 4096), false, 20_000);
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
