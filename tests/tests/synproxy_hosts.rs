//! The SYN proxy between real hosts: over a wire and through a gateway, with the offloads that devices have.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use sluice_control::netns::Namespace;
use sluice_tests::appliance::{Daemon, PORTS, Wire};
use sluice_tests::routed::Routed;

/// Octets of a transfer, each way.
const OCTETS: usize = 6 << 20;

/// From the left to the servers at the right. IPv4 and IPv6 hosts announce different segment sizes.
const POLICY: &str = r#"
table inet fw {
    chain raw {
        type filter hook prerouting priority raw; policy accept;
        iifname "left" tcp dport 8000-8009 tcp flags syn notrack
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        iifname "left" tcp dport 8000-8009 ct state invalid,untracked jump proxy
        ct state established accept
        iifname "left" tcp dport 8000-8009 ct state new accept
        counter comment "refused"
    }
    chain proxy {
        meta nfproto ipv4 synproxy mss 1460 wscale 7 timestamp sack-perm
        meta nfproto ipv6 synproxy mss 1440 wscale 7 timestamp sack-perm
    }
}
"#;

fn wire() -> Wire {
    let conntrack = "[conntrack]\nloose = false\n";
    let appliance = format!("[dataplane]\nmode = \"wire\"\nworkers = 2\n{PORTS}\n{conntrack}");
    let wire = Wire::with(&appliance, POLICY, 1500);
    settle(&wire.left);
    settle(&wire.right);
    wire
}

/// A host whose window scale is the one that the rules announce.
fn settle(host: &Namespace) {
    host.sysctl("net/ipv4/tcp_rmem", "4096 131072 6291456")
        .unwrap();
}

fn listen(host: &Namespace, address: &str) -> TcpListener {
    host.run(|| TcpListener::bind(address)).unwrap().unwrap()
}

fn connect(host: &Namespace, address: &str) -> TcpStream {
    let stream = host.run(|| TcpStream::connect(address)).unwrap().unwrap();
    patient(&stream);
    stream
}

fn patient(stream: &TcpStream) {
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(30)))
        .unwrap();
}

fn octets(seed: u64) -> Vec<u8> {
    let mut octets = vec![0; OCTETS];
    SmallRng::seed_from_u64(seed).fill(&mut octets[..]);
    octets
}

/// Sends one text and gets another one.
fn exchange(stream: &mut TcpStream, said: u64, heard: u64) {
    let mut out = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let written = out.write_all(&octets(said));
        written.and_then(|()| out.shutdown(std::net::Shutdown::Write))
    });
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    sender.join().unwrap().unwrap();
    assert!(
        got == octets(heard),
        "every octet is what it was: {} of them",
        got.len()
    );
}

fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    patient(&stream);
    stream
}

/// A transfer both ways at once between two hosts.
fn transfer(client: &Namespace, server: &Namespace, address: &str) {
    let listener = listen(server, address);
    let mut near = connect(client, address);
    let serving = std::thread::spawn(move || exchange(&mut accept(&listener), 2, 1));
    exchange(&mut near, 1, 2);
    serving.join().unwrap();
}

fn counted(daemon: &Daemon, name: &str) -> u64 {
    let text = daemon.ok(&["flows", "tracker", "--json"]);
    let tracker: Value = serde_json::from_str(&text).unwrap();
    tracker["synproxy"][name].as_u64().unwrap()
}

#[test]
fn transfers_are_intact_in_both_directions_and_families() {
    let wire = wire();
    for address in ["10.0.0.2:8000", "[fd00::2]:8000"] {
        transfer(&wire.left, &wire.right, address);
    }
    assert_eq!(counted(&wire.daemon, "syn_received"), 2);
    assert_eq!(counted(&wire.daemon, "cookie_valid"), 2);
    assert_eq!(counted(&wire.daemon, "cookie_invalid"), 0);
    let flows = wire.daemon.ok(&["flows", "--dport", "8000", "--json"]);
    assert_eq!(flows.lines().count(), 2, "{flows}");
    assert!(
        flows.lines().all(|flow| flow.contains("\"seq-adjust\"")),
        "{flows}"
    );
}

#[test]
fn what_the_hosts_agree_on_reaches_both_ends() {
    if !sluice_tests::needs(&["ss"]) {
        return;
    }
    let wire = wire();
    for (address, mss) in [
        ("10.0.0.2:8000", "mss:1448"),
        ("[fd00::2]:8000", "mss:1428"),
    ] {
        let listener = listen(&wire.right, address);
        let mut near = connect(&wire.left, address);
        let mut far = accept(&listener);
        near.write_all(b"question").unwrap();
        far.read_exact(&mut [0; 8]).unwrap();
        far.write_all(b"answer").unwrap();
        near.read_exact(&mut [0; 6]).unwrap();
        for host in [&wire.left, &wire.right] {
            let told = host.sh("ss -tineH state established").unwrap();
            let line = told
                .lines()
                .find(|line| line.contains("wscale:"))
                .unwrap_or(&told);
            for word in [" ts", " sack", "wscale:7,7", mss] {
                assert!(
                    format!(" {}", line.trim()).contains(word),
                    "{address} {word}: {told}"
                );
            }
        }
    }
}

