//! The gateway on real traffic: kernels' stacks as hosts on both sides.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use sluice_control::netns::Namespace;
use sluice_tests::appliance::Daemon;
use sluice_tests::frames::LEFT_MAC;
use sluice_tests::needs;
use sluice_tests::raw::RawSocket;
use sluice_tests::routed::{Routed, appliance, hosts};

/// Sends `bytes` both ways over one connection; whether each side got what was sent.
fn exchange(from: &Namespace, to: &Namespace, address: &str, bytes: usize) -> bool {
    let pattern = |seed: u8| {
        (0..bytes)
            .map(|at| (at * 31 % 251) as u8 ^ seed)
            .collect::<Vec<u8>>()
    };
    let address: SocketAddr = address.parse().unwrap();
    let listener = to.run(|| TcpListener::bind(address)).unwrap().unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (stream, _) = listener.accept().unwrap();
            talk(stream, &pattern(1), bytes)
        });
        let stream = from.run(|| TcpStream::connect(address)).unwrap().unwrap();
        let back = talk(stream, &pattern(2), bytes);
        server.join().unwrap() == pattern(2) && back == pattern(1)
    })
}

/// Sends `out` while it receives as many bytes.
fn talk(mut stream: TcpStream, out: &[u8], bytes: usize) -> Vec<u8> {
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(out).unwrap());
        let mut got = vec![0; bytes];
        stream.read_exact(&mut got).unwrap();
        got
    })
}

/// What a server at an address answers to one HTTP request from a host.
fn fetch(host: &Namespace, address: &str, path: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    let patience = Duration::from_secs(5);
    let stream = host.run(|| TcpStream::connect_timeout(&address, patience))?;
    let mut stream = stream?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn hosts_reach_each_other_and_the_gateway() {
    if !needs(&["ping"]) {
        return;
    }
    let bed = Routed::open();
    for to in [
        "10.2.0.2", "fd02::2", "10.1.0.1", "10.2.0.1", "fd01::1", "fd02::1",
    ] {
        assert!(bed.pings(to), "{to}\n{}", bed.daemon.log());
    }
    // Large ones are fragments on the way, and to the gateway itself.
    for to in ["-s 4000 10.2.0.2", "-s 4000 fd02::2", "-s 4000 10.1.0.1"] {
        assert!(bed.pings(to), "{to}\n{}", bed.daemon.ok(&["drops"]));
    }
    let neighbours = bed.daemon.ok(&["neighbours"]);
    let known = |address: &str| neighbours.lines().any(|line| line.contains(address));
    assert!(known("10.1.0.2") && known("fd02::2"), "{neighbours}");
    let routes = bed.daemon.ok(&["routes", "--json"]);
    assert!(routes.contains("\"10.2.0.0/24\""), "{routes}");
}

#[test]
fn a_traceroute_shows_the_gateway_both_ways() {
    if !needs(&["traceroute"]) {
        return;
    }
    let bed = Routed::open();
    for (from, to, hops) in [
        (&bed.left, "10.2.0.2", ["10.1.0.1", "10.2.0.2"]),
        (&bed.right, "10.1.0.2", ["10.2.0.1", "10.1.0.2"]),
        (&bed.left, "fd02::2", ["fd01::1", "fd02::2"]),
        (&bed.right, "fd01::2", ["fd02::1", "fd01::2"]),
    ] {
        let text = from
            .sh(&format!("traceroute -n -q 1 -w 2 -m 4 {to}"))
            .unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines.iter().zip(hops).all(|(line, hop)| line.contains(hop)),
            "{text}"
        );
    }
    // One that ends at the gateway.
    let text = bed
        .left
        .sh("traceroute -n -q 1 -w 2 -m 4 10.2.0.1")
        .unwrap();
    assert!(text.lines().nth(1).unwrap().contains("10.2.0.1"), "{text}");
}

#[test]
fn tcp_crosses_intact_with_all_offloads_on() {
    let bed = Routed::open();
    for to in ["10.2.0.2:7000", "[fd02::2]:7000"] {
        assert!(exchange(&bed.left, &bed.right, to, 20_000_000), "{to}");
    }
}

