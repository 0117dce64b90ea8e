//! Translation by the gateway on real traffic: what servers see, what clients get back.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sluice_control::netns::Namespace;
use sluice_tests::routed::Routed;
use sluice_tests::{needs, peers, server};

const PATIENCE: Duration = Duration::from_secs(5);

/// Source translation of both families, and what comes in unasked refused.
const MASQUERADE: &str = "
table inet gw {
    chain in { type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname left accept
        ct status dnat accept
    }
    chain post { type nat hook postrouting priority srcnat; oifname right masquerade; }
}
";

/// Connects over TCP and sends `bytes` each way: whom the server saw. Panics when a byte differs.
fn tcp(from: &Namespace, to: &Namespace, listen: &str, connect: &str, bytes: usize) -> SocketAddr {
    let listen: SocketAddr = listen.parse().unwrap();
    let connect: SocketAddr = connect.parse().unwrap();
    let pattern: Vec<u8> = (0..bytes).map(|at| (at * 31 % 251) as u8).collect();
    let pattern = &pattern[..];
    let listener = to.run(|| TcpListener::bind(listen)).unwrap().unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut stream, peer) = listener.accept().unwrap();
            stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
            let mut got = vec![0; bytes];
            stream.read_exact(&mut got).unwrap();
            stream.write_all(&got).unwrap();
            assert!(got == pattern, "there");
            peer
        });
        let stream = from.run(|| TcpStream::connect_timeout(&connect, PATIENCE));
        let mut stream = stream
            .unwrap()
            .unwrap_or_else(|error| panic!("{connect}: {error}"));
        stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
        let mut writer = stream.try_clone().unwrap();
        let sender = scope.spawn(move || writer.write_all(pattern).unwrap());
        let mut back = vec![0; bytes];
        stream.read_exact(&mut back).unwrap();
        sender.join().unwrap();
        assert!(back == pattern, "back");
        server.join().unwrap()
    })
}

