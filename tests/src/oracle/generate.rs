//! Random rulesets with frames aimed at them, from a seed.

use rand::rngs::SmallRng;
use rand::{Rng, seq::IndexedRandom, seq::SliceRandom};

use super::bases::{every_kind, has_checksum, is_dccp, is_later_fragment6};
use super::construct::{self, Sample};
use crate::frames::{Frame, Layer};

/// Words of fields of transport headers.
const TRANSPORT: [&str; 11] = [
    "port", "@th", "icmp", "igmp", "tcp ", "udp", "sctp", "dccp", "esp ", "ah ", "comp ",
];

/// Frames of a random case.
const FRAMES: usize = 100;

/// A ruleset and the frames for it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed that made it.
    pub seed: u64,
    /// Lines in front of the rules (tables, chains), one chain after the other.
    pub tables: Vec<Table>,
    /// The frames, in the order in which they are sent.
    pub frames: Vec<Frame>,
}

/// A table with its chains.
#[derive(Clone, Debug)]
pub struct Table {
    /// `family name`.
    pub name: String,
    /// Sets, maps, objects and chains that rules need.
    pub declarations: Vec<String>,
    /// Its chains, called ones first.
    pub chains: Vec<Chain>,
}

/// A chain with its rules.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// `type ... policy ...;` of a base chain, or nothing.
    pub head: String,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it asks, for the matrix.
    pub constructs: Vec<String>,
    /// What it needs declared in its table.
    pub declarations: Vec<String>,
    /// Its text.
    pub text: String,
}

impl Case {
    /// The case of a seed.
    pub fn random(seed: u64) -> Self {
        let mut rng = construct::seeded(seed);
        let mut frames = Vec::new();
        let count = rng.random_range(1..=2);
        let tables = (0..count)
            .map(|number| table(&mut rng, number, &mut frames))
            .collect();
        fill(&mut rng, &mut frames);
        frames.shuffle(&mut rng);
        frames.truncate(FRAMES);
        let mut case = Self {
            seed,
            tables,
            frames,
        };
        case.leave_out();
        case
    }

    /// A chain of one family with a rule for each sample, behind one that counts all: it shows
    /// of each construct whether it hits and whether it misses.
    pub fn directed(seed: u64, family: &str, samples: &[Sample]) -> Self {
        let leaves = samples
            .iter()
            .any(|sample| sample.construct.starts_with("oif"));
        let hook = match family {
            "netdev" => "ingress device left",
            // Where the way out is known.
            _ if leaves => "forward",
            _ => "prerouting",
        };
        let mut frames = every_kind();
        let all = Rule {
            constructs: vec!["all".to_owned()],
            declarations: Vec::new(),
            text: "counter".to_owned(),
        };
        for sample in samples {
            frames.extend(cut_off(&sample.frames[0]));
        }
        let rules = samples
            .iter()
            .map(|sample| written(std::slice::from_ref(sample), "", &mut frames));
        let rules = std::iter::once(all)
            .chain(rules.collect::<Vec<_>>())
            .collect();
        let chains = vec![Chain {
            name: "base".to_owned(),
            head: format!("type filter hook {hook} priority 0; policy accept;"),
            rules,
        }];
        frames.truncate(500);
        let mut case = Self {
            seed,
            tables: vec![Table {
                name: format!("{family} t"),
                declarations: declarations(&chains),
                chains,
            }],
            frames,
        };
        case.leave_out();
        case
    }

    /// Takes frames away of which it is known that the kernel does something else, and wrong,
    /// with them (docs/compatibility.md).
    fn leave_out(&mut self) {
        let ruleset = self.ruleset();
        if ["saddr set", "daddr set"]
            .iter()
            .any(|word| ruleset.contains(word))
        {
            self.frames.retain(has_checksum);
        }
        // The kernel's answer at ingress has lost the tag, and it does not answer DCCP
        // (docs/compatibility.md).
        if ruleset.contains("reject") {
            self.frames
                .retain(|frame| frame.offset(Layer::Network) == 14 && !is_dccp(frame));
        }
        if TRANSPORT.iter().any(|word| ruleset.contains(word)) {
            self.frames.retain(|frame| !is_later_fragment6(frame));
        }
    }

