//! Rules from their text to their verdict: every case is a rule, a frame and what must become of it.
//!
//! The way is the real one: parsed and checked, stored, compiled, written out as bytes and read back,
//! and run by the worker's own pipeline.

mod packets;

use packets::bench::Bench;
use packets::build::{Frame, zoo};

#[path = "packets/statements.rs"]
mod statements;

#[path = "packets/ipset.rs"]
mod ipset;

#[path = "packets/cases.rs"]
mod cases;

#[test]
fn a_program_read_back_from_its_bytes_judges_the_same() {
    let bench = Bench::new(
        "table ip t { chain c { type filter hook forward priority 0; tcp dport 22 counter drop; }; }",
    );
    let frames: Vec<Frame> = zoo().into_iter().take(2).map(|(_, frame)| frame).collect();
    assert_eq!(bench.run(&frames).dropped, [true, false]);
    assert_eq!(bench.counts("c")[0].bytes, 44);
}

#[test]
fn a_program_is_listed_under_its_rules() {
    let bench = Bench::new(
        "table inet t {
          set s { type ipv4_addr; elements = { 10.0.0.1 }; }
          chain d { meta mark set 7; }
          chain c { type filter hook forward priority 0; policy drop;
            tcp dport 22 counter accept
            ip saddr @s tcp flags & (syn | ack) == syn jump d
            ip6 saddr fd00::/8 udp dport != 53 limit rate 5/second log prefix \"six\" drop
            icmp type echo-request accept
          }
        }",
    );
    let expected = include_str!("packets/program.txt");
    let listing = bench.explain();
    assert_eq!(listing, expected, "\n{listing}");
}
