//! A translating gateway in memory, under virtual time: the engine's compiler and the worker's own
//! pipeline, packets in, packets out.
//!
//! ```text
//!     10.1.0.0/16, fd01::/64 -- inside [10.1.0.1, fd01::1 | 192.0.2.1, 2001:db8::1] outside -- everybody else
//! ```
//!
//! Both ports are point to point, so that nobody has to be asked for a link address. The network outside
//! takes 1,500 bytes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile, Request};
use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::{self, Flow, Tracker};
use sluice_dataplane::gateway::{
    self, Address, Gateway, Hop, Host, Origin, Prefix, Route, RouteKind, route,
};
use sluice_dataplane::nat::Translator;
use sluice_dataplane::packet::frame::{Burst, HEADROOM};
use sluice_dataplane::packet::{Frame, VnetHeader};
use sluice_dataplane::port::{LinkState, Offloads, PortId};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::engines;
use sluice_dataplane::worker::{
    Context, Disposition, EventQueue, Fate, Generation, Pipeline, PortInfo, PortTable, Stages,
    SystemClock,
};

/// A second of virtual time.
pub const SECOND: u64 = 1_000_000_000;

/// Where packets come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The network inside.
    Inside = 0,
    /// The network outside.
    Outside = 1,
}

/// The gateway.
#[derive(Debug)]
pub struct Translated {
    engine: Engine,
    generation: Arc<Generation>,
    pipeline: Pipeline,
    tracker: Arc<Tracker>,
    translator: Arc<Translator>,
    out: Disposition,
    now_ns: u64,
    /// Why packets ended, since this was looked at last.
    pub drops: Vec<DropReason>,
}

/// A packet that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// By which side.
    pub side: Side,
    /// The frame.
    pub frame: Vec<u8>,
}

impl Translated {
    /// A gateway with this ruleset and the tracker's default settings.
    ///
    /// # Panics
    /// When the ruleset is refused.
    pub fn new(ruleset: &str) -> Self {
        Self::with(ruleset, conntrack::Settings::default())
    }

    /// The same with other settings of the tracker.
    ///
    /// # Panics
    /// When the ruleset is refused.
    pub fn with(ruleset: &str, settings: conntrack::Settings) -> Self {
        let profile = Profile {
            mode: Mode::Gateway,
            ports: ["inside", "outside"].map(profile).to_vec(),
        };
        let counters = Arc::new(Counters::new(1));
        let clock = Arc::new(SystemClock);
        let mut engine = Engine::new(profile.clone(), counters, clock, Box::new(NoWorkers));
        engine.set_engines(engines::TRACK | engines::NAT | engines::ROUTES | engines::SYNPROXY);
        engine.set_ports(profile, Arc::new(ports()));
        engine
            .run(Request::file("ruleset", ruleset))
            .unwrap_or_else(|refusal| panic!("{}", refusal.rendered));
        let generation = engine.live().cloned().expect("a ruleset is in force");
        let settings = conntrack::Settings {
            max: 200_000,
            ..settings
        };
        let tracker = Tracker::new(settings, 1, 1).expect("there is memory for the flows");
        let translator = Translator::new(&tracker);
        generation.objects().resolve(&tracker);
        let pipeline = Pipeline::new(1, Arc::new(EventQueue::new(16)))
            .tracking(tracker.worker(0))
            .translating(Arc::clone(&translator));
        Self {
            engine,
            generation,
            pipeline,
            tracker,
            translator,
            out: Disposition::default(),
            now_ns: 1000 * SECOND,
            drops: Vec::new(),
        }
    }

    /// The same gateway after a restart: with this ruleset, and the flows of the old one.
    ///
    /// # Panics
    /// When the flows cannot be saved and loaded.
    pub fn restarted(&self, ruleset: &str) -> Self {
        let mut new = Self::new(ruleset);
        new.now_ns = self.now_ns;
        let mut saved = Vec::new();
        let now_ns = self.now_ns;
        let flows = self.tracker.save(now_ns, now_ns, &mut saved);
        let loaded = new.tracker.load(&saved, now_ns, now_ns);
        let (flows, loaded) = (flows.expect("saved"), loaded.expect("loaded"));
        assert_eq!(loaded.added, flows);
        new.translator.adopt(&new.tracker, now_ns, now_ns);
        new
    }

