//! The table of expectations.
//!
//! Small (4096 by default) and changed rarely, so it stands behind a read-write lock beside the packet
//! path: only the first packet of a flow looks into it, and only while there is any expectation; the
//! number of them is an atomic beside the lock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::expect::Expectation;
use super::flow::FlowId;
use super::tuple::Tuple;

/// What of a tuple counts wholly: everything but its source.
type Destination = (u8, u8, [u8; 16], u16, u16, u16);

fn destination(tuple: &Tuple) -> Destination {
    (
        tuple.l3,
        tuple.protocol,
        tuple.dst,
        tuple.dport,
        tuple.zone,
        tuple.domain,
    )
}

#[derive(Debug, Default)]
struct Inside {
    by_destination: BTreeMap<Destination, Vec<Expectation>>,
    by_master: BTreeMap<FlowId, usize>,
}

/// The table of expectations.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    live: AtomicU32,
    inside: RwLock<Inside>,
}

impl Expectation {
    /// Whether a flow that begins with this tuple is the one that is waited for.
    pub fn fits(&self, tuple: &Tuple) -> bool {
        let source = |(at, mask): (usize, &u8)| (tuple.src[at] ^ self.tuple.src[at]) & mask == 0;
        destination(tuple) == destination(&self.tuple)
            && (tuple.sport ^ self.tuple.sport) & self.mask.sport == 0
            && self.mask.src.iter().enumerate().all(source)
    }

    /// Whether some tuple fits both.
    fn overlaps(&self, other: &Self) -> bool {
        let common = |at: usize| self.mask.src[at] & other.mask.src[at];
        let port = self.mask.sport & other.mask.sport;
        destination(&self.tuple) == destination(&other.tuple)
            && (self.tuple.sport ^ other.tuple.sport) & port == 0
            && (0..16).all(|at| (self.tuple.src[at] ^ other.tuple.src[at]) & common(at) == 0)
    }
}

impl Inside {
    /// Takes out what is not to be kept; yields how many.
    fn retain(&mut self, keep: impl Fn(&Expectation) -> bool) -> usize {
        let mut gone = 0;
        let by_master = &mut self.by_master;
        self.by_destination.retain(|_, list| {
            list.retain(|expectation| {
                let stays = keep(expectation);
                if !stays {
                    gone += 1;
                    if let Some(count) = by_master.get_mut(&expectation.master) {
                        *count -= 1;
                        if *count == 0 {
                            by_master.remove(&expectation.master);
                        }
                    }
                }
                stays
            });
            !list.is_empty()
        });
        gone
    }
}

impl Expectations {
    fn read(&self) -> RwLockReadGuard<'_, Inside> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inside> {
        self.inside.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Live expectations.
    pub(super) fn count(&self) -> u32 {
        self.live.load(Relaxed)
    }

    /// Adds one. The same tuple of the same master takes the place of the old one. `false` when there
    /// are `most` already, or one of another master overlaps.
    pub(super) fn add(&self, expectation: Expectation, most: u32, now_ns: u64) -> bool {
        let mut inside = self.write();
        let list = inside
            .by_destination
            .entry(destination(&expectation.tuple))
            .or_default();
        let rival = list
            .iter_mut()
            .find(|old| old.expires_ns > now_ns && old.overlaps(&expectation));
        if let Some(old) = rival {
            let same = old.master == expectation.master && old.class == expectation.class;
            if same {
                *old = expectation;
            }
            return same;
        }
        if self.count() >= most {
            return false;
        }
        let master = expectation.master;
        list.push(expectation);
        *inside.by_master.entry(master).or_default() += 1;
        self.live.fetch_add(1, Relaxed);
        true
    }

    /// What a flow that begins with this tuple fulfils; it is used up unless it is permanent.
    pub(super) fn fulfil(&self, tuple: &Tuple, now_ns: u64) -> Option<Expectation> {
        if self.count() == 0 {
            return None;
        }
        let fits = |one: &&Expectation| one.expires_ns > now_ns && one.fits(tuple);
        let found = {
            let inside = self.read();
            inside
                .by_destination
                .get(&destination(tuple))?
                .iter()
                .find(fits)?
                .clone()
        };
        if found.permanent {
            return Some(found);
        }
        // Of two workers that found it only one takes it.
        let gone = self.write().retain(|one| *one != found);
        self.live.fetch_sub(gone as u32, Relaxed);
        (gone != 0).then_some(found)
    }

