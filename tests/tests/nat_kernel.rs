//! The gateway's translation next to the kernel's: the same ruleset, the same packets, and what both
//! networks see of them, byte by byte, with the counters of all rules.
//!
//! `SLUICE_NAT_SEED` sets the seed (default: a new one each time, which is printed), `SLUICE_NAT_CASES` how
//! many conversations. Packets are chosen so that no port has to be: where one is, kernel and gateway choose
//! by chance.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sluice_control::netns::Namespace;
use sluice_tests::needs;
use sluice_tests::oracle::kernel::counters;
use sluice_tests::raw::RawSocket;
use sluice_tests::translated::{Flags, Seen, Side, Translated, echo, error, syn, tcp, udp};

const QUIET: Duration = Duration::from_millis(4);
const PACKETS: usize = 60;
/// The router's address on both links, as the builders of packets have it.
const ROUTER: [u8; 6] = [2; 6];
const STATION: &str = "04:04:04:04:04:04";

/// What comes in unasked ends silently: how a host refuses is not translation's affair.
const QUIET_HOST: &str = "
table inet own {
    chain input { type filter hook input priority 0; policy accept; meta l4proto tcp counter drop; }
}
";

/// Rulesets whose outcome leaves nothing to chance.
const RULESETS: &[&str] = &[
    "table inet gw {
        chain post { type nat hook postrouting priority srcnat; oifname outside counter masquerade; }
    }",
    "table inet gw {
        chain pre { type nat hook prerouting priority dstnat
            iifname outside tcp dport 8080 counter dnat ip to 10.1.0.2:80
            iifname outside udp dport 8053 counter dnat ip to 10.1.0.3:53
            iifname outside meta nfproto ipv6 udp dport 8053 counter dnat ip6 to [fd01::3]:53
        }
        chain post { type nat hook postrouting priority srcnat; oifname outside counter masquerade; }
    }",
    "table ip gw {
        chain pre { type nat hook prerouting priority dstnat
            iifname outside counter dnat ip to udp dport map { 8053 : 10.1.0.2, 8054 : 10.1.0.3 }
        }
        chain post { type nat hook postrouting priority srcnat
            ip saddr 10.1.0.2 counter snat to 192.0.2.10
            ip saddr 10.1.0.3 counter snat to 192.0.2.11
            counter
        }
    }",
    "table ip gw {
        chain pre { type nat hook prerouting priority dstnat
            counter dnat ip prefix to ip daddr map { 192.0.2.0/28 : 10.1.0.0/28 }
        }
        chain post { type nat hook postrouting priority srcnat
            oifname outside counter snat ip prefix to ip saddr map { 10.1.0.0/28 : 192.0.2.0/28 }
        }
    }",
    "table ip6 gw {
        chain post { type nat hook postrouting priority srcnat
            oifname outside ip6 saddr fd01::2 counter snat to 2001:db8::10
            oifname outside counter masquerade
        }
    }",
    "table inet gw {
        chain raw { type filter hook prerouting priority raw; ip saddr 10.1.0.4 counter notrack; }
        chain pre { type nat hook prerouting priority dstnat; iifname outside udp dport 8053 counter redirect to :9; }
        chain post { type nat hook postrouting priority srcnat; oifname outside ct state new counter masquerade; }
        chain forward { type filter hook forward priority 0; policy drop
            ct state established counter accept
            ct state related counter accept
            ct state invalid counter drop
            iifname inside counter accept
            ct status dnat counter accept
            counter
        }
    }",
    "table inet gw {
        chain pre { type nat hook prerouting priority dstnat
            ip daddr 192.0.2.1 tcp dport 8080 counter dnat ip to 10.1.0.2:80
            ip daddr 192.0.2.1 udp dport 8053 counter dnat ip to 10.1.0.2:53
        }
        chain early { type nat hook postrouting priority srcnat - 10; ip saddr 10.1.0.5 counter accept; }
        chain post { type nat hook postrouting priority srcnat
            oifname outside counter masquerade
            iifname inside oifname inside ct status dnat counter masquerade
        }
    }",
];

