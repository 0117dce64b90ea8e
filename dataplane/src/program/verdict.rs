//! What becomes of a packet, as an instruction says it and as a map has it.

use super::encoding::tagged_enum;
use super::op::ChainId;

tagged_enum! {
    /// What becomes of a packet.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Verdict {
        /// Ends this base chain.
        Accept = 0,
        /// Ends everything.
        Drop = 1,
        /// Goes on with the next rule.
        Continue = 2,
        /// Back to the caller, or to the policy of a base chain.
        Return = 3,
        /// Runs another chain and comes back.
        Jump = 4 {
            /// The other chain.
            chain: ChainId,
        },
        /// Runs another chain and returns past this one.
        Goto = 5 {
            /// The other chain.
            chain: ChainId,
        },
    }
}

impl Verdict {
    /// The verdict as one word: what a verdict map has as its data.
    pub fn to_word(self) -> u32 {
        match self {
            Self::Accept => 0,
            Self::Drop => 1,
            Self::Continue => 2,
            Self::Return => 3,
            Self::Jump { chain } => 4 | chain.0 << 3,
            Self::Goto { chain } => 5 | chain.0 << 3,
        }
    }

    /// The verdict that a word stands for.
    pub fn from_word(word: u32) -> Option<Self> {
        let chain = ChainId(word >> 3);
        Some(match word & 7 {
            0 => Self::Accept,
            1 => Self::Drop,
            2 => Self::Continue,
            3 => Self::Return,
            4 => Self::Jump { chain },
            5 => Self::Goto { chain },
            _ => return None,
        })
    }
}
