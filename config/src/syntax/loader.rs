//! How the parser gets at files: by asking someone who may read them.
//!
//! The client reads with its own rights while it parses once ([`Recorder`] around [`Files`]), and sends what
//! it read as a [`Bundle`]; the daemon parses the same from the bundle. Limits of a bundle are those of the request
//! that carries it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Reads files and expands patterns.
pub trait Loader {
    /// The text of a file. The error is the system's reason (`No such file or directory`).
    ///
    /// # Errors
    /// The file cannot be read.
    fn read(&mut self, path: &str) -> Result<Arc<str>, String>;

    /// What a pattern matches, sorted by bytes; directories end in `/`. A pattern without wildcards matches
    /// itself if it exists. `*`, `?` and `[]` do not match a leading dot, nor a slash.
    fn glob(&mut self, pattern: &str) -> Vec<String>;
}

/// The file system of this process.
#[derive(Debug, Default)]
pub struct Files;

impl Loader for Files {
    fn read(&mut self, path: &str) -> Result<Arc<str>, String> {
        if path == "/dev/stdin" {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
                .map_err(|e| reason(&e))?;
            return Ok(text(bytes));
        }
        match std::fs::read(path) {
            Ok(bytes) => Ok(text(bytes)),
            Err(error) => Err(reason(&error)),
        }
    }

    fn glob(&mut self, pattern: &str) -> Vec<String> {
        let (root, rest) = match pattern.strip_prefix('/') {
            Some(rest) => ("/", rest),
            None => ("", pattern),
        };
        let mut found = vec![root.to_owned()];
        let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            found = found
                .iter()
                .flat_map(|base| expand(base, part, last))
                .collect();
        }
        found.retain(|path| !path.is_empty());
        found.sort_unstable();
        found
    }
}

/// Entries of the folder `base` (which ends in `/` or is empty) that match one part of a pattern.
fn expand(base: &str, part: &str, last: bool) -> Vec<String> {
    let finish = |path: String| match (last, std::fs::metadata(&path)) {
        (_, Ok(data)) if data.is_dir() => Some(path + "/"),
        (true, Ok(_)) => Some(path),
        // A dangling link is there all the same.
        (true, Err(_)) if std::fs::symlink_metadata(&path).is_ok() => Some(path),
        _ => None,
    };
    if !part.contains(['*', '?', '[']) {
        return finish(format!("{base}{part}")).into_iter().collect();
    }
    let folder = if base.is_empty() {
        Path::new(".")
    } else {
        Path::new(base)
    };
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            (!name.starts_with('.') || part.starts_with('.'))
                && matches(part.as_bytes(), name.as_bytes())
        })
        .filter_map(|name| finish(format!("{base}{name}")))
        .collect()
}

/// Whether a name matches one part of a pattern. Takes at most pattern x name steps.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], name[n]),
            Some(&byte) => (byte == name[n]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(length), _) => {
                p += length;
                n += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&b| b == b'*')
}

/// The length of a bracket expression if it matches the byte; an unclosed bracket stands for itself.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = 1 + usize::from(negated);
    let Some(length) = pattern
        .iter()
        .skip(first + 1)
        .position(|&b| b == b']')
        .map(|at| at + first + 1)
    else {
        return (byte == b'[').then_some(1);
    };
    let members = &pattern[first..length];
    let mut hit = false;
    let mut at = 0;
    while at < members.len() {
        if members.get(at + 1) == Some(&b'-') && at + 2 < members.len() {
            hit |= (members[at]..=members[at + 2]).contains(&byte);
            at += 3;
        } else {
            hit |= members[at] == byte;
            at += 1;
        }
    }
    (hit != negated).then_some(length + 1)
}

/// Bytes that are not UTF-8 can only stand in comments and strings; they are replaced.
fn text(bytes: Vec<u8>) -> Arc<str> {
    match String::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into(),
    }
}

/// The reason as the C library words it.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// All files that a parse asked for, with the answers. Missing files and empty patterns are answers too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// Path and text, or the reason why there is none.
    pub files: BTreeMap<String, Result<Arc<str>, String>>,
    /// Pattern and what it matched.
    pub globs: BTreeMap<String, Vec<String>>,
}

impl Loader for Bundle {
    fn read(&mut self, path: &str) -> Result<Arc<str>, String> {
        self.files
            .get(path)
            .cloned()
            .unwrap_or_else(|| Err("No such file or directory".to_owned()))
    }

    fn glob(&mut self, pattern: &str) -> Vec<String> {
        self.globs.get(pattern).cloned().unwrap_or_default()
    }
}

/// Passes questions on and keeps the answers. A file is read once, also when it is included twice.
#[derive(Debug, Default)]
pub struct Recorder<L> {
    loader: L,
    bundle: Bundle,
}

impl<L> Recorder<L> {
    /// Around another loader.
    pub fn new(loader: L) -> Self {
        Self {
            loader,
            bundle: Bundle::default(),
        }
    }

    /// What was asked and answered.
    pub fn into_bundle(self) -> Bundle {
        self.bundle
    }
}

impl<L: Loader> Loader for Recorder<L> {
    fn read(&mut self, path: &str) -> Result<Arc<str>, String> {
        if let Some(known) = self.bundle.files.get(path) {
            return known.clone();
        }
        let answer = self.loader.read(path);
        self.bundle.files.insert(path.to_owned(), answer.clone());
        answer
    }

    fn glob(&mut self, pattern: &str) -> Vec<String> {
        if let Some(known) = self.bundle.globs.get(pattern) {
            return known.clone();
        }
        let answer = self.loader.glob(pattern);
        self.bundle.globs.insert(pattern.to_owned(), answer.clone());
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_the_shell_does() {
        for (pattern, name, expected) in [
            ("*.nft", "a.nft", true),
            ("*.nft", "a.nf", false),
            ("a*b*c", "aXbYbZc", true),
            ("?.x", "a.x", true),
            ("[a-c]1", "b1", true),
            ("[!a-c]1", "b1", false),
            ("[]x]", "]", true),
            ("[x", "[x", true),
            ("*", "", true),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}
