//! Sets whose elements come from files, through the executable.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::process::{Daemon, SLUICE, told};

const RULESET: &str = "flush ruleset\ntable inet t {\n\tset bad { type ipv4_addr; flags interval; }\n\
                       \tset one { type ipv4_addr; }\n\tset six { type ipv6_addr; flags interval; }\n}\n";

/// A daemon whose set `bad` follows `bad.txt`; the lines come behind.
fn daemon(list: &str, lines: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("rules.nft"), RULESET).unwrap();
    std::fs::write(folder.path().join("bad.txt"), list).unwrap();
    let lines = format!(
        "[ruleset]\nfiles = [\"rules.nft\"]\n[[set-source]]\nfamily = \"inet\"\ntable = \"t\"\n\
         set = \"bad\"\nfile = \"bad.txt\"\n{lines}"
    );
    Daemon::start_in(folder, &lines)
}

/// The elements of a set, as nft lists them.
fn elements(daemon: &Daemon, set: &str) -> String {
    let (code, text, errors) = told(&daemon.sluice(&["nft", "list", "set", "inet", "t", set]));
    assert_eq!((code, errors.as_str()), (0, ""));
    let Some((_, behind)) = text.split_once("elements = {") else {
        return String::new();
    };
    let (inside, _) = behind.split_once('}').unwrap();
    inside.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn state(daemon: &Daemon) -> Vec<Value> {
    let (code, text, errors) = told(&daemon.sluice(&["sets", "--json"]));
    assert_eq!((code, errors.as_str()), (0, ""));
    serde_json::from_str(&text).unwrap()
}

/// Waits for what another thread of the daemon will do; the length is no claim, only an end.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_set_has_what_its_file_has_before_the_daemon_is_ready() {
    let daemon = daemon(
        "# list\n10.0.0.0/8\n10.1.0.0/16 ; inside\n192.0.2.1\n::1\n",
        "",
    );
    assert_eq!(elements(&daemon, "bad"), "10.0.0.0/8, 192.0.2.1");
    let state = state(&daemon);
    let source = &state[0];
    assert_eq!(source["entries"], 4);
    assert_eq!(source["elements"], 2);
    assert_eq!(source["passed_over"], 1, "the IPv6 address");
    assert_eq!(source["format"], "list");
    assert!(source["error"].is_null() && source["failing_since"].is_null());
    assert!(source["loaded_at"].as_u64().unwrap() > 1_700_000_000);
    let (code, text, _) = told(&daemon.sluice(&["sets", "list"]));
    assert_eq!(code, 0);
    assert!(
        text.starts_with("SET ") && text.contains("inet t bad  bad.txt"),
        "{text}"
    );
}

#[test]
fn a_reload_makes_the_difference_in_one_generation() {
    let daemon = daemon("10.0.0.1\n10.0.0.2\n", "");
    let generation = || {
        let (_, text, _) = told(&daemon.sluice(&["status", "--json"]));
        serde_json::from_str::<Value>(&text).unwrap()["generation"]
            .as_u64()
            .unwrap()
    };
    let before = generation();
    std::fs::write(daemon.path("bad.txt"), "10.0.0.2\n10.0.0.3-10.0.0.9\n").unwrap();
    for name in [&["bad"][..], &["t", "bad"], &["inet", "t", "bad"], &[]] {
        let (code, text, errors) = told(&daemon.sluice(&[&["sets", "reload"], name].concat()));
        assert_eq!((code, errors.as_str()), (0, ""), "{text}");
    }
    assert_eq!(elements(&daemon, "bad"), "10.0.0.2, 10.0.0.3-10.0.0.9");
    assert_eq!(
        generation(),
        before + 1,
        "what is the same already makes no generation"
    );
    let (code, _, errors) = told(&daemon.sluice(&["sets", "reload", "good"]));
    assert_eq!(code, 1);
    assert!(
        errors.contains("no set called \"good\" has a [[set-source]]"),
        "{errors}"
    );
}

