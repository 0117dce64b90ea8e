//! `sluice nft` as a shell sees it, next to the real nft: the same command lines in the same folder,
//! and the same standard output, complaints and exit status.
//!
//! What a command changes the next ones find: both sides run through one long session.

use std::path::Path;
use std::process::{Command, Output};

use sluice_control::netns::Namespace;
use sluice_tests::appliance::{Daemon, executable};
use sluice_tests::needs;

/// Files in the folder where the commands run.
const FILES: &[(&str, &str)] = &[
    ("empty.nft", ""),
    ("comment.nft", "# nothing but a comment"),
    ("shebang.nft", "#!/usr/sbin/nft -f\nadd table ip shebang\n"),
    ("crlf.nft", "add table ip crlf\r\n"),
    ("no-newline.nft", "add table ip last"),
    (
        "continued.nft",
        "add table \\\n  ip continued ; add chain ip continued \\\n c\n",
    ),
    ("d/10-one.nft", "add table ip one\n"),
    (
        "d/20-two.nft",
        "add table ip two\nadd chain ip one from_two\n",
    ),
    ("d/.hidden.nft", "add table ip hidden\n"),
    ("d/README", "not for nft\n"),
    ("globs.nft", "include \"d/*.nft\"\n"),
    ("brackets.nft", "include \"./d/[12]0-*.nft\"\n"),
    ("no-match.nft", "include \"d/*.none\"\n"),
    ("missing.nft", "add table ip t\ninclude \"none.nft\"\n"),
    ("folder.nft", "include \"d\"\n"),
    ("folder-slash.nft", "include \"./d/\"\n"),
    ("self.nft", "include \"./self.nft\"\n"),
    ("inner-bad.nft", "include \"./bad/inner.nft\"\n"),
    (
        "bad/inner.nft",
        "table ip t {\n\tchain c {\n\t\ttcp dport foo accept\n\t}\n}\n",
    ),
    ("path.nft", "include \"10-one.nft\"\n"),
    (
        "uses.nft",
        "add table ip uses\nadd chain ip uses c\nadd rule ip uses c tcp dport $ports accept\n",
    ),
    (
        "typed.nft",
        "table inet typed {\n\tchain c {\n\t\ttype filter hook forward priority $prio; policy $pol;\n\t\tiifname $dev counter\n\t}\n}\n",
    ),
    (
        "two.nft",
        "add table ip ok\nadd chain ip nowhere c\nadd rule ip ok c accept\n",
    ),
    (
        "late.nft",
        "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority 0;\n\t\ttcp dport { 22, 80 } accept\n\t\tudp dport 53 acccept\n\t}\n}\n",
    ),
    (
        "open.nft",
        "table inet filter {\n\tchain input {\n\t\ttcp dport 22 accept\n",
    ),
    (
        "closed.nft",
        "table inet filter {\n\tchain input {\n\t\ttcp dport 22 accept\n\t}\n}\n}\n",
    ),
    (
        "tabs.nft",
        "table ip t {\n\tchain c {\n\t\t\tip saddr 10.0.0.1\t\ttcp dport 99999 accept\n\t}\n}\n",
    ),
    (
        "utf8.nft",
        "add table ip t { comment \"Größe\"; }\nadd chain ip t ü\n",
    ),
    (
        "scopes.nft",
        "define a = 1\ntable ip scopes {\n\tdefine a = 2\n\tchain c {\n\t\tdefine b = 3\n\t\tmark $a\n\t\tmark $b\n\t}\n\tchain d {\n\t\tmark $b\n\t}\n}\n",
    ),
    (
        "web.nft",
        "table inet web {\n\tset open { type inet_service; flags interval; elements = { 22, 80-90 }; }\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t\tct state established,related accept\n\t\ttcp dport @open counter accept comment \"open\"\n\t\tmeta l4proto { tcp, udp } th dport 53 accept\n\t\ticmp type echo-request limit rate 5/second accept\n\t}\n}\n",
    ),
];

