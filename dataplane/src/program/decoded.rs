//! Instructions that are decoded each time that they run: look-ups, maps, and what is neither a match nor a
//! verdict. The few that nearly every rule has are read straight from the words (see [`vm`](super::vm)).

use super::encoding::{Field, Words};
use super::fact::Facts;
use super::lanes::{Column, equal, lanes};
use super::nat::Statement;
use super::op::{Op, RuleRef, Slots, Verdict};
use super::vm::{Flow, Run};
use crate::drop_reason::DropReason;
use crate::worker::event::EventKind;

impl Run<'_, '_> {
    pub(super) fn decoded(&mut self, op: &[u32], rule: RuleRef, m: u64, flow: &mut Flow) -> u64 {
        // The verifier decoded the same words, so this cannot fail; were it to, nothing matches.
        let Ok(op) = Op::get(&mut Words::new(op)) else {
            return 0;
        };
        match op {
            Op::LookUp {
                set,
                keys,
                inverted,
            } => {
                let m = self.keys(&keys, m);
                if inverted {
                    m & !self.contains(set.0, &keys, m)
                } else {
                    self.look_up(set.0, &keys, m, 0)
                }
            }
            Op::FactMatch {
                set,
                keys,
                kinds,
                inverted,
                ..
            } => {
                let found = self.by_facts(set.0, (&keys, kinds), m, &mut []);
                if inverted { m & !found } else { found }
            }
            Op::MapInto { set, keys, into } => {
                let m = self.keys(&keys, m);
                let (first, count) = self.columns_of(into);
                let found = self.look_up(set.0, &keys, m, count);
                for index in 0..count {
                    for lane in lanes(found) {
                        self.vm.columns[first + index][lane] = self.vm.found[index][lane];
                    }
                }
                found
            }
            Op::VerdictMap { set, keys } => {
                let m = self.keys(&keys, m);
                let found = self.look_up(set.0, &keys, m, 1);
                self.mapped_verdicts(found, rule, flow)
            }
            Op::ObjectMap { set, keys, kind } => {
                let m = self.keys(&keys, m);
                let found = self.look_up(set.0, &keys, m, 1);
                let m = self.mapped_objects(kind, rule, found);
                // A synproxy can take a packet.
                flow.active &= !self.vm.packets.ended;
                m
            }
            Op::Reject { with } => {
                self.reject(with, rule, m);
                flow.active &= !m;
                0
            }
            Op::Fwd { device, .. } => {
                let m = self.key(device, m);
                self.forward(device, rule, m);
                flow.active &= !m;
                0
            }
            Op::Nat {
                kind,
                family,
                address_min,
                address_max,
                port_min,
                port_max,
                flags,
            } => {
                let statement = Statement {
                    kind,
                    family,
                    addresses: [address_min, address_max],
                    ports: [port_min, port_max],
                    flags,
                };
                let (on, over) = self.translate(&statement, rule, m);
                if self.vm.packets.traced & over != 0 {
                    self.trace(EventKind::TraceRule(Verdict::Accept), rule, over);
                }
                flow.active &= !over;
                on
            }
            op => {
                let m = self.statement(&op, rule, m);
                // A statement can end a packet, too.
                flow.active &= !self.vm.packets.ended;
                m
            }
        }
    }

    fn mapped_verdicts(&mut self, found: u64, rule: RuleRef, flow: &mut Flow) -> u64 {
        // A called chain may look maps up itself, so the verdicts are taken out first.
        let words = self.vm.found[0].clone();
        let (mut left, mut going_on) = (found, 0);
        while left != 0 {
            let word = words[left.trailing_zeros() as usize];
            let same = equal(&words, left, u32::MAX, word);
            left &= !same;
            match Verdict::from_word(word) {
                Some(Verdict::Continue) => going_on |= same,
                Some(verdict) => self.verdict(verdict, rule, same, flow),
                // Not a verdict: fail closed.
                None => {
                    self.vm.packets.end(same, DropReason::RuleDrop, rule);
                    flow.active &= !same;
                }
            }
        }
        going_on
    }

    /// Looks keys up that are loaded; data goes to `vm.found`.
    fn look_up(&mut self, set: u32, keys: &Slots, m: u64, data: usize) -> u64 {
        let generation = self.generation;
        if m == 0 {
            return 0;
        }
        let mut found = std::mem::take(&mut self.vm.found);
        let key = self.key_columns(&self.vm.columns, keys);
        let moment = self.moment();
        let hit = generation.sets()[set as usize].look_up(&key, m, &moment, &mut found[..data]);
        self.vm.found = found;
        hit & m
    }

    /// Which lanes have their keys in a set; its elements' statements do not run.
    fn contains(&self, set: u32, keys: &Slots, m: u64) -> u64 {
        if m == 0 {
            return 0;
        }
        let key = self.key_columns(&self.vm.columns, keys);
        self.generation.sets()[set as usize].contains(&key, m, &self.moment())
    }

    /// Asks or changes a set by the packets' facts; lanes that lack one stay in.
    pub(super) fn by_facts(
        &mut self,
        set: u32,
        (keys, kinds): (&Slots, u16),
        m: u64,
        map: &mut [Column],
    ) -> u64 {
        if m == 0 {
            return 0;
        }
        let lanes: arrayvec::ArrayVec<u64, { super::op::MAX_COLUMNS }> =
            keys.iter().map(|slot| self.key(*slot, m)).collect();
        let columns = keys.iter().map(|slot| {
            let (first, count) = self.columns_of(*slot);
            self.vm.columns[first..first + count]
                .iter()
                .take(4)
                .collect()
        });
        let facts = Facts::new(kinds, columns.zip(lanes));
        self.generation.sets()[set as usize].by_facts(&facts, m, &self.moment(), map) & m
    }
}
