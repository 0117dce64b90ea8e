//! The gateway's own host: what answers when somebody speaks to one of its addresses.
//!
//! A smoltcp stack without a link layer, behind our own routes, ARP and ND: it takes IP packets that
//! the input hook has let through and gives back IP packets for the output hook. It resets connections
//! to ports where nobody listens, and serves two kinds of TCP ports: a health check, and an exchange
//! with the control side (the metrics listener). It answers pings that came in IPv4 fragments; IPv6
//! fragments it does not put together. Whole pings and packets for what nobody serves are answered
//! before they come here ([`icmp`](super::icmp)), because a stack that builds its headers anew cannot
//! quote a packet as it came. All workers share the host behind a lock; forwarded packets never come
//! here.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    HardwareAddress, IpAddress, IpCidr, IpListenEndpoint, Ipv4Address, Ipv6Address,
};

use super::address::Address;
use crate::port::PortId;

/// Packets that wait for the stack, and packets that it has made.
const QUEUE: usize = 256;
/// Connections at a time to one port.
const CONNECTIONS: usize = 8;
/// Bytes under way in each direction of a connection.
const WINDOW: usize = 32 << 10;
/// Longest request of an exchange.
const LONGEST_REQUEST: usize = 8 << 10;
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// Stations with link-local addresses whose port is remembered.
const NEARBY: usize = 64;
const HEALTHY: &[u8] =
    b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// What a TCP port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Takes connections; answers HTTP requests with 200.
    Health,
    /// Hands each request to the control side and sends its answer.
    Exchange,
}

/// A TCP port that the host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// At which address; `None`: at all of them.
    pub address: Option<Address>,
    /// The port.
    pub port: u16,
    /// What it is for.
    pub service: Service,
}

/// A request for the control side: the connection, and the head of an HTTP request.
pub type Request = (u64, Vec<u8>);
/// Its answer, whole.
pub type Answer = (u64, Vec<u8>);

/// The way to the control side and back.
#[derive(Debug)]
pub struct Exchange {
    /// Requests go here.
    pub requests: Sender<Request>,
    /// Answers come from here.
    pub answers: Receiver<Answer>,
}

/// One socket and what it is about.
#[derive(Debug)]
struct Connection {
    socket: SocketHandle,
    listener: Listener,
    number: u64,
    request: Vec<u8>,
    asked: bool,
    answer: Vec<u8>,
    sent: usize,
}

