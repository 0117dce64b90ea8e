//! Two hosts and the devices between them, for one contestant.

use std::io;

use rustix::mount::{MountFlags, mount};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use sluice_control::netns::Namespace;

/// Where the softirq that receives runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receive {
    /// On CPU 0, in the sender's time.
    Own,
    /// On CPU 1, where the contestant runs.
    Shared,
    /// As `Shared`, but in a kernel thread of its own (threaded NAPI) that the scheduler weighs
    /// against the contestant.
    Thread,
}

/// CPU of the generator.
pub(super) const GENERATOR_CPU: usize = 0;
/// CPU of the contestant.
pub(super) const CONTESTANT_CPU: usize = 1;

/// `source eth0 - a [..] b - eth0 sink`
pub(super) struct Bed {
    pub(super) source: Namespace,
    pub(super) middle: Namespace,
    pub(super) sink: Namespace,
    /// The sink's address.
    pub(super) target: &'static str,
}

impl Bed {
    pub(super) fn new(receive: Receive) -> anyhow::Result<Self> {
        let bed = Self {
            source: Namespace::new("source")?,
            middle: Namespace::new("middle")?,
            sink: Namespace::new("sink")?,
            target: "10.0.0.2",
        };
        bed.middle
            .sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        for (host, device, number) in [(&bed.source, "a", 1), (&bed.sink, "b", 2)] {
            // The hosts say nothing of their own: an idle wire is idle.
            host.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
            host.add_veth("eth0", &bed.middle, device)?;
            host.set_up("eth0")?;
            bed.middle.set_up(device)?;
            host.add_address("eth0", &format!("10.0.0.{number}/24"))?;
        }
        match receive {
            Receive::Own => {}
            Receive::Shared => bed.steer("a")?,
            Receive::Thread => bed.thread("a")?,
        }
        Ok(bed)
    }

    /// Has what comes in by a device received on the contestant's CPU.
    fn steer(&self, device: &str) -> anyhow::Result<()> {
        let path = format!("/sys/class/net/{device}/queues/rx-0/rps_cpus");
        let mask = format!("{:x}", 1 << CONTESTANT_CPU);
        self.middle
            .run(|| with_own_sysfs(|| std::fs::write(&path, &mask)))??;
        Ok(())
    }

    /// Has what comes in by a device received by a kernel thread on the contestant's CPU, at the
    /// lowest priority. (A veth has NAPI only with GRO.)
    fn thread(&self, device: &str) -> anyhow::Result<()> {
        self.middle.sh(&format!("ethtool -K {device} gro on"))?;
        let path = format!("/sys/class/net/{device}/threaded");
        self.middle
            .run(|| with_own_sysfs(|| std::fs::write(&path, "1")))??;
        let prefix = format!("napi/{device}-");
        for entry in std::fs::read_dir("/proc")? {
            let entry = entry?.path();
            let comm = std::fs::read_to_string(entry.join("comm")).unwrap_or_default();
            let number = entry
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            if let (true, Some(number)) = (comm.starts_with(&prefix), number) {
                // Those of other namespaces have the same name; the ones of this bench only.
                let thread = rustix::process::Pid::from_raw(number);
                let mut set = rustix::thread::CpuSet::new();
                set.set(CONTESTANT_CPU);
                rustix::thread::sched_setaffinity(thread, &set)?;
                rustix::process::setpriority_process(thread, 19)?;
            }
        }
        Ok(())
    }

    /// Frames that have reached the sink's device.
    pub(super) fn delivered(&self) -> anyhow::Result<u64> {
        counter(&self.sink, 1)
    }

    /// Frames that have left the source's device: what its wire took, not what was tried.
    pub(super) fn offered(&self) -> anyhow::Result<u64> {
        counter(&self.source, 9)
    }
}

/// A field of the line of `eth0` in `/proc/net/dev`.
fn counter(host: &Namespace, field: usize) -> anyhow::Result<u64> {
    let text = host.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("eth0:"));
    let value = line.and_then(|line| line.split_whitespace().nth(field));
    Ok(value
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
        .parse()?)
}

/// Runs `work` where `/sys` shows the devices of this thread's network namespace.
#[allow(unsafe_code)]
fn with_own_sysfs<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // SAFETY: a new mount namespace and file system state for this one thread shares no memory
    // and no descriptor less than before.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }?;
    let private =
        rustix::mount::MountPropagationFlags::REC | rustix::mount::MountPropagationFlags::PRIVATE;
    rustix::mount::mount_change("/", private)?;
    mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None)?;
    work()
}

/// Binds this thread to a CPU.
pub(super) fn pin(cpu: usize) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

/// Time that a CPU was not idle since the machine started, in microseconds.
pub(super) fn busy_us(cpu: usize) -> anyhow::Result<u64> {
    const TICK_US: u64 = 10_000;
    let text = std::fs::read_to_string("/proc/stat")?;
    let prefix = format!("cpu{cpu} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
    let fields = line
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?
        .split_whitespace();
    let fields: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>()?;
    // user, nice, system, (idle, iowait), irq, softirq
    Ok([0, 1, 2, 5, 6]
        .iter()
        .map(|&n| fields.get(n).copied().unwrap_or(0))
        .sum::<u64>()
        * TICK_US)
}
