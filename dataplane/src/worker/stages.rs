//! What a worker does with a batch: the seam between the loop and the pipeline.

use super::disposition::Disposition;
use crate::drop_reason::DropReason;
use crate::packet::frame::Burst;

/// Time, chance and place of one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The worker's number, from 0.
    pub worker: u16,
    /// Monotonic time in nanoseconds.
    pub now_ns: u64,
    /// Nanoseconds since 1970-01-01 UTC.
    pub wall_ns: u64,
}

/// The stages between receiving and sending. Each worker has its own; after a panic the worker
/// gets a new one, so nothing half-changed is ever used again.
pub trait Stages {
    /// What control publishes: programs, sets, the table of ports.
    type Generation: Send + Sync + 'static;

    /// The number of a generation.
    fn number(generation: &Self::Generation) -> u64;

    /// Judges every frame of the burst: sets its fate in `out`.
    fn process(
        &mut self,
        burst: &mut Burst<'_>,
        generation: &Self::Generation,
        context: &Context,
        out: &mut Disposition,
    );

    /// Work that is due without a packet (timeouts); called about every 100 ms. What it brings
    /// forth goes to `out`.
    fn tick(&mut self, _generation: &Self::Generation, _context: &Context, _out: &mut Disposition) {
    }

    /// Frames that were held and have been dropped since this was asked last: a reason and how many.
    /// Asked until there is none, after each batch and each tick.
    fn take_lost(&mut self) -> Option<(DropReason, u64)> {
        None
    }
}
