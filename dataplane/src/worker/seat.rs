//! What a worker holds and a panic leaves alone: its queues, its counters, its memory of drops.
//!
//! A frame that was received and has not yet left or been dropped is *in flight*; after a panic
//! exactly those are counted as [`DropReason::WorkerPanic`].

use std::sync::Arc;
use std::time::Duration;

use arrayvec::ArrayVec;

use super::disposition::{Disposition, Fate, NO_RULE};
use super::drop_ring::{DropRing, Occasion};
use super::metrics::{QueueMetrics, WorkerMetrics};
use super::stages::{Context, Stages};
use super::wait::{Alarm, sleep};
use crate::drop_reason::DropReason;
use crate::packet::frame::{BATCH, Burst, Frame};
use crate::port::{PortId, Queue, Refused, Rx, RxQueue, Tx, TxQueue};
use crate::program::lanes::lanes;

/// The lanes of a burst that leave by one port.
type Lanes = ArrayVec<u8, BATCH>;

/// Sending halves and what they count, by port number.
struct Exits {
    /// Indexed by port number.
    by_port: Vec<Option<(Tx, Arc<QueueMetrics>)>>,
    metrics: Arc<WorkerMetrics>,
    drops: DropRing,
    refused: Refused,
    in_flight: u64,
}

/// One receiving half.
struct Entrance {
    port: PortId,
    rx: Rx,
    metrics: Arc<QueueMetrics>,
}

/// A worker's place.
pub(super) struct Seat {
    entrances: Vec<Entrance>,
    exits: Exits,
}

impl Seat {
    pub(super) fn new(metrics: Arc<WorkerMetrics>) -> Self {
        Self {
            entrances: Vec::new(),
            exits: Exits {
                by_port: Vec::new(),
                metrics,
                drops: DropRing::new(),
                refused: Refused::new(),
                in_flight: 0,
            },
        }
    }

    pub(super) fn add(&mut self, queue: Queue, metrics: Arc<QueueMetrics>) {
        let port = metrics.port;
        let place = usize::from(port.0);
        if self.exits.by_port.len() <= place {
            self.exits.by_port.resize_with(place + 1, || None);
        }
        self.exits.by_port[place] = Some((queue.tx, Arc::clone(&metrics)));
        self.entrances.push(Entrance {
            port,
            rx: queue.rx,
            metrics,
        });
    }

    /// Gives a port's queue up; its counters are up to date afterwards.
    pub(super) fn remove(&mut self, port: PortId) -> Option<Queue> {
        self.refresh();
        let place = self.entrances.iter().position(|e| e.port == port)?;
        let (tx, _) = self.exits.by_port.get_mut(usize::from(port.0))?.take()?;
        let rx = self.entrances.remove(place).rx;
        Some(Queue { rx, tx })
    }

    pub(super) fn drops(&self) -> &DropRing {
        &self.exits.drops
    }

    /// Takes one batch from each queue through the stages; returns how many frames there were.
    pub(super) fn round<S: Stages>(
        &mut self,
        stages: &mut S,
        generation: &S::Generation,
        context: &Context,
        disposition: &mut Disposition,
    ) -> usize {
        let occasion = Occasion {
            generation: S::number(generation),
            wall_ns: context.wall_ns,
            worker: context.worker,
        };
        let mut frames = 0;
        for entrance in &mut self.entrances {
            let mut burst = Burst::new();
            if entrance.rx.receive(&mut burst).is_err() {
                entrance.metrics.count_fault();
            }
            if !burst.is_empty() {
                frames += burst.len();
                self.exits.in_flight = burst.len() as u64;
                self.exits.metrics.count_batch(burst.len());
                disposition.clear();
                stages.process(&mut burst, generation, context, disposition);
                self.exits.dispatch(&mut burst, disposition, occasion);
                self.exits.in_flight = 0;
            }
            drop(burst);
            entrance.rx.release();
        }
        if frames > 0 {
            self.count_lost(stages);
        }
        frames
    }

    /// Counts the frames that the stages had held and have dropped.
    pub(super) fn count_lost<S: Stages>(&mut self, stages: &mut S) {
        while let Some((reason, frames)) = stages.take_lost() {
            self.exits.metrics.count_drops(reason, frames);
        }
    }

    /// Has the stages do what is due without a packet.
    pub(super) fn tick<S: Stages>(
        &mut self,
        stages: &mut S,
        generation: &S::Generation,
        context: &Context,
        disposition: &mut Disposition,
    ) {
        let occasion = Occasion {
            generation: S::number(generation),
            wall_ns: context.wall_ns,
            worker: context.worker,
        };
        disposition.clear();
        stages.tick(generation, context, disposition);
        self.exits.bring_forth(disposition, occasion);
    }

