//! `nft monitor`: changes and traced packets as they happen, from the event stream.

use std::io::{self, Write};

use super::{Failed, wait};
use crate::api::wire::{Event, Happening};
use crate::client::Client;

/// What is monitored: `monitor [new|destroy] [tables|chains|sets|rules|elements|ruleset]`, or
/// `monitor trace`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Monitor {
    trace: bool,
    added: Option<bool>,
    nouns: &'static [&'static str],
}

/// The objects that nft's grammar names, with the nouns of their changes.
const OBJECTS: &[(&str, &[&str])] = &[
    ("ruleset", &[]),
    ("tables", &["table"]),
    ("chains", &["chain"]),
    ("sets", &["set", "map"]),
    ("rules", &["rule"]),
    ("elements", &["element"]),
];

impl Monitor {
    /// Reads the words of a command line; `None` when they are another command.
    ///
    /// # Errors
    /// When it is monitor with a word that it does not know.
    pub(super) fn parse(words: &[String]) -> Option<Result<Self, String>> {
        let mut words: Vec<&str> = words
            .iter()
            .flat_map(|word| word.split_whitespace())
            .collect();
        if words.first() != Some(&"monitor") {
            return None;
        }
        words.remove(0);
        let mut monitor = Self::default();
        if words == ["trace"] {
            monitor.trace = true;
            return Some(Ok(monitor));
        }
        if let Some(first @ (&"new" | &"destroy")) = words.first() {
            monitor.added = Some(*first == "new");
            words.remove(0);
        }
        let object = match words[..] {
            [] => Some(&OBJECTS[0]),
            [word] => OBJECTS.iter().find(|(name, _)| *name == word),
            _ => None,
        };
        Some(match object {
            Some((_, nouns)) => Ok(Self { nouns, ..monitor }),
            None => {
                let all: Vec<&str> = OBJECTS.iter().map(|(name, _)| *name).collect();
                let all = all.join("|");
                Err(format!(
                    "sluice: monitor takes [new|destroy] [{all}], or trace; not \"{}\"\n",
                    words.join(" ")
                ))
            }
        })
    }

    /// Follows until the daemon ends.
    ///
    /// # Errors
    /// When the daemon cannot be reached or refuses.
    pub(super) fn run(self, client: &Client) -> Result<(), Failed> {
        let kind = if self.trace { "trace" } else { "change" };
        wait(client.follow(&format!("/v1/events?kind={kind}"), |line| {
            let event: Event = serde_json::from_str(line).map_err(io::Error::other)?;
            let mut out = io::stdout().lock();
            match event.what {
                Happening::Trace { packet, text } => {
                    writeln!(out, "trace id {packet:08x} {text}")?;
                }
                Happening::Change {
                    generation,
                    by,
                    changes,
                } => {
                    for change in changes.iter().filter(|change| self.wants(change)) {
                        writeln!(out, "{}", change.trim_end())?;
                    }
                    if self.nouns.is_empty() && self.added.is_none() {
                        writeln!(out, "# new generation {generation} by {by}")?;
                    }
                }
                Happening::Lost { count } => writeln!(out, "# {count} events lost")?,
                _ => {}
            }
            out.flush()?;
            Ok(true)
        }))
    }

    /// Whether a change, in nft's words (`delete rule inet ...`), is wanted.
    fn wants(self, change: &str) -> bool {
        let mut words = change.split_whitespace();
        let gone = matches!(words.next(), Some("delete" | "destroy"));
        let noun = words.next().unwrap_or_default();
        self.added.is_none_or(|added| added != gone)
            && (self.nouns.is_empty() || self.nouns.contains(&noun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(line: &str) -> Option<Result<Monitor, String>> {
        Monitor::parse(&[line.to_owned()])
    }

    #[test]
    fn words_choose_changes() {
        assert!(monitor("list ruleset").is_none());
        assert!(monitor("monitor weather").unwrap().is_err());
        assert!(monitor("monitor rules new").unwrap().is_err());
        assert!(monitor("monitor trace").unwrap().unwrap().trace);
        let all = monitor("monitor").unwrap().unwrap();
        assert_eq!(monitor("monitor ruleset"), Some(Ok(all)));
        let rules = monitor("monitor destroy rules").unwrap().unwrap();
        for (change, by_all, by_rules) in [
            ("add rule inet t c accept", true, false),
            ("delete rule inet t c handle 4", true, true),
            ("delete table inet t", true, false),
        ] {
            assert_eq!(
                (all.wants(change), rules.wants(change)),
                (by_all, by_rules),
                "{change}"
            );
        }
        let sets = monitor("monitor new sets").unwrap().unwrap();
        assert!(sets.wants("add map ip t m { type mark : mark; }"));
        assert!(!sets.wants("add element ip t m { 1 : 2 }"));
    }
}
