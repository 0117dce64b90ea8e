//! `sluice lab gateway`: two networks with a host each and a router between them.
//!
//! ```text
//!     client 10.0.1.2 -- eth0 ===== inside 10.0.1.1 [gateway] 10.0.2.1 outside ===== eth0 -- server 10.0.2.2
//! ```
//!
//! The network outside takes packets of 1,400 bytes only, so that path MTU discovery has something to
//! find, and its server has no route to the network inside: it knows the gateway's addresses only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::daemon::Daemon;
use super::{Check, Options, Progress, Report, flatten, metrics, probe};
use crate::netns::Namespace;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const INSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
const INSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 1);
const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const SERVER6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 2);
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(INSIDE), 9473);
const OUTSIDE_MTU: u32 = 1400;
const POLICY: &str = include_str!("gateway.nft");
const DATAGRAMS: usize = 5;

/// A connection through the gateway.
#[derive(Clone, Copy)]
struct Transfer {
    name: &'static str,
    /// From outside to inside.
    inwards: bool,
    /// From inside to inside, by the address outside.
    hairpin: bool,
    /// Where the receiver listens.
    listen: SocketAddr,
    /// Whom the sender connects to.
    connect: SocketAddr,
    /// From whom it has to come, as the receiver sees it.
    seen: IpAddr,
    bytes: u64,
}

fn transfers(bytes: u64) -> [Transfer; 4] {
    let web = SocketAddr::from((SERVER, 8080));
    let out = Transfer {
        name: "TCP out, masqueraded",
        inwards: false,
        hairpin: false,
        listen: web,
        connect: web,
        seen: OUTSIDE.into(),
        bytes,
    };
    let web6 = SocketAddr::from((SERVER6, 8080));
    let out6 = Transfer {
        name: "TCP out, masqueraded (IPv6)",
        listen: web6,
        connect: web6,
        seen: OUTSIDE6.into(),
        bytes: bytes / 8,
        ..out
    };
    let forwarded = Transfer {
        name: "TCP in by the port forward",
        inwards: true,
        listen: (CLIENT, 8443).into(),
        connect: (OUTSIDE, 8443).into(),
        seen: SERVER.into(),
        bytes: bytes / 8,
        ..out
    };
    let hairpin = Transfer {
        name: "TCP inside by the port forward",
        inwards: false,
        hairpin: true,
        seen: INSIDE.into(),
        ..forwarded
    };
    [out, out6, forwarded, hairpin]
}

/// The playground while it stands.
pub(super) struct Gateway {
    client: Namespace,
    server: Namespace,
    gateway: Namespace,
    daemon: Daemon,
}

impl Gateway {
    /// Two networks, a router between them, a policy in force.
    pub(super) fn build(options: &Options, progress: &Progress) -> anyhow::Result<Self> {
        progress.say("building two networks and a gateway");
        let client = Namespace::new("client")?;
        let server = Namespace::new("server")?;
        let gateway = Namespace::new("gateway")?;
        let hosts = [
            (&client, "inside", 1500, 1),
            (&server, "outside", OUTSIDE_MTU, 2),
        ];
        for (host, port, mtu, net) in hosts {
            // The kernel of the gateway's namespace has no IPv6 on the ports: it must not speak there.
            gateway.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
            host.add_veth("eth0", &gateway, port)?;
            host.set_mtu("eth0", mtu)?;
            gateway.set_mtu(port, mtu)?;
            host.set_up("eth0")?;
            host.add_address("eth0", &format!("10.0.{net}.2/24"))?;
            host.add_address("eth0", &format!("fd0{net}::2/64"))?;
            if port == "inside" {
                host.add_route("0.0.0.0/0", INSIDE.into())?;
                host.add_route("::/0", INSIDE6.into())?;
            }
        }
        let policy = match &options.policy {
            Some(file) => std::fs::read_to_string(file).map_err(|error| {
                anyhow::anyhow!("cannot read the policy {}: {error}", file.display())
            })?,
            None => POLICY.to_owned(),
        };
        progress.say("starting the gateway");
        let daemon = Daemon::start(&gateway, appliance, &policy)?;
        Ok(Self {
            client,
            server,
            gateway,
            daemon,
        })
    }

