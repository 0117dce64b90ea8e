//! A packet's whole walk.
//!
//! A batch comes in, its headers are dissected once, its lanes are grouped by the class that says
//! which walk they take, and each walk runs its entries in netfilter's order: base chains, the check
//! of IP headers before the first IP chain, tracking, the look-up of the way out, confirmation. What
//! is still alive at the end leaves by its way out. Nothing here allocates, locks or makes a system
//! call per packet.
//!
//! A packet whose connection another packet of the batch has just begun waits until that one has
//! been confirmed or dropped; then it goes on from the tracking.

use std::sync::Arc;

use super::disposition::{Disposition, Fate};
use super::event::{EventKind, EventQueue};
use super::generation::Generation;
use super::routing::Desk;
use super::stages::{Context, Stages};
use crate::conntrack::helper::{self, Expected, Helper, ftp, tftp};
use crate::conntrack::{
    CtState, Direction, Expectation, FlowId, PacketCt, TrackContext, TrackerWorker, status,
};
use crate::drop_reason::DropReason;
use crate::packet::fragments::{self, Arrival, Fragments, Limits};
use crate::packet::headers::{ETHERNET, Headers, ethertype, field, flag};
use crate::packet::{BATCH, Burst, Frame, checksum};
use crate::port::PortId;
use crate::program::key::reads;
use crate::program::lanes::lanes;
use crate::program::vm::{Place, Run, Vm};
use crate::program::{Class, Entry, Family, Hook, Names, Policy, RuleRef, Verdict};

/// The stages of one worker.
#[derive(Debug)]
pub struct Pipeline {
    pub(super) vm: Vm,
    events: Arc<EventQueue>,
    tracker: Option<TrackerWorker>,
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
        if let Some(gateway) = generation.ports().gateway() {
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
            self.desk.visited = true;
            self.follow(gateway, (generation, context), out);
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
        }
        let run = Run {
            vm: &mut self.vm,
            frames,
            generation,
            context,
            events: &self.events,
            emitted: &mut out.emitted,
            pool: &mut out.pool,
            tracker,
            place: Place {
                hook: Hook::Ingress,
                family: Family::Netdev,
            },
        };
        let mut walk = Walk {
            run,
            fragments: &mut self.fragments,
            desk: &mut self.desk,
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
                Fate::Held => {}
            }
        }
    }
}

