//! Files of addresses, as the publishers of blocklists write them: text to [`Contents`].
//!
//! | format | a line |
//! |---|---|
//! | [`Format::List`] | an address, a prefix or a range `a-b`; `#` and `;` begin comments |
//! | [`Format::Ipset`] | what `ipset save` prints: `create NAME ...`, `add NAME ELEMENT ...` |
//! | [`Format::Csv`] | `prefix,country`, or `first,last,country`; with or without a heading |
//!
//! Entries may overlap and stand in any order: [`Contents`] is sorted, and what overlaps is one range.
//! IPv4 and IPv6 may be mixed; a set takes what is of its family. Host bits of a prefix are cleared, as
//! nft does. A file is right as a whole or not at all: one line that cannot be read refuses it, with
//! its place and the word, and so does a file without a single entry unless that is said to be allowed,
//! because a download that failed is an empty file more often than a list is empty.
//!
//! Large files are read on all cores, cut at line ends: every line of every format stands for itself.
//!
//! Limits: no timeouts and no `nomatch` in ipset files (refused by name); comments and counters of
//! elements are not kept.

mod address;
mod contents;
mod csv;
mod ipset;
mod list;

use std::collections::BTreeSet;

use rayon::prelude::*;

pub use contents::Contents;

/// Bytes that one task reads.
const PIECE: usize = 1 << 18;

/// How a file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// An entry a line.
    #[default]
    List,
    /// `ipset save`.
    Ipset,
    /// Prefix and country.
    Csv,
}

impl Format {
    /// Names, as the appliance file has them.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("list", Self::List),
        ("ipset", Self::Ipset),
        ("csv", Self::Csv),
    ];
}

/// How a file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How it is written.
    pub format: Format,
    /// CSV: only lines of these countries, two capital letters each; empty: all.
    pub countries: BTreeSet<String>,
    /// ipset: only elements of this set; without it, the file has one set.
    pub ipset: Option<String>,
    /// A file without entries is right.
    pub allow_empty: bool,
}

/// What is wrong with a word of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither an address, nor a prefix, nor a range.
    #[error("expected an address, a prefix or a range first-last")]
    Entry,
    /// A prefix longer than the address.
    #[error("a prefix has at most {most} bits")]
    Length {
        /// 32 or 128.
        most: u8,
    },
    /// A range from IPv4 to IPv6.
    #[error("first and last address are of different families")]
    Families,
    /// A range that ends before it begins.
    #[error("the range ends before it begins")]
    Backwards,
    /// Something behind the entry.
    #[error("expected one entry a line")]
    Behind,
    /// A line that belongs to no list.
    #[error("expected \"create NAME TYPE ...\" or \"add NAME ELEMENT ...\"")]
    Command,
    /// A type of set whose elements are no addresses.
    #[error("sets of this type cannot be read; hash:ip, hash:net and bitmap:ip can")]
    Type,
    /// An option that means something that a set from a file does not have.
    #[error("elements of a file cannot have this option")]
    Option,
    /// A file with more than one set, and none was chosen.
    #[error("the file has more than one set; say which (ipset = \"NAME\")")]
    Sets,
    /// A line without its last columns.
    #[error("expected prefix,country or first,last,country")]
    Columns,
    /// No country.
    #[error("expected a country: two letters")]
    Country,
    /// No entry at all.
    #[error("no entry in the whole file (allow_empty = true if that is meant)")]
    Empty,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {}{fault}", quoted(token))]
pub struct FileError {
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The word that is wrong; empty where it is the file as a whole.
    pub token: String,
    /// What is wrong with it.
    pub fault: Fault,
}

fn quoted(token: &str) -> String {
    if token.is_empty() {
        String::new()
    } else {
        format!("\"{token}\": ")
    }
}

/// Longest piece of a wrong word that an error shows, in characters.
const SHOWN: usize = 60;

