//! Complaints about a ruleset, printed as nft prints them.
//!
//! `file:line:first-last: Error: message`, the line, and carets under what is meant. Tabs of the line
//! are kept in the caret line, so that both stay aligned in a terminal.

use std::fmt::Write as _;

use super::source::{Source, SourceKind, SourceMap, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Nothing is done.
    Error,
    /// It is done nevertheless.
    Warning,
}

/// One complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is meant: carets.
    pub span: Option<Span>,
    /// What else has to do with it: tildes.
    pub related: Vec<Span>,
    /// The text, without "Error: ".
    pub message: String,
}

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: Some(span),
            related: Vec::new(),
            message: message.into(),
        }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    /// An error that is nowhere in the text.
    #[must_use]
    pub fn general(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            span: None,
            related: Vec::new(),
            message: message.into(),
        }
    }

    /// Adds a place that has to do with it.
    #[must_use]
    pub fn with_related(mut self, span: Span) -> Self {
        self.related.push(span);
        self
    }

    /// The text that nft would print, with the last end of line.
    #[must_use]
    pub fn render(&self, sources: &SourceMap) -> String {
        let mut out = String::new();
        let kind = match self.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        };
        let place = self
            .span
            .and_then(|s| Some((s, sources.get(s.source)?, sources.position(s)?)));
        let Some((span, source, position)) = place else {
            let _ = writeln!(out, "{kind}: {}", self.message);
            return out;
        };
        if source.kind == SourceKind::File {
            self.print_includes(&mut out, sources, source);
            let _ = write!(
                out,
                "{}:{}:{}-{}: ",
                source.name, position.line, position.first_column, position.last_column
            );
        }
        if source.kind == SourceKind::Internal {
            // There is no line to show, only its end.
            let _ = writeln!(out, "internal:0:0-0: {kind}: {}\n", self.message);
            return out;
        }
        let _ = writeln!(out, "{kind}: {}", self.message);
        let _ = writeln!(out, "{}", position.text);
        let _ = writeln!(out, "{}", self.carets(sources, span, position.text));
        out
    }

    fn print_includes(&self, out: &mut String, sources: &SourceMap, source: &Source) {
        let mut at = source.included_from;
        let mut first = true;
        while let Some(span) = at {
            let (Some(from), Some(position)) = (sources.get(span.source), sources.position(span))
            else {
                break;
            };
            let lead = if first {
                "In file included from"
            } else {
                "                 from"
            };
            let _ = writeln!(
                out,
                "{lead} {}:{}:{}-{}:",
                from.name, position.line, position.first_column, position.last_column
            );
            first = false;
            at = from.included_from;
        }
    }

    fn carets(&self, sources: &SourceMap, span: Span, line: &str) -> String {
        let marks = self
            .related
            .iter()
            .map(|&s| (s, b'~'))
            .chain([(span, b'^')]);
        let mut row: Vec<u8> = Vec::new();
        let columns: Vec<_> = marks
            .filter(|(s, _)| s.source == span.source)
            .filter_map(|(s, mark)| {
                sources
                    .position(s)
                    .map(|p| (p.first_column as usize, p.last_column as usize, mark))
            })
            .collect();
        let end = columns.iter().map(|c| c.1).max().unwrap_or(0);
        row.resize(end, b' ');
        for (cell, byte) in row.iter_mut().zip(line.bytes()) {
            if byte == b'\t' {
                *cell = b'\t';
            }
        }
        for (first, last, mark) in columns {
            for cell in row.iter_mut().take(last).skip(first.max(1) - 1) {
                *cell = mark;
            }
        }
        String::from_utf8(row).unwrap_or_default()
    }
}

/// All complaints, one after the other.
#[must_use]
pub fn render_all(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    diagnostics.iter().map(|d| d.render(sources)).collect()
}
