//! Stateful filtering with real clients and servers: what is allowed passes in both directions for the
//! reason that its connection is known, what is not allowed is dropped.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use sluice_tests::appliance::{PORTS, Wire};
use sluice_tests::server::{self, Server};
use sluice_tests::{needs, peers};

/// New connections from the left only; answers, and what belongs to known connections, both ways.
const POLICY: &str = r#"
table inet fw {
    ct helper ftp-standard { type "ftp" protocol tcp; }
    ct helper tftp-standard { type "tftp" protocol udp; }
    chain pre {
        type filter hook prerouting priority filter; policy accept;
        tcp dport 21 ct helper set "ftp-standard"
        udp dport 69 ct helper set "tftp-standard"
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        ct state invalid counter drop comment "invalid"
        ct state established counter accept comment "established"
        ct state related counter accept comment "related"
        iifname "left" ct state new counter accept comment "new"
        counter comment "refused"
    }
}
"#;

fn appliance(conntrack: &str) -> String {
    format!("[dataplane]\nmode = \"wire\"\nworkers = 2\n{PORTS}\n{conntrack}")
}

fn stateful() -> Wire {
    Wire::with(&appliance(""), POLICY, 1500)
}

/// Serves one short answer to each connection, until its listener is gone.
fn serve_http(listener: TcpListener, text: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let length = text.len();
            let _ = write!(
                stream,
                "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{text}"
            );
        }
    });
}

fn listen(namespace: &sluice_control::netns::Namespace, address: &str) -> TcpListener {
    namespace
        .run(|| TcpListener::bind(address))
        .unwrap()
        .unwrap()
}

#[test]
fn only_the_inside_begins_connections() {
    if !needs(&["curl", "ping"]) {
        return;
    }
    let wire = stateful();
    for (host, address) in [(&wire.right, "10.0.0.2"), (&wire.right, "[fd00::2]")] {
        serve_http(listen(host, &format!("{address}:8000")), "outside");
        let answer = wire
            .left
            .sh(&format!("curl -sS -m 5 http://{address}:8000/"));
        assert_eq!(answer.unwrap(), "outside", "{}", wire.daemon.log());
    }
    serve_http(listen(&wire.left, "10.0.0.1:8000"), "inside");
    let refused = wire.right.sh("curl -sS -m 1 http://10.0.0.1:8000/");
    assert!(refused.is_err(), "{refused:?}");
    assert!(wire.daemon.packets("refused") >= 1);
    assert!(wire.daemon.packets("established") >= 8);

    assert!(wire.pings("10.0.0.2") && wire.pings("fd00::2"));
    assert!(wire.right.sh("ping -c 1 -W 1 10.0.0.1").is_err());
    assert_eq!(wire.daemon.packets("invalid"), 0);
    // What was refused has left nothing behind.
    let from_outside = wire.daemon.ok(&["flows", "--src", "10.0.0.2", "--json"]);
    assert_eq!(from_outside, "");
}

#[test]
fn a_traceroute_sees_its_answers_as_related() {
    if !needs(&["traceroute"]) {
        return;
    }
    let wire = stateful();
    let hops = wire
        .left
        .sh("traceroute -n -q 1 -w 2 -m 3 10.0.0.2")
        .unwrap();
    assert!(
        hops.lines().any(|line| line.contains("10.0.0.2  ")),
        "{hops}"
    );
    assert!(wire.daemon.packets("related") >= 1);
}

#[test]
fn names_are_resolved_over_udp_and_tcp() {
    if !needs(&["dnsmasq", "dig"]) {
        return;
    }
    let wire = stateful();
    let log = wire.daemon.folder().join("dnsmasq.log");
    let line = "dnsmasq --keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null --pid-file= \
                --user=root --group=root --listen-address=10.0.0.2 --bind-interfaces \
                --address=/service.test/192.0.2.7";
    let _server =
        Server::start(&wire.right, line, &log).listening(&wire.right, "10.0.0.2:53", &log);
    for transport in ["+notcp", "+tcp"] {
        let line = format!("dig +short +time=2 +tries=2 {transport} @10.0.0.2 service.test A");
        assert_eq!(
            wire.left.sh(&line).unwrap().trim(),
            "192.0.2.7",
            "{transport}"
        );
    }
    let flows = wire.daemon.ok(&["flows", "--dport", "53", "--json"]);
    assert_eq!(flows.lines().count(), 2, "{flows}");
}

#[test]
fn a_shell_is_reached_from_the_inside() {
    if !needs(&["sshd", "ssh", "ssh-keygen"]) {
        return;
    }
    let wire = stateful();
    peers::shell(&wire.left, &wire.right, "10.0.0.2", wire.daemon.folder());
}

#[test]
fn bulk_data_flows_both_ways() {
    if !needs(&["iperf3"]) {
        return;
    }
    let wire = stateful();
    let modes = ["-n 30M", "-n 30M -R", "-n 20M -P 4", "-u -b 50M -n 5M"];
    peers::bulk(
        &wire.left,
        &wire.right,
        "10.0.0.2",
        wire.daemon.folder(),
        &modes,
    );
    assert_eq!(wire.daemon.packets("invalid"), 0);
}

