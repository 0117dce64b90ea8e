//! What control publishes and workers read: a program with everything it refers to by index, and
//! the table of ports.
//!
//! A generation is immutable but for the state that packets change (sets, cells, counters), which
//! is shared with the generations before and after it. A packet sees one generation from its
//! first hook to its last.

use std::sync::Arc;

use crate::gateway::Gateway;
use crate::port::PortId;
use crate::program::cell::Cell;
use crate::program::counters::Counters;
use crate::program::lane_set::LaneSet;
use crate::program::op::engines;
use crate::program::tables::{CellKind, SetDesc};
use crate::program::walk::NameWords;
use crate::program::{Program, name_words};
use crate::worker::connection::ConnectionObjects;

/// What rules can know of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortInfo {
    /// The name that `iifname` and `oifname` see.
    pub name: String,
    /// The same as a number.
    pub name_words: NameWords,
    /// The number that `iif` and `oif` see: the device's interface index.
    pub index: u32,
    /// ARPHRD type; 1 is Ethernet.
    pub arphrd: u16,
    /// Group of the port.
    pub group: u32,
    /// Driver, as `iifkind` sees it.
    pub kind: NameWords,
    /// The pair's name, as `ibrname` sees it; zero when it has none.
    pub bridge: NameWords,
    /// The device's own address.
    pub mac: [u8; 6],
    /// Wire: where frames from here go.
    pub peer: Option<PortId>,
}

impl PortInfo {
    /// An Ethernet port without peer, group or bridge name.
    pub fn new(name: &str, index: u32, kind: &str) -> Self {
        Self {
            name: name.to_owned(),
            name_words: name_words(name),
            index,
            arphrd: 1,
            group: 0,
            kind: name_words(kind),
            bridge: [0; 4],
            mac: [0; 6],
            peer: None,
        }
    }
}

/// The ports, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortTable {
    ports: Vec<Option<PortInfo>>,
    gateway: Option<Arc<Gateway>>,
}

impl PortTable {
    /// What routes between the ports; none on a wire.
    #[inline]
    pub fn gateway(&self) -> Option<&Arc<Gateway>> {
        self.gateway.as_ref()
    }

    /// Sets what routes between the ports.
    pub fn set_gateway(&mut self, gateway: Option<Arc<Gateway>>) {
        self.gateway = gateway;
    }

    /// Sets or takes away a port.
    pub fn set(&mut self, id: PortId, info: Option<PortInfo>) {
        let index = usize::from(id.0);
        if self.ports.len() <= index {
            self.ports.resize(index + 1, None);
        }
        self.ports[index] = info;
    }

    /// The port of this number.
    #[inline]
    pub fn get(&self, id: PortId) -> Option<&PortInfo> {
        self.ports.get(usize::from(id.0))?.as_ref()
    }

    /// The port of this interface index.
    pub fn by_index(&self, index: u32) -> Option<PortId> {
        let found = |info: &Option<PortInfo>| info.as_ref().is_some_and(|info| info.index == index);
        self.ports
            .iter()
            .position(found)
            .map(|id| PortId(id as u16))
    }

    /// All ports with their numbers.
    pub fn iter<'a>(&'a self) -> impl Iterator<Item = (PortId, &'a PortInfo)> {
        let numbered = |(id, info): (usize, &'a Option<PortInfo>)| {
            info.as_ref().map(|info| (PortId(id as u16), info))
        };
        self.ports.iter().enumerate().filter_map(numbered)
    }
}