    /// The ruleset as text.
    pub fn ruleset(&self) -> String {
        let (mut text, mut number) = (String::new(), 0);
        for table in &self.tables {
            text.push_str(&format!("table {} {{\n", table.name));
            for declaration in &table.declarations {
                text.push_str(&format!("{declaration}\n"));
            }
            for chain in &table.chains {
                text.push_str(&format!("\tchain {} {{\n", chain.name));
                if !chain.head.is_empty() {
                    text.push_str(&format!("\t\t{}\n", chain.head));
                }
                for rule in &chain.rules {
                    text.push_str(&format!("\t\t{} comment \"r{number}\"\n", rule.text));
                    number += 1;
                }
                text.push_str("\t}\n");
            }
            text.push_str("}\n");
        }
        text
    }

    /// Of each rule in order whether it counted packets, in a listing of the ruleset.
    pub fn rule_counters(listing: &str) -> std::collections::BTreeMap<usize, u64> {
        let packets = |text: &str| -> Option<u64> {
            let (_, packets) = text.rsplit_once("counter packets ")?;
            packets.split(' ').next()?.parse().ok()
        };
        // The comment of a rule with rules in place stands behind these.
        let mut outer = None;
        let mut counters = std::collections::BTreeMap::new();
        for line in listing.lines() {
            if line.ends_with("jump {") {
                outer = packets(line);
            }
            let Some((rule, comment)) = line.split_once(" comment \"r") else {
                continue;
            };
            let number = comment.split('"').next().and_then(|n| n.parse().ok());
            if let (Some(number), Some(packets)) = (number, packets(rule).or(outer)) {
                counters.insert(number, packets);
            }
        }
        counters
    }

    /// The frames' bytes.
    pub fn bytes(&self) -> Vec<Vec<u8>> {
        self.frames
            .iter()
            .map(|frame| frame.bytes.clone())
            .collect()
    }
}

/// Adds frames of every kind, and then those that are there again, whole or cut off: what counts
/// packets, fills sets or spends limits meets them more than once.
fn fill(rng: &mut SmallRng, frames: &mut Vec<Frame>) {
    let mut kinds = every_kind();
    kinds.shuffle(rng);
    kinds.truncate(FRAMES.saturating_sub(frames.len()) / 2);
    frames.extend(kinds);
    while frames.len() < FRAMES {
        let Some(frame) = frames.choose(rng) else {
            return;
        };
        let cut = rng
            .random_bool(0.2)
            .then(|| frame.cut(rng.random_range(0..24)));
        let frame = cut.flatten().unwrap_or_else(|| frame.clone());
        frames.push(frame);
    }
}

/// The frame with its transport header cut off at places that matter to some field.
pub fn cut_off(frame: &Frame) -> Vec<Frame> {
    [0, 1, 3, 7, 13, 22]
        .into_iter()
        .filter_map(|keep| frame.cut(keep))
        .collect()
}

fn table(rng: &mut SmallRng, number: usize, frames: &mut Vec<Frame>) -> Table {
    let family = *["ip", "ip6", "inet", "bridge", "netdev"]
        .choose(rng)
        .unwrap_or(&"inet");
    let called: Vec<String> = (0..rng.random_range(0..3))
        .map(|at| format!("called{at}"))
        .collect();
    let mut chains: Vec<Chain> = Vec::new();
    for (at, name) in called.iter().enumerate() {
        let rules = rules(rng, family, &called[..at], frames);
        chains.push(Chain {
            name: name.clone(),
            head: String::new(),
            rules,
        });
    }
    for at in 0..rng.random_range(1..=2) {
        let head = head(rng, family);
        let rules = rules(rng, family, &called, frames);
        chains.push(Chain {
            name: format!("base{at}"),
            head,
            rules,
        });
    }
    Table {
        name: format!("{family} t{number}"),
        declarations: declarations(&chains),
        chains,
    }
}

/// What the rules of these chains need.
fn declarations(chains: &[Chain]) -> Vec<String> {
    let rules = chains.iter().flat_map(|chain| &chain.rules);
    rules.flat_map(|rule| rule.declarations.clone()).collect()
}

