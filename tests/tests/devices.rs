//! Devices: what is refused, what is closed, ports that come and go, and who may do what.

use std::os::unix::process::CommandExt;
use std::time::Duration;

use sluice_tests::appliance::{Daemon, PORTS, Wire};
use sluice_tests::frames::{Frame, udp};

const UNPREPARED: &str = r#"
[dataplane]
mode = "wire"

[[port]]
device = "left"
peer = "right"

[[port]]
device = "right"
peer = "left"
"#;

#[test]
fn a_device_that_the_kernel_serves_is_refused_with_reason_and_remedy() {
    let (_left, _right, firewall) = Wire::hosts(1500);
    firewall.add_address("left", "10.0.0.254/24").unwrap();
    let said = Daemon::refused(&firewall, UNPREPARED, "");
    assert!(
        said.contains("left") && said.contains("10.0.0.254"),
        "{said}"
    );
    assert!(
        said.contains("ip ") || said.contains("prepare"),
        "no remedy in: {said}"
    );
}

#[test]
fn a_device_in_a_bridge_is_refused() {
    let (_left, _right, firewall) = Wire::hosts(1500);
    firewall.add_bridge("br0", &["left"]).unwrap();
    let said = Daemon::refused(&firewall, UNPREPARED, "");
    assert!(said.contains("left") && said.contains("br0"), "{said}");
}

#[test]
fn a_device_that_does_not_exist_is_refused_by_name() {
    let (_left, _right, firewall) = Wire::hosts(1500);
    let said = Daemon::refused(&firewall, &UNPREPARED.replace("\"left\"", "\"lefft\""), "");
    assert!(said.contains("lefft"), "{said}");
}

/// The kernel of the firewall's namespace has an address on another device; it must not answer
/// for it through a port, neither while the daemon runs nor after it has died.
#[test]
fn the_way_around_is_closed_and_stays_closed() {
    let (left, right, firewall) = Wire::hosts(1500);
    firewall.add_address("lo", "10.0.0.99/32").unwrap();
    let answers = |wire: &Wire| {
        let (socket, _) = wire.sockets();
        let mut request = Frame::arp(1);
        request.bytes[..6].fill(0xff);
        request.bytes[38..42].copy_from_slice(&[10, 0, 0, 99]);
        socket.send(&request.bytes).unwrap();
        socket
            .drain(Duration::from_millis(300))
            .unwrap()
            .iter()
            .any(|frame| frame[12..14] == [8, 6] && frame[21] == 2)
    };
    let daemon = Daemon::start(
        &firewall,
        &format!("[dataplane]\nmode = \"wire\"\n{PORTS}"),
        "",
    );
    let mut wire = Wire {
        left,
        right,
        firewall,
        daemon,
    };
    assert!(
        !answers(&wire),
        "the kernel answered beside the running daemon"
    );
    wire.daemon.kill();
    assert!(
        !answers(&wire),
        "the kernel answered after the daemon had died"
    );
}

#[test]
fn ports_come_and_go_at_run_time() {
    let (left, right, firewall) = Wire::hosts(1500);
    let daemon = Daemon::start(&firewall, "[dataplane]\nmode = \"wire\"\n", "");
    let wire = Wire {
        left,
        right,
        firewall,
        daemon,
    };
    let frame = Frame::ipv4(17, &[], &udp(1, 2, b"x")).bytes;
    let (socket, other) = wire.sockets();
    let passes = || {
        socket.send(&frame).unwrap();
        other
            .drain(Duration::from_millis(200))
            .unwrap()
            .contains(&frame)
    };
    assert!(!passes());
    wire.daemon
        .ok(&["ports", "add", "left", "--peer", "right", "--prepare"]);
    wire.daemon
        .ok(&["ports", "add", "right", "--peer", "left", "--prepare"]);
    let listed = wire.daemon.ok(&["ports", "list", "--json"]);
    assert!(
        listed.contains("left") && listed.contains("right"),
        "{listed}"
    );
    assert!(passes(), "{}", wire.daemon.log());
    wire.daemon.ok(&["ports", "remove", "right"]);
    assert!(!passes());
    wire.daemon
        .ok(&["ports", "add", "right", "--peer", "left", "--prepare"]);
    assert!(passes());
}

#[test]
fn reading_and_changing_are_rights_of_their_own() {
    let (_left, _right, firewall) = Wire::hosts(1500);
    let daemon = Daemon::start(&firewall, "[dataplane]\nmode = \"wire\"\n", "");
    // A user that the file does not name: the socket lets it in, the daemon does not.
    let mut command = daemon.command(&["nft", "add", "table", "inet", "x"]);
    let copied = daemon.folder().join("sluice");
    std::fs::copy(command.get_program(), &copied).unwrap();
    let output = std::process::Command::new(&copied)
        .args(command.get_args())
        .uid(65_534)
        .gid(65_534)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("may not change"), "{said}");
    assert!(command.output().unwrap().status.success());
    assert!(
        daemon.log().contains("65534"),
        "the refusal is logged: {}",
        daemon.log()
    );
}
