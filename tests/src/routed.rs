//! A gateway under test: two networks, a host on each, the daemon as the router between them.
//!
//! ```text
//!     left 10.1.0.2, fd01::2 -- left [gateway 10.1.0.1, fd01::1 | 10.2.0.1, fd02::1] right -- right 10.2.0.2, fd02::2
//! ```

use std::io;

use sluice_control::netns::Namespace;

use crate::appliance::Daemon;
use crate::frames::{LEFT_MAC, RIGHT_MAC};

/// Two hosts and a gateway between their networks.
#[derive(Debug)]
pub struct Routed {
    /// The host at the left.
    pub left: Namespace,
    /// The host at the right.
    pub right: Namespace,
    /// The gateway's namespace with the devices `left` and `right`.
    pub middle: Namespace,
    /// The daemon.
    pub daemon: Daemon,
}

/// The ports of the gateway, for an appliance file.
pub const PORTS: &str = r#"
[[port]]
device = "left"
prepare = true
addresses = ["10.1.0.1/24", "fd01::1/64"]

[[port]]
device = "right"
prepare = true
addresses = ["10.2.0.1/24", "fd02::1/64"]
"#;

/// The appliance file of a gateway with these sections beside its ports.
pub fn appliance(more: &str) -> String {
    format!("[dataplane]\nmode = \"gateway\"\n{PORTS}\n{more}\n")
}

impl Routed {
    /// A gateway with this ruleset, these further sections of the appliance file, and the MTUs of the
    /// left and the right network.
    ///
    /// # Panics
    /// When the machine does not let us make namespaces, or the daemon does not start.
    pub fn new(ruleset: &str, more: &str, mtus: (u32, u32)) -> Self {
        let (left, right, middle) = hosts(mtus).expect("namespaces can be made");
        let daemon = Daemon::start(&middle, &appliance(more), ruleset);
        Self {
            left,
            right,
            middle,
            daemon,
        }
    }

    /// The same without rules and with everyday networks.
    pub fn open() -> Self {
        Self::new("", "", (1500, 1500))
    }

    /// Whether `to` answers pings from the left host.
    pub fn pings(&self, words: &str) -> bool {
        let line = format!("ping -c 2 -i 0.05 -W 3 {words}");
        self.left.sh(&line).is_ok()
    }
}

/// The hosts and the gateway's namespace, without a gateway.
///
/// # Errors
/// When the machine does not let us make namespaces.
pub fn hosts((left, right): (u32, u32)) -> io::Result<(Namespace, Namespace, Namespace)> {
    let middle = Namespace::new("middle")?;
    middle.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    let host = |name: &str, mac, mtu, net: u8| -> io::Result<Namespace> {
        let host = Namespace::new(name)?;
        host.add_veth("eth0", &middle, name)?;
        host.set_mac("eth0", mac)?;
        host.set_mtu("eth0", mtu)?;
        middle.set_mtu(name, mtu)?;
        middle.set_up(name)?;
        host.set_up("eth0")?;
        host.add_address("eth0", &format!("10.{net}.0.2/24"))?;
        host.add_address("eth0", &format!("fd0{net}::2/64"))?;
        let via = |text: String| text.parse().map_err(io::Error::other);
        host.add_route("0.0.0.0/0", via(format!("10.{net}.0.1"))?)?;
        host.add_route("::/0", via(format!("fd0{net}::1"))?)?;
        Ok(host)
    };
    let left = host("left", LEFT_MAC, left, 1)?;
    let right = host("right", RIGHT_MAC, right, 2)?;
    Ok((left, right, middle))
}
