//! A gateway of two ports in memory under virtual time: frames in, frames out, everything between.
//!
//! `inside` is 10.0.1.1/24 and 2001:db8:1::1/64 on port 0, `outside` 10.0.2.1/24 and 2001:db8:2::1/64
//! on port 1; the default routes go by 10.0.2.254 and 2001:db8:2::fe.

use std::net::IpAddr;
use std::sync::Arc;

use sluice_dataplane::drop_reason::DropReason;
use sluice_dataplane::gateway::host::{Answer, Exchange, Host, Listener, Request, Service};
use sluice_dataplane::gateway::neighbour::State;
use sluice_dataplane::gateway::*;
use sluice_dataplane::packet::checksum::{checksum, fold, pseudo_header, sum};
use sluice_dataplane::packet::headers::Headers;
use sluice_dataplane::packet::{Burst, Frame, VnetHeader};
use sluice_dataplane::port::{LinkState, Offloads, PortId};
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Fate, Generation, Pipeline, PortInfo, PortTable, Stages,
};

const SECOND: u64 = 1_000_000_000;
/// The gateway's MAC addresses.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 2, 1]];
/// Stations by port.
const STATIONS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 9], [2, 0, 0, 0, 2, 9]];

fn at(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn prefix(text: &str) -> Prefix {
    let (address, length) = text.split_once('/').unwrap();
    Prefix::new(at(address), length.parse().unwrap()).unwrap()
}

fn route(to: &str, via: &str, port: u16) -> Route {
    Route {
        to: prefix(to),
        table: route::MAIN,
        metric: 0,
        kind: RouteKind::Unicast,
        hops: vec![Hop {
            port: PortId(port),
            via: Some(at(via)),
            weight: 1,
        }],
        mtu: None,
        origin: Origin::Static,
    }
}

/// A frame that left: its port, bytes and offload header.
type Sent = (u16, Vec<u8>, VnetHeader);

struct Bed {
    links: [Arc<LinkState>; 2],
    shared: Arc<Shared>,
    generation: Generation,
    pipeline: Pipeline,
    out: Disposition,
    now_ns: u64,
    /// Why frames ended since this was looked at last.
    drops: Vec<DropReason>,
    routes: Vec<Route>,
    marks: Vec<MarkRule>,
    proxy: Vec<Prefix>,
}

impl Bed {
    fn new() -> Self {
        Self::with(Host::new(1, 1500, &[], None), 0)
    }

    fn with(host: Host, errors_per_second: u32) -> Self {
        let link = || Arc::new(LinkState::new(true, 1500, Offloads::ALL));
        let mut bed = Self {
            links: [link(), link()],
            shared: Shared::new(42, errors_per_second, host),
            generation: Generation::open(0, Arc::default(), 1),
            pipeline: Pipeline::new(7, Arc::new(EventQueue::new(16))),
            out: Disposition::default(),
            now_ns: 1000 * SECOND,
            drops: Vec::new(),
            routes: vec![
                route("0.0.0.0/0", "10.0.2.254", 1),
                route("::/0", "2001:db8:2::fe", 1),
            ],
            marks: Vec::new(),
            proxy: Vec::new(),
        };
        bed.publish();
        bed
    }

    /// Puts routes and proxies in force.
    fn publish(&mut self) {
        let addresses = |net: u16| {
            vec![
                (at(&format!("10.0.{net}.1")), 24),
                (at(&format!("2001:db8:{net}::1")), 64),
            ]
        };
        let ports = (0..2).map(|n: u16| {
            let place = usize::from(n);
            let mut port = Port::new(
                PortId(n),
                MACS[place],
                Arc::clone(&self.links[place]),
                addresses(n + 1),
            );
            if n == 1 {
                port.proxy.clone_from(&self.proxy);
            }
            port
        });
        let gateway = Gateway::new(
            ports.collect(),
            self.routes.clone(),
            self.marks.clone(),
            Arc::clone(&self.shared),
        );
        let mut table = PortTable::default();
        for (n, name) in ["inside", "outside"].into_iter().enumerate() {
            let mut info = PortInfo::new(name, n as u32 + 10, "memory");
            info.mac = MACS[n];
            table.set(PortId(n as u16), Some(info));
        }
        table.set_gateway(Some(gateway));
        self.generation = Generation::open(1, Arc::new(table), 1);
    }

    fn context(&self) -> Context {
        Context {
            worker: 0,
            now_ns: self.now_ns,
            wall_ns: self.now_ns,
        }
    }

    /// Frames come by a port; yields what leaves.
    fn receive(&mut self, port: u16, frames: &[Vec<u8>]) -> Vec<Sent> {
        let plain = |frame: &Vec<u8>| (frame.clone(), VnetHeader::default());
        self.receive_with(port, &frames.iter().map(plain).collect::<Vec<_>>())
    }

    fn receive_with(&mut self, port: u16, frames: &[(Vec<u8>, VnetHeader)]) -> Vec<Sent> {
        let mut memory: Vec<Vec<u8>> = frames
            .iter()
            .map(|(frame, _)| [vec![0; 64], frame.clone()].concat())
            .collect();
        let mut burst = Burst::new();
        for (slot, (_, vnet)) in memory.iter_mut().zip(frames) {
            let len = slot.len() - 64;
            let mut frame = Frame::borrowed(slot, 64, len, PortId(port));
            frame.vnet = *vnet;
            burst.push(frame);
        }
        self.out.clear();
        let context = self.context();
        self.pipeline
            .process(&mut burst, &self.generation, &context, &mut self.out);
        let mut sent = Vec::new();
        for (lane, frame) in burst.iter().enumerate() {
            match self.out.fate(lane) {
                Fate::Send(port) => sent.push((port.0, frame.bytes().to_vec(), frame.vnet)),
                Fate::Drop { reason, .. } => self.drops.push(reason),
                Fate::Held => {}
            }
        }
        sent.extend(self.brought_forth());
        sent
    }

    fn brought_forth(&mut self) -> Vec<Sent> {
        let emitted = self.out.emitted.iter();
        let sent = emitted.map(|(port, frame)| (port.0, frame.bytes().to_vec(), frame.vnet));
        let sent = sent.collect();
        let ended = self.out.ended.iter().map(|(_, reason, _)| *reason);
        self.drops.extend(ended);
        self.out.clear();
        sent
    }

    /// Time passes in ticks of 100 ms; yields what leaves meanwhile.
    fn wait(&mut self, ns: u64) -> Vec<Sent> {
        let end = self.now_ns + ns;
        let mut sent = Vec::new();
        while self.now_ns < end {
            self.now_ns += SECOND / 10;
            self.out.clear();
            let context = self.context();
            self.pipeline
                .tick(&self.generation, &context, &mut self.out);
            sent.extend(self.brought_forth());
        }
        sent
    }

    /// Both stations of a port say who they are: the default router outside, host 9 inside.
    fn introduce(&mut self) {
        self.receive(0, &[arp_request(0, "10.0.1.9", "10.0.1.1")]);
        self.receive(1, &[arp_request(1, "10.0.2.254", "10.0.2.1")]);
        self.receive(0, &[solicitation(0, "2001:db8:1::9", "2001:db8:1::1")]);
        self.receive(1, &[solicitation(1, "2001:db8:2::fe", "2001:db8:2::1")]);
        self.drops.clear();
    }

    fn states(&self) -> Vec<(String, State)> {
        let list = self.shared.neighbours.list();
        let mut states: Vec<_> = list
            .iter()
            .map(|one| (one.address.to_string(), one.state))
            .collect();
        states.sort_by(|a, b| a.0.cmp(&b.0));
        states
    }
}

fn link(to: [u8; 6], from: [u8; 6], kind: u16) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes()].concat()
}

