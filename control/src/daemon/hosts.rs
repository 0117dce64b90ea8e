//! Host names of an ipset request: the client looked them up, with its own rights and resolver.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use sluice_config::ipset::address::Names;
use sluice_config::ipset::kind::Family;

/// What the client knows, and what was asked for in vain.
pub(super) struct Hosts {
    known: BTreeMap<String, Vec<IpAddr>>,
    unknown: RefCell<BTreeSet<String>>,
}

impl Hosts {
    pub(super) fn new(known: BTreeMap<String, Vec<IpAddr>>) -> Self {
        Self {
            known,
            unknown: RefCell::default(),
        }
    }

    /// Names that the client may look up.
    pub(super) fn unknown(&self) -> Vec<String> {
        self.unknown.borrow().iter().cloned().collect()
    }
}

impl Names for Hosts {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        let Some(addresses) = self.known.get(name) else {
            self.unknown.borrow_mut().insert(name.to_owned());
            return None;
        };
        let wanted = family == Family::Inet6;
        addresses
            .iter()
            .copied()
            .find(|address| address.is_ipv6() == wanted)
    }

    fn missed(&self) -> bool {
        !self.unknown.borrow().is_empty()
    }
}
