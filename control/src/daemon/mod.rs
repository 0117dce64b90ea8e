//! The daemon: what `sluice run` keeps running.

mod packets;
pub mod persist;
pub mod plane;
pub mod policy;
pub mod privileges;
mod publish;
pub mod ruleset;
pub mod serve;
pub mod start;
pub mod wire;
