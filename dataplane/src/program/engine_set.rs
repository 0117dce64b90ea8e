//! A set of the set engine, as the interpreter looks things up in it.

use std::cell::RefCell;

use arrayvec::ArrayVec;

use super::lane_set::{Change, LaneSet, Moment};
use super::lanes::{Column, lanes};
use super::op::{ElementStatement, MAX_COLUMNS, SetAction};
use super::state;
use super::tables::{SetData, SetDesc};
use crate::packet::BATCH;
use crate::sets::{self, Hits, SetView};

thread_local! {
    /// What look-ups write into; a worker uses one again and again.
    static HITS: RefCell<Hits> = RefCell::new(Hits::default());
}

/// A view of a set with what its elements mean.
///
/// The set's `initial_state` is [`state::initial_state`] of the statements.
#[derive(Clone, Debug)]
pub struct EngineSet {
    view: SetView,
    desc: SetDesc,
    statements: ArrayVec<ElementStatement, 4>,
}

impl EngineSet {
    /// A set of this shape whose elements carry these statements. `key_columns` is what a look-up
    /// hands in; a list of sets may have members with fewer.
    pub fn new(
        view: impl Into<SetView>,
        desc: SetDesc,
        statements: ArrayVec<ElementStatement, 4>,
    ) -> Self {
        Self {
            view: view.into(),
            desc,
            statements,
        }
    }

    /// The view.
    pub fn view(&self) -> &SetView {
        &self.view
    }

    /// Finds, and hands what was found to `then` before the next look-up overwrites it.
    fn find(
        &self,
        key: &[&Column],
        among: u64,
        now_ns: u64,
        then: impl FnOnce(u64, &Hits) -> u64,
    ) -> u64 {
        let words: ArrayVec<&[u32; BATCH], MAX_COLUMNS> =
            key.iter().map(|column| &column.0).collect();
        HITS.with_borrow_mut(|hits| {
            let found = self.view.lookup(&words, among, now_ns, hits);
            then(found, hits)
        })
    }

    /// Changes the element of one lane; whether the rule goes on.
    fn change_one(
        &self,
        key: &[u32],
        data: &[u32],
        moment: &Moment<'_>,
        lane: usize,
        change: &Change<'_>,
    ) -> bool {
        let Some(view) = self.view.own() else {
            return false;
        };
        let timeout_ns = change.timeout_ms.map(|ms| ms.saturating_mul(1_000_000));
        let refresh = match change.action {
            SetAction::Delete => return view.delete_by_packet(key, moment.now_ns).is_ok(),
            SetAction::Add => false,
            SetAction::Update => true,
        };
        match view.add_by_packet(key, data, timeout_ns, refresh, moment.now_ns) {
            Ok(touched) => {
                let words = view.state(touched.slot);
                state::run(&self.statements, words, moment.now_ns, moment.lengths[lane])
            }
            Err(_) => false,
        }
    }
}

impl LaneSet for EngineSet {
    fn desc(&self) -> SetDesc {
        self.desc.clone()
    }

    fn look_up(
        &self,
        key: &[&Column],
        among: u64,
        moment: &Moment<'_>,
        data: &mut [Column],
    ) -> u64 {
        self.find(key, among, moment.now_ns, |found, hits| {
            for (to, from) in data.iter_mut().zip(&hits.data) {
                to.0 = *from;
            }
            if self.statements.is_empty() {
                return found;
            }
            let goes_on = |lane: &usize| {
                let words = self.view.state(hits, *lane);
                state::run(
                    &self.statements,
                    words,
                    moment.now_ns,
                    moment.lengths[*lane],
                )
            };
            lanes(found)
                .filter(goes_on)
                .fold(0, |lanes, lane| lanes | 1 << lane)
        })
    }

    fn contains(&self, key: &[&Column], among: u64, moment: &Moment<'_>) -> u64 {
        self.find(key, among, moment.now_ns, |found, _| found)
    }

    fn change(&self, key: &[&Column], among: u64, moment: &Moment<'_>, change: &Change<'_>) -> u64 {
        let row = |columns: &[&Column], lane: usize| -> ArrayVec<u32, MAX_COLUMNS> {
            columns.iter().map(|column| column[lane]).collect()
        };
        let goes_on = |lane: &usize| {
            let (key, data) = (row(key, *lane), row(change.data, *lane));
            self.change_one(&key, &data, moment, *lane, change)
        };
        lanes(among)
            .filter(goes_on)
            .fold(0, |lanes, lane| lanes | 1 << lane)
    }
}

/// Words of data that a set of the engine has for this.
pub fn data_words(data: &SetData) -> u8 {
    match data {
        SetData::Nothing => 0,
        SetData::Columns { count } => *count,
        SetData::Verdict | SetData::Object { .. } => 1,
    }
}

