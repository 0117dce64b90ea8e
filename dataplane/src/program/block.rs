//! A block: a contiguous run of rules of one chain, encoded and verified.
//!
//! Layout in words. A rule: its length in words, its [`RuleRef`], its instructions; the first word
//! of an instruction is its code and, in the high half, its length in words. In front of a run of
//! rules that all begin with an equality on the same one-column key stands a scan: a table of
//! their constants that lets the interpreter go straight to the rules that can match. Nothing
//! in a block is an address: chains, sets, counters and cells stand by index.

use super::encoding::{Field, Malformed, Words};
use super::key::{Exthdr, Slot, Source, reads};
use super::op::{
    ChainId, CounterSlot, Op, Relation, RuleRef, SetId, Slots, Value, Verdict, engines,
};
use super::tables::{CellKind, SetData, Tables};

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
    /// Chains jumped or gone to.
    pub chains: Vec<ChainId>,
    /// Verdict maps looked up.
    pub verdict_maps: Vec<SetId>,
    /// Counter slots needed: one more than the highest.
    pub counters: u32,
    /// Engines needed, as bits of [`engines`].
    pub engines: u32,
    /// Rules in the block.
    pub rules: u32,
    /// Whether packets change state that other packets can see.
    pub effects: bool,
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
fn may_scan(slot: Slot, tables: &Tables) -> bool {
    tables
        .keys()
        .get(usize::from(slot.0))
        .is_some_and(|key| key.source.reads() & (reads::FRESH | reads::WORK) == 0)
}

/// The equality with which a rule begins, if a scan can take it over.
fn equality(op: &Op) -> Option<(Slot, u32, u32)> {
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

/// Walks all records and checks everything that the interpreter relies on.
fn verify(words: &[u32], tables: &Tables) -> Result<Uses, Malformed> {
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
    uses.chains.sort_unstable();
    uses.chains.dedup();
    uses.verdict_maps.sort_unstable();
    uses.verdict_maps.dedup();
    Ok(uses)
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
                self.slots(from)?;
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
            Op::CtSet { from, .. } => self.columns(*from).map(|_| ()),
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
                let found = self.slots(data)?;
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
            Source::Ct { .. } => engines::TRACK,
            Source::Rt { .. } => engines::ROUTES,
            Source::Fib { result, .. } if result != super::key::FibResult::Type => engines::ROUTES,
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
    fn slots(&mut self, slots: &Slots) -> Result<usize, Malformed> {
        let mut sum = 0;
        for slot in slots {
            sum += self.columns(*slot)?;
        }
        let limit = super::op::MAX_COLUMNS;
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
        in_table("set", set.0, self.tables.sets().len())?;
        let desc = self.tables.sets()[set.0 as usize].clone();
        let (found, expected) = (self.slots(keys)?, usize::from(desc.key_columns));
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