/// The kernel as the router between two raw sockets.
struct Kernel {
    inside: RawSocket,
    outside: RawSocket,
    router: Namespace,
    _hosts: [Namespace; 2],
}

impl Kernel {
    fn new(ruleset: &str) -> io::Result<Self> {
        let router = Namespace::new("router")?;
        let station = |name: &str| -> io::Result<(Namespace, RawSocket)> {
            let host = Namespace::new(name)?;
            host.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
            host.add_veth("eth0", &router, name)?;
            router.set_mac(name, ROUTER)?;
            router.sysctl(&format!("net/ipv6/conf/{name}/accept_dad"), "0")?;
            router.set_up(name)?;
            host.set_up("eth0")?;
            host.sh("ip link set eth0 arp off")?;
            let socket = RawSocket::open(&host, "eth0")?;
            Ok((host, socket))
        };
        let (inside_host, inside) = station("inside")?;
        let (outside_host, outside) = station("outside")?;
        for (name, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/inside/rp_filter", "0"),
            ("net/ipv4/conf/outside/rp_filter", "0"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/inside/send_redirects", "0"),
            ("net/ipv4/conf/outside/send_redirects", "0"),
            ("net/ipv4/icmp_ratelimit", "0"),
            ("net/ipv4/icmp_msgs_per_sec", "100000"),
            ("net/ipv6/icmp/ratelimit", "0"),
        ] {
            // Some are the whole machine's, and then as they are.
            let _set = router.sysctl(name, value);
        }
        for line in [
            "ip address add 10.1.0.1/16 dev inside".to_owned(),
            "ip address add fd01::1/64 dev inside".to_owned(),
            "ip address add 192.0.2.1/24 dev outside".to_owned(),
            "ip address add 2001:db8::1/64 dev outside".to_owned(),
            format!("ip neigh add 192.0.2.254 lladdr {STATION} dev outside nud permanent"),
            format!("ip neigh add 2001:db8::fe lladdr {STATION} dev outside nud permanent"),
            format!("ip neigh add 192.0.2.2 lladdr {STATION} dev outside nud permanent"),
            format!("ip neigh add 192.0.2.3 lladdr {STATION} dev outside nud permanent"),
            "ip route add default via 192.0.2.254".to_owned(),
            "ip route add default via 2001:db8::fe".to_owned(),
        ] {
            router.sh(&line)?;
        }
        for host in 2..6 {
            for address in [format!("10.1.0.{host}"), format!("fd01::{host}")] {
                router.sh(&format!(
                    "ip neigh add {address} lladdr {STATION} dev inside nud permanent"
                ))?;
            }
        }
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), ruleset)?;
        router.sh(&format!("nft -f {}", file.path().display()))?;
        let kernel = Self {
            inside,
            outside,
            router,
            _hosts: [inside_host, outside_host],
        };
        // What the router says of itself when its links come up.
        std::thread::sleep(Duration::from_millis(50));
        kernel.inside.drain(QUIET)?;
        kernel.outside.drain(QUIET)?;
        Ok(kernel)
    }

    /// A packet comes from a side: what leaves.
    fn send(&self, side: Side, frame: &[u8]) -> io::Result<Vec<Seen>> {
        match side {
            Side::Inside => self.inside.send(frame)?,
            Side::Outside => self.outside.send(frame)?,
        }
        let mut seen = Vec::new();
        for (side, socket) in [(Side::Inside, &self.inside), (Side::Outside, &self.outside)] {
            for frame in socket.drain(QUIET)? {
                seen.push(Seen { side, frame });
            }
        }
        Ok(seen)
    }
}

