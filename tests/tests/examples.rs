//! The example rulesets of Debian's nftables package, as they are installed: what nft takes loads,
//! lists as nft lists it, and what is listed loads and lists the same; what nft refuses is refused.
//!
//! Of the files two are refused by nft and this kernel too: `secmark.nft` (no security module) and
//! `load_balancing.nft` (a chain of type nat before connection tracking).

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use sluice_config::engine::{Engine, Mode, NoWorkers, PortProfile, Profile, Request};
use sluice_config::syntax::{Files, Input, Options, Recorder, parse};
use sluice_control::netns::Namespace;
use sluice_dataplane::program::counters::Counters;
use sluice_dataplane::worker::{PortInfo, PortTable, SystemClock};

const FOLDER: &str = "/usr/share/doc/nftables/examples";
const REFUSED: [&str; 2] = ["load_balancing.nft", "secmark.nft"];
/// One example deletes this table first, and expects it there.
const THERE: &str = "add table ip filter";
/// Devices that the examples name.
const DEVICES: [&str; 6] = ["eth0", "eth1", "eth2", "eth3", "bond0", "bond1"];

/// A workbench with the devices as ports.
fn workbench(namespace: &Namespace) -> Engine {
    let mut table = PortTable::default();
    let mut profile = Profile {
        mode: Mode::Workbench,
        ports: Vec::new(),
    };
    for (at, name) in DEVICES.into_iter().enumerate() {
        let index = namespace.index(name).unwrap();
        let id = sluice_dataplane::port::PortId(at as u16);
        table.set(id, Some(PortInfo::new(name, index, "memory")));
        profile.ports.push(PortProfile {
            name: name.to_owned(),
            index,
            group: 0,
            kind: 1,
            peer: None,
            bridge: None,
        });
    }
    let counters = Arc::new(Counters::new(1));
    let mut engine = Engine::new(
        profile.clone(),
        counters,
        Arc::new(SystemClock),
        Box::new(NoWorkers),
    );
    engine.set_ports(profile, Arc::new(table));
    engine
}

fn list(engine: &mut Engine) -> String {
    let reply = engine.run(Request::command("list ruleset"));
    reply.map_err(|refusal| refusal.rendered).unwrap().output
}

/// Loads a file with what it includes and lists the ruleset; on refusal the complaint.
fn ours(namespace: &Namespace, file: &Path) -> Result<String, String> {
    let name = file.display().to_string();
    let input = Input::File(name.clone());
    let mut recorder = Recorder::new(Files);
    let _ = parse(&input, &Options::default(), &mut recorder);
    let mut request = Request::file(&name, "");
    request.files = recorder.into_bundle();
    let mut engine = workbench(namespace);
    let there = engine.run(Request::command(THERE));
    there.map_err(|refusal| refusal.rendered)?;
    engine.run(request).map_err(|refusal| refusal.rendered)?;
    Ok(list(&mut engine))
}

fn again(namespace: &Namespace, listed: &str) -> String {
    let mut engine = workbench(namespace);
    let reply = engine.run(Request::file("listed", listed));
    reply.map_err(|refusal| refusal.rendered).unwrap();
    list(&mut engine)
}

fn nft(file: &Path) -> Result<String, String> {
    let namespace = namespace();
    let run = |command: &mut Command| namespace.output(command).unwrap();
    let there = run(Command::new("nft").arg(THERE));
    assert!(there.status.success());
    let loaded = run(Command::new("nft").arg("-f").arg(file));
    if !loaded.status.success() {
        return Err(String::from_utf8_lossy(&loaded.stderr).into_owned());
    }
    let listed = run(Command::new("nft").args(["list", "ruleset"]));
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

fn namespace() -> Namespace {
    let namespace = Namespace::new("examples").unwrap();
    for pair in DEVICES.chunks(2) {
        namespace.add_veth(pair[0], &namespace, pair[1]).unwrap();
    }
    namespace
}

#[test]
fn the_examples_of_the_nftables_package_load_list_and_load_again() {
    if !sluice_tests::needs(&["nft"]) {
        return;
    }
    let Ok(folder) = std::fs::read_dir(FOLDER) else {
        assert!(
            std::env::var_os("SLUICE_NO_SKIP").is_none(),
            "no examples in {FOLDER}"
        );
        eprintln!("skipped: no examples in {FOLDER}");
        return;
    };
    // The only one that includes others does so relative to where it lies.
    std::env::set_current_dir(FOLDER).unwrap();
    let ports = namespace();
    let mut refused = Vec::new();
    let mut loaded = 0;
    for file in folder {
        let file = file.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "nft") {
            continue;
        }
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match (nft(&file), ours(&ports, &file)) {
            (Ok(theirs), Ok(listed)) => {
                assert_eq!(listed, theirs, "{name}: the listing");
                assert_eq!(again(&ports, &listed), listed, "{name}: loaded again");
                loaded += 1;
            }
            (Err(_), Err(_)) => refused.push(name),
            (Ok(_), Err(complaint)) => panic!("{name} is refused:\n{complaint}"),
            (Err(complaint), Ok(_)) => panic!("{name} loads, but nft says:\n{complaint}"),
        }
    }
    refused.sort();
    assert_eq!(refused, REFUSED);
    assert!(loaded >= 15, "{loaded} examples");
}
