//! The frames that constructs are aimed at, and the families whose chains see them.

use crate::frames::{Frame, Layer, icmp, tcp, udp};

pub const IP4: &[&str] = &["ip", "inet", "bridge", "netdev"];
pub const IP6: &[&str] = &["ip6", "inet", "bridge", "netdev"];
pub const LINK: &[&str] = &["bridge", "netdev"];

pub fn udp4() -> Frame {
    Frame::ipv4(17, &[], &udp(1000, 2000, b"payload of a test"))
}
pub fn udp6() -> Frame {
    Frame::ipv6(17, &[], &udp(1000, 2000, b"payload of a test"))
}
pub fn tcp4() -> Frame {
    Frame::ipv4(6, &[], &tcp(1000, 2000, 0x10, &[], b"payload of a test"))
}
pub fn tcp6() -> Frame {
    Frame::ipv6(6, &[], &tcp(1000, 2000, 0x10, &[], b"payload of a test"))
}
pub fn echo4() -> Frame {
    Frame::ipv4(1, &[], &icmp(8, 0, [0, 1, 0, 2], b"ping"))
}
pub fn echo6() -> Frame {
    Frame::ipv6(58, &[], &icmp(128, 0, [0, 1, 0, 2], b"ping"))
}
pub fn too_big6() -> Frame {
    Frame::ipv6(58, &[], &icmp(2, 0, [0, 0, 5, 0], &[0x60; 40]))
}
pub fn arp() -> Frame {
    Frame::arp(1)
}
pub fn vlan() -> Frame {
    udp4().tagged(0x8100, 5)
}
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
pub fn dccp() -> Frame {
    Frame::ipv4(
        33,
        &[],
        &[3, 0xe8, 7, 0xd0, 4, 0, 0, 0, 0x05, 0, 0, 1, 0, 0, 0, 2],
    )
}
pub fn udplite() -> Frame {
    Frame::ipv4(136, &[], &udp(1000, 2000, b"payload"))
}
pub fn esp() -> Frame {
    Frame::ipv4(50, &[], &[0, 0, 1, 0, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8])
}
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
pub fn comp() -> Frame {
    Frame::ipv4(108, &[], &[17, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8])
}
pub fn igmp() -> Frame {
    Frame::ipv4(2, &[], &[0x16, 0, 0, 0, 224, 0, 0, 9])
}
pub fn frag6() -> Frame {
    Frame::ipv6(44, &[17, 0, 0, 1, 0, 0, 0, 9], &udp(1000, 2000, &[7; 32]))
}
pub fn hop6() -> Frame {
    Frame::ipv6(0, &[17, 0, 1, 4, 0, 0, 0, 0], &udp(1000, 2000, b"x"))
}
pub fn dst6() -> Frame {
    Frame::ipv6(60, &[17, 0, 1, 4, 0, 0, 0, 0], &udp(1000, 2000, b"x"))
}
pub fn rt6() -> Frame {
    Frame::ipv6(
        43,
        &[
            17, 2, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3,
        ],
        &udp(1000, 2000, b"x"),
    )
}

pub fn flag_frames() -> Vec<Frame> {
    [0x02, 0x12, 0x10, 0x04, 0x11, 0x00, 0xff]
        .map(|flags| Frame::ipv4(6, &[], &tcp(1000, 2000, flags, &[], b"")))
        .into()
}

pub fn options(bytes: &[u8]) -> Frame {
    Frame::ipv4(6, &[], &tcp(1000, 2000, 0x02, bytes, b""))
}

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

/// A first, a middle and a last fragment; the later ones look like the ports that rules ask for.
pub fn fragments4() -> Vec<Frame> {
    [(1, 0), (1, 4), (0, 8)]
        .map(|(more, offset)| {
            let mut frame = udp4();
            frame.set(Layer::Network, 50, 1, more);
            frame.set(Layer::Network, 51, 13, offset);
            frame.finish_network();
            frame
        })
        .into()
}

/// The same in IPv6.
pub fn fragments6() -> Vec<Frame> {
    [[0, 1], [0, 0x21], [0, 0x40]]
        .map(|[high, low]| {
            let header = [17, 0, high, low, 0, 0, 0, 9];
            Frame::ipv6(44, &header, &udp(1000, 2000, &[7; 32]))
        })
        .into()
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
    frames.extend(truncated4());
    frames
}
