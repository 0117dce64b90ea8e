//! The dissected headers of a frame: where each layer begins and what it is.
//!
//! One pass over the bytes, without looking at a payload. It never fails: what is broken is
//! said in [`Headers::flags`], and who cares (an IP hook, the tracker) drops it with a reason. It
//! follows the kernel: at most one VLAN tag is taken off in front of the network header (more are
//! part of the payload), IP headers that are broken or longer than the frame have no transport,
//! IPv6 extension headers are followed to the transport or AH.
//!
//! Offsets lie inside the frame, but what they point to may be cut off: whoever reads checks the
//! length, as [`field`] does.

use crate::program::Class;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Most IPv6 extension headers that are followed.
pub const MAX_EXTENSION_HEADERS: usize = 16;

/// EtherTypes.
pub mod ethertype {
    /// IPv4.
    pub const IP: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// IPv6.
    pub const IP6: u16 = 0x86dd;
    /// A VLAN tag.
    pub const VLAN: u16 = 0x8100;
    /// A service tag.
    pub const QINQ: u16 = 0x88a8;
    /// What the kernel calls an 802.3 frame with an 802.2 header.
    pub const LLC: u16 = 0x0004;
    /// What the kernel calls a raw 802.3 frame.
    pub const RAW_802_3: u16 = 0x0001;
}

/// IP protocol numbers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// IPv4 in IP.
    pub const IPIP: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// GRE.
    pub const GRE: u8 = 47;
    /// Encapsulating security payload.
    pub const ESP: u8 = 50;
    /// Authentication header.
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// Nothing behind.
    pub const NONE: u8 = 59;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDPLITE: u8 = 136;
    /// IPv6 mobility header.
    pub const MOBILITY: u8 = 135;
}

/// Bits of [`Headers::flags`].
pub mod flag {
    /// Shorter than an Ethernet header.
    pub const SHORT: u8 = 1;
    /// A VLAN tag stands in front of the network header.
    pub const TAGGED: u8 = 1 << 1;
    /// IPv4 or IPv6 by EtherType, but the header is broken.
    pub const BAD_IP: u8 = 1 << 2;
    /// More IPv6 extension headers than are followed.
    pub const MANY_EXTENSIONS: u8 = 1 << 3;
    /// The transport protocol is known.
    pub const L4PROTO: u8 = 1 << 4;
    /// A transport header begins at [`Headers::transport`](super::Headers::transport): not so
    /// for later fragments.
    pub const TRANSPORT: u8 = 1 << 5;
    /// A fragment (any).
    pub const FRAGMENT: u8 = 1 << 6;
}

/// Where the layers of a frame begin and what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// EtherType behind at most one tag, as `meta protocol`.
    pub ethertype: u16,
    /// First byte of the network header.
    pub network: u16,
    /// First byte of the transport header; valid with [`flag::TRANSPORT`].
    pub transport: u16,
    /// Transport protocol; valid with [`flag::L4PROTO`].
    pub l4proto: u8,
    /// Bits of [`flag`].
    pub flags: u8,
    /// First byte behind the IP packet (the rest is padding); the frame's end when it is not IP.
    pub end: u32,
}

