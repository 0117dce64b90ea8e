//! What the pipeline decided about each frame of a batch.

use crate::conntrack::{Attached, Zone};
use crate::drop_reason::DropReason;
use crate::packet::frame::{BATCH, Frame};
use crate::packet::pool::FramePool;
use crate::port::PortId;
use crate::synproxy::Handshake;

/// What becomes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves by this port.
    Send(PortId),
    /// It does not leave by itself and is no drop: a packet that is parked or is for the dataplane itself, or
    /// a datagram whose fragments leave in its place.
    Held,
    /// It ends here.
    Drop {
        /// Why.
        reason: DropReason,
        /// The number of the rule that said so, [`NO_RULE`] when none did.
        rule: u32,
    },
}

/// No rule: the dataplane itself dropped the frame.
pub const NO_RULE: u32 = u32::MAX;

impl Fate {
    /// A drop that no rule asked for.
    pub const fn dropped(reason: DropReason) -> Self {
        Fate::Drop {
            reason,
            rule: NO_RULE,
        }
    }
}

/// An answer of a rule that is to be routed, or a segment of the SYN proxy, which on a wire has its port.
#[derive(Debug)]
pub struct Routed {
    /// The answer, with room for a link header in front.
    pub frame: Frame<'static>,
    /// The port by which it has to leave, where there is only one way.
    pub port: Option<PortId>,
    /// The flow that it is about.
    pub about: Option<Attached>,
    /// It is one of the SYN proxy's, which the tracker is to see.
    pub proxied: Option<ProxySegment>,
}

/// What is told of a segment that the SYN proxy sends to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxySegment {
    /// The zone of the packet that caused it.
    pub zone: Zone,
    /// It begins the connection: what the client was told.
    pub opens: Option<Handshake>,
}

/// The fates of a batch, one for each lane, and what the batch brought forth.
///
/// The worker clears it before each batch; the pipeline sets one fate for every frame of the
/// burst. A lane without a fate is dropped as [`DropReason::WorkerPanic`]: never a silent pass.
#[derive(Debug)]
pub struct Disposition {
    fates: [Fate; BATCH],
    /// Frames that the batch brought forth (copies, answers), sent after its own frames.
    pub emitted: Vec<(PortId, Frame<'static>)>,
    /// Answers of rules that a gateway is to route.
    pub routed: Vec<Routed>,
    /// Frames of the dataplane's own that ended here, each with its reason and rule; counted as any
    /// other drop.
    pub ended: Vec<(Frame<'static>, DropReason, u32)>,
    /// Where their memory comes from and goes back to.
    pub pool: FramePool,
    /// Lanes whose frame was replaced by one of the pool.
    pub replaced: u64,
}

impl Default for Disposition {
    fn default() -> Self {
        Self {
            fates: [Fate::dropped(DropReason::WorkerPanic); BATCH],
            emitted: Vec::with_capacity(BATCH),
            routed: Vec::new(),
            ended: Vec::with_capacity(BATCH),
            pool: FramePool::default(),
            replaced: 0,
        }
    }
}

impl Disposition {
    /// Forgets the last batch.
    pub fn clear(&mut self) {
        self.fates = [Fate::dropped(DropReason::WorkerPanic); BATCH];
        for (_, frame) in self.emitted.drain(..) {
            self.pool.give(frame);
        }
        for routed in self.routed.drain(..) {
            self.pool.give(routed.frame);
        }
        self.replaced = 0;
        for (frame, _, _) in self.ended.drain(..) {
            self.pool.give(frame);
        }
    }

    /// Sets the fate of a lane.
    ///
    /// # Panics
    /// When there is no such lane.
    #[inline]
    pub fn set(&mut self, lane: usize, fate: Fate) {
        self.fates[lane] = fate;
    }

    /// The fate of a lane.
    ///
    /// # Panics
    /// When there is no such lane.
    #[inline]
    pub fn fate(&self, lane: usize) -> Fate {
        self.fates[lane]
    }

    /// The fates by lane.
    pub fn fates(&self) -> &[Fate; BATCH] {
        &self.fates
    }
}
