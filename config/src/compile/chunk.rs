//! A chunk of rules of the store as blocks of the program; made once and kept while the chunk lives.

use std::sync::Arc;

use sluice_dataplane::program::op::engines;
use sluice_dataplane::program::{Block, BlockBuilder, ChainId, Op, RuleRef, Tables};

use super::chains::ChainKey;
use super::effects::Effects;
use super::error::Cause;
use super::ipset::Used;
use super::lower::{Lowering, Shared, StateCursor};
use super::sets::SetKey;
use crate::model::Rule;
use crate::store::{Chunk, StoredRule};

/// Rules that are nested in rules are compiled up to this depth, as jumps are.
const NESTING: usize = 16;

/// What a chunk became.
#[derive(Debug)]
pub(super) struct CompiledChunk {
    /// Its own rules.
    pub(super) blocks: Vec<Arc<Block>>,
    /// Chains without a name that its rules jump to.
    pub(super) anonymous: Vec<(ChainId, Vec<Arc<Block>>)>,
    /// Owners of indices that its rules use and that live as long as they do.
    owned: Vec<Owned>,
    /// What its rules do that packets can see of one another.
    pub(super) effects: Effects,
    /// Sets of ipset that its rules use: put together anew by each compilation.
    ipsets: Vec<Used>,
    /// The compilation that met it last.
    pub(super) seen: u64,
}

/// An owner of an index.
#[derive(Clone, Copy, Debug)]
enum Owned {
    Cell(u32),
    Chain(ChainKey),
    Set(SetKey),
}

/// A rule that cannot be compiled.
pub(super) struct Failed {
    pub(super) rule: Arc<StoredRule>,
    pub(super) cause: Cause,
}

impl CompiledChunk {
    /// Compiles the rules of a chunk. `available` is what the dataplane has, as bits of
    /// [`engines`].
    pub(super) fn new(
        chunk: &Chunk,
        shared: &mut Shared<'_>,
        available: u32,
    ) -> Result<Self, Failed> {
        let mut made = Made::default();
        for rule in &chunk.rules {
            let failed = |cause| Failed {
                rule: Arc::clone(rule),
                cause,
            };
            let ops = made.rule(rule, shared).map_err(failed)?;
            made.blocks
                .rule(rule_ref(rule), &ops, shared.tables)
                .map_err(|e| failed(e.into()))?;
        }
        let compiled = made.finish(shared).map_err(|cause| Failed {
            rule: Arc::clone(&chunk.rules[0]),
            cause,
        })?;
        match compiled.engines() & !available {
            0 => Ok(compiled),
            missing => Err(culprit(chunk, &compiled, missing, shared.tables)),
        }
    }

    /// All its blocks.
    pub(super) fn all_blocks(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks
            .iter()
            .chain(self.anonymous.iter().flat_map(|(_, blocks)| blocks))
    }

    /// What it needs beyond the VM, as bits of [`engines`].
    pub(super) fn engines(&self) -> u32 {
        let all = self.all_blocks();
        all.fold(0, |needed, block| needed | block.uses().engines)
    }

    /// Notes that the compilation `now` met the chunk and all that it owns.
    pub(super) fn touch(&mut self, shared: &mut Shared<'_>) {
        let now = shared.now;
        self.seen = now;
        for owned in &self.owned {
            match owned {
                Owned::Cell(key) => shared.cells.touch(*key, now),
                Owned::Chain(key) => shared.chains.touch(key, now),
                Owned::Set(key) => shared.sets.touch(key, now),
            }
        }
        for used in &self.ipsets {
            used.put(shared.sets, shared.ipsets);
        }
    }
}

/// What the dataplane calls a rule.
pub(super) fn rule_ref(rule: &StoredRule) -> RuleRef {
    RuleRef(rule.id.0 as u32)
}