/// The walks of one batch.
pub(super) struct Walk<'r, 'q> {
    pub(super) run: Run<'r, 'q>,
    fragments: &'r mut Fragments,
    pub(super) desk: &'r mut Desk,
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
                    if there == 0 {
                        continue;
                    }
                    let looked_at = self.enter(place, devices, there);
                    if looked_at == 0 {
                        continue;
                    }
                    let left = self.run.chain(chain.0 as usize, looked_at);
                    self.end_of_chain(*policy, *policy_rule, left);
                }
            }
        }
        self.forget_dropped(all & !waiting);
        waiting
    }

    /// Gathers fragments: they end here until the last one comes, which goes on as the whole datagram.
    fn gather(&mut self, alive: u64) {
        self.refresh(alive);
        let run = &mut self.run;
        let now_ns = run.context.now_ns;
        for lane in lanes(alive) {
            let packets = &mut run.vm.packets;
            if !packets.headers[lane].has(flag::FRAGMENT) {
                continue;
            }
            let place = fragments::Place {
                domain: 0,
                zone: packets.zones[lane].id,
            };
            let (frame, headers) = (&mut run.frames[lane], &packets.headers[lane]);
            let (one, pool) = (1 << lane, &mut *run.pool);
            match self
                .fragments
                .take(lane, frame, headers, place, now_ns, pool)
            {
                Arrival::Passes => {}
                Arrival::Parked => {
                    packets.parked |= one;
                    packets.ended |= one;
                }
                Arrival::Whole => {
                    let headers = Headers::dissect(frame.bytes());
                    packets.headers[lane] = headers;
                    packets.limits[lane] = headers.end;
                    packets.lengths[lane] = headers.end - u32::from(headers.network);
                    packets.gathered |= one;
                    run.vm.forget(reads::PAYLOAD, one);
                }
                Arrival::Dropped(reason) => packets.end(one, reason, RuleRef::NONE),
            }
        }
    }

    /// Finds or begins connections; yields the lanes that have to wait. Where packets change what
    /// others see, all behind the first that waits do, so that they stay in order.
    fn track(&mut self, alive: u64) -> u64 {
        self.refresh(alive);
        let context = self.track_context();
        let Run {
            vm,
            frames,
            tracker: Some(tracker),
            generation,
            ..
        } = &mut self.run
        else {
            return 0;
        };
        let deferred = tracker.track(alive, &mut vm.packets, frames, &context);
        vm.forget(reads::CT, alive);
        if deferred != 0 && generation.program().has_effects() {
            return alive & u64::MAX << deferred.trailing_zeros();
        }
        deferred
    }

    /// Helpers look at the packets, and connections that they begin enter the table.
    fn confirm(&mut self, alive: u64) {
        self.refresh(alive);
        let context = self.track_context();
        let run = &mut self.run;
        let Some(tracker) = &mut run.tracker else {
            return;
        };
        let packets = &mut run.vm.packets;
        tracker.confirm(alive, packets, &context);
        for lane in lanes(alive & !packets.ended) {
            let ct = packets.ct[lane];
            if ct.flow.is_some() && tracker.status(ct.flow) & status::HELPER != 0 {
                let (headers, bytes) = (&packets.headers[lane], run.frames[lane].bytes());
                if !help(tracker, ct, headers, bytes, context.now_ns) {
                    packets.end(1 << lane, DropReason::AnnouncementCut, RuleRef::NONE);
                }
            }
        }
    }

    /// A packet that was dropped leaves no connection behind.
    fn forget_dropped(&mut self, lanes: u64) {
        let run = &mut self.run;
        let dropped = lanes & run.vm.packets.ended;
        if let (Some(tracker), 1..) = (&mut run.tracker, dropped) {
            tracker.drop_unconfirmed(dropped, &mut run.vm.packets);
        }
    }

    fn track_context(&self) -> TrackContext {
        TrackContext {
            now_ns: self.run.context.now_ns,
            wall_ns: self.run.context.wall_ns,
            domain: 0,
            exact: self.run.generation.program().connection().in_order(),
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

/// Lets a connection's helper look at a packet; what it announces takes the place of what it announced
/// before. Yields `false` for a packet that must not pass.
#[cold]
fn help(
    tracker: &mut TrackerWorker,
    ct: PacketCt,
    headers: &Headers,
    bytes: &[u8],
    now_ns: u64,
) -> bool {
    let (Some(payload), Some(master)) = (headers.payload(bytes), tracker.flow_id(ct.flow)) else {
        return true;
    };
    let (there, back) = (
        tracker.tuple(ct.flow, Direction::Original),
        tracker.tuple(ct.flow, Direction::Reply),
    );
    let reply = ct.direction == Direction::Reply;
    match Helper::from_number(tracker.helper(ct.flow)) {
        Some(Helper::Ftp) if ct.state == CtState::Established => {
            let Some(sequence) = field::<4>(bytes, usize::from(headers.transport) + 4) else {
                return true;
            };
            let shared = Arc::clone(tracker.tracker());
            let lives = |id: FlowId| shared.flow(id.index).is_some_and(|flow| flow.id == id);
            let (own, other) = if reply { (back, there) } else { (there, back) };
            let said = shared.conversations().ftp(master, lives, |lines| {
                let sequence = u32::from_be_bytes(sequence);
                ftp::inspect(lines, payload, sequence, reply, &own, &other)
            });
            for announced in &said.announced {
                expect(tracker, master, announced.expected, now_ns);
            }
            !said.partial
        }
        Some(Helper::Tftp) if !reply => {
            if let Some(expected) = tftp::inspect(payload, &back) {
                expect(tracker, master, expected, now_ns);
            }
            true
        }
        _ => true,
    }
}

/// Waits for what a helper has announced. Refused when there are too many, or another connection has
/// announced the same: as in Linux the packet passes, and what comes is a connection like any other.
fn expect(tracker: &mut TrackerWorker, master: FlowId, expected: Expected, now_ns: u64) {
    if tracker.tracker().expected_by(master) > 0 {
        tracker.tracker().unexpect(|old| old.master == master);
    }
    tracker.expect(Expectation {
        master,
        tuple: expected.tuple,
        mask: expected.mask,
        expires_ns: now_ns + helper::TIMEOUT_NS,
        class: 0,
        permanent: false,
        helper: 0,
    });
}

#[cfg(test)]
#[path = "pipeline_tests.rs"]
mod tests;
