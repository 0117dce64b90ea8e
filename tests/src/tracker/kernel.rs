//! The kernel's side: two hosts and a router with connection tracking between them, in namespaces.
//!
//! The router's rules write what its tracker says of a packet into the packet: state, direction and the
//! assured bit into its DSCP, the flow's remaining time into its TTL or hop limit. So one packet in and
//! the same packet out is all that it takes to ask.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use sluice_control::netns::Namespace;

use super::{Rules, Side, State, Step, TIMES, Verdict};
use crate::frames::{LEFT_MAC, RIGHT_MAC};
use crate::raw::RawSocket;

const ROUTER_MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 1, 2]];

/// TTL that stands for the first of them.
const FIRST_TTL: u8 = 100;

/// The router and its hosts.
#[derive(Debug)]
pub struct KernelRouter {
    router: Namespace,
    sockets: [RawSocket; 2],
    /// The same for sending, with checksums left to the devices.
    offloading: [RawSocket; 2],
    /// The hosts' namespaces live as long as their sockets are used.
    _hosts: [Namespace; 2],
}

impl KernelRouter {
    /// Builds it.
    ///
    /// # Errors
    /// When namespaces cannot be made, or `ip` or `nft` fails.
    pub fn new() -> io::Result<Self> {
        let this = Self::bare()?;
        this.nft(&ruleset())?;
        Ok(this)
    }

    /// Builds it without rules.
    ///
    /// # Errors
    /// When namespaces cannot be made, or `ip` fails.
    pub fn bare() -> io::Result<Self> {
        let router = Namespace::new("router")?;
        router.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
        router.sysctl("net/ipv4/conf/default/rp_filter", "0")?;
        router.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
        let host = |name: &str, number: usize, mac| -> io::Result<(Namespace, RawSocket)> {
            let host = Namespace::new(name)?;
            host.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
            host.add_veth("eth0", &router, name)?;
            host.set_mac("eth0", mac)?;
            // Some scripts send segments of 32,000 bytes.
            host.set_mtu("eth0", 65_000)?;
            router.set_mtu(name, 65_000)?;
            router.set_mac(name, ROUTER_MACS[number])?;
            host.set_up("eth0")?;
            let socket = RawSocket::open(&host, "eth0")?;
            Ok((host, socket))
        };
        let (left_host, left) = host("left", 0, LEFT_MAC)?;
        let (right_host, right) = host("right", 1, RIGHT_MAC)?;
        let text = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        for (device, number, own, mac) in
            [("left", 1, "254", LEFT_MAC), ("right", 2, "254", RIGHT_MAC)]
        {
            let last = number;
            router.sh(&format!("ip link set {device} up"))?;
            router.sh(&format!("ip addr add 10.{number}.0.{own}/24 dev {device}"))?;
            router.sh(&format!(
                "ip addr add fd00:{number}::fe/64 dev {device} nodad"
            ))?;
            let mac = text(mac);
            for address in [
                format!("10.{number}.0.{last}"),
                format!("fd00:{number}::{last}"),
            ] {
                router.sh(&format!(
                    "ip neigh replace {address} lladdr {mac} dev {device} nud permanent"
                ))?;
            }
        }
        router.sysctl("net/ipv4/ip_forward", "1")?;
        router.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        let offloading = [&left_host, &right_host].map(|host| RawSocket::offloading(host, "eth0"));
        let [from_left, from_right] = offloading;
        Ok(Self {
            router,
            sockets: [left, right],
            offloading: [from_left?, from_right?],
            _hosts: [left_host, right_host],
        })
    }

