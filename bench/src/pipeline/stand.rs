//! Workers between ports in memory: the daemon's own threads and pipeline, fed without end.
//!
//! Cost is the thread's CPU time, so that other programs on the machine disturb it little. Each
//! worker notes frames, CPU time and allocations about every millisecond; a measurement is the
//! difference of two notes, and the first after the start is not used.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::thread::ClockId;
use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile, Request};
use sluice_dataplane::packet::Burst;
use sluice_dataplane::port::memory::{MemoryRx, MemoryTx, Source};
use sluice_dataplane::port::{PortId, Queue, Rx, Tx};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::worker::{
    Clock, Context, Disposition, EventQueue, Generation, Pipeline, PortInfo, PortTable, Settings,
    Stages, SystemClock, Wait, Workers,
};

use crate::allocations;

/// Between two notes of a worker.
const NOTE_NS: u64 = 1_000_000;
/// Notes that are not used after the start of a thread.
const WARM_UP: u64 = 3;
/// Frames before the measurement begins: on a busy machine the notes alone come too early, while sets
/// are still filled by flows that were not seen yet.
const WARM_UP_FRAMES: u64 = 20_000;
/// A worker that gets no CPU for so long fails the run.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a worker has done since it began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Note {
    number: u64,
    frames: u64,
    cpu_ns: u64,
    allocations: u64,
}

type Notes = Vec<Mutex<Note>>;

fn read(note: &Mutex<Note>) -> Note {
    *note.lock().unwrap_or_else(PoisonError::into_inner)
}

/// CPU time of the calling thread.
pub(crate) fn cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The worker's pipeline, with notes.
struct Watched {
    inner: Pipeline,
    worker: usize,
    notes: Arc<Notes>,
    now: Note,
    last_ns: u64,
}

impl Stages for Watched {
    type Generation = Generation;

    fn number(generation: &Generation) -> u64 {
        generation.number()
    }

    fn process(
        &mut self,
        burst: &mut Burst<'_>,
        generation: &Generation,
        context: &Context,
        out: &mut Disposition,
    ) {
        if context.now_ns - self.last_ns >= NOTE_NS {
            self.last_ns = context.now_ns;
            self.now.number += 1;
            self.now.cpu_ns = cpu_ns();
            self.now.allocations = allocations::of_this_thread();
            *self.notes[self.worker]
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = self.now;
        }
        self.now.frames += burst.len() as u64;
        self.inner.process(burst, generation, context, out);
    }
}

/// One thing to measure.
#[derive(Clone)]
pub(super) struct Stand {
    generation: Arc<Generation>,
    sources: Vec<Arc<Source>>,
    batch: usize,
}

/// What a run has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// CPU nanoseconds a frame, mean of the workers.
    pub(super) ns: f64,
    /// Times that the workers asked for memory.
    pub(super) allocations: u64,
}

impl Stand {
    /// Two ports with `workers` workers, each with its own list of `flows` frames of `size` bytes.
    ///
    /// # Errors
    /// When the ruleset is refused or the process has no descriptor left.
    pub(super) fn new(
        ruleset: &str,
        workers: usize,
        size: usize,
        flows: usize,
        batch: usize,
    ) -> anyhow::Result<Self> {
        let list = || (0..flows).map(|flow| super::traffic::frame(flow, size));
        let sources: Result<Vec<_>, _> = (0..workers).map(|_| Source::endless(list())).collect();
        Ok(Self {
            generation: generation(ruleset, workers)?,
            sources: sources?,
            batch,
        })
    }

