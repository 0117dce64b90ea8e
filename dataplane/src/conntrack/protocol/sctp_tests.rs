use super::super::super::tuple::IPV4;
use super::super::number;
use super::super::testing::{Flow, Seen, ip};
use super::*;
use crate::packet::checksum::crc32c_of_sctp;

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, flags];
    bytes.extend((4 + value.len() as u16).to_be_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn announcing(kind: u8, tag: u32) -> Vec<u8> {
    let mut value = tag.to_be_bytes().to_vec();
    value.resize(16, 1);
    chunk(kind, 0, &value)
}

fn bytes(reply: bool, tag: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut message = if reply {
        vec![0, 80, 4, 0]
    } else {
        vec![4, 0, 0, 80]
    };
    message.extend(tag.to_be_bytes());
    message.extend([0; 4]);
    message.extend(chunks.concat());
    let crc = crc32c_of_sctp(&message).unwrap();
    message[8..12].copy_from_slice(&crc.to_le_bytes());
    ip(IPV4, number::SCTP, reply, &message, None)
}

struct Talk(Flow);

impl Talk {
    /// Tags: 7 for what the client receives, 9 for the server.
    fn established() -> Self {
        let mut talk = Self(Flow::default());
        let seen = talk.client(0, &[announcing(chunk::INIT, 7)]);
        assert_eq!((seen, talk.state()), (Seen::Timeout(10), "CLOSED"));
        let seen = talk.server(7, &[announcing(chunk::INIT_ACK, 9)]);
        assert_eq!((seen, talk.state()), (Seen::Timeout(3), "COOKIE_WAIT"));
        let cookie = [
            chunk(chunk::COOKIE_ECHO, 0, b"abc"),
            chunk(chunk::DATA, 3, b"x"),
        ];
        let seen = talk.client(9, &cookie);
        assert_eq!((seen, talk.state()), (Seen::Timeout(3), "COOKIE_ECHOED"));
        let seen = talk.server(7, &[chunk(chunk::COOKIE_ACK, 0, &[])]);
        assert_eq!((seen, talk.state()), (Seen::Timeout(210), "ESTABLISHED"));
        assert!(talk.0.assured());
        talk
    }

    fn client(&mut self, tag: u32, chunks: &[Vec<u8>]) -> Seen {
        self.0.show(&bytes(false, tag, chunks), false)
    }

    fn server(&mut self, tag: u32, chunks: &[Vec<u8>]) -> Seen {
        self.0.show(&bytes(true, tag, chunks), true)
    }

    fn state(&self) -> &'static str {
        self.0.state(number::SCTP)
    }
}

const TAG: Seen = Seen::Invalid(InvalidReason::SctpTag);
const CHUNK: Seen = Seen::Invalid(InvalidReason::SctpChunk);
const STATE: Seen = Seen::Invalid(InvalidReason::SctpState);

fn data() -> Vec<u8> {
    chunk(chunk::DATA, 3, b"data")
}

#[test]
fn an_association_from_its_init_to_its_shutdown() {
    let mut talk = Talk::established();
    assert_eq!(talk.client(9, &[data()]), Seen::Timeout(210));
    assert_eq!(
        talk.client(9, &[chunk(chunk::SHUTDOWN, 0, &[0; 4])]),
        Seen::Timeout(3)
    );
    assert_eq!(talk.state(), "SHUTDOWN_SENT");
    assert_eq!(
        talk.server(7, &[chunk(chunk::SHUTDOWN_ACK, 0, &[])]),
        Seen::Timeout(3)
    );
    assert_eq!(talk.state(), "SHUTDOWN_ACK_SENT");
    let complete = chunk(chunk::SHUTDOWN_COMPLETE, 0, &[]);
    assert_eq!(talk.client(9, &[complete]), Seen::Timeout(10));
    assert_eq!(talk.state(), "CLOSED");
    let mut talk = Talk::established();
    talk.server(7, &[chunk(chunk::SHUTDOWN, 0, &[0; 4])]);
    assert_eq!(talk.state(), "SHUTDOWN_RECD");
}