/// The host.
pub struct Host {
    interface: Interface,
    device: Device,
    sockets: SocketSet<'static>,
    connections: Vec<Connection>,
    exchange: Option<Exchange>,
    next: u64,
    nearby: VecDeque<(Address, PortId)>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// A host that sends packets of at most `mtu` bytes and serves these ports; `seed` is its chance.
    pub fn new(seed: u64, mtu: usize, listeners: &[Listener], exchange: Option<Exchange>) -> Self {
        let mut device = Device {
            received: VecDeque::with_capacity(QUEUE),
            sent: VecDeque::with_capacity(QUEUE),
            mtu,
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        // It takes whatever the gateway's own look-up of addresses has given it.
        interface.set_any_ip(true);
        interface.update_ip_addrs(|addresses| {
            for (address, length) in [
                (IpAddress::Ipv4(Ipv4Address::LOCALHOST), 8),
                (IpAddress::Ipv6(Ipv6Address::LOCALHOST), 128),
            ] {
                // The stack is built with room for both.
                let _ = addresses.push(IpCidr::new(address, length));
            }
        });
        let routes = interface.routes_mut();
        let _ = routes.add_default_ipv4_route(Ipv4Address::LOCALHOST);
        let _ = routes.add_default_ipv6_route(Ipv6Address::LOCALHOST);
        let mut host = Self {
            interface,
            device,
            sockets: SocketSet::new(Vec::new()),
            connections: Vec::new(),
            exchange,
            next: 1,
            nearby: VecDeque::with_capacity(NEARBY),
        };
        for listener in listeners {
            (0..CONNECTIONS).for_each(|_| host.add(*listener));
        }
        host
    }

    fn add(&mut self, listener: Listener) {
        let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.set_timeout(Some(SILENCE));
        listen(&mut socket, &listener);
        let socket = self.sockets.add(socket);
        self.connections.push(Connection {
            socket,
            listener,
            number: 0,
            request: Vec::new(),
            asked: false,
            answer: Vec::new(),
            sent: 0,
        });
    }

    /// Hands a whole IP packet in that came by a port; `false` when too many are waiting.
    pub fn deliver(&mut self, packet: &[u8], source: Address, in_port: PortId) -> bool {
        if self.device.received.len() >= QUEUE {
            return false;
        }
        if source.is_link_local6() && !self.nearby.contains(&(source, in_port)) {
            if self.nearby.len() == NEARBY {
                self.nearby.pop_front();
            }
            self.nearby.push_back((source, in_port));
        }
        self.device.received.push_back(packet.to_vec());
        true
    }

    /// Lets the host do what there is to do.
    pub fn poll(&mut self, now_ns: u64) {
        let now = Instant::from_micros((now_ns / 1000) as i64);
        for _ in 0..2 {
            self.interface
                .poll(now, &mut self.device, &mut self.sockets);
            self.hear_answers();
            for connection in &mut self.connections {
                let socket = self.sockets.get_mut::<tcp::Socket<'_>>(connection.socket);
                serve(connection, socket, self.exchange.as_ref(), &mut self.next);
            }
        }
        self.interface
            .poll(now, &mut self.device, &mut self.sockets);
    }

    fn hear_answers(&mut self) {
        let Some(exchange) = &self.exchange else {
            return;
        };
        while let Ok((number, answer)) = exchange.answers.try_recv() {
            let asked = |one: &&mut Connection| one.asked && one.number == number;
            // The connection may be gone meanwhile.
            if let Some(connection) = self.connections.iter_mut().find(asked) {
                connection.answer = answer;
            }
        }
    }

    /// The next packet that the host has made, and for a link-local destination its port.
    pub fn take(&mut self) -> Option<(Vec<u8>, Option<PortId>)> {
        let packet = self.device.sent.pop_front()?;
        let to = match packet.first()? >> 4 {
            6 => packet.get(24..40).and_then(|to| to.try_into().ok()),
            _ => None,
        };
        let to = to.map(Address::v6).filter(|to| to.is_link_local6());
        let port = to.and_then(|to| {
            let mut newest = self.nearby.iter().rev();
            newest
                .find(|(address, _)| *address == to)
                .map(|(_, port)| *port)
        });
        Some((packet, port))
    }
}

/// Makes a socket ready for the next connection.
fn listen(socket: &mut tcp::Socket<'_>, listener: &Listener) {
    let address = listener.address.map(std::net::IpAddr::from);
    let endpoint = IpListenEndpoint {
        addr: address.map(IpAddress::from),
        port: listener.port,
    };
    // Port 0 cannot be listened on; the appliance file does not allow it.
    let _ = socket.listen(endpoint);
}

/// Moves one connection on.
fn serve(
    connection: &mut Connection,
    socket: &mut tcp::Socket<'_>,
    exchange: Option<&Exchange>,
    next: &mut u64,
) {
    if !socket.is_open() {
        connection.request.clear();
        connection.answer.clear();
        (connection.asked, connection.sent) = (false, 0);
        listen(socket, &connection.listener);
        return;
    }
    if socket.can_recv() && !connection.asked {
        let room = LONGEST_REQUEST - connection.request.len();
        let taken = socket.recv(|bytes| {
            let len = bytes.len().min(room);
            connection.request.extend_from_slice(&bytes[..len]);
            (bytes.len(), ())
        });
        if taken.is_err() {
            return socket.abort();
        }
    }
    let whole = connection
        .request
        .windows(4)
        .any(|window| window == b"\r\n\r\n");
    if whole && !connection.asked {
        connection.asked = true;
        connection.number = *next;
        *next += 1;
        match (connection.listener.service, exchange) {
            (Service::Exchange, Some(exchange)) => {
                let request = (connection.number, std::mem::take(&mut connection.request));
                if exchange.requests.send(request).is_err() {
                    return socket.abort();
                }
            }
            _ => connection.answer = HEALTHY.to_vec(),
        }
    } else if connection.request.len() >= LONGEST_REQUEST {
        return socket.abort();
    }
    let rest = &connection.answer[connection.sent..];
    if !rest.is_empty()
        && socket.can_send()
        && let Ok(sent) = socket.send_slice(rest)
    {
        connection.sent += sent;
    }
    let answered = !connection.answer.is_empty() && connection.sent == connection.answer.len();
    let left = !socket.may_recv() && socket.may_send() && !connection.asked;
    if answered || left {
        socket.close();
    }
}

/// Packets in and out of the stack.
struct Device {
    received: VecDeque<Vec<u8>>,
    sent: VecDeque<Vec<u8>>,
    mtu: usize,
}

struct RxToken(Vec<u8>);
struct TxToken<'d>(&'d mut VecDeque<Vec<u8>>);

impl smoltcp::phy::Device for Device {
    type RxToken<'d> = RxToken;
    type TxToken<'d> = TxToken<'d>;

    fn receive(&mut self, _now: Instant) -> Option<(RxToken, TxToken<'_>)> {
        if self.sent.len() >= QUEUE {
            return None;
        }
        let packet = self.received.pop_front()?;
        Some((RxToken(packet), TxToken(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<TxToken<'_>> {
        (self.sent.len() < QUEUE).then_some(TxToken(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

impl smoltcp::phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, work: F) -> R {
        work(&self.0)
    }
}

impl smoltcp::phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, work: F) -> R {
        let mut packet = vec![0; len];
        let result = work(&mut packet);
        self.0.push_back(packet);
        result
    }
}
