//! The translator of a dataplane: its allocator, and the flows that hold something of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::pool::{Allocator, External, Realm};
use super::unsolicited::Unsolicited;
use super::{Endpoint, destination, held, source};
use crate::conntrack::tuple::{IPV4, address_bytes};
use crate::conntrack::{Filter, Flow, Release, Tracker, Translated, Tuple, UNCLAIMED};
use crate::packet::headers::protocol;

/// What the workers of a dataplane share to translate.
#[derive(Debug, Default)]
pub struct Translator {
    allocator: Allocator,
    unsolicited: Unsolicited,
    /// Where the appliance's own host listens.
    reserved: Mutex<BTreeSet<(bool, [u8; 16], u16)>>,
}

impl Translator {
    /// A translator of the flows of a tracker; it hears of their end.
    pub fn new(tracker: &Tracker) -> Arc<Self> {
        let translator = Arc::new(Self::default());
        tracker.on_release(Arc::clone(&translator) as Arc<dyn Release>);
        translator
    }

    /// Who has which external address and port.
    pub fn allocator(&self) -> &Allocator {
        &self.allocator
    }

    /// First segments of TCP that the filtering of bindings has refused.
    pub fn unsolicited(&self) -> &Unsolicited {
        &self.unsolicited
    }

    /// Keeps the TCP ports at which the appliance's own host listens out of every translation: all of
    /// them, in place of those that were told before. One that a flow has at the moment is taken the
    /// next time that this is told.
    pub fn reserve(&self, listening: &[SocketAddr]) {
        let wanted: BTreeSet<_> = listening
            .iter()
            .map(|end| (end.is_ipv6(), address_bytes(end.ip()), end.port()))
            .collect();
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in reserved.difference(&wanted) {
            let end = own(*gone);
            self.allocator.release(&end, &Endpoint::default(), false);
        }
        let kept = reserved.intersection(&wanted).copied();
        let mut now: BTreeSet<_> = kept.collect();
        for new in wanted.difference(&reserved) {
            if self.allocator.reserve(&own(*new)) {
                now.insert(*new);
            }
        }
        *reserved = now;
    }

    /// Takes over what flows that were loaded with the tracker's state hold: bindings first, so that no
    /// shared port is in the way of one, then the ports. Yields how many flows hold something.
    pub fn adopt(&self, tracker: &Tracker, now_ns: u64, wall_ns: u64) -> u64 {
        const BINDINGS: u16 = held::BINDING | held::ENTERED;
        let mut adopted = 0;
        for bound in [true, false] {
            let (mut from, mut flows) = (Some(0), Vec::new());
            while let Some(next) = from {
                from = tracker.list(&Filter::default(), next, 1024, &mut flows);
                for flow in flows.drain(..) {
                    let unclaimed = flow.translation & UNCLAIMED != 0;
                    if !unclaimed || (flow.translation & BINDINGS != 0) != bound {
                        continue;
                    }
                    let age_ns = wall_ns.saturating_sub(flow.started_wall_ns);
                    let bits = self.claim(&flow, now_ns.saturating_sub(age_ns));
                    if !tracker.set_translation(flow.id, bits) {
                        self.release(&translated(&flow, bits));
                    } else if bits != 0 {
                        adopted += 1;
                    }
                }
            }
        }
        adopted
    }

    /// Takes over what a flow holds; yields the bits of what it got. A binding that cannot be had again is
    /// a port like any other, if that can.
    fn claim(&self, flow: &Flow, since_ns: u64) -> u16 {
        let (bits, mut got) = (flow.translation, 0);
        let (original, reply) = (&flow.original, &flow.reply);
        let own = external(reply, destination(reply));
        if bits & held::BINDING != 0 {
            let filtering = held::own_filtering(bits);
            let user = (&source(reply), since_ns);
            if (self.allocator).bind_again(&own, source(original), filtering, user) {
                got |= held::binding(filtering);
            }
        }
        let port = bits & (held::SHARED | held::BINDING) != 0 && got == 0;
        if port && self.allocator.share_again(&own) {
            got |= held::SHARED;
        }
        if bits & held::ENTERED != 0 {
            let entered = external(reply, destination(original));
            let filtering = held::others_filtering(bits);
            let user = (&source(original), since_ns);
            if (self.allocator).bind_again(&entered, source(reply), filtering, user) {
                got |= held::entered(filtering);
            }
        }
        got
    }
}

/// What is told of a flow's end.
fn translated(flow: &Flow, bits: u16) -> Translated {
    Translated {
        original: flow.original,
        reply: flow.reply,
        status: flow.status,
        bits,
    }
}

/// A TCP port of the appliance.
fn own((ip6, address, port): (bool, [u8; 16], u16)) -> External {
    External {
        realm: Realm {
            ip6,
            ..Realm::default()
        },
        protocol: protocol::TCP,
        endpoint: Endpoint { address, port },
    }
}

/// An endpoint in the realm of a tuple.
pub(crate) fn external(tuple: &Tuple, endpoint: Endpoint) -> External {
    External {
        realm: Realm {
            domain: tuple.domain,
            zone: tuple.zone,
            ip6: tuple.l3 != IPV4,
        },
        protocol: tuple.protocol,
        endpoint,
    }
}

impl Release for Translator {
    fn release(&self, flow: &Translated) {
        if flow.bits & (held::SHARED | held::BINDING) != 0 {
            let external = external(&flow.reply, destination(&flow.reply));
            let binding = flow.bits & held::BINDING != 0;
            self.allocator
                .release(&external, &source(&flow.reply), binding);
        }
        if flow.bits & held::ENTERED != 0 {
            // It entered in the zone of its answers, which may be another one.
            let external = external(&flow.reply, destination(&flow.original));
            self.allocator
                .release(&external, &source(&flow.original), true);
        }
    }
}
