//! The loop of one worker thread: orders, newest generation, one batch from each queue, wait.
//!
//! # Panics
//! A panic of a stage costs the batch, nothing else: the queues lie in the [`Seat`], outside of
//! what unwinds; the stages, which may be half-changed, are thrown away and made anew.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};

use super::clock::Clock;
use super::disposition::Disposition;
use super::group::{Order, Tell, WorkerEvent};
use super::metrics::WorkerMetrics;
use super::seat::Seat;
use super::stages::{Context, Stages};
use super::wait::{Alarm, Wait};

/// How often counters are brought up to date under load, and stages may do what is due.
const TICK_NS: u64 = 100_000_000;
/// How soon after the last frame the counters are up to date.
const SETTLE_NS: u64 = 10_000_000;

/// What a worker thread is started with.
pub(super) struct Worker<G> {
    pub(super) number: u16,
    pub(super) cpu: Option<usize>,
    pub(super) wait: Wait,
    pub(super) inbox: Receiver<Order>,
    pub(super) alarm: Arc<Alarm>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) generation: Arc<ArcSwap<G>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) tell: Tell,
}

impl<G: Send + Sync + 'static> Worker<G> {
    /// Runs until it is told to stop.
    pub(super) fn run<S: Stages<Generation = G>>(self, stages: impl Fn() -> S) {
        self.pin();
        let mut seat = Seat::new(Arc::clone(&self.metrics));
        loop {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let mut stages = stages();
                self.work(&mut seat, &mut stages);
            }));
            let Err(panic) = outcome else { break };
            let lost = seat.recover();
            (self.tell)(WorkerEvent::Panicked {
                worker: self.number,
                message: message_of(panic.as_ref()),
                lost,
            });
        }
        seat.refresh();
        self.metrics.set_stopped();
    }

    fn work<S: Stages<Generation = G>>(&self, seat: &mut Seat, stages: &mut S) {
        let mut newest = Cache::new(Arc::clone(&self.generation));
        let mut disposition = Disposition::default();
        let mut last = self.clock.monotonic_ns();
        let (mut last_frame, mut last_tick, mut last_refresh) = (last, last, last);
        loop {
            if self.obey(seat).is_break() {
                return;
            }
            let generation = newest.load();
            self.metrics.set_generation(S::number(generation));
            let context = Context {
                worker: self.number,
                now_ns: last,
                wall_ns: self.clock.wall_ns(),
            };
            let frames = seat.round(stages, generation, &context, &mut disposition);
            let now = self.clock.monotonic_ns();
            if frames > 0 {
                self.metrics.count_busy(now - last);
                last_frame = now;
            } else {
                self.metrics.count_idle(now - last);
            }
            last = now;
            if now - last_tick >= TICK_NS {
                last_tick = now;
                seat.tick(stages, generation, &context, &mut disposition);
                seat.count_lost(stages);
            }
            let stale = last_frame > last_refresh;
            let pause = if frames > 0 { TICK_NS } else { SETTLE_NS };
            if stale && now - last_refresh >= pause {
                last_refresh = now;
                seat.refresh();
            } else if frames == 0 && self.wait.shall_sleep(now - last_frame) {
                last = self.rest(seat, now, if stale { SETTLE_NS } else { TICK_NS });
            } else if frames == 0 {
                std::hint::spin_loop();
            }
        }
    }

    /// Sleeps and returns the time.
    fn rest(&self, seat: &mut Seat, now: u64, limit_ns: u64) -> u64 {
        seat.sleep(&self.alarm, Duration::from_nanos(limit_ns));
        let awake = self.clock.monotonic_ns();
        self.metrics.count_idle(awake - now);
        awake
    }

    /// Carries out the orders that are waiting.
    fn obey(&self, seat: &mut Seat) -> ControlFlow<()> {
        loop {
            match self.inbox.try_recv() {
                Ok(Order::Add(queue, metrics)) => seat.add(*queue, metrics),
                // Whoever asked may have lost patience: then the answer is for nobody.
                Ok(Order::Remove(port, reply)) => {
                    let _ = reply.send(seat.remove(port));
                }
                Ok(Order::Drops(reply)) => {
                    let _ = reply.send(seat.drops().list());
                }
                Ok(Order::Refresh(reply)) => {
                    seat.refresh();
                    let _ = reply.send(());
                }
                Ok(Order::Stop) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
            }
        }
    }

    fn pin(&self) {
        let Some(cpu) = self.cpu else { return };
        let mut set = rustix::thread::CpuSet::new();
        let pinned = cpu < rustix::thread::CpuSet::MAX_CPU && {
            set.set(cpu);
            rustix::thread::sched_setaffinity(None, &set).is_ok()
        };
        if !pinned {
            (self.tell)(WorkerEvent::NotPinned {
                worker: self.number,
                cpu,
            });
        }
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
