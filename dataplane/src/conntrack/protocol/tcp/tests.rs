use proptest::prelude::*;

use super::super::super::tuple::IPV4;
use super::super::number;
use super::super::testing::{Flow, Seen, ip};
use super::bits::*;
use super::*;
use crate::conntrack::protocol;

/// A segment under construction.
#[derive(Clone)]
struct Seg {
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: Vec<u8>,
    len: usize,
}

fn seg(flags: u8, seq: u32, ack: u32) -> Seg {
    Seg {
        flags,
        seq,
        ack,
        window: 1000,
        options: Vec::new(),
        len: 0,
    }
}

impl Seg {
    fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    fn options(self, options: &[u8]) -> Self {
        let options = options.to_vec();
        Self { options, ..self }
    }

    fn data(self, len: usize) -> Self {
        Self { len, ..self }
    }

    fn bytes(&self, reply: bool) -> Vec<u8> {
        let padded = self.options.len().next_multiple_of(4);
        let mut message = if reply {
            vec![0, 80, 4, 0]
        } else {
            vec![4, 0, 0, 80]
        };
        message.extend(self.seq.to_be_bytes());
        message.extend(self.ack.to_be_bytes());
        message.extend([((20 + padded) * 4) as u8, self.flags]);
        message.extend(self.window.to_be_bytes());
        message.extend([0; 4]);
        message.extend(&self.options);
        message.resize(20 + padded + self.len, 0);
        ip(IPV4, number::TCP, reply, &message, Some(16))
    }
}

struct Talk(Flow);

impl Talk {
    fn new() -> Self {
        Self(Flow::default())
    }

    /// 100 and 500 are the first numbers; both windows are 1000, unscaled.
    fn established() -> Self {
        let mut talk = Self::new();
        assert_eq!(talk.client(seg(SYN, 100, 0)), Seen::Timeout(120));
        assert_eq!(talk.server(seg(SYN | ACK, 500, 101)), Seen::Timeout(60));
        assert_eq!(talk.client(seg(ACK, 101, 501)), Seen::Timeout(432_000));
        assert!(talk.0.assured());
        talk
    }

    fn client(&mut self, segment: Seg) -> Seen {
        self.0.show(&segment.bytes(false), false)
    }

    fn server(&mut self, segment: Seg) -> Seen {
        self.0.show(&segment.bytes(true), true)
    }

    fn state(&self) -> &'static str {
        self.0.state(number::TCP)
    }

    fn connection(&self) -> Connection {
        Connection::unpack(&self.0.alive.expect("it lives").state)
    }
}

const OUTSIDE: Seen = Seen::Invalid(InvalidReason::TcpWindow);

#[test]
fn a_handshake_data_and_both_fins() {
    let mut talk = Talk::established();
    assert_eq!(talk.state(), "ESTABLISHED");
    // Data that is not acknowledged shortens the wait, its acknowledgement lengthens it again.
    let data = seg(ACK | PSH, 101, 501).data(100);
    assert_eq!(talk.client(data), Seen::Timeout(300));
    assert_eq!(talk.server(seg(ACK, 501, 201)), Seen::Timeout(432_000));
    assert_eq!(talk.client(seg(FIN | ACK, 201, 501)), Seen::Timeout(120));
    assert_eq!(talk.state(), "FIN_WAIT");
    assert_eq!(talk.server(seg(ACK, 501, 202)), Seen::Timeout(60));
    assert_eq!(talk.state(), "CLOSE_WAIT");
    assert_eq!(talk.server(seg(FIN | ACK, 501, 202)), Seen::Timeout(30));
    assert_eq!(talk.state(), "LAST_ACK");
    assert_eq!(talk.client(seg(ACK, 202, 502)), Seen::Timeout(120));
    assert_eq!(talk.state(), "TIME_WAIT");
    assert!(protocol::is_closing(
        number::TCP,
        &talk.0.alive.unwrap().state
    ));
}