#[test]
fn tags_must_be_those_that_were_announced() {
    let mut talk = Talk::established();
    assert_eq!(talk.client(7, &[data()]), TAG);
    assert_eq!(talk.server(9, &[data()]), TAG);
    assert_eq!(talk.client(1, &[announcing(chunk::INIT, 3)]), TAG);
    // ABORT: the receiver's tag, or with T the sender's own.
    assert_eq!(talk.client(7, &[chunk(chunk::ABORT, 0, &[])]), TAG);
    assert_eq!(talk.client(9, &[chunk(chunk::ABORT, 1, &[])]), TAG);
    let mut other = Talk(talk.0.clone());
    assert_eq!(
        talk.client(9, &[chunk(chunk::ABORT, 0, &[])]),
        Seen::Timeout(10)
    );
    assert_eq!(
        other.client(7, &[chunk(chunk::ABORT, 1, &[])]),
        Seen::Timeout(10)
    );
}

#[test]
fn what_cannot_begin_an_association() {
    for (kind, reason) in [
        (chunk::ABORT, STATE),
        (chunk::SHUTDOWN_COMPLETE, STATE),
        (chunk::COOKIE_ACK, STATE),
        (chunk::DATA, STATE),
    ] {
        let mut talk = Talk(Flow::default());
        assert_eq!(
            talk.client(5, &[chunk(kind, 0, &[0; 12])]),
            reason,
            "{kind}"
        );
    }
    let mut talk = Talk(Flow::default());
    assert_eq!(talk.client(5, &[announcing(chunk::INIT, 7)]), TAG);
    assert_eq!(talk.client(0, &[chunk(chunk::INIT, 0, &[0; 8])]), CHUNK);
}

#[test]
fn bundles_that_are_forbidden() {
    let mut talk = Talk(Flow::default());
    let init = announcing(chunk::INIT, 7);
    assert_eq!(talk.client(0, &[announcing(chunk::INIT, 7), data()]), CHUNK);
    assert_eq!(talk.client(0, &[data(), init]), CHUNK);
    assert_eq!(talk.client(0, &[]), CHUNK);
    assert_eq!(talk.client(0, &[vec![0, 0, 0, 0]]), CHUNK);
    let mut talk = Talk::established();
    let cookie = chunk(chunk::COOKIE_ECHO, 0, b"abc");
    assert_eq!(talk.client(9, &[data(), cookie]), CHUNK);
}

#[test]
fn a_heartbeat_on_another_path_becomes_an_association_when_it_is_answered() {
    let mut talk = Talk(Flow::default());
    let (ask, answer) = (
        chunk(chunk::HEARTBEAT, 0, &[1; 8]),
        chunk(chunk::HEARTBEAT_ACK, 0, &[1; 8]),
    );
    assert_eq!(
        talk.client(9, std::slice::from_ref(&ask)),
        Seen::Timeout(30)
    );
    assert_eq!(talk.state(), "HEARTBEAT_SENT");
    assert_eq!(
        talk.server(7, std::slice::from_ref(&answer)),
        Seen::Timeout(210)
    );
    assert_eq!(talk.state(), "ESTABLISHED");
    assert_eq!(talk.client(9, &[data()]), Seen::Timeout(210));
    // Other tags: let through once asked, believed once answered.
    assert_eq!(talk.client(19, &[ask]), Seen::Ignored);
    assert_eq!(talk.server(17, &[answer]), Seen::Timeout(210));
    assert_eq!(talk.server(17, &[data()]), Seen::Timeout(210));
}

#[test]
fn an_init_sent_again_keeps_nothing_alive() {
    let mut talk = Talk(Flow::default());
    talk.client(0, &[announcing(chunk::INIT, 7)]);
    assert_eq!(talk.client(0, &[announcing(chunk::INIT, 7)]), Seen::Ignored);
}

