//! A translated packet is the packet that its new endpoints would have sent.

use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, PacketBuilder};
use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tcp,
    Udp,
    Echo,
}

#[derive(Clone, Debug)]
struct Packet {
    ip6: bool,
    kind: Kind,
    source: Endpoint,
    destination: Endpoint,
    payload: Vec<u8>,
}

impl Packet {
    fn build(&self) -> Vec<u8> {
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let four =
            |endpoint: &Endpoint| <[u8; 4]>::try_from(&endpoint.address[..4]).expect("four bytes");
        let network = if self.ip6 {
            link.ipv6(self.source.address, self.destination.address, 64)
        } else {
            link.ipv4(four(&self.source), four(&self.destination), 64)
        };
        let echo = IcmpEchoHeader {
            id: self.source.port,
            seq: 7,
        };
        let mut out = Vec::new();
        let ports = (self.source.port, self.destination.port);
        match (self.kind, self.ip6) {
            (Kind::Tcp, _) => network
                .tcp(ports.0, ports.1, 1000, 2000)
                .write(&mut out, &self.payload),
            (Kind::Udp, _) => network.udp(ports.0, ports.1).write(&mut out, &self.payload),
            (Kind::Echo, false) => network
                .icmpv4(Icmpv4Type::EchoRequest(echo))
                .write(&mut out, &self.payload),
            (Kind::Echo, true) => network
                .icmpv6(Icmpv6Type::EchoRequest(echo))
                .write(&mut out, &self.payload),
        }
        .expect("it fits");
        out
    }

    fn translated(&self, side: Side, to: Endpoint) -> Self {
        let mut packet = self.clone();
        match side {
            Side::Source => packet.source = to,
            Side::Destination => packet.destination = to,
        }
        // An echo has one id, whichever side is written.
        if packet.kind == Kind::Echo {
            packet.source.port = to.port;
        }
        packet
    }
}

fn endpoint(ip6: bool) -> impl Strategy<Value = Endpoint> {
    (any::<[u8; 16]>(), any::<u16>()).prop_map(move |(mut address, port)| {
        if !ip6 {
            address[4..].fill(0);
        }
        Endpoint { address, port }
    })
}

fn packet() -> impl Strategy<Value = (Packet, Endpoint)> {
    let kind = prop_oneof![Just(Kind::Tcp), Just(Kind::Udp), Just(Kind::Echo)];
    (any::<bool>(), kind).prop_flat_map(|(ip6, kind)| {
        let payload = proptest::collection::vec(any::<u8>(), 0..50);
        (endpoint(ip6), endpoint(ip6), endpoint(ip6), payload).prop_map(
            move |(source, destination, to, payload)| {
                let packet = Packet {
                    ip6,
                    kind,
                    source,
                    destination,
                    payload,
                };
                (packet, to)
            },
        )
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Source), Just(Side::Destination)]
}

/// 0 and 0xffff are the same sum, but for UDP only the second may be written.
fn same(packet: &Packet, left: &[u8], right: &[u8]) -> bool {
    let mut sums: Vec<usize> = if packet.ip6 { vec![] } else { vec![24] };
    let transport = if packet.ip6 { 54 } else { 34 };
    sums.push(
        transport
            + match packet.kind {
                Kind::Tcp => 16,
                Kind::Udp => 6,
                Kind::Echo => 2,
            },
    );
    let plain = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        for at in &sums {
            if bytes[*at..at + 2] == [0xff, 0xff] {
                bytes[*at..at + 2].fill(0);
            }
        }
        bytes
    };
    plain(left) == plain(right)
}

