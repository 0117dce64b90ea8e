//! Each instruction: match, no match, negation, wrong protocol, truncated packet, counter.

mod exthdr;
mod matches;
mod programs;
mod sets;
mod statements;
mod values;
mod writes;

use super::testing::{Bench, frames};
use super::*;
use crate::packet::headers::protocol;
use crate::worker::Fate;

fn value(words: &[u32]) -> Value {
    words.iter().copied().collect()
}

fn eq(key: Slot, word: u32) -> Op {
    Op::Compare {
        key,
        relation: Relation::Eq,
        value: value(&[word]),
    }
}

fn immediate(into: Slot, words: &[u32]) -> Op {
    Op::Immediate {
        into,
        value: value(words),
    }
}

fn write(
    base: Base,
    bit_offset: u16,
    bits: u16,
    from: Slot,
    check: Option<u8>,
    pseudo: bool,
) -> Op {
    let checksum = check.map_or(Checksum::None, |offset| Checksum::Internet { offset });
    Op::PayloadWrite {
        base,
        bit_offset,
        bits,
        from,
        checksum,
        pseudo_header: pseudo,
    }
}

impl Bench {
    fn payload(&mut self, base: Base, bit_offset: u16, bits: u16, requires: Requires) -> Slot {
        self.key(Source::Payload { base, bit_offset }, bits, requires)
    }

    fn meta(&mut self, key: Meta, bits: u16) -> Slot {
        self.key(Source::Meta { key }, bits, Requires::Nothing)
    }

    fn dport(&mut self) -> Slot {
        self.payload(
            Base::Transport,
            16,
            16,
            Requires::Transport {
                protocol: protocol::TCP,
            },
        )
    }

    fn exthdr(&mut self, kind: Exthdr, number: u8, bit_offset: u16, bits: u16) -> Slot {
        let source = Source::Exthdr {
            kind,
            number,
            bit_offset,
            exists: false,
        };
        self.key(source, bits, Requires::Nothing)
    }

    fn exists(&mut self, kind: Exthdr, number: u8) -> Slot {
        let source = Source::Exthdr {
            kind,
            number,
            bit_offset: 0,
            exists: true,
        };
        self.key(source, 8, Requires::Nothing)
    }

    /// Which of the frames come to the end of a rule with these instructions; its counter agrees.
    fn matching(&mut self, ops: &[Op], frames: &[Vec<u8>]) -> Vec<bool> {
        let counter = self.counter();
        let drop = Op::Verdict {
            verdict: Verdict::Drop,
        };
        let rule = [ops, &[Op::Counter { counter }, drop]].concat();
        self.chain(&[(1, rule)]);
        self.base(0, Hook::Forward, Family::Bridge, Policy::Accept);
        let fates = self.run(frames);
        let matched: Vec<_> = fates
            .iter()
            .map(|fate| matches!(fate, Fate::Drop { .. }))
            .collect();
        let count = matched.iter().filter(|matched| **matched).count() as u64;
        assert_eq!(self.counters.read(counter).packets, count);
        matched
    }

    /// The bytes of the frame after a rule with these instructions has run on it.
    fn changed(&mut self, ops: &[Op], frame: Vec<u8>) -> Vec<u8> {
        self.chain(&[(1, ops.to_vec())]);
        self.base(0, Hook::Forward, Family::Bridge, Policy::Accept);
        self.run(&[frame]);
        self.frames_out.remove(0)
    }
}

fn truncated(mut frame: Vec<u8>, len: usize) -> Vec<u8> {
    frame.truncate(len);
    frame
}
