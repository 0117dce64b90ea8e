//! A set that is asked by what a packet says in several directions, and changed by it.
//!
//! The rule program hands over *facts*: addresses, ports, Ethernet addresses and interfaces of both
//! directions, the mark, each with the lanes that have it. A member says which facts make its key; a
//! list has several members, which are asked in order, and those that need more directions than the
//! rule gives are left out when it is put together. A packet without a fact is not in the set.
//!
//! Elements carry in their data words, where their set has them, a flag that makes them an exception,
//! an Ethernet address that may still be unknown, and what a packet is mapped to.

mod keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::dynamic::Edit;
use super::hits::{Column, Lanes, Places};
use super::view::OwnView;
use super::{MAX_WORDS, Words};
use crate::program::lane_set::{Change, LaneSet, Moment};
use crate::program::{FactKind, Facts, SetData, SetDesc};
pub use keys::{AddressMask, KeyField};
use keys::{Keys, keys};

/// Where an element's data has what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataPlaces {
    /// A word whose lowest bit makes it an exception.
    pub flags: Option<u8>,
    /// A word that says whether the Ethernet address is known, and its two words.
    pub mac: Option<u8>,
    /// Mark, mask, class, queue.
    pub map: Option<u8>,
}

/// A set behind a rule.
#[derive(Clone, Debug)]
pub struct PacketMember {
    /// The set.
    pub view: OwnView,
    /// What makes a key.
    pub fields: Vec<KeyField>,
    /// What its elements carry.
    pub data: DataPlaces,
    /// The fact with the Ethernet address that completes an element.
    pub mac: Option<FactKind>,
    /// When its membership in the list ends.
    pub expires_ns: u64,
    /// What the list counts for it.
    pub counts: Option<Arc<[AtomicU64; 2]>>,
}

/// A comparison of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountTest {
    /// Equal.
    Eq(u64),
    /// Not equal.
    Ne(u64),
    /// Less.
    Lt(u64),
    /// Greater.
    Gt(u64),
}

impl CountTest {
    fn holds(self, count: u64) -> bool {
        match self {
            Self::Eq(wanted) => count == wanted,
            Self::Ne(wanted) => count != wanted,
            Self::Lt(wanted) => count < wanted,
            Self::Gt(wanted) => count > wanted,
        }
    }
}

/// What a rule asks of the element that it finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchOptions {
    /// Exceptions match, and nothing else.
    pub exceptions: bool,
    /// Counters stay as they are.
    pub keep_counters: bool,
    /// Those of a list's members stay as they are.
    pub keep_member_counters: bool,
    /// What its packets must be.
    pub packets: Option<CountTest>,
    /// What its bytes must be.
    pub bytes: Option<CountTest>,
}

/// What a rule does with a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketUse {
    /// Asks it.
    Match(MatchOptions),
    /// Adds an element.
    Add {
        /// An element that is there gets its time anew.
        exist: bool,
        /// Its time; without one the set's.
        timeout_ns: Option<u64>,
    },
    /// Deletes an element.
    Delete,
    /// Maps the packet.
    Map,
}

/// The set of a rule.
#[derive(Debug)]
pub struct PacketSet {
    members: Vec<PacketMember>,
    used: PacketUse,
    columns: u8,
}

impl PacketSet {
    /// A set, or a list of sets. `columns` is how many columns its facts have.
    pub fn new(members: Vec<PacketMember>, used: PacketUse, columns: u8) -> Self {
        Self {
            members,
            used,
            columns,
        }
    }

    /// The members that are in the list now, with their keys and the lanes that have one.
    fn each(
        &self,
        facts: &Facts<'_>,
        lanes: u64,
        now_ns: u64,
        each: &mut dyn FnMut(&PacketMember, &Keys, u64) -> bool,
    ) {
        for member in &self.members {
            if member.expires_ns <= now_ns {
                continue;
            }
            let (keys, able) = keys(member, facts, lanes);
            if able != 0 && !each(member, &keys, able) {
                return;
            }
        }
    }

    fn matching(
        &self,
        options: &MatchOptions,
        facts: &Facts<'_>,
        lanes: u64,
        moment: &Moment<'_>,
        data: &mut [Column; 8],
    ) -> u64 {
        let mut found = 0;
        self.each(facts, lanes, moment.now_ns, &mut |member, keys, able| {
            found |= member.find(options, (facts, keys), able & !found, moment, data);
            found != lanes
        });
        found
    }
}

