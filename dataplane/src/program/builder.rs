//! A whole program: tables, chains of blocks, walks; putting it together, verifying it, and its
//! form as bytes.
//!
//! Invariants that the interpreter relies on: every block was verified against the program's
//! tables; every jump goes to a chain on a deeper level, and there are at most [`DEPTH`] levels, so
//! every run ends; every walk looks the way out up once.

use std::sync::Arc;

use super::block::Block;
use super::connection::ConnectionUse;
use super::encoding::{Field, Malformed, Words};
use super::op::ChainId;
use super::tables::{MapTargets, Tables};
use super::walk::{Class, Entry, bare_gateway};

/// Most levels of chains: a base chain and what it jumps to, and so on.
pub const DEPTH: usize = 16;

const MAGIC: u32 = u32::from_le_bytes(*b"slcp");
const VERSION: u32 = 1;

/// A chain: its blocks in order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Deeper than all chains that jump here; below [`DEPTH`].
    level: u8,
    blocks: Vec<Arc<Block>>,
}

impl Chain {
    /// The blocks in order.
    #[inline]
    pub fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// The chain's level: jumps go to deeper levels only.
    #[inline]
    pub fn level(&self) -> u8 {
        self.level
    }
}

/// A verified program.
#[derive(Clone, Debug)]
pub struct Program {
    tables: Arc<Tables>,
    ordered: bool,
    effects: bool,
    connection: ConnectionUse,
    tracks: bool,
    engines: u32,
    counters: u32,
    chains: Vec<Chain>,
    targets: Vec<MapTargets>,
    walks: [Vec<Entry>; Class::COUNT],
}

impl Program {
    /// The program that lets everything through.
    pub fn empty() -> Self {
        Self {
            tables: Arc::new(Tables::new()),
            ordered: false,
            effects: false,
            connection: ConnectionUse::default(),
            tracks: false,
            engines: 0,
            counters: 0,
            chains: Vec::new(),
            targets: Vec::new(),
            walks: std::array::from_fn(|_| vec![Entry::Peer]),
        }
    }

    /// The program of a gateway without rules.
    pub fn bare_gateway() -> Self {
        Self {
            walks: std::array::from_fn(|class| bare_gateway(Class::ALL[class])),
            ..Self::empty()
        }
    }

    /// Keys, sets, cells and logs.
    pub fn tables(&self) -> &Arc<Tables> {
        &self.tables
    }

    /// Whether one packet's side effects can be seen by another at a different instruction, so
    /// that packets must run one at a time.
    pub fn ordered(&self) -> bool {
        self.ordered
    }

    /// Whether packets change state that other packets can see: then a batch of several classes
    /// runs in the order of its packets, too, although each class has a walk of its own.
    #[inline]
    pub fn has_effects(&self) -> bool {
        self.effects
    }

    /// Whether some walk tracks connections.
    #[inline]
    pub fn tracks(&self) -> bool {
        self.tracks
    }

    /// What its rules read and write of connections.
    #[inline]
    pub fn connection(&self) -> &ConnectionUse {
        &self.connection
    }

    /// What beyond the VM it needs, as bits of [`engines`](super::op::engines).
    pub fn engines(&self) -> u32 {
        self.engines
    }

    /// Counter slots that it needs: one more than the highest.
    pub fn counters(&self) -> u32 {
        self.counters
    }

    /// All chains.
    #[inline]
    pub fn chains(&self) -> &[Chain] {
        &self.chains
    }

    /// The walk of a class of frames.
    #[inline]
    pub fn walk(&self, class: Class) -> &[Entry] {
        &self.walks[class as usize]
    }

