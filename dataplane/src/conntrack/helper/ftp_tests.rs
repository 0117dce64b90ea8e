use proptest::prelude::*;

use super::*;
use crate::conntrack::tuple::IPV6;

fn tuples(l3: u8) -> [Tuple; 2] {
    let host = |last: u8| {
        let mut address = [0; 16];
        if l3 == IPV4 {
            address[..4].copy_from_slice(&[10, 0, 0, last]);
        } else {
            address = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        }
        address
    };
    let tuple = |src, dst, sport, dport| Tuple {
        src: host(src),
        dst: host(dst),
        sport,
        dport,
        protocol: 6,
        l3,
        ..Tuple::default()
    };
    [tuple(1, 2, 40_000, 21), tuple(2, 1, 21, 40_000)]
}

struct Talk {
    lines: Lines,
    tuples: [Tuple; 2],
    next: [u32; 2],
}

impl Talk {
    /// Both sides have said their first line.
    fn new(l3: u8) -> Self {
        let mut talk = Self {
            lines: Lines::default(),
            tuples: tuples(l3),
            next: [u32::MAX - 3, 1000],
        };
        assert_eq!(talk.say(true, "220 ready\r\n"), Said::default());
        assert_eq!(talk.say(false, "USER x\r\n"), Said::default());
        talk
    }

    fn say(&mut self, reply: bool, text: &str) -> Said {
        let direction = usize::from(reply);
        let sequence = self.next[direction];
        self.next[direction] = sequence.wrapping_add(text.len() as u32);
        self.say_at(reply, text, sequence)
    }

    fn say_at(&mut self, reply: bool, text: &str, sequence: u32) -> Said {
        let [original, answer] = self.tuples;
        let (own, other) = if reply {
            (answer, original)
        } else {
            (original, answer)
        };
        inspect(
            &mut self.lines,
            text.as_bytes(),
            sequence,
            reply,
            &own,
            &other,
        )
    }
}

/// The port that is announced, its form, and the text that says so.
fn port(said: &Said, text: &str) -> Option<(u16, Form, String)> {
    let [found] = said.announced[..] else {
        return None;
    };
    let (at, len) = found.place;
    Some((
        found.expected.tuple.dport,
        found.form,
        text[at..at + len].to_owned(),
    ))
}

#[test]
fn announcements_of_both_sides_and_families() {
    for (l3, reply, text, number, form, written) in [
        (
            IPV4,
            false,
            "PORT 10,0,0,1,4,1\r\n",
            1025,
            Form::Port,
            "10,0,0,1,4,1",
        ),
        (
            IPV4,
            false,
            "port 10,0,0,1,255,255\r\n",
            65_535,
            Form::Port,
            "10,0,0,1,255,255",
        ),
        (
            IPV4,
            false,
            "EPRT |1|10.0.0.1|6275|\r\n",
            6275,
            Form::Eprt,
            "|1|10.0.0.1|6275|",
        ),
        (
            IPV6,
            false,
            "EPRT |2|fd00::1|6275|\r\n",
            6275,
            Form::Eprt,
            "|2|fd00::1|6275|",
        ),
        (
            IPV6,
            false,
            "EPRT !2!fd00:0::1!9!\r\n",
            9,
            Form::Eprt,
            "!2!fd00:0::1!9!",
        ),
        (
            IPV4,
            true,
            "227 Entering Passive Mode (10,0,0,2,4,1).\r\n",
            1025,
            Form::Passive,
            "10,0,0,2,4,1",
        ),
        (
            IPV4,
            true,
            "227 Entering Passive Mode 10,0,0,2,4,1\r\n",
            1025,
            Form::Passive,
            "10,0,0,2,4,1",
        ),
        (
            IPV4,
            true,
            "229 Entering Extended Passive Mode (|||6446|)\r\n",
            6446,
            Form::ExtendedPassive,
            "|||6446|",
        ),
        (
            IPV6,
            true,
            "229 ok (!!!6446!)\r\n",
            6446,
            Form::ExtendedPassive,
            "!!!6446!",
        ),
    ] {
        let mut talk = Talk::new(l3);
        let said = talk.say(reply, text);
        assert_eq!(
            port(&said, text),
            Some((number, form, written.to_owned())),
            "{text}"
        );
        let expected = said.announced[0].expected;
        let [original, answer] = talk.tuples;
        // The other host will connect to the one that announced.
        let (from, to) = if reply {
            (original.src, answer.src)
        } else {
            (answer.src, original.src)
        };
        assert_eq!((expected.tuple.src, expected.tuple.dst), (from, to));
        assert_eq!((expected.tuple.sport, expected.mask.sport), (0, 0));
    }
}