#[test]
fn tcp_finds_a_smaller_mtu_behind() {
    let bed = Routed::new("", "", (1500, 1400));
    // The right host's segments fit; the left host's must learn from the gateway.
    for to in ["10.2.0.2:7000", "[fd02::2]:7000"] {
        assert!(exchange(&bed.left, &bed.right, to, 2_000_000), "{to}");
    }
    if !needs(&["ping"]) {
        return;
    }
    let refused = |line: &str| {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        let output = bed.left.output(command.args(words)).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let text = refused("ping -c 2 -i 0.2 -W 1 -M do -s 1450 10.2.0.2");
    assert!(text.contains("1400"), "{text}");
    let text = refused("ping -c 2 -i 0.2 -W 1 -M do -s 1400 fd02::2");
    assert!(text.contains("1400"), "{text}");
    // What may be cut is cut.
    assert!(bed.pings("-M dont -s 1450 10.2.0.2"));
}

#[test]
fn iperf_crosses_with_several_streams() {
    if !needs(&["iperf3"]) {
        return;
    }
    let bed = Routed::open();
    let mut server = Command::new("iperf3");
    let mut server = bed
        .right
        .spawn(
            server
                .args(["-s", "-1"])
                .stdout(std::process::Stdio::null()),
        )
        .unwrap();
    let begun = std::time::Instant::now();
    let done = loop {
        let outcome = bed
            .left
            .sh("iperf3 -c 10.2.0.2 -n 64M -P 4 --connect-timeout 2000");
        if outcome.is_ok() || begun.elapsed() > Duration::from_secs(15) {
            break outcome;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    let _ = server.kill();
    let _ = server.wait();
    assert!(done.is_ok(), "{done:?}");
}

#[test]
fn every_hook_sees_its_packets() {
    if !needs(&["ping"]) {
        return;
    }
    let hooks = ["prerouting", "input", "forward", "output", "postrouting"];
    let chain = |hook: &str| {
        format!(
            "chain {hook} {{ type filter hook {hook} priority 0; icmp type echo-request counter \
             comment \"{hook} request\"; icmp type echo-reply counter comment \"{hook} reply\"; }}\n"
        )
    };
    let ruleset = format!(
        "table ip t {{\n{}}}\n\
         table arp a {{ chain i {{ type filter hook input priority 0; counter comment \"arp in\"; }}\n\
         chain o {{ type filter hook output priority 0; counter comment \"arp out\"; }}\n}}\n\
         table netdev n {{ chain i {{ type filter hook ingress device \"left\" priority 0; counter comment \"ingress\"; }}\n\
         chain e {{ type filter hook egress device \"right\" priority 0; counter comment \"egress\"; }}\n}}\n\
         table ip way {{ chain f {{ type filter hook forward priority 5; iifname \"left\" oifname \"right\" \
         rt ip nexthop 10.2.0.2 ip ttl 63 counter comment \"way\"; }}\n}}\n",
        hooks.map(chain).concat()
    );
    let bed = Routed::new(&ruleset, "", (1500, 1500));
    assert!(bed.pings("10.2.0.2"));
    assert!(bed.pings("10.1.0.1"));
    let counts = hooks
        .map(|hook| ["request", "reply"].map(|kind| bed.daemon.packets(&format!("{hook} {kind}"))));
    assert_eq!(
        counts,
        [[4, 2], [2, 0], [2, 2], [0, 2], [2, 4]],
        "prerouting, input, forward, output, postrouting"
    );
    assert_eq!(bed.daemon.packets("way"), 2);
    for comment in ["arp in", "arp out", "ingress", "egress"] {
        assert!(bed.daemon.packets(comment) >= 2, "{comment}");
    }
}

#[test]
fn the_reverse_path_is_checked_strictly_and_loosely() {
    let ruleset = "table inet t {\n chain p {\n type filter hook prerouting priority raw;\n \
        fib saddr oif missing counter drop comment \"loose\"\n \
        fib saddr . iif oif missing counter drop comment \"strict\"\n \
        fib daddr type local counter comment \"local\"\n }\n}\n";
    let bed = Routed::new(ruleset, "", (1500, 1500));
    if needs(&["ping"]) {
        assert!(bed.pings("10.2.0.2") && bed.pings("fd02::2"));
    }
    let socket = RawSocket::open(&bed.left, "eth0").unwrap();
    let gateway = bed.middle.mac("left").unwrap();
    for source in [[10, 2, 0, 9], [203, 0, 113, 1]] {
        let frame = udp(gateway, source, [10, 2, 0, 2]);
        socket.send(&frame).unwrap();
    }
    let begun = std::time::Instant::now();
    while bed.daemon.packets("strict") == 0 || bed.daemon.packets("loose") == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{}",
            bed.daemon.ok(&["drops"])
        );
    }
    assert_eq!(bed.daemon.packets("strict"), 1);
    assert_eq!(bed.daemon.packets("loose"), 1);
}

fn udp(to: [u8; 6], source: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0];
    packet.extend(source);
    packet.extend(target);
    let check = sluice_dataplane::packet::checksum::checksum(&packet);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    packet.extend([0x30, 0x39, 0x82, 0x9b, 0, 8, 0, 0]);
    [&to[..], &LEFT_MAC, &[8, 0], &packet].concat()
}

