//! How long flows live without a packet: a table of seconds by class, two profiles, and policies.
//!
//! A class is a protocol's state as far as timeouts go. `linux` has the values of kernel 6.18; `rfc`
//! has those that the RFCs ask for where Linux is shorter than they allow (RFC 4787 REQ-5, RFC 5382
//! REQ-5, RFC 5508 REQ-2, RFC 7857 section 2). A policy (an nft `ct timeout` object) replaces some.

use crate::packet::headers::protocol;

macro_rules! classes {
    ($($variant:ident = $protocol:expr, $name:literal, $linux:literal, $rfc:literal, $help:literal;)*) => {
        /// What a flow's timeout depends on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum TimeoutClass {
            $(#[doc = $help] $variant,)*
        }

        impl TimeoutClass {
            /// Every class, in the order of its number.
            pub const ALL: &'static [TimeoutClass] = &[$(TimeoutClass::$variant,)*];

            /// The transport protocol, [`GENERIC`] for all that have none of their own.
            pub const fn protocol(self) -> u8 {
                match self { $(TimeoutClass::$variant => $protocol,)* }
            }

            /// The name within its protocol, as nft's `ct timeout` has it.
            pub const fn name(self) -> &'static str {
                match self { $(TimeoutClass::$variant => $name,)* }
            }
        }

        const LINUX: [u32; TimeoutClass::COUNT] = [$($linux,)*];
        const RFC: [u32; TimeoutClass::COUNT] = [$($rfc,)*];
    };
}

/// Stands for protocols without timeouts of their own.
pub const GENERIC: u8 = 255;
const GRE: u8 = 47;

classes! {
    TcpSynSent = protocol::TCP, "syn_sent", 120, 240, "A SYN was sent.";
    TcpSynSent2 = protocol::TCP, "syn_sent2", 120, 240, "Both sides sent a SYN.";
    TcpSynRecv = protocol::TCP, "syn_recv", 60, 240, "The SYN was answered.";
    TcpEstablished = protocol::TCP, "established", 432_000, 7440, "Data may flow.";
    TcpFinWait = protocol::TCP, "fin_wait", 120, 240, "One side has closed.";
    TcpCloseWait = protocol::TCP, "close_wait", 60, 240, "The close was acknowledged.";
    TcpLastAck = protocol::TCP, "last_ack", 30, 240, "Both sides have closed.";
    TcpTimeWait = protocol::TCP, "time_wait", 120, 240, "All is acknowledged.";
    TcpClose = protocol::TCP, "close", 10, 240, "It was reset.";
    TcpRetrans = protocol::TCP, "retrans", 300, 300, "Too many retransmissions.";
    TcpUnack = protocol::TCP, "unack", 300, 300, "Data has not been acknowledged.";
    UdpUnreplied = protocol::UDP, "unreplied", 30, 300, "Not answered.";
    UdpReplied = protocol::UDP, "replied", 120, 300, "A stream: answered, and still going after two seconds.";
    UdpliteUnreplied = protocol::UDPLITE, "unreplied", 30, 300, "Not answered.";
    UdpliteReplied = protocol::UDPLITE, "replied", 120, 300, "Answered.";
    Icmp = protocol::ICMP, "timeout", 30, 60, "A request and its answers.";
    Icmpv6 = protocol::ICMPV6, "timeout", 30, 60, "A request and its answers.";
    GreUnreplied = GRE, "unreplied", 30, 300, "Not answered.";
    GreReplied = GRE, "replied", 180, 300, "Answered.";
    SctpClosed = protocol::SCTP, "closed", 10, 10, "Closed.";
    SctpCookieWait = protocol::SCTP, "cookie_wait", 3, 3, "INIT was sent.";
    SctpCookieEchoed = protocol::SCTP, "cookie_echoed", 3, 3, "COOKIE-ECHO was sent.";
    SctpEstablished = protocol::SCTP, "established", 210, 210, "Associated.";
    SctpShutdownSent = protocol::SCTP, "shutdown_sent", 3, 3, "One side shuts down.";
    SctpShutdownRecd = protocol::SCTP, "shutdown_recd", 3, 3, "The other side shuts down.";
    SctpShutdownAckSent = protocol::SCTP, "shutdown_ack_sent", 3, 3, "The shutdown was acknowledged.";
    SctpHeartbeatSent = protocol::SCTP, "heartbeat_sent", 30, 30, "A heartbeat began the flow.";
    DccpRequest = protocol::DCCP, "request", 240, 240, "REQUEST was sent.";
    DccpRespond = protocol::DCCP, "respond", 480, 480, "RESPONSE was sent.";
    DccpPartopen = protocol::DCCP, "partopen", 480, 480, "The response was acknowledged.";
    DccpOpen = protocol::DCCP, "open", 43_200, 43_200, "Data may flow.";
    DccpClosereq = protocol::DCCP, "closereq", 64, 64, "The server asks to close.";
    DccpClosing = protocol::DCCP, "closing", 64, 64, "Closing.";
    DccpTimewait = protocol::DCCP, "timewait", 240, 240, "Closed, late packets may come.";
    Generic = GENERIC, "timeout", 600, 600, "Any other protocol.";
}

