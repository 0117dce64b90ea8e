//! The way of a packet through base chains: one flat list for each class of frames.

use super::encoding::{Field, Malformed, Words, plain_enum, tagged_enum};
use super::op::{ChainId, RuleRef};

plain_enum! {
    /// Classes of frames that have a walk of their own.
    pub enum Class {
        /// IPv4, untagged.
        Ip = 0,
        /// IPv6, untagged.
        Ip6 = 1,
        /// IPv4 behind one VLAN tag. The kernel's bridge shows such frames to the ingress and bridge
        /// chains only, unless told otherwise.
        TaggedIp = 2,
        /// IPv6 behind one VLAN tag.
        TaggedIp6 = 3,
        /// Everything else: ARP, LLDP, stacked tags ...
        Other = 4,
        /// Gateway: IPv4 that it made itself.
        OwnIp = 5,
        /// Gateway: IPv6 that it made itself.
        OwnIp6 = 6,
        /// Gateway: ARP that it made itself.
        OwnArp = 7,
        /// Gateway: packets that are judged but for egress: they had to wait, or are fragments.
        Leaving = 8,
    }
}

impl Class {
    /// How many classes there are.
    pub const COUNT: usize = 9;
    /// All of them, by number.
    pub const ALL: [Class; Self::COUNT] = [
        Self::Ip,
        Self::Ip6,
        Self::TaggedIp,
        Self::TaggedIp6,
        Self::Other,
        Self::OwnIp,
        Self::OwnIp6,
        Self::OwnArp,
        Self::Leaving,
    ];
}

impl Entry {
    /// Whether it says where a packet goes; one such entry stands in every walk.
    pub fn gives_a_way(&self) -> bool {
        matches!(self, Self::Peer | Self::Route | Self::Arp | Self::Leave)
    }
}

/// The walks of a gateway without rules. Base chains stand between these entries: ingress in front
/// of [`Entry::Station`], prerouting behind [`Entry::CheckIp`], input in front of [`Entry::ToSelf`],
/// forward and postrouting behind it, egress last.
pub fn bare_gateway(class: Class) -> Vec<Entry> {
    match class {
        Class::Ip | Class::Ip6 => vec![
            Entry::Station,
            Entry::CheckIp,
            Entry::Route,
            Entry::ToSelf,
            Entry::Neighbour,
        ],
        Class::TaggedIp | Class::TaggedIp6 | Class::Other => vec![Entry::Station, Entry::Arp],
        Class::OwnIp | Class::OwnIp6 => vec![Entry::Route, Entry::Reroute, Entry::Neighbour],
        Class::OwnArp | Class::Leaving => vec![Entry::Leave],
    }
}

plain_enum! {
    /// Places in the path where chains run.
    pub enum Hook {
        /// The port in, first of all.
        Ingress = 0,
        /// Before the way out is known.
        Prerouting = 1,
        /// To the appliance.
        Input = 2,
        /// Through.
        Forward = 3,
        /// From the appliance.
        Output = 4,
        /// After everything.
        Postrouting = 5,
        /// The port out, last of all.
        Egress = 6,
    }
}

plain_enum! {
    /// The family of the table that a base chain belongs to.
    pub enum Family {
        /// ip.
        Ip = 0,
        /// ip6.
        Ip6 = 1,
        /// inet.
        Inet = 2,
        /// bridge.
        Bridge = 3,
        /// arp.
        Arp = 4,
        /// netdev.
        Netdev = 5,
    }
}

plain_enum! {
    /// What happens to a packet that no rule judged.
    pub enum Policy {
        /// It goes on to the next base chain.
        Accept = 0,
        /// It ends here.
        Drop = 1,
    }
}

/// A port's name, as 16 bytes read as a big-endian number.
pub type NameWords = [u32; 4];

tagged_enum! {
    /// One step of a walk.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Entry {
        /// A base chain.
        Chain = 0 {
            /// The chain.
            chain: ChainId,
            /// Where it is attached.
            hook: Hook,
            /// Its table's family.
            family: Family,
            /// Its priority, for traces.
            priority: i32,
            /// What happens at its end.
            policy: Policy,
            /// What drops by the policy are attributed to.
            policy_rule: RuleRef,
            /// Names of the ports that it looks at (of the port in, at egress of the port out);
            /// none means all.
            devices: Names,
        },
        /// IP headers are checked before the first IP chain, as the kernel's bridge does: a bad
        /// header is a drop, and padding behind the IP packet no longer counts.
        CheckIp = 1,
        /// Wire: the way out is looked up.
        Peer = 2,
        /// Fragments wait for their first one; netfilter's priority -400.
        Defragment = 3,
        /// Packets find or begin their connection; netfilter's priority -200. Stands at most once.
        Track = 4,
        /// Helpers look at payloads and new connections enter the table; last of all IP hooks. Stands
        /// behind [`Entry::Track`], at most once.
        Confirm = 5,
        /// Gateway: frames for other stations end.
        Station = 16,
        /// Gateway: the way is looked up. Packets for the gateway are told apart, the others lose one
        /// of their hops; what cannot be carried on ends, and its sender is told.
        Route = 17,
        /// Gateway: rules of the output hook may have chosen another way by the mark.
        Reroute = 18,
        /// Gateway: packets for the gateway itself go to its host.
        ToSelf = 19,
        /// Gateway: ARP is answered and learnt from; frames that are not ARP end.
        Arp = 20,
        /// Gateway: packets that are too big are cut, link addresses written; a packet whose
        /// neighbour is not known waits.
        Neighbour = 21,
        /// Gateway: the way out is known already.
        Leave = 22,
        /// The chains of type nat of a hook begin: up to [`Entry::Translate`] only packets go through them
        /// whose flow is new and whose translation at this hook has not been decided.
        Decide = 23 {
            /// The hook.
            hook: Hook,
        },
        /// Packets are rewritten as their flows have it: destinations at prerouting and output (netfilter's
        /// priority -100), sources at input and postrouting (100). What no chain has decided is decided here.
        Translate = 24 {
            /// The hook.
            hook: Hook,
        },
    }
}

/// Names of ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(pub Vec<NameWords>);

impl Field for Names {
    fn put(&self, out: &mut Vec<u32>) {
        out.push(self.0.len() as u32);
        self.0.iter().for_each(|name| out.extend_from_slice(name));
    }
    fn get(from: &mut Words<'_>) -> Result<Self, Malformed> {
        let mut names = Vec::new();
        for _ in 0..from.word()? {
            names.push([from.word()?, from.word()?, from.word()?, from.word()?]);
        }
        Ok(Self(names))
    }
}

/// The name of a port as a number: its bytes big-endian, zero-padded behind, at most 16.
pub fn name_words(name: &str) -> NameWords {
    let mut bytes = [0u8; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    std::array::from_fn(|word| {
        u32::from_be_bytes([
            bytes[word * 4],
            bytes[word * 4 + 1],
            bytes[word * 4 + 2],
            bytes[word * 4 + 3],
        ])
    })
}
