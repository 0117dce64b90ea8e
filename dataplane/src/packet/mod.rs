//! The frame and its dissected headers.

pub mod frame;
pub mod segment;
pub mod vnet;

pub use frame::{BATCH, Burst, Frame};
pub use vnet::VnetHeader;
