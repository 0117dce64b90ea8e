//! All tables, in the order in which they were made.

use std::sync::Arc;

use super::Table;
use crate::ipset::IpSets;
use crate::model::Family;

/// The whole ruleset. Cloning it is cheap.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// Tables in order of creation.
    pub tables: Vec<Arc<Table>>,
    /// Handle of the newest table.
    pub last_table_handle: u64,
    /// The sets of ipset: visible to rules of every table.
    pub ipsets: IpSets,
}

impl Ruleset {
    /// A table by family and name.
    pub fn table(&self, family: Family, name: &str) -> Option<&Arc<Table>> {
        self.tables
            .iter()
            .find(|table| table.family == family && &*table.name == name)
    }

    /// A table for change: copied when somebody else holds it.
    pub fn table_mut(&mut self, family: Family, name: &str) -> Option<&mut Table> {
        let table = self
            .tables
            .iter_mut()
            .find(|table| table.family == family && &*table.name == name)?;
        Some(Arc::make_mut(table))
    }

    /// How many rules use a set of ipset.
    pub fn ipset_uses(&self, name: &str) -> usize {
        let uses = |table: &Arc<Table>| table.references.ipset_uses(name);
        self.tables.iter().map(uses).sum()
    }

    /// The table's place.
    pub fn position(&self, family: Family, name: &str) -> Option<usize> {
        self.tables
            .iter()
            .position(|table| table.family == family && &*table.name == name)
    }
}
