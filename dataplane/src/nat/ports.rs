//! The ports of one external address for one protocol: who may use which.
//!
//! A port is free, shared by flows that differ in their other end (as Linux has it, RFC 4787 calls it
//! overloading), or held by one internal endpoint alone (an endpoint-independent mapping, a static
//! binding, a socket of the appliance). Taking the next free port costs the same however full the
//! space is: three levels of bits, of which at most three words each are looked at.
//!
//! Limits: 65,536 ports; 24 KiB of bits, and 2 KiB more for each 1,024 ports of which some are shared.

use std::ops::RangeInclusive;

const PORTS: usize = 1 << 16;
const WORDS: usize = PORTS / 64;
const BLOCK: usize = 1024;

/// Which ports of a range may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parity {
    /// Any.
    #[default]
    Any,
    /// Even ones (RFC 4787, REQ-4 of its section 4.2.2).
    Even,
    /// Odd ones.
    Odd,
}

impl Parity {
    /// The parity of a port.
    pub fn of(port: u16) -> Self {
        if port.is_multiple_of(2) {
            Self::Even
        } else {
            Self::Odd
        }
    }

    fn mask(self) -> u64 {
        match self {
            Self::Any => u64::MAX,
            Self::Even => 0x5555_5555_5555_5555,
            Self::Odd => 0xaaaa_aaaa_aaaa_aaaa,
        }
    }
}

/// The ports of one address and protocol.
#[derive(Debug)]
pub struct PortSpace {
    /// Free ports, by parity: the bit of a port stands in the word of `port / 64`.
    free: Box<[u64; WORDS]>,
    /// Words of `free` that have an even free port, and those that have an odd one.
    words: [[u64; WORDS / 64]; 2],
    /// Ports that one holds alone.
    held: Box<[u64; WORDS]>,
    /// How many share a port, by blocks that came to be needed.
    shared: Box<[Option<Box<[u16; BLOCK]>>; PORTS / BLOCK]>,
    used: u32,
    peak: u32,
    exhausted: u64,
}

impl Default for PortSpace {
    fn default() -> Self {
        Self {
            free: Box::new([u64::MAX; WORDS]),
            words: [[u64::MAX; WORDS / 64]; 2],
            held: Box::new([0; WORDS]),
            shared: Box::new([const { None }; PORTS / BLOCK]),
            used: 0,
            peak: 0,
            exhausted: 0,
        }
    }
}

impl PortSpace {
    /// Ports that are not free.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Most ports that were ever in use at once.
    pub fn peak(&self) -> u32 {
        self.peak
    }

    /// How often a port was wanted and none was left.
    pub fn exhausted(&self) -> u64 {
        self.exhausted
    }

    /// A port was wanted and none was left.
    pub fn count_exhausted(&mut self) {
        self.exhausted += 1;
    }

    /// Whether nobody uses the port.
    pub fn is_free(&self, port: u16) -> bool {
        bit(&self.free[..], port)
    }

    /// Whether one holds the port alone.
    pub fn is_held(&self, port: u16) -> bool {
        bit(&self.held[..], port)
    }

    /// Whether any port is held by one alone.
    pub fn holds_any(&self) -> bool {
        self.held.iter().any(|word| *word != 0)
    }

    /// How many share the port.
    pub fn sharers(&self, port: u16) -> u32 {
        let (block, at) = (usize::from(port) / BLOCK, usize::from(port) % BLOCK);
        self.shared[block]
            .as_ref()
            .map_or(0, |counts| u32::from(counts[at]))
    }

    /// Takes a free port for one alone.
    pub fn hold(&mut self, port: u16) -> bool {
        if !self.is_free(port) {
            return false;
        }
        self.take(port);
        self.held[usize::from(port) / 64] |= 1 << (port % 64);
        true
    }

    /// Takes a port that others may share; not one that is held alone, nor one with 65,535 sharers.
    pub fn share(&mut self, port: u16) -> bool {
        if self.is_held(port) {
            return false;
        }
        let (block, at) = (usize::from(port) / BLOCK, usize::from(port) % BLOCK);
        let counts = self.shared[block].get_or_insert_with(|| Box::new([0; BLOCK]));
        let Some(more) = counts[at].checked_add(1) else {
            return false;
        };
        counts[at] = more;
        if self.is_free(port) {
            self.take(port);
        }
        true
    }

    /// Gives back what [`hold`](Self::hold) or [`share`](Self::share) took.
    pub fn release(&mut self, port: u16) {
        if self.is_held(port) {
            self.held[usize::from(port) / 64] &= !(1 << (port % 64));
            return self.give(port);
        }
        let (block, at) = (usize::from(port) / BLOCK, usize::from(port) % BLOCK);
        let Some(counts) = self.shared[block].as_mut() else {
            debug_assert!(false, "port {port} was not taken");
            return;
        };
        debug_assert!(counts[at] > 0, "port {port} was not taken");
        counts[at] = counts[at].saturating_sub(1);
        if counts[at] == 0 && !self.is_free(port) {
            self.give(port);
        }
    }

    /// The first free port of a range from `from` on, and behind its end from its beginning.
    pub fn next_free(&self, range: RangeInclusive<u16>, from: u16, parity: Parity) -> Option<u16> {
        let (first, last) = (*range.start(), *range.end());
        if first > last {
            return None;
        }
        let from = from.clamp(first, last);
        self.search(from, last, parity)
            .or_else(|| (from > first).then(|| self.search(first, from - 1, parity))?)
    }

