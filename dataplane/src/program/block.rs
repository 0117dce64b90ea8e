//! A block: a contiguous run of rules of one chain, encoded and verified.
//!
//! Layout in words. A rule: its length in words, its [`RuleRef`], its instructions; the first word
//! of an instruction is its code and, in the high half, its length in words. In front of a run of
//! rules that all begin with an equality on the same one-column key stands a scan: a table of
//! their constants that lets the interpreter go straight to the rules that can match. Nothing
//! in a block is an address: chains, sets, counters and cells stand by index.

use super::connection::ConnectionUse;
use super::encoding::{Field, Malformed, Words};
use super::key::{Slot, reads};
use super::op::{ChainId, Op, Relation, RuleRef, SetId};
use super::tables::Tables;
use super::verify::verify;

/// About how many words a block has when it is full (4 KiB).
pub const BLOCK_WORDS: usize = 1024;

/// Bit of a record's first word: the record is a scan.
pub(super) const SCAN: u32 = 1 << 31;
/// Words of a rule before its instructions.
pub(super) const RULE_HEADER: usize = 2;
/// Words of a scan before its tables: length, slot, mask, rules, words of the run behind it.
pub(super) const SCAN_HEADER: usize = 5;
/// Runs shorter than this are left to the rules themselves.
const SHORTEST_SCAN: usize = 3;

/// What a block refers to; found by the verifier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Chains jumped or gone to, sorted; twice if it is from more than one place.
    pub chains: Vec<ChainId>,
    /// Verdict maps looked up, in the same way.
    pub verdict_maps: Vec<SetId>,
    /// Counter slots needed: one more than the highest.
    pub counters: u32,
    /// Engines needed, as bits of [`engines`](super::op::engines).
    pub engines: u32,
    /// Rules in the block.
    pub rules: u32,
    /// Whether packets change state that other packets can see.
    pub effects: bool,
    /// What the rules read and write of connections.
    pub connection: ConnectionUse,
}

/// A verified block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    words: Box<[u32]>,
    uses: Uses,
    lineage: u64,
}

impl Block {
    /// Verifies words against the tables.
    ///
    /// # Errors
    /// When anything in them is not as it must be.
    pub fn from_words(words: Box<[u32]>, tables: &Tables) -> Result<Self, Malformed> {
        let uses = verify(&words, tables)?;
        Ok(Self {
            words,
            uses,
            lineage: tables.lineage(),
        })
    }

    /// The encoded rules.
    #[inline]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// What the block refers to.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Whether the block was verified against tables of this line.
    pub(super) fn belongs_to(&self, tables: &Tables) -> bool {
        self.lineage == tables.lineage()
    }

    /// The rules, decoded for a listing.
    pub fn rules(&self) -> Vec<(RuleRef, Vec<Op>)> {
        let mut rules = Vec::new();
        let mut at = 0;
        while at < self.words.len() {
            let head = self.words[at];
            let end = at + (head & !SCAN) as usize;
            if head & SCAN == 0 {
                let mut words = Words::new(&self.words[at + RULE_HEADER..end]);
                let mut ops = Vec::new();
                while let Ok(op) = Op::get(&mut words) {
                    ops.push(op);
                }
                rules.push((RuleRef(self.words[at + 1]), ops));
            }
            at = end;
        }
        rules
    }
}

/// Collects rules into a block.
#[derive(Debug, Default)]
pub struct BlockBuilder {
    rules: Vec<EncodedRule>,
    words: usize,
}

#[derive(Debug)]
struct EncodedRule {
    words: Vec<u32>,
    /// Slot, mask and constant of a first match that a scan can take over.
    equality: Option<(Slot, u32, u32)>,
}

impl BlockBuilder {
    /// An empty block.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a rule.
    pub fn rule(&mut self, rule: RuleRef, ops: &[Op]) {
        let mut words = vec![0, rule.0];
        for op in ops {
            let at = words.len();
            op.put(&mut words);
            let len = (words.len() - at) as u32;
            words[at] |= len << 16;
        }
        words[0] = words.len() as u32;
        self.words += words.len();
        self.rules.push(EncodedRule {
            words,
            equality: ops.first().and_then(equality),
        });
    }

    /// Whether the next rule should go to another block.
    pub fn is_full(&self) -> bool {
        self.words >= BLOCK_WORDS
    }

    /// Whether there is no rule yet.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Encodes and verifies.
    ///
    /// # Errors
    /// When an instruction does not fit the tables.
    pub fn finish(self, tables: &Tables) -> Result<Block, Malformed> {
        let mut words = Vec::with_capacity(self.words + 16);
        let mut rest = &self.rules[..];
        while let Some(first) = rest.first() {
            let same = |rule: &&EncodedRule| match (rule.equality, first.equality) {
                (Some((slot, mask, _)), Some((first_slot, first_mask, _))) => {
                    slot == first_slot && mask == first_mask
                }
                _ => false,
            };
            let scannable = first
                .equality
                .is_some_and(|(slot, ..)| may_scan(slot, tables));
            let run = if scannable {
                rest.iter().take_while(same).count()
            } else {
                0
            };
            let (taken, left) = rest.split_at(run.max(1));
            if run >= SHORTEST_SCAN {
                put_scan(&mut words, taken);
            }
            taken
                .iter()
                .for_each(|rule| words.extend_from_slice(&rule.words));
            rest = left;
        }
        Block::from_words(words.into(), tables)
    }
}

/// Whether a key may be looked at once for several rules: neither fresh at each look nor a work
/// value that the rule itself would have to compute.
pub(super) fn may_scan(slot: Slot, tables: &Tables) -> bool {
    tables
        .keys()
        .get(usize::from(slot.0))
        .is_some_and(|key| key.source.reads() & (reads::FRESH | reads::WORK) == 0)
}

/// The equality with which a rule begins, if a scan can take it over.
pub(super) fn equality(op: &Op) -> Option<(Slot, u32, u32)> {
    match op {
        Op::Compare {
            key,
            relation: Relation::Eq,
            value,
        } => match value[..] {
            [value] => Some((*key, u32::MAX, value)),
            _ => None,
        },
        Op::CompareMasked {
            key,
            mask,
            relation: Relation::Eq,
            value,
        } => match (&mask[..], &value[..]) {
            (&[mask], &[value]) => Some((*key, mask, value)),
            _ => None,
        },
        _ => None,
    }
}

fn put_scan(out: &mut Vec<u32>, rules: &[EncodedRule]) {
    let (slot, mask, _) = rules[0].equality.unwrap_or_default();
    let len = SCAN_HEADER + 2 * rules.len();
    let run: usize = rules.iter().map(|rule| rule.words.len()).sum();
    out.extend([
        len as u32 | SCAN,
        u32::from(slot.0),
        mask,
        rules.len() as u32,
        run as u32,
    ]);
    out.extend(rules.iter().map(|rule| rule.equality.unwrap_or_default().2));
    let mut offset = 0;
    for rule in rules {
        out.push(offset as u32);
        offset += rule.words.len();
    }
}
