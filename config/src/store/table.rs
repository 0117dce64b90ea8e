//! A table: what it holds, and the handles that it gave.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};

use super::{Chain, Flowtable, Id, Name, Object, Set};
use crate::model::{Family, ObjectKind};

/// A table. Chains, sets, objects and flowtables are kept by handle, which is the order in which
/// they were made and in which they are listed.
#[derive(Clone, Debug)]
pub struct Table {
    /// Never reused.
    pub id: Id,
    /// Family of everything in it.
    pub family: Family,
    /// Its name.
    pub name: Name,
    /// Its handle.
    pub handle: u64,
    /// Its chains are not evaluated.
    pub dormant: bool,
    /// Session that owns it; only that one may change it.
    pub owner: Option<u64>,
    /// Its comment.
    pub comment: Option<Name>,
    /// The newest handle given in it.
    pub last_handle: u64,
    /// Chains by handle, anonymous ones included.
    pub chains: OrdMap<u64, Arc<Chain>>,
    /// Named sets and maps by handle. Anonymous ones live in their rule.
    pub sets: OrdMap<u64, Arc<Set>>,
    /// Objects by handle.
    pub objects: OrdMap<u64, Arc<Object>>,
    /// Flowtables by handle.
    pub flowtables: OrdMap<u64, Arc<Flowtable>>,
    pub(super) chain_names: HashMap<Name, u64>,
    pub(super) set_names: HashMap<Name, u64>,
    pub(super) object_names: HashMap<(ObjectKind, Name), u64>,
    pub(super) flowtable_names: HashMap<Name, u64>,
}

impl Table {
    /// A chain by name.
    pub fn chain(&self, name: &str) -> Option<&Arc<Chain>> {
        self.chains.get(self.chain_names.get(name)?)
    }

    /// A set or map by name.
    pub fn set(&self, name: &str) -> Option<&Arc<Set>> {
        self.sets.get(self.set_names.get(name)?)
    }

    /// An object by kind and name.
    pub fn object(&self, kind: ObjectKind, name: &str) -> Option<&Arc<Object>> {
        self.objects.get(self.object_names.get(&(kind, Name::from(name)))?)
    }

    /// A flowtable by name.
    pub fn flowtable(&self, name: &str) -> Option<&Arc<Flowtable>> {
        self.flowtables.get(self.flowtable_names.get(name)?)
    }
}
