//! What a batch brought forth, on walks of its own behind the batch: of a gateway the answers of the host
//! and of rules, errors, questions for neighbours, fragments, packets that waited; of a wire what the SYN
//! proxy says to servers.

use std::sync::PoisonError;

use arrayvec::ArrayVec;

use super::disposition::{Disposition, NO_RULE, ProxySegment, Routed};
use super::generation::Generation;
use super::pipeline::Pipeline;
use super::stages::Context;
use crate::conntrack::Attached;
use crate::gateway::{Born, Gateway, Way};
use crate::nat::Side;
use crate::nat::apply::{apply, end, is_translated};
use crate::packet::headers::{Headers, ethertype, protocol};
use crate::packet::{BATCH, Frame};
use crate::port::PortId;
use crate::program::Class;

/// Walks behind a batch: answers to answers end here and wait for the next batch.
const ROUNDS: usize = 8;

impl Pipeline {
    /// Sends what the batch brought forth on walks of its own.
    pub(super) fn follow(
        &mut self,
        gateway: Option<&Gateway>,
        (generation, context): (&Generation, &Context),
        out: &mut Disposition,
    ) {
        for _ in 0..ROUNDS {
            self.adopt(out);
            if let Some(gateway) = gateway {
                self.ask_host(gateway, context, out);
            }
            if self.desk.outbox.is_empty() && self.desk.outbox.ended.is_empty() {
                return;
            }
            let ended = self.desk.outbox.ended.drain(..);
            out.ended
                .extend(ended.map(|(frame, reason)| (frame, reason, NO_RULE)));
            self.walk_own((generation, context), gateway, out);
        }
    }

    /// Answers of rules that are to be routed.
    fn adopt(&mut self, out: &mut Disposition) {
        for routed in out.routed.drain(..) {
            let Routed {
                frame,
                port,
                about,
                proxied,
            } = routed;
            let way = Way::Routed { port };
            self.desk.outbox.push(Born {
                frame,
                way,
                mark: 0,
                about,
                proxied,
            });
        }
    }

    /// Lets the host answer.
    fn ask_host(&mut self, gateway: &Gateway, context: &Context, out: &mut Disposition) {
        if !std::mem::take(&mut self.desk.visited) {
            return;
        }
        let mut host = gateway
            .shared
            .host
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        host.poll(context.now_ns);
        while let Some((packet, port)) = host.take() {
            if is_error(&packet) && !gateway.shared.errors.take(context.now_ns) {
                continue;
            }
            self.desk.outbox.add_ip(&mut out.pool, &packet, port);
        }
    }

    /// One batch of packets of our own.
    fn walk_own(
        &mut self,
        (generation, context): (&Generation, &Context),
        gateway: Option<&Gateway>,
        out: &mut Disposition,
    ) {
        let mut frames = ArrayVec::<Frame<'static>, BATCH>::new();
        let mut born = ArrayVec::<(Way, u32), BATCH>::new();
        let mut attached = ArrayVec::<(usize, Attached), BATCH>::new();
        let mut proxied = ArrayVec::<(usize, ProxySegment), BATCH>::new();
        while !frames.is_full()
            && let Some(Born {
                mut frame,
                way,
                mark,
                about,
                proxied: segment,
            }) = self.desk.outbox.pop()
        {
            proxied.extend(segment.map(|segment| (frames.len(), segment)));
            if let Some(about) = about {
                turn(&mut frame, &about);
                attached.push((frames.len(), about));
            }
            frames.push(frame);
            born.push((way, mark));
        }
        if frames.is_empty() {
            return;
        }
        self.vm.prepare(generation.program());
        self.vm.begin();
        self.desk.begin(gateway);
        self.desk.attached = attached;
        self.desk.proxied = proxied;
        let all = u64::MAX >> (BATCH - frames.len());
        self.dissect(&frames);
        let classes = self.set_ways(&born);
        self.walk(&mut frames, &classes, all, (generation, context), out);
        let packets = &mut self.vm.packets;
        packets.serial += frames.len() as u64;
        for (lane, frame) in frames.into_iter().enumerate() {
            if (!packets.ended | packets.forwarded) >> lane & 1 == 1 {
                out.emitted.push((packets.out_ports[lane], frame));
            } else if packets.parked >> lane & 1 == 1 {
                out.pool.give(frame);
            } else {
                out.ended
                    .push((frame, packets.reasons[lane], packets.rules[lane].0));
            }
        }
        if gateway.is_none() {
            // The next batch of a wire is not begun here.
            self.desk.begin(None);
        }
    }

    /// Has each packet of our own take its walk.
    fn set_ways(&mut self, born: &[(Way, u32)]) -> [u64; Class::COUNT] {
        let mut classes = [0; Class::COUNT];
        let packets = &mut self.vm.packets;
        for (lane, (way, mark)) in born.iter().enumerate() {
            let bit = 1 << lane;
            packets.marks[lane] = *mark;
            packets.in_ports[lane] = PortId::NONE;
            self.desk.own |= bit;
            let ip = match packets.headers[lane].ethertype {
                ethertype::IP6 => Class::OwnIp6,
                _ => Class::OwnIp,
            };
            let class = match *way {
                Way::Routed { port: None } => ip,
                Way::Routed { port: Some(port) } => {
                    packets.out_ports[lane] = port;
                    self.desk.pinned |= bit;
                    ip
                }
                Way::Addressed { port } => {
                    packets.out_ports[lane] = port;
                    self.desk.pinned |= bit;
                    self.desk.addressed |= bit;
                    ip
                }
                Way::Arp { port } => {
                    packets.out_ports[lane] = port;
                    Class::OwnArp
                }
                Way::Leaving { port } => {
                    packets.out_ports[lane] = port;
                    Class::Leaving
                }
            };
            classes[class as usize] |= bit;
        }
        classes
    }

    /// Makes ready for a batch of a gateway.
    pub(super) fn begin_routed(&mut self, generation: &Generation) {
        if let Some(gateway) = generation.ports().gateway() {
            self.desk.begin(Some(gateway));
        }
    }
}

/// Gives an answer the destination that its flow has for it, before it is routed: what it is about may
/// have been translated already.
fn turn(frame: &mut Frame<'_>, about: &Attached) {
    if is_translated(about.flow.status, about.direction, Side::Destination) {
        let headers = Headers::dissect(frame.bytes());
        // Malformed cannot be: it was made here.
        let _applied = apply(
            frame.bytes_mut(),
            &headers,
            &end(about.other(), Side::Destination),
            Side::Destination,
            false,
        );
    }
}

/// Whether an IP packet is an ICMP error.
fn is_error(packet: &[u8]) -> bool {
    match packet.first().map(|byte| (byte >> 4, byte & 15)) {
        Some((4, words)) if packet.get(9) == Some(&protocol::ICMP) => packet
            .get(usize::from(words) * 4)
            .is_some_and(|kind| matches!(kind, 3 | 11 | 12)),
        Some((6, _)) if packet.get(6) == Some(&protocol::ICMPV6) => {
            packet.get(40).is_some_and(|kind| *kind < 128)
        }
        _ => false,
    }
}
