//! The translator of a dataplane: its allocator, and the flows that hold something of it.

use std::sync::Arc;

use super::pool::{Allocator, External, Realm};
use super::{destination, held, source};
use crate::conntrack::tuple::IPV4;
use crate::conntrack::{Filter, Release, Tracker, Translated, Tuple, status};

/// What the workers of a dataplane share to translate.
#[derive(Debug, Default)]
pub struct Translator {
    allocator: Allocator,
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

/// An endpoint in the realm of a tuple.
pub(super) fn external(tuple: &Tuple, endpoint: super::Endpoint) -> External {
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
            let external = external(&flow.original, destination(&flow.original));
            self.allocator
                .release(&external, &source(&flow.original), true);
        }
    }
}
