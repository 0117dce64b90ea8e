//! The daemon: what `sluice run` keeps running.

mod flow_events;
mod flow_file;
mod hosts;
mod packets;
pub mod persist;
pub mod plane;
pub mod policy;
mod port;
pub mod privileges;
mod publish;
pub mod routing;
pub mod ruleset;
pub mod serve;
mod sources;
pub mod start;
mod watch;
pub mod wire;
