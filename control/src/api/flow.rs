//! Flows as they travel over the control socket: a flow, what a list of them is asked for by, and
//! the tracker's settings and figures.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One tracked connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Flow {
    /// A number that stays for the flow's life.
    pub id: u32,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Its name, `unknown` when it has none.
    pub protocol_name: String,
    /// State of the protocol, where it has states: `ESTABLISHED`, `COOKIE_WAIT` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Seconds until it expires.
    pub timeout: u64,
    /// `seen-reply`, `assured`, `confirmed`, `expected` ...
    pub status: Vec<String>,
    /// As the first packet went.
    pub original: FlowSide,
    /// The other way.
    pub reply: FlowSide,
    /// The connection mark.
    pub mark: u32,
    /// Numbers of the label bits that are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<u8>,
    /// When the flow began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended, on an event that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_ns: Option<u64>,
    /// The helper that a rule has given it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
}

/// A flow in one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlowSide {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; GRE: the key. Only where the protocol has ports or keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port; GRE: the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// ICMP and ICMPv6: type, code and identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<FlowIcmp>,
    /// SCTP: the verification tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtag: Option<u32>,
    /// The zone.
    pub zone: u16,
    /// Packets.
    pub packets: u64,
    /// Bytes of these packets, from the IP header on.
    pub bytes: u64,
}

/// What tells ICMP flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlowIcmp {
    /// Type of the message.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// Its identifier.
    pub id: u16,
}

/// A flow that is made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFlow {
    /// A protocol's name or number.
    pub protocol: String,
    /// As its first packet goes.
    pub original: NewSide,
    /// The other way; without it, what answers the original direction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<NewSide>,
    /// The zone of the original direction.
    #[serde(default)]
    pub zone: u16,
    /// The zone of the reply direction.
    #[serde(default)]
    pub reply_zone: u16,
    /// Seconds until it ends.
    pub timeout: u32,
    /// State of the protocol, where it has states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `seen-reply`, `assured`, `fixed-timeout`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// The connection mark.
    #[serde(default)]
    pub mark: u32,
    /// Numbers of the label bits that are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<u8>,
    /// SCTP: the verification tags that packets of each direction carry; 0 is unknown.
    #[serde(default)]
    pub vtags: [u32; 2],
    /// DCCP: whether the first packet is a `client`'s (so without it) or a `server`'s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

/// One direction of a flow that is made by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSide {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port; GRE: the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<u16>,
    /// Destination port; GRE: the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<u16>,
    /// ICMP and ICMPv6: type, code and identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icmp: Option<FlowIcmp>,
}

impl Default for NewSide {
    fn default() -> Self {
        Self {
            src: std::net::Ipv4Addr::UNSPECIFIED.into(),
            dst: std::net::Ipv4Addr::UNSPECIFIED.into(),
            sport: None,
            dport: None,
            icmp: None,
        }
    }
}

/// What of flows is to be another one: the body of `PATCH /v1/flows`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FlowChange {
    /// State of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// A mark, or mark/mask: the bits of the mask are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// Status bits that are set: `seen-reply`, `assured`, `fixed-timeout`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<String>,
    /// Seconds until they end, from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// Numbers of label bits that are set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels_add: Vec<u8>,
    /// Numbers of label bits that are cleared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels_del: Vec<u8>,
}

/// Which flows are meant: the query of `/v1/flows`. A flow must fit all that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowQuery {
    /// `ipv4` or `ipv6`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// A protocol's name or number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Any of the four addresses, or a network that has one of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Source of the original direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Destination of the original direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// Source of the reply direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_src: Option<String>,
    /// Destination of the reply direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_dst: Option<String>,
    /// Any of the four ports: a number, or a name as nft takes it (`https`); so all ports below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Source port of the original direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sport: Option<String>,
    /// Destination port of the original direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dport: Option<String>,
    /// Source port of the reply direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_sport: Option<String>,
    /// Destination port of the reply direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_dport: Option<String>,
    /// ICMP type of the original direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_type: Option<String>,
    /// ICMP code of the original direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_code: Option<String>,
    /// ICMP identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icmp_id: Option<String>,
    /// State of the protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Names of status bits that are set, separated by commas; `unreplied` is a name too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// A mark, or mark/mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// The zone of both directions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The zone of the original direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orig_zone: Option<String>,
    /// The zone of the reply direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_zone: Option<String>,
    /// The flow of this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// By what to sort: `bytes`, `packets`, `timeout`, `age`, `src`, `dst`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// At most so many flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// `true`: meant are all flows. Deleting asks for this or for another condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<String>,
}

/// How many flows there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlowCount {
    /// All that fit the query.
    pub flows: u64,
    /// By protocol.
    pub protocols: BTreeMap<String, u64>,
    /// By protocol and state, where the protocol has states.
    pub states: BTreeMap<String, BTreeMap<String, u64>>,
}

/// An expected connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Number of the transport protocol.
    pub protocol: u8,
    /// Seconds until it expires.
    pub timeout: u64,
    /// What is expected; a port of 0 with mask 0 is any.
    pub tuple: FlowSide,
    /// Which bits of it count.
    pub mask: FlowSide,
    /// The number of the connection that announced it.
    pub master: u32,
    /// The helper that announced it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helper: Option<String>,
}

/// The tracker: settings and figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conntrack {
    /// Flows in the table.
    pub flows: u64,
    /// The most that it holds.
    pub max: u64,
    /// Expected connections.
    pub expected: u64,
    /// The settings in force.
    pub settings: ConntrackSettings,
    /// What each worker has counted since the start.
    pub workers: Vec<BTreeMap<String, u64>>,
    /// Packets that fit no connection, by reason.
    pub invalid: BTreeMap<String, u64>,
    /// What the SYN proxies of all workers have counted, with the names of /proc/net/stat/synproxy.
    pub synproxy: BTreeMap<String, u64>,
    /// Flow events that nobody took in time.
    pub lost_events: u64,
}

/// What can be set at run time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConntrackSettings {
    /// Whether TCP is picked up in mid-stream.
    pub loose: bool,
    /// Whether only resets are held against the TCP window.
    pub liberal: bool,
    /// Zones in which TCP is judged liberally.
    pub liberal_zones: Vec<u16>,
    /// Whether checksums are verified.
    pub verify_checksums: bool,
    /// Seconds by protocol and state.
    pub timeouts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// A change of settings: what is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConntrackChange {
    /// `linux` or `rfc`: sets all timeouts, before those that are named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Whether TCP is picked up in mid-stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loose: Option<bool>,
    /// Whether only resets are held against the TCP window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liberal: Option<bool>,
    /// Zones in which TCP is judged liberally.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liberal_zones: Option<Vec<u16>>,
    /// Whether checksums are verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify_checksums: Option<bool>,
    /// Seconds by protocol and state.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub timeouts: BTreeMap<String, BTreeMap<String, u64>>,
}

/// The saved table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Saved {
    /// The file.
    pub file: String,
    /// Flows in it.
    pub flows: u64,
}
