//! The numbered differences of `docs/compatibility.md` that are nft's text: what nft 1.0.6 lists, refuses
//! or mistakes, and what sluice makes of the same text.
//!
//! A row holds the answers of both; it fails when either has come to say something else.

use std::process::Command;

use sluice_config::engine::{Engine, Request};
use sluice_control::netns::Namespace;
use sluice_tests::needs;

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said<'a> {
    /// The rules of chain `c` as they are listed.
    Lists(&'a str),
    /// The first complaint.
    Refuses(&'a str),
    /// The program died.
    Crashes,
}

use Said::{Crashes, Lists, Refuses};

/// A rule in chain `c` of a table of this family, what nft says of it and what sluice says.
struct Row {
    family: &'static str,
    rule: &'static str,
    nft: Said<'static>,
    ours: Said<'static>,
}

const fn row(
    family: &'static str,
    rule: &'static str,
    nft: Said<'static>,
    ours: Said<'static>,
) -> Row {
    Row {
        family,
        rule,
        nft,
        ours,
    }
}

/// An owned answer, to be compared with what a row says.
#[derive(Debug)]
enum Answer {
    Listing(String),
    Complaint(String),
    Died,
}

impl Answer {
    fn said(&self) -> Said<'_> {
        match self {
            Self::Listing(rules) => Lists(rules),
            Self::Complaint(words) => Refuses(words),
            Self::Died => Crashes,
        }
    }
}

/// The ruleset of a row: what rules refer to stands in front.
fn ruleset(family: &str, rule: &str) -> String {
    let link = if matches!(family, "bridge" | "netdev") {
        "\tset s { type ether_addr; }\n"
    } else {
        ""
    };
    let hook = if rule.contains("snat") {
        "\t\ttype nat hook postrouting priority 100;\n"
    } else {
        ""
    };
    format!("table {family} t {{\n{link}\tchain c {{\n{hook}\t\t{rule}\n\t}}\n}}\n")
}

/// The rules of chain `c`, one after the other.
fn rules(listing: &str) -> String {
    listing
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "chain c {")
        .skip(1)
        .take_while(|line| *line != "}")
        .filter(|line| !line.starts_with("type "))
        .collect::<Vec<_>>()
        .join("; ")
}

/// What follows the first `Error:`.
fn complaint(output: &str) -> String {
    let line = output.split("Error: ").nth(1).unwrap_or_default();
    line.lines().next().unwrap_or_default().to_owned()
}

/// The names of hosts that nft knows: Debian's own file gives `localhost` two addresses.
const HOSTS: &str = "127.0.0.1 localhost\n";
/// A zone of time two hours ahead of UTC, in the form of POSIX.
const TWO_HOURS_AHEAD: &str = "EET-2";

/// What nft says, in a namespace of its own, with a file of hosts of its own.
fn nft(text: &str) -> Answer {
    let namespace = Namespace::new("text").unwrap();
    let hosts = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(hosts.path(), HOSTS).unwrap();
    let run = |zone: &str, text: &str| {
        let mut command = Command::new("unshare");
        let line = "mount --bind \"$0\" /etc/hosts && exec nft \"$1\"";
        command
            .args(["--mount", "sh", "-c", line])
            .arg(hosts.path());
        command.env("TZ", zone).arg(text);
        namespace.output(&mut command).unwrap()
    };
    // Times of day are of the zone of the one who writes them.
    let loaded = run(TWO_HOURS_AHEAD, text);
    if loaded.status.code().is_none() {
        return Answer::Died;
    }
    if !loaded.status.success() {
        return Answer::Complaint(complaint(&String::from_utf8_lossy(&loaded.stderr)));
    }
    let listed = run("UTC0", "list ruleset");
    if listed.status.code().is_none() {
        return Answer::Died;
    }
    Answer::Listing(rules(&String::from_utf8_lossy(&listed.stdout)))
}

fn ours(text: &str) -> Answer {
    let mut engine = Engine::workbench();
    if let Err(refusal) = engine.run(Request::file("text", text)) {
        return Answer::Complaint(complaint(&refusal.rendered));
    }
    match engine.run(Request::command("list ruleset")) {
        Ok(reply) => Answer::Listing(rules(&reply.output)),
        Err(refusal) => panic!("no listing: {}", refusal.rendered),
    }
}

