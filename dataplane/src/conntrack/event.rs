//! Flow events: new, update, destroy, in a bounded queue for each worker.

use super::flow::Flow;

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowEventKind {
    /// It was confirmed.
    New,
    /// Its state, status, mark or label changed; bits of [`changed`].
    Update(u8),
    /// It ended.
    Destroy,
}

/// What an update was about.
pub mod changed {
    /// The first answer was seen.
    pub const REPLY: u8 = 1;
    /// It is assured now.
    pub const ASSURED: u8 = 1 << 1;
    /// Its protocol's state changed.
    pub const PROTOCOL: u8 = 1 << 2;
    /// Its mark changed.
    pub const MARK: u8 = 1 << 3;
    /// Its label changed.
    pub const LABEL: u8 = 1 << 4;
    /// A helper was assigned.
    pub const HELPER: u8 = 1 << 5;
}

/// One event, with the flow as it was then.
#[derive(Clone, Debug)]
pub struct FlowEvent {
    /// What happened.
    pub kind: FlowEventKind,
    /// The flow.
    pub flow: Flow,
    /// Nanoseconds since 1970.
    pub wall_ns: u64,
    /// The worker that saw it.
    pub worker: u16,
}

impl FlowEventKind {
    /// The bit of an entry's event mask: bits of [`changed`] for updates, then new and destroy.
    pub fn bit(self) -> u8 {
        match self {
            Self::New => 1 << 6,
            Self::Update(what) => what,
            Self::Destroy => 1 << 7,
        }
    }
}