/// Without link addresses, what the router says on its own account, and what may differ: the number of
/// an IPv4 packet that it made itself.
fn comparable(seen: Vec<Seen>) -> Vec<(Side, Vec<u8>)> {
    let mut packets: Vec<(Side, Vec<u8>)> = Vec::new();
    for Seen { side, frame } in seen {
        let mut packet = frame[14..].to_vec();
        match frame[12..14] {
            [8, 0] if packet[9] != 2 => {
                let end = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
                packet.truncate(end);
                if packet[9] == 1 && matches!(packet[20], 0 | 3 | 11) {
                    packet[4..6].fill(0);
                    packet[10..12].fill(0);
                    // How much of the packet is quoted is the router's affair, and the sum follows.
                    packet[6] &= 0xbf;
                }
            }
            [0x86, 0xdd] if !(packet[6] == 58 && matches!(packet[40], 130..=137 | 143)) => {
                if packet[6] == 0 {
                    continue;
                }
                let end = 40 + usize::from(u16::from_be_bytes([packet[4], packet[5]]));
                packet.truncate(end);
                // Linux gives its own packets a flow label.
                packet[1] &= 0xf0;
                packet[2..4].fill(0);
            }
            _ => continue,
        }
        packets.push((side, packet));
    }
    packets.sort_by(|a, b| (a.0 as u8, &a.1).cmp(&(b.0 as u8, &b.1)));
    packets
}

/// A random packet; `before` are those that left so far.
fn packet(random: &mut SmallRng, before: &[Seen]) -> (Side, Vec<u8>) {
    let choice = random.random_range(0..10);
    if choice >= 5
        && let Some(seen) = before.choose(random)
        && let Some(frame) = response(random, seen)
    {
        return (seen.side, frame);
    }
    let host = random.random_range(2..6u16);
    let port = 4000 + host * 10 + random.random_range(0..3u16);
    let six = random.random_range(0..3) == 0;
    if random.random_range(0..3) == 0 {
        return (Side::Outside, from_outside(random, six));
    }
    let (from, to): (String, &[&str]) = if six {
        (format!("fd01::{host}"), &["2001:db8:9::1", "2001:db8:9::2"])
    } else {
        let all = &["198.51.100.1", "198.51.100.2", "192.0.2.1"];
        (format!("10.1.0.{host}"), all)
    };
    let to = to.choose(random).expect("there are some");
    let end = |address: &str, port: u16| {
        if six {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        }
    };
    let dport = *[53, 80, 8080, 8053].choose(random).expect("some");
    let mut frame = match random.random_range(0..4) {
        0 => echo(&from, to, port, false),
        1 => syn(&end(&from, port), &end(to, dport)),
        _ => udp(&end(&from, port), &end(to, dport), b"a question"),
    };
    if random.random_range(0..8) == 0 {
        spend(&mut frame);
    }
    (Side::Inside, frame)
}

/// A new packet from outside.
fn from_outside(random: &mut SmallRng, six: bool) -> Vec<u8> {
    let source = random.random_range(1..4u16);
    let own = random.random_range(1..4u16);
    // Another port for each address here, so that none has to be chosen when two lead to one host.
    let port = 7000 + source * 100 + own * 10 + random.random_range(0..2u16);
    let dport = *[8053, 8054, 8080, 99].choose(random).expect("some");
    if six {
        let from = format!("[2001:db8:9::{source}]:{port}");
        return udp(&from, &format!("[2001:db8::1]:{dport}"), b"hello");
    }
    let own = format!("192.0.2.{own}");
    let from = format!("198.51.100.{source}:{port}");
    match random.random_range(0..3) {
        0 => syn(&from, &format!("{own}:{dport}")),
        1 => echo(&format!("198.51.100.{source}"), &own, port, false),
        _ => udp(&from, &format!("{own}:{dport}"), b"hello"),
    }
}

