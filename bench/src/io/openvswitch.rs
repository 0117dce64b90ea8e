//! Open vSwitch with its userspace datapath between the devices of a bed, steered by OpenFlow.
//!
//! Its two daemons run in the bed's namespace, and what they keep (database, sockets, log) lies in a directory
//! of the contestant's own; both go with the contestant. Frames come and go by AF_XDP where the daemon and the
//! kernel have it: then a thread polls for them on the contestant's CPU. Elsewhere they come by AF_PACKET,
//! which the daemon's main thread serves: then that is bound to the CPU. Everything else is as it comes.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

use super::bed::{Bed, CONTESTANT_CPU};
use super::process::Process;
use super::routed::{GATEWAY_IN, GATEWAY_OUT, ROUTER_MAC};

/// What the database is made from, where Debian's package has it.
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// Seconds that a command may take.
const PATIENCE: &str = "--timeout=10";
/// The bridge with the ports 1 (`a`) and 2 (`b`).
const BRIDGE: &str = "br0";

/// What it does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// The other port.
    Forward,
    /// The other port, for what belongs to a connection or begins one.
    Track,
    /// It routes, and hides the source's network behind its own address.
    Translate,
}

/// A running switch.
#[derive(Debug)]
pub(super) struct Switch {
    // In the order in which they go.
    switch: Process,
    database: Process,
    directory: tempfile::TempDir,
    driver: String,
}

/// Why it cannot take part on this machine.
pub(super) fn missing() -> Option<String> {
    let install = "Debian: openvswitch-switch";
    let version = Command::new("ovs-vswitchd")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match version {
        Err(error) => Some(format!("ovs-vswitchd ({install}): {error}")),
        Ok(_) if !Path::new(SCHEMA).exists() => Some(format!("{SCHEMA} ({install}) is not there")),
        Ok(_) => None,
    }
}

impl Switch {
    /// Starts the daemons and loads the policy.
    ///
    /// # Errors
    /// When a command fails, or neither kind of port can be had.
    pub(super) fn start(bed: &Bed, policy: Policy) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("sluice-bench.").tempdir()?;
        let at = |name: &str| format!("{}/{name}", directory.path().display());
        let tools = Tools {
            bed,
            directory: directory.path(),
        };
        tools.run("ovsdb-tool", &["create", &at("conf.db"), SCHEMA])?;
        let database = tools.start(
            "ovsdb-server",
            &[
                &at("conf.db"),
                &format!("--remote=punix:{}", at("db.sock")),
                &format!("--unixctl={}", at("database.ctl")),
            ],
        )?;
        let cpus = format!("other_config:pmd-cpu-mask={:x}", 1 << CONTESTANT_CPU);
        let settings = ["init", "--", "set", "Open_vSwitch", ".", &cpus];
        tools.vsctl(&[&["--retry", "--no-wait", "--"][..], &settings].concat())?;
        let switch = tools.start(
            "ovs-vswitchd",
            &[
                &format!("unix:{}", at("db.sock")),
                &format!("--unixctl={}", at("switch.ctl")),
                "--disable-system",
            ],
        )?;
        let bridge = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE];
        let kind = ["datapath_type=netdev", "fail_mode=secure"];
        tools.vsctl(&[&bridge[..], &kind].concat())?;
        let flows = at("flows");
        std::fs::write(&flows, policy.flows(bed)?)?;
        let management = format!("unix:{}", at(&format!("{BRIDGE}.mgmt")));
        tools.run("ovs-ofctl", &[PATIENCE, "add-flows", &management, &flows])?;
        let driver = tools.add_ports(&switch)?;
        Ok(Self {
            switch,
            database,
            directory,
            driver,
        })
    }

    /// By what frames come to it and go.
    pub(super) fn driver(&self) -> &str {
        &self.driver
    }

    /// Takes the ports back (an XDP program would stay on its device) and ends the daemons.
    ///
    /// # Errors
    /// When they do not end by themselves.
    pub(super) fn stop(mut self, bed: &Bed) -> anyhow::Result<()> {
        let tools = Tools {
            bed,
            directory: self.directory.path(),
        };
        tools.appctl(&["exit", "--cleanup"])?;
        self.switch.wait()?;
        self.database.end()
    }
}

/// Its commands, in a bed and with a directory.
struct Tools<'a> {
    bed: &'a Bed,
    directory: &'a Path,
}

