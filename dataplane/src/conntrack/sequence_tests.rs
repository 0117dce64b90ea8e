//! Adjusted segments against full arithmetic, and conversations through a box that changes payloads.

use proptest::prelude::*;

use super::*;
use crate::conntrack::protocol::testing::ip;
use crate::conntrack::testing::{Ends, Stand, settings, tcp};
use crate::conntrack::tuple::{IPV4, IPV6};
use crate::conntrack::{CtState, PacketCt, Tracker};
use crate::packet::checksum::pseudo_header;
use crate::packet::headers::protocol;

const ETHERNET: usize = 14;

/// An Ethernet frame with a TCP segment whose checksum is right.
fn frame(ip6: bool, seq: u32, ack: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut message = vec![4, 0, 0, 80];
    message.extend(seq.to_be_bytes());
    message.extend(ack.to_be_bytes());
    message.extend([
        ((OPTIONS + options.len()) * 4) as u8,
        flags,
        4,
        0,
        0,
        0,
        0,
        0,
    ]);
    message.extend(options);
    message.extend(payload);
    let mut frame = vec![2; 12];
    let (kind, l3) = if ip6 {
        ([0x86, 0xdd], IPV6)
    } else {
        ([8, 0], IPV4)
    };
    frame.extend(kind);
    frame.extend(ip(l3, protocol::TCP, false, &message, Some(CHECKSUM)));
    frame
}

/// The transport's checksum over everything, as a receiver verifies it.
fn is_right(frame: &[u8], headers: &Headers) -> bool {
    let network = usize::from(headers.network);
    let addresses = if frame[network] >> 4 == 6 {
        &frame[network + 8..network + 40]
    } else {
        &frame[network + 12..network + 20]
    };
    let transport = &frame[usize::from(headers.transport)..headers.end as usize];
    let pseudo = pseudo_header(addresses, protocol::TCP, transport.len() as u32);
    fold(pseudo + sum(transport)) == 0xffff
}

fn number(frame: &[u8], headers: &Headers, at: usize) -> u32 {
    let at = usize::from(headers.transport) + at;
    u32::from_be_bytes(frame[at..at + 4].try_into().expect("four bytes"))
}

fn offsets() -> impl Strategy<Value = Offsets> {
    (any::<u32>(), -5000i32..5000, -5000i32..5000).prop_map(|(at, before, behind)| Offsets {
        at,
        before,
        behind,
    })
}

/// A number of the sender at `step` from the position, and its offset. What was cut out behind the
/// position is left out: no segment begins there.
fn near(offsets: Offsets, step: i32) -> (u32, i32) {
    if step <= 0 {
        return (offsets.at.wrapping_add_signed(step), offsets.before);
    }
    let cut = (offsets.before - offsets.behind).max(0);
    (offsets.at.wrapping_add_signed(step + cut), offsets.behind)
}

#[test]
fn a_later_change_replaces_an_earlier_one_and_a_repetition_nothing() {
    let first = Offsets::NONE.with_change(1000, 7);
    let change = |at, before, behind| Offsets { at, before, behind };
    assert_eq!(first, change(1000, 0, 7));
    assert_eq!(first.with_change(1000, 7), first);
    assert_eq!(first.with_change(900, 7), first);
    assert_eq!(first.with_change(1001, 0), first);
    let second = first.with_change(1050, -9);
    assert_eq!(second, change(1050, 7, -2));
    // The numbers come round.
    let high = Offsets::NONE.with_change(u32::MAX - 10, 3);
    assert_eq!(high.with_change(5, 4), change(5, 3, 7));
    assert_eq!(
        change(5, 3, 7).with_change(u32::MAX - 10, 3),
        change(5, 3, 7)
    );
    // Where both are the same, there is no change that could be repeated.
    let shifted = Offsets::constant(100).with_change(0x9000_0000, 1);
    assert_eq!(shifted, change(0x9000_0000, 100, 101));
}

