//! Packets that wait until their neighbour has answered.
//!
//! Bounded threefold: packets for one neighbour, bytes in all, and time. They lie in memory of their
//! own, apart from the workers' pools, because another worker than the one that parked a packet may
//! hear the answer. A packet that is pushed out or waits too long is a counted drop.

use std::collections::VecDeque;

use crate::conntrack::Attached;
use crate::packet::VnetHeader;
use crate::port::PortId;

/// Packets that wait for one neighbour; the oldest gives way.
const PER_NEIGHBOUR: usize = 16;
/// Bytes of all waiting packets.
const BYTES: usize = 4 << 20;
/// How long a packet waits at most.
const PATIENCE_NS: u64 = 4_000_000_000;
/// No neighbour: the entry that it waited for is gone.
const ORPHAN: u32 = u32::MAX;

/// A packet that waits, complete but for its link addresses.
#[derive(Debug)]
pub struct Parked {
    /// The neighbour's slot.
    slot: u32,
    due_ns: u64,
    /// From the Ethernet header on.
    pub bytes: Vec<u8>,
    /// What is still to be done to it.
    pub vnet: VnetHeader,
    /// The port that it came by; none when it was made here.
    pub in_port: PortId,
    /// The way out.
    pub out_port: PortId,
    /// Largest packet on the way.
    pub mtu: u32,
    /// Its mark.
    pub mark: u32,
    /// Its flow, for errors about it.
    pub flow: Option<Attached>,
}

/// Where a packet goes that has to wait.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The port that it came by.
    pub in_port: PortId,
    /// The way out.
    pub out_port: PortId,
    /// Largest packet on the way.
    pub mtu: u32,
    /// Its mark.
    pub mark: u32,
    /// Its flow, for errors about it.
    pub flow: Option<Attached>,
}

/// All packets that wait, oldest first.
#[derive(Debug, Default)]
pub struct Parking {
    waiting: VecDeque<Parked>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Parking {
    /// Has a packet wait for the neighbour at `slot`; yields a packet that had to give way.
    pub fn park(
        &mut self,
        slot: u32,
        frame: &[u8],
        vnet: VnetHeader,
        plan: Plan,
        now_ns: u64,
    ) -> Option<Parked> {
        let mut mine = (0..self.waiting.len()).filter(|at| self.waiting[*at].slot == slot);
        let first = mine.next();
        let crowded = mine.count() + 1 >= PER_NEIGHBOUR;
        let pushed_out = if crowded {
            first.and_then(|at| self.waiting.remove(at))
        } else if self.bytes + frame.len() > BYTES {
            self.waiting.pop_front()
        } else {
            None
        };
        if let Some(parked) = &pushed_out {
            self.bytes -= parked.bytes.len();
        }
        let mut bytes = self.spare.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(frame);
        self.bytes += bytes.len();
        self.waiting.push_back(Parked {
            slot,
            due_ns: now_ns + PATIENCE_NS,
            bytes,
            vnet,
            in_port: plan.in_port,
            out_port: plan.out_port,
            mtu: plan.mtu,
            mark: plan.mark,
            flow: plan.flow,
        });
        pushed_out
    }

    /// Takes the next packet that waits for the neighbour at `slot`.
    pub fn take(&mut self, slot: u32) -> Option<Parked> {
        let at = self.waiting.iter().position(|one| one.slot == slot)?;
        self.remove(at)
    }

    /// Takes the next packet that has waited too long.
    pub fn take_late(&mut self, now_ns: u64) -> Option<Parked> {
        let late = |one: &Parked| one.due_ns <= now_ns;
        let at = self.waiting.front().is_some_and(late).then_some(0)?;
        self.remove(at)
    }

    fn remove(&mut self, at: usize) -> Option<Parked> {
        let parked = self.waiting.remove(at)?;
        self.bytes -= parked.bytes.len();
        Some(parked)
    }

    /// Gives the memory of a packet back.
    pub fn give(&mut self, parked: Parked) {
        if self.spare.len() < PER_NEIGHBOUR * 4 && parked.bytes.capacity() <= 2048 {
            self.spare.push(parked.bytes);
        }
    }

    /// The entry at `slot` is gone.
    pub(super) fn orphan(&mut self, slot: u32) {
        for parked in self.waiting.iter_mut().filter(|one| one.slot == slot) {
            parked.slot = ORPHAN;
        }
    }

    /// How many packets wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn park(parking: &mut Parking, slot: u32, byte: u8, len: usize) -> Option<u8> {
        let frame = vec![byte; len];
        let plan = Plan {
            in_port: PortId(0),
            out_port: PortId(1),
            mtu: 1500,
            mark: 0,
            flow: None,
        };
        let pushed_out = parking.park(slot, &frame, VnetHeader::default(), plan, 0);
        pushed_out.map(|parked| parked.bytes[0])
    }

    #[test]
    fn packets_leave_in_order_and_the_oldest_gives_way() {
        let mut parking = Parking::default();
        for n in 0..PER_NEIGHBOUR as u8 {
            assert_eq!(park(&mut parking, 1, n, 60), None);
            assert_eq!(park(&mut parking, 2, n, 60), None);
        }
        assert_eq!(park(&mut parking, 1, 99, 60), Some(0));
        let left: Vec<u8> = std::iter::from_fn(|| parking.take(1))
            .map(|parked| parked.bytes[0])
            .collect();
        assert_eq!(left[..3], [1, 2, 3]);
        assert_eq!((left.len(), left[15]), (PER_NEIGHBOUR, 99));
        assert_eq!(parking.len(), PER_NEIGHBOUR);
    }

    #[test]
    fn bytes_and_time_are_bounded() {
        let mut parking = Parking::default();
        for n in 0..200 {
            park(&mut parking, n, 1, 60_000);
        }
        assert!(parking.bytes <= BYTES);
        assert!(parking.take_late(PATIENCE_NS - 1).is_none());
        while parking.take_late(PATIENCE_NS).is_some() {}
        assert!(parking.is_empty());
        assert_eq!(parking.bytes, 0);
    }

    #[test]
    fn an_orphan_goes_to_nobody() {
        let mut parking = Parking::default();
        park(&mut parking, 5, 1, 60);
        parking.orphan(5);
        assert!(parking.take(5).is_none());
        assert!(parking.take_late(PATIENCE_NS).is_some());
    }
}