#[test]
fn files_come_by_ftp_in_every_mode() {
    if !needs(&["vsftpd", "curl"]) {
        return;
    }
    let wire = stateful();
    let content = vec![7; 200_000];
    let _server = server::ftp(&wire.right, "10.0.0.2", wire.daemon.folder(), &content);
    let mine = wire.daemon.folder().join("fetched");
    for (mode, host) in [
        ("", "10.0.0.2"),
        ("--disable-epsv", "10.0.0.2"),
        ("--ftp-port -", "10.0.0.2"),
        ("--ftp-port - --disable-eprt", "10.0.0.2"),
        ("", "[fd00::2]"),
        ("--ftp-port -", "[fd00::2]"),
    ] {
        let _ = fs::remove_file(&mine);
        let line = format!(
            "curl -sS -m 10 {mode} -o {} ftp://{host}/file",
            mine.display()
        );
        let done = wire.left.sh(&line);
        assert!(
            done.is_ok(),
            "{mode} {host}: {done:?}\n{}",
            wire.daemon.ok(&["flows"])
        );
        assert_eq!(fs::read(&mine).unwrap(), content, "{mode} {host}");
    }
    assert!(
        wire.daemon.packets("related") >= 6,
        "each data connection is related"
    );
}

#[test]
fn without_its_helper_ftp_has_no_data_connections() {
    if !needs(&["vsftpd", "curl"]) {
        return;
    }
    let wire = stateful();
    wire.daemon.nft(&["flush", "chain", "inet", "fw", "pre"]);
    let _server = server::ftp(&wire.right, "10.0.0.2", wire.daemon.folder(), b"content");
    // Passive is a new connection from the inside; active is one from the outside.
    assert_eq!(
        wire.left.sh("curl -sS -m 5 ftp://10.0.0.2/file").unwrap(),
        "content"
    );
    assert!(
        wire.left
            .sh("curl -sS -m 2 --ftp-port - ftp://10.0.0.2/file")
            .is_err()
    );
    assert_eq!(wire.daemon.packets("related"), 0);
}

#[test]
fn files_come_by_tftp() {
    if !needs(&["in.tftpd", "tftp"]) {
        return;
    }
    let wire = stateful();
    let folder = wire.daemon.folder();
    let content = vec![9; 20_000];
    let _server = server::tftp(&wire.right, "10.0.0.2", folder, &content);
    let mine = folder.join("fetched");
    let get = format!("tftp -m octet 10.0.0.2 -c get file {}", mine.display());
    let fetched = (0..5).any(|_| {
        // The server takes a moment to listen, and its client does not say that it failed.
        let _ = wire.left.sh(&get);
        fs::read(&mine).is_ok_and(|bytes| bytes == content)
    });
    assert!(fetched, "{}", wire.daemon.ok(&["flows"]));
    assert!(wire.daemon.packets("related") >= 1);
}

/// A connection over which both ends have exchanged something.
fn connection(wire: &Wire) -> (TcpStream, TcpStream) {
    let listener = listen(&wire.right, "10.0.0.2:7000");
    let connect = || TcpStream::connect("10.0.0.2:7000");
    let client = wire.left.run(connect).unwrap().unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
    }
    (client, server)
}

/// Sends a word and says whether it came out at the other end.
fn carries(mut from: &TcpStream, mut to: &TcpStream) -> bool {
    let mut got = [0; 5];
    from.write_all(b"hello").is_ok() && to.read_exact(&mut got).is_ok() && &got == b"hello"
}

#[test]
fn a_graceful_restart_keeps_connections_alive() {
    // Nothing is picked up in mid-stream: what lives on was saved and loaded.
    let settings = "[conntrack]\nloose = false\n";
    let mut wire = Wire::with(&appliance(settings), POLICY, 1500);
    let (client, server) = connection(&wire);
    assert!(carries(&client, &server) && carries(&server, &client));
    assert!(wire.daemon.stop(), "{}", wire.daemon.log());
    wire.daemon.restart(&wire.firewall);
    assert!(
        wire.daemon.log().contains("flows restored"),
        "{}",
        wire.daemon.log()
    );
    assert!(carries(&server, &client), "the outside may speak first");
    assert!(carries(&client, &server));
    let flows = wire
        .daemon
        .ok(&["flows", "--dport", "7000", "--status", "assured", "--json"]);
    assert_eq!(flows.lines().count(), 1, "{flows}");
}

#[test]
fn after_a_crash_connections_are_picked_up_from_the_inside() {
    let mut wire = stateful();
    let (client, server) = connection(&wire);
    assert!(carries(&client, &server));
    wire.daemon.kill_and_restart(&wire.firewall);
    assert!(carries(&client, &server), "loose tracking picks it up");
    assert!(carries(&server, &client));
}

#[test]
fn a_damaged_file_of_flows_costs_the_flows_only() {
    let mut wire = stateful();
    let (client, server) = connection(&wire);
    assert!(carries(&client, &server));
    assert!(wire.daemon.stop(), "{}", wire.daemon.log());
    let file = wire.daemon.state().join("flows");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&file, bytes).unwrap();
    wire.daemon.restart(&wire.firewall);
    assert!(
        wire.daemon.log().contains("saved flows are refused"),
        "{}",
        wire.daemon.log()
    );
    assert_eq!(wire.daemon.ok(&["flows", "--dport", "7000", "--json"]), "");
    assert!(Path::new(&file.with_extension("refused")).exists());
    assert!(carries(&client, &server), "new from the inside");
}
