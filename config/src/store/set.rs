//! Named sets and maps and their elements.
//!
//! Elements are kept compactly, by their smallest key, in a persistent ordered map: an edit of one
//! costs the same among ten and among a million, and a clone costs nothing. What the packet path
//! added or what expired is not here but in the runtime set; listings ask it.

use std::sync::Arc;

use imbl::OrdMap;
use smallvec::SmallVec;

use super::{Id, Name};
use crate::model::expr::{DataType, SetType, Verdict};
use crate::model::stmt::Stmt;

/// The words of a key: each part takes `ceil(bits / 32)`, most significant first, parts side by
/// side. Exactly the columns that the packet path compares.
pub type Words = SmallVec<[u32; 4]>;

/// A named set or map.
#[derive(Clone, Debug)]
pub struct Set {
    /// Never reused; kept over a reload. The runtime set is keyed by it.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// Its handle.
    pub handle: u64,
    /// Declaration.
    pub spec: Arc<SetSpec>,
    /// Elements from commands.
    pub elements: Elements,
}

/// The declaration of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSpec {
    /// Type of the key.
    pub key: SetType,
    /// What a map yields.
    pub data: Option<DataType>,
    /// `flags constant`.
    pub constant: bool,
    /// `flags interval`.
    pub interval: bool,
    /// `flags timeout`, or a timeout was given.
    pub timeout: bool,
    /// `flags dynamic`.
    pub dynamic: bool,
    /// Made by a `meter` statement.
    pub meter: bool,
    /// Default timeout.
    pub timeout_ms: Option<u64>,
    /// `gc-interval`.
    pub gc_interval_ms: Option<u64>,
    /// `size`.
    pub size: Option<u32>,
    /// `policy memory`; `Some(false)`: `policy performance` was written.
    pub policy_memory: Option<bool>,
    /// `auto-merge`.
    pub auto_merge: bool,
    /// Statements of every element.
    pub stmts: Vec<Stmt>,
    /// Its comment.
    pub comment: Option<Name>,
}

/// Elements by smallest key.
#[derive(Clone, Debug, Default)]
pub struct Elements {
    /// All but the catch-all.
    pub map: OrdMap<Words, StoredElement>,
    /// `*`.
    pub catch_all: Option<StoredElement>,
    /// Changes with every edit: same number, same elements.
    pub version: u64,
}

/// An element without its smallest key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredElement {
    /// Largest key, where it is not the smallest: ranges and prefixes, word by word of the parts.
    pub high: Option<Box<Words>>,
    /// What a map yields.
    pub data: Option<Arc<ElementData>>,
    /// What few elements have.
    pub extra: Option<Arc<ElementExtra>>,
}

/// What an element maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementData {
    /// A value, and the largest one of a range.
    Value(Words, Option<Words>),
    /// A verdict.
    Verdict(Verdict),
    /// An object's name.
    Object(Name),
}

/// What few elements have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementExtra {
    /// `timeout`, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// `expires`, in milliseconds, as it was written.
    pub expires_ms: Option<u64>,
    /// Its comment.
    pub comment: Option<Name>,
    /// Its statements.
    pub stmts: Vec<Stmt>,
}

impl Set {
    /// Whether it maps.
    pub fn is_map(&self) -> bool {
        self.spec.data.is_some()
    }
}

impl Elements {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.map.len() + usize::from(self.catch_all.is_some())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
