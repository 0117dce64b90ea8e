//! `explain --program`: the program as text, each instruction under the rule that it comes from.
//!
//! Nothing of this is in the program itself. Chains are named by the cache's numbering, rules by
//! their identity, keys by what they load.

use std::collections::HashMap;
use std::fmt::Write;

use sluice_dataplane::program::{
    Base, Class, Entry, KeyDesc, Op, Program, Relation, Requires, RuleRef, SetId, Slot, Slots,
    Source, Tables, Value, Verdict,
};

use super::chunk::rule_ref;
use super::dependence::{Dependence, dependence};
use super::program::CompileCache;
use crate::model::PrintOptions;
use crate::model::print::print_rule;
use crate::store::Ruleset;

/// The program of a ruleset as text. `cache` is the one that compiled it.
pub fn explain(view: &Ruleset, cache: &CompileCache, program: &Program) -> String {
    let names = Names::of(view, cache);
    let listing = Listing {
        names,
        program,
        tables: program.tables(),
    };
    listing.text()
}

/// What numbers of a program mean in the ruleset.
#[derive(Debug, Default)]
struct Names {
    chains: HashMap<u32, String>,
    sets: HashMap<SetId, String>,
    rules: HashMap<RuleRef, String>,
}

impl Names {
    fn of(view: &Ruleset, cache: &CompileCache) -> Self {
        let mut names = Self::default();
        for table in &view.tables {
            let family = table.family.keyword();
            for chain in table.chains.values() {
                let name = format!("{family} {} {}", table.name, chain.name);
                if let Some(id) = cache.chain_number(chain.id) {
                    names.chains.insert(id.0, name);
                }
                for rule in chain.rules.iter() {
                    let text = print_rule(&rule.body, table.family, &PrintOptions::default());
                    let text = match rule.line {
                        0 => format!("handle {}: {text}", rule.handle),
                        line => format!("handle {}, line {line}: {text}", rule.handle),
                    };
                    names.rules.insert(rule_ref(rule), text);
                }
            }
            for set in table.sets.values() {
                if let Some(id) = cache.set_number(set.id) {
                    names.sets.insert(id, format!("@{}", set.name));
                }
            }
        }
        names
    }

    fn chain(&self, id: u32) -> String {
        self.chains
            .get(&id)
            .cloned()
            .unwrap_or_else(|| format!("anonymous chain {id}"))
    }

    fn set(&self, id: SetId) -> String {
        self.sets
            .get(&id)
            .cloned()
            .unwrap_or_else(|| format!("anonymous set {}", id.0))
    }
}

struct Listing<'a> {
    names: Names,
    program: &'a Program,
    tables: &'a Tables,
}