impl PacketMember {
    /// The position of the bridge's flag in a key.
    fn flag(&self) -> Option<usize> {
        let mut at = 0;
        for field in &self.fields {
            if matches!(field, KeyField::Iface { .. }) {
                return Some(at);
            }
            at += field.words();
        }
        None
    }

    fn find(
        &self,
        options: &MatchOptions,
        (facts, keys): (&Facts<'_>, &Keys),
        lanes: u64,
        moment: &Moment<'_>,
        data: &mut [Column; 8],
    ) -> u64 {
        if lanes == 0 {
            return 0;
        }
        let mut places = Places::default();
        let words = usize::from(self.view.set().spec().data_words);
        let refs = keys.refs();
        let mut found = self.view.lookup(
            &refs[..keys.count],
            lanes,
            moment.now_ns,
            &mut data[..words],
            &mut places,
        );
        if let Some(flag) = self.flag()
            && found != lanes
        {
            let set = set_flag();
            let mut bridged = refs;
            bridged[flag] = &set;
            found |= self.view.lookup(
                &bridged[..keys.count],
                lanes & !found,
                moment.now_ns,
                &mut data[..words],
                &mut places,
            );
        }
        if let Some(at) = self.data.flags {
            let flags = &data[usize::from(at)];
            let wanted = u32::from(options.exceptions);
            found = keep(found, |lane| flags[lane] & 1 == wanted);
        }
        if let (Some(at), Some(fact)) = (self.data.mac, self.mac) {
            found = self.complete(usize::from(at), (facts, fact), keys, found, moment, data);
        }
        self.count(options, found, &places, moment)
    }

    /// Compares Ethernet addresses; elements without one get the packet's.
    fn complete(
        &self,
        at: usize,
        (facts, fact): (&Facts<'_>, FactKind),
        keys: &Keys,
        found: u64,
        moment: &Moment<'_>,
        data: &mut [Column; 8],
    ) -> u64 {
        let (mac, has) = facts.get(fact);
        let [high, low] = mac else { return 0 };
        keep(found & has, |lane| {
            if data[at][lane] == 1 {
                return data[at + 1][lane] == high[lane] && data[at + 2][lane] == low[lane];
            }
            self.fill(at, &keys.lane(lane), [high[lane], low[lane]], moment.now_ns)
        })
    }

    /// Writes the Ethernet address into an element, and lets its time begin. Yields whether the element
    /// has this address then: another packet, of this batch or of another worker, may have come first.
    fn fill(&self, at: usize, key: &[u32], mac: [u32; 2], now_ns: u64) -> bool {
        let set = self.view.set();
        let mut own = false;
        let edited = set.edit(key, key, now_ns, true, |found| match found {
            Some((tail, until)) if until > now_ns && tail[at] == 1 => {
                own = tail[at + 1..at + 3] == mac;
                Edit::Keep
            }
            Some((tail, until)) if until > now_ns => {
                own = true;
                let mut tail = tail.to_vec();
                tail[at..at + 3].copy_from_slice(&[1, mac[0], mac[1]]);
                let timeout = set.layout.timeout(&tail);
                let expires_ns = match timeout {
                    0 => u64::MAX,
                    timeout => now_ns.saturating_add(timeout),
                };
                Edit::Put { tail, expires_ns }
            }
            // It is gone meanwhile.
            _ => Edit::Keep,
        });
        edited.is_ok() && own
    }

    /// Counts, then asks what was counted.
    fn count(
        &self,
        options: &MatchOptions,
        found: u64,
        places: &Places,
        moment: &Moment<'_>,
    ) -> u64 {
        let of_list = self.counts.is_some();
        let keep_own = options.keep_counters || of_list && options.keep_member_counters;
        let tests = |counts: &[AtomicU64]| {
            let holds = |test: Option<CountTest>, at: usize| {
                test.is_none_or(|test| test.holds(counts[at].load(Relaxed)))
            };
            holds(options.packets, 0) && holds(options.bytes, 1)
        };
        let add = |counts: &[AtomicU64], lane: usize| {
            counts[0].fetch_add(1, Relaxed);
            counts[1].fetch_add(u64::from(moment.lengths[lane]), Relaxed);
        };
        keep(found, |lane| {
            let own = self.view.state(places.slots[lane]);
            if own.len() == 2 && !keep_own {
                add(own, lane);
            }
            match &self.counts {
                Some(counts) => {
                    if !options.keep_counters {
                        add(&counts[..], lane);
                    }
                    tests(&counts[..])
                }
                None => own.len() != 2 || tests(own),
            }
        })
    }

    /// The prefixes that a packet's element gets: the longest that the set has, or whole addresses.
    fn bounds(&self, key: &Words) -> (Words, Words) {
        let (mut low, mut high) = (key.clone(), key.clone());
        let mut at = 0;
        for field in &self.fields {
            let words = field.words();
            if let KeyField::Address {
                net: Some(number), ..
            } = field
            {
                let whole = 32 * words as u32;
                let longest = self.view.set().longest_prefix(usize::from(*number));
                let length = longest.map_or(whole, u32::from);
                for word in 0..words {
                    let kept = length.saturating_sub(32 * word as u32).min(32);
                    let host = u32::MAX.checked_shr(kept).unwrap_or(0);
                    low[at + word] &= !host;
                    high[at + word] |= host;
                }
            }
            at += words;
        }
        (low, high)
    }
}

/// Lanes of `lanes` for which `holds` says yes.
fn keep(lanes: u64, mut holds: impl FnMut(usize) -> bool) -> u64 {
    let mut kept = 0;
    for lane in Lanes(lanes) {
        kept |= u64::from(holds(lane)) << lane;
    }
    kept
}

fn set_flag() -> Column {
    let mut column = Column::default();
    column.fill(1);
    column
}

impl LaneSet for PacketSet {
    fn desc(&self) -> SetDesc {
        SetDesc {
            key_columns: self.columns,
            data: SetData::Nothing,
        }
    }

    /// Not asked in this way.
    fn look_up(&self, _: &[&Column], _: u64, _: &Moment<'_>, _: &mut [Column]) -> u64 {
        0
    }

    /// Not changed in this way.
    fn change(&self, _: &[&Column], _: u64, _: &Moment<'_>, _: &Change<'_>) -> u64 {
        0
    }

    fn by_facts(
        &self,
        facts: &Facts<'_>,
        lanes: u64,
        moment: &Moment<'_>,
        map: &mut [Column],
    ) -> u64 {
        match &self.used {
            PacketUse::Match(options) => {
                let mut data = std::array::from_fn(|_| Column::default());
                self.matching(options, facts, lanes, moment, &mut data)
            }
            PacketUse::Map => {
                let mut found = 0;
                let options = MatchOptions::default();
                self.each(facts, lanes, moment.now_ns, &mut |member, keys, able| {
                    let mut data: [Column; 8] = std::array::from_fn(|_| Column::default());
                    let hit =
                        member.find(&options, (facts, keys), able & !found, moment, &mut data);
                    for lane in Lanes(hit) {
                        for (at, column) in map.iter_mut().enumerate() {
                            column[lane] = member
                                .data
                                .map
                                .map_or(0, |first| data[usize::from(first) + at][lane]);
                        }
                    }
                    found |= hit;
                    found != lanes
                });
                found
            }
            PacketUse::Add { exist, timeout_ns } => {
                let mut done = 0;
                self.each(facts, lanes, moment.now_ns, &mut |member, keys, able| {
                    for lane in Lanes(able & !done) {
                        let added = member.add(
                            &keys.lane(lane),
                            (facts, lane),
                            *timeout_ns,
                            *exist,
                            moment.now_ns,
                        );
                        done |= u64::from(added) << lane;
                    }
                    done != lanes
                });
                done
            }
            PacketUse::Delete => {
                let mut done = 0;
                self.each(facts, lanes, moment.now_ns, &mut |member, keys, able| {
                    for lane in Lanes(able & !done) {
                        let (low, high) = member.bounds(&keys.lane(lane));
                        let gone = member.view.take_by_packet((&low, &high), moment.now_ns);
                        done |= u64::from(gone.unwrap_or(false)) << lane;
                    }
                    done != lanes
                });
                done
            }
        }
    }
}

impl PacketMember {
    /// Adds the element of a lane; false if there is no room.
    fn add(
        &self,
        key: &Words,
        (facts, lane): (&Facts<'_>, usize),
        timeout_ns: Option<u64>,
        exist: bool,
        now_ns: u64,
    ) -> bool {
        let spec = self.view.set().spec();
        let mut data = [0; MAX_WORDS];
        if let (Some(at), Some(fact)) = (self.data.mac, self.mac) {
            let (mac, has) = facts.get(fact);
            let [high, low] = mac else { return false };
            if has >> lane & 1 == 0 {
                return false;
            }
            let at = usize::from(at);
            data[at..at + 3].copy_from_slice(&[1, high[lane], low[lane]]);
        }
        let (low, high) = self.bounds(key);
        let data = &data[..usize::from(spec.data_words)];
        self.view
            .put_by_packet((&low, &high), data, timeout_ns, exist, now_ns)
            .is_ok()
    }
}