    /// The program as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![MAGIC, VERSION];
        self.ordered.put(&mut out);
        self.tables.put(&mut out);
        out.push(self.chains.len() as u32);
        for chain in &self.chains {
            out.push(chain.blocks.len() as u32);
            for block in &chain.blocks {
                out.push(block.words().len() as u32);
                out.extend_from_slice(block.words());
            }
        }
        out.push(self.targets.len() as u32);
        for targets in &self.targets {
            targets.set.put(&mut out);
            out.push(targets.chains.len() as u32);
            targets.chains.iter().for_each(|chain| chain.put(&mut out));
        }
        for walk in &self.walks {
            out.push(walk.len() as u32);
            walk.iter().for_each(|entry| entry.put(&mut out));
        }
        out.into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// Reads a program back and verifies it.
    ///
    /// # Errors
    /// When the bytes are not a program that can be run safely to its end.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let (pieces, []) = bytes.as_chunks::<4>() else {
            return Err(Malformed::NotAProgram);
        };
        let all: Vec<u32> = pieces
            .iter()
            .map(|piece| u32::from_le_bytes(*piece))
            .collect();
        let mut words = Words::new(&all);
        if words.word()? != MAGIC || words.word()? != VERSION {
            return Err(Malformed::NotAProgram);
        }
        let ordered = bool::get(&mut words)?;
        let mut builder = ProgramBuilder::new(Arc::new(Tables::get(&mut words)?));
        builder.ordered(ordered);
        for _ in 0..words.word()? {
            let mut blocks = Vec::new();
            for _ in 0..words.word()? {
                let len = words.word()? as usize;
                let block = Block::from_words(words.take(len)?.into(), &builder.tables)?;
                blocks.push(Arc::new(block));
            }
            builder.chain(blocks);
        }
        for _ in 0..words.word()? {
            let mut targets = MapTargets {
                set: Field::get(&mut words)?,
                chains: Vec::new(),
            };
            for _ in 0..words.word()? {
                targets.chains.push(ChainId::get(&mut words)?);
            }
            builder.map_targets(targets);
        }
        for class in Class::ALL {
            let mut walk = Vec::new();
            for _ in 0..words.word()? {
                walk.push(Entry::get(&mut words)?);
            }
            builder.walk(class, walk);
        }
        if !words.is_empty() {
            return Err(Malformed::Invalid("words behind the end"));
        }
        builder.finish()
    }
}

/// Puts a program together.
#[derive(Debug)]
pub struct ProgramBuilder {
    tables: Arc<Tables>,
    ordered: bool,
    chains: Vec<Chain>,
    targets: Vec<MapTargets>,
    walks: [Vec<Entry>; Class::COUNT],
}

impl ProgramBuilder {
    /// A program over these tables, without chains; every walk only looks the way out up.
    pub fn new(tables: Arc<Tables>) -> Self {
        Self {
            tables,
            ordered: false,
            chains: Vec::new(),
            targets: Vec::new(),
            walks: std::array::from_fn(|_| vec![Entry::Peer]),
        }
    }

    /// Says whether packets must run one at a time.
    pub fn ordered(&mut self, ordered: bool) {
        self.ordered = ordered;
    }

    /// Appends a chain; blocks may come from an earlier program over the same tables.
    pub fn chain(&mut self, blocks: Vec<Arc<Block>>) -> ChainId {
        self.chains.push(Chain { level: 0, blocks });
        ChainId(self.chains.len() as u32 - 1)
    }

    /// Says which chains a verdict map's elements name; a verdict that names another one is a
    /// drop when it is met.
    pub fn map_targets(&mut self, targets: MapTargets) {
        self.targets.push(targets);
    }

    /// Sets the walk of a class of frames.
    pub fn walk(&mut self, class: Class, entries: Vec<Entry>) {
        self.walks[class as usize] = entries;
    }

    /// Verifies what concerns the whole.
    ///
    /// # Errors
    /// When a chain does not exist, jumps make a loop or go too deep, a walk does not look the
    /// way out up exactly once, or a block belongs to other tables.
    pub fn finish(mut self) -> Result<Program, Malformed> {
        let (mut engines, mut counters, mut effects) = (0, 0, false);
        for block in self.chains.iter().flat_map(|chain| &chain.blocks) {
            if !block.belongs_to(&self.tables) {
                return Err(Malformed::Invalid("a block was made for other tables"));
            }
            engines |= block.uses().engines;
            effects |= block.uses().effects;
            counters = counters.max(block.uses().counters);
        }
        let mut tracks = false;
        for walk in &self.walks {
            tracks |= check_tracking(walk)?;
            check_translation(walk)?;
            if walk.iter().filter(|entry| entry.gives_a_way()).count() != 1 {
                return Err(Malformed::Invalid(
                    "a walk that does not look the way out up once",
                ));
            }
            for entry in walk {
                if let Entry::Chain { chain, .. } = entry {
                    self.exists(*chain)?;
                }
            }
        }
        self.set_levels()?;
        let connection = self
            .chains
            .iter()
            .fold(ConnectionUse::default(), |used, chain| {
                let blocks = chain.blocks.iter();
                blocks.fold(used, |used, block| {
                    used.join(block.uses().connection, chain.level > 0)
                })
            });
        Ok(Program {
            tables: self.tables,
            ordered: self.ordered,
            effects,
            connection,
            tracks,
            engines,
            counters,
            chains: self.chains,
            targets: self.targets,
            walks: self.walks,
        })
    }

