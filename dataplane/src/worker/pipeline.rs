//! A packet's whole walk.
//!
//! A batch comes in, its headers are dissected once, its lanes are grouped by the class that says
//! which walk they take, and each walk runs its entries in netfilter's order: base chains, the check
//! of IP headers before the first IP chain, the look-up of the way out. What is still alive at the end
//! leaves by its way out. Nothing here allocates, locks or makes a system call per packet.

use std::sync::Arc;

use super::disposition::{Disposition, Fate};
use super::event::{EventKind, EventQueue};
use super::generation::Generation;
use super::stages::{Context, Stages};
use crate::drop_reason::DropReason;
use crate::packet::headers::{ETHERNET, Headers, ethertype, flag};
use crate::packet::{BATCH, Burst, checksum};
use crate::port::PortId;
use crate::program::key::reads;
use crate::program::lanes::lanes;
use crate::program::vm::{Place, Run, Vm};
use crate::program::{Class, Entry, Family, Hook, Names, Policy, RuleRef, Verdict};

/// The stages of one worker.
#[derive(Debug)]
pub struct Pipeline {
    vm: Vm,
    events: Arc<EventQueue>,
}

impl Pipeline {
    /// A pipeline whose chance begins with `seed` and whose events go to `events`.
    pub fn new(seed: u64, events: Arc<EventQueue>) -> Self {
        Self {
            vm: Vm::new(seed),
            events,
        }
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
        self.vm.prepare(generation.program());
        self.vm.begin();
        let classes = self.dissect(burst);
        let walk = Run {
            vm: &mut self.vm,
            frames: burst,
            generation,
            context,
            events: &self.events,
            emitted: &mut out.emitted,
            pool: &mut out.pool,
            place: Place {
                hook: Hook::Ingress,
                family: Family::Netdev,
            },
        };
        let mut walk = Walk { run: walk };
        let mixed = classes.iter().filter(|lanes| **lanes != 0).count() > 1;
        let program = generation.program();
        if program.ordered() || mixed && program.has_effects() {
            for lane in lanes(all) {
                walk.classes(&classes, 1 << lane);
            }
        } else {
            walk.classes(&classes, all);
        }
        self.judge(all, out);
        self.vm.packets.serial += burst.len() as u64;
    }
}

