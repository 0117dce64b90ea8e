//! Sets and maps: their shape in programs, and the runtime sets behind their indices.
//!
//! A named set keeps its index for its life; its runtime set is made anew when its elements change.
//! Anonymous sets belong to a rule and live as long as it does.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_dataplane::program::lane_set::LaneSet;
use sluice_dataplane::program::small_set::SmallSet;
use sluice_dataplane::program::{self as vm, ChainId, SetData, SetDesc, SetId, Tables};
use sluice_dataplane::sets::Change;

use super::error::Cause;
use super::ipset::Used;
use super::named::Runtime;
use super::registry::Registry;
use super::statement::object_kind;
use super::value::columns;
use crate::model::expr::{DataType, SetType};
use crate::store::{Elements, Id};

/// Whose set it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SetKey {
    /// A set of a table.
    Named(Id),
    /// The n-th unnamed part of a rule.
    Anonymous(Id, u16),
}

/// All sets of a line of programs.
#[derive(Debug, Default)]
pub(super) struct Sets {
    registry: Registry<SetKey, Shape>,
    instances: Vec<Arc<dyn LaneSet>>,
    /// Whether each was built, or only keeps an index.
    built: Vec<bool>,
    /// Named sets with their contents.
    pub(super) runtimes: HashMap<Id, Runtime>,
    /// Changes of sets that packets write, to be made when the program is published.
    pub(super) pending: Vec<(Id, Change, Elements)>,
    /// Chains that a verdict map's elements name.
    targets: HashMap<SetId, Vec<ChainId>>,
    /// Uses of sets of ipset by the rule that is lowered.
    pub(super) ipset_uses: Vec<Used>,
}

/// A set's shape as a key of free indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    key: u8,
    data: u8,
    kind: Option<vm::ObjectKind>,
    verdict: bool,
}

impl From<&SetDesc> for Shape {
    fn from(desc: &SetDesc) -> Self {
        let (data, kind, verdict) = match &desc.data {
            SetData::Nothing => (0, None, false),
            SetData::Columns { count } => (*count, None, false),
            SetData::Verdict => (1, None, true),
            SetData::Object { kind } => (1, Some(*kind), false),
        };
        Self {
            key: desc.key_columns,
            data,
            kind,
            verdict,
        }
    }
}

impl Sets {
    /// The index of a set of this shape.
    pub(super) fn number(
        &mut self,
        key: SetKey,
        desc: &SetDesc,
        now: u64,
        tables: &mut Tables,
    ) -> Result<SetId, Cause> {
        let fresh = || Ok::<_, Cause>(tables.set(desc.clone())?.0);
        let shape = Shape::from(desc);
        let number = self.registry.number(key, &shape, now, fresh)?;
        if number as usize == self.instances.len() {
            let none = || Cause::unsupported("a set of this shape");
            self.instances.push(empty(desc).ok_or_else(none)?);
            self.built.push(false);
        }
        Ok(SetId(number))
    }

    /// Puts the runtime set behind an index.
    pub(super) fn put(&mut self, id: SetId, instance: Arc<dyn LaneSet>, chains: Vec<ChainId>) {
        self.instances[id.0 as usize] = instance;
        self.built[id.0 as usize] = true;
        if chains.is_empty() {
            self.targets.remove(&id);
        } else {
            self.targets.insert(id, chains);
        }
    }

    /// The index of a set of this shape that was built before.
    pub(super) fn known(&self, key: &SetKey, desc: &SetDesc) -> Option<SetId> {
        let number = self.registry.get(key)?;
        let instance = self.instances.get(number as usize)?;
        (instance.desc() == *desc).then_some(SetId(number))
    }

    /// The index of a named set that the compilation has met.
    pub(super) fn named(&self, id: Id) -> Option<SetId> {
        self.registry.get(&SetKey::Named(id)).map(SetId)
    }

    /// Whether a named set's contents, behind this index, are these elements.
    pub(super) fn is_current(&self, owner: Id, id: SetId, elements: &Elements) -> bool {
        // Versions count from each declaration on: the same number of another declaration is
        // told apart by its memory.
        let same = |known: &Elements| {
            known.version == elements.version
                && known.map.ptr_eq(&elements.map)
                && known.catch_all.is_some() == elements.catch_all.is_some()
        };
        self.built[id.0 as usize]
            && self
                .runtimes
                .get(&owner)
                .is_some_and(|known| same(&known.applied))
    }

    /// Makes the changes of sets that packets write.
    pub(super) fn commit(&mut self) {
        for (owner, change, elements) in self.pending.drain(..) {
            change.commit();
            if let Some(known) = self.runtimes.get_mut(&owner) {
                known.applied = elements;
            }
        }
    }

    /// Chains that a verdict map's elements name.
    pub(super) fn targets(&self, id: SetId) -> &[ChainId] {
        self.targets.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Notes that the compilation `now` met an anonymous set.
    pub(super) fn touch(&mut self, key: &SetKey, now: u64) {
        self.registry.touch(key, now);
    }

    /// Frees indices of sets that were last met before `since`, and their memory.
    pub(super) fn sweep(&mut self, since: u64) {
        for number in self.registry.sweep(since) {
            let desc = self.instances[number as usize].desc();
            if let Some(empty) = empty(&desc) {
                self.put(SetId(number), empty, Vec::new());
                self.built[number as usize] = false;
            }
        }
        let registry = &self.registry;
        self.runtimes
            .retain(|owner, _| registry.get(&SetKey::Named(*owner)).is_some());
    }

    /// Runtime sets, by index.
    pub(super) fn all(&self) -> &[Arc<dyn LaneSet>] {
        &self.instances
    }

    /// Indices that nobody has.
    pub(super) fn idle(&self) -> usize {
        self.registry.idle()
    }
}

/// A set of a shape without elements: what stands behind an index that nobody has.
fn empty(desc: &SetDesc) -> Option<Arc<dyn LaneSet>> {
    let fields = [usize::from(desc.key_columns)];
    let set = SmallSet::new(&fields, desc.data.clone(), Vec::new())?;
    Some(Arc::new(set))
}

/// The shape of a set.
pub(super) fn desc_of(key: &SetType, data: Option<&DataType>) -> Result<SetDesc, Cause> {
    let width = |ty: &SetType| -> usize { ty.parts.iter().map(|part| columns(part.bits)).sum() };
    let narrow = |width: usize| {
        u8::try_from(width).map_err(|_| Cause::unsupported("a concatenation of more than 64 bytes"))
    };
    let data = match data {
        None => SetData::Nothing,
        Some(DataType::Verdict) => SetData::Verdict,
        Some(DataType::Value(ty)) => SetData::Columns {
            count: narrow(width(ty))?,
        },
        // First and last value side by side.
        Some(DataType::Interval(ty)) => SetData::Columns {
            count: narrow(2 * width(ty))?,
        },
        Some(DataType::Object(kind)) => SetData::Object {
            kind: object_kind(*kind)?,
        },
    };
    Ok(SetDesc {
        key_columns: narrow(width(key))?,
        data,
    })
}