    /// Sends every kind of traffic and looks what arrives.
    pub(super) fn run(&mut self, options: &Options, progress: &Progress) -> anyhow::Result<Report> {
        let mut checks = Vec::new();
        progress.say("ping");
        checks.push(self.ping("ping through", SERVER.into()));
        checks.push(self.ping("ping through (IPv6)", SERVER6.into()));
        checks.push(self.ping("ping to the gateway", INSIDE.into()));
        progress.say("traceroute");
        checks.push(self.first_hop("traceroute", SERVER.into(), INSIDE.into()));
        checks.push(self.first_hop("traceroute (IPv6)", SERVER6.into(), INSIDE6.into()));
        progress.say("path MTU");
        checks.push(self.path_mtu());
        progress.say("TCP transfer");
        for transfer in transfers(options.bytes) {
            checks.push(self.transfer(&transfer)?);
        }
        progress.say("open and closed ports");
        checks.push(self.datagrams(5000, true)?);
        checks.push(self.datagrams(5001, false)?);
        checks.push(self.refused_tcp_port());
        checks.push(self.error_from_outside());
        progress.say("the gateway's own host");
        checks.push(self.health());
        progress.say("counters");
        checks.extend(self.counters());
        Ok(Report::new(
            "gateway",
            checks,
            format!("http://{METRICS}/metrics"),
        ))
    }

    /// How a person enters each host: name and command.
    pub(super) fn entries(&self) -> Vec<(&str, String)> {
        let hosts = [&self.client, &self.server, &self.gateway];
        super::entries(&hosts, &self.daemon)
    }

    fn ping(&self, name: &str, to: IpAddr) -> Check {
        let answered = flatten(self.client.run(|| probe::ping(to, 10)));
        Check::passes(
            name,
            answered.and_then(|(answers, median)| {
                let text = format!("{answers} of 10 answered, median {} us", median.as_micros());
                if answers == 10 { Ok(text) } else { Err(text) }
            }),
        )
    }

    fn first_hop(&self, name: &str, to: IpAddr, expected: IpAddr) -> Check {
        let hop = flatten(self.client.run(|| probe::first_hop(to)));
        Check::passes(
            name,
            hop.and_then(|hop| match hop {
                Some(hop) if hop == expected => Ok(format!("the first hop is {hop}")),
                Some(hop) => Err(format!("the first hop is {hop}, not {expected}")),
                None => Err("no hop answered".to_owned()),
            }),
        )
    }

    /// A datagram that does not fit the network outside must come back as an error with its MTU.
    fn path_mtu(&self) -> Check {
        let to = SocketAddr::from((SERVER, 5000));
        let found = flatten(self.client.run(|| probe::path_mtu(to, 1472)));
        Check::passes(
            "path MTU discovery",
            found.and_then(|mtu| {
                let text = format!("the client has learnt {mtu}");
                if mtu == OUTSIDE_MTU {
                    Ok(text)
                } else {
                    Err(text)
                }
            }),
        )
    }

