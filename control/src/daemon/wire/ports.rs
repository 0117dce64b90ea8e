//! The ports of a running wire or gateway: opening, publishing, taking back what has gone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sluice_config::engine::{PortProfile, Profile, Publisher};
use sluice_dataplane::conntrack;
use sluice_dataplane::gateway::Gateway;
use sluice_dataplane::port::af_packet::Geometry;
use sluice_dataplane::port::{PortId, Queue};
use sluice_dataplane::program::name_words;
use sluice_dataplane::worker::generation::{Generation, PortInfo, PortTable};
use sluice_dataplane::worker::{Clock, SystemClock};

use super::{ETHERNET, Wire, mode_of};
use crate::api::wire::{Happening, PortRequest, PortStatus, QueueStatus};
use crate::appliance;
use crate::daemon::plane::PlaneError;
use crate::daemon::port::{OpenPort, peer_of, port_name, prefixes, spec};
use crate::daemon::routing::OpenedPort;
use crate::opener::{LinkChange, LinkEvent, Request};

impl Wire {
    /// Opens all ports of the appliance file; frames pass when this returns.
    ///
    /// # Errors
    /// The first port that does not open, with its name.
    pub fn open_all(&self, ports: &[appliance::Port]) -> Result<(), (String, PlaneError)> {
        let mut open = self.locked();
        let mut ready = Vec::new();
        for port in ports {
            let id = free_number(&open);
            let (entry, queues) = self
                .open(id, spec(port))
                .map_err(|error| (port.name.clone(), PlaneError::Device(error)))?;
            open.insert(id, entry);
            ready.push((id, queues));
        }
        self.publish_ports(&open);
        for (id, queues) in ready {
            let name = || {
                open.get(&id)
                    .map(|port| port.name.clone())
                    .unwrap_or_default()
            };
            self.workers
                .add_port(PortId(id), queues)
                .map_err(|error| (name(), PlaneError::Device(error.to_string())))?;
        }
        Ok(())
    }

    pub(super) fn open(
        &self,
        id: u16,
        spec: PortRequest,
    ) -> Result<(OpenPort, Vec<Queue>), String> {
        let request = Request {
            port: id,
            device: spec.device.clone(),
            queues: self.workers.count(),
            slots: Geometry::default().slots,
            prepare: spec.prepare,
            driver: spec.driver,
        };
        let addresses = prefixes(&spec.addresses)?;
        let proxy = prefixes(&spec.proxy)?;
        self.check_mode(&spec)?;
        let opened = self
            .opener
            .open(&request)
            .map_err(|error| error.to_string())?;
        let name = port_name(&spec);
        let entry = OpenPort {
            spec,
            name,
            index: opened.index,
            kind: opened.kind,
            mac: opened.mac,
            link: opened.link,
            addresses,
            proxy,
        };
        Ok((entry, opened.queues))
    }

    /// A wire's port has a peer, a gateway's has none.
    fn check_mode(&self, spec: &PortRequest) -> Result<(), String> {
        let routed = self.routing.is_some();
        let wrong = if routed && (!spec.peer.is_empty() || spec.bridge.is_some()) {
            "a port of a gateway has no peer"
        } else if !routed && spec.peer.is_empty() {
            "on a wire each port names the port where its frames go (peer)"
        } else if !routed && (!spec.addresses.is_empty() || !spec.proxy.is_empty()) {
            "a port of a wire has no addresses"
        } else {
            return Ok(());
        };
        Err(wrong.to_owned())
    }

    /// What routes between these ports.
    fn plan(&self, open: &BTreeMap<u16, OpenPort>) -> Option<Arc<Gateway>> {
        let ports = open.iter().map(|(id, port)| OpenedPort {
            id: PortId(*id),
            name: &port.name,
            mac: port.mac,
            link: &port.link,
            addresses: &port.addresses,
            proxy: &port.proxy,
            driver: port.spec.driver,
        });
        let ports: Vec<_> = ports.collect();
        Some(self.routing.as_ref()?.plan(&ports))
    }

