//! `sluice lab wire`: two hosts on one network with a transparent firewall between them.
//!
//! ```text
//!     left 10.0.0.1 -- eth0 ===== left [firewall] right ===== eth0 -- right 10.0.0.2
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::daemon::Daemon;
use super::{Check, Options, Progress, Report, flatten, metrics, probe};
use crate::netns::Namespace;

const LEFT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const RIGHT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9473);
const POLICY: &str = include_str!("wire.nft");

/// Datagrams that a host sends to a port; few enough that none is lost by load.
const DATAGRAMS: usize = 5;

/// The playground while it stands.
pub(super) struct Wire {
    left: Namespace,
    right: Namespace,
    firewall: Namespace,
    daemon: Daemon,
}

impl Wire {
    /// Two hosts, a firewall between them, a policy in force.
    pub(super) fn build(options: &Options, progress: &Progress) -> anyhow::Result<Self> {
        progress.say("building two hosts and a firewall");
        let left = Namespace::new("left")?;
        let right = Namespace::new("right")?;
        let firewall = Namespace::new("firewall")?;
        let hosts = [
            (&left, "left", "10.0.0.1/24", "fd00::1/64"),
            (&right, "right", "10.0.0.2/24", "fd00::2/64"),
        ];
        for (host, port, address, address6) in hosts {
            // The kernel of the firewall's namespace has no IPv6 on the ports: it must not speak there.
            firewall.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
            host.add_veth("eth0", &firewall, port)?;
            host.set_up("eth0")?;
            host.add_address("eth0", address)?;
            host.add_address("eth0", address6)?;
        }
        let policy = match &options.policy {
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                anyhow::anyhow!("cannot read the policy {}: {error}", file.display())
            })?,
            None => POLICY.to_owned(),
        };
        progress.say("starting the firewall");
        let daemon = Daemon::start(&firewall, appliance, &policy)?;
        Ok(Self {
            left,
            right,
            firewall,
            daemon,
        })
    }

    /// Sends every kind of traffic and looks what arrives.
    pub(super) fn run(&mut self, options: &Options, progress: &Progress) -> anyhow::Result<Report> {
        let mut checks = Vec::new();
        progress.say("ping");
        checks.push(self.ping("ping", RIGHT.into()));
        checks.push(self.ping("ping (IPv6)", RIGHT6.into()));
        checks.push(self.address_resolution()?);
        progress.say("TCP transfer");
        checks.push(self.transfer(options.bytes)?);
        progress.say("open and closed ports");
        checks.push(self.datagrams(5000, true)?);
        checks.push(self.datagrams(5001, false)?);
        checks.push(self.closed_tcp_port()?);
        progress.say("counters");
        checks.extend(self.counters());
        Ok(Report::new(
            "wire",
            checks,
            format!("http://{METRICS}/metrics"),
        ))
    }

    /// How a person enters each host: name and command.
    pub(super) fn entries(&self) -> Vec<(&str, String)> {
        let hosts = [&self.left, &self.right, &self.firewall];
        super::entries(&hosts, &self.daemon)
    }

    fn ping(&self, name: &str, to: IpAddr) -> Check {
        let answered = flatten(self.left.run(|| probe::ping(to, 10)));
        Check::passes(
            name,
            answered.and_then(|(answers, median)| {
                let text = format!("{answers} of 10 answered, median {} us", median.as_micros());
                if answers == 10 { Ok(text) } else { Err(text) }
            }),
        )
    }

    fn address_resolution(&self) -> anyhow::Result<Check> {
        let real = self
            .right
            .mac("eth0")?
            .map(|byte| format!("{byte:02x}"))
            .join(":");
        let learnt = flatten(self.left.run(|| probe::learnt_address(RIGHT.into())));
        Ok(Check::passes(
            "ARP exchange",
            learnt.and_then(|learnt| match learnt {
                Some(mac) if mac == real => Ok(format!("left knows right's {mac}")),
                Some(mac) => Err(format!("left learnt {mac}, but right has {real}")),
                None => Err("left has not learnt right's address".to_owned()),
            }),
        ))
    }

    fn transfer(&self, bytes: u64) -> anyhow::Result<Check> {
        let to = SocketAddr::from((RIGHT, 8080));
        let listener = self.right.run(|| TcpListener::bind(to))??;
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| probe::receive_stream(&listener, bytes));
            let sent = flatten(self.left.run(|| probe::send_stream(to, bytes)));
            let received = receiver
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            received
                .map_err(|error| format!("receiver: {error}"))
                .and_then(|received| sent.map(|()| received.took))
        });
        Ok(Check::passes(
            "TCP transfer to port 8080",
            received.map(|took| {
                let rate = bytes as f64 * 8.0 / took.as_secs_f64() / 1e9;
                format!("{} MiB intact, {rate:.1} Gbit/s", bytes >> 20)
            }),
        ))
    }

    fn datagrams(&self, port: u16, open: bool) -> anyhow::Result<Check> {
        let to = SocketAddr::from((RIGHT, port));
        let socket = self.right.run(|| UdpSocket::bind(to))??;
        let name = format!("UDP to port {port}");
        if let Err(why) = flatten(
            self.left
                .run(|| probe::send_datagrams(LEFT.into(), to, DATAGRAMS)),
        ) {
            return Ok(Check::passes(&name, Err(why)));
        }
        let quiet = Duration::from_millis(if open { 2000 } else { 300 });
        let seen = probe::count_datagrams(&socket, DATAGRAMS, quiet)?;
        let text = format!("{seen} of {DATAGRAMS} arrived");
        Ok(if open {
            Check::passes(
                &name,
                if seen == DATAGRAMS {
                    Ok(text)
                } else {
                    Err(text)
                },
            )
        } else {
            Check::blocked(&name, if seen == 0 { Ok(text) } else { Err(text) })
        })
    }

    /// A TCP port that no rule allows: its server must not see a connection.
    fn closed_tcp_port(&self) -> anyhow::Result<Check> {
        let to = SocketAddr::from((RIGHT, 8081));
        let listener = self.right.run(|| TcpListener::bind(to))??;
        listener.set_nonblocking(true)?;
        let connected = self
            .left
            .run(|| std::net::TcpStream::connect_timeout(&to, Duration::from_millis(500)))?
            .is_ok();
        let arrived = connected || listener.accept().is_ok();
        Ok(Check::blocked(
            "TCP to port 8081",
            if arrived {
                Err("the connection arrived".to_owned())
            } else {
                Ok("no connection arrived".to_owned())
            },
        ))
    }

    fn counters(&self) -> Vec<Check> {
        match flatten(self.firewall.run(|| metrics::fetch(METRICS))) {
            Ok(text) => [
                "arp",
                "ping",
                "ping6",
                "nd",
                "web",
                "web answers",
                "open port",
                "closed port",
                "the rest",
            ]
            .into_iter()
            .map(|comment| {
                Check::counts(
                    &format!("rule \"{comment}\""),
                    metrics::rule_packets(&text, comment),
                )
            })
            .collect(),
            Err(why) => vec![Check::passes("metrics", Err(why))],
        }
    }
}

fn appliance(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        r#"[dataplane]
mode = "wire"

[[port]]
device = "left"
peer = "right"
prepare = true

[[port]]
device = "right"
peer = "left"
prepare = true

[ruleset]
files = ["{directory}/ruleset.nft"]

[control]
socket = "{directory}/control.sock"

[metrics]
listen = "{METRICS}"
"#
    )
}