    /// A packet comes from a side; yields what leaves.
    pub fn send(&mut self, side: Side, frame: &[u8]) -> Vec<Seen> {
        self.send_all(side, std::slice::from_ref(&frame.to_vec()))
    }

    /// Packets come in one batch.
    pub fn send_all(&mut self, side: Side, frames: &[Vec<u8>]) -> Vec<Seen> {
        self.send_with(side, frames, VnetHeader::default())
    }

    /// Packets come in one batch, all with this offload header, in slots with some room behind them.
    pub fn send_with(&mut self, side: Side, frames: &[Vec<u8>], vnet: VnetHeader) -> Vec<Seen> {
        const ROOM: usize = 64;
        let mut slots: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| [&[0; HEADROOM][..], frame, &[0; ROOM]].concat())
            .collect();
        let mut burst = Burst::new();
        for slot in &mut slots {
            let len = slot.len() - HEADROOM - ROOM;
            let mut frame = Frame::borrowed(slot, HEADROOM, len, PortId(side as u16));
            frame.vnet = vnet;
            burst.push(frame);
        }
        self.now_ns += 1000;
        self.out.clear();
        let context = self.context();
        self.pipeline
            .process(&mut burst, &self.generation, &context, &mut self.out);
        let mut seen = Vec::new();
        for (lane, frame) in burst.iter().enumerate() {
            match self.out.fate(lane) {
                Fate::Send(port) => seen.push(one(port, frame.bytes())),
                Fate::Drop { reason, .. } => self.drops.push(reason),
                Fate::Held => {}
            }
        }
        seen.extend(self.brought_forth());
        seen
    }

    /// A packet comes from inside and one leaves outside.
    ///
    /// # Panics
    /// When none leaves there, or more than one.
    pub fn out(&mut self, frame: &[u8]) -> Seen {
        self.only(Side::Inside, frame, Side::Outside)
    }

    /// A packet comes from outside and one leaves inside.
    ///
    /// # Panics
    /// When none leaves there, or more than one.
    pub fn back(&mut self, frame: &[u8]) -> Seen {
        self.only(Side::Outside, frame, Side::Inside)
    }

    /// A packet comes from one side and one leaves by the other.
    ///
    /// # Panics
    /// When that is not what happens.
    pub fn only(&mut self, from: Side, frame: &[u8], to: Side) -> Seen {
        let seen = self.send(from, frame);
        assert!(
            seen.len() == 1 && seen[0].side == to,
            "{seen:02x?} {:?}",
            self.drops
        );
        seen[0].clone()
    }

    fn brought_forth(&mut self) -> Vec<Seen> {
        let emitted = self.out.emitted.iter();
        let seen = emitted
            .map(|(port, frame)| one(*port, frame.bytes()))
            .collect();
        let ended = self.out.ended.iter().map(|(_, reason, _)| *reason);
        self.drops.extend(ended);
        self.out.clear();
        seen
    }

    fn context(&self) -> Context {
        Context {
            worker: 0,
            now_ns: self.now_ns,
            wall_ns: self.now_ns,
        }
    }

    /// Time passes; yields what leaves meanwhile.
    pub fn wait(&mut self, seconds: u64) -> Vec<Seen> {
        let mut seen = Vec::new();
        // In steps, so that the wheel of timeouts turns as it does in life.
        for _ in 0..seconds {
            self.now_ns += SECOND;
            let context = self.context();
            self.pipeline
                .tick(&self.generation, &context, &mut self.out);
            seen.extend(self.brought_forth());
        }
        seen
    }

    /// The ruleset as it is listed, with its counters.
    ///
    /// # Panics
    /// When it cannot be listed.
    pub fn listing(&mut self) -> String {
        let reply = self.engine.run(Request::command("list ruleset"));
        reply
            .unwrap_or_else(|refusal| panic!("{}", refusal.rendered))
            .output
    }

    /// The tracked flows.
    pub fn flows(&self) -> Vec<Flow> {
        let (mut from, mut flows) = (Some(0), Vec::new());
        while let Some(next) = from {
            from = self
                .tracker
                .list(&conntrack::Filter::default(), next, 1024, &mut flows);
        }
        flows
    }

    /// The time, which is that of the wall too.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The translator.
    pub fn translator(&self) -> &Translator {
        &self.translator
    }

    /// The tracker.
    pub fn tracker(&self) -> &Arc<Tracker> {
        &self.tracker
    }
}

