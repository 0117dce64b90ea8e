//! The running wire: workers, the privileged opener and the ports between them.
//!
//! One lock orders everything that adds, removes or reopens a port. A port is first known to the
//! generation, then handed to the workers; on its way out the other way round. So no worker ever
//! holds a port that its generation does not know.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use sluice_config::engine::{Engine, Mode, PortProfile, Profile, Publisher};
use sluice_dataplane::DropReason;
use sluice_dataplane::conntrack::{self, Tracker};
use sluice_dataplane::gateway::Gateway;
use sluice_dataplane::nat::Translator;
use sluice_dataplane::port::af_packet::Geometry;
use sluice_dataplane::port::{PortId, Queue};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::{engines, name_words};
use sluice_dataplane::worker::event::EventQueue;
use sluice_dataplane::worker::generation::{Generation, PortInfo, PortTable};
use sluice_dataplane::worker::pipeline::Pipeline;
use sluice_dataplane::worker::{Clock, NO_RULE, Settings, SystemClock, WorkerEvent, Workers};

use super::flow_file;
use super::plane::{BatchSizes, Plane, PlaneError};
use super::port::{OpenPort, peer_of, port_name, prefixes, spec};
use super::publish::{History, Publish};
use super::routing::{self, OpenedPort, Routing};
use super::ruleset::EnginePolicy;
use crate::api::flow::Saved;
use crate::api::nat::{self, NatStatus};
use crate::api::wire::{
    DroppedFrame, Happening, Hex, NeighbourStatus, PortRequest, PortStatus, QueueStatus,
    RouteStatus, WorkerStatus,
};
use crate::appliance::{self, Appliance};
use crate::events::Hub;
use crate::opener::{LinkChange, LinkEvent, Opener, OpenerProcess, Request};
use crate::packet_text;

/// Log and trace events that wait for control, per worker.
const EVENTS: usize = 4096;

/// What a wire has beyond the rule VM.
pub const WIRE_ENGINES: u32 = engines::TRACK;
/// The same in a gateway: it routes and translates.
pub const GATEWAY_ENGINES: u32 = engines::TRACK | engines::NAT | engines::ROUTES;

/// ARPHRD_ETHER: the only kind of device that the opener takes.
const ETHERNET: u16 = 1;

/// Ports and workers of a wire.
pub struct Wire {
    // Dropped in this order: the workers let go of their queues before the devices are undone.
    workers: Arc<Workers>,
    opener: Opener,
    policy: Arc<EnginePolicy>,
    ports: Mutex<BTreeMap<u16, OpenPort>>,
    cpus: Vec<Option<usize>>,
    publish: Publish,
    queues: Vec<Arc<EventQueue>>,
    tracker: Arc<Tracker>,
    translator: Arc<Translator>,
    saved: PathBuf,
    hub: Hub,
    /// What routes between the ports; none on a wire.
    routing: Option<Routing>,
}

/// The CPU of each worker: as named, or the first ones that this process may run on.
///
/// # Errors
/// When the system does not say where the process may run.
pub fn worker_cpus(dataplane: &appliance::Dataplane) -> io::Result<Vec<Option<usize>>> {
    if !dataplane.cpus.is_empty() {
        return Ok(dataplane.cpus.iter().copied().map(Some).collect());
    }
    let allowed = rustix::thread::sched_getaffinity(None)?;
    let mut cpus: Vec<Option<usize>> = (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|cpu| allowed.is_set(*cpu))
        .map(Some)
        .collect();
    if let Some(workers) = dataplane.workers {
        // More workers than CPUs: the rest runs wherever the system puts it.
        cpus.resize(workers, None);
    }
    Ok(cpus)
}

