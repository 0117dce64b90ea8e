//! Which flows are meant: a query, read once, asked of every flow.

use std::net::IpAddr;

use sluice_config::model::services;
use sluice_dataplane::conntrack::status;

use super::order::Key;
use super::text::protocol_number;
use super::view::View;
use crate::api::flow::FlowQuery;

/// Most flows that are kept to be sorted.
const MOST_SORTED: usize = 1_000_000;

/// A network: address and the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn read(key: &str, text: &str) -> Result<Self, String> {
        let bad = |what: &str| format!("{key}: \"{text}\" {what}");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| bad("is no address; allowed: an address, or address/bits"))?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= all)
                .ok_or_else(|| bad(&format!("has no prefix of 0 to {all} bits")))?,
        };
        Ok(Self { address, bits })
    }

    fn has(&self, address: IpAddr) -> bool {
        let (own, other, all) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (u128::from(u32::from(own)), u128::from(u32::from(other)), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => (u128::from(own), u128::from(other), 128),
            _ => return false,
        };
        let ignored = all - self.bits;
        ignored == 128 || own >> ignored == other >> ignored
    }
}

/// Conditions that a flow must fit, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    l3: Option<u8>,
    protocol: Option<u8>,
    any_address: Option<Network>,
    addresses: [Option<Network>; 4],
    any_port: Option<u16>,
    ports: [Option<u16>; 4],
    icmp_type: Option<u16>,
    icmp_code: Option<u16>,
    icmp_id: Option<u16>,
    state: Option<String>,
    status_set: u32,
    status_clear: u32,
    status_any: u32,
    mark: Option<(u32, u32)>,
    zones: [Option<u16>; 2],
    id: Option<u32>,
    all: bool,
    /// By what to sort.
    pub sort: Option<Key>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl FlowFilter {
    /// Reads a query.
    ///
    /// # Errors
    /// A sentence that names the key and what is allowed.
    pub fn read(query: &FlowQuery) -> Result<Self, String> {
        let network = |key: &str, text: &Option<String>| {
            text.as_ref()
                .map(|text| Network::read(key, text))
                .transpose()
        };
        let [status_set, status_clear, status_any] = statuses(query.status.as_deref())?;
        let zone = number("zone", &query.zone)?;
        let filter = Self {
            l3: family(query.family.as_deref())?,
            protocol: protocol(query.protocol.as_deref())?,
            any_address: network("address", &query.address)?,
            addresses: [
                network("src", &query.src)?,
                network("dst", &query.dst)?,
                network("reply_src", &query.reply_src)?,
                network("reply_dst", &query.reply_dst)?,
            ],
            any_port: port("port", &query.port)?,
            ports: [
                port("sport", &query.sport)?,
                port("dport", &query.dport)?,
                port("reply_sport", &query.reply_sport)?,
                port("reply_dport", &query.reply_dport)?,
            ],
            icmp_type: number("icmp_type", &query.icmp_type)?,
            icmp_code: number("icmp_code", &query.icmp_code)?,
            icmp_id: number("icmp_id", &query.icmp_id)?,
            state: query.state.as_ref().map(|state| state.to_uppercase()),
            status_set,
            status_clear,
            status_any,
            mark: mark(query.mark.as_deref())?,
            zones: [
                number("orig_zone", &query.orig_zone)?.or(zone),
                number("reply_zone", &query.reply_zone)?.or(zone),
            ],
            id: number("id", &query.id)?,
            all: boolean("all", query.all.as_deref())?,
            sort: query.sort.as_deref().map(Key::read).transpose()?,
            limit: number("limit", &query.limit)?,
        };
        if filter.sort.is_some() && filter.limit.is_some_and(|limit| limit > MOST_SORTED) {
            return Err(format!("limit: at most {MOST_SORTED} flows can be sorted"));
        }
        Ok(filter)
    }

    /// Whether a condition was given, or that all flows are meant.
    pub fn is_deliberate(&self) -> bool {
        let bare = Self {
            sort: self.sort,
            limit: self.limit,
            ..Self::default()
        };
        *self != bare
    }

    /// Whether a flow is meant.
    pub fn fits(&self, flow: &View<'_>) -> bool {
        let icmp = matches!(flow.protocol, 1 | 58);
        let same = |wanted: Option<u16>, found: u16| wanted.is_none_or(|wanted| wanted == found);
        let has_port = |port: &u16| !icmp && flow.ports.contains(port);
        let in_icmp =
            self.icmp_type.is_none() && self.icmp_code.is_none() && self.icmp_id.is_none();
        self.l3.is_none_or(|l3| l3 == flow.l3)
            && self
                .protocol
                .is_none_or(|protocol| protocol == flow.protocol)
            && self
                .any_address
                .is_none_or(|net| flow.addresses.iter().any(|address| net.has(*address)))
            && (self.addresses.iter().zip(flow.addresses))
                .all(|(net, address)| net.is_none_or(|net| net.has(address)))
            && self.any_port.as_ref().is_none_or(has_port)
            && (self.ports.iter().zip(flow.ports))
                .all(|(wanted, found)| wanted.is_none() || !icmp && same(*wanted, found))
            && (in_icmp || icmp)
            && same(self.icmp_type, flow.ports[1] >> 8)
            && same(self.icmp_code, flow.ports[1] & 0xff)
            && same(self.icmp_id, flow.ports[0])
            && (self.state.as_deref()).is_none_or(|state| flow.state == Some(state))
            && flow.status & self.status_set == self.status_set
            && flow.status & self.status_clear == 0
            && (self.status_any == 0 || flow.status & self.status_any != 0)
            && self
                .mark
                .is_none_or(|(mark, mask)| flow.mark & mask == mark & mask)
            && same(self.zones[0], flow.zones[0])
            && same(self.zones[1], flow.zones[1])
            && self.id.is_none_or(|id| id == flow.id)
    }
}

