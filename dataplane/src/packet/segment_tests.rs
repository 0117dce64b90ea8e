//! Cutting against a model: whatever is cut and put together again is what it was, and every
//! checksum of every piece verifies.

use proptest::prelude::*;

use super::*;
use crate::port::PortId;

/// A super-frame: optional tag, optional VXLAN (with or without an outer checksum), IPv4 or IPv6,
/// TCP or UDP, this payload.
#[derive(Clone, Debug)]
struct Shape {
    tagged: bool,
    tunnel: Option<bool>,
    outer_six: bool,
    six: bool,
    udp: bool,
    payload: Vec<u8>,
    gso_size: u16,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let payload = proptest::collection::vec(any::<u8>(), 2..6000);
    (
        any::<(bool, Option<bool>, bool, bool, bool)>(),
        payload,
        1u16..1300,
    )
        .prop_map(|(kind, payload, gso_size)| Shape {
            tagged: kind.0,
            tunnel: kind.1,
            outer_six: kind.2,
            six: kind.3,
            udp: kind.4,
            payload,
            gso_size,
        })
}

fn ip(six: bool, protocol: u8, inside: &[u8]) -> Vec<u8> {
    let mut header = if six {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
        header[4..6].copy_from_slice(&(inside.len() as u16).to_be_bytes());
        header.extend((0..32).map(|n| n * 3));
        header
    } else {
        let mut header = vec![0x45, 0, 0, 0, 0xff, 0xfe, 0, 0, 64, protocol, 0, 0];
        header[2..4].copy_from_slice(&(20 + inside.len() as u16).to_be_bytes());
        header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        header
    };
    header.extend_from_slice(inside);
    header
}

fn ethernet(tagged: bool, six: bool, inside: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if tagged {
        frame.extend([0x81, 0, 0, 7]);
    }
    frame.extend(if six { IPV6 } else { IPV4 }.to_be_bytes());
    frame.extend_from_slice(inside);
    frame
}

fn build(shape: &Shape) -> (Vec<u8>, VnetHeader) {
    let (protocol, transport) = if shape.udp {
        (UDP, vec![0, 7, 0, 9, 0, 0, 0, 0])
    } else {
        let flags = 0x80 | 0x18 | 0x01;
        let seq = 0xffff_ff00u32.to_be_bytes();
        let tail = [0, 0, 0, 1, 0x60, flags, 0, 9, 0, 0, 0, 0, 1, 1, 1, 1];
        (TCP, [&[0, 7, 0, 9][..], &seq, &tail].concat())
    };
    let header_len = transport.len();
    let segment = [&transport[..], &shape.payload].concat();
    let packet = ip(shape.six, protocol, &segment);
    let frame = match shape.tunnel {
        None => ethernet(shape.tagged, shape.six, &packet),
        Some(checksum) => {
            let inner = ethernet(false, shape.six, &packet);
            let marker = if checksum { [1, 2] } else { [0, 0] };
            let head = [
                &[0x30, 0, 0x12, 0xb5, 0, 0][..],
                &marker,
                &[8, 0, 0, 0, 0, 0, 7, 0],
            ];
            let udp = [&head.concat()[..], &inner].concat();
            ethernet(
                shape.tagged,
                shape.outer_six,
                &ip(shape.outer_six, UDP, &udp),
            )
        }
    };
    let start = frame.len() - shape.payload.len() - header_len;
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type: match (shape.udp, shape.six) {
            (true, _) => VnetHeader::GSO_UDP_L4,
            (false, false) => VnetHeader::GSO_TCPV4,
            (false, true) => VnetHeader::GSO_TCPV6,
        },
        hdr_len: 0,
        gso_size: shape.gso_size,
        csum_start: start as u16,
        csum_offset: if shape.udp { 6 } else { 16 },
    };
    (frame, vnet)
}

/// Checks one packet from its IP header on and returns what lies behind the transport header.
fn verified(shape: &Shape, packet: &[u8], number: usize, last: bool) -> Vec<u8> {
    let network = Network {
        at: 0,
        version: if shape.six { 6 } else { 4 },
    };
    assert_eq!(network.end(packet), Some(packet.len()));
    if !shape.six {
        assert_eq!(complement(sum(&packet[..20])), 0, "IPv4 header checksum");
        assert_eq!(be16(packet, 4), Some(0xfffeu16.wrapping_add(number as u16)));
    }
    let (protocol, at) = network.transport(packet).unwrap();
    let segment = &packet[at..];
    let pseudo = network.pseudo_sum(packet, protocol, segment.len());
    assert_eq!(complement(pseudo + sum(segment)), 0, "transport checksum");
    if shape.udp {
        assert_eq!(usize::from(be16(segment, 4).unwrap()), segment.len());
        return segment[8..].to_vec();
    }
    let offset = (number * usize::from(shape.gso_size)) as u32;
    assert_eq!(be32(segment, 4), 0xffff_ff00u32.wrapping_add(offset));
    let flags = segment[13];
    assert_eq!(flags & FIRST_ONLY != 0, number == 0);
    assert_eq!(flags & LAST_ONLY == LAST_ONLY, last);
    segment[24..].to_vec()
}

