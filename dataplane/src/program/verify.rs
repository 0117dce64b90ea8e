//! The verifier of blocks: walks all records and checks everything that the interpreter relies on.
//!
//! After it, reading a block cannot go wrong: lengths are those of the fields, every index lies in its
//! table, operands have the widths of their places, work slots are written before they are read.

use super::block::{RULE_HEADER, SCAN, SCAN_HEADER, Uses, equality, may_scan};
use super::encoding::{Field, Malformed, Words};
use super::fact::FactKind;
use super::key::{CtKey, Exthdr, FibResult, Slot, Source};
use super::op::{
    CounterSlot, MAX_COLUMNS, MAX_KEY_COLUMNS, Op, SetId, Slots, Value, Verdict, engines,
};
use super::tables::{CellKind, SetData, Tables};

/// Walks all records and checks everything that the interpreter relies on.
pub(super) fn verify(words: &[u32], tables: &Tables) -> Result<Uses, Malformed> {
    let mut uses = Uses::default();
    let mut at = 0;
    while at < words.len() {
        let len = (words[at] & !SCAN) as usize;
        let end = at.checked_add(len).filter(|end| *end <= words.len());
        let record = end
            .and_then(|end| words.get(at..end))
            .ok_or(Malformed::Truncated { at })?;
        if words[at] & SCAN == 0 {
            verify_rule(record, tables, &mut uses)?;
        } else {
            verify_scan(record, &words[at + len..], tables)?;
        }
        at += len;
    }
    at_most_twice(&mut uses.chains);
    at_most_twice(&mut uses.verdict_maps);
    Ok(uses)
}

/// Sorts; of what stands there more often, two remain: enough to know that it is not once.
fn at_most_twice<T: Copy + Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    let mut kept = 0;
    for at in 0..list.len() {
        if kept < 2 || list[kept - 2] != list[at] {
            list[kept] = list[at];
            kept += 1;
        }
    }
    list.truncate(kept);
}

fn verify_rule(record: &[u32], tables: &Tables, uses: &mut Uses) -> Result<(), Malformed> {
    let mut words = Words::new(
        record
            .get(RULE_HEADER..)
            .ok_or(Malformed::Truncated { at: 0 })?,
    );
    uses.rules += 1;
    let mut checker = Checker {
        tables,
        uses,
        written: Vec::new(),
    };
    while !words.is_empty() {
        let at = words.at();
        let declared = (record[RULE_HEADER + at] >> 16) as usize;
        let op = Op::get(&mut words)?;
        if words.at() - at != declared {
            return Err(Malformed::Invalid(
                "an instruction's length is not that of its fields",
            ));
        }
        checker.op(&op)?;
    }
    Ok(())
}

fn verify_scan(record: &[u32], behind: &[u32], tables: &Tables) -> Result<(), Malformed> {
    let wrong = Malformed::Invalid("a scan does not fit the rules behind it");
    let (header, lists) = record.split_at_checked(SCAN_HEADER).ok_or(wrong)?;
    let slot = Slot(u16::try_from(header[1]).map_err(|_| wrong)?);
    let (mask, count, run) = (header[2], header[3] as usize, header[4] as usize);
    if count == 0 || lists.len() != 2 * count || run > behind.len() || !may_scan(slot, tables) {
        return Err(wrong);
    }
    let (values, offsets) = lists.split_at(count);
    let mut expected = 0usize;
    for (value, offset) in values.iter().zip(offsets) {
        let rule = behind.get(expected..).ok_or(wrong)?;
        let len = *rule.first().ok_or(wrong)? as usize;
        let first = rule.get(RULE_HEADER..len).ok_or(wrong)?;
        let op = Op::get(&mut Words::new(first))?;
        if *offset as usize != expected || equality(&op) != Some((slot, mask, *value)) {
            return Err(wrong);
        }
        expected += len;
    }
    if expected == run { Ok(()) } else { Err(wrong) }
}