#[test]
fn numbers_at_the_position_are_those_before_the_change() {
    let offsets = Offsets {
        at: 1000,
        before: 5,
        behind: 12,
    };
    assert_eq!(offsets.forward(1000), 1005);
    assert_eq!(offsets.forward(1001), 1013);
    assert_eq!(offsets.back(1005), 1000);
    assert_eq!(offsets.back(1013), 1001);
    let high = Offsets {
        at: u32::MAX,
        ..offsets
    };
    assert_eq!(high.forward(u32::MAX), 4);
    assert_eq!(high.forward(0), 12);
    assert_eq!(high.back(12), 0);
}

#[test]
fn without_ack_the_field_stays_and_broken_options_stop_everything() {
    let shift = Offsets::constant(1000);
    let headers = |bytes: &[u8]| Headers::dissect(bytes);
    let mut syn = frame(false, 1, 0, 2, &[], &[]);
    let at = headers(&syn);
    assert!(adjust(&mut syn, &at, shift, shift, false));
    assert_eq!(number(&syn, &at, SEQUENCE), 1001);
    assert_eq!(number(&syn, &at, ACKNOWLEDGEMENT), 0);
    for broken in [[5, 11, 0, 0], [1, 1, 1, 5], [5, 1, 0, 0], [5, 0, 0, 0]] {
        let mut bytes = frame(false, 1, 2, 0x10, &broken, &[]);
        let (before, at) = (bytes.clone(), headers(&bytes));
        assert!(!adjust(&mut bytes, &at, shift, shift, false), "{broken:?}");
        assert_eq!(bytes, before);
    }
    // Behind the end of the list nothing is read.
    let mut ended = frame(false, 1, 2, 0x10, &[1, 0, 5, 99], &[]);
    let at = headers(&ended);
    assert!(adjust(&mut ended, &at, shift, shift, false));
    let mut udp = frame(false, 1, 2, 0x10, &[], &[]);
    udp[ETHERNET + 9] = protocol::UDP;
    let at = headers(&udp);
    assert!(!adjust(&mut udp, &at, shift, shift, false));
    // A header that runs behind the packet's end, into padding.
    let mut cut = frame(false, 1, 2, 0x10, &[], &[]);
    cut[ETHERNET + 3] -= 2;
    let at = headers(&cut);
    assert!(!adjust(&mut cut, &at, shift, shift, false));
    // A later fragment has nothing to adjust, whatever its bytes look like.
    let mut later = frame(false, 1, 2, 0x10, &[], &[]);
    later[ETHERNET + 7] = 9;
    let (before, at) = (later.clone(), headers(&later));
    assert!(adjust(&mut later, &at, shift, shift, false));
    assert_eq!(later, before);
}

proptest! {
    #[test]
    fn an_adjusted_segment_has_the_right_numbers_and_a_right_checksum(
        ip6: bool, own in offsets(), other in offsets(), ack_flag: bool, partial: bool,
        seq in -3000i32..3000, ack in -3000i32..3000,
        edges in proptest::collection::vec(-3000i32..3000, 0..6), nops in 0usize..4,
        payload in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        // Blocks at odd places too.
        let mut options = vec![NO_OPERATION; nops];
        let blocks = edges.len() / 2 * 2;
        let sent = |(number, offset): (u32, i32)| number.wrapping_add_signed(offset);
        if blocks != 0 {
            options.extend([SACK, (2 + 4 * blocks) as u8]);
            for step in &edges[..blocks] {
                options.extend(sent(near(other, *step)).to_be_bytes());
            }
        }
        options.resize(options.len().next_multiple_of(4), END_OF_OPTIONS);
        let (seq, ack) = (near(own, seq), near(other, ack));
        let flags = if ack_flag { ACK } else { 0 };
        let original = frame(ip6, seq.0, sent(ack), flags, &options, &payload);
        let headers = Headers::dissect(&original);
        prop_assert!(is_right(&original, &headers));

        let mut bytes = original.clone();
        prop_assert!(adjust(&mut bytes, &headers, own, other, partial));
        prop_assert_eq!(number(&bytes, &headers, SEQUENCE), sent(seq));
        let acknowledged = if ack_flag { ack.0 } else { sent(ack) };
        prop_assert_eq!(number(&bytes, &headers, ACKNOWLEDGEMENT), acknowledged);
        for (place, step) in edges[..blocks].iter().enumerate() {
            let at = OPTIONS + nops + 2 + 4 * place;
            prop_assert_eq!(number(&bytes, &headers, at), near(other, *step).0);
        }
        let at = usize::from(headers.transport) + CHECKSUM;
        if partial {
            prop_assert_eq!(&bytes[at..at + 2], &original[at..at + 2]);
        } else {
            prop_assert!(is_right(&bytes, &headers));
        }

        // And back again.
        prop_assert!(adjust(&mut bytes, &headers, own.inverse(), other.inverse(), partial));
        // 0 and 0xffff are the same checksum.
        let mut expected = original;
        for bytes in [&mut bytes, &mut expected] {
            if bytes[at..at + 2] == [0xff; 2] {
                bytes[at..at + 2].fill(0);
            }
        }
        prop_assert_eq!(bytes, expected);
    }

    #[test]
    fn any_bytes_are_adjusted_or_left(
        mut bytes in proptest::collection::vec(any::<u8>(), 54..120), own in offsets(),
    ) {
        bytes[12..15].copy_from_slice(&[8, 0, 0x45]);
        bytes[ETHERNET + 2] = 0;
        bytes[ETHERNET + 9] = protocol::TCP;
        let (before, headers) = (bytes.clone(), Headers::dissect(&bytes));
        if !adjust(&mut bytes, &headers, own, own.inverse(), false) {
            prop_assert_eq!(bytes, before);
        }
    }
}

