//! What instructions refer to by index: keys, sets, cells, logs.
//!
//! Tables only grow, so that a block verified once stays valid in every later program over the
//! same tables; starting afresh (a new [`Tables`]) means building all blocks again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::encoding::{Field, Malformed, Words, plain_enum, tagged_enum};
use super::key::{KeyDesc, Requires, Slot, Source};
use super::op::{CellId, ChainId, LogId, MAX_COLUMNS, MAX_KEY_COLUMNS, ObjectKind, SetId};

/// Most columns of all keys together.
pub const MAX_ALL_COLUMNS: usize = 16_384;

tagged_enum! {
    /// What a set has for a key.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum SetData {
        /// A set: nothing.
        Nothing = 0,
        /// A map: that many columns.
        Columns = 1 {
            /// Number of columns.
            count: u8,
        },
        /// A verdict map.
        Verdict = 2,
        /// An object map.
        Object = 3 {
            /// What its objects are.
            kind: ObjectKind,
        },
    }
}

/// The shape of a set, as instructions see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDesc {
    /// Columns of its key, all fields together.
    pub key_columns: u8,
    /// What it has for a key.
    pub data: SetData,
}

plain_enum! {
    /// What a shared cell is.
    pub enum CellKind {
        /// limit.
        Limit = 0,
        /// quota.
        Quota = 1,
        /// last.
        Last = 2,
        /// ct count.
        ConnLimit = 3,
        /// numgen inc.
        Numgen = 4,
    }
}

impl Field for SetDesc {
    fn put(&self, out: &mut Vec<u32>) {
        self.key_columns.put(out);
        self.data.put(out);
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            key_columns: Field::get(from)?,
            data: Field::get(from)?,
        })
    }
}

/// What a log statement says; cold, so it lies beside the blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Text in front.
    pub prefix: String,
    /// Syslog level, 0 (emerg) to 7 (debug).
    pub level: u8,
    /// Bits as NF_LOG_*: tcp sequence 1, tcp options 2, ip options 4, skuid 8, ether 32.
    pub flags: u8,
    /// nflog group, instead of level and flags.
    pub group: Option<u16>,
    /// Bytes of the packet to hand over; 0 all.
    pub snaplen: u32,
    /// Packets to gather before they are handed over.
    pub queue_threshold: u16,
}

impl Field for Log {
    fn put(&self, out: &mut Vec<u32>) {
        self.prefix.put(out);
        self.level.put(out);
        self.flags.put(out);
        self.group.put(out);
        self.snaplen.put(out);
        self.queue_threshold.put(out);
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            prefix: Field::get(from)?,
            level: Field::get(from)?,
            flags: Field::get(from)?,
            group: Field::get(from)?,
            snaplen: Field::get(from)?,
            queue_threshold: Field::get(from)?,
        })
    }
}

/// Keys, sets, cells and logs of a line of programs.
#[derive(Clone, Debug)]
pub struct Tables {
    lineage: u64,
    keys: Vec<KeyDesc>,
    columns: Vec<u16>,
    all_columns: usize,
    interned: HashMap<KeyDesc, Slot>,
    sets: Vec<SetDesc>,
    cells: Vec<CellKind>,
    logs: Vec<Log>,
}

impl Default for Tables {
    fn default() -> Self {
        Self::new()
    }
}

