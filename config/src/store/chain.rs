//! A chain and its rules, in chunks that are shared between generations.
//!
//! Rules stand in evaluation order in chunks of at most [`Chunk::CAPACITY`]. A chunk never changes:
//! an edit makes a new one with a new id, so the compiler can keep what it made of the others.

use std::sync::Arc;

use super::{Id, Name, RuleSlots};
use crate::model::{ChainType, Hook, Rule};

/// How a chain is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseChain {
    /// filter, nat or route.
    pub kind: ChainType,
    /// Where.
    pub hook: Hook,
    /// When, among the chains of the hook.
    pub priority: i32,
    /// What happens to a packet at its end: drop, or accept.
    pub policy_drop: bool,
    /// Ports that it looks at (ingress and egress); empty: all.
    pub devices: Vec<Name>,
}

/// A chain. Cloning it copies the list of chunks.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Never reused; stays when rules change.
    pub id: Id,
    /// Its name.
    pub name: Name,
    /// Its handle.
    pub handle: u64,
    /// Set if it is attached to a hook.
    pub base: Option<BaseChain>,
    /// Its comment.
    pub comment: Option<Name>,
    /// What its rules need of the hook, perhaps also what removed ones needed.
    pub demands: Vec<super::exec::Demand>,
    /// Its rules.
    pub rules: Chunks,
}

/// A rule in a chain.
#[derive(Clone, Debug)]
pub struct StoredRule {
    /// Stable identity; what has state on the packet path is keyed by it.
    pub id: Id,
    /// Its handle.
    pub handle: u64,
    /// The checked rule.
    pub body: Rule,
    /// Where its counters and cells live.
    pub slots: RuleSlots,
    /// Line of the text that it came from, 0 if unknown; for `explain`.
    pub line: u32,
}

/// A run of rules; immutable.
#[derive(Debug)]
pub struct Chunk {
    /// Never reused: same id, same rules.
    pub id: Id,
    /// The rules, in evaluation order.
    pub rules: Vec<Arc<StoredRule>>,
}

impl Chunk {
    /// Most rules of one chunk.
    pub const CAPACITY: usize = 64;

    fn new(rules: Vec<Arc<StoredRule>>) -> Arc<Self> {
        Arc::new(Self {
            id: Id::fresh(),
            rules,
        })
    }
}

/// The rules of a chain. No chunk is empty.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    chunks: Vec<Arc<Chunk>>,
    len: usize,
}

impl Chunks {
    /// The chunks, in evaluation order.
    pub fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rules, in evaluation order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StoredRule>> {
        self.chunks.iter().flat_map(|chunk| chunk.rules.iter())
    }

    /// Place of the rule with a handle.
    pub fn position(&self, handle: u64) -> Option<usize> {
        self.iter().position(|rule| rule.handle == handle)
    }

    /// The rule at a place.
    pub fn get(&self, index: usize) -> Option<&Arc<StoredRule>> {
        let (chunk, at) = self.locate(index)?;
        self.chunks[chunk].rules.get(at)
    }

    /// Adds a rule at the end.
    pub fn push(&mut self, rule: Arc<StoredRule>) {
        self.len += 1;
        if let Some(last) = self.chunks.last_mut()
            && last.rules.len() < Chunk::CAPACITY
        {
            // A chunk that nobody else has seen yet can take the rule in place: loading a file costs
            // one move a rule. Its id is still ours alone, so no one has compiled it.
            if let Some(own) = Arc::get_mut(last) {
                own.rules.push(rule);
                return;
            }
            let mut rules = last.rules.clone();
            rules.push(rule);
            *last = Chunk::new(rules);
            return;
        }
        let mut rules = Vec::with_capacity(Chunk::CAPACITY);
        rules.push(rule);
        self.chunks.push(Chunk::new(rules));
    }

    /// Puts a rule before the one at `index`; `index == len` adds it at the end.
    pub fn insert(&mut self, index: usize, rule: Arc<StoredRule>) {
        let Some((chunk, at)) = self.locate(index) else {
            return self.push(rule);
        };
        self.len += 1;
        let mut rules = self.chunks[chunk].rules.clone();
        rules.insert(at, rule);
        if rules.len() <= Chunk::CAPACITY {
            self.chunks[chunk] = Chunk::new(rules);
        } else {
            let behind = rules.split_off(rules.len() / 2);
            self.chunks[chunk] = Chunk::new(rules);
            self.chunks.insert(chunk + 1, Chunk::new(behind));
        }
    }

    /// Takes the rule at a place out.
    pub fn remove(&mut self, index: usize) -> Option<Arc<StoredRule>> {
        let (chunk, at) = self.locate(index)?;
        self.len -= 1;
        let mut rules = self.chunks[chunk].rules.clone();
        let removed = rules.remove(at);
        if rules.is_empty() {
            self.chunks.remove(chunk);
        } else {
            self.chunks[chunk] = Chunk::new(rules);
        }
        Some(removed)
    }

    /// Puts another rule in the place of one.
    pub fn replace(&mut self, index: usize, rule: Arc<StoredRule>) -> Option<Arc<StoredRule>> {
        let (chunk, at) = self.locate(index)?;
        let mut rules = self.chunks[chunk].rules.clone();
        let old = std::mem::replace(&mut rules[at], rule);
        self.chunks[chunk] = Chunk::new(rules);
        Some(old)
    }

    /// Removes all rules.
    pub fn clear(&mut self) -> Vec<Arc<Chunk>> {
        self.len = 0;
        std::mem::take(&mut self.chunks)
    }

    fn locate(&self, index: usize) -> Option<(usize, usize)> {
        let mut before = 0;
        for (chunk, content) in self.chunks.iter().enumerate() {
            if index < before + content.rules.len() {
                return Some((chunk, index - before));
            }
            before += content.rules.len();
        }
        None
    }
}