fn head(rng: &mut SmallRng, family: &str) -> String {
    let policy = if rng.random_bool(0.3) {
        "drop"
    } else {
        "accept"
    };
    let priority = rng.random_range(-5..5);
    if family == "netdev" || family == "inet" && rng.random_bool(0.1) {
        return format!(
            "type filter hook ingress device left priority {priority}; policy {policy};"
        );
    }
    let hook = ["prerouting", "forward", "postrouting"]
        .choose(rng)
        .unwrap_or(&"forward");
    format!("type filter hook {hook} priority {priority}; policy {policy};")
}

fn rules(
    rng: &mut SmallRng,
    family: &str,
    callable: &[String],
    frames: &mut Vec<Frame>,
) -> Vec<Rule> {
    (0..rng.random_range(1..6))
        .map(|_| rule(rng, family, callable, frames))
        .collect()
}

fn rule(rng: &mut SmallRng, family: &str, callable: &[String], frames: &mut Vec<Frame>) -> Rule {
    let mut samples: Vec<Sample> = vec![construct::any(rng, family)];
    if rng.random_bool(0.3) {
        // nft refuses matches of two protocols in one rule: the second one looks at the same.
        let second = construct::any(rng, family);
        let misread = misread(&samples[0].text, &second.text);
        if !misread && second.frames[0].protocols() == samples[0].frames[0].protocols() {
            samples.push(second);
        }
    }
    if rng.random_bool(0.3) {
        let keep = rng.random_range(0..20);
        frames.extend(samples[0].frames[0].cut(keep));
    }
    written(&samples, &verdict(rng, callable), frames)
}

/// Whether nft 1.0.6 lists what it finds at the place of these together, or joins them into one
/// load, and not what was written (docs/compatibility.md).
fn misread(one: &str, other: &str) -> bool {
    let both = format!("{one} {other}");
    let any = |words: &[&str]| words.iter().any(|word| both.contains(word));
    let ports = one.contains("port") && other.contains("port");
    let header = |text: &str| text.split(' ').next().unwrap_or_default().to_owned();
    let joined = header(one) == header(other) && one.contains(" != ") && other.contains(" != ");
    joined
        || any(&["protocol {", "nexthdr {", "type {"])
        || both.contains("iiftype") && both.contains("meta protocol")
        || both.contains("vlan ") && any(&["ether ", "@ll"])
        || both.contains("th ") && any(&["icmp", "port"])
        || any(&["@th,0,8", "@nh,0,8"])
        || any(&["@nh", "ether ", "vlan "]) && any(&["option", "exthdr", "frag "])
        || ports && any(&[" name ", "limit ", "quota ", " map ", "add @", "meter "])
}

/// The rule of these samples and its frames. The comment is how its counter is found in a listing.
fn written(samples: &[Sample], verdict: &str, frames: &mut Vec<Frame>) -> Rule {
    let mut text = String::new();
    // Nothing may follow a statement that ends the rule; such a sample counts by itself.
    let (last, others): (Vec<&Sample>, Vec<&Sample>) = samples
        .iter()
        .partition(|sample| ends_the_rule(&sample.text));
    for sample in others.iter().chain(last.iter().take(1)) {
        text.push_str(&sample.text);
        text.push(' ');
        frames.extend(sample.frames.iter().cloned());
    }
    if last.is_empty() {
        text.push_str("counter");
        text.push_str(verdict);
    }
    Rule {
        constructs: samples
            .iter()
            .map(|sample| sample.construct.clone())
            .collect(),
        declarations: samples
            .iter()
            .map(|sample| sample.declaration.clone())
            .filter(|declaration| !declaration.is_empty())
            .collect(),
        text,
    }
}

fn ends_the_rule(text: &str) -> bool {
    ["reject", "fwd to", "counter goto ", "counter jump "]
        .iter()
        .any(|word| text.contains(word))
}

fn verdict(rng: &mut SmallRng, callable: &[String]) -> String {
    let target = callable.choose(rng);
    match (rng.random_range(0..10), target) {
        (0..4, _) => String::new(),
        (4 | 5, _) => " accept".to_owned(),
        (6, _) => " drop".to_owned(),
        (7, _) => " return".to_owned(),
        (8, Some(target)) => format!(" jump {target}"),
        (9, Some(target)) => format!(" goto {target}"),
        _ => " continue".to_owned(),
    }
}