impl Headers {
    /// What a TCP segment or a UDP datagram carries.
    pub fn payload<'f>(&self, frame: &'f [u8]) -> Option<&'f [u8]> {
        if !self.has(flag::TRANSPORT) {
            return None;
        }
        let at = usize::from(self.transport);
        let header = match self.l4proto {
            protocol::TCP => usize::from(frame.get(at + 12)? >> 4) * 4,
            protocol::UDP => 8,
            _ => return None,
        };
        frame.get(at + header..self.end as usize)
    }

    /// Dissects a frame.
    #[inline]
    pub fn dissect(frame: &[u8]) -> Self {
        let mut headers = Self::default();
        headers.read(frame);
        headers
    }

    /// Dissects a frame into these headers, field by field where they are wanted: whoever copied them as words
    /// right behind would wait for the writes.
    #[inline]
    pub fn read(&mut self, frame: &[u8]) {
        *self = Self {
            end: frame.len() as u32,
            ..Self::default()
        };
        let Some(link) = frame.first_chunk::<ETHERNET>() else {
            self.flags = flag::SHORT;
            return;
        };
        self.ethertype = u16::from_be_bytes([link[12], link[13]]);
        self.network = ETHERNET as u16;
        if matches!(self.ethertype, ethertype::VLAN | ethertype::QINQ)
            && let Some(tag) = field::<4>(frame, ETHERNET)
        {
            self.ethertype = u16::from_be_bytes([tag[2], tag[3]]);
            self.network += 4;
            self.flags |= flag::TAGGED;
        }
        match self.ethertype {
            ethertype::IP => self.dissect_ip(frame),
            ethertype::IP6 => self.dissect_ip6(frame),
            0..0x0600 => {
                let raw = field::<2>(frame, usize::from(self.network)) == Some([0xff, 0xff]);
                self.ethertype = if raw {
                    ethertype::RAW_802_3
                } else {
                    ethertype::LLC
                };
            }
            _ => {}
        }
    }

    /// Whether a bit of [`flag`] is set.
    #[inline]
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The class that says which walk the frame takes.
    #[inline]
    pub fn class(&self) -> Class {
        match (self.ethertype, self.has(flag::TAGGED)) {
            (ethertype::IP, false) => Class::Ip,
            (ethertype::IP6, false) => Class::Ip6,
            (ethertype::IP, true) => Class::TaggedIp,
            (ethertype::IP6, true) => Class::TaggedIp6,
            _ => Class::Other,
        }
    }

    #[inline]
    fn dissect_ip(&mut self, frame: &[u8]) {
        let at = usize::from(self.network);
        let Some(header) = field::<20>(frame, at) else {
            self.flags |= flag::BAD_IP;
            return;
        };
        let header_len = usize::from(header[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header_len < 20 || total < header_len || at + total > frame.len()
        {
            self.flags |= flag::BAD_IP;
            return;
        }
        self.end = (at + total) as u32;
        self.l4proto = header[9];
        self.transport = (at + header_len) as u16;
        self.flags |= flag::L4PROTO;
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        if fragment & 0x1fff == 0 {
            self.flags |= flag::TRANSPORT;
        }
        if fragment & 0x3fff != 0 {
            self.flags |= flag::FRAGMENT;
        }
    }

    fn dissect_ip6(&mut self, frame: &[u8]) {
        let at = usize::from(self.network);
        let Some(header) = field::<40>(frame, at) else {
            self.flags |= flag::BAD_IP;
            return;
        };
        let end = at + 40 + usize::from(u16::from_be_bytes([header[4], header[5]]));
        if header[0] >> 4 != 6 || end > frame.len() {
            self.flags |= flag::BAD_IP;
            return;
        }
        // A payload length of 0 with more behind it is a jumbogram or a super-frame.
        self.end = if end == at + 40 {
            frame.len() as u32
        } else {
            end as u32
        };
        match Extensions::new(&frame[..self.end as usize], at).transport() {
            Ok((protocol, transport, fragment)) => {
                self.l4proto = protocol;
                self.flags |= flag::L4PROTO;
                match transport {
                    Some(transport) => {
                        self.transport = transport as u16;
                        self.flags |= flag::TRANSPORT;
                    }
                    None => self.flags |= flag::FRAGMENT,
                }
                if fragment {
                    self.flags |= flag::FRAGMENT;
                }
            }
            Err(ExtensionError::TooMany) => self.flags |= flag::BAD_IP | flag::MANY_EXTENSIONS,
            // As in the kernel: an IP packet without a transport.
            Err(ExtensionError::Broken) => {}
        }
    }
}

/// The `N` bytes at an offset, if they are there.
#[inline]
pub fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Why a chain of extension headers has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionError {
    /// Cut off, or a later fragment that does not begin with a transport header.
    Broken,
    /// More than [`MAX_EXTENSION_HEADERS`].
    TooMany,
}

/// One IPv6 extension header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its own protocol number.
    pub number: u8,
    /// The number of what follows.
    pub next: u8,
    /// Its first byte in the frame.
    pub at: usize,
    /// Its length in bytes.
    pub len: usize,
}

/// The extension headers of an IPv6 packet, in order.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    packet: &'a [u8],
    number: u8,
    at: usize,
    count: usize,
}

