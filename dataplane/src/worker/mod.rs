//! Workers: what carries a batch from port to port.
//!
//! Control starts a [`Workers`] group, hands it ports at run time and publishes generations; each
//! worker thread owns its queue of every port. Between two batches a worker picks up the newest
//! generation and its orders; nothing else is shared with it but relaxed counters.

pub mod clock;
pub mod connection;
pub mod disposition;
pub mod drop_ring;
pub mod event;
pub mod generation;
pub mod group;
pub mod metrics;
pub mod pipeline;
pub mod stages;
pub mod wait;

mod born;
mod connections;
mod delivery;
mod helpers;
mod proxied;
mod routing;
mod run;
mod seat;
mod translate;
mod unsolicited;
mod walk;

pub use clock::{Clock, SystemClock, VirtualClock};
pub use connection::{ConnectionObject, ConnectionObjects};
pub use disposition::{Disposition, Fate, NO_RULE, ProxySegment, Routed};
pub use drop_ring::DroppedFrame;
pub use event::{Event, EventKind, EventQueue};
pub use generation::{Generation, PortInfo, PortTable};
pub use group::{GroupError, Settings, Tell, WorkerEvent, Workers};
pub use metrics::{BATCH_BOUNDS, QueueMetrics, WorkerMetrics};
pub use pipeline::Pipeline;
pub use stages::{Context, Stages};
pub use wait::Wait;