impl TimeoutClass {
    /// How many classes there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The class of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The class of this name within a protocol.
    pub fn named(protocol: u8, name: &str) -> Option<Self> {
        let same = |class: &&Self| class.protocol() == protocol && class.name() == name;
        Self::ALL.iter().find(same).copied()
    }
}

/// Seconds by class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    seconds: [u32; TimeoutClass::COUNT],
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::linux()
    }
}

impl Timeouts {
    /// The running values of Linux 6.18.
    pub const fn linux() -> Self {
        Self { seconds: LINUX }
    }

    /// What the RFCs ask for.
    pub const fn rfc() -> Self {
        Self { seconds: RFC }
    }

    /// The profile of this name, `linux` or `rfc`.
    pub fn profile(name: &str) -> Option<Self> {
        match name {
            "linux" => Some(Self::linux()),
            "rfc" => Some(Self::rfc()),
            _ => None,
        }
    }

    /// Seconds of a class.
    #[inline]
    pub fn seconds(&self, class: TimeoutClass) -> u32 {
        self.seconds[class as usize]
    }

    /// Nanoseconds of a class.
    #[inline]
    pub fn ns(&self, class: TimeoutClass) -> u64 {
        u64::from(self.seconds(class)) * 1_000_000_000
    }

    /// Sets the seconds of a class.
    pub fn set(&mut self, class: TimeoutClass, seconds: u32) {
        self.seconds[class as usize] = seconds;
    }

    /// These timeouts with a policy's in place of some.
    pub fn with(&self, policy: &TimeoutPolicy) -> Self {
        let mut timeouts = self.clone();
        for &(class, seconds) in &policy.seconds {
            timeouts.set(class, seconds);
        }
        timeouts
    }
}

/// Timeouts of an nft `ct timeout` object: those that it does not name are the tracker's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeoutPolicy {
    /// Classes with their seconds.
    pub seconds: Vec<(TimeoutClass, u32)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_have_their_documented_values() {
        let (linux, rfc) = (Timeouts::linux(), Timeouts::rfc());
        assert_eq!(linux.seconds(TimeoutClass::TcpEstablished), 432_000);
        assert_eq!(linux.seconds(TimeoutClass::UdpReplied), 120);
        assert_eq!(linux.seconds(TimeoutClass::SctpEstablished), 210);
        // RFC 5382 REQ-5, RFC 4787 REQ-5, RFC 5508 REQ-2.
        assert!(rfc.seconds(TimeoutClass::TcpEstablished) >= 2 * 3600 + 240);
        assert!(rfc.seconds(TimeoutClass::TcpSynSent) >= 240);
        assert!(rfc.seconds(TimeoutClass::UdpUnreplied) >= 120);
        assert!(rfc.seconds(TimeoutClass::Icmp) >= 60);
        assert_eq!(Timeouts::profile("rfc"), Some(rfc));
        assert_eq!(Timeouts::profile("bsd"), None);
    }

    #[test]
    fn classes_are_found_by_protocol_and_name() {
        for (number, class) in TimeoutClass::ALL.iter().enumerate() {
            assert_eq!(TimeoutClass::from_number(number as u8), Some(*class));
            assert_eq!(
                TimeoutClass::named(class.protocol(), class.name()),
                Some(*class)
            );
        }
        assert_eq!(TimeoutClass::named(protocol::UDP, "established"), None);
    }

    #[test]
    fn a_policy_replaces_what_it_names() {
        let policy = TimeoutPolicy {
            seconds: vec![(TimeoutClass::TcpEstablished, 100)],
        };
        let timeouts = Timeouts::linux().with(&policy);
        assert_eq!(timeouts.ns(TimeoutClass::TcpEstablished), 100_000_000_000);
        assert_eq!(timeouts.seconds(TimeoutClass::TcpClose), 10);
    }
}
