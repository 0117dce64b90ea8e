//! The daemon and its command line from outside: in this process over a socket of its own, and as
//! the executable.

mod api;
mod appliance;
mod commands;
mod flows;
mod ipset;
mod metrics;
mod process;
mod server;
mod sets;
