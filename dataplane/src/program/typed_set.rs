//! Sets of the set engine as instructions see them: columns in, data out, and the statements that
//! elements carry.
//!
//! Every element has a row of state words; which of them belongs to which statement follows from
//! the list of statements, the same for all elements of a set: a counter takes two words (packets,
//! bytes), a limit one (the moment at which its bucket would have been empty), a quota one (bytes
//! used), `last` one (the moment plus one). Words are shared by all workers and all generations.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use arrayvec::ArrayVec;

use super::cell::Limit;
use super::lane_set::{Change, LaneSet, Moment};
use super::lanes::{Column, lanes};
use super::op::{ElementStatement, MAX_COLUMNS, SetAction};
use super::tables::{SetData, SetDesc};
use crate::packet::BATCH;
use crate::sets::{Hits, OwnView};

/// A set that a generation refers to.
#[derive(Debug)]
pub struct TypedSet {
    view: OwnView,
    desc: SetDesc,
    statements: Vec<Statement>,
}

/// A statement with the place of its words.
#[derive(Debug)]
struct Statement {
    at: usize,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Counter,
    Limit(Limit),
    Quota { bytes: u64, over: bool },
    Last,
    /// Counted by the tracker, without which no program has it.
    ConnLimit,
}

thread_local! {
    /// What the last look-up of this thread found.
    static HITS: RefCell<Hits> = RefCell::new(Hits::default());
}

/// State words that an element with these statements begins with.
pub fn initial_state(statements: &[ElementStatement]) -> Vec<u64> {
    statements.iter().flat_map(|statement| initial_words(statement).iter().copied()).collect()
}

fn initial_words(statement: &ElementStatement) -> &'static [u64] {
    match statement {
        ElementStatement::Counter => &[0, 0],
        ElementStatement::Limit { .. } => &[Limit::FULL],
        ElementStatement::Quota { .. } | ElementStatement::Last => &[0],
        ElementStatement::ConnLimit { .. } => &[],
    }
}

/// What an element's statement has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatementState {
    /// Packets and bytes.
    Counter {
        /// Packets.
        packets: u64,
        /// Bytes.
        bytes: u64,
    },
    /// Bytes used, at most the quota.
    Quota {
        /// Bytes.
        used: u64,
    },
    /// Monotonic nanoseconds of the last packet.
    Last {
        /// `None`: never.
        at_ns: Option<u64>,
    },
    /// Nothing that is listed.
    Nothing,
}

/// What the state words of an element say, statement by statement.
pub fn read_state(statements: &[ElementStatement], words: &[u64]) -> Vec<StatementState> {
    let mut rest = words;
    statements
        .iter()
        .map(|statement| {
            let count = initial_words(statement).len().min(rest.len());
            let (mine, behind) = rest.split_at(count);
            rest = behind;
            match (statement, mine) {
                (ElementStatement::Counter, [packets, bytes]) => {
                    StatementState::Counter { packets: *packets, bytes: *bytes }
                }
                (ElementStatement::Quota { bytes, .. }, [used]) => {
                    StatementState::Quota { used: (*used).min(*bytes) }
                }
                (ElementStatement::Last, [at]) => {
                    StatementState::Last { at_ns: at.checked_sub(1) }
                }
                _ => StatementState::Nothing,
            }
        })
        .collect()
}

impl TypedSet {
    /// A set as a generation sees it. Its elements were made with the words of
    /// [`initial_state`] for the same statements.
    pub fn new(view: OwnView, desc: SetDesc, statements: &[ElementStatement]) -> Self {
        let mut at = 0;
        let statements = statements
            .iter()
            .map(|statement| {
                let kind = match *statement {
                    ElementStatement::Counter => Kind::Counter,
                    ElementStatement::Limit { rate, period_ns, burst, bytes, over } => {
                        Kind::Limit(Limit::new(rate, period_ns, burst, bytes, over))
                    }
                    ElementStatement::Quota { bytes, over } => Kind::Quota { bytes, over },
                    ElementStatement::Last => Kind::Last,
                    ElementStatement::ConnLimit { .. } => Kind::ConnLimit,
                };
                at += initial_words(statement).len();
                Statement { at: at - initial_words(statement).len(), kind }
            })
            .collect();
        Self { view, desc, statements }
    }