/// A UDP socket of a host.
fn udp(host: &Namespace, address: &str) -> UdpSocket {
    let socket = host.run(|| UdpSocket::bind(address)).unwrap().unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Sends a datagram and has it answered: whom the server saw.
fn ask(client: &UdpSocket, server: &UdpSocket, to: &str) -> SocketAddr {
    client.send_to(b"question", to).unwrap();
    let mut buffer = [0; 32];
    let (len, peer) = server.recv_from(&mut buffer).expect("the question comes");
    assert_eq!(&buffer[..len], b"question");
    server.send_to(b"answer", peer).unwrap();
    let (len, from) = client.recv_from(&mut buffer).expect("the answer comes");
    assert_eq!(&buffer[..len], b"answer");
    assert_eq!(
        from,
        to.parse().unwrap(),
        "the answer comes from where the question went"
    );
    peer
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn masquerade_hides_the_inside() {
    let bed = Routed::new(MASQUERADE, "", (1500, 1500));
    let peer = tcp(
        &bed.left,
        &bed.right,
        "10.2.0.2:7000",
        "10.2.0.2:7000",
        5_000_000,
    );
    assert_eq!(peer.ip(), ip("10.2.0.1"), "{}", bed.daemon.ok(&["drops"]));
    let peer = tcp(
        &bed.left,
        &bed.right,
        "[fd02::2]:7000",
        "[fd02::2]:7000",
        5_000_000,
    );
    assert_eq!(peer.ip(), ip("fd02::1"));
    let (client, server) = (
        udp(&bed.left, "10.1.0.2:4000"),
        udp(&bed.right, "10.2.0.2:53"),
    );
    let peer = ask(&client, &server, "10.2.0.2:53");
    assert_eq!(peer, "10.2.0.1:4000".parse().unwrap(), "the port stays");
    // Unasked from outside: not to the inside, and the gateway's own port is nobody's.
    let outside = udp(&bed.right, "10.2.0.2:5000");
    outside.send_to(b"hello", "10.1.0.2:4000").unwrap();
    outside.send_to(b"hello", "10.2.0.1:4000").unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    assert!(client.recv_from(&mut [0; 32]).is_err());
}

#[test]
fn pings_and_traceroutes_go_through() {
    if !needs(&["ping", "traceroute"]) {
        return;
    }
    let bed = Routed::new(MASQUERADE, "", (1500, 1500));
    for to in ["10.2.0.2", "fd02::2", "-s 4000 10.2.0.2", "-s 4000 fd02::2"] {
        assert!(bed.pings(to), "{to}\n{}", bed.daemon.ok(&["drops"]));
    }
    for (to, hops) in [
        ("10.2.0.2", ["10.1.0.1", "10.2.0.2"]),
        ("fd02::2", ["fd01::1", "fd02::2"]),
    ] {
        let text = bed
            .left
            .sh(&format!("traceroute -n -q 1 -w 2 -m 4 {to}"))
            .unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(
            lines.iter().zip(hops).all(|(line, hop)| line.contains(hop)) && lines.len() == 2,
            "{text}"
        );
    }
}

#[test]
fn a_port_forward_leads_in() {
    let forward = "
        table ip gw { chain pre { type nat hook prerouting priority dstnat;
            iifname right tcp dport 8080 dnat to 10.1.0.2:80
            iifname right udp dport 5353 dnat to 10.1.0.2:53
        }
        }";
    let bed = Routed::new(&format!("{MASQUERADE}{forward}"), "", (1500, 1500));
    let peer = tcp(
        &bed.right,
        &bed.left,
        "10.1.0.2:80",
        "10.2.0.1:8080",
        1_000_000,
    );
    assert_eq!(peer.ip(), ip("10.2.0.2"));
    let (client, server) = (
        udp(&bed.right, "10.2.0.2:4000"),
        udp(&bed.left, "10.1.0.2:53"),
    );
    assert_eq!(
        ask(&client, &server, "10.2.0.1:5353"),
        "10.2.0.2:4000".parse().unwrap()
    );
    let flows = bed.daemon.ok(&["conntrack", "-L"]);
    let both = |line: &str| {
        line.contains("dst=10.2.0.1 sport=4000 dport=5353")
            && line.contains("src=10.1.0.2 dst=10.2.0.2 sport=53 dport=4000")
    };
    assert!(flows.lines().any(both), "{flows}");
}

#[test]
fn two_clients_with_one_port_are_told_apart() {
    let bed = Routed::new(MASQUERADE, "", (1500, 1500));
    bed.left.sh("ip address add 10.1.0.3/24 dev eth0").unwrap();
    let server = udp(&bed.right, "10.2.0.2:53");
    let (one, two) = (
        udp(&bed.left, "10.1.0.2:4000"),
        udp(&bed.left, "10.1.0.3:4000"),
    );
    let first = ask(&one, &server, "10.2.0.2:53");
    let second = ask(&two, &server, "10.2.0.2:53");
    assert_eq!(first, "10.2.0.1:4000".parse().unwrap());
    assert_eq!(second.ip(), first.ip());
    assert_ne!(second.port(), first.port());
    // Another server, another tuple: the port stays (it is shared, RFC 4787 calls it overloading).
    let other = udp(&bed.right, "10.2.0.2:54");
    assert_eq!(
        ask(&two, &other, "10.2.0.2:54"),
        "10.2.0.1:4000".parse().unwrap()
    );
    assert_eq!(ask(&one, &server, "10.2.0.2:53"), first);
}

#[test]
fn an_endpoint_independent_mapping_is_one_for_all_and_open_to_all() {
    let rules = MASQUERADE.replace("masquerade", "masquerade endpoint-independent");
    let bed = Routed::new(&rules, "", (1500, 1500));
    let client = udp(&bed.left, "10.1.0.2:4000");
    let (server, other) = (
        udp(&bed.right, "10.2.0.2:53"),
        udp(&bed.right, "10.2.0.2:54"),
    );
    let seen = ask(&client, &server, "10.2.0.2:53");
    assert_eq!(ask(&client, &other, "10.2.0.2:54"), seen);
    // Somebody who was never asked.
    let stranger = udp(&bed.right, "10.2.0.2:5000");
    stranger.send_to(b"hello", seen).unwrap();
    let mut buffer = [0; 32];
    let (_, from) = client.recv_from(&mut buffer).expect("it is let in");
    assert_eq!(from, "10.2.0.2:5000".parse().unwrap());
}

#[test]
fn errors_come_back_to_the_inside() {
    let bed = Routed::new(MASQUERADE, "", (1500, 1500));
    // Nobody listens there: the socket hears of it.
    for (own, to) in [
        ("10.1.0.2:4000", "10.2.0.2:9"),
        ("[fd01::2]:4000", "[fd02::2]:9"),
    ] {
        let client = udp(&bed.left, own);
        bed.left.run(|| client.connect(to)).unwrap().unwrap();
        client.send(b"anybody?").unwrap();
        let error = client.recv(&mut [0; 32]).unwrap_err();
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "{to}: {error}"
        );
    }
}

/// Helpers for both families, and nothing comes in that nobody has announced.
fn helpers() -> String {
    let helpers = "
table inet help {
    ct helper ftp-standard { type \"ftp\" protocol tcp; }
    ct helper tftp-standard { type \"tftp\" protocol udp; }
    chain pre {
        type filter hook prerouting priority filter; policy accept;
        tcp dport 21 ct helper set \"ftp-standard\"
        udp dport 69 ct helper set \"tftp-standard\"
    }
}
";
    format!("{MASQUERADE}{helpers}")
}

/// Fetches a file from `host` by FTP in these modes.
fn fetch_by_ftp(bed: &Routed, client: &Namespace, modes: &[(&str, &str)], content: &[u8]) {
    let mine = bed.daemon.folder().join("fetched");
    for (mode, host) in modes {
        let _ = std::fs::remove_file(&mine);
        let done = client.sh(&format!(
            "curl -sS -m 10 {mode} -o {} ftp://{host}/file",
            mine.display()
        ));
        assert!(
            done.is_ok(),
            "{mode} {host}: {done:?}\n{}\n{}",
            bed.daemon.ok(&["conntrack", "-L"]),
            bed.daemon.ok(&["drops"])
        );
        assert!(std::fs::read(&mine).unwrap() == content, "{mode} {host}");
    }
}

#[test]
fn ftp_clients_are_hidden() {
    if !needs(&["vsftpd", "curl"]) {
        return;
    }
    let bed = Routed::new(&helpers(), "", (1500, 1500));
    let content = vec![7; 200_000];
    let _server = server::ftp(&bed.right, "10.2.0.2", bed.daemon.folder(), &content);
    let modes = [
        ("", "10.2.0.2"),
        ("--disable-epsv", "10.2.0.2"),
        ("--ftp-port -", "10.2.0.2"),
        ("--ftp-port - --disable-eprt", "10.2.0.2"),
        ("", "[fd02::2]"),
        ("--ftp-port -", "[fd02::2]"),
    ];
    fetch_by_ftp(&bed, &bed.left, &modes, &content);
}

#[test]
fn an_ftp_server_is_forwarded_to() {
    if !needs(&["vsftpd", "curl"]) {
        return;
    }
    let forward = "
        table ip leads_in { chain pre { type nat hook prerouting priority dstnat;
            iifname right tcp dport 21 dnat to 10.1.0.2
        }
        }";
    let bed = Routed::new(&format!("{}{forward}", helpers()), "", (1500, 1500));
    let content = vec![8; 200_000];
    let _server = server::ftp(&bed.left, "10.1.0.2", bed.daemon.folder(), &content);
    let modes = [
        ("", "10.2.0.1"),
        ("--disable-epsv", "10.2.0.1"),
        ("--ftp-port -", "10.2.0.1"),
        ("--ftp-port - --disable-eprt", "10.2.0.1"),
    ];
    fetch_by_ftp(&bed, &bed.right, &modes, &content);
}

#[test]
fn an_ftp_command_that_grows_beyond_the_mtu_arrives_in_smaller_segments() {
    // An external address that is written with two characters more than the client's.
    let rules = helpers().replace("masquerade", "snat ip to 10.2.0.100");
    let bed = Routed::new(&rules, "", (1500, 1500));
    bed.right
        .sh("ip route add 10.2.0.100 via 10.2.0.1")
        .unwrap();
    // So that a full segment carries 1,460 bytes.
    bed.left.sysctl("net/ipv4/tcp_timestamps", "0").unwrap();
    let listen = || TcpListener::bind("10.2.0.2:21");
    let listener = bed.right.run(listen).unwrap().unwrap();
    let mut command = b"PORT 10,1,0,2,7,208\r\n".to_vec();
    command.extend(std::iter::repeat_n(b' ', 1460 - command.len()));
    let got = std::thread::scope(|scope| {
        let server = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
            let mut user = [0; 9];
            stream.write_all(b"220 hello\r\n").unwrap();
            stream.read_exact(&mut user).unwrap();
            stream.write_all(b"331 go on\r\n").unwrap();
            let mut got = vec![0; 1462];
            stream.read_exact(&mut got).map(|()| got)
        });
        let connect = || TcpStream::connect_timeout(&"10.2.0.2:21".parse().unwrap(), PATIENCE);
        let mut stream = bed.left.run(connect).unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = [0; 11];
        stream.read_exact(&mut line).unwrap();
        stream.write_all(b"USER me\r\n").unwrap();
        stream.read_exact(&mut line).unwrap();
        stream.write_all(&command).unwrap();
        server.join().unwrap()
    });
    let drops = bed.daemon.ok(&["drops"]);
    let got = got.unwrap_or_else(|error| panic!("{error}\n{drops}"));
    assert!(got.starts_with(b"PORT 10,2,0,100,7,208\r\n "));
    assert!(drops.contains("packet_too_big"), "{drops}");
}

#[test]
fn tftp_goes_through() {
    if !needs(&["in.tftpd", "tftp"]) {
        return;
    }
    let bed = Routed::new(&helpers(), "", (1500, 1500));
    let folder = bed.daemon.folder();
    let content = vec![9; 20_000];
    let _server = server::tftp(&bed.right, "10.2.0.2", folder, &content);
    let mine = folder.join("fetched");
    let get = format!("tftp -m octet 10.2.0.2 -c get file {}", mine.display());
    let fetched = (0..5).any(|_| {
        // The server takes a moment to listen, and its client does not say that it failed.
        let _ = bed.left.sh(&get);
        std::fs::read(&mine).is_ok_and(|bytes| bytes == content)
    });
    assert!(fetched, "{}", bed.daemon.ok(&["conntrack", "-L"]));
}

/// Bytes of a large transfer; `SLUICE_TRANSFER_BYTES` says how many.
fn large() -> usize {
    let set = std::env::var("SLUICE_TRANSFER_BYTES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(50_000_000)
}

#[test]
fn a_large_body_comes_intact() {
    if !needs(&["curl"]) {
        return;
    }
    let bed = Routed::new(MASQUERADE, "", (1500, 1400));
    let bytes = large();
    for (listen, url) in [
        ("10.2.0.2:8000", "http://10.2.0.2:8000/"),
        ("[fd02::2]:8000", "http://[fd02::2]:8000/"),
    ] {
        let listener = bed
            .right
            .run(|| TcpListener::bind(listen))
            .unwrap()
            .unwrap();
        let mine = bed.daemon.folder().join("fetched");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let _some = stream.read(&mut request).unwrap();
                write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {bytes}\r\n\r\n").unwrap();
                let mut at = 0;
                while at < bytes {
                    let until = bytes.min(at + (1 << 20));
                    let part: Vec<u8> = (at..until).map(byte_at).collect();
                    stream.write_all(&part).unwrap();
                    at = until;
                }
            });
            let line = format!("curl -sS -m 120 -o {} {url}", mine.display());
            bed.left.sh(&line).unwrap();
        });
        let mut file = std::io::BufReader::new(std::fs::File::open(&mine).unwrap());
        let (mut at, mut part) = (0, vec![0; 1 << 20]);
        loop {
            let got = file.read(&mut part).unwrap();
            if got == 0 {
                break;
            }
            let same = part[..got]
                .iter()
                .enumerate()
                .all(|(by, byte)| *byte == byte_at(at + by));
            assert!(same, "{url}: near byte {at}");
            at += got;
        }
        assert_eq!(at, bytes, "{url}");
    }
}

