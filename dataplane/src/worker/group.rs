//! The group of all workers, as control sees it: starts them, hands them ports, reads them.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::clock::Clock;
use super::drop_ring::DroppedFrame;
use super::metrics::{QueueMetrics, WorkerMetrics};
use super::run::Worker;
use super::stages::Stages;
use super::wait::{Alarm, Wait};
use crate::port::{PortId, Queue};

/// How long an order may take until the worker counts as stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the workers are to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// One worker for each entry, on that CPU (`None`: wherever the system puts it).
    pub cpus: Vec<Option<usize>>,
    /// How they wait.
    pub wait: Wait,
}

/// What a worker has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// It failed, dropped its batch and goes on with the same queues.
    Panicked {
        /// The worker.
        worker: u16,
        /// What it said.
        message: String,
        /// Frames that were lost.
        lost: u64,
    },
    /// It could not be bound to its CPU and runs unbound.
    NotPinned {
        /// The worker.
        worker: u16,
        /// The CPU.
        cpu: usize,
    },
}

/// Where workers tell what happens; called on the worker's thread, so it must be quick.
pub type Tell = Arc<dyn Fn(WorkerEvent) + Send + Sync>;

/// Why an order was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// A port brings one queue for each worker.
    #[error("port {port:?} has {queues} queues for {workers} workers")]
    Queues {
        /// The port.
        port: PortId,
        /// Queues that it brought.
        queues: usize,
        /// Workers that there are.
        workers: usize,
    },
    /// A worker has not answered.
    #[error("worker {worker} does not answer")]
    Stuck {
        /// The worker.
        worker: u16,
    },
}

/// An order to a worker, carried out between two batches.
pub(super) enum Order {
    Add(Box<Queue>, Arc<QueueMetrics>),
    Remove(PortId, Sender<Option<Queue>>),
    Drops(Sender<Vec<DroppedFrame>>),
    Refresh(Sender<()>),
    Stop,
}

struct Desk {
    worker: u16,
    orders: Sender<Order>,
    alarm: Arc<Alarm>,
    metrics: Arc<WorkerMetrics>,
    thread: Option<JoinHandle<()>>,
}

impl Desk {
    fn order(&self, order: Order) {
        // A worker that has ended takes no orders; whoever waits for the answer sees that.
        let _ = self.orders.send(order);
        self.alarm.ring();
    }

    fn answer<T>(&self, answer: &Receiver<T>) -> Result<T, GroupError> {
        answer
            .recv_timeout(PATIENCE)
            .map_err(|_| GroupError::Stuck {
                worker: self.worker,
            })
    }
}

/// All workers. They stop when this is dropped.
pub struct Workers {
    desks: Vec<Desk>,
    queues: Mutex<Vec<Arc<QueueMetrics>>>,
}