fn family(text: Option<&str>) -> Result<Option<u8>, String> {
    match text {
        None => Ok(None),
        Some("ipv4" | "ip") => Ok(Some(2)),
        Some("ipv6" | "ip6") => Ok(Some(10)),
        Some(other) => Err(format!(
            "family: \"{other}\" is not known; allowed: ipv4, ipv6"
        )),
    }
}

fn protocol(text: Option<&str>) -> Result<Option<u8>, String> {
    let number = |text: &str| {
        protocol_number(text).ok_or_else(|| {
            format!(
                "protocol: \"{text}\" is not known; allowed: tcp, udp, udplite, icmp, icmpv6, \
                 sctp, dccp, gre, or a number from 0 to 255"
            )
        })
    };
    text.map(number).transpose()
}

/// A decimal number, or one in hexadecimal.
fn number<T: TryFrom<u64>>(key: &str, text: &Option<String>) -> Result<Option<T>, String> {
    let Some(text) = text else { return Ok(None) };
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    parsed
        .and_then(|number| T::try_from(number).ok())
        .map(Some)
        .ok_or_else(|| {
            let most = match size_of::<T>() {
                2 => u64::from(u16::MAX),
                4 => u64::from(u32::MAX),
                _ => u64::MAX,
            };
            format!("{key}: \"{text}\" is no number from 0 to {most}")
        })
}

/// A port: a number, or a service by the names that nft takes.
fn port(key: &str, text: &Option<String>) -> Result<Option<u16>, String> {
    let Some(name) = text else { return Ok(None) };
    if let Some(known) = services::port_number(name) {
        return Ok(Some(known));
    }
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return number(key, text);
    }
    Err(format!(
        "{key}: \"{name}\" is neither a number nor a known service"
    ))
}

fn boolean(key: &str, text: Option<&str>) -> Result<bool, String> {
    match text {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(format!("{key}: \"{other}\" is neither true nor false")),
    }
}

/// Bits that must be set, bits that must not, and bits of which one must be.
fn statuses(list: Option<&str>) -> Result<[u32; 3], String> {
    let [mut set, mut clear, mut any] = [0; 3];
    for name in list.into_iter().flat_map(|list| list.split(',')) {
        match name {
            "unreplied" | "unset" => clear |= status::SEEN_REPLY,
            "translated" => any |= status::SRC_NAT | status::DST_NAT,
            // Flows are never handed to a flow table here: no flow fits.
            "offload" | "hw-offload" => set |= 1 << 31,
            _ => {
                let known = status::NAMES.iter().find(|(_, known)| *known == name);
                set |= known.map(|(bit, _)| *bit).ok_or_else(|| {
                    let names: Vec<&str> = status::NAMES.iter().map(|(_, name)| *name).collect();
                    format!(
                        "status: \"{name}\" is not known; allowed: unreplied, translated, {}",
                        names.join(", ")
                    )
                })?;
            }
        }
    }
    Ok([set, clear, any])
}

