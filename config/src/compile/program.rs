//! Putting the program together: which chains, in which walks, from which blocks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use sluice_dataplane::program::cell::Cell;
use sluice_dataplane::program::lane_set::LaneSet;
use sluice_dataplane::program::op::engines;
use sluice_dataplane::program::{
    ChainId, Class, ElementStatement, MapTargets, Program, ProgramBuilder, SetId, Tables,
};
use sluice_dataplane::sets;
use sluice_dataplane::worker::ConnectionObjects;

use super::cells::Cells;
use super::chains::{ChainKey, Chains};
use super::chunk::{CompiledChunk, Failed};
use super::connection;
use super::effects::Order;
use super::error::{Cause, CompileError, Place, Warning};
use super::lower::{Logs, Shared};
use super::sets::Sets;
use super::walk::{self, Attached, Tracking};
use crate::engine::Mode;
use crate::ipset::IpSets;
use crate::model::{ChainType, Family};
use crate::store::elements::Elements;
use crate::store::{Chain, Id, Ruleset, Table};

/// Indices without an owner that are tolerated before everything is numbered afresh.
const IDLE: usize = 65_536;

/// What a program is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// How frames go.
    pub mode: Mode,
    /// What the dataplane has beyond the VM, as bits of
    /// [`engines`](sluice_dataplane::program::op::engines).
    pub engines: u32,
}

/// A program with what it refers to by index.
#[derive(Debug)]
pub struct Compiled {
    /// The program.
    pub program: Arc<Program>,
    /// Sets, by index.
    pub sets: Vec<Arc<dyn LaneSet>>,
    /// Cells, by index.
    pub cells: Vec<Arc<Cell>>,
    /// Objects that steer connections.
    pub objects: ConnectionObjects,
    /// What loads but is never reached.
    pub warnings: Vec<Warning>,
}

/// What compilations keep for the next one.
#[derive(Debug)]
pub struct CompileCache {
    tables: Arc<Tables>,
    chunks: HashMap<Id, CompiledChunk>,
    chains: Chains,
    sets: Sets,
    cells: Cells,
    logs: Logs,
    target: Option<Target>,
    /// Number of the newest compilation.
    now: u64,
}

impl Default for CompileCache {
    fn default() -> Self {
        Self {
            tables: Arc::new(Tables::new()),
            chunks: HashMap::new(),
            chains: Chains::default(),
            sets: Sets::default(),
            cells: Cells::default(),
            logs: Logs::new(),
            target: None,
            now: 0,
        }
    }
}

impl CompileCache {
    /// An empty cache: the next compilation makes everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// The newest compilation's program was published: changes of sets that packets write are made,
    /// and what it does not use goes.
    pub fn committed(&mut self) {
        self.sets.commit();
        let now = self.now;
        self.chunks.retain(|_, chunk| chunk.seen >= now);
        self.chains.sweep(now);
        self.cells.sweep(now);
        self.sets.sweep(now);
    }

    /// Begins a compilation.
    fn begin(&mut self, target: Target) {
        // What a transaction that failed would have changed.
        self.sets.pending.clear();
        if self.target != Some(target) || self.idle() > IDLE {
            // Everything is numbered afresh, but what packets added to sets stays.
            let now = self.now;
            let runtimes = std::mem::take(&mut self.sets.runtimes);
            *self = Self {
                target: Some(target),
                now,
                ..Self::default()
            };
            self.sets.runtimes = runtimes;
        }
        self.now += 1;
    }

    /// The runtime set of a named set, and what its elements carry.
    pub fn runtime_set(&self, owner: Id) -> Option<(&Arc<sets::Set>, &[ElementStatement])> {
        self.sets
            .runtimes
            .get(&owner)
            .map(|known| (&known.set, &known.statements[..]))
    }

    /// Gives the memory of expired elements back, looking at about `budget` elements of each set.
    pub fn sweep_sets(&self, now_ns: u64, budget: usize) -> usize {
        self.sets
            .runtimes
            .values()
            .map(|known| known.set.sweep(now_ns, budget))
            .sum()
    }

