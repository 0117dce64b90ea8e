//! What `ipset save` prints.

use super::address::entry;
use super::{Entries, Fault, Reading, Wrong};

/// Types of sets whose elements are addresses alone.
const TYPES: [&[u8]; 7] = [
    b"hash:ip",
    b"hash:net",
    b"bitmap:ip",
    b"iphash",
    b"nethash",
    b"ipmap",
    b"iptree",
];

/// Options of an element that say nothing about which packets match, and how many words follow.
const PASSED_OVER: [(&[u8], usize); 3] = [(b"packets", 1), (b"bytes", 1), (b"comment", 1)];

/// Reads a line without blanks around it.
pub(super) fn line<'t>(
    line: &'t [u8],
    reading: &Reading,
    entries: &mut Entries<'t>,
) -> Result<(), Wrong<'t>> {
    if line.is_empty() || line[0] == b'#' {
        return Ok(());
    }
    let mut words = Words(line);
    let command = words.next().unwrap_or_default();
    let is = |long: &[u8], short: &[u8]| command == long || command == short;
    let (create, add) = (is(b"create", b"-N"), is(b"add", b"-A"));
    let (true, Some(set), Some(what)) = (create || add, words.next(), words.next()) else {
        return Err(Wrong::new(line, Fault::Command));
    };
    match &reading.ipset {
        Some(wanted) if wanted.as_bytes() != set => {
            entries.left_out += u64::from(add);
            return Ok(());
        }
        Some(_) => {}
        None => match entries.set {
            Some(one) if one != set => return Err(Wrong::new(set, Fault::Sets)),
            _ => entries.set = Some(set),
        },
    }
    if create {
        return if TYPES.contains(&what) {
            Ok(())
        } else {
            Err(Wrong::new(what, Fault::Type))
        };
    }
    while let Some(option) = words.next() {
        match PASSED_OVER.iter().find(|(name, _)| *name == option) {
            Some(&(_, count)) => {
                for _ in 0..count {
                    words.next();
                }
            }
            // A permanent element of a set with timeouts.
            None if option == b"timeout" => {
                let timeout = words.next().unwrap_or_default();
                if timeout != b"0" {
                    return Err(Wrong::new(option, Fault::Option));
                }
            }
            None => return Err(Wrong::new(option, Fault::Option)),
        }
    }
    entries.push(entry(what)?);
    Ok(())
}

/// Words between blanks; one in double quotes may have blanks in it.
struct Words<'t>(&'t [u8]);

impl<'t> Iterator for Words<'t> {
    type Item = &'t [u8];

    fn next(&mut self) -> Option<&'t [u8]> {
        let rest = self.0.trim_ascii_start();
        if rest.is_empty() {
            self.0 = rest;
            return None;
        }
        let end = match rest.strip_prefix(b"\"") {
            Some(quoted) => quoted
                .iter()
                .position(|&byte| byte == b'"')
                .map_or(rest.len(), |close| close + 2),
            None => rest
                .iter()
                .position(u8::is_ascii_whitespace)
                .unwrap_or(rest.len()),
        };
        let (word, rest) = rest.split_at(end);
        self.0 = rest;
        Some(word)
    }
}
