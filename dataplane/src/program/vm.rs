//! The interpreter: one instruction over all lanes before the next one.
//!
//! [`Vm`] is what a worker keeps from batch to batch (columns, what is loaded); [`Run`] is one walk
//! of some lanes through one base chain. A rule runs with a mask of the lanes still in it; an
//! instruction narrows it, and a rule whose mask is empty is left. Nothing here allocates but
//! frames that rules ask to be sent.

use super::block::{RULE_HEADER, SCAN, SCAN_HEADER};
use super::builder::Program;
use super::encoding::{Field, Words};
use super::fact::Facts;
use super::key::{Slot, reads};
use super::lane_set::{Connections, Moment};
use super::lanes::{Column, compare, equal, find, lanes};
use super::nat::Statement;
use super::op::{CounterSlot, Op, Relation, RuleRef, Slots, Verdict};
use super::packets::Packets;
use super::walk::{Family, Hook};
use crate::conntrack::{PacketCt, TrackerWorker, Zone};
use crate::drop_reason::DropReason;
use crate::nat::Translator;
use crate::packet::Frame;
use crate::packet::pool::FramePool;
use crate::port::PortId;
use crate::worker::event::{CAPTURE, Event, EventKind, EventQueue};
use crate::worker::{Context, Generation, Routed};

/// With at most this many lanes, a scan looks each lane's value up in the constants instead of each
/// constant in the lanes.
const FEW_LANES: u32 = 6;

/// Codes of the instructions that are read straight from the words; all others are decoded.
mod code {
    pub(super) const COMPARE: u32 = 1;
    pub(super) const COMPARE_MASKED: u32 = 2;
    pub(super) const RANGE: u32 = 3;
    pub(super) const COUNTER: u32 = 32;
    pub(super) const VERDICT: u32 = 64;
}

/// What is known of a slot's columns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SlotState {
    /// Lanes for which the key was looked at.
    pub(super) loaded: u64,
    /// Those of them that have it.
    pub(super) valid: u64,
    /// First column.
    pub(super) first: u32,
    /// How many there are.
    pub(super) count: u32,
}

/// What a worker keeps from batch to batch.
#[derive(Debug)]
pub struct Vm {
    pub(super) columns: Vec<Column>,
    pub(super) slots: Vec<SlotState>,
    /// Slots that were looked at since the batch began.
    pub(super) touched: Vec<u16>,
    /// Slots by what they are read from.
    forget: [Vec<u16>; reads::COUNT],
    /// Tables for which the columns were made: line and number of keys.
    made_for: Option<(u64, usize)>,
    /// Results of look-ups.
    pub(super) found: Vec<Column>,
    pub(super) random: u64,
    /// Lanes whose headers a statement may have changed since they were dissected.
    pub stale: u64,
    /// The packets of the batch.
    pub packets: Packets,
}

impl Vm {
    /// A machine with this seed of chance.
    pub fn new(seed: u64) -> Self {
        Self {
            columns: Vec::new(),
            slots: Vec::new(),
            touched: Vec::new(),
            forget: Default::default(),
            made_for: None,
            found: vec![Column::default(); super::op::MAX_COLUMNS],
            stale: 0,
            random: seed | 1,
            packets: Packets::new(),
        }
    }

    /// Makes room for a program's keys, when it is another one than before.
    pub fn prepare(&mut self, program: &Program) {
        let tables = program.tables();
        let wanted = Some((tables.lineage(), tables.keys().len()));
        if self.made_for == wanted {
            return;
        }
        self.made_for = wanted;
        self.columns
            .resize_with(tables.all_columns(), Column::default);
        self.touched = Vec::with_capacity(tables.keys().len());
        self.forget.iter_mut().for_each(Vec::clear);
        self.slots.clear();
        for (slot, key) in tables.keys().iter().enumerate() {
            let from = key.source.reads();
            let work = from & reads::WORK != 0;
            let known = if work { u64::MAX } else { 0 };
            self.slots.push(SlotState {
                loaded: known,
                valid: known,
                first: tables.first_column(Slot(slot as u16)) as u32,
                count: key.columns() as u32,
            });
            for (bit, list) in self.forget.iter_mut().enumerate() {
                if from >> bit & 1 == 1 && !work {
                    list.push(slot as u16);
                }
            }
        }
    }

