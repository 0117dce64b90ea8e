//! The packet path of sluice: ports, packets, the rule program, sets and workers.
//!
//! A packet's way is one straight line: port rx -> parse -> hooks in netfilter's order -> peer ->
//! port tx. This crate knows packets only: no text formats, no async runtime, no file access, no
//! clock and no random source (time and chance are handed in by the caller).

pub mod conntrack;
pub mod drop_reason;
pub mod gateway;
pub mod nat;
pub mod packet;
pub mod port;
pub mod program;
pub mod sets;
pub mod synproxy;
pub mod worker;

pub use drop_reason::DropReason;
