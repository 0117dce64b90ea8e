//! The namespace library itself: two hosts reach each other, and nothing is left behind.

use std::process::Command;

use sluice_control::netns::Namespace;

#[test]
fn two_hosts_on_a_veth_reach_each_other() {
    let (left, right) = (
        Namespace::new("left").unwrap(),
        Namespace::new("right").unwrap(),
    );
    left.add_veth("eth0", &right, "eth0").unwrap();
    for (host, address, address6) in [
        (&left, "10.9.0.1/24", "fd09::1/64"),
        (&right, "10.9.0.2/24", "fd09::2/64"),
    ] {
        host.set_up("eth0").unwrap();
        host.add_address("eth0", address).unwrap();
        host.add_address("eth0", address6).unwrap();
    }
    for to in ["10.9.0.2", "fd09::2"] {
        let output = left
            .output(Command::new("ping").args(["-c", "1", "-W", "2", to]))
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
    left.set_mac("eth0", [2, 0, 0, 0, 0, 7]).unwrap();
    assert_eq!(left.mac("eth0").unwrap(), [2, 0, 0, 0, 0, 7]);
    assert!(left.index("nothing").is_err());
}
