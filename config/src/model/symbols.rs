//! Names of values, one table per data type.
//!
//! The order is nft's: where several names mean one value, the first is the one that is listed.

/// A name and its value.
pub type Symbol = (&'static str, u64);

/// The value that a name has in a table.
pub fn value_of(table: &[Symbol], name: &str) -> Option<u64> {
    table.iter().find(|s| s.0 == name).map(|s| s.1)
}

/// The name that is printed for a value.
pub fn name_of(table: &[Symbol], value: u128) -> Option<&'static str> {
    table.iter().find(|s| u128::from(s.1) == value).map(|s| s.0)
}

/// Network families of `meta nfproto`.
pub static NF_PROTO: &[Symbol] = &[("ipv4", 2), ("ipv6", 10)];

/// EtherTypes.
pub static ETHER_TYPE: &[Symbol] = &[
    ("ip", 2048),
    ("arp", 2054),
    ("ip6", 34525),
    ("8021q", 33024),
    ("8021ad", 34984),
    ("vlan", 33024),
];

/// ARP operations.
pub static ARP_OP: &[Symbol] = &[
    ("request", 1),
    ("reply", 2),
    ("rrequest", 3),
    ("rreply", 4),
    ("inrequest", 8),
    ("inreply", 9),
    ("nak", 10),
];

/// Routing realms of a system without /etc/iproute2/rt_realms.
pub static REALM: &[Symbol] = &[("cosmos", 0)];

/// Interface groups of a system without /etc/iproute2/group.
pub static DEVGROUP: &[Symbol] = &[("default", 0)];

/// Event bits.
pub static CT_EVENT: &[Symbol] = &[
    ("new", 1),
    ("related", 2),
    ("destroy", 4),
    ("reply", 8),
    ("assured", 16),
    ("protoinfo", 32),
    ("helper", 64),
    ("mark", 128),
    ("seqadj", 256),
    ("secmark", 512),
    ("label", 1024),
];

/// Congestion notification.
pub static ECN: &[Symbol] = &[("not-ect", 0), ("ect1", 1), ("ect0", 2), ("ce", 3)];

/// Names of `icmp_type`.
pub static ICMP_TYPE: &[Symbol] = &[
    ("echo-reply", 0),
    ("destination-unreachable", 3),
    ("source-quench", 4),
    ("redirect", 5),
    ("echo-request", 8),
    ("router-advertisement", 9),
    ("router-solicitation", 10),
    ("time-exceeded", 11),
    ("parameter-problem", 12),
    ("timestamp-request", 13),
    ("timestamp-reply", 14),
    ("info-request", 15),
    ("info-reply", 16),
    ("address-mask-request", 17),
    ("address-mask-reply", 18),
];

/// Names of `tcp_flag`.
pub static TCP_FLAG: &[Symbol] = &[
    ("fin", 1),
    ("syn", 2),
    ("rst", 4),
    ("psh", 8),
    ("ack", 16),
    ("urg", 32),
    ("ecn", 64),
    ("cwr", 128),
];

/// Names of `dccp_pkttype`.
pub static DCCP_PKTTYPE: &[Symbol] = &[
    ("request", 0),
    ("response", 1),
    ("data", 2),
    ("ack", 3),
    ("dataack", 4),
    ("closereq", 5),
    ("close", 6),
    ("reset", 7),
    ("sync", 8),
    ("syncack", 9),
];

/// Names of `mh_type`.
pub static MH_TYPE: &[Symbol] = &[
    ("binding-refresh-request", 0),
    ("home-test-init", 1),
    ("careof-test-init", 2),
    ("home-test", 3),
    ("careof-test", 4),
    ("binding-update", 5),
    ("binding-acknowledgement", 6),
    ("binding-error", 7),
    ("fast-binding-update", 8),
    ("fast-binding-acknowledgement", 9),
    ("fast-binding-advertisement", 10),
    ("experimental-mobility-header", 11),
    ("home-agent-switch-message", 12),
];

/// Names of `iface_type`.
pub static IFACE_TYPE: &[Symbol] = &[
    ("ether", 1),
    ("ppp", 512),
    ("ipip", 768),
    ("ipip6", 769),
    ("loopback", 772),
    ("sit", 776),
    ("ipgre", 778),
];

/// Names of `ct_state`.
pub static CT_STATE: &[Symbol] = &[
    ("invalid", 1),
    ("new", 8),
    ("established", 2),
    ("related", 4),
    ("untracked", 64),
];

/// Names of `ct_dir`.
pub static CT_DIR: &[Symbol] = &[("original", 0), ("reply", 1)];

