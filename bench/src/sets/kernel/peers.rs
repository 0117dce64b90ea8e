//! nft's sets and ipset's: how elements are said, and what the kernel tells of them.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use sluice_dataplane::sets::{Element, Key};

use super::Bed;
use crate::sets::shapes::Case;

/// A structure of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Sets of nftables.
    Nft,
    /// Sets of ipset.
    Ipset,
}

/// Both.
pub const PEERS: [Peer; 2] = [Peer::Nft, Peer::Ipset];

/// The structure that does what a case does.
pub(super) struct Kind {
    /// nft: type and flags; ipset: type and options.
    declaration: &'static str,
    /// nft: what is looked up; ipset: directions.
    key: &'static str,
    case: Case,
}

/// Bytes of kernel memory for data: what of it a set takes shows in large sets only.
pub(super) fn kernel_bytes() -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let mut kib = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some("Slab:" | "VmallocUsed:" | "Percpu:"), Some(number)) =
            (words.next(), words.next())
        {
            kib += number.parse::<u64>()?;
        }
    }
    Ok(kib * 1024)
}

impl Peer {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Nft => "nft",
            Peer::Ipset => "ipset",
        }
    }

    /// The program that reads a file of commands.
    pub(super) fn program(self) -> &'static [&'static str] {
        match self {
            Peer::Nft => &["nft", "-f"],
            Peer::Ipset => &["ipset", "restore", "-file"],
        }
    }

    /// The structure for a case.
    pub(super) fn kind(self, case: Case) -> Option<Kind> {
        let (declaration, key) = match (self, case) {
            (Peer::Nft, Case::Address) => ("type ipv4_addr;", "ip saddr @s"),
            (Peer::Nft, Case::AddressMap) => {
                ("type ipv4_addr : mark;", "meta mark set ip saddr map @s")
            }
            (Peer::Nft, Case::AddressDynamic) => (
                "type ipv4_addr; size 16777216; flags dynamic,timeout;",
                "ip saddr @s",
            ),
            (Peer::Nft, Case::Tuple) => (
                "type ipv6_addr . ipv6_addr . inet_service . inet_proto;",
                "ip6 saddr . ip6 daddr . udp dport . meta l4proto @s",
            ),
            (Peer::Nft, Case::Ports) => ("type inet_service;", "udp dport @s"),
            (Peer::Nft, Case::Prefix) => {
                ("type ipv4_addr; flags interval; auto-merge;", "ip saddr @s")
            }
            (Peer::Nft, Case::Interval) => ("type ipv4_addr; flags interval;", "ip saddr @s"),
            (Peer::Nft, Case::Prefix6) => (
                "type ipv6_addr; flags interval; auto-merge;",
                "ip6 saddr @s",
            ),
            (Peer::Nft, Case::PrefixPort) => (
                "type ipv4_addr . inet_service; flags interval;",
                "ip saddr . udp dport @s",
            ),
            (Peer::Nft, Case::PrefixPortPrefix) => (
                "type ipv4_addr . inet_service . ipv4_addr; flags interval;",
                "ip saddr . udp dport . ip daddr @s",
            ),
            (Peer::Ipset, Case::Address) => ("hash:ip", "src"),
            (Peer::Ipset, Case::AddressMap) => ("hash:ip skbinfo", "src"),
            (Peer::Ipset, Case::AddressDynamic) => ("hash:ip timeout 0", "src"),
            (Peer::Ipset, Case::Prefix) => ("hash:net", "src"),
            (Peer::Ipset, Case::Ports) => ("bitmap:port range 0-65535", "dst"),
            (Peer::Ipset, Case::Prefix6) => ("hash:net family inet6", "src"),
            // It has no ranges: it would keep a port range as a thousand elements.
            (
                Peer::Ipset,
                Case::Interval | Case::PrefixPort | Case::Tuple | Case::PrefixPortPrefix,
            ) => return None,
        };
        Some(Kind {
            declaration,
            key,
            case,
        })
    }

    /// Whether it takes the kernel minutes to load so many.
    pub(super) fn is_slow(self, case: Case, count: usize) -> bool {
        self == Peer::Nft
            && matches!(case, Case::PrefixPort | Case::PrefixPortPrefix)
            && count > 10_000
    }

    /// The commands that make the set with these elements.
    pub(super) fn load(self, kind: &Kind, elements: &[Element]) -> String {
        let mut text = String::with_capacity(elements.len() * 40);
        match self {
            Peer::Nft => {
                let noun = noun(kind);
                let _ = write!(text, "table netdev t {{\n{noun} s {{ {}", kind.declaration);
                text += " elements = {";
                for element in elements {
                    nft_element(&mut text, kind.case, element);
                    text += ",\n";
                }
                text += "} }\nchain c { type filter hook ingress device b priority 0; }\n}\n";
            }
            Peer::Ipset => {
                let most = if kind.case == Case::Ports {
                    String::new()
                } else {
                    // As ipset's users size them; it doubles by itself otherwise.
                    format!(" maxelem {}", elements.len().max(1024) * 32)
                };
                let _ = writeln!(text, "create s {}{most}", kind.declaration);
                for element in elements {
                    ipset_lines(&mut text, "add", kind.case, element);
                }
            }
        }
        text
    }

    /// Commands that take elements out and put them back; none where nft has merged them, so that they
    /// cannot be named one by one.
    pub(super) fn changes(self, kind: &Kind, elements: &[Element]) -> Option<String> {
        if self == Peer::Nft && matches!(kind.case, Case::Prefix | Case::Prefix6) {
            return None;
        }
        let mut text = String::new();
        for element in elements {
            match self {
                Peer::Nft => {
                    for verb in ["delete", "add"] {
                        let _ = write!(text, "{verb} element netdev t s {{ ");
                        nft_element(&mut text, kind.case, element);
                        text += " }\n";
                    }
                }
                Peer::Ipset => {
                    ipset_lines(&mut text, "del", kind.case, element);
                    ipset_lines(&mut text, "add", kind.case, element);
                }
            }
        }
        Some(text)
    }

    /// Bytes an element.
    pub(super) fn bytes(self, bed: &Bed, before: u64, count: usize) -> anyhow::Result<Option<f64>> {
        match self {
            // What else the machine does shows in small sets.
            Peer::Nft if count < 100_000 => Ok(None),
            Peer::Nft => {
                let taken = kernel_bytes()?.saturating_sub(before);
                Ok(Some(taken as f64 / count as f64))
            }
            Peer::Ipset => {
                let text = bed.space.sh("ipset list -t s")?;
                let bytes = text
                    .lines()
                    .find_map(|line| line.strip_prefix("Size in memory: "))
                    .and_then(|bytes| bytes.parse::<f64>().ok());
                Ok(bytes.map(|bytes| bytes / count as f64))
            }
        }
    }

    /// Has the device hand frames to where the rule stands.
    pub(super) fn open(self, bed: &Bed, kind: &Kind) -> anyhow::Result<()> {
        if self == Peer::Ipset && kind.case == Case::Prefix6 {
            // A device without IPv6 drops what comes before any table sees it.
            bed.space.sysctl("net/ipv6/conf/b/disable_ipv6", "0")?;
        }
        Ok(())
    }

    /// Puts the one rule in: with the set, or without.
    pub(super) fn rule(self, bed: &Bed, with: bool, kind: &Kind) -> anyhow::Result<()> {
        match self {
            Peer::Nft => {
                let rule = match (with, kind.case) {
                    (false, _) => "drop".to_owned(),
                    // A map that does not have the key ends the rule.
                    (true, _) => format!("{} drop", kind.key),
                };
                let text = format!(
                    "flush chain netdev t c\nadd rule netdev t c {rule}\nadd rule netdev t c counter drop\n"
                );
                bed.feed(&["nft", "-f"], &text)?;
            }
            Peer::Ipset => {
                let matching = if with {
                    format!("-m set --match-set s {} ", kind.key)
                } else {
                    String::new()
                };
                let table = raw_table(kind);
                bed.space.sh(&format!("{table} -F"))?;
                for matching in [&*matching, ""] {
                    let rule = format!("{table} -A PREROUTING -i b {matching}-j DROP");
                    bed.space.sh(&rule)?;
                }
            }
        }
        Ok(())
    }

    /// Of so many frames those that the rule with the set has not dropped.
    pub(super) fn missed(self, bed: &Bed, kind: &Kind, sent: u64) -> anyhow::Result<u64> {
        let missing = || anyhow::anyhow!("no counter");
        match self {
            Peer::Nft => {
                let text = bed.space.sh("nft list chain netdev t c")?;
                let (_, behind) = text.split_once("counter packets ").ok_or_else(missing)?;
                Ok(behind.split(' ').next().ok_or_else(missing)?.parse()?)
            }
            Peer::Ipset => {
                let table = raw_table(kind);
                let text = bed.space.sh(&format!("{table} -nvxL PREROUTING"))?;
                // Behind the chain's name and the heads of the columns.
                let rule = text.lines().nth(2).ok_or_else(missing)?;
                let dropped: u64 = rule
                    .split_whitespace()
                    .next()
                    .ok_or_else(missing)?
                    .parse()?;
                Ok(sent.saturating_sub(dropped))
            }
        }
    }
}