impl Pipeline {
    /// Dissects the headers; yields the lanes of each class.
    fn dissect(&mut self, burst: &Burst<'_>) -> [u64; Class::COUNT] {
        let mut classes = [0; Class::COUNT];
        let packets = &mut self.vm.packets;
        for (lane, frame) in burst.iter().enumerate() {
            let headers = Headers::dissect(frame.bytes());
            classes[headers.class() as usize] |= 1 << lane;
            if headers.has(flag::SHORT) {
                packets.end(1 << lane, DropReason::FrameTooShort, RuleRef::NONE);
            }
            packets.headers[lane] = headers;
            packets.lengths[lane] = frame.len() as u32 - u32::from(headers.network);
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

/// The walks of one batch.
struct Walk<'r, 'q> {
    run: Run<'r, 'q>,
}

impl Walk<'_, '_> {
    fn classes(&mut self, classes: &[u64; Class::COUNT], among: u64) {
        for class in Class::ALL {
            let lanes = classes[class as usize] & among;
            if lanes != 0 {
                self.walk(class, lanes);
            }
        }
    }

    fn walk(&mut self, class: Class, all: u64) {
        let generation = self.run.generation;
        for entry in generation.program().walk(class) {
            let alive = all & !self.run.vm.packets.ended;
            if alive == 0 {
                return;
            }
            match entry {
                Entry::Peer => self.look_up_peer(alive),
                Entry::CheckIp => self.check_ip(alive),
                Entry::Chain {
                    chain,
                    hook,
                    family,
                    policy,
                    policy_rule,
                    devices,
                    ..
                } => {
                    let place = Place {
                        hook: *hook,
                        family: *family,
                    };
                    let looked_at = self.enter(place, devices, alive);
                    if looked_at == 0 {
                        continue;
                    }
                    let left = self.run.chain(chain.0 as usize, looked_at);
                    self.end_of_chain(*policy, *policy_rule, left);
                }
            }
        }
    }

    /// Makes ready for a base chain; yields the lanes that it looks at.
    fn enter(&mut self, place: Place, devices: &Names, alive: u64) -> u64 {
        self.refresh(alive);
        if self.run.place != place {
            let egress = place.hook == Hook::Egress;
            if egress != (self.run.place.hook == Hook::Egress) {
                self.set_lengths(egress, alive);
            }
            if place.knows_port_in() != self.run.place.knows_port_in() {
                self.run.vm.forget(reads::IN, u64::MAX);
            }
            self.run.place = place;
            self.run.vm.forget(reads::HOOK | reads::PKTTYPE, u64::MAX);
        }
        let looked_at = if devices.0.is_empty() {
            alive
        } else {
            self.on_devices(place, devices, alive)
        };
        if (place.hook, place.family) == (Hook::Ingress, Family::Inet) {
            let ip = self.only_ip(looked_at);
            return self.drop_bad_headers(ip);
        }
        looked_at
    }

    /// The packets of IP: the others do not come to chains of `inet`, at ingress neither.
    fn only_ip(&self, alive: u64) -> u64 {
        let headers = &self.run.vm.packets.headers;
        let ip = |lane: &usize| matches!(headers[*lane].ethertype, 0x0800 | 0x86dd);
        lanes(alive)
            .filter(ip)
            .fold(0, |some, lane| some | 1 << lane)
    }

    /// Dissects packets again whose bytes rules have written.
    fn refresh(&mut self, alive: u64) {
        for lane in lanes(std::mem::take(&mut self.run.vm.stale) & alive) {
            let headers = Headers::dissect(self.run.frames[lane].bytes());
            let known = &mut self.run.vm.packets.headers[lane];
            // The EtherType was read when the frame came in and stays, as in the kernel.
            if headers.ethertype == known.ethertype {
                *known = headers;
            }
        }
    }

    /// At egress the link header counts, a tag never does.
    fn set_lengths(&mut self, egress: bool, alive: u64) {
        let packets = &mut self.run.vm.packets;
        for lane in lanes(alive) {
            let header = if egress { ETHERNET as u32 } else { 0 };
            packets.lengths[lane] =
                packets.limits[lane] - u32::from(packets.headers[lane].network) + header;
        }
    }

    fn on_devices(&self, place: Place, devices: &Names, alive: u64) -> u64 {
        let packets = &self.run.vm.packets;
        let egress = place.hook == Hook::Egress;
        let port = |lane: usize| {
            if egress {
                packets.out_ports[lane]
            } else {
                packets.in_ports[lane]
            }
        };
        let mut looked_at = 0;
        for lane in lanes(alive) {
            let info = self.run.generation.ports().get(port(lane));
            let named = info.is_some_and(|info| devices.0.contains(&info.name_words));
            looked_at |= u64::from(named) << lane;
        }
        looked_at
    }

    fn end_of_chain(&mut self, policy: Policy, rule: RuleRef, left: u64) {
        if self.run.vm.packets.traced & left != 0 {
            let verdict = if policy == Policy::Drop {
                Verdict::Drop
            } else {
                Verdict::Accept
            };
            self.run.trace(EventKind::TracePolicy(verdict), rule, left);
        }
        if policy == Policy::Drop {
            self.run.vm.packets.end(left, DropReason::PolicyDrop, rule);
        }
    }

    /// Drops what is not a proper IP packet, as the kernel's bridge does before its IP hooks, and
    /// leaves padding out of account from here on.
    fn check_ip(&mut self, alive: u64) {
        for lane in lanes(self.drop_bad_headers(alive)) {
            let packets = &mut self.run.vm.packets;
            let headers = packets.headers[lane];
            let network = usize::from(headers.network);
            let frame = &self.run.frames[lane];
            let bytes = frame.bytes();
            if headers.ethertype == ethertype::IP {
                let header_len = usize::from(bytes[network] & 15) * 4;
                if checksum::checksum(&bytes[network..network + header_len]) != 0 {
                    packets.end(1 << lane, DropReason::IpChecksumBad, RuleRef::NONE);
                    continue;
                }
            }
            packets.limits[lane] = headers.end;
            packets.lengths[lane] = headers.end - u32::from(headers.network);
        }
    }

    fn drop_bad_headers(&mut self, alive: u64) -> u64 {
        let packets = &mut self.run.vm.packets;
        for lane in lanes(alive) {
            let headers = &packets.headers[lane];
            if headers.has(flag::BAD_IP) {
                let many = headers.has(flag::MANY_EXTENSIONS);
                let reason = if many {
                    DropReason::ExtensionHeaders
                } else {
                    DropReason::IpHeaderBad
                };
                packets.end(1 << lane, reason, RuleRef::NONE);
            }
        }
        alive & !packets.ended
    }

    /// Wire: what comes in by a port leaves by its peer.
    fn look_up_peer(&mut self, alive: u64) {
        let generation = self.run.generation;
        let packets = &mut self.run.vm.packets;
        let mut known = (PortId::NONE, None);
        for lane in lanes(alive) {
            let port = packets.in_ports[lane];
            if known.0 != port {
                known = (
                    port,
                    generation.ports().get(port).and_then(|info| info.peer),
                );
            }
            match known.1 {
                Some(peer) => packets.out_ports[lane] = peer,
                None => packets.end(1 << lane, DropReason::NoPeer, RuleRef::NONE),
            }
        }
        self.run.vm.forget(reads::OUT, alive);
    }
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