const CLIENT: Ends = Ends {
    src: 1,
    dst: 2,
    sport: 1000,
    dport: 21,
};
const WINDOW: u16 = 1000;
const SYN: u8 = 2;

/// Two hosts with a box between them that changes the length of payloads; the tracker is in the box.
struct Talk {
    stand: Stand,
    /// What each host sends next, as it counts.
    next: [u32; 2],
    /// What each host expects of the other, as it has seen it.
    expected: [u32; 2],
    /// Whether the box tells the tracker.
    told: bool,
}

impl Talk {
    /// A connection that is established, with a side record.
    fn new(first: [u32; 2]) -> Self {
        let tracker = Tracker::new(settings(100), 1, 7).expect("a small table");
        let mut talk = Self {
            stand: Stand::new(&tracker, 0),
            next: first,
            expected: [first[1].wrapping_add(1), first[0].wrapping_add(1)],
            told: true,
        };
        talk.begin();
        talk.next = first.map(|number| number.wrapping_add(1));
        let answer = talk.segment(1, SYN | ACK, first[1], 0);
        assert_eq!(talk.stand.one(&answer).state, CtState::Established);
        talk.send(0, 0, 0);
        talk
    }

    /// The SYN, whose flow gets its side record while it begins.
    fn begin(&mut self) {
        let syn = self.segment(0, SYN, self.next[0], 0);
        let burst = self.stand.begin(&[syn]);
        let context = self.stand.context();
        let stand = &mut self.stand;
        stand.worker.track(1, &mut stand.packets, &burst, &context);
        let flow = stand.packets.ct[0].flow;
        assert!(stand.worker.set_helper(flow, 1));
        stand.worker.confirm(1, &mut stand.packets, &context);
        stand.worker.end();
    }

    fn segment(&self, from: usize, flags: u8, seq: u32, len: usize) -> Vec<u8> {
        let ends = if from == 0 { CLIENT } else { CLIENT.answer() };
        let mut frame = tcp(ends, flags, seq, self.expected[from]);
        frame[ETHERNET + 34..ETHERNET + 36].copy_from_slice(&WINDOW.to_be_bytes());
        let total = (40 + len) as u16;
        frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
        frame.resize(ETHERNET + 40 + len, b'x');
        frame
    }

    /// A host sends octets that become `delta` more on their way; yields how the packet stood.
    fn send(&mut self, from: usize, len: usize, delta: i32) -> PacketCt {
        let seq = self.next[from];
        let ct = self.pass(from, seq, len, delta);
        self.next[from] = seq.wrapping_add(len as u32);
        let grown = (len as u32).wrapping_add_signed(delta);
        self.expected[1 - from] = self.expected[1 - from].wrapping_add(grown);
        ct
    }