    /// The same through a gateway without rules: the frames take a route and a neighbour.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(super) fn routed(
        workers: usize,
        size: usize,
        flows: usize,
        batch: usize,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            generation: Arc::new(Generation::open(1, gateway(), workers)),
            ..Self::new("", workers, size, flows, batch)?
        })
    }

    pub(super) fn generation(&self) -> &Arc<Generation> {
        &self.generation
    }

    /// A receiving half on port `port`.
    pub(super) fn receiver(&self, worker: usize, port: u16) -> MemoryRx {
        MemoryRx::new(PortId(port), Arc::clone(&self.sources[worker])).with_batch(self.batch)
    }

    /// Lets the workers run until each has used `length` of CPU time.
    ///
    /// # Errors
    /// When a thread cannot be had, or gets no CPU.
    pub(super) fn run(&self, length: Duration) -> anyhow::Result<Outcome> {
        let count = self.sources.len();
        let notes: Arc<Notes> = Arc::new((0..count).map(|_| Mutex::default()).collect());
        let theirs = Arc::clone(&notes);
        // From the last CPU downwards: the first has the machine's interrupts.
        let cpus = std::thread::available_parallelism()?.get();
        anyhow::ensure!(count <= cpus, "{count} workers need as many CPUs");
        let settings = Settings {
            cpus: (0..count).map(|worker| Some(cpus - 1 - worker)).collect(),
            wait: Wait::Busy,
        };
        let workers = Workers::start(
            &settings,
            move |worker| Watched {
                inner: Pipeline::new(1, Arc::new(EventQueue::new(64))),
                worker: usize::from(worker),
                notes: Arc::clone(&theirs),
                now: Note::default(),
                last_ns: 0,
            },
            Arc::new(ArcSwap::new(Arc::clone(&self.generation))),
            Arc::new(SystemClock),
            Arc::new(|event| eprintln!("bench: {event:?}")),
        )?;
        for port in 0..2 {
            let queue = |worker| Queue {
                rx: Rx::Memory(self.receiver(worker, port)),
                tx: Tx::Memory(MemoryTx::counting(1514)),
            };
            workers.add_port(PortId(port), (0..count).map(queue).collect())?;
        }
        let begun = Instant::now();
        let mut first: Vec<Option<Note>> = vec![None; count];
        loop {
            std::thread::sleep(Duration::from_millis(1));
            let now: Vec<Note> = notes.iter().map(read).collect();
            for (first, now) in first.iter_mut().zip(&now) {
                if first.is_none() && now.number > WARM_UP && now.frames > WARM_UP_FRAMES {
                    *first = Some(*now);
                }
            }
            let enough = |(first, now): (&Option<Note>, &Note)| {
                first.is_some_and(|first| now.cpu_ns - first.cpu_ns >= length.as_nanos() as u64)
            };
            if first.iter().zip(&now).all(enough) {
                return Ok(outcome(&first, &now));
            }
            anyhow::ensure!(begun.elapsed() < PATIENCE, "a worker gets no CPU");
        }
    }
}

fn outcome(first: &[Option<Note>], now: &[Note]) -> Outcome {
    let (mut ns, mut allocations) = (0.0, 0);
    for (first, now) in first.iter().flatten().zip(now) {
        ns += (now.cpu_ns - first.cpu_ns) as f64 / (now.frames - first.frames) as f64;
        allocations += now.allocations - first.allocations;
    }
    ns /= now.len() as f64;
    Outcome { ns, allocations }
}

/// A wire of two ports: what rulesets see, and what workers see.
pub(crate) fn wire() -> (Profile, Arc<PortTable>) {
    let (mut profiles, mut table) = (Vec::new(), PortTable::default());
    for (number, name, peer) in [(0u16, "a", "b"), (1, "b", "a")] {
        let index = u32::from(number) + 1;
        profiles.push(PortProfile {
            name: name.to_owned(),
            index,
            group: 0,
            kind: 1,
            peer: Some(peer.to_owned()),
            bridge: None,
        });
        let mut info = PortInfo::new(name, index, "memory");
        info.peer = Some(PortId(1 - number));
        table.set(PortId(number), Some(info));
    }
    let profile = Profile {
        mode: Mode::Wire,
        ports: profiles,
    };
    (profile, Arc::new(table))
}

