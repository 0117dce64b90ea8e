//! Who has which external address and port: the one allocator behind every kind of translation.
//!
//! There is one [`PortSpace`] for each domain and zone, external address and protocol; masquerade,
//! snat, NAT64, static bindings and the appliance's own sockets all take their ports from it, so no
//! two of them can have the same. A flow gets its port in one of two ways:
//!
//! * **overloaded**, as Linux does it: a port may serve flows that differ in their other end. The port
//!   of the inside is kept where the resulting tuple is nobody else's; otherwise a free port of the
//!   same class is taken, of the same parity if there is one (RFC 4787, REQ-3a and section 4.2.2);
//! * **endpoint-independent** (RFC 4787, REQ-1; RFC 5382, REQ-1): an inside endpoint has one external
//!   endpoint, whatever it talks to, and nobody else has it. The [`Binding`] lives as long as
//!   a flow uses it. All bindings of an inside address are on one external address (REQ-2).
//!
//! Allocation happens at the first packet of a flow, under the lock of one port space. It takes a
//! bounded number of steps however full the space is: the free port is found by bits, and when none
//! is free at most [`PROBES`] shared ones are tried.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::ports::PortSpace;
use super::request::Request;
use super::rewrite::Endpoint;

/// How many shared ports are tried when none is free.
pub const PROBES: u32 = 64;
/// Addresses that are remembered though no port of theirs is in use.
const REMEMBERED: usize = 256;

/// Where ports are told apart: forwarding domain, zone and family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Realm {
    /// Forwarding domain.
    pub domain: u16,
    /// Conntrack zone.
    pub zone: u16,
    /// Whether addresses are IPv6.
    pub ip6: bool,
}

/// An external endpoint with its realm and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct External {
    /// Realm.
    pub realm: Realm,
    /// Transport protocol.
    pub protocol: u8,
    /// Address and port.
    pub endpoint: Endpoint,
}

/// Who may send to the external endpoint of a binding (RFC 4787, REQ-8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filtering {
    /// Anybody.
    #[default]
    EndpointIndependent,
    /// Addresses to which the inside has sent.
    Address,
    /// Endpoints to which the inside has sent.
    AddressPort,
}

/// How an inside endpoint is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Ports are shared by flows with different other ends.
    Overloaded,
    /// One external endpoint for each inside endpoint.
    EndpointIndependent(Filtering),
}

/// What a flow got; to be given back by [`Allocator::release`] when the flow ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The external endpoint.
    pub endpoint: Endpoint,
    /// Of a [`Binding`] its filtering; else it is a shared port.
    pub binding: Option<Filtering>,
}

/// An inside endpoint's hold on an external one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The inside.
    pub internal: Endpoint,
    /// Who may send to it.
    pub filtering: Filtering,
    /// Flows that use it.
    pub flows: u32,
    /// Monotonic time of its first flow, in nanoseconds.
    pub since_ns: u64,
    /// Configured; stays without flows.
    pub fixed: bool,
}

/// Use of one external address for one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Realm.
    pub realm: Realm,
    /// Transport protocol.
    pub protocol: u8,
    /// The address.
    pub address: [u8; 16],
    /// Ports in use.
    pub used: u32,
    /// Most ports ever in use at once.
    pub peak: u32,
    /// Flows that found no port.
    pub exhausted: u64,
}

/// No external port was to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no external port is left")]
pub struct Exhausted;

/// The external endpoint is somebody's already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the external port is in use")]
pub struct InUse;

/// An address in a realm with a protocol: what has a port space.
type SpaceKey = (Realm, u8, [u8; 16]);
/// An inside endpoint in a realm with a protocol.
type InsideKey = (Realm, u8, Endpoint);

/// The allocator of a dataplane.
#[derive(Debug, Default)]
pub struct Allocator {
    spaces: DashMap<SpaceKey, Arc<Mutex<PortSpace>>>,
    /// External endpoints of inside ones.
    outward: DashMap<InsideKey, Endpoint>,
    /// Bindings by their external endpoint.
    inward: DashMap<External, Binding>,
    /// External addresses of inside addresses that have bindings, and how many.
    paired: DashMap<(Realm, [u8; 16]), ([u8; 16], u32)>,
    /// Remote addresses that a binding with address filtering has sent to, and in how many flows.
    contacts: DashMap<(External, [u8; 16]), u32>,
    /// How many bindings there are.
    bound: AtomicU64,
    exhausted: AtomicU64,
}

