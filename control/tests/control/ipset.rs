//! `sluice ipset` as scripts use it: the executable against a daemon.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::process::{Daemon, SLUICE, told};

fn ipset(daemon: &Daemon, line: &str) -> (i32, String, String) {
    let words: Vec<&str> = std::iter::once("ipset").chain(line.split(' ')).collect();
    told(&daemon.sluice(&words))
}

/// The same with a text on standard input.
fn fed(daemon: &Daemon, words: &[&str], input: &str) -> (i32, String, String) {
    let mut child = Command::new(SLUICE)
        .arg("ipset")
        .args(words)
        .env("SLUICE_SOCKET", daemon.path("control.sock"))
        .current_dir(daemon.folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input.as_bytes()).unwrap();
    drop(pipe);
    told(&child.wait_with_output().unwrap())
}

fn done() -> (i32, String, String) {
    (0, String::new(), String::new())
}

#[test]
fn scripts_work_as_they_are() {
    let daemon = Daemon::start("");
    let link = daemon.path("ipset");
    std::os::unix::fs::symlink(SLUICE, &link).unwrap();
    // Called by the name ipset, it is ipset; old forms too.
    assert_eq!(told(&daemon.call(&link, &["-N", "a", "iphash"])), done());
    assert_eq!(
        told(&daemon.call(&link, &["-A", "a", "10.0.0.0/30"])),
        done()
    );
    let (code, out, err) = told(&daemon.call(&link, &["-T", "a", "10.0.0.9"]));
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(err, "10.0.0.9 is NOT in set a.\n");
    let (code, out, _) = told(&daemon.call(&link, &["-s", "-L", "a"]));
    assert_eq!(code, 0);
    assert!(
        out.starts_with("Name: a\nType: hash:ip\nRevision: 6\nHeader: family inet hashsize 1024"),
        "{out}"
    );
    assert!(
        out.ends_with("Number of entries: 4\nMembers:\n10.0.0.0\n10.0.0.1\n10.0.0.2\n10.0.0.3\n"),
        "{out}"
    );
    let (code, out, err) = told(&daemon.call(&link, &["add", "a"]));
    assert_eq!((code, out.as_str()), (2, ""));
    let usage = "ipset v7.17: Missing second mandatory argument to command add\n\
                 Try `ipset help' for more information.\n";
    assert_eq!(err, usage);
}

#[test]
fn what_save_says_restore_takes() {
    let daemon = Daemon::start("");
    let lines = "create a hash:net comment counters timeout 500\n\
                 add a 192.0.2.0/24 packets 5 bytes 6 comment \"two words\" nomatch timeout 0\n\
                 create b hash:ip,port -6\nadd b 2001:db8::1,icmpv6:ping\n\
                 create l list:set\nadd l a\nadd l b before a\n";
    assert_eq!(fed(&daemon, &["restore"], lines), done());
    let (code, saved, _) = ipset(&daemon, "save");
    assert_eq!(code, 0);
    assert!(
        saved.contains(
            "\nadd a 192.0.2.0/24 timeout 0 nomatch packets 5 bytes 6 comment \"two words\"\n"
        ),
        "{saved}"
    );
    assert_eq!(ipset(&daemon, "save -f kept"), done());
    assert_eq!(std::fs::read_to_string(daemon.path("kept")).unwrap(), saved);
    let (code, _, err) = fed(&daemon, &["restore"], &saved);
    let exists = "ipset v7.17: Error in line 1: Set cannot be created: set with the same name \
                  already exists\n";
    assert_eq!((code, err.as_str()), (1, exists));
    assert_eq!(fed(&daemon, &["restore", "-exist"], &saved), done());
    assert_eq!(ipset(&daemon, "destroy l"), done());
    assert_eq!(ipset(&daemon, "destroy"), done());
    assert_eq!(ipset(&daemon, "restore -file kept"), done());
    assert_eq!(ipset(&daemon, "save").1, saved);
    let (code, _, err) = ipset(&daemon, "restore -file nowhere");
    assert_eq!(code, 255);
    let missing = "ipset v7.17: Cannot open nowhere for reading: No such file or directory\n";
    assert_eq!(err, missing);
}