impl Listing<'_> {
    fn text(&self) -> String {
        let mut out = String::new();
        let mode = if self.program.ordered() {
            "one packet at a time"
        } else {
            "a batch at a time"
        };
        let _ = writeln!(out, "program: {mode}, {} keys", self.tables.keys().len());
        // Packets of the appliance's own are there in a gateway only.
        let walks = |class: &Class| {
            let bare = [Entry::Peer];
            *class as usize <= Class::Other as usize || self.program.walk(*class) != bare
        };
        for class in Class::ALL.into_iter().filter(walks) {
            let steps: Vec<String> = self
                .program
                .walk(class)
                .iter()
                .map(|e| self.entry(e))
                .collect();
            let _ = writeln!(out, "walk {}: {}", class_name(class), steps.join(" > "));
        }
        for (id, chain) in self.program.chains().iter().enumerate() {
            if chain.blocks().is_empty() {
                continue;
            }
            let words: usize = chain.blocks().iter().map(|block| block.words().len()).sum();
            let (name, blocks) = (self.names.chain(id as u32), chain.blocks().len());
            let _ = writeln!(
                out,
                "chain {name}: level {}, blocks {blocks}, bytes {}",
                chain.level(),
                4 * words
            );
            for (rule, ops) in chain.blocks().iter().flat_map(|block| block.rules()) {
                let unknown = || format!("rule {}", rule.0);
                let text = self.names.rules.get(&rule).cloned().unwrap_or_else(unknown);
                let _ = writeln!(out, "  {text}");
                for op in &ops {
                    let line = format!("    {:<40} {}", self.op(op), self.mark(op));
                    let _ = writeln!(out, "{}", line.trim_end());
                }
            }
        }
        out
    }

    fn entry(&self, entry: &Entry) -> String {
        match entry {
            Entry::Chain {
                chain,
                hook,
                priority,
                policy,
                ..
            } => format!(
                "{} ({hook:?} {priority}, {policy:?})",
                self.names.chain(chain.0)
            )
            .to_lowercase(),
            Entry::CheckIp => "check ip headers".to_owned(),
            Entry::Defragment => "gather fragments".to_owned(),
            Entry::Track => "track connections".to_owned(),
            Entry::Confirm => "confirm connections".to_owned(),
            Entry::Peer => "look up peer".to_owned(),
            Entry::Station => "frames for us".to_owned(),
            Entry::Route => "look up route".to_owned(),
            Entry::Reroute => "look up route again".to_owned(),
            Entry::ToSelf => "own host".to_owned(),
            Entry::Arp => "answer arp".to_owned(),
            Entry::Neighbour => "look up neighbour".to_owned(),
            Entry::Leave => "leave".to_owned(),
            Entry::Decide { hook } => format!("decide translation ({hook:?})").to_lowercase(),
            Entry::Translate { hook } => format!("translate ({hook:?})").to_lowercase(),
        }
    }

    /// What the instruction's outcome depends on.
    fn mark(&self, op: &Op) -> &'static str {
        match dependence(op, self.tables) {
            Dependence::Flow => "",
            Dependence::Packet => "; per packet",
            Dependence::Effect => "; side effect",
        }
    }

    fn op(&self, op: &Op) -> String {
        match op {
            Op::Compare {
                key,
                relation,
                value,
            } => {
                format!(
                    "match {} {} {}",
                    self.slot(*key),
                    sign(*relation),
                    number(value)
                )
            }
            Op::CompareMasked {
                key,
                mask,
                relation,
                value,
            } => {
                let (key, sign) = (self.slot(*key), sign(*relation));
                format!("match {key} & {} {sign} {}", number(mask), number(value))
            }
            Op::Range {
                key,
                low,
                high,
                inverted,
            } => {
                let not = if *inverted { "not " } else { "" };
                format!(
                    "match {} {not}in {}-{}",
                    self.slot(*key),
                    number(low),
                    number(high)
                )
            }
            Op::LookUp {
                set,
                keys,
                inverted,
            } => {
                let not = if *inverted { "not " } else { "" };
                format!(
                    "match {} {not}in {}",
                    self.slots(keys),
                    self.names.set(*set)
                )
            }
            Op::MapInto { set, keys, into } => {
                format!(
                    "{} = {} in {}",
                    self.slot(*into),
                    self.slots(keys),
                    self.names.set(*set)
                )
            }
            Op::Immediate { into, value } => format!("{} = {}", self.slot(*into), number(value)),
            Op::Copy { into, from } => format!("{} = {}", self.slot(*into), self.slot(*from)),
            Op::Bitwise {
                into,
                from,
                mask,
                xor,
            } => {
                let (into, from) = (self.slot(*into), self.slot(*from));
                format!("{into} = ({from} & {}) ^ {}", number(mask), number(xor))
            }
            Op::Counter { counter } => format!("counter {}", counter.0),
            Op::Cell { cell } => {
                let kind = self.tables.cells().get(cell.0 as usize);
                kind.map_or_else(
                    || "cell".to_owned(),
                    |kind| format!("{kind:?} cell {}", cell.0),
                )
                .to_lowercase()
            }
            Op::VerdictMap { set, keys } => {
                format!(
                    "verdict of {} in {}",
                    self.slots(keys),
                    self.names.set(*set)
                )
            }
            Op::Verdict { verdict } => self.verdict(*verdict),
            Op::DynSet {
                set, keys, action, ..
            } => format!(
                "{action:?} {} to {}",
                self.slots(keys),
                self.names.set(*set)
            )
            .to_lowercase(),
            Op::MetaSet { key, from } => {
                format!("meta {key:?} = {}", self.slot(*from)).to_lowercase()
            }
            Op::CtSet { key, from, .. } => {
                format!("ct {key:?} = {}", self.slot(*from)).to_lowercase()
            }
            Op::PayloadWrite {
                base,
                bit_offset,
                bits,
                from,
                ..
            } => {
                format!(
                    "@{},{bit_offset},{bits} = {}",
                    base_name(*base),
                    self.slot(*from)
                )
            }
            Op::Log { log } => {
                let log = self.tables.logs().get(log.0 as usize);
                format!("log \"{}\"", log.map_or("", |log| &log.prefix))
            }
            other => other.name().to_lowercase(),
        }
    }

    fn verdict(&self, verdict: Verdict) -> String {
        match verdict {
            Verdict::Jump { chain } => format!("jump {}", self.names.chain(chain.0)),
            Verdict::Goto { chain } => format!("goto {}", self.names.chain(chain.0)),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    fn slots(&self, slots: &Slots) -> String {
        slots
            .iter()
            .map(|slot| self.slot(*slot))
            .collect::<Vec<_>>()
            .join(" . ")
    }

    fn slot(&self, slot: Slot) -> String {
        self.tables
            .keys()
            .get(usize::from(slot.0))
            .map_or_else(|| format!("slot {}", slot.0), key_name)
    }
}

/// What a key loads, in nft's raw notation.
fn key_name(key: &KeyDesc) -> String {
    let what = match &key.source {
        Source::Work { number } => format!("w{number}"),
        Source::Payload { base, bit_offset } => {
            format!("@{},{bit_offset},{}", base_name(*base), key.bits)
        }
        Source::Meta { key } => format!("meta {key:?}").to_lowercase(),
        Source::Exthdr {
            kind,
            number,
            bit_offset,
            exists,
        } => {
            let field = if *exists {
                "exists".to_owned()
            } else {
                format!("{bit_offset},{}", key.bits)
            };
            format!("{kind:?} option {number} {field}").to_lowercase()
        }
        Source::Ct { key, .. } => format!("ct {key:?}").to_lowercase(),
        Source::Fib { result, .. } => format!("fib {result:?}").to_lowercase(),
        Source::Rt { key } => format!("rt {key:?}").to_lowercase(),
    };
    match key.requires {
        Requires::Nothing => what,
        Requires::Network { ethertype } => format!("[{ethertype:#06x}] {what}"),
        Requires::Transport { protocol } => format!("[proto {protocol}] {what}"),
        Requires::Both {
            ethertype,
            protocol,
        } => format!("[{ethertype:#06x} proto {protocol}] {what}"),
    }
}

fn base_name(base: Base) -> &'static str {
    match base {
        Base::Link => "ll",
        Base::Network => "nh",
        Base::Transport => "th",
        Base::Inner => "ih",
    }
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Ip => "ip",
        Class::Ip6 => "ip6",
        Class::TaggedIp => "tagged ip",
        Class::TaggedIp6 => "tagged ip6",
        Class::Other => "other",
        Class::OwnIp => "own ip",
        Class::OwnIp6 => "own ip6",
        Class::OwnArp => "own arp",
        Class::Leaving => "leaving",
    }
}

fn sign(relation: Relation) -> &'static str {
    match relation {
        Relation::Eq => "==",
        Relation::Ne => "!=",
        Relation::Lt => "<",
        Relation::Gt => ">",
        Relation::Le => "<=",
        Relation::Ge => ">=",
    }
}

fn number(value: &Value) -> String {
    match value[..] {
        [word] if word < 0x1_0000 => word.to_string(),
        _ => value
            .iter()
            .fold("0x".to_owned(), |text, word| text + &format!("{word:08x}")),
    }
}
