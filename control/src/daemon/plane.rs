//! What the control API and the metrics ask of ports and workers, whoever runs them.

use std::sync::Arc;

use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::Tracker;
pub use sluice_dataplane::worker::BATCH_BOUNDS;

use crate::api::flow::Saved;
use crate::api::nat::NatStatus;
use crate::api::wire::{
    DroppedFrame, NeighbourStatus, PortRequest, PortStatus, RouteStatus, WorkerStatus,
};

/// Why a port was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// There is one of that name.
    #[error("a port is called \"{0}\" already")]
    Exists(String),
    /// There is none of that name.
    #[error("no port is called \"{0}\"")]
    Unknown(String),
    /// This daemon has no workers.
    #[error("this daemon is a workbench: it was started without ports and has no workers")]
    Workbench,
    /// The device cannot be used; says why and what mends it.
    #[error("{0}")]
    Device(String),
}

/// How many batches had up to so many frames, of one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchSizes {
    /// For each bound of [`BATCH_BOUNDS`], the batches with at most that many frames and more
    /// than the bound before.
    pub batches: [u64; BATCH_BOUNDS.len()],
    /// Frames in all batches.
    pub frames: u64,
}

/// Ports and workers.
pub trait Plane: Send + Sync {
    /// `wire`, `gateway` or `workbench`.
    fn mode(&self) -> &'static str;

    /// Every port.
    fn ports(&self) -> Vec<PortStatus>;

    /// Opens a port.
    ///
    /// # Errors
    /// When the name is taken or the device cannot be used.
    fn add_port(&self, port: &PortRequest) -> Result<PortStatus, PlaneError>;

    /// Closes a port.
    ///
    /// # Errors
    /// When there is none of that name.
    fn remove_port(&self, name: &str) -> Result<(), PlaneError>;

    /// Every route of a gateway.
    fn routes(&self) -> Vec<RouteStatus> {
        Vec::new()
    }

    /// Every neighbour of a gateway.
    fn neighbours(&self) -> Vec<NeighbourStatus> {
        Vec::new()
    }

    /// Address translation of a gateway.
    fn nat(&self) -> NatStatus {
        NatStatus::default()
    }

    /// Every worker.
    fn workers(&self) -> Vec<WorkerStatus>;

    /// Batch sizes, one entry per worker.
    fn batch_sizes(&self) -> Vec<BatchSizes>;

    /// Frames dropped, by reason, in the order of [`DropReason::ALL`].
    fn drops(&self) -> [u64; DropReason::COUNT];

    /// The last dropped frames, oldest first.
    fn dropped_frames(&self) -> Vec<DroppedFrame>;

    /// Log and trace events that were lost because nobody took them in time.
    fn lost_events(&self) -> u64;

    /// The connection tracker, where there is one.
    fn tracker(&self) -> Option<Arc<Tracker>> {
        None
    }

    /// Stops forwarding for good: the daemon ends.
    fn halt(&self) {}

    /// Saves the tracked connections into the state folder, and waits until they are on the disk if told to.
    ///
    /// # Errors
    /// When there are none to save, or the file cannot be written.
    fn save_flows(&self, _synced: bool) -> Result<Saved, PlaneError> {
        Err(PlaneError::Workbench)
    }
}

/// No ports and no workers: a place to try rulesets on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Workbench;

impl Plane for Workbench {
    fn mode(&self) -> &'static str {
        "workbench"
    }

    fn ports(&self) -> Vec<PortStatus> {
        Vec::new()
    }

    fn add_port(&self, _port: &PortRequest) -> Result<PortStatus, PlaneError> {
        Err(PlaneError::Workbench)
    }

    fn remove_port(&self, name: &str) -> Result<(), PlaneError> {
        Err(PlaneError::Unknown(name.to_owned()))
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        Vec::new()
    }

    fn batch_sizes(&self) -> Vec<BatchSizes> {
        Vec::new()
    }

    fn drops(&self) -> [u64; DropReason::COUNT] {
        [0; DropReason::COUNT]
    }

    fn dropped_frames(&self) -> Vec<DroppedFrame> {
        Vec::new()
    }

    fn lost_events(&self) -> u64 {
        0
    }
}
