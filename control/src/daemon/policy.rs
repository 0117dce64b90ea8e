//! What the control API asks of the ruleset, whoever keeps it.

use std::path::PathBuf;

use crate::api::wire::{
    Complaint, IpsetAnswer, IpsetCommand, NftAnswer, NftCommand, Program, RulesetSize,
    SetSourceStatus,
};
use crate::rights::Peer;

/// Why a command was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The text is wrong, or cannot be done: what nft would print, and the same as data.
    Text {
        /// For standard error, lines and carets and all.
        rendered: String,
        /// The complaints.
        diagnostics: Vec<Complaint>,
    },
    /// Another generation was expected than the one in force.
    Generation {
        /// The generation in force.
        current: u64,
    },
    /// The command would change the ruleset and the peer may only read.
    Right,
}

/// Receives what a scrape asks of the ruleset.
pub trait Tally {
    /// A named counter.
    fn counter(&mut self, family: &str, table: &str, name: &str, packets: u64, bytes: u64);
    /// The counter of a rule with a comment.
    fn rule(&mut self, place: RulePlace<'_>, packets: u64, bytes: u64);
    /// A set or map and how many elements it has.
    fn set(&mut self, family: &str, table: &str, name: &str, elements: u64);
}

/// Which rule a counter belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulePlace<'a> {
    /// Family of the table.
    pub family: &'a str,
    /// The table.
    pub table: &'a str,
    /// The chain.
    pub chain: &'a str,
    /// The rule's handle.
    pub handle: u64,
    /// Its comment.
    pub comment: &'a str,
}

/// The committed ruleset.
pub trait Policy: Send + Sync {
    /// Runs one command as one transaction. A peer without the right to change gets what can be
    /// had without a change.
    ///
    /// # Errors
    /// When it was refused; nothing has changed.
    fn run(
        &self,
        command: NftCommand,
        by: Option<&Peer>,
        may_change: bool,
    ) -> Result<Done, Refused>;

    /// Runs a command line of ipset. What it refuses is an answer with an exit code.
    ///
    /// # Errors
    /// When another generation is in force, or the peer may not change what it would.
    fn ipset(&self, command: IpsetCommand, may_change: bool) -> Result<IpsetAnswer, Refused>;

    /// The generation in force.
    fn generation(&self) -> u64;

    /// How much there is.
    fn size(&self) -> RulesetSize;

    /// The compiled program.
    fn program(&self) -> Program;

    /// Gives memory of expired set elements back; called about once a second.
    fn sweep(&self);

    /// The sets whose elements come from files.
    fn set_sources(&self) -> Vec<SetSourceStatus>;

    /// Reads files of sets again: those of a name, or all. Yields what became of each; a file that
    /// cannot be had is told there, and leaves the set as it is.
    ///
    /// # Errors
    /// When no set of that name has a file.
    fn reload_sets(&self, name: Option<&str>) -> Result<Vec<SetSourceStatus>, String>;

    /// Reads watched files of sets again that have changed; `told` are files that are known to be
    /// written to their end.
    fn refresh_sets(&self, told: &[PathBuf]);

    /// Hands every counted thing to `tally`.
    fn tally(&self, tally: &mut dyn Tally);
}

/// A command that was carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The answer.
    pub answer: NftAnswer,
    /// What changed, as nft's monitor prints it.
    pub changes: Vec<String>,
}