fn one(port: PortId, bytes: &[u8]) -> Seen {
    Seen {
        side: if port.0 == 0 {
            Side::Inside
        } else {
            Side::Outside
        },
        frame: bytes.to_vec(),
    }
}

fn profile(name: &str) -> PortProfile {
    PortProfile {
        name: name.to_owned(),
        index: if name == "inside" { 10 } else { 11 },
        group: 0,
        kind: 1,
        peer: None,
        bridge: None,
    }
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

fn default_route(to: &str) -> Route {
    Route {
        to: Prefix::new(address(to), 0).expect("a prefix"),
        table: route::MAIN,
        metric: 0,
        kind: RouteKind::Unicast,
        hops: vec![Hop {
            port: PortId(1),
            via: None,
            weight: 1,
        }],
        mtu: None,
        origin: Origin::Static,
    }
}

fn ports() -> PortTable {
    let link = || Arc::new(LinkState::new(true, 1500, Offloads::ALL));
    let port = |id, addresses: [(&str, u8); 2]| {
        let addresses = addresses.map(|(text, length)| (address(text), length));
        let mut port = gateway::Port::new(PortId(id), [2; 6], link(), addresses.to_vec());
        port.point_to_point = true;
        port
    };
    let ports = vec![
        port(0, [("10.1.0.1", 16), ("fd01::1", 64)]),
        port(1, [("192.0.2.1", 24), ("2001:db8::1", 64)]),
    ];
    let shared = gateway::Shared::new(42, 0, Host::new(1, 1500, &[], None));
    let routes = vec![default_route("0.0.0.0"), default_route("::")];
    let mut table = PortTable::default();
    for (id, name) in [(0, "inside"), (1, "outside")] {
        let mut info = PortInfo::new(name, 10 + id, "memory");
        info.mac = [2; 6];
        table.set(PortId(id as u16), Some(info));
    }
    table.set_gateway(Some(Gateway::new(ports, routes, Vec::new(), shared)));
    table
}

/// A packet in the making.
fn builder(from: IpAddr, to: IpAddr) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
    let link = PacketBuilder::ethernet2([4; 6], [2; 6]);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => link.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => link.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("two families"),
    }
}

fn ends(from: &str, to: &str) -> (SocketAddr, SocketAddr) {
    (
        from.parse().expect("address and port"),
        to.parse().expect("address and port"),
    )
}

/// A datagram.
pub fn udp(from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
    let (from, to) = ends(from, to);
    let mut frame = Vec::new();
    builder(from.ip(), to.ip())
        .udp(from.port(), to.port())
        .write(&mut frame, payload)
        .expect("it fits");
    frame
}

/// Flags of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags {
    /// SYN
    pub syn: bool,
    /// ACK
    pub ack: bool,
    /// RST
    pub rst: bool,
    /// FIN
    pub fin: bool,
}

/// A segment.
pub fn tcp(from: &str, to: &str, flags: Flags, (seq, ack): (u32, u32), payload: &[u8]) -> Vec<u8> {
    let (from, to) = ends(from, to);
    let mut step = builder(from.ip(), to.ip()).tcp(from.port(), to.port(), seq, 65_000);
    if flags.syn {
        step = step.syn();
    }
    if flags.ack {
        step = step.ack(ack);
    }
    if flags.rst {
        step = step.rst();
    }
    if flags.fin {
        step = step.fin();
    }
    let mut frame = Vec::new();
    step.write(&mut frame, payload).expect("it fits");
    frame
}

/// A first segment.
pub fn syn(from: &str, to: &str) -> Vec<u8> {
    let flags = Flags {
        syn: true,
        ..Flags::default()
    };
    tcp(from, to, flags, (1000, 0), &[])
}

/// An echo request, or its reply.
pub fn echo(from: &str, to: &str, id: u16, reply: bool) -> Vec<u8> {
    let (from, to): (IpAddr, IpAddr) = (
        from.parse().expect("an address"),
        to.parse().expect("an address"),
    );
    let step = builder(from, to);
    let mut frame = Vec::new();
    match (from.is_ipv4(), reply) {
        (true, false) => step.icmpv4_echo_request(id, 1).write(&mut frame, b"ping"),
        (true, true) => step.icmpv4_echo_reply(id, 1).write(&mut frame, b"ping"),
        (false, false) => step.icmpv6_echo_request(id, 1).write(&mut frame, b"ping"),
        (false, true) => step.icmpv6_echo_reply(id, 1).write(&mut frame, b"ping"),
    }
    .expect("it fits");
    frame
}

