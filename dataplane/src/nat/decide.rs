//! Deciding how a new flow is translated: by a statement, or, where none did, by what is in force anyway.
//!
//! As in Linux (`nf_nat_setup_info`) a decision changes the flow's reply tuple only, so that it comes into
//! force with the flow's confirmation. A flow that no statement translates may still need another source
//! port, because one that is translated already answers to the same tuple (`nf_nat_alloc_null_binding`).

use super::pool::Mapping;
use super::request::Request;
use super::translator::external;
use super::{Endpoint, Side, Translator, destination, has_ports, held, is_query, source};
use crate::conntrack::tuple::IPV4;
use crate::conntrack::{Direction, FlowIndex, TrackerWorker, Tuple, status};
use crate::packet::headers::protocol;

/// A range of addresses, or of ports: first and last.
type Span<T> = Option<(T, T)>;

/// What a statement wants for new flows.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Which side is translated.
    pub side: Side,
    /// To these addresses, as a tuple has them; without them the address stays.
    pub addresses: Span<[u8; 16]>,
    /// To these ports; without them the port stays if it can.
    pub ports: Span<u16>,
    /// The port is chosen at random even where it could stay.
    pub random: bool,
    /// The address follows from the inside address alone.
    pub persistent: bool,
    /// The bits in which first and last address agree are replaced, the others stay.
    pub netmap: bool,
    /// How source ports are shared.
    pub mapping: Mapping,
}

impl Wanted {
    /// Nothing but that the flow's tuples be its own.
    fn nothing(side: Side) -> Self {
        Self {
            side,
            addresses: None,
            ports: None,
            random: false,
            persistent: false,
            netmap: false,
            mapping: Mapping::Overloaded,
        }
    }
}

/// No translation could be given to a flow: its packet must not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

/// The bits of a side: that it is decided, that it is translated.
fn bits(side: Side) -> (u32, u32) {
    match side {
        Side::Source => (status::SRC_NAT_DONE, status::SRC_NAT),
        Side::Destination => (status::DST_NAT_DONE, status::DST_NAT),
    }
}

/// Whether a side of a flow is decided.
#[inline]
pub fn is_decided(status: u32, side: Side) -> bool {
    status & bits(side).0 != 0
}

/// A lane's new flow under decision.
struct Case<'c> {
    tracker: &'c mut TrackerWorker,
    translator: &'c Translator,
    lane: usize,
    flow: FlowIndex,
    now_ns: u64,
    chance: u64,
    /// The packet as it leaves after what has been decided so far.
    now: Tuple,
}

/// Decides a side of the flow that a lane has begun, as a statement wants it. `chance` is a fresh random
/// number. Does nothing where the lane has begun none, or the side is decided.
///
/// # Errors
/// When no port is left.
pub fn decide(
    (tracker, translator): (&mut TrackerWorker, &Translator),
    (lane, flow): (usize, FlowIndex),
    wanted: &Wanted,
    (now_ns, chance): (u64, u64),
) -> Result<(), Undecided> {
    let Some(mut case) = Case::of(
        tracker,
        translator,
        (lane, flow),
        wanted.side,
        now_ns,
        chance,
    ) else {
        return Ok(());
    };
    match wanted.side {
        Side::Source => case.decide_source(wanted),
        Side::Destination => {
            case.decide_destination(wanted);
            Ok(())
        }
    }
}

/// Decides a side that no statement has decided. Of `own` flows, which the appliance itself begins, the
/// source port counts as taken.
///
/// # Errors
/// When another flow answers to the same tuple and no port is left.
pub fn decide_nothing(
    (tracker, translator): (&mut TrackerWorker, &Translator),
    (lane, flow): (usize, FlowIndex),
    (side, own): (Side, bool),
    (now_ns, chance): (u64, u64),
) -> Result<(), Undecided> {
    let Some(mut case) = Case::of(tracker, translator, (lane, flow), side, now_ns, chance) else {
        return Ok(());
    };
    match side {
        Side::Destination => {
            if !own {
                case.enter();
            }
            case.done(side, false);
            Ok(())
        }
        Side::Source if own || case.is_taken() => case.decide_source(&Wanted::nothing(side)),
        Side::Source => {
            case.done(side, false);
            Ok(())
        }
    }
}

impl<'c> Case<'c> {
    fn of(
        tracker: &'c mut TrackerWorker,
        translator: &'c Translator,
        (lane, flow): (usize, FlowIndex),
        side: Side,
        now_ns: u64,
        chance: u64,
    ) -> Option<Self> {
        if !tracker.has_begun(lane) || is_decided(tracker.status(flow), side) {
            return None;
        }
        let now = tracker.translated_tuple(flow, Direction::Original)?;
        Some(Self {
            tracker,
            translator,
            lane,
            flow,
            now_ns,
            chance,
            now,
        })
    }

    fn done(&mut self, side: Side, translated: bool) {
        let (done, changed) = bits(side);
        let bits = if translated { done | changed } else { done };
        self.tracker.set_status(self.flow, bits);
    }

    /// Whether another flow answers to what answers to this one.
    fn is_taken(&self) -> bool {
        let answer = TrackerWorker::answer(&self.now);
        answer.is_some_and(|answer| self.tracker.is_taken_by_another(self.lane, &answer))
    }

    /// Puts the decision down: the packet leaves as `new`.
    fn become_(&mut self, side: Side, new: Tuple) {
        let changed = new != self.now;
        if changed && let Some(answer) = TrackerWorker::answer(&new) {
            self.tracker.replace_reply(self.lane, &answer);
        }
        self.done(side, changed);
    }