proptest! {
    #[test]
    fn pieces_verify_and_make_the_whole(shape in shapes()) {
        let (mut bytes, vnet) = build(&shape);
        let len = bytes.len();
        let mut frame = Frame::borrowed(&mut bytes, 0, len, PortId(0));
        frame.vnet = vnet;
        prop_assert_eq!(is_tunnelled(&frame), shape.tunnel.is_some());
        let mut segments = Segments::default();
        segments.cut(&frame, 9000).unwrap();
        let pieces: Vec<Vec<u8>> = segments.pieces_mut().map(|p| p.to_vec()).collect();
        let size = usize::from(shape.gso_size);
        prop_assert_eq!(pieces.len(), shape.payload.len().div_ceil(size));
        let mut whole = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            prop_assert!(piece[..VnetHeader::LEN].iter().all(|&b| b == 0));
            let piece = &piece[VnetHeader::LEN..];
            let mut at = network_at(piece);
            if let Some(checksum) = shape.tunnel {
                let outer = Network { at, version: if shape.outer_six { 6 } else { 4 } };
                prop_assert_eq!(outer.end(piece), Some(piece.len()));
                let (_, udp) = outer.transport(piece).unwrap();
                if checksum {
                    let pseudo = outer.pseudo_sum(piece, UDP, piece.len() - udp);
                    prop_assert_eq!(complement(pseudo + sum(&piece[udp..])), 0);
                } else {
                    prop_assert_eq!(be16(piece, udp + 6), Some(0));
                }
                at = udp + 16 + 14;
            }
            whole.extend(verified(&shape, &piece[at..], number, number + 1 == pieces.len()));
        }
        prop_assert_eq!(whole, shape.payload);
    }

    #[test]
    fn any_bytes_with_any_offload_header_are_cut_or_refused(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..300),
        header in any::<[u8; VnetHeader::LEN]>(),
        mtu in 0usize..2000,
    ) {
        let len = bytes.len();
        let mut frame = Frame::borrowed(&mut bytes, 0, len, PortId(0));
        frame.vnet = VnetHeader::from_bytes(&header);
        let _ = is_tunnelled(&frame);
        let _ = header_len(&frame);
        let _ = Segments::default().cut(&frame, mtu);
        let _ = complete_checksum(&mut frame);
    }
}

#[test]
fn a_partial_checksum_is_completed_over_the_pseudo_header() {
    let shape = Shape {
        tagged: true,
        tunnel: None,
        outer_six: false,
        six: false,
        udp: true,
        payload: vec![1, 2, 3],
        gso_size: 0,
    };
    let (mut bytes, mut vnet) = build(&shape);
    vnet.gso_type = VnetHeader::GSO_NONE;
    let at = usize::from(vnet.csum_start);
    put16(&mut bytes, at + 4, 11);
    let network = Network { at: 18, version: 4 };
    let pseudo = !complement(network.pseudo_sum(&bytes, UDP, 11));
    put16(&mut bytes, at + 6, pseudo);
    let len = bytes.len();
    let mut frame = Frame::borrowed(&mut bytes, 0, len, PortId(0));
    frame.vnet = vnet;
    complete_checksum(&mut frame).unwrap();
    assert!(!frame.vnet.needs_checksum());
    let sum_of_all = network.pseudo_sum(frame.bytes(), UDP, 11) + sum(&frame.bytes()[at..]);
    assert_eq!(complement(sum_of_all), 0);
    frame.vnet = VnetHeader {
        csum_start: 4000,
        ..vnet
    };
    assert_eq!(complete_checksum(&mut frame), Err(DropReason::OffloadBad));
}

#[test]
fn a_frame_that_a_device_put_together_needs_no_partial_checksum() {
    let shape = Shape {
        tagged: true,
        tunnel: None,
        outer_six: false,
        six: true,
        udp: false,
        payload: vec![3; 4000],
        gso_size: 1000,
    };
    let (mut bytes, mut vnet) = build(&shape);
    vnet.flags = VnetHeader::DATA_VALID;
    vnet.csum_start = 0;
    let len = bytes.len();
    let mut frame = Frame::borrowed(&mut bytes, 0, len, PortId(0));
    frame.vnet = vnet;
    assert!(!is_tunnelled(&frame));
    assert_eq!(header_len(&frame), Some(18 + 40 + 24));
    let mut segments = Segments::default();
    segments.cut(&frame, 1500).unwrap();
    let pieces: Vec<_> = segments
        .pieces_mut()
        .map(|p| p[10 + 18..].to_vec())
        .collect();
    assert_eq!(pieces.len(), 4);
    for (number, piece) in pieces.iter().enumerate() {
        assert_eq!(verified(&shape, piece, number, number == 3), [3; 1000]);
    }
}

#[test]
fn pieces_that_would_not_fit_are_refused() {
    let shape = Shape {
        tagged: false,
        tunnel: Some(false),
        outer_six: false,
        six: false,
        udp: false,
        payload: vec![9; 5000],
        gso_size: 1400,
    };
    let (mut bytes, vnet) = build(&shape);
    let len = bytes.len();
    let mut frame = Frame::borrowed(&mut bytes, 0, len, PortId(0));
    frame.vnet = vnet;
    // Outer IP 20, UDP 8, VXLAN 8, Ethernet 14, IP 20, TCP 24, payload 1400.
    let mut segments = Segments::default();
    assert_eq!(segments.cut(&frame, 1493), Err(DropReason::FrameTooLarge));
    assert_eq!(segments.cut(&frame, 1494), Ok(()));
}