#[test]
fn what_is_no_announcement() {
    for (l3, reply, text) in [
        (IPV4, false, "PORT 10,0,0,1,4\r\n"),
        (IPV4, false, "PORT 10,0,0,256,4,1\r\n"),
        (IPV4, false, "PORT 10,0,0,1,0,0\r\n"),
        (IPV4, false, "PORT 10.0.0.1.4.1\r\n"),
        (IPV4, false, "PORT10,0,0,1,4,1\r\n"),
        (IPV4, false, "XPORT 10,0,0,1,4,1\r\n"),
        (IPV6, false, "PORT 10,0,0,1,4,1\r\n"),
        (IPV4, false, "EPRT |2|fd00::1|6275|\r\n"),
        (IPV4, false, "EPRT |1|10.0.0.1|0|\r\n"),
        (IPV4, false, "EPRT |1|10.0.0.1|65536|\r\n"),
        (IPV4, false, "EPRT |1|10.0.0.1|6275\r\n"),
        (IPV4, false, "EPRT 1110.0.0.116275|\r\n"),
        // The command says which way the server shall answer; only its answer announces.
        (IPV4, false, "EPSV\r\n"),
        (IPV4, false, "EPSV ALL\r\n"),
        (IPV4, false, "EPSV 1\r\n"),
        (IPV4, false, "227 (10,0,0,1,4,1)\r\n"),
        (IPV4, true, "PORT 10,0,0,2,4,1\r\n"),
        (IPV4, true, "229 ok (|||0|)\r\n"),
        (IPV4, true, "229 ok (1111025|)\r\n"),
        (IPV4, true, "229 ok (||1025|)\r\n"),
        (IPV4, true, "228 (10,0,0,2,4,1)\r\n"),
        (IPV4, true, "227 no\r\n"),
    ] {
        assert_eq!(Talk::new(l3).say(reply, text), Said::default(), "{text}");
    }
}

#[test]
fn the_address_of_somebody_else_is_not_believed() {
    let mut talk = Talk::new(IPV4);
    assert!(
        talk.say(false, "PORT 10,0,0,9,4,1\r\n")
            .announced
            .is_empty()
    );
    assert!(
        talk.say(false, "EPRT |1|10.0.0.9|99|\r\n")
            .announced
            .is_empty()
    );
    assert!(
        talk.say(true, "227 (10,0,0,9,4,1)\r\n")
            .announced
            .is_empty()
    );
}

#[test]
fn only_where_a_line_begins() {
    let mut talk = Talk::new(IPV4);
    let text = "PORT 10,0,0,1,4,1\r\n";
    // In the middle of a line that began in an earlier segment.
    assert_eq!(talk.say(false, "STOR x"), Said::default());
    assert_eq!(talk.say(false, text), Said::default());
    assert_eq!(talk.say(false, text).announced.len(), 1);
    // Sent again: it is announced again, and lines go on.
    let last = talk.next[0].wrapping_sub(text.len() as u32);
    assert_eq!(talk.say_at(false, text, last).announced.len(), 1);
    assert_eq!(talk.say(false, text).announced.len(), 1);
    // At a number that is not next.
    let far = talk.next[0].wrapping_add(500);
    assert_eq!(talk.say_at(false, text, far), Said::default());
}

#[test]
fn each_line_of_a_segment_is_looked_at() {
    let mut talk = Talk::new(IPV4);
    let text = "TYPE I\r\nPORT 10,0,0,1,4,1\r\nEPRT |1|10.0.0.1|9|\r\nRETR x\r\n";
    let ports: Vec<_> = talk
        .say(false, text)
        .announced
        .iter()
        .map(|a| a.expected.tuple.dport)
        .collect();
    assert_eq!(ports, [1025, 9]);
    let many = "PORT 10,0,0,1,4,1\r\n".repeat(9);
    assert_eq!(talk.say(false, &many).announced.len(), MOST);
}

#[test]
fn an_announcement_that_is_cut_off_must_come_again() {
    let text = "PORT 10,0,0,1,4,12";
    for cut in 1..=text.len() {
        let mut talk = Talk::new(IPV4);
        let said = talk.say(false, &text[..cut]);
        assert!(said.partial && said.announced.is_empty(), "{cut}");
        // The segment was dropped and comes again, whole.
        let again = talk.next[0].wrapping_sub(cut as u32);
        let whole = format!("{text}\r\n");
        assert_eq!(talk.say_at(false, &whole, again).announced.len(), 1);
    }
    let mut talk = Talk::new(IPV4);
    assert!(!talk.say(false, "LIST").partial);
    let mut talk = Talk::new(IPV4);
    assert!(talk.say(true, "229 ok (|||64").partial);
}

proptest! {
    #[test]
    fn any_payload_is_read_without_a_panic(
        texts in proptest::collection::vec(
            (any::<bool>(), "(PORT |EPRT |227 |229 \\(|)[|0-9,.:a-f()\r\n ]{0,40}", any::<u32>()), 1..8),
        v6: bool,
    ) {
        let mut talk = Talk::new(if v6 { IPV6 } else { IPV4 });
        for (reply, text, sequence) in texts {
            let said = if sequence % 2 == 0 {
                talk.say(reply, &text)
            } else {
                talk.say_at(reply, &text, sequence)
            };
            for found in &said.announced {
                let (at, len) = found.place;
                prop_assert!(at + len <= text.len() && len > 0);
                prop_assert!(found.expected.tuple.dport != 0);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let [own, other] = tuples(IPV4);
        let mut lines = Lines::default();
        inspect(&mut lines, b"\n", 0, false, &own, &other);
        inspect(&mut lines, &bytes, 1, false, &own, &other);
    }

    #[test]
    fn every_address_and_port_that_is_written_is_read(address: [u8; 4], port in 1u16..) {
        let mut tuples = tuples(IPV4);
        tuples[0].src[..4].copy_from_slice(&address);
        let mut talk = Talk::new(IPV4);
        talk.tuples = tuples;
        let [a, b, c, d] = address;
        let [high, low] = port.to_be_bytes();
        let texts = [
            format!("PORT {a},{b},{c},{d},{high},{low}\r\n"),
            format!("EPRT |1|{a}.{b}.{c}.{d}|{port}|\r\n"),
        ];
        for text in texts {
            let said = talk.say(false, &text);
            prop_assert_eq!(said.announced[0].expected.tuple.dport, port);
        }
    }
}
