//! The state of lowering one rule: instructions so far, work slots, and what names mean.

use std::collections::HashMap;
use std::sync::Arc;

use sluice_dataplane::program::cell::Cell;
use sluice_dataplane::program::{
    CellId, CellKind, ChainId, CounterSlot, KeyDesc, Log, LogId, Op, Requires, SetId, Slot, Slots,
    Tables,
};

use super::cells::Cells;
use super::chains::{ChainKey, Chains};
use super::error::Cause;
use super::sets::Sets;
use super::value::columns;
use crate::ipset::IpSets;
use crate::model::Rule;
use crate::store::{Id, RuleSlots, Table};

/// Descriptions of log statements, each once.
pub(super) type Logs = HashMap<LogKey, LogId>;

/// A log description as a key.
pub(super) type LogKey = (String, u8, u8, Option<u16>, u32, u16);

/// What all rules of a compilation share.
pub(super) struct Shared<'a> {
    pub(super) tables: &'a mut Tables,
    pub(super) chains: &'a mut Chains,
    pub(super) sets: &'a mut Sets,
    pub(super) cells: &'a mut Cells,
    pub(super) logs: &'a mut Logs,
    /// Number of the compilation.
    pub(super) now: u64,
    /// Monotonic time.
    pub(super) now_ns: u64,
    /// The sets of ipset.
    pub(super) ipsets: &'a IpSets,
    /// The table whose names rules mean.
    pub(super) table: &'a Table,
}

/// One rule on its way to instructions.
pub(super) struct Lowering<'a, 'b> {
    pub(super) shared: &'b mut Shared<'a>,
    /// The rule's identity.
    pub(super) rule: Id,
    /// Instructions so far.
    pub(super) ops: Vec<Op>,
    /// What the keys of the statement at hand require.
    pub(super) loaded: Vec<Requires>,
    /// Rules of anonymous chains met, to be lowered behind this rule.
    pub(super) anonymous: Vec<(ChainId, Vec<Rule>)>,
    slots: &'b RuleSlots,
    /// Next counter, cell, numgen of `slots`.
    at: &'b mut StateCursor,
    work: u16,
}

/// How far the state of a rule has been given to its statements; the rules of an anonymous chain
/// take theirs where they stand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StateCursor {
    pub(super) counters: usize,
    pub(super) cells: usize,
    pub(super) numgens: usize,
    /// Anonymous sets and chains so far; tells them apart.
    pub(super) parts: u16,
}

impl<'a, 'b> Lowering<'a, 'b> {
    pub(super) fn new(
        shared: &'b mut Shared<'a>,
        rule: Id,
        slots: &'b RuleSlots,
        at: &'b mut StateCursor,
    ) -> Self {
        Self {
            shared,
            rule,
            ops: Vec::new(),
            loaded: Vec::new(),
            anonymous: Vec::new(),
            slots,
            at,
            work: 0,
        }
    }

    /// Begins a statement: its work slots may take the place of the last one's.
    pub(super) fn begin_statement(&mut self) {
        self.work = 0;
        self.loaded.clear();
    }