    /// The index of a stored chain.
    pub(super) fn chain_number(&self, chain: Id) -> Option<ChainId> {
        self.chains.get(&ChainKey::Stored(chain))
    }

    /// The index of a named set.
    pub(super) fn set_number(&self, set: Id) -> Option<SetId> {
        self.sets.named(set)
    }

    /// The elements from commands that a named set's runtime set has had.
    pub fn applied_elements(&self, owner: Id) -> Option<&Elements> {
        self.sets.runtimes.get(&owner).map(|known| &known.applied)
    }

    fn idle(&self) -> usize {
        self.sets.idle()
            + self.cells.idle()
            + self.logs.len().saturating_sub(self.chunks.len() * 64)
    }
}

/// Compiles a ruleset. `now_ns` is the monotonic time from which timeouts of elements count.
///
/// # Errors
/// The first rule that cannot be executed, with its place. The cache stays usable.
pub fn compile(
    view: &Ruleset,
    cache: &mut CompileCache,
    target: &Target,
    now_ns: u64,
) -> Result<Compiled, CompileError> {
    let nowhere = |cause| CompileError {
        place: Place::of_ruleset(),
        cause,
    };
    cache.begin(*target);
    let now = cache.now;
    let mut tables = std::mem::take(&mut cache.tables);
    let mut job = Job {
        tables: Arc::make_mut(&mut tables),
        cache,
        target: *target,
        now,
        now_ns,
        ipsets: view.ipsets.clone(),
        order: Order::default(),
        tracking: Tracking::default(),
        bodies: HashMap::new(),
        jumps: HashMap::new(),
        warnings: Vec::new(),
    };
    let done = job.run(view);
    let Job {
        order,
        tracking,
        bodies,
        jumps,
        warnings,
        ..
    } = job;
    cache.tables = Arc::clone(&tables);
    let attached = done?;
    let assembly = Assembly {
        mode: target.mode,
        cache,
        tables,
        order,
        tracking,
        bodies,
        jumps,
    };
    let program = assembly.program(&attached).map_err(nowhere)?;
    let objects = connection::objects(view, target.mode != Mode::Workbench)?;
    Ok(Compiled {
        objects: ConnectionObjects::new(objects),
        program: Arc::new(program),
        sets: cache.sets.all().to_vec(),
        cells: cache.cells.all().to_vec(),
        warnings,
    })
}

/// Blocks of every chain that is reached.
type Bodies = HashMap<ChainId, Vec<Arc<sluice_dataplane::program::Block>>>;
/// Where every chain that is reached jumps to, once for every jump.
type Jumps = HashMap<ChainId, Vec<ChainId>>;

/// One compilation.
struct Job<'a> {
    tables: &'a mut Tables,
    cache: &'a mut CompileCache,
    target: Target,
    now: u64,
    now_ns: u64,
    ipsets: IpSets,
    order: Order,
    tracking: Tracking,
    bodies: Bodies,
    jumps: Jumps,
    warnings: Vec<Warning>,
}

