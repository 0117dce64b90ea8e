//! The hosts' traffic: what a host sends, and what the receiving host saw of it.
//!
//! Every function runs inside a namespace (see [`Namespace::run`](crate::netns::Namespace::run)),
//! is bounded in time, and uses nothing but sockets.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, ipproto};

/// Sends `count` echo requests and returns how many were answered, with the median round trip.
pub(super) fn ping(to: IpAddr, count: u16) -> io::Result<(u16, Duration)> {
    let (family, protocol, request, reply) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 0),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 129),
    };
    let socket = rustix::net::socket(family, SocketType::RAW, Some(protocol))?;
    let identifier = std::process::id() as u16;
    let mut times = Vec::new();
    for sequence in 1..=count {
        let message = echo_request(request, identifier, sequence);
        let sent = Instant::now();
        rustix::net::sendto(
            &socket,
            &message,
            rustix::net::SendFlags::empty(),
            &SocketAddr::new(to, 0),
        )?;
        if echo_reply(&socket, to.is_ipv4(), reply, identifier, sequence, sent)? {
            times.push(sent.elapsed());
        }
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok((times.len() as u16, median))
}

/// Who says that an echo request with one hop has come to its end, if anybody does.
pub(super) fn first_hop(to: IpAddr) -> io::Result<Option<IpAddr>> {
    use rustix::net::sockopt::{set_ip_ttl, set_ipv6_unicast_hops};
    let (family, protocol, request, exceeded) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP, 8, 11),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6, 128, 3),
    };
    let socket = rustix::net::socket(family, SocketType::RAW, Some(protocol))?;
    match to {
        IpAddr::V4(_) => set_ip_ttl(&socket, 1)?,
        IpAddr::V6(_) => set_ipv6_unicast_hops(&socket, Some(1))?,
    }
    let message = echo_request(request, std::process::id() as u16, 1);
    let nothing = rustix::net::SendFlags::empty();
    rustix::net::sendto(&socket, &message, nothing, &SocketAddr::new(to, 0))?;
    let begun = Instant::now();
    let mut buffer = [0_u8; 2048];
    while let Some(rest) = PATIENCE.checked_sub(begun.elapsed()) {
        if !readable(&socket, rest)? {
            break;
        }
        let nothing = rustix::net::RecvFlags::empty();
        let (length, _, from) = rustix::net::recvfrom(&socket, &mut buffer[..], nothing)?;
        let header = if to.is_ipv4() {
            usize::from(buffer[0] & 15) * 4
        } else {
            0
        };
        let from = from.and_then(|from| SocketAddr::try_from(from).ok());
        if buffer[..length].get(header) == Some(&exceeded) {
            return Ok(from.map(|from| from.ip()));
        }
    }
    Ok(None)
}

/// The MTU of the way to an address, as the system has learnt it after a datagram of this size that
/// must not be cut.
pub(super) fn path_mtu(to: SocketAddr, bytes: usize) -> io::Result<u32> {
    use nix::sys::socket::{getsockopt, sockopt};
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    let begun = Instant::now();
    loop {
        // The first goes out, a later one fails once the error has been heard: both are in order.
        let sent = socket.send(&vec![0x5a; bytes]);
        let mtu = getsockopt(&socket, sockopt::IpMtu)? as u32;
        let fits = mtu as usize >= bytes + 28;
        if !fits || begun.elapsed() > PATIENCE {
            return Ok(mtu);
        }
        if let Err(error) = sent
            && error.kind() == io::ErrorKind::PermissionDenied
        {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(1);

fn echo_request(kind: u8, identifier: u16, sequence: u16) -> [u8; 64] {
    let mut message = [0x5a_u8; 64];
    message[..4].copy_from_slice(&[kind, 0, 0, 0]);
    message[4..6].copy_from_slice(&identifier.to_be_bytes());
    message[6..8].copy_from_slice(&sequence.to_be_bytes());
    // The kernel fills in the checksum of ICMPv6 on a raw socket; for ICMP it is ours to do.
    let checksum = internet_checksum(&message);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    message
}

/// RFC 1071 over an even number of bytes.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks_exact(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// Waits for the answer to one echo request.
fn echo_reply(
    socket: &OwnedFd,
    has_ip_header: bool,
    kind: u8,
    identifier: u16,
    sequence: u16,
    sent: Instant,
) -> io::Result<bool> {
    let mut buffer = [0_u8; 2048];
    while let Some(rest) = PATIENCE.checked_sub(sent.elapsed()) {
        if !readable(socket, rest)? {
            return Ok(false);
        }
        let (length, _) =
            rustix::net::recv(socket, &mut buffer[..], rustix::net::RecvFlags::empty())?;
        let header = if has_ip_header {
            usize::from(buffer[0] & 15) * 4
        } else {
            0
        };
        let wanted = [identifier.to_be_bytes(), sequence.to_be_bytes()].concat();
        let message = buffer[..length].get(header..).unwrap_or_default();
        if message.first() == Some(&kind) && message.get(4..8) == Some(&wanted[..]) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn readable(socket: &impl AsFd, patience: Duration) -> io::Result<bool> {
    let mut polled = [rustix::event::PollFd::new(
        socket,
        rustix::event::PollFlags::IN,
    )];
    let patience = rustix::time::Timespec {
        tv_sec: patience.as_secs() as i64,
        tv_nsec: i64::from(patience.subsec_nanos()),
    };
    Ok(rustix::event::poll(&mut polled, Some(&patience))? > 0)
}

/// A stream that came.
pub(super) struct Received {
    /// How long it took.
    pub(super) took: Duration,
    /// From whom it came, as the receiver sees it.
    pub(super) from: SocketAddr,
}

/// Receives `bytes` over one connection and checks every one of them.
pub(super) fn receive_stream(listener: &TcpListener, bytes: u64) -> io::Result<Received> {
    if !readable(listener, Duration::from_secs(5))? {
        return Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no connection arrived",
        ));
    }
    let (mut stream, from) = listener.accept()?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let begun = Instant::now();
    let (mut buffer, mut expected) = (vec![0; CHUNK], Pattern::new());
    let mut left = bytes;
    while left > 0 {
        let want = left.min(CHUNK as u64) as usize;
        stream.read_exact(&mut buffer[..want])?;
        if buffer[..want] != *expected.next(want) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the bytes that arrived are not those sent",
            ));
        }
        left -= want as u64;
    }
    let took = begun.elapsed();
    stream.write_all(b"!")?;
    Ok(Received { took, from })
}