    /// Forgets the last batch.
    pub fn begin(&mut self) {
        for slot in self.touched.drain(..) {
            self.slots[usize::from(slot)].loaded = 0;
        }
        self.stale = 0;
        self.packets.ended = 0;
        self.packets.forwarded = 0;
        self.packets.parked = 0;
        self.packets.gathered = 0;
        self.packets.traced = 0;
        self.packets.pkttype_set = 0;
        self.packets.to_other = 0;
        self.packets.marks.fill(0);
        self.packets.priorities.fill(0);
    }

    /// No packet of the batch has been tracked yet.
    pub(crate) fn begin_tracking(&mut self) {
        self.packets.ct.fill(PacketCt::NONE);
        self.packets.zones.fill(Zone::default());
    }

    /// Forgets the keys that were read from what was written, as bits of [`reads`].
    pub fn forget(&mut self, what: u32, lanes: u64) {
        for (bit, list) in self.forget.iter().enumerate() {
            if what >> bit & 1 == 1 {
                for slot in list {
                    self.slots[usize::from(*slot)].loaded &= !lanes;
                }
            }
        }
    }

    /// A random number of 64 bits.
    pub(crate) fn chance(&mut self) -> u64 {
        u64::from(self.next_random()) << 32 | u64::from(self.next_random())
    }

    /// The next random number.
    pub(super) fn next_random(&mut self) -> u32 {
        // xorshift64*: fast, and nobody relies on it being hard to guess.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }
}

/// Where the chain that runs is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The hook.
    pub hook: Hook,
    /// The family of its table.
    pub family: Family,
}

impl Place {
    /// Whether rules know the port in here: a bridge's postrouting does not, as in the kernel.
    pub fn knows_port_in(self) -> bool {
        (self.hook, self.family) != (Hook::Postrouting, Family::Bridge)
    }
}

/// One walk of some lanes through one base chain.
#[derive(Debug)]
pub struct Run<'r, 'q> {
    /// Columns and packets.
    pub vm: &'r mut Vm,
    /// The frames by lane.
    pub frames: &'r mut [Frame<'q>],
    /// What is published.
    pub generation: &'r Generation,
    /// Time and place.
    pub context: &'r Context,
    /// Where logs and traces go.
    pub events: &'r EventQueue,
    /// Where copies and answers go.
    pub emitted: &'r mut Vec<(PortId, Frame<'static>)>,
    /// Where answers go that are routed.
    pub routed: &'r mut Vec<Routed>,
    /// Where their memory comes from.
    pub pool: &'r mut FramePool,
    /// The tracker, where the program tracks connections.
    pub tracker: Option<&'r mut TrackerWorker>,
    /// The translator, where the dataplane has one.
    pub translator: Option<&'r Translator>,
    /// The base chain.
    pub place: Place,
}

/// The lanes of a chain that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// Lanes that go on with the next rule.
    pub(super) active: u64,
    /// Lanes that returned to the caller.
    pub(super) returned: u64,
    /// Level of the chain.
    level: u8,
}

impl Run<'_, '_> {
    /// Runs a chain; yields the lanes that came to its end or returned from it.
    pub fn chain(&mut self, chain: usize, lanes: u64) -> u64 {
        let generation = self.generation;
        let Some(chain) = generation.program().chains().get(chain) else {
            return lanes;
        };
        let mut flow = Flow {
            active: lanes,
            returned: 0,
            level: chain.level(),
        };
        for block in chain.blocks() {
            if flow.active == 0 {
                break;
            }
            self.block(block.words(), &mut flow);
        }
        flow.returned | flow.active
    }

    fn block(&mut self, words: &[u32], flow: &mut Flow) {
        let mut rest = words;
        while let Some(&head) = rest.first() {
            let (record, behind) = rest.split_at((head & !SCAN) as usize);
            rest = behind;
            if head & SCAN == 0 {
                self.rule(record, flow);
            } else {
                let (run, behind) = rest.split_at(record[4] as usize);
                self.scan(record, run, flow);
                rest = behind;
            }
            if flow.active == 0 {
                return;
            }
        }
    }

    /// Runs those rules of a run whose constant some lane has, in order.
    fn scan(&mut self, record: &[u32], run: &[u32], flow: &mut Flow) {
        let (slot, mask, count) = (Slot(record[1] as u16), record[2], record[3] as usize);
        let (values, offsets) = record[SCAN_HEADER..].split_at(count);
        let mut having = self.key(slot, flow.active);
        let mut at = 0;
        while having != 0 {
            let column = &self.vm.columns[self.first_column(slot)];
            let Some(next) = next_candidate(column, having, mask, &values[at..]) else {
                return;
            };
            let rule = &run[offsets[at + next] as usize..];
            self.rule(&rule[..rule[0] as usize], flow);
            at += next + 1;
            // A statement may have written what the key was read from.
            having = self.key(slot, flow.active);
        }
    }