#[test]
fn a_broken_file_leaves_what_was_there_and_says_so_everywhere() {
    let address = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let daemon = daemon(
        "10.0.0.1\n",
        &format!("[metrics]\nlisten = \"{address}\"\n"),
    );
    let events = std::process::Command::new(SLUICE)
        .args(["events", "--kind", "set_source", "--count", "1", "--json"])
        .env("SLUICE_SOCKET", daemon.path("control.sock"))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::fs::write(daemon.path("bad.txt"), "10.0.0.2\n<!DOCTYPE html>\n").unwrap();
    let mut failures = 0;
    let mut events = Some(events);
    // The follower's request races with ours: repeat until it has heard.
    until("the event", || {
        let (code, text, _) = told(&daemon.sluice(&["sets", "reload"]));
        failures += 1;
        assert_eq!(code, 1);
        assert!(
            text.contains("inet t bad: bad.txt:2: \"<!DOCTYPE html>\": expected one entry a line")
                || text.contains("inet t bad: bad.txt:2: \"html>\": expected one entry a line"),
            "{text}"
        );
        events
            .as_mut()
            .is_some_and(|events| events.try_wait().unwrap().is_some())
    });
    let said = events.take().unwrap().wait_with_output().unwrap();
    let event: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&event["event"], &event["set"]),
        (&"set_source".into(), &"inet t bad".into())
    );
    assert!(event["error"].as_str().unwrap().starts_with("bad.txt:2: "));
    assert_eq!(elements(&daemon, "bad"), "10.0.0.1");
    let failing = state(&daemon)[0].clone();
    let since = failing["failing_since"].as_u64().unwrap();
    assert_eq!(failing["failures"].as_u64(), Some(failures));
    assert_eq!(failing["elements"], 1);
    let (_, text, _) = told(&daemon.call("curl", &["-s", &format!("http://{address}/metrics")]));
    let labels = "{family=\"inet\",table=\"t\",name=\"bad\"}";
    for line in [
        format!("sluice_set_source_failing_since_seconds{labels} {since}"),
        format!("sluice_set_source_failures_total{labels} {failures}"),
        format!("sluice_set_source_entries{labels} 1"),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is missing in\n{text}"
        );
    }
    let document = include_str!("../../../docs/metrics.md");
    for name in text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE sluice_set_source_"))
    {
        let name = name.split(' ').next().unwrap();
        assert!(
            document.contains(&format!("`sluice_set_source_{name}`")),
            "{name}"
        );
    }
    // A file that went is no empty list either, and mending it ends the alarm.
    std::fs::remove_file(daemon.path("bad.txt")).unwrap();
    assert_eq!(told(&daemon.sluice(&["sets", "reload"])).0, 1);
    assert_eq!(elements(&daemon, "bad"), "10.0.0.1");
    assert_eq!(
        state(&daemon)[0]["failing_since"].as_u64(),
        Some(since),
        "since the first time"
    );
    std::fs::write(daemon.path("bad.txt"), "10.0.0.3\n").unwrap();
    assert_eq!(told(&daemon.sluice(&["sets", "reload"])).0, 0);
    assert!(state(&daemon)[0]["failing_since"].is_null());
    assert_eq!(elements(&daemon, "bad"), "10.0.0.3");
}

#[test]
fn a_watched_file_is_read_when_another_is_renamed_over_it() {
    let daemon = daemon("10.0.0.1\n", "watch = true\n");
    for n in 2..5 {
        std::fs::write(daemon.path("fresh"), format!("10.0.0.{n}\n")).unwrap();
        std::fs::rename(daemon.path("fresh"), daemon.path("bad.txt")).unwrap();
        until("the rename", || {
            elements(&daemon, "bad") == format!("10.0.0.{n}")
        });
    }
    // Writing it in place does it as well, and a broken one is told without being asked for.
    std::fs::write(daemon.path("bad.txt"), "10.0.0.9\n").unwrap();
    until("the writing", || elements(&daemon, "bad") == "10.0.0.9");
    std::fs::write(daemon.path("bad.txt"), "nonsense\n").unwrap();
    until("the failure", || {
        state(&daemon)[0]["failing_since"].is_u64()
    });
    assert_eq!(elements(&daemon, "bad"), "10.0.0.9");
}

#[test]
fn a_link_that_is_exchanged_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    for n in 1..3 {
        std::fs::create_dir(folder.path().join(n.to_string())).unwrap();
        std::fs::write(
            folder.path().join(format!("{n}/list")),
            format!("10.0.0.{n}\n"),
        )
        .unwrap();
    }
    let link =
        |from: &str, to: &str| std::os::unix::fs::symlink(from, folder.path().join(to)).unwrap();
    link("1", "now");
    link("now/list", "list");
    std::fs::write(folder.path().join("rules.nft"), RULESET).unwrap();
    let daemon = Daemon::start_in(
        folder,
        "[ruleset]\nfiles = [\"rules.nft\"]\n[[set-source]]\nfamily = \"inet\"\ntable = \"t\"\n\
         set = \"one\"\nfile = \"list\"\nwatch = true\n",
    );
    assert_eq!(elements(&daemon, "one"), "10.0.0.1");
    std::os::unix::fs::symlink("2", daemon.path("fresh")).unwrap();
    std::fs::rename(daemon.path("fresh"), daemon.path("now")).unwrap();
    until("the exchange", || elements(&daemon, "one") == "10.0.0.2");
}