    /// How many a master has.
    pub(super) fn of_master(&self, master: FlowId) -> usize {
        if self.count() == 0 {
            return 0;
        }
        self.read().by_master.get(&master).copied().unwrap_or(0)
    }

    /// Removes those of a master; yields how many.
    pub(super) fn forget_master(&self, master: FlowId) -> usize {
        if self.count() == 0 || !self.read().by_master.contains_key(&master) {
            return 0;
        }
        self.remove(|one| one.master == master)
    }

    /// Removes those that fit; yields how many.
    pub(super) fn remove(&self, which: impl Fn(&Expectation) -> bool) -> usize {
        let gone = self.write().retain(|one| !which(one));
        self.live.fetch_sub(gone as u32, Relaxed);
        gone
    }

    /// All live ones.
    pub(super) fn list(&self) -> Vec<Expectation> {
        self.read()
            .by_destination
            .values()
            .flatten()
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::expect::SourceMask;
    use crate::conntrack::state::FlowIndex;

    fn id(index: u32) -> FlowId {
        FlowId {
            index: FlowIndex(index),
            generation: 1,
        }
    }

    fn expectation(master: u32, source: u8, port: u16) -> Expectation {
        let mut tuple = Tuple {
            dport: port,
            protocol: 6,
            l3: 2,
            ..Tuple::default()
        };
        tuple.src[0] = source;
        Expectation {
            master: id(master),
            tuple,
            mask: SourceMask::ADDRESS,
            expires_ns: 100,
            class: 0,
            permanent: false,
            helper: 0,
            follow: None,
        }
    }

    fn packet(source: u8, sport: u16, port: u16) -> Tuple {
        Tuple {
            sport,
            ..expectation(1, source, port).tuple
        }
    }

    #[test]
    fn an_expectation_is_fulfilled_once_and_in_time() {
        let table = Expectations::default();
        assert!(table.add(expectation(1, 10, 2000), 9, 0));
        assert_eq!(
            table.fulfil(&packet(11, 5, 2000), 50),
            None,
            "another source"
        );
        assert_eq!(table.fulfil(&packet(10, 5, 2001), 50), None, "another port");
        assert_eq!(table.fulfil(&packet(10, 5, 2000), 100), None, "too late");
        assert_eq!(
            table.fulfil(&packet(10, 5, 2000), 99).map(|e| e.master),
            Some(id(1))
        );
        assert_eq!(table.fulfil(&packet(10, 5, 2000), 99), None, "used up");
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn a_permanent_one_stays_until_its_master_goes() {
        let table = Expectations::default();
        let permanent = Expectation {
            permanent: true,
            ..expectation(1, 10, 2000)
        };
        assert!(table.add(permanent, 9, 0));
        assert!(table.add(expectation(2, 10, 2001), 9, 0));
        for sport in 1..4 {
            assert!(table.fulfil(&packet(10, sport, 2000), 1).is_some());
        }
        assert_eq!(table.forget_master(id(3)), 0);
        assert_eq!(table.forget_master(id(1)), 1);
        assert_eq!(table.list().len(), 1);
        assert_eq!(table.remove(|_| true), 1);
        assert_eq!(table.count(), 0);
    }

    #[test]
    fn overlaps_and_the_cap_are_refused() {
        let table = Expectations::default();
        assert!(table.add(expectation(1, 10, 2000), 2, 0));
        assert!(
            table.add(expectation(1, 10, 2000), 2, 0),
            "the same again takes its place"
        );
        assert!(
            !table.add(expectation(2, 10, 2000), 2, 0),
            "another master's"
        );
        assert!(table.add(expectation(2, 11, 2000), 2, 0));
        assert!(!table.add(expectation(2, 12, 2000), 2, 0), "the cap");
        assert_eq!(table.count(), 2);
    }
}