/// Command lines, `$NFT` being one program or the other.
const LINES: &[&str] = &[
    "$NFT",
    "$NFT -v | cut -d' ' -f1-2",
    "$NFT --versio | cut -d' ' -f1-2",
    "$NFT -q",
    "$NFT --quiet",
    "$NFT --num list ruleset",
    "$NFT -f",
    "$NFT -f none.nft",
    "$NFT -f empty.nft",
    "$NFT -f comment.nft",
    "$NFT -f shebang.nft",
    "$NFT -f crlf.nft",
    "$NFT -f no-newline.nft",
    "$NFT -f continued.nft",
    "$NFT list tables",
    "$NFT -f globs.nft",
    "$NFT -f brackets.nft",
    "$NFT -f no-match.nft",
    "$NFT -f missing.nft",
    "$NFT -f folder.nft",
    "$NFT -f folder-slash.nft",
    "$NFT -f self.nft",
    "$NFT -f inner-bad.nft",
    "$NFT -f path.nft",
    "$NFT -I d -f path.nft",
    "$NFT --includepath=./d --file path.nft",
    "$NFT -I none -f path.nft",
    "$NFT list ruleset",
    "$NFT flush ruleset",
    "$NFT -f uses.nft",
    "$NFT -D ports=22 -f uses.nft",
    "$NFT -D 'ports={ 80, 443 }' -f uses.nft",
    "$NFT --define ports=ssh -f uses.nft",
    "$NFT -D ports -f uses.nft",
    "$NFT -D ports= -f uses.nft",
    "$NFT -D ports=foo -f uses.nft",
    "$NFT -D ports=22 list ruleset",
    "$NFT -D prio=filter -D pol=accept -D dev=eth0 -f typed.nft",
    "$NFT -D prio=nowhere -D pol=reject -D what=accept -D dev=eth0 -f typed.nft",
    "$NFT list ruleset",
    "$NFT flush ruleset",
    "$NFT -c -f web.nft",
    "$NFT list ruleset",
    "$NFT -c -f two.nft",
    "$NFT -f two.nft",
    "$NFT -c add table ip x",
    "$NFT -c list tables",
    "$NFT -c delete table ip x",
    "$NFT list tables",
    "$NFT -f late.nft",
    "$NFT -f open.nft",
    "$NFT -f closed.nft",
    "$NFT -f tabs.nft",
    "$NFT -f utf8.nft",
    "$NFT -f scopes.nft",
    "cat late.nft | $NFT -f -",
    "$NFT -f /dev/stdin < late.nft",
    "cat web.nft | $NFT -f -",
    "$NFT list ruleset",
    "$NFT -a list ruleset",
    "$NFT -nn list ruleset",
    "$NFT -n -n -a list ruleset",
    "$NFT -y list ruleset",
    "$NFT -S list ruleset",
    "$NFT -p list ruleset",
    "$NFT -s list ruleset",
    "$NFT -t list ruleset",
    "$NFT -sat list ruleset",
    "$NFT list ruleset inet",
    "$NFT list ruleset ip",
    "$NFT list table inet web | $NFT -c -f -",
    "$NFT add rule inet web input tcp dport 8080 accept",
    "$NFT 'add rule inet web input tcp dport 8081 accept; add rule inet web inptu accept'",
    "$NFT add rule inet web input 'tcp dport 8082 accept'",
    "$NFT add rule inet web input tcp dport '{ 1, 2 }' accept",
    "$NFT insert rule inet web input index 2 drop",
    "$NFT -e -a add rule inet web input tcp dport 9 accept",
    "$NFT add element inet web open '{ 443, 85-95 }'",
    "$NFT add element inet web open '{ 443, 1000-2000 }'",
    "$NFT get element inet web open '{ 1500 }'",
    "$NFT get element inet web open '{ 1500, 22, 3 }'",
    "$NFT get element inet web open '{ 1500-1600 }'",
    "$NFT delete element inet web open '{ 1500 }'",
    "$NFT delete element inet web open '{ 1000-2000 }'",
    "$NFT list set inet web open",
    "$NFT rename chain inet web input incoming",
    "$NFT list chain inet web incoming",
    "$NFT rename chain inet web incoming incoming",
    "$NFT reset counters",
    "$NFT reset counter inet web c",
    "$NFT reset quotas",
    "$NFT delete table inet web",
    "$NFT list ruleset",
    "$NFT describe tcp flags",
    "$NFT describe ct state",
    "$NFT describe ip saddr",
    "$NFT describe icmp_type",
    "$NFT describe nonsense",
    "$NFT 'list ruleset; list tables'",
    "$NFT ''",
    "$NFT ' '",
    "$NFT ';'",
    "$NFT '#'",
    "$NFT add table ip '\"quoted name\"'",
    "$NFT add table ip a b",
    "$NFT add tabel ip a",
];

struct Side {
    namespace: Namespace,
    nft: String,
    folder: tempfile::TempDir,
}

impl Side {
    fn new(name: &str, nft: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in FILES {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self {
            namespace: Namespace::new(name).unwrap(),
            nft,
            folder,
        }
    }

    fn run(&self, line: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-c", line]).env("NFT", &self.nft);
        command.current_dir(self.folder.path());
        words(&self.namespace.output(&mut command).unwrap())
    }
}

/// Output, complaints and status as one text.
fn words(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let status = output
        .status
        .code()
        .map_or("died".to_owned(), |code| code.to_string());
    format!(
        "{}--\n{}= {status}\n",
        text(&output.stdout),
        text(&output.stderr)
    )
}

/// What is meant to differ (docs/commands.md, docs/compatibility.md). Handles that a check or a refused file
/// used up are no longer there to give.
fn comparable(answer: &str) -> String {
    answer
        .lines()
        .filter(|line| !line.starts_with("# new generation"))
        .map(|line| line.split("; it is used by ").next().unwrap_or_default())
        .map(|line| line.split(" # handle ").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_shell_sees_what_nft_would_show() {
    if !needs(&["nft"]) {
        return;
    }
    let namespace = Namespace::new("workbench").unwrap();
    let daemon = Daemon::start(&namespace, "", "");
    let program: &Path = &executable();
    let socket = daemon.socket();
    let ours = format!("{} --socket {} nft", program.display(), socket.display());
    let (nft, ours) = (Side::new("nft", "nft".to_owned()), Side::new("ours", ours));
    let mut different = Vec::new();
    for line in LINES {
        let (theirs, ours) = (nft.run(line), ours.run(line));
        if comparable(&theirs) != comparable(&ours) {
            different.push(format!("{line}\n--- nft\n{theirs}+++ sluice\n{ours}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}