/// A mark and the bits of it that count.
pub(super) fn mark(text: Option<&str>) -> Result<Option<(u32, u32)>, String> {
    let Some(text) = text else { return Ok(None) };
    let (mark, mask) = match text.split_once('/') {
        Some((mark, mask)) => (mark, Some(mask.to_owned())),
        None => (text, None),
    };
    let mark = number("mark", &Some(mark.to_owned()))?.unwrap_or_default();
    let mask = number("mark", &mask)?.unwrap_or(u32::MAX);
    Ok(Some((mark, mask)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> View<'static> {
        View {
            l3: 2,
            protocol: 6,
            addresses: ["10.0.0.1", "192.0.2.9", "192.0.2.9", "10.0.0.1"]
                .map(|address| address.parse().unwrap()),
            ports: [1234, 80, 80, 1234],
            state: Some("ESTABLISHED"),
            status: status::SEEN_REPLY | status::CONFIRMED,
            mark: 0x15,
            zones: [7, 7],
            id: 99,
            packets: 3,
            bytes: 200,
            start_ns: 5,
        }
    }

    fn fits(text: &str) -> bool {
        let query = serde_json::from_value(serde_json::Value::Object(
            text.split('&')
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap();
                    (key.to_owned(), value.into())
                })
                .collect(),
        ));
        FlowFilter::read(&query.unwrap()).unwrap().fits(&view())
    }

    #[test]
    fn each_condition_must_hold() {
        let yes = [
            "family=ipv4",
            "protocol=tcp",
            "protocol=6",
            "address=192.0.2.0/24",
            "src=10.0.0.1",
            "dst=192.0.2.9&reply_src=192.0.2.9",
            "src=0.0.0.0/0",
            "port=80",
            "port=http",
            "protocol=tcp&dport=http",
            "dport=80&reply_sport=http",
            "state=established",
            "status=seen-reply",
            "status=confirmed,seen-reply",
            "mark=0x15",
            "mark=5/0xf",
            "zone=7",
            "id=99",
        ];
        for text in yes {
            assert!(fits(text), "{text}");
        }
        let no = [
            "family=ipv6",
            "protocol=udp",
            "address=10.0.1.0/24",
            "src=192.0.2.9",
            "src=::/0",
            "port=81",
            "port=https",
            "protocol=udp&port=http",
            "sport=http",
            "sport=80",
            "icmp_type=0",
            "state=SYN_SENT",
            "status=assured",
            "status=unreplied",
            "status=offload",
            "mark=5",
            "zone=0",
            "orig_zone=3",
            "id=98",
            "family=ipv4&protocol=udp",
        ];
        for text in no {
            assert!(!fits(text), "{text}");
        }
    }

    #[test]
    fn mistakes_name_the_key_and_what_is_allowed() {
        let refusal = |query: FlowQuery| FlowFilter::read(&query).unwrap_err();
        let text = |text: &str| Some(text.to_owned());
        let query = FlowQuery {
            src: text("10.0.0.1/33"),
            ..FlowQuery::default()
        };
        assert_eq!(
            refusal(query),
            "src: \"10.0.0.1/33\" has no prefix of 0 to 32 bits"
        );
        let query = FlowQuery {
            port: text("65536"),
            ..FlowQuery::default()
        };
        assert_eq!(
            refusal(query),
            "port: \"65536\" is no number from 0 to 65535"
        );
        for name in ["htps", "", "HTTP", "-1"] {
            let query = FlowQuery {
                dport: text(name),
                ..FlowQuery::default()
            };
            assert_eq!(
                refusal(query),
                format!("dport: \"{name}\" is neither a number nor a known service")
            );
        }
        let query = FlowQuery {
            sort: text("size"),
            ..FlowQuery::default()
        };
        assert!(refusal(query).contains("allowed: bytes, packets"));
    }

    #[test]
    fn only_a_condition_makes_a_query_deliberate() {
        let read = |query: FlowQuery| FlowFilter::read(&query).unwrap().is_deliberate();
        assert!(!read(FlowQuery::default()));
        assert!(!read(FlowQuery {
            limit: Some("5".into()),
            ..FlowQuery::default()
        }));
        assert!(read(FlowQuery {
            all: Some("true".into()),
            ..FlowQuery::default()
        }));
        assert!(read(FlowQuery {
            port: Some("5".into()),
            ..FlowQuery::default()
        }));
    }
}