    pub(super) fn emit(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// The slot of a key of the packet.
    pub(super) fn key(&mut self, key: KeyDesc) -> Result<Slot, Cause> {
        self.loaded.push(key.requires.clone());
        Ok(self.shared.tables.key(key)?)
    }

    /// A work slot that nothing else of the statement uses.
    pub(super) fn work(&mut self, bits: u16) -> Result<Slot, Cause> {
        self.work += 1;
        Ok(self.shared.tables.work(bits.max(1), self.work - 1)?)
    }

    /// Width of a slot in bits.
    pub(super) fn bits(&self, slot: Slot) -> u16 {
        self.shared.tables.keys()[usize::from(slot.0)].bits
    }

    /// The same number with this many columns.
    pub(super) fn widened(&mut self, slot: Slot, bits: u16) -> Result<Slot, Cause> {
        if columns(self.bits(slot)) == columns(bits) {
            return Ok(slot);
        }
        let into = self.work(bits)?;
        self.emit(Op::Copy { into, from: slot });
        Ok(into)
    }

    /// Number of the next anonymous set or chain of the rule.
    pub(super) fn next_part(&mut self) -> u16 {
        self.at.parts += 1;
        self.at.parts - 1
    }

    pub(super) fn next_counter(&mut self) -> Result<CounterSlot, Cause> {
        self.at.counters += 1;
        self.slots
            .counters
            .get(self.at.counters - 1)
            .copied()
            .ok_or(Cause::NoSlot)
    }

    pub(super) fn next_cell(&mut self, kind: CellKind) -> Result<CellId, Cause> {
        self.at.cells += 1;
        let slot = self
            .slots
            .cells
            .get(self.at.cells - 1)
            .ok_or(Cause::NoSlot)?;
        let (key, cell) = (slot.key, Arc::clone(&slot.cell));
        self.cell(key, &cell, kind)
    }

    pub(super) fn next_numgen(&mut self) -> Result<CellId, Cause> {
        self.at.numgens += 1;
        let slot = self
            .slots
            .numgens
            .get(self.at.numgens - 1)
            .ok_or(Cause::NoSlot)?;
        let (key, cell) = (slot.key, Arc::clone(&slot.cell));
        self.cell(key, &cell, CellKind::Numgen)
    }

    /// The index of a cell, which must be of this kind.
    pub(super) fn cell(
        &mut self,
        key: u32,
        cell: &Arc<Cell>,
        kind: CellKind,
    ) -> Result<CellId, Cause> {
        if cell.kind() != kind {
            return Err(Cause::NoSlot);
        }
        let Shared {
            cells, tables, now, ..
        } = &mut *self.shared;
        cells.number(key, cell, *now, tables)
    }

    /// A chain of the rule's table.
    pub(super) fn chain(&mut self, name: &str) -> Result<ChainId, Cause> {
        let chain = self
            .shared
            .table
            .chain(name)
            .ok_or_else(|| Cause::Missing {
                what: "chain",
                name: name.to_owned(),
            })?;
        self.shared
            .chains
            .number(ChainKey::Stored(chain.id), self.shared.now)
    }

    /// A chain without a name that belongs to this rule.
    pub(super) fn anonymous_chain(&mut self, rules: &[Rule]) -> Result<ChainId, Cause> {
        let part = self.next_part();
        let chain = self
            .shared
            .chains
            .number(ChainKey::Anonymous(self.rule, part), self.shared.now)?;
        self.anonymous.push((chain, rules.to_vec()));
        Ok(chain)
    }

    /// The index of what a log statement says.
    pub(super) fn log(&mut self, log: Log) -> LogId {
        let key = (
            log.prefix.clone(),
            log.level,
            log.flags,
            log.group,
            log.snaplen,
            log.queue_threshold,
        );
        if let Some(known) = self.shared.logs.get(&key) {
            return *known;
        }
        let id = self.shared.tables.log(log);
        self.shared.logs.insert(key, id);
        id
    }

    /// A named set or map of the rule's table.
    pub(super) fn named_set(&mut self, name: &str) -> Result<SetId, Cause> {
        let set = self.shared.table.set(name).ok_or_else(|| Cause::Missing {
            what: "set",
            name: name.to_owned(),
        })?;
        self.shared
            .sets
            .named(set.id)
            .ok_or_else(|| Cause::Missing {
                what: "set",
                name: name.to_owned(),
            })
    }
}

/// Slots side by side.
pub(super) fn side_by_side(slots: impl IntoIterator<Item = Slot>) -> Result<Slots, Cause> {
    let mut list = Slots::new();
    for slot in slots {
        list.try_push(slot)
            .map_err(|_| Cause::unsupported("a concatenation of more than 16 fields"))?;
    }
    Ok(list)
}