#[test]
fn rules_close_ports_and_reject_with_the_gateways_address() {
    let ruleset = "table inet t {\n chain f {\n type filter hook forward priority 0;\n \
        tcp dport 7001 reject with tcp reset\n udp dport 7002 drop\n \
        udp dport 7003 reject with icmpx admin-prohibited\n }\n \
        chain i {\n type filter hook input priority 0;\n tcp dport 8081 drop\n }\n}\n";
    let bed = Routed::new(ruleset, "[gateway]\nhealth_port = 8080\n", (1500, 1500));
    let connect = |to: &str| {
        let to: SocketAddr = to.parse().unwrap();
        bed.left
            .run(|| TcpStream::connect_timeout(&to, Duration::from_millis(700)))
            .unwrap()
            .map(|_| ())
            .map_err(|error| error.kind())
    };
    use std::io::ErrorKind::{ConnectionRefused, TimedOut};
    assert_eq!(connect("10.2.0.2:7001"), Err(ConnectionRefused));
    assert_eq!(connect("[fd02::2]:7001"), Err(ConnectionRefused));
    // The gateway itself: a port where nobody listens, one that a rule closes, the health check.
    assert_eq!(connect("10.1.0.1:81"), Err(ConnectionRefused));
    assert_eq!(connect("10.1.0.1:8081"), Err(TimedOut));
    for address in ["10.1.0.1:8080", "10.2.0.1:8080", "[fd01::1]:8080"] {
        let answer = fetch(&bed.left, address, "/").unwrap();
        assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    }
    let capture = RawSocket::open(&bed.left, "eth0").unwrap();
    let client = bed
        .left
        .run(|| UdpSocket::bind("10.1.0.2:0"))
        .unwrap()
        .unwrap();
    client.send_to(b"x", "10.2.0.2:7003").unwrap();
    let frames = capture.drain(Duration::from_millis(400)).unwrap();
    let refusal = frames.iter().find(|frame| frame[23] == 1 && frame[34] == 3);
    let refusal = refusal.unwrap_or_else(|| panic!("{frames:02x?}"));
    assert_eq!((refusal[35], &refusal[26..30]), (13, &[10, 1, 0, 1][..]));
}

#[test]
fn the_metrics_are_served_at_an_address_of_a_port() {
    let bed = Routed::new("", "[metrics]\nlisten = \"10.1.0.1:9473\"\n", (1500, 1500));
    let text = fetch(&bed.left, "10.1.0.1:9473", "/metrics").unwrap();
    assert!(text.starts_with("HTTP/1.0 200 OK"), "{text}");
    assert!(text.contains("sluice_build_info"), "{text}");
    // Nobody listens at the other address.
    assert!(fetch(&bed.left, "10.2.0.1:9473", "/metrics").is_err());
}