/// A wrong word on its way to a [`FileError`].
#[derive(Debug)]
struct Wrong<'t> {
    token: &'t [u8],
    fault: Fault,
}

impl<'t> Wrong<'t> {
    fn new(token: &'t [u8], fault: Fault) -> Self {
        Self { token, fault }
    }
}

/// Entries of a piece, as they come.
#[derive(Debug, Default)]
struct Entries<'t> {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    /// Entries that the country or the name of the set left out.
    left_out: u64,
    /// The set of the first line, in ipset files.
    set: Option<&'t [u8]>,
}

/// One end of an entry to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    V4(u32, u32),
    V6(u128, u128),
}

impl Entries<'_> {
    fn push(&mut self, entry: Entry) {
        match entry {
            Entry::V4(first, last) => self.v4.push((first, last)),
            Entry::V6(first, last) => self.v6.push((first, last)),
        }
    }
}

/// Reads the text of a file; `file` is its name in errors.
///
/// # Errors
/// The first line that cannot be read.
pub fn parse(file: &str, text: &[u8], reading: &Reading) -> Result<Contents, FileError> {
    let error = |at: usize, wrong: &Wrong<'_>| FileError {
        file: file.to_owned(),
        line: text[..at].iter().filter(|&&byte| byte == b'\n').count() + 1,
        token: shown(wrong.token),
        fault: wrong.fault.clone(),
    };
    // What Windows' editors put in front.
    let body = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let front = text.len() - body.len();
    let read: Vec<Result<Entries<'_>, (usize, Wrong<'_>)>> = pieces(body)
        .into_par_iter()
        .map(|(at, piece)| {
            read_piece(piece, reading, at == 0).map_err(|(within, wrong)| (at + within, wrong))
        })
        .collect();
    let mut parts = Vec::with_capacity(read.len());
    let mut set: Option<&[u8]> = None;
    for part in read {
        let part = part.map_err(|(at, wrong)| error(front + at, &wrong))?;
        match (set, part.set) {
            (Some(one), Some(other)) if one != other => {
                let at = other.as_ptr() as usize - text.as_ptr() as usize;
                return Err(error(at, &Wrong::new(other, Fault::Sets)));
            }
            _ => set = set.or(part.set),
        }
        parts.push(part);
    }
    let contents = Contents::of(parts);
    if contents.entries == 0 && !reading.allow_empty {
        return Err(error(0, &Wrong::new(b"", Fault::Empty)));
    }
    Ok(contents)
}

/// Pieces of whole lines, with their places.
fn pieces(text: &[u8]) -> Vec<(usize, &[u8])> {
    let mut pieces = Vec::with_capacity(text.len() / PIECE + 1);
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let end = rest
            .get(PIECE..)
            .and_then(|behind| behind.iter().position(|&byte| byte == b'\n'))
            .map_or(rest.len(), |line_end| PIECE + line_end + 1);
        pieces.push((at, &rest[..end]));
        at += end;
    }
    pieces
}

fn read_piece<'t>(
    piece: &'t [u8],
    reading: &Reading,
    first: bool,
) -> Result<Entries<'t>, (usize, Wrong<'t>)> {
    let mut entries = Entries::default();
    let mut at = 0;
    // A heading may stand in the first line that has something.
    let mut heading = first;
    for line in piece.split(|&byte| byte == b'\n') {
        let text = line.trim_ascii();
        let done = match reading.format {
            Format::List => list::line(text, &mut entries),
            Format::Ipset => ipset::line(text, reading, &mut entries),
            Format::Csv => csv::line(text, reading, &mut heading, &mut entries),
        };
        done.map_err(|wrong| (at, wrong))?;
        at += line.len() + 1;
    }
    Ok(entries)
}

fn shown(token: &[u8]) -> String {
    let text = String::from_utf8_lossy(token);
    let mut short: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(SHOWN)
        .collect();
    if text.chars().count() > SHOWN {
        short.push('\u{2026}');
    }
    short
}

#[cfg(test)]
mod tests;