fn arp(port: usize, operation: u8, sender: &str, target: &str, to: [u8; 6]) -> Vec<u8> {
    let mut frame = link(to, STATIONS[port], 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(STATIONS[port]);
    frame.extend(at(sender).octets4());
    frame.extend([0; 6]);
    frame.extend(at(target).octets4());
    frame
}

fn arp_request(port: usize, sender: &str, target: &str) -> Vec<u8> {
    arp(port, 1, sender, target, [0xff; 6])
}

fn arp_reply(port: usize, sender: &str, target: &str) -> Vec<u8> {
    arp(port, 2, sender, target, MACS[port])
}

/// An IP packet in a frame from a port's station to the gateway.
fn ip(port: usize, from: &str, to: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (source, target) = (at(from), at(to));
    if source.is_v4() {
        let mut header = vec![0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0];
        header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        header.extend(source.octets4());
        header.extend(target.octets4());
        let mut frame = link(MACS[port], STATIONS[port], 0x0800);
        frame.extend(header);
        frame.extend(payload);
        seal(&mut frame);
        return frame;
    }
    let mut frame = link(MACS[port], STATIONS[port], 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend((payload.len() as u16).to_be_bytes());
    frame.extend([protocol, 64]);
    frame.extend(source.octets6());
    frame.extend(target.octets6());
    frame.extend(payload);
    frame
}

/// Makes the checksum of an IPv4 header right.
fn seal(frame: &mut [u8]) {
    let end = 14 + usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let check = checksum(&frame[14..end]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
}

fn change(frame: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    if frame[12..14] == [8, 0] {
        seal(&mut frame);
    }
    frame
}

fn udp(port: usize, from: &str, to: &str, payload: usize) -> Vec<u8> {
    let mut message = vec![0; 8 + payload];
    message[..4].copy_from_slice(&[0x30, 0x39, 0x82, 0x9b]);
    message[4..6].copy_from_slice(&(8 + payload as u16).to_be_bytes());
    transport(port, from, to, 17, message, 6)
}

/// A packet whose transport has its checksum at an offset.
fn transport(
    port: usize,
    from: &str,
    to: &str,
    protocol: u8,
    mut message: Vec<u8>,
    check_at: usize,
) -> Vec<u8> {
    let (source, target) = (at(from), at(to));
    let pseudo = match (source.is_v4(), protocol) {
        (true, 1) => 0,
        (true, _) => {
            let addresses = [source.octets4(), target.octets4()].concat();
            pseudo_header(&addresses, protocol, message.len() as u32)
        }
        (false, _) => {
            let addresses = [source.octets6(), target.octets6()].concat();
            pseudo_header(&addresses, protocol, message.len() as u32)
        }
    };
    let check = !fold(pseudo + sum(&message));
    message[check_at..check_at + 2].copy_from_slice(&check.to_be_bytes());
    ip(port, from, to, protocol, &message)
}

fn ping(port: usize, from: &str, to: &str, payload: usize) -> Vec<u8> {
    let (kind, protocol) = if at(from).is_v4() { (8, 1) } else { (128, 58) };
    let mut message = vec![0x55; 8 + payload];
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    transport(port, from, to, protocol, message, 2)
}

fn solicitation(port: usize, from: &str, target: &str) -> Vec<u8> {
    let group = at(target).solicited_node();
    let mut message = vec![0; 32];
    message[0] = 135;
    message[8..24].copy_from_slice(&at(target).octets6());
    message[24..26].copy_from_slice(&[1, 1]);
    message[26..32].copy_from_slice(&STATIONS[port]);
    let mut frame = transport(port, from, &group.to_string(), 58, message, 2);
    frame[..6].copy_from_slice(&group.group_mac());
    frame[21] = 255;
    frame
}

fn advertisement(port: usize, target: &str, to: &str) -> Vec<u8> {
    let mut message = vec![0; 32];
    message[0] = 136;
    message[4] = 0x60;
    message[8..24].copy_from_slice(&at(target).octets6());
    message[24..26].copy_from_slice(&[2, 1]);
    message[26..32].copy_from_slice(&STATIONS[port]);
    let mut frame = transport(port, target, to, 58, message, 2);
    frame[21] = 255;
    frame
}

/// Type and code of an ICMP or ICMPv6 message in a frame, its source, and its second word.
fn icmp(frame: &[u8]) -> (u8, u8, String, u32) {
    let headers = Headers::dissect(frame);
    assert!(matches!(headers.l4proto, 1 | 58), "{frame:02x?}");
    let at = usize::from(headers.transport);
    let source = Address::source(frame, &headers).unwrap().to_string();
    let word = u32::from_be_bytes(frame[at + 4..at + 8].try_into().unwrap());
    assert!(sluice_dataplane::packet::reply::transport_checksum_ok(
        frame, &headers
    ));
    (frame[at], frame[at + 1], source, word)
}

/// The one frame that left.
#[track_caller]
fn only(sent: Vec<Sent>) -> Sent {
    let [one] = <[Sent; 1]>::try_from(sent).unwrap_or_else(|sent| panic!("{sent:02x?}"));
    one
}

#[test]
fn a_packet_goes_on_with_one_hop_less_and_new_link_addresses() {
    let mut bed = Bed::new();
    bed.introduce();
    for (from, to) in [
        ("10.0.1.9", "198.51.100.7"),
        ("2001:db8:1::9", "2001:db8:ffff::7"),
    ] {
        let frame = udp(0, from, to, 30);
        let (port, sent, _) = only(bed.receive(0, std::slice::from_ref(&frame)));
        assert_eq!(port, 1);
        assert_eq!(sent[..6], STATIONS[1]);
        assert_eq!(sent[6..12], MACS[1]);
        let hops = if at(from).is_v4() { 22 } else { 21 };
        assert_eq!(sent[hops], 63);
        let mut expected = change(&frame, hops, &[63]);
        expected[..12].copy_from_slice(&sent[..12]);
        assert_eq!(sent, expected, "nothing else is changed");
    }
    assert_eq!(bed.drops, []);
}

#[test]
fn the_first_packet_waits_for_the_answer_and_leaves_in_order() {
    let mut bed = Bed::new();
    let packets = [1, 2, 3].map(|n| udp(0, "10.0.1.9", "10.0.2.77", n));
    let (port, question, _) = only(bed.receive(0, &packets));
    assert_eq!((port, &question[..6]), (1, &[0xff; 6][..]));
    assert_eq!(question[38..42], [10, 0, 2, 77]);
    assert_eq!(question[28..32], [10, 0, 2, 1]);
    let sent = bed.receive(1, &[arp_reply(1, "10.0.2.77", "10.0.2.1")]);
    let sizes: Vec<usize> = sent.iter().map(|(_, frame, _)| frame.len()).collect();
    assert_eq!(sizes, packets.map(|packet| packet.len()));
    assert!(
        sent.iter()
            .all(|(port, frame, _)| *port == 1 && frame[..6] == STATIONS[1])
    );
    assert_eq!(bed.states(), [("10.0.2.77".to_owned(), State::Reachable)]);
    assert_eq!(bed.drops, []);
}

#[test]
fn the_same_in_ipv6() {
    let mut bed = Bed::new();
    let packet = udp(0, "2001:db8:1::9", "2001:db8:2::77", 10);
    let (port, question, _) = only(bed.receive(0, &[packet]));
    assert_eq!((port, &question[..4]), (1, &[0x33, 0x33, 0xff, 0][..]));
    let answer = advertisement(1, "2001:db8:2::77", "2001:db8:2::1");
    let (port, sent, _) = only(bed.receive(1, &[answer]));
    assert_eq!((port, &sent[..6]), (1, &STATIONS[1][..]));
    assert_eq!(bed.drops, []);
}

#[test]
fn a_neighbour_that_does_not_answer_is_unreachable() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.receive(0, &[udp(0, "10.0.1.9", "10.0.2.77", 5)]);
    bed.receive(0, &[udp(0, "2001:db8:1::9", "2001:db8:2::77", 5)]);
    let sent: Vec<Sent> = bed
        .wait(5 * SECOND)
        .into_iter()
        .filter(|(port, frame, _)| *port == 0 && frame[12..14] != [8, 6])
        .filter(|(_, frame, _)| !matches!(frame[54], 135 | 136) || frame[12..14] == [8, 0])
        .collect();
    let mut errors: Vec<_> = sent.iter().map(|(_, frame, _)| icmp(frame)).collect();
    // Which of the two is due first follows from where they lie in the table.
    errors.sort();
    assert_eq!(
        errors,
        [
            (1, 3, "2001:db8:1::1".to_owned(), 0),
            (3, 1, "10.0.1.1".to_owned(), 0)
        ]
    );
    assert_eq!(bed.drops, [DropReason::NeighbourFailed; 2]);
    // Two questions follow the first, then silence.
    bed.receive(0, &[udp(0, "10.0.1.9", "10.0.2.78", 5)]);
    let questions = bed.wait(10 * SECOND);
    let asked = questions
        .iter()
        .filter(|(_, frame, _)| frame[12..14] == [8, 6] && frame[41] == 78);
    assert_eq!(asked.count(), 2);
}

#[test]
fn too_many_waiting_packets_push_out_the_oldest() {
    let mut bed = Bed::new();
    let packets: Vec<_> = (1..=20)
        .map(|n| udp(0, "10.0.1.9", "10.0.2.77", n))
        .collect();
    bed.receive(0, &packets);
    assert_eq!(bed.drops, [DropReason::NeighbourQueueFull; 4]);
    let sent = bed.receive(1, &[arp_reply(1, "10.0.2.77", "10.0.2.1")]);
    assert_eq!(sent.len(), 16);
    assert_eq!(sent[0].1.len(), packets[4].len());
}

#[test]
fn arp_is_answered_for_own_and_proxied_addresses_of_the_port_only() {
    let mut bed = Bed::new();
    bed.proxy = vec![prefix("10.0.2.64/28")];
    bed.publish();
    for (target, answered) in [
        ("10.0.2.1", true),
        ("10.0.2.70", true),
        ("10.0.2.80", false),
        ("10.0.1.1", false),
    ] {
        let sent = bed.receive(1, &[arp_request(1, "10.0.2.9", target)]);
        assert_eq!(sent.len(), usize::from(answered), "{target}");
        if let Some((port, frame, _)) = sent.first() {
            assert_eq!((*port, &frame[..6]), (1, &STATIONS[1][..]));
            assert_eq!(frame[20..28], [&[0, 2][..], &MACS[1]].concat());
            assert_eq!(frame[28..32], at(target).octets4());
        }
    }
    assert_eq!(bed.states(), [("10.0.2.9".to_owned(), State::Stale)]);
    assert_eq!(bed.drops, []);
}

#[test]
fn neighbour_solicitations_are_answered_likewise() {
    let mut bed = Bed::new();
    bed.proxy = vec![prefix("2001:db8:2:0:1::/80")];
    bed.publish();
    for (target, flags) in [
        ("2001:db8:2::1", Some(0xe0)),
        ("2001:db8:2:0:1::7", Some(0xc0)),
        ("fe80::ff:fe00:201", Some(0xe0)),
        ("2001:db8:2::99", None),
    ] {
        let sent = bed.receive(1, &[solicitation(1, "2001:db8:2::9", target)]);
        match flags {
            Some(flags) => {
                let (port, frame, _) = only(sent);
                assert_eq!((port, &frame[..6]), (1, &STATIONS[1][..]), "{target}");
                assert_eq!((frame[54], frame[58]), (136, flags), "{target}");
                assert_eq!(frame[62..78], at(target).octets6());
                icmp(&frame);
            }
            None => assert!(sent.is_empty(), "{target}"),
        }
    }
}

#[test]
fn broken_discovery_and_conflicts_have_their_reasons() {
    let mut bed = Bed::new();
    let good = solicitation(0, "2001:db8:1::9", "2001:db8:1::1");
    bed.receive(0, &[change(&good, 21, &[64])]);
    bed.receive(0, &[change(&good, 60, &[1])]);
    assert_eq!(bed.drops, [DropReason::NdBad; 2]);
    bed.drops.clear();
    bed.receive(
        0,
        &[change(&arp_request(0, "10.0.1.9", "10.0.1.1"), 18, &[8])],
    );
    assert_eq!(bed.drops, [DropReason::ArpBad]);
    bed.drops.clear();
    bed.receive(0, &[arp_request(0, "10.0.1.1", "10.0.1.1")]);
    bed.receive(0, &[solicitation(0, "2001:db8:1::1", "2001:db8:1::1")]);
    assert_eq!(bed.drops[0], DropReason::AddressConflict);
    assert_eq!(bed.drops.len(), 2);
    assert!(bed.states().is_empty());
}

#[test]
fn addresses_are_announced_when_a_port_comes_up() {
    let mut bed = Bed::new();
    let announced = |sent: &[Sent]| {
        let arp = sent.iter().filter(|(_, frame, _)| frame[12..14] == [8, 6]);
        (arp.clone().count(), sent.len() - arp.count())
    };
    assert_eq!(announced(&bed.wait(SECOND)), (2, 2));
    assert_eq!(announced(&bed.wait(SECOND)), (0, 0));
    bed.links[1].set(false, 1500, Offloads::ALL);
    assert_eq!(announced(&bed.wait(SECOND)), (0, 0));
    bed.links[1].set(true, 1500, Offloads::ALL);
    let sent = bed.wait(SECOND);
    assert_eq!(announced(&sent), (1, 1));
    assert!(sent.iter().all(|(port, _, _)| *port == 1));
}

#[test]
fn a_hop_count_that_ends_is_told() {
    let mut bed = Bed::new();
    bed.introduce();
    for (from, to, at, expected) in [
        ("10.0.1.9", "198.51.100.7", 22, (11, 0, "10.0.1.1")),
        (
            "2001:db8:1::9",
            "2001:db8:9::7",
            21,
            (3, 0, "2001:db8:1::1"),
        ),
    ] {
        for hops in [0, 1] {
            let frame = change(&udp(0, from, to, 4), at, &[hops]);
            let (port, error, _) = only(bed.receive(0, &[frame]));
            let (kind, code, source, _) = icmp(&error);
            assert_eq!(port, 0);
            assert_eq!((kind, code, source.as_str()), expected);
        }
    }
    assert_eq!(bed.drops, [DropReason::TtlExpired; 4]);
}

#[test]
fn no_route_and_refusing_routes_are_told_as_they_say() {
    let mut bed = Bed::new();
    bed.introduce();
    let refusing = |to: &str, kind| Route {
        kind,
        hops: Vec::new(),
        ..route(to, "10.0.2.254", 1)
    };
    bed.routes = vec![
        refusing("192.0.2.0/26", RouteKind::Blackhole),
        refusing("192.0.2.64/26", RouteKind::Unreachable),
        refusing("192.0.2.128/26", RouteKind::Prohibit),
    ];
    bed.publish();
    for (to, expected, reason) in [
        ("198.51.100.1", Some((3, 0)), DropReason::NoRoute),
        ("192.0.2.1", None, DropReason::RouteRefuses),
        ("192.0.2.65", Some((3, 1)), DropReason::RouteRefuses),
        ("192.0.2.129", Some((3, 13)), DropReason::RouteRefuses),
    ] {
        let sent = bed.receive(0, &[udp(0, "10.0.1.9", to, 4)]);
        let error = sent.first().map(|(_, frame, _)| {
            let (kind, code, ..) = icmp(frame);
            (kind, code)
        });
        assert_eq!(error, expected, "{to}");
        assert_eq!(bed.drops.pop(), Some(reason), "{to}");
    }
    let sent = bed.receive(0, &[udp(0, "2001:db8:1::9", "2001:db8:9::1", 4)]);
    assert_eq!(icmp(&only(sent).1).0, 1);
}

#[test]
fn what_may_not_be_cut_is_told_the_mtu() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.links[1].set(true, 1400, Offloads::ALL);
    let big = change(&udp(0, "10.0.1.9", "198.51.100.7", 1400), 20, &[0x40, 0]);
    let (port, error, _) = only(bed.receive(0, &[big]));
    assert_eq!(
        (port, icmp(&error)),
        (0, (3, 4, "10.0.1.1".to_owned(), 1400))
    );
    let big = udp(0, "2001:db8:1::9", "2001:db8:9::7", 1400);
    let (_, error, _) = only(bed.receive(0, &[big]));
    assert_eq!(icmp(&error), (2, 0, "2001:db8:1::1".to_owned(), 1400));
    assert_eq!(bed.drops, [DropReason::PacketTooBig; 2]);
    // A route may know of a smaller MTU behind.
    bed.routes[0].mtu = Some(1300);
    bed.publish();
    let big = change(&udp(0, "10.0.1.9", "198.51.100.7", 1350), 20, &[0x40, 0]);
    let (_, error, _) = only(bed.receive(0, &[big]));
    assert_eq!(icmp(&error).3, 1300);
}

#[test]
fn what_may_be_cut_is_cut_also_when_it_had_to_wait() {
    let mut bed = Bed::new();
    bed.links[1].set(true, 600, Offloads::ALL);
    let frame = udp(0, "10.0.1.9", "10.0.2.77", 1400);
    let rebuilt = |sent: Vec<Sent>| {
        let mut payload: Vec<u8> = Vec::new();
        for (port, piece, _) in sent {
            assert_eq!(port, 1);
            assert!(piece.len() <= 614);
            assert_eq!(checksum(&piece[14..34]), 0);
            assert_eq!((&piece[..6], piece[22]), (&STATIONS[1][..], 63));
            payload.extend(&piece[34..]);
        }
        payload
    };
    bed.receive(0, std::slice::from_ref(&frame));
    let sent = bed.receive(1, &[arp_reply(1, "10.0.2.77", "10.0.2.1")]);
    assert_eq!(rebuilt(sent), frame[34..]);
    let sent = bed.receive(0, std::slice::from_ref(&frame));
    assert_eq!(rebuilt(sent), frame[34..]);
    assert_eq!(bed.drops, []);
}

/// A TCP super-frame of segments of `size` bytes.
fn super_frame(to: &str, payload: usize, size: u16) -> (Vec<u8>, VnetHeader) {
    let mut tcp = vec![0; 20 + payload];
    tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
    tcp[12] = 5 << 4;
    tcp[13] = 0x10;
    tcp[20..]
        .iter_mut()
        .enumerate()
        .for_each(|(n, byte)| *byte = n as u8);
    let frame = change(&ip(0, "10.0.1.9", to, 6, &tcp), 20, &[0x40, 0]);
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: VnetHeader::GSO_TCPV4,
        hdr_len: 54,
        gso_size: size,
        csum_start: 34,
        csum_offset: 16,
    };
    (frame, vnet)
}