    #[inline]
    fn rule(&mut self, record: &[u32], flow: &mut Flow) {
        let rule = RuleRef(record[1]);
        let mut m = flow.active;
        let mut rest = &record[RULE_HEADER..];
        while let Some(&head) = rest.first() {
            let (op, behind) = rest.split_at((head >> 16) as usize);
            rest = behind;
            m = match head & 0xffff {
                code::COMPARE => {
                    let relation = relation(op[2]);
                    self.compare(Slot(op[1] as u16), &[], relation, &op[4..], m)
                }
                code::COMPARE_MASKED => {
                    let (mask, right) = op[3..].split_at(op[2] as usize);
                    self.compare(Slot(op[1] as u16), mask, relation(right[0]), &right[2..], m)
                }
                code::RANGE => {
                    let (low, right) = op[3..].split_at(op[2] as usize);
                    let (high, inverted) = right[1..].split_at(right[0] as usize);
                    self.range(Slot(op[1] as u16), low, high, inverted[0] != 0, m)
                }
                code::VERDICT => {
                    let word = op[1] | op.get(2).map_or(0, |chain| chain << 3);
                    match Verdict::from_word(word) {
                        Some(Verdict::Continue) => m,
                        Some(verdict) => {
                            self.verdict(verdict, rule, m, flow);
                            0
                        }
                        None => 0,
                    }
                }
                code::COUNTER => {
                    self.count(CounterSlot(op[1]), m);
                    m
                }
                _ => self.decoded(op, rule, m, flow),
            };
            if m == 0 {
                return;
            }
        }
        if self.vm.packets.traced & m != 0 {
            self.trace(EventKind::TraceRule(Verdict::Continue), rule, m);
        }
    }

    #[inline(always)]
    fn compare(
        &mut self,
        slot: Slot,
        mask: &[u32],
        relation: Relation,
        value: &[u32],
        m: u64,
    ) -> u64 {
        let m = self.key(slot, m);
        let first = self.first_column(slot);
        if let (&[value], Relation::Eq | Relation::Ne) = (value, relation) {
            let mask = mask.first().copied().unwrap_or(u32::MAX);
            let same = equal(&self.vm.columns[first], m, mask, value);
            return if relation == Relation::Eq {
                same
            } else {
                m & !same
            };
        }
        compare(
            &self.vm.columns[first..first + value.len()],
            m,
            mask,
            relation,
            value,
        )
    }

    #[inline(always)]
    fn range(&mut self, slot: Slot, low: &[u32], high: &[u32], inverted: bool, m: u64) -> u64 {
        let m = self.key(slot, m);
        let first = self.first_column(slot);
        let columns = &self.vm.columns[first..first + low.len()];
        let inside = compare(columns, m, &[], Relation::Ge, low);
        let inside = compare(columns, inside, &[], Relation::Le, high);
        if inverted { m & !inside } else { inside }
    }

