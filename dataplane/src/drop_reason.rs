//! Why a packet ended here: one enumeration for everything that can end a packet.
//!
//! Each drop is counted once, in its worker, under one of these reasons. The names are what
//! metrics, events, traces and `sluice drops` print; they are stable.

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $help:literal;)*) => {
        /// Why a packet ended here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $help] $(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// The stable name, as metrics and listings print it.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }

            /// One sentence for a person.
            pub const fn help(self) -> &'static str {
                match self { $(DropReason::$variant => $help,)* }
            }
        }
    };
}

drop_reasons! {
    RuleDrop = "rule_drop", "A rule's drop verdict.";
    PolicyDrop = "policy_drop", "The policy of a base chain.";
    RuleReject = "rule_reject", "A rule's reject statement; the sender was answered.";
    RuleStolen = "rule_stolen", "A rule's fwd statement sent the packet elsewhere.";
    FrameTooShort = "frame_too_short", "Fewer bytes than an Ethernet header.";
    IpHeaderBad = "ip_header_bad", "A malformed IPv4 or IPv6 header where an IP hook looked at it.";
    IpChecksumBad = "ip_checksum_bad", "A wrong IPv4 header checksum where an IP hook looked at it.";
    ExtensionHeaders = "extension_headers", "More IPv6 extension headers than the parser follows.";
    FragmentBad = "fragment_bad", "A fragment that cannot be part of a datagram, or does not fit the others of it.";
    FragmentTiny = "fragment_tiny", "A first fragment that does not hold the transport header.";
    FragmentOverlap = "fragment_overlap", "Fragments that overlap, and the rest of their datagram.";
    FragmentDuplicate = "fragment_duplicate", "A fragment that had come already.";
    FragmentMany = "fragment_many", "A datagram in more fragments than are gathered.";
    FragmentMemory = "fragment_memory", "No room for more fragments: the oldest datagram went.";
    FragmentTimeout = "fragment_timeout", "A datagram whose missing fragments did not come in time.";
    EngineMissing = "engine_missing", "A rule needed an engine that this dataplane does not have.";
    JumpDepth = "jump_depth", "More nested jumps than the program may have.";
    NoPeer = "no_peer", "The port has no peer at the moment.";
    PortDown = "port_down", "The way out is down or gone.";
    FrameTooLarge = "frame_too_large", "The frame fits neither the way out's MTU nor can be cut.";
    PoolEmpty = "pool_empty", "The worker's pool of owned frames was empty.";
    TxFull = "tx_full", "The way out took no more frames.";
    TxError = "tx_error", "The kernel refused the frame on the way out.";
    OffloadBad = "offload_bad", "An offload header that does not fit its frame.";
    FlowTableFull = "flow_table_full", "A new flow found the flow table full, and none that could be dropped early.";
    FlowClash = "flow_clash", "A new flow met another one of the same tuple that it cannot join.";
    AnnouncementCut = "announcement_cut", "A segment that ends in the middle of an announcement that a helper reads; it comes again whole.";
    ProxyCookie = "proxy_cookie", "An ACK to the SYN proxy whose cookie is wrong or too old.";
    ProxyMalformed = "proxy_malformed", "A segment for the SYN proxy that no host sends: a wrong checksum, broken options, a SYN with ACK or RST.";
    NatExhausted = "nat_exhausted", "No external address or port was left for a new flow.";
    NatMalformed = "nat_malformed", "Too short for what its flow has translated.";
    UnsolicitedSyn = "unsolicited_syn", "A first segment that the filtering of a binding refused; it is answered after six seconds, unless the inside opens the same connection.";
    UnsolicitedMany = "unsolicited_many", "A first segment that the filtering of a binding refused while too many waited for their answer: it gets none.";
    NotForUs = "not_for_us", "Gateway: the frame is for another station.";
    NotRouted = "not_routed", "Gateway: neither IP nor ARP, or behind a VLAN tag; such frames are not routed.";
    MartianSource = "martian_source", "Gateway: a source address that nobody outside can have.";
    MartianDestination = "martian_destination", "Gateway: a destination address that is never on a network.";
    GroupNotForwarded = "group_not_forwarded", "Gateway: broadcasts and multicasts are not forwarded.";
    BeyondScope = "beyond_scope", "Gateway: link-local addresses do not leave their network.";
    NoRoute = "no_route", "Gateway: no route covers the destination.";
    RouteRefuses = "route_refuses", "Gateway: a blackhole, unreachable or prohibit route.";
    SourceRoute = "source_route", "Gateway: the sender prescribes the route.";
    IpOptionsBad = "ip_options_bad", "Gateway: malformed IPv4 options.";
    TtlExpired = "ttl_expired", "Gateway: TTL or hop limit came to its end.";
    PacketTooBig = "packet_too_big", "Gateway: larger than the MTU of its way, and not to be fragmented.";
    NeighbourFailed = "neighbour_failed", "Gateway: the next hop does not answer ARP or ND.";
    NeighbourQueueFull = "neighbour_queue_full", "Gateway: too many packets wait for the next hop's answer.";
    ArpBad = "arp_bad", "Gateway: a malformed ARP packet.";
    NdBad = "nd_bad", "Gateway: a neighbour discovery message that breaks the rules of RFC 4861.";
    AddressConflict = "address_conflict", "Gateway: somebody else claims an address of the gateway.";
    NoListener = "no_listener", "Gateway: for the gateway's own host, where nobody listens for it.";
    HostFull = "host_full", "Gateway: too many packets wait for the gateway's own host.";
    WorkerPanic = "worker_panic", "The worker failed while it held the packet and was restarted.";
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_one_to_one() {
        for (number, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(DropReason::from_number(number as u8), Some(*reason));
        }
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
        assert_eq!(DropReason::from_number(DropReason::COUNT as u8), None);
    }
}