impl Workers {
    /// Starts one thread for each CPU of the settings. `stages` makes a worker's pipeline, at
    /// the start and again after a panic; it gets the worker's number.
    ///
    /// # Errors
    /// When a thread or a descriptor cannot be had.
    pub fn start<S: Stages + 'static>(
        settings: &Settings,
        stages: impl Fn(u16) -> S + Send + Sync + 'static,
        generation: Arc<ArcSwap<S::Generation>>,
        clock: Arc<dyn Clock>,
        tell: Tell,
    ) -> io::Result<Self> {
        let stages = Arc::new(stages);
        let mut group = Self {
            desks: Vec::with_capacity(settings.cpus.len()),
            queues: Mutex::new(Vec::new()),
        };
        for (number, &cpu) in settings.cpus.iter().enumerate() {
            let number = number as u16;
            let (orders, inbox) = channel();
            let metrics = Arc::new(WorkerMetrics::new(number));
            let alarm = Arc::new(Alarm::new()?);
            let worker = Worker {
                number,
                cpu,
                wait: settings.wait,
                inbox,
                alarm: Arc::clone(&alarm),
                metrics: Arc::clone(&metrics),
                generation: Arc::clone(&generation),
                clock: Arc::clone(&clock),
                tell: Arc::clone(&tell),
            };
            let make = Arc::clone(&stages);
            let thread = std::thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || worker.run(|| make(number)))?;
            group.desks.push(Desk {
                worker: number,
                orders,
                alarm,
                metrics,
                thread: Some(thread),
            });
        }
        Ok(group)
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.desks.len()
    }

    /// Hands a port to the workers, one queue to each. Frames can come by it from now on, so the
    /// generation that knows the port is published before.
    ///
    /// # Errors
    /// When there are more or fewer queues than workers; nothing has changed then.
    pub fn add_port(&self, port: PortId, queues: Vec<Queue>) -> Result<(), GroupError> {
        if queues.len() != self.desks.len() {
            return Err(GroupError::Queues {
                port,
                queues: queues.len(),
                workers: self.desks.len(),
            });
        }
        for (desk, queue) in self.desks.iter().zip(queues) {
            let metrics = Arc::new(QueueMetrics::new(port, desk.worker));
            self.queue_list().push(Arc::clone(&metrics));
            desk.order(Order::Add(Box::new(queue), metrics));
        }
        Ok(())
    }

    /// Takes a port away from the workers and returns its queues, in the order of the workers.
    /// When it returns no worker uses the port any more. Its counters are forgotten.
    ///
    /// # Errors
    /// When a worker does not answer; the others have given the port up.
    pub fn remove_port(&self, port: PortId) -> Result<Vec<Queue>, GroupError> {
        let answers: Vec<_> = self
            .desks
            .iter()
            .map(|desk| {
                let (reply, answer) = channel();
                desk.order(Order::Remove(port, reply));
                answer
            })
            .collect();
        let mut queues = Vec::with_capacity(self.desks.len());
        let mut outcome = Ok(());
        for (desk, answer) in self.desks.iter().zip(answers) {
            match desk.answer(&answer) {
                Ok(queue) => queues.extend(queue),
                Err(error) => outcome = Err(error),
            }
        }
        self.queue_list().retain(|queue| queue.port != port);
        outcome.map(|()| queues)
    }

    /// The counters of each worker.
    pub fn metrics(&self) -> Vec<Arc<WorkerMetrics>> {
        self.desks.iter().map(|d| Arc::clone(&d.metrics)).collect()
    }

    /// The counters of each queue of each port.
    pub fn queue_metrics(&self) -> Vec<Arc<QueueMetrics>> {
        self.queue_list().clone()
    }

    /// Has every worker bring its queues' counters up to date (the kernel's ring drops too), as
    /// a test or `sluice ports` wants them: exact at this moment.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn refresh(&self) -> Result<(), GroupError> {
        for desk in &self.desks {
            let (reply, answer) = channel();
            desk.order(Order::Refresh(reply));
            desk.answer(&answer)?;
        }
        Ok(())
    }

    /// The last frames that were dropped, oldest first.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub fn dropped_frames(&self) -> Result<Vec<DroppedFrame>, GroupError> {
        let mut all = Vec::new();
        for desk in &self.desks {
            let (reply, answer) = channel();
            desk.order(Order::Drops(reply));
            all.extend(desk.answer(&answer)?);
        }
        all.sort_by_key(|frame| frame.wall_ns);
        Ok(all)
    }

    /// Wakes sleeping workers so that they see a new generation at once and let go of the old.
    pub fn wake(&self) {
        self.desks.iter().for_each(|desk| desk.alarm.ring());
    }

    fn queue_list(&self) -> MutexGuard<'_, Vec<Arc<QueueMetrics>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for desk in &self.desks {
            desk.order(Order::Stop);
        }
        for desk in &mut self.desks {
            if let Some(thread) = desk.thread.take() {
                // Its panics are caught inside; nothing is left to be learned from the outcome.
                let _ = thread.join();
            }
        }
    }
}