/// Why a program and its surroundings are not published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another number of sets or cells than the program's tables have.
    #[error("the program refers to {expected} {what}, {found} are there")]
    Count {
        /// Sets or cells.
        what: &'static str,
        /// How many the program has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A set of another shape than the program's table says.
    #[error("set {index} is {found:?}, the program has it as {expected:?}")]
    Set {
        /// Its index.
        index: usize,
        /// What the program says.
        expected: SetDesc,
        /// What it is.
        found: SetDesc,
    },
    /// A cell of another kind than the program's table says.
    #[error("cell {index} is a {found:?}, the program has it as {expected:?}")]
    Cell {
        /// Its index.
        index: usize,
        /// What the program says.
        expected: CellKind,
        /// What it is.
        found: CellKind,
    },
    /// Counter slots without memory.
    #[error("the program counts in {needed} slots, {there} have memory")]
    Counters {
        /// Slots of the program.
        needed: u32,
        /// Slots with memory.
        there: u32,
    },
    /// Something that this dataplane does not have.
    #[error("the ruleset needs {0}, which this dataplane does not have")]
    Engine(&'static str),
}

/// One published state.
#[derive(Debug)]
pub struct Generation {
    number: u64,
    program: Arc<Program>,
    sets: Vec<Arc<dyn LaneSet>>,
    cells: Vec<Arc<Cell>>,
    counters: Arc<Counters>,
    ports: Arc<PortTable>,
    objects: Arc<ConnectionObjects>,
}

impl Generation {
    /// Puts a generation together; `engines` is what the dataplane has, as bits of
    /// [`engines`](crate::program::op::engines).
    ///
    /// # Errors
    /// When program and surroundings do not fit, or the program needs an engine that is not
    /// there.
    pub fn new(
        number: u64,
        program: Arc<Program>,
        sets: Vec<Arc<dyn LaneSet>>,
        cells: Vec<Arc<Cell>>,
        counters: Arc<Counters>,
        ports: Arc<PortTable>,
        engines: u32,
    ) -> Result<Self, Refusal> {
        check_sets(program.tables().sets(), &sets)?;
        check_cells(program.tables().cells(), &cells)?;
        let (needed, there) = (program.counters(), counters.capacity());
        if needed > there {
            return Err(Refusal::Counters { needed, there });
        }
        let missing = program.engines() & !engines;
        if let Some((_, name)) = engines::NAMES.iter().find(|(bit, _)| missing & bit != 0) {
            return Err(Refusal::Engine(name));
        }
        Ok(Self {
            number,
            program,
            sets,
            cells,
            counters,
            ports,
            objects: Arc::default(),
        })
    }

    /// The same with the objects that its rules name.
    #[must_use]
    pub fn with_objects(mut self, objects: ConnectionObjects) -> Self {
        self.objects = Arc::new(objects);
        self
    }

    /// The generation that lets everything through between these ports.
    pub fn open(number: u64, ports: Arc<PortTable>, workers: usize) -> Self {
        let program = match ports.gateway() {
            Some(_) => Program::bare_gateway(),
            None => Program::empty(),
        };
        Self {
            number,
            program: Arc::new(program),
            sets: Vec::new(),
            cells: Vec::new(),
            counters: Arc::new(Counters::new(workers)),
            ports,
            objects: Arc::default(),
        }
    }

    /// The same rules over another table of ports.
    pub fn with_ports(&self, number: u64, ports: Arc<PortTable>) -> Self {
        Self {
            number,
            program: Arc::clone(&self.program),
            sets: self.sets.clone(),
            cells: self.cells.clone(),
            counters: Arc::clone(&self.counters),
            ports,
            objects: Arc::clone(&self.objects),
        }
    }

    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The rules.
    #[inline]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// Sets by index.
    #[inline]
    pub fn sets(&self) -> &[Arc<dyn LaneSet>] {
        &self.sets
    }

    /// Cells by index.
    #[inline]
    pub fn cells(&self) -> &[Arc<Cell>] {
        &self.cells
    }

    /// The counters.
    #[inline]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Objects that steer connections.
    #[inline]
    pub fn objects(&self) -> &Arc<ConnectionObjects> {
        &self.objects
    }

    /// The ports.
    #[inline]
    pub fn ports(&self) -> &Arc<PortTable> {
        &self.ports
    }
}

fn check_sets(expected: &[SetDesc], sets: &[Arc<dyn LaneSet>]) -> Result<(), Refusal> {
    if expected.len() != sets.len() {
        let (expected, found) = (expected.len(), sets.len());
        return Err(Refusal::Count {
            what: "sets",
            expected,
            found,
        });
    }
    for (index, (expected, set)) in expected.iter().zip(sets).enumerate() {
        let found = set.desc();
        if *expected != found {
            return Err(Refusal::Set {
                index,
                expected: expected.clone(),
                found,
            });
        }
    }
    Ok(())
}

fn check_cells(expected: &[CellKind], cells: &[Arc<Cell>]) -> Result<(), Refusal> {
    if expected.len() != cells.len() {
        let (expected, found) = (expected.len(), cells.len());
        return Err(Refusal::Count {
            what: "cells",
            expected,
            found,
        });
    }
    for (index, (&expected, cell)) in expected.iter().zip(cells).enumerate() {
        let found = cell.kind();
        if expected != found {
            return Err(Refusal::Cell {
                index,
                expected,
                found,
            });
        }
    }
    Ok(())
}
