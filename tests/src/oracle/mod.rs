//! The kernel as oracle: the same ruleset and the same frames go through netfilter and through
//! sluice, and every frame that comes out and every counter has to be the same.

pub mod bases;
pub mod compare;
pub mod construct;
pub mod conversation;
pub mod declared;
pub mod fields;
pub mod generate;
pub mod golden;
pub mod kernel;
pub mod matches;
pub mod options;
pub mod sluice;
pub mod statements;