#[test]
fn a_super_frame_crosses_whole_and_is_judged_by_its_segments() {
    let mut bed = Bed::new();
    bed.introduce();
    let (frame, vnet) = super_frame("198.51.100.7", 40_000, 1460);
    let (port, sent, after) = only(bed.receive_with(0, &[(frame.clone(), vnet)]));
    assert_eq!((port, after, sent.len()), (1, vnet, frame.len()));
    assert_eq!(sent[34..], frame[34..]);
    bed.links[1].set(true, 1400, Offloads::ALL);
    let (port, error, _) = only(bed.receive_with(0, &[(frame, vnet)]));
    let (kind, code, _, mtu) = icmp(&error);
    assert_eq!((port, kind, code, mtu), (0, 3, 4, 1400));
    let (frame, vnet) = super_frame("198.51.100.7", 40_000, 1360);
    assert_eq!(only(bed.receive_with(0, &[(frame, vnet)])).0, 1);
    assert_eq!(bed.drops, [DropReason::PacketTooBig]);
}

#[test]
fn odd_addresses_end_silently_with_their_reasons() {
    let mut bed = Bed::new();
    bed.introduce();
    let packet = udp(0, "10.0.1.9", "198.51.100.7", 4);
    let source = |bytes: [u8; 4]| change(&packet, 26, &bytes);
    let to = |bytes: [u8; 4]| change(&packet, 30, &bytes);
    let mut grouped = packet.clone();
    grouped[..6].fill(0xff);
    let mut elsewhere = packet.clone();
    elsewhere[5] ^= 1;
    let six = udp(0, "2001:db8:1::9", "2001:db8:9::7", 4);
    let source6 = |text: &str| change(&six, 22, &at(text).octets6());
    let to6 = |text: &str| change(&six, 38, &at(text).octets6());
    let mapped = change(
        &six,
        22,
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 1, 9],
    );
    let cases = [
        (source([127, 0, 0, 1]), DropReason::MartianSource),
        (source([224, 0, 0, 1]), DropReason::MartianSource),
        (source([255; 4]), DropReason::MartianSource),
        (source([0, 0, 0, 0]), DropReason::MartianSource),
        (source([10, 0, 1, 1]), DropReason::MartianSource),
        (source([10, 0, 2, 1]), DropReason::MartianSource),
        (to([127, 0, 0, 1]), DropReason::MartianDestination),
        (to([0, 0, 0, 0]), DropReason::MartianDestination),
        (to([224, 0, 0, 9]), DropReason::GroupNotForwarded),
        (to([255; 4]), DropReason::NoListener),
        (to([10, 0, 1, 255]), DropReason::NoListener),
        (to([10, 0, 2, 255]), DropReason::NoListener),
        (grouped, DropReason::GroupNotForwarded),
        (elsewhere, DropReason::NotForUs),
        (source6("::1"), DropReason::MartianSource),
        (source6("ff02::9"), DropReason::MartianSource),
        (source6("::"), DropReason::MartianSource),
        (mapped, DropReason::MartianSource),
        (to6("::1"), DropReason::MartianDestination),
        (to6("ff05::2"), DropReason::GroupNotForwarded),
        (to6("fe80::9"), DropReason::BeyondScope),
        (link(MACS[0], STATIONS[0], 0x88cc), DropReason::NotRouted),
    ];
    for (frame, reason) in cases {
        let sent = bed.receive(0, std::slice::from_ref(&frame));
        assert!(sent.is_empty(), "{reason}: {sent:02x?}");
        assert_eq!(bed.drops, [reason], "{frame:02x?}");
        bed.drops.clear();
    }
    // A link-local source is told that it reaches no further (RFC 4443, 3.1, code 2).
    bed.receive(0, &[solicitation(0, "fe80::9", "2001:db8:1::1")]);
    let (port, error, _) = only(bed.receive(0, &[source6("fe80::9")]));
    let (kind, code, source, _) = icmp(&error);
    assert_eq!((port, kind, code), (0, 1, 2));
    assert_eq!(source, "fe80::ff:fe00:101");
}

