//! Who takes part: each between the devices `a` and `b` of a bed, on its CPU.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use sluice_control::opener::{Opener, OpenerProcess, Request};
use sluice_dataplane::packet::Burst;
use sluice_dataplane::port::PortId;
use sluice_dataplane::port::af_packet::{Geometry, open_queues};
use sluice_dataplane::worker::{
    Context, Disposition, Fate, Settings, Stages, SystemClock, Wait, Workers,
};

use super::bare;
use super::bed::{Bed, CONTESTANT_CPU, GENERATOR_CPU, pin};
use super::openvswitch::{self, Policy, Switch};
use super::process::Process;
use super::routed;

/// A kind of contestant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// The kernel's bridge.
    Bridge,
    /// The bare forwarder with the driver's socket options.
    Bare,
    /// DPDK testpmd on its af_packet driver.
    Testpmd,
    /// Ports and worker loop of sluice, without a pipeline.
    Loop,
    /// The daemon with an empty ruleset.
    Rules0,
    /// The daemon with 100 stateless rules that do not match.
    Rules100,
    /// The daemon with an empty ruleset and a worker on each core.
    EachCore,
    /// The daemon with a stateless policy of `inet`.
    Stateless,
    /// The daemon with a stateful policy of `inet`.
    Stateful,
    /// The kernel's bridge with the stateless policy.
    BridgeStateless,
    /// The kernel's bridge with the stateful policy.
    BridgeStateful,
    /// The daemon as a gateway without rules.
    Gateway,
    /// The daemon as a gateway that masquerades.
    GatewayNat,
    /// The kernel as a router.
    Router,
    /// The kernel as a router that masquerades.
    RouterNat,
    /// Open vSwitch from port to port.
    Ovs,
    /// Open vSwitch with a stateful policy.
    OvsCt,
    /// Open vSwitch as a router that masquerades.
    OvsNat,
}

/// Time that a contestant has until it forwards: much, where others use the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A policy by ports, and one by connections.
const STATELESS: &str = "udp dport 7 accept; meta l4proto icmp accept;";
const TRACKING: &str =
    "ct state invalid drop; ct state established,related accept; ct state new accept;";

fn policy(rules: &str) -> String {
    let hook = "type filter hook forward priority 0; policy drop;";
    format!("table inet bench {{\n  chain forward {{ {hook} {rules} }}\n}}\n")
}

impl Kind {
    pub(super) const ALL: [Kind; 7] = [
        Self::Bridge,
        Self::Bare,
        Self::Testpmd,
        Self::Ovs,
        Self::Loop,
        Self::Rules0,
        Self::Rules100,
    ];

    /// Those of the suite about TCP, where the hosts leave no core to a single worker.
    pub(super) const TCP: [Kind; 5] = [
        Self::Bridge,
        Self::Loop,
        Self::Rules0,
        Self::Rules100,
        Self::EachCore,
    ];

    /// Those of the suite about tracking.
    pub(super) const TRACKING: [Kind; 7] = [
        Self::Bare,
        Self::Stateless,
        Self::Stateful,
        Self::BridgeStateless,
        Self::BridgeStateful,
        Self::Ovs,
        Self::OvsCt,
    ];

    /// Those of the suite about translation.
    pub(super) const NAT: [Kind; 7] = [
        Self::Bare,
        Self::Gateway,
        Self::GatewayNat,
        Self::Router,
        Self::RouterNat,
        Self::Ovs,
        Self::OvsNat,
    ];

    /// The same one without tracking or translation: what it is held against.
    pub(super) fn plain(self) -> Option<Kind> {
        match self {
            Kind::Stateful => Some(Kind::Stateless),
            Kind::BridgeStateful => Some(Kind::BridgeStateless),
            Kind::GatewayNat => Some(Kind::Gateway),
            Kind::RouterNat => Some(Kind::Router),
            Kind::OvsCt | Kind::OvsNat => Some(Kind::Ovs),
            _ => None,
        }
    }

