//! Frames for tests: built layer by layer, every field reachable by its bit offset.

/// A header that a field can be relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The Ethernet header.
    Link,
    /// The IP or ARP header.
    Network,
    /// The transport header.
    Transport,
}

/// A frame under construction: its bytes, and where its layers start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The bytes, from the Ethernet header on.
    pub bytes: Vec<u8>,
    network: usize,
    transport: usize,
}

/// MAC address of the host at the left.
pub const LEFT_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x0a];
/// MAC address of the host at the right.
pub const RIGHT_MAC: [u8; 6] = [0x06, 0, 0, 0xb0, 0, 0x0b];
/// IPv4 address of the host at the left.
pub const LEFT_IP: [u8; 4] = [10, 1, 0, 1];
/// IPv4 address of the host at the right.
pub const RIGHT_IP: [u8; 4] = [10, 2, 0, 2];
/// IPv6 address of the host at the left.
pub const LEFT_IP6: [u8; 16] = [0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// IPv6 address of the host at the right.
pub const RIGHT_IP6: [u8; 16] = [0xfd, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

impl Frame {
    /// An Ethernet frame from left to right with this EtherType and nothing behind it.
    pub fn ether(ether_type: u16) -> Self {
        let mut bytes = [RIGHT_MAC, LEFT_MAC].concat();
        bytes.extend(ether_type.to_be_bytes());
        Self {
            bytes,
            network: 14,
            transport: 14,
        }
    }

    /// The same frame with a VLAN tag put in front of what follows the addresses.
    #[must_use]
    pub fn tagged(mut self, tpid: u16, tci: u16) -> Self {
        let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
        self.bytes.splice(12..12, tag);
        self.network += 4;
        self.transport += 4;
        self
    }

    /// An IPv4 packet with these options (a multiple of 4 bytes) and this transport message.
    pub fn ipv4(protocol: u8, options: &[u8], message: &[u8]) -> Self {
        assert_eq!(options.len() % 4, 0);
        let mut frame = Self::ether(0x0800);
        let header = 20 + options.len();
        frame.bytes.push(0x40 | (header / 4) as u8);
        frame.bytes.push(0);
        frame
            .bytes
            .extend(((header + message.len()) as u16).to_be_bytes());
        frame.bytes.extend([0x12, 0x34, 0, 0, 64, protocol, 0, 0]);
        frame.bytes.extend(LEFT_IP);
        frame.bytes.extend(RIGHT_IP);
        frame.bytes.extend(options);
        frame.transport = frame.bytes.len();
        frame.bytes.extend(message);
        frame.finish();
        frame
    }

    /// An IPv6 packet; `headers` are extension headers (the first of type `next`), `protocol` is
    /// what follows them.
    pub fn ipv6(next: u8, headers: &[u8], message: &[u8]) -> Self {
        let mut frame = Self::ether(0x86dd);
        frame.bytes.extend([0x60, 0, 0, 0]);
        frame
            .bytes
            .extend(((headers.len() + message.len()) as u16).to_be_bytes());
        frame.bytes.extend([next, 64]);
        frame.bytes.extend(LEFT_IP6);
        frame.bytes.extend(RIGHT_IP6);
        frame.bytes.extend(headers);
        frame.transport = frame.bytes.len();
        frame.bytes.extend(message);
        frame.finish();
        frame
    }

    /// An ARP request or reply for IPv4 over Ethernet.
    pub fn arp(operation: u16) -> Self {
        let mut frame = Self::ether(0x0806);
        frame.bytes.extend([0, 1, 8, 0, 6, 4]);
        frame.bytes.extend(operation.to_be_bytes());
        frame.bytes.extend(LEFT_MAC);
        frame.bytes.extend(LEFT_IP);
        frame.bytes.extend(RIGHT_MAC);
        frame.bytes.extend(RIGHT_IP);
        frame.bytes.extend([0; 18]);
        frame
    }

    /// EtherType (behind tags) and, for IP, the protocol field of the IP header.
    pub fn protocols(&self) -> (u128, u128) {
        let ether_type = [self.bytes[self.network - 2], self.bytes[self.network - 1]];
        let ether_type = u128::from(u16::from_be_bytes(ether_type));
        let protocol = match ether_type {
            0x0800 => self.get(Layer::Network, 72, 8),
            0x86dd => self.get(Layer::Network, 48, 8),
            _ => 0,
        };
        (ether_type, protocol)
    }

    /// The same with only `keep` bytes behind the IP header (or the Ethernet header, where there
    /// is no IP, or the first 8 bytes of ARP), lengths and header checksum put right; `None` if it has no more than that.
    pub fn cut(&self, keep: usize) -> Option<Self> {
        let (ether_type, _) = self.protocols();
        let behind = match ether_type {
            0x0800 | 0x86dd => self.transport,
            _ => self.network,
        };
        // A bridge drops ARP that is shorter than its fixed part by itself.
        let keep = keep + if ether_type == 0x0806 { 8 } else { 0 };
        if behind + keep >= self.bytes.len() {
            return None;
        }
        let mut frame = self.clone();
        frame.bytes.truncate(behind + keep);
        let length = (frame.bytes.len() - frame.network) as u128;
        match ether_type {
            0x0800 => frame.set(Layer::Network, 16, 16, length),
            0x86dd => frame.set(Layer::Network, 32, 16, length - 40),
            _ => {}
        }
        frame.finish_network();
        Some(frame)
    }

    /// Where a layer starts.
    pub fn offset(&self, layer: Layer) -> usize {
        match layer {
            Layer::Link => 0,
            Layer::Network => self.network,
            Layer::Transport => self.transport,
        }
    }

    /// The number in `bits` bits at bit `offset` of a layer.
    pub fn get(&self, layer: Layer, offset: usize, bits: usize) -> u128 {
        let start = self.offset(layer) * 8 + offset;
        (start..start + bits).fold(0, |value, bit| {
            value << 1 | u128::from(self.bytes[bit / 8] >> (7 - bit % 8) & 1)
        })
    }

    /// Writes a number into `bits` bits at bit `offset` of a layer; checksums are left as they are.
    pub fn set(&mut self, layer: Layer, offset: usize, bits: usize, value: u128) {
        let start = self.offset(layer) * 8 + offset;
        for bit in 0..bits {
            let (byte, shift) = ((start + bit) / 8, 7 - (start + bit) % 8);
            let one = (value >> (bits - 1 - bit) & 1) as u8;
            self.bytes[byte] = self.bytes[byte] & !(1 << shift) | one << shift;
        }
    }

    /// Fills in the IPv4 header checksum and the transport checksum. Other frames stay as they are.
    pub fn finish(&mut self) {
        let ether_type = &self.bytes[self.network - 2..self.network];
        if matches!(ether_type, [0x08, 0x00] | [0x86, 0xdd]) {
            self.finish_network();
            self.finish_transport();
        }
    }

    /// Fills in the IPv4 header checksum. Other frames stay as they are.
    pub fn finish_network(&mut self) {
        let network = self.network;
        if self.bytes[network - 2..network] != [0x08, 0x00] {
            return;
        }
        let end = network + usize::from(self.bytes[network] & 15) * 4;
        self.bytes[network + 10..network + 12].fill(0);
        let checksum = !sum(&self.bytes[network..end], 0);
        self.bytes[network + 10..network + 12].copy_from_slice(&checksum.to_be_bytes());
    }

    fn finish_transport(&mut self) {
        let network = self.network;
        let version = self.bytes[network] >> 4;
        let protocol = if version == 4 {
            self.bytes[network + 9]
        } else {
            self.last_next_header()
        };
        let field = match protocol {
            1 | 58 => 2,
            6 => 16,
            17 => 6,
            _ => return,
        };
        let transport = self.transport;
        if self.bytes.len() < transport + field + 2 {
            return;
        }
        let length = (self.bytes.len() - transport) as u32;
        let addresses = if version == 4 {
            network + 12..network + 20
        } else {
            network + 8..network + 40
        };
        let pseudo = if protocol == 1 {
            0
        } else {
            u32::from(sum(&self.bytes[addresses], 0)) + u32::from(protocol) + length
        };
        self.bytes[transport + field..transport + field + 2].fill(0);
        let mut checksum = !sum(&self.bytes[transport..], pseudo);
        if checksum == 0 && protocol == 17 {
            checksum = 0xffff;
        }
        self.bytes[transport + field..transport + field + 2]
            .copy_from_slice(&checksum.to_be_bytes());
    }

    /// The protocol behind the extension headers that [`ipv6`](Self::ipv6) was given.
    pub fn last_next_header(&self) -> u8 {
        let (mut next, mut at) = (self.bytes[self.network + 6], self.network + 40);
        while at < self.transport {
            let length = match next {
                44 => 8,
                51 => (usize::from(self.bytes[at + 1]) + 2) * 4,
                _ => (usize::from(self.bytes[at + 1]) + 1) * 8,
            };
            next = self.bytes[at];
            at += length;
        }
        next
    }
}

/// One's complement sum (RFC 1071), folded, not inverted.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let mut total = start;
    for pair in bytes.chunks(2) {
        total += u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// A UDP datagram (its checksum is filled in by the frame).
pub fn udp(sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [sport, dport, 8 + payload.len() as u16, 0] {
        message.extend(word.to_be_bytes());
    }
    message.extend(payload);
    message
}

/// A TCP segment with these flags and options (padded with zeros to a multiple of 4 bytes).
pub fn tcp(sport: u16, dport: u16, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let padded = options.len().div_ceil(4) * 4;
    let mut message = Vec::new();
    message.extend(sport.to_be_bytes());
    message.extend(dport.to_be_bytes());
    message.extend(0x0102_0304_u32.to_be_bytes());
    message.extend(0x0506_0708_u32.to_be_bytes());
    message.extend([((20 + padded) / 4 * 16) as u8, flags, 0x20, 0, 0, 0, 0, 0]);
    message.extend(options);
    message.resize(20 + padded, 0);
    message.extend(payload);
    message
}

/// An ICMP or ICMPv6 message with 4 bytes of rest of header and this body.
pub fn icmp(kind: u8, code: u8, rest: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind, code, 0, 0];
    message.extend(rest);
    message.extend(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_frames_are_what_a_parser_of_others_reads() {
        let frame = Frame::ipv4(6, &[], &tcp(1000, 80, 2, &[2, 4, 5, 0xb4], b"hello"));
        let packet = etherparse::SlicedPacket::from_ethernet(&frame.bytes).unwrap();
        let Some(etherparse::TransportSlice::Tcp(segment)) = packet.transport else {
            panic!("not TCP")
        };
        assert_eq!(
            (
                segment.source_port(),
                segment.destination_port(),
                segment.syn()
            ),
            (1000, 80, true)
        );
        let Some(etherparse::NetSlice::Ipv4(ip)) = packet.net else {
            panic!("not IPv4")
        };
        let header = ip.header().to_header();
        assert_eq!(header.calc_header_checksum(), header.header_checksum);
        let calculated = segment.calc_checksum_ipv4(header.source, header.destination);
        assert_eq!(calculated, Ok(segment.checksum()));

        let mut frame = Frame::ipv6(17, &[], &udp(53, 5353, b"x")).tagged(0x8100, 7);
        frame.set(Layer::Transport, 16, 16, 99);
        assert_eq!(frame.get(Layer::Transport, 16, 16), 99);
        assert_eq!(frame.get(Layer::Link, 12 * 8, 16), 0x8100);
        let packet = etherparse::SlicedPacket::from_ethernet(&frame.bytes).unwrap();
        assert_eq!(packet.link_exts.len(), 1);
    }
}