#[test]
fn a_proxied_address_is_answered_for() {
    let bed = Routed::open();
    bed.left.sh("ip address add 192.0.2.9/32 dev eth0").unwrap();
    let appliance = appliance("[[route]]\nto = \"192.0.2.9/32\"\nvia = \"10.1.0.2\"\n").replace(
        "addresses = [\"10.2.0.1/24\"",
        "proxy = [\"10.2.0.128/25\"]\naddresses = [\"10.2.0.1/24\"",
    );
    drop(bed);
    let (left, right, middle) = hosts((1500, 1500)).unwrap();
    left.sh("ip address add 10.2.0.200/32 dev lo").unwrap();
    let appliance = appliance.replace("192.0.2.9/32", "10.2.0.200/32");
    let daemon = Daemon::start(&middle, &appliance, "");
    // The right host believes that 10.2.0.200 is in its own network.
    let answered = right.sh("ping -c 2 -i 0.05 -W 3 10.2.0.200");
    assert!(answered.is_ok(), "{answered:?}\n{}", daemon.ok(&["drops"]));
    assert!(right.sh("ping -c 1 -W 1 10.2.0.100").is_err());
}

/// A TAP port: the kernel's stack in the gateway's own namespace is a neighbour.
#[test]
fn the_kernel_is_a_neighbour_over_a_tap() {
    tap_carries_traffic("tap", 2);
}

#[test]
fn the_kernel_is_a_neighbour_over_a_tun() {
    tap_carries_traffic("tun", 1);
}

fn tap_carries_traffic(driver: &str, workers: usize) {
    let (left, _right, middle) = hosts((1500, 1500)).unwrap();
    let appliance = format!(
        "[dataplane]\nmode = \"gateway\"\nworkers = {workers}\n\
         [[port]]\ndevice = \"left\"\nprepare = true\naddresses = [\"10.1.0.1/24\", \"fd01::1/64\"]\n\
         [[port]]\ndevice = \"here0\"\ndriver = \"{driver}\"\naddresses = [\"10.9.0.1/24\", \"fd09::1/64\"]\n"
    );
    let daemon = Daemon::start(&middle, &appliance, "");
    middle
        .sysctl("net/ipv6/conf/here0/disable_ipv6", "0")
        .unwrap();
    middle.add_address("here0", "10.9.0.2/24").unwrap();
    middle.add_address("here0", "fd09::2/64").unwrap();
    middle
        .add_route("10.1.0.0/24", "10.9.0.1".parse().unwrap())
        .unwrap();
    middle
        .add_route("fd01::/64", "fd09::1".parse().unwrap())
        .unwrap();
    for to in ["10.9.0.2", "fd09::2", "10.9.0.1"] {
        let pinged = left.sh(&format!("ping -c 2 -i 0.05 -W 3 {to}"));
        assert!(
            pinged.is_ok(),
            "{to}: {pinged:?}\n{}",
            daemon.ok(&["drops"])
        );
    }
    for to in ["10.9.0.2:7000", "[fd09::2]:7000"] {
        assert!(exchange(&left, &middle, to, 10_000_000), "{to}");
    }
    let ports = daemon.ok(&["ports"]);
    assert!(ports.contains(driver), "{ports}");
}

#[test]
fn what_a_gateway_does_not_do_is_refused_by_name() {
    let (_left, _right, middle) = hosts((1500, 1500)).unwrap();
    for (more, words) in [
        (
            "[gateway]\nrouter_advertisements = true\n",
            "gateway.router_advertisements: this gateway does no router advertisements",
        ),
        (
            "[dhcp]\npool = \"10.1.0.0/24\"\n",
            "dhcp: this gateway does no DHCP",
        ),
        (
            "[dns]\nlisten = \"10.1.0.1\"\n",
            "dns: this gateway does no DNS",
        ),
        (
            "[[route]]\nto = \"0.0.0.0/0\"\nvia = \"192.0.2.1\"\n",
            "route.via: 192.0.2.1 lies in no network of a port",
        ),
        (
            "[[route]]\nto = \"10.0.0.1/8\"\nvia = \"10.1.0.9\"\n",
            "route.to: 10.0.0.1/8 has bits behind its prefix",
        ),
    ] {
        let log = Daemon::refused(&middle, &appliance(more), "");
        assert!(log.contains(words), "{log}");
    }
}