    /// A connection must come from whom it should come, and bring every byte.
    fn transfer(&self, transfer: &Transfer) -> anyhow::Result<Check> {
        let (client, server) = if transfer.inwards {
            (&self.server, &self.client)
        } else if transfer.hairpin {
            (&self.client, &self.client)
        } else {
            (&self.client, &self.server)
        };
        let (bytes, seen) = (transfer.bytes, transfer.seen);
        let listener = server.run(|| TcpListener::bind(transfer.listen))??;
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| probe::receive_stream(&listener, bytes));
            let sent = flatten(client.run(|| probe::send_stream(transfer.connect, bytes)));
            let received = receiver
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            received
                .map_err(|error| format!("receiver: {error}"))
                .and_then(|received| sent.map(|()| received))
        });
        let observed = received.and_then(|received| {
            let rate = bytes as f64 * 8.0 / received.took.as_secs_f64() / 1e9;
            let from = received.from;
            if from.ip() != seen {
                return Err(format!("it comes from {from}, not from {seen}"));
            }
            let megabytes = bytes >> 20;
            let (connect, listen) = (transfer.connect, transfer.listen);
            let to = if connect == listen {
                String::new()
            } else {
                format!("{connect} is {listen}, ")
            };
            Ok(format!(
                "{megabytes} MiB intact, {rate:.1} Gbit/s; {to}it is seen from {from}"
            ))
        });
        Ok(Check::passes(transfer.name, observed))
    }

    fn datagrams(&self, port: u16, open: bool) -> anyhow::Result<Check> {
        let to = SocketAddr::from((SERVER, port));
        let socket = self.server.run(|| UdpSocket::bind(to))??;
        let name = format!("UDP to port {port}");
        let sent = self
            .client
            .run(|| probe::send_datagrams(CLIENT.into(), to, DATAGRAMS));
        if let Err(why) = flatten(sent) {
            return Ok(Check::passes(&name, Err(why)));
        }
        let quiet = Duration::from_millis(if open { 2000 } else { 300 });
        let seen = probe::count_datagrams(&socket, DATAGRAMS, quiet)?;
        let text = format!("{seen} of {DATAGRAMS} arrived");
        let as_expected = seen == if open { DATAGRAMS } else { 0 };
        let observed = if as_expected { Ok(text) } else { Err(text) };
        Ok(if open {
            Check::passes(&name, observed)
        } else {
            Check::blocked(&name, observed)
        })
    }

    /// A TCP port that a rule refuses: the client is told at once.
    fn refused_tcp_port(&self) -> Check {
        let to = SocketAddr::from((SERVER, 8081));
        let patience = Duration::from_secs(2);
        let connected = self
            .client
            .run(|| std::net::TcpStream::connect_timeout(&to, patience));
        let observed = match connected {
            Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                Ok("refused at once".to_owned())
            }
            Ok(Ok(_)) => Err("the connection was accepted".to_owned()),
            Ok(Err(error)) | Err(error) => Err(error.to_string()),
        };
        Check::blocked("TCP to port 8081", observed)
    }

    /// An error about a translated packet comes back to whom it concerns.
    fn error_from_outside(&self) -> Check {
        let to = SocketAddr::from((SERVER, 5000));
        let refused = flatten(self.client.run(|| probe::is_refused(to)));
        Check::passes(
            "port unreachable from outside",
            refused.and_then(|refused| match refused {
                true => Ok("the client hears of it".to_owned()),
                false => Err("the client hears nothing".to_owned()),
            }),
        )
    }

    fn health(&self) -> Check {
        let health = SocketAddr::from((INSIDE, 80));
        let answer = flatten(self.client.run(|| metrics::fetch(health)));
        Check::passes(
            "health check of the gateway",
            answer.map(|body| format!("it says \"{}\"", body.trim())),
        )
    }

    fn counters(&self) -> Vec<Check> {
        match flatten(self.client.run(|| metrics::fetch(METRICS))) {
            Ok(text) => [
                "ping",
                "ping6",
                "web",
                "masquerade",
                "port forward",
                "hairpin",
                "established",
                "errors",
                "open port",
                "closed port",
                "refused port",
                "ping to us",
                "health and metrics",
            ]
            .into_iter()
            .map(|comment| {
                Check::counts(
                    &format!("rule \"{comment}\""),
                    metrics::rule_packets(&text, comment),
                )
            })
            .collect(),
            Err(why) => vec![Check::passes("metrics by the gateway's own host", Err(why))],
        }
    }
}

fn appliance(directory: &Path) -> String {
    let directory = directory.display();
    format!(
        r#"[dataplane]
mode = "gateway"

[[port]]
device = "inside"
prepare = true
addresses = ["10.0.1.1/24", "fd01::1/64"]

[[port]]
device = "outside"
prepare = true
addresses = ["10.0.2.1/24", "fd02::1/64"]

[[route]]
to = "0.0.0.0/0"
via = "10.0.2.2"

[gateway]
health_port = 80

[ruleset]
files = ["{directory}/ruleset.nft"]

[control]
socket = "{directory}/control.sock"

[metrics]
listen = "{METRICS}"
"#
    )
}
