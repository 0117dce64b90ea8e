//! With what a packet is refused.

use super::encoding::{plain_enum, tagged_enum};

plain_enum! {
    /// A reject code for either family (`icmpx`).
    pub enum Icmpx {
        /// no-route.
        NoRoute = 0,
        /// port-unreachable.
        PortUnreachable = 1,
        /// host-unreachable.
        HostUnreachable = 2,
        /// admin-prohibited.
        AdminProhibited = 3,
    }
}

tagged_enum! {
    /// How a packet is refused.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Reject {
        /// ICMP destination unreachable with this code (IPv4 packets only).
        Icmp = 0 {
            /// The code.
            code: u8,
        },
        /// ICMPv6 destination unreachable with this code (IPv6 packets only).
        Icmpv6 = 1 {
            /// The code.
            code: u8,
        },
        /// The matching one of either.
        Icmpx = 2 {
            /// The abstract code.
            code: Icmpx,
        },
        /// A TCP reset; TCP packets only.
        TcpReset = 3,
    }
}
