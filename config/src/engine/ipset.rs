//! Commands of ipset on the committed ruleset's sets.

use std::net::IpAddr;
use std::sync::Arc;

use super::Engine;
use crate::compile::secret;
use crate::ipset::address::Names;
use crate::ipset::kind::Family;
use crate::ipset::{Answer, Content, Host, IpSet, IpSets, IpsetRequest, Session, run};

/// The engine as a session sees it.
struct EngineHost<'a> {
    engine: &'a mut Engine,
    names: &'a dyn Names,
}

impl Names for EngineHost<'_> {
    fn host(&self, name: &str, family: Family) -> Option<IpAddr> {
        self.names.host(name, family)
    }

    fn missed(&self) -> bool {
        self.names.missed()
    }
}

impl Host for EngineHost<'_> {
    fn uses(&self, name: &str) -> usize {
        self.engine.ruleset.ipset_uses(name)
    }

    fn publish(&mut self, sets: &IpSets) -> Result<(), String> {
        self.engine.publish_ipsets(sets)
    }

    fn chance(&mut self) -> u64 {
        secret()
    }
}

impl Engine {
    /// Runs one request of ipset. Unless it asks for all or nothing, each of its commands is done by
    /// itself, as in the original: what was done before a refused one stays.
    pub fn ipset(&mut self, request: &IpsetRequest, names: &dyn Names) -> Answer {
        let expected = request.expected_generation;
        if expected.is_some_and(|expected| expected != self.generation) {
            return Answer {
                code: 1,
                conflict: true,
                generation: self.generation,
                ..Answer::default()
            };
        }
        let now_ns = self.clock.monotonic_ns();
        let sets = self.ruleset.ipsets.clone();
        let mut host = EngineHost {
            engine: self,
            names,
        };
        let mut session = Session::new(sets, &mut host, now_ns, request.read_only);
        let (mut answer, taken) = run(request, &mut session);
        let sets = session.sets;
        if taken && answer.changed {
            self.take_ipsets(sets, &mut answer);
        }
        answer.generation = self.generation;
        answer
    }

    /// Takes over what a session made.
    fn take_ipsets(&mut self, sets: IpSets, answer: &mut Answer) {
        let known = &self.ruleset.ipsets;
        let replaced = sets
            .iter()
            .filter(|set| {
                !known
                    .get(&set.name)
                    .is_some_and(|known| known.same_content(set))
            })
            .any(|set| {
                let lists = sets.lists_of(&set.name);
                let mut names = std::iter::once(&set.name).chain(lists);
                names.any(|name| self.ruleset.ipset_uses(name) > 0)
            });
        if !replaced {
            self.ruleset.ipsets = sets;
            self.generation += 1;
        } else if let Err(error) = self.publish_ipsets(&sets) {
            answer.errors.push_str(&format!("ipset v7.17: {error}\n"));
            answer.code = 1;
        }
    }

    /// Publishes the rules in force over these sets.
    fn publish_ipsets(&mut self, sets: &IpSets) -> Result<(), String> {
        let mut ruleset = self.ruleset.clone();
        ruleset.ipsets = sets.clone();
        let (live, _) = self.compile(&ruleset).map_err(|error| error.to_string())?;
        self.commit(ruleset, Vec::new(), Some(live));
        Ok(())
    }

    /// Gives the memory of expired elements of the sets of ipset back, about `budget` elements of each
    /// at a time.
    pub fn sweep_ipsets(&self, budget: usize) -> usize {
        let now_ns = self.clock.monotonic_ns();
        let sweep = |set: &Arc<IpSet>| match &set.content {
            Content::Elements(elements) => elements.sweep(now_ns, budget),
            Content::Names(_) => 0,
        };
        self.ruleset.ipsets.iter().map(sweep).sum()
    }
}
