//! Routers between two networks: the daemon as a gateway and the kernel, with and without masquerade.
//!
//! ```text
//!     source 10.1.0.1 eth0 -- a 10.1.0.254 [router on CPU 1] 10.2.0.254 b -- eth0 10.2.0.1 sink
//! ```
//!
//! The flood goes to the sink's own address, so the sink drops it at its ingress: every router's sink alike.

use super::bed::{Bed, CONTESTANT_CPU, Receive};
use super::contestant::{Contestant, start_process};

/// The address that the flood's frames are sent to.
pub(super) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 9, 9];
/// The router's address in the source's network.
pub(super) const GATEWAY_IN: &str = "10.1.0.254";
/// The router's address in the sink's network.
pub(super) const GATEWAY_OUT: &str = "10.2.0.254";
/// The sink's address, in the flood's frames too.
const SINK: &str = "10.2.0.1";

/// Two networks with a router's devices between them.
pub(super) fn bed(receive: Receive) -> anyhow::Result<Bed> {
    let mut bed = Bed::new(receive)?;
    bed.target = SINK;
    bed.middle.set_mac("a", ROUTER_MAC)?;
    for (host, number, gateway) in [(&bed.source, 1, GATEWAY_IN), (&bed.sink, 2, GATEWAY_OUT)] {
        host.sh("ip address flush dev eth0")?;
        host.add_address("eth0", &format!("10.{number}.0.1/24"))?;
        host.add_route("0.0.0.0/0", gateway.parse()?)?;
    }
    nft(
        &bed.sink,
        "table netdev t {\n  chain c { type filter hook ingress device eth0 priority 0; udp dport 7 drop; }\n}\n",
    )?;
    Ok(bed)
}

fn nft(host: &sluice_control::netns::Namespace, ruleset: &str) -> anyhow::Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), ruleset)?;
    host.sh(&format!("nft -f {}", file.path().display()))?;
    Ok(())
}

/// The rules that hide the source's network.
fn masquerade() -> &'static str {
    "table ip gw {\n  chain post { type nat hook postrouting priority srcnat; oifname b masquerade; }\n}\n"
}

/// The daemon as the router.
pub(super) fn gateway<'bed>(bed: &Bed, translating: bool) -> anyhow::Result<Contestant<'bed>> {
    let ruleset = if translating { masquerade() } else { "" };
    let ports = format!(
        "[[port]]\ndevice = \"a\"\naddresses = [\"{GATEWAY_IN}/24\"]\n\
         [[port]]\ndevice = \"b\"\naddresses = [\"{GATEWAY_OUT}/24\"]\n"
    );
    let dataplane =
        format!("[dataplane]\nmode = \"gateway\"\nworkers = 1\ncpus = [{CONTESTANT_CPU}]\n{ports}");
    start_process(bed, &dataplane, ruleset)
}

/// The kernel as the router.
pub(super) fn kernel<'bed>(bed: &'bed Bed, translating: bool) -> anyhow::Result<Contestant<'bed>> {
    for (device, address) in [("a", GATEWAY_IN), ("b", GATEWAY_OUT)] {
        bed.middle.add_address(device, &format!("{address}/24"))?;
        bed.middle
            .sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")?;
    }
    bed.middle.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
    bed.middle.sysctl("net/ipv4/ip_forward", "1")?;
    if translating {
        nft(&bed.middle, masquerade())?;
    }
    Ok(Contestant::Router(bed))
}

/// Makes a namespace what it was before the kernel was its router.
pub(super) fn undo(bed: &Bed) -> anyhow::Result<()> {
    bed.middle.sysctl("net/ipv4/ip_forward", "0")?;
    bed.middle.sh("nft flush ruleset")?;
    for device in ["a", "b"] {
        bed.middle.sh(&format!("ip address flush dev {device}"))?;
    }
    Ok(())
}
