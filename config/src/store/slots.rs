//! Where the packet path keeps what a rule or object counts.
//!
//! A counter is a slot of every worker's array. A cell is a shared atomic (limit, quota, last, `ct
//! count`, `numgen inc`). Both belong to one owner for its life and go over, with the owner's
//! identity, to the same rule after a reload. A slot is given again only when no generation that
//! used it is left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sluice_dataplane::program::CounterSlot;
use sluice_dataplane::program::cell::{self, Cell};
use sluice_dataplane::program::counters::{Count, Counters};

use super::chain::StoredRule;
use super::place::{Visited, visit_rule};
use crate::model::expr::{ExprKind, Numgen};
use crate::model::stmt::{Limit, Quota, Stmt};
use crate::model::{Expr, Rule};

/// A shared cell and its number, which is never reused.
#[derive(Clone, Debug)]
pub struct CellSlot {
    /// Its number.
    pub key: u32,
    /// The cell.
    pub cell: Arc<Cell>,
}

impl CellSlot {
    fn new(cell: Cell) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            key: NEXT.fetch_add(1, Ordering::Relaxed),
            cell: Arc::new(cell),
        }
    }

    /// A quota's cell.
    pub fn quota(quota: &Quota) -> Self {
        Self::new(Cell::Quota(cell::Quota::new(
            quota.bytes,
            quota.over,
            quota.used,
        )))
    }

    /// A limit's cell, its bucket full.
    pub fn limit(limit: &Limit) -> Self {
        let period_ns = limit.unit_seconds.saturating_mul(1_000_000_000);
        let burst = u32::try_from(limit.burst).unwrap_or(u32::MAX);
        Self::new(Cell::Limit(cell::Limit::new(
            limit.rate,
            period_ns,
            burst,
            limit.bytes,
            limit.over,
        )))
    }
}

/// Slots of a rule: one for each of its statements that has state, in the order of the statements;
/// the rules of an anonymous chain are visited where they stand. Statements of the elements of
/// sets are not here: the runtime set has their state.
#[derive(Clone, Debug, Default)]
pub struct RuleSlots {
    /// `counter` statements.
    pub counters: Box<[CounterSlot]>,
    /// `limit`, `quota`, `last` and `ct count` statements.
    pub cells: Box<[CellSlot]>,
    /// `numgen inc` expressions, wherever they stand; which one gets which does not matter.
    pub numgens: Box<[CellSlot]>,
}

/// Gives slots, and knows what it gave, in case that the transaction fails.
#[derive(Debug)]
pub struct SlotAllocator {
    counters: Arc<Counters>,
    given: Vec<CounterSlot>,
}