/// Sends `bytes` over one connection and waits until the receiver has checked them.
pub(super) fn send_stream(to: SocketAddr, bytes: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(5))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut pattern = Pattern::new();
    let mut left = bytes;
    while left > 0 {
        let want = left.min(CHUNK as u64) as usize;
        stream.write_all(pattern.next(want))?;
        left -= want as u64;
    }
    let mut acknowledged = [0];
    stream.read_exact(&mut acknowledged)
}

/// Bytes of a stream that are written or compared at once.
const CHUNK: usize = 256 * 1024;

/// A stream that repeats only after 16 MiB, so that bytes out of place do not go unseen.
struct Pattern {
    bytes: Vec<u8>,
    at: usize,
}

impl Pattern {
    fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(16 << 20);
        while bytes.len() < 16 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        Self { bytes, at: 0 }
    }

    /// The next `count` bytes (at most [`CHUNK`]; the pattern is a multiple of it).
    fn next(&mut self, count: usize) -> &[u8] {
        let start = self.at;
        self.at = (self.at + CHUNK) % self.bytes.len();
        &self.bytes[start..start + count]
    }
}

/// Sends `count` datagrams to `to`.
pub(super) fn send_datagrams(from: IpAddr, to: SocketAddr, count: usize) -> io::Result<()> {
    let socket = UdpSocket::bind((from, 0))?;
    for number in 0..count {
        socket.send_to(format!("datagram {number}").as_bytes(), to)?;
    }
    Ok(())
}

/// Whether a datagram to a port where nobody listens is answered by an error that its sender hears of.
pub(super) fn is_refused(to: SocketAddr) -> io::Result<bool> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(b"anybody?")?;
    match socket.recv(&mut [0; 16]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
        Ok(_) => Ok(false),
    }
}

/// How many datagrams arrive before it is quiet for `quiet`, at most `most`.
pub(super) fn count_datagrams(
    socket: &UdpSocket,
    most: usize,
    quiet: Duration,
) -> io::Result<usize> {
    socket.set_read_timeout(Some(quiet))?;
    let mut buffer = [0; 2048];
    for seen in 0..most {
        match socket.recv(&mut buffer) {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Ok(seen);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(most)
}

/// The MAC address that this host has learnt for `of`, from its ARP table.
pub(super) fn learnt_address(of: IpAddr) -> io::Result<Option<String>> {
    let table = std::fs::read_to_string("/proc/thread-self/net/arp")?;
    let of = of.to_string();
    Ok(table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&of.as_str()) && fields.get(2) == Some(&"0x2"))
        .and_then(|fields| fields.get(3).map(|&mac| mac.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_request_has_a_right_checksum() {
        let message = echo_request(8, 7, 1);
        assert_eq!(internet_checksum(&message), 0);
    }

    #[test]
    fn a_stream_is_checked_byte_by_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let bytes = CHUNK as u64 * 3 + 17;
        let sender = std::thread::spawn(move || send_stream(to, bytes));
        receive_stream(&listener, bytes).unwrap();
        sender.join().unwrap().unwrap();

        let sender =
            std::thread::spawn(move || TcpStream::connect(to).unwrap().write_all(&[0; 2 * CHUNK]));
        assert!(receive_stream(&listener, 10).is_err());
        // The sender may see its connection reset: it does not matter here.
        let _ = sender.join().unwrap();
    }
}
