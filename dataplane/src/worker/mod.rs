//! Workers: what carries a batch from port to port.

pub mod generation;