    /// The set behind it, for listings.
    pub fn view(&self) -> &OwnView {
        &self.view
    }

    /// Runs the statements of an element on one packet; whether the rule goes on.
    fn run(&self, slot: u32, lane: usize, moment: &Moment<'_>) -> bool {
        if self.statements.is_empty() {
            return true;
        }
        let words = self.view.state(slot);
        let length = moment.lengths[lane];
        self.statements.iter().all(|statement| match words.get(statement.at..) {
            Some(words) => statement.kind.run(words, moment.now_ns, length),
            // An element without state of its own has nothing to count in.
            None => true,
        })
    }

    fn run_all(&self, found: u64, moment: &Moment<'_>, slots: &[u32; BATCH]) -> u64 {
        if self.statements.is_empty() {
            return found;
        }
        lanes(found)
            .filter(|&lane| self.run(slots[lane], lane, moment))
            .fold(0, |goes_on, lane| goes_on | 1 << lane)
    }
}

impl Kind {
    fn run(&self, words: &[AtomicU64], now_ns: u64, length: u32) -> bool {
        match (self, words) {
            (Self::Counter, [packets, bytes, ..]) => {
                packets.fetch_add(1, Relaxed);
                bytes.fetch_add(u64::from(length), Relaxed);
                true
            }
            (Self::Limit(limit), [word, ..]) => limit.matches_in(word, now_ns, length),
            (Self::Quota { bytes, over }, [word, ..]) => {
                let length = u64::from(length);
                let used = word.fetch_add(length, Relaxed).wrapping_add(length);
                (used > *bytes) == *over
            }
            (Self::Last, [word, ..]) => {
                word.store(now_ns.saturating_add(1), Relaxed);
                true
            }
            (Self::ConnLimit, _) => false,
            _ => true,
        }
    }
}

/// Columns as the set engine takes them.
fn plain<'c>(key: &[&'c Column]) -> ArrayVec<&'c [u32; BATCH], MAX_COLUMNS> {
    key.iter().map(|column| &column.0).collect()
}

impl LaneSet for TypedSet {
    fn desc(&self) -> SetDesc {
        self.desc.clone()
    }

    fn look_up(&self, key: &[&Column], among: u64, moment: &Moment<'_>, data: &mut [Column]) -> u64 {
        HITS.with_borrow_mut(|hits| {
            let found = self.view.lookup(&plain(key), among, moment.now_ns, hits);
            if found == 0 {
                return 0;
            }
            for (to, from) in data.iter_mut().zip(&hits.data) {
                lanes(found).for_each(|lane| to[lane] = from[lane]);
            }
            self.run_all(found, moment, &hits.slots)
        })
    }

    fn change(&self, key: &[&Column], among: u64, moment: &Moment<'_>, change: &Change<'_>) -> u64 {
        let mut goes_on = 0;
        let timeout_ns = change.timeout_ms.map(|ms| ms.saturating_mul(1_000_000));
        for lane in lanes(among) {
            let words: ArrayVec<u32, MAX_COLUMNS> = key.iter().map(|column| column[lane]).collect();
            let data: ArrayVec<u32, MAX_COLUMNS> =
                change.data.iter().map(|column| column[lane]).collect();
            let passes = match change.action {
                // A delete never ends the rule, whether there was something to delete or not.
                SetAction::Delete => {
                    let _ = self.view.delete_by_packet(&words, moment.now_ns);
                    true
                }
                SetAction::Add | SetAction::Update => {
                    let refresh = change.action == SetAction::Update;
                    self.view
                        .add_by_packet(&words, &data, timeout_ns, refresh, moment.now_ns)
                        .is_ok_and(|touched| self.run(touched.slot, lane, moment))
                }
            };
            goes_on |= u64::from(passes) << lane;
        }
        goes_on
    }
}

