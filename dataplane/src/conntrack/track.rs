//! Finding or beginning the flows of a batch's packets.
//!
//! All hashes first, with the buckets fetched ahead; then the entries that the tags point to are fetched
//! ahead; then, in lane order, tuples are compared and the state machines run.

use super::event::{FlowEventKind, changed};
use super::index::Found;
use super::invalid::InvalidReason;
use super::memory::prefetch;
use super::protocol::{self, Judgement, Packet, Sum, Timeout};
use super::sequence::Offsets;
use super::state::{CtState, FlowIndex, PacketCt, status};
use super::timeouts::TimeoutClass;
use super::tuple::{IPV4, IPV6, Key, Tuple, Zone};
use super::worker::{TrackContext, TrackerWorker};
use crate::drop_reason::DropReason;
use crate::packet::headers::{ethertype, flag, protocol as number};
use crate::packet::{Frame, Headers, VnetHeader};
use crate::program::key::Direction;
use crate::program::lanes::lanes;
use crate::program::{Packets, RuleRef};

/// What became of a lane.
pub(super) enum Outcome {
    Done(PacketCt),
    Invalid(InvalidReason),
    /// It has to wait for an earlier lane.
    Deferred,
    /// There is no room for its flow.
    Full,
}

/// Protocols each of whose packets takes the flow's lock, so that counting needs no atomic addition.
fn always_locks(protocol: u8) -> bool {
    matches!(protocol, number::TCP | number::SCTP | number::DCCP)
}

pub(super) fn direction(number: usize) -> Direction {
    if number == 0 {
        Direction::Original
    } else {
        Direction::Reply
    }
}

/// A lane's packet, as the state machines see it; `None` when it has no transport header.
#[inline]
fn view<'a>(headers: &Headers, frame: &'a Frame<'_>, verify: bool) -> Option<Packet<'a>> {
    let l3 = match headers.ethertype {
        ethertype::IP => IPV4,
        ethertype::IP6 => IPV6,
        _ => return None,
    };
    if !headers.has(flag::TRANSPORT) {
        return None;
    }
    let network = usize::from(headers.network);
    let bytes = frame.bytes().get(network..headers.end as usize)?;
    let (protocol, transport) = match headers.l4proto {
        // Rules see AH as a transport, the tracker what is behind it.
        number::AH | number::NONE => protocol::locate(bytes, l3)?,
        other => (other, usize::from(headers.transport) - network),
    };
    let sum = if frame.vnet.needs_checksum() {
        Sum::Partial
    } else if verify && frame.vnet.flags & VnetHeader::DATA_VALID == 0 {
        Sum::Verify
    } else {
        Sum::Good
    };
    Some(Packet {
        l3,
        protocol,
        bytes,
        transport,
        direction: Direction::Original,
        sum,
        acknowledged: Offsets::NONE,
    })
}

/// The tuple of a packet in a zone.
#[inline]
fn tuple_of(packet: &Packet<'_>, zone: u16, domain: u16) -> Result<Tuple, InvalidReason> {
    let (sport, dport) = protocol::ports(packet)?;
    let (src, dst) = addresses(packet).ok_or(InvalidReason::IpHeader)?;
    Ok(Tuple {
        src,
        dst,
        sport,
        dport,
        protocol: packet.protocol,
        l3: packet.l3,
        zone,
        domain,
    })
}

/// Source and destination of a packet, as a tuple has them.
#[inline]
fn addresses(packet: &Packet<'_>) -> Option<([u8; 16], [u8; 16])> {
    let (mut src, mut dst) = ([0; 16], [0; 16]);
    if packet.l3 == IPV4 {
        let both = packet.bytes.get(12..20)?;
        src[..4].copy_from_slice(&both[..4]);
        dst[..4].copy_from_slice(&both[4..]);
    } else {
        let both = packet.bytes.get(8..40)?;
        src.copy_from_slice(&both[..16]);
        dst.copy_from_slice(&both[16..]);
    }
    Some((src, dst))
}

