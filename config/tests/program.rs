//! Rules from their text to their verdict: every case is a rule, a frame and what must become of it.
//!
//! The way is the real one: parsed and checked, stored, compiled, written out as bytes and read back,
//! and run by the worker's own pipeline.

mod packets;

use packets::bench::Bench;
use packets::build::{self, Frame};

#[path = "packets/cases.rs"]
mod cases;

#[test]
fn a_program_read_back_from_its_bytes_judges_the_same() {
    let bench = Bench::new("table ip t { chain c { type filter hook forward priority 0; tcp dport 22 counter drop; }; }");
    let frames: Vec<Frame> = vec![build::tcp().dport(22).build(), build::tcp().dport(23).build()];
    assert_eq!(bench.run(&frames).dropped, [true, false]);
}
