//! Objects of a ruleset that steer connections: helpers, timeout policies, expectations.
//!
//! They come from the compiler with the generation; rules name them by the number of the store.

use std::sync::{Arc, OnceLock};

use crate::conntrack::{TimeoutPolicy, Tracker, tuple};
use crate::program::op::{EngineObjectId, ObjectKind};
use crate::synproxy::Offer;

/// `ct helper`: which helper a new connection gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperObject {
    /// The helper's number, IPv4; 0 for none.
    pub ip: u16,
    /// The same, IPv6.
    pub ip6: u16,
    /// Transport protocol of connections that get it.
    pub protocol: u8,
}

impl HelperObject {
    /// The helper's number for a network protocol.
    pub(crate) fn number(&self, l3: u8) -> u16 {
        if l3 == tuple::IPV4 { self.ip } else { self.ip6 }
    }
}

/// `ct timeout`: how long a new connection lives.
#[derive(Debug)]
pub struct TimeoutObject {
    /// Transport protocol of connections that get it.
    pub protocol: u8,
    /// Seconds by class.
    pub policy: TimeoutPolicy,
    /// The tracker's number of the policy, once it is known.
    number: OnceLock<u16>,
}

impl TimeoutObject {
    /// A policy that no tracker knows yet.
    pub fn new(protocol: u8, policy: TimeoutPolicy) -> Self {
        Self {
            protocol,
            policy,
            number: OnceLock::new(),
        }
    }

    /// The tracker's number of the policy. Whoever publishes a generation asks first
    /// ([`ConnectionObjects::resolve`]), so that a packet finds it here.
    pub(crate) fn number(&self, tracker: &Arc<Tracker>) -> u16 {
        *self.number.get_or_init(|| tracker.policy(&self.policy))
    }
}

/// `ct expectation`: a connection that is let in because another one is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectationObject {
    /// Network protocol, if only one.
    pub l3: Option<u8>,
    /// Transport protocol.
    pub protocol: u8,
    /// Destination port.
    pub dport: u16,
    /// How long it is waited for.
    pub timeout_ns: u64,
    /// Most at a time of one connection.
    pub size: usize,
}

/// One object.
#[derive(Debug)]
pub enum ConnectionObject {
    /// `ct helper`
    Helper(HelperObject),
    /// `ct timeout`
    Timeout(TimeoutObject),
    /// `ct expectation`
    Expectation(ExpectationObject),
    /// `synproxy`
    Synproxy(Offer),
}

impl ConnectionObject {
    /// What it is to a rule.
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Helper(_) => ObjectKind::CtHelper,
            Self::Timeout(_) => ObjectKind::CtTimeout,
            Self::Expectation(_) => ObjectKind::CtExpectation,
            Self::Synproxy(_) => ObjectKind::Synproxy,
        }
    }
}

/// The objects of a generation, by number.
#[derive(Debug, Default)]
pub struct ConnectionObjects {
    sorted: Vec<(EngineObjectId, ConnectionObject)>,
}

impl ConnectionObjects {
    /// Objects with their numbers, in any order.
    pub fn new(mut objects: Vec<(EngineObjectId, ConnectionObject)>) -> Self {
        objects.sort_by_key(|(number, _)| number.0);
        Self { sorted: objects }
    }

    /// The object of this number.
    #[inline]
    pub fn get(&self, number: EngineObjectId) -> Option<&ConnectionObject> {
        let at = self
            .sorted
            .binary_search_by_key(&number.0, |(number, _)| number.0)
            .ok()?;
        self.sorted.get(at).map(|(_, object)| object)
    }

    /// Tells a tracker the timeout policies, before packets meet them.
    pub fn resolve(&self, tracker: &Arc<Tracker>) {
        for (_, object) in &self.sorted {
            if let ConnectionObject::Timeout(timeout) = object {
                timeout.number(tracker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_found_by_number() {
        let helper = |ip| {
            ConnectionObject::Helper(HelperObject {
                ip,
                ip6: 0,
                protocol: 6,
            })
        };
        let objects = ConnectionObjects::new(vec![
            (EngineObjectId(9), helper(9)),
            (EngineObjectId(2), helper(2)),
        ]);
        for number in [2, 9] {
            let Some(ConnectionObject::Helper(found)) = objects.get(EngineObjectId(number)) else {
                panic!("{number} is not found");
            };
            assert_eq!(u32::from(found.number(tuple::IPV4)), number);
            assert_eq!(found.number(tuple::IPV6), 0);
        }
        assert!(objects.get(EngineObjectId(3)).is_none());
    }
}
