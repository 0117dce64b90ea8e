//! The daemon, its control API, the client and the command line. Touches no packet.

pub mod lab;
pub mod netns;
pub mod opener;
pub mod ports;
