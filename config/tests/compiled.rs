//! Every rule that the listing's corpus takes becomes a program, or is refused by a name that is
//! expected here.

use std::sync::Arc;

use sluice_config::engine::{Engine, Mode, NoWorkers, Profile, Request};
use sluice_dataplane::program::Program;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::worker::SystemClock;

/// What the rules refer to.
const OBJECTS: &str = include_str!("rules/objects.nft");

/// What there is nothing for in this dataplane: local sockets, security modules, xfrm, VRFs, and
/// what only a later engine can do.
const REFUSED: &[&str] = &[
    "meta skuid",
    "meta skgid",
    "meta cgroup",
    "meta rtclassid",
    "meta secmark",
    "meta ipsec",
    "meta sdif",
    "meta sdifname",
    "ct secmark",
    "rt classid",
    "rt ipsec",
    "socket",
    "osf",
    "log level audit",
];

/// Rules that nft takes, with family and chain.
fn corpus() -> Vec<(String, String, String)> {
    let texts = [
        include_str!("rules/matches.rules"),
        include_str!("rules/statements.rules"),
    ];
    let mut rules = Vec::new();
    let (mut family, mut hook, mut rule) = (String::new(), String::new(), String::new());
    for line in texts.iter().flat_map(|text| text.lines()) {
        if let Some(head) = line.strip_prefix("# ") {
            let words = || {
                head.split_whitespace()
                    .filter(|w| !w.starts_with('-') || w[1..].parse::<i32>().is_ok())
            };
            family = words().next().unwrap_or("inet").to_owned();
            hook = words().skip(1).collect::<Vec<_>>().join(" ");
        } else if line.trim_start().starts_with("=>") {
            rules.push((family.clone(), hook.clone(), rule.clone()));
        } else if !line.starts_with(char::is_whitespace) {
            rule = line.to_owned();
        }
    }
    rules
}

fn load(text: &str) -> Result<Vec<u8>, String> {
    let mut engine = Engine::new(
        Profile::workbench(),
        Arc::new(Counters::new(1)),
        Arc::new(SystemClock),
        Box::new(NoWorkers),
    );
    let profile = Profile {
        mode: Mode::Wire,
        ..Profile::workbench()
    };
    engine.set_ports(profile, Arc::default());
    engine.set_engines(u32::MAX);
    engine
        .run(Request::file("t.nft", text))
        .map_err(|refusal| refusal.rendered)?;
    engine
        .live()
        .map(|live| live.program().to_bytes())
        .ok_or_else(|| "nothing published".to_owned())
}

#[test]
fn every_rule_of_the_corpus_becomes_a_program() {
    let mut wrong = Vec::new();
    let mut compiled = 0;
    let corpus = corpus();
    assert!(corpus.len() > 500, "{}", corpus.len());
    for (family, hook, rule) in &corpus {
        let hooks = hooks(family, hook);
        let outcomes: Vec<_> = hooks
            .iter()
            .map(|hook| load(&ruleset(family, hook, rule)))
            .collect();
        if let Some(bytes) = outcomes.iter().find_map(|outcome| outcome.as_ref().ok()) {
            compiled += 1;
            let program = Program::from_bytes(bytes).expect("a program reads back");
            assert_eq!(program.to_bytes(), *bytes, "{rule}");
            continue;
        }
        let by_name = |outcome: &Result<_, String>| {
            let Err(refusal) = outcome else { return false };
            // What the kernel refuses too, or what needs the tracker.
            refusal.contains("Could not process rule")
                || refusal.contains("needs connection tracking")
                || REFUSED
                    .iter()
                    .any(|name| refusal.contains(&format!("{name} is not supported")))
        };
        if !outcomes.iter().any(by_name) {
            let refusals: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
            wrong.push(format!("{family} {hook}: {rule}\n{}", refusals.join("")));
        }
    }
    let all = corpus.len();
    assert!(
        wrong.is_empty(),
        "{} of {all} ({compiled} compiled):\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compiled > 900, "{compiled}");
}

/// The hooks of a wire in which a rule may stand.
fn hooks(family: &str, hook: &str) -> Vec<String> {
    if !hook.is_empty() {
        return vec![hook.trim_start_matches("type ").to_owned()];
    }
    match family {
        "netdev" => vec!["filter hook ingress device lo priority 0".to_owned()],
        // Loads, but no packet comes there on a wire.
        "arp" => vec!["filter hook input priority 0".to_owned()],
        _ => ["prerouting", "forward", "postrouting"]
            .map(|hook| format!("filter hook {hook} priority 0"))
            .to_vec(),
    }
}

fn ruleset(family: &str, hook: &str, rule: &str) -> String {
    format!(
        "table {family} t {{\n{OBJECTS}\n chain other {{\n }}\n chain c {{\n  type {hook};\n  {rule}\n }}\n}}\n"
    )
}
