//! What a worker's batch brought forth for the gateway: answers, errors, questions, packets that
//! waited. Each takes a walk of its own behind the batch.

use std::collections::VecDeque;

use super::address::Address;
use super::arp;
use super::icmp::{self, Complaint};
use super::nd;
use super::neighbour::{Due, Editor, Neighbour};
use super::parking::Parked;
use super::plan::{Gateway, Port};
use super::{fragment, neighbour};
use crate::conntrack::Attached;
use crate::drop_reason::DropReason;
use crate::packet::headers::{ETHERNET, Headers, ethertype, flag};
use crate::packet::pool::FramePool;
use crate::packet::segment::{self, Segments};
use crate::packet::{Frame, VnetHeader};
use crate::port::PortId;
use crate::worker::ProxySegment;

/// The walk that a packet of the gateway's own takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// IP: routed (or by the port given), judged by output and postrouting.
    Routed {
        /// The way out, where only one will do (link-local destinations).
        port: Option<PortId>,
    },
    /// IP with its link addresses: by this port, judged by output and postrouting.
    Addressed {
        /// The way out.
        port: PortId,
    },
    /// ARP by this port, judged by arp's output.
    Arp {
        /// The way out.
        port: PortId,
    },
    /// Judged already but for egress.
    Leaving {
        /// The way out.
        port: PortId,
    },
}

/// A packet of the gateway's own, from its Ethernet header on.
#[derive(Debug)]
pub struct Born {
    /// The packet.
    pub frame: Frame<'static>,
    /// Its walk.
    pub way: Way,
    /// Its mark.
    pub mark: u32,
    /// The flow that it is about.
    pub about: Option<Attached>,
    /// It is one of the SYN proxy's.
    pub proxied: Option<ProxySegment>,
}

/// A packet that leaves for a station.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// The way out.
    pub port: PortId,
    /// Largest packet on the way.
    pub mtu: u32,
    /// Its mark.
    pub mark: u32,
}

/// A packet that is complained about.
#[derive(Clone, Copy, Debug)]
pub struct About<'f> {
    /// Its frame.
    pub frame: &'f [u8],
    /// Its layers.
    pub headers: &'f Headers,
    /// The port that it came by.
    pub in_port: PortId,
    /// From which address; `None`: one of the port's.
    pub source: Option<Address>,
    /// Its flow, turned round.
    pub flow: Option<Attached>,
}

/// One worker's.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Memory for answers that are made of packets.
    packet: Vec<u8>,
    born: VecDeque<Born>,
    /// Frames that ended while they waited.
    pub(crate) ended: Vec<(Frame<'static>, DropReason)>,
    dues: Vec<Due>,
    segments: Segments,
}

impl Outbox {
    /// The next packet.
    pub fn pop(&mut self) -> Option<Born> {
        self.born.pop_front()
    }

    /// Whether nothing is there.
    pub fn is_empty(&self) -> bool {
        self.born.is_empty()
    }

    /// Adds a packet that is whole.
    pub fn push(&mut self, born: Born) {
        self.born.push_back(born);
    }

    /// Adds a packet made of pieces; without a frame in the pool it is not sent, and counted there.
    fn add(&mut self, pool: &mut FramePool, pieces: &[&[u8]], way: Way, mark: u32) {
        self.add_about(pool, pieces, (way, mark), None);
    }

    fn add_about(
        &mut self,
        pool: &mut FramePool,
        pieces: &[&[u8]],
        (way, mark): (Way, u32),
        about: Option<Attached>,
    ) {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        let Some(mut frame) = pool.take(len, PortId::NONE) else {
            return;
        };
        let mut rest = frame.bytes_mut();
        for piece in pieces {
            let (head, behind) = rest.split_at_mut(piece.len());
            head.copy_from_slice(piece);
            rest = behind;
        }
        self.push(Born {
            frame,
            way,
            mark,
            about,
            proxied: None,
        });
    }

    /// Adds an IP packet without a link header.
    pub fn add_ip(&mut self, pool: &mut FramePool, packet: &[u8], port: Option<PortId>) {
        self.add_answer(pool, packet, port, None);
    }

    /// Adds an IP packet without a link header that is about a flow.
    fn add_answer(
        &mut self,
        pool: &mut FramePool,
        packet: &[u8],
        port: Option<PortId>,
        about: Option<Attached>,
    ) {
        let kind = match packet.first().map(|byte| byte >> 4) {
            Some(4) => ethertype::IP,
            Some(6) => ethertype::IP6,
            _ => return,
        };
        let mut link = [0; ETHERNET];
        link[12..14].copy_from_slice(&kind.to_be_bytes());
        let way = Way::Routed { port };
        self.add_about(pool, &[&link, packet], (way, 0), about);
    }

