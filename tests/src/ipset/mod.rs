//! ipset of the kernel and ours, asked the same.

pub mod generate;
pub mod normal;
pub mod sides;
