//! Where text came from: sources (files, standard input, the command line) and spans in them.
//!
//! A span is three numbers and stays valid as long as the [`SourceMap`] that it belongs to; everything
//! that the parser yields carries spans, so that a later stage can complain about the very token.
//! Limits: 4 GiB of text a source.

/// Index of a source in its [`SourceMap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u32);

/// A range of bytes, `start..end`, in one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// The source that the offsets count in.
    pub source: SourceId,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset behind the last byte.
    pub end: u32,
}

impl Span {
    /// From the beginning of `self` to the end of `other`, as nft merges locations.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        if self.source == other.source {
            Span {
                source: self.source,
                start: self.start,
                end: other.end.max(self.start),
            }
        } else {
            other
        }
    }

    /// The place of something that has no token of its own: the last byte of what came before.
    #[must_use]
    pub fn behind(self) -> Span {
        Span {
            start: self.end.saturating_sub(1),
            ..self
        }
    }
}

/// A name or value with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// What was written.
    pub value: T,
    /// Where.
    pub span: Span,
}

/// What kind of input a source is; it decides how diagnostics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A file with a name, `-` read as standard input included.
    File,
    /// The arguments of a command line, joined by spaces: diagnostics give no position in words.
    CommandLine,
    /// Text made by the program (`-D` definitions).
    Internal,
}

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name that diagnostics print.
    pub name: String,
    /// The whole text.
    pub text: std::sync::Arc<str>,
    /// What it is.
    pub kind: SourceKind,
    /// The `include` statement that asked for it.
    pub included_from: Option<Span>,
}

/// Line (from 1), columns (from 1, last one inclusive) and the text of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// Line number, from 1.
    pub line: u32,
    /// First column in bytes, from 1.
    pub first_column: u32,
    /// Last column in bytes, inclusive. Counted on the last line of the span.
    pub last_column: u32,
    /// The line in which the span begins, without its end of line.
    pub text: &'a str,
}

/// All sources of one parse.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    sources: Vec<Source>,
}

impl SourceMap {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a source and gives its identifier.
    pub fn add(&mut self, source: Source) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        self.sources.push(source);
        id
    }

    /// The source with that identifier.
    #[must_use]
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(id.0 as usize)
    }

    /// All sources in the order in which they were read.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// How many includes lead to this source (1 for a source that was not included).
    #[must_use]
    pub fn depth(&self, id: SourceId) -> usize {
        let mut depth = 1;
        let mut at = self.get(id).and_then(|s| s.included_from);
        while let Some(span) = at {
            depth += 1;
            at = self.get(span.source).and_then(|s| s.included_from);
        }
        depth
    }

    /// The text that a span covers.
    #[must_use]
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source)
            .and_then(|s| s.text.get(span.start as usize..span.end as usize))
            .unwrap_or("")
    }

    /// Line and columns of a span.
    #[must_use]
    pub fn position(&self, span: Span) -> Option<Position<'_>> {
        let source = self.get(span.source)?;
        let bytes = source.text.as_bytes();
        let start = (span.start as usize).min(bytes.len());
        let end = (span.end as usize).max(start + 1);
        let line_start = begin_of_line(bytes, start);
        let last_start = begin_of_line(bytes, end - 1);
        let line = 1 + bytes[..line_start].iter().filter(|&&b| b == b'\n').count();
        let shown = match source.kind {
            // Only the first line of a command line is kept.
            SourceKind::CommandLine => 0,
            // The end of a text that ends with a line shows that line.
            _ if start == bytes.len() && line_start == start => {
                begin_of_line(bytes, start.saturating_sub(1))
            }
            _ => line_start,
        };
        Some(Position {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            first_column: column(start - line_start),
            last_column: column(end - 1 - last_start),
            text: source
                .text
                .get(shown..end_of_line(bytes, shown))
                .unwrap_or(""),
        })
    }
}

fn begin_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[..at.min(bytes.len())]
        .iter()
        .rposition(|&b| b == b'\n')
        .map_or(0, |newline| newline + 1)
}

fn end_of_line(bytes: &[u8], at: usize) -> usize {
    bytes[at..]
        .iter()
        .position(|&b| b == b'\n')
        .map_or(bytes.len(), |length| at + length)
}

fn column(offset: usize) -> u32 {
    u32::try_from(offset + 1).unwrap_or(u32::MAX)
}
