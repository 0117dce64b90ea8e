//! Stable identity over a reload.
//!
//! A transaction that removes a rule and adds an equal one to the chain of the same name means the same
//! rule: its counters, limits, quotas and `last` go on. Equal is: same statements, initial values of
//! counters and quotas aside. When several are equal, the n-th removed becomes the n-th added.
//! Reloads mostly change nothing, so the next removed rule is tried first; only a chain in which
//! that fails is indexed by text.

use std::collections::HashMap;
use std::sync::Arc;

use super::chain::StoredRule;
use super::{Id, Name, Object, Set};
use crate::model::expr::{ChainRef, Verdict};
use crate::model::stmt::Stmt;
use crate::model::{Family, ObjectKind, Rule};

/// What a transaction has removed so far.
#[derive(Debug, Default)]
pub struct Removed {
    rules: HashMap<(Family, Name, Name), Grave>,
    sets: HashMap<(Family, Name, Name), Arc<Set>>,
    objects: HashMap<(Family, Name, ObjectKind, Name), Arc<Object>>,
}

#[derive(Debug, Default)]
struct Grave {
    rules: Vec<Option<Arc<StoredRule>>>,
    cursor: usize,
    index: Option<HashMap<String, Vec<usize>>>,
}

impl Removed {
    /// Remembers a removed rule.
    pub fn rule(&mut self, family: Family, table: &Name, chain: &Name, rule: Arc<StoredRule>) {
        let grave = self
            .rules
            .entry((family, table.clone(), chain.clone()))
            .or_default();
        if let Some(index) = &mut grave.index {
            index
                .entry(key(&rule.body))
                .or_default()
                .push(grave.rules.len());
        }
        grave.rules.push(Some(rule));
    }

    /// Remembers a removed set.
    pub fn set(&mut self, family: Family, table: &Name, set: Arc<Set>) {
        self.sets
            .insert((family, table.clone(), set.name.clone()), set);
    }

    /// Remembers a removed object.
    pub fn object(&mut self, family: Family, table: &Name, object: Arc<Object>) {
        let kind = object.body.kind();
        self.objects
            .insert((family, table.clone(), kind, object.name.clone()), object);
    }

    /// The removed rule that an added one continues.
    pub fn take_rule(
        &mut self,
        family: Family,
        table: &Name,
        chain: &Name,
        body: &Rule,
    ) -> Option<Arc<StoredRule>> {
        if self.rules.is_empty() {
            return None;
        }
        self.rules
            .get_mut(&(family, table.clone(), chain.clone()))?
            .take(body)
    }

    /// The removed set that an added one continues.
    pub fn take_set(&mut self, family: Family, table: &Name, name: &Name) -> Option<Arc<Set>> {
        if self.sets.is_empty() {
            return None;
        }
        self.sets.remove(&(family, table.clone(), name.clone()))
    }

    /// The removed object that an added one continues.
    pub fn take_object(
        &mut self,
        family: Family,
        table: &Name,
        kind: ObjectKind,
        name: &Name,
    ) -> Option<Arc<Object>> {
        if self.objects.is_empty() {
            return None;
        }
        self.objects
            .remove(&(family, table.clone(), kind, name.clone()))
    }

    /// Rules that stay removed; their slots become free.
    pub fn lost_rules(&self) -> impl Iterator<Item = &Arc<StoredRule>> {
        self.rules
            .values()
            .flat_map(|grave| grave.rules.iter().flatten())
    }

    /// Objects that stay removed.
    pub fn lost_objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// Sets that stay removed.
    pub fn lost_sets(&self) -> impl Iterator<Item = Id> {
        self.sets.values().map(|set| set.id)
    }
}

impl Grave {
    fn take(&mut self, body: &Rule) -> Option<Arc<StoredRule>> {
        if self.index.is_none() {
            while self.rules.get(self.cursor).is_some_and(Option::is_none) {
                self.cursor += 1;
            }
            if let Some(Some(next)) = self.rules.get(self.cursor)
                && same(&next.body, body)
            {
                self.cursor += 1;
                return self.rules[self.cursor - 1].take();
            }
            let mut index: HashMap<String, Vec<usize>> = HashMap::new();
            // Backwards, so that the first one is popped first.
            for (place, rule) in self.rules.iter().enumerate().rev() {
                if let Some(rule) = rule {
                    index.entry(key(&rule.body)).or_default().push(place);
                }
            }
            self.index = Some(index);
        }
        let place = self.index.as_mut()?.get_mut(&key(body))?.pop()?;
        self.rules[place].take()
    }
}

/// Whether two rules are the same but for what they have counted.
pub fn same(a: &Rule, b: &Rule) -> bool {
    a == b || (a.stmts.len() == b.stmts.len() && plain(a) == plain(b))
}

fn key(rule: &Rule) -> String {
    format!("{:?}", plain(rule))
}

/// The rule as if it had never counted anything.
pub fn plain(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    clear(&mut rule);
    rule
}

fn clear(rule: &mut Rule) {
    for stmt in &mut rule.stmts {
        match stmt {
            Stmt::Counter { packets, bytes } => (*packets, *bytes) = (0, 0),
            Stmt::Quota(quota) => quota.used = 0,
            Stmt::Last { used_ms } => *used_ms = None,
            Stmt::Verdict(
                Verdict::Jump(ChainRef::Anonymous(rules))
                | Verdict::Goto(ChainRef::Anonymous(rules)),
            ) => {
                rules.iter_mut().for_each(clear);
            }
            _ => {}
        }
    }
}