    fn search(&self, first: u16, last: u16, parity: Parity) -> Option<u16> {
        let (mut word, end) = (usize::from(first) / 64, usize::from(last) / 64);
        let mut mask = u64::MAX << (first % 64);
        while word <= end {
            let found = self.free[word] & mask & parity.mask();
            if found != 0 {
                let port = word * 64 + found.trailing_zeros() as usize;
                return (port <= usize::from(last)).then_some(port as u16);
            }
            mask = u64::MAX;
            word = self.next_word(word + 1, parity)?;
        }
        None
    }

    /// The first word from `from` on that has a free port of this parity.
    fn next_word(&self, from: usize, parity: Parity) -> Option<usize> {
        let summary = |at: usize| match parity {
            Parity::Any => self.words[0][at] | self.words[1][at],
            Parity::Even => self.words[0][at],
            Parity::Odd => self.words[1][at],
        };
        let mut mask = u64::MAX << (from % 64);
        for at in from / 64..WORDS / 64 {
            let found = summary(at) & mask;
            if found != 0 {
                return Some(at * 64 + found.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }

    fn take(&mut self, port: u16) {
        self.free[usize::from(port) / 64] &= !(1 << (port % 64));
        self.summarise(port);
        self.used += 1;
        self.peak = self.peak.max(self.used);
    }

    fn give(&mut self, port: u16) {
        self.free[usize::from(port) / 64] |= 1 << (port % 64);
        self.summarise(port);
        self.used -= 1;
    }

    fn summarise(&mut self, port: u16) {
        let word = usize::from(port) / 64;
        for (words, parity) in self.words.iter_mut().zip([Parity::Even, Parity::Odd]) {
            let some = u64::from(self.free[word] & parity.mask() != 0);
            let place = &mut words[word / 64];
            *place = *place & !(1 << (word % 64)) | some << (word % 64);
        }
    }
}

fn bit(words: &[u64], port: u16) -> bool {
    words[usize::from(port) / 64] >> (port % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_free_port_is_found_from_anywhere() {
        let mut space = PortSpace::default();
        for port in 1024..=65535 {
            assert!(space.hold(port));
        }
        assert_eq!((space.used(), space.peak()), (64512, 64512));
        assert_eq!(space.next_free(1024..=65535, 40_000, Parity::Any), None);
        space.release(1031);
        for from in [0, 1024, 1031, 1032, 40_000, 65535] {
            assert_eq!(space.next_free(1024..=65535, from, Parity::Any), Some(1031));
            assert_eq!(space.next_free(1024..=65535, from, Parity::Even), None);
            assert_eq!(space.next_free(1024..=65535, from, Parity::Odd), Some(1031));
        }
        assert_eq!((space.used(), space.peak()), (64511, 64512));
        assert_eq!(space.next_free(0..=1023, 1023, Parity::Any), Some(1023));
    }

    #[test]
    fn a_port_is_shared_or_held_but_not_both() {
        let mut space = PortSpace::default();
        assert!(space.share(80) && space.share(80) && !space.hold(80));
        space.release(80);
        assert!(!space.hold(80) && space.sharers(80) == 1);
        space.release(80);
        assert!(space.hold(80) && !space.share(80) && !space.hold(80));
        space.release(80);
        assert!(space.is_free(80) && space.used() == 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Hold(u16),
        Share(u16),
        Release(u16),
        Next(u16, u16, u16, Parity),
    }

    fn step() -> impl Strategy<Value = Step> {
        // Few ports, around the borders of words, blocks and the space.
        let port = prop_oneof![
            0u16..4,
            60u16..68,
            1020u16..1028,
            4090u16..4100,
            65530u16..=65535
        ];
        let parity = prop_oneof![Just(Parity::Any), Just(Parity::Even), Just(Parity::Odd)];
        prop_oneof![
            port.clone().prop_map(Step::Hold),
            port.clone().prop_map(Step::Share),
            port.clone().prop_map(Step::Release),
            (port.clone(), port.clone(), port, parity)
                .prop_map(|(low, high, from, parity)| Step::Next(low, high, from, parity)),
        ]
    }

    proptest! {
        /// What is said to be in use is what was taken and not given back.
        #[test]
        fn it_agrees_with_a_map(steps in proptest::collection::vec(step(), 1..200)) {
            let mut space = PortSpace::default();
            // Held: None. Shared: how often.
            let mut model: HashMap<u16, Option<u32>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Hold(port) => {
                        let free = !model.contains_key(&port);
                        prop_assert_eq!(space.hold(port), free);
                        if free {
                            model.insert(port, None);
                        }
                    }
                    Step::Share(port) => {
                        let may = model.get(&port) != Some(&None);
                        prop_assert_eq!(space.share(port), may);
                        if may {
                            *model.entry(port).or_insert(Some(0)) = model
                                .get(&port).copied().flatten().map_or(Some(1), |n| Some(n + 1));
                        }
                    }
                    Step::Release(port) => match model.get(&port).copied() {
                        None => {}
                        Some(None | Some(1)) => {
                            space.release(port);
                            model.remove(&port);
                        }
                        Some(Some(count)) => {
                            space.release(port);
                            model.insert(port, Some(count - 1));
                        }
                    },
                    Step::Next(low, high, from, parity) => {
                        let fits = |port: &u16| {
                            !model.contains_key(port)
                                && (parity == Parity::Any || Parity::of(*port) == parity)
                        };
                        let start = from.clamp(low.min(high), high.max(low));
                        let expected = (low <= high).then(|| {
                            (start..=high).chain(low..start).find(fits)
                        }).flatten();
                        prop_assert_eq!(space.next_free(low..=high, from, parity), expected);
                    }
                }
                prop_assert_eq!(space.used() as usize, model.len());
            }
            for (port, kind) in model {
                prop_assert_eq!(space.is_held(port), kind.is_none());
                prop_assert_eq!(space.sharers(port), kind.unwrap_or(0));
            }
        }
    }
}
