//! Why a packet is invalid: one enumeration for the tracker and the state machines.
//!
//! Metrics count and logs name them; the names are stable.

macro_rules! invalid_reasons {
    ($($variant:ident = $name:literal, $help:literal;)*) => {
        /// Why a packet is invalid.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum InvalidReason {
            $(#[doc = $help] $variant,)*
        }

        impl InvalidReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [InvalidReason] = &[$(InvalidReason::$variant,)*];

            /// The stable name, as metrics and logs print it.
            pub const fn name(self) -> &'static str {
                match self { $(InvalidReason::$variant => $name,)* }
            }

            /// One sentence for a person.
            pub const fn help(self) -> &'static str {
                match self { $(InvalidReason::$variant => $help,)* }
            }
        }
    };
}

invalid_reasons! {
    IpHeader = "ip_header", "The IP header is broken, or no transport header was found.";
    HeaderShort = "header_short", "The transport header is cut off.";
    LengthBad = "length_bad", "A length in the transport header does not fit the packet.";
    ChecksumBad = "checksum_bad", "The transport checksum is wrong.";
    ChecksumMissing = "checksum_missing", "UDP-Lite without a checksum.";
    TcpFlags = "tcp_flags", "A combination of TCP flags that no host sends.";
    TcpNotSyn = "tcp_not_syn", "A TCP segment of no known flow that may not begin one.";
    TcpState = "tcp_state", "A TCP segment that its flow's state does not allow.";
    TcpWindow = "tcp_window", "A TCP segment outside of the window.";
    TcpRst = "tcp_rst", "A TCP reset that does not fit the flow.";
    IcmpType = "icmp_type", "An ICMP type that cannot begin a flow, or does not exist.";
    IcmpInner = "icmp_inner", "An ICMP error whose inner packet is broken.";
    IcmpUnrelated = "icmp_unrelated", "An ICMP error about a flow that is not known.";
    IcmpAddress = "icmp_address", "An ICMP error sent to somebody other than its inner packet's sender.";
    Redirect = "redirect", "An ICMPv6 redirect from afar, or without options.";
    SctpChunk = "sctp_chunk", "An SCTP chunk that is broken or not allowed here.";
    SctpState = "sctp_state", "An SCTP packet that its flow's state does not allow.";
    SctpTag = "sctp_tag", "A wrong SCTP verification tag.";
    DccpState = "dccp_state", "A DCCP packet that its flow's state does not allow.";
    DccpHeader = "dccp_header", "A broken DCCP header.";
    GreHeader = "gre_header", "A broken GRE header.";
}

impl InvalidReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl std::fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
