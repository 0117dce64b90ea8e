//! The datagrams that are being gathered: by key, and by age.
//!
//! Chains of a seeded hash over a fixed number of slots, and two lists through the slots, one for each
//! family, in which the oldest stands first because each family has one time. Nothing is allocated once
//! all slots have been in use.

use super::{Datagram, Parked};

/// What fragments of a datagram have in common.
pub(super) type Key = [u32; 12];

const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Slot {
    key: Key,
    /// The next slot of its chain, or of the free ones.
    next: u32,
    /// Its neighbours in the order of age.
    older: u32,
    newer: u32,
    deadline_ns: u64,
    ipv6: bool,
    datagram: Datagram,
}

/// The ends of a list in the order of age.
#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: u32,
    newest: u32,
}

#[derive(Debug)]
pub(super) struct Table {
    slots: Vec<Slot>,
    limit: usize,
    buckets: Vec<u32>,
    free: u32,
    len: usize,
    secrets: [u64; 3],
    /// IPv4, IPv6.
    ages: [Ends; 2],
    /// Lists of pieces that go round.
    lists: Vec<Vec<Parked>>,
}

impl Table {
    pub(super) fn new(limit: usize, seed: u64) -> Self {
        let limit = limit.max(1);
        let mut state = seed;
        Self {
            slots: Vec::new(),
            limit,
            buckets: vec![NONE; limit.next_power_of_two()],
            free: NONE,
            len: 0,
            secrets: std::array::from_fn(|_| split_mix(&mut state) | 1),
            ages: [Ends {
                oldest: NONE,
                newest: NONE,
            }; 2],
            lists: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.limit
    }

    pub(super) fn get(&self, slot: u32) -> &Datagram {
        &self.slots[slot as usize].datagram
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> &mut Datagram {
        &mut self.slots[slot as usize].datagram
    }

    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let mut at = self.buckets[self.bucket(key)];
        while at != NONE {
            let slot = &self.slots[at as usize];
            if slot.key == *key {
                return Some(at);
            }
            at = slot.next;
        }
        None
    }

    /// A slot for a key that is not there; `None` when all are in use.
    pub(super) fn insert(&mut self, key: &Key, deadline_ns: u64, ipv6: bool) -> Option<u32> {
        let slot = self.free_slot()?;
        let bucket = self.bucket(key);
        let parked = self.lists.pop().unwrap_or_default();
        let newest = self.ages[usize::from(ipv6)].newest;
        self.slots[slot as usize] = Slot {
            key: *key,
            next: self.buckets[bucket],
            older: newest,
            newer: NONE,
            deadline_ns,
            ipv6,
            datagram: Datagram {
                parked,
                ..Datagram::default()
            },
        };
        self.buckets[bucket] = slot;
        self.len += 1;
        let ends = &mut self.ages[usize::from(ipv6)];
        ends.newest = slot;
        if newest == NONE {
            ends.oldest = slot;
        } else {
            self.slots[newest as usize].newer = slot;
        }
        Some(slot)
    }

    fn free_slot(&mut self) -> Option<u32> {
        if self.free != NONE {
            let slot = self.free;
            self.free = self.slots[slot as usize].next;
            return Some(slot);
        }
        if self.slots.len() == self.limit {
            return None;
        }
        self.slots.push(Slot {
            key: [0; 12],
            next: NONE,
            older: NONE,
            newer: NONE,
            deadline_ns: 0,
            ipv6: false,
            datagram: Datagram::default(),
        });
        Some(self.slots.len() as u32 - 1)
    }

    /// Takes a datagram out.
    pub(super) fn remove(&mut self, slot: u32) -> Datagram {
        let bucket = self.bucket(&self.slots[slot as usize].key);
        let next = self.slots[slot as usize].next;
        if self.buckets[bucket] == slot {
            self.buckets[bucket] = next;
        } else {
            let mut at = self.buckets[bucket];
            while at != NONE && self.slots[at as usize].next != slot {
                at = self.slots[at as usize].next;
            }
            if at != NONE {
                self.slots[at as usize].next = next;
            }
        }
        self.forget_age(slot);
        let entry = &mut self.slots[slot as usize];
        entry.next = self.free;
        self.free = slot;
        self.len -= 1;
        std::mem::take(&mut entry.datagram)
    }

    fn forget_age(&mut self, slot: u32) {
        let Slot {
            older, newer, ipv6, ..
        } = self.slots[slot as usize];
        let ends = &mut self.ages[usize::from(ipv6)];
        if older == NONE {
            ends.oldest = newer;
        } else {
            self.slots[older as usize].newer = newer;
        }
        if newer == NONE {
            ends.newest = older;
        } else {
            self.slots[newer as usize].older = older;
        }
    }

    /// Takes an empty list of pieces back.
    pub(super) fn give(&mut self, list: Vec<Parked>) {
        if list.capacity() != 0 && self.lists.len() < self.limit {
            self.lists.push(list);
        }
    }

    /// The datagram whose time ends first.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.oldest_but(NONE)
    }

    /// The same, among all but one.
    pub(super) fn oldest_but(&self, own: u32) -> Option<u32> {
        let first = |ends: &Ends| match ends.oldest {
            slot if slot == own && own != NONE => self.slots[slot as usize].newer,
            slot => slot,
        };
        let firsts = self.ages.iter().map(first).filter(|slot| *slot != NONE);
        firsts.min_by_key(|slot| self.slots[*slot as usize].deadline_ns)
    }

    /// A datagram whose time is over.
    pub(super) fn due(&self, now_ns: u64) -> Option<u32> {
        let slot = self.oldest()?;
        (self.slots[slot as usize].deadline_ns <= now_ns).then_some(slot)
    }

    fn bucket(&self, key: &Key) -> usize {
        let mut hash = self.secrets[0];
        for pair in key.as_chunks::<2>().0 {
            hash = fold(
                hash ^ (u64::from(pair[0]) << 32 | u64::from(pair[1])),
                self.secrets[1],
            );
        }
        fold(hash, self.secrets[2]) as usize & (self.buckets.len() - 1)
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
