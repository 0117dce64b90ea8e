//! An element of the engine as text.

use sluice_dataplane::sets::{Element, Key};

use super::address;
use super::create::{Cut, Header};
use super::element::mac_text;
use super::kind::{Family, Kind};
use super::port::Ports;
use super::set::{DataLayout, Member, NOMATCH};

/// What is listed of an element: itself, then what it has, each with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The element.
    pub name: String,
    /// Options; flags have no value.
    pub extras: Vec<(&'static str, Option<String>)>,
}

/// Reads the words of a key one field after the other.
struct Fields<'a> {
    low: &'a [u32],
    high: &'a [u32],
    at: usize,
}

impl Fields<'_> {
    fn number(&mut self, words: u8) -> (u128, u128) {
        let to = self.at + usize::from(words);
        let read = |key: &[u32]| {
            let words = key.get(self.at..to).unwrap_or(&[]);
            words
                .iter()
                .fold(0u128, |number, word| number << 32 | u128::from(*word))
        };
        let both = (read(self.low), read(self.high));
        self.at = to;
        both
    }

    fn word(&mut self) -> u32 {
        self.number(1).0 as u32
    }

    fn address(&mut self, family: Family) -> String {
        let (low, high) = self.number(family.words());
        let text = address::text(low, family);
        let free = 128 - (low ^ high).leading_zeros() as u8;
        if free == 0 {
            text
        } else {
            format!("{text}/{}", family.bits() - free)
        }
    }

    fn mac(&mut self) -> [u8; 6] {
        let (high, low) = (self.word(), self.word());
        mac_of(high, low)
    }

    /// `[protocol:]port`.
    fn ports(&mut self) -> String {
        let word = self.word();
        let ports = Ports {
            protocol: (word >> 16) as u8,
            from: word as u16,
            to: None,
        };
        ports.text()
    }
}

fn mac_of(high: u32, low: u32) -> [u8; 6] {
    let ([_, _, a, b], [c, d, e, f]) = (high.to_be_bytes(), low.to_be_bytes());
    [a, b, c, d, e, f]
}

/// The name of an interface in a key, and whether it is a prefix.
fn iface(low: u128, high: u128) -> (String, bool) {
    let bytes = low.to_be_bytes();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(16);
    let name = String::from_utf8_lossy(&bytes[..end]).into_owned();
    (name, low != high)
}

