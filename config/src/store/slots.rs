//! Where the packet path keeps what a rule or object counts: stable slots.
//!
//! A counter slot is an index into every worker's array. A cell is a shared atomic (limit, quota,
//! last, numgen, connection limit). Both belong to one owner for its life; a slot that became free
//! is given again only after a later generation was published and every worker has left the
//! ones that used it.

/// Index of a counter `(packets, bytes)` in every worker's array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CounterKey(pub u32);

/// Number of a shared cell; the compiler maps it to the program's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellKey(pub u32);

/// Slots of a rule: one for each of its statements that has state, in the order of the statements;
/// the rules of an anonymous chain are visited where they stand. Statements of the elements of
/// anonymous sets are not here: the runtime set has their state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSlots {
    /// `counter` statements.
    pub counters: Box<[CounterKey]>,
    /// `limit`, `quota`, `last` and `ct count` statements.
    pub cells: Box<[CellKey]>,
    /// `numgen inc` expressions, wherever they stand; which one gets which does not matter.
    pub numgens: Box<[CellKey]>,
}

/// Gives slots and takes them back.
#[derive(Clone, Debug, Default)]
pub struct SlotAllocator {
    next_counter: u32,
    next_cell: u32,
    free_counters: Vec<CounterKey>,
    free_cells: Vec<CellKey>,
}

impl SlotAllocator {
    /// A counter that nobody has.
    pub fn counter(&mut self) -> CounterKey {
        self.free_counters.pop().unwrap_or_else(|| {
            self.next_counter += 1;
            CounterKey(self.next_counter - 1)
        })
    }

    /// A cell that nobody has.
    pub fn cell(&mut self) -> CellKey {
        self.free_cells.pop().unwrap_or_else(|| {
            self.next_cell += 1;
            CellKey(self.next_cell - 1)
        })
    }

    /// One more than the highest counter ever given.
    pub fn counters(&self) -> usize {
        self.next_counter as usize
    }

    /// One more than the highest cell ever given.
    pub fn cells(&self) -> usize {
        self.next_cell as usize
    }

    /// Takes a rule's slots back; the caller knows that no worker uses them any more.
    pub fn recycle(&mut self, slots: &RuleSlots) {
        self.free_counters.extend_from_slice(&slots.counters);
        self.free_cells.extend_from_slice(&slots.cells);
        self.free_cells.extend_from_slice(&slots.numgens);
    }
}