impl Tables {
    /// Empty tables, of a line of their own.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            lineage: NEXT.fetch_add(1, Ordering::Relaxed),
            keys: Vec::new(),
            columns: Vec::new(),
            all_columns: 0,
            interned: HashMap::new(),
            sets: Vec::new(),
            cells: Vec::new(),
            logs: Vec::new(),
        }
    }

    /// The slot of a key; the same key always has the same slot.
    ///
    /// # Errors
    /// When the key is wider than a value may be, or there are too many keys.
    pub fn key(&mut self, key: KeyDesc) -> Result<Slot, Malformed> {
        if let Some(&slot) = self.interned.get(&key) {
            return Ok(slot);
        }
        let columns = key.columns();
        if columns == 0 || columns > MAX_COLUMNS {
            return Err(Malformed::TooLarge {
                what: "a key",
                size: columns,
                limit: MAX_COLUMNS,
            });
        }
        if !key.has_room() {
            return Err(Malformed::Invalid("a key narrower than what it loads"));
        }
        if self.all_columns + columns > MAX_ALL_COLUMNS || self.keys.len() >= MAX_ALL_COLUMNS {
            return Err(Malformed::TooLarge {
                what: "the key table",
                size: self.all_columns + columns,
                limit: MAX_ALL_COLUMNS,
            });
        }
        let slot = Slot(self.keys.len() as u16);
        self.columns.push(self.all_columns as u16);
        self.all_columns += columns;
        self.interned.insert(key.clone(), slot);
        self.keys.push(key);
        Ok(slot)
    }

    /// The `number`-th work slot of a width; rules share them, a rule finds them empty.
    ///
    /// # Errors
    /// As [`key`](Self::key).
    pub fn work(&mut self, bits: u16, number: u16) -> Result<Slot, Malformed> {
        self.key(KeyDesc {
            source: Source::Work { number },
            bits,
            requires: Requires::Nothing,
        })
    }

    /// Adds a set or map; the generation has it at this index.
    ///
    /// # Errors
    /// When its key or data is wider than a value may be.
    pub fn set(&mut self, desc: SetDesc) -> Result<SetId, Malformed> {
        let data = match desc.data {
            SetData::Columns { count } => usize::from(count),
            _ => 1,
        };
        let key = usize::from(desc.key_columns);
        for (size, limit) in [(key, MAX_KEY_COLUMNS), (data, MAX_COLUMNS)] {
            if size == 0 || size > limit {
                return Err(Malformed::TooLarge {
                    what: "a set's field",
                    size,
                    limit,
                });
            }
        }
        self.sets.push(desc);
        Ok(SetId(self.sets.len() as u32 - 1))
    }

    /// Adds a shared cell; the generation has it at this index.
    pub fn cell(&mut self, kind: CellKind) -> CellId {
        self.cells.push(kind);
        CellId(self.cells.len() as u32 - 1)
    }

    /// Adds what a log statement says.
    pub fn log(&mut self, log: Log) -> LogId {
        self.logs.push(log);
        LogId(self.logs.len() as u32 - 1)
    }

    /// All keys, by slot.
    pub fn keys(&self) -> &[KeyDesc] {
        &self.keys
    }

    /// All sets, by index.
    pub fn sets(&self) -> &[SetDesc] {
        &self.sets
    }

    /// All cells, by index.
    pub fn cells(&self) -> &[CellKind] {
        &self.cells
    }

    /// All logs, by index.
    pub fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// Columns of all keys together.
    pub fn all_columns(&self) -> usize {
        self.all_columns
    }

    /// First column of a slot.
    #[inline]
    pub fn first_column(&self, slot: Slot) -> usize {
        usize::from(self.columns[usize::from(slot.0)])
    }

    /// Which line of programs these tables belong to.
    pub(super) fn lineage(&self) -> u64 {
        self.lineage
    }
}

impl Field for Tables {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(self.keys.len() as u32);
        self.keys.iter().for_each(|key| key.put(out));
        out.push(self.sets.len() as u32);
        self.sets.iter().for_each(|set| set.put(out));
        out.push(self.cells.len() as u32);
        self.cells.iter().for_each(|cell| cell.put(out));
        out.push(self.logs.len() as u32);
        self.logs.iter().for_each(|log| log.put(out));
    }

    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        let mut tables = Self::new();
        for index in 0..from.word()? {
            let key = KeyDesc::get(from)?;
            if u32::from(tables.key(key)?.0) != index {
                return Err(Malformed::Invalid("a key stands twice in the key table"));
            }
        }
        for _ in 0..from.word()? {
            tables.set(SetDesc::get(from)?)?;
        }
        for _ in 0..from.word()? {
            let kind = CellKind::get(from)?;
            tables.cell(kind);
        }
        for _ in 0..from.word()? {
            let log = Log::get(from)?;
            tables.log(log);
        }
        Ok(tables)
    }
}

/// Which chains the verdicts of a map may name; given when a program is put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapTargets {
    /// The map.
    pub set: SetId,
    /// Chains that its elements jump or go to.
    pub chains: Vec<ChainId>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::key::Meta;

    /// Found by fuzzing: `meta time` of one column wrote behind the columns of the program.
    #[test]
    fn a_key_narrower_than_what_it_loads_is_refused() {
        let mut tables = Tables::new();
        let mut key = |key, bits| {
            tables.key(KeyDesc {
                source: Source::Meta { key },
                bits,
                requires: Requires::Nothing,
            })
        };
        assert!(key(Meta::Time, 32).is_err());
        assert!(key(Meta::Iifname, 64).is_err());
        assert!(key(Meta::Time, 64).is_ok());
        assert!(key(Meta::Iifname, 128).is_ok());
    }
}
