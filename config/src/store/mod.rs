//! The committed ruleset: tables, chains, rules, sets, objects, flowtables; commands on it.
//!
//! A [`Ruleset`] is persistent: a clone costs a few pointers, a change copies the touched table's
//! header, one chain's list of chunks and one chunk. So a transaction is: clone, execute, and either
//! take the clone or drop it. Text comes in as a syntax tree, the checker of `model` makes rules
//! and elements of it, this module decides whether the kernel would have taken the command, in the
//! kernel's order and with its errors, and gives handles as the kernel does.
//!
//! Identity: beside its handle every rule, set and object has an id that is unique in the process
//! and survives the reload of a file in which it stands unchanged. What has state on the packet
//! path (counters, limits, quotas, dynamic elements) is keyed by that id.

pub mod chain;
mod checker;
pub mod elements;
pub mod errno;
pub mod exec;
pub mod identity;
pub mod list;
pub mod live;
pub mod misspell;
pub mod object;
pub mod place;
pub mod references;

pub mod ruleset;
pub mod set;
pub mod slots;
pub mod table;

pub use chain::{BaseChain, Chain, Chunk, Chunks, StoredRule};
pub use elements::{ElementData, ElementExtra, Elements, StoredElement, Words};
pub use object::{Flowtable, Object, ObjectBody};
pub use ruleset::Ruleset;
pub use set::{Set, SetSpec};
pub use slots::{CellSlot, RuleSlots, SlotAllocator};
pub use table::Table;

/// Names are shared, never copied.
pub type Name = std::sync::Arc<str>;

/// A number that is unique in the process, never reused, and stays with its owner for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

impl Id {
    /// The next number.
    pub fn fresh() -> Self {
        use std::sync::atomic::{AtomicU64, Ordering};
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
