//! The one small privileged part: opens devices and hands descriptors over.
//!
//! ```text
//!     sluice (any user)  <-- packets of a socket pair: orders, facts, descriptors -->  opener
//! ```
//!
//! [`OpenerProcess::fork`] splits it off early, before any thread runs; the rest of the daemon can
//! drop its privileges then, and ports still come and go. It checks that the kernel does not use
//! a device itself, prepares it, closes the kernel's ingress behind the tap, opens the sockets and
//! watches the device. On [`Opener`]'s end everything is undone; when the daemon dies instead,
//! everything stays as it is: closed.

mod client;
mod device;
mod ingress;
mod namespace;
mod netlink;
mod protocol;
mod server;
mod tap;

pub use client::{Opened, Opener, OpenerProcess};

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::appliance::Driver;

use sluice_dataplane::port::af_packet::QueueSockets;

/// The most queues that a port can have: their descriptors travel in one message.
pub const MAX_QUEUES: usize = 80;

/// A device that is to become a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Number of the port.
    pub port: u16,
    /// `device`, or `netns:device`.
    pub device: String,
    /// Queues: one for each worker.
    pub queues: usize,
    /// Slots of each queue's receiving ring.
    pub slots: u32,
    /// May change the device so that it can be used; undone at the end.
    pub prepare: bool,
    /// How its frames come and go.
    pub driver: Driver,
}

/// How a device has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LinkChange {
    /// It is up or down now, has another MTU or other offloads.
    State {
        /// Up, and with a carrier.
        up: bool,
        /// Its MTU.
        mtu: u32,
        /// Bits of [`Offloads`](sluice_dataplane::port::Offloads).
        offloads: u32,
    },
    /// It has disappeared; its queues are dead.
    Gone,
    /// A device of this name is there again: close the port and open it anew.
    Back,
}

/// A change of a port's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// Number of the port.
    pub port: u16,
    /// What has changed.
    pub change: LinkChange,
}

/// How the kernel uses a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Use {
    /// It has an address.
    Address(String),
    /// It belongs to a bridge or bond.
    Master(String),
    /// Another device sits on it.
    Upper(String),
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Use::Address(address) => write!(f, "it has the address {address}"),
            Use::Master(master) => write!(f, "it belongs to {master}"),
            Use::Upper(upper) => write!(f, "{upper} sits on it"),
        }
    }
}

/// Why a device was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum OpenError {
    /// There is no such device.
    #[error("there is no device {device}")]
    NoDevice {
        /// As it was named.
        device: String,
    },
    /// There is no such namespace.
    #[error("cannot enter the namespace of {device}: {error}")]
    NoNamespace {
        /// As it was named.
        device: String,
        /// What the system says.
        error: String,
    },
    /// It carries no Ethernet frames.
    #[error("{device} is no Ethernet device")]
    NotEthernet {
        /// The device.
        device: String,
    },
    /// The kernel uses it: it would itself answer or forward.
    #[error("the kernel itself uses {device}: {by} (to mend it: {mend})")]
    Served {
        /// The device.
        device: String,
        /// How.
        by: Use,
        /// The command that mends it.
        mend: String,
    },
    /// The way around the firewall cannot be closed.
    #[error("cannot close the kernel's ingress of {device}: {error}")]
    Ingress {
        /// The device.
        device: String,
        /// What the system says.
        error: String,
    },
    /// It is open already.
    #[error("{device} is port {port} already")]
    Open {
        /// As it was named.
        device: String,
        /// The port that it is.
        port: u16,
    },
    /// More queues than a port can have, or none.
    #[error("a port has 1 to {MAX_QUEUES} queues, not {queues}")]
    Queues {
        /// As many as were asked for.
        queues: usize,
    },
    /// The system refuses something.
    #[error("cannot {doing}: {error}")]
    System {
        /// What was being done.
        doing: String,
        /// What the system says.
        error: String,
    },
    /// The privileged part has ended.
    #[error("the privileged part of sluice has ended")]
    Ended,
}

impl From<std::io::Error> for OpenError {
    fn from(error: std::io::Error) -> Self {
        OpenError::System {
            doing: "ask the kernel about the device".to_owned(),
            error: error.to_string(),
        }
    }
}
