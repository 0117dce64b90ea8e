//! A list of sets: members are asked in order, the first that has a key decides.
//!
//! A list is put together for a generation from the views of its members, so swapping or renaming a
//! member is a matter of what the next generation is made of. Members whose keys have more words than
//! a look-up hands in are skipped.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::hits::{Column, Lanes, Places};
use super::view::OwnView;

/// A member of a list.
#[derive(Clone, Debug)]
pub struct Member {
    /// The set.
    pub view: OwnView,
    /// When its membership ends, in nanoseconds; `u64::MAX` never.
    pub expires_ns: u64,
}

/// What the rule program looks keys up in: a set, or a list of sets.
#[derive(Clone, Debug)]
pub enum SetView {
    /// A set.
    Set(OwnView),
    /// A list of sets, in order.
    List(Arc<[Member]>),
}

impl From<OwnView> for SetView {
    fn from(view: OwnView) -> Self {
        Self::Set(view)
    }
}

impl SetView {
    /// Looks up the key of every lane in `lanes`, as [`OwnView::lookup`] does; in a list,
    /// `places.members` says which member has it.
    pub fn lookup(
        &self,
        columns: &[&Column],
        lanes: u64,
        now_ns: u64,
        data: &mut [Column],
        places: &mut Places,
    ) -> u64 {
        let members = match self {
            Self::Set(view) => return view.lookup(columns, lanes, now_ns, data, places),
            Self::List(members) => members,
        };
        let mut found = 0;
        for (number, member) in members.iter().enumerate() {
            let words = member.view.set().spec().shape.key_words();
            if member.expires_ns <= now_ns || words > columns.len() || found == lanes {
                continue;
            }
            let more = member
                .view
                .lookup(&columns[..words], lanes & !found, now_ns, data, places);
            for lane in Lanes(more) {
                places.members[lane] = number as u16;
            }
            found |= more;
        }
        found
    }

    /// The state words of the element that a look-up found in a lane.
    pub fn state<'a>(&'a self, places: &Places, lane: usize) -> &'a [AtomicU64] {
        match self {
            Self::Set(view) => view.state(places.slots[lane]),
            Self::List(members) => members
                .get(usize::from(places.members[lane]))
                .map_or(&[], |member| member.view.state(places.slots[lane])),
        }
    }

    /// The set, unless it is a list.
    pub fn own(&self) -> Option<&OwnView> {
        match self {
            Self::Set(view) => Some(view),
            Self::List(_) => None,
        }
    }
}