/// The rule that needs an engine which is not there.
fn culprit(chunk: &Chunk, compiled: &CompiledChunk, missing: u32, tables: &Tables) -> Failed {
    let needs = |reference: RuleRef| {
        let rules = compiled.all_blocks().flat_map(|block| block.rules());
        rules
            .filter(|(rule, _)| *rule == reference)
            .any(|(rule, ops)| {
                let mut alone = BlockBuilder::new();
                alone.rule(rule, &ops);
                alone
                    .finish(tables)
                    .is_ok_and(|block| block.uses().engines & missing != 0)
            })
    };
    let rule = chunk
        .rules
        .iter()
        .find(|rule| needs(rule_ref(rule)))
        .unwrap_or(&chunk.rules[0]);
    let engine = engines::NAMES
        .iter()
        .find(|(bit, _)| missing & bit != 0)
        .map_or("another engine", |(_, name)| name);
    let what = "the rule".to_owned();
    Failed {
        rule: Arc::clone(rule),
        cause: Cause::Engine { what, engine },
    }
}

/// Blocks in the making: a new one is begun when one is full.
#[derive(Debug, Default)]
struct Blocks {
    open: BlockBuilder,
    done: Vec<Arc<Block>>,
}

impl Blocks {
    fn rule(
        &mut self,
        rule: RuleRef,
        ops: &[Op],
        tables: &Tables,
    ) -> Result<(), sluice_dataplane::program::Malformed> {
        self.open.rule(rule, ops);
        if self.open.is_full() {
            let full = std::mem::take(&mut self.open);
            self.done.push(Arc::new(full.finish(tables)?));
        }
        Ok(())
    }

    fn finish(mut self, tables: &Tables) -> Result<Vec<Arc<Block>>, Cause> {
        if !self.open.is_empty() {
            self.done.push(Arc::new(self.open.finish(tables)?));
        }
        Ok(self.done)
    }
}

#[derive(Default)]
struct Made {
    blocks: Blocks,
    anonymous: Vec<(ChainId, Vec<Arc<Block>>)>,
    owned: Vec<Owned>,
    effects: Effects,
    ipsets: Vec<Used>,
}

impl Made {
    /// The instructions of a rule; the chains without a name that it jumps to are compiled too.
    fn rule(&mut self, rule: &StoredRule, shared: &mut Shared<'_>) -> Result<Vec<Op>, Cause> {
        let mut cursor = StateCursor::default();
        let ops = self.body(rule, &rule.body, shared, &mut cursor, 0)?;
        let cells = rule.slots.cells.iter().chain(&rule.slots.numgens);
        self.owned.extend(cells.map(|cell| Owned::Cell(cell.key)));
        for part in 0..cursor.parts {
            self.owned
                .push(Owned::Chain(ChainKey::Anonymous(rule.id, part)));
            self.owned
                .push(Owned::Set(SetKey::Anonymous(rule.id, part)));
        }
        Ok(ops)
    }

    fn body(
        &mut self,
        rule: &StoredRule,
        body: &Rule,
        shared: &mut Shared<'_>,
        cursor: &mut StateCursor,
        depth: usize,
    ) -> Result<Vec<Op>, Cause> {
        if depth >= NESTING {
            return Err(Cause::unsupported("jumps that are nested deeper than 16"));
        }
        shared.sets.ipset_uses.clear();
        let mut lowering = Lowering::new(shared, rule.id, &rule.slots, cursor);
        lowering.statements(&body.stmts)?;
        let (ops, nested) = (lowering.ops, lowering.anonymous);
        self.effects.note(&ops);
        self.ipsets.append(&mut shared.sets.ipset_uses);
        for (chain, rules) in nested {
            let mut blocks = Blocks::default();
            for inner in &rules {
                let ops = self.body(rule, inner, shared, cursor, depth + 1)?;
                blocks.rule(rule_ref(rule), &ops, shared.tables)?;
            }
            self.anonymous.push((chain, blocks.finish(shared.tables)?));
        }
        Ok(ops)
    }

    fn finish(self, shared: &Shared<'_>) -> Result<CompiledChunk, Cause> {
        Ok(CompiledChunk {
            blocks: self.blocks.finish(shared.tables)?,
            anonymous: self.anonymous,
            owned: self.owned,
            effects: self.effects,
            ipsets: self.ipsets,
            seen: shared.now,
        })
    }
}
