//! Frames with correct lengths and checksums, built field by field.

/// The bytes of a frame.
pub(crate) type Frame = Vec<u8>;

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn link(ethertype: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    frame.extend(ethertype.to_be_bytes());
    frame
}

/// An IPv4 packet without options.
#[derive(Clone)]
pub(crate) struct Ip4 {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) id: u16,
    pub(crate) fragment: u16,
    pub(crate) options: Vec<u8>,
}

impl Default for Ip4 {
    fn default() -> Self {
        Self {
            source: [10, 0, 0, 1],
            destination: [10, 0, 0, 2],
            ttl: 64,
            tos: 0,
            id: 1,
            fragment: 0,
            options: Vec::new(),
        }
    }
}

impl Ip4 {
    /// The frame; the checksum of the payload, at `check`, is set.
    pub(crate) fn frame(&self, protocol: u8, mut payload: Vec<u8>, check: Option<usize>) -> Frame {
        let words = 5 + self.options.len() / 4;
        let total = (words * 4 + payload.len()) as u16;
        let mut header = vec![0x40 | words as u8, self.tos];
        header.extend(total.to_be_bytes());
        header.extend(self.id.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.ttl, protocol, 0, 0]);
        header.extend(self.source);
        header.extend(self.destination);
        header.extend(&self.options);
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        if let Some(at) = check {
            let length = (payload.len() as u32).to_be_bytes();
            let pseudo = [&header[12..20], &[0, 0, 0, protocol], &length].concat();
            let pseudo: &[u8] = if protocol == 1 { &[] } else { &pseudo };
            let sum = checksum(&[pseudo, &payload]);
            payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        [link(0x0800), header, payload].concat()
    }
}

/// An IPv6 packet from fd00::1 to fd00::2; `next` is the first header of `payload`, `transport`
/// where the transport header begins and which it is.
pub(crate) fn ip6(
    next: u8,
    transport: (usize, u8),
    mut payload: Vec<u8>,
    check: Option<usize>,
) -> Frame {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend((payload.len() as u16).to_be_bytes());
    header.extend([next, 64]);
    for host in [1, 2] {
        header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    if let Some(at) = check {
        let (begin, protocol) = transport;
        let length = ((payload.len() - begin) as u32).to_be_bytes();
        let pseudo = [&header[8..40], &length, &[0, 0, 0, protocol]].concat();
        let sum = checksum(&[&pseudo, &payload[begin..]]);
        payload[begin + at..begin + at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    [link(0x86dd), header, payload].concat()
}

/// A TCP header with options and some data.
pub(crate) fn tcp(sport: u16, dport: u16, flags: u8, options: &[u8], data: &[u8]) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend(sport.to_be_bytes());
    tcp.extend(dport.to_be_bytes());
    tcp.extend(1000u32.to_be_bytes());
    tcp.extend(0u32.to_be_bytes());
    tcp.extend([
        ((20 + options.len()) as u8 / 4) << 4,
        flags,
        0x20,
        0,
        0,
        0,
        0,
        0,
    ]);
    tcp.extend(options);
    tcp.extend(data);
    tcp
}

/// A UDP header and some data.
pub(crate) fn udp(sport: u16, dport: u16, data: &[u8]) -> Vec<u8> {
    let mut udp = Vec::new();
    udp.extend(sport.to_be_bytes());
    udp.extend(dport.to_be_bytes());
    udp.extend((8 + data.len() as u16).to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(data);
    udp
}

/// An ARP request for 10.0.0.2.
pub(crate) fn arp() -> Frame {
    let mut frame = link(0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    frame
}

/// The frame behind a VLAN tag.
pub(crate) fn tagged(mut frame: Frame, tag: u16) -> Frame {
    let [high, low] = tag.to_be_bytes();
    frame.splice(12..12, [0x81, 0, high, low]);
    frame
}

/// The frames that every rule is tried on, by name.
pub(crate) fn zoo() -> Vec<(&'static str, Frame)> {
    const SYN: u8 = 2;
    const PSH_ACK: u8 = 0x18;
    let mss = [2, 4, 0x05, 0xb4];
    let ip4 = Ip4::default();
    let far = Ip4 {
        source: [10, 1, 0, 9],
        destination: [192, 168, 1, 80],
        ttl: 3,
        tos: 0x2b,
        id: 0x1234,
        ..Ip4::default()
    };
    let tcp22 = ip4.frame(6, tcp(1025, 22, SYN, &mss, b""), Some(16));
    vec![
        ("tcp22", tcp22.clone()),
        (
            "tcp80",
            far.frame(6, tcp(40000, 80, PSH_ACK, &[], b"0123456789"), Some(16)),
        ),
        ("udp53", ip4.frame(17, udp(1025, 53, b"abcd"), Some(6))),
        (
            "udp4789",
            far.frame(17, udp(4789, 4789, b"12345678"), Some(6)),
        ),
        ("ping", ip4.frame(1, vec![8, 0, 0, 0, 0, 7, 0, 1], Some(2))),
        (
            "unreach",
            ip4.frame(1, vec![3, 3, 0, 0, 0, 0, 0, 0], Some(2)),
        ),
        (
            "tcp6-22",
            ip6(6, (0, 6), tcp(1025, 22, SYN, &mss, b""), Some(16)),
        ),
        ("udp6-53", ip6(17, (0, 17), udp(1025, 53, b"abcd"), Some(6))),
        (
            "ping6",
            ip6(58, (0, 58), vec![128, 0, 0, 0, 0, 7, 0, 1], Some(2)),
        ),
        ("hbh6", {
            let hop_by_hop = vec![17, 0, 1, 4, 0, 0, 0, 0];
            ip6(
                0,
                (8, 17),
                [hop_by_hop, udp(1025, 53, b"abcd")].concat(),
                Some(6),
            )
        }),
        ("arp", arp()),
        ("vlan5", tagged(tcp22.clone(), 5 | 3 << 13)),
        ("rr", {
            let options = vec![7, 7, 4, 0, 0, 0, 0, 0];
            Ip4 {
                options,
                ..ip4.clone()
            }
            .frame(17, udp(7, 9, b"x"), Some(6))
        }),
        (
            "frag2",
            Ip4 {
                fragment: 185,
                ..ip4.clone()
            }
            .frame(6, vec![0, 22, 0, 22, 0, 0, 0, 22], None),
        ),
        ("cut-tcp", ip4.frame(6, vec![4, 1, 0], None)),
        (
            "lldp",
            [&link(0x88cc)[..], &[2, 7, 4, 0, 0, 0, 0, 0, 1]].concat(),
        ),
    ]
}
