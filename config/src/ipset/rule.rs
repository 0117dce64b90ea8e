//! What a rule does with a set of ipset: `ipset "name" src,dst ...` of the language.

use std::fmt::Write;

/// Most directions.
pub const DIRECTIONS: usize = 6;

/// A rule's use of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsetUse {
    /// The set's name.
    pub set: String,
    /// For each part of an element, whether it is taken from where the packet goes.
    pub destinations: Vec<bool>,
    /// What is done.
    pub action: Action,
}

/// What is done with a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The rule goes on if the packet is in the set, or if it is not.
    Match(Matching),
    /// The packet is added.
    Add {
        /// One that is there gets its time anew.
        exist: bool,
        /// Its time; without one the set's own.
        timeout_ms: Option<u64>,
    },
    /// The packet is deleted.
    Delete,
    /// The packet gets what its element has.
    Map {
        /// Its mark.
        mark: bool,
        /// Its class.
        prio: bool,
    },
}

/// What is asked of a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matching {
    /// What is not in the set.
    pub negated: bool,
    /// Exceptions match, and nothing else.
    pub return_nomatch: bool,
    /// Counters stay.
    pub no_counters: bool,
    /// Counters of a list's members stay.
    pub no_subcounters: bool,
    /// What its packets must be.
    pub packets: Option<(Relation, u64)>,
    /// What its bytes must be.
    pub bytes: Option<(Relation, u64)>,
}

/// How a counter is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Greater.
    Gt,
}

impl IpsetUse {
    /// As it is listed; `duration` writes times.
    pub fn print(&self, out: &mut String, duration: impl Fn(u64) -> String) {
        out.push_str("ipset ");
        match &self.action {
            Action::Match(matching) if matching.negated => out.push_str("!= "),
            Action::Match(_) => {}
            Action::Add { .. } => out.push_str("add "),
            Action::Delete => out.push_str("delete "),
            Action::Map { .. } => out.push_str("map "),
        }
        let words: Vec<&str> = self
            .destinations
            .iter()
            .map(|destination| if *destination { "dst" } else { "src" })
            .collect();
        let _ = write!(out, "\"{}\" {}", self.set, words.join(","));
        match &self.action {
            Action::Match(matching) => matching.print(out),
            Action::Add { exist, timeout_ms } => {
                if let Some(timeout) = timeout_ms {
                    let _ = write!(out, " timeout {}", duration(*timeout));
                }
                if *exist {
                    out.push_str(" exist");
                }
            }
            Action::Delete => {}
            Action::Map { mark, prio } => {
                for (wanted, word) in [(mark, " map-mark"), (prio, " map-prio")] {
                    if *wanted {
                        out.push_str(word);
                    }
                }
            }
        }
    }

    /// Whether packets change what other packets may see: elements, or counters that are asked for.
    pub fn writes(&self) -> bool {
        match &self.action {
            Action::Match(matching) => matching.packets.is_some() || matching.bytes.is_some(),
            Action::Add { .. } | Action::Delete => true,
            Action::Map { .. } => false,
        }
    }
}

impl Matching {
    fn print(&self, out: &mut String) {
        for (wanted, word) in [
            (self.return_nomatch, " return-nomatch"),
            (self.no_counters, " no-counters"),
            (self.no_subcounters, " no-subcounters"),
        ] {
            if wanted {
                out.push_str(word);
            }
        }
        for (test, word) in [(&self.packets, "packets"), (&self.bytes, "bytes")] {
            if let Some((relation, count)) = test {
                let relation = match relation {
                    Relation::Eq => "",
                    Relation::Ne => "!= ",
                    Relation::Lt => "< ",
                    Relation::Gt => "> ",
                };
                let _ = write!(out, " {word} {relation}{count}");
            }
        }
    }
}
