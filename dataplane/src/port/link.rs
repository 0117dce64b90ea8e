//! What is known about a device while it is in use: watched by the opener, read by its queues.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Segmentation that a device does itself, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offloads(pub u32);

impl Offloads {
    /// TCP over IPv4.
    pub const TCPV4: Self = Self(1);
    /// TCP over IPv6.
    pub const TCPV6: Self = Self(2);
    /// TCP with ECN.
    pub const TCP_ECN: Self = Self(4);
    /// UDP segmentation (`UDP_SEGMENT`).
    pub const UDP: Self = Self(8);
    /// All of them.
    pub const ALL: Self = Self(15);

    /// Whether every bit of `other` is there.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// State of one device, shared by its queues, the control side and whoever watches it.
#[derive(Debug)]
pub struct LinkState {
    up: AtomicBool,
    mtu: AtomicU32,
    offloads: AtomicU32,
    changes: AtomicU64,
}

impl LinkState {
    /// A device as it was found.
    pub fn new(up: bool, mtu: u32, offloads: Offloads) -> Self {
        Self {
            up: AtomicBool::new(up),
            mtu: AtomicU32::new(mtu),
            offloads: AtomicU32::new(offloads.0),
            changes: AtomicU64::new(0),
        }
    }

    /// The device has changed.
    pub fn set(&self, up: bool, mtu: u32, offloads: Offloads) {
        self.up.store(up, Ordering::Relaxed);
        self.mtu.store(mtu, Ordering::Relaxed);
        self.set_offloads(offloads);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Its segmentation has changed.
    pub fn set_offloads(&self, offloads: Offloads) {
        self.offloads.store(offloads.0, Ordering::Relaxed);
    }

    /// Whether it is up and has a carrier.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    /// Largest payload of a frame, in bytes.
    pub fn mtu(&self) -> u32 {
        self.mtu.load(Ordering::Relaxed)
    }

    /// What it segments itself.
    pub fn offloads(&self) -> Offloads {
        Offloads(self.offloads.load(Ordering::Relaxed))
    }

    /// How often it has changed.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }
}
