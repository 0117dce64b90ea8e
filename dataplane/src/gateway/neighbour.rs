//! Neighbours: which MAC address a station of a port's network has, and whether it is still there.
//!
//! One table of fixed size for both families and all ports (RFC 826, RFC 4861). Workers look up
//! without a lock: a slot's words are atomics between two reads of its sequence number. Whatever
//! changes an entry (ARP and ND packets, timers, the first packet to somebody new) does so under the
//! one [`lock`](Neighbours::lock). Packets for a station that is not known yet wait in the
//! [`Parking`] behind the same lock.
//!
//! # States
//! As in RFC 4861, 7.3.2, with Linux's times:
//! ```text
//!   incomplete --answer--> reachable --30 s--> stale --used--> delay --5 s--> probe --no answer x 3--> failed
//!        | 3 x 1 s, no answer                    ^ heard of in passing          | answer
//!        +--> failed                             +                              +--> reachable
//! ```
//! A failed entry is asked for anew by the next packet. A full bucket gives up its oldest entry that
//! is not in use, so a scan of a network costs those that it asks for, not those that talk.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::address::Address;
use super::parking::Parking;
use crate::port::PortId;

const SECOND_NS: u64 = 1_000_000_000;
/// How long an answer counts (RFC 4861: 30 s, times 0.5 to 1.5).
const REACHABLE_NS: u64 = 30 * SECOND_NS;
/// How long to wait for a hint before asking whether a stale neighbour is still there.
const DELAY_NS: u64 = 5 * SECOND_NS;
/// Between two questions.
const RETRY_NS: u64 = SECOND_NS;
/// Questions before a neighbour counts as gone.
const TRIES: u32 = 3;
/// How long an unused entry is kept.
const UNUSED_NS: u64 = 600 * SECOND_NS;
/// Slots that an entry may lie in.
const WAYS: usize = 8;
/// Entries of all ports.
pub const CAPACITY: usize = 8192;

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum State {
    /// The slot is free.
    Free = 0,
    /// Asked for, no answer yet.
    Incomplete = 1,
    /// It has answered lately.
    Reachable = 2,
    /// Its address is known, but not whether it is still there.
    Stale = 3,
    /// Stale and in use: soon it is asked.
    Delay = 4,
    /// It is being asked.
    Probe = 5,
    /// It does not answer.
    Failed = 6,
}

impl State {
    fn of(word: u32) -> Self {
        [
            Self::Free,
            Self::Incomplete,
            Self::Reachable,
            Self::Stale,
            Self::Delay,
            Self::Probe,
            Self::Failed,
        ]
        .get(word as usize)
        .copied()
        .unwrap_or(Self::Free)
    }

    /// Whether packets can be sent to it.
    pub fn is_usable(self) -> bool {
        matches!(
            self,
            Self::Reachable | Self::Stale | Self::Delay | Self::Probe
        )
    }

    /// As listings print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Delay => "delay",
            Self::Probe => "probe",
            Self::Failed => "failed",
        }
    }
}

/// One entry. Its words change together under an odd sequence number.
#[derive(Debug, Default)]
struct Slot {
    sequence: AtomicU32,
    port: AtomicU32,
    high: AtomicU64,
    low: AtomicU64,
    mac: AtomicU64,
    state: AtomicU32,
    tries: AtomicU32,
    /// When the state ends.
    until_ns: AtomicU64,
    /// When a packet last asked whether the entry is good.
    used_ns: AtomicU64,
}

/// One entry, for listings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The port whose network it is in.
    pub port: PortId,
    /// Its address.
    pub address: Address,
    /// Its MAC address; meaningless while it is not known.
    pub mac: [u8; 6],
    /// What is known.
    pub state: State,
}

/// What a look-up finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where the entry lies, for [`Neighbours::touch`].
    pub slot: u32,
    /// The MAC address.
    pub mac: [u8; 6],
}

/// How an address was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The station itself asked for something: it exists.
    Asking,
    /// An answer to our question.
    Answer,
    /// An announcement that nobody asked for.
    Announcement,
}

/// What a timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Ask for a station, at its known address or, without one, at everybody's.
    Ask(Neighbour),
    /// It does not answer: what waits for it has no hope. The slot number is that of the entry.
    Failed(u32, Neighbour),
}