#[test]
fn options_are_looked_at() {
    let mut bed = Bed::new();
    bed.introduce();
    let with = |options: &[u8]| {
        let mut frame = udp(0, "10.0.1.9", "198.51.100.7", 4);
        frame.splice(34..34, options.iter().copied());
        frame[14] = 0x45 + (options.len() / 4) as u8;
        let total = (frame.len() - 14) as u16;
        change(&frame, 16, &total.to_be_bytes())
    };
    assert_eq!(only(bed.receive(0, &[with(&[1, 1, 1, 0])])).0, 1);
    assert!(bed.receive(0, &[with(&[131, 3, 4, 0])]).is_empty());
    assert_eq!(bed.drops, [DropReason::SourceRoute]);
    let (_, error, _) = only(bed.receive(0, &[with(&[7, 40, 4, 0])]));
    assert_eq!(icmp(&error), (12, 0, "10.0.1.1".to_owned(), 20 << 24));
}

#[test]
fn errors_have_a_rate() {
    let mut bed = Bed::with(Host::new(1, 1500, &[], None), 10);
    bed.introduce();
    let expired = change(&udp(0, "10.0.1.9", "198.51.100.7", 4), 22, &[1]);
    let count = |bed: &mut Bed| bed.receive(0, &vec![expired.clone(); 60]).len();
    assert_eq!(count(&mut bed), 50);
    assert_eq!(count(&mut bed), 0);
    bed.now_ns += SECOND;
    assert_eq!(count(&mut bed), 10);
}

