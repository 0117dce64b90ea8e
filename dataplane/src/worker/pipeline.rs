//! A packet's whole walk.
//!
//! A batch comes in, its headers are dissected once, its lanes are grouped by the class that says
//! which walk they take, and each walk runs its entries in netfilter's order: base chains, the check
//! of IP headers before the first IP chain, tracking, the look-up of the way out, confirmation. What
//! is still alive at the end leaves by its way out. Nothing here allocates, locks or makes a system
//! call per packet.

use std::sync::Arc;

use super::disposition::{Disposition, Fate};
use super::event::EventQueue;
use super::generation::Generation;
use super::routing::Desk;
use super::stages::{Context, Stages};
use super::walk::Walk;
use crate::conntrack::{CtState, PacketCt, TrackerWorker};
use crate::drop_reason::DropReason;
use crate::nat::Translator;
use crate::packet::fragments::{Fragments, Limits};
use crate::packet::headers::flag;
use crate::packet::{BATCH, Burst, Frame};
use crate::port::PortId;
use crate::program::lanes::lanes;
use crate::program::vm::{Place, Run, Vm};
use crate::program::{Class, Family, Hook, RuleRef};

/// The stages of one worker.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) vm: Vm,
    events: Arc<EventQueue>,
    tracker: Option<TrackerWorker>,
    pub(super) translator: Option<Arc<Translator>>,
    fragments: Fragments,
    pub(super) desk: Desk,
}

impl Pipeline {
    /// A pipeline whose chance begins with `seed` and whose events go to `events`.
    pub fn new(seed: u64, events: Arc<EventQueue>) -> Self {
        Self {
            vm: Vm::new(seed),
            events,
            tracker: None,
            translator: None,
            fragments: Fragments::new(Limits::default(), seed),
            desk: Desk::default(),
        }
    }

    /// The same with a tracker, for generations whose rules ask for connections.
    #[must_use]
    pub fn tracking(mut self, tracker: TrackerWorker) -> Self {
        self.tracker = Some(tracker);
        self
    }

    /// The same with a translator of the tracker's flows, for generations that translate.
    #[must_use]
    pub fn translating(mut self, translator: Arc<Translator>) -> Self {
        self.translator = Some(translator);
        self
    }
}

impl Stages for Pipeline {
    type Generation = Generation;

    fn number(generation: &Generation) -> u64 {
        generation.number()
    }

    fn process(
        &mut self,
        burst: &mut Burst<'_>,
        generation: &Generation,
        context: &Context,
        out: &mut Disposition,
    ) {
        let all = match burst.len() {
            0 => return,
            count => u64::MAX >> (BATCH - count),
        };
        let program = generation.program();
        self.vm.prepare(program);
        self.vm.begin();
        self.begin_routed(generation);
        let classes = self.dissect(burst);
        self.walk(burst, &classes, all, (generation, context), out);
        self.judge(all, out);
        if self.vm.packets.gathered != 0 {
            self.release(burst, out);
        }
        self.vm.packets.serial += burst.len() as u64;
        let gateway = generation.ports().gateway();
        if gateway.is_some() || !out.routed.is_empty() {
            let gateway = gateway.map(|gateway| &**gateway);
            self.follow(gateway, (generation, context), out);
        }
    }

    fn take_lost(&mut self) -> Option<(DropReason, u64)> {
        self.fragments.take_lost()
    }

    fn tick(&mut self, generation: &Generation, context: &Context, out: &mut Disposition) {
        self.fragments.expire(context.now_ns);
        if let Some(tracker) = &mut self.tracker {
            tracker.tick(context.now_ns, context.wall_ns);
        }
        if let Some(gateway) = generation.ports().gateway() {
            self.desk
                .outbox
                .tick(gateway, &mut out.pool, context.now_ns);
            self.answer_unsolicited(gateway, &mut out.pool, context.now_ns);
            self.desk.visited = true;
            self.follow(Some(gateway), (generation, context), out);
        }
    }
}