    /// Adds an ARP frame.
    pub fn add_arp(&mut self, pool: &mut FramePool, frame: &[u8], port: PortId) {
        self.add(pool, &[frame], Way::Arp { port }, 0);
    }

    /// Adds a message of neighbour discovery.
    pub fn add_nd(&mut self, pool: &mut FramePool, message: &nd::Message, port: PortId) {
        let way = if message[..6] == [0; 6] {
            Way::Routed { port: Some(port) }
        } else {
            Way::Addressed { port }
        };
        self.add(pool, &[message], way, 0);
    }

    /// Answers an echo request to one of our addresses; `false` when the host has to.
    pub fn echo(
        &mut self,
        pool: &mut FramePool,
        (frame, headers): (&[u8], &Headers),
        in_port: PortId,
    ) -> bool {
        let mut packet = std::mem::take(&mut self.packet);
        let answered = icmp::echo(frame, headers, &mut packet);
        if answered {
            let to = Address::source(frame, headers);
            let near = to.is_some_and(Address::is_link_local6);
            self.add_ip(pool, &packet, near.then_some(in_port));
        }
        self.packet = packet;
        answered
    }

    /// Tells the sender of a packet why it was not carried on, where that is allowed.
    pub fn complain(
        &mut self,
        gateway: &Gateway,
        pool: &mut FramePool,
        about: &About<'_>,
        complaint: Complaint,
        now_ns: u64,
    ) {
        let About {
            frame,
            headers,
            in_port,
            source,
            flow,
        } = *about;
        if in_port == PortId::NONE || !icmp::may_complain(frame, headers, complaint) {
            return;
        }
        let Some(to) = Address::source(frame, headers) else {
            return;
        };
        if matches!(gateway.own_anywhere(to), Some(super::Own::Broadcast(_))) {
            return;
        }
        let Some(source) = source.or_else(|| gateway.error_source(in_port, to)) else {
            return;
        };
        if !gateway.shared.errors.take(now_ns) {
            return;
        }
        if let Some(message) = icmp::message(frame, headers, complaint, source) {
            let port = to.is_link_local6().then_some(in_port);
            self.add_answer(pool, &message, port, flow);
        }
    }

    /// Asks for a station.
    pub fn ask(&mut self, pool: &mut FramePool, port: &Port, wanted: &Neighbour) {
        let known = (wanted.state == neighbour::State::Probe).then_some(wanted.mac);
        let Some(source) = port.source_for(wanted.address) else {
            return;
        };
        if wanted.address.is_v4() {
            let question = arp::request(port, source, wanted.address, known);
            self.add_arp(pool, &question, port.id);
        } else {
            let question = nd::solicit(port, source, wanted.address, known);
            self.add_nd(pool, &question, port.id);
        }
    }

    /// Sends what waits for a neighbour that has just been learnt.
    pub fn release(
        &mut self,
        pool: &mut FramePool,
        editor: &mut Editor<'_>,
        slot: u32,
        own: [u8; 6],
    ) {
        let Some(mac) = editor.mac(slot) else { return };
        while let Some(mut parked) = editor.parking().take(slot) {
            address(&mut parked.bytes, mac, own);
            let departure = Departure {
                port: parked.out_port,
                mtu: parked.mtu,
                mark: parked.mark,
            };
            self.depart(pool, &parked.bytes, parked.vnet, departure);
            editor.parking().give(parked);
        }
    }

    /// Sends a copy of a frame whose link addresses are right, cut to the MTU where that is needed and
    /// allowed.
    pub fn depart(&mut self, pool: &mut FramePool, frame: &[u8], vnet: VnetHeader, to: Departure) {
        let Some(mut copy) = pool.take(frame.len(), PortId::NONE) else {
            return;
        };
        copy.bytes_mut().copy_from_slice(frame);
        copy.vnet = vnet;
        let headers = Headers::dissect(copy.bytes());
        let way = Way::Leaving { port: to.port };
        if !is_too_big(&copy, &headers, to.mtu) {
            let mark = to.mark;
            return self.push(Born {
                frame: copy,
                way,
                mark,
                about: None,
                proxied: None,
            });
        }
        if copy.vnet.is_super_frame() {
            let mut segments = std::mem::take(&mut self.segments);
            if segments.cut(&copy, usize::MAX).is_ok() {
                for piece in segments.pieces_mut() {
                    self.cut(pool, &piece[VnetHeader::LEN..], to);
                }
            }
            self.segments = segments;
            return pool.give(copy);
        }
        if segment::complete_checksum(&mut copy).is_ok() {
            let end = (headers.end as usize).min(copy.len());
            self.cut(pool, &copy.bytes()[..end], to);
        }
        pool.give(copy);
    }