/// An ICMP error about a packet, quoting its first `quote` bytes behind the IP header's start.
fn error_about(packet: &Packet, from: [u8; 16], quote: usize) -> Vec<u8> {
    use crate::packet::checksum::{checksum, pseudo_header};
    let about = &packet.build()[14..];
    let about = &about[..about.len().min(quote)];
    let mut message = vec![if packet.ip6 { 1 } else { 3 }, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(about);
    let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let to = packet.source.address;
    let sum = if packet.ip6 {
        let addresses = [from, to].concat();
        !fold(pseudo_header(&addresses, protocol::ICMPV6, message.len() as u32) + sum(&message))
    } else {
        checksum(&message)
    };
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let four = |address: [u8; 16]| <[u8; 4]>::try_from(&address[..4]).expect("four bytes");
    let mut out = Vec::new();
    if packet.ip6 {
        link.ipv6(from, to, 64)
            .write(&mut out, etherparse::IpNumber::IPV6_ICMP, &message)
    } else {
        link.ipv4(four(from), four(to), 64)
            .write(&mut out, etherparse::IpNumber::ICMP, &message)
    }
    .expect("it fits");
    out
}

/// What the receiver of an ICMP message would sum up: 0 in one's complement.
fn icmp_sum(frame: &[u8], ip6: bool) -> u16 {
    use crate::packet::checksum::pseudo_header;
    if ip6 {
        let message = &frame[54..];
        let pseudo = pseudo_header(&frame[22..54], protocol::ICMPV6, message.len() as u32);
        return !fold(pseudo + sum(message));
    }
    !fold(sum(&frame[34..]))
}

proptest! {
    #[test]
    fn it_equals_the_packet_of_its_new_endpoints((packet, to) in packet(), side in side()) {
        let mut frame = packet.build();
        let headers = Headers::dissect(&frame);
        prop_assert!(translate(&mut frame, &headers, side, &to, false));
        let expected = packet.translated(side, to).build();
        prop_assert!(same(&packet, &frame, &expected), "{frame:02x?}\n{expected:02x?}");
    }

    #[test]
    fn there_and_back_is_nothing((packet, to) in packet(), side in side()) {
        let before = packet.build();
        let mut frame = before.clone();
        let headers = Headers::dissect(&frame);
        let mut back = match side { Side::Source => packet.source, Side::Destination => packet.destination };
        if packet.kind == Kind::Echo {
            back.port = packet.source.port;
        }
        prop_assert!(translate(&mut frame, &headers, side, &to, false));
        prop_assert!(translate(&mut frame, &headers, side, &back, false));
        prop_assert!(same(&packet, &frame, &before));
    }

    #[test]
    fn a_quoted_packet_and_its_error_stay_right(
        (packet, to) in packet(), from in any::<[u8; 16]>(), quote in 28usize..120,
        rewrite_outer in any::<bool>(),
    ) {
        // The host behind the translator sent `packet`; outside it was seen as from `to`.
        prop_assume!(!packet.ip6 || quote >= 48);
        let outside = packet.translated(Side::Source, to);
        let mut frame = error_about(&outside, from, quote);
        let headers = Headers::dissect(&frame);
        let inside = packet.source;
        let outer = rewrite_outer.then_some(&inside.address);
        prop_assert!(translate_error(&mut frame, &headers, Side::Source, &inside, outer));
        if rewrite_outer {
            let to = if packet.ip6 { 38..54 } else { 30..34 };
            let length = to.len();
            prop_assert_eq!(&frame[to], &inside.address[..length]);
        }
        let quoted = Headers::dissect(&frame).transport as usize + 8;
        let expected = &packet.build()[14..];
        let expected = &expected[..expected.len().min(quote)];
        let port = if packet.kind == Kind::Echo { 4..6 } else { 0..4 };
        let transport = if packet.ip6 { 40 } else { 20 };
        prop_assert_eq!(&frame[quoted + 12..quoted + 20], &expected[12..20]);
        prop_assert_eq!(
            &frame[quoted + transport + port.start..quoted + transport + port.end],
            &expected[transport + port.start..transport + port.end]
        );
        prop_assert_eq!(icmp_sum(&frame, packet.ip6) % 0xffff, 0, "{:02x?}", frame);
    }

    /// However short it is, and whatever its sum was.
    #[test]
    fn the_short_way_writes_what_the_long_one_does(
        (packet, to) in packet(), side in side(), cut in 0u32..40, sum in any::<Option<[u8; 2]>>(),
    ) {
        let mut frame = packet.build();
        let mut headers = Headers::dissect(&frame);
        prop_assume!(!packet.ip6 && packet.kind != Kind::Echo);
        if let Some(sum) = sum {
            let at = usize::from(headers.transport) + if packet.kind == Kind::Udp { 6 } else { 16 };
            frame[at..at + 2].copy_from_slice(&sum);
        }
        headers.end = headers.end.saturating_sub(cut).max(u32::from(headers.transport));
        let mut other = frame.clone();
        let layers = Layers::of(&headers, false).unwrap();
        let long = layers.write(&mut other, side, &to);
        prop_assert_eq!(write_plain(&mut frame, &headers, side, &to), long);
        prop_assert_eq!(frame, other);
    }

    #[test]
    fn nothing_panics_on_any_bytes(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..120), ip6 in any::<bool>(),
        side in side(), protocol in prop_oneof![Just(1u8), Just(6), Just(17), Just(47), Just(58), Just(132)],
    ) {
        if bytes.len() > 34 {
            bytes[12..15].copy_from_slice(if ip6 { &[0x86, 0xdd, 0x60] } else { &[8, 0, 0x45] });
            bytes[if ip6 { 20 } else { 23 }] = protocol;
        }
        let headers = Headers::dissect(&bytes);
        let to = Endpoint { address: [9; 16], port: 9 };
        translate(&mut bytes.clone(), &headers, side, &to, false);
        translate(&mut bytes.clone(), &headers, side, &to, true);
        translate_error(&mut bytes, &headers, side, &to, Some(&[8; 16]));
    }
}

#[test]
fn a_partial_sum_follows_the_address_only() {
    let packet = Packet {
        ip6: false,
        kind: Kind::Tcp,
        source: Endpoint {
            address: [10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            port: 1000,
        },
        destination: Endpoint {
            address: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            port: 80,
        },
        payload: vec![1, 2, 3],
    };
    let mut frame = packet.build();
    let pseudo = |frame: &[u8]| {
        fold(crate::packet::checksum::pseudo_header(
            &frame[26..34],
            protocol::TCP,
            23,
        ))
    };
    let partial = pseudo(&frame);
    frame[50..52].copy_from_slice(&partial.to_be_bytes());
    let headers = Headers::dissect(&frame);
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[192, 0, 2, 1]);
    let to = Endpoint {
        address,
        port: 4000,
    };
    assert!(translate(&mut frame, &headers, Side::Source, &to, true));
    assert_eq!(frame[50..52], pseudo(&frame).to_be_bytes());
    assert_eq!(frame[34..36], 4000u16.to_be_bytes());
}

#[test]
fn a_udp_checksum_of_zero_stays_absent() {
    let mut frame = crate::program::testing::frames::udp(1000, 53);
    frame[40..42].fill(0);
    let headers = Headers::dissect(&frame);
    let to = Endpoint {
        address: [7; 16],
        port: 7,
    };
    assert!(translate(&mut frame, &headers, Side::Source, &to, false));
    assert_eq!(frame[40..42], [0, 0]);
}
