//! Conversations: frames from both sides in one order, through the kernel and through sluice.
//!
//! What tracks connections has to see both directions. The kernel gets one frame after the other; sluice
//! gets neighbours of one side as a batch, so that what a batch begins is met within it.

use std::io;
use std::time::Duration;

use super::kernel::{KernelBridge, Outcome, counters};

/// The side that a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The left host.
    Left,
    /// The right host.
    Right,
}

/// One frame of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Who sends it.
    pub side: Side,
    /// The frame.
    pub frame: Vec<u8>,
}

impl KernelBridge {
    /// Puts `ruleset` in force, forgets all connections, and plays a conversation.
    ///
    /// # Errors
    /// When nft refuses the ruleset (`InvalidInput`), conntrack is missing, or a socket fails.
    pub fn converse(&self, ruleset: &str, conversation: &[Said]) -> io::Result<Outcome> {
        self.converse_slowly(ruleset, conversation, Duration::ZERO)
    }

    /// The same with a pause before each frame, for what the kernel does at most once in a tick of its
    /// clock.
    ///
    /// # Errors
    /// As [`converse`](Self::converse).
    pub fn converse_slowly(
        &self,
        ruleset: &str,
        conversation: &[Said],
        pause: Duration,
    ) -> io::Result<Outcome> {
        self.nft(&format!("flush ruleset\n{ruleset}"))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
        self.namespace()
            .sysctl("net/netfilter/nf_conntrack_acct", "1")?;
        self.namespace().sh("conntrack -F")?;
        let said = conversation.iter().map(|said| {
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            (said.side, &said.frame)
        });
        let (right, left) = self.exchange(said)?;
        let listing = self.nft("list ruleset")?;
        Ok(Outcome {
            right,
            left,
            counters: counters(&listing),
            listing,
            ..Outcome::default()
        })
    }
}