/// The command for the table of ipset's rules: each family has its own.
fn raw_table(kind: &Kind) -> &'static str {
    if kind.case == Case::Prefix6 {
        "ip6tables-legacy -t raw"
    } else {
        "iptables-legacy -t raw"
    }
}

fn noun(kind: &Kind) -> &'static str {
    if kind.case == Case::AddressMap {
        "map"
    } else {
        "set"
    }
}

fn bounds(element: &Element) -> (&[u32], &[u32]) {
    match &element.key {
        Key::Range { low, high } => (low, high),
        Key::CatchAll => (&[], &[]),
    }
}

fn range4(text: &mut String, low: u32, high: u32) {
    let _ = if low == high {
        write!(text, "{}", Ipv4Addr::from(low))
    } else {
        write!(text, "{}-{}", Ipv4Addr::from(low), Ipv4Addr::from(high))
    };
}

fn range_port(text: &mut String, low: u32, high: u32) {
    let _ = if low == high {
        write!(text, "{low}")
    } else {
        write!(text, "{low}-{high}")
    };
}

fn six(words: &[u32]) -> Ipv6Addr {
    let number = words
        .iter()
        .fold(0, |number, &word| number << 32 | u128::from(word));
    Ipv6Addr::from(number)
}

fn nft_element(text: &mut String, case: Case, element: &Element) {
    let (low, high) = bounds(element);
    match case {
        Case::Address | Case::AddressDynamic | Case::Prefix | Case::Interval => {
            range4(text, low[0], high[0]);
        }
        Case::AddressMap => {
            range4(text, low[0], high[0]);
            let _ = write!(text, " : {}", element.data[0]);
        }
        Case::Ports => range_port(text, low[0], high[0]),
        Case::Prefix6 => {
            let _ = write!(text, "{}-{}", six(low), six(high));
        }
        Case::Tuple => {
            let _ = write!(
                text,
                "{} . {} . {} . udp",
                six(&low[..4]),
                six(&low[4..8]),
                low[8]
            );
        }
        Case::PrefixPort | Case::PrefixPortPrefix => {
            range4(text, low[0], high[0]);
            text.push_str(" . ");
            range_port(text, low[1], high[1]);
            if case == Case::PrefixPortPrefix {
                text.push_str(" . ");
                range4(text, low[2], high[2]);
            }
        }
    }
}

fn ipset_lines(text: &mut String, verb: &str, case: Case, element: &Element) {
    let (low, high) = bounds(element);
    let _ = write!(text, "{verb} s ");
    match case {
        Case::Prefix6 => {
            let shared = low
                .iter()
                .zip(high)
                .map(|(low, high)| (low ^ high).leading_zeros());
            let length: u32 = shared.sum();
            let _ = write!(text, "{}/{length}", six(low));
        }
        Case::Ports => range_port(text, low[0], high[0]),
        Case::Prefix if low != high => {
            // hash:net nests prefixes only when they are given as such.
            let length = (low[0] ^ high[0]).leading_zeros();
            let _ = write!(text, "{}/{length}", Ipv4Addr::from(low[0]));
        }
        _ => range4(text, low[0], high[0]),
    }
    if case == Case::AddressMap && verb == "add" {
        let _ = write!(text, " skbmark {:#x}", element.data[0]);
    }
    text.push('\n');
}