    /// Whether it stands between two networks.
    pub(super) fn is_routed(self) -> bool {
        matches!(
            self,
            Kind::Gateway | Kind::GatewayNat | Kind::Router | Kind::RouterNat | Kind::OvsNat
        )
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Bridge => "kernel bridge",
            Kind::Bare => "bare AF_PACKET forwarder",
            Kind::Testpmd => "DPDK testpmd, af_packet",
            Kind::Loop => "sluice, worker loop only",
            Kind::Rules0 => "sluice, no rules",
            Kind::Rules100 => "sluice, 100 rules",
            Kind::EachCore => "sluice, no rules, each core",
            Kind::Stateless => "sluice, stateless policy",
            Kind::Stateful => "sluice, stateful policy",
            Kind::BridgeStateless => "kernel bridge, stateless policy",
            Kind::BridgeStateful => "kernel bridge, stateful policy",
            Kind::Gateway => "sluice, gateway",
            Kind::GatewayNat => "sluice, gateway, masquerade",
            Kind::Router => "kernel router",
            Kind::RouterNat => "kernel router, masquerade",
            Kind::Ovs => "Open vSwitch, port to port",
            Kind::OvsCt => "Open vSwitch, ct",
            Kind::OvsNat => "Open vSwitch, ct and NAT",
        }
    }

    pub(super) fn is_sluice(self) -> bool {
        matches!(
            self,
            Kind::Loop | Kind::Rules0 | Kind::Rules100 | Kind::EachCore
        )
    }

    /// The others know no partial checksums: TCP between default devices does not work.
    pub(super) fn carries_tcp(self) -> bool {
        !matches!(
            self,
            Kind::Bare | Kind::Testpmd | Kind::Ovs | Kind::OvsCt | Kind::OvsNat
        )
    }

    /// Why it cannot take part on this machine.
    pub(super) fn missing(self) -> Option<String> {
        match self {
            Kind::Testpmd => Command::new("dpdk-testpmd")
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .err()
                .map(|error| format!("dpdk-testpmd (Debian: dpdk-dev): {error}")),
            Kind::Rules0
            | Kind::Rules100
            | Kind::EachCore
            | Kind::Stateless
            | Kind::Stateful
            | Kind::Gateway
            | Kind::GatewayNat => {
                let path = executable();
                let reason = format!("{} is not there: cargo build --release", path.display());
                (!path.exists()).then_some(reason)
            }
            Kind::BridgeStateless | Kind::BridgeStateful | Kind::RouterNat => Command::new("nft")
                .arg("--version")
                .stdout(Stdio::null())
                .status()
                .err()
                .map(|error| format!("nft: {error}")),
            Kind::Ovs | Kind::OvsCt | Kind::OvsNat => openvswitch::missing(),
            Kind::Bridge | Kind::Bare | Kind::Loop | Kind::Router => None,
        }
    }
}

/// The daemon beside this executable.
fn executable() -> PathBuf {
    std::env::current_exe()
        .unwrap_or_default()
        .with_file_name("sluice")
}