impl Tools<'_> {
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        for variable in ["OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR"] {
            command.env(variable, self.directory);
        }
        command
    }

    fn start(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        let mut command = self.command(program, arguments);
        let log = std::fs::File::create(self.directory.join(format!("{program}.log")))?;
        command.stdout(Stdio::null()).stderr(log);
        Process::start(&self.bed.middle, &mut command).with_context(|| program.to_owned())
    }

    /// Runs a command to its end; what it printed.
    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self
            .bed
            .middle
            .output(&mut self.command(program, arguments))?;
        anyhow::ensure!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// A command to the database, which waits until the switch has done it.
    fn vsctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let database = format!("--db=unix:{}/db.sock", self.directory.display());
        self.run(
            "ovs-vsctl",
            &[&[database.as_str(), PATIENCE][..], arguments].concat(),
        )
    }

    /// A command to the switch itself.
    fn appctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let socket = format!("{}/switch.ctl", self.directory.display());
        let to = [PATIENCE, "-t", &socket];
        self.run("ovs-appctl", &[&to[..], arguments].concat())
    }

    /// Puts the devices in, by AF_XDP if that is to be had; by what frames come then, and why.
    fn add_ports(&self, switch: &Process) -> anyhow::Result<String> {
        let known = self.vsctl(&["get", "Open_vSwitch", ".", "iface_types"])?;
        let refused = if !known.contains("afxdp") {
            "built without AF_XDP".to_owned()
        } else {
            match self.add("afxdp")? {
                None => return Ok(format!("AF_XDP, {}", self.xdp_mode()?)),
                Some(error) => format!("no AF_XDP: {error}"),
            }
        };
        for device in ["a", "b"] {
            self.vsctl(&["--if-exists", "del-port", BRIDGE, device])?;
        }
        let mut cpu = rustix::thread::CpuSet::new();
        cpu.set(CONTESTANT_CPU);
        rustix::thread::sched_setaffinity(Some(switch.id()), &cpu)?;
        match self.add("system")? {
            None => Ok(format!("AF_PACKET; {refused}")),
            Some(error) => anyhow::bail!("no port: {error}"),
        }
    }

    /// How the first port's frames leave the device: `native`, or `generic`, which costs more.
    fn xdp_mode(&self) -> anyhow::Result<String> {
        let shown = self.appctl(&["dpif/show"])?;
        let mode = shown.split("xdp-mode-in-use=").nth(1);
        let mode = mode.and_then(|text| text.split([',', ')']).next());
        Ok(mode.context("a port without an XDP mode")?.to_owned())
    }

    /// Puts the devices in as ports of a type; why it does not take them, if so.
    fn add(&self, port_type: &str) -> anyhow::Result<Option<String>> {
        for (device, number) in [("a", 1), ("b", 2)] {
            let kind = format!("type={port_type}");
            let number = format!("ofport_request={number}");
            let set = ["--", "set", "interface", device, &kind, &number];
            self.vsctl(&[&["add-port", BRIDGE, device][..], &set].concat())?;
            let error = self.vsctl(&["get", "interface", device, "error"])?;
            if error != "[]" {
                return Ok(Some(error.trim_matches('"').to_owned()));
            }
        }
        Ok(None)
    }
}

impl Policy {
    /// Its flows, one a line.
    fn flows(self, bed: &Bed) -> anyhow::Result<String> {
        Ok(match self {
            Policy::Forward => both_ways("", "").join("\n"),
            Policy::Track => tracking(),
            Policy::Translate => translating(
                &mac(bed.middle.mac("b")?),
                &mac(bed.source.mac("eth0")?),
                &mac(bed.sink.mac("eth0")?),
            ),
        })
    }
}

/// From each port to the other one, of what matches, behind some actions.
fn both_ways(matching: &str, before: &str) -> [String; 2] {
    [(1, 2), (2, 1)]
        .map(|(from, to)| format!("{matching}in_port={from},actions={before}output:{to}"))
}

/// As the stateful policy of the others: invalid packets are dropped, all connections may begin.
fn tracking() -> String {
    let [arp_there, arp_back] = both_ways("table=0,arp,", "");
    let [new_there, new_back] = both_ways("table=1,ip,ct_state=+trk+new-inv,", "ct(commit),");
    let [old_there, old_back] = both_ways("table=1,ip,ct_state=+trk+est-inv,", "");
    let [near_there, near_back] = both_ways("table=1,ip,ct_state=+trk+rel-est-new-inv,", "");
    let track = "table=0,ip,actions=ct(table=1)".to_owned();
    [
        arp_there, arp_back, track, new_there, new_back, old_there, old_back, near_there, near_back,
    ]
    .join("\n")
}

/// A router that answers for its addresses and gives what goes out one of them.
///
/// Tables: 0 what comes in, 1 from the source's network, 2 from the sink's, 3 and 4 out to either.
fn translating(outside: &str, source: &str, sink: &str) -> String {
    let inside = mac(ROUTER_MAC);
    let answer = |port: u16, address: &str, own: &str| {
        format!(
            "table=0,in_port={port},arp,arp_op=1,arp_tpa={address},actions=\
             move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:{own},\
             move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],\
             set_field:2->arp_op,set_field:{own}->arp_sha,set_field:{address}->arp_spa,in_port"
        )
    };
    [
        answer(1, GATEWAY_IN, &inside),
        answer(2, GATEWAY_OUT, outside),
        format!("table=0,in_port=1,ip,dl_dst={inside},actions=ct(table=1,nat)"),
        format!("table=0,in_port=2,ip,dl_dst={outside},actions=ct(table=2,nat)"),
        format!(
            "table=1,ip,ct_state=+trk+new-inv,actions=ct(commit,table=3,nat(src={GATEWAY_OUT}))"
        ),
        "table=1,ip,ct_state=+trk+est-inv,actions=resubmit(,3)".to_owned(),
        "table=2,ip,ct_state=+trk+est-inv,actions=resubmit(,4)".to_owned(),
        format!("table=3,ip,actions=dec_ttl,mod_dl_src:{outside},mod_dl_dst:{sink},output:2"),
        format!("table=4,ip,actions=dec_ttl,mod_dl_src:{inside},mod_dl_dst:{source},output:1"),
    ]
    .join("\n")
}

fn mac(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}
