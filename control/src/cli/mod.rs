//! The command line.

pub mod nft_options;
