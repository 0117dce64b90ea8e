//! Workers, flows and packets of the suite.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Barrier, Mutex};

use sluice_dataplane::conntrack::{
    CtState, Filter, PacketCt, Settings, TrackContext, Tracker, TrackerWorker, Tuple,
};
use sluice_dataplane::packet::{Burst, Frame, Headers};
use sluice_dataplane::port::PortId;
use sluice_dataplane::program::Packets;

const BATCH: usize = 64;
const SECOND: u64 = 1_000_000_000;

/// What the flows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Udp,
    Tcp,
}

/// Processor time of this thread in nanoseconds.
fn thread_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * SECOND + now.tv_nsec as u64
}

/// Binds this thread to a processor, if there are so many.
fn bind(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    // Where the machine has fewer, the scheduler decides.
    let _bound = rustix::thread::sched_setaffinity(None, &set);
}

/// A table with flows, and its workers between two measurements.
pub(super) struct Population {
    kind: Kind,
    size: u32,
    workers: Mutex<Vec<Worker>>,
}

/// A worker, the frames of its batches, and its part of the flows.
pub(super) struct Worker {
    worker: TrackerWorker,
    packets: Box<Packets>,
    frames: Burst<'static>,
    kind: Kind,
    size: u32,
    random: u64,
    now: Arc<AtomicU64>,
    /// Which of so many workers it is for this measurement.
    share: (u32, u32),
}

impl Population {
    /// A table that holds so many flows, all of them established.
    pub(super) fn new(kind: Kind, size: u32) -> anyhow::Result<Self> {
        let population = Self::empty(kind, size)?;
        population.alone(Worker::establish)?;
        Ok(population)
    }

    /// A table with room for so many flows.
    pub(super) fn empty(kind: Kind, size: u32) -> anyhow::Result<Self> {
        let mut settings = Settings {
            max: size,
            ..Settings::default()
        };
        settings.rules.checksum = false;
        let tracker = Tracker::new(settings, 2, 0x5eed)?;
        tracker.take_memory();
        let now = Arc::new(AtomicU64::new(SECOND));
        let worker = |number| Worker::new(tracker.worker(number), kind, size, Arc::clone(&now));
        Ok(Self {
            kind,
            size,
            workers: Mutex::new(vec![worker(0), worker(1)]),
        })
    }

