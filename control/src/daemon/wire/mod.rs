//! The running wire: workers, the privileged opener and the ports between them.
//!
//! One lock orders everything that adds, removes or reopens a port. A port is first known to the
//! generation, then handed to the workers; on its way out the other way round. So no worker ever
//! holds a port that its generation does not know.

mod plane;
mod ports;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwap;
use sluice_config::engine::{Engine, Mode, Profile};
use sluice_dataplane::conntrack::{self, Tracker};
use sluice_dataplane::gateway::Gateway;
use sluice_dataplane::nat::Translator;
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::engines;
use sluice_dataplane::worker::event::EventQueue;
use sluice_dataplane::worker::generation::{Generation, PortTable};
use sluice_dataplane::worker::pipeline::Pipeline;
use sluice_dataplane::worker::{Clock, Settings, SystemClock, WorkerEvent, Workers};

use super::flow_file;
use super::port::OpenPort;
use super::publish::{History, Publish};
use super::routing::Routing;
use super::ruleset::EnginePolicy;
use crate::api::wire::Happening;
use crate::appliance::{self, Appliance};
use crate::events::Hub;
use crate::opener::{Opener, OpenerProcess};

/// Log and trace events that wait for control, per worker.
const EVENTS: usize = 4096;

/// What a wire has beyond the rule VM.
pub const WIRE_ENGINES: u32 = engines::TRACK | engines::SYNPROXY;
/// The same in a gateway: it routes and translates.
pub const GATEWAY_ENGINES: u32 = WIRE_ENGINES | engines::NAT | engines::ROUTES;

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

/// Takes the flow table's memory on a thread of the lowest priority: traffic passes before it is done, and
/// does not lose its processor to it.
fn take_memory(tracker: &Arc<Tracker>) -> io::Result<()> {
    let tracker = Arc::clone(tracker);
    let work = move || {
        // Of this thread, as Linux has it. At another priority it is merely less polite.
        let _polite = rustix::process::setpriority_process(None, 19);
        tracker.take_memory();
    };
    std::thread::Builder::new()
        .name("flow-memory".to_owned())
        .spawn(work)?;
    Ok(())
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
        take_memory(&tracker)?;
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
    pub(in crate::daemon) fn event_sources(&self) -> (Vec<Arc<EventQueue>>, History) {
        (self.queues.clone(), self.publish.history.clone())
    }

    /// What routes at the moment.
    fn gateway(&self) -> Option<Arc<Gateway>> {
        self.publish.slot.load().ports().gateway().cloned()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<u16, OpenPort>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port's name for a person, also when the port is gone meanwhile.
pub(in crate::daemon) fn port_label(table: &PortTable, id: PortId) -> String {
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
pub(in crate::daemon) fn runs(wire: &Weak<Wire>) -> bool {
    wire.strong_count() > 0
}