    /// The last octets that a host has sent, again.
    fn repeat(&mut self, from: usize, len: usize, delta: i32) -> PacketCt {
        let grown = (len as u32).wrapping_add_signed(delta);
        let (there, seq) = (1 - from, self.next[from].wrapping_sub(len as u32));
        self.expected[there] = self.expected[there].wrapping_sub(grown);
        let ct = self.pass(from, seq, len, delta);
        self.expected[there] = self.expected[there].wrapping_add(grown);
        ct
    }

    fn pass(&mut self, from: usize, seq: u32, len: usize, delta: i32) -> PacketCt {
        let mut frame = self.segment(from, ACK, seq, len);
        let ct = self.stand.one(&frame);
        if ct.state == CtState::Invalid || !self.told {
            return ct;
        }
        let worker = &mut self.stand.worker;
        assert!(worker.note_length_change(ct.flow, ct.direction, seq, delta));
        let headers = Headers::dissect(&frame);
        assert!(worker.adjust_sequences(ct.flow, ct.direction, &headers, &mut frame, false));
        // The receiver sees no gap, and the acknowledgement of what it has sent.
        assert_eq!(number(&frame, &headers, SEQUENCE), self.expected[1 - from]);
        assert_eq!(
            number(&frame, &headers, ACKNOWLEDGEMENT),
            self.next[1 - from]
        );
        ct
    }

    /// Whether the tracker knows that everything has been acknowledged.
    fn is_settled(&self, ct: PacketCt) -> bool {
        self.stand.worker.expires_in_ms(ct.flow) == 432_000_000
    }
}

#[test]
fn what_the_box_has_not_told_leaves_the_window() {
    for (told, state) in [(true, CtState::Established), (false, CtState::Invalid)] {
        let mut talk = Talk::new([100, 500]);
        talk.told = told;
        talk.send(0, 20, 5);
        // Five octets more than the client has sent.
        assert_eq!(talk.send(1, 0, 0).state, state);
    }
}

#[test]
fn only_a_flow_that_begins_gets_a_record() {
    let tracker = Tracker::new(settings(100), 1, 7).expect("a small table");
    let mut stand = Stand::new(&tracker, 0);
    let ct = stand.one(&tcp(CLIENT, SYN, 1, 0));
    let worker = &mut stand.worker;
    assert!(!worker.note_length_change(ct.flow, Direction::Original, 1, 5));
    assert!(!worker.set_offset(ct.flow, Direction::Reply, 5));
    // What changes nothing needs none.
    assert!(worker.note_length_change(ct.flow, Direction::Original, 1, 0));
    assert_eq!(worker.status(ct.flow) & status::SEQ_ADJUST, 0);
    assert_eq!(worker.offsets(ct.flow, Direction::Reply), Offsets::NONE);

    let mut talk = Talk::new([1, 1]);
    let flow = talk.send(0, 0, 0).flow;
    let mut worker = talk.stand.worker;
    assert!(worker.set_offset(flow, Direction::Reply, -7));
    assert_eq!(
        worker.offsets(flow, Direction::Reply),
        Offsets::constant(-7)
    );
    assert_eq!(worker.offsets(flow, Direction::Original), Offsets::NONE);
    assert_ne!(worker.status(flow) & status::SEQ_ADJUST, 0);
}

proptest! {
    #[test]
    fn a_conversation_whose_payloads_change_stays_in_the_window(
        first: [u32; 2],
        turns in proptest::collection::vec((0usize..2, 1usize..400, -400i32..400, any::<bool>()), 1..60),
    ) {
        let mut talk = Talk::new(first);
        for (from, len, delta, again) in turns {
            // At least one octet is left of a payload.
            let delta = delta.max(1 - len as i32);
            prop_assert_eq!(talk.send(from, len, delta).state, CtState::Established);
            if again {
                prop_assert_eq!(talk.repeat(from, len, delta).state, CtState::Established);
            }
            let answer = talk.send(1 - from, 0, 0);
            prop_assert_eq!(answer.state, CtState::Established);
            prop_assert!(talk.is_settled(answer));
        }
    }
}
