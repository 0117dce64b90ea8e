//! The kernel as oracle: the same ruleset and the same frames go through netfilter and through
//! sluice, and every frame that comes out and every counter has to be the same.

pub mod compare;
pub mod construct;
pub mod generate;
pub mod kernel;
pub mod sluice;
