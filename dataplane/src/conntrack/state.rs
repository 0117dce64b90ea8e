//! What a packet knows of its flow, and the bits of a flow's status.

use crate::program::key::Direction;

/// The number of a flow's entry; 0 is none. Valid within the batch that it was found in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowIndex(pub u32);

impl FlowIndex {
    /// No flow.
    pub const NONE: Self = Self(0);

    /// Whether this is a flow.
    #[inline]
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// How a packet stands to its flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CtState {
    /// Not looked at (yet).
    #[default]
    None = 0,
    /// Taken out of tracking.
    Untracked = 1,
    /// It fits no flow and cannot begin one.
    Invalid = 2,
    /// It begins a flow, or the flow has not been answered.
    New = 3,
    /// Its flow has been answered.
    Established = 4,
    /// It belongs to a flow that another one announced, or is an error about a flow.
    Related = 5,
}

impl CtState {
    /// The bit of nft's `ct state`: invalid 1, established 2, related 4, new 8, untracked 64. A packet
    /// that has not been looked at is invalid for a rule, as in the kernel.
    #[inline]
    pub fn bit(self) -> u32 {
        match self {
            Self::None | Self::Invalid => 1,
            Self::Established => 2,
            Self::Related => 4,
            Self::New => 8,
            Self::Untracked => 64,
        }
    }
}

/// What a packet knows of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketCt {
    /// The flow, if the packet has one.
    pub flow: FlowIndex,
    /// How it stands to it.
    pub state: CtState,
    /// The direction that it goes; of an error, that of the packet it is about turned round.
    pub direction: Direction,
    /// Why it is invalid: the number of an [`InvalidReason`](super::InvalidReason).
    pub invalid: u8,
}

impl PacketCt {
    /// Not looked at yet.
    pub const NONE: Self = Self {
        flow: FlowIndex::NONE,
        state: CtState::None,
        direction: Direction::Original,
        invalid: 0,
    };
    /// Taken out of tracking.
    pub const UNTRACKED: Self = Self {
        state: CtState::Untracked,
        ..Self::NONE
    };
}

impl Default for PacketCt {
    fn default() -> Self {
        Self::NONE
    }
}

const _: () = assert!(size_of::<PacketCt>() == 8);

/// Bits of a flow's status, numbered as the kernel's `IPS_*`.
pub mod status {
    /// Another flow announced it.
    pub const EXPECTED: u32 = 1;
    /// Packets of both directions have been seen.
    pub const SEEN_REPLY: u32 = 1 << 1;
    /// It is not dropped early when the table is full.
    pub const ASSURED: u32 = 1 << 2;
    /// It is in the table.
    pub const CONFIRMED: u32 = 1 << 3;
    /// Its source is translated.
    pub const SRC_NAT: u32 = 1 << 4;
    /// Its destination is translated.
    pub const DST_NAT: u32 = 1 << 5;
    /// Its sequence numbers are adjusted.
    pub const SEQ_ADJUST: u32 = 1 << 6;
    /// Source translation has been decided.
    pub const SRC_NAT_DONE: u32 = 1 << 7;
    /// Destination translation has been decided.
    pub const DST_NAT_DONE: u32 = 1 << 8;
    /// It is being removed.
    pub const DYING: u32 = 1 << 9;
    /// Its timeout is not refreshed.
    pub const FIXED_TIMEOUT: u32 = 1 << 10;
    /// It lost a clash and has only its reply tuple.
    pub const NAT_CLASH: u32 = 1 << 12;
    /// A helper was assigned by a rule.
    pub const HELPER: u32 = 1 << 13;
    /// The SYN proxy made its handshake. The kernel has no such bit.
    pub const PROXIED: u32 = 1 << 31;
    /// Bits that the kernel has too: what rules and listings see.
    pub const KERNEL: u32 = 0xffff;

    /// Each bit with the name that nft and conntrack(8) give it.
    pub const NAMES: &[(u32, &str)] = &[
        (EXPECTED, "expected"),
        (SEEN_REPLY, "seen-reply"),
        (ASSURED, "assured"),
        (CONFIRMED, "confirmed"),
        (SRC_NAT, "snat"),
        (DST_NAT, "dnat"),
        (SEQ_ADJUST, "seq-adjust"),
        (SRC_NAT_DONE, "snat-done"),
        (DST_NAT_DONE, "dnat-done"),
        (DYING, "dying"),
        (FIXED_TIMEOUT, "fixed-timeout"),
        (NAT_CLASH, "nat-clash"),
        (HELPER, "helper"),
    ];
}