impl TrackerWorker {
    /// Finds or begins the flows of lanes: sets `packets.ct`. Lanes that are untracked or have a state
    /// already are left alone. Ends lanes for which there is no room. Yields the lanes that have to wait
    /// until the others have been confirmed, and then be tracked.
    pub fn track(
        &mut self,
        among: u64,
        packets: &mut Packets,
        frames: &[Frame<'_>],
        context: &TrackContext,
    ) -> u64 {
        self.met.clear();
        if context.exact {
            // Those that were tracked before and have waited go first as well.
            let tracked = lanes(among).map(|lane| packets.ct[lane].flow);
            self.met
                .extend(tracked.filter(|flow| flow.is_some()).map(|flow| flow.0));
        }
        let (flows, errors) = self.read_tuples(among, packets, frames, context);
        self.fetch_ahead(flows);
        let mut deferred = 0;
        for lane in lanes(flows | errors) {
            let verify = self.in_force.settings.rules.checksum;
            let Some(mut packet) = view(&packets.headers[lane], &frames[lane], verify) else {
                continue;
            };
            let zone = packets.zones[lane];
            let outcome = if errors >> lane & 1 == 1 {
                self.relate(&packet, zone, context)
            } else {
                self.follow(lane, &mut packet, zone, context)
            };
            deferred |= self.settle(lane, packets, outcome);
        }
        deferred
    }

    /// Puts an outcome down; yields the lane's bit when it is deferred.
    #[inline]
    fn settle(&mut self, lane: usize, packets: &mut Packets, outcome: Outcome) -> u64 {
        match outcome {
            Outcome::Done(ct) => packets.ct[lane] = ct,
            Outcome::Invalid(reason) => {
                self.seat().invalid[reason as usize].add(1);
                packets.ct[lane] = PacketCt {
                    state: CtState::Invalid,
                    invalid: reason as u8,
                    ..PacketCt::NONE
                };
            }
            Outcome::Deferred => return 1 << lane,
            Outcome::Full => {
                self.seat().drop.add(1);
                packets.end(1 << lane, DropReason::FlowTableFull, RuleRef::NONE);
            }
        }
        0
    }

    /// Tuples and hashes of the lanes that are to be looked at: those of flows, and those with errors.
    fn read_tuples(
        &mut self,
        among: u64,
        packets: &mut Packets,
        frames: &[Frame<'_>],
        context: &TrackContext,
    ) -> (u64, u64) {
        let (mut flows, mut errors) = (0, 0);
        for lane in lanes(among) {
            if packets.ct[lane].state != CtState::None {
                continue;
            }
            let zone = packets.zones[lane];
            let verify = self.in_force.settings.rules.checksum;
            let packet = view(&packets.headers[lane], &frames[lane], verify);
            let outcome = packet.ok_or(InvalidReason::IpHeader).and_then(|packet| {
                let rules = self.in_force.rules(zone.id);
                protocol::check(&packet, &rules)?;
                if protocol::is_untracked(&packet) {
                    packets.ct[lane] = PacketCt::UNTRACKED;
                    return Ok(());
                }
                if protocol::is_error(&packet) {
                    errors |= 1 << lane;
                    return Ok(());
                }
                let key = tuple_of(&packet, zone.id, context.domain)?.key();
                let hash = self.tracker.table.hasher.hash(&key);
                self.tracker.table.index().prefetch(hash);
                self.keys[lane] = key;
                self.hashes[lane] = hash;
                flows |= 1 << lane;
                Ok(())
            });
            if let Err(reason) = outcome {
                self.settle(lane, packets, Outcome::Invalid(reason));
            }
        }
        (flows, errors)
    }

    /// Fetches the entries that the index points to, and free ones for tuples that it does not know.
    fn fetch_ahead(&mut self, flows: u64) {
        let table = &self.tracker.table;
        let mut new = 0;
        for lane in lanes(flows) {
            self.guesses[lane] = table.index().guess(self.hashes[lane]);
            if let Some((index, direction)) = self.guesses[lane] {
                table
                    .entry(index)
                    .prefetch(direction, self.keys[lane][5] as u8);
            } else if let Some(index) = self.hand.peek(new) {
                table.entry(index).prefetch_all();
                new += 1;
            }
        }
    }

    /// The live flow of a tuple, with the direction that the tuple is.
    #[inline]
    fn find(&mut self, hash: u64, key: &Key, zone: Zone, guess: Option<Found>) -> Option<Found> {
        let found = if zone.directions == 3 || zone.id == 0 {
            self.find_in(hash, key, 3, guess)
        } else {
            self.find_in(hash, key, zone.directions, guess).or_else(|| {
                // The direction that the zone does not hold for is in zone 0.
                let key = Tuple {
                    zone: 0,
                    ..Tuple::from_key(key)
                }
                .key();
                let hash = self.table().hasher.hash(&key);
                self.find_in(hash, &key, !zone.directions & 3, None)
            })
        };
        let (index, direction) = found?;
        if self.table().entry(index).deadline_ns() <= self.now_ns {
            let id = self.id(FlowIndex(index));
            self.kill(id);
            return None;
        }
        Some((index, direction))
    }

    #[inline]
    fn find_in(&self, hash: u64, key: &Key, directions: u8, guess: Option<Found>) -> Option<Found> {
        let table = self.table();
        table
            .index()
            .find_guessed(guess, hash, key, |(index, direction)| {
                directions >> direction & 1 == 1 && table.entry(index).status() & status::DYING == 0
            })
    }

    /// Takes a packet to its flow, or begins one. (The packet is not handed over: it has been written field
    /// by field, and copying it as words would wait until the writes have left the store buffer.)
    fn follow(
        &mut self,
        lane: usize,
        packet: &mut Packet<'_>,
        zone: Zone,
        context: &TrackContext,
    ) -> Outcome {
        let (key, hash) = (self.keys[lane], self.hashes[lane]);
        // A flow that is over is forgotten and the tuple looked up again: at most once.
        for _ in 0..2 {
            let Some((index, number)) = self.find(hash, &key, zone, self.guesses[lane]) else {
                break;
            };
            if context.exact {
                if self.met.contains(&index) {
                    return Outcome::Deferred;
                }
                self.met.push(index);
            }
            packet.direction = direction(number);
            if let Some(outcome) = self.judge((lane, index, number), packet, zone) {
                return outcome;
            }
        }
        packet.direction = Direction::Original;
        self.begin_flow(lane, packet, zone, context)
    }

    /// Judges a packet of a known flow; `None` when the flow is over and has been forgotten.
    #[inline]
    fn judge(
        &mut self,
        (lane, index, number): (usize, u32, usize),
        packet: &mut Packet<'_>,
        zone: Zone,
    ) -> Option<Outcome> {
        let entry = self.tracker.table.entry(index);
        let before = entry.status();
        let after = if number == 1 {
            before | status::SEEN_REPLY
        } else {
            before
        };
        let bytes = packet.bytes.len() as u64;
        let young = || entry.is_young(self.now_ns);
        if let Some(class) = protocol::steady(packet.protocol, before, young) {
            entry.count_shared(number, bytes);
            self.accept(index, before, after, Timeout::of(class));
            return Some(Outcome::Done(self.standing((lane, index, number), after)));
        }
        let rules = self.in_force.rules(zone.id);
        let judgement = {
            let _locked = entry.lock();
            let old = entry.state();
            let mut new = old;
            packet.acknowledged = self.acknowledged(index, number, before);
            let judgement = protocol::next(&mut new, packet, before, &rules, self.now_ns);
            entry.set_state(&old, &new);
            if matches!(judgement, Judgement::Accept { .. } | Judgement::Destroy) {
                if always_locks(packet.protocol) {
                    entry.count_alone(number, 1, bytes);
                } else {
                    entry.count_shared(number, bytes);
                }
            }
            judgement
        };
        Some(match judgement {
            Judgement::Accept {
                timeout,
                status: set,
            } => {
                self.accept(index, before, after | set, timeout);
                Outcome::Done(self.standing((lane, index, number), after | set))
            }
            Judgement::Ignore { status: set } => {
                let after = after | set;
                if before != after {
                    self.set_bits(index, after & !before, 0);
                }
                Outcome::Done(self.standing((lane, index, number), after))
            }
            Judgement::Invalid {
                reason,
                lower,
                status: set,
            } => {
                if set & !before != 0 {
                    self.set_bits(index, set & !before, 0);
                }
                if lower {
                    self.lower_timeout(index);
                }
                Outcome::Invalid(reason)
            }
            Judgement::Destroy => {
                if before != after {
                    self.set_bits(index, after & !before, 0);
                }
                let id = self.id(FlowIndex(index));
                self.kill(id);
                Outcome::Done(self.standing((lane, index, number), after))
            }
            Judgement::Repeat => {
                let id = self.id(FlowIndex(index));
                self.kill(id);
                return None;
            }
        })
    }

    /// How the numbers are shifted that a packet of this direction acknowledges; the flow's lock is held.
    #[inline]
    fn acknowledged(&self, index: u32, number: usize, bits: u32) -> Offsets {
        if bits & status::SEQ_ADJUST == 0 {
            return Offsets::NONE;
        }
        let side = self.table().side(index);
        side.map_or(Offsets::NONE, |side| side.offsets(direction(1 - number)))
    }

    /// What an invalid packet that may be an attack on a long timeout does to it.
    #[cold]
    fn lower_timeout(&mut self, index: u32) {
        let entry = self.tracker.table.entry(index);
        let left_ns = entry.deadline_ns().saturating_sub(self.now_ns);
        let least_ns = u64::from(Judgement::LOWER_FROM) * 1_000_000_000;
        let lower_ns = self
            .in_force
            .timeout_ns(entry.policy(), TimeoutClass::TcpUnack);
        if lower_ns >= least_ns && left_ns > lower_ns && entry.status() & status::FIXED_TIMEOUT == 0
        {
            self.set_deadline(index, self.now_ns.saturating_add(lower_ns));
        }
    }

    /// How a packet stands to its flow, whose status bits after it are `bits`.
    #[inline]
    fn standing(&mut self, (lane, index, number): (usize, u32, usize), bits: u32) -> PacketCt {
        self.seat().found.add(1);
        self.known |= 1 << lane;
        if bits & (status::SRC_NAT | status::DST_NAT) != 0 {
            // An answer comes from where the first packet went.
            self.turned[number & 1] |= u64::from(bits & status::SRC_NAT != 0) << lane;
            self.turned[!number & 1] |= u64::from(bits & status::DST_NAT != 0) << lane;
            // It says what the packet is rewritten to.
            self.table().entry(index).prefetch_tuple(1 - number);
        }
        let state = if number == 1 || bits & status::SEEN_REPLY != 0 {
            CtState::Established
        } else if bits & status::EXPECTED != 0 {
            CtState::Related
        } else {
            CtState::New
        };
        PacketCt {
            flow: FlowIndex(index),
            state,
            direction: direction(number),
            invalid: 0,
        }
    }

    /// Refreshes a flow and sets its status bits.
    #[inline]
    fn accept(&mut self, index: u32, before: u32, after: u32, timeout: Timeout) {
        let entry = self.tracker.table.entry(index);
        let mut told = 0;
        if timeout.class != entry.class() {
            entry.set_class(timeout.class);
            told = changed::PROTOCOL;
        }
        if before & status::FIXED_TIMEOUT == 0 {
            let timeout_ns = self.in_force.shortest_ns(entry.policy(), timeout);
            self.set_deadline(index, self.now_ns.saturating_add(timeout_ns));
        }
        if before != after || told != 0 {
            self.set_bits(index, after & !before, told);
        }
    }

    #[cold]
    fn set_bits(&mut self, index: u32, bits: u32, mut told: u8) {
        let table = self.table();
        let entry = table.entry(index);
        let new = bits & !entry.set_status(bits);
        if !always_locks(entry.protocol()) {
            told = 0;
        }
        if new & status::SEEN_REPLY != 0 {
            told |= changed::REPLY;
        }
        if new & status::ASSURED != 0 {
            told |= changed::ASSURED;
        }
        if told != 0 {
            table.tell(
                self.number,
                FlowEventKind::Update(told),
                index,
                self.wall_ns,
            );
        }
    }

    /// An ICMP error: related to the flow of the packet in it, which it never refreshes.
    fn relate(&mut self, packet: &Packet<'_>, zone: Zone, context: &TrackContext) -> Outcome {
        let found = protocol::inner(packet).and_then(|inner| {
            let inner = Tuple {
                zone: zone.id,
                domain: context.domain,
                ..inner
            };
            let answer = protocol::invert(&inner).ok_or(InvalidReason::IcmpInner)?;
            let key = answer.key();
            let hash = self.table().hasher.hash(&key);
            let found = self
                .find(hash, &key, zone, None)
                .ok_or(InvalidReason::IcmpUnrelated)?;
            let to = addresses(packet).ok_or(InvalidReason::IpHeader)?.1;
            // Whoever sent the packet in it, and nobody else, is told.
            if self.table().entry(found.0).tuple(found.1).dst == to {
                Ok(found)
            } else {
                Err(InvalidReason::IcmpAddress)
            }
        });
        match found {
            Ok((index, number)) => Outcome::Done(PacketCt {
                flow: FlowIndex(index),
                state: CtState::Related,
                direction: direction(number),
                invalid: 0,
            }),
            Err(reason) => {
                self.seat().error.add(1);
                Outcome::Invalid(reason)
            }
        }
    }
}

impl super::entry::Entry {
    /// Fetches what a packet of a direction and protocol will touch.
    #[inline]
    pub(super) fn prefetch(&self, direction: usize, protocol: u8) {
        let [_, _, third, fourth] = self.lines();
        prefetch(&self.halves[direction]);
        prefetch(third);
        if always_locks(protocol) {
            prefetch(fourth);
        }
    }

    /// Fetches what says that a tuple is found.
    #[inline]
    pub(super) fn prefetch_tuple(&self, direction: usize) {
        prefetch(&self.halves[direction]);
    }

    /// Fetches all of it.
    #[inline]
    pub(super) fn prefetch_all(&self) {
        for line in self.lines() {
            prefetch(line);
        }
    }
}