#[test]
fn one_octet_outside_of_the_window_each_way() {
    // The client may send up to 101 + 1000: its segment may begin there, not one octet further.
    let mut talk = Talk::established();
    assert_eq!(talk.client(seg(ACK, 1101, 501)), Seen::Timeout(300));
    let mut talk = Talk::established();
    assert_eq!(talk.client(seg(ACK, 1102, 501).data(2000)), OUTSIDE);
    // It may acknowledge what was sent, and not one octet more.
    let mut talk = Talk::established();
    assert_eq!(talk.client(seg(ACK, 101, 502)), OUTSIDE);
    // The same of the server's side.
    let mut talk = Talk::established();
    assert_eq!(talk.server(seg(ACK, 1501, 101)), Seen::Timeout(300));
    let mut talk = Talk::established();
    assert_eq!(talk.server(seg(ACK, 1502, 101).data(2000)), OUTSIDE);
    let mut talk = Talk::established();
    assert_eq!(talk.server(seg(ACK, 501, 102)), OUTSIDE);
    // What was acknowledged long ago is repeated: let through, and nothing changes.
    let mut talk = Talk::established();
    let before = talk.connection();
    let least = 101u32.wrapping_sub(1000);
    assert_eq!(
        talk.client(seg(ACK, least.wrapping_sub(1), 501)),
        Seen::Ignored
    );
    assert_eq!(talk.connection(), before);
    assert_ne!(talk.client(seg(ACK, least, 501)), Seen::Ignored);
    // An acknowledgement 66,000 octets old is still looked at, one that is older is not.
    let mut talk = Talk::established();
    let oldest = 501u32.wrapping_sub(66_000);
    assert_eq!(
        talk.client(seg(ACK, 101, oldest.wrapping_sub(1))),
        Seen::Ignored
    );
    assert_eq!(talk.client(seg(ACK, 101, oldest)), Seen::Timeout(432_000));
}

#[test]
fn windows_are_scaled_only_if_both_sides_offer_it() {
    let open = |client: &[u8], server: &[u8]| {
        let mut talk = Talk::new();
        talk.client(seg(SYN, 100, 0).options(client));
        talk.server(seg(SYN | ACK, 500, 101).options(server));
        talk.client(seg(ACK, 101, 501));
        talk
    };
    let scaled = [3, 3, 4];
    let mut talk = open(&scaled, &[3, 3, 7]);
    assert_eq!(talk.connection().sides.map(|side| side.scale), [4, 7]);
    // The client's ACK opened 1000 << 4.
    assert_eq!(talk.server(seg(ACK, 501 + 16_000, 101)), Seen::Timeout(300));
    let mut talk = open(&scaled, &[3, 3, 7]);
    assert_eq!(
        talk.server(seg(ACK, 502 + 16_000, 101).data(20_000)),
        OUTSIDE
    );
    for (client, server) in [(&scaled[..], &[][..]), (&[], &scaled)] {
        let mut talk = open(client, server);
        assert_eq!(talk.connection().sides.map(|side| side.scale), [0, 0]);
        assert_eq!(talk.server(seg(ACK, 502 + 1000, 101).data(2000)), OUTSIDE);
    }
}

#[test]
fn a_sack_block_moves_the_window_as_far_as_it_reaches() {
    let mut talk = Talk::new();
    let permitted = [4, 2, 1, 1];
    talk.client(seg(SYN, 100, 0).options(&permitted));
    talk.server(seg(SYN | ACK, 500, 101).options(&permitted).window(60_000));
    talk.client(seg(ACK, 101, 501).window(60_000));
    // 101..201 is lost, 201..301 arrives.
    talk.client(seg(ACK, 201, 501).data(100));
    let block = |end: u32| {
        let mut option = vec![1, 1, 5, 10];
        option.extend(201u32.to_be_bytes());
        option.extend(end.to_be_bytes());
        option
    };
    assert_eq!(
        talk.server(seg(ACK, 501, 101).options(&block(302))),
        OUTSIDE
    );
    let answer = seg(ACK, 501, 101).options(&block(301)).window(60_000);
    assert_ne!(talk.server(answer), OUTSIDE);
    assert_eq!(talk.connection().sides[0].max_end, 60_301);
}