#[test]
fn a_port_that_is_down_gives_way_to_another_route() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.routes.push(Route {
        metric: 9,
        ..route("0.0.0.0/0", "10.0.1.9", 0)
    });
    bed.publish();
    let packet = udp(0, "10.0.1.9", "198.51.100.7", 4);
    assert_eq!(only(bed.receive(0, std::slice::from_ref(&packet))).0, 1);
    bed.links[1].set(false, 1500, Offloads::ALL);
    assert_eq!(only(bed.receive(0, std::slice::from_ref(&packet))).0, 0);
    bed.links[1].set(true, 1500, Offloads::ALL);
    assert_eq!(only(bed.receive(0, &[packet])).0, 1);
}

#[test]
fn several_next_hops_share_flows_and_keep_each_flow() {
    let mut bed = Bed::new();
    bed.introduce();
    bed.receive(1, &[arp_request(1, "10.0.2.253", "10.0.2.1")]);
    let mut many = route("0.0.0.0/0", "10.0.2.254", 1);
    many.hops.push(Hop {
        port: PortId(0),
        via: Some(at("10.0.1.9")),
        weight: 1,
    });
    bed.routes = vec![many];
    bed.publish();
    let mut ports = [0; 2];
    for n in 0..200u16 {
        let frame = change(&udp(0, "10.0.1.9", "198.51.100.7", 4), 34, &n.to_be_bytes());
        let first = only(bed.receive(0, std::slice::from_ref(&frame))).0;
        assert_eq!(only(bed.receive(0, &[frame])).0, first);
        ports[usize::from(first)] += 1;
    }
    assert!(ports.iter().all(|count| *count > 50), "{ports:?}");
}

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

#[test]
fn forwarding_brings_forth_nothing_and_remembers_its_ways() {
    let mut bed = Bed::new();
    bed.introduce();
    let batch = vec![udp(0, "10.0.1.9", "198.51.100.7", 4); 64];
    for _ in 0..3 {
        assert_eq!(bed.receive(0, &batch).len(), 64);
    }
    assert_eq!(bed.drops, []);
}

#[test]
fn a_mark_chooses_a_table() {
    // Without rules nothing sets a mark: 0 is one, too.
    let mut bed = Bed::new();
    bed.introduce();
    bed.routes.push(Route {
        table: 100,
        ..route("0.0.0.0/0", "10.0.1.9", 0)
    });
    let packet = udp(0, "10.0.1.9", "198.51.100.7", 4);
    bed.publish();
    assert_eq!(only(bed.receive(0, std::slice::from_ref(&packet))).0, 1);
    bed.marks.push(MarkRule {
        mark: 0,
        mask: u32::MAX,
        table: 100,
    });
    bed.publish();
    assert_eq!(only(bed.receive(0, &[packet])).0, 0);
}