/// A stream that repeats late.
fn byte_at(at: usize) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16) ^ (at * 31)) as u8
}

#[test]
fn iperf_crosses_with_one_stream_and_with_eight() {
    if !needs(&["iperf3"]) {
        return;
    }
    let bed = Routed::new(MASQUERADE, "", (1500, 1500));
    let modes = [
        "-n 20M",
        "-n 20M -R",
        "-n 40M -P 8",
        "-u -b 20M -n 2M",
        "-u -b 5M -n 4M -P 8",
    ];
    peers::bulk(
        &bed.left,
        &bed.right,
        "10.2.0.2",
        bed.daemon.folder(),
        &modes,
    );
}

#[test]
fn a_shell_is_reached_through_masquerade() {
    if !needs(&["sshd", "ssh", "ssh-keygen"]) {
        return;
    }
    let bed = Routed::new(MASQUERADE, "", (1500, 1500));
    peers::shell(&bed.left, &bed.right, "10.2.0.2", bed.daemon.folder());
}

#[test]
fn the_gateways_own_ports_are_nobody_elses() {
    if !needs(&["curl"]) {
        return;
    }
    // The health check listens at a port that an inside host asks for as its own.
    let rules = MASQUERADE.replace("masquerade", "masquerade endpoint-independent");
    let bed = Routed::new(&rules, "[gateway]\nhealth_port = 4000", (1500, 1500));
    let server = bed
        .right
        .run(|| TcpListener::bind("10.2.0.2:80"))
        .unwrap()
        .unwrap();
    let own = "curl -sS -m 5 --local-port 4000 http://10.2.0.2/";
    let (peer, _) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| bed.left.sh(own));
        let (mut stream, peer) = server.accept().unwrap();
        // What is not read would be answered by a reset.
        let _request = stream.read(&mut [0; 1024]).unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nfine").unwrap();
        drop(stream);
        (peer, asked.join().unwrap().unwrap())
    });
    assert_ne!(peer.port(), 4000, "it is the gateway's");
    let health = bed.right.sh("curl -sS -m 5 http://10.2.0.1:4000/");
    assert!(health.is_ok(), "{health:?}");
}

#[test]
fn flows_hidden_behind_an_address_end_with_it() {
    let rules = format!(
        "{MASQUERADE}
        table ip plain {{ chain post {{ type nat hook postrouting priority srcnat - 1
            udp dport 54 accept
        }}
        }}"
    );
    let bed = Routed::new(&rules, "", (1500, 1500));
    let client = udp(&bed.left, "10.1.0.2:4000");
    let server = udp(&bed.right, "10.2.0.2:53");
    ask(&client, &server, "10.2.0.2:53");
    // To the gateway itself: not translated, so it stays.
    client.send_to(b"anybody?", "10.1.0.1:9").unwrap();
    let hidden = || bed.daemon.ok(&["conntrack", "-L", "--src-nat"]);
    assert!(hidden().contains("dport=53"), "{}", hidden());
    bed.daemon.ok(&["ports", "remove", "right"]);
    assert!(!hidden().contains("dport=53"), "{}", hidden());
    let nat = bed.daemon.ok(&["nat"]);
    let used = |line: &&str| line.starts_with("10.2.0.1") && line.contains("udp");
    let line = nat.lines().find(used).unwrap_or_default();
    assert!(line.split_whitespace().nth(3) == Some("0"), "{nat}");
}
