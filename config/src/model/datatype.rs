//! The data types of the language: name, size, byte order, base and the symbols of each.
//!
//! One row of [`TYPES`] per type; the row's place is the [`TypeId`]. Symbols are in [`super::symbols`].
//! Values are numbers: the byte order says only how the kernel lays the value out, which shows
//! in the order of listings and in prefixes of strings.

use super::symbols::{self, Symbol};

/// How the kernel lays a value out in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Network order: most significant byte first.
    Big,
    /// The machine's own order.
    Host,
}

/// What a type is derived from; decides which operators and spellings it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    /// A number.
    Integer,
    /// A number whose bits are flags: `a,b` is a list of flags and `==` is spelled out.
    Bitmask,
    /// Text, zero padded to the type's size; its bytes are the value, first byte most significant.
    String,
    /// A verdict: only as the data of a map.
    Verdict,
}

/// How a number without a symbol is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Radix {
    /// Decimal.
    Decimal,
    /// Hexadecimal without leading zeroes.
    Hex,
    /// Hexadecimal, as wide as the type (`0x0800`).
    HexPadded,
    /// The type has a spelling of its own (addresses, times).
    Special,
}

/// One row of the table of types.
#[derive(Debug)]
pub struct TypeInfo {
    /// Which type this is.
    pub id: TypeId,
    /// nft's keyword for it in `type ...`.
    pub name: &'static str,
    /// nft's description, as `describe` and error messages show it.
    pub description: &'static str,
    /// Size in bits; 0 where the expression decides.
    pub bits: u16,
    /// Layout in the kernel.
    pub order: ByteOrder,
    /// What it is derived from.
    pub base: Base,
    /// Spelling of numbers.
    pub radix: Radix,
    /// May be followed by `/len`.
    pub prefix: bool,
    /// Names of values, in nft's order: the first name of a value is the one that is printed.
    pub symbols: &'static [Symbol],
}

