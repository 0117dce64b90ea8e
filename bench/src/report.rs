//! Figures as a table for a person and as JSON for a program.

use std::process::ExitCode;

use serde::Serialize;

/// One measured figure: median and range of several runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The middle of the runs.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub greatest: f64,
    /// How many runs.
    pub runs: usize,
}

impl Figure {
    /// The figure of these samples; NaN without any.
    pub(crate) fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(f64::NAN);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            (at(middle.wrapping_sub(1)) + at(middle)) / 2.0
        };
        Self {
            median,
            least: at(0),
            greatest: at(sorted.len().wrapping_sub(1)),
            runs: sorted.len(),
        }
    }
}

/// A row: what was measured, and its figures in the order of the columns.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub name: String,
    /// One figure per column; `None` where there is none.
    pub figures: Vec<Option<Figure>>,
    /// What the reader has to know about this row.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remark: String,
}

/// A table with its title.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Table {
    /// What it is about.
    pub title: String,
    /// Names of the columns, with their units.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// An empty table.
    pub(crate) fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Appends a row.
    pub(crate) fn push(&mut self, name: impl Into<String>, figures: Vec<Option<Figure>>) {
        self.rows.push(Row {
            name: name.into(),
            figures,
            remark: String::new(),
        });
    }

    /// Says of the row pushed last what its reader has to know.
    pub(crate) fn remark(&mut self, text: String) {
        if let Some(row) = self.rows.last_mut() {
            row.remark = text;
        }
    }
}

/// What a suite found: tables, and the goals that it holds itself to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The tables.
    pub tables: Vec<Table>,
    /// Goals, each with the figure reached.
    pub goals: Vec<Goal>,
}

/// A goal and what was reached.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Goal {
    /// What is asked.
    pub goal: String,
    /// What was reached.
    pub reached: String,
    /// Whether that is enough.
    pub met: bool,
}

impl Goal {
    /// A goal with its outcome.
    pub(crate) fn new(goal: &str, reached: String, met: bool) -> Self {
        Self {
            goal: goal.to_owned(),
            reached,
            met,
        }
    }
}

/// Prints the report. A goal that is missed is told, not an error: the figures are the result.
pub(crate) fn finish(outcome: anyhow::Result<Report>, json: bool) -> ExitCode {
    match outcome {
        Ok(report) if json => match serde_json::to_string_pretty(&report) {
            Ok(text) => {
                println!("{text}");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error.into()),
        },
        Ok(report) => {
            print!("{}", text(&report));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("bench: {error:#}");
    ExitCode::FAILURE
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    for table in &report.tables {
        out.push_str(&format!("\n{}\n", table.title));
        let cells: Vec<Vec<String>> = table.rows.iter().map(cells).collect();
        let width = |column: usize| {
            let title = if column == 0 {
                0
            } else {
                table.columns[column - 1].len()
            };
            cells
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
                .max(title)
        };
        let widths: Vec<usize> = (0..=table.columns.len()).map(width).collect();
        out.push_str(&format!("  {:w$}", "", w = widths[0]));
        for (column, width) in table.columns.iter().zip(&widths[1..]) {
            out.push_str(&format!("  {column:>width$}"));
        }
        out.push('\n');
        for (row, cells) in table.rows.iter().zip(&cells) {
            out.push_str(&format!("  {:w$}", cells[0], w = widths[0]));
            for (cell, width) in cells[1..].iter().zip(&widths[1..]) {
                out.push_str(&format!("  {cell:>width$}"));
            }
            if !row.remark.is_empty() {
                out.push_str(&format!("  {}", row.remark));
            }
            out.push('\n');
        }
    }
    if !report.goals.is_empty() {
        out.push_str("\nGoals\n");
    }
    for goal in &report.goals {
        let mark = if goal.met { "met   " } else { "MISSED" };
        out.push_str(&format!("  {mark}  {}: {}\n", goal.goal, goal.reached));
    }
    out
}

fn cells(row: &Row) -> Vec<String> {
    let figure = |figure: &Option<Figure>| match figure {
        None => "-".to_owned(),
        Some(one) if one.runs < 2 => number(one.median),
        Some(many) => format!(
            "{} ({}-{})",
            number(many.median),
            number(many.least),
            number(many.greatest)
        ),
    };
    std::iter::once(row.name.clone())
        .chain(row.figures.iter().map(figure))
        .collect()
}

/// Three significant digits.
fn number(value: f64) -> String {
    let digits = if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    };
    format!("{value:.*}", (2 - digits).clamp(0, 6) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_lies_in_the_middle() {
        assert_eq!(Figure::of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Figure::of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert!(Figure::of(&[]).median.is_nan());
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(number(0.0123), "0.0123");
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(123456.0), "123456");
    }
}
