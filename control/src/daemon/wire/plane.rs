//! What control asks of a running wire or gateway, and has it do.

use std::collections::HashSet;
use std::sync::Arc;

use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::Tracker;
use sluice_dataplane::port::PortId;
use sluice_dataplane::worker::{Clock, NO_RULE, SystemClock};

use super::ports::free_number;
use super::{Wire, port_label};
use crate::api::flow::Saved;
use crate::api::nat::{self, NatStatus};
use crate::api::wire::{
    DroppedFrame, Hex, NeighbourStatus, PortRequest, PortStatus, RouteStatus, WorkerStatus,
};
use crate::daemon::plane::{BatchSizes, Plane, PlaneError};
use crate::daemon::port::port_name;
use crate::daemon::{flow_file, routing};
use crate::packet_text;

impl Plane for Wire {
    fn mode(&self) -> &'static str {
        match self.routing {
            Some(_) => "gateway",
            None => "wire",
        }
    }

    fn routes(&self) -> Vec<RouteStatus> {
        let gateway = self.gateway();
        let table = self.publish.slot.load().ports().clone();
        gateway.map_or_else(Vec::new, |gateway| {
            routing::route_list(&gateway, |port| port_label(&table, port))
        })
    }

    fn neighbours(&self) -> Vec<NeighbourStatus> {
        let gateway = self.gateway();
        let table = self.publish.slot.load().ports().clone();
        gateway.map_or_else(Vec::new, |gateway| {
            routing::neighbour_list(&gateway, |port| port_label(&table, port))
        })
    }

    fn nat(&self) -> NatStatus {
        nat::status(self.translator.allocator(), SystemClock.monotonic_ns())
    }

    fn ports(&self) -> Vec<PortStatus> {
        let open = self.locked();
        open.iter()
            .map(|(id, port)| self.status(*id, port))
            .collect()
    }

    fn add_port(&self, port: &PortRequest) -> Result<PortStatus, PlaneError> {
        let mut open = self.locked();
        let name = port_name(port);
        if open.values().any(|other| other.name == name) {
            return Err(PlaneError::Exists(name));
        }
        if !port.peer.is_empty() && port.peer == name {
            return Err(PlaneError::Device(
                "a port cannot be its own peer".to_owned(),
            ));
        }
        let id = free_number(&open);
        let (entry, queues) = self.open(id, port.clone()).map_err(PlaneError::Device)?;
        open.insert(id, entry);
        self.publish_ports(&open);
        if let Err(error) = self.workers.add_port(PortId(id), queues) {
            open.remove(&id);
            self.publish_ports(&open);
            // The first error is the one to tell.
            let _ = self.opener.close(id);
            return Err(PlaneError::Device(error.to_string()));
        }
        open.get(&id)
            .map(|port| self.status(id, port))
            .ok_or(PlaneError::Unknown(name))
    }

    fn remove_port(&self, name: &str) -> Result<(), PlaneError> {
        let mut open = self.locked();
        let id = open
            .iter()
            .find(|(_, port)| port.name == name)
            .map(|(id, _)| *id);
        let id = id.ok_or_else(|| PlaneError::Unknown(name.to_owned()))?;
        let failed = |error: &dyn std::fmt::Display| PlaneError::Device(error.to_string());
        let queues = self
            .workers
            .remove_port(PortId(id))
            .map_err(|error| failed(&error))?;
        let gone = open.remove(&id);
        let addresses = gone.map_or_else(Vec::new, |port| port.addresses);
        self.publish_ports(&open);
        drop(queues);
        self.forget_neighbours(id);
        self.end_hidden_behind(&addresses);
        self.opener.close(id).map_err(|error| failed(&error))
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let metrics = self.workers.metrics();
        let status = |(metrics, cpu): (_, &Option<usize>)| {
            let metrics: &Arc<sluice_dataplane::worker::WorkerMetrics> = metrics;
            WorkerStatus {
                worker: u32::from(metrics.worker),
                cpu: cpu.map(|cpu| cpu as u32),
                busy_ns: metrics.busy_ns(),
                idle_ns: metrics.idle_ns(),
                batches: metrics.batches().iter().sum(),
                frames: metrics.frames(),
                restarts: metrics.panics(),
            }
        };
        metrics.iter().zip(&self.cpus).map(status).collect()
    }

    fn batch_sizes(&self) -> Vec<BatchSizes> {
        let metrics = self.workers.metrics();
        let sizes = metrics.iter();
        sizes
            .map(|one| BatchSizes {
                batches: one.batches(),
                frames: one.frames(),
            })
            .collect()
    }

    fn drops(&self) -> [u64; DropReason::COUNT] {
        let metrics = self.workers.metrics();
        std::array::from_fn(|number| {
            metrics
                .iter()
                .map(|worker| worker.drops(DropReason::ALL[number]))
                .sum()
        })
    }

    fn dropped_frames(&self) -> Vec<DroppedFrame> {
        let frames = self.workers.dropped_frames().unwrap_or_else(|error| {
            tracing::error!(%error, "the dropped frames cannot be had");
            Vec::new()
        });
        let wanted: HashSet<u32> = frames
            .iter()
            .map(|frame| frame.rule)
            .filter(|rule| *rule != NO_RULE)
            .collect();
        let names = self.policy.rule_names(Some(&wanted));
        let table = self.publish.slot.load().ports().clone();
        let frame = |frame: sluice_dataplane::worker::DroppedFrame| DroppedFrame {
            time_ns: frame.wall_ns,
            reason: frame.reason.name().to_owned(),
            port: port_label(&table, frame.in_port),
            rule: (frame.rule != NO_RULE).then(|| {
                let name = names.get(&frame.rule).cloned();
                name.unwrap_or_else(|| "a rule that is gone".to_owned())
            }),
            generation: frame.generation,
            length: frame.len,
            summary: packet_text::summary(&frame.bytes),
            bytes: Hex(frame.bytes),
        };
        frames.into_iter().map(frame).collect()
    }

    fn lost_events(&self) -> u64 {
        self.queues.iter().map(|queue| queue.dropped()).sum()
    }

    fn tracker(&self) -> Option<Arc<Tracker>> {
        Some(Arc::clone(&self.tracker))
    }

    fn halt(&self) {
        let open = self.locked();
        for id in open.keys() {
            if let Err(error) = self.workers.remove_port(PortId(*id)) {
                tracing::warn!(port = id, %error, "a port forwards to the very end");
            }
        }
    }

    fn save_flows(&self, synced: bool) -> Result<Saved, PlaneError> {
        flow_file::save(&self.tracker, &self.saved, synced)
            .map_err(|error| PlaneError::Device(error.to_string()))
    }
}
