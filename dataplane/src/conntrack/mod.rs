//! The connection tracker: which flow a packet belongs to, and how it stands to it.
//!
//! The hooks call it twice in a packet's walk: [`TrackerWorker::track`] at priority -200 finds the flow or
//! begins one, [`TrackerWorker::confirm`] behind the last hook puts a begun flow into the table, so that
//! a packet that was dropped between them leaves nothing. The table is shared by all workers and read
//! without a lock; see `docs/decisions/flow-table.md`.

pub mod event;
pub mod expect;
pub mod flow;
pub mod invalid;
pub mod protocol;
pub mod settings;
pub mod state;
pub mod statistics;
pub mod timeouts;
pub mod tracker;
pub mod tuple;
pub mod worker;

pub use crate::program::key::Direction;
pub use event::{FlowEvent, FlowEventKind};
pub use expect::{Expectation, SourceMask};
pub use flow::{Flow, FlowId};
pub use invalid::InvalidReason;
pub use settings::{Rules, Settings};
pub use state::{CtState, FlowIndex, PacketCt, status};
pub use statistics::Statistics;
pub use timeouts::{TimeoutClass, TimeoutPolicy, Timeouts};
pub use tracker::{Filter, Tracker};
pub use tuple::{Tuple, Zone};
pub use worker::{TrackContext, TrackerWorker};
