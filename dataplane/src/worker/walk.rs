//! A packet's walk through the entries of its class: base chains, and what the dataplane does between them.

use super::event::EventKind;
use super::routing::Desk;
use crate::drop_reason::DropReason;
use crate::nat::Side;
use crate::packet::checksum;
use crate::packet::fragments::Fragments;
use crate::packet::headers::{ETHERNET, Headers, ethertype, flag};
use crate::port::PortId;
use crate::program::key::reads;
use crate::program::lanes::lanes;
use crate::program::vm::{Place, Run};
use crate::program::{Class, Entry, Family, Hook, Names, Policy, RuleRef, Verdict};

/// The walks of one batch.
pub(super) struct Walk<'r, 'q> {
    pub(super) run: Run<'r, 'q>,
    pub(super) fragments: &'r mut Fragments,
    pub(super) desk: &'r mut Desk,
    /// Between the beginning of the chains of type nat and their end: the side that they decide, and the
    /// lanes that have come to their hook.
    pub(super) deciding: Option<(Side, u64)>,
}

impl Walk<'_, '_> {
    pub(super) fn classes(&mut self, classes: &[u64; Class::COUNT], among: u64) {
        for class in Class::ALL {
            let lanes = classes[class as usize] & among;
            if lanes != 0 {
                self.walk(class, lanes);
            }
        }
    }

    fn walk(&mut self, class: Class, all: u64) {
        let generation = self.run.generation;
        let entries = generation.program().walk(class);
        let mut waiting = self.pass(entries, all);
        let tracking = entries.iter().position(|entry| *entry == Entry::Track);
        while waiting != 0 {
            let from = &entries[tracking.unwrap_or(0)..];
            let left = self.pass(from, waiting);
            if left == waiting {
                // Cannot be: the first that waits finds all before it confirmed. Fail closed.
                let packets = &mut self.run.vm.packets;
                return packets.end(left, DropReason::FlowClash, RuleRef::NONE);
            }
            waiting = left;
        }
    }

    /// Runs entries; yields the lanes that have to wait and go on from the tracking.
    fn pass(&mut self, entries: &[Entry], all: u64) -> u64 {
        let mut waiting = 0;
        for entry in entries {
            let alive = all & !waiting & !self.run.vm.packets.ended;
            if alive == 0 {
                break;
            }
            match entry {
                Entry::Peer => self.look_up_peer(alive),
                Entry::CheckIp => self.check_ip(alive),
                Entry::Defragment => self.gather(alive),
                Entry::Track => waiting = self.track(alive),
                Entry::Confirm => self.confirm(alive),
                Entry::Station => self.check_station(alive),
                Entry::Route => self.route(alive),
                Entry::Reroute => self.reroute(alive),
                Entry::ToSelf => self.deliver_own(alive),
                Entry::Arp => self.arp(alive),
                Entry::Neighbour => self.neighbour(alive),
                Entry::Leave => {}
                Entry::Decide { hook } => self.begin_deciding(*hook, alive),
                Entry::Translate { hook } => self.translate(*hook, alive),
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
                    let there = match place {
                        Place {
                            family: Family::Arp,
                            ..
                        } => self.only_arp(alive),
                        Place {
                            hook: Hook::Input, ..
                        } => alive & self.desk.local,
                        _ => alive,
                    };
                    let there = match self.deciding {
                        Some((side, among)) => self.undecided(side, among & there),
                        None => there,
                    };
                    if there == 0 {
                        continue;
                    }
                    let looked_at = self.enter(place, devices, there);
                    if looked_at == 0 {
                        continue;
                    }
                    let left = self.run.chain(chain.0 as usize, looked_at);
                    self.end_of_chain(*policy, *policy_rule, left);
                    if self.deciding.is_some() {
                        self.tell_exhausted(looked_at);
                    }
                }
            }
        }
        self.forget_dropped(all & !waiting);
        waiting
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

    /// The frames that come to chains of the family arp.
    fn only_arp(&self, alive: u64) -> u64 {
        let headers = &self.run.vm.packets.headers;
        let arp = |lane: &usize| headers[*lane].ethertype == ethertype::ARP;
        lanes(alive)
            .filter(arp)
            .fold(0, |some, lane| some | 1 << lane)
    }

    /// Dissects packets again whose bytes rules have written.
    pub(super) fn refresh(&mut self, alive: u64) {
        let stale = self.run.vm.stale & alive;
        self.run.vm.stale &= !stale;
        for lane in lanes(stale) {
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