#[test]
fn the_interactive_mode_goes_on_after_an_error() {
    let daemon = Daemon::start("");
    let lines = "create q hash:ip\nadd q 1.1.1.1\nadd q 1.1.1.1\nfoo\ntest q 1.1.1.1\nlist q -n\nquit\nadd q 9.9.9.9\n";
    let (code, out, err) = fed(&daemon, &["-"], lines);
    assert_eq!(code, 0);
    assert_eq!(
        out,
        "ipset> ipset> ipset> ipset> No command specified\nipset> ipset> q\nipset> "
    );
    assert_eq!(
        err,
        "ipset v7.17: Element cannot be added to the set: it's already added\n\
         Warning: 1.1.1.1 is in set q.\n"
    );
    assert_eq!(ipset(&daemon, "-q test q 9.9.9.9").0, 1);
}

#[test]
fn names_are_looked_up_by_the_client() {
    let daemon = Daemon::start("");
    let lines = "create a hash:ip\nadd a 10.0.0.1\nadd a localhost\nadd a 10.0.0.2\n";
    assert_eq!(fed(&daemon, &["restore"], lines).0, 0);
    let (_, out, _) = ipset(&daemon, "-s list a");
    assert!(
        out.ends_with("Members:\n10.0.0.1\n10.0.0.2\n127.0.0.1\n"),
        "{out}"
    );
    let (_, out, _) = ipset(&daemon, "-r -s list a");
    assert!(out.ends_with("10.0.0.2\nlocalhost\n"), "{out}");
    let (code, _, err) = ipset(&daemon, "add a no-such-host.invalid");
    assert_eq!(code, 1);
    let unknown = "ipset v7.17: Syntax error: cannot parse no: resolving to IPv4 address failed\n";
    assert_eq!(err, unknown);
}

#[test]
fn reading_and_changing_are_separate_rights() {
    let daemon = Daemon::start("[control]\nchange = [\"nobody\"]\n");
    assert_eq!(ipset(&daemon, "list"), done());
    let (code, _, err) = ipset(&daemon, "create a hash:ip");
    assert_eq!(code, 1);
    assert!(err.contains("may not change this appliance"), "{err}");
    let (code, _, err) = fed(&daemon, &["restore"], "create a hash:ip\n");
    assert_eq!(code, 1);
    assert!(err.contains("may not change this appliance"), "{err}");
    assert_eq!(ipset(&daemon, "list -n"), done());
}

#[test]
fn sets_are_there_before_the_rules_that_use_them_and_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("sets"), "create a hash:ip\nadd a 10.0.0.1\n").unwrap();
    let rules = "table inet t { chain c { ipset \"a\" src drop; }; }\n";
    std::fs::write(path("rules"), rules).unwrap();
    let lines = format!(
        "[ruleset]\nipsets = [\"{}\"]\nfiles = [\"{}\"]\npersist = true\nstate = \"{}\"\n",
        path("sets"),
        path("rules"),
        folder.path().display()
    );
    let daemon = Daemon::start_in(folder, &lines);
    let (code, _, err) = ipset(&daemon, "destroy a");
    assert_eq!(code, 1);
    let busy = "ipset v7.17: Set cannot be destroyed: it is in use by a kernel component\n";
    assert_eq!(err, busy);
    assert_eq!(ipset(&daemon, "add a 10.0.0.2"), done());
    let (_, folder) = daemon.stop();
    let daemon = Daemon::start_in(folder, &lines);
    let (_, out, _) = ipset(&daemon, "list -s a");
    assert!(out.contains("References: 1\n"), "{out}");
    assert!(out.ends_with("Members:\n10.0.0.1\n10.0.0.2\n"), "{out}");
}
