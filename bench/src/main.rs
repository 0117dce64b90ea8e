//! Measures: in-memory suites and network-namespace suites, with the peers beside us.

fn main() {}
