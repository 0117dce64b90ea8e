//! A set as the rule program sees it: look-ups and changes of whole batches, statements of elements.

use super::element::Words;
use super::hits::{Column, LANES, Lanes, Places};
use super::list::SetView;
use super::statement::{self, Statement};
use crate::program::lane_set::{Change, LaneSet, Moment};
use crate::program::op::{ElementStatement, SetAction};
use crate::program::tables::{SetData, SetDesc};

/// Why a set cannot stand where the program wants one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Its keys or data have another width.
    #[error("the set has another shape than the program expects")]
    Shape,
    /// Its elements have other state words than its statements need.
    #[error("the set's elements have no room for its statements")]
    State,
}

/// A view with the statements that its elements carry.
#[derive(Debug)]
pub struct LaneView {
    view: SetView,
    desc: SetDesc,
    statements: Box<[Statement]>,
}

impl LaneView {
    /// A set as the program sees it. `statements` are those of the set's definition or, if it has
    /// none, those of the rules that add to it; its `initial_state` has to be
    /// [`initial_state`](super::initial_state) of them.
    ///
    /// # Errors
    /// When desc or statements do not fit the set.
    pub fn new(
        view: SetView,
        desc: SetDesc,
        statements: &[ElementStatement],
    ) -> Result<Self, Refused> {
        let data = match desc.data {
            SetData::Nothing => 0,
            SetData::Columns { count } => usize::from(count),
            SetData::Verdict | SetData::Object { .. } => 1,
        };
        if let Some(own) = view.own() {
            let spec = own.set().spec();
            let words = spec.shape.key_words();
            // A set may carry more data than the program asks for (skbinfo).
            if words != usize::from(desc.key_columns) || usize::from(spec.data_words) < data {
                return Err(Refused::Shape);
            }
            if spec.initial_state.len()
                != statements.iter().map(statement::state_words).sum::<usize>()
            {
                return Err(Refused::State);
            }
        }
        let statements = statements.iter().map(Statement::of).collect();
        Ok(Self {
            view,
            desc,
            statements,
        })
    }

    /// The set behind it.
    pub fn view(&self) -> &SetView {
        &self.view
    }

    /// Adds or refreshes for one lane; whether the rule goes on.
    fn add(&self, key: &Words, lane: usize, moment: &Moment<'_>, change: &Change<'_>) -> bool {
        let Some(view) = self.view.own() else {
            return false;
        };
        let data: Words = change.data.iter().map(|column| column[lane]).collect();
        let timeout_ns = change.timeout_ms.map(|ms| ms.saturating_mul(1_000_000));
        let refresh = change.action == SetAction::Update;
        match view.add_by_packet(key, &data, timeout_ns, refresh, moment.now_ns) {
            Ok(touched) => {
                let words = view.state(touched.slot);
                statement::run(&self.statements, words, lane, moment)
            }
            // Full, or not a set that packets may write: the rule ends, as nft's does.
            Err(_) => false,
        }
    }
}

impl LaneSet for LaneView {
    fn desc(&self) -> SetDesc {
        self.desc.clone()
    }

    fn look_up(
        &self,
        key: &[&Column],
        lanes: u64,
        moment: &Moment<'_>,
        data: &mut [Column],
    ) -> u64 {
        let mut places = Places::default();
        let found = self
            .view
            .lookup(key, lanes, moment.now_ns, data, &mut places);
        if self.statements.is_empty() {
            return found;
        }
        Lanes(found)
            .filter(|&lane| {
                let words = self.view.state(&places, lane);
                statement::run(&self.statements, words, lane, moment)
            })
            .fold(0, |found, lane| found | 1 << lane)
    }

    fn contains(&self, key: &[&Column], lanes: u64, moment: &Moment<'_>) -> u64 {
        let mut places = Places::default();
        self.view
            .lookup(key, lanes, moment.now_ns, &mut [], &mut places)
    }

    fn change(&self, key: &[&Column], lanes: u64, moment: &Moment<'_>, change: &Change<'_>) -> u64 {
        let mut on = 0;
        for lane in Lanes(lanes) {
            let words: Words = key.iter().map(|column| column[lane]).collect();
            let goes_on = match change.action {
                SetAction::Add | SetAction::Update => self.add(&words, lane, moment, change),
                // Deleting what is not there, or cannot be deleted, does not end the rule.
                SetAction::Delete => {
                    if let Some(view) = self.view.own() {
                        let _ = view.delete_by_packet(&words, moment.now_ns);
                    }
                    true
                }
            };
            on |= u64::from(goes_on) << lane;
        }
        on
    }
}

const _: () = assert!(LANES == 64);