    /// Cuts an IPv4 frame into fragments.
    fn cut(&mut self, pool: &mut FramePool, frame: &[u8], to: Departure) {
        let (link, packet) = frame.split_at(ETHERNET);
        let way = Way::Leaving { port: to.port };
        fragment::cut(packet, to.mtu as usize, |header, payload| {
            self.add(pool, &[link, header, payload], way, to.mark);
        });
    }

    /// Does what is due without a packet.
    pub fn tick(&mut self, gateway: &Gateway, pool: &mut FramePool, now_ns: u64) {
        self.announce(gateway, pool);
        // Somebody else is at it, or will be in a moment.
        let Some(mut editor) = gateway.shared.neighbours.try_lock() else {
            return;
        };
        let mut dues = std::mem::take(&mut self.dues);
        editor.sweep(now_ns, |_, due| dues.push(due));
        for due in dues.drain(..) {
            match due {
                Due::Ask(wanted) => {
                    if let Some(port) = gateway.port(wanted.port) {
                        self.ask(pool, port, &wanted);
                    }
                }
                Due::Failed(slot, _) => {
                    while let Some(parked) = editor.parking().take(slot) {
                        self.give_up(gateway, pool, &parked, now_ns);
                        editor.parking().give(parked);
                    }
                }
            }
        }
        self.dues = dues;
        while let Some(parked) = editor.parking().take_late(now_ns) {
            self.end_parked(pool, &parked, DropReason::NeighbourFailed);
            editor.parking().give(parked);
        }
    }

    /// A packet waited in vain.
    fn give_up(&mut self, gateway: &Gateway, pool: &mut FramePool, parked: &Parked, now_ns: u64) {
        let headers = Headers::dissect(&parked.bytes);
        self.complain(
            gateway,
            pool,
            &About {
                frame: &parked.bytes,
                headers: &headers,
                in_port: parked.in_port,
                source: None,
                flow: parked.flow,
            },
            Complaint::HostUnreachable,
            now_ns,
        );
        self.end_parked(pool, parked, DropReason::NeighbourFailed);
    }

    /// Counts a packet that ended while it waited.
    pub fn end_parked(&mut self, pool: &mut FramePool, parked: &Parked, reason: DropReason) {
        if let Some(mut frame) = pool.take(parked.bytes.len(), parked.in_port) {
            frame.bytes_mut().copy_from_slice(&parked.bytes);
            self.ended.push((frame, reason));
        }
    }

    /// Announces the addresses of ports that have come up.
    fn announce(&mut self, gateway: &Gateway, pool: &mut FramePool) {
        let Ok(mut announced) = gateway.shared.announced.try_lock() else {
            return;
        };
        for port in gateway.ports() {
            let state = port.link.changes() << 1 | u64::from(port.link.is_up());
            if announced.insert(port.id, state) == Some(state) || !port.link.is_up() {
                continue;
            }
            if port.point_to_point {
                continue;
            }
            for (own, _) in &port.addresses {
                if own.is_v4() {
                    let frame = arp::announcement(port, *own);
                    self.add_arp(pool, &frame, port.id);
                } else {
                    self.add_nd(pool, &nd::announcement(port, *own), port.id);
                }
            }
        }
    }
}

/// Writes the link addresses of a frame.
#[inline]
pub fn address(frame: &mut [u8], station: [u8; 6], own: [u8; 6]) {
    if let Some(link) = frame.first_chunk_mut::<12>() {
        link[..6].copy_from_slice(&station);
        link[6..].copy_from_slice(&own);
    }
}

/// Bytes from the IP header on, of a super-frame those that its segments will have.
#[inline]
pub fn packet_size(frame: &Frame<'_>, headers: &Headers) -> u32 {
    if frame.vnet.is_super_frame()
        && let Some(header_len) = segment::header_len(frame)
    {
        let headers_len = (header_len as u32).saturating_sub(u32::from(headers.network));
        return headers_len + u32::from(frame.vnet.gso_size);
    }
    headers.end.saturating_sub(u32::from(headers.network))
}

/// Whether a packet is larger than the way allows.
#[inline]
pub fn is_too_big(frame: &Frame<'_>, headers: &Headers, mtu: u32) -> bool {
    packet_size(frame, headers) > mtu
}

/// Whether an IPv4 packet may be cut.
pub fn may_be_cut(frame: &[u8], headers: &Headers) -> bool {
    const DONT_FRAGMENT: u8 = 0x40;
    headers.ethertype == ethertype::IP
        && !headers.has(flag::BAD_IP)
        && frame
            .get(usize::from(headers.network) + 6)
            .is_some_and(|byte| byte & DONT_FRAGMENT == 0)
}