    fn exists(&self, chain: ChainId) -> Result<usize, Malformed> {
        let (index, count) = (chain.0, self.chains.len() as u32);
        if index < count {
            return Ok(index as usize);
        }
        Err(Malformed::OutOfRange {
            what: "chain",
            index,
            count,
        })
    }

    /// Gives every chain the length of the longest way to it, in the order in which no jump
    /// goes backwards; what that order does not reach is a loop.
    fn set_levels(&mut self) -> Result<(), Malformed> {
        let jumps = self.jumps()?;
        let mut incoming = vec![0u32; jumps.len()];
        jumps.iter().flatten().for_each(|to| incoming[*to] += 1);
        let mut ready: Vec<usize> = (0..jumps.len())
            .filter(|chain| incoming[*chain] == 0)
            .collect();
        let mut done = 0;
        while let Some(from) = ready.pop() {
            done += 1;
            for &to in &jumps[from] {
                let level = self.chains[from].level + 1;
                if usize::from(level) >= DEPTH {
                    return Err(Malformed::TooDeep { limit: DEPTH });
                }
                self.chains[to].level = self.chains[to].level.max(level);
                incoming[to] -= 1;
                if incoming[to] == 0 {
                    ready.push(to);
                }
            }
        }
        if done == jumps.len() {
            return Ok(());
        }
        let from = incoming.iter().position(|count| *count > 0).unwrap_or(0);
        let to = jumps[from].first().copied().unwrap_or(from);
        Err(Malformed::Loop {
            from: from as u32,
            to: to as u32,
        })
    }

    /// For every chain, where it jumps to (each once).
    fn jumps(&self) -> Result<Vec<Vec<usize>>, Malformed> {
        let mut jumps = Vec::with_capacity(self.chains.len());
        for chain in &self.chains {
            let mut targets = Vec::new();
            for block in &chain.blocks {
                for target in &block.uses().chains {
                    targets.push(self.exists(*target)?);
                }
                for map in &block.uses().verdict_maps {
                    for named in self.targets.iter().filter(|targets| targets.set == *map) {
                        for target in &named.chains {
                            targets.push(self.exists(*target)?);
                        }
                    }
                }
            }
            targets.sort_unstable();
            targets.dedup();
            jumps.push(targets);
        }
        Ok(jumps)
    }
}

/// What is deferred at the tracking goes on there once, so a walk tracks at most once, and confirms
/// what it tracks. Says whether it does.
fn check_tracking(walk: &[Entry]) -> Result<bool, Malformed> {
    let places = |wanted: Entry| {
        let at = move |(at, entry): (usize, &Entry)| (*entry == wanted).then_some(at);
        walk.iter().enumerate().filter_map(at).collect::<Vec<_>>()
    };
    match (&places(Entry::Track)[..], &places(Entry::Confirm)[..]) {
        ([], []) => Ok(false),
        ([track], [confirm]) if track < confirm => Ok(true),
        _ => Err(Malformed::Invalid(
            "a walk that does not confirm once what it tracks once",
        )),
    }
}

/// Translation stands behind the tracking, and each beginning has its end at the same hook.
fn check_translation(walk: &[Entry]) -> Result<(), Malformed> {
    let refused = Err(Malformed::Invalid(
        "a walk that does not translate where it decides, or without tracking",
    ));
    let (mut tracked, mut open) = (false, None);
    for entry in walk {
        match entry {
            Entry::Track => tracked = true,
            Entry::Decide { hook } if tracked && open.is_none() => open = Some(*hook),
            Entry::Translate { hook } if open == Some(*hook) => open = None,
            Entry::Decide { .. } | Entry::Translate { .. } => return refused,
            Entry::Chain { hook, .. } if open.is_none_or(|open| open == *hook) => {}
            _ if open.is_some() => return refused,
            _ => {}
        }
    }
    if open.is_some() { refused } else { Ok(()) }
}