/// What the set engine calls a column is what a column holds.
const _: () = assert!(size_of::<sets::Column>() == size_of::<Column>());

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{Bench, frames};
    use super::super::*;
    use super::*;
    use crate::sets::{Element, Set, SetSpec};
    use crate::worker::Fate;

    fn engine_set(
        data: SetData,
        elements: &[Element],
        statements: &[ElementStatement],
        size: Option<u32>,
    ) -> Arc<EngineSet> {
        let mut spec = SetSpec::exact(1);
        spec.data_words = data_words(&data);
        spec.initial_state = state::initial_state(statements);
        spec.dynamic = size.is_some();
        spec.timed = size.is_some();
        spec.size = size;
        let set = Set::new(spec, 1).unwrap();
        let mut change = set.begin(0).unwrap();
        for element in elements {
            change.add(element).unwrap();
        }
        let desc = SetDesc {
            key_columns: 1,
            data,
        };
        Arc::new(EngineSet::new(
            change.commit(),
            desc,
            statements.iter().copied().collect(),
        ))
    }

    fn dport(bench: &mut Bench) -> Slots {
        let source = Source::Payload {
            base: Base::Transport,
            bit_offset: 16,
        };
        [bench.key(source, 16, Requires::Transport { protocol: 6 })]
            .into_iter()
            .collect()
    }

    fn dropped(bench: &mut Bench, ops: &[Op], ports: &[u16]) -> Vec<bool> {
        let rule = [
            ops,
            &[Op::Verdict {
                verdict: Verdict::Drop,
            }],
        ]
        .concat();
        bench.chain(&[(1, rule)]);
        bench.base(0, Hook::Forward, Family::Ip, Policy::Accept);
        let frames: Vec<_> = ports.iter().map(|port| frames::tcp(9, *port)).collect();
        bench
            .run(&frames)
            .iter()
            .map(|fate| matches!(fate, Fate::Drop { .. }))
            .collect()
    }

    #[test]
    fn a_set_is_looked_up_and_its_statements_run_on_a_hit_only() {
        for inverted in [false, true] {
            let mut bench = Bench::new();
            let keys = dport(&mut bench);
            let counted = [ElementStatement::Counter];
            let elements = [Element::exact(&[22]), Element::exact(&[80])];
            let engine = engine_set(SetData::Nothing, &elements, &counted, None);
            let set = bench.set(engine.clone());
            let found = dropped(
                &mut bench,
                &[Op::LookUp {
                    set,
                    keys,
                    inverted,
                }],
                &[22, 23, 22],
            );
            assert_eq!(found, [!inverted, inverted, !inverted]);
            let view = engine.view().own().unwrap();
            let element = view.get(&sets::Key::exact(&[22]), 0).unwrap();
            let expected = if inverted { [0, 0] } else { [2, 80] };
            assert_eq!(element.state[..], expected);
        }
    }

    #[test]
    fn a_map_yields_its_data() {
        let mut bench = Bench::new();
        let (keys, into) = (dport(&mut bench), bench.work(32));
        let elements = [
            Element::exact(&[22]).with_data(&[7]),
            Element::exact(&[80]).with_data(&[8]),
        ];
        let set = bench.set(engine_set(
            SetData::Columns { count: 1 },
            &elements,
            &[],
            None,
        ));
        let eight = [8].into_iter().collect();
        let ops = [
            Op::MapInto { set, keys, into },
            Op::Compare {
                key: into,
                relation: Relation::Eq,
                value: eight,
            },
        ];
        assert_eq!(
            dropped(&mut bench, &ops, &[22, 80, 81]),
            [false, true, false]
        );
    }

    #[test]
    fn a_dynamic_set_is_filled_by_packets_and_limits_each_element() {
        let mut bench = Bench::new();
        let keys = dport(&mut bench);
        let limit = ElementStatement::Limit {
            rate: 1,
            period_ns: 3_600_000_000_000,
            burst: 2,
            bytes: false,
            over: true,
        };
        let set = bench.set(engine_set(SetData::Nothing, &[], &[limit], Some(2)));
        let add = Op::DynSet {
            set,
            keys,
            action: SetAction::Add,
            timeout_ms: None,
            data: Slots::new(),
            statements: [limit].into_iter().collect(),
        };
        let found = dropped(&mut bench, &[add], &[1, 1, 1, 2, 3, 2, 2]);
        // Over the limit from the third packet of a port on; port 3 finds the set full.
        assert_eq!(found, [false, false, true, false, false, false, true]);
    }

    #[test]
    fn a_packet_deletes_what_a_packet_added() {
        let mut bench = Bench::new();
        let keys = dport(&mut bench);
        let engine = engine_set(SetData::Nothing, &[], &[], Some(8));
        let set = bench.set(engine.clone());
        let change = |action| Op::DynSet {
            set,
            keys: keys.clone(),
            action,
            timeout_ms: None,
            data: Slots::new(),
            statements: Default::default(),
        };
        let ops = [change(SetAction::Update), change(SetAction::Delete)];
        assert_eq!(dropped(&mut bench, &ops, &[5]), [true]);
        assert!(engine.view().own().unwrap().is_empty());
    }
}
