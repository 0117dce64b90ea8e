//! The daemon: what `sluice run` keeps running.

pub mod persist;
pub mod plane;
pub mod policy;
pub mod privileges;
pub mod serve;
pub mod start;