/// Checks one instruction against the tables and notes what it uses.
struct Checker<'a> {
    tables: &'a Tables,
    uses: &'a mut Uses,
    /// Work slots that the rule has written so far.
    written: Vec<Slot>,
}

impl Checker<'_> {
    fn op(&mut self, op: &Op) -> Result<(), Malformed> {
        self.uses.engines |= op.engines();
        self.uses.effects |= op.has_effects();
        match op {
            Op::Compare { key, value, .. } => self.constant(*key, value),
            Op::CompareMasked {
                key, mask, value, ..
            } => {
                self.constant(*key, mask)?;
                self.constant(*key, value)
            }
            Op::Range { key, low, high, .. } => {
                self.constant(*key, low)?;
                self.constant(*key, high)
            }
            Op::LookUp { set, keys, .. } => self.set_key(*set, keys).map(|_| ()),
            Op::FactMatch {
                set, keys, kinds, ..
            }
            | Op::FactAct {
                set, keys, kinds, ..
            } => {
                self.key_within(*set, keys, MAX_KEY_COLUMNS)?;
                self.facts(keys, *kinds)
            }
            Op::MapInto { set, keys, into } => {
                let SetData::Columns { count } = self.set_key(*set, keys)? else {
                    return Err(Malformed::Invalid("a map look-up in what is not a map"));
                };
                self.work(*into)?;
                self.width("map data", *into, usize::from(count))
            }
            Op::Immediate { into, value } => {
                self.work(*into)?;
                self.constant(*into, value)
            }
            Op::Copy { into, from } => {
                self.columns(*from)?;
                self.work(*into)
            }
            Op::Bitwise {
                into,
                from,
                mask,
                xor,
            } => {
                self.constant(*from, mask)?;
                self.constant(*from, xor)?;
                self.work(*into)?;
                self.same(*into, *from)
            }
            Op::Combine {
                into, left, right, ..
            } => {
                self.same(*left, *right)?;
                self.work(*into)?;
                self.same(*into, *left)
            }
            Op::Shift {
                into, from, bits, ..
            } => {
                self.columns(*from)?;
                self.work(*into)?;
                self.same(*into, *from)?;
                let width = self.tables.keys()[usize::from(into.0)].bits;
                if u16::from(*bits) < width {
                    Ok(())
                } else {
                    Err(Malformed::Invalid("a shift by the whole width or more"))
                }
            }
            Op::Jhash {
                into,
                from,
                modulus,
                ..
            } => {
                self.slots(from, MAX_COLUMNS)?;
                self.scaled(*into, *modulus)
            }
            Op::Symhash { into, modulus, .. } | Op::NumgenRandom { into, modulus, .. } => {
                self.scaled(*into, *modulus)
            }
            Op::NumgenInc { into, cell } => {
                self.cell(cell.0, |kind| kind == CellKind::Numgen)?;
                self.scaled(*into, 1)
            }
            Op::Verdict { verdict } => {
                if let Verdict::Jump { chain } | Verdict::Goto { chain } = verdict {
                    self.uses.chains.push(*chain);
                }
                Ok(())
            }
            Op::VerdictMap { set, keys } => {
                if self.set_key(*set, keys)? != SetData::Verdict {
                    return Err(Malformed::Invalid(
                        "a verdict look-up in what is not a verdict map",
                    ));
                }
                self.uses.verdict_maps.push(*set);
                Ok(())
            }
            _ => self.statement(op),
        }
    }

    fn statement(&mut self, op: &Op) -> Result<(), Malformed> {
        match op {
            Op::Counter { counter } => {
                self.counter(*counter);
                Ok(())
            }
            Op::Cell { cell } => {
                self.cell(cell.0, |kind| kind != CellKind::Numgen)?;
                if self.tables.cells()[cell.0 as usize] == CellKind::ConnLimit {
                    self.uses.engines |= engines::TRACK;
                }
                Ok(())
            }
            Op::ObjectMap { set, keys, kind } => {
                if self.set_key(*set, keys)? != (SetData::Object { kind: *kind }) {
                    return Err(Malformed::Invalid(
                        "an object look-up in what has no such objects",
                    ));
                }
                Ok(())
            }
            Op::Log { log } => in_table("log", log.0, self.tables.logs().len()),
            Op::Dup { device, address } => {
                self.optional(*device, 1)?;
                self.address(*address)
            }
            Op::Fwd { device, address } => {
                self.width("a port", *device, 1)?;
                self.address(*address)
            }
            Op::PayloadWrite { bits, from, .. } => {
                if *bits == 0 || *bits > 128 {
                    return Err(Malformed::Invalid("a payload write of no or too many bits"));
                }
                self.width("a payload write", *from, usize::from(*bits).div_ceil(32))
            }
            Op::ExthdrWrite {
                kind, len, from, ..
            } => {
                if *kind != Exthdr::Tcp || !matches!(len, 2 | 4) {
                    return Err(Malformed::Invalid(
                        "a header write other than 2 or 4 bytes of a TCP option",
                    ));
                }
                self.width("a header write", *from, 1)
            }
            Op::MetaSet { from, .. } => self.width("a meta value", *from, 1),
            Op::CtSet { key, from, .. } => {
                // The zone of a packet that has no connection yet is the packet's own.
                if *key != CtKey::Zone {
                    self.uses.connection.set();
                }
                self.columns(*from).map(|_| ())
            }
            Op::Nat {
                address_min,
                address_max,
                port_min,
                port_max,
                ..
            } => {
                self.address(*address_min)?;
                self.address(*address_max)?;
                self.optional(*port_min, 1)?;
                self.optional(*port_max, 1)
            }
            Op::Tproxy { address, port, .. } => {
                self.address(*address)?;
                self.optional(*port, 1)
            }
            Op::Queue { from, .. } => self.optional(*from, 1),
            Op::DynSet {
                set, keys, data, ..
            } => {
                let expected = match self.set_key(*set, keys)? {
                    SetData::Nothing => 0,
                    SetData::Columns { count } => usize::from(count),
                    _ => {
                        return Err(Malformed::Invalid(
                            "a dynamic element of a verdict or object map",
                        ));
                    }
                };
                let found = self.slots(data, MAX_COLUMNS)?;
                // Deleting an element of a map names its key only.
                if found == expected || found == 0 {
                    return Ok(());
                }
                Err(Malformed::Width {
                    what: "a map element's data",
                    found: found as u32,
                    expected: expected as u32,
                })
            }
            _ => Ok(()),
        }
    }

    /// As many keys as facts, each of its fact's width.
    fn facts(&mut self, keys: &Slots, kinds: u16) -> Result<(), Malformed> {
        let kinds: Vec<FactKind> = FactKind::ALL
            .into_iter()
            .filter(|kind| kinds & kind.bit() != 0)
            .collect();
        if kinds.len() != keys.len() {
            return Err(Malformed::Invalid("another number of facts than keys"));
        }
        for (slot, kind) in keys.iter().zip(kinds) {
            let found = self.columns(*slot)?;
            if found != kind.columns() {
                return Err(Malformed::Width {
                    what: "a fact",
                    found: found as u32,
                    expected: kind.columns() as u32,
                });
            }
        }
        Ok(())
    }

    fn counter(&mut self, counter: CounterSlot) {
        self.uses.counters = self.uses.counters.max(counter.0.saturating_add(1));
    }

    fn cell(&self, index: u32, fits: impl Fn(CellKind) -> bool) -> Result<(), Malformed> {
        in_table("cell", index, self.tables.cells().len())?;
        if fits(self.tables.cells()[index as usize]) {
            return Ok(());
        }
        Err(Malformed::Invalid(
            "a cell of another kind than its instruction takes",
        ))
    }

    /// Columns of a slot; notes the engines that its key needs.
    fn columns(&mut self, slot: Slot) -> Result<usize, Malformed> {
        in_table("slot", u32::from(slot.0), self.tables.keys().len())?;
        let key = &self.tables.keys()[usize::from(slot.0)];
        self.uses.engines |= match key.source {
            Source::Work { .. } if !self.written.contains(&slot) => {
                return Err(Malformed::Invalid(
                    "a work slot is read before its rule writes it",
                ));
            }
            Source::Ct { key, .. } => {
                self.uses.connection.read(key);
                engines::TRACK
            }
            Source::Rt { .. } => engines::ROUTES,
            Source::Fib { result, .. } if result != FibResult::Type => engines::ROUTES,
            _ => 0,
        };
        Ok(key.columns())
    }

    fn width(&mut self, what: &'static str, slot: Slot, expected: usize) -> Result<(), Malformed> {
        let found = self.columns(slot)?;
        if found == expected {
            return Ok(());
        }
        Err(Malformed::Width {
            what,
            found: found as u32,
            expected: expected as u32,
        })
    }

    fn constant(&mut self, slot: Slot, value: &Value) -> Result<(), Malformed> {
        self.width("a constant", slot, value.len())
    }

    fn same(&mut self, one: Slot, other: Slot) -> Result<(), Malformed> {
        let expected = self.columns(one)?;
        self.width("an operand", other, expected)
    }

    fn optional(&mut self, slot: Option<Slot>, expected: usize) -> Result<(), Malformed> {
        slot.map_or(Ok(()), |slot| self.width("an operand", slot, expected))
    }

    fn address(&mut self, slot: Option<Slot>) -> Result<(), Malformed> {
        let Some(slot) = slot else { return Ok(()) };
        match self.columns(slot)? {
            1 | 4 => Ok(()),
            found => Err(Malformed::Width {
                what: "an address",
                found: found as u32,
                expected: 4,
            }),
        }
    }

    /// Notes a slot as written; only work slots may be.
    fn work(&mut self, slot: Slot) -> Result<(), Malformed> {
        in_table("slot", u32::from(slot.0), self.tables.keys().len())?;
        match self.tables.keys()[usize::from(slot.0)].source {
            Source::Work { .. } => {
                self.written.push(slot);
                Ok(())
            }
            _ => Err(Malformed::NotWork { slot: slot.0 }),
        }
    }

    fn scaled(&mut self, into: Slot, modulus: u32) -> Result<(), Malformed> {
        if modulus == 0 {
            return Err(Malformed::Invalid("a modulus of zero"));
        }
        self.work(into)?;
        self.width("a generated number", into, 1)
    }

    /// Columns of fields side by side.
    fn slots(&mut self, slots: &Slots, limit: usize) -> Result<usize, Malformed> {
        let mut sum = 0;
        for slot in slots {
            sum += self.columns(*slot)?;
        }
        if sum > limit {
            return Err(Malformed::TooLarge {
                what: "a concatenation",
                size: sum,
                limit,
            });
        }
        Ok(sum)
    }

    fn set_key(&mut self, set: SetId, keys: &Slots) -> Result<SetData, Malformed> {
        self.key_within(set, keys, MAX_COLUMNS)
    }

    fn key_within(&mut self, set: SetId, keys: &Slots, limit: usize) -> Result<SetData, Malformed> {
        in_table("set", set.0, self.tables.sets().len())?;
        let desc = self.tables.sets()[set.0 as usize].clone();
        let (found, expected) = (self.slots(keys, limit)?, usize::from(desc.key_columns));
        if found == expected {
            return Ok(desc.data);
        }
        Err(Malformed::Width {
            what: "a set's key",
            found: found as u32,
            expected: expected as u32,
        })
    }
}

fn in_table(what: &'static str, index: u32, count: usize) -> Result<(), Malformed> {
    if (index as usize) < count {
        return Ok(());
    }
    Err(Malformed::OutOfRange {
        what,
        index,
        count: count as u32,
    })
}
