//! The daemon, its control API, the client and the command line. Touches no packet.

pub mod api;
pub mod appliance;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod events;
pub mod flows;
pub mod lab;
pub mod metrics;
pub mod netns;
pub mod opener;
pub mod packet_text;
pub mod pcap;
pub mod rights;