    fn decoded(&mut self, op: &[u32], rule: RuleRef, m: u64, flow: &mut Flow) -> u64 {
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
                self.mapped_objects(kind, found)
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
            op => self.statement(&op, rule, m),
        }
    }

    /// Carries a verdict out for lanes of a rule.
    pub(super) fn verdict(&mut self, verdict: Verdict, rule: RuleRef, m: u64, flow: &mut Flow) {
        if self.vm.packets.traced & m != 0 && verdict != Verdict::Continue {
            self.trace(EventKind::TraceRule(verdict), rule, m);
        }
        match verdict {
            Verdict::Continue => {}
            Verdict::Accept => flow.active &= !m,
            Verdict::Drop => {
                self.vm.packets.end(m, DropReason::RuleDrop, rule);
                flow.active &= !m;
            }
            Verdict::Return => {
                flow.active &= !m;
                flow.returned |= m;
            }
            Verdict::Jump { chain } => {
                flow.active &= !m;
                flow.active |= self.call(chain.0, rule, m, flow.level);
            }
            Verdict::Goto { chain } => {
                flow.active &= !m;
                flow.returned |= self.call(chain.0, rule, m, flow.level);
            }
        }
    }

    fn call(&mut self, chain: u32, rule: RuleRef, m: u64, level: u8) -> u64 {
        let generation = self.generation;
        // The verifier has checked jumps in rules; a verdict map's elements may name any chain.
        match generation.program().chains().get(chain as usize) {
            Some(target) if target.level() > level => self.chain(chain as usize, m),
            _ => {
                self.vm.packets.end(m, DropReason::JumpDepth, rule);
                0
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

    /// Loads a key where it is not loaded yet; yields the lanes that have it.
    #[inline]
    pub(super) fn key(&mut self, slot: Slot, m: u64) -> u64 {
        let need = m & !self.vm.slots[usize::from(slot.0)].loaded;
        if need != 0 {
            self.load(slot, need);
        }
        m & self.vm.slots[usize::from(slot.0)].valid
    }

    pub(super) fn keys(&mut self, slots: &Slots, m: u64) -> u64 {
        slots.iter().fold(m, |m, slot| self.key(*slot, m))
    }

    #[inline]
    pub(super) fn first_column(&self, slot: Slot) -> usize {
        self.vm.slots[usize::from(slot.0)].first as usize
    }

    #[inline]
    pub(super) fn columns_of(&self, slot: Slot) -> (usize, usize) {
        let state = &self.vm.slots[usize::from(slot.0)];
        (state.first as usize, state.count as usize)
    }

    /// The fields' columns side by side.
    pub(super) fn key_columns<'c>(
        &self,
        columns: &'c [Column],
        slots: &Slots,
    ) -> arrayvec::ArrayVec<&'c Column, { super::op::MAX_KEY_COLUMNS }> {
        let mut side_by_side = arrayvec::ArrayVec::new();
        for slot in slots {
            let (first, count) = self.columns_of(*slot);
            side_by_side.extend(&columns[first..first + count]);
        }
        side_by_side
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

    pub(super) fn moment(&self) -> Moment<'_> {
        Moment {
            now_ns: self.context.now_ns,
            lengths: &self.vm.packets.lengths,
            worker: usize::from(self.context.worker),
            connections: self.connections(),
        }
    }

    pub(super) fn connections(&self) -> Option<Connections<'_>> {
        let ct = &self.vm.packets.ct;
        let tracker = self.tracker.as_deref();
        tracker.map(|tracker| Connections { tracker, ct })
    }

    /// Counts lanes in a counter slot.
    #[inline]
    pub(super) fn count(&self, counter: CounterSlot, m: u64) {
        let bytes = lanes(m)
            .map(|lane| u64::from(self.vm.packets.lengths[lane]))
            .sum();
        let worker = usize::from(self.context.worker);
        self.generation
            .counters()
            .count(worker, counter, u64::from(m.count_ones()), bytes);
    }

    /// Puts an event for each traced lane.
    #[cold]
    pub(crate) fn trace(&self, kind: EventKind, rule: RuleRef, m: u64) {
        for lane in lanes(self.vm.packets.traced & m) {
            self.event(kind, rule, lane, CAPTURE);
        }
    }

    /// Puts an event with at most `capture` bytes of the frame.
    pub(super) fn event(&self, kind: EventKind, rule: RuleRef, lane: usize, capture: usize) {
        if self.events.is_full() {
            return self.events.count_dropped();
        }
        let packets = &self.vm.packets;
        let bytes = self.frames[lane].bytes();
        let captured = bytes.len().min(capture).min(CAPTURE);
        let mut frame = [0; CAPTURE];
        frame[..captured].copy_from_slice(&bytes[..captured]);
        self.events.push(Event {
            kind,
            rule,
            generation: self.generation.number(),
            wall_ns: self.context.wall_ns,
            hook: self.place.hook,
            family: self.place.family,
            in_port: packets.in_ports[lane],
            out_port: packets.out_ports[lane],
            mark: packets.marks[lane],
            packet: packets.serial + lane as u64,
            frame_len: bytes.len() as u32,
            network: packets.headers[lane].network,
            captured: captured as u16,
            frame,
        });
    }
}

/// Index of the first constant that some lane has.
#[inline]
fn next_candidate(column: &Column, having: u64, mask: u32, values: &[u32]) -> Option<usize> {
    if having.count_ones() <= FEW_LANES {
        let mut end = values.len();
        for lane in lanes(having) {
            end = find(&values[..end], column[lane] & mask).unwrap_or(end);
        }
        return (end < values.len()).then_some(end);
    }
    values
        .iter()
        .position(|value| equal(column, having, mask, *value) != 0)
}

#[inline]
fn relation(word: u32) -> Relation {
    match word {
        0 => Relation::Eq,
        1 => Relation::Ne,
        2 => Relation::Lt,
        3 => Relation::Gt,
        4 => Relation::Le,
        _ => Relation::Ge,
    }
}
