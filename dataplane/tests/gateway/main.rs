//! A gateway of two ports in memory under virtual time: frames in, frames out, everything between.
//!
//! `inside` is 10.0.1.1/24 and 2001:db8:1::1/64 on port 0, `outside` 10.0.2.1/24 and 2001:db8:2::1/64
//! on port 1; the default routes go by 10.0.2.254 and 2001:db8:2::fe.

mod errors;
mod forwarding;
mod host;
mod neighbours;

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