/// Holds rows against both sides and tells every one that is not as it is written.
fn hold(rows: &[Row]) {
    if !needs(&["nft"]) {
        return;
    }
    let mut wrong = Vec::new();
    for row in rows {
        let text = ruleset(row.family, row.rule);
        for (who, wanted, answer) in [
            ("nft", row.nft, nft(&text)),
            ("sluice", row.ours, ours(&text)),
        ] {
            if answer.said() != wanted {
                let rule = row.rule;
                wrong.push(format!(
                    "{rule}\n  {who}: {:?}\n  not {wanted:?}",
                    answer.said()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn explained_18_listings_that_name_something_else() {
    hold(&[
        row(
            "netdev",
            "vlan pcp != 5-6 ether daddr set 06:00:00:b0:00:0b",
            Lists("vlan pcp != 5-6 @ll,0,48 set 0x60000b0000b"),
            Lists("vlan pcp != 5-6 ether daddr set 06:00:00:b0:00:0b"),
        ),
        row(
            "ip",
            "th sport 1 th dport 2",
            Lists("@th,0,32 0x10002"),
            Lists("th sport 1 th dport 2"),
        ),
        row(
            "ip",
            "icmp type 8 th sport 5",
            Lists("icmp type echo-request icmp type echo-reply icmp code 5"),
            Lists("icmp type echo-request th sport 5"),
        ),
        row(
            "ip",
            "udp dport 5 @th,0,8 3",
            Lists("udp dport 5 udp sport 768/8"),
            Lists("udp dport 5 @th,0,8 0x3"),
        ),
        row(
            "netdev",
            "ether saddr @s ip option ra exists",
            Lists("@ll,96,16 0x800 ether saddr @s ip option ra exists"),
            Lists("ether saddr @s ip option ra exists"),
        ),
        row(
            "inet",
            "@nh,4,4 set 5",
            Lists("@nh,0,8 set @nh,0,8 & 0xf5 | 0x5"),
            Lists("@nh,4,4 set 0x5"),
        ),
        row(
            "ip",
            "@nh,64,8 { 64, 65 }",
            Lists("ip ttl { 0x40, 0x41 }"),
            Lists("ip ttl { 64, 65 }"),
        ),
        row(
            "bridge",
            "@ll,48,48 { 0x020000000001, 0x020000000002 }",
            Lists("ether saddr { 0x20000000001, 0x20000000002 }"),
            Lists("ether saddr { 02:00:00:00:00:01, 02:00:00:00:00:02 }"),
        ),
    ]);
}

#[test]
fn explained_19_listings_of_masks_and_of_fields_that_are_no_whole_bytes() {
    hold(&[
        row(
            "ip6",
            "rt seg-left & 1 == 1",
            Lists("rt unknown & 1 == 1"),
            Lists("rt seg-left & 1 == 1"),
        ),
        row(
            "ip",
            "ip dscp & 1 == 1",
            Lists("(@nh,8,8 & 0xfc) >> 2 & 0x1 == 0x1"),
            Lists("ip dscp & lephb == lephb"),
        ),
        row(
            "ip",
            "ip dscp . tcp dport { 1 . 2 }",
            Lists("ip dscp >> 2 . tcp dport { lephb . 2 }"),
            Lists("ip dscp . tcp dport { lephb . 2 }"),
        ),
        row(
            "ip",
            "ip hdrlength { 5, 15-15 }",
            Lists("ip hdrlength { 5, 15-255 }"),
            Lists("ip hdrlength { 5, 15 }"),
        ),
    ]);
}

#[test]
fn explained_20_rules_of_which_a_part_is_lost() {
    hold(&[
        row(
            "netdev",
            "iiftype ppp meta protocol ip",
            Lists("meta protocol ip"),
            Lists("meta iiftype ppp meta protocol ip"),
        ),
        row(
            "ip",
            "ip protocol { 17, 19 } udp sport 1000",
            Lists("ip protocol { udp, 19 } th sport 1000"),
            Lists("ip protocol { udp, 19 } udp sport 1000"),
        ),
        row(
            "ip",
            "ct label { 5, 6 }",
            Lists(""),
            Lists("ct label { 5, 6 }"),
        ),
        row("ip", "ip id >> 1 == 4", Lists(""), Lists("ip id >> 1 == 4")),
        row(
            "ip",
            "ct original saddr != 10.0.0.0/8",
            Lists("ct original ip saddr != 0.0.0.10"),
            Lists("ct original ip saddr != 10.0.0.0/8"),
        ),
        row(
            "ip",
            "meta l4proto tcp snat to ip saddr map { 10.0.0.1 : 10.1.0.1-10.1.0.9 } : 80",
            Lists("meta l4proto tcp snat ip to ip saddr map { 10.0.0.1 : 10.1.0.1-10.1.0.9 }"),
            Lists("meta l4proto tcp snat ip to ip saddr map { 10.0.0.1 : 10.1.0.1-10.1.0.9 }:80"),
        ),
    ]);
}

#[test]
fn explained_21_rules_that_nft_dies_of() {
    hold(&[
        row("ip", "comp nexthdr tcp", Crashes, Lists("comp nexthdr tcp")),
        row("ip", "ah nexthdr tcp", Crashes, Lists("ah nexthdr tcp")),
        row(
            "ip",
            "meta mark set ct mark & 0xff << 2",
            Crashes,
            Lists("meta mark set ct mark & 0x000003fc"),
        ),
    ]);
}

#[test]
fn explained_22_numbers_cut_off_and_words_taken() {
    hold(&[
        row(
            "ip",
            "log group 70000",
            Lists("log group 4464"),
            Refuses("value out of range"),
        ),
        row(
            "ip",
            "ct count 5000000000",
            Lists("ct count 705032704"),
            Refuses("Value exceeds valid range 0-4294967295"),
        ),
        row(
            "ip",
            "reject with icmp type 300",
            Lists("reject with icmp 44"),
            Refuses("Value 300 exceeds valid range 0-255"),
        ),
        row(
            "ip",
            "synproxy mss 70000 wscale 7",
            Lists("synproxy mss 4464 wscale 7"),
            Refuses("synproxy mss is out of range"),
        ),
        row(
            "ip",
            "synproxy mss 1460 wscale 15",
            Lists("synproxy mss 1460 wscale 15"),
            Refuses("synproxy wscale 15 is out of range, the maximum is 14"),
        ),
        row(
            "ip",
            "meta priority set foo",
            Lists("meta priority set none"),
            Refuses("Could not parse TC classid"),
        ),
    ]);
}

#[test]
fn explained_23_writes_of_fields_smaller_than_a_word() {
    hold(&[
        row(
            "ip",
            "ip dscp set ip dscp",
            Refuses("Right hand side of binary operation (^) must be constant"),
            Lists("ip dscp set ip dscp"),
        ),
        row(
            "ip",
            "ip ttl set ip ttl",
            Refuses("Left shift of 8 bits is undefined for type of 8 bits width"),
            Lists("ip ttl set ip ttl"),
        ),
        row(
            "ip",
            "ip dscp set ip dscp map { 5 : 6 }",
            Refuses("Value 252 exceeds valid range 0-0"),
            Lists("ip dscp set ip dscp map { 0x05 : 0x06 }"),
        ),
    ]);
}

#[test]
fn explained_24_words_of_later_versions() {
    let unexpected = "syntax error, unexpected string";
    hold(&[
        row(
            "inet",
            "icmpv6 packet-too-big 1280",
            Refuses(unexpected),
            Lists("icmpv6 mtu 1280"),
        ),
        row(
            "inet",
            "icmpv6 taddr ::1",
            Refuses(unexpected),
            Lists("icmpv6 taddr ::1"),
        ),
        row(
            "inet",
            "last",
            Refuses("syntax error, unexpected newline"),
            Lists("last used never"),
        ),
        row(
            "inet",
            "dccp option 1 exists",
            Refuses("syntax error, unexpected string, expecting type or sport or dport"),
            Lists("dccp option 1 exists"),
        ),
    ]);
}

#[test]
fn explained_25_names_of_hosts_and_times_of_day() {
    hold(&[
        row(
            "ip",
            "ip saddr localhost",
            Lists("ip saddr 127.0.0.1"),
            Refuses("Could not resolve hostname: Temporary failure in name resolution"),
        ),
        row(
            "ip",
            "meta time \"2026-01-02 03:04:05\"",
            Lists("meta time \"2026-01-02 01:04:05\""),
            Lists("meta time \"2026-01-02 03:04:05\""),
        ),
    ]);
}

#[test]
fn explained_26_what_there_is_nothing_of_here() {
    hold(&[
        row(
            "inet",
            "socket cgroupv2 level 1 \"nowhere\"",
            Refuses("cgroupv2 path fails: No such file or directory"),
            Refuses("cgroupv2 is not supported: there are no control groups here"),
        ),
        row(
            "inet",
            "ipsec in reqid 5",
            Lists("ipsec in reqid 5"),
            Refuses("ipsec is not supported: there is no IPsec state here"),
        ),
    ]);
}
