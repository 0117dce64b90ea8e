//! The frames that constructs are aimed at, and the families whose chains see them.

use crate::frames::{Frame, Layer, icmp, tcp, udp};

/// Families that see IPv4.
pub const IP4: &[&str] = &["ip", "inet", "bridge", "netdev"];
/// Families that see IPv6.
pub const IP6: &[&str] = &["ip6", "inet", "bridge", "netdev"];
/// Families that see the link header.
pub const LINK: &[&str] = &["bridge", "netdev"];

/// UDP in IPv4.
pub fn udp4() -> Frame {
    Frame::ipv4(17, &[], &udp(1000, 2000, b"payload of a test"))
}
/// UDP in IPv6.
pub fn udp6() -> Frame {
    Frame::ipv6(17, &[], &udp(1000, 2000, b"payload of a test"))
}
/// TCP in IPv4.
pub fn tcp4() -> Frame {
    Frame::ipv4(6, &[], &tcp(1000, 2000, 0x10, &[], b"payload of a test"))
}
/// TCP in IPv6.
pub fn tcp6() -> Frame {
    Frame::ipv6(6, &[], &tcp(1000, 2000, 0x10, &[], b"payload of a test"))
}
/// A ping.
pub fn echo4() -> Frame {
    Frame::ipv4(1, &[], &icmp(8, 0, [0, 1, 0, 2], b"ping"))
}
/// A ping in IPv6.
pub fn echo6() -> Frame {
    Frame::ipv6(58, &[], &icmp(128, 0, [0, 1, 0, 2], b"ping"))
}
/// A "packet too big" of ICMPv6.
pub fn too_big6() -> Frame {
    Frame::ipv6(58, &[], &icmp(2, 0, [0, 0, 5, 0], &[0x60; 40]))
}
/// An ARP request.
pub fn arp() -> Frame {
    Frame::arp(1)
}
/// A tagged UDP datagram.
pub fn vlan() -> Frame {
    udp4().tagged(0x8100, 5)
}
/// SCTP with a DATA chunk.
pub fn sctp() -> Frame {
    Frame::ipv4(
        132,
        &[],
        &[
            3, 0xe8, 7, 0xd0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 3, 0, 17, 0, 0, 0, 1, 0, 2, 0, 3, 0, 0, 0,
            4, 65, 0, 0, 0,
        ],
    )
}
/// A DCCP request.
pub fn dccp() -> Frame {
    Frame::ipv4(
        33,
        &[],
        &[3, 0xe8, 7, 0xd0, 4, 0, 0, 0, 0x05, 0, 0, 1, 0, 0, 0, 2],
    )
}
/// UDP-Lite.
pub fn udplite() -> Frame {
    Frame::ipv4(136, &[], &udp(1000, 2000, b"payload"))
}
/// An ESP packet.
pub fn esp() -> Frame {
    Frame::ipv4(50, &[], &[0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8])
}
/// An AH packet.
pub fn ah() -> Frame {
    Frame::ipv4(
        51,
        &[],
        &[
            17, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 1, 0, 2,
            0, 8, 0, 0,
        ],
    )
}
/// An IPComp packet.
pub fn comp() -> Frame {
    Frame::ipv4(108, &[], &[17, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8])
}
/// An IGMP report.
pub fn igmp() -> Frame {
    Frame::ipv4(2, &[], &[0x16, 0, 0, 0, 224, 0, 0, 9])
}
/// A first fragment of IPv6.
pub fn frag6() -> Frame {
    Frame::ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 9], &udp(1000, 2000, &[7; 32]))
}
/// Hop-by-hop options.
pub fn hop6() -> Frame {
    Frame::ipv6(0, &[17, 0, 1, 4, 0, 0, 0, 0], &udp(1000, 2000, b"x"))
}
/// Destination options.
pub fn dst6() -> Frame {
    Frame::ipv6(60, &[17, 0, 1, 4, 0, 0, 0, 0], &udp(1000, 2000, b"x"))
}
/// A routing header.
pub fn rt6() -> Frame {
    Frame::ipv6(
        43,
        &[
            17, 2, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
        ],
        &udp(1000, 2000, b"x"),
    )
}