/// A contestant at work.
pub(super) enum Contestant<'bed> {
    Bridge(&'bed Bed),
    Router(&'bed Bed),
    Thread(Arc<AtomicBool>, JoinHandle<anyhow::Result<()>>),
    Loop(Workers, Opener),
    Process(Process, Option<tempfile::TempDir>),
    Switch(&'bed Bed, Switch),
}

impl<'bed> Contestant<'bed> {
    pub(super) fn start(kind: Kind, bed: &'bed Bed, slots: u32) -> anyhow::Result<Self> {
        let contestant = match kind {
            Kind::Bridge => {
                bed.middle.add_bridge("br0", &["a", "b"])?;
                Self::Bridge(bed)
            }
            Kind::Bare => start_bare(bed, slots)?,
            Kind::Testpmd => start_testpmd(bed)?,
            Kind::Loop => start_loop(bed, slots)?,
            Kind::Rules0 => start_daemon(bed, &[CONTESTANT_CPU], "")?,
            Kind::Rules100 => start_daemon(bed, &[CONTESTANT_CPU], &hundred_rules())?,
            Kind::EachCore => start_daemon(bed, &[CONTESTANT_CPU, GENERATOR_CPU], "")?,
            Kind::Stateless => start_daemon(bed, &[CONTESTANT_CPU], &policy(STATELESS))?,
            Kind::Stateful => start_daemon(bed, &[CONTESTANT_CPU], &policy(TRACKING))?,
            Kind::BridgeStateless => start_bridge(bed, &policy(STATELESS))?,
            Kind::BridgeStateful => start_bridge(bed, &policy(TRACKING))?,
            Kind::Gateway => routed::gateway(bed, false)?,
            Kind::GatewayNat => routed::gateway(bed, true)?,
            Kind::Router => routed::kernel(bed, false)?,
            Kind::RouterNat => routed::kernel(bed, true)?,
            Kind::Ovs => Self::Switch(bed, Switch::start(bed, Policy::Forward)?),
            Kind::OvsCt => Self::Switch(bed, Switch::start(bed, Policy::Track)?),
            Kind::OvsNat => Self::Switch(bed, Switch::start(bed, Policy::Translate)?),
        };
        wait_until_it_forwards(bed).with_context(|| kind.name())?;
        if let Self::Process(process, Some(_)) = &contestant {
            wait_for_memory(process.id())?;
        }
        Ok(contestant)
    }

    /// The control socket of a daemon.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        match self {
            Self::Process(_, Some(directory)) => Some(directory.path().join("control.sock")),
            _ => None,
        }
    }

    /// What the reader of its figures has to know.
    pub(super) fn remark(&self) -> Option<String> {
        match self {
            Self::Switch(_, switch) => Some(format!("by {}", switch.driver())),
            _ => None,
        }
    }

    pub(super) fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Bridge(bed) => {
                bed.middle.remove_link("br0")?;
                bed.middle.sh("nft flush ruleset")?;
            }
            Self::Router(bed) => routed::undo(bed)?,
            Self::Thread(stop, thread) => {
                stop.store(true, Ordering::Relaxed);
                thread
                    .join()
                    .map_err(|_| anyhow::anyhow!("the bare forwarder failed"))??;
            }
            Self::Loop(workers, opener) => {
                drop(workers);
                drop(opener);
            }
            Self::Process(mut process, _directory) => process.end()?,
            Self::Switch(bed, switch) => switch.stop(bed)?,
        }
        Ok(())
    }

    /// Ends a daemon gracefully and starts it again, as an upgrade of its executable does.
    pub(super) fn restart(&mut self, bed: &Bed) -> anyhow::Result<()> {
        let Self::Process(process, Some(folder)) = self else {
            anyhow::bail!("only a daemon can be restarted");
        };
        process.end()?;
        *process = spawn(bed, folder.path())?;
        wait_until_it_forwards(bed)
    }

    /// Flows in a daemon's table.
    pub(super) fn flows(&self) -> anyhow::Result<u64> {
        let Some(socket) = self.socket() else {
            anyhow::bail!("only a daemon counts flows");
        };
        let mut command = Command::new(executable());
        command
            .args(["conntrack", "-C"])
            .env("SLUICE_SOCKET", socket);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let count = text.trim().parse();
        count.with_context(|| format!("conntrack -C said {text:?}"))
    }
}

/// Until a host answers through it.
fn wait_until_it_forwards(bed: &Bed) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let line = format!("ping -c 1 -W 0.2 {}", bed.target);
        if bed.source.sh(&line).is_ok() {
            return Ok(());
        }
    }
    anyhow::bail!("nothing comes through")
}