impl Pipeline {
    /// Takes the lanes of a batch through their walks.
    pub(super) fn walk(
        &mut self,
        frames: &mut [Frame<'_>],
        classes: &[u64; Class::COUNT],
        all: u64,
        (generation, context): (&Generation, &Context),
        out: &mut Disposition,
    ) {
        let program = generation.program();
        let mut tracker = self.tracker.as_mut().filter(|_| program.tracks());
        if let Some(tracker) = &mut tracker {
            self.vm.begin_tracking();
            tracker.begin(context.now_ns, context.wall_ns);
            for (lane, attached) in &self.desk.attached {
                self.vm.packets.ct[*lane] = PacketCt {
                    flow: tracker.still(attached.id).unwrap_or_default(),
                    state: CtState::Related,
                    direction: attached.direction,
                    invalid: 0,
                };
            }
            for (lane, segment) in &self.desk.proxied {
                self.vm.packets.zones[*lane] = segment.zone;
            }
        }
        let run = Run {
            vm: &mut self.vm,
            frames,
            generation,
            context,
            events: &self.events,
            emitted: &mut out.emitted,
            routed: &mut out.routed,
            pool: &mut out.pool,
            tracker,
            translator: self.translator.as_deref(),
            place: Place {
                hook: Hook::Ingress,
                family: Family::Netdev,
            },
        };
        let mut walk = Walk {
            run,
            fragments: &mut self.fragments,
            desk: &mut self.desk,
            deciding: None,
        };
        let mixed = classes.iter().filter(|lanes| **lanes != 0).count() > 1;
        if program.ordered() || mixed && program.has_effects() {
            for lane in lanes(all) {
                walk.classes(classes, 1 << lane);
            }
        } else {
            walk.classes(classes, all);
        }
        if let Some(tracker) = walk.run.tracker {
            tracker.end();
        }
    }

    /// Dissects the headers; yields the lanes of each class.
    pub(super) fn dissect(&mut self, burst: &[Frame<'_>]) -> [u64; Class::COUNT] {
        let mut classes = [0; Class::COUNT];
        let packets = &mut self.vm.packets;
        for (lane, frame) in burst.iter().enumerate() {
            let headers = &mut packets.headers[lane];
            headers.read(frame.bytes());
            classes[headers.class() as usize] |= 1 << lane;
            packets.lengths[lane] = frame.len() as u32 - u32::from(headers.network);
            if headers.has(flag::SHORT) {
                packets.end(1 << lane, DropReason::FrameTooShort, RuleRef::NONE);
            }
            packets.limits[lane] = frame.len() as u32;
            packets.in_ports[lane] = frame.in_port;
            packets.out_ports[lane] = PortId::NONE;
        }
        classes
    }

    /// Says what becomes of every lane.
    fn judge(&self, all: u64, out: &mut Disposition) {
        let packets = &self.vm.packets;
        for lane in lanes(all) {
            let lives = (!packets.ended | packets.forwarded) >> lane & 1 == 1;
            let fate = if lives {
                Fate::Send(packets.out_ports[lane])
            } else if packets.parked >> lane & 1 == 1 {
                Fate::Held
            } else {
                Fate::Drop {
                    reason: packets.reasons[lane],
                    rule: packets.rules[lane].0,
                }
            };
            out.set(lane, fate);
        }
    }
}

impl Pipeline {
    /// Sends the fragments of datagrams that have passed, and forgets those of the others.
    fn release(&mut self, burst: &Burst<'_>, out: &mut Disposition) {
        out.replaced |= self.vm.packets.gathered;
        for lane in lanes(self.vm.packets.gathered) {
            match out.fate(lane) {
                Fate::Send(port) => {
                    let emitted = &mut out.emitted;
                    let emit = |frame| emitted.push((port, frame));
                    if self
                        .fragments
                        .release(lane, &burst[lane], &mut out.pool, emit)
                    {
                        out.set(lane, Fate::Held);
                    }
                }
                Fate::Drop { reason, .. } => {
                    self.fragments.forget(lane, reason);
                }
                // For the appliance itself, or waiting for its next hop.
                Fate::Held => self.fragments.finish(lane),
            }
        }
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