/// A routing header of type 2: a home address.
pub fn home6() -> Frame {
    let mut frame = rt6();
    frame.set(Layer::Network, 336, 16, 0x0201);
    frame.finish();
    frame
}
/// A segment routing header with two segments.
pub fn segments6() -> Frame {
    let mut header = vec![17, 4, 4, 1, 1, 0, 0x12, 0x34];
    for last in [3, 4] {
        header.extend([0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    Frame::ipv6(43, &header, &udp(1000, 2000, b"x"))
}
/// A mobility header: a binding refresh request.
pub fn mobility6() -> Frame {
    Frame::ipv6(135, &[], &[59, 0, 5, 9, 0x12, 0x34, 0, 0])
}
/// A "fragmentation needed" of ICMP.
pub fn too_big4() -> Frame {
    Frame::ipv4(1, &[], &icmp(3, 4, [0, 0, 5, 0], &[0x45; 28]))
}
/// A redirect of ICMP.
pub fn redirect4() -> Frame {
    Frame::ipv4(1, &[], &icmp(5, 1, [10, 1, 0, 9], &[0x45; 28]))
}
/// A query for multicast listeners.
pub fn query6() -> Frame {
    Frame::ipv6(58, &[], &icmp(130, 0, [0x27, 0x10, 0, 0], &[0; 16]))
}

/// TCP with different flags.
pub fn flag_frames() -> Vec<Frame> {
    [0x02, 0x12, 0x10, 0x04, 0x11, 0x00, 0xff]
        .map(|flags| Frame::ipv4(6, &[], &tcp(1000, 2000, flags, &[], b"")))
        .into()
}

/// TCP with these options.
pub fn options(bytes: &[u8]) -> Frame {
    Frame::ipv4(6, &[], &tcp(1000, 2000, 0x02, bytes, b""))
}

/// TCP with this maximum segment size.
pub fn mss(size: u16) -> Frame {
    let bytes = size.to_be_bytes();
    options(&[2, 4, bytes[0], bytes[1], 1, 1])
}

/// The UDP datagram from another address.
pub fn from4(address: [u8; 4]) -> Frame {
    let mut frame = udp4();
    let value = u128::from(u32::from_be_bytes(address));
    frame.set(Layer::Network, 96, 32, value);
    frame.finish();
    frame
}

/// A first fragment, and a middle and a last one with nothing in them: the kernel reads fields of
/// up to four bytes of a transport header in later fragments too (docs/compatibility.md).
pub fn fragments4() -> Vec<Frame> {
    let mut first = udp4();
    first.set(Layer::Network, 50, 1, 1);
    first.finish_network();
    let later = [(1, 4), (0, 8)].map(|(more, offset)| {
        let mut frame = Frame::ipv4(17, &[], &[]);
        frame.set(Layer::Network, 50, 1, more);
        frame.set(Layer::Network, 51, 13, offset);
        frame.finish_network();
        frame
    });
    std::iter::once(first).chain(later).collect()
}

/// The same in IPv6.
pub fn fragments6() -> Vec<Frame> {
    let header = |low| [17, 0, 0, low, 0, 0, 0, 9];
    vec![
        Frame::ipv6(44, &header(1), &udp(1000, 2000, &[7; 32])),
        Frame::ipv6(44, &header(0x21), &[]),
        Frame::ipv6(44, &header(0x40), &[]),
    ]
}

/// First fragments of which the checksum is that of more than they carry.
pub fn first_fragments() -> Vec<Frame> {
    let datagram = udp(1000, 2000, &[7; 32]);
    let segment = tcp(1000, 2000, 0x10, &[], &[7; 32]);
    let four = |protocol, message: &[u8]| {
        let mut frame = Frame::ipv4(protocol, &[], message);
        frame.set(Layer::Network, 50, 1, 1);
        frame.finish_network();
        frame
    };
    let six = |protocol, message: &[u8]| Frame::ipv6(44, &[protocol, 0, 0, 1, 0, 0, 0, 9], message);
    let whole = [
        four(17, &datagram),
        four(6, &segment),
        six(17, &datagram),
        six(6, &segment),
    ];
    whole.iter().filter_map(|frame| frame.cut(24)).collect()
}

/// Transport headers that end early.
pub fn truncated4() -> Vec<Frame> {
    let message = tcp(1000, 2000, 0x10, &[], b"");
    let mut frames: Vec<Frame> = [0, 1, 2, 3, 4, 12, 13, 14, 19]
        .map(|length| Frame::ipv4(6, &[], &message[..length]))
        .into();
    let message = udp(1000, 2000, b"");
    frames.extend([2, 4, 7].map(|length| Frame::ipv4(17, &[], &message[..length])));
    frames.push(Frame::ipv4(1, &[], &[8]));
    frames
}

/// The same in IPv6.
pub fn truncated6() -> Vec<Frame> {
    let message = tcp(1000, 2000, 0x10, &[], b"");
    let mut frames: Vec<Frame> = [0, 1, 3, 4, 13, 19]
        .map(|length| Frame::ipv6(6, &[], &message[..length]))
        .into();
    frames.push(Frame::ipv6(58, &[], &[128]));
    frames
}

/// A frame of an experimental EtherType.
pub fn other_protocol() -> Frame {
    let mut frame = Frame::ether(0x88b5);
    frame.bytes.extend((1..=50).collect::<Vec<u8>>());
    frame
}

/// One frame of every kind: for the misses of constructs that look at one protocol.
pub fn every_kind() -> Vec<Frame> {
    let mut frames: Vec<Frame> = [
        udp4,
        udp6,
        tcp4,
        tcp6,
        echo4,
        echo6,
        arp,
        vlan,
        sctp,
        dccp,
        udplite,
        esp,
        ah,
        comp,
        igmp,
        frag6,
        hop6,
        dst6,
        rt6,
        too_big6,
        other_protocol,
    ]
    .map(|make| make())
    .into();
    frames.push(from4([198, 51, 100, 9]));
    frames.extend(fragments4());
    frames
}

/// Whether it is a later fragment of IPv6. The kernel looks for the fields of its transport header
/// at the beginning of the IPv6 header (docs/compatibility.md).
pub fn is_later_fragment6(frame: &Frame) -> bool {
    match frame.protocols() {
        (0x86dd, 44) => frame.get(Layer::Network, 336, 13) != 0,
        // What lies behind a chain that names one more fragment header is read as one.
        (0x86dd, _) => frame.last_next_header() == 44,
        _ => false,
    }
}

/// Whether it is DCCP, which the kernel does not answer (docs/compatibility.md).
pub fn is_dccp(frame: &Frame) -> bool {
    match frame.protocols() {
        (0x86dd, _) => frame.last_next_header() == 33,
        (_, protocol) => protocol == 33,
    }
}

/// Whether the transport checksum of an IPv4 packet is there (or none is known). The kernel's write of an address
/// changes the IP header's checksum before it finds that out, and drops the packet later.
pub fn has_checksum(frame: &Frame) -> bool {
    let wanted = match frame.protocols() {
        (0x0800, 6) => 20,
        (0x0800, 136) => 8,
        _ => 0,
    };
    frame.bytes.len() >= frame.offset(Layer::Transport) + wanted
}