impl Allocator {
    /// Finds an external endpoint for a flow. `unique` says whether nobody else's tuple has it as the
    /// external end of a flow with the request's remote end; `chance` is a fresh random number.
    ///
    /// # Errors
    /// When no port is left.
    pub fn allocate(
        &self,
        request: &Request,
        now_ns: u64,
        chance: u64,
        mut unique: impl FnMut(&Endpoint) -> bool,
    ) -> Result<Grant, Exhausted> {
        let granted = match request.mapping {
            Mapping::EndpointIndependent(filtering) => {
                self.bind_flow(request, filtering, now_ns, chance)
            }
            Mapping::Overloaded => self.share(request, chance, &mut unique),
        };
        granted.ok_or_else(|| {
            self.exhausted.fetch_add(1, Relaxed);
            if let Some(address) = request.addresses().next() {
                locked(&self.space(request, address)).count_exhausted();
            }
            Exhausted
        })
    }

    /// Gives back what a flow of this remote end had.
    pub fn release(&self, external: &External, remote: &Endpoint, binding: bool) {
        if !binding {
            return self.give_back(external);
        }
        let Some(internal) = self.inward.get(external).map(|held| held.internal) else {
            return;
        };
        // In the order of `bind_flow`, outward before inward: so the two cannot wait for each other.
        let inside = (external.realm, external.protocol, internal);
        let outward = self.outward.entry(inside);
        let Entry::Occupied(mut entry) = self.inward.entry(*external) else {
            return;
        };
        let held = entry.get_mut();
        held.flows = held.flows.saturating_sub(1);
        if held.filtering == Filtering::Address {
            self.forget_contact(external, remote);
        }
        if held.flows > 0 || held.fixed {
            return;
        }
        entry.remove();
        self.bound.fetch_sub(1, Relaxed);
        if let Entry::Occupied(outward) = outward
            && *outward.get() == external.endpoint
        {
            outward.remove();
        }
        self.unpair(external.realm, internal.address);
        self.give_back(external);
    }

    /// Gives a port back. Of many addresses those that nobody uses are forgotten, with their peaks.
    fn give_back(&self, external: &External) {
        let mut idle = false;
        self.with(external, |ports| {
            ports.release(external.endpoint.port);
            idle = ports.used() == 0;
        });
        if idle && self.spaces.len() > REMEMBERED {
            let key = (external.realm, external.protocol, external.endpoint.address);
            self.spaces.remove_if(&key, |_, space| {
                Arc::strong_count(space) == 1 && locked(space).used() == 0
            });
        }
    }

