//! What the gateway's own host answers.

use super::*;

#[test]
fn the_gateway_answers_pings_of_any_size() {
    let mut bed = Bed::new();
    bed.introduce();
    for (from, to) in [("10.0.1.9", "10.0.1.1"), ("10.0.1.9", "10.0.2.1")] {
        let (port, answer, _) = only(bed.receive(0, &[ping(0, from, to, 56)]));
        let (kind, code, source, _) = icmp(&answer);
        assert_eq!((port, kind, code, source.as_str()), (0, 0, 0, to));
        assert_eq!(answer[..6], STATIONS[0]);
    }
    let (port, answer, _) = only(bed.receive(0, &[ping(0, "2001:db8:1::9", "2001:db8:1::1", 56)]));
    assert_eq!((port, icmp(&answer).0), (0, 129));
    // A large one comes and goes in fragments.
    let whole = ping(0, "10.0.1.9", "10.0.1.1", 3000);
    let mut pieces = Vec::new();
    assert!(fragment::cut(&whole[14..], 1500, |header, payload| {
        pieces.push([&whole[..14], header, payload].concat());
    }));
    let sent = bed.receive(0, &pieces);
    assert_eq!(sent.len(), 3, "{:?}", bed.drops);
    let answered: usize = sent.iter().map(|(_, frame, _)| frame.len() - 34).sum();
    assert_eq!(answered, 3008);
}

#[test]
fn link_local_stations_are_answered_by_their_port() {
    let mut bed = Bed::new();
    bed.receive(1, &[solicitation(1, "fe80::9", "fe80::ff:fe00:201")]);
    let frame = ping(1, "fe80::9", "fe80::ff:fe00:201", 8);
    let (port, answer, _) = only(bed.receive(1, &[frame]));
    assert_eq!((port, icmp(&answer).0), (1, 129));
}

#[test]
fn a_traceroute_ends_at_the_gateway() {
    let mut bed = Bed::new();
    bed.introduce();
    let (_, error, _) = only(bed.receive(0, &[udp(0, "10.0.1.9", "10.0.2.1", 32)]));
    let (kind, code, source, _) = icmp(&error);
    assert_eq!((kind, code, source.as_str()), (3, 3, "10.0.2.1"));
    let probe = udp(0, "2001:db8:1::9", "2001:db8:1::1", 32);
    let (_, error, _) = only(bed.receive(0, &[probe]));
    assert_eq!((icmp(&error).0, icmp(&error).1), (1, 4));
}

/// A TCP segment from 10.0.1.9:12345 to the gateway.
fn segment(dport: u16, seq: u32, ack: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut tcp = vec![0; 20];
    tcp[..2].copy_from_slice(&12345u16.to_be_bytes());
    tcp[2..4].copy_from_slice(&dport.to_be_bytes());
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&ack.to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = flags;
    tcp[14..16].copy_from_slice(&60_000u16.to_be_bytes());
    tcp.extend(payload);
    transport(0, "10.0.1.9", "10.0.1.1", 6, tcp, 16)
}

const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
const PSH: u8 = 8;

/// Opens a connection, sends a request and yields what the gateway sends back.
fn request(bed: &mut Bed, dport: u16, text: &[u8]) -> Vec<u8> {
    let (_, answer, _) = only(bed.receive(0, &[segment(dport, 100, 0, SYN, &[])]));
    assert_eq!(answer[47] & (SYN | ACK), SYN | ACK);
    let theirs = u32::from_be_bytes(answer[38..42].try_into().unwrap()) + 1;
    bed.receive(0, &[segment(dport, 101, theirs, ACK, &[])]);
    let mut sent = bed.receive(0, &[segment(dport, 101, theirs, ACK | PSH, text)]);
    sent.extend(bed.wait(SECOND));
    let mut payload: Vec<u8> = Vec::new();
    for (port, frame, _) in sent {
        if port == 0 && frame[12..14] == [8, 0] && frame[23] == 6 {
            let end = 14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let at = 34 + usize::from(frame[46] >> 4) * 4;
            let seq = u32::from_be_bytes(frame[38..42].try_into().unwrap());
            let begin = seq.wrapping_sub(theirs) as usize;
            if begin == payload.len() {
                payload.extend(&frame[at..end]);
            }
        }
    }
    payload
}

#[test]
fn the_health_port_answers_and_a_closed_one_resets() {
    let health = Listener {
        address: None,
        port: 8080,
        service: Service::Health,
    };
    let mut bed = Bed::with(Host::new(1, 1500, &[health], None), 0);
    bed.introduce();
    let answer = request(&mut bed, 8080, b"GET / HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.0 200 OK\r\n"), "{answer:?}");
    let (_, reset, _) = only(bed.receive(0, &[segment(81, 100, 0, SYN, &[])]));
    assert_eq!(reset[47] & RST, RST);
}

#[test]
fn the_control_side_answers_what_it_is_asked() {
    let (to_control, asked) = std::sync::mpsc::channel::<Request>();
    let (answers, from_control) = std::sync::mpsc::channel::<Answer>();
    let exchange = Exchange {
        requests: to_control,
        answers: from_control,
    };
    let metrics = Listener {
        address: Some(at("10.0.1.1")),
        port: 9473,
        service: Service::Exchange,
    };
    let mut bed = Bed::with(Host::new(1, 1500, &[metrics], Some(exchange)), 0);
    bed.introduce();
    let control = std::thread::spawn(move || {
        let (number, head) = asked.recv().unwrap();
        answers
            .send((number, b"HTTP/1.0 200 OK\r\n\r\nmany".to_vec()))
            .unwrap();
        head
    });
    // The answer is there before the next tick of virtual time looks for it.
    let (_, answer, _) = only(bed.receive(0, &[segment(9473, 100, 0, SYN, &[])]));
    let theirs = u32::from_be_bytes(answer[38..42].try_into().unwrap()) + 1;
    let text = b"GET /metrics HTTP/1.0\r\n\r\n";
    bed.receive(0, &[segment(9473, 101, theirs, ACK, &[])]);
    bed.receive(0, &[segment(9473, 101, theirs, ACK | PSH, text)]);
    assert_eq!(control.join().unwrap(), text);
    let sent = bed.wait(SECOND);
    let has = |needle: &[u8]| {
        let mut frames = sent.iter();
        frames.any(|(_, frame, _)| frame.windows(needle.len()).any(|window| window == needle))
    };
    assert!(has(b"\r\n\r\nmany"), "{sent:02x?}");
}