macro_rules! types {
    ($($(#[$doc:meta])* $id:ident = $name:literal, $desc:literal, $bits:literal, $order:ident,
        $base:ident, $radix:ident, $prefix:literal, $symbols:expr;)*) => {
        /// A data type; a row of [`TYPES`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TypeId { $($(#[$doc])* $id),* }

        /// All types.
        pub static TYPES: &[TypeInfo] = &[$(TypeInfo {
            id: TypeId::$id, name: $name, description: $desc, bits: $bits, order: ByteOrder::$order,
            base: Base::$base, radix: Radix::$radix, prefix: $prefix, symbols: $symbols,
        }),*];
    };
}

types! {
    /// Any number; the expression gives its size.
    Integer = "integer", "integer", 0, Host, Integer, Decimal, false, &[];
    /// A number of `@base,offset,length`, spelled in hexadecimal.
    RawInteger = "integer", "integer", 0, Host, Integer, Hex, false, &[];
    /// Several values side by side.
    Concat = "concatenation", "concatenation", 0, Host, Integer, Decimal, false, &[];
    /// Text.
    String = "string", "string", 0, Host, String, Special, false, &[];
    /// accept, drop, jump ...
    Verdict = "verdict", "netfilter verdict", 0, Host, Verdict, Special, false, &[];
    /// Flags without names.
    Bitmask = "bitmask", "bitmask", 0, Host, Integer, Hex, false, &[];
    /// ipv4 or ipv6.
    NfProto = "nf_proto", "netfilter protocol", 8, Host, Integer, Decimal, false, symbols::NF_PROTO;
    /// Link layer address of any kind.
    LlAddr = "ll_addr", "link layer address", 0, Big, Integer, Special, true, &[];
    /// IPv4 address.
    Ipv4Addr = "ipv4_addr", "IPv4 address", 32, Big, Integer, Special, true, &[];
    /// IPv6 address.
    Ipv6Addr = "ipv6_addr", "IPv6 address", 128, Big, Integer, Special, true, &[];
    /// Ethernet address.
    EtherAddr = "ether_addr", "Ethernet address", 48, Big, Integer, Special, true, &[];
    /// EtherType.
    EtherType = "ether_type", "Ethernet protocol", 16, Big, Integer, HexPadded, false, symbols::ETHER_TYPE;
    /// ARP operation.
    ArpOp = "arp_op", "ARP operation", 16, Big, Integer, Decimal, false, symbols::ARP_OP;
    /// Protocol above IP.
    InetProto = "inet_proto", "Internet protocol", 8, Big, Integer, Decimal, false, symbols::INET_PROTO;
    /// Port number.
    InetService = "inet_service", "internet network service", 16, Big, Integer, Decimal, false, &[];
    /// ICMP type.
    IcmpType = "icmp_type", "ICMP type", 8, Big, Integer, Decimal, false, symbols::ICMP_TYPE;
    /// TCP flags.
    TcpFlag = "tcp_flag", "TCP flag", 8, Host, Bitmask, Hex, false, symbols::TCP_FLAG;
    /// DCCP packet type.
    DccpPktType = "dccp_pkttype", "DCCP packet type", 4, Big, Integer, Decimal, false, symbols::DCCP_PKTTYPE;
    /// Mobility header type.
    MhType = "mh_type", "Mobility Header Type", 8, Big, Integer, Decimal, false, symbols::MH_TYPE;
    /// Duration in milliseconds (`1d2h`).
    Time = "time", "relative time", 64, Host, Integer, Special, false, &[];
    /// Packet or connection mark.
    Mark = "mark", "packet mark", 32, Host, Integer, HexPadded, true, &[];
    /// Interface by index.
    IfIndex = "iface_index", "network interface index", 32, Host, Integer, Special, false, &[];
    /// Hardware type of an interface.
    IfType = "iface_type", "network interface type", 16, Host, Integer, Decimal, false, symbols::IFACE_TYPE;
    /// Interface by name.
    IfName = "ifname", "network interface name", 128, Host, String, Special, false, &[];
    /// Routing realm.
    Realm = "realm", "routing realm", 32, Host, Integer, Decimal, false, symbols::REALM;
    /// Traffic control class.
    ClassId = "classid", "TC classid", 32, Host, Integer, Special, false, &[];
    /// State of a connection.
    CtState = "ct_state", "conntrack state", 32, Host, Bitmask, Hex, false, symbols::CT_STATE;
    /// Direction within a connection.
    CtDir = "ct_dir", "conntrack direction", 8, Host, Integer, Decimal, false, symbols::CT_DIR;
    /// Status bits of a connection.
    CtStatus = "ct_status", "conntrack status", 32, Host, Bitmask, Hex, false, symbols::CT_STATUS;
    /// Event bits of a connection.
    CtEvent = "ct_event", "conntrack event bits", 32, Host, Bitmask, Hex, false, symbols::CT_EVENT;
    /// Labels of a connection: bits.
    CtLabel = "ct_label", "conntrack label", 128, Host, Bitmask, Special, false, &[];
    /// ICMP code.
    IcmpCode = "icmp_code", "icmp code", 8, Big, Integer, Decimal, false, symbols::ICMP_CODE;
    /// ICMPv6 code.
    Icmpv6Code = "icmpv6_code", "icmpv6 code", 8, Big, Integer, Decimal, false, symbols::ICMPV6_CODE;
    /// Code of a reject for both families.
    IcmpxCode = "icmpx_code", "icmpx code", 8, Big, Integer, Decimal, false, symbols::ICMPX_CODE;
    /// ICMPv6 type.
    Icmpv6Type = "icmpv6_type", "ICMPv6 type", 8, Big, Integer, Decimal, false, symbols::ICMPV6_TYPE;
    /// IGMP type.
    IgmpType = "igmp_type", "IGMP type", 8, Big, Integer, Decimal, false, symbols::IGMP_TYPE;
    /// How the frame was addressed.
    PktType = "pkt_type", "packet type", 8, Host, Integer, Decimal, false, symbols::PKT_TYPE;
    /// User.
    Uid = "uid", "user ID", 32, Host, Integer, Decimal, false, &[];
    /// Group.
    Gid = "gid", "group ID", 32, Host, Integer, Decimal, false, &[];
    /// Group of interfaces.
    DevGroup = "devgroup", "devgroup name", 32, Host, Integer, Decimal, false, symbols::DEVGROUP;
    /// Differentiated services code point.
    Dscp = "dscp", "Differentiated Services Code Point", 6, Big, Integer, HexPadded, false, symbols::DSCP;
    /// Explicit congestion notification.
    Ecn = "ecn", "Explicit Congestion Notification", 2, Big, Integer, Hex, false, symbols::ECN;
    /// Type of a route or address.
    FibAddrType = "fib_addrtype", "fib address type", 32, Host, Integer, Decimal, false, symbols::FIB_ADDRTYPE;
    /// exists or missing.
    Boolean = "boolean", "boolean type", 1, Host, Integer, Decimal, false, symbols::BOOLEAN;
    /// Kind of a virtual interface.
    IfKind = "ifkind", "interface kind", 128, Host, String, Special, false, &[];
    /// Point in time, nanoseconds since 1970.
    MetaTime = "time", "Relative time of packet reception", 64, Host, Integer, Special, false, &[];
    /// Day of the week.
    Day = "day", "Day of week of packet reception", 8, Host, Integer, Decimal, false, symbols::DAY;
    /// Second of the day.
    Hour = "hour", "Hour of day of packet reception", 32, Host, Integer, Special, false, &[];
    /// Control group.
    CgroupV2 = "cgroupsv2", "cgroupsv2 path", 64, Host, Integer, Special, false, &[];
    /// Kind of a TCP option.
    TcpOptKind = "integer", "integer", 8, Big, Integer, Decimal, false, &[];
    /// The IPsec request's direction.
    XfrmDir = "xfrm_dir", "xfrm direction", 8, Host, Integer, Decimal, false, symbols::CT_DIR;
}

impl TypeId {
    /// The row of the type.
    pub fn info(self) -> &'static TypeInfo {
        &TYPES[self as usize]
    }

    /// The type that `type NAME` means in a set's declaration.
    pub fn by_name(name: &str) -> Option<TypeId> {
        let found = TYPES
            .iter()
            .find(|t| t.name == name && t.id != TypeId::Concat)?;
        // "time" names two types; sets and rules that spell it mean a point in time or a duration
        // by where it stands. nft finds the duration first.
        Some(found.id)
    }

    /// Whether values are text.
    pub fn is_string(self) -> bool {
        self.info().base == Base::String
    }

    /// Whether values are flags.
    pub fn is_bitmask(self) -> bool {
        self.info().base == Base::Bitmask
    }
}

/// Checks that a row lies where its id says.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_indexed_by_their_id() {
        for (i, t) in TYPES.iter().enumerate() {
            assert_eq!(t.id as usize, i, "{}", t.name);
        }
    }
}
