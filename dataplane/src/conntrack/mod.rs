//! The connection tracker: which flow a packet belongs to, and how it stands to it.
//!
//! The hooks call it twice in a packet's walk: [`TrackerWorker::track`] at priority -200 finds the flow or
//! begins one, [`TrackerWorker::confirm`] behind the last hook puts a begun flow into the table, so that
//! a packet that was dropped between them leaves nothing. The table is shared by all workers and read
//! without a lock; see `docs/decisions/flow-table.md`.

mod access;
mod begin;
mod begun;
mod change;
mod confirm;
mod entry;
mod epoch;
pub mod event;
pub mod expect;
mod expectations;
pub mod filter;
pub mod flow;
mod flow_list;
mod hashing;
pub mod helper;
mod in_force;
mod index;
pub mod invalid;
mod limit;
mod lookup;
mod memory;
mod pool;
pub mod protocol;
mod proxied;
mod save;
mod seat;
pub mod sequence;
pub mod settings;
mod side;
pub mod state;
pub mod statistics;
mod table;
pub mod timeouts;
mod track;
pub mod tracker;
mod translation;
pub mod tuple;
mod wheel;
pub mod worker;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use crate::program::key::Direction;
pub use change::Change;
pub use event::{FlowEvent, FlowEventKind};
pub use expect::{Expectation, SourceMask};
pub use filter::{Filter, TupleFilter};
pub use flow::{Flow, FlowId};
pub use flow_list::FlowList;
pub use invalid::InvalidReason;
pub use limit::ElementLists;
pub use lookup::Match;
pub use proxied::{Proxied, ProxyEvent, Stage};
pub use save::{LoadError, Loaded};
pub use sequence::Offsets;
pub use settings::{Rules, Settings};
pub use state::{CtState, FlowIndex, PacketCt, status};
pub use statistics::{ProxyStatistics, Statistics};
pub use table::FLOW_BYTES;
pub use timeouts::{TimeoutClass, TimeoutPolicy, Timeouts};
pub use tracker::{AddError, Tracker};
pub use translation::{Attached, Release, Translated, UNCLAIMED};
pub use tuple::{Tuple, Zone};
pub use worker::{TrackContext, TrackerWorker};