#[test]
fn another_answer_is_believed_only_after_another_init() {
    let init_ack = |tag| [announcing(chunk::INIT_ACK, tag)];
    // Until both sides have their cookie the first INIT may be answered again.
    let mut talk = Talk(Flow::default());
    talk.client(0, &[announcing(chunk::INIT, 7)]);
    assert_eq!(talk.server(7, &init_ack(9)), Seen::Timeout(3));
    assert_eq!(talk.server(7, &init_ack(11)), Seen::Timeout(3));
    let mut talk = Talk::established();
    assert_eq!(talk.server(7, &init_ack(11)), TAG);
    // The same INIT again is no reason, one that announces something else is.
    talk.client(0, &[announcing(chunk::INIT, 7)]);
    assert_eq!(talk.server(7, &init_ack(11)), TAG);
    talk.client(0, &[announcing(chunk::INIT, 5)]);
    assert_eq!(talk.server(5, &init_ack(11)), Seen::Timeout(210));
    assert_eq!(talk.client(11, &[data()]), Seen::Timeout(210));
}

#[test]
fn chunks_that_were_believed_count_whatever_stands_behind_them() {
    for (behind, seen) in [
        (chunk(chunk::HEARTBEAT, 0, &[1; 4]), Seen::Ignored),
        (chunk(chunk::ABORT, 0, &[]), TAG),
    ] {
        let mut talk = Talk(Flow::default());
        talk.client(0, &[announcing(chunk::INIT, 7)]);
        talk.server(7, &[announcing(chunk::INIT_ACK, 9)]);
        talk.client(9, &[chunk(chunk::COOKIE_ECHO, 0, b"abc")]);
        let cookie = chunk(chunk::COOKIE_ACK, 0, &[]);
        assert_eq!(talk.server(11, &[cookie, behind]), seen);
        assert_eq!(talk.state(), "ESTABLISHED");
        assert!(talk.0.assured());
    }
}

#[test]
fn out_of_the_blue_only_a_shutdown_says_which_tag_its_answer_has() {
    let mut talk = Talk(Flow::default());
    let ack = chunk(chunk::HEARTBEAT_ACK, 0, &[1; 4]);
    assert_eq!(talk.client(9, &[ack]), Seen::Timeout(10));
    assert_eq!(talk.server(9, &[data()]), TAG);
    let mut talk = Talk(Flow::default());
    let shutdown = chunk(chunk::SHUTDOWN_ACK, 0, &[]);
    assert_eq!(talk.client(9, &[shutdown]), Seen::Timeout(3));
    assert_eq!(talk.server(9, &[data()]), Seen::Timeout(3));
    // An INIT is no answer to a heartbeat.
    let mut talk = Talk(Flow::default());
    talk.client(9, &[chunk(chunk::HEARTBEAT, 0, &[1; 4])]);
    assert_eq!(talk.server(0, &[announcing(chunk::INIT, 7)]), STATE);
}

#[test]
fn a_wrong_crc_is_invalid() {
    let mut packet = bytes(false, 0, &[announcing(chunk::INIT, 7)]);
    packet[20 + 8] ^= 1;
    let bad = Seen::Invalid(InvalidReason::ChecksumBad);
    assert_eq!(Flow::default().show(&packet, false), bad);
}

proptest::proptest! {
    #[test]
    fn any_chunks_are_read_without_a_panic(
        packets in proptest::collection::vec(
            (proptest::bool::ANY, 0u32..4, proptest::collection::vec(proptest::num::u8::ANY, 0..80)), 1..12),
    ) {
        let mut talk = Talk(Flow::default());
        for (reply, tag, chunks) in packets {
            let reply = reply && talk.0.alive.is_some();
            talk.0.show(&bytes(reply, tag, &[chunks]), reply);
            proptest::prop_assert!(talk.state() != "NONE");
        }
    }
}
