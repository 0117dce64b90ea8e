//! A table for a person: columns as wide as their widest cell, numbers to the right.

use std::fmt;

/// Rows under a heading.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(heading: &[&'static str]) -> Self {
        Self {
            heading: heading.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, one cell per column.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// A column of numbers stands to the right.
    fn is_number(&self, column: usize) -> bool {
        let cells = || self.rows.iter().filter_map(|row| row.get(column));
        cells().next().is_some()
            && cells().all(|cell| {
                cell.chars()
                    .all(|c| c.is_ascii_digit() || ".%-".contains(c))
            })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading: Vec<String> = self.heading.iter().map(|cell| (*cell).to_owned()).collect();
        let width = |column: usize| {
            let cells = std::iter::once(&heading).chain(&self.rows);
            cells
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
        };
        for row in std::iter::once(&heading).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = width(column).unwrap_or_default();
                let separator = if column == 0 { "" } else { "  " };
                if self.is_number(column) {
                    line += &format!("{separator}{cell:>width$}");
                } else {
                    line += &format!("{separator}{cell:<width$}");
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_numbers_stand_right() {
        let mut table = Table::new(&["PORT", "FRAMES", "PEER"]);
        table.row(["left".into(), "7".into(), "right".into()]);
        table.row(["a-long-name".into(), "12345".into(), String::new()]);
        assert_eq!(
            table.to_string(),
            "PORT         FRAMES  PEER\nleft              7  right\na-long-name   12345\n"
        );
    }
}
