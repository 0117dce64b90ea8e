//! The translator of a dataplane: its allocator, and the flows that hold something of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::pool::{Allocator, External, Realm};
use super::unsolicited::Unsolicited;
use super::{Endpoint, destination, held, source};
use crate::conntrack::tuple::{IPV4, address_bytes};
use crate::conntrack::{Filter, Release, Tracker, Translated, Tuple, status};
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

    /// Takes the ports of flows over that were loaded with the tracker's state. What was a binding is a
    /// port like any other from then on. Yields how many flows hold one.
    pub fn adopt(&self, tracker: &Tracker) -> u64 {
        let (mut from, mut flows, mut adopted) = (Some(0), Vec::new(), 0);
        while let Some(next) = from {
            from = tracker.list(&Filter::default(), next, 1024, &mut flows);
            for flow in flows.drain(..) {
                let holds =
                    flow.status & status::SRC_NAT != 0 && super::has_ports(flow.reply.protocol);
                if !holds {
                    continue;
                }
                let external = external(&flow.reply, destination(&flow.reply));
                let shared = self.allocator.share_again(&external);
                adopted += u64::from(shared && tracker.set_translation(flow.id, held::SHARED));
            }
        }
        adopted
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
