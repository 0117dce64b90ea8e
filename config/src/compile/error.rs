//! Why a ruleset does not become a program.

use sluice_dataplane::program::Malformed;

use crate::model::Family;
use crate::store::Name;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// Something that no packet can be asked here: refused by name, never ignored.
    #[error("{0} is not supported here")]
    Unsupported(String),
    /// Something that needs a part of the dataplane that is not there.
    #[error("{what} needs {engine}, which this dataplane does not have")]
    Engine {
        /// The construct.
        what: String,
        /// The part.
        engine: &'static str,
    },
    /// A name that the ruleset does not have; the checker should have found it.
    #[error("no such {what}: {name}")]
    Missing {
        /// set, chain, counter ...
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The verifier's objection.
    #[error(transparent)]
    Program(#[from] Malformed),
    /// A set that cannot be built.
    #[error("set {name}: {reason}")]
    Set {
        /// Its name, or "anonymous set".
        name: String,
        /// What the set engine says.
        reason: String,
    },
    /// Program and surroundings do not fit.
    #[error("{0}")]
    Refused(String),
    /// State of a rule that has no place; the store gives one to each stateful statement.
    #[error("a stateful statement without a slot")]
    NoSlot,
}

impl Cause {
    /// A construct by its name.
    pub(super) fn unsupported(what: impl Into<String>) -> Self {
        Self::Unsupported(what.into())
    }
}

/// Where something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Family of the table.
    pub family: Family,
    /// The table.
    pub table: Name,
    /// The chain, if it is in one.
    pub chain: Option<Name>,
    /// Handle of the rule; 0 if it is not in one.
    pub handle: u64,
    /// Line of the text that it came from, 0 if unknown.
    pub line: u32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.table.is_empty() {
            return f.write_str("ruleset");
        }
        write!(f, "table {} {}", self.family.keyword(), self.table)?;
        if let Some(chain) = &self.chain {
            write!(f, " chain {chain}")?;
        }
        if self.handle != 0 {
            write!(f, " handle {}", self.handle)?;
        }
        Ok(())
    }
}

/// A ruleset that does not become a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {cause}")]
pub struct CompileError {
    /// Where.
    pub place: Place,
    /// What.
    #[source]
    pub cause: Cause,
}

/// Something that loads, but does not do what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What.
    pub text: String,
}
