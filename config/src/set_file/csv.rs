//! Prefix and country, or first and last address and country; separated by commas, perhaps quoted.

use super::address::{address, entry, range};
use super::{Entries, Entry, Fault, Reading, Wrong};

/// How the first column of a heading may be called.
const HEADINGS: [&str; 10] = [
    "network",
    "prefix",
    "cidr",
    "range",
    "ip",
    "ip_range",
    "start",
    "start_ip",
    "ip_range_start",
    "ip_from",
];

/// Reads a line without blanks around it. `heading`: it may be the heading.
pub(super) fn line<'t>(
    line: &'t [u8],
    reading: &Reading,
    heading: &mut bool,
    entries: &mut Entries<'t>,
) -> Result<(), Wrong<'t>> {
    if line.is_empty() || line[0] == b'#' {
        return Ok(());
    }
    let mut columns = line.split(|&byte| byte == b',').map(unquoted);
    let start = columns.next().unwrap_or_default();
    if std::mem::take(heading) && is_heading(start) {
        return Ok(());
    }
    let second = columns.next().ok_or(Wrong::new(line, Fault::Columns))?;
    let (found, country): (Entry, &[u8]) = if address(second).is_some() {
        let country = columns.next().ok_or(Wrong::new(line, Fault::Columns))?;
        (range(line, start, second)?, country)
    } else {
        (entry(start)?, second)
    };
    if country.len() != 2 || !country.iter().all(u8::is_ascii_alphanumeric) {
        return Err(Wrong::new(country, Fault::Country));
    }
    let country = country.to_ascii_uppercase();
    let country = std::str::from_utf8(&country).unwrap_or_default();
    if reading.countries.is_empty() || reading.countries.contains(country) {
        entries.push(found);
    } else {
        entries.left_out += 1;
    }
    Ok(())
}

fn unquoted(column: &[u8]) -> &[u8] {
    let column = column.trim_ascii();
    column
        .strip_prefix(b"\"")
        .and_then(|column| column.strip_suffix(b"\""))
        .unwrap_or(column)
}

fn is_heading(start: &[u8]) -> bool {
    HEADINGS
        .iter()
        .any(|name| start.eq_ignore_ascii_case(name.as_bytes()))
}