#[test]
fn flags_and_lengths_that_no_host_sends() {
    let good = [
        SYN,
        SYN | ACK,
        SYN | URG,
        SYN | ECE | CWR,
        RST,
        RST | ACK,
        FIN | ACK,
        FIN | ACK | URG | PSH,
        ACK,
        ACK | URG,
    ];
    for flags in 0..=255u8 {
        let bytes = seg(flags, 1, 1).bytes(false);
        let packet = super::super::testing::packet(&bytes, false);
        let plain = flags & !(PSH | ECE | CWR);
        let known = good.iter().any(|good| good & !(PSH | ECE | CWR) == plain);
        assert_eq!(check_flags(&packet).is_ok(), known, "{flags:#x}");
    }
    let mut talk = Talk::new();
    let all = Seen::Invalid(InvalidReason::TcpFlags);
    assert_eq!(talk.client(seg(SYN | FIN, 1, 0)), all);
    let mut bytes = seg(SYN, 1, 0).bytes(false);
    bytes[20 + 12] = 0x40;
    let length = Seen::Invalid(InvalidReason::LengthBad);
    assert_eq!(talk.0.show(&bytes, false), length);
    bytes[20 + 12] = 0x60;
    assert_eq!(talk.0.show(&bytes, false), length);
    let short = Seen::Invalid(InvalidReason::HeaderShort);
    assert_eq!(talk.0.show(&bytes[..39], false), short);
}

#[test]
fn a_wrong_checksum_is_invalid_unless_nobody_asks() {
    let mut bytes = seg(SYN, 1, 0).bytes(false);
    bytes[20 + 17] ^= 1;
    let mut talk = Talk::new();
    let bad = Seen::Invalid(InvalidReason::ChecksumBad);
    assert_eq!(talk.0.show(&bytes, false), bad);
    let mut packet = super::super::testing::packet(&bytes, false);
    packet.sum = protocol::Sum::Partial;
    assert_eq!(protocol::check(&packet, &Rules::default()), Ok(()));
    talk.0.rules.checksum = false;
    assert_eq!(talk.0.show(&bytes, false), Seen::Timeout(120));
}

#[test]
fn simultaneous_open() {
    let mut talk = Talk::new();
    talk.client(seg(SYN, 100, 0));
    assert_eq!(talk.server(seg(SYN, 500, 0)), Seen::Ignored);
    assert_eq!(talk.state(), "SYN_SENT2");
    assert_eq!(talk.client(seg(SYN | ACK, 100, 501)), Seen::Timeout(60));
    assert_eq!(talk.state(), "SYN_RECV");
    assert_eq!(talk.server(seg(SYN | ACK, 500, 101)), Seen::Ignored);
    assert_eq!(talk.server(seg(ACK, 501, 101)), Seen::Timeout(432_000));
    assert_eq!(talk.state(), "ESTABLISHED");
    // In an ordinary handshake the server's ACK alone does not establish.
    let mut talk = Talk::new();
    talk.client(seg(SYN, 100, 0));
    talk.server(seg(SYN | ACK, 500, 101));
    assert_eq!(talk.server(seg(ACK, 501, 101)), Seen::Timeout(60));
    assert_eq!(talk.state(), "SYN_RECV");
}

#[test]
fn resets() {
    let rst = Seen::Invalid(InvalidReason::TcpRst);
    // Exactly the next number: closes.
    let mut talk = Talk::established();
    assert_eq!(talk.server(seg(RST, 501, 0)), Seen::Timeout(10));
    assert_eq!(talk.state(), "CLOSE");
    // One before what was acknowledged: invalid.
    let mut talk = Talk::established();
    assert_eq!(talk.server(seg(RST, 500, 0)), rst);
    assert_eq!(talk.state(), "ESTABLISHED");
    talk.0.rules.ignore_invalid_rst = true;
    assert_eq!(talk.server(seg(RST, 500, 0)), Seen::Timeout(10));
    // Somewhere in the window: the receiver asks back, so it stays open, for 10 s unless it answers.
    let mut talk = Talk::established();
    assert_eq!(talk.server(seg(RST, 600, 0)), Seen::Timeout(10));
    assert_eq!(talk.state(), "ESTABLISHED");
    assert_eq!(talk.client(seg(ACK, 101, 501)), Seen::Timeout(300));
    assert_eq!(talk.server(seg(RST, 501, 0)), Seen::Timeout(10));
    assert_eq!(talk.state(), "CLOSE");
    // Beyond the window.
    let mut talk = Talk::established();
    assert_eq!(talk.server(seg(RST, 3000, 0)), OUTSIDE);
    // Right behind data that has not been acknowledged.
    let mut talk = Talk::established();
    talk.server(seg(ACK | PSH, 501, 101).data(19));
    assert_eq!(talk.server(seg(RST, 520, 0)), Seen::Timeout(10));
    assert_eq!(talk.state(), "CLOSE");
}