/// Until a daemon has taken the memory of its flow table, which it does beside the traffic.
fn wait_for_memory(id: rustix::process::Pid) -> anyhow::Result<()> {
    let begun = Instant::now();
    let tasks = format!("/proc/{}/task", id.as_raw_nonzero());
    let takes = || {
        let mut names = std::fs::read_dir(&tasks)?
            .flatten()
            .map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
        Ok::<_, std::io::Error>(names.any(|name| name.trim() == "flow-memory"))
    };
    while takes()? {
        anyhow::ensure!(begun.elapsed() < PATIENCE, "its memory is not there");
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn start_bare<'bed>(bed: &Bed, slots: u32) -> anyhow::Result<Contestant<'bed>> {
    let geometry = Geometry {
        slots,
        ..Geometry::default()
    };
    let mut sides = Vec::new();
    for device in ["a", "b"] {
        let index = bed.middle.index(device)?;
        sides.extend(bed.middle.run(|| open_queues(index, 1, geometry))??);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        pin(CONTESTANT_CPU)?;
        Ok(bare::forward(sides, geometry, &told)?)
    });
    Ok(Contestant::Thread(stop, thread))
}

fn start_testpmd<'bed>(bed: &Bed) -> anyhow::Result<Contestant<'bed>> {
    let mut command = Command::new("dpdk-testpmd");
    command
        .args([
            "--no-huge",
            "-m",
            "512",
            "--no-pci",
            "--no-telemetry",
            "--main-lcore",
            "0",
        ])
        .args(["-l", &format!("0,{CONTESTANT_CPU}")])
        .arg(format!("--file-prefix=sluice-bench-{}", std::process::id()))
        .arg("--vdev=net_af_packet0,iface=a,qdisc_bypass=1")
        .arg("--vdev=net_af_packet1,iface=b,qdisc_bypass=1")
        .args([
            "--",
            "--forward-mode=io",
            "--nb-cores=1",
            "--total-num-mbufs=16384",
            "--interactive",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut process = Process::start(&bed.middle, &mut command)?;
    // Its command line must stay open, or it ends.
    if let Some(input) = process.input() {
        input.write_all(b"start\n")?;
    }
    Ok(Contestant::Process(process, None))
}

/// Sends every frame to the other port.
struct Cross;

impl Stages for Cross {
    type Generation = ();

    fn number((): &()) -> u64 {
        1
    }

    fn process(&mut self, burst: &mut Burst<'_>, (): &(), _: &Context, out: &mut Disposition) {
        for (lane, frame) in burst.iter().enumerate() {
            out.set(lane, Fate::Send(PortId(1 - frame.in_port.0)));
        }
    }
}

fn start_loop<'bed>(bed: &Bed, slots: u32) -> anyhow::Result<Contestant<'bed>> {
    let opener = OpenerProcess::on_thread()?.connect(|_| {})?;
    let settings = Settings {
        cpus: vec![Some(CONTESTANT_CPU)],
        wait: Wait::Adaptive,
    };
    let generation = Arc::new(ArcSwap::from_pointee(()));
    let workers = Workers::start(
        &settings,
        |_| Cross,
        generation,
        Arc::new(SystemClock),
        Arc::new(|_| {}),
    )?;
    for (port, device) in ["a", "b"].into_iter().enumerate() {
        let opened = opener.open(&Request {
            port: port as u16,
            device: format!("{}:{device}", bed.middle.path()),
            queues: 1,
            slots,
            prepare: false,
            driver: Default::default(),
        })?;
        workers.add_port(PortId(port as u16), opened.queues)?;
    }
    Ok(Contestant::Loop(workers, opener))
}

fn start_bridge<'bed>(bed: &'bed Bed, ruleset: &str) -> anyhow::Result<Contestant<'bed>> {
    bed.middle.add_bridge("br0", &["a", "b"])?;
    // The whole machine's on newer kernels, and then as it is.
    let _set = bed
        .middle
        .sysctl("net/netfilter/nf_conntrack_max", "4000000");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), ruleset)?;
    bed.middle
        .sh(&format!("nft -f {}", file.path().display()))?;
    Ok(Contestant::Bridge(bed))
}

/// A hundred rules that no packet of the flood matches.
fn hundred_rules() -> String {
    let rule = |number| {
        format!(
            "    ip daddr 192.0.2.{number} udp dport {} drop\n",
            1000 + number
        )
    };
    let rules: String = (0..100).map(rule).collect();
    let hook = "type filter hook forward priority 0; policy accept;";
    format!("table bridge bench {{\n  chain forward {{\n    {hook}\n{rules}  }}\n}}\n")
}

fn start_daemon<'bed>(
    bed: &Bed,
    cpus: &[usize],
    ruleset: &str,
) -> anyhow::Result<Contestant<'bed>> {
    let workers = cpus.len();
    let dataplane = format!(
        "[dataplane]\nmode = \"wire\"\nworkers = {workers}\ncpus = {cpus:?}\n\
         [[port]]\ndevice = \"a\"\npeer = \"b\"\n[[port]]\ndevice = \"b\"\npeer = \"a\"\n"
    );
    start_process(bed, &dataplane, ruleset)
}

/// The daemon with these sections of its appliance file, and a ruleset.
pub(super) fn start_process<'bed>(
    bed: &Bed,
    dataplane: &str,
    ruleset: &str,
) -> anyhow::Result<Contestant<'bed>> {
    let directory = tempfile::Builder::new().prefix("sluice-bench.").tempdir()?;
    let ruleset_file = directory.path().join("ruleset.nft");
    std::fs::write(&ruleset_file, ruleset)?;
    let appliance = directory.path().join("sluice.toml");
    std::fs::write(
        &appliance,
        format!(
            "{dataplane}[ruleset]\nfiles = [{ruleset_file:?}]\nstate = {:?}\n\
             [conntrack]\nmax = 4000000\n\
             [control]\nsocket = {:?}\n",
            directory.path(),
            directory.path().join("control.sock")
        ),
    )?;
    let process = spawn(bed, directory.path())?;
    Ok(Contestant::Process(process, Some(directory)))
}

/// The daemon with the appliance file of this folder.
fn spawn(bed: &Bed, folder: &Path) -> anyhow::Result<Process> {
    let mut command = Command::new(executable());
    command
        .arg("run")
        .arg("--config")
        .arg(folder.join("sluice.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command.stderr(std::fs::File::create(folder.join("log"))?);
    Ok(Process::start(&bed.middle, &mut command)?)
}
