//! Shared cells (limit, quota, last, ct count, numgen) and their indices in programs.

use std::sync::Arc;

use sluice_dataplane::program::cell::Cell;
use sluice_dataplane::program::{CellId, CellKind, Tables};

use super::error::Cause;
use super::registry::Registry;

/// Cells by index; owners are the store's numbers of cells.
#[derive(Debug, Default)]
pub(super) struct Cells {
    registry: Registry<u32, CellKind>,
    cells: Vec<Arc<Cell>>,
}

impl Cells {
    /// The cell's index.
    pub(super) fn number(
        &mut self,
        key: u32,
        cell: &Arc<Cell>,
        now: u64,
        tables: &mut Tables,
    ) -> Result<CellId, Cause> {
        let kind = cell.kind();
        let number = self
            .registry
            .number(key, &kind, now, || Ok::<_, Cause>(tables.cell(kind).0))?;
        let at = number as usize;
        if at == self.cells.len() {
            self.cells.push(Arc::clone(cell));
        } else if !Arc::ptr_eq(&self.cells[at], cell) {
            self.cells[at] = Arc::clone(cell);
        }
        Ok(CellId(number))
    }

    /// Notes that the compilation `now` met the cell.
    pub(super) fn touch(&mut self, key: u32, now: u64) {
        self.registry.touch(&key, now);
    }

    /// Frees indices of cells that were last met before `since`. The cell itself stays in its
    /// place until the index is given again: a program's table wants a cell of its kind there.
    pub(super) fn sweep(&mut self, since: u64) {
        self.registry.sweep(since);
    }

    /// All cells, by index.
    pub(super) fn all(&self) -> &[Arc<Cell>] {
        &self.cells
    }

    /// Indices that nobody has.
    pub(super) fn idle(&self) -> usize {
        self.registry.idle()
    }
}