    /// A packet from outside to an endpoint that a binding holds goes to the inside of it.
    fn enter(&mut self) {
        let allocator = self.translator.allocator();
        if !allocator.has_bindings() {
            return;
        }
        let external = external(&self.now, destination(&self.now));
        let Some(binding) = allocator.enter(&external, &source(&self.now)) else {
            return;
        };
        let bits = held::entered(binding.filtering);
        self.tracker.add_translation(self.flow, bits);
        let new = with_destination(self.now, binding.internal);
        self.become_(Side::Destination, new);
    }

    fn decide_destination(&mut self, wanted: &Wanted) {
        let mut to = destination(&self.now);
        if let Some(span) = wanted.addresses {
            to.address = if wanted.netmap {
                mapped(to.address, span)
            } else {
                self.pick_address(span, wanted.persistent)
            };
        }
        let mut new = with_destination(self.now, to);
        if let Some(span) = wanted.ports
            && !is_query(self.now.protocol)
            && has_ports(self.now.protocol)
        {
            new.dport = self.pick_port(&new, span, wanted.random);
        }
        self.become_(Side::Destination, new);
    }

    /// An address of a range: the same for the same two ends (or for the same client), so that flows
    /// that belong together go together.
    fn pick_address(&self, (first, last): ([u8; 16], [u8; 16]), persistent: bool) -> [u8; 16] {
        if first == last {
            return first;
        }
        let (low, high) = (u128::from_be_bytes(first), u128::from_be_bytes(last));
        let step = if self.now.l3 == IPV4 { 96 } else { 0 };
        let count = (high.saturating_sub(low) >> step).saturating_add(1);
        let other = if persistent { [0; 16] } else { self.now.dst };
        let spread =
            super::request::spread(self.now.src) ^ super::request::spread(other).rotate_left(17);
        (low + ((u128::from(spread) % count) << step)).to_be_bytes()
    }

    /// A destination port of a range: the packet's own if it lies there, else the first from a random one
    /// on whose tuple nobody has.
    fn pick_port(&self, new: &Tuple, (first, last): (u16, u16), random: bool) -> u16 {
        const TRIES: u16 = 128;
        let with = |port| Tuple {
            dport: port,
            ..*new
        };
        let free = |port: u16| {
            let answer = TrackerWorker::answer(&with(port));
            answer.is_some_and(|answer| !self.tracker.is_taken_by_another(self.lane, &answer))
        };
        if first == last {
            return first;
        }
        if !random && (first..=last).contains(&new.dport) && free(new.dport) {
            return new.dport;
        }
        let count = u32::from(last - first) + 1;
        let from = (self.chance >> 20) as u32 % count;
        let at = |index: u32| first + ((from + index) % count) as u16;
        let tries = 0..count.min(u32::from(TRIES));
        tries.map(at).find(|port| free(*port)).unwrap_or(at(0))
    }

    fn decide_source(&mut self, wanted: &Wanted) -> Result<(), Undecided> {
        let now = self.now;
        let (mut first, mut last) = wanted.addresses.unwrap_or((now.src, now.src));
        if wanted.netmap {
            first = mapped(now.src, (first, last));
            last = first;
        }
        // One to one, or without ports: there is nothing to choose.
        if !has_ports(now.protocol) || wanted.netmap && wanted.ports.is_none() {
            let new = Tuple { src: first, ..now };
            let answer = TrackerWorker::answer(&new).ok_or(Undecided)?;
            if self.tracker.is_taken_by_another(self.lane, &answer) {
                return Err(Undecided);
            }
            self.become_(Side::Source, new);
            return Ok(());
        }
        let (tracker, lane) = (&*self.tracker, self.lane);
        let external = external(&now, source(&now));
        let request = Request {
            realm: external.realm,
            protocol: now.protocol,
            internal: source(&now),
            remote: destination(&now),
            first,
            last,
            ports: wanted.ports,
            random: wanted.random,
            persistent: wanted.persistent,
            mapping: wanted.mapping,
        };
        let unique = |endpoint: &Endpoint| {
            let answer = TrackerWorker::answer(&with_source(now, *endpoint));
            answer.is_some_and(|answer| !tracker.is_taken_by_another(lane, &answer))
        };
        let allocator = self.translator.allocator();
        let grant = allocator
            .allocate(&request, self.now_ns, self.chance, unique)
            .map_err(|_| Undecided)?;
        let bits = grant.binding.map_or(held::SHARED, held::binding);
        self.tracker.add_translation(self.flow, bits);
        let new = with_source(now, grant.endpoint);
        if now.protocol == protocol::TCP
            && let Some(answer) = TrackerWorker::answer(&new)
        {
            self.translator.unsolicited().opened(&answer);
        }
        self.become_(Side::Source, new);
        Ok(())
    }
}

fn with_source(tuple: Tuple, to: Endpoint) -> Tuple {
    Tuple {
        src: to.address,
        sport: to.port,
        ..tuple
    }
}

fn with_destination(tuple: Tuple, to: Endpoint) -> Tuple {
    let mut new = Tuple {
        dst: to.address,
        ..tuple
    };
    if is_query(tuple.protocol) {
        new.sport = to.port;
    } else {
        new.dport = to.port;
    }
    new
}

/// An address whose network bits are those of the span, and whose host bits stay.
fn mapped(address: [u8; 16], (first, last): ([u8; 16], [u8; 16])) -> [u8; 16] {
    std::array::from_fn(|at| {
        let network = !(first[at] ^ last[at]);
        address[at] & !network | first[at] & network
    })
}