/// An error of this type and code from a router about a packet.
pub fn error(from: &str, to: &str, (kind, code): (u8, u8), about: &[u8]) -> Vec<u8> {
    let (from, to): (IpAddr, IpAddr) = (
        from.parse().expect("an address"),
        to.parse().expect("an address"),
    );
    let step = builder(from, to);
    let quote = &about[14..];
    let quote = &quote[..quote.len().min(if from.is_ipv4() { 548 } else { 1200 })];
    let mut frame = Vec::new();
    if from.is_ipv4() {
        step.icmpv4_raw(kind, code, [0; 4]).write(&mut frame, quote)
    } else {
        step.icmpv6_raw(kind, code, [0; 4]).write(&mut frame, quote)
    }
    .expect("it fits");
    frame
}

impl Seen {
    /// Source and destination, with ports where there are any (of echoes the id is both).
    ///
    /// # Panics
    /// When it is no IP packet, or its checksums are wrong.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        assert_eq!(wrong_sums(&self.frame), None, "{:02x?}", self.frame);
        ends_of(&self.frame[14..])
    }

    /// Where it comes from.
    pub fn from(&self) -> String {
        self.ends().0.to_string()
    }

    /// Where it goes.
    pub fn to(&self) -> String {
        self.ends().1.to_string()
    }

    /// Type and code of an ICMP error, and the ends of the packet in it.
    ///
    /// # Panics
    /// When it is none.
    pub fn error(&self) -> ((u8, u8), (SocketAddr, SocketAddr)) {
        assert_eq!(wrong_sums(&self.frame), None, "{:02x?}", self.frame);
        let at = if self.frame[14] >> 4 == 4 { 34 } else { 54 };
        let message = &self.frame[at..];
        ((message[0], message[1]), ends_of(&message[8..]))
    }
}

/// The ends of an IP packet of which perhaps only the beginning is there.
fn ends_of(packet: &[u8]) -> (SocketAddr, SocketAddr) {
    let four = packet[0] >> 4 == 4;
    let (from, to): (IpAddr, IpAddr) = if four {
        let part = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).expect("four bytes");
        (part(12).into(), part(16).into())
    } else {
        let part = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).expect("16 bytes");
        (part(8).into(), part(24).into())
    };
    let (protocol, at) = if four {
        (packet[9], usize::from(packet[0] & 15) * 4)
    } else {
        (packet[6], 40)
    };
    let word = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let (sport, dport) = match protocol {
        1 | 58 => (word(at + 4), word(at + 4)),
        _ => (word(at), word(at + 2)),
    };
    (SocketAddr::new(from, sport), SocketAddr::new(to, dport))
}

/// The first checksum of a packet that is wrong.
fn wrong_sums(frame: &[u8]) -> Option<&'static str> {
    let packet = PacketHeaders::from_ethernet_slice(frame).expect("a packet");
    let payload = packet.payload.slice();
    let (Some(net), Some(transport)) = (&packet.net, &packet.transport) else {
        return Some("no transport");
    };
    if let NetHeaders::Ipv4(header, _) = net
        && header.header_checksum != header.calc_header_checksum()
    {
        return Some("ip");
    }
    let right = match (net, transport) {
        (NetHeaders::Ipv4(ip, _), TransportHeader::Udp(udp)) => {
            udp.checksum == 0 || udp.calc_checksum_ipv4(ip, payload).ok() == Some(udp.checksum)
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Udp(udp)) => {
            udp.calc_checksum_ipv6(ip, payload).ok() == Some(udp.checksum)
        }
        (NetHeaders::Ipv4(ip, _), TransportHeader::Tcp(tcp)) => {
            tcp.calc_checksum_ipv4(ip, payload).ok() == Some(tcp.checksum)
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Tcp(tcp)) => {
            tcp.calc_checksum_ipv6(ip, payload).ok() == Some(tcp.checksum)
        }
        (NetHeaders::Ipv4(..), TransportHeader::Icmpv4(icmp)) => {
            icmp.icmp_type.calc_checksum(payload) == icmp.checksum
        }
        (NetHeaders::Ipv6(ip, _), TransportHeader::Icmpv6(icmp)) => {
            let sum = icmp
                .icmp_type
                .calc_checksum(ip.source, ip.destination, payload);
            sum.ok() == Some(icmp.checksum)
        }
        _ => true,
    };
    (!right).then_some("transport")
}
