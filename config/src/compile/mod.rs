//! The ruleset as a program of the lane VM.
//!
//! In: the store's [`Ruleset`], whose rules are checked and typed. Out: a verified program with the
//! sets and cells that it refers to by index. Chains of a table become chains of the program, the
//! store's chunks of rules become blocks, selectors become keys with their protocol requirement,
//! base chains become the walks of each class of frames.
//!
//! A compilation touches only what changed: blocks are kept by the identity of their chunk, and
//! everything that a block names by index (keys, chains, sets, cells, counters) keeps its index.
//! Only chains that a packet can come to are compiled; the others load with a warning.
//!
//! Limits: what cannot be executed is refused by name with the place of the rule.

mod cells;
mod chains;
mod chunk;
mod connection;
pub mod dependence;
mod effects;
mod error;
mod expression;
mod generation;
mod implied;
mod ipset;
mod key;
mod listing;
mod look_up;
mod lower;
mod mangle;
mod named;
mod program;
mod registry;
mod relation;
mod sets;
mod statement;
pub mod translate;
mod value;
mod walk;

pub use error::{Cause, CompileError, Place, Warning};
pub use generation::generation;
pub use listing::explain;
pub(crate) use named::secret;
pub use program::{CompileCache, Compiled, Target, compile};