impl SlotAllocator {
    /// Gives slots of these counters.
    pub fn new(counters: Arc<Counters>) -> Self {
        Self {
            counters,
            given: Vec::new(),
        }
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// A counter that begins with these values; none when there are 16 million already.
    pub fn counter(&mut self, packets: u64, bytes: u64) -> Option<CounterSlot> {
        let slot = self.counters.allocate()?;
        self.given.push(slot);
        if (packets, bytes) != (0, 0) {
            self.counters.add(slot, Count { packets, bytes });
        }
        Some(slot)
    }

    /// Takes back all that was given.
    pub fn roll_back(&mut self) {
        self.given
            .drain(..)
            .for_each(|slot| self.counters.free(slot));
    }

    /// Slots for a new rule; none when there are no more counters.
    pub fn rule(&mut self, rule: &Rule) -> Option<RuleSlots> {
        let (mut counters, mut cells, mut numgens) = (Vec::new(), Vec::new(), Vec::new());
        let mut full = false;
        visit_rule(rule, &mut |visited| match visited {
            Visited::Stmt(Stmt::Counter { packets, bytes }) => match self.counter(*packets, *bytes)
            {
                Some(slot) => counters.push(slot),
                None => full = true,
            },
            Visited::Stmt(stmt) => cells.extend(cell_of(stmt)),
            Visited::Expr(Expr {
                kind:
                    ExprKind::Numgen(Numgen {
                        random: false,
                        modulus,
                        offset,
                    }),
                ..
            }) => {
                numgens.push(CellSlot::new(Cell::Numgen(cell::Numgen::new(
                    *modulus, *offset,
                ))));
            }
            Visited::Expr(_) | Visited::AnonymousChain(_) => {}
        });
        (!full).then(|| RuleSlots {
            counters: counters.into(),
            cells: cells.into(),
            numgens: numgens.into(),
        })
    }

    /// Slots for a rule that continues another one. Counts go on; where the text names other initial
    /// values than before, the text wins.
    pub fn continue_rule(&mut self, old: &StoredRule, rule: &Rule) -> Option<RuleSlots> {
        let mut fresh = self.rule(rule)?;
        if fresh.counters.len() != old.slots.counters.len()
            || fresh.cells.len() != old.slots.cells.len()
        {
            return Some(fresh);
        }
        let (mut before, mut now) = (initial_values(&old.body), initial_values(rule));
        for (slots, kept) in [
            (&mut fresh.cells, &old.slots.cells),
            (&mut fresh.numgens, &old.slots.numgens),
        ] {
            if slots.len() == kept.len() {
                slots.clone_from(kept);
            }
        }
        for (index, slot) in fresh.counters.iter_mut().enumerate() {
            let (before, now) = (
                before.next().unwrap_or_default(),
                now.next().unwrap_or_default(),
            );
            if now == (0, 0) || now == before {
                self.counters.free(*slot);
                self.given.retain(|given| given != slot);
                *slot = old.slots.counters[index];
            }
        }
        Some(fresh)
    }
}

fn initial_values(rule: &Rule) -> std::vec::IntoIter<(u64, u64)> {
    let mut values = Vec::new();
    visit_rule(rule, &mut |visited| {
        if let Visited::Stmt(Stmt::Counter { packets, bytes }) = visited {
            values.push((*packets, *bytes));
        }
    });
    values.into_iter()
}

/// The cell of a statement that has one.
fn cell_of(stmt: &Stmt) -> Option<CellSlot> {
    Some(match stmt {
        Stmt::Limit(limit) => CellSlot::limit(limit),
        Stmt::Quota(quota) => CellSlot::quota(quota),
        Stmt::Last { .. } => CellSlot::new(Cell::Last(cell::Last::default())),
        Stmt::ConnLimit { count, over } => {
            CellSlot::new(Cell::ConnLimit(cell::ConnLimit::new(*count, *over)))
        }
        _ => return None,
    })
}

/// The rule as it stands now: counters, quotas and `last` with what they have come to.
pub fn with_state(rule: &StoredRule, counters: &Counters, now_ns: u64) -> Rule {
    let mut body = rule.body.clone();
    let mut at = (0, 0);
    fill(&mut body, &rule.slots, counters, now_ns, &mut at);
    body
}

fn fill(
    body: &mut Rule,
    slots: &RuleSlots,
    counters: &Counters,
    now_ns: u64,
    at: &mut (usize, usize),
) {
    use crate::model::expr::{ChainRef, Verdict};
    for stmt in &mut body.stmts {
        match stmt {
            Stmt::Counter { packets, bytes } => {
                if let Some(slot) = slots.counters.get(at.0) {
                    let count = counters.read(*slot);
                    (*packets, *bytes) = (count.packets, count.bytes);
                }
                at.0 += 1;
            }
            Stmt::Limit(_) | Stmt::ConnLimit { .. } => at.1 += 1,
            Stmt::Quota(quota) => {
                if let Some(Cell::Quota(cell)) = slots.cells.get(at.1).map(|slot| &*slot.cell) {
                    quota.used = cell.used();
                }
                at.1 += 1;
            }
            Stmt::Last { used_ms } => {
                if let Some(Cell::Last(cell)) = slots.cells.get(at.1).map(|slot| &*slot.cell) {
                    *used_ms = cell.at_ns().map(|at| now_ns.saturating_sub(at) / 1_000_000);
                }
                at.1 += 1;
            }
            Stmt::Verdict(
                Verdict::Jump(ChainRef::Anonymous(rules))
                | Verdict::Goto(ChainRef::Anonymous(rules)),
            ) => {
                rules
                    .iter_mut()
                    .for_each(|rule| fill(rule, slots, counters, now_ns, at));
            }
            _ => {}
        }
    }
}

/// Sets what a rule has counted to zero.
pub fn reset(rule: &StoredRule, counters: &Counters) {
    for slot in &rule.slots.counters {
        counters.reset(*slot);
    }
    for slot in &rule.slots.cells {
        if let Cell::Quota(quota) = &*slot.cell {
            quota.reset();
        }
    }
}