impl<'a> Extensions<'a> {
    /// The headers behind the IPv6 header at `network`; `packet` ends where the IP packet ends.
    pub fn new(packet: &'a [u8], network: usize) -> Self {
        let number = packet.get(network + 6).copied().unwrap_or(protocol::NONE);
        Self {
            packet,
            number,
            at: network + 40,
            count: 0,
        }
    }

    /// The next header if it is an extension header (AH, and the mobility header, too).
    fn step(&mut self) -> Result<Option<Extension>, ExtensionError> {
        let extension = matches!(
            self.number,
            protocol::HOP_BY_HOP
                | protocol::ROUTING
                | protocol::FRAGMENT
                | protocol::DESTINATION
                | protocol::AH
                | protocol::MOBILITY
        );
        if !extension {
            return Ok(None);
        }
        if self.count == MAX_EXTENSION_HEADERS {
            return Err(ExtensionError::TooMany);
        }
        self.count += 1;
        let [next, units] = field::<2>(self.packet, self.at).ok_or(ExtensionError::Broken)?;
        let len = match self.number {
            protocol::FRAGMENT => 8,
            protocol::AH => (usize::from(units) + 2) * 4,
            _ => (usize::from(units) + 1) * 8,
        };
        let found = Extension {
            number: self.number,
            next,
            at: self.at,
            len,
        };
        self.number = next;
        self.at += len;
        Ok(Some(found))
    }

    /// The transport protocol, where its header begins (`None` in a later fragment), and whether
    /// the packet is a fragment.
    pub(crate) fn transport(mut self) -> Result<(u8, Option<usize>, bool), ExtensionError> {
        let mut fragment = false;
        loop {
            // Where rules see them, AH and the mobility header are transports, as in the kernel.
            if matches!(self.number, protocol::AH | protocol::MOBILITY) {
                return Ok((self.number, Some(self.at), fragment));
            }
            let Some(header) = self.step()? else {
                return Ok((self.number, Some(self.at), fragment));
            };
            if header.number == protocol::ROUTING && field::<4>(self.packet, header.at).is_none() {
                return Err(ExtensionError::Broken);
            }
            if header.number == protocol::FRAGMENT {
                fragment = true;
                let bytes = field::<4>(self.packet, header.at).ok_or(ExtensionError::Broken)?;
                if u16::from_be_bytes([bytes[2], bytes[3]]) & 0xfff8 != 0 {
                    return later_fragment(header.next);
                }
            }
        }
    }

    /// The protocol behind all extension headers and AH, and where its header begins. `None` when the
    /// chain is broken, or in a later fragment.
    pub fn behind(mut self) -> Option<(u8, usize)> {
        while self.number != protocol::MOBILITY {
            let Some(header) = self.step().ok()? else {
                break;
            };
            if header.number == protocol::FRAGMENT {
                let [_, _, high, low] = field::<4>(self.packet, header.at)?;
                if u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
                    return None;
                }
            }
        }
        Some((self.number, self.at))
    }

    /// The first header of this number. Does not look behind a later fragment's header.
    pub fn find(mut self, number: u8) -> Option<Extension> {
        loop {
            // The kernel takes the mobility header for a transport: it looks neither into it nor behind.
            if self.number == protocol::MOBILITY {
                return (number == protocol::MOBILITY).then_some(Extension {
                    number,
                    next: protocol::NONE,
                    at: self.at,
                    len: self.packet.len().saturating_sub(self.at),
                });
            }
            let header = self.step().ok()??;
            if header.number == number {
                return Some(header);
            }
            let later = header.number == protocol::FRAGMENT
                && field::<4>(self.packet, header.at)
                    .is_none_or(|bytes| u16::from_be_bytes([bytes[2], bytes[3]]) & 0xfff8 != 0);
            if later {
                return None;
            }
        }
    }
}

/// A later fragment has the transport protocol of its fragment header, unless that names another
/// extension header.
fn later_fragment(next: u8) -> Result<(u8, Option<usize>, bool), ExtensionError> {
    let extension = matches!(
        next,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::DESTINATION
            | protocol::AH
    );
    if extension {
        Err(ExtensionError::Broken)
    } else {
        Ok((next, None, true))
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