    /// Publishes the rules in force over these ports.
    pub(super) fn publish_ports(&self, open: &BTreeMap<u16, OpenPort>) {
        let number = |name: &str| {
            open.iter()
                .find(|(_, port)| port.name == name)
                .map(|(id, _)| *id)
        };
        let mut table = PortTable::default();
        let mut profile = Profile {
            mode: mode_of(&self.routing),
            ports: Vec::new(),
        };
        for (id, port) in open {
            let mut info = PortInfo::new(&port.name, port.index, &port.kind);
            info.group = port.spec.group;
            info.mac = port.mac;
            info.peer = number(&port.spec.peer).map(PortId);
            if let Some(bridge) = &port.spec.bridge {
                info.bridge = name_words(bridge);
            }
            table.set(PortId(*id), Some(info));
            profile.ports.push(PortProfile {
                name: port.name.clone(),
                index: port.index,
                group: port.spec.group,
                kind: ETHERNET,
                peer: peer_of(&port.spec),
                bridge: port.spec.bridge.clone(),
            });
        }
        table.set_gateway(self.plan(open));
        if let Some(routing) = &self.routing {
            let own = open.values().flat_map(|port| &port.addresses);
            let own: Vec<_> = own.map(|(address, _)| *address).collect();
            self.translator.reserve(&routing.listening(&own));
        }
        let table = Arc::new(table);
        if !self.policy.set_ports(profile, Arc::clone(&table)) {
            // No ruleset was ever committed: as in the kernel, everything passes.
            let open = Generation::open(0, table, self.workers.count());
            self.publish.clone().publish(Arc::new(open));
        }
    }

    pub(super) fn link_changed(&self, event: LinkEvent) {
        let name = self.locked().get(&event.port).map(|port| port.name.clone());
        let Some(name) = name else { return };
        let state = match event.change {
            LinkChange::State { up: true, .. } => "up",
            LinkChange::State { up: false, .. } => "down",
            LinkChange::Gone => "gone",
            LinkChange::Back => "back",
        };
        tracing::info!(port = name, state, "link");
        self.hub.say(Happening::Link {
            name: name.clone(),
            state: state.to_owned(),
        });
        if event.change == LinkChange::Back
            && let Err(error) = self.reopen(event.port)
        {
            tracing::error!(port = name, %error, "the port's device is back but does not open");
        }
    }

    /// Takes a port's new device in the place of the one that is gone.
    fn reopen(&self, id: u16) -> Result<(), PlaneError> {
        let failed = |error: &dyn std::fmt::Display| PlaneError::Device(error.to_string());
        let mut open = self.locked();
        let Some(port) = open.get(&id) else {
            return Ok(());
        };
        let spec = port.spec.clone();
        drop(
            self.workers
                .remove_port(PortId(id))
                .map_err(|error| failed(&error))?,
        );
        self.opener.close(id).map_err(|error| failed(&error))?;
        self.forget_neighbours(id);
        let (entry, queues) = self.open(id, spec).map_err(PlaneError::Device)?;
        open.insert(id, entry);
        self.publish_ports(&open);
        self.workers
            .add_port(PortId(id), queues)
            .map_err(|error| failed(&error))
    }

    pub(super) fn forget_neighbours(&self, id: u16) {
        if let Some(routing) = &self.routing {
            routing.forget(PortId(id));
        }
    }

    pub(super) fn status(&self, id: u16, port: &OpenPort) -> PortStatus {
        let queues = self.workers.queue_metrics();
        PortStatus {
            name: port.name.clone(),
            device: port.spec.device.clone(),
            driver: port.spec.driver.word().to_owned(),
            index: port.index,
            peer: peer_of(&port.spec),
            addresses: port.spec.addresses.clone(),
            group: port.spec.group,
            queues: queues
                .iter()
                .filter(|queue| queue.port == PortId(id))
                .map(|queue| {
                    let (rx, tx) = (queue.rx(), queue.tx());
                    QueueStatus {
                        rx_frames: rx.frames,
                        rx_bytes: rx.bytes,
                        rx_ring_drops: rx.ring_drops,
                        rx_errors: rx.errors,
                        tx_frames: tx.frames,
                        tx_bytes: tx.bytes,
                        tx_retries: tx.retries,
                        tx_refused: tx.refused,
                    }
                })
                .collect(),
        }
    }

    /// Ends the flows whose source is translated to an address that is gone: their answers cannot come.
    pub(super) fn end_hidden_behind(&self, addresses: &[(IpAddr, u8)]) {
        let wall_ns = SystemClock.wall_ns();
        for (address, _) in addresses {
            let filter = conntrack::Filter {
                status_set: conntrack::status::SRC_NAT,
                reply: conntrack::TupleFilter {
                    destination: Some((*address, 128)),
                    ..conntrack::TupleFilter::default()
                },
                ..conntrack::Filter::default()
            };
            self.tracker.delete_matching(&filter, wall_ns);
        }
    }
}

/// The lowest number that no port has. Numbers are given again, so a removed port's counters
/// and generations are gone before its number returns (the lock orders that).
pub(super) fn free_number(open: &BTreeMap<u16, OpenPort>) -> u16 {
    (0..PortId::NONE.0)
        .find(|id| !open.contains_key(id))
        .unwrap_or(PortId::NONE.0)
}