#[test]
fn a_closed_port_resets_its_client() {
    let wire = wire();
    for address in ["10.0.0.2:8001", "[fd00::2]:8001"] {
        // The proxy has answered for it; that nobody is there shows at once, or a moment later.
        let near = wire.left.run(|| TcpStream::connect(address)).unwrap();
        let end = near.and_then(|mut near| {
            patient(&near);
            near.read(&mut [0; 1])
        });
        let end = end.map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{address}");
    }
    let flows = wire.daemon.ok(&["flows", "--dport", "8001", "--json"]);
    assert_eq!(flows, "");
}

#[test]
fn a_server_that_is_late_is_asked_again_by_its_clients_probes() {
    if !sluice_tests::needs(&["nft"]) {
        return;
    }
    let wire = wire();
    for line in [
        "nft add table ip late",
        "nft add chain ip late c { type filter hook input priority 0; }",
        "nft add rule ip late c tcp dport 8002 drop",
    ] {
        wire.right.sh(line).unwrap();
    }
    let listener = listen(&wire.right, "10.0.0.2:8002");
    let mut near = connect(&wire.left, "10.0.0.2:8002");
    near.write_all(b"hello").unwrap();
    sluice_tests::wire::eventually("the client probes its window", || {
        counted(&wire.daemon, "cookie_retrans") >= 1
    });
    wire.right.sh("nft delete table ip late").unwrap();
    let mut far = accept(&listener);
    let mut got = [0; 5];
    far.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
}

#[test]
fn a_proxied_connection_outlives_a_restart() {
    let mut wire = wire();
    let listener = listen(&wire.right, "10.0.0.2:8000");
    let mut near = connect(&wire.left, "10.0.0.2:8000");
    let mut far = accept(&listener);
    let mut got = [0; 5];
    for restart in [true, false] {
        near.write_all(b"hello").unwrap();
        far.read_exact(&mut got).unwrap();
        far.write_all(b"hello").unwrap();
        near.read_exact(&mut got).unwrap();
        if restart {
            assert!(wire.daemon.stop(), "{}", wire.daemon.log());
            wire.daemon.restart(&wire.firewall);
        }
    }
}

/// The gateway: the server behind it, a server that it hides behind an address of its own, itself.
const GATEWAY: &str = r#"
table inet fw {
    chain raw {
        type filter hook prerouting priority raw; policy accept;
        iifname "left" tcp dport { 8000, 8080, 9000 } tcp flags syn notrack
    }
    chain input {
        type filter hook input priority filter; policy accept;
        iifname "left" tcp dport 8080 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        iifname "left" tcp dport 9000 ct state invalid,untracked synproxy mss 1460 wscale 0
        iifname "left" tcp dport { 8080, 9000 } ct state invalid drop
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        iifname "left" tcp dport 8000 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        ct state established,related accept
        iifname "left" ct state new accept
    }
    chain publish {
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr 10.1.0.1 tcp dport 8080 dnat ip to 10.2.0.2:8000
    }
    chain ask {
        type nat hook output priority -100; policy accept;
        ip daddr 10.1.0.1 tcp dport 8080 dnat ip to 10.2.0.2:8000
    }
}
"#;

#[test]
fn a_gateway_proxies_for_what_is_behind_it_hidden_or_not() {
    let routed = Routed::new(GATEWAY, "[conntrack]\nloose = false\n", (1500, 1500));
    settle(&routed.right);
    transfer(&routed.left, &routed.right, "10.2.0.2:8000");
    transfer(&routed.left, &routed.right, "[fd02::2]:8000");
    assert_eq!(counted(&routed.daemon, "cookie_valid"), 2);
    // The address is the gateway's, the server's is another one.
    let listener = listen(&routed.right, "10.2.0.2:8000");
    let mut near = connect(&routed.left, "10.1.0.1:8080");
    let serving = std::thread::spawn(move || exchange(&mut accept(&listener), 2, 1));
    exchange(&mut near, 1, 2);
    serving.join().unwrap();
    assert_eq!(counted(&routed.daemon, "cookie_valid"), 3);
    let flows = routed.daemon.ok(&["flows", "--dport", "8080", "--json"]);
    assert!(flows.contains("\"dnat\""), "{flows}");
    // The client's ports are its own, not the gateway's.
    let pools = routed.daemon.ok(&["nat", "--json"]);
    assert!(!pools.contains("\"10.1.0.2\""), "{pools}");
}

#[test]
fn a_gateway_proxies_for_its_own_host() {
    if !sluice_tests::needs(&["curl"]) {
        return;
    }
    let more = "[gateway]\nhealth_port = 9000\n[conntrack]\nloose = false\n";
    let routed = Routed::new(GATEWAY, more, (1500, 1500));
    for address in ["10.1.0.1", "[fd01::1]"] {
        let answer = routed
            .left
            .sh(&format!("curl -sS -m 5 http://{address}:9000/"));
        assert_eq!(answer.unwrap(), "ok\n", "{}", routed.daemon.log());
    }
    assert_eq!(counted(&routed.daemon, "cookie_valid"), 2);
}
