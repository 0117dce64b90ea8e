//! Our conntrack against the real one: flows made, changed and listed by the same command lines, of the
//! kernel's tracker in a namespace and of a daemon.

use std::process::{Command, Output};

use sluice_control::netns::Namespace;
use sluice_tests::needs;
use sluice_tests::routed::Routed;

/// Command lines, one after the other.
const SESSION: &str = "
-I -p tcp -t 500 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 --state ESTABLISHED
-I -p tcp -t 500 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 --state ESTABLISHED
-A -p tcp -t 500 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 --state SYN_SENT -m 3
-L
-U -s 1.1.1.1 -p tcp --state TIME_WAIT
-U -s 1.1.1.1 -p tcp --state LISTEN
-U -s 1.1.1.1 -p tcp --state NONE
-U -s 1.1.1.1 -p tcp --state NONE
-U -s 1.1.1.1 -t 300
-U -s 1.1.1.1 -u SEEN_REPLY
-U -s 1.1.1.1 -u SEEN_REPLY
-U -s 1.1.1.1 -u ASSURED,SEEN_REPLY,FIXED_TIMEOUT
-U -s 1.1.1.1 -u UNSET
-U -s 1.1.1.1 -m 0xf5
-U -s 1.1.1.1 -m 0xf5
-U -s 1.1.1.1 -m 0x0a/0x0f
-U -s 1.1.1.1 -m 7 -o xml
-U -s 1.1.1.1 -m 8 -o save
-U -s 1.1.1.1 -m 9 -o extended
-U -s 1.1.1.1 -d 1.1.1.2 -p tcp --sport 6 --dport 7 -m 10
-U -s 1.1.1.1 -d 1.1.1.2 -p tcp --sport 6 --dport 8 -m 11
-U -q 1.1.1.1 -m 12
-U -s 9.9.9.9 -m 1
-U -s 1.1.1.1 -p udp -m 1
-U
-U -f ipv6 -m 1
-U -w 3 -m 1
-U -j
-U -p udp --state ESTABLISHED
-U expect
-A expect
-I -U
-D -s 1.1.1.1
-I -p udp -t 500 -s 1.1.1.3 -d 1.1.1.2 --sport 6 --dport 7 -u ASSURED,SEEN_REPLY -m 0x5/0xf
-L
-D -s 1.1.1.3
-A -p udp -t 500 -r 1.1.1.1 -q 1.1.1.2 --reply-port-src 6 --reply-port-dst 7
-I -p udp -t 500 -s 1.1.1.1 -d 1.1.1.9 --sport 6 --dport 7 -r 1.1.1.8 -q 1.1.1.1 --reply-port-src 6 --reply-port-dst 9
-I -p udplite -t 500 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7
-I -p icmp -t 500 -s 1.1.1.1 -d 1.1.1.2 --icmp-type 8 --icmp-code 0 --icmp-id 77
-I -p icmp -t 500 -s 1.1.1.4 -d 1.1.1.2 --icmp-type 8 --icmp-code 0
-I -p icmp -t 500 -s 1.1.1.1 -d 1.1.1.2 --icmp-type 3 --icmp-code 0
-I -p icmpv6 -t 500 -s fd00::1 -d fd00::2 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7
-I -p sctp -t 500 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 --state ESTABLISHED --orig-vtag 5 --reply-vtag 6
-I -p gre -t 500 -s 1.1.1.1 -d 1.1.1.2 --srckey 5 --dstkey 6
-I -p 89 -t 500 -s 1.1.1.1 -d 1.1.1.2
-I -p udp -t 500 -s 1.1.1.5 -d 1.1.1.2 --sport 6 --dport 7 -w 3
-I -p udp -t 500 -s 1.1.1.6 -d 1.1.1.2 --sport 6 --dport 7 --orig-zone 3
-I -p udp -t 500 -s 1.1.1.7 -d 1.1.1.2 --sport 6 --dport 7 --reply-zone 3
-I -p udp -t 500 -s 1.1.1.8 -d 1.1.1.2 --sport 6 --dport 7 -u UNREPLIED
-I -p udp -t 500 -s 1.1.1.9 -d 1.1.1.2 --sport 6 --dport 7 -u EXPECTED
-L -f ipv4
-L -f ipv6
-C
-I
-I -p tcp
-I -p tcp -t 5
-I -p tcp -t 5 -s 1.1.1.1
-I -p tcp -t 5 -s 1.1.1.1 -d 1.1.1.2
-I -p tcp -t 5 -s 1.1.1.1 -d 1.1.1.2 --state FOO
-I -p tcp -t 5 -s 1.1.1.1 -d 1.1.1.2 --state CLOSE
-I -p tcp -t 5 -s 1.1.1.1 -d fd00::1 --sport 5 --dport 6 --state CLOSE
-I -p udp -t 5 -s 1.1.1.1 -d 1.1.1.2
-I -p udp -t 5 -r 1.1.1.1
-I -p udp -t 5 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 -r 1.1.1.9
-I -p udp -t 5 -s 1.1.1.0/24 -d 1.1.1.2 --sport 6 --dport 7
-I -p udp -t 5 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 -o xml
-I -p udp -t 5 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 -i 5
-I -p icmp -t 5 -s 1.1.1.1 -d 1.1.1.2 --icmp-type 8
-I -p sctp -t 5 -s 1.1.1.1 -d 1.1.1.2 --sport 6 --dport 7 --state ESTABLISHED
-I -p gre -t 5 -s 1.1.1.1 -d 1.1.1.2
-F
-C
";