#[test]
fn a_ruleset_that_is_loaded_anew_finds_its_sets_full() {
    let daemon = daemon("10.0.0.1\n", "");
    let load = |text: &str| {
        std::fs::write(daemon.path("more.nft"), text).unwrap();
        told(&daemon.sluice(&["nft", "-f", "more.nft"]))
    };
    assert_eq!(load(RULESET), (0, String::new(), String::new()));
    assert_eq!(elements(&daemon, "bad"), "10.0.0.1");
    // What a saved ruleset has of elements is passed over, and that is said.
    let with = RULESET.replace(
        "interval; }\n\tset one",
        "interval; elements = { 1.1.1.1 } }\n\tset one",
    );
    let (code, _, warning) = load(&with);
    assert_eq!(code, 0);
    assert!(
        warning.contains("the elements of inet t bad come from bad.txt"),
        "{warning}"
    );
    assert_eq!(elements(&daemon, "bad"), "10.0.0.1");
    for command in [
        "add element inet t bad { 10.0.0.2 }",
        "delete element inet t bad { 10.0.0.1 }",
        "flush set inet t bad",
    ] {
        let (code, _, errors) = told(&daemon.sluice(&["nft", command]));
        assert_eq!(code, 1);
        assert!(
            errors.starts_with(
                "Error: Could not process rule: the elements of inet t bad come from bad.txt\n"
            ),
            "{errors}"
        );
    }
    assert_eq!(elements(&daemon, "bad"), "10.0.0.1");
    // The set goes, and comes back with another type: that it cannot be filled is told.
    assert_eq!(load("flush ruleset\ntable inet t { }\n").0, 0);
    let (code, _, warning) = load("table inet t {\nset bad { type inet_service; }\n}\n");
    assert_eq!(code, 0);
    assert!(
        warning.contains("cannot be filled from a file"),
        "{warning}"
    );
    assert!(state(&daemon)[0]["failing_since"].is_u64());
    assert_eq!(load(RULESET).0, 0);
    assert!(state(&daemon)[0]["failing_since"].is_null());
    assert_eq!(elements(&daemon, "bad"), "10.0.0.1");
}

#[test]
fn a_set_that_cannot_have_the_file_keeps_what_it_has() {
    let lines = "[[set-source]]\nfamily = \"inet\"\ntable = \"t\"\nset = \"one\"\nfile = \"one.txt\"\n\
                 [[set-source]]\nfamily = \"inet\"\ntable = \"t\"\nset = \"later\"\nfile = \"bad.txt\"\n";
    let daemon = daemon("10.0.0.1\n", lines);
    let errors: Vec<String> = state(&daemon)
        .iter()
        .map(|source| source["error"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(errors[0], "");
    assert_eq!(errors[1], "one.txt: No such file or directory (os error 2)");
    assert_eq!(errors[2], "there is no set inet t later");
    std::fs::write(daemon.path("one.txt"), "10.0.0.0/31\n").unwrap();
    let (code, text, _) = told(&daemon.sluice(&["sets", "reload", "one"]));
    assert_eq!(code, 1);
    let wide = "set inet t one has no flags interval and cannot take 10.0.0.0-10.0.0.1";
    assert!(text.contains(wide), "{text}");
    // The set that was not there is filled with the transaction that makes it.
    let make = "add set inet t later { type ipv4_addr; }";
    assert_eq!(told(&daemon.sluice(&["nft", make])).0, 0);
    assert_eq!(elements(&daemon, "later"), "10.0.0.1");
    assert!(state(&daemon)[2]["error"].is_null());
}

#[test]
fn a_required_file_that_is_not_there_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    let text = format!(
        "[control]\nsocket = \"{}/control.sock\"\n[[set-source]]\ntable = \"t\"\nset = \"s\"\n\
         file = \"/nonexistent/list\"\nrequired = true\n",
        folder.path().display()
    );
    std::fs::write(&file, text).unwrap();
    let output = std::process::Command::new(SLUICE)
        .args(["run", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let (code, _, errors) = told(&output);
    assert_eq!(code, 1);
    let reason = "sluice: set-source: /nonexistent/list: No such file or directory (os error 2)";
    assert!(errors.contains(reason), "{errors}");
}

#[test]
fn the_guides_examples_are_right() {
    let guide = include_str!("../../../docs/sets.md");
    let examples: Vec<String> = guide
        .split("\n\n")
        .filter(|block| block.starts_with("    ["))
        .map(|block| {
            block
                .lines()
                .map(|line| line.trim_start().to_owned() + "\n")
                .collect()
        })
        .collect();
    assert!(examples.len() >= 2);
    for example in examples {
        if let Err(errors) = sluice_control::appliance::Appliance::read("sets.md", &example) {
            panic!("{errors}");
        }
    }
}
