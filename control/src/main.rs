//! The `sluice` executable.

fn main() {}