/// What a map's data is, as words of an element.
pub fn data_words(data: &SetData) -> u8 {
    match data {
        SetData::Nothing => 0,
        SetData::Columns { count } => *count,
        SetData::Verdict | SetData::Object { .. } => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets::{Element, Set, SetSpec};

    const SECOND: u64 = 1_000_000_000;

    fn column(word: u32) -> Column {
        Column([word; BATCH])
    }

    fn dynamic(statements: &[ElementStatement], size: u32) -> TypedSet {
        let mut spec = SetSpec::exact(1);
        spec.dynamic = true;
        spec.timed = true;
        spec.size = Some(size);
        spec.initial_state = initial_state(statements).into();
        let view = Set::new(spec, 1).unwrap().view();
        TypedSet::new(view, SetDesc { key_columns: 1, data: SetData::Nothing }, statements)
    }

    fn add(set: &TypedSet, key: u32, among: u64, now_ns: u64) -> u64 {
        let lengths = column(100);
        let moment = Moment { now_ns, lengths: &lengths, worker: 0 };
        let change = Change {
            action: SetAction::Add,
            timeout_ms: None,
            data: &[],
            statements: &[],
        };
        set.change(&[&column(key)], among, &moment, &change)
    }

    #[test]
    fn every_element_has_a_bucket_and_a_counter_of_its_own() {
        let limit = ElementStatement::Limit {
            rate: 1,
            period_ns: SECOND,
            burst: 2,
            bytes: false,
            over: false,
        };
        let statements = [limit, ElementStatement::Counter];
        let set = dynamic(&statements, 100);
        assert_eq!(add(&set, 1, 0b1111, SECOND), 0b0011);
        assert_eq!(add(&set, 2, 0b0001, SECOND), 0b0001);
        assert_eq!(add(&set, 1, 0b1000, 2 * SECOND), 0b1000);
        let elements = set.view().elements(2 * SECOND);
        let states: Vec<_> =
            elements.iter().map(|element| read_state(&statements, &element.state)[1]).collect();
        assert_eq!(states[0], StatementState::Counter { packets: 3, bytes: 300 });
        assert_eq!(states[1], StatementState::Counter { packets: 1, bytes: 100 });
    }

    #[test]
    fn a_full_set_ends_the_rule_for_new_keys_only() {
        let set = dynamic(&[], 1);
        assert_eq!(add(&set, 1, 1, 0), 1);
        assert_eq!(add(&set, 2, 1, 0), 0);
        assert_eq!(add(&set, 1, 1, 0), 1);
    }

    #[test]
    fn a_look_up_yields_data_and_runs_statements() {
        let mut spec = SetSpec::exact(1);
        spec.data_words = 1;
        let statements = [ElementStatement::Quota { bytes: 150, over: false }];
        spec.initial_state = initial_state(&statements).into();
        let set = Set::new(spec, 1).unwrap();
        let mut change = set.begin(0).unwrap();
        change.add(&Element::exact(&[5]).with_data(&[9])).unwrap();
        let desc = SetDesc { key_columns: 1, data: SetData::Columns { count: 1 } };
        let set = TypedSet::new(change.commit(), desc, &statements);
        let lengths = column(100);
        let moment = Moment { now_ns: 0, lengths: &lengths, worker: 0 };
        let mut data = [Column::default()];
        assert_eq!(set.look_up(&[&column(5)], 0b11, &moment, &mut data), 0b01);
        assert_eq!(data[0][0], 9);
        assert_eq!(set.look_up(&[&column(6)], 0b11, &moment, &mut data), 0);
    }
}