/// A gateway of two ports that knows the neighbour to whom all frames go.
fn gateway() -> Arc<PortTable> {
    use sluice_dataplane::gateway::neighbour::Heard;
    use sluice_dataplane::gateway::{Address, Gateway, Host, Port, Shared};
    use sluice_dataplane::port::{LinkState, Offloads};
    let address = |bytes| Address::v4(bytes);
    let mut table = PortTable::clone(&wire().1);
    let ports = [(0u16, [172, 31, 0, 1]), (1, [192, 0, 2, 254])].map(|(number, own)| {
        let link = Arc::new(LinkState::new(true, 1500, Offloads::ALL));
        let mac = [2, 0, 0, 0, 0, 2];
        Port::new(PortId(number), mac, link, vec![(address(own), 24)])
    });
    let shared = Shared::new(1, 0, Host::new(1, 1500, &[], None));
    let (port, neighbour, now_ns) = (
        PortId(1),
        address([192, 0, 2, 1]),
        SystemClock.monotonic_ns(),
    );
    let mut editor = shared.neighbours.lock();
    editor.seek(port, neighbour, now_ns);
    editor.learn(port, neighbour, [2, 0, 0, 0, 0, 9], Heard::Answer, now_ns);
    drop(editor);
    table.set_gateway(Some(Gateway::new(
        ports.into(),
        Vec::new(),
        Vec::new(),
        shared,
    )));
    Arc::new(table)
}

/// An engine over the wire, for so many workers.
pub(crate) fn engine(workers: usize) -> Engine {
    let (profile, ports) = wire();
    let counters = Arc::new(Counters::new(workers));
    let clock = Arc::new(SystemClock);
    let mut engine = Engine::new(profile.clone(), counters, clock, Box::new(NoWorkers));
    engine.set_ports(profile, ports);
    engine
}

fn generation(ruleset: &str, workers: usize) -> anyhow::Result<Arc<Generation>> {
    if ruleset.is_empty() {
        return Ok(Arc::new(Generation::open(1, wire().1, workers)));
    }
    let mut engine = engine(workers);
    engine
        .run(Request::file("bench.nft", ruleset))
        .map_err(|refusal| anyhow::anyhow!("{}", refusal.rendered))?;
    let live = engine.live().cloned();
    live.ok_or_else(|| anyhow::anyhow!("nothing was published"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = "table ip t {
        set seen { type ipv4_addr; size 65536; flags dynamic; }
        set bad { type ipv4_addr; flags interval; elements = { 198.51.100.0/24, 10.0.0.9 } }
        map way { type ipv4_addr : verdict; elements = { 10.0.0.3 : drop } }
        chain c {
            type filter hook forward priority 0; policy accept;
            counter
            update @seen { ip saddr }
            ip saddr @bad counter drop
            ip saddr vmap @way
            udp dport 443 limit rate 10/second log prefix \"seen \"
            udp sport 1030-1040 meta mark set 7
            ip ttl set 63
            udp length 1-2000 counter accept
        }
    }";

    #[test]
    fn a_forwarded_packet_costs_no_allocation() {
        for batch in [64, 3] {
            let stand = Stand::routed(1, 128, 256, batch).unwrap();
            let outcome = stand.run(Duration::from_millis(20)).unwrap();
            assert_eq!(outcome.allocations, 0, "batches of {batch}");
            assert!(outcome.ns > 1.0, "{outcome:?}");
        }
    }

    #[test]
    fn a_packet_costs_no_allocation() {
        for (rules, batch) in [("", 64), (RULES, 64), (RULES, 3)] {
            let stand = Stand::new(rules, 1, 128, 256, batch).unwrap();
            let outcome = stand.run(Duration::from_millis(20)).unwrap();
            assert_eq!(outcome.allocations, 0, "batches of {batch}: {rules}");
            assert!(outcome.ns > 1.0, "{outcome:?}");
        }
    }
}
