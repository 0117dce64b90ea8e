//! Rulesets compiled for a gateway: which hooks are reached, in which order they stand, and what is
//! refused there and on a wire.

use std::sync::Arc;

use sluice_config::engine::{Engine, Mode, NoWorkers, Profile, Reply, Request};
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::program::{Class, Entry, bare_gateway, engines};
use sluice_dataplane::worker::clock::SystemClock;

fn load(mode: Mode, text: &str) -> Result<(Engine, Reply), String> {
    let profile = Profile {
        mode,
        ports: Vec::new(),
    };
    let mut engine = Engine::new(
        profile,
        Arc::new(Counters::new(1)),
        Arc::new(SystemClock),
        Box::new(NoWorkers),
    );
    if mode == Mode::Gateway {
        engine.set_engines(engines::ROUTES);
    }
    let reply = engine.run(Request::file("t.nft", text));
    let reply = reply.map_err(|refusal| refusal.rendered)?;
    Ok((engine, reply))
}

/// A walk in words: hooks of chains by name, the rest as it is.
fn walk(engine: &Engine, class: Class) -> Vec<String> {
    let program = engine.live().unwrap().program();
    let entries = program.walk(class).iter();
    entries
        .map(|entry| match entry {
            Entry::Chain { hook, .. } => format!("{hook:?}").to_lowercase(),
            other => format!("{other:?}"),
        })
        .collect()
}

const ALL: &str = "table inet t {\n\
    chain a { type filter hook prerouting priority 0; }\n\
    chain b { type filter hook input priority 0; }\n\
    chain c { type filter hook forward priority 0; }\n\
    chain d { type filter hook output priority 0; }\n\
    chain e { type filter hook postrouting priority 0; }\n}\n\
    table netdev n {\n\
    chain a { type filter hook ingress device \"x\" priority 0; }\n\
    chain b { type filter hook egress device \"x\" priority 0; }\n}\n\
    table arp a {\n\
    chain a { type filter hook input priority 0; }\n\
    chain b { type filter hook output priority 0; }\n}\n";

#[test]
fn every_hook_stands_where_linux_has_it() {
    let (engine, reply) = load(Mode::Gateway, ALL).unwrap();
    assert!(reply.warnings.is_empty(), "{:?}", reply.warnings);
    for class in [Class::Ip, Class::Ip6] {
        assert_eq!(
            walk(&engine, class),
            [
                "ingress",
                "Station",
                "CheckIp",
                "prerouting",
                "Route",
                "input",
                "ToSelf",
                "forward",
                "postrouting",
                "Neighbour",
                "egress"
            ]
        );
    }
    for class in [Class::OwnIp, Class::OwnIp6] {
        assert_eq!(
            walk(&engine, class),
            [
                "Route",
                "output",
                "Reroute",
                "postrouting",
                "Neighbour",
                "egress"
            ]
        );
    }
    let others = ["ingress", "Station", "input", "Arp"];
    assert_eq!(walk(&engine, Class::Other), others);
    assert_eq!(walk(&engine, Class::OwnArp), ["output", "Leave", "egress"]);
    assert_eq!(walk(&engine, Class::Leaving), ["Leave", "egress"]);
}

#[test]
fn an_empty_ruleset_is_the_bare_gateway() {
    let (engine, _) = load(Mode::Gateway, "table ip t { }\n").unwrap();
    let program = engine.live().unwrap().program();
    for class in Class::ALL {
        assert_eq!(program.walk(class), bare_gateway(class), "{class:?}");
    }
}

#[test]
fn bridge_chains_are_told_to_be_out_of_reach() {
    let text = "table bridge t { chain c { type filter hook forward priority 0; }; }\n";
    let (_, reply) = load(Mode::Gateway, text).unwrap();
    let warned = |warning: &String| {
        warning.contains("no packet comes to hook forward of family bridge in a gateway")
    };
    assert!(reply.warnings.iter().any(warned), "{:?}", reply.warnings);
    let (_, reply) = load(Mode::Wire, ALL).unwrap();
    assert!(
        reply
            .warnings
            .iter()
            .any(|warning| warning.contains("on a wire"))
    );
}

#[test]
fn what_needs_routes_is_refused_on_a_wire_by_name() {
    for rule in [
        "fib saddr . iif oif missing drop",
        "rt ip nexthop 10.0.0.1 drop",
    ] {
        let text = format!(
            "table ip t {{ chain c {{ type filter hook forward priority 0; {rule}; }}; }}\n"
        );
        assert!(load(Mode::Gateway, &text).is_ok(), "{rule}");
        let refusal = load(Mode::Wire, &text).err().unwrap();
        assert!(refusal.contains("routes"), "{rule}: {refusal}");
    }
    // A copy to an address is not routed here.
    let text =
        "table ip t { chain c { type filter hook prerouting priority 0; dup to 10.0.0.1; }; }\n";
    let refusal = load(Mode::Gateway, text).err().unwrap();
    assert!(refusal.contains("dup and fwd to an address"), "{refusal}");
}
