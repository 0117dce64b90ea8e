//! A table: what it holds, and the handles that it gave.

use std::sync::Arc;

use imbl::{HashMap, OrdMap};

use super::references::References;
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
    /// Chains by handle. Anonymous ones live in the rule that jumps to them, as anonymous sets do.
    pub chains: OrdMap<u64, Arc<Chain>>,
    /// Named sets and maps by handle. Anonymous ones live in their rule.
    pub sets: OrdMap<u64, Arc<Set>>,
    /// Objects by handle.
    pub objects: OrdMap<u64, Arc<Object>>,
    /// Flowtables by handle.
    pub flowtables: OrdMap<u64, Arc<Flowtable>>,
    /// Who uses whom.
    pub references: References,
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
        self.objects
            .get(self.object_names.get(&(kind, Name::from(name)))?)
    }

    /// A flowtable by name.
    pub fn flowtable(&self, name: &str) -> Option<&Arc<Flowtable>> {
        self.flowtables.get(self.flowtable_names.get(name)?)
    }

    /// An empty table.
    pub fn new(family: Family, name: Name, handle: u64) -> Self {
        Self {
            id: Id::fresh(),
            family,
            name,
            handle,
            dormant: false,
            owner: None,
            comment: None,
            last_handle: 0,
            chains: OrdMap::new(),
            sets: OrdMap::new(),
            objects: OrdMap::new(),
            flowtables: OrdMap::new(),
            references: References::default(),
            chain_names: HashMap::new(),
            set_names: HashMap::new(),
            object_names: HashMap::new(),
            flowtable_names: HashMap::new(),
        }
    }

    /// The next handle.
    pub fn give_handle(&mut self) -> u64 {
        self.last_handle += 1;
        self.last_handle
    }

    /// A chain for change.
    pub fn chain_mut(&mut self, name: &str) -> Option<&mut Chain> {
        let handle = self.chain_names.get(name)?;
        self.chains.get_mut(handle).map(Arc::make_mut)
    }

    /// A set for change.
    pub fn set_mut(&mut self, name: &str) -> Option<&mut Set> {
        let handle = self.set_names.get(name)?;
        self.sets.get_mut(handle).map(Arc::make_mut)
    }

    /// An object for change.
    pub fn object_mut(&mut self, kind: ObjectKind, name: &str) -> Option<&mut Object> {
        let handle = self.object_names.get(&(kind, Name::from(name)))?;
        self.objects.get_mut(handle).map(Arc::make_mut)
    }

    /// Adds a chain; its name is free.
    pub fn put_chain(&mut self, chain: Chain) {
        self.chain_names.insert(chain.name.clone(), chain.handle);
        self.chains.insert(chain.handle, Arc::new(chain));
    }

    /// Takes a chain out.
    pub fn take_chain(&mut self, name: &str) -> Option<Arc<Chain>> {
        let handle = self.chain_names.remove(name)?;
        self.chains.remove(&handle)
    }

    /// Adds a set; its name is free.
    pub fn put_set(&mut self, set: Set) {
        self.set_names.insert(set.name.clone(), set.handle);
        self.sets.insert(set.handle, Arc::new(set));
    }

    /// Takes a set out.
    pub fn take_set(&mut self, name: &str) -> Option<Arc<Set>> {
        let handle = self.set_names.remove(name)?;
        self.sets.remove(&handle)
    }

    /// Adds an object; its name is free among its kind.
    pub fn put_object(&mut self, object: Object) {
        self.object_names
            .insert((object.body.kind(), object.name.clone()), object.handle);
        self.objects.insert(object.handle, Arc::new(object));
    }

    /// Takes an object out.
    pub fn take_object(&mut self, kind: ObjectKind, name: &str) -> Option<Arc<Object>> {
        let handle = self.object_names.remove(&(kind, Name::from(name)))?;
        self.objects.remove(&handle)
    }

    /// Adds a flowtable; its name is free.
    pub fn put_flowtable(&mut self, flowtable: Flowtable) {
        self.flowtable_names
            .insert(flowtable.name.clone(), flowtable.handle);
        self.flowtables
            .insert(flowtable.handle, Arc::new(flowtable));
    }

    /// Takes a flowtable out.
    pub fn take_flowtable(&mut self, name: &str) -> Option<Arc<Flowtable>> {
        let handle = self.flowtable_names.remove(name)?;
        self.flowtables.remove(&handle)
    }
}