/// An answer to a packet that left, or an error about it.
fn response(random: &mut SmallRng, seen: &Seen) -> Option<Vec<u8>> {
    let packet = &seen.frame[14..];
    let four = packet[0] >> 4 == 4;
    let (protocol, at) = if four {
        (packet[9], 20)
    } else {
        (packet[6], 40)
    };
    let kind = packet[at];
    if matches!((four, protocol), (true, 1)) && !matches!(kind, 0 | 8)
        || !four && protocol == 58 && kind < 128
    {
        return None;
    }
    let (from, to) = seen.ends();
    let (from, to) = (from.to_string(), to.to_string());
    let bare = |end: &str| {
        end.rsplit_once(':')
            .map(|(ip, _)| ip.trim_matches(['[', ']']).to_owned())
    };
    if random.random_range(0..3) == 0 {
        let router = match (seen.side, four) {
            (Side::Outside, true) => "203.0.113.9".to_owned(),
            (Side::Outside, false) => "2001:db8:77::9".to_owned(),
            (Side::Inside, _) => bare(&to)?,
        };
        let kinds: &[(u8, u8)] = if four {
            &[(3, 1), (3, 3), (11, 0)]
        } else {
            &[(1, 0), (1, 4), (3, 0)]
        };
        let kind = *kinds.choose(random)?;
        return Some(error(&router, &bare(&from)?, kind, &seen.frame));
    }
    match protocol {
        17 => Some(udp(&to, &from, b"an answer")),
        6 if packet[at + 13] & 0x12 == 2 => {
            let flags = Flags {
                syn: true,
                ack: true,
                ..Flags::default()
            };
            Some(tcp(&to, &from, flags, (5000, 1001), &[]))
        }
        1 if kind == 8 => Some(echo(&bare(&to)?, &bare(&from)?, id(packet, at), true)),
        58 if kind == 128 => Some(echo(&bare(&to)?, &bare(&from)?, id(packet, at), true)),
        _ => None,
    }
}

fn id(packet: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([packet[at + 4], packet[at + 5]])
}

/// Leaves a packet one hop.
fn spend(frame: &mut [u8]) {
    if frame[14] >> 4 == 4 {
        frame[22] = 1;
        frame[24..26].fill(0);
        let check = sluice_dataplane::packet::checksum::checksum(&frame[14..34]);
        frame[24..26].copy_from_slice(&check.to_be_bytes());
    } else {
        frame[21] = 1;
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// One conversation; yields what differs.
fn converse(seed: u64, ruleset: &str) -> io::Result<Option<String>> {
    let ruleset = format!("{QUIET_HOST}{ruleset}\n");
    let kernel = Kernel::new(&ruleset)?;
    let mut ours = Translated::new(&ruleset);
    let mut random = SmallRng::seed_from_u64(seed);
    let mut before = Vec::new();
    let mut history = Vec::new();
    for _ in 0..PACKETS {
        let (side, frame) = packet(&mut random, &before);
        let theirs = kernel.send(side, &frame)?;
        let own = ours.send(side, &frame);
        history.push(format!("{side:?} {:02x?}", &frame[14..]));
        let left = own.clone();
        let (theirs, own) = (comparable(theirs), comparable(own));
        if theirs != own {
            let from = history.len().saturating_sub(1);
            return Ok(Some(format!(
                "{ruleset}packet {from}: {}\nkernel {theirs:02x?}\nours   {own:02x?}\n{:?}\n{:#?}",
                history[from],
                ours.drops.last(),
                ours.flows()
            )));
        }
        before.extend(left);
    }
    let theirs = counters(&kernel.router.sh("nft list ruleset")?);
    let own = counters(&ours.listing());
    Ok((theirs != own).then(|| format!("{ruleset}\nkernel {theirs:?}\nours   {own:?}")))
}

#[test]
fn the_kernel_and_the_gateway_translate_alike() {
    if !needs(&["nft", "ip"]) {
        return;
    }
    let seed = number("SLUICE_NAT_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.map_or(1, |now| now.as_secs())
    });
    let cases = number("SLUICE_NAT_CASES").unwrap_or(14);
    println!("SLUICE_NAT_SEED={seed} SLUICE_NAT_CASES={cases}");
    for case in seed..seed + cases {
        let ruleset = RULESETS[(case % RULESETS.len() as u64) as usize];
        let differs =
            converse(case, ruleset).unwrap_or_else(|error| panic!("seed {case}: {error}"));
        assert_eq!(differs, None, "seed {case}");
    }
}
