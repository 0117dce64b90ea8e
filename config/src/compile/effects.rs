//! Side effects of instructions that packets can see of one another.
//!
//! The VM runs an instruction over a whole batch before the next one, so effects happen in another
//! order *between* packets than one packet after the other would have them. At one instruction
//! packets stay in order; so the order matters only when state is written at one instruction and
//! looked at by another one, or when one instruction is reached in two ways. Then the program is
//! `ordered`, and the pipeline runs it a packet at a time. What packets of one connection see of one
//! another is no such state: the tracker keeps those apart where it matters.

use std::collections::HashMap;

use sluice_dataplane::program::{CellId, CellKind, ChainId, ObjectKind, Op, SetId, Tables};

/// State that instructions share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Set(SetId),
    Cell(CellId),
    /// The cells behind maps of quotas and limits: which ones only a packet's key tells.
    Mapped,
    /// All sets of ipset: each use has an index of its own, so they are not told apart.
    Ipsets,
}

/// Who uses a state: how many instructions, and whether one of them changes it for others.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    places: u32,
    writes: bool,
}

/// Shared state that some rules use. Only what can matter is kept, so most are empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects {
    uses: Vec<(State, bool)>,
}

impl Effects {
    /// Notes the instructions of a rule.
    pub(super) fn note(&mut self, ops: &[Op]) {
        for op in ops {
            match op {
                Op::DynSet { set, .. } => self.uses.push((State::Set(*set), true)),
                Op::LookUp { set, .. } | Op::MapInto { set, .. } | Op::VerdictMap { set, .. } => {
                    self.uses.push((State::Set(*set), false))
                }
                Op::ObjectMap { set, kind, .. } => {
                    self.uses.push((State::Set(*set), false));
                    if matches!(kind, ObjectKind::Quota | ObjectKind::Limit) {
                        self.uses.push((State::Mapped, true));
                    }
                }
                Op::FactMatch { writes, .. } => self.uses.push((State::Ipsets, *writes)),
                Op::FactAct { mark, priority, .. } => {
                    self.uses.push((State::Ipsets, !mark && !priority));
                }
                Op::Cell { cell } => {
                    self.uses.push((State::Cell(*cell), true));
                    self.uses.push((State::Mapped, false));
                }
                Op::NumgenInc { cell, .. } => self.uses.push((State::Cell(*cell), true)),
                _ => {}
            }
        }
    }

    /// Whether nothing was noted that writes.
    fn writes(&self) -> bool {
        self.uses.iter().any(|(_, writes)| *writes)
    }
}

/// Collects the effects of all chains of a program.
#[derive(Debug, Default)]
pub(super) struct Order {
    uses: HashMap<State, Use>,
    /// Chains with effects of their own.
    writing: Vec<ChainId>,
}

impl Order {
    /// Adds the effects of rules of a chain. `kept` says which sets packets can change.
    pub(super) fn add(&mut self, chain: ChainId, effects: &Effects) {
        if effects.uses.is_empty() {
            return;
        }
        for (state, writes) in &effects.uses {
            let used = self.uses.entry(*state).or_default();
            used.places += 1;
            used.writes |= writes;
        }
        if effects.writes() {
            self.writing.push(chain);
        }
    }

    /// Whether packets must run one at a time. `ways` says how many ways there are into a chain
    /// from the beginning of a walk; `tables` what a cell is.
    pub(super) fn matters(&self, ways: impl Fn(ChainId) -> u32, tables: &Tables) -> bool {
        let shared = |(state, used): (&State, &Use)| {
            used.writes && used.places > 1 && can_be_seen(state, tables)
        };
        let twice = |chain: &ChainId| ways(*chain) > 1;
        self.uses.iter().any(shared) || self.writing.iter().any(twice)
    }
}

/// Whether another packet's way can depend on the state; `last` is only listed.
fn can_be_seen(state: &State, tables: &Tables) -> bool {
    match state {
        State::Cell(cell) => tables.cells().get(cell.0 as usize) != Some(&CellKind::Last),
        State::Set(_) | State::Mapped | State::Ipsets => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_dataplane::program::{SetAction, Slots};

    fn look_up(set: u32) -> Op {
        Op::LookUp {
            set: SetId(set),
            keys: Slots::new(),
            inverted: false,
        }
    }

    fn add(set: u32) -> Op {
        Op::DynSet {
            set: SetId(set),
            keys: Slots::new(),
            action: SetAction::Add,
            timeout_ms: None,
            data: Slots::new(),
            statements: arrayvec::ArrayVec::new(),
        }
    }

    fn ordered(chains: &[&[Op]], ways: u32) -> bool {
        let mut tables = Tables::new();
        tables.cell(CellKind::Limit);
        tables.cell(CellKind::Last);
        let mut order = Order::default();
        for (chain, ops) in chains.iter().enumerate() {
            let mut effects = Effects::default();
            effects.note(ops);
            order.add(ChainId(chain as u32), &effects);
        }
        order.matters(|_| ways, &tables)
    }

    #[test]
    fn what_one_instruction_writes_and_another_reads_is_ordered() {
        assert!(!ordered(&[&[look_up(0), look_up(0)]], 1));
        assert!(!ordered(&[&[add(0), look_up(1)]], 1));
        assert!(ordered(&[&[add(0), look_up(0)]], 1));
        assert!(ordered(&[&[look_up(0)], &[add(0)]], 1));
    }

    #[test]
    fn one_instruction_reached_twice_is_ordered() {
        let limit = Op::Cell { cell: CellId(0) };
        assert!(!ordered(&[std::slice::from_ref(&limit)], 1));
        assert!(ordered(&[std::slice::from_ref(&limit)], 2));
        assert!(ordered(&[&[limit.clone(), limit]], 1));
        assert!(!ordered(&[&[look_up(0)]], 2));
    }

    #[test]
    fn a_map_of_quotas_may_spend_any_of_them() {
        let map = |kind| Op::ObjectMap {
            set: SetId(0),
            keys: Slots::new(),
            kind,
        };
        let quotas = map(ObjectKind::Quota);
        assert!(!ordered(&[std::slice::from_ref(&quotas)], 1));
        assert!(ordered(&[std::slice::from_ref(&quotas)], 2));
        assert!(ordered(&[&[quotas, Op::Cell { cell: CellId(0) }]], 1));
        assert!(!ordered(&[&[map(ObjectKind::Counter)]], 2));
    }

    #[test]
    fn what_is_only_listed_is_not() {
        let last = Op::Cell { cell: CellId(1) };
        assert!(!ordered(&[&[last.clone(), last]], 1));
    }
}