    /// Cleans up after a panic: the batch is lost, and said to be.
    pub(super) fn recover(&mut self) -> u64 {
        let lost = std::mem::take(&mut self.exits.in_flight);
        self.exits.metrics.count_panic();
        self.exits
            .metrics
            .count_drops(DropReason::WorkerPanic, lost);
        self.exits.refused.clear();
        for entrance in &mut self.entrances {
            entrance.rx.release();
        }
        lost
    }

    /// Brings the counters of all queues up to date.
    pub(super) fn refresh(&mut self) {
        for entrance in &mut self.entrances {
            entrance.metrics.set_rx(entrance.rx.counters());
        }
        for (tx, metrics) in self.exits.by_port.iter().flatten() {
            metrics.set_tx(tx.counters());
        }
    }

    /// Sleeps until there is something to do.
    pub(super) fn sleep(&mut self, alarm: &Alarm, limit: Duration) {
        let mut faulty = ArrayVec::<usize, 64>::new();
        let descriptors = self.entrances.iter().filter_map(|e| e.rx.descriptor());
        sleep(alarm, descriptors, limit, |place| {
            // More than 64 faulty ports at once: the rest is found by the next sleep.
            let _ = faulty.try_push(place);
        });
        let mut with_descriptor: Vec<&mut Entrance> = match faulty.is_empty() {
            true => return,
            false => self
                .entrances
                .iter_mut()
                .filter(|e| e.rx.descriptor().is_some())
                .collect(),
        };
        for place in faulty {
            let entrance = &mut with_descriptor[place];
            if entrance.rx.take_fault().is_some() {
                entrance.metrics.count_fault();
            }
        }
    }
}

impl Exits {
    /// Carries out what the stages decided.
    fn dispatch(&mut self, burst: &mut Burst<'_>, out: &mut Disposition, occasion: Occasion) {
        let mut pending: u64 = match burst.len() {
            BATCH => u64::MAX,
            len => (1 << len) - 1,
        };
        // One pass for each port that frames leave by; on a wire that is one.
        while pending != 0 {
            let first = pending.trailing_zeros() as usize;
            match out.fate(first) {
                Fate::Drop { reason, rule } => {
                    pending &= pending - 1;
                    self.drop_frame(&burst[first], reason, rule, occasion);
                }
                Fate::Held => {
                    pending &= pending - 1;
                    self.in_flight -= 1;
                }
                Fate::Send(port) => {
                    let mut lanes = Lanes::new();
                    let mut rest = pending;
                    while rest != 0 {
                        let lane = rest.trailing_zeros() as usize;
                        rest &= rest - 1;
                        if out.fate(lane) == Fate::Send(port) {
                            lanes.push(lane as u8);
                            pending &= !(1 << lane);
                        }
                    }
                    self.send(port, burst, &lanes, occasion);
                }
            }
        }
        self.bring_forth(out, occasion);
        for lane in lanes(std::mem::take(&mut out.replaced)) {
            let empty = Frame::owned(Box::default(), 0, 0, PortId::NONE);
            out.pool.give(std::mem::replace(&mut burst[lane], empty));
        }
    }

    /// Sends and counts what a batch or a tick brought forth.
    fn bring_forth(&mut self, out: &mut Disposition, occasion: Occasion) {
        for (frame, reason, rule) in out.ended.drain(..) {
            self.in_flight += 1;
            self.drop_frame(&frame, reason, rule, occasion);
            out.pool.give(frame);
        }
        for (port, frame) in out.emitted.drain(..) {
            let mut frames = [frame];
            self.in_flight += 1;
            self.send(port, &mut frames, &[0], occasion);
            let [frame] = frames;
            out.pool.give(frame);
        }
        for _ in 0..out.pool.take_refused() {
            self.metrics.count_drop(DropReason::PoolEmpty);
        }
    }

    fn send(&mut self, port: PortId, frames: &mut [Frame<'_>], lanes: &[u8], occasion: Occasion) {
        let exit = self.by_port.get_mut(usize::from(port.0));
        let Some((tx, _)) = exit.and_then(Option::as_mut) else {
            for &lane in lanes {
                let frame = &frames[usize::from(lane)];
                self.drop_frame(frame, DropReason::PortDown, NO_RULE, occasion);
            }
            return;
        };
        self.refused.clear();
        tx.transmit(frames, lanes, &mut self.refused);
        self.in_flight -= (lanes.len() - self.refused.len()) as u64;
        for (lane, reason) in std::mem::take(&mut self.refused) {
            self.drop_frame(&frames[usize::from(lane)], reason, NO_RULE, occasion);
        }
    }

    fn drop_frame(&mut self, frame: &Frame<'_>, reason: DropReason, rule: u32, when: Occasion) {
        self.in_flight -= 1;
        self.metrics.count_drop(reason);
        self.drops.remember(frame, reason, rule, when);
    }
}