/// What a command said: its code, and both streams without what the clock and the tables choose.
fn said(output: &Output) -> (Option<i32>, Vec<String>, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut lines: Vec<String> = text(&output.stdout).lines().map(normal).collect();
    lines.sort_unstable();
    (output.status.code(), lines, text(&output.stderr))
}

/// A line with its timeout, its age and its number struck out.
fn normal(line: &str) -> String {
    let cut = |text: &str, from: &str, to: &str| match text.split_once(from) {
        Some((before, rest)) => {
            let behind = rest.split_once(to).map_or("", |(_, behind)| behind);
            format!("{before}{from}*{to}{behind}")
        }
        None => text.to_owned(),
    };
    let line = cut(line, "<timeout>", "</timeout>");
    let line = cut(&line, "<id>", "</id>");
    let line = cut(&line, "<deltatime>", "</deltatime>");
    let word = |(at, word): (usize, &str)| match word.parse::<u32>() {
        // `tcp 6 499`, `ipv4 2 tcp 6 499`, `-A -t 499`.
        Ok(number) if number > 250 && at < 5 => "*".to_owned(),
        _ if word.starts_with("delta-time=") => "delta-time=*".to_owned(),
        _ => word.to_owned(),
    };
    let words: Vec<String> = line.split_whitespace().enumerate().map(word).collect();
    words.join(" ")
}

#[test]
fn flows_are_made_and_changed_as_by_the_real_one() {
    if !needs(&["conntrack", "nft"]) {
        return;
    }
    let kernel = Namespace::new("kernel").unwrap();
    for line in [
        "nft add table ip t",
        "nft add chain ip t c { type filter hook input priority 0 ; }",
        "nft add rule ip t c ct state new accept",
    ] {
        kernel.sh(line).unwrap();
    }
    for setting in ["nf_conntrack_acct", "nf_conntrack_timestamp"] {
        let name = format!("net/netfilter/{setting}");
        kernel.sysctl(&name, "1").unwrap();
    }
    let bed = Routed::open();
    let mut differ = Vec::new();
    for line in SESSION.lines().filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let real = || Command::new("conntrack").args(&words).output();
        let real = said(&kernel.run(real).unwrap().unwrap());
        let ours = said(&bed.daemon.sluice(&[&["conntrack"], &words[..]].concat()));
        if real != ours {
            differ.push(format!("{line}\n  real {real:#?}\n  ours {ours:#?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