    /// Loads rules.
    ///
    /// # Errors
    /// With what nft says.
    pub fn nft(&self, text: &str) -> io::Result<()> {
        let mut command = Command::new("nft");
        command
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.router.spawn(&mut command)?;
        let mut input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(text.as_bytes())?;
        drop(input);
        let output = child.wait_with_output()?;
        if output.status.success() {
            return Ok(());
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(io::Error::other(errors))
    }

    /// Sets what can be set.
    ///
    /// # Errors
    /// When the kernel has no such setting.
    pub fn set(&self, rules: Rules) -> io::Result<()> {
        let flag = |on: bool| if on { "1" } else { "0" };
        let name = |name| format!("net/netfilter/nf_conntrack_tcp_{name}");
        self.router.sysctl(&name("loose"), flag(rules.loose))?;
        self.router
            .sysctl(&name("be_liberal"), flag(rules.liberal))?;
        let checksum = "net/netfilter/nf_conntrack_checksum";
        self.router.sysctl(checksum, flag(rules.checksum))
    }

    fn send(&self, from: Side, packet: &[u8]) -> io::Result<()> {
        self.sockets[from as usize].send(&frame(from, packet))
    }

    /// Sends a TCP packet from a side, its checksum left to the device if `partial`; yields the frames that come out at the left and at the right until it is
    /// quiet for `quiet`.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn pass(
        &self,
        from: Side,
        packet: &[u8],
        (partial, quiet): (bool, Duration),
    ) -> io::Result<[Vec<Vec<u8>>; 2]> {
        if partial {
            self.offloading[from as usize].send_partial(&frame(from, packet))?;
        } else {
            self.send(from, packet)?;
        }
        let [left, right] = &self.sockets;
        Ok([left.drain(quiet)?, right.drain(quiet)?])
    }

    /// Shows it a packet. `None`: it did not come out.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn show(&self, step: &Step) -> io::Result<Option<Verdict>> {
        if step.pause > 0 {
            std::thread::sleep(Duration::from_millis(u64::from(step.pause) * 1000 + 50));
        }
        let v6 = step.packet[0] >> 4 == 6;
        let kind = kind_of(&step.packet);
        self.send(step.from, &step.packet)?;
        let to = step.from.other() as usize;
        let header = if v6 { 40 } else { 20 };
        let message = &step.packet[header..];
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            let Some(out) = self.sockets[to].receive(Duration::from_millis(500))? else {
                continue;
            };
            let same = out.get(12..14) == Some(&kind[..])
                && out.get(14 + header..14 + header + message.len()) == Some(message);
            if same {
                return Ok(Some(read(&out[14..], v6)));
            }
        }
        Ok(None)
    }
}

/// A packet as it comes to the router from a side.
fn frame(from: Side, packet: &[u8]) -> Vec<u8> {
    let mac = match from {
        Side::Left => LEFT_MAC,
        Side::Right => RIGHT_MAC,
    };
    let kind = kind_of(packet);
    [&ROUTER_MACS[from as usize][..], &mac, &kind, packet].concat()
}

/// The EtherType of an IP packet.
fn kind_of(packet: &[u8]) -> [u8; 2] {
    if packet[0] >> 4 == 6 {
        [0x86, 0xdd]
    } else {
        [8, 0]
    }
}

/// What the rules wrote into a packet.
fn read(packet: &[u8], v6: bool) -> Verdict {
    let (class, ttl) = if v6 {
        (packet[0] << 4 | packet[1] >> 4, packet[7])
    } else {
        (packet[1], packet[8])
    };
    let told = class >> 2;
    let state = match told & 7 {
        2 => State::New,
        3 => State::Established,
        4 => State::Related,
        5 => State::Untracked,
        _ => State::Invalid,
    };
    let time = ttl.checked_sub(FIRST_TTL).map(usize::from);
    Verdict {
        state,
        reply: told & 8 != 0,
        assured: told & 16 != 0,
        timeout: time.and_then(|number| TIMES.get(number).copied()),
    }
}

fn ruleset() -> String {
    let mut text = String::new();
    for (family, ttl) in [("ip", "ip ttl"), ("ip6", "ip6 hoplimit")] {
        text += &format!(
            "table {family} tell {{ chain tell {{ type filter hook postrouting priority 0;\n"
        );
        let mut rule = |matches: &str, told: u8| {
            text += &format!("{matches} {family} dscp set {told}\n");
        };
        rule("ct state invalid", 1);
        rule("ct state untracked", 5);
        for (name, number) in [("new", 2), ("established", 3), ("related", 4)] {
            for (direction, bit) in [("original", 0), ("reply", 8)] {
                let matches = format!("ct state {name} ct direction {direction}");
                rule(&matches, number | bit);
                rule(&format!("{matches} ct status assured"), number | bit | 16);
            }
        }
        let mut least = 0;
        for (number, time) in TIMES.iter().enumerate() {
            let code = usize::from(FIRST_TTL) + number;
            text += &format!(
                "ct state new,established,related ct expiration {least}s-{time}s {ttl} set {code}\n"
            );
            least = time + 1;
        }
        text += "}\n}\n";
    }
    text
}