/// The table.
#[derive(Debug)]
pub struct Neighbours {
    slots: Box<[Slot]>,
    seed: u64,
    /// Counts changes of what look-ups find.
    version: AtomicU64,
    desk: Mutex<Desk>,
}

#[derive(Debug)]
struct Desk {
    parking: Parking,
    random: u64,
}

impl Neighbours {
    /// An empty table; `seed` is its chance.
    pub fn new(seed: u64) -> Self {
        Self {
            slots: (0..CAPACITY).map(|_| Slot::default()).collect(),
            seed: seed | 1,
            version: AtomicU64::new(0),
            desk: Mutex::new(Desk {
                parking: Parking::default(),
                random: seed | 1,
            }),
        }
    }

    /// Counts changes of what look-ups find: a memory of one is good while this stays.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The slots that an entry may lie in.
    fn bucket(&self, port: PortId, address: Address) -> std::ops::Range<usize> {
        let number = address.number();
        let mixed = ((number >> 64) as u64 ^ self.seed)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
            ^ number as u64
            ^ u64::from(port.0) << 48;
        // The bucket is in the highest bits: each bit of the address has to reach them, whatever the seed.
        let mixed = (mixed ^ self.seed.rotate_left(32)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        let buckets = CAPACITY / WAYS;
        let bucket = ((u128::from(mixed) * buckets as u128) >> 64) as usize;
        bucket * WAYS..(bucket + 1) * WAYS
    }

    fn holds(slot: &Slot, port: PortId, address: Address) -> bool {
        let number = address.number();
        slot.low.load(Ordering::Relaxed) == number as u64
            && slot.high.load(Ordering::Relaxed) == (number >> 64) as u64
            && slot.port.load(Ordering::Relaxed) == u32::from(port.0)
            && slot.state.load(Ordering::Relaxed) != State::Free as u32
    }

    /// The MAC address of a station, if packets can be sent to it.
    #[inline]
    pub fn find(&self, port: PortId, address: Address, now_ns: u64) -> Option<Known> {
        for index in self.bucket(port, address) {
            let slot = &self.slots[index];
            let before = slot.sequence.load(Ordering::Acquire);
            if before & 1 == 1 || !Self::holds(slot, port, address) {
                continue;
            }
            let state = State::of(slot.state.load(Ordering::Relaxed));
            let mac = slot.mac.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            if slot.sequence.load(Ordering::Relaxed) != before || !state.is_usable() {
                // Being changed, or not known: the way under the lock tells.
                return None;
            }
            let known = Known {
                slot: index as u32,
                mac: bytes_of(mac),
            };
            self.touch(known.slot, now_ns);
            return Some(known);
        }
        None
    }

    /// Notes that a packet goes to a known station: an entry that has aged becomes stale, a stale one
    /// will be asked. Takes no lock.
    #[inline]
    pub fn touch(&self, slot: u32, now_ns: u64) {
        let slot = &self.slots[slot as usize];
        let state = slot.state.load(Ordering::Relaxed);
        if state == State::Reachable as u32 && now_ns < slot.until_ns.load(Ordering::Relaxed) {
            return;
        }
        self.touch_aged(slot, state, now_ns);
    }

    #[cold]
    fn touch_aged(&self, slot: &Slot, state: u32, now_ns: u64) {
        if now_ns.wrapping_sub(slot.used_ns.load(Ordering::Relaxed)) > SECOND_NS {
            slot.used_ns.store(now_ns, Ordering::Relaxed);
        }
        if state == State::Reachable as u32 || state == State::Stale as u32 {
            slot.until_ns.store(now_ns + DELAY_NS, Ordering::Relaxed);
            // Whoever changed it meanwhile knows better.
            let _ = slot.state.compare_exchange(
                state,
                State::Delay as u32,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// The table, to be changed.
    pub fn lock(&self) -> Editor<'_> {
        Editor {
            table: self,
            // An entry is whole between any two statements: a panic elsewhere does not spoil it.
            desk: self.desk.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// The same, unless somebody else has it.
    pub fn try_lock(&self) -> Option<Editor<'_>> {
        let desk = match self.desk.try_lock() {
            Ok(desk) => desk,
            Err(std::sync::TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(std::sync::TryLockError::WouldBlock) => return None,
        };
        Some(Editor { table: self, desk })
    }

    /// Every entry.
    pub fn list(&self) -> Vec<Neighbour> {
        let _desk = self.lock();
        let entries = self.slots.iter().map(entry);
        entries.filter(|entry| entry.state != State::Free).collect()
    }
}

/// What a slot holds; only under the lock.
fn entry(slot: &Slot) -> Neighbour {
    let number = u128::from(slot.high.load(Ordering::Relaxed)) << 64
        | u128::from(slot.low.load(Ordering::Relaxed));
    Neighbour {
        port: PortId(slot.port.load(Ordering::Relaxed) as u16),
        address: Address::v6(number.to_be_bytes()),
        mac: bytes_of(slot.mac.load(Ordering::Relaxed)),
        state: State::of(slot.state.load(Ordering::Relaxed)),
    }
}

fn bytes_of(mac: u64) -> [u8; 6] {
    let [_, _, a, b, c, d, e, f] = mac.to_be_bytes();
    [a, b, c, d, e, f]
}

fn word_of([a, b, c, d, e, f]: [u8; 6]) -> u64 {
    u64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

/// The table while it is locked.
#[derive(Debug)]
pub struct Editor<'t> {
    table: &'t Neighbours,
    desk: MutexGuard<'t, Desk>,
}

impl Editor<'_> {
    /// The packets that wait.
    pub fn parking(&mut self) -> &mut Parking {
        &mut self.desk.parking
    }

    /// Where the entry of a station lies.
    pub fn slot_of(&self, port: PortId, address: Address) -> Option<u32> {
        let mut bucket = self.table.bucket(port, address);
        let found =
            bucket.find(|index| Neighbours::holds(&self.table.slots[*index], port, address));
        found.map(|index| index as u32)
    }

    /// Begins to look for a station, unless that has begun: yields its slot and whether it has to be
    /// asked for now.
    pub fn seek(&mut self, port: PortId, address: Address, now_ns: u64) -> (u32, bool) {
        let index = match self.slot_of(port, address) {
            Some(index) => {
                let state = self.state(index);
                if state.is_usable() || state == State::Incomplete {
                    return (index, false);
                }
                index
            }
            None => self.free_slot(port, address),
        };
        self.write(
            index,
            port,
            address,
            [0; 6],
            State::Incomplete,
            now_ns + RETRY_NS,
        );
        self.table.slots[index as usize]
            .used_ns
            .store(now_ns, Ordering::Relaxed);
        (index, true)
    }

    /// The MAC address behind a slot, if packets can be sent there.
    pub fn mac(&self, slot: u32) -> Option<[u8; 6]> {
        let entry = entry(&self.table.slots[slot as usize]);
        entry.state.is_usable().then_some(entry.mac)
    }

    fn state(&self, slot: u32) -> State {
        State::of(
            self.table.slots[slot as usize]
                .state
                .load(Ordering::Relaxed),
        )
    }

    /// A station was heard of: yields its slot when packets may wait there that can go now.
    pub fn learn(
        &mut self,
        port: PortId,
        address: Address,
        mac: [u8; 6],
        heard: Heard,
        now_ns: u64,
    ) -> Option<u32> {
        let index = match (self.slot_of(port, address), heard) {
            (Some(index), _) => index,
            (None, Heard::Asking) => self.free_slot(port, address),
            // Nobody asked for it (RFC 4861, 7.2.5; Linux's arp_accept = 0).
            (None, Heard::Answer | Heard::Announcement) => return None,
        };
        let known = entry(&self.table.slots[index as usize]);
        let waiting = known.state == State::Incomplete;
        let (state, until) = match heard {
            Heard::Answer => (State::Reachable, now_ns + self.reachable_time()),
            _ if known.state.is_usable() && known.mac == mac => return None,
            _ => (State::Stale, now_ns + UNUSED_NS),
        };
        self.write(index, port, address, mac, state, until);
        waiting.then_some(index)
    }

    /// RFC 4861, 6.3.2: a random time around the base.
    fn reachable_time(&mut self) -> u64 {
        let random = &mut self.desk.random;
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        REACHABLE_NS / 2 + *random % REACHABLE_NS
    }

    /// Does what is due.
    pub fn sweep(&mut self, now_ns: u64, mut due: impl FnMut(&mut Self, Due)) {
        for index in 0..CAPACITY as u32 {
            let slot = &self.table.slots[index as usize];
            let state = State::of(slot.state.load(Ordering::Relaxed));
            if state == State::Free || now_ns < slot.until_ns.load(Ordering::Relaxed) {
                continue;
            }
            match state {
                State::Reachable => {
                    // Unused since: it may go when its time is over.
                    self.set(index, State::Stale, now_ns + UNUSED_NS, 0);
                }
                State::Stale | State::Failed => self.free(index),
                State::Delay => {
                    self.set(index, State::Probe, now_ns + RETRY_NS, 1);
                    let entry = self.entry(index);
                    due(self, Due::Ask(entry));
                }
                State::Incomplete | State::Probe => {
                    let tries = slot.tries.load(Ordering::Relaxed);
                    let entry = self.entry(index);
                    if tries < TRIES {
                        self.set(index, state, now_ns + RETRY_NS, tries + 1);
                        due(self, Due::Ask(entry));
                    } else {
                        self.set(index, State::Failed, now_ns + UNUSED_NS, 0);
                        due(self, Due::Failed(index, entry));
                    }
                }
                State::Free => {}
            }
        }
    }

    /// Forgets the neighbours of a port; packets that wait for them are the caller's affair.
    pub fn forget(&mut self, port: PortId) {
        for index in 0..CAPACITY as u32 {
            let entry = self.entry(index);
            if entry.port == port && entry.state != State::Free {
                self.free(index);
            }
        }
    }

    fn entry(&self, index: u32) -> Neighbour {
        entry(&self.table.slots[index as usize])
    }

    /// A slot for a new entry: a free one, or that of the entry that is missed least.
    fn free_slot(&mut self, port: PortId, address: Address) -> u32 {
        let slots = &self.table.slots;
        let value = |index: &usize| {
            let slot = &slots[*index];
            let rank = match State::of(slot.state.load(Ordering::Relaxed)) {
                State::Free => 0,
                State::Failed => 1,
                State::Incomplete => 2,
                State::Stale => 3,
                State::Probe | State::Delay => 4,
                State::Reachable => 5,
            };
            (rank, slot.used_ns.load(Ordering::Relaxed))
        };
        let bucket = self.table.bucket(port, address);
        let index = bucket.clone().min_by_key(value).unwrap_or(bucket.start) as u32;
        if self.state(index) != State::Free {
            self.free(index);
        }
        index
    }

    fn free(&mut self, index: u32) {
        self.set(index, State::Free, 0, 0);
        // What waited there is dropped by its own deadline; it must not go to the next tenant.
        self.desk.parking.orphan(index);
    }

    fn set(&mut self, index: u32, state: State, until_ns: u64, tries: u32) {
        let slot = &self.table.slots[index as usize];
        let was = State::of(slot.state.load(Ordering::Relaxed));
        slot.state.store(state as u32, Ordering::Relaxed);
        slot.until_ns.store(until_ns, Ordering::Relaxed);
        slot.tries.store(tries, Ordering::Relaxed);
        if was.is_usable() != state.is_usable() {
            self.table.version.fetch_add(1, Ordering::Release);
        }
    }

    fn write(
        &mut self,
        index: u32,
        port: PortId,
        address: Address,
        mac: [u8; 6],
        state: State,
        until_ns: u64,
    ) {
        let slot = &self.table.slots[index as usize];
        slot.sequence.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        slot.port.store(u32::from(port.0), Ordering::Relaxed);
        let number = address.number();
        slot.high.store((number >> 64) as u64, Ordering::Relaxed);
        slot.low.store(number as u64, Ordering::Relaxed);
        slot.mac.store(word_of(mac), Ordering::Relaxed);
        slot.state.store(state as u32, Ordering::Relaxed);
        slot.until_ns.store(until_ns, Ordering::Relaxed);
        slot.tries.store(1, Ordering::Relaxed);
        slot.sequence.fetch_add(1, Ordering::Release);
        self.table.version.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
#[path = "neighbour_tests.rs"]
mod tests;
