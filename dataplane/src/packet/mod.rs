//! The frame and its dissected headers.

pub mod checksum;
pub mod fragments;
pub mod frame;
pub mod headers;
pub mod options;
pub mod pool;
pub mod reply;
pub mod segment;
pub mod vnet;

pub use frame::{BATCH, Burst, Frame};
pub use headers::Headers;
pub use vnet::VnetHeader;
