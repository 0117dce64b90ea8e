//! The executable's commands, their texts and exit codes.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::{Daemon, SLUICE, told};

fn run(words: &[&str]) -> (i32, String, String) {
    let output = Command::new(SLUICE)
        .args(words)
        .env("SLUICE_SOCKET", "/nonexistent/control.sock")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    told(&output)
}

#[test]
fn wrong_usage_is_2_and_failure_is_1() {
    for words in [
        &["colour"][..],
        &[],
        &["status", "--colour"],
        &["run"],
        &["explain"],
    ] {
        assert_eq!(run(words).0, 2, "{words:?}");
    }
    for words in [
        &["status"][..],
        &["drops"],
        &["ports"],
        &["events"],
        &["explain", "--program"],
    ] {
        let (code, out, err) = run(words);
        assert_eq!((code, out.as_str()), (1, ""), "{words:?}");
        assert!(
            err.starts_with("sluice: cannot reach the daemon at /nonexistent"),
            "{err}"
        );
    }
    assert_eq!(run(&["nft", "list", "ruleset"]).0, 1);
    assert_eq!(run(&["--help"]).0, 0);
    assert_eq!(
        run(&["--version"]).1,
        format!("sluice {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn nft_helps_as_nft_does() {
    let (code, out, _) = run(&["nft", "--help"]);
    assert_eq!(code, 0);
    assert_eq!(
        out.trim_end(),
        include_str!("../golden/nft-help.txt").trim_end()
    );
    assert!(run(&["nft", "-v"]).1.starts_with("nftables v1.0.6"));
    let (code, out, err) = run(&["nft"]);
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (1, "", "nft: no command specified\n")
    );
    for words in [["nft", "-i"], ["nft", "-d"]] {
        let words = [&words[..], &["all", "list", "ruleset"]].concat();
        let words = if words[1] == "-i" {
            vec!["nft", "-i"]
        } else {
            words
        };
        let (code, _, err) = run(&words);
        assert_eq!(code, 1);
        assert!(err.contains("is not supported"), "{err}");
    }
}

#[test]
fn nft_loads_lists_and_refuses_through_the_socket() {
    let daemon = Daemon::start("");
    std::fs::write(
        daemon.path("main.nft"),
        "define ssh = 22\ninclude \"./rules/*.nft\"\nadd rule inet fw forw tcp dport $ssh accept\n",
    )
    .unwrap();
    std::fs::create_dir(daemon.path("rules")).unwrap();
    let tables = "add table inet fw\nadd chain inet fw forw { type filter hook forward priority 0; policy drop; }\n";
    std::fs::write(daemon.path("rules/a.nft"), tables).unwrap();
    assert_eq!(
        told(&daemon.sluice(&["nft", "-f", "main.nft"])),
        (0, String::new(), String::new())
    );
    let listing = "table inet fw {\n\tchain forw {\n\t\ttype filter hook forward priority filter; \
                   policy drop;\n\t\ttcp dport 22 accept\n\t}\n}\n";
    // Called by the name nft, it is nft.
    let link = daemon.path("nft");
    std::os::unix::fs::symlink(SLUICE, &link).unwrap();
    for output in [
        daemon.sluice(&["nft", "list", "ruleset"]),
        daemon.call(&link, &["list", "ruleset"]),
    ] {
        assert_eq!(told(&output), (0, listing.to_owned(), String::new()));
    }
    let (code, out, err) =
        told(&daemon.call(&link, &["add", "rule", "inet", "fw", "nope", "accept"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("Error: No such file or directory"), "{err}");
    assert!(
        err.contains("\nadd rule inet fw nope accept\n") && err.contains("^^^^"),
        "{err}"
    );
    let (code, _, err) = told(&daemon.sluice(&["nft", "-f", "/nonexistent"]));
    let expected = "internal:0:0-0: Error: Could not open file \"/nonexistent\": No such file or directory\n\n\n";
    assert_eq!((code, err.as_str()), (1, expected));
    let (code, _, _) = told(&daemon.sluice(&["nft", "-c", "flush", "ruleset"]));
    assert_eq!(code, 0);
    assert_eq!(
        told(&daemon.sluice(&["nft", "list", "ruleset"])).1,
        listing,
        "a check changes nothing"
    );
    assert_eq!(daemon.stop().0, Some(0));
}

#[test]
fn files_are_read_with_the_clients_rights_only() {
    let daemon = Daemon::start("");
    std::fs::write(daemon.path("secret.nft"), "add table inet secret\n").unwrap();
    // The daemon could read it; a request that does not carry it does not get it.
    let body = format!("{{\"file\":\"{}\"}}", daemon.path("secret.nft").display());
    let client = sluice_control::client::Client::new(daemon.path("control.sock"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let command: Value = serde_json::from_str(&body).unwrap();
    let refused = runtime
        .block_on(client.post::<_, Value>("/v1/nft", &command))
        .unwrap_err();
    assert!(
        refused.to_string().contains("No such file or directory"),
        "{refused}"
    );
    assert_eq!(told(&daemon.sluice(&["nft", "list", "tables"])).1, "");
}

#[test]
fn tables_have_a_json_form() {
    let daemon = Daemon::start("");
    for words in [
        &["status"][..],
        &["drops"],
        &["ports"],
        &["ports", "list"],
        &["explain", "--program"],
    ] {
        let (code, out, _) = told(&daemon.sluice(words));
        assert_eq!(code, 0, "{words:?}");
        assert!(
            serde_json::from_str::<Value>(&out).is_err(),
            "for a person: {out}"
        );
        let (code, out, _) = told(&daemon.sluice(&[words, &["--json"]].concat()));
        assert_eq!(code, 0, "{words:?}");
        serde_json::from_str::<Value>(&out).unwrap();
    }
    let file = daemon.path("drops.pcapng");
    assert_eq!(
        told(&daemon.sluice(&["drops", "--pcap", file.to_str().unwrap()])).0,
        0
    );
    assert_eq!(std::fs::read(&file).unwrap()[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    let (code, _, err) = told(&daemon.sluice(&["ports", "remove", "none"]));
    assert_eq!(
        (code, err.as_str()),
        (1, "sluice: no port is called \"none\"\n")
    );
    let (code, _, err) = told(&daemon.sluice(&["ports", "add", "eth0", "--peer", "eth1"]));
    assert_eq!(code, 1);
    assert!(err.contains("workbench"), "{err}");
}

#[test]
fn the_ruleset_survives_when_it_is_kept() {
    let lines = |folder: &std::path::Path| {
        format!(
            "[ruleset]\npersist = true\nstate = \"{}\"\n",
            folder.display()
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let text = lines(folder.path());
    let daemon = Daemon::start_in(folder, &text);
    let rules = "add table inet t; add counter inet t c { packets 5 bytes 60; }";
    assert_eq!(told(&daemon.sluice(&["nft", rules])).0, 0);
    let before = told(&daemon.sluice(&["nft", "list", "ruleset"])).1;
    let (code, folder) = daemon.stop();
    assert_eq!(code, Some(0));
    let daemon = Daemon::start_in(folder, &text);
    assert_eq!(told(&daemon.sluice(&["nft", "list", "ruleset"])).1, before);
    assert!(before.contains("packets 5 bytes 60"), "{before}");
    // Killed a moment after a change, it has the change too.
    assert_eq!(told(&daemon.sluice(&["nft", "add table inet late"])).0, 0);
    let kept = daemon.path("ruleset.nft");
    let begun = std::time::Instant::now();
    while !std::fs::read_to_string(&kept).unwrap().contains("late") {
        assert!(
            begun.elapsed() < std::time::Duration::from_secs(5),
            "not written"
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let daemon = Daemon::start_in(daemon.kill(), &text);
    assert!(
        told(&daemon.sluice(&["nft", "list", "tables"]))
            .1
            .contains("table inet late")
    );
}

#[test]
fn a_dead_daemons_socket_is_taken_over_and_a_living_ones_is_not() {
    let daemon = Daemon::start("");
    let second = daemon.sluice(&[
        "run",
        "--config",
        daemon.path("sluice.toml").to_str().unwrap(),
    ]);
    let (code, _, err) = told(&second);
    assert_eq!(code, 1);
    assert!(err.contains("another daemon listens at"), "{err}");
    let folder = daemon.kill();
    assert!(folder.path().join("control.sock").exists());
    let daemon = Daemon::start_in(folder, "");
    assert_eq!(told(&daemon.sluice(&["status"])).0, 0);
}

#[test]
fn the_socket_has_the_configured_permissions_and_a_refusal_is_logged() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start("[control]\nmode = \"0604\"\nchange = [\"nobody\"]\n");
    let mode = std::fs::metadata(daemon.path("control.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o604);
    let (code, _, err) = told(&daemon.sluice(&["nft", "add", "table", "inet", "t"]));
    assert_eq!(code, 1);
    assert!(err.contains("may not change this appliance"), "{err}");
    assert!(
        daemon.log().contains("control request refused"),
        "{}",
        daemon.log()
    );
    assert_eq!(
        told(&daemon.sluice(&["status"])).0,
        0,
        "reading is another right"
    );
}

#[test]
fn privileges_are_dropped() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let daemon = Daemon::start("[daemon]\nuser = \"nobody\"\n");
    let nobody = nix::unistd::User::from_name("nobody")
        .unwrap()
        .unwrap()
        .uid
        .as_raw();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let ids = format!("Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}\n");
    assert!(status.contains(&ids), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert_eq!(
        told(&daemon.sluice(&["nft", "add", "table", "inet", "t"])).0,
        0
    );
}

#[test]
fn a_bad_appliance_or_ruleset_stops_the_start_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, "[control]\nsokcet = \"x\"\n").unwrap();
    for words in [["run", "--config"], ["check", "--on=wire"]] {
        let output = Command::new(SLUICE)
            .args(words)
            .arg(&file)
            .output()
            .unwrap();
        let (code, _, err) = told(&output);
        assert_eq!(code, 1);
        let place = format!(
            "{}:2:1: control.sokcet: unknown key; did you mean socket?",
            file.display()
        );
        assert!(err.starts_with(&place), "{err}");
    }
    let rules = folder.path().join("rules.nft");
    std::fs::write(
        &rules,
        "table inet t {\n\tchain c {\n\t\ttcp dprt 22 accept\n\t}\n}\n",
    )
    .unwrap();
    let text = format!(
        "[control]\nsocket = \"{}/s\"\n[ruleset]\nfiles = [\"{}\"]\n",
        folder.path().display(),
        rules.display()
    );
    std::fs::write(&file, text).unwrap();
    for words in [["run", "--config"], ["check", "--on=wire"]] {
        let output = Command::new(SLUICE)
            .args(words)
            .arg(&file)
            .output()
            .unwrap();
        let (code, _, err) = told(&output);
        assert_eq!(code, 1);
        assert!(
            err.contains(&format!("{}:3:7-10: Error: syntax error", rules.display())),
            "{err}"
        );
    }
}

#[test]
fn check_needs_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.nft");
    std::fs::write(
        &rules,
        "table inet t {\n\tchain c {\n\t\ttcp dport 22 accept\n\t}\n}\n",
    )
    .unwrap();
    let file = rules.to_str().unwrap();
    assert_eq!(run(&["check", file]), (0, String::new(), String::new()));
    let unreached = "table ip t { chain c { type filter hook input priority 0; }; }\n";
    std::fs::write(&rules, unreached).unwrap();
    let (code, _, err) = run(&["check", file]);
    assert_eq!(code, 0);
    assert!(
        err.contains("Warning"),
        "an input chain is never reached on a wire: {err}"
    );
    assert_eq!(run(&["check", "--on", "workbench", file]).0, 0);
}

#[test]
fn completions_and_manual_pages_are_complete() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = run(&["completion", shell]);
        assert_eq!(code, 0);
        assert!(out.contains("explain") && out.contains("config"), "{shell}");
    }
    assert!(run(&["man"]).1.contains(".TH sluice 1"));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&["man", "--dir", folder.path().to_str().unwrap()]).0, 0);
    for page in [
        "sluice.1",
        "sluice-run.1",
        "sluice-nft.1",
        "sluice-ports-add.1",
        "sluice-lab.1",
    ] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
}

#[test]
fn events_reach_the_terminal() {
    let daemon = Daemon::start("");
    let child = Command::new(SLUICE)
        .args(["events", "--kind", "change", "--count", "1", "--json"])
        .env("SLUICE_SOCKET", daemon.path("control.sock"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut number = 0;
    let mut child = child;
    // The follower may not be there yet: change until it has heard of one.
    while child.try_wait().unwrap().is_none() {
        number += 1;
        assert!(number < 500, "no event arrives");
        assert_eq!(
            told(&daemon.sluice(&["nft", &format!("add table inet t{number}")])).0,
            0
        );
    }
    let (code, out, _) = told(&child.wait_with_output().unwrap());
    assert_eq!(code, 0);
    let event: Value = serde_json::from_str(out.trim_end()).unwrap();
    assert_eq!(event["event"], "change");
    assert!(
        event["changes"][0]
            .as_str()
            .unwrap()
            .starts_with("add table inet t"),
        "{event}"
    );
}

#[test]
fn the_guides_examples_are_right() {
    let guide = include_str!("../../../docs/wire.md");
    let mut blocks: Vec<String> = vec![String::new()];
    for line in guide.lines() {
        match (line.strip_prefix("    "), line.is_empty()) {
            (Some(code), _) => *blocks.last_mut().unwrap() += &format!("{code}\n"),
            (None, true) => blocks.last_mut().unwrap().push('\n'),
            (None, false) => blocks.push(String::new()),
        }
    }
    let mut seen = [0, 0];
    let folder = tempfile::tempdir().unwrap();
    for block in blocks.iter().map(|block| block.trim_start()) {
        if block.starts_with("table ") {
            seen[0] += 1;
            let file = folder.path().join("rules.nft");
            std::fs::write(&file, block).unwrap();
            let told = run(&["check", file.to_str().unwrap()]);
            assert_eq!(told, (0, String::new(), String::new()), "{block}");
        } else if block.starts_with('[') {
            seen[1] += 1;
            if let Err(errors) = sluice_control::appliance::Appliance::read("wire.md", block) {
                panic!("{errors}");
            }
        }
    }
    assert_eq!(seen, [1, 3]);
}

#[test]
fn nft_monitor_prints_changes() {
    let daemon = Daemon::start("");
    let mut child = Command::new(SLUICE)
        .args(["nft", "monitor", "new", "tables"])
        .env("SLUICE_SOCKET", daemon.path("control.sock"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let changing = std::sync::atomic::AtomicBool::new(true);
    let first = std::thread::scope(|scope| {
        // The follower may not be there yet: change until it has heard of one.
        scope.spawn(|| {
            for number in 0..500 {
                if !changing.load(std::sync::atomic::Ordering::SeqCst) {
                    break;
                }
                let text = format!("add table inet t{number}; add chain inet t{number} c");
                assert_eq!(told(&daemon.sluice(&["nft", &text])).0, 0);
            }
        });
        let first = lines.next();
        changing.store(false, std::sync::atomic::Ordering::SeqCst);
        first
    });
    let first = first.unwrap().unwrap();
    assert!(first.starts_with("add table inet t"), "{first}");
    child.kill().unwrap();
    child.wait().unwrap();
}