impl Job<'_> {
    /// Compiles all that is reached; yields the base chains that are.
    fn run<'v>(&mut self, view: &'v Ruleset) -> Result<Vec<Attached<'v>>, CompileError> {
        let mut attached = Vec::new();
        let mut stored = HashMap::new();
        for table in &view.tables {
            let failed = |cause| CompileError {
                place: Place::of_table(table),
                cause,
            };
            for chain in table.chains.values() {
                let id = self.chain(chain).map_err(failed)?;
                stored.insert(id, (&**table, &**chain));
                if let Some(base) = &chain.base
                    && !table.dormant
                    && self.runs(table, chain)?
                {
                    attached.push(Attached {
                        table,
                        chain,
                        base,
                        id,
                    });
                }
            }
        }
        // Elements of maps name chains and objects of their own table only, so sets come next.
        for table in &view.tables {
            for set in table.sets.values() {
                let place = || Place::of_table(table);
                self.shared(table)
                    .named(set)
                    .map_err(|cause| CompileError {
                        place: place(),
                        cause,
                    })?;
            }
        }
        let mut waiting: Vec<ChainId> = attached.iter().map(|one| one.id).collect();
        let mut met: HashSet<ChainId> = waiting.iter().copied().collect();
        while let Some(id) = waiting.pop() {
            let Some((table, chain)) = stored.get(&id).copied() else {
                continue;
            };
            for target in self.body(id, table, chain)? {
                if met.insert(target) {
                    waiting.push(target);
                }
            }
        }
        Ok(attached)
    }

    fn chain(&mut self, chain: &Chain) -> Result<ChainId, Cause> {
        self.cache
            .chains
            .number(ChainKey::Stored(chain.id), self.now)
    }

    fn shared<'b>(&'b mut self, table: &'b Table) -> Shared<'b> {
        Shared {
            tables: self.tables,
            chains: &mut self.cache.chains,
            sets: &mut self.cache.sets,
            cells: &mut self.cache.cells,
            logs: &mut self.cache.logs,
            now: self.now,
            now_ns: self.now_ns,
            ipsets: &self.ipsets,
            table,
        }
    }

    /// Whether a base chain runs here. One that does not is told, one that must not is refused.
    fn runs(&mut self, table: &Table, chain: &Chain) -> Result<bool, CompileError> {
        let Some(base) = &chain.base else {
            return Ok(false);
        };
        let place = Place::of_chain(table, chain);
        let mode = self.target.mode;
        if !walk::is_reached(mode, table.family, base.hook) {
            if mode != Mode::Workbench {
                let place_name = match mode {
                    Mode::Gateway => "in a gateway",
                    _ => "on a wire",
                };
                let text = format!(
                    "chain {} is never reached: no packet comes to hook {} of family {} {place_name}",
                    chain.name,
                    base.hook.keyword(),
                    table.family.keyword()
                );
                self.warnings.push(Warning { place, text });
            }
            return Ok(false);
        }
        if base.kind == ChainType::Nat {
            let nat = engines::NAT;
            if self.target.mode == Mode::Workbench {
                return Ok(false);
            }
            if self.target.engines & nat == 0 {
                let what = "a chain of type nat".to_owned();
                let engine = "address translation";
                return Err(CompileError {
                    place,
                    cause: Cause::Engine { what, engine },
                });
            }
            self.tracking.translate(table.family);
        }
        Ok(true)
    }

    /// The blocks of a chain; yields the chains that it can go to.
    fn body(
        &mut self,
        id: ChainId,
        table: &Table,
        chain: &Chain,
    ) -> Result<Vec<ChainId>, CompileError> {
        let mut blocks = Vec::new();
        let mut jumps = Vec::new();
        for chunk in chain.rules.chunks() {
            let known = self.cache.chunks.remove(&chunk.id);
            let available = self.target.engines;
            let mut shared = self.shared(table);
            let compiled = match known {
                Some(mut known) => {
                    known.touch(&mut shared);
                    known
                }
                None => CompiledChunk::new(chunk, &mut shared, available).map_err(|failed| {
                    let Failed { rule, cause } = failed;
                    CompileError {
                        place: Place::of_rule(table, chain, &rule),
                        cause,
                    }
                })?,
            };
            blocks.extend(compiled.blocks.iter().cloned());
            jumps.extend(self.targets(&compiled.blocks));
            for (anonymous, inner) in &compiled.anonymous {
                let targets = self.targets(inner);
                self.jumps.insert(*anonymous, targets.clone());
                self.bodies.insert(*anonymous, inner.clone());
                jumps.extend(targets);
            }
            self.order.add(id, &compiled.effects);
            if compiled.engines() & engines::TRACK != 0 {
                self.tracking.ask(table.family);
            }
            self.cache.chunks.insert(chunk.id, compiled);
        }
        self.bodies.insert(id, blocks);
        self.jumps.insert(id, jumps.clone());
        Ok(jumps)
    }

    /// Where blocks go to, by verdicts and by verdict maps.
    fn targets(&self, blocks: &[Arc<sluice_dataplane::program::Block>]) -> Vec<ChainId> {
        let mut targets = Vec::new();
        for block in blocks {
            targets.extend_from_slice(&block.uses().chains);
            for map in &block.uses().verdict_maps {
                targets.extend_from_slice(self.cache.sets.targets(*map));
            }
        }
        targets
    }
}

