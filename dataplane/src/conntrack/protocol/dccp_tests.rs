use super::super::super::tuple::IPV4;
use super::super::number;
use super::super::testing::{Flow, Seen, ip};
use super::*;

struct Talk(Flow);

fn bytes(reply: bool, kind: u8, sequence: u64, acknowledged: u64) -> Vec<u8> {
    let mut message = if reply {
        vec![0, 80, 4, 0]
    } else {
        vec![4, 0, 0, 80]
    };
    message.extend([7, 0, 0, 0, kind << 1 | 1, 0]);
    message.extend(&sequence.to_be_bytes()[2..]);
    message.extend([0; 2]);
    message.extend(&acknowledged.to_be_bytes()[2..]);
    message.extend([0; 4]);
    ip(IPV4, number::DCCP, reply, &message, Some(6))
}

impl Talk {
    fn client(&mut self, kind: u8, sequence: u64, acknowledged: u64) -> Seen {
        self.0
            .show(&bytes(false, kind, sequence, acknowledged), false)
    }

    fn server(&mut self, kind: u8, sequence: u64, acknowledged: u64) -> Seen {
        self.0
            .show(&bytes(true, kind, sequence, acknowledged), true)
    }

    fn state(&self) -> &'static str {
        self.0.state(number::DCCP)
    }

    fn open() -> Self {
        let mut talk = Self(Flow::default());
        assert_eq!(talk.client(kind::REQUEST, 1, 0), Seen::Timeout(240));
        assert_eq!(talk.server(kind::RESPONSE, 100, 1), Seen::Timeout(480));
        assert_eq!(talk.client(kind::ACK, 2, 100), Seen::Timeout(480));
        assert_eq!((talk.state(), talk.0.assured()), ("PARTOPEN", true));
        assert_eq!(talk.server(kind::DATA_ACK, 101, 2), Seen::Timeout(43_200));
        assert_eq!(talk.state(), "OPEN");
        talk
    }
}

const STATE: Seen = Seen::Invalid(InvalidReason::DccpState);

#[test]
fn a_connection_from_request_to_reset() {
    let mut talk = Talk::open();
    assert_eq!(talk.client(kind::CLOSE_REQ, 3, 101), STATE);
    assert_eq!(talk.server(kind::CLOSE_REQ, 102, 2), Seen::Timeout(64));
    assert_eq!(talk.client(kind::CLOSE, 3, 102), Seen::Timeout(64));
    assert_eq!(talk.state(), "CLOSING");
    assert_eq!(talk.server(kind::RESET, 103, 3), Seen::Timeout(240));
    assert_eq!(talk.state(), "TIMEWAIT");
    // The other side uses the ports again: it is the client now.
    assert_eq!(talk.server(kind::REQUEST, 500, 0), Seen::Timeout(240));
    assert_eq!(talk.client(kind::RESPONSE, 600, 500), Seen::Timeout(480));
    assert_eq!(talk.state(), "RESPOND");
}

#[test]
fn an_acknowledgement_of_another_response_does_not_assure() {
    let mut talk = Talk(Flow::default());
    talk.client(kind::REQUEST, 1, 0);
    talk.server(kind::RESPONSE, 100, 1);
    assert_eq!(talk.client(kind::ACK, 2, 99), Seen::Timeout(480));
    assert!(!talk.0.assured());
}

#[test]
fn a_request_on_a_living_connection_is_believed_when_it_is_answered() {
    let mut talk = Talk::open();
    assert_eq!(talk.server(kind::RESPONSE, 100, 1), Seen::Ignored);
    assert_eq!(talk.client(kind::REQUEST, 900, 0), Seen::Ignored);
    assert_eq!(talk.state(), "OPEN");
    assert_eq!(talk.server(kind::RESPONSE, 700, 900), Seen::Timeout(480));
    assert_eq!(talk.state(), "RESPOND");
}

#[test]
fn mid_stream_only_when_loose() {
    let mut talk = Talk(Flow::default());
    assert_eq!(talk.client(kind::DATA, 5, 0), Seen::Timeout(43_200));
    assert!(!talk.0.assured());
    assert_eq!(talk.server(kind::ACK, 9, 5), Seen::Timeout(43_200));
    assert!(talk.0.assured());
    let mut talk = Talk(Flow::default());
    talk.0.rules.loose = false;
    assert_eq!(talk.client(kind::DATA, 5, 0), STATE);
    assert_eq!(talk.client(kind::RESET, 5, 0), STATE);
}

#[test]
fn broken_headers() {
    let header = Seen::Invalid(InvalidReason::DccpHeader);
    let show = |at: usize, value: u8| {
        let mut packet = bytes(false, kind::REQUEST, 1, 0);
        packet[20 + at] = value;
        Flow::default().show(&packet, false)
    };
    assert_eq!(show(4, 3), header);
    assert_eq!(show(4, 20), header);
    assert_eq!(show(5, 15), header);
    // Short sequence numbers are for data only; types beyond SYNCACK are reserved.
    assert_eq!(show(8, kind::REQUEST << 1), header);
    assert_eq!(show(8, 10 << 1 | 1), header);
    assert_eq!(show(9, 1), Seen::Invalid(InvalidReason::ChecksumBad));
}
