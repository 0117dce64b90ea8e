//! How a worker waits for frames: spinning, asleep on its descriptors, or first the one and then
//! the other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

/// How a worker waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wait {
    /// Spins for a moment after the last frame, then sleeps.
    #[default]
    Adaptive,
    /// Sleeps as soon as there is nothing to do.
    Poll,
    /// Never sleeps.
    Busy,
}

impl Wait {
    /// How long to spin after the last frame before falling asleep.
    ///
    /// Waking a sleeper costs some 10 to 20 us; spinning longer than that helps only traffic
    /// with pauses shorter than the spin, and takes the core from everyone else.
    const SPIN: Duration = Duration::from_micros(40);

    /// Whether to sleep after `idle_ns` without a frame.
    pub(super) fn shall_sleep(self, idle_ns: u64) -> bool {
        match self {
            Wait::Adaptive => idle_ns >= Self::SPIN.as_nanos() as u64,
            Wait::Poll => true,
            Wait::Busy => false,
        }
    }
}

/// Wakes a sleeping worker.
#[derive(Debug)]
pub(super) struct Alarm(OwnedFd);

impl Alarm {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    pub(super) fn ring(&self) {
        // A full counter wakes as well.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

/// Sleeps until a descriptor is readable, the alarm rings or the time is up. Calls `faulty` with
/// the place of each descriptor that reports an error.
pub(super) fn sleep<'fd>(
    alarm: &'fd Alarm,
    descriptors: impl Iterator<Item = BorrowedFd<'fd>>,
    limit: Duration,
    mut faulty: impl FnMut(usize),
) {
    // One alarm and at most a handful of ports: a short vector, made only when idle.
    let mut wanted: Vec<PollFd<'fd>> = Vec::with_capacity(16);
    wanted.push(PollFd::from_borrowed_fd(alarm.0.as_fd(), PollFlags::IN));
    wanted.extend(descriptors.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
    let limit = Timespec {
        tv_sec: limit.as_secs() as i64,
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    // An interrupted sleep is a short one.
    let _ = poll(&mut wanted, Some(&limit));
    if wanted[0].revents().contains(PollFlags::IN) {
        alarm.silence();
    }
    for (place, fd) in wanted[1..].iter().enumerate() {
        if fd.revents().intersects(PollFlags::ERR | PollFlags::HUP) {
            faulty(place);
        }
    }
}