#[test]
fn a_refused_connection_is_forgotten_at_once() {
    let mut talk = Talk::new();
    talk.client(seg(SYN, 100, 0));
    assert_eq!(talk.server(seg(RST | ACK, 0, 101)), Seen::Destroyed);
    assert_eq!(talk.state(), "");
    // A reset for something else is not believed.
    let mut talk = Talk::new();
    talk.client(seg(SYN, 100, 0));
    assert_eq!(talk.server(seg(RST | ACK, 0, 103)), OUTSIDE);
}

#[test]
fn ports_used_again() {
    let mut talk = Talk::established();
    talk.client(seg(FIN | ACK, 101, 501));
    talk.server(seg(FIN | ACK, 501, 102));
    talk.client(seg(ACK, 102, 502));
    assert_eq!(talk.state(), "TIME_WAIT");
    assert_eq!(talk.client(seg(SYN, 90_000, 0)), Seen::Timeout(120));
    assert_eq!((talk.state(), talk.0.assured()), ("SYN_SENT", false));
    // After a reset only its sender may use them again at once.
    let reset = || {
        let mut talk = Talk::established();
        talk.client(seg(RST, 101, 0));
        assert_eq!(talk.state(), "CLOSE");
        talk
    };
    let mut talk = reset();
    assert_eq!(talk.client(seg(SYN, 90_000, 0)), Seen::Timeout(120));
    let mut talk = Talk::established();
    talk.server(seg(RST, 501, 0));
    assert_eq!(talk.client(seg(SYN, 90_000, 0)), Seen::Ignored);
    assert_eq!(talk.state(), "CLOSE");
    // But when it is answered, it is believed.
    assert_eq!(talk.server(seg(SYN | ACK, 7000, 90_001)), Seen::Timeout(60));
    assert_eq!(talk.state(), "SYN_RECV");
    assert_eq!(talk.client(seg(ACK, 90_001, 7001)), Seen::Timeout(432_000));
}

#[test]
fn a_syn_on_a_living_connection_is_believed_when_it_is_answered() {
    let mut talk = Talk::established();
    let syn = seg(SYN, 70_000, 0).options(&[3, 3, 2, 0]).window(4000);
    assert_eq!(talk.client(syn), Seen::Ignored);
    assert_eq!(talk.state(), "ESTABLISHED");
    let answer = seg(SYN | ACK, 9000, 70_001).options(&[3, 3, 5, 0]);
    assert_eq!(talk.server(answer), Seen::Timeout(60));
    assert_eq!(talk.state(), "SYN_RECV");
    let connection = talk.connection();
    assert_eq!(connection.sides.map(|side| side.scale), [2, 5]);
    assert_eq!(connection.sides[0].max_window, 4000);
    // One that answers something else is let through, and not believed.
    let mut talk = Talk::established();
    talk.client(seg(SYN, 70_000, 0));
    assert_eq!(talk.server(seg(SYN | ACK, 9000, 70_002)), Seen::Ignored);
    assert_eq!(talk.state(), "ESTABLISHED");
    // A reset that answers it closes, wherever it lies.
    let mut talk = Talk::established();
    talk.client(seg(SYN, 70_000, 0));
    assert_eq!(
        talk.server(seg(RST | ACK, 0xf000_0000, 70_001)),
        Seen::Timeout(10)
    );
    assert_eq!(talk.state(), "CLOSE");
    // On a closing connection any reset closes.
    assert_eq!(talk.server(seg(RST, 0x9000_0000, 0)), Seen::Timeout(10));
}

