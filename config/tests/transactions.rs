//! Transactions: all or nothing, and what goes on over a reload.

#[allow(dead_code)]
mod packets;

use std::collections::HashSet;

use packets::bench::Bench;
use packets::build::{Frame, zoo};
use proptest::prelude::*;
use sluice_config::engine::{Engine, ListOptions, Refusal, Request};
use sluice_config::store::Id;
use sluice_dataplane::program::counters::Count;

fn run(engine: &mut Engine, text: &str) -> Result<String, Refusal> {
    engine.run(Request::command(text)).map(|reply| reply.output)
}

fn done(engine: &mut Engine, text: &str) -> String {
    run(engine, text).unwrap_or_else(|refusal| panic!("{text}\n{}", refusal.rendered))
}

/// Everything that a listing can show.
fn all(engine: &mut Engine) -> String {
    let options = ListOptions {
        handles: true,
        ..ListOptions::default()
    };
    let request = Request {
        options,
        ..Request::command("list ruleset")
    };
    engine
        .run(request)
        .map(|reply| reply.output)
        .unwrap_or_default()
}

/// Commands on a few names, right and wrong ones.
fn command() -> impl Strategy<Value = String> {
    let table = prop::sample::select(vec!["ip t", "ip6 t", "inet u"]);
    let chain = prop::sample::select(vec!["a", "b", "c"]);
    let other = prop::sample::select(vec!["a", "b", "c"]);
    let set = prop::sample::select(vec!["s", "r", "m"]);
    let port = 1..5u16;
    let what = 0..22usize;
    (table, chain, other, set, port, what).prop_map(|(table, chain, other, set, port, what)| match what {
        0 => format!("add table {table}"),
        1 => format!("create table {table}"),
        2 => format!("delete table {table}"),
        3 | 4 => format!("add chain {table} {chain}"),
        5 => format!("add chain {table} {chain} {{ type filter hook forward priority {port}; policy drop; }}"),
        6 => format!("delete chain {table} {chain}"),
        7 | 8 => format!("add rule {table} {chain} tcp dport {port} counter jump {other}"),
        9 => format!("insert rule {table} {chain} udp dport {port} counter"),
        10 => format!("add rule {table} {chain} index {port} tcp dport {{ {port}, 22 }} accept"),
        11 => format!("delete rule {table} {chain} handle {port}"),
        12 => format!("replace rule {table} {chain} handle {port} counter drop"),
        13 => format!("add set {table} {set} {{ type inet_service; flags interval; }}"),
        14 => format!("add map {table} m {{ type inet_service : verdict; }}"),
        15 => format!("add element {table} {set} {{ {port}, {}-{} }}", port + 1, port + 3),
        16 => format!("add element {table} m {{ {port} : goto {other} }}"),
        17 => format!("delete element {table} {set} {{ {port} }}"),
        18 => format!("add rule {table} {chain} tcp dport vmap @m"),
        19 => format!("add rule {table} {chain} tcp dport @{set} drop"),
        20 => format!("flush chain {table} {chain}"),
        _ => format!("rename chain {table} {chain} {other}"),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_refused_request_changes_nothing(requests in prop::collection::vec(prop::collection::vec(command(), 1..5), 1..40)) {
        let mut engine = Engine::workbench();
        for commands in requests {
            let before = (all(&mut engine), engine.generation());
            let text = commands.join("; ");
            let outcome = engine.run(Request::command(&text));
            let after = (all(&mut engine), engine.generation());
            match outcome {
                Err(refusal) => {
                    prop_assert_eq!(&before, &after, "{}", text);
                    prop_assert!(!refusal.rendered.is_empty());
                }
                Ok(reply) => prop_assert_eq!(reply.changed, before.1 != after.1, "{}", text),
            }
        }
    }

    #[test]
    fn what_is_listed_loads_again_and_lists_the_same(requests in prop::collection::vec(command(), 1..80)) {
        let mut engine = Engine::workbench();
        for command in requests {
            let _ = engine.run(Request::command(&command));
        }
        let listed = done(&mut engine, "list ruleset");
        let mut other = Engine::workbench();
        let loaded = other.run(Request::file("listed.nft", &listed));
        prop_assert!(loaded.is_ok(), "{}\n{}", listed, loaded.unwrap_err().rendered);
        prop_assert_eq!(&done(&mut other, "list ruleset"), &listed);
        // And over itself, as a reload does.
        let loaded = engine.run(Request::file("listed.nft", &format!("flush ruleset\n{listed}")));
        prop_assert!(loaded.is_ok(), "{}\n{}", listed, loaded.unwrap_err().rendered);
        prop_assert_eq!(&done(&mut engine, "list ruleset"), &listed);
    }
}

const FILE: &str = "flush ruleset
table inet t {
  counter k { }
  quota q { 1 mbytes }
  chain c {
    type filter hook forward priority 0;
    tcp dport 80 counter accept
    tcp dport 443 counter accept
    tcp dport 80 counter accept
    counter name k quota name q
  }
}
";

/// Adds to the counter of the n-th rule of the chain.
fn count(engine: &Engine, rule: usize, packets: u64) {
    let table = &engine.ruleset().tables[0];
    let chain = table.chain("c").expect("the chain");
    let rule = chain.rules.get(rule).expect("the rule");
    engine.counters().add(
        rule.slots.counters[0],
        Count {
            packets,
            bytes: packets * 100,
        },
    );
}

fn counts(listing: &str) -> Vec<&str> {
    let find = |line: &'_ str| line.contains("counter packets");
    listing
        .lines()
        .filter(|line| find(line))
        .filter_map(|line| line.split("packets ").nth(1)?.split(' ').next())
        .collect()
}

#[test]
fn counters_go_on_where_a_rule_stands_unchanged() {
    let mut engine = Engine::workbench();
    assert!(engine.run(Request::file("a.nft", FILE)).is_ok());
    (0..3).for_each(|rule| count(&engine, rule, rule as u64 + 1));
    let before = done(&mut engine, "list ruleset");
    assert_eq!(counts(&before), ["1", "2", "3"]);

    assert!(engine.run(Request::file("a.nft", FILE)).is_ok());
    assert_eq!(done(&mut engine, "list ruleset"), before);

    // The first of two equal rules goes: the one that stays is the first.
    let shorter = FILE.replacen(
        "    tcp dport 80 counter accept\n",
        "    udp dport 53 counter accept\n",
        1,
    );
    assert!(engine.run(Request::file("a.nft", &shorter)).is_ok());
    let listing = done(&mut engine, "list ruleset");
    assert_eq!(counts(&listing), ["0", "2", "1"], "{listing}");

    // A listing that is loaded again brings its counts.
    let changed = listing.replace("counter packets 2 bytes 200", "counter packets 7 bytes 700");
    assert!(
        engine
            .run(Request::file("a.nft", &format!("flush ruleset\n{changed}")))
            .is_ok()
    );
    assert_eq!(counts(&done(&mut engine, "list ruleset")), ["0", "7", "1"]);
}

#[test]
fn slots_of_removed_rules_are_given_again() {
    let mut engine = Engine::workbench();
    let mut seen = HashSet::new();
    for round in 0..1500 {
        let text = format!(
            "flush ruleset; add table t; add chain t c; add rule t c tcp dport {} counter",
            round + 1
        );
        done(&mut engine, &text);
        let chain = engine.ruleset().tables[0]
            .chain("c")
            .expect("the chain")
            .clone();
        seen.insert(chain.rules.get(0).expect("the rule").slots.counters[0]);
        assert!(done(&mut engine, "list ruleset").contains("counter packets 0 bytes 0"));
    }
    // A freed slot rests until a thousand others were freed.
    assert!(
        seen.len() <= 1100,
        "{} slots for one rule at a time",
        seen.len()
    );
}

#[test]
fn an_edit_leaves_the_chunks_of_other_rules_alone() {
    let mut engine = Engine::workbench();
    let mut text = String::from("table t {\n chain c {\n");
    (0..1000).for_each(|port| text.push_str(&format!("  tcp dport {} drop\n", port + 1)));
    text.push_str(" }\n}\n");
    assert!(engine.run(Request::file("many.nft", &text)).is_ok());
    let chunks = |engine: &Engine| -> Vec<Id> {
        let chain = engine.ruleset().tables[0]
            .chain("c")
            .expect("the chain")
            .clone();
        chain.rules.chunks().iter().map(|chunk| chunk.id).collect()
    };
    let before: HashSet<Id> = chunks(&engine).into_iter().collect();
    for command in [
        "add rule t c accept",
        "insert rule t c accept",
        "add rule t c position 500 accept",
        "delete rule t c handle 300",
        "replace rule t c handle 700 accept",
    ] {
        let old: HashSet<Id> = chunks(&engine).into_iter().collect();
        done(&mut engine, command);
        let fresh = chunks(&engine)
            .iter()
            .filter(|id| !old.contains(id))
            .count();
        assert!(
            fresh <= 2,
            "{command}: {fresh} new chunks of {}",
            before.len()
        );
    }
}

#[test]
fn a_request_can_expect_a_generation_and_may_be_read_only() {
    let mut engine = Engine::workbench();
    done(&mut engine, "add table t");
    let late = Request {
        expected_generation: Some(0),
        ..Request::command("add table u")
    };
    assert!(engine.run(late).is_err_and(|refusal| refusal.conflict));
    let reader = Request {
        read_only: true,
        ..Request::command("add table u")
    };
    assert!(engine.run(reader).is_err_and(|refusal| refusal.forbidden));
    let reader = Request {
        read_only: true,
        ..Request::command("list tables")
    };
    assert!(
        engine
            .run(reader)
            .is_ok_and(|reply| reply.output == "table ip t\n")
    );
    let check = Request {
        check_only: true,
        ..Request::command("add table u")
    };
    assert!(engine.run(check).is_ok_and(|reply| !reply.changed));
    let timely = Request {
        expected_generation: Some(1),
        ..Request::command("add table u")
    };
    assert!(engine.run(timely).is_ok_and(|reply| reply.generation == 2));
}

const DYNAMIC: &str = "flush ruleset; add table ip t; \
    add set ip t s { type ipv4_addr; flags dynamic; size 100; elements = { 9.9.9.9 }; }; \
    add chain ip t c { type filter hook forward priority 0; }; \
    add rule ip t c add @s { ip saddr }";

fn saddrs(listing: &str) -> usize {
    listing
        .lines()
        .filter(|line| line.contains('.'))
        .map(|line| line.matches(',').count() + 1)
        .sum()
}

#[test]
fn what_packets_added_is_listed_kept_and_can_be_deleted() {
    let mut bench = Bench::new(DYNAMIC);
    let frames: Vec<Frame> = zoo().into_iter().map(|(_, frame)| frame).take(8).collect();
    bench.run(&frames);
    let set = |bench: &mut Bench| bench.apply("list set ip t s").expect("the set");
    let listing = set(&mut bench);
    assert!(
        saddrs(&listing) >= 2 && listing.contains("9.9.9.9"),
        "{listing}"
    );

    bench.apply(DYNAMIC).expect("a reload");
    assert_eq!(set(&mut bench), listing);

    let added = listing
        .split([' ', ',', '\n', '\t'])
        .find(|word| word.matches('.').count() == 3 && *word != "9.9.9.9")
        .expect("an address that a packet added")
        .to_owned();
    assert!(
        bench
            .apply(&format!("get element ip t s {{ {added} }}"))
            .is_ok()
    );
    assert!(
        bench
            .apply(&format!("create element ip t s {{ {added} }}"))
            .is_err()
    );
    bench
        .apply(&format!("delete element ip t s {{ {added} }}"))
        .expect("it is there");
    assert!(!set(&mut bench).contains(&added));
    assert!(
        bench
            .apply(&format!("delete element ip t s {{ {added} }}"))
            .is_err()
    );
    bench.run(&frames);
    assert!(set(&mut bench).contains(&added));

    bench.apply("flush set ip t s").expect("a flush");
    assert!(!set(&mut bench).contains("elements"), "{}", set(&mut bench));
}

fn refused(text: &str) -> String {
    match Bench::load(text) {
        Ok(_) => panic!("{text} was taken"),
        Err(refusal) => refusal,
    }
}

#[test]
fn what_a_wire_cannot_evaluate_is_refused_at_its_place() {
    let nat = refused(
        "add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; add rule ip t c masquerade",
    );
    assert!(nat.contains("translation"), "{nat}");
    let tracked = refused(
        "add table ip t; add chain ip t c { type filter hook forward priority 0; }; add rule ip t c ct state new accept",
    );
    assert!(
        tracked.contains("ct state") && tracked.contains("\n") && tracked.contains("^^"),
        "{tracked}"
    );
    // A workbench takes and lists both.
    let mut engine = Engine::workbench();
    done(
        &mut engine,
        "add table ip t; add chain ip t c { type nat hook postrouting priority 100; }; add rule ip t c masquerade",
    );
    assert!(done(&mut engine, "list ruleset").contains("masquerade"));
}

#[test]
fn a_refused_ruleset_leaves_the_old_one_in_force() {
    let mut bench = Bench::new(
        "add table ip t; add chain ip t c { type filter hook forward priority 0; policy drop; }",
    );
    let frames: Vec<Frame> = zoo().into_iter().map(|(_, frame)| frame).take(2).collect();
    let before = bench.run(&frames).dropped;
    assert!(
        bench
            .apply("add chain ip t d; add rule ip t c ct state new accept")
            .is_err()
    );
    assert_eq!(bench.run(&frames).dropped, before);
    assert!(
        !bench
            .apply("list ruleset")
            .expect("a listing")
            .contains("chain d")
    );
}

#[test]
fn tables_of_a_session_go_with_it() {
    let mut engine = Engine::workbench();
    let mine = |text: &str| {
        let mut request = Request::command(text);
        request.origin.session = 7;
        request
    };
    assert!(
        engine
            .run(mine(
                "add table ip mine { flags owner; }; add table ip others"
            ))
            .is_ok()
    );
    let foreign = run(&mut engine, "add chain ip mine c");
    assert!(foreign.is_err_and(|refusal| refusal.rendered.contains("Operation not permitted")));
    assert!(engine.run(mine("add chain ip mine c")).is_ok());
    assert_eq!(
        done(&mut engine, "flush ruleset; list tables"),
        "table ip mine\n"
    );
    assert!(engine.close_session(7).is_ok_and(|changed| changed));
    assert_eq!(done(&mut engine, "list tables"), "");
}
