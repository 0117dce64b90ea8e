//! Where a packet's time goes: the same batch with one stage more each time.
//!
//! A clock between the stages would cost as much as a stage, so whole loops are measured and
//! their differences taken.

use std::hint::black_box;
use std::time::Duration;

use sluice_dataplane::packet::Burst;
use sluice_dataplane::port::memory::MemoryTx;
use sluice_dataplane::port::{Refused, RxQueue, TxQueue};
use sluice_dataplane::worker::{Context, Disposition, EventQueue, Pipeline, Stages};

use super::stand::{Stand, cpu_ns};

/// How far a batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Until {
    /// Out of the port in memory: the copy into the worker's slot.
    Received,
    /// The pipeline's judgement: headers dissected, hooks run.
    Judged,
    /// Into the port in memory, which only counts.
    Sent,
}

impl Until {
    pub(super) const ALL: [Self; 3] = [Self::Received, Self::Judged, Self::Sent];
}

/// CPU nanoseconds a frame, up to and with a stage.
pub(super) fn cost(stand: &Stand, until: Until, length: Duration) -> f64 {
    let mut rx = stand.receiver(0, 0);
    let mut tx = MemoryTx::counting(1514);
    let mut pipeline = Pipeline::new(1, std::sync::Arc::new(EventQueue::new(64)));
    let (mut out, mut refused) = (Disposition::default(), Refused::new());
    let lanes: Vec<u8> = (0..64).collect();
    let context = Context::default();
    let (mut frames, mut begun) = (0u64, cpu_ns());
    for round in 0u64.. {
        let mut burst = Burst::new();
        // The list in memory has no end and no error.
        let received = rx.receive(&mut burst);
        debug_assert!(received.is_ok());
        if until >= Until::Judged {
            out.clear();
            pipeline.process(&mut burst, stand.generation(), &context, &mut out);
        }
        let count = burst.len();
        if until == Until::Sent {
            tx.transmit(&mut burst, &lanes[..count], &mut refused);
            refused.clear();
        }
        black_box(&mut burst);
        frames += count as u64;
        // The first rounds warm caches and the pipeline's memory up.
        if round == 64 {
            (frames, begun) = (0, cpu_ns());
        } else if round % 64 == 0 && cpu_ns() - begun >= length.as_nanos() as u64 {
            break;
        }
    }
    (cpu_ns() - begun) as f64 / frames as f64
}