#[test]
fn a_reset_by_the_sender_of_a_syn_is_no_answer_to_it() {
    let mut talk = Talk::new();
    talk.client(seg(SYN, 100, 0));
    // Too old to be believed, but an answer.
    let answer = seg(RST | ACK, 501, 101u32.wrapping_sub(70_000));
    assert_eq!(talk.server(answer), Seen::Ignored);
    assert_eq!(talk.client(seg(RST, 70_000, 0)), OUTSIDE);
    assert_eq!(talk.state(), "SYN_SENT");
    assert_eq!(talk.server(seg(RST, 70_000, 0)), Seen::Timeout(10));
    assert_eq!(talk.state(), "CLOSE");
}

#[test]
fn what_was_agreed_holds_until_a_syn_with_options() {
    let mut talk = Talk::new();
    talk.client(seg(SYN, 100, 0).options(&[3, 3, 4, 0]));
    talk.client(seg(SYN, 200, 0));
    assert_eq!(talk.connection().sides[0].scale, 4);
    talk.client(seg(SYN, 300, 0).options(&[1, 1, 1, 1]));
    assert_eq!(talk.connection().sides[0].scale, 0);
    // Picked up, then begun anew: the server's windows are still not judged.
    let mut talk = Talk::new();
    talk.client(seg(ACK, 1000, 2000));
    talk.client(seg(SYN, 5000, 0));
    talk.server(seg(SYN | ACK, 7000, 5001));
    assert_eq!(talk.state(), "SYN_RECV");
    let liberal = |side: Side| side.has(flag::LIBERAL);
    assert_eq!(talk.connection().sides.map(liberal), [false, true]);
}

#[test]
fn a_challenge_in_last_ack_is_not_the_last_ack() {
    let mut talk = Talk::established();
    talk.client(seg(FIN | ACK, 101, 501));
    talk.server(seg(FIN | ACK, 501, 102));
    assert_eq!(talk.state(), "LAST_ACK");
    assert_eq!(talk.client(seg(SYN, 90_000, 0)), Seen::Ignored);
    assert_eq!(talk.server(seg(ACK, 502, 102)), Seen::Ignored);
    assert_eq!(talk.state(), "LAST_ACK");
    assert_eq!(talk.server(seg(ACK, 502, 102)), Seen::Timeout(120));
    assert_eq!(talk.state(), "TIME_WAIT");
}

#[test]
fn mid_stream() {
    let mut talk = Talk::new();
    // Not longer than 300 s until the other side answers; windows are not judged.
    assert_eq!(
        talk.client(seg(ACK, 1000, 2000).data(10)),
        Seen::Timeout(300)
    );
    assert!(!talk.0.assured());
    assert_eq!(talk.server(seg(ACK, 2000, 1010)), Seen::Timeout(300));
    assert_eq!(talk.client(seg(ACK, 900_000, 2000)), Seen::Timeout(432_000));
    assert!(talk.0.assured());
    let mut talk = Talk::new();
    talk.0.rules.loose = false;
    let not_syn = Seen::Invalid(InvalidReason::TcpNotSyn);
    assert_eq!(talk.client(seg(ACK, 1000, 2000)), not_syn);
    talk.0.rules.loose = true;
    for flags in [SYN | ACK, FIN | ACK, RST, RST | ACK] {
        assert_eq!(talk.client(seg(flags, 1000, 2000)), not_syn, "{flags:#x}");
    }
}

#[test]
fn retransmissions_shorten_the_wait() {
    let mut talk = Talk::established();
    talk.server(seg(ACK, 501, 101));
    let again = seg(ACK, 101, 501);
    assert_eq!(talk.client(again.clone()), Seen::Timeout(432_000));
    assert_eq!(talk.client(again.clone()), Seen::Timeout(432_000));
    assert_eq!(talk.client(again.clone()), Seen::Timeout(432_000));
    assert_eq!(talk.client(again.clone()), Seen::Timeout(300));
    assert_eq!(talk.client(again.window(999)), Seen::Timeout(432_000));
    // A closed window, too.
    assert_eq!(
        talk.client(seg(ACK, 101, 501).window(0)),
        Seen::Timeout(300)
    );
    // A SYN that is sent again keeps nothing alive.
    let mut talk = Talk::new();
    talk.client(seg(SYN, 100, 0));
    assert_eq!(talk.client(seg(SYN, 100, 0)), Seen::Ignored);
}