    /// The binding of an external endpoint to which this remote end may send; the flow that follows
    /// uses it and releases it at its end.
    pub fn enter(&self, external: &External, remote: &Endpoint) -> Option<Binding> {
        let mut held = self.inward.get_mut(external)?;
        let may = match held.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::Address => self.contacts.contains_key(&(*external, remote.address)),
            Filtering::AddressPort => false,
        };
        if !may {
            return None;
        }
        held.flows += 1;
        if held.filtering == Filtering::Address {
            self.note_contact(external, remote);
        }
        Some(*held)
    }

    /// Holds an external endpoint for an inside one until [`unbind`](Self::unbind).
    ///
    /// # Errors
    /// When somebody has it.
    pub fn bind(
        &self,
        external: &External,
        internal: Endpoint,
        filtering: Filtering,
        now_ns: u64,
    ) -> Result<(), InUse> {
        let mut held = false;
        self.with(external, |ports| held = ports.hold(external.endpoint.port));
        if !held {
            return Err(InUse);
        }
        let binding = Binding {
            internal,
            filtering,
            flows: 0,
            since_ns: now_ns,
            fixed: true,
        };
        self.bound.fetch_add(1, Relaxed);
        self.inward.insert(*external, binding);
        self.outward.insert(
            (external.realm, external.protocol, internal),
            external.endpoint,
        );
        self.pair(external.realm, internal.address, external.endpoint.address);
        Ok(())
    }

    /// Ends a configured binding; flows that use it keep it until they end.
    pub fn unbind(&self, external: &External) {
        let Some(mut held) = self.inward.get_mut(external) else {
            return;
        };
        held.fixed = false;
        held.flows += 1;
        drop(held);
        self.release(external, &Endpoint::default(), true);
    }

    /// Keeps a port for the appliance itself until [`release`](Self::release): nobody is given it. `false`
    /// when a flow has it.
    pub fn reserve(&self, external: &External) -> bool {
        let mut held = false;
        self.with(external, |ports| held = ports.hold(external.endpoint.port));
        held
    }

    /// Whether anybody holds a binding.
    #[inline]
    pub fn has_bindings(&self) -> bool {
        self.bound.load(Relaxed) != 0
    }

    /// Takes a port that a flow had before the dataplane was started; `false` when one holds it alone.
    pub fn share_again(&self, external: &External) -> bool {
        let mut shared = false;
        self.with(external, |ports| {
            shared = ports.share(external.endpoint.port)
        });
        shared
    }

    /// Whether an external address has bindings of a protocol, or ports of the appliance itself.
    pub fn binds_on(&self, external: &External) -> bool {
        let key = (external.realm, external.protocol, external.endpoint.address);
        let space = self.spaces.get(&key).map(|space| Arc::clone(&space));
        space.is_some_and(|space| locked(&space).holds_any())
    }

    /// The binding of an external endpoint.
    pub fn binding(&self, external: &External) -> Option<Binding> {
        self.inward.get(external).map(|held| *held)
    }

    /// All bindings.
    pub fn bindings(&self) -> Vec<(External, Binding)> {
        let pair = |held: dashmap::mapref::multiple::RefMulti<'_, External, Binding>| {
            (*held.key(), *held.value())
        };
        self.inward.iter().map(pair).collect()
    }

    /// Use of every external address.
    pub fn usage(&self) -> Vec<Usage> {
        let usage =
            |space: dashmap::mapref::multiple::RefMulti<'_, SpaceKey, Arc<Mutex<PortSpace>>>| {
                let (realm, protocol, address) = *space.key();
                let ports = locked(space.value());
                Usage {
                    realm,
                    protocol,
                    address,
                    used: ports.used(),
                    peak: ports.peak(),
                    exhausted: ports.exhausted(),
                }
            };
        self.spaces.iter().map(usage).collect()
    }

    /// How many flows found no port.
    pub fn exhausted(&self) -> u64 {
        self.exhausted.load(Relaxed)
    }

    fn bind_flow(
        &self,
        request: &Request,
        filtering: Filtering,
        now_ns: u64,
        chance: u64,
    ) -> Option<Grant> {
        let inside = (request.realm, request.protocol, request.internal);
        let entry = self.outward.entry(inside);
        let (endpoint, filtering) = match entry {
            Entry::Occupied(entry) => {
                let endpoint = *entry.get();
                let mut held = self.inward.get_mut(&request.external(endpoint))?;
                held.flows += 1;
                // As it was made: a rule that asks for another one comes too late.
                (endpoint, held.filtering)
            }
            Entry::Vacant(entry) => {
                let endpoint = self.hold_one(request, chance)?;
                let external = request.external(endpoint);
                self.begin_binding(&external, request.internal, filtering, now_ns);
                entry.insert(endpoint);
                (endpoint, filtering)
            }
        };
        if filtering == Filtering::Address {
            self.note_contact(&request.external(endpoint), &request.remote);
        }
        Some(Grant {
            endpoint,
            binding: Some(filtering),
        })
    }

    /// Takes the binding over that a flow of this remote end had before the dataplane was started;
    /// `false` when somebody else has its port, or the inside another one.
    pub fn bind_again(
        &self,
        external: &External,
        internal: Endpoint,
        filtering: Filtering,
        (remote, since_ns): (&Endpoint, u64),
    ) -> bool {
        let inside = (external.realm, external.protocol, internal);
        match self.outward.entry(inside) {
            Entry::Occupied(entry) => {
                let known = *entry.get() == external.endpoint;
                let Some(mut held) = self.inward.get_mut(external).filter(|_| known) else {
                    return false;
                };
                held.flows += 1;
                held.since_ns = held.since_ns.min(since_ns);
            }
            Entry::Vacant(entry) => {
                if !self.reserve(external) {
                    return false;
                }
                self.begin_binding(external, internal, filtering, since_ns);
                entry.insert(external.endpoint);
            }
        }
        if filtering == Filtering::Address {
            self.note_contact(external, remote);
        }
        true
    }

    /// The first flow of a binding whose port is held.
    fn begin_binding(
        &self,
        external: &External,
        internal: Endpoint,
        filtering: Filtering,
        since_ns: u64,
    ) {
        let binding = Binding {
            internal,
            filtering,
            flows: 1,
            since_ns,
            fixed: false,
        };
        self.bound.fetch_add(1, Relaxed);
        self.inward.insert(*external, binding);
        self.pair(external.realm, internal.address, external.endpoint.address);
    }

    /// Holds a port on the address that is paired with the inside address, or on any of the range.
    fn hold_one(&self, request: &Request, chance: u64) -> Option<Endpoint> {
        let paired = self
            .paired
            .get(&(request.realm, request.internal.address))
            .map(|pair| pair.0)
            .filter(|address| (request.first..=request.last).contains(address));
        if let Some(address) = paired {
            return self.hold_on(request, address, chance);
        }
        request
            .addresses()
            .find_map(|address| self.hold_on(request, address, chance))
    }

    fn hold_on(&self, request: &Request, address: [u8; 16], chance: u64) -> Option<Endpoint> {
        let space = self.space(request, address);
        let mut ports = locked(&space);
        let port = request.kept().filter(|port| ports.is_free(*port));
        let port = port.or_else(|| request.free_port(&ports, chance))?;
        ports.hold(port).then_some(Endpoint { address, port })
    }

    fn share(
        &self,
        request: &Request,
        chance: u64,
        unique: &mut dyn FnMut(&Endpoint) -> bool,
    ) -> Option<Grant> {
        let on = |address| self.share_on(request, address, chance, unique);
        let endpoint = request.addresses().find_map(on)?;
        Some(Grant {
            endpoint,
            binding: None,
        })
    }

    fn share_on(
        &self,
        request: &Request,
        address: [u8; 16],
        chance: u64,
        unique: &mut dyn FnMut(&Endpoint) -> bool,
    ) -> Option<Endpoint> {
        let space = self.space(request, address);
        let mut ports = locked(&space);
        let mut take = |ports: &mut PortSpace, port: u16| {
            let endpoint = Endpoint { address, port };
            (!ports.is_held(port) && unique(&endpoint) && ports.share(port)).then_some(endpoint)
        };
        if let Some(kept) = request.kept()
            && let Some(endpoint) = take(&mut ports, kept)
        {
            return Some(endpoint);
        }
        if let Some(port) = request.free_port(&ports, chance)
            && let Some(endpoint) = take(&mut ports, port)
        {
            return Some(endpoint);
        }
        let (first, last) = request.port_range();
        let count = u64::from(last - first) + 1;
        let mut chance = chance;
        (0..PROBES).find_map(|_| {
            chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            take(&mut ports, first + ((chance >> 33) % count) as u16)
        })
    }

    fn space(&self, request: &Request, address: [u8; 16]) -> Arc<Mutex<PortSpace>> {
        let key = (request.realm, request.protocol, address);
        if let Some(space) = self.spaces.get(&key) {
            return Arc::clone(&space);
        }
        Arc::clone(&self.spaces.entry(key).or_default())
    }

    fn with(&self, external: &External, then: impl FnOnce(&mut PortSpace)) {
        let key = (external.realm, external.protocol, external.endpoint.address);
        let space = Arc::clone(&self.spaces.entry(key).or_default());
        then(&mut locked(&space));
    }

    fn pair(&self, realm: Realm, inside: [u8; 16], external: [u8; 16]) {
        let mut pair = self.paired.entry((realm, inside)).or_insert((external, 0));
        pair.1 += 1;
    }

    fn unpair(&self, realm: Realm, inside: [u8; 16]) {
        if let Entry::Occupied(mut entry) = self.paired.entry((realm, inside)) {
            entry.get_mut().1 -= 1;
            if entry.get().1 == 0 {
                entry.remove();
            }
        }
    }

    fn note_contact(&self, external: &External, remote: &Endpoint) {
        let contact = (*external, remote.address);
        *self.contacts.entry(contact).or_insert(0) += 1;
    }

    fn forget_contact(&self, external: &External, remote: &Endpoint) {
        if let Entry::Occupied(mut entry) = self.contacts.entry((*external, remote.address)) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// A panic under the lock leaves the bits whole: each change is one step.
fn locked(space: &Mutex<PortSpace>) -> MutexGuard<'_, PortSpace> {
    space.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