impl Wire {
    /// Starts the workers and listens to the opener; no port is open yet and nothing passes.
    ///
    /// # Errors
    /// When a thread or a descriptor cannot be had.
    pub fn start(
        appliance: &Appliance,
        opener: OpenerProcess,
        routing: Option<Routing>,
        hub: &Hub,
    ) -> io::Result<Arc<Self>> {
        let dataplane = &appliance.dataplane;
        let cpus = worker_cpus(dataplane)?;
        let settings = conntrack::Settings {
            // Until somebody follows them.
            events: false,
            ..appliance.conntrack.clone()
        };
        let tracker = Tracker::new(settings, cpus.len(), rand::random())?;
        let saved = flow_file::path(&appliance.ruleset.state);
        let translator = Translator::new(&tracker);
        let hold = appliance.gateway.hold_unsolicited_syns;
        translator.unsolicited().set(hold);
        flow_file::restore(&tracker, &saved);
        translator.adopt(&tracker, SystemClock.monotonic_ns(), SystemClock.wall_ns());
        let queues: Vec<_> = cpus
            .iter()
            .map(|_| Arc::new(EventQueue::new(EVENTS)))
            .collect();
        let closed = Generation::open(0, Arc::default(), cpus.len());
        let slot = Arc::new(ArcSwap::from_pointee(closed));
        let clock = Arc::new(SystemClock);
        let settings = Settings {
            cpus: cpus.clone(),
            wait: wait(dataplane.wait),
        };
        let (pipeline_queues, teller) = (queues.clone(), hub.clone());
        let pipeline_tracker = Arc::clone(&tracker);
        let pipeline_translator = Arc::clone(&translator);
        let workers = Arc::new(Workers::start(
            &settings,
            move |worker| {
                let queue = &pipeline_queues[usize::from(worker)];
                Pipeline::new(rand::random(), Arc::clone(queue))
                    .tracking(pipeline_tracker.worker(worker))
                    .translating(Arc::clone(&pipeline_translator))
            },
            Arc::clone(&slot),
            clock.clone(),
            Arc::new(move |event| tell(&teller, event)),
        )?);
        let publish = Publish {
            slot,
            history: History::default(),
            workers: Arc::downgrade(&workers),
            left: Arc::default(),
            tracker: Arc::clone(&tracker),
        };
        let profile = Profile {
            mode: mode_of(&routing),
            ports: Vec::new(),
        };
        let counters = Arc::new(Counters::new(cpus.len()));
        let mut engine = Engine::new(profile, counters, clock, Box::new(publish.clone()));
        engine.set_engines(match routing {
            Some(_) => GATEWAY_ENGINES,
            None => WIRE_ENGINES,
        });
        let policy = Arc::new(EnginePolicy::new(engine));
        let (sender, heard) = std::sync::mpsc::channel();
        let opener = opener.connect(move |event| {
            // Nobody listens any more: the daemon ends.
            let _ = sender.send(event);
        })?;
        let wire = Arc::new(Self {
            workers,
            opener,
            policy,
            ports: Mutex::default(),
            cpus,
            publish,
            queues,
            tracker,
            translator,
            saved,
            hub: hub.clone(),
            routing,
        });
        let weak = Arc::downgrade(&wire);
        std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || {
                while let (Ok(event), Some(wire)) = (heard.recv(), weak.upgrade()) {
                    wire.link_changed(event);
                }
            })?;
        Ok(wire)
    }

    /// The ruleset that this wire runs.
    pub fn policy(&self) -> &Arc<EnginePolicy> {
        &self.policy
    }

    /// Where packets' events wait, and what they mean.
    pub(super) fn event_sources(&self) -> (Vec<Arc<EventQueue>>, History) {
        (self.queues.clone(), self.publish.history.clone())
    }

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

    fn open(&self, id: u16, spec: PortRequest) -> Result<(OpenPort, Vec<Queue>), String> {
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

    /// What routes at the moment.
    fn gateway(&self) -> Option<Arc<Gateway>> {
        self.publish.slot.load().ports().gateway().cloned()
    }

    /// Publishes the rules in force over these ports.
    fn publish_ports(&self, open: &BTreeMap<u16, OpenPort>) {
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

    fn link_changed(&self, event: LinkEvent) {
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

    fn forget_neighbours(&self, id: u16) {
        if let Some(routing) = &self.routing {
            routing.forget(PortId(id));
        }
    }

    fn status(&self, id: u16, port: &OpenPort) -> PortStatus {
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

    fn locked(&self) -> MutexGuard<'_, BTreeMap<u16, OpenPort>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wire {
    /// Ends the flows whose source is translated to an address that is gone: their answers cannot come.
    fn end_hidden_behind(&self, addresses: &[(IpAddr, u8)]) {
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

    fn save_flows(&self) -> Result<Saved, PlaneError> {
        flow_file::save(&self.tracker, &self.saved)
            .map_err(|error| PlaneError::Device(error.to_string()))
    }
}

/// A port's name for a person, also when the port is gone meanwhile.
pub(super) fn port_label(table: &PortTable, id: PortId) -> String {
    match table.get(id) {
        Some(info) => info.name.clone(),
        None if id == PortId::NONE => String::new(),
        None => format!("port {}", id.0),
    }
}

fn mode_of(routing: &Option<Routing>) -> Mode {
    match routing {
        Some(_) => Mode::Gateway,
        None => Mode::Wire,
    }
}

/// The lowest number that no port has. Numbers are given again, so a removed port's counters
/// and generations are gone before its number returns (the lock orders that).
fn free_number(open: &BTreeMap<u16, OpenPort>) -> u16 {
    (0..PortId::NONE.0)
        .find(|id| !open.contains_key(id))
        .unwrap_or(PortId::NONE.0)
}

fn wait(wait: appliance::Wait) -> sluice_dataplane::worker::Wait {
    use sluice_dataplane::worker::Wait;
    match wait {
        appliance::Wait::Adaptive => Wait::Adaptive,
        appliance::Wait::Poll => Wait::Poll,
        appliance::Wait::Busy => Wait::Busy,
    }
}

fn tell(hub: &Hub, event: WorkerEvent) {
    match event {
        WorkerEvent::Panicked {
            worker,
            message,
            lost,
        } => {
            tracing::error!(
                worker,
                lost,
                message,
                "a worker failed and was started again"
            );
            let message = format!("{message} ({lost} frames lost)");
            hub.say(Happening::WorkerRestart {
                worker: u32::from(worker),
                message,
            });
        }
        WorkerEvent::NotPinned { worker, cpu } => {
            tracing::warn!(worker, cpu, "the worker could not be bound to its CPU");
        }
    }
}

/// Whether the wire behind a weak reference still runs.
pub(super) fn runs(wire: &Weak<Wire>) -> bool {
    wire.strong_count() > 0
}