/// An element of a set.
pub fn listed(header: &Header, element: &Element, now_ns: u64) -> Listed {
    let layout = DataLayout::of(header);
    let (name, wildcard) = name(header, element, layout);
    let mut extras: Vec<(&'static str, Option<String>)> = Vec::new();
    if header.timeout.is_some() {
        extras.push(("timeout", Some(timeout(element, now_ns).to_string())));
    }
    let data = |at: Option<usize>, index: usize| {
        at.and_then(|at| element.data.get(at + index))
            .copied()
            .unwrap_or(0)
    };
    if data(layout.flags, 0) & NOMATCH != 0 {
        extras.push(("nomatch", None));
    }
    if wildcard {
        extras.push(("wildcard", None));
    }
    if let [packets, bytes] = *element.state {
        extras.push(("packets", Some(packets.to_string())));
        extras.push(("bytes", Some(bytes.to_string())));
    }
    if let Some(comment) = &element.comment {
        extras.push(("comment", Some(format!("\"{comment}\""))));
    }
    if layout.skb.is_some() {
        let word = |index| data(layout.skb, index);
        push_skb(&mut extras, [word(0), word(1), word(2), word(3)]);
    }
    Listed { name, extras }
}

/// A set in a list.
pub fn member(header: &Header, member: &Member, now_ns: u64) -> Listed {
    let mut extras: Vec<(&'static str, Option<String>)> = Vec::new();
    if header.timeout.is_some() {
        let left = member
            .expires_at_ns
            .map_or(0, |at| seconds_left(at, now_ns));
        extras.push(("timeout", Some(left.to_string())));
    }
    if header.counters {
        let (packets, bytes) = member.counted();
        extras.push(("packets", Some(packets.to_string())));
        extras.push(("bytes", Some(bytes.to_string())));
    }
    if let Some(comment) = &member.comment {
        extras.push(("comment", Some(format!("\"{comment}\""))));
    }
    if header.skbinfo {
        push_skb(&mut extras, member.skb);
    }
    Listed {
        name: member.name.to_string(),
        extras,
    }
}

fn push_skb(extras: &mut Vec<(&'static str, Option<String>)>, skb: [u32; 4]) {
    let [mark, mask, class, queue] = skb;
    if mark != 0 || mask != 0 {
        let text = if mask == u32::MAX {
            format!("0x{mark:x}")
        } else {
            format!("0x{mark:x}/0x{mask:x}")
        };
        extras.push(("skbmark", Some(text)));
    }
    if class != 0 {
        let text = format!("{:x}:{:x}", class >> 16, class & 0xffff);
        extras.push(("skbprio", Some(text)));
    }
    if queue != 0 {
        extras.push(("skbqueue", Some(queue.to_string())));
    }
}

/// Whole seconds; never 0, which would mean that it stays.
fn seconds_left(at_ns: u64, now_ns: u64) -> u64 {
    (at_ns.saturating_sub(now_ns) / 1_000_000_000).max(1)
}

/// Seconds that are left, 0 for an element that stays; one that waits for its Ethernet address has
/// all of its time.
fn timeout(element: &Element, now_ns: u64) -> u64 {
    match (element.expires_ns, element.timeout_ns) {
        (Some(at), _) => seconds_left(at, now_ns),
        (None, Some(waiting)) => waiting / 1_000_000_000,
        (None, None) => 0,
    }
}

fn name(header: &Header, element: &Element, layout: DataLayout) -> (String, bool) {
    let Key::Range { low, high } = &element.key else {
        return (String::new(), false);
    };
    let mut fields = Fields { low, high, at: 0 };
    let family = header.family;
    let first = header.span.map_or(0, |span| span.first);
    let text = match header.kind {
        Kind::BitmapIp | Kind::BitmapIpMac => {
            let base = match header.cut {
                Cut::Whole => first,
                _ => header.cut(u128::from(first)) as u32,
            };
            let address = u64::from(base) + u64::from(fields.word()) * header.hosts();
            let mut text = address::text(u128::from(address), Family::Inet);
            if let Some(at) = layout.mac
                && let Some([1, high, low]) = element.data.get(at..at + 3)
            {
                text = format!("{text},{}", mac_text(mac_of(*high, *low)));
            }
            text
        }
        Kind::BitmapPort => (first + fields.word()).to_string(),
        Kind::HashIp | Kind::HashNet => fields.address(family),
        Kind::HashMac => mac_text(fields.mac()),
        Kind::HashIpMac => {
            let ip = fields.address(family);
            format!("{ip},{}", mac_text(fields.mac()))
        }
        Kind::HashNetNet => format!("{},{}", fields.address(family), fields.address(family)),
        Kind::HashIpPort | Kind::HashNetPort => {
            format!("{},{}", fields.address(family), fields.ports())
        }
        Kind::HashIpPortIp | Kind::HashIpPortNet | Kind::HashNetPortNet => {
            let ip = fields.address(family);
            let ports = fields.ports();
            format!("{ip},{ports},{}", fields.address(family))
        }
        Kind::HashIpMark => format!("{},0x{:08x}", fields.address(family), fields.word()),
        Kind::HashNetIface => {
            let net = fields.address(family);
            let physical = if fields.word() == 1 { "physdev:" } else { "" };
            let (low, high) = fields.number(4);
            let (name, wildcard) = iface(low, high);
            return (format!("{net},{physical}{name}"), wildcard);
        }
        Kind::ListSet => String::new(),
    };
    (text, false)
}

/// The order of `-sorted`: part by part, the shorter part first, then by its characters; of the same
/// address the longer prefix first.
pub fn by_parts(one: &str, other: &str) -> std::cmp::Ordering {
    let parts =
        |text: &str| -> Vec<String> { text.split(['.', ':', ',']).map(str::to_owned).collect() };
    let (one, other) = (parts(one), parts(other));
    for (a, b) in one.iter().zip(&other) {
        let order = part(a, b);
        if order.is_ne() {
            return order;
        }
    }
    one.len().cmp(&other.len())
}

fn part(a: &str, b: &str) -> std::cmp::Ordering {
    let plain = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
    if a.starts_with('/') || b.starts_with('/') {
        return plain(a, b);
    }
    let cut = |text: &str| {
        let cut = text.split_once('/');
        match cut.and_then(|(number, length)| Some((number, length.parse::<u16>().ok()?))) {
            Some((number, length)) => (number.to_owned(), length),
            None => (text.to_owned(), u16::MAX),
        }
    };
    let ((number, length), (other, other_length)) = (cut(a), cut(b));
    plain(&number, &other).then_with(|| other_length.cmp(&length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_is_in_the_originals_order() {
        // As ipset 7.17 lists them with -sorted.
        for listed in [
            "3.2.3.4 3.9.3.0/31 3.9.3.0/24 3.10.3.4 10.0.0.0 10.0.0.0/25 10.0.0.0/24 10.0.0.0/16 \
             10.0.0.0/10 10.0.0.0/9 10.0.0.0/8 20.2.3.4 100.2.3.4",
            "::1 ::10 1:: 2001:d::1 2001:db8::1 2001:db8::2 2001:db8::a 2001:db8::10 2001:db8::/32 \
             2001:db8::/48 2001:db8::/64 2001:db80::1 fe80::1",
            "1.1.1.1,gre:0 1.1.1.1,tcp:3 1.1.1.1,tcp:9 1.1.1.1,tcp:10 1.1.1.1,tcp:65535 \
             1.1.1.1,udp:3 1.1.1.1,udp:100 1.1.1.1,icmp:echo-request",
            "1.1.1.0/24,a 1.1.1.0/24,lo 1.1.1.0/24,ppp 1.1.1.0/24,eth0 1.1.1.0/24,zzzz \
             1.1.1.0/24,eth10 1.1.1.0/24,wlan0 1.1.1.0/24,physdev:eth0",
            "2000:: 2000::5:0 2000::5:0/120 2000::5:0/113 2000::5:0/112 2000::/3 2000::/9 2000::/10 \
             2000::/100",
        ] {
            let names: Vec<&str> = listed.split_whitespace().collect();
            let mut sorted = names.clone();
            sorted.reverse();
            sorted.sort_by(|a, b| by_parts(a, b));
            assert_eq!(sorted, names);
        }
    }
}