/// Names of `ct_status`.
pub static CT_STATUS: &[Symbol] = &[
    ("expected", 1),
    ("seen-reply", 2),
    ("assured", 4),
    ("confirmed", 8),
    ("snat", 16),
    ("dnat", 32),
    ("dying", 512),
];

/// Names of `icmp_code`.
pub static ICMP_CODE: &[Symbol] = &[
    ("net-unreachable", 0),
    ("host-unreachable", 1),
    ("prot-unreachable", 2),
    ("port-unreachable", 3),
    ("net-prohibited", 9),
    ("host-prohibited", 10),
    ("admin-prohibited", 13),
    ("frag-needed", 4),
];

/// Names of `icmpv6_type`.
pub static ICMPV6_TYPE: &[Symbol] = &[
    ("destination-unreachable", 1),
    ("packet-too-big", 2),
    ("time-exceeded", 3),
    ("parameter-problem", 4),
    ("echo-request", 128),
    ("echo-reply", 129),
    ("mld-listener-query", 130),
    ("mld-listener-report", 131),
    ("mld-listener-done", 132),
    ("mld-listener-reduction", 132),
    ("nd-router-solicit", 133),
    ("nd-router-advert", 134),
    ("nd-neighbor-solicit", 135),
    ("nd-neighbor-advert", 136),
    ("nd-redirect", 137),
    ("router-renumbering", 138),
    ("ind-neighbor-solicit", 141),
    ("ind-neighbor-advert", 142),
    ("mld2-listener-report", 143),
];

/// Names of `icmpv6_code`.
pub static ICMPV6_CODE: &[Symbol] = &[
    ("no-route", 0),
    ("admin-prohibited", 1),
    ("addr-unreachable", 3),
    ("port-unreachable", 4),
    ("policy-fail", 5),
    ("reject-route", 6),
];

/// Names of `icmpx_code`.
pub static ICMPX_CODE: &[Symbol] = &[
    ("port-unreachable", 1),
    ("admin-prohibited", 3),
    ("no-route", 0),
    ("host-unreachable", 2),
];

/// Names of `pkt_type`.
pub static PKT_TYPE: &[Symbol] = &[
    ("host", 0),
    ("unicast", 0),
    ("broadcast", 1),
    ("multicast", 2),
    ("other", 3),
];

/// Names of `dscp`.
pub static DSCP: &[Symbol] = &[
    ("cs0", 0),
    ("cs1", 8),
    ("cs2", 16),
    ("cs3", 24),
    ("cs4", 32),
    ("cs5", 40),
    ("cs6", 48),
    ("cs7", 56),
    ("df", 0),
    ("be", 0),
    ("lephb", 1),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("va", 44),
    ("ef", 46),
];

/// Names of `fib_addrtype`.
pub static FIB_ADDRTYPE: &[Symbol] = &[
    ("unspec", 0),
    ("unicast", 1),
    ("local", 2),
    ("broadcast", 3),
    ("anycast", 4),
    ("multicast", 5),
    ("blackhole", 6),
    ("unreachable", 7),
    ("prohibit", 8),
];

/// Names of `boolean`.
pub static BOOLEAN: &[Symbol] = &[("exists", 1), ("missing", 0)];

/// Names of `igmp_type`.
pub static IGMP_TYPE: &[Symbol] = &[
    ("membership-query", 17),
    ("membership-report-v1", 18),
    ("membership-report-v2", 22),
    ("membership-report-v3", 34),
    ("leave-group", 23),
];

/// Names of `day`.
pub static DAY: &[Symbol] = &[
    ("Sunday", 0),
    ("Monday", 1),
    ("Tuesday", 2),
    ("Wednesday", 3),
    ("Thursday", 4),
    ("Friday", 5),
    ("Saturday", 6),
];

/// Names of `inet_proto`.
pub static INET_PROTO: &[Symbol] = &[
    ("ip", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ggp", 3),
    ("ipencap", 4),
    ("st", 5),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("pup", 12),
    ("udp", 17),
    ("hmp", 20),
    ("xns-idp", 22),
    ("rdp", 27),
    ("iso-tp4", 29),
    ("dccp", 33),
    ("xtp", 36),
    ("ddp", 37),
    ("idpr-cmtp", 38),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("idrp", 45),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("skip", 57),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("rspf", 73),
    ("vmtp", 81),
    ("eigrp", 88),
    ("ospf", 89),
    ("ax.25", 93),
    ("ipip", 94),
    ("etherip", 97),
    ("encap", 98),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("fc", 133),
    ("mobility-header", 135),
    ("udplite", 136),
    ("mpls-in-ip", 137),
    ("manet", 138),
    ("hip", 139),
    ("shim6", 140),
    ("wesp", 141),
    ("rohc", 142),
    ("ethernet", 143),
];
