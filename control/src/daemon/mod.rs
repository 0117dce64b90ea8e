//! The daemon: what `sluice run` keeps running.

pub mod plane;
pub mod policy;
pub mod serve;
