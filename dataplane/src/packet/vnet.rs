//! The virtio-net header that travels beside a frame: what is still to be done to it.
//!
//! Layout and meaning as `struct virtio_net_hdr` of linux/virtio_net.h (10 bytes, host byte
//! order on AF_PACKET and TAP). A default header says: nothing to be done.

/// Offload state of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// [`NEEDS_CSUM`](Self::NEEDS_CSUM), [`DATA_VALID`](Self::DATA_VALID).
    pub flags: u8,
    /// One of the `GSO_*` constants, with [`GSO_ECN`](Self::GSO_ECN) as a flag.
    pub gso_type: u8,
    /// Bytes of headers up to the first payload byte, a hint.
    pub hdr_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where the checksummed range starts, from the frame's first byte.
    pub csum_start: u16,
    /// Where the checksum stands, from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Bytes of the header on the wire to the kernel.
    pub const LEN: usize = 10;
    /// The checksum at `csum_start + csum_offset` holds only the pseudo-header's sum.
    pub const NEEDS_CSUM: u8 = 1;
    /// The checksum has been verified.
    pub const DATA_VALID: u8 = 2;
    /// Not a super-frame.
    pub const GSO_NONE: u8 = 0;
    /// TCP over IPv4.
    pub const GSO_TCPV4: u8 = 1;
    /// UDP fragmentation offload (old).
    pub const GSO_UDP: u8 = 3;
    /// TCP over IPv6.
    pub const GSO_TCPV6: u8 = 4;
    /// UDP segmentation offload.
    pub const GSO_UDP_L4: u8 = 5;
    /// Flag: TCP has ECN set.
    pub const GSO_ECN: u8 = 0x80;

    /// Whether the kernel (or hardware) still has to do anything before the frame is complete.
    pub fn is_plain(&self) -> bool {
        self.flags & Self::NEEDS_CSUM == 0 && self.gso_type == Self::GSO_NONE
    }

    /// Whether the frame is a super-frame that leaves as several segments.
    pub fn is_super_frame(&self) -> bool {
        self.gso_type & !Self::GSO_ECN != Self::GSO_NONE
    }

    /// Whether the transport checksum is partial.
    pub fn needs_checksum(&self) -> bool {
        self.flags & Self::NEEDS_CSUM != 0
    }

    /// Reads the header as the kernel writes it.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let word = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: word(2),
            gso_size: word(4),
            csum_start: word(6),
            csum_offset: word(8),
        }
    }

    /// Writes the header as the kernel reads it.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[0] = self.flags;
        out[1] = self.gso_type;
        out[2..4].copy_from_slice(&self.hdr_len.to_ne_bytes());
        out[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        out[6..8].copy_from_slice(&self.csum_start.to_ne_bytes());
        out[8..10].copy_from_slice(&self.csum_offset.to_ne_bytes());
        out
    }
}
