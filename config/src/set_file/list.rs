//! One entry a line, with comments behind `#` or `;`.

use super::address::entry;
use super::{Entries, Fault, Wrong};

/// Reads a line without blanks around it.
pub(super) fn line<'t>(line: &'t [u8], entries: &mut Entries<'t>) -> Result<(), Wrong<'t>> {
    let comment = line.iter().position(|&byte| matches!(byte, b'#' | b';'));
    let text = line[..comment.unwrap_or(line.len())].trim_ascii();
    if text.is_empty() {
        return Ok(());
    }
    // Blanks may stand around the dash of a range, nowhere else.
    if let Some(blank) = text.iter().position(u8::is_ascii_whitespace)
        && !text.contains(&b'-')
    {
        return Err(Wrong::new(text[blank..].trim_ascii(), Fault::Behind));
    }
    entries.push(entry(text)?);
    Ok(())
}
