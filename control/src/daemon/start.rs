//! From an appliance file to a running daemon, and its end.
//!
//! The order matters: the privileged part is split off while the process has one thread, sockets
//! are bound before privileges go, the ruleset is in force before the first port opens, and
//! readiness is said last.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use sluice_config::engine::Engine;
use sluice_dataplane::DropReason;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::plane::{Plane, PlaneError, Workbench};
use super::policy::{Policy, Refused};
use super::routing::{self, HostRequests, Routing, metrics_at_port};
use super::ruleset::EnginePolicy;
use super::wire::Wire;
use super::{flow_events, packets, persist, privileges, serve, watch as files};
use crate::api::wire::{Happening, IpsetCommand};
use crate::api::{self, Shared};
use crate::appliance::{Appliance, FileErrors, Mode};
use crate::client::bundle;
use crate::events::Hub;
use crate::events::sink::Sinks;
use crate::metrics;
use crate::opener::OpenerProcess;
use crate::rights::{Rights, UnknownName};

/// How often frames dropped since are said as an event, and expired set elements swept.
const CHORES_EVERY: Duration = Duration::from_secs(1);

/// Threads for control connections: their work is short, what blocks runs beside them.
const REACTORS: usize = 2;

/// Why the daemon did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The appliance file cannot be read.
    #[error("sluice: cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The appliance file is wrong.
    #[error(transparent)]
    File(#[from] FileErrors),
    /// The control socket.
    #[error("sluice: {0}")]
    Listen(#[from] serve::ListenError),
    /// The metrics listener.
    #[error("sluice: metrics.listen: {address}: {source}")]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// A user or group of `[control]`.
    #[error("sluice: {0}")]
    Rights(#[from] UnknownName),
    /// The user of `[daemon]`.
    #[error("sluice: {0}")]
    Privileges(#[from] privileges::PrivilegeError),
    /// A ruleset file: what nft would print.
    #[error("sluice: the ruleset was refused:\n{0}")]
    Ruleset(String),
    /// A file of a set that is required.
    #[error("sluice: set-source: {0}")]
    SetSource(String),
    /// A port.
    #[error("sluice: port {name}: {source}")]
    Port {
        /// Its name.
        name: String,
        /// Why it did not open.
        source: PlaneError,
    },
    /// Anything of the system.
    #[error("sluice: {0}")]
    Io(#[from] io::Error),
}

/// What is bound and opened before privileges go.
pub struct Opened {
    /// The control socket.
    pub control: UnixListener,
    /// The metrics listener.
    pub metrics: Option<TcpListener>,
    /// Where log statements go.
    pub sinks: Option<Sinks>,
    /// Who may do what.
    pub rights: Rights,
    /// What the gateway's own host is asked.
    pub host: Option<HostRequests>,
}

impl Opened {
    /// Binds and opens what the appliance file names. The process must have one thread.
    ///
    /// # Errors
    /// When something is taken, missing or refused.
    pub fn open(appliance: &Appliance) -> Result<Self, StartError> {
        let rights = Rights::resolve(&appliance.control)?;
        let sinks = Sinks::open(&appliance.log)?;
        let metrics = match &appliance.metrics {
            None => None,
            // The gateway's own host listens there, no socket of this kernel.
            Some(_) if metrics_at_port(appliance).is_some() => None,
            Some(metrics) => {
                let address = metrics.listen;
                let failed = |source| StartError::Metrics { address, source };
                Some(TcpListener::bind(address).map_err(failed)?)
            }
        };
        let control = serve::bind(&appliance.control)?;
        Ok(Self {
            control,
            metrics,
            sinks,
            rights,
            host: None,
        })
    }
}

/// Puts the ruleset of the appliance file in force: the kept one if there is one, else its files.
///
/// # Errors
/// When a file cannot be read or is refused.
pub fn load_ruleset(appliance: &Appliance, policy: &dyn Policy) -> Result<(), StartError> {
    let kept = persist::file(&appliance.ruleset.state);
    let kept_sets = persist::ipset_file(&appliance.ruleset.state);
    if appliance.ruleset.persist && kept_sets.exists() {
        load_sets(&kept_sets, policy)?;
    } else {
        for file in &appliance.ruleset.ipsets {
            load_sets(file, policy)?;
        }
    }
    let files = if appliance.ruleset.persist && kept.exists() {
        vec![kept]
    } else {
        appliance.ruleset.files.clone()
    };
    for file in files {
        let name = file.display().to_string();
        let command = bundle::file(&name, bundle::Surroundings::default());
        let done = policy
            .run(command, None, true)
            .map_err(|refused| match refused {
                Refused::Text { rendered, .. } => StartError::Ruleset(rendered),
                other => StartError::Ruleset(format!("{other:?}")),
            })?;
        for warning in done.answer.warnings {
            tracing::warn!(file = name, "{}", warning.trim_end());
        }
        tracing::info!(
            file = name,
            generation = done.answer.generation,
            "ruleset in force"
        );
    }
    Ok(())
}

/// Restores sets of ipset: rules may use them.
fn load_sets(file: &Path, policy: &dyn Policy) -> Result<(), StartError> {
    let refused = |text: String| StartError::Ruleset(format!("{}: {text}", file.display()));
    let input = std::fs::read_to_string(file).map_err(|error| refused(error.to_string()))?;
    let restore = IpsetCommand {
        words: vec!["restore".to_owned()],
        input: Some(input),
        ..IpsetCommand::default()
    };
    match policy.ipset(restore, true) {
        Ok(answer) if answer.code == 0 => Ok(()),
        Ok(answer) => Err(refused(answer.errors)),
        Err(other) => Err(refused(format!("{other:?}"))),
    }
}

/// Runs a daemon made of these parts until `stop` says so (a signal, or the caller of a test).
///
/// # Errors
/// When a listener fails.
pub async fn run_until(
    appliance: &Appliance,
    opened: Opened,
    policy: Arc<dyn Policy>,
    plane: Arc<dyn Plane>,
    hub: Hub,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let (stopper, stopping) = watch::channel(false);
    let saved = Arc::clone(&plane);
    let shared: Shared = Arc::new(api::State {
        policy,
        plane,
        hub: hub.clone(),
        rights: opened.rights,
        started: Instant::now(),
        stopping: stopping.clone(),
    });
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(sinks) = opened.sinks {
        tokio::spawn(sinks.run(hub.follow()));
    }
    if appliance.ruleset.persist {
        let path = persist::file(&appliance.ruleset.state);
        let (shared, stopping) = (shared.clone(), stopping.clone());
        tasks.spawn(async move {
            persist::keep(shared, path, stopping).await;
            Ok(())
        });
    }
    if let Some(requests) = opened.host {
        routing::answer(requests, Arc::downgrade(&shared))?;
    }
    if let Some(listener) = opened.metrics {
        tasks.spawn(metrics::listener::serve(
            shared.clone(),
            listener,
            stopping.clone(),
        ));
    }
    tokio::spawn(every_second(shared.clone()));
    tokio::spawn(files::follow(shared.clone(), stopping.clone()));
    tasks.spawn(serve::serve(shared, opened.control, stopping));
    notify(&[NotifyState::Ready]);
    tracing::info!(socket = %appliance.control.socket.display(), "ready");
    let mut result = Ok(());
    tokio::select! {
        () = stop => {}
        // A listener that ends by itself ends the daemon: it would be deaf.
        Some(ended) = tasks.join_next() => {
            result = ended.map_err(io::Error::other).and_then(|ended| ended);
        }
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping");
    stopper.send_replace(true);
    while let Some(ended) = tasks.join_next().await {
        result = result.and(ended.map_err(io::Error::other).and_then(|ended| ended));
    }
    // A failure of the thread is in the log already.
    let _ = tokio::task::spawn_blocking(move || save_flows(&*saved)).await;
    serve::unbind(&appliance.control.socket);
    Ok(result?)
}

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be heard.
pub fn signalled() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn notify(state: &[NotifyState]) {
    // Without NOTIFY_SOCKET this does nothing; a service manager that is gone changes nothing.
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

async fn every_second(shared: Shared) {
    let mut before = shared.plane.drops();
    let mut ticks = tokio::time::interval(CHORES_EVERY);
    loop {
        ticks.tick().await;
        let swept = shared.clone();
        // What it found is not told; when the daemon ends, it need not end.
        let _ = tokio::task::spawn_blocking(move || swept.policy.sweep()).await;
        let now = shared.plane.drops();
        let reasons: std::collections::BTreeMap<String, u64> = DropReason::ALL
            .iter()
            .zip(now.iter().zip(before))
            .filter(|(_, (now, before))| *now > before)
            .map(|(reason, (now, before))| (reason.name().to_owned(), now - before))
            .collect();
        before = now;
        if !reasons.is_empty() {
            shared.hub.say(Happening::Drops { reasons });
        }
    }
}

/// `sluice run`: reads the appliance file and runs it until a signal.
///
/// # Errors
/// When it cannot start.
pub fn run(path: &Path) -> Result<(), StartError> {
    let read = |source| StartError::Read {
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(read)?;
    let appliance = Appliance::read(&path.display().to_string(), &text)?;
    // First of all, while there is one thread.
    let opener = if appliance.is_workbench() {
        None
    } else {
        Some(OpenerProcess::fork()?)
    };
    let mut opened = Opened::open(&appliance)?;
    if let Some(user) = &appliance.daemon.user {
        privileges::become_user(user)?;
    }
    let hub = Hub::default();
    let (policy, plane) = match opener {
        None => workbench(&appliance, &hub)?,
        Some(opener) => {
            let routing = match appliance.dataplane.mode {
                Some(Mode::Gateway) => {
                    let (routing, requests) = Routing::new(&appliance);
                    opened.host = requests;
                    Some(routing)
                }
                Some(Mode::Wire) | None => None,
            };
            wire(&appliance, opener, routing, &hub)?
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(REACTORS)
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let stop = signalled()?;
        run_until(&appliance, opened, policy, plane, hub, stop).await
    });
    // What is left of connections goes with the runtime, and with the last of them ports and
    // workers: the devices are given back before the process ends.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

fn follow_files(appliance: &Appliance, policy: &EnginePolicy, hub: &Hub) -> Result<(), StartError> {
    policy
        .follow_files(&appliance.set_sources, hub)
        .map_err(StartError::SetSource)
}

/// Keeps the tracked connections for the next start. Nothing is forwarded any more meanwhile: what is
/// saved is what the last packet left.
fn save_flows(plane: &dyn Plane) {
    plane.halt();
    if plane.tracker().is_some_and(|tracker| tracker.count() == 0) {
        return;
    }
    match plane.save_flows(false) {
        Ok(saved) => tracing::info!(file = saved.file, flows = saved.flows, "flows saved"),
        Err(PlaneError::Workbench) => {}
        Err(error) => tracing::error!(%error, "the flows are not saved"),
    }
}

type Parts = (Arc<dyn Policy>, Arc<dyn Plane>);

fn workbench(appliance: &Appliance, hub: &Hub) -> Result<Parts, StartError> {
    let policy = EnginePolicy::new(Engine::workbench());
    load_ruleset(appliance, &policy)?;
    follow_files(appliance, &policy, hub)?;
    Ok((Arc::new(policy), Arc::new(Workbench)))
}

fn wire(
    appliance: &Appliance,
    opener: OpenerProcess,
    routing: Option<Routing>,
    hub: &Hub,
) -> Result<Parts, StartError> {
    let wire = Wire::start(appliance, opener, routing, hub)?;
    load_ruleset(appliance, &**wire.policy())?;
    follow_files(appliance, wire.policy(), hub)?;
    packets::carry(&wire, hub.clone())?;
    flow_events::carry(&wire, hub.clone())?;
    wire.open_all(&appliance.ports)
        .map_err(|(name, source)| StartError::Port { name, source })?;
    Ok((wire.policy().clone(), wire))
}
