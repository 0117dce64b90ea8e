//! Frames, and a wire that runs a ruleset over them.

pub(crate) mod bench;
pub(crate) mod build;