/// A program from its parts.
struct Assembly<'a> {
    mode: Mode,
    cache: &'a CompileCache,
    tables: Arc<Tables>,
    order: Order,
    tracking: Tracking,
    bodies: Bodies,
    jumps: Jumps,
}

impl Assembly<'_> {
    fn program(mut self, attached: &[Attached<'_>]) -> Result<Program, Cause> {
        let ordered = self.is_ordered(attached);
        let mut builder = ProgramBuilder::new(Arc::clone(&self.tables));
        builder.ordered(ordered);
        let mut maps = HashSet::new();
        for chain in 0..self.cache.chains.count() {
            let blocks = self.bodies.remove(&ChainId(chain)).unwrap_or_default();
            maps.extend(
                blocks
                    .iter()
                    .flat_map(|block| block.uses().verdict_maps.iter().copied()),
            );
            builder.chain(blocks);
        }
        let mut maps: Vec<_> = maps.into_iter().collect();
        maps.sort_unstable();
        for set in maps {
            let chains = self.cache.sets.targets(set).to_vec();
            if !chains.is_empty() {
                builder.map_targets(MapTargets { set, chains });
            }
        }
        for class in Class::ALL {
            let walk = match self.mode {
                Mode::Gateway => walk::gateway(class, attached, self.tracking),
                Mode::Wire | Mode::Workbench => walk::wire(class, attached, self.tracking),
            };
            builder.walk(class, walk);
        }
        Ok(builder.finish()?)
    }

    /// Whether packets must run one at a time: see [`super::effects`].
    fn is_ordered(&self, attached: &[Attached<'_>]) -> bool {
        // Ways into each chain, two standing for many. Jumps go to deeper levels only, so as many
        // rounds as there are levels are enough.
        let mut ways: HashMap<ChainId, u32> = attached.iter().map(|one| (one.id, 1)).collect();
        for _ in 0..sluice_dataplane::program::DEPTH {
            let mut next: HashMap<ChainId, u32> = attached.iter().map(|one| (one.id, 1)).collect();
            for (from, targets) in &self.jumps {
                let Some(&from) = ways.get(from) else {
                    continue;
                };
                for to in targets {
                    let ways = next.entry(*to).or_default();
                    *ways = (*ways + from).min(2);
                }
            }
            if next == ways {
                break;
            }
            ways = next;
        }
        self.order
            .matters(|chain| ways.get(&chain).copied().unwrap_or(0), &self.tables)
    }
}

impl Place {
    pub(super) fn of_ruleset() -> Self {
        Self {
            family: Family::Inet,
            table: "".into(),
            chain: None,
            handle: 0,
            line: 0,
        }
    }

    pub(super) fn of_table(table: &Table) -> Self {
        let (family, table) = (table.family, table.name.clone());
        Self {
            family,
            table,
            chain: None,
            handle: 0,
            line: 0,
        }
    }

    fn of_chain(table: &Table, chain: &Chain) -> Self {
        Self {
            chain: Some(chain.name.clone()),
            ..Self::of_table(table)
        }
    }

    fn of_rule(table: &Table, chain: &Chain, rule: &crate::store::StoredRule) -> Self {
        Self {
            handle: rule.handle,
            line: rule.line,
            ..Self::of_chain(table, chain)
        }
    }
}