    fn measure(
        &self,
        count: usize,
        work: impl Fn(&mut Worker) -> anyhow::Result<f64> + Sync,
    ) -> anyhow::Result<f64> {
        let mut workers = self
            .workers
            .lock()
            .map_err(|_| anyhow::anyhow!("a worker failed"))?;
        anyhow::ensure!(self.size > 0, "no flows of {:?}", self.kind);
        let start = Barrier::new(count);
        let costs: Vec<anyhow::Result<f64>> = std::thread::scope(|scope| {
            let threads: Vec<_> = workers
                .iter_mut()
                .take(count)
                .enumerate()
                .map(|(number, worker)| {
                    let (start, work) = (&start, &work);
                    scope.spawn(move || {
                        bind(number);
                        worker.share = (number as u32, count as u32);
                        start.wait();
                        work(worker)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| {
                    thread
                        .join()
                        .unwrap_or_else(|_| Err(anyhow::anyhow!("a worker failed")))
                })
                .collect()
        });
        let costs = costs.into_iter().collect::<anyhow::Result<Vec<f64>>>()?;
        Ok(costs.iter().sum::<f64>() / costs.len() as f64)
    }

    /// Milliseconds for listing all flows, saving them, loading them into an empty table, and deleting
    /// them there.
    pub(super) fn control(&self) -> anyhow::Result<[f64; 4]> {
        let workers = self
            .workers
            .lock()
            .map_err(|_| anyhow::anyhow!("a worker failed"))?;
        let (tracker, now) = (
            Arc::clone(workers[0].worker.tracker()),
            workers[0].now.load(Relaxed),
        );
        let mut begun = thread_ns();
        let mut lap = || {
            let now = thread_ns();
            (now - std::mem::replace(&mut begun, now)) as f64 / 1e6
        };
        let (mut from, mut flows, mut listed) = (Some(0), Vec::new(), 0);
        while let Some(next) = from {
            from = tracker.list(&Filter::default(), next, 1024, &mut flows);
            listed += flows.len();
            flows.clear();
        }
        let list = lap();
        let mut bytes = Vec::new();
        tracker.save(now, now, &mut bytes)?;
        let save = lap();
        let other = Tracker::new((*tracker.settings()).clone(), 1, 1)?;
        other.take_memory();
        lap();
        let loaded = other.load(&bytes, now, now)?;
        let load = lap();
        let deleted = other.delete_matching(&Filter::default(), now);
        let counts = [listed as u64, loaded.added, deleted];
        anyhow::ensure!(
            counts == [u64::from(self.size); 3],
            "listed, loaded, deleted: {counts:?}"
        );
        Ok([list, save, load, lap()])
    }

    /// What a packet costs one worker.
    pub(super) fn alone(
        &self,
        work: impl Fn(&mut Worker) -> anyhow::Result<f64> + Sync,
    ) -> anyhow::Result<f64> {
        self.measure(1, work)
    }

    /// What a packet costs each of two workers that work at the same time.
    pub(super) fn together(
        &self,
        work: impl Fn(&mut Worker) -> anyhow::Result<f64> + Sync,
    ) -> anyhow::Result<f64> {
        self.measure(2, work)
    }
}

/// Addresses and ports of a flow, in the order of the wire.
fn ends(flow: u32, reply: bool) -> [u8; 12] {
    let (client, server) = (0x0a00_0000 | flow >> 4, 0xc000_0200_u32 | flow & 0xff);
    let (sport, dport) = (1024 + (flow & 15) as u16 * 1000, 443u16);
    let mut bytes = [0; 12];
    let (from, to) = if reply {
        (server, client)
    } else {
        (client, server)
    };
    let (first, second) = if reply {
        (dport, sport)
    } else {
        (sport, dport)
    };
    bytes[..4].copy_from_slice(&from.to_be_bytes());
    bytes[4..8].copy_from_slice(&to.to_be_bytes());
    bytes[8..10].copy_from_slice(&first.to_be_bytes());
    bytes[10..].copy_from_slice(&second.to_be_bytes());
    bytes
}

fn tuple(flow: u32, reply: bool, kind: Kind) -> Tuple {
    let bytes = ends(flow, reply);
    let mut tuple = Tuple {
        sport: u16::from_be_bytes([bytes[8], bytes[9]]),
        dport: u16::from_be_bytes([bytes[10], bytes[11]]),
        protocol: if kind == Kind::Udp { 17 } else { 6 },
        l3: 2,
        ..Tuple::default()
    };
    tuple.src[..4].copy_from_slice(&bytes[..4]);
    tuple.dst[..4].copy_from_slice(&bytes[4..8]);
    tuple
}

impl Worker {
    fn new(worker: TrackerWorker, kind: Kind, size: u32, now: Arc<AtomicU64>) -> Self {
        let mut frames = Burst::new();
        let mut packets = Box::new(Packets::new());
        for lane in 0..BATCH {
            let mut bytes = vec![2; 12];
            let transport = if kind == Kind::Udp { 18 } else { 20 };
            bytes.extend([8, 0, 0x45, 0, 0, 20 + transport, 0, 0, 0, 0, 64]);
            bytes.extend([if kind == Kind::Udp { 17 } else { 6 }, 0, 0]);
            bytes.resize(bytes.len() + 12, 0);
            match kind {
                Kind::Udp => bytes.extend([0, 18, 0, 0]),
                Kind::Tcp => bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 16, 0x20, 0, 0, 0, 0, 0]),
            }
            bytes.resize(60, 0);
            packets.headers[lane] = Headers::dissect(&bytes);
            frames.push(Frame::owned(bytes.into_boxed_slice(), 0, 60, PortId(0)));
        }
        let random = 0x9e37_79b9_7f4a_7c15 ^ u64::from(worker.number()) << 40;
        Self {
            worker,
            packets,
            frames,
            kind,
            size,
            random,
            now,
            share: (0, 1),
        }
    }

    /// A packet of a flow and direction at random; of two workers each has one direction.
    fn draw(&mut self) -> (u32, bool) {
        self.random = self
            .random
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        let flow = (((self.random >> 32) * u64::from(self.size)) >> 32) as u32;
        let reply = match self.share {
            (number, 2) => number == 1,
            _ => self.random >> 31 & 1 == 1,
        };
        (flow, reply)
    }

    fn put(&mut self, lane: usize, flow: u32, reply: bool) {
        self.frames[lane].bytes_mut()[26..38].copy_from_slice(&ends(flow, reply));
    }

    /// Sequence number, acknowledgement and flags of a TCP segment.
    fn put_tcp(&mut self, lane: usize, sequence: u32, acknowledged: u32, flags: u8) {
        let bytes = self.frames[lane].bytes_mut();
        bytes[38..42].copy_from_slice(&sequence.to_be_bytes());
        bytes[42..46].copy_from_slice(&acknowledged.to_be_bytes());
        bytes[47] = flags;
    }

    /// Takes the first frames through tracking and confirmation; yields how many were in a state.
    fn batch(&mut self, count: usize, wanted: CtState) -> usize {
        let now = self.now.load(Relaxed);
        self.worker.begin(now, now);
        self.packets.ct = [PacketCt::NONE; BATCH];
        self.packets.ended = 0;
        let context = TrackContext {
            now_ns: now,
            wall_ns: now,
            domain: 0,
            exact: false,
        };
        let mut todo = u64::MAX >> (BATCH - count);
        while todo != 0 {
            let deferred = self
                .worker
                .track(todo, &mut self.packets, &self.frames, &context);
            let alive = todo & !deferred & !self.packets.ended;
            self.worker.confirm(alive, &mut self.packets, &context);
            todo = deferred;
        }
        self.worker.end();
        self.packets.ct[..count]
            .iter()
            .filter(|ct| ct.state == wanted)
            .count()
    }

    /// One packet of each flow of this worker's part, in order; yields how many were in a state.
    fn sweep(&mut self, reply: bool, tcp: (u32, u32, u8), wanted: CtState) -> u64 {
        let (number, count) = self.share;
        let mut judged = 0;
        let part = self.size / count;
        let (mut flow, end) = (part * number, part * (number + 1));
        while flow < end {
            let lanes = BATCH.min((end - flow) as usize);
            for lane in 0..lanes {
                self.put(lane, flow + lane as u32, reply);
                if self.kind == Kind::Tcp {
                    self.put_tcp(lane, tcp.0, tcp.1, tcp.2);
                }
            }
            judged += self.batch(lanes, wanted) as u64;
            flow += lanes as u32;
        }
        judged
    }

    /// Brings all flows to where they are established and assured.
    pub(super) fn establish(&mut self) -> anyhow::Result<f64> {
        let mut judged = self.sweep(false, (0, 0, 2), CtState::New);
        judged += self.sweep(true, (0, 1, 18), CtState::Established);
        self.now.fetch_add(3 * SECOND, Relaxed);
        judged += self.sweep(false, (1, 1, 16), CtState::Established);
        anyhow::ensure!(
            judged == 3 * u64::from(self.size),
            "only {judged} packets were judged rightly"
        );
        if self.kind == Kind::Tcp {
            for lane in 0..BATCH {
                self.put_tcp(lane, 1, 1, 16);
            }
        }
        Ok(0.0)
    }

    /// Nanoseconds of a look-up, without a packet.
    pub(super) fn look_up(&mut self, count: usize) -> anyhow::Result<f64> {
        let now = self.now.load(Relaxed);
        let mut found = [None; BATCH];
        let (mut hits, mut busy) = (0, 0);
        let batches = count / BATCH;
        for _ in 0..batches / 16 {
            // Drawing is not measured.
            let mut drawn = [[Tuple::default(); BATCH]; 16];
            for tuples in &mut drawn {
                for tuple_of_lane in tuples.iter_mut() {
                    let (flow, reply) = self.draw();
                    *tuple_of_lane = tuple(flow, reply, self.kind);
                }
            }
            let started = thread_ns();
            for batch in &drawn {
                self.worker.begin(now, now);
                self.worker.look_up(batch, &mut found);
                self.worker.end();
                hits += found.iter().flatten().count();
            }
            busy += thread_ns() - started;
        }
        let looked_up = batches / 16 * 16 * BATCH;
        anyhow::ensure!(hits == looked_up, "{hits} of {looked_up} found");
        Ok(busy as f64 / looked_up as f64)
    }

    /// Nanoseconds of a packet of a known flow: reading the tuple, finding, judging, counting, refreshing.
    /// A millisecond passes every 1024 packets.
    pub(super) fn known(&mut self, count: usize) -> anyhow::Result<f64> {
        let (mut established, mut done) = (0, 0);
        let started = thread_ns();
        while done < count {
            for lane in 0..BATCH {
                let (flow, reply) = self.draw();
                self.put(lane, flow, reply);
            }
            established += self.batch(BATCH, CtState::Established);
            done += BATCH;
            if done.is_multiple_of(1024) {
                self.now.fetch_add(1_000_000, Relaxed);
            }
        }
        let cost = (thread_ns() - started) as f64 / done as f64;
        anyhow::ensure!(
            established == done,
            "{established} of {done} were established"
        );
        Ok(cost)
    }

    /// Nanoseconds of a new flow's only packet; the table is filled. Of two workers each begins half of the flows.
    pub(super) fn births(&mut self) -> anyhow::Result<f64> {
        let started = thread_ns();
        let born = self.sweep(false, (0, 0, 2), CtState::New);
        let cost = (thread_ns() - started) as f64 / born as f64;
        let part = u64::from(self.size / self.share.1);
        anyhow::ensure!(born == part, "{born} of {part} flows were begun");
        Ok(cost)
    }

    /// Nanoseconds that ending a flow costs when its time is over.
    pub(super) fn expire(&mut self) -> anyhow::Result<f64> {
        let now = self.now.fetch_add(10_000 * SECOND, Relaxed) + 10_000 * SECOND;
        let flows = self.worker.tracker().count();
        let own = self.worker.tracker().statistics(0);
        let started = thread_ns();
        for _ in 0..u64::from(flows) + 100 {
            self.worker.begin(now, now);
            self.worker.end();
            let ended = self.worker.tracker().statistics(0);
            if ended.destroy == ended.insert {
                break;
            }
        }
        let busy = thread_ns() - started;
        let ended = self.worker.tracker().statistics(0).destroy - own.destroy;
        // The part of another worker is its own to end.
        if u64::from(flows) > ended {
            let mut rest = Vec::new();
            let tracker = Arc::clone(self.worker.tracker());
            let mut from = Some(0);
            while let Some(next) = from {
                from = tracker.list(&Filter::default(), next, 1024, &mut rest);
                for flow in rest.drain(..) {
                    tracker.delete(flow.id, now);
                }
            }
        }
        anyhow::ensure!(ended > 0, "no flow ended");
        Ok(busy as f64 / ended as f64)
    }
}