#[test]
fn liberal_lets_windows_pass_but_not_resets_of_the_past() {
    let mut talk = Talk::established();
    talk.0.rules.liberal = true;
    assert_eq!(talk.client(seg(ACK, 900_000, 501)), Seen::Timeout(432_000));
    let rst = Seen::Invalid(InvalidReason::TcpRst);
    assert_eq!(talk.server(seg(RST, 500, 0)), rst);
}

#[test]
fn when_both_close_outside_of_the_window_the_flow_does_not_stay_for_days() {
    let mut talk = Talk::established();
    let left = |talk: &Talk| (talk.0.alive.unwrap().expires_ns - talk.0.now_ns) / 1_000_000_000;
    assert_eq!(talk.client(seg(FIN | ACK, 5000, 501).data(2000)), OUTSIDE);
    assert_eq!(left(&talk), 432_000);
    assert_eq!(talk.server(seg(FIN | ACK, 9000, 101).data(2000)), OUTSIDE);
    assert_eq!(left(&talk), 300);
}

#[test]
fn a_super_frame_counts_with_all_of_its_payload() {
    let mut talk = Talk::new();
    let options = [3, 3, 9, 0];
    talk.client(seg(SYN, 100, 0).options(&options));
    talk.server(seg(SYN | ACK, 500, 101).options(&options));
    talk.client(seg(ACK, 101, 501));
    talk.server(seg(ACK, 501, 101));
    talk.client(seg(ACK, 101, 501).data(65_000));
    assert_eq!(talk.connection().sides[0].end, 65_101);
    assert_eq!(talk.server(seg(ACK, 501, 65_101)), Seen::Timeout(432_000));
}

fn side() -> impl Strategy<Value = Side> {
    (any::<[u32; 4]>(), 0u8..15, 0u8..64).prop_map(|(numbers, scale, flags)| Side {
        end: numbers[0],
        max_end: numbers[1],
        max_window: numbers[2],
        max_ack: numbers[3],
        scale,
        flags,
    })
}

const STATES: [State; 10] = [
    State::None,
    State::SynSent,
    State::SynRecv,
    State::Established,
    State::FinWait,
    State::CloseWait,
    State::LastAck,
    State::TimeWait,
    State::Close,
    State::SynSent2,
];

proptest! {
    #[test]
    fn packing_loses_nothing(
        state in 0usize..10, simultaneous: bool, first in side(), second in side(),
        numbers: (u32, u32, u16, u16, u16), kind in 0u64..6, reply: bool, retransmissions in 0u8..16,
    ) {
        let kind = Kind::from_bits(kind);
        let state = STATES[state];
        let noted = kind == Kind::Syn;
        let connection = Connection {
            state,
            simultaneous: simultaneous && state == State::SynRecv || state == State::SynSent2,
            sides: [first, second],
            last: state::Last {
                end: numbers.0,
                ack: numbers.1,
                window: numbers.2,
                len: if noted { 0 } else { numbers.3 },
                note: if noted { numbers.4 & 0x1ff } else { 0 },
                kind,
                reply,
                retransmissions,
            },
        };
        prop_assert_eq!(Connection::unpack(&connection.pack()), connection);
    }

    /// Whatever comes, nothing panics, an invalid packet leaves the state as it was, and the
    /// state is one that conntrack(8) has a name for.
    #[test]
    fn random_talk(
        segments in proptest::collection::vec(
            (any::<bool>(), any::<u8>(), 0u32..3000, 0u32..3000, any::<u16>(), 0usize..50), 1..40),
        loose: bool, liberal: bool,
    ) {
        let mut talk = Talk::new();
        talk.0.rules.loose = loose;
        talk.0.rules.liberal = liberal;
        for (reply, flags, seq, ack, window, len) in segments {
            let before = talk.0.alive.map(|flow| Connection::unpack(&flow.state));
            let reply = reply && before.is_some();
            let segment = seg(flags & 0x3f, seq, ack).window(window).data(len);
            let seen = if reply { talk.server(segment) } else { talk.client(segment) };
            let after = talk.0.alive.map(|flow| Connection::unpack(&flow.state));
            if let (Seen::Invalid(_), Some(before), Some(after)) = (seen, before, after) {
                prop_assert_eq!(before.state, after.state);
            }
            prop_assert!(talk.0.alive.is_none() || talk.state() != "NONE");
        }
    }
}
