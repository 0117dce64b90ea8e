//! What rules read and write of the packet's connection, as far as packets of one connection can
//! see it of one another.
//!
//! The VM runs an instruction over a whole batch before the next one. Where a rule reads what each
//! packet changes (`ct bytes`), or what another rule writes (`ct mark`), packets of one connection
//! must not share a pass: then the tracker defers the later ones.

use super::key::CtKey;

/// What rules read and write of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionUse {
    /// They read what each packet changes: status, counters, the time to live.
    pub reads_moving: bool,
    /// They read what rules set: mark, label.
    pub reads_set: bool,
    /// How many instructions set a value.
    pub sets: u32,
}

impl ConnectionUse {
    /// Notes that a key is read.
    pub(super) fn read(&mut self, key: CtKey) {
        match key {
            CtKey::Status | CtKey::Expiration | CtKey::Bytes | CtKey::Packets | CtKey::Avgpkt => {
                self.reads_moving = true
            }
            CtKey::Mark | CtKey::Label => self.reads_set = true,
            _ => {}
        }
    }

    /// Notes that a value is set.
    pub(super) fn set(&mut self) {
        self.sets = self.sets.saturating_add(1);
    }

    /// Both together; `twice` when the other's rules can be reached by several ways.
    pub(super) fn join(self, other: Self, twice: bool) -> Self {
        let again = if twice { other.sets } else { 0 };
        Self {
            reads_moving: self.reads_moving | other.reads_moving,
            reads_set: self.reads_set | other.reads_set,
            sets: self.sets.saturating_add(other.sets).saturating_add(again),
        }
    }

    /// Whether packets of one connection must run one after the other.
    pub fn in_order(&self) -> bool {
        self.reads_moving || self.sets > 1 || (self.sets == 1 && self.reads_set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(reads: &[CtKey], sets: usize) -> ConnectionUse {
        let mut used = ConnectionUse::default();
        reads.iter().for_each(|key| used.read(*key));
        (0..sets).for_each(|_| used.set());
        used
    }

    #[test]
    fn what_packets_can_see_of_one_another_is_kept_in_order() {
        assert!(!with(&[CtKey::State, CtKey::Mark, CtKey::Zone], 0).in_order());
        assert!(with(&[CtKey::Bytes], 0).in_order());
        assert!(!with(&[CtKey::State], 1).in_order());
        assert!(with(&[CtKey::Mark], 1).in_order());
        assert!(with(&[], 2).in_order());
    }

    #[test]
    fn a_chain_that_is_jumped_to_counts_twice() {
        let one = with(&[], 1);
        assert!(!ConnectionUse::default().join(one, false).in_order());
        assert!(ConnectionUse::default().join(one, true).in_order());
    }
}
